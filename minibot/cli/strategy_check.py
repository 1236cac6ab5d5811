"""minibot strategy-check: check that a strategy is allowed, loads and survives a restart."""

from __future__ import annotations

import argparse
import hashlib
import os
from pathlib import Path

from minibot.cli.support.numbers import between
from minibot.cli.support.output import show
from minibot.kernel.errors import Refusal
from minibot.kernel.files import is_endless
from minibot.runtime.configuration.own_source import FOLDER, SHIPPED, own_files, unmarked
from minibot.runtime.paths import PROJECT, find, is_within, shown_path
from minibot.strategies.source_check import source_findings
from minibot.strategies.source_finding import Finding
from minibot.strategies.trial_process import LIMIT_S, tried

HELP = "check a strategy's file: what it may not do, by line; then load and try it"
EXAMPLE = "minibot strategy-check strategies/dip_buyer.py"
PACKAGE = PROJECT / "minibot"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "files", nargs="*", metavar="FILE", help=f"files of strategies (default: {FOLDER}/*.py)"
    )
    command.add_argument(
        "--limit",
        type=between(1, 3600),
        default=LIMIT_S,
        metavar="SECONDS",
        help=f"end a trial that takes longer (default: {LIMIT_S})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Check every file; 0 when all may run, else 1."""
    paths = [find(name) for name in arguments.files]
    if not paths:
        paths = own_files(FOLDER)
    if not paths:
        raise Refusal(f"there is no strategy in {FOLDER}.", "Make one: minibot new-strategy NAME")
    results = [examined(path, arguments.limit) for path in paths]
    lines = []
    for path, digest, findings, failure in results:
        shown = shown_path(path)
        lines += [finding.text(shown) for finding in findings]
        if failure:
            lines.append(failure)
        if not findings and not failure:
            lines.append(f"{shown}: may run, sha256 {digest}")
    document = [
        {
            "file": str(path),
            "sha256": digest,
            "ok": not findings and not failure,
            "findings": [
                {"line": finding.line, "what": finding.what, "instead": finding.instead}
                for finding in findings
            ],
            "failure": failure or None,
        }
        for path, digest, findings, failure in results
    ]
    show(arguments, document, lines)
    return 1 if any(findings or failure for _, _, findings, failure in results) else 0


def examined(path: Path, limit_s: int = LIMIT_S) -> tuple[Path, str, list[Finding], str]:
    """Return a file, its sha256, the findings by line, and the failure of its trial, if any.

    Raises:
        Refusal: The file does not exist, is not text, or has a name that no profile can use.
    """
    if not os.path.exists(path):
        raise Refusal(f"{path}: there is no such file.", "Give a strategy's file.")
    if path.suffix != ".py" or (path.stem in SHIPPED and not is_within(path, PACKAGE)):
        # A profile names a strategy by its file's name, and would find another one by this name.
        raise Refusal(
            f"{path}: no name for an own strategy; shipped are {', '.join(SHIPPED)}.",
            "Name it NAME.py, of small letters, digits and _.",
        )
    try:
        if is_endless(path):
            raise ValueError("it is not a regular file")
        data = unmarked(path.read_bytes())
        text = data.decode("utf-8")
    except (OSError, ValueError) as error:
        what = f"{shown_path(path)} cannot be read: {error}."
        if isinstance(error, FileNotFoundError):
            what = f"{shown_path(path)}: no such file."
        raise Refusal(what, "To make one: minibot new-strategy NAME.") from error
    findings = source_findings(text)
    failure = "" if findings else tried(path, limit_s)
    return path, hashlib.sha256(data).hexdigest(), findings, failure
