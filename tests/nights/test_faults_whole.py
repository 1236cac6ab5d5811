"""Faults around a whole night: time zones, `-O`, secrets."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.events.unit_sizes import MINUTE_MS
from minibot.kernel.files import write_atomic
from minibot.simulator.sources.generator import ORIGIN_MS
from tests.runs import ShortRun, night_argv, raw_events, run_command, verb

pytestmark = [pytest.mark.campaign, pytest.mark.process]

CANARY = "c4n4ry-9f2b7d51e0aa"
# Market time begins at 18:00 UTC; 20 s later local clocks go on by an hour, after 40 s back.
DAY = time.gmtime(ORIGIN_MS // 1_000).tm_yday
ZONE = f"AAA0BBB,J{DAY}/18:00:20,J{DAY}/19:00:40"
ODD = {"TZ": ZONE, "PYTHONOPTIMIZE": "2"}


def files_of(var: Path) -> Iterator[Path]:
    """Yield every file of a night."""
    return (path for path in var.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Secrets file with a canary in it."""
    path = tmp_path_factory.mktemp("secrets") / "secrets.env"
    write_atomic(path, f"exchange.key={CANARY}\n".encode())
    return path


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory, secrets: Path) -> ShortRun:
    """Night across a change of local time, without `assert`, that knows a secret."""
    var = tmp_path_factory.mktemp("odd") / "var"
    var.mkdir(mode=0o700)
    argv = night_argv(var, {"duration_ms": "60000", "secrets.path": str(secrets)})
    done = run_command(argv, MINIBOT_SECRETS_FILE=str(secrets), **ODD)
    folders = sorted(path.parent for path in (var / "runs").glob("*/manifest.json"))
    assert folders, done.err
    return ShortRun(var, folders[-1], done)


@pytest.mark.row("F82")
@pytest.mark.fault("F82", by="a night over a change to summer time and back, by TZ", ends="SURVIVE")
@pytest.mark.skipif(sys.platform == "win32", reason="needs TZ rules of POSIX")
def test_night_over_a_change_of_local_time_is_one_of_utc(odd_run: ShortRun) -> None:
    """Times in the queues go forward across a change of local time, and the replay agrees.

    An intent has the time of its cause. Causes are written by several processes, so an exit at the
    announced end may be some milliseconds before an entry that risk was shown first.
    """
    assert odd_run.said.code == 0, odd_run.said.err
    for queue in ("market_ticks", "signals", "fills"):
        times = [event["ts"] for event in raw_events(odd_run.run_dir, queue)]
        assert times == sorted(times)
    intents = [event["ts"] for event in raw_events(odd_run.run_dir, "order_intents")]
    assert all(later > earlier - MINUTE_MS for earlier, later in pairwise(intents))
    assert verb(odd_run.var, "replay", odd_run.run_id).code == 0


@pytest.mark.row("F158")
@pytest.mark.fault(
    "F158", by="PYTHONOPTIMIZE=2 for every process", ends="checks that matter are not `assert`"
)
def test_night_without_asserts_checks_as_much(odd_run: ShortRun, tmp_path: Path) -> None:
    """A night without `assert` verifies and replays, and a changed byte is found."""
    copied = tmp_path / odd_run.run_id
    shutil.copytree(odd_run.run_dir, copied)
    path = copied / "queues" / "fills" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    for folder, code in ((odd_run.run_dir, 0), (copied, 1)):
        for name in ("verify", "replay"):
            argv = ["minibot", name, str(folder), "--var", str(odd_run.var)]
            done = run_command(argv, **ODD)
            assert done.code == code, done.out + done.err
            assert (code == 0) != ("fills/inbox.jsonl" in done.out)


@pytest.mark.row("F148", "N-12")
@pytest.mark.fault(
    "F148", by="a canary in the secrets file, searched for in all that was written", ends="0 hits"
)
def test_secret_stands_nowhere_in_what_a_night_wrote(odd_run: ShortRun, secrets: Path) -> None:
    """The secret is in no queue, log, manifest, report, command line or output."""
    report = verb(odd_run.var, "report", odd_run.run_id, "--full")
    status = verb(odd_run.var, "status", "--json")

    assert report.code == 0
    for done in (odd_run.said, report, status):
        assert CANARY not in done.out + done.err
    looked_at = list(files_of(odd_run.var))
    assert len(looked_at) > 50
    hits = [path for path in looked_at if CANARY.encode() in path.read_bytes()]
    assert hits == []
    # Control of the search: the manifest names the secrets file.
    assert any(str(secrets).encode() in path.read_bytes() for path in looked_at)
