"""Words of `explain` for an entry that is quoted: its quote, its re-quotes, and its end."""

from __future__ import annotations

import pytest

from minibot.events.model import Event, Incident
from minibot.events.names import MARKET_ROLE
from minibot.replay.explain.lines import event_text, notes_of
from tests.risk.desk import Desk, config

KEYS = {
    "risk__entry": "maker",
    "risk__maker_patience_market_ms": 1_000,
    "risk__maker_requotes": 1,
}


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("give_up", "BLOCK BTCUSDT quote_unfilled: requotes 2"),
        ("take", "quote_taken: Re-quotes or time of an entry are used up"),
    ],
)
def test_explanation_names_quote_requote_and_end(end: str, words: str) -> None:
    """An entry's events say that it was quoted, quoted anew, and given up or taken."""
    desk = Desk(config(**KEYS, risk__maker_end=end)).ready()
    desk.signal("BUY")
    desk.tick()
    desk.tick("100.09", "100.11", after_ms=1_000)
    desk.tick("100.05", "100.11", after_ms=1_900)

    lines = [
        line
        for _, event in desk.log
        if event.type in ("risk_action", "order_intent", "order_cancel", "order_result")
        for line in (event_text(event), *notes_of(event))
    ]

    text = "\n".join(lines)
    assert "LIMIT_MAKER at 99.99" in text
    assert "WITHDRAW BTCUSDT quote_moved: best_bid 100.09" in text
    assert "CANCELLED withdrawn" in text
    assert "requoted: What is left of an entry was quoted again" in text
    assert "LIMIT_MAKER at 100.09" in text
    assert words in text


@pytest.mark.parametrize(("count", "said"), [(None, ""), (1, ""), (2, " (2 times)")])
def test_incident_says_how_often_only_where_it_came_again(count: int | None, said: str) -> None:
    """A single incident is told without "(1 times)"."""
    payload = Incident(MARKET_ROLE, "rest_errors", "unreachable", count)
    event = Event(1, "i", MARKET_ROLE, "r", "0" * 64, payload)

    assert event_text(event) == f"{MARKET_ROLE} rest_errors{said}: unreachable"
