"""One live order as far as it is proven: a value that every answer and every showing makes a new one of.

    wished ──sent──► in flight ──answer, showing──► resting ──► ended
                        │   ▲ ▲                        │ ▲        ▲
                  no answer │ └── exists, shown anew ──┼─┘        │ by its own word of the venue: for good
                        ▼   │                          ▼          │ else until something shows that it lives
                      unknown ◄── 404, closed, restart, a strange status

Three numbers say what it can still do, whatever came first, last or twice:

    total      what it has in all, filled and resting, as of the newest showing; an amend on its way counts, too
    filled     the most that anybody has shown to be filled
    booked     fills that were told one by one: only these are in the position

    total − max(filled, booked)      rests
    total − booked                   may rest, or have filled without being in the position: what limits must count

An order is complete when it has ended and all that it filled is booked; it is told as over only then (B15).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from markets.core.units import Side
from traders.core.evidence import FINAL, GONE, RESTING, Seen, Version
from traders.core.intents import Booked, Create, Intent, Take, Told
from traders.core.livechanges import Amending, Cancelling
from traders.core.orders import Order, OrderStatus
from traders.core.settling import MARGIN_US, SLOW_SPACING_US, Doubt, Misses

NEVER_PLACED = "never placed"
CAME_BACK = "it was held for never placed"
RESTARTED = "restart"
SUSPECT = "suspect"
STRANGE = "status "


class Standing(StrEnum):
    WISHED = "wished"
    IN_FLIGHT = "in flight"
    UNKNOWN = "unknown"
    RESTING = "resting"
    ENDED = "ended"


class LiveOrder(msgspec.Struct, frozen=True, kw_only=True):
    """One order.

    Attributes:
        number: Of the intent that places it.
        wished_us: When that was written down: it cannot be older; 0 when unknown.
        exists: Something proves that the venue had it.
        why: Why it is unknown.
        version: Of the newest showing that `total_cx`, `price_cc` and `expires_us` are from.
        proof_us: A showing proves that it rests only if it is of then or later.
        left_us: Its request left until then; None while it is on its way or not sent.
        end_is_final: The end is the venue's own word: nothing takes it back.
        suspect_us: Since when there is a reason to look at it although it seems to rest; 0 without one.
        looked_us: When the last look at it began.
        told: As it was told outwards last.
    """

    client_order_id: str
    number: int
    side: Side
    price_cc: int
    wished_cx: int
    total_cx: int
    is_take: bool = False
    expires_us: int | None = None
    standing: Standing = Standing.WISHED
    why: str = ""
    order_id: str = ""
    exists: bool = False
    filled_cx: int = 0
    booked_cx: int = 0
    trades: frozenset[str] = frozenset()
    version: Version = (0, 0)
    rested_us: int = 0
    proof_us: int = 0
    left_us: int | None = None
    misses: Misses = Misses()
    end: OrderStatus = OrderStatus.CANCELED
    end_reason: str = ""
    end_is_final: bool = False
    wished_us: int = 0
    cancel: Cancelling | None = None
    cancel_tries: int = 0
    cancel_from_us: int = 0
    amend: Amending | None = None
    suspect_us: int = 0
    looked_us: int = 0
    doubt: Doubt | None = None
    told: Order | None = None

    @classmethod
    def wished(cls, intent: Intent, wish: Create) -> LiveOrder:
        return cls(
            client_order_id=intent.client_order_id,
            number=intent.number,
            side=wish.side,
            price_cc=wish.limit_cc if isinstance(wish, Take) else wish.price_cc,
            wished_cx=wish.count_cx,
            total_cx=wish.count_cx,
            wished_us=intent.written_us,
            is_take=isinstance(wish, Take),
            expires_us=None if isinstance(wish, Take) else wish.expires_us,
        )

    # What it comes to

    @property
    def most_cx(self) -> int:
        """The most that it can have in all, filled and resting."""
        amended_cx = self.amend.total_cx if self.amend else 0
        return max(self.total_cx, self.known_cx, amended_cx)

    @property
    def known_cx(self) -> int:
        """The least that has filled."""
        return max(self.filled_cx, self.booked_cx)

    @property
    def is_ended(self) -> bool:
        return self.standing is Standing.ENDED

    @property
    def is_complete(self) -> bool:
        return self.is_ended and self.booked_cx >= max(self.total_cx, self.filled_cx)

    @property
    def is_over_for_good(self) -> bool:
        """Whether nothing that may yet be told of it can be news."""
        return self.is_complete and (self.end_is_final or self.end is OrderStatus.FILLED)

    @property
    def resting_cx(self) -> int:
        """What is proven to rest."""
        return self.total_cx - self.known_cx if self.standing is Standing.RESTING else 0

    @property
    def unproven_cx(self) -> int:
        """What may rest besides, or may have filled without being booked."""
        return self.most_cx - self.booked_cx - self.resting_cx

    @property
    def is_create_open(self) -> bool:
        """Whether it is not known what its side holds of it."""
        return self.standing in (Standing.WISHED, Standing.IN_FLIGHT, Standing.UNKNOWN)

    def as_order(self) -> Order:
        """Return it as it is told outwards; what is not booked counts as remaining unless it is proven to rest."""
        rests = self.standing is Standing.RESTING
        return Order(
            client_order_id=self.client_order_id,
            order_id=self.order_id,
            side=self.side,
            price_cc=self.price_cc,
            placed_cx=self.wished_cx,
            filled_cx=self.booked_cx,
            remaining_cx=self.resting_cx if rests else self.most_cx - self.booked_cx,
            status=self.end if self.is_complete else OrderStatus.RESTING,
            reason=self.end_reason if self.is_complete else "",
        )

    def outward(self) -> Order | None:
        """Return what is to be told of it: nothing unless it rests or is complete."""
        return self.as_order() if self.is_complete or self.standing is Standing.RESTING else None

    # What is shown of it

    def booked(self, trade_id: str, count_cx: int, order_id: str) -> LiveOrder:
        """Return it with a fill, each counted once."""
        if trade_id in self.trades:
            return self
        order = self._existing(order_id)
        return replace(order, booked_cx=order.booked_cx + count_cx, trades=order.trades | {trade_id}).counted()

    def filled(self, filled_cx: int, order_id: str) -> LiveOrder:
        """Return it existing, with so much filled at least; the fills themselves may follow."""
        order = self._existing(order_id)
        return replace(order, filled_cx=max(order.filled_cx, filled_cx))

    def saw(self, seen: Seen) -> LiveOrder:
        """Return it after a showing, new or old."""
        order = self.filled(seen.filled_cx, seen.order_id)
        if seen.word in FINAL:
            return order._ended_by_venue(seen)
        if order.end_is_final or not order._is_news(seen):
            return order.counted()
        if seen.word == GONE:
            gone = replace(order, version=seen.version)
            return gone.ended(OrderStatus.CANCELED, seen.reason or GONE, order.known_cx)
        if seen.word != RESTING:
            return order._puzzled(seen)
        return order._rests(seen).counted()

    def _existing(self, order_id: str) -> LiveOrder:
        order = self if self.order_id else replace(self, order_id=order_id)
        if order.exists:
            return order
        order = replace(order, exists=True)
        return order._reopened(CAME_BACK) if order.is_ended and not order.end_is_final else order

    def _reopened(self, why: str) -> LiveOrder:
        return replace(self, standing=Standing.UNKNOWN, why=why, total_cx=self.wished_cx, end_reason="", proof_us=0)

    def _is_news(self, seen: Seen) -> bool:
        if seen.version == self.version:
            return self.is_create_open  # the same again settles what is open, and cannot take back what is not
        return seen.version > self.version

    def _rests(self, seen: Seen) -> LiveOrder:
        if self.is_ended and seen.total_cx <= self.known_cx:
            return self  # it counts as over because all of it has filled, and this says no more
        is_proof = seen.proof_us >= self.proof_us
        order = replace(
            self,
            total_cx=seen.total_cx,
            price_cc=seen.price_cc,
            expires_us=seen.expires_us,
            version=seen.version,
            rested_us=self.rested_us or seen.changed_us,
            standing=Standing.RESTING if is_proof else Standing.UNKNOWN,
            why="" if is_proof else (self.why or RESTARTED),
            suspect_us=0 if seen.proof_us >= self.suspect_us else self.suspect_us,
        )
        if is_proof and order.cancel and order.cancel.waits_for_look:
            order = replace(order, cancel=replace(order.cancel, waits_for_look=False))
        amend = order.amend
        is_made = amend is not None and amend.left_us is not None and amend.is_shown_by(seen)
        return replace(order, amend=None) if is_made else order

    def _puzzled(self, seen: Seen) -> LiveOrder:
        """Return it unknown: nothing follows from such a status but what has filled."""
        if self.is_complete:
            return self
        total_cx = max(self.most_cx, seen.total_cx)
        why = f"{STRANGE}{seen.word}"
        return replace(self, standing=Standing.UNKNOWN, why=why, total_cx=total_cx, version=seen.version)

    def counted(self) -> LiveOrder:
        """Return it ended if all that it can have has filled."""
        if self.is_ended:
            return replace(self, total_cx=max(self.total_cx, self.known_cx))
        if self.exists and self.known_cx >= self.most_cx:
            return self.ended(OrderStatus.FILLED, "", self.known_cx)
        return self

    def suspected(self, now_us: int) -> LiveOrder:
        """Return it with a reason to be looked at although it seems to rest.

        One that is renewed again and again is not one that lasts: late reads never catch up with the newest.
        """
        doubt = self.doubt
        if doubt is not None and doubt.why == SUSPECT:
            doubt = replace(doubt, since_us=now_us)
        return replace(self, suspect_us=now_us, doubt=doubt)

    # How it ends

    def _ended_by_venue(self, seen: Seen) -> LiveOrder:
        if self.end_is_final or self.is_complete:
            return replace(self, end_is_final=True, total_cx=self.known_cx)
        asked = self.cancel.reason if self.cancel else ""
        reason = seen.reason or asked or seen.word
        status = FINAL[seen.word]
        return self.ended(status, "" if status is OrderStatus.FILLED else reason, self.known_cx, is_final=True)

    def ended(self, status: OrderStatus, reason: str, total_cx: int, *, is_final: bool = False) -> LiveOrder:
        """Return it over, with at most `total_cx` filled."""
        return replace(
            self,
            standing=Standing.ENDED,
            why="",
            total_cx=max(total_cx, self.known_cx),
            end=status,
            end_reason=reason,
            end_is_final=is_final,
            cancel=None,
            amend=None,
            suspect_us=0,
            misses=Misses(),
        )

    def unsure(self, why: str, at_us: int) -> LiveOrder:
        """Return it unknown until something newer shows what it is."""
        return self if self.is_ended else replace(self, standing=Standing.UNKNOWN, why=why, proof_us=at_us)

    def remembered(self, record: Booked | Told) -> LiveOrder:
        """Return it with what was written down of it."""
        if isinstance(record, Booked):
            return self.booked(record.trade_id, record.count_cx, record.order_id)
        if record.status is OrderStatus.REFUSED:
            ended = self.ended(record.status, record.reason, record.filled_cx)
            return replace(ended, told=ended.outward())
        order = replace(self, exists=True, order_id=self.order_id or record.order_id)
        if record.status is OrderStatus.RESTING:
            return replace(order._reopened(CAME_BACK), end_is_final=False) if order.is_ended else order
        ended = order.ended(record.status, record.reason, record.filled_cx, is_final=True)
        return replace(ended, told=ended.outward())

    # Looking at it

    def missed(self, as_of_us: int, looked_us: int) -> LiveOrder:
        """Return it after a good look that did not find it: it was never placed once that is proven."""
        if self.exists or self.standing is not Standing.UNKNOWN:
            return self
        misses = self.misses.after(self.left_us, as_of_us, looked_us)
        if misses.is_proof:
            return self.ended(OrderStatus.REFUSED, NEVER_PLACED, 0)
        return replace(self, misses=misses)

    def looked(self, seen: Seen, looked_us: int) -> LiveOrder:
        """Return it after a look that found it: an amend that it does not show was never made, once that is proven."""
        order = self.saw(seen)
        if order.amend is None:
            return order
        misses = order.amend.misses.after(order.amend.left_us, seen.as_of_us, looked_us)
        return replace(order, amend=None if misses.is_proof else replace(order.amend, misses=misses)).counted()

    def why_in_doubt(self) -> str:
        """Return what has to be settled by looking; empty when nothing has."""
        if self.is_ended:
            return "" if self.is_complete else "fills missing"
        if self.standing is Standing.UNKNOWN:
            return self.why
        if self.standing is Standing.IN_FLIGHT:
            return "no answer"
        if self.amend and self.amend.is_sent:
            return "amend not proven"
        if self.cancel and (self.cancel.number or self.cancel.is_unknown):
            return "cancel not proven"
        if self.filled_cx > self.booked_cx:
            return "fills missing"
        return SUSPECT if self.suspect_us else ""

    @property
    def is_unsettled(self) -> bool:
        """Whether something about it is on its way, or not known."""
        return bool(self.doubt or self.cancel or self.amend) or self.is_create_open

    def is_look_due(self, now_us: int) -> bool:
        """Return whether to look at it now: in doubt, or it seems to rest although it should have expired."""
        if self.doubt is not None:
            return self.doubt.is_due(now_us)
        if self.expires_us is None or self.standing is not Standing.RESTING:
            return False
        return now_us >= max(self.expires_us + MARGIN_US, self.looked_us + SLOW_SPACING_US)

    def reviewed(self, now_us: int) -> LiveOrder:
        """Return it with its doubt begun, or laid to rest."""
        why = self.why_in_doubt()
        if not why:
            return self if self.doubt is None else replace(self, doubt=None)
        doubt = Doubt.begun(why, now_us) if self.doubt is None else replace(self.doubt, why=why)
        return replace(self, doubt=doubt)

    def after_restart(self, now_us: int) -> LiveOrder:
        """Return it as a new process has to take it: whatever was on its way may have arrived until now."""
        doubt = Doubt.begun(RESTARTED, now_us, first_us=0)
        if self.is_ended:
            return replace(self, doubt=None if self.is_complete else doubt)
        cancel = self.cancel and Cancelling(self.cancel.reason)
        amend = self.amend and replace(self.amend, is_sent=True, left_us=now_us, misses=Misses())
        order = replace(
            self, left_us=now_us, misses=Misses(), cancel=cancel, cancel_from_us=now_us, amend=amend, doubt=doubt
        )
        return order.unsure(RESTARTED, now_us)
