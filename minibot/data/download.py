"""Download of klines into `var/data`: archive files where they exist, REST for the rest.

Only spans that no stored file covers are requested. A file of the archive is checked before the
manifest names it: against the sha256 that the archive publishes, and row by row. REST rows are
checked and stored every few pages. A file that fails is not stored and is named in the result; the
others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson

from minibot.data.klines import audit_klines
from minibot.data.patience import Patience
from minibot.data.store import Piece, Series, StoredFile, rest_period
from minibot.data.treatment import KEEP_ALL, ORDER, PRICES, ROWS, UNITS, clock_text
from minibot.exchanges.base import TIMEOUT, UNREACHABLE, Rest, RestError, Venue
from minibot.exchanges.tapes.kline_bars import INTERVALS, next_open, open_of
from minibot.exchanges.venue_facts import SETTLE_MS, Archive, ArchiveFile, ArchiveHost
from minibot.exchanges.weight_budget import WeightBudget
from minibot.kernel.errors import Refusal

DAY_MS: Final = INTERVALS["1d"]
# Venue name of data from a host on this machine, such as `minibot exchange`: synthetic or replayed.
LOOPBACK_VENUE: Final = "embedded"
VERIFIED, NONE = "verified", "none"
# A month's file appears on the first Monday of the next; until then its days are requested.
MONTH_LATE_MS: Final = 10 * 86_400_000
# Trouble that a venue's published file may not have; gaps and quiet bars are the market's own, and
# after some outages of 2017 and 2018 its bars open within others.
_NEVER: Final = (ROWS, UNITS, ORDER, PRICES)
# A host that did not answer within all attempts gets no request for the next file or series.
_GONE: Final = (UNREACHABLE, TIMEOUT)
# An interruption costs at most this many pages of a thousand rows; a crash between a file and its
# manifest costs the whole file, which `Series.forget_changed` drops.
PAGES_A_WRITE: Final = 10
# File ending of rows that have not passed their check; to the store such a file is no data.
UNCHECKED: Final = ".unchecked"

PrintLine = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Klines to download: a symbol, an interval, and a span (end excluded) in Unix ms."""

    symbol: str
    interval: str
    from_ts: int
    to_ts: int


@dataclass(slots=True)
class Fetched:
    """Result of one download: files and rows stored, and the spans still missing.

    `bytes` is the size of the archive files. `requests` counts checksums and files that were
    requested, and pages that were answered; not repeated attempts, nor the venue's time. Before
    `settled_ts` the files of every period are long published: no new ones will come.
    """

    wanted: Wanted
    folder: Path
    files: list[str] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    requests: int = 0
    missing: list[tuple[int, int]] = field(default_factory=list)
    settled_ts: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def not_there(self) -> list[tuple[int, int]]:
        """The missing spans that no host brought, although they ended long ago."""
        at = self.settled_ts
        return [(first, min(end, at)) for first, end in self.missing if first < at]

    @property
    def not_yet(self) -> list[tuple[int, int]]:
        """The missing spans at the open end, which a later call may bring."""
        at = self.settled_ts
        return [(max(first, at), end) for first, end in self.missing if end > at]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON."""
        return {
            "symbol": self.wanted.symbol,
            "interval": self.wanted.interval,
            "folder": str(self.folder),
            "files": self.files,
            "rows": self.rows,
            "bytes": self.bytes,
            "requests": self.requests,
            "missing": [list(span) for span in self.missing],
            "not_there": [list(span) for span in self.not_there],
            "troubles": self.troubles,
        }


class Download:
    """Download of any number of series, one by each call of `fetch`.

    A host that did not answer one call gets no request of a later one.

    Args:
        root: `var/data`.
        venue: Venue of the klines; stored files bear its name.
        archive: The archive's host; None leaves it out.
        rest: The venue's REST; None leaves it out.
        budget: The request weight that REST may use.
        patience: Limits of retries and waits for a host.
        print_line: Takes a message for the operator for each file that is stored, refused, changed
            or not in the archive, and before a wait for request weight.
        pages_a_write: REST rows are stored after this many pages of a thousand.
    """

    def __init__(
        self,
        root: Path,
        venue: Venue,
        archive: ArchiveHost | None,
        rest: Rest | None,
        budget: WeightBudget,
        patience: Patience,
        print_line: PrintLine,
        *,
        pages_a_write: int = PAGES_A_WRITE,
    ) -> None:
        self._pages_a_write = pages_a_write
        self._root = root
        self._limits, self._layout = venue.limits, venue.archive
        self._archive = archive
        self._rest = rest
        hosts = [host for host in (archive, rest) if host is not None]
        # A single loopback host is enough: synthetic data must never pass for the venue's.
        self._venue = LOOPBACK_VENUE if any(host.is_loopback for host in hosts) else venue.name
        self._budget = budget
        self._patience = patience
        self._clock = patience.clock
        self._print_line = print_line

    def fetch(self, wanted: Wanted) -> Fetched:
        """Fetch all klines that are not stored yet; return the files and the spans still missing.

        Raises:
            Refusal: The host has banned this address, or stored data is damaged.
            RunStop: The disk refused a write.
        """
        series = Series.open(self._root, self._venue, wanted.symbol, wanted.interval)
        fetched = Fetched(wanted, series.folder)
        fetched.settled_ts = self._settled_ts(wanted.interval, self._clock.now_ms())
        for name in series.forget_changed():
            self._print_line(f"{name}: not what the manifest says, requested again")
        if self._archive is not None and self._layout is not None:
            self._from_archive(self._archive, self._layout, series, wanted, fetched)
        if self._rest is not None:
            self._from_rest(self._rest, series, wanted, fetched)
        fetched.missing = series.missing(wanted.from_ts, wanted.to_ts)
        return fetched

    def _settled_ts(self, interval: str, now_ts: int) -> int:
        """Return the end of the last period whose file should long be published."""
        if self._layout is not None and interval in self._layout.monthly_only:
            return open_of("1M", now_ts - MONTH_LATE_MS)
        return open_of("1d", now_ts - DAY_MS)

    # --- archive ------------------------------------------------------------------------------

    def _from_archive(
        self,
        host: ArchiveHost,
        layout: Archive,
        series: Series,
        wanted: Wanted,
        fetched: Fetched,
    ) -> None:
        spans = series.missing(wanted.from_ts, wanted.to_ts)
        now_ts = self._clock.now_ms()
        files = list(layout.files(wanted.symbol, wanted.interval, spans, now_ts))
        while files and self._archive is not None:
            file = files.pop(0)
            is_month = "/monthly/" in file.path
            is_there = self._take_file(host, series, file, fetched)
            is_young = now_ts - file.end_ts < MONTH_LATE_MS
            if (
                is_there is None
                and is_month
                and is_young
                and wanted.interval not in layout.monthly_only
            ):
                files = [*layout.days_of(file, wanted.symbol, wanted.interval), *files]

    def _take_file(
        self, host: ArchiveHost, series: Series, file: ArchiveFile, fetched: Fetched
    ) -> bool | None:
        """Return whether a file was stored; None if the archive does not have it."""
        keep = partial(series.receive, file.name)
        try:
            fetched.requests += 1
            published = self._patience.ask(lambda: host.checksum(file.path))
            received = None
            if published is not None:
                fetched.requests += 1
                received = self._patience.ask(lambda: host.fetch(file.path, keep))
        except RestError as error:
            self._refused(fetched, f"{file.name}: {error}")
            if error.kind in _GONE:
                self._archive = None
            return False
        if published is None or received is None:
            self._print_line(f"{file.name}: not in the archive")
            return None
        size, found = received
        if found != published:
            series.discard(file.name)
            why = f"sha256 {found}, but the archive publishes {published}: not stored"
            self._refused(fetched, f"{file.name}: {why}")
            return False
        fetched.bytes += size
        return self._store(series, file, found, fetched)

    def _store(self, series: Series, file: ArchiveFile, digest: str, fetched: Fetched) -> bool:
        """Check a received file and name it in the manifest; return whether it passed."""
        stored = StoredFile(
            *(file.name, file.path, digest, 0, file.first_ts, file.end_ts), VERIFIED
        )
        try:
            stored = _examined(series, stored)
        except Refusal as refusal:
            series.discard(file.name)
            self._refused(fetched, f"{file.name}: {refusal.message} Not stored.")
            return False
        before = set(series.files)
        pieces = series.cut(file.first_ts, file.end_ts)
        series.name(stored)
        for piece in pieces:
            self._store_rows(series, piece, fetched)
        for name in before - set(series.files):
            (series.folder / name).unlink()
        self._count(fetched, stored, 0)
        return True

    def _refused(self, fetched: Fetched, trouble: str) -> None:
        """Name what was refused at once: a ban later on leaves no result to name it in."""
        fetched.troubles.append(trouble)
        self._print_line(f"REFUSED {trouble}")

    def _count(self, fetched: Fetched, stored: StoredFile, had: int) -> None:
        fetched.files.append(stored.name)
        fetched.rows += stored.rows - had
        span = f"{clock_text(stored.first_ts)} .. {clock_text(stored.end_ts)}"
        self._print_line(f"{stored.name}: {stored.rows} rows, {span}, checksum {stored.checksum}")

    # --- REST ---------------------------------------------------------------------------------

    def _from_rest(self, rest: Rest, series: Series, wanted: Wanted, fetched: Fetched) -> None:
        try:
            # The venue's clock decides which bars are final, not this machine's.
            now_ts = self._patience.ask(rest.server_time) - SETTLE_MS
            closed_ts = open_of(wanted.interval, now_ts)
            settled_ts = self._settled_ts(wanted.interval, now_ts)
            fetched.settled_ts = min(fetched.settled_ts, settled_ts)
            for from_ts, to_ts in series.missing(wanted.from_ts, min(wanted.to_ts, closed_ts)):
                for first_ts, end_ts in _rest_spans(wanted.interval, from_ts, to_ts):
                    self._take_span(rest, series, wanted, (first_ts, end_ts), fetched)
        except RestError as error:
            self._refused(fetched, f"{wanted.symbol} {wanted.interval} by REST: {error}")
            if error.kind in _GONE:
                self._rest = None

    def _take_span(
        self,
        rest: Rest,
        series: Series,
        wanted: Wanted,
        span: tuple[int, int],
        fetched: Fetched,
    ) -> None:
        """Fetch a span within one file's period; count what was stored, also before an error."""
        name, rows = series.rest_file(span[0])
        before, had = series.files.get(name), len(rows)
        first_ts = span[0] if before is None else before.first_ts
        try:
            self._take_pages(rest, series, wanted, span, Piece(name, rows, first_ts, 0), fetched)
        finally:
            stored = series.files.get(name)
            if stored is not None and stored is not before:
                self._count(fetched, stored, had)

    def _take_pages(
        self,
        rest: Rest,
        series: Series,
        wanted: Wanted,
        span: tuple[int, int],
        piece: Piece,
        fetched: Fetched,
    ) -> None:
        """Append a span to a piece page by page, storing it every few pages."""
        at, end_ts = span
        is_settled = end_ts <= self._clock.now_ms() - DAY_MS
        name, rows, first_ts, _ = piece
        for page in range(1, 1 + (end_ts - at)):
            body = self._page(rest, wanted, at, end_ts)
            fetched.requests += 1
            rows += body
            if body:
                at = next_open(wanted.interval, open_of(wanted.interval, int(body[-1][0])))
            elif is_settled:  # The newest bars may come late; bars missing after a day are a hole.
                at = end_ts
            if not body or at >= end_ts:
                break
            if page % self._pages_a_write == 0 and not self._store_rows(
                series, Piece(name, rows, first_ts, at), fetched
            ):
                return
        if at > span[0]:
            self._store_rows(series, Piece(name, rows, first_ts, at), fetched)

    def _page(self, rest: Rest, wanted: Wanted, from_ts: int, to_ts: int) -> list[list[Any]]:
        weight, limit = self._limits.candles.weight, self._limits.candles_max

        def request() -> list[list[Any]]:
            wait_ms = self._budget.wait_ms(self._clock.now_ms(), weight)
            if wait_ms:
                self._print_line(f"request weight is used up: waiting {wait_ms / 1000:.0f} s")
                self._clock.wait_ms(wait_ms)
            self._budget.sent(self._clock.now_ms(), weight)
            rows = rest.candle_rows(
                wanted.symbol, wanted.interval, start=from_ts, end=to_ts - 1, limit=limit
            )
            if rest.last.weight_used is not None:
                self._budget.reported(self._clock.now_ms(), rest.last.weight_used)
            return [row for row in rows if from_ts <= row[0] < to_ts]

        return self._patience.ask(request)

    def _store_rows(self, series: Series, piece: Piece, fetched: Fetched) -> bool:
        """Store the rows of a span; return whether they passed the check, row by row."""
        data = b"".join(orjson.dumps(row) + b"\n" for row in piece.rows)
        stored = StoredFile(
            *(piece.name, self._limits.candles.path, sha256(data).hexdigest(), len(piece.rows)),
            *(piece.first_ts, piece.end_ts, NONE),
        )
        if piece.rows:
            # Checked under another name: the file's own may hold the rows that these continue.
            unchecked = replace(stored, name=piece.name + UNCHECKED)
            series.receive(unchecked.name, (data,))
            try:
                stored = replace(_examined(series, unchecked), name=piece.name)
            except Refusal as refusal:
                self._refused(fetched, f"{piece.name}: {refusal.message} Not stored.")
                return False
            finally:
                series.discard(unchecked.name)
        series.receive(piece.name, (data,))
        series.name(stored)
        return True


def _rest_spans(interval: str, from_ts: int, to_ts: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a span that become one file each."""
    period = rest_period(interval)
    while from_ts < to_ts:
        end_ts = min(to_ts, next_open(period, open_of(period, from_ts)))
        yield from_ts, end_ts
        from_ts = end_ts


def _examined(series: Series, stored: StoredFile) -> StoredFile:
    """Check every row of a received file; return it with its figures.

    Raises:
        Refusal: The file failed the check.
    """
    path = series.folder / stored.name
    report = audit_klines(path, KEEP_ALL, symbol=series.symbol, interval=series.interval)
    wrong = {code: report.troubles[code] for code in _NEVER if code in report.troubles}
    for trouble in wrong.values():
        raise Refusal(f"{trouble.count} x {trouble.code}, {trouble.places[0].text()}.", "")
    report.judge(KEEP_ALL)
    first_end_ts = next_open(series.interval, report.first_ts)
    last_ts = open_of(series.interval, report.end_ts - 1)
    if report.rows and (first_end_ts <= stored.first_ts or last_ts >= stored.end_ts):
        span = f"{clock_text(report.first_ts)} .. {clock_text(report.end_ts)}"
        raise Refusal(f"holds bars of another time, {span}.", "")
    return stored.with_figures(report)
