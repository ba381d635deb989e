from __future__ import annotations

import io

from kalshimm.embedded.console import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_it_puts_the_name_in_front_of_every_line() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.say("gateway", "started, pid 7")
    console.relay("writer", "12 rows")
    assert stream.getvalue() == "gateway    started, pid 7\nwriter     | 12 rows\n"


def test_it_colours_on_a_terminal_only(monkeypatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    Console(terminal).say("gateway", "started")
    assert "\x1b[" in terminal.getvalue()


def test_it_goes_quiet_when_nobody_reads() -> None:
    console = Console(ClosedPipe())
    console.say("gateway", "started")
    assert console.is_broken


def test_it_prints_a_table_in_columns() -> None:
    stream = io.StringIO()
    Console(stream).table([("web", "ready", "pid 1"), ("gateway", "silent", "")])
    assert stream.getvalue() == "\n  web        ready   pid 1\n  gateway    silent\n\n"
