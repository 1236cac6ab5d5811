"""Connection without a network: pings, pongs and their limits, wrapping, framing."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest

from minibot.simulator.server import wire
from minibot.simulator.server.connection import (
    LIFE_MS_MAX,
    PING_INTERVAL_MS,
    PONG_TIMEOUT_MACHINE_MS_MIN,
    PONG_TIMEOUT_MS,
    UNREAD_BYTES_MAX,
    Connection,
)
from minibot.simulator.server.control import Subscriptions


class Wire(asyncio.Transport):
    """Wire that keeps all written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.unread = 0
        self.ends: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self.ends.append("close")

    def abort(self) -> None:
        self.ends.append("abort")


def connection(speed: int = 1) -> tuple[Connection, Wire]:
    transport = Wire()
    held = Subscriptions(is_combined=True)
    return (
        Connection(transport, held, micros=False, pace_ms=0, speed=Fraction(speed)),
        transport,
    )


def ping(client: Connection, transport: Wire, pace_ms: int) -> bytes | None:
    """Let the connection ping if it is due; return the payload."""
    transport.written = b""
    assert client.ping_if_due(pace_ms, 1_700_000_000_000)
    client.flush()
    if not transport.written:
        return None
    assert transport.written[0] == 0x80 | wire.PING
    return transport.written[2:]


def test_pings_go_out_every_twenty_seconds() -> None:
    """Pings go out every twenty seconds, each with its own payload."""
    client, transport = connection()
    payloads = [ping(client, transport, at) for at in (0, PING_INTERVAL_MS - 1, PING_INTERVAL_MS)]

    assert payloads[:2] == [None, None]
    assert payloads[2]
    assert ping(client, transport, 2 * PING_INTERVAL_MS) not in (None, payloads[2])


def test_connection_dies_a_minute_after_the_first_unanswered_ping() -> None:
    """A connection dies a minute after the first ping without a matching pong."""
    client, transport = connection()
    first = ping(client, transport, PING_INTERVAL_MS)
    second = ping(client, transport, 2 * PING_INTERVAL_MS)
    deadline_ms = PING_INTERVAL_MS + PONG_TIMEOUT_MS

    assert first
    assert second
    assert not client.is_answer(b"")
    assert client.ping_if_due(deadline_ms - 1, 0)
    assert not client.ping_if_due(deadline_ms, 0)
    assert client.is_answer(first)
    assert not client.is_answer(first)
    assert client.ping_if_due(deadline_ms, 0)
    assert not client.ping_if_due(deadline_ms + PING_INTERVAL_MS, 0)


def test_pong_answers_the_pings_before_it_too() -> None:
    """A pong answers all earlier pings too."""
    client, transport = connection()
    first, second, third = (ping(client, transport, n * PING_INTERVAL_MS) for n in (1, 2, 3))

    assert first
    assert second
    assert third
    assert client.is_answer(second)
    assert not client.is_answer(first)
    # The third ping waits only since its own time.
    assert client.ping_if_due(3 * PING_INTERVAL_MS + PONG_TIMEOUT_MS - 1, 0)


def test_pong_timeout_has_a_floor_of_machine_time() -> None:
    """The pong timeout has a floor of wall-clock time, for high speeds."""
    client, transport = connection(speed=1000)
    ping(client, transport, PING_INTERVAL_MS)

    assert client.ping_if_due(PING_INTERVAL_MS + PONG_TIMEOUT_MACHINE_MS_MIN * 1000 - 1, 0)
    assert not client.ping_if_due(PING_INTERVAL_MS + PONG_TIMEOUT_MACHINE_MS_MIN * 1000, 0)


def test_client_with_too_many_unread_bytes_is_cut() -> None:
    """A client over the bound of unread bytes is disconnected; at the bound it is served."""
    client, transport = connection()
    client.queue(b"first")
    transport.unread = UNREAD_BYTES_MAX
    assert client.flush()
    transport.unread += 1
    client.queue(b"second")

    assert not client.flush()
    assert transport.written == b"first"
    assert transport.ends == ["abort"]


@pytest.mark.parametrize(("unread", "end"), [(0, "close"), (1 << 20, "abort")])
def test_closing_does_not_wait_for_a_client_that_does_not_read(unread: int, end: str) -> None:
    """A close frame waits only for a client that reads."""
    client, transport = connection()
    transport.unread = unread
    client.close(1008, "Pong timeout")

    assert transport.ends == [end]
    assert transport.written.endswith(b"Pong timeout")


def test_day_is_over_after_24_hours() -> None:
    """A connection ends after 24 hours of market time, to the millisecond."""
    client, _ = connection()

    assert not client.is_too_old(LIFE_MS_MAX - 1)
    assert client.is_too_old(LIFE_MS_MAX)


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_length_is_written_in_its_shortest_form(size: int, head: bytes) -> None:
    """A frame's length has the shortest of three forms (RFC 6455, section 5.2)."""
    framed = wire.frame(wire.TEXT, b"x" * size)

    assert framed == head + b"x" * size


def test_microseconds_touch_times_alone() -> None:
    """Microseconds apply to times alone, not to ids and prices of the same name."""
    trade = b'{"e":"trade","E":5,"s":"X","t":7,"p":"1","T":4}'
    kline = b'{"e":"kline","E":5,"k":{"t":1,"T":2,"L":9,"o":"3"}}'
    day = b'{"e":"24hrTicker","E":5,"O":1,"C":2,"F":3,"L":4,"o":"1"}'

    report = b'{"e":"executionReport","E":5,"T":4,"t":7,"I":9,"w":true,"O":1,"W":2}'
    account = b'{"e":"outboundAccountPosition","E":5,"u":4,"B":[]}'
    depth = b'{"e":"depthUpdate","E":5,"U":1,"u":2}'

    assert wire.in_micros(trade) == b'{"e":"trade","E":5000,"s":"X","t":7,"p":"1","T":4000}'
    assert wire.in_micros(kline) == (
        b'{"e":"kline","E":5000,"k":{"t":1000,"T":2999,"L":9,"o":"3"}}'
    )
    assert wire.in_micros(day) == (
        b'{"e":"24hrTicker","E":5000,"O":1000,"C":2000,"F":3,"L":4,"o":"1"}'
    )
    assert wire.in_micros(report) == (
        b'{"e":"executionReport","E":5000,"T":4000,"t":7,"I":9,"w":true,"O":1000,"W":2000}'
    )
    assert wire.in_micros(account) == b'{"e":"outboundAccountPosition","E":5000,"u":4000,"B":[]}'
    assert wire.in_micros(depth) == b'{"e":"depthUpdate","E":5000,"U":1,"u":2}'


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        (b'{"t":1,"T":"2"}', b'{"t":1000,"T":"2"}'),
        (b'{"t":1}', b'{"t":1000}'),
        (b'"a text"', b'"a text"'),
    ],
)
def test_other_times_of_a_changed_bar_are_in_microseconds(bar: bytes, expected: bytes) -> None:
    """A bar whose close a fault has removed or retyped has its other times in microseconds."""
    payload = b'{"e":"kline","E":5,"k":%b}'

    assert wire.in_micros(payload % bar) == b'{"e":"kline","E":5000,"k":%b}' % expected


def test_answers_wait_too_while_all_is_held_and_a_close_does_not() -> None:
    """While `burst` holds all back, a reply and a pong wait in order; a close sends them first."""
    holds = [True]
    held, transport = Subscriptions(is_combined=True), Wire()
    client = Connection(
        transport,
        held,
        micros=False,
        pace_ms=0,
        speed=Fraction(1),
        is_held=lambda: holds[0],
    )
    client.queue(wire.frame(wire.TEXT, b"1"))
    client.control(b'{"method":"LIST_SUBSCRIPTIONS","id":2}', "seen")
    client.answer_ping(b"3")
    client.write_raw([wire.frame(wire.TEXT, b"4")])
    before = transport.written
    client.close(1001, "5")

    texts = [b"1", b'{"result":[],"id":2}']
    assert before == b""
    assert transport.written == b"".join(
        [
            *(wire.frame(wire.TEXT, text) for text in texts),
            wire.frame(wire.PONG, b"3"),
            wire.frame(wire.TEXT, b"4"),
            wire.close_frame(1001, "5"),
        ]
    )


def test_connection_whose_client_hung_up_is_reset_without_an_error() -> None:
    """A connection whose client has gone is reset without an error."""
    clients: list[Connection] = []
    transports: list[asyncio.Transport] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            held = Subscriptions(is_combined=True)
            transports.append(transport)
            clients.append(Connection(transport, held, micros=False, pace_ms=0, speed=Fraction(1)))

    async def closed() -> None:
        while not transports or transports[0].get_extra_info("socket").fileno() >= 0:
            await asyncio.sleep(0)

    async def hang_up_and_reset() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await asyncio.wait_for(closed(), 30)
        clients[0].reset()
        server.close()

    asyncio.run(hang_up_and_reset())

    assert not clients[0].is_open
