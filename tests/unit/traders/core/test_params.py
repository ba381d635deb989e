"""What a trader goes by, told across processes; and what of it a running one cannot go over to."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traders.core.decision import Rules
from traders.core.params import TraderParams, encode_params, read_params, why_restart
from traders.core.pipeline import Choice, NoStrategies, StrategyChoices
from traders.core.registry import ParamsError, load

load()
JOINS = StrategyChoices(Choice("join_best"))
ALL = TraderParams(
    StrategyChoices(
        Choice("join_best", {"bid_cx": 500, "ask_cx": 700}), Choice("min_ahead", {"ahead_cx": 10}),
        [{"name": "passive_exit"}], {"lead_s": 5}, {"price_steps": 2},
    ),
    {"order_cx_most": 900},
)  # fmt: skip


def test_what_is_told_is_what_arrives() -> None:
    told = read_params(encode_params(ALL))
    assert told == ALL
    assert told.rules() == ALL.rules()


names = st.text(max_size=5)
raw = st.dictionaries(names, st.integers(-(1 << 40), 1 << 40) | st.booleans() | names, max_size=4)


@given(placement=raw, limits=raw)
def test_the_digest_is_the_same_however_it_was_kept(placement: dict[str, Any], limits: dict[str, Any]) -> None:
    """In the database, in start.json and on the stream, in whatever order the names stand."""
    params = TraderParams(StrategyChoices(Choice("join_best", placement)), limits)
    kept = msgspec.json.decode(msgspec.json.encode(params, order="sorted"), type=TraderParams)
    turned = TraderParams(StrategyChoices(Choice("join_best", dict(reversed(placement.items())))), limits)
    assert kept.digest == turned.digest == read_params(encode_params(params)).digest == params.digest != 0


def test_parameters_differ_by_name_and_digest() -> None:
    other = TraderParams(msgspec.structs.replace(ALL.strategies, placement=Choice("join_best"), guards={}), {})
    assert ALL.unlike(other) == ("placement", "guards", "limits")
    assert ALL.unlike(ALL) == ()
    assert ALL.digest != other.digest


def test_what_does_not_fit_is_refused_by_name() -> None:
    with pytest.raises(NoStrategies, match="bid_cx"):
        TraderParams(StrategyChoices(Choice("join_best", {"bid_cx": -1}))).rules()
    with pytest.raises(ParamsError, match="order_cx_mst"):
        TraderParams(JOINS, {"order_cx_mst": 1}).rules()


def test_a_body_that_another_version_reads_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="was sent"):
        read_params(msgspec.msgpack.encode({"params": ALL, "digest": 7}))


def rules(limits: dict[str, Any], **tolerances: int) -> Rules:
    return TraderParams(StrategyChoices(Choice("join_best"), tolerances=tolerances), limits).rules()


@pytest.mark.parametrize(
    ("limits", "tolerances", "dry", "live"),
    [
        ({}, {}, "", ""),
        ({}, {"price_steps": 3}, "", ""),
        ({"order_cx_most": 500, "position_cx_most": 900, "exposure_ud_most": 1_000_000}, {}, "", ""),
        ({"orders_a_minute": 6_000, "price_cc_least": 1}, {}, "", ""),
        ({"exposure_ud_most": 200_000_000}, {}, "reserved", "reserved"),
        ({"order_cx_most": 1_001}, {}, "", "order group"),
        ({}, {"orders_a_side": 3}, "", "order group"),
        ({"order_cx_most": 500}, {"orders_a_side": 4}, "", ""),
    ],
)
def test_what_needs_more_from_outside_takes_a_new_start(
    limits: dict[str, Any], tolerances: dict[str, int], dry: str, live: str
) -> None:
    for is_live, words in ((False, dry), (True, live)):
        why = why_restart(rules({}), rules(limits, **tolerances), is_live=is_live)
        assert (words in why, bool(why)) == (True, bool(words))
