"""Source named by `embedded.source`: parsing of the word, and opening."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from pathlib import Path
from typing import Final

from minibot.exchanges.tapes.frames import Source, SourceFacts
from minibot.exchanges.tapes.kline_bars import Bar
from minibot.exchanges.tapes.shipped_bars import SHIPPED_BARS
from minibot.exchanges.tapes.tape import DEMO_TAPE, Tape
from minibot.kernel.errors import ConfigError, Refusal
from minibot.simulator.sources.generator import Generator
from minibot.simulator.sources.kline_files import open_klines
from minibot.simulator.sources.klines import Klines
from minibot.simulator.sources.random_market import BASE_PRICES
from minibot.simulator.sources.recorded_run import RecordedRun

DEFAULT_SYMBOL: Final = "BTCUSDT"
# Four months of minutes: 100 MB at most.
HISTORY_BARS_MAX: Final = 180_000
# About as many as the venue lists in USDT.
SYMBOLS_MAX: Final = 500
PROJECT: Final = Path(__file__).resolve().parents[3]


def find(text: str) -> Path:
    """Return the path of a file or folder, relative to the working folder or to the project.

    A name of shipped bars (`btcusdt-1m`) is their file, unless a file or folder has that name.
    """
    path = Path(text)
    for candidate in (path, PROJECT / path):
        if candidate.exists():
            return candidate
    return SHIPPED_BARS.get(text, path)


def open_source(word: str, rate_per_s: int) -> Source:
    """Return the source.

    Args:
        word: `tape:FILE`, `tape:demo`, `klines:FILE`, `klines:btcusdt-1m`, `run:DIR`,
            `generator:SEED`, `generator:SEED:SYMBOL,SYMBOL` or `generator:SEED:COUNT`.
        rate_per_s: Messages per second of market time, for sources that make their own.

    Raises:
        ConfigError: The word has none of these forms.
        Refusal: The source cannot be played.
    """
    kind, _, rest = word.partition(":")
    if kind == "tape" and rest == "demo":
        return Tape(DEMO_TAPE, word)
    if kind == "tape" and rest:
        return Tape(find(rest), word)
    if kind == "klines" and rest:
        return Klines(open_klines(find(rest)), rate_per_s, word)
    if kind == "run" and rest:
        return RecordedRun(find(rest), word)
    if kind == "generator" and rest:
        return _generator(word, rest, rate_per_s)
    raise ConfigError(
        f"embedded.source: {word!r} is not a source.",
        ["tape:FILE, tape:demo, klines:FILE, run:DIR or generator:SEED is allowed"],
    )


def _generator(word: str, rest: str, rate_per_s: int) -> Source:
    """Return a synthetic market of `SEED`, `SEED:SYMBOL,SYMBOL` or `SEED:COUNT`."""
    seed, _, names = rest.partition(":")
    if not _is_whole(seed):
        raise ConfigError(
            f"embedded.source: {word!r} has no seed.", ["generator:SEED with a whole number"]
        )
    if _is_whole(names):
        symbols = made_symbols(word, int(names))
    else:
        symbols = tuple(dict.fromkeys(names.split(","))) if names else (DEFAULT_SYMBOL,)
    return Generator(int(seed), symbols, rate_per_s)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def made_symbols(word: str, count: int) -> tuple[str, ...]:
    """Return `count` symbols: those with a price of their own first, then invented ones.

    Raises:
        ConfigError: None, or more than the maximum.
    """
    if not 1 <= count <= SYMBOLS_MAX:
        raise ConfigError(
            f"embedded.source: {word!r} has {count} symbols.", [f"1 to {SYMBOLS_MAX} are made"]
        )
    invented = (f"C{number:03d}USDT" for number in range(count))
    return tuple(islice(chain(BASE_PRICES, invented), count))


def open_history(word: str, facts: SourceFacts) -> dict[str, tuple[str, list[Bar]]]:
    """Return closed bars from before the origin: symbol to (interval, bars oldest first).

    Bars that end after the origin would reveal the future and are left out.

    Args:
        word: `klines:FILE`, or several files, of one symbol each, with commas between them.
        facts: Facts of the source that plays afterwards.

    Raises:
        ConfigError: The word has another form.
        Refusal: A file cannot be used, its symbol is not played, or two files are of one symbol.
    """
    kind, _, rest = word.partition(":")
    if kind != "klines" or not rest:
        raise ConfigError(
            f"embedded.history: {word!r} is not a history.", ["null or klines:FILE is allowed"]
        )
    history: dict[str, tuple[str, list[Bar]]] = {}
    origin_ms = facts.origin_ms + facts.skew_ms
    for name in rest.split(","):
        file = open_klines(find(name))
        if file.symbol not in facts.symbols:
            played = ", ".join(facts.symbols)
            raise Refusal(f"{file.path}: history of {file.symbol}, but {played} is played.", "")
        if file.symbol in history:
            raise Refusal(
                f"{file.path}: a second history of {file.symbol}.", "Join both files into one."
            )
        bars = deque((bar for bar in file.bars() if bar.end_ms <= origin_ms), HISTORY_BARS_MAX)
        if not bars:
            facts.notes.append(f"{file.path.name}: no bar before the origin")
        history[file.symbol] = (file.interval, list(bars))
    return history
