"""How far the exchange's clock is ahead of the run's: measured, believed, and watched for drift.

The first measurement is taken as it is: a recording's clock may be seconds off, and bars need it. A
jump is believed when a second measurement confirms it, and is an incident. Small differences are
followed; where they add up to more than a jump may have, one of the two clocks runs wrong. So it
does where a measurement finds an hour or more, and the next one does as well.
"""

from __future__ import annotations

from minibot.events import reasons
from minibot.events.names import MARKET_ROLE
from minibot.kernel.errors import RunStop

# No recording and no machine that somebody looks after is so far off: bars are of another hour.
FAR_MS = 3_600_000


class ClockSkew:
    """The believed skew of one run, in milliseconds.

    Args:
        max_ms: What may lie between two measurements, and what small steps may add up to.

    Attributes:
        ms: What is believed; 0 before the first measurement.
        is_far: Whether the last measurement was an hour off or more, which the next has to deny.
    """

    def __init__(self, max_ms: int) -> None:
        self.ms = 0
        self._max_ms = max_ms
        self._measured_ms: int | None = None
        self._drift_from_ms = 0
        self.is_far = False

    def take(self, skew_ms: int) -> str:
        """Take a measurement; return what is to be told of it, empty for nothing.

        Raises:
            RunStop: CLOCK_JUMP, the clocks are an hour apart, or small steps have added up to more
                than is allowed.
        """
        if abs(skew_ms) >= FAR_MS:
            return self._take_far(skew_ms)
        self.is_far = False
        before, self._measured_ms = self._measured_ms, skew_ms
        was_ms = self.ms
        told = f"the exchange's clock is {skew_ms} ms ahead, was {was_ms} ms"
        if before is None:
            self.ms = self._drift_from_ms = skew_ms
            return told if abs(skew_ms) > self._max_ms else ""
        if abs(skew_ms - was_ms) > self._max_ms:
            if abs(skew_ms - before) <= self._max_ms:
                self.ms = self._drift_from_ms = skew_ms
            return told
        self.ms = skew_ms
        drift_ms = skew_ms - self._drift_from_ms
        if abs(drift_ms) > self._max_ms:
            raise RunStop(
                MARKET_ROLE,
                reasons.CLOCK_JUMP,
                f"the exchange's clock has drifted by {drift_ms} ms, {self._max_ms} allowed: "
                f"{skew_ms} ms ahead, {self._drift_from_ms} ms at first",
            )
        return ""

    def _take_far(self, skew_ms: int) -> str:
        """Take a measurement that one of both clocks is wrong by; the second in a row stops."""
        told = f"the exchange's clock is {skew_ms} ms off ours, less than {FAR_MS} allowed"
        if self.is_far:
            raise RunStop(MARKET_ROLE, reasons.CLOCK_JUMP, f"{told}; measured twice")
        self.is_far = True
        return f"{told}; it is measured again"
