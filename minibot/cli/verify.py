"""minibot verify: is anything in a run lost, changed, or written by whoever may not?"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path

from minibot.cli.output import show
from minibot.cli.runs import add_run, find_run, var_of
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.verify import Finding, verify_tree
from minibot.replay.engine import Recorded
from minibot.replay.lineage import verify_lineage

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
    findings = list(itertools.islice(findings_of(path, arguments), FINDINGS_MAX))
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


def findings_of(path: Path, arguments: argparse.Namespace) -> itertools.chain[Finding]:
    """Return what is wrong with a run, a queue or a file."""
    parts: list[Iterable[Finding]] = []
    if not arguments.lineage:
        parts.append(verify_tree(path))
    if not arguments.append_only and (path / "manifest.json").exists():
        parts.append(_lineage(path))
    return itertools.chain(*parts)


def _lineage(path: Path) -> list[Finding]:
    try:
        return list(verify_lineage(Recorded.open(path)))
    except RunStop as error:
        return [Finding(str(path), 0, 0, error.reason_code, "a readable run", error.detail)]
    except Refusal as error:
        return [Finding(str(path), 0, 0, "CONFIG_INVALID", "a readable run", str(error))]


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


def finding_line(finding: Finding) -> str:
    """Return a finding in one line."""
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    return f"{finding.code} {place}: expected {finding.expected}, found {finding.found}"
