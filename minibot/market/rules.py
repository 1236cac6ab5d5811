"""Rules of the symbols as last read from the venue, and incidents for their changes.

Pure: instruments in, new or changed ones out. A change is reported part by part, a symbol that
leaves or enters trading with its own kind of incident, and an unknown filter type only once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from msgspec import structs

from minibot.accounting.order_rules import TRADING
from minibot.events.model import Instrument
from minibot.exchanges.venue_facts import DELISTED, gone
from minibot.market.notices import (
    FILTER_UNKNOWN,
    INSTRUMENT_CHANGED,
    SYMBOL_DELISTED,
    SYMBOL_HALTED,
    SYMBOL_TRADING,
)

# A change of many parts is reported by the first of them; the event holds them all.
PARTS_SHOWN_MAX: Final = 6
UNREADABLE: Final = "UNREADABLE"
"""Our own word for the status of a symbol whose rules cannot be read any more: not trading."""


class RuleIncident(NamedTuple):
    """Incident to report."""

    kind: str
    detail: str


class RulesBook:
    """Rules of each symbol, as far as known."""

    def __init__(self) -> None:
        """Start without any."""
        self._instruments: dict[str, Instrument] = {}
        self._filters_reported: set[str] = set()

    def take(self, instrument: Instrument) -> list[RuleIncident] | None:
        """Take a symbol's rules; return the incidents of a change, None when nothing changed."""
        before = self._instruments.get(instrument.symbol)
        if before == instrument:
            return None
        self._instruments[instrument.symbol] = instrument
        incidents = self._unknown(instrument)
        return incidents if before is None else [*incidents, *changes(before, instrument)]

    def _unknown(self, instrument: Instrument) -> list[RuleIncident]:
        fresh = [
            name for name in instrument.filters_unknown or () if name not in self._filters_reported
        ]
        self._filters_reported.update(fresh)
        return [
            RuleIncident(FILTER_UNKNOWN, f"{instrument.symbol}: {name}; no order is judged by it")
            for name in fresh
        ]

    def recall(self, instrument: Instrument) -> None:
        """Take the last rules that a former process wrote of a symbol, if none are known here."""
        self._instruments.setdefault(instrument.symbol, instrument)

    def missing(self, symbols: Iterable[str]) -> list[Instrument]:
        """Return the rules of known symbols that an answer no longer lists, marked as delisted."""
        return [
            gone(self._instruments[symbol]) for symbol in symbols if symbol in self._instruments
        ]

    def forget(self, symbol: str) -> None:
        """Forget a symbol that is no longer followed; reported filter types stay reported."""
        self._instruments.pop(symbol, None)

    def of(self, symbol: str) -> Instrument | None:
        """Return the last rules of a symbol; None before the first."""
        return self._instruments.get(symbol)

    def is_gone(self, symbol: str) -> bool:
        """Return whether the venue no longer lists a symbol."""
        instrument = self._instruments.get(symbol)
        return instrument is not None and instrument.status == DELISTED

    def is_trading(self, symbol: str) -> bool:
        """Return whether a symbol is open for trading by its last rules; True before the first."""
        instrument = self._instruments.get(symbol)
        return instrument is None or instrument.status == TRADING


def without_order_counts(instrument: Instrument) -> Instrument:
    """Return rules without the bounds that `execution.order_counts` adds."""
    return structs.replace(
        instrument,
        orders_max=None,
        algo_orders_max=None,
        order_lists_max=None,
        trailing_sell_min=None,
        trailing_sell_max=None,
    )


def changes(before: Instrument, after: Instrument) -> list[RuleIncident]:
    """Return the incidents of a symbol whose rules changed."""
    changed = []
    symbol = after.symbol
    if before.status != after.status:
        detail = f"{symbol}: status {before.status} -> {after.status}"
        changed.append(RuleIncident(_status_kind(after.status), detail))
    parts = [
        f"{name} {_word(old)} -> {_word(new)}"
        for name in Instrument.__struct_fields__
        if name != "status" and (old := getattr(before, name)) != (new := getattr(after, name))
    ]
    if parts:
        rest = f", and {len(parts) - PARTS_SHOWN_MAX} more" if len(parts) > PARTS_SHOWN_MAX else ""
        changed.append(
            RuleIncident(
                INSTRUMENT_CHANGED, f"{symbol}: {', '.join(parts[:PARTS_SHOWN_MAX])}{rest}"
            )
        )
    return changed


def _status_kind(status: str) -> str:
    if status == TRADING:
        return SYMBOL_TRADING
    return SYMBOL_DELISTED if status == DELISTED else SYMBOL_HALTED


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(str(item) for item in value)
    return "none" if value is None else str(value)
