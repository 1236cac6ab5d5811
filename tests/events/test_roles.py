"""Role and type table: permitted writers, and tables that are refused."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from minibot.events.roles import Roles
from minibot.kernel.errors import ConfigError, ContractError

PATH = Path(__file__).resolve().parents[2] / "config" / "roles.v1.json"
RAW = json.loads(PATH.read_text(encoding="utf-8"))
ROLES = Roles.load(PATH)


@pytest.mark.parametrize(
    ("queue", "type_", "source", "is_allowed"),
    [
        ("market_ticks", "market_tick", "market_role", True),
        ("market_ticks", "market_tick", "ai_role", False),
        ("market_ticks", "signal", "market_role", False),
        ("order_intents", "order_intent", "risk_role", True),
        ("order_intents", "order_intent", "strategy_role", False),
        ("order_intents", "order_intent", "ai_role", False),
        ("signals", "order_intent", "risk_role", False),
        ("health", "health", "ai_role", True),
        ("health/parts/ai_role", "health", "ai_role", True),
        ("health/parts/risk_role", "health", "ai_role", False),
        ("incidents", "incident", "ai_role", False),
        ("stop_journal", "stop_journal", "ai_role", True),
        ("control", "halt", "watchdog_role", True),
        ("control", "halt", "risk_role", False),
        ("signals/acks", "ack", "risk_role", True),
        ("signals/acks", "ack", "strategy_role", False),
        ("signals/acks", "ack", "execution_role", False),
        ("market_ticks/readers/ai_role/acks", "ack", "ai_role", True),
        ("market_ticks/readers/ai_role/acks", "ack", "risk_role", False),
        ("signals/deadletter", "dead_letter", "risk_role", True),
        ("signals/deadletter", "ack", "risk_role", False),
        ("acks", "ack", "risk_role", True),
        ("acks", "ack", "market_role", False),
        ("nowhere", "signal", "strategy_role", False),
        ("signals", "signal", "nobody", False),
        ("", "signal", "strategy_role", False),
        ("signals/../signals", "signal", "strategy_role", False),
    ],
)
def test_roles_allow_what_the_table_grants_and_nothing_else(
    queue: str, type_: str, source: str, is_allowed: bool
) -> None:
    """A role may write its types into its queues, its parts, and side files of its inputs."""
    assert ROLES.allows(queue, type_, source) is is_allowed
    if not is_allowed:
        with pytest.raises(ContractError) as stop:
            ROLES.check(queue, type_, source)
        assert stop.value.reason_code == "SOURCE_FORBIDDEN"


def test_roles_of_the_project_hold_the_base_queues_and_bind_the_ai() -> None:
    """All base queues exist; the AI writes recommendation, health and stop_journal alone."""
    base = {
        "market_ticks", "signals", "risk_actions", "order_intents", "order_results", "fills",
        "health", "stop_journal",
    }  # fmt: skip
    ai = ROLES.roles["ai_role"]

    assert base <= set(ROLES.queues)
    assert set().union(*ai.writes.values()) == {"recommendation", "health", "stop_journal"}
    assert ROLES.writers("order_intents") == ("risk_role",)


@pytest.mark.row("N-115")
def test_roles_of_the_project_are_six_whose_modules_stand_and_run() -> None:
    """Each role of the project has its own module with a `main`."""
    assert set(ROLES.roles) == {
        "watchdog_role", "market_role", "strategy_role", "risk_role", "execution_role", "ai_role",
    }  # fmt: skip
    for role in ROLES.roles.values():
        path = PATH.parent.parent / (role.module.replace(".", "/") + ".py")
        assert path.is_file(), f"{role.name}: no module {role.module}"
        names = {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef)
        }
        assert ("launch" if role.name == "watchdog_role" else "main") in names, role.module


@pytest.mark.row("N-115")
@pytest.mark.parametrize(
    ("queue", "writers", "readers"),
    [
        ("market_ticks", {"market_role"}, {"strategy_role", "risk_role", "execution_role",
                                           "ai_role"}),
        ("signals", {"strategy_role"}, {"risk_role", "ai_role"}),
        ("risk_actions", {"risk_role"}, {"strategy_role"}),
        ("order_intents", {"risk_role"}, {"execution_role"}),
        ("order_results", {"execution_role"}, {"risk_role"}),
        ("fills", {"execution_role"}, {"strategy_role", "risk_role", "ai_role"}),
        ("stop_journal", set(ROLES.roles), {"watchdog_role"}),
        ("health", set(ROLES.roles), {"watchdog_role"}),
    ],
)  # fmt: skip
def test_roles_of_the_project_list_what_each_reads_and_writes(
    queue: str, writers: set[str], readers: set[str]
) -> None:
    """Readers and writers of every queue are listed, to the last role."""
    assert set(ROLES.writers(queue)) == writers
    assert set(ROLES.readers(queue)) == readers


def test_orders_of_the_project_are_the_ones_that_nights_and_replays_go_by() -> None:
    """Downstream roles start first, the source ends first, and trades precede requests."""
    assert ROLES.start_order == (
        "watchdog_role", "execution_role", "risk_role", "strategy_role", "ai_role", "market_role",
    )  # fmt: skip
    assert ROLES.drain_order == (
        "market_role", "strategy_role", "risk_role", "execution_role", "ai_role", "watchdog_role",
    )  # fmt: skip
    assert ROLES.market_order == ("strategy_role", "execution_role", "risk_role")
    assert ROLES.derived_order == (
        "fills", "order_results", "signals", "order_intents", "risk_actions",
    )  # fmt: skip
    assert ROLES.cores == ("strategy_role", "risk_role", "execution_role")
    assert ROLES.world == ("market_ticks", "control")
    assert set(ROLES.trading) == set(ROLES.roles) - {"watchdog_role", "ai_role"}


def test_role_ends_after_all_writers_of_the_queue_that_it_counts_by() -> None:
    """A role ends after all writers of the queue that it counts by, so its inputs are complete."""
    place = ROLES.drain_order.index
    for role in ROLES.roles.values():
        for writer in ROLES.writers(role.order_log) if role.order_log else ():
            assert writer == role.name or place(writer) < place(role.name)


def _grant_ai_an_order(raw: Any) -> None:
    raw["roles"]["ai_role"]["writes"]["order_intents"] = ["order_intent"]


def _merge_ai(raw: Any) -> None:
    raw["roles"]["ai_role"]["module"] = raw["roles"]["strategy_role"]["module"]


def _second_writer(raw: Any) -> None:
    raw["roles"]["market_role"]["writes"]["signals"] = ["signal"]


def _strategy_orders(raw: Any) -> None:
    raw["roles"]["strategy_role"]["writes"]["order_intents"] = ["order_intent"]
    raw["queues"]["order_intents"]["parts"] = True


def _unknown_type(raw: Any) -> None:
    raw["roles"]["market_role"]["writes"]["market_ticks"].append("rumour")


def _unknown_queue(raw: Any) -> None:
    raw["roles"]["risk_role"]["inputs"].append("rumours")


def _foreign_log(raw: Any) -> None:
    raw["roles"]["risk_role"]["order_log"] = "health"


def _foreign_reader(raw: Any) -> None:
    raw["queues"]["signals"]["primary_reader"] = "market_role"


def _no_writer(raw: Any) -> None:
    del raw["roles"]["strategy_role"]["writes"]["signals"]


def _forgotten_at_start(raw: Any) -> None:
    raw["start_order"].remove("ai_role")


def _started_twice(raw: Any) -> None:
    raw["start_order"].append("risk_role")


def _launcher_started_last(raw: Any) -> None:
    raw["start_order"].append(raw["start_order"].pop(0))


def _source_started_early(raw: Any) -> None:
    raw["start_order"].insert(1, raw["start_order"].pop())


def _swapped_at_start(raw: Any) -> None:
    order = raw["start_order"]
    order[1], order[2] = order[2], order[1]


def _market_to_the_ai(raw: Any) -> None:
    raw["market_order"].append("ai_role")


def _queue_never_emptied(raw: Any) -> None:
    raw["derived_order"].remove("fills")


def _queue_emptied_twice(raw: Any) -> None:
    raw["derived_order"].append("fills")


def _emptied_queue_of_no_core(raw: Any) -> None:
    raw["derived_order"].append("market_ticks")


def _no_order(raw: Any) -> None:
    del raw["market_order"]


def _order_logs_in_a_circle(raw: Any) -> None:
    raw["roles"]["strategy_role"]["order_log"] = "risk_actions"


def _no_roles(raw: Any) -> None:
    del raw["roles"]


@pytest.mark.row("N-36")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_grant_ai_an_order, "can never be granted to the AI"),
        (_merge_ai, "roles.ai_role.module"),
        (_second_writer, "queues.signals"),
        (_strategy_orders, "only risk_role writes order_intent"),
        (_unknown_type, "rumour"),
        (_unknown_queue, "unknown queue rumours"),
        (_foreign_log, "roles.risk_role.order_log"),
        (_foreign_reader, "queues.signals.primary_reader"),
        (_no_writer, "no role writes it"),
        (_no_roles, "roles"),
        (_forgotten_at_start, "start_order"),
        (_started_twice, "start_order"),
        (_launcher_started_last, "start_order: execution_role is first"),
        (_source_started_early, "start_order: market_role starts before strategy_role"),
        (_swapped_at_start, "start_order: risk_role starts before execution_role"),
        (_market_to_the_ai, "market_order"),
        (_queue_never_emptied, "derived_order"),
        (_queue_emptied_twice, "derived_order"),
        (_emptied_queue_of_no_core, "derived_order"),
        (_no_order, "market_order"),
        (_order_logs_in_a_circle, "their input logs lead in a circle"),
    ],
)
def test_roles_that_contradict_themselves_are_refused(
    change: Callable[[Any], None], word: str
) -> None:
    """A table that contradicts itself is refused: the AI merged, given orders, two writers."""
    raw = deepcopy(RAW)
    change(raw)

    with pytest.raises(ConfigError) as refusal:
        Roles.of(raw)

    assert any(word in text for text in refusal.value.violations), refusal.value.violations


@pytest.mark.parametrize(
    ("places", "value", "word"),
    [
        (("roles", "ai_role", "module"), ["x"], "expected a name"),
        (("roles", "ai_role", "module"), None, "expected a name"),
        (("roles", "ai_role", "inputs"), "market_ticks", "expected a list of names"),
        (("roles", "ai_role", "writes", "health"), [1, "health"], "expected a list of names"),
        (("queues", "signals", "primary_reader"), ["risk_role"], "expected a name"),
        (("queues", "signals", "parts"), "", "expected true or false"),
        (("start_order",), [1, "market_role"], "expected a list of names"),
        (("roles", "ai_role", "inputs"), ["fills", "market_ticks", "fills"], "fills twice"),
        (("roles",), {}, "watchdog_role is missing"),
    ],
)
def test_roles_with_a_value_of_another_kind_are_refused(
    places: tuple[str, ...], value: Any, word: str
) -> None:
    """A list for a name, a text for a list, or an input listed twice is a refusal that says so."""
    raw = deepcopy(RAW)
    *outer, last = places
    part = raw
    for key in outer:
        part = part[key]
    part[last] = value

    with pytest.raises(ConfigError) as refusal:
        Roles.of(raw)

    assert any(word in text for text in refusal.value.violations), refusal.value.violations


def test_roles_file_that_is_missing_or_broken_is_refused_by_name(tmp_path: Path) -> None:
    """A missing or broken roles file is refused by name."""
    (tmp_path / "half.json").write_text('{"roles": {', encoding="utf-8")
    for name in ("half.json", "none.json"):
        with pytest.raises(ConfigError, match=name):
            Roles.load(tmp_path / name)
