"""What a trader may do: limits on orders, position, money, rate and prices, the same for every strategy.

    what is wanted ──checked()──► what is allowed ──diff──► command ──denied_command()──► broker
    a day's result ──latched()──► a latch: nothing grows until a person releases it

Only what grows risk is refused by its size. The part of an order that closes the position passes but for a price that
the market does not have, and a rate that nothing excuses; cancels and decreases always pass.
A wish replaces what rests on its side, so `checked` counts it instead of that; a command stands beside all that rests,
so `denied_command` counts both. Orders of which nothing is proven count whole, both times.

What the account holds besides, of a person's or of before, counts where it makes things worse: it adds to the side that
it is on, in contracts and in cost, and gives the other side no room, for whoever owns it may close it at any moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from markets.core.settlement import Resting, collateral_ud
from markets.core.units import DOLLAR_CC, DOLLAR_UD, NO, YES, Side, yes_price_cc
from traders.core.commands import Command, PlaceOrder, TakeOrder
from traders.core.exposure import Unproven, side_exposure_ud
from traders.core.limits import BREACHES, Checked, Denied, Latch, Limits, RiskState
from traders.core.types import MarketView, Quote, Quotes, TraderState
from traders.core.why import Why

# What closes a position may leave more often than what grows it, and never without end.
CLOSING_A_MINUTE, CLOSING_TIMES = 60, 3
CENT_UD = DOLLAR_UD // 100


def checked(view: MarketView, state: TraderState, quotes: Quotes, limits: Limits, risk: RiskState) -> Checked:
    """Return the wishes as far as the limits allow them: smaller where a smaller size fits, gone where none does.

    What a take closes comes first, then the side that reduces the position, then the others. Cash that does not
    suffice for both sides is halved between them.
    """
    del state  # the risk has its own, which also knows what is not proven
    if not quotes.quotes and quotes.take is None:
        return Checked(quotes)
    quotes, denied = _without_own_cross(quotes, risk)
    look = _Look(view, limits, risk, risk.unknown)
    quotes, refusals = _checked_take(quotes, look)
    denied += refusals
    wished: Sequence[Quote] = quotes.quotes
    if risk.position_cx:
        wished = sorted(wished, key=lambda quote: -look.closable_cx(quote.side))
    for at, quote in enumerate(wished):
        standing_cx = sum([order.remaining_cx for order in risk.resting if order.side is quote.side])
        aside_ud = look.aside_ud(wished[at + 1 :])
        ask = _Ask(quote.side, quote.price_cc, standing_cx=standing_cx, aside_ud=aside_ud)
        fits_cx, refusal = look.fitting(ask, quote.count_cx)
        look.accept(ask, fits_cx)
        if refusal is not None:
            denied.append(refusal)
            left = Quote(quote.side, quote.price_cc, fits_cx) if fits_cx else None
            quotes = quotes.with_quote(quote.side, left, _why(refusal, quote.count_cx))
    return Checked(quotes, tuple(denied))


def denied_command(command: Command, view: MarketView, limits: Limits, risk: RiskState) -> Denied | None:
    """Return why a command may not go to a broker, or None: the last look, at what rests besides it."""
    if isinstance(command, PlaceOrder):
        ask = _Ask(command.side, command.price_cc)
    elif isinstance(command, TakeOrder):
        ask = _Ask(command.side, command.limit_cc, is_take=True)
    else:
        return None
    look = _Look(view, limits, risk, (*risk.resting, *risk.unknown))
    if look.has_outsider_against(ask) or (not ask.is_take and look.has_own_against(ask)):
        return Denied("OWN_CROSS", {"yes_price_cc": yes_price_cc(ask.side, ask.price_cc)}, ask.side)
    return look.barred(ask, command.count_cx) or look.refusal(ask, command.count_cx)


def room_cx(view: MarketView, quotes: Quotes, limits: Limits, risk: RiskState) -> tuple[int, int]:
    """Return by side how much of the wished quote may stand beside all that rests, while it replaces something."""
    look = _Look(view, limits, risk, (*risk.resting, *risk.unknown))
    room = [0, 0]
    for quote in quotes.quotes:
        ask = _Ask(quote.side, quote.price_cc)
        room[quote.side], _ = look.fitting(ask, quote.count_cx)
        look.accept(ask, room[quote.side])
    return room[YES], room[NO]


def latched(limits: Limits, risk: RiskState, now_us: int, day: str) -> Latch | None:
    """Return the latch that holds: the one that stands, or a new one where a day or a strategy went too far.

    Args:
        day: The trading day that the result is of, for whoever releases it.
    """
    if risk.latch is not None:
        return risk.latch
    loss = _loss(limits, risk)
    if loss is not None and not loss.code.endswith("_UNKNOWN"):
        return Latch(loss.code, now_us, {**loss.figures, "day": day})
    if risk.refused_in_minute >= limits.breaches_a_minute:
        figures = {"refused": risk.refused_in_minute, "most": limits.breaches_a_minute, "day": day}
        return Latch("BREACHES", now_us, figures)
    return None


def new_breaches(denied: Sequence[Denied], before: Sequence[Denied]) -> int:
    """Return how many refusals tell of a strategy gone wild, those of the decision before not counted again.

    The same refusal of other figures is the same: a quiet strategy in a market beyond its limits asks at every touch.
    """
    known = {(one.code, one.side) for one in before}
    return sum(one.code in BREACHES and not one.fits_cx and (one.code, one.side) not in known for one in denied)


def reserve_ud(limits: Limits, held_ud: int = 0) -> int:
    """Return the exposure that a trader may reach under its own limits: what starting it reserves above it.

    At worst it loses a whole position on its way to an equally large one of the other side.

    Args:
        held_ud: What it holds already cost; it may be more than limits that were lowered since.
    """
    return max(held_ud, min(limits.exposure_ud_most, 2 * limits.position_cx_most * DOLLAR_CC))


def _without_own_cross(quotes: Quotes, risk: RiskState) -> tuple[Quotes, list[Denied]]:
    """Return the wishes without a quote that would meet our own take, or another quote and grow the position."""
    denied: list[Denied] = []
    take, both = quotes.take, quotes.quotes
    dropped: list[Quote] = []
    if take is not None:
        dropped = [one for one in both if one.side is not take.side and one.price_cc + take.limit_cc >= DOLLAR_CC]
    if not dropped and len(both) > 1 and both[0].price_cc + both[1].price_cc >= DOLLAR_CC:
        growing = YES if (risk.position_cx or 0) >= 0 else NO
        dropped = [one for one in both if one.side is growing]
    for quote in dropped:
        refusal = Denied("OWN_CROSS", {"yes_price_cc": yes_price_cc(quote.side, quote.price_cc)}, quote.side)
        denied.append(refusal)
        quotes = quotes.with_quote(quote.side, None, _why(refusal, quote.count_cx))
    return quotes, denied


def _checked_take(quotes: Quotes, look: _Look) -> tuple[Quotes, list[Denied]]:
    take = quotes.take
    if take is None:
        return quotes, []
    ask = _Ask(take.side, take.limit_cc, is_take=True)
    fits_cx, refusal = look.fitting(ask, take.count_cx)
    look.accept(ask, fits_cx)
    if refusal is None:
        return quotes, []
    left = msgspec.structs.replace(take, count_cx=fits_cx) if fits_cx else None
    return msgspec.structs.replace(quotes, take=left).because(_why(refusal, take.count_cx)), [refusal]


def _why(refusal: Denied, wished_cx: int) -> Why:
    verb = "cut from {wished_cx} to {fits_cx}" if refusal.fits_cx else "held"
    figures = {"wished_cx": wished_cx, "fits_cx": refusal.fits_cx, **refusal.figures}
    return Why(refusal.code, f"{{side}} {verb}: {refusal.text}", figures, refusal.side)


def _unknown(code: str, what: str) -> Denied:
    return Denied(f"{code}_UNKNOWN", {"unknown": what})


def _loss(limits: Limits, risk: RiskState) -> Denied | None:
    result_ud, high_ud = risk.result_ud, risk.high_water_ud
    if result_ud is None:
        return _unknown("DAILY_LOSS", "the day's result")
    if result_ud <= -limits.daily_loss_ud:
        return Denied("DAILY_LOSS", {"result_ud": result_ud, "most_ud": limits.daily_loss_ud})
    if high_ud is None:
        return _unknown("DRAWDOWN", "the day's best result")
    if high_ud - result_ud >= limits.drawdown_ud:
        return Denied("DRAWDOWN", {"drawdown_ud": high_ud - result_ud, "most_ud": limits.drawdown_ud})
    return None


class _Ask(msgspec.Struct, frozen=True):
    """What somebody would like to add, of any size.

    Attributes:
        standing_cx: So much of it may need no new order: it rests on that side already.
        is_take: Whether it trades at once: then no touch is there to be compared with.
        aside_ud: Cash that it leaves to others.
    """

    side: Side
    price_cc: int
    standing_cx: int = 0
    is_take: bool = False
    aside_ud: int = 0


def _meets(order: Resting, ask: _Ask) -> bool:
    return order.side is not ask.side and order.price_cc + ask.price_cc >= DOLLAR_CC


class _Look:
    """One look at what may still be added to orders that may all fill."""

    __slots__ = ("created", "limits", "others", "others_cx", "risk", "stop", "view")

    def __init__(self, view: MarketView, limits: Limits, risk: RiskState, others: tuple[Resting, ...]) -> None:
        self.view = view
        self.limits = limits
        self.risk = risk
        self.others = others
        self.others_cx = [0, 0]
        for order in others:
            self.others_cx[order.side] += order.remaining_cx
        self.created = risk.created_in_minute
        self.stop = self._latch() or _loss(limits, risk) or self._outsiders()  # whatever is asked for

    def worst_cx(self, side: Side, position_cx: int) -> int:
        """Return the contracts of `side` that are held when all its orders fill."""
        return (position_cx if side is YES else -position_cx) + self.others_cx[side]

    def closable_cx(self, side: Side) -> int:
        """Return the contracts that a new order of `side` closes for certain, whatever else of that side fills."""
        position_cx = self.risk.position_cx
        return 0 if position_cx is None else max(0, -self.worst_cx(side, position_cx))

    def has_own_against(self, ask: _Ask) -> bool:
        return any(_meets(one, ask) for one in self.others)

    def has_outsider_against(self, ask: _Ask) -> bool:
        return any(_meets(one, ask) for one in self.risk.outside)

    def aside_ud(self, quotes: Sequence[Quote]) -> int:
        """Return the cash to set aside for quotes that come later: what they need, at most half of what is free."""
        cash_ud, position_cx = self.risk.cash_ud, self.risk.position_cx
        if not quotes or cash_ud is None or position_cx is None:
            return 0
        free_ud = cash_ud - collateral_ud(self.others, position_cx)
        need_ud = sum(max(0, quote.count_cx - self.closable_cx(quote.side)) * quote.price_cc for quote in quotes)
        return max(0, min(need_ud, free_ud // 2))

    def accept(self, ask: _Ask, count_cx: int) -> None:
        """Count an order among those that may fill."""
        if not count_cx:
            return
        self.others = (*self.others, Unproven(ask.side, ask.price_cc, count_cx))
        self.others_cx[ask.side] += count_cx
        if self.created is not None and count_cx > ask.standing_cx:
            self.created += 1

    def fitting(self, ask: _Ask, wished_cx: int) -> tuple[int, Denied | None]:
        """Return a size that is allowed, and what made it so small; None when it is allowed whole.

        It is the largest one, but where dearer orders of that side may close the position instead: there it may be
        smaller.
        """
        barred = self.barred(ask, wished_cx)
        if barred is not None:
            left_cx = min(ask.standing_cx, wished_cx) if barred.code in ("RATE_EXCEEDED", "SENDING_STOPPED") else 0
            return left_cx, msgspec.structs.replace(barred, fits_cx=left_cx)
        fits_cx = wished_cx
        denied: Denied | None = None
        while (refusal := self.refusal(ask, fits_cx)) is not None:
            # A limit that refuses what was cut to it refuses everything that grows.
            is_hopeless = denied is not None and denied.code == refusal.code
            least_cx = self.closable_cx(ask.side)
            fits_cx = least_cx if is_hopeless else max(least_cx, self._cut_cx(ask, fits_cx, refusal))
            denied = refusal
        return fits_cx, None if denied is None else msgspec.structs.replace(denied, fits_cx=fits_cx)

    def _cut_cx(self, ask: _Ask, count_cx: int, refusal: Denied) -> int:
        """Return the size that the limit leaves which refused `count_cx`."""
        over_ud: int | None = refusal.figures.get("over_ud")
        if over_ud is not None:
            return count_cx - -(-over_ud // ask.price_cc)  # each contract takes at least its price off
        over_cx: int | None = refusal.figures.get("over_cx")
        if over_cx is not None:
            return count_cx - over_cx
        return ask.standing_cx if refusal.code == "RATE_EXCEEDED" else 0

    def barred(self, ask: _Ask, count_cx: int) -> Denied | None:
        """Return why not even what closes may be asked for, or None: the venue would not take it, or not so often."""
        if not self.view.grid.contains(ask.side, ask.price_cc):
            return Denied("PRICE_OFF_GRID", {"yes_price_cc": yes_price_cc(ask.side, ask.price_cc)}, ask.side)
        if self.risk.stopped and count_cx > ask.standing_cx:
            return Denied("SENDING_STOPPED", {"because": self.risk.stopped}, ask.side)
        most = max(CLOSING_A_MINUTE, CLOSING_TIMES * self.limits.orders_a_minute)
        if count_cx > ask.standing_cx and self.created is not None and self.created >= most:
            return Denied("RATE_EXCEEDED", {"created": self.created, "most": most}, ask.side)
        return None

    def refusal(self, ask: _Ask, count_cx: int) -> Denied | None:
        """Return why so many are not allowed, or None. Of more it never says less."""
        if count_cx <= self.closable_cx(ask.side):
            return None
        denied = self.stop or self._size(ask, count_cx) or self._price(ask) or self._holding(ask, count_cx)
        return None if denied is None else msgspec.structs.replace(denied, side=ask.side)

    def _latch(self) -> Denied | None:
        latch = self.risk.latch
        if latch is None:
            return None
        return Denied("LATCHED", {"latch": latch.code, "age_us": self.view.time_us - latch.at_us})

    def _outsiders(self) -> Denied | None:
        if not self.risk.outside or not self.limits.waits_for_outsiders:
            return None
        return Denied("OUTSIDERS", {"orders": len(self.risk.outside)})

    def _size(self, ask: _Ask, count_cx: int) -> Denied | None:
        limits = self.limits
        if count_cx > limits.order_cx_most:
            over_cx = count_cx - limits.order_cx_most
            return Denied("ORDER_TOO_LARGE", {"most_cx": limits.order_cx_most, "over_cx": over_cx})
        if count_cx <= ask.standing_cx:
            return None
        if self.created is None:
            return _unknown("RATE", "new orders of the last minute")
        if self.created >= limits.orders_a_minute:
            return Denied("RATE_EXCEEDED", {"created": self.created, "most": limits.orders_a_minute})
        return None

    def _price(self, ask: _Ask) -> Denied | None:
        limits, grid = self.limits, self.view.grid
        yes_cc = yes_price_cc(ask.side, ask.price_cc)
        if not limits.price_cc_least <= yes_cc <= limits.price_cc_most:
            figures = {"yes_price_cc": yes_cc, "least_cc": limits.price_cc_least, "most_cc": limits.price_cc_most}
            return Denied("PRICE_OUTSIDE_COLLAR", figures)
        best_cc = self.view.book.best_cc[ask.side]
        if ask.is_take or ask.price_cc <= best_cc:
            return None
        steps = grid.rank(ask.side, ask.price_cc) - grid.rank(ask.side, best_cc)
        if steps > limits.from_touch_steps_most:
            figures = {"yes_price_cc": yes_cc, "steps": steps, "most": limits.from_touch_steps_most}
            return Denied("PRICE_BEYOND_TOUCH", figures)
        return None

    def _holding(self, ask: _Ask, count_cx: int) -> Denied | None:
        limits, risk = self.limits, self.risk
        if risk.position_cx is None:
            return _unknown("POSITION", "the position")
        if risk.outside_cx is None:
            return _unknown("POSITION", "what the account holds here besides")
        beside_cx = max(0, risk.outside_cx if ask.side is YES else -risk.outside_cx)
        orders = (*self.others, *risk.outside, Unproven(ask.side, ask.price_cc, count_cx))
        outside_cx = sum([order.remaining_cx for order in risk.outside if order.side is ask.side])
        could_be_cx = self.worst_cx(ask.side, risk.position_cx) + outside_cx + count_cx + beside_cx
        if could_be_cx > limits.position_cx_most:
            figures = {"worst_cx": could_be_cx, "most_cx": limits.position_cx_most}
            return Denied("POSITION_EXCEEDS_MAX", {**figures, "over_cx": could_be_cx - limits.position_cx_most})
        if risk.cost_ud is None:
            return _unknown("EXPOSURE", "what the position cost")
        if beside_cx and risk.outside_cost_ud is None:
            return _unknown("EXPOSURE", "what the account's other contracts cost")
        beside_ud = (risk.outside_cost_ud or 0) if beside_cx else 0
        exposed_ud = side_exposure_ud(ask.side, risk.position_cx, risk.cost_ud, orders) + beside_ud
        if exposed_ud > limits.exposure_ud_most:
            figures = {"exposure_ud": exposed_ud, "most_ud": limits.exposure_ud_most}
            return Denied("EXPOSURE_EXCEEDS_MAX", {**figures, "over_ud": exposed_ud - limits.exposure_ud_most})
        # The venue knows one position: what closes ours may open there, where others hold the other side.
        need_ud = max(
            collateral_ud(orders, held_cx) for held_cx in (risk.position_cx, risk.position_cx + risk.outside_cx)
        )
        return self._allotments(exposed_ud) or self._cash(need_ud, ask.aside_ud)

    def _allotments(self, exposed_ud: int) -> Denied | None:
        if self.risk.allotments is None:
            return _unknown("ALLOTMENT", "allotments")
        tightest: Denied | None = None
        for allotted in self.risk.allotments:
            if allotted.most_ud is None or allotted.used_ud is None:
                return _unknown("ALLOTMENT", f"the allotment of {allotted.name}")
            over_ud = exposed_ud + allotted.used_ud - allotted.most_ud
            if over_ud > 0 and (tightest is None or over_ud > tightest.figures["over_ud"]):
                figures = {"exposure_ud": exposed_ud, "used_ud": allotted.used_ud, "most_ud": allotted.most_ud}
                tightest = Denied("ALLOTMENT_EXCEEDED", {"name": allotted.name, **figures, "over_ud": over_ud})
        return tightest

    def _cash(self, need_ud: int, aside_ud: int) -> Denied | None:
        risk = self.risk
        if risk.cash_ud is None:
            return _unknown("CASH", "cash on the market's shard")
        over_ud = need_ud + aside_ud - risk.cash_ud
        if over_ud <= 0:
            return None
        # A transfer is told in whole cents.
        move_ud = -(-over_ud // CENT_UD) * CENT_UD
        richest, most_ud = max(risk.shards.items(), key=lambda shard: (shard[1], -shard[0]), default=(None, 0))
        figures = {
            "need_ud": need_ud,
            "aside_ud": aside_ud,
            "cash_ud": risk.cash_ud,
            "over_ud": over_ud,
            "exchange_index": risk.exchange_index,
            "move_ud": move_ud,
            "from_index": richest if most_ud >= move_ud else None,
        }
        return Denied("CASH_SHORT", figures)
