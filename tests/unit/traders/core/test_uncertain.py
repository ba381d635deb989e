"""What rests on an uncertain side does not move, and nothing else is held back."""

from __future__ import annotations

from markets.core.units import Side
from traders.core.orders import RestingQuote
from traders.core.types import Quote, Quotes, Take
from traders.core.uncertain import unmoved

YES, NO = Side.YES, Side.NO
RESTING = (RestingQuote("a", YES, 4_000, 300), RestingQuote("b", NO, 5_500, 200), RestingQuote("c", YES, 3_900, 100))
BOTH = frozenset({YES, NO})


def test_a_reprice_is_withheld_and_says_why() -> None:
    kept = unmoved(Quotes((Quote(YES, 4_100, 500), Quote(NO, 5_400, 200))), RESTING, frozenset({YES}))

    assert kept.quotes == (Quote(YES, 4_000, 300), Quote(NO, 5_400, 200))
    (why,) = kept.whys
    assert (why.code, why.side) == ("own_level_uncertain", YES)
    assert why.figures == {"yes_price_cc": 4_000, "wished_cc": 4_100}


def test_a_smaller_size_is_not_held_back() -> None:
    assert unmoved(Quotes((Quote(YES, 4_100, 50),)), RESTING, BOTH).quotes == (Quote(YES, 4_000, 50),)
    same = Quotes((Quote(YES, 4_000, 50),))
    assert unmoved(same, RESTING, BOTH) is same


def test_what_shall_go_or_be_taken_or_rests_nowhere_is_as_it_was_wished() -> None:
    nothing = Quotes((), take=Take(YES, 6_000, 100))

    assert unmoved(nothing, RESTING, BOTH) is nothing
    new = Quotes((Quote(NO, 5_400, 200),))
    assert unmoved(new, RESTING[:1], BOTH) is new
