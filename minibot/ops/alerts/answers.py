"""Answers to an operator's questions from afar: the run in some lines, by its newest status."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from minibot.events.names import AI_ROLE, EXECUTION_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.ops.alerts.endings import standing_lines
from minibot.ops.data_age import silence_of
from minibot.ops.entry_bars import bars_of_run
from minibot.ops.figures_of_role import facts_of
from minibot.report.entry_notices import account_notice
from minibot.report.figures import counted, duration, money, price
from minibot.runtime.clock import wall_ms
from minibot.runtime.running import STALE_MS

SYMBOLS_MAX: Final = 15
LEVELS: Final = ("stop", "target")

Status = Mapping[str, Any]


def answer_to(command: str, status: Status) -> str:
    """Return the answer to a command of `ANSWERS`; an old status of a running run is named."""
    age_ms = wall_ms() - int(status["written_ms"])
    if status["ended"] is not None or age_ms <= STALE_MS:
        return ANSWERS[command](status)
    text = ANSWERS[command]({**status, "is_old": True})
    return f"No news of this run for {age_ms // 1000} s; its last news:\n{text}"


def status_answer(status: Status) -> str:
    """Return the state of the run: time, equity, positions, orders."""
    risk = facts_of(status, RISK_ROLE)
    ended = status["ended"]
    how = status["phase"] if ended is None else f"ended: {ended['reason_code']}"
    how = f"was {how}" if status.get("is_old") else how
    passed = duration(max(0, status["now_ms"] - status["origin_ms"]))
    lines = [f"{status['run_id']}, {status['profile']}: {how}, for {passed}"]
    if "equity" in risk:
        equity, asset = money(risk["equity"]), status["quote_asset"]
        lines.append(f"Equity {equity} {asset}, drawdown {money(risk['drawdown_bps'], 1)} bps")
        if notice := account_notice(risk):
            lines.append(f"{risk['account']}, {notice}")
    return "\n".join([*lines, *silence_of(status), *standing_lines(status)])


def profit_answer(status: Status) -> str:
    """Return the result so far."""
    result = status["market"].get("result")
    if not result:
        return "No result yet."
    asset = status["quote_asset"]
    lines = [
        f"Result {money(result['pnl'])} {asset}",
        f"realised {money(result['realised'])} after fees of {money(result['fees'])}",
        f"unrealised {money(result['unrealised'])}",
        f"{counted(result['trades'], 'trade')}: {result['wins']} won, {result['losses']} lost",
    ]
    return "\n".join(lines)


def why_answer(status: Status) -> str:
    """Return why nothing is bought right now: what stops entries, then symbol by symbol."""
    decisions = facts_of(status, STRATEGY_ROLE).get("decisions", {})
    lines = bars_of_run(status)
    for symbol, decision in list(decisions.items())[:SYMBOLS_MAX]:
        line, failed = f"{symbol}: {decision['reason']}", decision.get("against")
        if failed:
            line += f" ({failed['name']} {failed['value']}, needs {failed['threshold']})"
        lines.append(line)
    if len(decisions) > SYMBOLS_MAX:
        lines.append(f"and {len(decisions) - SYMBOLS_MAX} more")
    return "\n".join(lines) or "No decision yet."


def health_answer(status: Status) -> str:
    """Return the age of the status, whether a profile's AI is on, and the state of each role."""
    age_s = max(0, wall_ms() - int(status["written_ms"])) // 1000
    lines = [f"Status {age_s} s old"]
    if AI_ROLE in status["roles"]:
        lines[0] += f"; AI {'off' if status['ai_off'] else 'on'}"
    for role, each in status["roles"].items():
        beat = each["heartbeat"]
        state = beat.get("state", "STARTING") if each["running"] else "ended"
        waiting = beat.get("waiting", 0)
        lines.append(f"{role}: {state}, backlog {waiting}, {counted(each['restarts'], 'restart')}")
    return "\n".join(lines)


def stops_answer(status: Status) -> str:
    """Return stop and target of each open position, and how the run ended."""
    ended = status["ended"]
    lines = [] if ended is None else [f"{ended['reason_code']}: {ended['detail']}"]
    exits = facts_of(status, RISK_ROLE).get("exits", {})
    for position in facts_of(status, EXECUTION_ROLE).get("open_positions", []):
        levels = exits.get(position["symbol"], {})
        stop, target = (price(level) if level else "none" for level in map(levels.get, LEVELS))
        lines.append(f"{position['symbol']} {position['qty']}: stop {stop}, target {target}")
    return "\n".join(lines) or "No position is open."


ANSWERS: Final[Mapping[str, Callable[[Status], str]]] = {
    "status": status_answer,
    "profit": profit_answer,
    "why": why_answer,
    "health": health_answer,
    "stops": stops_answer,
}
"""Answers by the name of their command."""
