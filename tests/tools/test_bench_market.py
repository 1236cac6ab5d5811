"""Market bench: the server sends the whole recording to the real role."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minibot.exchanges.base import Diff, Quote, Trade
from minibot.exchanges.binance.messages import parse_frame
from tools.bench import market, market_run
from tools.bench.frame import Limit
from tools.bench.market_frames import (
    KINDS,
    MARK,
    Pieces,
    Recorded,
    aggregated,
    names,
    read_recording,
    unwrapped,
)
from tools.bench.market_run import Outcome, run
from tools.bench.market_truth import differences_sent, own_differences

pytestmark = pytest.mark.campaign


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer than the bench for a role that takes in little on a busy machine."""
    monkeypatch.setattr(market_run, "QUIET_LOOKS", 300)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    whole = read_recording()
    return Recorded(whole.messages[:3000], whole.snapshot)


def test_every_symbol_has_the_recording_under_its_own_name(recorded: Recorded) -> None:
    """Frames stay whole when symbol and time are overwritten, one copy for each symbol."""
    symbols = names(3)
    pieces = Pieces(recorded, frozenset(KINDS), is_wrapped=True, piece_bytes=1)
    found: dict[str, int] = dict.fromkeys(symbols, 0)
    trades = 0
    for data, messages, trade_count in pieces.walk(symbols):
        assert messages == 1
        at = 2 if data[1] < 126 else 4
        message = parse_frame(data[at:].replace(MARK, b"1700000000000"))
        assert isinstance(message, Trade | Quote | Diff)
        found[message.symbol] += 1
        trades += trade_count

    assert set(found.values()) == {len(recorded.messages)}
    assert trades == 3 * recorded.count("trade")


def test_other_forms_hold_the_same_trade(recorded: Recorded) -> None:
    """Raw streams and aggregated trades hold the combined stream's trade."""
    trade = next(body for kind, body in recorded.messages if kind == "trade")
    plain, other = json.loads(unwrapped(trade)), json.loads(unwrapped(aggregated(trade)))

    assert json.loads(trade)["data"] == plain
    assert [other[key] for key in "apqm"] == [plain[key] for key in "tpqm"]


@pytest.mark.process
def test_role_takes_all_that_the_server_sends_and_its_books_are_right(tmp_path: Path) -> None:
    """The real role reads a short paced run without loss, and its books match the quotes."""
    command = {"seconds": 2.0, "rate": 1500}
    lags = tmp_path / "market" / "lags.json"
    found = run(tmp_path / "market", 2, 0, command, "--lags", str(lags))

    assert found.counters["frames"] >= found.sent["sent"] > 0
    assert found.counters["trade_gaps"] == found.counters["frames_invalid"] == 0
    assert found.counters["books_valid"] == 2
    assert found.lines > 0
    assert found.cpu_s > 0
    begin_ns, end_ns = found.sent["begin_ns"], found.sent["end_ns"]
    assert any(begin_ns < at_ns < end_ns for at_ns, _ in found.lags)
    assert all(lag_ms >= 0 for _, lag_ms in found.lags)


@pytest.mark.process
def test_books_differ_from_quotes_where_the_recording_does_and_nowhere_else(tmp_path: Path) -> None:
    """At full speed the role finds exactly the contradictions of a plain replay."""
    whole = read_recording()
    found = run(tmp_path / "market", 1, 0, {})

    assert found.sent["sent"] == len(whole.messages)
    assert found.counters["book_checks"] > 2000
    assert found.counters["book_mismatches"] == found.own_differences == len(own_differences(whole))
    assert market._lost(found) == ""


def message(kind: str, **fields: object) -> tuple[str, bytes]:
    return kind, json.dumps({"stream": f"btcusdt@{kind}", "data": fields}).encode()


def diff(first: int, last: int, bids: list[list[str]]) -> tuple[str, bytes]:
    return message("depth", e="depthUpdate", s="BTCUSDT", U=first, u=last, b=bids, a=[])


def quote(update_id: int, bid: str, qty: str) -> tuple[str, bytes]:
    return message("bookTicker", u=update_id, s="BTCUSDT", b=bid, B=qty, a="3", A="1")


def test_contradiction_counts_from_the_quote_that_makes_it_sure_and_for_who_was_sent_it() -> None:
    """A contradiction counts from the quote that proves it, among the sent messages."""
    snapshot = b'{"lastUpdateId":10,"bids":[["1","5"],["2","1"]],"asks":[["3","1"]]}'
    frames = (
        quote(11, "2", "7"),
        diff(11, 12, [["2", "7"]]),
        quote(13, "2", "7"),  # Equal.
        diff(13, 14, [["2", "0"]]),
        quote(15, "1", "5"),  # The quote of 14 is missing.
        quote(16, "2", "3"),
        diff(15, 16, [["2", "4"]]),  # No later quote shows whether 16 was the last one.
    )
    made = Recorded(frames, snapshot)

    assert own_differences(made) == [4]
    assert differences_sent(made, 3, 3 * 4, piece_bytes=1) == 0
    assert differences_sent(made, 3, 3 * 4 + 2, piece_bytes=1) == 2
    assert differences_sent(made, 3, 3 * 7, piece_bytes=1) == 3


def test_books_that_differ_by_themselves_are_a_loss() -> None:
    """A wrong book is reported, and so are too few contradictions."""
    good = dict.fromkeys(("trade_gaps", "trades_dropped", "frames_invalid", "duplicate_trades"), 0)
    sent = {"sent": 1}
    for differed, is_told in ((2, False), (3, True), (1, True)):
        counters = {**good, "frames": 1, "book_mismatches": differed}
        outcome = Outcome(sent, 1.0, 1.0, 1, counters=counters, own_differences=2)

        assert bool(market._lost(outcome)) is is_told


def test_burst_is_settled_when_no_trade_is_late_any_more() -> None:
    """A burst is settled once no trade is late any more."""
    rows = [(1, 900), (11, 251), (12, 251), (13, 250)]
    sent = {"phases_end_ns": [10]}

    assert market._settled_s(Outcome(sent, 1.0, 1.0, 1, lags=rows)) == 2e-9
    assert market._settled_s(Outcome(sent, 1.0, 1.0, 1, lags=rows[:1])) == 0


def test_limits_are_those_of_the_table() -> None:
    """M1 to M7 are measured, and a share is judged from above."""
    assert list(market.MEASURES) == [f"M{number}" for number in range(1, 8)]
    assert Limit(60, 35, is_most=True).verdict(36) == "must met"
