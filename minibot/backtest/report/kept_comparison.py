"""Comparison of two kept backtests: their figures, and their settings."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from minibot.backtest.report.statistics import KEY_FIGURES, Shown, figure_text
from minibot.events.model import JsonObject
from minibot.report.choices import VALUE_LENGTH, differing
from minibot.report.columns import table_lines
from minibot.report.figures import NONE, counted, date_clock, plain_text

SETTINGS_SHOWN: Final = 40


def compare(first: JsonObject, second: JsonObject) -> JsonObject:
    """Return the common and the differing parts of two backtests."""
    return {
        "ids": [first["id"], second["id"]],
        "same_decisions": first["digest"] == second["digest"],
        "same_data": first["files"] == second["files"] and first["sources"] == second["sources"],
        "same_span": _span(first) == _span(second),
        "digests": [first["digest"], second["digest"]],
        "settings": {
            name: list(values)
            for name, values in differing(first["config"], second["config"]).items()
        },
        "figures": {
            shown.key: {
                "values": [first["figures"].get(shown.key), second["figures"].get(shown.key)],
                "difference": _difference(shown, first, second),
            }
            for shown in KEY_FIGURES
        },
    }


def compare_lines(first: JsonObject, second: JsonObject) -> list[str]:
    """Return the comparison in words and tables."""
    found = compare(first, second)
    settings: JsonObject = found["settings"]
    said = "the same" if found["same_decisions"] else "different"
    rows = [[name, *(_value(value) for value in pair)] for name, pair in settings.items()]
    left = len(rows) - SETTINGS_SHOWN
    more = [f"  and {left} more; --json has them all"] if left > 0 else []
    return [
        f"A  {first['id']}  {', '.join(first['sources'])}",
        f"B  {second['id']}  {', '.join(second['sources'])}",
        f"decisions {said}; {_same(found, 'same_data', 'data')}; "
        f"{_same(found, 'same_span', 'dates')}; {counted(len(settings), 'setting')} different",
        *(() if found["same_span"] else _spans(first, second)),
        "",
        *table_lines(("", "A", "B", "B less A", "better"), list(_rows(first, second)), ""),
        "",
        "Settings that differ",
        *table_lines(("", "A", "B"), rows[:SETTINGS_SHOWN], "None.", texts=(0, 1, 2)),
        *more,
    ]


def _same(found: JsonObject, key: str, noun: str) -> str:
    return f"the same {noun}" if found[key] else f"other {noun}"


def _span(document: JsonObject) -> tuple[int, int]:
    return document["from_ts"], document["to_ts"]


def _spans(*documents: JsonObject) -> Iterator[str]:
    for name, document in zip("AB", documents, strict=True):
        from_ts, to_ts = _span(document)
        yield f"{name} from {date_clock(from_ts)} to {date_clock(to_ts)} UTC"


def _rows(first: JsonObject, second: JsonObject) -> Iterator[list[str]]:
    """Yield each figure of both, without those that neither has."""
    for shown in KEY_FIGURES:
        pair = [first["figures"].get(shown.key), second["figures"].get(shown.key)]
        if pair == [None, None]:
            continue
        difference = _difference(shown, first, second)
        yield [
            shown.label,
            *(figure_text(shown.kind, value) for value in pair),
            NONE if difference is None else _signed(shown.kind, difference),
            _better(shown, difference),
        ]


def _difference(shown: Shown, first: JsonObject, second: JsonObject) -> str | None:
    """Return the second less the first as a decimal string, None where one of them has none."""
    values = [document["figures"].get(shown.key) for document in (first, second)]
    if None in values:
        return None
    return f"{Decimal(str(values[1])) - Decimal(str(values[0])):f}"


def _signed(kind: str, difference: str) -> str:
    if kind == "duration":
        sign = "-" if difference.startswith("-") else ""
        return f"{sign}{figure_text(kind, difference.lstrip('-'))}"
    text = figure_text(kind, int(difference) if kind == "count" else difference)
    return text if text.startswith(("+", "-")) or not Decimal(difference) else f"+{text}"


def _better(shown: Shown, difference: str | None) -> str:
    if difference is None or not shown.better or not Decimal(difference):
        return ""
    return "B" if (Decimal(difference) > 0) == (shown.better > 0) else "A"


def _value(text: str) -> str:
    return plain_text(text, VALUE_LENGTH)
