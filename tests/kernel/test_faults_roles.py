"""Faults met by a real role of a finished night, started again on a copy of it.

Its expected outputs are known to the byte, so "nothing twice, nothing lost, nothing half" (I1, I2)
is a comparison of files.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from minibot.events.model import DeadLetter
from minibot.events.reasons import POISON_EVENT
from minibot.kernel import canonical
from minibot.kernel.cursor import Cursor
from minibot.kernel.head import HeadWriter
from minibot.kernel.journal import JournalReader
from minibot.kernel.line import encode_line
from minibot.kernel.position import Position
from minibot.kernel.queue import open_side_writer, open_writer
from tests.kernel.independent import assert_evidence
from tests.kernel.injection import Completed, Group, Space, image, shim, strace, tmpfs
from tests.kernel.kernel_support import change
from tests.kernel.role_again import Again, Json
from tests.runs import ShortRun

# Invariants checked after each fault, as far as they apply.
pytestmark = [pytest.mark.row("I1", "I2", "I4", "I5", "I10"), pytest.mark.campaign]
EXECUTION = "execution_role"
OUTPUTS = ("fills", "order_results")
STOPPED, CRASHED = 10, 11
FIRST = Position(0, 1, 0, bytes(32))


@pytest.fixture
def again(tmp_path: Path, short_run: ShortRun) -> Again:
    """Copy of a finished night."""
    return Again(tmp_path / "again", short_run)


def outputs(again: Again) -> dict[str, bytes]:
    """Return execution's outputs."""
    return {name: (again.queues / name / "inbox.jsonl").read_bytes() for name in OUTPUTS}


def acks_of(again: Again) -> Path:
    """Return the folder of execution's input log."""
    return again.queues / "order_intents"


def forget_outputs(again: Again, fills: int = 1, results: int = 2) -> None:
    """Keep only the first outputs, as after a crash between input log and outputs."""
    again.rewrite("fills", lambda events: events[:fills])
    again.rewrite("order_results", lambda events: events[:results])


def told_stop(said: Completed) -> str:
    """Return the STOP that was told last: a beat of the other thread may follow it."""
    beats = [canonical.decode(line.encode()) for line in said.out]
    return [str(beat["stopped"]) for beat in beats if "stopped" in beat][-1]


def assert_stopped(again: Again, said: Completed, code: str) -> None:
    """Assert I5: exit code, standard error, journal and flag agree."""
    assert (said.code, said.reason) == (STOPPED, code), said.err
    assert ("STOP", code) in again.stops(EXECUTION)
    assert (again.var / "STOP.flag").exists()
    assert told_stop(said) == code


# --- ids ----------------------------------------------------------------------------------------


@pytest.mark.row("F30")
@pytest.mark.fault(
    "F30",
    by="an order intent twice in its queue",
    ends="SURVIVE: the second is dropped and counted",
)
def test_intent_that_stands_twice_is_executed_once(again: Again) -> None:
    """A repeated intent is executed once and counted in health."""
    before = outputs(again)
    again.say("order_intents", [canonical.decode(again.lines("order_intents")[-1])])

    def is_counted() -> bool:
        health = (canonical.decode(json) for json in again.lines("health/parts", EXECUTION))
        return any(event["payload"].get("dup_dropped") == 1 for event in health)

    done = again.start(EXECUTION, until=is_counted)

    assert done.code == 0
    assert is_counted()
    assert outputs(again) == before


@pytest.mark.row("F31")
@pytest.mark.fault(
    "F31", by="an order intent's id over another quantity", ends="STOP(EVENT_ID_CONFLICT)"
)
def test_intent_with_the_id_of_another_stops(again: Again) -> None:
    """An intent with another one's id stops the run and is not executed (I4)."""
    before = outputs(again)
    event = canonical.decode(again.lines("order_intents")[-1])
    event["payload"]["qty"] = "9.00000"
    again.say("order_intents", [event])
    done = again.start(EXECUTION)

    assert_stopped(again, done, "EVENT_ID_CONFLICT")
    assert outputs(again) == before


@pytest.mark.row("F27")
@pytest.mark.fault(
    "F27", by="a queue exchanged for the one of another run", ends="STOP(RUN_ID_MISMATCH)"
)
def test_queue_of_another_run_stops_whoever_reads_it(again: Again) -> None:
    """A sound queue of another run stops every reader."""
    before = outputs(again)

    def other(events: list[Json]) -> list[Json]:
        return [event | {"run_id": "20200101_000000"} for event in events]

    again.rewrite("order_intents", other)
    done = again.start(EXECUTION)

    assert_stopped(again, done, "RUN_ID_MISMATCH")
    assert outputs(again) == before


# --- cursor and acks ----------------------------------------------------------------------------


@pytest.mark.row("F34")
@pytest.mark.fault("F34", by="the cursor of the run's beginning put back", ends="SURVIVE")
@pytest.mark.parametrize("role", [EXECUTION, "risk_role", "strategy_role"])
def test_cursor_put_back_applies_nothing_twice(again: Again, role: str) -> None:
    """A cursor put back applies no input twice, and repeats no output."""
    before = {path: path.read_bytes() for path in again.queues.glob("*/inbox.jsonl")}
    cursors = [
        path for path in again.queues.rglob("cursor.json") if f'"{role}"' in path.read_text()
    ]
    assert cursors
    for path in cursors:
        queue = path.relative_to(again.queues).parts[0]
        path.unlink()
        Cursor(path, again.run_dir.name, queue, role).save(FIRST)
    done = again.start(role)

    assert done.code == 0, done.err
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.row("F34")
@pytest.mark.fault(
    "F34", by="a crash before outputs: the input log stands, they do not", ends="SURVIVE"
)
@pytest.mark.parametrize(("fills", "results"), [(1, 2), (4, 8), (9, 20)])
def test_missing_outputs_are_finished_byte_for_byte(again: Again, fills: int, results: int) -> None:
    """Missing outputs are derived again from logged inputs, byte for byte."""
    before = outputs(again)
    forget_outputs(again, fills, results)
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    assert outputs(again) == before


@pytest.mark.row("F34")
@pytest.mark.fault("F34", by="a range of the input log written and not published", ends="SURVIVE")
@pytest.mark.parametrize(
    ("role", "queue"),
    [(EXECUTION, "order_intents"), ("risk_role", "signals"), ("strategy_role", "market_ticks")],
)
def test_range_that_was_written_and_not_published_is_no_gap_and_no_double(
    again: Again, role: str, queue: str
) -> None:
    """A range that was written but not published counts as logged at the next start."""
    before = {path: path.read_bytes() for path in again.queues.glob("*/inbox.jsonl")}
    folder = again.queues / queue
    count = len(again.lines(queue, "acks"))
    reader = JournalReader(folder, "acks")
    while (missing := count - 1 - reader.position.seq) > 0:
        reader.read(missing)
    head = HeadWriter(folder / "acks.head", is_lazy=True)
    head.open(reader.position)
    head.close()
    reader.close()
    (folder / "snapshot.json").unlink(missing_ok=True)  # A cursor of a later moment.
    done = again.start(role)

    assert done.code == 0, done.err
    assert {path: path.read_bytes() for path in before} == before
    ranges = [canonical.decode(json)["payload"] for json in again.lines(queue, "acks")]
    assert len(ranges) >= count
    taken = 0
    ends: dict[str, int] = {}
    for logged in ranges:
        assert logged["n"] == taken + 1
        taken += logged["to_seq"] - logged["from_seq"] + 1
        assert logged["from_seq"] == ends.get(logged["queue"], 0) + 1
        ends[logged["queue"]] = logged["to_seq"]


@pytest.mark.row("F35")
@pytest.mark.fault("F35", by="the cursor deleted", ends="rebuild from acks if their chain verifies")
def test_missing_cursor_is_rebuilt_from_acks(again: Again) -> None:
    """A missing cursor is rebuilt from the acks, and nothing is executed again."""
    before = outputs(again)
    path = acks_of(again) / "cursor.json"
    lost = canonical.decode(path.read_bytes()[:-1])
    path.unlink()
    again.say("order_intents", [canonical.decode(again.lines("order_intents")[-1])])
    done = again.start(EXECUTION)
    made = canonical.decode(path.read_bytes()[:-1])

    assert done.code == 0, done.err
    assert outputs(again) == before
    assert made["seq"] == lost["seq"] + 1


@pytest.mark.row("F35")
@pytest.mark.fault(
    "F35", by="the cursor deleted and a bit of the acks flipped", ends="STOP(CURSOR_CORRUPT)"
)
def test_missing_cursor_beside_damaged_acks_stops(again: Again) -> None:
    """A missing cursor beside damaged acks stops the role, as its position is unknown."""
    before = outputs(again)
    (acks_of(again) / "cursor.json").unlink()
    change(acks_of(again) / "acks.jsonl", 200)
    done = again.start(EXECUTION)

    assert_stopped(again, done, "CURSOR_CORRUPT")
    assert outputs(again) == before


@pytest.mark.row("F49", "F01")
@pytest.mark.fault("F49", by="a half line at the end of execution's acks", ends="SURVIVE")
def test_torn_acks_are_repaired_and_nothing_is_executed_again(again: Again) -> None:
    """A torn ack is cut and kept in quarantine; nothing is executed again."""
    before = outputs(again)
    path = acks_of(again) / "acks.jsonl"
    torn = path.read_bytes() + path.read_bytes()[:90]
    path.write_bytes(torn)
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    assert outputs(again) == before
    assert_evidence(acks_of(again), torn, "acks")


@pytest.mark.row("F33", "F49")
@pytest.mark.fault(
    "F33", "F49", by="acks of lines that the queue no longer has", ends="STOP(CURSOR_AHEAD)"
)
def test_ack_without_its_event_stops(again: Again) -> None:
    """An ack beyond the queue's end stops the role, as an older queue was put back."""
    before = outputs(again)
    again.rewrite("order_intents", lambda events: events[:-1])
    done = again.start(EXECUTION)

    assert_stopped(again, done, "CURSOR_AHEAD")
    assert outputs(again) == before


@pytest.mark.row("F01")
@pytest.mark.fault("F01", by="half a line at the end of a role's output", ends="SURVIVE")
def test_torn_output_of_a_role_is_repaired_on_record(again: Again) -> None:
    """A torn output is repaired with an incident, and the event is written whole."""
    before = outputs(again)
    path = again.queues / "fills" / "inbox.jsonl"
    last = before["fills"].splitlines(keepends=True)[-1]
    forget_outputs(again, 9, 20)
    path.write_bytes(path.read_bytes() + last[:100])
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    assert outputs(again) == before
    assert "QUEUE_TAIL_REPAIRED" in [found["kind"] for found in again.incidents(EXECUTION)]


def test_last_heartbeat_of_a_role_says_what_it_ends_with(again: Again) -> None:
    """A role's last heartbeat has its final state, from which the launcher writes open orders."""
    forget_outputs(again, 0, 0)
    for name in ("order_intents", "market_ticks/readers/execution_role"):
        for pattern in ("acks*", "cursor.json", "snapshot.json"):
            for path in (again.queues / name).glob(pattern):
                path.unlink()
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    last = canonical.decode(again.lines("order_intents", "acks")[-1])["payload"]
    assert canonical.decode(done.out[-1].encode())["facts"]["now"] >= last["taken_ts"]


@pytest.mark.row("F35")
def test_missing_cursor_and_acks_beside_outputs_stop(again: Again) -> None:
    """Missing cursor and acks beside existing outputs stop the role."""
    before = outputs(again)
    for path in [acks_of(again) / "cursor.json", *acks_of(again).glob("acks.*")]:
        path.unlink()
    done = again.start(EXECUTION)

    assert_stopped(again, done, "NONDETERMINISM")
    assert outputs(again) == before


@pytest.mark.row("F44")
@pytest.mark.fault(
    "F44", by="a role started while another process writes its queue", ends="STOP(QUEUE_LOCKED)"
)
@pytest.mark.parametrize("queue", OUTPUTS)
def test_second_process_of_a_role_stops_and_the_first_goes_on(again: Again, queue: str) -> None:
    """A second process of a role stops without a line, and the first goes on."""
    first = open_writer(again.queues, queue)
    before = outputs(again)
    done = again.start(EXECUTION)

    assert (done.code, done.reason) == (STOPPED, "QUEUE_LOCKED")
    assert outputs(again) == before
    first.append([encode_line(again.lines(queue)[-1])])
    first.close()


@pytest.mark.real_injection("cc")
@pytest.mark.row("F34", "F01", "F62")
@pytest.mark.fault(
    "F34", "F62", by="shim: SIGKILL within a write of a role, at six of them", ends="SURVIVE"
)
@pytest.mark.parametrize("write", [0, 7, 14, 22, 29, 37])
def test_role_killed_within_a_write_is_finished_by_its_successor(again: Again, write: int) -> None:
    """A role killed within any write is finished by its successor, with nothing repeated."""
    before = outputs(again)
    forget_outputs(again)
    environ = [f"{name}={value}" for name, value in shim().items()]
    done = again.start(EXECUTION, wrap=["env", *environ, f"SHIM_HOW=half:{write}"])
    assert done.code in (-9, 0)  # 0: the role ended before that write.
    for name, data in outputs(again).items():
        assert before[name].startswith(data[: data.rfind(b"\n") + 1])

    assert again.start(EXECUTION).code == 0
    assert outputs(again) == before


@pytest.mark.real_injection("cc")
@pytest.mark.row("F04", "F05")
@pytest.mark.fault("F04", by="shim: one write of a role gives ENOSPC", ends="STOP(IO_ENOSPC)")
@pytest.mark.fault("F05", by="shim: one write of a role gives EIO", ends="STOP(IO_EIO)")
@pytest.mark.parametrize(
    ("write", "number", "code"),
    [
        (2, errno.EIO, "IO_EIO"),
        (7, errno.ENOSPC, "IO_ENOSPC"),
        (13, errno.EIO, "IO_EIO"),
        (18, errno.ENOSPC, "IO_ENOSPC"),
        (20, errno.ENOSPC, "IO_ENOSPC"),
        (23, errno.EIO, "IO_EIO"),
        (34, errno.EIO, "IO_EIO"),
    ],
)
def test_role_whose_write_fails_once_stops_on_record_and_is_finished_later(
    again: Again, write: int, number: int, code: str
) -> None:
    """A role whose write fails once stops with a record; only a log line may be lost (F60)."""
    before = outputs(again)
    forget_outputs(again)
    environ = [f"{name}={value}" for name, value in shim().items()]
    wrap = ["env", *environ, f"SHIM_HOW=error:{write}:{number}"]
    done = again.start(EXECUTION, wrap=wrap)
    for name, data in outputs(again).items():
        assert before[name].startswith(data[: data.rfind(b"\n") + 1])

    if done.code == 0:
        assert '"lost": 1' in (again.var / "logs" / f"{EXECUTION}.jsonl").read_text()
    elif any(f"/{name}/" in done.err for name in ("stop", "stop_journal", "health", "incidents")):
        # It failed before it could journal; then the launcher journals for it.
        assert (done.code, done.reason) == (STOPPED, code), done.err
        assert told_stop(done) == code
    else:
        assert_stopped(again, done, code)
        again.forget_stop(EXECUTION)
    assert again.start(EXECUTION).code == 0
    assert outputs(again) == before


# --- dead letters -------------------------------------------------------------------------------


def poison(again: Again) -> None:
    """Append an intent against its contract."""
    event = canonical.decode(again.lines("order_intents")[-1])
    event["id"] = event["id"][:-4] + "0000"
    event["payload"] = {"nothing": "here"}
    again.say("order_intents", [event])


@pytest.mark.real_injection("strace")
@pytest.mark.row("F50")
@pytest.mark.fault(
    "F50", by="strace: pwrite64 to deadletter.jsonl gives ENOSPC", ends="STOP(IO_ENOSPC)"
)
@pytest.mark.fault("F50", by="strace: pwrite64 to deadletter.jsonl gives EIO", ends="STOP(IO_EIO)")
@pytest.mark.parametrize(("error", "code"), [("ENOSPC", "IO_ENOSPC"), ("EIO", "IO_EIO")])
def test_dead_letter_that_cannot_be_written_stops(again: Again, error: str, code: str) -> None:
    """A dead letter that cannot be written stops the role, and its event stays unprocessed."""
    before = outputs(again)
    poison(again)
    intents = again.lines("order_intents")
    path = again.queues / "order_intents" / "deadletter.jsonl"
    wrap = [*strace("pwrite64", f"error={error}"), "-P", str(path)]
    done = again.start(EXECUTION, wrap=wrap)
    cursor = canonical.decode((acks_of(again) / "cursor.json").read_bytes()[:-1])

    assert_stopped(again, done, code)
    assert outputs(again) == before
    assert again.lines("order_intents") == intents
    assert cursor["seq"] < len(intents)


@pytest.mark.row("F91", "F92")
def test_event_against_its_contract_is_a_dead_letter_and_a_stop(again: Again) -> None:
    """An event against its contract gives a dead letter with its line, and a STOP."""
    poison(again)
    done = again.start(EXECUTION)
    letters = [canonical.decode(json) for json in again.lines("order_intents", "deadletter")]

    assert_stopped(again, done, "SCHEMA_INVALID")
    assert [letter["payload"]["reason_code"] for letter in letters] == ["SCHEMA_INVALID"]


def leave_out_lines(again: Again, count: int) -> None:
    """Append ticks against their contract that execution took, logged and set aside."""
    tick = canonical.decode(again.lines("market_ticks")[-1])
    first = len(again.lines("market_ticks")) + 1
    bad = [
        {**tick, "id": f"{tick['id'][:-8]}{n:08x}", "payload": {"nothing": "x" * 500}}
        for n in range(count)
    ]
    again.say("market_ticks", bad)
    ranges = [canonical.decode(json) for json in again.lines("order_intents", "acks")]
    last = ranges[-1]
    taken = last["payload"]["n"] + last["payload"]["to_seq"] - last["payload"]["from_seq"]
    untaken = {"from_seq": first, "to_seq": first + count - 1, "n": taken + 1}
    ack = {**last, "id": f"{last['id'][:-4]}0000", "payload": {**last["payload"], **untaken}}
    ack["payload"]["queue"] = "market_ticks"
    readers = again.queues / "market_ticks" / "readers" / EXECUTION
    letters = []
    for seq, event in enumerate(bad, first):
        line = canonical.encode(event)
        payload = {
            "queue": "market_ticks",
            "seq": seq,
            "offset": 0,
            "reason_code": POISON_EVENT,
            "detail": "it crashed the core",
            "line": line.decode(),
            "line_sha256": sha256(line).hexdigest(),
        }
        kind = {"type": DeadLetter.TYPE, "schema": f"minibot.{DeadLetter.TYPE}"}
        letters.append({**last, **kind, "id": event["id"], "payload": payload})
    for folder, stem, events in (
        (readers, "deadletter", letters),
        (acks_of(again), "acks", [ack]),
    ):
        writer = open_side_writer(folder, stem, sync=True)
        writer.append([encode_line(canonical.encode(event)) for event in events])
        writer.close()


@pytest.mark.row("F66")
def test_restart_leaves_out_every_line_that_a_dead_letter_names(again: Again) -> None:
    """More dead letters than a reader reads at once: none of their lines is processed again."""
    before = outputs(again)
    leave_out_lines(again, 300)
    (acks_of(again) / "snapshot.json").unlink(missing_ok=True)
    done = again.start(EXECUTION)

    assert done.code == 0, done.err
    assert outputs(again) == before


@pytest.mark.row("F66")
def test_input_log_behind_a_left_out_line_is_numbered_on(again: Again) -> None:
    """Inputs taken after a restart behind a left-out line can be read by every later restart."""
    before = outputs(again)
    whole = canonical.decode(again.lines("market_ticks")[-1])
    leave_out_lines(again, 1)
    again.say("market_ticks", [{**whole, "id": f"{whole['id'][:-8]}ffffffff"}])
    (acks_of(again) / "snapshot.json").unlink(missing_ok=True)
    first, second = again.start(EXECUTION), again.start(EXECUTION)

    assert (first.code, second.code) == (0, 0), first.err + second.err
    ranges = [canonical.decode(json)["payload"] for json in again.lines("order_intents", "acks")]
    taken = tick_seq = 0
    for ack in ranges:
        assert ack["n"] == taken + 1
        taken += ack["to_seq"] - ack["from_seq"] + 1
        if ack["queue"] == "market_ticks":
            tick_seq = ack["to_seq"]
    assert tick_seq == len(again.lines("market_ticks"))
    assert outputs(again) == before


# --- memory -------------------------------------------------------------------------------------

# The fourth step finds no memory, because the address space really ends there.
GREEDY = """
import resource
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1 as Core
process, left = Core.process, [{left}]
def greedy(self, item, seq, now):
    said = process(self, item, seq, now)
    if item.type == "order_intent":
        left[0] -= 1
        if left[0] == 0:
            size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, -1))
            bytearray(2**30)
    return said
Core.process = greedy
"""


@pytest.mark.real_injection("linux")
@pytest.mark.row("F57", "F58")
@pytest.mark.fault(
    "F58",
    by="RLIMIT_AS: the core's step finds no memory",
    ends="role exits, never continues with half state",
)
@pytest.mark.fault(
    "F57", by="RLIMIT_AS: exit as crashed, then started again", ends="role restarted"
)
@pytest.mark.parametrize("left", [1, 4])
def test_role_without_memory_exits_and_its_successor_finishes_the_step(
    again: Again, left: int
) -> None:
    """A role without memory crashes without STOP or half step; its successor finishes."""
    before = outputs(again)
    forget_outputs(again)
    done = again.start(EXECUTION, code=GREEDY.format(left=left))

    assert done.code == CRASHED
    assert "MemoryError" in done.err
    assert again.stops(EXECUTION) == []
    for name, data in outputs(again).items():
        assert before[name].startswith(data)
    assert again.start(EXECUTION).code == 0
    assert outputs(again) == before


HUNGRY = """
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1 as Core
process, eaten = Core.process, []
def hungry(self, item, seq, now):
    said = process(self, item, seq, now)
    while item.type == "order_intent" and seq == 4:
        eaten.append(bytearray(b"x") * 2**20)
    return said
Core.process = hungry
"""


@pytest.fixture
def small_memory() -> Iterator[Group]:
    """Control group of 96 MiB, twice a role's need."""
    group = Group("memory", 96 * 2**20)
    yield group
    group.close()


@pytest.mark.real_injection("memory")
@pytest.mark.row("F57")
@pytest.mark.fault("F57", by="a memory group of 96 MiB: the kernel kills", ends="role restarted")
def test_role_killed_for_its_memory_is_finished_by_its_successor(
    again: Again, small_memory: Group
) -> None:
    """A role killed for its memory leaves a prefix of outputs; its successor writes the rest."""
    before = outputs(again)
    forget_outputs(again)
    done = again.start(EXECUTION, wrap=small_memory.wrap, code=HUNGRY)

    assert done.code in (-9, 137)
    for name, data in outputs(again).items():
        assert before[name].startswith(data)
    assert again.start(EXECUTION).code == 0
    assert outputs(again) == before


NO_DESCRIPTORS = """
    import resource
    count = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (count - 1, count - 1))
"""


# --- disks --------------------------------------------------------------------------------------

# The disk is spoiled after the role has opened everything and before it writes.
SPOIL = """
import os, pathlib, subprocess
from minibot.runtime.shell import Shell
restore, var = Shell.restore, pathlib.Path(sys.argv[-1]).parents[1]
def spoiled(self):
    {spoil}
    restore(self)
Shell.restore = spoiled
"""
FILL = """
    fd = os.open(var / "fill", os.O_CREAT | os.O_WRONLY)
    for size in (1 << 20, 4096, 1):
        try:
            while os.write(fd, bytes(size)):
                pass
        except OSError:
            pass
"""
FILL_INODES = """
    number = 0
    try:
        while True:
            os.close(os.open(var / f"fill{number}", os.O_CREAT | os.O_WRONLY))
            number += 1
    except OSError:
        pass
"""
ABORT = """
    subprocess.run(["mount", "-o", "remount,abort", str(var.parent)], check=True)
"""
MakeAgain = Callable[[str], Again]


@pytest.fixture
def again_on(
    tmp_path: Path, short_run: ShortRun
) -> Iterator[Callable[[str], tuple[Again, Sequence[str]]]]:
    """Factory of copies of the night on separate file systems, with a command prefix."""
    spaces: list[Space] = []

    def make(script: str) -> tuple[Again, Sequence[str]]:
        space = Space(tmp_path / "disk", script)
        spaces.append(space)
        again = Again(space.seen / "var", short_run, space.folder / "var")
        return again, space.wrap

    yield make
    for space in spaces:
        space.close()


@pytest.mark.real_injection("ext4", "tmpfs")
@pytest.mark.row("F52", "F53")
@pytest.mark.fault(
    "F52",
    by="ext4 and tmpfs filled to the last byte under a role",
    ends="the STOP still lands: flag by link, line from a reserve",
)
@pytest.mark.fault(
    "F53", by="ext4 and tmpfs without a free inode under a role", ends="STOP(IO_ENOSPC)"
)
@pytest.mark.parametrize(
    "disk",
    [image("ext4", 48, make="-N 400"), tmpfs("size=24m,nr_inodes=300")],
    ids=["ext4", "tmpfs"],
)
@pytest.mark.parametrize("spoil", [FILL, FILL_INODES], ids=["bytes", "inodes"])
def test_stop_of_a_role_lands_on_a_disk_that_is_full(again_on: Any, spoil: str, disk: str) -> None:
    """A full disk still takes flag and journal of a STOP; outputs are a prefix."""
    again, wrap = again_on(disk)
    before = outputs(again)
    forget_outputs(again)
    answer = again.start(EXECUTION, wrap=wrap, code=SPOIL.format(spoil=spoil.strip("\n").lstrip()))

    assert_stopped(again, answer, "IO_ENOSPC")
    for name, data in outputs(again).items():
        whole = data[: data.rfind(b"\n") + 1]
        assert before[name].startswith(whole)


@pytest.mark.real_injection("ext4")
@pytest.mark.row("F54")
@pytest.mark.fault(
    "F54",
    by="ext4 that turns read-only under a role",
    ends="STOP(IO_READONLY) by exit code, stderr and watchdog signal",
)
def test_stop_of_a_role_is_said_where_nothing_can_be_written(again_on: Any) -> None:
    """A STOP that cannot be written is in exit code, standard error and last heartbeat."""
    again, wrap = again_on(image("ext4", 48))
    forget_outputs(again)
    before = outputs(again)
    answer = again.start(EXECUTION, wrap=wrap, code=SPOIL.format(spoil=ABORT.strip()))

    assert answer.code in (STOPPED, CRASHED)
    assert answer.reason == "IO_READONLY"
    assert told_stop(answer) == "IO_READONLY"
    assert outputs(again) == before


@pytest.mark.real_injection("tmpfs")
@pytest.mark.row("F60")
@pytest.mark.fault("F60", by="a tmpfs of 4 KiB for the logs of a role", ends="SURVIVE")
def test_logs_that_cannot_be_written_cost_no_event(again_on: Any) -> None:
    """A full disk of the logs loses log lines and no events."""
    again, wrap = again_on(tmpfs("size=32m"))
    before = outputs(again)
    forget_outputs(again)
    script = f'mount -t tmpfs -o size=4k,mode=0700 tmpfs {again.inside}/logs; exec "$@"'
    answer = again.start(EXECUTION, wrap=[*wrap, "sh", "-ec", script, "sh"])

    assert answer.code == 0, answer.err
    assert outputs(again) == before


@pytest.mark.real_injection("linux")
@pytest.mark.row("F56")
@pytest.mark.fault("F56", by="RLIMIT_NOFILE lowered under a role", ends="STOP(FD_EXHAUSTED)")
def test_stop_of_a_role_without_descriptors_lands(again: Again) -> None:
    """A role without descriptors can STOP, because its files were opened at the start."""
    forget_outputs(again)
    before = outputs(again)
    done = again.start(EXECUTION, code=SPOIL.format(spoil=NO_DESCRIPTORS.strip()))

    assert_stopped(again, done, "FD_EXHAUSTED")
    assert outputs(again) == before
