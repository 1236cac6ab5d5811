"""Listing changes while the venue is open: filters, statuses, delisted symbols.

These faults come by script or by `POST /minibot/fault`; prices and books go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final, Protocol

# Fields of filters that the venue writes as JSON numbers, and as true or false; others are texts.
_COUNTS: Final = frozenset(
    {
        *("maxNumOrders", "maxNumAlgoOrders", "maxNumOrderLists", "maxNumIcebergOrders"),
        *("maxNumOrderAmends", "avgPriceMins", "limit"),
        *("minTrailingAboveDelta", "maxTrailingAboveDelta"),
        *("minTrailingBelowDelta", "maxTrailingBelowDelta"),
    }
)
_SWITCHES: Final = frozenset({"applyToMarket", "applyMinToMarket", "applyMaxToMarket"})


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

    What the venue writes as a number or as true or false becomes one.

    Raises:
        ListingUnknown: No such symbol; `filter`, `field` or `value` is not text; or the value is
            not of the field's type.
    """
    info = _info(venue, symbol)
    name, field, typed = filter_field(fields)
    changed = deepcopy(dict(info))
    for item in changed["filters"]:
        if item["filterType"] == name:
            item[field] = typed
            break
    else:
        changed["filters"].append({"filterType": name, field: typed})
    venue.set_info(symbol, changed)


def filter_field(fields: Mapping[str, Any]) -> tuple[str, str, str | int | bool]:
    """Return (filter, field, value in its type) of the fault `filter`.

    Raises:
        ListingUnknown: One of the three is missing or no text, or the value is not of the
            field's type.
    """
    name, field, value = (fields.get(key) for key in ("filter", "field", "value"))
    if not (isinstance(name, str) and isinstance(field, str) and isinstance(value, str)):
        raise ListingUnknown("filter, field and value: expected texts")
    return name, field, _typed(field, value)


def _typed(field: str, text: str) -> str | int | bool:
    """Return a value in the type that the venue gives the field."""
    if field in _SWITCHES:
        if text not in ("true", "false"):
            raise ListingUnknown(f"{field}: expected true or false, found {text!r}")
        return text == "true"
    if field in _COUNTS:
        if not (text.isascii() and text.isdigit()):
            raise ListingUnknown(f"{field}: expected a whole number, found {text!r}")
        return int(text)
    return text


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
