"""Trades of the other engines: each in an environment of its own, told the case as JSON.

The environments are those of `tools.foreign`, made on demand below `build/foreign` from locks that
name each file by its sha256. A script gets the path of the case and prints one line of trades.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from minibot.events.money import UNIT, amount_text, parse_amount
from tools.fill_oracle.differences import EngineFailure, Trades, by_opening
from tools.fill_oracle.entry_plan import Bars, Entry
from tools.fill_oracle.minibot_trades import output_of
from tools.fill_oracle.path_rules import Trade
from tools.foreign.environments import environment

RESULT: Final = "RESULT "
NOTIONAL: Final = 100
FEE: Final = "0.001"


def write_case(path: Path, bars: Bars, entries: Sequence[Entry]) -> None:
    """Write bars and entries as the scripts read them, all amounts as text."""
    steps = NOTIONAL * UNIT * UNIT // (bars.rows[0].close * bars.qty_step)
    case = {
        **{"interval": bars.interval, "length_ms": bars.length_ms, "fee": FEE},
        **{"step": amount_text(bars.step), "qty_step": amount_text(bars.qty_step)},
        **{"notional": NOTIONAL, "qty": amount_text(max(1, steps) * bars.qty_step)},
        "bars": [[bar.open_ts, *map(amount_text, bar[1:])] for bar in bars.rows],
        "entries": [
            [entry.at, amount_text(entry.stop), amount_text(entry.target)] for entry in entries
        ],
    }
    path.write_text(json.dumps(case), encoding="utf-8")


def peer_trades(engine: str, case: Path) -> Trades:
    """Return the trades of freqtrade or NautilusTrader.

    Args:
        engine: A name of `path_rules.PEERS`.
        case: File of `write_case`.

    Raises:
        NotInstalled: Its environment cannot be made.
        EngineFailure: It failed, or its answer is none.
    """
    python = environment(engine)
    words = [str(python), "-m", f"tools.fill_oracle.{engine}_script", str(case)]
    lines = output_of(engine, words).splitlines()
    found = [line for line in lines if line.startswith(RESULT)]
    if not found:
        raise EngineFailure(f"{engine} told no trades: {lines[-5:]}")
    return by_opening(engine, map(_trade, json.loads(found[-1].removeprefix(RESULT))))


def _trade(row: list[Any]) -> Trade:
    opened, entry, closed, left, side = row
    return Trade(int(opened), parse_amount(entry), int(closed), parse_amount(left), str(side))
