"""Fast path of the codec for the types of nearly all lines.

A line is here the JSON of an event; hash and newline are the matter of `kernel.line`.

A line of one of these types is decoded straight into its class, checked against the same
contract, and written again: only the same bytes are accepted. Whatever this path does not accept,
for any reason, the codec judges by the schemas; so it may pass on too much, never accept too much.
`fast_rules` checks texts, and at the start that the classes fit the schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from minibot.events.fast_rules import Shapes, Texts, follows, text_rules
from minibot.events.field_types import MS_MAX
from minibot.events.model import Ack, Bar, Beat, Book, Event, MarketTick, Payload
from minibot.events.registry import Contracts, lean_schema
from minibot.events.roles import Roles

QUICK_CLASSES: Final = (MarketTick, Bar, Book, Beat, Ack)

# The last bytes of a line tell its type; keys are sorted, and `type` is the last but one.
TAIL_BYTES: Final = 16

# Offsets in a line of a known writer: `{"cmdline_hash":"<64>","id":"<36>","payload":`.
_ID_AT: Final = 89
_ID_END: Final = _ID_AT + 36
_PAYLOAD_AT: Final = _ID_END + 12
_PAYLOAD_KEY: Final = b'","payload":'
_TS_MAX: Final = MS_MAX
_TS_DIGITS: Final = len(str(_TS_MAX))  # Unix milliseconds from 2001 to 2286.
_TS_MIN: Final = 10 ** (_TS_DIGITS - 1)

_HEX_TO_X: Final = bytes(
    ord("x") if code in b"0123456789abcdef" else code if code in b"-," else ord("?")
    for code in range(256)
)
_ID_SHAPE: Final = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
_NEXT_ID_SHAPE: Final = b"," + _ID_SHAPE
_ID_STEP: Final = len(_NEXT_ID_SHAPE)

Found = TypeVar("Found")

_id_of: Final = itemgetter(slice(_ID_AT, _ID_END))
_times: Final = msgspec.json.Decoder(list[int]).decode


class Row(NamedTuple):
    """Lines in a row, of one type and one writer: the time of each in Unix ms, and its payload."""

    times: list[int]
    payloads: Sequence[Payload]


class Quick:
    """Fast encoder and decoder of one run.

    Args:
        contracts: The registered schemas.
        roles: The role x type table.
        run_id: The only run whose events are accepted.
        hashes: For each role the command line hashes in the manifest.
    """

    def __init__(
        self,
        contracts: Contracts,
        roles: Roles,
        run_id: str,
        hashes: Mapping[str, AbstractSet[str]],
    ) -> None:
        self._roles = roles
        self._run_id = run_id
        self._hashes = hashes
        self._kinds = {cls.TYPE: _Kind(contracts, cls) for cls in QUICK_CLASSES}
        self._by_tail = {kind.tail[-TAIL_BYTES:]: kind for kind in self._kinds.values()}
        self._frames: dict[tuple[str, str], list[_Frame]] = {}
        lean = lean_schema(contracts.envelope, contracts.envelope["$defs"])
        self._rules = lean["properties"]

    def encode(self, queue: str, event: Event) -> bytes | None:
        """Return the canonical JSON of an event that may be written to a queue, or None."""
        kind = self._kinds.get(event.payload.TYPE)
        if kind is None or event.cause_ids is not None or event.tick_seq is not None:
            return None
        if event.run_id != self._run_id:
            return None
        for frame in self._frames_of(queue, kind):
            if frame.source == event.source and frame.cmdline_hash == event.cmdline_hash:
                json = frame.line(event)
                # Decoding judges the line as a reader will. A value that is not a text, such as a
                # decimal, may have been encoded as one.
                is_sound = json is not None and self.decode(queue, json) is not None
                return json if is_sound and kind.admit([event.payload]) else None
        return None

    def encode_many(self, queue: str, events: Sequence[Event]) -> list[bytes] | None:
        """Return the JSON of each event, as `encode` would; None if any is unsuited."""
        first = events[0]
        kind = self._kinds.get(first.payload.TYPE)
        if kind is None:
            return None
        for frame in self._frames_of(queue, kind):
            if frame.source == first.source and frame.cmdline_hash == first.cmdline_hash:
                return frame.lines(events)
        return None

    def encode_roots(
        self,
        queue: str,
        source: str,
        cmdline_hash: str,
        ids: Sequence[bytes],
        roots: Sequence[tuple[Payload, int]],
    ) -> list[bytes] | None:
        """Return the lines of events without an input, given as (payload, ts), without events.

        All payloads have to be of one type that this path supports; None otherwise. The ids are
        not checked.
        """
        kind = self._kinds.get(roots[0][0].TYPE)
        if kind is None:
            return None
        for frame in self._frames_of(queue, kind):
            if frame.source == source and frame.cmdline_hash == cmdline_hash:
                return frame.roots(ids, roots)
        return None

    def decode(self, queue: str, json: bytes) -> Event | None:
        """Return the typed event of a line of a queue; None if unsuited."""
        kind = self._by_tail.get(json[-TAIL_BYTES:])
        if kind is None:
            return None
        for frame in self._frames_of(queue, kind):
            if json.startswith(frame.head):
                return frame.event(json)
        return None

    def decode_many(self, queue: str, jsons: Sequence[bytes]) -> list[Event] | None:
        """Return the events of the lines before the first of another type; None if unsuited."""
        return self._of_frame(queue, jsons, _Frame.events)

    def decode_row(self, queue: str, jsons: Sequence[bytes]) -> Row | None:
        """Return times and payloads of those events; None if unsuited."""
        return self._of_frame(queue, jsons, _Frame.row)

    def _of_frame(
        self,
        queue: str,
        jsons: Sequence[bytes],
        decode: Callable[[_Frame, Sequence[bytes]], Found | None],
    ) -> Found | None:
        tail = jsons[0][-TAIL_BYTES:]
        kind = self._by_tail.get(tail)
        if kind is None:
            return None
        for frame in self._frames_of(queue, kind):
            if jsons[0].startswith(frame.head):
                found = decode(frame, jsons)
                others = (n for n, json in enumerate(jsons) if not json.endswith(tail))
                if found is None and (first := next(others, None)):
                    found = decode(frame, jsons[:first])
                return found
        return None

    def _frames_of(self, queue: str, kind: _Kind) -> list[_Frame]:
        frames = self._frames.get((queue, kind.type))
        if frames is None:
            frames = self._frames[queue, kind.type] = [
                _Frame(kind, self._run_id, source, cmdline_hash)
                for source, hashes in self._hashes.items()
                for cmdline_hash in sorted(hashes)
                if self._roles.allows(queue, kind.type, source)
                and self._is_sound(cmdline_hash, source)
            ]
        return frames

    def _is_sound(self, cmdline_hash: str, source: str) -> bool:
        """Return whether the constant texts of a frame follow the contract of the envelope."""
        texts = {"cmdline_hash": cmdline_hash, "run_id": self._run_id, "source": source}
        return all(follows(text, self._rules[name]) for name, text in texts.items())


class _Kind:
    """Event type: decodes its payloads, and checks the texts that its contract admits."""

    def __init__(self, contracts: Contracts, cls: type[Payload]) -> None:
        self.cls = cls
        self.type = cls.TYPE
        self.tail = f',"type":"{cls.TYPE}","v":1}}'.encode()
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(cls).decode
        self._decode_lines: Callable[[bytes], Any] = msgspec.json.Decoder(cls).decode_lines
        many = msgspec.json.Decoder(list[cls])  # type: ignore[valid-type]  # known at run time
        self._decode_many: Callable[[bytes], Any] = many.decode
        whole = contracts.schemas[cls.TYPE]
        schema = lean_schema(whole, whole["$defs"])["properties"]["payload"]
        rules = text_rules(cls, schema)
        self._texts = list(map(Texts, rules))
        self._shapes = Shapes() if Shapes.are_enough(cls, rules) else None
        # Fields in the order of their names need no sorting, keys of mappings always do.
        names = list(cls.__struct_fields__)
        is_sorted = names == sorted(names) and not any(rule.keys for rule in rules)
        encoder = msgspec.json.Encoder(order=None if is_sorted else "sorted")
        self.encode: Callable[[Any], bytes] = encoder.encode
        self._encode_lines: Callable[[Any], bytes] = encoder.encode_lines

    def payload(self, json: bytes) -> Payload | None:
        """Return the payload of these bytes; None if it would not encode to the same bytes."""
        found = self.payloads((json,))
        return None if found is None else found[0]

    def payloads(self, jsons: Sequence[bytes]) -> list[Payload] | None:
        """Return the payloads of many byte strings; None if one would not encode to the same."""
        whole = b"[" + b",".join(jsons) + b"]"
        try:
            payloads: list[Payload] = self._decode_many(whole)
        except (msgspec.MsgspecError, ValueError):
            return None
        if len(payloads) != len(jsons):
            return None
        if self._shapes is None:
            return payloads if self._are_right(payloads, jsons, whole) else None
        places = self._shapes.unknown(jsons, whole)
        if places:
            new = [jsons[place] for place in places]
            whole = b"[" + b",".join(new) + b"]"
            if not self._are_right([payloads[place] for place in places], new, whole):
                return None
            self._shapes.learn(new)
        return payloads

    def _are_right(self, payloads: Sequence[Payload], jsons: Sequence[bytes], whole: bytes) -> bool:
        """Return whether payloads follow their contract, and are written as these bytes."""
        # A piece that is not a whole value could form one together with its neighbours. No class
        # has a list of objects, so that a piece that begins with a brace begins a payload.
        return (
            all(json.startswith(b"{") for json in jsons)
            and self.encode(payloads) == whole
            and self.admit(payloads)
        )

    def jsons(self, payloads: Sequence[Payload]) -> list[bytes] | None:
        """Return the JSON of many own payloads; None if one breaks its contract.

        The encoder's output is canonical. Types, bounds and lists are judged by decoding it again,
        texts as everywhere here.
        """
        try:
            lines = self._encode_lines(payloads)
            self._decode_lines(lines)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
            return None
        return lines.split(b"\n")[:-1] if self.admit(payloads) else None

    def admit(self, payloads: Sequence[Payload]) -> bool:
        """Return whether all texts of these payloads are texts, and follow their contract."""
        return all(texts.admit(payloads) for texts in self._texts)


class _Frame:
    """Frame of one type from one writer: its envelope, constant except id, payload and time."""

    def __init__(self, kind: _Kind, run_id: str, source: str, cmdline_hash: str) -> None:
        self.source = source
        self.cmdline_hash = cmdline_hash
        self.head = f'{{"cmdline_hash":"{cmdline_hash}","id":"'.encode()
        self._kind = kind
        self._run_id = run_id
        self._rest = (
            f',"run_id":"{run_id}","schema":"minibot.{kind.type}","source":"{source}","ts":'
        ).encode()
        self._tail = kind.tail
        whole = self.head + b"%b" + _PAYLOAD_KEY + b"%b" + self._rest + b"%d" + self._tail
        self._template = whole
        # Counted from the end of a line.
        self._ts_end = -len(self._tail)
        self._ts_at = self._ts_end - _TS_DIGITS
        self._payload_end = self._ts_at - len(self._rest)
        self._payload_of = itemgetter(slice(_PAYLOAD_AT, self._payload_end))
        self._ts_of = itemgetter(slice(self._ts_at, self._ts_end))
        # A line in pieces; id, payload and time go in between.
        self._pieces = [self.head, b"", _PAYLOAD_KEY, b"", self._rest, b"", self._tail]

    def holds(self, event: Event) -> bool:
        """Return whether an event is one of this type, writer and run, without lineage."""
        return (
            type(event.payload) is self._kind.cls
            and event.cause_ids is None
            and event.tick_seq is None
            and event.run_id == self._run_id
            and event.source == self.source
            and event.cmdline_hash == self.cmdline_hash
        )

    def line(self, event: Event) -> bytes | None:
        """Return the line of an event, yet to be judged; None if it cannot be encoded."""
        try:
            payload = self._kind.encode(event.payload)
            id_ = event.id.encode()
        except (TypeError, ValueError, OverflowError, AttributeError):
            return None
        return b"".join(
            (self.head, id_, _PAYLOAD_KEY, payload, self._rest, str(event.ts).encode(), self._tail)
        )

    def lines(self, events: Sequence[Event]) -> list[bytes] | None:
        """Return the lines of many events; None if one is unsuited."""
        if not all(map(self.holds, events)):
            return None
        ids = [event.id for event in events]
        try:
            text = ",".join(ids).encode()
        except (TypeError, ValueError):
            return None
        if not _are_ids(text, len(ids)):
            return None
        payloads, times = [event.payload for event in events], [event.ts for event in events]
        return self._written(map(str.encode, ids), payloads, times)

    def roots(
        self, ids: Sequence[bytes], roots: Sequence[tuple[Payload, int]]
    ) -> list[bytes] | None:
        """Return the lines of payloads with times and sound ids; None if one is unsound."""
        payloads = [payload for payload, _ in roots]
        if set(map(type, payloads)) != {self._kind.cls}:
            return None
        return self._written(ids, payloads, [ts for _, ts in roots])

    def _written(
        self, ids: Iterable[bytes], payloads: Sequence[Payload], times: Sequence[int]
    ) -> list[bytes] | None:
        """Return the lines of sound ids and payloads of our class; None if other parts are not."""
        if set(map(type, times)) != {int} or not _TS_MIN <= min(times) <= max(times) <= _TS_MAX:
            return None
        jsons = self._kind.jsons(payloads)
        if jsons is None:
            return None
        template = self._template
        return [template % each for each in zip(ids, jsons, times, strict=True)]

    def event(self, json: bytes) -> Event | None:
        """Return the event of a line that begins with the head."""
        id_ = json[_ID_AT:_ID_END]
        ts = json[self._ts_at : self._ts_end]
        if (
            json[_ID_END:_PAYLOAD_AT] != _PAYLOAD_KEY
            or json[self._payload_end : self._ts_at] != self._rest
            or not json.endswith(self._tail)
            or not ts.isdigit()
            or ts[0] == 48  # A leading zero.
            or not _are_ids(id_, 1)
        ):
            return None
        payload = self._kind.payload(json[_PAYLOAD_AT : self._payload_end])
        if payload is None:
            return None
        return Event(int(ts), id_.decode(), self.source, self._run_id, self.cmdline_hash, payload)

    def events(self, jsons: Sequence[bytes]) -> list[Event] | None:
        """Return the events of many lines, judged together; None if `event` gives None for one."""
        parts = self._parts(jsons)
        if parts is None:
            return None
        ids, row = parts
        constant = repeat(self.source), repeat(self._run_id), repeat(self.cmdline_hash)
        return list(map(Event, row.times, ids.decode().split(","), *constant, row.payloads))

    def row(self, jsons: Sequence[bytes]) -> Row | None:
        """Return times and payloads of many lines, judged as by `events`."""
        parts = self._parts(jsons)
        return None if parts is None else parts[1]

    def _parts(self, jsons: Sequence[bytes]) -> tuple[bytes, Row] | None:
        """Return ids, separated by commas, times and payloads; None if a line is unsuited."""
        n = len(jsons)
        ids = list(map(_id_of, jsons))
        payloads = list(map(self._payload_of, jsons))
        times = list(map(self._ts_of, jsons))
        id_text, digits = b",".join(ids), b"".join(times)
        if (
            self._put_together(ids, payloads, times) != b"".join(jsons)
            or len(digits) != _TS_DIGITS * n
            or not digits.isdigit()
            or b"0" in digits[::_TS_DIGITS]
            or not _are_ids(id_text, n)
        ):
            return None
        found = self._kind.payloads(payloads)
        if found is None:
            return None
        return id_text, Row(_times(b"[" + b",".join(times) + b"]"), found)

    def _put_together(
        self, ids: Sequence[bytes], payloads: Sequence[bytes], times: Sequence[bytes]
    ) -> bytes:
        """Return consecutive lines, rebuilt from the parts that were cut out of them.

        The slices of a line too short for its frame overlap, so it is rebuilt longer; none is
        rebuilt shorter. So if the bytes of all lines together are equal, each line is.
        """
        pieces = self._pieces * len(ids)
        step = len(self._pieces)
        pieces[1::step], pieces[3::step], pieces[5::step] = ids, payloads, times
        return b"".join(pieces)


def _are_ids(ids: bytes, count: int) -> bool:
    """Return whether these are `count` ids separated by commas: hexadecimal, version 4."""
    return (
        ids.translate(_HEX_TO_X) == _ID_SHAPE + _NEXT_ID_SHAPE * (count - 1)
        and not ids[14::_ID_STEP].strip(b"4")
        and not ids[19::_ID_STEP].strip(b"89ab")
    )
