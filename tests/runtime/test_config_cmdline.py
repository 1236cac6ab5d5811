"""Command line hash: a process and its starter compute the same."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from minibot.runtime.cmdline import cmdline, cmdline_hash, hash_text, own_cmdline, own_cmdline_hash
from tests.waiting import DEADLINE_S

PROJECT = Path(__file__).resolve().parents[2]
PRINT = "from minibot.runtime.cmdline import own_cmdline_hash; print(own_cmdline_hash())"


@pytest.mark.process
@pytest.mark.row("N-09", "N-10", "X-32")
@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--run", "var/runs/20240808_235413"],
        ["two words", 'a "quote"', "back\\slash\\", "\u0444\u00e9\u6f22"],
        [""],
    ],
)
def test_cmdline_hash_of_a_child_is_what_its_starter_computed(arguments: list[str]) -> None:
    """A real process hashes its own command line to the manifest's value."""
    argv = [sys.executable, "-c", PRINT, *arguments]
    done = subprocess.run(
        argv, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=DEADLINE_S
    )

    assert done.stdout.strip() == cmdline_hash(argv)


@pytest.mark.row("N-09", "X-32")
def test_cmdline_hash_is_sha256_of_the_utf8_command_line() -> None:
    """The hash is sha256 of the documented bytes."""
    argv = ["python", "-m", "minibot.runtime.role", "risk_role", "--run", "var/my runs/1"]
    line = 'python -m minibot.runtime.role risk_role --run "var/my runs/1"'

    assert cmdline(argv) == line
    assert cmdline_hash(argv) == hashlib.sha256(line.encode()).hexdigest()
    assert own_cmdline_hash() == hashlib.sha256(own_cmdline().encode()).hexdigest()


@pytest.mark.row("N-42", "N-87")
def test_cmdline_hash_is_64_lowercase_hex_whatever_the_arguments() -> None:
    """Any arguments have a hash of 64 hex digits; different lines differ."""
    hashes = {hash_text(text) for text in ("", "a", "a b", "\udcff", "\u0444")}

    assert len(hashes) == 5
    assert all(len(value) == 64 and set(value) <= set("0123456789abcdef") for value in hashes)


def test_cmdline_hash_differs_by_role_and_run() -> None:
    """Hashes differ by role and run."""
    lines = [
        ["python", "-m", "minibot.runtime.role", role, "--run", run]
        for role in ("risk_role", "ai_role")
        for run in ("a", "b")
    ]

    assert len({cmdline_hash(argv) for argv in lines}) == 4
