"""Feed health: waits, windows, the breaker and every threshold that ends a run."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.reasons import RATE_LIMITED
from minibot.kernel.errors import FeedLost
from minibot.market.backoff import Backoff
from minibot.market.feed_health import FeedHealth
from minibot.market.notices import GATHER_MS, REST_ERRORS, NoticeBoard
from minibot.market.shard_health import CLOSED, HALF_OPEN, OPEN, LinkLimits, ShardHealth
from minibot.market.sliding_window import Window
from tests.market.market_desk import link_limits

# The time of an example depends on the machine, not on the product.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def reason_of(link: FeedHealth, now_ms: int) -> str:
    """Return the reason code with which feed health ends the run, or ""."""
    try:
        link.judge(now_ms)
    except FeedLost as stop:
        return stop.reason_code
    return ""


def one_line(limits: LinkLimits) -> tuple[FeedHealth, ShardHealth]:
    """Return feed health of a single connection, both beginning at 0."""
    link = FeedHealth(limits, 0)
    return link, link.new_line(0)


# --- waits --------------------------------------------------------------------------------------


@pytest.mark.row("S-21", "B-54")
def test_waits_grow_are_jittered_and_repeat_with_the_seed() -> None:
    """Waits double up to a limit, with jitter from the seed."""
    first, same, other = (Backoff(seed, 500, 60_000) for seed in (7, 7, 8))
    waits = [first.next() for _ in range(10)]

    assert [wait.ceiling_ms for wait in waits] == [
        500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000,
    ]  # fmt: skip
    assert all(0 <= wait.wait_ms <= wait.ceiling_ms for wait in waits)
    assert waits == [same.next() for _ in range(10)]
    assert waits != [other.next() for _ in range(10)]
    assert len({wait.wait_ms for wait in waits}) > 5


def test_waits_begin_anew_after_a_reset() -> None:
    """A reset begins again with short waits."""
    backoff = Backoff(1, 500, 60_000)
    for _ in range(5):
        backoff.next()
    backoff.reset()

    assert backoff.next().ceiling_ms == 500


@untimed
@given(st.lists(st.integers(0, 500), max_size=60), st.integers(1, 300), st.integers(1, 5))
def test_window_counts_like_a_list(pauses: list[int], span: int, limit: int) -> None:
    """A sliding window equals a list of recent entries, and tells when it has room."""
    window, times, now = Window(span), list[int](), 0
    for pause in pauses:
        now += pause
        window.add(now)
        times.append(now)
        assert window.count(now) == sum(time > now - span for time in times)

    free = window.free_at_ms(now, limit)
    assert sum(time > free - span for time in times) < limit
    assert free == now or sum(time > free - 1 - span for time in times) >= limit


@pytest.mark.slow
@pytest.mark.row("S-22")
@untimed
@given(st.integers(0, 1000), st.lists(st.integers(0, 400), min_size=40, max_size=80))
def test_attempts_in_any_window_stay_at_the_cap(seed: int, lives: list[int]) -> None:
    """No five minutes hold more attempts than allowed, however fast attempts fail."""
    limits = link_limits(seed=seed, reconnects_max=10, backoff_max_ms=2_000, outage_stop_ms=10**9)
    line, now, attempts = ShardHealth(limits, 0), 0, list[int]()
    for life in lives:
        line.on_attempt(now)
        attempts.append(now)
        line.on_data(now)
        due, _ = line.on_lost(now + life)
        now = due

    for start in attempts:
        inside = [t for t in attempts if start <= t < start + limits.reconnect_window_ms]
        assert len(inside) <= 10


def test_wait_never_sleeps_through_the_outage_limit() -> None:
    """A wait never outlasts the rest of the outage limit."""
    _link, line = one_line(link_limits())
    due = now = 0
    while now < 119_000:
        line.on_attempt(now)
        due, _ = line.on_lost(now)
        assert due - now <= max((120_000 - now) // 2, 500)
        now = due


# --- breaker ------------------------------------------------------------------------------------


@pytest.mark.row("S-23")
def test_breaker_opens_after_failures_and_one_attempt_decides() -> None:
    """The breaker opens at the third failure; the next attempt decides."""
    _link, line = one_line(link_limits())
    states = []
    for now in (0, 1_000, 2_000):
        line.on_attempt(now)
        line.on_lost(now)
        states.append(line.breaker)
    assert states == [CLOSED, CLOSED, OPEN]

    line.on_attempt(5_000)
    assert line.breaker == HALF_OPEN
    line.on_lost(5_000)
    assert line.breaker == OPEN
    line.on_attempt(9_000)
    line.on_connected(9_000)
    assert line.breaker == HALF_OPEN
    line.on_data(9_001)
    assert line.breaker == CLOSED


def test_failures_are_forgotten_only_after_a_stable_time() -> None:
    """Failures are forgotten only after a stable time, not after each short connection."""
    limits = link_limits()
    _link, line = one_line(limits)
    ceilings = []
    now = 0
    for life in (1_000, 1_000, 1_000, limits.backoff_max_ms, 1_000):
        line.on_attempt(now)
        line.on_connected(now)
        line.on_data(now + 1)
        line.on_data(now + life)
        _, wait = line.on_lost(now + life)
        ceilings.append(wait.ceiling_ms)
        now += life

    assert ceilings == [500, 1_000, 2_000, 500, 1_000]


# --- thresholds ---------------------------------------------------------------------------------


@pytest.mark.row("F102", "F103", "N-84")
@pytest.mark.parametrize(("age", "code"), [(119_999, ""), (120_000, "EXCHANGE_UNREACHABLE")])
def test_outage_without_a_connection(age: int, code: str) -> None:
    """An outage without connection stops the run at its limit."""
    link, _line = one_line(link_limits())

    assert reason_of(link, age) == code


@pytest.mark.row("F108")
@pytest.mark.parametrize(("age", "code"), [(119_999, ""), (120_000, "FEED_STALE")])
def test_outage_with_a_connection_that_brings_nothing(age: int, code: str) -> None:
    """An outage with an open but silent connection stops the run too."""
    link, line = one_line(link_limits())
    line.on_connected(50_000)

    assert reason_of(link, age) == code


@pytest.mark.row("F108")
@pytest.mark.parametrize(("age", "code"), [(119_999, ""), (120_000, "FEED_STALE")])
def test_symbol_that_trades_without_quotes(age: int, code: str) -> None:
    """A symbol that trades without quotes stops the run at the limit of an outage."""
    link, _line = one_line(link_limits())

    found = ""
    try:
        link.on_unquoted("BTCUSDT", age)
    except FeedLost as stop:
        found = stop.reason_code
    assert found == code


@pytest.mark.row("F108")
@pytest.mark.parametrize(("age", "silent"), [(9_999, False), (10_000, True)])
def test_silence_is_twice_the_age_of_a_stale_tick(age: int, silent: bool) -> None:
    """Silence counts from the last data or the connection, whichever is later."""
    _link, line = one_line(link_limits())
    line.on_connected(1_000)
    line.on_data(2_000)

    assert line.is_silent(2_000 + age) is silent


@pytest.mark.row("F104", "N-53")
@pytest.mark.parametrize(
    ("failed", "answered", "code"),
    [
        *[(2, 7, ""), (2, 8, ""), (3, 12, ""), (9, 0, "")],
        *[(3, 7, "EXCHANGE_ERROR_RATE"), (3, 9, "EXCHANGE_ERROR_RATE")],
    ],
)
def test_error_rate_needs_samples_and_more_than_its_share(
    failed: int, answered: int, code: str
) -> None:
    """An error rate of twenty percent is allowed, more is not, and nine samples prove nothing."""
    link, line = one_line(link_limits())
    line.on_connected(0)
    for number in range(failed + answered):
        line.on_data(number)
        link.on_sample(number, ok=number >= failed)

    assert reason_of(link, failed + answered) == code


@pytest.mark.parametrize(("is_throttled", "code"), [(False, "EXCHANGE_ERROR_RATE"), (True, "")])
def test_wish_for_silence_is_no_failed_measurement(*, is_throttled: bool, code: str) -> None:
    """A venue that asks for fewer requests is obeyed; it has not failed."""
    link, line = one_line(link_limits())
    line.on_connected(0)
    for number in range(12):
        line.on_data(number)
        link.on_sample(number, ok=False, is_throttled=is_throttled)

    assert reason_of(link, 12) == code


def test_reconnects_of_a_line_that_has_ended_still_count() -> None:
    """The number of reconnects of a night never falls, whatever becomes of its shards."""
    link, line = one_line(link_limits())
    other = link.new_line(0)
    for each in (line, other, other):
        each.on_connected(0)
        each.on_lost(1)

    link.end_line(other)

    assert link.reconnects == 3


def test_failures_while_everything_is_out_of_reach_are_no_error_rate() -> None:
    """Failures during an outage of everything do not count for the error rate."""
    link, _line = one_line(link_limits())
    for now in range(0, 110_000, 5_000):
        link.on_sample(now, ok=False)

    assert reason_of(link, 110_000) == ""


def test_old_samples_leave_the_window() -> None:
    """Old samples leave the window."""
    link, line = one_line(link_limits())
    line.on_connected(0)
    for now in range(20):
        line.on_data(now)
        link.on_sample(now, ok=False)
    line.on_data(300_100)

    assert reason_of(link, 300_100) == ""


@pytest.mark.row("F104")
def test_flapping_connection_ends_the_run() -> None:
    """Thirty short connections within the window end the run."""
    link, line = one_line(link_limits(reconnects_max=30))
    for now in range(30):
        assert reason_of(link, now) == ""
        line.on_connected(now)
        line.on_data(now)
        line.on_lost(now)

    assert reason_of(link, 30) == "EXCHANGE_ERROR_RATE"


@pytest.mark.row("F104")
def test_attempts_that_never_connected_are_no_lost_connections() -> None:
    """A venue out of reach for a while is an outage, which has a longer limit."""
    link, line = one_line(link_limits(reconnects_max=30))
    for now in range(40):
        line.on_attempt(now)
        line.on_lost(now)

    assert reason_of(link, 40) == ""


@pytest.mark.row("F109", "F114")
def test_one_invalid_frame_too_many_ends_the_run() -> None:
    """The limit of invalid frames passes, one more within the window ends the run."""
    link, _line = one_line(link_limits(feed_invalid_max=100))
    for _ in range(100):
        link.on_invalid(0)
    link.on_invalid(300_001)
    for _ in range(99):
        link.on_invalid(300_002)

    with pytest.raises(FeedLost) as stop:
        link.on_invalid(300_003)
    assert stop.value.reason_code == "FEED_INVALID"


@pytest.mark.row("F106")
def test_ban_longer_than_an_outage_may_last_ends_the_run() -> None:
    """A ban longer than the allowed outage ends the run; a shorter one is waited for."""
    link, _line = one_line(link_limits())
    link.on_banned(120_000, "banned")

    with pytest.raises(FeedLost) as stop:
        link.on_banned(120_001, "banned")
    assert stop.value.reason_code == "EXCHANGE_BANNED"


# --- notices ------------------------------------------------------------------------------------


@pytest.mark.row("S-47")
def test_every_429_is_an_incident_of_its_own() -> None:
    """Every 429 is an incident of its own."""
    board = NoticeBoard()
    for now in (0, 1, 2):
        board.add(now, RATE_LIMITED, "HTTP 429", until_ms=now + 1000)

    assert [notice.until_ms for notice in board.take(3)] == [1000, 1001, 1002]


@untimed
@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=60))
def test_gathered_notices_are_few_and_none_is_lost(pauses: list[int]) -> None:
    """A burst of notices is one incident every ten seconds, with true counts."""
    board, now, lines = NoticeBoard(), 0, []
    for pause in pauses:
        now += pause
        board.add(now, REST_ERRORS, "HTTP 503")
        lines += [(now, notice) for notice in board.take(now)]
    lines += [(now + GATHER_MS, notice) for notice in board.take_all()]

    assert sum(notice.count or 1 for _, notice in lines) == len(pauses)
    assert all(later - earlier >= GATHER_MS for (earlier, _), (later, _) in pairwise(lines[:-1]))
