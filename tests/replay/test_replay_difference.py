"""Differences between a replay and its record: the first event, field by field, exit 1."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from minibot.engine import role_replay
from minibot.engine.role_replay import Recorded, core_of, replay_role, replay_run
from minibot.kernel.journal import JournalReader
from minibot.replay.compare import describe
from tests.replay.damaged import copy_of, respell
from tests.replay.forged import Event, cut, edited, last_event
from tests.runs import ShortRun, verb


def last_seq(run: ShortRun, queue: str) -> int:
    """Return the number of a queue's last line."""
    return JournalReader(run.run_dir / "queues" / queue, "inbox").head().lines


@pytest.mark.row("N-02", "N-121", "S-50", "D-08")
def test_replay_of_a_run_twice_gives_the_same_digest_over_all_derived_queues(
    short_run: ShortRun,
) -> None:
    """Two replays of a run give the same digest over all derived queues."""
    first, second = replay_run(short_run.run_dir), replay_run(short_run.run_dir)

    assert first.is_identical
    assert first.digest == second.digest
    outputs = {queue: n for role in first.roles for queue, n in role.outputs.items()}
    assert set(outputs) == {"signals", "risk_actions", "order_intents", "order_results", "fills"}
    assert all(outputs.values())


def last_outputs(run_dir: Path, *queues: str) -> list[str]:
    """Return the queues whose last event has the causes of the last event of the first one.

    An order that the night's end or a slow machine overtakes ends without a fill.
    """
    last = {queue: last_event(run_dir, queue)["payload"]["cause_ids"] for queue in queues}
    return [queue for queue, causes in last.items() if causes == last[queues[0]]]


def price_up(event: Event) -> None:
    """Return a fill a cent dearer than recorded."""
    whole, _, cents = event["payload"]["price"].partition(".")
    event["payload"]["price"] = f"{int(whole) + 1}.{cents}"


def other_reason(event: Event) -> None:
    """Return a reason that the strategy did not give."""
    event["payload"]["reason"] += " or so"


@pytest.mark.row("N-02", "S-50")
@pytest.mark.parametrize(
    ("queue", "role", "field", "edit"),
    [
        ("fills", "execution_role", "payload.price", price_up),
        ("signals", "strategy_role", "payload.reason", other_reason),
    ],
)
def test_replay_of_an_edited_event_names_it_with_its_field_and_both_values(
    queue: str,
    role: str,
    field: str,
    edit: Callable[[Event], None],
    short_run: ShortRun,
    tmp_path: Path,
) -> None:
    """An edited event with all hashes in order is named with field and both values."""
    seq = last_seq(short_run, queue)
    copied = edited(short_run, tmp_path, queue, seq, edit)

    result = replay_role(Recorded.open(copied), role)

    assert result.difference is not None
    fields = describe(result.difference)
    assert (fields["queue"], fields["seq"]) == (queue, seq)
    assert list(fields["fields"]) == [field]
    assert fields["fields"][field]["replay"] != fields["fields"][field]["recorded"]
    assert fields["state_before"]


@pytest.mark.row("S-50", "F125")
def test_replay_verb_of_an_edited_run_exits_1_and_prints_the_first_difference(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The replay verb exits 1 and prints queue, number, role and field."""
    copied = edited(short_run, tmp_path, "fills", 1, price_up)

    done = verb(tmp_path, "replay", str(copied), "--role", "execution_role")

    assert done.code == 1
    assert "first difference: fills:1, input " in done.out
    assert "payload.price: replay " in done.out
    assert f"replay {short_run.run_id}: DIFFERENT" in done.out.splitlines()[-1]


@pytest.mark.row("S-50")
@pytest.mark.parametrize(
    ("queue", "old", "new", "said_of"),
    [
        ("fills", b'"price":', b'"price": ', "its JSON is not canonical"),
        ("fills", b'"payload":{', b'"payload":{"a":null,', "a field is null in one and missing"),
        ("signals", b'"checks":[', b'"checks":[1,', "payload.checks: "),
        (
            "signals",
            b'],"confidence"',
            b',{"passed":true}],"confidence"',
            "payload.checks: replay ",
        ),
        ("signals", b'"payload":{', b'"payload":[],"payload_x":{', "payload: replay "),
    ],
)
def test_replay_of_a_line_of_any_shape_names_it(
    queue: str, old: bytes, new: bytes, said_of: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A recorded line that differs was never judged; its place is told whatever it holds."""
    copied = copy_of(short_run, tmp_path)
    seq = last_seq(short_run, queue)
    respell(copied, queue, seq, old, new)

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1, done.err
    assert f"first difference: {queue}:{seq}, input " in done.out
    assert said_of in done.out
    assert done.out.splitlines()[-1].startswith(f"replay {short_run.run_id}: ")


def test_replay_with_another_constant_differs_from_the_first_signal_that_it_moves(
    short_run: ShortRun,
) -> None:
    """A replay with a higher threshold differs from the first signal that it changes."""
    recorded = Recorded.open(short_run.run_dir)
    config = {**recorded.manifest.config}
    config["strategy"] = {**config["strategy"], "score_min": 109}

    result = replay_role(recorded, "strategy_role", core=core_of("strategy_role", config))

    assert result.difference is not None
    assert result.difference.queue == "signals"
    fields = describe(result.difference)["fields"]
    assert any(name.startswith("payload.") for name in fields)


def test_replay_without_the_last_outputs_is_identical_for_a_stopped_run_alone(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A stopped run may lack its last outputs, counted; a run with a planned end may not."""
    copied = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    queues = last_outputs(copied, "order_results", "fills")
    for queue in queues:
        cut(copied, queue)

    replay = replay_run(copied, ["execution_role"])

    assert replay.roles[0].missing == len(queues)
    assert not replay.is_identical
    assert replace(replay, was_stopped=True).is_identical


def test_replay_without_an_output_before_the_last_differs_also_for_a_stopped_run(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A missing output before the last is a difference, for a stopped run too."""
    copied = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    cut(copied, "fills")

    replay = replay_run(copied, ["execution_role"])

    assert not replace(replay, was_stopped=True).is_identical


def test_replay_verb_of_one_role_leaves_the_others_alone(short_run: ShortRun) -> None:
    """--role replays one of the three roles, and only its queues are in the answer."""
    done = verb(short_run.var, "replay", "--role", "risk_role", "--json")

    assert done.code == 0
    assert [role["role"] for role in done.document["roles"]] == ["risk_role"]
    assert done.document["identical"] is True


def test_replay_tells_its_progress_up_to_the_published_lines(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Progress never goes back and never exceeds the whole."""
    monkeypatch.setattr(role_replay, "PROGRESS_EVERY", 1024)
    told: list[tuple[int, int]] = []

    replay_run(short_run.run_dir, progress=lambda done, whole: told.append((done, whole)))

    assert len(told) >= 3
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert all(done <= whole for done, whole in told)
