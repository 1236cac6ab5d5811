"""Place of a command line or a run: folder and profile that commands in messages repeat.

A message comes from any room, which knows a verb's name and not where the user has it look.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final, NamedTuple

from minibot.runtime.pasting import pasted
from minibot.runtime.paths import resolve, shown_path
from minibot.runtime.verb_groups import GROUPS

PLACELESS: Final = {"completion", "exchange", "help", "restore", "seal-key", "tape"} | {
    *("new-config", "new-strategy", "strategy-check")
}
"""Verbs that do the same whatever `--var` names."""

PROFILED: Final = {"alert", "backtest", "config", "doctor", "guard", "night", "optimise"} | {
    *("probe", "scan", "service", "settings", "size")
}
"""Verbs whose answer depends on the profile that `--config` names."""

_BUNDLE: Final = ".tar.gz"
_FOLDERED: Final = {name for _, names in GROUPS.values() for name in names} - PLACELESS
# A command in a message: its verb with what it is to do, and its words up to the next stop or
# command. A sentence about a verb is none, nor is a list or help that is the same everywhere.
_COMMAND: Final = re.compile(
    r"(?<![\w./\\-])minibot (?P<verb>[a-z]+(?:-[a-z]+)*)(?![\w-])(?! (?:has|takes) no )"
    r"(?P<action>(?: (?:activate|add|adopt|apply|check|install|list|remove|rollback|show|test))?\b)"
    r"(?P<words>(?:(?!minibot |\. )[^;,`)\n])*)"
)
_IS_SAME: Final = re.compile(r" --(?:help|list)\b")
_HAS_VAR: Final = re.compile(r"(?<!\S)--var\b")
_HAS_PROFILE: Final = re.compile(r"(?<!\S)(?:-c|--config)\b")


class Place(NamedTuple):
    """Folder and profile of a command line; of a run on page and in alerts the folder alone.

    Attributes:
        folder: The value of `--var`; empty for the default.
        profile: The value of `--config`; empty where none was typed.
    """

    folder: str = ""
    profile: str = ""

    def named_in(self, text: str) -> str:
        """Return a message whose commands name this place, as far as each depends on it.

        A verb in `PROFILED` gets the profile, one outside of `PLACELESS` the folder; neither where
        the command has its own. A command gets no folder if a word of it is an absolute path, a
        path in the folder or a bundle; a run at another relative path gets it, which does no harm.
        """
        return _COMMAND.sub(self._placed, text) if any(self) else text

    def _placed(self, found: re.Match[str]) -> str:
        verb, words = found["verb"], found["words"]
        if _IS_SAME.match(words):
            return found[0]
        flags = ""
        if self.profile and verb in PROFILED and not _HAS_PROFILE.search(words):
            flags += f" --config {pasted(self.profile)}"
        if self.folder and verb in _FOLDERED and not self._is_in(words):
            flags += f" --var {pasted(self.folder)}"
        return f"minibot {verb}{found['action']}{flags}{words}"

    def _is_in(self, words: str) -> bool:
        """Return whether a command has `--var`, or names a run by its folder or bundle."""
        paths = [word.strip("'\"") for word in words.split()]
        is_path = any(
            os.path.isabs(path) or path.startswith(self.folder + os.sep) or path.endswith(_BUNDLE)
            for path in paths
        )
        return is_path or _HAS_VAR.search(words) is not None


def place_from_afar(root: Path) -> Place:
    """Return a folder as the place of messages that are read elsewhere, by its whole path.

    As in `folder_word` the default one, and one that cannot be pasted, is left out.
    """
    path = os.path.abspath(root)
    return Place(path if folder_word(Path(path)) else "")


def folder_word(root: Path) -> str:
    """Return the value of `--var` that names a folder; empty for the default one.

    A name with control characters is left out: it cannot be pasted from a screen.
    """
    shown = "" if root == resolve("var") else shown_path(root)
    return shown if shown.isprintable() else ""
