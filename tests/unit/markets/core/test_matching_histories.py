"""The matching book against a slow one that keeps a plain list of orders, over histories of everything it can do."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from markets.core.matching import Match, MatchingBook, Outcome, RestingOrder, Withdrawn, WouldCross, WouldCrossSelf
from markets.core.units import DOLLAR_CC, Side

OWNERS = ("a", "b", "c")
PRICES = st.integers(47, 53).map(lambda cents: cents * 100)
COUNTS = st.integers(1, 400)


class SlowBook:
    """Orders as [id, owner, side, price, count], in the order in which they took their place."""

    def __init__(self) -> None:
        self.orders: list[list] = []

    def find(self, order_id: str) -> list:
        return next(order for order in self.orders if order[0] == order_id)

    def next_maker(self, side: Side, price_cc: int) -> list | None:
        makers = [order for order in self.orders if order[2] is not side and order[3] + price_cc >= DOLLAR_CC]
        return max(makers, key=lambda order: order[3], default=None)  # the first of the best: the oldest

    def place(self, order: list, *, rest: bool, withdraw_own: bool) -> tuple[list[tuple[str, int]], list[str], int]:
        """Return (maker, count) of each match, the own makers withdrawn, and what was given up."""
        matches, withdrawn = [], []
        _, owner, side, price_cc, _ = order
        while order[4] and (maker := self.next_maker(side, price_cc)):
            if maker[1] == owner:
                if not withdraw_own:
                    return matches, withdrawn, order[4]
                withdrawn.append(maker[0])
                self.orders.remove(maker)
                continue
            count_cx = min(order[4], maker[4])
            matches.append((maker[0], count_cx))
            order[4] -= count_cx
            maker[4] -= count_cx
            if not maker[4]:
                self.orders.remove(maker)
        if order[4] and rest:
            self.orders.append(order)
        return matches, withdrawn, 0

    def meets_own(self, order: list, price_cc: int, count_cx: int) -> bool:
        reach = [o for o in self.orders if o[2] is not order[2] and o[3] + price_cc >= DOLLAR_CC]
        for maker in sorted(reach, key=lambda o: -o[3]):
            if maker[1] == order[1]:
                return True
            count_cx -= maker[4]
            if count_cx <= 0:
                return False
        return False


class MatchingHistories(RuleBasedStateMachine):
    """What both books are asked, and what must be true of them after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.book, self.slow = MatchingBook(), SlowBook()
        self.told: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.placed = 0
        self.entered_cx = self.left_cx = 0

    def listen(self, outcome: Outcome) -> None:
        for change in outcome.changes:
            self.hear(change.side, change.price_cc, change.delta_cx)

    def hear(self, side: Side, price_cc: int, delta_cx: int) -> None:
        size = self.told[side].pop(price_cc, 0) + delta_cx
        if size:
            self.told[side][price_cc] = size

    def any_order(self, data: st.DataObject) -> list:
        return data.draw(st.sampled_from(self.slow.orders))

    @rule(
        owner=st.sampled_from(OWNERS), side=st.sampled_from(Side), price_cc=PRICES, count_cx=COUNTS,
        rest=st.booleans(), withdraw_own=st.booleans(), post_only=st.booleans(),
    )  # fmt: skip
    def place(
        self, owner: str, side: Side, price_cc: int, count_cx: int, rest: bool, withdraw_own: bool, post_only: bool
    ) -> None:
        self.placed += 1
        order_id = f"o{self.placed}"
        incoming = RestingOrder(order_id, owner, side, price_cc, count_cx)
        crosses = self.slow.next_maker(side, price_cc) is not None
        if post_only and crosses:
            with pytest.raises(WouldCross):
                self.book.place(incoming, post_only=True)
            return
        owners = {order[0]: order[1] for order in self.slow.orders}
        sizes = {order[0]: order[4] for order in self.slow.orders}
        order = [order_id, owner, side, price_cc, count_cx]
        matches, withdrawn, given_up = self.slow.place(order, rest=rest, withdraw_own=withdraw_own)
        outcome = self.book.place(incoming, rest=rest, withdraw_own=withdraw_own)
        assert [(m.maker_order_id, m.count_cx) for m in outcome.matches] == matches
        assert [step.order_id for step in outcome.steps if isinstance(step, Withdrawn)] == withdrawn
        assert outcome.self_trade_cx == given_up
        assert all(match.maker_owner != owner for match in outcome.matches)
        assert all(owners[order_id] == owner for order_id in withdrawn)
        self.listen(outcome)
        self.entered_cx += count_cx
        self.left_cx += sum(2 * traded_cx for _, traded_cx in matches)  # the taker's and the maker's
        self.left_cx += sum(sizes[o] - sum(c for m, c in matches if m == o) for o in withdrawn)
        self.left_cx += given_up if given_up else (0 if rest else order[4])

    @precondition(lambda self: self.slow.orders)
    @rule(data=st.data(), price_cc=st.none() | PRICES, count_cx=COUNTS)
    def amend(self, data: st.DataObject, price_cc: int | None, count_cx: int) -> None:
        order = self.any_order(data)
        price_cc = order[3] if price_cc is None else price_cc
        before_cx = order[4]
        if price_cc == order[3] and count_cx <= order[4]:
            outcome = self.book.amend(order[0], price_cc=price_cc, remaining_cx=count_cx)
            order[4] = count_cx
            matches: list[tuple[str, int]] = []
        elif self.slow.meets_own(order, price_cc, count_cx):
            with pytest.raises(WouldCrossSelf):
                self.book.amend(order[0], price_cc=price_cc, remaining_cx=count_cx)
            return
        else:
            self.slow.orders.remove(order)
            moved = [order[0], order[1], order[2], price_cc, count_cx]
            matches, _, _ = self.slow.place(moved, rest=True, withdraw_own=False)
            outcome = self.book.amend(order[0], price_cc=price_cc, remaining_cx=count_cx)
        assert [(m.maker_order_id, m.count_cx) for m in outcome.steps if isinstance(m, Match)] == matches
        self.listen(outcome)
        self.entered_cx += count_cx
        self.left_cx += before_cx
        self.left_cx += sum(2 * traded_cx for _, traded_cx in matches)

    @precondition(lambda self: self.slow.orders)
    @rule(data=st.data(), share=st.integers(1, 100))
    def reduce(self, data: st.DataObject, share: int) -> None:
        order = self.any_order(data)
        by_cx = max(1, order[4] * share // 100)
        change = self.book.reduce(order[0], by_cx)
        order[4] -= by_cx
        if not order[4]:
            self.slow.orders.remove(order)
        self.hear(change.side, change.price_cc, change.delta_cx)
        self.left_cx += by_cx

    @precondition(lambda self: self.slow.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = self.any_order(data)
        change = self.book.cancel(order[0])
        self.slow.orders.remove(order)
        self.hear(change.side, change.price_cc, change.delta_cx)
        self.left_cx += order[4]

    # --- always -------------------------------------------------------------------------------------------------------

    @invariant()
    def the_same_orders_rest(self) -> None:
        assert {(o.order_id, o.owner, o.side, o.price_cc, o.remaining_cx) for o in self.book.orders()} == {
            tuple(order) for order in self.slow.orders
        }

    @invariant()
    def no_book_crosses(self) -> None:
        yes, no = self.book.best_cc(Side.YES), self.book.best_cc(Side.NO)
        assert not (yes and no) or yes + no < DOLLAR_CC

    @invariant()
    def levels_are_the_sum_of_their_orders_and_of_what_was_told(self) -> None:
        for side in Side:
            sums: dict[int, int] = {}
            for _, _, order_side, price_cc, count_cx in self.slow.orders:
                if order_side is side:
                    sums[price_cc] = sums.get(price_cc, 0) + count_cx
            assert self.book.levels(side) == sums == self.told[side]
            assert self.book.best_cc(side) == max(sums, default=0)
            for price_cc in range(4_600, 5_400, 100):
                assert self.book.size_cx(side, price_cc) == sums.get(price_cc, 0)

    @invariant()
    def places_in_the_queue_are_those_of_a_plain_list(self) -> None:
        for number, order in enumerate(self.slow.orders):
            before = [o[4] for o in self.slow.orders[:number] if o[2] is order[2] and o[3] == order[3]]
            assert self.book.ahead_cx(order[0]) == sum(before)

    @invariant()
    def no_contract_appears_or_vanishes(self) -> None:
        assert self.entered_cx == self.left_cx + sum(order[4] for order in self.slow.orders)

    @invariant()
    def what_is_in_reach_is_counted_whole(self) -> None:
        for side in Side:
            for price_cc in (4_700, 5_000, 5_300):
                reach = [o for o in self.slow.orders if o[2] is not side and o[3] + price_cc >= DOLLAR_CC]
                assert self.book.reachable_cx(side, price_cc) == sum(order[4] for order in reach)


class TestMatchingHistories(MatchingHistories.TestCase):
    settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.long
@pytest.mark.timeout(1_200)
class TestLongMatchingHistories(MatchingHistories.TestCase):
    settings = settings(max_examples=600, stateful_step_count=100)
