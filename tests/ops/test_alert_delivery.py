"""Delivery of alerts by real hosts and programs: mail, webhook, ntfy, a command."""

from __future__ import annotations

import asyncio
import email.policy
import errno
import html
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from minibot.events.names import RISK_ROLE
from minibot.kernel import canonical
from minibot.kernel.codes import QUEUE_MISSING
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import Files
from minibot.ops.alerts import delivery as alert_delivery
from minibot.ops.alerts import run_alerts
from minibot.ops.alerts import targets as alert_targets
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING, Alert
from minibot.ops.alerts.delivery import Delivery, digest_of
from minibot.ops.alerts.endings import LOST, stop_alert_of
from minibot.ops.alerts.outbox import OUTBOX, Outbox
from minibot.ops.alerts.run_alerts import AlertService
from minibot.ops.alerts.send import send
from minibot.ops.alerts.targets import (
    REPEAT,
    AddressTarget,
    CommandTarget,
    Message,
    Outcome,
    Target,
    message_of,
    targets_of,
)
from minibot.runtime.configuration.config_sections import AlertsSection
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from minibot.runtime.secrets import Secrets
from minibot.runtime.stop import END_KIND, STOP_KIND
from tests.ops.alert_evening import PAUSED, STOOD_STILL
from tests.ops.alert_hosts import WebHost, broken_host
from tests.runs import ShortRun
from tests.waiting import DEADLINE_S, wait_until

RUN = "20261123_200000"
SECRET = "sesame-opens"


def alert(number: int, level: str = WARNING, *, is_urgent: bool = False) -> Alert:
    """Return an alert of an event."""
    return Alert.of(RUN, "test", str(number), level, f"title {number}", "body", is_urgent=is_urgent)


def message(*, is_repeat: bool = False) -> Message:
    """Return the message of an alert."""
    return message_of(alert(1), is_repeat=is_repeat)


def delivery_of(tmp_path: Path, targets: Sequence[Target], per_minute_max: int = 20) -> Delivery:
    """Return a delivery of a new outbox, whose pauses are short."""
    return Delivery(Outbox(tmp_path / "ops", OUTBOX, RUN), targets, per_minute_max, pause_s=0.05)


class Wire:
    """Target in memory that keeps what it got, fails while `is_down`, and refuses a title."""

    def __init__(self, name: str = "wire", refused: str = "\0") -> None:
        self.name = name
        self.got: list[Message] = []
        self.is_down = False
        self.tries = 0
        self._refused = refused

    def send(self, message: Message) -> Outcome:
        """Keep a message."""
        self.tries += 1
        if self.is_down:
            return Outcome(False, "down")
        if self._refused in f"{message.title}\n{message.body}":
            return Outcome(False, "refused")
        self.got.append(message)
        return Outcome(True)

    def cancel(self) -> None:
        """Have nothing under way."""


def told_by(wire: Wire) -> list[str]:
    """Return the ids of all alerts that a target got, in order."""
    return [each.id for got in wire.got for each in got.alerts]


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.row("B-12", "B-61")
@pytest.mark.process
@pytest.mark.parametrize("scheme", ["json", "ntfy"])
def test_host_gets_title_and_text_once(scheme: str) -> None:
    """A webhook and an ntfy server get the alert as their documents say."""
    with WebHost() as host:
        path = f"/hook/{SECRET}" if scheme == "json" else f"/{SECRET}"
        outcome = AddressTarget("hook", host.url(scheme, path)).send(message())

        assert outcome == Outcome(True)
        assert len(host.got) == 1
        assert host.got[0].json["title"] == "title 1"
        assert host.got[0].json["message"] == "body"


@pytest.mark.process
def test_redirect_is_a_failure_and_the_secret_goes_nowhere_else() -> None:
    """A host that points elsewhere gets no second request sent there, even if the address asks."""
    with WebHost() as other, WebHost(status=307, location=other.url("http", "/steal")) as host:
        target = AddressTarget("hook", host.url(path=f"/hook/{SECRET}?redirect=yes"))
        outcome = target.send(message())

        assert not outcome.is_sent
        assert not outcome.in_doubt
        assert len(host.got) == 1
        assert other.got == []
    assert SECRET not in outcome.why


@pytest.mark.process
@pytest.mark.parametrize("status", [401, 404, 500])
def test_refusing_host_is_a_failure_with_its_status(status: int) -> None:
    """The reason names the status, and no part of the address."""
    with WebHost(status=status) as host:
        outcome = AddressTarget("hook", host.url(path=f"/hook/{SECRET}")).send(message())

    assert not outcome.is_sent
    assert not outcome.in_doubt
    assert str(status) in outcome.why
    assert SECRET not in outcome.why


@pytest.mark.process
def test_hanging_host_is_given_up_in_time_and_leaves_a_doubt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A host that takes the message and never answers may have it: the next try says so."""
    monkeypatch.setattr(alert_targets, "SEND_S", 3.0)
    with WebHost(status=0) as host:
        outcome = AddressTarget("hook", host.url(path=f"/hook/{SECRET}")).send(message())

        assert not outcome.is_sent
        assert outcome.in_doubt
        assert len(host.got) == 1


@pytest.mark.process
def test_host_that_is_away_leaves_no_doubt() -> None:
    """A port without a listener gets no message, so a later one is not a repeat."""
    with WebHost() as host:
        url = host.url(path=f"/hook/{SECRET}")
    outcome = AddressTarget("hook", url).send(message())

    assert not outcome.is_sent
    assert not outcome.in_doubt
    assert SECRET not in outcome.why


GOOD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = GOOD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.process
@pytest.mark.parametrize(
    "answer",
    [
        GOOD + b"Content-Length: 9\r\n\r\ntak",
        CHUNKED + b"3\r\ntak",
        CHUNKED + b"nonsense\r\n",
        GOOD + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\ntaken",
    ],
)
def test_host_that_breaks_off_its_answer_leaves_a_doubt(answer: bytes) -> None:
    """It has taken the message: the next try has to say that it may be a repeat."""
    with broken_host([answer]) as url:
        outcome = AddressTarget("hook", url).send(message())

    assert not outcome.is_sent
    assert outcome.in_doubt


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA that counts mappings")
def test_answer_without_end_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that somebody else rules could end the night by the memory of its machine."""
    monkeypatch.setattr(alert_targets, "SEND_S", DEADLINE_S)
    piece, size = bytes(1 << 20), 1 << 29
    answer = chain([GOOD + b"Content-Length: %d\r\n\r\n" % size], repeat(piece, size >> 20))
    with broken_host(answer) as url:
        outcome = AddressTarget("hook", url).send(message())

    assert not outcome.is_sent
    assert outcome.in_doubt


HANGS_UP = "the server hangs up"


@pytest.fixture
def mails() -> Iterator[tuple[int, list[Any]]]:
    """A mail server on loopback: its port and the mails that came."""
    smtpd = pytest.importorskip("aiosmtpd.smtp", reason="aiosmtpd is not installed")
    got: list[Any] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            got.append(envelope)
            if HANGS_UP.encode() in envelope.content:
                server.transport.close()
            return "250 taken"

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        loop.create_server(lambda: smtpd.SMTP(Handler(), loop=loop), "127.0.0.1", 0)
    )
    port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield port, got
    loop.call_soon_threadsafe(server.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.mark.row("B-12", "B-61")
@pytest.mark.process
def test_mail_arrives_with_title_as_its_subject(mails: tuple[int, list[Any]]) -> None:
    """A mail server gets one mail with subject and text."""
    port, got = mails
    url = f"mailto://127.0.0.1:{port}?from=bot@example.com&to=me@example.com&mode=insecure"
    outcome = AddressTarget("mail", url).send(message())

    assert outcome == Outcome(True)
    assert len(got) == 1
    assert got[0].rcpt_tos == ["me@example.com"]
    assert b"Subject: title 1" in got[0].content


@pytest.mark.process
def test_mail_server_that_hangs_up_after_the_mail_leaves_a_doubt(
    mails: tuple[int, list[Any]],
) -> None:
    """It may deliver what it took without a word."""
    port, got = mails
    url = f"mailto://127.0.0.1:{port}?from=bot@example.com&to=me@example.com&mode=insecure"
    outcome = AddressTarget("mail", url).send(replace(message(), body=HANGS_UP))

    assert len(got) == 1
    assert not outcome.is_sent
    assert outcome.in_doubt


# As a strategy's STOP has it, with a line for each fact and a path with signs of Markdown.
PLAIN = "TypeError: '<' not supported & <h1>\nMeaning: D:\\my_*bot*\nRemedy: 1 < 2"
BOT = "tgram://123456789:abcdefghijklmnopqrstuvwxyz012345678/12345"


@pytest.mark.process
def test_mail_has_the_text_line_by_line_as_it_was_written(mails: tuple[int, list[Any]]) -> None:
    """A mail is plain text: nothing in it is taken for HTML, and no lines are joined."""
    port, got = mails
    url = f"mailto://127.0.0.1:{port}?from=bot@example.com&to=me@example.com&mode=insecure"
    outcome = AddressTarget("mail", url).send(replace(message(), body=PLAIN))

    assert outcome == Outcome(True)
    mail = email.message_from_bytes(got[0].content, policy=email.policy.default)
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == PLAIN.splitlines()


@pytest.mark.parametrize("form", ["", "?format=markdown"])
def test_telegram_gets_no_sign_of_the_text_as_markup(
    monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """A bot's server refuses a message with `<` that begins no tag, or `_` without its pair."""
    plugin = pytest.importorskip("apprise.plugins.telegram", reason="apprise is not installed")
    with WebHost() as host:
        monkeypatch.setattr(plugin.NotifyTelegram, "notify_url", host.url("http", "/bot"))
        fields = send(f"{BOT}{form}", "title", PLAIN, CRITICAL)

        assert fields["ok"], fields
        sent = host.got[-1].json["text"].replace("\r\n", "\n").partition("\n")[2]
    assert not re.search(r"(?<!\\)[_*`\[]" if form else r"<|&(?!amp;|lt;|gt;)", sent)
    assert (re.sub(r"\\([_*`\[])", r"\1", sent) if form else html.unescape(sent)) == PLAIN


# --- programs ---------------------------------------------------------------------------------


@pytest.mark.process
def test_program_gets_the_alert_as_json_and_its_exit_code_counts(tmp_path: Path) -> None:
    """A program of the machine gets all of it on standard input, by no shell."""
    out = tmp_path / "out; rm -rf x"
    script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"
    sent = CommandTarget("beep", [sys.executable, "-c", script, str(out)]).send(message())
    failed = CommandTarget("beep", [sys.executable, "-c", "raise SystemExit(3)"]).send(message())
    missing = CommandTarget("beep", [str(tmp_path / "none")]).send(message())

    assert sent == Outcome(True)
    answer = json.loads(out.read_text())
    assert answer["schema"] == "minibot.alert"
    assert answer["alerts"][0]["id"] == f"{RUN}/test/1"
    assert not answer["is_repeat"]
    assert failed == Outcome(False, "exit code 3")
    assert not missing.is_sent
    assert not missing.in_doubt
    assert missing.why.startswith(str(tmp_path / "none"))


@pytest.mark.process
def test_program_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program has a bound on its time."""
    monkeypatch.setattr(alert_targets, "SEND_S", 1.0)
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    outcome = CommandTarget("beep", argv).send(message())

    assert not outcome.is_sent
    assert outcome.in_doubt


@pytest.mark.process
def test_program_that_is_given_up_leaves_a_doubt(tmp_path: Path) -> None:
    """A program may have done its work when it is killed: the next try says so."""
    script = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
    target = CommandTarget("beep", [sys.executable, "-c", script, str(tmp_path / "begun")])
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(target.send(message())))
    thread.start()
    wait_until((tmp_path / "begun").exists, "it is on its way")
    target.cancel()
    thread.join()

    assert [(each.is_sent, each.in_doubt) for each in outcomes] == [(False, True)]


# --- the order of things ----------------------------------------------------------------------


@pytest.mark.row("B-48")
def test_host_that_comes_back_gets_what_waited_once(tmp_path: Path) -> None:
    """An outage delays alerts and doubles none."""
    wire = Wire()
    wire.is_down = True
    delivery = delivery_of(tmp_path, [wire])
    delivery.put(alert(1))
    wait_until(lambda: wire.tries >= 3, "it is tried again")
    assert delivery.failures == {"wire": "down"}
    wire.is_down = False

    wait_until(lambda: wire.got, "it arrives")
    delivery.close(5.0)
    assert [each.title for each in wire.got] == ["title 1"]
    assert delivery.failures == {}


@pytest.mark.row("B-48")
@pytest.mark.process
@pytest.mark.network_mock
def test_host_that_was_away_for_ten_minutes_gets_each_alert_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long an outage lasts by the delivery's clock, no alert is dropped or doubled."""
    later_s = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + later_s[0])
    monkeypatch.setattr(alert_delivery, "time", clock)
    with WebHost() as host:
        port = host.port
    delivery = delivery_of(tmp_path, [AddressTarget("hook", host.url())])
    for number in range(3):
        delivery.put(alert(number))
    wait_until(lambda: delivery.failures, "the host is found to be away")
    later_s[0] = 600.0
    delivery.put(alert(3))

    with WebHost(port=port) as host:
        wait_until(lambda: len(host.got) >= 4, "all of them arrive")
        delivery.close(5.0)
        assert sorted(host.titles()) == [f"title {number}" for number in range(4)]
    assert delivery.failures == {}


def test_dead_target_holds_up_no_other(tmp_path: Path) -> None:
    """Each target has a line of its own."""
    dead, wire = Wire("dead"), Wire()
    dead.is_down = True
    delivery = delivery_of(tmp_path, [dead, wire])
    delivery.put(alert(1))

    wait_until(lambda: wire.got, "it arrives")
    delivery.close(5.0)
    assert dead.got == []


def test_flood_becomes_a_digest_and_a_stop_passes_it(tmp_path: Path) -> None:
    """More than the minute has room for is summed up in one message; a STOP is not held back."""
    wire = Wire()
    wire.is_down = True
    delivery = delivery_of(tmp_path, [wire], per_minute_max=3)
    for number in range(50):
        delivery.put(alert(number))
    wire.is_down = False
    wait_until(lambda: wire.got, "the digest comes")
    delivery.put(alert(100, CRITICAL, is_urgent=True))
    wait_until(lambda: len(wire.got) >= 2, "the STOP comes")
    delivery.close(5.0)

    lines = [each.id for got in wire.got for each in got.alerts]
    assert len(lines) == len(set(lines)) == 51
    assert len(wire.got) <= 4
    assert any(len(got.alerts) > 3 for got in wire.got)
    stop = next(got for got in wire.got if got.alerts[0].is_urgent)
    assert len(stop.alerts) == 1


@pytest.mark.parametrize("is_urgent", [False, True])
@pytest.mark.parametrize("others", [2, 6])
def test_message_that_is_refused_for_good_lets_others_pass(
    tmp_path: Path, others: int, is_urgent: bool
) -> None:
    """A host may dislike one text for ever: what else waits arrives, also where it is summed up."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    outbox.put(alert(0, CRITICAL, is_urgent=is_urgent), ["wire"])
    for number in range(1, 1 + others):
        outbox.put(alert(number), ["wire"])
    wire = Wire(refused="title 0")

    delivery = Delivery(outbox, [wire], per_minute_max=5, pause_s=0.05)
    wait_until(lambda: len(told_by(wire)) >= 5 or len(told_by(wire)) == others, "others arrive")
    delivery.close(0.0)

    assert told_by(wire) == [alert(number).id for number in range(1, 1 + len(told_by(wire)))]


def test_stop_passes_an_urgent_message_that_is_refused(tmp_path: Path) -> None:
    """A new STOP goes before all that failed, and waits for no pause of theirs."""
    wire = Wire(refused="title 0")
    delivery = Delivery(Outbox(tmp_path / "ops", OUTBOX, RUN), [wire], 5, pause_s=600.0)
    delivery.put(alert(0, CRITICAL, is_urgent=True))
    wait_until(lambda: delivery.failures, "it is refused")
    delivery.put(alert(1))
    delivery.put(alert(2, CRITICAL, is_urgent=True))
    wait_until(lambda: wire.got, "the STOP arrives")
    first = wire.got[0]
    delivery.close(0.0)

    assert first.title == "title 2"


def test_urgent_alerts_that_piled_up_are_summed_up(tmp_path: Path) -> None:
    """A phone that was away all night gets one message of a hundred alarms, the newest on top."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    for number in range(100):
        made = replace(alert(number, CRITICAL, is_urgent=True), made_ms=number)
        outbox.put(made, ["wire"])
    wire = Wire()

    delivery = Delivery(outbox, [wire], per_minute_max=5)
    wait_until(lambda: delivery.is_done, "all arrive")
    delivery.close(0.0)

    assert [len(each.alerts) for each in wire.got] == [100]
    assert wire.got[0].body.splitlines()[1] == "critical: title 99"


def test_repeat_says_that_it_is_one(tmp_path: Path) -> None:
    """A message that may have arrived before the restart comes marked."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    outbox.put(alert(1), ["wire"])
    outbox.begin("wire", [alert(1)])
    outbox.close()
    wire = Wire()

    delivery = delivery_of(tmp_path, [wire])
    wait_until(lambda: wire.got, "it is repeated")
    delivery.close(5.0)

    assert wire.got[0].is_repeat
    assert wire.got[0].title == f"{REPEAT}title 1"


def test_alert_for_a_target_that_is_no_more_is_left_out_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that the profile names no longer blocks the outbox no further."""
    outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
    outbox.put(alert(1), ["old"])
    outbox.close()

    delivery_of(tmp_path, [Wire()]).close(0.0)

    again = Outbox(tmp_path / "ops", OUTBOX, RUN)
    assert again.targets() == set()
    again.close()
    text = capsys.readouterr().err
    assert "WARN alerts: 1 alert left out" in text
    assert "old" in text


def test_alert_waits_for_a_target_whose_address_is_missing_for_one_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A target that stands in the profile gets what waits, and what comes, once it can be used."""
    phone, mail = Wire("phone"), Wire("mail")
    phone.is_down = True
    night = delivery_of(tmp_path, [phone, mail])
    night.put(alert(1, CRITICAL, is_urgent=True))
    night.close(5.0)
    capsys.readouterr()

    without = Delivery(Outbox(tmp_path / "ops", OUTBOX, RUN), [mail], 20, names=["phone", "mail"])
    without.put(alert(2))
    without.close(5.0)
    text = capsys.readouterr().err
    phone.is_down = False
    delivery_of(tmp_path, [phone, mail]).close(5.0)

    assert text == ""
    assert [got.title for got in phone.got] == ["title 1", "title 2"]
    assert [got.title for got in mail.got] == ["title 1", "title 2"]


@pytest.mark.process
def test_ops_leaves_nothing_out_for_a_target_without_an_address(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """An alert for a name that stands in the profile waits on, and the night's end joins it."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    outbox = Outbox(var.ops, OUTBOX, RUN)
    outbox.put(alert(1, CRITICAL, is_urgent=True), ["phone"])
    outbox.close()
    profile = section(targets={"phone": "PHONE"}, commands={"siren": [sys.executable, "-c", ""]})
    usable, faults = targets_of(profile, Secrets({}, Path("/s")))

    AlertService(profile, var, Manifest.load(var.run(short_run.run_id)), usable).close()
    again = Outbox(var.ops, OUTBOX, RUN)
    waiting = [each.kind for each, _ in again.waiting("phone") if each.kind != PAUSED]
    again.close()

    assert len(faults) == 1
    assert waiting == ["test", END_KIND]


def test_digest_counts_kinds_and_shows_the_gravest_first() -> None:
    """A digest of a hundred alerts is short, and the worst of them stands on top."""
    alerts = [(alert(number, INFO), False) for number in range(99)]
    told = digest_of([*alerts, (alert(99, CRITICAL), False)], left_out=7)

    lines = told.body.splitlines()
    assert told.level == CRITICAL
    assert lines[1] == "critical: title 99"
    assert "and 75 more" in lines
    assert lines[-1].startswith("7 alerts left out")
    assert len(told.alerts) == 100


# --- the profile ------------------------------------------------------------------------------


def section(**keys: Any) -> AlertsSection:
    """Return a section of a profile."""
    fixed: dict[str, Any] = {"required": False, "level_min": WARNING, "per_minute_max": 20}
    return AlertsSection(**{**fixed, **keys})


def test_address_that_is_missing_or_of_another_kind_is_named_without_itself() -> None:
    """A fault says which name, never what stands behind it."""
    secrets = Secrets({"ODD": f"syslog://{SECRET}", "GOOD": "json://127.0.0.1/x"}, Path("/s"))
    named = {"odd": "ODD", "none": "NONE", "good": "GOOD"}
    found, faults = targets_of(section(targets=named), secrets)

    assert [target.name for target in found] == ["good"]
    assert len(faults) == 2
    assert SECRET not in " ".join(faults)


def test_end_is_told_although_the_last_look_at_the_queues_fails(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run moves its queues; that costs no end and tells of no lost launcher."""

    def fails(service: AlertService) -> None:
        raise IntegrityError("test", QUEUE_MISSING, "moved")

    monkeypatch.setattr(AlertService, "_read", fails)
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    manifest = Manifest.load(var.run(short_run.run_id))
    section = AlertsSection(required=True, level_min="info", per_minute_max=20)
    wire = Wire()
    service = AlertService(section, var, manifest, [wire])
    service.take(canonical.decode(var.status.read_bytes().rstrip(b"\n")))
    service.close()

    assert [got.title.rpartition(" ")[2] for got in wire.got] == ["ended"]


def test_commands_of_an_alert_are_of_the_folder_of_its_run(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Whoever reads it on a phone types the command elsewhere: it finds the run all the same."""
    var = Var(Path(shutil.copytree(stopped_run.var, tmp_path / "var")))
    wire = Wire()
    service = AlertService(section(), var, Manifest.load(var.run(stopped_run.run_id)), [wire])
    service.close()

    stop = next(each for got in wire.got for each in got.alerts if each.kind == STOP_KIND)
    assert f"minibot status --var {var.root}; minibot report --var {var.root} latest" in stop.text


def test_end_is_told_although_the_last_look_takes_too_long(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk at the end of a run makes no lost launcher of one whose status has its end."""
    is_reading, is_read = threading.Event(), threading.Event()

    def reads(service: AlertService) -> None:
        is_reading.set()
        is_read.wait(DEADLINE_S)

    monkeypatch.setattr(AlertService, "_read", reads)
    monkeypatch.setattr(run_alerts, "LOOK_S", 0.001)
    monkeypatch.setattr(run_alerts, "LAST_S", 0.05)
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    wire = Wire()
    service = AlertService(section(), var, Manifest.load(var.run(short_run.run_id)), [wire])
    try:
        assert is_reading.wait(DEADLINE_S)
        service.take(canonical.decode(var.status.read_bytes().rstrip(b"\n")))
        service.close()
    finally:
        is_read.set()

    assert [each.kind for got in wire.got for each in got.alerts] == [END_KIND]


def test_end_on_record_is_told_by_a_service_that_got_no_status(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A status that could not be written makes no lost launcher of one that recorded its end."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    wire = Wire()
    service = AlertService(section(), var, Manifest.load(var.run(short_run.run_id)), [wire])
    service.close()

    ended = [each for got in wire.got for each in got.alerts if each.kind in (END_KIND, LOST)]
    assert [each.id for each in ended] == [f"{short_run.run_id}/{END_KIND}/{END_KIND}"]
    assert ended[0].level == INFO


@pytest.mark.parametrize("told", [[], ["REDUCING@1"]], ids=["new", "told before"])
def test_tier_that_changed_while_ops_was_away_is_told_by_the_next_ops_unless_it_was(
    short_run: ShortRun, tmp_path: Path, told: list[str]
) -> None:
    """A service compares the first status it sees with the last alert in its run's outbox."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    before = Outbox(var.ops, OUTBOX, short_run.run_id)
    for event_id in told:
        before.put(Alert.of(short_run.run_id, "account", event_id, WARNING, "t", "b"), [])
    before.close()
    status = canonical.decode(var.status.read_bytes().rstrip(b"\n"))
    status["roles"][RISK_ROLE]["heartbeat"]["facts"]["account"] = "REDUCING"
    wire = Wire()

    service = AlertService(section(), var, Manifest.load(var.run(short_run.run_id)), [wire])
    service.take(status)
    service.close()

    assert ("account" in {each.kind for got in wire.got for each in got.alerts}) == (not told)


def test_end_is_told_by_ops_that_started_on_a_full_disk(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk stops the run and may restart `ops`: its alerts go out all the same."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    Outbox(var.ops, OUTBOX, short_run.run_id).close()

    def refuse(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for call in ("pwrite", "write_through", "mkdir"):
        monkeypatch.setattr(Files, call, refuse)
    wire = Wire()
    service = AlertService(section(), var, Manifest.load(var.run(short_run.run_id)), [wire])
    service.take(canonical.decode(var.status.read_bytes().rstrip(b"\n")))
    service.close()

    titles = [got.title for got in wire.got if not got.title.endswith(STOOD_STILL)]
    assert [title.rpartition(" ")[2] for title in titles] == ["ended"]


def test_end_is_told_although_the_outbox_cannot_be_opened_at_first(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the system at the outbox costs no look that follows it."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    tries: list[int] = []

    def opened(*words: Any) -> Outbox:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return Outbox(*words)

    monkeypatch.setattr(run_alerts, "Outbox", opened)
    monkeypatch.setattr(run_alerts, "LOOK_S", 0.001)
    wire = Wire()
    service = AlertService(section(), var, Manifest.load(var.run(short_run.run_id)), [wire])
    service.take(canonical.decode(var.status.read_bytes().rstrip(b"\n")))
    wait_until(lambda: len(wire.got) == 1, "the end is told")
    service.close()

    assert len(tries) == 2


def test_stop_is_told_once_however_long_another_process_holds_the_outbox(
    stopped_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks go on until the end of `ops`; none tells the STOP anew, and no copy waits."""
    monkeypatch.setattr(run_alerts, "LOOK_S", 0.001)
    monkeypatch.setattr(run_alerts, "STOP_WAIT_S", 0.0)
    made: list[Alert] = []
    looks: list[int] = []
    judge = AlertService._judge

    def noted(*told: Any) -> Alert:
        made.append(stop_alert_of(*told))
        return made[-1]

    def counted(service: AlertService) -> None:
        judge(service)
        looks.append(len(made))

    monkeypatch.setattr(run_alerts, "stop_alert_of", noted)
    monkeypatch.setattr(AlertService, "_judge", counted)
    var = Var(Path(shutil.copytree(stopped_run.var, tmp_path / "var")))
    held, wire = Outbox(var.ops, OUTBOX), Wire()
    service = AlertService(
        section(level_min=CRITICAL), var, Manifest.load(stopped_run.run_dir), [wire]
    )
    try:
        wait_until(lambda: len([told for told in looks if told]) > 20, "looks follow the STOP")
        for _ in range(2):
            service._put(alert(1, CRITICAL))
        early = [each.kind for each in service._early.values()]
        held.close()
        wait_until(lambda: len(wire.got) == 2, "both are delivered")
    finally:
        service.close()

    assert len(made) == 1
    assert sorted(early) == ["STOP", "test"]
    assert sorted(got.alerts[0].kind for got in wire.got) == ["STOP", "test"]


def test_urgent_alert_has_room_however_many_wait_for_the_outbox(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the outbox is free few other alerts are kept, and all that are urgent or an end."""
    monkeypatch.setattr(run_alerts, "HELD_MAX", 2)
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    held, wire = Outbox(var.ops, OUTBOX), Wire()
    manifest = Manifest.load(var.run(short_run.run_id))
    service = AlertService(section(level_min=CRITICAL), var, manifest, [wire])
    try:
        for number in range(4):
            service._put(alert(number, CRITICAL))
        for number in (8, 9):
            service._put(alert(number, CRITICAL, is_urgent=True))
        service._put(replace(alert(7), is_always=True))
        held.close()
        wait_until(lambda: len(wire.got) == 5, "all that were kept are delivered")
    finally:
        service.close()

    lines = [got.alerts[0].title for got in wire.got if got.alerts[0].kind == "test"]
    assert sorted(lines) == [f"title {number}" for number in (0, 1, 7, 8, 9)]
