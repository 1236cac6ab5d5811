"""Listing changes while the venue is open: filters, statuses, delisted symbols.

These faults come by script or by `POST /minibot/fault`; prices and books go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Protocol


class Listed(Protocol):
    """Part of the venue that is changed here."""

    delisted: set[str]

    @property
    def infos(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the exchangeInfo entries by symbol."""

    def set_info(self, symbol: str, info: Mapping[str, Any]) -> None:
        """Change the trading rules of a symbol."""

    def set_status(self, symbol: str, status: str) -> None:
        """Change whether a symbol trades."""


class ListingUnknown(Exception):
    """The fault names a symbol, a filter or a field that does not exist."""


def change_filter(venue: Listed, symbol: str, fields: Mapping[str, Any]) -> None:
    """Set one field of a symbol's filter; a filter that it lacks is added with that field.

    Raises:
        ListingUnknown: No such symbol, or `filter`, `field` or `value` is not text.
    """
    info = _info(venue, symbol)
    name, field, value = (fields.get(key) for key in ("filter", "field", "value"))
    if not (isinstance(name, str) and isinstance(field, str) and isinstance(value, str)):
        raise ListingUnknown("filter, field and value: expected texts")
    changed = deepcopy(dict(info))
    for item in changed["filters"]:
        if item["filterType"] == name:
            item[field] = value
            break
    else:
        changed["filters"].append({"filterType": name, field: value})
    venue.set_info(symbol, changed)


def delist(venue: Listed, symbol: str) -> None:
    """Delist a symbol: exchangeInfo no longer has it, its streams are silent.

    Raises:
        ListingUnknown: No such symbol.
    """
    _info(venue, symbol)
    venue.delisted.add(symbol)
    venue.set_status(symbol, "BREAK")


def _info(venue: Listed, symbol: str) -> Mapping[str, Any]:
    info = venue.infos.get(symbol)
    if info is None:
        raise ListingUnknown(f"symbol: {symbol} is not played here")
    return info
