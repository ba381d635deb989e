"""Every write is accepted, refused or unknown, whatever happens on the way; reads are asked again, writes never."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from scriptedvenue import BRIEF, CREATED, CUT, HASTY, OK, SILENCE, ScriptedVenue, Step, answer, cut_short

from feed.kalshi.environments import Environment
from feed.kalshi.errors import (
    AlreadyExists,
    Conflict,
    Disconnected,
    Forbidden,
    HeldBack,
    InvalidRequest,
    NeverSent,
    NotFound,
    OrderRejected,
    Paused,
    ProtocolViolation,
    RateLimited,
    RequestRefused,
    Retired,
    Unauthorized,
)
from feed.kalshi.limiter import Ask, Granted, Refused, Work
from feed.kalshi.rest import Rest
from feed.kalshi.signing import Signer
from feed.kalshi.transport import Connection
from feed.kalshi.wire.orders import AmendOrder, CancelOrder, DecreaseOrder, PlaceOrder
from kalshimm.errors import OutcomeUnknown
from kalshimm.runtime.clock import SystemClock
from markets.core.units import Side

ORDER = PlaceOrder(
    ticker="KXA-1", client_order_id="mm-1", side=Side.YES, count_cx=2_500, yes_price_cc=4_300, exchange_index=2
)
CANCEL = CancelOrder(order_id="o-1", market_ticker="KXA-1", exchange_index=2)
AMEND = AmendOrder(ticker="KXA-1", side=Side.NO, yes_price_cc=4_400, count_cx=100, exchange_index=2)
DECREASE = DecreaseOrder(reduce_by_cx=100, market_ticker="KXA-1", exchange_index=2)

WRITES: dict[str, Callable[[Rest], Awaitable[object]]] = {
    "place": lambda rest: rest.orders.place(ORDER),
    "cancel": lambda rest: rest.orders.cancel(CANCEL),
    "amend": lambda rest: rest.orders.amend("o-1", AMEND),
    "decrease": lambda rest: rest.orders.decrease("o-1", DECREASE),
    "place many": lambda rest: rest.orders.place_all([ORDER]),
    "cancel many": lambda rest: rest.orders.cancel_many([CANCEL]),
    "cancel all": lambda rest: rest.orders.cancel_all(),
    "create group": lambda rest: rest.groups.create(100, exchange_index=2),
    "trigger group": lambda rest: rest.groups.trigger("g-1", exchange_index=2),
    "delete group": lambda rest: rest.groups.delete("g-1", exchange_index=2),
    "transfer": lambda rest: rest.funds.transfer_between_shards(100, from_shard=0, to_shard=1, client_transfer_id="t"),
    "generate key": lambda rest: rest.account.generate_key("desk"),
}
# What leaves it open whether the venue did it. The body, where there is one, is a whole one of some other place.
HTML = "<html>Bad gateway</html>"
LOST: dict[str, Step] = {
    "cut": CUT,
    "timeout": SILENCE,
    "408": answer("408 Request Timeout", {"msg": "slow"}),
    "500": answer("500 Internal Server Error", {"error": {"code": "internal"}}),
    "502 html": answer("502 Bad Gateway", text=HTML),
    "503": answer("503 Service Unavailable", {"code": "exchange_unavailable"}),
    "504": answer("504 Gateway Timeout"),
    "cut JSON": cut_short(CREATED, '{"order_id":"o-'),
    "half a JSON": answer(CREATED, text='{"order_id":"o-'),
    "html": answer(OK, text=HTML),
    "another shape": answer(OK, ["order_id"]),
    "nested without end": answer(OK, text="[" * 100_000),
    "a number beyond numbers": answer(CREATED, text='{"order_id":"o-1","odd":1e99999999999999999999}'),
    "a date beyond dates": answer(OK, text="{", headers=f"Date: Mon, 01 Jan {10**20} 00:00:00 GMT\r\n"),
    "redirect": answer("307 Temporary Redirect", headers="Location: /elsewhere\r\n"),
}


def client(environment: Environment, signer: Signer, **options: object) -> Rest:
    return Rest(environment, signer, SystemClock(), **({"connection": BRIEF} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("how", LOST)
async def test_C1_a_write_without_a_clear_answer_is_unknown_and_sent_once(signer: Signer, what: str, how: str) -> None:
    venue, connection = ScriptedVenue(LOST[how]), HASTY if LOST[how] is SILENCE else BRIEF
    async with venue.running() as environment, client(environment, signer, connection=connection) as rest:
        with pytest.raises(OutcomeUnknown) as unknown:
            await WRITES[what](rest)
    assert len(venue.seen) == 1
    assert unknown.value.client_order_id == ("mm-1" if what == "place" else "")
    assert unknown.value.asked
    assert unknown.value.asked in str(unknown.value)


async def test_C1_an_answer_about_another_order_is_unknown(signer: Signer) -> None:
    placed = {"order_id": "o-1", "client_order_id": "mm-2", "fill_count": "0.00", "remaining_count": "25.00"}
    cancelled = {"order_id": "o-2", "reduced_by": "25.00"}
    venue = ScriptedVenue(answer(CREATED, placed), answer(OK, cancelled))
    async with venue.running() as environment, client(environment, signer) as rest:
        with pytest.raises(OutcomeUnknown):
            await rest.orders.place(ORDER)
        with pytest.raises(OutcomeUnknown):
            await rest.orders.cancel(CANCEL)


async def test_C1_a_delete_is_not_sent_again_when_a_kept_connection_breaks_under_it(signer: Signer) -> None:
    status = answer(OK, {"exchange_active": True, "trading_active": True})
    venue = ScriptedVenue(status, CUT, answer(OK, {"order_id": "o-1", "reduced_by": "25.00"}))
    async with venue.running() as environment, client(environment, signer) as rest:
        await rest.exchange.status()
        with pytest.raises(OutcomeUnknown):
            await rest.orders.cancel(CANCEL)
    assert venue.connections == 1, "the connection was a kept one"
    assert [seen.method for seen in venue.seen] == ["GET", "DELETE"]


async def test_a_write_is_never_sent_when_nobody_listens(signer: Signer, free_port: int) -> None:
    environment = Environment("local", f"http://127.0.0.1:{free_port}/trade-api/v2", "")
    async with client(environment, signer) as rest:
        with pytest.raises(NeverSent):
            await rest.orders.place(ORDER)


async def test_E5_a_write_is_never_sent_when_the_name_is_not_found(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> None:
        raise OSError("no such name")

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    async with client(Environment("local", "http://exchange.invalid/trade-api/v2", ""), signer) as rest:
        with pytest.raises(NeverSent):
            await rest.orders.place(ORDER)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        ("400 Bad Request", {"error": {"code": "invalid_order", "details": "post only cross"}}, OrderRejected),
        ("400 Bad Request", {"msg": "Parameter validation failed"}, InvalidRequest),
        ("401 Unauthorized", {"error": {"code": "authentication_error", "details": "NOT_FOUND"}}, Unauthorized),
        ("403 Forbidden", {"code": "forbidden", "message": "restricted to a single sub-account"}, Forbidden),
        ("404 Not Found", {"error": {"code": "not_found", "message": "not found"}}, NotFound),
        ("409 Conflict", {"error": {"code": "order_already_exists"}}, AlreadyExists),
        ("409 Conflict", {"error": {"code": "trading_is_paused"}}, Paused),
        ("409 Conflict", {"error": {"code": "fill_or_kill_insufficient_resting_volume"}}, OrderRejected),
        ("409 Conflict", {"error": {"code": "never heard of"}}, Conflict),
        ("410 Gone", {"error": {"code": "deprecated_v1_order_endpoint"}}, Retired),
        ("418 Teapot", {"error": "short and stout"}, RequestRefused),
        ("429 Too Many Requests", {"error": "too many requests"}, RateLimited),
    ],
)
async def test_C3_C6_a_clear_no_is_a_typed_refusal(
    signer: Signer, status: str, body: object, kind: type[RequestRefused]
) -> None:
    venue = ScriptedVenue(answer(status, body))
    async with venue.running() as environment, client(environment, signer) as rest:
        for write in (WRITES["place"], WRITES["cancel"], WRITES["trigger group"]):
            with pytest.raises(RequestRefused) as refused:
                await write(rest)
            assert type(refused.value) is kind
            assert refused.value.status == int(status[:3])
    assert len(venue.seen) == 3


async def test_C16_accepted_is_what_the_answer_says(signer: Signer) -> None:
    body = {
        "order_id": "o-1", "client_order_id": "mm-1", "fill_count": "10.00", "remaining_count": "0.00",
        "average_fill_price": "0.431250", "average_fee_paid": "0.017472", "ts_ms": 1_795_337_400_456, "new": [1],
    }  # fmt: skip
    venue = ScriptedVenue(answer(CREATED, body))
    async with venue.running() as environment, client(environment, signer) as rest:
        placed = await rest.orders.place(ORDER)
    assert (placed.fill_count_cx, placed.remaining_count_cx) == (1_000, 0)
    assert (placed.average_fill_price_ud, placed.average_fee_ud) == (431_250, 17_472)
    assert placed.engine_us == 1_795_337_400_456_000
    assert placed.unknown == {"new": [1]}


async def test_every_write_names_its_shard_and_speaks_the_venues_words(signer: Signer) -> None:
    venue = ScriptedVenue(answer("404 Not Found"))
    async with venue.running() as environment, client(environment, signer) as rest:
        for write in WRITES.values():
            with pytest.raises(NotFound):
                await write(rest)
    seen = dict(zip(WRITES, venue.seen, strict=True))
    base = "/trade-api/v2/portfolio"
    assert seen["place"].json() == {
        "ticker": "KXA-1", "client_order_id": "mm-1", "side": "bid", "count": "25.00", "price": "0.4300",
        "time_in_force": "good_till_canceled", "self_trade_prevention_type": "taker_at_cross", "exchange_index": 2,
    }  # fmt: skip
    assert seen["place"].headers["content-type"] == "application/json"
    assert seen["cancel"].target == f"{base}/events/orders/o-1?exchange_index=2&market_ticker=KXA-1"
    assert seen["cancel"].body == b""
    assert seen["amend"].json() == {
        "ticker": "KXA-1", "side": "ask", "price": "0.4400", "count": "1.00", "exchange_index": 2
    }  # fmt: skip
    assert seen["decrease"].json() == {"reduce_by": "1.00", "market_ticker": "KXA-1", "exchange_index": 2}
    assert seen["place many"].json() == {"orders": [seen["place"].json()]}
    assert seen["cancel many"].json() == {
        "orders": [{"order_id": "o-1", "market_ticker": "KXA-1", "exchange_index": 2}]
    }  # fmt: skip
    assert (seen["cancel many"].method, seen["cancel many"].target) == ("DELETE", f"{base}/events/orders/batched")
    assert (seen["cancel all"].method, seen["cancel all"].target) == ("DELETE", f"{base}/events/orders")
    assert seen["create group"].json() == {"contracts_limit_fp": "1.00", "exchange_index": 2}
    assert seen["trigger group"].target == f"{base}/order_groups/g-1/trigger?exchange_index=2"
    assert seen["trigger group"].json() == {}
    assert seen["delete group"].target == f"{base}/order_groups/g-1?exchange_index=2"
    assert seen["transfer"].json()["amount"] == 1


async def test_C5_a_read_is_asked_again_until_it_is_answered(signer: Signer) -> None:
    balance = {"balance_dollars": "98.0186", "balance": 9_801}
    venue = ScriptedVenue(
        CUT, answer("503 Service Unavailable"), answer("429 Too Many Requests", {"error": "too many"}),
        cut_short(OK, '{"balance'), answer(OK, text=HTML), answer(OK, balance),
    )  # fmt: skip
    async with venue.running() as environment, client(environment, signer) as rest:
        found = await rest.portfolio.balance()
    assert (found.balance_ud, found.balance_floor_ud) == (98_018_600, 98_010_000)
    assert len(venue.seen) == 6


async def test_C5_a_read_that_is_left_hanging_is_asked_again(signer: Signer) -> None:
    venue = ScriptedVenue(SILENCE, answer(OK, {"balance_dollars": "98.0186", "balance": 9_801}))
    async with venue.running() as environment, client(environment, signer, connection=HASTY) as rest:
        assert (await rest.portfolio.balance()).balance_ud == 98_018_600
    assert len(venue.seen) > 1


async def test_C5_a_read_that_cannot_be_asked_is_not_an_answer(signer: Signer) -> None:
    venue = ScriptedVenue(CUT)
    brief = Connection(deadline_s=0.05, first_wait_s=0.01)
    async with venue.running() as environment, Rest(environment, signer, SystemClock(), connection=brief) as rest:
        with pytest.raises(Disconnected):
            await rest.portfolio.order("o-1")
    assert len(venue.seen) > 1


async def test_a_refused_read_is_not_asked_again(signer: Signer) -> None:
    venue = ScriptedVenue(answer("404 Not Found", {"error": {"code": "not_found"}}))
    async with venue.running() as environment, client(environment, signer) as rest:
        with pytest.raises(NotFound):
            await rest.portfolio.order("o-1")
    assert len(venue.seen) == 1


async def test_an_answer_of_another_shape_names_the_field(signer: Signer) -> None:
    venue = ScriptedVenue(answer(OK, {"order": {"order_id": "o-1", "status": "resting"}}), answer(OK, {"orders": 1}))
    async with venue.running() as environment, client(environment, signer) as rest:
        with pytest.raises(ProtocolViolation, match="ticker is missing"):
            await rest.portfolio.order("o-1")
        with pytest.raises(ProtocolViolation, match="orders"):
            await rest.portfolio.orders().all()


async def test_a_closed_exchange_says_so_with_a_503(signer: Signer) -> None:
    closed = {"exchange_active": False, "trading_active": False, "exchange_estimated_resume_time": None}
    venue = ScriptedVenue(answer("503 Service Unavailable", closed))
    async with venue.running() as environment, client(environment, signer) as rest:
        status = await rest.exchange.status()
    assert not status.exchange_active
    assert len(venue.seen) == 1


async def test_pages_are_read_to_the_end_and_an_item_nobody_can_read_is_kept(
    signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    row = {"order_id": "o-1", "market_ticker": "KXA-1", "position_fp": "1.00"}
    first = {"market_positions": [{"ticker": "KXA-1", "position_fp": "-2.50"}, row], "cursor": "more"}
    second = {"market_positions": [{"ticker": "KXA-2", "position_fp": "1.001"}], "cursor": ""}
    venue = ScriptedVenue(answer(OK, first), answer(OK, second))
    async with venue.running() as environment, client(environment, signer) as rest:
        found = await rest.portfolio.positions(subaccount=0).all()
    assert [(each.ticker, each.position_cx) for each in found.items] == [("KXA-1", -250)]
    assert found.unreadable == (row, second["market_positions"][0]), "rounding would have made it fit"
    assert [record.action for record in caplog.records if record.levelno == logging.WARNING][:2] == [
        "rest_unreadable", "rest_unreadable"
    ]  # fmt: skip
    assert [seen.target.partition("?")[2] for seen in venue.seen] == [
        "limit=1000&subaccount=0", "limit=1000&subaccount=0&cursor=more"
    ]  # fmt: skip


async def test_a_cursor_that_repeats_ends_the_list(signer: Signer) -> None:
    venue = ScriptedVenue(answer(OK, {"fills": [], "cursor": "same"}))
    async with venue.running() as environment, client(environment, signer) as rest:
        assert (await rest.portfolio.fills().all()).items == ()
    assert len(venue.seen) == 2


async def test_each_order_of_a_batch_has_its_own_answer(signer: Signer) -> None:
    orders = [
        PlaceOrder(
            ticker="KXA-1", client_order_id=f"mm-{n}", side=Side.YES, count_cx=100, yes_price_cc=100, exchange_index=0
        )
        for n in range(5)
    ]
    entries = [
        {"order_id": "o-1", "client_order_id": "mm-1", "fill_count": "0.00", "remaining_count": "1.00"},
        {"client_order_id": "mm-0", "error": {"code": "invalid_price", "message": "invalid price"}},
        {"client_order_id": "mm-2", "error": {"code": "internal_server_error"}},
        {"client_order_id": "mm-3", "order_id": "o-3"},
    ]
    venue = ScriptedVenue(answer(CREATED, {"orders": entries}))
    async with venue.running() as environment, client(environment, signer) as rest:
        rejected, placed, failed, shapeless, missing = await rest.orders.place_all(orders)
    assert isinstance(rejected, OrderRejected)
    assert rejected.code == "invalid_price"
    assert placed.order_id == "o-1"  # type: ignore[union-attr]
    for unknown, name in ((failed, "mm-2"), (shapeless, "mm-3"), (missing, "mm-4")):
        assert isinstance(unknown, OutcomeUnknown)
        assert unknown.client_order_id == name


@pytest.mark.parametrize("error", ["not found", {"message": "something broke"}, {}, ["?"]])
async def test_an_item_with_an_error_of_no_known_shape_is_unknown_whatever_stands_beside_it(
    signer: Signer, error: object
) -> None:
    entry = {"order_id": "o-1", "reduced_by": "0.00", "error": error}
    venue = ScriptedVenue(answer(OK, {"orders": [entry]}))
    async with venue.running() as environment, client(environment, signer) as rest:
        (found,) = await rest.orders.cancel_many([CANCEL])
    assert isinstance(found, OutcomeUnknown)


async def test_an_item_that_the_validator_refused_is_refused(signer: Signer) -> None:
    entry = {"client_order_id": "mm-1", "error": {"msg": "Parameter validation failed"}}
    venue = ScriptedVenue(answer(CREATED, {"orders": [entry]}))
    async with venue.running() as environment, client(environment, signer) as rest:
        (found,) = await rest.orders.place_all([ORDER])
    assert isinstance(found, RequestRefused)


class Budget:
    """A limiter that gives the answers it was given."""

    def __init__(self, *answers: Granted | Refused) -> None:
        self.answers = list(answers)
        self.asked: list[Ask] = []
        self.told: list[Ask] = []

    async def acquire(self, ask: Ask) -> Granted | Refused:
        self.asked.append(ask)
        return self.answers.pop(0)

    async def rate_limited(self, ask: Ask) -> None:
        self.told.append(ask)


async def test_C6_nothing_leaves_that_the_budget_holds_back(signer: Signer) -> None:
    venue = ScriptedVenue(answer(OK))
    budget = Budget(Refused("EXCEEDS_BUDGET", "write", None, fits=3))
    async with venue.running() as environment, client(environment, signer, limiter=budget) as rest:
        with pytest.raises(HeldBack) as held:
            await rest.orders.place_all([ORDER])
    assert (held.value.reason, held.value.fits, held.value.wait_s) == ("EXCEEDS_BUDGET", 3, None)
    assert venue.seen == []
    assert budget.asked == [Ask(Work.CREATE, "POST", "/portfolio/events/orders/batched", 1, 0, is_batch=True)]


async def test_C6_a_read_waits_for_its_budget_and_a_429_is_told(signer: Signer) -> None:
    too_many = answer("429 Too Many Requests", {"error": "too many requests"})
    venue = ScriptedVenue(too_many, answer(OK, {"as_of_time": "2026-01-15T14:02:18.848643Z"}), too_many)
    budget = Budget(Refused("BUDGET_SPENT", "read", 1_000), Granted(), Granted(), Granted())
    async with venue.running() as environment, client(environment, signer, limiter=budget) as rest:
        found = await rest.exchange.user_data_timestamp()
        with pytest.raises(RateLimited):
            await rest.orders.cancel(CANCEL)
    assert found.as_of_us == 1_768_485_738_848_643
    assert [ask.work for ask in budget.asked] == [Work.READ, Work.READ, Work.READ, Work.CANCEL]
    assert [ask.work for ask in budget.told] == [Work.READ, Work.CANCEL]
    assert budget.asked[-1].exchange_index == 2


async def test_C15_no_key_and_no_signature_is_shown_anywhere(signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "-----BEGIN PRIVATE KEY-----"
    generated = {"api_key_id": "k-1", "private_key": secret}
    venue = ScriptedVenue(CUT, Step(b"HTTP/1.1 nonsense\r\n\r\n", "cut"), answer(CREATED, generated))
    told = []
    async with venue.running() as environment, client(environment, signer) as rest:
        for _ in range(2):
            with pytest.raises(OutcomeUnknown) as unknown:
                await rest.orders.place(ORDER)
            told += traceback.format_exception(unknown.value)
        key = await rest.account.generate_key("desk")
    assert key.private_key.reveal() == secret
    shown = "".join([*told, caplog.text, repr(key), repr(signer), repr(rest)])
    assert secret not in shown
    for seen in venue.seen:
        assert seen.headers["kalshi-access-signature"] not in shown
