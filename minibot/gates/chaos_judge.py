"""Judge of a drill: compares the end of the run, on disk and as observed, with the catalogue.

Every check returns complaints; without any the run ended as it must. The judge repairs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from minibot.cores.input_order import LineSource
from minibot.engine.role_replay import Recorded, replay_role, replay_run
from minibot.events.model import JsonObject
from minibot.events.names import EXECUTION_ROLE, STOP_JOURNAL
from minibot.events.reasons import OPERATOR
from minibot.gates.chaos_fault import END, REFUSE, STOP, SURVIVE, Fault
from minibot.gates.drill_run import EXECUTION_QUEUES, QUIET_NS, DrillRun, inbox_bytes
from minibot.kernel import canonical
from minibot.kernel.errors import MinibotError, RunStop
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import open_reader, reader_folder
from minibot.kernel.verify import Finding, verify_tree
from minibot.replay.graph.lineage import verify_lineage
from minibot.runtime.stop import END_KIND, STOP_KIND
from minibot.watchdog.operator_stop_log import read_stops

FINDINGS_SHOWN: Final = 3


def complaints(fault: Fault, night: DrillRun) -> list[str]:
    """Return all deviations from the catalogue, those noted during the drill first.

    After a refused start only exit code, processes and flag are judged, and that there is no run.
    `afterwards`, where the fault has it, is called before the record is judged; judged is the run
    that was there before it.

    Raises:
        RunStop: A part of the record that has to be readable is not.
    """
    found = list(night.complaints)
    if night.exit_code != fault.exit_code:
        found.append(
            f"exit code {night.exit_code}, expected {fault.exit_code}: {_last_line(night)}"
        )
    found += _orphans(night)
    found += _flag(fault, night)
    run_dir = night.last_run
    if fault.expect == REFUSE:
        return [*found, *(["a run was started"] if run_dir is not None else [])]
    if run_dir is None:
        return [*found, "no run was started"]
    if fault.afterwards is not None:
        found += fault.afterwards(night)
    recorded = Recorded.open(run_dir)
    found += _journal(fault, night, recorded)
    found += _silence(fault, night, recorded)
    found += _evidence(fault, night, recorded)
    found += _verify(fault, run_dir, recorded)
    found += _replay(fault, run_dir, recorded)
    return found


def observed(fault: Fault, night: DrillRun) -> str:
    """Return how the run ended, as the table shows it.

    The oldest STOP decides, then the oldest END. Without either it is `SILENT`; without a run
    `REFUSE` if the exit code is the expected one, otherwise `nothing ran`. A record that cannot be
    read is `unreadable`, with the error.
    """
    run_dir = night.last_run
    if run_dir is None:
        return REFUSE if night.exit_code == fault.exit_code else "nothing ran"
    try:
        records = list(_records(Recorded.open(run_dir)))
    except MinibotError as error:
        return f"unreadable: {error}"
    stops = [payload for payload in records if payload["kind"] == STOP_KIND]
    if stops:
        return f"{STOP}({stops[0]['reason_code']})"
    ends = [payload["reason_code"] for payload in records if payload["kind"] == END_KIND]
    if not ends:
        return "SILENT"
    return SURVIVE if fault.expect == SURVIVE else f"{END}({ends[0]})"


# --- the end of the run -------------------------------------------------------------------------


def _orphans(night: DrillRun) -> list[str]:
    return [f"still alive: {name}" for name in night.orphans()]


def _flag(fault: Fault, night: DrillRun) -> list[str]:
    """Check that STOP.flag exists after STOP and REFUSE and is missing after SURVIVE and END."""
    stands = night.var.flag.exists()
    is_expected = fault.expect in (STOP, REFUSE)
    if stands == is_expected:
        return []
    return ["STOP.flag is missing" if is_expected else "STOP.flag exists"]


def _last_line(night: DrillRun) -> str:
    lines = night.output().strip().splitlines()
    return lines[-1][:300] if lines else "no output"


def _records(recorded: Recorded) -> Iterator[JsonObject]:
    """Yield the payloads of `stop_journal` in the parts of all roles, ordered by `ts`."""
    envelopes: list[JsonObject] = []
    for role in recorded.roles.writers(STOP_JOURNAL):
        envelopes += _envelopes(open_reader(recorded.queues, STOP_JOURNAL, part=role))
    for envelope in sorted(envelopes, key=lambda envelope: int(envelope["ts"])):
        yield envelope["payload"]


def _envelopes(reader: JournalReader) -> list[JsonObject]:
    source, found = LineSource(reader), []
    while (line := source.next()) is not None:
        found.append(canonical.decode(line.json))
    return found


def _journal(fault: Fault, night: DrillRun, recorded: Recorded) -> list[str]:
    """Check the run's records in the parts, in the merged journal and in the operators' journal.

    Each of the three has to hold the expected STOP or END, and no record that contradicts it.
    """
    found = []
    inbox = _envelopes(open_reader(recorded.queues, STOP_JOURNAL))
    operators = [
        envelope
        for envelope in read_stops(night.var.root)
        if envelope["run_id"] == recorded.manifest.run_id
    ]
    places = {
        "the parts of stop_journal": list(_records(recorded)),
        "stop_journal/inbox.jsonl": [envelope["payload"] for envelope in inbox],
        "var/stop_journal.jsonl": [envelope["payload"] for envelope in operators],
    }
    for place, payloads in places.items():
        found += [f"{place}: {what}" for what in _wrong_records(fault, payloads)]
    return found


def _wrong_records(fault: Fault, payloads: list[JsonObject]) -> Iterable[str]:
    """Yield the deviations of one journal, at most one for each record.

    Wrong are: no record of the expected kind; one of that kind with another code; a STOP of another
    component, or any STOP where none is expected; a record without detail. An END beside an
    expected STOP is right.
    """
    kind = STOP_KIND if fault.expect == STOP else END_KIND
    codes = fault.codes or (OPERATOR,)
    if not any(payload["kind"] == kind for payload in payloads):
        yield f"no {kind} is recorded"
    for payload in payloads:
        text = f"{payload['kind']} {payload['reason_code']} by {payload['component']}"
        if payload["kind"] == kind and payload["reason_code"] not in codes:
            yield f"{text}, expected {codes[0]}: {payload['detail'][:200]}"
        elif payload["kind"] == STOP_KIND and payload["component"] not in fault.components:
            yield f"{text}, expected {' or '.join(fault.components)}"
        elif payload["kind"] == STOP_KIND and kind != STOP_KIND:
            yield f"{text}, expected none: {payload['detail'][:200]}"
        elif not payload["detail"]:
            yield f"{text} has no detail"


# --- silence ------------------------------------------------------------------------------------


def _silence(fault: Fault, night: DrillRun, recorded: Recorded) -> list[str]:
    """Check that execution fell silent after a STOP; other ends are not checked.

    The queues that execution writes do not grow later than one second after the flag appeared. That
    is unchecked if the launcher ended within that second, and after `afterwards`, whose start
    forgets the sizes. In the input log of execution nothing follows a STOP; the log need not hold
    one.
    """
    if fault.expect != STOP:
        return []
    found = []
    if night.quiet_bytes is not None:
        for queue in EXECUTION_QUEUES:
            after = inbox_bytes(recorded.queues, queue) - night.quiet_bytes[queue]
            if after > 0:
                found.append(f"{queue}: {after} bytes later than {QUIET_NS // 10**9} s after STOP")
    ranges = list(recorded.order_log(recorded.roles.roles[EXECUTION_ROLE]))
    stops = [index for index, ack in enumerate(ranges) if ack.queue.startswith(STOP_JOURNAL)]
    if stops and stops[0] != len(ranges) - 1:
        found.append("execution took inputs after it had taken the STOP")
    return found


# --- evidence -----------------------------------------------------------------------------------


def _evidence(fault: Fault, night: DrillRun, recorded: Recorded) -> list[str]:
    """Return a complaint for each kind of incident and each dead letter that is missing."""
    found = [f"no incident {kind}" for kind in fault.evidence if not night.incidents(kind)]
    if fault.dead_letter:
        found += _letterless(recorded, fault)
    return found


def _letterless(recorded: Recorded, fault: Fault) -> list[str]:
    """Return a complaint for each role that stopped with one of `codes` but has no dead letter.

    A dead letter counts if it carries one of the codes and lies beside a damaged queue.
    """
    stopped = {
        str(payload["component"])
        for payload in _records(recorded)
        if payload["kind"] == STOP_KIND and payload["reason_code"] in fault.codes
    }
    letters = {str(letter["source"]) for letter in _dead_letters(recorded, fault)}
    return [f"no dead letter {fault.codes[0]} of {who}" for who in sorted(stopped - letters)]


def _dead_letters(recorded: Recorded, fault: Fault) -> list[JsonObject]:
    found = []
    for queue in fault.damaged:
        for role in recorded.roles.readers(queue):
            is_primary = recorded.roles.is_primary(queue, role)
            folder = reader_folder(recorded.queues, queue, role, is_primary)
            if (folder / "deadletter.head").exists():
                found += _envelopes(JournalReader(folder, "deadletter"))
    return [one for one in found if one["payload"]["reason_code"] in fault.codes]


def _verify(fault: Fault, run_dir: Path, recorded: Recorded) -> list[str]:
    """Check bytes and causes of the run: clean, or damaged where the fault hit and only there.

    Causes are not followed if a fault that damages left findings on bytes. At most `FINDINGS_SHOWN`
    findings are returned.
    """
    findings = list(verify_tree(run_dir))
    if not (findings and fault.damaged):
        # With damaged bytes causes cannot be followed, which adds nothing.
        findings += _lineage(recorded, run_dir)
    if not fault.damaged:
        return [f"verify: {finding}" for finding in findings[:FINDINGS_SHOWN]]
    if not findings:
        return [f"verify finds nothing wrong, though {', '.join(fault.damaged)} is"]
    elsewhere = [
        finding
        for finding in findings
        if not any(queue in f"{finding.file} {finding.found}" for queue in fault.damaged)
    ]
    return [f"verify finds damage elsewhere: {finding}" for finding in elsewhere[:FINDINGS_SHOWN]]


def _lineage(recorded: Recorded, run_dir: Path) -> list[Finding]:
    try:
        return list(verify_lineage(recorded))
    except RunStop as error:
        return [Finding(run_dir.name, 0, 0, error.reason_code, "a readable run", error.detail)]


def _replay(fault: Fault, run_dir: Path, recorded: Recorded) -> list[str]:
    """Check the replay of a run; a run that the fault damaged is not replayed.

    After SURVIVE or END the replay is identical. Up to a STOP it has no difference, and each line
    of execution follows from a logged input.
    """
    if fault.damaged:
        return []
    try:
        replay = replay_run(run_dir)
    except RunStop as error:
        return [f"replay: {error.reason_code}: {error.detail}"]
    if replay.difference is not None:
        return [f"replay differs at {replay.difference.queue}:{replay.difference.seq}"]
    if fault.expect != STOP:
        return [] if replay.is_identical else ["replay is not identical"]
    execution = replay_role(recorded, EXECUTION_ROLE)
    if execution.unproven:
        return [f"{execution.unproven} lines of execution follow from no logged input"]
    return []
