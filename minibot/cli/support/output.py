"""Output of the verbs: one JSON document on stdout with `--json`, lines for people without.

A verb that goes on, such as `tail`, prints one JSON object a line instead of one document.

On a terminal, rows are wrapped to its width and coloured; in a pipe they are plain lines.
Progress goes to standard error, and only where that is a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from minibot.report.summary import Row

LABEL_WIDTH = 14
WIDTH_MIN = 40
# A row's label and the gap before its text.
LABEL = re.compile(r" *\S+(?: \S+)* {2,}")
STYLES = {"good": "green", "bad": "red", "dim": "dim", "": ""}


def show(arguments: argparse.Namespace, document: object, lines: Sequence[str]) -> None:
    """Print the document or the lines."""
    if arguments.json:
        show_json(document)
        return
    for line in lines:
        print(line)


def wrapped(lines: Sequence[str]) -> list[str]:
    """Return lines wrapped to the terminal; a row continues below the beginning of its text.

    In a pipe they are unchanged. Nothing is cut, and no word is split: a path that is longer than
    a line is wrapped by the terminal itself.
    """
    if not sys.stdout.isatty():
        return list(lines)
    width = max(WIDTH_MIN, shutil.get_terminal_size().columns)
    return [part for text in lines for line in text.split("\n") for part in _parts(line, width)]


def _parts(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    label = LABEL.match(line)
    begin = len(line) - len(line.lstrip()) + 2
    if label is not None and label.end() <= width // 3:
        begin = label.end()
    indent = " " * begin
    if max(map(len, line.split())) > width - begin:
        return [line]
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def drop_reader(stream: TextIO) -> None:
    """Point a stream whose reader is gone at the null device, so that later writes do not fail."""
    with suppress(OSError, ValueError):  # A stream that is no file needs none of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_json(document: object) -> None:
    """Print one JSON document; characters outside ASCII are escaped, for any pipe."""
    print(json.dumps(document, indent=2))


def show_rows(rows: Sequence[Row]) -> None:
    """Print labelled rows; a row without text is a heading."""
    # Imported here because only a verb that draws needs it.
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        for row in rows:
            print(_plain(row))
        sys.stdout.flush()
        return
    for row in rows:
        if row.label and not row.text:
            console.print(Text(f"\n{row.label}", style="bold"))
            continue
        console.print(Text(_wrapped(row, console.width), style=STYLES[row.tone]))


def _plain(row: Row) -> str:
    if row.label and not row.text:
        return f"\n{row.label}"
    return f"  {row.label:<{LABEL_WIDTH}}{row.text}".rstrip()


def _wrapped(row: Row, width: int) -> str:
    return textwrap.fill(
        row.text,
        width=max(40, width),
        initial_indent=f"  {row.label:<{LABEL_WIDTH}}",
        subsequent_indent=" " * (LABEL_WIDTH + 2),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


class Bar(Protocol):
    """Progress bar: called with the work done and the whole, 0 for an unknown whole."""

    def __call__(self, done: int, whole: int = 0) -> None:
        """Draw."""


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """Yield a function that draws progress, on standard error and only on a terminal."""
    if not (sys.stderr.isatty() or "FORCE_COLOR" in os.environ or "TTY_COMPATIBLE" in os.environ):
        yield lambda done, whole=0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, whole=0: None
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


def shown_path(path: Path) -> str:
    """Return a path relative to the working folder if it lies below it, else as it is."""
    try:
        return Path(os.path.realpath(path)).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
