"""Sweep: the same backtest over a grid of profile values, one row for each point.

A row is exactly the backtest that `--set` with the same texts would give, with the same digest; of
a profile that was fitted to its source (`source_interval`) or strategy (`idea.fed`), with the bars
and the warm-up that it got then.
Rows come in the order of the grid, whatever finishes first. A row keeps no events.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from minibot.backtest.report.documents import ID_HEX, files_behind
from minibot.backtest.report.review import Review
from minibot.backtest.report.statistics import KEY_FIGURES, Shown, figure_text
from minibot.backtest.report.tables import BAND_KEYS
from minibot.backtest.search.backtest_job import Job, run_job, sound_market
from minibot.engine.collector import spared_collector
from minibot.engine.decision_record import DecisionRecord
from minibot.engine.lockstep import fresh_cores
from minibot.engine.worker_pool import in_parallel
from minibot.events.model import JsonObject
from minibot.events.reasons import CONFIG_INVALID
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError, RunStop
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.report.columns import table_lines
from minibot.runtime.configuration.shown_values import shown_text
from minibot.runtime.paths import Var
from minibot.strategies.selection import judge

SCHEMA: Final = "minibot.sweep"
SWEEP_FILE: Final = "sweep.json"
OPTIMISE_FILE: Final = "optimise.json"
KEPT_FILES: Final = (SWEEP_FILE, OPTIMISE_FILE)
POINTS_MAX: Final = 10_000
BROKEN_MAX: Final = 5
NIGHT: Final = "duration_ms"
HEADS: Final = {"drawdown_ratio_max": "drawdown", "win_rate": "won"}

OnDone = Callable[[int, int], None]


class Axis(NamedTuple):
    """Axis of the grid: a key of the profile and its values, as texts of `--set`."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One point of the grid: its settings and its results.

    `stop` is a reason code if risk or a core stopped the backtest, or if its profile was refused,
    by itself or by the source; else it is empty. With a core's stop or a refused profile, figures
    and digest are empty, and `why` says what happened and where, for a person alone.
    """

    sets: tuple[str, ...]
    figures: JsonObject
    digest: str
    stop: str
    why: str = ""

    def to_json(self) -> JsonObject:
        """Return the row as one JSON object."""
        return {
            "sets": list(self.sets),
            "figures": self.figures,
            "digest": self.digest,
            "stop": self.stop or None,
        }


def refuse_twice(flag: str, keys: Sequence[str]) -> None:
    """Refuse a key that occurs twice: the later one would silently win.

    Raises:
        ConfigError: A key occurs twice.
    """
    for key in dict.fromkeys(keys):
        if keys.count(key) > 1:
            raise ConfigError(f"{flag}: {key} is given twice.", ["allowed: each key once"])


def parse_axis(text: str) -> Axis:
    """Return the axis of `section.key=a,b,c`; commas inside brackets or quotes do not separate.

    Raises:
        ConfigError: Wrong form, or a duplicate value.
    """
    key, equals, rest = text.partition("=")
    values = tuple(_divided(rest))
    if not equals or not all(key.split(".")) or not all(values):
        raise ConfigError(
            f"--sweep: {shown_text(text)!r} is not an axis.", ["allowed: section.key=a,b,c"]
        )
    if len(set(values)) < len(values):
        raise ConfigError(
            f"--sweep: {shown_text(text)!r}: a value is given twice.", ["each value once"]
        )
    return Axis(key.strip(), values)


def _divided(text: str) -> Iterator[str]:
    depth, quoted, value = 0, False, ""
    for letter in text:
        if letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not quoted and not depth:
            yield value.strip()
            value = ""
        else:
            value += letter
    yield value.strip()


def points_of(job: Job, axes: Sequence[Axis]) -> list[tuple[str, ...]]:
    """Return the settings of each point, the last axis changing fastest.

    Refused points become rows that say so: two values may contradict each other, as a slow average
    that is faster than the fast one. Each value has to be accepted in at least one point.

    Raises:
        ConfigError: A key occurs twice, too many points, the length of a night, or a value that no
            point accepts; each violation is named once, without its point.
    """
    refuse_twice("--sweep", [axis.key for axis in axes])
    if any(axis.key == NIGHT for axis in axes):
        # The profile's own has become that of every row's nights.
        raise ConfigError(
            f"--sweep: {NIGHT} is not an axis.",
            [f"allowed: backtest.night_ms, or --set {NIGHT}=..."],
        )
    points = 1
    for axis in axes:
        points *= len(axis.values)
    if points > POINTS_MAX:
        raise ConfigError(
            f"--sweep: {points:,} backtests are too many.", [f"allowed: {POINTS_MAX:,}"]
        )
    grid = [
        tuple(f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]
    refused = {sets: error for sets in grid if (error := refusal_of(job.changed(*sets)))}
    accepted = {text for sets in grid if sets not in refused for text in sets}
    violations = {
        violation: None
        for sets, error in refused.items()
        if not accepted.issuperset(sets)
        for violation in error.violations
    }
    if violations:
        raise ConfigError("--sweep: the profile does not allow this.", list(violations))
    return grid


def refusal_of(job: Job) -> ConfigError | None:
    """Return why a job's profile or strategy is refused: values may contradict each other."""
    try:
        config = job.config
        judge(config.raw, config.given)
        fresh_cores(config.raw)
    except ConfigError as error:
        return error
    except RunStop as error:
        return ConfigError(f"{' '.join(job.sets)}: refused.", [error.detail])
    return None


def run_row(job: Job) -> Row:
    """Return the row of one backtest, even of one that is stopped, or whose profile is refused."""
    if (refused := refusal_of(job)) is not None:
        return _refused_row(job, refused)
    with spared_collector():
        try:
            result = run_job(job, DecisionRecord(is_for_page=False))
        except ConfigError as error:  # Only the source refuses it, as bars shorter than its own.
            return _refused_row(job, error)
        except RunStop as error:
            return Row(job.sets, {}, "", error.reason_code, error.detail)
        return Row(job.sets, dict(Review.of(result).figures), result.digest, result.stop)


def _refused_row(job: Job, error: ConfigError) -> Row:
    return Row(job.sets, {}, "", CONFIG_INVALID, "; ".join(error.violations))


def run_sweep(
    job: Job,
    points: Sequence[tuple[str, ...]],
    jobs: int,
    on_done: OnDone = lambda done, whole: None,
) -> list[Row]:
    """Return one row for each point, in order.

    Args:
        job: The backtest that is varied.
        points: The points, from `points_of`.
        jobs: Number of processes to use.
        on_done: Called after each row.

    Raises:
        ConfigError: No point fits the source, as where the source's name is mistyped.
    """
    _require_source(job, points)
    rows: list[Row] = []
    for row in in_parallel(run_row, [job.changed(*sets) for sets in points], jobs):
        # Settings that all rows share stand in the profile of the sweep.
        rows.append(replace(row, sets=row.sets[len(job.sets) :]))
        on_done(len(rows), len(points))
    return rows


def _require_source(job: Job, points: Sequence[tuple[str, ...]]) -> None:
    """Refuse a source that fits no point, with the first point's error; one that fits suffices."""
    errors: list[ConfigError] = []
    for changed in (job.changed(*sets) for sets in points):
        if refusal_of(changed) is not None:
            continue
        try:
            sound_market(changed)
        except ConfigError as error:
            errors.append(error)
        else:
            return
    if errors:
        raise errors[0]


def ranked(rows: Sequence[Row], key: str) -> list[Row]:
    """Return the rows, the best by a figure first, ties in given order.

    Stopped ones come after them, as their figures cover a shorter time, and those
    without the figure last.
    """
    shown = _shown(key)

    def rank(row: Row) -> tuple[bool, bool, Decimal]:
        value = row.figures.get(key)
        if value is None:
            return True, False, Decimal(0)
        return False, bool(row.stop), -shown.better * Decimal(str(value))

    return sorted(rows, key=rank)


def sweep_document(job: Job, axes: Sequence[Axis], rows: Sequence[Row], key: str) -> JsonObject:
    """Return a sweep as one JSON object, its rows in the order of the grid."""
    body: JsonObject = {
        "schema": SCHEMA,
        "v": 1,
        "sources": list(job.words),
        "files": files_behind(job.words, job.config.raw),
        "span": [job.span.from_ms, job.span.to_ms],
        "axes": [{"key": axis.key, "values": list(axis.values)} for axis in axes],
        "sort_by": key,
        "rows": [row.to_json() for row in rows],
        "config": job.config.raw,
    }
    digest = sha256(canonical.encode(body)).hexdigest()
    return {"id": f"sweep_{job.config.profile}_{digest[:ID_HEX]}", **body}


def keep_search(document: JsonObject, name: str, var: Var) -> Path:
    """Keep a sweep or a search with the kept backtests and return its file."""
    folder = var.backtests / str(document["id"])
    ensure_folder(folder)
    write_hashed(folder / name, document, generation=1)
    return folder / name


def kept_searches(var: Var) -> list[Path]:
    """Return the files of kept sweeps and searches, the newest last."""
    found = [path for name in KEPT_FILES for path in var.backtests.glob(f"*/{name}")]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path))


def sweep_lines(rows: Sequence[Row], key: str) -> list[str]:
    """Return the rows as a table, the best by a figure first."""
    keys = list(dict.fromkeys([key, *BAND_KEYS]))
    columns = [_shown(name) for name in keys]
    head = ("set", *(HEADS.get(shown.key, shown.label) for shown in columns), "digest")
    cells = [
        [
            ", ".join(short(text) for text in row.sets) or "the profile",
            *(_cell(row, shown) for shown in columns),
            row.stop or row.digest[:ID_HEX],
        ]
        for row in ranked(rows, key)
    ]
    return table_lines(head, cells, "No point was given.", whole=(0,))


def idle_axes(axes: Sequence[Axis], rows: Sequence[Row]) -> list[str]:
    """Return the keys without effect: a change of the key alone never changed a digest."""
    found = []
    for place, axis in enumerate(axes):
        digests: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            others = row.sets[:place] + row.sets[place + 1 :]
            digests.setdefault(others, set()).add(row.digest or row.stop)
        if len(axis.values) > 1 and all(len(each) == 1 for each in digests.values()):
            found.append(axis.key)
    return found if any(row.digest for row in rows) else []


def broken_lines(rows: Sequence[Row]) -> list[str]:
    """Return a line for each different reason why rows have no figures, the first few."""
    reasons = dict.fromkeys(f"{row.stop}: {row.why}" for row in rows if row.why)
    return list(reasons)[:BROKEN_MAX]


def short(text: str) -> str:
    """Return a text of `--set` without its section, which a table's title names, and quotes."""
    key, _, value = text.partition("=")
    return f"{key.partition('.')[2] or key}={value}".replace('"', "")


def _cell(row: Row, shown: Shown) -> str:
    return figure_text(shown.kind, row.figures.get(shown.key))


def _shown(key: str) -> Shown:
    return next(shown for shown in KEY_FIGURES if shown.key == key)
