"""Paths: the project's root, paths as people write them, and the folders under `var`."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Final

import minibot

PROJECT: Final = Path(minibot.__file__).resolve().parent.parent
"""The checkout: the folder that holds `minibot`, `config` and `contracts`."""

# The specification calls the root minibot; our folders are one level up.
PREFIX: Final = "minibot"
TOP_LEVEL: Final = frozenset({"config", "contracts", "var", "staging", "tools", "tests", "docs"})

_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{name}{number}" for name in ("com", "lpt") for number in range(10)}
)


def plain(text: str) -> str:
    """Return a path without a leading `minibot/` that stands for the project's root."""
    parts = text.replace("\\", "/").split("/")
    while parts and parts[0] == ".":
        parts.pop(0)
    if len(parts) > 1 and parts[0] == PREFIX and parts[1] in TOP_LEVEL:
        return "/".join(parts[1:])
    return text


def resolve(text: str | Path, base: Path = PROJECT) -> Path:
    """Return the absolute path of a file named in a configuration.

    A relative path is below `base`; a leading `minibot/` before a top-level folder is dropped. For
    a file that a person names, `find` looks in the working folder first.
    """
    return base / plain(str(text))


def find(text: str | Path) -> Path:
    """Return the path of a file that a person names: in the working folder, else the project."""
    here, stripped = Path.cwd() / str(text), Path.cwd() / plain(str(text))
    for path in (here, stripped):
        if exists(path):
            return path
    return resolve(text)


def exists(path: Path) -> bool:
    """Return whether a path exists; an impossible name does not."""
    return os.path.exists(path)


def escape_reason(text: str) -> str | None:
    """Return why a configuration may not contain a path, or None if it may (F144).

    The verdict is the same on every system, so that a profile that runs here runs there.
    """
    if not text or text != text.strip() or any(ord(character) < 32 for character in text):
        return "is empty or holds blanks at its ends or control characters"
    if text.startswith(("\\\\", "//")):
        return "is a network or device path"
    parts = PurePosixPath(text.replace("\\", "/")).parts
    if ".." in parts:
        return "holds '..'"
    drive = PureWindowsPath(text).drive
    rest = text[len(drive) :] if len(drive) == 2 else text
    if any(character in rest for character in ':*?"<>|'):
        return "holds a character that names a stream or a pattern"
    for part in parts:
        if part.split(".")[0].strip().lower() in _DEVICES:
            return f"holds the device name {part!r}"
        if part.endswith((".", " ")) and part not in (".", ".."):
            return f"holds {part!r}, which ends in a dot or blank"
    if drive and not rest.startswith(("/", "\\")):
        return "is relative to a drive"
    return None


def is_within(path: Path, folder: Path) -> bool:
    """Return whether a path, links followed, lies in a folder or is it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def project_name(path: Path) -> str:
    """Return a file's path from the project's root, or its absolute path if it is outside."""
    return path.relative_to(PROJECT).as_posix() if path.is_relative_to(PROJECT) else str(path)


def shown_path(path: Path) -> str:
    """Return a path relative to the working folder if it lies below it, else as it is."""
    here = Path.cwd()
    for found in (os.path.abspath(path), os.path.realpath(path)):
        if Path(found).is_relative_to(here):
            return Path(found).relative_to(here).as_posix()
    return str(path)


class Var:
    """Folders and files that a run writes, below one root; none is made here."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.queues = root / "queues"
        self.runs = root / "runs"
        self.pruned = root / "pruned"
        self.unpacked = root / "unpacked"
        self.stop = root / "stop"
        self.requests = root / "requests"
        self.logs = root / "logs"
        self.metrics = root / "metrics"
        self.ai = root / "ai"
        self.ops = root / "ops"
        self.status = self.ops / "status.json"
        self.page_address = self.ops / "page.json"
        self.page_token = self.ops / "token"
        self.page_code = self.ops / "code"
        self.page_opened = self.ops / "page_opened.json"
        self.backup_status = self.ops / "backup.json"
        self.alert_test = self.ops / "alert_test.json"
        self.lab = root / "lab"
        self.backtests = root / "backtests"
        self.comparisons = root / "comparisons"
        self.flag = root / "STOP.flag"
        # Next to the folder: a run that has lost `var` leaves its STOP there.
        self.flag_beside = root.parent / f"{root.name}.STOP.flag"
        self.stop_journal = root / "stop_journal.jsonl"
        self.lock = root / "run.lock"

    def run(self, run_id: str) -> Path:
        """Return the folder of a run."""
        return self.runs / run_id

    def lab_of(self, name: str) -> Var:
        """Return the separate root of a drill, gate or chaos run by its name."""
        return Var(self.lab / name)
