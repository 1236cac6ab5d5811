"""Processes of a drill's run: found, distinguished from others, signalled.

A process belongs to the run if its command line names minibot and the run's `var`, or if it is in
the session of a launcher that the drill started (on Windows: its child). Roles and the sandboxed
worker have sessions of their own and are known by their command lines. No other process is ever
signalled, even if it reads files of the run.
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
    """Fault that this machine cannot have; the message names the missing feature."""


class DrillProcesses:
    """Processes of one run, looked up at each call.

    Args:
        root: The `var` of the run, which is in the command line of its processes.

    Attributes:
        sessions: Process ids of the launchers, whose sessions belong to the run; empty at first.
    """

    def __init__(self, root: Path) -> None:
        self.sessions: set[int] = set()
        self._root = str(root)

    def members(self) -> list[psutil.Process]:
        """Return every living process of the run, the launcher too; never a zombie or itself."""
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
        """Return the id of the first process of the run whose command line holds all texts.

        None if there is none. A text may be a part of a word.
        """
        for process in self.members():
            if _holds(process, words):
                return process.pid
        return None


def signalled(pid: int, act: Callable[[psutil.Process], object]) -> None:
    """Apply a function to a process; do nothing if it is gone.

    Raises:
        psutil.AccessDenied: This user may not signal it.
    """
    try:
        act(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return


def named(process: psutil.Process) -> str:
    """Return a process for messages: its id and, while it lives, the start of its command line."""
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
        """Send Ctrl-Break to a process group.

        Raises:
            FeatureMissing: There is no console to send it.
        """
        # Not by `send_signal`: where the call fails, Python 3.11 kills the process instead.
        is_sent = ctypes.windll.kernel32.GenerateConsoleCtrlEvent(
            signal.CTRL_BREAK_EVENT, process.pid
        )
        if not is_sent:
            raise FeatureMissing("a console that tells its processes of Ctrl-Break")

    def _session(pid: int) -> int:
        # No such sessions here: the launcher's children belong to the run.
        try:
            return psutil.Process(pid).ppid()
        except psutil.Error:
            return 0

else:
    OWN_GROUP: Final = 0

    def interrupted(process: subprocess.Popen[bytes]) -> None:
        """Send a process the signal of Ctrl-C."""
        process.send_signal(signal.SIGINT)

    def _session(pid: int) -> int:
        try:
            return os.getsid(pid)
        except OSError:
            return 0
