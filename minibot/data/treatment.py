"""Trouble in a data file, counted and placed, and the treatment that its reader chose.

Nothing is repaired by itself: each kind of trouble refuses the file, unless the `Treatment` says
otherwise. Repaired trouble is counted in the report like any other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from minibot.kernel.errors import ConfigError, Refusal

REFUSE: Final = "refuse"
PLACES_MAX: Final = 5

# The kinds of trouble, in the order in which they are judged and shown.
DAMAGED, ROWS, UNITS, ORDER, DUPLICATES, MISALIGNED, PRICES, ZERO_VOLUME, GAPS = (
    *("damaged", "rows", "units", "order", "duplicates", "misaligned", "prices"),
    *("zero_volume", "gaps"),
)
MEANINGS: Final = {
    DAMAGED: "the file is cut short or damaged",
    ROWS: "bad rows: wrong columns, not a number, more than 8 decimals, or a volume below zero",
    UNITS: "rows whose times are written in another unit than the first row's",
    ORDER: "rows older than the row before",
    DUPLICATES: "duplicate rows, identical or contradictory",
    MISALIGNED: "bars that do not open on a multiple of their interval",
    PRICES: "prices of zero or less, or outside of their bar's low and high",
    ZERO_VOLUME: "rows without volume",
    GAPS: "bars or ids that are missing between two rows",
}


@dataclass(frozen=True, slots=True)
class Treatment:
    """Treatment of each kind of trouble; the default for all is `refuse`.

    `keep` leaves rows, or a hole, as they are; `drop` leaves rows out, which makes a hole; `flat`
    puts a bar without volume at the former close into each hole, and leaves one between trades as
    it is; `sort` puts rows into order; `first` and `last` choose among several rows of one time
    (trades: of one id).
    """

    gaps: str = REFUSE
    duplicates: str = REFUSE
    order: str = REFUSE
    rows: str = REFUSE
    units: str = REFUSE
    misaligned: str = REFUSE
    prices: str = REFUSE
    zero_volume: str = REFUSE

    def __post_init__(self) -> None:
        wrong = [
            f"{name}: {value!r}; allowed: {', '.join(CHOICES[name])}"
            for name, value in asdict(self).items()
            if value not in CHOICES[name]
        ]
        if wrong:
            raise ConfigError("treatment of data: unknown word.", wrong)

    def of(self, code: str) -> str:
        """Return the treatment of a kind of trouble; damage is always refused."""
        return REFUSE if code == DAMAGED else str(getattr(self, code))

    def to_json(self) -> dict[str, str]:
        """Return the treatments other than `refuse`."""
        return {name: word for name, word in asdict(self).items() if word != REFUSE}


CHOICES: Final[dict[str, tuple[str, ...]]] = {
    GAPS: (REFUSE, "keep", "flat"),
    DUPLICATES: (REFUSE, "first", "last"),
    ORDER: (REFUSE, "sort"),
    ROWS: (REFUSE, "drop"),
    UNITS: (REFUSE, "keep"),
    MISALIGNED: (REFUSE, "drop"),
    PRICES: (REFUSE, "drop"),
    ZERO_VOLUME: (REFUSE, "keep", "drop"),
}
"""Choices for each kind of trouble."""

KEEP_ALL: Final = Treatment(
    *("keep", "last", "sort", "drop", "keep", "drop", "drop", "keep"),
)
"""For looking at a file: everything is counted, nothing refused but damage."""


@dataclass(frozen=True, slots=True)
class Place:
    """Place of trouble: row number from 1, market time in ms (0 if unknown), description.

    The row is the line of the file, a header included. Of trades, that holds for `rows`, `units`
    and `damaged`; for other trouble the trades that were read are counted: for `order` as they
    stand in the file, else in order of time. Where several files meet, their rows are counted as
    one file's.
    """

    row: int
    ts: int
    what: str

    def text(self) -> str:
        """Return the place as text."""
        when = f", {clock_text(self.ts)}" if self.ts else ""
        return f"row {self.row}{when}: {self.what}"


@dataclass(slots=True)
class Trouble:
    """One kind of trouble: its count, and its first places."""

    code: str
    count: int = 0
    places: list[Place] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the trouble as JSON."""
        return asdict(self)


@dataclass(slots=True)
class DataReport:
    """Contents of a data file, and its trouble."""

    path: Path
    kind: str
    symbol: str = ""
    interval: str = ""
    rows: int = 0
    first_ts: int = 0
    end_ts: int = 0
    price_increment: str = ""
    qty_increment: str = ""
    troubles: dict[str, Trouble] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, code: str, row: int, ts: int, what: str, count: int = 1) -> None:
        """Count trouble at a place; only the first few places are kept."""
        trouble = self.troubles.setdefault(code, Trouble(code))
        trouble.count += count
        if len(trouble.places) < PLACES_MAX:
            trouble.places.append(Place(row, ts, what))

    def take_over(self, part: DataReport, *without: str) -> None:
        """Add a file's report to this one of its series, but for some kinds of trouble."""
        name = part.path.name
        for code, trouble in part.troubles.items():
            if code not in without:
                for place in trouble.places:
                    self.add(code, place.row, place.ts, f"{place.what} ({name})", 0)
                self.troubles[code].count += trouble.count
        self.notes += [f"{name}: {note}" for note in part.notes]

    @property
    def is_clean(self) -> bool:
        """Return whether there is no trouble."""
        return not self.troubles

    def refused(self, treatment: Treatment) -> list[Trouble]:
        """Return the kinds of trouble that the treatment refuses."""
        return [
            self.troubles[code]
            for code in MEANINGS
            if code in self.troubles and treatment.of(code) == REFUSE
        ]

    def judge(self, treatment: Treatment) -> None:
        """Refuse the file for trouble that the treatment does not settle.

        Raises:
            Refusal: With the counts, the first place of each kind, and the options that settle it.
        """
        refused = self.refused(treatment)
        if not refused:
            return
        text = "; ".join(
            f"{trouble.count} x {trouble.code} ({MEANINGS[trouble.code]}; first: "
            f"{trouble.places[0].text()})"
            for trouble in refused
        )
        raise Refusal(f"{self.path}: {text}.", _remedy([trouble.code for trouble in refused]))

    def settled(self, treatment: Treatment) -> str:
        """Return in a sentence the faults and their treatment; empty for none."""
        found = [
            f"{code} {self.troubles[code].count:,} ({treatment.of(code)})"
            for code in MEANINGS
            if code in self.troubles
        ]
        lines = [*([f"settled in its file: {', '.join(found)}"] if found else []), *self.notes]
        return f"{self.symbol}: {'; '.join(lines)}" if lines else ""

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        troubles = [self.troubles[code].to_json() for code in MEANINGS if code in self.troubles]
        return {
            **known,
            "path": str(self.path),
            "is_clean": self.is_clean,
            "troubles": troubles,
        }

    def lines(self, path: str | None = None) -> list[str]:
        """Return the report for a person, with another name of the file if `path` is given."""
        span = f"{clock_text(self.first_ts)} .. {clock_text(self.end_ts)}" if self.rows else "-"
        what = f"{self.symbol} {self.interval}".strip()
        steps = f"steps {self.price_increment or '-'} / {self.qty_increment or '-'}"
        output = [
            f"{self.path if path is None else path}:",
            f"  {self.kind} {what}, {self.rows} rows, {span}, {steps}",
        ]
        for code in MEANINGS:
            trouble = self.troubles.get(code)
            if trouble is None:
                continue
            output.append(f"  {trouble.count:>8} {code:<12} {MEANINGS[code]}")
            output += [f"           {'':<12} {place.text()}" for place in trouble.places]
        output += [f"  {note}" for note in self.notes]
        if self.is_clean:
            output.append("  nothing is wrong with it")
        return output


def _remedy(codes: list[str]) -> str:
    if DAMAGED in codes:
        return "Fetch the file again and compare its sha256."
    options = [f"--{code.replace('_', '-')} {'|'.join(CHOICES[code][1:])}" for code in codes]
    return f"Say how to treat it ({', '.join(options)}), or name another file."


def clock_text(ts: int) -> str:
    """Return a time as `2025-06-01 17:20:00`, UTC, with milliseconds only if not zero."""
    moment = datetime.fromtimestamp(ts // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{moment}.{ts % 1000:03d}" if ts % 1000 else moment
