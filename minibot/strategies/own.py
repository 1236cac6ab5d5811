"""Own strategy of the operator: from its file's text to its class, with the allowed names.

The text is checked by its lines, then run with a few builtins and an import that returns only the
allowed names of allowed modules. That stops accidental access and most deliberate access; it is no
sandbox against malice. Whoever runs a stranger's strategy runs a stranger's program.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final

from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID, INVARIANT_BROKEN, STRATEGY_ERROR
from minibot.kernel.errors import RunStop
from minibot.strategies.allowed import API, instead_of, names_of, safe_builtins
from minibot.strategies.declaration import kind_fault
from minibot.strategies.parameters import invalid
from minibot.strategies.protocol import Strategy
from minibot.strategies.source_check import source_findings
from minibot.strategies.verdicts import API_EVALUATED, former_check, former_compare
from minibot.strategies.view import View

SHOWN_MAX: Final = 20
ERROR_CHARS_MAX: Final = 300
SUFFIX: Final = ".py"
ANSWERING: Final = ("on_tick", "on_price", "on_bar")

_LOADED: dict[tuple[str, int], type[Strategy]] = {}


class ForbiddenImport(ImportError):
    """A running strategy requested a forbidden name or module."""


def own_strategy(path: str, text: str, sha256: str, api: int = API_EVALUATED) -> type[Strategy]:
    """Return the strategy class that a file's text defines, loaded once per process.

    If the same text comes again from another path, errors name that path, but no line.

    Args:
        path: Path of the file, for messages.
        text: The whole file.
        sha256: Expected hash of the text.
        api: The `api` of `strategy.source`; below `API_EVALUATED` it gets the former checks.

    Raises:
        RunStop: CONFIG_INVALID, with the lines, if the text is refused or defines no strategy.
    """
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != sha256:
        raise invalid(f"{path}: expected sha256 {sha256}, found {found}")
    key = (sha256, min(api, API_EVALUATED))
    if key not in _LOADED:
        evaluates = api >= API_EVALUATED
        findings = [finding.text(path) for finding in source_findings(text, evaluates=evaluates)]
        if findings:
            more = [f"and {len(findings) - SHOWN_MAX} more"] if len(findings) > SHOWN_MAX else []
            raise invalid("\n  ".join([*findings[:SHOWN_MAX], *more]))
        _LOADED[key] = _class_of(path, _run(path, text, key))
    return _LOADED[key]


def failure(error: Exception, path: str, view: View | None = None) -> RunStop:
    """Return the STOP for a strategy's error: the same inputs would raise it again.

    An own strategy's error is STRATEGY_ERROR, for the operator to correct, with symbol and market
    time if a view is given; a shipped strategy's error is INVARIANT_BROKEN, a bug of minibot. A
    STOP that was raised already keeps its code, except that CONFIG_INVALID and INVARIANT_BROKEN of
    an own strategy become STRATEGY_ERROR.
    """
    if isinstance(error, RunStop):
        if error.reason_code not in (CONFIG_INVALID, INVARIANT_BROKEN) or not _is_own(path):
            return RunStop(error.component, error.reason_code, error.detail)
        return strategy_error(line_of(error, path), error.detail, path, view)
    text = f"{type(error).__name__}: {error}"
    if _is_own(path):
        return strategy_error(line_of(error, path), text, path, view)
    return RunStop(STRATEGY_ROLE, INVARIANT_BROKEN, f"{line_of(error, path)}: {text}")


def wrong_answer(strategy: Strategy, what: str, path: str, view: View) -> RunStop:
    """Return the STOP for an answer of the wrong kind; it names the place of the answer."""
    if _is_own(path):
        return strategy_error(_answers_at(strategy, path), what, path, view)
    return RunStop(STRATEGY_ROLE, INVARIANT_BROKEN, f"{path}: {what}")


def strategy_error(place: str, error_text: str, path: str, view: View | None = None) -> RunStop:
    """Return the STOP for an own strategy's error: place, error, time and remedy.

    Args:
        place: `path, line N`.
        error_text: The error; a strategy's text may have any length and any characters.
        path: The strategy's file.
        view: The strategy's view, if any.
    """
    text = error_text.encode("utf-8", "backslashreplace").decode()
    text = "".join(c if c.isprintable() else " " for c in text)
    if len(text) > ERROR_CHARS_MAX:
        text = f"{text[:ERROR_CHARS_MAX]}..."
    remedy = f"correct it, then: minibot strategy-check {path}"
    when = "" if view is None else f" ({view.symbol} at market time {view.now} ms)"
    return RunStop(STRATEGY_ROLE, STRATEGY_ERROR, f"{place}: {text}{when}; {remedy}")


def _is_own(path: str) -> bool:
    return path.endswith(SUFFIX)  # A shipped strategy is named, not located.


def _answers_at(strategy: Strategy, path: str) -> str:
    """Return `path, line N` of the methods with which a strategy answers."""
    methods = (getattr(type(strategy), name, None) for name in ANSWERING)
    codes = (getattr(method, "__code__", None) for method in methods)
    lines = [str(code.co_firstlineno) for code in codes if code and code.co_filename == path]
    return f"{path}, line {' or '.join(lines)}" if lines else path


def line_of(error: BaseException, path: str) -> str:
    """Return `path, line N` of the innermost line of a strategy's file in an error's traceback."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path}, line {line}" if line else path


def _run(path: str, text: str, key: tuple[str, int]) -> dict[str, Any]:
    sha256, api = key
    module = ModuleType(f"minibot_own_{sha256[:16]}_{api}")
    namespace = vars(module)
    importing = _import if api >= API_EVALUATED else _former_import
    namespace["__builtins__"] = {**safe_builtins(), "__import__": importing}
    sys.modules[module.__name__] = module  # Dataclasses look up their module.
    try:
        exec(compile(text, path, "exec", dont_inherit=True), namespace)
    except Exception as error:  # Any error means that this text does not run here.
        del sys.modules[module.__name__]
        raise invalid(f"{line_of(error, path)}: {type(error).__name__}: {error}") from error
    return namespace


def _import(
    name: str,
    namespace: Mapping[str, Any] | None = None,
    local: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Return a module with only the allowed names of the requested one."""
    names = names_of(name) if level == 0 else None
    if names is None:
        raise ForbiddenImport(f"imports {name or '.'}; {instead_of(name)}")
    if "." in name and not fromlist:
        raise ForbiddenImport(f"imports {name} whole; write: from {name} import ...")
    real = import_module(name)
    shown = ModuleType(name)
    for allowed in names:
        if hasattr(real, allowed):
            setattr(shown, allowed, getattr(real, allowed))
    return shown


def _former_import(
    name: str,
    namespace: Mapping[str, Any] | None = None,
    local: Mapping[str, Any] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Import like `_import`, with the former checks."""
    shown = _import(name, namespace, local, fromlist, level)
    if name == API:
        vars(shown).update(check=former_check, compare=former_compare)
    return shown


def _class_of(path: str, namespace: dict[str, Any]) -> type[Strategy]:
    classes = [
        item
        for item in namespace.values()
        if isinstance(item, type)
        and issubclass(item, Strategy)
        and item.__module__ == namespace["__name__"]
    ]
    if len(classes) != 1:
        names = ", ".join(item.__name__ for item in classes) or "none"
        raise invalid(f"{path}: expected one class that derives from Strategy, found {names}")
    if why := kind_fault(classes[0].PARAMETERS):
        raise invalid(f"{path}: {why}")
    return classes[0]
