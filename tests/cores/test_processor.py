"""Processor: one input at a time, the same in every way of feeding a core."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from minibot.cores.input_order import LineSource, Taken
from minibot.cores.messages import FillMessage, Message
from minibot.cores.processor import Processor
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.ids import derive_id
from minibot.events.model import Ack, Beat, Event, Fill, JsonObject, RunOpening
from minibot.events.names import CONTROL, TICKS
from minibot.events.reasons import SCHEMA_INVALID
from minibot.kernel import canonical
from minibot.kernel.errors import IntegrityError, InvariantError
from minibot.kernel.journal import ZERO, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import make_queue, open_reader, open_writer

RUN, ROLE, HASH = "20260101_000000", "execution_role", "0" * 64


class Echo(Core):
    """Core that answers each input with a fill caused by it, and records its inputs."""

    def __init__(self) -> None:
        self.given: list[tuple[Input, int, int]] = []

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Answer with a fill."""
        self.given.append((item, seq, now))
        fill = Fill("o", "c", "BTCUSDT", "BUY", "1", "1", "0", "USDT", "TAKER")
        message = FillMessage.of(fill, Event(now, "cause", "x", RUN, HASH, fill))
        message.cause = message.ref()
        return [message]

    def state(self) -> JsonObject:
        """Return no state."""
        return {}


def taken(seq: int, queue: str = TICKS, *, is_known: bool = False) -> Taken:
    """Return an input."""
    event = Event(seq, f"event-{seq}", "market_role", RUN, HASH, Beat(seq, {}))
    return Taken(queue, Line(seq, 0, b""), event, is_known)


def processor() -> Processor:
    """Return a processor that reads ticks alone."""
    return Processor(Echo(), (TICKS,), run_id=RUN, role=ROLE, cmdline_hash=HASH)


def test_repeat_and_line_of_another_queue_are_not_admitted() -> None:
    """A repeat and a line of an unread queue never reach the core; only the repeat is counted."""
    made = processor()
    admitted = [made.admit(taken(1)), made.admit(taken(2, is_known=True))]
    admitted.append(made.admit(taken(9, CONTROL)))

    assert admitted == [True, False, False]
    assert (made.dup_dropped, made.tick_seq, made.is_opened) == (1, 2, True)


def opening(seq: int, *, is_known: bool = False) -> Taken:
    """Return a `run_opening` as an input."""
    payload = RunOpening({"USDT": "10000"}, (), {})
    event = Event(seq, f"opening-{seq}", "watchdog_role", RUN, HASH, payload)
    return Taken(CONTROL, Line(seq, 0, b""), event, is_known)


def test_second_run_opening_is_refused_and_a_repeat_of_the_first_is_dropped() -> None:
    """A run is opened once: a core that is opened again would forget what it holds."""
    made = Processor(Echo(), (CONTROL, TICKS), run_id=RUN, role=ROLE, cmdline_hash=HASH)
    admitted = [made.admit(opening(1)), made.admit(opening(2, is_known=True))]
    made.admit(taken(1))

    assert admitted == [True, False]
    with pytest.raises(IntegrityError, match="control:3") as refused:
        made.admit(opening(3))
    assert refused.value.reason_code == SCHEMA_INVALID


@pytest.mark.parametrize(("control_seq", "is_opened"), [(0, False), (1, True)])
def test_opening_behind_a_snapshot_is_the_first_where_nothing_was_read(
    control_seq: int, is_opened: bool
) -> None:
    """A snapshot of a role that read nothing, but logged a line of `stop_journal`, opens none."""
    made = Processor(Echo(), (CONTROL,), run_id=RUN, role=ROLE, cmdline_hash=HASH)
    made.admit(taken(1, "stop_journal/parts/watchdog_role"))
    made.taken = 1
    before = made.is_opened
    made.restore(made.state(ZERO, {CONTROL: ZERO._replace(seq=control_seq)}))

    assert (before, made.is_opened) == (False, is_opened)


def test_last_logged_line_counts_even_if_it_is_left_out(tmp_path: Path) -> None:
    """A restart behind a line that a dead letter names goes on with the next number and tick."""
    make_queue(tmp_path, TICKS, None)
    events = [taken(n).event for n in (1, 2, 3)]
    with closing(open_writer(tmp_path, TICKS)) as writer:
        writer.append([encode_line(canonical.encode(event.to_json())) for event in events])
    made = processor()
    ranges = [Ack(ROLE, TICKS, 1, 1, 1, 1), Ack(ROLE, TICKS, 2, 3, 2, 1)]

    steps = made.logged(
        iter(ranges),
        lambda queue: LineSource(open_reader(tmp_path, queue)),
        lambda queue, line: Event.from_json(canonical.decode(line.json)),
        skip=lambda queue, seq: seq == 3,
        decode_many=lambda queue, jsons: None,
    )
    seqs = [step.taken.seq for step, _ in steps]

    assert seqs == [1, 2]
    assert (made.taken, made.tick_seq) == (3, 3)


def test_what_a_core_says_becomes_events_of_its_role_with_derived_ids() -> None:
    """A core's messages become events of its role with derived ids, live and in replay."""
    made = processor()
    given = taken(5)

    ((queue, event),) = made.process(given, 70)

    assert isinstance(made.core, Echo)
    assert made.core.given == [(given.event, 5, 70)]
    assert queue == "fills"
    assert event.id == derive_id(RUN, ROLE, given.event.id, 0)
    assert (event.source, event.run_id, event.cmdline_hash) == (ROLE, RUN, HASH)


def test_place_comes_back_from_a_snapshot() -> None:
    """A snapshot restores the reading positions and the known ids."""
    made = processor()
    made.admit(taken(3))
    made.taken, made.now.value = 4, 99
    made.known.admit(TICKS, "event-3", b"{}")
    state = made.state(ZERO, {TICKS: ZERO._replace(seq=3)})

    again = processor()
    again.restore(state)

    assert (again.taken, again.tick_seq, again.now.value, again.is_opened) == (4, 3, 99, True)
    assert again.inputs[TICKS].seq == 3
    assert not again.known.admit(TICKS, "event-3", b"{}")


def test_core_that_says_something_to_a_tick_it_called_quiet_is_found() -> None:
    """A message in answer to a tick that the core called quiet is found as a fault."""
    with pytest.raises(InvariantError, match="market_ticks:8: expected no message"):
        Echo().skip_to(ScaledTick("BTCUSDT"), 8, 1, True, True)
