"""Checks in words: reached levels, passed and failed checks, missing verdicts, contradictions."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.engine.role_replay import Difference
from minibot.events.model import Check, RecoveryIntent, RiskAction, RunEnding
from minibot.events.reasons import (
    LEFT_TRADING,
    REASONS,
    RECOVERY_EXIT,
    SIGNAL_EXIT,
    STOP_LOSS,
    UNIVERSE_EXIT,
)
from minibot.kernel import canonical
from minibot.replay.compare import describe
from minibot.replay.explain.checks import (
    check_line,
    check_words,
    departure,
    departure_words,
    failed_checks,
    left_words,
    price_text,
)
from minibot.replay.explain.lines import event_text
from minibot.risk import plan_rows
from minibot.risk.checks import Gate
from minibot.risk.exit_decision import level_rows, request_rows
from minibot.risk.risk_state import RiskState
from minibot.risk.trigger_rows import trigger_rows, unsold_rows
from tests.risk.desk import SYMBOL, config
from tests.strategies.strategy_feed import event


def row(name: str, value: str, threshold: str, passed: bool | None = False) -> dict[str, Any]:
    """Return a check in the form of a queue."""
    return {"name": name, "value": value, "threshold": threshold, "passed": passed}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (
            row("stop_price", "61806.00000000", "61809.54000000"),
            "stop hit: bid 61,806.00 <= 61,809.54",
        ),
        (row("stop_price", "0.00001230", "0.00001234"), "stop hit: bid 0.0000123 <= 0.00001234"),
        (
            row("target_price", "61839.87000000", "61838.71000000"),
            "target hit: bid 61,839.87 >= 61,838.71",
        ),
        (row("held_ms", "3600123", "3600000"), "time is up: held 3,600.123 s >= 3,600.000 s"),
        (row("horizon_ms", "17078", "16859"), "horizon is over: held 17.078 s >= 16.859 s"),
        (
            row("silent_ms", "15000", "8000"),
            "sold after missing data: none for 15.000 s >= 8.000 s",
        ),
        (
            row("run_ending", "1723161590000", "1723161600000"),
            "closed before the run's end: 23:59:50.000 UTC < 00:00:00.000 UTC",
        ),
        (row("exit_position", "asked", "none"), "requested by an operator"),
        (row("policy", "close", "hold"), "the profile's policy closes it"),
        (
            row("recovery_qty", "10.00000000", "5.00000000"),
            "loss at a row of the recovery: 10.00 held, 5.00 to keep",
        ),
        (row("unsold_qty", "1.50000000", "0.00000000"), "limit left 1.50 unsold"),
    ],
)
def test_exit_says_what_was_hit(check: dict[str, Any], words: str) -> None:
    """An exit check that fired is worded as reached, not as failed, in every sentence."""
    assert departure_words(check) == words
    assert check_line(check) == words
    assert check_words(check) == words
    assert departure([row("exit_pending", "no", "no", passed=True), check]) == words
    assert departure([Check(**check)]) == words


def test_end_of_a_run_is_told_with_a_time_of_day() -> None:
    """The end of a run names the moment as a clock does, not as milliseconds since 1970."""
    ending = RunEnding(who="watchdog_role", why="SOURCE_ENDED", until_ts=1_723_161_600_000)

    assert event_text(event(1_723_161_590_000, 1, ending)) == (
        "SOURCE_ENDED by watchdog_role: no more entries, the run ends at 00:00:00.000 UTC"
    )


def test_recovery_intent_is_told_with_its_loss_and_its_campaign() -> None:
    """A recovery intent says the choice, the loss, its row and the campaign."""
    said = RecoveryIntent(SYMBOL, "c" * 8, "de-risk", 2, "512.5000", "500.0000", "100", "94.875")

    assert event_text(event(1_723_161_590_000, 1, said)) == (
        f"de-risk {SYMBOL}: 512.50 bps below 100.00, row 2 from 500.00 bps; campaign cccccccc"
    )


def test_every_exit_of_risk_has_its_words() -> None:
    """Every exit of risk has words of its own, and a new one is not called failed."""
    state = RiskState(config())
    exits = state.exits.of(SYMBOL)
    rows = request_rows(state, exits) + level_rows(exits, (1, 3, 5), 1, 2, 4)
    rows += trigger_rows(2, 1, 3) + unsold_rows(1, STOP_LOSS)

    names = {gate.name for gate, _, _ in rows}
    assert names == {
        *("stop_price", "target_price", "held_ms", "run_ending", "exit_position", "policy"),
        *("stop_trade", "target_trade", "unsold_qty"),
    }
    for name in names:
        assert departure_words(row(name, "asked", "none")) == (
            "requested by an operator" if name == "exit_position" else ""
        )


def test_every_row_of_a_plan_has_its_words() -> None:
    """No level or time of a plan leaves a position without a word for it."""
    names = {gate.name for gate in vars(plan_rows).values() if isinstance(gate, Gate)}

    assert {"hard_stop_price", "horizon_ms", "silent_ms"} < names
    assert [name for name in sorted(names) if not departure_words(row(name, "2", "1"))] == []


@pytest.mark.parametrize(
    "check",
    [
        row("stop_price", "61806.0", "61809.5", passed=True),
        row("run_ending", "1723161600000", "none"),  # An entry reason, which is no exit.
        row("spread_bps", "9.0", "5.0"),
        row("stop_price", "", ""),
    ],
)
def test_other_checks_are_told_as_checks(check: dict[str, Any]) -> None:
    """A gate that refused has failed, whatever its name shares with an exit."""
    assert departure_words(check) == ""
    verdict = "ok  " if check["passed"] else "FAIL"
    assert check_line(check).startswith(f"{verdict} {check['name']} ")
    assert departure([check]) == ""


def test_exit_by_a_signal_is_told_in_words_as_every_exit() -> None:
    """No exit is shown by its code beside others in words; an unknown code stays as it is."""
    hit = (Check(**row("stop_price", "61806.0", "61809.5", passed=False)),)

    assert left_words(RiskAction("EXIT", SIGNAL_EXIT, "BTCUSDT")) == "the strategy's SELL"
    assert left_words(RiskAction("EXIT", STOP_LOSS, "BTCUSDT", checks=hit)).startswith("stop hit: ")
    assert left_words(RiskAction("EXIT", "another", "BTCUSDT")) == "another"


def test_refused_sell_is_not_told_as_a_closed_position() -> None:
    """One code stands for an exit and for its refusal, so its meaning claims neither."""
    meaning = REASONS[SIGNAL_EXIT].meaning

    assert "closed" not in meaning
    assert "refused" in meaning


def test_exit_by_policy_names_the_policy() -> None:
    """One row stands for a halt, the universe and the recovery; the reason code tells which."""
    closes = (Check(**row("policy", "close", "hold")),)

    words = {
        code: left_words(RiskAction("EXIT", code, "BTCUSDT", checks=closes))
        for code in (LEFT_TRADING, RECOVERY_EXIT, UNIVERSE_EXIT)
    }

    assert words == {
        LEFT_TRADING: "sold after a halt at the venue",
        RECOVERY_EXIT: "sold at the recovery's exit row",
        UNIVERSE_EXIT: "sold on leaving the universe",
    }


def test_check_without_a_verdict_is_shown_without_one() -> None:
    """A check without verdict is shown without one, and refuses nothing."""
    open_check = row("trend", "up", "up", passed=None)

    assert check_line(open_check).startswith("     trend ")
    assert failed_checks([open_check, row("x", "1", "2")]) == [row("x", "1", "2")]


@pytest.mark.parametrize(
    ("check", "begin", "end"),
    [
        (
            row("close", "61661.39", "< 61652.60", passed=True),
            "?    close",
            "recorded as ok, which these numbers contradict",
        ),
        (
            row("close", "61650.39", "< 61652.60"),
            "?    close",
            "recorded as FAIL, which these numbers contradict",
        ),
        (row("dip", "1.00", ">= 1.00"), "FAIL dip", ">= 1.00: before both were rounded"),
        (row("dip", "1.00", "> 1.00", passed=True), "ok   dip", ": before both were rounded"),
        (row("dip", "1.00", "> 0.90", passed=True), "ok   dip", "against > 0.90"),
    ],
)
def test_verdict_is_not_repeated_where_its_numbers_contradict_it(
    check: dict[str, Any], begin: str, end: str
) -> None:
    """A verdict that contradicts its numbers is not repeated; rounding is named as such."""
    line = check_line(check)

    assert line.startswith(begin)
    assert line.endswith(end)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("61806", "61,806.00"),
        ("61806.5", "61,806.50"),
        ("0.00000001", "0.00000001"),
        ("1234567.125", "1,234,567.125"),
    ],
)
def test_price_has_cents_and_no_zero_more(text: str, shown: str) -> None:
    """A price has at least two decimal places, no further trailing zero, and no rounding."""
    assert price_text(text) == shown


# --- why a replay differs -------------------------------------------------------------------------


def differing(queue: str, replayed: Any, recorded: Any) -> dict[str, Any]:
    """Return the words for a difference of two lists of checks."""
    one, two = ({"type": "signal", "payload": {"checks": each}} for each in (replayed, recorded))
    difference = Difference(
        *("strategy_role", queue, 1, 7, "cause"), canonical.encode(one), canonical.encode(two), {}
    )
    return describe(difference)


def test_recorded_event_without_a_payload_object_is_told_as_not_derived() -> None:
    """A recorded line that no contract allows is told as one that this code does not derive."""
    found = canonical.encode({"type": "signal", "payload": "none"})
    difference = Difference("strategy_role", "signals", 1, 7, "cause", None, found, {})

    assert describe(difference)["lines"][-1] == "  recorded, and not derived by this code: signal"


def test_replay_that_differs_by_a_false_verdict_says_why() -> None:
    """A replay that differs by a verdict says that the run's strategy wrote it."""
    rows = [row("close", "61661.39", "< 61652.60", passed=True)]

    fields = differing("signals", [{**rows[0], "passed": False}], rows)

    assert len(fields["why"]) == 1
    assert "'close 61661.39 against < 61652.60' is recorded as ok" in fields["why"][0]
    assert "which its own numbers contradict" in fields["why"][0]
    assert f"  why: {fields['why'][0]}" in fields["lines"]


@pytest.mark.parametrize(
    ("queue", "replayed", "recorded"),
    [
        ("signals", [row("a", "1", "< 2", True)], [row("a", "3", "< 2", True)]),
        ("signals", [row("a", "1", "< 2", True)], []),
        ("risk_actions", [row("a", "1", "< 2", True)], [row("a", "1", "< 2")]),
    ],
)
def test_other_differences_are_not_put_down_to_a_verdict(
    queue: str, replayed: Any, recorded: Any
) -> None:
    """A tampered number, a missing check and risk's verdicts are not blamed on the strategy."""
    assert differing(queue, replayed, recorded)["why"] == []


def test_entry_refused_by_the_runs_end_names_a_time_of_day() -> None:
    """The end of a run is told as a clock's time, not in milliseconds."""
    row = {"name": "run_ending", "value": "1723161600000", "threshold": "none", "passed": False}

    assert check_words(row) == "the run ends at 00:00:00.000 UTC"
