"""Alerts of real nights: a quiet one, a killed one, one whose host is away."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from minibot.events.reasons import WATCHDOG_LOST
from minibot.ops.alerts.outbox import OUTBOX
from tests.nights.night import Night
from tests.ops.alert_hosts import WebHost
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]


def start(tmp_path: Path, url: str, *sets: str, **keys: Any) -> Night:
    """Start a night whose alerts go to an address."""
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"HOOK={url}\n")
    secrets.chmod(0o600)
    section = {"required": True, "level_min": "warning", "per_minute_max": 20, **keys}
    alerts = {"targets": {"hook": "HOOK"}, **section}
    if not alerts["targets"]:
        del alerts["targets"]
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
        # A role may journal its STOP before ops has gone.
        (told,) = [title.split(": ")[1] for title in host.titles()]
        assert told in ("the launcher is gone", WATCHDOG_LOST)
    night.end()


KILLER = """
import json, os, pathlib, signal, sys
said = json.loads(sys.stdin.read())
path = pathlib.Path(sys.argv[1])
is_first = not path.exists()
with path.open("a") as file:
    for each in said["alerts"]:
        file.write(json.dumps([each["id"], said["is_repeat"]]) + "\\n")
if is_first:
    os.kill(os.getppid(), signal.SIGKILL)
"""


def test_ops_killed_between_delivery_and_its_note_repeats_that_alert_alone_and_marked(
    tmp_path: Path,
) -> None:
    """Its death costs one repeat, which says that it is one; all others come once."""
    out = tmp_path / "told.jsonl"
    command = [sys.executable, "-c", KILLER, str(out)]
    night = start(tmp_path, "json://127.0.0.1:9/x", commands={"killer": command}, targets={})
    night.await_trading()
    wait_until(lambda: night.role("minibot.ops.process"), "ops runs")
    role = wait_until(lambda: night.role("strategy_role"), "strategy runs")
    role.kill()

    def told() -> list[tuple[str, bool]]:
        if not out.exists():
            return []
        return [(each[0], each[1]) for each in map(json.loads, out.read_text().splitlines())]

    wait_until(lambda: any("OPS_ENDED" in name for name, _ in told()), "ops tells again")
    night.interrupt()
    code, said = night.end()

    assert code == 0, said
    marks: dict[str, list[bool]] = {}
    for name, is_repeat in told():
        marks.setdefault(name.split("/")[1], []).append(is_repeat)
    assert marks.pop("ROLE_RESTARTED") == [False, True]
    assert marks == {"OPS_ENDED": [False], "END": [False]}
