"""Which bars there are, in the order in which they are told."""

from __future__ import annotations

from kalshimm.bench.faults.bars import Bar

LEDGER = "by the exchange's ledger, over every fault of this run"

COUNTS = (
    Bar(
        name="duplicates", what="orders for one wish, beyond the first", kind="count", aim=0, floor=0, how=LEDGER,
    ),
    Bar(
        name="orphans", what="orders resting 10 s after their trader was killed or frozen", kind="count", aim=0,
        floor=0, how=LEDGER,
    ),
    Bar(
        name="breaches", what="lines of the ledger at which a limit is passed", kind="count", aim=0, floor=0,
        how=f"size of an order, and the position with every order of a side filled; {LEDGER}",
    ),
    Bar(name="dry_run_writes", what="orders asked for by dry-run", kind="count", aim=0, floor=0, how=LEDGER),
    Bar(name="limited", what="requests answered with 429", kind="count", aim=0, floor=0, how=LEDGER),
)  # fmt: skip

TIMES = (
    Bar(
        name="kill_last_create", what="kill: request to last create leaving", unit="ms", aim=100, floor=500,
        how="from the writing of kill.json to the last create that reached the exchange; 0 where none did after it",
    ),
    Bar(
        name="kill_confirmed", what="kill: request to all cancelled, 200 orders, 10 writes a second", unit="s", aim=1,
        floor=3, how="until the exchange has shown that nothing rests and every group is triggered",
    ),
    Bar(
        name="kill_start", what="kill by command line: its start to its first request", unit="s", aim=0.5, floor=0.5,
        how="from the start of `manage.py kill`, cold, to the exchange's ledger",
    ),
    Bar(
        name="kill_command", what="kill by command line, no Redis, PostgreSQL or web", unit="s", aim=1, floor=5,
        how="200 orders; from the start of `manage.py kill` to its confirmed end",
    ),
    Bar(
        name="death_seen", what="trader's death seen", unit="ms", aim=250, floor=1_000,
        how="from SIGKILL to the supervisor's own log line; 20 live traders",
    ),
    Bar(
        name="frozen_pulled", what="trader frozen: last heartbeat to quotes pulled", unit="s", aim=5, floor=10,
        how="SIGSTOP of up to four traders at once; until the last order of each has ended at the exchange",
    ),
    Bar(
        name="death_quoting", what="trader's death to reconciled and quoting again", unit="s", aim=5, floor=15,
        how="from SIGKILL to the first order of its next lease at rest; 20 live traders",
    ),
    Bar(
        name="adoption", what="supervisor's restart: 20 live traders adopted", unit="s", aim=1, floor=5,
        how="from the start of its process to its log line of the last one; every trader kept its process",
    ),
    Bar(
        name="gap_invalid", what="gap seen to book invalid for all readers", unit="ms", aim=20, floor=100,
        how="from the message that shows it leaving the exchange to the last of 20 readers; all markets are hit",
    ),
    Bar(
        name="gap_valid", what="gap seen to book valid again", unit="ms", aim=500, floor=3_000,
        how="likewise, to the last reader with a fresh book",
    ),
    Bar(
        name="cut_pulled", what="feed cut to quotes pulled", unit="s", aim=2, floor=5,
        how="the gateway's line cut and kept so, until the last order of both traders has ended at the exchange",
    ),
    Bar(
        name="cut_all_valid", what="feed cut to all 200 subscriptions valid again", unit="s", aim=3, floor=10,
        how="the gateway's line cut once, until the feed names 200 valid books of the next connection",
    ),
    Bar(
        name="catch_up", what="writer's catch-up over live rate", kind="ratio", unit="×", aim=10, floor=5,
        is_lower_better=False, how="SIGSTOP for 12 s, SIGCONT, until what was there then is committed",
    ),
)  # fmt: skip

SOAK = (
    Bar(
        name="soak_limited", what="429s in a soak (of an hour: --soak 60)", kind="count", aim=0, floor=0,
        how="by the exchange's ledger",
    ),
    Bar(
        name="memory", what="memory growth of a process in a soak, after its first sixth", kind="ratio", unit="%",
        aim=2, floor=5, how="resident memory of gateway, desk, writer, spawner, supervisor and each trader",
    ),
)  # fmt: skip

SETTINGS = (
    Bar(
        name="feed_entry_age", what="age of the feed entry that a quote may use", kind="setting", unit="s", aim=0.5,
        floor=1.5, how="feed.schema",
    ),
    Bar(
        name="connection_silence", what="silence of the connection that a quote may use", kind="setting", unit="s",
        aim=15, floor=15, how="feed.schema",
    ),
    Bar(
        name="first_look", what="in-flight check: first look", kind="setting", unit="s", aim=2, floor=5,
        how="traders.core.settling",
    ),
    Bar(
        name="looks", what="in-flight check: looks before they grow rare", kind="setting", aim=5, floor=5,
        is_lower_better=False, how="traders.core.settling",
    ),
    Bar(
        name="order_comparison", what="open-order comparison, every", kind="setting", unit="s", aim=5, floor=10,
        how="feed.account.polls",
    ),
    Bar(
        name="position_comparison", what="position comparison, every", kind="setting", unit="s", aim=30, floor=60,
        how="feed.account.polls",
    ),
    Bar(
        name="cancel_share", what="write tokens kept for cancels", kind="setting", unit="%", aim=30, floor=20,
        is_lower_better=False, how="feed.kalshi.limiter",
    ),
    Bar(
        name="clock_warn", what="clock offset that warns", kind="setting", unit="s", aim=1, floor=1,
        how="feed.kalshi.clock",
    ),
    Bar(
        name="clock_stop", what="clock offset that stops live writes", kind="setting", unit="s", aim=5, floor=5,
        how="feed.kalshi.clock",
    ),
)  # fmt: skip

ELSEWHERE = (
    Bar(
        name="writer_kills", what="rows lost or doubled by writer kills", kind="elsewhere", aim=0, floor=0,
        how="`make test-long`: 40 kills in tests/faults/test_writer_kills.py; 200 with WRITER_KILLS=200",
    ),
    Bar(
        name="histories", what="model-layer histories a run", kind="elsewhere", aim=2_000, floor=500,
        is_lower_better=False, how="tests/unit/traders/test_engine_histories.py: 500, and 2,000 in `make test-long`",
    ),
    Bar(
        name="matrix", what="matrix rows with a passing test", kind="elsewhere", unit="%", aim=100, floor=100,
        is_lower_better=False, how="tests/faults/test_matrix.py counts their names, `make test-long` runs them",
    ),
)  # fmt: skip

BARS = (*COUNTS, *TIMES, *SOAK, *SETTINGS, *ELSEWHERE)
