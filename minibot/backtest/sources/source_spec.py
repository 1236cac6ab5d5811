"""Source words of `--source` and their markets: those of `embedded.source`, and columns.

A run is used as it was recorded, not as the simulator would play it; klines are bars, not made-up
trades. A generator without an end runs for the profile's `duration_ms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.recorded_run import RunSource
from minibot.backtest.sources.source_words import COLUMNS, LOGGED, RATE_PER_S, RUN
from minibot.backtest.sources.span import ALL, Part, Span
from minibot.data.columns import Columns
from minibot.data.kline import Kline
from minibot.data.klines import KLINES, KlineSet, klines_of, open_klines, report_of
from minibot.data.market_source import column_files
from minibot.data.treatment import Treatment
from minibot.engine.bar_series import BarSeries
from minibot.engine.intrabar import Candle
from minibot.engine.market_source import MarketSource
from minibot.engine.recorded_run import Recorded
from minibot.exchanges.tapes.kline_bars import INTERVALS, next_open
from minibot.kernel.errors import ConfigError, Refusal
from minibot.replay.run_status import called, open_run, require_ended
from minibot.runtime.configuration.config import Config
from minibot.simulator.sources.sources import find, open_history, open_source

ALLOWED: Final = "tape:FILE, tape:demo, klines:FILE, columns:DIR, run:DIR or generator:SEED"


def open_market(
    words: Sequence[str],
    config: Config,
    span: Span = ALL,
    treatment: Treatment | None = None,
    order: str = LOGGED,
) -> MarketSource:
    """Return the market named by one or more words; several make one portfolio.

    Args:
        words: The source words as given.
        config: The resolved profile.
        span: The part of the market that is traded.
        treatment: How defects in `klines:` files are treated; they are refused by default.
        order: Event order of a recorded run: `rule`, or `logged`, used only under its own profile.

    Raises:
        ConfigError: A word is unknown, two words cannot be combined, or a symbol does not end with
            the profile's quote asset (not checked for a recorded run).
        Refusal: A source cannot be used (a run is still going or lacks files), or has nothing in
            the span.
    """
    runs = [word for word in words if word.startswith(f"{RUN}:")]
    if len(words) == 1 and runs:
        return _part(_run(words[0], order), span, config)
    if runs:
        raise ConfigError(
            "--source: a run is a whole night with its own opening and ending.",
            ["allowed: run:DIR alone, or several tapes, klines and synthetic markets"],
        )
    sources = [one for word in words for one in _opened(word, config, span, treatment)]
    _judge_quote(sources, config.portfolio.quote_asset)
    if len(sources) == 1:
        return sources[0]
    return Merged(sources)


def run_of(words: Sequence[str]) -> Recorded | None:
    """Return the recorded run if it is the only source, else None."""
    kind, _, rest = words[0].partition(":")
    return Recorded.open(_run_dir(rest)) if len(words) == 1 and kind == RUN and rest else None


def _judge_quote(sources: Sequence[MarketSource], quote_asset: str) -> None:
    strangers = [name for one in sources for name in one.symbols if not name.endswith(quote_asset)]
    if strangers:
        raise ConfigError(
            f"--source: {', '.join(strangers)} cannot be paid in {quote_asset}.",
            [f"portfolio.quote_asset: {quote_asset}; allowed: what the symbols end with"],
            "Set portfolio.quote_asset, and portfolio.cash in it.",
        )


def _opened(
    word: str, config: Config, span: Span, treatment: Treatment | None
) -> list[MarketSource]:
    """Return the sources of a word: one, or one for each file of columns in a folder."""
    kind, _, rest = word.partition(":")
    if kind != COLUMNS or not rest:
        return [_open(word, config, span, treatment)]
    # Here and below: a kind of source is loaded only if a word names it.
    from minibot.backtest.sources.bars import BarSource
    from minibot.backtest.sources.ticks import TickSource

    return [
        BarSource(_stored(word, columns), config, span)
        if columns.kind == KLINES
        else _part(TickSource(columns, config, word), span, config)
        for columns in column_files(find(rest))
    ]


def _open(word: str, config: Config, span: Span, treatment: Treatment | None) -> MarketSource:
    kind, _, rest = word.partition(":")
    if kind == KLINES and rest:
        from minibot.backtest.sources.bars import BarSource

        path = find(rest)
        series = _plain(word, path) or _series(
            word, open_klines(path, treatment), treatment or Treatment()
        )
        return BarSource(series, config, span)
    try:
        frames = open_source(word, _rate(config))
    except ConfigError as error:
        raise ConfigError(
            f"--source: {word!r} is not a source.", [f"allowed: {ALLOWED}"]
        ) from error
    from minibot.backtest.sources.frame_source import FrameSource

    named = None if config.embedded is None else config.embedded.history
    history = None if named is None else open_history(named, frames.facts)
    source = FrameSource(frames, config, history)
    if source.end_ms is None and span.to_ms is None:
        start = max(source.origin_ms, span.from_ms or 0)
        span = span._replace(to_ms=start + config.duration_ms)
    return _part(source, span, config)


def _part(source: MarketSource, span: Span, config: Config) -> MarketSource:
    return source if span == ALL else Part(source, span, config.market.warmup_bars)


def _rate(config: Config) -> int:
    return RATE_PER_S if config.embedded is None else config.embedded.rate_per_s


def _run(word: str, order: str) -> RunSource:
    run_dir = _run_dir(word.partition(":")[2])
    recorded, condition = open_run(run_dir)
    require_ended(run_dir, condition)
    if condition.lost:
        names = ", ".join(f"{lost.queue}/{lost.name}" for lost in condition.lost)
        remedy = f"What is left can be looked at: minibot verify {called(run_dir)}"
        raise Refusal(f"{run_dir.name} lacks {names}.", remedy)
    return RunSource(recorded, word, order, condition.notices)


def _run_dir(text: str) -> Path:
    path = find(text)
    if not (path / "manifest.json").is_file():
        raise Refusal(f"{path}: no run's folder: no manifest.json in it.", "See: minibot runs")
    return path


def _stored(word: str, columns: Columns) -> BarSeries:
    """Return klines in columns, which are read again at each pass and never held in memory."""
    header, interval = columns.header, columns.interval
    return BarSeries(
        *(word, columns.symbol, interval, int(header["first_ts"]), int(header["end_ts"])),
        *(str(header["price_increment"]), str(header["qty_increment"])),
        candles=lambda: (_candle(kline, interval) for kline in klines_of(columns)),
        columns=lambda: _arrays(columns, interval),
        settled=report_of(columns).settled(Treatment()),
    )


def _arrays(columns: Columns, interval: str) -> dict[str, Any] | None:
    # Loaded where rows are walked: arrays are a good part of a start.
    from minibot.engine.bar_table import stored

    return stored(columns, interval)


def _candle(kline: Kline, interval: str) -> Candle:
    return Candle(
        *(kline.open_ts, next_open(interval, kline.open_ts)),
        *(kline.open, kline.high, kline.low, kline.close, kline.volume),
    )


def _plain(word: str, path: Path) -> BarSeries | None:
    """Return a clean file as columns; None for a file that has to be read row by row."""
    # Loaded where rows are walked: arrays are a good part of a start.
    from minibot.data.plain_klines import plain_klines

    found = plain_klines(path)
    if found is None:
        return None
    opened, interval = found.columns["open_ts"], found.interval
    columns = found.columns | {"end_ts": opened + INTERVALS[interval]}
    return BarSeries(
        *(word, found.symbol, interval, int(opened[0]), int(columns["end_ts"][-1])),
        *(found.price_increment, found.qty_increment),
        candles=lambda: map(Candle, *(columns[name].tolist() for name in Candle._fields)),
        columns=lambda: columns,
    )


def _series(word: str, found: KlineSet, treatment: Treatment) -> BarSeries:
    klines = found.klines
    return BarSeries(
        name=word,
        symbol=found.symbol,
        interval=found.interval,
        first_ts=klines[0].open_ts,
        end_ts=next_open(found.interval, klines[-1].open_ts),
        settled=found.report.settled(treatment),
        price_increment=found.report.price_increment,
        qty_increment=found.report.qty_increment,
        candles=lambda: (_candle(kline, found.interval) for kline in klines),
    )
