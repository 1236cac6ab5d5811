"""Loop of the market role: take new messages, decide, write once, judge the link; repeat.

Threads put frames and answers into one inbox; all decisions are made here. Messages that gathered
during the last append's sync are written together by the next one; a single frame is written at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from minibot.events.intervals import WarmupBars
from minibot.events.model import DEGRADED, READY, STARTING
from minibot.events.unit_sizes import NS_PER_MS, NS_PER_S
from minibot.exchanges.base import FrameInvalid, Rest, Venue
from minibot.exchanges.weight_budget import WeightBudget
from minibot.market.address import Address, Memory, NoMemory
from minibot.market.backoff import Backoff
from minibot.market.connections import Connections, OpenStream
from minibot.market.duplicate_trades import DuplicateTrades
from minibot.market.elapsed_clock import ElapsedClock, next_due
from minibot.market.feed import DATA, INVALID, SHUTDOWN, UNREADABLE, Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.inbox import Inbox
from minibot.market.liveness import Liveness
from minibot.market.notices import PAUSED
from minibot.market.overload import Overload
from minibot.market.reader import Frames, FromReader, Lost, Opened
from minibot.market.reference_refresh import Holder, NothingHeld, ReferenceRefresh
from minibot.market.requests import Requests, is_throttle
from minibot.market.rest_scheduler import Answer, RestScheduler
from minibot.market.shard_health import CLOSED, LinkLimits
from minibot.market.sharding import STREAMS_PER_CONNECTION_MAX
from minibot.market.skew import ClockSkew
from minibot.market.symbol import FeedConfig
from minibot.market.symbol_onboarding import SymbolOnboarding
from minibot.market.universe import UniverseConfig
from minibot.market.watched_bars import WatchedBars, WatchedConfig
from minibot.market.world import World

DRAINING: Final = "DRAINING"

HEALTH_MS: Final = 10_000
# The loop looks this often whether it has to end; everything else wakes it by itself.
WAIT_S_MAX: Final = 0.2
# A frame that announces the end of a connection says so this near to its beginning.
SHUTDOWN_WITHIN: Final = 40
JOIN_S: Final = 2.0
# Messages of one write: under a flood some fifty ms of work, the time a tick may wait for the
# others. Everything else is done between two writes.
MESSAGES_AT_ONCE: Final = 4096
# Wishes of symbols and connections are collected this often, not with each frame.
LOOK_EVERY_NS: Final = 10_000_000

Item = FromReader | Answer


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Values of the profile for the session; durations in market milliseconds."""

    feed: FeedConfig
    link: LinkLimits
    warmup_bars: WarmupBars
    ping_interval_ms: int
    instrument_interval_ms: int
    skew_max_ms: int
    weight_share_max_percent: int
    streams_per_connection_max: int = STREAMS_PER_CONNECTION_MAX
    order_ttl_ms: int = 0
    universe: UniverseConfig | None = None
    watched: WatchedConfig | None = None


class Session:
    """One run of the market role over one venue.

    Args:
        config: The profile's values.
        world: The process around it.
        venue: Where it listens.
        rests: REST clients of the venue, one for each request that may be under way at a time.
        open_stream: Makes a stream, not connected yet, for given stream names.
        memory: Storage for attempts and bans of this address; by default nothing is kept.
        holder: Source of the held symbols; by default nothing is held.
    """

    def __init__(
        self,
        config: SessionConfig,
        world: World,
        venue: Venue,
        rests: Sequence[Rest],
        open_stream: OpenStream,
        memory: Memory | None = None,
        holder: Holder | None = None,
    ) -> None:
        now_ms = world.clock.now_ms()
        self.config = config
        self.world = world
        self.venue = venue
        self.clock = world.clock
        self.pace = ElapsedClock(world.clock, world.machine_ns)
        self.inbox: Inbox[Item] = Inbox()
        self.feed = Feed(config.feed, now_ms, venue.dialect)
        self.overload = Overload(self.feed)
        self.address = Address(memory or NoMemory(), self.pace.now_ms(), venue.streams.limits)
        self.link = FeedHealth(config.link, now_ms, self.address.free_at_ms)
        self.connections = Connections(
            self.feed,
            self.link,
            self.address,
            venue.streams,
            open_stream,
            self.inbox.put,
            lambda: world.machine_ns() // NS_PER_MS,
            min(config.streams_per_connection_max, venue.streams.limits.streams_max),
        )
        self.courier = self._new_courier(rests)
        self.requests = Requests(
            self.courier,
            venue.limits,
            self.feed,
            self.link,
            self.address,
            self.clock,
            self.pace,
            ClockSkew(config.skew_max_ms),
            self._measured,
            set(config.feed.symbols),
            (holder or NothingHeld()).symbols,
        )
        self.upkeep = ReferenceRefresh(
            config.universe,
            venue.tickers,
            self.feed,
            self.requests,
            self,
            self.clock,
            holder or NothingHeld(),
            rules_interval_ms=config.instrument_interval_ms,
            order_ttl_ms=config.order_ttl_ms,
        )
        self.watched = WatchedBars(
            config.watched, self.feed, self.requests, lambda: self.upkeep.universe, self.clock
        )
        self.repeats = DuplicateTrades(self.feed)
        self.liveness = Liveness(
            config.link,
            self.feed,
            self.link,
            self.connections,
            self.requests,
            self.clock,
            world.machine_ns,
            self.upkeep.check_rules,
        )
        self.newcomers = SymbolOnboarding(
            self.feed, self.requests, self.connections, self.clock, self.pace, config.warmup_bars
        )
        self.on_market_wide = self.upkeep.on_market_wide
        self._market_wide = venue.streams.market_wide
        self._shutdown = venue.streams.shutdown
        self._reply_of = venue.streams.reply_of
        self.state = STARTING
        self._ping_due = self._health_due = now_ms
        self._look_ns = world.machine_ns()
        self._has_looked = True
        self._read_ms: int | None = None
        self._unread = 0
        self._still_ms = world.still_ms()

    def _new_courier(self, rests: Sequence[Rest]) -> RestScheduler:
        limits, address = self.config.link, self.address
        budget = WeightBudget(
            self.config.weight_share_max_percent, self.venue.limits.weight_per_minute
        )
        # A silence that the venue asked of an earlier process still holds.
        now_ms = self.pace.now_ms()
        budget.silence(now_ms, address.silent_until_ms - now_ms)
        backoff = Backoff(limits.seed, limits.backoff_min_ms, limits.backoff_max_ms)
        return RestScheduler(rests, budget, self.pace, self.inbox.put, backoff)

    # --- the loop -----------------------------------------------------------------------------

    def run(self) -> int:
        """Process events until asked to end; return the exit code.

        When it raises, decisions on the messages of the last `pump` may be unwritten, as may
        notices that are still gathered.

        Raises:
            RunStop: The link or a queue is too bad to go on.
        """
        now_ms = self.clock.now_ms()
        self.link.begin(now_ms)
        self._ping_due = now_ms + self.config.ping_interval_ms
        self.upkeep.begin(now_ms)
        self._set_state(now_ms)
        while (code := self.world.end_code()) is None:
            if not self.clock.is_running:
                self.liveness.begin()
            self.pump(self._wait_s())
            if self._has_looked:
                self._on_clock(self.clock.now_ms())
        self._end()
        return code

    def pump(self, timeout_s: float) -> None:
        """Take waiting messages (about `MESSAGES_AT_ONCE`), decide on them, and write once."""
        items = self.inbox.take(timeout_s, MESSAGES_AT_ONCE)
        read_ms = self.clock.now_ms()
        self._read_ms = None if len(self.inbox) else read_ms
        if self.world.still_ms() != self._still_ms:
            self._on_pause()
        self.overload.look(self.waiting, self.clock.now_ms())
        for item in items:
            self._dispatch(item)
        # Only up to when everything was read: trades that still wait belong to bars before now.
        if self._read_ms is not None and self._read_ms >= self.feed.next_due_ms:
            self.feed.advance(self._read_ms)
        self._has_looked = self.world.machine_ns() >= self._look_ns
        if self._has_looked:
            pace_ms = self.pace.now_ms()
            self.connections.on_clock(pace_ms)
            self.newcomers.on_clock(pace_ms)
            self.requests.send_wanted(self.clock.now_ms())
            self._unread = self.connections.unread()
            self._look_ns = self.world.machine_ns() + LOOK_EVERY_NS
        self.write()
        self.world.turn(self.waiting)

    def _on_pause(self) -> None:
        """Reconnect everything after this process stood still: messages waiting in sockets are old.

        Everything missed is a gap, and the time without data counts from now on.
        """
        before, self._still_ms = self._still_ms, self.world.still_ms()
        paused_ms = self._still_ms - before
        why = f"this process stood still for {paused_ms} ms"
        now_ms, pace_ms = self.clock.now_ms(), self.pace.now_ms()
        self.feed.board.add(now_ms, PAUSED, f"{why}; every stream is requested again")
        self.link.begin(now_ms)
        for shard in list(self.connections.shards):
            for number in reversed(shard.numbers):  # A successor first: it would take over.
                shard.on_lost(number, why, pace_ms)
        self.requests.on_pause(paused_ms)

    @property
    def waiting(self) -> int:
        """Return the number of waiting messages: in the inbox, plus an estimate for the sockets."""
        return len(self.inbox) + self._unread

    def write(self) -> None:
        """Write the events and incidents that are ready."""
        payloads = self.feed.take()
        if payloads:
            self.world.write(payloads)
        for notice in self.feed.board.take(self.pace.now_ms()):
            self.world.incident(notice)

    def _wait_s(self) -> float:
        """Return how long nothing is due, in machine seconds."""
        if len(self.inbox):
            return 0.0
        if not self._has_looked:
            return max(0.0, (self._look_ns - self.world.machine_ns()) / NS_PER_S)
        if not self.clock.is_running:
            return WAIT_S_MAX
        now_ms = self.clock.now_ms()
        dues = [self.feed.next_due_ms, self._ping_due]
        connections_due = self.connections.due_ms()
        if connections_due is not None:
            dues.append(connections_due)
        control_ms = self.connections.control_wait_ms()
        wait_s = self.clock.machine_s(max(0, min(dues) - now_ms))
        return min(WAIT_S_MAX, wait_s, WAIT_S_MAX if control_ms is None else control_ms / 1000)

    # --- messages -----------------------------------------------------------------------------

    def _dispatch(self, item: Item) -> None:
        if isinstance(item, Frames):
            self._on_frames(item)
        elif isinstance(item, Answer):
            self.requests.note(item, self.pace.now_ms())
            item.deliver()
        elif isinstance(item, Opened):
            shard = self.connections.of(item.connection)
            if shard is not None:
                shard.on_opened(item.connection, self.clock.now_ms())
        elif isinstance(item, Lost):
            shard = self.connections.of(item.connection)
            if shard is not None:
                shard.on_lost(item.connection, item.why, self.pace.now_ms())

    def _on_frames(self, frames: Frames) -> None:
        """Process the messages of one socket read; good data are noted once for all of them."""
        connection, recv_mono_ns, messages = frames
        ts = self.clock.at_machine_ns(recv_mono_ns)
        on_frame, shard, is_noted = self.feed.on_frame, None, False
        market_wide = self._market_wide
        for number, data in enumerate(messages):
            if not is_noted:
                shard = self.connections.of(connection)
            if shard is None:
                self._on_late(messages[number:], ts)
                return
            if data.startswith(market_wide) and (taken := self._on_market_wide(data, ts)):
                # Silence of a symbol must show, whatever else its connection brings.
                if taken == INVALID:
                    self.link.on_invalid(ts)
                elif shard.is_market_wide:
                    shard.line.frame_ns = recv_mono_ns
                    shard.on_frame(connection, DATA, ts)
                continue
            kind = on_frame(data, ts, recv_mono_ns)
            if kind == DATA:
                if not is_noted:
                    is_noted = True
                    shard.line.frame_ns = recv_mono_ns
                    shard.on_frame(connection, DATA, ts)
                continue
            is_noted = False
            if kind in (INVALID, UNREADABLE):
                self.link.on_invalid(ts)
            elif kind == SHUTDOWN:
                shard.on_shutdown(connection, ts)
            elif (reply := self._reply_of(data)) is not None:
                shard.on_reply(connection, reply, ts)
            shard.on_frame(connection, kind, ts)

    def _on_market_wide(self, data: bytes, ts: int) -> str:
        """Hand over a frame of a stream of the whole market; return its kind, "" if not taken."""
        if self._shutdown in data[:SHUTDOWN_WITHIN]:
            return ""
        try:
            self.on_market_wide(data, ts)
        except FrameInvalid as error:
            self.feed.refuse(error, data, ts)
            return INVALID
        return DATA

    def _on_late(self, messages: list[bytes], ts: int) -> None:
        """Count unreadable frames of an abandoned connection: a flood of them still matters."""
        for data in messages:
            if self.feed.is_unreadable(data, ts):
                self.link.on_invalid(ts)

    def _measured(self, answer: Answer) -> None:
        now_ms = self.clock.now_ms()
        is_throttled = is_throttle(answer.error)
        self.link.on_sample(now_ms, ok=answer.error is None, is_throttled=is_throttled)
        self.health(latency_us=answer.took_us, endpoint=answer.job.path, ok=answer.error is None)

    # --- now and then -------------------------------------------------------------------------

    def _on_clock(self, now_ms: int) -> None:
        if now_ms >= self._ping_due:
            self._ping_due = next_due(self._ping_due, now_ms, self.config.ping_interval_ms)
            self.requests.measure()
        self.upkeep.on_clock(now_ms)
        self.watched.on_clock()
        if self._read_ms is not None:
            # Judge only up to when everything was read: a backlog of ours is no outage, and in a
            # busy market the inbox fills again during each write.
            self.link.judge(self._read_ms)
            self.liveness.look(self._read_ms)
        is_renewing = any(shard.has_successor for shard in self.connections.shards)
        self.repeats.look(now_ms, is_renewing=is_renewing)
        self._set_state(now_ms)
        if now_ms >= self._health_due:
            self.health()

    def _set_state(self, now_ms: int) -> None:
        link, stale_ms = self.link, self.config.link.tick_stale_ms
        is_old = any(
            shard.line.late_ms > 0
            or (
                shard.line.data_age_ms(now_ms) > stale_ms
                and self.liveness.is_quiet(shard.line)
                and not self.liveness.is_halted(shard)
            )
            for shard in self.connections.shards
        )
        is_good = self.connections.is_open and link.breaker == CLOSED and link.last_sample_ok
        is_blind = is_old or self.liveness.lacks_quotes
        state = READY if is_good and not is_blind else DEGRADED
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
                "counters": {**figures, **self._link_figures(), **self.upkeep.figures(now_ms)},
                **fields,
            },
        )

    def _link_figures(self) -> dict[str, int]:
        """Return the state of the link, for every health event."""
        return {
            "connections": len(self.connections.shards),
            "connections_open": self.connections.open_count,
            "streams": self.connections.streams,
            "streams_silent": self.liveness.silent_streams,
            "skew_ms": self.feed.skew_ms,
            "attempts_in_window": self.address.attempts(self.pace.now_ms()),
            "requests_waiting": self.courier.waiting,
            "weight_allowed": self.courier.budget.allowed,
            "throttled": self.requests.throttled,
            "books_valid": sum(feed.depth.is_valid for feed in self.feed.symbols.values()),
        }

    # --- what is followed ---------------------------------------------------------------------

    def follow(self, symbols: Iterable[str]) -> None:
        """Start to follow symbols: rules, history, streams and book, in that order.

        A symbol that is followed already stays as it is. To be called in the loop of the session.
        """
        self.newcomers.add(symbols)

    def unfollow(self, symbols: Iterable[str]) -> None:
        """Stop following symbols: end their streams, forget their books and open bars."""
        symbols = list(symbols)
        self.newcomers.forget(symbols)
        self.connections.unfollow(symbols)
        for symbol in symbols:
            self.feed.unfollow(symbol)
            self.requests.preferred.discard(symbol)

    def follow_streams(self, name: str, streams: Sequence[str]) -> None:
        """Carry streams of the whole market too, such as `!miniTicker@arr`.

        Their frames go to `on_market_wide(frame, ts)`; `unfollow([name])` ends them.
        """
        self.connections.follow({name: tuple(streams)}, self.pace.now_ms())

    # --- the end ------------------------------------------------------------------------------

    def _end(self) -> None:
        """Stop the streams, write the remaining events, end the threads.

        Frames that wait are taken, also those of a connection that was given up just before.
        """
        self.state = DRAINING
        self.health()
        self.inbox.close()
        self.connections.close(JOIN_S)
        for item in self.inbox.take(0):
            if isinstance(item, Frames):
                ts = self.clock.at_machine_ns(item.recv_mono_ns)
                for data in item.messages:
                    is_wide = data.startswith(self._market_wide)
                    if not (is_wide and self._on_market_wide(data, ts)):
                        self.feed.on_frame(data, ts, item.recv_mono_ns)
        self.feed.advance(self.clock.now_ms())
        self.write()
        for notice in self.feed.board.take_all():
            self.world.incident(notice)
        self.close()

    def close(self) -> None:
        """End all threads; may be called twice, also after an error."""
        self.inbox.close()
        self.connections.close(JOIN_S)
        self.courier.close(JOIN_S)
