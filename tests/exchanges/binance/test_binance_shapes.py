"""Shapes of answers: every class of difference is reported with its place."""

from __future__ import annotations

from copy import deepcopy
from random import Random
from typing import Any, Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.binance import expected
from minibot.exchanges.binance.filters import parse_instrument
from minibot.exchanges.binance.limits import DEPTH, EXCHANGE_INFO, KLINES, TIME
from minibot.exchanges.binance.messages import parse_frame
from minibot.exchanges.binance.mini_tickers import parse_mini_tickers
from minibot.exchanges.shapes import (
    BOOL,
    DEC,
    INT,
    MISSING,
    RETYPED,
    TEXT,
    UNKNOWN,
    Difference,
    Tagged,
    differences,
)

SHAPE = {
    "id!": INT,
    "price!": DEC,
    "note?": TEXT,
    "is_on": BOOL,
    "levels!": [(DEC, DEC)],
    "rules": [Tagged("kind", {"A": {"low!": DEC}, "B": {"most": INT}})],
}
GOOD: dict[str, Any] = {
    "id": 1,
    "price": "1.50",
    "is_on": True,
    "levels": [["1.0", "2.0"], ["1.1", "0"]],
    "rules": [{"kind": "A", "low": "1"}, {"kind": "B", "most": 3}],
}


def told(value: Any, shape: Any = SHAPE) -> list[Difference]:
    return list(differences(shape, value))


def test_good_answer_has_no_difference() -> None:
    """A documented answer has no difference, with or without its optional field."""
    assert told(GOOD) == []
    assert told({**GOOD, "note": "x"}) == []


@pytest.mark.parametrize(
    ("change", "kind", "path", "hinders"),
    [
        ({"id": None}, RETYPED, "id", True),
        ({"id": "1"}, RETYPED, "id", True),
        ({"id": True}, RETYPED, "id", True),
        ({"price": 1.5}, RETYPED, "price", True),
        ({"price": "abc"}, RETYPED, "price", True),
        ({"price": "1e5"}, RETYPED, "price", True),
        ({"is_on": 1}, RETYPED, "is_on", False),
        ({"note": 7}, RETYPED, "note", False),
        ({"new": 1}, UNKNOWN, "new", False),
        ({"levels": {}}, RETYPED, "levels", True),
        ({"levels": [["1.0"]]}, MISSING, "levels[][1]", True),
        ({"levels": [["1.0", "2.0", "3"]]}, UNKNOWN, "levels[][2]", False),
        ({"levels": [["1.0", 2]]}, RETYPED, "levels[][1]", True),
        ({"rules": [{"kind": "C"}]}, UNKNOWN, "rules[][C]", False),
        ({"rules": [{"low": "1"}]}, MISSING, "rules[].kind", False),
        ({"rules": [{"kind": "A"}]}, MISSING, "rules[A].low", False),
    ],
)
def test_each_class_of_difference_is_told_with_its_place(
    change: dict[str, Any], kind: str, path: str, hinders: bool
) -> None:
    """One change gives one difference, and says whether minibot reads the wrong part."""
    (found,) = told({**GOOD, **change})

    assert (found.kind, found.path, found.hinders) == (kind, path, hinders)


@pytest.mark.parametrize("name", ["id", "price", "is_on", "levels", "rules"])
def test_field_that_is_missing_is_told(name: str) -> None:
    """Each missing field that is not optional is reported."""
    (found,) = told({key: value for key, value in GOOD.items() if key != name})

    assert (found.kind, found.path) == (MISSING, name)


def test_hostile_names_and_values_are_bounded_and_harmless_on_a_terminal() -> None:
    """Hostile names and values are shortened and harmless on a terminal."""
    (found,) = told({**GOOD, "\x1b[2J" * 40: "\x1b]0;x\x07" * 100})

    assert len(found.path) <= 60
    assert len(found.found) <= 60
    assert found.path.isprintable()
    assert found.found.isprintable()


REAL: dict[str, Any] = {
    TIME: {"serverTime": 1},
    DEPTH: {"lastUpdateId": 1, "bids": [["1", "2"]], "asks": [["2", "2"]]},
    KLINES: [[1, "1", "1", "1", "1", "1", 2, "1", 3, "1", "1", "0"]],
    EXCHANGE_INFO: {
        "timezone": "UTC",
        "serverTime": 1,
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": 6000,
            }
        ],
        "exchangeFilters": [],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "status": "TRADING",
                "baseAsset": "BTC",
                "baseAssetPrecision": 8,
                "quoteAsset": "USDT",
                "quotePrecision": 8,
                "quoteAssetPrecision": 8,
                "baseCommissionPrecision": 8,
                "quoteCommissionPrecision": 8,
                "orderTypes": ["LIMIT"],
                "icebergAllowed": True,
                "ocoAllowed": True,
                "otoAllowed": True,
                "opoAllowed": True,
                "quoteOrderQtyMarketAllowed": True,
                "allowTrailingStop": True,
                "cancelReplaceAllowed": True,
                "amendAllowed": True,
                "pegInstructionsAllowed": True,
                "isSpotTradingAllowed": True,
                "isMarginTradingAllowed": True,
                "filters": [
                    {
                        "filterType": "PRICE_FILTER",
                        "minPrice": "0.01",
                        "maxPrice": "1000000",
                        "tickSize": "0.01",
                    }
                ],
                "permissions": [],
                "permissionSets": [["SPOT"]],
                "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
                "allowedSelfTradePreventionModes": ["EXPIRE_TAKER"],
            }
        ],
    },
}


def objects(value: Any) -> list[dict[str, Any]]:
    """All objects with fields inside a value."""
    if isinstance(value, list):
        return [found for item in value for found in objects(item)]
    if not isinstance(value, dict):
        return []
    inner = [found for item in value.values() for found in objects(item)]
    return [value, *inner] if value else inner


@given(
    st.sampled_from([TIME, DEPTH, EXCHANGE_INFO]),
    st.sampled_from(["add", "remove", "retype"]),
    st.integers(0, 10**9),
)
def test_any_change_to_a_documented_answer_is_told(path: str, change: str, seed: int) -> None:
    """A field added, removed or retyped anywhere is reported."""
    random = Random(seed)
    body = deepcopy(REAL[path])
    assert told(body, expected.ENDPOINTS[path]) == []
    chosen = random.choice(objects(body))
    name = random.choice(sorted(chosen))
    if change == "add":
        chosen[f"{name}New"] = chosen[name]
    elif change == "remove":
        del chosen[name]
    else:
        chosen[name] = 1.5  # No documented field is a number with a decimal point.

    found = told(body, expected.ENDPOINTS[path])

    wanted = {"add": UNKNOWN, "remove": MISSING, "retype": RETYPED}[change]
    assert wanted in [one.kind for one in found] or (
        name in ("filterType", "rateLimitType") and MISSING in [one.kind for one in found]
    )


def test_row_of_a_kline_is_judged_element_by_element() -> None:
    """A kline's twelve elements are judged by type, one by one."""
    shape = expected.ENDPOINTS[KLINES]
    row = REAL[KLINES][0]

    assert told([row], shape) == []
    assert [one.path for one in told([row[:11]], shape)] == ["[][11]"]
    assert [one.kind for one in told([[*row, "x"]], shape)] == [UNKNOWN]
    assert [one.path for one in told([[row[0], 1, *row[2:]]], shape)] == ["[][1]"]


GOOD_OF: Final = {DEC: "1", INT: 1, BOOL: True}
FIELDS: Final = [(kind, name) for kind, shape in expected.FILTERS.shapes.items() for name in shape]


@pytest.mark.parametrize(("kind", "written"), FIELDS)
def test_field_of_a_filter_that_the_parser_refuses_is_never_called_harmless(
    kind: str, written: str
) -> None:
    """A field whose other type makes rules unusable is marked as read."""
    name = written.rstrip("!?")
    filters = [
        {
            "filterType": each,
            **{field.rstrip("!?"): GOOD_OF[of] for field, of in shape.items()},
        }
        for each, shape in expected.FILTERS.shapes.items()
    ]
    info = {**REAL[EXCHANGE_INFO]["symbols"][0], "filters": filters}
    parse_instrument(info)
    next(item for item in filters if item["filterType"] == kind)[name] = []

    try:
        parse_instrument(info)
    except FrameInvalid:
        assert written.endswith("!")


MINI: Final = "!miniTicker@arr"
EVENT_OF: Final = {"trade": "trade", "depth@100ms": "depthUpdate", MINI: "24hrMiniTicker"}
PAYLOADS: Final[dict[str, dict[str, Any]]] = {
    **{kind: expected.STREAMS[kind] for kind in ("trade", "bookTicker", "depth@100ms")},
    MINI: expected.MARKET_STREAMS[MINI][0],
}
STREAM_FIELDS: Final = [(kind, name) for kind, shape in PAYLOADS.items() for name in shape]


def read_as_a_night_does(kind: str, payload: dict[str, Any]) -> None:
    """Pass the payload of a stream to the parser that a night has for it."""
    if kind == MINI:
        parse_mini_tickers(orjson.dumps([payload]))
    else:
        parse_frame(orjson.dumps(payload))


@pytest.mark.parametrize(("kind", "written"), STREAM_FIELDS)
def test_field_of_a_stream_that_its_parser_refuses_is_never_called_harmless(
    kind: str, written: str
) -> None:
    """A field without which a night refuses the frame is marked as read."""
    good: dict[str, Any] = {DEC: "1", INT: 1, BOOL: True, TEXT: "BTCUSDT"}
    payload = {
        name.rstrip("!?"): good[of] if isinstance(of, str) else []
        for name, of in PAYLOADS[kind].items()
    }
    payload |= {"e": EVENT_OF[kind]} if kind in EVENT_OF else {"a": "2"}
    read_as_a_night_does(kind, payload)
    payload[written.rstrip("!?")] = 1.5

    try:
        read_as_a_night_does(kind, payload)
    except FrameInvalid:
        assert written.endswith("!")
