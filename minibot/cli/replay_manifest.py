"""minibot replay-manifest: write or check a list of runs and hours with their digests."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibot.cli.support.named_file import named_file, write_named
from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_zone, find_run, var_of
from minibot.kernel.errors import Refusal
from minibot.replay.hours import (
    Hour,
    differences,
    hours_of,
    manifest_bytes,
    read_manifest,
    run_entry,
)
from minibot.replay.proof import Proof, prove
from minibot.replay.run_status import open_run, require_ended
from minibot.replay.time_arguments import Span
from minibot.runtime.paths import shown_path
from minibot.runtime.runfiles import LATEST

HELP = "replay every hour of runs; write their digests to a manifest, or check runs against one"
EXAMPLE = "minibot replay-manifest latest --write golden.json"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "runs", nargs="*", metavar="RUN", help="run ids, directories or latest (the default)"
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--write", type=Path, metavar="FILE", help="write the digests to this file")
    what.add_argument(
        "--check", type=Path, metavar="FILE", help="replay every run that this manifest lists"
    )
    add_zone(command)


def run(arguments: argparse.Namespace) -> int:
    """Replay runs; 0 when all are identical and as listed."""
    if arguments.check is not None:
        if arguments.runs:
            raise Refusal("a manifest names its own runs.", "Leave RUN out, or --check.")
        return _check(arguments, Path(os.path.realpath(arguments.check)))
    named_file(arguments.write)  # A wrong name is told before the work.
    lines: list[str] = []
    entries: list[dict[str, Any]] = []
    is_identical = True
    for name in arguments.runs or [LATEST]:
        run_dir = find_run(name, var_of(arguments))
        proof, span = _prove(run_dir, arguments.zone, is_kept=arguments.write is not None)
        is_identical = is_identical and proof.is_identical
        entries.append(run_entry(proof, _shown(run_dir, arguments.write)))
        lines += [*hour_lines(hours_of(proof), span), _verdict(proof)]
    if arguments.write and is_identical:
        write_named(Path(os.path.realpath(arguments.write)), manifest_bytes(entries))
        lines.append(f"written: {shown_path(arguments.write)}")
    elif arguments.write:
        lines.append(f"not written, as not all are identical: {shown_path(arguments.write)}")
    show(arguments, {"identical": is_identical, "runs": entries}, lines)
    return 0 if is_identical else 1


def _check(arguments: argparse.Namespace, path: Path) -> int:
    lines, found = [], []
    for listed in read_manifest(path):
        run_dir = find_run(str(path.parent / listed["run"]), var_of(arguments))
        proof, _ = _prove(run_dir, arguments.zone, is_kept=True)
        entry = run_entry(proof, listed["run"])
        apart = differences(listed, entry)
        found.append({**entry, "identical": proof.is_identical, "differences": apart})
        lines += [_verdict(proof), *(f"  {line}" for line in apart)]
    is_good = all(entry["identical"] and not entry["differences"] for entry in found)
    lines.append(f"manifest {path.name}: {'all as listed' if is_good else 'DIFFERENT'}")
    show(arguments, {"identical": is_good, "runs": found}, lines)
    return 0 if is_good else 1


def _prove(run_dir: Path, zone: str | None, *, is_kept: bool) -> tuple[Proof, Span]:
    """Replay a run; digests that are kept, or compared with kept ones, are of a whole run."""
    recorded, condition = open_run(run_dir)
    if is_kept:
        require_ended(run_dir, condition)
    with progress_bar(f"replaying {run_dir.name}") as progress:
        proof = prove(recorded, condition, progress=progress)
    return proof, Span.of(recorded, zone)


def _shown(run_dir: Path, manifest: Path | None) -> str:
    """Return a run's folder as a manifest names it: relative if it is below the manifest's own."""
    if manifest is not None and run_dir.is_relative_to(manifest.resolve().parent):
        return run_dir.relative_to(manifest.resolve().parent).as_posix()
    return run_dir.as_posix()


def _verdict(proof: Proof) -> str:
    verdict = "identical" if proof.is_identical else "DIFFERENT: see minibot replay"
    if proof.broken is not None:
        verdict = "NOT PROVEN: see minibot replay"
    digest = "" if proof.digest is None else f", digest {proof.digest}"
    return f"{proof.replay.run_id}: {verdict}{digest}"


def hour_lines(hours: Sequence[Hour], span: Span) -> list[str]:
    """Return one line for each hour."""
    return [
        f"hour {span.clock(hour.hour_ts)[:5]}  {hour.inputs:>9,} inputs  "
        f"{sum(hour.outputs.values()):>6,} outputs  state {hour.state[:16] or '-':<16}  "
        f"digest {hour.digest[:16]}"
        for hour in hours
    ]
