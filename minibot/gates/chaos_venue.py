"""Faults of the embedded exchange and its connections, and of the AI's worker, in a drill's run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from minibot.events.names import AI_ROLE
from minibot.gates.chaos_processes import kill_role, other_pid
from minibot.gates.drill_processes import FeatureMissing
from minibot.gates.drill_run import DrillRun, NotInjected

FOREVER_MS: Final = 10**9
THREE_DAYS_MS: Final = 3 * 86_400_000
JAIL: Final = "a jail for the AI worker"
WORKER: Final = "nore_ai_worker"


def faulty(name: str, **fields: object) -> Callable[[DrillRun], None]:
    """Return an injection that puts one fault of the exchange into force and waits for nothing.

    Args:
        name: The fault's name at the exchange.
        fields: Its arguments there; docs/EXCHANGE.md has both.
    """

    def inject(night: DrillRun) -> None:
        night.exchange_fault(name, **fields)
        night.mark()

    return inject


def noticed(name: str, incident: str, **fields: object) -> Callable[[DrillRun], None]:
    """Return an injection as `faulty`, which then waits for a new incident of the named kind."""

    def inject(night: DrillRun) -> None:
        count = len(night.incidents(incident))
        night.exchange_fault(name, **fields)
        night.mark()
        night.wait_for(f"incident {incident}", lambda: len(night.incidents(incident)) > count)

    return inject


def kill_exchange(night: DrillRun) -> None:
    """Kill the process of the embedded exchange."""
    pid = night.wait_for("the exchange", lambda: night.child_pid("minibot.simulator"))
    night.kill(pid)
    night.mark()


def send_garbage(night: DrillRun) -> None:
    """Mix unreadable frames with good ones until STOP.flag exists or the run has ended."""
    _until_stop(night, 0.02, "garbage", n=3)


def drop_again_and_again(night: DrillRun) -> None:
    """Drop all connections every 0.1 s until STOP.flag exists or the run has ended."""
    _until_stop(night, 0.1, "drop")


def _until_stop(night: DrillRun, pause_s: float, name: str, **fields: object) -> None:
    night.mark()
    while not night.look() and not night.flagged_ns:
        try:
            night.exchange_fault(name, **fields)
        except NotInjected:
            return  # The exchange ended with the run; the judge decides if that is right.
        time.sleep(pause_s)


# --- the AI -------------------------------------------------------------------------------------


def wait_for_worker(night: DrillRun) -> None:
    """Wait until the AI reports another state than that it starts, or the run stops.

    Raises:
        FeatureMissing: The AI is off because this machine has no jail.
    """
    state = night.wait_for("the AI", lambda: _worker_state(night), until_end=True)
    if state.startswith("AI off: isolation"):
        raise FeatureMissing(f"{JAIL} ({state[8:120]})")


def _worker_state(night: DrillRun) -> str | None:
    if night.flagged_ns or night.exit_code is not None:
        return "stopped"
    states = [state for state in night.ai_states() if state != "AI worker is starting"]
    return states[-1] if states else None


def worker_sends_order(night: DrillRun) -> None:
    """Wait for the worker; the profile makes it send an order."""
    wait_for_worker(night)
    night.mark()


def worker_goes_bad(night: DrillRun) -> None:
    """Wait for the worker, which the profile makes misbehave, and then until the AI is off."""
    wait_for_worker(night)
    night.mark()
    night.wait_for(
        "the AI to be off", lambda: any(state.startswith("AI off") for state in night.ai_states())
    )


def kill_ai(night: DrillRun) -> None:
    """Kill the jailed worker and wait for another; then kill the clerk as `kill_role` does."""
    wait_for_worker(night)
    pid = night.wait_for("the AI worker", lambda: night.child_pid(WORKER))
    night.kill(pid)
    night.mark()
    night.wait_for("another AI worker", lambda: other_pid(night.child_pid(WORKER), pid))
    kill_role(night, AI_ROLE)
