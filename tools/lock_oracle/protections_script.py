"""freqtrade's protections on closed trades: `python -m tools.lock_oracle.protections_script CASES`.

Run in freqtrade's own environment. Its `ProtectionManager` judges each trade at its close, as the
bot does after an exit: first the pair, then all, with trades and locks in its database, here one in
memory for each case.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from freqtrade import __version__
from freqtrade.persistence import PairLocks, Trade, init_db
from freqtrade.plugins.protectionmanager import ProtectionManager

RATE = 100.0
OPEN = timedelta(minutes=1)
"""How long each trade was open, which no protection asks."""


def main() -> None:
    """Judge the cases and print version and locks as one line of JSON."""
    logging.disable(logging.WARNING)
    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = {"version": __version__, "locks": [_locks(case) for case in cases]}
    print("RESULT", json.dumps(found), flush=True)
    os._exit(0)  # Threads of its libraries would keep it.


def _locks(case: dict[str, Any]) -> list[list[Any]]:
    """Return the locks in the order they were made: number of the trade, pair, ends, reason."""
    init_db("sqlite://")
    PairLocks.timeframe = case["interval"]
    manager = ProtectionManager({"timeframe": case["interval"]}, case["protections"])
    locks: list[list[Any]] = []
    for number, row in enumerate(case["trades"]):
        trade = _trade(*row)
        Trade.session.add(trade)
        Trade.session.commit()
        balance, now = case["start"], datetime.fromtimestamp(row[1] / 1000, UTC)
        manager.stop_per_pair(trade.pair, now, "long", balance)
        manager.global_stop(now, "long", balance)
        for lock in list(PairLocks.get_all_locks())[len(locks) :]:
            ends = (_ms(lock.lock_time), _ms(lock.lock_end_time))
            locks.append([number, lock.pair, *ends, lock.reason])
    return locks


def _trade(pair: str, closed_ms: int, reason: str, ratio: float, profit: float) -> Trade:
    closed = datetime.fromtimestamp(closed_ms / 1000, UTC)
    return Trade(
        **{"pair": pair, "exchange": "binance", "is_short": False, "is_open": False},
        **{"stake_amount": RATE, "amount": 1.0, "open_rate": RATE, "close_rate": RATE},
        **{"fee_open": 0.0, "fee_close": 0.0, "open_date": closed - OPEN, "close_date": closed},
        **{"exit_reason": reason, "close_profit": ratio, "close_profit_abs": profit},
    )


def _ms(date: datetime) -> int:
    """Return a time of its database, which is UTC without saying so, in Unix ms."""
    since = date.replace(tzinfo=UTC) - datetime.fromtimestamp(0, UTC)
    return since // timedelta(milliseconds=1)


if __name__ == "__main__":
    main()
