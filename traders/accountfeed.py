"""The account's truth as a live trader reads it: the stream that the desk writes, from a whole entry on.

Entries may come twice, and tell again what is known; whoever takes them in counts each thing once.
"""

from __future__ import annotations

import msgspec

from feed.schema import VERSION, AccountEntry, account_stream, decode_account
from kalshimm.runtime.resp import Pipe

WALK_BACK_ENTRIES = 200
READ_ENTRIES = 500


class AccountReader:
    """Reads one account's stream.

    Every method raises what the pipe raises, and MsgspecError on an entry that is not of our version.

    Args:
        pipe: Its own: a read may hold it for a while.
    """

    def __init__(self, pipe: Pipe, account: str) -> None:
        self._pipe = pipe
        self._stream = account_stream(account).encode()
        self._id = b"0-0"

    async def locate(self) -> tuple[AccountEntry, ...]:
        """Start anew: the newest whole entry and all since, or nothing where there is none yet."""
        found: list[AccountEntry] = []
        end, self._id = b"+", b"0-0"
        while True:
            page = await self._pipe.ask("XREVRANGE", self._stream, end, "-", "COUNT", WALK_BACK_ENTRIES)
            for entry_id, (_, value) in page:
                self._id = max(self._id, entry_id, key=_order)
                entry = _entry(value)
                found.append(entry)
                if entry.is_whole:
                    return tuple(reversed(found))
            if len(page) < WALK_BACK_ENTRIES:
                return ()  # without a whole one nobody knows what is missing
            end = b"(" + page[-1][0]

    async def read(self, *, block_ms: int) -> tuple[AccountEntry, ...]:
        """Return what came since the last read, waiting up to `block_ms` for something."""
        options = ("COUNT", READ_ENTRIES, "BLOCK", block_ms, "STREAMS", self._stream, self._id)
        answer = await self._pipe.ask("XREAD", *options, block_s=block_ms / 1_000) or ()
        entries: list[AccountEntry] = []
        for _, page in answer:
            self._id = page[-1][0]
            entries += [_entry(value) for _, (_, value) in page]
        return tuple(entries)

    async def is_cut(self) -> bool:
        """Return whether entries may have been trimmed before they were read: start anew with `locate`."""
        oldest = await self._pipe.ask("XRANGE", self._stream, "-", "+", "COUNT", 1)
        return bool(oldest) and self._id != b"0-0" and _order(oldest[0][0]) > _order(self._id)


def _entry(value: bytes) -> AccountEntry:
    entry = decode_account(value)
    if entry.version != VERSION:
        raise msgspec.ValidationError(f"account entry of version {entry.version}, expected {VERSION}")
    return entry


def _order(entry_id: bytes) -> tuple[int, int]:
    ms, _, number = entry_id.partition(b"-")
    return int(ms), int(number)
