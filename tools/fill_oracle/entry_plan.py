"""Plan of entries: on which bar each is decided, with its stop and its target.

Amounts are whole hundred-millionths. Levels are prices, not distances from the fill, because the
engines fill an entry at different prices; they are drawn around the close of the deciding bar.
Everything follows from the bars and sha256, so the same file gives the same plan everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

FIRST_BAR: Final = 200
"""Bars before it warm up indicators."""
COUNT: Final = 300
SEARCH_BARS: Final = 600
"""How far on a bar is looked for that fits the kind of entry that was drawn."""
HELD_BARS_MAX: Final = 2_000
CLEAR_STEPS: Final = 3
"""Steps that levels keep from the prices of the entry, so that no engine refuses them."""
BPS: Final = 10_000


class PlainBar(NamedTuple):
    """Bar with its opening time in Unix ms; amounts in hundred-millionths."""

    open_ts: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Bars(NamedTuple):
    """Bars of one symbol without a hole, and the price step of the symbol."""

    symbol: str
    interval: str
    length_ms: int
    step: int
    qty_step: int
    rows: tuple[PlainBar, ...]


class Entry(NamedTuple):
    """Purchase decided on the close of the bar with number `at`, filled after it."""

    at: int
    stop: int
    target: int
    kind: str


Levels = tuple[int, int]


def plan(bars: Bars, count: int = COUNT) -> list[Entry]:
    """Return at most `count` entries, each so late that no engine still holds the one before.

    Args:
        bars: The market.
        count: How many are wanted; a short file has room for fewer.
    """
    kinds = tuple(KINDS)
    entries: list[Entry] = []
    at, number = FIRST_BAR, 0
    while len(entries) < count and at + 2 < len(bars.rows):
        kind = kinds[draw(number, "kind", len(kinds))]
        entry = _found(bars, at, kind, number) or _entry(bars, at, "wide", number)
        number += 1
        end = None if entry is None else surely_left(bars, entry)
        if entry is None or end is None:
            at += 1
            continue
        entries.append(entry)
        at = end + 2 + draw(number, "pause", 20)
    return entries


def draw(number: int, what: str, below: int) -> int:
    """Return a number from 0 to `below`, excluded, that is the same on every machine."""
    digest = sha256(f"fill oracle {what} {number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def surely_left(bars: Bars, entry: Entry) -> int | None:
    """Return the bar in which every engine has left the position; None for none in time.

    A level counts as met two price steps beyond it, whatever spread an engine assumes.
    """
    low, high = entry.stop - 2 * bars.step, entry.target + 2 * bars.step
    last = min(len(bars.rows), entry.at + HELD_BARS_MAX)
    for at in range(entry.at + 1, last):
        bar = bars.rows[at]
        if bar.low <= low or bar.high >= high:
            return at
    return None


def _found(bars: Bars, first: int, kind: str, number: int) -> Entry | None:
    for at in range(first, min(first + SEARCH_BARS, len(bars.rows) - 2)):
        entry = _entry(bars, at, kind, number)
        if entry is not None:
            return entry
    return None


def _entry(bars: Bars, at: int, kind: str, number: int) -> Entry | None:
    """Return the entry of a kind on a bar; None where its levels are too near to the entry."""
    levels = KINDS[kind](bars, at, number)
    if levels is None:
        return None
    stop, target = levels[0] // bars.step * bars.step, levels[1] // bars.step * bars.step
    close, opened = bars.rows[at].close, bars.rows[at + 1].open
    clear = CLEAR_STEPS * bars.step
    if stop + clear > min(close, opened) or target - clear < max(close, opened):
        return None
    return Entry(at, stop, target, kind)


def _wide(bars: Bars, at: int, number: int) -> Levels:
    """Return levels 0.15 to 1.2 percent away."""
    close = bars.rows[at].close
    return (
        close - close * (15 + draw(number, "stop", 105)) // BPS,
        close + close * (15 + draw(number, "target", 105)) // BPS,
    )


def _inside(bars: Bars, at: int, number: int) -> Levels:
    """Return levels within the bar of the entry, so that both are met in it."""
    bar = bars.rows[at + 1]
    return (bar.open + bar.low) // 2, (bar.open + bar.high) // 2


def _outside(bars: Bars, at: int, number: int) -> Levels | None:
    """Return levels that the bar of the entry leaves alone and the next one meets both."""
    bar, later = bars.rows[at + 1], bars.rows[at + 2]
    clear = 4 * bars.step
    if later.low > bar.low - clear or later.high < bar.high + clear:
        return None
    return (bar.low + later.low) // 2, (bar.high + later.high) // 2


def _gap_down(bars: Bars, at: int, number: int) -> Levels | None:
    """Return a stop below the bar of the entry and above the open of the next one."""
    bar, later = bars.rows[at + 1], bars.rows[at + 2]
    stop = bar.low - bars.step * 2
    if later.open >= stop:
        return None
    return stop, _wide(bars, at, number)[1]


def _gap_up(bars: Bars, at: int, number: int) -> Levels | None:
    """Return a target above the bar of the entry and below the open of the next one.

    The stop lies where the next one meets it too, if it goes so far.
    """
    bar, later = bars.rows[at + 1], bars.rows[at + 2]
    target = bar.high + bars.step * 2
    if later.open <= target:
        return None
    meets_both = later.low < bar.low - 4 * bars.step
    return (bar.low + later.low) // 2 if meets_both else _wide(bars, at, number)[0], target


def _stop_edge(bars: Bars, at: int, number: int) -> Levels:
    """Return a stop one step below the low of the bar of the entry: the bid alone meets it."""
    return bars.rows[at + 1].low - bars.step, _wide(bars, at, number)[1]


def _target_edge(bars: Bars, at: int, number: int) -> Levels:
    """Return a target at the high of the bar of the entry: the bid stays below it."""
    return _wide(bars, at, number)[0], bars.rows[at + 1].high


KINDS: Final[dict[str, Callable[[Bars, int, int], Levels | None]]] = {
    "wide": _wide,
    "inside": _inside,
    "outside": _outside,
    "gap down": _gap_down,
    "gap up": _gap_up,
    "stop edge": _stop_edge,
    "target edge": _target_edge,
}
"""How levels are laid: far away, or so that they show how an engine reads a bar."""


def counted(entries: Sequence[Entry]) -> str:
    """Return how many entries there are of each kind."""
    kinds = [entry.kind for entry in entries]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in KINDS if kind in kinds)
