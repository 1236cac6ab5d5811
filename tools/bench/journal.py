"""Journal bench: speed of events in, through and out, beside the stores that people use instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tools.bench import peers, worker
from tools.bench.frame import Limit, Measure, median, percentile
from tools.bench.machine import FOLDER
from tools.bench.peer_stores import PEER_STORES

HELP: Final = "the journal: append, read, verify, wake-up, memory (J1 to J9)"
BATCHES: Final = (256, 4_096)
APPEND_S: Final = 0.5
OWN_STORES: Final = ("journal", "journal_in_turn", "floor", "sqlite_full")
# Both sync before they acknowledge, as ours does.
RIVALS: Final = ("redis_always", "jetstream_sync")
SINGLE_EVENTS: Final = 2_000
READ_LINES: Final = 524_288
PLAIN_REPEATS: Final = 2
VERIFY_LINES: Final = 1_048_576
NIGHT_LINES: Final = 25_000_000
HOPS: Final = 2_000
WRITERS: Final = 8
FLEET_BATCH: Final = 256
FLEET_S: Final = 1.5
GROW_LINES: Final = 10_000_000


@dataclass(slots=True)
class Plan:
    """Plan of a run of the benchmark, and figures that several measures share.

    Attributes:
        repeats: Repetitions of each case, interleaved where cases are compared.
        is_real: True for events with figures as long as BTCUSDT's instead of 380 bytes.
        is_full: True for J6 over all 25 million lines instead of a scaled part.
        folder: Folder of all files.
        peers: Peers to compare with; None without `--peers`.
        rates: Events a second by batch and store, once measured.
    """

    repeats: int = 5
    is_real: bool = False
    is_full: bool = False
    folder: Path = FOLDER
    peers: peers.Peers | None = None
    rates: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def scratch(self, name: str) -> Path:
        """Return an empty folder for one measure."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


# --- append, beside others ----------------------------------------------------------------------


def appended(plan: Plan, batch: int) -> dict[str, list[float]]:
    """Return events a second by store, the repetitions interleaved; measured once."""
    if batch not in plan.rates:
        stores = list(OWN_STORES)
        if plan.peers is not None:
            stores += ["sqlite_normal", *(peer for peer in PEER_STORES if plan.peers.has(peer))]
        rates: dict[str, list[float]] = {store: [] for store in stores}
        for _ in range(plan.repeats):
            for store in stores:
                rates[store] += _append(plan, store, batch)
        plan.rates[batch] = {store: found for store, found in rates.items() if found}
    return plan.rates[batch]


def _append(plan: Plan, store: str, batch: int) -> list[float]:
    """Return one sample of a store; none, with a note, where a peer fails."""
    task = {
        "store": store,
        "folder": str(plan.folder / "append"),
        "batch": batch,
        "seconds": APPEND_S,
        "is_real": plan.is_real,
    }
    is_peer = store in PEER_STORES
    python = plan.peers.python if is_peer and plan.peers is not None else None
    environ = plan.peers.environ if is_peer and plan.peers is not None else {}
    try:
        return [_rate(worker.call("append", task, python, environ))]
    except worker.WorkerFailed as error:
        if not is_peer:
            raise
        plan.notes.append(f"{store} at batch {batch}: {error}")
        return []


def _ratio(plan: Plan, id_: str, name: str, limit: Limit, rivals: tuple[str, ...]) -> list[Measure]:
    """Return the journal's rate over the fastest of some rivals, for each size of batch."""
    measures = []
    for batch in BATCHES:
        rates = appended(plan, batch)
        medians = {store: median(samples) for store, samples in rates.items()}
        there = [rival for rival in rivals if rival in medians]
        value = medians["journal"] / max(medians[rival] for rival in there) if there else None
        absent = [rival for rival in rivals if rival not in medians]
        shown = {"journal", "journal_in_turn", *there} if id_ != "J1" else set(rates)
        measures.append(
            Measure(
                id_,
                f"append, batch {batch:,}, {name}",
                value,
                "x",
                limit,
                {store: rates[store] for store in rates if store in shown},
                {
                    store: value
                    for store, value in medians.items()
                    if not store.startswith("journal")
                },
                "events/s",
                [*(_why_absent(plan, rival) for rival in absent), *_take(plan.notes)],
            )
        )
    return measures


def _why_absent(plan: Plan, rival: str) -> str:
    if plan.peers is None:
        return f"{rival}: not asked for, see --peers"
    why = next((why for name, why in plan.peers.missing.items() if rival.startswith(name)), "")
    return f"{rival}: {why or 'failed'}"


def _take(notes: list[str]) -> list[str]:
    taken, notes[:] = list(notes), []
    return taken


def j1(plan: Plan) -> list[Measure]:
    """Append beside SQLite, both synced each batch; ours encodes the next one meanwhile."""
    return _ratio(plan, "J1", "over SQLite WAL FULL", Limit(1.0, 1.5), ("sqlite_full",))


def j2(plan: Plan) -> list[Measure]:
    """Append beside the faster of the servers that sync what they acknowledge."""
    return _ratio(plan, "J2", "over Redis always, JetStream sync", Limit(5, 10), RIVALS)


def j3(plan: Plan) -> list[Measure]:
    """Append beside the raw floor: validate, encode, hash, write, fdatasync."""
    return _ratio(plan, "J3", "share of the raw floor", Limit(0.5, 0.75), ("floor",))


def j4(plan: Plan) -> list[Measure]:
    """One durable append beside one write and fdatasync of the same bytes."""
    ours, raw, ratios = [], [], []
    for _ in range(plan.repeats):
        task = {"folder": str(plan.folder / "single"), "count": SINGLE_EVENTS}
        answer = worker.call("single", task)
        ours.append(median(answer["ours_us"]))
        raw.append(median(answer["raw_us"]))
        ratios.append(ours[-1] / raw[-1])
    samples = {"ratio": ratios, "append p50, us": ours, "write and fdatasync p50, us": raw}
    limit = Limit(1.5, 1.15, is_most=True)
    name = "single durable append over raw write and fdatasync"
    return [Measure("J4", name, median(ratios), "x", limit, samples)]


# --- read and verify ----------------------------------------------------------------------------


def j5(plan: Plan) -> list[Measure]:
    """Read, verify hash and chain, decode and validate, one process."""
    root = _prepared(plan, READ_LINES)
    rates, plain = [], []
    for number in range(plan.repeats):
        rates.append(_rate(worker.call("read", {"root": str(root)})))
        if number >= PLAIN_REPEATS:
            continue
        plain.append(_rate(worker.call("read", {"root": str(root), "is_decoded": False})))
    samples = {"decoded and validated": rates, "hash and chain only": plain}
    name = "read, verify hash and chain, decode, validate"
    return [Measure("J5", name, median(rates), "events/s", Limit(300_000, 450_000), samples)]


def j6(plan: Plan) -> list[Measure]:
    """Verify a sealed run on all cores; the figure is for a night of 25 million lines."""
    lines = NIGHT_LINES if plan.is_full else VERIFY_LINES
    root = _prepared(plan, lines)
    run = root.with_name(f"{root.name}-sealed")
    worker.call("seal", {"root": str(root), "run": str(run)})
    took, memory, findings = [], [], []
    for _ in range(1 if plan.is_full else min(plan.repeats, 3)):
        answer = worker.call("verify", {"root": str(run)})
        took.append(answer["seconds"] * NIGHT_LINES / lines)
        memory.append(answer["rss_mb"])
        findings += answer["findings"]
    if plan.is_full:
        shutil.rmtree(root)
        shutil.rmtree(run)
    notes = [] if plan.is_full else [f"from {lines:,} lines; --full takes all {NIGHT_LINES:,}"]
    notes += [f"FINDING {text}" for text in findings]
    samples = {"seconds": took, "memory, MB": memory}
    limit = Limit(100, 40, is_most=True)
    name = "verify a night of 25 million lines"
    return [Measure("J6", name, median(took), "s", limit, samples, notes=notes)]


def _prepared(plan: Plan, lines: int) -> Path:
    """Return a folder of queues with so many lines; the folder is kept for the next run."""
    root = plan.folder / f"prepared-{'real-' if plan.is_real else ''}{lines}"
    worker.call("prepare", {"root": str(root), "lines": lines, "is_real": plan.is_real})
    return root


# --- between processes --------------------------------------------------------------------------


def j7(plan: Plan) -> list[Measure]:
    """J7: Wake-up of a waiting reader, from just before the head's write to the end of its wait."""
    found: dict[str, list[float]] = {"p50": [], "p99": [], "line in hand p50": []}
    for _ in range(min(plan.repeats, 3)):
        task = {"root": str(plan.scratch("hops")), "hops": HOPS}
        writer = worker.start("hop_writer", task)
        worker.ready(writer)
        reader = worker.start("hop_reader", task)
        worker.ready(reader)
        worker.go(writer)
        published = worker.answer(writer)["published_ns"]
        answer = worker.answer(reader)
        woke = _us(answer["woke_ns"], published)
        found["p50"].append(percentile(woke, 0.5))
        found["p99"].append(percentile(woke, 0.99))
        found["line in hand p50"].append(percentile(_us(answer["read_ns"], published), 0.5))
    shutil.rmtree(plan.folder / "hops")
    most = {"p50": Limit(60, 20, is_most=True), "p99": Limit(300, 60, is_most=True)}
    return [
        Measure("J7", f"wake-up of a waiting reader, {name}", median(found[name]), "us", limit,
                {**({name: found[name]}), "line in hand p50": found["line in hand p50"]})
        for name, limit in most.items()
    ]  # fmt: skip


def _us(later: list[int], earlier: list[int]) -> list[float]:
    return [(after - before) / 1000 for after, before in zip(later, earlier, strict=True)]


def j8(plan: Plan) -> list[Measure]:
    """Several processes, each appending to its own queue, over one writer alone."""
    one: list[float] = []
    all_: list[float] = []
    ratios: list[float] = []
    findings: list[str] = []
    for _ in range(min(plan.repeats, 3)):
        for count, rates in ((1, one), (WRITERS, all_)):
            root = plan.scratch("fleet")
            answers = _fleet(root, count)
            rates.append(sum(_rate(answer) for answer in answers))
            lost = sum(answer["events"] - answer["lines"] for answer in answers)
            findings += [f"LOST {lost} events"] if lost else []
            findings += worker.call("verify", {"root": str(root)})["findings"]
        ratios.append(all_[-1] / one[-1])
    shutil.rmtree(plan.folder / "fleet")
    samples = {"ratio": ratios, "one writer, events/s": one, f"{WRITERS} writers, events/s": all_}
    name = f"{WRITERS} processes on {WRITERS} queues over one writer"
    # A lost event makes every speed worthless.
    value = 0.0 if findings else median(ratios)
    return [Measure("J8", name, value, "x", Limit(1.2, 1.8), samples, notes=findings)]


def _fleet(root: Path, count: int) -> list[worker.Answer]:
    fleet = [
        worker.start(
            "fleet_writer",
            {"folder": str(root), "queue": f"q{n}", "batch": FLEET_BATCH, "seconds": FLEET_S},
        )
        for n in range(count)
    ]
    for writer in fleet:
        worker.ready(writer)
    for writer in fleet:
        worker.go(writer)
    return [worker.answer(writer) for writer in fleet]


def j9(plan: Plan) -> list[Measure]:
    """Memory of a writer and of a reader beside it, after a million events and at the end."""
    task = {"root": str(plan.scratch("grow")), "lines": GROW_LINES}
    both = [worker.start(case, task) for case in ("grow_writer", "grow_reader")]
    writer, reader = (worker.answer(process) for process in both)
    shutil.rmtree(plan.folder / "grow")
    grown = {
        "writer": writer["end_mb"] - writer["warm_mb"],
        "reader": reader["end_mb"] - reader["warm_mb"],
    }
    limit = Limit(5, 0, is_most=True)
    return [
        Measure(
            "J9",
            f"memory of a {who} over {GROW_LINES:,} events, growth",
            max(0.0, round(value, 1)),
            "MB",
            limit,
            {"growth": [value], "at the end": [answer["end_mb"]]},
        )
        for (who, value), answer in zip(grown.items(), (writer, reader), strict=True)
    ]


def _rate(answer: worker.Answer) -> float:
    return float(answer["events"] / answer["seconds"])


MEASURES: Final[Mapping[str, Callable[[Plan], list[Measure]]]] = {
    "J1": j1,
    "J2": j2,
    "J3": j3,
    "J4": j4,
    "J5": j5,
    "J6": j6,
    "J7": j7,
    "J8": j8,
    "J9": j9,
}
