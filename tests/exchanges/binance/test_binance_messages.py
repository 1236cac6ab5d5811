"""Frames of Binance: understood, refused, ignored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.exchanges.base import (
    EDGES,
    Diff,
    FrameInvalid,
    Ignored,
    Message,
    Quote,
    Shutdown,
    Trade,
)
from minibot.exchanges.binance.messages import parse_candles, parse_frame, parse_snapshot
from minibot.exchanges.binance.mini_tickers import parse_mini_tickers
from minibot.exchanges.binance.streams import reply_of

# The time of an example depends on the machine, not on the product.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TRADE: dict[str, Any] = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
    "M": True,
}
QUOTE: dict[str, Any] = {
    "u": 400900217,
    "s": "BNBUSDT",
    "b": "25.35190000",
    "B": "31.21000000",
    "a": "25.36520000",
    "A": "40.66000000",
}
DIFF: dict[str, Any] = {
    "e": "depthUpdate",
    "E": 1672515782136,
    "s": "BNBBTC",
    "U": 157,
    "u": 160,
    "b": [["0.0024", "10"]],
    "a": [["0.0026", "100"]],
}


def frame(payload: dict[str, Any]) -> bytes:
    return json.dumps({"stream": "x@y", "data": payload}).encode()


def test_trade_wrapped_or_raw_is_the_same_trade() -> None:
    """A trade means the same with and without the combined-stream wrapper."""
    wrapped, raw = parse_frame(frame(TRADE)), parse_frame(json.dumps(TRADE).encode())

    assert wrapped == raw
    assert isinstance(wrapped, Trade)
    assert wrapped.price == "61837.63000000"
    assert wrapped.price_units == 6_183_763_000_000
    assert wrapped.qty_units == 2_000_000


@pytest.mark.parametrize(("maker_buys", "taker"), [(True, "SELL"), (False, "BUY")])
def test_trade_side_is_the_takers(maker_buys: bool, taker: str) -> None:
    """A trade with `m` had a resting buyer, so its taker sold."""
    message = parse_frame(frame({**TRADE, "m": maker_buys}))

    assert isinstance(message, Trade)
    assert message.taker_side == taker


def test_quote_without_event_type_is_recognised() -> None:
    """A bookTicker is recognised without event type and time."""
    message = parse_frame(frame(QUOTE))

    assert isinstance(message, Quote)
    assert (message.bid, message.ask, message.exchange_ts) == ("25.35190000", "25.36520000", None)


def test_diff_keeps_levels_as_written() -> None:
    """Levels reach the book exactly as written by the venue."""
    message = parse_frame(frame(DIFF))

    assert isinstance(message, Diff)
    assert (message.first_id, message.last_id, message.bids) == (157, 160, [["0.0024", "10"]])


def test_unknown_and_former_fields_are_ignored() -> None:
    """Unknown and dropped fields do not break the parser."""
    former = {**TRADE, "b": 7038593583, "a": 7038593613, "new": {"deep": [1]}}

    assert parse_frame(frame(former)) == parse_frame(frame(TRADE))


def test_microseconds_are_told_by_magnitude() -> None:
    """A stream in microseconds gives the same milliseconds."""
    message = parse_frame(frame({**TRADE, "T": TRADE["T"] * 1000 + 999}))

    assert isinstance(message, Trade)
    assert message.trade_ts == TRADE["T"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}',
        b'{"e":"serverShutdown","E":1770123456789}',
    ],
)
def test_server_shutdown_is_recognised_in_both_forms(body: bytes) -> None:
    """A server shutdown is recognised, wrapped or raw, without subscription."""
    assert isinstance(parse_frame(body), Shutdown)


@pytest.mark.parametrize(
    "body",
    [
        b'{"result":null,"id":1}',
        b'{"result":["btcusdt@aggTrade"],"id":3}',
        b'{"error":{"code":2,"msg":"Invalid request: invalid stream"},"id":2}',
        b'{"id":null,"error":{"code":3,"msg":"Invalid json"}}',
        b'{"code":0,"msg":"Unknown property","id":5}',
        b'{"e":"kline","E":1,"s":"BTCUSDT","k":{}}',
        b'{"stream":"x","data":{"e":"somethingNew2027","z":1}}',
    ],
)
def test_answers_and_other_events_are_ignored(body: bytes) -> None:
    """Control answers in both error forms, and unused event types, are ignored."""
    assert isinstance(parse_frame(body), Ignored)


@pytest.mark.row("F114")
@pytest.mark.parametrize(
    "price", ["0.00000000", "0", "-1.00000000", "NaN", "", "Infinity", "1e5", " 1.0", "1_0.0", "٣"]
)
@pytest.mark.parametrize("field", ["p", "q"])
def test_trade_with_senseless_number_is_refused(field: str, price: str) -> None:
    """A trade with a number that is zero, negative, empty or no number is refused."""
    with pytest.raises(FrameInvalid):
        parse_frame(frame({**TRADE, field: price}))


@pytest.mark.parametrize(
    "changes",
    [
        {"p": 61837.63},
        {"p": None},
        {"t": "3735683259"},
        {"t": -1},
        {"t": True},
        {"T": None},
        {"m": 1},
        {"s": ""},
        {"s": 5},
    ],
)
def test_trade_with_wrong_type_is_refused(changes: dict[str, Any]) -> None:
    """A trade with a wrong type is refused: decimals are text, ids and times integers."""
    with pytest.raises(FrameInvalid):
        parse_frame(frame({**TRADE, **changes}))


@pytest.mark.row("F88")
@pytest.mark.parametrize("key", ["e", "s", "t", "p", "T", "m", "error"])
def test_value_as_deep_as_the_parser_takes_it_is_refused(key: str) -> None:
    """A list in a list, a thousand times, makes no text for a message, and no crash."""
    data = frame({**TRADE, key: "DEEP"} if key in TRADE else {key: {"msg": "DEEP"}})
    deep = data.replace(b'"DEEP"', b"[" * 1000 + b"]" * 1000)

    with pytest.raises(FrameInvalid):
        parse_frame(deep)


@pytest.mark.row("F88")
def test_ticker_as_deep_as_the_parser_takes_it_is_refused() -> None:
    """A mini ticker whose time is a list in a list, a thousand times, is refused."""
    row = b'[{"e":"24hrMiniTicker","s":"BTCUSDT","c":"1","E":%b}]' % (b"[" * 1000 + b"]" * 1000)

    with pytest.raises(FrameInvalid):
        parse_mini_tickers(row)


@pytest.mark.row("F88")
@pytest.mark.parametrize("key", ["code", "msg"])
def test_answer_as_deep_as_the_parser_takes_it_is_none(key: str) -> None:
    """A frame of an unused kind that has a deep error too is no answer, and no crash."""
    deep = b"[" * 1000 + b"]" * 1000
    data = b'{"e":"somethingNew","id":1,"error":{"%b":%b}}' % (key.encode(), deep)

    assert isinstance(parse_frame(data), Ignored)
    assert reply_of(data) is None


@pytest.mark.row("F115")
@pytest.mark.parametrize("ask", ["25.35190000", "25.00000000"])
def test_quote_locked_or_crossed_is_refused(ask: str) -> None:
    """A quote whose bid is not below its ask is refused."""
    with pytest.raises(FrameInvalid):
        parse_frame(frame({**QUOTE, "a": ask}))


@pytest.mark.row("F109")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"stream":"btcusdt@trade","data":{"e":"tra',
        b'{"s":"\xff\xfe"}',
        b"[" * 3000,
    ],
)
def test_frame_that_is_no_json_is_unreadable(body: bytes) -> None:
    """Broken text is distinguished from JSON without sense."""
    with pytest.raises(FrameInvalid) as refused:
        parse_frame(body)

    assert not refused.value.is_readable


@pytest.mark.row("F109")
@untimed
@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_refusal(body: bytes) -> None:
    """Any bytes give a message or a refusal, never another error."""
    try:
        message = parse_frame(body)
    except FrameInvalid:
        return

    assert isinstance(message, Message)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@pytest.mark.slow
@untimed
@given(
    st.sampled_from([TRADE, QUOTE, DIFF]),
    st.dictionaries(st.sampled_from(list("eEstpqTmbBaAuU")), json_values, max_size=4),
)
def test_any_field_replaced_gives_a_message_or_a_refusal(
    base: dict[str, Any], changes: dict[str, Any]
) -> None:
    """A real message with an arbitrary value in a field is understood or refused."""
    try:
        message = parse_frame(frame({**base, **changes}))
    except FrameInvalid:
        return

    assert isinstance(message, Message)


def test_every_frame_of_the_fixtures_is_understood(shared_data: Path) -> None:
    """Every frame of the client libraries' examples is understood or ignored."""
    folder = shared_data / "message-fixtures" / "binance" / "nautilus"

    trade = parse_frame((folder / "ws_spot_trade.json").read_bytes())
    quote = parse_frame((folder / "ws_spot_ticker_book.json").read_bytes())
    other = parse_frame((folder / "ws_spot_agg_trade.json").read_bytes())

    assert isinstance(trade, Trade)
    assert isinstance(quote, Quote)
    assert quote.exchange_ts == 1646199228121
    assert isinstance(other, Ignored)


def test_klines_of_the_fixtures_keep_their_characters(shared_data: Path) -> None:
    """Klines keep twelve elements, texts as texts, and the venue's own close time."""
    path = shared_data / "message-fixtures" / "binance" / "nautilus" / "crate_klines_response.json"

    (candle,) = parse_candles(json.loads(path.read_text()))

    assert candle.open == "0.01634790"
    assert candle.close_ts == 1499644799999
    assert (candle.trades, candle.taker_buy_volume) == (308, "1756.87402397")


@pytest.mark.parametrize(
    "row",
    [
        None,
        [1, "2"],
        [1499040000000, "2", "1", "1", "2", "1", 1499644799999, "2", 3, "1", "1", "0"],
        [1499040000000, "0", "1", "0", "1", "1", 1499644799999, "2", 3, "1", "1", "0"],
        [1499040000000, "1", "1", "1", "1", "-1", 1499644799999, "2", 3, "1", "1", "0"],
    ],
)
def test_kline_that_contradicts_itself_is_refused(row: object) -> None:
    """A kline whose high and low do not bracket its prices, or with zero prices, is refused."""
    with pytest.raises(FrameInvalid):
        parse_candles([row])


@pytest.mark.parametrize("edges", [None, [], ["1"], ["1", "x"], ["1", 2], ["0", None], "12a"])
def test_snapshot_whose_edges_are_none_is_refused(edges: object) -> None:
    """Edges are two prices, or nothing where a side is known to its end."""
    body = {"lastUpdateId": 1, "bids": [["5", "1"]], "asks": [["6", "1"]]}

    assert parse_snapshot({**body, EDGES: ["5", None]}, 100).edges == (5 * 10**8, None)
    with pytest.raises(FrameInvalid):
        parse_snapshot({**body, EDGES: edges}, 100)


@pytest.mark.parametrize("body", [None, [], {}, {"bids": [], "asks": []}, {"code": -1121}])
def test_snapshot_without_update_id_is_refused(body: object) -> None:
    """A snapshot without update id or side is refused."""
    with pytest.raises(FrameInvalid):
        parse_snapshot(body, 100)
