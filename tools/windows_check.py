"""Check minibot under the rules of Windows: on Linux, with a Windows Python under Wine.

    python -m tools.windows_check              demo, verify, replay, gates and some faults
    python -m tools.windows_check --install    as root: let the builder install what is missing
    python -m tools.windows_check STEP...      only these steps, e.g. demo verify

The Windows Python is built by `../shared/windows/make-windows-python` into `var/windows`, once for
each `requirements-wine.txt`. A step that fails makes the exit code 1. Where the Windows Python
cannot be built, the last line begins with `SKIPPED:` and names what is missing; the exit code is
0. What is shown here is called "runs under Wine", nothing more.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
BUILDER: Final = PROJECT.parent / "shared" / "windows" / "make-windows-python"
REQUIREMENTS: Final = PROJECT / "requirements-wine.txt"
FOLDER: Final = PROJECT / "var" / "windows"
DEMO: Final = "config/nore-demo.v1.json"
# Wine on busy cores stands still for seconds; its pace is not what is checked here.
PATIENT: Final = "watchdog.lease_ms=30000"
SMOKE: Final = "config/nore-smoke.v1.json"
# Faults: a role killed, an event, a cursor, the launcher and its flag, the operator, a second
# start.
FAULTS: Final = (
    "role_kill",
    "bad_schema",
    "torn_cursor",
    "watchdog_kill",
    "operator_stop",
    "second_start",
)
PROGRAMS: Final = ("wine", "x86_64-w64-mingw32-gcc")
BUILD_S_MAX: Final = 900.0
STEP_S_MAX: Final = 600.0
LINES_SHOWN: Final = 40
IMPORT_ALL: Final = """
import importlib, pkgutil, sys, minibot
names = [found.name for found in pkgutil.walk_packages(minibot.__path__, "minibot.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules on {sys.platform}, Python {sys.version.split()[0]}")
"""


# Wine quotes the program that Linux starts; a Windows parent's own command line stays as written.
OWN_HASH: Final = """
import subprocess, sys
from minibot.runtime.cmdline import cmdline_hash
ask = "from minibot.runtime.cmdline import own_cmdline_hash; print(own_cmdline_hash())"
argv = [sys.executable, *sys.argv[1:], "-c", ask]
said = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
print(said == cmdline_hash(argv))
"""


class Missing(Exception):
    """Failure to build the Windows Python here; the message names the missing part."""


class Failed(Exception):
    """Failure of a step; the message says how."""


# --- the Windows Python -------------------------------------------------------------------------


def build(folder: Path, *, may_install: bool) -> None:
    """Build the Windows Python with minibot's packages, unless it exists already.

    Raises:
        Missing: A prerequisite of the builder is missing here.
        Failed: The builder itself failed.
    """
    if not BUILDER.is_file():
        raise Missing(f"the builder of the Windows Python ({BUILDER})")
    python = _python_with_pip()
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    can_install = may_install and _is_root() and shutil.which("apt-get") is not None
    if absent and not can_install:
        raise Missing(f"{' and '.join(absent)} (Debian: wine64 wine gcc-mingw-w64-x86-64)")
    stamp, wanted = folder / "minibot.stamp", _stamp()
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["bash", str(BUILDER), str(folder), str(REQUIREMENTS)],
        env={**os.environ, "PYTHON": python},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_S_MAX,
        check=False,
    )
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        raise Missing(f"{' and '.join(absent)}, which apt-get could not install")
    if done.returncode != 0 or b"ready:" not in done.stdout:
        raise Failed(f"the builder ended with {done.returncode}: {_tail(done.stdout)}")
    # The AI worker runs isolated from the working folder: it finds the project by this file.
    path = folder / "base" / "Lib" / "site-packages" / "minibot.pth"
    path.write_text(windows_path(PROJECT) + "\n")
    stamp.write_text(wanted)


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _stamp() -> str:
    parts = (BUILDER.read_bytes(), REQUIREMENTS.read_bytes(), str(PROJECT).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _python_with_pip() -> str:
    probe = "import sys, pip; sys.exit(sys.version_info[:2] != (3, 11))"
    base = str(getattr(sys, "_base_executable", ""))
    names = (sys.executable, base, "python3.11", "python3")
    for name in filter(None, names):
        found = shutil.which(name)
        if found is None:
            continue
        if subprocess.run([found, "-c", probe], capture_output=True, check=False).returncode == 0:
            return found
    raise Missing("a Python 3.11 with pip")


def windows_path(path: Path) -> str:
    """Return the Wine path of a Linux path; Wine shows the root as drive Z."""
    return "Z:" + str(path).replace("/", "\\")


# --- running under it ---------------------------------------------------------------------------


class Wine:
    """Windows Python, and the `var` of its runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.var = folder / "run"

    def python(self, *words: str, exit_codes: Sequence[int] = (0,), cwd: Path = PROJECT) -> str:
        """Run Python with arguments and return its output.

        Raises:
            Failed: The exit code is another, or Python did not end in time.
        """
        try:
            done = subprocess.run(
                [str(self.folder / "python"), *words],
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=STEP_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Failed(f"no end within {STEP_S_MAX:.0f} s: {_tail(error.output)}") from error
        if done.returncode not in exit_codes:
            raise Failed(f"exit code {done.returncode}: {_tail(done.stdout)}")
        return done.stdout.decode("utf-8", "replace").replace("\r", "")

    def minibot(self, *words: str, exit_codes: Sequence[int] = (0,)) -> str:
        """Run a verb on the `var` of these checks."""
        where = ("--var", windows_path(self.var))
        return self.python("-m", "minibot", *words, *where, exit_codes=exit_codes)

    def end(self) -> None:
        """End all processes of this Windows, and Windows itself."""
        environ = {**os.environ, "WINEPREFIX": str(self.folder / "prefix")}
        server = shutil.which("wineserver") or "/usr/lib/wine/wineserver64"
        if Path(server).exists():
            subprocess.run([server, "-k"], env=environ, capture_output=True, check=False)


def _tail(output: bytes | None) -> str:
    lines = (output or b"").decode("utf-8", "replace").replace("\r", "").splitlines()
    return "\n    ".join(["", *lines[-LINES_SHOWN:]])


# --- the steps ----------------------------------------------------------------------------------


def imports(wine: Wine) -> str:
    """Import every module: none may need a feature that Windows lacks."""
    return _last(wine.python("-c", IMPORT_ALL))


def demo(wine: Wine) -> str:
    """Run the demo; its processes, queues and seal are those of any run."""
    shutil.rmtree(wine.var, ignore_errors=True)
    words = ("-m", "minibot.nore_run_v1", "--config", DEMO, "--no-proof", "--quiet")
    return _last(wine.python(*words, "--set", PATIENT, "--var", windows_path(wine.var)))


def verify(wine: Wine) -> str:
    """Verify the demo's run."""
    return _last(wine.minibot("verify"))


def replay(wine: Wine) -> str:
    """Replay the demo's run under Wine and on Linux: the same digest."""
    return _same_digest(wine, max((wine.var / "runs").glob("2*")))


def linux(wine: Wine) -> str:
    """Replay a run of Linux under Wine and on Linux: the same digest."""
    runs = sorted(path.parent for path in (PROJECT / "var" / "runs").glob("2*/seal.json"))
    if not runs:
        lab = wine.folder / "linux"
        shutil.rmtree(lab, ignore_errors=True)
        _here("minibot.nore_run_v1", "--config", SMOKE, "--quiet", "--no-proof", "--var", str(lab))
        runs = sorted((lab / "runs").glob("2*"))
    return _same_digest(wine, runs[-1])


def listed(wine: Wine) -> str:
    """Prove under a code list, in a second process with the right exit code and hash."""
    product = wine.folder / "listed"
    shutil.rmtree(product, ignore_errors=True)
    for name in ("minibot", "contracts", "config", "tools"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, product / name, ignore=without)
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        shutil.copy2(PROJECT / name, product / name)
    wine.python("-m", "minibot", "stage", "adopt", cwd=product)
    run = product / "var" / "runs" / "20260101_000000"
    runs = sorted((wine.var / "runs").glob("2*"))
    if not runs:
        raise Failed("there is no run yet: name the step demo before it")
    shutil.copytree(runs[-1], run)
    words = ("-m", "minibot", "verify", windows_path(run))
    clean = _last(wine.python(*words, cwd=product))
    seal = run / "seal.json"
    seal.write_bytes(seal.read_bytes() + b" ")
    wine.python(*words, cwd=product, exit_codes=(1,))
    private = product / "private"
    private.mkdir()
    flags = ("-I", "-X", f"pycache_prefix={windows_path(private)}", "minibot/listed.py")
    if _last(wine.python("-c", OWN_HASH, *flags, cwd=product)) != "True":
        raise Failed("the hash of its command line is not the one that its parent knows")
    return f"{clean}; exit 1 for a damaged run; hash of the command line as started"


def gates(wine: Wine) -> str:
    """Run every gate; where isolation is advisory, print what was not denied."""
    said = wine.minibot("gate", "all", exit_codes=(0, 1))
    verdicts: list[str] = []
    block: list[str] = []
    for line in said.splitlines():
        block.append(line)
        if line.startswith("gate "):
            if ": passes" not in line:
                raise Failed("\n    ".join(["", *(one for one in block if "  ok " not in one)]))
            verdicts.append(line.removeprefix("gate "))
            block.clear()
    if not verdicts:
        raise Failed(_tail(said.encode()))
    return ", ".join(verdicts)


def chaos(wine: Wine) -> str:
    """Inject some faults into real short runs: each ends as catalogued."""
    return _last(wine.minibot("chaos", *FAULTS, "--jobs", "2"))


STEPS: Final[tuple[Callable[[Wine], str], ...]] = (
    imports,
    demo,
    verify,
    replay,
    listed,
    linux,
    gates,
    chaos,
)


def _same_digest(wine: Wine, run: Path) -> str:
    there = _digest(wine.python("-m", "minibot", "replay", windows_path(run)))
    here = _digest(_here("minibot", "replay", str(run)))
    if there != here:
        raise Failed(f"{run.name}: digest {there} under Wine, {here} on Linux")
    return f"{run.name}: identical under Wine and on Linux, digest {there}"


def _here(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=PROJECT,
        capture_output=True,
        timeout=STEP_S_MAX,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"on Linux, {words[0]}: exit {done.returncode}: {_tail(done.stdout)}")
    return done.stdout.decode()


def _digest(said: str) -> str:
    found = re.search(r"identical, digest ([0-9a-f]{64})", said)
    if found is None:
        raise Failed(f"the replay is not identical: {said.strip()[-500:]}")
    return found.group(1)


def _last(said: str) -> str:
    # Wine may add a line when its last program ends.
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("0x")]
    return lines[-1] if lines else ""


# --- from the command line ----------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Build, run the steps, print a verdict for each; return 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.windows_check")
    names = [step.__name__ for step in STEPS]
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(names)}")
    parser.add_argument("--install", action="store_true", help="let the builder use apt-get")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the Windows Python is")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.steps) - set(names):
        parser.error(f"no step of these: {', '.join(sorted(unknown))}")
    if sys.platform != "linux":
        print("SKIPPED: this is for Linux; elsewhere the README's commands run as they are.")
        return 0
    wine = Wine(arguments.folder.resolve())
    begun = time.monotonic()
    try:
        build(wine.folder, may_install=arguments.install)
    except Missing as error:
        print(f"SKIPPED: nothing was run under Wine; missing: {error}")
        return 0
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"build: FAILED: {error}")
        return 1
    print(f"build: ok, {time.monotonic() - begun:.0f} s", flush=True)
    try:
        wanted = arguments.steps or names
        passed = [_told(step, wine) for step in STEPS if step.__name__ in wanted]
    finally:
        wine.end()
    print(f"{sum(passed)} of {len(passed)} steps fine under Wine, {time.monotonic() - begun:.0f} s")
    return 0 if all(passed) else 1


def _told(step: Callable[[Wine], str], wine: Wine) -> bool:
    begun = time.monotonic()
    try:
        said, verdict = step(wine), "ok"
    except (Failed, OSError, ValueError) as error:
        said, verdict = str(error), "FAILED"
    print(f"{step.__name__}: {verdict}, {time.monotonic() - begun:.0f} s: {said}", flush=True)
    return verdict == "ok"


if __name__ == "__main__":
    sys.exit(main())
