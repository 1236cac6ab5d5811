"""Gate `runtime_smoke`: a short run leaves the record that a night must leave (N-94..98)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from minibot.ai.isolation import OFF, level_min_here
from minibot.engine.role_replay import Recorded
from minibot.gates.result import Finding, GateReport
from minibot.gates.smoke_run import SmokeRun, run_smoke
from minibot.kernel.audit import finding_line
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.verify import verify_tree
from minibot.replay.graph.lineage import verify_lineage

NAME = "runtime_smoke"
# Events that a complete chain has at least once (N-15, N-19, N-97).
NEEDED = {
    "market_ticks": "market_tick",
    "signals": "signal",
    "risk_actions": "risk_action",
    "order_intents": "order_intent",
    "order_results": "order_result",
    "fills": "fill",
    "health": "health",
    "stop_journal": "stop_journal",
}
BASE_QUEUES = tuple(NEEDED)


def check(lab: Path, sets: Sequence[str] = ()) -> GateReport:
    """Run the smoke profile; judge that it exits with 0 and, if it left a run folder, its record.

    A run without a folder fails the gate, also with exit code 0. A record that cannot be read adds
    the failed finding "readable".

    Args:
        lab: The run's own `var`, emptied first.
        sets: Further `--set` texts, such as a source that a test has prepared.
    """
    done = run_smoke(lab, sets)
    findings = [_ended(done)]
    if done.run_dir is not None:
        try:
            findings += list(judge(done.run_dir))
        except RunStop as error:
            findings.append(Finding("readable", False, f"{error.reason_code}: {error.detail}"))
    elif done.exit_code == 0:
        findings.append(Finding("run folder", False, "it ended well and left none"))
    return GateReport(NAME, tuple(findings))


def _ended(done: SmokeRun) -> Finding:
    last = done.output.strip().splitlines()[-1] if done.output.strip() else "no output"
    return Finding("ends by itself", done.exit_code == 0, f"exit {done.exit_code}: {last}")


def judge(run_dir: Path) -> Iterator[Finding]:
    """Yield the findings on a finished short run, held or not.

    In this order: queues, files against seal and hashes, contracts and causes, at least one event
    of each type of `NEEDED`, a recommendation, and no call of an order endpoint. After the first
    damage of a file, as after a missing seal, nothing further is judged.

    Raises:
        RunStop: The record cannot be read.
    """
    recorded = Recorded.open(run_dir)
    missing = [name for name in BASE_QUEUES if not (recorded.queues / name).is_dir()]
    yield Finding(
        "queues", not missing, f"missing: {missing}" if missing else ", ".join(BASE_QUEUES)
    )
    damaged = list(islice(verify_tree(run_dir), 5))
    detail = "; ".join(map(finding_line, damaged)) or "every line, file and seal is intact"
    yield Finding("sha256 lines", not damaged, detail)
    if damaged:
        return  # Damaged lines allow no further judgement.
    foreign = list(islice(verify_lineage(recorded), 5))
    detail = "; ".join(map(finding_line, foreign)) or "every event is valid, with its causes"
    yield Finding("contracts and causes", not foreign, detail)
    for queue, kind in NEEDED.items():
        count = sum(event.type == kind for _, event in recorded.events(queue))
        yield Finding(f"{kind} events", count > 0, f"{count} in {queue}")
    yield _recommends(recorded)
    seal = read_hashed(run_dir / "seal.json")
    calls = seal.get("extra", seal).get("order_calls")
    yield Finding("no real orders", calls == 0, f"order endpoint hits = {calls}")


def _recommends(recorded: Recorded) -> Finding:
    """Return the finding on recommendations: one at least; it holds where the AI is off."""
    name = "recommendation events"
    wanted = recorded.manifest.config["ai"]
    if not wanted["enabled"] or level_min_here(wanted["isolation_min"]) == OFF:
        return Finding(name, True, "none asked for: the AI is off here by the profile")
    count = sum(1 for _ in recorded.events("recommendations"))
    return Finding(name, count > 0, f"{count} in recommendations")
