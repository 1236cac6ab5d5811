"""Deployment that dies at one of its steps, as a process of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from minibot.runtime.deployment import staging
from tests.waiting import DEADLINE_S

CUT_OFF: Final = 77
STEPS: Final = ("replace", "unlink", "mkdir")


def deployment(tree: Path, limit: int) -> BaseProcess:
    """Return the process of a deployment, of a server that has imported it where one can fork."""
    if sys.platform == "win32":
        return get_context("spawn").Process(target=_apply, args=(tree, limit))
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context.Process(target=_apply, args=(tree, limit))


def cut_off(tree: Path, limit: int) -> int | None:
    """Apply what is staged in a process that dies behind so many steps; return its exit code."""
    process = deployment(tree, limit)
    process.start()
    try:
        process.join(DEADLINE_S)
        return process.exitcode
    finally:
        process.kill()


def _apply(tree: Path, limit: int) -> None:
    calls = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > limit:
                os._exit(CUT_OFF)
            return call(*args, **kwargs)

        return replaced

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    staging.apply(tree, tree / "var/run.lock")
