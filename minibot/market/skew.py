"""Clock skew: how far the exchange's clock is ahead of the run's, measured and watched for drift.

The first measurement is taken as it is: a recording's clock may be seconds off, and bars need it.
So is the first one after a pause, in which the run's clock may have stood still. A jump is believed
when a second measurement confirms it, and is an incident. Small differences are followed; when they
add up to more than a jump may have, one of the two clocks runs wrong. The same holds when two
measurements in a row find an hour or more.

The exchange wrote its time anywhere in the round trip of its answer, so a measurement is wrong by
up to half of that: a difference that this explains changes nothing.
"""

from __future__ import annotations

from minibot.events import reasons
from minibot.events.names import MARKET_ROLE
from minibot.kernel.errors import RunStop

# No recording and no maintained machine is this far off: bars would fall into another hour.
FAR_MS = 3_600_000


class ClockSkew:
    """The believed skew of one run, in milliseconds.

    Args:
        max_ms: Largest difference between two measurements, and largest sum of small steps.

    Attributes:
        ms: The believed skew; 0 before the first measurement.
        unsure_ms: By how much it may have been wrong when it was measured.
        is_far: Whether the last measurement was an hour off or more; the next has to deny it.
    """

    def __init__(self, max_ms: int) -> None:
        self.ms = self.unsure_ms = 0
        self._max_ms = max_ms
        self._measured_ms: int | None = None
        self._drift_from_ms = 0
        self.is_far = False

    @property
    def is_awaited(self) -> bool:
        """True until a first measurement is taken: of the run, or after a pause."""
        return self._measured_ms is None

    def expect_jump(self) -> None:
        """Take the next measurement as a first one: the run's clock may have stood still."""
        self._measured_ms = None

    def take(self, skew_ms: int, unsure_ms: int = 0) -> str:
        """Take a measurement; return the text of an incident, empty for none.

        Args:
            skew_ms: How far the exchange's clock is ahead.
            unsure_ms: Half the round trip.

        Raises:
            RunStop: CLOCK_JUMP, the clocks are an hour apart, or small steps have added up to more
                than is allowed.
        """
        if abs(skew_ms) >= FAR_MS:
            return self._take_far(skew_ms)
        self.is_far = False
        before, self._measured_ms = self._measured_ms, skew_ms
        was_ms = self.ms
        text = f"the exchange's clock is {skew_ms} ms ahead, was {was_ms} ms"
        if before is None:
            self._believe_anew(skew_ms, unsure_ms)
            return text if abs(skew_ms - was_ms) > self._max_ms else ""
        apart_ms = abs(skew_ms - was_ms)
        if apart_ms <= unsure_ms and unsure_ms >= self.unsure_ms:
            return ""
        if apart_ms > self._max_ms:
            if abs(skew_ms - before) <= self._max_ms:
                self._believe_anew(skew_ms, unsure_ms)
            return text
        if was_ms == self._drift_from_ms and apart_ms <= self.unsure_ms:
            # A better measurement of the first skew is no drift.
            self._believe_anew(skew_ms, unsure_ms)
            return ""
        self.ms, self.unsure_ms = skew_ms, unsure_ms
        drift_ms = skew_ms - self._drift_from_ms
        if abs(drift_ms) > self._max_ms:
            raise RunStop(
                MARKET_ROLE,
                reasons.CLOCK_JUMP,
                f"the exchange's clock has drifted by {drift_ms} ms, {self._max_ms} allowed: "
                f"{skew_ms} ms ahead, {self._drift_from_ms} ms at first",
            )
        return ""

    def _believe_anew(self, skew_ms: int, unsure_ms: int) -> None:
        self.ms = self._drift_from_ms = skew_ms
        self.unsure_ms = unsure_ms

    def _take_far(self, skew_ms: int) -> str:
        """Take a measurement that is an hour off or more; the second in a row stops the run."""
        text = f"the exchange's clock is {skew_ms} ms off ours, less than {FAR_MS} allowed"
        if self.is_far:
            raise RunStop(MARKET_ROLE, reasons.CLOCK_JUMP, f"{text}; measured twice")
        self.is_far = True
        return f"{text}; it is measured again"
