"""minibot restore: restore a backup into an empty folder, as a `var` that verifies and replays."""

from __future__ import annotations

import argparse
from pathlib import Path

from minibot.cli.main import CHECK_FAILED
from minibot.cli.support.output import show
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.ops.restore import find_backup, restore
from minibot.report.figures import counted, date_clock
from minibot.runtime.pasting import pasted
from minibot.runtime.paths import Var, shown_path

HELP = "restore a backup into an empty folder, every byte checked; verify and replay go from there"
EXAMPLE = "minibot restore /mnt/backups restored"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "backup", type=Path, metavar="BACKUP", help="a backup's list, or a folder for its newest"
    )
    command.add_argument(
        "target", type=Path, metavar="DIR", help="an empty folder, or a new one: the restored var"
    )


def run(arguments: argparse.Namespace) -> int:
    """Restore a backup; 0, and 1 where the backup is not whole or the restored run has damage."""
    target = Path.cwd() / arguments.target
    try:
        backup = find_backup(arguments.backup)
        sealed = restore(backup, target)
    except IntegrityError as error:
        raise Refusal(
            f"not a whole backup: {error.detail}.",
            "Name another list of a backup.",
            CHECK_FAILED,
        ) from error
    run_dir = Var(target).run(backup.run_id)
    findings = [] if sealed is None else list(sealed.faults)
    document = {
        "run_id": backup.run_id,
        "run_dir": str(run_dir),
        "taken_ms": backup.taken_ms,
        "state": "finished" if sealed is None else "interrupted",
        "findings": findings,
    }
    how = "as it was sealed" if sealed is None else "sealed as interrupted, as of the backup"
    named = pasted(shown_path(run_dir))
    files = counted(len(backup.files), "file")
    lines = [
        f"{backup.run_id}: {files} of {date_clock(backup.taken_ms)} UTC, {how}",
        *findings,
        f"check   minibot verify {named}",
        f"replay  minibot replay {named}",
    ]
    show(arguments, document, lines)
    return 1 if findings else 0
