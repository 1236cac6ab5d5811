"""State codec: any strategy's attributes as canonical JSON and back, without a `state` by hand.

Known kinds: None, bool, int, float, str, Decimal, Fraction, list, tuple, dict, deque, closed bars,
indicators of `minibot.features`, and dataclasses of the strategy's own file. Anything else is an
error that names the attribute: what cannot be kept would be lost in a restart, silently.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.features.lossless import float_from, float_text
from minibot.kernel.errors import RunStop
from minibot.strategies import allowed
from minibot.strategies.bars import ClosedBar
from minibot.strategies.declaration import Settings

INT_MAX: Final = 2**53 - 1
DEPTH_MAX: Final = 50
# Every indicator that a strategy may import; what has a state tells it and comes back from it.
FEATURES: Final[dict[str, Any]] = {
    name: found
    for module in allowed.FEATURES
    for name, found in vars(import_module(module)).items()
    if isinstance(found, type) and hasattr(found, "from_state")
}
Classes = dict[str, type[Any]]


def kept(owner: object) -> JsonObject:
    """Return the attributes of a strategy as canonical JSON values.

    Raises:
        RunStop: CONFIG_INVALID, one holds something that cannot be kept.
    """
    classes = _own_classes(owner)
    return {
        name: _told(value, f"{type(owner).__name__}.{name}", classes)
        for name in _names(owner)
        if not isinstance(value := getattr(owner, name), Settings)
    }


def put_back(owner: object, state: JsonObject) -> None:
    """Restore a strategy's attributes from the values of `kept`."""
    classes = _own_classes(owner)
    for name in _names(owner):
        if name not in state and not isinstance(getattr(owner, name), Settings):
            delattr(owner, name)
    for name, value in state.items():
        setattr(owner, name, _read(value, classes))


def _names(owner: object) -> list[str]:
    """Return the attributes that are set, of an interpreted and of a compiled object."""
    found = dict.fromkeys(getattr(type(owner), "__mypyc_attrs__", ()))
    found.update(dict.fromkeys(getattr(owner, "__dict__", ())))
    for base in type(owner).__mro__:
        slots = base.__dict__.get("__slots__", ())
        found.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
    return sorted(name for name in found if name != "__dict__" and hasattr(owner, name))


def _told(value: Any, where: str, classes: Classes, depth: int = 0) -> Any:
    if depth > DEPTH_MAX:
        raise RunStop(
            STRATEGY_ROLE,
            CONFIG_INVALID,
            f"{where[:60]} nests deeper than {DEPTH_MAX} or holds itself; no snapshot can keep it",
        )
    kind, depth = type(value), depth + 1
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -INT_MAX <= value <= INT_MAX else {"int": str(value)}
    if kind is float:
        return {"float": float_text(value)}
    if kind is list:
        return [_told(item, f"{where}[{n}]", classes, depth) for n, item in enumerate(value)]
    if kind is ClosedBar:
        return {"bar": value.state()}
    if kind is Decimal or kind is Fraction:
        return {kind.__name__: str(value)}
    if kind is tuple:
        return {"tuple": _told(list(value), where, classes, depth)}
    if kind is deque:
        return {"deque": _told(list(value), where, classes, depth), "maxlen": value.maxlen}
    if kind is dict:
        told = [
            [_told(k, where, classes, depth), _told(v, f"{where}[{k!r}]", classes, depth)]
            for k, v in value.items()
        ]
        return {"dict": told}
    if FEATURES.get(kind.__name__) is kind:
        return {"feature": kind.__name__, "state": value.state()}
    if is_dataclass(kind) and classes.get(kind.__name__) is kind:
        record = {
            field.name: _told(getattr(value, field.name), f"{where}.{field.name}", classes, depth)
            for field in fields(kind)
        }
        return {"record": kind.__name__, "fields": record}
    raise RunStop(
        STRATEGY_ROLE,
        CONFIG_INVALID,
        f"{where} holds a {kind.__name__}, which no snapshot can keep; use numbers, text, list, "
        "tuple, dict, deque, indicators of minibot.features or a dataclass that stands by itself "
        "in the file, or write state() and restore()",
    )


def _read(value: Any, classes: Classes) -> Any:
    if isinstance(value, list):
        return [_read(item, classes) for item in value]
    if not isinstance(value, dict):
        return value
    if "deque" in value:
        return deque(_read(value["deque"], classes), maxlen=value["maxlen"])
    if "feature" in value:
        return FEATURES[value["feature"]].from_state(value["state"])
    if "record" in value:
        return _record(classes[value["record"]], value["fields"], classes)
    ((tag, content),) = value.items()
    return _READERS[tag](content, classes)


def _record(cls: type[Any], told: JsonObject, classes: Classes) -> Any:
    record = object.__new__(cls)
    for name, value in told.items():
        object.__setattr__(record, name, _read(value, classes))
    return record


def _dict(items: Any, classes: Classes) -> dict[Any, Any]:
    return {_read(key, classes): _read(item, classes) for key, item in items}


_READERS: Final[dict[str, Callable[[Any, Classes], Any]]] = {
    "Decimal": lambda content, classes: Decimal(content),
    "Fraction": lambda content, classes: Fraction(content),
    "bar": lambda content, classes: ClosedBar.from_state(content),
    "dict": _dict,
    "float": lambda content, classes: float_from(content),
    "int": lambda content, classes: int(content),
    "tuple": lambda content, classes: tuple(_read(content, classes)),
}


def _own_classes(owner: object) -> Classes:
    """Return the classes of the file that the strategy stands in, by name."""
    module = sys.modules.get(type(owner).__module__)
    return {name: item for name, item in vars(module).items() if isinstance(item, type)}
