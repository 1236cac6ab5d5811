"""Role of a finished night, started again on a copy of its queues, as after a crash.

The role is the real process with its real channels. Its expected outputs are known exactly: the
night's own, byte for byte.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final

from minibot.kernel import canonical
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_writer
from minibot.runtime.clock import suspend_ns
from tests.kernel.independent import published
from tests.kernel.injection import PROJECT, Completed
from tests.runs import ShortRun, clean_environ
from tests.waiting import DEADLINE_S

LEASE_S: Final = 0.2
Json = dict[str, Any]


class Again:
    """Copy of a night's queues on which its roles can start again.

    Args:
        folder: Folder of the copy.
        night: The finished night.
        inside: Path of that folder as roles in their own namespace see it.
    """

    def __init__(self, folder: Path, night: ShortRun, inside: Path | None = None) -> None:
        self.var = folder
        self.queues = folder / "queues"
        self.run_dir = folder / "runs" / night.run_id
        self.inside = inside or folder
        for path in (folder, folder / "runs", self.run_dir):
            path.mkdir(mode=0o700, exist_ok=True)
        for name in ("stop", "logs", "metrics", "requests", "ai"):
            (folder / name).mkdir(mode=0o700)
        for name in ("manifest.json", "clock.json"):
            shutil.copy2(night.run_dir / name, self.run_dir / name)
        shutil.copytree(night.run_dir / "queues", self.queues)

    def start(
        self,
        role: str,
        *,
        wrap: Sequence[str] = (),
        code: str = "",
        until: Callable[[], bool] = lambda: True,
    ) -> Completed:
        """Start a role, let it process the waiting inputs, and return its outcome.

        Args:
            role: Name of the role.
            wrap: A command in front of it.
            code: Python that runs in its process first.
            until: Condition before the role is told to end.
        """
        main = f"import sys; from minibot.runtime.role import main\n{code}\nsys.exit(main())"
        how = ["-c", main] if code else ["-m", "minibot.runtime.role"]
        argv = [
            *wrap,
            sys.executable,
            *how,
            role,
            "--run",
            str(self.inside / "runs" / self.run_dir.name),
        ]
        with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            process = subprocess.Popen(
                argv,
                cwd=PROJECT,
                env=clean_environ(),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
            )
            _drain(process, until)
            for said in (out, err):
                said.seek(0)
            return Completed(process.returncode, out.read().splitlines(), err.read())

    def lines(self, queue: str, stem: str = "inbox") -> list[bytes]:
        """Return the JSON of every published line, read by the independent reader."""
        return published(self.queues / queue, stem)

    def stops(self, role: str) -> list[tuple[str, str]]:
        """Return kind and reason code of the role's records in `stop_journal`."""
        events = map(canonical.decode, published(self.queues / "stop_journal" / "parts", role))
        return [(event["payload"]["kind"], event["payload"]["reason_code"]) for event in events]

    def forget_stop(self, role: str) -> None:
        """Remove a role's STOP from the record, so that the run can continue."""
        (self.var / "STOP.flag").unlink()
        parts = self.queues / "stop_journal" / "parts"
        for path in parts.glob(f"{role}.*"):
            path.unlink()

    def incidents(self, role: str) -> list[Json]:
        """Return the payloads of a role's incidents."""
        parts = self.queues / "incidents" / "parts"
        return [canonical.decode(json)["payload"] for json in published(parts, role)]

    def rewrite(self, queue: str, change: Callable[[list[Json]], list[Json]]) -> None:
        """Put another consistent history into a queue: lines, chain and head."""
        events = change([canonical.decode(json) for json in self.lines(queue)])
        for path in (self.queues / queue).glob("inbox*"):
            path.unlink()
        writer = open_writer(self.queues, queue)
        writer.append([encode_line(canonical.encode(event)) for event in events])
        writer.close()

    def say(self, queue: str, events: Sequence[Json]) -> None:
        """Append events to a queue, as its writer would."""
        writer = open_writer(self.queues, queue)
        writer.append([encode_line(canonical.encode(event)) for event in events])
        writer.close()


def _drain(process: subprocess.Popen[bytes], until: Callable[[], bool]) -> None:
    """Act as the launcher: renew leases, then ask the role to end."""
    assert process.stdin is not None
    deadline = time.monotonic() + DEADLINE_S
    try:
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(BrokenPipeError):
                process.stdin.write(b"lease %d 1\n" % suspend_ns())
                if until():
                    process.stdin.write(b"drain\n")
            with suppress(subprocess.TimeoutExpired):
                process.wait(LEASE_S)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
