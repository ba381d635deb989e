from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traders.core.golive import (
    CREDENTIAL,
    GRANT,
    INSTALLATION,
    MODE,
    START,
    Credential,
    LiveFacts,
    Permission,
    holding,
    limits_digest,
    missing,
)
from traders.core.limits import Limits

NOW_US = 1_795_337_400_000_000
HOUR_US = 3_600_000_000
DIGEST = limits_digest(Limits())


def a_grant(**changes: Any) -> Permission:
    told = {
        "id": 1, "trader": 7, "environment": "demo", "account": "demo", "limits_digest": DIGEST,
        "expires_us": NOW_US + HOUR_US, "is_started": True,
    }  # fmt: skip
    return Permission(**(told | changes))


def facts(**changes: Any) -> LiveFacts:
    """Return facts of which nothing is missing, but for the changes."""
    told = {
        "trader": 7, "name": "mine", "mode": "live", "environment": "demo", "account": "demo", "limits_digest": DIGEST,
        "is_allowed_here": True, "credentials": (Credential("hot", "demo", "demo", True),),
        "permissions": (a_grant(),), "now_us": NOW_US,
    }  # fmt: skip
    return LiveFacts(**(told | changes))


def codes(told: LiveFacts) -> set[str]:
    return {one.code for one in missing(told)}


# What takes each of the things away, in every way there is.
INSTALLATIONS = {"set": {}, "not set": {"is_allowed_here": False}}
MODES = {"live": {}, "dry-run": {"mode": "dry-run"}, "unheard of": {"mode": "LIVE"}}
CREDENTIALS = {
    "trades": {},
    "none": {"credentials": ()},
    "untested": {"credentials": (Credential("hot", "demo", "demo", None),)},
    "reads": {"credentials": (Credential("cold", "demo", "demo", False),)},
    "unknown": {"vault_problem": "who knows"},
    "of production": {"credentials": (Credential("hot", "prod", "demo", True),)},
    "of another account": {"credentials": (Credential("hot", "demo", "other", True),)},
}
GRANTS = {
    "holds": {},
    "revoked": {"is_revoked": True},
    "expired": {"expires_us": NOW_US},
    "of another trader": {"trader": 8},
    "for production": {"environment": "prod"},
    "for another account": {"account": "other"},
    "for other limits": {"limits_digest": limits_digest(Limits(order_cx_most=999))},
}
STARTS = {"started": {}, "not started": {"is_started": False}}


@pytest.mark.parametrize("started", STARTS)
@pytest.mark.parametrize("grant", [*GRANTS, "none"])
def test_G2_only_all_four_together_are_live_and_each_that_is_missing_is_named(grant: str, started: str) -> None:
    permissions = () if grant == "none" else (a_grant(**GRANTS[grant], **STARTS[started]),)
    for installation, mode, credential in itertools.product(INSTALLATIONS, MODES, CREDENTIALS):
        told = facts(
            **INSTALLATIONS[installation], **MODES[mode], **CREDENTIALS[credential], permissions=permissions
        )  # fmt: skip
        lacks = {
            INSTALLATION: installation != "set",
            MODE: mode != "live",
            CREDENTIAL: credential != "trades",
            GRANT: grant != "holds",
            START: started != "started" or grant != "holds",  # the flag is the grant's, and goes with it
        }
        assert codes(told) == {code for code, is_missing in lacks.items() if is_missing}
        is_live = (installation, mode, credential, grant, started) == ("set", "live", "trades", "holds", "started")
        assert (missing(told) == ()) is is_live


@given(
    installation=st.sampled_from(list(INSTALLATIONS)),
    mode=st.sampled_from(list(MODES)),
    credentials=st.lists(st.sampled_from([name for name in CREDENTIALS if name != "unknown"]), max_size=3),
    grants=st.lists(st.tuples(st.sampled_from(list(GRANTS)), st.sampled_from(list(STARTS))), max_size=4),
)
def test_G2_many_halves_of_a_thing_are_not_that_thing(
    installation: str, mode: str, credentials: list[str], grants: list[tuple[str, str]]
) -> None:
    told = facts(
        **INSTALLATIONS[installation],
        **MODES[mode],
        credentials=sum((facts(**CREDENTIALS[name]).credentials for name in credentials), ()),
        permissions=tuple(a_grant(id=at, **GRANTS[g], **STARTS[s]) for at, (g, s) in enumerate(grants)),
    )
    is_live = installation == "set" and mode == "live" and "trades" in credentials and ("holds", "started") in grants
    assert (missing(told) == ()) is is_live
    held = holding(told)
    assert (held is None) == all(name != "holds" for name, _ in grants)
    assert held is None or held.is_started == (("holds", "started") in grants)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"is_allowed_here": False}, "KALSHIMM_LIVE=1 is not set"),
        ({"mode": "dry-run"}, "made for dry-run and stays so"),
        ({"credentials": ()}, "no key of account demo in demo: `keys add`"),
        (CREDENTIALS["untested"], "`keys test hot`"),
        (CREDENTIALS["reads"], "cold may not"),
        ({"vault_problem": "index.json is damaged; put it back."}, "index.json is damaged; put it back"),
        ({"permissions": (a_grant(is_started=False),)}, "traders start --live mine"),
        ({"permissions": (a_grant(is_revoked=True), a_grant(expires_us=1))}, "was revoked: `grants create mine`"),
        ({"permissions": (a_grant(expires_us=NOW_US - 2 * HOUR_US),)}, "expired 2 h 0 m ago"),
        ({"permissions": (a_grant(environment="prod"),)}, "for account demo in prod, here it would be demo in demo"),
        ({"permissions": (a_grant(limits_digest="x"),)}, "not those that were confirmed"),
        ({"limits_digest": None}, "limits cannot be read"),
    ],
)
def test_what_is_missing_says_what_to_do(changes: dict[str, Any], words: str) -> None:
    assert any(words in one.text for one in missing(facts(**changes)))


def test_a_started_grant_goes_before_one_that_lasts_longer() -> None:
    waiting, started = a_grant(id=2, is_started=False, expires_us=NOW_US + 9 * HOUR_US), a_grant(id=1)
    assert holding(facts(permissions=(waiting, started))) == started
    longer = a_grant(id=3, expires_us=NOW_US + 2 * HOUR_US)
    assert holding(facts(permissions=(waiting, started, longer))) == longer


def test_a_grant_ends_at_its_time_to_the_microsecond() -> None:
    assert missing(facts(now_us=NOW_US + HOUR_US - 1)) == ()
    assert codes(facts(now_us=NOW_US + HOUR_US)) == {GRANT, START}


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_every_single_limit_counts_in_the_digest(name: str) -> None:
    value = getattr(Limits(), name)
    other = not value if isinstance(value, bool) else value + 1
    assert limits_digest(msgspec.structs.replace(Limits(), **{name: other})) != DIGEST


def confirmed(limits: Limits) -> dict[str, Any]:
    """Return the change of facts under which a grant for these limits meets a trader with the default ones."""
    return {"limits": Limits(), "permissions": (a_grant(limits_digest=limits_digest(limits), limits=limits),)}


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_a_limit_that_was_lowered_since_needs_no_other_grant_and_a_raised_one_does(name: str) -> None:
    value, is_floor = getattr(Limits(), name), name in ("price_cc_least", "waits_for_outsiders")
    higher, lower = (not value, value) if isinstance(value, bool) else (value + 1, value - 1)
    looser, tighter = (lower, higher) if is_floor else (higher, lower)
    assert codes(facts(**confirmed(msgspec.structs.replace(Limits(), **{name: looser})))) == set()
    if tighter != value:
        assert codes(facts(**confirmed(msgspec.structs.replace(Limits(), **{name: tighter})))) == {GRANT, START}


def test_one_limit_raised_among_lowered_ones_needs_another_grant() -> None:
    mixed = Limits(order_cx_most=5_000, daily_loss_ud=1)  # as confirmed; by default it may lose more
    assert codes(facts(**confirmed(mixed))) == {GRANT, START}


def test_a_waiting_trader_may_not_stop_waiting_under_its_grant() -> None:
    assert codes(facts(**confirmed(Limits(waits_for_outsiders=True)))) == {GRANT, START}


def test_limits_that_are_spelt_out_are_the_same_as_defaults() -> None:
    spelt = msgspec.convert(msgspec.to_builtins(Limits()), Limits)
    assert limits_digest(spelt) == DIGEST
    assert len(DIGEST) == 64
