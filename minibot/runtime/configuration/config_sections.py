"""The keys of a run profile: sections as frozen classes, with type, range and words of each key.

`config/config.v1.schema.json` is written from here (`python -m tools.config_schema --write`). The
sections that the cores read stand in `cores/core_profile.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, get_type_hints

from minibot.cores.core_profile import (
    CORRELATION_RULE,
    INTERVAL,
    NAME,
    NAME_OF_CODE,
    RATIO_RULE,
    VENUE,
    BacktestSection,
    ExecutionSection,
    PortfolioSection,
    RiskSection,
    ScannerSection,
    StrategySection,
)
from minibot.cores.profile_keys import (
    DECIMAL_POSITIVE,
    LATER,
    OPTIONAL,
    OPTIONAL_OR_NULL,
    Rule,
    later_keys,
    listed,
    one_of,
    only,
    section_type,
    string,
    whole,
)
from minibot.events.model import JsonObject
from minibot.events.roles import PERMITTED_QUEUES
from minibot.kernel.scan import LINE_BYTES_CAP

EMBEDDED: Final = "embedded"

VENUES: Final = (VENUE,)
"""The venues that a profile may name: those of `exchanges.venues`, each with a section below."""

_LEVEL: Final = one_of("jail", "advisory", "off")
ISOLATION: Final[Rule] = {
    "required": ["linux", "win32", "darwin"],
    "additionalProperties": False,
    "properties": {
        name: {**_LEVEL, "description": f"Least isolation on {name}."}
        for name in ("linux", "win32", "darwin")
    },
}
"""The rule of the isolation that is accepted, per system."""

PROCESSES: Final[Rule] = {"additionalProperties": {"type": "array", **listed({}, 1)}}
"""The rule of the roles in each process."""

WARMUP: Final[Rule] = {
    "type": ["integer", "object"],
    **whole(1, 1000),
    "minProperties": 1,
    "propertyNames": INTERVAL,
    "additionalProperties": {"type": "integer", **whole(1, 1000)},
    "title": 'a whole number from 1 to 1000, or such a number by length of bar, as {"4h": 180}',
}
"""The rule of closed bars that are fetched at a start: as many as one request brings."""

FEEDS: Final[Rule] = {
    "minProperties": 1,
    "maxProperties": 20,
    "propertyNames": NAME_OF_CODE,
    "additionalProperties": {"type": "string", **string(1, 500, title="a file's path")},
    "title": "a section of 1 to 20 names, each with a file's path",
}
"""The rule of the files that hold values from outside the market."""

_TARGET: Final = string(
    most=40,
    pattern="^[a-z][a-z0-9_-]*$",
    title="at most 40 lower-case letters, digits, - and _, a letter first",
)
TARGETS: Final[Rule] = {
    "minProperties": 1,
    "maxProperties": 10,
    "propertyNames": _TARGET,
    "additionalProperties": {
        "type": "string",
        **string(1, 100, title="a name in the secrets file, never the address itself"),
        "not": {"pattern": "://"},
    },
    "title": "a section of 1 to 10 targets, each with the name of its address in the secrets file",
}
"""The rule of the targets whose address is a secret."""

COMMANDS: Final[Rule] = {
    "minProperties": 1,
    "maxProperties": 10,
    "propertyNames": _TARGET,
    "additionalProperties": {
        "type": "array",
        "minItems": 1,
        "maxItems": 20,
        "items": {"type": "string", **string(1, 500)},
    },
    "title": 'a section of 1 to 10 targets, each with a program and its words, as ["beep", "-l"]',
}
"""The rule of the targets that are programs of this machine."""

EXTENDS_KEY = Annotated[
    str,
    string(
        1,
        255,
        pattern="^[^/\\\\]+$",
        title="the name of a whole profile's file, without a folder",
    ),
    "Makes this file an overlay of a whole profile, in the same folder or a shipped one: "
    "sections are merged key by key, every other value replaces the base's.",
]
"""The key that an overlay has and a resolved profile has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Folders of a run."""

    var: Annotated[str, string(1, 500), "Folder of all that a run writes, below the project."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """Which code may run."""

    require_manifest: Annotated[
        bool,
        "Refuse to start when code differs from staging/deployed.json (N-23).",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """File of secrets; the night needs none."""

    path: Annotated[
        str | None,
        string(1, 500),
        "File outside the project tree that holds secrets, or null.",
    ]
    seal_public_key: Annotated[
        str | None,
        string(64, 64, pattern="^[0-9a-f]{64}$", title="64 of 0-9 and a-f as text, or null"),
        "Ed25519 key, hex, by which every seal has to be signed; null leaves seals unsigned.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueSection:
    """The connector to the public market data of the venue whose name the section bears."""

    rest_url: Annotated[str, string(1, 500), "REST base: an https URL, or embedded."]
    stream_url: Annotated[str, string(1, 500), "Stream base: a wss URL, or embedded."]
    symbols: Annotated[
        tuple[str, ...],
        listed(
            string(
                most=20,
                pattern="^[A-Z0-9]{5,20}$",
                title="5 to 20 upper-case letters and digits, such as BTCUSDT",
            ),
            1,
            400,
        ),
        "Markets to trade; an embedded source brings its own.",
    ]
    transport: Annotated[str, one_of("websocket-client"), "Library that reads the streams."]
    connect_timeout_ms: Annotated[int, whole(100, 60_000), "Time to connect."]
    rest_timeout_ms: Annotated[int, whole(100, 60_000), "Time for one REST answer."]
    ping_interval_market_ms: Annotated[
        int,
        whole(1000, 300_000),
        "Time between two latency measurements.",
    ]
    instrument_interval_market_ms: Annotated[
        int,
        whole(60_000, 86_400_000),
        "How often the rules of the symbols are requested again.",
    ]
    outage_stop_market_ms: Annotated[
        int,
        whole(120_000, 300_000),
        "Outage after which the run stops.",
    ]
    error_window_market_ms: Annotated[
        int,
        whole(60_000, 3_600_000),
        "Window over which the error rate is measured.",
    ]
    error_rate_max_percent: Annotated[
        int,
        whole(1, 100),
        "Largest share of failed latency measurements in the window; more stops the run.",
    ]
    error_samples_min: Annotated[
        int,
        whole(1, 1000),
        "Least number of measurements in the window for which the rate counts.",
    ]
    reconnects_max: Annotated[
        int,
        whole(1, 300),
        "Reconnects in their window that stop the run; the exchange allows 300.",
    ]
    reconnect_window_market_ms: Annotated[
        int,
        whole(60_000, 3_600_000),
        "Window over which reconnects are counted.",
    ]
    backoff_min_market_ms: Annotated[int, whole(50, 60_000), "First wait before a reconnect."]
    backoff_max_market_ms: Annotated[int, whole(100, 300_000), "Longest wait before a reconnect."]
    tick_stale_market_ms: Annotated[int, whole(500, 60_000), "Age at which a tick is stale."]
    book_stale_market_ms: Annotated[int, whole(500, 60_000), "Age at which a book is stale."]
    renew_after_market_ms: Annotated[
        int,
        whole(3_600_000, 86_400_000),
        "Age at which a connection is renewed, before the exchange's 24 hours.",
    ]
    weight_share_max_percent: Annotated[
        int,
        whole(1, 100),
        "Share of the exchange's request weight that may be used.",
    ]
    streams_per_connection_max: Annotated[
        int,
        whole(3, 800),
        "Streams that share a connection; the exchange allows 1024.",
    ] = field(default=800, metadata=LATER)
    clock_skew_max_ms: Annotated[
        int,
        whole(100, 60_000),
        "Largest difference between our clock and the exchange's at the start, and largest drift "
        "of it in the run.",
    ]
    feed_invalid_max: Annotated[
        int,
        whole(1, 100_000),
        "Most malformed or implausible messages in the error window; more stop the run.",
    ]
    price_band_percent: Annotated[
        int,
        whole(1, 90),
        "Largest plausible step of a price against the last and the reference price.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The loopback exchange; null for the real hosts."""

    source: Annotated[
        str,
        string(
            1,
            500,
            pattern=r"^(tape|klines|run|generator):[^\x00-\x1f]+$",
            title="tape:FILE, klines:FILE, run:DIR or generator:SEED",
        ),
        "Market that is played: tape:FILE, klines:FILE, run:DIR or generator:SEED; tape:demo "
        "ships with the package.",
    ]
    speed: Annotated[str, DECIMAL_POSITIVE, "Market time per wall-clock time."]
    history: Annotated[
        str | None,
        string(1, 500, pattern=r"^klines:[^\x00-\x1f]+$", title="klines:FILE or null"),
        "Source of history before the start: klines:FILE, or null.",
    ]
    faults: Annotated[
        Any,
        {"type": ["string", "array", "object", "null"]},
        "Script of faults to inject, or null.",
    ]
    port: Annotated[int, whole(0, 65_535), "Loopback port; 0 takes a free one."]
    rate_per_s: Annotated[
        int,
        whole(1, 100_000),
        "Messages of the generator per second of market time.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queues:
    """The durable queues."""

    base_dir: Annotated[str, string(1, 500), "Folder of the queues: queues, below paths.var."]
    names: Annotated[
        tuple[str, ...],
        listed(string(most=40, pattern="^[a-z][a-z_]*$", title="small letters and _"), 8, 64),
        "All queues of a run; exactly those of roles.v1.json.",
    ]
    segment_bytes: Annotated[
        int,
        whole(65_536, 1_073_741_824),
        "Size at which a queue file is sealed and a new one begun.",
    ]
    batch_max: Annotated[
        int,
        whole(1, 100_000),
        "Most lines that a deciding role takes before it looks again whether it may.",
    ]
    backlog_max: Annotated[
        int,
        whole(1000, 100_000_000),
        "Lines that a reader may fall behind before the run stops, or the AI is switched off.",
    ]
    sync_ms_max: Annotated[
        int,
        whole(1000, 120_000),
        "Longest disk call before the run stops, or the AI is switched off.",
    ]
    line_bytes_max: Annotated[
        int,
        whole(4096, LINE_BYTES_CAP),
        "Longest line that is written; a longer one stops the run.",
    ]
    events_per_s_min: Annotated[
        int,
        whole(0, 10_000_000),
        "Events per second that the disk has to sync, 256 at a time; a start on a slower disk is "
        "refused. 0 asks for nothing.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """Ticks, bars and books."""

    book_levels: Annotated[int, whole(1, 1000), "Levels per side in a book event."]
    book_interval_market_ms: Annotated[int, whole(100, 60_000), "Time between two book events."]
    beat_interval_market_ms: Annotated[int, only(1000), "Time between two beats: one second."]
    bar_intervals: Annotated[
        tuple[str, ...],
        listed(INTERVAL, 1, 16),
        "Lengths of the bars that are built.",
    ]
    bar_grace_market_ms: Annotated[
        int,
        whole(0, 60_000),
        "Wait past a bar's end before it is written without a later trade.",
    ]
    warmup_bars: Annotated[
        int | JsonObject,
        WARMUP,
        "Closed bars of each length fetched at the start: one number for all, or a table such as "
        '{"1m": 200, "4h": 180}, in which a missing length has the largest of its numbers. Each '
        "length takes one request per symbol.",
    ]
    book_depth: Annotated[
        bool | None,
        "Write into each `book` what the kept levels within 2 % of the mid are worth, and into "
        "`book` and `instrument` their venue; without the key neither is written.",
    ] = field(default=None, metadata=OPTIONAL)
    feeds: Annotated[
        JsonObject | None,
        FEEDS,
        "Files of values from outside the market, by the name that a strategy asks for. The "
        "scanner reads social_btcusdt (points for BTCUSDT, 0 to 10) and onchain_btcusdt (its "
        "on-chain volume, which counts once every ranked symbol has a fresh value).",
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ai:
    """The isolated AI."""

    base_dir: Annotated[str, string(1, 500), "Folder of the AI's files: ai, below paths.var."]
    enabled: Annotated[bool, "Start the AI."]
    required: Annotated[bool, "Refuse to run without it."]
    isolation_min: Annotated[
        Mapping[str, str],
        ISOLATION,
        "Least isolation that is accepted, per system.",
    ]
    model: Annotated[str, one_of("lightgbm", "baseline"), "Model that recommends."]
    interval_market_ms: Annotated[int, whole(100, 3_600_000), "Time between two recommendations."]
    horizon_ms: Annotated[
        int,
        whole(1000, 86_400_000),
        "How far ahead a recommendation looks, market time.",
    ]
    label_bps_min: Annotated[
        str,
        DECIMAL_POSITIVE,
        "A move over the horizon of at least this size is learned as BUY or SELL, a smaller one "
        "as HOLD.",
    ]
    train: Annotated[bool, "Run the trainer."]
    train_min_rows: Annotated[int, whole(10, 10_000_000), "Rows before a model is trained."]
    train_interval_market_ms: Annotated[
        int,
        whole(10_000, 86_400_000),
        "Least market time between the starts of two trainings.",
    ]
    memory_mb_max: Annotated[int, whole(64, 65_536), "Memory of the worker."]
    restarts_max: Annotated[
        int,
        whole(0, 100),
        "Restarts of the worker, and as many of `ai_role` itself, before the AI is switched off.",
    ]
    drafts_per_s_max: Annotated[
        int,
        whole(1, 10_000),
        "Questions to the worker per second; each allows one draft.",
    ]
    permitted_queues: Annotated[
        tuple[str, ...],
        # A rule refuses control, which manifests of older runs may hold.
        listed(
            {
                **one_of("control", "fills", "market_ticks", "signals"),
                "title": "one of " + ", ".join(sorted(PERMITTED_QUEUES)),
            },
            1,
        ),
        "Queues that the AI may learn from (N-72).",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """Supervision."""

    heartbeat_interval_ms: Annotated[int, whole(100, 10_000), "Time between two heartbeats."]
    starting_ms_max: Annotated[int, whole(1000, 600_000), "Longest start of a role."]
    hung_ms: Annotated[
        int, whole(1000, 120_000), "Time without progress after which a role counts as hung."
    ]
    hung_execution_ms: Annotated[int, whole(1000, 120_000), "The same for execution."]
    lease_ms: Annotated[int, whole(1000, 60_000), "Lifetime of a lease."]
    restarts_max_60s: Annotated[int, whole(0, 100), "Restarts of one role in 60 s."]
    restarts_max_300s: Annotated[int, whole(0, 500), "Restarts of one role in 300 s."]
    drain_ms_max: Annotated[int, whole(1000, 600_000), "Longest drain at the end."]
    disk_free_min_mb: Annotated[int, whole(1, 10_000_000), "Free space under which the run stops."]
    clock_jump_ms_max: Annotated[int, whole(100, 600_000), "Largest jump of the wall clock."]
    pause_max_ms: Annotated[
        int,
        whole(3000, 3_600_000),
        "Longest pause of the whole run that it survives, such as a closed lid.",
    ] = field(default=60000, metadata=LATER)
    rss_mb_max: Annotated[int, whole(16, 1_000_000), "Memory of one role."]
    metrics_interval_ms: Annotated[
        int, whole(1000, 3_600_000), "Time between two writings of metrics."
    ]
    snapshot_interval_ms: Annotated[
        int, whole(1000, 3_600_000), "Time between two snapshots of a role."
    ]
    snapshot_inputs: Annotated[
        int,
        whole(100, 100_000_000),
        "Inputs between two snapshots of a role.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """Log files."""

    level: Annotated[
        str,
        one_of("debug", "info", "warning", "error"),
        "Least level that is written.",
    ]
    file_bytes_max: Annotated[
        int,
        whole(10_000, 2_147_483_648),
        "Size at which a log file is rotated.",
    ]
    files_max: Annotated[int, whole(1, 1000), "Log files kept per process."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Thresholds of `minibot accept` for this night.

    A profile may ask for more than the specification, never for less.
    """

    duration_ms_min: Annotated[
        int,
        whole(25_200_000, 604_800_000),
        "Least duration, in market time and by the wall clock.",
    ]
    latency_ms_p95_max: Annotated[
        int,
        whole(1, 1000),
        "Largest 95th percentile of the exchange's answers to health checks.",
    ]
    latency_ms_p99_max: Annotated[
        int,
        whole(1, 3000),
        "Largest 99th percentile of the exchange's answers to health checks.",
    ]
    feed_errors_percent_max: Annotated[
        int,
        whole(0, 5),
        "Largest share of failed health checks, and of invalid market messages.",
    ]
    role_away_ms_max: Annotated[
        int,
        whole(1000, 60_000),
        "How long a role may be away at start and end together, and once more for each restart.",
    ]
    memory_mb_per_hour_max: Annotated[
        int,
        whole(1, 10),
        "How much a role's memory may grow per hour, after the first half hour.",
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    """A fault to inject into a short run, or null; a night has null."""

    drill: Annotated[
        str | None,
        string(1, 100),
        "Name of the drill that this run belongs to; it never counts as a night.",
    ] = field(default=None, metadata=OPTIONAL)
    plant: Annotated[
        str | None,
        string(1, 100),
        "A defect that a role or an instrument of the run carries.",
    ] = field(default=None, metadata=OPTIONAL)
    role: Annotated[str | None, "Whose process carries the planted defect."] = field(
        default=None, metadata=OPTIONAL
    )
    queue: Annotated[str | None, "In which queue the spoiled event appears."] = field(
        default=None, metadata=OPTIONAL
    )
    after: Annotated[
        int | None,
        whole(0, 1_000_000_000),
        "Events that the role's process writes into the queue before the spoiled one.",
    ] = field(default=None, metadata=OPTIONAL)
    after_ms: Annotated[
        int | None,
        whole(0, 86_400_000),
        "Wall-clock time before an instrument goes wrong.",
    ] = field(default=None, metadata=OPTIONAL)
    amount: Annotated[
        int | None,
        "By how much the instrument is wrong, in its own unit.",
    ] = field(default=None, metadata=OPTIONAL)
    ai_worker: Annotated[str | None, "How the AI worker misbehaves."] = field(
        default=None, metadata=OPTIONAL
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Universe:
    """Choice of the symbols that the market role follows and trades.

    Null takes the symbols as they are; a `universe` event tells of a position outside them.
    """

    mode: Annotated[
        str,
        one_of("static", "dynamic"),
        "Exactly the list of the venue's section, or what the exchange lists against "
        "portfolio.quote_asset and passes the filters.",
    ]
    bases: Annotated[
        str,
        one_of("universe-v1", "all"),
        "The thirty bases of config/universe.v1.json, or every base that the exchange lists.",
    ]
    exclude: Annotated[
        tuple[str, ...],
        listed(
            string(most=20, pattern="^[A-Z0-9]{1,20}$", title="an asset or a symbol, upper case"),
            most=200,
        ),
        "Bases or symbols that never belong to it, such as stablecoins.",
    ]
    quote_volume_min: Annotated[
        str,
        string(
            most=30,
            pattern="^(0|[1-9][0-9]{0,15})([.][0-9]{1,8})?$",
            title="a decimal number as text, zero or more and below 10 ** 16, at most 8 places",
        ),
        "Least quote volume over 24 hours for a symbol to belong.",
    ]
    traded_max: Annotated[
        int,
        whole(1, 400),
        "How many of them, by volume, are followed in full and traded.",
    ]
    interval_market_ms: Annotated[
        int, whole(60_000, 86_400_000), "How often the universe is resolved again."
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Stand-in for an exchange that cannot be reached; in mode PAPER alone."""

    fallback: Annotated[
        str,
        string(
            most=200,
            pattern="^generator:[0-9]{1,18}(:[A-Z0-9,]+)?$",
            title="generator:SEED or generator:SEED:SYMBOL,...",
        ),
        "A synthetic market from a seed, of the profile's symbols where it names none.",
    ]
    rate_per_s: Annotated[int, whole(1, 1000), "Its messages per second."]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Page of a run, with its API and metrics, on this machine alone (extra `web`)."""

    port: Annotated[int, whole(0, 65_535), "Port on 127.0.0.1; 0 takes a free one."]
    required: Annotated[
        bool, "Refuse a start without the extra's packages; else the run goes on without a page."
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSection:
    """Backups of the run while it goes on, and once it is sealed."""

    every_ms: Annotated[
        int, whole(1000, 86_400_000), "Time between two backups; an hour is 3600000."
    ]
    folder: Annotated[
        str,
        string(1, 500),
        "Folder of the backups, neither in paths.var nor around it; best on another disk.",
    ]
    keep: Annotated[int, whole(1, 10_000), "Number of backups kept; older ones are deleted."]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsSection:
    """Alerts of the run (extra `alerts`), each once to every target."""

    required: Annotated[
        bool,
        "Refuse a start without the extra's packages or a target's address; else the run goes on "
        "without them.",
    ]
    level_min: Annotated[
        str,
        one_of("info", "warning", "critical"),
        "Least level that is sent; a STOP and the end of the run always are.",
    ]
    per_minute_max: Annotated[
        int,
        whole(1, 60),
        "Messages a minute to one target; when more wait, one sums them up. A STOP is not held.",
    ]
    targets: Annotated[
        JsonObject | None,
        TARGETS,
        "Targets by name: the name of each one's Apprise address in the secrets file (json, "
        "jsons, slack, tgram, mailto, mailtos, ntfy, ntfys).",
    ] = field(default=None, metadata=OPTIONAL)
    commands: Annotated[
        JsonObject | None,
        COMMANDS,
        "Targets by name: a program and its words; it gets the alert as JSON on standard input.",
    ] = field(default=None, metadata=OPTIONAL)
    sharpe_min: Annotated[
        str | None,
        RATIO_RULE,
        "Sharpe ratio below which a run is a warning, from ten quarters of an hour on; without "
        "the key a note below 1.0.",
    ] = field(default=None, metadata=OPTIONAL)
    correlation_max: Annotated[
        str | None,
        CORRELATION_RULE,
        "Correlation of two held symbols above which there is a warning; without the key a note "
        "above 0.65.",
    ] = field(default=None, metadata=OPTIONAL)
    telegram: Annotated[
        str | None,
        _TARGET,
        "Name of the target, a tgram address with one chat, whose chat may ask by commands.",
    ] = field(default=None, metadata=OPTIONAL)
    telegram_acts: Annotated[
        bool | None,
        "Let that chat also pause, resume and stop the run, each after it was confirmed.",
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSection:
    """Guard of the run: `minibot guard`, a process of its own that alarms when nothing moves."""

    quiet_ms: Annotated[
        int,
        whole(5_000, 90_000),
        "How long data, decisions or the status may stand still before an alarm; usually 30000.",
    ]
    ping: Annotated[
        str | None,
        string(1, 100, title="a name in the secrets file, never the address itself"),
        "Name in the secrets file of the address of an outside monitor, which is requested "
        "while all is well.",
    ] = field(default=None, metadata=OPTIONAL)
    ping_every_ms: Annotated[
        int | None,
        whole(10_000, 3_600_000),
        "Time between two such requests; 60000 without the key.",
    ] = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileKeys:
    """A run profile of minibot."""

    schema: Annotated[str, only("minibot.config"), "Names this kind of file."]
    v: Annotated[int, only(1), "Version of this kind of file."]
    profile: Annotated[str, NAME, "Name of the profile."]
    mode: Annotated[
        str,
        one_of("NORE", "PAPER"),
        "NORE is the night: the exchange or nothing. PAPER practises: a synthetic market may stand "
        "in, and it counts for nothing. Both trade on paper alone (N-22).",
    ]
    duration_ms: Annotated[
        int,
        whole(1000, 604_800_000),
        "Length of the run in market time; seven hours are 25200000.",
    ]
    seed: Annotated[
        int,
        whole(0, 9_007_199_254_740_991),
        "Seed of everything random by intent: jitter, the generator, training.",
    ]
    paths: Paths
    code: Code
    secrets: Secrets
    venue: Annotated[
        str, one_of(*VENUES), "Venue whose market is traded; also the name of its section."
    ] = field(default=VENUE, metadata=LATER | OPTIONAL)
    binance: VenueSection
    embedded: Embedded | None
    queues: Queues
    market: Market
    strategy: StrategySection
    risk: RiskSection
    execution: ExecutionSection
    portfolio: PortfolioSection
    ai: Ai
    watchdog: Watchdog
    logging: Logging
    acceptance: Acceptance
    chaos: Chaos | None
    backtest: BacktestSection | None = field(default=None, metadata=OPTIONAL)
    processes: Annotated[
        JsonObject | None,
        PROCESSES,
        "Optional: process name to the roles in it; each role has a process of its own.",
    ] = field(default=None, metadata=OPTIONAL)
    universe: Universe | None = field(default=None, metadata=OPTIONAL_OR_NULL)
    paper: Paper | None = field(default=None, metadata=OPTIONAL)
    scanner: ScannerSection | None = field(default=None, metadata=OPTIONAL_OR_NULL)
    page: Page | None = field(default=None, metadata=OPTIONAL)
    backup: BackupSection | None = field(default=None, metadata=OPTIONAL)
    alerts: AlertsSection | None = field(default=None, metadata=OPTIONAL)
    guard: GuardSection | None = field(default=None, metadata=OPTIONAL)


@cache
def sections() -> dict[str, type[Any]]:
    """Return the class of each section, by its key."""
    found = {name: section_type(hint) for name, hint in get_type_hints(ProfileKeys).items()}
    return {name: cls for name, cls in found.items() if cls is not None}


@cache
def keys_that_came_later() -> dict[str, JsonObject]:
    """Return the keys that older runs lack in their manifests, with their meaning then."""
    found = {name: later_keys(cls) for name, cls in sections().items()}
    return {name: keys for name, keys in found.items() if keys}


@cache
def values_that_came_later() -> JsonObject:
    """Return the keys outside of sections that a profile may lack, with their meaning then."""
    return later_keys(ProfileKeys)
