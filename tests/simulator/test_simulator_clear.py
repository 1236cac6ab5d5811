"""Fault `clear` without a server: it ends what faults did, and leaves what the source says."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from minibot.exchanges.tapes.clock import PlayClock
from minibot.simulator.faults.faults import Faults
from minibot.simulator.faults.injector import Injector
from minibot.simulator.server.hub import Hub
from minibot.simulator.server.limits import IGNORED_MAX, AddressLimits
from minibot.simulator.venue.instruments import entry, made_rules
from minibot.simulator.venue.venue import Venue
from tests.simulator.test_simulator_paper import Silence


class Door:
    """Gate that keeps delayed actions for the test."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def shut(self) -> None:
        """Cut nobody, as nobody is connected."""

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        self.waiting.append(action)


class Place:
    """Exchange without a server, with its faults."""

    def __init__(self) -> None:
        infos = {name: entry(name, made_rules(name), "table") for name in Silence.facts.symbols}
        infos["ETHUSDT"]["status"] = "BREAK"
        clock = PlayClock(Silence.facts.origin_ms, Fraction(1))
        self.venue = Venue(Silence(), infos, clock, {})
        self.limits = AddressLimits(lambda: self.venue.rates)
        self.faults = Faults(clock.pace_ms)
        self.door = Door()
        hub = Hub(self.venue, self.faults)
        self.injector = Injector(self.venue, hub, self.limits, self.faults, self.door, [])

    def fault(self, name: str, **fields: object) -> None:
        self.injector.inject({"name": name, **fields})

    def charge(self, weight: int) -> int:
        """Return the status of a client's call."""
        denial = self.limits.charge("a", weight, self.venue.clock.pace_ms(), 0)
        return 200 if denial is None else denial.status


@pytest.fixture
def place() -> Place:
    return Place()


def test_symbol_that_its_source_has_closed_stays_closed(place: Place) -> None:
    """A closed symbol is opened neither by `clear` nor by the end of a break."""
    place.fault("symbol_break", symbol="ETHUSDT", status="HALT", ms=1000)
    place.door.waiting.pop()()
    after_break = place.venue.statuses["ETHUSDT"]
    for symbol in Silence.facts.symbols:
        place.fault("symbol_break", symbol=symbol, status="HALT")
    place.fault("clear")

    assert after_break == "BREAK"
    assert place.venue.statuses == {"BTCUSDT": "TRADING", "ETHUSDT": "BREAK"}


def test_end_of_a_former_fault_does_not_end_a_later_one(place: Place) -> None:
    """A skew or break that was set anew, or after `clear`, lasts until its own time is over."""
    place.fault("clock_skew", skew_ms=1, ms=1000)
    place.fault("symbol_break", symbol="BTCUSDT", status="HALT", ms=1000)
    place.fault("clear")
    place.fault("clock_skew", skew_ms=2, ms=9000)
    place.fault("symbol_break", symbol="BTCUSDT", ms=9000)
    *former, skew_end, break_end = place.door.waiting
    for action in former:
        action()
    during = place.venue.time_offset_ms, place.venue.statuses["BTCUSDT"]
    skew_end()
    break_end()

    assert len(former) == 2
    assert during == (2, "BREAK")
    assert (place.venue.time_offset_ms, place.venue.statuses["BTCUSDT"]) == (0, "TRADING")


def test_clear_makes_the_exchange_reachable(place: Place) -> None:
    """An unreachable exchange can be reached again, before its time is over."""
    place.fault("unreachable", ms=10**9)
    before = place.faults.is_unreachable
    place.fault("clear")

    assert before
    assert not place.faults.is_unreachable


def test_clear_lifts_the_ban_of_an_address(place: Place) -> None:
    """A ban that followed from the fault `rates` ends with it; used weight stays counted."""
    place.fault("rates", weight=10)
    statuses = [place.charge(20) for _ in range(IGNORED_MAX + 2)]
    place.fault("clear")

    assert statuses == [429] * (IGNORED_MAX + 1) + [418]
    assert place.charge(5) == 200
    assert place.limits.used == 25


@pytest.mark.parametrize("order", [("symbol_break", "delist"), ("delist", "symbol_break")])
def test_end_of_a_break_leaves_a_delisted_symbol_silent(
    order: tuple[str, str], place: Place
) -> None:
    """A break that ends opens a symbol only while it is listed; `clear` opens it again."""
    fields: dict[str, dict[str, object]] = {"symbol_break": {"ms": 1000}, "delist": {}}
    for name in order:
        place.fault(name, symbol="BTCUSDT", **fields[name])
    place.door.waiting.pop()()
    after_break = place.venue.statuses["BTCUSDT"]
    place.fault("clear")

    assert after_break == "BREAK"
    assert place.venue.statuses["BTCUSDT"] == "TRADING"
