"""Control messages of a stream connection: subscribe, unsubscribe, list, properties.

Pure: a message and the connection's subscriptions go in, a reply comes out. Errors have both forms
seen at the venue: flat ones as documented, nested ones for a bad stream or bad JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

STREAMS_MAX: Final = 1024
_STREAM: Final = re.compile(r"^!?[\w\-.]+@[\w@+:\-]+\Z|^![\w@]+\Z")
_METHODS: Final = (
    *("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"),
)
_TEXT_ID: Final = re.compile(r"^[0-9A-Za-z_\-]{1,36}\Z")


@dataclass(slots=True)
class Subscriptions:
    """Subscriptions of one connection, in order, and whether payloads are wrapped."""

    is_combined: bool
    streams: dict[str, None] = field(default_factory=dict)


def is_stream(name: Any) -> bool:
    """Return whether this is a well-formed stream name; its symbol need not exist."""
    return isinstance(name, str) and len(name) <= 100 and _STREAM.match(name) is not None


SHAPES: Final = ("seen", "flat", "nested")
"""Shapes of errors: as seen at the venue, which mixes them, or all of one kind."""


def answer(held: Subscriptions, text: str | bytes, shape: str = "seen") -> dict[str, Any]:
    """Apply one control message to the subscriptions, and return the reply.

    A refused message changes nothing.

    Args:
        held: Subscriptions of the connection; changed.
        text: The message as it came.
        shape: One of `SHAPES`, for the errors.
    """
    reply = _answer(held, text)
    if shape == "flat" and "error" in reply:
        return {**reply["error"], "id": reply["id"]}
    if shape == "nested" and "code" in reply:
        return {"error": {"code": reply["code"], "msg": reply["msg"]}, "id": reply["id"]}
    return reply


def _answer(held: Subscriptions, text: str | bytes) -> dict[str, Any]:
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        return {"code": 3, "msg": f"Invalid JSON: expected value at {at}", "id": None}
    if not isinstance(message, dict):
        return _flat(2, "Invalid request: expected a JSON object", None)
    identity = message.get("id")
    if not _is_id(identity):
        return _flat(2, "Invalid request: request ID must be an unsigned integer", None)
    method = message.get("method")
    if method is None:
        return _flat(2, "Invalid request: missing field `method`", identity)
    if method not in _METHODS:
        known = ", ".join(f"`{name}`" for name in _METHODS)
        text = f"Invalid request: unknown variant {method}, expected one of {known}"
        return _flat(2, text, identity)
    parameters = message.get("params", [])
    if not isinstance(parameters, list):
        return _flat(2, "Invalid request: invalid type of `params`, expected a sequence", identity)
    if method == "LIST_SUBSCRIPTIONS":
        return {"result": list(held.streams), "id": identity}
    if method.endswith("PROPERTY"):
        return _property(held, method, parameters, identity)
    return _change(held, method, parameters, identity)


def _change(held: Subscriptions, method: str, names: list[Any], identity: Any) -> dict[str, Any]:
    if not all(is_stream(name) for name in names):
        return _nested(2, "Invalid request: invalid stream", identity)
    if method == "UNSUBSCRIBE":
        for name in names:
            held.streams.pop(name, None)
        return {"result": None, "id": identity}
    if len(held.streams.keys() | set(names)) > STREAMS_MAX:
        text = f"Invalid request: at most {STREAMS_MAX} streams on a connection"
        return _nested(2, text, identity)
    held.streams.update(dict.fromkeys(names))
    return {"result": None, "id": identity}


def _property(
    held: Subscriptions, method: str, parameters: list[Any], identity: Any
) -> dict[str, Any]:
    expected = 2 if method == "SET_PROPERTY" else 1
    if len(parameters) > expected:
        return _flat(2, "Invalid request: too many parameters", identity)
    if not parameters or not isinstance(parameters[0], str):
        return _flat(2, "Invalid request: property name must be a string", identity)
    if parameters[0] != "combined":
        return _flat(0, "Unknown property", identity)
    if method == "GET_PROPERTY":
        return {"result": held.is_combined, "id": identity}
    if len(parameters) < expected or not isinstance(parameters[1], bool):
        return _flat(1, "Invalid value type: expected Boolean", identity)
    held.is_combined = parameters[1]
    return {"result": None, "id": identity}


def _is_id(value: Any) -> bool:
    """Return whether an id is taken: null, 1 to 36 of `0-9A-Za-z_-`, or 64 bits with a sign."""
    if value is None:
        return True
    if isinstance(value, str):
        return _TEXT_ID.match(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _flat(code: int, text: str, identity: Any) -> dict[str, Any]:
    return {"code": code, "msg": text, "id": identity}


def _nested(code: int, text: str, identity: Any) -> dict[str, Any]:
    return {"error": {"code": code, "msg": text}, "id": identity}
