"""Cuts that play and prove themselves, and merges without loss or repetition."""

from __future__ import annotations

import gzip
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.data.recording import packed
from minibot.exchanges.tapes.edit import Cut, Merge
from minibot.exchanges.tapes.frames import recorded_snapshot
from minibot.exchanges.tapes.lines import Line, depth_message, tape_lines
from minibot.exchanges.tapes.tape import Tape
from tests.exchanges.tapes.tape_lines import (
    checked,
    demo,
    kraken_v1,
    kraken_v2,
    put,
)


def cut_of(lines: list[Line], begin: int, end: int) -> list[Line]:
    """Return the cut between the times of two lines."""
    return list(Cut(lines[begin].at_ns, lines[end].at_ns).of(lines))


REST_OF_RULES = b'"baseAsset":"X","quoteAsset":"USDT","filters":[]'


@pytest.mark.parametrize("begin", [0, 1, 40, 700, 2500, 3900])
def test_cut_begins_with_the_book_and_agrees_with_itself(begin: int, tmp_path: Path) -> None:
    """A cut begins with the whole book, so that every later top agrees and it can be played."""
    lines = demo()
    cut = cut_of(lines, begin, -1)
    check = checked(cut)
    found = check.symbols["BTCUSDT"]

    assert check.findings.counts == {}
    assert found.top.checks >= found.diffs - 3
    assert found.unchecked == 0
    tape = Tape(put(tmp_path / "cut.gz", cut))
    assert tape.facts.has_depth
    assert tape.facts.origin_ms == cut[0].at_ns // 10**6
    assert len(list(tape.frames())) == len(cut)


def test_book_of_a_cut_is_the_book_of_the_tape(tmp_path: Path) -> None:
    """The book of a cut equals the tape's top twenty at the end, played or rebuilt."""
    lines = demo()
    whole, part = checked(lines), checked(cut_of(lines, 2000, -1))
    books = [check.symbols["BTCUSDT"].keeper.book for check in (whole, part)]

    assert books[0] is not None
    assert books[1] is not None
    assert books[0].bids.top(20) == books[1].bids.top(20)
    assert books[0].asks.top(20) == books[1].asks.top(20)


def test_cuts_of_a_tape_whose_clock_was_set_back_lose_no_line() -> None:
    """Time stands still until the clock has caught up, as it does when the tape is played."""
    lines = demo()[:2000]
    back = [line._replace(at_ns=lines[700].at_ns) for line in lines[1000:1100]]
    lines[1000:1100] = back
    begin, middle = lines[0].at_ns, lines[990].at_ns
    cuts = [list(Cut(*span).of(lines)) for span in ((begin, middle), (middle, lines[-1].at_ns + 1))]
    kept = [line.message for cut in cuts for line in cut if b"minibot_rebuilt" not in line.message]

    assert kept == [line.message for line in lines]


def test_cuts_side_by_side_are_the_whole(tmp_path: Path) -> None:
    """Adjacent cuts hold each line once; merged they are the tape plus the added books."""
    lines = demo()
    moments = [lines[at].at_ns for at in (0, 900, 1800, 3999)]
    cuts = [list(Cut(begin, end).of(lines)) for begin, end in pairwise(moments)]
    merged = list(Merge().of(cuts))
    added = [line for line in merged if b"minibot_rebuilt" in line.message]
    kept = [line.message for line in merged if b"minibot_rebuilt" not in line.message]

    assert kept == [line.message for line in lines if line.at_ns < moments[-1]]
    assert len(added) == 2
    assert checked(merged).findings.counts == {}


@pytest.mark.parametrize("version", [1, 2])
def test_cut_of_a_kraken_tape_is_proved_by_its_checksums(shared_data: Path, version: int) -> None:
    """A cut of Kraken's tape begins with a book of all digits, so later checksums agree."""
    name = "kraken_btcusd_sample.cbcap.gz"
    lines = list(kraken_v1(shared_data) if version == 1 else kraken_v2(shared_data, name))
    cut = cut_of(lines, len(lines) // 2, -1)
    check = checked(cut)

    assert check.findings.counts == {}
    assert all(each.unchecked == 0 for each in check.symbols.values())
    assert sum(each.checksums for each in check.symbols.values()) > 0.9 * len(cut) - 60


def test_cut_begins_with_the_newest_rules_of_its_tape(tmp_path: Path) -> None:
    """A cut begins with the newest rules before it."""
    lines = demo()
    old, new = (
        b'{"symbols":[{"symbol":"BTCUSDT","status":"%b",%b}]}' % (n, REST_OF_RULES)
        for n in (b"A", b"B")
    )
    lines[10] = lines[10]._replace(message=old)
    lines[20] = lines[20]._replace(message=new)
    cut = cut_of(lines, 1000, 2000)

    assert cut[0] == Line(0, lines[1000].at_ns, new)
    infos = Tape(put(tmp_path / "cut.gz", cut)).facts.symbol_infos
    assert infos["BTCUSDT"]["status"] == "B"


def test_cut_of_a_merged_tape_keeps_the_rules_of_every_symbol(tmp_path: Path) -> None:
    """A cut keeps each recording's rules, without those that newer ones replace as a whole."""
    lines = demo()
    names = (("BTCUSDT",), ("BTCUSDT", "ETHUSDT"), (), ("BTCUSDT",))
    entries = {
        name: b'{"symbol":"%b","status":"TRADING",%b}' % (name.encode(), REST_OF_RULES)
        for name in ("BTCUSDT", "ETHUSDT")
    }
    rules = [
        b'{"n":%d,"symbols":[%b]}' % (n, b",".join(entries[name] for name in some))
        for n, some in enumerate(names)
    ]
    broken = b'{"symbols":[{"name":"BTCUSDT"}]}'
    for at, message in enumerate([*rules, broken], 10):
        lines[at] = lines[at]._replace(message=message)
    cut = cut_of(lines, 1000, 2000)

    assert [line.message for line in cut[:2]] == [rules[1], rules[3]]
    assert b"minibot_rebuilt" in cut[2].message
    infos = Tape(put(tmp_path / "cut.gz", cut)).facts.symbol_infos
    assert set(infos) == {"BTCUSDT", "ETHUSDT"}


def test_book_of_a_cut_reaches_as_far_as_the_one_that_was_recorded(tmp_path: Path) -> None:
    """A cut's first book is known no further than the recorded one, though it has more levels."""
    lines = demo()
    (whole,) = Tape(put(tmp_path / "whole.gz", lines)).facts.opening_books.values()
    once = cut_of(lines, 1000, 3000)
    twice = cut_of(once, 500, 1500)
    (book,) = Tape(put(tmp_path / "twice.gz", twice)).facts.opening_books.values()

    edges = recorded_snapshot(whole).edges
    assert edges is not None
    assert None not in edges
    assert recorded_snapshot(book).edges == edges
    assert len(book["bids"]) > len(whole["bids"])


def test_cut_where_no_book_is_known_says_so() -> None:
    """A cut of a tape without snapshot is made, and says that no book is known."""
    lines = [line for line in demo() if b'"lastUpdateId"' not in line.message]
    cut = Cut(lines[1000].at_ns, lines[2000].at_ns)
    written = list(cut.of(lines))

    assert (cut.books, cut.without) == ([], ["BTCUSDT"])
    assert written == lines[1000:2000]


def test_two_recorders_of_one_market_merge_into_one_tape() -> None:
    """Two recordings of one market, each with gaps, merge into one without gaps."""
    rnd, lines = Random(3), demo()
    heard = []
    for recorder in range(2):
        missing = range(1000, 1400) if recorder else range(2500, 2700)
        delay = rnd.randrange(10**6)
        heard.append(
            [
                line._replace(at_ns=line.at_ns + recorder * delay)
                for at, line in enumerate(lines)
                if at not in missing
            ]
        )
    merge = Merge()
    merged = list(merge.of(heard))

    assert Counter(line.message for line in merged) == Counter(line.message for line in lines)
    assert merge.dropped == 2 * len(lines) - 600 - len(lines)
    assert [line.at_ns for line in merged] == sorted(line.at_ns for line in merged)
    wrong = checked(merged).findings.counts
    assert "gap" not in wrong
    assert "trades_missing" not in wrong


texts = st.sampled_from([b"{}", b'{"a":1}', b'{"a":2}'])
tapes = st.lists(st.lists(st.tuples(st.integers(0, 50), texts), max_size=12), max_size=4)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(tapes)
def test_merge_has_each_message_as_often_as_the_tape_with_most_of_it(
    content: list[list[tuple[int, bytes]]],
) -> None:
    """A merge has each message as often as the tape with most of it, in order of time."""
    lines = [[Line(0, at_s * 10**9, message) for at_s, message in sorted(tape)] for tape in content]
    merge = Merge()
    merged = list(merge.of(lines))

    most: Counter[bytes] = Counter()
    for tape in lines:
        most |= Counter(line.message for line in tape)
    assert Counter(line.message for line in merged) == most
    assert [line.at_ns for line in merged] == sorted(line.at_ns for line in merged)
    assert merge.lines + merge.dropped == sum(map(len, lines))


def test_same_message_long_after_is_another_one() -> None:
    """The same message an hour later is another message."""
    first = [Line(0, 0, b"{}")]
    second = [Line(0, 3600 * 10**9, b"{}")]

    assert len(list(Merge().of([first, second]))) == 2


def test_packed_lines_are_read_as_they_were(tmp_path: Path) -> None:
    """Cut and merge write ordinary gzip."""
    lines, path = demo(500), tmp_path / "tape.gz"
    path.write_bytes(b"".join(packed(lines)))

    assert list(tape_lines(path)) == lines
    assert gzip.decompress(path.read_bytes()).count(b"\n") == 500


def test_snapshot_that_names_its_symbol_is_played_for_it(tmp_path: Path) -> None:
    """A snapshot that names its symbol is used for it, however close other update ids are."""
    rows: list[tuple[int, bytes]] = []
    for symbol, first, price in (("AAAUSDT", 100, "1.00000000"), ("BBBUSDT", 105, "2.00000000")):
        data = f'"e":"depthUpdate","E":1,"s":"{symbol}","U":{first},"u":{first},"b":[],"a":[]'
        stream = f'{{"stream":"{symbol.lower()}@depth@100ms","data":{{{data}}}}}'
        body = {"lastUpdateId": 104, "bids": [[price, "1.0"]], "asks": [["9.00000000", "1.0"]]}
        rows += [(1, stream.encode()), (2, depth_message(body, symbol))]
    lines = [Line(0, (1_700_000_000_000 + at) * 10**6, message) for at, message in sorted(rows)]
    books = Tape(put(tmp_path / "two.gz", lines)).facts.opening_books

    assert {symbol: book["bids"][0][0] for symbol, book in books.items()} == {
        "AAAUSDT": "1.00000000",
        "BBBUSDT": "2.00000000",
    }
