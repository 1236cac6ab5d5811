"""Gates: each passes on a whole product and fails when its subject is broken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from minibot.cli import gate
from minibot.engine.role_replay import Recorded
from minibot.events.registry import Contracts
from minibot.gates import ai_isolation, atomic_io, runtime_smoke, schema
from minibot.gates.result import Finding, GateReport
from minibot.gates.smoke_run import SmokeRun, run_smoke
from minibot.kernel.errors import Refusal
from minibot.kernel.files import read_hashed, write_hashed
from minibot.kernel.seal import root_of
from minibot.replay.graph.lineage import verify_lineage
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.runs import ShortRun, verb

pytestmark = pytest.mark.campaign

PROJECT = Path(__file__).resolve().parents[2]


def failed(report: GateReport) -> list[str]:
    """Return the names of failed findings."""
    return [finding.name for finding in report.findings if not finding.passed]


def test_gate_that_looked_at_nothing_does_not_pass() -> None:
    """A gate without findings does not pass."""
    assert not GateReport("g", ()).passed
    assert GateReport("g", (Finding("a", True, ""),)).passed
    assert not GateReport("g", (Finding("a", True, ""), Finding("b", False, ""))).passed


@pytest.mark.process
@pytest.mark.row("N-94", "N-95", "N-96", "N-97", "N-98", "N-19", "N-15")
def test_runtime_smoke_names_the_queues_and_counts_what_happened(tmp_path: Path) -> None:
    """A short night passes the smoke gate, which counts all eight queues and kinds of events."""
    report = runtime_smoke.check(tmp_path / "lab")

    assert report.passed, report
    found = {finding.name: finding.detail for finding in report.findings}
    assert all(queue in found["queues"] for queue in runtime_smoke.BASE_QUEUES)
    assert found["no real orders"] == "order endpoint hits = 0"


@pytest.mark.process
@pytest.mark.row("N-94")
def test_runtime_smoke_of_a_night_that_cannot_start_fails_with_its_words(tmp_path: Path) -> None:
    """A night that is refused fails the smoke gate with exit code and last line."""
    report = runtime_smoke.check(tmp_path / "lab", ["duration_ms=-5"])

    (ended,) = report.findings
    assert (ended.name, ended.passed, report.passed) == ("ends by itself", False, False)
    assert ended.detail.startswith("exit 4: ")


def test_runtime_smoke_that_left_no_run_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night that says that it ended well, and left no record, proves nothing."""
    silent = SmokeRun(0, "all is well", None)
    monkeypatch.setattr(runtime_smoke, "run_smoke", lambda lab, sets: silent)

    report = runtime_smoke.check(tmp_path / "lab")

    assert not report.passed
    assert failed(report) == ["run folder"]


@pytest.mark.process
@pytest.mark.row("N-97")
def test_runtime_smoke_without_ticks_fails(tmp_path: Path) -> None:
    """A silent exchange gives no tick and fails the smoke gate."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps([{"at_ms": 0, "name": "stall", "ms": 600_000}]))
    sets = [f"embedded.faults={faults}", "embedded.speed=20", "duration_ms=30000"]

    report = runtime_smoke.check(tmp_path / "lab", sets)

    assert not report.passed
    assert "market_tick events" in failed(report), report
    assert "health events" not in failed(report)


BASE_QUEUES = (
    "market_ticks", "signals", "risk_actions", "order_intents", "order_results", "fills", "health",
    "stop_journal",
)  # fmt: skip


@pytest.mark.row("N-95")
@pytest.mark.parametrize("queue", BASE_QUEUES)
def test_run_without_one_base_queue_is_found_by_the_smoke_gate(
    short_run: ShortRun, tmp_path: Path, queue: str
) -> None:
    """Each missing base queue is named by the smoke gate, and no other."""
    copy = tmp_path / "run"
    shutil.copytree(short_run.run_dir, copy)
    assert next(runtime_smoke.judge(copy)).passed
    shutil.rmtree(copy / "queues" / queue)

    finding = next(runtime_smoke.judge(copy))

    assert (finding.name, finding.passed) == ("queues", False)
    assert finding.detail == f"missing: ['{queue}']"


@pytest.mark.row("N-97", "N-15")
def test_smoke_gate_asks_for_an_event_of_each_kind(short_run: ShortRun) -> None:
    """The smoke gate has a finding each for ticks, health and every link of the chain."""
    found = {finding.name for finding in runtime_smoke.judge(short_run.run_dir)}

    assert {f"{kind} events" for kind in (
        "market_tick", "signal", "risk_action", "order_intent", "order_result", "fill", "health",
        "stop_journal",
    )} <= found  # fmt: skip


@pytest.mark.row("N-98")
@pytest.mark.parametrize(("calls", "is_fine"), [(0, True), (1, False), (None, False)])
def test_order_call_that_the_seal_counts_is_found_by_the_smoke_gate(
    short_run: ShortRun, tmp_path: Path, calls: int | None, is_fine: bool
) -> None:
    """One call of the order endpoint, or a missing count of them, fails the smoke gate."""
    copy = tmp_path / "run"
    shutil.copytree(short_run.run_dir, copy)
    seal = read_hashed(copy / "seal.json")
    fields = {} if calls is None else {"order_calls": calls}
    seal["extra"] = {k: v for k, v in seal["extra"].items() if k != "order_calls"} | fields
    write_hashed(copy / "seal.json", seal | {"root": root_of(seal)})

    (finding,) = (f for f in runtime_smoke.judge(copy) if f.name == "no real orders")

    assert finding.passed is is_fine


def damaged_copy(run: ShortRun, tmp_path: Path, queue: str, old: bytes, new: bytes) -> Path:
    """Return a copy of the short run with one text of a queue replaced and old hashes."""
    copy = tmp_path / "run"
    shutil.copytree(run.run_dir, copy)
    inbox = copy / "queues" / queue / "inbox.jsonl"
    data = inbox.read_bytes()
    assert old in data
    inbox.write_bytes(data.replace(old, new, 1))
    return copy


@pytest.mark.row("N-96", "N-123", "N-105")
def test_run_with_one_changed_byte_is_found_by_what_the_smoke_gate_asks(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The gate names the damage of a run with one changed byte."""
    copy = damaged_copy(short_run, tmp_path, "fills", b'"price":"', b'"price":"9')
    findings = [finding for finding in runtime_smoke.judge(copy) if not finding.passed]

    assert "sha256 lines" in [finding.name for finding in findings]


def test_schema_gate_fails_on_a_run_that_cannot_be_read(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A damaged run has a verdict too: without one, that of an earlier run would stand."""
    copy = damaged_copy(short_run, tmp_path, "fills", b'"price":"', b'"price":"9')

    report = schema.check(copy)

    assert not report.passed
    assert report.findings[-1].name == "readable"
    assert report.findings[-1].detail.startswith("QUEUE_CORRUPT: ")


@pytest.mark.row("N-99", "N-93", "N-42")
def test_schema_gate_passes_on_a_run_and_fails_without_a_contract(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The schema gate passes on a run, and fails for a contract that allows too much."""
    assert schema.check(short_run.run_dir).passed
    recorded = Contracts.of_project()
    _, event = next(Recorded.open(short_run.run_dir).events("fills"))
    envelope = event.to_json()
    assert schema.is_valid(recorded, envelope)
    # An impossible time in the contract's form.
    assert not schema.is_valid(recorded, envelope | {"run_id": "20261332_256161"})

    contracts = tmp_path / "contracts"
    shutil.copytree(PROJECT / "contracts", contracts)
    (contracts / "fill.v1.schema.json").unlink()
    assert not schema.check(short_run.run_dir, contracts).passed


@pytest.mark.row("N-120")
@pytest.mark.parametrize("is_by_this_code", [True, False])
def test_schema_gate_judges_no_run_of_other_code(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_by_this_code: bool
) -> None:
    """A run left by other code says nothing about this one: a new one is made."""
    left = tmp_path / runtime_smoke.NAME / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, left)
    code = Manifest.load(left).code_sha256 if is_by_this_code else "0" * 64
    made: list[Path] = []
    judged: list[Path] = []

    def smoke(lab: Path) -> GateReport:
        made.append(lab)
        return GateReport(runtime_smoke.NAME, ())

    def judge(run_dir: Path) -> GateReport:
        judged.append(run_dir)
        return GateReport(schema.NAME, (Finding("a run", True, ""),))

    monkeypatch.setattr(runtime_smoke, "check", smoke)
    monkeypatch.setattr(schema, "check", judge)
    monkeypatch.setattr(gate, "code_sha256", lambda _project: code)

    report = gate.GATES[schema.NAME](tmp_path)

    assert report.passed is is_by_this_code
    assert judged == ([left] if is_by_this_code else [])
    assert made == ([] if is_by_this_code else [tmp_path / runtime_smoke.NAME])


@pytest.mark.row("N-120")
@pytest.mark.parametrize("judged", [None, True])
@pytest.mark.parametrize("is_changed", [False, True])
def test_gate_during_which_the_code_changed_proves_neither_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_changed: bool, judged: bool | None
) -> None:
    """A gate's verdict names the code from before it, and fails if that is no longer the code."""
    saved = ["a"]

    def work(lab: Path) -> GateReport:
        saved.append("b" if is_changed else "a")
        return GateReport("schema", (Finding("a run", True, ""),), judged=judged)

    monkeypatch.setitem(gate.GATES, "schema", work)
    monkeypatch.setattr(gate, "code_sha256", lambda _project: saved[-1])

    done = verb(tmp_path, "gate", "schema")

    kept = read_hashed(Var(tmp_path).lab / "gates" / "schema.json")
    assert (kept["passed"], kept["code_sha256"]) == (not is_changed, "a")
    assert done.code == is_changed
    assert [found["name"] for found in kept["findings"] if not found["passed"]] == (
        ["code"] if is_changed else []
    )


def test_gate_that_breaks_off_leaves_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict of an earlier pass does not outlive a gate that raises."""

    def work(lab: Path) -> GateReport:
        return GateReport("schema", (Finding("a run", True, ""),))

    def broken(lab: Path) -> GateReport:
        raise Refusal("the disk is gone.", "Look for it.")

    kept = Var(tmp_path).lab / "gates" / "schema.json"
    monkeypatch.setattr(gate, "code_sha256", lambda _project: "a")
    monkeypatch.setitem(gate.GATES, "schema", work)
    assert verb(tmp_path, "gate", "schema").code == 0
    assert kept.exists()

    monkeypatch.setitem(gate.GATES, "schema", broken)

    assert verb(tmp_path, "gate", "schema").code != 0
    assert not kept.exists()


@pytest.mark.parametrize(("validator", "answer"), [("validate", True), ("explain", [])])
def test_schema_gate_fails_where_one_of_the_two_validators_accepts_too_much(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch, validator: str, answer: object
) -> None:
    """A validator that accepts everything fails the gate, whatever the other one refuses."""
    monkeypatch.setattr(Contracts, validator, lambda _contracts, _envelope: answer)

    report = schema.check(short_run.run_dir)

    assert {"fill contract", "market_tick contract"} <= set(failed(report))


@pytest.mark.process
@pytest.mark.row("N-102", "N-05", "N-69")
def test_atomic_io_gate_passes_here_and_fails_on_a_planted_plain_write(tmp_path: Path) -> None:
    """The atomic write gate names file and line of a planted plain `open(..., "w")`."""
    assert atomic_io.check(tmp_path / "lab", kills=20).passed

    tree = tmp_path / "minibot"
    shutil.copytree(
        PROJECT / "minibot", tree, ignore=shutil.ignore_patterns("__pycache__", "tapes")
    )
    planted = (
        'open("x", "w")',
        'open("x", mode="a")',
        'from pathlib import Path\n\nPath("x").write_text("y")',
        'import os\n\nos.replace("x", "y")',
        'import os\n\nos.open("x", os.O_WRONLY | os.O_CREAT)',
        'import os\n\nos.open("x", flags=os.O_RDWR)',
        'import os\n\nflags = os.O_WRONLY\nos.open("x", flags)',
        'import os\nfrom os import O_APPEND\n\nos.open("x", O_APPEND)',
        'import os\n\nos.open("x", os.O_RDONLY | os.O_TRUNC)',
        'mode = "w"\n\nopen("x", mode)',
        'import gzip\n\ngzip.open("x", "wt")',
        'import tarfile\n\nname = "x"\ntarfile.open(name, "w")',
        'import zipfile\n\nzipfile.ZipFile("x", "w")',
        'from gzip import GzipFile\n\nGzipFile("x", mode="wb")',
        'import numpy as np\n\nnp.save("x", np.zeros(1))',
        'import numpy as np\n\nnp.zeros(1).tofile("x")',
        'import os\n\nos.link("x", "y")',
        'import shutil\n\nshutil.copyfile("x", "y")',
        'from pathlib import Path\n\nPath("x").rename("y")',
        'from pathlib import Path\n\nPath("x").replace("y")',
    )
    for number, text in enumerate(planted):
        (tree / "risk" / f"planted_{number:02}.py").write_text(text + "\n")
    reading = 'os.open("x", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))'
    unpacking = 'zipfile.ZipFile("x")\ntarfile.open(name, "r:gz")'
    text = f"import os\nimport tarfile\nimport zipfile\n\n{reading}\n{unpacking}\n"
    (tree / "risk" / "reading.py").write_text(text)

    found = list(atomic_io.writers_outside(tree))

    named = [line.partition(":")[0] for line in found]
    assert sorted(named) == [f"minibot/risk/planted_{n:02}.py" for n in range(len(planted))]


def test_search_that_found_no_source_does_not_pass(tmp_path: Path) -> None:
    """A folder that has moved away leaves nothing to search, which proves nothing."""
    assert list(atomic_io.writers_outside(tmp_path)) == [f"no source in {tmp_path}"]
    found = list(ai_isolation.check_sources(tmp_path))
    assert [(one.passed, one.detail) for one in found] == [(False, f"no source in {tmp_path}")] * 2


@pytest.mark.process
@pytest.mark.row("N-05")
def test_writer_that_is_not_atomic_is_caught_by_the_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer in place leaves a file that fails its own hash after a kill."""

    def in_place(path: Path, content: dict[str, object]) -> int:
        with open(path, "w") as file:
            for _ in range(400):
                file.write("x" * 1000)
                file.flush()
        return 1

    monkeypatch.setattr(atomic_io, "write_hashed", in_place)
    assert not atomic_io.kill_writers(tmp_path / "lab", 5).passed


@pytest.mark.process
@pytest.mark.row("N-05")
def test_writer_that_never_writes_is_no_proof(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that never writes proves nothing and fails the gate."""

    def never(path: Path, content: dict[str, object]) -> int:
        threading.Event().wait()
        return 0

    calls = iter([write_hashed])  # Written by the test before the first writer.
    monkeypatch.setattr(atomic_io, "write_hashed", lambda *words: next(calls, never)(*words))
    monkeypatch.setattr(atomic_io, "BEGIN_S", 0.1)

    found = atomic_io.kill_writers(tmp_path / "lab", 5)

    assert not found.passed
    assert "wrote nothing" in found.detail


@pytest.mark.row("N-04", "N-29")
def test_every_event_of_a_run_has_one_run_id_and_an_allowed_cause(short_run: ShortRun) -> None:
    """Every event of a run has one run id and an allowed cause."""
    recorded = Recorded.open(short_run.run_dir)

    assert list(verify_lineage(recorded)) == []
    run_ids = {
        event.run_id for queue in recorded.roles.queues for _, event in recorded.events(queue)
    }
    assert run_ids == {recorded.manifest.run_id}


@pytest.mark.parametrize("start", ["smoke", "order"])
def test_variables_of_the_caller_change_no_run_of_a_gate(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate judges the product: a caller's key, which would refuse the start, does not count."""
    seen: list[dict[str, str]] = []

    def launched(argv: list[str], **words: Any) -> subprocess.CompletedProcess[Any]:
        seen.append(words["env"])
        empty: Any = "" if words.get("text") else b""
        return subprocess.CompletedProcess(argv, 4, empty, empty)

    monkeypatch.setenv("MINIBOT__NO__SUCH_KEY", "1")
    monkeypatch.setenv("minibot__risk__order_notional", "1")
    monkeypatch.setattr(subprocess, "run", launched)

    if start == "smoke":
        run_smoke(tmp_path / "lab", [])
    else:
        ai_isolation._order_ends_run(tmp_path / "lab")

    (environ,) = seen
    assert environ["PATH"] == os.environ["PATH"]
    assert not [name for name in environ if name.upper().startswith("MINIBOT__")]
