"""Run whole nights of drawn profiles, each of which has to be proven afterwards.

    python3 tools/with_env.py -m tools.drawn_nights --count 100 --seed 1
    python3 tools/with_env.py -m tools.drawn_nights --seed 1 --number 17     one again

A night has a profile of its own (`tools.risk_storm.profiles`), a strategy that wishes for anything
or a shipped one, one to three symbols of the synthetic market, and two or four minutes of market
time at five to twenty times the speed. Its processes are those of a user. It has to end as planned
or by a limit of risk; `verify` and `replay` at its end, and `parity` afterwards, have to find no
difference. The last line says `N nights, F fills, D differences`; exit code 1 where D is not 0.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.events.names import FILLS
from minibot.events.reasons import DURATION_REACHED, RISK_LIMIT
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import config_with
from minibot.runtime.paths import PROJECT
from tools.drawn_backtests.markets import leave_gates_out, strategy_keys
from tools.risk_storm.profiles import DRAWS_MAX, drawn_profile

STRATEGIES: Final = (
    *("wild", "wild", "wild", "wild", "rsi_band"),
    *("maker_grid", "dca", "trail_pullback", "ema_cross", "nore_strategy_v1"),
)
SYMBOLS: Final = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
ENDS: Final = frozenset({DURATION_REACHED, RISK_LIMIT})
COMMAND_S_MAX: Final = 600.0
SAID_MAX: Final = 300


def drawn(rng: random.Random) -> JsonObject:
    """Return a drawn profile; one that `config check` refuses is drawn again.

    Raises:
        ConfigError: Fifty draws in a row were refused.
    """
    for left in range(DRAWS_MAX, 0, -1):
        raw = drawn_profile(rng)
        leave_gates_out(rng, raw)
        keys = strategy_keys(rng, rng.choice(STRATEGIES)) | _market(rng)
        sets = [f"{name}={json.dumps(value)}" for name, value in keys.items()]
        try:
            profile = config_with(raw, sets).raw
        except ConfigError:
            if left == 1:
                raise
            continue
        profile["strategy"].pop("source", None)  # A night writes it from the strategy's file.
        return profile
    raise AssertionError("no draw was made")


def _market(rng: random.Random) -> JsonObject:
    keys: JsonObject = {
        "duration_ms": rng.choice([120_000, 240_000]),
        "embedded.source": f"generator:{rng.randint(1, 99)}",
        "embedded.speed": rng.choice(["5", "10", "20"]),
        "binance.symbols": list(SYMBOLS[: rng.randint(1, len(SYMBOLS))]),
        "risk.tick_age_ms_max": 60_000,
        "execution.tick_age_ms_max": 60_000,
    }
    # Without closed trades Kelly's share is the least, with which most orders are too small.
    if rng.random() < 0.7:
        keys["risk.sizing"] = "share"
    # What a few fees cost: risk stops such a night.
    if rng.random() < 0.2:
        keys |= {"risk.drawdown_bps_soft": 1, "risk.drawdown_bps_hard": 2}
    return keys


def play(seed: int, number: int, var: Path) -> tuple[int, list[str]]:
    """Run a night on an empty `var`; return its fills and what differs from a proven night."""
    profile = var / "profile.json"
    profile.write_text(json.dumps(drawn(random.Random(f"nights:{seed}:{number}"))))
    code, said = _command("night", "--config", str(profile), "--quiet", var=var)
    return _fills(var), [*_complaints(code, said), *proven(var)]


def proven(var: Path) -> Iterator[str]:
    """Yield what `parity` says against the last run of a `var`."""
    code, said = _command("parity", "latest", var=var)
    if code or not said.get("identical"):
        yield f"parity: exit code {code}: {said.get('text', 'not identical')}"


def _complaints(code: int, said: JsonObject) -> Iterator[str]:
    """Yield what is wrong with the end of a night, by its exit code and its document."""
    reason = said.get("reason_code")
    if reason not in ENDS or (code == 0) != (reason == DURATION_REACHED):
        yield f"night: exit code {code}, {reason}: {said.get('detail') or said.get('text')}"
    for name, key in (("verify", "clean"), ("replay", "identical")):
        if not (said.get(name) or {}).get(key):
            yield f"{name} at the end: not {key}"


def _command(*words: str, var: Path) -> tuple[int, JsonObject]:
    """Return exit code and JSON document of a command; its text where it gave none."""
    argv = [sys.executable, "-m", "minibot", *words, "--json", "--var", str(var)]
    done = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=COMMAND_S_MAX
    )
    try:
        found: Any = json.loads(done.stdout)
    except ValueError:
        found = {"text": (done.stdout + done.stderr)[-SAID_MAX:]}
    return done.returncode, found


def _fills(var: Path) -> int:
    lines = (
        path.read_bytes().count(b"\n") for path in var.glob(f"runs/*/queues/{FILLS}/inbox.jsonl")
    )
    return sum(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run so many drawn nights; return the exit code."""
    about = "run whole nights of drawn profiles, each of which has to be proven afterwards"
    parser = argparse.ArgumentParser(prog="tools.drawn_nights", description=about)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--number", type=int, help="this one alone")
    words = parser.parse_args(argv)
    numbers = range(words.count) if words.number is None else [words.number]
    begun_s, fills, differences = time.monotonic(), 0, 0
    for number in numbers:
        with TemporaryDirectory() as folder:
            traded, found = play(words.seed, number, Path(folder))
        fills += traded
        differences += len(found)
        for text in found:
            print(f"seed {words.seed}, number {number}: {text}", flush=True)
    print(f"drawn by seed {words.seed}: {time.monotonic() - begun_s:.1f} s")
    print(f"{len(numbers):,} nights, {fills:,} fills, {differences:,} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
