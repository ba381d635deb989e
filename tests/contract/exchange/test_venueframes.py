"""The judge of frames itself, and what it says of our own client's commands."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from venueframes import FrameDocument, frame_document

from feed.kalshi.wire import commands

DELTA: dict[str, Any] = {
    "type": "orderbook_delta", "sid": 1, "seq": 2,
    "msg": {"market_ticker": "KXA-T1.5", "market_id": "2f6c2c1e-7c1b-4a1e-9a57-0d7f7f6a9b10", "price_dollars": "0.4200",
            "delta_fp": "-2.50", "side": "yes", "ts_ms": 1_795_337_401_000},
}  # fmt: skip


@pytest.fixture
def document() -> FrameDocument:
    found = frame_document()
    if found is None:
        pytest.skip("the AsyncAPI document is not there")
    return found


def test_a_frame_by_the_document_passes(document: FrameDocument) -> None:
    document.check_frame(DELTA)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [({"delta_fp": -2.5}, "delta_fp"), ({"side": "maybe"}, "side"), ({"price": "0.4200"}, "price")],
)
def test_a_wrong_type_word_or_field_fails(document: FrameDocument, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=complaint):
        document.check_frame({**DELTA, "msg": DELTA["msg"] | changes})


def test_a_missing_sequence_number_and_an_unknown_type_fail(document: FrameDocument) -> None:
    with pytest.raises(pytest.fail.Exception, match="seq"):
        document.check_frame({k: v for k, v in DELTA.items() if k != "seq"})
    with pytest.raises(AssertionError, match="no such frame"):
        document.check_frame({**DELTA, "type": "orderbook_deltas"})


@pytest.mark.parametrize(
    "command",
    [
        commands.subscribe(1, "orderbook_delta", ("KXA-1", "KXA-2"), use_yes_price=True),
        commands.subscribe(2, "fill", (), use_yes_price=False),
        commands.update(3, 1, "add_markets", ("KXA-3",)),
        commands.update(4, 1, "get_snapshot", ("KXA-1",)),
    ],
)
def test_our_commands_are_the_document_s(document: FrameDocument, command: bytes) -> None:
    document.check_command(msgspec.json.decode(command))
