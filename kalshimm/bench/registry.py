"""Which benches there are."""

from __future__ import annotations

from kalshimm.bench.books import BooksBench
from kalshimm.bench.engine import EngineBench
from kalshimm.bench.exchange import ExchangeBench
from kalshimm.bench.fleet import FleetBench
from kalshimm.bench.gateway import GatewayBench
from kalshimm.bench.latency import LatencyBench
from kalshimm.bench.report import Bench
from kalshimm.bench.sustained import SustainedBench
from kalshimm.bench.tick_to_order import TickToOrderBench
from kalshimm.bench.writer import WriterBench

ALL: tuple[Bench, ...] = (
    BooksBench(),
    EngineBench(),
    ExchangeBench(),
    FleetBench(),
    GatewayBench(),
    LatencyBench(),
    SustainedBench(),
    TickToOrderBench(),
    WriterBench(),
)
BENCHES = {bench.name: bench for bench in ALL}
