"""Health of what runs: one line, and an exit code that says the same."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minibot.cli import health, status
from minibot.cli.health import troubles_of
from minibot.events.names import AI_ROLE, HEALTH
from minibot.events.roles import Roles
from minibot.kernel.files import write_hashed
from minibot.ops import run_health
from minibot.ops.run_health import silence_s
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.watchdog.operator_stop_log import clear_flag, note_refused
from tests.runs import ShortRun, verb

ROLES = Roles.of_project().writers(HEALTH)
NOW_S = 1_000_000
SILENCE_S = 6
"""Longest silence in a short run: at speed 20 half a second between two healths, and `hung_ms`."""


def heard(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a heartbeat of each role, changed for some."""
    return [{"role": role, "state": "READY", "age_s": 1, **changes.get(role, {})} for role in ROLES]


def heard_without(name: str) -> list[dict[str, Any]]:
    """Return a heartbeat of each role but one."""
    return [role for role in heard() if role["role"] != name]


@pytest.fixture(scope="module")
def manifest(short_run: ShortRun) -> Manifest:
    """Manifest of a short run."""
    return Manifest.load(short_run.run_dir)


def running_copy(
    run: ShortRun, folder: Path, monkeypatch: pytest.MonkeyPatch, ages_s: dict[str, int]
) -> Path:
    """Return a copy of a run that counts as running, its heartbeats of these ages, else new."""
    var = Path(shutil.copytree(run.var, folder / "var"))
    heads = var / "runs" / run.run_id / "queues" / HEALTH / "parts"
    for head in heads.glob("*.head"):
        heard_s = NOW_S - ages_s.get(head.stem, 0)
        os.utime(head, (heard_s, heard_s))
    os.utime(var / "runs" / run.run_id / "clock.json", (0, 0))
    monkeypatch.setattr(run_health, "time", SimpleNamespace(time=lambda: float(NOW_S)))
    for of_verb in (health, status):
        monkeypatch.setattr(of_verb, "running_run", lambda _: run.run_id)
    return var


@pytest.mark.row("C-119")
def test_nothing_that_runs_is_no_health(tmp_path: Path) -> None:
    """Without a run the line says so, and the exit code is that of status."""
    done = verb(tmp_path, "health")

    assert (done.code, done.out) == (3, "FAIL  nothing runs\n")
    assert verb(tmp_path, "status").code == 3


def test_role_that_fell_silent_is_not_shown_in_its_last_state(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """READY of a role that froze is history: its row says SILENT, and for how long it may be."""
    limit_s = SILENCE_S
    ages_s = {"risk_role": limit_s + 1, "market_role": limit_s}
    var = running_copy(short_run, tmp_path, monkeypatch, ages_s)

    shown = verb(var, "status").out
    rows = {word: line for line in shown.splitlines() for word in line.split() if word in ages_s}

    assert "SILENT" in rows["risk_role"]
    assert rows["risk_role"].endswith(f"{limit_s + 1} s ago (limit {limit_s} s)")
    assert "SILENT" not in rows["market_role"]
    assert "this folder is a copy" not in shown


def test_run_of_which_no_role_is_heard_is_shown_as_silent(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen night, or the copy of one that went on, does not look like a night that runs."""
    ages_s = dict.fromkeys(ROLES, SILENCE_S + 1)
    var = running_copy(short_run, tmp_path, monkeypatch, ages_s)

    shown = verb(var, "status").out

    assert "this folder is a copy" in shown
    assert shown.count("SILENT") == len(ROLES)


@pytest.mark.parametrize(
    ("failed", "keep_failed", "shown"),
    [
        (
            "/mnt/usb does not exist.",
            None,
            "failed at 2025-11-20 00:00:00 UTC: /mnt/usb does not exist.",
        ),
        (
            None,
            "a list is damaged",
            "older ones stay at 2025-11-20 00:00:00 UTC: a list is damaged",
        ),
        (None, None, ""),
    ],
)
def test_backup_that_failed_is_told(
    tmp_path: Path, failed: str | None, keep_failed: str | None, shown: str
) -> None:
    """An operator who relies on backups need not look into a log to learn of their failure."""
    path = Var(tmp_path).backup_status
    path.parent.mkdir()
    fields = {"written_ms": 1_763_596_800_000, "failed": failed, "keep_failed": keep_failed}
    write_hashed(path, fields)

    text = verb(tmp_path, "status").out

    rows = [line.strip() for line in text.splitlines() if line.strip().startswith("backup")]
    assert [" ".join(row.split()) for row in rows] == ([f"backup {shown}"] if shown else [])


def test_report_of_backups_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """Silence about a damaged report would pass for a backup that worked."""
    path = Var(tmp_path).backup_status
    path.parent.mkdir()
    path.write_text("{}")

    text, answer = verb(tmp_path, "status").out, verb(tmp_path, "status", "--json").document

    assert "backup        unknown, its report cannot be read: " in text
    assert "backup.json" in answer["backup"]["unreadable"]


def test_start_that_was_refused_is_told_until_something_followed(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """An operator learns in the morning why there was no night, as of a service."""
    var = Var(Path(shutil.copytree(stopped_run.var, tmp_path / "var")))
    assert "last start" not in verb(var.root, "status").out

    note_refused(var, "disk: 17 MB free, 512 are needed.")

    done = verb(var.root, "status")
    (row,) = [line for line in done.out.splitlines() if line.strip().startswith("last start")]
    assert row.endswith("UTC: disk: 17 MB free, 512 are needed.")
    answer = verb(var.root, "status", "--json").document["refused"]
    assert answer["detail"] == "disk: 17 MB free, 512 are needed."

    clear_flag(var, "anna", "understood")
    assert "last start" not in verb(var.root, "status").out


@pytest.mark.row("C-119")
def test_standing_flag_is_the_reason(stopped_run: ShortRun) -> None:
    """STOP.flag counts before everything else, with its reason code and its run."""
    done = verb(stopped_run.var, "health", "--detail")

    first = done.out.splitlines()[0]
    assert done.code == 10
    assert first.startswith(f"FAIL  STOP.flag exists: RISK_LIMIT in {stopped_run.run_id}; ")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (heard(), ""),
        (heard_without("risk_role"), "no heartbeat yet: risk_role"),
        (heard(risk_role={"age_s": 31}), "risk_role gave no sign of life for 31 s (limit 30 s)"),
        (heard(risk_role={"age_s": 30}), ""),
        (
            heard(market_role={"state": "DEGRADED", "detail": "BTCUSDT is stale"}),
            "market_role is DEGRADED: BTCUSDT is stale",
        ),
        (heard(strategy_role={"state": "STARTING"}), "strategy_role is starting"),
        (heard(ai_role={"state": "DEGRADED", "detail": "off"}), ""),
        (heard(ai_role={"age_s": 31}), ""),
        (heard_without(AI_ROLE), ""),
    ],
)
def test_each_trouble_has_its_sentence(
    manifest: Manifest, roles: list[dict[str, Any]], reason: str
) -> None:
    """Roles not heard, silent, degraded or starting are told; an AI that nobody asks for is not."""
    assert troubles_of(manifest, roles, 30) == ([reason] if reason else [])


@pytest.mark.parametrize(("speed", "most_s"), [("1", 15), ("0.5", 25), ("4", 8), ("20", 6)])
def test_role_may_be_silent_between_two_healths_and_then_as_long_as_if_hung(
    manifest: Manifest, speed: str, most_s: int, tmp_path: Path
) -> None:
    """Roles tell their health every ten seconds of market time; `hung_ms` of 5 s comes on top."""
    night = replace(manifest, config=load_config("config/nore.v1.json").raw, clock_speed=speed)
    (tmp_path / "clock.json").touch()
    os.utime(tmp_path / "clock.json", (0, 0))

    limit_s = silence_s(night, tmp_path)
    at_limit = [{**role, "age_s": most_s} for role in heard()]
    beyond = [{**role, "age_s": most_s + 1} for role in heard()]

    assert limit_s == most_s
    assert troubles_of(night, at_limit, limit_s) == []
    assert len(troubles_of(night, beyond, limit_s)) == len(ROLES)


@pytest.mark.parametrize(("begun_s", "most_s"), [(None, 45), (0, 32), (6, 32), (7, 6)])
def test_start_that_takes_long_is_no_silence(
    begun_s: int | None,
    most_s: int,
    manifest: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A role tells its health as it starts, and again once the run's clock has run for a while."""
    monkeypatch.setattr(run_health, "time", SimpleNamespace(time=lambda: float(NOW_S)))
    started_s = NOW_S - 39
    if begun_s is not None:
        (tmp_path / "clock.json").touch()
        os.utime(tmp_path / "clock.json", (NOW_S - begun_s, NOW_S - begun_s))
        started_s = NOW_S - begun_s - 26

    found = silence_s(replace(manifest, started_ms=started_s * 1000), tmp_path)

    assert found == most_s


@pytest.mark.row("C-119")
@pytest.mark.parametrize(("age_s", "code"), [(0, 0), (6, 0), (7, 1)])
def test_night_is_well_for_the_whole_time_between_two_healths(
    short_run: ShortRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age_s: int,
    code: int,
) -> None:
    """At speed 20 half a second lies between two healths; `hung_ms` is 5 s."""
    var = running_copy(short_run, tmp_path, monkeypatch, dict.fromkeys(ROLES, age_s))

    assert verb(var, "health").code == code


@pytest.mark.row("C-119")
def test_night_goes_on_well_without_an_ai_that_its_profile_does_not_require(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An AI that was switched off an hour ago, or never started, is no trouble of the night."""
    var = running_copy(short_run, tmp_path, monkeypatch, {AI_ROLE: 3600, "risk_role": 2})
    head = var / "runs" / short_run.run_id / "queues" / HEALTH / "parts" / f"{AI_ROLE}.head"

    switched_off = verb(var, "health"), verb(var, "status", "--max-age", "60")
    head.unlink()
    never_started = verb(var, "health"), verb(var, "status", "--max-age", "60")

    assert [said.code for said in (*switched_off, *never_started)] == [0, 0, 0, 0]
    for well in (switched_off[0], never_started[0]):
        assert well.out.startswith(f"OK  {short_run.run_id}: 5 roles heard within 2 s")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (heard(ai_role={"age_s": 31}), "ai_role gave no sign of life for 31 s (limit 30 s)"),
        (heard_without(AI_ROLE), "no heartbeat yet: ai_role"),
        (heard(ai_role={"state": "DEGRADED", "detail": "off"}), "ai_role is DEGRADED: off"),
    ],
)
def test_ai_that_the_profile_requires_is_judged_like_any_role(
    manifest: Manifest, roles: list[dict[str, Any]], reason: str
) -> None:
    """With `ai.required` a silent, missing or degraded AI is a trouble."""
    ai = {**manifest.config["ai"], "required": True}

    assert troubles_of(replace(manifest, config={**manifest.config, "ai": ai}), roles, 30) == [
        reason
    ]
