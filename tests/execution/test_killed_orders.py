"""Risk and execution killed with an order resting, an OCO half filled, a replace on its way.

A role is killed behind each of its inputs, with none, some or all of what followed written, and the
next line torn. It comes back as a process does: from a snapshot or from nothing, its logged inputs
again, its outputs compared with its journals, what is missing appended.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minibot.cores.comparison import Comparison
from minibot.cores.input_order import LineSource
from minibot.cores.protocol import Core
from minibot.events.model import Event, JsonObject, OrderReplace
from minibot.execution.core import core_from_config as execution_from_config
from minibot.execution.core import core_from_state as execution_from_state
from minibot.execution.orders import OrderState
from minibot.kernel.canonical import decode, encode
from minibot.kernel.journal import JournalReader, JournalWriter, create_journal
from minibot.kernel.line import encode_line
from minibot.kernel.lock import WriterLock
from minibot.risk.core import core_from_config as risk_from_config
from minibot.risk.core import core_from_state as risk_from_state
from tests.risk.desk import (
    EXECUTION_INPUTS,
    RISK_INPUTS,
    Desk,
    codec,
    config,
    finished,
)

ROLES = ("risk_role", "execution_role")
OUTPUTS = {
    "risk_role": ("risk_actions", "order_intents"),
    "execution_role": ("order_results", "fills"),
}
Outputs = list[tuple[str, Event]]


@dataclass(frozen=True)
class Step:
    """One input of a role, what followed, the state behind it, and what the executor held."""

    event: Event
    seq: int
    now: int
    outputs: Outputs
    state: bytes
    situation: frozenset[str]


class Record(Desk):
    """A desk whose roles log their inputs and outputs."""

    def __init__(self, profile: JsonObject) -> None:
        self.steps: dict[str, list[Step]] = {role: [] for role in ROLES}
        super().__init__(profile)

    def take(self, queue: str, event: Event) -> list[Event]:
        """Let both cores process an event and its consequences, and log each step."""
        waiting, gathered = [(queue, event)], []
        while waiting:
            name, given = waiting.pop(0)
            seq = self.seqs[name] = self.seqs.get(name, 0) + 1
            taken = codec().decode(name, codec().encode(name, given))
            self.log.append((name, taken))
            now = max(self.ts, taken.ts)
            answers: Outputs = []
            for role, inputs in (("execution_role", EXECUTION_INPUTS), ("risk_role", RISK_INPUTS)):
                if name in inputs:
                    core: Core = self.risk if role == "risk_role" else self.execution
                    outputs = finished(core.process(taken, seq, now) or [], taken, role)
                    state, held = (
                        encode(core.state()),
                        self._held([(name, taken), *waiting, *outputs]),
                    )
                    self.steps[role].append(Step(taken, seq, now, outputs, state, held))
                    answers += outputs
            gathered += [answer for _, answer in answers]
            waiting += answers
        return gathered

    def _held(self, under_way: Outputs) -> frozenset[str]:
        """Return in which of the situations the desk is, with these events under way."""
        found = set()
        for order in self.execution.orders:
            if order.is_waiting:
                found.add("resting")
            is_part = order.state is OrderState.PARTIALLY_FILLED
            if is_part and order.stop is not None and order.target is not None:
                found.add("half filled")
        if any(isinstance(event.payload, OrderReplace) for _, event in under_way):
            found.add("replace on its way")
        return frozenset(found)


def night(**changes: Any) -> Record:
    """Return a night: bought in parts, protected, replaced, triggered, half sold, sold out."""
    keys: dict[str, Any] = {"risk__exits_at": "venue", "execution__fee_asset": "base"} | changes
    keys |= {"risk__stop_bps": "100", "risk__take_profit_bps": "200"}
    desk = Record(config(**keys, execution__taker_fee_bps="7.5"))
    desk.ready()
    desk.signal("BUY")
    desk.tick(ask_qty="4")
    desk.tick()
    desk.tick("98.5", "98.52", bid_qty="3", trade="98.5")
    desk.tick("98.4", "98.42", bid_qty="2")
    desk.tick("98.4", "98.42", bid_qty="1000")
    desk.tick("100", "100.02")
    desk.signal("BUY")
    desk.tick("100", "100.02")
    desk.signal("SELL")
    desk.tick("100", "100.02")
    return desk


@pytest.fixture(scope="module", params=[{}, {"risk__stop_limit_bps": "60"}], ids=["", "limit"])
def recorded(request: pytest.FixtureRequest) -> Record:
    """Return the night, recorded once, with stops at the market and with limits."""
    desk = night(**request.param)
    intents = [event.payload.to_json() for event in desk.events("order_intents")]
    assert any("limit_price" in intent for intent in intents) is bool(request.param)
    return desk


class Folder:
    """The journals of a role's outputs on disk."""

    def __init__(self, path: Path, role: str) -> None:
        self.path = path
        self.queues = OUTPUTS[role]
        for queue in self.queues:
            (path / queue).mkdir(parents=True)
            create_journal(path / queue, "inbox")

    def append(self, outputs: Outputs) -> None:
        """Append events as a process does when it starts: recover, write, publish."""
        for queue in self.queues:
            lines = [codec().encode(queue, event) for name, event in outputs if name == queue]
            folder = self.path / queue
            lock = WriterLock(folder / "writer.lock")
            writer = JournalWriter(folder, "inbox", lock=lock, sync=False)
            if lines:
                writer.append([encode_line(line) for line in lines])
            writer.close()  # Which gives back the lock.

    def tear(self, event: Event, queue: str) -> None:
        """Leave half a line behind the last published one."""
        line = encode_line(codec().encode(queue, event))
        with (self.path / queue / "inbox.jsonl").open("ab") as file:
            file.write(line[: len(line) // 2])

    def bytes(self) -> list[bytes]:
        """Return the content of each journal."""
        return [(self.path / queue / "inbox.jsonl").read_bytes() for queue in self.queues]


def written(steps: list[Step]) -> Outputs:
    """Return the outputs of steps."""
    return [output for step in steps for output in step.outputs]


def core_of(role: str, profile: JsonObject, steps: list[Step], snapshot: int) -> Core:
    """Return the core of a role as its snapshot behind so many inputs has it; fresh without one."""
    is_risk = role == "risk_role"
    if not snapshot:
        return risk_from_config(profile) if is_risk else execution_from_config(profile)
    state = decode(steps[snapshot - 1].state)
    return risk_from_state(profile, state) if is_risk else execution_from_state(profile, state)


def come_back(folder: Folder, core: Core, steps: list[Step], snapshot: int, role: str) -> None:
    """Process the logged inputs behind the snapshot again; append the outputs that are missing."""
    folder.append([])  # Opening a journal cuts what is torn.
    sources = {
        queue: LineSource(JournalReader(folder.path / queue, "inbox")) for queue in folder.queues
    }
    for queue, _ in written(steps[:snapshot]):
        sources[queue].next()
    comparison = Comparison(
        codec().encode,
        sources,
        on_missing=lambda queue, event, _: folder.append([(queue, event)]),
    )
    for step in steps[snapshot:]:
        for queue, event in finished(
            core.process(step.event, step.seq, step.now) or [], step.event, role
        ):
            assert comparison.take(queue, event).is_equal
    assert list(comparison.rest()) == []


def kills(steps: list[Step]) -> Iterator[tuple[int, int]]:
    """Yield each number of inputs after which a role is killed, and how many outputs it wrote."""
    for count, step in enumerate(steps, 1):
        for whole in range(len(step.outputs) + 1):
            yield count, whole


@pytest.mark.row("B-21")
@pytest.mark.parametrize("situation", ["resting", "half filled", "replace on its way"])
@pytest.mark.parametrize("role", ROLES)
def test_role_killed_with_an_order_under_way_writes_the_same_bytes(
    recorded: Record, role: str, situation: str, tmp_path: Path
) -> None:
    """Killed anywhere in the situation, a role leaves the journals that it leaves unkilled."""
    steps = recorded.steps[role]
    whole = Folder(tmp_path / "whole", role)
    whole.append(written(steps))
    count_of_kills = 0
    for count, kept in kills(steps):
        if situation not in steps[count - 1].situation:
            continue
        count_of_kills += 1
        killed = Folder(tmp_path / f"{count}-{kept}", role)
        before, last = written(steps[: count - 1]), steps[count - 1].outputs
        killed.append(before + last[:kept])
        if kept < len(last):
            queue, event = last[kept]
            killed.tear(event, queue)
        snapshot = count - 1 if kept == 0 else count // 2

        core = core_of(role, recorded.profile, steps, snapshot)
        come_back(killed, core, steps[:count], snapshot, role)
        killed.append(
            [
                output
                for step in steps[count:]
                for output in finished(
                    core.process(step.event, step.seq, step.now) or [], step.event, role
                )
            ]
        )

        assert killed.bytes() == whole.bytes()
        assert encode(core.state()) == steps[-1].state
    assert count_of_kills >= 2
