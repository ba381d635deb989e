"""The live orders of one trader in one market: wishes in, evidence in, what is proven and what is not out. Pure.

          command                                                   answer         showing, fill, group, look
             │                                                         │                     │
             ▼                                                         ▼                     ▼
    wish() ─► Intent ─► journal ─► send() ─► Sent ─► journal, wire ─► answered()     on_…(), looked()
             │             (durable first)                             └──────────┬──────────┘
             ▼                                                                    ▼
           Held                         wished ► in flight ► unknown ► resting ► ended     (traders.core.liveorder)
                                                                                  │
              resting(), unproven(), external(), in_flight()  ◄───────────────────┤
              due_looks(), due_cancels(), overdue()           ◄───────────────────┤
              take() ► orders and fills, each change once     ◄───────────────────┘

For whoever sends (`now_us` is always the exchange's time as far as it is known, by a clock that nobody sets back):

    1. `wish(command)` gives an intent, or says why not. The intent is made durable; if that fails it is answered
       NOT_SENT, and nothing leaves.
    2. `send(number)` gives `Sent` just before the request leaves, once: there is no second time. Where the intent has
       been overtaken it gives the answer NOT_SENT instead. Either is written down.
    3. What comes back, or does not, is `answered`, and written down. A call that is given up is UNKNOWN.
    4. The account's stream goes into on_order, on_fill and on_group, its whole entries into on_whole.
    5. Each loop: orders of `due_looks` are looked at. `looking` when it begins; then the fills that it found into
       on_fill, and the order as a listing of all states shows it, or None when that does not have it, into `looked`. A
       look that fails is told to nobody. `due_cancels` are intents as of 1. For `overdue` the group is triggered.
    6. What `take` gives is told to the engine, and written down: a fill as Booked, an order as Told, whether as these
       or as what the journal has for them. `take_alerts` are for a person. A checkpoint keeps `kept`.

How it is read by traders.core.diff: an order that is being canceled still rests, and so does all of one that is being
decreased, until it is proven otherwise; its side is in `in_flight().cancels` or `.amends` as long. What was wished and
is not proven to rest is `unproven`, at its most, and its side is in `.creates`: at most one new order a side is not
known (C8). So `resting` + `unproven` cover whatever may fill beyond what is booked.

Nothing is ever taken for done because time has passed. After 60 s in doubt the trader is fenced: no new order or change
until a new process with a new group; cancels always go. The same when its group was triggered or deleted (F11): that is
told, or shown by the venue's refusal of an order for it. Or when an order of its own later lease is seen. After a
restart (`recover`) all that was not complete is unknown until looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
from msgspec.structs import replace

from markets.core.orderids import Owner
from traders.core import liveviews, livewishes
from traders.core.commands import CancelOrder, Command, DecreaseOrder, PlaceOrder, RenewOrder, TakeOrder
from traders.core.diff import InFlight
from traders.core.evidence import DELETED, MS_US, TRIGGERED, ShownFill, ShownGroup, ShownOrder, seen
from traders.core.exposure import Unproven
from traders.core.intents import Answered, Cancel, Held, Intent, Outcome, Record, Sent, Wish
from traders.core.livealerts import Alert
from traders.core.livecalls import Call, Calls
from traders.core.livechanges import Cancelling
from traders.core.liveledger import LiveLedger
from traders.core.liveorder import LiveOrder, Standing
from traders.core.liveshelf import Ids
from traders.core.orders import Fill, Order, RestingQuote


class Kept(msgspec.Struct, frozen=True):
    """What a checkpoint keeps: the journal's records after it bring it up to date.

    Attributes:
        orders: All that are not complete.
        calls: Intents that nobody had answered.
        over: Ids of the last orders that were complete.
    """

    next_number: int = 1
    orders: tuple[LiveOrder, ...] = ()
    calls: tuple[Call, ...] = ()
    over: tuple[Ids, ...] = ()


# The venue's refusals of an order for the sake of its group. That it was triggered is told once, and no list shows it:
# whoever was cut off just then learns it by these.
CLOSED_GROUP = frozenset({"exceeded_order_group_risk_limit", "order_group_not_found"})


class LiveOrders:
    """All that is known of them.

    Args:
        owner: Makes the client order ids of this lease.
        group_id: Of the order group that its creates name.
        kept: Of the checkpoint; the first number of an intent is in it.
    """

    def __init__(self, owner: Owner, ticker: str, *, group_id: str = "", kept: Kept = Kept()) -> None:  # noqa: B008
        self.fenced = ""
        self._owner, self._ticker, self._group_id = owner, ticker, group_id
        self._ledger = LiveLedger(Calls(kept.next_number, kept.calls), kept.over)

    @classmethod
    def recover(
        cls,
        owner: Owner,
        ticker: str,
        records: Iterable[Record],
        *,
        now_us: int,
        group_id: str = "",
        kept: Kept = Kept(),  # noqa: B008 - frozen
    ) -> Self:
        """Return what is known after a restart: all that is not complete is unknown until it is looked at.

        Args:
            owner: Of the new lease.
            records: Of the journal, of every lease, from the checkpoint on or from earlier.
        """
        live = cls(owner, ticker, group_id=group_id, kept=kept)
        live._ledger.recover(kept.orders, records, now_us)
        return live

    def kept(self) -> Kept:
        """Return what a checkpoint has to keep."""
        calls = self._ledger.calls
        return Kept(calls.next_number, tuple(self._ledger.open()), calls.open(), self._ledger.shelf.over())

    # --- what is wished ------------------------------------------------------------------------------------------

    def wish(self, command: Command, now_us: int) -> Intent | Held:
        """Return the intent to write down, or why there is none."""
        if isinstance(command, CancelOrder):
            return self._wish_cancel(command, now_us)
        if self.fenced:
            return Held("FENCED", self.fenced)
        if isinstance(command, PlaceOrder | TakeOrder):
            if command.side in self.in_flight().creates or (self.is_taking and isinstance(command, TakeOrder)):
                return Held("IN_FLIGHT")
            return self._intend(livewishes.create(command), "", now_us)
        return self._wish_amend(command, now_us)

    def cancel_all(self, reason: str, now_us: int) -> list[Intent]:
        """Return intents to cancel all that may rest; what cannot be canceled yet is as soon as it can."""
        return self._cancels([CancelOrder(one.client_order_id, reason) for one in self._ledger.open()], now_us)

    def due_cancels(self, now_us: int) -> list[Intent]:
        """Return intents for cancels that are wanted, not on their way, and due (again)."""
        orders = self._ledger.open()
        wanted = [CancelOrder(one.client_order_id, one.cancel.reason) for one in orders if one.cancel]
        return self._cancels(wanted, now_us)

    def hurry_cancels(self, now_us: int) -> None:
        """Let cancels that are wanted be due at once: what refused them has passed, such as a pause (F2)."""
        for order in self._ledger.open():
            if order.cancel and order.cancel_from_us > now_us:
                self._ledger.put(replace(order, cancel_from_us=now_us), now_us)

    def _cancels(self, commands: Iterable[CancelOrder], now_us: int) -> list[Intent]:
        wished = [self._wish_cancel(command, now_us) for command in commands]
        return [intent for intent in wished if isinstance(intent, Intent)]

    def _wish_cancel(self, command: CancelOrder, now_us: int) -> Intent | Held:
        order = self._ledger.get(command.client_order_id)
        wish = livewishes.cancel(order, command, now_us)
        if isinstance(wish, Cancel):
            return self._intend(wish, command.client_order_id, now_us)
        if order is not None and wish.code == "NO_ORDER_ID" and order.cancel is None:
            self._ledger.put(replace(order, cancel=Cancelling(command.reason)), now_us)
        return wish

    def _wish_amend(self, command: DecreaseOrder | RenewOrder, now_us: int) -> Intent | Held:
        wish = livewishes.amend(self._ledger.get(command.client_order_id), command)
        if isinstance(wish, Held):
            return wish
        if wish.side in self.in_flight().amends:
            return Held("IN_FLIGHT")
        return self._intend(wish, command.client_order_id, now_us)

    def _intend(self, wish: Wish, client_order_id: str, now_us: int) -> Intent:
        number = self._ledger.calls.next_number
        intent = Intent(number, client_order_id or self._owner.client_order_id(number), wish, now_us)
        self._ledger.admit(intent)
        return intent

    # --- what is sent, and answered ------------------------------------------------------------------------------

    def send(self, number: int, now_us: int) -> Sent | Answered:
        """Return the mark that the request of an intent leaves now; or its answer NOT_SENT, when it must not any more.

        Raises:
            ValueError: It was sent, or answered, before, or never wished: nothing is sent twice.
        """
        overtaken = self._overtaken(self._ledger.calls.unsent(number))
        if overtaken:
            answer = Answered(number, now_us, Outcome.NOT_SENT, overtaken)
            self.answered(answer)
            return answer
        sent = Sent(number, now_us)
        self._ledger.mark(sent)
        return sent

    def _overtaken(self, intent: Intent) -> str:
        """Return why an intent must not be sent any more."""
        order = self._ledger.get(intent.client_order_id)
        if order is None or order.is_ended:
            return "ended"
        if isinstance(intent.wish, Cancel):
            return ""
        if self.fenced:
            return "fenced"
        return "leaving" if order.cancel else ""

    def answered(self, answer: Answered) -> None:
        """Take in what came of an intent; of two answers only the first counts.

        Raises:
            ValueError: Nobody wished it.
        """
        self._ledger.answer(answer)
        code = answer.code.partition(":")[0].lower()  # the venue's text may follow
        if answer.outcome is Outcome.DECLINED and code in CLOSED_GROUP:
            self.fence(f"order group takes nothing any more: {code}")
            self.suspect(answer.at_us)

    # --- what is shown -------------------------------------------------------------------------------------------

    def on_order(self, shown: ShownOrder, now_us: int) -> None:
        """Take in an order of the account, of whatever age and in whatever order."""
        if shown.ticker != self._ticker:
            return
        is_new_outsider = self._ledger.on_order(shown, now_us)
        epoch = self._owner.epoch_of(shown.client_order_id)
        if epoch is not None and epoch > self._owner.epoch:
            self.fence(f"an order of lease epoch {epoch} is there; ours is {self._owner.epoch}")
        elif epoch is not None and is_new_outsider:
            text = f"order {shown.order_id} is ours by its name, and no record knows it"
            self._ledger.alerts.append(Alert("STRAY", text, shown.client_order_id))

    def on_fill(self, fill: ShownFill, now_us: int) -> None:
        """Take in a fill of the account: each of ours is booked once, known order or not."""
        if fill.ticker == self._ticker:
            self._ledger.on_fill(fill, now_us)

    def on_group(self, group: ShownGroup, now_us: int) -> None:
        """Take in an order group. What it canceled shows itself order by order; nothing new goes into it."""
        if group.group_id != self._group_id or not self._group_id:
            return
        if group.is_triggered or group.event in (TRIGGERED, DELETED):
            self.fence(f"order group {group.event or TRIGGERED}")
            self.suspect(now_us)

    def on_whole(self, orders: Sequence[ShownOrder], *, told_us: int, now_us: int) -> None:
        """Take in a whole list of what is not complete, as a reader of the stream begins with it.

        What of ours it leaves out, although it was known to rest before, may have ended meanwhile: it is looked at.

        Args:
            told_us: When the list was made.
        """
        listed = {shown.order_id for shown in orders}
        self._ledger.outsiders.keep_only(listed)
        for shown in orders:
            self.on_order(shown, now_us)
        for order in self._ledger.open():
            if order.order_id not in listed and order.version[0] < told_us // MS_US:
                self._suspect(order, now_us)

    def suspect(self, now_us: int) -> None:
        """Have everything that seems to rest looked at."""
        for order in self._ledger.open():
            self._suspect(order, now_us)

    def _suspect(self, order: LiveOrder, now_us: int) -> None:
        if order.standing is Standing.RESTING:
            self._ledger.put(order.suspected(now_us), now_us)

    def fence(self, reason: str) -> None:
        """Let nothing new be sent any more; cancels go on."""
        if not self.fenced:
            self.fenced = reason
            self._ledger.alerts.append(Alert("FENCED", reason))

    # --- what has to be settled ----------------------------------------------------------------------------------

    def due_looks(self, now_us: int) -> tuple[str, ...]:
        """Return the client order ids of the orders to look at now."""
        return tuple(order.client_order_id for order in self._ledger.open() if order.is_look_due(now_us))

    def looking(self, client_order_id: str, now_us: int) -> None:
        """Note that a look at an order begins, whatever comes of it."""
        order = self._ledger.get(client_order_id)
        if order is not None:
            doubt = order.doubt and order.doubt.after_look(now_us)
            self._ledger.put(replace(order, looked_us=now_us, doubt=doubt), now_us)

    def looked(self, client_order_id: str, found: ShownOrder | None, *, as_of_us: int, now_us: int) -> None:
        """Take in a look that succeeded, after the fills that it found.

        Args:
            found: The order as a listing of all states shows it; None when it is not in it.
            as_of_us: The venue's user-data time, asked before the listing: that shows everything up to it.
        """
        order = self._ledger.get(client_order_id)
        if order is None:
            return
        if found is None:
            after = order.missed(as_of_us, now_us)
        else:
            after = order.looked(seen(found, as_of_us=as_of_us), now_us)
        self._ledger.change(order, after, now_us)

    def overdue(self, now_us: int) -> tuple[str, ...]:
        """Return the client order ids of the orders that have been in doubt for 60 s now, each once; fence."""
        found = []
        for order in self._ledger.open():
            doubt = order.doubt
            if doubt is not None and doubt.is_news_overdue(now_us):
                found.append(order.client_order_id)
                self._ledger.alerts.append(Alert("OVERDUE", doubt.why, order.client_order_id))
                self._ledger.put(replace(order, doubt=replace(doubt, is_told=True)), now_us)
        if found:
            self.fence("an order was in doubt for 60 s")
        return tuple(found)

    def unsettled(self) -> tuple[str, ...]:
        """Return the client order ids of the orders of which something is on its way, or not known."""
        return tuple(order.client_order_id for order in self._ledger.open() if order.is_unsettled)

    # --- what is so ----------------------------------------------------------------------------------------------

    def resting(self) -> tuple[RestingQuote, ...]:
        """Return what is proven to rest, oldest first, also what is being canceled."""
        return liveviews.resting(self._ledger.open())

    def unproven(self) -> tuple[Unproven, ...]:
        """Return what may rest besides, or may have filled without being booked, at its most."""
        return liveviews.unproven(self._ledger.open())

    def external(self) -> tuple[Unproven, ...]:
        """Return what rests in this market of the account's other orders."""
        return self._ledger.outsiders.orders()

    def in_flight(self) -> InFlight:
        """Return the sides on which a command of a kind has to wait."""
        return liveviews.in_flight(self._ledger.open())

    @property
    def is_taking(self) -> bool:
        """Whether something that trades at once is not settled yet."""
        return any(order.is_take for order in self._ledger.open())

    def is_of_this_lease(self, client_order_id: str) -> bool:
        return self._owner.epoch_of(client_order_id) == self._owner.epoch

    def owns(self, client_order_id: str, order_id: str) -> bool:
        """Return whether an order is, or was, one of the trader's, by either id."""
        shelf = self._ledger.shelf
        is_named = self._owner.epoch_of(client_order_id) is not None
        return is_named or shelf.find(client_order_id, order_id) is not None or shelf.is_over(client_order_id, order_id)

    def order_id(self, client_order_id: str) -> str:
        """Return the venue's id of an order, empty while it is not known."""
        order = self._ledger.get(client_order_id)
        return order.order_id if order else ""

    def wished_us(self, client_order_id: str) -> int:
        """Return when an order was wished: the venue cannot have it from before then; 0 when unknown."""
        order = self._ledger.get(client_order_id)
        return order.wished_us if order else 0

    def take(self) -> list[Order | Fill]:
        """Return what is new: each change of an order that is proven, each fill before its order."""
        shelf = self._ledger.shelf
        taken, shelf.events = shelf.events, []
        return taken

    def take_alerts(self) -> list[Alert]:
        taken, self._ledger.alerts = self._ledger.alerts, []
        return taken
