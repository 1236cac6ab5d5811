"""Misbehaving clients: each is disconnected, named in one line, and disturbs nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import websocket
from hypothesis import given
from hypothesis import strategies as st

from minibot.simulator.server.guard import FrameCheck, is_own_host
from minibot.simulator.server.service import Settings, make_server, serve
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.network_mock

REQUEST_S_MAX = 0.5
TIME = b"GET /api/v3/time HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
UPGRADE = (
    b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Served:
    """Server in this process: its port, and its lines about bad clients."""

    port: int = 0
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        """Connect."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S) as opened:
            yield opened

    def answer(self, sent: bytes) -> bytes:
        """Send bytes and return the answer up to the end of the connection."""
        with self.client() as opened:
            opened.sendall(sent)
            return everything(opened)


def everything(opened: socket.socket) -> bytes:
    """Read until the other side closes."""
    data = b""
    try:
        while piece := opened.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return data


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    """Server that gives a client half a second for a request."""
    served = Served()
    server = make_server(Settings(source="generator:1", start="now"))
    server.request_s_max = REQUEST_S_MAX
    server.note = served.notes.append
    ready, done = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def forever() -> None:
        await asyncio.Event().wait()

    async def play() -> None:
        loops.append(asyncio.get_running_loop())
        await serve(server, 0, on_ready=ready.set, beside=forever, done=done)

    thread = threading.Thread(target=lambda: asyncio.run(play()), daemon=True)
    thread.start()
    assert ready.wait(DEADLINE_S)
    served.port = server.port
    yield served
    loops[0].call_soon_threadsafe(done.set)
    thread.join(DEADLINE_S)


@pytest.fixture
def served(running: Served) -> Served:
    """Server without lines so far."""
    running.notes.clear()
    return running


@pytest.mark.slow
@pytest.mark.parametrize(
    "half",
    [
        pytest.param(b"G", id="letter"),
        pytest.param(TIME[:-2], id="head"),
        pytest.param(
            b"POST /minibot/fault HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90\r\n\r\n{",
            id="body",
        ),
    ],
)
def test_half_a_request_is_ended_and_named_in_one_line(served: Served, half: bytes) -> None:
    """Half a request is ended after the bound, with one line."""
    answer = served.answer(half)

    assert b"200 OK" not in answer
    assert len(served.notes) == 1
    assert "bad client 127.0.0.1:" in served.notes[0]
    assert "half a" in served.notes[0]


def test_client_that_waits_between_whole_requests_is_left_alone(served: Served) -> None:
    """A client may idle between whole requests for longer than the bound."""
    with served.client() as opened:
        opened.sendall(TIME)
        first = opened.recv(65536)
        served.answer(TIME[:5])  # Waits for the whole bound.
        opened.sendall(TIME)
        second = opened.recv(65536)

    assert first.startswith(b"HTTP/1.1 200 OK")
    assert second.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:80", "localhost.", "[::]"]
)
def test_request_for_a_foreign_host_is_refused(served: Served, host: str) -> None:
    """A request for a foreign host name is refused, so DNS rebinding reaches nothing."""
    answer = served.answer(TIME.replace(b"127.0.0.1", host.encode() + b"\r\nConnection: close"))

    assert answer.startswith(b"HTTP/1.1 421 ")
    assert b"serverTime" not in answer
    assert ["is not this exchange" in note for note in served.notes] == [True]


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:18457", True),
        ("LOCALHOST:1", True),
        ("[::1]:18457", True),
        ("[::1]", True),
        (None, True),
        ("", False),
        ("localhost:", False),
        ("localhost:x", False),
        ("api.binance.com", False),
        ("127.0.0.1@evil.example", False),
    ],
)
def test_own_host_is_a_loopback_name_with_or_without_a_port(host: str | None, is_own: bool) -> None:
    """Only loopback names, with or without port, are own hosts."""
    assert is_own_host(host) is is_own


@pytest.mark.parametrize("split", [0, len(UPGRADE) + 1, 40])
def test_frame_without_a_mask_ends_the_stream(served: Served, split: int) -> None:
    """An unmasked frame ends the stream, as the protocol demands."""
    sent = UPGRADE + b"\x81\x02{}"
    with served.client() as opened:
        for piece in (sent[:split], sent[split:]) if split else (sent,):
            opened.sendall(piece)
        answer = everything(opened)

    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\x88" in answer
    assert (1002).to_bytes(2, "big") + b"frames have to be masked" in answer
    assert len(served.notes) == 1
    assert "without a mask" in served.notes[0]


def test_masked_frames_of_any_length_go_through(served: Served) -> None:
    """Masked frames of any length are answered."""
    stream = websocket.create_connection(
        f"ws://127.0.0.1:{served.port}/ws/btcusdt@trade", timeout=DEADLINE_S
    )
    for number in (1, 2, 3):
        padding = " " * 200 * number
        stream.send(f'{{"method":"LIST_SUBSCRIPTIONS","id":{number}{padding}}}')
    answers = 0
    while answers < 3:
        answers += f'"id":{answers + 1}' in str(stream.recv())
    stream.close()

    assert served.notes == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n",
        b"POST /minibot/fault HTTP/1.1\r\nContent-Length: abc\r\n\r\n",
    ],
    ids=["bytes", "version", "long", "length"],
)
def test_garbage_is_answered_400_and_takes_one_line(served: Served, garbage: bytes) -> None:
    """Garbage is answered with 400 and one line without traceback."""
    answer = served.answer(garbage)

    assert b" 400 Bad Request" in answer
    wait_until(lambda: served.notes, "a line about it")
    assert ["no whole HTTP request" in note and "\n" not in note for note in served.notes] == [True]


@given(
    frames=st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=5),
    cuts=st.lists(st.integers(1, 40), max_size=40),
)
def test_frames_are_found_unmasked_however_they_are_torn(
    frames: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    """Unmasked frames are found for every length and division into pieces."""
    data = b"".join(_framed(payload, is_masked) for payload, is_masked in frames)
    check, results, at = FrameCheck(), [], 0
    for step in [*cuts, len(data)]:
        results.append(check.feed(data[at : at + step]))
        at += step
        if not results[-1]:
            break

    assert all(results) == all(is_masked for _, is_masked in frames)


def _framed(payload: bytes, is_masked: bool) -> bytes:
    mask = 0x80 if is_masked else 0
    size = len(payload)
    head = (
        bytes((0x81, mask | size)) if size < 126 else bytes((0x81, mask | 126)) + size.to_bytes(2)
    )
    return head + (b"\0" * 4 if is_masked else b"") + payload
