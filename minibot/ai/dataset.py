"""Labelled rows for training, made only from events of permitted queues.

A row is the feature vector of one symbol at the close of a bar, labelled by the move of the mid
over the horizon. The caller feeds verified lines (hash, chain, contract, run id), live in the clerk
or from a finished run; a queue that is not permitted is refused here once more.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from minibot.ai.row_ring import ChosenRows, Row, RowRing, in_order
from minibot.ai.rows import DEPTH, Windows, row_of
from minibot.ai.vector import FEATURES_VERSION
from minibot.events.intervals import INTERVAL_MS
from minibot.events.model import Bar, Event, Gap
from minibot.events.names import TICKS
from minibot.events.roles import PERMITTED_QUEUES
from minibot.kernel.errors import ConfigError

SELL: Final = 0
HOLD: Final = 1
BUY: Final = 2
# A mid further than this from the end of the horizon says nothing about the horizon.
_OFF_MS_MAX: Final = 5_000
ROWS_MAX: Final = 50_000  # Two symbols of a night in 1 s bars; 9 MB.
HOLDOUT_PERCENT: Final = 25
TRAIN_ROWS_MAX: Final = ROWS_MAX * (100 - HOLDOUT_PERCENT) // 100
"""Rows that a night can train on at most."""


def check_permitted(queues: Sequence[str]) -> frozenset[str]:
    """Return the permitted queues of a configuration.

    Raises:
        ConfigError: It names a queue that the AI may not learn from.
    """
    wrong = sorted(set(queues) - PERMITTED_QUEUES)
    if wrong:
        allowed = ", ".join(sorted(PERMITTED_QUEUES))
        raise ConfigError(
            "ai.permitted_queues names a queue that the AI may not learn from.",
            [f"ai.permitted_queues: {name!r}, allowed: {allowed}" for name in wrong],
            "Remove it from the configuration.",
        )
    return frozenset(queues)


class QueueForbidden(Exception):
    """An event of a queue that is not permitted was offered to a dataset."""


@dataclass(slots=True)
class Source:
    """Range of a queue's lines in a run that went into a dataset."""

    run_id: str
    queue: str
    from_seq: int
    to_seq: int

    def to_json(self) -> dict[str, Any]:
        """Return the source as a JSON object."""
        return asdict(self)


@dataclass(slots=True)
class Dataset:
    """Labelled rows in the order of their labels, run after run; `split` orders them by time."""

    rows: Sequence[Row] = ()
    sources: list[Source] = field(default_factory=list)

    def split(
        self, horizon_ms: int, holdout_percent: int = HOLDOUT_PERCENT
    ) -> tuple[Sequence[Row], Sequence[Row]]:
        """Return (training rows, holdout rows): the holdout is the last part in time, after a gap.

        Rows whose label looks into the holdout time are in neither, so that nothing leaks.
        """
        rows = self.rows
        if not rows:
            return (), ()
        order = in_order(rows)
        first = rows[order[len(order) * (100 - holdout_percent) // 100]].ts

        def ts_of(number: int) -> int:
            return rows[number].ts

        last_ts = first - horizon_ms - _OFF_MS_MAX  # Training rows end before it.
        train = order[: bisect_left(order, last_ts, key=ts_of)]
        holdout = order[bisect_left(order, first, key=ts_of) :]
        return ChosenRows(rows, train), ChosenRows(rows, holdout)

    def manifest(self) -> dict[str, Any]:
        """Return the dataset's entry in a manifest."""
        return {
            "source_queues": sorted({source.queue for source in self.sources}),
            "sources": [source.to_json() for source in self.sources],
            "rows": len(self.rows),
            "labels": {
                name: sum(row.label == label for row in self.rows)
                for name, label in (("sell", SELL), ("hold", HOLD), ("buy", BUY))
            },
            "from_ts": min((row.ts for row in self.rows), default=0),
            "to_ts": max((row.ts for row in self.rows), default=0),
            "features_version": FEATURES_VERSION,
        }


@dataclass(frozen=True, slots=True)
class _Unlabelled:
    ts: int
    close_ts: int
    features: array[int]
    mid: float


class RowMaker:
    """Converter of one run's events into labelled rows.

    Args:
        run_id: Events of another run are refused.
        permitted: Queues that may go in.
        windows: Feature windows, which this object feeds.
        bar_interval: A row is made at each live bar of this interval.
        horizon_ms: How far the label looks ahead, in market time. The first live bar from there on
            at which the mid is usable gives it; too far from the end of the horizon, none does.
        label_bps_min: A move of at least this much is BUY or SELL, less is HOLD.
    """

    def __init__(
        self,
        run_id: str,
        permitted: frozenset[str],
        windows: Windows,
        *,
        bar_interval: str,
        horizon_ms: int,
        label_bps_min: float,
    ) -> None:
        self.windows = windows
        self.refused = 0
        self._run_id = run_id
        self._permitted = permitted
        self._bar_interval = bar_interval
        self._horizon_ms = horizon_ms
        self._label_bps_min = label_bps_min
        self._waiting: dict[str, deque[_Unlabelled]] = {name: deque() for name in windows.by_symbol}
        self._rows = RowRing(tuple(windows.by_symbol), ROWS_MAX)
        self._sources: dict[str, Source] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def labels_none(self) -> bool:
        """True if the first bar at or after the end of a horizon closes too late for a label."""
        return -self._horizon_ms % INTERVAL_MS[self._bar_interval] > _OFF_MS_MAX

    def take(self, queue: str, seq: int, event: Event) -> None:
        """Take one event.

        Raises:
            QueueForbidden: Its queue is not permitted, or it belongs to another run.
        """
        if queue not in self._permitted or queue not in PERMITTED_QUEUES:
            raise QueueForbidden(f"{queue} is not permitted")
        if event.run_id != self._run_id:
            raise QueueForbidden(f"{queue}:{seq} belongs to run {event.run_id}")
        source = self._sources.setdefault(queue, Source(self._run_id, queue, seq, seq))
        source.to_seq = seq
        if queue != TICKS:
            return
        row = row_of(event.payload)
        if row is not None:
            self.windows.take(row)
        if isinstance(event.payload, Gap) and DEPTH not in event.payload.stream:
            # Prices within the gap are unknown, so rows whose horizon spans it are not labelled.
            self._waiting.get(event.payload.symbol, deque()).clear()
        elif isinstance(event.payload, Bar) and event.payload.interval == self._bar_interval:
            self._on_bar(event.payload, event.ts)

    def _on_bar(self, bar: Bar, ts: int) -> None:
        window = self.windows.by_symbol.get(bar.symbol)
        if window is None or bar.is_history:
            return
        mid = window.mid
        if mid is None:
            return
        waiting = self._waiting[bar.symbol]
        # By the bars' own times: when they are received varies by some hundred milliseconds.
        while waiting and waiting[0].close_ts + self._horizon_ms <= bar.close_ts:
            self._label(bar.symbol, waiting.popleft(), ts, mid)
        vector = window.vector()
        if vector is not None:
            waiting.append(_Unlabelled(ts, bar.close_ts, array("q", vector), mid))

    def _label(self, symbol: str, row: _Unlabelled, ts: int, mid: float) -> None:
        horizon_ms = self._horizon_ms
        least_ms = max(horizon_ms - _OFF_MS_MAX, horizon_ms // 2)
        if not least_ms <= ts - row.ts <= horizon_ms + _OFF_MS_MAX:
            self.refused += 1
            return
        moved_bps = (mid - row.mid) / row.mid * 10_000.0
        label = HOLD
        if moved_bps >= self._label_bps_min:
            label = BUY
        elif moved_bps <= -self._label_bps_min:
            label = SELL
        self._rows.add(row.ts, symbol, row.features, label)

    def dataset(self) -> Dataset:
        """Return the rows labelled so far; later events do not change them."""
        sources = [
            Source(item.run_id, item.queue, item.from_seq, item.to_seq)
            for item in self._sources.values()
        ]
        return Dataset(self._rows.view(), sources)


def merged(datasets: Sequence[Dataset]) -> Dataset:
    """Return the rows of several runs as one dataset."""
    return Dataset(
        [row for dataset in datasets for row in dataset.rows],
        [source for dataset in datasets for source in dataset.sources],
    )
