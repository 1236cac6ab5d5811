"""Recorded run as a market: the very events of its night, by time.

The watchdog's events (opening, halts, ending) are among them, at their own time. A time range with
an end adds a `run_ending`. In the same millisecond, events of `control` come before market events,
as a role reads `control` first.
"""

from __future__ import annotations

from collections.abc import Iterator

from minibot.backtest.sources.source_words import LOGGED
from minibot.engine.market_source import NOBODY, Root, Watch
from minibot.engine.recorded_run import Recorded
from minibot.events.names import TICKS
from minibot.events.unit_sizes import SECOND_MS
from minibot.kernel.errors import Refusal
from minibot.replay.rule_order import world
from minibot.runtime.configuration.config import Config, is_same_profile


class RunSource:
    """The market and control events of a finished run.

    Args:
        recorded: The run.
        name: The source word as given.
        order: `logged` for the recorded order under the run's own profile, and rule order under
            any other; `rule` for rule order in any case.
        notices: Facts about the run that every report repeats.

    Raises:
        Refusal: The run has no market data.
    """

    def __init__(
        self, recorded: Recorded, name: str, order: str = LOGGED, notices: tuple[str, ...] = ()
    ) -> None:
        self.recorded = recorded
        self.order = order
        self.name = name
        self.symbols = recorded.manifest.symbols
        self.interval_ms = SECOND_MS
        self.assumptions = notices
        # The run has its own `run_ending`.
        self.end_ms: int | None = None
        first = next((event for _, event in recorded.events(TICKS)), None)
        if first is None:
            raise Refusal(f"{recorded.run_dir}: a run without market data.", "Name another run.")
        self.origin_ms = first.ts

    def is_night_of(self, config: Config) -> bool:
        """Return whether the recorded order is wanted and a profile is the night's own."""
        return self.order == LOGGED and is_same_profile(self.recorded.manifest.config, config.raw)

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        """Yield the run's control and market events by time; a sound run's opening is first."""
        for queue, _, event in world(self.recorded):
            yield Root(event.payload, event.ts, queue)
