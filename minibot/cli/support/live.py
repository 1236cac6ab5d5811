"""Live table of a running night: a separate process, which may block or die.

It reads one status per line on standard input. On a terminal it redraws a table; elsewhere it
prints a sentence every few seconds. Started by the launcher, not by people. `--stderr` keeps
standard output free for the one JSON document of `--json`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from minibot.events.names import AI_ROLE, EXECUTION_ROLE, MARKET_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.report.figures import clock, counted, duration, milliseconds, money, plain_text
from minibot.report.notices import entry_notice
from minibot.runtime.stop import STOP_KIND

SENTENCE_EVERY_S = 3.0
STATE_STYLES = {"READY": "green", "DEGRADED": "yellow", "STARTING": "yellow"}
WORD_STYLES = {"note": "yellow", "end": "bold"}
BAR_WIDTH = 20
# A narrower terminal shows no process ids, times and restarts: they would cut the sentence of
# the executor short.
WIDE_COLUMNS = 110
Status = dict[str, Any]


class View:
    """Texts of the live table for one status."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.market = facts(status, MARKET_ROLE)
        self.strategy = facts(status, STRATEGY_ROLE)
        self.risk = facts(status, RISK_ROLE)
        self.execution = facts(status, EXECUTION_ROLE)
        self.ai = facts(status, AI_ROLE)

    # --- one sentence -------------------------------------------------------------------------

    def sentence(self) -> str:
        """Return the status of the night in one line."""
        parts = [
            f"{self.status['run_id']} {clock(self.status['now_ms'])} {self._progress()}",
            counted(self.market.get("ticks", 0), "tick"),
            counted(self.strategy.get("signals", 0), "signal"),
            counted(self.execution.get("fills", 0), "fill"),
            f"equity {money(self.risk.get('equity'))}",
            f"drawdown {money(self.risk.get('drawdown_bps'), 1)} bps",
        ]
        troubles = self.troubles()
        decided = f"decided {at} " if (at := self.decided_at()) else ""
        return " | ".join([*self.ending(), *parts, *troubles, f"{decided}{self.decision()}"])

    def decision(self) -> str:
        """Return the last decision with its reason, marked if older than the open position."""
        text = plain_text(str(self.strategy.get("reason", "no decision yet")), 300)
        opened_ts, decided_ts = self.execution.get("opened_ts"), self._decided_ts()
        if opened_ts and decided_ts and decided_ts < opened_ts:
            return f"none since the position of {clock(opened_ts)}; before it: {text}"
        return text

    def decided_at(self) -> str:
        """Return the market time of the last decision; empty before the first."""
        decided_ts = self._decided_ts()
        return "" if decided_ts is None else clock(decided_ts)

    def _decided_ts(self) -> int | None:
        times = [said["ts"] for said in self.strategy.get("decisions", {}).values()]
        return max(times, default=None)

    def ending(self) -> list[str]:
        """Return how the night ended, in one sentence; empty while it runs."""
        ended = self.status["ended"]
        if ended is None:
            return []
        code, detail = ended["reason_code"], plain_text(ended["detail"], 300)
        why = "" if detail == code else f": {detail}"
        return [f"{'STOPPED' if ended['kind'] == STOP_KIND else 'ended'} by {code}{why}"]

    def troubles(self) -> list[str]:
        """Return troubles that an operator should see at once: restarts, a disabled AI, a halt."""
        found = []
        for role, entry in self.status["roles"].items():
            if entry["restarts"]:
                found.append(f"{role} restarted {counted(entry['restarts'], 'time')}")
        if self.status["ai_off"] and AI_ROLE in self.status["roles"]:
            found.append("AI off")
        if self.risk.get("is_halted"):
            found.append("halted: no new entries")
        if notice := entry_notice(self.risk.get("entry_stops")):
            found.append(notice)
        return found

    def _progress(self) -> str:
        planned = self.status.get("planned_ms")
        origin = self.status["origin_ms"]
        passed = max(0, self.status["now_ms"] - origin)
        if not planned:
            return duration(passed)
        return f"{self.percent()} % of {duration(planned - origin)}"

    def percent(self) -> int:
        """Return the percentage of the planned time that has passed."""
        planned, origin = self.status.get("planned_ms"), self.status["origin_ms"]
        if not planned or planned <= origin:
            return 0
        passed = max(0, self.status["now_ms"] - origin)
        return min(100, int(passed * 100 // (planned - origin)))

    # --- the table ----------------------------------------------------------------------------

    def table(self, width: int) -> Group:
        """Return the whole table for a terminal of this width; it needs 17 lines."""
        return Group(self._head(), self._time(), Text(), self._roles(width), Text(), self._words())

    def _head(self) -> Text:
        status = self.status
        kind = "simulated data" if status["simulated"] else "real market data"
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(f"minibot {status['profile']}", style="bold")
        head.append(f"  run {status['run_id']}  {kind}, paper  ")
        if status["ended"] is not None:
            is_stop = status["ended"]["kind"] == STOP_KIND
            head.append("STOPPED" if is_stop else "ENDED", style="red" if is_stop else "")
            return head
        head.append(status["phase"].upper(), style="green" if status["phase"] == "running" else "")
        return head

    def _time(self) -> Text:
        done = self.percent() * BAR_WIDTH // 100
        bar = "#" * done + "." * (BAR_WIDTH - done)
        planned = f"[{bar}] " if self.status.get("planned_ms") else ""
        text = f"{clock(self.status['now_ms'])} UTC  {planned}{self._progress()}"
        return Text(text, no_wrap=True, overflow="ellipsis")

    def _roles(self, width: int) -> Table:
        is_wide = width >= WIDE_COLUMNS
        has_restarts = any(entry["restarts"] for entry in self.status["roles"].values())
        view = Table(box=None, pad_edge=False, expand=True, header_style="dim")
        names = ["role", "state", "processed", "backlog"]
        names += ["pid", "at"] if is_wide else []
        names += ["restarts"] if is_wide or has_restarts else []
        for name in names:
            is_text = name in ("role", "state")
            view.add_column(name, justify="left" if is_text else "right", no_wrap=True)
        view.add_column("now", no_wrap=True, overflow="ellipsis", ratio=1)
        for role in Roles.of_project().roles:
            entry = self.status["roles"].get(role)
            if entry is not None:
                cells = self._cells(role, entry)
                view.add_row(*(cells[name] for name in names), cells["now"])
        return view

    def _cells(self, role: str, entry: dict[str, Any]) -> dict[str, Text | str]:
        heartbeat = entry["heartbeat"]
        restarts = entry["restarts"]
        return {
            "role": role.removesuffix("_role"),
            "state": self._state(role, entry, heartbeat),
            "processed": f"{heartbeat.get('position', 0):,}",
            "backlog": f"{heartbeat.get('waiting', 0):,}",
            "pid": str(entry["pid"]),
            "at": clock(at) if (at := heartbeat.get("facts", {}).get("now")) else "-",
            "restarts": Text(str(restarts), style="yellow" if restarts else ""),
            "now": self._now(role),
        }

    def _state(self, role: str, entry: dict[str, Any], heartbeat: dict[str, Any]) -> Text:
        if role == AI_ROLE and self.status["ai_off"]:
            return Text("OFF", style="yellow")
        if not entry["running"]:
            return Text("ended", style="dim")
        state = str(heartbeat.get("state", "STARTING"))
        return Text(state, style=STATE_STYLES.get(state, ""))

    def _now(self, role: str) -> str:
        if role == MARKET_ROLE:
            ping = milliseconds(self.market.get("latency_us") or None)
            return f"{counted(self.market.get('ticks', 0), 'tick')}, exchange answers in {ping}"
        if role == STRATEGY_ROLE:
            return counted(self.strategy.get("signals", 0), "signal")
        if role == RISK_ROLE:
            orders = self.risk.get("orders_per_minute", 0)
            return f"{counted(orders, 'order')} in the last minute"
        if role == EXECUTION_ROLE:
            number = self.execution.get("tick_to_result_n", 0)
            fills = counted(self.execution.get("fills", 0), "fill")
            if not number:
                return fills
            p50 = milliseconds(self.execution["tick_to_result_us_p50"])
            p95 = milliseconds(self.execution["tick_to_result_us_p95"])
            # Latency from a tick to its order's result; longer words do not fit eighty columns.
            return f"{fills}, result in {p50} p50, {p95} p95"
        return plain_text(str(self.ai.get("detail", "")), 300)

    def _words(self) -> Table:
        risk, execution = self.risk, self.execution
        positions = execution.get("open_positions") or []
        held = ", ".join(f"{money(item['qty'], 8)} {item['symbol']}" for item in positions)
        rows = [
            (
                _at("money", risk),
                f"equity {money(risk.get('equity'))}  realised {money(risk.get('realised_pnl'))}"
                f"  fees {money(risk.get('fees'))}  drawdown "
                f"{money(risk.get('drawdown_bps'), 1)} bps",
            ),
            (
                _at("open", execution),
                f"{held or 'no position'}, {counted(execution.get('open_orders', 0), 'order')}",
            ),
            (f"decision {self.decided_at()}".rstrip(), self.decision()),
            *(("note", trouble) for trouble in self.troubles()),
            *(("end", ending) for ending in self.ending()),
        ]
        view = Table.grid(padding=(0, 1))
        view.add_column(style="dim", min_width=9)
        view.add_column()
        for label, text in rows:
            view.add_row(label, Text(text, style=WORD_STYLES.get(label, "")))
        return view


def _at(label: str, facts: dict[str, Any]) -> str:
    """Return a label with the market time up to which its role has processed its inputs."""
    return f"{label:<8} {clock(facts['now'])}" if facts.get("now") else label


def facts(status: Status, role: str) -> dict[str, Any]:
    """Return the facts in a role's last heartbeat."""
    heartbeat = status["roles"].get(role, {}).get("heartbeat", {})
    found: dict[str, Any] = heartbeat.get("facts", {})
    return found


def draw(console: Console) -> None:
    """Redraw the table at each status."""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for line in sys.stdin.buffer:
            view = View(canonical.decode(line.rstrip(b"\r\n")))
            # The cursor rests on a line of its own: `^C` at the end of a full line would begin a
            # new one, and the head of the table would stay behind, one line higher.
            live.update(Group(view.table(console.width), Text()), refresh=True)


def speak(console: Console) -> None:
    """Print one sentence every few seconds, and one at the end."""
    said = -SENTENCE_EVERY_S
    for line in sys.stdin.buffer:
        view = View(canonical.decode(line.rstrip(b"\r\n")))
        if view.ending() or time.monotonic() - said >= SENTENCE_EVERY_S:
            said = time.monotonic()
            print(view.sentence(), file=console.file, flush=True)


def main(argv: Sequence[str]) -> int:
    """Show statuses until standard input ends."""
    # The launcher handles Ctrl-C; the table shows how the run ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    console = Console(stderr="--stderr" in argv, highlight=False)
    try:
        if console.is_terminal:
            draw(console)
        else:
            speak(console)
    except BrokenPipeError:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
