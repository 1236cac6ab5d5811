"""Verbs on finished runs and without a run: answers, exit codes, one document with --json."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minibot.cli.main import ALIASES, verbs
from minibot.cli.risk import now_of
from minibot.engine.recorded_run import Recorded
from minibot.events.names import WATCHDOG_ROLE
from minibot.kernel import canonical
from minibot.kernel.files import read_hashed
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.running import RunLock, note_current
from minibot.runtime.stop import OPERATOR, arm, armed_path, disarm_operator, read_word
from tests.replay.forged import edited
from tests.runs import ShortRun, raw_events, run_command, verb
from tests.waiting import DEADLINE_S

NEVER_RAN = ["stop", "kill", "halt", "resume", "exit-position", "lock-symbol", "unlock-symbol"]


@pytest.mark.row("B-15")
@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ("minibot.nore_run_v1",),
        ("minibot", "train"),
        ("minibot", "backtest"),
        ("minibot", "kill"),
        ("minibot", "probe"),
    ],
    ids=" ".join,
)
def test_command_of_the_specification_exists(words: tuple[str, ...]) -> None:
    """Night, training, backtest, kill switch and probe are commands that explain themselves."""
    done = run_command([*words, "--help"])

    assert done.code == 0, done.err
    assert "usage:" in done.out


@pytest.mark.parametrize("name", NEVER_RAN)
def test_verb_for_a_running_night_exits_3_without_one_and_leaves_no_request(
    name: str, tmp_path: Path
) -> None:
    """Verbs for a running night exit 3 without one and leave no request for the next night."""
    symbol = ["BTCUSDT"] if name.endswith(("-position", "-symbol")) else []

    done = verb(tmp_path / "var", name, *symbol)

    assert done.code == 3
    assert done.err.startswith("refused: no run is running")
    assert not list((tmp_path).rglob("*.json"))


@pytest.mark.usefixtures("run_goes_on")
@pytest.mark.parametrize("name", ["kill", "stop", "halt"])
def test_verb_to_a_run_that_is_being_sealed_is_refused_and_leaves_neither_flag_nor_request(
    name: str, tmp_path: Path
) -> None:
    """A verb to a run being sealed is refused, and leaves neither flag nor request."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.requests):
        folder.mkdir(mode=0o700)
    for role in (OPERATOR, WATCHDOG_ROLE):
        arm(var.stop, "20251120_000000", role)
    with RunLock(var):
        note_current(var, "20251120_000000")
        disarm_operator(var.stop)

        done = verb(var.root, name, "--reason", "x")

    assert done.code == 3
    assert done.err.startswith("refused: 20251120_000000 has ended and is being sealed")
    assert not var.flag.exists()
    assert not list(var.requests.glob("*"))


@pytest.mark.usefixtures("run_goes_on")
@pytest.mark.parametrize("words", [["stop"], ["halt"], ["resume"], ["lock-symbol", "BTCUSDT"]])
def test_order_to_a_run_that_a_stop_has_ended_is_refused_and_leaves_no_request(
    words: list[str], tmp_path: Path
) -> None:
    """A request after a STOP is taken by no one: to call it recorded would be false."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.requests):
        folder.mkdir(mode=0o700)
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")
        verb(var.root, "kill")

        done = verb(var.root, *words)

    assert done.code == 3
    assert done.err.startswith("refused: 20251120_000000 is STOPPED and will be sealed")
    assert [path.name[:4] for path in var.requests.iterdir()] == ["kill"]


def test_kill_stops_the_run_also_where_its_reason_cannot_be_written(tmp_path: Path) -> None:
    """`kill` sets the flag even where its reason cannot be written, as on a full disk."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop):
        folder.mkdir(mode=0o700)
    var.requests.write_bytes(b"no folder")
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")

        done = verb(var.root, "kill")

    assert done.code == 0, done.err
    assert "the reason could not be written (" in done.out
    assert read_hashed(var.flag)["role"] == OPERATOR


@pytest.mark.usefixtures("run_goes_on")
@pytest.mark.parametrize("is_one_left", [False, True])
def test_kill_and_halt_reach_a_run_whose_prepared_files_were_removed(
    tmp_path: Path, *, is_one_left: bool
) -> None:
    """A run is halted and killed without its folders of STOP files and requests, or its switch."""
    var = Var(tmp_path / "var")
    var.root.mkdir(mode=0o700)
    if is_one_left:
        for role in (OPERATOR, WATCHDOG_ROLE):
            arm(var.stop, "20251120_000000", role)
        armed_path(var.stop, OPERATOR).unlink()
    with RunLock(var):
        note_current(var, "20251120_000000")

        halt, kill = verb(var.root, "halt"), verb(var.root, "kill")

    assert (halt.code, kill.code) == (0, 0), halt.err + kill.err
    assert [path.name[:4] for path in sorted(var.requests.iterdir())] == ["halt", "kill"]
    assert read_word(var.flag) == OPERATOR


@pytest.mark.usefixtures("run_goes_on")
@pytest.mark.parametrize("switch", ["missing", "damaged"])
def test_kill_reaches_a_run_that_only_its_live_status_still_names(
    tmp_path: Path, switch: str
) -> None:
    """Note and switch are lost; the status of a run that has ended names none to be killed."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.ops):
        folder.mkdir(mode=0o700)
    if switch == "damaged":
        armed_path(var.stop, OPERATOR).write_bytes(b"sha256:half a li")
    status = {"run_id": "20251120_000000", "ended": {"kind": "END"}}
    with RunLock(var):
        var.status.write_bytes(canonical.encode(status))
        after = verb(var.root, "kill")
        assert not var.flag.exists()
        var.status.write_bytes(canonical.encode({**status, "ended": None}))
        during = verb(var.root, "kill")

    assert (after.code, during.code) == (3, 0), after.err + during.err
    assert f"create {var.flag} by hand" in after.err
    assert during.out.startswith("20251120_000000 is stopped")
    assert var.flag.exists()


def test_second_kill_says_that_the_first_reason_stands(tmp_path: Path) -> None:
    """A run is stopped once: who kills it again learns that this reason goes on no record."""
    var = Var(tmp_path / "var")
    for folder in (var.root, var.stop, var.requests):
        folder.mkdir(mode=0o700)
    arm(var.stop, "20251120_000000", OPERATOR)
    with RunLock(var):
        note_current(var, "20251120_000000")

        first, second = (verb(var.root, "kill", "--reason", why) for why in ("smoke", "fire"))

    assert "the reason is recorded" in first.out
    assert second.code == 0, second.err
    assert "it was being stopped already; the first reason is kept" in second.out


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("backtset", "Did you mean backtest"),
        ("vrify", "Did you mean verify"),
        ("xqzw", "there is no verb 'xqzw'. See: minibot --help"),
        ("walrus", "there is no verb 'walrus'. See: minibot --help"),
    ],
)
def test_verb_that_does_not_exist_is_refused_with_the_nearest(
    typed: str, told: str, tmp_path: Path
) -> None:
    """An unknown verb is refused in one line with the nearest verb."""
    done = verb(tmp_path / "var", typed)

    assert done.code == 2
    assert told in done.err
    assert len(done.err.splitlines()) == 1
    assert len(done.err) < 200
    assert done.out == ""


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (("tail", "signals", "-n", "-1"), "from 0 on"),
        (("runs", "-n", "0"), "from 1 on"),
        (("verify", "--jobs", "0"), "from 1 on"),
        (("chaos", "--list", "--jobs", "0"), "from 1 on"),
        (("optimise", "--vary", "strategy.rsi_period=7:9", "--trials", "none"), "from 1 on"),
        (("backtest", "--jobs", "\u00b2"), "1 to 256"),
        (("backtest", "--lookahead-check", "\u00b2"), "a number or all"),
        (("exchange", "serve", "--port", "65536"), "0 to 65535"),
        (("exchange", "serve", "--port", "-1"), "0 to 65535"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_number_that_means_nothing_is_refused_with_what_is_allowed(
    words: tuple[str, ...], allowed: str, short_run: ShortRun
) -> None:
    """A meaningless number is refused with the allowed ones, without traceback."""
    done = verb(short_run.var, *words)

    assert done.code == 2
    assert f"{allowed}, found {words[-1]}" in done.err
    assert done.out == ""


@pytest.mark.parametrize("name", ["verify", "replay", "report", "explain", "accept", "metrics"])
def test_verb_for_a_run_exits_2_without_one_and_says_how_to_start(
    name: str, tmp_path: Path
) -> None:
    """Verbs for a run exit 2 on an empty var and say how to start one."""
    done = verb(tmp_path / "var", name)

    assert done.code == 2
    assert "there is no run" in done.err
    assert "minibot night" in done.err
    assert done.out == ""


def test_status_without_anything_exits_3(tmp_path: Path) -> None:
    """Status without any run exits 3."""
    done = verb(tmp_path / "var", "status", "--json")

    assert done.code == 3
    assert done.document["running"] is None
    assert "last" not in done.document


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("runs",),
        ("report",),
        ("metrics",),
        ("explain",),
        ("verify",),
        ("replay", "--role", "risk_role"),
        ("accept",),
        ("ready",),
        ("config", "check"),
        ("config", "show", "--origin"),
        ("probe", "--seconds", "1"),
        ("doctor", "-c", "config/nore-demo.v1.json"),
    ],
    ids=" ".join,
)
def test_json_of_every_verb_is_one_document_and_messages_go_elsewhere(
    words: tuple[str, ...], short_run: ShortRun
) -> None:
    """Every verb with --json prints one document on standard output and messages elsewhere."""
    done = verb(short_run.var, *words, "--json")

    assert done.code in (0, 1, 3)
    assert isinstance(done.document, dict)
    assert "Traceback" not in done.err


def test_status_after_a_stop_shows_reason_and_remedy_and_exits_10_until_it_is_cleared(
    stopped_run: ShortRun, tmp_path: Path
) -> None:
    """Status after a STOP shows reason and remedy, and exits 10 until cleared with a reason."""
    var = tmp_path / "var"
    shutil.copytree(stopped_run.var, var)
    before = verb(var, "status")
    flag = verb(var, "status", "--json").document["flag"]
    explained = verb(var, "explain", "--stop", "--full")
    accepted = verb(var, "accept")
    wordless = verb(var, "clear-stop", "--reason", " ")
    uncleared = verb(var, "status")
    verb(var, "clear-stop", "--reason", "a test is over")
    after = verb(var, "status")

    assert before.code == 10
    assert "RISK_LIMIT" in before.out
    assert "minibot clear-stop" in before.out
    assert flag["run_id"] == stopped_run.run_id
    assert flag["reason_code"] == "RISK_LIMIT"
    assert explained.code == 0
    assert re.search(r"^risk_actions:\d+ .*risk_action$", explained.out, re.MULTILINE)
    assert "FAIL night_loss_hard" in explained.out
    assert "nothing that execution wrote is later than the STOP" in explained.out
    assert accepted.code == 1
    assert "stops: 1 real: RISK_LIMIT 1" in accepted.out
    assert (wordless.code, uncleared.code) == (2, 10)
    assert after.code == 3
    assert verb(var, "clear-stop", "--reason", "again").code == 3


def test_runs_lists_how_each_ended(short_run: ShortRun, stopped_run: ShortRun) -> None:
    """`runs` lists each ending, also under the verb name of other bots."""
    (listed,) = verb(short_run.var, "runs", "--json").document["runs"]
    alias = verb(stopped_run.var, "list-runs").out

    assert (listed["run_id"], listed["state"]) == (short_run.run_id, "sealed")
    assert listed["simulated"] is True
    assert stopped_run.run_id in alias
    assert "stopped RISK_LIMIT" in alias


@pytest.mark.parametrize("queue", ["signals", "fills", "health/parts/ai_role", "control"])
def test_tail_shows_the_last_events_in_a_line_each(queue: str, short_run: ShortRun) -> None:
    """`tail` prints one line per event; with --json the event itself."""
    name, _, part = queue.partition("/parts/")
    whole = raw_events(short_run.run_dir, name if not part else f"{name}/parts", part or "inbox")

    plain = verb(short_run.var, "tail", queue, "-n", "2")
    exact = verb(short_run.var, "tail", queue, "-n", "2", "--json")

    assert [line.split()[0] for line in plain.out.splitlines()] == [
        str(number) for number in range(len(whole) + 1)[-2:]
    ]
    assert [json.loads(line) for line in exact.out.splitlines()] == whole[-2:]


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: /proc/self/fd")
def test_tail_leaves_no_descriptor_open(short_run: ShortRun) -> None:
    """`tail` gives its watches back: Linux allows a user 128 of them, over all processes."""
    before = len(os.listdir("/proc/self/fd"))

    verb(short_run.var, "tail", "signals")

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "queue", ["nope", "../secrets", "signals/parts/market_role", "health/parts/market"]
)
def test_tail_of_what_is_no_queue_is_refused_with_the_names(
    queue: str, short_run: ShortRun
) -> None:
    """`tail` of an unknown queue, or of a path, is refused with the names."""
    done = verb(short_run.var, "tail", queue)

    assert done.code == 2
    assert done.out == ""


@pytest.mark.row("N-78", "N-80")
def test_metrics_verb_counts_again_what_the_file_says(short_run: ShortRun) -> None:
    """Metrics counted again from the queues equal the file's figures."""
    again = verb(short_run.var, "metrics", "--json").document
    live = verb(short_run.var, "metrics", "--live", "--json").document

    assert {name: live[name] for name in again} == again


def test_live_metrics_of_another_run_than_the_named_one_are_refused(short_run: ShortRun) -> None:
    """Figures of the run that wrote last are not shown for those of another."""
    own = verb(short_run.var, "metrics", short_run.run_id, "--live")
    other = verb(short_run.var, "metrics", "20991120_000000", "--live")

    assert (own.code, other.code) == (0, 2)
    assert f"is of {short_run.run_id}, not of 20991120_000000" in other.err


def test_live_metrics_of_a_run_named_by_its_folder_are_its_own(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A folder names a run as its id does; a copy elsewhere is another one."""
    copied = shutil.copytree(short_run.run_dir, tmp_path / short_run.run_id)

    own = verb(short_run.var, "metrics", str(short_run.run_dir), "--live")
    other = verb(short_run.var, "metrics", str(copied), "--live")

    assert (own.code, other.code) == (0, 2), own.err


def test_live_metrics_say_whose_they_are_and_of_when(short_run: ShortRun, tmp_path: Path) -> None:
    """Live metrics name their run and time, so an earlier night's are not mistaken."""
    var = Var(tmp_path / "var")
    shutil.copytree(short_run.var / "metrics", var.metrics)

    ended = verb(var.root, "metrics", "--live")
    with RunLock(var):
        note_current(var, "20991120_000000")
        other = verb(var.root, "metrics", "--live")
        note_current(var, short_run.run_id)
        same = verb(var.root, "metrics", "--live")
    heads = [said.out.splitlines()[0] for said in (ended, other, same)]

    assert all(head.startswith(f"{short_run.run_id} at market time ") for head in heads)
    assert all(" written 20" in head and " ago; " in head for head in heads)
    assert heads[0].endswith("it has ended")
    assert "NOT of 20991120_000000, which runs now" in heads[1]
    assert heads[2].endswith("it goes on")


def test_doctor_of_a_profile_that_can_run_here_exits_0(short_run: ShortRun) -> None:
    """Doctor of a runnable profile exits 0 with a line for each check of a start."""
    done = verb(short_run.var, "doctor", "-c", "config/nore-demo.v1.json")

    assert done.code == 0, done.out
    for name in ("python", "packages", "STOP.flag", "secrets", "var", "disk", "locks", "sync"):
        assert re.search(rf"^  {name} ", done.out, re.MULTILINE), name
    assert done.out.splitlines()[-1].startswith("nore-demo can run here")


def test_doctor_names_every_host_that_is_unreachable(short_run: ShortRun) -> None:
    """Doctor names every unreachable host, not only the first, like the run's refusal."""
    nowhere = ["--set", "binance.rest_url=http://127.0.0.1:9"]
    nowhere += ["--set", "binance.stream_url=ws://127.0.0.1:9"]
    done = verb(short_run.var, "doctor", "-c", "config/nore.v1.json", *nowhere, "--json")

    checks = {check["name"]: check for check in done.document["checks"]}
    assert done.code == 1
    assert done.document["ok"] is False
    for name, address in (("exchange", "http://127.0.0.1:9"), ("stream", "ws://127.0.0.1:9")):
        assert not checks[name]["passed"]
        assert address in checks[name]["found"]
        assert checks[name]["remedy"]


@pytest.mark.process
def test_doctor_looks_at_everything_although_a_flag_stands(tmp_path: Path) -> None:
    """Doctor makes every check even while a flag stands."""
    var = tmp_path / "var"
    var.mkdir()
    (var / "STOP.flag").write_bytes(b"stopped\n")
    done = verb(var, "doctor", "-c", "config/nore-demo.v1.json", "--json")

    checks = {check["name"]: check["passed"] for check in done.document["checks"]}
    assert done.code == 1
    assert checks["STOP.flag"] is False
    assert checks["sync"] is True
    assert "market data" in checks


@pytest.mark.row("C-24")
def test_config_shows_each_value_with_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config show` names each value's origin: --set over environment over file."""
    monkeypatch.setenv("MINIBOT__SEED", "5")
    monkeypatch.setenv("MINIBOT__RISK__POSITIONS_MAX", "2")

    done = verb(tmp_path / "var", "show-config", "show", "--origin", "--set", "seed=7")

    assert re.search(r"^seed +7  \[--set", done.out, re.MULTILINE)
    assert re.search(r"^risk\.positions_max +2  \[MINIBOT__RISK__POSITIONS_MAX", done.out, re.M)
    assert re.search(r'^mode +"NORE"  \[nore\.v1\.json', done.out, re.MULTILINE)


@pytest.mark.row("C-24")
def test_config_of_an_overlay_shows_file_and_layer_of_each_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config show` of an overlay names file and layer of each value, in text and --json."""
    path = tmp_path / "mine.json"
    path.write_text('{"extends": "nore.v1.json", "risk": {"positions_max": 2}}', encoding="utf-8")
    words = ["config", "show", "--origin", "--config", str(path), "--set", "seed=7"]

    document = verb(tmp_path / "var", *words, "--json").document
    monkeypatch.setenv("MINIBOT__RISK__ORDER_NOTIONAL", "200")
    shown = verb(tmp_path / "var", *words).out

    assert re.search(r"^risk\.positions_max +2  \[mine\.json, overlay\]$", shown, re.MULTILINE)
    assert re.search(r'^mode +"NORE"  \[nore\.v1\.json, base\]$', shown, re.MULTILINE)
    assert re.search(r"^risk\.order_notional .*, environment\]$", shown, re.MULTILINE)
    assert re.search(r"^seed +7  \[--set\]$", shown, re.MULTILINE)
    assert document["origin"]["risk.positions_max"] == "mine.json"
    assert document["layer"]["risk.positions_max"] == "overlay"
    assert document["layer"]["mode"] == "base"


def test_config_check_exits_4_with_every_violation(tmp_path: Path) -> None:
    """`config check` exits 4 and names both wrong keys at once."""
    words = ["--set", "risk.max_drawdwn=3", "--set", "mode=LIVE"]

    done = verb(tmp_path / "var", "config", "check", *words)

    assert done.code == 4
    assert "risk.max_drawdwn" in done.err
    assert "mode" in done.err


def test_config_takes_one_profile_and_none_beside_it(tmp_path: Path) -> None:
    """FILE beside `--config` is refused, also where that names the default."""
    file = "config/nore-demo.v1.json"
    for named in ("config/nore.v1.json", file):
        done = verb(tmp_path / "var", "config", "check", file, "--config", named)

        assert (done.code, "Give one of them" in done.err) == (2, True)


def test_aliases_lead_to_verbs_that_exist_or_are_to_come() -> None:
    """Aliases of other bots lead to existing verbs, and none hides a verb."""
    known = set(verbs())

    assert {verb for alias, verb in ALIASES.items() if alias != "backtesting"} <= known
    assert not set(ALIASES) & known


def test_reader_that_goes_away_gets_no_0_for_what_it_was_not_told(short_run: ShortRun) -> None:
    """A pipe closed by its reader, as in `verify | head`, makes exit code 2, not 0."""
    ticks = str(len(raw_events(short_run.run_dir, "market_ticks")))
    words = ["tail", "market_ticks", "--lines", ticks, "--run", str(short_run.run_dir)]
    process = subprocess.Popen(
        [sys.executable, "-m", "minibot", *words],
        cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=DEADLINE_S) == 2
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_tail_as_json_is_json_whatever_an_event_says(short_run: ShortRun, tmp_path: Path) -> None:
    """Letters beyond ASCII come as JSON escapes, so that every reader gets the same event."""
    reason = "Gr\u00f6\u00dfe \U0001f600"
    copied = edited(
        short_run, tmp_path, "signals", 3, lambda event: event["payload"].update(reason=reason)
    )

    done = verb(tmp_path, "tail", "signals", "--run", str(copied), "-n", "1000", "--json")

    assert done.out.isascii()
    assert json.loads(done.out.splitlines()[2])["payload"]["reason"] == reason


def test_copy_of_a_run_is_shown_as_itself(short_run: ShortRun, tmp_path: Path) -> None:
    """A copy has the id of the run in `var`, and what it lacks is told of the copy."""
    copied = shutil.copytree(short_run.run_dir, tmp_path / short_run.run_id)
    (copied / "seal.json").unlink()

    shown = [
        verb(short_run.var, "runs", "show", str(each), "--json").document
        for each in (short_run.run_dir, copied)
    ]
    text = verb(short_run.var, "runs", "show", str(copied)).out

    assert shown[0]["state"] == "sealed" != shown[1]["state"]
    assert shown[1]["folder"] != shown[0]["folder"]
    assert f"minibot report {copied}" in text


def test_clock_of_a_running_run_is_not_that_of_its_copy(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Data of a backup are as old as its last tick, however long the original runs on."""
    copied = shutil.copytree(short_run.run_dir, tmp_path / short_run.run_id)
    last = raw_events(copied, "market_ticks")[-1]["ts"]

    assert now_of(Recorded.open(copied), short_run.run_dir) == last
    assert now_of(Recorded.open(short_run.run_dir), short_run.run_dir) != last
