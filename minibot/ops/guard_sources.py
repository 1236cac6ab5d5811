"""Sources of the guard: the progress of a run, read from its `var` or requested from its page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Protocol

from msgspec import DecodeError, Struct
from msgspec.json import Decoder
from msgspec.structs import asdict

from minibot.events.model import JsonObject
from minibot.events.names import MARKET_ROLE, STRATEGY_ROLE, TICKS
from minibot.exchanges.single_get import get
from minibot.kernel.errors import MinibotError, Transient
from minibot.kernel.queue import open_reader
from minibot.ops.figures_of_role import facts_of
from minibot.ops.live_status import LiveStatus
from minibot.runtime.paths import Var
from minibot.watchdog.ending import Phase

ANSWER_S: Final = 5.0
LIVE_BYTES_MAX: Final = 8 * 1024 * 1024
_DRAINING: Final = (Phase.DRAINING.value, Phase.DRAINED.value)


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run at one moment; a figure is 0 before its first value.

    Attributes:
        run_id: The run.
        heard: Wall-clock time of its status: Unix ms from a `var`; from a page Unix seconds, or 0
            for a stale status. Any new value but 0 means that the run was heard.
        data: Ticks that the market role has written.
        decided: Market time to which the strategy has processed its inputs.
        sequence: Lines of `market_ticks`: at least one more each second, the beat.
        is_running: Neither ending nor ended.
        ended: How it ended, by its status; None while it has not.
        status: The whole status, where it is at hand.
        is_draining: Ending, with no position to be closed any more.
    """

    run_id: str
    heard: int
    data: int
    decided: int
    sequence: int
    is_running: bool
    ended: JsonObject | None
    status: JsonObject | None = None
    is_draining: bool = False


class Source(Protocol):
    """Source of progress."""

    why: str
    """Why nothing was heard; empty where there is nothing to say."""

    def look(self) -> Progress | None:
        """Return the progress; None where nothing was heard."""
        ...


class VarSource:
    """Progress of the run on a `var` of this machine: its status file and the heads of queues."""

    def __init__(self, var: Var) -> None:
        self.why = ""
        self._var = var
        self._status = LiveStatus(var.status)

    def look(self) -> Progress | None:
        """Return the progress by the newest status; None before the first.

        None, with the reason in `why`, for a status that is none of this version.
        """
        self._status.look()
        status = self._status.latest
        if status is None:
            return None
        try:
            found = _progress_in(status, self._lines())
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            self.why = (
                f"{self._var.status}: expected a status of this version, found {error!r}; guard a"
                " run by the version that started it"
            )
            return None
        self.why = ""
        return found

    def _lines(self) -> int:
        try:
            return open_reader(self._var.queues, TICKS).head().lines
        except (MinibotError, OSError):
            return 0  # The end of the run has moved the queue.


def _progress_in(status: JsonObject, sequence: int) -> Progress:
    """Return the progress in a status file.

    Raises:
        AttributeError, KeyError, TypeError or ValueError: It is not a status of this version.
    """
    strategy, market = facts_of(status, STRATEGY_ROLE), facts_of(status, MARKET_ROLE)
    ended = status["ended"]
    kind = None if ended is None else ended["kind"]
    phase = status["phase"]
    return Progress(
        str(status["run_id"]),
        int(status["written_ms"]),
        int(market.get("ticks", 0)),
        int(strategy.get("now") or 0),
        sequence,
        phase == Phase.RUNNING.value and kind is None,
        ended,
        status,
        phase in _DRAINING,
    )


class UrlSource:
    """Progress of a run by its page, through the operator's own tunnel.

    Args:
        url: Scheme, host and port.
        token: The page's token.
    """

    def __init__(self, url: str, token: str) -> None:
        self._live = f"{url.rstrip('/')}/api/v1/live"
        self._headers = {"Authorization": f"Bearer {token}"}
        self.why = ""

    def look(self) -> Progress | None:
        """Ask the page; None, with the reason in `why`, without an answer."""
        try:
            status, body = get(
                self._live, self._headers, timeout_s=ANSWER_S, bytes_max=LIVE_BYTES_MAX
            )
            if status != 200:
                raise Transient(f"the page answers {status}")
            found = progress_of(body)
        except Transient as error:
            self.why = str(error)
            return None
        self.why = ""
        return found


class _Ended(Struct):
    kind: str


class _Counts(Struct):
    ticks: int


class _Role(Struct):
    position: int = 0


class _Live(Struct):
    """Part of the page's document `live` that a guard reads."""

    run_id: str
    phase: str
    ended: _Ended | None
    is_stale: bool
    status_age_ms: int
    decided_ms: int | None
    counts: _Counts
    roles: dict[str, _Role]


_LIVE: Final = Decoder(_Live)


def progress_of(body: bytes) -> Progress:
    """Return the progress in the page's document `live`; of `ended` only the kind.

    Raises:
        Transient: It is no such document.
    """
    try:
        live = _LIVE.decode(body)
    except (DecodeError, RecursionError) as error:
        raise Transient(
            f"the page answers with no document `live` of this version: {error}"
        ) from error
    heard_ms = round(time.time() * 1000) - live.status_age_ms
    return Progress(
        live.run_id,
        # Rounded to the second, as each look measures the age again.
        0 if live.is_stale else heard_ms // 1000,
        live.counts.ticks,
        live.decided_ms or 0,
        live.roles.get(MARKET_ROLE, _Role()).position,
        live.phase == Phase.RUNNING.value and live.ended is None,
        None if live.ended is None else asdict(live.ended),
        is_draining=live.phase in _DRAINING,
    )
