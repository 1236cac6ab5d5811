"""`minibot night --every-evening` and `--open`: a night a day, none after a STOP; its page."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from minibot.cli.main import parsed
from minibot.cli.support import evenings
from minibot.cli.support.evenings import (
    LATE_MAX_MS,
    Evenings,
    SystemClock,
    chain,
    evening_of,
    from_terminal,
    next_evening,
    time_of_day,
)
from minibot.kernel.files import read_hashed
from minibot.replay.time_arguments import zone_of
from minibot.runtime.paths import Var
from minibot.runtime.runfiles import run_folders
from tests.runs import PATIENT, PROJECT, clean_environ, verb
from tests.waiting import DEADLINE_S, wait_until

TEN = time(22)
ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"),
    *("Africa/Casablanca", "America/Havana", "Asia/Kolkata", "Pacific/Chatham"),
)


def utc(text: str) -> datetime:
    """Return a moment from an ISO text in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def walked(first: datetime, days: int, at: time, zone: str) -> list[datetime]:
    """Return so many evenings, each as the first one after the one before."""
    found = [next_evening(first, at, ZoneInfo(zone))]
    while len(found) < days:
        found.append(next_evening(found[-1], at, ZoneInfo(zone)))
    return found


# --- the time of an evening -------------------------------------------------------------------


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("at", [TEN, time(0), time(0, 30), time(2, 30), time(1, 45), time(23, 59)])
def test_year_has_one_evening_a_day_in_any_zone(zone: str, at: time) -> None:
    """Over both changes of a year no local day is skipped and none has two nights."""
    found = walked(utc("2026-01-01"), 365, at, zone)

    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in found]
    assert {later - earlier for earlier, later in pairwise(days)} == {timedelta(days=1)}


@pytest.mark.parametrize(
    ("zone", "at", "day", "moment"),
    [
        # 22:00 in winter and summer, on the days around both changes.
        ("Europe/Berlin", TEN, date(2026, 3, 28), "2026-03-28T21:00"),
        ("Europe/Berlin", TEN, date(2026, 3, 29), "2026-03-29T20:00"),
        ("Europe/Berlin", TEN, date(2026, 10, 24), "2026-10-24T20:00"),
        ("Europe/Berlin", TEN, date(2026, 10, 25), "2026-10-25T21:00"),
        # A time that does not exist comes as long after the change.
        ("Europe/Berlin", time(2, 30), date(2026, 3, 29), "2026-03-29T01:30"),
        ("America/New_York", time(2, 30), date(2026, 3, 8), "2026-03-08T07:30"),
        ("Australia/Lord_Howe", time(2, 15), date(2026, 10, 4), "2026-10-03T15:45"),
        # A time that comes twice means the first one.
        ("Europe/Berlin", time(2, 30), date(2026, 10, 25), "2026-10-25T00:30"),
        ("America/New_York", time(1, 30), date(2026, 11, 1), "2026-11-01T05:30"),
        ("America/Havana", time(0, 30), date(2026, 11, 1), "2026-11-01T04:30"),
    ],
)
def test_evening_at_a_change_is_one_moment(zone: str, at: time, day: date, moment: str) -> None:
    """The table is reckoned by hand from the zones' rules."""
    assert evening_of(day, at, ZoneInfo(zone)) == utc(moment)


def test_time_that_comes_twice_begins_no_second_night() -> None:
    """Between the two 02:30 of a night in autumn the next evening is tomorrow's."""
    zone = ZoneInfo("Europe/Berlin")

    between = next_evening(utc("2026-10-25T01:00"), time(2, 30), zone)

    assert between == utc("2026-10-26T01:30")


def test_day_that_a_zone_leaves_out_begins_no_second_night() -> None:
    """Samoa had no 30 December 2011: the evening of that date falls on the next one's."""
    found = walked(utc("2011-12-29T00:00"), 4, TEN, "Pacific/Apia")

    days = [moment.astimezone(ZoneInfo("Pacific/Apia")).day for moment in found]
    assert days == [28, 29, 31, 1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_zone_of_this_machine_gives_the_same_evenings(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`local` follows the machine's rules as the named zone does."""
    tzset: Callable[[], None] | None = getattr(__import__("time"), "tzset", None)
    if tzset is None:
        pytest.skip("needs a system whose zone a process may choose (tzset)")
    try:
        with monkeypatch.context() as patched:
            patched.setenv("TZ", zone)
            tzset()
            local, _ = zone_of("local")
            begin = utc("2026-01-01")
            for at in (TEN, time(2, 30)):
                mine = [begin := next_evening(begin, at, local) for _ in range(365)]
                assert mine == walked(utc("2026-01-01"), 365, at, zone)
                begin = utc("2026-01-01")
    finally:
        tzset()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("22:00", TEN),
        ("0:05", time(0, 5)),
        (" 23:59 ", time(23, 59)),
        ("24:00", None),
        ("22", None),
        ("22:60", None),
        ("", None),
        ("22:00:00", None),
        ("ten", None),
    ],
)
def test_time_of_day_is_hours_and_minutes(text: str, found: time | None) -> None:
    """Anything else is refused."""
    assert time_of_day(text) == found


# --- the chain --------------------------------------------------------------------------------


class Told:
    """Clock of a test: waiting moves it, and it ends the chain at a moment.

    Attributes:
        moment: The time, in UTC.
    """

    def __init__(self, begin: str, end: str = "2030-01-01") -> None:
        self.moment, self._end = utc(begin), utc(end)

    def now(self) -> datetime:
        """Return the moment."""
        return self.moment

    def wait(self, seconds: float) -> bool:
        """Move the time on, a minute at least, so that a test's day is short."""
        if seconds:
            self.moment += timedelta(seconds=max(60, seconds))
        return self.moment >= self._end


def played(
    clock: Told,
    codes: Sequence[int] = (),
    hours: float = 7,
    *,
    at: time = TEN,
    zone: str = "Europe/Berlin",
    carries: bool = False,
) -> tuple[int, list[datetime], list[list[str]], list[str]]:
    """Return the chain's code, when its nights began, their command lines and what was said."""
    begun: list[datetime] = []
    lines: list[list[str]] = []
    output: list[str] = []

    def night(words: Sequence[str]) -> int:
        begun.append(clock.now())
        lines.append(list(words))
        clock.moment += timedelta(hours=hours)
        return codes[len(begun) - 1] if len(begun) <= len(codes) else 0

    plan = Evenings(at, ZoneInfo(zone), ("night", "--quiet"), carries)
    return chain(plan, clock, night, output.append), begun, lines, output


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Apia"])
@pytest.mark.parametrize(
    ("begin", "end"), [("2026-03-01", "2026-04-15"), ("2026-09-20", "2026-11-10")]
)
def test_chain_plays_one_night_each_local_day_over_a_change(
    zone: str, begin: str, end: str
) -> None:
    """Every day has its night at 22:00, in summer and winter time."""
    code, begun, _, _ = played(Told(begin, end), zone=zone)

    local = [moment.astimezone(ZoneInfo(zone)) for moment in begun]
    assert code == 0
    assert {(moment.hour, moment.minute) for moment in local} == {(22, 0)}
    days = [moment.date() for moment in local]
    assert {later - earlier for earlier, later in pairwise(days)} == {timedelta(days=1)}
    assert len(days) >= (utc(end) - utc(begin)).days - 1


@pytest.mark.parametrize("code", [10, 1, 2, 4, 137])
def test_night_that_did_not_end_in_order_is_the_last(code: int) -> None:
    """The chain ends with the night's exit code and says so: a STOP is never restarted."""
    ended, begun, _, lines = played(Told("2026-06-01"), codes=[0, code])

    assert ended == code
    assert len(begun) == 2
    assert "no other follows" in lines[-1]
    assert ("STOPPED" in lines[-1]) == (code == 10)


def test_nights_of_a_profile_that_carries_start_from_the_one_before() -> None:
    """The first begins as the profile says; the others carry."""
    _, _, carrying, _ = played(Told("2026-06-01", "2026-06-04"), carries=True)
    _, _, fresh, _ = played(Told("2026-06-01", "2026-06-04"))

    carry = ["--set", "portfolio.start_from=carry"]
    assert carrying == [["night", "--quiet"], *[["night", "--quiet", *carry]] * 2]
    assert fresh == [["night", "--quiet"]] * 3


def test_command_within_a_minute_of_its_time_begins_at_once() -> None:
    """Typed at 22:00:30 it does not wait for tomorrow; typed a minute later it does."""
    soon = played(Told("2026-06-01T20:00:30", "2026-06-02"))[1]
    late = played(Told("2026-06-01T20:01:30", "2026-06-02T21:00"))[1]

    assert soon == [utc("2026-06-01T20:00:30")]
    assert late[0].day == 2


def test_night_that_is_longer_than_a_day_misses_an_evening_and_says_so() -> None:
    """An evening that came while a night went on is left out, never played late."""
    _, begun, _, lines = played(Told("2026-06-01", "2026-06-06"), hours=30)

    assert [moment.day for moment in begun] == [1, 3, 5]
    assert sum(line.startswith("missed: ") for line in lines) == 2


def test_evening_missed_by_a_sleeping_machine_is_left_out() -> None:
    """A machine that wakes in the morning does not begin its night then."""
    clock = Told("2026-06-01T19:00", "2026-06-02T23:00")
    jump = timedelta(milliseconds=LATE_MAX_MS, hours=2)
    wait, slept = clock.wait, list[float]()

    def sleeping(seconds: float) -> bool:
        if not slept:
            slept.append(seconds)
            clock.moment += jump
        return wait(seconds)

    clock.wait = sleeping  # type: ignore[method-assign]
    _, begun, _, lines = played(clock)

    assert [moment.day for moment in begun] == [2]
    assert any(line.startswith("missed: 2026-06-01 22:00") for line in lines)


def test_clock_that_is_set_back_begins_no_second_night() -> None:
    """An evening is played once, whatever the machine's clock shows later."""
    _, begun, _, _ = played(Told("2026-06-01T19:00", "2026-06-03T23:00"), hours=-2)

    assert len({moment.day for moment in begun}) == len(begun)


def test_operator_ends_the_wait_with_exit_code_0() -> None:
    """Ctrl-C before the night is no failure; nothing is started."""
    code, begun, _, lines = played(Told("2026-06-01T10:00", "2026-06-01T12:00"))

    assert (code, begun) == (0, [])
    assert "none follows" in lines[-1]


def test_operator_who_ends_a_night_ends_the_chain() -> None:
    """A signal during the night ends that in order, and no other follows."""
    code, begun, _, lines = played(Told("2026-06-01T10:00", "2026-06-01T23:00"))

    assert (code, len(begun)) == (0, 1)
    assert "no night follows" in lines[-1]


# --- with real processes ----------------------------------------------------------------------


@pytest.mark.process
def test_two_evenings_carry_and_a_stop_ends_the_chain(tmp_path: Path) -> None:
    """Compressed nights: the second starts from the first; a third stops and is the last."""
    var = Var(tmp_path / "var")
    words = [
        "night",
        "--config",
        str(PROJECT / "config/nore-smoke.v1.json"),
        "--var",
        str(var.root),
    ]
    words += ["--quiet", "--no-proof", "--set", "embedded.source=generator:2"]
    words += [
        "--set",
        "embedded.speed=20",
        "--set",
        "duration_ms=20000",
        "--set",
        "ai.enabled=false",
    ]
    words += ["--set", "portfolio.at_end=carry"]
    for key, value in PATIENT.items():
        words += ["--set", f"{key.replace('__', '.')}={value}"]
    system, clock, codes, lines = SystemClock(), Told("2026-06-01"), list[int](), list[str]()

    def night(line: Sequence[str]) -> int:
        limits = ["--set", "risk.night_loss_soft=0.3", "--set", "risk.night_loss_hard=0.4"]
        third = ["--set", "duration_ms=100000", *limits] if len(codes) == 2 else []
        codes.append(system.play([*line, *third]))
        return codes[-1]

    plan = Evenings(TEN, ZoneInfo("Europe/Berlin"), words, carries=True)
    code = chain(plan, clock, night, lines.append)

    assert codes == [0, 0, 10], lines
    assert code == 10
    first, second, third = (
        read_hashed(run / "manifest.json")["opening"] for run in run_folders(var.runs)
    )
    names = [run.name for run in run_folders(var.runs)]
    assert first.get("from_run") is None
    assert (second["from_run"], third["from_run"]) == (names[0], names[1])
    assert var.flag.exists()


@pytest.mark.process
def test_chain_is_refused_where_a_stop_stands(tmp_path: Path) -> None:
    """The refusal comes in the evening, not at 22:00 when nobody looks."""
    var = Var(tmp_path / "var")
    var.root.mkdir()
    var.flag.write_bytes(b"stopped\n")

    words = ("night", "-c", "config/nore-smoke.v1.json", "--every-evening", "22:00")
    done = verb(var.root, *words)

    assert done.code == 2
    assert "minibot clear-stop" in done.err


def test_every_night_of_a_chain_has_the_profile_of_its_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second profile that is written here by day neither takes the next night nor prevents it."""
    own = {"schema": "minibot.config", "v": 1, "extends": "nore.v1.json", "profile": "mine"}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    monkeypatch.chdir(tmp_path)
    plans = list[Evenings]()

    def chained(plan: Evenings, *_: object) -> int:
        plans.append(plan)
        return 0

    monkeypatch.setattr(evenings, "chain", chained)
    done = verb(tmp_path / "var", "night", "--every-evening", "22:00")

    assert (done.code, "your profile here, mine.json" in done.err) == (0, True)
    night = parsed(plans[0].night(1))
    assert (night.config, night.every_evening) == (Path("mine.json"), "off")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--every-evening", "25:00"), "expected a time of day"),
        (("--every-evening", "22:00", "--zone", "Mars"), "'Mars' is not a time zone"),
    ],
)
def test_time_or_zone_that_is_none_is_refused(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    """One sentence says what is wrong before anything waits."""
    done = verb(tmp_path / "var", "night", "-c", "config/nore-smoke.v1.json", *words)

    assert done.code == 2
    assert told in done.err


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signal_ends_a_waiting_chain_in_order(tmp_path: Path, name: str) -> None:
    """A service manager or Ctrl-C ends the wait: exit code 0, and nothing was started."""
    far = f"{(datetime.now(UTC) + timedelta(hours=5)):%H:%M}"
    words = ["night", "-c", "config/nore-smoke.v1.json", "--every-evening", far, "--zone", "UTC"]
    with subprocess.Popen(
        [sys.executable, "-m", "minibot", *words, "--var", str(tmp_path / "var")],
        cwd=PROJECT,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        first = waiting.stderr.readline()
        waiting.send_signal(signal.Signals[name])
        rest = waiting.stderr.read()

    assert first.startswith("next night: ")
    assert waiting.returncode == 0
    assert "none follows" in rest
    assert not (tmp_path / "var" / "runs").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_hang_up_that_the_chain_was_told_to_ignore_ends_nothing() -> None:
    """`nohup minibot night --every-evening` goes on behind a closed terminal."""
    clock, hang_up = SystemClock(), signal.Signals["SIGHUP"]
    before = signal.signal(hang_up, signal.SIG_IGN)
    try:
        with clock.signals():
            os.kill(os.getpid(), hang_up)
            during = signal.getsignal(hang_up)
        after = signal.getsignal(hang_up)
    finally:
        signal.signal(hang_up, before)

    assert not clock.wait(0)
    assert during is after is signal.SIG_IGN


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_signal_to_the_chain_reaches_its_night_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service manager's SIGTERM ends the night in order; twice would be a STOP."""
    marks = tmp_path / "marks"
    code = (
        "import pathlib, signal, sys\n"
        f"marks = pathlib.Path({str(marks)!r})\n"
        "def note(number, frame):\n"
        "    marks.open('a').write('x')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "marks.touch()\n"
        "signal.pause()\n"
    )
    monkeypatch.setattr(evenings, "night_argv", lambda words: ([sys.executable, "-c", code], None))
    clock = SystemClock()
    watching = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import os, pathlib, sys, time\n"
            "end = time.monotonic() + 60\n"
            f"while not pathlib.Path({str(marks)!r}).exists() and time.monotonic() < end:\n"
            "    time.sleep(0.01)\n"
            f"os.kill({os.getpid()}, 15)\n",
        ]
    )
    with clock.signals():
        ended = clock.play(["night"])
        watching.wait(DEADLINE_S)
        is_over = clock.wait(0)

    assert ended == 0
    assert is_over
    assert marks.read_text() == "x"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_signal_that_no_terminal_sends_is_handed_on() -> None:
    """SIGTERM goes to one process alone, so the night has to be told."""
    assert not from_terminal(signal.SIGTERM)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="needs a browser that is a shell script")
def test_open_shows_the_page_of_the_run_that_starts(tmp_path: Path) -> None:
    """`night --open` turns the page on, prints its code, and opens its address in the browser."""
    pytest.importorskip("fastapi", reason="needs the extra web")
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o700)
    words = ["night", "-c", "config/nore-smoke.v1.json", "--var", str(tmp_path / "var"), "--open"]
    words += ["--quiet", "--no-proof", "--set", "ai.enabled=false", "--set", "embedded.speed=6"]
    with subprocess.Popen(
        [sys.executable, "-m", "minibot", *words],
        cwd=PROJECT,
        env=clean_environ() | {"BROWSER": f"{browser} %s"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as night:
        try:
            wait_until(lambda: opened.exists() or night.poll() is not None, "a browser opens")
            address = opened.read_text().strip() if opened.exists() else ""
            shown = json.loads((tmp_path / "var/ops/page.json").read_text())
        finally:
            night.send_signal(signal.SIGINT)
            assert night.stderr is not None
            text = night.stderr.read()

    assert night.returncode == 0, text
    assert address == shown["url"]
    assert address.startswith("http://127.0.0.1:")
    assert "code for the page: " in text
