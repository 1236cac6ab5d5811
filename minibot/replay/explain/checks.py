"""Checks of signals and risk actions in words; the only place that puts them into words.

Risk leaves a position when a row of its checks fails: the bid is no longer above the stop. The row
says `passed: false`, and a person reads that a stop was hit. A check without a verdict is shown
without one; a verdict that its own numbers contradict is marked as doubtful.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from minibot.events.model import Check, RiskAction
from minibot.events.reasons import (
    LEFT_TRADING,
    RECOVERY_EXIT,
    RUN_ENDING,
    SIGNAL_EXIT,
    UNIVERSE_EXIT,
)
from minibot.strategies.verdicts import is_number, texts_hold, verdict_of_texts

CheckRow = Mapping[str, Any]

OK: Final = "ok  "
FAIL: Final = "FAIL"
NO_VERDICT: Final = "    "
DOUBTFUL: Final = "?   "


def check_line(check: CheckRow) -> str:
    """Return one named value against its threshold, with its verdict if it has one."""
    if words := departure_words(check):
        return words
    passed, verdict = check["passed"], FAIL
    if passed is None:
        verdict = NO_VERDICT
    elif is_contradicted(check):
        verdict = DOUBTFUL
    elif passed:
        verdict = OK
    line = f"{verdict} {check['name']:<24} {check['value']:>16}  against {check['threshold']}"
    if verdict == DOUBTFUL:
        word = OK if passed else FAIL
        return f"{line}: recorded as {word.strip()}, which these numbers contradict"
    if passed is not None and texts_hold(check["value"], check["threshold"]) is (not passed):
        return f"{line}: before both were rounded"
    return line


def check_words(check: CheckRow) -> str:
    """Return a check in words, for the middle of a sentence."""
    words = departure_words(check)
    if not words and check["name"] == RUN_ENDING and str(check["value"]).isdigit():
        words = f"the run ends at {_clock(str(check['value']))} UTC"
    return words or f"{check['name']} {check['value']} against {check['threshold']}"


def failed_checks(checks: Iterable[CheckRow] | None) -> list[CheckRow]:
    """Return the checks that were judged and failed."""
    return [check for check in checks or () if check["passed"] is False]


def departure(checks: Iterable[CheckRow | Check] | None) -> str:
    """Return why a position was left, by the checks of a risk action; else an empty text."""
    for check in checks or ():
        row = check.to_json() if isinstance(check, Check) else check
        if words := departure_words(row):
            return words
    return ""


def departure_of(action: RiskAction) -> str:
    """Return why a risk action left a position, by its policy or checks; else an empty text."""
    return _POLICIES.get(action.reason_code) or departure(action.checks)


def left_words(action: RiskAction) -> str:
    """Return why an EXIT left a position, in words; a reason code where no words are known."""
    return departure_of(action) or _LEFT_BY.get(action.reason_code, action.reason_code)


def departure_words(check: CheckRow) -> str:
    """Return a failed exit check in words, such as `stop hit: bid 61,806.00 <= 61,809.54`.

    Empty for every other check.
    """
    words_of = _DEPARTURES.get(check["name"])
    if words_of is None or check["passed"] is not False:
        return ""
    return words_of(str(check["value"]), str(check["threshold"]))


def is_contradicted(check: CheckRow) -> bool:
    """Return whether the numbers of a check contradict its verdict."""
    passed = check["passed"]
    return passed is not None and verdict_of_texts(check["value"], check["threshold"]) is (
        not passed
    )


def price_text(text: str) -> str:
    """Return a price with thousands separators and at least two decimals, no further zeros."""
    whole, _, places = f"{Decimal(text):,f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def _stop(bid: str, stop: str) -> str:
    return _hit("stop", "bid", bid, "<=", stop)


def _target(bid: str, target: str) -> str:
    return _hit("target", "bid", bid, ">=", target)


def _stop_trade(trade: str, stop: str) -> str:
    return _hit("stop", "trade", trade, "<=", stop)


def _target_trade(trade: str, target: str) -> str:
    return _hit("target", "trade", trade, ">=", target)


def _level(what: str, by: str, relation: str) -> Callable[[str, str], str]:
    return lambda price, level: _hit(what, by, price, relation, level)


def _hit(what: str, by: str, price: str, relation: str, level: str) -> str:
    if not is_number(price) or not is_number(level):
        return ""
    return f"{what} hit: {by} {price_text(price)} {relation} {price_text(level)}"


def _lasted(what: str) -> Callable[[str, str], str]:
    def words(ms: str, most_ms: str) -> str:
        if not ms.isdigit() or not most_ms.isdigit():
            return ""
        return f"{what} {int(ms) / 1000:,.3f} s >= {int(most_ms) / 1000:,.3f} s"

    return words


def _ending(now: str, until: str) -> str:
    # The check of a late entry has the same name, but words in place of times.
    if not now.isdigit() or not until.isdigit():
        return ""
    return f"closed before the run's end: {_clock(now)} UTC < {_clock(until)} UTC"


def _requested(value: str, _: str) -> str:
    return "requested by an operator" if value == "asked" else ""


def _policy(value: str, _: str) -> str:
    return "the profile's policy closes it" if value == "close" else ""


def _clock(ts: str) -> str:
    at = datetime.fromtimestamp(int(ts) // 1000, UTC)
    return f"{at:%H:%M:%S}.{int(ts) % 1000:03d}"


def _reduced(value: str, limit: str) -> str:
    if not is_number(value) or not is_number(limit):
        return ""
    return f"loss at a row of the recovery: {price_text(value)} held, {price_text(limit)} to keep"


def _unsold(value: str, _: str) -> str:
    return f"limit left {price_text(value)} unsold" if is_number(value) else ""


_DEPARTURES: Final[Mapping[str, Callable[[str, str], str]]] = {
    "stop_price": _stop,
    "target_price": _target,
    "stop_trade": _stop_trade,
    "target_trade": _target_trade,
    "hard_stop_price": _level("hard stop", "bid", "<="),
    "break_even_price": _level("break-even stop", "bid", "<="),
    "trail_price": _level("trailing stop", "bid", "<="),
    "signal_stop_price": _level("strategy's stop", "bid", "<="),
    "signal_target_price": _level("strategy's target", "bid", ">="),
    "signal_stop_trade": _level("strategy's stop", "trade", "<="),
    "signal_target_trade": _level("strategy's target", "trade", ">="),
    "age_target_price": _level("target of its age", "bid", ">="),
    "ladder_price": _level("rung of the ladder", "bid", ">="),
    "hard_stop_trade": _level("hard stop", "trade", "<="),
    "break_even_trade": _level("break-even stop", "trade", "<="),
    "trail_trade": _level("trailing stop", "trade", "<="),
    "age_target_trade": _level("target of its age", "trade", ">="),
    "recovery_qty": _reduced,
    "unsold_qty": _unsold,
    "data_gap_ms": _lasted("sold after missing data: none for"),
    "silent_ms": _lasted("sold after missing data: none for"),
    "horizon_ms": _lasted("horizon is over: held"),
    "held_ms": _lasted("time is up: held"),
    "run_ending": _ending,
    "exit_position": _requested,
    "policy": _policy,
}
"""The checks of exits in `risk.exit_decision`, `risk.plan_rows` and `risk.trigger_rows`; a test
compares them."""
_POLICIES: Final[Mapping[str, str]] = {
    LEFT_TRADING: "sold after a halt at the venue",
    RECOVERY_EXIT: "sold at the recovery's exit row",
    UNIVERSE_EXIT: "sold on leaving the universe",
}
"""Exits whose failed check is `policy`, by reason code."""
_LEFT_BY: Final[Mapping[str, str]] = {SIGNAL_EXIT: "the strategy's SELL"}
"""Exits that no failed check shows."""
