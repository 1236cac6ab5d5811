"""Determinism check: one backtest in two separate processes, compared byte for byte (B-76).

Each process has its own folder and its own hash seed, so an order that depends on hashes shows. If
both reports are the same, one is kept; if they differ, both stay for inspection.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.backtest.report.store import RESULT_FILE, Kept, find_kept
from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.kernel.files import copy_atomic, ensure_folder, hash_file, write_hashed
from minibot.report.readiness import SIX_MONTHS_MS, TWICE_FILE
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.paths import PROJECT, Var

# Flags appended to the command: argparse lets the last flag win, also over an abbreviated one.
ONCE: Final = ("--no-twice", "--json")
SEEDS: Final = ("1", "2")


@dataclass(frozen=True, slots=True)
class DeterminismCheck:
    """The same backtest run by two processes, and where their reports differ.

    Attributes:
        documents: The report document of each process.
        differing: Names of files that differ or that only one process wrote. If the reports' ids
            differ, no file is named: the only entry is a text with both ids.
        folder: The folder of the kept report; where the reports differ, the lab that holds both.
    """

    documents: tuple[JsonObject, JsonObject]
    differing: tuple[str, ...]
    folder: Path

    @property
    def is_same(self) -> bool:
        """True when the digests and every byte of both reports are the same."""
        return not self.differing and self.documents[0]["digest"] == self.documents[1]["digest"]

    @property
    def is_six_months(self) -> bool:
        """True when the report covers six months or more: 181 days (`SIX_MONTHS_MS`)."""
        document = self.documents[0]
        return int(document["to_ts"] - document["from_ts"]) >= SIX_MONTHS_MS


def run_twice(argv: Sequence[str], var: Var) -> DeterminismCheck:
    """Run a backtest twice at the same time and compare the two reports.

    Args:
        argv: The command line after `minibot`. It has to name a run by its folder: each process has
            its own root, without any run.
        var: The root that keeps one of two equal reports; different ones stay in a lab below it.

    Raises:
        Refusal: A process kept no report, and the lab is removed. The message is the process's own,
            or `it kept nothing` if it gave none or has shown it on the terminal itself; so is the
            exit code, or 2 if that is 0.
    """
    lab = var.lab_of(f"twice-{os.getpid()}").root
    vars_ = [Var(lab / seed) for seed in SEEDS]
    try:
        kept = _run_both(argv, vars_)
    except Refusal:
        shutil.rmtree(lab, ignore_errors=True)
        raise
    differing = _differing(*(each.folder for each in kept))
    folder = lab
    if not differing:
        folder = var.backtests / kept[0].name
        ensure_folder(folder)
        for path in sorted(kept[0].folder.iterdir(), key=lambda path: path.name == RESULT_FILE):
            copy_atomic(path, folder / path.name)
        write_hashed(folder / TWICE_FILE, _record(kept[0].document), generation=1)
        shutil.rmtree(lab)
    return DeterminismCheck((kept[0].document, kept[1].document), differing, folder)


def _record(document: JsonObject) -> JsonObject:
    """Return the record of two equal backtests, which `minibot ready` reads."""
    return {
        "schema": "minibot.backtest_twice",
        "id": document["id"],
        "digest": document["digest"],
        "span_ms": document["to_ts"] - document["from_ts"],
        # A synthetic market is not a history.
        "recorded": all(document["files"].values()),
        "code_sha256": code_sha256(PROJECT),
    }


def _run_both(argv: Sequence[str], vars_: Sequence[Var]) -> list[Kept]:
    started: list[subprocess.Popen[str]] = []
    for var, seed in zip(vars_, SEEDS, strict=True):
        ensure_folder(var.root)
        command = [sys.executable, "-m", "minibot", *argv, "--var", str(var.root), *ONCE]
        environ = {**os.environ, "PYTHONHASHSEED": seed}
        # Only the first draws its progress on the terminal; two would draw over each other.
        stderr = None if not started and sys.stderr.isatty() else subprocess.PIPE
        started.append(
            subprocess.Popen(
                command, env=environ, stdout=subprocess.DEVNULL, stderr=stderr, text=True
            )
        )
    errors = [process.communicate()[1] or "" for process in started]
    kept = []
    for process, text, var in zip(started, errors, vars_, strict=True):
        try:
            kept.append(find_kept("latest", var))
        except Refusal as error:
            reason = text.strip().removeprefix("refused: ") or "it kept nothing"
            remedy = f"That was: minibot {' '.join(argv)}"
            raise Refusal(reason, remedy, process.returncode or 2) from error
    return kept


def _differing(first: Path, second: Path) -> tuple[str, ...]:
    """Return the names of files that differ; if the folders' names differ, one text of both."""
    found = [
        {path.name: hash_file(path)[1] for path in folder.iterdir()} for folder in (first, second)
    ]
    if first.name != second.name:
        return (f"{first.name} and {second.name}",)
    names = sorted({*found[0], *found[1]})
    return tuple(name for name in names if found[0].get(name) != found[1].get(name))
