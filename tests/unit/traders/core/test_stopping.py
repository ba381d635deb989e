from __future__ import annotations

import pytest

from traders.core.stopping import SILENT_GRACE_S, STOP_GRACE_S, Patience


@pytest.mark.parametrize(("is_asleep", "grace_s"), [(False, STOP_GRACE_S), (True, SILENT_GRACE_S)])
def test_who_was_asked_to_stop_has_time_for_it_and_no_more(is_asleep: bool, grace_s: float) -> None:
    patience = Patience(100.0, is_asleep)
    assert not patience.looked(100.0 + grace_s, is_asleep=is_asleep).is_over(100.0 + grace_s)
    assert patience.looked(100.1 + grace_s, is_asleep=is_asleep).is_over(100.1 + grace_s)


def test_A4_who_was_asked_while_frozen_has_the_time_that_everybody_has_once_he_wakes() -> None:
    woken = Patience(100.0, is_asleep=True).looked(120.0, is_asleep=False)
    assert not woken.is_over(120.0 + STOP_GRACE_S)
    assert woken.looked(120.5, is_asleep=False).is_over(120.1 + STOP_GRACE_S), "once, and from then on as everybody"


def test_who_falls_asleep_while_it_ends_has_no_time_from_anew() -> None:
    asleep = Patience(100.0).looked(104.0, is_asleep=True)
    assert asleep.is_over(100.1 + SILENT_GRACE_S)
