"""State of `.venv`: its stamp, the locks around it, and the start of its Python.

This half of `tools/with_env.py` is kept small because it runs at every start. `env_setup.py` makes
an environment and is imported only then.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import time
from typing import Final

PROJECT: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV: Final = os.path.join(PROJECT, ".venv")
LOCK_FILE: Final = os.path.join(PROJECT, "requirements.lock")
DEV_LOCK_FILE: Final = os.path.join(PROJECT, "requirements-dev.lock")
# The stamp stands only in a complete environment; the mark says that this tool made the folder.
STAMP: Final = os.path.join(VENV, "minibot-env.json")
MARK: Final = os.path.join(VENV, "minibot-env.begun")
# One set-up at a time, and no rebuild under a running program that this tool started.
SETUP_LOCK: Final = os.path.join(PROJECT, ".venv.setup.lock")
USE_LOCK: Final = os.path.join(PROJECT, ".venv.use.lock")
CHECKS: Final = ("pytest", "tools", "ruff", "mypy")  # Modules that need the packages of checks.
FORMAT: Final = 1  # Raise it when what an older set-up made must be made again.


class Refused(Exception):
    """The environment cannot be made; the message says what was found and what to do."""


def say(text: str) -> None:
    """Write one line of progress to standard error; standard output belongs to the command."""
    sys.stderr.write("with_env: " + text + "\n")
    sys.stderr.flush()


# --- what stands -------------------------------------------------------------------------------


def venv_python() -> str:
    """Return the path of the environment's interpreter, which need not exist."""
    if os.name == "nt":
        return os.path.join(VENV, "Scripts", "python.exe")
    return os.path.join(VENV, "bin", "python")


def base_python() -> str:
    """Return the real path of the interpreter outside any environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def lock_sha256(path: str = LOCK_FILE) -> str:
    """Return the sha256 of a lock file."""
    try:
        with open(path, "rb") as lock:
            return hashlib.sha256(lock.read()).hexdigest()
    except OSError as error:
        name = os.path.basename(path)
        raise Refused(f"cannot read {name}: {error}; is this a whole clone?") from error


def is_for_checks(arguments: list[str]) -> bool:
    """Tell whether arguments of Python start a check or tool, which needs `DEV_LOCK_FILE` too."""
    is_module = len(arguments) > 1 and arguments[0] == "-m"
    return is_module and arguments[1].split(".")[0] in CHECKS


def read_stamp() -> dict[str, object]:
    """Return the sources of the environment, nothing where no set-up has ended."""
    try:
        with open(STAMP, encoding="utf-8") as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and stamp.get("format") == FORMAT else {}


def is_current(dev: bool = False) -> bool:
    """Tell whether `.venv` is complete, from this lock, for this folder, and its Python lives.

    With `dev` the packages of checks and tools belong to it, from their own lock.
    """
    stamp = read_stamp()
    if not stamp or (dev and stamp.get("dev") != lock_sha256(DEV_LOCK_FILE)):
        return False
    base = str(stamp.get("base"))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    upgraded = base == base_python() and stamp.get("python") != version
    return (
        stamp.get("lock") == lock_sha256()
        and stamp.get("project") == PROJECT
        and os.path.exists(base)
        and os.path.exists(venv_python())
        and not upgraded
    )


def write_stamp(dev: bool = False) -> None:
    """Write, as the last act of a set-up and in one step, what the environment was made from."""
    stamp = {
        "dev": lock_sha256(DEV_LOCK_FILE) if dev else None,
        "format": FORMAT,
        "lock": lock_sha256(),
        "project": PROJECT,
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "base": base_python(),
    }
    temporary = STAMP + ".tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(stamp, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, STAMP)


# --- locks -------------------------------------------------------------------------------------


def try_lock(path: str, shared: bool = False) -> int | None:
    """Return a descriptor that holds the kernel lock on `path`, or None when others hold it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def take_into_use(dev: bool = False) -> bool:
    """Tell whether the environment is current, and if so say to others that it is in use now.

    The started program keeps the lock through exec until it ends; its children do not inherit it.
    Windows needs no lock: it refuses to move a folder that holds a running program. A folder that
    cannot be written cannot be set up again either.
    """
    descriptor = None
    if sys.platform != "win32" and os.access(PROJECT, os.W_OK):
        descriptor = try_lock(USE_LOCK, shared=True)
        if descriptor is None:
            return False  # A set-up is at work.
    current = is_current(dev)
    if descriptor is not None and current:
        os.set_inheritable(descriptor, True)
    elif descriptor is not None:
        os.close(descriptor)
    return current


def wait_for_lock(path: str, holder: str) -> int:
    """Return the descriptor of a lock, waiting for its present holder to end."""
    said = False
    while True:
        descriptor = try_lock(path)
        if descriptor is not None:
            return descriptor
        if not said:
            say(f"{holder} is at work in this folder; waiting for it to end")
            said = True
        time.sleep(0.2)


DEPLOY = ("minibot", "runtime", "deployment", "deploy.py")


def finish_deployment() -> None:
    """Finish an interrupted deployment before any half-new code is imported."""
    if not os.path.exists(os.path.join(PROJECT, "staging", "deploying.json")):
        return
    lock = wait_for_lock(os.path.join(PROJECT, "staging", "apply.lock"), "a deployment")
    try:
        deploy = runpy.run_path(os.path.join(PROJECT, *DEPLOY))
        try:
            outcome = deploy["finish"](pathlib.Path(PROJECT))
        except deploy["DeploymentStuck"] as error:
            raise Refused(f"a deployment is stuck halfway: {error}") from error
        if outcome is not None:
            say(f"a deployment had been cut off: {outcome}")
    finally:
        os.close(lock)


# --- handing over ------------------------------------------------------------------------------


def clean_environ() -> dict[str, str]:
    """Return the environment without variables that would mislead the environment's Python."""
    drop = ("PYTHONHOME", "__PYVENV_LAUNCHER__")
    return {key: value for key, value in os.environ.items() if key not in drop}


def run_python(python: str, arguments: list[str]) -> int:
    """Replace this process by `python arguments`; on Windows run it and return its exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execve(python, [python, *arguments], clean_environ())
    # The console sends Ctrl-C and Ctrl-Break to both processes: the program decides, this one
    # waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGBREAK, signal.SIG_IGN)
    return subprocess.call([python, *arguments], env=clean_environ())


def runs_inside_venv() -> bool:
    """Tell whether this process itself runs in the environment that it may have to replace."""
    return os.path.realpath(sys.prefix) == os.path.realpath(VENV)
