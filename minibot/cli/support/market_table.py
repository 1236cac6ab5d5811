"""Market table: one row a symbol, its columns packed into as many tables as the width needs.

Pure: figures in, lines out. Symbols with a position come first, then the best ranked, then those
with a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich.text import Text

from minibot.cli.support.fitted_text import cut
from minibot.report.figures import NONE, money, plain_text, quantity

PLACES_MIN, PLACES_MAX = 2, 8
GAP, GAP_NARROW = 2, 1
# From this width on two spaces stand between columns.
NARROW: Final = 60
# Columns that are read together stay together where the width allows.
GROUPS: Final = (
    ("price", "spread", "position", "entry", "mark"),
    ("stop", "target", "unrealised", "realised", "won", "lost"),
)
SIGNED: Final = frozenset({"unrealised", "realised"})
SYMBOL: Final = "symbol"

Figures = Mapping[str, Any]


def market_lines(
    symbols: Mapping[str, Figures],
    levels: Mapping[str, Figures],
    width: int,
    rows_max: int,
    ranked: Sequence[str] = (),
) -> list[Text]:
    """Return the market as lines of a terminal.

    Args:
        symbols: Figures of each symbol, as `accounting.symbol_figures` names them.
        levels: Stop and target of each open position, as risk keeps them.
        width: Columns of the terminal.
        rows_max: Most symbols to show; a last line counts the others.
        ranked: The symbols that the last scan ranked best, the first one first.
    """
    names = by_interest(symbols, ranked)
    shown = names[: max(1, rows_max)]
    cells = {name: cells_of(name, symbols[name], levels.get(name, {})) for name in shown}
    lines: list[Text] = []
    for number, columns in enumerate(packed(cells, width)):
        rows = shown if number == 0 else [name for name in shown if _says(cells[name], columns)]
        if rows:
            lines += _table(columns, [cells[name] for name in rows], width)
    if left := names[len(shown) :]:
        lines.append(Text(cut(_others(symbols, left), width), style="dim"))
    return lines


def by_interest(symbols: Mapping[str, Figures], ranked: Sequence[str] = ()) -> list[str]:
    """Return the symbols: held, then best ranked, then those with closed trades, each by name."""
    ranks = {name: rank for rank, name in enumerate(ranked)}
    return sorted(
        symbols,
        key=lambda name: (
            symbols[name]["entry"] is None,
            ranks.get(name, len(ranks)),
            not symbols[name]["wins"] + symbols[name]["losses"],
            name,
        ),
    )


def cells_of(symbol: str, figures: Figures, levels: Figures) -> dict[str, str]:
    """Return the text of each column of a symbol."""
    places = price_places(figures)

    def price(value: str | None) -> str:
        return NONE if value is None else f"{Decimal(value):,.{places}f}"

    return {
        SYMBOL: plain_text(symbol, 20),
        "price": price(figures["price"] or figures["mark"]),
        "spread": price(figures["spread"]),
        "position": NONE if figures["entry"] is None else quantity(figures["qty"]),
        "entry": price(figures["entry"]),
        "mark": price(figures["mark"]),
        "stop": price(levels.get("stop")),
        "target": price(levels.get("target")),
        "unrealised": money(figures["unrealised"]),
        "realised": money(figures["realised"]) if Decimal(figures["realised"]) else NONE,
        "won": str(figures["wins"] or NONE),
        "lost": str(figures["losses"] or NONE),
    }


def price_places(figures: Figures) -> int:
    """Return the decimals that a symbol's prices have, at least two."""
    found = PLACES_MIN
    for name in ("price", "bid", "ask"):
        text = figures[name]
        if text is not None and "." in text:
            found = max(found, len(text.partition(".")[2].rstrip("0")))
    return min(found, PLACES_MAX)


def packed(cells: Mapping[str, Mapping[str, str]], width: int) -> list[list[str]]:
    """Return the columns of each table, so that no table is wider than the terminal.

    A group that fits stays whole; a group wider than the terminal is divided.
    """
    gap = _gap(width)
    sizes = {
        name: max(len(name), *(len(row[name]) for row in cells.values()))
        for name in (SYMBOL, *(name for group in GROUPS for name in group))
        if cells
    }
    if not sizes:
        return []
    tables: list[list[str]] = []
    used = width
    for group in GROUPS:
        whole = sum(sizes[name] + gap for name in group)
        is_divided = sizes[SYMBOL] + whole > width
        if used + whole > width:
            tables.append([SYMBOL])
            used = sizes[SYMBOL]
        for name in group:
            if is_divided and used + gap + sizes[name] > width and len(tables[-1]) > 1:
                tables.append([SYMBOL])
                used = sizes[SYMBOL]
            tables[-1].append(name)
            used += gap + sizes[name]
    return tables


def _table(columns: Sequence[str], rows: Sequence[Mapping[str, str]], width: int) -> list[Text]:
    gap = " " * _gap(width)
    sizes = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
    head = gap.join(
        name.ljust(size) if name == SYMBOL else name.rjust(size)
        for name, size in zip(columns, sizes, strict=True)
    )
    lines = [Text(head[:width], style="dim")]
    for row in rows:
        line = Text()
        for number, (name, size) in enumerate(zip(columns, sizes, strict=True)):
            text = row[name]
            line.append(gap if number else "")
            line.append(
                text.ljust(size) if name == SYMBOL else text.rjust(size), style=_style(name, text)
            )
        line.truncate(width)
        lines.append(line)
    return lines


def _style(name: str, text: str) -> str:
    if name not in SIGNED or text == NONE:
        return ""
    return "red" if text.startswith("-") else "green" if text.strip("0.") else ""


def _says(cells: Mapping[str, str], columns: Sequence[str]) -> bool:
    return any(cells[name] != NONE for name in columns if name != SYMBOL)


def _others(symbols: Mapping[str, Figures], names: Sequence[str]) -> str:
    held = sum(symbols[name]["entry"] is not None for name in names)
    return f"and {len(names):,} more, {held or 'none'} held"


def _gap(width: int) -> int:
    return GAP_NARROW if width < NARROW else GAP
