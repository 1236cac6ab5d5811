"""Choice of the Python and the code that run; standard library alone, to tell what is missing.

The launch command of the specification may be given to any Python. One without the locked
dependencies starts the same command in the project's `.venv`, or says how to make it. Commands
under a code list restart themselves by `minibot/listed.py` before anything else is imported: a
night whose profile has `code.require_manifest`, and every verb of proof if a list of deployed code
exists or the run in question was held to one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibot import listed

PROJECT = Path(__file__).resolve().parent.parent
NEEDED = ("orjson", "jsonschema_rs", "portalocker", "filelock", "psutil", "requests")
# Lies beside the package in a checkout, and never where pip installs.
BESIDE = Path("config", "config.v1.schema.json")
CANNOT_RUN = 2
NIGHTS = frozenset({"night", "trade"})
# Verbs that say whether a record is true, or show it to others as true.
PROOFS = frozenset(
    {
        *("verify", "replay", "accept", "ready", "parity", "report", "profit"),
        *("ai-proof", "certificate", "execute-hour", "replay-hour", "replay-manifest"),
        *("replay-window", "explain", "diff"),
    }
)
# Variables that would load code before ours, or in its place; kept from processes under a list.
LOADS_CODE = ("PYTHON", "LD_", "DYLD_")
# A killed process leaves its private folder; no process uses one as long as this.
KEPT_S = 7 * 24 * 3600.0
BYTES_MAX = 1 << 22
REQUIRED = "code.require_manifest"
REQUIRED_VARIABLE = "MINIBOT__CODE__REQUIRE_MANIFEST"


def hand_over(module: str) -> None:
    """Continue here, in `.venv` or under the code list, or exit with one line that says why not."""
    words = sys.argv[1:]
    if not (PROJECT / BESIDE).is_file():
        _go_to_checkout(module, words)
    if sys.version_info >= (3, 11) and all(map(importlib.util.find_spec, NEEDED)):
        if not listed.is_on and asks_for_list(module, words, os.environ):
            go_on_listed(module, words)
        return
    python = PROJECT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and Path(sys.executable) != python:
        _become([str(python), "-m", module, *words], os.environ)
    start = r"py tools\with_env.py" if os.name == "nt" else "python3 tools/with_env.py"
    print(
        f"minibot needs its environment; make it and run with: {start} -m {module}",
        file=sys.stderr,
    )
    sys.exit(CANNOT_RUN)


def _go_to_checkout(module: str, words: Sequence[str]) -> None:
    """Continue with the checkout in the working folder: pip installed the package alone."""
    here = Path.cwd()
    is_first = not getattr(sys.flags, "safe_path", False)
    if is_first and (here / BESIDE).is_file() and (here / "minibot" / "__main__.py").is_file():
        _become([sys.executable, "-m", module, *words], os.environ)
    print(
        "minibot runs in its checkout, with config, contracts and staging beside it: go to"
        ' that folder, or install it there by: pip install -e ".[optimise]"',
        file=sys.stderr,
    )
    sys.exit(CANNOT_RUN)


# --- under a code list ----------------------------------------------------------------------------


def asks_for_list(module: str, words: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Return whether a command has to execute listed sources alone.

    A night that names no profile takes the own one of the working folder. A profile named in a way
    that is not seen here is refused once it has been read: `minibot.watchdog.launcher`.
    """
    if "--help" in words or "-h" in words:
        return False
    verb = "night" if module != "minibot" else words[0] if words else ""
    if verb in NIGHTS:
        return _night_asks(words, environ)
    if verb not in PROOFS:
        return False
    return (PROJECT / listed.DEPLOYED).exists() or any(map(_requires, _runs(words[1:])))


def go_on_listed(module: str, words: Sequence[str]) -> None:
    """Start this command again under its code list, in a new private folder; never return."""
    private = private_folder()
    script = str(PROJECT / "minibot" / "listed.py")
    command = [_program(), *_kept_flags(), *listed.flags(private), script, module, *words]
    environ = {
        name: value for name, value in os.environ.items() if not name.upper().startswith(LOADS_CODE)
    }
    if _program() != sys.executable:
        environ["__PYVENV_LAUNCHER__"] = sys.executable
    _become(command, environ, private)


def private_folder() -> str:
    """Create and return an empty folder for bytecode that only this user can enter."""
    import tempfile

    _sweep(tempfile.gettempdir())
    return os.path.realpath(tempfile.mkdtemp(prefix=f"{listed.PREFIX}{os.getpid()}-"))


def _sweep(folder: str) -> None:
    """Remove the private folders of processes that were killed, once no run can use them."""
    now_s = time.time()
    for entry in os.scandir(folder):
        if not entry.name.startswith(listed.PREFIX):
            continue
        with suppress(OSError):  # Another user's, or removed by another start.
            if now_s - entry.stat(follow_symlinks=False).st_mtime > KEPT_S:
                listed.remove(entry.path)


def _become(command: Sequence[str], environ: Mapping[str, str], private: str | None = None) -> None:
    """Continue as another command, with this process's signals and exit code; never return.

    Windows cannot replace a process: there this one waits, leaves Ctrl-C and Ctrl-Break to the new
    one, and removes its private folder at the end.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # A closed one is None.
            stream.flush()
    if os.name != "nt":
        os.execve(command[0], list(command), dict(environ))
    for name in ("SIGINT", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    code = subprocess.Popen(list(command), env=dict(environ)).wait()
    if private is not None:
        listed.remove(private)
    sys.exit(code)


def _program() -> str:
    """Return the Python itself, which in a virtual environment on Windows a launcher starts."""
    if os.name == "nt":
        return str(getattr(sys, "_base_executable", "") or sys.executable)
    return sys.executable


def _kept_flags() -> list[str]:
    """Return the flags of this process that its restart has to have too."""
    kept = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    if sys.flags.utf8_mode:
        kept += ["-X", "utf8"]
    return [*kept, "-u"] if os.environ.get("PYTHONUNBUFFERED") else kept


# --- what a command speaks of -----------------------------------------------------------------


def _night_asks(words: Sequence[str], environ: Mapping[str, str]) -> bool:
    if _is_true(environ.get(REQUIRED_VARIABLE, "")):
        return True
    if any(_is_true(word.partition(f"{REQUIRED}=")[2]) for word in words):
        return True
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("--config", "-c"):
            path = value or "".join(words[at + 1 : at + 2])
            return any(map(_profile_requires, _profiles(path)))
    return any(_extends(path) and _profile_requires(path) for path in Path().glob("*.json"))


def _extends(path: Path) -> bool:
    """Return whether a file may be the own profile of a night that names none."""
    profile = _json(path)
    return isinstance(profile, dict) and isinstance(profile.get("extends"), str)


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"


def _profiles(path: str) -> Iterator[Path]:
    """Yield the paths of a profile that a person may mean by a name (X-16)."""
    plain = path.replace("\\", "/").removeprefix("./").removeprefix("minibot/")
    for place in (Path(path), Path(plain), PROJECT / plain):
        if os.path.isfile(place):
            yield place


def _profile_requires(path: Path) -> bool:
    """Return whether a profile, or the base that it extends, requires the list."""
    profile = _json(path)
    base = profile.get("extends") if isinstance(profile, dict) else None
    if not isinstance(base, str) or _says(profile):
        return _required_by(profile)
    beside = path.parent / base
    place = beside if os.path.lexists(beside) else PROJECT / "config" / base
    return os.path.isfile(place) and _required_by(_json(place))


def _runs(words: Sequence[str]) -> Iterator[Path]:
    """Yield the folders of runs that the words of a command may name, else the newest."""
    var = PROJECT / "var"
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name == "--var":
            var = Path(value or "".join(words[at + 1 : at + 2]) or "var")
    named = [
        folder
        for word in words
        for folder in (var / "runs" / word, Path(word))
        if not word.startswith("-") and os.path.isfile(folder / "manifest.json")
    ]
    newest = sorted(path.parent for path in (var / "runs").glob("*/manifest.json"))[-1:]
    yield from named or newest


def _requires(run: Path) -> bool:
    manifest = _json(run / "manifest.json")
    return isinstance(manifest, dict) and _required_by(manifest.get("config"))


def _required_by(profile: Any) -> bool:
    code = profile.get("code") if isinstance(profile, dict) else None
    return isinstance(code, dict) and code.get("require_manifest") is True


def _says(profile: Any) -> bool:
    """Return whether a profile itself has the key that requires the list."""
    code = profile.get("code")
    return isinstance(code, dict) and "require_manifest" in code


def _json(path: Path) -> Any:
    """Return a small JSON file's content; None if unreadable, which other checks report."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return json.loads(file.read(BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return None


def _without_waiting(path: str, _: int) -> int:
    """Open a file for reading, without waiting for a writer if it is a FIFO."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
