"""Locks of both sides behind each closed trade of a case, and their differences.

freqtrade makes no lock where one stands that lasts longer, whatever its reason. So both sides are
compared by the end of the longest lock of each symbol and of all, and the method of each lock that
freqtrade makes by minibot's lock of that method, which lasts at least as long.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from minibot.accounting.round_trips import RoundTrip
from minibot.events.model import ALL_SYMBOLS, JsonObject
from minibot.events.money import UNIT, parse_amount
from minibot.events.reasons import (
    COOLDOWN_PERIOD,
    LOW_PROFIT_PAIRS,
    MAX_DRAWDOWN,
    STOPLOSS_GUARD,
)
from minibot.events.unit_sizes import MINUTE_MS
from minibot.risk.protections import Protections
from minibot.runtime.configuration.config import load_config
from tests.risk.freqtrade_locks import BEGAN, Case, Closed
from tools.fill_oracle.differences import EngineFailure
from tools.fill_oracle.minibot_trades import PROJECT, output_of
from tools.foreign.environments import environment

RESULT: Final = "RESULT "
EQUITY: Final = 1000
PROFILE: Final = PROJECT / "config" / "nore-demo.v1.json"
EXITS: Final = {
    **{"stop_loss": "stop_loss", "break_even": "stop_loss", "signal_stop": "stop_loss"},
    **{"hard_stop": "stoploss_on_exchange", "trailing_stop": "trailing_stop_loss"},
    **{"take_profit": "roi", "signal_exit": "exit_signal"},
}
"""freqtrade's name of each reason of an exit."""
METHODS: Final = {
    "Cooldown period ": COOLDOWN_PERIOD,
    " stoplosses in ": STOPLOSS_GUARD,
    " passed ": MAX_DRAWDOWN,
    " < ": LOW_PROFIT_PAIRS,
}
"""Words of freqtrade's reasons, each of one method."""


class Lock(NamedTuple):
    """Lock that freqtrade made: number of the trade behind which, pair or all, times in Unix ms."""

    number: int
    scope: str
    from_ts: int
    until_ts: int
    reason: str

    @property
    def code(self) -> str:
        """The reason code of its method."""
        return next(code for words, code in METHODS.items() if words in self.reason)


Locks = Sequence[Lock]


def freqtrade_locks(cases: Sequence[Case], path: Path) -> tuple[str, list[Locks]]:
    """Return freqtrade's version and its locks of each case.

    Args:
        cases: The cases.
        path: A file to write them to, as the script reads them.

    Raises:
        NotInstalled: Its environment cannot be made.
        EngineFailure: It failed, or its answer is none.
    """
    path.write_text(json.dumps([_told(case) for case in cases]), encoding="utf-8")
    words = [str(environment("freqtrade")), "-m", "tools.lock_oracle.protections_script", str(path)]
    lines = output_of("freqtrade", words).splitlines()
    found = [line for line in lines if line.startswith(RESULT)]
    if not found:
        raise EngineFailure(f"freqtrade told no locks: {lines[-5:]}")
    answer = json.loads(found[-1].removeprefix(RESULT))
    return answer["version"], [[Lock(*row) for row in rows] for rows in answer["locks"]]


def _told(case: Case) -> JsonObject:
    """Return a case as the script reads it: freqtrade's profit ratios and limits are floats."""
    floats = ("required_profit", "max_allowed_drawdown")
    return {
        "interval": case.interval,
        "start": float(EQUITY),
        "protections": [
            {key: float(value) if key in floats else value for key, value in row.items()}
            for row in case.protections
        ],
        "trades": [
            [
                *(closed.symbol, closed_ts(closed), EXITS[closed.reason]),
                *(float(closed.ratio), float(closed.profit)),
            ]
            for closed in case.trades
        ],
    }


def closed_ts(closed: Closed) -> int:
    """Return the time of a close, Unix ms."""
    return BEGAN + closed.second * 1000


def as_trade(closed: Closed) -> RoundTrip:
    """Return a trade as minibot has it; its cost follows from its ratio and its profit."""
    ratio, profit = Decimal(closed.ratio), parse_amount(closed.profit)
    spent = int(profit / ratio) if ratio else 100 * UNIT
    trade = RoundTrip(closed.symbol, closed_ts(closed) - MINUTE_MS, spent)
    trade.received, trade.closed_ts, trade.reason = spent + profit, closed_ts(closed), closed.reason
    return trade


def protections_of(case: Case) -> Protections:
    """Return minibot's protections of a case, before its first trade."""
    profile = _profile()
    strategy = profile["strategy"] | {"bar_interval": case.interval}
    risk = profile["risk"] | {"protections": case.protections}
    protections = Protections(profile | {"strategy": strategy, "risk": risk})
    protections.start = EQUITY * UNIT
    return protections


@cache
def _profile() -> JsonObject:
    return load_config(PROFILE).raw


def symbols_of(case: Case) -> list[str]:
    """Return the symbols of a case in alphabetical order."""
    return sorted({closed.symbol for closed in case.trades})


def ends_by_trade(case: Case, locks: Locks) -> list[dict[str, int]]:
    """Return the end of freqtrade's longest lock of each symbol, and of all, behind each trade.

    Ends are in Unix ms, also past ones; 0 for none. A lock of all counts for each symbol.
    """
    ends, made = dict.fromkeys([*symbols_of(case), ALL_SYMBOLS], 0), []
    for number in range(len(case.trades)):
        for lock in locks:
            if lock.number == number:
                scopes = list(ends) if lock.scope == ALL_SYMBOLS else [lock.scope]
                ends |= {scope: max(ends[scope], lock.until_ts) for scope in scopes}
        made.append(dict(ends))
    return made


def compared(case: Case, locks: Locks) -> Iterator[str]:
    """Yield each difference of minibot's locks from freqtrade's, in full."""
    protections = protections_of(case)
    for number, wanted in enumerate(ends_by_trade(case, locks)):
        closed = case.trades[number]
        now = closed_ts(closed)
        protections.on_trade(as_trade(closed))
        left = {
            (code, scope): protections.left(code, scope, now)
            for code in protections.locks
            for scope in wanted
        }
        where = f"{case.name}, {case.interval}, trade {number} {tuple(closed[:5])}"
        for scope, end in wanted.items():
            our = max(ms for (_, one), ms in left.items() if one == scope)
            their = max(0, end - now)
            if our != their:
                yield (
                    f"{where}: minibot locks {scope} for {our} ms, freqtrade for {their} ms"
                    f"\n  minibot: {protections.listed(now)}\n  freqtrade: "
                    f"{[lock for lock in locks if lock.number <= number and lock.until_ts > now]}"
                    f"\n  protections: {case.protections}"
                )
        for lock in locks:
            if lock.number == number and left.get((lock.code, lock.scope), 0) < lock.until_ts - now:
                yield f"{where}: minibot has no lock by {lock.code} as long as {lock}"
