"""What the stub venue makes of the bytes of a request, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kalshimm.bench import stubvenue
from kalshimm.bench.blaster import Own
from kalshimm.bench.moves import Arrival
from kalshimm.bench.stubvenue import Request, Stub, whole_request
from markets.core.units import NO, YES

BODY = b'{"client_order_id":"a","ticker":"T","side":"bid","count":"1.00","price":"0.3100"}'
POST = b"POST /trade-api/v2/portfolio/events/orders HTTP/1.1\r\nHost: x\r\ncontent-length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)
GET = b"GET /trade-api/v2/exchange/status?a=b HTTP/1.1\r\nHost: x\r\n\r\n"


@given(cut=st.integers(0, len(POST) - 1))
def test_a_request_is_none_before_its_last_byte(cut: int) -> None:
    assert whole_request(POST[:cut]) is None


def test_requests_are_told_one_by_one() -> None:
    found = whole_request(GET + POST)
    assert found is not None
    assert found == (Request("GET", "/exchange/status", {}), len(GET))
    placed = whole_request(POST + GET)
    assert placed is not None
    assert placed[1] == len(POST)
    assert placed[0].body["price"] == "0.3100"


def a_request(side: str, price: str) -> Request:
    body = {"client_order_id": side, "ticker": "T", "side": side, "count": "1.00", "price": price}
    return Request("POST", stubvenue.ORDERS, body)


def nobody(own: Own) -> None:
    del own


def test_bids_are_noted_with_their_moment_and_told_once() -> None:
    stub = Stub(nobody)
    stub.answer(a_request("bid", "0.3100"), 1.5)
    stub.answer(a_request("ask", "0.7000"), 1.6)
    came = stub.take()
    assert (came.bids, came.requests) == ([Arrival(1.5, 3_100)], 2)
    assert (stub.take().bids, stub.take().requests) == ([], 0)


def test_what_nobody_knows_is_not_found() -> None:
    for request in (Request("GET", "/markets", {}), Request("DELETE", f"{stubvenue.ORDERS}/order-1", {})):
        assert Stub(nobody).answer(request, 0.0)[0] == 404


def test_orders_show_in_the_book_of_their_side_until_they_are_canceled() -> None:
    told: list[Own] = []
    stub = Stub(told.append)
    stub.answer(a_request("bid", "0.3100"), 1.0)
    stub.answer(a_request("ask", "0.7000"), 1.0)
    cancel = Request("DELETE", f"{stubvenue.ORDERS}/order-2", {})
    assert [stub.answer(cancel, 2.0)[0] for _ in range(2)] == [200, 404]
    assert told == [Own(YES, 3_100, 100, "bid"), Own(NO, 3_000, 100, "ask"), Own(NO, 3_000, -100, "ask")]
