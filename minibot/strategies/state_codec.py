"""State codec: any strategy's attributes as canonical JSON and back, without a `state` by hand.

Known kinds: None, bool, int, float, str, Decimal, Fraction, list, tuple, dict, deque, closed bars,
indicators of `minibot.features`, and dataclasses of the strategy's own file, by their fields. An
object with several names comes back as one object. Anything else is an error that names the
attribute: it would be lost silently in a restart.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from typing import Any, Final, final

from minibot.cores.closed_bar import ClosedBar
from minibot.events.model import JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.features.lossless import float_from, float_text
from minibot.kernel.canonical import DEPTH_MAX
from minibot.kernel.errors import RunStop
from minibot.strategies import allowed
from minibot.strategies.declaration import Settings

INT_MAX: Final = 2**53 - 1
# Level of an attribute's value in a snapshot, below snapshot, core, symbols, symbol and strategy.
ATTRIBUTE_DEPTH: Final = 6
# Number of levels of a value without its items; any other kind takes two.
LEVELS: Final[dict[Any, int]] = {dict: 3, list: 1, float: 1, int: 1, Decimal: 1, Fraction: 1}
# Every indicator that a strategy may import; each is kept and restored by its own state.
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
    writer = _Writer(_own_classes(owner))
    return {
        name: writer.written(value, f"{type(owner).__name__}.{name}")
        for name in _names(owner)
        if not isinstance(value := getattr(owner, name), Settings)
    }


def put_back(owner: object, state: JsonObject) -> None:
    """Restore a strategy's attributes from the values of `kept`."""
    reader = _Reader(_own_classes(owner))
    for name in _names(owner):
        if name not in state and not isinstance(getattr(owner, name), Settings):
            delattr(owner, name)
    for name in sorted(state):
        setattr(owner, name, reader.read(state[name]))


def _names(owner: object) -> list[str]:
    """Return the names of the set attributes, of an interpreted or a compiled object."""
    found = dict.fromkeys(getattr(type(owner), "__mypyc_attrs__", ()))
    found.update(dict.fromkeys(getattr(owner, "__dict__", ())))
    for base in type(owner).__mro__:
        slots = base.__dict__.get("__slots__", ())
        found.update(dict.fromkeys((slots,) if isinstance(slots, str) else slots))
    beside = ("__dict__", "__weakref__")
    return sorted(name for name in found if name not in beside and hasattr(owner, name))


def _can_change(value: Any) -> bool:
    """Return whether two names of an object must still mean one object after a restart."""
    kind: Any = type(value)
    if kind is float or kind is int or kind is ClosedBar:
        return False
    if kind is list or kind is dict or kind is deque or FEATURES.get(kind.__name__) is kind:
        return True
    params: Any = getattr(kind, "__dataclass_params__", None)
    return params is not None and not params.frozen


@final
class _Writer:
    """Writer of values as canonical JSON; a repeated object becomes its number."""

    __slots__ = ("_classes", "_met", "_numbers")

    def __init__(self, classes: Classes) -> None:
        self._classes: Classes = classes
        # By `id`, which is unique only while the object is held.
        self._numbers: dict[int, int] = {}
        self._met: list[Any] = []

    def written(self, value: Any, where: str, depth: int = ATTRIBUTE_DEPTH) -> Any:
        """Return a value; `where` names it, `depth` is its level in a snapshot."""
        number = self._numbers.get(id(value))
        if number is not None:
            return {"same": number}
        written = self._written(value, where, depth)
        if _can_change(value):
            self._numbers[id(value)] = len(self._met)
            self._met.append(value)
        return written

    def _written(self, value: Any, where: str, depth: int) -> Any:
        kind = type(value)
        if value is None or kind is str or kind is bool:
            return value
        if kind is int and -INT_MAX <= value <= INT_MAX:
            return value
        depth += LEVELS.get(kind, 2)
        if depth > DEPTH_MAX + 1:
            raise RunStop(
                STRATEGY_ROLE,
                CONFIG_INVALID,
                f"{where[:60]} holds itself or nests too deep; no snapshot can keep it: a dict "
                f"takes 3 of {DEPTH_MAX + 1 - ATTRIBUTE_DEPTH} levels, a list or number 1, "
                "any other kind 2",
            )
        if kind is int:
            return {"int": str(value)}
        if kind is float:
            return {"float": float_text(value)}
        if kind is list:
            return self._items(value, where, depth)
        if kind is ClosedBar:
            return {"bar": value.state()}
        if kind is Decimal or kind is Fraction:
            return {kind.__name__: str(value)}
        if kind is tuple:
            return {"tuple": self._items(value, where, depth)}
        if kind is deque:
            return {"deque": self._items(value, where, depth), "maxlen": value.maxlen}
        if kind is dict:
            items = [
                [self.written(k, where, depth), self.written(v, f"{where}[{k!r}]", depth)]
                for k, v in value.items()
            ]
            return {"dict": items}
        if FEATURES.get(kind.__name__) is kind:
            return {"feature": kind.__name__, "state": value.state()}
        if is_dataclass(kind) and self._classes.get(kind.__name__) is kind:
            # In the order of canonical JSON, the order of reading.
            names = sorted(field.name for field in fields(kind))
            for name in _names(value):
                if name not in names:
                    raise RunStop(
                        STRATEGY_ROLE,
                        CONFIG_INVALID,
                        f"{where}.{name} is not a field of {kind.__name__}, and no snapshot can "
                        f"keep it; declare it there with its type, such as `{name}: int = 0`",
                    )
            record = {
                name: self.written(getattr(value, name), f"{where}.{name}", depth) for name in names
            }
            return {"record": kind.__name__, "fields": record}
        raise RunStop(
            STRATEGY_ROLE,
            CONFIG_INVALID,
            f"{where} holds a {kind.__name__}, which no snapshot can keep; use numbers, text, "
            "list, tuple, dict, deque, indicators of minibot.features or a dataclass that stands "
            "by itself in the file, or write state() and restore()",
        )

    def _items(self, values: Iterable[Any], where: str, depth: int) -> list[Any]:
        return [self.written(item, f"{where}[{n}]", depth) for n, item in enumerate(values)]


@final
class _Reader:
    """Reader of values from the canonical JSON of a `_Writer`, in the same order."""

    __slots__ = ("_classes", "_met")

    def __init__(self, classes: Classes) -> None:
        self._classes: Classes = classes
        self._met: list[Any] = []

    def read(self, written: Any) -> Any:
        """Return a value as it was."""
        if isinstance(written, dict) and "same" in written:
            return self._met[written["same"]]
        value = self._read(written)
        if _can_change(value):
            self._met.append(value)
        return value

    def _read(self, written: Any) -> Any:
        if isinstance(written, list):
            return self._items(written)
        if not isinstance(written, dict):
            return written
        if "deque" in written:
            return deque(self._items(written["deque"]), maxlen=written["maxlen"])
        if "feature" in written:
            return FEATURES[written["feature"]].from_state(written["state"])
        if "record" in written:
            return self._record(self._classes[written["record"]], written["fields"])
        ((tag, content),) = written.items()
        if tag == "tuple":
            return tuple(self._items(content))
        if tag == "dict":
            return {self.read(key): self.read(item) for key, item in content}
        return _READERS[tag](content)

    def _items(self, written: Iterable[Any]) -> list[Any]:
        return [self.read(item) for item in written]

    def _record(self, cls: type[Any], fields: JsonObject) -> Any:
        record = object.__new__(cls)
        for name in sorted(fields):
            object.__setattr__(record, name, self.read(fields[name]))
        return record


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "Decimal": Decimal,
    "Fraction": Fraction,
    "bar": ClosedBar.from_state,
    "float": float_from,
    "int": int,
}


def _own_classes(owner: object) -> Classes:
    """Return the classes of the strategy's file by name."""
    module = sys.modules.get(type(owner).__module__)
    return {name: item for name, item in vars(module).items() if isinstance(item, type)}
