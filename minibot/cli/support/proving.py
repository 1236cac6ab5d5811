"""Proof of a finished run by separate processes: `verify` and `replay` in parallel."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibot.cli.support.output import PROGRESS
from minibot.report.figures import counted, plain_text
from minibot.runtime.interpreter import environ_of_read, python_argv

FINDINGS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of one check of the finished run; `document` is its JSON, empty when it broke off."""

    name: str
    passed: bool
    text: str
    document: dict[str, Any]
    lines: tuple[str, ...] = ()


class Proving:
    """Proving: two checks that run while the figures are counted; none without a run."""

    def __init__(self, run_dir: Path | None) -> None:
        names = () if run_dir is None else ("verify", "replay")
        self._processes = {name: _start(name, str(run_dir)) for name in names}

    def verdicts(self) -> list[Verdict]:
        """Wait for both checks and return their verdicts."""
        found = []
        for name, process in self._processes.items():
            output, complaint = process.communicate()
            found.append(verdict_of(name, process.returncode, output, complaint))
        return found

    def kill(self) -> None:
        """Kill the checks that are still running."""
        for process in self._processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()


def _start(name: str, run: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*python_argv("minibot"), name, run, "--json"],
        env=environ_of_read(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    )


def verdict_of(name: str, code: int, output: str, complaint: str) -> Verdict:
    """Return the verdict of a check, from its exit code, its JSON document and its stderr."""
    try:
        document = json.loads(output)
    except ValueError:
        told = [plain_text(line) for line in _told(complaint)] or [f"exit {code}"]
        return Verdict(name, False, told[0], {}, tuple(told[1 : FINDINGS_SHOWN + 1]))
    if name == "verify":
        findings = document["findings"]
        text = "clean" if not findings else counted(len(findings), "finding")
        lines = [
            f"{item['code']} {item['file']}:{item['line']}: {item['found']}"
            for item in findings[:FINDINGS_SHOWN]
        ]
        return Verdict(name, code == 0, text, document, tuple(map(plain_text, lines)))
    if "difference" not in document:  # The run could not be read at all.
        text = f"NOT PROVEN, {document['reason_code']}: {document['detail']}"
        return Verdict(name, False, plain_text(text), document)
    difference = document["difference"]
    verdict = "identical" if document["identical"] else "DIFFERENT"
    if document["broken"]:
        verdict = "NOT PROVEN to the end"
    events = sum(sum(role["outputs"].values()) for role in document["roles"])
    text = f"{verdict}, {counted(events, 'decision event')}"
    if document["digest"] is not None:
        text += f", digest {document['digest'][:16]}"
    lines = difference["lines"] if difference else _why_not_identical(document)
    return Verdict(name, code == 0, text, document, tuple(map(plain_text, lines)))


def _told(complaint: str) -> list[str]:
    """Return the complaint of a check that broke off: no progress, of a traceback the error."""
    lines = [line for line in complaint.splitlines() if line.strip()]
    if any(line.startswith("Traceback ") for line in lines):
        return lines[-1:]
    return [line for line in lines if not PROGRESS.fullmatch(line)]


def _why_not_identical(document: dict[str, Any]) -> list[str]:
    """Return reasons other than a decision for a failed replay; empty where all is equal."""
    broken, ledger, figures = (document.get(name) for name in ("broken", "ledger", "figures"))
    lines = []
    if broken:
        lines.append(f"broken off: {broken['role']}: {broken['reason_code']}: {broken['detail']}")
    if ledger and ledger["difference"]:
        lines.append(f"ledger: {ledger['difference']}")
    for name, values in ((figures or {}).get("differing") or {}).items():
        lines.append(f"{name}: replay {values['replay']!r}, recorded {values['recorded']!r}")
    return lines[:FINDINGS_SHOWN]
