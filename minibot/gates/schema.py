"""Gate `schema`: every type has its contract, and every event of a run keeps it (N-93, N-99).

The compiled validator judges every line, the slower reference validator the first event of each
type and every `ORACLE_EVERY`-th after it. Each of the two has to refuse the first event of every
type that the run holds once a required field of its envelope is left out, a field is added, or the
payload is empty. The gate itself refuses a `run_id` that is not a possible time, since the pattern
of the contract accepts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from minibot.engine.role_replay import Recorded
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.registry import Contracts
from minibot.gates.result import Finding, GateReport
from minibot.kernel import canonical
from minibot.kernel.canonical import CanonicalError
from minibot.kernel.errors import MinibotError, Refusal, RunStop
from minibot.runtime.manifest import is_run_id
from minibot.runtime.paths import PROJECT

NAME = "schema"
ORACLE_EVERY = 97
IMPOSSIBLE_RUN_ID = "20261332_256161"


def check(run_dir: Path, contracts_dir: Path = PROJECT / "contracts") -> GateReport:
    """Judge the contracts, and every event of a run by them.

    Contracts that cannot be loaded are the only finding then. A run without events fails. A
    manifest or a line that cannot be read adds the failed finding "readable".

    Args:
        run_dir: A recorded run, such as the one of `runtime_smoke`.
        contracts_dir: Folder of the schemas; their pins always come from the project's `config`.
    """
    try:
        contracts = Contracts.load(contracts_dir, PROJECT / "config" / "contracts.v1.json")
    except (Refusal, MinibotError) as error:
        return GateReport(NAME, (Finding("contracts load", False, str(error)),))
    unknown = sorted(name for name in PAYLOAD_CLASSES if name not in contracts)
    findings = [
        Finding("contracts load", True, f"pinned as {contracts.sha256[:16]}"),
        Finding("every type has a contract", not unknown, f"without: {unknown or 'none'}"),
    ]
    try:
        findings += _events(Recorded.open(run_dir), contracts)
    except (RunStop, CanonicalError) as error:
        findings.append(Finding("readable", False, str(error)))
    return GateReport(NAME, tuple(findings))


def _lines(recorded: Recorded) -> Iterator[tuple[str, int, bytes]]:
    for queue in recorded.roles.queues:
        source = recorded.lines(queue)
        while (line := source.next()) is not None:
            yield queue, line.seq, line.json


def _events(recorded: Recorded, contracts: Contracts) -> Iterator[Finding]:
    examples: dict[str, JsonObject] = {}
    counts: Counter[str] = Counter()
    bad: list[str] = []
    for queue, seq, json in _lines(recorded):
        envelope = canonical.decode(json)
        kind = str(envelope.get("type"))
        counts[kind] += 1
        examples.setdefault(kind, envelope)
        if not is_valid(contracts, envelope, with_oracle=counts[kind] % ORACLE_EVERY == 1):
            bad.append(f"{queue}:{seq}")
    total = sum(counts.values())
    yield Finding(
        "events keep their contracts", not bad and total > 0, f"{total} events, bad: {bad[:5]}"
    )
    for kind, envelope in sorted(examples.items()):
        accepted = [name for name, broken in _broken(envelope) if is_accepted(contracts, broken)]
        if is_valid(contracts, {**envelope, "run_id": IMPOSSIBLE_RUN_ID}):
            accepted.append("of a run at no possible time")
        detail = f"accepted: {accepted}" if accepted else "refuses each field left out or added"
        yield Finding(f"{kind} contract", not accepted, detail)


def is_valid(contracts: Contracts, envelope: JsonObject, *, with_oracle: bool = True) -> bool:
    """Return whether an event keeps its contract and names a run at a possible time.

    The compiled validator always judges it; the reference validator only `with_oracle`.
    """
    if envelope.get("type") not in contracts or not contracts.validate(envelope):
        return False
    if not is_run_id(envelope["run_id"]):
        return False
    return not with_oracle or not contracts.explain(envelope)


def is_accepted(contracts: Contracts, envelope: JsonObject) -> bool:
    """Return whether at least one of the two validators accepts an event."""
    is_fast = envelope.get("type") in contracts and contracts.validate(envelope)
    return is_fast or not contracts.explain(envelope)


def _broken(envelope: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Yield copies of an event, each with one fault, and the name of the fault.

    One copy for each required field of the envelope, which it lacks; one with a field too many; one
    with an empty payload.
    """
    for name in envelope:
        if name != "ts_iso":  # The only field that may be missing.
            yield f"without {name}", {key: item for key, item in envelope.items() if key != name}
    yield "with a field too many", {**envelope, "note": "x"}
    yield "with an empty payload", {**envelope, "payload": {}}
