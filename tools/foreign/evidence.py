"""Comparison of a tape with what a client received, in exact decimals.

The scripts in `clients/` import it in foreign environments: standard library alone, nothing of
minibot. Tape reader and book are written here a second time on purpose, plainly, as the reference
for server and client.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

SYMBOL: Final = "BTCUSDT"
WRONG_TOLD_MAX: Final = 10

Level = tuple[Decimal, Decimal]


class Truth:
    """Market of one symbol as a tape recorded it; times as on the tape."""

    def __init__(self, tape: Path, symbol: str = SYMBOL) -> None:
        self.trades: dict[int, tuple[Decimal, Decimal, int, bool]] = {}
        self.quotes: dict[int, tuple[Decimal, Decimal, Decimal, Decimal]] = {}
        self._diffs: list[dict[str, Any]] = []
        self._ids: list[int] = []
        self._snapshot: dict[str, Any] | None = None
        self._book: tuple[int, dict[Decimal, Decimal], dict[Decimal, Decimal]] | None = None
        self._times: list[int] = []
        self._opening: dict[str, Any] = {}
        with gzip.open(tape, "rb") as file:
            for line in file:
                self._take(json.loads(line.partition(b" ")[2]), symbol)
        self._by_time = sorted((row[2], number) for number, row in self.trades.items())
        self._times = [time_ms for time_ms, _ in self._by_time]

    def _take(self, message: dict[str, Any], symbol: str) -> None:
        if "lastUpdateId" in message:
            if self._snapshot is None and message.get("symbol", symbol) == symbol:
                self._snapshot = message
            return
        data = message.get("data", {})
        if data.get("s") != symbol:
            return
        if data.get("e") == "trade":
            row = (Decimal(data["p"]), Decimal(data["q"]), int(data["T"]), bool(data["m"]))
            self.trades[data["t"]] = row
        elif data.get("e") == "depthUpdate":
            self._diffs.append(data)
            self._ids.append(data["u"])
        elif "u" in data and "A" in data:
            self.quotes[data["u"]] = (
                *(Decimal(data["b"]), Decimal(data["B"])),
                *(Decimal(data["a"]), Decimal(data["A"])),
            )

    def book(self, update_id: int) -> tuple[list[Level], list[Level]] | None:
        """Return bids and asks after an update, best first; None if no update ends there."""
        if self._snapshot is None:
            return None
        opening = min(self._snapshot["lastUpdateId"], self._diffs[0]["U"] - 1)
        index = bisect_right(self._ids, update_id)
        if update_id != opening and (not index or self._ids[index - 1] != update_id):
            return None
        done, bids, asks = self._book or (
            0,
            _side(self._snapshot["bids"]),
            _side(self._snapshot["asks"]),
        )
        if done > index:
            done, bids, asks = 0, _side(self._snapshot["bids"]), _side(self._snapshot["asks"])
        for diff in self._diffs[done:index]:
            _apply(bids, diff["b"])
            _apply(asks, diff["a"])
        self._book = (index, bids, asks)
        return sorted(bids.items(), reverse=True), sorted(asks.items())

    def kline(self, open_ms: int, end_ms: int) -> tuple[Decimal, ...] | None:
        """Return open, high, low, close and volume of the trades in a span, None without any."""
        first, last = bisect_right(self._times, open_ms - 1), bisect_right(self._times, end_ms - 1)
        rows = [self.trades[number] for _, number in self._by_time[first:last]]
        if not rows:
            return None
        prices = [row[0] for row in rows]
        volume = sum((row[1] for row in rows), Decimal(0))
        return prices[0], max(prices), min(prices), prices[-1], volume


def _side(levels: Iterable[Sequence[str]]) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(qty) for price, qty in levels}


def _apply(side: dict[Decimal, Decimal], levels: Iterable[Sequence[str]]) -> None:
    for price, qty in levels:
        if Decimal(qty):
            side[Decimal(price)] = Decimal(qty)
        else:
            side.pop(Decimal(price), None)


class Evidence:
    """Evidence of one client, compared with the tape; ends in one line of JSON and an exit code."""

    def __init__(self, client: str, package: str, truth: Truth | None) -> None:
        self.checked: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._truth = truth
        self._client, self._package = client, package

    @property
    def truth(self) -> Truth:
        """Market on the tape; empty for a client whose market is synthetic."""
        assert self._truth is not None
        return self._truth

    def same(self, what: str, got: object, expected: object) -> bool:
        """Count one comparison."""
        self.checked[what] += 1
        if got != expected:
            self.wrong.append(f"{what}: got {got}, the source has {expected}")
        return got == expected

    def trade(self, number: int, price: object, qty: object, time_ms: int, is_sell: bool) -> None:
        """Check a trade, every field of it."""
        got = (exact(price), exact(qty), time_ms, is_sell)
        self.same("trades", got, self.truth.trades.get(number))

    def aggregate(self, first: int, last: int, price: object, qty: object, time_ms: int) -> None:
        """Check an aggregate trade against the trades that it names."""
        rows = [self.truth.trades.get(number) for number in range(first, last + 1)]
        known = [row for row in rows if row is not None]
        total = sum((row[1] for row in known), Decimal(0))
        told = {(row[0], row[2]) for row in known}
        got = (len(rows), {(exact(price), time_ms)}, exact(qty))
        self.same("aggregate trades", got, (len(known), told, total))

    def quote(self, update_id: int, *values: object) -> None:
        """Check best bid, its quantity, best ask, its quantity."""
        self.same("quotes", tuple(map(exact, values)), self.truth.quotes.get(update_id))

    def touch(self, *values: object) -> None:
        """Check a best bid and ask without its update number: the tape must have had it."""
        got = tuple(map(exact, values))
        self.same("touches", got in set(self.truth.quotes.values()), True)

    def book(self, update_id: int, bids: Iterable[Any], asks: Iterable[Any], levels: int) -> None:
        """Check the best levels of a book after an update."""
        found = self.truth.book(update_id)
        expected = None if found is None else (found[0][:levels], found[1][:levels])
        got = (_levels(bids)[:levels], _levels(asks)[:levels])
        if not self.same("books", got == expected, True):
            self.wrong[-1] = f"book {update_id}: {_first_difference(got, expected)}"

    def kline(self, open_ms: int, end_ms: int, *values: object) -> None:
        """Check open, high, low, close, volume of a closed bar."""
        self.same("klines", tuple(map(exact, values)), self.truth.kline(open_ms, end_ms))

    def streamed(self, kind: str, data: dict[str, Any]) -> None:
        """Check a message of one symbol's stream against the tape, by the stream's name."""
        if kind == "trade":
            self.trade(data["t"], data["p"], data["q"], data["T"], data["m"])
        elif kind == "aggTrade":
            self.aggregate(data["f"], data["l"], data["p"], data["q"], data["T"])
        elif kind == "bookTicker":
            self.quote(data["u"], data["b"], data["B"], data["a"], data["A"])
        elif kind.startswith("depth"):
            self.book(data["lastUpdateId"], data["bids"], data["asks"], 20)
        elif kind == "miniTicker":
            prices = {float(row[0]) for row in self.truth.trades.values()}
            self.same("tickers", float(data["c"]) in prices, True)
        elif data["k"]["x"] and data["k"]["n"]:
            bar = data["k"]
            self.kline(bar["t"], bar["T"] + 1, *(bar[key] for key in "ohlcv"))

    def finish(self, *expected: str) -> int:
        """Print the comparison; return 0 if everything agreed and nothing expected was missing."""
        self.wrong += [f"{what}: none came" for what in expected if not self.checked[what]]
        print(
            json.dumps(
                {
                    "client": self._client,
                    "version": version(self._package),
                    "checked": dict(self.checked),
                    "wrong": self.wrong[:WRONG_TOLD_MAX],
                    "wrong_count": len(self.wrong),
                }
            )
        )
        sys.stdout.flush()
        return 1 if self.wrong else 0


def exact(value: object) -> Decimal:
    """Return a number as a client gives it (text, Decimal, float) as an exact decimal."""
    # The shortest text of a float is the decimal that it was made from, at this many digits.
    return Decimal(str(value)).normalize() + 0


def _levels(levels: Iterable[Any]) -> list[Level]:
    return [(exact(level[0]), exact(level[1])) for level in levels]


def _first_difference(
    got: tuple[list[Level], list[Level]], expected: tuple[list[Level], list[Level]] | None
) -> str:
    if expected is None:
        return "no update of the source ends at this number"
    for side, ours, theirs in zip(("bid", "ask"), got, expected, strict=True):
        for depth, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            if one != other:
                return f"{side} {depth}: got {one}, the source has {other}"
        if len(ours) != len(theirs):
            return f"{len(ours)} {side}s, the source has {len(theirs)}"
    return "equal"


def arguments() -> argparse.Namespace:
    """Return the runner's arguments: the exchange's address and the tape that it plays."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1", help="host of the exchange")
    parser.add_argument("--port", type=int, required=True, help="port without TLS")
    parser.add_argument("--tls-port", type=int, default=0, help="port with TLS")
    parser.add_argument("--tape", type=Path, required=True, help="what it plays")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long streams are read")
    return parser.parse_args()
