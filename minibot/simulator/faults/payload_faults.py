"""Payload faults: a field of an endpoint or a stream added, removed, or of another type.

A field is named by its path from the top, with dots: `symbols.status`, `k.x`, `bids`. Every element
of a list is changed alike; a number selects one place of a list, as klines need.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from minibot.simulator.faults.script import FaultUnknown
from minibot.simulator.venue.ticker_payloads import OF_ALL, OF_SYMBOL

KINDS: Final = ("field_added", "field_removed", "field_retyped", "stream_silent", "kline_unclosed")
"""Names of these faults."""

TYPES: Final = ("string", "number", "integer", "boolean", "null", "object", "list")
"""Types that a field may get; without a word a text becomes a number and all else a text."""

EVERYTHING: Final = "*"
STREAM_KINDS: Final = (
    *("trade", "bookTicker", "aggTrade", "kline", "depth", "depth5", "depth10", "depth20"),
    *OF_SYMBOL,
)
"""Kinds of streams that a fault may name, as `kind_of_stream` returns them."""
_USUAL: Final = {"kline_unclosed": "kline", "stream_silent": EVERYTHING}


@dataclass(slots=True)
class PayloadFault:
    """One payload fault, in force for some messages or until a moment of market pace.

    A message without the field counts too; one that is not JSON, or that another fault has
    swallowed, does not.
    """

    kind: str
    target: str  # An endpoint, a stream, or the kind of a stream.
    is_stream: bool
    path: tuple[str, ...]
    left: int
    until_ms: int
    value: Any = None
    to: str | None = None
    symbol: str | None = None


def change_of(kind: str, fields: Mapping[str, Any], left: int, until_ms: int) -> PayloadFault:
    """Return the change that a fault's fields describe.

    Raises:
        FaultUnknown: Not exactly one endpoint or stream is named, a symbol is named for an
            endpoint, the stream has no klines to leave open, or the field or type is missing.
    """
    is_stream = "endpoint" not in fields
    target = fields.get("stream" if is_stream else "endpoint", _USUAL.get(kind))
    if target is None or (not is_stream and "stream" in fields):
        raise FaultUnknown("endpoint or stream: expected one of them")
    if not is_stream and "symbol" in fields:
        raise FaultUnknown("symbol: expected with a stream alone, not with an endpoint")
    if kind == "kline_unclosed" and kind_of_stream(target) not in ("kline", EVERYTHING):
        raise FaultUnknown(f"stream: expected one of klines, found {target!r}")
    field = fields.get("field", "zz" if kind == "field_added" else None)
    if field is None and kind.startswith("field"):
        raise FaultUnknown("field: expected a name, with dots for inner fields")
    to = fields.get("to")
    if to is not None and to not in TYPES:
        raise FaultUnknown(f"to: expected one of {', '.join(TYPES)}, found {to!r}")
    return PayloadFault(
        *(kind, target, is_stream, tuple((field or "").split(".")), left, until_ms),
        value=fields.get("value", {"new": [1, "2"]}),
        to=to,
        symbol=fields.get("symbol"),
    )


class PayloadFaults:
    """Payload faults in force; false while there are none."""

    def __init__(self, pace_ms: Callable[[], int]) -> None:
        self._pace_ms = pace_ms
        self._held: list[PayloadFault] = []

    def __bool__(self) -> bool:
        return bool(self._held)

    def add(self, change: PayloadFault) -> None:
        """Add a fault."""
        self._held.append(change)

    def clear(self) -> None:
        """End all faults."""
        self._held = []

    def _due(self, *, is_stream: bool) -> list[PayloadFault]:
        pace_ms = self._pace_ms()
        self._held = [item for item in self._held if item.left > 0 and pace_ms < item.until_ms]
        return [item for item in self._held if item.is_stream is is_stream]

    def on_answer(self, endpoint: str, body: Any) -> Any:
        """Return an endpoint's answer, changed by the faults."""
        due = [item for item in self._due(is_stream=False) if item.target in (endpoint, EVERYTHING)]
        for item in due:
            body = _changed(_own(body), item)
            item.left -= 1
        return body

    def on_payload(self, stream: str, data: bytes) -> bytes | None:
        """Return a stream's payload, changed by the faults; None if it is not to be sent."""
        for item in self._due(is_stream=True):
            if not _is_meant(item, stream):
                continue
            if item.kind == "stream_silent":
                item.left -= 1
                return None
            try:
                payload = orjson.loads(data)
            except ValueError:
                return data  # Broken as recorded, for clients to refuse; the next one serves.
            if item.kind == "kline_unclosed":
                bar = payload.get("k") if isinstance(payload, dict) else None
                if isinstance(bar, dict) and bar.get("x") is True:
                    item.left -= 1
                    return None
                continue
            data = orjson.dumps(_changed(payload, item))
            item.left -= 1
        return data


def kind_of_stream(stream: str) -> str:
    """Return the kind in a stream's name: `kline` of `btcusdt@kline_1m`, `depth5`, `ticker_1h`."""
    kind = stream.split("@")[1] if "@" in stream else stream
    return "kline" if kind.startswith("kline_") else kind


def is_played(name: str, symbols: Collection[str]) -> bool:
    """Return whether a fault's stream is one that a client of these symbols may get."""
    symbol, at, _ = name.partition("@")
    if name in (EVERYTHING, *OF_ALL):
        return True
    is_here = not at or (symbol.upper() in symbols and symbol == symbol.lower())
    return is_here and kind_of_stream(name) in STREAM_KINDS


def _is_meant(item: PayloadFault, stream: str) -> bool:
    if item.symbol is not None and not stream.startswith(f"{item.symbol.lower()}@"):
        return False
    return item.target in (stream, kind_of_stream(stream), EVERYTHING)


def _own(body: Any) -> Any:
    """Return a copy that may be changed: parts of an answer belong to the venue."""
    return orjson.loads(orjson.dumps(body))


def _changed(body: Any, item: PayloadFault) -> Any:
    *way, name = item.path
    for holder in _holders(body, way):
        if isinstance(holder, list):
            _change_place(holder, name, item)
        elif item.kind == "field_added":
            holder[name] = item.value
        elif name in holder:
            if item.kind == "field_removed":
                del holder[name]
            else:
                holder[name] = _retyped(holder[name], item.to)
    return body


def _change_place(row: list[Any], place: str, item: PayloadFault) -> None:
    """Change one place of a list; an added place comes at the end."""
    if item.kind == "field_added":
        row.append(item.value)
    elif place.isdigit() and int(place) < len(row):
        if item.kind == "field_removed":
            del row[int(place)]
        else:
            row[int(place)] = _retyped(row[int(place)], item.to)


def _holders(body: Any, way: list[str]) -> list[Any]:
    """Return every object, or innermost list, at the end of a path."""
    if isinstance(body, list):
        if body and all(isinstance(element, dict | list) for element in body):
            if not (way and way[0].isdigit()):
                return [holder for element in body for holder in _holders(element, way)]
            place = int(way[0])
            return _holders(body[place], way[1:]) if place < len(body) else []
        return [body] if not way else []
    if not isinstance(body, dict):
        return []
    if not way:
        return [body]
    return _holders(body[way[0]], way[1:]) if way[0] in body else []


def _retyped(value: Any, to: str | None) -> Any:
    if to is None:
        to = "number" if isinstance(value, str) else "string"
    if to in ("number", "integer"):
        return _number(value, whole=to == "integer")
    made: dict[str, Any] = {
        "string": value if isinstance(value, str) else orjson.dumps(value).decode(),
        "boolean": bool(value),
        "null": None,
        "object": {"value": value},
        "list": [value],
    }
    return made[to]


def _number(value: Any, *, whole: bool) -> int | float:
    try:
        number = float(value)
        return int(number) if whole or number.is_integer() else number
    except (TypeError, ValueError, OverflowError):
        return 0
