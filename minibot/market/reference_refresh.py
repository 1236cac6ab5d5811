"""Periodic requests for reference data: the rules of followed symbols, and the universe.

    every `instrument_interval`   rules of the followed symbols; one that is gone is delisted
    every `universe.interval`     all listings and volumes; the universe is resolved again
    every second                  symbols that left are given up once no position is held

A symbol that left is not tradable from the `universe` event on. Its streams stay for the longest
life of an order and a minute, so that an order on its way still meets its market, and for as long
as a position is held. While a symbol does not trade, is silent or has prices refused, the rules of
all followed symbols but the delisted are requested once a minute: it may be back, halted or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from msgspec.structs import replace

from minibot.events.model import Instrument, Universe
from minibot.exchanges.base import FrameInvalid
from minibot.exchanges.venue_facts import Listings, Tickers
from minibot.market.elapsed_clock import MarketClock, next_due
from minibot.market.feed import Feed
from minibot.market.marks import Marks
from minibot.market.monitor import PriceMonitor
from minibot.market.notices import UNIVERSE_CHANGED, UNIVERSE_UNRESOLVED
from minibot.market.requests import Requests, is_refusal
from minibot.market.rest_scheduler import Answer, Job
from minibot.market.rules import UNREADABLE
from minibot.market.universe import Resolution, UniverseConfig, listed_universe, resolve

# Beyond the longest life of an order: one that was allowed just before is on its way meanwhile.
LINGER_MS: Final = 60_000
HOLDINGS_MS: Final = 1_000
# A symbol may be halted, or trade again, long before its rules are due.
DOUBT_MS: Final = 60_000
SILENT_MS: Final = 30_000


class Holder(Protocol):
    """Source of the symbols in which a position is held."""

    def symbols(self) -> frozenset[str]:
        """Return the symbols in which a position is held now."""


class NothingHeld:
    """Holder without positions, for a session outside a run."""

    def symbols(self) -> frozenset[str]:
        """Return nothing."""
        return frozenset()


class Follower(Protocol):
    """Follower of symbols and streams: the session."""

    def follow(self, symbols: Iterable[str]) -> None:
        """Start to follow symbols: rules, history, streams and book, in that order."""

    def unfollow(self, symbols: Iterable[str]) -> None:
        """Stop following symbols."""

    def follow_streams(self, name: str, streams: Sequence[str]) -> None:
        """Follow streams of the whole market."""


class ReferenceRefresh:
    """Refresh of a session's rules and universe; all of it runs in the session's loop."""

    def __init__(
        self,
        config: UniverseConfig | None,
        tickers: Tickers | None,
        feed: Feed,
        requests: Requests,
        follower: Follower,
        clock: MarketClock,
        holder: Holder,
        *,
        rules_interval_ms: int,
        order_ttl_ms: int = 0,
    ) -> None:
        self.config = config
        self.universe: Universe | None = None
        self.monitor = PriceMonitor(feed.board)
        self.marks = Marks()
        self._tickers = tickers
        self._feed = feed
        self._requests = requests
        self._follower = follower
        self._clock = clock
        self._holder = holder
        self._rules_interval_ms = rules_interval_ms
        self._linger_ms = order_ttl_ms + LINGER_MS
        self._rules_due = self._doubt_due = self._universe_due = self._holdings_due = 0
        self._leaving: dict[str, int] = {}
        self._former: dict[str, Instrument] = {}
        self._traded_before: tuple[str, ...] = ()
        self._asked: dict[str, int] = {}
        # Refused prices by symbol when rules were last requested.
        self._outliers: dict[str, int] = {}
        self._is_checking = self._is_resolving = False

    def resume(
        self,
        left: Mapping[str, int],
        left_by: int | None,
        rules: Mapping[str, Instrument],
        traded: Sequence[str] = (),
    ) -> None:
        """Resume after a former process of the same run, before the first universe.

        Args:
            left: The symbols that it gave up, and when.
            left_by: When it had given up any other symbol, if there may be more.
            rules: The last rules that it told of each symbol.
            traded: The traded symbols of its last universe; none if that is not known.
        """
        self._feed.resume_left(left, left_by)
        self._former.update(rules)
        self._traded_before = tuple(traded)

    # --- cadence ------------------------------------------------------------------------------

    def begin(self, now_ms: int) -> None:
        """Start the intervals now: everything was requested at the start."""
        self._rules_due = now_ms + self._rules_interval_ms
        self._doubt_due = now_ms + DOUBT_MS
        if self.config is not None:
            self._universe_due = now_ms + self.config.interval_ms
        self._holdings_due = now_ms

    def on_clock(self, now_ms: int) -> None:
        """Make the requests that are due."""
        if now_ms >= self._rules_due or (now_ms >= self._doubt_due and self._is_in_doubt(now_ms)):
            self.check_rules()
        config = self.config
        if config is not None and config.is_dynamic and now_ms >= self._universe_due:
            self._universe_due = next_due(self._universe_due, now_ms, config.interval_ms)
            self._resolve_again()
        if now_ms >= self._holdings_due:
            self._holdings_due = next_due(self._holdings_due, now_ms, HOLDINGS_MS)
            self._look_at_holdings(now_ms)

    # --- rules --------------------------------------------------------------------------------

    def _is_in_doubt(self, now_ms: int) -> bool:
        """Return whether a listed symbol does not trade, is silent, or had a price refused."""
        rules = self._feed.rules
        return any(
            not rules.is_gone(name)
            and (
                not rules.is_trading(name)
                or now_ms - symbol.data_ms >= SILENT_MS
                or symbol.outliers > self._outliers.get(name, 0)
            )
            for name, symbol in self._feed.symbols.items()
        )

    def check_rules(self) -> None:
        """Request the rules of followed symbols; a change becomes an `instrument` event.

        One delisted name makes the venue refuse the whole request. In that case all listings are
        requested, and followed symbols that are missing there are delisted.
        """
        symbols = [name for name in self._feed.symbols if not self._feed.rules.is_gone(name)]
        now_ms = self._clock.now_ms()
        self._outliers = {name: symbol.outliers for name, symbol in self._feed.symbols.items()}
        self._rules_due = now_ms + self._rules_interval_ms
        self._doubt_due = now_ms + min(DOUBT_MS, self._rules_interval_ms)
        if self._is_checking or not symbols:
            return
        self._is_checking = True

        def done(answer: Answer) -> None:
            self._is_checking = False
            if answer.error is None and not answer.is_skipped:
                self._feed.on_instruments(answer.value, self._clock.now_ms())
            elif is_refusal(answer.error):
                self._is_checking = True
                self._requests.courier.send(self.listings(whole))

        def whole(answer: Answer) -> None:
            self._is_checking = False
            if answer.error is None and not answer.is_skipped:
                self.take_rules(answer.value, symbols)

        self._requests.courier.send(self._requests.instruments_of(symbols, done))

    def take_rules(self, listings: Listings, symbols: Iterable[str]) -> None:
        """Take the rules of followed symbols from all listings; missing symbols are delisted."""
        rules = self._feed.rules
        taken: list[Instrument] = []
        for symbol in symbols:
            listing = listings.by_symbol.get(symbol)
            if (listing is None or listing.instrument is None) and symbol in self._former:
                rules.recall(self._former[symbol])
            known = rules.of(symbol)
            if listing is None:
                taken += rules.missing([symbol])
            elif listing.instrument is not None:
                taken.append(listing.instrument)
            elif known is not None:
                taken.append(replace(known, status=UNREADABLE))
        self._feed.on_instruments(taken, self._clock.now_ms())

    # --- universe -----------------------------------------------------------------------------

    def listings(self, done: Callable[[Answer], None]) -> Job:
        """Return the job that requests all listings."""
        quote = None if self.config is None else self.config.quote_asset
        return Job(*self._requests.limits.listings, lambda rest: rest.listings(quote), done)

    def volumes(self, done: Callable[[Answer], None]) -> Job:
        """Return the job that requests the volumes of all symbols."""
        return Job(*self._requests.limits.volumes, lambda rest: rest.day_volumes(), done)

    def _resolve_again(self) -> None:
        if self._is_resolving:
            return
        self._is_resolving = True
        found: list[Listings] = []

        def listed(answer: Answer) -> None:
            if answer.error is not None or answer.is_skipped:
                self._unresolved(str(answer.error))
                return
            found.append(answer.value)
            self._requests.courier.send(self.volumes(measured))

        def measured(answer: Answer) -> None:
            if answer.error is not None or answer.is_skipped:
                self._unresolved(str(answer.error))
                return
            self._is_resolving = False
            resolution = self.resolution(found[0], answer.value)
            if not resolution.traded:
                self._unresolved("no symbol passes")
                return
            self.take_rules(found[0], list(self._feed.symbols))
            self._change(resolution)

        self._requests.courier.send(self.listings(listed))

    def _unresolved(self, why: str) -> None:
        """Keep the universe as it is: a missing answer is no reason to sell anything."""
        self._is_resolving = False
        detail = f"{why}; the universe stays as it is"
        self._feed.board.add(self._clock.now_ms(), UNIVERSE_UNRESOLVED, detail)

    def resolution(self, listings: Listings, volumes: dict[str, str]) -> Resolution:
        """Return the universe that follows from the answers and the symbols traded now."""
        if self.config is None:
            raise ValueError("a profile without a universe has nothing to resolve")
        # Among the followed are also symbols that left just before a restart, or are held.
        before = self._traded_before or tuple(self._feed.symbols)
        if self.universe is not None:
            before = self.universe.traded
        return resolve(self.config, listings, volumes, before)

    def open(self, resolution: Resolution, listings: Listings | None) -> None:
        """Take the first universe: follow its symbols in the feed, and write its event.

        The session's opening then requests history and streams of the symbols that the feed
        follows.
        """
        now_ms = self._clock.now_ms()
        if listings is not None:
            wanted = dict.fromkeys([*resolution.traded, *sorted(self._holder.symbols())])
            for symbol in wanted:
                listing = listings.by_symbol.get(symbol)
                if listing is not None and listing.instrument is not None:
                    self._feed.follow(symbol, now_ms)
                    self._feed.on_instruments([listing.instrument], now_ms)
            self.take_rules(listings, list(self._feed.symbols))
        self._say(resolution, now_ms)
        for symbol in set(self._feed.symbols) - set(resolution.traded):
            self._leaving[symbol] = now_ms + self._linger_ms

    def _change(self, resolution: Resolution) -> None:
        """Take a later universe: follow new symbols; those that left linger for `_linger_ms`."""
        now_ms = self._clock.now_ms()
        traded = set(resolution.traded)
        before = set() if self.universe is None else set(self.universe.traded)
        self._say(resolution, now_ms)
        self._follower.follow(resolution.traded)
        for symbol in traded:
            self._leaving.pop(symbol, None)
        for symbol in (before | set(self._feed.symbols)) - traded:
            self._leaving.setdefault(symbol, now_ms + self._linger_ms)
        if traded != before:
            detail = f"in: {_list(traded - before)}; out: {_list(before - traded)}"
            self._feed.board.add(now_ms, UNIVERSE_CHANGED, detail)

    def _say(self, resolution: Resolution, now_ms: int) -> None:
        """Write the `universe` event, unless it says the same again; see `_names`."""
        if self.config is None:
            return
        before = self.universe
        generation = 1 if before is None else before.generation + 1
        event = resolution.event(self.config, self._holder.symbols(), generation)
        if before is not None and _names(event) == _names(before):
            return
        self.universe = event
        self._feed.write(event, now_ms)

    # --- symbols that left --------------------------------------------------------------------

    def _look_at_holdings(self, now_ms: int) -> None:
        """Give up symbols that left and are not held; write the universe when this changes it."""
        held = self._holder.symbols()
        self._follow_held(held, now_ms)
        universe = self.universe
        if universe is None:
            return
        gone = [
            symbol
            for symbol, until_ms in sorted(self._leaving.items())
            if now_ms >= until_ms and symbol not in held
        ]
        for symbol in gone:
            del self._leaving[symbol]
        if gone:
            self._follower.unfollow(gone)
        kept = tuple(sorted(held - set(universe.traded)))
        if kept != universe.kept:
            self.universe = replace(universe, kept=kept, generation=universe.generation + 1)
            self._feed.write(self.universe, now_ms)

    def _follow_held(self, held: frozenset[str], now_ms: int) -> None:
        """Follow symbols carried from a former run into a list that does not name them.

        The venue may refuse them now and not later, so they are requested again while they are
        held. Without a universe the list is written as one: nothing else forbids an entry there.
        Beside a list, a symbol that is sold later stays followed for as long as this process runs.
        """
        asked = self._asked
        due = sorted(
            name for name in held - set(self._feed.symbols) if now_ms >= asked.get(name, now_ms)
        )
        if not due:
            return
        if self.universe is None:
            symbols = self._feed.config.symbols
            rules = self._feed.rules.of(symbols[0])
            if rules is None:
                return  # Asked again at the next look: these come first.
            self.universe = listed_universe(symbols, rules, held)
            self._feed.write(self.universe, now_ms)
        asked.update(dict.fromkeys(due, now_ms + DOUBT_MS))
        self._follower.follow(due)

    # --- mini tickers -------------------------------------------------------------------------

    def watch(self) -> None:
        """Follow the last prices of the whole market, where the profile has a universe."""
        if self.config is not None and self._tickers is not None:
            stream = self._tickers.stream
            self._follower.follow_streams(stream, (stream,))

    def on_market_wide(self, data: bytes, ts: int) -> None:
        """Take a frame of a stream of the whole market.

        Raises:
            FrameInvalid: The frame cannot be used.
        """
        feed = self._feed
        if self._tickers is None:
            raise FrameInvalid("the venue has no stream of the whole market")
        tickers = self._tickers.parse(data)
        prices = {name: symbol.band.reference for name, symbol in feed.symbols.items()}
        self.monitor.take(tickers, prices, ts)
        self.marks.take(tickers, feed, ts)

    # --- figures ------------------------------------------------------------------------------

    def figures(self, now_ms: int) -> dict[str, int]:
        """Return the figures of the universe for health events; empty without a universe."""
        universe = self.universe
        if universe is None:
            return {}
        members = [*universe.traded, *universe.watched]
        return {
            "universe_traded": len(universe.traded),
            "universe_watched": len(universe.watched),
            "universe_kept": len(universe.kept),
            "universe_heard": self.monitor.heard(members, now_ms),
            "price_disagreements": self.monitor.disagreements,
            "price_marks": self.marks.written,
        }


def _list(symbols: Iterable[str]) -> str:
    return " ".join(sorted(symbols)) or "none"


def _names(event: Universe) -> tuple[object, ...]:
    """Return the parts of a universe whose change is worth an event.

    Those are its members, the missing bases, and the excluded symbols with their reasons; neither
    the order of rank nor the volumes.
    """
    excluded = {reason: sorted(names) for reason, names in event.excluded.items()}
    return (
        sorted(event.traded),
        sorted(event.watched),
        event.kept,
        event.missing_bases,
        excluded,
    )
