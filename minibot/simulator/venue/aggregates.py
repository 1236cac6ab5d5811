"""Aggregate trades, made from trades: one taker order's fills at one price and one time.

Two trades are aggregated when time, price and side are the same and they arrive within `HOLD_NS`;
the venue knows the order itself, a recording of trades does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from minibot.exchanges.tapes.decimals import to_text, to_units
from minibot.simulator.venue.logs import KEPT_MIN, VALUE_MAX, Row, StreamLog

# Fills of one order arrive within a fraction of a millisecond.
HOLD_NS: Final = 5_000_000


class Aggregates:
    """The growing aggregate and the finished ones; ids begin with the first trade's.

    `log` holds rows of (id, time in ms, price, quantity, is taker sell, first id, last id).
    """

    def __init__(self, symbol: str, rows_max: int = KEPT_MIN) -> None:
        self.log = StreamLog(7, rows_max)
        self._symbol = symbol
        self._growing: dict[str, Any] | None = None
        self._price = self._qty = 0
        self._began_ns = 0
        self._next_id = 0
        self._finished: list[dict[str, Any]] = []

    def add(self, trade: Mapping[str, Any], price: int, qty: int, at_ns: int) -> None:
        """Add one trade at its receive time, with its price and quantity in units."""
        self.close(at_ns)
        growing = self._growing
        if (
            growing is not None
            and growing["T"] == trade["T"]
            and self._price == price
            and growing["m"] == trade["m"]
            and self._qty + qty <= VALUE_MAX
        ):
            self._qty += qty
            growing["l"] = trade["t"]
            growing["E"] = trade["E"]
            return
        self._finish()
        self._next_id = self._next_id or trade["t"]
        self._price, self._qty, self._began_ns = price, qty, at_ns
        self._growing = {
            "e": "aggTrade",
            "E": trade["E"],
            "s": self._symbol,
            "a": self._next_id,
            "p": trade["p"],
            "q": trade["q"],
            "f": trade["t"],
            "l": trade["t"],
            "T": trade["T"],
            "m": trade["m"],
            "M": True,
        }
        self._next_id += 1

    def keep(self, row: Mapping[str, Any]) -> bool:
        """Keep an aggregate that the source carries; return False if it is known already."""
        price, qty = to_units(row["p"]), to_units(row["q"])
        return self.log.add(row["a"], row["T"], price, qty, row["m"], row["f"], row["l"])

    def grown(self, at_ns: int) -> Row | None:
        """Return the growing aggregate as a row of the log, once no more trades should join it.

        This does not finish it: streams must depend only on the played frames, not on requests.
        """
        row = self._growing
        if row is None or at_ns - self._began_ns < HOLD_NS:
            return None
        return row["a"], row["T"], self._price, self._qty, row["m"], row["f"], row["l"]

    def close(self, at_ns: int) -> None:
        """Finish the growing aggregate if no more trades can join it."""
        if self._growing is not None and at_ns - self._began_ns >= HOLD_NS:
            self._finish()

    def _finish(self) -> None:
        row = self._growing
        if row is None:
            return
        row["q"] = to_text(self._qty)
        self.log.add(row["a"], row["T"], self._price, self._qty, row["m"], row["f"], row["l"])
        self._finished.append(row)
        self._growing = None

    @property
    def is_idle(self) -> bool:
        """Return whether no aggregate is growing or waiting to be drained."""
        return self._growing is None and not self._finished

    def drain(self) -> list[dict[str, Any]]:
        """Return the aggregates finished since the last call, oldest first."""
        finished, self._finished = self._finished, []
        return finished


def rest_row(row: Row) -> dict[str, Any]:
    """Return a row of the log in the form of `/api/v3/aggTrades`."""
    identity, time_ms, price, qty, is_sell, first_id, last_id = row
    return {
        "a": identity,
        "p": to_text(price),
        "q": to_text(qty),
        "f": first_id,
        "l": last_id,
        "T": time_ms,
        "m": bool(is_sell),
        "M": True,
    }
