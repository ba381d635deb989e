from __future__ import annotations

import pytest

from traders.core.kills import ACCOUNT, ALL, EVENT, TRADER, Kill, Kind, Target, covering, with_kill, without

TARGET = Target(7, "highny", "local", "KXHIGHNY-26")


def kill(kind: Kind, key: str = "", *, by: str = "cli:operator", at_us: int = 1) -> Kill:
    return Kill(kind=kind, key=key, by=by, at_us=at_us)


@pytest.mark.parametrize(
    ("kind", "key", "is_covered"),
    [
        (ALL, "", True),
        (ACCOUNT, "local", True),
        (ACCOUNT, "paper", False),
        (EVENT, "KXHIGHNY-26", True),
        (EVENT, "KXHIGHNY", False),
        (TRADER, "highny", True),
        (TRADER, "7", True),
        (TRADER, "77", False),
    ],
)
def test_a_kill_covers_what_it_names(kind: Kind, key: str, is_covered: bool) -> None:
    one = kill(kind, key)
    assert one.covers(TARGET) is is_covered
    assert covering([one], TARGET) == (one if is_covered else None)


def test_a_trader_of_no_known_event_is_covered_by_no_kill_of_an_event() -> None:
    assert not kill(EVENT, "KXHIGHNY-26").covers(Target(7, "highny", "local", ""))


def test_of_two_kills_of_the_same_the_first_stays() -> None:
    first, again, other = kill(ALL, at_us=1), kill(ALL, at_us=2), kill(EVENT, "E", at_us=3)
    assert with_kill(with_kill([first], again), other) == (first, other)


def test_the_release_of_everything_takes_all_of_them_back_and_any_other_its_own() -> None:
    kills = (kill(ALL), kill(EVENT, "E"), kill(TRADER, "highny"))
    assert without(kills, EVENT, "E") == (kills[0], kills[2])
    assert without(kills, EVENT, "F") == kills
    assert without(kills, ALL) == ()


def test_it_says_who_killed_what_and_what_takes_it_back() -> None:
    assert kill(ALL).why == "everything was killed by cli:operator"
    assert kill(TRADER, "highny").why == "trader highny was killed by cli:operator"
    assert kill(EVENT, "E").release_command == "manage.py kill --release --event E"
    assert kill(ALL).release_command == "manage.py kill --release"
