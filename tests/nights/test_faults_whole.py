"""Faults of a whole night's surroundings: time zones, `-O`, secrets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.kernel.files import write_atomic
from tests.runs import ShortRun, night_argv, raw_events, run_command, verb

CANARY = "c4n4ry-9f2b7d51e0aa"
# Of one minute, so that its four runs fit into a test suite.
SHORT = {"duration_ms": "60000"}


def files_of(var: Path) -> Iterator[Path]:
    """Yield every file that a night has left."""
    return (path for path in var.rglob("*") if path.is_file() and not path.is_symlink())


def start(var: Path, *flags: str, **environ: str) -> ShortRun:
    """Run a night of a minute with this environment."""
    said = run_command(night_argv(var, SHORT, *flags), **environ)
    folders = sorted(path.parent for path in (var / "runs").glob("*/manifest.json"))
    assert folders, said.err
    return ShortRun(var, folders[-1], said)


@pytest.mark.row("F82")
@pytest.mark.fault("F82", by="a night over a change to summer time and back, by TZ", ends="SURVIVE")
@pytest.mark.parametrize(
    # The made market begins at 18:00 UTC of 2025-11-20, the 324th day.
    "zone",
    ["AAA0BBB,J324/18:00:20,J324/18:00:40", "AAA0BBB-2,J1/0,J324/20:00:30"],
)
def test_night_over_a_change_of_local_time_is_one_of_utc(var_dir: Path, zone: str) -> None:
    """Times in the queues go forward, and what was decided is decided again by the replay."""
    if sys.platform == "win32":
        pytest.skip("needs TZ rules of POSIX")
    run = start(var_dir, TZ=zone)

    assert run.said.code == 0, run.said.err
    for queue in ("market_ticks", "signals", "order_intents", "fills"):
        times = [event["ts"] for event in raw_events(run.run_dir, queue)]
        assert times == sorted(times)
    assert verb(var_dir, "replay", run.run_id).code == 0


@pytest.mark.row("F158")
@pytest.mark.fault(
    "F158", by="PYTHONOPTIMIZE=2 for every process", ends="checks that matter are not `assert`"
)
def test_night_without_asserts_checks_as_much(var_dir: Path) -> None:
    """It runs, is verified and replayed without any `assert`, and one changed byte is found."""
    run = start(var_dir, PYTHONOPTIMIZE="2")
    proof = [["minibot", name, run.run_id, "--var", str(var_dir)] for name in ("verify", "replay")]
    whole = [run_command(argv, PYTHONOPTIMIZE="2") for argv in proof]
    path = run.run_dir / "queues" / "fills" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)
    damaged = [run_command(argv, PYTHONOPTIMIZE="2") for argv in proof]

    assert run.said.code == 0, run.said.err
    assert [said.code for said in whole] == [0, 0]
    assert [said.code for said in damaged] == [1, 1]
    assert "fills/inbox.jsonl" in damaged[0].out


@pytest.mark.row("F148", "N-91")
@pytest.mark.fault(
    "F148", by="a canary in the secrets file, searched for in all that was written", ends="0 hits"
)
def test_secret_stands_nowhere_in_what_a_night_wrote(tmp_path: Path, var_dir: Path) -> None:
    """Not in a queue, a log, a manifest, a report, a command line or what was printed."""
    secrets = tmp_path / "secrets.env"
    write_atomic(secrets, f"exchange.key={CANARY}\n".encode())
    run = start(var_dir, "--set", f"secrets.path={secrets}", MINIBOT_SECRETS_FILE=str(secrets))
    report = verb(var_dir, "report", run.run_id)
    status = verb(var_dir, "status", "--json")

    assert run.said.code == 0, run.said.err
    assert report.code == 0
    for said in (run.said, report, status):
        assert CANARY not in said.out + said.err
    looked_at = list(files_of(var_dir))
    assert len(looked_at) > 50
    hits = [path for path in looked_at if CANARY.encode() in path.read_bytes()]
    assert hits == []
    # The search can find: the manifest does say which file the secrets were read from.
    assert any(str(secrets).encode() in path.read_bytes() for path in looked_at)
