"""Metrics during a run: every timed file is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from minibot.engine.role_replay import Recorded
from minibot.events.codec import Codec
from minibot.events.model import Beat, Event, Universe
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.configuration.config import config_of_manifest
from minibot.runtime.context import RoleContext
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE
from minibot.runtime.running import note_current
from minibot.watchdog import closing_accounts, metrics
from minibot.watchdog.closing_accounts import write_closing_accounts
from minibot.watchdog.metrics import MetricsKeeper
from minibot.watchdog.recovery import clear_former_run
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


def test_folder_of_figures_that_was_removed_is_made_again_and_stops_no_run(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The figures are no proof: they are written again, unless `var` itself is gone."""
    var = Var(tmp_path / "var")
    keeper = keeper_of(short_run, var)
    var.root.mkdir(exist_ok=True)

    keeper._write(METRICS_FILE)
    shutil.rmtree(var.metrics)
    keeper._write(METRICS_FILE)

    assert read_hashed(var.metrics / METRICS_FILE)["run_id"] == short_run.run_id
    shutil.rmtree(var.root)
    with pytest.raises(RunStop):
        keeper._write(METRICS_FILE)


def test_count_that_is_told_to_end_leaves_the_rest_to_the_end_of_the_run(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A step ends at the line at which it is told to; the last count takes the others, once."""
    broken_off, whole = (keeper_of(short_run, Var(tmp_path / name)) for name in ("a", "b"))
    looks = iter([False, False, False])
    for name in ("a", "b"):
        (tmp_path / name / "metrics").mkdir(parents=True)

    broken_off.step(lambda: next(looks, True))
    assert broken_off._figures.ticks.position.seq == 3
    for keeper in (broken_off, whole):
        keeper.finish()

    written = (read_hashed(tmp_path / name / "metrics" / "metrics.json") for name in ("a", "b"))
    first, second = ({**each, "stop": None} for each in written)
    assert first == second


def ended_run(run: ShortRun, var_dir: Path) -> tuple[Var, dict[str, Any], bytes]:
    """Return a copy of the run as its launcher left it seconds before the end, and its figures.

    The second value are those of its end, the third the bytes that `var/metrics` has of before.
    """
    var = Var(var_dir)
    shutil.copytree(run.run_dir, var.run(run.run_id), copy_function=shutil.copy)
    (var.run(run.run_id) / "queues").rename(var.queues)
    for name in ("seal.json", METRICS_FILE):
        (var.run(run.run_id) / name).unlink()
    note_current(var, run.run_id)
    final = read_hashed(run.run_dir / METRICS_FILE)
    lines = {**final["lines"], "market_ticks": final["lines"]["market_ticks"] - 1}
    var.metrics.mkdir()
    early = {**final, "lines": lines, "performance": {**final["performance"], "round_trips": 0}}
    write_hashed(var.metrics / METRICS_FILE, early, generation=1)
    return var, _of_its_queues(final), (var.metrics / METRICS_FILE).read_bytes()


def _of_its_queues(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the figures without those of the moment, and of other runs."""
    left_out = ("generation", "sha256", "market_ms", "stop")
    return {name: value for name, value in figures.items() if name not in left_out}


def test_run_that_broke_off_is_sealed_with_the_figures_of_its_end(
    short_run: ShortRun, var_dir: Path
) -> None:
    """The last figures of a killed launcher lack what came after them: they are counted anew."""
    var, final, _ = ended_run(short_run, var_dir)
    assert final["performance"]["round_trips"] > 0
    contracts = Contracts.of_project()

    recovered = clear_former_run(var, contracts, Roles.of_project())

    assert recovered is not None
    assert recovered.findings == ()
    run_dir = var.run(short_run.run_id)
    assert _of_its_queues(read_hashed(run_dir / METRICS_FILE)) == final
    assert METRICS_FILE in read_hashed(run_dir / "seal.json")["run_files"]


@pytest.mark.parametrize("is_counted", [True, False])
@pytest.mark.parametrize("is_early", [True, False])
def test_last_figures_are_kept_only_where_they_are_those_of_the_end(
    short_run: ShortRun, var_dir: Path, is_counted: bool, is_early: bool
) -> None:
    """Figures that the end could not write, or behind which lines came, are counted anew."""
    var, final, kept = ended_run(short_run, var_dir)
    if not is_early:
        kept = (short_run.run_dir / METRICS_FILE).read_bytes()
        (var.metrics / METRICS_FILE).write_bytes(kept)
    recorded = Recorded.open(short_run.run_dir)
    put: dict[str, bytes] = {}

    findings = write_closing_accounts(
        var, recorded.manifest, recorded.codec, put.__setitem__, is_counted=is_counted
    )

    assert findings == []
    assert (put[METRICS_FILE] == kept) is (is_counted and not is_early)
    assert _of_its_queues(canonical.decode(put[METRICS_FILE][:-1])) == final


def test_run_too_long_to_be_counted_anew_is_sealed_without_figures(
    short_run: ShortRun, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start after a crash waits for no long count, and shows no figures of seconds before."""
    var, final, _ = ended_run(short_run, var_dir)
    recorded = Recorded.open(short_run.run_dir)
    put: dict[str, bytes] = {}
    for most, is_written in ((final["lines"]["market_ticks"], True), (1, False)):
        monkeypatch.setattr(closing_accounts, "COUNTED_TICKS_MAX", most)
        put.clear()

        findings = write_closing_accounts(
            var, recorded.manifest, recorded.codec, put.__setitem__, is_counted=False
        )

        assert findings == []
        assert (METRICS_FILE in put) is is_written


def test_live_figures_tell_the_time_of_the_last_price_through_an_outage(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Beats come each market second without a connection: they are no price."""
    keeper = keeper_of(short_run, Var(tmp_path / "var"))
    (tmp_path / "var" / "metrics").mkdir(parents=True)
    keeper.finish()
    before, market = keeper.live, keeper._figures.market
    for n in range(1, 61):
        beat = SimpleNamespace(ts=before["market_ms"] + 1000 * n, payload=Beat(n, {}))
        market.take(market.seq + 1, cast(Event, beat))
    keeper.finish()

    assert before["price_ms"] <= before["market_ms"]
    assert keeper.live["market_ms"] == before["market_ms"] + 60_000
    assert keeper.live["price_ms"] == before["price_ms"]


def test_live_figures_tell_the_symbols_that_the_universe_trades(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """None in a run without one; then those of the last."""
    keeper = keeper_of(short_run, Var(tmp_path / "var"))
    (tmp_path / "var" / "metrics").mkdir(parents=True)
    keeper.finish()
    without, market = keeper.live["traded"], keeper._figures.market
    payload = Universe("dynamic", "USDT", ("ETHUSDT",), ("BTCUSDT",), (), (), {}, {}, 1)
    universe = SimpleNamespace(ts=keeper.live["market_ms"], payload=payload)
    market.take(market.seq + 1, cast(Event, universe))
    keeper.finish()

    assert without is None
    assert keeper.live["traded"] == ["ETHUSDT"]


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
