"""Fault injection by name: from a script, at moments of market time, or from `POST /minibot/fault`.

A script is a JSON list of `{"at_ms": ..., "name": ..., ...}`; `at_ms` counts market time from the
origin, values from the year 2001 on are absolute; `after_s` is the same in seconds. All durations
(`ms`) are in market pace (`PlayClock.pace_ms`), which also passes while the clock stands.
Without `n` and `ms` a fault of answers or messages takes one of them; rates, rules, statuses, a
skew and the shape of errors last until `clear`; all others have a usual duration.
docs/EXCHANGE.md lists every fault with its fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, Protocol

import orjson

from minibot.events.unit_sizes import NEVER
from minibot.kernel.errors import ConfigError
from minibot.simulator.faults.faults import FRAME_FAULTS, Faults, FrameFault, HttpFault
from minibot.simulator.faults.garbage import GARBAGE
from minibot.simulator.faults.payload_faults import (
    EVERYTHING,
    KINDS,
    STREAM_KINDS,
    change_of,
    is_played,
)
from minibot.simulator.faults.script import FaultUnknown, check_fault, moment_ms, without_moment
from minibot.simulator.server import wire
from minibot.simulator.server.control import SHAPES
from minibot.simulator.server.hub import Hub
from minibot.simulator.server.limits import AddressLimits, Rates
from minibot.simulator.server.rest import ENDPOINTS
from minibot.simulator.server.rest_handler import BLOCKED
from minibot.simulator.venue.listing import ListingUnknown, change_filter, delist, filter_field
from minibot.simulator.venue.venue import Venue

_RESTRICTED: Final = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you "
    "received this message in error."
)
_WORDS: Final[dict[str, Collection[str]]] = {"garbage": GARBAGE, "control_errors": SHAPES}


class Gate(Protocol):
    """Listening side of the server."""

    def shut(self) -> None:
        """Refuse connections while the fault `unreachable` lasts; open ones are cut."""

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run an action after a delay in market pace."""


class Injector:
    """Injector of faults."""

    def __init__(
        self,
        venue: Venue,
        hub: Hub,
        limits: AddressLimits,
        faults: Faults,
        gate: Gate,
        script: list[dict[str, Any]],
        endpoints: Collection[str] = (*ENDPOINTS,),
    ) -> None:
        self._venue, self._hub, self._limits = venue, hub, limits
        self._faults, self._gate, self._endpoints = faults, gate, endpoints
        origin_ms = venue.facts.origin_ms
        self._script = sorted(
            ((moment_ms(item, origin_ms), index, item) for index, item in enumerate(script)),
            key=lambda entry: entry[:2],
        )
        self._actions: dict[str, Callable[[Mapping[str, Any]], None]] = {
            "drop": self._drop,
            "stall": self._stall,
            "burst": self._burst,
            "no_ping": self._no_ping,
            "429": self._rate_limited,
            "418": self._banned,
            "5xx": self._server_error,
            "html403": self._html_403,
            "geo451": self._geo_451,
            "redirect": self._redirect,
            "bad_json": self._bad_json,
            "rates": self._rates,
            "garbage": self._garbage,
            "shutdown": self._shutdown,
            "disconnect_24h": self._disconnect,
            "close_1008": self._policy,
            "unreachable": self._unreachable,
            "slow": self._slow,
            "clock_skew": self._clock_skew,
            "symbol_break": self._symbol_break,
            "filter": self._filter,
            "delist": self._delist,
            "old_snapshot": self._old_snapshot,
            "control_errors": self._control_errors,
            "clear": self._clear,
            **{name: partial(self._change, name) for name in KINDS},
        }
        self._infos, self._statuses = dict(venue.infos), dict(venue.statuses)
        # By fault and symbol: how often it was set; a delayed end counts for its own turn alone.
        self._turns: Counter[str] = Counter()

    @property
    def names(self) -> list[str]:
        """Return the names of all faults."""
        return [*self._actions, *FRAME_FAULTS]

    def due(self, now_ms: int) -> None:
        """Inject the script's faults that are due at this market time.

        Raises:
            ConfigError: A fault cannot be injected; `check` finds such a script before.
        """
        while self._script and self._script[0][0] <= now_ms:
            item = self._script.pop(0)[2]
            try:
                self.inject(without_moment(item))
            except FaultUnknown as error:
                raise ConfigError(
                    f"The fault script cannot be played: {item['name']}.", [str(error)]
                ) from error

    def check(self) -> None:
        """Refuse a script with a fault that could not be injected, before anything plays.

        Raises:
            ConfigError: Names every such entry.
        """
        wrong = []
        for _, _, item in self._script:
            try:
                self._judge(without_moment(item))
            except FaultUnknown as error:
                wrong.append(f"{item['name']}: {error}")
        if wrong:
            raise ConfigError("The fault script cannot be played.", wrong)

    def _judge(self, fields: Mapping[str, Any]) -> None:
        """Refuse a fault that cannot be injected, or would change nothing.

        Raises:
            FaultUnknown: Unknown name, or a field that is unknown or has a wrong value.
        """
        check_fault(fields, self._statuses)
        name = str(fields["name"])
        allowed = {"endpoint": self._endpoints}
        if name in KINDS:
            change_of(name, fields, 1, 0)
            allowed["endpoint"] = (*self._endpoints, EVERYTHING)
        if name in _WORDS:
            allowed["kind"] = _WORDS[name]
        if name == "filter":
            try:
                filter_field(fields)
            except ListingUnknown as error:
                raise FaultUnknown(str(error)) from error
        for key, words in allowed.items():
            if key in fields and fields[key] not in words:
                expected = ", ".join(words)
                raise FaultUnknown(f"{key}: expected one of {expected}, found {fields[key]!r}")
        stream = fields.get("stream", EVERYTHING)
        own = self._venue.facts.streams
        if stream not in own and not is_played(stream, self._venue.symbols):
            known = ", ".join(STREAM_KINDS)
            raise FaultUnknown(
                f"stream: {stream!r} is not a stream of a symbol played here; kinds: {known}"
            )

    def inject(self, fields: Mapping[str, Any]) -> None:
        """Inject one fault.

        Raises:
            FaultUnknown: Unknown name, or a field that is unknown or has a wrong value.
        """
        self._judge(fields)
        name = str(fields["name"])
        if name in self._actions:
            self._actions[name](fields)
        else:
            fault = FrameFault(
                name,
                fields.get("n", 1),
                fields.get("symbol"),
                fields.get("factor", 1000),
                fields.get("shift_ms", -60_000),
            )
            self._faults.frame_faults.append(fault)
        self._venue.counters[f"fault_{name}"] += 1

    def _pace(self) -> int:
        return self._venue.clock.pace_ms()

    def _drop(self, fields: Mapping[str, Any]) -> None:
        self._hub.reset_all()

    def _stall(self, fields: Mapping[str, Any]) -> None:
        self._faults.silent_until_ms = self._pace() + fields.get("ms", 30_000)

    def _burst(self, fields: Mapping[str, Any]) -> None:
        self._faults.held_until_ms = self._pace() + fields.get("ms", 5_000)

    def _no_ping(self, fields: Mapping[str, Any]) -> None:
        self._faults.no_pings_until_ms = self._pace() + fields.get("ms", 120_000)

    def _rate_limited(self, fields: Mapping[str, Any]) -> None:
        self._limits.limit(fields.get("retry_after", 10) * 1000, self._pace())

    def _banned(self, fields: Mapping[str, Any]) -> None:
        self._limits.ban(fields.get("ban_ms", 120_000), self._pace())

    def _server_error(self, fields: Mapping[str, Any]) -> None:
        body = orjson.dumps({"code": -1000, "msg": "An unknown error occurred."})
        self._http(fields, fields.get("status", 503), body, "application/json")

    def _html_403(self, fields: Mapping[str, Any]) -> None:
        self._http(fields, 403, BLOCKED, "text/html")

    def _geo_451(self, fields: Mapping[str, Any]) -> None:
        body = orjson.dumps({"code": 0, "msg": _RESTRICTED})
        self._http(fields, 451, body, "application/json")

    def _redirect(self, fields: Mapping[str, Any]) -> None:
        headers = {"Location": fields.get("to", "https://example.invalid/")}
        self._http(fields, fields.get("status", 302), b"", "text/html", headers)

    def _bad_json(self, fields: Mapping[str, Any]) -> None:
        self._http(fields, 200, b'{"symbol":"BTCUSDT","price":', "application/json")

    def _http(
        self,
        fields: Mapping[str, Any],
        status: int,
        body: bytes,
        kind: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        left, until_ms = self._duration(fields)
        endpoint = fields.get("endpoint")
        fault = HttpFault(status, body, kind, left, until_ms, endpoint, headers or {})
        self._faults.http.append(fault)

    def _duration(self, fields: Mapping[str, Any]) -> tuple[int, int]:
        """Return the count and the end of a fault: once, unless a count or a duration is given."""
        has_duration = "ms" in fields
        left = fields.get("n", NEVER if has_duration else 1)
        return left, self._pace() + fields["ms"] if has_duration else NEVER

    def _rates(self, fields: Mapping[str, Any]) -> None:
        rates = self._venue.rates
        self._venue.rates = replace(
            rates,
            weight=fields.get("weight", rates.weight),
            raw_requests=fields.get("raw_requests", rates.raw_requests),
        )

    def _change(self, kind: str, fields: Mapping[str, Any]) -> None:
        self._faults.changes.add(change_of(kind, fields, *self._duration(fields)))

    def _garbage(self, fields: Mapping[str, Any]) -> None:
        frame = GARBAGE[fields.get("kind", "text")]()
        for connection in self._hub.connections:
            connection.write_raw([frame] * fields.get("n", 1))

    def _shutdown(self, fields: Mapping[str, Any]) -> None:
        told = orjson.dumps({"e": "serverShutdown", "E": self._venue.now_ms()})
        for connection in self._hub.connections:
            event = wire.in_micros(told) if connection.in_micros else told
            wrapped = wire.combined("!serverShutdown", event)
            payload = wrapped if connection.held.is_combined else event
            connection.write_raw([wire.frame(wire.TEXT, payload)])
        connections = list(self._hub.connections)

        def close() -> None:
            # A client that connected after the announcement is on the new server.
            for connection in connections:
                connection.close(1001, "going away")
                self._hub.drop(connection)

        self._gate.later(fields.get("lead_ms", 5_000), close)

    def _disconnect(self, fields: Mapping[str, Any]) -> None:
        self._hub.close_all(1001, "24 hours")

    def _policy(self, fields: Mapping[str, Any]) -> None:
        self._hub.close_all(1008, "Too many requests")

    def _unreachable(self, fields: Mapping[str, Any]) -> None:
        self._faults.unreachable_until_ms = self._pace() + fields.get("ms", 60_000)
        self._gate.shut()

    def _slow(self, fields: Mapping[str, Any]) -> None:
        self._faults.slow_until_ms = self._pace() + fields.get("ms", 60_000)
        self._faults.slow_delay_ms = fields.get("delay_ms", 5_000)

    def _clock_skew(self, fields: Mapping[str, Any]) -> None:
        self._venue.time_offset_ms = fields.get("skew_ms", 0)
        self._end_later("clock_skew", fields, lambda: self._clock_skew({}))

    def _symbol_break(self, fields: Mapping[str, Any]) -> None:
        symbol = fields.get("symbol") or self._venue.facts.symbols[0]
        self._venue.statuses[symbol] = fields.get("status", "BREAK")
        back = {"symbol": symbol, "status": self._statuses[symbol]}

        def end() -> None:
            # The streams of a delisted symbol stay silent until `clear`.
            if symbol not in self._venue.delisted:
                self._symbol_break(back)

        self._end_later(f"symbol_break {symbol}", fields, end)

    def _end_later(self, name: str, fields: Mapping[str, Any], end: Callable[[], None]) -> None:
        """End a fault after its `ms`, unless it is set anew or cleared before."""
        self._turns[name] += 1
        turn = self._turns[name]
        if "ms" in fields:
            self._gate.later(fields["ms"], lambda: end() if self._turns[name] == turn else None)

    def _filter(self, fields: Mapping[str, Any]) -> None:
        symbol = fields.get("symbol") or self._venue.facts.symbols[0]
        try:
            change_filter(self._venue, symbol, fields)
        except ListingUnknown as error:
            raise FaultUnknown(str(error)) from error

    def _delist(self, fields: Mapping[str, Any]) -> None:
        try:
            delist(self._venue, fields.get("symbol") or self._venue.facts.symbols[0])
        except ListingUnknown as error:
            raise FaultUnknown(str(error)) from error

    def _old_snapshot(self, fields: Mapping[str, Any]) -> None:
        self._faults.old_snapshots = fields.get("n", 1)

    def _control_errors(self, fields: Mapping[str, Any]) -> None:
        self._hub.error_shape = fields.get("kind", "seen")

    def _clear(self, fields: Mapping[str, Any]) -> None:
        """End every fault; a shutdown that was announced still closes its connections."""
        faults = self._faults
        faults.http, faults.frame_faults, faults.old_snapshots = [], [], 0
        faults.silent_until_ms = faults.held_until_ms = 0
        faults.no_pings_until_ms = faults.slow_until_ms = faults.unreachable_until_ms = 0
        self._limits.lift()
        self._turns.update(list(self._turns))
        self._venue.time_offset_ms = 0
        self._venue.delisted.clear()
        self._venue.infos.update(self._infos)
        self._venue.rates = Rates()
        self._hub.error_shape = SHAPES[0]
        faults.changes.clear()
        self._venue.statuses.update(self._statuses)
