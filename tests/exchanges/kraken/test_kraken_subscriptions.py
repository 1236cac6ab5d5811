"""Resubscribing: once for a loss, with growing pauses, below the message limit."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import orjson

from minibot.exchanges.kraken.subscriptions import (
    ANSWER_MS_MAX,
    HELD_MS,
    MESSAGES_PER_S_MAX,
    SPACING_MS_MAX,
    Subscriptions,
)

SYMBOLS = [f"{letter}/USD" for letter in "ABCDEFGHIJ"]


def asked(messages: list[bytes]) -> list[tuple[str, str]]:
    """Return (method, symbol) of every message."""
    found = [orjson.loads(message) for message in messages]
    return [(each["method"], each["params"]["symbol"][0]) for each in found]


def test_first_message_subscribes_to_everything_with_snapshots() -> None:
    """The first message subscribes all symbols with snapshots."""
    message = orjson.loads(Subscriptions(25).first(["BTC/USD", "ETH/USD"], 0))

    params = {"channel": "book", "symbol": ["BTC/USD", "ETH/USD"], "depth": 25, "snapshot": True}
    assert message == {"method": "subscribe", "params": params}


def test_lost_book_is_asked_for_once_and_then_waited_for() -> None:
    """A lost book causes one unsubscribe and one subscribe, however often it is reported lost."""
    subscriptions = Subscriptions(10)
    subscriptions.first(["A/USD"], 0)
    subscriptions.on_snapshot("A/USD", 100)
    for _ in range(5):
        subscriptions.renew("A/USD", 200)

    assert asked(subscriptions.due(1_200)) == [("unsubscribe", "A/USD"), ("subscribe", "A/USD")]
    assert subscriptions.due(1_300) == []
    assert subscriptions.overdue(1_200 + ANSWER_MS_MAX) == []
    assert subscriptions.overdue(1_201 + ANSWER_MS_MAX) == ["A/USD"]
    assert subscriptions.overdue(1_202 + ANSWER_MS_MAX) == []


def test_book_that_is_lost_again_and_again_is_asked_for_ever_more_seldom() -> None:
    """Repeated losses are retried with pauses up to a minute; a minute of health resets them."""
    subscriptions, now_ms, asked_ms = Subscriptions(10), 0, []
    subscriptions.first(["A/USD"], 0)
    subscriptions.on_snapshot("A/USD", 1)
    for _ in range(9):
        subscriptions.renew("A/USD", now_ms)
        while not subscriptions.due(now_ms):
            now_ms += 1
        asked_ms.append(now_ms)
        now_ms += 10
        subscriptions.on_snapshot("A/USD", now_ms)
    waits = [round((later - sooner) / 1000) for sooner, later in pairwise(asked_ms)]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    now_ms += HELD_MS
    subscriptions.renew("A/USD", now_ms)
    assert subscriptions.due(now_ms)
    assert SPACING_MS_MAX == 60_000


def test_many_lost_books_stay_under_the_limit_of_messages() -> None:
    """Many lost books stay under the limit of messages a second, and all are requested."""
    rnd, subscriptions, sent_ms, seen = Random(5), Subscriptions(10), [], set()
    subscriptions.first(SYMBOLS, 0)
    for now_ms in range(0, 60_000, 50):
        if rnd.random() < 0.2:
            subscriptions.renew(rnd.choice(SYMBOLS), now_ms)
        messages = subscriptions.due(now_ms)
        sent_ms += [now_ms] * len(messages)
        for method, symbol in asked(messages):
            seen.add(symbol)
            if method == "subscribe":
                subscriptions.on_snapshot(symbol, now_ms)

    assert seen == set(SYMBOLS)
    for at_ms in sent_ms:
        assert sum(at_ms <= other < at_ms + 1000 for other in sent_ms) <= MESSAGES_PER_S_MAX
