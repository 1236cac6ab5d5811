"""Outcome of a run as a trader reads it: events, proof, next steps."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.cli import night, status
from minibot.cli.main import guarded, parsed
from minibot.cli.support import outcome as outcome_module
from minibot.cli.support.outcome import judge
from minibot.cli.support.selection import find_run, var_of
from minibot.events.reasons import REASONS
from minibot.kernel.errors import Refusal
from minibot.ops.run_health import flag_of
from minibot.report.figures import money, signed
from minibot.report.night import Night
from minibot.report.records import read_records
from minibot.runtime.deployment import staging
from minibot.runtime.paths import Var
from minibot.watchdog.launcher import Outcome
from minibot.watchdog.recovery import FormerRun
from tests.runs import ShortRun, night_argv, run_command, verb
from tests.waiting import DEADLINE_S


def outcome(run_dir: Path, exit_code: int = 0, code: str = "DURATION_REACHED") -> Outcome:
    """Outcome of a run as the launcher reports it."""
    return Outcome(run_dir, exit_code, code, "a test said so", None)


@pytest.fixture(scope="module")
def document(short_run: ShortRun) -> dict[str, Any]:
    """Document of the short run, printed with --json."""
    found: dict[str, Any] = short_run.said.document
    return found


@pytest.fixture(scope="module")
def text(short_run: ShortRun) -> str:
    """Summary as text."""
    return verb(short_run.var, "report", "--full").out


def test_night_with_json_prints_one_document_and_its_progress_elsewhere(
    short_run: ShortRun, document: dict[str, Any]
) -> None:
    """A night with --json prints one document on standard output, and progress elsewhere."""
    assert document["exit_code"] == 0
    assert document["run_id"] == short_run.run_id
    assert re.search(
        r"^\d\d:\d\d:\d\d \d+ % \| .* \| result .* trades? ", short_run.said.err, re.MULTILINE
    )


@pytest.mark.row("N-105", "N-121", "N-02")
def test_night_ends_with_the_verdicts_of_verify_and_replay(document: dict[str, Any]) -> None:
    """A night's document contains the documents of verify and replay themselves."""
    assert document["verify"] == {
        "target": document["run_id"],
        "clean": True,
        "count": 0,
        "findings": [],
    }
    assert document["replay"]["identical"] is True
    assert len(document["replay"]["digest"]) == 64


def test_night_says_where_its_files_are(document: dict[str, Any], short_run: ShortRun) -> None:
    """Every file or folder that the summary names exists."""
    files = document["files"]

    assert Path(files["run"]) == short_run.run_dir
    assert all(Path(path).exists() for path in files.values())


@pytest.mark.row("N-19")
def test_summary_lists_ingestion_checks_execution_risk_and_journal_with_their_counts(
    text: str, document: dict[str, Any]
) -> None:
    """Ingestion, checks, execution, risk and journal each show a count above zero."""
    for pattern in (
        r"market +([\d,]+) ticks",
        r"; ([\d,]+) health checks of the exchange",
        r"paper orders +[^\n]*?([\d,]+) fills",
        r"risk +([\d,]+) \(",
        r"journal +([\d,]+) events, each line with its sha256",
    ):
        found = re.search(pattern, text)
        assert found is not None, pattern
        assert int(found[1].replace(",", "")) > 0, pattern
    assert document["summary"]["metrics"]["lines"]["risk_actions"] > 0


def test_summary_says_plainly_that_fees_were_the_loss(text: str, document: dict[str, Any]) -> None:
    """The summary says with figures that fees were the loss: the market moves less than two
    fees."""
    figures = document["summary"]["metrics"]["performance"]
    fees, pnl = Decimal(figures["fees"]), Decimal(figures["pnl"])

    assert pnl < 0
    assert f"{money(str(fees))} paid in fees" in text
    assert "fees" in text.split("paid in fees\n")[1].splitlines()[0]
    assert f"{signed(str(pnl + fees))} before fees" in text


def test_summary_sets_latency_beside_the_disk_that_made_it(text: str) -> None:
    """Latency stands beside its disk syncs and the exchange's answer, each with its unit."""
    shown = r"tick to order result [\d.]+ ms p50, [\d,.]+ ms p95 over \d+ of \d+ orders?"
    assert re.search(shown, text)
    assert re.search(r"including five disk syncs of [\d.]+ ms p50 each", text)
    assert re.search(r"answers in [\d.]+ ms p50, [\d.]+ ms p95", text)


def test_summary_says_that_the_ledger_balances_at_each_hour(text: str) -> None:
    """The ledger balances at the end of a short night, and a full hour on the way."""
    ledger = (
        r"^ +ledger +\d+ lots? opened, sold in \d+ parts?, \d+ entries; the ledger balances at "
    )

    assert re.search(ledger + "(the end|1 full hour and at the end); ", text, re.MULTILINE)


def test_summary_in_a_pipe_has_neither_colours_nor_wrapped_lines(text: str) -> None:
    """A summary in a pipe is plain ASCII without colours, one fact per line."""
    assert "\x1b" not in text
    assert text.isascii()
    assert any(len(line) > 100 for line in text.splitlines())


@pytest.mark.row("N-79", "N-82")
def test_stopped_night_says_why_what_stands_and_how_to_go_on(stopped_run: ShortRun) -> None:
    """A stopped night names reason, meaning, remedy, flag and clearing command, and exits 10."""
    done = stopped_run.said
    reason = REASONS["RISK_LIMIT"]

    assert done.code == 10
    assert f"reason        {reason.code}: " in done.out
    assert f"meaning       {reason.meaning}" in done.out
    assert f"what to do    {reason.remedy}" in done.out
    assert "a STOP closes nothing" in done.out
    assert f'minibot clear-stop --var {stopped_run.var} --reason "..."' in done.out
    assert (stopped_run.var / "STOP.flag").exists()
    assert "verify        clean" in done.out
    assert re.search(r"replay        identical, \d+ decision events, digest ", done.out)
    assert re.match(
        rf"result -[\d.]+ USDT, 0 trades, 1 position still open; {stopped_run.run_id} "
        r"STOPPED by RISK_LIMIT; verify clean, replay identical$",
        done.out.splitlines()[-1],
    )


def test_status_after_a_stop_names_what_is_still_held_whoever_stopped(
    stopped_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only risk's own STOP lists positions: of any other they come from the run's last figures."""
    held = Night.open(stopped_run.run_dir).count.performance.portfolio.open_positions()
    by_another_role = {**(flag_of(Var(stopped_run.var)) or {}), "open_positions": []}
    monkeypatch.setattr(status, "flag_of", lambda _: by_another_role)

    done = verb(stopped_run.var, "status")
    document = verb(stopped_run.var, "status", "--json").document

    assert document["open_positions"] == held
    assert f"still open    {held[0]['qty']} {held[0]['symbol']} bought at " in done.out


@pytest.mark.row("N-79")
def test_stopped_night_counts_its_own_stop_in_its_last_metrics(stopped_run: ShortRun) -> None:
    """The last metrics of a stopped night count its own STOP."""
    done = verb(stopped_run.var, "metrics", "--live", "--json")

    night = Night.open(stopped_run.run_dir)
    assert done.document["run_id"] == stopped_run.run_id
    assert done.document["stop"] == {
        "runs": 1,
        "stopped": 1,
        "share": "1.0000000000",
        "reasons": {"RISK_LIMIT": 1},
        "planned_ms": 100_000,
        "stopped_ms": night.stopped_ms,
    }
    assert 0 < night.stopped_ms < 100_000


def test_failed_verify_turns_a_good_end_into_exit_1_and_names_the_place(
    short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed verify turns exit 0 into 1 and names the place."""
    var = tmp_path / "var"
    copied = var / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    path = copied / "queues" / "fills" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)

    code = judge(outcome(copied), proof=True, as_json=False)

    out = capsys.readouterr().out
    assert code == 1
    assert "fills/inbox.jsonl:1" in out
    assert "figures       cannot be recounted" in out
    assert "verify clean" not in out


@pytest.mark.parametrize("why", [errno.EPIPE, errno.ENOSPC])
@pytest.mark.parametrize(("ended", "code"), [(0, 2), (10, 10)])
def test_night_whose_reader_is_gone_says_so_in_one_line_and_claims_no_proof(
    why: int,
    ended: int,
    code: int,
    short_run: ShortRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`| head -1`, `> full disk`: a STOP keeps its code; without shown verdicts none is 0."""

    def closed(rows: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr("minibot.cli.support.outcome.show_rows", closed)
    monkeypatch.setattr("minibot.cli.support.outcome.drop_reader", lambda stream: None)
    # How many lines of progress it prints is up to the machine.
    monkeypatch.setattr("minibot.cli.support.output.PROGRESS_EVERY_S", DEADLINE_S)

    found = judge(outcome(short_run.run_dir, ended), proof=False, as_json=False)

    said = capsys.readouterr()
    assert (found, said.out) == (code, "")
    assert len(said.err.splitlines()) == 1
    assert short_run.run_id in said.err


def test_proof_may_be_left_out_and_is_then_not_claimed(
    short_run: ShortRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A skipped proof leaves no verdict in the summary."""
    code = judge(outcome(short_run.run_dir), proof=False, as_json=False)

    out = capsys.readouterr().out
    assert code == 0
    assert "verify" not in out.splitlines()[-1]
    assert "\nProof" not in out


def test_stopped_night_keeps_its_exit_code_whatever_the_proof_says(
    short_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stopped night exits 10, whatever the proof says."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    (copied / "seal.json").unlink()

    assert judge(outcome(copied, 10, "RISK_LIMIT"), proof=True, as_json=True) == 10
    assert '"clean": false' in capsys.readouterr().out


JUDGE = """
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from minibot.cli.support.outcome import judge
from minibot.watchdog.launcher import Outcome
outcome = Outcome(Path(sys.argv[1]), 0, "DURATION_REACHED", "", None)
sys.exit(judge(outcome, proof=True, as_json=False))
"""


if sys.platform != "win32":  # On Windows, Ctrl-C cannot be sent to a single process.

    def test_ctrl_c_before_the_proof_says_what_is_not_proven_and_leaves_no_process(
        short_run: ShortRun,
    ) -> None:
        """Ctrl-C before the proof says what is unproven and how to prove it, and exits nonzero."""
        process = subprocess.Popen(
            [sys.executable, "-c", JUDGE, str(short_run.run_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("How it ran"))
        os.killpg(process.pid, signal.SIGINT)

        err = process.communicate(timeout=DEADLINE_S)[1]

        assert line
        if process.returncode:  # On a fast machine the proof may be complete already.
            assert process.returncode == 1
            assert f"minibot verify {short_run.run_id}" in err
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)

    def test_ctrl_c_that_python_drops_is_no_failed_proof(
        short_run: ShortRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Ctrl-C within a destructor, which Python drops, still ends the proof as interrupted."""

        class Dying:
            def __del__(self) -> None:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr("sys.unraisablehook", lambda _: None)
        monkeypatch.setattr(outcome_module, "_write_report", lambda _: (Dying(), None)[1])

        code = judge(outcome(short_run.run_dir, 0, "DURATION_REACHED"), proof=True, as_json=False)

        said = capsys.readouterr()
        assert code == 1
        assert f"interrupted before {short_run.run_id} was proven" in said.err
        assert "\nProof" not in said.out
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_night_while_the_flag_stands_is_refused_and_leaves_no_run(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """A night is refused while the flag stands: exit 2, one message, no run left."""
    var = Path(shutil.copytree(stopped_run.var, tmp_path / "var"))
    before = sorted((var / "runs").iterdir())

    done = run_command(night_argv(var, {}))

    assert done.code == 2
    assert f"{var / 'STOP.flag'} exists: an earlier run was stopped. Read " in done.err
    assert f"`minibot status --var {var}`, " in done.err
    assert "clear-stop" in done.err
    assert sorted((var / "runs").iterdir()) == before


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("here/var", "here/var"),
        ("minibot/var", "var"),
        ("./minibot/var/lab", "var/lab"),
        ("minibot/data", "minibot/data"),
    ],
)
def test_var_of_a_person_is_meant_from_the_working_folder(
    typed: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative `--var` starts at the working folder; `minibot/var` is read as `var` (X-16)."""
    monkeypatch.chdir(tmp_path)

    assert var_of(argparse.Namespace(var=typed)).root == tmp_path / meant
    assert var_of(argparse.Namespace(var=str(tmp_path / "x"))).root == tmp_path / "x"


def test_var_of_another_user_is_refused_and_never_looks_empty(tmp_path: Path) -> None:
    """A user who may not look into a folder is told so, not that nothing runs or stands there."""
    if sys.platform == "win32":
        pytest.skip("Windows has no folder that its mode closes to other users")
    closed = tmp_path / "var"
    closed.mkdir(mode=0)
    user = os.geteuid()
    os.seteuid(user or 65534)  # Root may look into everything.
    try:
        with pytest.raises(Refusal, match="closed to this user"):
            var_of(argparse.Namespace(var=str(closed)))
    finally:
        os.seteuid(user)


def test_runs_of_another_user_are_refused_and_never_told_as_none(tmp_path: Path) -> None:
    """In a clone `var` is open, and what a night of `sudo` made in it is closed."""
    if sys.platform == "win32":
        pytest.skip("Windows has no folder that its mode closes to other users")
    var = Var(tmp_path / "var")
    var.runs.mkdir(mode=0, parents=True)
    user = os.geteuid()
    os.seteuid(user or 65534)  # Root may look into everything.
    try:
        for look in (
            lambda: read_records(var),
            lambda: find_run("latest", var),
            lambda: find_run("20251120_000000", var),
        ):
            with pytest.raises(Refusal, match="closed to this user"):
                look()
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("backtests", "backtests"),
        ("backtests", "backtests show latest"),
        ("backtests", "backtests prune"),
        ("backtests", "runs show 20251120_000000 20251120_000001"),
        ("backtests", "ready"),
        ("data", "list-data"),
        ("ai", "model list"),
    ],
)
def test_folder_of_another_user_is_refused_and_never_told_as_empty(
    folder: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an open `var` each folder that `sudo` made is closed, not empty."""
    if sys.platform == "win32":
        pytest.skip("Windows has no folder that its mode closes to other users")
    with tempfile.TemporaryDirectory() as place:  # `tmp_path` is closed to others as a whole.
        var = Path(place)
        var.chmod(0o755)
        arguments = parsed([*words.split(), "--var", place])
        guarded(arguments)  # Another user may not read the source, so it is read before.
        capsys.readouterr()
        (var / folder).mkdir(mode=0)
        user = os.geteuid()
        os.seteuid(user or 65534)  # Root may look into everything.
        try:
            code = guarded(arguments)
        finally:
            os.seteuid(user)

    assert code == 2
    assert f"{var / folder} is closed to this user" in capsys.readouterr().err


def test_stage_apply_looks_for_a_run_where_var_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative `--var` starts at the working folder here too: code never changes under a run."""
    locks: list[Path] = []

    def applied(project: Path, lock: Path) -> tuple[str, ...]:
        locks.append(lock)
        return ()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(staging, "apply", applied)

    assert guarded(parsed(["stage", "apply", "--var", "lab"])) == 0
    assert locks == [Var(tmp_path / "lab").lock]


@pytest.mark.parametrize("words", ["status", "runs", "profit", "prune --keep 3", "report"])
def test_file_as_var_is_refused_and_never_told_as_empty(tmp_path: Path, words: str) -> None:
    """`status` said that a run may start, though every start refuses a file; a flag is told."""
    var = Var(tmp_path / "var")
    var.root.touch()
    refused = verb(var.root, *words.split())
    var.flag_beside.touch()
    flagged = verb(var.root, "status")

    assert refused.code == 2
    assert f"{var.root} is a file" in refused.err
    assert flagged.code == 10


def test_night_takes_dry_run_for_granted() -> None:
    """A night accepts another bot's `--dry-run`, because it never trades in any other mode."""
    command = argparse.ArgumentParser()
    night.add_arguments(command)

    for words in (["-c", "x.json"], ["-c", "x.json", "--dry-run"]):
        assert command.parse_args(words).dry_run is True
    with pytest.raises(SystemExit):
        command.parse_args(["-c", "x.json", "--no-dry-run"])


def test_summary_names_no_file_that_does_not_exist_and_says_why_a_run_is_not_sealed(
    stopped_run: ShortRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A summary without run folder names no missing file and says why the run is not sealed."""
    run_dir = tmp_path / "var" / "runs" / stopped_run.run_id
    shutil.copytree(stopped_run.run_dir, run_dir)
    beside = tmp_path / "lost.STOP.flag"
    beside.touch()
    ended = Outcome(
        run_dir,
        10,
        "VAR_LOST",
        "it was moved",
        None,
        "no descriptor is left",
        ("the STOP stands beside it",),
        Var(tmp_path / "lost"),
    )

    assert judge(ended, proof=False, as_json=False) == 10
    text = capsys.readouterr().out
    assert judge(ended, proof=False, as_json=True) == 10
    document = json.loads(capsys.readouterr().out)

    assert "not sealed    no descriptor is left" in text
    assert "note          the STOP stands beside it" in text
    assert f"while {beside} exists" in text
    assert set(document["files"]) == {"run", "report"}
    assert (document["unsealed"], document["notes"]) == (
        "no descriptor is left",
        ["the STOP stands beside it"],
    )


@pytest.mark.parametrize("findings", [(), ("its folder was gone",)])
def test_summary_calls_no_former_run_interrupted_that_has_lost_files(
    stopped_run: ShortRun, capsys: pytest.CaptureFixture[str], findings: tuple[str, ...]
) -> None:
    """A former run without losses had been interrupted; the losses of another are listed."""
    former = FormerRun("20251120_000000", "", findings)
    ended = Outcome(stopped_run.run_dir, 10, "VAR_LOST", "it was moved", former)

    judge(ended, proof=False, as_json=False)
    text = capsys.readouterr().out

    assert ("was interrupted" in text) == (findings == ())
    assert ("its folder was gone" in text) == (findings != ())


def test_summary_of_a_run_whose_folder_is_gone_proves_nothing_and_names_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A lost run folder leaves nothing to verify; the summary says that it is not sealed."""
    ended = Outcome(
        tmp_path / "var" / "runs" / "20251120_000000", 10, "VAR_LOST", "x", None, "gone"
    )

    assert judge(ended, proof=True, as_json=False) == 10

    text = capsys.readouterr().out
    assert "not sealed    gone" in text
    assert "Files" not in text
    assert "verify" not in text.splitlines()[-1]


def test_stop_of_a_disk_that_answers_nothing_any_more_keeps_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pulled disk fails each look at its files: the STOP is told, and is not a mere refusal."""
    run_dir, stat = tmp_path / "var" / "runs" / "20251120_000000", os.stat

    def fail(path: Any, **words: Any) -> os.stat_result:
        if isinstance(path, str | os.PathLike) and Path(path).is_relative_to(tmp_path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), os.fspath(path))
        return stat(path, **words)

    monkeypatch.setattr(os, "stat", fail)
    code = judge(outcome(run_dir, 10, "VAR_LOST"), proof=True, as_json=False)

    assert code == 10
    assert "STOPPED by VAR_LOST" in capsys.readouterr().out
