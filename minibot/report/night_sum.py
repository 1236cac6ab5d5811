"""Sum over the nights that count: days, result, fees and trades, as `minibot ready` counts them.

A night's result begins at its first marks: it excludes earlier moves of a carried position.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

from minibot.cores.core_profile import CARRY
from minibot.engine.recorded_run import Recorded
from minibot.events.model import JsonObject, RunOpening
from minibot.events.names import CONTROL
from minibot.kernel.errors import RunStop
from minibot.report.figures import counted, money, signed
from minibot.report.records import RunRecord, counted_nights, days_of, performance_of

NOTHING: Final = {"result": "0", "fees": "0", "between": "0", "trades": 0, "won": 0}
BETWEEN: Final = "between runs, by positions that were carried"


def moved_between(records: Sequence[RunRecord]) -> dict[str, str]:
    """Return, by run, how far its opening is from the end of the run that it carries on.

    A decimal string in quote; without an entry where one of the two is not among the records, or
    has no figures.
    """
    found = {}
    known = {record.run_id: record for record in records if not record.is_copy}
    for run_id, record in known.items():
        former = known.get(_from_run(record) or "")
        now, before = (None if each is None else performance_of(each) for each in (record, former))
        if now is not None and before is not None:
            moved = Decimal(now["equity_start"]) - Decimal(before["equity"])
            found[run_id] = f"{moved:f}"
    return found


def _from_run(record: RunRecord) -> str | None:
    """Return the run that another carries on; None for none, or where its opening is damaged."""
    if record.manifest is None or record.manifest.config["portfolio"]["start_from"] != CARRY:
        return None
    try:
        events = [event for _, event in islice(Recorded.open(record.run_dir).events(CONTROL), 1)]
    except RunStop:
        return None
    openings = (event.payload for event in events if isinstance(event.payload, RunOpening))
    return next((opening.from_run for opening in openings), None)


def night_sum(records: Sequence[RunRecord]) -> JsonObject:
    """Return the sum over the accepted real nights among the records, by quote asset.

    `without_figures` names nights whose metrics cannot be read; `others` is the number of runs that
    count for nothing: simulated, drills, copies, stopped, or not accepted. `between` is no part of
    `result`.
    """
    nights = counted_nights(records)
    moved = moved_between(nights)
    sums: dict[str, JsonObject] = {}
    missing = []
    for record in nights:
        figures = performance_of(record)
        if figures is None or record.manifest is None:
            missing.append(record.run_id)
            continue
        asset = str(record.manifest.config["portfolio"]["quote_asset"])
        each = sums.setdefault(asset, dict(NOTHING))
        each["result"] = f"{Decimal(each['result']) + Decimal(figures['pnl']):f}"
        each["fees"] = f"{Decimal(each['fees']) + Decimal(figures['fees']):f}"
        each["between"] = f"{Decimal(each['between']) + Decimal(moved.get(record.run_id, 0)):f}"
        each["trades"] += figures["round_trips"]
        each["won"] += figures["wins"]
    return {
        "nights": len(nights),
        "days": len(days_of(nights)),
        "sums": sums,
        "without_figures": missing,
        "others": len(records) - len(nights),
    }


def sum_lines(found: JsonObject) -> list[str]:
    """Return the sum in words."""
    lines = [
        f"{counted(found['nights'], 'accepted night')} on {counted(found['days'], 'day')}; "
        f"{counted(found['others'], 'other run')} not counted: simulated, drills, copies, "
        "not accepted"
    ]
    for asset, each in found["sums"].items():
        lines.append(
            f"result {signed(each['result'])} {asset} after fees of {money(each['fees'])}, "
            f"{each['won']} of {counted(each['trades'], 'trade')} won"
        )
        if Decimal(each["between"]):
            lines.append(f"  and {signed(each['between'])} {asset} {BETWEEN}")
    return lines + [
        f"{name}: no figures; see: minibot metrics" for name in found["without_figures"]
    ]
