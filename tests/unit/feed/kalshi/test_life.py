from __future__ import annotations

import pytest

from feed.kalshi.life import Terms, told_terms
from markets.core.grid import PriceRange


def test_a_message_tells_close_grid_and_worth_in_our_units() -> None:
    body = (
        b'{"market_ticker":"M","event_type":"created","close_ts":1795000000,"settlement_value":"0.3700",'
        b'"price_ranges":[{"start":"0.0000","end":"1.0000","step":"0.0010"}]}'
    )
    assert told_terms(body) == Terms(1_795_000_000_000_000, (PriceRange(0, 10_000, 10),), 3_700)


def test_what_a_message_does_not_say_is_unknown() -> None:
    assert told_terms(b'{"event_type":"activated"}') == Terms(None, None, None)


@pytest.mark.parametrize(
    "body", [b"{", b'{"close_ts":"soon"}', b'{"settlement_value":"1.5"}', b'{"price_ranges":[{}]}']
)
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of msgspec or of ours
        told_terms(body)
