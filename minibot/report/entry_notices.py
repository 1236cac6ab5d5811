"""Notices for the trader of a run: one line each, for table, page, status and summary alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.cores.core_profile import HALTED_TIER
from minibot.events.model import ALL_SYMBOLS, JsonObject
from minibot.events.reasons import ALLOWED, HALTED, INSUFFICIENT_CASH, NIGHT_NOTIONAL_PACE
from minibot.report.figures import clock, listed, money

WORDS: Final = {
    HALTED: "a halt",
    INSUFFICIENT_CASH: "no cash left",
    NIGHT_NOTIONAL_PACE: "night_notional is ahead of its pace",
}
"""Words for reasons other than a used-up limit; every other code is the name of one."""
LOCKS_SHOWN: Final = 3
"""Locks that a notice names; the others are counted."""
ACCOUNT_FALL: Final = "account_drawdown_bps"
"""Name of the account's drawdown in the facts of risk, and of its rest in the headroom."""


def account_notice(risk: Mapping[str, Any]) -> str:
    """Return how far the account is below its mark over carried runs, and how far it may fall.

    Empty in a profile that limits no drawdown of the account.

    Args:
        risk: Facts of risk.
    """
    fallen = risk.get(ACCOUNT_FALL)
    if fallen is None:
        return ""
    mark = money(risk["account_high_water_mark"])
    text = f"{money(fallen, 1)} bps below the account's high-water mark of {mark}"
    left = risk["headroom"].get(ACCOUNT_FALL)
    return text if left is None else f"{text}, {money(left, 1)} bps left"


def locks_of(risk: Mapping[str, Any], now_ms: int) -> list[JsonObject]:
    """Return the locks that last: those set by protections, then the operator's.

    Args:
        risk: Facts of risk.
        now_ms: Market time, Unix ms.

    Returns:
        `scope` (a symbol, or all), `reason_code`, `until_ts` and `left_ms` of each; both times are
        None for the rest of the run.
    """
    found = []
    for lock in (*risk.get("locks", ()), *risk.get("operator_locks", ())):
        until = lock["until_ts"]
        left_ms = None if until is None else int(until) - now_ms
        if left_ms is None or left_ms > 0:
            found.append({**lock, "left_ms": left_ms})
    return found


def bars_of(risk: Mapping[str, Any], now_ms: int) -> list[str]:
    """Name everything that keeps entries away now, a sentence each, the most important first.

    Args:
        risk: Facts of risk.
        now_ms: Market time, Unix ms.
    """
    found = []
    if risk.get("is_halted"):
        found.append("halted: no new entries")
    if risk.get("account") == HALTED_TIER:
        fallen = account_notice(risk)
        found.append(f"account {HALTED_TIER}: no new entries{f'; {fallen}' if fallen else ''}")
    locks = [_lock_text(lock) for lock in locks_of(risk, now_ms)]
    if locks:
        more = [f"{len(locks) - LOCKS_SHOWN} more"] if len(locks) > LOCKS_SHOWN else []
        found.append(f"no entries of {listed([*locks[:LOCKS_SHOWN], *more])}")
    if notice := entry_notice(risk.get("entry_stops")):
        found.append(notice)
    return found


def entries_of(risk: Mapping[str, Any], now_ms: int) -> str | None:
    """Return whether entries are allowed, refused or halted as a whole; None while unknown.

    Refused means that a spent budget refused the last one.

    Args:
        risk: Facts of risk.
        now_ms: Market time, Unix ms.
    """
    if risk.get("is_halted") is None:
        return None
    is_locked = any(lock["scope"] == ALL_SYMBOLS for lock in locks_of(risk, now_ms))
    if risk["is_halted"] or risk.get("account") == HALTED_TIER or is_locked:
        return HALTED
    return "refused" if risk.get("entry_stops") else ALLOWED


def _lock_text(lock: Mapping[str, Any]) -> str:
    whom = "all symbols" if lock["scope"] == ALL_SYMBOLS else lock["scope"]
    until = lock["until_ts"]
    end = "to the run's end" if until is None else f"until {clock(until)}"
    return f"{whom} {end} ({lock['reason_code']})"


def entry_notice(stops: Mapping[str, Any] | None) -> str:
    """Return since when and why no entry passes, and how many were refused; empty while one may.

    Args:
        stops: As `EntryStops.to_json` returns them.
    """
    if not stops:
        return ""
    code = str(stops["reason_code"])
    why = WORDS.get(code, f"{code} used up")
    return f"no entries since {clock(stops['since_ts'])}: {why}; {stops['refused']:,} refused"
