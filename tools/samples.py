"""Sample data in every form that minibot reads or will read: small, and equal on every machine.

    python -m tools.samples --check    exit 1 when tests/fixtures/samples is not what this makes
    python -m tools.samples --write    make it anew, and the lists of sha256 that nobody else keeps

The market is the generator's (seed 1), so no file needs a licence. Specification C breaks off
before it names its samples (U-13). These are spot bars and trades in the venue's forms, and bars,
funding, open interest and basis of a perpetual future. `manifest.sha256` is for `sha256sum -c
tests/fixtures/*/manifest.sha256`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from minibot.data.convert import convert
from minibot.events.decimals import format_fixed
from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.kline_bars import Bar, gather
from minibot.simulator.sources.generator import FIRST_TRADE_ID, ORIGIN_MS
from minibot.simulator.sources.random_market import PricePath, RandomSymbol

PROJECT: Final = Path(__file__).resolve().parent.parent
FIXTURES: Final = PROJECT / "tests" / "fixtures"
FOLDER: Final = FIXTURES / "samples"
SUMS: Final = "manifest.sha256"
# Folders whose makers write no list of their own.
LISTED_HERE: Final = ("fuzz", "quantstats", "samples")

SEED: Final = 1
RATE_PER_S: Final = 4
BARS: Final = 120
TRADES_S: Final = 180
MINUTE_MS: Final = 60_000
# A funding z-score looks back over 30 settlements; twice that and a few more.
FUNDINGS: Final = 64
FUNDING_MS: Final = 8 * 3_600_000
MILLION: Final = 10**6
FUTURES_HEADER: Final = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,"
    "taker_buy_volume,taker_buy_quote_volume,ignore"
)


def samples() -> dict[str, bytes]:
    """Return every sample by its file name."""
    spot = minutes("BTCUSDT")
    day = datetime.fromtimestamp(ORIGIN_MS / 1000, UTC).strftime("%Y-%m-%d")
    made = {
        "BTCUSDT-1m.jsonl": _lines(json.dumps(bar.row(), separators=(",", ":")) for bar in spot),
        f"BTCUSDT-1m-{day}.zip": _zip(
            f"BTCUSDT-1m-{day}.csv", _csv(_micros(b.row()) for b in spot)
        ),
        "ETH_USDT-1m.csv": _lines(
            ("date,open,high,low,close,volume", *(_dated(bar) for bar in minutes("ETHUSDT")))
        ),
        f"BTCUSDT-aggTrades-{day}.csv": _csv(agg_trades("BTCUSDT")),
        "BTCUSDT-PERP-1m.csv": _lines([FUTURES_HEADER]) + _csv(bar.row() for bar in future(spot)),
        **derivatives("BTCUSDT"),
    }
    made["BTCUSDT-1m.columns"] = _columns(made["BTCUSDT-1m.jsonl"])
    return dict(sorted(made.items()))


# --- spot --------------------------------------------------------------------------------------


def minutes(symbol: str) -> list[Bar]:
    """Return the last two hours before the generator's origin as one-minute bars."""
    market = RandomSymbol(symbol, SEED, RATE_PER_S)
    first = (ORIGIN_MS - BARS * MINUTE_MS) // 1000
    seconds = (market.second_bar(first + number) for number in range(BARS * 60))
    return gather([bar for bar in seconds if bar is not None], "1m")


def agg_trades(symbol: str) -> list[list[Any]]:
    """Return the first trades after the origin in the archive's form, in microseconds."""
    market = RandomSymbol(symbol, SEED, RATE_PER_S)
    rows: list[list[Any]] = []
    for second in range(ORIGIN_MS // 1000, ORIGIN_MS // 1000 + TRADES_S):
        for step in market.steps(second):
            if step.qty:
                number = FIRST_TRADE_ID + len(rows)
                price, qty = to_text(step.price * market.tick), to_text(step.qty * market.step)
                at = step.at_ms * 1000
                rows.append([number, price, qty, number, number, at, step.is_taker_sell, True])
    return rows


def _micros(row: list[Any]) -> list[Any]:
    return [row[0] * 1000, *row[1:6], row[6] * 1000 + 999, *row[7:]]


def _dated(bar: Bar) -> str:
    at = datetime.fromtimestamp(bar.open_ms // 1000, UTC)
    return ",".join([f"{at:%Y-%m-%d %H:%M:%S}+00:00", *map(str, bar.row()[1:6])])


# --- a perpetual future ------------------------------------------------------------------------


def basis_millionths(second: int) -> int:
    """Return the future's premium over spot, within about 0.1 %."""
    return PricePath(SEED + 1).at(second) // 16


def future(spot: Sequence[Bar]) -> list[Bar]:
    """Return the bars of a future that follows spot at its basis; ten times the volume."""
    bars = []
    for bar in spot:
        factor = MILLION + basis_millionths(bar.open_ms // 1000)
        open_, high, low, close = (
            _at_tick(price * factor // MILLION)
            for price in (bar.open, bar.high, bar.low, bar.close)
        )
        made = Bar(bar.open_ms, bar.end_ms, open_, high, low, close)
        made.volume, made.quote, made.trades = 10 * bar.volume, 10 * bar.quote, 3 * bar.trades
        made.taker_volume, made.taker_quote = 10 * bar.taker_volume, 10 * bar.taker_quote
        bars.append(made)
    return bars


def _at_tick(price: int) -> int:
    tick = UNIT // 10
    return price // tick * tick


def derivatives(symbol: str) -> dict[str, bytes]:
    """Return funding, open interest, and one record of both with the basis for each settlement."""
    records = [_record(symbol, number) for number in range(FUNDINGS)]
    funding = [[record["ts"], 8, record["funding_rate"]] for record in records]
    interest = [
        [record["ts"], symbol, record["open_interest"], record["open_interest_value"]]
        for record in records
    ]
    return {
        f"{symbol}-PERP-fundingRate.csv": _lines(
            ["calc_time,funding_interval_hours,last_funding_rate"]
        )
        + _csv(funding),
        f"{symbol}-PERP-metrics.csv": _lines(
            ["create_time,symbol,sum_open_interest,sum_open_interest_value"]
        )
        + _csv(interest),
        f"{symbol}-derivatives.jsonl": _lines(json.dumps(record) for record in records),
    }


def _record(symbol: str, number: int) -> dict[str, Any]:
    """Return the data known at one settlement: `basis` is (futures - spot) / spot."""
    ts = (ORIGIN_MS // FUNDING_MS - FUNDINGS + 1 + number) * FUNDING_MS
    second = ts // 1000
    market = RandomSymbol(symbol, SEED, RATE_PER_S)
    step = market.steps(second)[0]
    spot = (step.bid + step.ask) * market.tick // 2
    mark = _at_tick(spot * (MILLION + basis_millionths(second)) // MILLION)
    # Funding follows the basis; open interest wanders about 80,000 coins.
    funding = PricePath(SEED + 2).at(second) // 64 + basis_millionths(second) // 8
    interest = 80_000_000 + 2 * PricePath(SEED + 3).at(second)
    return {
        "ts": ts,
        "symbol": symbol,
        "venue": "binance",
        "funding_rate": format_fixed(funding, 6),
        "open_interest": format_fixed(interest, 3),
        "open_interest_value": format_fixed(interest * mark // 1000, 8),
        "mark_price": format_fixed(mark, 8),
        "spot_price": format_fixed(spot, 8),
        "basis": format_fixed((mark - spot) * UNIT // spot, 8),
    }


# --- files -------------------------------------------------------------------------------------


def _lines(texts: Any) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def _csv(rows: Any) -> bytes:
    return _lines(",".join(map(str, row)) for row in rows)


def _zip(name: str, data: bytes) -> bytes:
    """Return a zip without compression, which differs between versions of zlib."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:
        info = zipfile.ZipInfo(name)
        info.create_system = 3  # The same on every system.
        archive.writestr(info, data)
    return body.getvalue()


def _columns(rows: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "BTCUSDT-1m.jsonl"
        source.write_bytes(rows)
        return convert([source], Path(folder))[0].path.read_bytes()


def sums(folder: Path) -> bytes:
    """Return the list of sha256 of all files in a folder of fixtures, as `sha256sum` writes it."""
    names = sorted(  # Sorted as text: paths sort differently on a system that ignores case.
        path.relative_to(PROJECT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS
    )
    return _lines(
        f"{hashlib.sha256((PROJECT / name).read_bytes()).hexdigest()}  {name}" for name in names
    )


def differing() -> list[str]:
    """Return the names of samples and lists that differ from freshly made ones."""
    wrong = [
        name
        for name, data in samples().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_bytes() != data
    ]
    for name in LISTED_HERE:
        path = FIXTURES / name / SUMS
        if not path.is_file() or path.read_bytes() != sums(path.parent):
            wrong.append(f"{name}/{SUMS}")
    return wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Write the samples, or print which differ; return 1 when one does."""
    options = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    what = options.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="compare")
    what.add_argument("--write", action="store_true", help="make anew")
    if options.parse_args(argv).write:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, data in samples().items():
            (FOLDER / name).write_bytes(data)
        for name in LISTED_HERE:
            (FIXTURES / name / SUMS).write_bytes(sums(FIXTURES / name))
    wrong = differing()
    for name in wrong:
        print(f"differs: {name}; make it anew: python -m tools.samples --write")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
