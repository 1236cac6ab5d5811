"""State of risk beside its core: whole from its text, halts and locks by their own events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pytest

from minibot.cores.event_id import EventId
from minibot.events.model import Beat, Halt, LockSymbol, Resume, RiskAction
from minibot.kernel.canonical import decode, encode
from minibot.risk.core import core_from_config, core_from_state
from minibot.risk.drafts import Verdict
from minibot.risk.risk_state import RiskState
from minibot.risk.trading_halts import TradingHalts
from tests.risk.desk import HASH, OTHER, SYMBOL, Desk, config, opening

WHO: dict[str, Any] = {"who": "operator", "why": "a test"}


def test_state_from_its_text_has_the_same_bytes() -> None:
    """Whoever asks about a recorded night restores the state alone, without its core."""
    desk = Desk(config(risk__hard_stop_bps="1000")).ready()
    desk.buy()
    desk.put("control", LockSymbol(symbol=OTHER, **WHO))
    state = desk.risk._state.state()

    restored = RiskState.from_state(desk.profile, decode(encode(state)))

    assert encode(restored.state()) == encode(state)
    assert restored.headroom(SYMBOL).texts() == desk.risk._state.headroom(SYMBOL).texts()
    assert restored.exit_levels() == desk.risk._state.exit_levels() != {}


def test_exit_levels_pass_over_a_position_whose_rules_are_unknown() -> None:
    """A carried position without rules hides no other position's levels from the screen."""
    lots = tuple({"symbol": each, "qty": "1", "price": "100", "ts": 1} for each in (OTHER, SYMBOL))
    exits = {"risk__hard_stop_bps": "1000", "risk__silent_exit_ms": 120_000}
    desk = Desk(config(**exits), first=opening("1000", lots))
    desk.instrument(OTHER)
    desk.tick("100", "100", symbol=OTHER)

    assert list(desk.risk._state.positions.held) == [SYMBOL, OTHER]
    assert list(desk.risk._state.exit_levels()) == [OTHER]


def numbers(value: object) -> Iterator[object]:
    """Yield every number of JSON values, amounts as `Decimal`."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)
    elif isinstance(value, str):
        yield Decimal(value or "0")
    elif value is not None:
        yield value


def test_risk_that_has_heard_nothing_counts_nothing() -> None:
    """Every amount, count and time of a first state is zero, with all limits of a profile on."""
    limits = {
        "risk__week_notional_soft": "1000",
        "risk__week_notional_hard": "2000",
        "risk__night_notional_pace": 10,
        "risk__drawdown_tiers": [
            {"state": "HALTED", "drawdown_bps": 2000, "back_bps": 1700},
        ],
        "risk__protections": [{"method": "LossesInRow", "trade_limit": 2, "stop_duration": 1}],
    }
    profile = config(**limits) | {"backtest": {"night_ms": 3_600_000}}

    first = core_from_config(profile).state()

    assert {"week", "account", "night_from"} <= set(first["budgets"])
    assert "protections" in first
    assert set(numbers(first)) == {0}


def test_halt_resume_and_lock_are_taken_and_no_other_event_is() -> None:
    """A beat neither allows entries again nor forbids any."""
    halts, found = TradingHalts(), []
    for order in (
        Beat(n=1, data_age_ms={}),
        Halt(**WHO),
        Beat(n=2, data_age_ms={}),
        LockSymbol(symbol=SYMBOL, until_ts=10, **WHO),
        Beat(n=3, data_age_ms={}),
        Resume(**WHO),
    ):
        halts.take(order)
        found.append((halts.is_halted, halts.is_locked(SYMBOL, 9)))

    assert found == [
        *((False, False), (True, False), (True, False)),
        *((True, True), (True, True), (False, True)),
    ]
    assert not halts.is_locked(SYMBOL, 10)
    assert not halts.is_locked(OTHER, 9)


def test_action_tells_the_headroom_that_its_event_has() -> None:
    """A strategy that reads the message reads what the record says, and says it again the same."""
    desk = Desk(config()).ready()
    signal = [event for queue, event in desk.log if queue == "signals"]
    assert signal == []
    desk.with_risk = False
    desk.signal("BUY")
    _, event = desk.log[-1]

    messages = desk.risk.process(event, 1, desk.ts) or []

    (verdict,) = [message for message in messages if isinstance(message, Verdict)]
    payload = verdict.event(HASH).payload
    assert isinstance(payload, RiskAction)
    assert verdict.has_headroom()
    assert verdict.headroom() == verdict.headroom() == payload.headroom
    assert (payload.headroom or {})["position_notional"] == "100000.00000000"
    assert isinstance(verdict.ref(), EventId)


def test_fill_may_be_the_first_input_behind_a_restart() -> None:
    """Another role wrote it while risk was away: it closes the position before any tick."""
    one, twin = Desk(config()).ready(), Desk(config()).ready()
    for each in (one, twin):
        each.buy()
        each.signal("SELL")
    twin.tick()
    (*_, sold) = twin.events("fills")
    one.restarted()

    one.risk.process(sold, len(twin.events("fills")), sold.ts)

    assert one.risk.facts()["open_positions"] == []


@pytest.mark.parametrize(("bid", "has_mid"), [("0", False), ("0.00000001", True)])
def test_market_without_a_bid_has_no_mid_after_a_restart_either(bid: str, has_mid: bool) -> None:
    """A side that is missing in the last touch is missing in the snapshot too."""
    one = Desk(config())
    one.instrument(price_increment="0.00000001")
    one.tick(bid, "100")

    restored = core_from_state(one.profile, one.risk.state())

    for core in (one.risk, restored):
        assert core._state.positions.of(SYMBOL).has_mid is has_mid
