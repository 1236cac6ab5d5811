"""Attacks on time: everything freezes at once, as when a laptop's lid is closed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Final

import psutil

from tools.attacks.first_seconds import BRIEF, unproven
from tools.attacks.frame import Found, Lab, Night, attack, events_of, only_run, stops_of

# Five market seconds a second, so a pause of twelve seconds is a market minute.
SPEED: Final = 5
AFTER_MARKET_MS: Final = 15_000


def pause(night: Night, seconds: float) -> None:
    """Freeze the launcher and all that it started, then resume them."""
    launcher = psutil.Process(night.process.pid)
    tree = [launcher, *launcher.children(recursive=True)]
    for process in tree:
        process.suspend()
    time.sleep(seconds)
    # The launcher resumes last, so that its children have to wait for it.
    for process in reversed(tree):
        process.resume()


def incidents_of(run: Path) -> list[dict[str, Any]]:
    """Return the incidents of a sealed run, oldest first."""
    return events_of(run / "queues" / "incidents" / "inbox.jsonl")


def paused(lab: Lab, seconds: float, before: dict[str, str] | None = None) -> Found:
    """Pause a night and judge it: pause recorded, no entry on old data, proven, ended in order."""
    duration_ms = AFTER_MARKET_MS * 2 + int(seconds * SPEED * 1000)
    sets = {"embedded.speed": str(SPEED), "duration_ms": str(duration_ms), **(before or {})}
    night = lab.start_night(sets)
    run = night.wait_for_run()
    night.wait_until((run / "clock.json").exists, "the clock")
    time.sleep(AFTER_MARKET_MS / 1000 / SPEED / 2)
    pause(night, seconds)
    done = night.wait()
    findings = unproven(lab, done, BRIEF)
    # A busy machine may pause a turn of the launcher too, which is told and no finding.
    paused_ms = int(seconds * 1000)
    told = [each for each in incidents_of(only_run(lab.var)) if _length_ms(each) >= paused_ms]
    if len(told) != 1 or done.code != 0:
        findings.append(f"{len(told)} pauses told, stops {[s['reason_code'] for s in _stops(lab)]}")
    else:
        findings += _entries_on_old_data(only_run(lab.var), told[0]["ts"])
    said = "; ".join(findings) or told[0]["payload"]["detail"]
    return Found(said, done.code, not findings)


def _length_ms(event: dict[str, Any]) -> int:
    """Return how long the launcher says that everything stood still; 0 for other incidents."""
    is_pause = event["source"] == "watchdog_role" and event["payload"]["kind"] == "PAUSED"
    found = re.search(r"(\d+) ms", event["payload"]["detail"]) if is_pause else None
    return int(found[1]) if found else 0


def _stops(lab: Lab) -> list[dict[str, Any]]:
    return [stop for stop in stops_of(lab.var) if stop["kind"] == "STOP"]


def _entries_on_old_data(run: Path, resumed_ts: int) -> list[str]:
    """Return the entries between the pause and the first market event after it."""
    ticks = events_of(run / "queues" / "market_ticks" / "inbox.jsonl")
    fresh = [e["ts"] for e in ticks if e["type"] == "market_tick" and e["ts"] > resumed_ts]
    until_ts = min(fresh, default=2**62)
    intents = events_of(run / "queues" / "order_intents" / "inbox.jsonl")
    early = [e for e in intents if resumed_ts - 1000 * SPEED < e["ts"] < until_ts]
    return [f"an intent at {event['ts']}, before fresh data" for event in early]


@attack("C21", "everything stands still for 5 s", "an incident with its length, the night goes on")
def pause_of_five_seconds(lab: Lab) -> Found:
    """Pause the whole tree for longer than a role may hang."""
    return paused(lab, 5.0)


@attack("C21", "everything stands still for 12 s", "an incident with its length, the night goes on")
def pause_of_twelve_seconds(lab: Lab) -> Found:
    """Pause the whole tree for twelve seconds, a market minute."""
    return paused(lab, 12.0)


@attack("C21", "everything stands still for longer than it may", "STOP(CLOCK_JUMP), no ROLE_HUNG")
def pause_beyond_the_limit(lab: Lab) -> Found:
    """Pause the whole tree for six seconds where four are allowed."""
    night = lab.start_night({"watchdog.pause_max_ms": "4000", "embedded.speed": str(SPEED)})
    run = night.wait_for_run()
    night.wait_until((run / "clock.json").exists, "the clock")
    pause(night, 6.0)
    done = night.wait()
    findings = unproven(lab, done, BRIEF)
    codes = [stop["reason_code"] for stop in _stops(lab)]
    said = "; ".join(findings) or f"{codes}: {_stops(lab)[0]['detail']}"
    return Found(said, done.code, codes == ["CLOCK_JUMP"] and not findings and done.code == 10)
