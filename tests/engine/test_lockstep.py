"""Rule order: who is given what first, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from minibot.cores.input_order import Core
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Beat, Draft, Event, Fill, JsonObject, OrderIntent, Signal
from minibot.events.names import TICKS
from minibot.events.roles import Roles
from minibot.replay import rule_order as rule_order_module
from minibot.replay.rule_order import rule_order
from minibot.runtime.configuration.config import load_config
from tests.runs import PROJECT, ShortRun

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")

Taken = list[tuple[str, str, int, int]]
Answer = Callable[[str, Event], list[Draft]]

SIGNAL = Signal("BTCUSDT", "BUY", 1, 1, 1, "r", "c", ())
INTENT = OrderIntent("BTCUSDT", "BUY", "1", "MARKET", "x", "ENTRY")
FILL = Fill("o", "x", "BTCUSDT", "BUY", "1", "1", "0", "USDT", "TAKER")


class Recorder:
    """A core that notes what it takes and answers as it is told."""

    def __init__(self, name: str, taken: Taken, answer: Answer) -> None:
        self._name, self._taken, self._answer = name, taken, answer

    def step(self, queue: str, seq: int, event: Event, now: int) -> list[Draft]:
        """Note the input."""
        self._taken.append((self._name, queue, seq, now))
        return self._answer(queue, event)

    def state(self) -> JsonObject:
        """Return nothing."""
        return {}

    def facts(self) -> JsonObject:
        """Return nothing."""
        return {}


class Wrapped:
    """One of the three cores behind `step` alone, as somebody else's core would be."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def step(self, queue: str, seq: int, event: Event, now: int) -> list[Draft]:
        """Hand the event on."""
        return self._core.step(queue, seq, event, now)

    def state(self) -> JsonObject:
        """Return the core's."""
        return self._core.state()

    def facts(self) -> JsonObject:
        """Return the core's."""
        return self._core.facts()


def lockstep(
    taken: Taken,
    answers: dict[str, Answer],
    delay_ms: dict[str, int],
    roles: Roles | None = None,
) -> Lockstep:
    """Return a table of recorders."""
    nothing: Answer = lambda queue, event: []  # noqa: E731
    return Lockstep(
        {name: Recorder(name, taken, answers.get(name, nothing)) for name in CORE_ROLES},
        roles or Roles.of_project(),
        run_id="20250101_000000",
        cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        take=lambda queue, seq, event: None,
        delay_ms=delay_ms,
    )


def beat(ts: int) -> Event:
    """Return a market event."""
    return Event(ts, f"tick:{ts}", "market_role", "20250101_000000", "0" * 64, Beat(1, {}))


def test_market_goes_round_first_then_fills_then_signals_then_intents() -> None:
    """Everything that a tick leads to comes before the next tick, fills before signals."""
    taken: Taken = []

    def on_tick(queue: str, payload: Signal | Fill, out: str) -> Answer:
        def answer(found: str, event: Event) -> list[Draft]:
            return [Draft(out, payload, event.ts, (event.id,), 1)] if found == queue else []

        return answer

    table = lockstep(
        taken,
        {
            "strategy_role": on_tick(TICKS, SIGNAL, "signals"),
            "execution_role": on_tick(TICKS, FILL, "fills"),
            "risk_role": lambda queue, event: (
                [Draft("order_intents", INTENT, event.ts, (event.id,), 1)]
                if queue == "signals"
                else []
            ),
        },
        {},
    )
    table.feed(TICKS, 1, beat(1000))

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
    """A role that is slow by rule is slow for each event by the same time."""
    taken: Taken = []
    table = lockstep(taken, {}, {"risk_role": 30})
    for seq, ts in enumerate((1000, 1010, 1005), 1):
        table.feed(TICKS, seq, beat(ts))

    of_risk = [now for role, _, _, now in taken if role == "risk_role"]
    of_strategy = [now for role, _, _, now in taken if role == "strategy_role"]
    assert of_risk == [1030, 1040, 1040]
    assert of_strategy == [1000, 1010, 1010]


def test_role_that_reads_other_queues_than_a_lockstep_hands_it_is_refused() -> None:
    """Who takes what is said twice, in the roles and by the lockstep: they cannot disagree."""
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    risk = roles.roles["risk_role"]
    deaf = replace(risk, inputs=tuple(queue for queue in risk.inputs if queue != "fills"))
    roles = replace(roles, roles={**roles.roles, "risk_role": deaf})
    with pytest.raises(ValueError, match=r"risk_role reads .* hands it .*'fills'"):
        Lockstep(
            fresh_cores(load_config(PROJECT / "config" / "nore.v1.json", [], {}).raw),
            roles,
            run_id="20250101_000000",
            cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        )


def test_order_of_the_market_that_ticks_do_not_have_is_refused() -> None:
    """A tick that is no event goes round as an event does, or no lockstep is made."""
    roles = Roles.of_project()
    roles = replace(roles, market_order=tuple(reversed(roles.market_order)))
    with pytest.raises(ValueError, match="market_order"):
        Lockstep(
            fresh_cores(load_config(PROJECT / "config" / "nore.v1.json", [], {}).raw),
            roles,
            run_id="20250101_000000",
            cmdline_hashes=dict.fromkeys(CORE_ROLES, "0" * 64),
        )


def test_queues_are_emptied_in_the_order_of_the_roles() -> None:
    """The table says which of two messages that wait is taken first."""
    taken: Taken = []
    say: dict[str, Answer] = {
        "strategy_role": lambda queue, event: (
            [Draft("signals", SIGNAL, event.ts, (event.id,), 1)] if queue == TICKS else []
        ),
        "execution_role": lambda queue, event: (
            [Draft("fills", FILL, event.ts, (event.id,), 1)] if queue == TICKS else []
        ),
    }
    roles = Roles.of_project()
    backwards = replace(roles, derived_order=tuple(reversed(roles.derived_order)))
    for order in (roles, backwards):
        lockstep(taken, say, {}, order).feed(TICKS, 1, beat(1000))

    of_risk = [queue for role, queue, _, _ in taken if role == "risk_role" and queue != TICKS]
    assert of_risk == ["fills", "signals", "signals", "fills"]


@pytest.mark.parametrize("names", [(name,) for name in CORE_ROLES] + [CORE_ROLES])
def test_core_that_speaks_in_events_is_understood_by_the_others(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Whoever stands behind `step`: what is derived is the same to the byte."""
    recorded = Recorded.open(short_run.run_dir)
    expected = rule_order(recorded, recorded.manifest.config)

    def some_wrapped(config: JsonObject) -> dict[str, Core]:
        cores = fresh_cores(config)
        return {name: Wrapped(core) if name in names else core for name, core in cores.items()}

    monkeypatch.setattr(rule_order_module, "fresh_cores", some_wrapped)
    found = rule_order(recorded, recorded.manifest.config)

    assert sum(said.queue == "fills" for said in expected.derived) > 2
    assert found.derived == expected.derived
    assert found.digest == expected.digest
