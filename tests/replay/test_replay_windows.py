"""Ranges and hours of a run: compared by themselves, executed alone, written down and checked."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from minibot.kernel.errors import Refusal
from minibot.kernel.files import hashed_bytes
from minibot.kernel.line import decode_line, encode_line
from minibot.replay.condition import open_run
from minibot.replay.engine import CORE_ROLES, Window
from minibot.replay.moments import Span, zone_of
from minibot.replay.proof import prove
from tests.replay.damaged import copy_of, forge
from tests.runs import ShortRun, raw_events, verb

DERIVED = ("signals", "risk_actions", "order_intents", "order_results", "fills")


@pytest.mark.row("D-24", "D-05")
def test_two_ranges_side_by_side_hold_every_input_and_output_of_the_run_once(
    short_run: ShortRun,
) -> None:
    """Nothing is compared twice or left out where one range ends and the next begins."""
    recorded, condition = open_run(short_run.run_dir)
    whole = prove(recorded, condition)
    fills = raw_events(short_run.run_dir, "fills")
    middle = fills[len(fills) // 2]["ts"]

    parts = [
        prove(recorded, condition, window=Window(to_ms=middle - 1)),
        prove(recorded, condition, window=Window(from_ms=middle)),
    ]

    assert all(part.is_identical for part in parts)
    for n in range(len(CORE_ROLES)):
        role = whole.replay.roles[n]
        assert sum(part.replay.roles[n].compared for part in parts) == role.inputs
        for queue, count in role.outputs.items():
            found = [part.replay.roles[n].outputs[queue] for part in parts]
            assert sum(found) == count
    assert all(part.replay.roles[2].outputs["fills"] for part in parts)


@pytest.mark.row("D-24")
def test_edit_is_found_in_the_range_that_holds_it_alone(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A range before it is identical, and the whole differs at that event."""
    fills = raw_events(short_run.run_dir, "fills")
    copied = copy_of(short_run, tmp_path)
    last = len(fills)
    forge(copied, "fills", last, lambda event: event["payload"].update(price="99999.11"))
    recorded, condition = open_run(copied)

    before = prove(recorded, condition, window=Window(to_ms=fills[-2]["ts"]))
    holding = prove(recorded, condition, window=Window(from_ms=fills[-1]["ts"] - 1000))

    assert before.is_identical
    assert not holding.is_identical
    difference = holding.replay.difference
    assert difference is not None
    assert (difference.queue, difference.seq) == ("fills", last)


def test_first_difference_is_what_was_changed_and_not_what_follows_from_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A forged fill makes risk decide otherwise later; the fill is what the verb names."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, "fills", 3, lambda event: event["payload"].update(price="99999.11"))

    said = verb(tmp_path, "replay", str(copied))

    assert said.code == 1
    assert "first difference: fills:3, " in said.out


@pytest.mark.row("D-51", "D-53", "N-121")
@pytest.mark.parametrize(
    ("name", "old", "new", "said_of"),
    [
        ("hourly_state.jsonl", b'"trades":', b'"trades":1', "ledger: DIFFERENT: hourly_state 1"),
        ("metrics.json", b'"wins":', b'"wins":1', "metrics: 1 figure DIFFERENT"),
    ],
)
def test_forged_books_or_figures_differ(
    name: str, old: bytes, new: bytes, said_of: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """Every decision is equal and every hash fits; what the run says of itself is not true."""
    copied = copy_of(short_run, tmp_path)
    path = copied / name
    if name.endswith(".jsonl"):
        said = decode_line(path.read_bytes())[1]
        path.write_bytes(encode_line(said.replace(old, new)))
    else:
        figures = json.loads(path.read_bytes().replace(old, new))
        path.write_bytes(hashed_bytes(figures, figures["generation"]))

    told = verb(tmp_path, "replay", str(copied))

    assert told.code == 1
    assert said_of in told.out
    assert "DIFFERENT" in told.out.splitlines()[-1]


# --- hours ------------------------------------------------------------------------------------


@pytest.mark.row("D-26", "D-43")
def test_every_hour_of_a_run_replays_identical_by_each_of_its_names(short_run: ShortRun) -> None:
    """By its number, by the hour of day, and with its date."""
    names = Span.of(open_run(short_run.run_dir)[0], None)
    (hour_ts,) = names.hours()
    for name in ("#1", "18", "18:00", "2025-01-06T18"):
        assert names.hour(name) == hour_ts

    said = verb(short_run.var, "replay-hour", "latest", "18", "--json")

    assert said.code == 0, said.err
    assert said.document["identical"]
    assert [found["inputs"] > 0 for found in said.document["hours"]] == [True]
    assert said.document["ledger"]["hourly_states"] == 1


@pytest.mark.row("D-26", "U-11")
def test_hour_and_window_of_an_edited_run_exit_1_and_name_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Parity is exit 0, a mismatch exit 1."""
    copied = str(copy_of(short_run, tmp_path))
    forge(Path(copied), "signals", 3, lambda event: event["payload"].update(score=1))

    for words in (("replay-hour", copied, "18"), ("replay-window", copied, "18", "18")):
        said = verb(tmp_path, *words)

        assert said.code == 1
        assert "first difference: signals:3" in said.out
    assert verb(tmp_path, "replay-manifest", copied).code == 1


@pytest.mark.row("D-26")
def test_executed_hour_gives_the_recorded_events_and_state_to_the_byte(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """What it writes are the run's own lines, hashes and all, though it never looked at them."""
    folder = tmp_path / "hour"
    copied = copy_of(short_run, tmp_path)
    forge(copied, "signals", 1, lambda event: event["payload"].update(score=1))

    first = verb(tmp_path, "execute-hour", str(copied), "18", "--to", str(folder))

    assert first.code == 0, first.err
    standing = (short_run.run_dir / "queues/signals/inbox.jsonl").read_bytes()
    assert (folder / "signals.jsonl").read_bytes() == standing
    plain = tmp_path / "plain"
    second = verb(short_run.var, "execute-hour", "latest", "18", "--to", str(plain))
    assert second.code == 0, second.err
    for queue in DERIVED:
        standing = (short_run.run_dir / "queues" / queue / "inbox.jsonl").read_bytes()
        assert (plain / f"{queue}.jsonl").read_bytes() == standing
    state = (short_run.run_dir / "hourly_state.jsonl").read_bytes()
    assert (plain / "hourly_state.jsonl").read_bytes() == state
    listed = json.loads((plain / "hour.json").read_bytes())
    assert listed["hourly_state"] == decode_line(state)[0].hex()

    again = verb(tmp_path, "execute-hour", str(copied), "18", "--to", str(folder))

    assert again.code == 2
    assert "is not empty" in again.err


@pytest.mark.row("D-26", "S-59", "S-58")
def test_manifest_of_a_run_is_kept_by_it_and_broken_by_an_edit(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Written once, checked later or elsewhere: the digests are the run's, hour by hour."""
    copied = copy_of(short_run, tmp_path)
    golden = tmp_path / "golden.json"

    written = verb(tmp_path, "replay-manifest", str(copied), "--write", str(golden))
    kept = verb(tmp_path, "replay-manifest", "--check", str(golden))

    assert (written.code, kept.code) == (0, 0), written.err + kept.err
    assert json.loads(golden.read_bytes())["runs"][0]["run"] == short_run.run_id
    assert "all as listed" in kept.out
    listed = json.loads(golden.read_bytes())
    listed["runs"][0]["hours"][0]["digest"] = "0" * 64
    golden.write_bytes(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode())
    assert verb(tmp_path, "replay-manifest", "--check", str(golden)).code == 1
    golden.write_bytes(b"{}")
    assert verb(tmp_path, "replay-manifest", "--check", str(golden)).code == 2


@pytest.mark.row("D-26", "U-11")
def test_replay_tool_lists_and_explains_as_the_verbs_do(short_run: ShortRun) -> None:
    """The same answers under the name that the specification gives."""
    assert verb(short_run.var, "replay-tool", "list").out == verb(short_run.var, "runs").out
    explained = verb(short_run.var, "replay-tool", "explain", "latest", "--last")
    assert explained.out == verb(short_run.var, "explain", "latest", "--last").out


# --- times ------------------------------------------------------------------------------------


def span(from_ms: int, to_ms: int, zone: str | None = None) -> Span:
    """A span without a run."""
    found, name = zone_of(zone)
    return Span("run", from_ms, to_ms, found, name)


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("23:30", None, "2026-10-24T23:30:00+00:00"),
        ("00:30:05", None, "2026-10-25T00:30:05+00:00"),
        ("01:30:05.250", "Europe/Berlin", "2026-10-24T23:30:05.250000+00:00"),
        ("2026-10-25T00:15:00Z", "Europe/Berlin", "2026-10-25T00:15:00+00:00"),
        ("2026-10-25 02:15:00+02:00", None, "2026-10-25T00:15:00+00:00"),
    ],
)
def test_time_of_a_run_is_the_moment_a_trader_means(
    text: str, zone: str | None, expected: str
) -> None:
    """From 23:00 to 01:10 UTC over midnight; zones by name, by Z and by offset."""
    found = span(1_792_882_800_000, 1_792_890_600_000, zone)

    moment = found.moment(text)

    assert moment == round(datetime.fromisoformat(expected).timestamp() * 1000)


def test_time_that_comes_twice_is_refused_with_both_moments() -> None:
    """At the end of summer time 02:30 comes twice; a date alone does not say which."""
    night = span(1_792_882_800_000, 1_792_897_800_000, "Europe/Berlin")

    with pytest.raises(Refusal) as caught:
        night.moment("02:30")

    assert "comes 2 times" in str(caught.value)
    assert "2026-10-25T02:30:00+0200 or 2026-10-25T02:30:00+0100" in str(caught.value)
    assert night.moment("02:30+01:00") - night.moment("02:30+02:00") == 3_600_000
