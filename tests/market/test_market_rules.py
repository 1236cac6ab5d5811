"""Changes of a symbol's rules: reported once, part by part, trading status separately."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.market.rules import RulesBook, changes
from tests.instruments import instrument


def kinds(told: Any) -> list[str]:
    return [item.kind for item in told]


def test_rules_that_are_as_before_are_no_news() -> None:
    """Unchanged rules are not reported."""
    book = RulesBook()

    assert book.take(instrument()) == []
    assert book.take(instrument()) is None
    assert book.take(instrument("ETHUSDT")) == []


def test_unknown_filter_is_told_once_for_all_symbols() -> None:
    """An unknown filter is reported once for all symbols."""
    book = RulesBook()

    first = book.take(instrument(filters_unknown=("FRESH", "OTHER")))
    second = book.take(instrument("ETHUSDT", filters_unknown=("FRESH",)))
    third = book.take(instrument("SOLUSDT", filters_unknown=("FRESH", "THIRD")))

    assert kinds(first) == ["filter_unknown", "filter_unknown"]
    assert second == []
    assert [told.detail for told in third or ()] == ["SOLUSDT: THIRD; no order is judged by it"]


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("TRADING", "HALT", "symbol_halted"),
        ("TRADING", "UNREADABLE", "symbol_halted"),
        ("HALT", "BREAK", "symbol_halted"),
        ("BREAK", "TRADING", "symbol_trading"),
        ("TRADING", "DELISTED", "symbol_delisted"),
    ],
)
def test_status_has_kinds_of_its_own(before: str, after: str, kind: str) -> None:
    """A status change has incident kinds of its own."""
    incidents = changes(instrument(status=before), instrument(status=after))

    assert kinds(incidents) == [kind]
    assert incidents[0].detail == f"BTCUSDT: status {before} -> {after}"


def test_change_of_many_parts_is_bounded_and_says_so() -> None:
    """A change of many parts names six in its sentence and all in the event."""
    after = instrument(
        price_increment="0.1",
        qty_increment="0.1",
        qty_min="0.1",
        qty_max="1",
        notional_min="1",
        position_max="7",
        market_qty_max="8",
    )

    (told,) = changes(instrument(), after)

    assert told.kind == "instrument_changed"
    assert "price_increment 0.01 -> 0.1" in told.detail
    assert told.detail.endswith(", and 1 more")


def test_symbol_that_is_gone_keeps_its_rules_and_does_not_trade() -> None:
    """A delisted symbol keeps its rules for valuing a position, and does not trade."""
    book = RulesBook()
    book.take(instrument(qty_min="0.5"))
    book.take(instrument("ETHUSDT"))

    (gone,) = book.missing(["BTCUSDT", "NEVERSEEN"])
    book.take(gone)

    assert (gone.status, gone.qty_min) == ("DELISTED", "0.5")
    assert book.is_gone("BTCUSDT")
    assert not book.is_trading("BTCUSDT")
    assert book.is_trading("ETHUSDT")
    book.forget("BTCUSDT")
    assert book.of("BTCUSDT") is None
