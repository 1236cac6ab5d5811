"""python -m minibot.runtime.role <name>_role --run <dir>: one role of one run.

The command line is the same at every start of a role in a run. Only the launcher handles signals: a
role ignores SIGINT, SIGTERM and SIGHUP and ends by its control channel. Its first heartbeat
precedes slow imports, so that its launcher knows early that the process lives.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import gc
import importlib
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from minibot.events.reasons import FD_EXHAUSTED, IO_EIO, IO_ENOSPC, IO_READONLY
from minibot.kernel.errors import RunStop
from minibot.runtime.channels import Heartbeat
from minibot.runtime.memory import limit_memory
from minibot.runtime.stop import StopRecord

if TYPE_CHECKING:
    from minibot.runtime.context import RoleContext

# STOP codes for errors of the operating system (fault catalogue, groups A and C).
_OS_CODES = {
    errno.ENOSPC: IO_ENOSPC,
    errno.EROFS: IO_READONLY,
    errno.EMFILE: FD_EXHAUSTED,
    errno.ENFILE: FD_EXHAUSTED,
    errno.EIO: IO_EIO,
    errno.EFBIG: IO_EIO,
    getattr(errno, "EDQUOT", errno.EFBIG): IO_EIO,
}


def ignore_signals() -> None:
    """Leave SIGINT, SIGTERM and SIGHUP to the launcher, and see EFBIG instead of SIGXFSZ."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGXFSZ"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def stop_record(role: str, error: BaseException) -> StopRecord | None:
    """Return the STOP for an error, or None for a crash that a restart may mend.

    The component is always the role, whichever part of its process found the error: an operator
    first needs to know which role stopped.
    """
    if isinstance(error, RunStop):
        return StopRecord(role, error.reason_code, error.detail)
    if isinstance(error, OSError) and error.errno in _OS_CODES:
        return StopRecord(role, _OS_CODES[error.errno], str(error))
    return None


def run_role(context: RoleContext) -> int:
    """Run the role's module to its end and return the exit code of the process.

    An error that `stop_record` knows stops the run, see `RoleContext.stop`; any other is CRASHED.
    """
    from minibot.runtime.context import CRASHED  # Imported by now: the caller has a context.

    try:
        module = importlib.import_module(context.spec.module)
        # Present objects live to the end: the collector need not scan them again and again.
        gc.collect()
        gc.freeze()
        code: int = module.main(context)
        return code
    except BaseException as error:  # The one broad handler of the runtime: it ends the process.
        record = stop_record(context.name, error)
        if record is not None:
            return context.stop(record)
        traceback.print_exc()
        return CRASHED


def main() -> int:
    """Parse the command line and run the role; return the exit code.

    Before there is a whole context, an error that `stop_record` knows is a STOP, too. Any other,
    such as the refusal of a secrets file, ends the process by its traceback, with exit code 1: a
    crash.
    """
    parser = argparse.ArgumentParser(prog="python -m minibot.runtime.role")
    parser.add_argument("name")
    parser.add_argument("--run", type=Path, required=True)
    arguments = parser.parse_args()
    faulthandler.enable()
    ignore_signals()
    heartbeat = Heartbeat(arguments.name)
    from minibot.runtime.context import STOPPED, open_context, to_stderr

    try:
        context = open_context(arguments.name, arguments.run.resolve(), heartbeat)
    except (RunStop, OSError) as error:
        record = stop_record(arguments.name, error)
        if record is None:
            raise
        # Without a whole context nothing is journaled here: the launcher journals this record.
        heartbeat.send(stopped=record.reason_code, detail=record.text)
        to_stderr(f"STOP {record.reason_code}: {record.detail}")
        return STOPPED
    limit_memory(context.config.watchdog.rss_mb_max)
    return run_role(context)


if __name__ == "__main__":
    sys.exit(main())
