"""View of one status of a running night: lines for a terminal, or one sentence for a pipe.

Pure: it shows the figures that the launcher sends and computes none. The last line of the table has
result, trades and verdict, however small the terminal is.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from rich.text import Text

from minibot.cli.support.fitted_text import cut, folded
from minibot.cli.support.market_table import by_interest, cells_of, market_lines
from minibot.events.business_codes import DAY_LOSS, NIGHT_LOSS
from minibot.events.model import READY
from minibot.events.names import AI_ROLE, EXECUTION_ROLE, MARKET_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.ops.data_age import price_ms_of, silence_of
from minibot.ops.figures_of_role import facts_of
from minibot.report.entry_notices import account_notice, bars_of
from minibot.report.figures import (
    NONE,
    clock,
    counted,
    duration,
    listed,
    milliseconds,
    money,
    plain_text,
    signed,
)
from minibot.runtime.stop import STOP_KIND

BAR_WIDTH: Final = 20
LABEL_WIDTH: Final = 9
# A narrower terminal has no column of labels: it would take a quarter of the line.
LABELS_FROM: Final = 60
REASON_MAX, SENTENCE_REASON_MAX = 300, 80
DECISION_LINES_MAX, NOTICE_LINES_MAX, LAST_LINES_MAX = 3, 2, 4
# Older prices are marked as old; wall-clock time, as a simulated market runs faster.
OLD_MS: Final = 5_000
# Limits that end most nights, in the order in which their headroom is shown.
HEADROOM: Final = (NIGHT_LOSS, DAY_LOSS)
NO_RESULT: Final = {
    "pnl": "0",
    "unrealised": "0",
    "realised": "0",
    "fees": "0",
    "trades": 0,
    "wins": 0,
    "losses": 0,
}
Status = dict[str, Any]


class View:
    """Texts of the live table for one status."""

    def __init__(self, status: Status) -> None:
        self.status = status
        self.feed = facts_of(status, MARKET_ROLE)
        self.strategy = facts_of(status, STRATEGY_ROLE)
        self.risk = facts_of(status, RISK_ROLE)
        self.execution = facts_of(status, EXECUTION_ROLE)
        self.ai = facts_of(status, AI_ROLE)
        market = status.get("market") or {}
        self.symbols: dict[str, Any] = market.get("symbols", {})
        self.result: dict[str, Any] = market.get("result", NO_RESULT)
        self.price_ms = price_ms_of(status)
        self.ranked: list[str] = self.strategy.get("ranked", [])
        # The launcher's own table gets each status as it is made.
        self.is_stale = bool(status.get("is_stale"))

    # --- one sentence -------------------------------------------------------------------------

    def sentence(self) -> str:
        """Return the status of the night in one short line."""
        planned = f" {self.percent()} %" if self.status.get("planned_ms") else ""
        parts = [f"{clock(self.status['now_ms'])}{planned}", self._held(), self._trades()]
        decision = self.decisions(SENTENCE_REASON_MAX)[0]
        return " | ".join([*self.ending(), *parts, *self.notices(), decision])

    def title(self) -> str:
        """Return the run's name and kind, for the first line of a log."""
        return f"minibot {self.status['profile']}, run {self.status['run_id']}, {self._kind()}"

    def _held(self) -> str:
        """Return the first position, or the first price where nothing is held."""
        names = by_interest(self.symbols, self.ranked)
        if not names:
            return "no figures yet"
        cells = self._cells(names[0])
        held = sum(figures["entry"] is not None for figures in self.symbols.values())
        more = f" and {held - 1} more" if held > 1 else ""
        if held:
            text = f"{cells['position']} {cells['symbol']} at {cells['entry']}, now {cells['mark']}"
            return f"{text} ({cells['unrealised']}{self._asset()}){more}"
        return f"{cells['symbol']} {cells['price']}, no position"

    def _cells(self, symbol: str) -> dict[str, str]:
        return cells_of(symbol, self.symbols[symbol], self._levels().get(symbol, {}))

    def _levels(self) -> Mapping[str, Mapping[str, Any]]:
        levels: dict[str, Any] = self.risk.get("exits", {})
        return levels

    # --- parts of both ------------------------------------------------------------------------

    def decisions(self, length_max: int = REASON_MAX) -> list[str]:
        """Return the last decision of each symbol with its time, the newest first.

        A decision from before the symbol's open position is marked as such.
        """
        by_symbol = self.strategy.get("decisions", {})
        newest = sorted(by_symbol.items(), key=lambda item: (-item[1]["ts"], item[0]))
        if not newest:
            return [plain_text(str(self.strategy.get("reason", "no decision yet")), length_max)]
        return [self._decision(name, each, length_max) for name, each in newest]

    def _decision(self, symbol: str, decision: Mapping[str, Any], length_max: int) -> str:
        name = f"{plain_text(symbol, 20)} " if len(self.symbols) > 1 else ""
        text = f"{name}{clock(decision['ts'])} {plain_text(str(decision['reason']), length_max)}"
        opened_ts = self.symbols.get(symbol, {}).get("opened_ts")
        if opened_ts and decision["ts"] < opened_ts:
            return f"none since the position of {clock(opened_ts)}; before it: {text}"
        return text

    def ending(self) -> list[str]:
        """Return how the night ended, in one sentence; empty while it runs."""
        ended = self.status["ended"]
        if ended is None:
            return []
        code, detail = ended["reason_code"], plain_text(ended["detail"], REASON_MAX)
        why = "" if detail == code else f": {detail}"
        return [f"{'STOPPED' if ended['kind'] == STOP_KIND else 'ended'} by {code}{why}"]

    def notices(self) -> list[str]:
        """Return notices that an operator should see at once: silence, restarts, a halt or lock.

        One sentence each, the most important first; every further notice belongs here.
        """
        found = []
        if self.is_stale:
            since = clock(self.status["written_ms"])
            found.append(f"no news of this run since {since}: its launcher hangs or is gone")
        for role, entry in self.status["roles"].items():
            if entry["restarts"]:
                found.append(f"{role} restarted {counted(entry['restarts'], 'time')}")
        if self.status["ai_off"] and AI_ROLE in self.status["roles"]:
            found.append("AI off")
        found += bars_of(self.risk, self.status["now_ms"])
        return found + silence_of(self.status)

    def verdict(self) -> str:
        """Return the state of the night in a few words."""
        ended = self.status["ended"]
        if ended is None:
            return "no news" if self.is_stale else str(self.status["phase"])
        if ended["kind"] == STOP_KIND:
            return f"STOPPED by {ended['reason_code']}"
        return f"ended in order by {ended['reason_code']}"

    def percent(self) -> int:
        """Return the percentage of the planned time that has passed."""
        planned, origin = self.status.get("planned_ms"), self.status["origin_ms"]
        if not planned or planned <= origin:
            return 0
        passed = max(0, self.status["now_ms"] - origin)
        return min(100, int(passed * 100 // (planned - origin)))

    def _progress(self) -> str:
        planned, origin = self.status.get("planned_ms"), self.status["origin_ms"]
        if not planned:
            return duration(self.status["now_ms"] - origin)
        return f"{self.percent()} % of {duration(planned - origin)}"

    def _kind(self) -> str:
        return f"{'simulated data' if self.status['simulated'] else 'real market data'}, paper"

    def _trades(self) -> str:
        """Return result and trades of the run so far."""
        result = self.result
        trades = counted(result["trades"], "trade")
        if result["trades"]:
            trades += f" ({result['wins']} won, {result['losses']} lost)"
        return f"result {signed(result['pnl'])}{self._asset()}, {trades}"

    def _asset(self) -> str:
        """Return the quote asset after a blank; empty if the status does not name it."""
        return f" {self.status['quote_asset']}" if self.status.get("quote_asset") else ""

    # --- the table ----------------------------------------------------------------------------

    def lines(self, width: int, height: int) -> list[Text]:
        """Return the table for a terminal; no line is wider, and the last one is never left out.

        Args:
            width: Columns of the terminal.
            height: Its lines; if they do not suffice, symbols and decisions are counted instead,
                then blank lines go, then the least important rows.
        """
        rows_max = len(self.symbols)
        while True:
            lines = self._lines(width, rows_max)
            if len(lines) <= height or rows_max <= 1:
                break
            rows_max -= 1
        if len(lines) > height:
            lines = [line for line in lines if line.plain]
        last = self._last(width)
        return lines if len(lines) <= height else lines[: max(0, height - len(last))] + last

    def _lines(self, width: int, rows_max: int) -> list[Text]:
        market = market_lines(self.symbols, self._levels(), width, rows_max, self.ranked)
        blank = [Text()]
        return [
            self._head(width),
            self._time(width),
            *blank,
            *(market or [Text(cut("no figures yet", width), style="dim")]),
            *blank,
            *self._decision_lines(width, rows_max),
            *_row("account", self._account(), width),
            *(_row("risk", text, width) if (text := self._risk()) else []),
            *(_row("ranked", listed(self.ranked), width, "", 1) if self.ranked else []),
            *_row("activity", self._activity(), width),
            *self._role_lines(width),
            *(
                line
                for notice in self.notices()
                for line in _row("note", notice, width, "yellow", NOTICE_LINES_MAX)
            ),
            *(
                line
                for ending in self.ending()
                for line in _row("end", ending, width, "bold", DECISION_LINES_MAX)
            ),
            *blank,
            *self._last(width),
        ]

    def _head(self, width: int) -> Text:
        status, ended = self.status, self.status["ended"]
        if self.is_stale:
            state, style = "NO NEWS", "red"
        elif ended is None:
            state, style = status["phase"].upper(), "green" if status["phase"] == "running" else ""
        elif ended["kind"] == STOP_KIND:
            state, style = "STOPPED", "red"
        else:
            state, style = "ENDED", ""
        head = Text()
        head.append(state, style=style)
        head.append(f"  minibot {status['profile']}", style="bold")
        head.append(f"  run {status['run_id']}  {self._kind()}")
        head.truncate(width)
        return head

    def _time(self, width: int) -> Text:
        done = self.percent() * BAR_WIDTH // 100
        bar = "#" * done + "." * (BAR_WIDTH - done)
        planned = f"[{bar}] " if self.status.get("planned_ms") and width >= LABELS_FROM else ""
        text = f"{clock(self.status['now_ms'])} UTC  {planned}{self._progress()}"
        old_ms = OLD_MS * Decimal(self.status.get("speed", "1"))
        is_old = self.price_ms is not None and self.status["now_ms"] - self.price_ms > old_ms
        if self.price_ms is not None and is_old and self.status["ended"] is None:
            text += f"  prices of {clock(self.price_ms)}"
        return Text(cut(text, width))

    def _decision_lines(self, width: int, rows_max: int) -> list[Text]:
        """Return the decisions in the order of the table; a single one has room to be whole."""
        decisions = self.strategy.get("decisions", {})
        if len(decisions) < 2:
            return _row("decision", self.decisions()[0], width, "", DECISION_LINES_MAX)
        shown = [
            name
            for name in by_interest(self.symbols, self.ranked)[: max(1, rows_max)]
            if name in decisions
        ]
        return [
            line
            for number, name in enumerate(shown)
            for text in [self._decision(name, decisions[name], REASON_MAX)]
            for line in _row("" if number else "decision", text, width, "", 1)
        ]

    def _account(self) -> str:
        risk, result = self.risk, self.result
        parts = [f"equity {money(risk.get('equity'))}"]
        if len(self.symbols) > 1:  # One symbol has both in its own row.
            parts.append(f"realised {money(result['realised'])}")
            parts.append(f"unrealised {money(result['unrealised'])}")
        parts.append(f"fees {money(result['fees'])}")
        fallen = risk.get("drawdown_bps")
        return f"{listed(parts)}, drawdown {NONE if fallen is None else f'{money(fallen, 1)} bps'}"

    def _risk(self) -> str:
        """Return exposure, tier, the account's drawdown and the headroom of some limits.

        A single symbol under a profile without tiers has its position in its own row.
        """
        left = self.risk.get("headroom", {})
        if "exposure" not in self.risk or (len(self.symbols) < 2 and "account" not in self.risk):
            return ""
        exposure = self.risk["exposure"]
        most = Decimal(exposure) + Decimal(left["exposure"])
        parts = [f"exposure {money(exposure)} of {money(str(most))}"]
        if "account" in self.risk:
            parts.append(f"account {self.risk['account']}")
        if notice := account_notice(self.risk):
            parts.append(notice)
        low = [name for name in HEADROOM if name in left]
        parts += [f"{name.replace('_', ' ')} {money(left[name])} left" for name in low]
        if "orders_per_minute" in left:
            parts.append(f"orders {left['orders_per_minute']} left")
        return listed(parts)

    def _activity(self) -> str:
        ticks = counted(self.feed.get("ticks", 0), "tick")
        signals = counted(self.strategy.get("signals", 0), "signal")
        fills = counted(self.execution.get("fills", 0), "fill")
        open_orders = counted(self.execution.get("open_orders", 0), "open order")
        return f"{ticks}, {signals}, {fills}, {open_orders}"

    def _role_lines(self, width: int) -> list[Text]:
        """Return one line for all roles, and one more for each that needs attention."""
        roles = self.status["roles"]
        if self.status["ended"] is not None:
            return []
        ready = sum(self._role_state(name, entry) == READY for name, entry in roles.items())
        words = [f"{ready} of {len(roles)} ready"]
        backlogs = {n: e["heartbeat"].get("waiting", 0) for n, e in roles.items()}
        most = max(backlogs, key=lambda name: backlogs[name], default="")
        if most and backlogs[most]:
            words.append(f"backlog {backlogs[most]:,} ({most.removesuffix('_role')})")
        if (ping := milliseconds(self.feed.get("latency_us") or None)) != NONE:
            words.append(f"exchange {ping}")
        if self.execution.get("tick_to_result_n", 0):
            p50 = milliseconds(self.execution["tick_to_result_us_p50"])
            p95 = milliseconds(self.execution["tick_to_result_us_p95"])
            words.append(f"tick to result {p50} p50, {p95} p95")
        lines = _row("roles", ", ".join(words), width)
        for name, entry in roles.items():
            state = self._role_state(name, entry)
            if state != READY:
                detail = plain_text(str(self.ai.get("detail", "")), 200) if name == AI_ROLE else ""
                text = listed((f"{name.removesuffix('_role')} {state}", *filter(None, [detail])))
                lines += _row("", f"{text}, backlog {backlogs[name]:,}", width, "yellow", 1)
        return lines

    def _role_state(self, role: str, entry: Mapping[str, Any]) -> str:
        if role == AI_ROLE and self.status["ai_off"]:
            return "OFF"
        if not entry["running"]:
            return "ended"
        return str(entry["heartbeat"].get("state", "STARTING"))

    def _last(self, width: int) -> list[Text]:
        """Return result, trades and verdict: one line where the width allows."""
        text = f"{self._trades()}; {self.verdict()}"
        return [Text(part, style="bold") for part in folded(text, width, LAST_LINES_MAX)]


def _row(
    label: str, text: str, width: int, style: str = "", lines_max: int = NOTICE_LINES_MAX
) -> list[Text]:
    """Return a labelled text, wrapped at words below its beginning."""
    if width < LABELS_FROM:
        return [Text(part, style=style) for part in folded(text, width, lines_max)]
    found = []
    for number, part in enumerate(folded(text, width - LABEL_WIDTH - 1, lines_max)):
        line = Text()
        line.append(f"{'' if number else label:<{LABEL_WIDTH}} ", style="dim")
        line.append(part, style=style)
        found.append(line)
    return found
