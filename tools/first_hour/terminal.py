"""Terminal of a session: bash in tmux, typed into and read like a person's screen.

tmux runs on a socket of its own with no configuration, so other sessions of the machine are not
touched. After each command the shell appends its exit code and the CPU time of all its children to
a file, which tells that the command has ended.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

TMUX: Final = "tmux"
LOOK_S: Final = 0.05
GLANCE_S: Final = 1.0
HISTORY_LINES: Final = 20_000
RC: Final = """\
PS1='$ '
HISTFILE=
said() {{ local code=$?; echo "code $code" >>{marks}; times >>{marks}; }}
PROMPT_COMMAND=said
alias minibot=.venv/bin/minibot
"""
# A line of `times`: user and system time, such as `1m2.345s 0m0.678s`.
TIMES: Final = re.compile(r"(\d+)m([\d.,]+)s (\d+)m([\d.,]+)s")
# Kept from the session: what would make it another one than a person's.
UNLIKE_A_PERSON: Final = ("PYTHON", "MINIBOT", "TMUX", "VIRTUAL_ENV", "NO_COLOR", "COLUMNS", "CI")


class TerminalError(RuntimeError):
    """The terminal cannot be started, or a command in it did not end."""


class Ended(NamedTuple):
    """A command that has ended.

    Attributes:
        code: Its exit code.
        wall_s: Seconds from Enter to the next prompt.
        cpu_s: CPU time of all its processes that it waited for.
        screen: All that it printed, in lines of the terminal's width.
        text: The same, wrapped lines joined.
    """

    code: int
    wall_s: float
    cpu_s: float
    screen: str
    text: str


def found_tmux() -> str | None:
    """Return the path of an installed tmux, None where there is none."""
    return None if sys.platform == "win32" else shutil.which(TMUX)


class Terminal:
    """One shell in one window of a size, for a `with`."""

    def __init__(self, folder: Path, columns: int, lines: int) -> None:
        self._folder = folder
        self._size = (columns, lines)
        self._own = Path(tempfile.mkdtemp(prefix="minibot-terminal-"))
        self._marks = self._own / "marks"
        self._marks.touch()
        self._opened = self._own / "opened"
        self._opened.touch()

    def __enter__(self) -> Terminal:
        rc = self._own / "rc"
        rc.write_text(RC.format(marks=shlex.quote(str(self._marks))), encoding="utf-8")
        browser = self._own / "browser"
        browser.write_text(
            f'#!/bin/sh\necho "$1" >>{shlex.quote(str(self._opened))}\n', encoding="utf-8"
        )
        browser.chmod(0o755)
        columns, lines = self._size
        shell = shlex.join(["bash", "--noprofile", "--rcfile", str(rc), "-i"])
        self._tmux("start-server", ";", "set", "-g", "history-limit", str(HISTORY_LINES), ";",
                   "new-session", "-d", "-x", str(columns), "-y", str(lines),
                   "-c", str(self._folder), "-e", f"BROWSER={browser}", shell)  # fmt: skip
        self._await(1, 60.0)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(self._argv("kill-server"), check=False, capture_output=True)
        shutil.rmtree(self._own, ignore_errors=True)

    def opened(self) -> list[str]:
        """Return the addresses that a browser was asked to open."""
        return self._opened.read_text(encoding="utf-8").split()

    def type(
        self, command: str, limit_s: float, glance: Callable[[float, str], None] | None = None
    ) -> Ended:
        """Type a command on a cleared screen, and return it ended.

        Args:
            command: The line.
            limit_s: Seconds in which it has to end.
            glance: Called with the seconds since Enter and the screen, now and then.

        Raises:
            TerminalError: It did not end in time.
        """
        self._run("clear", 60.0)
        self._tmux("clear-history")
        before, began = self._cpu_s(), time.monotonic()
        self._run(command, limit_s, glance)
        wall_s = time.monotonic() - began
        whole = ("capture-pane", "-p", "-S", "-")
        screen, text = (trimmed(self._tmux(*whole, *more)) for more in ((), ("-J",)))
        return Ended(self._code(), wall_s, self._cpu_s() - before, screen, text)

    def _run(
        self, line: str, limit_s: float, glance: Callable[[float, str], None] | None = None
    ) -> None:
        wanted = self._count() + 1
        self._tmux("send-keys", "-l", "--", line)
        self._tmux("send-keys", "Enter")
        self._await(wanted, limit_s, glance, line)

    def _await(
        self,
        wanted: int,
        limit_s: float,
        glance: Callable[[float, str], None] | None = None,
        line: str = "the shell's start",
    ) -> None:
        began, looked_s = time.monotonic(), 0.0
        while self._count() < wanted:
            passed_s = time.monotonic() - began
            if passed_s > limit_s:
                raise TerminalError(f"{line}: did not end within {limit_s:.0f} s")
            if glance is not None and passed_s - looked_s >= GLANCE_S:
                looked_s = passed_s
                glance(passed_s, trimmed(self._tmux("capture-pane", "-p")))
            time.sleep(LOOK_S)

    def _count(self) -> int:
        """Return how many commands have ended: each leaves a code and the two lines of `times`."""
        return self._marks.read_text(encoding="utf-8").count("\n") // 3

    def _code(self) -> int:
        return int(self._marks.read_text(encoding="utf-8").splitlines()[-3].split()[1])

    def _cpu_s(self) -> float:
        found = TIMES.fullmatch(self._marks.read_text(encoding="utf-8").splitlines()[-1])
        if found is None:
            raise TerminalError("the shell's `times` has another form than bash's")
        minutes, seconds = (found[1], found[3]), (found[2], found[4])
        parts = zip(minutes, seconds, strict=True)
        return sum(60 * int(m) + float(s.replace(",", ".")) for m, s in parts)

    def _tmux(self, *words: str) -> str:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(UNLIKE_A_PERSON)
        }
        done = subprocess.run(
            self._argv(*words), env=environ, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise TerminalError(f"tmux {words[0]}: {done.stderr.strip()}")
        return done.stdout

    def _argv(self, *words: str) -> list[str]:
        return [TMUX, "-u", "-f", os.devnull, "-S", str(self._own / "socket"), *words]


def trimmed(screen: str) -> str:
    """Return a screen without spaces at the ends of lines and without empty lines at its end."""
    return "\n".join(line.rstrip() for line in screen.splitlines()).rstrip() + "\n"
