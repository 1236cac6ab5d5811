"""Heat tables of returns by month and by hour, whose cells are coloured by the return."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from minibot.backtest.report import ratios
from minibot.backtest.report.returns import Period
from minibot.events.unit_sizes import BPS

MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# Five steps each way tell good months from bad ones; more could not be distinguished.
STEPS: Final = 5
# If even the largest figure, in percent or basis points, is below this, all get two more decimals.
SMALL: Final = 0.1


def monthly(series: Sequence[Period]) -> str:
    """Return the months' returns in percent: a row for each year, with its return at the end."""
    years: dict[int, dict[int, float]] = {}
    for period in series:
        when = datetime.fromtimestamp(period.ts // 1000, UTC)
        years.setdefault(when.year, {})[when.month] = period.ratio
    largest = max((abs(value) for months in years.values() for value in months.values()), default=0)
    rows = []
    for year, months in years.items():
        places = _places(largest, 100, 2)
        cells = [
            _cell(name, months.get(month), largest, 100, places)
            for month, name in enumerate(MONTHS, start=1)
        ]
        total = _cell("year", ratios.compounded(list(months.values())), 0, 100, places)
        rows.append(f"<tr><th>{year}</th>{''.join(cells)}{total}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", *MONTHS, "year"))
    return _table("Return in percent of the equity before the month", head, rows)


def hourly(series: Sequence[Period]) -> str:
    """Return the mean return by hour (UTC) in basis points.

    Each weekday with data has a row; if there are several, a last row has all of them together.
    """
    found: dict[tuple[int, int], list[float]] = {}
    for period in series:
        when = datetime.fromtimestamp(period.ts // 1000, UTC)
        found.setdefault((when.weekday(), when.hour), []).append(period.ratio)
    means = {key: sum(values) / len(values) for key, values in found.items()}
    largest = max((abs(value) for value in means.values()), default=0)
    rows = []
    for day, name in enumerate(WEEKDAYS):
        if any(key[0] == day for key in means):
            places = _places(largest, BPS, 1)
            cells = [
                _cell(f"{hour:02d}", means.get((day, hour)), largest, BPS, places)
                for hour in range(24)
            ]
            rows.append(f"<tr><th>{name}</th>{''.join(cells)}</tr>")
    if len(rows) > 1:
        rows.append(f"<tr><th>all</th>{_every_day(found)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", *(f"{hour:02d}" for hour in range(24))))
    return _table("Mean return of the hour in basis points, UTC", head, rows)


def _every_day(found: dict[tuple[int, int], list[float]]) -> str:
    together = [
        [value for (_, at), values in found.items() if at == hour for value in values]
        for hour in range(24)
    ]
    means = [ratios.mean(values) for values in together]
    largest = max((abs(mean) for mean in means if mean is not None), default=0)
    return "".join(
        _cell(f"{hour:02d}", mean, largest, BPS, _places(largest, BPS, 1))
        for hour, mean in enumerate(means)
    )


def _places(largest: float, scale: int, places: int) -> int:
    return places if largest == 0 or largest * scale >= SMALL else places + 2


def _cell(label: str, value: float | None, largest: float, scale: int, places: int) -> str:
    """Return a cell with its value; on a phone it shows its label, a month or an hour."""
    if value is None:
        return "<td></td>"
    shown = ratios.text(value * scale, places) or ""
    step = round(abs(value) / largest * STEPS) if largest else 0
    tone = f' class="{"up" if value > 0 else "down"}{step}"' if step else ""
    return f'<td{tone} data-l="{escape(label)}">{escape(shown)}</td>'


def _table(caption: str, head: str, rows: Sequence[str]) -> str:
    if not rows:
        return "<p>No market data came.</p>"
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<p>{escape(caption)}</p>\n<div class="wide"><table class="heat">{body}</table></div>'
