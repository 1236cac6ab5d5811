"""Removal of old runs: which one stays because the next may carry on from it."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.errors import RunStop
from minibot.kernel.files import write_hashed
from minibot.kernel.system import Access, Files, StrPath
from minibot.report.pruning import alone, fates, left_metrics, remove, unbegun, unpacked_bundles
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock
from tests.kernel.kernel_support import FaultFiles
from tests.manifests import made_manifest
from tests.runs import verb

BEGAN_MS = 1_772_409_600_000


def put_sealed(folder: Path, run_id: str, *, simulated: bool = True) -> None:
    """Write a sealed run of an id, a simulated one by default, into a folder."""
    folder.mkdir(parents=True)
    replace(made_manifest(run_id, {}, {}, BEGAN_MS), simulated=simulated).write(folder)
    write_hashed(folder / "seal.json", {"root": "0" * 64, "extra": {"state": "sealed"}})


def test_copy_takes_no_place_of_the_newest_run(tmp_path: Path) -> None:
    """A renamed copy stands last by its name; the run stays, and the copy is somebody's."""
    var = Var(tmp_path)
    older, newer = "20260301_200000", "20260302_200000"
    for name, run_id in ((older, older), (newer, newer), ("good_night", older)):
        put_sealed(var.runs / name, run_id)

    found = {each.record.run_id: each.stays for each in fates(var, BEGAN_MS, keep=1, days=None)}

    assert found[older] == ""
    assert "carry on" in found[newer]
    assert "copy" in found["good_night"]


def test_rules_of_number_and_age_keep_what_they_say(tmp_path: Path) -> None:
    """The newest stay by their number; a run stays until it is as old as the rule says."""
    var = Var(tmp_path)
    names = [f"2026030{day}_200000" for day in range(1, 6)]
    for name in names:
        put_sealed(var.runs / name, name)

    def stay(now_ms: int, keep: int | None, days: int | None) -> list[str]:
        found = fates(var, now_ms, keep=keep, days=days)
        return [fate.record.run_id for fate in found if fate.stays]

    assert stay(BEGAN_MS, 3, None) == names[2:]
    assert stay(BEGAN_MS, 1, None) == names[4:]
    assert stay(BEGAN_MS + 2 * DAY_MS - 1, None, 2) == names
    assert stay(BEGAN_MS + 2 * DAY_MS, None, 2) == names[4:]


def test_demo_to_carry_on_from_stays_beside_a_newer_night(tmp_path: Path) -> None:
    """A night carries on from a night and a demo from a demo, so the last of each stays."""
    var = Var(tmp_path)
    older, demo, night = "20260301_200000", "20260302_200000", "20260303_200000"
    for name in (older, demo, night):
        put_sealed(var.runs / name, name, simulated=name != night)

    found = {each.record.run_id: each.stays for each in fates(var, BEGAN_MS, keep=1, days=None)}

    assert found[older] == ""
    assert "carry on" in found[demo]


def put_reported(tmp_path: Path) -> tuple[Var, str, str]:
    """Seal two runs, the older with a report; return their folder and their ids."""
    var, old, new = Var(tmp_path), "20260301_200000", "20260302_200000"
    for name in (old, new):
        put_sealed(var.runs / name, name)
    (var.runs / old / "report").mkdir()
    (var.runs / old / "report" / "index.html").write_text("page")
    return var, old, new


def test_report_of_a_removed_run_stays_and_nothing_else(tmp_path: Path) -> None:
    """A run that goes leaves its report in `var/pruned`; its move is durable before it shrinks."""
    var, old, new = put_reported(tmp_path)
    files = FaultFiles()

    remove(
        var,
        [fate for fate in fates(var, BEGAN_MS, keep=1, days=None) if not fate.stays],
        files=files,
    )

    assert [path.name for path in var.runs.iterdir()] == [new]
    assert [path.name for path in (var.pruned / old).iterdir()] == ["report"]
    assert (var.pruned / old / "report" / "index.html").read_text() == "page"
    calls = files.calls
    moved, shrunk = calls.index(f"replace {old}"), calls.index("unlink manifest.json")
    assert {"sync_folder pruned", "sync_folder runs"} <= set(calls[moved:shrunk])


def test_figures_of_runs_that_are_gone_go_too(tmp_path: Path) -> None:
    """Those of a run that stands stay, of a copy's original, of the running one, and the last."""
    var = Var(tmp_path)
    doomed, newer, copied = "20260301_200000", "20260302_200000", "20260228_200000"
    running, gone = "20260303_200000", "20260227_200000"
    for name, run_id in ((doomed, doomed), (newer, newer), ("good_night", copied)):
        put_sealed(var.runs / name, run_id)
    write_hashed(var.root / "current.json", {"run_id": running})
    var.metrics.mkdir()
    stay = {"metrics.json", "notes.json", *(f"{each}-1.json" for each in (newer, copied, running))}
    for name in stay | {f"{doomed}-1.json", f"{doomed}-2.json", f"{gone}-1.json"}:
        (var.metrics / name).write_bytes(b"{}")
    going = [fate for fate in fates(var, BEGAN_MS, keep=1, days=None) if not fate.stays]

    left = left_metrics(var, going)
    remove(var, going)

    assert [fate.record.run_id for fate in going] == [doomed]
    assert {path.name for path in var.metrics.iterdir()} == stay
    assert [path.name for path in left] == [
        f"{gone}-1.json",
        f"{doomed}-1.json",
        f"{doomed}-2.json",
    ]


def test_unpacked_copies_of_bundles_go_and_half_a_removal_leaves_none_to_be_found(
    tmp_path: Path,
) -> None:
    """A copy is moved away whole before any of its files is removed; the bundle makes it again."""
    var = Var(tmp_path)
    copy = var.unpacked / "0123456789abcdef"
    put_sealed(copy / "20260301_200000", "20260301_200000")
    (copy / "complete").write_text("20260301_200000")

    assert unpacked_bundles(var) == [copy]
    with pytest.raises(RunStop):
        remove(var, (), files=Unwilling())
    assert unpacked_bundles(var) == []

    remove(var, ())
    assert list(var.pruned.iterdir()) == []


def test_rest_of_a_removal_that_broke_off_is_told_with_its_bytes(tmp_path: Path) -> None:
    """Rest of a dead removal takes room like any run; the same verb frees it, and says so."""
    var, old, _ = put_reported(tmp_path)
    doomed = [fate for fate in fates(var, BEGAN_MS, keep=1, days=None) if not fate.stays]
    with pytest.raises(RunStop):
        remove(var, doomed, files=Unwilling())

    listed = verb(tmp_path, "prune", "--keep", "1").out
    document = verb(tmp_path, "prune", "--keep", "1", "--json").document
    freed = verb(tmp_path, "prune", "--keep", "1", "--yes").out
    after = verb(tmp_path, "prune", "--keep", "1").out

    (size,) = {fate.frees for fate in doomed}
    rest = "0 runs and the rest of 1 removal that broke off"
    assert f"{rest} would go: {size:,} bytes; remove them: the same with --yes" in listed
    assert (document["broken_removals"], document["bytes"]) == (1, size)
    assert f"{rest} removed, {size:,} bytes freed" in freed
    assert "0 runs would go: 0 bytes\n" in after
    assert [path.name for path in (var.pruned / old).iterdir()] == ["report"]


def test_removal_beside_another_is_refused_and_a_list_is_not(tmp_path: Path) -> None:
    """Each would take away what the other has counted and moves."""
    var, old, _ = put_reported(tmp_path)

    with alone(var):
        listed = verb(tmp_path, "prune", "--keep", "1")
        beside = verb(tmp_path, "prune", "--keep", "1", "--yes")
        assert (var.runs / old).is_dir()

    assert (listed.code, beside.code) == (0, 2)
    assert "another prune removes runs" in beside.err
    assert verb(tmp_path, "prune", "--keep", "1", "--yes").code == 0
    assert not (var.runs / old).exists()


def test_full_disk_keeps_no_removal_from_making_room(tmp_path: Path) -> None:
    """Even the empty file of a lock needs a name."""
    with alone(Var(tmp_path), Full()):
        pass

    assert list(tmp_path.iterdir()) == []


def test_run_that_was_brought_back_goes_again_and_both_reports_stay(tmp_path: Path) -> None:
    """The report of its first removal has its name in `var/pruned`."""
    var = Var(tmp_path)
    old, new = "20260301_200000", "20260302_200000"
    put_sealed(var.runs / new, new)
    for text in ("first", "second"):
        put_sealed(var.runs / old, old)
        (var.runs / old / "report").mkdir()
        (var.runs / old / "report" / "index.html").write_text(text)

        assert verb(tmp_path, "prune", "--keep", "1", "--yes").code == 0

    assert [path.name for path in var.runs.iterdir()] == [new]
    kept = sorted(path.read_text() for path in var.pruned.rglob("*") if path.is_file())
    assert kept == ["first", "second"]


class Full(Files):
    """System that makes no file any more."""

    def open(self, path: StrPath, access: Access) -> int:
        if access is Access.CREATE:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().open(path, access)


class Unwilling(Files):
    """System that removes no file."""

    def unlink(self, path: StrPath) -> None:
        raise PermissionError(path)


def test_start_that_made_no_run_is_named_and_goes(tmp_path: Path) -> None:
    """Killed before its manifest it leaves an empty folder; one that starts now keeps its own."""
    var = Var(tmp_path)
    empty, noted = (var.runs / f"2026030{day}_200000" for day in (1, 2))
    for path in (empty, noted, var.runs / "mine"):
        path.mkdir(parents=True)
    named = verb(tmp_path, "verify", empty.name)
    with RunLock(var):
        during = unbegun(var)
    write_hashed(var.root / "current.json", {"run_id": noted.name})
    shown = verb(tmp_path, "prune", "--keep", "1")
    done = verb(tmp_path, "prune", "--keep", "1", "--yes")

    assert named.code == 2
    assert "ended before it made a run" in named.err
    assert during == []
    assert "1 start that made no run would go" in shown.out
    assert "1 start that made no run removed" in done.out
    assert sorted(path.name for path in var.runs.iterdir()) == [noted.name, "mine"]
