"""Invariants of orders, judged by the exchange's ledger and the traders' journals (faults.md, "Invariants").

    I1   one order an intent, asked for once, never larger than wished
    I2   whatever rests is known, as it rests, to a trader that lives; a person's orders are listed as such
    I3   what a trader booked = its fills at the exchange; positions agree wherever one is kept
    I4   position, what rests and what may rest, at its worst, within the limits at every instant
    I5   each create and amend was decided on a book that was good then          (tests.faults.told)
    I6   a dry-run trader writes nothing to the exchange
    I9   each intent was on record before it left, and ends explained, as it truly ended
    I10  requests stay within the tokens, and creates leave what cancels need    (tests.faults.tokens)

Pure: each function takes values and returns what is wrong, in words. Lines and journal share one machine's clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

import msgspec

from feed.schema import OrderIntent, OrderState
from markets.core import orderids
from tests.faults.ledger import CANCELED, DOLLAR_CC, EXECUTED, RESTING, FillAt, Ledger, Moment, OrderAt, Request
from tests.faults.records import CREATES, Noted, Record
from tests.faults.truth import SIDES

YES, NO = SIDES["yes"], SIDES["no"]
ENDS = {CANCELED: "canceled", EXECUTED: "filled"}
SETTLED_ANSWERS = ("declined", "not sent", "closed", "not found")  # of a create: it is certain that there is no order


class Most(msgspec.Struct, frozen=True):
    """A trader's limits as far as the ledger shows whether they hold."""

    position_cx: int
    exposure_ud: int


class Party(msgspec.Struct, kw_only=True):
    """One trader as it is judged.

    epoch: Of the lease under which it lives; None when it does not live.
    since: Number of the journal's line after which intents are judged.
    """

    trader: int
    installation: int
    ticker: str
    record: Record
    most: Most
    epoch: int | None = None
    since: int = 0

    def owns(self, client_order_id: str) -> orderids.OrderId | None:
        """Return what an id of this trader says; None for anybody else's."""
        found = orderids.decode(client_order_id)
        return found if found and (found.installation, found.trader) == (self.installation, self.trader) else None


# ---- I1 ------------------------------------------------------------------------------------------------------------


def doubled(ledger: Ledger, parties: Sequence[Party], *, since: int = 0) -> list[str]:
    """Return where more was asked for, or accepted, than one intent wished; of lines after `since`."""
    problems = []
    asked = Counter(one for request in ledger.requests if request.number > since for one in request.creates)
    for client_order_id, times in asked.items():
        if times > 1:
            problems.append(f"I1 {client_order_id} was sent {times} times")
    named = Counter(order.client_order_id for order in ledger.newest() if order.client_order_id)
    problems += [f"I1 {times} orders of the id {one}" for one, times in named.items() if times > 1]
    for party in parties:
        creates = party.record.creates()
        for history in ledger.orders.values():
            if history[-1].number > since and party.owns(history[0].client_order_id):
                problems += _grown(history, creates.get(history[0].client_order_id))
    return problems


def _grown(history: list[OrderAt], intent: Noted[OrderIntent] | None) -> list[str]:
    name = history[0].client_order_id
    if intent is None:
        return [f"I1 order {name} is at the exchange, and no intent wished it"]
    wished_cx = intent.body.count_cx or 0
    most_cx = max(order.initial_cx for order in history)
    filled_cx = max(order.filled_cx for order in history)
    if most_cx > wished_cx or filled_cx > wished_cx:
        return [f"I1 order {name} has {most_cx} and filled {filled_cx} of the {wished_cx} wished"]
    return []


# ---- I2 ------------------------------------------------------------------------------------------------------------


def orphans(ledger: Ledger, parties: Sequence[Party], *, external: Collection[str] = ()) -> list[str]:
    """Return what rests without a living trader that knows it so.

    Args:
        external: Order ids that somebody has listed as not ours.
    """
    problems = []
    for order in ledger.resting():
        owner = next((party for party in parties if party.owns(order.client_order_id)), None)
        if owner is not None:
            problems += _unclaimed(order, owner)
        elif order.order_id not in external:
            problems.append(f"I2 {_named(order)} is nobody's, and nobody listed it as external")
    return problems


def _unclaimed(order: OrderAt, owner: Party) -> list[str]:
    found = owner.owns(order.client_order_id)
    assert found is not None
    if owner.epoch is None:
        return [f"I2 {_named(order)} rests, and trader {owner.trader} does not live"]
    if found.epoch != owner.epoch:
        return [f"I2 {_named(order)} is of epoch {found.epoch}, and trader {owner.trader} lives in {owner.epoch}"]
    known = owner.record.newest(order.client_order_id)
    if known is None or known.body.status != RESTING:
        return [f"I2 {_named(order)} rests; to trader {owner.trader} it is {known.body if known else 'unknown'}"]
    seen = (known.body.price_cc, known.body.filled_cx, known.body.remaining_cx)
    if seen != (order.price_cc, order.filled_cx, order.remaining_cx):
        return [f"I2 {_named(order)} rests otherwise than trader {owner.trader} knows: {known.body}"]
    return []


def _named(order: OrderAt) -> str:
    return (
        f"order {order.order_id} ({order.client_order_id or 'no client id'}; {order.remaining_cx} of "
        f"{order.initial_cx} at {order.price_cc} on side {order.side} in {order.ticker})"
    )


# ---- I3 ------------------------------------------------------------------------------------------------------------


def misbooked(ledger: Ledger, parties: Sequence[Party], *, since: int = 0) -> list[str]:
    """Return fills after line `since` that their trader did not book exactly once, as they were."""
    problems = []
    for party in parties:
        theirs = {
            (fill.order_id, fill.trade_id): fill
            for fill in ledger.fills
            if fill.number > since and party.owns(fill.client_order_id)
        }
        booked = Counter((line.body.order_id, line.body.trade_id) for line in party.record.fills)
        problems += [f"I3 trader {party.trader} booked fill {key} {times} times"
                     for key, times in booked.items() if times > 1]  # fmt: skip
        problems += [f"I3 trader {party.trader} has not booked {fill}"
                     for key, fill in theirs.items() if key not in booked]  # fmt: skip
        known = {(fill.order_id, fill.trade_id) for fill in ledger.fills}
        problems += [f"I3 trader {party.trader} booked {key}, which the exchange does not know"
                     for key in booked if key not in known]  # fmt: skip
        for line in party.record.fills:
            fill = theirs.get((line.body.order_id, line.body.trade_id))
            if fill is not None:
                problems += _otherwise(fill, line, party)
    return problems


def _otherwise(fill: FillAt, line: Noted, party: Party) -> list[str]:
    body = line.body
    true = (fill.client_order_id, fill.side, fill.price_cc, fill.count_cx, fill.is_taker)
    told = (body.client_order_id, body.side, body.price_cc, body.count_cx, body.is_taker)
    if true != told or body.fee_ud not in (None, fill.fee_ud):
        return [f"I3 trader {party.trader} booked {body}; at the exchange it was {fill}"]
    return []


def positions_apart(ticker: str, **kept: int | None) -> list[str]:
    """Return a problem unless everybody who keeps a position of a market keeps the same; None keeps none."""
    known = {who: position_cx for who, position_cx in kept.items() if position_cx is not None}
    if len(set(known.values())) <= 1:
        return []
    return [f"I3 positions of {ticker} differ: {', '.join(f'{who} {cx}' for who, cx in known.items())}"]


class KnownOrder(Protocol):
    """An order as a table has it."""

    @property
    def order_id(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def filled_cx(self) -> int: ...
    @property
    def remaining_cx(self) -> int: ...


def stored_apart(
    ledger: Ledger, orders: Iterable[KnownOrder], fills: Collection[tuple[str, str]], *, since: int = 0
) -> list[str]:
    """Return what of the account the database does not know as the exchange does, of what changed after `since`."""
    known = {order.order_id: order for order in orders}
    problems = []
    for order in ledger.newest():
        found = known.get(order.order_id)
        told = None if found is None else (found.status == RESTING, found.filled_cx, found.remaining_cx)
        if order.number > since and told != (not order.is_over, order.filled_cx, order.remaining_cx):
            problems.append(f"I3 stored otherwise than it is: {_named(order)}, {order.filled_cx} filled; {found}")
    missing = [fill for fill in ledger.fills if fill.number > since and (fill.order_id, fill.trade_id) not in fills]
    return [*problems, *(f"I3 not stored: {fill}" for fill in missing)]


# ---- I4 ------------------------------------------------------------------------------------------------------------


class Holding:
    """What one trader holds and may come to hold, as the ledger tells it; money before fees."""

    def __init__(self) -> None:
        self.position_cx = 0
        self.cost_ud = 0
        self.orders: dict[str, tuple[int, int, int]] = {}  # order id → side, price, remaining
        self.unknown: dict[str, tuple[int, int, int]] = {}  # client order id → the same, sent and not heard of

    def take(self, moment: Moment) -> None:
        if isinstance(moment, OrderAt):
            self.unknown.pop(moment.client_order_id, None)
            self.orders.pop(moment.order_id, None)
            if not moment.is_over and moment.remaining_cx:
                self.orders[moment.order_id] = (moment.side, moment.price_cc, moment.remaining_cx)
            return
        self._use_up(self.orders, moment.order_id, moment.count_cx)
        self._use_up(self.unknown, moment.client_order_id, moment.count_cx)
        self.position_cx, self.cost_ud = filled(
            self.position_cx, self.cost_ud, moment.side, moment.price_cc, moment.count_cx
        )

    def _use_up(self, orders: dict[str, tuple[int, int, int]], name: str, count_cx: int) -> None:
        """Take what was filled off an order; its own message follows, or comes first where it traded at once."""
        if name in orders:
            side, price_cc, left_cx = orders[name]
            orders[name] = (side, price_cc, max(0, left_cx - count_cx))

    def worst_cx(self) -> int:
        """Return the largest position, of either side, that all orders of that side could make."""
        sums = [sum(cx for at, _, cx in self._all() if at == side) for side in (YES, NO)]
        return max(self.position_cx + sums[YES], sums[NO] - self.position_cx)

    def worst_ud(self) -> int:
        """Return the most that the open position could come to cost, or that could be lost in all."""
        return max(self._worst_of(side) for side in (YES, NO))

    def _worst_of(self, side: int) -> int:
        """Return it for one side alone filling, the cheapest first: those close, and the dearest open."""
        position_cx, cost_ud, spent_ud = self.position_cx, self.cost_ud, self.cost_ud
        worst_ud = cost_ud
        for _, price_cc, count_cx in sorted((one for one in self._all() if one[0] == side), key=lambda one: one[1]):
            closed_cx = closing_cx(position_cx, side, count_cx)
            spent_ud += count_cx * price_cc - closed_cx * DOLLAR_CC
            position_cx, cost_ud = filled(position_cx, cost_ud, side, price_cc, count_cx)
            worst_ud = max(worst_ud, cost_ud)
        return max(worst_ud, spent_ud)

    def _all(self) -> list[tuple[int, int, int]]:
        return [*self.orders.values(), *self.unknown.values()]


def closing_cx(position_cx: int, side: int, count_cx: int) -> int:
    held_cx = -position_cx if side == YES else position_cx
    return min(count_cx, max(0, held_cx))


def filled(position_cx: int, cost_ud: int, side: int, price_cc: int, count_cx: int) -> tuple[int, int]:
    """Return position and what its open contracts cost after a fill."""
    closed_cx = closing_cx(position_cx, side, count_cx)
    if closed_cx:
        cost_ud -= cost_ud * closed_cx // abs(position_cx)
    cost_ud += (count_cx - closed_cx) * price_cc
    return position_cx + (count_cx if side == YES else -count_cx), cost_ud


def limits_passed(ledger: Ledger, party: Party, *, since_us: int = 0) -> list[str]:
    """Return where a trader's worst case passed its limits: the first instant after `since_us`, and how many."""
    holding, found = Holding(), []
    for at_us, step in _timeline(ledger, party):
        if isinstance(step, OrderIntent):
            holding.unknown[step.client_order_id] = (step.side or 0, step.price_cc or 0, step.count_cx or 0)
        elif isinstance(step, str):
            holding.unknown.pop(step, None)
        else:
            holding.take(step)
        if at_us < since_us:
            continue
        worst_cx, worst_ud = holding.worst_cx(), holding.worst_ud()
        if worst_cx > party.most.position_cx or worst_ud > party.most.exposure_ud:
            found.append(f"{worst_cx} contracts and {worst_ud} micro-dollars at worst after {step}")
    return [f"I4 trader {party.trader}, {len(found)} instants beyond {party.most}: {found[0]}"] if found else []


def _timeline(ledger: Ledger, party: Party) -> list[tuple[int, Moment | OrderIntent | str]]:
    """Return, in order of time, what happened to a trader's orders, what it sent, and the ids it knew to be nothing."""
    steps: list[tuple[int, Moment | OrderIntent | str]] = [
        (moment.at_us, moment) for moment in ledger.moments if party.owns(moment.client_order_id)
    ]
    arrived = {step.client_order_id: at_us for at_us, step in reversed(steps) if not isinstance(step, str)}
    record = party.record
    for number, sent in record.sent.items():
        intent = record.intents[number].body if number in record.intents else None
        if intent is None or intent.verb not in CREATES:
            continue
        if arrived.get(intent.client_order_id, sent.at_us + 1) > sent.at_us:
            steps.append((sent.at_us, intent))
        steps += [(at_us, intent.client_order_id) for at_us in _known_nothing(record, intent)]
    return sorted(steps, key=lambda step: step[0])


def _known_nothing(record: Record, intent: OrderIntent) -> list[int]:
    """Return when a trader knew that nothing would come of a create."""
    answer, state = record.answers.get(intent.number), record.newest(intent.client_order_id)
    found = [answer.at_us] if answer and answer.body.outcome in SETTLED_ANSWERS else []
    return [*found, state.at_us] if state and state.body.status == "refused" else found


# ---- I6 ------------------------------------------------------------------------------------------------------------


def writes(requests: Iterable[Request], *, since: int = 0) -> list[str]:
    """Return the requests after line `since` that would change something, whoever sent them."""
    return [
        f"I6 {request.method} {request.path} by {request.account or 'nobody known'}"
        for request in requests
        if request.number > since and request.is_write
    ]


# ---- I9 ------------------------------------------------------------------------------------------------------------


def unexplained(ledger: Ledger, party: Party, *, since: int = 0) -> list[str]:
    """Return intents that do not end explained, or as they truly ended, and requests that nobody wrote down first."""
    record = party.record
    problems = [f"I9 trader {party.trader}: {problem}" for problem in record.problems]
    problems += _unwritten(ledger, party, since)
    for line in record.intents.values():
        if line.number > party.since:
            problems += _open_end(ledger, record, line)
    return problems


def _unwritten(ledger: Ledger, party: Party, since: int) -> list[str]:
    """Return requests that left before their intent was on record, or without one."""
    record, problems = party.record, []
    creates = record.creates()
    for request in ledger.requests:
        for one in filter(party.owns, request.creates if request.number > since else []):
            intent = creates.get(one)
            sent = record.sent.get(intent.body.number) if intent else None
            if intent is None or sent is None or sent.at_us > request.at_us:
                problems.append(f"I9 {one} reached the exchange before its intent and its sending were on record")
    asked = Counter((_change(word), one) for request in ledger.requests for word, one in request.changes)
    wished = Counter((_change(line.body.verb), line.body.order_id) for line in record.intents.values())
    for (word, order_id), times in asked.items():
        history = ledger.orders.get(order_id)
        if history and party.owns(history[0].client_order_id) and times > wished[word, order_id]:
            problems.append(f"I9 {times} requests to {word} order {order_id}, and {wished[word, order_id]} intents")
    return problems


def _change(verb: str) -> str:
    """Return what a verb comes to at the exchange: whether a decrease is sent as an amend is the sender's affair."""
    return verb if verb in ("cancel", *CREATES) else "change"


def _open_end(ledger: Ledger, record: Record, line: Noted[OrderIntent]) -> list[str]:
    """Return what is wrong with how an intent ended."""
    intent = line.body
    name = f"intent {intent.number} ({intent.verb} {intent.client_order_id})"
    answer, state = record.answers.get(intent.number), record.newest(intent.client_order_id)
    found = ledger.of_client_id(intent.client_order_id)
    if intent.verb not in CREATES:
        is_over = bool(found) and found[0].is_over
        return [] if answer or is_over else [f"I9 {name} was never answered, and its order is not over"]
    if not found:
        outcome = answer.body.outcome if answer else "no answer"
        is_settled = outcome in SETTLED_ANSWERS or (state is not None and state.body.status == "refused")
        return [] if is_settled else [f"I9 {name} left no order, and ended with: {outcome}, {_said(state)}"]
    states = record.states.get(intent.client_order_id, [])
    return [f"I9 {name}: {problem}" for problem in _untrue(found[0], states, is_take=intent.verb == "take")]


def _untrue(order: OrderAt, told: Sequence[Noted[OrderState]], *, is_take: bool) -> list[str]:
    """Return where what was told of an order is not what became of it, or came before it did.

    A take may be cut to the position that it closes: the exchange then calls it executed, and of what was wished a part
    was canceled on arrival.
    """
    if not told:
        return [f"nobody wrote what became of {_named(order)}"]
    for line in told:
        if line.body.status == "refused":
            return ["it was told refused, and it was there"]
        if line.body.status != RESTING and line.at_us < order.at_us:
            return [f"it was told over {order.at_us - line.at_us} us before it was"]
        if line.body.status != RESTING and line.body.filled_cx != order.filled_cx:
            return [f"it was told over with {line.body.filled_cx} filled, of {order.filled_cx}"]
    body = told[-1].body
    is_whole = order.filled_cx >= body.placed_cx > 0
    status = "filled" if order.is_over and is_whole else ENDS.get(order.status, order.status)
    if is_take and order.status == EXECUTED and not is_whole and body.status == "canceled":
        status = body.status
    true = (status, order.order_id, order.filled_cx, order.remaining_cx)
    if (body.status, body.order_id, body.filled_cx, body.remaining_cx) != true:
        return [f"it is {status} with {order.filled_cx} filled and {order.remaining_cx} remaining, and was told {body}"]
    return []


def _said(state: Noted[OrderState] | None) -> str:
    return f"{state.body.status} {state.body.reason}".strip() if state else "no state"


# ---- all of them ---------------------------------------------------------------------------------------------------


class Verdict(msgspec.Struct):
    """What was judged, and what is wrong."""

    problems: list[str]
    moments: list[Moment]

    def judged_after(self, at_us: int) -> int:
        """Return how many changes of orders and fills of the traders came after a moment."""
        return sum(moment.at_us > at_us for moment in self.moments)


def judge(
    ledger: Ledger, parties: Sequence[Party], *, since: int, since_us: int, external: Collection[str] = ()
) -> Verdict:
    """Return the verdict on what happened after line `since` of the ledger, which was written at `since_us`."""
    problems = doubled(ledger, parties, since=since)
    problems += orphans(ledger, parties, external=external)
    problems += misbooked(ledger, parties, since=since)
    for party in parties:
        problems += limits_passed(ledger, party, since_us=since_us)
        problems += unexplained(ledger, party, since=since)
    moments = [
        moment
        for moment in ledger.moments
        if moment.number > since and any(party.owns(moment.client_order_id) for party in parties)
    ]
    return Verdict(problems, moments)


def most_at_once(record: Record, verbs: Collection[str]) -> int:
    """Return how many intents of these verbs were on their way at once, of one side, at the most (C8).

    A cancel is of the side of its order.
    """
    sides = {line.body.client_order_id: line.body.side for line in record.creates().values()}
    steps = []
    for number, line in record.intents.items():
        sent, answer = record.sent.get(number), record.answers.get(number)
        if line.body.verb in verbs and sent is not None:
            side = sides.get(line.body.client_order_id)
            steps += [(sent.number, side, 1), (answer.number if answer else record.last_number + 1, side, -1)]
    under_way, most = Counter[int | None](), 0
    for _, side, change in sorted(steps):
        under_way[side] += change
        most = max(most, under_way[side])
    return most
