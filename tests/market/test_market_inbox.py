"""Inbox between readers and loop: counted in messages, emptied in parts, bounded."""

from __future__ import annotations

import threading

from minibot.market import inbox as inboxes
from minibot.market.inbox import Inbox


def test_items_are_taken_in_order_up_to_about_so_many_messages() -> None:
    """Items are taken in order; the item that reaches the number is still included."""
    inbox: Inbox[str] = Inbox()
    for item, messages in (("a", 3), ("b", 2), ("c", 1), ("d", 4)):
        inbox.put(item, messages)

    assert len(inbox) == 10
    assert inbox.take(0, 4) == ["a", "b"]
    assert (len(inbox), inbox.take(0, 1), inbox.take(0), len(inbox)) == (5, ["c"], ["d"], 0)


def test_reader_waits_while_too_many_messages_wait_and_goes_on_when_they_are_taken() -> None:
    """A reader waits while too many messages are queued, so memory is bounded."""
    inbox: Inbox[int] = Inbox()
    inbox.put(1, inboxes.WAITING_MAX)
    reader = threading.Thread(target=inbox.put, args=(2, 1))
    reader.start()

    assert inbox.take(0) == [1]
    reader.join(10)
    assert not reader.is_alive()
    assert inbox.take(0) == [2]


def test_closed_inbox_holds_nobody() -> None:
    """A closed inbox holds up no reader."""
    inbox: Inbox[int] = Inbox()
    inbox.put(1, inboxes.WAITING_MAX)
    reader = threading.Thread(target=inbox.put, args=(2, 1))
    reader.start()
    inbox.close()
    reader.join(10)

    assert not reader.is_alive()
