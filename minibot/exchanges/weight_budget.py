"""The budget of request weight that all requests of a process share.

Limits of a venue are per address, not per connection. Times come in as values (market time in
milliseconds). Nothing here outlives the process: the market role keeps the end of a silence.
"""

from __future__ import annotations

from minibot.events.unit_sizes import MINUTE_MS


class WeightBudget:
    """Request weight of this address, kept below a share of the venue's limit.

    The venue's own count comes with every answer, and includes other programs of the address. While
    requests are under way it only raises ours (`answered`); with none, it replaces ours, lower or
    higher (`reported`). Both are of a minute of the venue's clock: a new one begins with the weight
    under way, so that any call may find ours lower.

    Attributes:
        skew_ms: How far that clock is ahead of the one that gives the times here.
    """

    def __init__(self, share_max_percent: int, limit_per_minute: int) -> None:
        self.share_max_percent = share_max_percent
        self.limit_per_minute = limit_per_minute
        self.used = 0
        self.skew_ms = 0
        self.silent_until_ms = 0
        self._minute = 0
        self._under_way = 0

    @property
    def allowed(self) -> int:
        """Weight that may be used in one minute."""
        return self.limit_per_minute * self.share_max_percent // 100

    def wait_ms(self, now_ms: int, weight: int, share_percent: int = 100) -> int:
        """Return how long to wait before a request of this weight; 0 when it may go now.

        A silence is waited out first; else it is the rest of the venue's minute. `share_percent` is
        how much of the allowed weight such requests may use together.
        """
        if now_ms < self.silent_until_ms:
            return self.silent_until_ms - now_ms
        self._turn(now_ms)
        # Without a silence, a request heavier than the whole share goes if nothing was used in this
        # minute.
        if self.used and self.used + weight > self.allowed * share_percent // 100:
            return MINUTE_MS - (now_ms + self.skew_ms) % MINUTE_MS
        return 0

    def lack(self, now_ms: int, weight: int, share_percent: int = 100) -> str:
        """Return why a request of this weight has to wait; empty if it may go now."""
        if not self.wait_ms(now_ms, weight, share_percent):
            return ""
        if now_ms < self.silent_until_ms:
            return f"the exchange wants no request before {self.silent_until_ms}"
        return f"{self.used} of {self.allowed} allowed request weight is used in this minute"

    def sent(self, now_ms: int, weight: int) -> None:
        """Count a request just sent, for a caller with only one under way at a time."""
        self._turn(now_ms)
        self.used += weight

    def reported(self, now_ms: int, used: int) -> None:
        """Take the venue's own count of this minute as it is, while no request is under way."""
        self._turn(now_ms)
        self.used = used

    def begin(self, now_ms: int, weight: int) -> int:
        """Count a request that is about to be sent, in addition to others; `answered` ends it.

        Returns:
            The minute in which it is sent, for `answered`.
        """
        self.sent(now_ms, weight)
        self._under_way += weight
        return self._minute

    def answered(self, now_ms: int, weight: int, used: int | None, minute: int) -> None:
        """End a request that `begin` has counted; `used` is the venue's count, if it has one.

        Requests under way may not be in that count yet, and are added; nor is one that arrived
        later and was answered before, so that no count makes ours lower. The count of a request
        that was sent in another minute may be that minute's, and is not taken: a new minute begins
        with the weight under way, that of this request included.
        """
        self._turn(now_ms)  # With this request, which may have arrived in the new minute.
        self._under_way = max(0, self._under_way - weight)
        if used is not None and minute == self._minute:
            self.used = max(self.used, used + self._under_way)

    def left(self, now_ms: int) -> int:
        """Return the weight that may still be used in this minute."""
        self._turn(now_ms)
        return max(0, self.allowed - self.used)

    def silence(self, now_ms: int, retry_after_ms: int) -> None:
        """Send nothing for `retry_after_ms` (HTTP 429 or 418); a silence is never made shorter."""
        self.silent_until_ms = max(self.silent_until_ms, now_ms + retry_after_ms)

    def _turn(self, now_ms: int) -> None:
        minute = (now_ms + self.skew_ms) // MINUTE_MS
        # A new skew may lead back a minute: the next answer has the venue's own count of it.
        if minute != self._minute:
            self._minute, self.used = minute, self._under_way
