"""Discovery and signatures over REST, in the wire's own names."""

from __future__ import annotations

import base64
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from exchangeclient import API, WS_PATH, Venue

MARKET_FIELDS = {
    "ticker", "event_ticker", "market_type", "yes_sub_title", "no_sub_title", "created_time", "updated_time",
    "open_time", "close_time", "latest_expiration_time", "settlement_timer_seconds", "status",
    "yes_bid_dollars", "yes_bid_size_fp",
    "yes_ask_dollars", "yes_ask_size_fp", "no_bid_dollars", "no_ask_dollars", "last_price_dollars",
    "previous_yes_bid_dollars", "previous_yes_ask_dollars", "previous_price_dollars", "volume_fp", "volume_24h_fp",
    "open_interest_fp", "notional_value_dollars", "result", "expiration_value", "can_close_early", "rules_primary",
    "rules_secondary", "price_level_structure", "price_ranges", "settlement_bounds_type",
}  # fmt: skip
BALANCE = "/portfolio/balance"


def error(code: str, message: str, details: str = "") -> dict[str, Any]:
    body = {"code": code, "message": message}
    return {"error": {**body, "details": details} if details else body}


async def test_a_wrong_signature_is_refused_as_recorded(venue: Venue) -> None:
    headers = venue.headers("GET", API + "/portfolio/fills")
    reply = await venue.call("GET", BALANCE, headers=headers)
    assert reply.status == 401
    assert reply.body == error("authentication_error", "authentication_error", "INCORRECT_API_KEY_SIGNATURE")


async def test_an_unknown_key_is_refused_as_recorded(venue: Venue) -> None:
    headers = venue.headers("GET", API + BALANCE) | {"KALSHI-ACCESS-KEY": "00000000-0000-0000-0000-000000000000"}
    reply = await venue.call("GET", BALANCE, headers=headers)
    assert (reply.status, reply.body) == (401, error("authentication_error", "authentication_error", "NOT_FOUND"))


async def test_a_missing_signature_is_refused_as_recorded(venue: Venue) -> None:
    reply = await venue.call("GET", BALANCE, headers={})
    expected = error("signature_is_missing_from_headers", "signature is missing from headers")
    assert (reply.status, reply.body) == (401, expected)


@pytest.mark.parametrize("offset_ms", [-30_000, 30_000])
async def test_a_clock_far_off_is_refused_as_recorded(venue: Venue, offset_ms: int) -> None:
    reply = await venue.call("GET", BALANCE, headers=venue.headers("GET", API + BALANCE, offset_ms=offset_ms))
    assert (reply.status, reply.body) == (401, error("header_timestamp_expired", "header timestamp expired"))


async def test_the_query_is_not_signed(venue: Venue) -> None:
    assert (await venue.call("GET", "/portfolio/orders?limit=1")).status == 200


async def test_the_websocket_handshake_needs_a_signature(venue: Venue) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(venue.ready.ws)
        assert refused.value.status == 401
        async with http.ws_connect(venue.ready.ws, headers=venue.headers("GET", WS_PATH)) as socket:
            assert not socket.closed


async def test_an_rsa_key_registered_at_the_control_port_may_sign(venue: Venue) -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    registered = await venue.control("POST", "/accounts/keys", json={"public_key": pem.decode(), "account": "second"})
    stamp = str(venue.clock.wall_us() // 1_000)
    text = f"{stamp}GET{API}{BALANCE}".encode()
    signature = key.sign(text, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    headers = {
        "KALSHI-ACCESS-KEY": registered.body["key_id"],
        "KALSHI-ACCESS-TIMESTAMP": stamp,
        "KALSHI-ACCESS-SIGNATURE": base64.b64encode(signature).decode(),
    }
    reply = await venue.call("GET", BALANCE, headers=headers)
    assert (reply.status, reply.body["balance"]) == (200, 1_000_000)


async def test_a_market_has_every_required_field(busy_venue: Venue) -> None:
    markets = (await busy_venue.get("/markets?limit=1000"))["markets"]
    assert all(market.keys() >= MARKET_FIELDS for market in markets)
    single = (await busy_venue.get(f"/markets/{markets[0]['ticker']}"))["market"]
    assert single == markets[0]


async def test_an_empty_book_shows_no_quote(venue: Venue) -> None:
    market = (await venue.get("/markets/KXTEST-26NOV22-A"))["market"]
    quote = {k: market[k] for k in ("yes_bid_dollars", "yes_ask_dollars", "no_bid_dollars", "no_ask_dollars")}
    assert list(quote.values()) == ["0.0000", "0.0000", "1.0000", "1.0000"]
    assert (market["yes_bid_size_fp"], market["yes_ask_size_fp"]) == ("0.00", "0.00")
    book = await venue.get("/markets/KXTEST-26NOV22-A/orderbook")
    assert book == {"orderbook_fp": {"yes_dollars": [], "no_dollars": []}}


async def test_books_are_ascending_and_cut_to_the_best(venue: Venue) -> None:
    for price in ("0.3000", "0.1000", "0.2000"):
        await venue.outsider("bid", price, "1.00")
    await venue.outsider("ask", "0.7000", "2.50")
    book = (await venue.get("/markets/KXTEST-26NOV22-A/orderbook?depth=2"))["orderbook_fp"]
    assert book == {"yes_dollars": [["0.2000", "1.00"], ["0.3000", "1.00"]], "no_dollars": [["0.3000", "2.50"]]}
    many = await venue.get("/markets/orderbooks?tickers=KXTEST-26NOV22-A&tickers=KXTEST-26NOV22-B")
    assert [entry["ticker"] for entry in many["orderbooks"]] == ["KXTEST-26NOV22-A", "KXTEST-26NOV22-B"]


async def test_pages_cover_every_market_once(busy_venue: Venue) -> None:
    seen: list[str] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        body = await busy_venue.get(f"/markets?limit=10&cursor={cursor}")
        seen += [market["ticker"] for market in body["markets"]]
        cursor, pages = body["cursor"], pages + 1
    assert len(seen) == len(set(seen)) == len(busy_venue.exchange.world.markets)
    assert pages == -(-len(seen) // 10)


async def test_a_limit_above_the_maximum_is_refused_as_recorded(venue: Venue) -> None:
    reply = await venue.call("GET", "/markets?limit=1001")
    assert reply.status == 400
    assert reply.body == {
        "msg": "Parameter validation failed for GetMarkets: Key: 'GetMarketsParams.Limit' "
        "Error:Field validation for 'Limit' failed on the 'lte' tag"
    }


async def test_a_garbage_cursor_is_answered_with_a_page(venue: Venue) -> None:
    assert len((await venue.get("/markets?cursor=garbage-cursor-fixture"))["markets"]) == 2


async def test_status_filters_have_their_own_words(busy_venue: Venue) -> None:
    is_open = (await busy_venue.get("/markets?status=open&limit=1000"))["markets"]
    assert is_open
    assert {market["status"] for market in is_open} == {"active"}
    reply = await busy_venue.call("GET", "/markets?status=active")
    assert (reply.status, list(reply.body)) == (400, ["msg"])


async def test_markets_are_found_by_event_series_and_ticker(busy_venue: Venue) -> None:
    events = (await busy_venue.get("/events?with_nested_markets=true&series_ticker=KXHIGHNY"))["events"]
    tickers = [market["ticker"] for market in events[0]["markets"]]
    assert len(tickers) == 6
    assert events[0]["mutually_exclusive"] is True
    by_event = await busy_venue.get(f"/markets?event_ticker={events[0]['event_ticker']}")
    assert {market["ticker"] for market in by_event["markets"]} == set(tickers)
    by_name = await busy_venue.get(f"/markets?tickers={tickers[0]},{tickers[1]}")
    assert len(by_name["markets"]) == 2
    single = await busy_venue.get(f"/events/{events[0]['event_ticker']}")
    assert len(single["markets"]) == 6
    series = (await busy_venue.get("/series/KXHIGHNY"))["series"]
    assert (series["fee_type"], series["fee_multiplier"]) == ("quadratic", 1)
    assert "KXBTC15M" in {entry["ticker"] for entry in (await busy_venue.get("/series"))["series"]}


async def test_programmes_are_listed_under_their_odd_cursor(busy_venue: Venue) -> None:
    body = await busy_venue.get("/incentive_programs?status=active&type=liquidity&limit=3")
    assert len(body["incentive_programs"]) == 3
    assert body["next_cursor"]
    assert "cursor" not in body
    program = body["incentive_programs"][0]
    assert isinstance(program["period_reward"], int)
    assert program["target_size_fp"].endswith(".00")
    rest = await busy_venue.get(f"/incentive_programs?status=active&cursor={body['next_cursor']}")
    assert program["id"] not in {row["id"] for row in rest["incentive_programs"]}


async def test_exchange_and_account_tell_state_limits_and_costs(venue: Venue) -> None:
    status = await venue.get("/exchange/status")
    assert status["trading_active"] is True
    assert status["exchange_index_statuses"][0]["exchange_index"] == 0
    schedule = (await venue.get("/exchange/schedule"))["schedule"]
    assert schedule["standard_hours"][0]["monday"] == [{"open_time": "00:00", "close_time": "00:00"}]
    assert (await venue.get("/exchange/user_data_timestamp"))["as_of_time"].endswith("Z")
    costs = await venue.get("/account/endpoint_costs")
    assert {"method": "DELETE", "path": f"{API}/portfolio/events/orders/:order_id", "cost": 2} in costs[
        "endpoint_costs"
    ]


async def test_state_names_the_clients(venue: Venue) -> None:
    async with venue.socket() as socket:
        await socket.subscribe("fill")
        await socket.until("subscribed")
        state = (await venue.control("GET", "/state")).body
    assert state["clients"] == [{"account": "owner", "subscriptions": [{"sid": 1, "channel": "fill"}]}]
