"""Journals kept by the launcher: merged parts, the stop journal, recovered runs."""

from __future__ import annotations

import errno
import shutil
import threading
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.events.ids import position_id
from minibot.events.model import JsonObject, RunOpening
from minibot.kernel import canonical
from minibot.kernel import recovery as kernel_recovery
from minibot.kernel.errors import ContractError, IntegrityError, LockBusy, Refusal, RunStop
from minibot.kernel.files import FILES, Access, read_hashed, write_hashed
from minibot.kernel.journal import JournalWriter
from minibot.kernel.line import JSON_AT
from minibot.kernel.position import Line
from minibot.kernel.queue import open_side_writer, open_writer
from minibot.kernel.seal import SIGNATURE_FILE, release, seal_run
from minibot.kernel.signature import new_keys
from minibot.kernel.verify import verify_tree
from minibot.runtime.clock import RunClock
from minibot.runtime.context import RoleContext
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE, queues_lost
from minibot.runtime.running import note_current
from minibot.runtime.stop import END_KIND, StopRecord, arm, raise_flag
from minibot.watchdog import background as background_module
from minibot.watchdog import launcher as launcher_module
from minibot.watchdog import operator_stop_log, recovery
from minibot.watchdog.background import Background
from minibot.watchdog.feed import LiveFeed
from minibot.watchdog.launcher import _Launch, _Parts
from minibot.watchdog.merge import Merger
from minibot.watchdog.metrics import MetricsKeeper
from minibot.watchdog.operator_stop_log import (
    append_stop,
    clear_flag,
    copy_stops,
    flagged_stop,
    note_refused,
    read_stops,
)
from minibot.watchdog.recovery import FormerRun, clear_former_run
from minibot.watchdog.supervision_loop import SupervisionLoop
from tests.waiting import wait_until
from tests.watchdog.watchdog_stage import RUN_ID, START_TS, WATCHDOG, Stage

SEGMENT_BYTES = 1 << 20


def merger(stage: Stage) -> Merger:
    """Return a merger as the launcher opens it."""
    return Merger(
        root=stage.var.queues,
        roles=stage.roles,
        codec=stage.codec,
        clock=RunClock(stage.run_dir, START_TS, "1"),
        run_id=RUN_ID,
        cmdline_hash=stage.manifest.processes[WATCHDOG].cmdline_hash,
        line_bytes_max=262_144,
        segment_bytes=SEGMENT_BYTES,
    )


def append_raw(path: Path, data: bytes) -> None:
    """Add bytes at the end of a file, as a dying writer does."""
    descriptor = FILES.open(path, Access.WRITE)
    FILES.pwrite(descriptor, data, path.stat().st_size)
    FILES.close(descriptor)


# --- merge --------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["market_role", "risk_role", "strategy_role", "merge", "die"]),
            st.integers(1, 5),
        ),
        max_size=12,
    )
)
def test_merge_keeps_every_line_of_every_part_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """Any order of writing, merging and crashes keeps each line once, in order."""
    stage = Stage(tmp_path_factory.mktemp("merge") / "var")
    merging = merger(stage)
    for what, count in steps:
        if what == "merge":
            merging.merge()
        elif what == "die":
            merging.close()
            merging = merger(stage)
        else:
            stage.leave_incidents(what, count)
    merging.close()

    inbox = stage.envelopes("incidents")
    for role in ("market_role", "risk_role", "strategy_role"):
        part = stage.envelopes("incidents", role)
        assert [one for one in inbox if one["source"] == role] == part
    assert len(inbox) == sum(count for what, count in steps if what.endswith("_role"))
    assert list(verify_tree(stage.var.queues / "incidents")) == []


def test_merge_completes_what_was_logged_and_not_copied(tmp_path: Path) -> None:
    """A merge completes ranges that were logged but not copied."""
    stage = Stage(tmp_path / "var")
    merging = merger(stage)
    stage.leave_incidents("risk_role", 3)
    merging._inboxes["incidents"].append = _die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        merging.merge()
    assert stage.envelopes("incidents") == []
    merging._order.sync()
    for inbox in merging._inboxes.values():
        inbox.close()
    merging._order.end()

    merger(stage).close()

    assert stage.envelopes("incidents") == stage.envelopes("incidents", "risk_role")
    acks = [
        (ack["payload"]["from_seq"], ack["payload"]["to_seq"])
        for ack in stage.acks("health")
        if ack["payload"]["queue"] == "incidents/parts/risk_role"
    ]
    assert acks[0][0] == 1
    assert acks[-1][1] == 3
    assert all(before[1] + 1 == after[0] for before, after in pairwise(acks))


def test_acks_of_a_merge_that_was_killed_name_every_range_again(tmp_path: Path) -> None:
    """They repeat the input log as soon as lines are merged, and after a kill between the two."""
    stage = Stage(tmp_path / "var")
    merging = merger(stage)
    stage.leave_incidents("risk_role", 3)
    merging.merge()
    live = stage.acks("incidents")
    stage.leave_incidents("market_role", 2)
    stage.leave_incidents("risk_role", 1)
    merging._order.copy = _die  # type: ignore[assignment,method-assign]
    with pytest.raises(Killed):
        merging.merge()
    for inbox in merging._inboxes.values():
        inbox.close()
    with pytest.raises(Killed):
        merging._order.end()
    killed = stage.acks("incidents")

    merger(stage).close()
    logged = [ack for ack in stage.acks("health") if "incidents/" in ack["payload"]["queue"]]

    assert live == killed == logged[: len(live)]
    assert len(live) < len(logged)
    assert stage.acks("incidents") == logged


@pytest.mark.row("F91", "F92")
def test_merge_sets_an_event_against_its_contract_aside_and_copies_it_once(tmp_path: Path) -> None:
    """An event against its contract is set aside, stops the run, and is merged once."""
    stage = Stage(tmp_path / "var")
    stage.leave_incidents("risk_role", 2)
    stage.leave_broken_incident("risk_role")
    stage.leave_incidents("strategy_role", 3)
    merging = merger(stage)
    with pytest.raises(ContractError, match="SCHEMA_INVALID"):
        merging.merge()
    stage.leave_incidents("risk_role", 2)
    merging.close()
    merger(stage).close()

    (letter,) = stage.dead_letters("incidents")
    assert (letter["queue"], letter["seq"]) == ("incidents/parts/risk_role", 3)
    assert letter["reason_code"] == "SCHEMA_INVALID"
    assert len(stage.lines("incidents")) == 8
    assert list(verify_tree(stage.var.queues)) == []


def test_merge_refuses_an_inbox_that_is_not_the_merge_of_its_parts(tmp_path: Path) -> None:
    """A part that lost a merged line is reported, not merged again."""
    stage = Stage(tmp_path / "var")
    stage.leave_incidents("risk_role", 3)
    merger(stage).close()
    for path in (stage.var.queues / "incidents" / "parts").glob("risk_role.*"):
        path.unlink()

    with pytest.raises(IntegrityError, match="incidents:1 is the next line of none of its parts"):
        merger(stage)


def test_merge_that_was_broken_off_is_taken_up_at_the_end_of_the_run(tmp_path: Path) -> None:
    """A merge interrupted by a full disk is completed before the seal."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    opening = RunOpening({"USDT": "10000"}, (), {})
    context.open_output("control").append_roots([(opening, START_TS)])
    background = Background(context)
    stage.leave_incidents("risk_role", 3)
    background._merger._inboxes["incidents"].append = _no_space  # type: ignore[method-assign]
    background.start()
    wait_until(lambda: background.failure is not None, "the merge to fail")
    background.stop()
    stage.leave_incidents("risk_role", 2)
    background.finish()
    context.close_outputs()

    assert background.failure is not None
    assert background.failure.reason_code == "IO_ENOSPC"
    assert stage.envelopes("incidents") == stage.envelopes("incidents", "risk_role")
    assert len(stage.envelopes("incidents")) == 5
    assert list(verify_tree(stage.var.queues)) == []


def test_error_of_the_merge_is_kept_and_told_by_no_terminal_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen terminal would keep the thread, and supervision from learning of the error."""
    context, lines = Stage(tmp_path / "var").context(), list[str]()
    context.print_line = lines.append
    context.open_output("control").append_roots([(RunOpening({"USDT": "1"}, (), {}), START_TS)])
    background = Background(context)
    monkeypatch.setattr(background._merger, "merge", lambda _: [][1])

    background.start()
    failure = wait_until(lambda: background.failure, "the merge to fail")
    background.stop()

    assert failure.reason_code == "INVARIANT_BROKEN"
    assert "Traceback" in lines[0]
    background.abandon()
    context.close_outputs()


def test_merge_whose_thread_does_not_end_is_never_taken_up_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that merge would copy lines twice: the end of the run is a STOP, and no line is lost."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    context.open_output("control").append_roots([(RunOpening({"USDT": "1"}, (), {}), START_TS)])
    stage.leave_incidents("risk_role", 3)
    background = Background(context)
    monkeypatch.setattr(background_module, "END_S", 0.01)
    is_reached, goes_on = threading.Event(), threading.Event()
    copy = background._merger._copy

    def copy_late(queue: str, lines: list[Line]) -> None:
        is_reached.set()
        goes_on.wait()
        copy(queue, lines)

    monkeypatch.setattr(background._merger, "_copy", copy_late)
    background.start()
    is_reached.wait()
    background.stop()

    for step in (background.finish, background.abandon):
        with pytest.raises(RunStop, match="merge: expected its thread to end") as raised:
            step()
        assert raised.value.reason_code == "ROLE_HUNG"
    assert stage.envelopes("incidents") == []

    goes_on.set()
    background._thread.join()
    background.finish()
    context.close_outputs()
    assert stage.envelopes("incidents") == stage.envelopes("incidents", "risk_role")
    assert len(stage.envelopes("incidents")) == 3
    assert list(verify_tree(stage.var.queues)) == []


def _no_space(lines: object) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


class Killed(Exception):
    """Signal that the launcher dies here."""


def _die(*_: object, **__: object) -> int:
    raise Killed


# --- the operators' stop journal ----------------------------------------------------------------


@pytest.mark.row("N-88")
def test_stops_of_all_parts_reach_the_operators_journal_once(tmp_path: Path) -> None:
    """STOPs of all parts reach the operators' journal once, also after a crash."""
    stage = Stage(tmp_path / "var")
    stops = [stage.leave_stop(role, "WATCHDOG_LOST") for role in ("risk_role", "execution_role")]

    copy_stops(stage.var, stage.codec)
    copy_stops(stage.var, stage.codec)

    found = read_stops(stage.var.root)
    assert {envelope["id"] for envelope in found} == {stop.id for stop in stops}
    assert len(found) == 2
    assert list(verify_tree(stage.var.stop_journal)) == []


@pytest.mark.row("N-88", "F160")
def test_stop_whose_copy_was_killed_before_its_publication_is_on_record_once(
    tmp_path: Path,
) -> None:
    """Its line stands above the head; the next copy publishes it, and must not write it again."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    head = stage.var.root / "stop_journal.head"
    before = head.read_bytes()
    stop = stage.leave_stop("execution_role", "WATCHDOG_LOST")
    copy_stops(stage.var, stage.codec)
    head.write_bytes(before)

    copy_stops(stage.var, stage.codec)

    found = [envelope["id"] for envelope in read_stops(stage.var.root)]
    assert (len(found), found[-1]) == (2, stop.id)


@pytest.mark.row("N-89")
def test_flag_is_cleared_on_record_with_who_why_and_which_run(tmp_path: Path) -> None:
    """Clearing a flag is journaled with user, reason and run."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    stage.var.flag.write_bytes(b"flag")

    assert clear_flag(stage.var, "anna", "limits reviewed") == RUN_ID

    last = read_stops(stage.var.root)[-1]["payload"]
    assert (last["kind"], last["who"], last["why"]) == ("CLEAR", "anna", "limits reviewed")
    assert last["stopped_run"] == RUN_ID
    assert not stage.var.flag.exists()


def test_flag_of_a_run_without_a_stop_on_record_is_not_taken_for_a_former_ones(
    tmp_path: Path,
) -> None:
    """A flag of a run without recorded STOP is not attributed to an older run's."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    later = "20251121_000000"
    arm(stage.var.stop, later, "execution_role")
    raise_flag(stage.var.stop, stage.var.flag, "execution_role")

    assert flagged_stop(stage.var) is None
    assert clear_flag(stage.var, "anna", "power is back") == later
    assert read_stops(stage.var.root)[-1]["payload"]["stopped_run"] == later


def test_flag_of_a_run_whose_launcher_died_is_explained_by_what_its_roles_recorded(
    tmp_path: Path,
) -> None:
    """A killed launcher copied nothing, and no start does it while the flag stands."""
    stage = Stage(tmp_path / "var")
    arm(stage.var.stop, RUN_ID, "execution_role")
    raise_flag(stage.var.stop, stage.var.flag, "execution_role")
    assert flagged_stop(stage.var) is None
    stage.leave_stop("execution_role", "WATCHDOG_LOST")
    damaged = stage.var.queues / "stop_journal" / "parts" / "ai_role.jsonl"
    append_raw(damaged, b"sha256:half a li")

    stop = flagged_stop(stage.var)

    assert stop is not None
    assert (stop["run_id"], stop["payload"]["reason_code"]) == (RUN_ID, "WATCHDOG_LOST")
    assert read_stops(stage.var.root) == []


def test_flag_of_a_sealed_run_is_explained_after_its_journal_was_set_aside(
    tmp_path: Path,
) -> None:
    """A start that is refused for the flag sets a damaged journal aside; the run's own stands."""
    stage = Stage(tmp_path / "var")
    arm(stage.var.stop, RUN_ID, "risk_role")
    raise_flag(stage.var.stop, stage.var.flag, "risk_role")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    seal_run(stage.var.queues, stage.run_dir)
    release(stage.var.queues, stage.run_dir)
    stage.var.stop_journal.write_bytes(stage.var.stop_journal.read_bytes()[1:])
    note_refused(stage.var, "STOP.flag exists")

    stop = flagged_stop(stage.var)

    assert stop is not None
    assert (stop["run_id"], stop["payload"]["reason_code"]) == (RUN_ID, "RISK_LIMIT")


@pytest.mark.row("F71")
@pytest.mark.parametrize("content", ["", "risk_role\n"])
def test_flag_that_names_no_run_is_not_explained_by_a_stop_that_was_cleared(
    tmp_path: Path, content: str
) -> None:
    """A flag made by hand, or without its prepared file, has nothing to do with a cleared STOP."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    stage.var.flag.write_text(content)
    clear_flag(stage.var, "anna", "limits reviewed")
    stage.var.flag.write_text(content)

    assert flagged_stop(stage.var) is None
    assert clear_flag(stage.var, "anna", "no start was wanted") is None


def test_flag_that_names_its_run_is_explained_although_its_removal_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of a clear comes first; a flag that stays after it still tells its cause."""
    stage = Stage(tmp_path / "var")
    arm(stage.var.stop, RUN_ID, "risk_role")
    raise_flag(stage.var.stop, stage.var.flag, "risk_role")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(operator_stop_log, "remove_flag", refuse)
    with pytest.raises(OSError, match="not permitted"):
        clear_flag(stage.var, "anna", "limits reviewed")

    stop = flagged_stop(stage.var)
    assert stop is not None
    assert stop["payload"]["reason_code"] == "RISK_LIMIT"


def test_flag_whose_record_cannot_be_written_stays(tmp_path: Path) -> None:
    """A flag whose record cannot be written stays."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    stage.var.flag.write_bytes(b"flag")
    with (
        closing(open_side_writer(stage.var.root, "stop_journal")),
        pytest.raises(RunStop, match="QUEUE_LOCKED"),
    ):
        clear_flag(stage.var, "anna", "limits reviewed")

    assert stage.var.flag.exists()


@pytest.mark.parametrize("damage", ["one bit", "lines gone", "head of a stranger"])
def test_flag_is_cleared_on_record_although_the_operators_journal_is_damaged(
    tmp_path: Path, damage: str
) -> None:
    """A damaged journal does not grow: it is set aside whole, and a new one begins."""
    stage, lines = Stage(tmp_path / "var"), list[str]()
    arm(stage.var.stop, RUN_ID, "risk_role")
    raise_flag(stage.var.stop, stage.var.flag, "risk_role")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    damaged = damage_operators_journal(stage.var, damage)

    assert clear_flag(stage.var, "anna", "limits reviewed", lines.append) == RUN_ID

    assert not stage.var.flag.exists()
    (cleared,) = read_stops(stage.var.root)
    assert cleared["payload"]["kind"] == "CLEAR"
    assert cleared["payload"]["stopped_run"] == RUN_ID
    assert list(verify_tree(stage.var.stop_journal)) == []
    (aside,) = stage.var.root.glob("stop_journal_damaged_*")
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == damaged
    assert len(lines) == 1


def test_damage_in_the_operators_journal_costs_a_run_its_share_of_stops_alone(
    tmp_path: Path,
) -> None:
    """Figures are no part of a decision: the run goes on, and its end is put on record."""
    stage, lines = Stage(tmp_path / "var"), list[str]()
    note_refused(stage.var, "disk: 3 MB free")
    damage_operators_journal(stage.var, "one bit")
    context = stage.context()
    context.open_output("control").append_roots([(RunOpening({"USDT": "1"}, (), {}), START_TS)])
    keeper = MetricsKeeper(context)
    keeper._written_ns = -(10**18)  # Long ago.

    keeper.step()
    context.close_outputs()

    assert read_hashed(stage.var.metrics / METRICS_FILE)["stop"] is None
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec, lines.append)
    (stop,) = read_stops(stage.var.root)
    assert stop["payload"]["reason_code"] == "RISK_LIMIT"
    assert len(lines) == 1


def test_stops_of_runs_that_were_removed_count_as_little_as_the_runs(tmp_path: Path) -> None:
    """The share of stops is one of the runs that stand; the journal has those of all time."""
    stage = Stage(tmp_path / "var")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    copy_stops(stage.var, stage.codec)
    (stop,) = read_stops(stage.var.root)
    removed = {**stop, "run_id": "20251101_000000", "id": position_id("", WATCHDOG, "", 1)}
    append_stop(stage.var, canonical.encode(removed))
    context = stage.context()
    context.open_output("control").append_roots([(RunOpening({"USDT": "1"}, (), {}), START_TS)])
    MetricsKeeper(context).finish()
    context.close_outputs()

    share = read_hashed(stage.var.metrics / METRICS_FILE)["stop"]
    assert (share["runs"], share["stopped"]) == (1, 1)
    assert share["share"] == "1.0000000000"
    assert share["reasons"] == {"RISK_LIMIT": 1}
    assert share["stopped_ms"] == share["planned_ms"]


def damage_operators_journal(var: Var, damage: str) -> dict[str, bytes]:
    """Damage the operators' journal; return its files by name."""
    if damage == "one bit":
        data = bytearray(var.stop_journal.read_bytes())
        data[90] ^= 1
        var.stop_journal.write_bytes(data)
    elif damage == "lines gone":
        var.stop_journal.write_bytes(b"")
    else:
        var.stop_journal.with_suffix(".head").write_bytes(b"x" * 128)
    files = (var.stop_journal, var.stop_journal.with_suffix(".head"))
    return {path.name: path.read_bytes() for path in files}


def sealed_json(path: Path) -> list[JsonObject]:
    """Return the events of a sealed file."""
    return [canonical.decode(line[JSON_AT:]) for line in path.read_bytes().splitlines()]


# --- recovery of the former run
# -----------------------------------------------------------------------------


@pytest.mark.row("N-06", "N-88")
def test_interrupted_run_is_recovered_merged_and_sealed_by_the_next_start(tmp_path: Path) -> None:
    """An interrupted run is recovered, merged and sealed by the next start."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_stop("execution_role", "WATCHDOG_LOST")
    stage.leave_incidents("market_role", 4)
    torn = stage.var.queues / "market_ticks" / "inbox.jsonl"
    append_raw(torn, b"sha256:half a li")

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert (recovered.run_id, recovered.findings) == (RUN_ID, ())
    seal = read_hashed(stage.run_dir / "seal.json")
    assert seal["extra"]["state"] == "interrupted"
    assert seal["extra"]["repaired"] == [
        "market_ticks: 16 bytes above the head set aside in quarantine"
    ]
    assert list(verify_tree(stage.run_dir)) == []
    assert [stop["payload"]["reason_code"] for stop in read_stops(stage.var.root)] == [
        "WATCHDOG_LOST"
    ]
    assert not torn.exists()
    assert clear_former_run(stage.var, stage.contracts, stage.roles) is None


def left_run(tmp_path: Path) -> Stage:
    """Return the stage of a run that was noted and left two incidents, which are merged."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_incidents("risk_role", 2)
    merging = merger(stage)
    merging.merge()
    merging.close()
    return stage


@pytest.mark.parametrize("has_manifest", [True, False])
@pytest.mark.parametrize("queue", ["fills", "control", "health", "stop_journal"])
def test_queue_that_is_gone_is_told_by_the_start_that_makes_it_again(
    queue: str, tmp_path: Path, *, has_manifest: bool
) -> None:
    """An empty queue in its place would pass for a run in which nothing was bought."""
    stage = left_run(tmp_path)
    shutil.rmtree(stage.var.queues / queue)
    if not has_manifest:
        (stage.run_dir / "manifest.json").unlink()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    for stem in ("inbox", "acks"):
        gone = f"QUEUE_MISSING: {stage.var.queues / queue / stem}: its files are gone"
        assert gone in recovered.findings
        assert gone in read_hashed(stage.run_dir / "seal.json")["extra"]["findings"]


@pytest.mark.parametrize("queue", ["signals", "incidents"])
@pytest.mark.parametrize("ruin", ["deleted", "empty", "slots"])
def test_head_that_is_gone_over_lines_is_told_by_the_start_that_makes_it_again(
    queue: str, ruin: str, tmp_path: Path
) -> None:
    """Lines cut off together with their head leave no other trace."""
    stage = left_run(tmp_path)
    with closing(open_writer(stage.var.queues, "signals")) as writer:
        writer.append_json([b"{}"])
    head = stage.var.queues / queue / "inbox.head"
    if ruin == "deleted":
        head.unlink()
    else:
        head.write_bytes(b"" if ruin == "empty" else bytes(128))

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    told = f"QUEUE_MISSING: {head}: no good head; lines behind its last one may be gone"
    assert recovered.findings == (told,)
    assert queues_lost(stage.run_dir) == [told.partition(": ")[2]]


@pytest.mark.row("F160")
@pytest.mark.parametrize("is_noted", [True, False])
def test_loss_is_told_by_the_start_after_one_that_was_killed_behind_the_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_noted: bool
) -> None:
    """The first start makes queue and head again; the second would take both for whole."""
    stage = left_run(tmp_path)
    if not is_noted:
        (stage.var.root / "current.json").unlink()
    shutil.rmtree(stage.var.queues / "fills")
    (stage.var.queues / "incidents" / "parts" / "risk_role.head").write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(recovery, "seal_run", _die)
        with pytest.raises(Killed):
            clear_former_run(stage.var, stage.contracts, stage.roles)
    assert (stage.var.queues / "fills" / "inbox.head").exists()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    for lost in ("fills/inbox: ", "fills/acks: ", "incidents/parts/risk_role.head: "):
        told = f"QUEUE_MISSING: {stage.var.queues}/{lost}"
        assert [each for each in recovered.findings if each.startswith(told)]


@pytest.mark.parametrize("named", [True, False])
def test_queue_that_a_newer_minibot_has_is_not_called_lost(tmp_path: Path, *, named: bool) -> None:
    """Between a crash and its recovery minibot may be updated; the run never had that queue."""
    stage = left_run(tmp_path)
    shutil.rmtree(stage.var.queues / "fills")
    queues = tuple(each for each in stage.roles.queues if named or each != "fills")
    replace(stage.manifest, queues=queues).write(stage.run_dir)

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert bool(recovered.findings) == named


def test_run_that_died_before_its_clock_and_first_line_has_lost_no_queue(tmp_path: Path) -> None:
    """The launcher makes one queue after the other; it may die among them."""
    stage = Stage(tmp_path / "var", has_clock=False)
    note_current(stage.var, RUN_ID)
    shutil.rmtree(stage.var.queues / "fills")

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings == ()


def test_run_whose_folder_was_deleted_is_not_called_interrupted(tmp_path: Path) -> None:
    """A start says what a run has lost, and how to see it; a whole one was interrupted."""
    stage = left_run(tmp_path)
    shutil.rmtree(stage.run_dir)

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert "interrupted" not in recovered.note
    assert "the run's folder was gone" in recovered.note
    assert recovered.note.endswith(f"See: minibot verify {RUN_ID}")
    assert "was interrupted" in FormerRun(RUN_ID, "", ()).note


@pytest.mark.parametrize("is_sealed", [True, False])
def test_former_run_is_told_by_its_lines_where_its_note_is_gone(
    tmp_path: Path, is_sealed: bool
) -> None:
    """Without `current.json` a run's queues are recovered and released; its record stays whole."""
    stage = left_run(tmp_path)
    if is_sealed:
        seal_run(stage.var.queues, stage.run_dir)
    (stage.var.root / "current.json").unlink()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert (recovered is None) == is_sealed
    assert list(verify_tree(stage.run_dir)) == []
    assert not list(stage.var.queues.rglob("*.jsonl"))


@pytest.mark.row("F160")
def test_release_that_was_killed_is_ended_by_the_next_start_where_the_note_was_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines named the run, and those go first; the parts that are left name none."""
    stage = left_run(tmp_path)
    (stage.var.root / "current.json").unlink()

    def die_behind_the_inboxes(queues: Path, _: Path) -> None:
        for path in queues.rglob("inbox.*"):
            path.unlink()
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(recovery, "release", die_behind_the_inboxes)
        with pytest.raises(Killed):
            clear_former_run(stage.var, stage.contracts, stage.roles)

    assert clear_former_run(stage.var, stage.contracts, stage.roles) is None
    assert not list(stage.var.queues.rglob("*.jsonl"))
    assert list(verify_tree(stage.run_dir)) == []


def test_sealed_run_that_has_lost_a_file_gets_it_back_by_the_remedy(tmp_path: Path) -> None:
    """The start says where the last copy is, and goes on once the run has it again."""
    stage = left_run(tmp_path)
    seal_run(stage.var.queues, stage.run_dir)
    fills = stage.run_dir / "queues" / "fills"
    shutil.rmtree(fills)

    with pytest.raises(Refusal) as refused:
        clear_former_run(stage.var, stage.contracts, stage.roles)

    remedy = f"Copy what is gone or damaged in {fills.parent} from {stage.var.queues}"
    assert remedy in refused.value.remedy
    shutil.copytree(stage.var.queues / "fills", fills, ignore=shutil.ignore_patterns("*.lock"))
    assert clear_former_run(stage.var, stage.contracts, stage.roles) is None
    assert list(verify_tree(stage.run_dir)) == []


def test_lines_of_no_known_run_refuse_the_start(tmp_path: Path) -> None:
    """Lines that cannot be read and that no note names are neither released nor written behind."""
    stage = Stage(tmp_path / "var")
    lines = stage.var.queues / "control" / "inbox.jsonl"
    append_raw(lines, b"sha256:half a li")

    with pytest.raises(Refusal, match="no note names their run"):
        clear_former_run(stage.var, stage.contracts, stage.roles)

    assert lines.read_bytes() == b"sha256:half a li"


def test_damaged_note_of_the_former_run_refuses_the_start_until_it_is_moved_away(
    tmp_path: Path,
) -> None:
    """The refusal's remedy is enough: the run is then known by its lines, recovered and sealed."""
    stage = left_run(tmp_path)
    note = stage.var.root / "current.json"
    note.write_bytes(b"")

    with pytest.raises(Refusal) as refused:
        clear_former_run(stage.var, stage.contracts, stage.roles)
    note.rename(tmp_path / "kept.json")
    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert str(note) in refused.value.message
    assert f"Move {note} to another place" in refused.value.remedy
    assert recovered is not None


@pytest.mark.parametrize("harmed", ["seal.json", "queues/control/inbox.jsonl"])
def test_queues_that_are_not_as_sealed_refuse_the_start_until_they_are_moved_away(
    tmp_path: Path, harmed: str
) -> None:
    """A changed file is not removed; once the queues are elsewhere the next run may begin."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    seal_run(stage.var.queues, stage.run_dir)
    with (stage.run_dir / harmed).open("ab") as file:
        file.write(b"x")

    with pytest.raises(Refusal) as refused:
        clear_former_run(stage.var, stage.contracts, stage.roles)
    for name in ("queues", "current.json"):
        path = stage.var.root / name
        assert str(path) in refused.value.remedy
        path.rename(tmp_path / name)

    assert clear_former_run(stage.var, stage.contracts, stage.roles) is None
    assert (tmp_path / "queues" / "control" / "inbox.jsonl").exists()


@pytest.mark.row("N-06", "N-88")
@pytest.mark.parametrize("is_gone", [True, False])
def test_stops_of_a_run_without_its_manifest_reach_the_operators_journal(
    tmp_path: Path, is_gone: bool
) -> None:
    """An interrupted run whose manifest is gone or damaged still leaves its stops, once."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_stop("execution_role", "WATCHDOG_LOST")
    stage.leave_stop("risk_role", "RISK_LIMIT")
    manifest = stage.run_dir / "manifest.json"
    manifest.unlink() if is_gone else manifest.write_bytes(b"{}")

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert [finding.partition(":")[0] for finding in recovered.findings] == ["RUN_FILE_CHANGED"]
    stops = {stop["source"]: stop["payload"]["reason_code"] for stop in read_stops(stage.var.root)}
    assert stops == {"execution_role": "WATCHDOG_LOST", "risk_role": "RISK_LIMIT"}
    assert len(read_stops(stage.var.root)) == 2


@pytest.mark.row("N-06", "N-88")
def test_stop_that_breaks_its_contract_is_a_finding_where_the_manifest_is_gone_too(
    tmp_path: Path,
) -> None:
    """Without a manifest a stop of another run is not copied but found; the run is sealed."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    other = Stage(tmp_path / "other")
    event = other.leave_stop("risk_role", "RISK_LIMIT")
    foreign = canonical.encode({**event.to_json(), "run_id": "20200101_000000"})
    part = stage.part("stop_journal", "risk_role")
    part.writer.append_json([foreign])
    part.writer.close()
    (stage.run_dir / "manifest.json").unlink()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    codes = [finding.partition(":")[0] for finding in recovered.findings]
    assert sorted(codes) == ["RUN_FILE_CHANGED", "RUN_ID_MISMATCH"]
    assert read_stops(stage.var.root) == []


@pytest.mark.parametrize("lost", ["parts/risk_role", "acks", "both"])
def test_lines_that_a_power_loss_took_from_a_part_come_back_from_the_inbox(
    tmp_path: Path, lost: str
) -> None:
    """Lines lost from a part in a power loss come back from the inbox."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    merging = merger(stage)
    stage.leave_incidents("risk_role", 2)
    merging.merge()
    names = {"parts/risk_role": "incidents", "acks": "health"}
    kept = {
        path: path.read_bytes()
        for name, queue in names.items()
        if lost in (name, "both")
        for path in (stage.var.queues / queue).glob(f"{name}.[jh]*")
    }
    stage.leave_incidents("market_role", 2)
    stage.leave_incidents("risk_role", 3)
    merging.close()
    before = stage.envelopes("incidents")
    for path, data in kept.items():
        path.write_bytes(data)

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings == ()
    assert list(verify_tree(stage.run_dir)) == []
    sealed = stage.run_dir / "queues"
    assert sealed_json(sealed / "incidents" / "inbox.jsonl") == before
    assert len(before) == 7
    acks = [ack["payload"] for ack in sealed_json(sealed / "health" / "acks.jsonl")]
    for role, count in (("risk_role", 5), ("market_role", 2)):
        part = f"incidents/parts/{role}"
        seqs = [
            seq
            for ack in acks
            if ack["queue"] == part
            for seq in range(ack["from_seq"], ack["to_seq"] + 1)
        ]
        assert seqs == list(range(1, count + 1))


def test_damage_below_the_head_is_sealed_as_found_and_named(tmp_path: Path) -> None:
    """Damage below the head is named and sealed unrepaired."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_incidents("market_role", 4)
    part = stage.var.queues / "incidents" / "parts" / "market_role.jsonl"
    data = bytearray(part.read_bytes())
    data[100] ^= 1
    part.write_bytes(bytes(data))

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert any(finding.startswith("QUEUE_CORRUPT") for finding in recovered.findings)
    sealed = stage.run_dir / "queues" / "incidents" / "parts" / "market_role.jsonl"
    assert sealed.read_bytes() == bytes(data)
    assert any(finding.code == "QUEUE_CORRUPT" for finding in verify_tree(stage.run_dir))


@pytest.mark.parametrize("stem", ["inbox", "acks"])
def test_damage_in_what_the_launcher_writes_keeps_no_run_from_being_sealed(
    tmp_path: Path, stem: str
) -> None:
    """Damage in the launcher's own files prevents no seal, and keeps no STOP off the record."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    stage.leave_stop("risk_role", "RISK_LIMIT")
    merger(stage).close()
    damaged = stage.var.queues / ("stop_journal" if stem == "inbox" else "health") / f"{stem}.jsonl"
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(bytes(data))

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert any(finding.startswith("QUEUE_CORRUPT") for finding in recovered.findings)
    assert any(finding.code == "QUEUE_CORRUPT" for finding in verify_tree(stage.run_dir))
    stops = [stop["payload"]["reason_code"] for stop in read_stops(stage.var.root)]
    assert stops == ["RISK_LIMIT"]


def test_damage_in_the_part_of_one_role_keeps_no_stop_of_another_off_the_record(
    tmp_path: Path,
) -> None:
    """Each part of `stop_journal` is copied to the operators' journal as far as it can be read."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    roles = stage.roles.writers("stop_journal")
    for role in roles:
        stage.leave_stop(role, "RISK_LIMIT")
    damaged = stage.var.queues / "stop_journal" / "parts" / f"{roles[0]}.jsonl"
    data = bytearray(damaged.read_bytes())
    data[100] ^= 1
    damaged.write_bytes(bytes(data))

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert {stop["source"] for stop in read_stops(stage.var.root)} == set(roles[1:])
    assert any(finding.startswith("QUEUE_CORRUPT") for finding in recovered.findings)


@pytest.mark.parametrize("queue", ["fills", "incidents"])
def test_former_run_is_sealed_by_nobody_while_one_of_its_roles_still_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    """A role that ends between recovery and seal would leave a batch above the head for ever."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    writer = _hold_until_seal(stage, recovery, monkeypatch, queue)

    with pytest.raises(LockBusy):
        clear_former_run(stage.var, stage.contracts, stage.roles)

    assert not (stage.run_dir / "seal.json").exists()
    writer.close()
    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)
    assert recovered is not None
    assert recovered.findings == ()
    assert list(verify_tree(stage.run_dir)) == []


def test_stopped_run_is_left_to_the_next_start_while_one_of_its_roles_still_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role that hangs in the disk outlives its kill: its launcher says so and seals nothing."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    context.close_outputs()
    (stage.run_dir / "seal.json").write_text("of a stranger")
    writer = _hold_until_seal(stage, launcher_module, monkeypatch, "fills")
    background = cast(Background, SimpleNamespace(is_counted=True))

    unsealed = sealed(stage, context, background, StopRecord(WATCHDOG, "ROLE_HUNG", ""))
    writer.close()

    assert "writer.lock" in unsealed
    assert not (stage.run_dir / "seal.json").exists()


@pytest.mark.parametrize("by", ["its launcher", "the next start"])
def test_run_whose_torn_line_found_no_space_is_sealed_once_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """A full disk is no damage of the record: sealed as such, no night could carry on from it."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    append_raw(stage.var.queues / "fills" / "inbox.jsonl", b"sha256:half a li")

    def refuse(path: Path, data: bytes, **words: Any) -> None:
        raise RunStop("kernel.files", "IO_ENOSPC", f"write to {path}: No space left on device")

    with monkeypatch.context() as full:
        full.setattr(kernel_recovery, "write_atomic", refuse)
        if by == "its launcher":
            context = stage.context()
            context.close_outputs()
            background = cast(Background, SimpleNamespace(is_counted=True))
            record = StopRecord(WATCHDOG, "IO_ENOSPC", "")
            assert "No space left" in sealed(stage, context, background, record)
        else:
            with pytest.raises(RunStop, match="No space left"):
                clear_former_run(stage.var, stage.contracts, stage.roles)
    assert not (stage.run_dir / "seal.json").exists()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings == ()
    assert list(verify_tree(stage.run_dir)) == []


def _hold_until_seal(
    stage: Stage, module: ModuleType, monkeypatch: pytest.MonkeyPatch, queue: str
) -> JournalWriter:
    """Leave half a line above the head of a queue whose writer ends as the seal begins."""
    writer = open_writer(stage.var.queues, queue)
    append_raw(stage.var.queues / queue / "inbox.jsonl", b"sha256:half a li")

    def seal_behind(*arguments: Any, **named: Any) -> str:
        writer.close()
        return seal_run(*arguments, **named)

    monkeypatch.setattr(module, "seal_run", seal_behind)
    return writer


@pytest.mark.parametrize("lost", ["acks.head", "acks.jsonl", "inbox.head", "inbox.jsonl"])
def test_start_that_was_cut_off_while_making_queues_is_sealed_clean(
    tmp_path: Path, lost: str
) -> None:
    """A start cut off while making queues is sealed as clean."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    (stage.var.queues / "market_ticks" / lost).unlink()

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings == ()
    assert list(verify_tree(stage.run_dir)) == []


def test_start_that_was_cut_off_before_its_manifest_leaves_nothing_behind(tmp_path: Path) -> None:
    """A start cut off before its manifest leaves nothing."""
    stage = Stage(tmp_path / "var")
    for name in ("manifest.json", "clock.json"):
        (stage.run_dir / name).unlink()
    note_current(stage.var, RUN_ID)

    assert clear_former_run(stage.var, stage.contracts, stage.roles) is None
    assert not (stage.var.root / "current.json").exists()


COMPLETED = StopRecord(WATCHDOG, "COMPLETED", "", END_KIND)


def sealed(
    stage: Stage, context: RoleContext, background: Background, record: StopRecord = COMPLETED
) -> str:
    """Seal the stage's run as a launcher does; return why it is not sealed."""
    unused: Any = None
    loop = cast(SupervisionLoop, SimpleNamespace(lag_market_ms_max=0))
    parts = _Parts(context, unused, background, loop, None, None, stage.run_files)
    launch = object.__new__(_Launch)
    launch.sync_us, launch.begun_ns, launch.feed, launch.roles = 1, 0, LiveFeed(()), stage.roles
    return launch._seal(stage.var, record, parts)


def test_status_before_the_last_merge_shows_the_guard_that_the_end_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge of many lines takes longer than a guard waits; its launcher was heard just before."""
    stage = Stage(tmp_path / "var")
    context, notes = stage.context(), list[str]()
    unused: Any = None
    background = cast(Background, SimpleNamespace(finish=lambda: notes.append("merged")))
    loop = cast(SupervisionLoop, SimpleNamespace(status=dict))
    launch = object.__new__(_Launch)
    launch.var = stage.var
    launch.feed = LiveFeed(())
    monkeypatch.setattr(launch.feed, "show", lambda _: notes.append("status"))
    completed = StopRecord(WATCHDOG, "COMPLETED", "by duration", END_KIND)

    record = launch._write_end(
        completed, _Parts(context, unused, background, loop, None, None, stage.run_files)
    )

    assert record is completed
    assert notes == ["status", "merged"]


def test_stop_of_an_end_that_finds_a_damaged_queue_reaches_the_operators_journal(
    tmp_path: Path,
) -> None:
    """The last merge comes after the copy of the END: its STOP is copied as well, and not lost."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    unused: Any = None

    def find_damage() -> None:
        raise IntegrityError("kernel.journal", "QUEUE_CHAIN", "line 7")

    background = cast(Background, SimpleNamespace(finish=find_damage))
    loop = cast(SupervisionLoop, SimpleNamespace(status=dict))
    launch = object.__new__(_Launch)
    launch.var, launch.feed = stage.var, LiveFeed(())
    completed = replace(COMPLETED, detail="by duration")

    record = launch._write_end(
        completed, _Parts(context, unused, background, loop, None, None, stage.run_files)
    )

    found = [each["payload"]["reason_code"] for each in read_stops(stage.var.root)]
    assert record.reason_code == "QUEUE_CHAIN"
    assert found == ["COMPLETED", "QUEUE_CHAIN"]


@pytest.mark.parametrize("is_finished", [True, False])
def test_figures_of_a_run_whose_end_could_not_count_are_counted_before_the_seal(
    tmp_path: Path, is_finished: bool
) -> None:
    """The last figures are the end's only if it wrote them, whatever stands in them."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    context.open_output("control").append_roots([(RunOpening({"USDT": "1"}, (), {}), START_TS)])
    background = Background(context)
    background.finish() if is_finished else background.abandon()
    context.close_outputs()
    assert background.is_counted is is_finished
    last = {"run_id": RUN_ID, "lines": {**dict.fromkeys(stage.roles.queues, 0), "control": 1}}
    write_hashed(stage.var.metrics / METRICS_FILE, {**last, "performance": "early"})

    assert sealed(stage, context, background) == ""

    figures = read_hashed(stage.run_dir / METRICS_FILE)
    assert (figures["performance"] == "early") is is_finished


@pytest.mark.parametrize("code", ["IO_READONLY", ""])
def test_run_whose_lost_folder_cannot_be_made_again_is_left_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Its launcher has a STOP to tell: a disk that refuses must not make a refused start of it."""
    stage = Stage(tmp_path / "var")
    context = stage.context()
    context.close_outputs()
    background = cast(Background, SimpleNamespace(is_counted=True))

    def refuse() -> list[str]:
        raise RunStop("kernel.files", code, "make folder") if code else OSError("make folder")

    monkeypatch.setattr(stage.run_files, "set_aside", refuse)

    unsealed = sealed(stage, context, background, StopRecord(WATCHDOG, "RUN_FILE_CHANGED", ""))

    assert unsealed.endswith("make folder; the next start seals it")
    assert not (stage.run_dir / "seal.json").exists()


def test_seal_that_cannot_be_signed_stands_and_is_not_called_unsealed(tmp_path: Path) -> None:
    """A secrets file that goes away overnight costs the signature, not the seal."""
    _, public = new_keys()
    stage = Stage(tmp_path / "var", [f"secrets.seal_public_key={public}"])
    context = stage.context()
    context.close_outputs()
    background = cast(Background, SimpleNamespace(is_counted=True))

    unsealed = sealed(stage, context, background)

    assert unsealed == ""
    assert list(verify_tree(stage.run_dir)) == []
    (missing,) = verify_tree(stage.run_dir, public_key=public)
    assert missing.file == SIGNATURE_FILE


def test_former_run_whose_seal_cannot_be_signed_is_not_called_damaged(tmp_path: Path) -> None:
    """A start without the private key has recovered all; the lack of a signature is told apart."""
    _, public = new_keys()
    stage = Stage(tmp_path / "var", [f"secrets.seal_public_key={public}"])
    note_current(stage.var, RUN_ID)

    recovered = clear_former_run(stage.var, stage.contracts, stage.roles)

    assert recovered is not None
    assert recovered.findings == ()
    assert "was interrupted; this start has recovered and sealed it: its seal" in recovered.note
    assert recovered.faults == (f"its seal stays unsigned: {recovered.unsigned}",)
    assert "seal_private_key" in recovered.unsigned
