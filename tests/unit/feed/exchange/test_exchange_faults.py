"""Fault scripts and what they do to frames, without a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from feed.exchange.faults.plan import FaultPlan
from feed.exchange.faults.script import BadFaultScript, read_faults, read_file
from feed.exchange.faults.stream import CloseWith, CutAfter, EndSubscription, Line, Send, SendLater, SendSnapshot, Step


def a_plan(*faults: dict[str, Any], seed: int = 1, now_us: int = 0) -> FaultPlan:
    plan = FaultPlan(seed=seed)
    plan.add(read_faults(msgspec.json.encode(faults), "the test"), now_us=now_us)
    return plan


def delta(seq: int, ticker: str = "KXA-1") -> bytes:
    return b'{"type":"orderbook_delta","sid":3,"seq":%d,"msg":{"market_ticker":"%b"}}' % (seq, ticker.encode())


def carried(plan: FaultPlan, *frames: bytes, account: str = "owner", now_us: int = 0) -> list[Step]:
    return Line(plan, account).carry(frames, now_us=now_us)


ONE, TWO, THREE = delta(1), delta(2), delta(3)


@pytest.mark.parametrize(
    ("fault", "steps"),
    [
        ({"do": "lose", "skip": 1}, [Send(ONE), Send(THREE)]),
        ({"do": "repeat", "skip": 1}, [Send(ONE), Send(TWO), Send(TWO), Send(THREE)]),
        ({"do": "swap", "skip": 1}, [Send(ONE), Send(THREE), Send(TWO)]),
        ({"do": "swap", "times": 2}, [Send(ONE), Send(THREE), Send(TWO)]),
        ({"do": "hold", "delay_ms": 500}, [SendLater(ONE, 500), Send(TWO), Send(THREE)]),
        ({"do": "slow", "delay_ms": 5, "skip": 1}, [Send(ONE), SendLater(TWO, 5), SendLater(THREE, 5)]),
        ({"do": "garble", "text": "{", "skip": 1}, [Send(ONE), Send(b"{"), Send(THREE)]),
        ({"do": "garble", "hex": "ff7b", "skip": 1}, [Send(ONE), Send(b"\xff{"), Send(THREE)]),
        (
            {"do": "alter", "pattern": '"KXA-(.)"', "by": r"null", "skip": 1},
            [Send(ONE), Send(TWO.replace(b'"KXA-1"', b"null")), Send(THREE)],
        ),
        ({"do": "renew", "skip": 1}, [Send(ONE), Send(TWO), SendSnapshot(3, "KXA-1"), Send(THREE)]),
        ({"do": "pad", "bytes": 99, "skip": 1}, [Send(ONE), Send(TWO + b" " * (99 - len(TWO))), Send(THREE)]),
        ({"do": "inject", "text": "x", "skip": 2}, [Send(ONE), Send(TWO), Send(b"x"), Send(THREE)]),
        ({"do": "cut_frame", "bytes": 4, "skip": 1}, [Send(ONE), CutAfter(TWO, 4)]),
        ({"do": "close", "code": 1012, "skip": 1}, [Send(ONE), CloseWith(1012)]),
        ({"do": "silence", "skip": 1}, [Send(ONE)]),
        ({"do": "fail", "code": 25, "skip": 1}, [Send(ONE), EndSubscription(3, 25)]),
    ],
)
def test_a_fault_meets_the_frame_it_names(fault: dict[str, Any], steps: list[Step]) -> None:
    plan = a_plan(fault)
    assert carried(plan, ONE, TWO, THREE) == steps
    assert [a.do for a in plan.applied] == [fault["do"]] * fault.get("times", 1)


def test_pings_end_and_frames_go_on() -> None:
    line = Line(a_plan({"do": "no_pings"}), "owner")
    assert line.carry([ONE], now_us=0) == [Send(ONE)]
    assert not line.sends_pings


def test_a_line_is_plain_again_when_its_fault_is_spent() -> None:
    plan = a_plan({"do": "lose"})
    line = Line(plan, "owner")
    assert not line.is_plain
    line.carry([ONE], now_us=0)
    assert line.is_plain


def test_a_fault_looks_at_type_market_and_account() -> None:
    plan = a_plan({"do": "lose", "type": "orderbook_delta", "ticker": "KXB-*", "account": "owner", "times": None})
    other = b'{"type":"trade","sid":4,"seq":1,"msg":{"market_ticker":"KXB-1"}}'
    answer = b'{"id":1,"type":"ok","msg":[{"channel":"fill","sid":3}]}'
    hit = delta(2, "KXB-1")
    assert carried(plan, ONE, hit, other, answer) == [Send(ONE), Send(other), Send(answer)]
    assert carried(plan, hit, account="outsider") == [Send(hit)]


def test_a_fault_has_its_time() -> None:
    plan = a_plan({"do": "lose", "after_ms": 10, "until_ms": 20, "times": None}, now_us=1_000_000)
    kept = [bool(carried(plan, ONE, now_us=1_000_000 + ms * 1_000)) for ms in (9, 10, 19, 20)]
    assert kept == [True, False, False, True]


def test_chance_follows_the_seed() -> None:
    def lost(seed: int) -> list[bool]:
        plan = a_plan({"do": "lose", "chance": 0.5, "times": None}, seed=seed)
        return [not carried(plan, delta(n)) for n in range(64)]

    assert lost(7) == lost(7)
    assert lost(7) != lost(8)
    assert 10 < sum(lost(7)) < 54


def test_a_script_that_is_not_there_or_wrong_is_named(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    with pytest.raises(BadFaultScript, match="cannot be read"):
        read_file(path)
    path.write_text('[{"do": "hold", "delay_ms": 0}]')
    with pytest.raises(BadFaultScript, match="delay_ms"):
        read_file(path)
