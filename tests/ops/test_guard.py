"""Guard: when it alarms, and how it delivers what an ended run has left."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.cli.guard import _page
from minibot.kernel import canonical
from minibot.kernel.errors import Refusal, RunStop, Transient
from minibot.kernel.files import Files
from minibot.kernel.queue import CURSOR_FILE
from minibot.kernel.threads import SignalEvent
from minibot.ops import night_guard
from minibot.ops.alerts.alert import INFO, WARNING, Alert
from minibot.ops.alerts.delivery import Delivery
from minibot.ops.alerts.outbox import GUARD_OUTBOX, OUTBOX, Outbox
from minibot.ops.alerts.targets import AddressTarget, Message, Outcome
from minibot.ops.guard_sources import Progress, UrlSource, VarSource, progress_of
from minibot.ops.night_guard import DATA, DECISIONS, HEARD, SEQUENCE, Guard, LeftBehind, Watch
from minibot.ops.web.live_documents import live_document
from minibot.runtime.paths import Var
from minibot.runtime.stop import END_KIND, STOP_KIND
from minibot.watchdog.ending import Phase
from tests.ops.alert_hosts import WebHost
from tests.ops.watched_nights import guarding, to_program, write_secrets
from tests.ops.web.served import status_of
from tests.runs import ShortRun
from tests.waiting import DEADLINE_S, wait_until


def progress(moved: int, *, is_running: bool = True, heard: int | None = None) -> Progress:
    """Return the progress of a run whose figures stand at one number."""
    ended = None if is_running else {"kind": "END"}
    return Progress("run", heard or moved, moved, moved, moved, is_running, ended)


ENDED = progress(1, is_running=False)


def test_watch_alarms_for_each_figure_that_stands_too_long_and_tells_when_it_moves() -> None:
    """The status goes on while data, decisions and sequence stand: three alarms, once each."""
    watch = Watch(30.0)
    assert list(watch.look(progress(1), 0.0)) == []
    assert list(watch.look(progress(1, heard=2), 29.9)) == []

    begun = list(watch.look(progress(1, heard=3), 30.0))
    again = list(watch.look(progress(1, heard=4), 40.0))
    over = list(watch.look(progress(2), 41.0))

    assert sorted(begun) == sorted([(DATA, True), (DECISIONS, True), (SEQUENCE, True)])
    assert again == []
    assert sorted(over) == sorted([(DATA, False), (DECISIONS, False), (SEQUENCE, False)])


def test_watch_alarms_when_nothing_is_heard_but_not_after_the_end() -> None:
    """Silence of a running night is an alarm; silence after its end is peace."""
    watch = Watch(30.0)
    list(watch.look(progress(1), 0.0))
    assert list(watch.look(None, 31.0)) == [(HEARD, True)]

    ended = Watch(30.0)
    list(ended.look(progress(1), 0.0))
    list(ended.look(progress(1, is_running=False), 1.0))
    assert list(ended.look(progress(1, is_running=False), 100.0)) == []


@pytest.mark.parametrize("phase", list(Phase))
def test_page_may_be_silent_once_its_run_drains_and_not_while_it_closes_positions(
    live: dict[str, Any], phase: Phase
) -> None:
    """A machine that dies with open positions is no end of a run, however long they take."""
    document = put_at(live, ("phase",), phase.value)
    watch = Watch(30.0, knows_end=False)
    list(watch.look(progress_of(json.dumps(document).encode()), 0.0))

    begun = list(watch.look(None, 31.0))

    is_end = phase in (Phase.DRAINING, Phase.DRAINED)
    assert begun == ([] if is_end else [(HEARD, True)])


def test_figures_that_stand_while_positions_are_closed_end_their_alarms() -> None:
    """A run that closes its positions is watched for its status alone, so it is well again."""
    watch = Watch(30.0)
    list(watch.look(progress(1), 0.0))
    list(watch.look(progress(1, heard=2), 29.9))
    list(watch.look(progress(1, heard=3), 30.0))
    assert set(watch.alarms) == {DATA, DECISIONS, SEQUENCE}

    list(watch.look(replace(progress(1, heard=4), is_running=False), 31.0))

    assert watch.alarms == {}


class Told:
    """Source that tells what a test gives it."""

    def __init__(self, progress: Progress | None) -> None:
        self.why = ""
        self.progress = progress

    def look(self) -> Progress | None:
        """Return it."""
        return self.progress


@pytest.mark.process
@pytest.mark.parametrize(
    ("last", "is_pinged"),
    [(progress(1), False), (replace(progress(1), is_draining=True), False), (ENDED, True)],
    ids=["running", "drained", "ended"],
)
def test_monitor_is_asked_of_a_silent_page_only_once_the_end_was_heard(
    tmp_path: Path, last: Progress, is_pinged: bool
) -> None:
    """A page that no longer answers may be a dead machine's until its run is known to be over."""
    outbox = Outbox(tmp_path, GUARD_OUTBOX)
    with WebHost() as host:
        source = Told(last)
        guard = Guard(source, Delivery(outbox, [], 20), 30.0, host.url("http", "/ping"), 10.0)
        guard.look(0.0)
        wait_until(lambda: len(host.got) == 1, "the monitor is asked")
        first = guard._pinging
        assert first is not None
        first.join(DEADLINE_S)

        source.progress = None
        guard.look(20.0)

        assert (guard._pinging is not first) == is_pinged
    outbox.close()


@pytest.mark.parametrize(("kind", "is_well"), [("END", True), ("STOP", False)])
def test_run_that_stopped_is_not_well(tmp_path: Path, kind: str, *, is_well: bool) -> None:
    """The monitor hears no more of a run that a STOP ended, so that it alarms as well."""
    outbox = Outbox(tmp_path, GUARD_OUTBOX)
    source = Told(progress(1))
    guard = Guard(source, Delivery(outbox, [], 20), 30.0)
    guard.look(0.0)
    assert guard.is_well

    source.progress = replace(ENDED, ended={"kind": kind})
    guard.look(1.0)

    assert guard.is_well is is_well
    outbox.close()


@pytest.mark.parametrize(
    ("status", "is_told"), [(200, False), (299, False), (300, True), (404, True)]
)
def test_monitor_that_answers_otherwise_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    *,
    is_told: bool,
) -> None:
    """A wrong address of the monitor answers too; only a 2xx says that it has heard."""
    monkeypatch.setattr(night_guard, "get", lambda *_, **__: (status, b""))
    outbox = Outbox(tmp_path, GUARD_OUTBOX)
    guard = Guard(Told(progress(1)), Delivery(outbox, [], 20), 30.0, "http://monitor", 10.0)

    guard.look(0.0)
    assert guard._pinging is not None
    guard._pinging.join(DEADLINE_S)

    told = capsys.readouterr().err
    assert (f"the monitor was not reached: it answers {status}" in told) is is_told
    outbox.close()


def test_silence_is_one_alarm_and_says_nothing_of_the_figures_in_the_last_status() -> None:
    """Silence tells of no figure: each is watched on from the next status."""
    watch = Watch(30.0)
    list(watch.look(progress(1), 0.0))
    list(watch.look(progress(1, heard=2), 20.0))

    assert list(watch.look(progress(1, heard=2), 60.0)) == [(HEARD, True)]
    assert list(watch.look(progress(1, heard=3), 61.0)) == [(HEARD, False)]
    assert list(watch.look(progress(1, heard=4), 70.9)) == []
    begun = list(watch.look(progress(1, heard=5), 71.0))
    assert sorted(begun) == sorted([(DATA, True), (DECISIONS, True), (SEQUENCE, True)])


def test_watch_waits_for_the_first_value_of_a_figure() -> None:
    """A night that fetches its history has no data yet: no alarm."""
    watch = Watch(30.0)
    list(watch.look(Progress("run", 1, 0, 0, 0, True, None), 0.0))

    assert list(watch.look(Progress("run", 2, 0, 0, 0, True, None), 60.0)) == []


# --- a page's document --------------------------------------------------------------------------

ASKED = (
    *(("run_id",), ("phase",), ("ended",), ("is_stale",), ("status_age_ms",), ("decided_ms",)),
    *(("counts",), ("counts", "ticks"), ("roles",)),
    *(("roles", "market_role"), ("roles", "market_role", "position"), ("roles", "risk_role")),
)
"""Places in the document that a guard reads."""
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def put_at(document: dict[str, Any], place: tuple[str, ...], value: object) -> dict[str, Any]:
    """Return a copy of a document with another value at a place."""
    found = inner = deepcopy(document)
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    return found


@pytest.fixture
def live(short_run: ShortRun) -> dict[str, Any]:
    """The document of a run's page while it was running."""
    return live_document(status_of(short_run), 100)


def test_guard_hears_a_run_by_its_page(live: dict[str, Any]) -> None:
    """Each figure that is watched comes from the page's own document."""
    rows = [live, put_at(live, ("ended",), {"kind": "STOP", "reason_code": "ROLE_HUNG"})]
    with WebHost(answer=lambda got: rows[len(host.got) - 1]) as host:
        source = UrlSource(host.url("http", ""), "sesame")
        heard, over = source.look(), source.look()

    assert heard is not None
    assert source.why == ""
    assert (heard.run_id, heard.data) == (live["run_id"], live["counts"]["ticks"])
    assert (heard.decided, heard.is_running, heard.ended) == (live["decided_ms"], True, None)
    assert heard.sequence == live["roles"]["market_role"]["position"] > 0
    assert over is not None
    assert over.ended is not None
    assert (over.is_running, over.ended["kind"]) == (False, "STOP")
    asked = [(got.path, got.headers["Authorization"]) for got in host.got]
    assert asked == [("/api/v1/live", "Bearer sesame")] * 2


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("roles",), []),
        (("roles", "market_role"), 1),
        (("counts",), [1]),
        (("counts", "ticks"), float("inf")),
        (("ended",), "END"),
        (("ended",), {}),
        (("is_stale",), "no"),
        (("status_age_ms",), None),
    ],
)
def test_document_of_another_form_is_a_failed_look_with_its_reason(
    live: dict[str, Any], place: tuple[str, ...], value: object
) -> None:
    """A page of another version, or another program at that port, ends no guard."""
    with WebHost(answer=lambda got: put_at(live, place, value)) as host:
        source = UrlSource(host.url("http", ""), "sesame")

        assert source.look() is None
        assert source.why != ""


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"{", b'{"run_id": NaN}', b'{"x":' + b"[" * 1_000_000], ids=range(5)
)
def test_body_that_is_no_whole_json_is_a_failed_look(body: bytes) -> None:
    """Bytes, a body cut short, and one that is nested without end are no document."""
    with pytest.raises(Transient):
        progress_of(body)


def test_guard_goes_on_whatever_a_page_answers(live: dict[str, Any], tmp_path: Path) -> None:
    """Any value at any place that is read: a look is heard or has its reason, and never raises."""
    told: list[object] = [live]
    outbox = Outbox(tmp_path, GUARD_OUTBOX)
    with WebHost(answer=lambda got: told[0]) as host:
        source = UrlSource(host.url("http", ""), "sesame")
        guard = Guard(source, Delivery(outbox, [], 20), 30.0)

        @settings(max_examples=150, deadline=None)
        @given(st.sampled_from(ASKED), ANY)
        def look(place: tuple[str, ...], value: object) -> None:
            for document in (put_at(live, place, value), value):
                told[0] = document
                guard.look(0.0)
                assert (source.look() is None) == bool(source.why)

        look()
    outbox.close()


# --- what an ended run has left -----------------------------------------------------------------


@contextmanager
def delivering(left: LeftBehind) -> Iterator[None]:
    """Let a thread deliver what a run left, until the end of the block."""
    ended = SignalEvent()
    thread = threading.Thread(target=left.work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(DEADLINE_S)


def left_behind(var: Var, host: WebHost) -> LeftBehind:
    """Return the deliverer of a `var` to a host."""
    target = AddressTarget("hook", host.url())
    return LeftBehind(var, lambda outbox: Delivery(outbox, [target], 20))


@pytest.mark.campaign
@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="links of Windows need a privilege")
def test_error_of_the_disk_is_told_once_and_delivery_goes_on_after_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that cannot be read ends no thread: it is told, and tried until it can."""
    monkeypatch.setattr(night_guard, "LEFT_EVERY_S", 0.01)
    real, link, good = (tmp_path / name for name in ("real", "link", "good"))
    outbox = Outbox(Var(real / "var").ops, OUTBOX, "run")
    outbox.put(Alert.of("run", "test", "1", WARNING, "left behind", "body"), ["hook"])
    outbox.close()
    link.symlink_to(link)
    good.symlink_to(real)
    lines: list[str] = []

    def has_told() -> bool:
        lines.append(capsys.readouterr().err)
        return "Too many levels" in "".join(lines)

    with WebHost() as host:
        left = left_behind(Var(link / "var"), host)
        left.take(progress(1, is_running=False), is_silent=False)
        with delivering(left):
            wait_until(has_told, "the error is told")
            good.replace(link)  # At once: a look between two steps would make the folder.
            wait_until(host.titles, "it is delivered")

        assert [title for title in host.titles() if "left behind" in title] == host.titles()
    assert "".join([*lines, capsys.readouterr().err]).count("Too many levels") == 1


class Host:
    """Target in memory that counts its tries and keeps what it got, if it is there at all."""

    def __init__(self, name: str, *, is_there: bool) -> None:
        self.name = name
        self.is_there = is_there
        self.tries = 0
        self.got: list[Message] = []

    def send(self, message: Message) -> Outcome:
        """Take a message, or be away."""
        self.tries += 1
        if not self.is_there:
            return Outcome(False, "away")
        self.got.append(message)
        return Outcome(True)

    def cancel(self) -> None:
        """Have nothing under way."""


@pytest.mark.slow
def test_full_disk_keeps_no_alert_from_its_target_and_repeats_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alerts that nobody can note are sent once each, however long another host is away."""
    monkeypatch.setattr(night_guard, "LEFT_S", 0.05)
    var = Var(tmp_path / "var")
    outbox = Outbox(var.ops, OUTBOX, "run")
    outbox.put(Alert.of("run", "test", "1", WARNING, "left behind", "body"), ["mail", "away"])
    outbox.close()

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("pwrite", "write_through", "mkdir"):
        monkeypatch.setattr(Files, call, refuse)
    mail, away = Host("mail", is_there=True), Host("away", is_there=False)
    left = LeftBehind(var, lambda outbox: Delivery(outbox, [mail, away], 20))
    left.take(progress(1, is_running=False), is_silent=False)

    def has_tried_again() -> bool:
        left.deliver(SignalEvent())
        return bool(mail.got) and away.tries > 3

    wait_until(has_tried_again, "the host that is away is tried again")
    away.is_there = True

    def has_both() -> bool:
        left.deliver(SignalEvent())
        return bool(away.got)

    wait_until(has_both, "the host that was away is there")
    assert [got.title for got in mail.got] == ["left behind"]
    assert [got.title for got in away.got] == ["left behind"]


@pytest.mark.parametrize("kind", [END_KIND, STOP_KIND])
def test_end_that_ops_has_reported_from_the_journal_is_no_lost_launcher(
    tmp_path: Path, kind: str
) -> None:
    """A launcher that died behind the record of its end left a status without one."""
    var = Var(tmp_path / "var")
    outbox = Outbox(var.ops, OUTBOX, "run")
    outbox.put(Alert.of("run", kind, kind, INFO, "its end", "body", is_always=True), ["mail"])
    outbox.close()
    mail = Host("mail", is_there=True)
    left = LeftBehind(var, lambda outbox: Delivery(outbox, [mail], 20))
    seen = replace(progress(1), run_id="run", status={"roles": {}, "now_ms": 0})
    left.take(seen, is_silent=False)
    left.take(seen, is_silent=True)
    left.deliver(SignalEvent())

    assert [got.title for got in mail.got] == ["its end"]


def test_lost_launcher_is_reported_with_the_folder_of_its_run(tmp_path: Path) -> None:
    """The remedy works where it is typed, and the next start is the one on that folder."""
    var = Var(tmp_path / "var")
    mail = Host("mail", is_there=True)
    left = LeftBehind(var, lambda outbox: Delivery(outbox, [mail], 20))
    seen = replace(progress(1), run_id="run", status={"roles": {}, "now_ms": 0}, ended=None)
    left.take(seen, is_silent=False)
    left.take(seen, is_silent=True)
    left.deliver(SignalEvent())

    assert f"Remedy: see minibot status --var {var.root};" in mail.got[0].body


class Hours(SignalEvent):
    """Event that is set at a time of a clock of its own, which each wait moves on at once.

    Attributes:
        now_s: That clock.
    """

    def __init__(self, end_s: float) -> None:
        super().__init__()
        self.now_s = 0.0
        self._end_s = end_s

    def wait(self, timeout_s: float) -> bool:
        """Move the clock on."""
        self.now_s += timeout_s
        return self.now_s >= self._end_s


def tries_of(var: Var, monkeypatch: pytest.MonkeyPatch, host: Host, end_s: float) -> list[float]:
    """Return when a guard opens the outbox of an ended run, by its clock, until a moment.

    Another name of the profile, `phone`, has no usable address. A further run ends after 2 h.
    """
    hours, tries = Hours(end_s), []
    monkeypatch.setattr(night_guard, "LEFT_S", 0.0)
    monkeypatch.setattr(night_guard, "time", SimpleNamespace(monotonic=lambda: hours.now_s))

    def made(outbox: Outbox) -> Delivery:
        tries.append(hours.now_s)
        if hours.now_s >= 7200:
            left.take(replace(progress(1), run_id="next"), is_silent=True)
        return Delivery(outbox, [host], 20, names=["phone"])

    left = LeftBehind(var, made)
    left.take(progress(1), is_silent=True)
    left.work(hours)
    return tries


def test_host_that_is_away_between_nights_is_tried_after_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try costs lines of the outbox; the end of a further run waits for no pause."""
    var = Var(tmp_path / "var")
    outbox = Outbox(var.ops, OUTBOX, "run")
    outbox.put(Alert.of("run", "test", "1", WARNING, "left behind", "body"), ["away", "phone"])
    outbox.close()

    tries = tries_of(var, monkeypatch, Host("away", is_there=False), 8000.0)

    pauses = [later - earlier for earlier, later in pairwise(tries)]
    assert pauses[:9] == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    heard = next(index for index, at_s in enumerate(tries) if at_s >= 7200)
    assert pauses[heard : heard + 3] == [5, 5, 10]


def test_alert_for_a_name_without_an_address_keeps_no_outbox_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A target that cannot be had in this process is left to the next start."""
    var = Var(tmp_path / "var")
    outbox = Outbox(var.ops, OUTBOX, "run")
    outbox.put(Alert.of("run", "test", "1", WARNING, "left behind", "body"), ["phone"])
    outbox.close()

    tries = tries_of(var, monkeypatch, Host("mail", is_there=True), 100.0)
    again = Outbox(var.ops, OUTBOX, "run")
    waiting = again.targets()
    again.close()

    assert len(tries) == 1
    assert waiting == {"phone"}


STATUS: dict[str, Any] = {
    "run_id": "run", "phase": "RUNNING", "ended": None, "roles": {}, "written_ms": 1,
}  # fmt: skip
OTHER_VERSIONS: list[tuple[str, Any]] = [
    ("roles", []), ("roles", "x"), ("roles", {"market_role": []}),
    ("written_ms", "soon"), ("written_ms", []),
    ("ended", "STOP"), ("ended", {}), ("ended", []),
]  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [
        *({key: STATUS[key] for key in STATUS if key != missing} for missing in STATUS),
        *({**STATUS, key: value} for key, value in OTHER_VERSIONS),
    ],
    ids=str,
)
def test_status_of_another_version_is_a_failed_look_with_its_reason(
    odd: dict[str, Any], tmp_path: Path
) -> None:
    """A guard goes on over a status that it cannot read, says so, and hears the next one."""
    var = Var(tmp_path / "var")
    var.status.parent.mkdir(parents=True)
    source = VarSource(var)

    def show(status: dict[str, Any]) -> None:
        (tmp_path / "next").write_bytes(canonical.encode(status))
        (tmp_path / "next").replace(var.status)

    show(odd)
    assert source.look() is None
    assert str(var.status) in source.why

    show(STATUS)
    found = source.look()

    assert found is not None
    assert (found.run_id, source.why) == ("run", "")


@pytest.mark.campaign
@pytest.mark.process
def test_status_that_is_damaged_is_told_and_holds_no_outbox(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed look the outbox is free: the next one delivers the run's end."""
    monkeypatch.setattr(night_guard, "LEFT_EVERY_S", 0.01)
    ended = {"kind": "END", "reason_code": "OPERATOR", "detail": "asked"}
    whole = {
        **{"run_id": "run", "ended": ended, "market": {}, "roles": {}, "quote_asset": "USDT"},
        "now_ms": 1,
    }
    over = progress(1, is_running=False)
    with WebHost() as host:
        left = left_behind(Var(tmp_path), host)
        left.take(progress(1), is_silent=False)
        left.take(replace(over, status={}), is_silent=False)
        with delivering(left):
            wait_until(lambda: "KeyError" in capsys.readouterr().err, "the error is told")
            left.take(replace(over, status=whole), is_silent=False)
            wait_until(host.titles, "it is delivered")

        assert host.titles()[0].endswith("ended")


# A program that takes its time until a file exists, and notes then whether it has a repeat.
HOLD = """
import json, pathlib, sys, time
told, go = map(pathlib.Path, sys.argv[1:])
said = json.loads(sys.stdin.read())
told.touch()
while not go.exists():
    time.sleep(0.01)
with told.open("a") as file:
    file.write(json.dumps(said["is_repeat"]) + "\\n")
"""


@pytest.mark.campaign
@pytest.mark.process
def test_delivery_of_what_a_run_left_ends_no_message_of_the_guard(tmp_path: Path) -> None:
    """An alarm on its way goes on while the guard has done with the outbox of an ended run."""
    var, told, go = Var(tmp_path / "var"), tmp_path / "told", tmp_path / "go"
    own = Outbox(var.ops, GUARD_OUTBOX)
    own.put(Alert.of("run", "test", "1", WARNING, "an alarm", "body"), ["log"])
    own.close()
    Outbox(var.ops, OUTBOX, "run").close()
    looked = var.ops / OUTBOX / CURSOR_FILE
    looked.unlink()
    ended = {"run_id": "run", "ended": {"kind": "END"}, "market": {}, "roles": {}}
    status = {**ended, "phase": "running", "written_ms": 1}
    var.status.write_bytes(canonical.encode(status))
    command = [sys.executable, "-c", HOLD, str(told), str(go)]

    def is_free() -> bool:
        try:
            Outbox(var.ops, OUTBOX, "run").close()
        except RunStop:
            return False
        return True

    write_secrets(tmp_path)
    with guarding(tmp_path, "--var", str(var.root), alerts=to_program(command)):
        wait_until(told.exists, "the alarm is on its way")
        wait_until(looked.exists, "the guard looks at what the run left")
        wait_until(is_free, "it has done with that")
        go.touch()
        wait_until(told.read_text, "the alarm arrives")

    assert told.read_text() == "false\n"


@pytest.mark.parametrize("port", ["0", "70000", "page"])
def test_guard_refuses_a_port_that_none_can_be(port: str) -> None:
    """A guard of such a page would alarm all night, and watch nothing."""
    with pytest.raises(Refusal, match="loopback end of a tunnel"):
        _page(f"http://127.0.0.1:{port}")


@pytest.mark.campaign
@pytest.mark.process
@pytest.mark.parametrize(
    "url", ["http://example.com:80", "https://127.0.0.1:1", "http://user:pass@127.0.0.1:1", "x"]
)
def test_guard_sends_the_token_to_loopback_alone(tmp_path: Path, url: str) -> None:
    """The token of a page leaves the machine by the operator's tunnel or not at all."""
    write_secrets(tmp_path, HOOK="json://127.0.0.1:9/x")
    (tmp_path / "token").write_text("sesame\n")
    words = ("--url", url, "--token", str(tmp_path / "token"), "--var", str(tmp_path / "own"))
    with (
        pytest.raises(AssertionError, match="loopback end of a tunnel"),
        guarding(tmp_path, *words) as refused,
    ):
        refused.wait(DEADLINE_S)
