"""Record of a finished night: the writer of each line, logs, hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.runs import LINE_PREFIX, PROJECT, ShortRun, clean_environ, night_argv
from tests.waiting import DEADLINE_S

ROLES = (
    "watchdog_role", "market_role", "strategy_role", "risk_role", "execution_role", "ai_role",
)  # fmt: skip
# Makes a network namespace with loopback alone, then runs the given program in it.
ALONE = """
import fcntl, os, socket, struct, sys
IFF_UP, SIOCSIFFLAGS = 1, 0x8914
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
try:
    socket.create_connection(("192.0.2.1", 443), 1)
except OSError as error:
    assert error.errno == 101, error  # ENETUNREACH
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""


def journals(run: ShortRun) -> Iterator[Path]:
    """Return every JSONL file of events of a night: queues, side files, journal."""
    yield from sorted((run.run_dir / "queues").rglob("*.jsonl"))
    yield run.var / "stop_journal.jsonl"


def written(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file, by the standard library alone."""
    return [json.loads(line[LINE_PREFIX:]) for line in path.read_bytes().splitlines()]


@pytest.mark.process
@pytest.mark.row("N-10", "N-09")
@pytest.mark.parametrize("which", ["short_run", "stopped_run"])
def test_every_line_of_a_night_carries_the_hash_of_its_writers_command_line(
    which: str, request: pytest.FixtureRequest
) -> None:
    """Each line has the hash of its role's command line, computed from the manifest's list."""
    run: ShortRun = request.getfixturevalue(which)
    processes = json.loads((run.run_dir / "manifest.json").read_bytes())["processes"]
    hashes = {
        role: sha256(subprocess.list2cmdline(process["argv"]).encode()).hexdigest()
        for role, process in processes.items()
    }
    assert set(hashes) == set(ROLES)
    assert len(set(hashes.values())) == len(ROLES)

    seen: dict[str, int] = dict.fromkeys(ROLES, 0)
    for path in journals(run):
        for event in written(path):
            assert event["cmdline_hash"] == hashes[event["source"]], path
            seen[event["source"]] += 1

    assert all(seen.values()), seen


@pytest.mark.row("B-59", "N-18")
def test_every_role_has_its_log_in_the_folder_of_logs(short_run: ShortRun) -> None:
    """`var/logs/ROLE.jsonl` exists for all six roles and holds lines of that role alone."""
    spoken = 0
    for role in ROLES:
        lines = (short_run.var / "logs" / f"{role}.jsonl").read_bytes().splitlines()
        assert {json.loads(line)["role"] for line in lines} <= {role}
        spoken += len(lines)

    assert spoken


@pytest.mark.row("N-24")
def test_night_lists_the_one_host_that_it_may_ask(short_run: ShortRun) -> None:
    """Manifest and seal name this machine's exchange as the only host."""
    manifest = json.loads((short_run.run_dir / "manifest.json").read_bytes())
    seal = json.loads((short_run.run_dir / "seal.json").read_bytes())

    (host,) = manifest["hosts"]
    assert host.startswith("127.0.0.1:")
    assert seal["extra"]["hosts"] == [host]


@pytest.mark.process
@pytest.mark.row("D-65", "N-24", "N-14")
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: network namespaces")
def test_night_without_any_network_but_loopback_trades_and_proves_itself(var_dir: Path) -> None:
    """A night in a network of loopback alone trades and proves itself."""
    alone = ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a network of its own cannot be had here: unshare --map-root-user --net")

    argv = night_argv(var_dir, {"duration_ms": "60000"}, "--quiet")
    done = subprocess.run(
        [*alone, sys.executable, "-c", ALONE, *argv],
        cwd=PROJECT, env=clean_environ(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical" in done.stdout + done.stderr
