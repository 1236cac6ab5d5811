"""Nights for the judges: the short run's record with single facts changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from msgspec import structs

from minibot.accounting.run_counters import HealthCounters
from minibot.events.model import Health, Incident, StopJournal
from minibot.kernel.files import write_hashed
from minibot.report.night import Night
from minibot.runtime.paths import Var
from tests.runs import ShortRun

ROLES = (
    "watchdog_role",
    "market_role",
    "strategy_role",
    "risk_role",
    "execution_role",
    "ai_role",
)
MINUTE_MS = 60_000
NIGHT_MS = 25_200_000
FRAMES = 100_000
HOSTS = ("https://data-api.binance.vision", "wss://data-stream.binance.vision")
MEGABYTE = 1024 * 1024
Change = Callable[[Night], Night]


def opened(run: ShortRun) -> Night:
    """Open the short run unchanged."""
    return Night.open(run.run_dir)


def seven_hours(run: ShortRun, tmp_path: Path) -> tuple[Night, Var]:
    """Return the short run as a real night: seven hours on Binance, sandboxed AI, listed code.

    Only facts about time and place are changed; queues and seal are the short run's.
    """
    var = Var(tmp_path / "var")
    night = opened(run)
    keep_logs(var, night.run_id, night.run_id)
    config = copy.deepcopy(night.manifest.config)
    config["code"]["require_manifest"] = True
    manifest = replace(night.manifest, simulated=False, config=config, hosts=HOSTS)
    night = replace(night, recorded=replace(night.recorded, manifest=manifest))
    night.count.ai_levels = {"jail"}
    night.count.market.last_ts = manifest.clock_origin_ms + NIGHT_MS
    took_ms = NIGHT_MS + MINUTE_MS // 2
    night = sealed(night, ended_ms=manifest.started_ms + took_ms, took_ms=took_ms)
    night.count.tally = tally()
    keep_metrics(night, var)
    return night, var


def sealed(night: Night, **extra: Any) -> Night:
    """Return the night with other facts in its seal."""
    seal = copy.deepcopy(night.seal)
    seal["extra"].update(extra)
    return replace(night, seal=seal)


def with_config(night: Night, section: str, **changes: Any) -> Night:
    """Return the night with other values in a section of its profile."""
    config = copy.deepcopy(night.manifest.config)
    config[section] = (config.get(section) or {}) | changes
    manifest = replace(night.manifest, config=config)
    return replace(night, recorded=replace(night.recorded, manifest=manifest))


def keep_logs(var: Var, full: str, after: str) -> None:
    """Write a full log whose last line, and the next file, are of the given runs."""
    var.logs.mkdir(parents=True, exist_ok=True)
    for name, run_id in (("market_role.1.jsonl", full), ("market_role.jsonl", after)):
        line = json.dumps({"ts": 1, "role": "market_role", "run_id": run_id, "kind": "tick"})
        (var.logs / name).write_text(f"{line}\n", encoding="utf-8")


def keep_metrics(night: Night, var: Var, **changes: Any) -> None:
    """Write a night's metrics as its watchdog would."""
    var.metrics.mkdir(parents=True, exist_ok=True)
    figures = night.count.metrics() | changes
    write_hashed(var.metrics / f"{night.run_id}-1.json", figures)


def tally(
    latencies_us: Iterable[int] = (5_000,) * 100,
    errors: int = 0,
    uptimes_s: dict[str, int] | None = None,
    growth_mb_per_hour: float = 0.0,
    frames_invalid: int = 0,
) -> HealthCounters:
    """Return health of six roles over seven hours, one event a minute."""
    found = HealthCounters()
    uptimes = dict.fromkeys(ROLES, NIGHT_MS // 1000) | (uptimes_s or {})
    for minute in range(NIGHT_MS // MINUTE_MS + 1):
        rss = int(50 * MEGABYTE + growth_mb_per_hour * minute / 60 * MEGABYTE)
        for role in ROLES:
            uptime_s = uptimes[role] * minute * MINUTE_MS // NIGHT_MS
            found.on_health(
                Health(role, "READY", uptime_s, minute, rss_bytes=rss), minute * MINUTE_MS
            )
    frames = {"frames": FRAMES, "frames_invalid": frames_invalid}
    uptime_s = uptimes["market_role"]
    market = Health("market_role", "READY", uptime_s, 0, endpoint="ping", counters=frames)
    for latency_us in latencies_us:
        found.on_health(structs.replace(market, ok=True, latency_us=latency_us), NIGHT_MS)
    for _ in range(errors):
        found.on_health(structs.replace(market, ok=False), NIGHT_MS)
    return found


def with_incident(night: Night, kind: str, detail: str, count: int | None = None) -> Night:
    """Return the night with one more incident."""
    incident = Incident("watchdog_role", kind, detail, count)
    night.count.incidents.append((night.count.market.last_ts, incident))
    return night


def with_stop(night: Night, code: str) -> Night:
    """Return the night stopped by a code instead of its planned end."""
    stop = StopJournal("watchdog_role", code, "a test said so", "STOP")
    night.count.stops[:] = [(night.count.market.last_ts, stop)]
    return sealed(night, state="stopped", reason_code=code)
