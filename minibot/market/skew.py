"""How far the exchange's clock is ahead of the run's: measured, believed, and watched for drift.

The first measurement is taken as it is: a recording's clock may be seconds off, and bars need it. A
jump is believed when a second measurement confirms it, and is an incident. Small differences are
followed; where they add up to more than a jump may have, one of the two clocks runs wrong.
"""

from __future__ import annotations

from minibot.events import reasons
from minibot.kernel.errors import RunStop


class ClockSkew:
    """The believed skew of one run, in milliseconds.

    Args:
        max_ms: What may lie between two measurements, and what small steps may add up to.

    Attributes:
        ms: What is believed; 0 before the first measurement.
    """

    def __init__(self, max_ms: int) -> None:
        self.ms = 0
        self._max_ms = max_ms
        self._measured_ms: int | None = None
        self._drift_from_ms = 0

    def take(self, skew_ms: int) -> str:
        """Take a measurement; return what is to be told of it, empty for nothing.

        Raises:
            RunStop: CLOCK_JUMP, small steps have added up to more than is allowed.
        """
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
                "market_role",
                reasons.CLOCK_JUMP,
                f"the exchange's clock has drifted by {drift_ms} ms, {self._max_ms} allowed: "
                f"{skew_ms} ms ahead, {self._drift_from_ms} ms at first",
            )
        return ""
