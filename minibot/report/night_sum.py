"""Sum over the nights that count: days, result, fees and trades, as `minibot ready` counts them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from minibot.events.model import JsonObject
from minibot.report.figures import counted, money, signed
from minibot.report.records import RunRecord, counted_nights, days_of, performance_of


def night_sum(records: Sequence[RunRecord]) -> JsonObject:
    """Return the sum over the accepted real nights among the records, by quote asset.

    `without_figures` names nights whose metrics cannot be read; `others` is the number of runs that
    count for nothing: simulated, drills, stopped, or not accepted.
    """
    nights = counted_nights(records)
    sums: dict[str, JsonObject] = {}
    missing = []
    for record in nights:
        figures = performance_of(record)
        if figures is None or record.manifest is None:
            missing.append(record.run_id)
            continue
        asset = str(record.manifest.config["portfolio"]["quote_asset"])
        each = sums.setdefault(asset, {"result": "0", "fees": "0", "trades": 0, "won": 0})
        each["result"] = f"{Decimal(each['result']) + Decimal(figures['pnl']):f}"
        each["fees"] = f"{Decimal(each['fees']) + Decimal(figures['fees']):f}"
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
    lines += [
        f"result {signed(each['result'])} {asset} after fees of {money(each['fees'])}, "
        f"{each['won']} of {counted(each['trades'], 'trade')} won"
        for asset, each in found["sums"].items()
    ]
    return lines + [
        f"{name}: no figures; see: minibot metrics" for name in found["without_figures"]
    ]
