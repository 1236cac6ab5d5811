"""Output in an encoding without a letter: the letter is escaped, the verb goes on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from minibot.runtime.paths import PROJECT

pytestmark = pytest.mark.process

SPEAK = """
import argparse, sys
from minibot.cli.main import guarded
def run(arguments):
    print("var/\\u043d\\u043e\\u0447\\u044c")
    return 0
sys.exit(guarded(argparse.Namespace(run=run, var=None, debug=False)))
"""


@pytest.mark.row("N-124")
def test_letter_without_a_code_in_the_pipe_does_not_end_a_verb() -> None:
    """A letter that an old code page lacks, as in a Russian folder name, ends no verb."""
    environ = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=PROJECT, env=environ, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.strip() == rb"var/\u043d\u043e\u0447\u044c"
