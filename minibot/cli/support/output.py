"""Output of the verbs: one JSON document on stdout with `--json`, lines for people without.

On a terminal, rows are wrapped to its width and coloured; in a pipe they stand as plain lines.
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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from minibot.report.summary import Row

LABEL_WIDTH = 14
WIDTH_MIN = 40
# What stands before a text: its label and the gap behind that.
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
    """Return lines as they fit a terminal: what is too long goes on below where its text begins.

    In a pipe they stand as they are. Nothing is cut, and no word is parted: with a path that is
    longer than a line the terminal itself has to go on.
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


def show_json(document: object) -> None:
    """Print one JSON document; letters outside ASCII stand escaped, for any pipe."""
    print(json.dumps(document, indent=2))


def show_rows(rows: Sequence[Row]) -> None:
    """Print labelled rows; a row without text is a heading."""
    # Loaded for who draws: a verb in a pipe starts without.
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
        break_on_hyphens=False,
        drop_whitespace=True,
        replace_whitespace=False,
    )


class Bar(Protocol):
    """Takes how much of how much is done; 0 for a whole that nobody knows."""

    def __call__(self, done: int, whole: int = 0) -> None:
        """Draw."""


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """Yield a function that takes how far the work is; draws on a terminal's stderr alone."""
    if not (sys.stderr.isatty() or "FORCE_COLOR" in os.environ or "TTY_COMPATIBLE" in os.environ):
        yield lambda done, whole=0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, whole=0: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, whole=0: progress.update(task, completed=done, total=whole or None)


def shown_path(path: Path) -> str:
    """Return a path as it is shortest from the working folder."""
    try:
        return Path(os.path.realpath(path)).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
