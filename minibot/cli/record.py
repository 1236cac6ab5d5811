"""minibot record: record the venue's raw streams onto playable tapes until asked to end."""

from __future__ import annotations

import argparse
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from minibot.cli.support.output import say, show
from minibot.cli.support.profile import profile_of
from minibot.cli.support.selection import add_profile, var_of
from minibot.data.recording import Recording
from minibot.exchanges.base import Rest, RestError
from minibot.kernel.errors import ConfigError, LockBusy, Refusal
from minibot.kernel.files import hash_file
from minibot.kernel.lock import WriterLock
from minibot.kernel.threads import SignalEvent, call_after
from minibot.market.connections import groups_of
from minibot.market.recorder import Recorder, RecorderConfig
from minibot.market.shard import Shard
from minibot.market.venue_access import embedded_faults, heeding_rest, new_stream, venue_of
from minibot.market.wall_clock import WallClock
from minibot.report.figures import counted
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import PROJECT, shown_path

HELP = "record the venue's raw streams onto tapes (gzip, in parts, hashed) that play again"
EXAMPLE = "minibot record --symbols BTCUSDT,ETHUSDT --for 2h --name evening"

DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)", re.ASCII)
SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
LOCK: Final = "record.lock"
# Three streams each: within the venue's URL length, and far below its limit of 1024 streams.
SYMBOLS_PER_CONNECTION: Final = 100


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("--symbols", help="BTCUSDT,ETHUSDT (default: those of the profile)")
    command.add_argument("--name", default="tape", help="folder under var/tapes; default: tape")
    command.add_argument("--for", dest="duration", metavar="TIME", help="90s, 10m, 2h; then end")
    command.add_argument(
        "--part-mb", type=int, default=256, help="close a part at this size (default: 256)"
    )
    command.add_argument(
        "--part-time", default="1h", metavar="TIME", help="close a part at this age (default: 1h)"
    )
    command.add_argument(
        "--free-mb", type=int, default=1024, help="end with less disk than this (default: 1024)"
    )
    add_profile(command, PROJECT.joinpath("config", "nore.v1.json").relative_to(PROJECT))


def run(arguments: argparse.Namespace) -> int:
    """Record; 0 when asked to end, 1 when the disk is nearly full."""
    config = profile_of(arguments)
    symbols, part_s, end_s = _requested(arguments, config)
    root = var_of(arguments).root
    folder = root / "tapes" / arguments.name
    lock = _lock_of(folder)
    try:
        recorder = recorder_of(
            config,
            symbols,
            folder,
            heeding_rest(config, root),
            part_bytes_max=arguments.part_mb * 1_000_000,
            part_ms_max=round(part_s * 1000),
        )
        with _ending(end_s) as ending:
            is_full = partial(_is_full, folder, arguments.free_mb)
            recorder.run(lambda: ending.is_set() or is_full())
    finally:
        lock.close()
    document = _document(folder, recorder)
    show(arguments, document, _lines(document, recorder))
    return 1 if _is_full(folder, arguments.free_mb) else 0


def _lock_of(folder: Path) -> WriterLock:
    """Return the lock of a folder of tapes; raise Refusal if another recording has it."""
    try:
        return WriterLock(folder / LOCK)
    except LockBusy as error:
        raise Refusal(
            f"another `minibot record` writes into {shown_path(folder)}.",
            "Give this one a --name of its own, or end the other.",
        ) from error


def recorder_of(
    config: Config,
    symbols: list[str],
    folder: Path,
    rest: Rest,
    *,
    part_bytes_max: int,
    part_ms_max: int,
) -> Recorder:
    """Return a recorder of the configured hosts into a folder that the caller holds.

    Raises:
        Refusal: The venue cannot be reached, or does not know a symbol.
    """
    exchange = config.exchange
    return Recorder(
        RecorderConfig(
            part_bytes_max=part_bytes_max,
            part_ms_max=part_ms_max,
            backoff_min_ms=exchange.backoff_min_market_ms,
            backoff_max_ms=exchange.backoff_max_market_ms,
            seed=config.seed,
            weight_share_max_percent=exchange.weight_share_max_percent,
            renew_after_ms=exchange.renew_after_market_ms,
        ),
        venue_of(config),
        Recording(folder),
        rest,
        list(_shards(symbols, config)),
        _rules(rest, symbols, exchange.rest_url),
        WallClock(),
        _print_line,
    )


def _requested(arguments: argparse.Namespace, config: Config) -> tuple[list[str], float, float]:
    """Return the symbols, the seconds of a part and the seconds in total (0 for no end).

    Raises:
        ConfigError: An argument is invalid.
    """
    names = arguments.symbols.split(",") if arguments.symbols else config.exchange.symbols
    symbols = list(dict.fromkeys(map(venue_of(config).symbols.read, names)))
    wrong = [f"--symbols: {name!r}" for name in symbols if not (name.isascii() and name.isalnum())]
    durations = [_seconds(text) for text in (arguments.part_time, arguments.duration)]
    wrong += [
        f"{flag}: {text!r}; give 90s, 10m or 2h"
        for flag, text, found in zip(
            ("--part-time", "--for"),
            (arguments.part_time, arguments.duration),
            durations,
            strict=True,
        )
        if text is not None and not found
    ]
    if NAME.fullmatch(arguments.name) is None:
        wrong.append(f"--name: {arguments.name!r}; letters, digits, . _ -")
    if arguments.part_mb <= 0:
        wrong.append("--part-mb: above zero")
    wrong += embedded_faults(config)
    if wrong:
        raise ConfigError("record: nothing was recorded.", wrong)
    return symbols, durations[0] or 0, durations[1] or 0


def _seconds(text: str | None) -> float | None:
    found = None if text is None else DURATION.fullmatch(text.strip())
    return None if found is None else float(found[1]) * SECONDS[found[2]]


def _rules(rest: Rest, symbols: list[str], url: str) -> bytes:
    """Return the rules of the symbols in the venue's own words.

    Raises:
        Refusal: The venue cannot be reached, or does not know a symbol.
    """
    try:
        return rest.rules_text(symbols)
    except RestError as error:
        raise Refusal(
            f"{url}: the rules of {', '.join(symbols)} could not be fetched ({error}).",
            "Is the address right, is every symbol listed? See: minibot doctor",
        ) from error


def _shards(symbols: list[str], config: Config) -> Iterator[Shard]:
    streams = venue_of(config).streams
    for begin in range(0, len(symbols), SYMBOLS_PER_CONNECTION):
        some = tuple(symbols[begin : begin + SYMBOLS_PER_CONNECTION])
        groups = groups_of(some, streams)
        if streams.named_in_address(groups) != some:
            why = f"an address of {config.venue} cannot name the streams of {len(some)} symbols"
            raise ConfigError("record: nothing was recorded.", [why])
        names = [name for group in groups.values() for name in group]
        yield Shard(some, partial(new_stream, config, names))


@contextmanager
def _ending(end_s: float) -> Iterator[SignalEvent]:
    """Yield the event that is set when recording has to end: by a signal, or by its duration."""
    ending = SignalEvent()
    former = {
        number: signal.signal(number, lambda *_: ending.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with call_after(end_s, ending.set) if end_s else nullcontext():
            yield ending
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _is_full(folder: Path, free_mb: int) -> bool:
    return psutil.disk_usage(str(folder)).free < free_mb * 1024 * 1024


def _document(folder: Path, recorder: Recorder) -> dict[str, Any]:
    parts = [
        {"name": path.name, "bytes": size, "sha256": digest}
        for path in recorder.recording.parts
        for size, digest in [hash_file(path)]
    ]
    return {
        "folder": str(folder),
        "parts": parts,
        "lines": recorder.lines,
        "snapshots": recorder.snapshots,
        "unreadable": recorder.unreadable,
        "missed": [each._asdict() for each in recorder.missed],
    }


def _lines(document: dict[str, Any], recorder: Recorder) -> list[str]:
    lines = [
        f"{shown_path(Path(document['folder']))}: {counted(document['lines'], 'line')} in "
        f"{counted(len(document['parts']), 'part')}, {counted(document['snapshots'], 'depth')} "
        "taken"
    ]
    lines += [f"  {part['name']}  {part['bytes'] / 1e6:.1f} MB" for part in document["parts"]]
    lines += [
        f"  missed {(each.to_ns - each.from_ns) / 10**9:.1f} s: {each.why}"
        for each in recorder.missed
    ]
    if document["unreadable"]:
        lines.append(f"  {counted(document['unreadable'], 'message')} that was no JSON object")
    return [*lines, f"See: minibot tape check {shown_path(Path(document['folder']))}"]


def _print_line(text: str) -> None:
    say(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}")
