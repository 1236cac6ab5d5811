"""Embedded exchange as one more supervised process."""

from __future__ import annotations

import time
from pathlib import Path

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.runtime.clock import machine_ns
from minibot.runtime.configuration.config import Config
from minibot.runtime.configuration.config_layers import SET, is_variable
from minibot.runtime.interpreter import python_argv
from minibot.runtime.paths import Var
from minibot.watchdog.child import Child

# It first reads a whole tape, or makes a market's past; both take time on a busy machine.
READY_NS_MAX = 120_000_000_000
POLL_S = 0.02
NAME = "exchange"


class EmbeddedExchange:
    """Loopback exchange that runs, with its report on its source."""

    def __init__(self, child: Child, facts: JsonObject) -> None:
        self.facts = facts
        self.port = int(facts["port"])
        self.origin_ms = int(facts["origin_ms"])
        self.end_ms: int | None = facts["end_ms"]
        self.symbols = tuple(str(symbol) for symbol in facts["symbols"])
        self.order_calls = 0
        self._child = child
        self._is_reported = False

    @classmethod
    def start(
        cls, config: Config, run_dir: Path, var: Var, environ: dict[str, str]
    ) -> EmbeddedExchange:
        """Start the process and wait for its report on the source.

        Raises:
            Refusal: The source cannot be played, with the last line of the process's standard
                error; the system starts no process; it was not ready in time, whatever it wrote; or
                the operator asks for other symbols than the source has.
        """
        error_log = var.logs / f"{NAME}.err.log"
        start = error_log.stat().st_size if error_log.exists() else 0
        child = Child(NAME, exchange_argv(config, run_dir), error_log, environ)
        try:
            child.start()
        except OSError as error:
            raise Refusal(
                f"the embedded exchange cannot be started: {error}.",
                "Start again when this machine has less to do.",
            ) from error
        deadline = machine_ns() + READY_NS_MAX
        try:
            while machine_ns() < deadline:
                ready = next((line for line in child.lines if line.get("ready")), None)
                if ready is not None:
                    _check_symbols(config, ready["symbols"])
                    return cls(child, ready)
                if child.wait(POLL_S):
                    break
        except BaseException:  # Ctrl-C too: an interrupted start leaves no process.
            child.kill()
            raise
        code = child.exit_code()
        child.kill()
        if code is None:
            raise Refusal(
                f"the embedded exchange was not ready after {READY_NS_MAX // 10**9} s.",
                "Start again when this machine has less to do.",
            )
        errors = error_log.read_bytes()[start:].decode("utf-8", "replace").strip().splitlines()
        message = errors[-1] if errors else f"it ended with exit code {code} and no output"
        raise Refusal(
            f"the embedded exchange cannot play {config.embedded.source}: {message}"
            if config.embedded is not None
            else message,
            "What it plays and where: --set embedded.source=..., --set embedded.port=0.",
            exit_code=4 if code == 4 else 2,
        )

    def has_died(self) -> bool:
        """True once, after the process has ended by itself."""
        self.note()
        if self._child.is_running or self._is_reported:
            return False
        self._is_reported = True
        return True

    def note(self) -> None:
        """Take over the last counters that the process reported."""
        for line in self._child.lines[-1:]:
            self.order_calls = int(line.get("order_calls", self.order_calls))
        del self._child.lines[:-1]

    def end(self) -> None:
        """End the process: close its channel, then kill it; take over its last counters."""
        self._child.close_input()
        if not self._child.wait(3.0):
            self._child.kill()
            self._child.wait(3.0)
        while self._child.final_code() is None and not self._child.is_running:
            time.sleep(POLL_S)
        self.note()


def _check_symbols(config: Config, played: list[str]) -> None:
    """Refuse symbols from `--set` or environment that the source lacks; a profile's may differ.

    Raises:
        Refusal: Names the symbols requested and those played.
    """
    key, wanted = f"{config.venue}.symbols", config.exchange.symbols
    origin = config.origin.get(key, "")
    if config.embedded is None or set(wanted) == set(played):
        return
    if origin != SET and not is_variable(origin):
        return
    raise Refusal(
        f"{key} ({origin}) asks for {', '.join(wanted)}, and {config.embedded.source}"
        f" plays {', '.join(played)}.",
        "With the embedded exchange symbols come from the source: leave the key out, or name"
        " another source with --set embedded.source=...",
        exit_code=4,
    )


def exchange_argv(config: Config, run_dir: Path) -> list[str]:
    """Return the command line of the embedded exchange for a run."""
    embedded = config.embedded
    if embedded is None:
        raise Refusal("this profile has no embedded exchange.", "Use config/nore-demo.v1.json.")
    argv = [*python_argv("minibot.simulator"), "--run", str(run_dir)]
    argv += ["--source", embedded.source, "--speed", str(embedded.speed)]
    argv += ["--port", str(embedded.port), "--rate", str(embedded.rate_per_s)]
    for flag, value in (("--history", embedded.history), ("--faults", embedded.faults)):
        if value is not None:
            argv += [flag, str(value)]
    return argv
