"""Keeper of the process `ops`, which serves page, metrics and alerts of a run.

`ops` is not a role: it writes no event, and its death or slowness is an incident and a bounded
restart, never a STOP. Its heartbeat says that it lives; the end of its standard input says that the
launcher goes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from minibot.runtime.clock import awake_ns
from minibot.runtime.configuration.config import Config
from minibot.runtime.context import RoleContext
from minibot.runtime.interpreter import python_argv
from minibot.runtime.secrets import ENVIRONMENT_KEY
from minibot.watchdog.child import Child
from minibot.watchdog.run_manifest import child_environ

NAME: Final = "ops"
MODULE: Final = "minibot.ops.process"
OPS_SILENT_MS: Final = 30_000
"""Longest silence, its start included, before it is ended and started again."""
RESTARTS_60S, RESTARTS_300S = 2, 5
WAIT_NS: Final = 5_000_000_000
"""Time between its end and its next start."""
LAST_S: Final = 10.0
"""How long it may take to deliver the end of the run."""


class OpsProcess:
    """Process `ops` of one run; idle if the profile has none of its sections."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._child: Child | None = None
        self._given_up = False
        self._ended_ns = 0
        self._why = ""

    def start(self) -> None:
        """Start the process; that it does not start is an incident."""
        context = self._context
        if not is_wanted(context.config):
            return
        self._child = Child(
            NAME,
            ops_argv(context.run_dir),
            context.var.logs / f"{NAME}.err.log",
            ops_environ(context.config),
        )
        self._begin(self._child)

    def _begin(self, child: Child) -> None:
        try:
            child.start()
        except OSError as error:
            self._given_up = True
            self._context.incident("OPS_OFF", f"ops does not start: {error}; the run goes on")

    def check(self) -> None:
        """Look after the process: end it when it is silent, start it again within its budget.

        Returns None, as the other checks of supervision do when they find no reason for a STOP.
        """
        child = self._child
        if child is None or self._given_up:
            return
        if child.is_running:
            if not self._why and child.silent_ms() > OPS_SILENT_MS:
                self._why = f"gave no sign of life for {child.silent_ms()} ms"
                child.kill()
            return
        if not self._ended_ns:
            self._ended_ns = awake_ns()
            why = self._why or f"ended with exit code {child.exit_code()}"
            self._why = ""
            self._context.incident("OPS_ENDED", f"ops {why}; the run goes on")
            return
        if awake_ns() - self._ended_ns < WAIT_NS:
            return
        self._ended_ns = 0
        if not child.may_restart(RESTARTS_60S, RESTARTS_300S):
            self._given_up = True
            # Each of these restarts followed an end, and now it has ended once more.
            incident = (
                f"ops ended {len(child.restarts_ns) + 1} times in 300 s; page and alerts are off"
            )
            self._context.incident("OPS_OFF", incident)
            return
        self._begin(child)

    def rearm(self) -> None:
        """Restart its time limit now, after a pause of the whole run."""
        if self._child is not None:
            self._child.rearm()

    def end(self) -> None:
        """Let the process deliver the end of the run, and end it."""
        child = self._child
        if child is None:
            return
        child.close_input()
        if not child.wait(LAST_S):
            child.kill()
            child.wait(LAST_S)


def is_wanted(config: Config) -> bool:
    """Return whether the profile has a section that `ops` serves."""
    return config.page is not None or config.backup is not None or config.alerts is not None


def ops_environ(config: Config) -> dict[str, str]:
    """Return the environment of `ops`: for alerts it also has the path of the secrets file."""
    environ = child_environ(os.environ)
    if config.alerts is not None and ENVIRONMENT_KEY in os.environ:
        environ[ENVIRONMENT_KEY] = os.environ[ENVIRONMENT_KEY]
    return environ


def ops_argv(run_dir: Path) -> list[str]:
    """Return the command line of `ops` for a run."""
    return [*python_argv(MODULE), "--run", str(run_dir)]
