from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feed.kalshi.endpoints.orders import aligned

IDS = ["a", "b", "c"]


def entry(name: str | None) -> dict[str, object]:
    return {"order_id": name, "was": name}


def test_entries_that_name_their_order_are_taken_at_their_word() -> None:
    assert aligned([entry("c"), entry("a"), entry("b")], "order_id", IDS) == [entry("a"), entry("b"), entry("c")]


def test_entries_without_a_name_stand_in_their_place_if_none_is_missing() -> None:
    nameless = [entry(None), entry("b"), entry(None)]
    assert aligned(nameless, "order_id", IDS) == nameless
    assert aligned(nameless[:2], "order_id", IDS) == [None, entry("b"), None]


@given(st.lists(st.none() | st.sampled_from([*IDS, "z"]) | st.just(7), max_size=5))
def test_no_order_is_answered_by_an_entry_that_names_another(names: list[str | None]) -> None:
    found = aligned([entry(name) for name in names], "order_id", IDS)
    assert len(found) == len(IDS)
    for wanted, answer in zip(IDS, found, strict=True):
        assert answer is None or answer["order_id"] in (wanted, None, 7)
        assert names.count(wanted) == 0 or answer == entry(wanted)
