"""The writer: the only author of history."""

from __future__ import annotations

from feed.writer.process import Writer
from feed.writer.stream import StreamWriter

__all__ = ["StreamWriter", "Writer"]
