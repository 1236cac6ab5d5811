"""Book of the simulator: a client that starts from any snapshot gets the same book."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.exchanges.base import EDGES
from minibot.exchanges.binance.book import LocalBook
from minibot.exchanges.binance.messages import parse_snapshot
from minibot.exchanges.tapes.clock import PlayClock
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, NEAREST, Source
from minibot.exchanges.tapes.tape import DEMO_TAPE, Tape
from minibot.simulator.sources.generator import Generator
from minibot.simulator.venue.book import OrderBook
from minibot.simulator.venue.venue import Venue


class Client:
    """Local book by the venue's documented rules, independent of the product's."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.identity = snapshot["lastUpdateId"]
        self.sides = {name: {p: q for p, q in snapshot[name]} for name in ("bids", "asks")}

    def apply(self, event: dict[str, Any]) -> None:
        if event["u"] <= self.identity:
            return
        assert event["U"] <= self.identity + 1, "gap"
        for key, name in (("b", "bids"), ("a", "asks")):
            for price, qty in event[key]:
                if float(qty) == 0:
                    self.sides[name].pop(price, None)
                else:
                    self.sides[name][price] = qty
        self.identity = event["u"]

    def best(self) -> tuple[str, str]:
        return max(self.sides["bids"], key=float), min(self.sides["asks"], key=float)


def venue_of(source: Source) -> Venue:
    infos = {symbol: {"status": "TRADING"} for symbol in source.facts.symbols}
    return Venue(source, infos, PlayClock(source.facts.origin_ms, Fraction(1)), {})


@pytest.fixture(scope="module", params=["tape", "generator"])
def source(request: pytest.FixtureRequest) -> Source:
    return Tape(DEMO_TAPE) if request.param == "tape" else Generator(5, ("BTCUSDT",), 40)


@pytest.mark.slow
def test_snapshot_of_any_moment_bridges_to_the_diffs_after_it(source: Source) -> None:
    """A snapshot of any moment leads to the venue's book without a gap."""
    venue = venue_of(source)
    clients = [Client(venue.depth("BTCUSDT", 5000))]
    for number, frame in zip(range(12_000), source.frames(), strict=False):
        venue.take(frame)
        if frame.kind == DEPTH:
            event = json.loads(frame.data)
            for client in clients:
                client.apply(event)
        # A stride that falls before, between and after diffs.
        if number % 397 == 0:
            clients.append(Client(venue.depth("BTCUSDT", 5000)))

    state = Client(venue.depth("BTCUSDT", 5000))
    for client in clients[1:]:
        assert client.identity == state.identity
        assert client.sides == state.sides
    # The origin's book has levels older than the recorder's snapshot; its touch agrees.
    assert clients[0].best() == state.best()


@pytest.mark.slow
def test_touch_of_the_book_is_the_book_ticker_of_the_same_update(source: Source) -> None:
    """A quote and a diff of the same update id show the same touch."""
    venue = venue_of(source)
    quotes: dict[int, tuple[str, str]] = {}
    checked = 0
    for _, frame in zip(range(12_000), source.frames(), strict=False):
        venue.take(frame)
        if frame.kind == BOOK_TICKER:
            data = json.loads(frame.data)
            quotes[data["u"]] = (data["b"], data["a"])
        body = venue.depth("BTCUSDT", 1)
        if frame.kind == DEPTH and body["lastUpdateId"] in quotes:
            assert (body["bids"][0][0], body["asks"][0][0]) == quotes[body["lastUpdateId"]]
            checked += 1

    assert checked > 30


LEVELS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 3)).map(lambda pair: (f"{pair[0]}", f"{pair[1]}")),
    max_size=6,
)


@pytest.mark.slow
@given(st.lists(st.tuples(LEVELS, LEVELS), max_size=40))
def test_book_after_any_diffs_is_what_a_dict_would_hold(
    diffs: list[tuple[list[tuple[str, str]], list[tuple[str, str]]]],
) -> None:
    """Levels and their order equal a plain model's after any diffs."""
    book = OrderBook()
    book.load({"lastUpdateId": 0, "bids": [["5", "1"]], "asks": [["6", "1"]]})
    model: dict[str, dict[str, str]] = {"bids": {"5": "1"}, "asks": {"6": "1"}}
    for number, (bids, asks) in enumerate(diffs, 1):
        book.apply({"U": number, "u": number, "b": bids, "a": asks})
        for name, levels in (("bids", bids), ("asks", asks)):
            model[name] |= dict(levels)
            model[name] = {price: qty for price, qty in model[name].items() if qty != "0"}

    body = book.snapshot(5000)

    assert body["lastUpdateId"] == len(diffs)
    for name, is_reverse in (("bids", True), ("asks", False)):
        expected = sorted(model[name].items(), key=lambda item: int(item[0]), reverse=is_reverse)
        assert body[name] == expected


def test_old_diff_changes_nothing_and_a_hole_is_counted() -> None:
    """An old diff changes nothing, and a hole in a recording is counted."""
    book = OrderBook()
    book.load({"lastUpdateId": 10, "bids": [["5", "1"]], "asks": [["6", "1"]]})
    book.apply({"U": 5, "u": 10, "b": [["5", "0"]], "a": []})
    before = book.snapshot(10)
    book.apply({"U": 13, "u": 14, "b": [["4", "1"]], "a": []})

    assert before == {"lastUpdateId": 10, "bids": [("5", "1")], "asks": [("6", "1")]}
    assert book.gaps == 1
    assert book.update_id == 14


@pytest.mark.parametrize("limit", [100, 500, 1000, 5000])
def test_book_of_a_tape_is_known_no_further_than_it_was_recorded(limit: int) -> None:
    """Its 1,000 levels end at a third of a percent, however many more its updates have shown."""
    tape = Tape(DEMO_TAPE)
    recorded = tape.facts.opening_books["BTCUSDT"]
    last_bid, last_ask = (int(recorded[side][-1][0].replace(".", "")) for side in ("bids", "asks"))
    venue = venue_of(tape)
    known = []
    for number, frame in enumerate(tape.frames()):
        venue.take(frame)
        if number % 2_000 == 0:
            body = venue.depth_answer("BTCUSDT", limit)
            bid, ask = LocalBook(parse_snapshot(json.loads(json.dumps(body)), limit)).edges
            assert bid is not None
            assert ask is not None
            known.append((bid >= last_bid, ask <= last_ask))

    assert len(known) > 5
    assert set(known) == {(True, True)}


def test_answer_tells_edges_only_where_its_source_does_not_know_all_levels() -> None:
    """A whole book has none; one of the levels nearest the touch is known to its last ones."""
    body = {"lastUpdateId": 0, "bids": [["5", "1"], ["4", "1"]], "asks": [["6", "1"], ["7", "1"]]}
    whole, nearest = OrderBook(), OrderBook()
    whole.load(body)
    nearest.load({**body, NEAREST: True})
    nearest.apply({"U": 1, "u": 1, "b": [["4", "0"]], "a": [["6.5", "1"], ["7", "0"]]})

    assert EDGES not in whole.depth(2)
    assert nearest.depth(100)[EDGES] == ["5", "6.5"]
