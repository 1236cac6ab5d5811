"""minibot status: show whether a run is running, its roles, and how the last one ended."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from minibot.cli.support.output import show_json, show_rows
from minibot.cli.support.selection import var_of
from minibot.events.model import JsonObject
from minibot.events.reasons import REASONS
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.ops.run_health import exit_code, flag_of, needs, refused_last, roles_of, silence_s
from minibot.report.figures import clock, date_clock, duration, megabytes, plain_text
from minibot.report.proof import fate_of_unsealed
from minibot.report.records import UNSEALED, RunRecord, performance_of, read_record
from minibot.report.summary import Row, open_row
from minibot.runtime.clock import RunClock
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var, shown_path
from minibot.runtime.runfiles import own_runs
from minibot.runtime.running import running_run

if TYPE_CHECKING:
    from minibot.cli.support.standing import Standing

HELP = "what runs now and what it holds, what ran last, whether STOP.flag exists"
EXAMPLE = "minibot status"
SILENT: Final = "SILENT"
"""Shown in place of the state of a role that was heard of too long ago: that state is history."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "--max-age",
        type=int,
        metavar="SECONDS",
        help="exit 1 when a running role gave no sign of life for longer (for health checks)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show the status; 0 running, 3 not running, 10 while STOP.flag exists, 1 by `--max-age`."""
    var = var_of(arguments)
    run_id = running_run(var)
    document: dict[str, Any] = {"var": str(var.root), "running": run_id}
    rows = [Row(f"minibot on {shown_path(var.root)}")]
    judged: list[JsonObject] = []
    if run_id is None:
        rows.append(Row("running", "nothing"))
    else:
        roles = roles_of(var.run(run_id))
        record = read_record(var.run(run_id))
        manifest = record.manifest
        judged = [role for role in roles if manifest is None or needs(manifest, role["role"])]
        standing = _standing(var.run(run_id))
        document["roles"] = roles
        document["standing"] = None if standing is None else standing.to_json()
        rows += _running_rows(record, roles, standing)
    refused = refused_last(var) if run_id is None else None
    document["refused"] = refused
    if refused is not None:
        text = f"refused at {date_clock(refused['ts'])} UTC: {plain_text(refused['detail'])}"
        rows.append(Row("last start", text, "bad"))
    document["backup"] = backup = _backup(var)
    rows += _backup_rows(backup)
    last = _last_ended(var, run_id)
    if last is not None:
        document["last"] = last.to_json()
        rows.append(_last_row(last))
    flag = flag_of(var)
    document["flag"] = flag
    if run_id is None:
        document["open_positions"] = held = _left_open(last, flag)
        rows += [open_row(held)] if held else []
    rows += _flag_rows(flag)
    if arguments.json:
        show_json(document)
    else:
        show_rows(rows)
    return exit_code(run_id, flag, judged, arguments.max_age)


# --- the running run --------------------------------------------------------------------------


def _standing(run_dir: Path) -> Standing | None:
    """Return the run's positions and prohibitions; None while it starts or is unreadable."""
    from minibot.cli.support.standing import standing_of
    from minibot.engine.recorded_run import Recorded

    try:
        recorded = Recorded.open(run_dir)
        return standing_of(recorded, _market_now_ms(run_dir, recorded.manifest))
    except (RunStop, StopIteration):
        return None


def _market_now_ms(run_dir: Path, manifest: Manifest) -> int:
    return RunClock(run_dir, manifest.clock_origin_ms, manifest.clock_speed).now_ms()


def _running_rows(
    record: RunRecord, roles: list[JsonObject], standing: Standing | None
) -> list[Row]:
    manifest = record.manifest
    if manifest is None:
        return [Row("running", f"{record.run_id}, starting")]
    kind = "simulated data" if manifest.simulated else "real market data"
    since = duration(int(time.time() * 1000) - manifest.started_ms)
    rows = [
        Row("running", f"{manifest.run_id}, profile {manifest.profile}, {kind}, paper", "good"),
        Row("since", f"{date_clock(manifest.started_ms)} UTC, {since} ago"),
        Row("market time", f"{clock(_market_now_ms(record.run_dir, manifest))} UTC"),
    ]
    limit_s = silence_s(manifest, record.run_dir)
    if roles and all(role["age_s"] > limit_s for role in roles):
        text = f"no role gave a sign of life within {limit_s} s: its processes hang, the computer "
        rows.append(Row("silent", f"{text}slept, or this folder is a copy", "bad"))
    for role in roles:
        is_silent = role["age_s"] > limit_s
        text = (
            f"{role['role']:<15} {SILENT if is_silent else role['state']:<9} "
            f"up {duration(role['uptime_s'] * 1000):>12}, {megabytes(role.get('rss_bytes')):>6}, "
            f"last heartbeat {role['age_s']} s ago"
        )
        if is_silent:
            text += f" (limit {limit_s} s)"
        rows.append(Row("roles" if role is roles[0] else "", text, "bad" if is_silent else ""))
    if standing is not None:
        from minibot.cli.support.standing import standing_rows

        rows += standing_rows(standing, str(manifest.config["portfolio"]["quote_asset"]))
    return rows


def _backup(var: Var) -> JsonObject | None:
    """Return the last report of the backups, or why it cannot be read; None where none is."""
    if not var.backup_status.exists():
        return None
    try:
        return read_hashed(var.backup_status)
    except RunStop as error:
        return {"unreadable": error.detail}


def _backup_rows(status: JsonObject | None) -> list[Row]:
    """Return why the last backup failed, or why older ones stay; nothing if all is well.

    A report that cannot be read tells nothing of the backups, which may have failed.
    """
    if status is None:
        return []
    if status.get("unreadable"):
        why = plain_text(status["unreadable"])
        return [Row("backup", f"unknown, its report cannot be read: {why}", "bad")]
    moment = f"at {date_clock(status['written_ms'])} UTC"
    if status.get("failed"):
        return [Row("backup", f"failed {moment}: {plain_text(status['failed'])}", "bad")]
    if status.get("keep_failed"):
        return [
            Row("backup", f"older ones stay {moment}: {plain_text(status['keep_failed'])}", "bad")
        ]
    return []


# --- the last run -----------------------------------------------------------------------------


def _last_ended(var: Var, running: str | None) -> RunRecord | None:
    ended = (folder for folder, _ in own_runs(var.runs) if folder.name != running)
    folder = next(ended, None)
    return None if folder is None else read_record(folder)


def _last_row(record: RunRecord) -> Row:
    if record.state == UNSEALED:
        return Row("last run", f"{record.run_id} {fate_of_unsealed(record.run_dir)}", "bad")
    wall = "" if record.wall_ms is None else f" after {duration(record.wall_ms)}"
    state = "ended in order" if record.state == "sealed" else record.state
    tone = "" if record.state == "sealed" else "bad"
    code = f" by {record.reason_code}" if record.reason_code else ""
    return Row("last run", f"{record.run_id} {state}{code}{wall}", tone)


def _left_open(last: RunRecord | None, flag: JsonObject | None) -> list[JsonObject]:
    """Return the positions that the last run has left open.

    They are those of its figures, without them of its fills, and if these are damaged the STOP's.
    """
    if last is not None:
        if (figures := performance_of(last)) is not None:
            return list(figures["open_positions"])
        # Imported here because a run that ended in order has figures.
        from minibot.engine.portfolio_at import portfolio_at
        from minibot.engine.recorded_run import Recorded

        with suppress(RunStop, StopIteration):
            return [*portfolio_at(Recorded.open(last.run_dir)).open_positions()]
    return list((flag or {}).get("open_positions") or ())


def _flag_rows(flag: JsonObject | None) -> list[Row]:
    if flag is None:
        return [Row("STOP.flag", "none: a run may start", "good")]
    rows = [
        Row("STOP.flag" if place == flag["file"] else "", text, "bad")
        for place in flag["files"]
        for text in [f"{shown_path(Path(place))} exists: no run starts"]
    ]
    code = flag.get("reason_code")
    if code is None:
        why = flag.get("trouble") or "no STOP is on record yet: its run has not ended"
        return [*rows, Row("reason", plain_text(why))]
    reason = REASONS.get(str(code))
    where = f"{code} in {flag['run_id']} at market time {date_clock(flag['ts'])} UTC"
    rows.append(Row("reason", f"{where}: {plain_text(flag['detail'])}", "bad"))
    if reason is not None:
        rows += [Row("meaning", reason.meaning), Row("what to do", reason.remedy)]
    return [*rows, Row("then", 'minibot clear-stop --reason "..."')]
