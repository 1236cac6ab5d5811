"""Records of the runs in one `var`, from their manifests and seals; no event is read.

Figures of a run that broke off are checked against the number of lines in two of its queues.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from minibot.events.model import JsonObject
from minibot.events.names import FILLS, TICKS
from minibot.events.reasons import ATOMICITY_VIOLATION
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.errors import IntegrityError, RunStop
from minibot.kernel.files import FILES, read_hashed
from minibot.kernel.queue import open_reader
from minibot.kernel.seal import QUEUES
from minibot.report.choices import symbols_of
from minibot.report.run_kind import NIGHT_MODE, drill_of, has_damaged_seal, made_up_of, read_seal
from minibot.runtime.manifest import Manifest, is_copy
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import METRICS_FILE, refuse_closed, run_folders

ACCEPTANCE_FILE = "acceptance.json"
ACCEPTANCE_V = 2
"""Of a verdict; the first knew neither the AI's jail nor the code list, so it counts no more."""
FACTS_FILE = "facts.json"
FACTS_V = 1
COPY = "a copy: its name is not the run's id"
UNSEALED = "unsealed"
BROKEN_OFF = ("interrupted", "stopped")
"""States of runs that did not end as planned."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Record of one run; `trouble` is the reason if its manifest cannot be read."""

    run_dir: Path
    manifest: Manifest | None
    seal: JsonObject
    acceptance: JsonObject | None
    trouble: str = ""

    @property
    def run_id(self) -> str:
        """The run's id, which names its folder."""
        return self.run_dir.name

    @property
    def is_copy(self) -> bool:
        """True for a folder that is not named by its own run's id."""
        return is_copy(self.run_dir, self.manifest)

    @property
    def state(self) -> str:
        """State of the run: sealed, stopped, interrupted, damaged; `unsealed` while it runs."""
        if self.manifest is None or (not self.seal and has_damaged_seal(self.run_dir)):
            return "damaged"
        return str(self.seal.get("extra", {}).get("state", UNSEALED))

    @property
    def reason_code(self) -> str:
        """Reason code of the run's end, empty where the seal names none."""
        return str(self.seal.get("extra", {}).get("reason_code", ""))

    @property
    def is_real(self) -> bool:
        """True when the run used real market data in real time with nothing injected."""
        manifest = self.manifest
        return manifest is not None and not made_up_of(manifest) and not drill_of(manifest)

    @property
    def kind(self) -> str:
        """Kind of the run: real, a drill, or simulated, as is one without a readable manifest."""
        if self.is_real:
            return "real"
        return "drill" if self.manifest is not None and not self.manifest.simulated else "simulated"

    @property
    def is_accepted_night(self) -> bool:
        """True for a real night of mode NORE that ended as planned and that `accept` passed."""
        if self.manifest is None or self.acceptance is None or not self.is_real:
            return False
        is_night = self.manifest.config.get("mode") == NIGHT_MODE and self.state == "sealed"
        return is_night and bool(self.acceptance["counts_as_night"])

    @property
    def wall_ms(self) -> int | None:
        """Wall-clock milliseconds from start to seal, None without an end."""
        if self.manifest is None:
            return None
        return lasted_ms(self.manifest, self.seal.get("extra", {}))

    def to_json(self) -> JsonObject:
        """Return the record as one JSON object."""
        manifest = self.manifest
        return {
            "run_id": self.run_id,
            "folder": str(self.run_dir),
            "profile": None if manifest is None else manifest.profile,
            "simulated": None if manifest is None else manifest.simulated,
            "drill": None if manifest is None else drill_of(manifest),
            "started_ms": None if manifest is None else manifest.started_ms,
            "wall_ms": self.wall_ms,
            "state": self.state,
            "reason_code": self.reason_code or None,
            "root": self.seal.get("root"),
            "acceptance": None if self.acceptance is None else self.acceptance["verdict"],
            "trouble": self.trouble or None,
        }


def read_record(run_dir: Path) -> RunRecord:
    """Return the record of one run."""
    seal = read_seal(run_dir)
    try:
        manifest = Manifest.load(run_dir)
    except RunStop as error:
        return RunRecord(run_dir, None, seal, None, error.detail)
    return RunRecord(run_dir, manifest, seal, _acceptance(run_dir, seal))


def read_records(var: Var) -> list[RunRecord]:
    """Return every run of a `var`, oldest first.

    Raises:
        Refusal: Only another user may look into its runs.
    """
    refuse_closed(var.runs)
    return [read_record(folder) for folder in run_folders(var.runs)]


def counted_nights(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return the nights that count towards readiness: real, of mode NORE, accepted, no copy."""
    return [record for record in records if record.is_accepted_night and not record.is_copy]


def days_of(nights: Iterable[RunRecord]) -> set[int]:
    """Return the UTC days on which nights began, as days since 1970.

    A night counts for the day on which it began, even if it ran past midnight: so thirty days
    take thirty nights.
    """
    return {night.manifest.started_ms // DAY_MS for night in nights if night.manifest}


def lasted_ms(manifest: Manifest, sealed: JsonObject) -> int | None:
    """Return the wall-clock milliseconds from a run's start to its seal, None without an end.

    Older runs did not count them; of these it is the difference of two readings of a clock, between
    which somebody may have set it.

    Args:
        manifest: The run's.
        sealed: The launcher's additions to its seal.
    """
    if "took_ms" in sealed:
        return int(sealed["took_ms"])
    return int(sealed["ended_ms"]) - manifest.started_ms if "ended_ms" in sealed else None


def performance_of(record: RunRecord) -> JsonObject | None:
    """Return the figures of a run as written at its end, None where there are none."""
    try:
        return final_performance(record)
    except (OSError, RunStop):
        return None


def final_performance(record: RunRecord) -> JsonObject:
    """Return the figures of a run as written at its end.

    Of a run that broke off, older versions kept figures of seconds before.

    Raises:
        RunStop: They cannot be read, or were written before the run's last event.
    """
    figures = read_hashed(record.run_dir / METRICS_FILE)
    if record.state in BROKEN_OFF:
        ticks = sum(figures.get("market_ticks", {}).values())
        fills = figures.get("lines", {}).get(FILLS, 0)
        for queue, counted in ((TICKS, ticks), (FILLS, fills)):
            with closing(open_reader(record.run_dir / QUEUES, queue)) as reader:
                lines = reader.head().lines
            if counted != lines:
                detail = f"{METRICS_FILE} of before its end: {queue}"
                expected, found = f"{lines} lines", str(counted)
                raise IntegrityError(
                    "report", ATOMICITY_VIOLATION, detail, expected=expected, found=found
                )
    performance: JsonObject = figures["performance"]
    return performance


def bytes_of(path: Path) -> int:
    """Return the bytes of a file or of all files below a folder; 0 where nothing is."""
    status = FILES.stat(path)
    if status is None:
        return 0
    if status.is_folder:
        return sum(bytes_of(path / name) for name in FILES.listdir(path))
    return status.size


def facts_of(record: RunRecord) -> JsonObject | None:
    """Return the facts with a run's report; None for none, or if they have another root."""
    return _of_root(record.run_dir / "report" / FACTS_FILE, FACTS_V, record.seal)


def symbols_in(manifest: Manifest, facts: JsonObject | None) -> list[str]:
    """Return a run's symbols as `symbols_of` does, by the facts with its report."""
    market = (facts or {}).get("market", {})
    return list(symbols_of(manifest, [each["symbol"] for each in market.get("symbols", ())]))


def _acceptance(run_dir: Path, seal: JsonObject) -> JsonObject | None:
    """Return the verdict of `minibot accept`, None if it has another root or older rules."""
    verdict = _of_root(run_dir / "report" / ACCEPTANCE_FILE, ACCEPTANCE_V, seal)
    return verdict if verdict is not None and "verdict" in verdict else None


def _of_root(path: Path, version: int, seal: JsonObject) -> JsonObject | None:
    """Return a file next to the report; None if it is missing, damaged, or has another root."""
    if not path.exists():
        return None
    try:
        found = dict(read_hashed(path))
    except RunStop:
        return None
    is_current = found.get("v") == version and found.get("root") == seal.get("root")
    return found if is_current else None
