"""Inputs of risk without an event: the same answers and the same state as with one.

A night hands risk events; a backtest hands it ticks, bars and messages of which no event was made.
"""

from __future__ import annotations

from random import Random

import pytest

from minibot.cores.closed_bar import BarInput, ClosedBar
from minibot.cores.event_id import named
from minibot.cores.messages import FillMessage, ReportMessage, ResultMessage, SignalMessage
from minibot.cores.protocol import Input
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import (
    Bar,
    Event,
    Fill,
    Halt,
    JsonObject,
    MarketRegime,
    MarketScan,
    MarketTick,
    OrderResult,
    RunOpening,
    Signal,
)
from minibot.events.money import parse_amount
from minibot.kernel.errors import InvariantError
from minibot.risk.core import core_from_config
from tests.risk.desk import RISK_INPUTS, Desk, actions, config, finished
from tests.risk.test_exits_storm import profile_of, steps_of, take
from tests.risk.test_regime_gate import tell


def without_event(event: Event, seq: int) -> Input:
    """Return an input as a backtest hands it over; of the rare ones the event itself."""
    payload = event.payload
    if isinstance(payload, MarketTick):
        tick = ScaledTick()
        tick.fill(payload, event)
        return tick
    if isinstance(payload, Bar):
        bar, units = ClosedBar.of_event(payload), parse_amount(payload.close)
        return BarInput(payload.symbol, bar, units, event.ts, event.run_id)
    if isinstance(payload, Signal):
        return SignalMessage.of(payload, event)
    if isinstance(payload, Fill):
        return FillMessage.of(payload, event)
    if isinstance(payload, OrderResult):
        return ResultMessage.of(payload, event)
    if isinstance(payload, MarketRegime):
        return ReportMessage.caused_by(named(event.id, event.run_id), event.ts, seq, 0, payload)
    return event


def answers(profile: JsonObject, desk: Desk, *, has_events: bool) -> tuple[list[Event], JsonObject]:
    """Feed a fresh core what a desk's core was fed; return what it said, and its state."""
    core, gathered, numbers, now = core_from_config(profile), [], dict[str, int](), 0
    for queue, event in desk.log:
        numbers[queue] = seq = numbers.get(queue, 0) + 1
        now = max(now, event.ts)
        if queue in RISK_INPUTS:
            item = event if has_events else without_event(event, seq)
            messages = core.process(item, seq, now) or []
            gathered += [answer for _, answer in finished(messages, event, "risk_role")]
    return gathered, core.state()


@pytest.mark.parametrize("seed", range(12))
def test_inputs_without_events_are_answered_as_events_are(seed: int) -> None:
    """Each tick, bar, signal, fill, result and regime, in a random night."""
    chance = Random(seed)
    profile = profile_of(chance)
    profile["risk"]["entry_regimes"] = ["trending", "mixed"]
    desk = Desk(profile).ready()
    for number, step in enumerate(steps_of(chance, 120)):
        if number % 20 == 3:
            tell(desk, chance.choice(["trending", "mixed", "mixed", "choppy"]))
        if number % 10 == 5:
            close = f"{100 + chance.gauss(0, 1):.2f}"
            desk.bar("100", "110", "90", close)
        take(desk, step)

    with_events = answers(profile, desk, has_events=True)

    assert [event.id for event in with_events[0]]
    assert answers(profile, desk, has_events=False) == with_events


def test_item_that_is_no_input_is_refused() -> None:
    """A mistake of whoever feeds the core is told as such, with the item's kind."""
    with pytest.raises(TypeError, match="Halt is not an input of risk"):
        core_from_config(config()).process(Halt("operator", "a test"), 1, 1)  # type: ignore[arg-type]


def test_scan_says_nothing_to_risk() -> None:
    """It is the strategy's own; of what that tells only the regime concerns risk."""
    desk = Desk(config()).ready()
    before = desk.risk.state()
    scan = MarketScan(desk.ts, "1m", (), 0, 0)
    ref = named("scan", "run")

    assert desk.put("signals", scan, tick_seq=desk.seqs["market_ticks"]) == []
    assert desk.risk.process(ReportMessage.caused_by(ref, desk.ts, 1, 0, scan), 1, desk.ts) is None
    assert desk.risk.state() == before


# --- before the opening, and after a STOP ---------------------------------------------------------


def stopped() -> Desk:
    """Return a desk whose risk has stopped the run at its loss limit, with all kinds of inputs."""
    desk = Desk(config(risk__night_loss_soft="50", risk__night_loss_hard="90")).ready()
    desk.beat()
    desk.bar("100", "100", "100", "100")
    desk.buy()
    assert actions(desk.tick("89", "89"))[-1] == ("STOP", "RISK_LIMIT")
    desk.put("control", Halt(who="operator", why="a test"))
    return desk


def kinds(desk: Desk) -> dict[str, tuple[Event, int]]:
    """Return one event of each kind that risk reads, with the number of its line."""
    numbers: dict[str, int] = {}
    found: dict[str, tuple[Event, int]] = {}
    for queue, event in desk.log:
        numbers[queue] = numbers.get(queue, 0) + 1
        if queue in RISK_INPUTS and event.type != RunOpening.TYPE:
            found.setdefault(event.type, (event, numbers[queue]))
    return found


INPUTS = ("bar", "beat", "fill", "halt", "instrument", "market_tick", "order_result", "signal")


def test_desk_has_an_event_of_each_kind() -> None:
    """The two tests below leave none out."""
    assert tuple(sorted(kinds(stopped()))) == INPUTS


@pytest.mark.parametrize("kind", INPUTS)
def test_after_a_stop_nothing_is_said_and_nothing_changes(kind: str) -> None:
    """Whatever still comes, by night or from a backtest, leaves the core as the STOP did."""
    desk = stopped()
    event, seq = kinds(desk)[kind]
    before = desk.risk.state()

    assert desk.risk.process(event, seq, desk.ts) is None
    assert desk.risk.process(without_event(event, seq), seq, desk.ts) is None
    assert desk.risk.state() == before


@pytest.mark.parametrize("kind", INPUTS)
def test_input_before_the_opening_is_a_broken_invariant(kind: str) -> None:
    """A run decides nothing before it knows what it holds."""
    event, seq = kinds(stopped())[kind]
    core = core_from_config(config())

    with pytest.raises(InvariantError, match="before run_opening"):
        core.process(event, seq, event.ts)
    assert core.facts() == {"open_orders": 0, "open_positions": []}
