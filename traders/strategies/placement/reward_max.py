"""Rest where the liquidity programs pay most for a dollar at risk, and as much as is worth its collateral.

Earns the pool's part where few compete and fills are rare. Loses when it is filled: it chooses by what resting pays and
never asks who trades there, so news that meets it can cost more in a second than the pool pays in a day. Rivals see
our size and answer. A program that ends under $1.00 pays nothing at all.

Each side is searched from the best price that it may rest at down to the last that still qualifies. At each price the
size grows by portions while each earns its rate; of the prices, the one that earns most for its collateral is
taken, the deeper of two that earn the same. Both sides must reach the target size, ours included, or no second counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Annotated

import msgspec

from markets.core.rewards import BPS, HOUR_US, LIQUIDITY, MarketScore, ProgramTerms, score_market
from markets.core.scoring import OwnOrder
from markets.core.units import DOLLAR_CC, DOLLAR_UD, Side
from traders.core.earning import SCALE, Offer, Others, Pool, Portions, offer_at
from traders.core.placing import MOST_CX, Sizing, Steps, Wish, place
from traders.core.registry import placement
from traders.core.types import MarketView, Quotes, TraderState
from traders.core.why import Figures, Why

PPB = 1_000_000_000
EARNS = "earns"

Needs = tuple[int, int]  # by Side: the size of ours without which the side is too thin


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a portion must earn, and the limits of the search. `bid_cx` and `ask_cx` are the largest sizes.

    Attributes:
        step_cx: Portion by which a size grows, in hundredths of a contract.
        min_rate_bps_h: What each portion must earn more than in an hour, in hundredths of a percent of its collateral:
            1 is $0.01 an hour on $100.
        max_collateral_ud: Micro-dollars that one quote may tie up at its own side's price.
        improve_most_steps: Steps of the grid by which a quote may stand before the others' best price.
        levels_most: Prices looked at on a side: the best ones, and the deepest that qualifies.
    """

    step_cx: Annotated[int, msgspec.Meta(ge=1, le=MOST_CX)] = 100
    min_rate_bps_h: Annotated[int, msgspec.Meta(ge=0, le=BPS)] = 1
    max_collateral_ud: Annotated[int, msgspec.Meta(ge=0, le=1_000_000 * DOLLAR_UD)] = 100 * DOLLAR_UD
    improve_most_steps: Steps = 1
    levels_most: Annotated[int, msgspec.Meta(ge=2, le=100)] = 12


class Choice(msgspec.Struct, frozen=True):
    """A quote that was found; `reward` in 2⁻³² micro-dollars an hour, `marginal_bps_h` what its last portion earns."""

    side: Side
    price_cc: int
    count_cx: int
    reward: int
    marginal_bps_h: int

    @property
    def collateral_ud(self) -> int:
        return self.price_cc * self.count_cx

    def earns_as_much(self, other: Choice | None) -> bool:
        """Whether a dollar at risk earns at least as much here."""
        return other is None or self.reward * other.collateral_ud >= other.reward * self.collateral_ud


class Search(msgspec.Struct, frozen=True):
    """What is searched: the others' sides, and how much of ours each may take."""

    view: MarketView
    params: Params
    others: tuple[Others, Others]
    most_cx: tuple[int, int]


@placement("reward_max", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return the quotes that earn most for their collateral; none that the running programs would not pay."""
    programs = tuple(one for one in view.running_programs() if one.incentive_type == LIQUIDITY)
    if not programs:
        return _held(view, state, params, Wish(None, "no_program", "{side} held: no liquidity program runs"))
    pools = [Pool.of(program) for program in programs]
    known = [pool for pool in pools if pool is not None]
    if len(known) < len(pools):
        figures = {"program": programs[pools.index(None)].program_id}
        text = "{side} held: terms of program {program} are missing, so what it pays is unknown"
        return _held(view, state, params, Wish(None, "unknown_terms", text, figures))
    yes, no = (Others(view.grid, side, view.book.levels[side]) for side in Side)
    most_yes_cx, most_no_cx = (_most_cx(view, state, params, side) for side in Side)
    found = _found(Search(view, params, (yes, no), (most_yes_cx, most_no_cx)), known)
    if isinstance(found, Wish):
        return _held(view, state, params, found)
    return _scored(view, state, params, programs, found)


def _most_cx(view: MarketView, state: TraderState, params: Params, side: Side) -> int:
    """Return what may rest on a side at its cheapest price; 0 where even that would trade on arrival."""
    if view.passive_cc(side, DOLLAR_CC) is None:
        return 0
    affordable_cx = params.max_collateral_ud // view.grid.prices_cc(side)[0]
    return max(0, min(params.count_cx(side), params.max_position_cx - state.held_cx(side), affordable_cx))


# The search


def _found(search: Search, pools: Sequence[Pool]) -> list[Choice] | Wish:
    """Return what to quote, or why nothing is quoted."""
    needs = sorted({_needs(search, pool) for pool in pools})
    in_reach = [one for one in needs if all(map(int.__le__, one, search.most_cx))]
    if not in_reach:
        return _too_thin(search, pools)
    plans = [_plan(search, pools, one) for one in in_reach]
    best = max(plans, key=lambda plan: _net(plan, search.params.min_rate_bps_h))  # of equals, the one that needs least
    if _net(best, search.params.min_rate_bps_h) <= 0:
        figures = {"min_rate_bps_h": search.params.min_rate_bps_h}
        return Wish(
            None, "not_worth_it", "{side} held: nothing earns over {min_rate_bps_h} bps/h of its collateral", figures
        )
    return best


def _needs(search: Search, pool: Pool) -> Needs:
    yes, no = (max(0, pool.target_cx - others.depth_cx) for others in search.others)
    return yes, no


def _net(plan: Sequence[Choice], min_rate_bps_h: int) -> int:
    return sum(one.reward * BPS - one.collateral_ud * min_rate_bps_h * SCALE for one in plan)


def _plan(search: Search, pools: Sequence[Pool], needs: Needs) -> list[Choice]:
    """Return the best quote of each side that is worth one, all those among them without which a side is too thin.

    Only pools that the needs make count take part.
    """
    counting = [pool for pool in pools if all(map(int.__le__, _needs(search, pool), needs))]
    choices = [_best(search, side, counting, needs[side], DOLLAR_CC) for side in Side]
    bid, ask = choices
    if bid is not None and ask is not None and bid.price_cc + ask.price_cc >= DOLLAR_CC:
        kept, moved = (bid, ask) if bid.earns_as_much(ask) else (ask, bid)
        most_cc = DOLLAR_CC - 1 - kept.price_cc
        choices[moved.side] = _best(search, moved.side, counting, needs[moved.side], most_cc)
    if any(need and choice is None for need, choice in zip(needs, choices, strict=True)):
        return []
    return [choice for choice in choices if choice is not None]


def _best(search: Search, side: Side, pools: Sequence[Pool], least_cx: int, most_cc: int) -> Choice | None:
    """Return the quote of a side that earns most for its collateral; None when none earns enough.

    Where the side needs `least_cx` of ours, it may be one that does not earn enough by itself.
    """
    best = None
    for price_cc in _prices(search, side, pools, most_cc):
        most_cx = min(search.most_cx[side], search.params.max_collateral_ud // price_cc)
        portions = Portions(search.params.step_cx, least_cx, most_cx)
        choice = _sized(search.params, side, offer_at(search.others[side], pools, price_cc, most_cx), portions)
        is_enough = choice is not None and (least_cx or _net([choice], search.params.min_rate_bps_h) > 0)
        if choice is not None and is_enough and choice.earns_as_much(best):
            best = choice
    return best


def _prices(search: Search, side: Side, pools: Sequence[Pool], most_cc: int) -> Iterator[int]:
    """Yield the prices to look at, best first: each down to the last that qualifies, or as many as the limit allows.

    On a side without others nobody is outbid by more than the lowest price.
    """
    grid, ladder = search.view.grid, search.view.grid.prices_cc(side)
    best_cc, passive_cc = search.view.best_cc(side), search.view.passive_cc(side, most_cc)
    if passive_cc is None:
        return
    floors_cc = [search.others[side].floor_cc(pool.target_cx) or 0 for pool in pools]
    lowest = grid.rank(side, min(floors_cc) - 1)  # the first of the ladder's prices that is not below the floor
    top = grid.rank(side, best_cc) - 1 + search.params.improve_most_steps if best_cc else 0
    highest = min(max(0, top), grid.rank(side, passive_cc) - 1)
    deepest = max(lowest, highest - search.params.levels_most + 2)
    yield from (ladder[at] for at in range(highest, deepest - 1, -1))
    if lowest < deepest:
        yield ladder[lowest]


def _sized(params: Params, side: Side, offer: Offer, portions: Portions) -> Choice | None:
    """Return the quote with the size that is worth its collateral; None when no size pays anything."""
    count_cx = offer.best_cx(portions, params.min_rate_bps_h) if portions.most_cx else None
    reward = 0 if count_cx is None else offer.reward(count_cx)
    if count_cx is None or not reward:
        return None
    before_cx = portions.size_cx(portions.number(count_cx) - 1)
    portion_ud = offer.price_cc * (count_cx - before_cx)
    marginal = reward - offer.reward(before_cx)
    return Choice(side, offer.price_cc, count_cx, reward, marginal * BPS // (portion_ud * SCALE))


# What becomes of it


def _held(view: MarketView, state: TraderState, params: Params, wish: Wish) -> Quotes:
    return place(view, state, params, wish, wish, must_qualify=True)


def _too_thin(search: Search, pools: Sequence[Pool]) -> Wish:
    """Return the reason that names the side that lacks most, under the pool that asks least."""
    target_cx = min(pool.target_cx for pool in pools)
    depth_cx = [others.depth_cx for others in search.others]
    lacking_cx = [target_cx - depth_cx[side] - search.most_cx[side] for side in Side]
    thin = max(Side, key=lambda side: lacking_cx[side])
    figures = {
        "thin": thin.book_side,
        "depth_cx": depth_cx[thin],
        "most_cx": search.most_cx[thin],
        "target_cx": target_cx,
    }
    text = (
        "{side} held: the {thin} cannot qualify, others show {depth_cx} and we may add {most_cx} to reach {target_cx}"
    )
    return Wish(None, "cannot_qualify", text, figures)


def _scored(
    view: MarketView, state: TraderState, params: Params, programs: Sequence[ProgramTerms], choices: Sequence[Choice]
) -> Quotes:
    """Return the chosen quotes with what they earn exactly, but for those that a skew has moved out of the money."""
    chosen = {choice.side: choice for choice in choices}
    sizes = {f"{side.book_side}_cx": choice.count_cx for side, choice in chosen.items()}
    sizing = msgspec.structs.replace(params, **sizes)
    bid, ask = (_chosen(chosen[side]) if side in chosen else _idle(state, params, side) for side in Side)
    wanted = place(view, state, sizing, bid, ask, must_qualify=True)
    orders = [OwnOrder(quote.side.book_side, quote.side, quote.price_cc, quote.count_cx) for quote in wanted.quotes]
    score = score_market(view.grid, view.book.levels, orders, programs, own_in_book=False, at_us=view.time_us)
    paid = [order.side for order in orders if score.order_ud_per_hour[order.order_id]]
    if len(paid) < len(orders):
        return _scored(view, state, params, programs, [chosen[side] for side in paid])
    if not orders:
        return wanted
    earned = {order.side: _earned(order, score) for order in orders}
    whys = (_with_figures(why, earned) for why in wanted.whys)
    return msgspec.structs.replace(wanted, whys=(*whys, *_may_pay_nothing(view, score)))


def _chosen(choice: Choice) -> Wish:
    return Wish(choice.price_cc, EARNS, "{side} {yes_price_cc} × {count_cx}", {"marginal_bps_h": choice.marginal_bps_h})


def _idle(state: TraderState, params: Params, side: Side) -> Wish:
    if state.held_cx(side) >= params.max_position_cx:
        return Wish(DOLLAR_CC, EARNS, "")  # of any price: placing refuses it and says why
    return Wish(None, "earns_too_little", "{side} held: none of its prices earns enough")


def _earned(order: OwnOrder, score: MarketScore) -> Figures:
    """Return what an order earns, exactly, floored."""
    rate, collateral_ud = score.order_ud_per_hour[order.order_id], order.price_cc * order.remaining_cx
    assert rate is not None
    return {
        "rate_ud_h": int(rate),
        "rate_bps_h": int(rate * BPS / collateral_ud),
        "share_ppb": int(2 * rate * PPB / _pool_ud_per_hour(score)),
        "collateral_ud": collateral_ud,
    }


def _with_figures(why: Why, earned: dict[Side, Figures]) -> Why:
    if why.code != EARNS or why.side not in earned:
        return why
    text = " earns {rate_ud_h} on {collateral_ud}: {rate_bps_h} bps/h, the last portion {marginal_bps_h}"
    return msgspec.structs.replace(why, text=why.text + text, figures=why.figures | earned[why.side])


def _pool_ud_per_hour(score: MarketScore) -> Fraction:
    return sum((one.program.pool_ud_per_hour or Fraction(0) for one in score.programs), Fraction(0))


def _may_pay_nothing(view: MarketView, score: MarketScore) -> Iterator[Why]:
    """Yield a warning while no program would reach the least payout by what is still to come."""
    coming_ud = [
        (one.ud_per_hour or Fraction(0)) * Fraction(one.program.end_us - view.time_us, HOUR_US)
        for one in score.programs
    ]
    if max(coming_ud) < DOLLAR_UD:
        text = "until the program ends this makes {coming_ud}: if no more was earned before, under $1.00 pays nothing"
        yield Why("under_minimum", text, {"coming_ud": int(max(coming_ud))})
