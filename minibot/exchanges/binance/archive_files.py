"""Files of Binance's public archive: the names that cover a span.

A file is a zip of one CSV, for a day or a month. Layout:
`data/spot/{daily|monthly}/klines/SYMBOL/INTERVAL/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Final

from minibot.events.unit_sizes import DAY_MS
from minibot.exchanges.tapes.kline_bars import next_open, open_of
from minibot.exchanges.venue_facts import SYMBOL, ArchiveFile

# The month in file names: many disks ignore case, which would confuse `1M` with `1m`.
MONTH_NAME: Final = "1mo"
MONTHLY_ONLY: Final = frozenset({"3d", "1w", "1M"})


def archive_file(symbol: str, interval: str, open_ts: int, *, is_monthly: bool) -> ArchiveFile:
    """Return the kline file of the day or month that contains a time.

    Raises:
        ValueError: Not a symbol.
    """
    if not SYMBOL.fullmatch(symbol):
        raise ValueError(f"{symbol[:40]!r} is not a symbol")
    period = "1M" if is_monthly else "1d"
    first_ts = open_of(period, open_ts)
    moment = datetime.fromtimestamp(first_ts // 1000, UTC)
    name = MONTH_NAME if interval == "1M" else interval
    day = moment.strftime("%Y-%m" if is_monthly else "%Y-%m-%d")
    folder = f"data/spot/{'monthly' if is_monthly else 'daily'}/klines/{symbol}/{name}"
    return ArchiveFile(f"{folder}/{symbol}-{name}-{day}.zip", first_ts, next_open(period, first_ts))


def archive_files(
    symbol: str, interval: str, spans: Collection[tuple[int, int]], now_ts: int
) -> Iterator[ArchiveFile]:
    """Yield the files that cover the spans, each once: whole months that are over, else days.

    Intervals of MONTHLY_ONLY have months alone: each that is over, also where a span needs a part.

    Args:
        symbol: Such as BTCUSDT.
        interval: A name of `INTERVALS`.
        spans: Start and end (excluded), Unix ms, in order, not overlapping.
        now_ts: Days that are not over yet have no file.
    """
    today = open_of("1d", now_ts)
    at = 0
    for from_ts, to_ts in spans:
        # The file of the span before may cover the beginning of this one.
        at = max(at, open_of("1M" if interval in MONTHLY_ONLY else "1d", from_ts))
        while at < min(to_ts, today):
            month = archive_file(symbol, interval, at, is_monthly=True)
            is_whole = at == month.first_ts and month.end_ts <= min(to_ts, today)
            if interval in MONTHLY_ONLY or is_whole:
                if month.end_ts <= today:
                    yield month
                at = month.end_ts
            else:
                yield archive_file(symbol, interval, at, is_monthly=False)
                at += DAY_MS


def days_of(file: ArchiveFile, symbol: str, interval: str) -> Iterator[ArchiveFile]:
    """Yield the files of a month's days."""
    for at in range(file.first_ts, file.end_ts, DAY_MS):
        yield archive_file(symbol, interval, at, is_monthly=False)
