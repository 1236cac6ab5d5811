"""Volume-weighted average price: over the last bars, and since the start of a session."""

from __future__ import annotations

from typing import Any

from minibot.features.indicator import Indicator, period_of
from minibot.features.lossless import float_from, float_text
from minibot.features.window import Window


class Vwap(Indicator):
    """Average price of the last `period` bars, each weighted by its volume.

    Methods:
        update(high, low, close, volume): takes the next bar. `value`: the average.
    Formula:
        sum(typical * volume) / sum(volume) over the last `period` bars, the newest among them, with
        typical = (high + low + close) / 3. Without any volume it is the newest typical price.
    Seed:
        None: a bar leaves no trace once it is `period` updates old.
    Warm-up:
        `period` bars.
    """

    __slots__ = ("_turnovers", "_typical", "_volumes", "period")

    def __init__(self, period: int) -> None:
        """Start empty; raises ValueError for a period below 1."""
        self._turnovers: Window = Window(period)
        self._volumes: Window = Window(period)
        self._typical: float = 0.0
        self.period: int = period
        super().__init__(period)

    def update(self, high: float, low: float, close: float, volume: float) -> None:
        """Take the next bar."""
        self.count += 1
        self._typical = (high + low + close) / 3.0
        self._turnovers.append(self._typical * volume)
        self._volumes.append(volume)

    @property
    def value(self) -> float | None:
        """The average price, or None before it is ready."""
        if self.count < self.warmup:
            return None
        volume = self._volumes.total()
        return self._typical if volume == 0.0 else self._turnovers.total() / volume

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "period": self.period,
            "turnovers": self._turnovers.state(),
            "typical": float_text(self._typical),
            "volumes": self._volumes.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Vwap:
        """Return the average that `state` described."""
        restored = cls(state["period"])
        restored.count = state["count"]
        restored._turnovers.restore(state["turnovers"])
        restored._typical = float_from(state["typical"])
        restored._volumes.restore(state["volumes"])
        return restored


class SessionVwap(Indicator):
    """Average price since the start of the session, each bar weighted by its volume.

    Methods:
        update(open_ts, high, low, close, volume): takes the next bar, `open_ts` in Unix ms.
        `value`: the average.
    Formula:
        That of `Vwap` over all bars of the session. A session begins at each multiple of
        `session_ms` since 1970: 86,400,000 is a day from midnight UTC.
    Seed:
        The first bar of the session, which may be later than its start.
    Warm-up:
        One bar.
    """

    __slots__ = ("_session", "_turnover", "_typical", "_volume", "session_ms")

    def __init__(self, session_ms: int) -> None:
        """Start empty; raises ValueError for a session below 1 ms."""
        self.session_ms: int = period_of(session_ms, "session_ms: the period of a session")
        self._session: int = 0
        self._turnover: float = 0.0
        self._typical: float = 0.0
        self._volume: float = 0.0
        super().__init__(1)

    def update(self, open_ts: int, high: float, low: float, close: float, volume: float) -> None:
        """Take the next bar; the first one of a session forgets those before."""
        self.count += 1
        session = open_ts // self.session_ms
        if session != self._session:
            self._session = session
            self._turnover = 0.0
            self._volume = 0.0
        self._typical = (high + low + close) / 3.0
        self._turnover = self._turnover + self._typical * volume
        self._volume = self._volume + volume

    @property
    def value(self) -> float | None:
        """The average price of the session so far, or None before the first bar."""
        if self.count < self.warmup:
            return None
        return self._typical if self._volume == 0.0 else self._turnover / self._volume

    def state(self) -> dict[str, Any]:
        """Return all that later values depend on, as canonical JSON values."""
        return {
            "count": self.count,
            "session": self._session,
            "session_ms": self.session_ms,
            "turnover": float_text(self._turnover),
            "typical": float_text(self._typical),
            "volume": float_text(self._volume),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SessionVwap:
        """Return the average that `state` described."""
        restored = cls(state["session_ms"])
        restored.count = state["count"]
        restored._session = state["session"]
        restored._turnover = float_from(state["turnover"])
        restored._typical = float_from(state["typical"])
        restored._volume = float_from(state["volume"])
        return restored
