"""Quote around a centre that leans against the position, wider the more can happen: Avellaneda and Stoikov in log-odds.

Earns the spread where flow comes from both sides: what is bought soon goes out again, and the lean sees to it. Loses
where price jumps rather than wanders (releases, verdicts, goals), for the model knows only wandering, and where all
flow comes from one side, when the lean lets the position grow more slowly but does not stop it.

With x the log-odds ln(p / (1 − p)) of the mid, q the net Yes contracts, s the volatility of x, τ the time ahead:

    centre = x − q γ s² τ        half-width = γ s² τ / 2 + ln(1 + γ / k) / γ        quotes = p(centre ∓ half-width)

Source: market_making.md section 1 (Avellaneda and Stoikov 2008; in log-odds Dalen 2025, arXiv 2510.15205). The model
reckons in floats; a price is a whole number again before anything rests, rounded away from the centre.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Annotated

import msgspec

from markets.core.units import CONTRACT_CX, DOLLAR_CC, Side
from traders.core.history import History
from traders.core.placing import Sizing, Steps, Wish, place
from traders.core.registry import placement
from traders.core.steps import stepped_cc
from traders.core.types import MarketView, Quotes, TraderState

BPS = 10_000
SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
ODDS_MOST = 40.0  # log-odds of a price that no double tells from $1; further out nothing changes
TOUCHES_MOST = 500  # the newest tell enough of a busy market, and each decision counts them anew
WATCHED_LEAST_US = 10 * SECOND_US  # less watching says little: one change in a millisecond is no wild market
FLOAT_NOISE_CC = 1e-6  # a price this little below a whole centi-cent is that centi-cent


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model's constants as whole numbers.

    Attributes:
        gamma_bps: Risk aversion γ for a contract, in 1/10,000: 100 is 0.01.
        k_hundredths: Decay k of the rate of fills with distance in log-odds, in 1/100: 2,500 is 25, which alone makes
            a half-width of 0.04, a cent at 50¢.
        volatility_bps: Volatility of the log-odds over the square root of an hour, in 1/10,000; 0 measures it.
        volatility_floor_bps: Least volatility that a measurement may give, in the same unit.
        window_s: Seconds of the past that are measured; less in a market that changed its best prices 500 times since.
        horizon_s: Seconds until we expect to be flat; the market's close if that is sooner.
        min_half_width_steps: Steps of the grid that a quote stays away from the centre, at least.
    """

    gamma_bps: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 100
    k_hundredths: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 2_500
    volatility_bps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    volatility_floor_bps: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 500
    window_s: Annotated[int, msgspec.Meta(ge=10, le=300)] = 300
    horizon_s: Annotated[int, msgspec.Meta(ge=0, le=2_592_000)] = 3_600
    min_half_width_steps: Steps = 1


class Model(msgspec.Struct, frozen=True):
    """Centre and half-width in log-odds, and what they come from: volatility over √hour, hours ahead."""

    centre: float
    half_width: float
    volatility: float
    tau_h: float


@placement("avellaneda_stoikov", Params)
def quotes(view: MarketView, state: TraderState, params: Params) -> Quotes:
    """Return one quote a side at the model's prices, or none without a mid to start from."""
    if view.book.is_crossed:
        bid = ask = Wish(None, "crossed", "{side} held: the others' bid and ask cross, so there is no mid")
    elif not all(view.book.best_cc):
        bid = ask = Wish(None, "one_sided", "{side} held: only a book with both sides has a mid")
    else:
        model = _model(view, state, params)
        bid, ask = (_wish(view, side, params, model) for side in Side)
    return place(view, state, params, bid, ask)


def _model(view: MarketView, state: TraderState, params: Params) -> Model:
    gamma, k = params.gamma_bps / BPS, params.k_hundredths / 100
    volatility = params.volatility_bps / BPS or _measured(view, params)
    ahead_us = min(params.horizon_s * SECOND_US, view.close_time_us - view.time_us)
    tau_h = max(0, ahead_us) / HOUR_US
    risk = gamma * volatility**2 * tau_h
    yes_cc, no_cc = view.book.best_cc
    return Model(
        centre=_log_odds(yes_cc + DOLLAR_CC - no_cc) - state.position_cx / CONTRACT_CX * risk,
        half_width=risk / 2 + math.log1p(gamma / k) / gamma,
        volatility=volatility,
        tau_h=tau_h,
    )


def _measured(view: MarketView, params: Params) -> float:
    """Return the volatility that the touches of the window show, at least the floor."""
    variance_h = _variance_h(view.history, view.time_us - params.window_s * SECOND_US, view.time_us)
    return max(params.volatility_floor_bps / BPS, math.sqrt(variance_h))


def _variance_h(history: History, since_us: int, now_us: int) -> float:
    """Return the variance of an hour: squared changes of the log-odds over the time in which both sides stood.

    A change across a moment without one of the sides is left out, and so is that moment: nobody saw a mid.
    """
    squares, stood_us = 0.0, 0
    later_us, later_odds = now_us, None
    for touch in islice(history.touches_since(since_us), TOUCHES_MOST):
        twice_mid_cc = touch.twice_mid_cc
        odds = None if twice_mid_cc is None else _log_odds(twice_mid_cc)
        if odds is not None:
            stood_us += max(0, later_us - max(touch.time_us, since_us))
            squares += 0.0 if later_odds is None else (later_odds - odds) ** 2
        later_us, later_odds = touch.time_us, odds
    return squares * HOUR_US / max(stood_us, WATCHED_LEAST_US)


def _log_odds(twice_mid_cc: int) -> float:
    return math.log(twice_mid_cc / (2 * DOLLAR_CC - twice_mid_cc))


def _price_cc(log_odds: float) -> int:
    """Return the price of log-odds, rounded down to whole centi-cents."""
    inside = min(max(log_odds, -ODDS_MOST), ODDS_MOST)
    return math.floor(DOLLAR_CC / (1 + math.exp(-inside)) + FLOAT_NOISE_CC)


def _wish(view: MarketView, side: Side, params: Params, model: Model) -> Wish:
    centre = model.centre if side is Side.YES else -model.centre  # on the side's own ladder
    nearest_cc = stepped_cc(view.grid, side, _price_cc(centre), -params.min_half_width_steps)
    figures = {
        "centre_cc": _price_cc(model.centre),
        "half_width_bps": round(model.half_width * BPS),
        "volatility_bps": round(model.volatility * BPS),
        "tau_s": round(model.tau_h * 3_600),
    }
    price_cc = 0 if nearest_cc is None else min(_price_cc(centre - model.half_width), nearest_cc)
    if view.grid.at_or_below(side, price_cc) is None:
        text = "{side} held: the grid ends before its distance from {centre_cc} does"
        return Wish(None, "off_grid", text, figures)
    text = (
        "{side} {yes_price_cc} × {count_cx}: centre {centre_cc}, half-width {half_width_bps} and volatility "
        "{volatility_bps} a √h in log-odds, {tau_s} ahead"
    )
    return Wish(price_cc, "model", text, figures)
