"""Help text of a verb, folded between words for terminals of eighty columns, of forty and wider."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterable
from typing import Final

WIDTH_MIN: Final = 40
# Below this width, flags get less room, so that their help has more.
BESIDE_FROM: Final = 60
FLAGS_WIDTH, FLAGS_WIDTH_NARROW = 24, 8
USAGE_INDENT_NARROW: Final = 4
UNFOLDED: Final = 100_000


class HelpText(argparse.HelpFormatter):
    """Formatter of the help of a command line that breaks no word and fills no last column."""

    def __init__(self, prog: str) -> None:
        columns = max(WIDTH_MIN, shutil.get_terminal_size().columns)
        self._is_narrow = columns < BESIDE_FROM
        beside = FLAGS_WIDTH_NARROW if self._is_narrow else FLAGS_WIDTH
        super().__init__(prog, max_help_position=beside, width=columns - 2)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return folded(text, width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in folded(text, width - len(indent)))

    def _format_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None,
    ) -> str:
        width, self._width = self._width, UNFOLDED
        try:
            line = super()._format_usage(usage, actions, groups, prefix).rstrip("\n")
        finally:
            self._width = width
        head = f"usage: {self._prog} "
        indent = USAGE_INDENT_NARROW if self._is_narrow else len(head)
        return "\n".join(folded_usage(line, width, indent)) + "\n\n"


def folded(text: str, width: int) -> list[str]:
    """Return a text in lines of a width; a wider word has a line to itself."""
    words = " ".join(text.split())
    return textwrap.wrap(words, width, break_long_words=False, break_on_hyphens=False)


def folded_usage(line: str, width: int, indent: int) -> list[str]:
    """Return a usage in lines, broken between its parts, or at a bar where one is too wide."""
    lines = [""]
    for part in _parts(line, width - indent):
        if lines[-1].strip() and len(lines[-1]) + 1 + len(part) > width:
            lines.append(" " * indent + part)
        else:
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return lines


def _parts(line: str, width: int) -> list[str]:
    """Return the parts between spaces outside of brackets; one too wide is divided after bars."""
    parts, depth, part = [], 0, ""
    for letter in line:
        depth += (letter in "[(") - (letter in "])")
        if letter == " " and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    parts.append(part)
    return [
        piece
        for whole in parts
        for piece in (whole.replace("| ", "|\n").split("\n") if len(whole) > width else [whole])
    ]
