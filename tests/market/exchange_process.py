"""Embedded exchange as a process of a test, on a clock that the test starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from minibot.simulator.server.remote import RunningExchange


class ExchangeProcess:
    """Process that plays a source on loopback; frames begin with `clock.json` in `run_dir`."""

    def __init__(
        self,
        run_dir: Path,
        source: str,
        speed: str,
        *options: str,
        module: str = "minibot.simulator",
    ) -> None:
        command = [sys.executable, "-m", module, "--run", str(run_dir), "--speed", speed]
        command += [*(("--source", source) if source else ()), *options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.facts: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.port = int(self.facts["port"])
        self._running = RunningExchange(self.port)
        self.origin_ms = int(self.facts["origin_ms"])
        self.symbols = tuple(self.facts["symbols"])

    def __enter__(self) -> ExchangeProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def fault(self, name: str, **fields: Any) -> None:
        """Put a fault into force."""
        self._running.fault(name, fields)

    def status(self) -> dict[str, Any]:
        """Return the exchange's counts."""
        return self._running.status()
