"""Comparison of two results: origin and span, figures, settings.

A side is a kept backtest's document, or a run in the same words (`sides.run_document`).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from minibot.backtest.report.statistics import KEY_FIGURES, Shown, figure_text
from minibot.backtest.sources.source_words import RATE_PER_S
from minibot.events.model import JsonObject
from minibot.events.unit_sizes import MINUTE_MS
from minibot.report.choices import VALUE_LENGTH, changed_words, differing, strategy_of
from minibot.report.columns import table_lines
from minibot.report.figures import NONE, counted, date_clock, plain_text

SETTINGS_SHOWN: Final = 40
NAMES: Final = ("A", "B")
BACKTEST: Final = "backtest"
# Kinds of figures that are amounts of the quote asset.
MONEY: Final = ("money", "signed")
# Section of keys that name folders; no decision depends on them.
WHERE: Final = "paths."
Span = tuple[int, int | None]
"""Beginning and end, Unix ms; None for an end that is not on record."""
NO_FIGURES: Final = "Neither has figures."


def compare(first: JsonObject, second: JsonObject) -> JsonObject:
    """Return both results as JSON: every figure, and the settings outside `paths` that differ.

    Figures of money have no difference where the results count in two quote assets.
    """
    return {
        "ids": [first["id"], second["id"]],
        "kinds": [kind_of(first), kind_of(second)],
        "same_decisions": first["digest"] is not None and first["digest"] == second["digest"],
        "same_data": _is_same_data(first, second),
        "same_span": _is_same_span(_span(first), _span(second)),
        "digests": [first["digest"], second["digest"]],
        "settings": {
            name: list(values)
            for name, values in differing(first["config"], second["config"]).items()
            if not name.startswith(WHERE)
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
    settings: JsonObject = compare(first, second)["settings"]
    rows = [[name, *(_value(value) for value in pair)] for name, pair in settings.items()]
    left = len(rows) - SETTINGS_SHOWN
    more = [f"  and {left} more; --json has them all"] if left > 0 else []
    return [
        *table_lines(("", *NAMES), what_rows(first, second), "", texts=(0, 1, 2)),
        "",
        "; ".join(differences_of(first, second)),
        "",
        *table_lines(
            ("", *NAMES, "B less A", "better"), list(figure_rows(first, second)), NO_FIGURES
        ),
        "",
        "Settings that differ",
        *table_lines(("", *NAMES), rows[:SETTINGS_SHOWN], "None.", texts=(0, 1, 2)),
        *more,
    ]


def kind_of(document: JsonObject) -> str:
    """Return `backtest`, or the kind of a run, such as `real run`."""
    kind = document.get("kind")
    return BACKTEST if kind is None else f"{kind} run"


def differences_of(first: JsonObject, second: JsonObject) -> list[str]:
    """Return the common and the differing traits of two results, in words.

    Decisions of a run and of a backtest are not compared: their digests cover different events.
    """
    found = compare(first, second)
    lines = []
    if None not in found["digests"] and (kind_of(first) == BACKTEST) == (
        kind_of(second) == BACKTEST
    ):
        lines.append(f"decisions {'the same' if found['same_decisions'] else 'different'}")
    lines += [_same(found, "same_data", "data"), _same(found, "same_span", "dates")]
    if not _is_one_asset(first, second):
        lines.append(f"money in {first['quote_asset']} and in {second['quote_asset']}")
    return [*lines, f"{counted(len(found['settings']), 'setting')} different"]


def what_rows(first: JsonObject, second: JsonObject) -> list[list[str]]:
    """Return rows of both sides: kind, strategy, pairs, source, span, changed keys."""
    columns = [_what(document) for document in (first, second)]
    return [[name, *(column[name] for column in columns)] for name in columns[0]]


def _what(document: JsonObject) -> dict[str, str]:
    from_ts, to_ts = _span(document)
    stop = document.get("stop")
    ended = document.get("ended") or (f"STOPPED by risk: {stop}" if stop else "end of the source")
    return {
        "id": document["id"],
        "kind": kind_of(document),
        "strategy": strategy_of(document["config"]),
        "pairs": ", ".join(document["symbols"]),
        "source": ", ".join(document["sources"]),
        "begins": f"{date_clock(from_ts)} UTC",
        "ends": NONE if to_ts is None else f"{date_clock(to_ts)} UTC",
        "outcome": ended,
        "changed": changed_words(document["config"]) or "nothing",
    }


def _is_same_span(first: Span, second: Span) -> bool:
    """Return whether beginnings and ends lie at most a minute apart; False for an unknown end."""
    if first[1] is None or second[1] is None:
        return False
    return all(abs(a - b) <= MINUTE_MS for a, b in zip(first, second, strict=True) if a and b)


def _is_same_data(first: JsonObject, second: JsonObject) -> bool:
    """Return whether both saw the same files, or one played the record of the other.

    A synthetic market has no file: it is the same by its word and its rate of messages.
    """
    if first["files"] == second["files"] and first["sources"] == second["sources"]:
        is_made = any(word.startswith("generator:") for word in first["sources"])
        return not is_made or _rate(first) == _rate(second)
    files = [_hashes(document) for document in (first, second)]
    roots = [document.get("root") for document in (first, second)]
    return bool(files[0]) and (files[0] == files[1] or roots[0] in files[1] or roots[1] in files[0])


def _rate(document: JsonObject) -> int:
    """Return the messages per second of a synthetic market."""
    return int((document["config"].get("embedded") or {}).get("rate_per_s", RATE_PER_S))


def _hashes(document: JsonObject) -> set[str]:
    """Return the hashes of a document's files; a run without a seal has none."""
    return {sha256 for files in document["files"].values() for sha256 in files.values() if sha256}


def _same(found: JsonObject, key: str, noun: str) -> str:
    return f"the same {noun}" if found[key] else f"other {noun}"


def _span(document: JsonObject) -> Span:
    return document["from_ts"], document["to_ts"]


def figure_rows(first: JsonObject, second: JsonObject) -> Iterator[list[str]]:
    """Yield a row for each figure that at least one result has.

    Results of different kinds show only figures that both have, as a run has fewer.
    """
    is_mixed = kind_of(first) != kind_of(second)
    for shown in KEY_FIGURES:
        pair = [first["figures"].get(shown.key), second["figures"].get(shown.key)]
        if None in pair and (is_mixed or pair == [None, None]):
            continue
        difference = _difference(shown, first, second)
        yield [
            shown.label,
            *(figure_text(shown.kind, value) for value in pair),
            NONE if difference is None else _signed(shown.kind, difference),
            _better(shown, difference),
        ]


def _difference(shown: Shown, first: JsonObject, second: JsonObject) -> str | None:
    """Return the second figure minus the first as a decimal string.

    None if either is missing, and for money in two quote assets.
    """
    values = [document["figures"].get(shown.key) for document in (first, second)]
    if None in values or (shown.kind in MONEY and not _is_one_asset(first, second)):
        return None
    return f"{Decimal(str(values[1])) - Decimal(str(values[0])):f}"


def _is_one_asset(first: JsonObject, second: JsonObject) -> bool:
    return bool(first["quote_asset"] == second["quote_asset"])


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
