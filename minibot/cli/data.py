"""minibot data: check files of historical data, and convert them to minibot's columns."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from minibot.cli.support.output import progress_bar, show, show_json, show_lines
from minibot.cli.support.profile import profile_of
from minibot.cli.support.selection import add_profile, find_run, var_of
from minibot.cli.support.treatment import add_treatment, treatment_of
from minibot.data.convert import Converted, Origin, check, columns_path, convert, write_ticks
from minibot.data.store import data_files
from minibot.data.ticks import TICKS, table_of_ticks
from minibot.data.treatment import DataReport
from minibot.engine.recorded_run import Recorded
from minibot.events.model import MarketTick
from minibot.events.names import TICKS as TICKS_QUEUE
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.exchanges.tapes.tape import DEMO_TAPE
from minibot.exchanges.venue_facts import SYMBOL
from minibot.kernel.errors import ConfigError, Refusal
from minibot.kernel.files import hash_file, read_hashed
from minibot.market.venue_access import venue_of
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import PROJECT, find, resolve, shown_path
from minibot.simulator.sources.sources import find as find_source
from minibot.simulator.sources.sources import open_source

HELP = "check files of historical data, or convert them to columns that a backtest walks fast"
EXAMPLE = "minibot data check BTCUSDT-1m-2025-01.zip; minibot data convert *.zip --out var/columns"

FINE, TROUBLE = 0, 1
OF_TICKS = ("run:", "tape:")


class Ticks(NamedTuple):
    """Market ticks with their times, for as many passes as wanted, and their origin."""

    origin: Origin
    symbols: tuple[str, ...]
    ticks: Callable[[], Iterator[tuple[MarketTick, int]]]
    skew_ms: int | None
    span: tuple[int, int] | None


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add action, inputs and their options."""
    command.add_argument(
        "action",
        choices=("check", "convert"),
        help="check: say what is in each file and what is wrong with it; "
        "convert: write one file of columns for each series",
    )
    command.add_argument(
        "inputs",
        nargs="+",
        metavar="IN",
        help="file of klines or trades, or a folder of them; for convert also run:RUN or "
        "tape:FILE (ticks)",
    )
    command.add_argument("--out", type=Path, help="folder for what convert writes")
    command.add_argument("--symbol", default="", help="whose data, where names do not say it")
    command.add_argument(
        "--interval", default="", help="length of a bar, where names do not say it"
    )
    add_profile(command, PROJECT.joinpath("config", "nore-demo.v1.json").relative_to(PROJECT))
    add_treatment(command)


def run(arguments: argparse.Namespace) -> int:
    """Check or convert; 1 when a checked file has defects that no option treats."""
    profile = profile_of(arguments)
    names = _names(arguments, profile)
    if arguments.action == "check":
        return _check(arguments, names)
    return _convert(arguments, profile, names)


def _names(arguments: argparse.Namespace, profile: Config) -> dict[str, str]:
    """Return symbol and interval as given for all files; empty where the files tell them.

    Raises:
        ConfigError: A symbol that is none, and might lead out of `--out`, or an unknown interval.
    """
    symbol, interval = venue_of(profile).symbols.read(arguments.symbol), arguments.interval
    wrong = []
    if symbol and SYMBOL.fullmatch(symbol) is None:
        wrong.append(f"--symbol: {symbol[:40]!r} is not a symbol; as BTC/USDT or BTCUSDT")
    if interval and interval not in INTERVALS:
        wrong.append(f"--interval: {interval[:40]!r}; known: {', '.join(INTERVALS)}")
    if wrong:
        raise ConfigError(f"data {arguments.action}: nothing was read.", wrong)
    return {"symbol": symbol, "interval": interval}


def _check(arguments: argparse.Namespace, names: dict[str, str]) -> int:
    treatment = treatment_of(arguments)
    reports: list[DataReport] = []
    refusals: list[str] = []
    for word in arguments.inputs:
        if word.startswith(OF_TICKS):
            remedy = "Check a tape by minibot tape check FILE, a run by minibot verify RUN."
            raise Refusal(f"{word}: no file of klines or trades.", remedy)
    with progress_bar("checking") as progress:
        paths = [path for word in arguments.inputs for path in data_files(find(word))]
        for number, path in enumerate(paths):
            progress(number, len(paths))
            try:
                reports.append(check(path, treatment, **names))
            except Refusal as refusal:
                if len(paths) == 1:
                    raise
                refusals.append(refusal.message)
    refused = [report for report in reports if report.refused(treatment)]
    lines = [line for report in reports for line in report.lines(shown_path(report.path))]
    lines += [f"{text}\n  cannot be read" for text in refusals]
    if refused or refusals:
        count = len(refused) + len(refusals)
        lines.append(f"{count} of {len(paths)} files are refused as they are")
    document = [report.to_json() for report in reports]
    show(arguments, {"files": document, "unreadable": refusals}, lines)
    return TROUBLE if refused or refusals else FINE


def _convert(arguments: argparse.Namespace, profile: Config, names: dict[str, str]) -> int:
    if arguments.out is None:
        raise ConfigError("data convert: --out is missing.", ["--out DIR, where the files go"])
    out, treatment = resolve(arguments.out, Path.cwd()), treatment_of(arguments)
    words = [word for word in arguments.inputs if word.startswith(OF_TICKS)]
    paths = [
        path for word in arguments.inputs if word not in words for path in data_files(find(word))
    ]
    written: list[Converted] = []
    with progress_bar("converting"):
        if paths:
            written += convert(paths, out, treatment, **names)
        for word in words:
            source = _ticks(word, arguments, profile)
            for symbol in source.symbols:
                if columns_path(out, symbol, TICKS) in (each.path for each in written):
                    raise Refusal(
                        f"{word}: the ticks of {symbol} come from two inputs.",
                        "Convert them into two folders.",
                    )
                table = table_of_ticks(Path(word), symbol, source.ticks())
                if not len(table):
                    continue
                made_of = [source.origin._replace(rows=len(table))]
                if source.span is not None:
                    # The market's own beginning and end, to which beats and history are relative.
                    table.report.first_ts, table.report.end_ts = source.span
                written.append(write_ticks(table, out, treatment, made_of, skew_ms=source.skew_ms))
            if not any(each.report.path == Path(word) for each in written):
                raise Refusal(f"{word}: no market ticks in it.", "Name another one.")
    if arguments.json:
        show_json([each.to_json() for each in written])
        return FINE
    for each in written:
        show_lines(each.report.lines(_shown(each.report.path)))
        show_lines([f"  written: {shown_path(each.path)}, sha256 {each.sha256}"])
    return FINE


def _shown(path: Path) -> str:
    """Return a path in its shortest form; a run's or tape's source word unchanged."""
    return shown_path(path) if path.exists() else str(path)


def _ticks(word: str, arguments: argparse.Namespace, profile: Config) -> Ticks:
    """Return the ticks of a recorded run or of a tape."""
    kind, _, rest = word.partition(":")
    if kind == "run":
        run_dir = find_run(rest, var_of(arguments))
        recorded = Recorded.open(run_dir)
        seal = run_dir / "seal.json"
        root = str(read_hashed(seal)["root"]) if seal.exists() else ""

        def ticks() -> Iterator[tuple[MarketTick, int]]:
            events = (event for _, event in recorded.events(TICKS_QUEUE))
            return ((e.payload, e.ts) for e in events if isinstance(e.payload, MarketTick))

        # A played source, a universe and carried positions have symbols that no profile lists.
        symbols = tuple(dict.fromkeys(tick.symbol for tick, _ in ticks()))
        return Ticks(Origin(run_dir.name, root, 0), symbols, ticks, None, None)
    # Imported here because files of klines need no exchange's frames.
    from minibot.backtest.sources.frame_source import FrameSource
    from minibot.backtest.sources.source_words import RATE_PER_S

    source = FrameSource(open_source(word, RATE_PER_S), profile)
    digest = hash_file(DEMO_TAPE if rest == "demo" else find_source(rest))[1]

    def roots() -> Iterator[tuple[MarketTick, int]]:
        return ((r.payload, r.ts) for r in source.roots() if isinstance(r.payload, MarketTick))

    span = None if source.end_ms is None else (source.origin_ms, source.end_ms)
    skew_ms = source.source.facts.skew_ms
    return Ticks(Origin(rest, digest, 0), source.symbols, roots, skew_ms, span)
