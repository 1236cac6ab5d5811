"""Values from outside the market among the market's own events: each at its time, none before."""

from __future__ import annotations

from minibot.events.model import Beat, FeedValue, Payload
from minibot.market.role import FeedWriter
from minibot.runtime.configuration.feed_files import FeedLine

LINES = [FeedLine(90, "mood", "1"), FeedLine(100, "mood", "2"), FeedLine(1_500, "mood", "3")]


def beats(*times: int) -> list[tuple[Payload, int]]:
    """A beat at each of these times."""
    return [(Beat(n=1, data_age_ms={}), ts) for ts in times]


def told(found: list[tuple[Payload, int]]) -> list[tuple[str, int]]:
    """Return the type and market time of each event."""
    return [(one.value if isinstance(one, FeedValue) else "beat", ts) for one, ts in found]


def test_value_comes_before_the_first_event_of_its_time_or_later_and_once() -> None:
    """Market time 1,500 has come with an event of 1,500, and not with one of 1,499."""
    writer = FeedWriter(LINES, 1_000)

    assert told(writer.placed(beats(1_000, 1_499))) == [
        ("2", 1_000),
        ("beat", 1_000),
        ("beat", 1_499),
    ]
    assert told(writer.placed(beats(1_500, 2_000))) == [
        ("3", 1_500),
        ("beat", 1_500),
        ("beat", 2_000),
    ]
    assert told(writer.placed(beats(3_000))) == [("beat", 3_000)]


def test_value_keeps_its_own_time_and_text_beside_that_of_the_event() -> None:
    """One from before the start is told at the start, with the time from which it held."""
    found = FeedWriter(LINES, 1_000).placed(beats(1_000))

    assert found[0] == (FeedValue("mood", "2", 100), 1_000)


def test_restart_in_the_middle_of_a_batch_loses_no_value() -> None:
    """Two feeds at one time, the line of the first alone was kept: both come, and nothing older."""
    lines = [FeedLine(90, "flow", "1"), FeedLine(100, "flow", "2"), FeedLine(100, "mood", "3")]
    before = FeedWriter(lines, 95).placed(beats(101))

    after = FeedWriter(lines, before[1][1]).placed(beats(101))

    assert told(before)[:2] == [("1", 95), ("2", 100)]
    assert told(after) == [("2", 100), ("3", 100), ("beat", 101)]


def test_events_go_on_as_they_are_without_feeds() -> None:
    """A market without feeds hands on the same list, unread."""
    payloads = beats(1, 2)

    assert FeedWriter().placed(payloads) is payloads
