"""Allowed imports and calls of an own strategy: one list for the static check and the import.

A strategy's answers must follow from its inputs alone, in every process, on every machine and in
every later replay. So there is no clock, chance, file, environment, network or thread here, nothing
of libm (its last digit differs between systems), and no way to the rest of the interpreter. The
list keeps honest code honest; it is no sandbox against malice.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, Final

API: Final = "minibot.strategies.protocol"
FEATURES: Final = (
    "minibot.features.adx",
    "minibot.features.atr",
    "minibot.features.bollinger",
    "minibot.features.donchian",
    "minibot.features.ema",
    "minibot.features.macd",
    "minibot.features.order_flow",
    "minibot.features.rate_of_change",
    "minibot.features.rsi",
    "minibot.features.sma",
    "minibot.features.stochastic",
    "minibot.features.touch",
    "minibot.features.volatility",
    "minibot.features.vwap",
    "minibot.features.wilder",
)
ANSWERING: Final = frozenset({"Ema"})
"""Indicators whose `update` returns the value; all others return None."""
REASONS: Final = "minibot.events.reasons"

# Names by module; modules of this project list their own, see `names_of`.
MODULES: Final[Mapping[str, frozenset[str]]] = {
    "__future__": frozenset({"annotations"}),
    "collections": frozenset({"deque"}),
    "collections.abc": frozenset({"Callable", "Iterable", "Iterator", "Mapping", "Sequence"}),
    "dataclasses": frozenset({"dataclass", "field", "replace"}),
    "decimal": frozenset(
        {"Decimal", "ROUND_CEILING", "ROUND_DOWN", "ROUND_FLOOR", "ROUND_HALF_EVEN", "ROUND_UP"}
    ),
    "enum": frozenset({"Enum", "IntEnum", "StrEnum", "unique"}),
    "fractions": frozenset({"Fraction"}),
    "functools": frozenset({"partial", "reduce", "total_ordering"}),
    "itertools": frozenset(
        {"accumulate", "chain", "combinations", "count", "islice", "pairwise", "permutations"}
        | {"product", "repeat", "takewhile", "dropwhile", "zip_longest"}
    ),
    "math": frozenset(
        {"ceil", "copysign", "fabs", "floor", "gcd", "inf", "isclose", "isfinite", "isinf"}
        | {"isnan", "nan", "sqrt", "trunc"}
    ),
    "operator": frozenset({"itemgetter"}),
    "typing": frozenset(
        {"Any", "ClassVar", "Final", "Literal", "NamedTuple", "TypeAlias", "final"}
    ),
}

_EXCEPTIONS: Final = (
    "ArithmeticError AssertionError Exception IndexError KeyError LookupError NotImplementedError "
    "OverflowError RuntimeError StopIteration TypeError ValueError ZeroDivisionError"
)
BUILTINS: Final[frozenset[str]] = frozenset(
    (
        "Ellipsis NotImplemented __build_class__ abs all any bool bytes callable classmethod dict "
        "divmod enumerate filter float int isinstance issubclass iter len list map max min next "
        "ord chr property range repr reversed round slice sorted staticmethod str super "
        "tuple zip " + _EXCEPTIONS
    ).split()
)
"""Builtins that are given unchanged; `sum` is replaced by `sum_in_order`."""

_MARKET: Final = "ticks, bars and the view are all there is; ask for bars by needs()"
_PARAMETER: Final = "declare it in PARAMETERS, so that it is part of the profile and its hash"
_VIEW: Final = "use view.now, tick.ts or bar.open_ts (ms of market time)"
_CHANCE: Final = "leave chance out: the same inputs have to give the same decision"
_ALONE: Final = "leave it out: a strategy is called, and starts nothing"
_INSIDE: Final = "leave it out: a strategy reads what it is given, not the interpreter"
_NUMBERS: Final = "use + - * / and math.sqrt, or minibot.features; other results differ by machine"
_SAY: Final = "put it into the reason or the checks of a decision"
_SET: Final = "use a tuple or a dict: the order of a set of texts differs from process to process"

INSTEAD: Final[Mapping[str, str]] = {
    **dict.fromkeys(("time", "datetime", "calendar", "zoneinfo"), _VIEW),
    **dict.fromkeys(("random", "secrets", "uuid", "hash", "id"), _CHANCE),
    **dict.fromkeys(
        ("os", "io", "pathlib", "open", "input", "json", "csv", "pickle", "sqlite3", "shelve"),
        _PARAMETER,
    ),
    **dict.fromkeys(("shutil", "tempfile", "glob", "configparser", "environ"), _PARAMETER),
    **dict.fromkeys(
        ("socket", "ssl", "http", "urllib", "requests", "aiohttp", "websocket", "ccxt"), _MARKET
    ),
    **dict.fromkeys(
        ("threading", "asyncio", "multiprocessing", "concurrent", "subprocess", "signal", "ctypes"),
        _ALONE,
    ),
    **dict.fromkeys(
        ("sys", "importlib", "builtins", "inspect", "gc", "types", "weakref", "__import__", "eval"),
        _INSIDE,
    ),
    **dict.fromkeys(
        ("exec", "compile", "getattr", "setattr", "delattr", "vars", "globals", "locals", "dir"),
        _INSIDE,
    ),
    **dict.fromkeys(("hasattr", "memoryview", "type", "breakpoint", "exit", "quit"), _INSIDE),
    **dict.fromkeys(
        ("numpy", "pandas", "scipy", "talib", "pandas_ta", "statistics", "cmath", "pow", "complex"),
        _NUMBERS,
    ),
    **dict.fromkeys(("print", "logging", "warnings"), _SAY),
    **dict.fromkeys(("set", "frozenset"), _SET),
}
"""Replacement to suggest for each forbidden module or builtin."""


def names_of(module: str) -> frozenset[str] | None:
    """Return the names importable from a module; None for one that may not be imported."""
    if module in MODULES:
        return MODULES[module]
    if module in (API, REASONS, *FEATURES):
        return _public(module)
    return None


def instead_of(name: str) -> str:
    """Return the replacement for a module, by its first part, or for a name."""
    default = home_of(name) or (
        "a strategy has minibot.features, minibot.strategies.protocol and some of the standard "
        "library: minibot/strategies/allowed.py lists it"
    )
    return INSTEAD.get(name.partition(".")[0], default)


def home_of(name: str) -> str:
    """Return the import of an allowed name; empty for a forbidden one."""
    for module in (API, *FEATURES):
        found = getattr(import_module(module), name, None)
        if name in _public(module) and (module == API or found.__module__ == module):
            return f"write: from {module} import {name}"
    return ""


def sum_in_order(values: Iterable[Any], start: Any = 0) -> Any:
    """Return the sum, added from left to right.

    Python 3.12 began to add floats with a correction, so its own `sum` differs from 3.11's.
    """
    total = start
    for value in values:
        total = total + value
    return total


def safe_builtins() -> dict[str, Any]:
    """Return the builtins for an own strategy, without its import."""
    found = {name: getattr(builtins, name) for name in sorted(BUILTINS)}
    return {**found, "sum": sum_in_order}


def _public(module: str) -> frozenset[str]:
    loaded = import_module(module)
    return frozenset(
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_")
        and name not in ("annotations", "TYPE_CHECKING", "mypyc_attr", "kept", "put_back")
        and (module == REASONS or getattr(value, "__module__", "").startswith("minibot."))
    )
