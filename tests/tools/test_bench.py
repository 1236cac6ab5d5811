"""Frame of the benchmark, and the same work for every store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.bench import backtest, journal, peers, worker, workload
from tools.bench.__main__ import main
from tools.bench.frame import Limit, Measure, lines
from tools.bench.peer_stores import PEER_STORES
from tools.bench.stores import STORES


@pytest.mark.parametrize(
    ("limit", "value", "verdict"),
    [
        (Limit(1.0, 1.5), 0.99, "NOT MET"),
        (Limit(1.0, 1.5), 1.0, "must met"),
        (Limit(1.0, 1.5), 1.5, "goal met"),
        (Limit(60, 20, is_most=True), 60.1, "NOT MET"),
        (Limit(60, 20, is_most=True), 60, "must met"),
        (Limit(60, 20, is_most=True), 20, "goal met"),
    ],
)
def test_limit_judges_a_figure_on_its_own_side(limit: Limit, value: float, verdict: str) -> None:
    """A figure at the limit meets it, in either direction."""
    assert Measure("J0", "a", value, "x", limit).verdict == verdict


def test_report_ends_with_what_was_missed_and_what_was_not_measured() -> None:
    """The report's last line names missed and unmeasured figures."""
    measures = [
        Measure("J1", "a", 2.0, "x", Limit(1, 1.5)),
        Measure("J2", "b", None, "x", Limit(1, 1.5), notes=["redis: no server"]),
        Measure("J3", "c", 0.1, "x", Limit(1, 1.5), {"c": [0.1, 0.2]}),
    ]
    report = lines({"bench": "journal"}, measures)

    assert report[-1] == "3 measures: 1 met, not met: J3, not measured: J2"
    assert any("redis: no server" in line for line in report)
    assert any("0.15 (0.1-0.2), 2 samples" in line for line in report)


def test_report_counts_each_measure_of_a_row() -> None:
    """Two measures of one row that are missed are two, and the row is named once."""
    limit = Limit(1.0, 0.0, is_most=True)
    measures = [Measure("O7", name, value, "", limit) for name, value in (("a", 2), ("b", 3))]

    assert lines({}, measures)[-1] == "2 measures: 0 met, not met: O7"


@pytest.mark.process
def test_backtest_of_the_benchmark_is_a_process_of_its_own_that_says_what_came_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """B2 over a few ticks prints events, fills and a figure for each run."""
    monkeypatch.setattr(backtest, "MILLION", 3000)

    crossing, rare = backtest.b2(backtest.Plan(False, 2, False, tmp_path, core=0))

    assert crossing.value is not None
    assert crossing.value > 0
    assert [len(runs) for runs in crossing.samples.values()] == [2, 2, 2]
    assert [line.split(" equity")[0] for line in (*crossing.notes, *rare.notes)] == [
        "3,062 events, 40 fills,",
        "3,062 events, 0 fills,",
    ]


def test_events_of_the_benchmark_have_380_bytes_and_ids_of_their_own() -> None:
    """An event has 380 bytes; a real one is as long as BTCUSDT's."""
    codec = workload.codec()
    small = [codec.encode(workload.TICKS, event) for event in workload.ticks(300)]
    real = [codec.encode(workload.TICKS, event) for event in workload.ticks(300, is_real=True)]

    assert {len(event) for event in small} == {workload.EVENT_BYTES}
    assert len(set(small)) == 300
    assert {len(event) for event in real} == {447}


@pytest.mark.process
@pytest.mark.parametrize("store", sorted(STORES))
def test_each_store_of_our_own_holds_what_it_was_given(store: str, tmp_path: Path) -> None:
    """Each of our own stores holds every event."""
    task = {"store": store, "folder": str(tmp_path / "at"), "batch": 16, "seconds": 0.1}
    answer = worker.call("append", task)

    assert answer["events"] > 0
    assert answer["events"] % 16 == 0


def test_journal_and_floor_write_the_same_bytes(tmp_path: Path) -> None:
    """Journal and floor write the same bytes."""
    codec = workload.codec()
    batch = [codec.encode(workload.TICKS, event) for event in workload.ticks(20)]
    for name in ("journal", "floor"):
        (tmp_path / name).mkdir()
        store = STORES[name](tmp_path / name)
        store.append(batch)
        assert store.count() == 20
        store.close()
    inbox = tmp_path / "journal" / workload.TICKS / "inbox.jsonl"

    assert inbox.read_bytes() == (tmp_path / "floor" / "floor.jsonl").read_bytes()


@pytest.mark.process
def test_case_that_fails_tells_its_last_words(tmp_path: Path) -> None:
    """A failed case passes its last output on."""
    with pytest.raises(worker.WorkerFailed, match="no_such_store"):
        worker.call(
            "append", {"store": "no_such_store", "folder": str(tmp_path), "batch": 1, "seconds": 0}
        )


def test_peers_that_cannot_be_had_are_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that is not available is named with the reason."""

    def refuse(*_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(peers, "HOME", tmp_path)
    monkeypatch.setattr(peers, "_run", refuse)
    monkeypatch.setattr("venv.create", lambda *_, **__: None)
    found = peers.set_up()
    plan = journal.Plan(peers=found)

    assert not any(found.has(peer) for peer in PEER_STORES)
    for rival in journal.RIVALS:
        assert "no network" in journal._why_absent(plan, rival)


@pytest.mark.process
def test_bench_of_one_measure_prints_a_document_with_all_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON document has machine, disk, versions and all samples; the exit code judges."""
    monkeypatch.setattr(journal, "SINGLE_EVENTS", 80)
    where = ["--folder", str(tmp_path)]
    code = main(["journal", "--only", "J4", "--repeats", "2", "--json", *where])
    document = json.loads(capsys.readouterr().out)
    (measure,) = document["measures"]

    assert {"bench", "command", "machine", "system", "disk", "pace", "versions"} <= document.keys()
    assert "sync p50" in document["disk"]
    assert measure["id"] == "J4"
    assert len(measure["samples"]["ratio"]) == 2
    assert measure["must"] == 1.5
    assert code == (measure["verdict"] == "NOT MET")
