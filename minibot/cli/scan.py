"""minibot scan: rank the symbols of a run or a source, and say what speaks against each."""

from __future__ import annotations

import argparse
import csv
import io
from typing import TYPE_CHECKING, Final

from minibot.cli.backtest import DEFAULT_PROFILE, named, sources_text
from minibot.cli.support.output import progress_bar, say, show
from minibot.cli.support.profile import profile_of, recorded_profile
from minibot.cli.support.selection import add_profile, add_run, run_dir_of, var_of
from minibot.cli.support.treatment import add_treatment, treatment_of
from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError, Refusal
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock, plain_text
from minibot.runtime.paths import PROJECT, Var, shown_path
from minibot.runtime.runfiles import LATEST

if TYPE_CHECKING:
    from minibot.backtest.market_scan import MarketScan
    from minibot.engine.recorded_run import Recorded
    from minibot.strategies.scanner.settings import ScannerSettings

HELP = "rank symbols of a run, source or venue; each filter's value, the nearest reason against"
EXAMPLE = "minibot scan --source klines:btcusdt-1m --source klines:ethusdt-1m"
VENUE_PROFILE: Final = PROJECT.joinpath("config", "nore.v1.json").relative_to(PROJECT)
HEAD: Final = (
    *("rank", "symbol", "score", "momentum", "technical", "volume", "quality", "on-chain"),
    *("social", "model", ""),
)
SCAN_FILE: Final = "latest_scan.csv"
OPPORTUNITIES_FILE: Final = "latest_opportunities.csv"
PARTS: Final = ("momentum", "technical", "volume", "quality", "onchain", "social")
FIRST: Final = ("as_of_ms", "interval", "regime", "rank", "symbol", "score", "recommendation")
LAST: Final = ("is_opportunity", "lacks", "against")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    add_run(command)
    command.add_argument(
        "--source",
        action="append",
        help="instead of a run: klines:FILE, columns:DIR, tape:FILE or run:RUN, as in backtest; "
        "several are one market",
    )
    command.add_argument(
        "--venue",
        action="store_true",
        help="instead of a run: the newest closed klines of the profile's venue (default: "
        f"{VENUE_PROFILE.as_posix()}'s)",
    )
    command.add_argument(
        "--pairs",
        metavar="BTC/USDT,ETH/USDT",
        help="with --venue: these (default: the symbols of the profile)",
    )
    command.add_argument(
        "--interval",
        metavar="I",
        help="bars that are compared (default: the scanner's, else 15m, or the nearest)",
    )
    add_profile(command, DEFAULT_PROFILE)
    add_treatment(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the ranking and write it as csv; 0 also where no symbol has a score."""
    if arguments.venue and arguments.config is DEFAULT_PROFILE:
        arguments.config = VENUE_PROFILE
    found = _scanned(arguments)
    rows = rows_of(found)
    files = write_csv(var_of(arguments), rows)
    scan = found.scan.to_json()
    document = {**scan, "interval": found.interval, "rows": rows, "files": files}
    show(arguments, document, lines_of(document))
    return 0


def _settings(config: JsonObject) -> ScannerSettings:
    """Return the settings of a configuration's scanner, else minibot's defaults."""
    from minibot.cores.core_profile import CoreProfile
    from minibot.strategies.scanner.scans import settings_of
    from minibot.strategies.scanner.settings import ScannerSettings

    section = CoreProfile.of(config).scanner
    return ScannerSettings() if section is None else settings_of(section)


def _of_run(recorded: Recorded, arguments: argparse.Namespace) -> MarketScan:
    """Return the scan of a run by its own scanner, which `--set` changes, or by that of `-c`."""
    from minibot.backtest.market_scan import scan_run

    config = recorded.manifest.config
    if arguments.config is not DEFAULT_PROFILE:
        config = profile_of(arguments).raw
    elif arguments.set:
        config = recorded_profile(config, arguments).raw
    return scan_run(recorded, _settings(config), arguments.interval)


def _scanned(arguments: argparse.Namespace) -> MarketScan:
    # Imported here because `--help` needs none of it.
    from minibot.backtest.market_scan import scan_sources
    from minibot.backtest.sources.source_interval import fitted_sets
    from minibot.backtest.sources.source_spec import open_market, run_of
    from minibot.replay.run_status import open_run
    from minibot.runtime.configuration.config import config_with

    if arguments.venue:
        return _of_venue(arguments)
    if arguments.pairs is not None:
        raise Refusal("--pairs names symbols of the venue.", "Add --venue.")
    if arguments.source is None:
        recorded, status = open_run(run_dir_of(arguments))
        for notice in status.altered:
            say(f"note: {notice} is not what was sealed.")
        with progress_bar(f"scan {recorded.manifest.run_id}"):
            return _of_run(recorded, arguments)
    if arguments.run_name != LATEST:
        raise Refusal("a run and --source name two markets.", f"Leave out {arguments.run_name}.")
    words = [named(word, arguments) for word in arguments.source]
    with progress_bar(f"scan {sources_text(words)}"):
        kept = run_of(words)
        if kept is not None:
            return _of_run(kept, arguments)
        config = profile_of(arguments)
        config = config_with(config.raw, fitted_sets(words, config))
        market = open_market(words, config, treatment=treatment_of(arguments))
        return scan_sources(market, config, _settings(config.raw), arguments.interval)


def _of_venue(arguments: argparse.Namespace) -> MarketScan:
    """Return the scan of the newest closed klines of the profile's venue."""
    from minibot.backtest.market_scan import scan_bars
    from minibot.cli.support.venue_bars import venue_bars
    from minibot.events.intervals import INTERVAL_MS, REGIME_INTERVAL
    from minibot.market.venue_access import venue_of
    from minibot.strategies.scanner.factors import BARS_MIN
    from minibot.strategies.scanner.regime import REGIME_BARS_MIN

    if arguments.source is not None or arguments.run_name != LATEST:
        raise Refusal("--venue and a run or --source name two markets.", "Name one.")
    config = profile_of(arguments)
    settings = _settings(config.raw)
    interval = arguments.interval or settings.interval
    if interval not in INTERVAL_MS:
        raise ConfigError(
            f"--interval: {plain_text(interval, 20)} is not a length of bars.",
            [f"allowed: {', '.join(INTERVAL_MS)}"],
        )
    names = config.exchange.symbols if arguments.pairs is None else arguments.pairs.split(",")
    symbols = list(dict.fromkeys(map(venue_of(config).symbols.read, names)))
    wanted = {interval: BARS_MIN, REGIME_INTERVAL: REGIME_BARS_MIN + 1}
    with progress_bar(f"scan {config.venue}"):
        bars = venue_bars(config, var_of(arguments).root, symbols, list(wanted.items()))
        return scan_bars(symbols, bars, config, settings._replace(interval=interval))


def rows_of(found: MarketScan) -> list[JsonObject]:
    """Return each symbol as one JSON object, with a model's recommendation."""
    return [
        {**row.to_json(), "recommendation": found.recommended.get(row.symbol, "-")}
        | {"as_of_ms": found.scan.ts, "interval": found.interval, "regime": found.scan.regime.name}
        for row in found.scan.rows
    ]


def lines_of(document: JsonObject) -> list[str]:
    """Return heading, table and files in words."""
    regime = document["regime"]
    weights = " ".join(str(weight) for weight in regime["weights"])
    measures = "too few bars of 4h"
    if regime["volatility"] is not None:
        measures = (
            f"volatility {regime['volatility']} % a year, {regime['above']} % above their mean, "
            f"thrust {regime['thrust']} %"
        )
    rows = document["rows"]
    cells = [_cells(row) for row in rows]
    passing = sum(row["is_opportunity"] for row in rows)
    return [
        f"scan of {counted(len(rows), 'symbol')} by bars of {document['interval']} as of "
        f"{date_clock(document['ts'])} UTC",
        f"regime {regime['name']} since {date_clock(regime['since_ts'])}: {measures}; weights "
        f"{weights}",
        *table_lines(HEAD, cells, "no symbols", texts=(1, 9, 10), below=(10,)),
        f"{passing} of {len(rows)} pass every filter: {', '.join(document['files'])}",
    ]


def write_csv(var: Var, rows: list[JsonObject]) -> list[str]:
    """Write all symbols, and those that pass every filter; return both files' names.

    Both are replaced whole, but without a sync: after a loss of power they may be empty or torn.
    """
    ensure_folder(var.metrics)
    files = []
    for name, ranked in (
        (SCAN_FILE, rows),
        (OPPORTUNITIES_FILE, [row for row in rows if row["is_opportunity"]]),
    ):
        path = var.metrics / name
        write_atomic(path, csv_of(ranked, rows).encode(), is_durable=False)
        files.append(shown_path(path))
    return files


def csv_of(ranked: list[JsonObject], rows: list[JsonObject]) -> str:
    """Return rows as csv: a header, then one line per symbol, with the columns of all rows."""
    filters = [one["name"] for one in rows[0]["filters"]] if rows else []
    parts = ("value", "threshold", "passed")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*FIRST, *PARTS, *(f"{f}_{part}" for f in filters for part in parts), *LAST])
    for row in ranked:
        writer.writerow(
            [
                *(row[name] for name in FIRST),
                *(row["components"].get(name, "") for name in PARTS),
                *(_plain(one[part]) for one in row["filters"] for part in parts),
                *(_plain(row[name]) for name in LAST),
            ]
        )
    return out.getvalue()


def _plain(value: object) -> object:
    """Return a value as JSON writes it."""
    return str(value).lower() if isinstance(value, bool) else value


def _outcome(row: JsonObject) -> str:
    if row["lacks"]:
        return "lacks"
    return "passes; nearest against:" if row["is_opportunity"] else "fails"


def _cells(row: JsonObject) -> tuple[str, ...]:
    return (
        "-" if row["rank"] is None else str(row["rank"]),
        row["symbol"],
        row["score"] or "-",
        *(row["components"].get(name, "-") for name in PARTS),
        row["recommendation"],
        f"{_outcome(row)} {row['against']}",
    )
