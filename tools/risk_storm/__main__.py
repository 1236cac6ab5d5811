"""Storm hostile nights against risk and execution, and count what must never happen.

    python3 tools/with_env.py -m tools.risk_storm --events 10000000 --seed 1
    python3 tools/with_env.py -m tools.risk_storm --seed 1 --night 17       one night again, told

A night has a profile of its own, a wild market, a strategy that floods, repeats and asks for
symbols that do not exist, an operator, late and doubled inputs, clock jumps, halts and new filters.
It is played twice with the same inputs, the second time with restarts at any moment. The last line
says `N events, V violations`; exit code 1 where V is not 0. The line before the last two names
the reasons of risk's gates that nothing was refused or left for.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from minibot import risk
from minibot.events.names import EXECUTION_ROLE, RISK_ROLE
from minibot.kernel.errors import InvariantError
from minibot.risk.checks import Gate
from tools.risk_storm.desk import Desk
from tools.risk_storm.nights import Weather
from tools.risk_storm.profiles import drawn_profile
from tools.risk_storm.watch import RESTART, Watch

INPUTS: Final = 2_500
"""Inputs of a night."""
SHOWN_MAX: Final = 10


class Night(NamedTuple):
    """Outcome of one night: its events, violations, and how often what was seen."""

    events: int
    found: list[str]
    seen: dict[str, int]


def play(seed: int, number: int, inputs: int = INPUTS) -> Night:
    """Play a night, without restarts and with them; the same seed and number give the same one."""
    rng = random.Random(f"{seed}:{number}")
    config = drawn_profile(rng)
    given = list(Weather(config, rng, inputs).inputs())
    is_late, late_seed = rng.random() < 0.5, rng.random()
    watch = Watch(config)
    plain = Desk(config, random.Random(late_seed), is_late=is_late, watcher=watch)
    cut = Desk(
        config,
        random.Random(late_seed),
        is_late=is_late,
        restarts=random.Random(rng.random()),
    )
    for desk in (plain, cut):
        try:
            for each in given:
                desk.take(each)
            desk.settle()
        except InvariantError as error:
            watch.found.append(f"a core broke: {error}")
            return Night(plain.events, watch.found, watch.seen)
    watch.require_books(plain.cores[RISK_ROLE], plain.cores[EXECUTION_ROLE])
    if plain.records != cut.records:
        watch.found.append(f"{RESTART}: {_difference(plain, cut)}")
    return Night(plain.events, watch.found, watch.seen)


def gates() -> set[str]:
    """Return the reason codes of all gates that stand in risk's modules."""
    found: set[str] = set()
    for info in pkgutil.iter_modules(risk.__path__):
        for value in vars(importlib.import_module(f"{risk.__name__}.{info.name}")).values():
            for gate in value.values() if isinstance(value, dict) else (value,):
                if isinstance(gate, Gate):
                    found |= {gate.reason, gate.cuts}
    return found - {""}


def _difference(plain: Desk, cut: Desk) -> str:
    """Return the first message that differs."""
    pairs = zip(plain.records, cut.records, strict=False)
    for number, (first, second) in enumerate(pairs, 1):
        if first != second:
            return f"message {number} is {first} without, {second} with restarts"
    return f"{len(plain.records)} messages without, {len(cut.records)} with restarts"


def main(argv: Sequence[str] | None = None) -> int:
    """Play nights until enough events have passed; return the exit code."""
    parser = argparse.ArgumentParser(prog="tools.risk_storm", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=300_000, help="how many at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--night", type=int, help="this one alone")
    parser.add_argument("--seen", action="store_true", help="also how often what happened")
    words = parser.parse_args(argv)
    begun_s, events, violations, played = time.monotonic(), 0, 0, 0
    seen: Counter[str] = Counter()
    numbers = iter(range(10**9)) if words.night is None else iter([words.night])
    for number in numbers:
        night = play(words.seed, number)
        played += 1
        events += night.events
        seen.update(night.seen)
        for text in night.found[:SHOWN_MAX]:
            print(f"seed {words.seed}, night {number}: {text}")
        violations += len(night.found)
        if events >= words.events:
            break
    if words.seen:
        for what, times in sorted(seen.items()):
            print(f"{times:9,}  {what}")
    seconds = time.monotonic() - begun_s
    silent = sorted(gates() - {what.rpartition(" ")[2] for what in seen})
    print("never fired: " + (", ".join(silent) or "none of risk's gates"))
    drawn = f"{played:,} nights drawn by seed {words.seed}"
    print(f"{drawn}, {seconds:.1f} s, {events / seconds:,.0f} events a second")
    print(f"{events:,} events, {violations:,} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
