"""Read recordings of the exchange, line by line, as the wire frames they were.

Four forms of line, which may be plain, `.gz` or `.zst` (window up to 128 MiB); blank lines are skipped:

    {"type":"orderbook_delta","sid":1,…}             a wire frame as it came
    {"recv_ts_ns":…,"raw":"{…}"}                     the same as text, with its receive time
    {"event_type":…,"payload_json":{…},…}            the envelope of a recorder that kept only the body
    {"conn":…,"recv_us":…,"row":[…]}                 a row of our own tape (feed.tapefile), with first and last line

A recording that ends in the middle, a line that is no JSON and an event nobody knows raise BadRecording with the
place: half a recording must not pass for a whole one.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from feed import schema, tapefile
from kalshimm.errors import BadRecording

CHUNK = 1 << 20
IDENTITY_BYTES = 1 << 16
ZSTD_WINDOW_MAX = 1 << 27

# Frames the venue may send on a market-data connection; anything else in a recording is damage or news to us.
WIRE_TYPES = frozenset(
    {
        "orderbook_snapshot", "orderbook_delta", "ticker", "trade", "subscribed", "unsubscribed", "ok", "error",
        "market_lifecycle_v2", "event_lifecycle", "event_fee_update", "fill", "user_order", "market_position",
        "order_group_updates", "multivariate_market_lifecycle",
    }
)  # fmt: skip
ENVELOPE_FRAMES = {"orderbook_snapshot": "orderbook_delta", "orderbook_delta": "orderbook_delta", "ticker": "ticker",
                   "trade": "trade"}  # fmt: skip
ENVELOPE_EVENTS = frozenset({"watch_market", "ws_connected", "market_rotated", "ws_disconnected"})


class RecordedFrame(msgspec.Struct, frozen=True):
    """One line: a wire frame, or an event of the recorder itself (then `frame` is empty).

    `recv_us` is the recorder's own clock, microseconds, None where it kept none; `connection` counts the
    recorder's connections from 0; `event` is the recorder's event with its word under `event_type`.
    In a recording of our own `row` is what stood on the tape and `conn` the identity of its connection; `frame` is then
    made of it, for whoever plays frames, and empty where the row never was one.
    """

    line: int
    recv_us: int | None
    connection: int
    frame: bytes
    event: dict[str, Any] | None = None
    row: schema.TapeRow | None = None
    conn: int | None = None


class _Line(msgspec.Struct):
    type: str | None = None
    sid: int | None = None
    recv_ts_ns: int | None = None
    raw: str | None = None
    event_type: str | None = None
    payload_json: msgspec.Raw = msgspec.Raw()
    local_recv_ns: int | None = None
    sequence_number: int | None = None
    market_ticker: str | None = None
    conn: int | None = None
    kalshimm_tape: int | None = None
    kalshimm_tape_end: str | None = None


class _SubscribedMsg(msgspec.Struct):
    channel: str
    sid: int


class _Subscribed(msgspec.Struct):
    msg: _SubscribedMsg


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_subscribed = msgspec.json.Decoder(_Subscribed).decode


def identity(path: Path) -> int:
    """Return 63 bits that name this recording, whatever its file name and compression.

    Taken over its first 64 KiB, so that a cut copy is known as the same recording.
    """
    digest = hashlib.sha256()
    left = IDENTITY_BYTES
    for chunk in _chunks(path):
        digest.update(chunk[:left])
        left -= min(left, len(chunk))
        if not left:
            break
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def connection_identity(recording: int, connection: int) -> int:
    """Return the 63-bit identity of one connection of a recording; the same at every replay."""
    digest = hashlib.sha256(f"{recording}:{connection}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def read_frames(path: Path) -> Iterator[RecordedFrame]:
    """Yield every line of a recording in order.

    Raises:
        BadRecording: The file cannot be read, ends in the middle, or holds a line that means nothing.
    """
    reader = _Reader(path)
    for number, line in enumerate(_lines(path), start=1):
        if line and not line.isspace():
            try:
                yield reader.read(number, line)
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as exc:
                raise BadRecording(path, number, f"does not hold what its kind of line does ({exc}).") from exc
    reader.finish()


class _Reader:
    """Remembers what a line alone does not say: the connection and its subscriptions."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = -1
        self._sids: dict[str, int] = {}
        self._raw_sids: set[int] = set()
        self._own: dict[int, tuple[int, tapefile.WireFrames]] = {}  # ordinal and frames by connection
        self._is_unended = False

    def finish(self) -> None:
        """Raise BadRecording if the file says of itself that something is missing."""
        if self._is_unended:
            raise BadRecording(self._path, None, "has no last line: its recorder was cut off. What is here is whole.")

    def read(self, number: int, data: bytes) -> RecordedFrame:
        try:
            line = _decode_line(data)
        except msgspec.MsgspecError as exc:
            raise BadRecording(self._path, number, f"expected one JSON object a line ({exc}).") from exc
        if line.conn is not None:
            return self._own_row(number, data)
        if line.event_type is not None:
            return self._envelope(number, line)
        if line.kalshimm_tape is not None or line.kalshimm_tape_end is not None:
            return self._own_bound(number, line, data)
        if line.raw is not None:
            recv_us = None if line.recv_ts_ns is None else line.recv_ts_ns // 1_000
            return self._wire(number, line.raw.encode(), recv_us)
        if line.type is not None:
            return self._wire(number, data, None)
        raise BadRecording(
            self._path, number, "neither a wire frame nor a recorder's line: it has no `type`, `raw` or `event_type`."
        )

    def _own_row(self, number: int, data: bytes) -> RecordedFrame:
        told = tapefile.decode_row(data)
        ordinal, frames = self._own.setdefault(told.conn, (len(self._own), tapefile.WireFrames()))
        frame, row = frames.of(told.row), told.row
        event = None if frame else {"event_type": type(row).__name__, "reason": getattr(row, "reason", "")}
        return RecordedFrame(number, told.recv_us, ordinal, frame, event, row, told.conn)

    def _own_bound(self, number: int, line: _Line, data: bytes) -> RecordedFrame:
        """First and last line of a recording of our own."""
        self._is_unended = line.kalshimm_tape_end is None
        if self._is_unended and line.kalshimm_tape != tapefile.VERSION:
            found, expected = line.kalshimm_tape, tapefile.VERSION
            raise BadRecording(self._path, number, f"is of version {found}; this program reads {expected}.")
        event = {"event_type": "tape_begins" if self._is_unended else "tape_ends", **msgspec.json.decode(data)}
        return RecordedFrame(number, None, max(len(self._own) - 1, 0), b"", event)

    def _wire(self, number: int, frame: bytes, recv_us: int | None) -> RecordedFrame:
        try:
            head = _decode_line(frame)
        except msgspec.MsgspecError as exc:
            raise BadRecording(self._path, number, f"`raw` is no wire frame ({exc}).") from exc
        if head.type not in WIRE_TYPES:
            raise BadRecording(self._path, number, f"unknown frame type {head.type!r}.")
        if head.type == "subscribed":
            sid = _decode_subscribed(frame).msg.sid
            if sid in self._raw_sids or self._connection < 0:
                self._connection += 1
                self._raw_sids.clear()
            self._raw_sids.add(sid)
        return RecordedFrame(number, recv_us, max(self._connection, 0), frame)

    def _envelope(self, number: int, line: _Line) -> RecordedFrame:
        recv_us = None if line.local_recv_ns is None else line.local_recv_ns // 1_000
        word = line.event_type
        if word == "ws_subscribed":
            frame = bytes(line.payload_json)
            message = _decode_subscribed(frame).msg
            self._sids[message.channel] = message.sid
            return RecordedFrame(number, recv_us, max(self._connection, 0), frame)
        if word in ENVELOPE_EVENTS:
            if word == "ws_connected":
                self._connection += 1
                self._sids.clear()
            body = msgspec.json.decode(line.payload_json)
            return RecordedFrame(number, recv_us, max(self._connection, 0), b"", {"event_type": word, **body})
        channel = ENVELOPE_FRAMES.get(word or "")
        if channel is None:
            raise BadRecording(self._path, number, f"unknown event type {word!r}.")
        sid = self._sids.get(channel)
        if sid is None:
            raise BadRecording(self._path, number, f"a {word} before its channel was subscribed.")
        seq = b"" if line.sequence_number is None else b',"seq":%d' % line.sequence_number
        frame = b'{"type":"%s","sid":%d%s,"msg":%s}' % (word.encode(), sid, seq, bytes(line.payload_json))  # type: ignore[union-attr]
        return RecordedFrame(number, recv_us, max(self._connection, 0), frame)


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for chunk in _chunks(path):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        match path.suffix:
            case ".zst":
                yield from _zstd_chunks(path)
            case ".gz":
                with gzip.open(path) as file:
                    yield from iter(lambda: file.read(CHUNK), b"")
            case _:
                with path.open("rb") as file:
                    yield from iter(lambda: file.read(CHUNK), b"")
    except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as exc:
        raise BadRecording(path, None, f"is cut short or damaged ({exc}).") from exc
    except OSError as exc:
        raise BadRecording(path, None, f"cannot be read ({exc.strerror}).") from exc


def _zstd_chunks(path: Path) -> Iterator[bytes]:
    """Decompress frame by frame: the library's own reader takes a cut file for a whole one."""
    frame = None
    with path.open("rb") as file:
        while data := file.read(CHUNK // 4):
            while data:
                if frame is None:
                    frame = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX).decompressobj()
                yield frame.decompress(data)
                data = frame.unused_data if frame.eof else b""
                frame = None if frame.eof else frame
    if frame is not None:
        raise zstandard.ZstdError("the last frame has no end")
