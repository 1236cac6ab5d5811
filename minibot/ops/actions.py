"""Operator's orders to the running run, from its page or chat: each leaves a request file."""

from __future__ import annotations

from typing import Final

from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.errors import Refusal, RunStop
from minibot.ops.no_effect import refuse_exit_of_nothing, refuse_unlock_of_nothing
from minibot.ops.operator import (
    NOT_RUNNING,
    ended,
    operator_text,
    require_killable,
    require_unstopped,
)
from minibot.runtime.clock import RunClock
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.request_file import leave_request
from minibot.runtime.stop import raise_operators_flag
from minibot.watchdog.requests import END, KILL

OF_RUN: Final = ("halt", "resume", END, KILL)
OF_SYMBOL: Final = ("exit_position", "lock_symbol", "unlock_symbol")
DEFAULT_WHY: Final = "operator"
LOCK_MINUTES_MAX: Final = 7 * 24 * 60
"""Longest lock of a symbol, minutes of market time; the shortest is one."""
WHO: Final = "page"


def act(
    var: Var,
    run_id: str,
    kind: str,
    *,
    why: str = "",
    who: str = WHO,
    symbol: str | None = None,
    minutes: int | None = None,
) -> str:
    """Leave a request for a run and return a sentence that names it; its effect comes later.

    `kill` raises the operator's flag after its request, even if that cannot be written; if the run
    has ended in between, that is refused and the request stays.

    Args:
        var: Folder of the run.
        run_id: The run that the operator saw.
        kind: One of `OF_RUN` or `OF_SYMBOL`.
        why: Reason for the record.
        who: Where the order came from, for the record.
        symbol: Symbol for a kind of `OF_SYMBOL`; ignored for other kinds.
        minutes: Minutes of market time for `lock_symbol`, ignored for other kinds; None lasts to
            the end of the run.

    Raises:
        Refusal: The run has ended, another one runs, the kind is unknown, the run does not trade
            the symbol (a run with a universe may trade any), the request would change nothing
            (`no_effect`), or the lock's minutes are not 1 to `LOCK_MINUTES_MAX`.
        RunStop: A request other than `kill`, or the flag, cannot be written, or the run's record
            is damaged.
    """
    if kind not in OF_RUN and kind not in OF_SYMBOL:
        raise Refusal(f"{kind[:40]!r} is not an action.", "See: /api/v1/openapi.json")
    running = require_killable(var) if kind == KILL else require_unstopped(var)
    if running != run_id:
        raise Refusal(f"{run_id} has ended; {running} runs.", "Load the page again.", NOT_RUNNING)
    fields: dict[str, object] = {"who": who, "why": operator_text(why) or DEFAULT_WHY}
    if kind in OF_SYMBOL:
        return _ask_of_symbol(var, run_id, kind, fields, symbol, minutes)
    if kind == KILL:
        return _kill(var, run_id, fields)
    leave_request(var.requests, run_id, kind, **fields)
    return f"{kind} was sent to {run_id}"


def _kill(var: Var, run_id: str, fields: dict[str, object]) -> str:
    """Raise the operator's flag, with or without its reason, and return what was sent."""
    note = ""
    try:
        leave_request(var.requests, run_id, KILL, **fields)
    except (OSError, RunStop) as error:
        # The disk is full or gone, but the flag needs no space: the run stops all the same.
        note = f"; the reason could not be written ({error})"
    if not raise_operators_flag(var.stop, var.flag):
        raise ended(run_id)
    return f"{KILL} was sent to {run_id}{note}"


def _ask_of_symbol(
    var: Var,
    run_id: str,
    kind: str,
    fields: dict[str, object],
    symbol: str | None,
    minutes: int | None,
) -> str:
    run_dir = var.run(run_id)
    manifest = Manifest.load(run_dir)
    name = manifest.named_symbol(symbol or "")
    now_ms = RunClock(run_dir, manifest.clock_origin_ms, manifest.clock_speed).now_ms()
    asked = kind
    if kind == "exit_position":
        refuse_exit_of_nothing(run_dir, name)
    if kind == "unlock_symbol":
        refuse_unlock_of_nothing(run_dir, name, now_ms)
        kind, fields["until_ts"] = "lock_symbol", now_ms
    elif kind == "lock_symbol" and minutes is not None:
        if not 1 <= minutes <= LOCK_MINUTES_MAX:
            raise Refusal(f"a lock of {minutes} minutes is not possible.", "Give 1 to 10080.")
        fields["until_ts"] = now_ms + minutes * MINUTE_MS
    leave_request(var.requests, run_id, kind, symbol=name, **fields)
    return f"{asked} of {name} was sent to {run_id}"
