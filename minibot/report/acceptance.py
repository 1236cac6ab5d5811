"""Acceptance of a finished run as a night by N-103..N-107, with the thresholds of U-06.

Every criterion quotes its threshold, from the run's own profile, and its finding. A run on made-up
market data never counts as a real night, nor does one with injected faults: at best it passes as a
drill. A losing night passes; its result only has to be counted correctly. A night without the AI,
without its jail or without the code list fails a criterion of that name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from minibot.cores.input_order import LineSource
from minibot.events.model import DeadLetter, JsonObject
from minibot.events.names import AI_ROLE
from minibot.events.reasons import END_GROUP, REASONS
from minibot.kernel.audit import finding_line
from minibot.kernel.errors import RunStop
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import DEAD_LETTERS, reader_folder
from minibot.report.audit import limit_violations, unallowed_intents
from minibot.report.figures import counted, duration, listed, milliseconds, plain_text
from minibot.report.memory_slope import slope_bytes_per_hour
from minibot.report.night import Night
from minibot.report.proof import findings_of
from minibot.report.records import ACCEPTANCE_FILE, ACCEPTANCE_V
from minibot.report.rotation import rotated_logs
from minibot.report.run_kind import NIGHT_MODE, read_seal
from minibot.runtime.configuration.config import acceptance_of
from minibot.runtime.configuration.config_sections import Acceptance as Thresholds
from minibot.runtime.paths import Var

FINDINGS_MAX: Final = 1000
SHOWN: Final = 3
# The only level at which the AI can reach no keys, network or files (minibot/ai/jail).
ISOLATED: Final = "jail"
DURATION: Final = "duration"
# Parts of a night's set-up that a drill may lack and a real night may not.
MAKING: Final = ("the AI", "isolation of the AI", "code list")

PASS, FAIL, OPEN = "PASS", "FAIL", "not judged"
NOT_A_NIGHT: Final = "NOT A NIGHT"
APART: Final = "its metrics and logs stayed where it ran: judge it there"
DRILL: Final = "PASS (drill, does not count)"


@dataclass(frozen=True, slots=True)
class Criterion:
    """Criterion of the acceptance, with its threshold, finding and verdict."""

    row: str
    name: str
    threshold: str
    found: str
    verdict: str

    def to_json(self) -> JsonObject:
        """Return the criterion as one JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Acceptance of one run: its verdict and criteria.

    Attributes:
        violations: How many risk limits were exceeded; None where the run cannot be read.
    """

    run_id: str
    root: str
    verdict: str
    counts_as_night: bool
    violations: int | None
    criteria: tuple[Criterion, ...]

    @property
    def passed(self) -> bool:
        """True when nothing fell short; a drill may pass without counting as a night."""
        return self.verdict in (PASS, DRILL)

    def to_json(self) -> JsonObject:
        """Return the judgement as one JSON object."""
        return {
            "schema": "minibot.acceptance",
            "v": ACCEPTANCE_V,
            "run_id": self.run_id,
            "root": self.root,
            "verdict": self.verdict,
            "counts_as_night": self.counts_as_night,
            "risk_violations": self.violations,
            "criteria": [criterion.to_json() for criterion in self.criteria],
        }


def accept(night: Night, var: Var | None) -> Acceptance:
    """Return the acceptance of a run.

    Args:
        night: The run, recounted.
        var: The folders of its metrics and logs; None for a run apart from them, as of a bundle.
    """
    violations = [
        *limit_violations(night.recorded, night.count.performance),
        *unallowed_intents(night.recorded),
    ]
    limits = acceptance_of(night.manifest.config)
    criteria = [
        _end(night),
        *_stand_in(night),
        _duration(night, limits),
        *_making(night),
        *_roles(night, limits),
        *_latency(night, limits),
        *_feed_errors(night, limits),
        _verified(night),
        _dead_letters(night),
        _figures(night, var),
        _stops(night),
        _limits(violations),
        _rotation(night, limits, var),
        *_memory(night, limits),
    ]
    verdict = _verdict(night, criteria)
    return Acceptance(
        run_id=night.run_id,
        root=str(night.seal.get("root", "")),
        verdict=verdict,
        counts_as_night=verdict == PASS,
        violations=len(violations),
        criteria=tuple(criteria),
    )


def unreadable(run_dir: Path, trouble: str) -> Acceptance:
    """Return the acceptance of a run whose queues cannot be read to their end."""
    criterion = Criterion("N-105", "verify", "0 findings", plain_text(trouble), FAIL)
    root = str(read_seal(run_dir).get("root", ""))
    return Acceptance(run_dir.name, root, FAIL, False, None, (criterion,))


def keep(acceptance: Acceptance, run_dir: Path) -> Path:
    """Write the acceptance into the run's `report/`, where `minibot ready` finds it.

    It replaces a former one, even a damaged one; the same verdict gives the same bytes.
    """
    folder = run_dir / "report"
    ensure_folder(folder)
    path = folder / ACCEPTANCE_FILE
    write_hashed(path, acceptance.to_json(), generation=1)
    return path


def _verdict(night: Night, criteria: list[Criterion]) -> str:
    short = {item.name for item in criteria if item.verdict == FAIL}
    if short - {DURATION, *MAKING}:
        return FAIL
    if DURATION in short or night.manifest.config["mode"] != NIGHT_MODE:
        return NOT_A_NIGHT
    if short:
        return FAIL
    if night.made_up or night.drill:
        return DRILL
    # A real night has to be judged in full.
    return PASS if all(item.verdict == PASS for item in criteria) else FAIL


def _judged(row: str, name: str, threshold: str, found: str, holds: bool) -> Criterion:
    return Criterion(row, name, threshold, found, PASS if holds else FAIL)


# --- the run itself ---------------------------------------------------------------------------


def _end(night: Night) -> Criterion:
    end = night.end
    code = "not ended" if end is None else end.reason_code
    if night.is_interrupted:
        code = "interrupted"
    reason = REASONS.get(code)
    is_planned = reason is not None and reason.group == END_GROUP
    holds = bool(night.seal) and (is_planned or bool(night.drill and night.stops))
    sealed = "sealed" if night.seal else night.root
    return _judged("N-18", "end", "a planned end, sealed", f"{code}, {sealed}", holds)


def _stand_in(night: Night) -> Iterator[Criterion]:
    """Yield a failure for a run whose market data came from a stand-in for the exchange."""
    why = night.manifest.degraded
    if why:
        yield Criterion("B-50", "market data", "the exchange's own", plain_text(why, 200), FAIL)


def _duration(night: Night, limits: Thresholds) -> Criterion:
    mode = night.manifest.config["mode"]
    kind = "" if mode == NIGHT_MODE else f" in mode {mode}, which never counts as a night"
    lasted = night.market_ms
    if night.manifest.simulated:
        kind = " of simulated time, which never counts as a real night"
    elif night.wall_ms is not None:
        lasted = min(lasted, night.wall_ms)
        if night.made_up:
            kind += f" on {plain_text(night.made_up, 200)}, which never counts as a real night"
    least = limits.duration_ms_min
    found = f"{duration(lasted)}{kind}"
    return _judged("N-18", DURATION, f"at least {duration(least)}", found, lasted >= least)


def _making(night: Night) -> Iterator[Criterion]:
    """Yield the criteria of the night's AI, of its jail and of the code list.

    They are not judged for a drill or made-up data, which prove the machinery in any set-up.
    """
    lacking = OPEN if night.made_up or night.drill else FAIL
    had_ai, levels = AI_ROLE in night.manifest.processes, sorted(night.count.ai_levels)
    is_listed = bool(night.manifest.config["code"]["require_manifest"])
    found = (
        ("N-16", "runs with the night", "in the run" if had_ai else "off by its profile", had_ai),
        ("N-68", ISOLATED, listed(levels) if levels else "never reported", levels == [ISOLATED]),
        (
            "N-108",
            "code.require_manifest is true",
            "true" if is_listed else "false: nothing proves which code ran",
            is_listed,
        ),
    )
    for name, (row, threshold, text, holds) in zip(MAKING, found, strict=True):
        yield Criterion(row, name, threshold, text, PASS if holds else lacking)


def _roles(night: Night, limits: Thresholds) -> Iterator[Criterion]:
    """Yield a criterion for each role: it ran all the time, or was restarted in time.

    A role may be absent while it starts and while others drain, and as long again for a restart.
    """
    away_s_max = limits.role_away_ms_max // 1000
    threshold = f"present all the time, except {away_s_max} s at start and end and per restart"
    uptimes = night.count.tally.to_json()["uptime_s"]
    for role in night.manifest.processes:
        restarts = night.restarts[role]
        if role == AI_ROLE and night.ai_off:
            yield Criterion("N-103", role, threshold, plain_text(night.ai_off, 200), FAIL)
            continue
        uptime_s = uptimes.get(role, 0)
        if night.wall_ms is None:
            yield Criterion("N-103", role, threshold, "the run has no end", FAIL)
            continue
        away_s = max(0, night.wall_ms // 1000 - uptime_s)
        found = f"up {duration(uptime_s * 1000)}, away {away_s} s, {counted(restarts, 'restart')}"
        holds = uptime_s > 0 and away_s <= away_s_max * (1 + restarts)
        yield _judged("N-103", role, threshold, found, holds)


# --- the link ---------------------------------------------------------------------------------


def _latency(night: Night, limits: Thresholds) -> Iterator[Criterion]:
    pings = night.count.tally.to_json()["latency_us"]
    for name, limit_ms in (("p95", limits.latency_ms_p95_max), ("p99", limits.latency_ms_p99_max)):
        measured = pings[name]
        found = f"{milliseconds(measured)} over {counted(pings['n'], 'measurement')}"
        holds = measured is not None and measured <= limit_ms * 1000
        yield _judged("N-104", f"latency {name}", f"at most {limit_ms:,} ms", found, holds)


def _feed_errors(night: Night, limits: Thresholds) -> Iterator[Criterion]:
    pings = night.count.tally.to_json()["latency_us"]
    asked, percent_max = pings["n"] + pings["errors"], limits.feed_errors_percent_max
    yield _share("failed health checks", pings["errors"], asked, percent_max)
    yield _share("invalid market messages", *night.count.tally.frames(), percent_max)


def _share(name: str, bad: int, total: int, percent_max: int) -> Criterion:
    percent = 100 * bad / total if total else 100.0
    return _judged(
        "N-104",
        name,
        f"at most {percent_max} %",
        f"{bad:,} of {total:,}, {percent:.2f} %",
        percent <= percent_max,
    )


# --- the record -------------------------------------------------------------------------------


def _verified(night: Night) -> Criterion:
    try:
        findings = list(islice(findings_of(night.recorded.run_dir), FINDINGS_MAX))
    except RunStop as error:
        return Criterion("N-105", "verify", "0 findings", plain_text(str(error)), FAIL)
    shown = "; ".join(plain_text(finding_line(item), 200) for item in findings[:SHOWN])
    found = f"{len(findings)}: {shown}" if findings else "0"
    return _judged("N-105", "verify", "0 findings", found, not findings)


def _dead_letters(night: Night) -> Criterion:
    number, shown = 0, ""
    for letter in dead_letters(night):
        number += 1
        shown = shown or f": {letter.reason_code} in {letter.queue}:{letter.seq}"
    return _judged("N-105", "dead letters", "0", f"{number}{shown}", number == 0)


def dead_letters(night: Night) -> Iterator[DeadLetter]:
    """Yield every dead letter of the night."""
    recorded = night.recorded
    for queue, spec in recorded.roles.queues.items():
        for role in recorded.roles.readers(queue):
            folder = reader_folder(recorded.queues, queue, role, spec.primary_reader == role)
            if not (folder / "deadletter.head").exists():
                continue
            with closing(JournalReader(folder, DEAD_LETTERS)) as reader:
                source = LineSource(reader)
                while (line := source.next()) is not None:
                    payload = recorded.codec.decode(f"{queue}/{DEAD_LETTERS}", line.json).payload
                    if isinstance(payload, DeadLetter):
                        yield payload


def _figures(night: Night, var: Var | None) -> Criterion:
    """Judge whether the metrics that the run wrote at its end equal a recount from its queues."""
    threshold = "the metrics written at its end equal a recount from the queues"
    if var is None:
        return Criterion("N-106", "figures", threshold, APART, OPEN)
    try:
        written = _last_metrics(night.run_id, var)
    except RunStop as error:
        return Criterion("N-106", "figures", threshold, plain_text(str(error)), FAIL)
    if written is None:
        where = f"no metrics of this run under {var.metrics}"
        return Criterion("N-106", "figures", threshold, where, FAIL)
    again = night.count.metrics()
    differing = [name for name, value in again.items() if written.get(name) != value]
    found = "equal" if not differing else f"different: {listed(differing)}"
    return _judged("N-106", "figures", threshold, found, not differing)


def _last_metrics(run_id: str, var: Var) -> JsonObject | None:
    """Return the newest snapshot of a run's metrics: later runs overwrite `metrics.json`."""
    snapshots = sorted(var.metrics.glob(f"{run_id}-*.json"))
    return dict(read_hashed(snapshots[-1])) if snapshots else None


def _stops(night: Night) -> Criterion:
    codes = Counter(stop.reason_code for _, stop in night.stops)
    threshold = "no STOP but those of injected faults"
    if not codes:
        return Criterion("N-107", "stops", threshold, "0 real, 0 injected", PASS)
    named = listed(f"{code} {number}" for code, number in sorted(codes.items()))
    if night.drill:
        found = f"0 real, {sum(codes.values())} injected by {night.drill}: {named}"
        return Criterion("N-107", "stops", threshold, found, PASS)
    return Criterion("N-107", "stops", threshold, f"{sum(codes.values())} real: {named}", FAIL)


def _limits(violations: list[str]) -> Criterion:
    found = "0" if not violations else f"{len(violations)}: {violations[0]}"
    return _judged("B-75", "risk limits exceeded", "0", found, not violations)


def _rotation(night: Night, limits: Thresholds, var: Var | None) -> Criterion:
    """Judge whether this run itself rotated a file; files of an earlier run do not count."""
    threshold = "logs or queues were rotated"
    segments = sum(1 for _ in night.recorded.queues.rglob("*.[0-9]*.jsonl"))
    if var is None and not segments:
        return Criterion("N-18", "rotation", threshold, APART, OPEN)
    logs = 0 if var is None else len(rotated_logs(var.logs, night.run_id))
    found = f"{counted(segments, 'sealed segment')}, {counted(logs, 'rotated log')} of this run"
    is_long = night.market_ms >= limits.duration_ms_min
    verdict = PASS if segments + logs else FAIL if is_long else OPEN
    return Criterion("N-18", "rotation", threshold, found, verdict)


def _memory(night: Night, limits: Thresholds) -> Iterator[Criterion]:
    mb_max = limits.memory_mb_per_hour_max
    threshold = f"grows by at most {mb_max} MB an hour"
    for role in night.manifest.processes:
        slope = slope_bytes_per_hour(night.count.tally.rss(role))
        name = f"memory of {role}"
        if slope is None:
            found = "needs an hour of market time after the first half hour"
            yield Criterion("U-06", name, threshold, found, OPEN)
            continue
        mb = slope / 1024 / 1024
        found = f"{mb:+.1f} MB an hour"
        yield _judged("U-06", name, threshold, found, mb <= mb_max)
