"""minibot verify: is anything in a run lost, changed, or written by whoever may not?"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from minibot.cli.output import show
from minibot.cli.selection import add_run, find_run, var_of
from minibot.kernel.verify import Finding
from minibot.report.proof import finding_line, findings_of

HELP = "check every byte and every cause of a run; all findings, with their places"
EXAMPLE = "minibot verify latest"
FINDINGS_MAX = 1000


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument("--lineage", action="store_true", help="causes and permissions alone")
    command.add_argument(
        "--append-only", action="store_true", help="bytes, hashes and chains alone"
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify a run, a queue or a file; 0 clean, 1 with findings."""
    path = _target(arguments)
    found = findings_of(path, bytes_too=not arguments.lineage, lineage=not arguments.append_only)
    findings = list(itertools.islice(found, FINDINGS_MAX))
    document = {
        "target": path.name,
        "clean": not findings,
        "findings": [finding_json(finding) for finding in findings],
    }
    lines = [finding_line(finding) for finding in findings]
    verdict = "clean" if not findings else f"{len(findings)} findings"
    show(arguments, document, [*lines, f"verify {path.name}: {verdict}"])
    return 1 if findings else 0


def _target(arguments: argparse.Namespace) -> Path:
    named = Path(arguments.run_name)
    if named.exists() and not (named / "manifest.json").exists():
        return named.resolve()
    return find_run(arguments.run_name, var_of(arguments))


def finding_json(finding: Finding) -> dict[str, object]:
    """Return a finding as a JSON object."""
    return {
        "file": finding.file,
        "line": finding.line,
        "offset": finding.offset,
        "code": finding.code,
        "expected": finding.expected,
        "found": finding.found,
    }
