"""minibot backup: back up a run now, running or finished, into a folder outside of `var`."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.support.output import show
from minibot.cli.support.selection import add_run, find_run, packed_run, var_of
from minibot.kernel.errors import Refusal, RunStop
from minibot.ops.backup_service import free_min_of
from minibot.report.figures import counted, megabytes
from minibot.runtime.backup import BackupFolder
from minibot.runtime.manifest import Manifest
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import resolve, shown_path

HELP = "back a run up now, running or finished: its queues at one moment, models, state"
EXAMPLE = "minibot backup latest --to /mnt/backups"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--to",
        type=Path,
        metavar="FOLDER",
        help="where to (default: backup.folder of the run's profile)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Back up a run; 0 once the backup counts, 1 where a file or the manifest is not as sealed."""
    var = var_of(arguments)
    archive = packed_run(arguments.run_name, var)
    if archive is not None:
        raise Refusal(
            f"{archive} is a packed run, and holds all of it.", "Copy this file to the backups."
        )
    run_dir = find_run(arguments.run_name, var).resolve()
    if run_dir.parent != var.runs.resolve():
        raise Refusal(f"{run_dir} is not a run of {var.root}.", "Name its var: --var DIR")
    try:
        config = Manifest.load(run_dir).config
        free_min = free_min_of(config)
    except (RunStop, KeyError, TypeError):
        # A damaged manifest: an unsealed run is backed up as it is, to `--to`; of a sealed one no
        # backup is taken, whatever the folder.
        config, free_min = {}, 0
    section = config.get("backup")
    if arguments.to is not None:
        folder = Path.cwd() / arguments.to
    elif section is not None:
        folder = resolve(section["folder"])
    else:
        raise Refusal(
            f"the profile of {run_dir.name} has no section backup.", "Name a folder: --to FOLDER"
        )
    taken = BackupFolder(folder, free_min=free_min).take(var, run_dir.name)
    kind = "finished" if taken.is_finished else "open, as of now"
    document = {
        "backup": str(taken.path),
        "run_id": taken.run_id,
        "finished": taken.is_finished,
        "files": len(taken.files),
        "bytes": taken.bytes,
        "left_out": list(taken.left_out),
    }
    lines = [
        f"{taken.run_id} ({kind}): {counted(len(taken.files), 'file')}, {megabytes(taken.bytes)}",
        f"backup  {shown_path(taken.path)}",
        f"back    minibot restore {pasted(shown_path(taken.path))} FOLDER",
    ]
    lines += [
        f"left    {name}: not backed up, some system could not restore this name"
        for name in taken.left_out
    ]
    show(arguments, document, lines)
    return 0
