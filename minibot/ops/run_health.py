"""Health of the running run: last heartbeat of each role, STOP flag, exit code for scripts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minibot.events.model import Event, Health, JsonObject, StopJournal
from minibot.events.names import AI_ROLE, HEALTH, INCIDENTS
from minibot.kernel.errors import RunStop
from minibot.ops.operator import NOT_RUNNING
from minibot.runtime.clock import CLOCK_FILE
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.stop import REFUSED_KIND, standing_flags
from minibot.watchdog.operator_stop_log import flagged_stop, read_stops

if TYPE_CHECKING:
    from minibot.engine.recorded_run import Recorded

HEALTHY: Final = 0
UNHEALTHY: Final = 1
FLAGGED: Final = 10
"""The exit codes of `minibot status` and `minibot health`, beside `NOT_RUNNING`."""


def roles_of(run_dir: Path) -> list[JsonObject]:
    """Return each role's last heartbeat, with its market time `ts` and its age `age_s`.

    The age is in wall-clock seconds. A role without a heartbeat is left out. The list is empty if
    the run cannot be opened.
    """
    # Imported here because only a run that is going on has queues to be read.
    from minibot.engine.recorded_run import Recorded

    try:
        return health_of(Recorded.open(run_dir))
    except RunStop:
        return []


def health_of(recorded: Recorded) -> list[JsonObject]:
    """Return the heartbeats of `roles_of` for a run that is already open."""
    from minibot.engine.lookup import last_event

    found = []
    for role in recorded.roles.writers(HEALTH):
        path = recorded.queues / HEALTH / "parts" / f"{role}.head"
        if not path.exists():
            continue
        event = last_event(recorded, HEALTH, role)
        if event is not None and isinstance(event.payload, Health):
            age_s = max(0, round(time.time() - path.stat().st_mtime))
            found.append({**event.payload.to_json(), "ts": event.ts, "age_s": age_s})
    return found


def silence_s(manifest: Manifest, run_dir: Path) -> int:
    """Return the longest silence of a role that is well, wall-clock seconds.

    Between two healths lie `HEALTH_MARKET_MS` of market time. A role that has not turned its loop
    for `watchdog.hung_ms` after that counts as hung. Roles tell their first health while the run
    starts, and the next ones once its clock has run: until then the start counts too.
    """
    # Imported here because only a run that is going on is judged.
    from minibot.runtime.context import HEALTH_MARKET_MS

    pause_ms = HEALTH_MARKET_MS / Decimal(manifest.clock_speed)
    most_s = math.ceil((pause_ms + int(manifest.config["watchdog"]["hung_ms"])) / 1000)
    now_s = begun_s = time.time()
    with suppress(OSError):  # Market time has not begun yet.
        begun_s = (run_dir / CLOCK_FILE).stat().st_mtime
    if now_s - begun_s > most_s:
        return most_s
    return most_s + max(0, math.ceil(begun_s - manifest.started_ms / 1000))


def needs(manifest: Manifest, role: str) -> bool:
    """Return False for the AI of a run that goes on as well without it, True for any other role."""
    return role != AI_ROLE or bool(manifest.config["ai"]["required"])


def last_incident(run_dir: Path) -> JsonObject | None:
    """Return the newest incident of a run with its market time `ts`; None without any."""
    from minibot.engine.lookup import last_event
    from minibot.engine.recorded_run import Recorded

    try:
        recorded = Recorded.open(run_dir)
    except RunStop:
        return None
    newest: Event | None = None
    for role in recorded.roles.writers(INCIDENTS):
        if not (recorded.queues / INCIDENTS / "parts" / f"{role}.head").exists():
            continue
        event = last_event(recorded, INCIDENTS, role)
        if event is not None and (newest is None or event.ts > newest.ts):
            newest = event
    return None if newest is None else {"ts": newest.ts, **newest.payload.to_json()}


def flag_of(var: Var) -> JsonObject | None:
    """Return the flag with the last recorded STOP, or None without a flag."""
    flags = standing_flags(var)
    if not flags:
        return None
    found: JsonObject = {
        "file": str(flags[0]),
        "files": [str(flag) for flag in flags],
        "run_id": None,
    }
    try:
        stop = flagged_stop(var)
    except RunStop as error:
        return {**found, "trouble": str(error)}
    if stop is not None:
        payload = StopJournal.from_json(stop["payload"]).to_json()
        found |= {"run_id": stop["run_id"], "ts": stop["ts"], **payload}
    return found


def refused_last(var: Var) -> JsonObject | None:
    """Return the start that was refused last, None if a stop, an end or a clear followed it."""
    try:
        stops = read_stops(var.root)
    except RunStop:
        return None
    if not stops or stops[-1]["payload"].get("kind") != REFUSED_KIND:
        return None
    return {"ts": stops[-1]["ts"], "detail": stops[-1]["payload"]["detail"]}


def exit_code(
    run_id: str | None,
    flag: JsonObject | None,
    roles: Sequence[JsonObject],
    max_age_s: int | None = None,
) -> int:
    """Return the exit code: a flag counts first, then a missing run, then an old heartbeat.

    Args:
        run_id: The running run; None for none.
        flag: See `flag_of`.
        roles: Heartbeats of the roles that the run needs, see `roles_of` and `needs`; a role
            without one is not judged.
        max_age_s: Age above which a heartbeat is old, seconds; no heartbeat at all counts as an
            old one. None judges no heartbeat.
    """
    if flag is not None:
        return FLAGGED
    if run_id is None:
        return NOT_RUNNING
    is_old = max_age_s is not None and any(role["age_s"] > max_age_s for role in roles)
    if is_old or (max_age_s is not None and not roles):
        return UNHEALTHY
    return HEALTHY
