"""Depth of the book: what lets an entry pass, what blocks it, and whose book counts."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from minibot.events.model import Book, Event, Gap
from tests.risk.desk import OTHER, PROJECT, SYMBOL, Desk, actions, check_text, config

ALLOWED = ("ALLOW", "allowed")
DEEP: dict[str, Any] = {"risk__depth_min": "100000", "market__book_depth": True}


def desk(**changes: Any) -> Desk:
    return Desk(config(**{**DEEP, **changes})).ready()


def book(made: Desk, bid: str | None, ask: str | None, **changes: Any) -> list[Event]:
    """Tell a book whose sides are worth so much."""
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "bids": (("99.99", "1"),),
        "asks": (("100.01", "1"),),
        "last_update_id": 1,
        "why": "interval",
        "bid_depth": bid,
        "ask_depth": ask,
        "is_bid_whole": None if bid is None else True,
        "is_ask_whole": None if ask is None else True,
        "venue": "binance",
    }
    return made.put("market_ticks", Book(**(values | changes)))


@pytest.mark.row("C-19", "C-86", "B-42")
@pytest.mark.parametrize(
    ("bid", "ask", "outcome", "shown"),
    [
        ("100000", "250000", ALLOWED, "100000.00000000"),
        ("250000", "100000", ALLOWED, "100000.00000000"),
        ("99999.99999999", "250000", ("BLOCK", "thin_book"), "99999.99999999"),
        ("250000", "99999.99999999", ("BLOCK", "thin_book"), "99999.99999999"),
    ],
)
def test_lesser_side_passes_at_the_limit_and_blocks_below_it(
    bid: str, ask: str, outcome: tuple[str, str], shown: str
) -> None:
    """An entry needs the asks and its exit the bids: the lesser of both is judged and shown."""
    made = desk()
    book(made, bid, ask)
    events = made.signal("BUY")

    assert actions(events)[0] == outcome
    assert check_text(events[0], "depth_notional") == f"{shown} / 100000.00000000"
    assert check_text(events[0], "book_venue") == "binance / binance"


def test_book_that_falls_short_passes_with_enough_and_blocks_with_less() -> None:
    """Kept levels give a lower bound: enough passes, else nobody knows, and the reason says so."""
    outcomes = []
    for bid, ask, short in (
        ("100000", "250000", "is_bid_whole"),
        ("99999", "250000", "is_bid_whole"),
        ("250000", "99999", "is_ask_whole"),
        ("99999", "250000", "is_ask_whole"),
        ("99999", "99999", "is_ask_whole"),
        ("99999", "99999", "is_bid_whole"),
    ):
        made = desk()
        book(made, bid, ask, **{short: False})
        outcomes.append(actions(made.signal("BUY"))[0])

    assert outcomes == [
        ALLOWED,
        ("BLOCK", "short_book"),
        ("BLOCK", "short_book"),
        ("BLOCK", "thin_book"),
        ("BLOCK", "thin_book"),
        ("BLOCK", "thin_book"),
    ]


@pytest.mark.parametrize("bid", ["without book", None])
def test_missing_depth_blocks(bid: str | None) -> None:
    """No book at all, and one that does not tell its depth, let nothing enter."""
    made = desk()
    if bid is None:
        book(made, "250000", "250000")
        book(made, None, None)
    book(made, "250000", "250000", symbol=OTHER)
    events = made.signal("BUY")

    assert actions(events)[0] == ("BLOCK", "no_book")
    assert check_text(events[0], "book_venue") == "none / binance"


def test_book_as_old_as_a_tick_may_be_passes_and_older_blocks() -> None:
    """The age that a tick may have is that of a book as well."""
    outcomes = []
    for age_ms in (5_000, 5_001):
        made = desk()
        book(made, "250000", "250000")
        made.tick(after_ms=age_ms)
        outcomes.append(actions(made.signal("BUY"))[0])

    assert outcomes == [ALLOWED, ("BLOCK", "stale_book")]


def test_book_from_before_a_gap_counts_no_more() -> None:
    """A gap blocks until the next book, whatever the next tick says."""
    made = desk()
    book(made, "250000", "250000")
    made.put("market_ticks", Gap(SYMBOL, "depth", made.ts, made.ts, "a test"))
    made.tick()
    lost = made.signal("BUY")
    book(made, "250000", "250000")

    assert actions(lost)[0] == ("BLOCK", "no_book")
    assert actions(made.signal("BUY"))[0] == ALLOWED


@pytest.mark.row("C-06", "C-91")
@pytest.mark.parametrize("venue", ["coingecko", "kraken"])
def test_depth_of_another_venue_blocks_whatever_it_is_worth(venue: str) -> None:
    """A book, or rules, that name an aggregator or another exchange let nothing enter."""
    foreign, ruled = desk(), desk()
    foreign.instrument(venue="binance")
    book(foreign, "250000", "250000", venue=venue)
    ruled.instrument(venue=venue)
    book(ruled, "250000", "250000")
    ruled_said = ruled.signal("BUY")
    ruled.instrument(venue="binance")

    for events in (foreign.signal("BUY"), ruled_said):
        assert actions(events)[0] == ("BLOCK", "foreign_venue")
        assert check_text(events[0], "book_venue") == f"{venue} / binance"
    assert actions(ruled.signal("BUY"))[0] == ALLOWED


def test_exit_asks_for_no_depth() -> None:
    """A position can always be left: no book keeps it from being sold."""
    made = desk()
    book(made, "250000", "250000")
    made.buy()
    book(made, "1", "1")

    assert actions(made.signal("SELL"))[0] == ("EXIT", "signal_exit")


def test_restored_core_decides_the_same_bytes() -> None:
    """A core restored before each step writes the same queues as one that ran through."""
    logs = []
    for is_restored in (False, True):
        made = desk()
        for bid, venue in (
            *(("250000", "binance"), ("5", "binance"), ("250000", "kraken")),
            ("100000000000000000", "binance"),  # As scaled quote beyond 64 bits.
        ):
            book(made, bid, "300000", venue=venue, is_bid_whole=bid != "5")
            made.instrument(OTHER, venue=venue)
            book(made, bid, "300000", symbol=OTHER)
            if is_restored:
                made.restarted()
            for symbol in (SYMBOL, OTHER):
                made.tick(symbol=symbol)
                made.signal("BUY", symbol=symbol)
        logs.append(made.log_bytes())

    assert logs[0] == logs[1]
    for word in (b"short_book", b"foreign_venue", b'"allowed"'):
        assert word in logs[0]


def test_profile_without_the_key_has_no_state_and_no_checks() -> None:
    """Without the key no book is kept, asked or written, also where events tell the depth."""
    made = Desk(config(market__book_depth=True)).ready()
    book(made, "1", "1")
    events = made.signal("BUY")

    assert actions(events)[0] == ALLOWED
    assert "book_depth" not in made.risk.state()
    names = {check["name"] for check in events[0].to_json()["payload"]["checks"]}
    assert not names & {"book_venue", "book_age_ms", "depth_notional"}


# --- whose data gates may read --------------------------------------------------------------------

# Values from outside the venue, prices of its whole market, and everything that makes them.
FOREIGN_TYPES = {"FeedValue", "MarketScan", "MarketRegime"}
ROOMS = {"accounting", "cores", "events", "features", "kernel", "risk"}
# Events that the core passes over; the regime has a gate of its own, and no figure of it is read.
PASSES_OVER = {("core.py", "MarketScan"), ("core.py", "MarketRegime")}


def foreign_imports(name: str, source: str) -> list[str]:
    """Return the imports of a module of risk that are forbidden to gates.

    Args:
        name: Its file name; `PASSES_OVER` allows some files some names.
        source: Its text.

    Returns:
        Modules of minibot's rooms other than `ROOMS`, and names in `FOREIGN_TYPES`.
    """
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules, names = [alias.name for alias in node.names], []
        elif isinstance(node, ast.ImportFrom):
            modules, names = [node.module or ""], [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "minibot" and len(parts) > 1 and parts[1] not in ROOMS:
                found.append(module)
        found += [one for one in names if one in FOREIGN_TYPES and (name, one) not in PASSES_OVER]
    return found


@pytest.mark.row("C-91", "C-06")
def test_no_gate_imports_values_that_are_not_of_the_venues_own_book() -> None:
    """No module of risk's decisions imports values from outside, sources, or venue clients."""
    modules = sorted(Path(PROJECT, "minibot", "risk").glob("*.py"))
    found = {
        path.name: foreign_imports(path.name, path.read_text(encoding="utf-8"))
        for path in modules
        if path.name != "role.py"
    }

    assert {"entry_decision.py", "book_depth.py", "market_returns.py"} <= found.keys()
    assert {name: words for name, words in found.items() if words} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from minibot.events.model import Book, FeedValue",
        "from minibot.exchanges.binance.mini_tickers import parse",
        "import minibot.data.store",
        "from minibot.market.marks import Marks",
    ],
)
def test_import_of_a_foreign_value_is_found(line: str) -> None:
    """The search finds what it looks for: each of these lines would fail the test before."""
    assert foreign_imports("entry_decision.py", f"def gate() -> None:\n    {line}\n")
