"""minibot download-data: klines of the venue into `var/data`, checked and resumed."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Final

from minibot.cli.support.output import show, shown_path
from minibot.cli.support.profile import profile_of
from minibot.cli.support.selection import add_profile, var_of
from minibot.data.download import Download, Fetched, Wanted
from minibot.data.patience import MachineClock, Patience
from minibot.data.store import locked
from minibot.data.treatment import clock_text
from minibot.exchanges.binance.archive import ArchiveHost, archive_file
from minibot.exchanges.binance.limits import WeightBudget
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.kernel.errors import ConfigError
from minibot.runtime.paths import PROJECT

HELP = (
    "download klines: archive files with their checksums, REST for the rest; only what is missing"
)
EXAMPLE = "minibot download-data --pairs BTC/USDT --intervals 1m,15m --from 2025-01-01"

ARCHIVE_URL: Final = "https://data.binance.vision"
# A month of seconds over a slow line.
ARCHIVE_TIMEOUT_S: Final = 600.0


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--pairs", required=True, help="BTC/USDT,ETH/USDT or BTCUSDT")
    command.add_argument("--intervals", default="1m", help="1m,15m (default: 1m)")
    command.add_argument("--from", dest="start", required=True, metavar="DATE", help="2025-01-01")
    command.add_argument("--to", dest="end", metavar="DATE", help="up to, excluded (default: now)")
    command.add_argument(
        "--source",
        choices=("auto", "archive", "rest"),
        default="auto",
        help="archive files, REST, or (auto) the archive and REST for what it does not have yet",
    )
    command.add_argument("--archive-url", default=ARCHIVE_URL, help=f"default: {ARCHIVE_URL}")
    command.add_argument("--rest-url", help="default: binance.rest_url of the profile")
    command.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a further host to which the archive may redirect; none by default",
    )
    add_profile(command, PROJECT.joinpath("config", "nore.v1.json").relative_to(PROJECT))


def run(arguments: argparse.Namespace) -> int:
    """Download; 1 when a file was refused or something is still missing."""
    wanted = list(_wanted(arguments))
    binance = profile_of(arguments).binance
    timeouts = binance.connect_timeout_ms / 1000, binance.rest_timeout_ms / 1000
    rest_url = arguments.rest_url or binance.rest_url
    archive = rest = None
    try:
        if arguments.source != "rest":
            archive = ArchiveHost(
                arguments.archive_url,
                hosts=arguments.host,
                connect_timeout_s=timeouts[0],
                total_timeout_s=ARCHIVE_TIMEOUT_S,
            )
        if arguments.source != "archive":
            rest = BinanceRest(rest_url, connect_timeout_s=timeouts[0], total_timeout_s=timeouts[1])
    except ValueError as error:
        raise ConfigError("download-data: an address is none.", [str(error)]) from error
    root = var_of(arguments).root / "data"
    budget = WeightBudget(binance.weight_share_max_percent)
    with locked(root):
        download = Download(root, archive, rest, budget, Patience(MachineClock(), _tell), _tell)
        fetched = [download.fetch(each) for each in wanted]
    show(
        arguments,
        [each.to_json() for each in fetched],
        [line for f in fetched for line in lines(f)],
    )
    return 1 if any(each.troubles for each in fetched) else 0


def _wanted(arguments: argparse.Namespace) -> list[Wanted]:
    """Return every pair and interval with the span.

    Raises:
        ConfigError: A pair, an interval or a date is none.
    """
    now_ts = MachineClock().now_ms()
    symbols = [pair.replace("/", "").strip().upper() for pair in arguments.pairs.split(",")]
    intervals = [name.strip() for name in arguments.intervals.split(",")]
    wrong = [
        f"--pairs: {name[:40]!r} is no symbol; as BTC/USDT or BTCUSDT"
        for name in symbols
        if not _is_symbol(name)
    ]
    wrong += [
        f"--intervals: {name!r}; known: {', '.join(INTERVALS)}"
        for name in intervals
        if name not in INTERVALS
    ]
    start = _date(arguments.start)
    end = _date(arguments.end) if arguments.end else now_ts
    if start is None or end is None or start >= end:
        wrong.append(f"--from {arguments.start!r} --to {arguments.end!r}: dates, the former first")
    elif start >= now_ts:
        wrong.append(f"--from {arguments.start!r}: has not come yet")
    elif start < 0:
        wrong.append(f"--from {arguments.start!r}: before 1970-01-01")
    if wrong or start is None or end is None:
        raise ConfigError("download-data: nothing was asked for.", wrong)
    return [
        Wanted(symbol, name, start, min(end, now_ts)) for symbol in symbols for name in intervals
    ]


def _is_symbol(name: str) -> bool:
    """Return whether the archive has addresses for such a name: its own rule, asked of it."""
    try:
        archive_file(name, "1m", 0, is_monthly=True)
    except ValueError:
        return False
    return True


def _date(text: str) -> int | None:
    """Return a date, or date and time (UTC where it names no zone), in Unix ms; None for none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def lines(fetched: Fetched) -> list[str]:
    """Return what one series got, in words."""
    wanted = fetched.wanted
    brought = f"{len(fetched.files)} files, {fetched.rows} rows" if fetched.files else "nothing new"
    said = [f"{wanted.symbol} {wanted.interval}: {brought}, {fetched.requests} requests"]
    said += [f"  REFUSED {trouble}" for trouble in fetched.troubles]
    said += [
        f"  not available yet: {clock_text(first)} .. {clock_text(end // 1000 * 1000)}"
        for first, end in fetched.missing
    ]
    said.append(f"  in {shown_path(fetched.folder)}")
    return said
