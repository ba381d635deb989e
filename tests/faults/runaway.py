"""Placements that went wild, as a package of somebody else's: it is put beside ours for the rows that need one.

`spinning`, `dying` and `raising` join the best prices until a file of their name lies beside the package (`switch_on`).
"""

from __future__ import annotations

from pathlib import Path

MODULE = '''
import time
from pathlib import Path

from markets.core.units import NO, YES
from traders.core.registry import placement
from traders.core.placing import Sizing
from traders.core.types import Quote, Quotes
from traders.core.why import Why

CONTRACTS_CX = 1_000_000  # ten thousand contracts
ENDS_CC = (100, 9_900)


class Params(Sizing, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As of every placement; it goes by none of them."""


@placement("runaway", Params)
def quotes(view, state, params):
    """Want something else at each look: ten thousand contracts at one end of the prices, then at the other."""
    turn = view.time_us // 1_000
    quote = Quote(NO if turn // 2 % 2 else YES, ENDS_CC[turn % 2], CONTRACTS_CX)
    return Quotes((quote,), (Why("runs_away", "wants it all"),))


@placement("flapping", Params)
def flaps(view, state, params):
    """Want another price at each look, below the touch, where nothing is wrong with it."""
    best_cc = view.best_cc(YES)
    lower_cc = view.grid.step(YES, best_cc, -1 - view.time_us // 1_000 % 7) if best_cc else None
    quotes = (Quote(YES, lower_cc, 100),) if lower_cc else ()
    return Quotes(quotes, (Why("flaps", "wants another price"),))


def joins(view):
    best = ((side, view.best_cc(side)) for side in (YES, NO))
    return Quotes(tuple(Quote(side, cc, 1_000) for side, cc in best if cc), (Why("joins", "all is well"),))


def is_on(name):
    return Path(__file__).with_name(name).exists()


@placement("spinning", Params)
def spins(view, state, params):
    """Come back only once the file is gone again."""
    while is_on("spinning"):
        pass
    return joins(view)


@placement("dying", Params)
def dies(view, state, params):
    """End the process."""
    if is_on("dying"):
        raise SystemExit("the strategy has had enough")
    return joins(view)


@placement("raising", Params)
def raises(view, state, params):
    """Fail as most that is wrong does."""
    if is_on("raising"):
        raise ValueError("the strategy knows no price")
    return joins(view)
'''
METADATA = "Metadata-Version: 2.1\nName: runaway\nVersion: 1\n"
ENTRY_POINTS = "[kalshimm.placement]\nrunaway = runaway_placement\n"  # one is enough: the module registers all


def install(folder: Path) -> Path:
    """Write the package as an installed one, and return the folder to put on a process's path."""
    about = folder / "runaway-1.dist-info"
    about.mkdir(parents=True)
    (folder / "runaway_placement.py").write_text(MODULE)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def switch_on(folder: Path, name: str) -> Path:
    """Have a placement go wild, and return the file whose end ends it."""
    switch = folder / name
    switch.touch()
    return switch
