"""A pytest plugin: during a test no Django, no socket, no clock."""

from __future__ import annotations

import importlib.abc
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import hypothesis
import pytest

hypothesis.settings.register_profile("kalshimm", deadline=None)
hypothesis.settings.load_profile("kalshimm")

FORBIDDEN = ("django", "channels", "redis", "psycopg", "aiohttp")


class _Refuse(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in FORBIDDEN:
            raise ImportError(f"{fullname} has no place in a core")
        return None


sys.meta_path.insert(0, _Refuse())


def _refuse(*_args: object, **_options: object) -> object:
    raise AssertionError("a core has no socket")


def _clock() -> float:
    """Tell the time to the test tools alone."""
    caller = sys._getframe(1).f_globals["__name__"]
    assert not caller.startswith(("markets", "traders", "test_")), f"{caller} has no clock"
    return _real_time()


_real_time = time.time


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", _refuse)
        patch.setattr(time, "time", _clock)
        return (yield)
