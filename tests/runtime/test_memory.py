"""Ceiling of a role's memory, in a separate process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from minibot.runtime.memory import MIB, ceiling_bytes
from minibot.runtime.paths import PROJECT

GREEDY = """
import sys
from minibot.runtime.memory import limit_memory
limit_memory(1024)
held = bytearray({fits} << 20)
print("fits", flush=True)
held = [held, bytearray({rest} << 20)]
print("too much", flush=True)
"""


@pytest.mark.row("F57")
def test_ceiling_lies_between_the_limit_and_twice_the_limit() -> None:
    """The ceiling lies between the limit and twice the limit; small limits get room to start."""
    for limit_mb in (300, 512, 1024, 4096, 65_536):
        assert limit_mb * MIB < ceiling_bytes(limit_mb) < 2 * limit_mb * MIB
    assert ceiling_bytes(24) == (24 + 256) * MIB


@pytest.mark.process
@pytest.mark.row("F57")
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_DATA that counts mappings")
def test_system_refuses_what_would_be_twice_the_limit() -> None:
    """The system refuses twice the limit; the pages are requested but never touched."""
    done = subprocess.run(
        [sys.executable, "-c", GREEDY.format(fits=1024, rest=1024)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["fits"]
    assert "MemoryError" in done.stderr
