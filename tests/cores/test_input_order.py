"""Input order of a live role: the next input allowed, and the same order from the log."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.cores.finalize import finalize_drafts
from minibot.cores.input_order import KNOWN_IDS_MAX, Inputs, KnownIds, LineSource, Now, logged_steps
from minibot.events.ids import derive_id
from minibot.events.model import Ack, Beat, Draft, Event, Halt, Payload, RunOpening
from minibot.events.names import CONTROL, TICKS
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel import canonical
from minibot.kernel.errors import ContractError, IntegrityError, InvariantError
from minibot.kernel.journal import JournalReader, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import make_queue, open_reader, open_writer

RUN = "20260101_000000"
HASH = "0" * 64


def event(payload: Payload, ts: int, name: str, tick_seq: int | None = None) -> Event:
    """Return an event whose id derives from a name."""
    return Event(
        ts=ts,
        id=derive_id(RUN, "market_role", name, 0),
        source="market_role",
        run_id=RUN,
        cmdline_hash=HASH,
        payload=payload,
        tick_seq=tick_seq,
    )


def beat(n: int, ts: int = 1) -> Event:
    """Return a beat."""
    return event(Beat(n=n, data_age_ms={}), ts, f"beat {n}")


OPENING = event(RunOpening(cash={"USDT": "1"}, lots=(), budgets_used={}), 1, "opening")


def decode(queue: str, line: Line) -> Event:
    """Return the event of a line without validation."""
    return Event.from_json(canonical.decode(line.json))


@pytest.fixture
def put(tmp_path: Path) -> Iterator[Callable[[str, list[Event]], None]]:
    """Append events to a queue under `tmp_path`."""
    writers = {}
    for name in (CONTROL, TICKS, "signals"):
        make_queue(tmp_path, name, None)
        writers[name] = open_writer(tmp_path, name)

    def append(queue: str, events: list[Event]) -> None:
        writers[queue].append([encode_line(canonical.encode(item.to_json())) for item in events])

    yield append
    for writer in writers.values():
        writer.close()


def inputs_of(root: Path) -> Inputs:
    """Return fresh inputs over control, signals and ticks."""
    readers: dict[str, JournalReader] = {
        name: open_reader(root, name) for name in (CONTROL, "signals", TICKS)
    }
    return Inputs(readers, decode, KnownIds(), is_opened=False, tick_seq=0)


def taken(inputs: Inputs) -> list[tuple[str, int]]:
    """Process all inputs that are allowed now."""
    found = []
    while inputs.poll() and (one := inputs.next()) is not None:
        found.append((one.queue, one.seq))
    return found


def test_inputs_before_opening_take_nothing(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """Ticks before `run_opening` wait for it."""
    put(TICKS, [beat(1)])
    inputs = inputs_of(tmp_path)

    assert taken(inputs) == []
    put(CONTROL, [OPENING])
    assert taken(inputs) == [(CONTROL, 1), (TICKS, 1)]


def test_first_control_event_that_is_no_opening_stops(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A first control event other than `run_opening` stops the run."""
    put(CONTROL, [event(Halt(who="x", why="y"), 1, "halt")])
    inputs = inputs_of(tmp_path)

    with pytest.raises(IntegrityError, match="run_opening"):
        taken(inputs)


def test_event_of_a_later_tick_waits_for_that_tick(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A signal caused by tick 2 is processed after tick 2, though signals have priority."""
    put(CONTROL, [OPENING])
    put("signals", [event(Halt(who="x", why="y"), 1, "signal", tick_seq=2)])
    put(TICKS, [beat(1), beat(2), beat(3)])

    assert taken(inputs_of(tmp_path)) == [
        (CONTROL, 1),
        (TICKS, 1),
        (TICKS, 2),
        ("signals", 1),
        (TICKS, 3),
    ]


@pytest.mark.parametrize("queue", [CONTROL, "signals"])
@pytest.mark.parametrize("tick_seq", [4, 2**53 - 1])
def test_event_of_a_tick_that_nobody_published_stops(
    tmp_path: Path, put: Callable[[str, list[Event]], None], queue: str, tick_seq: int
) -> None:
    """An event of an unpublished tick stops the run; it would silence its queue for ever."""
    put(CONTROL, [OPENING])
    put(TICKS, [beat(1), beat(2), beat(3)])
    inputs = inputs_of(tmp_path)
    assert taken(inputs) == [(CONTROL, 1), (TICKS, 1), (TICKS, 2), (TICKS, 3)]
    put(queue, [event(Halt(who="x", why="y"), 1, "waits", tick_seq=tick_seq)])

    with pytest.raises(IntegrityError, match=f"{queue}:[12]: tick_seq") as refused:
        taken(inputs)
    assert refused.value.reason_code == SCHEMA_INVALID


def test_event_of_a_tick_published_since_the_last_look_waits_for_it(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """An event waits for a tick that was published before it, though no look has seen either."""
    put(CONTROL, [OPENING])
    put(TICKS, [beat(1)])
    put("signals", [event(Halt(who="x", why="y"), 1, "one", tick_seq=1)])
    inputs = inputs_of(tmp_path)
    inputs.poll()
    put(TICKS, [beat(2), beat(3)])
    put("signals", [event(Halt(who="x", why="y"), 1, "two", tick_seq=3)])

    assert taken(inputs) == [
        (CONTROL, 1),
        (TICKS, 1),
        ("signals", 1),
        (TICKS, 2),
        (TICKS, 3),
        ("signals", 2),
    ]


def test_known_id_is_marked_and_not_applied_twice(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A repeated event is logged and counted but not applied again (F30)."""
    put(CONTROL, [OPENING])
    put(TICKS, [beat(1), beat(1)])
    inputs = inputs_of(tmp_path)
    inputs.poll()

    marks = [one.is_known for one in iter(inputs.next, None)]
    assert marks == [False, False, True]


def test_positions_stand_behind_what_was_taken_not_behind_what_was_read(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """Positions follow processed lines, not read ones, so a restart meets the next line."""
    put(CONTROL, [OPENING])
    put(TICKS, [beat(n) for n in range(1, 6)])
    inputs = inputs_of(tmp_path)
    inputs.poll()
    inputs.next()
    inputs.next()
    inputs.next()

    again = open_reader(tmp_path, TICKS, inputs.positions[TICKS])
    assert [line.seq for line in again.read(10)] == [3, 4, 5]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(cuts=st.lists(st.integers(1, 9), min_size=1, max_size=6), late=st.integers(0, 50))
def test_logged_steps_give_back_what_was_taken_and_when(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], late: int
) -> None:
    """The log gives back the same lines, with a `now` that never goes back."""
    root = tmp_path_factory.mktemp("q")
    make_queue(root, TICKS, None)
    writer = open_writer(root, TICKS)
    total = sum(cuts)
    writer.append(
        [encode_line(canonical.encode(beat(n, ts=100 * n).to_json())) for n in range(total)]
    )
    writer.close()
    ranges, first = [], 1
    for cut in cuts:
        ranges.append(Ack("r", TICKS, first, first + cut - 1, first, 100 * first + late))
        first += cut

    steps = list(
        logged_steps(
            iter(ranges), lambda q: LineSource(open_reader(root, q)), decode, KnownIds(), Now()
        )
    )

    assert [step.taken.seq for step in steps] == list(range(1, total + 1))
    assert [step.n for step in steps] == list(range(1, total + 1))
    assert all(one.now <= two.now for one, two in pairwise(steps))
    assert all(step.now >= step.taken.event.ts for step in steps)


@pytest.mark.parametrize(
    "ack", [Ack("r", TICKS, 1, 2, 2, 1), Ack("r", TICKS, 1, 9, 1, 1), Ack("r", TICKS, 2, 3, 1, 1)]
)
def test_order_log_that_does_not_fit_its_queue_stops(
    tmp_path: Path, put: Callable[[str, list[Event]], None], ack: Ack
) -> None:
    """A log with a hole, a missing line or a skipped line is a STOP."""
    put(TICKS, [beat(1), beat(2), beat(3)])

    with pytest.raises(IntegrityError):
        list(
            logged_steps(
                iter([ack]),
                lambda q: LineSource(open_reader(tmp_path, q)),
                decode,
                KnownIds(),
                Now(),
            )
        )


def test_finish_resolves_earlier_drafts_and_refuses_later_ones() -> None:
    """A draft may refer to an earlier draft of its step, never to itself or a later one."""
    cause = beat(1)
    good = [Draft("a", Halt("x", "y"), 1, (cause.id,)), Draft("b", Halt("x", "y"), 1, (0,))]
    events = finalize_drafts(good, cause, run_id=RUN, role="r", cmdline_hash=HASH)

    assert events[1][1].cause_ids == (events[0][1].id,)
    assert len({item.id for _, item in events}) == 2
    for bad in ((1,), (0,), (-1,), ()):
        with pytest.raises(InvariantError):
            finalize_drafts(
                [Draft("a", Halt("x", "y"), 1, bad)],
                cause,
                run_id=RUN,
                role="r",
                cmdline_hash=HASH,
            )


@pytest.mark.row("F30", "F31")
@pytest.mark.fault(
    "F30",
    by="an id seen before, over a snapshot",
    ends="SURVIVE: the second is dropped and counted",
)
@pytest.mark.fault("F31", by="a known id with another content", ends="STOP(EVENT_ID_CONFLICT)")
def test_known_id_with_another_content_is_a_conflict() -> None:
    """A repeated id with the same content is dropped; with other content it is a conflict."""
    known = KnownIds()
    assert known.admit("q", "one", b'{"a":1}')
    for again in (known, KnownIds(known.state())):
        assert not again.admit("q", "one", b'{"a":1}')
        assert again.admit("elsewhere", "one", b'{"a":2}')
        with pytest.raises(IntegrityError) as caught:
            again.admit("q", "one", b'{"a":2}')
        assert caught.value.reason_code == "EVENT_ID_CONFLICT"
        assert caught.value.expected != caught.value.found


def test_known_ids_forget_only_what_is_far_back() -> None:
    """Known ids keep their order across a snapshot and forget only old ones."""
    known = KnownIds()
    assert known.admit("q", "one", b"{1}")
    assert not known.admit("q", "one", b"{1}")
    assert known.admit("other", "one", b"{2}")

    again = KnownIds(known.state())
    assert not again.admit("q", "one", b"{1}")
    assert again.admit("q", "two", b"{1}")
    for number in range(KNOWN_IDS_MAX):
        assert again.admit("q", str(number), b"{3}")
    assert not again.admit("q", "0", b"{3}")
    assert again.admit("q", "one", b"{4}")


class Decoding:
    """Decoder without validation that counts lines and refuses those that a test names."""

    def __init__(self, refused: bytes = b"") -> None:
        self.count = 0
        self._refused = refused

    def __call__(self, queue: str, jsons: Sequence[bytes]) -> list[Event]:
        """Return the events of these lines."""
        if self._refused in jsons:
            raise ContractError("test", "SCHEMA_INVALID", queue)
        self.count += len(jsons)
        return [Event.from_json(canonical.decode(json)) for json in jsons]


def opened_inputs(root: Path, put: Callable[[str, list[Event]], None]) -> Inputs:
    """Return inputs that have processed the opening and one tick."""
    put(CONTROL, [OPENING])
    put(TICKS, [beat(1)])
    inputs = inputs_of(root)
    assert taken(inputs) == [(CONTROL, 1), (TICKS, 1)]
    return inputs


def write_above_head(root: Path, data: bytes) -> Path:
    """Write bytes beyond the published ticks, as a writer does before its sync."""
    path = root / TICKS / "inbox.jsonl"
    with path.open("ab") as file:
        file.write(data)
    return path


def test_prepared_line_is_taken_once_it_is_published_and_not_before(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A line decoded ahead is hidden until published, then handed out once."""
    inputs, decoding = opened_inputs(tmp_path, put), Decoding()
    size = (tmp_path / TICKS / "inbox.jsonl").stat().st_size
    lines = [encode_line(canonical.encode(beat(n).to_json())) for n in (2, 3)]
    path = write_above_head(tmp_path, b"".join(lines))

    assert inputs.prepare(TICKS, decoding)
    assert not inputs.prepare(TICKS, decoding)  # Nothing new yet.
    assert not inputs.has_news(TICKS)
    assert taken(inputs) == []
    assert inputs.positions[TICKS].seq == 1

    os.truncate(path, size)  # For the writer, which makes the same lines.
    put(TICKS, [beat(2), beat(3)])
    assert inputs.has_news(TICKS)
    inputs.poll()
    found = [inputs.next(), inputs.next()]
    assert [one.event for one in found if one] == [beat(2), beat(3)]
    assert decoding.count == 2


def test_prepared_line_that_is_cut_off_is_never_taken(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A line decoded ahead and lost in a crash is never processed; its replacement is."""
    inputs = opened_inputs(tmp_path, put)
    size = (tmp_path / TICKS / "inbox.jsonl").stat().st_size
    path = write_above_head(tmp_path, encode_line(canonical.encode(beat(2).to_json())))
    assert inputs.prepare(TICKS, Decoding())

    os.truncate(path, size)
    put(TICKS, [beat(5), beat(2)])
    inputs.poll()
    found = [inputs.next(), inputs.next(), inputs.next()]
    assert [one and one.event for one in found] == [beat(5), beat(2), None]


@pytest.mark.parametrize("rest", [b"sha256:", b"x" * 200 + b"\n", b"\n", b"\n\n\n"])
def test_torn_or_foreign_rest_above_the_head_is_nothing_to_prepare(
    tmp_path: Path, put: Callable[[str, list[Event]], None], rest: bytes
) -> None:
    """A torn line beyond the head is neither an error nor an event."""
    inputs = opened_inputs(tmp_path, put)
    write_above_head(tmp_path, rest)

    assert not inputs.prepare(TICKS, Decoding())
    assert taken(inputs) == []


def test_line_that_is_refused_while_it_is_synced_leaves_no_trace(
    tmp_path: Path, put: Callable[[str, list[Event]], None]
) -> None:
    """A refused line decoded ahead raises only after publication, with its place."""
    inputs = opened_inputs(tmp_path, put)
    json = canonical.encode(beat(2).to_json())
    write_above_head(tmp_path, encode_line(json))

    assert not inputs.prepare(TICKS, Decoding(refused=json))
    assert taken(inputs) == []
