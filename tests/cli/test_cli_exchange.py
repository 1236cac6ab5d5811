"""`minibot exchange`: served alone, asked for its status, given faults, ended by Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest
import requests
import websocket

from minibot.cli.main import run
from minibot.cli.support import certificate
from minibot.cli.support.certificate import CERTIFICATE, KEY, certificate_in
from minibot.kernel.errors import Refusal
from tests.runs import PROJECT, Completed, answers_to, clean_environ
from tests.simulator.embedded_exchange import market, messages, write_tape
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Tape of ten minutes of a small market."""
    return write_tape(tmp_path / "tape.gz", market(600, per_second=2))


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "minibot", "exchange", "serve", *words]


@contextmanager
def served(*words: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """Serve on a free port; yield the command's description of itself, and the process."""
    process = subprocess.Popen(
        command("--json", "--port", "0", *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("}"):
                break
        assert text, process.communicate()
        yield json.loads(text), process
    finally:
        process.kill()
        process.communicate()


def refusal(*words: str) -> tuple[int, str]:
    """Return exit code and message of an exchange that cannot be served."""
    done = subprocess.run(
        command(*words), capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_served_exchange_says_where_it_is_and_ends_with_ctrl_c(tape: Path) -> None:
    """A served exchange works at its printed addresses; Ctrl-C ends it in order with figures."""
    words = ("--source", f"tape:{tape}", "--port", "0", "--speed", "20")
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        text = ""
        for line in process.stdout:
            text += line
            if line.startswith("faults"):
                break
        rest = re.search(r"http://\S+/api/v3/", text)
        stream = re.search(r"(ws://\S+)/ws", text)
        assert rest
        assert stream
        with urlopen(f"{rest.group()}ping", timeout=DEADLINE_S) as answer:
            assert json.load(answer) == {}
        client = websocket.create_connection(
            f"{stream.group(1)}/stream?streams=btcusdt@trade", timeout=DEADLINE_S
        )
        assert next(messages(client))["stream"] == "btcusdt@trade"
        client.shutdown()  # type: ignore[no-untyped-call]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 0
    assert "BTCUSDT" in text
    assert "2023-11-14 22:13:20 to 2023-11-14 22:23:" in text
    assert "1 call answered" in stderr
    assert "Traceback" not in stderr


def test_time_stands_until_a_client_asks_over_rest(tape: Path) -> None:
    """Market time starts with the first REST call, so a client without streams sees it pass."""
    with served("--source", f"tape:{tape}", "--speed", "20") as (ready, _):
        base = ready["rest"]
        status = requests.get(f"{base}/minibot/status", timeout=DEADLINE_S).json()
        assert status["is_started"] is False

        def now() -> int:
            body = requests.get(f"{base}/api/v3/time", timeout=DEADLINE_S).json()
            return int(body["serverTime"])

        wait_until(lambda: now() > ready["origin_ms"], "time passes")


def test_status_and_fault_reach_the_running_exchange(
    tape: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status and faults reach the exchange by its port; an unknown fault is refused with a list."""
    with served("--source", f"tape:{tape}", "--speed", "20") as (ready, _):
        port = ["--port", str(ready["port"])]
        assert run(["exchange", "fault", "5xx", "status=502", "n=1", *port]) == 0
        answer = requests.get(f"{ready['rest']}/api/v3/time", timeout=DEADLINE_S)
        assert run(["exchange", "fault", "nosuch", *port]) == 2
        unknown = capsys.readouterr().err
        assert run(["exchange", "fault", "stall", "ms", *port]) == 4
        assert run(["exchange", "fault", *port]) == 2
        listed = capsys.readouterr().out
        assert run(["exchange", "status", "--json", *port]) == 0
        status = json.loads(capsys.readouterr().out)

    assert answer.status_code == 502
    assert "known faults are" in unknown
    assert "old_snapshot" in listed
    assert status["counters"]["fault_5xx"] == 1
    assert status["requests"]["/api/v3/time"] == 1


def test_nobody_there_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """A port without exchange, free or in other use, is refused with a remedy."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert run(["exchange", "status", "--port", str(port)]) == 2
    text = capsys.readouterr().err

    assert str(port) in text
    assert "minibot exchange serve" in text


def test_port_in_use_is_one_sentence_with_what_to_do(tape: Path) -> None:
    """A port in use is one sentence with the port and a remedy."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, text = refusal("--source", f"tape:{tape}", "--port", port)

    assert code == 2
    assert port in text
    assert "--port" in text


UNSERVED: Final = [
    (("--source", "tape:/nowhere/at/all.gz"), 2, "/nowhere/at/all.gz"),
    (("--source", "cassette:x"), 4, "generator:SEED"),
    (("--source", "generator:1:0"), 4, "1 to"),
    (("--source", "generator:1:100000"), 4, "1 to"),
    (("--source", "tape:demo", "--speed", "fast"), 4, "embedded.speed"),
    (("--source", "tape:demo", "--speed", "1e999999999"), 4, "embedded.speed"),
    (("--source", "tape:demo", "--speed", "1/0"), 4, "embedded.speed"),
    (("--source", "tape:demo", "--rebase-to-now", "--speed", "10"), 4, "--rebase-to-now"),
    (("--source", "tape:demo", "--faults", "/nowhere.json"), 4, "/nowhere.json"),
    (("drop", "--source", "tape:demo"), 4, "takes no name"),
]


@pytest.fixture(scope="module")
def refusals() -> dict[tuple[str, ...], Completed]:
    """Answers to the command lines that serve nothing, by one process for all."""
    asked = [("exchange", "serve", *words, "--port", "0") for words, _, _ in UNSERVED]
    done = answers_to(asked, PROJECT, clean_environ())
    return dict(zip((words for words, _, _ in UNSERVED), done, strict=True))


@pytest.mark.parametrize(("words", "code", "told"), UNSERVED)
def test_what_cannot_be_served_is_told(
    words: tuple[str, ...], code: int, told: str, refusals: dict[tuple[str, ...], Completed]
) -> None:
    """A source that cannot be served is one message with its name; nothing is served."""
    done = refusals[words]

    assert (done.code, done.out) == (code, "")
    assert told in done.err


def test_tls_above_the_highest_port_is_refused(tmp_path: Path) -> None:
    """TLS takes the port above; no certificate is made for one that cannot be."""
    folder = tmp_path / "tls"

    code, text = refusal("--port", "65535", "--tls-dir", str(folder))

    assert code == 4
    assert "65535" in text
    assert not folder.exists()


def test_tls_serves_the_same_market_with_a_certificate_made_once(
    tape: Path, tmp_path: Path
) -> None:
    """TLS serves the same market; its certificate is made once and used again."""
    folder = tmp_path / "tls"
    words = ("--source", f"tape:{tape}", "--speed", "20", "--tls-dir", str(folder))
    with served(*words) as (ready, _):
        trusted = ready["certificate"]
        answer = requests.get(
            f"{ready['tls_rest']}/api/v3/exchangeInfo", verify=trusted, timeout=DEADLINE_S
        )
        client = websocket.create_connection(
            f"{ready['tls_streams']}/stream?streams=btcusdt@bookTicker",
            timeout=DEADLINE_S,
            sslopt={"ca_certs": trusted, "cert_reqs": ssl.CERT_REQUIRED},
        )
        message = next(messages(client))
        client.shutdown()  # type: ignore[no-untyped-call]
        first = (folder / CERTIFICATE).read_bytes()
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{ready['tls_rest']}/api/v3/ping", timeout=DEADLINE_S)
    with served(*words):
        again = (folder / CERTIFICATE).read_bytes()

    assert answer.json()["symbols"][0]["symbol"] == "BTCUSDT"
    assert message["stream"] == "btcusdt@bookTicker"
    assert first == again
    if sys.platform != "win32":
        assert (folder / KEY).stat().st_mode & 0o077 == 0


def test_damaged_certificate_is_refused_by_its_folder(tape: Path, tmp_path: Path) -> None:
    """A damaged certificate is refused with its folder, neither skipped nor overwritten."""
    (tmp_path / CERTIFICATE).write_text("no certificate")
    (tmp_path / KEY).write_text("no key")
    code, text = refusal("--source", f"tape:{tape}", "--port", "0", "--tls-dir", str(tmp_path))

    assert code == 2
    assert str(tmp_path) in text
    assert (tmp_path / KEY).read_text() == "no key"


def test_certificate_that_has_expired_is_refused_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A year later every client would end its connection, and nothing would say why."""
    monkeypatch.setattr(certificate, "LIFE", timedelta(hours=-1))
    with pytest.raises(Refusal, match="has expired"):
        certificate_in(tmp_path)
    old = (tmp_path / CERTIFICATE).read_bytes()

    with pytest.raises(Refusal, match="has expired"):
        certificate_in(tmp_path)

    assert (tmp_path / CERTIFICATE).read_bytes() == old
