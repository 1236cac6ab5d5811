"""View of one run for the page's paths: its status, its history, and orders to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel.errors import Refusal
from minibot.ops import actions, settings
from minibot.ops.web.run_history import RunHistory
from minibot.replay.explain.causes import Explainer
from minibot.replay.explain.snapshot_at import snapshot_lines, snapshot_of_second
from minibot.replay.run_status import by_this_code, open_run
from minibot.replay.time_arguments import Span
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var

GUARD_S: Final = 10.0
"""Longest wait for a guard: it asks each second, and waits up to 5 s for an answer."""
END_S: Final = 3.0
"""Longest wait for a guard to ask once more, after the end of its run."""


class Live:
    """Newest status of a run, as the server's threads read it.

    Attributes:
        status: The newest status; None before the first.
        taken_s: When it came, seconds of `time.monotonic`.
        streamed: Server-sent events written so far.
        streams: Streams that are open.
        is_closed: True once the server ends, so that streams do.
        end_sent: Set once a client got a live document with the end of the run.
    """

    def __init__(self) -> None:
        self.status: JsonObject | None = None
        self.taken_s = 0.0
        self.streamed = 0
        self.streams = 0
        self.is_closed = False
        self.end_sent = threading.Event()
        self._asked_s: float | None = None

    def take(self, status: JsonObject) -> None:
        """Take a new status."""
        self.status, self.taken_s = status, time.monotonic()

    def age_ms(self) -> int:
        """Return the milliseconds since the newest status came, by the monotonic clock."""
        return int((time.monotonic() - self.taken_s) * 1000)

    def note_sent(self, figures: JsonObject) -> None:
        """Note that a client gets the live document."""
        self._asked_s = time.monotonic()
        if figures["ended"] is not None:
            self.end_sent.set()

    def await_end_sent(self) -> None:
        """Let a guard ask once more, if one asks and the run has ended.

        To a guard a page that goes before is a machine that died.
        """
        asked_s, status = self._asked_s, self.status
        is_asked = asked_s is not None and time.monotonic() - asked_s < GUARD_S
        if is_asked and status is not None and status["ended"] is not None:
            self.end_sent.wait(END_S)


@dataclass(frozen=True)
class RunView:
    """One run as the page's paths see it.

    Attributes:
        run_dir: Folder of the run.
        manifest: Of the run.
        var: Where requests, flags and other runs are.
        live: Its newest status; of a finished run the one of its record.
        history: Its fills, marks, prices and equity.
        metrics_of: Returns the run's `metrics.json`; empty before the first.
        is_record: True for a finished run, which takes no request.
    """

    run_dir: Path
    manifest: Manifest
    var: Var
    live: Live
    history: RunHistory
    metrics_of: Callable[[], JsonObject]
    is_record: bool = False
    # One at a time: each rereads the run.
    _explaining: threading.Lock = field(default_factory=threading.Lock)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.manifest.run_id

    @property
    def config(self) -> Mapping[str, Any]:
        """The run's whole profile."""
        return self.manifest.config

    def status(self) -> JsonObject:
        """Return the newest status.

        Raises:
            Refusal: The run has none yet.
        """
        if self.live.status is None:
            raise Refusal("the run has reported no status yet.", "Ask again in a second.")
        return self.live.status

    def act(self, kind: str, **fields: Any) -> JsonObject:
        """Leave a request for the run; see `ops.actions.act`.

        Raises:
            Refusal: The run has ended, or the order is not possible.
        """
        if self.is_record:
            raise Refusal(
                f"{self.run_id} has ended: this page shows its record, and nothing acts on it.",
                "Open the running night's page: minibot page",
            )
        return {"status": actions.act(self.var, self.run_id, kind, **fields)}

    def settings(self) -> JsonObject:
        """Return the settings of the next start of the run's profile, together with the run's own.

        Raises:
            Refusal: The profile's file is gone or no longer valid.
        """
        now = settings.next_start(self.var.ops, settings.profile_file_of(self.manifest))
        return settings.settings_document(now, self.config)

    def change_settings(
        self, put: Mapping[str, str], taken_back: Sequence[str], why: str
    ) -> JsonObject:
        """Change the staged values; see `ops.settings.stage`.

        Raises:
            Refusal: Nothing was staged: the violations, or another reason.
            RunStop: The change cannot be recorded.
        """
        file = settings.profile_file_of(self.manifest)
        why = why or actions.DEFAULT_WHY
        settings.stage(self.var.ops, file, put, taken_back, who=actions.WHO, why=why)
        return self.settings()

    def explain(self, ts: int, symbol: str | None) -> JsonObject:
        """Return the second's market, holdings and decisions, as `minibot explain --at` does.

        Args:
            ts: A moment of the second, Unix ms of market time.
            symbol: Only this symbol; None for all.

        Raises:
            Refusal: The run has no such second or symbol, or an answer is being made already.
            IntegrityError: A queue is damaged, and the second does not lie before the damage.
        """
        if symbol is not None:
            self.manifest.require_symbol(symbol)
        if not self._explaining.acquire(blocking=False):
            raise Refusal("another second is being explained.", "Ask again when it is shown.")
        try:
            recorded, status = open_run(self.run_dir)
            span = Span.of(recorded, None)
            if not span.from_ms <= ts <= span.to_ms:
                raise Refusal("this is not a time of the run.", f"It goes from {span.text}.")
            second = ts // 1000 * 1000
            with by_this_code(status):
                found = snapshot_of_second(
                    recorded,
                    Explainer(recorded),
                    span,
                    (second, second + 999),
                    [] if symbol is None else [symbol],
                )
            return {**found.to_json(), "lines": snapshot_lines(found, span)}
        finally:
            self._explaining.release()
