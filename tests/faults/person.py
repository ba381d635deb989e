"""An operator at the command line: `manage.py` commands in one process that is kept warm, one after the other."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.log import FaultLog
from tests.faults.processes import Worker


class Said(msgspec.Struct, frozen=True):
    """What a command left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


class Person(Worker):
    """Types commands on one home, and reads what they say.

    Args:
        settings: Environment variables, as the person's shell has them.
    """

    stdin = subprocess.PIPE

    def __init__(self, settings: dict[str, str], *, folder: Path, log: FaultLog) -> None:
        super().__init__("person", [], settings, folder=folder, log=log)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.faults.person"]

    def types(self, *argv: str, code: int = 0) -> str:
        """Run a command, fail unless it ends with `code`, and return what it said to that."""
        said = self.tries(*argv)
        assert said.code == code, f"{' '.join(argv)} ended with {said.code}: {said.out} {said.err}"
        return said.err if code else said.out

    def asks(self, *argv: str) -> Any:
        """Run a command with `--json` and return its document."""
        return json.loads(self.types(*argv, "--json"))

    def tries(self, *argv: str) -> Said:
        """Run a command, whatever comes of it."""
        if not self.is_running:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(argv) + "\n")
        self._process.stdin.flush()
        line = self.first_line()
        assert line, f"the command line ended: {self.output()[-2_000:]}"
        return msgspec.json.decode(line, type=Said)


def main() -> None:
    """Run each command that a line of standard input holds, and answer with a line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kalshimm.settings")
    import django
    from django.core.management import execute_from_command_line

    from kalshimm.commandline import operator_error

    django.setup()
    answers = sys.stdout
    for line in sys.stdin:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                execute_from_command_line(["manage.py", *json.loads(line)])
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 0
            except Exception as exc:  # as `kalshimm.commandline.execute` ends
                error = operator_error(exc)
                if error is None:
                    raise
                code = error.exit_code
                err.write(str(error))
        answers.write(msgspec.json.encode(Said(code, out.getvalue(), err.getvalue())).decode() + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
