"""Guard: alarms when nothing moves or is heard, and asks a monitor while all is well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from minibot.ops import night_guard
from minibot.ops.alerts.alert import WARNING, Alert
from minibot.ops.alerts.delivery import Delivery
from minibot.ops.alerts.outbox import OUTBOX, Outbox
from minibot.ops.alerts.targets import AddressTarget
from minibot.ops.guard_sources import Progress
from minibot.ops.night_guard import DATA, DECISIONS, HEARD, SEQUENCE, LeftBehind, Watch
from minibot.runtime.paths import Var
from tests.nights.night import PROFILE, PROJECT, Night
from tests.ops.alert_hosts import WebHost
from tests.ops.test_alert_nights import start
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.campaign

QUIET_MS = 5_000


def progress(moved: int, *, is_running: bool = True, told: int | None = None) -> Progress:
    """Return the progress of a run whose figures stand at one number."""
    ended = None if is_running else {"kind": "END"}
    return Progress("run", told or moved, moved, moved, moved, is_running, ended)


def test_watch_alarms_for_each_figure_that_stands_too_long_and_tells_when_it_moves() -> None:
    """The status goes on while data, decisions and sequence stand: three alarms, once each."""
    watch = Watch(30.0)
    assert list(watch.look(progress(1), 0.0)) == []
    assert list(watch.look(progress(1, told=2), 29.9)) == []

    begun = list(watch.look(progress(1, told=3), 30.0))
    again = list(watch.look(progress(1, told=4), 40.0))
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


def test_silence_is_one_alarm_and_says_nothing_of_the_figures_in_the_last_status() -> None:
    """Who hears nothing knows of no data: they are watched on from the next status."""
    watch = Watch(30.0)
    list(watch.look(progress(1), 0.0))
    list(watch.look(progress(1, told=2), 20.0))

    assert list(watch.look(progress(1, told=2), 60.0)) == [(HEARD, True)]
    assert list(watch.look(progress(1, told=3), 61.0)) == [(HEARD, False)]
    assert list(watch.look(progress(1, told=4), 70.9)) == []
    begun = list(watch.look(progress(1, told=5), 71.0))
    assert sorted(begun) == sorted([(DATA, True), (DECISIONS, True), (SEQUENCE, True)])


def test_watch_waits_for_the_first_value_of_a_figure() -> None:
    """A night that fetches its history has no data yet: no alarm."""
    watch = Watch(30.0)
    list(watch.look(Progress("run", 1, 0, 0, 0, True, None), 0.0))

    assert list(watch.look(Progress("run", 2, 0, 0, 0, True, None), 60.0)) == []


@contextmanager
def delivering(left: LeftBehind) -> Iterator[None]:
    """Let a thread deliver what a run left, until the end of the block."""
    ended = threading.Event()
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
    said: list[str] = []

    def has_told() -> bool:
        said.append(capsys.readouterr().err)
        return "Too many levels" in "".join(said)

    with WebHost() as host:
        left = left_behind(Var(link / "var"), host)
        left.take(progress(1, is_running=False), is_silent=False)
        with delivering(left):
            wait_until(has_told, "the error is told")
            good.replace(link)  # At once: a look between two steps would make the folder.
            wait_until(host.titles, "it is delivered")

        assert [title for title in host.titles() if "left behind" in title] == host.titles()
    assert "".join([*said, capsys.readouterr().err]).count("Too many levels") == 1


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


@contextmanager
def guarding(tmp_path: Path, *words: str, ping: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run `minibot guard` on the `var` and secrets of a test's night, and end it in order."""
    section = {"required": True, "level_min": "warning", "per_minute_max": 20}
    guard = {"quiet_ms": QUIET_MS, **({"ping": "PING", "ping_every_ms": 10_000} if ping else {})}
    sets = {
        "alerts": json.dumps({**section, "targets": {"hook": "HOOK"}}),
        "guard": json.dumps(guard),
        "secrets.path": str(tmp_path / "secrets.env"),
    }
    argv = [sys.executable, "-m", "minibot", "guard", "--config", PROFILE]
    for name, text in sets.items():
        argv += ["--set", f"{name}={text}"]
    process = subprocess.Popen(
        [*argv, *words], cwd=PROJECT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def await_hearing(guard: subprocess.Popen[str]) -> None:
    """Wait until a guard has heard of a run."""
    assert guard.stderr is not None
    said = []
    while line := guard.stderr.readline():
        said.append(line)
        if "hears" in line:
            return
    raise AssertionError(f"the guard ended: {said}")


def stand_still(night: Night) -> list[psutil.Process]:
    """Freeze the launcher of a night and all that it started."""
    launcher = psutil.Process(night.process.pid)
    frozen = [launcher, *launcher.children(recursive=True)]
    for process in frozen:
        process.suspend()
    return frozen


@pytest.mark.process
def test_guard_alarms_when_the_night_stands_still_and_when_it_moves_again(tmp_path: Path) -> None:
    """A frozen machine writes nothing: the guard says so, and that it is over."""
    with WebHost() as host:
        night = start(tmp_path, host.url(), "watchdog.pause_max_ms=600000")
        night.await_trading()
        with guarding(tmp_path, "--var", str(night.var)) as guard:
            await_hearing(guard)
            frozen = stand_still(night)
            try:
                wait_until(lambda: any("nothing is heard" in t for t in host.titles()), "alarm")
            finally:
                for process in frozen:
                    process.resume()
            wait_until(lambda: any("moves again" in t for t in host.titles()), "it is over")
            night.interrupt()
            night.end()
        titles = host.titles()

    assert sum("nothing is heard" in title for title in titles) == 1
    assert sum("launcher is gone" in title for title in titles) == 0


@pytest.mark.process
def test_guard_tells_the_end_of_a_night_of_which_every_process_was_killed(tmp_path: Path) -> None:
    """Launcher, roles and ops die at once: the guard alone is left to say so."""
    with WebHost() as host:
        night = start(tmp_path, host.url())
        night.await_trading()
        with guarding(tmp_path, "--var", str(night.var)) as guard:
            await_hearing(guard)
            for process in stand_still(night):
                process.kill()
            night.end()
            wait_until(lambda: any("launcher is gone" in t for t in host.titles()), "it is told")
        titles = host.titles()

    assert sum("nothing is heard" in title for title in titles) == 1
    assert sum("launcher is gone" in title for title in titles) == 1


@pytest.mark.process
def test_guard_delivers_what_the_night_could_not(tmp_path: Path) -> None:
    """The host of the alerts is away at the end of the night: its end comes by the guard."""
    with WebHost(status=503) as host:
        night = start(tmp_path, host.url())
        night.await_trading()
        with guarding(tmp_path, "--var", str(night.var)) as guard:
            await_hearing(guard)
            night.interrupt()
            code, said = night.end()
            assert code == 0, said
            tried = len(host.got)
            host.got.clear()
            host.status = 200
            wait_until(lambda: any("ended" in title for title in host.titles()), "it is told")
        titles = host.titles()

    assert tried > 0
    assert sum(title.endswith("ended") for title in titles) == 1


@pytest.mark.process
def test_guard_asks_the_monitor_while_all_is_well(tmp_path: Path) -> None:
    """A monitor outside hears of a living night; a hanging monitor holds nobody up."""
    with WebHost() as host, WebHost(status=0) as monitor:
        night = start(tmp_path, host.url())
        secrets = tmp_path / "secrets.env"
        secrets.write_text(f"{secrets.read_text()}PING={monitor.url('http', '/ping/sesame')}\n")
        night.await_trading()
        with guarding(tmp_path, "--var", str(night.var), ping=True):
            wait_until(lambda: monitor.got, "the monitor is asked")
            night.interrupt()
            code, said = night.end()

    assert code == 0, said
    assert monitor.got[0].path == "/ping/sesame"


@pytest.mark.process
def test_second_guard_of_a_var_is_refused(tmp_path: Path) -> None:
    """Two guards would alarm twice."""
    (tmp_path / "secrets.env").write_text("HOOK=json://127.0.0.1:9/x\n")
    (tmp_path / "secrets.env").chmod(0o600)
    var = tmp_path / "var"
    with guarding(tmp_path, "--var", str(var)):
        wait_until(lambda: (var / "ops" / "guard_outbox" / "cursor.json").is_file(), "it watches")
        with (
            pytest.raises(AssertionError, match="another guard watches"),
            guarding(tmp_path, "--var", str(var)) as second,
        ):
            second.wait(DEADLINE_S)


@pytest.mark.process
def test_guard_watches_a_page_behind_a_tunnel(tmp_path: Path) -> None:
    """A guard on another machine sees the run through the page, and its freeze by the silence."""
    with WebHost() as host:
        page = 'page={"port":0,"required":true}'
        night = start(tmp_path, host.url(), page, "watchdog.pause_max_ms=600000")
        night.await_trading()
        ops = Var(night.var).ops
        wait_until(lambda: (ops / "page.json").exists(), "the page is served")
        url = json.loads((ops / "page.json").read_text())["url"]
        words = ("--url", url, "--token", str(ops / "token"), "--var", str(tmp_path / "own"))
        with guarding(tmp_path, *words) as guard:
            await_hearing(guard)
            frozen = stand_still(night)
            try:
                wait_until(lambda: any("nothing is heard" in t for t in host.titles()), "alarm")
            finally:
                for process in frozen:
                    process.resume()
            night.interrupt()
            night.end()


@pytest.mark.process
@pytest.mark.parametrize(
    "url", ["http://example.com:80", "https://127.0.0.1:1", "http://user:pass@127.0.0.1:1", "x"]
)
def test_guard_sends_the_token_to_loopback_alone(tmp_path: Path, url: str) -> None:
    """The token of a page leaves the machine by the operator's tunnel or not at all."""
    (tmp_path / "secrets.env").write_text("HOOK=json://127.0.0.1:9/x\n")
    (tmp_path / "secrets.env").chmod(0o600)
    (tmp_path / "token").write_text("sesame\n")
    words = ("--url", url, "--token", str(tmp_path / "token"), "--var", str(tmp_path / "own"))
    with (
        pytest.raises(AssertionError, match="loopback end of a tunnel"),
        guarding(tmp_path, *words) as refused,
    ):
        refused.wait(DEADLINE_S)
