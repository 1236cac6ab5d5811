"""Real night for tests: the launcher as a process, its roles by name, its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from minibot.kernel.queue import open_reader
from tests.waiting import DEADLINE_S, wait_until

PROJECT = Path(__file__).resolve().parents[2]
PROFILE = "config/nore-demo.v1.json"


class Night:
    """Launcher process on its own `var`."""

    def __init__(
        self,
        var: Path,
        sets: Sequence[str] = (),
        source: str = "generator:1",
        speed: str = "20",
        stderr: int = subprocess.STDOUT,
    ) -> None:
        self.var = var
        argv = [sys.executable, "-m", "minibot.nore_run_v1", "--config", PROFILE]
        argv += ["--var", str(var), "--quiet", "--no-proof"]
        for text in (f"embedded.source={source}", f"embedded.speed={speed}", *sets):
            argv += ["--set", text]
        self.process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def lines(self, queue: str) -> int:
        """Return the number of published lines of a queue."""
        return open_reader(self.var / "queues", queue).head().lines

    def role(self, name: str) -> psutil.Process | None:
        """Return a role's running process, a child of this launcher."""
        try:
            children = psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return None
        for child in children:
            try:
                if name in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def is_trading(self) -> bool:
        """Return whether every role runs and processes ticks."""
        return self.lines("market_ticks") > 200 and self.lines("signals") > 0

    def await_trading(self) -> None:
        """Wait until the chain works; else fail with the launcher's output."""
        wait_until(lambda: self.is_trading() or self.process.poll() is not None, "the chain works")
        if self.process.poll() is not None:
            raise AssertionError(f"ended early: {self.end()}")

    def interrupt(self) -> None:
        """Send Ctrl-C to the launcher."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and output."""
        text, _ = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, text

    def run_dirs(self) -> list[Path]:
        """Return the folders of all runs here, oldest first."""
        return sorted(path.parent for path in (self.var / "runs").glob("*/manifest.json"))


def refused(*arguments: str) -> tuple[int, str]:
    """Run the launch command with bad arguments; return exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "minibot.nore_run_v1", *arguments],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
