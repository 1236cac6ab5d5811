"""Acceptance: real nights, drills, and the criterion that fails."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct

from minibot.accounting.run_counters import HealthCounters
from minibot.events.ids import position_id
from minibot.events.model import DeadLetter, Event, Health
from minibot.events.names import RISK_ROLE, TICKS
from minibot.events.reasons import POISON_EVENT
from minibot.kernel.line import encode_line
from minibot.kernel.queue import DEAD_LETTERS, open_side_writer, reader_folder
from minibot.report import acceptance as judge
from minibot.report.acceptance import (
    DRILL,
    FAIL,
    NOT_A_NIGHT,
    OPEN,
    PASS,
    Acceptance,
    Criterion,
    accept,
    dead_letters,
    keep,
)
from minibot.report.memory_slope import WARM_UP_MS, slope_bytes_per_hour
from minibot.report.night import Night
from minibot.report.proof import findings_of
from minibot.report.records import read_record
from minibot.runtime.paths import Var
from tests.replay.damaged import copy_of
from tests.report.nights import (
    FRAMES,
    HOSTS,
    MEGABYTE,
    MINUTE_MS,
    keep_logs,
    keep_metrics,
    opened,
    sealed,
    seven_hours,
    tally,
    with_config,
    with_incident,
    with_stop,
)
from tests.runs import ShortRun, raw_events, verb

HOUR_MS = 60 * MINUTE_MS
LETTERS = 1_001

verified = cache(lambda run_dir: tuple(findings_of(run_dir)))


@pytest.fixture(autouse=True)
def verify_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each record be verified once: it takes most of the time, and a test damages a copy."""
    monkeypatch.setattr(judge, "findings_of", verified)


def failed(acceptance: Acceptance) -> list[str]:
    """Return the names of failed criteria."""
    return [item.name for item in acceptance.criteria if item.verdict == FAIL]


def criterion(acceptance: Acceptance, name: str) -> Criterion:
    """One criterion by name."""
    (found,) = [item for item in acceptance.criteria if item.name == name]
    return found


@pytest.mark.row("N-103", "N-104", "N-105", "N-106", "N-107", "N-18")
def test_real_night_of_seven_hours_passes_although_it_lost_money(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A real night of seven hours passes although it lost money."""
    night, var = seven_hours(short_run, tmp_path)

    acceptance = accept(night, var)

    assert [(item.name, item.found) for item in acceptance.criteria if item.verdict != PASS] == []
    assert acceptance.verdict == PASS
    assert acceptance.counts_as_night
    assert float(night.count.performance.to_json()["pnl"]) < 0


@pytest.mark.row("N-104")
def test_thresholds_are_quoted_beside_what_was_found(short_run: ShortRun, tmp_path: Path) -> None:
    """Each threshold of U-06 stands beside the measured value."""
    night, var = seven_hours(short_run, tmp_path)

    acceptance = accept(night, var)

    assert criterion(acceptance, "latency p95").threshold == "at most 1,000 ms"
    assert criterion(acceptance, "latency p99").threshold == "at most 3,000 ms"
    assert criterion(acceptance, "failed health checks").threshold == "at most 5 %"
    assert "5.0 ms over 100 measurements" in criterion(acceptance, "latency p95").found


@pytest.mark.row("N-103")
def test_simulated_seven_hours_pass_as_a_drill_that_does_not_count(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A simulated run of seven hours passes as a drill, which is not a night."""
    night, var = seven_hours(short_run, tmp_path)
    manifest = replace(night.manifest, simulated=True)
    night = replace(night, recorded=replace(night.recorded, manifest=manifest))

    acceptance = accept(night, var)

    assert acceptance.verdict == DRILL
    assert acceptance.passed
    assert not acceptance.counts_as_night


def test_dead_letters_beyond_a_thousand_are_counted_too(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """The criterion says how many lines a reader could not use, however many there are."""
    night = Night.open(copy_of(short_run, tmp_path))
    folder = reader_folder(night.recorded.queues, TICKS, RISK_ROLE, primary=False)
    letter = DeadLetter(
        queue=TICKS,
        seq=1,
        offset=0,
        reason_code=POISON_EVENT,
        detail="it crashed the core",
        line="{}",
        line_sha256="0" * 64,
    )
    codec, ts = night.recorded.codec, night.manifest.clock_origin_ms
    with closing(open_side_writer(folder, DEAD_LETTERS, sync=False)) as writer:
        for seq in range(1, LETTERS + 1):
            event = Event(
                ts=ts,
                id=position_id(night.run_id, RISK_ROLE, DEAD_LETTERS, seq),
                source=RISK_ROLE,
                run_id=night.run_id,
                cmdline_hash=night.manifest.processes[RISK_ROLE].cmdline_hash,
                payload=replace_struct(letter, seq=seq),
            )
            writer.append([encode_line(codec.encode(f"{TICKS}/{DEAD_LETTERS}", event))])

    assert [each.seq for each in dead_letters(night)] == list(range(1, LETTERS + 1))


def test_short_run_is_not_a_night_and_says_how_short(short_run: ShortRun) -> None:
    """A short run fails by its length alone."""
    acceptance = accept(opened(short_run), Var(short_run.var))

    assert acceptance.verdict == NOT_A_NIGHT
    assert not acceptance.passed
    assert failed(acceptance) == ["duration"]
    assert "never counts as a real night" in criterion(acceptance, "duration").found


@pytest.mark.parametrize(("lacking_ms", "verdict"), [(0, PASS), (1, NOT_A_NIGHT)])
def test_night_a_millisecond_short_is_none(
    lacking_ms: int, verdict: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A night of 25,200,000 ms passes, one millisecond less fails."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.market.last_ts -= lacking_ms

    assert accept(night, var).verdict == verdict


@pytest.mark.row("N-104")
@pytest.mark.parametrize(
    ("latencies_us", "errors", "short"),
    [
        ([1_000_000] * 100, 0, []),
        ([1_000] * 94 + [1_000_001] * 6, 0, ["latency p95"]),
        ([1_000] * 98 + [3_000_000] * 2, 0, []),
        ([1_000] * 98 + [3_000_001] * 2, 0, ["latency p99"]),
        ([1_000] * 95, 5, []),
        ([1_000] * 94, 6, ["failed health checks"]),
        ([], 3, ["latency p95", "latency p99", "failed health checks"]),
    ],
)
def test_link_around_its_thresholds_fails_only_beyond_them(
    latencies_us: list[int], errors: int, short: list[str], short_run: ShortRun, tmp_path: Path
) -> None:
    """A link value at its threshold passes; beyond it, or unmeasured, it fails."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.tally = tally(latencies_us, errors)
    keep_metrics(night, var)

    assert failed(accept(night, var)) == short


@pytest.mark.row("N-104")
@pytest.mark.parametrize(
    ("invalid", "short"), [(FRAMES // 20, []), (FRAMES // 20 + 1, ["invalid market messages"])]
)
def test_share_of_invalid_messages_over_five_percent_fails(
    invalid: int, short: list[str], short_run: ShortRun, tmp_path: Path
) -> None:
    """Invalid messages over five percent of the frames fail, as the market role counts both."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.tally = tally(frames_invalid=invalid)
    keep_metrics(night, var)
    with_incident(night, "frame_invalid", "gathered notices", count=10**9)

    acceptance = accept(night, var)

    assert failed(acceptance) == short
    assert f"{invalid:,} of 100,000" in criterion(acceptance, "invalid market messages").found


def test_frames_of_a_market_role_that_was_restarted_add_up() -> None:
    """Frames of a restarted market role add up; health without counters subtracts nothing."""
    tally_ = HealthCounters()
    for uptime_s, frames, invalid in ((10, 100, 3), (20, 200, 4), (5, 50, 1)):
        counters = {"frames": frames, "frames_invalid": invalid}
        tally_.on_health(Health("market_role", "READY", uptime_s, 1, counters=counters), uptime_s)
    tally_.on_health(Health("market_role", "STOPPED", 6, 1), 6)
    tally_.on_health(Health("execution_role", "READY", 6, 1, counters={"frames": 9}), 6)

    assert tally_.frames() == (5, 250)


@pytest.mark.row("N-103")
@pytest.mark.parametrize(
    ("away_s", "restarts", "holds"), [(30, 0, True), (45, 0, False), (45, 1, True)]
)
def test_role_away_for_too_long_fails_unless_the_watchdog_brought_it_back(
    away_s: int, restarts: int, holds: bool, short_run: ShortRun, tmp_path: Path
) -> None:
    """A role away longer than a minute, plus one for each recorded restart, fails."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.tally = tally(uptimes_s={"risk_role": 25_200 - away_s})
    keep_metrics(night, var)
    for _ in range(restarts):
        with_incident(night, "ROLE_RESTARTED", "risk_role ended with exit code -9; restarted")

    acceptance = accept(night, var)

    assert failed(acceptance) == ([] if holds else ["risk_role"])


@pytest.mark.row("N-103")
def test_night_without_its_ai_fails_and_names_it(short_run: ShortRun, tmp_path: Path) -> None:
    """A night without its AI fails, by name."""
    night, var = seven_hours(short_run, tmp_path)
    with_incident(night, "AI_OFF", "ai_role is hung; the night goes on without it")

    assert failed(accept(night, var)) == ["ai_role"]


@pytest.mark.row("N-103", "N-108")
@pytest.mark.parametrize(
    ("lack", "name", "found"),
    [
        (lambda night: without_process(night, "ai_role"), "the AI", "off by its profile"),
        (lambda night: with_levels(night, set()), "isolation of the AI", "never reported"),
        (lambda night: with_levels(night, {"advisory"}), "isolation of the AI", "advisory"),
        (lambda night: with_levels(night, {"jail", "off"}), "isolation of the AI", "jail, off"),
        (lambda night: with_config(night, "code", require_manifest=False), "code list", "false"),
    ],
)
def test_night_without_ai_jail_or_code_list_fails_by_name(
    lack: Callable[[Night], Night],
    name: str,
    found: str,
    short_run: ShortRun,
    tmp_path: Path,
) -> None:
    """A missing sandbox or code list fails by name; a drill may lack them and says so."""
    night, var = seven_hours(short_run, tmp_path)

    acceptance = accept(lack(night), var)
    drill = accept(with_config(lack(night), "chaos", drill="x"), var)

    assert acceptance.verdict == FAIL
    assert name in failed(acceptance)
    assert found in criterion(acceptance, name).found
    assert drill.verdict == DRILL
    assert criterion(drill, name).verdict == OPEN


def without_process(night: Night, role: str) -> Night:
    """Return the night whose profile left a role out."""
    processes = {name: item for name, item in night.manifest.processes.items() if name != role}
    manifest = replace(night.manifest, processes=processes)
    return replace(night, recorded=replace(night.recorded, manifest=manifest))


def with_levels(night: Night, levels: set[str]) -> Night:
    """Return the night whose AI reported these levels of isolation."""
    night.count.ai_levels = levels
    return night


@pytest.mark.row("N-68", "N-103")
def test_short_run_reports_how_its_ai_was_isolated(short_run: ShortRun) -> None:
    """The isolation level comes from all of the clerk's health events."""
    levels = {
        word
        for event in raw_events(short_run.run_dir, "health")
        for word in [event["payload"].get("detail", "")]
        if event["source"] == "ai_role" and word.startswith("isolation ")
    }

    acceptance = accept(opened(short_run), Var(short_run.var))

    assert levels
    found = criterion(acceptance, "isolation of the AI").found
    assert all(f"isolation {found};" in level for level in levels)


@pytest.mark.row("U-06")
@pytest.mark.parametrize(
    ("key", "value", "name"),
    [
        ("duration_ms_min", 25_200_001, "duration"),
        ("latency_ms_p95_max", 4, "latency p95"),
        ("latency_ms_p99_max", 4, "latency p99"),
        ("role_away_ms_max", 29_000, "risk_role"),
        ("memory_mb_per_hour_max", 1, "memory of risk_role"),
    ],
)
def test_threshold_of_the_profile_is_the_one_that_judges(
    key: str, value: int, name: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """The profile's own threshold decides; the same night passes by the recorded values."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.tally = tally(growth_mb_per_hour=2.0)
    keep_metrics(night, var)
    assert accept(night, var).verdict == PASS

    acceptance = accept(with_config(night, "acceptance", **{key: value}), var)

    assert name in failed(acceptance)


@pytest.mark.row("U-06")
def test_night_of_before_the_section_is_judged_as_it_was(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A manifest without the section is judged by the values of the code at that time."""
    night, var = seven_hours(short_run, tmp_path)
    thresholds = [item.threshold for item in accept(night, var).criteria]
    del night.manifest.config["acceptance"]

    acceptance = accept(night, var)

    assert acceptance.verdict == PASS
    assert [item.threshold for item in acceptance.criteria] == thresholds
    assert "at least 7 h 0 min" in thresholds


@pytest.mark.parametrize("host", ["http://127.0.0.1:8080", "ws://localhost:1", "http://[::1]:5"])
def test_night_on_an_exchange_of_this_machine_is_a_drill(
    host: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A night on a loopback exchange is a drill, in real time too."""
    night, var = seven_hours(short_run, tmp_path)
    manifest = replace(night.manifest, hosts=(HOSTS[0], host))
    night = replace(night, recorded=replace(night.recorded, manifest=manifest))

    acceptance = accept(night, var)

    assert acceptance.verdict == DRILL
    assert not acceptance.counts_as_night
    assert host in criterion(acceptance, "duration").found


@pytest.mark.row("N-18")
@pytest.mark.parametrize(
    ("full", "after", "verdict"),
    [
        ("own", "own", PASS),
        ("own", "20200101_000000", FAIL),
        ("20200101_000000", "own", FAIL),
        ("20200101_000000", "20200101_000000", FAIL),
    ],
)
def test_log_counts_as_rotated_only_between_two_lines_of_the_run(
    full: str, after: str, verdict: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A log counts as rotated only between two lines of this run."""
    night, var = seven_hours(short_run, tmp_path)
    names = {"own": night.run_id}
    keep_logs(var, names.get(full, full), names.get(after, after))

    assert criterion(accept(night, var), "rotation").verdict == verdict


@pytest.mark.row("N-18")
@pytest.mark.parametrize("damage", [b"", b"no json\n", b"[1]\n", b'{"run_id": 7}\n'])
def test_log_without_a_run_was_rotated_by_none(
    damage: bytes, short_run: ShortRun, tmp_path: Path
) -> None:
    """An empty or foreign log file is skipped."""
    night, var = seven_hours(short_run, tmp_path)
    (var.logs / "market_role.1.jsonl").write_bytes(damage)

    assert failed(accept(night, var)) == ["rotation"]


@pytest.mark.row("N-107")
def test_real_stop_fails_and_an_injected_one_passes_as_a_drill(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A real STOP fails; an injected one passes as a drill, never as a night."""
    night, var = seven_hours(short_run, tmp_path)
    real = accept(with_stop(night, "RISK_LIMIT"), var)
    night.manifest.config["chaos"] = {"drill": "risk_limit"}
    injected = accept(with_stop(night, "RISK_LIMIT"), var)

    assert set(failed(real)) == {"end", "stops"}
    assert criterion(real, "stops").found == "1 real: RISK_LIMIT 1"
    assert injected.verdict == DRILL
    assert "0 real, 1 injected by risk_limit" in criterion(injected, "stops").found


@pytest.mark.row("N-105")
def test_changed_byte_in_a_queue_fails_the_night(short_run: ShortRun, tmp_path: Path) -> None:
    """A changed byte in a queue fails the night by its hash alone."""
    copied = tmp_path / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    night, var = seven_hours(short_run, tmp_path)
    path = copied / "queues" / "recommendations" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    at = data.index(b'"p_buy":"0.') + len(b'"p_buy":"0.')
    data[at] = ord("9") if data[at] != ord("9") else ord("8")
    path.write_bytes(data)
    night = replace(night, recorded=replace(night.recorded, run_dir=copied))

    acceptance = accept(night, var)

    assert "verify" in failed(acceptance)
    assert "recommendations/inbox.jsonl" in criterion(acceptance, "verify").found


@pytest.mark.row("N-106")
def test_figures_that_do_not_recompute_fail_the_night(short_run: ShortRun, tmp_path: Path) -> None:
    """Figures that the queues do not reproduce fail the night."""
    night, var = seven_hours(short_run, tmp_path)
    better = night.count.performance.to_json() | {"pnl": "1.00000000"}
    keep_metrics(night, var, performance=better)

    acceptance = accept(night, var)

    assert failed(acceptance) == ["figures"]
    assert criterion(acceptance, "figures").found == "different: performance"


def test_night_without_metrics_fails(short_run: ShortRun, tmp_path: Path) -> None:
    """A night without metrics fails."""
    night, var = seven_hours(short_run, tmp_path)
    shutil.rmtree(var.metrics)

    assert failed(accept(night, var)) == ["figures"]


def test_night_apart_from_its_metrics_and_logs_is_told_where_to_judge_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A bundle has neither: nothing fell short, but no night counts that was not judged in full."""
    night, _ = seven_hours(short_run, tmp_path)

    acceptance = accept(night, None)

    assert failed(acceptance) == []
    for name in ("figures", "rotation"):
        assert criterion(acceptance, name).found.endswith("stayed where it ran: judge it there")
    assert not acceptance.passed


def test_night_without_a_rotated_file_fails(short_run: ShortRun, tmp_path: Path) -> None:
    """A night without a rotated file fails, as rotation was not shown."""
    night, var = seven_hours(short_run, tmp_path)
    shutil.rmtree(var.logs)

    assert failed(accept(night, var)) == ["rotation"]


@pytest.mark.parametrize(
    ("change", "short"),
    [
        (lambda night: replace(night, seal={}), "end"),
        (lambda night: sealed(night, state="interrupted"), "end"),
    ],
)
def test_night_without_an_end_of_its_own_fails(
    change: Callable[[Night], Night], short: str, short_run: ShortRun, tmp_path: Path
) -> None:
    """A night that is unsealed, or recovered after a power loss, fails."""
    night, var = seven_hours(short_run, tmp_path)

    acceptance = accept(change(night), var)

    assert acceptance.verdict == FAIL
    assert short in failed(acceptance)


@pytest.mark.parametrize(("mb_per_hour", "holds"), [(9.9, True), (10.1, False)])
def test_growing_memory_fails_the_night(
    mb_per_hour: float, holds: bool, short_run: ShortRun, tmp_path: Path
) -> None:
    """Memory that grows more than ten megabytes an hour fails the night."""
    night, var = seven_hours(short_run, tmp_path)
    night.count.tally = tally(growth_mb_per_hour=mb_per_hour)
    keep_metrics(night, var)

    memory = [item for item in accept(night, var).criteria if item.name.startswith("memory of")]

    assert len(memory) == 6
    assert {item.verdict for item in memory} == {PASS if holds else FAIL}


def test_short_run_leaves_memory_open(short_run: ShortRun) -> None:
    """A short run leaves the memory criterion open."""
    acceptance = accept(opened(short_run), Var(short_run.var))

    memory = [item for item in acceptance.criteria if item.name.startswith("memory of")]
    assert {item.verdict for item in memory} == {OPEN}


@pytest.mark.slow
@given(
    slope=st.integers(-50, 50),
    start=st.integers(0, 10**13),
    noise=st.lists(st.integers(-1000, 1000), min_size=150, max_size=150),
)
def test_slope_of_a_line_is_found_whatever_the_time_and_the_noise(
    slope: int, start: int, noise: list[int]
) -> None:
    """The slope over three hours is found within noise of a kilobyte."""
    samples = [
        (start + minute * MINUTE_MS, 10**9 + slope * MEGABYTE * minute // 60 + extra)
        for minute, extra in zip(range(30, 180), noise, strict=True)
    ]
    # The warm-up grows fast and is excluded.
    samples = [(start + minute * MINUTE_MS, minute * 10**7) for minute in range(30)] + samples

    found = slope_bytes_per_hour(samples)

    assert found is not None
    assert abs(found - slope * MEGABYTE) < 0.01 * MEGABYTE


@pytest.mark.parametrize("samples", [[], [(0, 1)], [(n * MINUTE_MS, 1) for n in range(60)]])
def test_slope_of_too_little_is_none(samples: list[tuple[int, int]]) -> None:
    """Less than an hour behind the warm-up has no slope."""
    assert slope_bytes_per_hour(samples) is None


@pytest.mark.parametrize(
    ("count", "span_ms", "slope"),
    [(30, HOUR_MS, 0.0), (29, HOUR_MS, None), (30, HOUR_MS - 1, None)],
)
def test_slope_begins_with_thirty_samples_over_an_hour(
    count: int, span_ms: int, slope: float | None
) -> None:
    """The first of them is taken exactly half an hour after the role began."""
    begin = WARM_UP_MS + 1
    kept = [(begin + span_ms * n // (count - 1), MEGABYTE) for n in range(count)]

    assert slope_bytes_per_hour([(1, 1), *kept]) == slope


@pytest.mark.row("N-103", "N-107")
def test_accept_prints_uptimes_thresholds_and_verdict_and_keeps_it(short_run: ShortRun) -> None:
    """`accept` prints uptimes, thresholds and verdict, exits 1, and keeps it for `ready`."""
    done = verb(short_run.var, "accept", short_run.run_id)

    assert done.code == 1
    head, *criteria, root = done.out.splitlines()
    assert head.startswith(f"accept {short_run.run_id}: NOT A NIGHT (")
    assert root.startswith("root ")
    assert criteria[0].startswith("FAIL  ")
    assert not any(re.search(r"\b[A-Z]{1,2}-\d", line) for line in criteria)
    for role in ("market_role", "strategy_role", "risk_role", "execution_role", "ai_role"):
        assert f"PASS        {role}: up " in done.out
    assert "stops: 0 real, 0 injected" in done.out
    kept = read_record(short_run.run_dir).acceptance
    assert kept is not None
    assert kept["verdict"] == NOT_A_NIGHT
    assert verb(short_run.var, "verify", short_run.run_id).code == 0


def test_verdict_about_another_root_does_not_count(short_run: ShortRun, tmp_path: Path) -> None:
    """A verdict about another root does not count."""
    copied = tmp_path / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    acceptance = accept(opened(short_run), Var(short_run.var))

    keep(replace(acceptance, root="0" * 64, verdict=PASS, counts_as_night=True), copied)

    assert read_record(copied).acceptance is None


def test_damaged_verdict_is_replaced(tmp_path: Path) -> None:
    """It counts for nothing, and `ready` asks for a new one."""
    kept = Acceptance("20260101_200000", "0" * 64, FAIL, False, 0, ())
    path = keep(kept, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])

    keep(kept, tmp_path)

    assert path.read_bytes() == whole


@pytest.mark.row("N-105")
def test_accept_of_a_run_that_cannot_be_read_fails_with_the_place(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A damaged line is a failed verdict with its place, not a crash."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    path = copied / "queues" / "fills" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)

    done = verb(tmp_path / "var", "accept", "--json")

    assert done.code == 1
    assert done.document["verdict"] == FAIL
    assert "fills/inbox.jsonl, line 1" in done.document["criteria"][0]["found"]
    assert done.document["counts_as_night"] is False
    assert done.document["risk_violations"] is None
