"""Run with one changed byte: everything before it is answered as in the whole run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.intact_prefix import IntactReader
from minibot.kernel.errors import IntegrityError
from minibot.kernel.journal import JournalReader, JournalWriter
from minibot.kernel.line import encode_line
from minibot.kernel.lock import WriterLock
from minibot.kernel.position import ZERO
from tests.replay.damaged import copy_of, flip, forge
from tests.runs import Completed, ShortRun, raw_events, verb
from tools.golden.fixture import golden_runs

pytestmark = pytest.mark.campaign

QUEUES = (
    "market_ticks",
    "signals",
    "risk_actions",
    "order_intents",
    "order_results",
    "fills",
    "control",
)
Spoil = Callable[[ShortRun, str, Path], tuple[Path, int, int]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ShortRun:
    """Recorded run with restarts, always the same, so that its times are known."""
    golden = next(one for one in golden_runs() if one.name == "crash_run")
    var = tmp_path_factory.mktemp("golden")
    return ShortRun(var, golden.unpack(var), Completed(0, "", ""))


def damaged(run: ShortRun, queue: str, target: Path) -> tuple[Path, int, int]:
    """Return a copy with one changed byte in the middle of a queue.

    The result is its folder, the damaged line, and the time of the oldest event from there on.
    """
    copied, (line, ts) = copy_of(run, target), middle(run, queue)
    flip(copied / f"queues/{queue}/inbox.jsonl", line, b'"ts":')
    return copied, line, ts


def broken(run: ShortRun, queue: str, target: Path) -> tuple[Path, int, int]:
    """Return as `damaged` a copy in which that line is whole, but breaks its contract."""
    copied, (line, ts) = copy_of(run, target), middle(run, queue)
    forge(copied, queue, line, lambda event: event.update(payload={}))
    return copied, line, ts


def middle(run: ShortRun, queue: str) -> tuple[int, int]:
    """Return the line in the middle of a queue, and the time of the oldest event from there on."""
    events = raw_events(run.run_dir, queue)
    line = len(events) // 2 + 1
    return line, min(event["ts"] for event in events[line - 1 :])


def clock(ts: int) -> str:
    """Return the second of a time, as an operator types it."""
    return f"{datetime.fromtimestamp(ts // 1000, UTC):%H:%M:%S}"


def told(document: dict[str, Any]) -> list[Any]:
    """Return the market, holdings and events of a second."""
    return [document["symbols"], document["cash"], document["events"]]


@pytest.mark.parametrize("spoil", [damaged, broken])
@pytest.mark.parametrize("queue", QUEUES)
def test_second_before_a_spoiled_line_is_answered_as_of_the_whole_run(
    spoil: Spoil, queue: str, run: ShortRun, tmp_path: Path
) -> None:
    """The last whole second before a changed byte, or a broken contract, is answered as ever."""
    copied, _, ts = spoil(run, queue, tmp_path)
    before = clock(ts - 1000)

    done = verb(tmp_path, "explain", str(copied), "--at", before, "--json")
    whole = verb(tmp_path, "explain", str(run.run_dir), "--at", before, "--json")

    assert done.code == 0, done.err
    assert told(done.document) == told(whole.document)


@pytest.mark.parametrize(
    ("spoil", "queue", "end"),
    [
        *((damaged, queue, ", ") for queue in QUEUES),
        *((broken, queue, ": ") for queue in QUEUES[1:]),
    ],
)
def test_second_of_a_spoiled_line_is_refused_with_its_line_and_what_can_be_done(
    spoil: Spoil, queue: str, end: str, run: ShortRun, tmp_path: Path
) -> None:
    """From a changed byte or a broken contract on, seconds are refused with line and remedy."""
    copied, line, ts = spoil(run, queue, tmp_path)

    for asked in (clock(ts), clock(ts + 1000)):
        done = verb(tmp_path, "explain", str(copied), "--at", asked)

        assert done.code == 1
        assert done.out == ""
        assert f"{queue}/inbox.jsonl, line {line}{end}" in done.err
        assert f"minibot verify {copied}; up to when it can be proven: minibot replay" in done.err


def test_replay_of_a_run_that_was_cut_in_its_opening_proves_nothing_and_says_so(
    run: ShortRun, tmp_path: Path
) -> None:
    """The verb that all others name for what can be proven answers, here that nothing can."""
    copied = copy_of(run, tmp_path)
    control = copied / "queues/control/inbox.jsonl"
    lines = control.read_bytes().splitlines(keepends=True)
    control.write_bytes(lines[0])

    done = verb(tmp_path, "replay", str(copied))

    assert len(lines) > 1
    assert (done.code, done.err) == (1, "")
    assert "0 inputs replayed" in done.out
    assert "control/inbox.jsonl, offset 0: ends below the head" in done.out
    assert "NOT PROVEN beyond" in done.out


@pytest.mark.parametrize("queue", ["risk_actions", "order_results"])
def test_first_difference_of_a_run_that_lost_a_queue_is_its_first_event(
    queue: str, run: ShortRun, tmp_path: Path
) -> None:
    """Not the line of another queue that follows it and is equal."""
    copied = copy_of(run, tmp_path)
    for name in ("inbox.jsonl", "inbox.head"):
        (copied / "queues" / queue / name).unlink()

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    assert f"first difference: {queue}:1, input " in done.out
    assert "derived, and no line is left for it: " in done.out
    assert "null in one" not in done.out
    assert "last logged range" not in done.out


def test_second_of_a_run_whose_last_tick_breaks_its_contract_is_answered(
    run: ShortRun, tmp_path: Path
) -> None:
    """Such a tick ends the run, and hides none of its seconds."""
    copied = copy_of(run, tmp_path)
    ticks = raw_events(run.run_dir, "market_ticks")
    forge(copied, "market_ticks", len(ticks), lambda event: event.update(payload={}))

    done = verb(tmp_path, "explain", str(copied), "--at", clock(ticks[len(ticks) // 2]["ts"]))

    assert done.code == 0, done.err


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("queue", ["signals", "risk_actions", "fills"])
def test_stop_behind_a_damaged_line_of_another_queue_is_told(
    queue: str, stopped_run: ShortRun, tmp_path: Path, *, is_whole: bool
) -> None:
    """Such a line is often why the run was stopped; what may be missing is said."""
    copied = copy_of(stopped_run, tmp_path)
    line = len(raw_events(copied, queue))
    if is_whole:
        forge(copied, queue, line, lambda event: event.update(payload={}))
    else:
        flip(copied / f"queues/{queue}/inbox.jsonl", line, b'"ts":')

    done = verb(tmp_path, "explain", str(copied), "--stop", "--json")
    whole = verb(tmp_path, "explain", str(stopped_run.run_dir), "--stop", "--json")

    assert done.code == 0, done.err
    assert done.document["subject"] == whole.document["subject"]
    begin = f"{queue} is damaged (inbox.jsonl, line {line}): "
    assert any(note.startswith(begin) for note in done.document["notes"])


def test_end_is_refused_where_the_stops_themselves_are_damaged(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Behind a changed byte of `stop_journal` may stand an earlier STOP of another role."""
    copied = copy_of(stopped_run, tmp_path)
    flip(copied / "queues/stop_journal/inbox.jsonl", 1, b'"ts":')

    done = verb(tmp_path, "explain", str(copied), "--stop")

    assert done.code == 1
    assert "stop_journal/inbox.jsonl, line 1" in done.err


def test_silence_of_execution_is_not_told_where_its_own_lines_end_early(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Behind a line of execution that breaks its contract may stand what it wrote later."""
    copied = copy_of(stopped_run, tmp_path)
    forge(copied, "order_results", 1, lambda event: event.update(payload={}))

    done = verb(tmp_path, "explain", str(copied), "--stop", "--json")

    assert done.code == 0, done.err
    assert not any("nothing that execution wrote" in note for note in done.document["notes"])


def test_replay_has_a_verdict_where_a_stop_breaks_its_contract(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Such a line of `stop_journal` counts as a STOP, and the proof goes on."""
    copied = copy_of(stopped_run, tmp_path)
    parts = copied / "queues/stop_journal/parts"
    role = next(path.stem for path in sorted(parts.glob("*_role.jsonl")) if path.stat().st_size)
    forge(copied, "stop_journal/parts", 1, lambda event: event.update(payload={}), role)

    done = verb(tmp_path, "replay", str(copied))

    assert done.out.splitlines()[-1].startswith(f"replay {stopped_run.run_id}: "), done.err


@pytest.mark.parametrize("queue", QUEUES)
def test_replay_comes_to_the_tick_that_the_damaged_line_follows(
    queue: str, run: ShortRun, tmp_path: Path
) -> None:
    """A replay reaches the tick before the damaged line, not only its chunk."""
    copied, line, _ = damaged(run, queue, tmp_path)
    ticks = raw_events(run.run_dir, "market_ticks")
    payload = raw_events(run.run_dir, queue)[line - 1]["payload"]
    tick_seq = line - 1 if queue == "market_ticks" else payload.get("tick_seq", 1)

    proof = verb(tmp_path, "replay", str(copied), "--json").document
    lines = verb(tmp_path, "replay", str(copied)).out.splitlines()

    assert proof["broken"]["proven_until_ms"] >= ticks[tick_seq - 1]["ts"]
    assert f"line {line}, " in proof["broken"]["detail"]
    until = next(each for each in lines if "--until " in each).rpartition(" --until ")[2]
    assert verb(tmp_path, "replay", str(copied), "--until", until).code == 0


@pytest.mark.parametrize("queue", ["signals", "risk_actions", "fills"])
def test_refusals_before_a_changed_byte_are_counted_as_of_the_whole_run(
    queue: str, run: ShortRun, tmp_path: Path
) -> None:
    """Refusals before the damage are counted as in the whole run."""
    copied, line, ts = damaged(run, queue, tmp_path)
    words = ("--why-not", "BUY", "--json", "--to")

    done = verb(tmp_path, "explain", str(copied), *words, clock(ts))
    whole = verb(tmp_path, "explain", str(run.run_dir), *words, clock(ts))
    beyond = verb(tmp_path, "explain", str(copied), *words, clock(ts + 2000))

    assert done.code == 0, done.err
    assert done.document == whole.document
    assert beyond.code == 1
    assert f"{queue}/inbox.jsonl, line {line}, " in beyond.err


def test_trade_before_a_damaged_fill_is_told_and_what_may_be_missing_is_said(
    run: ShortRun, tmp_path: Path
) -> None:
    """A trade before a damaged fill has the same steps, and the missing part is mentioned."""
    copied, _, _ = damaged(run, "fills", tmp_path)

    done = verb(tmp_path, "explain", str(copied), "--trade", "1", "--json")
    whole = verb(tmp_path, "explain", str(run.run_dir), "--trade", "1", "--json")

    assert done.code == 0, done.err
    places = [step["place"] for step in done.document["steps"]]
    assert places == [step["place"] for step in whole.document["steps"]]
    notes = done.document["notes"]
    assert any(note.startswith("fills is damaged (inbox.jsonl, line ") for note in notes)
    assert not any("hourly state" in note for s in done.document["steps"] for note in s["notes"])
    last = raw_events(run.run_dir, "fills")[-1]["id"]
    for words in ((), ("--fill", last), ("--trade", "99"), ("--lot", "99")):
        refused = verb(tmp_path, "explain", str(copied), *words)
        assert refused.code == 1, words
        assert "fills/inbox.jsonl, line " in refused.err


def test_fill_behind_a_damaged_signal_is_refused(run: ShortRun, tmp_path: Path) -> None:
    """A whole fill behind a damaged signal is refused, as its cause cannot be shown."""
    copied, line, _ = damaged(run, "signals", tmp_path)
    fills = raw_events(run.run_dir, "fills")

    first = verb(tmp_path, "explain", str(copied), "--fill", fills[0]["id"])
    last = verb(tmp_path, "explain", str(copied), "--fill", fills[-1]["id"])

    assert first.code == 0, first.err
    assert last.code == 1
    assert f"signals/inbox.jsonl, line {line}, " in last.err


def test_verify_of_a_changed_byte_tells_its_consequences_from_findings_of_their_own(
    run: ShortRun, tmp_path: Path
) -> None:
    """Verify separates damage from its consequences: a cause behind the damage is not found."""
    copied, _, _ = damaged(run, "signals", tmp_path)

    lines = verb(tmp_path, "verify", str(copied)).out.splitlines()

    lacking = [line for line in lines if "expected cause " in line]
    assert lacking
    why = "; it may come after the damage in signals, which is not read"
    assert all(line.endswith(why) for line in lacking)


# --- the reader -----------------------------------------------------------------------------------


def journal(folder: Path) -> int:
    """Write a journal of three segments; return its number of lines."""
    lock = WriterLock(folder / "writer.lock")
    writer = JournalWriter(folder, "inbox", lock=lock, sync=False, segment_bytes=1000)
    for n in range(1, 26):
        writer.append([encode_line(b'{"n":%d}' % n)])
    writer.close()
    lock.close()
    assert len(list(folder.glob("inbox.0*.jsonl"))) >= 2
    return 25


def read_all(reader: JournalReader, at_once: int) -> list[bytes]:
    """Return every line up to the damage; the reader raises again on a second call."""
    found: list[bytes] = []
    met: IntegrityError | None = None
    while met is None:
        try:
            lines = reader.read(at_once)
        except IntegrityError as error:
            met = error
            break
        found += [line.json for line in lines]
        assert lines, "it came to the end without meeting the damage"
        assert reader.position.seq == lines[-1].seq == len(found)
    with pytest.raises(IntegrityError) as again:
        reader.look(1)
    assert again.value is met
    return found


@pytest.mark.parametrize("at_once", [1, 4, 1024])
def test_reader_hands_out_every_line_before_a_damaged_one_and_none_behind(
    at_once: int, tmp_path: Path
) -> None:
    """The reader hands out every line before a damaged one and none behind it."""
    lines = journal(tmp_path)
    for damaged_line in range(1, lines + 1):
        text = b'"n":%d}' % damaged_line
        path = next(each for each in tmp_path.glob("inbox*.jsonl") if text in each.read_bytes())
        whole = path.read_bytes()
        path.write_bytes(whole.replace(text, text.replace(b"n", b"m")))

        found = read_all(IntactReader(tmp_path, "inbox"), at_once)

        assert found == [b'{"n":%d}' % n for n in range(1, damaged_line)]
        path.write_bytes(whole)


def test_reader_of_a_whole_journal_is_its_base(tmp_path: Path) -> None:
    """The reader of a whole journal equals its base, from the beginning and the middle."""
    journal(tmp_path)
    base = JournalReader(tmp_path, "inbox")
    base.read(7)
    middle = base.position

    for start in (ZERO, middle):
        one, other = (
            JournalReader(tmp_path, "inbox", start),
            IntactReader(tmp_path, "inbox", start),
        )
        while lines := one.read(3):
            assert other.read(3) == lines
            assert other.position == one.position
        assert other.read(3) == []


def test_reader_hands_out_nothing_of_a_chunk_whose_chain_leads_elsewhere(
    run: ShortRun, tmp_path: Path
) -> None:
    """A chunk whose chain leads elsewhere is withheld, as the forged line is unknown."""
    copied = copy_of(run, tmp_path)
    folder = copied / "queues/fills"
    head = (folder / "inbox.head").read_bytes()
    forge(copied, "fills", 2, lambda event: event["payload"].update(qty="9.00000000"))
    (folder / "inbox.head").write_bytes(head)

    assert read_all(IntactReader(folder, "inbox"), 1) == []
