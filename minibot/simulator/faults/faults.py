"""Faults in force at the exchange: state that frames and REST calls pass through.

`injector.py` sets it by name; this module knows neither scripts nor clients. The venue's own state
(book, bars, trades) stays right whatever is sent, so a client that recovers finds a consistent
venue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from minibot.events.money import UNIT
from minibot.exchanges.tapes.decimals import to_text, to_units
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE, Frame
from minibot.simulator.faults.payload_faults import PayloadFaults


@dataclass(slots=True)
class HttpFault:
    """An answer in place of the right one, for some calls or until a moment of market pace."""

    status: int
    body: bytes
    content_type: str
    left: int
    until_ms: int
    endpoint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class FrameFault:
    """A change to the next `left` frames of a kind, of one symbol or of all.

    A frame takes one fault alone, and counts only for that, once it is changed.
    """

    name: str
    left: int
    symbol: str | None = None
    factor: int = 1
    shift_ms: int = 0


class Faults:
    """Faults in force; durations are in market pace."""

    def __init__(self, pace_ms: Callable[[], int]) -> None:
        self._pace_ms = pace_ms
        self.silent_until_ms = 0
        self.held_until_ms = 0
        self.no_pings_until_ms = 0
        self.unreachable_until_ms = 0
        self.slow_until_ms = 0
        self.slow_delay_ms = 0
        self.old_snapshots = 0
        self.http: list[HttpFault] = []
        self.frame_faults: list[FrameFault] = []
        self.changes = PayloadFaults(pace_ms)

    @property
    def is_silent(self) -> bool:
        """Return whether data frames are swallowed."""
        return bool(self.silent_until_ms) and self._pace_ms() < self.silent_until_ms

    @property
    def is_held(self) -> bool:
        """Return whether outgoing frames are held, replies and pongs too, to be sent at once.

        A close alone sends what is held before its time.
        """
        return bool(self.held_until_ms) and self._pace_ms() < self.held_until_ms

    @property
    def has_no_pings(self) -> bool:
        """Return whether the server sends no pings, and closes for none without an answer."""
        return self._pace_ms() < self.no_pings_until_ms

    @property
    def is_unreachable(self) -> bool:
        """Return whether connections are refused."""
        return self._pace_ms() < self.unreachable_until_ms

    @property
    def answer_delay_ms(self) -> int:
        """Return how long a REST answer is delayed, in market time."""
        return self.slow_delay_ms if self._pace_ms() < self.slow_until_ms else 0

    def on_request(self, endpoint: str) -> HttpFault | None:
        """Return the answer that replaces the right one for a call of this endpoint, if any."""
        if not self.http:
            return None
        pace_ms = self._pace_ms()
        self.http = [fault for fault in self.http if fault.left > 0 and pace_ms < fault.until_ms]
        for fault in self.http:
            if fault.endpoint in (None, endpoint):
                fault.left -= 1
                return fault
        return None

    def on_answer(self, endpoint: str, body: Any) -> Any:
        """Return the right answer of an endpoint, changed by the faults in force."""
        if endpoint == "depth" and self.old_snapshots > 0:
            self.old_snapshots -= 1
            body = {**body, "lastUpdateId": max(1, body["lastUpdateId"] - 1_000_000)}
        return self.changes.on_answer(endpoint, body) if self.changes else body

    def on_payload(self, stream: str, data: bytes) -> bytes | None:
        """Return the payload to send on a stream in place of this one; None to send nothing."""
        return self.changes.on_payload(stream, data) if self.changes else data

    def on_frame(self, frame: Frame, data: dict[str, Any] | None) -> list[Frame]:
        """Return the frames to send for this one: itself, changed, repeated or none."""
        if not self.frame_faults:
            return [frame]
        self.frame_faults = [fault for fault in self.frame_faults if fault.left > 0]
        for fault in self.frame_faults:
            if fault.symbol not in (None, frame.symbol):
                continue
            change = _CHANGES[fault.name].get(frame.kind)
            if change is None:
                continue
            try:
                changed = change(frame, data or orjson.loads(frame.data), fault)
            except (ValueError, KeyError, TypeError, AttributeError):
                return [frame]  # Broken as recorded, for clients to refuse; the next one serves.
            fault.left -= 1
            return changed
        return [frame]


Change = Callable[[Frame, dict[str, Any], FrameFault], list[Frame]]


def _with(frame: Frame, data: dict[str, Any], **changes: Any) -> Frame:
    changed = orjson.dumps({**data, **changes})
    return Frame(frame.at_ns, frame.symbol, frame.kind, frame.stream, changed)


def _skip(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return []


def _twice(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return [frame, frame]


def _often(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    """Repeat a frame so often that readers can hardly keep up; its number stays the same."""
    return [frame] * max(1, fault.factor)


def _zero_price(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    key = "p" if frame.kind == TRADE else "b"
    return [_with(frame, data, **{key: to_text(0)})]


def _outlier(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    keys = ("p",) if frame.kind == TRADE else ("b", "a")
    return [
        _with(frame, data, **{key: to_text(to_units(data[key]) * fault.factor) for key in keys})
    ]


def _crossed_quote(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    bid, ask = to_units(data["b"]), to_units(data["a"])
    return [_with(frame, data, b=to_text(ask + UNIT), a=to_text(bid))]


def _crossed_depth(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    """Add a bid far above every ask: the client's book stays crossed until it starts over."""
    prices = [to_units(price) for price, _ in [*data["b"], *data["a"]]]
    bid = [to_text(2 * max(prices, default=UNIT)), "1.00000000"]
    return [_with(frame, data, b=[bid, *data["b"]])]


def _unknown_field(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return [_with(frame, data, zz={"new": [1, "2"]})]


def _unknown_event(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return [_with(frame, {}, e="somethingNew", E=frame.at_ns // 1_000_000, s=frame.symbol), frame]


def _missing_field(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return [_with(frame, {key: value for key, value in data.items() if key != "M"})]


def _stray_removal(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    return [_with(frame, data, b=[["0.00000001", to_text(0)], *data["b"]])]


def _stale(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    """Add an event from before any book that a client can have; its levels are nonsense."""
    ids = {"U": max(1, data["U"] - 1_000_000), "u": max(1, data["u"] - 1_000_000)}
    return [frame, _with(frame, data, **ids, b=[["0.00000001", "1.00000000"]], a=[])]


def _late(frame: Frame, data: dict[str, Any], fault: FrameFault) -> list[Frame]:
    """Shift the times that the event itself states; its receipt stays."""
    times = {key: data[key] + fault.shift_ms for key in ("E", "T") if key in data}
    return [_with(frame, data, **times)]


_CHANGES: Final[dict[str, dict[str, Change]]] = {
    "gap": {DEPTH: _skip},
    "missing_trades": {TRADE: _skip},
    "duplicate_trades": {TRADE: _twice},
    "repeated_diff": {DEPTH: _twice},
    "flood": {TRADE: _often, BOOK_TICKER: _often, DEPTH: _often},
    "zero_price": {TRADE: _zero_price},
    "zero_quote": {BOOK_TICKER: _zero_price},
    "outlier_price": {TRADE: _outlier},
    "outlier_quote": {BOOK_TICKER: _outlier},
    "crossed_book": {BOOK_TICKER: _crossed_quote},
    "crossed_depth": {DEPTH: _crossed_depth},
    "unknown_field": {TRADE: _unknown_field, BOOK_TICKER: _unknown_field, DEPTH: _unknown_field},
    "unknown_event": {TRADE: _unknown_event, BOOK_TICKER: _unknown_event, DEPTH: _unknown_event},
    "missing_field": {TRADE: _missing_field},
    "stray_removal": {DEPTH: _stray_removal},
    "stale_diff": {DEPTH: _stale},
    "late_event": {TRADE: _late, DEPTH: _late},
}

FRAME_FAULTS: Final = tuple(_CHANGES)
"""Names of the faults that change the next n frames."""
