"""Kraken's frames: numbers as written, both versions, and the book of a broken frame."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.events.model import BUY, SELL
from minibot.exchanges.base import (
    Diff,
    FrameInvalid,
    Ignored,
    Message,
    StreamedSnapshot,
    Trade,
    Trades,
)
from minibot.exchanges.kraken.messages import parse_frame
from minibot.exchanges.kraken.numbers import Places
from tests.exchanges.kraken.kraken_recordings import V2, v1_frames, v2_frames

UPDATE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[],'
    b'"asks":[{"price":63395.2,"qty":0.05500000}],"checksum":261162761}]}'
)


def test_numbers_keep_every_character() -> None:
    """Numbers keep trailing zeros, which count for the checksum."""
    found = parse_frame(UPDATE)

    assert found == Diff("BTC/USD", 0, 0, [], [["63395.2", "0.05500000"]], 261162761)


@pytest.mark.parametrize(
    ("places", "level"),
    [
        ({}, ["63395", "0.00000001"]),
        ({"BTC/USD": Places(1, 8)}, ["63395", "0.00000001"]),
        ({"BTC/USD": Places(1, 10)}, ["63395", "0.0000000100"]),
    ],
)
def test_number_with_an_exponent_is_written_out(
    places: dict[str, Places], level: list[str]
) -> None:
    """A number like 1e-08 is written out with the pair's places."""
    frame = UPDATE.replace(b"63395.2", b"63395").replace(b"0.05500000", b"1e-08")
    found = parse_frame(frame, places)

    assert isinstance(found, Diff)
    assert found.asks == [level]


@pytest.mark.row("F109")
@pytest.mark.parametrize(
    "bad",
    [
        b"1e999999999",
        b"1E-400",
        b"0e-9999999999999999",
        b"-1e-5",
        b"1" * 60 + b".0",
        b'"63395.2"',
        b"true",
        b"null",
        b"[]",
        b"NaN",
    ],
)
def test_number_that_is_none_or_a_trap_is_refused(bad: bytes) -> None:
    """Endless exponents, texts and booleans are refused as numbers."""
    with pytest.raises(FrameInvalid):
        parse_frame(UPDATE.replace(b"63395.2", bad))


@pytest.mark.row("F109")
@pytest.mark.parametrize(
    ("frame", "symbol", "is_readable"),
    [
        (UPDATE.replace(b"261162761", b"-1"), "BTC/USD", True),
        (UPDATE.replace(b"261162761", b"4294967296"), "BTC/USD", True),
        (UPDATE.replace(b',"checksum":261162761', b""), "BTC/USD", True),
        (UPDATE.replace(b'"update"', b'"news"'), "BTC/USD", True),
        (UPDATE.replace(b'"bids":[]', b'"bids":{}'), "BTC/USD", True),
        (UPDATE.replace(b'"price"', b'"prize"'), "BTC/USD", True),
        (UPDATE.replace(b'"BTC/USD"', b"7"), "", True),
        (UPDATE.replace(b'"data":[{', b'"data":[{},{'), "", True),
        (UPDATE[:-5], "", False),
        (b"\xff\xfe{}", "", False),
        (b"[" * 100_000, "", False),
        (b"7", "", True),
        (b'{"hello":1}', "", True),
        (b'[1,{"a":[],"c":"x"},"book-1000","XBT/CHF"]', "XBT/CHF", True),
        (b'[1,{"a":[]},"book-1000","XBT/CHF"]', "XBT/CHF", True),
        (b'[1,{"a":[["1.0","1.0"]],"c":"1"},"book-1000","XBT/CHF"]', "XBT/CHF", True),
        (b'[1,{"a":[],"c":"1"},{"a":[]},"book-10","XBT/CHF"]', "XBT/CHF", True),
    ],
)
def test_broken_frame_says_whose_book_it_was(frame: bytes, symbol: str, is_readable: bool) -> None:
    """A broken frame names its book if it could be read, else any book may be affected."""
    with pytest.raises(FrameInvalid) as caught:
        parse_frame(frame)

    assert (caught.value.symbol, caught.value.is_readable) == (symbol, is_readable)


def test_both_parts_of_a_version_1_frame_make_one_update() -> None:
    """Asks and bids of a version 1 frame make one update; "r" repeats a level."""
    frame = (
        b'[7,{"a":[["101.0","1.5","1.1"]]},{"b":[["99.0","0.0","1.2","r"]],"c":"0123"},'
        b'"book-25","XBT/USD"]'
    )

    assert parse_frame(frame) == Diff("XBT/USD", 0, 0, [["99.0", "0.0"]], [["101.0", "1.5"]], 123)


def test_recordings_hold_nothing_that_is_not_understood(shared_data: Path) -> None:
    """Every recorded frame of both versions is understood or known as unused."""
    frames = [frame.data for name in V2 for frame in v2_frames(shared_data, name)]
    frames += [frame.data for frame in v1_frames(shared_data)]
    messages = [parse_frame(data) for data in frames]

    assert all(isinstance(each, Diff | StreamedSnapshot | Ignored) for each in messages)
    used = [each for each in messages if not isinstance(each, Ignored)]
    assert len(used) == 2052 + 301 + 4269 + 10


def test_refusal_of_the_venue_is_told_in_its_words() -> None:
    """The venue's refusal of a symbol is reported in its words."""
    frame = {"error": "Currency pair not supported XBT/USD", "method": "subscribe"}

    found = parse_frame(orjson.dumps({**frame, "success": False, "symbol": "XBT/USD"}))
    assert isinstance(found, Ignored)
    assert "Currency pair not supported" in found.detail


TRADES = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":105944.2,'
    b'"qty":0.00027625,"ord_type":"limit","trade_id":7,"timestamp":"2023-10-06T17:35:55.440295Z"},'
    b'{"symbol":"BTC/USD","side":"sell","price":105910.5,"qty":1e-04,"ord_type":"market",'
    b'"trade_id":8,"timestamp":"2023-10-06T17:35:56Z"}]}'
)


@pytest.mark.row("C-82")
def test_frame_of_trades_is_all_of_them() -> None:
    """All trades of a frame are read, with id, taker's side and milliseconds."""
    bought, sold = 105944_20000000, 105910_50000000

    assert parse_frame(TRADES) == Trades(
        (
            Trade("BTC/USD", 7, "105944.2", bought, "0.00027625", 27625, 1696613755440, BUY),
            Trade("BTC/USD", 8, "105910.5", sold, "0.0001", 10000, 1696613756000, SELL),
        )
    )


def test_trades_from_before_the_subscription_are_history() -> None:
    """Trades before the subscription are ignored as history."""
    assert isinstance(parse_frame(TRADES.replace(b'"update"', b'"snapshot"')), Ignored)


@pytest.mark.row("F114")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"105944.2", b"0.0"),
        (b"105944.2", b"-1.5"),
        (b"105944.2", b'"105944.2"'),
        (b"0.00027625", b"0.000000001"),
        (b'"buy"', b'"bid"'),
        (b":7,", b":-7,"),
        (b":7,", b":7.0,"),
        (b"T17:35:55.440295Z", b"T17:35:61Z"),
        (b"2023-10-06T17:35:55.440295Z", b"yesterday"),
        (b'"qty"', b'"size"'),
        (b'"data":[', b'"data":[7,'),
    ],
)
def test_trade_that_makes_no_sense_is_refused_and_is_no_update_of_a_book(
    right: bytes, wrong: bytes
) -> None:
    """A senseless trade is refused without dropping a book."""
    with pytest.raises(FrameInvalid) as caught:
        parse_frame(TRADES.replace(right, wrong, 1))

    assert not caught.value.may_be_diff
    assert caught.value.is_readable


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80) | st.integers(0, len(UPDATE) - 1).map(lambda at: UPDATE[:at]))
def test_any_bytes_give_a_message_or_a_refusal(data: bytes) -> None:
    """No input ends the reader with anything else."""
    try:
        message = parse_frame(data)
    except FrameInvalid:
        return

    assert isinstance(message, Message)
