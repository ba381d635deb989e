"""Which benches there are."""

from __future__ import annotations

from kalshimm.bench.books import BooksBench
from kalshimm.bench.exchange import ExchangeBench
from kalshimm.bench.gateway import GatewayBench
from kalshimm.bench.report import Bench
from kalshimm.bench.writer import WriterBench

BENCHES: dict[str, Bench] = {
    bench.name: bench for bench in (BooksBench(), ExchangeBench(), GatewayBench(), WriterBench())
}
