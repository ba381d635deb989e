from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from kalshimm.ops.models import AuditRow
from markets.models import Event, IncentiveProgram, Market, Series
from traders.archive import archive_ended
from traders.core.riskbook import EXCHANGE_ZONE
from traders.fleet import apply_series_rule, read_stored, read_wanted
from traders.management.commands.traders import BadUsage
from traders.models import Desired, Fill, JournalMark, Order, SeriesRule, Trader
from traders.services import RefusedChange, create_trader, ensure_demo_fleet, steer, strategy_named

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)


def apply_series_rules(now_us: int) -> list[str]:
    return [name for rule in SeriesRule.objects.all() for name in apply_series_rule(rule, now_us)]


def a_series(
    ticker: str, *, events: list[int], frequency: str = "daily", closes_in: timedelta = timedelta(hours=3)
) -> None:
    """Make a series with one event for each number of markets given."""
    series = Series.objects.create(ticker=ticker, frequency=frequency, seen_at=NOW)
    for at, markets in enumerate(events):
        event = Event.objects.create(ticker=f"{ticker}-{at}", series=series, seen_at=NOW)
        for number in range(markets):
            Market.objects.create(
                ticker=f"{event.ticker}-{number}",
                event=event,
                status="active",
                open_time=NOW - timedelta(hours=1),
                close_time=NOW + closes_in,
                price_ranges=[[0, 10_000, 100]],
                seen_at=NOW,
            )


def a_trader(name: str = "first", ticker: str = "HIGH-0-0") -> Trader:
    return create_trader(name=name, market_ticker=ticker, strategy=strategy_named("join-best"), actor="test")


def a_program(ticker: str) -> None:
    IncentiveProgram.objects.create(
        id=f"program-{ticker}", market_ticker=ticker, incentive_type="liquidity", start_date=NOW,
        end_date=NOW + timedelta(days=1), period_reward_cc=1_000_000, target_size_cx=10_000, discount_factor_bps=5_000,
        seen_at=NOW,
    )  # fmt: skip


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("traders", *argv, stdout=out)
    return out.getvalue()


def run_json(*argv: str) -> Any:
    text = run(*argv, "--json")
    assert text.count("\n") == 1, "one document on one line"
    return json.loads(text)


def test_the_demo_fleet_is_six_traders_in_the_three_largest_events_and_a_rolling_series() -> None:
    a_series("HIGH", events=[2, 5, 1])
    a_series("RAIN", events=[4, 3])
    a_series("SOON", events=[9], closes_in=timedelta(minutes=10))
    a_series("ROLL", events=[7], frequency="fifteen_min")
    made = ensure_demo_fleet()
    assert len(made) == 7
    traded = Trader.objects.values_list("market_ticker", flat=True)
    assert {ticker.rpartition("-")[0] for ticker in traded} == {"HIGH-1", "RAIN-0", "RAIN-1"}
    assert Trader.objects.filter(mode="dry-run", desired="running").count() == 6
    assert SeriesRule.objects.get().series_ticker == "ROLL"
    assert AuditRow.objects.count() == 7


def test_a_recording_of_one_rolling_series_gives_just_its_rule() -> None:
    a_series("ROLL", events=[1], frequency="fifteen_min", closes_in=timedelta(minutes=10))
    assert ensure_demo_fleet() == ["ROLL"]
    assert not Trader.objects.exists()


def test_the_demo_fleet_is_made_once_and_not_before_the_catalogue_is_there() -> None:
    assert ensure_demo_fleet() == []
    a_series("HIGH", events=[3])
    assert len(ensure_demo_fleet()) == 2
    assert ensure_demo_fleet() == []


def test_a_series_rule_makes_one_trader_for_the_open_market_and_not_again() -> None:
    a_series("ROLL", events=[1], frequency="fifteen_min")
    SeriesRule.objects.create(series_ticker="ROLL", strategy=strategy_named("join-best"))
    now_us = round(NOW.timestamp() * 1_000_000)
    assert len(apply_series_rules(now_us)) == 1
    assert apply_series_rules(now_us) == []
    steer(Trader.objects.all(), "stop", actor="somebody")
    assert apply_series_rules(now_us) == [], "what a person stopped stays stopped"


def test_a_rule_gives_its_traders_its_limits_and_stops_them_before_the_close() -> None:
    a_series("ROLL", events=[1], frequency="fifteen_min")
    limits = {"order_cx_most": 300}
    rule = SeriesRule.objects.create(
        series_ticker="ROLL", strategy=strategy_named("join-best"), limits=limits, close_buffer_s=60
    )
    apply_series_rules(round(NOW.timestamp() * 1_000_000))
    trader = Trader.objects.get()
    assert (trader.limits, trader.series_rule, trader.desired) == (limits, rule, "running")
    closes_us = round((NOW + timedelta(hours=3)).timestamp() * 1_000_000)
    assert apply_series_rules(closes_us - 61_000_000) == []
    trader.refresh_from_db()
    assert trader.desired == "running"
    assert apply_series_rules(closes_us - 60_000_000) == []
    trader.refresh_from_db()
    assert trader.desired == "stopped"
    assert AuditRow.objects.filter(action="trader.desired").get().detail["reason"] == "its market closes within 60 s"


def test_a_rule_that_needs_a_program_makes_no_trader_without_one() -> None:
    a_series("ROLL", events=[2], frequency="fifteen_min")
    SeriesRule.objects.create(
        series_ticker="ROLL", strategy=strategy_named("join-best"), needs_program=True, max_traders=9
    )
    now_us = round(NOW.timestamp() * 1_000_000)
    assert apply_series_rules(now_us) == []
    a_program("ROLL-0-1")
    assert len(apply_series_rules(now_us)) == 1
    assert Trader.objects.get().market_ticker == "ROLL-0-1"


def test_outside_its_window_a_rule_makes_no_trader() -> None:
    a_series("ROLL", events=[1], frequency="fifteen_min")
    local = NOW.astimezone(EXCHANGE_ZONE)
    later, latest = (local + timedelta(hours=1)).time(), (local + timedelta(hours=2)).time()
    rule = SeriesRule.objects.create(
        series_ticker="ROLL", strategy=strategy_named("join-best"), begins_from=later, begins_until=latest
    )
    now_us = round(NOW.timestamp() * 1_000_000)
    assert apply_series_rules(now_us) == []
    SeriesRule.objects.filter(pk=rule.pk).update(begins_from=(local - timedelta(minutes=5)).time())
    assert len(apply_series_rules(now_us)) == 1


def test_a_rule_says_what_is_wrong_with_it() -> None:
    rule = SeriesRule(series_ticker="ROLL", strategy=strategy_named("join-best"), limits={"order_cx_most": -1})
    with pytest.raises(ValidationError, match="order_cx_most"):
        rule.full_clean()
    rule.limits, rule.begins_from = {}, NOW.time()
    with pytest.raises(ValidationError, match="begin and an end"):
        rule.full_clean()


def test_a_rules_trader_is_archived_once_its_market_has_paid_and_lists_leave_it_out() -> None:
    a_series("ROLL", events=[1], frequency="fifteen_min")
    SeriesRule.objects.create(series_ticker="ROLL", strategy=strategy_named("join-best"))
    apply_series_rules(round(NOW.timestamp() * 1_000_000))
    trader, other = Trader.objects.get(), None
    a_series("HIGH", events=[1])
    other = a_trader("first", "HIGH-0-0")
    Trader.objects.update(desired=Desired.STOPPED, state="stopped")
    assert archive_ended(actor="test") == []
    Market.objects.update(status="finalized", result="yes")
    assert archive_ended(actor="test") == [trader.name]
    assert archive_ended(actor="test") == []
    assert [row["name"] for row in run_json("list")["traders"]] == [other.name], "a person's own stays"
    assert len(run_json("list", "--archived")["traders"]) == 2
    assert run_json("show", trader.name)["trader"]["name"] == trader.name
    assert AuditRow.objects.filter(action="trader.archived", subject=trader.name).count() == 1


def test_the_list_tells_what_tests_and_scripts_rely_on() -> None:
    a_series("HIGH", events=[1])
    trader = a_trader()
    (row,) = run_json("list")["traders"]
    wanted = {"id": trader.pk, "name": "first", "market": "HIGH-0-0", "event": "HIGH-0", "mode": "dry-run"}
    assert wanted.items() <= row.items()
    assert {"state", "pid"} <= row.keys()
    assert "first" in run("list")


def test_the_list_of_no_trader_is_empty() -> None:
    assert run_json("list") == {"traders": []}
    assert run("list") == ""


def test_stop_and_start_change_what_is_desired_and_are_audited_once() -> None:
    a_series("HIGH", events=[1])
    trader = a_trader()
    run("stop", str(trader.pk))
    run("stop", "first")
    trader.refresh_from_db()
    assert trader.desired == Desired.STOPPED
    (row,) = AuditRow.objects.filter(action="trader.desired")
    assert row.actor.startswith("cli:")
    assert row.detail == {"before": "running", "now": "stopped"}


def test_an_event_or_the_whole_fleet_can_be_meant() -> None:
    a_series("HIGH", events=[1, 1])
    a_trader("one", "HIGH-0-0")
    a_trader("two", "HIGH-1-0")
    assert [row["name"] for row in run_json("pause", "--event", "HIGH-1")["traders"]] == ["two"]
    assert len(run_json("stop", "--all")["traders"]) == 2


@pytest.mark.parametrize("argv", [("stop",), ("stop", "1", "--all")])
def test_a_command_line_that_names_nobody_or_too_much_is_bad_usage(argv: tuple[str, ...]) -> None:
    with pytest.raises(BadUsage, match="one of the three"):
        run(*argv)


def test_G2_a_trader_that_was_made_for_dry_run_never_starts_live() -> None:
    a_series("HIGH", events=[1])
    a_trader()
    run("stop", "first")
    with pytest.raises(RefusedChange, match=r"made for dry-run and stays so.*traders create NAME --live"):
        run("start", "first", "--live")
    trader = Trader.objects.get()
    assert (trader.mode, trader.desired) == ("dry-run", "stopped")


def test_create_makes_a_trader_for_each_open_market_of_an_event_that_has_none() -> None:
    a_series("HIGH", events=[3, 1])
    Market.objects.filter(pk="HIGH-0-2").update(status="settled")
    a_trader("first", "HIGH-0-0")
    (row,) = run_json("create", "--event", "HIGH-0", "--stopped")["traders"]
    assert (row["name"], row["market"], row["mode"], row["desired"]) == ("high-0-1", "HIGH-0-1", "dry-run", "stopped")
    assert run_json("create", "--event", "HIGH-0")["traders"] == [], "each has one now"
    live = run_json("create", "--event", "HIGH-0", "--live")["traders"]
    assert [(one["name"], one["mode"], one["desired"]) for one in live] == [
        ("high-0-0-live", "live", "stopped"), ("high-0-1-live", "live", "stopped"),
    ]  # fmt: skip
    for argv in (["--event", "HIGH-9"], ["--event", "HIGH-0-0"]):
        with pytest.raises(RefusedChange, match="no event"):
            run("create", *argv)
    Market.objects.filter(event_id="HIGH-1").update(status="closed")
    with pytest.raises(RefusedChange, match="No market of event HIGH-1 is open"):
        run("create", "--event", "HIGH-1")
    for argv in (["one", "--event", "HIGH-0"], ["one"], ["--market", "HIGH-0-0"], []):
        with pytest.raises(BadUsage, match="name and a --market"):
            run("create", *argv)


def test_create_makes_a_trader_and_says_what_is_wrong_otherwise() -> None:
    a_series("HIGH", events=[1])
    (row,) = run_json("create", "mine", "--market", "HIGH-0-0", "--stopped")["traders"]
    assert (row["name"], row["desired"]) == ("mine", "stopped")
    with pytest.raises(RefusedChange, match="no market NOPE"):
        run("create", "other", "--market", "NOPE")
    with pytest.raises(RefusedChange, match="name: Trader with this Name already exists"):
        run("create", "mine", "--market", "HIGH-0-0")
    with pytest.raises(RefusedChange, match="Small letters"):
        run("create", "Not Good", "--market", "HIGH-0-0")
    with pytest.raises(RefusedChange, match="no strategy set"):
        run("create", "other", "--market", "HIGH-0-0", "--strategy", "nope")


def test_show_and_logs_tell_of_one_trader(settings: Any, tmp_path: Path) -> None:
    settings.KALSHIMM_HOME = tmp_path
    a_series("HIGH", events=[1])
    trader = a_trader()
    assert run_json("show", "first")["trader"]["market"] == "HIGH-0-0"
    assert run_json("logs", "first") == {"lines": []}
    folder = tmp_path / "traders" / str(trader.pk)
    folder.mkdir(parents=True)
    (folder / "log").write_text("one\ntwo\nthree\n")
    assert run_json("logs", "first", "-n", "2") == {"lines": ["two", "three"]}
    with pytest.raises(RefusedChange, match="no trader 4711"):
        run("show", "4711")


def test_what_is_stored_of_a_trader_is_enough_to_go_on_without_its_folder() -> None:
    a_series("HIGH", events=[1])
    trader = a_trader()
    assert read_stored(trader.pk).number == 0
    JournalMark.objects.create(trader=trader.pk, number=17)
    common = {"account": "paper", "client_order_id": "c", "trader": trader, "ticker": "HIGH-0-0", "mode": "dry-run"}
    for trade_id, side, price_cc in (("t1", 0, 4_000), ("t2", 1, 5_800)):
        Fill.objects.create(
            **common,
            order_id="o",
            trade_id=trade_id,
            side=side,
            price_cc=price_cc,
            count_cx=100,
            is_taker=False,
            position_cx=0,
            time=NOW,
        )
    for client_order_id, status in (("c", "filled"), ("d", "resting")):
        Order.objects.create(
            **common | {"client_order_id": client_order_id},
            side=0,
            price_cc=4_000,
            placed_cx=100,
            filled_cx=0,
            remaining_cx=100,
            status=status,
            created_at=NOW,
            updated_at=NOW,
            journal_number=3,
        )
    stored = read_stored(trader.pk)
    held = stored.inventory
    assert (stored.number, held.position_cx, held.cash_ud, held.fills) == (17, 0, 20_000, 2)
    assert [order.client_order_id for order in stored.open_orders] == ["d"]


def test_a_living_process_is_looked_at_whatever_its_row_says() -> None:
    a_series("HIGH", events=[1])
    trader = a_trader()
    Trader.objects.filter(pk=trader.pk).update(desired=Desired.STOPPED, state="stopped")
    assert read_wanted([]) == []
    assert [wanted.id for wanted in read_wanted([trader.pk])] == [trader.pk]


def a_fleet_of_every_kind() -> None:
    a_series("HIGH", events=[4])
    for at, (name, changes) in enumerate(
        {
            "running": {},
            "paused": {"desired": Desired.PAUSED},
            "stopped": {"desired": Desired.STOPPED},
            "failed": {"state": "failed", "state_reason": "boom"},
        }.items()
    ):
        trader = a_trader(name, f"HIGH-0-{at}")
        Trader.objects.filter(pk=trader.pk).update(**changes)


def desired() -> dict[str, str]:
    return dict(Trader.objects.values_list("name", "desired"))


def test_pause_and_resume_of_everybody_start_nobody_who_was_stopped() -> None:
    a_fleet_of_every_kind()
    run("pause", "--all")
    assert desired() == {"running": "paused", "paused": "paused", "stopped": "stopped", "failed": "paused"}
    run("resume", "--all")
    assert desired() == {"running": "running", "paused": "running", "stopped": "stopped", "failed": "running"}
    assert Trader.objects.get(name="failed").state == "failed", "only a start releases it"


def test_a_start_releases_a_failed_trader_and_shows_it() -> None:
    a_fleet_of_every_kind()
    (row,) = run_json("start", "failed")["traders"]
    assert (row["desired"], row["state"], row["state_reason"]) == ("running", "stopped", "")
    assert AuditRow.objects.get(action="trader.desired").detail["released"] is True


def test_starting_everybody_leaves_out_and_names_those_whose_market_has_closed() -> None:
    a_series("HIGH", events=[1])
    a_series("OVER", events=[1], closes_in=timedelta(seconds=-1))
    for name, ticker in (("open", "HIGH-0-0"), ("over", "OVER-0-0")):
        a_trader(name, ticker)
    run("stop", "--all")
    told = io.StringIO()
    call_command("traders", "start", "--all", stdout=io.StringIO(), stderr=told)
    assert desired() == {"open": "running", "over": "stopped"}
    assert "skipped over" in told.getvalue()


def test_a_trader_can_be_named_by_digits_and_odd_digits_are_a_name() -> None:
    a_series("HIGH", events=[1])
    a_trader("2026")
    assert run_json("show", "2026")["trader"]["name"] == "2026"
    with pytest.raises(RefusedChange, match="no trader ²"):
        run("show", "²")


@pytest.mark.parametrize("lines", ["0", "-1", "many"])
def test_a_number_of_lines_is_one_or_more(lines: str) -> None:
    with pytest.raises(CommandError, match="1 or more"):
        run("logs", "first", f"--lines={lines}")


def test_the_strategies_are_listed_with_defaults_and_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("strategies", "--json")
    listed = {(row["kind"], row["name"]): row for row in json.loads(capsys.readouterr().out)["strategies"]}
    assert {("placement", "join_best"), ("buffering", "percent"), ("flatten", "stop_loss"), ("limits", "")} <= set(
        listed
    )
    percent = {one["name"]: one for one in listed["buffering", "percent"]["params"]}
    assert percent["min_bps"] == {"name": "min_bps", "default": 5_000, "least": 0, "most": 9_999}
    call_command("strategies")
    assert "    skew_steps 0  (0 to 1000)" in capsys.readouterr().out
