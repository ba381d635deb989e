from __future__ import annotations

import logging

from kalshimm.runtime.logs import QUEUE_RECORDS, LineFormatter, QueueHandler, to_record


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
    assert (len(handler.take()), handler.dropped) == (QUEUE_RECORDS, 2)


def test_records_that_could_not_be_sent_keep_their_order() -> None:
    handler = QueueHandler()
    handler.emit(a_record("first %s"))
    taken = handler.take()
    handler.emit(a_record("second %s"))
    handler.put_back(taken)
    assert [r.message for r in handler.take()] == ["first M-1", "second M-1"]
