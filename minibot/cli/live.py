"""The live table of a running night: a process of its own, which may block or die.

It reads one status per line on standard input. On a terminal it redraws a table; elsewhere it
prints a line every few seconds. Run by the launcher, not by people.
"""

from __future__ import annotations

import signal
import sys
import time
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from minibot.kernel import canonical

LINE_EVERY_S = 3.0
ROLES = ("market_role", "strategy_role", "risk_role", "execution_role", "ai_role")
Status = dict[str, Any]


def facts(status: Status, role: str) -> dict[str, Any]:
    """Return what a role's last heartbeat said of its work."""
    heartbeat = status["roles"].get(role, {}).get("heartbeat", {})
    found: dict[str, Any] = heartbeat.get("facts", {})
    return found


def clock(ms: int) -> str:
    """Return a market time as UTC hours, minutes and seconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")


def progress(status: Status) -> str:
    """Return how much of the planned time has passed, and what remains of it."""
    planned = status.get("planned_ms")
    passed = max(0, status["now_ms"] - status["origin_ms"])
    if not planned:
        return f"{passed // 1000} s"
    whole = max(1, planned - status["origin_ms"])
    return f"{min(100, passed * 100 // whole)} % of {whole // 1000} s"


def sentence(status: Status) -> str:
    """Return one line that says how the night stands."""
    market, strategy = facts(status, "market_role"), facts(status, "strategy_role")
    risk, execution = facts(status, "risk_role"), facts(status, "execution_role")
    return (
        f"{clock(status['now_ms'])} {progress(status)} | ticks {market.get('ticks', 0)}"
        f" | signals {strategy.get('signals', 0)} | fills {execution.get('fills', 0)}"
        f" | equity {risk.get('equity', '-')} | drawdown {risk.get('drawdown_bps', '-')} bps"
        f" | {strategy.get('reason', 'no decision yet')}"
    )


def table(status: Status) -> Table:
    """Return the table: a row for each role, and below it what the night made so far."""
    kind = "simulated" if status["simulated"] else "real market data"
    title = (
        f"minibot {status['profile']}  {status['run_id']}  ({kind}, paper)  "
        f"{clock(status['now_ms'])} UTC  {progress(status)}  {status['phase']}"
    )
    view = Table(title=title, title_justify="left", expand=True)
    for name in ("role", "pid", "state", "taken", "waiting", "restarts", "now"):
        view.add_column(name, justify="left" if name in ("role", "state", "now") else "right")
    for role in ROLES:
        entry = status["roles"].get(role)
        if entry is None:
            continue
        heartbeat = entry["heartbeat"]
        view.add_row(
            role,
            str(entry["pid"]),
            _state(entry, heartbeat, is_off=role == "ai_role" and status["ai_off"]),
            f"{heartbeat.get('position', 0):,}",
            f"{heartbeat.get('waiting', 0):,}",
            str(entry["restarts"]),
            _now(status, role),
        )
    view.caption = sentence(status)
    view.caption_justify = "left"
    return view


def _state(entry: dict[str, Any], heartbeat: dict[str, Any], *, is_off: bool) -> Text:
    if is_off:
        return Text("OFF", style="yellow")
    if not entry["running"]:
        return Text("ended", style="dim")
    state = str(heartbeat.get("state", "STARTING"))
    return Text(state, style={"READY": "green", "DEGRADED": "yellow"}.get(state, ""))


def _now(status: Status, role: str) -> str:
    said = facts(status, role)
    if role == "market_role":
        return f"{said.get('ticks', 0):,} ticks, ping {_ms(said.get('latency_us'))}"
    if role == "strategy_role":
        return f"{said.get('signals', 0)} signals; {said.get('reason', '')}"
    if role == "risk_role":
        return f"equity {said.get('equity', '-')}, drawdown {said.get('drawdown_bps', '-')} bps"
    if role == "execution_role":
        latency = _ms(said.get("tick_to_result_us_p50"))
        return f"{said.get('fills', 0)} fills, tick to result p50 {latency}"
    return str(said.get("reason", ""))


def _ms(microseconds: int | None) -> str:
    return "-" if not microseconds else f"{microseconds / 1000:.1f} ms"


def draw(console: Console) -> None:
    """Redraw the table at each status."""
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for line in sys.stdin.buffer:
            live.update(table(canonical.decode(line.rstrip(b"\r\n"))), refresh=True)


def speak() -> None:
    """Print one sentence every few seconds."""
    said = -LINE_EVERY_S
    for line in sys.stdin.buffer:
        if time.monotonic() - said >= LINE_EVERY_S:
            said = time.monotonic()
            print(sentence(canonical.decode(line.rstrip(b"\r\n"))), flush=True)


def main() -> int:
    """Show statuses until standard input ends."""
    # Ctrl-C is the launcher's business; the table shows how it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console = Console()
    try:
        if console.is_terminal:
            draw(console)
        else:
            speak()
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
