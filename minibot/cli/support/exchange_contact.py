"""`minibot doctor --exchange`: the first contact with the host of a profile, for a person to read.

Read-only: public market data over the same requests and streams that a night uses, no key, no
order. The answers are compared with the facts in the venue's package.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from minibot.cli.support.output import progress_bar, say, show_json, show_rows
from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import BANNED, RATE_LIMITED, RestError, StreamLost
from minibot.exchanges.contact_report import Report, lines_of, quantile
from minibot.exchanges.venues import first_contact
from minibot.kernel.errors import ConfigError, Refusal
from minibot.market.venue_access import (
    address_of,
    heeding_rest,
    new_stream,
    remember_silence,
    venue_of,
)
from minibot.report.summary import Row
from minibot.runtime.clock import machine_ns
from minibot.runtime.configuration.config import Config

MINUTES_MAX: Final = 24 * 60
SYMBOLS_MAX: Final = 5
PASS, DIFFERS = 0, 1


def meet_exchange(arguments: argparse.Namespace, config: Config, minutes: str) -> int:
    """Contact the host; 0 when nothing differs, 1 when something does.

    Raises:
        ConfigError: The profile has no host, nothing is recorded of its venue, or `minutes` is no
            time to listen.
        Refusal: The host cannot be reached, or wants silence.
    """
    exchange = config.exchange
    if config.embedded is not None:
        raise ConfigError(
            f"{config.profile}: a profile on the embedded exchange has no host to contact.",
            (),
            "Take config/nore.v1.json, or set embedded=null, binance.rest_url and stream_url.",
        )
    seconds = 60 * _minutes(minutes)
    meet = first_contact(venue_of(config))
    if meet is None:
        raise ConfigError(
            f"{config.profile}: nothing is recorded of {config.venue} to compare it with.",
            (),
            "minibot doctor without --exchange looks whether it answers.",
        )
    rest = heeding_rest(config, config.var.root)
    contact = meet(
        rest,
        partial(new_stream, config),
        exchange.symbols[:SYMBOLS_MAX],
        wall_ms=lambda: time.time_ns() // NS_PER_MS,
        machine_ms=lambda: machine_ns() // NS_PER_MS,
        skew_max_ms=exchange.clock_skew_max_ms,
    )
    if not arguments.json:
        say(f"reading from {exchange.rest_url} for {seconds:.0f} s, read-only")
    try:
        with progress_bar("first contact") as bar:
            report = contact.run(seconds, lambda part: bar(round(part * 100), 100))
    except (RestError, StreamLost) as error:
        host = exchange.stream_url
        if isinstance(error, RestError):  # It may come of an answer whose status was looked at.
            host = exchange.rest_url
            remember_silence(error, address_of(config, config.var.root))
            if error.kind in (BANNED, RATE_LIMITED):
                left_ms = max(error.retry_after_ms, error.until_ms - time.time_ns() // NS_PER_MS)
                raise Refusal(
                    f"{host} wants no requests for {-(-left_ms // 1000)} s: {error}.",
                    "Run it again after that.",
                ) from error
        raise Refusal(
            f"{host} cannot be reached: {error}.",
            "Check the network, a proxy, and whether the host is blocked where you are.",
        ) from error
    finally:
        rest.close()
    if arguments.json:
        show_json(document_of(report, config))
    else:
        show_rows(rows_of(report, config))
    return PASS if report.passed else DIFFERS


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= MINUTES_MAX:
        raise ConfigError(
            f"--minutes {text[:40]}: no time to listen.", (), f"Above 0, at most {MINUTES_MAX}."
        )
    return minutes


def document_of(report: Report, config: Config) -> dict[str, Any]:
    """Return the whole report as one JSON document."""
    trips, delays = report.round_trips_us, report.delays_ms
    return {
        "verdict": "PASS" if report.passed else "DIFFERS",
        "rest_url": config.exchange.rest_url,
        "stream_url": config.exchange.stream_url,
        "symbols": list(report.symbols),
        "differences": [difference.to_json() for difference in report.differences],
        "clock": {
            "offset_ms": report.offset_ms,
            "samples": len(report.offsets_ms),
            "skew_max_ms": config.exchange.clock_skew_max_ms,
        },
        "round_trip_us": {"p50": quantile(trips, 50), "p99": quantile(trips, 99)},
        "stream_delay_ms": {"p50": quantile(delays, 50), "p99": quantile(delays, 99)},
        "limits": report.limits,
        "filters": report.filters,
        "endpoints": report.endpoints,
        "streams": report.streams,
        "books": report.books,
    }


def rows_of(report: Report, config: Config) -> list[Row]:
    """Return the report as rows for a person, the verdict last."""
    trips, delays = report.round_trips_us, report.delays_ms
    rows = [
        Row(f"doctor --exchange, profile {config.profile}"),
        Row("hosts", f"{config.exchange.rest_url}, {config.exchange.stream_url}"),
        Row("clock", f"{report.offset_ms} ms ahead of ours, {len(report.offsets_ms)} samples"),
        Row("round trip", f"{_ms(trips, 50)} ms p50, {_ms(trips, 99)} ms p99"),
        Row("delay", f"{_whole(delays, 50)} ms p50, {_whole(delays, 99)} ms p99 of events"),
        Row("limits", "; ".join(_limit(row) for row in report.limits) or "none given"),
        *(Row("filters", f"{name}: {', '.join(of)}") for name, of in report.filters.items()),
        Row("endpoints", f"{len(report.endpoints)} answers compared"),
    ]
    for name, figures in report.streams.items():
        rows.append(Row("stream", f"{name}: {figures['messages']} messages"))
    for name, book in report.books.items():
        text = f"{name}: {book['top_checks']} tops compared with quotes"
        rows.append(Row("book", f"{text}, {book['top_mismatches']} different"))
    rows.append(Row(""))
    rows += [
        Row("differs", line, "bad" if difference.difference.hinders else "")
        for difference, line in zip(report.differences, lines_of(report), strict=True)
    ]
    rows.append(Row("", _verdict(report), "good" if report.passed else "bad"))
    return rows


def _verdict(report: Report) -> str:
    if report.passed:
        return "PASS: the host answers as recorded"
    hindering = sum(seen.difference.hinders for seen in report.differences)
    total = len(report.differences)
    return f"DIFFERS: {total} differences, {hindering} of them not harmless"


def _whole(values: Sequence[int], percent: int) -> str:
    value = quantile(values, percent)
    return "?" if value is None else str(value)


def _ms(values: Sequence[int], percent: int) -> str:
    value = quantile(values, percent)
    return "?" if value is None else f"{value / 1000:.1f}"


def _limit(row: dict[str, Any]) -> str:
    parts = [row.get(key) for key in ("rateLimitType", "limit", "intervalNum", "interval")]
    return "{} {} per {} {}".format(*parts)
