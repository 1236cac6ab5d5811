"""Run status: one clear sentence for each kind of incomplete or damaged run."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import filelock
import pytest

from minibot.engine.grouped_replay import Group, Task, replay_group
from minibot.engine.recorded_run import Recorded
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.files import write_hashed
from minibot.replay import proof as proving
from minibot.replay import run_status as condition
from minibot.replay.proof import prove
from minibot.replay.run_status import open_run
from minibot.runtime.paths import PROJECT, Var
from minibot.watchdog.recovery import clear_former_run
from tests.replay.damaged import copy_of, flip, forge, in_segments, in_var, manifest_says
from tests.runs import ShortRun, raw_events, verb


@pytest.mark.row("S-50")
def test_run_that_is_still_going_is_proven_up_to_what_its_roles_have_done(
    short_run: ShortRun, var_dir: Path
) -> None:
    """A running run is proven up to its roles' cursors, with a notice."""
    in_var(short_run, var_dir)
    cursor = var_dir / "queues/market_ticks/cursor.json"
    done = json.loads(cursor.read_bytes())
    write_hashed(cursor, {**done, "seq": 500}, generation=done["generation"] + 1)

    with filelock.FileLock(str(var_dir / "run.lock")):
        ended = verb(var_dir, "replay")
        document = verb(var_dir, "replay", "--json").document
        # Its two passes would see two markets, and blame the changed key for the difference.
        changed = verb(var_dir, "replay", "--set", "risk.positions_max=1")

    assert changed.code == 2
    assert "is still going" in changed.err
    assert ended.code == 0, ended.err
    assert "is still going" in ended.out
    assert document["state"] == "running"
    inputs = {role["role"]: role["inputs"] for role in document["roles"]}
    assert inputs["strategy_role"] < inputs["risk_role"]


def test_run_that_was_interrupted_is_proven_up_to_its_last_logged_inputs(
    short_run: ShortRun, var_dir: Path
) -> None:
    """An interrupted run without seal and lock is proven up to its last logged inputs."""
    in_var(short_run, var_dir)

    done = verb(var_dir, "replay")

    assert done.code == 0, done.err
    assert "was interrupted" in done.out
    assert "identical" in done.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"v": 2}, "was made by a newer minibot: its format is 2, this one reads 1."),
        ({"v": 0}, "was made by an older minibot: its format is 0, this one reads 1."),
        ({"opening": None}, "was made by an older minibot: its manifest does not say opening."),
    ],
)
def test_run_of_another_format_is_refused_with_what_can_still_be_done(
    fields: dict[str, object], sentence: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A run of another format is refused with exit 2 and a remedy."""
    copied = copy_of(short_run, tmp_path)
    manifest_says(copied, **fields)

    for words in (("replay", str(copied)), ("explain", str(copied), "--at", "18:00:10")):
        done = verb(tmp_path, *words)

        assert done.code == 2
        assert sentence in done.err
        assert f"minibot verify --append-only {copied}" in done.err
        assert len(done.err.splitlines()) == 1


def test_run_made_by_other_code_is_a_notice_when_it_is_identical(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run of other code that replays identically exits 0 and names both hashes."""
    copied = copy_of(short_run, tmp_path)
    manifest_says(copied, code_sha256="ab" * 32)

    done = verb(tmp_path, "replay", str(copied))
    changed = verb(tmp_path, "replay", str(copied), "--set", "risk.positions_max=1")

    assert (done.code, changed.code) == (0, 0), done.out
    for each in (done, changed):
        assert "made by other code (abababababab then, " in each.out


def test_one_changed_byte_ends_the_replay_there_and_says_what_can_still_be_proven(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """One changed byte exits 1 with file and line, and names a time that replays with 0."""
    copied = copy_of(short_run, tmp_path)
    middle = len(raw_events(short_run.run_dir, "market_ticks")) * 3 // 4
    flip(copied / "queues/market_ticks/inbox.jsonl", middle, b'"ts":')

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    assert f"inbox.jsonl, line {middle}, " in done.out
    assert "NOT PROVEN beyond " in done.out.splitlines()[-1]
    remedy = next(line for line in done.out.splitlines() if "--until" in line)
    until = remedy.rpartition(" ")[2]
    again = verb(tmp_path, "replay", str(copied), "--until", until)
    assert again.code == 0, again.out
    assert f"minibot verify {copied}" in done.out
    assert remedy.strip().startswith(f"what lies before it can be proven: minibot replay {copied} ")
    # Some decisions were not recomputed, so there is no digest of all.
    assert "digest" not in done.out.splitlines()[-1]
    assert verb(tmp_path, "replay", str(copied), "--json").document["digest"] is None


def test_remedies_call_a_run_by_its_id_only_where_that_finds_the_same_run(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remedy names a copy by its path, because its id would find the original."""
    copied = copy_of(short_run, tmp_path)
    monkeypatch.setattr(
        condition, "resolve", lambda text: short_run.run_dir.parents[1] if text == "var" else None
    )

    assert condition.called(short_run.run_dir) == short_run.run_id
    assert condition.called(copied) == str(copied)


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "--at", "18:00:50"),
        ("parity",),
        ("diff", "OTHER"),
        ("backtest", "--source", "run:RUN", "--no-keep", "--fills", "touch"),
        ("replay", "--set", "strategy.rsi_period=21"),
    ],
)
def test_damage_is_told_with_what_can_still_be_done_by_every_verb_that_reads_a_run(
    words: tuple[str, ...], short_run: ShortRun, tmp_path: Path
) -> None:
    """Each verb on a damaged run exits 1 with the place and a remedy."""
    copied = copy_of(short_run, tmp_path)
    middle = len(raw_events(short_run.run_dir, "market_ticks")) // 4
    flip(copied / "queues/market_ticks/inbox.jsonl", middle, b'"ts":')
    lines = [word.replace("RUN", str(copied)) for word in words]
    lines = [word.replace("OTHER", str(short_run.run_dir)) for word in lines]
    if words[0] != "backtest":
        lines.insert(1, str(copied))

    done = verb(tmp_path, *lines)

    assert done.code == 1
    assert f"inbox.jsonl, line {middle}, " in done.err
    assert f"minibot verify {copied}; up to when it can be proven: minibot replay {copied}" in (
        done.err
    )


def test_run_that_lacks_a_segment_names_it_and_can_be_replayed_up_to_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A missing segment is named by number, file and lines, and the run replays up to it."""
    copied = copy_of(short_run, tmp_path)
    sealed = in_segments(copied, "market_ticks", 128 << 10)
    assert len(sealed) >= 3
    sealed[1].unlink()

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    line = next(line for line in done.out.splitlines() if line.startswith("lost: "))
    assert f"market_ticks lacks segment 2 of {len(sealed) + 1} (inbox.000002.jsonl, lines " in line
    until = next(line for line in done.out.splitlines() if "--until" in line).rpartition(" ")[2]
    again = verb(tmp_path, "replay", str(copied), "--until", until)
    assert again.code == 0, again.out


def test_run_that_lacks_a_segment_behind_a_damaged_line_is_replayed_up_to_that_line(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The loss is named with the time of the last event before it that can be read."""
    copied = copy_of(short_run, tmp_path)
    sealed = in_segments(copied, "market_ticks", 128 << 10)
    sealed[1].unlink()
    last = len(sealed[0].read_bytes().splitlines())
    flip(sealed[0], last - 2, b'"ts":')
    ts = raw_events(short_run.run_dir, "market_ticks")[last - 4]["ts"]
    clock = f"{datetime.fromtimestamp(ts // 1000, UTC):%H:%M:%S}.{ts % 1000:03d}"

    done = verb(tmp_path, "replay", str(copied))

    assert (done.code, done.err) == (1, "")
    line = next(line for line in done.out.splitlines() if line.startswith("lost: "))
    assert line.endswith(f"what is before it ends at {clock} UTC.")
    assert f"inbox.000001.jsonl, line {last - 2}, " in done.out
    assert "NOT PROVEN beyond " in done.out.splitlines()[-1]


def test_opening_that_breaks_its_contract_is_told_with_its_place_and_proves_nothing(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Such as that of a run by other contracts: a verdict as of a damaged line, and a remedy."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, "control", 1, lambda event: event.update(payload={}))

    done = verb(tmp_path, "replay", str(copied))
    why = verb(tmp_path, "explain", str(copied))

    assert (done.code, done.err) == (1, "")
    assert "after input 0: SCHEMA_INVALID: control: " in done.out
    assert "NOT PROVEN beyond " in done.out.splitlines()[-1]
    assert (why.code, why.out) == (1, "")
    assert "SCHEMA_INVALID: " in why.err
    assert "control/inbox.jsonl, line 1: control: " in why.err
    assert f"minibot verify {copied}; up to when it can be proven: minibot replay" in why.err


def test_damaged_manifest_is_one_line_and_exit_1(short_run: ShortRun, tmp_path: Path) -> None:
    """A damaged manifest is one line and exit 1."""
    copied = copy_of(short_run, tmp_path)
    path = copied / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"seed":', b'"seed": '))

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    assert "manifest.json" in done.err
    assert done.err.strip().endswith(f"All damage with its places: minibot verify {copied}")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [("--from", "03:00"), ("--to", "25:00"), ("--until", "nonsense"), ("--zone", "Mars/Olympus")],
)
def test_time_that_the_run_does_not_have_is_refused_with_its_span(
    words: tuple[str, ...], short_run: ShortRun
) -> None:
    """A time outside the run is refused with the run's span."""
    done = verb(short_run.var, "replay", *words)

    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    if words[1] == "03:00":
        last = max(event["ts"] for event in raw_events(short_run.run_dir, "market_ticks"))
        end = datetime.fromtimestamp(last // 1000, UTC)
        assert f"It goes from 2025-01-06 18:00:00 to {end:%H:%M:%S}" in done.err


@pytest.mark.parametrize(
    "words", [("replay",), ("explain", "--why-not", "BUY")], ids=["replay", "why-not"]
)
@pytest.mark.parametrize("last", ["18:00:20", "18:00:30"])
def test_time_that_ends_before_it_begins_is_refused_and_not_answered_with_nothing(
    words: tuple[str, ...], last: str, short_run: ShortRun
) -> None:
    """A range that ends before it begins is refused, not answered with `0 decisions`."""
    done = verb(short_run.var, *words, "--from", "18:00:30", "--to", last)

    assert done.code == 2
    assert f"{last} is not after 18:00:30" in done.err


@pytest.mark.row("N-121", "D-51")
def test_proof_of_a_finished_run_covers_books_and_figures(short_run: ShortRun) -> None:
    """A finished run's proof covers lots, trades, entries, hourly states and all metrics."""
    proof = prove(*open_run(short_run.run_dir))

    assert proof.is_identical
    assert proof.ledger is not None
    assert proof.figures is not None
    fills = raw_events(short_run.run_dir, "fills")
    assert proof.ledger.lots == sum(event["payload"]["side"] == "BUY" for event in fills)
    assert proof.ledger.trades >= 1
    assert proof.ledger.states == 1
    assert proof.ledger.is_recorded
    assert proof.figures.is_recorded
    assert proof.figures.figures > 40


def killed_beside(
    task: Task, progress: Callable[[int, int], None] = lambda done, whole: None
) -> Group:
    """Replay roles in the first process alone; end every other at once."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return replay_group(task, progress)


@pytest.mark.process
def test_proof_goes_on_alone_where_its_second_process_dies(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay has no `--jobs`, so it cannot send its reader there when memory is short."""
    recorded, status = open_run(short_run.run_dir)
    alone = prove(recorded, status)
    monkeypatch.setattr(proving, "replay_group", killed_beside)

    proof = prove(recorded, status, jobs=2)

    assert proof.is_identical
    assert proof.to_json() == alone.to_json()


@pytest.mark.row("D-52")
def test_run_that_was_interrupted_gets_its_hourly_states_when_it_is_recovered(
    short_run: ShortRun, var_dir: Path
) -> None:
    """An interrupted run gets its missing hourly states at recovery, with the same bytes."""
    run_dir = in_var(short_run, var_dir)
    path = run_dir / "hourly_state.jsonl"
    before = path.read_bytes()
    path.unlink()
    contracts = Contracts.of_project()

    clear_former_run(Var(var_dir), contracts, Roles.load(PROJECT / "config" / "roles.v1.json"))

    assert path.read_bytes() == before
    seal = json.loads((run_dir / "seal.json").read_bytes())
    assert seal["extra"]["state"] == "interrupted"
    assert "hourly_state.jsonl" in seal["run_files"]
    done = verb(var_dir, "replay")
    assert done.code == 0, done.out
    assert "1 closing equal" in done.out


@pytest.mark.row("D-51", "D-52")
def test_run_that_was_stopped_is_identical_with_its_books(stopped_run: ShortRun) -> None:
    """A stopped run is identical, with its open lots in the last hourly state."""
    done = verb(stopped_run.var, "replay", "--json")

    assert done.code == 0, done.out
    assert done.document["state"] == "stopped"
    ledger = done.document["ledger"]
    assert ledger["recorded"]
    assert ledger["identical"]
    assert ledger["hourly_states"] == 1
    assert verb(stopped_run.var, "replay", "--graph").code == 0


def test_second_of_a_run_that_is_still_going_can_be_asked(
    short_run: ShortRun, var_dir: Path
) -> None:
    """A second of a running run can be explained."""
    in_var(short_run, var_dir)

    with filelock.FileLock(str(var_dir / "run.lock")):
        done = verb(var_dir, "explain", "--at", "18:00:30")

    assert done.code == 0, done.err
    assert "BTCUSDT: " in done.out


def test_run_whose_seal_was_broken_off_is_read_whole(short_run: ShortRun, var_dir: Path) -> None:
    """Its folder has a part of the queues, as its launcher died linking them; `var` has all."""
    folder = in_var(short_run, var_dir)
    shutil.copytree(var_dir / "queues" / "control", folder / "queues" / "control")

    recorded = Recorded.open(folder)

    wanted = Recorded.open(short_run.run_dir)
    assert [*recorded.events("fills")] == [*wanted.events("fills")]
    write_hashed(var_dir / "current.json", {"run_id": "20260105_200000"}, generation=2)
    assert recorded.queues == folder / "queues"
