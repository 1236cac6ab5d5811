"""Output of the verbs: one JSON document on stdout with `--json`, lines for people without.

A verb that goes on, such as `tail`, prints one JSON object a line instead of one document.

On a terminal, lines are wrapped to its width between words; in a pipe they are as they are. In
lines, paths below the working folder are relative to it, and commands name the folder and the
profile of the command line that prints them. A document stays as its verb made it: most of its
paths are absolute, and a few are relative. Progress goes to standard error: a bar on a terminal, a
line a second elsewhere.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from minibot.cli.support.help_text import WIDTH_MIN
from minibot.kernel.threads import DaemonThread
from minibot.report.columns import filled
from minibot.runtime.command_place import Place, folder_word

if TYPE_CHECKING:
    from minibot.report.summary import Row

LABEL_WIDTH = 14
# Pause between two lines of progress in a pipe, in seconds.
PROGRESS_EVERY_S = 1.0
# A row's label and the gap before its text.
LABEL = re.compile(r" *\S+(?: \S+)* {2,}")
# A line of progress: title, share where the whole is known, seconds.
PROGRESS = re.compile(r".+: (?:\d+ %, )?\d+ s")
STYLES = {"good": "green", "bad": "red", "dim": "dim", "": ""}
# Place that commands in lines and messages name; None while no verb runs.
_PLACE: ContextVar[Place | None] = ContextVar("place", default=None)


@contextmanager
def speaking_of(place: Place) -> Iterator[None]:
    """Let commands in lines and messages name a place, until the context ends."""
    before = _PLACE.set(place)
    try:
        yield
    finally:
        _PLACE.reset(before)


def speak_of_folder(root: Path) -> None:
    """Let further commands name another folder, up to the end of the verb that runs, if any."""
    place = _PLACE.get()
    if place is not None:
        _PLACE.set(place._replace(folder=folder_word(root)))


def placed(text: str) -> str:
    """Return a text whose commands name the place of this command line."""
    place = _PLACE.get()
    return text if place is None else place.named_in(text)


def show(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    """Print the document or the lines."""
    if arguments.json:
        show_json(document)
        return
    show_lines(lines)


def show_lines(lines: Sequence[str]) -> None:
    """Print lines for people."""
    for line in wrapped(lines):
        print(line)


def say(text: str) -> None:
    """Print a message to standard error at once."""
    stream = sys.stderr
    for line in wrapped([text], stream):
        print(line, file=stream, flush=True)


def wrapped(lines: Sequence[str], stream: TextIO | None = None) -> list[str]:
    """Return lines wrapped to the terminal; a row continues below the beginning of its text.

    In a pipe they are not wrapped. Nothing is cut, and no word is split: a path that is longer than
    a line is wrapped by the terminal itself. Paths below the working folder are relative to it.
    Commands name the place of this command line.

    Args:
        lines: The lines.
        stream: Where they go; standard output by default.
    """
    lines = [placed(line) for line in relative(lines)]
    if not (stream or sys.stdout).isatty():
        return lines
    width = max(WIDTH_MIN, shutil.get_terminal_size().columns)
    return [part for text in lines for line in text.split("\n") for part in _parts(line, width)]


def relative(lines: Sequence[str]) -> list[str]:
    """Return lines in which paths below the working folder are relative to it."""
    try:
        here = f"{Path.cwd()}{os.sep}"
    except OSError:  # The folder is gone.
        return list(lines)
    if here.endswith(os.sep * 2):
        return list(lines)
    # Not in the middle of another path or of an address.
    begin = re.compile(rf"(?<![\w./\\-]){re.escape(here)}")
    return [begin.sub("", line) for line in lines]


def _parts(line: str, width: int) -> list[str]:
    """Return a line in parts; a label wider than a third of the line gets a separate one."""
    if len(line) <= width:
        return [line]
    label = LABEL.match(line)
    begin = len(line) - len(line.lstrip())
    if label is None:
        return filled(line, width, after=" " * _indent(line, begin + 2, width))
    if label.end() <= width // 3:
        return filled(line, width, after=" " * _indent(line, label.end(), width))
    indent = " " * _indent(line, begin + 2, width)
    return [label.group().rstrip(), *filled(line[label.end() :], width, indent, indent)]


def _indent(line: str, wanted: int, width: int) -> int:
    """Return the indent of further lines: as wanted, or less where a word needs the room."""
    return max(0, min(wanted, width - max(map(len, line.split()), default=0)))


def drop_reader(stream: TextIO) -> None:
    """Point a stream whose reader is gone at the null device, so that later writes do not fail."""
    with suppress(OSError, ValueError):  # A stream that is not a file needs none of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_json(document: object) -> None:
    """Print one JSON document; characters outside ASCII are escaped, for any pipe."""
    print(json.dumps(document, indent=2))


def show_rows(rows: Sequence[Row]) -> None:
    """Print labelled rows; a row without text is a heading."""
    styled = (
        (_plain(row), "bold" if row.label and not row.text else STYLES[row.tone]) for row in rows
    )
    _print_styled(styled)


def show_toned(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines, each with its tone: "", good, bad or dim."""
    _print_styled((text, STYLES[tone]) for text, tone in lines)


def _print_styled(lines: Iterable[tuple[str, str]]) -> None:
    # Imported here because only a verb that draws needs it.
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for text, style in lines:
        parts = wrapped([text])
        if not console.is_terminal:
            print(*parts, sep="\n")
            continue
        for part in parts:
            console.print(Text(part, style=style), soft_wrap=True)
    sys.stdout.flush()


def _plain(row: Row) -> str:
    if row.label and not row.text:
        return f"\n{row.label}"
    return f"  {row.label:<{LABEL_WIDTH}}{row.text}".rstrip()


class Bar(Protocol):
    """Progress bar: called with the work done and the whole, 0 for an unknown whole."""

    def __call__(self, done: int, whole: int = 0) -> None:
        """Draw."""


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """Yield a function that shows progress on standard error.

    A terminal gets a bar; a pipe or file a line a second, for work that takes longer than that.
    """
    if not (sys.stderr.isatty() or "FORCE_COLOR" in os.environ or "TTY_COMPATIBLE" in os.environ):
        with _progress_lines(title) as show_progress:
            yield show_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        with _progress_lines(title) as show_progress:
            yield show_progress
        return
    # The usual spinner is braille, which the fonts of many Windows consoles lack.
    columns = (
        SpinnerColumn("line"),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, whole=0: progress.update(task, completed=done, total=whole or None)


@contextmanager
def _progress_lines(title: str) -> Iterator[Bar]:
    """Yield a function that takes progress; a thread prints a line a second until the end."""
    reached = [0, 0]
    ended = threading.Event()

    def take(done: int, whole: int = 0) -> None:
        reached[:] = done, whole

    def print_lines() -> None:
        begun_s = time.monotonic()
        while not ended.wait(PROGRESS_EVERY_S):
            done, whole = reached
            share = f"{min(100, done * 100 // whole)} %, " if whole else ""
            try:
                say(f"{title}: {share}{time.monotonic() - begun_s:.0f} s")
            except (OSError, ValueError):  # No one reads the progress any more; the work goes on.
                return

    # It ends with the process, should a reader that reads nothing hold it up.
    printer = DaemonThread(print_lines, "progress")
    with suppress(RuntimeError):  # The work goes on without its progress.
        printer.start()
    try:
        yield take
    finally:
        ended.set()
        printer.join(PROGRESS_EVERY_S)
