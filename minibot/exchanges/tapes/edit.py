"""Edited tapes: a span cut out so that it plays by itself, or several tapes merged into one.

A cut begins with the rules of the instruments and with the book of each symbol at that moment,
rebuilt from the lines before it, because diffs alone do not give a book. A merge puts lines in
order of receipt and drops those that another recorder of the same streams has written within the
last minutes.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import orjson

from minibot.exchanges.binance.book import LocalBook
from minibot.exchanges.kraken.book import CHECKED_LEVELS, KrakenBook, checksum
from minibot.exchanges.tapes.check import Check
from minibot.exchanges.tapes.lines import RULES, Line, kind_of, snapshot_line

# Two recorders of one stream get a message within seconds; later it is another message.
SAME_NS_MAX: Final = 300 * 10**9
LEVELS_ALL: Final = 1 << 30


@dataclass(slots=True)
class Cut:
    """Lines received from `from_ns` to before `to_ns`, with a beginning that makes them playable.

    Attributes:
        books: Symbols that got a book at the beginning.
        without: Symbols whose book was not known at that moment.
    """

    from_ns: int
    to_ns: int
    depth: int = 0
    lines: int = 0
    books: list[str] = field(default_factory=list)
    without: list[str] = field(default_factory=list)

    def of(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines of the cut."""
        check, is_begun = Check(self.depth), False
        rules: list[tuple[frozenset[str], bytes]] = []
        now_ns = 0
        for line in lines:
            # Where a tape goes back, time stands still, as when it is played: no line is lost.
            now_ns = max(now_ns, line.at_ns)
            if now_ns >= self.to_ns:
                break
            if now_ns >= self.from_ns:
                if not is_begun:
                    is_begun = True
                    yield from self._opening(line.at_ns, check, rules)
                self.lines += 1
                yield line
            else:
                check.take(line)
                names = _rules_of(line.message)
                if names:
                    # Each recording of a merged tape has only the rules of its own symbols.
                    rules = [each for each in rules if not each[0] <= names]
                    rules.append((names, line.message))

    def _opening(
        self, at_ns: int, check: Check, rules: Sequence[tuple[frozenset[str], bytes]]
    ) -> Iterator[Line]:
        for _, message in rules:
            yield Line(0, at_ns, message)
        for symbol, state in sorted(check.symbols.items()):
            book = state.keeper.book
            if isinstance(book, LocalBook):
                bids, asks = book.bids.top(LEVELS_ALL), book.asks.top(LEVELS_ALL)
                yield Line(0, at_ns, snapshot_line(book.book_id, bids, asks, symbol, book.edges))
            elif isinstance(book, KrakenBook):
                yield Line(0, at_ns, kraken_snapshot(symbol, book))
            elif state.diffs:
                self.without.append(symbol)
                continue
            else:
                continue
            self.books.append(symbol)


def _rules_of(message: bytes) -> frozenset[str]:
    """Return the symbols whose rules a message holds; none for any other message."""
    if kind_of(message) != RULES:
        return frozenset()
    try:
        return frozenset(info["symbol"] for info in orjson.loads(message)["symbols"])
    except (ValueError, KeyError, TypeError):
        return frozenset()


def kraken_snapshot(symbol: str, book: KrakenBook) -> bytes:
    """Return the book as a snapshot of Kraken's version 2, with unchanged digits."""
    sides = [
        ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side.top(LEVELS_ALL))
        for side in (book.bids, book.asks)
    ]
    number = checksum(book.asks.top(CHECKED_LEVELS), book.bids.top(CHECKED_LEVELS))
    name = orjson.dumps(symbol).decode()
    return (
        f'{{"channel":"book","type":"snapshot","data":[{{"symbol":{name},"bids":[{sides[0]}],'
        f'"asks":[{sides[1]}],"checksum":{number},"minibot_rebuilt":true}}]}}'
    ).encode()


@dataclass(slots=True)
class Merge:
    """Several tapes in order of receipt.

    A message counts as a duplicate when another tape had the same bytes within five to ten minutes.
    Within such a span the merged tape has the same bytes as often as the tape that has them most
    often; later ones count anew. Marks are messages too.
    """

    lines: int = 0
    dropped: int = 0
    _written: dict[bytes, int] = field(default_factory=dict)
    _before: dict[bytes, int] = field(default_factory=dict)
    _turned_ns: int = 0

    def of(self, tapes: Sequence[Iterable[Line]]) -> Iterator[Line]:
        """Yield the lines of all tapes, in order."""
        heard = [(Counter[bytes](), Counter[bytes]()) for _ in tapes]
        sources = [_in_order(index, tape) for index, tape in enumerate(tapes)]
        for at_ns, index, line in heapq.merge(*sources, key=lambda each: each[:2]):
            passed_ns = at_ns - self._turned_ns
            if passed_ns >= SAME_NS_MAX:
                self._turned_ns = at_ns
                is_near = passed_ns < 2 * SAME_NS_MAX
                self._before, self._written = self._written if is_near else {}, {}
                heard = [(Counter[bytes](), now if is_near else Counter()) for now, _ in heard]
            now, before = heard[index]
            key = blake2b(line.message, digest_size=12).digest()
            now[key] += 1
            mine = now[key] + before[key]
            others = self._written.get(key, 0) + self._before.get(key, 0)
            if mine <= others:
                self.dropped += 1
                continue
            self._written[key] = self._written.get(key, 0) + 1
            self.lines += 1
            yield line._replace(at_ns=at_ns)


def _in_order(index: int, lines: Iterable[Line]) -> Iterator[tuple[int, int, Line]]:
    """Yield (time that never goes back, index of the tape, line)."""
    at_ns = 0
    for line in lines:
        at_ns = max(at_ns, line.at_ns)
        yield at_ns, index, line
