"""`manage.py kill`: stops new orders, cancels, proves. It runs before Django is loaded and touches no store.

    kill.json written ──► traders and supervisor see it: nothing new leaves
                     └──► the exchange: cancel-all, triggers, and a look at what rests (traders.killing)

Exit code 0: confirmed by the exchange, or there was nobody to ask. 1: it could not be written, or means nobody.
4: something could not be confirmed; the kill stands all the same.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kalshimm.errors import EXIT_FAILED, EXIT_OUTCOME_UNKNOWN, HomeNotWritable, KalshimmError, NotReachable
from kalshimm.runtime.actor import command_line_actor
from kalshimm.runtime.clock import Clock, SystemClock
from traders import killswitch
from traders.core.kills import ACCOUNT, ALL, EVENT, TRADER, Kill, Kind

if TYPE_CHECKING:
    from traders.killing import Outcome

WITHIN_S = 60.0
OF_A_HOME = ("run", "keys", "traders", "installation")
NOBODY_ASKED = (
    "No live trader and no key that may trade is in scope, but for what was left out, so no exchange was asked. If you "
    "expect orders there, look at its own page."
)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return what a command line asks for; leave with 2 where it asks for nothing that fits together."""
    parser = argparse.ArgumentParser(
        prog="manage.py kill",
        description="Stop trading: nothing new leaves, what rests is canceled, and the exchange is asked for proof.",
        epilog="Without a scope everything is killed. It holds until `kill --release` with the same scope.",
        allow_abbrev=False,  # half a word must not be another word: a drill is no kill
    )
    add_arguments(parser)
    options = parser.parse_args(argv)
    scopes = {"--account": options.account, "--event": options.event, "--trader": options.trader}
    for name, value in scopes.items():
        if value is not None and not value.strip():
            parser.error(f"{name} names nobody; an empty word is not everything")
    if options.drill and (options.release or options.all or any(value is not None for value in scopes.values())):
        parser.error("--drill goes alone: it kills at an exchange of its own")
    return options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--all", action="store_true", help="every trader, and every order of every account (default)")
    scope.add_argument("--account", metavar="A", help="every trader and every order of one account")
    scope.add_argument("--event", metavar="E", help="the traders of one event, by its ticker")
    scope.add_argument("--trader", metavar="T", help="one trader, by name or number")
    parser.add_argument("--ours-only", action="store_true", help="spare orders that this installation did not place")
    parser.add_argument("--release", action="store_true", help="take a kill back; traders stay paused until resumed")
    parser.add_argument(
        "--drill", action="store_true", help="time a kill against a local exchange of its own; nothing else is touched"
    )
    parser.add_argument(
        "--within", type=float, default=WITHIN_S, metavar="S", help=f"keep trying for so long ({WITHIN_S:.0f} s)"
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON document on one line")


def run(options: argparse.Namespace, home: Path) -> int:
    """Kill, or release, as asked; return the exit code."""
    kind, key = _scope(options)
    if not any((home / name).exists() for name in OF_A_HOME):
        raise KalshimmError(
            f"{home} holds no installation, so nothing was killed: set KALSHIMM_HOME to the one that trades."
        )
    if options.release:
        return _release(home, kind, key, as_json=options.as_json)
    clock = SystemClock()
    kill = Kill(kind=kind, key=key, by=command_line_actor(), at_us=clock.wall_us())
    unwritten = _throw(home, kill)  # before anything that takes time, the way to the exchange above all
    outcomes, is_anybody = _carry_out(home, kill, options, clock)
    if not is_anybody and kind != ALL:
        _say(f"No trader was ever started here that {kill.what} could mean: look at the name. The kill stands.")
    _tell(kill, outcomes, unwritten, as_json=options.as_json)
    if not all(outcome.is_confirmed for outcome in outcomes):
        return EXIT_OUTCOME_UNKNOWN
    return EXIT_FAILED if unwritten or (not is_anybody and kind != ALL) else 0


def _scope(options: argparse.Namespace) -> tuple[Kind, str]:
    found: list[tuple[Kind, str | None]] = [
        (ACCOUNT, options.account), (EVENT, options.event), (TRADER, options.trader),
    ]  # fmt: skip
    return next(((kind, key) for kind, key in found if key is not None), (ALL, ""))


def _throw(home: Path, kill: Kill) -> str:
    """Write the kill down; return why it could not be, and go on: orders are canceled all the same."""
    try:
        killswitch.throw(home, kill)
    except (HomeNotWritable, NotReachable) as exc:
        _say(f"{exc} Traders do not hear of this kill: stop them, too (`traders stop --all`).")
        return str(exc)
    _say(f"{kill.what} is killed in {home}: nothing new leaves")
    return ""


def _carry_out(home: Path, kill: Kill, options: argparse.Namespace, clock: Clock) -> tuple[list[Outcome], bool]:
    """Return what came of it, and whether it means anybody."""
    from traders.killing import carry_out_all, plan

    planned = plan(home, kill, ours_only=options.ours_only)
    for outcome in planned.impossible:
        _say(str(outcome))
    for what in planned.left_out:
        _say(f"left out: {what}")
    carried = carry_out_all(home, planned.parties, clock, within_s=options.within, say=_say)
    return [*carried, *planned.impossible], planned.is_anybody


def _tell(kill: Kill, outcomes: Sequence[Outcome], unwritten: str, *, as_json: bool) -> None:
    if as_json:
        document = {
            "kill": {"kind": kill.kind, "key": kill.key, "by": kill.by, "at_us": kill.at_us, "unwritten": unwritten},
            "confirmed": all(outcome.is_confirmed for outcome in outcomes) if outcomes else None,
            "accounts": [msgspec.to_builtins(outcome) for outcome in outcomes],
        }
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
        return
    for outcome in outcomes:
        sys.stdout.write(f"{outcome}\n")
    if not outcomes:
        sys.stdout.write(f"{NOBODY_ASKED}\n")


def _release(home: Path, kind: Kind, key: str, *, as_json: bool) -> int:
    released = killswitch.release(home, kind, key)
    left = killswitch.KillSwitch(home).kills()
    if as_json:
        document = {"released": [kill.what for kill in released], "standing": [kill.what for kill in left]}
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    elif released:
        what = ", ".join(kill.what for kill in released)
        sys.stdout.write(f"Released: {what}. Traders stay paused until somebody resumes them.\n")
    standing = ", ".join(kill.what for kill in left)
    if not released:
        raise KalshimmError(f"That is not killed; what is: {standing or 'nothing'}.")
    return 0


def _say(what: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody may be left to read it: the kill goes on
        sys.stderr.write(f"{what}\n")
        sys.stderr.flush()
