"""Hash graph: one changed byte names its event and every dependent one."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.kernel.line import decode_line, encode_line
from minibot.replay.graph.graph_books import graph_lines, graph_of
from tests.replay.damaged import Edit, add, copy_of, flip, forge, put, respell, unlog
from tests.replay.forged import cut
from tests.runs import ShortRun, raw_events, verb

IDS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
DERIVED = ("signals", "risk_actions", "order_intents", "order_results", "fills")


def caused_by(run: ShortRun, root_id: str) -> set[str]:
    """Return the places of all events that go back to one, from the recorded causes alone."""
    reached, places = {root_id}, set()
    for queue in DERIVED:
        for seq, event in enumerate(raw_events(run.run_dir, queue), 1):
            if event["id"] not in reached and reached & set(event["payload"]["cause_ids"]):
                reached.add(event["id"])
                places.add(f"{queue}:{seq}")
    return places


def changed(run_dir: Path) -> dict[str, set[str]]:
    """Return, by place of a changed node, the places of all dependent nodes."""
    graph = graph_of(Recorded.open(run_dir))
    return {
        change.node.place: {node.place for node in change.dependents}
        for change in graph.changes.values()
    }


def entry_fill(run: ShortRun) -> tuple[int, dict[str, Any]]:
    """Return number and event of the first purchase."""
    fills = enumerate(raw_events(run.run_dir, "fills"), 1)
    return next((n, event) for n, event in fills if event["payload"]["side"] == "BUY")


@pytest.mark.row("D-25")
def test_graph_of_a_run_as_it_was_written_holds_all_of_it_and_finds_nothing(
    short_run: ShortRun,
) -> None:
    """The graph of an intact run gives the same root twice and holds every derived node."""
    first, second = (graph_of(Recorded.open(short_run.run_dir)) for _ in range(2))

    assert first.root == second.root
    assert first.is_proven
    fills = raw_events(short_run.run_dir, "fills")
    counts = first.counts()
    assert counts["fill"] == len(fills)
    assert counts["lot"] == sum(event["payload"]["side"] == "BUY" for event in fills)
    assert counts["trade"] >= 1
    assert counts["hourly_state"] == 1


def untaken(run_dir: Path) -> str:
    """Return a derived queue whose last line no core had taken when the run ended."""
    recorded = Recorded.open(run_dir)
    taken = dict.fromkeys(DERIVED, 0)
    for name in recorded.roles.cores:
        for step in recorded.steps(recorded.roles.roles[name]):
            taken[step.taken.queue] = max(taken.get(step.taken.queue, 0), step.taken.seq)
    return next(queue for queue in DERIVED if len(raw_events(run_dir, queue)) > taken[queue])


@pytest.mark.row("D-25")
def test_graph_accepts_missing_last_decisions_of_a_stopped_run_alone(
    short_run: ShortRun, stopped_run: ShortRun, tmp_path: Path
) -> None:
    """A stopped run may lack its last decision, which is told; a run with a planned end may not."""
    stopped = copy_of(stopped_run, tmp_path / "stopped")
    ended = copy_of(short_run, tmp_path / "ended")
    queue = untaken(stopped)
    for run_dir, name in ((stopped, queue), (ended, "order_results")):
        cut(run_dir, name)
        (run_dir / "seal.json").unlink()

    stopped_graph = graph_of(Recorded.open(stopped))
    ended_graph = graph_of(Recorded.open(ended))

    assert stopped_graph.is_proven, graph_lines(stopped_graph)
    place = stopped_graph.unwritten[-1]
    assert place.startswith(f"{queue}:")
    assert any(place in line and "not written" in line for line in graph_lines(stopped_graph))
    assert not ended_graph.is_proven
    assert not ended_graph.unwritten
    assert any("is missing" in note for note in ended_graph.notes)


@pytest.mark.row("D-25")
@pytest.mark.parametrize(
    ("queue", "after"),
    [("signals", b'"score":'), ("order_intents", b'"qty":"'), ("fills", b'"price":"')],
)
def test_one_changed_byte_names_that_event_and_every_dependent_one(
    queue: str, after: bytes, short_run: ShortRun, tmp_path: Path
) -> None:
    """A changed byte names its event and, as computed here independently, its dependants."""
    copied = copy_of(short_run, tmp_path)
    _, fill = entry_fill(short_run)
    seq, event = next(
        (n, event)
        for n, event in enumerate(raw_events(short_run.run_dir, queue), 1)
        if event["id"] == fill["id"] or f"{queue}:{n}" in causes_of(short_run, fill)
    )
    flip(copied / "queues" / queue / "inbox.jsonl", seq, after)

    found = changed(copied)

    assert list(found) == [f"{queue}:{seq}"]
    dependents = found[f"{queue}:{seq}"]
    events = {place for place in dependents if place.partition(":")[0] in DERIVED}
    assert events == caused_by(short_run, event["id"])
    fill_n, _ = entry_fill(short_run)
    assert {f"lot:{fill_n}", f"entry:{fill_n}.cash:USDT", "trade:1", "hourly_state:1"} <= dependents


def causes_of(run: ShortRun, event: dict[str, Any]) -> set[str]:
    """Return the places of all derived events to which one goes back."""
    wanted, places = set(event["payload"]["cause_ids"]), set()
    for queue in reversed(DERIVED):
        for seq, found in enumerate(raw_events(run.run_dir, queue), 1):
            if found["id"] in wanted:
                wanted |= set(found["payload"]["cause_ids"])
                places.add(f"{queue}:{seq}")
    return places


@pytest.mark.row("D-25")
def test_changed_tick_is_named_with_the_fill_that_met_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A changed tick is named with the fill that it caused."""
    copied = copy_of(short_run, tmp_path)
    fill_n, fill = entry_fill(short_run)
    seq = fill["payload"]["tick_seq"]
    flip(copied / "queues/market_ticks/inbox.jsonl", seq, b'"bid":"')

    found = changed(copied)

    assert list(found) == [f"market_ticks:{seq}"]
    assert {f"fills:{fill_n}", f"lot:{fill_n}", "hourly_state:1"} <= found[f"market_ticks:{seq}"]


@pytest.mark.row("D-25")
@pytest.mark.parametrize("queue", ["risk_actions", "order_intents", "fills"])
def test_edit_with_every_hash_made_anew_is_still_named_and_nothing_that_follows_is(
    queue: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """An edit with new hashes is named; later decisions that differ are consequences."""
    copied = copy_of(short_run, tmp_path)

    def edit(event: dict[str, Any]) -> None:
        payload = event["payload"]
        if queue == "risk_actions":
            payload["reason_code"] = "COST_GATE".lower()
        elif queue == "order_intents":
            payload["qty"] = "0.00123"
        else:
            payload["price"] = "99999.11"

    forge(copied, queue, 2, edit)

    found = changed(copied)

    assert list(found) == [f"{queue}:2"]
    event_id = raw_events(short_run.run_dir, queue)[1]["id"]
    assert caused_by(short_run, event_id) <= found[f"{queue}:2"]


@pytest.mark.row("D-25")
@pytest.mark.campaign
@pytest.mark.parametrize("queue", DERIVED)
@pytest.mark.parametrize(
    "shape",
    [
        lambda event: event["payload"].update(x=None),
        lambda event: event["payload"].update(cause_ids=5),
        lambda event: event["payload"].update(tick_seq=[]),
        lambda event: event.update(payload="x"),
    ],
    ids=["null", "causes", "tick", "payload"],
)
def test_event_of_another_shape_is_named(
    queue: str, shape: Edit, short_run: ShortRun, tmp_path: Path
) -> None:
    """A field of null makes another event, and so does one that no contract knows."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, queue, 2, shape)

    assert list(changed(copied)) == [f"{queue}:2"]


@pytest.mark.row("D-25")
def test_books_end_at_a_fill_that_is_none(short_run: ShortRun, tmp_path: Path) -> None:
    """A fill that differs because of what was changed before it counts as it was recorded."""
    copied = copy_of(short_run, tmp_path)
    for queue in ("order_intents", "fills"):
        forge(copied, queue, 1, lambda event: event.update(payload="x"))

    graph = graph_of(Recorded.open(copied))

    assert [change.node.place for change in graph.changes.values()] == ["order_intents:1"]
    assert any(note.startswith("the books end here: SCHEMA_INVALID") for note in graph.notes)


@pytest.mark.row("D-25")
def test_event_that_cannot_be_read_is_named_with_what_depends_on_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A line whose JSON is not canonical counts under the recomputed event's id."""
    copied = copy_of(short_run, tmp_path)
    number, fill = entry_fill(short_run)
    respell(copied, "fills", number, b'"price":', b'"price": ')

    found = changed(copied)

    assert list(found) == [f"fills:{number}"]
    assert f"lot:{number}" in found[f"fills:{number}"]
    assert caused_by(short_run, fill["id"]) <= found[f"fills:{number}"]


@pytest.mark.row("D-25", "D-52")
def test_changed_hourly_state_is_named_and_no_event(short_run: ShortRun, tmp_path: Path) -> None:
    """A changed hourly state is named alone, as the last node of the graph."""
    copied = copy_of(short_run, tmp_path)
    flip(copied / "hourly_state.jsonl", 1, b'"closing":"')

    assert changed(copied) == {"hourly_state:1": set()}


@pytest.mark.row("D-25", "D-52")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"trades":', b'"trades": '),
        (b'"v":1', b'"v":true'),
        (b'"v":1', b'"v":1,"w":null'),
    ],
)
def test_hourly_state_of_other_bytes_is_named(
    old: bytes, new: bytes, short_run: ShortRun, tmp_path: Path
) -> None:
    """A state written otherwise, its hash and the seal in order, is a changed one."""
    copied = copy_of(short_run, tmp_path)
    path = copied / "hourly_state.jsonl"
    data = decode_line(path.read_bytes())[1]
    assert old in data
    put(path, [encode_line(data.replace(old, new))], copied)

    assert changed(copied) == {"hourly_state:1": set()}


@pytest.mark.row("D-25")
def test_graph_verb_exits_1_on_a_change_and_0_without(short_run: ShortRun, tmp_path: Path) -> None:
    """The graph verb exits 1 on a change, with place, both values and dependants."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, "fills", 1, lambda event: event["payload"].update(price="99999.11"))

    good = verb(short_run.var, "replay", "--graph")
    bad = verb(tmp_path, "replay", str(copied), "--graph")

    assert (good.code, bad.code) == (0, 1)
    assert "nothing was changed" in good.out
    assert "changed: fills:1 (fill " in bad.out
    assert "recorded '99999.11'" in bad.out
    assert "hourly_state:1" in bad.out
    assert verb(tmp_path, "replay", str(copied), "--graph", "--json").document["changed"]


@pytest.mark.row("D-25")
def test_graph_verb_says_of_damage_beside_the_events_that_it_is_there(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Damage beside the graph's events, as in an acknowledgement, is reported."""
    copied = copy_of(short_run, tmp_path)
    flip(copied / "queues" / "signals" / "acks.jsonl", 2, b'"took_us":')

    done = verb(tmp_path, "replay", str(copied), "--graph")

    assert done.code == 1
    assert "acks.jsonl is not what was sealed" in done.out
    assert "no event was changed" in done.out
    assert "nothing was changed" not in done.out


@pytest.mark.row("D-25")
@pytest.mark.campaign
@pytest.mark.parametrize("queue", DERIVED)
def test_event_that_was_added_with_every_hash_in_order_is_named(
    queue: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """An event that no core derived is named, and the books are kept without it."""
    copied = copy_of(short_run, tmp_path)
    event = raw_events(copied, queue)[1]
    identifier = str(UUID(int=UUID(event["id"]).int ^ 1))
    number = add(copied, queue, event | {"id": identifier})

    found = changed(copied)

    assert list(found) == [f"{queue}:{number}"]
    assert verb(tmp_path, "replay", str(copied), "--graph").code == 1


@pytest.mark.row("D-25", "D-52")
@pytest.mark.parametrize("more", [-1, 1])
def test_hourly_state_that_was_added_or_removed_is_told(
    more: int, short_run: ShortRun, tmp_path: Path
) -> None:
    """Hourly states are as many as the hours that the fills give, whatever seal and hashes say."""
    copied = copy_of(short_run, tmp_path)
    path = copied / "hourly_state.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    put(path, lines[:-1] if more < 0 else [*lines, lines[-1]], copied)

    graph = graph_of(Recorded.open(copied))

    assert not graph.is_proven
    assert any(
        note.startswith(f"hourly_state.jsonl has {len(lines) + more}") for note in graph.notes
    )


@pytest.mark.row("D-25")
def test_added_events_that_name_each_other_as_causes_are_named(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """No input leads to two added events, also where each is the cause of the other."""
    copied = copy_of(short_run, tmp_path)
    places = set()
    for queue, own, other in (("signals", IDS[0], IDS[1]), ("risk_actions", IDS[1], IDS[0])):
        event = raw_events(copied, queue)[0] | {"id": own}
        event["payload"]["cause_ids"] = [other]
        places.add(f"{queue}:{add(copied, queue, event)}")

    assert set(changed(copied)) == places


@pytest.mark.row("D-25")
def test_events_behind_the_last_logged_input_of_a_stopped_run_are_no_change(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """An event that follows from an input which was no longer logged is unproven, not added."""
    copied = copy_of(stopped_run, tmp_path)
    last = raw_events(copied, "signals")[-1]["payload"]["tick_seq"]
    unlog(copied, "market_ticks", last)

    replayed = verb(tmp_path, "replay", str(copied), "--json").document
    graph = graph_of(Recorded.open(copied))

    assert any(role["unproven"] for role in replayed["roles"])
    assert graph.is_proven, graph_lines(graph)


@pytest.mark.row("D-25", "D-52")
@pytest.mark.parametrize(("is_sealed", "is_proven"), [(True, False), (False, True)])
def test_hourly_states_may_be_fewer_only_until_a_stopped_run_is_sealed(
    is_sealed: bool, is_proven: bool, stopped_run: ShortRun, tmp_path: Path
) -> None:
    """A run that still goes has yet to write the state of its last hour."""
    copied = copy_of(stopped_run, tmp_path)
    put(copied / "hourly_state.jsonl", [], copied)
    if not is_sealed:
        (copied / "seal.json").unlink()

    assert graph_of(Recorded.open(copied)).is_proven is is_proven


@pytest.mark.parametrize("queue", ["risk_actions", "control"])
def test_graph_of_a_run_that_lost_a_file_shows_the_rest_of_it(
    queue: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """`replay` names the graph as a remedy: a lost file of a queue is told, and ends no graph."""
    copied = copy_of(short_run, tmp_path)
    (copied / "queues" / queue / "inbox.jsonl").unlink()

    done = verb(tmp_path, "replay", str(copied), "--graph")

    assert (done.code, done.err) == (1, "")
    assert f"{queue}/inbox.jsonl, offset 0: the segment is missing" in done.out
    assert " fill" in done.out.splitlines()[0]
    assert "no event was changed, as far as events were recomputed" in done.out


@pytest.mark.parametrize("is_lost", [False, True])
def test_graph_blames_no_hourly_state_for_the_lost_end_of_the_market(
    short_run: ShortRun, tmp_path: Path, *, is_lost: bool
) -> None:
    """The last hour goes up to the last market event: without that one it cannot be recomputed."""
    copied = copy_of(short_run, tmp_path)
    ticks = copied / "queues/market_ticks/inbox.jsonl"
    if is_lost:
        ticks.unlink()
    else:
        flip(ticks, len(raw_events(short_run.run_dir, "market_ticks")), b'"ts":')

    graph = graph_of(Recorded.open(copied))

    assert "hourly_state:1" not in graph.changes
    assert (
        "hourly_state:1 is not compared: the end of market_ticks, up to which it goes, is damaged"
        in graph.notes
    )
