"""Frame of the attacks: their definition and their lab; `tools.attack` runs them.

A module of this package registers its attacks with `attack`. An attack is a function with its own
`Lab` (a folder, a `var`, a copy of the product). It does what an attacker or an accident would do,
and returns its finding. Nothing here imports minibot: an attack sees only what a stranger sees,
which is commands, files, processes and exit codes.

An attack that cannot be played raises `NotPlayable`, and counts as a finding.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

PROJECT: Final = Path(__file__).resolve().parent.parent.parent
# Content of a copy of the product: all that a night reads, without git history and environment.
COPIED: Final = ("config", "contracts", "docs", "minibot", "staging", "tools")
COPIED_FILES: Final = ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "README.md")
SMOKE: Final = "config/nore-smoke.v1.json"
# Trades within seconds on a synthetic market, at twenty times wall-clock speed.
SHORT: Final = {"embedded.source": "generator:2", "embedded.speed": "20", "duration_ms": "100000"}
DEADLINE_S: Final = 90.0
POLL_S: Final = 0.02
WORDS_MAX: Final = 160
LINE_PREFIX: Final = len("sha256:") + 64 + 1

Result = TypeVar("Result")


class NotPlayable(Exception):
    """The attack could not be carried out; the message says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """Outcome of an attack.

    Attributes:
        said: One sentence, as a rule the product's own words.
        exit_code: Exit code of the command that was judged, None where there was none.
        is_expected: True if the attack expects this outcome.
    """

    said: str
    exit_code: int | None
    is_expected: bool


@dataclass(frozen=True, slots=True)
class Attack:
    """Registered attack: its name, the point of the issue, its deed, the expected outcome."""

    name: str
    point: str
    what: str
    expected: str
    play: Callable[[Lab], Found]


@dataclass(frozen=True, slots=True)
class Done:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    def last_words(self) -> str:
        """Return the last line that the command printed, from standard error first."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1][:WORDS_MAX] if lines else "nothing"

    def says(self, *words: str) -> bool:
        """Return whether each of the words stands somewhere in the output."""
        return all(word in self.out or word in self.err for word in words)


REGISTERED: dict[str, Attack] = {}


def attack(
    point: str, what: str, expected: str
) -> Callable[[Callable[[Lab], Found]], Callable[[Lab], Found]]:
    """Register the decorated function as an attack under its own name.

    Args:
        point: Part and number in the issue that asks for the defence, such as `A4`.
        what: The deed, one short phrase.
        expected: The answer of a sound product, one short phrase.
    """

    def register(play: Callable[[Lab], Found]) -> Callable[[Lab], Found]:
        name = play.__name__.replace("_", "-")
        if name in REGISTERED:
            raise ValueError(f"two attacks are called {name}")
        REGISTERED[name] = Attack(name, point, what, expected, play)
        return play

    return register


class Lab:
    """Lab of one attack: its own folder, with a `var` in it.

    Args:
        folder: The lab's folder; emptied first.
        shelf: Makes and keeps runs that several attacks only copy.
    """

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.var = folder / "var"
        self.var.mkdir(mode=0o700)
        self.project = PROJECT
        self._shelf = shelf
        self._nights: list[Night] = []

    # --- commands -----------------------------------------------------------------------------

    def minibot(self, *words: str, environ: Mapping[str, str] | None = None) -> Done:
        """Run `minibot VERB ... --var` on this lab's `var` to its end."""
        argv = (sys.executable, "-m", "minibot", *words, "--var", str(self.var))
        return self.command(*argv, environ=environ)

    def command(
        self,
        *argv: str,
        environ: Mapping[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> Done:
        """Run a command to its end, in the lab's copy of the product or in the product itself.

        Raises:
            NotPlayable: The command does not end in time.
        """
        try:
            done = subprocess.run(
                argv,
                cwd=self.project,
                env=clean_environ() | dict(environ or {}),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise NotPlayable(f"{' '.join(argv[2:5])} does not end in {timeout_s:.0f} s") from error
        return Done(done.returncode, _text(done.stdout), _text(done.stderr))

    # --- nights -------------------------------------------------------------------------------

    def start_night(
        self,
        sets: Mapping[str, str] | None = None,
        *,
        profile: str = SMOKE,
        environ: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        flags: Sequence[str] = ("--quiet", "--no-proof"),
        is_embedded: bool = True,
    ) -> Night:
        """Start a short night on this lab's `var`.

        Args:
            sets: Dotted keys over those of a short night on a synthetic market.
            profile: The profile's path.
            environ: Variables over the environment.
            before: Words put before the command, such as `prlimit --nofile=64`.
            flags: Flags of the night.
            is_embedded: True if the night starts its own exchange; else `sets` name one.
        """
        argv = [*before, sys.executable, "-m", "minibot.nore_run_v1", "--config", profile]
        argv += ["--var", str(self.var), *flags]
        for key, value in ((SHORT if is_embedded else {}) | dict(sets or {})).items():
            argv += ["--set", f"{key}={value}"]
        night = Night(self, argv, dict(environ or {}))
        self._nights.append(night)
        return night

    def finished_run(self) -> Path:
        """Return the folder of a finished run in this lab's `var`, copied from one shared run."""
        source = self._shelf.finished_var()
        shutil.rmtree(self.var)
        shutil.copytree(source, self.var, symlinks=True)
        return only_run(self.var)

    def copy_product(self) -> Path:
        """Give the lab its own copy of the product; its commands run there from now on."""
        self.project = self.folder / "product"
        self.project.mkdir()
        for name in COPIED:
            shutil.copytree(
                PROJECT / name,
                self.project / name,
                ignore=shutil.ignore_patterns("__pycache__", "pending", "applied", "*.lock"),
            )
        for name in COPIED_FILES:
            shutil.copy2(PROJECT / name, self.project / name)
        return self.project

    def end(self) -> None:
        """End every process of this lab's nights."""
        for night in self._nights:
            night.end()


class Night:
    """Running night: its process, its folder, its roles."""

    def __init__(self, lab: Lab, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self.lab = lab
        self.var = lab.var
        # Files, not pipes: a full pipe would hold the night up.
        self._out = lab.folder / f"night-{len(lab._nights)}.out"
        self._err = lab.folder / f"night-{len(lab._nights)}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                list(argv),
                cwd=lab.project,
                env=clean_environ() | dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def wait_until(
        self, condition: Callable[[], Result | None], what: str, timeout_s: float = DEADLINE_S
    ) -> Result:
        """Return the condition's first true value.

        Raises:
            NotPlayable: The night ended first, or time ran out.
        """
        end = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found:
                return found
            if self.process.poll() is not None:
                raise NotPlayable(f"the night ended before: {what}: {self.done().last_words()}")
            if time.monotonic() > end:
                raise NotPlayable(f"not within {timeout_s:.0f} s: {what}")
            time.sleep(POLL_S)

    def wait_for_run(self) -> Path:
        """Return the run's folder once its manifest stands."""
        return self.wait_until(lambda: _newest_run(self.var), "the run's manifest")

    def wait_for_fills(self, count: int = 1) -> Path:
        """Return the run's folder once the given number of fills is published."""
        run = self.wait_for_run()
        path = self.var / "queues" / "fills" / "inbox.jsonl"
        self.wait_until(lambda: lines_of(path) >= count, f"{count} fills")
        return run

    def roles(self) -> dict[str, psutil.Process]:
        """Return the processes of the roles by name, and the embedded exchange as `exchange`."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            for word in words:
                for name in ("market", "strategy", "risk", "execution", "ai"):
                    if word in (f"minibot.{name}.role", f"{name}_role"):
                        found[f"{name}_role"] = process
                if word == "minibot.simulator":
                    found["exchange"] = process
        return found

    def wait(self, timeout_s: float = DEADLINE_S) -> Done:
        """Wait for the night's end.

        Raises:
            NotPlayable: It does not end in time.
        """
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise NotPlayable(f"the night has not ended within {timeout_s:.0f} s") from error
        return self.done()

    def done(self) -> Done:
        """Return the night's output so far and its exit code (-1 while it runs)."""
        code = self.process.poll()
        out, err = self._out.read_bytes(), self._err.read_bytes()
        return Done(-1 if code is None else code, _text(out), _text(err))

    def end(self) -> None:
        """End the night and every process that it started; nothing else."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            children = []
        for process in children:
            with _already_gone():
                process.send_signal(getattr(signal, "SIGCONT", signal.SIGTERM))
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Shelf:
    """Runs made once, which attacks only copy."""

    folder: Path
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def finished_var(self) -> Path:
        """Return the `var` of one finished short night."""
        with self._lock:
            lab_folder = self.folder / "finished"
            if not (lab_folder / "done").exists():
                lab = Lab(lab_folder, self)
                done = lab.start_night().wait()
                if done.code != 0:
                    raise NotPlayable(f"no run to begin with: {done.last_words()}")
                (lab_folder / "done").touch()
            return lab_folder / "var"


# --- shared by several attacks -----------------------------------------------------------------


def clean_environ() -> dict[str, str]:
    """Return the environment without variables that steer a run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MINIBOT_")}


def only_run(var: Path) -> Path:
    """Return the folder of the newest run below a `var`.

    Raises:
        NotPlayable: There is none.
    """
    found = _newest_run(var)
    if found is None:
        raise NotPlayable(f"no run below {var}")
    return found


def _newest_run(var: Path) -> Path | None:
    found = sorted(path.parent for path in (var / "runs").glob("*/manifest.json"))
    return found[-1] if found else None


def lines_of(path: Path) -> int:
    """Return the number of whole lines in a file, 0 without the file."""
    try:
        return path.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def events_of(path: Path) -> list[dict[str, Any]]:
    """Return the events of a file of sha256-prefixed lines."""
    return [json.loads(line[LINE_PREFIX:]) for line in path.read_bytes().splitlines()]


def make_fifo(path: Path) -> None:
    """Make a FIFO, whose reader waits for ever.

    Raises:
        NotPlayable: This system has no FIFOs.
    """
    if not hasattr(os, "mkfifo"):
        raise NotPlayable("this system has no FIFOs")
    os.mkfifo(path)


def stops_of(var: Path) -> list[dict[str, Any]]:
    """Return the payloads of `var/stop_journal.jsonl`, oldest first."""
    path = var / "stop_journal.jsonl"
    return [event["payload"] for event in events_of(path)] if path.exists() else []


class _already_gone:
    """Ignore the error of a process that has ended meanwhile."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> bool:
        return kind is not None and issubclass(kind, psutil.Error)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
