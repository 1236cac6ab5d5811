"""Skew of the exchange's clock: first accepted, jumps confirmed, drift stopped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.errors import RunStop
from minibot.market.skew import ClockSkew

MAX_MS = 5_000


def test_first_measurement_is_taken_as_it_is() -> None:
    """A first measurement is accepted, and reported if it is half an hour off."""
    near, far = ClockSkew(MAX_MS), ClockSkew(MAX_MS)

    assert (near.take(-1_270), near.ms) == ("", -1_270)
    assert "1800000 ms ahead, was 0 ms" in far.take(1_800_000)
    assert far.ms == 1_800_000


@pytest.mark.row("F80")
@pytest.mark.fault("F80", by="an exchange's clock that is an hour off", ends="STOP(CLOCK_JUMP)")
@pytest.mark.parametrize("skew_ms", [3_600_000, -3_600_000, 10**15])
@pytest.mark.parametrize("before", [[], [0, 12]])
def test_clock_an_hour_off_is_told_and_stops_once_it_is_measured_again(
    skew_ms: int, before: list[int]
) -> None:
    """A clock an hour off is reported and, when confirmed, stops the run."""
    skew, nearly = ClockSkew(MAX_MS), ClockSkew(MAX_MS)
    for each in before:
        skew.take(each)
    assert "measured again" in skew.take(skew_ms)
    assert (skew.is_far, skew.ms) == (True, before[-1] if before else 0)
    with pytest.raises(RunStop, match="measured twice") as stop:
        skew.take(skew_ms)

    assert stop.value.reason_code == "CLOCK_JUMP"
    assert "ahead" in nearly.take(3_599_999)
    assert "ahead" in nearly.take(3_599_999) or nearly.ms == 3_599_999


def test_one_answer_an_hour_off_is_told_and_forgotten() -> None:
    """One answer an hour off is reported and forgotten when the next one denies it."""
    skew = ClockSkew(MAX_MS)
    skew.take(40)

    assert "measured again" in skew.take(7_200_000)
    assert skew.take(50) == ""
    assert (skew.ms, skew.is_far) == (50, False)


def test_jump_is_believed_once_it_is_confirmed() -> None:
    """A jump is accepted once a second measurement confirms it."""
    skew = ClockSkew(MAX_MS)
    skew.take(0)

    assert "9000 ms ahead, was 0 ms" in skew.take(9_000)
    assert skew.ms == 0
    assert skew.take(40) == ""
    assert skew.ms == 40
    skew.take(9_000)
    assert "9010 ms" in skew.take(9_010)
    assert skew.ms == 9_010
    assert skew.take(9_000) == ""


@pytest.mark.row("F80")
@pytest.mark.fault("F80", by="an exchange's clock that is a little faster", ends="STOP(CLOCK_JUMP)")
@pytest.mark.parametrize("step_ms", [10, -10, 4_999])
def test_small_steps_that_add_up_stop_the_run(step_ms: int) -> None:
    """Small steps that add up stop the run."""
    skew = ClockSkew(MAX_MS)
    skew.take(-1_270)
    allowed = MAX_MS // abs(step_ms)
    for number in range(1, allowed + 1):
        assert skew.take(-1_270 + number * step_ms) == ""
    with pytest.raises(RunStop, match="has drifted") as stop:
        skew.take(-1_270 + (allowed + 1) * step_ms)

    assert stop.value.reason_code == "CLOCK_JUMP"


@given(st.lists(st.integers(-MAX_MS // 2, MAX_MS // 2), max_size=60))
def test_noise_within_the_limit_is_followed_and_never_stops(measured: list[int]) -> None:
    """Noise within the limit is followed and never stops the run."""
    skew = ClockSkew(MAX_MS)
    for skew_ms in measured:
        assert skew.take(skew_ms) == ""
        assert skew.ms == skew_ms


def test_first_measurement_that_is_made_better_is_no_drift() -> None:
    """A slow first answer may be far off; a better one within its error is where drift begins."""
    skew = ClockSkew(MAX_MS)
    skew.take(4_000, unsure_ms=4_000)
    skew.take(0, unsure_ms=10)

    assert (skew.ms, skew.unsure_ms) == (0, 10)
    assert skew.take(-MAX_MS, unsure_ms=10) == ""
    with pytest.raises(RunStop, match="has drifted by -5001 ms"):
        skew.take(-MAX_MS - 1)


def test_quicker_answer_counts_also_where_it_may_be_right_about_no_change() -> None:
    """A slow answer around the believed skew changes nothing; a better one is taken."""
    skew = ClockSkew(MAX_MS)
    skew.take(100, unsure_ms=90)

    skew.take(130, unsure_ms=90)
    assert (skew.ms, skew.unsure_ms) == (100, 90)
    skew.take(130, unsure_ms=40)
    assert (skew.ms, skew.unsure_ms) == (130, 40)


def test_answer_that_may_be_right_about_no_change_confirms_no_jump() -> None:
    """A slow answer around the believed skew denies a jump that was measured before."""
    skew = ClockSkew(MAX_MS)
    skew.take(0)
    skew.take(9_000)
    assert skew.take(3_000, unsure_ms=3_000) == ""
    skew.take(9_000)

    assert skew.ms == 0


@pytest.mark.row("F77")
def test_pauses_of_this_machine_are_no_drift_of_the_exchange() -> None:
    """Behind each the first measurement counts, however far off; drift is counted from there."""
    skew = ClockSkew(MAX_MS)
    skew.take(0)
    for paused_ms in (3_000, 6_100, 96_100):
        skew.expect_jump()
        text = skew.take(paused_ms)
        assert (skew.ms, skew.is_awaited) == (paused_ms, False)

    assert "96100 ms ahead, was 6100 ms" in text
    assert skew.take(96_100 + MAX_MS) == ""
    with pytest.raises(RunStop, match="has drifted by 5001 ms"):
        skew.take(96_100 + MAX_MS + 1)
