"""Real processes: killed writers, many writers at once, readers that are woken."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minibot.kernel import canonical
from minibot.kernel.journal import JournalReader, Line
from minibot.kernel.line import encode_line
from minibot.kernel.queue import make_queue, open_reader, open_writer
from tests.kernel.kernel_support import drain, ids_of, lines_of, open_journal, read_all
from tests.waiting import DEADLINE_S

pytestmark = [pytest.mark.campaign, pytest.mark.process]

ENDLESS_WRITER = """
import sys
from pathlib import Path
from tests.kernel.kernel_support import lines_of, open_journal
folder, is_eager = Path(sys.argv[1]), sys.argv[2] == "eager"
writer = open_journal(folder, sync=is_eager, segment_bytes=20_000)
number = writer.position.seq + 1
while True:
    count = 1 + number % 5
    writer.append(lines_of(number, count))
    number += count
    print(number - 1, flush=True)
"""

PART_WRITER = """
import sys
from minibot.kernel import canonical
from minibot.kernel.line import encode_line
from minibot.kernel.queue import open_writer
root, role = sys.argv[1:]
writer = open_writer(root, "health", part=role, sync=False)
for n in range(1000):
    writer.append([encode_line(canonical.encode({"n": n, "role": role}))])
writer.close()
"""

FOLLOWER = """
import sys
from minibot.kernel.queue import open_reader
from minibot.kernel.wakeup import Waiter
from tests.kernel.kernel_support import ids_of
root, count = sys.argv[1], int(sys.argv[2])
waiter = Waiter([root + "/fills/inbox.head"])
reader = open_reader(root, "fills")
seen = 0
while seen < count:
    lines = reader.read(100)
    if not lines:
        waiter.wait(30)
        continue
    for number in ids_of(lines):
        print(number, flush=True)
    seen += len(lines)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a Python process of the project."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.row("N-05", "N-06")
@pytest.mark.parametrize(("mode", "kills"), [("eager", 14), ("lazy", 8)])
def test_writer_killed_again_and_again_loses_nothing_it_acknowledged(
    var_dir: Path, mode: str, kills: int
) -> None:
    """A rotating writer under SIGKILLs keeps every acknowledged line once, in order."""
    reader = JournalReader(var_dir, "inbox")
    seen: list[int] = []
    acknowledged = 0
    for round_ in range(kills):
        writer = start(ENDLESS_WRITER, str(var_dir), mode)
        for _ in range(3 + 7 * round_):
            acknowledged = int(next_line(writer))
        writer.kill()
        # Not `communicate`, which skips buffered lines.
        assert writer.stdout is not None
        rest = writer.stdout.read()
        writer.wait(DEADLINE_S)
        acknowledged = int(([str(acknowledged), *rest.split()])[-1])
        seen += ids_of(drain(reader))
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) >= acknowledged
    last = open_journal(var_dir, segment_bytes=20_000)
    last.close()
    reader.close()

    assert last.position.seq >= len(seen)
    assert ids_of(read_all(var_dir)) == list(range(1, last.position.seq + 1))


@pytest.mark.row("N-06")
def test_eight_processes_append_to_their_parts_and_merge_without_loss(var_dir: Path) -> None:
    """Eight roles' parts merge into 8,000 whole lines, in each role's order, provably."""
    from minibot.kernel.verify import verify_tree

    roles = [f"role_{letter}" for letter in "abcdefgh"]
    make_queue(var_dir, "health", "watchdog_role", parts=roles)
    writers = [start(PART_WRITER, str(var_dir), role) for role in roles]
    readers = {role: open_reader(var_dir, "health", part=role) for role in roles}
    inbox = open_writer(var_dir, "health", sync=False)
    merged = 0
    deadline = time.monotonic() + DEADLINE_S
    while merged < 8000 and time.monotonic() < deadline:
        for reader in readers.values():
            lines = reader.read(64)
            inbox.append([encode_line(line.json) for line in lines])
            merged += len(lines)
    inbox.close()
    assert [writer.wait(DEADLINE_S) for writer in writers] == [0] * 8
    events = [canonical.decode(line.json) for line in _inbox(var_dir)]

    assert len(events) == 8000
    for role in roles:
        assert [event["n"] for event in events if event["role"] == role] == list(range(1000))
    assert list(verify_tree(var_dir)) == []


def _inbox(root: Path) -> list[Line]:
    return drain(open_reader(root, "health"))


def test_reader_in_another_process_is_woken_by_each_append(var_dir: Path) -> None:
    """A sleeping reader is woken by each append and reads the line."""
    count = 20
    make_queue(var_dir, "fills", "risk_role")
    writer = open_writer(var_dir, "fills")
    follower = start(FOLLOWER, str(var_dir), str(count))
    for number, line in enumerate(lines_of(1, count), 1):
        writer.append([line])
        assert int(next_line(follower)) == number
    writer.close()

    assert follower.wait(DEADLINE_S) == 0


@pytest.mark.row("N-39", "N-40", "N-25")
def test_lines_are_read_by_five_lines_of_another_language(var_dir: Path) -> None:
    """A short script that knows nothing of minibot recomputes every hash (N-40)."""
    writer = open_journal(var_dir)
    writer.append(lines_of(1, 50))
    writer.close()
    script = (
        "import hashlib, json, sys\n"
        "for line in open(sys.argv[1], 'rb'):\n"
        "    assert line[:7] == b'sha256:' and line[71:72] == b':' and line.endswith(b'}\\n')\n"
        "    assert hashlib.sha256(line[72:-1]).hexdigest().encode() == line[7:71]\n"
        "    print(json.loads(line[72:])['id'])\n"
    )
    outcome = subprocess.run(
        [sys.executable, "-I", "-c", script, str(var_dir / "inbox.jsonl")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert [json.loads(line) for line in outcome.stdout.split()] == list(range(1, 51))
