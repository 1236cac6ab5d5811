"""The market role's one loop: take what waits, decide, write once, judge the link; again.

Threads bring frames and answers into one inbox; all decisions fall here. What gathered while the
last append was being synced goes into the next one together; a single frame is written at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from minibot.events.model import Payload
from minibot.exchanges.base import Stream
from minibot.exchanges.binance.limits import WeightBudget
from minibot.exchanges.binance.rest import BinanceRest
from minibot.market.connections import Connections
from minibot.market.courier import Answer, Courier
from minibot.market.feed import DATA, INVALID, SHUTDOWN, UNREADABLE, Feed
from minibot.market.inbox import Inbox
from minibot.market.link import CLOSED, Link, LinkLimits
from minibot.market.notices import Notice
from minibot.market.pace import MarketClock, Pace
from minibot.market.reader import Frames, FromReader, Lost, Opened
from minibot.market.requests import Requests
from minibot.market.symbol import FeedConfig

STARTING: Final = "STARTING"
READY: Final = "READY"
DEGRADED: Final = "DEGRADED"
DRAINING: Final = "DRAINING"

HEALTH_MS: Final = 10_000
# The loop looks this often whether it has to end; everything else wakes it by itself.
WAIT_S_MAX: Final = 0.2
# However fast a simulated clock runs, a pause of this process is no silence of the venue.
SILENCE_NS_MIN: Final = 1_000_000_000
JOIN_S: Final = 2.0
# One write for so many messages: under a flood some fifty ms of work, which is what a tick may wait
# for the others. Whatever else has to be done is done between two writes.
MESSAGES_AT_ONCE: Final = 4096

Item = FromReader | Answer


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What the session needs of the profile; durations in market milliseconds."""

    feed: FeedConfig
    link: LinkLimits
    warmup_bars: int
    ping_interval_ms: int
    instrument_interval_ms: int
    skew_max_ms: int
    weight_share_max_percent: int
    streams_per_connection_max: int = STREAMS_PER_CONNECTION_MAX


class World(Protocol):
    """What the session needs of its process."""

    @property
    def clock(self) -> MarketClock:
        """The run's clock."""

    def machine_ns(self) -> int:
        """Return machine time in nanoseconds."""

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append root events with their times to `market_ticks`; durable on return."""

    def incident(self, notice: Notice) -> None:
        """Append one incident."""

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        """Append one health event."""

    def ready(self) -> None:
        """History and subscriptions stand."""

    def turn(self, waiting: int) -> None:
        """The loop has turned once more, and so many items wait."""

    def end_code(self) -> int | None:
        """Return the exit code when the role has to end now, else None."""


class Session:
    """One run of the market role over one venue.

    Args:
        config: The profile's values.
        world: The process around it.
        rests: Requests of the venue; as many as there are may be under way at a time.
        open_stream: Makes a stream that is not connected yet, for given stream names.
        memory: Where attempts and bans of this address outlive the process; nowhere without.
    """

    def __init__(
        self,
        config: SessionConfig,
        world: World,
        rests: Sequence[BinanceRest],
        open_stream: OpenStream,
        memory: Memory | None = None,
    ) -> None:
        now_ms = world.clock.now_ms()
        self.config = config
        self.world = world
        self.clock = world.clock
        self.pace = Pace(world.clock, world.machine_ns)
        self.inbox: Inbox[Item] = Inbox()
        self.feed = Feed(config.feed, now_ms)
        self.address = Address(memory or NoMemory(), self.pace.now_ms())
        self.link = Link(config.link, now_ms, self.address.free_at_ms)
        self.connections = Connections(
            self.feed,
            self.link,
            self.address,
            open_stream,
            self.inbox.put,
            lambda: world.machine_ns() // NS_PER_MS,
            config.streams_per_connection_max,
        )
        self.courier = self._new_courier(rests)
        self.requests = Requests(
            self.courier,
            self.feed,
            self.link,
            self.address,
            self.clock,
            self.pace,
            config.skew_max_ms,
            self._measured,
            set(config.feed.symbols),
        )
        self.state = STARTING
        self._frame_ns = self._checked_ns = world.machine_ns()
        self._is_checking = False
        self._ping_due = self._instruments_due = self._health_due = now_ms

    def _new_courier(self, rests: Sequence[BinanceRest]) -> Courier:
        limits, address = self.config.link, self.address
        budget = WeightBudget(self.config.weight_share_max_percent)
        # What a former process was told still holds.
        left_ms = max(0, address.silent_until_ms - self.pace.now_ms())
        budget.silence(self.pace.now_ms(), left_ms, is_ban=address.is_banned and left_ms > 0)
        backoff = Backoff(limits.seed, limits.backoff_min_ms, limits.backoff_max_ms)
        return Courier(rests, budget, self.pace, self.inbox.put, backoff)

    # --- the loop -----------------------------------------------------------------------------

    def run(self) -> int:
        """Take events until told to end; return the exit code.

        Raises:
            RunStop: The link is too bad to go on, or a queue is.
        """
        now_ms = self.clock.now_ms()
        self.link.begin(now_ms)
        self._ping_due = now_ms + self.config.ping_interval_ms
        self._instruments_due = now_ms + self.config.instrument_interval_ms
        self._set_state(now_ms)
        while (code := self.world.end_code()) is None:
            self.pump(self._wait_s())
            self._on_clock(self.clock.now_ms())
        self._end()
        return code

    def pump(self, timeout_s: float) -> None:
        """Take what waits, decide on all of it, and write it at once."""
        items = self.inbox.take(timeout_s, MESSAGES_AT_ONCE)
        for item in items:
            self._dispatch(item)
        now_ms = self.clock.now_ms()
        self.feed.advance(now_ms)
        self.connections.on_clock(self.pace.now_ms())
        self.requests.send_wanted(now_ms)
        self.write()
        self.world.turn(len(self.inbox))

    def write(self) -> None:
        """Write events and incidents that are ready."""
        payloads = self.feed.take()
        if payloads:
            self.world.write(payloads)
        for notice in self.feed.board.take(self.pace.now_ms()):
            self.world.incident(notice)

    def _wait_s(self) -> float:
        """Return how long nothing is due, in machine seconds."""
        if len(self.inbox):
            return 0.0
        if not self.clock.is_running:
            return WAIT_S_MAX
        now_ms = self.clock.now_ms()
        dues = [self.feed.next_due_ms, self._ping_due]
        if self.connections.due_ms is not None:
            dues.append(self.connections.due_ms)
        wait_ms = max(0, min(dues) - now_ms)
        return min(WAIT_S_MAX, self.clock.machine_s(wait_ms))

    # --- what comes ---------------------------------------------------------------------------

    def _dispatch(self, item: Item) -> None:
        if isinstance(item, Frames):
            self._on_frames(item)
        elif isinstance(item, Answer):
            self.requests.note(item, self.pace.now_ms())
            item.job.done(item)
        elif isinstance(item, Opened):
            self.connections.on_opened(item.connection, self.clock.now_ms())
        elif isinstance(item, Lost):
            self.connections.on_lost(item.connection, item.why, self.pace.now_ms())

    def _on_frames(self, frames: Frames) -> None:
        """Take what one read of a socket has brought; good data are noted once for all of them."""
        connection, recv_mono_ns, messages = frames
        ts = self.clock.at_machine_ns(recv_mono_ns)
        on_frame, is_noted = self.feed.on_frame, False
        for number, data in enumerate(messages):
            if not is_noted and not self.connections.is_current(connection):
                self._on_late(messages[number:], ts)
                return
            kind = on_frame(data, ts, recv_mono_ns)
            if kind == DATA:
                if not is_noted:
                    is_noted = True
                    self._frame_ns = recv_mono_ns
                    self.link.on_data(ts)
                    self.connections.on_frame(connection, DATA, ts)
                continue
            is_noted = False
            if kind in (INVALID, UNREADABLE):
                self.link.on_invalid(ts)
            elif kind == SHUTDOWN:
                self.connections.on_shutdown(connection, ts)
            self.connections.on_frame(connection, kind, ts)

    def _on_late(self, messages: list[bytes], ts: int) -> None:
        """The connection was given up, but a flood of nonsense counts to its last frame."""
        for data in messages:
            if self.feed.is_unreadable(data, ts):
                self.link.on_invalid(ts)

    def _measured(self, answer: Answer) -> None:
        now_ms = self.clock.now_ms()
        self.link.on_sample(now_ms, ok=answer.error is None)
        self.health(latency_us=answer.took_us, endpoint=answer.job.path, ok=answer.error is None)

    # --- now and then -------------------------------------------------------------------------

    def _on_clock(self, now_ms: int) -> None:
        if now_ms >= self._ping_due:
            self._ping_due = self._next(self._ping_due, now_ms, self.config.ping_interval_ms)
            self.requests.measure()
        if now_ms >= self._instruments_due:
            every_ms = self.config.instrument_interval_ms
            self._instruments_due = self._next(self._instruments_due, now_ms, every_ms)
            self.requests.check_instruments()
        if not len(self.inbox):
            # Only what has been looked at can be judged: a backlog of ours is no outage.
            self.link.judge(now_ms)
            self._watch_silence(now_ms)
        self._set_state(now_ms)
        if now_ms >= self._health_due:
            self.health()

    @staticmethod
    def _next(due_ms: int, now_ms: int, every_ms: int) -> int:
        """Return the next due time on the same grid that lies ahead."""
        return due_ms + ((now_ms - due_ms) // every_ms + 1) * every_ms

    def _watch_silence(self, now_ms: int) -> None:
        if self._is_checking or not self.link.is_silent(now_ms):
            return
        if self._is_quiet_since(self._checked_ns):
            self._is_checking = True
            self.requests.check_quiet(self._on_checked)

    def _on_checked(self, is_quiet: bool) -> None:
        """Give the silent connection up, unless the venue says that nothing has happened."""
        self._is_checking = False
        self._checked_ns = self.world.machine_ns()
        now_ms = self.clock.now_ms()
        if is_quiet and self.feed.is_trading:
            self.link.on_quiet(now_ms)
        elif self.link.is_silent(now_ms):
            self.connections.give_up_silent(now_ms)
        # A symbol that is halted is silent too, and then its rules say so.
        self.requests.check_instruments()

    def _is_quiet_since(self, moment_ns: int) -> bool:
        since = max(self._frame_ns, moment_ns)
        return self.world.machine_ns() - since >= SILENCE_NS_MIN

    def _set_state(self, now_ms: int) -> None:
        link = self.link
        is_old = link.data_age_ms(now_ms) > self.config.link.tick_stale_ms
        is_good = self.connections.is_open and link.breaker == CLOSED and link.last_sample_ok
        state = READY if is_good and not (is_old and self._is_quiet_since(0)) else DEGRADED
        if state != self.state:
            self.state = state
            self.health()

    def health(self, **fields: Any) -> None:
        """Write one health event with the role's figures and the given ones."""
        now_ms = self.clock.now_ms()
        self._health_due = now_ms + HEALTH_MS
        figures = self.feed.figures()
        self.world.health(
            self.state,
            {
                "data_age_ms": self.feed.data_age_ms(now_ms),
                "weight_used": self.requests.weight_used,
                "reconnects": self.link.reconnects,
                "breaker": self.link.breaker,
                "late_trades": figures.pop("late_trades"),
                "counters": figures,
                **fields,
            },
        )

    # --- the end ------------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop the streams, write what is left, end the threads."""
        self.state = DRAINING
        self.health()
        self.inbox.close()
        self.connections.close(JOIN_S)
        for item in self.inbox.take(0):
            if isinstance(item, Frames):
                ts = self.clock.at_machine_ns(item.recv_mono_ns)
                for data in item.messages:
                    self.feed.on_frame(data, ts, item.recv_mono_ns)
        self.feed.advance(self.clock.now_ms())
        self.write()
        for notice in self.feed.board.take_all():
            self.world.incident(notice)
        self.close()

    def close(self) -> None:
        """End all threads; callable twice, also after an error."""
        self.inbox.close()
        self.connections.close(JOIN_S)
        self.courier.close(JOIN_S)
