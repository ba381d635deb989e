from __future__ import annotations

from typing import Any

import msgspec
import pytest

from markets.core.units import Side
from traders.core.why import Why, said, told


def one(text: str, side: Side | None = None, **figures: Any) -> list[Why]:
    return [Why("code", text, figures, side)]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("price_cc", 4_250, "42.5¢"),
        ("count_cx", 12_350, "123.5"),
        ("edge_ud", -1_250_000, "−$1.25"),
        ("share_bps", 5_404, "54.0 %"),
        ("age_us", 61_999_999, "1 m 1 s"),
        ("max_age_s", 7_260, "2 h 1 m"),
        ("steps", 3, "3"),
        ("by", "an operator", "an operator"),
    ],
)
def test_a_figure_is_written_as_the_unit_in_its_name_wants(name: str, value: object, words: str) -> None:
    assert said(one(f"it is {{{name}}}", **{name: value})) == f"it is {words}"


@pytest.mark.parametrize("name", ["price_cc", "count_cx", "edge_ud", "share_bps", "age_us", "max_age_s", "by"])
def test_a_missing_figure_is_unknown_and_not_nothing(name: str) -> None:
    assert said(one(f"{{{name}}}", **{name: None})) == "unknown"


@pytest.mark.parametrize(("side", "word"), [(Side.YES, "bid"), (Side.NO, "ask"), (None, "")])
def test_a_side_is_said_in_the_venues_word(side: Side | None, word: str) -> None:
    assert said(one("[{side}]", side)) == f"[{word}]"


def test_reasons_are_said_in_their_order() -> None:
    assert said([*one("first"), *one("{n}.", n=2)]) == "first; 2."
    assert said([]) == ""


def test_reasons_are_told_as_plain_values() -> None:
    whys = [Why("joins", "joins {side} {yes_price_cc}", {"yes_price_cc": 4_200}, Side.NO), Why("closed", "closed")]
    assert told(whys) == [{"code": "joins", "side": "ask", "yes_price_cc": 4_200}, {"code": "closed"}]
    assert msgspec.json.decode(msgspec.json.encode(told(whys))) == told(whys)


def test_a_reason_stays_the_same_while_its_figures_move() -> None:
    before, after = one("{n}", Side.YES, n=1)[0], one("{n}", Side.YES, n=2)[0]
    assert before.key == after.key
    assert before.key != one("{n}", Side.NO, n=1)[0].key
    assert before.key != Why("other", "{n}", {"n": 1}, Side.YES).key
