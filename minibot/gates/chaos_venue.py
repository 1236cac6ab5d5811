"""Faults of the exchange, the network to it and the AI's worker in a running night."""

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
    """Return an injection that puts one fault of the exchange into force."""

    def inject(night: DrillRun) -> None:
        night.exchange_fault(name, **fields)
        night.mark()

    return inject


def told(name: str, incident: str, **fields: object) -> Callable[[DrillRun], None]:
    """Return an injection of one fault of the exchange that waits for a new incident of it."""

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
    """Mix unreadable frames with good ones until the run gives up."""
    _until_stop(night, 0.02, "garbage", n=3)


def drop_again_and_again(night: DrillRun) -> None:
    """Drop each connection soon after it is made, until the run gives up."""
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
    """Wait until the jailed worker is at work.

    Raises:
        FeatureMissing: This machine has no jail.
    """
    said = night.wait_for("the AI", lambda: _worker_says(night), until_end=True)
    if said.startswith("AI off: isolation"):
        raise FeatureMissing(f"{JAIL} ({said[8:120]})")


def _worker_says(night: DrillRun) -> str | None:
    if night.flagged_ns or night.exit_code is not None:
        return "stopped"
    states = [said for said in night.ai_states() if said != "AI worker is starting"]
    return states[-1] if states else None


def worker_sends_order(night: DrillRun) -> None:
    """Let the worker try to send an order."""
    wait_for_worker(night)
    night.mark()


def worker_goes_bad(night: DrillRun) -> None:
    """Let the worker misbehave as the profile tells it, until the AI is switched off."""
    wait_for_worker(night)
    night.mark()
    night.wait_for(
        "the AI to be off", lambda: any(said.startswith("AI off") for said in night.ai_states())
    )


def kill_ai(night: DrillRun) -> None:
    """Kill the jailed worker, then the clerk; both have to come back."""
    wait_for_worker(night)
    pid = night.wait_for("the AI worker", lambda: night.child_pid(WORKER))
    night.kill(pid)
    night.mark()
    night.wait_for("another AI worker", lambda: other_pid(night.child_pid(WORKER), pid))
    kill_role(night, AI_ROLE)
