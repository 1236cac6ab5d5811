"""State in a strategy's file: kept in attributes of `self`, or its line is reported.

An object outside `self` would be shared by all symbols and lost in a restart, and objects from the
core belong to the core. Makers of mutable objects are known by name: displays, builtins,
`minibot.features`, and classes of the file that are not frozen.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from minibot.strategies.allowed import API, FEATURES, MODULES
from minibot.strategies.source_finding import Finding

_SHARED: Final = "make it in __init__, as an attribute of self, or write a tuple"
_READ_ONLY: Final = "a strategy changes nothing but its own attributes"
_CHANGED: Final = "risk reads it too: keep numbers of your own"
_REFILLED: Final = "keep the numbers that you need: the object is refilled at the next call"

_DISPLAYS: Final = (
    *(ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp),
)
# Iterators are exhausted by their first use.
_MAKERS: Final = frozenset(
    {"bytearray", "deque", "dict", "enumerate", "filter", "iter", "list", "map", "reversed"}
    | {"set", "sorted", "zip"}
    | MODULES["itertools"]
)
_MADE_IN: Final = ("collections", "itertools")
_FROZEN_BASES: Final = frozenset(
    {"ArithmeticError", "Enum", "Exception", "IntEnum", "LookupError", "NamedTuple"}
    | {"RuntimeError", "StrEnum", "ValueError"}
)
_KEEPING: Final = frozenset({"append", "appendleft", "add", "insert", "extend"})
_SHOWN: Final = frozenset({"tick", "view", "bar", "gap", "settings"})
_KEPT: Final = frozenset({"tick", "view"})
BAR_FIELDS: Final = frozenset(
    {"close", "high", "interval", "is_live", "low", "open", "open_ts", "volume"}
)
# The core calls these of an object; `needs` is one of the class, which no attribute hides.
_CALLED: Final = frozenset({"on_bar", "on_gap", "on_price", "on_tick", "restore", "state"})


def state_findings(tree: ast.Module) -> list[Finding]:
    """Return the names that a file keeps or changes outside the attributes of `self`."""
    makers = _makers(tree)
    found = [*_kept_in(tree.body, "for all symbols at once", makers)]
    functions, strategies = _functions(tree), _strategies(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            found += _kept_in(node.body, f"for all objects of {node.name} at once", makers)
            if any(isinstance(base, ast.Name) and base.id in strategies for base in node.bases):
                found += _hidden(node)
            if node.keywords:
                found.append(Finding(node.lineno, "has a metaclass", "derive from Strategy alone"))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None and _is_mutable(default, makers):
                    what = "has a default that every call shares"
                    found.append(Finding(default.lineno, what, "use None or a tuple"))
        found += _changes(node, functions)
        found += _kept(node)
    return found


# --- objects shared by all symbols ----------------------------------------------------------------


def _makers(tree: ast.Module) -> frozenset[str]:
    """Return the names whose calls return a mutable object."""
    found = set(_MAKERS)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in (*FEATURES, *_MADE_IN):
            is_feature = node.module in FEATURES
            found.update(
                alias.asname or alias.name
                for alias in node.names
                if (alias.name[:1].isupper() if is_feature else alias.name in _MAKERS)
            )
        elif isinstance(node, ast.ClassDef) and not _is_frozen(node):
            found.add(node.name)
    return frozenset(found)


def _is_frozen(node: ast.ClassDef) -> bool:
    if any(isinstance(base, ast.Name) and base.id in _FROZEN_BASES for base in node.bases):
        return True
    return any(
        keyword.arg == "frozen"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call)
        for keyword in decorator.keywords
    )


def _kept_in(body: list[ast.stmt], whom: str, makers: frozenset[str]) -> Iterator[Finding]:
    for node in body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is not None and _is_mutable(value, makers):
            yield Finding(node.lineno, f"makes something that can change {whom}", _SHARED)


def _is_mutable(node: ast.expr, makers: frozenset[str]) -> bool:
    if isinstance(node, ast.Call):
        return _is_made(node, makers)
    if isinstance(node, ast.Tuple):
        return any(_is_mutable(item, makers) for item in node.elts)
    if isinstance(node, ast.Starred | ast.NamedExpr):
        return _is_mutable(node.value, makers)
    if isinstance(node, ast.IfExp):
        return _is_mutable(node.body, makers) or _is_mutable(node.orelse, makers)
    if isinstance(node, ast.BoolOp):
        return any(_is_mutable(item, makers) for item in node.values)
    if isinstance(node, ast.BinOp):
        return _is_mutable(node.left, makers) or _is_mutable(node.right, makers)
    return isinstance(node, _DISPLAYS)


def _is_made(node: ast.Call, makers: frozenset[str]) -> bool:
    """Return whether a call makes a mutable object: a maker, its method, or a tuple of these."""
    function = node.func
    if isinstance(function, ast.Name):
        if function.id == "tuple" and node.args:
            return any(_is_mutable(item, makers) for item in _items(node.args[0]))
        return function.id in makers
    return isinstance(function, ast.Attribute) and (
        function.attr in _MAKERS or _base(function) in makers
    )


def _items(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return [node.elt]
    return node.elts if isinstance(node, ast.List | ast.Tuple) else []


# --- changed and kept -----------------------------------------------------------------------------


def _functions(tree: ast.Module) -> frozenset[str]:
    """Return the functions of the file whose names are not bound to anything else in it."""
    stored = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)
    }
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return frozenset(names - stored)


def _changes(node: ast.AST, functions: frozenset[str]) -> Iterator[Finding]:
    """Yield a write of any kind: by an assignment, a loop, a `with` or a `del`."""
    if not isinstance(node, ast.Attribute | ast.Subscript) or isinstance(node.ctx, ast.Load):
        return
    base = _base(node)
    if base is None:
        return
    if base in _SHOWN or base[:1].isupper() or base == "cls" or base in functions:
        yield Finding(node.lineno, f"changes {base}", _READ_ONLY)


def _strategies(tree: ast.Module) -> frozenset[str]:
    """Return the names that the file uses for the base class of strategies."""
    return frozenset(
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == API
        for alias in node.names
        if alias.name == "Strategy"
    )


def _hidden(strategy: ast.ClassDef) -> Iterator[Finding]:
    """Yield a write of an attribute whose name is a method that the core calls."""
    waiting: list[ast.AST] = [*strategy.body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ClassDef):  # Its `self` is another object.
            continue
        waiting += ast.iter_child_nodes(node)
        if (
            isinstance(node, ast.Attribute)
            and not isinstance(node.ctx, ast.Load)
            and node.attr in _CALLED
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            what = f"self.{node.attr} hides the method {node.attr}"
            yield Finding(node.lineno, what, "take another name")


def changed_bars(text: str) -> list[Finding]:
    """Return the lines that change a closed bar, whatever they call it.

    In a backtest risk reads the same object, in a night one of its own.

    Args:
        text: A file in which `source_findings` finds nothing.
    """
    tree = ast.parse(text)
    strategies = _strategies(tree)
    fields = set(BAR_FIELDS)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not any(
            isinstance(base, ast.Name) and base.id in strategies for base in node.bases
        ):  # A record of the file has fields of these names.
            fields -= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            fields -= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)}
    return [
        Finding(node.lineno, f"changes the {node.attr} of a bar", _CHANGED)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
        if node.attr in fields
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]


def _kept(node: ast.AST) -> Iterator[Finding]:
    values: list[ast.expr] = []
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        owned = [item for target in targets for item in _parts(target) if _base(item) == "self"]
        if node.value is not None and any(not isinstance(item, ast.Name) for item in owned):
            values = _parts(node.value)
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _KEEPING
    ):
        values = [part for argument in node.args for part in _parts(argument)]
    for value in values:
        if isinstance(value, ast.Name) and value.id in _KEPT:
            yield Finding(value.lineno, f"keeps the {value.id} itself", _REFILLED)


def _parts(node: ast.expr) -> list[ast.expr]:
    """Return the parts of a tuple, list or dict, or the expression itself."""
    if isinstance(node, ast.Tuple | ast.List):
        return [part for item in node.elts for part in _parts(item)]
    if isinstance(node, ast.Dict):
        return [part for item in node.values for part in _parts(item)]
    return [node]


def _base(node: ast.expr) -> str | None:
    """Return the name at the root of `a.b[c].d`, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
