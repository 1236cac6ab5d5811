"""Gathering: a reader pauses only where single messages come faster than wake-ups pay."""

from __future__ import annotations

from minibot.market.gathering import MESSAGES_MAX, PAUSE_S, READS, WITHIN_NS, WORTH, Gathering


def pauses(step_ns: int, messages: int, reads: int = 50) -> list[float]:
    gathering = Gathering()
    return [gathering.pause_s(number * step_ns, messages) for number in range(reads)]


def test_calm_stream_is_never_paused() -> None:
    """Eight reads over a whole millisecond cause no pause; a nanosecond less a read causes one."""
    step_ns = -(-WITHIN_NS // (READS - 1))

    assert not any(pauses(step_ns, 1))
    assert any(pauses(step_ns - 1, 1))


def test_flood_of_full_reads_is_never_paused() -> None:
    """Full reads never cause a pause, as they cost little."""
    assert not any(pauses(1000, MESSAGES_MAX // READS))


def test_burst_shorter_than_eight_reads_waits_for_nothing() -> None:
    """A burst of fewer than eight reads causes no pause."""
    assert not any(pauses(1000, 1, READS - 1))


def test_pauses_go_on_while_they_pay() -> None:
    """Pauses continue while they gather several messages at a high rate, at both bounds."""
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
