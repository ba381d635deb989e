"""What a person does with an installation's database, told by lines on a pipe: catalogue, key, traders, grants, starts.

    {"do": "prepare", …} → {}      {"do": "hire", …} → {"numbers": […]}      {"do": "resume"} → {}

The bench itself stands in the database of whoever runs it; this process in that of its ground.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from traders.models import Trader

ACTOR = "bench"
KEY = ACCOUNT = ENVIRONMENT = "local"
STRATEGY = "bars"
SIZE_CX = 100
# Nothing but a fault keeps such a trader from quoting.
GUARDS = {
    "need_both_sides": False, "max_spread_cc": 0, "flow_cx": 0, "sweep_cx": 0, "sweep_levels": 0, "jump_cc": 0,
    "lead_s": 0, "lag_s": 0, "weekly_maintenance": False,
}  # fmt: skip
PLACEMENT = {"bid_cx": SIZE_CX, "ask_cx": SIZE_CX, "max_position_cx": 20_000}
ORDER_CX_MOST, POSITION_CX_MOST = 1_000, 20_000
LIMITS: dict[str, Any] = {
    "order_cx_most": ORDER_CX_MOST, "position_cx_most": POSITION_CX_MOST, "exposure_ud_most": 300_000_000,
    "orders_a_minute": 600, "daily_loss_ud": 300_000_000, "drawdown_ud": 300_000_000,
}  # fmt: skip


class Prepare(msgspec.Struct, frozen=True, tag_field="do", tag="prepare"):
    """Read the catalogue, and take the account's key into the vault as tested."""

    key_id: str
    pem_path: str


class Hire(msgspec.Struct, frozen=True, tag_field="do", tag="hire"):
    """Make a trader in each of these markets and start it; a live one with a grant."""

    tickers: list[str]
    is_live: bool


class Resume(msgspec.Struct, frozen=True, tag_field="do", tag="resume"):
    """Let every trader run that was paused."""


class Done(msgspec.Struct, frozen=True):
    """Of traders that were hired their numbers, in the order of the markets."""

    numbers: list[int] = []


Ask = Prepare | Hire | Resume


def prepare(ask: Prepare) -> Done:
    from django.conf import settings

    from feed import catalog
    from feed.kalshi.wire.kinds import Secret
    from feed.keyring import add_key, check_key

    catalog.refresh()
    pem = Secret(Path(ask.pem_path).read_text())
    add_key(
        settings.KALSHIMM_HOME, name=KEY, account=ACCOUNT, environment=ENVIRONMENT, key_id=ask.key_id, pem=pem,
        actor=ACTOR,
    )  # fmt: skip
    check_key(settings.KALSHIMM_HOME, KEY, actor=ACTOR)
    return Done()


def hire(ask: Hire) -> Done:
    from traders import grants
    from traders.models import Mode, StrategySet
    from traders.services import create_trader

    strategy, _ = StrategySet.objects.get_or_create(
        name=STRATEGY, defaults={"placement": "join_best", "placement_params": PLACEMENT, "guards": GUARDS}
    )
    hired: list[Trader] = []
    for ticker in ask.tickers:
        mode, name = (Mode.LIVE, "live") if ask.is_live else (Mode.DRY_RUN, "paper")
        trader = create_trader(
            name=f"{name}-{ticker.lower()}", market_ticker=ticker, strategy=strategy, actor=ACTOR, mode=mode
        )
        trader.limits = LIMITS
        trader.full_clean()
        trader.save()
        if ask.is_live:
            grants.create_grant(trader, actor=ACTOR, confirm_name=trader.name)
        hired.append(trader)
    if ask.is_live:
        grants.start_live(hired, actor=ACTOR)
    return Done([trader.pk for trader in hired])


def resume(_ask: Resume) -> Done:
    from traders.models import Trader
    from traders.services import steer

    steer(list(Trader.objects.all()), "resume", actor=ACTOR)
    return Done()


def main() -> None:
    import django

    django.setup()
    verbs: dict[type[Ask], Any] = {Prepare: prepare, Hire: hire, Resume: resume}
    for line in sys.stdin.buffer:
        ask = msgspec.json.decode(line, type=Ask)
        sys.stdout.buffer.write(msgspec.json.encode(verbs[type(ask)](ask)) + b"\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
