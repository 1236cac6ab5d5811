"""Attacks on memory: a user's strategy that takes all memory it can get."""

from __future__ import annotations

import time
from typing import Final

import psutil

from minibot.strategies.trial import WAVE
from tools.attacks.first_seconds import BRIEF, unproven
from tools.attacks.frame import Found, Lab, attack, stops_of

MB: Final = 1024 * 1024
LIMIT_MB: Final = 400
LOOK_S: Final = 0.005
# More ticks than the trial before a night shows (a trade and a quote at each price), so that the
# night itself has to end.
AFTER_TICKS: Final = 2 * len(WAVE) + 50
STRATEGY: Final = '''"""A strategy that hoards what it sees."""

from minibot.strategies.protocol import Decision, Settings, Strategy, Tick, View


class Hoard(Strategy):
    """Keeps {size} characters more at each tick, once it has seen some."""

    def __init__(self, settings: Settings) -> None:
        """Start with nothing."""
        self.seen = 0
        self.kept: list[str] = []

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Take a tick, and memory."""
        self.seen += 1
        if self.seen > {after}:
            self.kept.append("x" * {size})
        return None
'''


def hoarding(lab: Lab, size: int) -> Found:
    """Let the strategy hoard the given bytes at each tick; return the peak of its process."""
    folder = lab.folder / "strategies"
    folder.mkdir()
    (folder / "hoard.py").write_text(STRATEGY.format(size=size, after=AFTER_TICKS))
    night = lab.start_night(
        {
            "strategy.name": "hoard",
            "strategy.folder": str(folder),
            "watchdog.rss_mb_max": str(LIMIT_MB),
        }
    )
    most: dict[int, int] = {}
    process = None
    while night.process.poll() is None:
        if process is None or not process.is_running():
            process = night.roles().get("strategy_role")
        try:
            if process is not None:
                most[process.pid] = max(most.get(process.pid, 0), process.memory_info().rss)
        except psutil.Error:
            process = None
        time.sleep(LOOK_S)
    done = night.done()
    findings = unproven(lab, done, BRIEF)
    held = max(most.values(), default=0) // MB
    if held >= 2 * LIMIT_MB:
        findings.append(f"it held {held} MB, {LIMIT_MB} allowed")
    codes = [stop["reason_code"] for stop in stops_of(lab.var)]
    if done.code != 10:
        findings.append(f"it ended with {codes}: {done.last_words()}")
    said = "; ".join(findings) or f"{codes} after {held} MB at most, {LIMIT_MB} allowed"
    return Found(said, done.code, not findings)


@attack("C22", "a strategy takes 20 MB more at each tick", "ended before twice its limit, a STOP")
def memory_taken_bit_by_bit(lab: Lab) -> Found:
    """Hoard in small pieces, which only the launcher's memory check can stop."""
    return hoarding(lab, 20 * MB)


@attack("C22", "a strategy takes 3 GB at once", "refused by the system, a STOP, never twice")
def memory_taken_at_once(lab: Lab) -> Found:
    """Hoard in one piece, faster than any check could notice."""
    return hoarding(lab, 3000 * MB)
