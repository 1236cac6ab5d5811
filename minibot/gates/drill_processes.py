"""The processes of a run under a drill: found, told apart from strangers, signalled.

A process is of the run when it is one of minibot's on the run's `var`, or stands in a session that
the drill has started. Nobody else is ever touched, also not who looks at files of the run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from minibot.kernel.errors import MinibotError


class FeatureMissing(MinibotError):
    """This machine cannot have the fault; the message names the feature."""


class DrillProcesses:
    """Every process of one run.

    Args:
        root: The `var` of the run, which stands in the command line of its processes.
    """

    def __init__(self, root: Path) -> None:
        self.sessions: set[int] = set()
        self._root = str(root)

    def members(self) -> list[psutil.Process]:
        """Return every living process of the run, the launcher among them."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if process.info["status"] == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            if self._is_on_var(words) or _session(process.pid) in self.sessions:
                found.append(process)
        return found

    def _is_on_var(self, words: Sequence[str]) -> bool:
        if not any(word == "minibot" or word.startswith("minibot.") for word in words):
            return False
        return any(word == self._root or word.startswith(self._root + os.sep) for word in words)

    def pid(self, *words: str) -> int | None:
        """Return the id of a process of the run whose command line holds these words, or None."""
        for process in self.members():
            if _holds(process, words):
                return process.pid
        return None


def signalled(pid: int, act: Callable[[psutil.Process], object]) -> None:
    """Do something to a process; nothing when it is gone."""
    try:
        act(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return


def named(process: psutil.Process) -> str:
    """Return how a process is told of: its id and the beginning of its command line."""
    try:
        return f"{process.pid} {' '.join(process.cmdline())[:120]}"
    except psutil.Error:
        return f"{process.pid}"


def _holds(process: psutil.Process, words: Sequence[str]) -> bool:
    try:
        cmdline = process.cmdline()
    except psutil.Error:
        return False
    return all(any(word in part for part in cmdline) for word in words)


if sys.platform == "win32":
    OWN_GROUP: Final = subprocess.CREATE_NEW_PROCESS_GROUP

    def interrupted(process: subprocess.Popen[bytes]) -> None:
        """Do to a process group what Ctrl-Break does."""
        # Not by `send_signal`: where the call fails, Python 3.11 kills the process instead.
        told = ctypes.windll.kernel32.GenerateConsoleCtrlEvent(signal.CTRL_BREAK_EVENT, process.pid)
        if not told:
            raise FeatureMissing("a console that tells its processes of Ctrl-Break")

    def _session(pid: int) -> int:
        # No sessions of this kind here: whom the launcher started is of the run.
        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return 0

else:
    OWN_GROUP: Final = 0

    def interrupted(process: subprocess.Popen[bytes]) -> None:
        """Do to a process what Ctrl-C does."""
        process.send_signal(signal.SIGINT)

    def _session(pid: int) -> int:
        try:
            return os.getsid(pid)
        except OSError:
            return 0
