"""Metrics during a run: every timed file is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from minibot.engine.role_replay import Recorded
from minibot.events.codec import Codec
from minibot.events.model import Beat, Event
from minibot.kernel.files import read_hashed
from minibot.runtime.configuration.config import config_of_manifest
from minibot.runtime.context import RoleContext
from minibot.runtime.paths import Var
from minibot.watchdog import metrics
from minibot.watchdog.metrics import MetricsKeeper
from tests.runs import ShortRun

# Seven hours with one file a minute.
NIGHT_MINUTES = 420


@pytest.mark.row("N-80", "X-26")
def test_every_timed_file_of_a_night_is_kept(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven hours of files, and earlier ones, are all kept."""
    keeper = keeper_of(short_run, Var(tmp_path / "var"))
    older = tmp_path / "var" / "metrics" / f"{short_run.run_id}-1.json"
    older.parent.mkdir(parents=True)
    older.write_bytes(b"{}")
    moments = iter(range(10**12, 10**12 + NIGHT_MINUTES))
    monkeypatch.setattr(metrics, "wall_ms", lambda: next(moments))

    for _ in range(NIGHT_MINUTES):
        keeper._snapshot()

    kept = sorted(older.parent.glob("*.json"))
    assert len(kept) == NIGHT_MINUTES + 1
    assert read_hashed(kept[-1])["run_id"] == short_run.run_id


def test_count_that_is_told_to_end_leaves_the_rest_to_the_end_of_the_run(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A step ends at the line at which it is told to; the last count takes the others, once."""
    broken_off, whole = (keeper_of(short_run, Var(tmp_path / name)) for name in ("a", "b"))
    looks = iter([False, False, False])
    for name in ("a", "b"):
        (tmp_path / name / "metrics").mkdir(parents=True)

    broken_off.step(lambda: next(looks, True))
    assert broken_off._ticks.position.seq == 3
    for keeper in (broken_off, whole):
        keeper.finish()

    written = (read_hashed(tmp_path / name / "metrics" / "metrics.json") for name in ("a", "b"))
    first, second = ({**each, "stop": None} for each in written)
    assert first == second


def test_live_figures_tell_the_time_of_the_last_price_through_an_outage(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Beats come each market second without a connection: they are no price."""
    keeper = keeper_of(short_run, Var(tmp_path / "var"))
    (tmp_path / "var" / "metrics").mkdir(parents=True)
    keeper.finish()
    before, market = keeper.live, keeper._market
    for n in range(1, 61):
        beat = SimpleNamespace(ts=before["market_ms"] + 1000 * n, payload=Beat(n, {}))
        market.take(market.seq + 1, cast(Event, beat))
    keeper.finish()

    assert before["price_ms"] <= before["market_ms"]
    assert keeper.live["market_ms"] == before["market_ms"] + 60_000
    assert keeper.live["price_ms"] == before["price_ms"]


def keeper_of(run: ShortRun, var: Var) -> MetricsKeeper:
    """Return the metrics keeper of a finished run, writing below another `var`."""
    recorded = Recorded.open(run.run_dir)
    manifest = recorded.manifest
    codec: Codec = recorded.codec
    var.queues = run.run_dir / "queues"
    context: Any = SimpleNamespace(
        var=var,
        roles=recorded.roles,
        codec=codec,
        manifest=manifest,
        run_id=manifest.run_id,
        config=config_of_manifest(manifest.config),
        clock=SimpleNamespace(now_ms=lambda: manifest.clock_origin_ms),
    )
    return MetricsKeeper(cast(RoleContext, context))
