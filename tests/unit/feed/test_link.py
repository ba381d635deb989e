from __future__ import annotations

import pytest

from feed.link import Waits


def test_scaled_waits_keep_their_proportions() -> None:
    waits = Waits().scaled(10)
    assert waits.reconnect_first_s == pytest.approx(0.05)
    assert waits.reconnect_most_s == pytest.approx(3.0)
    assert waits.silent_s == pytest.approx(1.5)
    assert waits.steady_s == pytest.approx(1.0)


def test_a_hundred_percent_changes_nothing() -> None:
    assert Waits().scaled(100) == Waits()
