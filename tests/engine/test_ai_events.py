"""Events that the AI causes: no core decides anything because of one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from minibot.cores.protocol import Core
from minibot.engine.role_replay import core_of
from minibot.events.model import CAUSED_BY_AI, Event, ModelActive, Payload
from minibot.events.names import EXECUTION_ROLE, RISK_ROLE, STRATEGY_ROLE
from minibot.events.roles import AI_TYPES, Roles
from minibot.events.unit_sizes import DAY_MS
from tests.risk.desk import HASH, PROJECT, RUN_ID, Desk
from tests.risk.test_quotes import moved, quoted, waiting

CONTRACTS = PROJECT / "tests" / "fixtures" / "contracts"


def caused(kind: type[Payload], ts: int) -> Event:
    """Return an event of a type as its contract's example has it."""
    answer = json.loads((CONTRACTS / f"{kind.TYPE}.json").read_text("utf-8"))["valid"]
    payload = kind.from_json(answer["payload"])
    return Event(ts, answer["id"], answer["source"], RUN_ID, HASH, payload)


def waited() -> Desk:
    """Return a desk with a quote that stands a while longer than its patience, its bid gone."""
    one = quoted()
    assert moved(one, after_ms=800) == []
    one.ts += 200
    return one


def refused() -> Desk:
    """Return a desk with an entry whose refused quote has waited long enough for its next one."""
    one = waiting()
    one.ts += 1_000
    return one


def core_at(desk: Desk, role: str) -> Core:
    """Return the core of a role that has taken all that happened at a desk."""
    if role == RISK_ROLE:
        return desk.risk
    if role == EXECUTION_ROLE:
        return desk.execution
    core, reads = core_of(role, desk.profile), Roles.of_project().roles[role].inputs
    for seq, (queue, event) in enumerate(desk.log, 1):
        if queue in reads:
            core.process(event, seq, event.ts)
    return core


def test_model_active_is_all_that_the_ai_causes_of_what_cores_read() -> None:
    """Queues that cores read hold one type alone of all that the AI causes."""
    roles, causes = Roles.of_project(), {kind.TYPE for kind in CAUSED_BY_AI}
    read = {queue for name in roles.cores for queue in roles.roles[name].inputs}
    writes = [role.writes.get(queue, ()) for role in roles.roles.values() for queue in read]

    assert causes >= AI_TYPES
    assert causes.intersection(kind for kinds in writes for kind in kinds) == {ModelActive.TYPE}


@pytest.mark.row("N-17")
@pytest.mark.parametrize("later_ms", [0, DAY_MS])
@pytest.mark.parametrize("stage", [waited, refused])
@pytest.mark.parametrize("role", [STRATEGY_ROLE, RISK_ROLE, EXECUTION_ROLE])
@pytest.mark.parametrize("kind", sorted(CAUSED_BY_AI, key=str))
def test_core_takes_no_event_that_the_ai_causes(
    kind: type[Payload], role: str, stage: Callable[[], Desk], later_ms: int
) -> None:
    """No quote is moved, no entry sent, no time passes and no day begins by one."""
    desk = stage()
    core, now = core_at(desk, role), desk.ts + later_ms
    before = core.state()

    messages = core.process(caused(kind, now), 1, now)

    assert not messages
    assert core.state() == before
