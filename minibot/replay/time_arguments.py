"""Time arguments: times of a run as people write them, in UTC or in the operator's zone.

A time of day means the one moment of the run at which clocks show it, also after midnight. A time
outside of the run, or one that the run has twice, is refused, and the refusal names the run's span;
a date or an offset says which of two is meant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from minibot.engine.lookup import last_event
from minibot.engine.recorded_run import Recorded
from minibot.events.unit_sizes import HOUR_MS
from minibot.kernel.errors import ContractError, IntegrityError, Refusal

TIME: Final = re.compile(
    r"(?:(?P<date>\d{4}-\d{2}-\d{2})[T ])?"
    r"(?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:\.(?P<ms>\d{1,3}))?)?"
    r"(?P<zone>Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?",
    re.ASCII,
)
WRITTEN: Final = "Give HH:MM, HH:MM:SS or 2026-11-20T02:13:07, with --zone or Z for UTC."
# The verb of a tape reads +90s and +5m itself.
WRITTEN_IN_UTC: Final = "Give HH:MM, HH:MM:SS or 2026-11-20T02:13:07, in UTC; or +90s, +5m."
HOUR: Final = re.compile(r"(?:(?P<date>\d{4}-\d{2}-\d{2})[T ])?(?P<hour>[01]?\d|2[0-3])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """Span of a run from its first to its last market time, Unix ms, and the zone of its reader.

    Attributes:
        is_tape: It is of a tape, which is read in UTC alone.
    """

    run_id: str
    from_ms: int
    to_ms: int
    zone: tzinfo
    zone_name: str
    is_tape: bool = False

    @classmethod
    def of(cls, recorded: Recorded, zone: str | None) -> Span:
        """Return the span of a run.

        Args:
            recorded: The run.
            zone: An IANA name, `UTC`, or `local` for this machine's; None for UTC.

        Raises:
            Refusal: The zone is unknown, or the run has no event yet.
        """
        try:
            first = next(recorded.events("control"), None)
        except (IntegrityError, ContractError):
            # The replay of its readers says where it is damaged.
            from_ms = recorded.manifest.clock_origin_ms
        else:
            if first is None:
                raise Refusal(
                    f"{recorded.manifest.run_id} has no event yet.", "Try again when it runs."
                )
            from_ms = first[1].ts
        last = last_event(recorded, "market_ticks")
        to_ms = from_ms if last is None else max(from_ms, last.ts)
        found, name = zone_of(zone)
        return cls(recorded.manifest.run_id, from_ms, to_ms, found, name)

    @property
    def text(self) -> str:
        """The span for people."""
        begin, end = self._local(self.from_ms), self._local(self.to_ms)
        last = f"{end:%H:%M:%S}" if begin.date() == end.date() else f"{end:%Y-%m-%d %H:%M:%S}"
        return f"{begin:%Y-%m-%d %H:%M:%S} to {last} {self.zone_name}"

    def clock(self, ts: int) -> str:
        """Return a time to the millisecond with the zone's name."""
        return f"{self._local(ts):%H:%M:%S}.{ts % 1000:03d} {self.zone_name}"

    def written(self, ts: int) -> str:
        """Return the arguments by which a verb gets the same time, to the second: time and zone."""
        local = self._local(ts // 1000 * 1000)
        text = f"{local:%H:%M:%S}"
        try:
            is_plain = self.moment(text) == ts // 1000 * 1000
        except Refusal:
            is_plain = False
        text = text if is_plain else f"{local:%Y-%m-%dT%H:%M:%S%z}"
        return text if self.zone is UTC else f"{text} --zone {self.zone_name}"

    def moment(self, text: str, *, is_end: bool = False) -> int:
        """Return the Unix ms that a text means.

        Args:
            text: `HH:MM`, `HH:MM:SS`, `HH:MM:SS.mmm`, each with an optional date and zone.
            is_end: Return the last millisecond that the text covers, not the first: of the minute
                if no second is given, of the second if no millisecond is given.

        Raises:
            Refusal: The text is not a time, or the run does not have it or has it twice.
        """
        found = TIME.fullmatch(text.strip())
        if found is None:
            remedy = WRITTEN_IN_UTC if self.is_tape else WRITTEN
            raise Refusal(f"{text!r} is not a time.", remedy)
        length = 60_000 if found["second"] is None else 1_000 if found["ms"] is None else 1
        zone = self.zone if found["zone"] is None else _offset(found["zone"])
        clock = (int(found[name] or 0) for name in ("hour", "minute", "second"))
        ms = int((found["ms"] or "0").ljust(3, "0"))
        moments = [begin + ms for begin in self._days(found["date"], zone, *clock)]
        begin = self._only(text, moments, length)
        return begin + length - 1 if is_end else begin

    def hour(self, text: str) -> int:
        """Return the beginning of an hour of the run, Unix ms.

        The hours of a run are UTC hours: in a zone that is half an hour off, a local hour covers
        parts of two of them.

        Args:
            text: `2` or `02` for the hour of day, `2026-11-20T02`, `02:00`, or `#3` for the
                third hour of the run.

        Raises:
            Refusal: The text is not an hour, is none of this run, or fits more than one of them.
        """
        hours = {f"#{n}": hour_ts for n, hour_ts in enumerate(self.hours(), 1)}
        if text in hours:
            return hours[text]
        found = HOUR.fullmatch(text.strip().removesuffix(":00"))
        if found is None:
            raise Refusal(
                f"{text!r} is not an hour.",
                f"Give 02, 2026-11-20T02 or #1 to #{len(hours)}; the run goes from {self.text}.",
            )
        moments = self._days(found["date"], self.zone, int(found["hour"]), 0, 0)
        meant = {
            name: hour_ts
            for name, hour_ts in hours.items()
            if any(self._meets(at, hour_ts) for at in moments)
        }
        if not meant:
            raise Refusal(f"{text} is not a time of this run.", f"It goes from {self.text}.")
        if len(meant) > 1:
            which = " or ".join(f"{name} ({self.clock(at)[:5]})" for name, at in meant.items())
            raise Refusal(
                f"{text} is in {len(meant)} hours of this run, which goes from {self.text}.",
                f"Say which: {which}.",
            )
        return next(iter(meant.values()))

    def hours(self) -> list[int]:
        """Return the beginning of each hour of market time that the run touches, Unix ms."""
        first = self.from_ms // HOUR_MS
        return [hour * HOUR_MS for hour in range(first, self.to_ms // HOUR_MS + 1)]

    def _meets(self, at: int, hour_ts: int) -> bool:
        """Return whether the hours from `at` and from `hour_ts` share a time of the run."""
        return max(at, hour_ts, self.from_ms) <= min(
            at + HOUR_MS - 1, hour_ts + HOUR_MS - 1, self.to_ms
        )

    def _only(self, text: str, moments: list[int], length: int) -> int:
        inside = [at for at in moments if at + length > self.from_ms and at <= self.to_ms]
        named = "tape" if self.is_tape else "run"
        if not inside:
            raise Refusal(f"{text} is not a time of this {named}.", f"It goes from {self.text}.")
        if len(inside) > 1:
            dates = " or ".join(f"{self._local(at):%Y-%m-%dT%H:%M:%S%z}" for at in inside)
            raise Refusal(
                f"{text} comes {len(inside)} times in this {named}, which goes from {self.text}.",
                f"Say which: {dates}.",
            )
        return inside[0]

    def _days(
        self, date: str | None, zone: tzinfo, hour: int, minute: int, second: int
    ) -> list[int]:
        """Return every moment at which a zone's clocks show a time, on a date or in the run.

        Where clocks are set back, the same time comes twice.
        """
        try:
            days = [datetime.strptime(date, "%Y-%m-%d")] if date else self._dates(zone)
        except ValueError as error:
            raise Refusal(f"{date} is not a date.", WRITTEN) from error
        moments = set()
        for day in days:
            shown = day.replace(hour=hour, minute=minute, second=second, tzinfo=zone)
            for fold in (0, 1):
                try:
                    moment = shown.replace(fold=fold).astimezone(UTC)
                    back = moment.astimezone(zone)
                except (OverflowError, ValueError, OSError):
                    continue  # Beyond an end of the calendar, where no run is.
                if (back.hour, back.minute) == (hour, minute):  # Else clocks skipped this time.
                    moments.add(int(moment.timestamp()) * 1000)
        return sorted(moments)

    def _dates(self, zone: tzinfo) -> list[datetime]:
        begin = datetime.fromtimestamp(self.from_ms / 1000, zone)
        end = datetime.fromtimestamp(self.to_ms / 1000, zone)
        first = datetime(begin.year, begin.month, begin.day)
        return [first + timedelta(days=n) for n in range((end.date() - begin.date()).days + 1)]

    def _local(self, ts: int) -> datetime:
        return datetime.fromtimestamp(ts / 1000, self.zone)


class _LocalZone(tzinfo):
    """This machine's zone, with the offset of the moment that is shown: summer or winter time."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        there = moment.replace(tzinfo=UTC)
        shown = there.astimezone().replace(tzinfo=None)
        # Where clocks are set back, the same time comes twice.
        return shown.replace(tzinfo=self, fold=int(shown.astimezone() != there))


LOCAL: Final = _LocalZone()


def zone_of(name: str | None) -> tuple[tzinfo, str]:
    """Return a zone and its name.

    Raises:
        Refusal: The zone is unknown.
    """
    if name is None or name.upper() in ("UTC", "Z"):
        return UTC, "UTC"
    if name == "local":
        return LOCAL, name
    try:
        return ZoneInfo(name), name
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Refusal(
            f"{name!r} is not a time zone.", "Give UTC, local, or a name such as Europe/Berlin."
        ) from error


def _offset(text: str) -> tzinfo:
    return UTC if text == "Z" else datetime.strptime(text.replace(":", ""), "%z").tzinfo or UTC
