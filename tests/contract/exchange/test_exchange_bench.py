"""`manage.py bench exchange` from end to end, as short as it can be. No figure is judged."""

from __future__ import annotations

import json
from typing import Any


def test_the_bench_measures_starts_and_stops_the_exchange_by_itself(manage: Any) -> None:
    result = manage("bench", "exchange", "--rounds", "1", "--seconds", "0.3", "--json", deadline_s=110)
    assert result.returncode == 0, result.stderr
    (line,) = result.stdout.splitlines()
    report = json.loads(line)
    assert (report["bench"], report["floor"], report["aim"]) == ("exchange", 3_000, 10_000)
    assert "500 markets" in report["unit"]
    assert report["figure"] > 0
    assert report["against"] > 0
    (one,) = report["rounds"]
    assert one["more"].keys() == {"events_per_wall_s", "exchange_cpus", "order_round_trip_p50_ms"}
    assert one["more"]["order_round_trip_p50_ms"] > 0
