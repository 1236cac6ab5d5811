"""Check minibot's ratios against those of quantstats on the same returns.

    python3 tools/with_env.py -m tools.quantstats_check            ask quantstats anew
    python3 tools/with_env.py -m tools.quantstats_check --write    and keep what it said for tests

quantstats brings pandas, scipy, matplotlib and a downloader of prices, half a gigabyte. It lives in
its own environment below `var/bench`, made on demand from `tools/quantstats.lock`, and no test
needs it. Its last answer is kept in `tests/fixtures/quantstats/figures.json`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minibot.backtest.report import ratios

PROJECT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = PROJECT / "tools" / "quantstats.lock"
ANSWERS: Final = PROJECT / "tests" / "fixtures" / "quantstats" / "figures.json"
HOME: Final = PROJECT / "var" / "bench" / "quantstats"
TOLERANCE: Final = 1e-9
SCALE: Final = 10**12

Json = dict[str, Any]


def series() -> Iterator[Json]:
    """Yield series of returns: calm, wild, rising, falling, short, with idle days."""
    shapes = (
        ("calm", 365, 240, 0.002, 0.0),
        ("wild", 365, 240, 0.2, 0.0),
        ("rising", 365, 120, 0.02, 0.004),
        ("falling", 365, 120, 0.02, -0.004),
        ("hours", 8760, 500, 0.003, 0.0),
        ("short", 365, 10, 0.01, 0.0),
    )
    for name, per_year, count, width, lean in shapes:
        returns = [lean + width * (share - 0.5) for share in _shares(name, count)]
        yield {"name": name, "per_year": per_year, "returns": returns}
    idle = [value if at % 3 else 0.0 for at, value in enumerate(_shares("idle", 90))]
    returns = [0.01 * (value - 0.5) if value else 0.0 for value in idle]
    yield {"name": "idle days", "per_year": 365, "returns": returns}


def _shares(seed: str, count: int) -> list[float]:
    """Return numbers between 0 and 1 that are the same on every machine."""
    found = []
    for at in range(count):
        digest = hashlib.sha256(f"{seed}:{at}".encode()).digest()
        found.append(int.from_bytes(digest[:6], "big") % 10**6 / 10**6)
    return found


def ours(case: Json) -> dict[str, float | None]:
    """Return minibot's figures on the same returns, under quantstats' names for them."""
    returns, per_year = case["returns"], case["per_year"]
    # Trades have amounts and days have returns; the formula is the same, without zeros.
    results = [round(value * SCALE) for value in returns if value]
    return {
        "sharpe": ratios.sharpe(returns, per_year),
        "sortino": ratios.sortino(returns, per_year),
        "volatility": ratios.volatility(returns, per_year),
        "cagr": ratios.cagr(returns, per_year),
        "calmar": ratios.calmar(returns, per_year),
        "drawdown": ratios.drawdown(returns),
        "compounded": ratios.compounded(returns),
        "win_rate": ratios.win_rate(results),
        "reward_risk": ratios.reward_risk(results),
        "profit_factor": ratios.profit_factor(results),
    }


def differences(answers: Json) -> list[str]:
    """Return a sentence for each figure that differs."""
    found = []
    for case, theirs in zip(answers["cases"], answers["figures"], strict=True):
        for name, value in ours(case).items():
            other = theirs[name]
            if value is None or other is None:
                same = value is other
            else:
                same = abs(value - other) <= TOLERANCE * max(1.0, abs(other))
            if not same:
                found.append(f"{case['name']}, {name}: minibot {value}, quantstats {other}")
    return found


def ask(python: Path) -> Json:
    """Return quantstats' figures of every series."""
    cases = list(series())
    done = subprocess.run(
        [str(python), str(PROJECT / "tools" / "quantstats_figures.py")],
        input=json.dumps(cases), capture_output=True, text=True, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    return {"quantstats": said["version"], "cases": cases, "figures": said["figures"]}


def environment() -> Path:
    """Return the interpreter that has quantstats; make its environment where it is missing."""
    python = HOME / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    stamp = HOME / "stamp"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest() + sys.version
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(HOME, ignore_errors=True)
    venv.create(python.parent.parent, with_pip=True)
    words = ["-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", str(LOCK)]
    subprocess.run([str(python), *words], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def main(argv: Sequence[str] | None = None) -> int:
    """Compute and compare; return 0 when all figures are the same, else 1."""
    parser = argparse.ArgumentParser(description="compare minibot's ratios with quantstats")
    parser.add_argument("--python", type=Path, help="an interpreter that has quantstats")
    parser.add_argument("--write", action="store_true", help="keep its answers for the tests")
    arguments = parser.parse_args(argv)
    answers = ask(arguments.python or environment())
    found = differences(answers)
    print("\n".join(found))
    count = sum(len(figures) for figures in answers["figures"])
    print(f"{count - len(found)} of {count} figures as quantstats {answers['quantstats']} has them")
    if arguments.write and not found:
        ANSWERS.parent.mkdir(parents=True, exist_ok=True)
        ANSWERS.write_text(json.dumps(answers, indent=1) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
