"""tools.kill_storm: a hundred kills in every test run; it notices losses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kinds import CAMPAIGN_PART
from tests.waiting import DEADLINE_S

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs fork: no Windows"),
    pytest.mark.process,
]

# Bugs put into the storm's own roles, which the storm has to notice.
ACKNOWLEDGES_TOO_SOON = """
def write_on(root, is_eager, say):
    writer = kill_storm.open_writer(root, kill_storm.SOURCE, segment_bytes=4096)
    number = writer.position.seq
    while True:
        say(kill_storm.ACKNOWLEDGED, number + 1000)
        writer.append([kill_storm._line(number + step) for step in range(1, 51)])
        number += 50
kill_storm.write_on = write_on
"""
# Its reader reports nothing, and has to live long enough to write on a busy machine.
FORGETS_WHAT_IT_DID = """
kill_storm.SILENT_S = 0.5
def read_on(root, is_eager, say):
    output = kill_storm.open_writer(root, kill_storm.OUTPUT)
    reader = kill_storm.open_reader(root, kill_storm.SOURCE)
    while True:
        for line in reader.read(1):
            output.append([kill_storm.encode_line(line.json)])
kill_storm.read_on = read_on
"""
ENDS_BY_ITSELF = """
def write_on(root, is_eager, say):
    writer = kill_storm.open_writer(root, kill_storm.SOURCE)
    raise OSError("no more")
kill_storm.write_on = write_on
"""


def storm(folder: Path, *words: str, bug: str = "") -> tuple[int, str]:
    """Run the storm as a command; return exit code and last line."""
    code = (
        f"import sys\nfrom tools import kill_storm\n{bug}\nsys.exit(kill_storm.main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", code, "--folder", str(folder), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


@pytest.mark.campaign  # Of as many seeds as a part has cases, each commit plays one.
@pytest.mark.row("N-05", "N-06", "N-20")
@pytest.mark.parametrize("seed", range(1, CAMPAIGN_PART + 1))
def test_hundred_kills_lose_nothing_double_nothing_and_stop_nobody(
    seed: int, tmp_path: Path
) -> None:
    """A hundred SIGKILLs of writer and reader lose, repeat and stop nothing."""
    code, text = storm(tmp_path, "--kills", "100", "--seed", str(seed))

    assert code == 0, text
    assert text.startswith("kills 100, ")
    assert text.endswith("lost 0, doubled 0, false stops 0")
    assert int(re.findall(r"lines (\d+)", text)[0]) > 0


@pytest.mark.parametrize(
    ("bug", "kind"),
    [
        (ACKNOWLEDGES_TOO_SOON, "lost"),
        (FORGETS_WHAT_IT_DID, "doubled"),
        (ENDS_BY_ITSELF, "false stops"),
    ],
)
def test_storm_sees_what_it_is_there_to_see(tmp_path: Path, bug: str, kind: str) -> None:
    """An early acknowledgement, a missing output and a dead role exit 1 with counts."""
    code, text = storm(tmp_path, "--kills", "30", "--seed", "3", bug=bug)

    assert code == 1
    assert int(re.findall(rf"{kind} (\d+)", text)[0]) > 0
