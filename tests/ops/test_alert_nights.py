"""Alerts of real nights: a quiet one, a killed one, one whose host is away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minibot.ops.alerts.outbox import OUTBOX
from tests.nights.night import Night
from tests.ops.alert_hosts import WebHost
from tests.waiting import wait_until

pytestmark = pytest.mark.process


def start(tmp_path: Path, url: str, *sets: str, **keys: Any) -> Night:
    """Start a night whose alerts go to an address."""
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"HOOK={url}\n")
    secrets.chmod(0o600)
    section = {"required": True, "level_min": "warning", "per_minute_max": 20, **keys}
    alerts = {**section, "targets": {"hook": "HOOK"}}
    return Night(
        tmp_path / "var",
        [
            f"alerts={json.dumps(alerts)}",
            f"secrets.path={secrets}",
            "ai.enabled=false",
            *sets,
        ],
    )


def test_quiet_night_sends_its_end_alone(tmp_path: Path) -> None:
    """A night in which nothing happens wakes nobody; its end comes with the result."""
    with WebHost() as host:
        night = start(tmp_path, host.url())
        night.await_trading()
        night.interrupt()
        code, said = night.end()

        assert code == 0, said
        assert [title.split(" ", 2)[2] for title in host.titles()] == ["ended"]
        body = host.got[0].json["message"]
    assert "OPERATOR" in body
    assert "Open positions" in body
    run_dir = night.run_dirs()[-1]
    assert "sesame" not in (run_dir / "manifest.json").read_text()
    assert "sesame" not in (night.var / "logs" / "ops.err.log").read_text()
    told = (night.var / "ops" / OUTBOX / "inbox.jsonl").read_bytes()
    assert b"ended" in told
    assert b"sesame" not in told


def test_stop_is_told_once_with_reason_remedy_and_what_stands(tmp_path: Path) -> None:
    """A STOP says in one message all that an operator in bed has to know."""
    with WebHost() as host:
        night = start(tmp_path, host.url())
        night.await_trading()
        (night.var / "STOP.flag").write_text("by hand")
        code, said = night.end()

        assert code == 10, said
        stops = [got.json for got in host.got if "STOPPED" in got.json["title"]]
        assert len(stops) == 1
    assert stops[0]["title"].endswith("OPERATOR_KILL")
    for words in ("Meaning:", "Remedy:", "Still running:", "Open positions:", "Resting orders:"):
        assert words in stops[0]["message"]


def test_killed_launcher_is_told_by_what_it_left(tmp_path: Path) -> None:
    """The death of the launcher is told by ops before it goes."""
    with WebHost() as host:
        night = start(tmp_path, host.url())
        night.await_trading()
        wait_until(lambda: night.role("minibot.ops.process"), "ops runs")
        night.process.kill()
        night.process.wait()

        wait_until(host.titles, "the alert comes")
        assert [title.split(": ")[1] for title in host.titles()] == ["the launcher is gone"]
    night.end()
