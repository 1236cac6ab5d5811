"""Generator of a synthetic market: trades, quotes and depth from a seed, endless, reproducible.

The market itself is in `random_market.py`; here it becomes the venue's messages. The bytes are the
same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from random import Random
from typing import Any, Final

from minibot.exchanges.tapes.decimals import to_text
from minibot.exchanges.tapes.frames import BOOK_TICKER, DEPTH, TRADE, Frame, SourceFacts
from minibot.exchanges.tapes.kline_bars import Bar, gather
from minibot.simulator.sources.random_market import RandomBook, RandomSymbol, Step, mix
from minibot.simulator.venue.instruments import entry

# 2025-01-06 18:00 UTC: a night of seven hours crosses midnight.
ORIGIN_MS: Final = 1_736_186_400_000
# How far back the market has a past; a minute's warm-up of 60 bars needs half of it.
PAST_S: Final = 7200
# With more symbols than this the past is thin, one second of trades a minute: two hours of 400
# symbols would take two minutes to make.
FULL_PAST_MAX: Final = 20
THIN_PAST_EVERY_S: Final = 60
# At high rates the past is thin too, every n-th second of trades: no client is served while it is
# made, three seconds at most.
PAST_MESSAGES_MAX: Final = 720_000
# Delay between a message's event time and its receipt.
DELAY_MS: Final = 5


# With fewer messages a second has no trade.
LIVELY: Final = 4
# Prices at the touch repeat within some seconds.
PRICES_MAX: Final = 256
FIRST_TRADE_ID: Final = 1_000_000


class Generator:
    """Synthetic markets of one or more symbols; see the module's docstring."""

    def __init__(self, seed: int, symbols: tuple[str, ...], rate_per_s: int) -> None:
        least = 1 if len(symbols) == 1 else LIVELY
        share = max(least, rate_per_s // len(symbols))
        # With many symbols at a low rate, each is active in some seconds only, in turn. How many
        # turns there are is rounded down, so that up to twice the rate comes.
        self._every_s = max(1, share * len(symbols) // max(1, rate_per_s))
        self._seed = seed
        self._markets = {symbol: RandomSymbol(symbol, seed, share) for symbol in symbols}
        self._past: dict[str, list[Bar]] = {}
        self.facts = SourceFacts(
            name=f"generator:{seed}",
            origin_ms=ORIGIN_MS,
            end_ms=None,
            symbols=symbols,
            has_depth=True,
            symbol_infos={
                symbol: entry(symbol, market.rules, "table")
                for symbol, market in self._markets.items()
            },
            streams=frozenset(
                f"{symbol.lower()}@{kind}"
                for symbol in symbols
                for kind in ("trade", "bookTicker", "depth@100ms")
            ),
            opening_books={
                symbol: _body(market, self._book(market))
                for symbol, market in self._markets.items()
            },
        )

    def frames(self) -> Iterator[Frame]:
        """Yield messages without end, in order of time."""
        if len(self._markets) == 1:
            return self._symbol_frames(next(iter(self._markets.values())))
        return self._merged()

    def _merged(self) -> Iterator[Frame]:
        """Yield the messages of all symbols: one second of each at a time, sorted.

        No message lies outside of its second. The next second is made piece by piece while this one
        goes out, so that no message waits for it.
        """
        makers = [
            _Maker(market, self._book(market), number % self._every_s)
            for number, market in enumerate(self._markets.values())
        ]
        second = ORIGIN_MS // 1000
        batch = [frame for maker in makers for frame in maker.frames(second, self._every_s)]
        batch.sort(key=_received)
        while True:
            second += 1
            later: list[Frame] = []
            waiting = iter(makers)
            share = max(1, len(batch) // len(makers))
            for number, frame in enumerate(batch):
                yield frame
                if number % share == 0 and (maker := next(waiting, None)) is not None:
                    later += maker.frames(second, self._every_s)
            for maker in waiting:
                later += maker.frames(second, self._every_s)
            # At equal times the symbol that comes first stays first: sorting is stable.
            later.sort(key=_received)
            batch = later

    def past_bars(self, symbol: str, interval: str) -> list[Bar]:
        """Return the bars of the last two hours before the origin, as the market makes them.

        A longer bar across the beginning of these two hours holds only its part within them.
        """
        if symbol not in self._past:
            first = ORIGIN_MS // 1000 - PAST_S
            market = self._markets[symbol]
            every_s = 1 if len(self._markets) <= FULL_PAST_MAX else THIN_PAST_EVERY_S
            every_s = max(every_s, market.rate_per_s * PAST_S // PAST_MESSAGES_MAX)
            seconds = range(first, first + PAST_S, every_s)
            bars = (market.second_bar(second) for second in seconds)
            self._past[symbol] = [bar for bar in bars if bar is not None]
        return gather(self._past[symbol], interval)

    def _book(self, market: RandomSymbol) -> RandomBook:
        """Return the book before the first message."""
        first = market.steps(ORIGIN_MS // 1000)[0]
        seed = mix(self._seed ^ len(market.symbol))
        book = RandomBook(Random(seed), first.bid, first.ask)
        book.quote(first)
        book.changed_bids, book.changed_asks = {}, {}
        book.sent_id = book.update_id
        return book

    def _symbol_frames(self, market: RandomSymbol, turn: int = 0) -> Iterator[Frame]:
        maker = _Maker(market, self._book(market), turn)
        second = ORIGIN_MS // 1000 + turn
        while True:
            yield from maker.frames(second, self._every_s)
            second += self._every_s


_received = attrgetter("at_ns")


class _Maker:
    """Maker of one symbol's messages, second by second; with many symbols only in its turn."""

    def __init__(self, market: RandomSymbol, book: RandomBook, turn: int) -> None:
        self._market, self._book, self._turn = market, book, turn
        self._writer = _Writer(market, book)

    def frames(self, second: int, every_s: int) -> list[Frame]:
        """Return the messages of a second in order; none if it is not the symbol's turn."""
        if (second - ORIGIN_MS // 1000 - self._turn) % every_s:
            return []
        market, book, writer = self._market, self._book, self._writer
        diffs = market.diffs_in(second)
        moments = [second * 1000 + (n + 1) * 1000 // (diffs or 1) - 1 for n in range(diffs)]
        made: list[Frame] = []
        for step in market.steps(second):
            while moments and moments[0] < step.at_ms:
                made += writer.diff(moments.pop(0))
            book.quote(step)
            if step.qty:
                made.append(writer.trade(step))
            made.append(writer.quote(step))
        for at_ms in moments:
            made += writer.diff(at_ms)
        return made


def _body(market: RandomSymbol, book: RandomBook) -> dict[str, Any]:
    """Return the book as a REST depth body."""

    def levels(side: dict[int, int], *, reverse: bool) -> list[list[str]]:
        prices = sorted(side, reverse=reverse)
        return [[to_text(p * market.tick), to_text(side[p] * market.step)] for p in prices]

    return {
        "lastUpdateId": book.update_id,
        "bids": levels(book.bids, reverse=True),
        "asks": levels(book.asks, reverse=False),
    }


class _Writer:
    """Writer of market steps as the venue's messages."""

    def __init__(self, market: RandomSymbol, book: RandomBook) -> None:
        self._market, self._book = market, book
        self._tick, self._step = market.tick, market.step
        self._prices: dict[int, str] = {}
        self._trade_id = FIRST_TRADE_ID
        stem = market.symbol.lower()
        self._streams = {
            kind: f"{stem}@{name}"
            for kind, name in ((TRADE, TRADE), (BOOK_TICKER, BOOK_TICKER), (DEPTH, "depth@100ms"))
        }

    def _frame(self, kind: str, at_ms: int, data: str) -> Frame:
        at_ns = (at_ms + DELAY_MS) * 1_000_000
        return Frame(at_ns, self._market.symbol, kind, self._streams[kind], data.encode())

    def _price(self, ticks: int) -> str:
        text = self._prices.get(ticks)
        if text is None:
            if len(self._prices) >= PRICES_MAX:
                self._prices.clear()
            text = self._prices[ticks] = to_text(ticks * self._tick)
        return text

    def _qty(self, steps: int) -> str:
        return to_text(steps * self._step)

    def trade(self, step: Step) -> Frame:
        self._trade_id += 1
        return self._frame(
            TRADE,
            step.at_ms,
            f'{{"e":"trade","E":{step.at_ms},"s":"{self._market.symbol}","t":{self._trade_id},'
            f'"p":"{self._price(step.price)}","q":"{self._qty(step.qty)}","T":{step.at_ms},'
            f'"m":{"true" if step.is_taker_sell else "false"},"M":true}}',
        )

    def quote(self, step: Step) -> Frame:
        return self._frame(
            BOOK_TICKER,
            step.at_ms,
            f'{{"u":{self._book.update_id},"s":"{self._market.symbol}",'
            f'"b":"{self._price(step.bid)}","B":"{self._qty(step.bid_qty)}",'
            f'"a":"{self._price(step.ask)}","A":"{self._qty(step.ask_qty)}"}}',
        )

    def diff(self, at_ms: int) -> Iterator[Frame]:
        book = self._book
        if book.update_id == book.sent_id:
            return
        first_id, book.sent_id = book.sent_id + 1, book.update_id
        bids, asks = self._levels(book.changed_bids), self._levels(book.changed_asks)
        book.changed_bids, book.changed_asks = {}, {}
        yield self._frame(
            DEPTH,
            at_ms,
            f'{{"e":"depthUpdate","E":{at_ms},"s":"{self._market.symbol}","U":{first_id},'
            f'"u":{book.update_id},"b":[{bids}],"a":[{asks}]}}',
        )

    def _levels(self, changed: dict[int, int]) -> str:
        return ",".join(
            f'["{self._price(price)}","{self._qty(qty)}"]' for price, qty in changed.items()
        )
