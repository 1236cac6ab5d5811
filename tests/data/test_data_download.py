"""Downloads from a loopback archive and the embedded exchange: whole, verified, resumed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.list_data import facts
from minibot.data.download import Download, Fetched, Wanted
from minibot.data.kline import bars_between
from minibot.data.klines import open_klines
from minibot.data.patience import ATTEMPTS_MAX, Patience
from minibot.data.store import Series, StoredFile, locked, rest_period
from minibot.data.treatment import Treatment
from minibot.exchanges import deadline
from minibot.exchanges.base import RATE_LIMITED, SERVER, TIMEOUT, RestError
from minibot.exchanges.binance.archive import ArchiveHost
from minibot.exchanges.binance.archive_files import archive_files
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.venue import BINANCE
from minibot.exchanges.tapes.kline_bars import INTERVALS
from minibot.exchanges.venue_facts import SETTLE_MS
from minibot.exchanges.weight_budget import WeightBudget
from minibot.kernel.errors import LockBusy, Refusal
from minibot.kernel.files import TEMP_SUFFIX, read_hashed
from tests.conftest import PROJECT
from tests.data.archive_server import ArchiveServer, archive_rows, stamp
from tests.data.data_files import csv_text, zipped
from tests.exchanges.binance.loopback import Loopback, answer
from tests.waiting import DEADLINE_S

NOW = stamp("2025-02-10") + 5 * 3_600_000
HOUR_MS = 3_600_000


class FakeClock:
    """Clock that moves only when somebody waits."""

    def __init__(self, now_ms: int = NOW) -> None:
        self.ms = now_ms
        self.waits: list[int] = []

    def now_ms(self) -> int:
        """Return the time."""
        return self.ms

    def wait_ms(self, duration_ms: int) -> None:
        """Advance the time at once."""
        self.waits.append(duration_ms)
        self.ms += duration_ms


@dataclasses.dataclass
class Desk:
    """Data folder, clock and settings of a download."""

    root: Path
    clock: FakeClock = dataclasses.field(default_factory=FakeClock)
    told: list[str] = dataclasses.field(default_factory=list)
    hosts: tuple[str, ...] = ()
    share_percent: int = 50
    pages_a_write: int = 10
    timeout_s: float = 5.0

    def fetch(
        self, wanted: Wanted, *, archive: str | None = None, rest: str | None = None
    ) -> Fetched:
        """Download from the given addresses."""
        limit_s = self.timeout_s
        host = None if archive is None else ArchiveHost(
            archive, hosts=self.hosts, connect_timeout_s=limit_s, total_timeout_s=limit_s
        )  # fmt: skip
        venue = None if rest is None else BinanceRest(
            rest, connect_timeout_s=limit_s, total_timeout_s=limit_s
        )  # fmt: skip
        patience = Patience(self.clock, self.told.append)
        budget = WeightBudget(self.share_percent, 6000)
        download = Download(
            *(self.root, BINANCE, host, venue, budget, patience, self.told.append),
            pages_a_write=self.pages_a_write,
        )
        return download.fetch(wanted)

    def series(self, interval: str = "1h") -> Series:
        """Return the stored series."""
        return Series.open(self.root, "embedded", "BTCUSDT", interval)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Fresh data folder."""
    return Desk(tmp_path / "data")


@pytest.fixture
def server() -> Iterator[ArchiveServer]:
    """Archive with the whole of January, and February up to the ninth."""
    with ArchiveServer(end="2025-02-10", months_end="2025-02-01") as served:
        yield served


def hours(start: str, end: str, interval: str = "1h") -> Wanted:
    """Return a request for hourly bars."""
    return Wanted("BTCUSDT", interval, stamp(start), stamp(end))


def opens(folder: Path) -> list[int]:
    """Return the open times of everything stored, which must be one whole series."""
    return [kline.open_ts for kline in open_klines(folder)]


# --- the archive -------------------------------------------------------------------------------


def test_archive_gives_months_that_are_over_and_days_for_the_rest(
    server: ArchiveServer, desk: Desk
) -> None:
    """Whole months come as months and the rest as days; the manifest describes each file."""
    wanted = hours("2024-12-30", "2025-02-03")

    fetched = desk.fetch(wanted, archive=server.url)

    assert fetched.files == [
        *("BTCUSDT-1h-2024-12-30.zip", "BTCUSDT-1h-2024-12-31.zip", "BTCUSDT-1h-2025-01.zip"),
        *("BTCUSDT-1h-2025-02-01.zip", "BTCUSDT-1h-2025-02-02.zip"),
    ]
    assert (fetched.rows, fetched.troubles, fetched.missing) == (35 * 24, [], [])
    assert opens(desk.series().folder) == list(range(wanted.from_ts, wanted.to_ts, HOUR_MS))
    manifest = read_hashed(desk.series().folder / "manifest.json")
    month = manifest["files"][2]
    assert month["source"] == "data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip"
    assert (month["rows"], month["checksum"], month["gaps"]) == (31 * 24, "verified", 0)
    assert desk.series().changed() == []


def test_second_call_asks_for_nothing_and_a_later_one_for_the_tail(
    server: ArchiveServer, desk: Desk
) -> None:
    """A second download fetches nothing stored; a later one fetches the tail."""
    desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)
    server.paths.clear()

    again = desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)
    later = desk.fetch(hours("2025-02-01", "2025-02-05"), archive=server.url)

    assert (again.files, again.requests) == ([], 0)
    assert server.got() == ["BTCUSDT-1h-2025-02-03.zip", "BTCUSDT-1h-2025-02-04.zip"]
    assert len(later.files) == 2


def test_month_that_is_not_published_yet_comes_by_days(desk: Desk) -> None:
    """A month without a published file is fetched by days."""
    with ArchiveServer(end="2025-02-10", months_end="2025-01-01") as server:
        fetched = desk.fetch(hours("2025-01-01", "2025-02-01"), archive=server.url)

    assert len(fetched.files) == 31
    assert fetched.missing == []


def test_what_the_archive_does_not_have_is_named_as_missing(
    server: ArchiveServer, desk: Desk
) -> None:
    """A file that the archive lacks is reported as missing."""
    fetched = desk.fetch(hours("2025-02-08", "2025-02-12"), archive=server.url)

    assert len(fetched.files) == 2
    assert fetched.missing == [(stamp("2025-02-10"), stamp("2025-02-12"))]
    assert fetched.not_there == []
    assert "BTCUSDT-1h-2025-02-10.zip.CHECKSUM" not in server.got(".CHECKSUM")


@pytest.mark.parametrize(
    ("interval", "settled"),
    [("1h", "2025-02-09"), ("1d", "2025-02-09"), ("1w", "2025-01-01"), ("1M", "2025-01-01")],
)
def test_span_whose_file_should_long_be_there_is_told_from_the_open_tail(
    interval: str, settled: str, desk: Desk
) -> None:
    """A day's file may be a day late, a month's ten days; what is older never comes by itself."""
    wanted = hours("2024-11-01", "2025-02-10", interval)
    with ArchiveServer(end="2000-01-01", months_end="2000-01-01") as server:
        fetched = desk.fetch(wanted, archive=server.url)

    assert fetched.not_there == [(fetched.missing[0][0], stamp(settled))]
    assert fetched.not_yet == [(stamp(settled), fetched.missing[0][1])]


def test_interrupted_download_goes_on_where_it_was(server: ArchiveServer, desk: Desk) -> None:
    """An interrupted download keeps files in the manifest; an unlisted file does not count."""
    wanted = hours("2025-02-01", "2025-02-05")

    desk_says = desk.told

    class Interrupted(Patience):
        """Ctrl-C in the middle of the third file."""

        def ask(self, request: Callable[[], Any]) -> Any:
            """Answer, then interrupt."""
            if len([text for text in desk_says if "verified" in text]) == 2:
                raise KeyboardInterrupt
            return super().ask(request)

    host = ArchiveHost(server.url, hosts=(), connect_timeout_s=5, total_timeout_s=5)
    patience = Interrupted(desk.clock, desk.told.append)
    download = Download(
        desk.root, BINANCE, host, None, WeightBudget(50, 6000), patience, desk.told.append
    )
    with pytest.raises(KeyboardInterrupt):
        download.fetch(wanted)
    stray = desk.series().folder / "BTCUSDT-1h-2025-02-03.zip"
    stray.write_bytes(b"half a file")
    left = stray.with_name(f"{stray.name}.77-0{TEMP_SUFFIX}")
    left.write_bytes(b"half a file of a killed download")
    server.paths.clear()

    fetched = desk.fetch(wanted, archive=server.url)

    assert server.got() == ["BTCUSDT-1h-2025-02-03.zip", "BTCUSDT-1h-2025-02-04.zip"]
    assert fetched.missing == []
    assert len(opens(desk.series().folder)) == 4 * 24
    assert not left.exists()


def test_file_that_was_removed_is_fetched_again(server: ArchiveServer, desk: Desk) -> None:
    """A removed file is fetched again, although the manifest lists it."""
    desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)
    (desk.series().folder / "BTCUSDT-1h-2025-02-01.zip").unlink()

    fetched = desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)

    assert fetched.files == ["BTCUSDT-1h-2025-02-01.zip"]


def test_changed_file_is_found(server: ArchiveServer, desk: Desk) -> None:
    """`list-data --verify` finds a changed file by the manifest's sha256."""
    desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)
    path = desk.series().folder / "BTCUSDT-1h-2025-02-02.zip"
    path.write_bytes(path.read_bytes() + b"x")

    assert desk.series().changed() == ["BTCUSDT-1h-2025-02-02.zip"]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        # Only four of thirty days begin on a Monday; rounding up the length would give five.
        ((*("1w", "2025-04-01", "2025-05-01"),), 4),
        ((*("1w", "2025-03-01", "2025-04-01"),), 5),
        ((*("1m", "2025-01-01T00:05:30", "2025-01-01T00:09:50"),), 4),
        ((*("1m", "2025-01-01T00:05:30", "2025-01-01T00:05:50"),), 0),
        ((*("1M", "2025-01-17", "2025-02-01"),), 0),
        ((*("1M", "2025-01-17", "2025-03-02"),), 2),
    ],
)
def test_bars_of_a_span_are_those_that_open_in_it(
    span: tuple[str, str, str], expected: int
) -> None:
    """A span that begins within a bar counts from the next bar."""
    interval, start, end = span
    assert bars_between(interval, stamp(start), stamp(end)) == expected


def test_bars_missing_where_two_files_meet_are_counted(desk: Desk) -> None:
    """Bars missing at midnight, between two files, are counted."""
    halt = range(stamp("2025-02-02") - 2 * HOUR_MS, stamp("2025-02-02") + 3 * HOUR_MS)

    def talk(sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        name = path.rpartition("/")[2].removesuffix(".CHECKSUM")
        first = stamp(name[-14:-4])
        rows = [
            cells
            for cells in archive_rows("1h", first, first + 24 * HOUR_MS)
            if cells[0] // 1000 not in halt
        ]
        body = zipped(name.replace(".zip", ".csv"), csv_text(rows))
        if path.endswith(".CHECKSUM"):
            body = f"{hashlib.sha256(body).hexdigest()}  {name}\n".encode()
        sock.sendall(answer(body, content_type="application/octet-stream"))

    with Loopback(talk) as host:
        wanted = hours("2025-02-01", "2025-02-03")
        desk.fetch(wanted, archive=f"http://127.0.0.1:{host.port}")

    known = facts(desk.series())
    assert known["rows"] == 43
    assert known["bars_missing"] == 5
    assert known["spans_missing"] == [[halt.start, halt.stop]]


def test_file_of_another_day_is_not_stored(desk: Desk) -> None:
    """A file of another day is refused by its name, despite a right checksum."""
    other = stamp("2025-02-05")
    rows = csv_text(archive_rows("1h", other, other + 24 * HOUR_MS))

    def talk(sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        name = path.rpartition("/")[2].removesuffix(".CHECKSUM")
        body = zipped(name.replace(".zip", ".csv"), rows)
        if path.endswith(".CHECKSUM"):
            body = f"{hashlib.sha256(body).hexdigest()}  {name}\n".encode()
        sock.sendall(answer(body, content_type="application/octet-stream"))

    with Loopback(talk) as host:
        fetched = desk.fetch(
            hours("2025-02-04", "2025-02-07"), archive=f"http://127.0.0.1:{host.port}"
        )

    assert fetched.files == ["BTCUSDT-1h-2025-02-05.zip"]
    assert [trouble[:25] for trouble in fetched.troubles] == [
        *("BTCUSDT-1h-2025-02-04.zip", "BTCUSDT-1h-2025-02-06.zip"),
    ]
    assert all("holds bars of another time" in trouble for trouble in fetched.troubles)


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs getrusage, for the peak of memory")
def test_large_file_is_never_whole_in_memory(tmp_path: Path) -> None:
    """A file of 300 MB is written while it arrives, and refused by its checksum."""
    pieces, piece = 300, bytes(1 << 20)

    def talk(sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        name = path.rpartition("/")[2].removesuffix(".CHECKSUM")
        if path.endswith(".CHECKSUM"):
            sock.sendall(answer(f"{'0' * 64}  {name}\n".encode()))
            return
        sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {pieces << 20}\r\n\r\n".encode())
        for _ in range(pieces):
            sock.sendall(piece)

    script = """
        import resource, sys
        from pathlib import Path
        from minibot.data.download import Download, Wanted
        from minibot.data.patience import Patience
        from minibot.exchanges.binance.archive import ArchiveHost
        from minibot.exchanges.binance.venue import BINANCE
        from minibot.exchanges.weight_budget import WeightBudget
        from tests.data.test_data_download import FakeClock, stamp
        host = ArchiveHost(sys.argv[1], hosts=(), connect_timeout_s=120, total_timeout_s=120)
        patience = Patience(FakeClock(), print)
        budget = WeightBudget(50, 6000)
        root, say = Path(sys.argv[2]), sys.stderr.write
        download = Download(root, BINANCE, host, None, budget, patience, say)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        download.fetch(Wanted("BTCUSDT", "1h", stamp("2025-02-01"), stamp("2025-02-02")))
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with Loopback(talk) as host:
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{host.port}", str(tmp_path)], cwd=PROJECT,
            capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip

    assert "the archive publishes 0000" in done.stderr
    assert int(done.stdout) < 30
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_checksum_file_without_an_end_is_refused(server: ArchiveServer, desk: Desk) -> None:
    """A checksum file without end is refused after a kilobyte."""
    server.fault = lambda path, body: (
        answer(body.rstrip() + b" " * 2000) if path.endswith(".CHECKSUM") else None
    )

    fetched = desk.fetch(hours("2025-02-01", "2025-02-02"), archive=server.url)

    assert fetched.files == []
    assert "more than 1024 bytes" in fetched.troubles[0]


def test_file_whose_body_is_cut_leaves_nothing_behind(server: ArchiveServer, desk: Desk) -> None:
    """A truncated download leaves no file."""
    server.fault = lambda path, body: (
        None
        if path.endswith(".CHECKSUM")
        else b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99999\r\n\r\nhalf"
    )

    fetched = desk.fetch(hours("2025-02-01", "2025-02-02"), archive=server.url)

    assert fetched.files == []
    assert [path.name for path in desk.series().folder.iterdir()] == []


def test_seconds_by_rest_are_stored_a_day_at_a_time() -> None:
    """Seconds by REST are stored by day, and minutes by month, to bound memory."""
    assert (rest_period("1s"), rest_period("1m"), rest_period("1h")) == ("1d", "1M", "1M")


def test_damaged_manifest_is_refused(server: ArchiveServer, desk: Desk) -> None:
    """A damaged manifest is refused by its own sha256."""
    desk.fetch(hours("2025-02-01", "2025-02-02"), archive=server.url)
    path = desk.series().folder / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"rows":24', b'"rows":25'))

    with pytest.raises(Refusal, match="sha256"):
        desk.series()


def test_two_downloads_at_once_are_refused(desk: Desk) -> None:
    """A second download into the same data folder is refused by the lock."""
    with locked(desk.root), pytest.raises(LockBusy), locked(desk.root):
        pass
    with locked(desk.root):
        pass


@pytest.mark.parametrize("interval", ["3d", "1w", "1M"])
def test_long_intervals_exist_by_month_alone(interval: str) -> None:
    """Intervals longer than a day are fetched by month, because daily files do not exist."""
    files = list(archive_files("BTCUSDT", interval, [(stamp("2024-11-15"), NOW)], NOW))

    assert [file.path.split("/")[2] for file in files] == ["monthly"] * 3
    assert files[0].name == f"BTCUSDT-{interval.replace('M', 'mo')}-2024-11.zip"


# --- faults ------------------------------------------------------------------------------------


def once(spoilt: bytes, times: int = 1) -> Callable[[str, bytes], bytes | None]:
    """Return a fault that spoils only the first zips."""
    left = [times]

    def fault(path: str, body: bytes) -> bytes | None:
        if path.endswith(".CHECKSUM") or not left[0]:
            return None
        left[0] -= 1
        return spoilt

    return fault


DAY = hours("2025-02-01", "2025-02-02")
TRUNCATED = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\nonly so much"


@pytest.mark.parametrize(
    ("spoilt", "waited"),
    [
        (answer(b"", "503 Service Unavailable"), [1000, 2000]),
        (answer(b"<p>" * 50_000, "503 Service Unavailable", None, "text/html"), [1000, 2000]),
        (answer(b"", "429 Too Many Requests", {"Retry-After": "7"}), [7000, 7000]),
        (answer(b"<html>", "403 Forbidden", None, "text/html"), [1000, 2000]),
        (TRUNCATED, [1000, 2000]),
    ],
    ids=["503", "long 503", "429", "403", "cut short"],
)
def test_passing_fault_is_asked_again_after_a_wait(
    spoilt: bytes, waited: list[int], desk: Desk
) -> None:
    """A fault that passes is retried after the right waits, and the file is stored."""
    with ArchiveServer(end="2025-02-10") as server:
        server.fault = once(spoilt, 2)

        fetched = desk.fetch(DAY, archive=server.url)

    assert fetched.files == ["BTCUSDT-1h-2025-02-01.zip"]
    assert desk.clock.waits == waited


@pytest.mark.parametrize(
    ("status", "waits"),
    [("500 Internal Server Error", ATTEMPTS_MAX - 1), ("429 Too Many Requests", ATTEMPTS_MAX)],
)
def test_fault_that_does_not_pass_is_given_up_within_bounds(
    status: str, waits: int, desk: Desk
) -> None:
    """A lasting fault ends after a bounded number of attempts; the next file is still fetched.

    A host that refuses requests is left alone for as long as it asked before the next file, too.
    """
    with ArchiveServer(end="2025-02-10") as server:
        server.fault = lambda path, body: answer(b"", status) if "02-01.zip" in path else None

        fetched = desk.fetch(hours("2025-02-01", "2025-02-03"), archive=server.url)
        asked = server.got(".CHECKSUM").count("BTCUSDT-1h-2025-02-01.zip.CHECKSUM")

    assert asked == ATTEMPTS_MAX
    assert len(desk.clock.waits) == waits
    assert fetched.files == ["BTCUSDT-1h-2025-02-02.zip"]
    assert len(fetched.troubles) == 1
    assert "BTCUSDT-1h-2025-02-01.zip" in fetched.troubles[0]
    assert fetched.missing == [(DAY.from_ts, DAY.to_ts)]


def test_archive_that_takes_no_connection_is_named_with_the_time_that_it_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An attempt of three seconds is not told as a file that did not come within minutes."""

    def nothing(*words: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(deadline, "connected", nothing)
    url = "http://archive.test:8080"
    host = ArchiveHost(url, hosts=(), connect_timeout_s=3, total_timeout_s=300)

    with pytest.raises(RestError) as failed:
        host.fetch("data/x.zip", b"".join)

    assert failed.value.kind == TIMEOUT
    assert failed.value.detail == "archive.test:8080/data/x.zip: not connected within 3 s"


def test_host_that_never_answers_is_not_asked_for_every_file(desk: Desk) -> None:
    """A dead host is tried for one file only, then the download ends with one sentence."""
    desk.timeout_s = 0.1
    with Loopback(lambda sock, request: None) as gone:
        address = f"http://127.0.0.1:{gone.port}"
    fetched = desk.fetch(hours("2025-02-01", "2025-02-09"), archive=address, rest=address)

    assert len(fetched.troubles) == 2
    assert len(desk.clock.waits) == 2 * (ATTEMPTS_MAX - 1)
    assert fetched.missing == [(stamp("2025-02-01"), stamp("2025-02-09"))]


@pytest.mark.parametrize(
    "spoilt",
    [
        answer(b"banned", "418 I'm a teapot", {"Retry-After": "120"}),
        answer(b"", "429 Too Many Requests", {"Retry-After": "86400"}),
    ],
    ids=["418", "429 for a day"],
)
def test_ban_ends_the_download_at_once(spoilt: bytes, desk: Desk) -> None:
    """A ban ends the download after one request, with the time of its end."""
    with ArchiveServer(end="2025-02-10") as server:
        server.fault = lambda path, body: spoilt

        with pytest.raises(Refusal, match=r"2025-02-1[01]"):
            desk.fetch(hours("2025-02-01", "2025-02-05"), archive=server.url)

        assert len(server.paths) == 1
    assert desk.clock.waits == []


def test_wrong_checksum_is_reported_and_not_stored(server: ArchiveServer, desk: Desk) -> None:
    """A wrong checksum is reported with both digests and not stored; other days are."""

    def fault(path: str, body: bytes) -> bytes | None:
        wrong = f"{'0' * 64}  BTCUSDT-1h-2025-02-02.zip\n".encode()
        return answer(wrong) if path.endswith("02-02.zip.CHECKSUM") else None

    server.fault = fault

    fetched = desk.fetch(hours("2025-02-01", "2025-02-04"), archive=server.url)

    assert [name[-14:] for name in fetched.files] == ["2025-02-01.zip", "2025-02-03.zip"]
    assert "0" * 64 in fetched.troubles[0]
    assert fetched.missing == [(stamp("2025-02-02"), stamp("2025-02-03"))]


def test_refused_file_is_named_although_a_ban_ends_the_download(
    server: ArchiveServer, desk: Desk
) -> None:
    """A file with a wrong checksum is named before a ban, which leaves no result to name it in."""

    def fault(path: str, body: bytes) -> bytes | None:
        if path.endswith("02-02.zip.CHECKSUM"):
            return answer(f"{'0' * 64}  BTCUSDT-1h-2025-02-02.zip\n".encode())
        return answer(b"", "418 I'm a teapot") if "02-03" in path else None

    server.fault = fault

    with pytest.raises(Refusal):
        desk.fetch(hours("2025-02-01", "2025-02-04"), archive=server.url)

    named = [line for line in desk.told if line.startswith("REFUSED ")]
    assert [line.split(":")[0][-14:] for line in named] == ["2025-02-02.zip"]


@pytest.mark.parametrize("text", [b"", b"<html>", b"abc  BTCUSDT-1h-2025-02-01.zip\n"])
def test_checksum_that_is_none_is_no_permission(
    text: bytes, server: ArchiveServer, desk: Desk
) -> None:
    """A malformed checksum leaves the file unverified, so it is not stored."""
    server.fault = lambda path, body: answer(text) if path.endswith(".CHECKSUM") else None

    fetched = desk.fetch(DAY, archive=server.url)

    assert fetched.files == []
    assert len(fetched.troubles) == 1
    assert server.got() == []


def test_zip_with_rows_that_are_none_is_not_stored(desk: Desk) -> None:
    """A zip with impossible rows is refused with the row, despite a right checksum."""
    with ArchiveServer(end="2025-02-10") as server:
        rows = archive_rows("1h", DAY.from_ts, DAY.to_ts)
        rows[5][2] = "1.00000000"  # The high lies below the low.
        good = server.body
        server.body = lambda path: spoil(good(path), rows)  # type: ignore[method-assign]

        fetched = desk.fetch(DAY, archive=server.url)

    assert fetched.files == []
    assert "row 6" in fetched.troubles[0]
    assert not desk.series().files


def spoil(body: bytes | None, rows: list[list[Any]]) -> bytes | None:
    """Return a zip of other rows where the body is a zip."""
    return None if body is None else zipped("x.csv", csv_text(rows))


@pytest.mark.parametrize(
    "target", ["http://elsewhere.invalid/x.zip", "https://127.0.0.1/x", "ftp://127.0.0.1/x", ""]
)
def test_redirect_off_the_list_is_refused(target: str, server: ArchiveServer, desk: Desk) -> None:
    """A redirect to an unlisted host is refused without a request to it."""
    headers = {"Location": target}
    server.fault = lambda path, body: answer(b"", "302 Found", headers)

    fetched = desk.fetch(DAY, archive=server.url)

    assert fetched.files == []
    assert "redirect" in fetched.troubles[0]
    assert desk.clock.waits == []


def test_redirect_to_what_is_no_address_is_an_answer_that_is_none(
    server: ArchiveServer, desk: Desk
) -> None:
    """A redirect to a malformed address counts as a bad answer."""
    headers = {"Location": "http://["}
    server.fault = lambda path, body: answer(b"", "302 Found", headers)

    fetched = desk.fetch(DAY, archive=server.url)

    assert fetched.files == []
    assert "malformed" in fetched.troubles[0]


def test_redirect_to_a_named_host_is_followed(server: ArchiveServer, desk: Desk) -> None:
    """A redirect to a listed host is followed, and its files are still verified."""

    def talk(sock: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        sock.sendall(answer(b"", "302 Found", {"Location": server.url + path}))

    desk.hosts = (f"127.0.0.1:{server.loopback.port}",)
    with Loopback(talk) as front:
        fetched = desk.fetch(DAY, archive=f"http://127.0.0.1:{front.port}")

    assert fetched.files == ["BTCUSDT-1h-2025-02-01.zip"]


# --- REST --------------------------------------------------------------------------------------


class Venue:
    """Venue that answers `time` and `klines` up to its clock, and counts request weight."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.asked: list[dict[str, str]] = []
        self.used = 0
        self.rows_max = 1000
        self.fault: Callable[[int], bytes | None] = lambda number: None
        self.keep: Callable[[list[Any]], bool] = lambda cells: True
        self.loopback = Loopback(self._talk)

    @property
    def url(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.loopback.port}"

    def _talk(self, sock: socket.socket, request: bytes) -> None:
        path, _, query = request.split(b" ")[1].decode().partition("?")
        if path.endswith("/time"):
            sock.sendall(answer(json.dumps({"serverTime": self.now_ms}).encode()))
            return
        params = dict(pair.split("=") for pair in query.split("&"))
        self.asked.append(params)
        self.used += 2
        spoilt = self.fault(len(self.asked))
        if spoilt is not None:
            sock.sendall(spoilt)
            return
        interval, limit = params["interval"], int(params["limit"])
        start, end = int(params["startTime"]), min(int(params["endTime"]), self.now_ms)
        first = -(-start // INTERVALS[interval]) * INTERVALS[interval]
        cells = [each for each in archive_rows(interval, first, end + 1) if self.keep(each)]
        rows = [self.row(each) for each in cells[: min(limit, self.rows_max)]]
        weight = {"x-mbx-used-weight-1m": str(self.used)}
        sock.sendall(answer(json.dumps(rows).encode(), headers=weight))

    def row(self, cells: list[Any]) -> list[Any]:
        """Return a row with times in milliseconds, as REST sends them."""
        per_ms = 1000 if cells[0] > 10**14 else 1
        return [cells[0] // per_ms, *cells[1:6], cells[6] // per_ms, *cells[7:11], "0"]


@pytest.fixture
def venue() -> Iterator[Venue]:
    """Venue whose clock stands at `NOW`, half an hour into a bar."""
    served = Venue(NOW + 1_800_000)
    with served.loopback:
        yield served


def test_rest_gives_closed_bars_page_by_page(venue: Venue, desk: Desk) -> None:
    """REST gives a thousand closed bars a page, without the running bar, in the venue's rows."""
    wanted = hours("2024-12-01", "2025-03-01")

    fetched = desk.fetch(wanted, rest=venue.url)

    assert fetched.troubles == []
    assert opens(desk.series().folder) == list(range(wanted.from_ts, NOW, HOUR_MS))
    assert fetched.rows == (NOW - wanted.from_ts) // HOUR_MS
    assert len(venue.asked) == 3  # One file for each month, each within one page.
    assert all(int(params["limit"]) == 1000 for params in venue.asked)


def test_rest_page_that_is_short_is_not_the_last_one(venue: Venue, desk: Desk) -> None:
    """A host that gives fewer bars at once leaves no hole that would count as the market's own."""
    venue.rows_max = 300
    wanted = hours("2025-01-01", "2025-02-01")

    fetched = desk.fetch(wanted, rest=venue.url)

    assert fetched.missing == []
    assert fetched.requests == 3
    assert opens(desk.series().folder) == list(range(wanted.from_ts, wanted.to_ts, HOUR_MS))


@pytest.mark.parametrize(("past_ms", "bars"), [(SETTLE_MS - 1, 0), (SETTLE_MS, 1)])
def test_rest_leaves_a_bar_that_may_still_change(
    past_ms: int, bars: int, venue: Venue, desk: Desk
) -> None:
    """The newest kline comes from a cache: its row is final half a second after its end."""
    venue.now_ms = NOW + past_ms

    fetched = desk.fetch(hours("2025-02-10", "2025-02-11"), rest=venue.url)

    assert fetched.rows == 4 + bars


def test_rest_later_call_fetches_the_tail_into_the_same_file(venue: Venue, desk: Desk) -> None:
    """A later REST download appends three new hours by one request."""
    desk.fetch(hours("2025-02-01", "2025-03-01"), rest=venue.url)
    venue.asked.clear()
    venue.now_ms += 3 * HOUR_MS

    fetched = desk.fetch(hours("2025-02-01", "2025-03-01"), rest=venue.url)

    assert (fetched.rows, fetched.requests) == (3, 1)
    assert [int(params["startTime"]) for params in venue.asked] == [NOW]
    assert len(desk.series().files) == 1
    assert opens(desk.series().folder)[-1] == NOW + 2 * HOUR_MS


def test_rest_waits_when_its_share_of_the_weight_is_used_up(venue: Venue, desk: Desk) -> None:
    """A REST download waits for the next minute when its share of the weight is used up."""
    desk.share_percent = 1
    venue.used = 58
    venue.fault = lambda number: setattr(venue, "used", 2 if number > 1 else 60)
    wanted = hours("2025-01-01", "2025-02-01", "15m")

    desk.fetch(wanted, rest=venue.url)

    assert len(venue.asked) == 3
    assert len(desk.clock.waits) == 1
    assert 0 < desk.clock.waits[0] <= 60_000


def test_rest_interrupted_keeps_the_pages_it_has(venue: Venue, desk: Desk) -> None:
    """An interrupted REST download keeps its pages and continues behind them."""
    desk.pages_a_write = 1
    wanted = hours("2025-01-01", "2025-02-01", "15m")
    venue.fault = lambda number: answer(b"{}", "400 Bad Request") if number == 3 else None

    broken = desk.fetch(wanted, rest=venue.url)
    had = len(opens(desk.series("15m").folder))
    again = desk.fetch(wanted, rest=venue.url)

    assert len(broken.troubles) == 1
    assert had == 2000
    assert (broken.rows, broken.files) == (had, again.files)
    assert any(": 2000 rows, " in line for line in desk.told)
    assert again.rows == 2976 - had
    assert int(venue.asked[3]["startTime"]) == wanted.from_ts + had * 900_000
    assert len(opens(desk.series("15m").folder)) == 2976


def test_rest_without_a_new_row_stores_and_tells_nothing(venue: Venue, desk: Desk) -> None:
    """A recent span without a row stays missing: no file is stored, extended or reported."""
    venue.keep = lambda cells: False
    wanted = hours("2025-02-10", "2025-02-11")

    empty = desk.fetch(wanted, rest=venue.url)
    had = dict(desk.series().files)
    venue.keep = lambda cells: bool(venue.row(cells)[0] < NOW - HOUR_MS)
    desk.fetch(wanted, rest=venue.url)
    again = desk.fetch(wanted, rest=venue.url)

    assert (empty.files, empty.missing, had) == ([], [(wanted.from_ts, wanted.to_ts)], {})
    assert (again.files, again.missing) == ([], [(NOW - HOUR_MS, wanted.to_ts)])
    assert opens(desk.series().folder)[-1] == NOW - 2 * HOUR_MS


def test_rest_429_is_waited_out_and_a_ban_refused(venue: Venue, desk: Desk) -> None:
    """A 429 is waited out once by Retry-After; a ban ends the download with its time."""
    limited = answer(b'{"code":-1003,"msg":"x"}', "429 Too Many Requests", {"Retry-After": "11"})
    venue.fault = lambda number: limited if number == 1 else None
    desk.fetch(hours("2025-02-01", "2025-02-02"), rest=venue.url)
    banned = answer(b'{"code":-1003,"msg":"x"}', "418 Teapot", {"Retry-After": "180"})
    venue.fault = lambda number: banned

    with pytest.raises(Refusal, match="refuses requests until"):
        desk.fetch(hours("2025-01-01", "2025-02-01"), rest=venue.url)

    assert desk.clock.waits == [11_000]


def test_archive_takes_over_what_came_by_rest_before(venue: Venue, desk: Desk) -> None:
    """Archive files replace bars by REST, without a repeated bar."""
    wanted = hours("2025-02-09", "2025-02-12")
    with ArchiveServer(end="2025-02-10") as server:
        first = desk.fetch(wanted, archive=server.url, rest=venue.url)
    desk.clock.ms += 24 * HOUR_MS
    venue.now_ms += 24 * HOUR_MS
    with ArchiveServer(end="2025-02-11") as server:
        second = desk.fetch(wanted, archive=server.url, rest=venue.url)

    assert [name[-10:] for name in first.files] == ["-02-09.zip", "rest.jsonl"]
    assert [name[-10:] for name in second.files] == ["-02-10.zip", "rest.jsonl"]
    assert opens(desk.series().folder) == list(range(wanted.from_ts, NOW + 24 * HOUR_MS, HOUR_MS))


def test_archive_file_of_a_day_with_a_stored_part_comes_once(
    server: ArchiveServer, venue: Venue, desk: Desk
) -> None:
    """A stored part leaves two holes in its day, which one file fills and one count tells."""
    day = hours("2025-02-05", "2025-02-06")
    part = dataclasses.replace(day, from_ts=day.from_ts + 6 * HOUR_MS, to_ts=day.to_ts - HOUR_MS)
    desk.fetch(part, rest=venue.url)

    fetched = desk.fetch(day, archive=server.url)

    assert server.got() == fetched.files == ["BTCUSDT-1h-2025-02-05.zip"]
    assert fetched.rows == 24
    assert opens(desk.series().folder) == list(range(day.from_ts, day.to_ts, HOUR_MS))


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-20], lambda data: data.replace(b'"1', b'"9')]
)
def test_rest_file_that_is_not_what_the_manifest_says_is_asked_for_again(
    spoil: Callable[[bytes], bytes], venue: Venue, desk: Desk
) -> None:
    """A REST file that differs from the manifest is fetched again, not hashed with new rows."""
    wanted = hours("2025-02-01", "2025-03-01")
    desk.fetch(wanted, rest=venue.url)
    path = desk.series().paths()[0]
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    venue.now_ms += 3 * HOUR_MS

    fetched = desk.fetch(wanted, rest=venue.url)

    assert f"{path.name}: not what the manifest says, requested again" in desk.told
    assert fetched.troubles == []
    assert path.read_bytes().startswith(whole)
    assert desk.series().changed() == []


def test_rest_cut_off_before_the_manifest_knows_the_tail_has_no_row_twice(
    venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A REST file with rows unknown to the manifest is begun again, so no row repeats."""
    wanted = hours("2025-02-01", "2025-03-01")
    desk.fetch(wanted, rest=venue.url)
    venue.now_ms += 3 * HOUR_MS

    def cut_off(series: Series, file: StoredFile) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Series, "name", cut_off)
        with pytest.raises(KeyboardInterrupt):
            desk.fetch(wanted, rest=venue.url)
    again = desk.fetch(wanted, rest=venue.url)

    assert again.troubles == []
    assert opens(desk.series().folder) == list(range(wanted.from_ts, NOW + 3 * HOUR_MS, HOUR_MS))


def test_rest_cut_off_while_the_archive_takes_over_leaves_no_bar_out(
    venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A REST download cut off during the archive's takeover leaves no bar out."""
    wanted = hours("2025-02-08", "2025-02-12")
    desk.fetch(hours("2025-02-08", "2025-02-09T01:00"), rest=venue.url)

    def cut_off(series: Series, name: str, pieces: Iterable[bytes]) -> tuple[int, str]:
        if name.endswith(".jsonl"):
            raise KeyboardInterrupt
        return receive(series, name, pieces)

    receive = Series.receive
    with ArchiveServer(end="2025-02-10") as server:
        with monkeypatch.context() as patch:
            patch.setattr(Series, "receive", cut_off)
            with pytest.raises(KeyboardInterrupt):
                desk.fetch(wanted, archive=server.url)
        desk.fetch(wanted, archive=server.url, rest=venue.url)

    assert opens(desk.series().folder) == list(range(wanted.from_ts, NOW, HOUR_MS))
    assert desk.series().changed() == []


def test_rest_piece_that_the_archive_leaves_has_its_own_figures(venue: Venue, desk: Desk) -> None:
    """The rest of a REST file has its own gap count after the archive took a day over."""
    hole = range(stamp("2025-02-09T04:00"), stamp("2025-02-09T06:00"))
    whole = venue.row
    venue.keep = lambda cells: whole(cells)[0] not in hole
    first = desk.fetch(hours("2025-02-09T01:00", "2025-02-12"), rest=venue.url)
    had = desk.series().files[first.files[0]].gaps

    with ArchiveServer(end="2025-02-10") as server:
        desk.fetch(hours("2025-02-09", "2025-02-12"), archive=server.url)

    assert had == 2
    assert [file.gaps for file in desk.series().ordered()] == [0, 0]
    assert facts(desk.series())["bars_missing"] == 0


@pytest.mark.parametrize("by", ["month", "day", "rest"])
def test_bars_that_open_within_another_are_the_venues_own(
    by: str, venue: Venue, server: ArchiveServer, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an outage of early 2018 the venue's bars open 14 s late, in its archive and by REST.

    Whoever reads them says what becomes of them.
    """
    late = range(stamp("2025-01-09T10:00"), stamp("2025-01-12T04:00"))
    wanted = hours("2025-01-09" if by == "day" else "2025-01-01", "2025-01-20")
    good = archive_rows

    def rows(interval: str, first_ms: int, end_ms: int) -> list[Any]:
        found = good(interval, first_ms, end_ms)
        return [[row[0] + 14_789_000, *row[1:]] if row[0] // 1000 in late else row for row in found]

    monkeypatch.setattr("tests.data.archive_server.archive_rows", rows)
    monkeypatch.setattr("tests.data.test_data_download.archive_rows", rows)
    if by == "month":
        wanted = hours("2025-01-01", "2025-02-01")
    if by == "rest":
        monkeypatch.setattr(venue, "rows_max", 300)
        fetched = desk.fetch(wanted, rest=venue.url)
    else:
        fetched = desk.fetch(wanted, archive=server.url)
    folder = desk.series().folder
    kept = open_klines(folder, Treatment(misaligned="drop", gaps="keep"))

    assert (fetched.troubles, fetched.missing) == ([], [])
    assert facts(desk.series())["bars_missing"] == len(late) // HOUR_MS
    assert [bar.open_ts for bar in kept] == [
        at for at in range(wanted.from_ts, wanted.to_ts, HOUR_MS) if at not in late
    ]
    with pytest.raises(Refusal, match="misaligned"):
        open_klines(folder)


@pytest.mark.parametrize(("place", "value"), [(3, "999999"), (7, "0.0000000001")])
def test_rest_row_that_is_none_is_told_and_nothing_of_it_stored(
    place: int, value: Any, venue: Venue, desk: Desk
) -> None:
    """An impossible REST row is reported and nothing of it stored."""
    wanted = hours("2025-02-01", "2025-03-01")
    desk.fetch(wanted, rest=venue.url)
    had = opens(desk.series().folder)
    venue.now_ms += HOUR_MS
    row = [*venue.row(archive_rows("1h", NOW, NOW + HOUR_MS)[0])]
    row[place] = value
    venue.fault = lambda number: answer(json.dumps([row]).encode())

    fetched = desk.fetch(wanted, rest=venue.url)
    kept, changed = opens(desk.series().folder), desk.series().changed()
    venue.fault = lambda number: None
    again = desk.fetch(wanted, rest=venue.url)

    assert fetched.files == []
    assert len(fetched.troubles) == 1
    assert (kept, changed) == (had, [])
    assert again.troubles == []
    assert opens(desk.series().folder) == [*had, NOW]


def test_rest_page_with_a_row_that_is_none_is_not_named_though_later_pages_fail(
    venue: Venue, desk: Desk
) -> None:
    """Rows pass the check before the manifest names them, in the middle of a span too."""
    desk.pages_a_write = 1
    wanted = hours("2025-01-01", "2025-02-01", "15m")
    rows = [venue.row(each) for each in archive_rows("15m", wanted.from_ts, wanted.to_ts)[:2000]]
    rows[1500][7] = "0.0000000001"
    pages = {1: rows[:1000], 2: rows[1000:]}
    broken = answer(b"{}", "400 Bad Request")
    venue.fault = lambda number: (
        answer(json.dumps(pages[number]).encode()) if number in pages else broken
    )

    fetched = desk.fetch(wanted, rest=venue.url)

    assert len(fetched.troubles) == 1
    assert opens(desk.series("15m").folder) == [row[0] for row in pages[1]]
    assert desk.series("15m").changed() == []


@pytest.mark.parametrize("attempt", [1, ATTEMPTS_MAX])
def test_long_silence_is_refused_at_each_attempt(attempt: int) -> None:
    """A 429 for a day ends all requests to the host, at the last attempt as at the first."""
    passing = [RestError(SERVER, "down")] * (attempt - 1)
    answers = iter([*passing, RestError(RATE_LIMITED, "x", retry_after_ms=24 * HOUR_MS)])
    clock, lines = FakeClock(), list[str]()

    def request() -> None:
        raise next(answers)

    with pytest.raises(Refusal, match=r"until 2025-02-11 05:00:\d\d UTC"):
        Patience(clock, lines.append).ask(request)

    assert len(clock.waits) == len(lines) == attempt - 1


def test_retry_names_the_host_and_after_ten_seconds_what_to_do() -> None:
    """A user behind a broken proxy sees whom minibot asks, and is not left waiting in silence."""
    lines: list[str] = []
    patience = Patience(FakeClock(), lines.append)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
    rest = BinanceRest(f"http://{host}", connect_timeout_s=1, total_timeout_s=1)

    with pytest.raises(RestError):
        patience.ask(rest.server_time)

    assert len(lines) == 4
    assert all(f"{host}/api/v3/time" in line for line in lines)
    assert ["check the network" in line for line in lines] == [False, False, False, True]
