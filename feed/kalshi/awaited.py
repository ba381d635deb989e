"""Commands whose answers are still under way, by their ids."""

from __future__ import annotations

import msgspec


class Command(msgspec.Struct):
    """What was asked; `waited` counts the looks at it that saw no answer."""

    channel: str
    tickers: tuple[str, ...]
    action: str
    sid: int = 0
    waited: int = 0


class Awaited:
    """Numbers commands from 1 and remembers them until they are answered or given up."""

    def __init__(self) -> None:
        self._commands: dict[int, Command] = {}
        self._next_id = 1

    def add(self, command: Command) -> int:
        """Return the id under which the command is sent."""
        command_id = self._next_id
        self._next_id += 1
        self._commands[command_id] = command
        return command_id

    def look(self, command_id: int) -> Command | None:
        return self._commands.get(command_id)

    def answered(self, command_id: int) -> Command | None:
        """Return the command that an answer belongs to and forget it; None when nobody asked."""
        return self._commands.pop(command_id, None)

    def has(self, channel: str, action: str) -> bool:
        return any(c.channel == channel and c.action == action for c in self._commands.values())

    def give_up(self, age: int) -> bool:
        """Forget what `age` calls of this have not seen answered; return whether a subscribe is among it.

        A subscribe stays: a late answer would be a second subscription.
        """
        is_lost = False
        for command_id, command in list(self._commands.items()):
            command.waited += 1
            if command.waited <= age:
                continue
            if command.action == "subscribe":
                is_lost = True
            else:
                del self._commands[command_id]
        return is_lost
