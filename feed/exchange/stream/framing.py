"""WebSocket frames, many in one piece. Source: RFC 6455 section 5.2; a server does not mask."""

from __future__ import annotations

import struct
from collections.abc import Iterable

FINAL_TEXT = 0x81
SHORT, MEDIUM, LONG = 126, 126, 127  # a length up to 125 stands by itself; else a mark, then 16 or 64 bits
MEDIUM_MAX = 0xFFFF

_short = struct.Struct("!BB").pack
_medium = struct.Struct("!BBH").pack
_long = struct.Struct("!BBQ").pack


def text_frames(payloads: Iterable[bytes]) -> bytes:
    """Return the payloads as whole text frames, one after the other.

    One write of many frames costs what one write of one frame costs; that is most of what a feed costs.
    """
    pieces: list[bytes] = []
    for payload in payloads:
        length = len(payload)
        if length < SHORT:
            pieces.append(_short(FINAL_TEXT, length))
        elif length <= MEDIUM_MAX:
            pieces.append(_medium(FINAL_TEXT, MEDIUM, length))
        else:
            pieces.append(_long(FINAL_TEXT, LONG, length))
        pieces.append(payload)
    return b"".join(pieces)
