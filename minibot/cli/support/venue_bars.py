"""Newest closed bars of a venue by REST, without a run, as `minibot scan --venue` compares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from minibot.exchanges.base import LOOK, REFUSED, Candle, Rest, RestError
from minibot.kernel.errors import ConfigError, Refusal
from minibot.market.history import SETTLE_MS, closed_candles, history_bar
from minibot.market.venue_access import embedded_faults, heeding_rest

if TYPE_CHECKING:
    from minibot.events.model import Bar
    from minibot.runtime.configuration.config import Config


def venue_bars(
    config: Config, root: Path, symbols: Sequence[str], wanted: Sequence[tuple[str, int]]
) -> Iterator[Bar]:
    """Yield closed bars of each symbol, oldest first, interval by interval.

    The venue's time is read once: bars that close during the requests are left out for all.

    Args:
        config: The profile, whose venue and host are asked.
        root: The folder `var`, which remembers a silence that the venue asked for.
        symbols: As the venue writes them.
        wanted: Interval and number of bars; at most 999 of each, as the venue's answer holds 1,000
            and its newest is still open.

    Raises:
        ConfigError: The profile's venue is the embedded exchange.
        Refusal: The venue cannot be reached, or does not know a symbol.
    """
    if faults := embedded_faults(config):
        raise ConfigError("--venue: there is no venue to ask.", faults)
    rest = heeding_rest(config, root)
    try:
        settled_ts = _server_time(rest, config) - SETTLE_MS
        for symbol in symbols:
            for interval, count in wanted:
                candles = _candles(rest, config, symbol, interval, settled_ts, count)
                for candle in closed_candles(candles, interval, settled_ts=settled_ts, count=count):
                    yield history_bar(symbol, interval, candle)
    finally:
        rest.close()


def _server_time(rest: Rest, config: Config) -> int:
    try:
        return rest.server_time()
    except RestError as error:
        raise _unreachable(config, error) from error


def _candles(
    rest: Rest, config: Config, symbol: str, interval: str, end_ts: int, count: int
) -> list[Candle]:
    try:
        return rest.candles(symbol, interval, start=None, end=end_ts, limit=count + 1)
    except RestError as error:
        if error.kind != REFUSED:
            raise _unreachable(config, error) from error
        raise Refusal(
            f"{config.venue} refuses {symbol}: {error.detail}.",
            "Correct --pairs or the profile's symbols.",
        ) from error


def _unreachable(config: Config, error: RestError) -> Refusal:
    return Refusal(
        f"{config.exchange.rest_url} has no usable answer: {error}.", f"{LOOK.capitalize()}."
    )
