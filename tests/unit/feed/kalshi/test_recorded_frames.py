"""Every recorded frame goes through our structs without loss: what we name and what we leave on purpose is all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from feed.kalshi import events
from feed.kalshi.session import Session
from feed.kalshi.wire import frames
from feed.recording import read_frames

# Deprecated twins and ids of which nothing follows; any other field that turns up fails the test.
LEFT = {
    "orderbook_snapshot": {"market_id"},
    "orderbook_delta": {"market_id", "ts", "subaccount"},
    "ticker": {"market_id", "ts", "time", "dollar_volume", "dollar_open_interest"},
    "trade": {"no_price_dollars", "taker_book_side", "taker_side", "ts", "market_id"},
    "subscribed": set(),
    "unsubscribed": set(),
    "error": set(),
}
# Fields that one recorder added (SOURCES.md).
ADDED = {"price_cents", "yes_bid", "yes_ask", "no_bid", "no_ask", "no_bid_size_fp", "no_ask_size_fp"}


def recorded_frames(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every frame of a document, however deep it lies."""
    if isinstance(value, dict):
        if value.get("type") in frames.KNOWN_TYPES and "msg" in value:
            yield value
        for inner in value.values():
            yield from recorded_frames(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from recorded_frames(inner)
    elif isinstance(value, str) and value.lstrip().startswith("{"):
        yield from recorded_frames(json.loads(value))


def documents(folder: Path) -> Iterator[Any]:
    for path in sorted(folder.iterdir()):
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        yield from (json.loads(line) for line in lines if line.strip())


def assert_nothing_is_lost(told: dict[str, Any]) -> None:
    frame = frames.decode_frame(msgspec.json.encode(told))
    kept = json.loads(msgspec.json.encode(frame))
    head = {key: value for key, value in told.items() if key not in ("msg", "type")}
    assert head == {key: kept[key] for key in head}
    body = told["msg"]
    if isinstance(frame, frames.Ok | frames.BodyFrame):
        assert msgspec.json.decode(frame.msg) == body
        return
    named = {key: value for key, value in body.items() if key not in LEFT[told["type"]] | ADDED}
    known = {key: value for key, value in kept["msg"].items() if key in named}
    assert known == named


def test_frames_of_many_markets_keep_everything(recorded: Path) -> None:
    seen = [told for document in documents(recorded / "ws_multi_market") for told in recorded_frames(document)]
    for told in seen:
        assert_nothing_is_lost(told)
    assert {told["type"] for told in seen} >= {
        "orderbook_snapshot",
        "orderbook_delta",
        "trade",
        "ticker",
        "ok",
        "error",
    }
    assert len(seen) > 400


def test_sampled_frames_of_a_long_recording_keep_everything(recorded: Path) -> None:
    path = sorted((recorded / "ws_l2_kxbtc15m").glob("*1640Z*"))[0]
    sampled = [line.frame for n, line in enumerate(read_frames(path)) if line.frame and n % 97 == 0]
    for data in sampled:
        assert_nothing_is_lost(json.loads(data))
    assert len(sampled) > 300


def test_a_whole_recording_becomes_events_without_one_that_cannot_be_used(recorded: Path) -> None:
    path = sorted((recorded / "ws_l2_kxbtc15m").glob("*1640Z*"))[0]
    session, connection, kinds = Session(adopt=True), 0, set[str]()
    for line in read_frames(path):
        if line.connection != connection:
            session, connection = Session(adopt=True), line.connection
        kinds |= {type(event).__name__ for event in (session.receive(line.frame) if line.frame else ())}
    assert kinds == {"BookSnapshot", "BookDelta", "TickerEvent", "Confirmed"}


def test_recorded_frames_of_many_markets_become_events(recorded: Path) -> None:
    told = [t for document in documents(recorded / "ws_multi_market") for t in recorded_frames(document)]
    for frame in told:
        happened = Session(adopt=True).receive(msgspec.json.encode(frame))
        assert not any(isinstance(event, events.Malformed | events.Ignored) for event in happened), frame
