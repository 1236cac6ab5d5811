"""Capacity of the disk against the profile's demands, and the figures of `minibot probe`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minibot.cli.main import run
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT, Var
from minibot.watchdog.capacity import disk_events_per_s, sync_times, wakeups
from minibot.watchdog.preflight import CheckResult, preflight

pytestmark = pytest.mark.process

PROFILES = ("nore-demo", "nore-smoke", "nore")
# The longest sync of a batch on a build machine's shared disk.
SLOW_SYNC_US = 100_000


def _sync_check(tmp_path: Path, asked: int) -> CheckResult:
    sets = [f"paths.var={tmp_path / 'var'}", f"queues.events_per_s_min={asked}"]
    config = load_config(PROJECT / "config" / "nore-demo.v1.json", sets, {})
    results = preflight(config, Var(tmp_path / "var"), whole=True)
    return next(result for result in results if result.name == "sync")


def test_preflight_of_a_profile_that_asks_more_than_the_disk_gives_names_both(
    tmp_path: Path,
) -> None:
    """A profile that demands too much of the disk is refused with figure, key and remedy."""
    asked = 10_000_000  # One sync of 256 events in 26 us, which no disk reaches.
    refused = _sync_check(tmp_path, asked)
    given = re.search(r"([\d,]+) events a second", refused.found)

    assert not refused.passed
    assert given is not None
    assert 0 < int(given[1].replace(",", "")) < asked
    assert "queues.events_per_s_min asks for 10,000,000" in refused.found
    assert "--var DIR" in refused.remedy


def test_preflight_of_a_profile_that_asks_nothing_of_the_disk_passes(tmp_path: Path) -> None:
    """A demand of zero passes on any disk."""
    assert _sync_check(tmp_path, 0).passed


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_as_shipped_run_on_a_disk_of_a_tenth_of_a_second_a_sync(profile: str) -> None:
    """Shipped profiles run on a disk of a tenth of a second a sync."""
    config = load_config(PROJECT / "config" / f"{profile}.v1.json", [], {})

    assert 0 < config.queues.events_per_s_min <= disk_events_per_s(SLOW_SYNC_US)


def test_sync_times_stop_when_their_time_is_up(tmp_path: Path) -> None:
    """Measuring a hanging disk ends one sample after its time, without leftovers."""
    assert len(sync_times(tmp_path, 400, 1_000_000, 0)) == 1
    assert len(sync_times(tmp_path, 400, 3, 60_000)) == 3
    assert list(tmp_path.iterdir()) == []


def test_wakeups_are_measured_in_another_process(tmp_path: Path) -> None:
    """A reader in another process is woken after each publication."""
    found = wakeups(tmp_path / "hops", 20)

    assert 0 < found.p50_us <= found.p99_us
    assert not (tmp_path / "hops").exists()


def test_probe_holds_the_profile_against_what_it_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Probe shows figures beside limits; a limit beyond the disk is only reported."""
    asked = ["--seconds", "1", "--set", "queues.events_per_s_min=10000000"]
    code = run(["probe", "--json", "--var", str(tmp_path / "var"), *asked])
    document = json.loads(capsys.readouterr().out)
    fits = {row["key"]: row["fits"] for row in document["limits"]}

    assert code == 0
    assert 0 < document["sync_us_p50"] <= document["sync_us_p99"]
    assert document["durable_events_per_s_batch_1"] > 0
    assert document["durable_events_per_s_batch_1"] < document["durable_events_per_s_batch_256"]
    assert document["events_read_per_s"] > 0
    assert not fits["queues.events_per_s_min"]
    assert fits["watchdog.rss_mb_max"] in (True, False)
