"""Blocks of README and guide: the commands and files that a reader types, in the page's order.

A session types nothing else, so page and session cannot differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

PROJECT: Final = Path(__file__).resolve().parents[2]
README: Final = PROJECT / "README.md"
GUIDE: Final = PROJECT / "docs" / "STRATEGIES.md"
WITH_ENV: Final = "python3 tools/with_env.py "
MINIBOT: Final = "minibot "
# A fenced block, with the last line of what is said before it.
BLOCK: Final = re.compile(r"^([^\n]*)\n\n```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE: Final = re.compile(r"becomes `(strategies/\w+\.py)`")
SPAN: Final = re.compile(r"`(minibot [^`\n]+)`")
# A command of the README may have a remark behind it, in a column of its own.
REMARK: Final = re.compile(r"\s{2,}\S.*$")


class Step(NamedTuple):
    """Block of a page: the file that it becomes, else the commands that it holds.

    Attributes:
        file: Path of the file in the checkout; empty for commands.
        text: Text of the file; empty for commands.
        commands: Command lines, without their remarks.
    """

    file: str
    text: str
    commands: tuple[str, ...]


class PageError(ValueError):
    """A page lacks what a session wants to type."""


def guide_part(page: str) -> str:
    """Return the part of the guide that leads from an idea to a paper night."""
    begin, end = page.find("## From an idea"), page.find("**6.")
    if not 0 <= begin < end:
        raise PageError("the guide has no part from an idea to a paper night")
    return page[begin:end]


def steps_of(part: str) -> Iterator[Step]:
    """Yield the blocks of a part of a page.

    Raises:
        PageError: A block of Python does not say which file it becomes, or another one does.
    """
    for said, language, text in BLOCK.findall(part):
        found = FILE.search(said)
        if (found is not None) != (language == "python"):
            raise PageError(f"a block of Python, and no other, becomes a file: {said!r}")
        if found is not None:
            yield Step(found[1], text, ())
        else:
            yield Step("", "", tuple(commands_of(text)))


def commands_of(text: str) -> Iterator[str]:
    """Yield the command lines of a block, each without its remark."""
    for line in text.splitlines():
        if line.startswith((MINIBOT, WITH_ENV)):
            yield REMARK.sub("", line)


def page_commands(page: str) -> Sequence[str]:
    """Return every command of a page: of its blocks, then of its sentences."""
    found = [line for _, _, text in BLOCK.findall(page) for line in commands_of(text)]
    return [*found, *SPAN.findall(page)]


def command_of(page: str, beginning: str) -> str:
    """Return the command of a page that is these words, else the first that begins with them.

    Raises:
        PageError: There is none.
    """
    commands = page_commands(page)
    if beginning in commands:
        return beginning
    for command in commands:
        if command.startswith(f"{beginning} "):
            return command
    raise PageError(f"the page has no command {beginning!r}")
