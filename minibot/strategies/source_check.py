"""Does a strategy's file keep to what a strategy may do? Told by its lines, without running it.

What it cannot see (a name reached through another object) the restricted import and builtins of
`minibot.strategies.own` do not have.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from minibot.strategies.allowed import BUILTINS, INSTEAD, instead_of, names_of

PYTHON: Final = (3, 11)

_SHARED: Final = "make it in __init__, as an attribute of self, or write a tuple"
_STATE: Final = "keep it in an attribute of self: it then comes back after a restart"
_DUNDER: Final = "leave it out: it leads out of the strategy"
_READ_ONLY: Final = "a strategy changes nothing but its own attributes"
_REFILLED: Final = "keep the numbers that you need: the object is refilled at the next call"
_POWER: Final = "write x * x, or math.sqrt(x): a power is rounded differently by machine"
_BROAD: Final = "name the error that you expect, such as ZeroDivisionError"
_SET: Final = INSTEAD["set"]

_METHODS_FORBIDDEN: Final = frozenset(
    [
        "__new__",
        "__del__",
        "__getattr__",
        "__getattribute__",
        "__setattr__",
        "__delattr__",
        "__hash__",
        "__reduce__",
        "__init_subclass__",
        "__set_name__",
        "__class_getitem__",
        "__getstate__",
        "__setstate__",
    ]
)
_FRAMES: Final = frozenset(
    [
        "f_back",
        "f_builtins",
        "f_code",
        "f_globals",
        "f_locals",
        "gi_code",
        "gi_frame",
        "cr_code",
        "cr_frame",
        "ag_frame",
        "tb_frame",
        "tb_next",
        "co_code",
        "func_globals",
        "with_traceback",
    ]
)
_NAMES_KNOWN: Final = frozenset({"__init__", "__post_init__", "__name__", "__slots__", "__doc__"})
_MUTABLE: Final = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_MUTABLE_CALLS: Final = frozenset({"list", "dict", "set", "deque", "bytearray", "count"})
_KEEPING: Final = frozenset({"append", "appendleft", "add", "insert", "extend"})
_SHOWN: Final = frozenset({"tick", "view", "bar", "gap", "settings"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a strategy may not do: where, what, and what to do instead."""

    line: int
    what: str
    instead: str

    def told(self, path: str) -> str:
        """Return it in one line."""
        return f"{path}, line {self.line}: {self.what}; {self.instead}"


def source_findings(text: str) -> list[Finding]:
    """Return all that is wrong with a strategy's file, by line."""
    try:
        tree = ast.parse(text, feature_version=PYTHON)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Finding(line, f"is no Python: {error}", "correct it")]
    found = [*_top_level(tree), *_bodies(tree)]
    bound = _bound(tree)
    for node in ast.walk(tree):
        found += _imports(node)
        found += _names(node, bound)
        found += _statements(node)
        found += _numbers(node)
        found += _writes(node)
    found += _sets(tree)
    return sorted(set(found), key=lambda finding: (finding.line, finding.what))


# --- imports and names ----------------------------------------------------------------------------


def _imports(node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if names_of(alias.name) is None:
                yield Finding(node.lineno, f"imports {alias.name}", instead_of(alias.name))
            elif "." in alias.name:
                instead = f"write: from {alias.name} import ..."
                yield Finding(node.lineno, f"imports {alias.name} whole", instead)
    elif isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        names = names_of(module)
        if names is None:
            yield Finding(node.lineno, f"imports {module}", instead_of(module))
            return
        for alias in node.names:
            if alias.name == "*":
                yield Finding(node.lineno, f"imports * of {module}", "name what you need")
            elif alias.name not in names:
                instead = _other_name(module, alias.name, names)
                yield Finding(node.lineno, f"imports {alias.name} of {module}", instead)


def _other_name(module: str, name: str, names: frozenset[str]) -> str:
    if module == "math":
        return INSTEAD["numpy"]
    return INSTEAD.get(name) or f"of {module} there are: {', '.join(sorted(names))}"


def _bound(tree: ast.Module) -> set[str]:
    """Return every name that the file itself gives a meaning, anywhere."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
    return found


def _names(node: ast.AST, bound: set[str]) -> Iterator[Finding]:
    if isinstance(node, ast.Name):
        name = node.id
        if _is_dunder(name) and name not in _NAMES_KNOWN:
            yield Finding(node.lineno, f"uses {name}", _DUNDER)
        elif name not in bound and name not in BUILTINS and name not in ("sum", "__name__"):
            yield Finding(node.lineno, f"uses {name}", instead_of(name))
    elif isinstance(node, ast.Attribute):
        name = node.attr
        if _is_dunder(name) and name not in _NAMES_KNOWN:
            yield Finding(node.lineno, f"uses .{name}", _DUNDER)
        elif name.startswith("_") and not _is_dunder(name) and not _is_self(node.value):
            yield Finding(node.lineno, f"uses the private .{name}", "use what has a public name")
        elif name in _FRAMES:
            yield Finding(node.lineno, f"uses .{name}", _DUNDER)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "other")


# --- what stands where ----------------------------------------------------------------------------


def _top_level(tree: ast.Module) -> Iterator[Finding]:
    known = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, (*known, ast.Pass)):
            what = f"does something ({type(node).__name__.lower()}) when it is loaded"
            yield Finding(node.lineno, what, "move it into a method or a function")
        else:
            yield from _shared(node, "for all symbols at once")


def _bodies(tree: ast.Module) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                yield from _shared(statement, f"for all objects of {node.name} at once")
            if node.keywords:
                yield Finding(node.lineno, "has a metaclass", "derive from Strategy alone")
        elif isinstance(node, ast.FunctionDef | ast.Lambda):
            defaults = [*node.args.defaults, *node.args.kw_defaults]
            for default in defaults:
                if default is not None and _is_mutable(default):
                    what = "has a default that every call shares"
                    yield Finding(default.lineno, what, "use None or a tuple")


def _shared(node: ast.stmt, whom: str) -> Iterator[Finding]:
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    if value is not None and _is_mutable(value):
        yield Finding(node.lineno, f"makes something that can change {whom}", _SHARED)


def _is_mutable(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _MUTABLE_CALLS
    if isinstance(node, ast.Tuple):
        return any(_is_mutable(item) for item in node.elts)
    return isinstance(node, _MUTABLE)


def _statements(node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.Global):
        yield Finding(node.lineno, f"changes the global {', '.join(node.names)}", _STATE)
    elif isinstance(node, ast.Nonlocal):
        yield Finding(node.lineno, f"changes {', '.join(node.names)} from inside", _STATE)
    elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
        yield Finding(node.lineno, "waits", INSTEAD["asyncio"])
    elif isinstance(node, ast.FunctionDef) and node.name in _METHODS_FORBIDDEN:
        yield Finding(node.lineno, f"defines {node.name}", _DUNDER)
    elif isinstance(node, ast.ExceptHandler):
        kind = node.type
        if kind is None or (
            isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")
        ):
            yield Finding(node.lineno, "passes over every error", _BROAD)


# --- numbers, sets and writing --------------------------------------------------------------------


def _numbers(node: ast.AST) -> Iterator[Finding]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        if not (_is_whole(node.left) and _is_whole(node.right)):
            yield Finding(node.lineno, "uses **", _POWER)
    elif isinstance(node, ast.Constant) and isinstance(node.value, complex):
        yield Finding(node.lineno, "uses a complex number", INSTEAD["numpy"])
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Pow):
        yield Finding(node.lineno, "uses **=", _POWER)
    elif (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "math"
    ):
        names = names_of("math")
        if names is not None and node.attr not in names:
            yield Finding(node.lineno, f"uses math.{node.attr}", INSTEAD["numpy"])


def _is_whole(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is int and node.value >= 0


def _sets(tree: ast.Module) -> Iterator[Finding]:
    """A set may be asked what is in it, and nothing else."""
    asked = {
        right
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        for operator, right in zip(node.ops, node.comparators, strict=True)
        if isinstance(operator, ast.In | ast.NotIn)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Set | ast.SetComp) and node not in asked:
            yield Finding(node.lineno, "makes a set", _SET)
        elif isinstance(node, ast.BinOp) and (_is_keys(node.left) or _is_keys(node.right)):
            yield Finding(node.lineno, "makes a set of the keys of a dict", _SET)


def _is_keys(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
    )


def _writes(node: ast.AST) -> Iterator[Finding]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AugAssign | ast.AnnAssign):
        targets, value = [node.target], node.value or node.target
    elif isinstance(node, ast.Delete):
        targets, value = node.targets, node.targets[0]
    else:
        yield from _kept_calls(node)
        return
    for target in targets:
        base = _base(target)
        if isinstance(target, ast.Name) or base is None:
            continue
        if base in _SHOWN or base[:1].isupper() or base == "cls":
            yield Finding(target.lineno, f"changes {base}", _READ_ONLY)
        elif base == "self" and isinstance(value, ast.Name) and value.id in ("tick", "view"):
            yield Finding(target.lineno, f"keeps the {value.id} itself", _REFILLED)


def _kept_calls(node: ast.AST) -> Iterator[Finding]:
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _KEEPING
    ):
        for argument in node.args:
            if isinstance(argument, ast.Name) and argument.id in ("tick", "view"):
                yield Finding(node.lineno, f"keeps the {argument.id} itself", _REFILLED)


def _base(node: ast.expr) -> str | None:
    """Return the name at the root of `a.b[c].d`, or None."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
