"""Rules for the status of a run: conditions that last too long, and changes.

A lasting condition gives an alert once it has held for its time. The alert's id holds the clock
hour (UTC), and the outbox drops a second alert of an id: a condition that returns, or holds when
`ops` is restarted, gives the next alert in the next clock hour at the earliest, if it holds then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations, pairwise
from typing import Any, Final

import psutil

from minibot.backtest.report.ratios import sharpe
from minibot.cores.core_profile import venue_name
from minibot.events.decimals import parse_fixed
from minibot.events.model import ALL_SYMBOLS, Health, JsonObject
from minibot.events.names import EXECUTION_ROLE, MARKET_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.events.reasons import (
    COOLDOWN_PERIOD,
    HALTED,
    INSUFFICIENT_CASH,
    NIGHT_NOTIONAL_PACE,
)
from minibot.events.unit_sizes import MINUTE_MS
from minibot.features.correlation import CORRELATION_UNIT, correlation_of
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING, Alert
from minibot.ops.data_age import data_age_ms, silence_ms
from minibot.ops.figures_of_role import facts_of
from minibot.report.entry_notices import account_notice, entry_notice
from minibot.report.figures import counted, date_clock, money, price
from minibot.report.span_meter import PERIODS_MIN
from minibot.risk.account import ACTIVE
from minibot.runtime.clock import wall_ms
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.watchdog.ending import Phase

CONNECTION_LOST_S: Final = 30.0
"""How long a connection may be away, wall-clock time, as the market role's healths show it."""
HOLD_S: Final = 5.0
DISK_FACTOR: Final = 2
"""Disk space is low below this many times the space at which the run stops."""
MEASURED_MAX: Final = 60
"""Newest measurements of the exchange that count for the rate of errors."""
PERIOD_MS: Final = 15 * MINUTE_MS
PERIODS_A_YEAR: Final = 365 * 96
RETURNS_MIN: Final = 30
"""Returns of a minute each that two symbols need before their correlation counts."""
SHARPE_MIN: Final = "1.0"
CORRELATION_MAX: Final = "0.65"
"""Bounds of a profile that names none (C-113)."""
EVERYDAY: Final = frozenset({HALTED, INSUFFICIENT_CASH, NIGHT_NOTIONAL_PACE, COOLDOWN_PERIOD})
"""Usual reasons for which no entry passes: their alert is an info, any other a warning."""
_ORDINARY: Final = {"account": ACTIVE, "is_halted": str(False)}
"""Facts of risk whose changes give an alert, with the value that gives none at the start."""
_PRICE_UNIT: Final = 100_000_000


@dataclass(slots=True)
class Standing:
    """Condition that gives an alert once it has held without a break for a time.

    Attributes:
        hold_s: That time, wall-clock seconds.
        alerted_hour: Clock hour of its last alert, as `hour_of` writes it.
    """

    hold_s: float = HOLD_S
    since_s: float | None = None
    is_alerted: bool = False
    alerted_hour: str = ""

    def begins(self, holds: bool, hour: str) -> bool:
        """Take whether the condition holds now; return True once in each unbroken stretch.

        A stretch that begins in the hour of the alert before has its own in the next hour.
        """
        if not holds:
            self.since_s, self.is_alerted = None, False
            return False
        now_s = time.monotonic()
        if self.since_s is None:
            self.since_s = now_s
        if self.is_alerted or now_s - self.since_s < self.hold_s or hour == self.alerted_hour:
            return False
        self.is_alerted, self.alerted_hour = True, hour
        return True


@dataclass(slots=True)
class _Returns:
    """Marks of a held symbol, one a minute."""

    minute: int = -1
    marks: deque[int] = field(default_factory=lambda: deque(maxlen=RETURNS_MIN + 1))


class StatusRules:
    """Rules over the statuses and the market role's healths of one run.

    Args:
        manifest: The run.
        var: Its folders.
    """

    def __init__(self, manifest: Manifest, var: Var) -> None:
        self._run_id = manifest.run_id
        self._root = str(var.root)
        watchdog = manifest.config["watchdog"]
        self._disk_mb = DISK_FACTOR * int(watchdog["disk_free_min_mb"])
        venue = manifest.config[venue_name(manifest.config)]
        alerts = manifest.config.get("alerts") or {}
        self._sharpe_min = float(alerts.get("sharpe_min", SHARPE_MIN))
        most = Decimal(str(alerts.get("correlation_max", CORRELATION_MAX)))
        self._correlation_max = int(most * CORRELATION_UNIT)
        # A bound that the profile names gives a warning, a default one an info.
        self._level_of = {
            key: WARNING if key in alerts else INFO for key in ("sharpe_min", "correlation_max")
        }
        self._errors_percent = max(1, int(venue["error_rate_max_percent"]) // 2)
        self._samples_min = int(venue["error_samples_min"])
        self._standing = {"connection": Standing(CONNECTION_LOST_S)}
        self._market: tuple[int, Health] | None = None
        self._silence_ms = silence_ms(manifest.clock_speed)
        self._measured: deque[bool] = deque(maxlen=MEASURED_MAX)
        self._stopped = ""
        self._former: dict[str, str] | None = None
        self._locked: set[str] = set()
        self._period = -1
        self._equities: list[float] = []
        self._marks: dict[str, _Returns] = {}

    def recall(self, alerted: Mapping[str, str]) -> None:
        """Take over the alerts of this run from before `ops` began; until then no change gives one.

        Args:
            alerted: Event id of the last alert by kind, as `Outbox.last_of` returns it.
        """
        kept = {kind: event_id for kind, event_id in alerted.items() if kind in _ORDINARY}
        self._former = {kind: each.rpartition("@")[0] for kind, each in kept.items()}
        for kind in alerted.keys() - kept.keys():
            self._standing.setdefault(kind, Standing()).alerted_hour = alerted[kind]

    # --- from the queues ----------------------------------------------------------------------

    def on_health(self, health: Health, ts: int) -> None:
        """Take the market role's figures of its connection at a market time, Unix ms."""
        if health.role != MARKET_ROLE:
            return
        self._market = ts, health
        if health.ok is not None:
            self._measured.append(health.ok)

    # --- from the status ----------------------------------------------------------------------

    def look(self, status: JsonObject) -> Iterator[Alert]:
        """Yield the alerts of a status; the outbox drops those whose id it knows."""
        yield from self._changes(status)
        if status["phase"] != Phase.RUNNING.value or status["ended"] is not None:
            return
        yield from self._ages(status)
        yield from self._machine()
        yield from self._results(status)
        yield from self._correlations(status)

    def _changes(self, status: JsonObject) -> Iterator[Alert]:
        risk = facts_of(status, RISK_ROLE)
        if not risk:
            return
        stops = risk.get("entry_stops")
        event_id = "" if not stops else f"{stops['reason_code']}@{stops['since_ts']}"
        if stops and event_id != self._stopped:
            level = INFO if stops["reason_code"] in EVERYDAY else WARNING
            yield self._alert("entries", event_id, level, "no entries pass", entry_notice(stops))
        self._stopped = event_id
        yield from self._locks(risk.get("locks", ()))
        if self._former is None:
            return
        for key, ordinary in _ORDINARY.items():
            if key not in risk:  # Before `run_opening`, or in a profile without tiers.
                continue
            value = str(risk[key])
            former = self._former.get(key, ordinary)
            self._former[key] = value
            if value == former:
                continue
            words = f"equity {money(risk.get('equity'))}"
            fallen = f"drawdown {money(risk.get('drawdown_bps'), 1)} bps"
            if key == "is_halted":
                title = "entries are halted" if risk[key] else "entries are allowed again"
                level = INFO
            else:  # Its tier counts from the mark of all carried runs.
                title, level = f"the account is {value}", WARNING
                words, fallen = f"{former} -> {value}; {words}", account_notice(risk) or fallen
            event_id = f"{value}@{status['now_ms']}"
            yield self._alert(key, event_id, level, title, f"{words}, {fallen}")

    def _locks(self, locks: Iterable[JsonObject]) -> Iterator[Alert]:
        """Yield an alert for each lock of a protection; one that was made longer is a new one."""
        former, self._locked = self._locked, set()
        for lock in locks:
            code, scope, until = lock["reason_code"], lock["scope"], lock["until_ts"]
            event_id = f"{code}:{scope}@{until}"
            self._locked.add(event_id)
            if event_id not in former:
                level = INFO if code in EVERYDAY else WARNING
                whom = "all symbols" if scope == ALL_SYMBOLS else scope
                words = f"{code}: no entries of {whom} until {date_clock(until)} UTC"
                yield self._alert("protection", event_id, level, "a protection locks", words)

    def _ages(self, status: JsonObject) -> Iterator[Alert]:
        age_ms = 0
        if self._market is not None:
            ts, health = self._market
            now_ms = int(status["now_ms"])
            age_ms = data_age_ms(health.data_age_ms, health.state, ts, now_ms, self._silence_ms)
        # A fast clock makes each moment's wait of this machine long in market time.
        is_old = age_ms >= self._silence_ms
        age = f"{age_ms / 1000:.0f} s old, {self._silence_ms // 1000} s allowed"
        yield from self._condition("data_age", is_old, CRITICAL, "market data are old", age)
        now = facts_of(status, STRATEGY_ROLE).get("now")
        behind_ms = 0 if not now else int(status["now_ms"]) - int(now)
        words = f"the strategy is {behind_ms / 1000:.0f} s of market time behind"
        is_behind = behind_ms >= self._silence_ms
        yield from self._condition("decision_age", is_behind, CRITICAL, "decisions are old", words)
        wanted, is_open = self._connections()
        is_away = is_open < wanted
        words = (
            f"{wanted - is_open} of {counted(wanted, 'connection')} away for "
            f"{CONNECTION_LOST_S:.0f} s; built again as soon as the exchange lets it"
        )
        yield from self._condition("connection", is_away, CRITICAL, "the connection is lost", words)

    def _connections(self) -> tuple[int, int]:
        """Return how many connections the market role needs and how many are up, as last reported.

        Counts show a loss better than incidents do: a successor that fails costs nothing, and one
        connection that comes back says nothing about another.
        """
        counters = None if self._market is None else self._market[1].counters
        if counters is None:
            return 0, 0
        return counters.get("connections", 0), counters.get("connections_open", 0)

    def _machine(self) -> Iterator[Alert]:
        free_mb = psutil.disk_usage(self._root).free // 1024 // 1024
        stop_mb = self._disk_mb // DISK_FACTOR
        words = f"{free_mb} MB free on the disk of {self._root}; the run stops below {stop_mb} MB"
        if free_mb >= self._disk_mb:
            words = ""
        yield from self._condition("disk", bool(words), CRITICAL, "the disk is nearly full", words)
        errors = self._measured.count(False)
        percent = 100 * errors // len(self._measured) if self._measured else 0
        is_bad = len(self._measured) >= self._samples_min and percent >= self._errors_percent
        words = f"{errors} of the last {len(self._measured)} measurements failed"
        yield from self._condition("error_rate", is_bad, WARNING, "the exchange fails often", words)

    def _results(self, status: JsonObject) -> Iterator[Alert]:
        market_ms, equity = status["market"].get("market_ms"), facts_of(status, RISK_ROLE)
        if not market_ms or "equity" not in equity:
            return
        period = int(market_ms) // PERIOD_MS
        if period != self._period:
            self._period = period
            self._equities.append(float(equity["equity"]))
            del self._equities[: -PERIODS_A_YEAR - 1]
        ratio = sharpe_of(self._equities)
        minutes = PERIOD_MS // MINUTE_MS
        words = f"over {len(self._equities) - 1} periods of {minutes} minutes"
        is_low = ratio is not None and ratio < self._sharpe_min
        title = f"the Sharpe ratio is below {self._sharpe_min:g}"
        yield from self._condition("sharpe", is_low, self._level_of["sharpe_min"], title, words)

    def _correlations(self, status: JsonObject) -> Iterator[Alert]:
        market_ms = status["market"].get("market_ms")
        if not market_ms:
            return
        held = {
            symbol: each["mark"]
            for symbol, each in status["market"].get("symbols", {}).items()
            if each["entry"] is not None and each["mark"] is not None
        }
        for symbol in self._marks.keys() - held.keys():
            del self._marks[symbol]
        for symbol, mark in held.items():
            kept = self._marks.setdefault(symbol, _Returns())
            minute = int(market_ms) // MINUTE_MS
            if minute == kept.minute:
                continue
            if minute != kept.minute + 1:
                kept.marks.clear()
            kept.minute = minute
            kept.marks.append(parse_fixed(mark, 8))
        for one, other in combinations(sorted(held), 2):
            value = self._correlation(one, other)
            name = f"correlation:{one}:{other}"
            words = f"{one} and {other}: {Decimal(value or 0) / CORRELATION_UNIT:.2f}"
            is_high = value is not None and value > self._correlation_max
            level = self._level_of["correlation_max"]
            yield from self._condition(name, is_high, level, "two positions move as one", words)

    def _correlation(self, one: str, other: str) -> int | None:
        found = [_returns(self._marks[symbol].marks) for symbol in (one, other)]
        if min(map(len, found)) < RETURNS_MIN:
            return None
        return correlation_of(*found)

    # --- alerts -------------------------------------------------------------------------------

    def _condition(
        self, kind: str, holds: bool, level: str, title: str, words: str
    ) -> Iterator[Alert]:
        standing = self._standing.setdefault(kind, Standing())
        hour = hour_of(wall_ms())
        if standing.begins(holds, hour):
            yield self._alert(kind, hour, level, title, words)

    def _alert(self, kind: str, event_id: str, level: str, title: str, words: str) -> Alert:
        title = f"minibot {self._run_id}: {title}"
        return Alert.of(self._run_id, kind, event_id, level, title, words)


def sharpe_of(equities: list[float]) -> float | None:
    """Return the Sharpe ratio of equities, one at each period's begin; None below ten periods."""
    if len(equities) <= PERIODS_MIN or min(equities) <= 0:
        return None
    return sharpe([after / before - 1 for before, after in pairwise(equities)], PERIODS_A_YEAR)


def hour_of(ms: int) -> str:
    """Return the clock hour (UTC) of a moment, for the id of a condition's alert."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y%m%dT%H}"


def _returns(marks: deque[int]) -> list[int]:
    return [(after - before) * _PRICE_UNIT // before for before, after in pairwise(marks)]


def positions_of(status: Mapping[str, Any]) -> list[str]:
    """Return the open positions of a status, one line each, with what rests for them."""
    lines = []
    for position in facts_of(status, EXECUTION_ROLE).get("open_positions", []):
        rests = [
            f"{name} {price(position[key])}"
            for name, key in (("stop", "resting_stop"), ("target", "resting_target"))
            if position.get(key)
        ]
        at = price(position.get("entry_price_avg"))
        words = f"{position['symbol']} {position['qty']} at {at}"
        lines.append(", ".join([words, *rests]))
    return lines
