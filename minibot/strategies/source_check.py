"""Static check that a strategy's file does only what is allowed, without running it.

The restricted import and builtins of `minibot.strategies.own` cover what it cannot see, such as a
name reached through another object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from minibot.strategies.allowed import (
    ANSWERING,
    API,
    BUILTINS,
    FEATURES,
    INSTEAD,
    home_of,
    instead_of,
    names_of,
)
from minibot.strategies.decision import RELATIONS
from minibot.strategies.source_finding import Finding
from minibot.strategies.source_state import state_findings

PYTHON: Final = (3, 11)

_STATE: Final = "keep it in an attribute of self: it then comes back after a restart"
_DUNDER: Final = "leave it out: it leads out of the strategy"
_POWER: Final = "write x * x, or math.sqrt(x): a power is rounded differently by machine"
_BROAD: Final = "name the error that you expect, such as ZeroDivisionError"
_SET: Final = INSTEAD["set"]
_FORMAT: Final = "write an f-string: the check sees the names in it"
_ERROR_TEXT: Final = "use words of your own: `str(error)` differs between versions of Python"
_RELATION: Final = f"write one of {' '.join(RELATIONS)}, or say it in words with check()"

_METHODS_FORBIDDEN: Final = frozenset(
    [
        "__new__",
        "__del__",
        "__getattr__",
        "__getattribute__",
        "__setattr__",
        "__delattr__",
        "__hash__",
        "__exit__",
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
_BLOCKS: Final = (ast.stmt, ast.ExceptHandler, ast.match_case)
_GIVES_A_NAME: Final = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)
_NAMES_KNOWN: Final = frozenset({"__init__", "__post_init__", "__name__", "__slots__", "__doc__"})


def source_findings(text: str, *, evaluates: bool = True) -> list[Finding]:
    """Return all findings in a strategy's file, by line.

    Args:
        text: The file.
        evaluates: Whether `compare` evaluates its relation, which it did not in older records.
    """
    try:
        tree = ast.parse(text, feature_version=PYTHON)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        return [Finding(line, f"is not Python: {error}", "correct it")]
    found = [*_top_level(tree), *state_findings(tree)]
    if evaluates:
        found += _relations(tree)
    bound = _bound(tree)
    for node in ast.walk(tree):
        found += _imports(node)
        found += _names(node, bound)
        found += _statements(node)
        found += _numbers(node)
        found += _texts(node)
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
            home = home_of(node.names[0].name)
            yield Finding(node.lineno, f"imports {module}", home or instead_of(module))
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
    there = f"of {module} there are: {', '.join(sorted(names))}"
    return INSTEAD.get(name) or home_of(name) or there


def _bound(tree: ast.Module) -> set[str]:
    """Return every name that the file binds anywhere."""
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
        elif isinstance(node, ast.MatchMapping) and node.rest:
            found.add(node.rest)
    return found


def _names(node: ast.AST, bound: set[str]) -> Iterator[Finding]:
    if isinstance(node, ast.Name):
        name = node.id
        if _is_dunder(name) and name not in _NAMES_KNOWN:
            yield Finding(node.lineno, f"uses {name}", _DUNDER)
        elif name not in bound and name not in BUILTINS and name not in ("sum", "__name__"):
            yield Finding(node.lineno, f"uses {name}", instead_of(name))
    elif isinstance(node, ast.Attribute):
        yield from _attribute(node.attr, node.lineno, is_own=_is_self(node.value))
    elif isinstance(node, ast.MatchClass):  # `case X(name=y)` reads X's attribute as well.
        for name in node.kwd_attrs:
            yield from _attribute(name, node.lineno, is_own=False)


def _attribute(name: str, line: int, *, is_own: bool) -> Iterator[Finding]:
    if _is_dunder(name):
        if name not in _NAMES_KNOWN:
            yield Finding(line, f"uses .{name}", _DUNDER)
    elif name.startswith("_") and not is_own:
        yield Finding(line, f"uses the private .{name}", "use what has a public name")
    elif name in _FRAMES:
        yield Finding(line, f"uses .{name}", _DUNDER)


def _texts(node: ast.AST) -> Iterator[Finding]:
    """Yield formats that read attributes by names in a text, which other rules do not see."""
    if not isinstance(node, ast.Attribute) or _is_self(node.value):
        return
    if node.attr == "format_map":
        yield Finding(node.lineno, "uses .format_map", _FORMAT)
    elif node.attr == "format":
        text = node.value.value if isinstance(node.value, ast.Constant) else None
        if not isinstance(text, str) or not _is_plain(text):
            yield Finding(node.lineno, "uses .format, which may read any attribute", _FORMAT)


def _is_plain(text: str) -> bool:
    """Return whether a format names only arguments, without attributes or items."""
    fields = text.replace("{{", "").split("{")[1:]  # A width may be a field of its own.
    return not any(set(".[") & set(_field_name(field)) for field in fields)


def _field_name(field: str) -> str:
    ends = [at for at in map(field.find, ":!}") if at >= 0]
    return field[: min(ends, default=len(field))]


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls", "other")


# --- statements -----------------------------------------------------------------------------------


def _top_level(tree: ast.Module) -> Iterator[Finding]:
    known = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if not isinstance(node, (*known, ast.Pass)):
            what = f"does something ({type(node).__name__.lower()}) when it is loaded"
            yield Finding(node.lineno, what, "move it into a method or a function")


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
        yield from _handler(node)
    elif isinstance(node, ast.Try | ast.TryStar):
        for line in _leaving(node.finalbody):
            yield Finding(line, "drops every error by leaving finally", _BROAD)


def _handler(node: ast.ExceptHandler) -> Iterator[Finding]:
    kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    if node.type is None or names & {"Exception", "BaseException"}:
        yield Finding(node.lineno, "catches every error", _BROAD)
    elif node.name and names & BUILTINS:
        yield Finding(node.lineno, f"keeps the error {node.name}", _ERROR_TEXT)


def _leaving(statements: Sequence[ast.AST], *, is_in_loop: bool = False) -> Iterator[int]:
    """Yield the lines that leave a block for good and so suppress a raised error."""
    for statement in statements:
        if isinstance(statement, ast.Return):
            yield statement.lineno
        elif isinstance(statement, ast.Break | ast.Continue):
            if not is_in_loop:
                yield statement.lineno
        elif not isinstance(statement, ast.FunctionDef | ast.ClassDef):
            inner = [item for item in ast.iter_child_nodes(statement) if isinstance(item, _BLOCKS)]
            is_loop = isinstance(statement, ast.For | ast.While)
            yield from _leaving(inner, is_in_loop=is_in_loop or is_loop)


# --- checks of decisions --------------------------------------------------------------------------


def _relations(tree: ast.Module) -> Iterator[Finding]:
    """Yield every `compare` with an unknown literal relation, which would end a night."""
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == API
        for alias in node.names
        if alias.name == "compare"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
            given = [word.value for word in node.keywords if word.arg == "relation"]
            if len(node.args) > 2 and not any(isinstance(a, ast.Starred) for a in node.args[:3]):
                given.append(node.args[2])
            for value in given:
                yield from _relation(value)


def _relation(node: ast.expr) -> Iterator[Finding]:
    if isinstance(node, ast.IfExp):
        yield from _relation(node.body)
        yield from _relation(node.orelse)
    elif isinstance(node, ast.Constant) and node.value not in RELATIONS:
        yield Finding(
            node.lineno, f"compares by {node.value!r}, which is not a relation", _RELATION
        )


# --- indicators -----------------------------------------------------------------------------------


def lost_answers(text: str) -> list[Finding]:
    """Return the lines that use the result of an indicator's `update` that returns None.

    A strategy that waits for such a value never decides.

    Args:
        text: A file in which `source_findings` finds nothing.
    """
    tree = ast.parse(text)
    silent = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in FEATURES
        for alias in node.names
        if alias.name not in ANSWERING
    }
    given = [pair for node in ast.walk(tree) for pair in _given(node)]
    makers: dict[str, set[str]] = {}
    for target, call in given:
        if isinstance(call.func, ast.Name):
            makers.setdefault(ast.unparse(target), set()).add(call.func.id)
    # A name that is also bound to something else may be that.
    made = {name for name, found in makers.items() if found <= silent}
    found = []
    for _, call in given:
        if isinstance(call.func, ast.Attribute) and call.func.attr == "update":
            name = ast.unparse(call.func.value)
            if name in made:
                what = f"keeps what {name}.update gives, which is nothing"
                instead = f"call it on a line of its own, then read {name}.value"
                found.append(Finding(call.lineno, what, instead))
    return found


def _given(node: ast.AST) -> Iterator[tuple[ast.expr, ast.Call]]:
    """Yield each name that a statement binds to the result of a call, and the call."""
    if not isinstance(node, _GIVES_A_NAME) or node.value is None:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, node.value)]
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = list(zip(target.elts, node.value.elts, strict=False))
        for name, value in pairs:
            if isinstance(value, ast.Call):
                yield name, value


# --- numbers and sets --------------------------------------------------------------------


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
    """Yield every use of a set other than a membership test."""
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
        elif isinstance(node, _GIVES_A_NAME) and node.value is not None and _is_keys(node.value):
            yield Finding(node.lineno, "keeps the keys of a dict, which combine to a set", _SET)


def _is_keys(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("keys", "items")
    )
