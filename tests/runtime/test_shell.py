"""Shell of a role: its drain, a state too large for a snapshot, a STOP cut off, bad lines."""

from __future__ import annotations

import io
import os
import sys
from functools import partial
from itertools import count
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from types import SimpleNamespace
from typing import Any, Final

import pytest

from minibot.cores.input_order import Taken
from minibot.cores.messages import Message
from minibot.cores.protocol import Core, Input
from minibot.events.model import Beat, Event, JsonObject, MarketTick, RunOpening
from minibot.events.names import CONTROL, EXECUTION_ROLE, RISK_ROLE, STRATEGY_ROLE, TICKS
from minibot.events.unit_sizes import NS_PER_S
from minibot.execution.core import core_from_config, core_from_state
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.queue import open_writer
from minibot.kernel.verify import verify_tree
from minibot.runtime import channels
from minibot.runtime.channels import Control, Heartbeat, SilentHeartbeat
from minibot.runtime.clock import suspend_ns
from minibot.runtime.context import CLEAN, CRASHED, STOPPED, Output, RoleContext
from minibot.runtime.restart import SNAPSHOT_FILE
from minibot.runtime.shell import HOUSEKEEPING_NS, Shell
from minibot.runtime.stop import is_flagged
from minibot.watchdog.run_manifest import child_environ
from tests.instruments import instrument
from tests.waiting import DEADLINE_S
from tests.watchdog.watchdog_stage import RUN_ID, START_TS, Stage

BEATS: Final = 5
OPENING: Final[list[Any]] = [(RunOpening({"USDT": "10000"}, (), {}), START_TS)]


def publish(stage: Stage, queue: str, payloads: list[Any]) -> None:
    """Publish root events, given as payload and time, as the queue's writer."""
    (role,) = stage.roles.writers(queue)
    hash_ = stage.manifest.processes[role].cmdline_hash
    writer = open_writer(stage.var.queues, queue)
    Output(queue, role, RUN_ID, hash_, stage.codec, writer).append_roots(payloads)
    writer.close()


def beats(number: int) -> list[Any]:
    """Return beats, all of the first moment."""
    return [(Beat(n + 1, {}), START_TS) for n in range(number)]


class Drained:
    """Executor that is told to drain while inputs wait.

    Args:
        root: The run's `var`.
        lease_age_ms: Age of the launcher's lease at the start; `housekeeping` brings a new one.
        is_late: Whether inputs and drain come during housekeeping instead of before the start.
    """

    def __init__(self, root: Path, *, lease_age_ms: int, is_late: bool) -> None:
        self.stage = Stage(root)
        self.control = Control()
        self._is_late = is_late
        heartbeat = SilentHeartbeat(EXECUTION_ROLE)
        context = RoleContext(EXECUTION_ROLE, self.stage.run_dir, self.control, heartbeat)
        self._lease(lease_age_ms)
        self.shell = Shell(context, core_from_config, core_from_state, self._housekeeping)
        self.shell.restore()
        if not is_late:
            self._end_upstream()

    def _lease(self, age_ms: int) -> None:
        self.control.take(f"lease {suspend_ns() - age_ms * 1_000_000} 1")

    def _housekeeping(self, core: Core, is_last: bool) -> None:
        if not is_last:
            if self._is_late and not self.control.draining:
                self._end_upstream()
            self._lease(0)

    def _end_upstream(self) -> None:
        """Publish the last inputs; then tell the executor to drain."""
        publish(self.stage, CONTROL, OPENING)
        publish(self.stage, TICKS, beats(BEATS))
        self.control.take("drain")

    def taken(self) -> dict[str, int]:
        """Return, by queue, the last line in the executor's input log."""
        payloads = [ack["payload"] for ack in self.stage.acks("order_intents")]
        return {payload["queue"]: payload["to_seq"] for payload in payloads}


@pytest.mark.parametrize(
    ("lease_age_ms", "is_late"),
    [(0, False), (4_000, False), (0, True)],
    ids=["waiting", "after a pause", "published during housekeeping"],
)
def test_draining_role_leaves_once_it_has_taken_every_published_input(
    tmp_path: Path, lease_age_ms: int, is_late: bool
) -> None:
    """A drained executor has every input in its log, even behind a pause or slow syncs."""
    drained = Drained(tmp_path / "var", lease_age_ms=lease_age_ms, is_late=is_late)

    assert drained.shell.run() == CLEAN
    assert drained.taken() == {CONTROL: 1, TICKS: BEATS}


@pytest.mark.row("F77", "F81")
@pytest.mark.parametrize("awake_s", [0, 30], ids=["machine", "processes"])
def test_executor_that_paused_before_an_append_waits_for_the_next_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awake_s: int
) -> None:
    """A pause between an input and its outputs does not end the run, whatever slept."""
    moments = {"awake_ns": 10 * NS_PER_S, "suspend_ns": 10 * NS_PER_S}
    for name in moments:
        monkeypatch.setattr(channels, name, partial(moments.__getitem__, name))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=io.BytesIO()))
    stage = Stage(tmp_path / "var")
    control, heartbeat = Control(), Heartbeat(EXECUTION_ROLE)
    context = RoleContext(EXECUTION_ROLE, stage.run_dir, control, heartbeat)
    shell = Shell(context, core_from_config, core_from_state, lambda *_: None)
    shell.restore()

    def lease(_: float = 0) -> None:
        control.take(f"lease {moments['suspend_ns']} 1")

    monkeypatch.setattr("minibot.runtime.gate.time", SimpleNamespace(sleep=lease))
    lease()
    moments["suspend_ns"] += 30 * NS_PER_S
    moments["awake_ns"] += awake_s * NS_PER_S

    assert not shell.gate.may_take()
    assert shell.gate.check_append() is None
    assert not is_flagged(stage.var.flag)
    heartbeat.end()


@pytest.mark.row("N-67")
def test_stop_that_the_executor_met_stands_once_in_its_input_log(tmp_path: Path) -> None:
    """An executor that was killed after it had logged a STOP ends by it again, and adds nothing."""
    stage = Stage(tmp_path / "var")
    publish(stage, CONTROL, OPENING)
    stage.leave_stop(RISK_ROLE, "RISK_LIMIT")
    for _ in range(3):
        heartbeat = SilentHeartbeat(EXECUTION_ROLE)
        context = RoleContext(EXECUTION_ROLE, stage.run_dir, Control(), heartbeat)
        shell = Shell(context, core_from_config, core_from_state, lambda *_: None)
        shell.restore()
        assert shell.run() == STOPPED

    (logged,) = [ack["payload"] for ack in stage.acks("order_intents")]
    assert (logged["queue"], logged["to_seq"]) == (f"stop_journal/parts/{RISK_ROLE}", 1)


class Heavy(Core):
    """Core that takes anything, with a state of a given size."""

    def __init__(self, size: int) -> None:
        self._size = size

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Return nothing."""
        return None

    def state(self) -> JsonObject:
        """Return a text of that size."""
        return {"weight": "x" * self._size}

    def facts(self) -> JsonObject:
        """Return nothing."""
        return {}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "is_kept"), [(20 << 20, True), (65 << 20, False)])
def test_large_state_costs_a_role_no_more_than_a_longer_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, is_kept: bool
) -> None:
    """A state is saved twice, or one above the bound never; the role starts again."""
    monkeypatch.setattr("minibot.runtime.shell.machine_ns", count(0, 2 * HOUSEKEEPING_NS).__next__)
    stage = Stage(tmp_path / "var", ["watchdog.snapshot_inputs=100", "queues.batch_max=100"])
    publish(stage, CONTROL, OPENING)
    restored: list[int] = []

    def from_state(_: JsonObject, state: JsonObject) -> Core:
        restored.append(len(state["weight"]))
        return Heavy(size)

    for _ in range(2):
        publish(stage, TICKS, beats(200))
        control, heartbeat = Control(), SilentHeartbeat(STRATEGY_ROLE)
        context = RoleContext(STRATEGY_ROLE, stage.run_dir, control, heartbeat)
        shell = Shell(context, lambda _: Heavy(size), from_state, lambda *_: None)
        shell.restore()
        control.take("drain")
        assert shell.run() == CLEAN

    assert restored == [size] * is_kept
    assert stage.acks(TICKS)[-1]["payload"]["to_seq"] == 400
    assert list(verify_tree(stage.var.queues)) == []


@pytest.mark.parametrize("part", ["known", "inputs", "outputs"])
def test_snapshot_of_another_form_costs_a_role_no_more_than_a_longer_restart(
    tmp_path: Path, part: str
) -> None:
    """A snapshot with a list in place of an object goes, and the role starts without it."""
    stage = Stage(tmp_path / "var")
    publish(stage, CONTROL, OPENING)
    publish(stage, TICKS, beats(BEATS))
    at = {"seq": 0, "segment": 1, "offset": 0, "chain": ""}
    sound = {"known": {}, "inputs": {}, "outputs": {}, "now": 0, "taken": 0, "tick_seq": 0}
    path = stage.var.queues / TICKS / SNAPSHOT_FILE
    write_hashed(path, {**sound, "order": at, "run_id": RUN_ID, "core": {}, part: [1]})
    control, heartbeat = Control(), SilentHeartbeat(STRATEGY_ROLE)
    context = RoleContext(STRATEGY_ROLE, stage.run_dir, control, heartbeat)
    shell = Shell(context, lambda _: Heavy(1), lambda *_: Heavy(1), lambda *_: None)
    shell.restore()
    control.take("drain")

    assert shell.run() == CLEAN
    assert not path.exists()
    assert stage.acks(TICKS)[-1]["payload"]["to_seq"] == BEATS


@pytest.mark.row("F35")
def test_cursor_that_a_crash_left_behind_is_restored_without_a_new_input(tmp_path: Path) -> None:
    """A restarted role saves how far its logged inputs go, even if no more come."""
    stage = Stage(tmp_path / "var")
    publish(stage, CONTROL, OPENING)
    publish(stage, TICKS, beats(BEATS))
    path = stage.var.queues / TICKS / "cursor.json"
    before, saved = path.read_bytes(), []
    for _ in range(2):
        control, heartbeat = Control(), SilentHeartbeat(STRATEGY_ROLE)
        context = RoleContext(STRATEGY_ROLE, stage.run_dir, control, heartbeat)
        shell = Shell(context, lambda _: Heavy(1), lambda *_: Heavy(1), lambda *_: None)
        shell.restore()
        control.take("drain")
        assert shell.run() == CLEAN
        saved.append(read_hashed(path))
        path.write_bytes(before)

    assert saved[0] == saved[1]
    assert saved[0]["seq"] == BEATS


def test_facts_of_outputs_that_stay_unwritten_are_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that a stop keeps from writing its outputs reports nothing that follows from them."""
    stage = Stage(tmp_path / "var")
    publish(stage, CONTROL, OPENING)
    control, heartbeat = Control(), SilentHeartbeat(STRATEGY_ROLE)
    context = RoleContext(STRATEGY_ROLE, stage.run_dir, control, heartbeat)
    core = Heavy(1)
    shell = Shell(context, lambda _: core, lambda *_: core, lambda *_: None)
    shell.restore()

    def process(taken: Taken, now: int) -> list[tuple[str, Event]]:
        control.take("stop")
        monkeypatch.setattr(core, "facts", lambda: {"open_orders": 1})
        return [("signals", taken.event)]

    monkeypatch.setattr(shell.processor, "process", process)

    assert shell.run() == STOPPED
    assert stage.lines("signals") == []
    assert heartbeat.facts == {}
    assert "open_orders" not in stage.envelopes("health", STRATEGY_ROLE)[-1]["payload"]


KILLED: Final = """
import os
from minibot.runtime.context import RoleContext
from minibot.runtime.shell import Shell
def killed(*given):
    os._exit(9)
{step} = killed
"""


def touch(price: str) -> MarketTick:
    """Return a quote of which both sides are at a price."""
    return MarketTick(
        symbol="BTCUSDT",
        price=price,
        kind="quote",
        bid=price,
        bid_qty="1",
        ask=price,
        ask_qty="1",
        recv_mono_ns=1,
    )


def ended(stage: Stage, before: str = "") -> int:
    """Start `risk_role`, tell it to drain, and return its exit code.

    Args:
        stage: The run.
        before: Python that runs in the process first.
    """
    code = f"{before}\nimport sys\nfrom minibot.runtime.role import main\nsys.exit(main())"
    argv = [sys.executable, "-c", code, RISK_ROLE, "--run", str(stage.run_dir)]
    environ = child_environ(os.environ)
    with Popen(argv, env=environ, stdin=PIPE, stdout=DEVNULL, bufsize=0) as process:
        try:
            assert process.stdin is not None
            process.stdin.write(b"drain\n")
            return process.wait(DEADLINE_S)
        finally:
            process.kill()


@pytest.mark.process
@pytest.mark.row("F62", "N-67")
@pytest.mark.parametrize(
    ("step", "recorded", "is_raised"),
    [
        ("Shell._append", 0, False),
        ("RoleContext._raise_flag", 1, False),
        ("RoleContext.stop_event", 1, True),
    ],
    ids=["before the action", "before the flag", "before the event"],
)
def test_stop_by_risk_that_was_killed_on_its_way_is_completed_by_the_restart(
    tmp_path: Path, step: str, recorded: int, is_raised: bool
) -> None:
    """A hard limit stops the run although its STOP was cut off between input log and event."""
    stage = Stage(tmp_path / "var")
    lot = {"symbol": "BTCUSDT", "qty": "10", "price": "100", "ts": 1}
    publish(stage, CONTROL, [(RunOpening({"USDT": "9000"}, (lot,), {}), START_TS)])
    market = [instrument(), touch("100"), touch("50"), Beat(1, {"BTCUSDT": 0})]
    publish(stage, TICKS, [(payload, START_TS) for payload in market])

    assert ended(stage, KILLED.format(step=step)) == 9
    assert len(stage.lines("risk_actions")) == recorded
    assert is_flagged(stage.var.flag) == is_raised
    assert stage.lines("stop_journal", RISK_ROLE) == []

    assert ended(stage) == STOPPED
    assert is_flagged(stage.var.flag)
    (stop,) = [item["payload"] for item in stage.envelopes("stop_journal", RISK_ROLE)]
    assert (stop["kind"], stop["reason_code"]) == ("STOP", "RISK_LIMIT")
    assert stop["open_positions"] == [
        {"symbol": "BTCUSDT", "qty": "10.00000000", "entry_price_avg": "100.00000000"}
    ]
    (action,) = [item["payload"]["action"] for item in stage.envelopes("risk_actions")]
    assert action == "STOP"


CHOKING: Final = """
from minibot.cores.processor import Processor
process = Processor.process
def choke(self, taken, now):
    if taken.queue == "market_ticks" and taken.seq in (2, 3):
        raise ValueError("it cannot be digested")
    return process(self, taken, now)
Processor.process = choke
"""


@pytest.mark.process
@pytest.mark.row("F66")
def test_two_neighbouring_lines_that_crash_a_role_are_left_out_one_after_the_other(
    tmp_path: Path,
) -> None:
    """A line that was left out stays out when the next one crashes the role."""
    stage = Stage(tmp_path / "var")
    publish(stage, CONTROL, OPENING)
    market = [instrument(), touch("100"), touch("101"), Beat(1, {"BTCUSDT": 0})]
    publish(stage, TICKS, [(payload, START_TS) for payload in market])

    codes = [ended(stage, CHOKING) for _ in range(5)]

    assert codes == [CRASHED, CRASHED, CRASHED, CRASHED, CLEAN]
    incidents = [item["payload"]["detail"] for item in stage.envelopes("incidents", RISK_ROLE)]
    assert [text.partition(" ")[0] for text in incidents] == [f"{TICKS}:2", f"{TICKS}:3"]
