"""Verbs on a running night: their view of it, their requests, and `tail` over rotation."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import filelock
import pytest

from minibot.cli.support.leftover_checks import leftover_checks
from minibot.engine.lookup import lines_from
from minibot.engine.role_replay import Recorded
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.paths import Var
from minibot.runtime.request_file import leave_request
from minibot.runtime.stop import OPERATOR, arm
from minibot.watchdog.recovery import clear_former_run
from tests.runs import PROJECT, ShortRun, clean_environ, night_argv, raw_events, verb
from tests.waiting import DEADLINE_S, wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

SEGMENT = "65536"
# The reason is journaled, so an odd text must be neither refused nor lost.
HOSTILE = ("\\udcff\\u0000" + "x" * 9000)[:2000]
WIN = sys.platform == "win32"


def spawn(*argv: str) -> subprocess.Popen[str]:
    """Start a module of the product."""
    return subprocess.Popen(
        [sys.executable, "-m", *argv],
        cwd=PROJECT,
        env=clean_environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


class RunningNight:
    """Running night in the background, with a `tail --follow` beside it."""

    def __init__(self, var: Path) -> None:
        self.var = var
        sets = {"duration_ms": "25200000", "queues.segment_bytes": SEGMENT}
        self.night = spawn(*night_argv(var, sets, "--quiet", "--no-proof"))
        wait_until(lambda: list((var / "runs").glob("*/clock.json")), "running night")
        self.tail = spawn(
            "minibot", "tail", "market_ticks", "-f", "-n", "100000", "--json", "--var", str(var)
        )
        self.watch = spawn("minibot", "watch", "--var", str(var))
        self.followed: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()

    def _follow(self) -> None:
        assert self.tail.stdout is not None
        for line in self.tail.stdout:
            self.followed.append(json.loads(line))

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""
        return sorted(path.parent for path in (self.var / "runs").glob("*/manifest.json"))[-1]

    def stop(self) -> None:
        """End the night in order once it has three segments."""
        folder = self.var / "queues" / "market_ticks"
        wait_until(lambda: len(list(folder.glob("inbox.0*.jsonl"))) >= 3, "third segment")
        assert verb(self.var, "stop", "--reason", "enough").code == 0
        self.night.communicate(timeout=DEADLINE_S)

    def end(self) -> None:
        """Kill the processes that still run, by their own handles."""
        for process in (self.tail, self.watch, self.night):
            if process.poll() is None:
                process.kill()
            process.wait()


class Nights:
    """The night of these tests: one runs while they need it, then they look at the ended one.

    Workers take tests from each other, so a test of the running night may follow one of its end.
    """

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._running: RunningNight | None = None
        self._ended: RunningNight | None = None

    def running(self) -> RunningNight:
        """Return the night that runs, started where none does."""
        if self._running is None:
            var = self._factory.mktemp("running") / "var"
            var.mkdir(mode=0o700)
            self._running = RunningNight(var)
        return self._running

    def ended(self) -> RunningNight:
        """Return the night that has ended, in order."""
        if self._ended is None:
            self._ended, self._running = self.running(), None
            self._ended.stop()
        return self._ended

    def end(self) -> None:
        """End what still runs."""
        for night in (self._running, self._ended):
            if night is not None:
                night.end()


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    """The night of all tests here."""
    found = Nights(tmp_path_factory)
    yield found
    found.end()


@pytest.fixture
def running(nights: Nights) -> RunningNight:
    """A night that runs."""
    return nights.running()


@pytest.fixture
def ended(nights: Nights) -> RunningNight:
    """A night that an operator has ended."""
    return nights.ended()


def control(night: RunningNight) -> list[dict[str, Any]]:
    """Return the events in the control queue."""
    done = verb(night.var, "tail", "control", "-n", "100", "--json")
    return [json.loads(line) for line in done.out.splitlines()]


def test_status_of_a_running_night_names_it_and_its_roles_and_exits_0(
    running: RunningNight,
) -> None:
    """Status of a running night names run, profile and six roles with their last heartbeats."""

    def heard() -> set[str]:
        document = verb(running.var, "status", "--json").document
        return {role["role"] for role in document["roles"]}

    wait_until(lambda: len(heard()) == 6, "word of six roles")

    done = verb(running.var, "status", "--json")
    words = verb(running.var, "status", "--max-age", "600")
    stale = verb(running.var, "status", "--max-age", "-1")

    assert done.code == 0
    assert done.document["running"] == running.run_dir.name
    assert done.document["flag"] is None
    assert words.code == 0
    assert f"running       {running.run_dir.name}, profile nore-smoke, simulated data" in words.out
    assert stale.code == 1


def test_watch_shows_the_newest_status_of_a_night_that_another_terminal_started(
    running: RunningNight,
) -> None:
    """A second terminal sees what the launcher's own table shows."""
    once = verb(running.var, "watch", "--once")
    status = verb(running.var, "watch", "--json")

    run_id = running.run_dir.name
    assert once.code == status.code == 0
    assert once.out.startswith(f"minibot nore-smoke, run {run_id}, simulated data, paper\n")
    assert status.document["run_id"] == run_id


def test_watch_of_a_night_ends_with_it_and_says_how(ended: RunningNight) -> None:
    """A log of a night, watched from its start, ends with the night's own last sentence."""
    out, error = ended.watch.communicate(timeout=DEADLINE_S)

    assert ended.watch.returncode == 0, error
    assert f"run {ended.run_dir.name}" in out.splitlines()[0]
    assert out.splitlines()[-1].startswith("ended by OPERATOR")
    assert verb(ended.var, "watch").code == 3


@pytest.mark.row("C-118", "C-119")
def test_health_of_a_running_night_is_one_line_with_its_exit_code(running: RunningNight) -> None:
    """A well night is OK and 0; a role silent for longer than allowed is FAIL and 1."""
    run_id = running.run_dir.name
    form = re.compile(rf"OK  {run_id}: 6 roles heard within \d+ s, data .* s old\n")

    def heard() -> bool:
        done = verb(running.var, "health")
        return done.code == 0 and form.fullmatch(done.out) is not None

    wait_until(heard, "six healthy roles, told in one line")  # The AI is well last, or never.

    silent = verb(running.var, "health", "--max-age", "-1")
    detail = verb(running.var, "health", "--detail", "--json").document["detail"]

    assert silent.code == 1
    assert silent.out.startswith(f"FAIL  {run_id}: ")
    assert len(silent.out.splitlines()) == 1
    assert detail["venue"]["name"] == "binance"
    assert {"order_intents"} <= {
        queue for role in detail["roles"] for queue in role.get("inputs") or {}
    }


@pytest.mark.parametrize(
    ("words", "kind", "fields"),
    [
        (("halt",), "halt", {"why": "operator"}),
        (("halt", "--reason", "a test"), "halt", {"why": "a test"}),
        (("resume",), "resume", {"why": "operator"}),
        (("lock-symbol", "btcusdt"), "lock_symbol", {"why": "operator"}),
        (("halt", "--reason", "\udcff\0" + "x" * 9000), "halt", {"why": HOSTILE}),
        (("resume", "--reason", "over"), "resume", {"why": "over"}),
        (
            ("lock-symbol", "btcusdt", "--reason", "thin"),
            "lock_symbol",
            {"symbol": "BTCUSDT", "why": "thin"},
        ),
    ],
)
def test_request_of_an_operator_stands_in_control_with_who_and_why(
    words: tuple[str, ...], kind: str, fields: dict[str, str], running: RunningNight
) -> None:
    """An operator's request is journaled in control with user and reason, so replay sees it."""
    done = verb(running.var, *words)

    def journaled() -> list[dict[str, Any]]:
        found = [event["payload"] for event in control(running) if event["type"] == kind]
        return [payload for payload in found if fields.items() <= payload.items()]

    wait_until(journaled, f"{kind} with {fields} in control")
    assert done.code == 0
    assert journaled()[-1]["who"]


def test_wish_to_leave_a_symbol_stands_in_control_with_who_and_why(running: RunningNight) -> None:
    """An `exit-position` request is journaled in control with user and reason."""
    wish = {"who": "anna", "why": "enough", "symbol": "BTCUSDT"}
    leave_request(running.var / "requests", running.run_dir.name, "exit_position", **wish)

    def journaled() -> list[dict[str, Any]]:
        return [item["payload"] for item in control(running) if item["type"] == "exit_position"]

    wait_until(journaled, "exit_position in control")
    assert wish.items() <= journaled()[-1].items()


def as_running(run: ShortRun, var: Path) -> None:
    """Copy a run into a `var` as if it were running, for a holder of its lock."""
    run_dir = var / "runs" / run.run_id
    shutil.copytree(run.run_dir, run_dir)
    (run_dir / "queues").rename(var / "queues")
    (run_dir / "seal.json").unlink()
    write_hashed(var / "current.json", {"run_id": run.run_id})
    for folder in ("requests", "stop"):
        (var / folder).mkdir()
    arm(var / "stop", run.run_id, OPERATOR)


def test_page_of_a_night_without_one_is_refused_as_of_a_night_that_runs(
    short_run: ShortRun, var_dir: Path
) -> None:
    """The code is not that of an idle `var`, whether or not an earlier run has had a page."""
    as_running(short_run, var_dir)
    codes = []

    with filelock.FileLock(str(var_dir / "run.lock")):
        for address in (None, b'{"run_id":"20200101_000000","url":"http://127.0.0.1:1/"}\n'):
            if address is not None:
                path = Var(var_dir).page_address
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(address)
            done = verb(var_dir, "page")
            codes.append(done.code)
            assert f"{short_run.run_id} has no page" in done.err
    idle = verb(var_dir, "page")

    assert codes == [2, 2]
    assert idle.code == 3


def test_exit_position_asks_for_what_is_held(stopped_run: ShortRun, var_dir: Path) -> None:
    """The request file names run, symbol, user and reason."""
    as_running(stopped_run, var_dir)

    with filelock.FileLock(str(var_dir / "run.lock")):
        done = verb(var_dir, "exit-position", "btc/usdt", "--reason", "enough")

    assert done.code == 0, done.err
    assert "BTCUSDT is to be closed" in done.out
    request = read_hashed(next((var_dir / "requests").glob("exit_position*.json")))
    asked = {"run_id": stopped_run.run_id, "symbol": "BTCUSDT", "why": "enough"}
    assert asked.items() <= request.items()
    assert request["who"]


def test_status_after_a_killed_launcher_says_what_is_still_held(
    stopped_run: ShortRun, var_dir: Path
) -> None:
    """A run that nothing has sealed has no figures yet: its fills say what it holds."""
    as_running(stopped_run, var_dir)
    (var_dir / "runs" / stopped_run.run_id / "metrics.json").unlink()

    done, said = verb(var_dir, "status", "--json"), verb(var_dir, "status")

    held = verb(stopped_run.var, "status", "--json").document["open_positions"]
    assert "ended by RISK_LIMIT, but has no seal yet; the next start recovers and seals" in said.out
    assert done.document["open_positions"] == held != []
    assert "still open    " in said.out


def test_verify_after_a_killed_launcher_misses_no_queues(
    stopped_run: ShortRun, var_dir: Path
) -> None:
    """Queues that wait below `var` for the next start are not missing, but not verified either."""
    as_running(stopped_run, var_dir)

    done = verb(var_dir, "verify")

    assert done.code == 1
    assert f"{stopped_run.run_id} ended by RISK_LIMIT, but has no seal yet" in done.err
    assert "queues is missing" not in done.out


@pytest.mark.parametrize("is_damaged", [False, True])
def test_run_whose_note_is_lost_waits_for_the_start_that_finds_it_by_its_lines(
    stopped_run: ShortRun, var_dir: Path, *, is_damaged: bool
) -> None:
    """Its queues wait in `var`, as those of any killed launcher do, and are not called missing."""
    as_running(stopped_run, var_dir)
    note = var_dir / "current.json"
    note.write_bytes(b"{}") if is_damaged else note.unlink()

    said, judged = verb(var_dir, "status").out, verb(var_dir, "verify")
    (found,) = (each for each in leftover_checks(Var(var_dir)) if each.name == "unsealed")
    note.unlink(missing_ok=True)  # What the check and the refused start ask for.
    recovered = clear_former_run(Var(var_dir), Contracts.of_project(), Roles.of_project())

    assert "has no seal yet; the next start recovers and seals it" in said
    assert "queues is missing" not in judged.out
    assert found.level == ("FAIL" if is_damaged else "WARN")
    assert (str(note) in found.remedy) == is_damaged
    assert recovered is not None
    assert recovered.run_id == stopped_run.run_id


def test_verify_names_the_queue_that_a_start_had_to_make_again(
    stopped_run: ShortRun, var_dir: Path
) -> None:
    """The empty queue in its place is whole; only the seal knows that there was another."""
    as_running(stopped_run, var_dir)
    shutil.rmtree(var_dir / "queues" / "fills")
    clear_former_run(Var(var_dir), Contracts.of_project(), Roles.of_project())

    packed = var_dir.parent / "night.tar.gz"
    verb(var_dir, "bundle", "--no-report", "--out", str(packed))

    for words in (("--append-only",), ("--quick",), (str(packed),)):
        done = verb(var_dir, "verify", *words)
        assert done.code == 1
        assert "QUEUE_MISSING seal.json: " in done.out
        assert "queues/fills/inbox: its files are gone" in done.out


@pytest.mark.usefixtures("run_goes_on")
def test_judges_tell_that_a_night_is_still_going(short_run: ShortRun, var_dir: Path) -> None:
    """A night without its end yet is neither ended, nor interrupted, nor damaged."""
    as_running(short_run, var_dir)

    with filelock.FileLock(str(var_dir / "run.lock")):
        listed, shown = verb(var_dir, "runs"), verb(var_dir, "runs", "show", "latest")
        judges = [
            verb(var_dir, "verify"),
            verb(var_dir, "accept"),
            verb(var_dir, "verify", "--json"),
        ]
        (end,) = [
            item
            for item in verb(var_dir, "accept", "--json").document["criteria"]
            if item["name"] == "end"
        ]
    over = [verb(var_dir, "verify"), verb(var_dir, "accept")]

    assert "still going" in listed.out
    assert "still going" in shown.out
    assert [judge.code for judge in judges] == [1, 1, 1]
    assert all(f"{short_run.run_id} is still going" in judge.err for judge in judges)
    assert "interrupted" not in end["found"]
    assert not any("still going" in judge.err for judge in over)


def test_exit_position_of_what_is_not_held_says_so_and_asks_for_nothing(
    short_run: ShortRun, var_dir: Path
) -> None:
    """A symbol that is not held is answered so, without a request."""
    as_running(short_run, var_dir)

    with filelock.FileLock(str(var_dir / "run.lock")):
        done = verb(var_dir, "exit-position", "BTCUSDT", "--reason", "enough")

    assert done.code == 2
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert f"{short_run.run_id} holds nothing in BTCUSDT" in done.err
    assert not list((var_dir / "requests").glob("*"))


@pytest.mark.parametrize("content", [None, b"garbage"])
def test_kill_needs_no_note_of_the_run(
    short_run: ShortRun, var_dir: Path, content: bytes | None
) -> None:
    """A run whose `current.json` is gone or damaged is killed all the same, by its held lock."""
    as_running(short_run, var_dir)
    (var_dir / "current.json").unlink()
    if content is not None:
        (var_dir / "current.json").write_bytes(content)
    (var_dir / "run.lock").touch()

    idle = verb(var_dir, "kill", "--reason", "too early")
    is_raised_idle = (var_dir / "STOP.flag").exists()
    with filelock.FileLock(str(var_dir / "run.lock")):
        done = verb(var_dir, "kill", "--reason", "I saw smoke")
        stop = verb(var_dir, "stop", "--reason", "no kill")

    assert (idle.code, is_raised_idle) == (3, False)
    assert done.code == 0, done.err
    assert read_hashed(var_dir / "STOP.flag")["run_id"] == short_run.run_id
    (request,) = (var_dir / "requests").glob("kill*.json")
    assert read_hashed(request)["why"] == "I saw smoke"
    assert stop.code == 3


def test_lock_for_minutes_ends_in_market_time(running: RunningNight) -> None:
    """An hour ends in market time, on a clock twenty times as fast."""

    def ending() -> list[dict[str, Any]]:
        # Not the last event: a model or another test's lock may come in between.
        locks = [event for event in control(running) if event["type"] == "lock_symbol"]
        return [event for event in locks if event["payload"].get("until_ts") is not None]

    # An hour is three minutes of wall clock: longer than the launcher takes to journal it.
    verb(running.var, "lock-symbol", "BTCUSDT", "--minutes", "60", "--reason", "x")
    event = wait_until(ending, "lock in control")[-1]

    assert 0 < event["payload"]["until_ts"] - event["ts"] <= 3_600_000


def test_status_of_a_running_night_says_what_is_held_halted_and_locked(
    running: RunningNight,
) -> None:
    """Status shows holdings, halts and locks of a running night."""

    def standing() -> dict[str, Any]:
        document = verb(running.var, "status", "--json").document
        found: dict[str, Any] = document["standing"]
        return found

    for request in (("halt",), ("lock-symbol", "BTCUSDT")):
        assert verb(running.var, *request, "--reason", "news at 14").code == 0

    def is_heard() -> bool:
        # Another verb to this night may already have set a lock with an end.
        found = standing()
        lock = found["locks"].get("BTCUSDT")
        # A halt or a lock of another test may still stand: ours says why.
        answers = [each and each["why"] for each in (found["halted"], lock)]
        return answers == ["news at 14"] * 2 and lock["until_ts"] is None

    wait_until(is_heard, "halt and lock")
    halted, words = standing(), verb(running.var, "status").out
    assert verb(running.var, "resume", "--reason", "over").code == 0
    wait_until(lambda: standing()["halted"] is None, "resume")

    assert halted["halted"]["why"] == "news at 14"
    assert halted["locks"]["BTCUSDT"]["until_ts"] is None
    assert re.search(r"^  halted +no new entries since .*: news at 14", words, re.MULTILINE)
    assert re.search(r"^  locked +no entries in BTCUSDT to the run's end", words, re.MULTILINE)
    money = r"^  money +realised P&L (\S+) USDT \(gross (\S+), fees (\S+)\), "
    answers = re.search(money, words, re.MULTILINE)
    assert answers is not None
    net, gross, fees = (Decimal(text.replace(",", "")) for text in answers.groups())
    assert abs(net - (gross - fees)) <= Decimal("0.01")
    assert re.search(r"^  open +\S", words, re.MULTILINE)
    assert "  halted " not in verb(running.var, "status").out


def test_symbol_that_is_not_traded_is_refused_and_leaves_no_request(
    running: RunningNight,
) -> None:
    """A symbol that is not traded is refused, and no request is left."""
    done = verb(running.var, "exit-position", "ETH/USDT", "--reason", "x")

    assert done.code == 2
    assert "It trades: BTCUSDT" in done.err
    assert not list((running.var / "requests").glob("exit_position*"))


def test_metrics_of_a_running_night_are_shown_as_last_written(running: RunningNight) -> None:
    """`metrics --live` shows the file that the watchdog replaces."""
    wait_until((running.var / "metrics" / "metrics.json").exists, "metrics")

    done = verb(running.var, "metrics", "--live", "--json")

    assert done.document["run_id"] == running.run_dir.name


def test_tail_follows_by_name_through_rotation_until_the_end(ended: RunningNight) -> None:
    """`tail --follow` prints every line of every segment once, in order; Ctrl-C exits 0."""
    whole = [event["id"] for event in raw_events(ended.run_dir, "market_ticks")]
    wait_until(lambda: len(ended.followed) >= len(whole), "last followed line")
    ended.tail.send_signal(signal.SIGINT)

    code = ended.tail.wait(DEADLINE_S)

    assert ended.night.returncode == 0
    assert code == 0 or WIN
    assert [event["id"] for event in ended.followed] == whole


def test_tail_and_lookup_of_a_segmented_queue_count_over_all_segments(
    ended: RunningNight,
) -> None:
    """Tail and lookup count lines across segments, also those that they skip."""
    recorded = Recorded.open(ended.run_dir)
    whole = raw_events(ended.run_dir, "market_ticks")
    sealed = ended.run_dir / "queues" / "market_ticks"
    assert len(list(sealed.glob("inbox.0*.jsonl"))) >= 3
    for seq in (1, len(whole) // 2, len(whole)):
        line = next(lines_from(recorded, "market_ticks", seq))
        assert line.seq == seq
        assert recorded.decode("market_ticks", line).id == whole[seq - 1]["id"]

    done = verb(ended.var, "tail", "market_ticks", "-n", "3")

    assert [line.split()[0] for line in done.out.splitlines()] == [
        str(len(whole) - 2),
        str(len(whole) - 1),
        str(len(whole)),
    ]


def test_night_ended_by_an_operator_is_accepted_as_ended_in_order(ended: RunningNight) -> None:
    """A night ended by an operator is accepted, and its requests replay."""
    assert verb(ended.var, "status").code == 3
    assert verb(ended.var, "replay").code == 0
    assert "ended by      OPERATOR" in verb(ended.var, "report", "--full").out
