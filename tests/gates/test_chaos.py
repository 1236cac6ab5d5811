"""`minibot gate chaos`: faults in real short runs, and a judge of each outcome."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minibot.cli.main import run
from minibot.events.reasons import REASONS, STOP_GROUP
from minibot.gates import chaos, chaos_judge
from minibot.gates.chaos import (
    FAILED,
    OK,
    SKIPPED,
    Result,
    drawn,
    faults_named,
    is_passed,
    run_faults,
    table,
    verdict,
)
from minibot.gates.chaos_catalogue import BASE, FAULTS
from minibot.gates.chaos_fault import STOP, SURVIVE, Fault
from minibot.gates.chaos_judge import complaints
from minibot.gates.drill_processes import DrillProcesses, signalled
from minibot.gates.drill_run import DrillRun, NotInjected
from minibot.runtime.paths import Var

pytestmark = pytest.mark.process

# Faults that the requirements name; CI runs a third of the others.
NAMED = {
    "bad_schema": ("N-81", "F92"),
    "bad_sha256": ("N-82", "F11"),
    "torn_cursor": ("N-83", "F43"),
    "exchange_down": ("N-84", "F103"),
    "risk_breach": ("N-85", "F120"),
    "cursor_ahead": ("N-86", "F33"),
    "no_cmdline_hash": ("N-87", "F97"),
    "poison_event": ("F66",),
}


@pytest.mark.campaign
@pytest.mark.row("N-01", "N-81", "N-82", "N-83", "N-84", "N-85", "N-86", "N-87")
@pytest.mark.row("N-88", "N-89", "N-90")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.row(*rows)) for name, rows in NAMED.items()]
)
def test_fault_in_a_real_run_ends_as_catalogued(name: str, tmp_path: Path) -> None:
    """Exit code, journals, flag, execution, processes, verify and replay are as catalogued."""
    var = Var(tmp_path / "var")
    var.root.mkdir(mode=0o700)

    (result,) = run_faults(faults_named([name]), var, on_result=lambda result: None)

    assert result.complaints == ()
    assert (result.verdict, result.observed) == (OK, result.expected)


# --- the judge ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hung(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DrillRun]:
    """Night whose frozen strategy led to STOP(ROLE_HUNG)."""
    root = tmp_path_factory.mktemp("judge") / "var"
    night = DrillRun("role_hang", Var(root), sets=BASE, chaos={})
    night.start()
    night.wait_for_trading()
    FAULTS["role_hang"].inject(night)
    night.watch_end()
    yield night
    night.clean_up()


@pytest.mark.row("N-35", "N-88", "F63")
def test_hung_role_stops_the_run_in_the_name_of_the_watchdog(hung: DrillRun) -> None:
    """The STOP of a hung role names watchdog_role as its component in every journal."""
    assert complaints(FAULTS["role_hang"], hung) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"exit_code": 0}, "exit code 10, expected 0"),
        ({"codes": ("RISK_LIMIT",)}, "expected RISK_LIMIT"),
        ({"components": ("risk_role",)}, "expected risk_role"),
        ({"expect": SURVIVE, "codes": ()}, "STOP.flag exists"),
        ({"damaged": ("signals",)}, "verify finds nothing wrong"),
        ({"evidence": ("role_restarted",)}, "no incident role_restarted"),
        ({"dead_letter": True, "damaged": ("signals",)}, "no dead letter ROLE_HUNG"),
    ],
)
def test_judge_finds_an_end_other_than_the_expected_one(
    hung: DrillRun, change: dict[str, object], told: str
) -> None:
    """The judge reports each false claim of a catalogue entry."""
    fault = replace(FAULTS["role_hang"], **change)  # type: ignore[arg-type]

    assert any(told in complaint for complaint in complaints(fault, hung))


def test_judge_asks_a_dead_letter_of_everybody_who_stopped(
    hung: DrillRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge demands a dead letter from each reader that stopped."""
    monkeypatch.setattr(chaos_judge, "_dead_letters", lambda *_: [{"source": "risk_role"}])
    fault = replace(FAULTS["role_hang"], dead_letter=True)

    assert "no dead letter ROLE_HUNG of watchdog_role" in complaints(fault, hung)


@pytest.mark.row("N-90")
def test_judge_finds_execution_that_goes_on_after_a_stop(hung: DrillRun) -> None:
    """The judge reports execution later than a second after the flag."""
    watched = hung.quiet_bytes
    assert watched is not None
    hung.quiet_bytes = {**watched, "order_results": watched["order_results"] - 1}
    try:
        found = complaints(FAULTS["role_hang"], hung)
    finally:
        hung.quiet_bytes = watched

    assert any("order_results" in complaint and "after STOP" in complaint for complaint in found)


@pytest.mark.row("N-89")
def test_judge_finds_a_missing_flag(hung: DrillRun) -> None:
    """The judge reports a STOP without its flag."""
    aside = hung.var.root / "aside"
    hung.var.flag.rename(aside)
    try:
        found = complaints(FAULTS["role_hang"], hung)
    finally:
        aside.rename(hung.var.flag)

    assert found == ["STOP.flag is missing"]


@pytest.mark.row("N-88")
def test_judge_finds_a_stop_that_the_operators_journal_lacks(hung: DrillRun) -> None:
    """The judge reports a STOP missing in the operator's journal."""
    head = hung.var.root / "stop_journal.head"
    aside = hung.var.root / "aside"
    head.rename(aside)
    try:
        found = complaints(FAULTS["role_hang"], hung)
    finally:
        aside.rename(head)

    assert found == ["var/stop_journal.jsonl: no STOP is recorded"]


# --- the catalogue and the verb -----------------------------------------------------------------


def test_catalogue_names_known_codes_and_tells_every_stop_apart() -> None:
    """Each fault has an outcome, and each STOP a code of the contract."""
    assert len(FAULTS) >= 40
    for fault in FAULTS.values():
        assert fault.what
        assert fault.ids
        if fault.expect == STOP:
            assert REASONS[fault.codes[0]].group == STOP_GROUP


def test_list_prints_one_line_per_fault_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--list` shows name and expected outcome of each fault."""
    assert run(["chaos", "--list", "--var", str(tmp_path / "var")]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(FAULTS)
    assert not (tmp_path / "var").exists()


@pytest.mark.row("N-01")
def test_part_of_the_faults_is_drawn_by_its_seed_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A seed draws a third of the faults, the same each time; every fault can be drawn."""
    ran: list[str] = []

    def play(faults: list[Fault], *_: object, **__: object) -> list[Result]:
        ran[:] = [fault.name for fault in faults]
        return [Result(name, "END", "END", 0, "", OK) for name in ran]

    monkeypatch.setattr(chaos, "run_faults", play)
    words = ["chaos", "--all", "--part", "3", "--var", str(tmp_path / "var")]

    assert run([*words, "--seed", "7"]) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    third = list(ran)
    assert run([*words, "--seed", "7"]) == 0

    assert ran == third
    assert len(third) == -(-len(FAULTS) // 3)
    assert text == f"seed 7 draws {len(third)} of {len(FAULTS)} faults: {', '.join(third)}"
    reached = {fault.name for seed in range(40) for fault in drawn([*FAULTS.values()], 3, seed)}
    assert reached == set(FAULTS)
    assert drawn([*FAULTS.values()], 1, 7) == [*FAULTS.values()]


@pytest.mark.parametrize("words", [["no_such_fault"], []])
def test_unknown_fault_or_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A fault that is not in the catalogue is refused with a hint."""
    assert run(["chaos", *words, "--var", str(tmp_path / "var")]) == 2
    assert "minibot chaos --list" in capsys.readouterr().err


def test_skipped_fault_is_told_with_its_missing_feature_and_fails_nothing() -> None:
    """A skipped fault names the missing feature of the machine and fails nothing."""
    good = Result("role_hang", "STOP(ROLE_HUNG)", "STOP(ROLE_HUNG)", 10, "4.0", OK)
    skipped = Result("disk_full", "STOP(IO_ENOSPC)", "", None, "", SKIPPED, (), "own mounts")
    bad = Result("ctrl_c", "END(OPERATOR)", "SILENT", 0, "", FAILED, ("it was silent",))

    assert is_passed([good, skipped])
    assert not is_passed([good, bad])
    assert verdict([good, skipped]) == "1 of 1 faults end as catalogued; skipped: disk_full"
    lines = list(table([good, skipped, bad]))
    assert "skipped disk_full: this machine has not own mounts" in lines
    assert "FAILED ctrl_c: it was silent" in lines
    assert lines[-1].startswith("1 of 2 faults end as catalogued")


def test_drill_that_hangs_on_its_own_disk_is_a_failed_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drill that does not come back from its disk fails its fault, and its run is ended."""
    lab = Var(tmp_path).lab_of("chaos-disk_full").root
    sleep = "import time; time.sleep(600)"
    role = [sys.executable, "-c", sleep, "minibot.runtime.role", str(lab)]
    code = f"import subprocess; subprocess.Popen({role}, start_new_session=True); {sleep}"
    monkeypatch.setattr(chaos, "_private_mount", lambda: [sys.executable, "-c", code])
    monkeypatch.setattr(chaos, "DISK_S_MAX", 3)

    results = run_faults(faults_named(["disk_full"]), Var(tmp_path), on_result=lambda result: None)

    assert [result.verdict for result in results] == [FAILED]
    assert "timed out" in results[0].complaints[0]
    left = [process.pid for process in DrillProcesses(lab).members()]
    for pid in left:
        signalled(pid, lambda process: process.kill())
    assert left == []


def test_lab_that_a_run_is_using_is_left_alone(tmp_path: Path, hung: DrillRun) -> None:
    """A drill empties its own lab, but never one in use by a run."""
    night = DrillRun("second", Var(tmp_path / "var"), sets=BASE, chaos={})
    night.start()
    try:
        night.wait_for("the run's lock", lambda: night.last_run)
        with pytest.raises(NotInjected, match="another run is using"):
            DrillRun("second", Var(tmp_path / "var"), sets=BASE, chaos={})
    finally:
        night.clean_up()
