"""Ranges and hours of a run: compared, executed alone, written down and checked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import pytest

from minibot.engine.role_replay import Window
from minibot.kernel.errors import Refusal
from minibot.kernel.files import hashed_bytes
from minibot.kernel.line import decode_line, encode_line
from minibot.replay.proof import prove
from minibot.replay.run_status import open_run
from minibot.replay.time_arguments import Span, zone_of
from tests.replay.damaged import copy_of, flip, forge, in_var
from tests.runs import ShortRun, raw_events, verb

pytestmark = pytest.mark.campaign

CORE_ROLES = ("strategy_role", "risk_role", "execution_role")

DERIVED = ("signals", "risk_actions", "order_intents", "order_results", "fills")


@pytest.mark.row("D-24", "D-05")
def test_two_ranges_side_by_side_hold_every_input_and_output_of_the_run_once(
    short_run: ShortRun,
) -> None:
    """Two adjacent ranges hold every input and output once."""
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
    """An edit is found only in the range that holds it, and in the whole."""
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
    """The first difference is the forged fill itself, not risk's consequence of it."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, "fills", 3, lambda event: event["payload"].update(price="99999.11"))

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    assert "first difference: fills:3, " in done.out


@pytest.mark.row("D-51", "D-53", "N-121")
@pytest.mark.parametrize(
    ("name", "old", "new", "said_of"),
    [
        ("hourly_state.jsonl", b'"trades":', b'"trades":1', "ledger: DIFFERENT: hourly_state 1"),
        ("hourly_state.jsonl", b'"trades":', b'"trades": ', "hourly_state 1: its JSON is not can"),
        ("hourly_state.jsonl", b'"v":1', b'"v":true', "hourly_state 1 v: replay 1, recorded True"),
        ("hourly_state.jsonl", b'"v":1', b'"v":1,"w":null', "hourly_state 1: a field is null"),
        ("metrics.json", b'"wins":', b'"wins":1', "metrics: 1 figure DIFFERENT"),
        ("metrics.json", b'"instrument":1,', b'"instrument":true,', "metrics: 1 figure DIFFERENT"),
    ],
)
def test_forged_books_or_figures_differ(
    name: str, old: bytes, new: bytes, said_of: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """Forged books or figures differ, although every decision and hash is right."""
    copied = copy_of(short_run, tmp_path)
    path = copied / name
    assert old in path.read_bytes()
    if name.endswith(".jsonl"):
        data = decode_line(path.read_bytes())[1]
        path.write_bytes(encode_line(data.replace(old, new)))
    else:
        figures = json.loads(path.read_bytes().replace(old, new))
        path.write_bytes(hashed_bytes(figures, figures["generation"]))

    done = verb(tmp_path, "replay", str(copied))

    assert done.code == 1
    assert said_of in done.out
    assert "DIFFERENT" in done.out.splitlines()[-1]


# --- hours ------------------------------------------------------------------------------------


@pytest.mark.row("D-26", "D-43")
def test_every_hour_of_a_run_replays_identical_by_each_of_its_names(short_run: ShortRun) -> None:
    """An hour replays identically by number, hour of day, and date."""
    names = Span.of(open_run(short_run.run_dir)[0], None)
    (hour_ts,) = names.hours()
    for name in ("#1", "18", "18:00", "2025-01-06T18"):
        assert names.hour(name) == hour_ts

    done = verb(short_run.var, "replay-hour", "latest", "18", "--json")

    assert done.code == 0, done.err
    assert done.document["identical"]
    assert [found["inputs"] > 0 for found in done.document["hours"]] == [True]
    assert done.document["ledger"]["hourly_states"] == 1


@pytest.mark.row("D-26", "U-11")
def test_hour_and_window_of_an_edited_run_exit_1_and_name_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """An edited hour or window exits 1 and is named."""
    copied = str(copy_of(short_run, tmp_path))
    forge(Path(copied), "signals", 3, lambda event: event["payload"].update(score=1))

    for words in (("replay-hour", copied, "18"), ("replay-window", copied, "18", "18")):
        done = verb(tmp_path, *words)

        assert done.code == 1
        assert "first difference: signals:3" in done.out
    assert verb(tmp_path, "replay-manifest", copied).code == 1


@pytest.mark.row("D-26")
def test_executed_hour_gives_the_recorded_events_and_state_to_the_byte(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """An executed hour writes the run's own lines and state, byte for byte."""
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
    """A manifest of digests by hour is kept by its run and broken by an edit."""
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


def test_entry_of_a_run_that_broke_off_has_no_digest(short_run: ShortRun, tmp_path: Path) -> None:
    """The digest of the part before the damage would look like that of the run."""
    copied = copy_of(short_run, tmp_path)
    golden = tmp_path / "golden.json"
    verb(tmp_path, "replay-manifest", str(copied), "--write", str(golden))
    middle = len(raw_events(short_run.run_dir, "market_ticks")) // 2
    flip(copied / "queues/market_ticks/inbox.jsonl", middle, b'"ts":')

    entry = verb(tmp_path, "replay-manifest", str(copied), "--json").document["runs"][0]
    checked = verb(tmp_path, "replay-manifest", "--check", str(golden))

    assert (entry["digest"], entry["ledger"]) == (None, None)
    assert checked.code == 1
    listed = json.loads(golden.read_bytes())["runs"][0]
    assert f"  digest: listed {listed['digest']}, replayed None" in checked.out


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ({"runs": []}, "it lists no run"),
        ({"runs": {}}, "it lists no run"),
        ({"runs": [{"run": "x", "hours": None}]}, "run 1 needs a name and hours"),
        ({"runs": [{"run": "x", "hours": [{}]}]}, "run 1 needs a name and hours"),
        ({"runs": [{"run": "x", "hours": [{"hour_ts": "x"}]}]}, "run 1 needs a name and hours"),
        ({"runs": [{"run": "x", "hours": []}], "v": 2}, "of version 1"),
    ],
)
def test_manifest_that_says_nothing_or_something_else_is_no_manifest(
    content: dict[str, Any], wrong: str, tmp_path: Path
) -> None:
    """An empty or malformed manifest of digests is refused."""
    golden = tmp_path / "golden.json"
    listed = {"schema": "minibot.replay_manifest", "v": 1} | content
    golden.write_bytes(json.dumps(listed, sort_keys=True, separators=(",", ":")).encode())

    done = verb(tmp_path, "replay-manifest", "--check", str(golden))

    assert done.code == 2
    assert wrong in done.err


def test_manifest_is_checked_by_the_runs_that_it_names_alone(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A manifest of digests is checked only against runs that it names."""
    done = verb(short_run.var, "replay-manifest", "latest", "--check", str(tmp_path / "golden"))

    assert done.code == 2
    assert "names its own runs" in done.err


@pytest.mark.parametrize("place", ["", "missing/golden.json"])
def test_manifest_that_cannot_be_written_is_no_difference(
    place: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """Exit code 1 says that a run differs; a place that does not exist is 2, with a next step."""
    words = ("replay-manifest", "latest", "--write", str(tmp_path / place))

    done = verb(short_run.var, *words)

    assert done.code == 2
    assert done.err.startswith("refused: ")
    assert "Name a file" in done.err or "name another place" in done.err


def test_manifest_of_a_run_that_differs_is_not_written_and_says_so(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run that differs writes no manifest, and says so."""
    copied = copy_of(short_run, tmp_path)
    forge(copied, "signals", 3, lambda event: event["payload"].update(score=1))
    golden = tmp_path / "golden.json"

    done = verb(tmp_path, "replay-manifest", str(copied), "--write", str(golden))

    assert done.code == 1
    assert "not written" in done.out
    assert not golden.exists()


@pytest.mark.row("D-26")
def test_hour_and_digests_of_a_run_that_is_still_going_are_not_kept(
    short_run: ShortRun, tmp_path: Path, var_dir: Path
) -> None:
    """A part of an hour or of a run is written to no file, and compared with none."""
    copied = copy_of(short_run, tmp_path)
    golden, other, hour = tmp_path / "golden.json", tmp_path / "other.json", tmp_path / "hour"
    assert verb(tmp_path, "replay-manifest", str(copied), "--write", str(golden)).code == 0
    run_dir = str(in_var(short_run, var_dir))
    golden.write_bytes(golden.read_bytes().replace(b'"run":"', b'"run":"var/runs/'))

    with filelock.FileLock(str(var_dir / "run.lock")):
        tries = [
            verb(var_dir, "execute-hour", run_dir, "18", "--to", str(hour)),
            verb(var_dir, "replay-manifest", run_dir, "--write", str(other)),
            verb(var_dir, "replay-manifest", "--check", str(golden)),
        ]
    after = verb(var_dir, "execute-hour", run_dir, "18", "--to", str(hour))

    for done in tries:
        assert done.code == 2, done.out
        assert "is still going" in done.err
    assert not other.exists()
    assert after.code == 0, after.err  # So nothing had been written there.
    assert "was interrupted" in after.out


@pytest.mark.row("D-26")
def test_hour_that_a_running_run_has_left_is_executed(
    short_run: ShortRun, tmp_path: Path, var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour behind which every role has taken an input is whole, whatever still comes."""
    run_dir = str(in_var(short_run, var_dir))
    monkeypatch.setattr("minibot.engine.role_replay.HOUR_MS", 30_000)

    with filelock.FileLock(str(var_dir / "run.lock")):
        done = verb(var_dir, "execute-hour", run_dir, "18", "--to", str(tmp_path / "hour"))

    assert done.code == 0, done.err
    assert "is still going" in done.out
    assert (tmp_path / "hour" / "signals.jsonl").stat().st_size


def test_hour_is_not_executed_into_a_file(short_run: ShortRun, tmp_path: Path) -> None:
    """Executing an hour into an existing file is refused."""
    (tmp_path / "hour").write_bytes(b"mine")

    done = verb(short_run.var, "execute-hour", "latest", "18", "--to", str(tmp_path / "hour"))

    assert done.code == 2
    assert "is not a folder" in done.err
    assert (tmp_path / "hour").read_bytes() == b"mine"


@pytest.mark.row("D-26", "U-11")
def test_replay_tool_lists_and_explains_as_the_verbs_do(short_run: ShortRun) -> None:
    """The replay tool under its specified name gives the verbs' answers."""
    assert verb(short_run.var, "replay-tool", "list").out == verb(short_run.var, "runs").out
    explained = verb(short_run.var, "replay-tool", "explain", "latest", "--last")
    assert explained.out == verb(short_run.var, "explain", "latest", "--last").out
    traced = verb(short_run.var, "replay-tool", "--debug", "explain", "no-such-run")
    assert "Traceback" in traced.err


# --- times ------------------------------------------------------------------------------------


def span(from_ms: int, to_ms: int, zone: str | None = None) -> Span:
    """Time span without a run."""
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
    """A time means the moment in the run, across midnight, by zone name, Z or offset."""
    found = span(1_792_882_800_000, 1_792_890_600_000, zone)

    moment = found.moment(text)

    assert moment == round(datetime.fromisoformat(expected).timestamp() * 1000)


def test_time_that_comes_twice_is_refused_with_both_moments() -> None:
    """A local time that occurs twice is refused with both moments."""
    night = span(1_792_882_800_000, 1_792_897_800_000, "Europe/Berlin")

    with pytest.raises(Refusal) as caught:
        night.moment("02:30")

    assert "comes 2 times" in str(caught.value)
    assert "2026-10-25T02:30:00+0200 or 2026-10-25T02:30:00+0100" in str(caught.value)
    assert night.moment("02:30+01:00") - night.moment("02:30+02:00") == 3_600_000


def test_range_that_ends_before_the_run_begins_compares_nothing_and_is_refused(
    short_run: ShortRun,
) -> None:
    """A range that ends before the run begins is refused."""
    at = datetime.fromtimestamp(Span.of(open_run(short_run.run_dir)[0], None).from_ms / 1000, UTC)
    for flag in ("--to", "--until"):
        done = verb(short_run.var, "replay", "latest", flag, f"{at:%H:%M}")

        assert done.code == 2
        assert f"nothing of this run is before {at:%H:%M}" in done.err


@pytest.mark.parametrize("text", ["18:00+24:00", "18:00-29:59", ""])
def test_offset_that_no_zone_has_is_no_time(text: str) -> None:
    """An offset outside all zones is refused."""
    with pytest.raises(Refusal, match="is not a time"):
        span(1_792_882_800_000, 1_792_890_600_000).moment(text)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("0001-01-01T00:00+14:00", None),
        ("0001-01-01T00:00", "Asia/Tokyo"),
        ("0001-01-01T00:00", "America/New_York"),
        ("0001-01-01T00:00", "local"),
        ("9999-12-31T23:59-14:00", None),
        ("9999-12-31T23:59", "America/New_York"),
        ("9999-12-31T23:59", "local"),
        ("9999-12-31T23:59:59.999", None),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_time_at_an_end_of_the_calendar_is_none_of_a_run(text: str, zone: str | None) -> None:
    """Its moment in UTC may lie before the year 1 or after 9999: refused like any other time."""
    night = span(1_792_882_800_000, 1_792_890_600_000, zone)
    for is_end in (False, True):
        with pytest.raises(Refusal, match="is not a time of this run"):
            night.moment(text, is_end=is_end)
    with pytest.raises(Refusal, match="is not a time of this run"):
        night.hour(text[:13])


def test_hour_of_a_zone_half_an_hour_apart_is_the_part_that_the_run_has() -> None:
    """An hour of a half-hour zone is cut to the run's part of it."""
    evening = 1_767_989_400_000  # 2026-01-09 20:10 UTC
    late = span(evening, evening + 900_000, "Asia/Kolkata")
    both = span(evening - 1_800_000, evening + 900_000, "Asia/Kolkata")

    assert late.hour("01") == late.hours()[0]
    for text in ("00", "02"):
        with pytest.raises(Refusal, match="is not a time of this run"):
            late.hour(text)
    with pytest.raises(Refusal, match=r"Say which: #1 \(00:30\) or #2 \(01:30\)"):
        both.hour("01")


def test_hour_that_comes_twice_is_refused_with_names_that_are_taken() -> None:
    """An hour that occurs twice is refused, with accepted names such as its number."""
    night = span(1_792_882_800_000, 1_792_897_800_000, "Europe/Berlin")

    with pytest.raises(Refusal, match=r"Say which: #2 \(02:00\) or #3 \(02:00\)"):
        night.hour("02")

    assert night.hour("#3") - night.hour("#2") == 3_600_000
    for name in ("#0", "#7", "#" + "9" * 5000):
        with pytest.raises(Refusal, match="is not an hour"):
            night.hour(name)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Machine in the Berlin time zone."""
    if not hasattr(time, "tzset"):
        pytest.skip("Windows takes no other zone for one process")
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_local_time_is_that_of_the_run_and_not_of_today() -> None:
    """Local time is the run's, with its season and change of clocks, not today's."""
    summer = span(1_723_161_253_937, 1_723_161_602_937, "local")
    winter = span(1_736_186_400_000, 1_736_186_500_000, "local")
    night = span(1_792_882_800_000, 1_792_897_800_000, "local")

    assert summer.clock(summer.from_ms) == "01:54:13.937 local"
    assert summer.moment("01:55") == summer.moment("23:55Z")
    assert winter.clock(winter.from_ms) == "19:00:00.000 local"
    with pytest.raises(Refusal, match=r"2026-10-25T02:30:00\+0200 or 2026-10-25T02:30:00\+0100"):
        night.moment("02:30")
    shown = [night.clock(at)[:5] for at in night.hours()]
    assert shown == ["01:00", "02:00", "02:00", "03:00", "04:00"]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("zone", [None, "local", "Europe/Berlin", "Asia/Kolkata"])
def test_time_that_a_verb_gives_back_is_taken_as_that_moment(zone: str | None) -> None:
    """A time printed by a verb is accepted as the same moment, in every case."""
    begin = 1_792_882_800_000
    for run in (span(begin, begin + 15_000_000, zone), span(begin, begin + 100_000_000, zone)):
        for at in range(begin, run.to_ms, 1_234_000):
            text, _, named = run.written(at + 7).partition(" --zone ")

            assert span(run.from_ms, run.to_ms, named or None).moment(text) == at


def test_remedy_for_a_damaged_run_names_the_zone_that_its_time_is_of(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A remedy's time has its zone, so that the command works as printed."""
    copied = copy_of(short_run, tmp_path)
    flip(copied / "queues/market_ticks/inbox.jsonl", 1000, b'"ts":')

    done = verb(tmp_path, "replay", str(copied), "--zone", "Europe/Berlin")
    remedy = next(line for line in done.out.splitlines() if "--until" in line)
    again = verb(tmp_path, *remedy.partition(": minibot ")[2].split())

    assert done.code == 1
    assert remedy.endswith(" --zone Europe/Berlin")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    "words",
    [
        ("--set", "strategy.score_min=100", "--from", "18:00"),
        ("--set", "strategy.score_min=100", "--role", "risk_role"),
        ("--set", "strategy.score_min=100", "--zone", "local"),
        ("--set", "strategy.score_min=100", "--graph"),
        ("--graph", "--until", "18:00"),
        ("--graph", "--zone", "Mars/Olympus"),
    ],
)
def test_flag_that_would_change_nothing_of_a_whole_run_is_refused(
    words: tuple[str, ...], short_run: ShortRun
) -> None:
    """A flag that has no effect on a whole run is refused."""
    done = verb(short_run.var, "replay", "latest", *words)

    assert done.code == 2
    assert "Leave" in done.err


def test_roles_are_replayed_once_and_in_their_order_however_they_are_named(
    short_run: ShortRun,
) -> None:
    """Roles are replayed once and in their order, however they are named."""
    named = [*reversed(CORE_ROLES), CORE_ROLES[0]]

    whole = verb(short_run.var, "replay", "latest", "--json")
    done = verb(short_run.var, "replay", "latest", "--json", *(f"--role={name}" for name in named))

    assert done.code == 0, done.err
    assert [role["role"] for role in done.document["roles"]] == list(CORE_ROLES)
    assert done.document["digest"] == whole.document["digest"]
