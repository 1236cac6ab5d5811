"""minibot health: say in one line, and by exit code, whether the running run is well."""

from __future__ import annotations

import argparse
from typing import Final

from minibot.cli.support.output import show, show_rows
from minibot.cli.support.selection import var_of
from minibot.cores.core_profile import venue_name
from minibot.events.model import DEGRADED, STARTING, JsonObject
from minibot.events.names import HEALTH, MARKET_ROLE
from minibot.events.roles import Roles
from minibot.ops.run_health import (
    HEALTHY,
    UNHEALTHY,
    exit_code,
    flag_of,
    last_incident,
    needs,
    roles_of,
    silence_s,
)
from minibot.report.figures import counted, date_clock, listed, plain_text
from minibot.report.records import read_record
from minibot.report.summary import Row
from minibot.runtime.manifest import Manifest
from minibot.runtime.running import running_run

HELP = "OK or FAIL with the reason, in one line; the exit code says the same"
EXAMPLE = "minibot health --detail"
WORDS: Final = {True: "OK", False: "FAIL"}


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "--max-age",
        type=int,
        metavar="SECONDS",
        help="how long a role may say nothing (default: 10 s of market time plus watchdog.hung_ms; "
        "at first also the time that the start took)",
    )
    command.add_argument(
        "--detail", action="store_true", help="also last incident, venue, backlogs, each role"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the line; 0 OK, 1 unwell, 3 nothing runs, 10 while STOP.flag exists."""
    var = var_of(arguments)
    run_id, flag = running_run(var), flag_of(var)
    manifest: Manifest | None = None
    roles: list[JsonObject] = []
    if run_id is not None:
        manifest = read_record(var.run(run_id)).manifest
        roles = roles_of(var.run(run_id))
    max_age_s = arguments.max_age
    if max_age_s is None and manifest is not None and run_id is not None:
        max_age_s = silence_s(manifest, var.run(run_id))
    code = exit_code(run_id, flag, roles)  # It judges flag and run; roles follow.
    troubles = [] if run_id is None else troubles_of(manifest, roles, max_age_s)
    if code == HEALTHY and troubles:
        code = UNHEALTHY
    heard = [role for role in roles if max_age_s is None or role["age_s"] <= max_age_s]
    reason = _reason(run_id, flag, troubles, heard)
    document: JsonObject = {
        "ok": code == HEALTHY,
        "reason": reason,
        "run_id": run_id,
        "troubles": troubles,
    }
    rows: list[Row] = []
    if arguments.detail:
        incident = None if run_id is None else last_incident(var.run(run_id))
        detail = {"incident": incident, "venue": _venue(manifest, roles), "roles": roles}
        document["detail"] = detail
        rows = _rows(detail)
    show(arguments, document, [f"{WORDS[code == HEALTHY]}  {reason}"])
    if rows and not arguments.json:
        show_rows(rows)
    return code


def troubles_of(
    manifest: Manifest | None, roles: list[JsonObject], max_age_s: int | None
) -> list[str]:
    """Return the troubles of a running run as sentences, the gravest first; empty for none."""
    if manifest is None:
        return ["it is starting, and has no manifest yet"]
    heard = {role["role"] for role in roles}
    needed = [role for role in Roles.of_project().writers(HEALTH) if needs(manifest, role)]
    if silent := [role for role in needed if role not in heard]:
        return [f"no heartbeat yet: {listed(silent)}"]
    judged = [role for role in roles if role["role"] in needed]
    found = [
        f"{role['role']} gave no sign of life for {role['age_s']} s (limit {max_age_s} s)"
        for role in judged
        if max_age_s is not None and role["age_s"] > max_age_s
    ]
    for role in judged:
        if role["state"] == DEGRADED:
            why = role.get("detail") or role.get("reason") or "its heartbeat gives no reason"
            found.append(f"{role['role']} is DEGRADED: {plain_text(str(why))}")
        elif role["state"] == STARTING:
            found.append(f"{role['role']} is starting")
    return found


def _reason(
    run_id: str | None, flag: JsonObject | None, troubles: list[str], roles: list[JsonObject]
) -> str:
    if flag is not None:
        code, of_run = flag.get("reason_code"), flag.get("run_id")
        why = f"{code} in {of_run}" if code else "its run has not ended"
        return f"STOP.flag exists: {why}; minibot status says what to do"
    if run_id is None:
        return "nothing runs"
    if troubles:
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        return f"{run_id}: {troubles[0]}{more}"
    oldest = max((role["age_s"] for role in roles), default=0)
    market = next((role for role in roles if role["role"] == MARKET_ROLE), {})
    age = market.get("data_age_ms")
    data = "" if age is None else f", data {age / 1000:.1f} s old"
    return f"{run_id}: {counted(len(roles), 'role')} heard within {oldest} s{data}"


def _venue(manifest: Manifest | None, roles: list[JsonObject]) -> JsonObject | None:
    """Return the venue's name and its measurements; None before the market role was heard."""
    market = next((role for role in roles if role["role"] == MARKET_ROLE), None)
    if manifest is None or market is None:
        return None
    names = ("endpoint", "latency_us", "ok", "weight_used", "reconnects", "breaker", "data_age_ms")
    name = venue_name(manifest.config)
    return {"name": name, **{key: market[key] for key in names if key in market}}


def _rows(detail: JsonObject) -> list[Row]:
    incident, venue = detail["incident"], detail["venue"]
    if incident is None:
        rows = [Row("last incident", "none")]
    else:
        sentence = (
            f"{incident['kind']} by {incident['component']}: {plain_text(incident['detail'])}"
        )
        rows = [Row("last incident", f"{date_clock(incident['ts'])} UTC, {sentence}")]
    if venue is not None:
        facts = [str(venue["name"])]
        if "latency_us" in venue:
            measured = venue.get("endpoint", "round trip")
            facts.append(f"{measured} in {venue['latency_us'] / 1000:.1f} ms")
        if "weight_used" in venue:
            facts.append(f"weight {venue['weight_used']} in this minute")
        if "reconnects" in venue:
            facts.append(counted(venue["reconnects"], "reconnect"))
        rows.append(Row("venue", ", ".join(facts)))
    for place, role in enumerate(detail["roles"]):
        waiting = [
            f"{queue} {figures['backlog']}"
            for queue, figures in (role.get("inputs") or {}).items()
            if figures.get("backlog")
        ]
        backlog = f"backlog: {', '.join(waiting)}" if waiting else "no backlog"
        beat = f"last heartbeat {role['age_s']} s ago"
        text = f"{role['role']:<15} {role['state']:<9} {beat}, {backlog}"
        rows.append(Row("roles" if not place else "", text))
    return rows
