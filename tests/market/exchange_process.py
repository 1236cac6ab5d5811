"""Embedded exchange as a process of a test, on a clock that the test starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minibot.simulator.server.remote import RunningExchange
from tests.server_process import ServerProcess


class ExchangeProcess(ServerProcess):
    """Plays a source on loopback; frames begin when `clock.json` stands in `run_dir`."""

    def __init__(
        self,
        run_dir: Path,
        source: str,
        speed: str,
        *options: str,
        module: str = "minibot.simulator",
    ) -> None:
        argv = ["-m", module, "--run", str(run_dir), "--speed", speed]
        super().__init__([*argv, *(("--source", source) if source else ()), *options])
        self.facts: dict[str, Any] = json.loads(self.first_line)
        self.port = int(self.facts["port"])
        self._running = RunningExchange(self.port)
        self.origin_ms = int(self.facts["origin_ms"])
        self.symbols = tuple(self.facts["symbols"])

    def fault(self, name: str, **fields: Any) -> None:
        """Put a fault into force."""
        self._running.fault(name, fields)

    def status(self) -> dict[str, Any]:
        """Return the exchange's counts."""
        return self._running.status()
