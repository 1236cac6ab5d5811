"""Recording of freqtrade's locks: its file's text compared with an answer, or written anew.

Trades and protections of `tests/risk/freqtrade_locks.py` are written by hand; freqtrade's version
and the locks behind each trade are recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from minibot.events.model import ALL_SYMBOLS
from tests.risk.freqtrade_locks import BEGAN, CASES
from tools.fill_oracle.minibot_trades import PROJECT
from tools.lock_oracle.both_locks import Locks, ends_by_trade

RECORDING: Final = PROJECT / "tests" / "risk" / "freqtrade_locks.py"
VERSION: Final = re.compile(r"(?<=freqtrade )\d{4}\.\d+(\.\d+)?")
LOCKED: Final = re.compile(r"(?<=, )\((\d+(?:, \d+)*),?\)(?=\),$)", re.MULTILINE)
"""The locks at the end of a trade's line."""


def written(text: str, version: str, locks: Sequence[Locks]) -> str:
    """Return the recording's text with a version and freqtrade's locks of all cases.

    Raises:
        ValueError: The text has not one tuple of locks for each trade.
    """
    tuples = iter(
        [
            _locked([end for scope, end in ends.items() if scope != ALL_SYMBOLS])
            for case, made in zip(CASES, locks, strict=True)
            for ends in ends_by_trade(case, made)
        ]
    )
    lines = len(LOCKED.findall(text))
    trades = sum(len(case.trades) for case in CASES)
    if lines != trades:
        raise ValueError(f"{RECORDING.name}: expected {trades} lines of trades, found {lines}")
    return LOCKED.sub(lambda _: next(tuples), VERSION.sub(version, text))


def differences(text: str, version: str, locks: Sequence[Locks]) -> Iterator[str]:
    """Yield each line of the recording that freqtrade's answer would change."""
    anew = written(text, version, locks)
    pairs = zip(text.splitlines(), anew.splitlines(), strict=True)
    for number, (old, new) in enumerate(pairs, 1):
        if old != new:
            yield f"{RECORDING.name}:{number}: expected {new.strip()}, found {old.strip()}"


def _locked(ends: Sequence[int]) -> str:
    seconds = [max(0, end - BEGAN) // 1000 for end in ends]
    return f"({', '.join(map(str, seconds))}{',' if len(seconds) == 1 else ''})"
