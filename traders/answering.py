"""What a running trader is told, carried out or refused: each command is answered in its journal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from feed.schema import VERSION, CommandAnswer, Control, JournalBody, ParamsChange
from traders.core.decision import Rules
from traders.core.facts import read_facts
from traders.core.params import TraderParams, read_params, why_restart
from traders.core.types import decode_fair
from traders.engine import Engine, Now
from traders.start import Start

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Answering:
    """One trader's.

    Args:
        write: Keeps lines in the journal.
        why_killed: Tells which kill covers the trader now; empty when none does.
    """

    def __init__(
        self,
        start: Start,
        engine: Engine,
        *,
        write: Callable[[Sequence[JournalBody]], None],
        why_killed: Callable[[], str],
    ) -> None:
        self._start, self._engine, self._write, self._why_killed = start, engine, write, why_killed
        self._params, self._rules = start.params, start.rules()

    def answer(self, control: Control, now: Now, *, heeded: str) -> None:
        """Carry out one command, and say so or why not.

        Args:
            heeded: The kill that has paused it; empty when none has.
        """
        refusal = self._refusal(control, now, heeded)
        self._write([CommandAnswer(control.command_id, not refusal, refusal)])
        logger.info(
            "command %s from %s: %s", control.verb, control.issuer, refusal or "done", extra={"action": "command"}
        )

    def _refusal(self, control: Control, now: Now, heeded: str) -> str:
        """Carry out one command; return why not, or an empty string."""
        if control.version != VERSION:
            return f"version {control.version} is not {VERSION}"
        if control.expires_us <= now.wall_us:
            return "expired"
        engine, by = self._engine, control.issuer
        match control.verb:
            case "pause":
                if not heeded:  # else a kill has paused it, and it goes on saying so
                    self._write(engine.pause(by, now))
            case "resume" | "flatten" if killed := self._why_killed():
                return f"{killed}; `kill --release` first"
            case "resume":
                self._write(engine.resume(by, now))
            case "flatten":
                self._write(engine.flatten(by, now))
            case "release":
                released = engine.release(by, now)
                self._write(released)
                return "" if released else "no limit has latched"
            case "market":
                return self._told(control.body, read_facts, engine.on_facts, now)
            case "fair":
                return self._told(control.body, decode_fair, engine.on_fair, now)
            case "params":
                return self._told(control.body, self._read_params, self._go_over, now)
            case verb:
                return f"unknown command {verb!r}"
        return ""

    def _told(
        self, body: bytes, read: Callable[[bytes], T], take: Callable[[T, Now], list[JournalBody]], now: Now
    ) -> str:
        """Go by what a command's body tells; return why not, or an empty string."""
        try:
            value = read(body)
        except (msgspec.MsgspecError, ValueError) as exc:
            return f"its body cannot be used: {exc}"
        self._write(take(value, now))
        return ""

    def _read_params(self, body: bytes) -> tuple[TraderParams, Rules]:
        """Return parameters that it can go over to.

        Raises:
            msgspec.MsgspecError, ValueError: They cannot be read, do not fit, or need a new start.
        """
        params = read_params(body)
        rules = self._start.rules(params)
        if why := why_restart(self._rules, rules, is_live=self._start.live is not None):
            raise ValueError(f"{why}, and that takes a new start")
        return params, rules

    def _go_over(self, told: tuple[TraderParams, Rules], now: Now) -> list[JournalBody]:
        """Go by other parameters from now on; by the same ones nothing changes."""
        params, rules = told
        unlike = params.unlike(self._params)
        if not unlike:
            return []
        self._params, self._rules = params, rules
        strategies = msgspec.to_builtins(params.strategies)
        change = ParamsChange(f"other {', '.join(unlike)}", params.digest, strategies, params.limits)
        return [change, *self._engine.on_rules(rules, params.digest, now)]
