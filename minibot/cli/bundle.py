"""minibot bundle: pack a sealed run with its report into one file that anyone can check."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.support.output import progress_bar, show
from minibot.cli.support.selection import add_run, run_dir_of
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import SEAL_FILE
from minibot.report.figures import megabytes
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import shown_path

HELP = "pack a sealed run, its report and its proof into one file; verify FILE checks it elsewhere"
EXAMPLE = "minibot bundle latest --out night.tar.gz"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument("--out", type=Path, metavar="FILE", help="default: RUN.tar.gz, here")
    command.add_argument(
        "--no-report", action="store_true", help="do not make a report where there is none"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the bundle; 0, or 2 for an unsealed run, an existing file or one not writable."""
    # Imported here because `--help` needs nothing of a run.
    from minibot.report.bundle import require_place, require_sealed, write_bundle
    from minibot.report.html import REPORT_FILE, write_report
    from minibot.report.night import Night

    run_dir = run_dir_of(arguments)
    require_sealed(run_dir)
    out = Path.cwd() / (arguments.out or f"{run_dir.name}.tar.gz")
    require_place(out)  # Before the report, which may take minutes.
    if not arguments.no_report and not (run_dir / "report" / REPORT_FILE).is_file():
        with progress_bar(f"reading {run_dir.name}") as progress:
            write_report(Night.open(run_dir, progress))
    with progress_bar(f"packing {run_dir.name}") as progress:
        size = write_bundle(run_dir, out, progress)
    root = str(read_hashed(run_dir / SEAL_FILE)["root"])
    lines = [
        f"{shown_path(out)}: {megabytes(size)}",
        f"root {root}",
        f"check it anywhere: minibot verify {pasted(shown_path(out))}; then compare the root",
    ]
    show(
        arguments,
        {"run_id": run_dir.name, "file": str(out), "bytes": size, "root": root},
        lines,
    )
    return 0
