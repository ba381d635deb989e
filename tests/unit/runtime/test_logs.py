from __future__ import annotations

import logging

import pytest

from kalshimm.runtime.logs import (
    LOG_VERSION,
    QUEUE_RECORDS,
    LineFormatter,
    LogEntry,
    QueueHandler,
    _encode,
    configure,
    decode_log,
    to_record,
)


def a_record(message: str = "subscribed %s", **extra: object) -> logging.LogRecord:
    logger = logging.getLogger("tests")
    return logger.makeRecord("tests", logging.INFO, __file__, 1, message, ("M-1",), None, extra=extra)


def test_fields_passed_in_extra_are_kept_apart_from_the_message() -> None:
    record = to_record(a_record(action="subscribed", count=3))
    assert (record.message, record.fields) == ("subscribed M-1", {"action": "subscribed", "count": 3})


def test_a_line_shows_its_fields() -> None:
    assert LineFormatter().format(a_record(action="x")).endswith("INFO    tests: subscribed M-1 action=x")


def test_a_full_queue_drops_and_counts_instead_of_blocking() -> None:
    handler = QueueHandler()
    for _ in range(QUEUE_RECORDS + 2):
        handler.emit(a_record())
    taken = handler.take()
    assert len(taken) == QUEUE_RECORDS + 1
    assert taken[-1].fields == {"action": "log_records_dropped", "count": 2}


def test_a_broken_log_call_does_not_break_its_caller(capsys: pytest.CaptureFixture[str]) -> None:
    QueueHandler().handle(logging.LogRecord("tests", logging.INFO, __file__, 1, "%d", ("x",), None))
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("value", [2**70, "\ud800"], ids=["huge", "surrogate"])
def test_what_msgpack_does_not_hold_is_shipped_as_its_repr(value: object) -> None:
    entry = LogEntry(LOG_VERSION, 1, "r", "n", 1, "INFO", "l", f"got {value}", {"value": value})
    assert decode_log(_encode(entry)).fields == {"value": ascii(value)}


def test_records_that_could_not_be_sent_keep_their_order() -> None:
    handler = QueueHandler()
    handler.emit(a_record("first %s"))
    taken = handler.take()
    handler.emit(a_record("second %s"))
    handler.put_back(taken)
    assert [r.message for r in handler.take()] == ["first M-1", "second M-1"]


def test_a_library_that_would_write_down_signatures_is_never_let_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    root, websockets = logging.getLogger(), logging.getLogger("websockets")
    for logger in (root, websockets):
        monkeypatch.setattr(logger, "level", logger.level)
    monkeypatch.setattr(root, "handlers", [])
    configure(debug=True)
    assert not logging.getLogger("websockets.client").isEnabledFor(logging.DEBUG)
