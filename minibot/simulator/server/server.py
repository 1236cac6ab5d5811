"""HTTP and WebSocket server on loopback; the protocol itself is in the modules it combines."""

from __future__ import annotations

import asyncio
import os
import ssl
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from aiohttp import WSMsgType, web

from minibot.exchanges.loopback import LOOPBACK
from minibot.kernel.errors import Refusal
from minibot.simulator.account.paper import PaperAccount
from minibot.simulator.account.paper_rest import PaperDesk
from minibot.simulator.faults.faults import Faults
from minibot.simulator.faults.injector import Injector
from minibot.simulator.faults.script import FaultUnknown
from minibot.simulator.server.connection import Connection
from minibot.simulator.server.control import STREAMS_MAX, Subscriptions, is_stream
from minibot.simulator.server.guard import (
    REQUEST_S_MAX,
    GuardedProtocol,
    Note,
    error_logger,
    guard_of,
    is_own_host,
    print_line,
)
from minibot.simulator.server.hub import Hub
from minibot.simulator.server.limits import AddressLimits
from minibot.simulator.server.rest import ENDPOINTS
from minibot.simulator.server.rest_handler import RestHandler, not_found
from minibot.simulator.sources.player import Player
from minibot.simulator.venue.ticker_payloads import OF_ALL
from minibot.simulator.venue.venue import Venue

# Name under which requests to unknown paths are counted.
UNKNOWN: Final = "(unknown)"
UNKNOWN_CALL: Final = "/api/ (unknown)"

KEEP_ALIVE_S: Final = 75.0
_MESSAGE_BYTES_MAX: Final = 64 << 10
_SHUT_POLL_S: Final = 0.01

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ExchangeServer:
    """Server of the exchange: listens, answers, and lets the player send.

    Args:
        venue: State that is served.
        script: Faults with the market time at which each is due.
        try_start: Starts the clock once it may; returns whether it did.
        has_paper_account: Whether account and order calls are answered.

    Attributes:
        note: Takes one line about each client that misbehaves.
        request_s_max: Machine seconds that a client has to send a whole request.
    """

    def __init__(
        self,
        venue: Venue,
        script: list[dict[str, Any]],
        try_start: Callable[[ExchangeServer], bool],
        *,
        has_paper_account: bool = False,
    ) -> None:
        self.venue = venue
        self.limits = AddressLimits(lambda: venue.rates)
        self.faults = Faults(venue.clock.pace_ms)
        self.hub = Hub(venue, self.faults)
        self._paper, endpoints = None, [*ENDPOINTS]
        if has_paper_account:
            self._paper = PaperDesk(venue, PaperAccount(venue), self.hub.publish)
            endpoints += self._paper.names
        self.desk = RestHandler(venue, self.limits, self.faults, self._paper)
        self.injector = Injector(venue, self.hub, self.limits, self.faults, self, script, endpoints)
        self.injector.check()
        self.player = Player(venue, self.hub, self.injector, lambda: try_start(self))
        self.port = 0
        self._transports: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[None]] = set()
        around = web.middleware(partial(self._around))
        app = web.Application(middlewares=[around])
        app.router.add_get("/minibot/status", self._status)
        app.router.add_post("/minibot/fault", self._fault)
        app.router.add_get("/stream", self._combined)
        app.router.add_get("/ws", self._raw)
        app.router.add_get("/ws/{streams:.*}", self._raw)
        app.router.add_route("*", "/api/v3/{name:.*}", self.desk.answer)
        self.note: Note = print_line
        self.request_s_max = REQUEST_S_MAX
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE_S,
            logger=error_logger(lambda text: self.note(text)),
        )
        self._listeners: list[asyncio.Server] = []
        self._is_shut = False
        self._tls: ssl.SSLContext | None = None
        self.tls_port = 0

    async def listen(self, port: int, tls: tuple[ssl.SSLContext, int] | None = None) -> None:
        """Bind to loopback; port 0 takes a free one.

        Args:
            port: For plain connections.
            tls: Context and port of a second listener, for clients that require TLS.

        Raises:
            Refusal: A port is taken, or no port at all.
        """
        await self._runner.setup()
        if tls is not None:
            self._tls, self.tls_port = tls
        try:
            await self._open_listeners(port)
        except (OSError, OverflowError) as error:
            await self._runner.cleanup()
            taken = self.tls_port if self._listeners else port
            raise Refusal(
                f"Port {taken} on {LOOPBACK} cannot be used: {_reason(error)}.",
                "Choose another one, or 0 for any free one: embedded.port or --port.",
            ) from error

    async def _open_listeners(self, port: int) -> None:
        self._listeners = []
        self.port = await self._listen_on(port, None)
        if self._tls is not None:
            self.tls_port = await self._listen_on(self.tls_port, self._tls)

    async def _listen_on(self, port: int, tls: ssl.SSLContext | None) -> int:
        """Accept connections, each with a guard; return the port."""
        listener = await asyncio.get_running_loop().create_server(
            self._guarded,
            LOOPBACK,
            port,
            reuse_address=True,
            ssl=tls,
            ssl_handshake_timeout=None if tls is None else self.request_s_max,
        )
        self._listeners.append(listener)
        return int(listener.sockets[0].getsockname()[1])

    def _guarded(self) -> GuardedProtocol:
        serve = self._runner.server
        if serve is None:
            raise RuntimeError("a connection before the server was set up")
        return GuardedProtocol(serve(), self.note, self.request_s_max)

    async def close(self) -> None:
        """Cut all connections and stop."""
        for task in self._tasks:
            task.cancel()
        self._stop_listening()
        self.hub.reset_all()
        await self._runner.cleanup()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    # --- the gate, for faults ---------------------------------------------------------------

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run an action after a delay in market pace."""
        asyncio.get_running_loop().call_later(
            self.venue.clock.machine_s(delay_ms * 1_000_000), action
        )

    def shut(self) -> None:
        """Refuse connections while the fault `unreachable` lasts; open ones are cut.

        Streams are cut by a TCP reset, connections of REST calls end as if closed. If another
        program has the port at its end, that lasts until the port is free.
        """
        task = asyncio.get_running_loop().create_task(self._shut())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shut(self) -> None:
        self._stop_listening()
        self.hub.reset_all()
        for transport in list(self._transports):
            if isinstance(transport, asyncio.Transport):
                transport.abort()
        if self._is_shut:
            return  # The fault before has not ended: its task will come back for both.
        self._is_shut = True
        has_told = False
        while not self._listeners:
            await asyncio.sleep(_SHUT_POLL_S)
            if self.faults.is_unreachable:
                continue
            try:
                await self._open_listeners(self.port)
            except OSError as error:
                self._stop_listening()
                if not has_told:
                    self.note(f"not reachable again yet: {error}")
                has_told = True
            if self.faults.is_unreachable:  # Since the last look.
                self._stop_listening()
        self._is_shut = False

    # --- requests ---------------------------------------------------------------------------

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        guard = guard_of(request)
        if request.transport is None or guard is None:
            return web.Response(status=400)  # The client has gone; no one reads the answer.
        self._transports.add(request.transport)
        guard.request_begins()
        try:
            return await self._answer(request, handler, guard)
        finally:
            guard.request_ends()

    async def _answer(
        self, request: web.Request, handler: Handler, guard: GuardedProtocol
    ) -> web.StreamResponse:
        if not is_own_host(request.headers.get("Host")):
            host = request.headers["Host"][:60]
            guard.note(f"Host {host!r} is not this exchange: refused")
            return web.json_response({"ok": False, "error": "not this host"}, status=421)
        if request.can_read_body:
            try:
                async with asyncio.timeout(self.request_s_max):
                    await request.read()
            except TimeoutError:
                guard.cut_off(f"half a body after {self.request_s_max:g} s")
                return web.Response(status=408)
        self.venue.requests[self._counted(request)] += 1
        refused = self.desk.refuse_order(request)
        if refused is not None:
            return refused
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return not_found(request)

    def _counted(self, request: web.Request) -> str:
        """Return the name a request is counted by: a scanning client cannot grow the table."""
        if request.path.startswith("/api/"):
            return request.path if self.desk.knows(request) else UNKNOWN_CALL
        resource = request.match_info.route.resource
        return UNKNOWN if resource is None else resource.canonical

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self.status(), dumps=lambda value: orjson.dumps(value).decode())

    def status(self) -> dict[str, Any]:
        """Return the counters, for tests and for the launcher."""
        counters = self.venue.counters
        return {
            "source": self.venue.facts.name,
            "is_started": self.venue.clock.is_started,
            "now_ms": self.venue.clock.now_ms(),
            "ended": self.player.has_ended,
            "order_calls": counters["order_calls"],
            "paper_calls": counters["paper_calls"],
            "sent": counters["sent"],
            "clients": len(self.hub.connections),
            "control_messages": counters["control_messages"],
            "weight_used": self.limits.used,
            "requests": dict(self.venue.requests),
            "counters": dict(counters),
            "connections": [
                {"streams": len(item.held.streams), "sent": item.sent, "messages": item.messages}
                for item in self.hub.connections
            ],
            "faults": self.injector.names,
        }

    async def _fault(self, request: web.Request) -> web.Response:
        # A web page must not be able to do this: a browser always sends its origin.
        if "Origin" in request.headers:
            return web.json_response({"ok": False, "error": "not from a page"}, status=403)
        try:
            fields = orjson.loads(await request.read())
            if not isinstance(fields, dict):
                raise FaultUnknown("expected a JSON object")
            self.injector.inject(fields)
        except (orjson.JSONDecodeError, FaultUnknown) as error:
            return web.json_response({"ok": False, "error": str(error)}, status=400)
        return web.json_response({"ok": True, "name": fields["name"]})

    # --- streams ----------------------------------------------------------------------------

    async def _combined(self, request: web.Request) -> web.StreamResponse:
        # A plus in this address is a plus, as in `@kline_1d@+08:00`, not a space.
        query = request.rel_url.raw_query_string.replace("+", "%2B")
        text = dict(parse_qsl(query)).get("streams", "")
        return await self._stream(request, text.split("/") if text else [], is_combined=True)

    async def _raw(self, request: web.Request) -> web.StreamResponse:
        names = [name for name in request.match_info.get("streams", "").split("/") if name]
        # `/ws/<anything harmless>` followed by SUBSCRIBE works at the venue too.
        names = [name for name in names if self._is_stream(name)]
        return await self._stream(request, names, is_combined=False)

    def _is_stream(self, name: str) -> bool:
        return is_stream(name) or (self._paper is not None and self._paper.is_listen_key(name))

    async def _stream(
        self, request: web.Request, names: list[str], *, is_combined: bool
    ) -> web.StreamResponse:
        if not all(self._is_stream(name) for name in names) or len(set(names)) > STREAMS_MAX:
            return web.Response(status=400)
        unit = request.query.get("timeUnit", "MILLISECOND").upper()
        if unit not in ("MILLISECOND", "MICROSECOND"):
            return web.Response(status=400)
        if not self.limits.connect(request.remote or "", self.venue.clock.pace_ms()):
            self.venue.counters["connections_refused"] += 1
            return web.Response(status=429)
        socket = web.WebSocketResponse(
            autoping=False, compress=False, max_msg_size=_MESSAGE_BYTES_MAX
        )
        await socket.prepare(request)
        guard = guard_of(request)
        if guard is not None:
            guard.becomes_stream()
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return socket
        held = Subscriptions(is_combined, dict.fromkeys(names))
        connection = Connection(
            transport,
            held,
            micros=unit == "MICROSECOND",
            pace_ms=self.venue.clock.pace_ms(),
            speed=self.venue.clock.speed,
            is_held=lambda: self.faults.is_held,
        )
        self.venue.counters["connections"] += 1
        await self.learn_for(held)
        self.hub.add(connection)
        try:
            await self._read(socket, connection)
        finally:
            self.hub.drop(connection)
        return socket

    async def _read(self, socket: web.WebSocketResponse, connection: Connection) -> None:
        async for message in socket:
            if message.type == WSMsgType.PONG and connection.is_answer(bytes(message.data)):
                self.venue.counters["pongs"] += 1
                continue
            self.venue.counters["control_messages"] += 1
            if not connection.count_message(self.venue.clock.pace_ms()):
                self.venue.counters["closed_1008"] += 1
                connection.close(1008, "Too many requests")
                return
            if message.type == WSMsgType.PING:
                connection.answer_ping(bytes(message.data))
            elif message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                connection.control(message.data, self.hub.error_shape)
                await self.learn_for(connection.held)
                self.hub.subscriptions_changed(connection)

    async def learn_for(self, held: Subscriptions) -> None:
        """Make the pasts that lists of the whole market need, one after the other.

        Otherwise the first list would make all of them at once, and no client would get anything
        meanwhile.
        """
        if not OF_ALL.keys().isdisjoint(held.streams):
            for _ in self.venue.learn_pasts():
                await asyncio.sleep(0)


def _reason(error: OSError | OverflowError) -> str:
    """Return the reason that a port is of no use; asyncio's own message repeats the address."""
    if isinstance(error, OverflowError):
        return "ports are numbers from 0 to 65535"
    return os.strerror(error.errno) if error.errno else str(error)
