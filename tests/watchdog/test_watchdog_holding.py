"""Locks and folder of a launcher's `var`: their loss, and the end of the run."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from minibot.events.model import RunOpening
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import seal_run
from minibot.kernel.verify import verify_tree
from minibot.market.venue_access import server_time
from minibot.runtime import context as context_module
from minibot.runtime.configuration.config import load_config
from minibot.runtime.context import STOPPED, RoleContext
from minibot.runtime.gate import Gate
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.running import RunLock
from minibot.runtime.stop import STOP_KIND, StopRecord, standing_flags
from minibot.watchdog.background import Background
from minibot.watchdog.holding import HeldVar, leave_refused_stop, settle_lost
from minibot.watchdog.launcher import launch
from minibot.watchdog.operator_stop_log import clear_flag, flagged_stop, note_refused, read_stops
from minibot.watchdog.recovery import complete_merge
from minibot.watchdog.supervision_loop import SupervisionLoop
from tests.watchdog.watchdog_stage import RUN_ID, START_TS, Stage

PROFILE = PROJECT / "config" / "nore-smoke.v1.json"
pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows moves no folder with open files"
)


class Held:
    """Stage whose `var` is held as a launcher holds it."""

    def __init__(self, root: Path) -> None:
        self.stage = Stage(root)
        self.lock: RunLock = RunLock(self.stage.var)
        self.lock.acquire()
        self.held = HeldVar(self.stage.var, self.lock)
        self.context: RoleContext = self.stage.context()
        opening = RunOpening(cash={"USDT": "1000.00000000"}, lots=(), budgets_used={})
        self.context.open_output("control").append_roots([(opening, START_TS)])
        self.away = root.with_name("away")

    def close(self) -> None:
        """Release everything."""
        self.held.close()
        self.lock.release()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Held]:
    """Held `var` with the queues of a run."""
    scene = Held(tmp_path / "var")
    yield scene
    scene.close()


def moved(scene: Held) -> None:
    """Rename the folder."""
    scene.stage.var.root.rename(scene.away)


def exchanged(scene: Held) -> None:
    """Rename the folder and make an empty one in its place."""
    moved(scene)
    scene.stage.var.root.mkdir(mode=0o700)


def linked(scene: Held) -> None:
    """Rename the folder and put a link to it in its place."""
    moved(scene)
    scene.stage.var.root.symlink_to(scene.away)


def deleted(scene: Held) -> None:
    """Delete the folder with its content."""
    shutil.rmtree(scene.stage.var.root)


def emptied(scene: Held) -> None:
    """Delete the queues alone."""
    shutil.rmtree(scene.stage.var.queues)


def lost(scene: Held) -> StopRecord:
    """Return the STOP of a lost `var`."""
    record = scene.held.lost()
    assert record is not None
    return record


# --- noticing a loss ----------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [moved, exchanged, linked, deleted, emptied])
def test_var_that_is_not_where_the_run_writes_is_lost(
    scene: Held, damage: Callable[[Held], None]
) -> None:
    """A `var` that has moved is lost, with its old and new place in the STOP."""
    before = scene.held.lost()
    damage(scene)

    record = lost(scene)
    assert before is None
    assert record.reason_code == "VAR_LOST"
    assert str(scene.stage.var.root) in record.detail
    assert (str(scene.away) in record.detail) == (damage in (moved, exchanged, linked))


def test_var_that_was_a_link_from_the_start_is_not_lost(tmp_path: Path) -> None:
    """A `var` that was a link from the start is not lost, even if the link is remade."""
    (tmp_path / "disk").mkdir()
    Stage(tmp_path / "disk" / "var")
    var = Var(tmp_path / "var")
    var.root.symlink_to(tmp_path / "disk" / "var")
    with RunLock(var) as lock, closing(HeldVar(var, lock)) as held:
        before = held.lost()
        var.root.unlink()
        gone = held.lost()
        var.root.symlink_to(tmp_path / "disk" / "var")
        again = held.lost()

    assert (before, again) == (None, None)
    assert gone is not None


def test_what_was_met_first_is_named_in_the_detail_of_a_lost_var(scene: Held) -> None:
    """The STOP of a lost `var` includes the first consequence that a role met."""
    moved(scene)
    former = StopRecord("risk_role", "QUEUE_MISSING", "inbox.jsonl is gone")

    record = scene.held.lost(former)

    assert record is not None
    assert record.reason_code == "VAR_LOST"
    assert record.detail.endswith("found with it: QUEUE_MISSING by risk_role")


@pytest.mark.parametrize("name", ["run.lock", "queues/control/writer.lock"])
def test_lock_of_the_launcher_that_is_deleted_is_a_stop(scene: Held, name: str) -> None:
    """A deleted lock of the run, or of the launcher's queues, is a STOP."""
    before = scene.held.check()
    (scene.stage.var.root / name).unlink()

    record = scene.held.check()

    assert before is None
    assert record is not None
    assert (record.component, record.reason_code) == ("watchdog_role", "LOCK_LOST")
    assert record.detail.endswith(f"{name} is gone")


def test_role_that_loses_a_lock_of_its_own_stops_the_run(
    scene: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A role checks its own locks and stops the run when one is lost."""
    monkeypatch.setattr("minibot.runtime.gate.LOCKS_NS", 0)
    gate = Gate(scene.context)
    before = gate.check()
    part = scene.stage.var.queues / "health" / "parts" / "watchdog_role.lock"
    part.rename(part.with_name("aside"))

    assert (before, gate.check()) == (None, STOPPED)
    stops = scene.stage.envelopes("stop_journal", "watchdog_role")
    assert [stop["payload"]["reason_code"] for stop in stops] == ["LOCK_LOST"]
    assert str(part) in stops[0]["payload"]["detail"]
    assert scene.stage.var.flag.exists()


# --- end of the run ------------------------------------------------------------------------------


@pytest.mark.row("N-89")
@pytest.mark.parametrize("damage", [moved, exchanged, linked])
def test_run_that_lost_its_var_is_on_record_where_that_is_now_and_beside_its_place(
    scene: Held, damage: Callable[[Held], None]
) -> None:
    """A lost `var` keeps flag and journal, and a note beside its old place; it can be sealed."""
    background = Background(scene.context)
    damage(scene)

    settled = settle_lost(scene.held, scene.context, background, lost(scene))

    assert settled.var is not None
    assert settled.var.root == scene.away
    assert settled.var.flag.exists()
    run_dir = settled.var.run(RUN_ID)
    findings = complete_merge(
        settled.var, scene.stage.manifest, scene.context.codec, scene.context.clock
    )
    seal_run(settled.var.queues, run_dir)
    stops = read_stops(scene.away)
    note = read_hashed(scene.stage.var.flag_beside)
    assert findings == []
    assert list(verify_tree(run_dir)) == []
    assert [stop["payload"]["reason_code"] for stop in stops] == ["VAR_LOST"]
    assert note["stop"] == stops[0]
    assert note["moved_to"] == str(scene.away)
    assert scene.stage.var.flag_beside in standing_flags(scene.stage.var)


@pytest.mark.parametrize("damage", [deleted, emptied])
def test_run_whose_queues_are_gone_is_on_record_and_said_to_be_unsealed(
    scene: Held, damage: Callable[[Held], None]
) -> None:
    """A run without its queues is recorded and called unsealed."""
    background = Background(scene.context)
    damage(scene)

    settled = settle_lost(scene.held, scene.context, background, lost(scene))

    assert settled.var is None
    assert "no longer exists" in settled.unsealed
    stop = flagged_stop(scene.stage.var)
    assert stop is not None
    assert stop["payload"]["reason_code"] == "VAR_LOST"
    assert not scene.stage.var.queues.exists()
    if damage is emptied:
        assert read_stops(scene.stage.var.root) == [stop]


def test_note_that_cannot_be_left_beside_var_is_told(
    scene: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note that cannot be written beside `var` is reported in the summary."""
    background = Background(scene.context)
    moved(scene)
    scene.stage.var.flag_beside.mkdir()

    settled = settle_lost(scene.held, scene.context, background, lost(scene))

    assert settled.var is not None
    assert any("var.STOP.flag could not be written" in note for note in settled.notes)


@pytest.mark.row("N-89")
def test_stop_whose_flag_the_disk_refuses_stands_beside_var(
    scene: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a disk became read-only and was mended, no evening begins before a person looked."""
    record = StopRecord("risk_role", "IO_READONLY", "the disk became read-only")
    assert leave_refused_stop(scene.held, scene.context, record) == ()

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(context_module, "raise_flag", refuse)
    scene.context.stop(record)
    notes = leave_refused_stop(scene.held, scene.context, record)

    beside = scene.stage.var.flag_beside
    assert notes == (f"the STOP is recorded beside var, in {beside}",)
    assert standing_flags(scene.stage.var) == [beside]
    stop = flagged_stop(scene.stage.var)
    assert stop is not None
    assert stop["payload"]["reason_code"] == "IO_READONLY"


@pytest.mark.row("N-89")
def test_lost_var_is_cleared_on_record_with_the_stop_that_stood_beside_it(scene: Held) -> None:
    """Clearing a lost `var` journals STOP and CLEAR in the folder that stands there then."""
    background = Background(scene.context)
    deleted(scene)
    settle_lost(scene.held, scene.context, background, lost(scene))
    scene.stage.var.root.mkdir(mode=0o700)

    assert clear_flag(scene.stage.var, "anna", "a clean-up job") == RUN_ID

    kinds = [stop["payload"]["kind"] for stop in read_stops(scene.stage.var.root)]
    assert kinds == ["STOP", "CLEAR"]
    assert standing_flags(scene.stage.var) == []


# --- starts ---------------------------------------------------------------------------------------


def start(var: Var) -> None:
    """Start a night on a folder."""
    config = load_config(PROFILE, [f"paths.var={var.root}", "ai.enabled=false"], {})
    launch(config, PROFILE, (), lambda line: None, server_time)


@pytest.mark.row("N-89", "F70")
def test_start_at_the_place_of_a_lost_var_is_refused_and_makes_none(scene: Held) -> None:
    """A start in the place of a lost `var` is refused without making a folder."""
    background = Background(scene.context)
    moved(scene)
    settle_lost(scene.held, scene.context, background, lost(scene))

    with pytest.raises(Refusal, match=r"var\.STOP\.flag exists"):
        start(scene.stage.var)

    assert not scene.stage.var.root.exists()


@pytest.mark.row("N-89", "F70")
@pytest.mark.parametrize("what", ["folder", "link"])
def test_start_while_anything_stands_as_a_flag_is_refused_on_record(
    tmp_path: Path, what: str
) -> None:
    """A start under any kind of flag is refused, and the refusal journaled."""
    var = Var(tmp_path / "var")
    var.root.mkdir(mode=0o700)
    if what == "folder":
        var.flag.mkdir()
    else:
        var.flag.symlink_to("nowhere")

    with pytest.raises(Refusal, match=r"STOP\.flag exists"):
        start(var)

    (refused,) = [stop["payload"] for stop in read_stops(var.root)]
    assert (refused["kind"], refused["reason_code"]) == ("REFUSED", "REFUSED")
    assert str(var.flag) in refused["detail"]
    assert not list(var.root.glob("runs/*"))


@pytest.mark.parametrize("what", ["folder", "full folder", "link", "file"])
def test_flag_is_cleared_whatever_it_is(tmp_path: Path, what: str) -> None:
    """A flag of any kind is cleared: folder content is set aside, link targets stay."""
    stage = Stage(tmp_path / "var")
    flag, kept = stage.var.flag, tmp_path / "kept"
    kept.write_text("mine")
    if what == "link":
        flag.symlink_to("nowhere")
    elif what == "file":
        flag.symlink_to(kept)
    else:
        flag.mkdir()
        if what == "full folder":
            kept.rename(flag / "kept")

    clear_flag(stage.var, "anna", "looked at it")

    assert not os.path.lexists(flag)
    found = [*stage.var.stop.glob("STOP.flag-*/kept"), *tmp_path.glob("kept")]
    assert [path.read_text() for path in found] == ["mine"]
    assert read_stops(stage.var.root)[-1]["payload"]["kind"] == "CLEAR"


@pytest.mark.row("N-06")
@pytest.mark.usefixtures("run_goes_on")
def test_start_beside_a_run_writes_nothing(scene: Held) -> None:
    """A start beside a running one is refused without writing anything."""
    before = everything(scene.stage.var.root)

    with pytest.raises(Refusal, match="another run uses"):
        start(Var(scene.stage.var.root))

    assert everything(scene.stage.var.root) == before


def everything(root: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return the tree below a folder, with times and modes."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mtime_ns, status.st_mode, data)
    return found


def test_refused_start_satisfies_the_contract_and_explains_no_stop(tmp_path: Path) -> None:
    """A REFUSED record satisfies the contract and is never taken for a STOP."""
    stage = Stage(tmp_path / "var")

    note_refused(stage.var, "disk: 3 MB free")

    (envelope,) = read_stops(stage.var.root)
    assert stage.contracts.explain(envelope) == []
    assert flagged_stop(stage.var) is None
    assert envelope["payload"]["kind"] != STOP_KIND
    assert list(verify_tree(stage.var.stop_journal)) == []


# --- the supervision loop
# ----------------------------------------------------------------------------------


class FlagOnly:
    """Supervisor without roles, for a flag raised by a role's name alone."""


def test_desk_is_never_blamed_on_an_operator_by_the_flag_of_a_role(scene: Held) -> None:
    """A flag with a role's name is attributed to that role, not to an operator."""
    scene.stage.var.flag.write_text("risk_role\n")
    child = scene.stage.actors({})["risk_role"]
    desk = object.__new__(SupervisionLoop)
    desk.context = scene.context
    desk.supervisor = FlagOnly()  # type: ignore[assignment]
    desk.supervisor.children = {"risk_role": child}
    desk._flagged_ns = 1  # The role's event is long overdue.

    record = desk._flagged()

    assert record is not None
    assert record.component == "risk_role"
    assert record.reason_code != "OPERATOR_KILL"
