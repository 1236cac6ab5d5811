"""Liveness of the market data: the age of data, by line and by stream.

A line that is silent as a whole is given up, unless the venue's books say that nothing has
happened. A single stream can be silent while others on the same line flow, which no socket shows:

    depth    best quotes have moved on, but no update of the book has come for a while
    quote    the top of the proved book differs from a best quote that does not change any more,
             trades leave the touch, and neither quotes nor updates of the book follow them,
             or trades and moves of the book's top go on without any touch
    trade    the venue's own klines count trades that never came

The streams of such a symbol are subscribed again; if it happens to at least three symbols that are
half of a connection, the connection is given up: both with waits that only grow in a session. A
symbol that trades, also by the klines alone, or whose book moves, all the while, and gets no quote,
ends the run as an outage does. Data with growing delay count as old as they are late.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from minibot.exchanges.base import DEPTH, QUOTE, TRADE, Candle
from minibot.exchanges.base import Quote as BestQuote
from minibot.exchanges.top_check import Top
from minibot.market.connections import Connections
from minibot.market.elapsed_clock import MarketClock
from minibot.market.feed import Feed
from minibot.market.feed_health import FeedHealth
from minibot.market.notices import DATA_LATE, STREAM_SILENT
from minibot.market.requests import Requests
from minibot.market.rest_scheduler import Answer
from minibot.market.shard_health import LinkLimits, ShardHealth
from minibot.market.succession import Succession
from minibot.market.symbol import SymbolFeed

# However fast a simulated clock runs, a short pause of this process is no silence of the venue.
SILENCE_NS_MIN: Final = 1_000_000_000
# Books of a silent line that are compared with the venue's, at weight 5 each.
SAMPLE_MAX: Final = 5
LOOK_MS: Final = 1_000
# A symbol may have no trade for minutes; after this long the venue's klines are asked, weight 2.
TRADE_SILENCE_MS: Final = 60_000
TRADE_CHECK_MS: Final = 5_000
# A symbol's streams are subscribed again at most this often, with growing waits.
RENEW_MS: Final = 60_000
RENEW_MS_MAX: Final = 1_800_000
# From three symbols on, when they are half of a connection, the connection is at fault.
SYMBOLS_OF_A_LINE: Final = 3
# The exchange's clock is known to half the time of an answer, which is well under two seconds.
SKEW_SLACK_MS: Final = 1_000


@dataclass(slots=True)
class _Watch:
    """State of a symbol at the last checks.

    Attributes:
        quote: The last best quote.
        moved_ms: When the quote last changed, or last agreed with the book.
        ahead_ms: Since when best quotes have moved on and the book has not.
        owed_ms: When the first sign of a newer touch came that no quote has followed.
        sign_ms: When the last one came.
        top: Top of the proved book.
        top_ms: When a look last found it moved.
        missed_ms: Since when quotes are found to be missing.
        active_ms: When the last trade or move of the book's top came while they were.
    """

    quote: BestQuote | None = None
    moved_ms: int = 0
    ahead_ms: int | None = None
    owed_ms: int | None = None
    sign_ms: int = 0
    top: Top | None = None
    top_ms: int = 0
    missed_ms: int | None = None
    active_ms: int = 0


def _top_of(feed: SymbolFeed) -> Top | None:
    """Return the top of the proved book; None without one."""
    book = feed.depth.keeper.book
    return None if book is None else book.touch()


def _has_moved(feed: SymbolFeed, quote: BestQuote) -> bool:
    """Return whether the top of the proved book differs from the quote."""
    top = _top_of(feed)
    return top is not None and top != (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty)


def _is_quote_owed(watch: _Watch, feed: SymbolFeed, now_ms: int, silence_ms: int) -> bool:
    """Return whether there have been signs of a newer touch for a while, and no quote of it.

    A trade at neither price of the touch has left it, so that a quote and an update of the book
    follow; a proved book that gets updates tells of a frozen quote itself. Without a touch any
    trade is a sign, and any move of the book's top. A refused quote shows a stream that is alive.
    """
    seen_ms, quote = feed.seen_ms, feed.ticks.quote
    heard_ms = max(feed.connected_ms or 0, feed.quoted_ms)
    sign_ms = seen_ms.get(TRADE, 0)
    before, watch.top = watch.top, _top_of(feed)
    if before is not None and watch.top is not None and before != watch.top:
        watch.top_ms = now_ms
    if quote is None:
        sign_ms = max(sign_ms, watch.top_ms)
    else:
        if feed.depth.is_valid:
            heard_ms = max(heard_ms, seen_ms.get(DEPTH, 0))
        if feed.last_trade_units in (quote.bid_units, quote.ask_units):
            sign_ms = 0
    if watch.owed_ms is None or watch.owed_ms <= heard_ms:
        watch.owed_ms = sign_ms if sign_ms > heard_ms else None
    # The sign of the last look: a quote that follows one of this moment may be on its way.
    is_owed = watch.owed_ms is not None and watch.sign_ms - watch.owed_ms >= silence_ms
    watch.sign_ms = max(watch.sign_ms, sign_ms)
    return is_owed


class Liveness:
    """Checks of lines and streams, as of when the loop had read everything.

    Args:
        limits: Thresholds of the profile.
        feed: Its symbols say when each stream last brought data.
        link: Ends the run when a symbol lacks quotes for too long.
        connections: Gives connections up, or subscribes again.
        requests: For requests to the venue.
        clock: The run's clock.
        machine_ns: Machine time.
        check_rules: Requests the rules of the followed symbols.

    Attributes:
        lacks_quotes: Whether a symbol has moved without a quote, as of the last look.
    """

    def __init__(
        self,
        limits: LinkLimits,
        feed: Feed,
        link: FeedHealth,
        connections: Connections,
        requests: Requests,
        clock: MarketClock,
        machine_ns: Callable[[], int],
        check_rules: Callable[[], None],
    ) -> None:
        self._limits = limits
        self._feed = feed
        self._link = link
        self._connections = connections
        self._requests = requests
        self._clock = clock
        self._machine_ns = machine_ns
        self._check_rules = check_rules
        self._began_ns = machine_ns()
        self._checking: set[int] = set()
        self._checked_ns: dict[int, int] = {}
        self._look_due = self._looked_ms = self._looking_ms = 0
        self._trade_due = 0
        self._watches: dict[str, _Watch] = {}
        # Symbols whose klines count trades that never came, and when those were asked for.
        self._trades_silent: dict[str, int] = {}
        # Symbols without trades for long, each with the time of its last one; and when their klines
        # were asked for.
        self._quiet: dict[str, int] = {}
        self._asked_ms: dict[str, int] = {}
        self._is_asking = False
        self._renewals: dict[str, tuple[int, int]] = {}
        self._delays: dict[int, int] = {}
        self._late_since: dict[int, int] = {}
        self.silent_streams = 0
        self.lacks_quotes = False

    def begin(self) -> None:
        """Count silence from now on: before the run's clock runs, a line owes nothing."""
        self._began_ns = self._machine_ns()

    def look(self, now_ms: int) -> None:
        """Judge every line, and once a second every stream.

        Raises:
            FeedLost: FEED_STALE; a symbol has moved for too long without a quote, or data have come
                late for too long.
        """
        for shard in list(self._connections.shards):
            self._watch_line(shard, now_ms)
        if now_ms >= self._look_due:
            self._look_due = now_ms + LOOK_MS
            self._looked_ms, self._looking_ms = self._looking_ms, now_ms
            self._forget_closed()
            for shard in list(self._connections.shards):
                self._watch_lateness(shard, now_ms)
                is_late = shard.number in self._late_since
                self._feed.hold_back(shard.groups, now_ms, is_late=is_late)
                self._watch_streams(shard, now_ms)
            self.lacks_quotes = any(
                watch.missed_ms is not None and watch.missed_ms > self._feed.symbols[name].quoted_ms
                for name, watch in self._watches.items()
                if name in self._feed.symbols
            )
            self._ask_trades(now_ms)

    def _second_ms(self) -> int:
        """Return one second of machine time in market milliseconds: no silence is shorter."""
        return int(1000 / self._clock.machine_s(1000))

    def is_quiet(self, line: ShardHealth) -> bool:
        """Return whether a line has been silent for long enough of machine time."""
        return self._machine_ns() - max(line.frame_ns, self._began_ns) >= SILENCE_NS_MIN

    # --- lines --------------------------------------------------------------------------------

    def _watch_line(self, shard: Succession, now_ms: int) -> None:
        line = shard.line
        if shard.number in self._checking or not line.is_silent(now_ms):
            return
        checked_ns = self._checked_ns.get(shard.number, 0)
        if not self.is_quiet(line) or self._machine_ns() - checked_ns < SILENCE_NS_MIN:
            return
        sample = self._sample(shard)
        if not sample and self.is_halted(shard):
            # None of its symbols trades, so silence is expected; their rules are checked.
            line.on_quiet(now_ms)
            return
        self._checking.add(shard.number)
        self._requests.check_quiet(sample, partial(self._on_checked, shard))

    def _sample(self, shard: Succession) -> list[str]:
        """Return the trading symbols of a shard that brought data most recently."""
        feeds = self._feed.symbols
        trading = self._feed.rules.is_trading
        known = [name for name in shard.groups if name in feeds and trading(name)]
        return sorted(known, key=lambda name: -feeds[name].data_ms)[:SAMPLE_MAX]

    def is_halted(self, shard: Succession) -> bool:
        """Return whether a shard has symbols, and none of them trades."""
        rules = self._feed.rules
        names = [name for name in shard.groups if name in self._feed.symbols]
        return bool(names) and not any(rules.is_trading(name) for name in names)

    def _on_checked(self, shard: Succession, is_quiet: bool) -> None:
        """Give a silent connection up, unless the venue says that nothing has happened."""
        self._checking.discard(shard.number)
        self._checked_ns[shard.number] = self._machine_ns()
        now_ms = self._clock.now_ms()
        if is_quiet:
            shard.line.on_quiet(now_ms)
        elif shard.line.is_silent(now_ms):
            shard.give_up(now_ms, f"no data for {shard.line.data_age_ms(now_ms)} ms")
        # A halted symbol is silent too; its rules would say so.
        self._check_rules()

    # --- lateness -----------------------------------------------------------------------------

    def _watch_lateness(self, shard: Succession, now_ms: int) -> None:
        """Set the delay of a line: how far its best symbol is behind its usual delay.

        Raises:
            FeedLost: FEED_STALE; it has been late for too long.
        """
        line = shard.line
        since_ms = max(now_ms - self._limits.tick_stale_ms, line.connected_ms)
        delays = [
            feed.seen_ms[TRADE] - feed.order.last_ts
            for name in shard.groups
            if (feed := self._feed.symbols.get(name)) is not None
            and feed.seen_ms.get(TRADE, 0) >= since_ms
            and feed.order.last_ts
        ]
        if not line.is_connected:
            return
        if not delays:
            # A connection after a late one is on time if no trade says otherwise for a while.
            if since_ms > line.connected_ms and not line.late_ms:
                self._late_since.pop(shard.number, None)
            return
        delay = min(delays)
        # The exchange's clock is `skew_ms` ahead, so a trade without delay is `-skew_ms` old.
        usual = self._delays.setdefault(shard.number, min(delay, -self._feed.skew_ms))
        self._delays[shard.number] = usual = min(usual, delay)
        # One trade may be stamped ahead, and the exchange's clock be set back.
        late_ms = delay - max(usual, -self._feed.skew_ms - SKEW_SLACK_MS)
        is_late = late_ms > self._limits.tick_stale_ms
        is_late = is_late and late_ms >= self._second_ms()
        if is_late and not line.late_ms:
            detail = f"trades come {late_ms} ms later than before; they count as that old"
            self._feed.board.add(now_ms, DATA_LATE, detail)
        line.on_late(late_ms if is_late else 0)
        if not is_late:
            self._late_since.pop(shard.number, None)
        else:
            began_ms = self._late_since.setdefault(shard.number, now_ms)
            self._link.on_held_back(late_ms, now_ms - began_ms)
        is_hopeless = is_late and late_ms >= self._limits.silence_ms and not shard.has_successor
        # A venue that is late on every connection gets later by reconnecting: growing waits.
        if is_hopeless and self._may_renew(f"shard {shard.number}", now_ms):
            shard.give_up(now_ms, f"data come {late_ms} ms late")

    # --- streams ------------------------------------------------------------------------------

    def _forget_closed(self) -> None:
        """Forget what was seen of symbols that left or do not trade, but not their waits.

        If they come back, their streams are judged afresh; the waits of renewals go on growing.
        """
        trading = self._feed.rules.is_trading
        for name in list(self._watches):
            if name not in self._feed.symbols or not trading(name):
                del self._watches[name]
                self._asked_ms.pop(name, None)
                self._trades_silent.pop(name, None)

    def _watch_streams(self, shard: Succession, now_ms: int) -> None:
        silent: dict[str, str] = {}
        # A symbol that does not trade is rightly silent.
        trading = self._feed.rules.is_trading
        names = [name for name in shard.groups if name in self._feed.symbols and trading(name)]
        for name in names:
            feed = self._feed.symbols[name]
            stream = self._silent_stream(name, feed, now_ms)
            # A stream that brings updates of the book is not renewed for want of a snapshot.
            if stream and not feed.awaits_snapshot(now_ms - self._limits.silence_ms):
                silent[name] = stream
            if stream == TRADE and now_ms - feed.quoted_ms >= self._limits.silence_ms:
                # A trade always changes the touch, and klines count trades of a while ago.
                self._watches[name].active_ms = now_ms
                self._judge_quotes(name, feed, now_ms)
            elif stream == QUOTE:
                self._judge_quotes(name, feed, now_ms)
        if len(silent) >= SYMBOLS_OF_A_LINE and 2 * len(silent) >= len(names):
            # A stream that no connection brings is no reason to lose the others again and again.
            if self._may_renew(f"shard {shard.number} streams", now_ms):
                self.silent_streams += len(silent)
                stream = next(iter(silent.values()))
                shard.give_up(now_ms, f"{stream} streams of {len(silent)} symbols are silent")
            return
        for name, stream in silent.items():
            if self._may_renew(name, now_ms):
                self.silent_streams += 1
                detail = f"{name}: no {stream}, although there should be; requested again"
                self._feed.board.add(now_ms, STREAM_SILENT, detail)
                shard.renew([name], f"{stream} stream silent", now_ms)

    def _silent_stream(self, name: str, feed: SymbolFeed, now_ms: int) -> str:
        """Return the stream of a symbol that is silent although the others show activity."""
        watch, quote = self._watches.setdefault(name, _Watch()), feed.ticks.quote
        silence_ms = max(self._limits.silence_ms, self._second_ms())
        connected_ms, depth_ms = feed.connected_ms, feed.seen_ms.get(DEPTH)
        if quote is not watch.quote:
            watch.quote, watch.moved_ms = quote, now_ms
            watch.ahead_ms = now_ms if watch.ahead_ms is None else watch.ahead_ms
        is_owed = connected_ms is not None and _is_quote_owed(watch, feed, now_ms, silence_ms)
        if connected_ms is None or now_ms - connected_ms < silence_ms:
            watch.ahead_ms = None
            return ""
        # A snapshot that nothing follows shows a stream that is silent from the start; a source
        # without a book gives none.
        followed_ms = connected_ms if depth_ms is None and feed.depth.is_valid else depth_ms
        if quote is None or followed_ms is None or followed_ms >= self._looked_ms:
            watch.ahead_ms = None
        elif watch.ahead_ms is not None and now_ms - watch.ahead_ms >= silence_ms:
            watch.ahead_ms = None
            return DEPTH
        asked_ms = self._trades_silent.pop(name, 0)
        if asked_ms > max(connected_ms, feed.seen_ms.get(TRADE, 0)):
            return TRADE
        self._note_quiet(name, feed, now_ms)
        if is_owed:
            return QUOTE
        if quote is None or not _has_moved(feed, quote):
            watch.moved_ms = now_ms
            return ""
        # Only a book that still gets updates can show that a quote has missed them.
        return QUOTE if depth_ms is not None and depth_ms - watch.moved_ms >= silence_ms else ""

    def _judge_quotes(self, name: str, feed: SymbolFeed, now_ms: int) -> None:
        """Stop the run when a symbol that trades or moves has lacked quotes for too long.

        Raises:
            FeedLost: FEED_STALE.
        """
        watch = self._watches[name]
        if watch.missed_ms is None or watch.missed_ms <= feed.quoted_ms:
            watch.missed_ms = now_ms
        # Of a look before: a quote that follows a sign of this moment may be on its way.
        self._link.on_unquoted(name, watch.active_ms - watch.missed_ms)
        watch.active_ms = max(feed.seen_ms.get(TRADE, 0), watch.top_ms)

    def _may_renew(self, name: str, now_ms: int) -> bool:
        count, free_ms = self._renewals.get(name, (0, 0))
        if now_ms < free_ms:
            return False
        wait_ms = min(RENEW_MS << min(count, 10), RENEW_MS_MAX)
        self._renewals[name] = (count + 1, now_ms + wait_ms)
        return True

    # --- trades -------------------------------------------------------------------------------

    def _note_quiet(self, name: str, feed: SymbolFeed, now_ms: int) -> None:
        """Note a symbol that has not traded for long, unless it was subscribed again just now."""
        heard_ms = max(feed.seen_ms.get(TRADE, 0), feed.connected_ms or now_ms)
        if now_ms - heard_ms < TRADE_SILENCE_MS or now_ms < self._renewals.get(name, (0, 0))[1]:
            return
        self._quiet[name] = max(feed.order.last_ts, heard_ms + self._feed.skew_ms)

    def _ask_trades(self, now_ms: int) -> None:
        """Check the venue's klines for one of the quiet symbols: that of the oldest check."""
        quiet, self._quiet = self._quiet, {}
        if not quiet or self._is_asking or now_ms < self._trade_due:
            return
        name = min(quiet, key=lambda name: self._asked_ms.get(name, 0))
        self._is_asking, self._trade_due = True, now_ms + TRADE_CHECK_MS
        self._asked_ms[name] = now_ms
        self._requests.ask_trades(name, partial(self._on_klines, name, quiet[name], now_ms))

    def _on_klines(self, name: str, last_ts: int, asked_ms: int, answer: Answer) -> None:
        """Note that trades never came, unless the symbol left or closed meanwhile."""
        self._is_asking = False
        candles: list[Candle] = answer.value or []
        has_traded = any(candle.trades and candle.open_ts > last_ts for candle in candles)
        if has_traded and name in self._watches:
            self._trades_silent[name] = asked_ms
