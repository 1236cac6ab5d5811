"""Real short nights for tests: started as users do, on a `var` of the test's own."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import pytest
from filelock import FileLock

from minibot.cli.main import run
from minibot.cli.support import output
from tests.waiting import DEADLINE_S

PROJECT = Path(__file__).resolve().parent.parent
# Trades five round trips in a hundred seconds of synthetic market, on every machine.
SOURCE = "generator:2"
LINE_PREFIX = len("sha256:") + 64 + 1
ANSWER_ALL: Final = """
import contextlib, io, json, sys
from minibot.cli.main import run
said = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(words)
        except SystemExit as ended:
            code = int(ended.code or 0)
    said.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(said))
"""
"""Program that answers command lines of `minibot`, one after another."""


@dataclass(frozen=True)
class Completed:
    """Answer of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)


@dataclass(frozen=True)
class ShortRun:
    """Finished night: its `var`, its folder, and the command's output."""

    var: Path
    run_dir: Path
    said: Completed

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.run_dir.name


def run_command(argv: Sequence[str], **environ: str) -> Completed:
    """Run a Python module of the product to its end, without a terminal."""
    return run_python(["-m", *argv], PROJECT, clean_environ() | environ)


def run_python(argv: Sequence[str], folder: Path, environ: Mapping[str, str]) -> Completed:
    """Run Python in a folder to its end, without a terminal."""
    done = subprocess.run(
        [sys.executable, *argv],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
        check=False,
    )
    return Completed(done.returncode, done.stdout, done.stderr)


def answers_to(
    commands: Sequence[Sequence[str]], folder: Path, environ: Mapping[str, str]
) -> list[Completed]:
    """Run command lines of `minibot` in one Python, which a verb that never ends cannot outlive.

    A Python for each would import the same modules each time, which takes longer than the verb.
    """
    done = run_python(["-c", ANSWER_ALL, json.dumps(commands)], folder, environ)
    assert done.code == 0, done.err
    return [Completed(*said) for said in done.document]


def verb(var: Path, *words: str) -> Completed:
    """Run `minibot VERB` on a `var` like the command line, in this process to save its start."""
    out, err = io.StringIO(), io.StringIO()
    # How many lines of progress a verb prints is up to the machine.
    silent = patch.object(output, "PROGRESS_EVERY_S", DEADLINE_S)
    with silent, redirect_stdout(out), redirect_stderr(err):
        try:
            code = run([*words, "--var", str(var)])
        except SystemExit as ended:  # Raised by argparse for a wrong command line.
            code = int(ended.code or 0)
    return Completed(code, out.getvalue(), err.getvalue())


def clean_environ() -> dict[str, str]:
    """Return the environment without variables that steer a run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MINIBOT_")}


def night_argv(var: Path, sets: Mapping[str, str], *flags: str) -> list[str]:
    """Return the command line of a short night on the synthetic market."""
    values = {"embedded.source": SOURCE, "embedded.speed": "20", "duration_ms": "100000"}
    argv = ["minibot.nore_run_v1", "--config", "config/nore-smoke.v1.json", "--var", str(var)]
    for key, value in (values | dict(sets)).items():
        argv += ["--set", f"{key}={value}"]
    return [*argv, *flags]


def make_run(var: Path, *flags: str, **sets: str) -> ShortRun:
    """Run a short night to its end; `section__key=value` changes its profile."""
    dotted = {name.replace("__", "."): value for name, value in sets.items()}
    done = run_command(night_argv(var, dotted, *flags))
    folders = sorted(path.parent for path in (var / "runs").glob("*/manifest.json"))
    assert folders, done.err
    return ShortRun(var, folders[-1], done)


def shared_by_workers(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]
) -> Path:
    """Return this worker's copy of a folder that one worker has filled.

    Workers share the tests of a module, so several of them need its fixture. A copy of its own
    keeps what one worker's verbs write into it, such as a page, from the tests of another.
    """
    own = factory.getbasetemp()
    if (own / name).exists():  # A fixture of a module that this worker left and came back to.
        return own / name
    if "PYTEST_XDIST_WORKER" not in os.environ:
        (own / name).mkdir()
        make(own / name)
        return own / name
    folder = own.parent / name  # Beside the folders of the workers.
    done = folder / "done"
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # Left by a worker that failed.
            folder.mkdir()
            make(folder)
            done.touch()
    return Path(shutil.copytree(folder, own / name))


PATIENT: Final = {
    "strategy__tick_age_ms_max": "600000",
    "risk__signal_age_ms_max": "600000",
    "risk__tick_age_ms_max": "600000",
    "risk__intent_ttl_ms": "600000",
    "execution__tick_age_ms_max": "600000",
    "execution__order_ttl_market_ms": "600000",
}
"""Limits of age that a busy machine keeps, so that a shared night trades on every machine."""


def shared_run(factory: pytest.TempPathFactory, name: str, *flags: str, **sets: str) -> ShortRun:
    """Return a short night that one worker has run, as this worker's copy of it."""

    def make(folder: Path) -> None:
        var = folder / "var"
        var.mkdir(mode=0o700)
        done = make_run(var, *flags, **PATIENT, **sets).said
        answer = json.dumps({"folder": str(folder), **asdict(done)})
        (folder / "said.json").write_text(answer, encoding="utf-8")

    folder = shared_by_workers(factory, name, make)
    answer = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    made = answer.pop("folder")
    # What it said, as if it had run in the copy.
    out, err = (answer[stream].replace(made, str(folder)) for stream in ("out", "err"))
    (run_dir,) = (path.parent for path in (folder / "var" / "runs").glob("*/manifest.json"))
    return ShortRun(folder / "var", run_dir, Completed(answer["code"], out, err))


def raw_events(run_dir: Path, queue: str, stem: str = "inbox") -> list[dict[str, Any]]:
    """Return every event of a queue by the standard library alone, over all segments."""
    folder = run_dir / "queues" / queue
    paths = [*sorted(folder.glob(f"{stem}.[0-9]*.jsonl")), folder / f"{stem}.jsonl"]
    return [
        json.loads(line[LINE_PREFIX:])
        for path in paths
        if path.exists()
        for line in path.read_bytes().splitlines()
    ]
