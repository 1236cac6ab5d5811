"""Late fills: an entry is filled within its time after the signal, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.risk.desk import Desk, actions, config, fills, intents, opening, results
from tests.risk.test_limit_entries import limit
from tests.risk.test_quotes import QUOTED

LATE = {"risk__late_fill_market_ms": 2_000}


def desk(**changes: Any) -> Desk:
    """Return risk and executor at a touch of 99.99 to 100.01; orders live for a minute."""
    return Desk(config(**{"execution__order_ttl_market_ms": 60_000} | changes)).ready()


@pytest.mark.row("C-17")
@pytest.mark.parametrize(("late_by", "first"), [(1, "ACCEPTED"), (0, "REJECTED"), (-1, "REJECTED")])
def test_intent_that_arrives_when_its_signal_is_too_old_is_rejected(
    late_by: int, first: str
) -> None:
    """An intent is taken a millisecond before it is late, and rejected from then on."""
    one = Desk(config(), first=opening(), with_risk=False).ready()

    events = one.intent("BUY", "1", late_ts=one.ts + late_by)

    assert results(events)[0] == (first, "accepted" if first == "ACCEPTED" else "late_fill")


@pytest.mark.row("C-17")
@pytest.mark.parametrize(
    ("latency_ms", "age_ms", "is_filled"),
    [(500, 0, True), (1_999, 0, True), (2_000, 0, False), (1_500, 499, True), (1_500, 500, False)],
)
def test_entry_is_filled_within_its_time_after_the_signal_or_not_at_all(
    latency_ms: int, age_ms: int, is_filled: bool
) -> None:
    """The time counts from the signal, so that its age and the way of the order add up."""
    one = desk(execution__latency_market_ms=latency_ms, **LATE)

    events = one.signal("BUY", age_ms=age_ms)
    met = one.tick(after_ms=latency_ms)

    (intent,) = intents(events)
    assert intent.late_ts == one.ts - latency_ms - age_ms + 2_000
    assert len(fills(met)) == is_filled
    if not is_filled:
        assert results(met) == [("EXPIRED", "late_fill")]
        assert one.execution.portfolio.open_positions() == []


def test_order_that_expires_before_it_is_late_expires() -> None:
    """Its signal would be too old in a minute; the order itself lives for five seconds."""
    one = Desk(config(), first=opening(), with_risk=False).ready()
    late: dict[str, Any] = {"limit_price": "95", "time_in_force": "GTC", "late_ts": one.ts + 60_000}
    one.intent("BUY", "1", order_type="LIMIT", **late)

    assert results(one.beat(4_999)) == []
    assert results(one.beat(1)) == [("EXPIRED", "expired")]


def test_rest_of_a_partly_filled_entry_is_late_by_a_beat_too() -> None:
    """A part bought in time is kept; the rest ends, also where no tick comes."""
    one = desk(**LATE)
    one.signal("BUY")
    one.tick(ask_qty="0.4", after_ms=100)

    events = one.beat(after_ms=1_900)

    assert results(events) == [("EXPIRED", "late_fill")]
    (position,) = one.execution.portfolio.open_positions()
    assert position["qty"] == "0.40000000"


def test_restart_of_the_executor_keeps_why_an_order_ends() -> None:
    """An order that is restored in the middle ends for the reason that it had before."""
    one = desk(execution__latency_market_ms=1_000, **LATE)
    one.signal("BUY")
    one.restarted()

    assert results(one.tick(after_ms=2_000)) == [("EXPIRED", "late_fill")]


def test_exits_are_never_late_and_nothing_is_without_the_key() -> None:
    """No signal's age keeps anybody in a position; without the key intents have no such time."""
    one, plain = desk(risk__signal_exit=True, **LATE), desk()
    one.buy()

    (left,) = intents(one.signal("SELL", age_ms=0))
    (entered,) = intents(plain.signal("BUY"))

    assert left.side == "SELL"
    assert left.late_ts is None
    assert entered.late_ts is None


def test_quotes_are_late_but_for_those_at_the_strategys_own_limit() -> None:
    """A quote that follows the bid is bound by its signal; a limit has the strategy's own time."""
    quoted, pinned = desk(**LATE | QUOTED), desk(**LATE)

    (quote,) = intents(quoted.signal("BUY"))
    (own,) = intents(limit(pinned, "99.00"))

    assert quote.order_type == own.order_type == "LIMIT_MAKER"
    assert quote.late_ts == quoted.ts + 2_000
    assert own.late_ts is None
    met = quoted.tick("100.09", "100.11", after_ms=2_000)
    assert results(met)[0] == ("EXPIRED", "late_fill")
    assert fills(met) == []


@pytest.mark.parametrize("maker_end", ["give_up", "take"])
@pytest.mark.parametrize("touch", [("100.09", "100.11"), ("99.99", "100.01")])
def test_quoted_entry_ends_with_the_quote_that_is_too_late(
    maker_end: str, touch: tuple[str, str]
) -> None:
    """A signal that is too old sends no other order, and the next one may enter at once."""
    one = desk(**LATE | QUOTED | {"risk__maker_end": maker_end})
    one.signal("BUY")

    met = one.tick(*touch, after_ms=2_000)

    assert results(met) == [("EXPIRED", "late_fill")]
    assert intents(met) == []
    assert actions(met) == [("BLOCK", "late_fill")]
    assert "quotes" not in one.risk.facts()
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


def test_quoted_entry_ends_with_the_quote_that_is_refused_as_too_late() -> None:
    """A first quote that the executor takes no more leaves nothing that waits to be sent anew."""
    one = desk(**LATE | QUOTED)

    events = one.signal("BUY", age_ms=2_000)

    assert results(events) == [("REJECTED", "late_fill")]
    assert actions(events)[-1] == ("BLOCK", "late_fill")
    assert actions(one.signal("BUY")) == [("ALLOW", "allowed")]


def test_quote_that_moves_in_time_is_sent_anew() -> None:
    """A millisecond before the entry is late its rest is quoted again, within the same time."""
    one = desk(**LATE | QUOTED)
    (first,) = intents(one.signal("BUY"))
    one.tick()

    moved = one.tick("100.09", "100.11", after_ms=1_899)

    (again,) = intents(moved)
    assert again.late_ts == first.late_ts == one.ts + 1
