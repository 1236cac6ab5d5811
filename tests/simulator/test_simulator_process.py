"""Exchange as a supervised process: its first line, its clock, its end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import requests

from minibot.kernel.system import machine_ns
from tests.simulator.embedded_exchange import ORIGIN_MS, Exchange, market, take, write_tape
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "tape.gz", market(20))


def write_clock(run: Path, *, speed: str = "100", origin_ms: int = ORIGIN_MS) -> None:
    """Write the run's clock atomically, like the launcher."""
    fields = {"machine_origin_ns": machine_ns(), "market_origin_ms": origin_ms, "speed": speed}
    temporary = run / "clock.tmp"
    temporary.write_text(json.dumps({**fields, "generation": 1, "sha256": "0" * 64}))
    temporary.replace(run / "clock.json")


def test_first_line_says_what_is_played_and_where(tape: Path) -> None:
    """The first line names source and address for the launcher's manifest."""
    with Exchange(f"tape:{tape}") as exchange:
        pass

    assert exchange.ready == {
        "ready": True,
        "port": exchange.ready["port"],
        "origin_ms": ORIGIN_MS,
        "end_ms": ORIGIN_MS + 19_902,
        "symbols": ["BTCUSDT"],
        "has_depth": True,
        "has_exchange_info": False,
        "instrument_origins": {"BTCUSDT": "table"},
        "notes": [],
    }


@pytest.mark.row("N-94")
def test_run_holds_its_frames_until_the_clock_is_written(tmp_path: Path) -> None:
    """A client of a run waits at the origin with its book until the clock is written."""
    tape = write_tape(tmp_path / "minute.gz", market(60))
    run = tmp_path / "run"
    run.mkdir()
    with Exchange(f"tape:{tape}", "--run", str(run), speed="1") as exchange:
        stream = exchange.stream("btcusdt@trade")
        held = [exchange.json("time")["serverTime"] for _ in range(20)]
        assert exchange.status()["sent"] == 0
        write_clock(run)
        received = take(stream, 600)  # A client that does not read is disconnected after a while.
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")

    assert set(held) == {ORIGIN_MS}
    assert [message["data"]["t"] for message in received] == list(range(1, 601))


def test_late_start_plays_what_is_due_at_once_and_in_order(tape: Path, tmp_path: Path) -> None:
    """A restarted exchange plays all due frames at once, in order, without repeats."""
    run = tmp_path / "run"
    run.mkdir()
    write_clock(run, speed="1", origin_ms=ORIGIN_MS + 3_600_000)
    with Exchange(f"tape:{tape}", "--run", str(run), speed="1") as exchange:
        wait_until(lambda: bool(exchange.status()["ended"]), "end of the tape")
        bars = exchange.json("klines", symbol="BTCUSDT", interval="1s", startTime=ORIGIN_MS)

    assert sum(bar[8] for bar in bars) == 200


def test_settings_come_from_the_manifest_of_the_run(tape: Path, tmp_path: Path) -> None:
    """Settings come from the run's manifest alone."""
    run = tmp_path / "run"
    run.mkdir()
    section = {"source": f"tape:{tape}", "speed": "5", "history": None, "faults": None}
    manifest = {"config": {"embedded": section | {"port": 0, "rate_per_s": 20}}}
    (run / "manifest.json").write_text(json.dumps(manifest))
    process = subprocess.Popen(
        [sys.executable, "-m", "minibot.simulator", "--run", str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    stdout, _ = process.communicate()

    assert json.loads(stdout.splitlines()[0])["origin_ms"] == ORIGIN_MS
    assert process.returncode == 0


def test_run_without_manifest_and_source_is_refused(tmp_path: Path) -> None:
    """A run without manifest and source is refused in one line."""
    process = subprocess.run(
        [sys.executable, "-m", "minibot.simulator", "--run", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 2
    assert "manifest.json" in process.stderr
    assert "Traceback" not in process.stderr


def test_closed_standard_input_ends_the_process_with_zero(tape: Path) -> None:
    """A closed standard input ends the process with 0, even with open connections."""
    with Exchange(f"tape:{tape}", "--start", "now") as exchange:
        take(exchange.stream("btcusdt@trade"), 3)
        assert exchange.process.poll() is None
        stdout, stderr = exchange.process.communicate(timeout=DEADLINE_S)

    assert exchange.process.returncode == 0
    assert (stderr, "ready" in stdout) == ("", False)


def started(*options: str) -> subprocess.CompletedProcess[str]:
    """Start the exchange with a closed standard input; return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "minibot.simulator", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_port_in_use_is_refused_by_number(tape: Path) -> None:
    """A port in use is refused with its number and key, exit 2."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        process = started("--speed", "1", "--source", f"tape:{tape}", "--port", str(port))

    assert process.returncode == 2
    assert str(port) in process.stderr
    assert "embedded.port" in process.stderr


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_number_that_is_no_port_is_refused(port: str) -> None:
    """A number beyond all ports is refused like a port in use, in one line."""
    process = started("--source", "generator:1", "--port", port)

    assert process.returncode == 2
    assert f"Port {port} on 127.0.0.1 cannot be used" in process.stderr
    assert len(process.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("option", "value"), [("--speed", "fast"), ("--speed", "0"), ("--speed", "-1"), ("--rate", "0")]
)
def test_bad_setting_is_exit_4_with_its_key(option: str, value: str, tape: Path) -> None:
    """A bad setting exits 4 with its key."""
    process = started("--source", f"tape:{tape}", option, value)

    assert process.returncode == 4
    assert f"embedded.{'rate_per_s' if option == '--rate' else 'speed'}" in process.stderr


@pytest.mark.row("D-65")
def test_server_listens_on_loopback_alone(tape: Path) -> None:
    """The server listens on loopback alone and connects to nothing."""
    with Exchange(f"tape:{tape}") as exchange:
        connections = psutil.Process(exchange.process.pid).net_connections()

    assert [connection.laddr.ip for connection in connections] == ["127.0.0.1"]


def test_tape_that_breaks_while_it_plays_ends_the_process_by_name(tmp_path: Path) -> None:
    """A tape that breaks during play ends the process by name."""
    tape = write_tape(tmp_path / "tape.gz", market(1000))
    exchange = Exchange(f"tape:{tape}", speed="2000")
    whole = tape.read_bytes()
    tape.write_bytes(whole[: len(whole) // 2])
    exchange.stream("btcusdt@trade")
    code = exchange.process.wait(30)
    _, stderr = exchange.process.communicate()

    assert code == 2
    assert "tape.gz" in stderr
    assert "Traceback" not in stderr


def test_status_counts_requests_by_path(tape: Path) -> None:
    """Status counts requests by path, and connections."""
    with Exchange(f"tape:{tape}", speed="50") as exchange:
        for _ in range(3):
            exchange.json("ping")
        take(exchange.stream("btcusdt@trade"), 10)
        status = exchange.status()
        requests.get(exchange.base + "/" + "x" * 500, timeout=DEADLINE_S)
        grown = exchange.status()

    assert status["requests"]["/api/v3/ping"] == 3
    assert status["clients"] == 1
    assert status["sent"] >= 10
    assert status["is_started"] is True
    assert max(map(len, grown["requests"])) < 60
