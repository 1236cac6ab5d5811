"""Rule order: which core gets which input first, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from minibot.cores.messages import QUEUES, FillMessage, IntentMessage, Message, SignalMessage
from minibot.cores.protocol import Core, Input
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.events.model import Beat, Event, Fill, OrderIntent, Signal
from minibot.events.names import TICKS
from minibot.events.roles import Roles
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.risk.core import RiskCore
from minibot.runtime.configuration.config import load_config
from minibot.strategies.core import StrategyCore
from tests.runs import PROJECT

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")

Taken = list[tuple[str, str, int, int]]
Answer = Callable[[str], list[Message]]

SIGNAL = Signal("BTCUSDT", "BUY", 1, 1, 1, "r", "c", ())
INTENT = OrderIntent("BTCUSDT", "BUY", "1", "MARKET", "x", "ENTRY")
FILL = Fill("o", "x", "BTCUSDT", "BUY", "1", "1", "0", "USDT", "TAKER")
TAKES = {
    "strategy_role": StrategyCore.TAKES,
    "risk_role": RiskCore.TAKES,
    "execution_role": PaperExecutorNoreV1.TAKES,
}


class Recorder(Core):
    """Core that records its inputs and answers as told."""

    def __init__(self, name: str, taken: Taken, answer: Answer) -> None:
        self._name, self._taken, self._answer = name, taken, answer
        self.TAKES = TAKES[name]  # type: ignore[misc]

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Note the input."""
        queue = QUEUES[item.place] if isinstance(item, Message) else TICKS
        self._taken.append((self._name, queue, seq, now))
        return self._answer(queue)


def said(payload: Signal | OrderIntent | Fill) -> Message:
    """Return a message with this content."""
    event = Event(1000, "id", "a_role", "20250101_000000", "0" * 64, payload, ("cause",), 1)
    if isinstance(payload, Signal):
        return SignalMessage.of(payload, event)
    if isinstance(payload, Fill):
        return FillMessage.of(payload, event)
    return IntentMessage.of(payload, event)


def silent(queue: str) -> list[Message]:
    """Answer nothing."""
    return []


def lockstep(
    taken: Taken,
    answers: dict[str, Answer],
    delay_ms: dict[str, int],
    roles: Roles | None = None,
) -> Lockstep:
    """Return a lockstep over recorders."""
    return Lockstep(
        {name: Recorder(name, taken, answers.get(name, silent)) for name in CORE_ROLES},
        roles or Roles.of_project(),
        cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        take=lambda queue, seq, event: None,
        delay_ms=delay_ms,
    )


def beat(ts: int) -> Event:
    """Return a market event."""
    return Event(ts, f"tick:{ts}", "market_role", "20250101_000000", "0" * 64, Beat(1, {}))


def test_market_goes_round_first_then_fills_then_signals_then_intents() -> None:
    """All consequences of a tick come before the next tick, fills before signals."""
    taken: Taken = []

    def on(queue: str, payload: Signal | OrderIntent | Fill) -> Answer:
        return lambda found: [said(payload)] if found == queue else []

    table = lockstep(
        taken,
        {
            "strategy_role": on(TICKS, SIGNAL),
            "execution_role": on(TICKS, FILL),
            "risk_role": on("signals", INTENT),
        },
        {},
    )
    table.process(beat(1000), 1)

    assert [(role, queue) for role, queue, _, _ in taken] == [
        ("strategy_role", TICKS),
        ("execution_role", TICKS),
        ("risk_role", TICKS),
        ("strategy_role", "fills"),
        ("risk_role", "fills"),
        ("risk_role", "signals"),
        ("execution_role", "order_intents"),
    ]


def test_now_is_the_events_time_plus_the_roles_delay_and_never_goes_back() -> None:
    """A role's `now` is the event's time plus the role's delay, and never goes back."""
    taken: Taken = []
    table = lockstep(taken, {}, {"risk_role": 30})
    for seq, ts in enumerate((1000, 1010, 1005), 1):
        table.process(beat(ts), seq)

    of_risk = [now for role, _, _, now in taken if role == "risk_role"]
    of_strategy = [now for role, _, _, now in taken if role == "strategy_role"]
    assert of_risk == [1030, 1040, 1040]
    assert of_strategy == [1000, 1010, 1010]


def test_role_that_reads_other_queues_than_a_lockstep_hands_it_is_refused() -> None:
    """A role whose queues differ from the lockstep's is refused."""
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    risk = roles.roles["risk_role"]
    deaf = replace(risk, inputs=tuple(queue for queue in risk.inputs if queue != "fills"))
    roles = replace(roles, roles={**roles.roles, "risk_role": deaf})
    with pytest.raises(ValueError, match=r"risk_role reads .* hands it .*'fills'"):
        Lockstep(
            fresh_cores(load_config(PROJECT / "config" / "nore.v1.json", [], {}).raw),
            roles,
            cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        )


def test_order_of_the_market_that_ticks_do_not_have_is_refused() -> None:
    """A market order that ticks do not have goes round as events do, or is refused."""
    roles = Roles.of_project()
    roles = replace(roles, market_order=tuple(reversed(roles.market_order)))
    with pytest.raises(ValueError, match="market_order"):
        Lockstep(
            fresh_cores(load_config(PROJECT / "config" / "nore.v1.json", [], {}).raw),
            roles,
            cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        )


def test_queues_are_emptied_in_the_order_of_the_roles() -> None:
    """Derived queues are emptied in the order of the roles table."""
    taken: Taken = []
    say: dict[str, Answer] = {
        "strategy_role": lambda queue: [said(SIGNAL)] if queue == TICKS else [],
        "execution_role": lambda queue: [said(FILL)] if queue == TICKS else [],
    }
    roles = Roles.of_project()
    backwards = replace(roles, derived_order=tuple(reversed(roles.derived_order)))
    for order in (roles, backwards):
        lockstep(taken, say, {}, order).process(beat(1000), 1)

    of_risk = [queue for role, queue, _, _ in taken if role == "risk_role" and queue != TICKS]
    assert of_risk == ["fills", "signals", "signals", "fills"]
