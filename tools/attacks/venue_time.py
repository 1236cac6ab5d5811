"""Attacks on the venue's clock: `/time` disagrees with this machine by hours."""

from __future__ import annotations

import json
from typing import Final

from tools.attacks.first_seconds import BRIEF, unproven
from tools.attacks.frame import Found, Lab, attack, events_of, only_run, stops_of

HOUR_MS: Final = 3_600_000
STOPPED: Final = 10


def off(lab: Lab, skew_ms: int, after_s: int) -> Found:
    """Shift the embedded exchange's clock from a moment on, and judge how the night ends."""
    script = lab.folder / "faults.json"
    entry = {"name": "clock_skew", "after_s": after_s, "skew_ms": skew_ms}
    script.write_text(json.dumps([entry]))
    sets = {"embedded.faults": str(script), "embedded.speed": "40", "duration_ms": "600000"}
    done = lab.start_night(sets).wait()
    findings = unproven(lab, done, BRIEF)
    told = events_of(only_run(lab.var) / "queues" / "incidents" / "inbox.jsonl")
    if "clock_skew" not in [event["payload"]["kind"] for event in told]:
        findings.append("no incident tells of it")
    stops = [stop for stop in stops_of(lab.var) if stop["kind"] == "STOP"]
    if [stop["reason_code"] for stop in stops] != ["CLOCK_JUMP"]:
        findings.append(f"stops: {stops}"[:200])
    said = "; ".join(findings) or stops[0]["detail"]
    return Found(said, done.code, not findings and done.code == STOPPED)


@attack("C22", "the venue's time goes an hour ahead in the night", "an incident, STOP(CLOCK_JUMP)")
def venue_an_hour_ahead(lab: Lab) -> Found:
    """Shift `/time` after a market minute."""
    return off(lab, HOUR_MS + 1000, 60)


@attack("C22", "the venue's time is three hours behind at once", "an incident, STOP(CLOCK_JUMP)")
def venue_hours_behind_from_the_start(lab: Lab) -> Found:
    """Shift `/time` before the market role asks for it."""
    return off(lab, -3 * HOUR_MS, 0)
