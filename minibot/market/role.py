"""Process around the market role's session: configuration in, root events out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from minibot.events.model import FeedValue, MarketTick, Payload
from minibot.events.names import MARKET_ROLE, TICKS
from minibot.events.reasons import CONFIG_INVALID
from minibot.exchanges.base import Stream
from minibot.kernel.errors import RunStop
from minibot.kernel.queue import queue_folder
from minibot.market.address import AddressFile, venue_file
from minibot.market.holdings import Holdings
from minibot.market.notices import RESTARTED, Notice
from minibot.market.opening import Opening
from minibot.market.resume_point import ResumePoint, read_resume_point
from minibot.market.session import Session, SessionConfig
from minibot.market.settings import feed_config, watched_config
from minibot.market.shard_health import LinkLimits
from minibot.market.universe import universe_config
from minibot.market.venue_access import new_rest, new_stream, venue_of
from minibot.runtime.clock import machine_ns
from minibot.runtime.configuration.feed_files import FeedLine, feed_lines, lines_from
from minibot.runtime.context import CLEAN, RoleContext
from minibot.runtime.gate import Gate

# A round trip takes some fifty ms; one at a time, a hundred books would take five seconds.
REQUESTS_AT_ONCE: Final = 4
# One look at a file name; a round trip to the venue takes longer.
AWAIT_S: Final = 0.02


def main(context: RoleContext) -> int:
    """Run the market role until it is drained or asked to stop; return the exit code.

    Raises:
        RunStop: The exchange, its data or a queue is too bad to go on.
    """
    world = RoleWorld(context)
    code = world.await_clock()
    if code is not None:
        context.close("STOPPED")
        return code
    tail = read_resume_point(queue_folder(context.var.queues, TICKS))
    rest_url, stream_base = addresses(context)
    config = context.config
    rests = [new_rest(config, rest_url) for _ in range(REQUESTS_AT_ONCE)]

    def open_stream(streams: Sequence[str]) -> Stream:
        return new_stream(config, streams, stream_base)

    world.values = feed_writer(context, tail.last_ts or context.manifest.clock_origin_ms)
    holdings = Holdings(context.var.queues)
    session = Session(
        session_config(context),
        world,
        venue_of(config),
        rests,
        open_stream,
        address_file(context),
        holdings,
    )
    is_restart = tail.last_ts > 0
    if is_restart:
        resume(session, tail)
    try:
        code = Opening(session, is_restart=is_restart).run()
        code = session.run() if code is None else code
    finally:
        session.close()
        holdings.close()
    context.close("STOPPED")
    return code


def feed_writer(context: RoleContext, start_ms: int) -> FeedWriter:
    """Return the writer of the profile's feeds.

    Raises:
        RunStop: CONFIG_INVALID, where a file is no longer what it was when the run was started.
    """
    try:
        lines = feed_lines(context.config.market.feeds or {})
    except (OSError, ValueError) as error:
        raise RunStop(MARKET_ROLE, CONFIG_INVALID, f"market.feeds: {error}") from error
    return FeedWriter(lines, start_ms)


def address_file(context: RoleContext) -> AddressFile:
    """Return the file that remembers attempts and bans of this address.

    Times of a simulated clock mean nothing to the next run, so the file names its run; the real
    exchange sees the same address in every run.
    """
    root = context.var.root
    if context.manifest.embedded is not None:
        return AddressFile(root / "exchange" / "embedded.json", context.manifest.run_id)
    return venue_file(root, context.config.venue, context.config.exchange.rest_url)


def addresses(context: RoleContext) -> tuple[str, str]:
    """Return the REST and stream addresses: those of the run's simulator, if it has one."""
    embedded = context.manifest.embedded
    if embedded is None:
        exchange = context.config.exchange
        return exchange.rest_url, exchange.stream_url
    host = f"127.0.0.1:{embedded['port']}"
    return f"http://{host}", f"ws://{host}"


def session_config(context: RoleContext) -> SessionConfig:
    """Return the session's configuration from the run's profile."""
    exchange, market = context.config.exchange, context.config.market
    universe = universe_config(context.config, context.manifest.symbols)
    is_chosen = universe is not None and universe.is_dynamic
    feed = feed_config(
        context.config,
        () if is_chosen else context.manifest.symbols,
        context.manifest.clock_origin_ms,
        context.clock.speed,
    )
    return SessionConfig(
        feed=feed,
        link=LinkLimits(
            seed=context.config.seed,
            outage_stop_ms=exchange.outage_stop_market_ms,
            error_window_ms=exchange.error_window_market_ms,
            error_rate_max_percent=exchange.error_rate_max_percent,
            error_samples_min=exchange.error_samples_min,
            reconnects_max=exchange.reconnects_max,
            reconnect_window_ms=exchange.reconnect_window_market_ms,
            backoff_min_ms=exchange.backoff_min_market_ms,
            backoff_max_ms=exchange.backoff_max_market_ms,
            tick_stale_ms=exchange.tick_stale_market_ms,
            renew_after_ms=exchange.renew_after_market_ms,
            feed_invalid_max=exchange.feed_invalid_max,
            bar_grace_ms=feed.grace_ms,
        ),
        warmup_bars=market.warmup_bars,
        ping_interval_ms=exchange.ping_interval_market_ms,
        instrument_interval_ms=exchange.instrument_interval_market_ms,
        skew_max_ms=exchange.clock_skew_max_ms,
        weight_share_max_percent=exchange.weight_share_max_percent,
        streams_per_connection_max=exchange.streams_per_connection_max,
        order_ttl_ms=context.config.execution.order_ttl_market_ms,
        universe=universe,
        watched=watched_config(context.config),
    )


def resume(session: Session, tail: ResumePoint) -> None:
    """Resume after a former process of this run: everything missed meanwhile is a gap.

    Its ticks and books are not written again, nor bars of the lines that were read. The rules, the
    universe and the newest value of each feed are, and the warm-up of a symbol and interval
    without a bar in those lines.
    """
    now_ms = session.clock.now_ms()
    for symbol in tail.followed:
        session.feed.follow(symbol, now_ms)
    session.watched.resume(tail.bar_ends)
    session.upkeep.resume(tail.left(), tail.read_from, tail.rules, tail.traded)
    for symbol, feed in session.feed.symbols.items():
        ends = {interval: end for (name, interval), end in tail.bar_ends.items() if name == symbol}
        trade_id, had_book = tail.trade_ids.get(symbol), symbol in tail.books
        for gap in feed.resume_run(tail.last_ts, trade_id, ends, now_ms, had_book=had_book):
            session.feed.write(gap, now_ms)
    detail = f"market_ticks ends at {tail.last_ts}; what came since then is a gap"
    session.feed.board.add(now_ms, RESTARTED, detail)


class FeedWriter:
    """Values of the profile's feeds, put among other events when market time reaches theirs.

    Args:
        lines: Of all feeds, in the order of their times.
        start_ms: Market time of the start; at a restart the time of the last line written. Of each
            feed the newest value of then comes again, as the end of the last batch may be lost.
    """

    def __init__(self, lines: Sequence[FeedLine] = (), start_ms: int = 0) -> None:
        self._waiting = deque(lines_from(lines, start_ms))
        self._last_ts = start_ms

    def placed(self, payloads: list[tuple[Payload, int]]) -> list[tuple[Payload, int]]:
        """Return events with every value that is due before one of them, in the order of time."""
        waiting = self._waiting
        if not waiting:
            return payloads
        found: list[tuple[Payload, int]] = []
        for payload, ts in payloads:
            while waiting and waiting[0].ts <= ts:
                line = waiting.popleft()
                self._last_ts = max(self._last_ts, line.ts)
                found.append((FeedValue(line.name, line.value, line.ts), self._last_ts))
            self._last_ts = max(self._last_ts, ts)
            found.append((payload, ts))
        return found


class RoleWorld:
    """World of a session: the role's process.

    Attributes:
        values: What comes from outside the market; nothing until it is set.
    """

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._output = context.open_output(TICKS)
        self._gate = Gate(context)
        self.clock = context.clock
        self.values = FeedWriter()
        # Updated in place, never replaced: the heartbeat thread reads it while the loop counts.
        self._facts: dict[str, int] = {"ticks": 0, "lag_market_ms": 0, "latency_us": 0}
        context.heartbeat.facts = self._facts

    def machine_ns(self) -> int:
        """Return machine time in nanoseconds."""
        return machine_ns()

    def write(self, payloads: list[tuple[Payload, int]]) -> None:
        """Append root events; durable on return."""
        events = self.values.placed(payloads)
        self._output.append_roots(events)
        heartbeat = self._context.heartbeat
        heartbeat.position += len(events)
        ticks = sum(isinstance(payload, MarketTick) for payload, _ in payloads)
        lag_ms = self.clock.now_ms() - payloads[0][1]
        self._facts["ticks"] += ticks
        self._facts["lag_market_ms"] = max(self._facts["lag_market_ms"], lag_ms)

    def incident(self, notice: Notice) -> None:
        """Append one incident."""
        fields = {"count": notice.count, "until_ts": notice.until_ms}
        self._context.incident(
            notice.kind,
            notice.detail,
            **{name: value for name, value in fields.items() if value is not None},
        )

    def health(self, state: str, fields: Mapping[str, Any]) -> None:
        """Append one health event."""
        self._facts["latency_us"] = fields.get("latency_us") or self._facts["latency_us"]
        self._context.health(state, **fields)

    def ready(self) -> None:
        """Tell the launcher that history and subscriptions are complete."""
        self._context.heartbeat.market_ready = True
        self._context.heartbeat.send()

    def await_clock(self) -> int | None:
        """Wait until the clock of a real market runs, which starts once every role is ready.

        Returns:
            The exit code when the role has to end before, else None.
        """
        is_wall = self._context.manifest.clock_kind == "wall"
        while is_wall and not self.clock.is_running:
            code = self.end_code()
            if code is not None:
                return code
            time.sleep(AWAIT_S)
        return None

    def turn(self, waiting: int) -> None:
        """Count a turn of the loop."""
        self._context.heartbeat.turns += 1
        self._context.heartbeat.waiting = waiting

    def still_ms(self) -> int:
        """Return the total time in machine milliseconds that this process stood still."""
        return self._context.heartbeat.still_ms()

    def end_code(self) -> int | None:
        """Return the exit code when the role has to end now, else None."""
        code = self._gate.check()
        if code is None and self._context.control.draining:
            return CLEAN
        return code
