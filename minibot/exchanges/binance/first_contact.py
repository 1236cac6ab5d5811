"""First contact with a host: everything that it sends is compared with its documentation.

Read-only and slow on purpose: each endpoint once (rules and books once for each symbol, and again
where the host counts another weight than documented), then the streams for the wanted time with a
clock sample every few seconds. All differences are reported, harmless or not, also everything that
the connector's own parsers refuse; books are rebuilt from snapshot and updates and compared with
the stream of best quotes. The caller provides the clocks; nothing is traded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from minibot.events.names import CONTROL
from minibot.events.unit_sizes import NS_PER_MS
from minibot.exchanges.base import (
    BANNED,
    RATE_LIMITED,
    FrameInvalid,
    RestError,
    StreamLost,
)
from minibot.exchanges.binance import expected
from minibot.exchanges.binance.filters import parse_instruments
from minibot.exchanges.binance.limits import DEPTH, EXCHANGE_INFO, TIME, weight_of
from minibot.exchanges.binance.messages import parse_frame
from minibot.exchanges.binance.rest import BinanceRest, judge
from minibot.exchanges.contact_report import Report
from minibot.exchanges.shapes import Difference, differences
from minibot.exchanges.tapes.check import Check
from minibot.exchanges.tapes.lines import Line, Missed, depth_message, missed_mark
from minibot.exchanges.websocket_stream import WebSocketStream
from minibot.kernel.threads import call_after

# Kinds of differences besides those of `shapes`.
CLOCK: Final = "clock"
LIMIT: Final = "limit"
HEADER: Final = "header"
WEIGHT: Final = "weight"
STATUS: Final = "status"
ANSWER: Final = "answer"
PARSER: Final = "parser"
SILENT: Final = "silent"
LOST: Final = "connection lost"
BOOK: Final = "book"

CLOCK_SAMPLES: Final = 5
SAMPLE_EVERY_MS: Final = 5_000
SNAPSHOT_LEVELS: Final = 1000
SNAPSHOT_AFTER_MS: Final = 2_000
# Connections in all: a further one only after a loss.
CONNECTIONS_MAX: Final = 3
# Messages of each stream that are compared with a shape; parsers and books take all of them.
COMPARED_MAX: Final = 2_000
WEIGHT_HEADERS: Final = ("x-mbx-used-weight", "x-mbx-used-weight-1m")
# Streams that the connector itself subscribes to and reads.
PARSED: Final = frozenset({"trade", "bookTicker", "depth@100ms"})


class FirstContact:
    """One contact.

    Args:
        rest: REST client of the host.
        open_stream: Makes a stream that is not connected yet, for given stream names.
        symbols: Symbols to test, one or more.
        wall_ms: Our clock, Unix milliseconds.
        machine_ms: Machine time in milliseconds.
        skew_max_ms: How far the clocks may be apart.
    """

    def __init__(
        self,
        rest: BinanceRest,
        open_stream: Callable[[Sequence[str]], WebSocketStream],
        symbols: Sequence[str],
        *,
        wall_ms: Callable[[], int],
        machine_ms: Callable[[], int],
        skew_max_ms: int,
    ) -> None:
        self._rest = rest
        self._open_stream = open_stream
        self._wall_ms = wall_ms
        self._machine_ms = machine_ms
        self._skew_max_ms = skew_max_ms
        self.report = Report(tuple(symbols))
        self._check = Check()
        self._lines = 0
        self._counts: Counter[str] = Counter()
        self._is_answered = False

    def run(self, seconds: float, say: Callable[[float], None] = lambda part: None) -> Report:
        """Test the host for a number of machine seconds; `say` gets the progress, 0 to 1.

        Raises:
            RestError: The first request had no usable answer: the host cannot be reached, or
                answers with an error. Or the host wants silence, of this contact or of another
                process, and further requests would lead to a ban or make it longer.
            StreamLost: The first connection of the streams could not be opened, or brought nothing.
        """
        self._rest.ping()
        for _ in range(CLOCK_SAMPLES):
            self._sample_clock()
        for path in expected.ENDPOINTS:
            self._look_at(path)
        self._look_at_error()
        self._listen(seconds, say)
        self._judge_clock()
        self._judge_streams()
        return self.report

    # --- clock --------------------------------------------------------------------------------

    def _sample_clock(self) -> None:
        before = self._wall_ms()
        try:
            server_ms = self._rest.server_time()
        except RestError as error:
            _heed(error)
            self._report(TIME, ANSWER, "(whole)", "serverTime", str(error), hinders=True)
            return
        after = self._wall_ms()
        self.report.offsets_ms.append(server_ms - (before + after) // 2)
        self.report.round_trips_us.append(self._rest.last.took_us)

    def _judge_clock(self) -> None:
        offset_ms = self.report.offset_ms
        if abs(offset_ms) > self._skew_max_ms:
            allowed = f"at most {self._skew_max_ms} ms from ours"
            self._report(TIME, CLOCK, "serverTime", allowed, f"{offset_ms} ms", hinders=True)

    # --- endpoints ----------------------------------------------------------------------------

    def _look_at(self, path: str) -> None:
        several = path in (EXCHANGE_INFO, DEPTH)
        for symbol in self.report.symbols if several else self.report.symbols[:1]:
            self._look_at_one(path, symbol)

    def _look_at_one(self, path: str, symbol: str) -> None:
        params = expected.parameters(path, symbol)
        used_before = self._rest.last.weight_used
        try:
            status, headers, content = self._rest.answer(path, params)
        except RestError as error:
            _heed(error)
            self._report(path, ANSWER, "(whole)", "an answer", str(error), hinders=True)
            return
        _heed_answer(path, status, headers, content)
        self._look_at_headers(path, headers)
        row = {
            "path": path,
            "status": status,
            "bytes": len(content),
            "took_us": self._rest.last.took_us,
            "weight": weight_of(path, params),
            "weight_counted": self._weight_counted(path, params, used_before),
        }
        self.report.endpoints.append(row)
        try:
            body = judge(path, status, headers, content)
        except RestError as error:
            self._report(path, ANSWER, "(whole)", "a good answer", str(error), hinders=True)
            return
        self._compare(path, expected.ENDPOINTS[path], body)
        if body == []:
            # An empty list cannot be compared, so its shape remains unknown.
            self._report(path, ANSWER, "(rows)", "at least one", "none", hinders=False)
        if path == EXCHANGE_INFO:
            self._look_at_rules(symbol, body)

    def _look_at_headers(self, path: str, headers: Mapping[str, str]) -> None:
        for name in WEIGHT_HEADERS:
            text = headers.get(name)
            if text is None or not text.isdigit():
                self._report(path, HEADER, name, "a whole number", str(text), hinders=True)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            self._report(path, HEADER, "content-type", "application/json", kind, hinders=True)

    def _weight_counted(
        self, path: str, params: Mapping[str, Any], before: int | None
    ) -> int | None:
        """Return the host's count for the last request; with a wrong weight, request it again.

        Other programs may share the address, and the minute may turn: only the same surplus twice
        in a row is a difference.
        """
        documented = weight_of(path, params)
        counted = self._counted(before)
        if counted is None or counted == documented:
            return counted
        before = self._rest.last.weight_used
        try:
            answer = self._rest.answer(path, params)
        except RestError as error:
            _heed(error)
            return counted
        _heed_answer(path, *answer)
        again = self._counted(before)
        if again == counted:
            self._report(path, WEIGHT, "weight", str(documented), str(counted), hinders=False)
        return again

    def _counted(self, before: int | None) -> int | None:
        used = self._rest.last.weight_used
        return None if before is None or used is None or used <= before else used - before

    def _look_at_rules(self, symbol: str, body: Any) -> None:
        """Compare statuses, filters and limits, and let the connector's parser judge the rules."""
        try:
            (instrument,) = parse_instruments(body, [symbol])
        except FrameInvalid as error:
            self._report(EXCHANGE_INFO, PARSER, symbol, "rules that can be used", str(error))
            return
        if instrument.status not in expected.STATUSES:
            words = ", ".join(sorted(expected.STATUSES))
            self._report(EXCHANGE_INFO, STATUS, symbol, words, instrument.status)
        infos = [item for item in body["symbols"] if item["symbol"] == symbol]
        if len(infos) > 1:
            self._report(EXCHANGE_INFO, PARSER, symbol, "one entry", str(len(infos)))
        names = [str(item.get("filterType")) for item in infos[-1]["filters"]]  # As it was parsed.
        self.report.filters[symbol] = names
        self._look_at_limits(body)

    def _look_at_limits(self, body: Mapping[str, Any]) -> None:
        listed = body.get("rateLimits")
        rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
        self.report.limits = rows
        for (kind, interval, count), limit in expected.LIMITS.items():
            wanted = {"rateLimitType": kind, "interval": interval, "intervalNum": count}
            given = [row.get("limit") for row in rows if wanted.items() <= row.items()]
            if given != [limit]:
                name = f"{kind} per {count} {interval}"
                found = ", ".join(map(str, given)) or "none"
                self._report(EXCHANGE_INFO, LIMIT, name, str(limit), found, hinders=False)

    def _look_at_error(self) -> None:
        """Request a symbol that does not exist: refusals have a shape too."""
        where = f"{DEPTH} of {expected.UNKNOWN_SYMBOL}"
        params = {"symbol": expected.UNKNOWN_SYMBOL, "limit": 5}
        try:
            status, headers, content = self._rest.answer(DEPTH, params)
        except RestError as error:
            _heed(error)
            self._report(where, ANSWER, "(whole)", "a refusal in JSON", str(error), hinders=True)
            return
        _heed_answer(where, status, headers, content)
        try:
            body = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            self._report(where, ANSWER, "(whole)", "a refusal in JSON", str(error), hinders=True)
            return
        if status != 400:
            self._report(where, STATUS, "status", "400", str(status), hinders=True)
        self._compare(where, expected.ERROR, body)
        code = body.get("code") if isinstance(body, dict) else None
        if code != expected.UNKNOWN_SYMBOL_CODE:
            wanted = str(expected.UNKNOWN_SYMBOL_CODE)
            self._report(where, ANSWER, "code", wanted, str(code), hinders=True)

    # --- streams ------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        kinds = expected.STREAMS
        names = [f"{symbol.lower()}@{kind}" for symbol in self.report.symbols for kind in kinds]
        return [*names, *expected.MARKET_STREAMS]

    def _listen(self, seconds: float, say: Callable[[float], None]) -> None:
        begin_ms = self._machine_ms()
        end_ms = begin_ms + round(seconds * 1000)
        for number in range(1, CONNECTIONS_MAX + 1):
            names = self._names()
            stream = self._open_stream(names[:1])
            left_s = max(0, end_ms - self._machine_ms()) / 1000
            try:
                with call_after(left_s, stream.abort):
                    stream.open()
                    self._converse(stream, names, begin_ms, end_ms, say)
                return  # A message after the end may come before the timer.
            except StreamLost as error:
                if self._machine_ms() >= end_ms:
                    return
                if number == 1 and not self._counts:
                    raise
                self._report("streams", LOST, "(connection)", "open", str(error), hinders=True)
                # What is missed until the next one is open is no fault of its messages.
                at_ns = self._wall_ms() * NS_PER_MS
                self._prove_line(missed_mark(Missed(at_ns, at_ns, (), LOST)))
            finally:
                stream.close()

    def _converse(
        self,
        stream: WebSocketStream,
        names: Sequence[str],
        begin_ms: int,
        end_ms: int,
        say: Callable[[float], None],
    ) -> None:
        """Subscribe to the other streams by a control message, then read until the end."""
        stream.send(orjson.dumps({"method": "SUBSCRIBE", "params": names[1:], "id": 1}).decode())
        sample_ms, snapshot_ms = self._machine_ms(), None
        while True:
            _, data = stream.recv()
            now_ms = self._machine_ms()
            body = self._decoded(data)
            if isinstance(body, dict) and "id" in body and "stream" not in body:
                self._is_answered = True
                self._compare("SUBSCRIBE", expected.REPLY, body)
            elif body is not None:
                self._on_frame(body, data)
                snapshot_ms = snapshot_ms or now_ms + SNAPSHOT_AFTER_MS
            if snapshot_ms is not None and now_ms >= snapshot_ms:
                snapshot_ms = end_ms + 1
                self._take_books()
            if now_ms >= sample_ms + SAMPLE_EVERY_MS:
                sample_ms = now_ms
                self._sample_clock()
                say(min(1.0, (now_ms - begin_ms) / max(1, end_ms - begin_ms)))
            if now_ms >= end_ms:
                return

    def _decoded(self, data: bytes) -> Any:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError as error:
            self._report("streams", PARSER, "(frame)", "JSON", str(error), hinders=True)
            return None

    def _on_frame(self, body: Any, data: bytes) -> None:
        if not isinstance(body, dict) or not isinstance(body.get("stream"), str):
            self._report(
                "streams", PARSER, "stream", "the wrapped form", data[:60].decode("latin-1")
            )
            return
        name = body["stream"]
        kind = name if name in expected.MARKET_STREAMS else name.partition("@")[2]
        shape = expected.STREAMS.get(kind, expected.MARKET_STREAMS.get(kind))
        if shape is None:
            if kind != "!serverShutdown" and name != "!serverShutdown":
                self._report("streams", "unknown", name, "", "a stream that was not requested")
            return
        self._counts[name] += 1
        if self._counts[name] <= COMPARED_MAX:
            self._compare(f"stream {kind}", shape, body.get("data"))
        self._note_delay(body.get("data"))
        if kind in PARSED:
            self._prove(kind, data)

    def _note_delay(self, payload: Any) -> None:
        event_ms = payload.get("E") if isinstance(payload, dict) else None
        if type(event_ms) is int:
            self.report.delays_ms.append(self._wall_ms() + self.report.offset_ms - event_ms)

    def _prove(self, kind: str, data: bytes) -> None:
        """Pass a frame to the connector's own parser and book."""
        try:
            parse_frame(data)
        except FrameInvalid as error:
            self._report(
                f"stream {kind}", PARSER, "(frame)", "a frame that can be used", str(error)
            )
            return
        self._prove_line(data)

    def _prove_line(self, message: bytes) -> None:
        self._lines += 1
        self._check.take(Line(self._lines, self._wall_ms() * NS_PER_MS, message))

    def _take_books(self) -> None:
        for symbol in self.report.symbols:
            try:
                body = self._rest.snapshot_body(symbol, SNAPSHOT_LEVELS)
            except RestError as error:
                _heed(error)
                self._report(DEPTH, ANSWER, symbol, "a snapshot", str(error), hinders=True)
                continue
            self._prove_line(depth_message(body, symbol))

    def _judge_streams(self) -> None:
        """Report unanswered requests, streams without messages, and whether the books fit."""
        if not self._is_answered:
            self._report("SUBSCRIBE", CONTROL, "(answer)", "an answer", "none")
        for name in self._names():
            count = self._counts[name]
            self.report.streams[name] = {"messages": count}
            if not count:
                self._report(f"stream {name}", SILENT, "(messages)", "some", "none", hinders=True)
        for finding in self._check.findings.shown:
            where = f"book of {finding.symbol}" if finding.symbol else "books"
            self._report(where, BOOK, finding.kind, "", finding.detail, hinders=True)
        for symbol, check in self._check.symbols.items():
            self.report.books[symbol] = check.to_json()
            if not check.top.checks:
                text = f"{check.diffs} updates, {check.quotes} quotes, {check.snapshots} snapshots"
                self._report(f"book of {symbol}", BOOK, "(comparisons)", "some", text, hinders=True)

    # --- telling ------------------------------------------------------------------------------

    def _compare(self, where: str, shape: Any, body: Any) -> None:
        for difference in differences(shape, body):
            self.report.add(where, difference)

    def _report(
        self, where: str, kind: str, path: str, wanted: str, found: str, *, hinders: bool = True
    ) -> None:
        self.report.add(where, Difference(kind, path, wanted, _bounded(found), hinders))


def _heed(error: RestError) -> None:
    """End the contact by an answer that wants silence."""
    if error.kind in (BANNED, RATE_LIMITED):
        raise error


def _heed_answer(path: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """End the contact by an answer that wants silence, where it is not judged otherwise."""
    try:
        judge(path, status, headers, content)
    except RestError as error:
        _heed(error)


def _bounded(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:300])
