"""Evenings: a night at the same local time of every day, each in a separate process.

A night that did not end with exit code 0 is the last: nothing restarts a STOPPED night, and a
refused or unproven one needs a person. Each night is a new process, so that it runs the code that
is deployed by then; this process holds nothing but the time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from types import FrameType
from typing import Final, Protocol

from minibot import listed
from minibot.cli.main import STOPPED
from minibot.environment import private_folder
from minibot.events.unit_sizes import HOUR_MS, SECOND_MS
from minibot.kernel.threads import SignalEvent
from minibot.report.figures import short_duration
from minibot.runtime.interpreter import program, program_environ

GRACE: Final = timedelta(minutes=1)
"""How long after the time of the evening a start still begins at once."""

LATE_MAX_MS: Final = HOUR_MS
"""Lateness, as after a suspended machine, beyond which an evening is left out."""

STEP_S: Final = 5.0
"""Longest wait between two looks at the clock, which may be set, in seconds."""

_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
# Days around a moment among which the next evening is found, whatever a zone skips or repeats.
_DAYS: Final = range(-1, 4)


def time_of_day(text: str) -> time | None:
    """Return the time that HH:MM names; None if it names none."""
    found = _TIME.fullmatch(text.strip())
    return None if found is None else time(int(found[1]), int(found[2]))


def evening_of(day: date, at: time, zone: tzinfo) -> datetime:
    """Return the one moment of a local day at which its night begins, in UTC.

    Where clocks are set back, a time that the day has twice means the first of them. Where they are
    set forward, a time that the day lacks moves by the same step: 02:30 becomes 03:30.
    """
    return datetime.combine(day, at, zone).replace(fold=0).astimezone(UTC)


def next_evening(after: datetime, at: time, zone: tzinfo) -> datetime:
    """Return the first evening that begins after a moment, in UTC."""
    day = after.astimezone(zone).date()
    evenings = (evening_of(day + timedelta(days=number), at, zone) for number in _DAYS)
    return min(evening for evening in evenings if evening > after)


class Clock(Protocol):
    """Clock of the chain, which also says when a person ends it."""

    def now(self) -> datetime:
        """Return the moment, in UTC."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether the chain is to end."""
        ...


@dataclass(frozen=True, slots=True)
class Evenings:
    """Plan of a chain of nights.

    Attributes:
        at: Local time at which each begins.
        zone: The zone of that time.
        words: Command line of one night, its verb first.
        carries: Whether later nights start from the account that the night before left.
    """

    at: time
    zone: tzinfo
    words: Sequence[str]
    carries: bool

    def night(self, number: int) -> list[str]:
        """Return the command line of a night by its number, from 0."""
        carry = ["--set", "portfolio.start_from=carry"] if self.carries and number else []
        return [*self.words, *carry]

    def shown(self, moment: datetime) -> str:
        """Return a moment in the zone, for people."""
        return f"{moment.astimezone(self.zone):%Y-%m-%d %H:%M %Z}"


def chain(
    plan: Evenings, clock: Clock, night: Callable[[Sequence[str]], int], say: Callable[[str], None]
) -> int:
    """Play nights until one does not end in order, or a person ends the chain.

    Args:
        plan: The times and the command lines of the nights.
        clock: Clock of the chain; its `wait` returns True once the chain is to end.
        night: Plays a night from its command line and returns its exit code.
        say: Prints one line for the operator.

    Returns:
        The exit code of the last night, also if a person ended the chain; 0 without a night.
    """
    number, planned = 0, clock.now() - GRACE
    while True:
        # Each evening follows the one before: none comes twice, should the clock be set back.
        planned = next_evening(planned, plan.at, plan.zone)
        left_ms = round((planned - clock.now()).total_seconds() * SECOND_MS)
        if left_ms < -LATE_MAX_MS:
            say(f"missed: {plan.shown(planned)}; the night before took too long")
            continue
        say(
            f"next night: {plan.shown(planned)}, in {short_duration(left_ms)}; Ctrl-C ends the wait"
        )
        while (left_s := (planned - clock.now()).total_seconds()) > 0:
            if clock.wait(min(left_s, STEP_S)):
                say("ended by the operator before the night began; none follows")
                return 0
        if -left_s * SECOND_MS > LATE_MAX_MS:
            say(f"missed: {plan.shown(planned)}; the machine slept, or the clock was set")
            continue
        code = night(plan.night(number))
        number += 1
        if code != 0:
            how = "STOPPED" if code == STOPPED else f"ended with exit code {code}"
            say(f"the night {how}; no other follows it. See: minibot status")
            return code
        if clock.wait(0):
            say("ended by the operator; no night follows")
            return 0


class SystemClock:
    """Clock of this machine; a signal ends the chain, and reaches the night that goes on."""

    def __init__(self) -> None:
        self._ended = SignalEvent()
        self._process: subprocess.Popen[bytes] | None = None

    def now(self) -> datetime:
        """Return the moment, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return whether a signal has ended the chain."""
        return self._ended.wait(seconds)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take the signals that end a run while the block lasts; not a hang-up that is ignored."""
        names = ["SIGINT", "SIGTERM", "SIGBREAK"]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            names.append("SIGHUP")
        numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        previous = {number: signal.signal(number, self._note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._ended.set()
        process = self._process
        # A second signal is a STOP, so a night that got one from the terminal gets no other.
        if process is not None and not from_terminal(number):
            with suppress(OSError):
                process.send_signal(number)

    def play(self, words: Sequence[str]) -> int:
        """Play one night as a process on this terminal and return its exit code."""
        argv, private = night_argv(words)
        try:
            process = subprocess.Popen(argv, env={**os.environ, **program_environ()})
            self._process = process
            try:
                return _exit_code(process.wait())
            finally:
                self._process = None
        finally:
            if private is not None:
                listed.remove(private)


def night_argv(words: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the command that starts a new night, and its private folder under a code list.

    The list of code is read again, from what is deployed by then.
    """
    if not listed.is_on:
        return [program(), "-m", "minibot", *words], None
    private = private_folder()
    script = os.path.abspath(listed.__file__)
    return [
        *(program(), "-u", "-X", "utf8", *listed.flags(private)),
        *(script, "minibot", *words),
    ], private


if sys.platform == "win32":

    def from_terminal(number: int) -> bool:
        """Return True: a console signals all of its processes at once."""
        return True

else:

    def from_terminal(number: int) -> bool:
        """Return whether a signal may be the terminal's, which signals its whole group at once.

        An interrupt by `kill` of a chain in the foreground looks the same: the night goes on to its
        end, and is the last.
        """
        if number not in (signal.SIGINT, signal.SIGHUP):
            return False
        try:
            terminal = os.open("/dev/tty", os.O_RDONLY)
        except OSError:
            return False
        try:
            return os.tcgetpgrp(terminal) == os.getpgrp()
        except OSError:
            return False
        finally:
            os.close(terminal)


def _exit_code(code: int) -> int:
    """Return a process's exit code as a shell shows it, also if a signal killed the process."""
    return code if code >= 0 else 128 - code
