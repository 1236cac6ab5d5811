"""The operator's own strategy: from the text of its file to its class."""

from __future__ import annotations

import hashlib
import sys
from types import ModuleType
from typing import Any

from minibot.kernel.errors import RunStop
from minibot.strategies.protocol import Strategy

_LOADED: dict[str, type[Strategy]] = {}


def own_strategy(path: str, text: str, sha256: str) -> type[Strategy]:
    """Return the strategy class that a file's text defines.

    Args:
        path: Where it stood, for messages.
        text: The whole file.
        sha256: What the text has to hash to.

    Raises:
        RunStop: CONFIG_INVALID, with the line, for a text that is refused or defines no strategy.
    """
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != sha256:
        raise _invalid(f"{path}: expected sha256 {sha256}, found {found}")
    if sha256 not in _LOADED:
        _LOADED[sha256] = _class_of(path, _run(path, text, sha256))
    return _LOADED[sha256]


def _run(path: str, text: str, sha256: str) -> dict[str, Any]:
    module = ModuleType(f"minibot_own_{sha256[:16]}")
    sys.modules[module.__name__] = module
    namespace = vars(module)
    exec(compile(text, path, "exec", dont_inherit=True), namespace)
    return namespace


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
        raise _invalid(f"{path}: expected one class that derives from Strategy, found {names}")
    return classes[0]


def _invalid(detail: str) -> RunStop:
    return RunStop("strategy_role", "CONFIG_INVALID", detail)
