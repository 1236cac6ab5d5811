"""Contract of a venue, as the market role relies on it, run over every venue.

The parts about dialects run over Kraken too, which has no requests and connections yet (X-01).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Final

import orjson
import pytest

from minibot.accounting.order_rules import TRADING
from minibot.exchanges.base import (
    APPLIED,
    GAP,
    IGNORED,
    REFUSED,
    SERVER,
    SYNCED,
    TOO_OLD,
    UNREACHABLE,
    BookKeeper,
    Diff,
    FrameInvalid,
    RestError,
    Shutdown,
    StreamedSnapshot,
    Trade,
    Trades,
)
from minibot.exchanges.units import positive, units_down
from minibot.exchanges.venue_facts import DELISTED, SUBSCRIBE, UNSUBSCRIBE, Endpoint
from minibot.exchanges.venues import VENUES
from minibot.kernel.errors import RunStop
from minibot.market.recorder import SHUTDOWN_BYTES_MAX
from minibot.market.session import SHUTDOWN_WITHIN
from minibot.runtime.configuration import config_sections
from tests.exchanges.binance.loopback import Loopback, answer
from tests.exchanges.venue_cases import (
    SERVERS,
    VENUE_CASES,
    Connection,
    DialectCase,
    VenueCase,
    by_dialect,
    by_venue,
    joined,
    requests_to,
)

SYMBOL: Final = re.compile(r"[A-Z0-9]{2,20}")
STATUS: Final = re.compile(r"[A-Z_]{1,40}")  # contracts/instrument.v1.schema.json
DIFFS: Final = 12
FORBIDDEN: Final = ("/api/v3/order", "/v1/orders", "/0/private/AddOrder", "", "/", "//")


@pytest.fixture(scope="module", autouse=True)
def _servers_end() -> Iterator[None]:
    """End the servers that tests here have started."""
    yield
    for server in SERVERS:
        server.end()


def test_every_registered_venue_has_a_case_and_a_section() -> None:
    """Every registered venue has a case in this suite and a config section."""
    assert set(VENUES) <= {case.venue.name for case in VENUE_CASES}
    assert set(VENUES) == set(config_sections.VENUES)
    kinds = {key.name: str(key.type) for key in fields(config_sections.ProfileKeys)}
    assert {name for name, kind in kinds.items() if "VenueSection" in kind} == set(VENUES)


# --- frames and books -----------------------------------------------------------------------------


def diffs(case: DialectCase, connection: Connection, keeper: BookKeeper) -> Iterator[Diff]:
    """Yield the symbol's diffs behind a book that was synced on the way."""
    parse, waiting = case.dialect.parse_frame, 0
    for data in connection.frames:
        message = parse(data)
        if isinstance(message, StreamedSnapshot) and message.symbol == case.symbol:
            assert keeper.on_snapshot(message.snapshot) == SYNCED
        elif isinstance(message, Diff) and message.symbol == case.symbol:
            if keeper.book is not None:
                yield message
                continue
            keeper.on_diff(message)
            waiting += 1
            if connection.rest is not None and waiting > 1:
                snapshot = connection.rest.snapshot(case.symbol, 100)
                assert keeper.on_snapshot(snapshot) in (SYNCED, TOO_OLD, GAP)


@pytest.mark.process
@pytest.mark.row("C-82")
@by_dialect
def test_book_follows_its_diffs_and_stays_in_order(
    case: DialectCase, tmp_path: Path, shared_data: Path
) -> None:
    """A book's best bid stays below its best ask, and its update count never falls."""
    keeper, results, counts = case.dialect.new_keeper(), [], []
    with case.connect(tmp_path, shared_data) as connection:
        for diff in diffs(case, connection, keeper):
            results.append(keeper.on_diff(diff))
            assert keeper.book is not None
            touch = keeper.book.touch()
            assert touch is not None
            assert positive(touch[0]) < positive(touch[2])
            assert keeper.book.bids.top(1) == ((touch[0], touch[1]),)
            assert keeper.book.asks.top(1) == ((touch[2], touch[3]),)
            counts.append(keeper.book.book_id)
            if results.count(APPLIED) == DIFFS:
                break

    assert results.count(APPLIED) == DIFFS
    assert set(results) <= {APPLIED, IGNORED}
    assert counts == sorted(counts)
    assert not keeper.wants_snapshot
    book = keeper.book
    assert book is not None
    for side, last in ((book.bids, 0), (book.asks, 2**62)):
        levels = side.top(10**6)
        assert side.worth(last) == sum(positive(price) * units_down(qty) for price, qty in levels)


@pytest.mark.process
@pytest.mark.row("C-82")
@by_dialect
def test_book_that_is_refreshed_goes_on_until_the_next_snapshot_replaces_it(
    case: DialectCase, tmp_path: Path, shared_data: Path
) -> None:
    """A refresh costs no moment without a book, and its snapshot joins the updates since."""
    keeper, applied = case.dialect.new_keeper(), 0
    with case.connect(tmp_path, shared_data) as connection:
        rest = connection.rest
        if rest is None:
            return  # Books come on the stream alone.
        for diff in diffs(case, connection, keeper):
            if not keeper.wants_snapshot and not applied:
                keeper.refresh()
                assert keeper.wants_snapshot
            before = keeper.book
            applied += keeper.on_diff(diff) == APPLIED
            assert keeper.book is before
            if applied > 1 and keeper.on_snapshot(rest.snapshot(case.symbol, 100)) == SYNCED:
                break

    assert keeper.book is not before
    assert not keeper.wants_snapshot


@pytest.mark.process
@pytest.mark.row("C-82", "F117")
@by_dialect
def test_lost_update_costs_the_book_and_a_snapshot_brings_it_back(
    case: DialectCase, tmp_path: Path, shared_data: Path
) -> None:
    """A lost update invalidates the book until a snapshot, by number or checksum."""
    keeper, seen, is_lost = case.dialect.new_keeper(), 0, False
    # A number reveals the loss at once, a checksum when its levels differ.
    later_max = 1 if case.dialect.is_numbered else 20
    with case.connect(tmp_path, shared_data) as connection:
        for diff in diffs(case, connection, keeper):
            if is_lost:
                break  # `diffs` yields behind a synced book alone.
            seen += 1
            if seen == 3:
                continue
            assert seen <= 3 + later_max
            try:
                is_lost = keeper.on_diff(diff) == GAP
            except FrameInvalid:
                assert not case.dialect.is_numbered  # The gap shows before its update is applied.
                is_lost = True
            if is_lost:
                assert keeper.book is None
                assert keeper.wants_snapshot
        assert is_lost
        if connection.rest is None:
            return  # The recording holds no second snapshot of a book that is lost this early.

    assert keeper.book is not None


@pytest.mark.process
@pytest.mark.row("C-82")
@by_dialect
def test_trades_carry_the_venues_own_characters(
    case: DialectCase, tmp_path: Path, shared_data: Path
) -> None:
    """A trade's event has the venue's text, and the integer beside it is the same number."""
    trades: list[Trade] = []
    with case.connect(tmp_path, shared_data) as connection:
        for data in connection.frames:
            message = case.dialect.parse_frame(data)
            if isinstance(message, Trade | Trades):
                some = [message] if isinstance(message, Trade) else message.trades
                assert all(trade.price.encode() in data for trade in some)
                trades += some
            if len(trades) >= 3:
                break

    assert all(trade.symbol == case.symbol for trade in trades)
    assert all(positive(trade.price) == trade.price_units for trade in trades)
    assert all(positive(trade.qty) == trade.qty_units for trade in trades)
    first = trades[0].trade_id if trades else 0
    assert [trade.trade_id - first for trade in trades] == [*range(len(trades))]
    assert trades or connection.rest is None


@pytest.mark.process
@pytest.mark.row("F109")
@by_dialect
def test_damaged_frame_is_a_message_or_a_refusal(
    case: DialectCase, tmp_path: Path, shared_data: Path
) -> None:
    """A damaged frame is a message or a refusal, and no wrong book goes on."""
    rnd, parse, refused = Random(1), case.dialect.parse_frame, 0
    with case.connect(tmp_path, shared_data) as connection:
        frames = [next(connection.frames) for _ in range(20)]
    for data in frames:
        for _ in range(40):
            spoiled, at = bytearray(data), rnd.randrange(len(data))
            spoiled[at : at + rnd.randrange(3)] = rnd.randbytes(rnd.randrange(3))
            try:
                parse(bytes(spoiled))
            except FrameInvalid:
                refused += 1
    for data in (b"", b"\xff", b"{", b"nonsense"):
        with pytest.raises(FrameInvalid) as unread:
            parse(data)
        assert not unread.value.is_readable
    for data in (b"1", b"null", b'"text"'):
        with pytest.raises(FrameInvalid):
            parse(data)
    assert refused > 100


# --- names, rules, limits -------------------------------------------------------------------------


@by_venue
def test_symbols_go_to_the_venues_names_and_back(case: VenueCase) -> None:
    """A symbol converts to the venue's name and back; events use upper case letters and digits."""
    there = {symbol: case.venue.symbols.to_venue(symbol) for symbol in case.symbols}

    assert there == dict(case.symbols)
    assert [case.venue.symbols.from_venue(name) for name in there.values()] == [*case.symbols]
    assert all(SYMBOL.fullmatch(symbol) for symbol in there)
    for symbol, name in there.items():
        assert case.venue.symbols.read(f" {name} ") == symbol
        assert case.venue.symbols.read(f"{symbol[:3].lower()}/{symbol[3:]}") == symbol


@by_venue
@pytest.mark.parametrize("is_strict", [False, True])
def test_text_that_is_no_name_is_left_for_its_reader_to_refuse(
    case: VenueCase, is_strict: bool
) -> None:
    """A text that is no name of a symbol comes back as such, whatever the venue says to it."""
    names = case.venue.symbols
    if is_strict:
        names = replace(names, from_venue=names.to_venue)  # It raises for what is no symbol.

    assert names.read(" no.such!name ") == "NO.SUCH!NAME"


@by_venue
def test_status_is_trading_for_one_word_of_the_venue_alone(case: VenueCase) -> None:
    """A status is trading for one word of the venue alone; unknown words keep entries away."""
    rules, entry = case.venue.rules, case.entry

    def status(word: str) -> str:
        return rules.parse(entry(word)).status

    assert status(rules.trading) == TRADING
    assert {status(word) for word in rules.delisted} <= {DELISTED}
    closed = [status(word) for word in (*rules.halted, *rules.delisted, "", "half-open 2")]
    if rules.trading != TRADING:  # The venue's own words are translated, so ours is unknown to it.
        closed.append(status(TRADING))
    assert rules.halted
    assert TRADING not in closed
    assert all(STATUS.fullmatch(word) for word in closed)


@by_venue
def test_rules_without_an_increment_are_refused(case: VenueCase) -> None:
    """Rules with a missing or spoiled increment are refused."""
    whole = case.entry(case.venue.rules.trading)
    found = case.venue.rules.parse(whole)
    assert positive(found.price_increment)
    assert positive(found.qty_increment)
    refused = 0
    for key in whole:
        for part in ({}, {key: None}):
            spoiled = {name: value for name, value in whole.items() if name != key} | part
            try:
                case.venue.rules.parse(spoiled)
            except FrameInvalid:
                refused += 1
    assert refused >= len(whole)


@by_venue
def test_every_request_lies_among_the_allowed_paths_and_has_a_weight(case: VenueCase) -> None:
    """Every request uses an allowed public path, and no single one exceeds a minute's weight."""
    limits, hosts = case.venue.limits, case.venue.hosts
    endpoints = [
        value for key in fields(limits) if isinstance(value := getattr(limits, key.name), Endpoint)
    ]
    endpoints += [limits.snapshot(levels) for levels in (5, *limits.snapshot_levels)]

    assert len(endpoints) >= 7
    for path, weight in endpoints:
        hosts.check(path)
        assert 0 < weight <= limits.weight_per_minute
    assert limits.levels_deep in limits.snapshot_levels
    assert list(limits.snapshot_levels) == sorted(limits.snapshot_levels)
    assert case.venue.hosts.venue == case.venue.name


@pytest.mark.row("F119")
@by_venue
@pytest.mark.parametrize("path", FORBIDDEN)
def test_path_beyond_public_data_stops_the_run_unasked(case: VenueCase, path: str) -> None:
    """A path beyond public data stops the run before a byte is sent."""
    with Loopback(lambda sock, request: sock.sendall(answer(b"{}"))) as server:
        rest = requests_to(case.venue, server.port)
        with pytest.raises(RunStop) as stop:
            rest.answer(path, {})  # type: ignore[attr-defined]
        rest.close()

    assert stop.value.reason_code == "REAL_ORDER_ATTEMPT"
    assert server.requests == []


# --- control --------------------------------------------------------------------------------------


@by_venue
def test_control_messages_name_streams_and_their_answers_are_known(case: VenueCase) -> None:
    """Control messages are numbered, and each answer is recognised as accepted or refused."""
    streams = case.venue.streams
    names = [name for symbol in case.symbols for name in streams.names(symbol)]
    assert len(set(names)) == len(names)

    for method in (SUBSCRIBE, UNSUBSCRIBE):
        message = orjson.loads(streams.control(method, names, 7))
        assert 7 in message.values()
        assert names in message.values()
    assert streams.control(SUBSCRIBE, names, 7) != streams.control(UNSUBSCRIBE, names, 7)
    taken, refused = (streams.reply_of(data) for data in case.answers)
    assert taken is not None
    assert refused is not None
    assert (taken.id, taken.error) == (7, "")
    assert (refused.id, bool(refused.error)) == (7, True)
    assert streams.reply_of(b"{}") is None
    assert streams.reply_of(b"no json") is None
    assert streams.limits.batch_streams_max >= len(streams.names(next(iter(case.symbols))))


@pytest.mark.process
@by_venue
def test_streams_of_a_symbol_are_carried_by_one_connection(case: VenueCase, tmp_path: Path) -> None:
    """One connection carries a symbol's streams, named in its address or subscribed."""
    symbol, parse = next(iter(case.symbols)), case.venue.dialect.parse_frame
    names = case.venue.streams.names(symbol)
    with case.serve(tmp_path) as port, joined(case.venue, port, names) as stream:
        found: set[str] = set()
        while not {"Diff", "Trade"} <= found:
            data = stream.recv()[1]
            found.add(type(parse(data)).__name__)
            assert not data.startswith(case.venue.streams.market_wide)


@pytest.mark.process
@by_venue
def test_last_prices_of_the_market_are_told_from_the_frames_of_a_symbol(
    case: VenueCase, tmp_path: Path
) -> None:
    """A frame of the whole market is known by its beginning; it has the venue's own texts."""
    tickers, symbol = case.venue.tickers, next(iter(case.symbols))
    if tickers is None:
        return
    with case.serve(tmp_path) as port, joined(case.venue, port, [tickers.stream]) as stream:
        found = {}
        while symbol not in found:
            data = stream.recv()[1]
            if case.venue.streams.reply_of(data) is None:
                assert data.startswith(case.venue.streams.market_wide)
                found = {price.symbol: price for price in tickers.parse(data)}

    assert positive(found[symbol].close) == found[symbol].close_units
    assert found[symbol].exchange_ts > 10**12
    with pytest.raises(FrameInvalid):
        tickers.parse(data[:-1])


@by_venue
def test_end_of_a_connection_is_known_by_the_beginning_of_its_frame(case: VenueCase) -> None:
    """The word by which the market role and a recorder know a shutdown stands in its frame."""
    word, frame = case.venue.streams.shutdown, case.shutdown

    assert isinstance(case.venue.dialect.parse_frame(frame), Shutdown)
    assert word in frame[:SHUTDOWN_WITHIN]
    assert b'"' + word + b'"' in frame[:SHUTDOWN_BYTES_MAX]


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.process
@by_venue
def test_requests_give_what_a_night_begins_with(case: VenueCase, tmp_path: Path) -> None:
    """Requests give a night's beginning: time, rules, listing, volumes, klines, book, weight."""
    symbol, venue = next(iter(case.symbols)), case.venue
    with case.serve(tmp_path) as port:
        rest = requests_to(venue, port)
        rest.ping()
        now_ms = rest.server_time()
        (rules,) = rest.instruments([symbol])
        listed, volumes = rest.listings(rules.quote_asset), rest.day_volumes()
        began_ms, before = rest.server_time(), rest.last.weight_used
        candles = rest.candles(symbol, "1m", start=None, end=now_ms, limit=5)
        used, ended_ms = rest.last.weight_used, rest.server_time()
        body = rest.snapshot_body(symbol, 100)
        text = rest.rules_text([symbol])
        with pytest.raises(RestError) as unknown:
            rest.instruments([case.unknown])
        with pytest.raises(RestError) as nonsense:
            rest.candles("NOSYMBOL", "1m", start=None, end=now_ms, limit=5)
        rest.close()

    assert (rules.symbol, rules.status) == (symbol, TRADING)
    listing = listed.by_symbol[symbol]
    assert listing.instrument == rules
    assert (listing.status, listing.is_spot) == (TRADING, True)
    assert (listing.base_asset, listing.quote_asset) == (rules.base_asset, rules.quote_asset)
    assert symbol in volumes
    times = [candle.open_ts for candle in candles]
    assert times == sorted(times)
    assert times[-1] <= now_ms
    assert len(times) == 5
    assert all(candle.close_ts == candle.open_ts + 59_999 for candle in candles)
    assert before is not None
    assert used is not None
    if began_ms // 60_000 == ended_ms // 60_000:  # Within the same minute of the venue's count.
        assert used == before + venue.limits.candles.weight
    assert venue.dialect.parse_snapshot is not None
    assert venue.dialect.parse_snapshot(body, 100).bids
    assert case.symbols[symbol] in text.decode()
    assert unknown.value.kind == nonsense.value.kind == REFUSED
    assert 400 <= unknown.value.status < 500


@pytest.mark.process
@by_venue
def test_candles_from_a_start_are_the_oldest_from_there(case: VenueCase, tmp_path: Path) -> None:
    """A download and a hole are filled page by page from their start; both bounds are included."""
    symbol = next(iter(case.symbols))
    with case.serve(tmp_path) as port:
        rest = requests_to(case.venue, port)
        end = rest.server_time()
        start = end // 60_000 * 60_000 - 600_000
        found = rest.candles(symbol, "1m", start=start, end=end, limit=3)
        rows = rest.candle_rows(symbol, "1m", start=start, end=end, limit=3)
        (one,) = rest.candles(symbol, "1m", start=start, end=start, limit=3)
        rest.close()

    wanted = [start + number * 60_000 for number in range(3)]
    assert [candle.open_ts for candle in found] == wanted
    assert one == found[0]
    assert [row[0] for row in rows] == wanted
    for candle, row in zip(found, rows, strict=True):
        assert row[1:6] == [*candle[2:7]]
        assert (row[6], row[7], row[8], row[9]) == (candle.close_ts, *candle[7:])
        assert len(row) == 12


@by_venue
@pytest.mark.parametrize("status", ["500 Broken", "502 Bad Gateway", "503 Down"])
def test_fault_of_the_host_is_no_refusal_of_what_was_asked(case: VenueCase, status: str) -> None:
    """A refusal delists a symbol and is not asked again; a host's own trouble passes."""
    data = answer(b"<html>", status)
    with Loopback(lambda sock, request: sock.sendall(data)) as server:
        rest = requests_to(case.venue, server.port)
        with pytest.raises(RestError) as error:
            rest.instruments([next(iter(case.symbols))])
        rest.close()

    assert (error.value.kind, error.value.status) == (SERVER, int(status[:3]))


@pytest.mark.row("F105", "F106")
@by_venue
def test_silence_that_the_venue_asks_for_is_understood(case: VenueCase) -> None:
    """A venue's demand for silence gives its length, and whether it is a ban."""
    for status, headers, kind, wait_ms in case.silence:
        said = answer(b"{}", status, headers)
        with Loopback(lambda sock, request, said=said: sock.sendall(said)) as server:  # type: ignore[misc]
            rest = requests_to(case.venue, server.port)
            with pytest.raises(RestError) as error:
                rest.ping()
            rest.close()
        assert (error.value.kind, error.value.retry_after_ms) == (kind, wait_ms)


@by_venue
def test_host_that_is_not_there_or_answers_nonsense_is_an_error(case: VenueCase) -> None:
    """A missing host and nonsensical answers are errors of one request, with a kind."""
    with Loopback(lambda sock, request: sock.sendall(answer(b"<html>"))) as server:
        rest = requests_to(case.venue, server.port)
        with pytest.raises(RestError) as nonsense:
            rest.server_time()
        rest.close()
    rest = requests_to(case.venue, 1)
    with pytest.raises(RestError) as gone:
        rest.server_time()
    rest.close()

    assert nonsense.value.kind == "malformed"
    assert gone.value.kind == UNREACHABLE
