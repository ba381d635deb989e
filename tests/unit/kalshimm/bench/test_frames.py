"""The frames that benches play: exact, endless, and of the venue's shape."""

from __future__ import annotations

import msgspec
import pytest

from feed.kalshi.wire.frames import Delta, Snapshot, decode_frame
from kalshimm.bench import frames


def test_a_tape_is_the_same_each_time() -> None:
    assert frames.tape(20, 400) == frames.tape(20, 400)


def test_after_a_lap_every_book_is_as_it_began() -> None:
    tape = frames.tape(20, 2_000)
    books = tape.books_at(0)
    for delta in tape.deltas:
        books[delta.market].apply(delta.side, delta.price_cc, delta.delta_cx)  # raises below zero
        assert not books[delta.market].is_crossed
    assert [book.levels for book in books] == [book.levels for book in tape.books_at(0)]


def test_a_market_in_ten_has_ticks_of_a_tenth_of_a_cent() -> None:
    tape = frames.tape(50, 20_000)
    fine = {delta.market for delta in tape.deltas if delta.price_cc % frames.CENT_CC}
    assert fine == {0, 10, 20, 30, 40}


def test_deltas_do_to_levels_what_recorded_ones_do() -> None:
    tape = frames.tape(100, 40_000)
    books = tape.books_at(0)
    opened = emptied = touched = 0
    for delta in tape.deltas:
        book = books[delta.market]
        best_cc, held_cx = book.best_cc[delta.side], book.size_cx(delta.side, delta.price_cc)
        emptied += book.apply(delta.side, delta.price_cc, delta.delta_cx) == 0
        opened += not held_cx
        touched += book.best_cc[delta.side] != best_cc
    parts = [count / len(tape.deltas) for count in (opened, emptied, touched)]
    assert parts == pytest.approx([0.07, 0.07, 0.05], abs=0.015)  # STATS.md, section 1


def test_frames_say_what_the_deltas_are() -> None:
    tape = frames.tape(20, 200)
    sent = frames.delta_frames(frames.bodies(tape), first_seq=21, time_us=1_795_337_401_000_000)
    for number, (delta, frame) in enumerate(zip(tape.deltas, sent, strict=True)):
        read = decode_frame(frame)
        assert isinstance(read, Delta)
        assert (read.sid, read.seq) == (frames.BOOK_SID, 21 + number)
        assert read.msg.market_ticker == tape.markets[delta.market].ticker
        assert read.msg.price_dollars == frames.dollars(delta.price_cc)
        assert read.msg.delta_fp == frames.contracts(delta.delta_cx)
        assert read.msg.side == ("yes", "no")[delta.side]
        assert read.msg.ts_ms == 1_795_337_401_000 + number // 20


def test_a_frame_has_about_260_bytes() -> None:
    tape = frames.tape(500, 2_000)
    sent = frames.delta_frames(frames.bodies(tape), first_seq=501, time_us=1_795_337_401_000_000)
    assert 250 <= sum(map(len, sent)) / len(sent) <= 270


def test_a_snapshot_leaves_out_a_side_without_levels() -> None:
    market = msgspec.structs.replace(frames.tape(1, 0).markets[0], no=[])
    frame = frames.snapshot_frame(market, market.first_book(), seq=1, command_id=7)
    read = decode_frame(frame)
    assert isinstance(read, Snapshot)
    assert (read.id, read.msg.no_dollars_fp) == (7, None)
    assert b"no_dollars_fp" not in frame
    assert read.msg.yes_dollars_fp == [(frames.dollars(p), frames.contracts(c)) for p, c in sorted(market.yes)]


def test_a_frame_says_its_time_twice() -> None:
    assert frames.tail(1_795_337_401_000_000 + 1_002_003) == b'2026-11-22T08:50:02.002003Z","ts_ms":1795337402002}}'


def test_contracts_keep_their_sign_and_two_decimals() -> None:
    assert [frames.contracts(cx) for cx in (-250, -5, 0, 5, 12_345)] == ["-2.50", "-0.05", "0.00", "0.05", "123.45"]
