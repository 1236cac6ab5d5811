"""Event codec: every refusal carries the reason code of the fault catalogue."""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from minibot.events.codec import Codec
from minibot.events.model import Book, Event, MarketTick, OrderIntent
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import ContractError

PROJECT = Path(__file__).resolve().parents[2]
RUN_ID = "20240808_235413"
HASH = "a" * 64
QUEUE = "market_ticks"

EVENT = Event(
    ts=1723161254087,
    id="0b1c2d3e-1111-4222-8333-0123456789ab",
    source="market_role",
    run_id=RUN_ID,
    cmdline_hash=HASH,
    payload=MarketTick(
        symbol="BTCUSDT",
        price="61837.63000000",
        kind="quote",
        bid="61837.63000000",
        bid_qty="3.78826000",
        ask="61837.64000000",
        ask_qty="1.54698000",
        recv_mono_ns=1723161254087891268,
    ),
)


@pytest.fixture(scope="module")
def codec() -> Codec:
    contracts = Contracts.of_project()
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    hashes = {"market_role": {HASH}, "risk_role": {"b" * 64}}
    return Codec(contracts, roles, RUN_ID, hashes, component="strategy_role")


def code_of_reading(codec: Codec, line: bytes, queue: str = QUEUE) -> str:
    with pytest.raises(ContractError) as stop:
        codec.decode(queue, line)
    assert stop.value.component == "strategy_role"
    assert stop.value.detail.startswith(queue)
    return stop.value.reason_code


def test_codec_reads_back_what_it_wrote(codec: Codec) -> None:
    """A written event is canonical JSON and reads back equal."""
    line = codec.encode(QUEUE, EVENT)

    assert line == canonical.encode(EVENT.to_json())
    assert codec.decode(QUEUE, line) == EVENT


CHANGES = [
    pytest.param("v", 2, "SCHEMA_VERSION", id="F93-v"),
    pytest.param("schema", "minibot.signal", "SCHEMA_VERSION", id="F93-schema"),
    pytest.param("type", "rumour", "TYPE_UNKNOWN", id="F94"),
    pytest.param("type", 1, "SCHEMA_INVALID", id="F91-type"),
    pytest.param("type", None, "SCHEMA_INVALID", id="F91-no-type"),
    pytest.param("source", "strategy_role", "SOURCE_FORBIDDEN", id="F95"),
    pytest.param("source", "nobody", "SOURCE_FORBIDDEN", id="F95-nobody"),
    pytest.param("run_id", "20240808_235414", "RUN_ID_MISMATCH", id="F96-other"),
    pytest.param("run_id", "yesterday", "RUN_ID_MISMATCH", id="F96-format"),
    pytest.param("cmdline_hash", "A" * 64, "CMDLINE_HASH_INVALID", id="F97-case"),
    pytest.param("cmdline_hash", None, "CMDLINE_HASH_INVALID", id="F97-missing"),
    pytest.param("cmdline_hash", "b" * 64, "CMDLINE_HASH_MISMATCH", id="F97-other-role"),
    pytest.param("id", "0b1c2d3e-1111-1222-8333-0123456789ab", "SCHEMA_INVALID", id="F99"),
    pytest.param("ts", -1, "SCHEMA_INVALID", id="F91-ts"),
    pytest.param("note", "x", "SCHEMA_INVALID", id="F91-extra"),
    pytest.param("payload", None, "SCHEMA_INVALID", id="F92-missing"),
]


@pytest.mark.row(
    "N-26", "N-42", "N-87", "F91", "F92", "F93", "F94", "F95", "F96", "F97", "F99", "N-29", "N-81"
)
@pytest.mark.parametrize(("name", "value", "code"), CHANGES)
def test_codec_refuses_a_changed_envelope_with_its_code(
    name: str, value: Any, code: str, codec: Codec
) -> None:
    """Each wrong or missing field of an envelope gives the catalogue's STOP."""
    envelope = EVENT.to_json()
    envelope[name] = value
    if value is None:
        del envelope[name]

    assert code_of_reading(codec, canonical.encode(envelope)) == code


LINE = canonical.encode(EVENT.to_json())


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("v", 2, "SCHEMA_VERSION"),
        ("schema", "minibot.signal", "SCHEMA_VERSION"),
        ("run_id", "yesterday", "RUN_ID_MISMATCH"),
    ],
)
def test_codec_keeps_the_code_of_an_envelope_beside_many_faults_of_its_payload(
    name: str, value: Any, code: str, codec: Codec
) -> None:
    """Thirty levels of another form do not hide that the event is one of another build."""
    book = Book(symbol="BTCUSDT", bids=(("x", "y"),) * 30, asks=(), last_update_id=1, why="resync")
    envelope = replace(EVENT, payload=book).to_json() | {name: value}

    assert code_of_reading(codec, canonical.encode(envelope)) == code


@pytest.mark.row("F85", "F86", "F87", "F88", "F90")
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(LINE.replace(b'"v":1', b'"v": 1'), id="F90-blank"),
        pytest.param(LINE.replace(b'"v":1', b'"v":1.0'), id="F89-float"),
        pytest.param(LINE.replace(b'"v":1', b'"v":1,"v":1'), id="F87-duplicate"),
        pytest.param(LINE.replace(b'"quote"', b'"q\\u0075ote"'), id="F90-escape"),
        pytest.param(LINE[:-1], id="cut"),
        pytest.param(LINE + b"\n", id="newline"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xef\xbb\xbf" + LINE, id="F85-bom"),
        pytest.param(LINE.replace(b"BTC", b"B\xffC"), id="F85-utf8"),
        pytest.param(LINE.replace(b'"v":1', b'"v":NaN'), id="F86-nan"),
        pytest.param(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", id="F88-deep"),
    ],
)
def test_codec_refuses_json_that_is_not_canonical(line: bytes, codec: Codec) -> None:
    """JSON that is not canonical is refused, even where a lenient parser would accept it."""
    assert code_of_reading(codec, line) == "SCHEMA_INVALID"


NO_PRICES = {
    "2^53+1": b"9007199254740993",
    "2^64": b"18446744073709551616",
    "5,000 digits": b"9" * 5_000,
    "0.1+0.2": b"0.30000000000000004",
    "5,000 digits in a text": b'"' + b"9" * 5_000 + b'"',
    "an exponent in a text": b'"1e3"',
}


@pytest.mark.row("F89")
@pytest.mark.fault("F89", by="a price as a number, or as no decimal text", ends="REJECT")
@pytest.mark.parametrize("number", NO_PRICES.values(), ids=NO_PRICES)
@pytest.mark.parametrize("name", ["price", "bid_qty"])
def test_codec_refuses_prices_that_are_no_decimal_text(
    name: str, number: bytes, codec: Codec
) -> None:
    """A price that is no decimal text, or longer than its contract, is refused."""
    text = getattr(EVENT.payload, name)
    line = LINE.replace(f'"{name}":"{text}"'.encode(), f'"{name}":'.encode() + number)

    assert line != LINE
    assert code_of_reading(codec, line) == "SCHEMA_INVALID"


@pytest.mark.row("F89")
@pytest.mark.fault("F89", by="a time or an id beyond 64 bits", ends="REJECT")
@pytest.mark.parametrize("number", [b"9007199254740993", b"18446744073709551616", b"9" * 5_000])
def test_codec_refuses_times_beyond_their_contract(number: bytes, codec: Codec) -> None:
    """A time of 2^64 is refused, because `orjson` would turn it into a float."""
    line = LINE.replace(b'"ts":1723161254087', b'"ts":' + number)

    assert line != LINE
    assert code_of_reading(codec, line) == "SCHEMA_INVALID"


def test_codec_refuses_an_event_in_a_queue_that_is_not_its_writers(codec: Codec) -> None:
    """An event in another queue than its writer's is refused."""
    assert code_of_reading(codec, LINE, queue="signals") == "SOURCE_FORBIDDEN"


@pytest.mark.row("N-27")
def test_codec_writes_no_event_that_breaks_its_contract(codec: Codec) -> None:
    """The codec writes no event with a bad value, a foreign queue or a foreign run."""
    bad_price = deepcopy(EVENT.to_json())
    bad_price["payload"]["price"] = "1.0\n"
    cases = [
        (QUEUE, Event.from_json(bad_price), "SCHEMA_INVALID"),
        ("signals", EVENT, "SOURCE_FORBIDDEN"),
        (
            QUEUE,
            Event.from_json({**EVENT.to_json(), "run_id": "20240101_000000"}),
            "RUN_ID_MISMATCH",
        ),
    ]
    for queue, event, code in cases:
        with pytest.raises(ContractError) as stop:
            codec.encode(queue, event)
        assert stop.value.reason_code == code


@pytest.mark.parametrize("value", [5.0, b"x", "\ud800", 2**64, {1: 2}])
def test_codec_writes_no_value_that_canonical_json_lacks(value: Any, codec: Codec) -> None:
    """A value without canonical JSON is never written, even where the schema is open."""
    event = Event.from_json(EVENT.to_json())
    payload = replace(cast(MarketTick, event.payload), exchange_ts=value, symbol="BTCUSDT")
    with pytest.raises(ContractError) as stop:
        codec.encode(QUEUE, replace(event, payload=payload))

    assert stop.value.reason_code == "SCHEMA_INVALID"


@pytest.mark.row("F89")
@pytest.mark.parametrize("value", [Decimal("1.5"), b"1.5", bytearray(b"MQ"), 5, ["1"]])
@pytest.mark.parametrize("name", ["price", "bid_qty"])
def test_codec_writes_no_price_that_is_no_text(name: str, value: Any, codec: Codec) -> None:
    """A price of another type than text is refused, alone, among others and without an event."""
    payload = replace(cast(MarketTick, EVENT.payload), **{name: value})
    odd = replace(EVENT, payload=payload)
    for write in (lambda: codec.encode(QUEUE, odd), lambda: codec.encode_all(QUEUE, [EVENT, odd])):
        with pytest.raises(ContractError) as stop:
            write()
        assert stop.value.reason_code == "SCHEMA_INVALID"

    ids = [EVENT.id.encode()]
    assert codec.encode_roots(QUEUE, EVENT.source, HASH, ids, [(payload, EVENT.ts)]) is None


@pytest.mark.row("N-04", "N-46")
def test_codec_reads_no_order_from_anybody_but_risk(codec: Codec) -> None:
    """An order intent of another source than risk is forbidden, despite a valid schema."""
    intent = OrderIntent(
        symbol="BTCUSDT",
        side="BUY",
        qty="0.02",
        order_type="MARKET",
        client_order_id="0b1c2d3e-1111-4222-8333-0123456789ab",
        purpose="ENTRY",
    )
    forged = Event(EVENT.ts, EVENT.id, "market_role", RUN_ID, HASH, intent)
    line = canonical.encode(forged.to_json())

    assert code_of_reading(codec, line, queue="order_intents") == "SOURCE_FORBIDDEN"


def test_codec_detail_names_the_field_and_stays_on_one_bounded_line(codec: Codec) -> None:
    """A refusal's detail names the field on one bounded line without control characters."""
    envelope = json.loads(LINE)
    hostile = "\x1b[31m\n" + "9" * 100_000
    envelope["payload"].update(dict.fromkeys(("price", "bid", "ask", "bid_qty", "kind"), hostile))
    with pytest.raises(ContractError) as stop:
        codec.decode(QUEUE, canonical.encode(envelope))

    assert "$.payload.bid" in stop.value.detail
    assert len(stop.value.detail) <= 2100
    assert stop.value.detail.isprintable()
