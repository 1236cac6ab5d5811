"""Fast path of the codec: it may refuse valid lines, and never accepts invalid ones."""

from __future__ import annotations

import json
import tracemalloc
from copy import deepcopy
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from minibot.events.fast_codec import QUICK_CLASSES, Quick
from minibot.events.fast_rules import TextRule, Texts
from minibot.events.model import Event
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel import canonical
from minibot.kernel.errors import InvariantError

pytestmark = pytest.mark.campaign

PROJECT = Path(__file__).resolve().parents[2]
CONTRACTS = Contracts.of_project()
ROLES = Roles.load(PROJECT / "config" / "roles.v1.json")
QUEUES = {
    **dict.fromkeys(("market_tick", "bar", "book", "beat"), "market_ticks"),
    "ack": "signals/acks",
}
VALID = {
    cls.TYPE: json.loads(
        (PROJECT / "tests/fixtures/contracts" / f"{cls.TYPE}.json").read_text(encoding="utf-8")
    )["valid"]
    for cls in QUICK_CLASSES
}
TYPES = sorted(VALID)
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, [], {}, 0, -1, 1, 2**53, 2**63, 2**64, "", "x", "BUY", "quote"),
        *([["1", "2"]], [["1"]], [["1", "2", "3"]], [["1", "x"]], [["1", None]], ["1"], [["2", 1]]),
        *({"BTCUSDT": 5}, {"BTCUSDT": -1}, {"B\n": 1}, {"\u0394": 1}, {"": 1}, {"AB": "1"}),
        *("0", "-1", "1.5", "00.1", "1e5", "0." + "9" * 18, "0." + "9" * 19, "9" * 20, "9" * 21),
    ]
)


def quick_of(type_: str) -> Quick:
    event = VALID[type_]
    hashes = {event["source"]: frozenset({event["cmdline_hash"], "f" * 64})}
    return Quick(CONTRACTS, ROLES, event["run_id"], hashes)


QUICK = {type_: quick_of(type_) for type_ in TYPES}


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, bytes]:
    """Recorded line with a few values or bytes changed, left out or added."""
    type_ = draw(st.sampled_from(TYPES))
    event = deepcopy(VALID[type_])
    for _ in range(draw(st.integers(0, 2))):
        node = draw(st.sampled_from([event, event["payload"]]))
        name = draw(st.sampled_from([*sorted(node), "ts_iso", "note", "cause_ids", "tick_seq"]))
        if name == "payload":
            continue
        if draw(st.booleans()):
            node[name] = draw(VALUES)
        else:
            node.pop(name, None)
    line = json.dumps(event, separators=(",", ":"), sort_keys=draw(st.integers(0, 9)) > 0).encode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(line)))
        width = draw(st.integers(0, 3))
        piece = draw(
            st.sampled_from([b"", b" ", b"0", b"\n", b"}", b'"', b",", b"A", b"\xff", b"9"])
        )
        line = line[:at] + piece + line[at + width :]
    return type_, line


@pytest.mark.row("N-26", "N-27", "N-42", "S-57")
@settings(max_examples=3000, deadline=None)
@given(lines())
def test_quick_takes_only_what_contract_and_canonical_form_take(given_: tuple[str, bytes]) -> None:
    """A line accepted by the fast path is canonical, valid by the oracle, and decodes equally."""
    type_, line = given_
    quick = QUICK[type_]
    event = quick.decode(QUEUES[type_], line)

    assert (quick.decode_many(QUEUES[type_], [line, line]) is None) == (event is None)
    if event is not None:
        envelope = canonical.decode(line)
        assert CONTRACTS.oracle(type_).is_valid(envelope)
        assert envelope["run_id"] == VALID[type_]["run_id"]
        assert envelope["source"] == VALID[type_]["source"]
        assert Event.from_json(envelope) == event


@pytest.mark.parametrize("type_", TYPES)
def test_quick_takes_recorded_lines_and_writes_the_same_bytes(type_: str) -> None:
    """Nearly all recorded lines take the fast path both ways, with the same bytes."""
    line = canonical.encode(VALID[type_])
    event = QUICK[type_].decode(QUEUES[type_], line)

    assert event == Event.from_json(VALID[type_])
    assert QUICK[type_].encode(QUEUES[type_], event) == line
    assert QUICK[type_].decode_many(QUEUES[type_], [line] * 3) == [event] * 3


@pytest.mark.row("N-27")
@settings(max_examples=300, deadline=None)
@given(lines(), st.integers(0, 4))
def test_quick_of_many_takes_none_when_it_would_not_take_each(
    given_: tuple[str, bytes], at: int
) -> None:
    """One bad line in a batch sends the whole batch to the slow path, which finds it."""
    type_, odd = given_
    good = canonical.encode(VALID[type_])
    batch = [good] * at + [odd] + [good] * (4 - at)
    singly = [QUICK[type_].decode(QUEUES[type_], line) for line in batch]

    many = QUICK[type_].decode_many(QUEUES[type_], batch)

    if many is not None:
        assert many == singly[: len(many)]
    if odd == good:
        assert many == singly


@pytest.mark.parametrize("type_", TYPES)
def test_quick_of_many_sees_where_each_line_ends(type_: str) -> None:
    """Lines that are right only when joined are not accepted as a batch."""
    quick, queue = QUICK[type_], QUEUES[type_]
    good = canonical.encode(VALID[type_])
    event = quick.decode(queue, good)

    for at in range(1, len(good)):
        batch = [good, good[:at], good[at:] + good]
        assert quick.decode_many(queue, batch) == [event]
        assert quick.decode_many(queue, [good, good + good[:at], good[at:]]) in (None, [event])


@pytest.mark.row("N-26", "N-27")
@pytest.mark.parametrize("type_", TYPES)
def test_quick_of_many_sees_a_payload_that_is_shared_by_two_lines(type_: str) -> None:
    """Two lines of which one has a payload and a half are refused, though both together have two.

    The fast path begins anew each time, since it may remember what it took before.
    """
    queue = QUEUES[type_]
    good = canonical.encode(VALID[type_])
    payload = canonical.encode(VALID[type_]["payload"])

    for at in (at for at, byte in enumerate(payload) if byte == ord(",")):
        more = good.replace(payload, payload + b"," + payload[:at])
        less = good.replace(payload, payload[at + 1 :])
        assert quick_of(type_).decode_many(queue, [more, less]) is None
        assert QUICK[type_].decode_many(queue, [good, more, less]) is None


@pytest.mark.row("N-26", "N-27")
@pytest.mark.parametrize("type_", TYPES)
def test_quick_judges_a_line_like_one_before_no_less(type_: str) -> None:
    """A line that differs from one taken before in one digit or capital is judged by its contract.

    Among them are leading zeros, numbers out of bounds and words that no list has.
    """
    queue, quick = QUEUES[type_], quick_of(type_)
    good = canonical.encode(VALID[type_])
    oracle, taken = CONTRACTS.oracle(type_), 0
    assert quick.decode(queue, good) is not None

    for at in (at for at, byte in enumerate(good) if chr(byte).isdigit() or chr(byte).isupper()):
        for new in b"09" if chr(good[at]).isdigit() else b"AZ":
            line = good[:at] + bytes([new]) + good[at + 1 :]
            event = quick.decode(queue, line)
            assert (quick.decode_many(queue, [line, line]) is None) == (event is None)
            if event is not None:
                taken += line != good
                envelope = canonical.decode(line)
                assert oracle.is_valid(envelope)
                assert Event.from_json(envelope) == event
    assert taken > 0


@pytest.mark.parametrize("type_", TYPES)
def test_quick_refuses_a_time_with_a_leading_zero(type_: str) -> None:
    """A time with a leading zero is not a JSON number and is refused, alone and in a batch."""
    quick, queue = QUICK[type_], QUEUES[type_]
    good = canonical.encode(VALID[type_])
    odd = good.replace(b'"ts":1', b'"ts":0')

    assert odd != good
    assert quick.decode(queue, odd) is None
    assert quick.decode_many(queue, [odd, good]) is None
    assert quick.decode_many(queue, [good, odd]) is None


@pytest.mark.parametrize("type_", TYPES)
def test_quick_writes_many_as_it_writes_each_and_none_when_one_is_odd(type_: str) -> None:
    """A batch is written like single events; an odd event sends the batch to the slow path."""
    quick, queue = QUICK[type_], QUEUES[type_]
    event = Event.from_json(VALID[type_])
    later = replace(event, ts=event.ts + 1)
    text = next(name for name in ("symbol", "reader", "n") if hasattr(event.payload, name))
    odd = [
        replace(event, run_id="20000101_000000"),
        replace(event, source="ai_role"),
        replace(event, cmdline_hash="0" * 64),
        replace(event, cause_ids=(event.id,)),
        replace(event, tick_seq=1),
        replace(event, id="no id"),
        replace(event, ts=-1),
        replace(event, payload=replace(event.payload, **{text: "not\none"})),
        replace(event, payload=replace(event.payload, **{text: 1.5})),
    ]

    assert quick.encode_many(queue, [event, later]) == [
        quick.encode(queue, event),
        quick.encode(queue, later),
    ]
    for one in odd:
        assert quick.encode(queue, one) is None
        assert quick.encode_many(queue, [event, one]) is None
        assert quick.encode_many(queue, [one, event]) is None


@pytest.mark.row("N-27")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("cmdline_hash", text) for text in ("A" * 64, "g" * 64, "a" * 63, "a" * 63 + "\n", "")),
        *(("run_id", text) for text in ("20240808-235413", "20240808_23541", "x")),
    ],
)
@pytest.mark.parametrize("type_", TYPES)
def test_quick_takes_no_frame_that_breaks_its_contract(type_: str, name: str, text: str) -> None:
    """A command line hash or run id of another form is left to the contracts, even if known."""
    envelope = {**VALID[type_], name: text}
    event, line = Event.from_json(envelope), canonical.encode(envelope)
    hashes = {event.source: frozenset({event.cmdline_hash})}
    quick = Quick(CONTRACTS, ROLES, event.run_id, hashes)
    roots = [(event.payload, event.ts)]
    queue = QUEUES[type_]

    assert quick.encode(queue, event) is None
    assert quick.encode_many(queue, [event, event]) is None
    assert quick.encode_roots(queue, event.source, event.cmdline_hash, [b"id"], roots) is None
    assert quick.decode(queue, line) is None
    assert quick.decode_many(queue, [line, line]) is None


LEVELS = CONTRACTS.schemas["book"]["$defs"]["levels"]
AGES = CONTRACTS.payloads["beat"]["properties"]["data_age_ms"]
THREE = {"type": "array", "minItems": 3, "maxItems": 3, "items": {"$ref": "#/$defs/symbol"}}


@pytest.mark.row("N-26")
@pytest.mark.parametrize(
    ("type_", "change"),
    [
        ("market_tick", {"recv_mono_ns": {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}}),
        ("market_tick", {"recv_mono_ns": {"type": "string", "pattern": "^x$", "maxLength": 1}}),
        (
            "market_tick",
            {"symbol": {"type": "string", "pattern": "^x$", "maxLength": 1, "minLength": 1}},
        ),
        ("market_tick", {"kind": {"enum": ["trade"]}}),
        ("book", {"bids": {**LEVELS, "maxItems": 10}}),
        ("book", {"asks": {**LEVELS, "minItems": 1}}),
        ("book", {"asks": {**LEVELS, "items": THREE}}),
        ("book", {"bids": {"type": "string", "pattern": "^x$", "maxLength": 1}}),
        ("beat", {"data_age_ms": {**AGES, "maxProperties": 10}}),
        ("beat", {"data_age_ms": {**AGES, "additionalProperties": {"type": "string"}}}),
        ("beat", {"data_age_ms": {**AGES, "minProperties": 1}}),
    ],
)
def test_quick_refuses_to_start_when_class_and_contract_differ(
    type_: str, change: dict[str, Any]
) -> None:
    """A class that would accept what its contract refuses is found before the first line."""
    payloads = deepcopy(dict(CONTRACTS.payloads))
    payloads[type_]["properties"].update(change)

    with pytest.raises(InvariantError, match="differs from its contract"):
        Quick(Contracts(CONTRACTS.envelope, payloads), ROLES, "20240808_235413", {})


@pytest.mark.parametrize("text", ["1\n2", "1\n", "\n1", "\n", "", "1" * 20 + "." + "1" * 20])
def test_quick_refuses_a_text_that_only_its_lines_would_make_right(text: str) -> None:
    """A text of several numbers, one with a line break at its end, or a longer one is refused."""
    event = deepcopy(VALID["market_tick"])
    event["payload"]["qty"] = text
    line = json.dumps(event, separators=(",", ":"), sort_keys=True).encode()

    assert quick_of("market_tick").decode("market_ticks", line) is None


@pytest.mark.parametrize("pattern", ["^[^,]+$", r"^a\s?b$"])
def test_texts_refuse_a_pattern_that_may_match_the_end_of_a_line(pattern: str) -> None:
    """Two texts, each wrong, must not be right together."""
    with pytest.raises(InvariantError, match="not matched by lines"):
        Texts(TextRule({"pattern": pattern, "maxLength": 9}))


@pytest.mark.parametrize("type_", ["bar", "market_tick"])
def test_texts_that_never_come_again_are_forgotten_soon(type_: str) -> None:
    """Texts that never repeat, as in bars, are forgotten soon, so the cache stays small."""
    quick = quick_of(type_)
    line = canonical.encode(VALID[type_])
    assert b'"' + VALID[type_]["payload"]["symbol"].encode() + b'"' in line
    texts = [text for text in VALID[type_]["payload"].values() if str(text).count(".") == 1]
    assert texts

    def take(first: int, last: int) -> None:
        for number in range(first, last):
            made = line
            for at, text in enumerate(texts):
                made = made.replace(b'"%b"' % text.encode(), b'"%d.%d"' % (number + 1, at + 1))
            assert quick.decode("market_ticks", made) is not None

    take(0, 10)
    tracemalloc.start()
    take(10, 15_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 1_000_000
