"""Metrics of a run for Prometheus: names, kinds and help in one table, values of one moment.

Names begin with `minibot_`; none has a label per symbol. Values come from the status, from
`var/metrics/metrics.json` and from each role's last `health` event; unknown values are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from minibot.events.model import JsonObject
from minibot.events.names import EXECUTION_ROLE, MARKET_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.ops.data_age import data_age_ms
from minibot.ops.figures_of_role import facts_of
from minibot.runtime.running import STALE_MS
from minibot.runtime.stop import STOP_KIND

US_PER_S: Final = 1_000_000
MS_PER_S: Final = 1_000


class Known(NamedTuple):
    """Knowledge of a run at one moment.

    Attributes:
        status: The newest status.
        age_ms: Its age in wall-clock milliseconds.
        metrics: Content of the run's `var/metrics/metrics.json`; empty before its first.
        health: The last `health` event of each role, with `role`, and `ts`, its market time.
        provider: The venue's name.
        streamed: Server-sent events written so far.
        silence_ms: Silence from which the market role counts as silent, market ms.
    """

    status: JsonObject
    age_ms: int
    metrics: JsonObject
    health: list[JsonObject]
    provider: str
    streamed: int
    silence_ms: int


class Metric(NamedTuple):
    """One metric: its name behind `minibot_`, labels, help; a counter ends in `_total`."""

    name: str
    labels: tuple[str, ...]
    help: str


METRICS: Final = (
    Metric("up", (), "1 while the run goes on and its launcher writes its status."),
    Metric("stopped", ("reason_code",), "1 once the run was ended by a STOP."),
    Metric("status_age_seconds", (), "Age of the launcher's last status until the run's end."),
    Metric("role_up", ("role",), "1 while the role's process runs."),
    Metric("role_restarts_total", ("role",), "Restarts of the role in this run."),
    Metric("backlog_events", ("role",), "Inputs that wait for the role."),
    Metric("process_resident_bytes", ("role",), "Resident memory at the last health event."),
    Metric("process_cpu_seconds_total", ("role",), "CPU time at the last health event."),
    Metric("messages_total", (), "Market messages that became events."),
    Metric("message_lag_seconds", (), "Market time by which the feed is late now."),
    Metric("data_stale_seconds", (), "Market time since the last message of the oldest symbol."),
    Metric("decision_age_seconds", (), "Market time since the last decision."),
    Metric("reconnects_total", (), "Connections to the venue that were built again."),
    Metric("throttled_total", (), "Answers 429 and 418 of the venue."),
    Metric("rate_limit_remaining", ("provider", "endpoint"), "API weight left in this minute."),
    Metric("exchange_latency_seconds", ("quantile",), "Round trip to the venue over the run."),
    Metric("exchange_errors_total", (), "Measurements of the round trip that failed."),
    Metric("latency_seconds", ("component", "quantile"), "Tick read to first order result."),
    Metric("events_total", ("queue",), "Lines of the queue."),
    Metric("sse_throughput_total", ("stream",), "Server-sent events written by the page."),
    Metric("equity", (), "Equity in the quote asset."),
    Metric("drawdown_bps", (), "Fall from the night's highest equity, basis points."),
    Metric("account_drawdown_bps", (), "Fall from the account's highest equity, basis points."),
    Metric("pnl", (), "Result so far in the quote asset."),
    Metric("fees_total", (), "Fees paid in the quote asset."),
    Metric("trades_total", ("outcome",), "Closed trades: won or lost."),
    Metric("open_positions", (), "Symbols held."),
    Metric("open_orders", (), "Orders not yet at their end."),
    Metric("entries_halted", (), "1 while an operator allows no entries."),
)
"""Every metric, in the order in which `docs/MONITORING.md` and `/metrics` list them."""

Sample = tuple[tuple[str, ...], float]


def samples_of(known: Known) -> Iterator[tuple[str, list[Sample]]]:
    """Yield name and samples of each metric that is known."""
    for name, samples in _samples(known).items():
        found = [(labels, float(value)) for labels, value in samples if value is not None]
        if found:
            yield name, found


def _samples(known: Known) -> dict[str, Iterable[tuple[tuple[str, ...], Any]]]:
    status, metrics = known.status, known.metrics
    ended, roles = status["ended"], status["roles"]
    health = {str(each["role"]): each for each in known.health}
    market_health = health.get(MARKET_ROLE, {})
    market, risk = facts_of(status, MARKET_ROLE), facts_of(status, RISK_ROLE)
    execution = facts_of(status, EXECUTION_ROLE)
    result = status["market"].get("result") or {}
    symbols = status["market"].get("symbols", {})
    latency = metrics.get("latency_us", {})
    stopped = ended is not None and ended["kind"] == STOP_KIND
    return {
        "up": [((), ended is None and known.age_ms <= STALE_MS)],
        "stopped": [((str(ended["reason_code"]),), 1)] if stopped else [],
        # The last status of a run that has ended stays: its age says nothing of the launcher.
        "status_age_seconds": [((), known.age_ms / MS_PER_S)] if ended is None else [],
        "role_up": [((role,), entry["running"]) for role, entry in roles.items()],
        "role_restarts_total": [((role,), entry["restarts"]) for role, entry in roles.items()],
        "backlog_events": [
            ((role,), entry["heartbeat"].get("waiting")) for role, entry in roles.items()
        ],
        "process_resident_bytes": [
            ((role,), each.get("rss_bytes")) for role, each in health.items()
        ],
        "process_cpu_seconds_total": [
            ((role,), _scaled(each.get("cpu_ms"), MS_PER_S)) for role, each in health.items()
        ],
        "messages_total": [((), market.get("ticks"))],
        "message_lag_seconds": [((), _scaled(market.get("lag_market_ms"), MS_PER_S))],
        "data_stale_seconds": [((), _scaled(_data_age_ms(known, market_health), MS_PER_S))],
        "decision_age_seconds": [((), _scaled(_decision_age_ms(status), MS_PER_S))],
        "reconnects_total": [((), market_health.get("reconnects"))],
        "throttled_total": [((), market_health.get("counters", {}).get("throttled"))],
        "rate_limit_remaining": [((known.provider, "rest"), _weight_left(market_health))],
        "exchange_latency_seconds": [
            ((quantile,), _scaled(latency.get(name), US_PER_S))
            for quantile, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
        ],
        "exchange_errors_total": [((), latency.get("errors"))],
        "latency_seconds": [
            (("tick_to_result", quantile), _scaled(execution.get(name), US_PER_S))
            for quantile, name in (
                ("0.5", "tick_to_result_us_p50"),
                ("0.95", "tick_to_result_us_p95"),
                ("0.99", "tick_to_result_us_p99"),
            )
        ],
        "events_total": [((queue,), lines) for queue, lines in metrics.get("lines", {}).items()],
        "sse_throughput_total": [(("live",), known.streamed)],
        "equity": [((), risk.get("equity"))],
        "drawdown_bps": [((), risk.get("drawdown_bps"))],
        "account_drawdown_bps": [((), risk.get("account_drawdown_bps"))],
        "pnl": [((), result.get("pnl"))],
        "fees_total": [((), result.get("fees"))],
        "trades_total": [(("won",), result.get("wins")), (("lost",), result.get("losses"))],
        "open_positions": [((), sum(each["entry"] is not None for each in symbols.values()))],
        "open_orders": [((), execution.get("open_orders"))],
        "entries_halted": [((), risk.get("is_halted"))],
    }


def _data_age_ms(known: Known, health: Mapping[str, Any]) -> int | None:
    if health.get("data_age_ms") is None:
        return None
    now_ms = int(known.status["now_ms"])
    reported = (health["data_age_ms"], health["state"], health["ts"])
    return data_age_ms(*reported, now_ms, known.silence_ms)


def _decision_age_ms(status: JsonObject) -> int | None:
    decisions = facts_of(status, STRATEGY_ROLE).get("decisions", {}).values()
    last_ts = max((int(each["ts"]) for each in decisions), default=None)
    return None if last_ts is None else max(0, int(status["now_ms"]) - last_ts)


def _weight_left(health: Mapping[str, Any]) -> int | None:
    allowed, used = health.get("counters", {}).get("weight_allowed"), health.get("weight_used")
    return None if allowed is None or used is None else max(0, allowed - used)


def _scaled(value: Any, whole: int) -> float | None:
    return None if value is None else float(value) / whole


class _Collector(Collector):
    """Collector of one moment, for one answer."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        table = {metric.name: metric for metric in METRICS}
        for name, samples in samples_of(self._known):
            metric = table[name]
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(f"minibot_{name}", metric.help, labels=metric.labels)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


def metrics_text(known: Known) -> bytes:
    """Return the metrics of a moment as Prometheus reads them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(known))
    return generate_latest(registry)
