"""Compare minibot's locks with those of freqtrade's own protections, trade by trade.

    python3 tools/with_env.py -m tools.lock_oracle                         recorded and drawn trades
    python3 tools/with_env.py -m tools.lock_oracle --seed 7 --count 2000   other drawn ones
    python3 tools/with_env.py -m tools.lock_oracle --check                 and the recording
    python3 tools/with_env.py -m tools.lock_oracle --write                 record freqtrade's locks

The recording is `tests/risk/freqtrade_locks.py`. Behind each closed trade both must lock every
symbol, and all, until the same time, and each lock of freqtrade must be one of the same method. The
lock of a pair to the end of its bar, which freqtrade's bot sets beside protections, is left out.
The last line says `N protections, M trades, K locks, D unexplained`. Exit code 1: a difference,
printed in full; 2: freqtrade cannot be installed or failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from minibot.kernel.files import write_atomic
from tests.risk.freqtrade_locks import CASES
from tools.fill_oracle.differences import EngineFailure
from tools.foreign.environments import NotInstalled
from tools.lock_oracle.both_locks import compared, freqtrade_locks
from tools.lock_oracle.drawn_cases import drawn_cases
from tools.lock_oracle.locks_recording import RECORDING, differences, written

DIFFERENT: Final = 1
FAILED: Final = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Compare, and print the differences; exit code as the module says."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        prog="python3 tools/with_env.py -m tools.lock_oracle",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=1, help="of the drawn trades (1)")
    parser.add_argument("--count", type=int, default=300, help="how many are drawn (300)")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare the recording, too")
    choice.add_argument("--write", action="store_true", help="write the recording")
    options = parser.parse_args(argv)
    cases = [*CASES, *drawn_cases(options.seed, options.count)]
    try:
        with tempfile.TemporaryDirectory() as name:
            version, locks = freqtrade_locks(cases, Path(name) / "cases.json")
    except (EngineFailure, NotInstalled) as error:
        print(error, file=sys.stderr)
        return FAILED
    found = [line for pair in zip(cases, locks, strict=True) for line in compared(*pair)]
    recorded = locks[: len(CASES)]
    if options.check:
        found += differences(RECORDING.read_text(encoding="utf-8"), version, recorded)
    if options.write:
        text = written(RECORDING.read_text(encoding="utf-8"), version, recorded)
        write_atomic(RECORDING, text.encode())
    print(f"freqtrade {version}", *found, sep="\n")
    sums = (
        f"{sum(len(case.protections) for case in cases)} protections",
        f"{sum(len(case.trades) for case in cases)} trades",
        f"{sum(map(len, locks))} locks",
        f"{len(found)} unexplained",
    )
    print(", ".join(sums))
    return DIFFERENT if found else 0


if __name__ == "__main__":
    sys.exit(main())
