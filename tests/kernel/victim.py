"""Tasks of fault tests in a separate process: `python -m tests.kernel.victim TASK`.

TASK is a JSON object; `do` names a function here. Progress goes to standard output at once, so that
a test knows the acknowledged lines when the process dies. An error ends the process like a role:
`STOP <code>: <detail>` on standard error, exit code 10.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import portalocker  # noqa: F401  as a process of a run: an import is not a call of a journal

from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import write_hashed
from minibot.runtime.role import ignore_signals, stop_record
from tests.kernel.kernel_support import lines_of, open_journal

STOPPED: Final = 10
REFUSED: Final = 2
Task = dict[str, Any]


def append(task: Task) -> None:
    """Append batches to a journal; report the number of acknowledged lines after each."""
    writer = open_journal(
        Path(task["folder"]),
        sync=task.get("sync", True),
        segment_bytes=task.get("segment_bytes", 1 << 20),
    )
    say("open", writer.position.seq)
    for _ in range(task.get("batches", 5)):
        first = writer.position.seq + 1
        writer.append(lines_of(first, task.get("lines", 3), task.get("size", 40)))
        say("ack", writer.position.seq)
    writer.close()
    say("closed", writer.position.seq)


def replace(task: Task) -> None:
    """Replace a critical file again and again; report each generation that is in place."""
    path = Path(task["folder"]) / "cursor.json"
    for _ in range(task.get("times", 3)):
        say("ack", write_hashed(path, {"text": "x" * task.get("size", 40)}))


def sweep(task: Task) -> None:
    """Run another task in one forked child for each call, with the shim failing that call.

    The children share nothing but their imports. Each works in its own folder, named by the call's
    number, and leaves its output in `<number>.out`. The sweep ends when a child finishes because
    there was no such call.
    """
    if sys.platform == "win32":
        raise OSError("no fork")
    shim = ctypes.CDLL(None)
    root = Path(task["folder"])
    for number in range(task.get("calls_max", 400)):
        folder = root / str(number)
        folder.mkdir(mode=0o700)
        child = os.fork()
        if child == 0:
            _be_child(root, number, folder, task, shim)
        _, status = os.waitpid(child, 0)
        hit = (root / f"{number}.hit").exists()
        say("child", number, os.waitstatus_to_exitcode(status), int(hit))
        if not hit:
            return


def _be_child(root: Path, number: int, folder: Path, task: Task, shim: ctypes.CDLL) -> None:
    for fd, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(root / f"{number}.{name}", os.O_CREAT | os.O_WRONLY, 0o600), fd)
    hit = os.fsencode(root / f"{number}.hit")
    inner = {**task["inner"], "folder": str(folder)}
    if "before" in task:
        guarded({**task["before"], "folder": str(folder)})
        os.ftruncate(1, 0)
        os.lseek(1, 0, os.SEEK_SET)
        (folder / "inbox.jsonl").open("ab").write(b"torn" * 9)
    shim.shim_arm(hit, number, task["how"].encode(), int(task.get("value", 0)))
    os._exit(guarded(inner))


def restart(task: Task) -> None:
    """Supervise a dying role in a group without room for another process; report the STOP."""
    # Imported late, so that the other victims start quickly.
    from minibot.watchdog.supervisor import Supervisor
    from tests.waiting import wait_until
    from tests.watchdog.watchdog_stage import Stage

    stage = Stage(Path(task["folder"]), ("watchdog.heartbeat_interval_ms=200",))
    context = stage.context()
    children = {"risk_role": stage.actors({"risk_role": "dead"})["risk_role"]}
    supervisor = Supervisor(context, children)
    supervisor.start()
    group = Path(task["group"])
    (group / "cgroup.procs").write_text(str(os.getpid()))
    (group / "pids.max").write_text((group / "pids.current").read_text())
    record = wait_until(supervisor.check, "a STOP")
    say("STOP", record.reason_code, record.detail)
    context.close_outputs()


def say(*words: object) -> None:
    """Print one line at once; below Python's buffers, as the shim may kill at any moment."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def guarded(task: Task) -> int:
    """Run a task; return the exit code that a role would end with."""
    try:
        ACTS[task["do"]](task)
    except Refusal as refusal:
        os.write(2, f"REFUSE {refusal}\n".encode())
        return REFUSED
    except (RunStop, OSError) as error:
        record = stop_record("victim", error)
        if record is None:
            raise
        os.write(2, f"STOP {record.reason_code}: {record.detail}\n".encode())
        return STOPPED
    return 0


ACTS: Final[dict[str, Callable[[Task], None]]] = {
    "append": append,
    "replace": replace,
    "restart": restart,
    "sweep": sweep,
}


if __name__ == "__main__":
    ignore_signals()
    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(guarded(json.loads(sys.argv[1])))
