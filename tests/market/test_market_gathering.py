"""A reader pauses where messages come one by one faster than each is worth a wake; else never."""

from __future__ import annotations

from minibot.market.gathering import MESSAGES_MAX, PAUSE_S, READS, WITHIN_NS, WORTH, Gathering


def pauses(step_ns: int, messages: int, reads: int = 50) -> list[float]:
    gathering = Gathering()
    return [gathering.pause_s(number * step_ns, messages) for number in range(reads)]


def test_calm_stream_is_never_paused() -> None:
    """Eight reads that take a whole millisecond are calm, one nanosecond less is not."""
    step_ns = -(-WITHIN_NS // (READS - 1))

    assert not any(pauses(step_ns, 1))
    assert any(pauses(step_ns - 1, 1))


def test_flood_of_full_reads_is_never_paused() -> None:
    """Reads that bring many messages each cost little; waiting would only slow them down."""
    assert not any(pauses(1000, MESSAGES_MAX // READS))


def test_burst_shorter_than_eight_reads_waits_for_nothing() -> None:
    """What a moving market sends in one breath is read as it comes."""
    assert not any(pauses(1000, 1, READS - 1))


def test_pauses_go_on_while_they_pay() -> None:
    """After a pause a few messages are there, or the rate has gone; both sides of both bounds."""
    for messages, is_paused in (
        (WORTH - 1, 0),
        (WORTH, 1),
        (MESSAGES_MAX, 1),
        (MESSAGES_MAX + 1, 0),
    ):
        gathering = Gathering()
        begun = [gathering.pause_s(number, 1) for number in range(READS)]

        assert begun == [0.0] * (READS - 1) + [PAUSE_S]
        assert gathering.pause_s(5_000_000, messages) == PAUSE_S * is_paused
