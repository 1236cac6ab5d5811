"""Silence of a held symbol: nothing of it comes while others do, and no gap is told of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from minibot.events.model import Bar, Event
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, check_of, config, instrument, opening

LONGEST = 5_000
KEYS: dict[str, Any] = {"risk__hard_stop_bps": "1000", "risk__silent_exit_ms": LONGEST}
LOT = {"symbol": SYMBOL, "qty": "10", "price": "100", "ts": 1}


def holder(**changes: Any) -> Desk:
    """Return a desk that holds coins, bought with the tick before now."""
    one = Desk(config(**KEYS | changes)).ready()
    one.instrument(OTHER)
    one.buy()
    assert one.risk.facts()["open_positions"]
    return one


def others(one: Desk, until_ts: int) -> list[tuple[str, str]]:
    """Show ticks of the other symbol and beats until a time, and return what risk did."""
    events: list[Event] = []
    while one.ts + 1_000 <= until_ts:
        events += one.tick(symbol=OTHER, after_ms=500)
        events += one.beat(500)
    one.ts = until_ts
    return actions(events)


def bar(one: Desk, volume: str, *, is_history: bool = False) -> list[Event]:
    """Close a bar of the held symbol now."""
    closed = Bar(
        symbol=SYMBOL,
        interval="1s",
        open_ts=one.ts - 1_000,
        close_ts=one.ts - 1,
        open="100",
        high="100",
        low="100",
        close="100",
        volume=volume,
        is_history=is_history,
    )
    return one.put("market_ticks", closed)


@pytest.mark.row("B-17")
@pytest.mark.parametrize(
    ("after_ms", "said"), [(LONGEST - 1, []), (LONGEST, [("EXIT", "stale_exit")])]
)
def test_silence_alone_ends_the_position_at_the_first_fresh_price(
    after_ms: int, said: list[tuple[str, str]]
) -> None:
    """Others trade on; the exit waits for the symbol's own price, and names the silence."""
    one = holder()
    since = one.ts

    assert others(one, since + after_ms) == []
    assert actions(one.tick(after_ms=0)) == said
    if said:
        check = check_of(one.events("risk_actions")[-1], "silent_ms")
        assert (check["value"], check["threshold"]) == (str(LONGEST), str(LONGEST))


def test_tick_that_is_no_price_ends_the_silence_and_the_next_price_sells() -> None:
    """A crossed touch is not sold at; what it ended is not forgotten, also over a restart."""
    one = holder()
    others(one, one.ts + LONGEST)

    assert actions(one.tick("100", "99", after_ms=0)) == []
    one.restarted()
    assert actions(one.tick("100", "100.01")) == [("EXIT", "stale_exit")]


def test_exit_refused_while_the_symbol_is_halted_is_made_afterwards() -> None:
    """The silence stands until the position is sold."""
    one = holder(risk__left_trading="hold")
    others(one, one.ts + LONGEST)
    one.put("market_ticks", instrument(status="HALT"))

    assert actions(one.tick(after_ms=0)) == [("BLOCK", "not_trading")]
    one.put("market_ticks", instrument())
    assert actions(one.tick()) == [("EXIT", "stale_exit")]


@pytest.mark.parametrize(
    ("volume", "is_history", "said"),
    [
        ("1", False, []),
        ("0", False, [("EXIT", "stale_exit")]),
        ("1", True, [("EXIT", "stale_exit")]),
    ],
    ids=["traded", "by the clock", "history"],
)
def test_only_a_live_bar_with_a_trade_is_data(
    volume: str, is_history: bool, said: list[tuple[str, str]]
) -> None:
    """The market role closes bars without trades by the clock, and fetches those of the past."""
    one = holder()
    since = one.ts
    one.ts = since + 1_000
    bar(one, volume, is_history=is_history)
    one.restarted()
    one.ts = since + LONGEST

    assert actions(one.tick(after_ms=0)) == said


def test_silence_before_the_entry_ends_no_position() -> None:
    """The first tick after a silence is bought at; the silence began before there was a risk."""
    one = Desk(config(**KEYS)).ready()
    one.tick(after_ms=10 * LONGEST)
    one.buy()

    assert actions(one.tick(after_ms=LONGEST - 1)) == []
    assert one.risk.facts()["open_positions"]


@pytest.mark.parametrize(
    ("after_ms", "said"), [(LONGEST - 1, []), (LONGEST, [("EXIT", "stale_exit")])]
)
def test_silence_of_a_carried_position_counts_from_the_opening(
    after_ms: int, said: list[tuple[str, str]]
) -> None:
    """However long ago it was bought, in a run that saw no tick of it so far."""
    one = Desk(config(**KEYS), first=opening("9000", (LOT,)))
    one.instrument()

    assert actions(one.tick(after_ms=after_ms)) == said


def test_range_without_exit_ends_before_a_silence_can() -> None:
    """Whoever passes ticks over is told of the first one that may end a silence."""
    one = holder()
    one.tick()

    quiet = one.risk.quiet_range(SYMBOL, one.ts)
    assert quiet is not None
    assert quiet.until == one.ts + LONGEST
    others(one, one.ts + LONGEST)
    assert one.risk.quiet_range(SYMBOL, one.ts) is None


@pytest.mark.parametrize("value", [None, "absent"])
def test_without_the_key_silence_ends_nothing(value: str | None) -> None:
    """Null and no key: neither decision nor state knows of it."""
    changes: dict[str, Any] = {"risk__hard_stop_bps": "1000"}
    if value is None:
        changes["risk__silent_exit_ms"] = None
    one = Desk(config(**changes)).ready()
    one.buy()

    assert actions(one.tick(after_ms=3_600_000)) == []
    bar(one, "1")
    assert not _words(one.risk.state(), ("silent_ts", "heard_ts"))


def _words(state: object, words: Iterable[str]) -> list[str]:
    return [word for word in words if word in str(state)]
