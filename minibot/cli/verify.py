"""minibot verify: find anything in a run that is lost, changed, or written without permission."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibot.cli.support.numbers import at_least
from minibot.cli.support.output import say, show_lines
from minibot.cli.support.packed import is_bundle
from minibot.cli.support.selection import add_run, find_run, var_of
from minibot.kernel.audit import finding_line
from minibot.kernel.errors import Refusal
from minibot.kernel.files import is_endless
from minibot.kernel.signature import parse_public_key
from minibot.kernel.verify import Finding, verify_quick
from minibot.replay.run_status import is_going
from minibot.report.figures import counted
from minibot.report.proof import (
    fate_of_unsealed,
    findings_of,
    made_again,
    pinned_key,
    waits_for_seal,
    what_is_left,
)
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import shown_path
from minibot.runtime.runfiles import LATEST, is_run_folder

HELP = "check every byte and every cause of a run, queue, file or bundle; findings with places"
EXAMPLE = "minibot verify latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    some = command.add_mutually_exclusive_group()
    some.add_argument(
        "--quick",
        action="store_true",
        help="sizes and sha256 against the seal and the lists of segments; no line is read",
    )
    some.add_argument("--lineage", action="store_true", help="causes and permissions alone")
    some.add_argument("--append-only", action="store_true", help="bytes, hashes and chains alone")
    command.add_argument(
        "--public-key",
        metavar="HEX",
        help="the key that has to have signed the run's seal (default: the run's own profile's)",
    )
    command.add_argument(
        "--jobs",
        type=at_least(1),
        default=os.cpu_count() or 1,
        help="processes (default: all cores)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify a run, a queue or a file; 0 clean, 1 with findings."""
    if arguments.lineage and arguments.public_key:
        text = "--public-key is of the seal's signature, which --lineage does not look at."
        raise Refusal(text, "Leave one of them out.")
    path = _target(arguments)
    if is_bundle(path) and arguments.lineage:
        path = find_run(arguments.run_name, var_of(arguments))
    if is_run_folder(path) and is_going(path):
        say(f"note: {path.name} is still going: it is not sealed yet. Verify it after its end.")
    elif is_run_folder(path) and waits_for_seal(path):
        fate = fate_of_unsealed(path)
        say(f"note: {path.name} {fate}. Its queues are still in var: verify it after that.")
    found = _findings(path, arguments)
    count = _show_json(path, found) if arguments.json else _show_lines(path, found)
    return 1 if count else 0


def _findings(path: Path, arguments: argparse.Namespace) -> Iterator[Finding]:
    key = parse_public_key(arguments.public_key) if arguments.public_key else None
    if is_bundle(path):
        return _bundle_findings(path, key)
    if arguments.quick:
        found = verify_quick(path, public_key=key or pinned_key(path))
        return itertools.chain(found, made_again(path))
    return findings_of(
        path,
        bytes_too=not arguments.lineage,
        lineage=not arguments.append_only,
        public_key=key,
        jobs=arguments.jobs,
    )


def _bundle_findings(path: Path, key: str | None) -> Iterator[Finding]:
    # Imported here because few verbs read a bundle.
    from minibot.report.bundle import check_bundle

    check = check_bundle(path, key)
    if check.root:
        print(f"{check.run_id}, root {check.root}", file=sys.stderr)
    yield from check.findings
    if not check.findings:
        named = pasted(shown_path(path))
        print(f"its causes: minibot verify {named} --lineage", file=sys.stderr)


def _show_lines(path: Path, found: Iterable[Finding]) -> int:
    """Print each finding when it is found, and the verdict; return their number."""
    count = 0
    for finding in found:
        count += 1
        show_lines([finding_line(finding)])
    if count and is_run_folder(path):
        show_lines([f"{path.name}: {what_is_left(path)}"])
    verdict = counted(count, "finding") if count else "clean"
    show_lines([f"verify {path.name}: {verdict}"])
    return count


def _show_json(path: Path, found: Iterable[Finding]) -> int:
    """Print one JSON document, piece by piece, so that any number of findings fits.

    Nothing is printed before the first finding: a target that is refused leaves no half of one.
    """
    count, rest = 0, iter(found)
    first = list(itertools.islice(rest, 1))
    print(f'{{\n  "target": {json.dumps(path.name)},\n  "findings": [', end="")
    for finding in itertools.chain(first, rest):
        print("," if count else "", f"    {json.dumps(finding_json(finding))}", sep="\n", end="")
        count += 1
    end = "\n  " if count else ""
    print(f'{end}],\n  "count": {count},\n  "clean": {json.dumps(not count)}\n}}')
    return count


def _target(arguments: argparse.Namespace) -> Path:
    """Return the newest run for `latest`, else a file or folder here, else the named run."""
    if arguments.run_name == LATEST:
        return find_run(LATEST, var_of(arguments))
    named = Path(arguments.run_name)
    if is_endless(named):
        raise Refusal(
            f"{named} is not a regular file.", "Name a run, its folder, a queue or a file of one."
        )
    if arguments.run_name and os.path.exists(named) and not is_run_folder(named):
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
