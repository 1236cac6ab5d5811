"""minibot download-data: klines of the venue into `var/data`, checked and resumed."""

from __future__ import annotations

import argparse
from typing import Final

from minibot.cli.support.moments import moment_ms
from minibot.cli.support.output import say, show
from minibot.cli.support.profile import profile_of
from minibot.cli.support.selection import add_profile, var_of
from minibot.data.download import Download, Fetched, Wanted
from minibot.data.patience import MachineClock, Patience
from minibot.data.store import locked
from minibot.data.treatment import clock_text
from minibot.exchanges.base import Venue
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.exchanges.venue_facts import SYMBOL
from minibot.exchanges.venues import VENUES
from minibot.exchanges.weight_budget import WeightBudget
from minibot.kernel.errors import ConfigError
from minibot.market.venue_access import heeding_rest, venue_of
from minibot.runtime.paths import PROJECT, shown_path

HELP = (
    "download klines: archive files with their checksums, REST for the rest; only what is missing"
)
EXAMPLE = "minibot download-data --pairs BTC/USDT --intervals 1m,15m --from 2025-01-01"

ARCHIVES: Final = ", ".join(filter(None, (venue.hosts.archive for venue in VENUES.values())))
# Enough for a month of one-second klines over a slow line.
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
    command.add_argument("--archive-url", help=f"default: {ARCHIVES}")
    command.add_argument("--rest-url", help="default: rest_url of the profile's venue")
    command.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="a further host to which the archive may redirect; none by default",
    )
    add_profile(command, PROJECT.joinpath("config", "nore.v1.json").relative_to(PROJECT))


def run(arguments: argparse.Namespace) -> int:
    """Download; 1 when a file was refused, or a span that ended long ago is still missing."""
    config = profile_of(arguments)
    venue = venue_of(config)
    wanted = list(_wanted(arguments, venue))
    if arguments.source == "archive" and venue.archive is None:
        why = f"--source archive: {venue.name} publishes no files; its klines come by REST"
        raise ConfigError("download-data: nothing was requested.", [why])
    var = var_of(arguments)
    archive = rest = None
    try:
        if arguments.source != "rest" and venue.archive is not None:
            archive = venue.archive.new_host(
                arguments.archive_url or venue.hosts.archive,
                hosts=arguments.host,
                connect_timeout_s=config.exchange.connect_timeout_ms / 1000,
                total_timeout_s=ARCHIVE_TIMEOUT_S,
            )
        if arguments.source != "archive":
            rest = heeding_rest(config, var.root, arguments.rest_url)
    except ValueError as error:
        raise ConfigError("download-data: an address cannot be used.", [str(error)]) from error
    root = var.root / "data"
    share = config.exchange.weight_share_max_percent
    budget = WeightBudget(share, venue.limits.weight_per_minute)
    with locked(root):
        patience = Patience(MachineClock(), _print_line)
        download = Download(root, venue, archive, rest, budget, patience, _print_line)
        fetched = [download.fetch(each) for each in wanted]
    show(
        arguments,
        [each.to_json() for each in fetched],
        [line for f in fetched for line in lines(f)],
    )
    return 1 if any(each.troubles or each.not_there for each in fetched) else 0


def _wanted(arguments: argparse.Namespace, venue: Venue) -> list[Wanted]:
    """Return every requested pair and interval with its span.

    Raises:
        ConfigError: A pair, an interval or a date is invalid.
    """
    now_ts = MachineClock().now_ms()
    # A series that is named twice is one, whatever it is called.
    symbols = list(dict.fromkeys(map(venue.symbols.read, arguments.pairs.split(","))))
    intervals = list(dict.fromkeys(name.strip() for name in arguments.intervals.split(",")))
    wrong = [
        f"--pairs: {name[:40]!r} is not a symbol; as BTC/USDT or BTCUSDT"
        for name in symbols
        if SYMBOL.fullmatch(name) is None
    ]
    wrong += [
        f"--intervals: {name!r}; known: {', '.join(INTERVALS)}"
        for name in intervals
        if name not in INTERVALS
    ]
    start = moment_ms(arguments.start)
    end = moment_ms(arguments.end) if arguments.end else now_ts
    wrong += [
        f"{flag} {text!r}: not a date; as 2025-01-01"
        for flag, text, ms in (("--from", arguments.start, start), ("--to", arguments.end, end))
        if ms is None
    ]
    if start is not None and start >= now_ts:
        wrong.append(f"--from {arguments.start!r}: has not come yet")
    elif start is not None and start < 0:
        wrong.append(f"--from {arguments.start!r}: before 1970-01-01")
    elif start is not None and end is not None and start >= end:
        wrong.append(f"--from {arguments.start!r}: not before --to {arguments.end!r}")
    if wrong or start is None or end is None:
        raise ConfigError("download-data: nothing was requested.", wrong)
    return [
        Wanted(symbol, name, start, min(end, now_ts)) for symbol in symbols for name in intervals
    ]


def _print_line(text: str) -> None:
    say(text)


def lines(fetched: Fetched) -> list[str]:
    """Return the result of one series in words."""
    wanted = fetched.wanted
    brought = f"{len(fetched.files)} files, {fetched.rows} rows" if fetched.files else "nothing new"
    output = [f"{wanted.symbol} {wanted.interval}: {brought}, {fetched.requests} requests"]
    output += [f"  REFUSED {trouble}" for trouble in fetched.troubles]
    spans = [("not there", span) for span in fetched.not_there]
    spans += [("not available yet", span) for span in fetched.not_yet]
    output += [
        f"  {word}: {clock_text(first)} .. {clock_text(end // 1000 * 1000)}"
        for word, (first, end) in spans
    ]
    if fetched.not_there and not fetched.troubles:
        output.append(f"  No host has these: was {wanted.symbol} listed then? See --pairs, --from.")
    output.append(f"  in {shown_path(fetched.folder)}")
    return output
