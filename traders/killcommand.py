"""`manage.py kill`: stops new orders, cancels, proves. It runs before Django is loaded and touches no store.

    kill.json written ──► traders and supervisor see it: nothing new leaves
                     └──► the exchange: cancel-all, triggers, and a look at what rests (traders.killing)

Exit code 0: confirmed by the exchange. 4: something could not be confirmed; the kill stands, and so does its file.
"""

from __future__ import annotations

import argparse
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


def main(argv: Sequence[str], home: Path) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="manage.py kill",
        description="Stop trading: nothing new leaves, what rests is canceled, and the exchange is asked for proof.",
        epilog="Without a scope everything is killed. It holds until `kill --release` with the same scope.",
    )
    add_arguments(parser)
    options = parser.parse_args(argv)
    kind, key = _scope(options)
    if options.release:
        return _release(home, kind, key, as_json=options.as_json)
    clock = SystemClock()
    kill = Kill(kind=kind, key=key, by=command_line_actor(), at_us=clock.wall_us())
    unwritten = _throw(home, kill)  # before anything that takes time, the way to the exchange above all
    outcomes = _carry_out(home, kill, options, clock)
    code = _tell(kill, outcomes, unwritten, as_json=options.as_json)
    if not outcomes and kind != ALL and not _means_anybody(home, kill):
        _say(f"No trader was ever started here that {kill.what} could mean: look at the name. The kill stands.")
        return EXIT_FAILED
    return code


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


def _scope(options: argparse.Namespace) -> tuple[Kind, str]:
    found: list[tuple[Kind, str | None]] = [
        (ACCOUNT, options.account), (EVENT, options.event), (TRADER, options.trader),
    ]  # fmt: skip
    return next(((kind, key) for kind, key in found if key), (ALL, ""))


def _throw(home: Path, kill: Kill) -> str:
    """Write the kill down; return why it could not be, and go on: orders are canceled all the same."""
    try:
        killswitch.throw(home, kill)
    except (HomeNotWritable, NotReachable) as exc:
        _say(f"{exc} Traders do not hear of this kill: stop them, too (`traders stop --all`).")
        return str(exc)
    _say(f"{kill.what} is killed: nothing new leaves")
    return ""


def _carry_out(home: Path, kill: Kill, options: argparse.Namespace, clock: Clock) -> list[Outcome]:
    from traders.killing import carry_out_all, plan

    parties, impossible = plan(home, kill, ours_only=options.ours_only)
    for outcome in impossible:
        _say(str(outcome))
    return [*carry_out_all(home, parties, clock, within_s=options.within, say=_say), *impossible]


def _means_anybody(home: Path, kill: Kill) -> bool:
    from traders.killing import read_targets

    return any(kill.covers(target) for target, _ in read_targets(home))


def _tell(kill: Kill, outcomes: Sequence[Outcome], unwritten: str, *, as_json: bool) -> int:
    is_confirmed = all(outcome.is_confirmed for outcome in outcomes)
    if as_json:
        document = {
            "kill": {"kind": kill.kind, "key": kill.key, "by": kill.by, "at_us": kill.at_us, "unwritten": unwritten},
            "confirmed": is_confirmed,
            "accounts": [msgspec.to_builtins(outcome) for outcome in outcomes],
        }
        sys.stdout.write(msgspec.json.encode(document).decode() + "\n")
    else:
        for outcome in outcomes:
            sys.stdout.write(f"{outcome}\n")
        if not outcomes:
            sys.stdout.write("No live trader and no key that trades is in scope: nothing of it rests anywhere.\n")
    if not is_confirmed:
        return EXIT_OUTCOME_UNKNOWN
    return EXIT_FAILED if unwritten else 0


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
    sys.stderr.write(f"{what}\n")
    sys.stderr.flush()
