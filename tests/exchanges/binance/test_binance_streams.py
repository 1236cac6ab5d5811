"""Stream connections against servers that keep the protocol, and ones that break it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minibot.exchanges.base import UNREACHABLE, RestError, StreamLost
from minibot.exchanges.binance.messages import stream_names
from minibot.exchanges.binance.rest import BinanceRest
from minibot.exchanges.binance.streams import combined_url
from minibot.exchanges.websocket_stream import (
    FRAME_BYTES_MAX,
    WebSocketStream,
    _BufferedSocket,
)
from tests.exchanges.binance.loopback import (
    Loopback,
    Talk,
    accept,
    addresses_tried,
    answer,
    first_address_dead,
    frame,
    read_client_frame,
    several_dead,
)
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.row("C-25"), pytest.mark.network_mock]

BODY = b'{"stream":"btcusdt@trade","data":{}}'


def stream_url(base_url: str, symbols: Sequence[str]) -> str:
    """Return the address of the combined stream of some symbols."""
    return combined_url(base_url, stream_names(tuple(symbols)))


def after_handshake(serve: Callable[[socket.socket], None]) -> Talk:
    """Return a talk that shakes hands and then serves."""

    def talk(sock: socket.socket, request: bytes) -> None:
        accept(sock, request)
        serve(sock)

    return talk


def sends(*frames: bytes) -> Talk:
    """Return a talk that sends frames and keeps the connection until the client leaves."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"".join(frames))
        sock.recv(1000)

    return after_handshake(serve)


def opened(port: int) -> WebSocketStream:
    stream = WebSocketStream(
        stream_url(f"ws://127.0.0.1:{port}", ["BTCUSDT"]), connect_timeout_s=DEADLINE_S
    )
    stream.open()
    # A broken bound would wait for ever, so the test itself ends with a failure.
    guard = threading.Timer(DEADLINE_S, stream.abort)
    guard.daemon = True
    guard.start()
    return stream


def test_address_names_all_streams_in_lower_case() -> None:
    """All stream names are in lower case, as the venue silently ignores others."""
    url = stream_url("wss://data-stream.binance.vision", ["BTCUSDT", "ETHUSDT"])

    assert url == (
        "wss://data-stream.binance.vision/stream?streams="
        "btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms/"
        "ethusdt@trade/ethusdt@bookTicker/ethusdt@depth@100ms"
    )


@pytest.mark.parametrize("url", ["https://x", "ws://", "wss://user:pw@host"])
def test_address_that_is_none_is_refused(url: str) -> None:
    """An address without scheme or host, or with credentials, is refused."""
    with pytest.raises(ValueError, match="stream address"):
        stream_url(url, ["BTCUSDT"])


def test_address_longer_than_the_venue_takes_is_refused() -> None:
    """An address longer than the venue allows is refused at the start."""
    with pytest.raises(ValueError, match="too many"):
        stream_url("wss://host", [f"SYM{number}USDT" for number in range(400)])


def test_messages_come_whole_and_in_order() -> None:
    """Messages arrive whole and in order, many in a packet or one in many packets."""
    long = b'"' + b"x" * 100_000 + b'"'
    parts = (frame(b'{"a":', fin=False), frame(b"1", 0, fin=False), frame(b"}", 0))
    with Loopback(sends(frame(b"1"), frame(long), *parts, frame(b"2"))) as server:
        stream = opened(server.port)
        got = [stream.recv()[1] for _ in range(4)]
        stream.close()

    assert got == [b"1", long, b'{"a":1}', b"2"]


def test_receive_times_never_go_back() -> None:
    """Receive times are monotonic, taken at each read."""
    with Loopback(sends(*[frame(BODY)] * 50)) as server:
        before = time.perf_counter_ns()
        stream = opened(server.port)
        times = [stream.recv()[0] for _ in range(50)]
        stream.close()

    assert times == sorted(times)
    assert before < times[0] <= times[-1] < time.perf_counter_ns()


@pytest.mark.row("F112")
def test_ping_is_answered_with_its_payload_by_the_reader() -> None:
    """A ping is answered with its own payload while the reader waits for data."""
    pongs: list[tuple[int, bytes]] = []

    def serve(sock: socket.socket) -> None:
        for payload in (b"1789142400123", b""):
            sock.sendall(frame(payload, 9))
            pongs.append(read_client_frame(sock))
        sock.sendall(frame(BODY))
        sock.recv(1000)

    with Loopback(after_handshake(serve)) as server:
        stream = opened(server.port)
        assert stream.recv()[1] == BODY
        stream.close()

    assert pongs == [(10, b"1789142400123"), (10, b"")]


ENDLESS = (2**63 - 1).to_bytes(8, "big") + b"x"


@pytest.mark.row("F109", "F110")
@pytest.mark.parametrize(
    ("bad", "why"),
    [
        pytest.param(b"\x81\x82\x00\x00\x00\x00{}", "masked frame", id="masked"),
        pytest.param(frame(BODY, first_bits=0x40), "rsv", id="compressed"),
        pytest.param(frame(BODY, 3), "opcode", id="reserved-opcode"),
        pytest.param(frame(BODY, 2), "opcode 2", id="binary"),
        pytest.param(frame(b"1", 0), "frame", id="continuation-of-nothing"),
        pytest.param(frame(b"x" * 126, 9), "control frame of 126", id="long-ping"),
        pytest.param(b"\x89\x7f" + ENDLESS, "control frame", id="endless-ping"),
        pytest.param(b"\x8b\x7f" + ENDLESS, "control frame", id="endless-reserved"),
        pytest.param(b"\x81\x7f" + ENDLESS, "more than", id="endless"),
        pytest.param(
            b"\x81\x7f" + (FRAME_BYTES_MAX + 1).to_bytes(8, "big") + b"x",
            "more than",
            id="one-byte-over",
        ),
        pytest.param(frame(b"x" * 100, 5), "opcode", id="opcode-5"),
    ],
)
def test_frame_against_the_protocol_ends_the_connection(bad: bytes, why: str) -> None:
    """A frame against the protocol, or too large, closes the connection before use."""
    with Loopback(sends(frame(BODY), bad, frame(BODY))) as server:
        stream = opened(server.port)
        assert stream.recv()[1] == BODY
        with pytest.raises(StreamLost, match=why):
            stream.recv()
        stream.close()


def test_ping_of_the_longest_payload_is_answered() -> None:
    """A control frame of exactly 125 bytes is taken."""
    with Loopback(sends(frame(b"x" * 125, 9), frame(BODY))) as server:
        stream = opened(server.port)
        assert stream.recv()[1] == BODY
        stream.close()


@pytest.mark.row("F110")
def test_fragments_are_bounded_together() -> None:
    """Fragments are bounded together, like one large frame."""
    piece = frame(b"x" * 1_000_000, 0, fin=False)
    first = frame(b"x" * 1_000_000, fin=False)
    with Loopback(sends(first, *[piece] * 8)) as server:
        stream = opened(server.port)
        with pytest.raises(StreamLost, match="more than"):
            stream.recv()
        stream.close()


def test_message_of_exactly_the_limit_is_taken() -> None:
    """A message of exactly the limit is accepted."""
    with Loopback(sends(frame(b"x" * FRAME_BYTES_MAX))) as server:
        stream = opened(server.port)
        assert len(stream.recv()[1]) == FRAME_BYTES_MAX
        stream.close()


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (frame(b"\x03\xf0Too many requests", 8), "1008 Too many requests"),
        (frame(b"", 8), "no code"),
        (b"", "connection lost"),
    ],
)
def test_end_by_the_server_says_why(end: bytes, why: str) -> None:
    """The server's close code and text, or their absence, reach the operator."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(end)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(1000)

    with Loopback(after_handshake(serve)) as server:
        stream = opened(server.port)
        with pytest.raises(StreamLost, match=why):
            stream.recv()
        stream.close()


def test_abort_wakes_a_reader_that_waits() -> None:
    """A silent connection can be aborted from another thread at any time."""
    with Loopback(sends()) as server:
        stream = opened(server.port)
        threading.Timer(0.05, stream.abort).start()
        with pytest.raises(StreamLost):
            stream.recv()
        stream.close()


@pytest.mark.row("F107", "F111")
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([answer(b"{}", "429 Too Many Requests")], id="429"),
        pytest.param([answer(b"", "302 Found", {"Location": "ws://127.0.0.1:9/"})], id="redirect"),
        pytest.param([answer(b"<html>")], id="no-upgrade"),
        pytest.param([b"HTTP/1.1 101 Switching Protocols\r\n", *[b"x"] * 400], id="trickle"),
        pytest.param([], id="silence"),
    ],
)
def test_handshake_that_fails_or_drags_on_is_given_up(pieces: list[bytes]) -> None:
    """A handshake that is refused, redirected, wrong or slow is given up."""
    given_up = threading.Event()
    had_to_wait: list[bool] = []

    def talk(sock: socket.socket, request: bytes) -> None:
        with suppress(OSError):  # The client went away, as it should.
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(0.02)
        had_to_wait.append(given_up.wait(DEADLINE_S))

    with Loopback(talk) as server:
        stream = WebSocketStream(
            stream_url(f"ws://127.0.0.1:{server.port}", ["BTCUSDT"]), connect_timeout_s=0.25
        )
        with pytest.raises(StreamLost):
            stream.open()
        stream.close()
        given_up.set()
        wait_until(lambda: had_to_wait, "the end of the server's talk")

    assert had_to_wait == [True]


def test_opening_that_is_over_before_it_has_a_socket_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opening that ends while its name is resolved sends the server nothing."""
    resolve = socket.getaddrinfo
    with Loopback(sends(frame(BODY))) as server:
        stream = WebSocketStream(
            stream_url(f"ws://127.0.0.1:{server.port}", ["BTCUSDT"]), connect_timeout_s=DEADLINE_S
        )

        def resolve_late(*args: Any) -> Any:
            stream.abort()
            return resolve(*args)

        monkeypatch.setattr(socket, "getaddrinfo", resolve_late)
        with pytest.raises(StreamLost):
            stream.open()
        stream.close()

        assert server.requests == []


@pytest.mark.row("F113")
@several_dead
def test_first_address_that_never_answers_leaves_time_for_the_next(
    count: int, family: socket.AddressFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream comes from the first address that answers, one of each family by turns."""
    with (
        Loopback(sends(frame(BODY))) as server,
        first_address_dead(monkeypatch, server.port, count, family),
    ):
        stream = WebSocketStream(
            stream_url("ws://venue.invalid", ["BTCUSDT"]), connect_timeout_s=3.0
        )
        stream.open()
        _, data = stream.recv()
        stream.close()

    assert data == BODY


@pytest.mark.row("F113")
def test_many_addresses_that_never_answer_take_no_longer_than_connecting_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stream over a network that drops everything is given up in time, not at the last one."""
    with (
        Loopback(sends(frame(BODY))) as server,
        first_address_dead(monkeypatch, server.port, 100),
    ):
        tried = addresses_tried(monkeypatch)
        stream = WebSocketStream(
            stream_url("ws://venue.invalid", ["BTCUSDT"]), connect_timeout_s=0.3
        )
        with pytest.raises(StreamLost, match="timed out"):
            stream.open()
        stream.close()

    assert 1 <= len(tried) < 100


def test_nobody_listening_is_lost() -> None:
    """A refused connection counts as lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(StreamLost):
        opened(port)


@pytest.mark.row("F113")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_certificate_that_nobody_vouches_for_is_refused(host: str) -> None:
    """A certificate without trusted issuer is refused by streams and REST."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).parent / "untrusted_localhost.pem")
    wrap = partial(context.wrap_socket, server_side=True)

    with Loopback(sends(frame(BODY)), wrap) as server:
        stream = WebSocketStream(
            stream_url(f"wss://{host}:{server.port}", ["BTCUSDT"]), connect_timeout_s=DEADLINE_S
        )
        with pytest.raises(StreamLost, match="certificate"):
            stream.open()
        stream.close()
        rest = BinanceRest(
            f"https://{host}:{server.port}",
            connect_timeout_s=DEADLINE_S,
            total_timeout_s=DEADLINE_S,
        )
        with pytest.raises(RestError, match="certificate") as caught:
            rest.ping()
        rest.close()

        assert caught.value.kind == UNREACHABLE
        assert server.requests == []


@pytest.mark.row("F113")
def test_streams_trust_the_issuers_that_requests_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python of python.org for macOS has no issuers of the system: requests and streams work."""
    issuer = Path(__file__).parent / "untrusted_localhost.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issuer)
    wrap = partial(context.wrap_socket, server_side=True)
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(issuer))

    with Loopback(lambda sock, request: sock.sendall(answer(b"{}")), wrap) as server:
        rest = BinanceRest(
            f"https://localhost:{server.port}",
            connect_timeout_s=DEADLINE_S,
            total_timeout_s=DEADLINE_S,
        )
        rest.ping()
        rest.close()
    with Loopback(sends(frame(BODY)), wrap) as server:
        stream = WebSocketStream(
            stream_url(f"wss://localhost:{server.port}", ["BTCUSDT"]), connect_timeout_s=DEADLINE_S
        )
        stream.open()
        _, data = stream.recv()
        stream.close()

    assert rest.last.status == 200
    assert data == BODY


def test_messages_of_one_read_come_together_and_a_torn_one_with_the_next() -> None:
    """Whole messages of a read are handed over at once; a torn one waits for its rest."""
    messages = [b'{"n":%d,"x":"%s"}' % (n, b"y" * (40 * n)) for n in range(8)]
    whole = b"".join(map(frame, messages))
    for cut in range(len(whole)):
        ours, theirs = socket.socketpair()
        theirs.sendall(whole[:cut])
        buffer = _BufferedSocket(ours, time.perf_counter_ns)
        is_any = cut >= len(frame(messages[0]))
        got = buffer.text_messages() if is_any else []
        assert len(b"".join(map(frame, got))) <= cut
        theirs.sendall(whole[cut:])
        while len(got) < len(messages):
            more = buffer.text_messages()
            assert more
            got += more
        ours.close()
        theirs.close()

        assert got == messages


def test_messages_that_came_and_were_not_read_are_counted() -> None:
    """Unread bytes are counted: none before, about all that came, none of a closed socket."""
    sent = threading.Event()

    def serve(sock: socket.socket) -> None:
        sock.sendall(frame(BODY))
        read_client_frame(sock)
        sock.sendall(frame(BODY) * 100)
        sent.set()
        sock.recv(1000)

    with Loopback(after_handshake(serve)) as server:
        stream = WebSocketStream(
            stream_url(f"ws://127.0.0.1:{server.port}", ["BTCUSDT"]), connect_timeout_s=DEADLINE_S
        )
        before = stream.unread()
        stream.open()
        stream.recv_all()
        counts = [stream.unread()]
        stream.send("go on")
        assert sent.wait(DEADLINE_S)
        wait_until(lambda: stream.unread() >= 100, "a hundred messages that nobody reads")
        counts.append(stream.unread())
        read = 0
        while read < 100:
            read += len(stream.recv_all()[1])
        counts.append(stream.unread())
        stream.close()

    assert before == 0
    assert counts == [0, 100, 0]
    assert stream.unread() == 0


def test_end_within_a_message_is_left_to_the_protocol() -> None:
    """A connection that ends within a frame yields no message."""
    ours, theirs = socket.socketpair()
    theirs.sendall(frame(BODY)[:-1])
    theirs.shutdown(socket.SHUT_WR)
    buffer = _BufferedSocket(ours, time.perf_counter_ns)

    assert buffer.text_messages() == []
    assert buffer.recv(2) == frame(BODY)[:2]
    ours.close()
    theirs.close()
