"""Ends of a run as alerts: a STOP, an end in order, or a launcher gone without an end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from minibot.events.model import StopJournal
from minibot.events.names import EXECUTION_ROLE
from minibot.events.reasons import REASONS
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import SEAL_FILE
from minibot.ops.alerts.alert import CRITICAL, INFO, Alert
from minibot.ops.alerts.status_rules import positions_of
from minibot.ops.figures_of_role import facts_of
from minibot.report.figures import counted, date_clock, listed, money
from minibot.runtime.paths import Var
from minibot.runtime.stop import END_KIND, STOP_KIND

LOST: Final = "NO_END"
POSITIONS_MAX: Final = 20
UNKNOWN: Final = "unknown: the run reported no status"


def end_ids(run_id: str) -> tuple[str, str]:
    """Return the ids of the alerts of a run's recorded ends: its STOP, and its end in order."""
    return f"{run_id}/{STOP_KIND}/{STOP_KIND}", f"{run_id}/{END_KIND}/{END_KIND}"


def stop_alert(
    var: Var, run_id: str, code: str, detail: str, status: Mapping[str, Any] | None
) -> Alert:
    """Return the alert of a STOP; its id is the same from `ops` and guard, so one is sent.

    Args:
        var: Folders of the run.
        run_id: The run.
        code: Its reason code.
        detail: What happened.
        status: The newest status; None for none.
    """
    reason = REASONS.get(code)
    lines = [f"{code}: {detail}"]
    if reason is not None:
        lines += [f"Meaning: {reason.meaning}", f"Remedy: {reason.remedy}"]
    lines += standing_lines(status)
    lines += [proof_line(var, run_id), "See: minibot status; minibot report latest"]
    return Alert.of(
        run_id,
        STOP_KIND,
        STOP_KIND,
        CRITICAL,
        f"minibot {run_id} STOPPED: {code}",
        "\n".join(lines),
        is_urgent=True,
        is_always=True,
    )


def stop_alert_of(
    var: Var, run_id: str, stop: StopJournal, status: Mapping[str, Any] | None
) -> Alert:
    """Return the alert of a STOP as a role has journaled it."""
    return stop_alert(var, run_id, stop.reason_code, stop.detail, status)


def end_alert(var: Var, status: Mapping[str, Any]) -> Alert:
    """Return the alert of a run's end by its last status: STOPPED, or ended in order."""
    run_id, ended = str(status["run_id"]), status["ended"]
    if ended["kind"] == STOP_KIND:
        return stop_alert(var, run_id, ended["reason_code"], ended["detail"], status)
    result = status["market"].get("result") or {}
    asset = status["quote_asset"]
    lines = [f"{ended['reason_code']}: {ended['detail']}"]
    if result:
        lines.append(
            f"Result {money(result['pnl'])} {asset} after fees of {money(result['fees'])}; "
            f"{counted(result['trades'], 'trade')}, {result['wins']} won, {result['losses']} lost"
        )
    return _ended(var, run_id, lines, status)


def end_alert_of(
    var: Var, run_id: str, end: StopJournal, status: Mapping[str, Any] | None
) -> Alert:
    """Return the alert of an end in order as the launcher has journaled it."""
    return _ended(var, run_id, [f"{end.reason_code}: {end.detail}"], status)


def _ended(var: Var, run_id: str, lines: Sequence[str], status: Mapping[str, Any] | None) -> Alert:
    rest = [*standing_lines(status), proof_line(var, run_id), "See: minibot report latest"]
    return Alert.of(
        run_id,
        END_KIND,
        END_KIND,
        INFO,
        f"minibot {run_id} ended",
        "\n".join([*lines, *rest]),
        is_always=True,
    )


def lost_alert(var: Var, run_id: str, status: Mapping[str, Any] | None) -> Alert:
    """Return the alert of a run whose launcher is gone without a recorded end."""
    lines = [
        "Its launcher is gone and recorded no end: it was killed, or the machine failed.",
        "Remedy: see minibot status; the next start seals the run as interrupted.",
        *standing_lines(status),
        proof_line(var, run_id),
    ]
    return Alert.of(
        run_id,
        LOST,
        LOST,
        CRITICAL,
        f"minibot {run_id}: the launcher is gone",
        "\n".join(lines),
        is_urgent=True,
        is_always=True,
    )


def standing_lines(status: Mapping[str, Any] | None) -> list[str]:
    """Return the roles that run, the open positions and the resting orders of a status."""
    if status is None:
        return [f"Still running: {UNKNOWN}"]
    running = [role for role, each in status["roles"].items() if each["running"]]
    positions = positions_of(status)
    shown = positions[:POSITIONS_MAX]
    if len(positions) > len(shown):
        shown.append(f"and {len(positions) - len(shown)} more")
    orders = facts_of(status, EXECUTION_ROLE).get("open_orders", 0)
    return [
        f"Still running: {listed(running)}",
        f"Open positions: {len(positions) or 'none'}",
        *(f"  {line}" for line in shown),
        f"Resting orders: {orders or 'none'}",
        f"As of {date_clock(status['now_ms'])} UTC",
    ]


def proof_line(var: Var, run_id: str) -> str:
    """Return the root of a sealed run, else its id."""
    path = var.run(run_id) / SEAL_FILE
    if path.exists():
        try:
            return f"Root: {read_hashed(path)['root']}"
        except (RunStop, OSError, KeyError):
            pass
    return f"Run: {run_id} (not sealed yet)"
