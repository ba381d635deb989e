"""What is listed, what has traded and what is over, over REST; every answer is judged by the document on the way."""

from __future__ import annotations

from typing import Any

import pytest
from exchangeclient import Venue, an_order, hundredths

NOW_S = 1_795_337_400
A, B, EVENT = "KXTEST-26NOV22-A", "KXTEST-26NOV22-B", "KXTEST-26NOV22"


async def trade(venue: Venue, price: str, count: str) -> None:
    """Let two strangers trade in market A."""
    await venue.outsider("ask", price, count)
    assert (await venue.control("POST", "/orders?account=taker", json=an_order("bid", price, count))).status == 201


async def refused(venue: Venue, path: str) -> str:
    reply = await venue.call("GET", path, headers={})
    assert (reply.status, list(reply.body)) == (400, ["msg"])
    assert reply.body["msg"].startswith("Parameter validation failed for ")
    return str(reply.body["msg"])


# --- candlesticks -----------------------------------------------------------------------------------------------------


async def test_candles_are_made_of_the_trades_of_the_market(venue: Venue) -> None:
    await trade(venue, "0.4000", "3.00")
    venue.clock.advance_us(61_000_000)
    await trade(venue, "0.4400", "1.00")
    await trade(venue, "0.4200", "1.00")
    window = f"start_ts={NOW_S}&end_ts={NOW_S + 600}"
    body = await venue.get(f"/series/KXTEST/markets/{A}/candlesticks?{window}&period_interval=1")
    assert body["ticker"] == A
    first, quoted, second = body["candlesticks"]
    # The quote line moved a second after the trade, which is the next minute.
    assert (quoted["volume_fp"], quoted["price"]["close_dollars"]) == ("0.00", None)
    assert (first["end_period_ts"], first["volume_fp"], first["price"]["close_dollars"]) == (NOW_S, "3.00", "0.4000")
    assert second["price"] == {
        "open_dollars": "0.4400", "low_dollars": "0.4200", "high_dollars": "0.4400", "close_dollars": "0.4200",
        "mean_dollars": "0.4300", "previous_dollars": "0.4000",
    }  # fmt: skip
    trades = (await venue.get(f"/markets/trades?ticker={A}"))["trades"]
    assert len(trades) == 3
    hours = await venue.get(f"/series/KXTEST/markets/{A}/candlesticks?{window[:-10]}{NOW_S + 7_200}&period_interval=60")
    assert [c["volume_fp"] for c in hours["candlesticks"]] == ["5.00"]


async def test_a_batch_of_candles_may_begin_with_what_was_before(venue: Venue) -> None:
    await trade(venue, "0.4000", "3.00")
    venue.clock.advance_us(300_000_000)
    window = f"start_ts={NOW_S + 120}&end_ts={NOW_S + 600}&period_interval=1"
    path = f"/markets/candlesticks?market_tickers={A},{B},NOBODY&{window}"
    plain = (await venue.get(path))["markets"]
    assert [(m["market_ticker"], m["candlesticks"]) for m in plain] == [(A, []), (B, [])]
    (carried,) = (await venue.get(path + "&include_latest_before_start=true"))["markets"][0]["candlesticks"]
    assert (carried["volume_fp"], carried["price"]["close_dollars"]) == ("0.00", None)
    assert carried["price"]["previous_dollars"] == "0.4000"


async def test_a_day_later_a_market_tells_what_it_was(venue: Venue) -> None:
    await trade(venue, "0.4000", "3.00")
    await venue.outsider("bid", "0.3500", "1.00")
    venue.clock.advance_us(60_000_000)
    assert (await venue.get(f"/markets/{A}"))["market"]["volume_24h_fp"] == "3.00"
    assert (await venue.get(f"/markets/{A}"))["market"]["previous_price_dollars"] == "0.0000"
    venue.clock.advance_us(86_400_000_000)
    market = (await venue.get(f"/markets/{A}"))["market"]
    assert (market["volume_fp"], market["volume_24h_fp"]) == ("3.00", "0.00")
    assert (market["previous_price_dollars"], market["previous_yes_bid_dollars"]) == ("0.4000", "0.3500")


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        ("end_ts=1&period_interval=1", "'StartTs' failed on the 'required'"),
        ("start_ts=1&period_interval=1", "'EndTs' failed on the 'required'"),
        ("start_ts=1&end_ts=2", "'PeriodInterval' failed on the 'required'"),
        ("start_ts=1&end_ts=2&period_interval=5", "'PeriodInterval' failed on the 'oneof'"),
        ("start_ts=2&end_ts=1&period_interval=1", "'EndTs' failed on the 'gtefield'"),
        ("start_ts=0&end_ts=1795337400&period_interval=1", "'EndTs' failed on the 'max'"),
        ("start_ts=soon&end_ts=1&period_interval=1", "expected an integer"),
    ],
)
async def test_a_window_that_is_none_is_refused(venue: Venue, query: str, rule: str) -> None:
    assert rule in await refused(venue, f"/series/KXTEST/markets/{A}/candlesticks?{query}")
    assert rule in await refused(venue, f"/historical/markets/{A}/candlesticks?{query}")


# --- history ----------------------------------------------------------------------------------------------------------


async def test_a_delisted_event_is_found_in_the_history_with_all_it_had(venue: Venue) -> None:
    await trade(venue, "0.4000", "3.00")
    await venue.order("bid", "0.3000")
    before = await venue.get("/historical/cutoff")
    await venue.control("POST", f"/markets/{A}/close")
    venue.clock.advance_us(4_000_000_000)
    settled = (await venue.get(f"/markets/{A}"))["market"]
    assert settled["status"] == "finalized"
    assert (await venue.get("/historical/markets"))["markets"] == []
    venue.exchange.world.delist(EVENT)
    assert (await venue.call("GET", f"/markets/{A}", headers={})).status == 404
    assert (await venue.get(f"/events/{EVENT}"))["event"]["event_ticker"] == EVENT, "events stay where they were"
    assert (await venue.get("/events"))["events"] == []
    assert (await venue.call("GET", f"/portfolio/orders?event_ticker={EVENT}")).body["orders"]
    past = (await venue.get(f"/historical/markets/{A}"))["market"]
    assert past == settled
    listed = await venue.get("/historical/markets?series_ticker=KXTEST&limit=1")
    assert len(listed["markets"]) == 1
    assert len((await venue.get(f"/historical/markets?cursor={listed['cursor']}"))["markets"]) == 1
    cutoff = await venue.get("/historical/cutoff")
    assert before["market_settled_ts"] < past["settlement_ts"] <= cutoff["market_settled_ts"]
    (traded,) = (await venue.get(f"/markets/trades?ticker={A}"))["trades"]
    assert (traded["count_fp"], traded["created_time"] > cutoff["trades_created_ts"]) == ("3.00", True)
    assert (await venue.get(f"/historical/trades?ticker={A}"))["trades"] == []
    window = f"start_ts={NOW_S}&end_ts={NOW_S + 60}&period_interval=1"
    (candle, *_) = (await venue.get(f"/historical/markets/{A}/candlesticks?{window}"))["candlesticks"]
    assert (candle["volume"], candle["price"]["close"]) == ("3.00", "0.4000")


async def test_what_the_cutoff_calls_history_is_found_there(venue: Venue) -> None:
    """Whoever obeys the cutoff loses nothing: by age alone, while the event is still listed."""
    await trade(venue, "0.4000", "3.00")
    await venue.control("POST", f"/markets/{A}/close")
    venue.clock.advance_us(4_000_000_000)
    assert (await venue.call("GET", f"/historical/markets/{A}", headers={})).status == 404
    venue.clock.advance_us(15 * 86_400_000_000)
    cutoff = await venue.get("/historical/cutoff")
    past = (await venue.get(f"/historical/markets/{A}"))["market"]
    assert past["settlement_ts"] < cutoff["market_settled_ts"]
    assert A in [market["ticker"] for market in (await venue.get("/historical/markets"))["markets"]]
    (traded,) = (await venue.get(f"/historical/trades?ticker={A}"))["trades"]
    assert traded["created_time"] < cutoff["trades_created_ts"]
    assert (await venue.get(f"/markets/trades?ticker={A}"))["trades"] == []


# --- discovery --------------------------------------------------------------------------------------------------------


async def test_each_event_has_a_milestone_at_its_strike_date(venue: Venue) -> None:
    body = await venue.get("/milestones?limit=10")
    (milestone,) = body["milestones"]
    event = (await venue.get(f"/events/{EVENT}"))["event"]
    assert (milestone["primary_event_tickers"], milestone["start_date"]) == ([EVENT], event["strike_date"])
    assert (await venue.get(f"/milestones/{milestone['id']}"))["milestone"] == milestone
    assert (await venue.get("/events?with_milestones=true"))["milestones"] == [milestone]
    for query in ("category=Other", "competition=NBA", "minimum_start_date=2030-01-01T00:00:00Z"):
        assert (await venue.get(f"/milestones?limit=10&{query}"))["milestones"] == []
    assert "'Limit' failed on the 'required'" in await refused(venue, "/milestones")
    assert "RFC3339" in await refused(venue, "/milestones?limit=1&minimum_start_date=soon")


async def test_what_helps_to_find_markets_is_served(busy_venue: Venue) -> None:
    tags = (await busy_venue.get("/search/tags_by_categories"))["tags_by_categories"]
    series = (await busy_venue.get("/series?include_volume=true"))["series"]
    assert {s["category"] for s in series} == tags.keys()
    total = sum(market.tape.volume_cx for market in busy_venue.exchange.world.markets.values())
    assert sum(hundredths(s["volume_fp"]) for s in series) == total
    event = (await busy_venue.get("/events?limit=1"))["events"][0]
    metadata = await busy_venue.get(f"/events/{event['event_ticker']}/metadata")
    markets = (await busy_venue.get(f"/markets?event_ticker={event['event_ticker']}"))["markets"]
    assert {row["market_ticker"] for row in metadata["market_details"]} == {market["ticker"] for market in markets}
    for path, field in (
        ("/events/multivariate", "events"),
        ("/multivariate_event_collections", "multivariate_contracts"),
        ("/structured_targets", "structured_targets"),
    ):
        assert (await busy_venue.get(path))[field] == []


async def test_books_come_in_the_order_of_the_switch_and_cut_to_the_best(switched: Any) -> None:
    async with switched(book_order="descending") as venue:
        for price in ("0.1000", "0.3000", "0.2000"):
            await venue.outsider("bid", price, "1.00")
        book = (await venue.get(f"/markets/{A}/orderbook?depth=2"))["orderbook_fp"]
        assert [price for price, _ in book["yes_dollars"]] == ["0.3000", "0.2000"]


async def test_books_may_need_a_key(switched: Any) -> None:
    async with switched(books_need_a_key=True) as venue:
        for path in (f"/markets/{A}/orderbook", f"/markets/orderbooks?tickers={A}"):
            assert (await venue.call("GET", path, headers={})).status == 401
            assert (await venue.call("GET", path)).status == 200


async def test_callers_without_a_key_may_be_limited_by_address(switched: Any) -> None:
    async with switched(anonymous_reads_per_s=20) as venue:
        statuses = [(await venue.call("GET", "/markets", headers={})).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        venue.clock.advance_us(500_000)
        assert (await venue.call("GET", "/markets", headers={})).status == 200


async def test_the_clock_window_may_be_wider(switched: Any) -> None:
    async with switched(clock_window_ms=60_000) as venue:
        for offset, status in ((-60_000, 200), (60_000, 200), (60_001, 401), (-60_001, 401)):
            headers = venue.headers("GET", "/trade-api/v2/portfolio/balance", offset_ms=offset)
            assert (await venue.call("GET", "/portfolio/balance", headers=headers)).status == status


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "status=active",
        "status=open,closed",
        "mve_filter=maybe",
        "limit=1001",
        "limit=-1",
        "limit=ten",
        "min_close_ts=1&max_created_ts=2",
        "min_close_ts=1&status=open",
        "min_settled_ts=1&status=closed",
        "min_created_ts=1&status=settled",
        "min_updated_ts=1&status=open",
        f"min_updated_ts=1&event_ticker={EVENT}",
        f"min_updated_ts=1&tickers={A}",
        "min_updated_ts=1&series_ticker=KXTEST",
        "max_updated_ts=99999999999999999999",
    ],
)
async def test_filters_that_do_not_go_together_are_refused(venue: Venue, query: str) -> None:
    assert "GetMarkets" in await refused(venue, f"/markets?{query}")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("min_close_ts=1&status=closed", 0),
        ("min_close_ts=1", 2),
        ("min_created_ts=1&status=open", 2),
        ("max_created_ts=1", 0),
        ("min_updated_ts=1", 2),
        ("min_updated_ts=1&series_ticker=KXTEST&mve_filter=exclude", 2),
        ("max_updated_ts=1&mve_filter=exclude", 0),
        ("mve_filter=only", 0),
        ("limit=0", 2),
        ("cursor=%C3%A9", 2),
    ],
)
async def test_filters_that_go_together_are_applied(venue: Venue, query: str, count: int) -> None:
    assert len((await venue.get(f"/markets?{query}"))["markets"]) == count


@pytest.mark.parametrize(
    "path",
    [
        f"/markets/{A}/orderbook?depth=101",
        f"/markets/{A}/orderbook?depth=-1",
        "/markets/orderbooks",
        "/markets/orderbooks?" + "&".join(f"tickers=T{n}" for n in range(101)),
        "/markets/candlesticks?start_ts=1&end_ts=2&period_interval=1",
        "/markets/candlesticks?start_ts=1&end_ts=2&period_interval=1&market_tickers=" + ",".join(map(str, range(101))),
        "/events?limit=201",
        "/events?status=active",
        "/events/multivariate?series_ticker=A&collection_ticker=B",
        "/structured_targets?page_size=2001",
    ],
)
async def test_what_is_out_of_bounds_is_refused(venue: Venue, path: str) -> None:
    await refused(venue, path)
