"""Readiness for anything beyond paper: the missing needs, and the runs that prove the others.

It needs all gates passed by this code, a real seven-hour night that passes (N-120), thirty such
nights in mode NORE, each begun on a different day (B-74), no risk limit exceeded (B-75), no
STOP.flag, and a backtest over half a year of recorded prices that was the same twice (B-76).
Simulated runs, drills and synthetic markets prove the machinery and count for none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from minibot.events.model import JsonObject
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.report.figures import counted, date_clock, listed
from minibot.report.records import RunRecord, counted_nights, days_of, read_records
from minibot.report.run_kind import has_damaged_seal
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import refuse_closed
from minibot.runtime.stop import standing_flags

GATES: Final = ("runtime_smoke", "schema", "atomic_io", "ai_isolation")
REAL_DAYS_MIN: Final = 30
# January to June of a common year.
SIX_MONTHS_MS: Final = 181 * DAY_MS
# `minibot backtest --twice` writes this file next to a result that was the same both times.
TWICE_FILE: Final = "twice.json"
SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Need:
    """Need of readiness: whether it is met, the finding, and the remedy if it is not."""

    row: str
    name: str
    is_met: bool
    found: str
    remedy: str = ""

    def to_json(self) -> JsonObject:
        """Return the need as one JSON object."""
        return {
            "row": self.row,
            "name": self.name,
            "met": self.is_met,
            "found": self.found,
            "remedy": self.remedy or None,
        }


def needs(var: Var, code_sha256: str) -> list[Need]:
    """Return every need of readiness, met or not.

    Args:
        var: The folders of the runs and of the gates' results.
        code_sha256: The hash of the current code; a gate that other code passed does not count.
    """
    real = [record for record in read_records(var) if record.is_real]
    return [
        *_gates(var, code_sha256),
        _night(real),
        _days(real),
        _limits(real),
        _backtest(var, code_sha256),
        _flag(var),
    ]


def _gates(var: Var, code_sha256: str) -> Iterator[Need]:
    for gate in GATES:
        name, remedy = f"gate {gate}", f"minibot gate {gate}"
        path = var.lab / "gates" / f"{gate}.json"
        if not path.exists():
            yield Need("N-120", name, False, "no verdict here", remedy)
            continue
        try:
            result = read_hashed(path)
        except RunStop as error:
            yield Need("N-120", name, False, error.detail, remedy)
            continue
        when = f"at {date_clock(int(result['ts']))} UTC"
        if not result["passed"]:
            yield Need("N-120", name, False, f"failed {when}", remedy)
        elif result.get("code_sha256") != code_sha256:
            yield Need("N-120", name, False, f"passed {when} by other code than this", remedy)
        else:
            yield Need("N-120", name, True, f"passed {when}")


def _night(real: list[RunRecord]) -> Need:
    passed = [record.run_id for record in counted_nights(real)]
    if passed:
        return Need("N-120", "a real night of seven hours", True, f"passed: {listed(passed)}")
    open_runs = _unjudged(real)
    remedy = "minibot night --config config/nore.v1.json, then minibot accept latest"
    if open_runs:
        remedy = f"minibot accept {open_runs[-1]}"
    found = f"none among {counted(len(real), 'real run')}"
    return Need("N-120", "a real night of seven hours", False, found, remedy)


def _days(real: list[RunRecord]) -> Need:
    """Count the UTC days on which an accepted night of mode NORE began."""
    nights = counted_nights(real)
    days = days_of(nights)
    found, more = counted(len(days), "day"), max(0, REAL_DAYS_MIN - len(days))
    if len(nights) > len(days):
        found += f" with {counted(len(nights), 'accepted night')}"
    return Need(
        "B-74",
        f"{REAL_DAYS_MIN} days of paper on real market data",
        not more,
        found,
        "" if not more else f"{counted(more, 'more accepted night')}, one a day",
    )


def _limits(real: list[RunRecord]) -> Need:
    name = "no risk limit exceeded in any real run"
    guilty = [
        record.run_id
        for record in real
        if record.acceptance is not None and record.acceptance["risk_violations"]
    ]
    if guilty:
        remedy = f"minibot accept {guilty[0]} says which"
        return Need("B-75", name, False, f"exceeded in {listed(guilty)}", remedy)
    unread = [record.run_id for record in real if _is_unread(record)]
    if unread:
        found = f"{counted(len(unread), 'real run')} cannot be read: {listed(unread[:SHOWN])}"
        return Need("B-75", name, False, found, f"minibot verify {unread[0]}")
    unjudged = _unjudged(real)
    if unjudged:
        shown = listed(unjudged[:SHOWN])
        found = f"{counted(len(unjudged), 'real run')} not judged: {shown}"
        return Need("B-75", name, False, found, f"minibot accept {unjudged[0]}")
    number = sum(record.acceptance is not None for record in real)
    if not number:
        return Need("B-75", name, False, "no real run judged yet", "run nights first")
    return Need("B-75", name, True, f"0 in {counted(number, 'real run')}")


def _backtest(var: Var, code_sha256: str) -> Need:
    """Find a backtest by this code, the same twice, over six months of recorded prices."""
    name = "a backtest over six months, twice the same"
    remedy = "minibot backtest --source klines:FILE --timerange FROM-TO --twice"
    short, trouble = 0, ""
    refuse_closed(var.backtests)
    for path in sorted(var.backtests.glob(f"*/{TWICE_FILE}")):
        try:
            record = read_hashed(path)
        except RunStop as error:
            trouble = trouble or error.detail
            continue
        if record["code_sha256"] != code_sha256 or not record["recorded"]:
            continue
        if record["span_ms"] >= SIX_MONTHS_MS:
            return Need("B-76", name, True, path.parent.name)
        short += 1
    found = f"{counted(short, 'shorter one')} by this code" if short else "none by this code"
    return Need("B-76", name, False, f"{found}; {trouble}" if trouble else found, remedy)


def _flag(var: Var) -> Need:
    name = "no STOP in force"
    flags = standing_flags(var)
    if flags:
        return Need("N-120", name, False, f"{flags[0]} exists", "minibot status says why")
    return Need("N-120", name, True, "no STOP.flag")


def rests_on(record: RunRecord) -> str:
    """Return why readiness rests on a run, empty where it would be the same without it."""
    if not record.is_real:
        return ""
    if record.is_accepted_night:
        return "a night that ready counts"
    if record.acceptance is None:
        return "a real run that was not judged: minibot accept RUN"
    if _is_unread(record):
        return "a real run that cannot be read: minibot verify RUN"
    return "a limit was exceeded in it" if record.acceptance["risk_violations"] else ""


def _is_unread(record: RunRecord) -> bool:
    """Return whether a run's seal or queues cannot be read, so that any limit may be exceeded."""
    if record.acceptance is None:
        return has_damaged_seal(record.run_dir)
    return record.acceptance["risk_violations"] is None


def _unjudged(real: list[RunRecord]) -> list[str]:
    return [record.run_id for record in real if record.acceptance is None and record.seal]
