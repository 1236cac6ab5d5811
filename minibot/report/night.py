"""One night, read from its folder: manifest, seal, and every figure recounted from its queues.

Any run is read as a night here; `acceptance` says whether it counts as one. The kind (simulated, a
drill, stopped, interrupted) is decided here once for summary, report and acceptance.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from minibot.engine.role_replay import Recorded
from minibot.events.model import Incident, JsonObject, StopJournal
from minibot.kernel.errors import Refusal
from minibot.replay.run_status import INTERRUPTED, altered_files
from minibot.report.choices import symbols_of
from minibot.report.records import lasted_ms
from minibot.report.recount import Progress, Recount
from minibot.report.run_kind import drill_of, is_expected, made_up_of, read_seal, root_or_reason
from minibot.runtime.manifest import Manifest
from minibot.runtime.stop import END_KIND, STOP_KIND

RESTARTED = "ROLE_RESTARTED"
AI_OFF = "AI_OFF"


@dataclass(frozen=True, slots=True)
class Night:
    """Run read from its folder to the end; `seal` is empty while the run is not sealed."""

    recorded: Recorded
    seal: JsonObject
    count: Recount

    @classmethod
    def open(cls, run_dir: Path, progress: Progress = lambda lines: None) -> Night:
        """Return a night.

        Raises:
            RunStop: The queues cannot be read to their end; `minibot verify` names the place.
            Refusal: The run has not written its opening yet, or never did.
        """
        recorded = Recorded.open(run_dir)
        seal = read_seal(run_dir)
        if next(recorded.events("control"), None) is None:
            if seal:
                raise Refusal(f"{run_dir.name} ended before its first event.", "See: minibot runs")
            raise Refusal(f"{run_dir.name} has no event yet.", "Try again when it runs.")
        return cls(recorded, seal, Recount(recorded, progress))

    @property
    def manifest(self) -> Manifest:
        """The manifest of the run."""
        return self.recorded.manifest

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.manifest.run_id

    @property
    def sealed(self) -> JsonObject:
        """The launcher's additions to the seal: state, times, lag, sync."""
        extra: JsonObject = self.seal.get("extra", {})
        return extra

    @property
    def root(self) -> str:
        """Root of the seal, or in words why there is none to keep."""
        return root_or_reason(self.recorded.run_dir)

    @property
    def altered(self) -> tuple[str, ...]:
        """Files and queues that differ from the seal; figures may lack their events."""
        return altered_files(self.recorded.run_dir, sizes=True)

    @property
    def drill(self) -> str:
        """The faults planted or injected on purpose, empty where there were none."""
        return drill_of(self.manifest)

    @property
    def is_interrupted(self) -> bool:
        """True when the run did not end by itself, as after a loss of power."""
        return self.sealed.get("state") == INTERRUPTED

    @property
    def stops(self) -> list[tuple[int, StopJournal]]:
        """Every STOP of the run with its time, oldest first."""
        return [(ts, stop) for ts, stop in self.count.stops if stop.kind == STOP_KIND]

    @property
    def end(self) -> StopJournal | None:
        """The STOP that the seal names, else the run's first STOP, else its END."""
        stops = [stop for _, stop in self.stops]
        named = [stop for stop in stops if stop.reason_code == self.sealed.get("reason_code")]
        ends = [stop for _, stop in self.count.stops if stop.kind == END_KIND]
        return next(iter([*named, *stops, *ends]), None)

    @property
    def wall_ms(self) -> int | None:
        """Wall-clock milliseconds from start to seal, or None for a run without an end."""
        return lasted_ms(self.manifest, self.sealed)

    @property
    def market_ms(self) -> int:
        """Market milliseconds from the run's origin to its last market event."""
        return max(0, self.count.market.last_ts - self.manifest.clock_origin_ms)

    @property
    def planned_ms(self) -> int:
        """Planned duration of the run in market milliseconds."""
        return int(self.manifest.config["duration_ms"])

    @property
    def stopped_ms(self) -> int:
        """Planned market milliseconds that the run lost to a STOP; 0 without a STOP (U-21)."""
        return max(0, self.planned_ms - self.market_ms) if self.stops else 0

    @property
    def made_up(self) -> str:
        """The reason why the market data are not the exchange's own, empty where they are."""
        return made_up_of(self.manifest)

    @property
    def restarts(self) -> Counter[str]:
        """Number of restarts by the watchdog, by role."""
        return Counter(
            incident.detail.partition(" ")[0]
            for _, incident in self.count.incidents
            if incident.kind == RESTARTED
        )

    @property
    def ai_off(self) -> str:
        """The reason why the AI was switched off, empty while it was not."""
        for _, incident in self.count.incidents:
            if incident.kind == AI_OFF:
                return incident.detail
        return ""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its symbols: with a universe those that had prices, else those of the manifest."""
        return symbols_of(self.manifest, self.count.prices)

    @property
    def incidents(self) -> list[tuple[int, Incident]]:
        """Incidents with their market times, without those that the profile itself causes."""
        manifest = self.manifest
        return [each for each in self.count.incidents if not is_expected(each[1], manifest)]

    def incident_counts(self, *, is_with_expected: bool = False) -> list[tuple[Incident, int]]:
        """Return each kind of `incidents` once, the last of it, with how many there were.

        Args:
            is_with_expected: Count those that the profile itself causes, too.
        """
        found: dict[tuple[str, str], tuple[Incident, int]] = {}
        for _, incident in self.count.incidents if is_with_expected else self.incidents:
            key = (incident.component, incident.kind)
            before = found.get(key, (incident, 0))[1]
            found[key] = (incident, before + (incident.count or 1))
        return list(found.values())
