"""The sections of a run profile as frozen classes.

Keys, units and ranges stand in `config/config.v1.schema.json`. Strategy, risk and execution take
their own sections from the raw profile, in their own rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

EMBEDDED: Final = "embedded"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a run writes; `var` as the profile says it."""

    var: str


@dataclass(frozen=True, slots=True)
class Code:
    """Which code may run."""

    require_manifest: bool


@dataclass(frozen=True, slots=True)
class Secrets:
    """Where secrets are, a path outside the project, and the key by which seals are signed."""

    path: str | None
    seal_public_key: str | None


@dataclass(frozen=True, slots=True)
class Binance:
    """The connector to Binance Spot's public market data."""

    rest_url: str
    stream_url: str
    symbols: tuple[str, ...]
    transport: str
    connect_timeout_ms: int
    rest_timeout_ms: int
    ping_interval_market_ms: int
    instrument_interval_market_ms: int
    outage_stop_market_ms: int
    error_window_market_ms: int
    error_rate_max_percent: int
    error_samples_min: int
    reconnects_max: int
    reconnect_window_market_ms: int
    backoff_min_market_ms: int
    backoff_max_market_ms: int
    tick_stale_market_ms: int
    book_stale_market_ms: int
    renew_after_market_ms: int
    weight_share_max_percent: int
    streams_per_connection_max: int
    clock_skew_max_ms: int
    feed_invalid_max: int
    price_band_percent: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """The loopback exchange; `speed` is market time per machine time, a decimal string."""

    source: str
    speed: str
    history: str | None
    faults: Any
    port: int
    rate_per_s: int


@dataclass(frozen=True, slots=True)
class Queues:
    """The durable queues."""

    base_dir: str
    names: tuple[str, ...]
    segment_bytes: int
    batch_max: int
    backlog_max: int
    sync_ms_max: int
    line_bytes_max: int
    events_per_s_min: int


@dataclass(frozen=True, slots=True)
class Market:
    """Ticks, bars and books."""

    book_levels: int
    book_interval_market_ms: int
    beat_interval_market_ms: int
    bar_intervals: tuple[str, ...]
    bar_grace_market_ms: int
    warmup_bars: int


@dataclass(frozen=True, slots=True)
class Universe:
    """How the symbols of a run are chosen; `quote_volume_min` is a decimal string."""

    mode: str  # static or dynamic
    bases: str  # universe-v1 or all
    exclude: tuple[str, ...]
    quote_volume_min: str
    traded_max: int
    interval_market_ms: int


@dataclass(frozen=True, slots=True)
class Paper:
    """What stands in for an exchange that cannot be reached, in mode PAPER."""

    fallback: str
    rate_per_s: int


@dataclass(frozen=True, slots=True)
class Portfolio:
    """Cash and positions; `cash` is a decimal string."""

    quote_asset: str
    cash: str
    at_end: str  # close or carry
    start_from: str  # fresh or carry
    close_market_ms: int


@dataclass(frozen=True, slots=True)
class Ai:
    """The isolated AI."""

    base_dir: str
    enabled: bool
    required: bool
    isolation_min: Mapping[str, str]
    model: str
    interval_market_ms: int
    horizon_ms: int
    label_bps_min: str
    train: bool
    train_min_rows: int
    train_interval_market_ms: int
    memory_mb_max: int
    restarts_max: int
    drafts_per_s_max: int
    permitted_queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Supervision."""

    heartbeat_interval_ms: int
    starting_ms_max: int
    hung_ms: int
    hung_execution_ms: int
    lease_ms: int
    restarts_max_60s: int
    restarts_max_300s: int
    drain_ms_max: int
    disk_free_min_mb: int
    clock_jump_ms_max: int
    pause_max_ms: int
    rss_mb_max: int
    metrics_interval_ms: int
    snapshot_interval_ms: int
    snapshot_inputs: int


@dataclass(frozen=True, slots=True)
class Logging:
    """Log files."""

    level: str
    file_bytes_max: int
    files_max: int


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Thresholds by which `minibot accept` judges a finished night (U-06)."""

    duration_ms_min: int
    latency_ms_p95_max: int
    latency_ms_p99_max: int
    feed_errors_percent_max: int
    role_away_ms_max: int
    memory_mb_per_hour_max: int


def section(cls: type[Any], values: Mapping[str, Any]) -> Any:
    """Return a section of a validated profile; lists become tuples."""
    return cls(
        **{
            name: tuple(value) if isinstance(value, list) and name != "faults" else value
            for name, value in values.items()
        }
    )
