"""Features by which this machine can really break files and processes, and their tools.

Each feature is probed once, by using it. A test that needs a missing feature is skipped with its
name (`need`). Mounts live in a mount namespace whose only process waits for the end of its standard
input, so namespace, mounts and loop devices end with the test, however it ends.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from minibot.kernel import canonical
from tests.waiting import DEADLINE_S

if sys.platform != "win32":
    import fcntl

PROJECT: Final = Path(__file__).resolve().parents[2]
SHIM_SOURCE: Final = Path(__file__).with_name("shim.c")
_numbers = itertools.count()


class Completed(NamedTuple):
    """Outcome and output of a process.

    Attributes:
        code: Exit code; negative for a signal that killed the process.
        out: Lines of standard output.
        err: Standard error.
    """

    code: int
    out: list[str]
    err: str

    def last(self, word: str) -> int:
        """Return the number behind the last line that begins with a word; 0 without one."""
        numbers = [int(line.split()[1]) for line in self.out if line.split()[0] == word]
        return numbers[-1] if numbers else 0

    @property
    def reason(self) -> str:
        """Reason code of the STOP on standard error; empty without one."""
        for line in self.err.splitlines():
            if line.startswith("STOP "):
                return line.removeprefix("STOP ").partition(":")[0]
        return ""


def run(
    argv: Sequence[str], *, environ: Mapping[str, str] | None = None, input_text: str | None = None
) -> Completed:
    """Run a command to its end."""
    done = subprocess.run(
        argv,
        cwd=PROJECT,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(environ or {})},
        input=input_text,
        stdin=subprocess.DEVNULL if input_text is None else None,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    return Completed(done.returncode, done.stdout.splitlines(), done.stderr)


def victim_argv(do: str, folder: Path, **task: Any) -> list[str]:
    """Return the command line of a victim."""
    text = canonical.encode({"do": do, "folder": str(folder), **task}).decode()
    return [sys.executable, "-m", "tests.kernel.victim", text]


def run_victim(
    do: str,
    folder: Path,
    *,
    wrap: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    **task: Any,
) -> Completed:
    """Run a victim to its end, behind a wrapping command such as strace or prlimit."""
    return run([*wrap, *victim_argv(do, folder, **task)], environ=environ)


# --- strace and the shim ------------------------------------------------------------------------


def strace(call: str, how: str) -> list[str]:
    """Return the command that injects a fault into the system calls of a command after it."""
    # A signal cannot be injected where seccomp stops the call; a plain trace only is slower.
    fast = [] if "signal=" in how else ["--seccomp-bpf"]
    return [
        *("strace", "-f", "-qqq", *fast, "-o", "/dev/null"),
        *("-e", f"trace={call}", "-e", f"inject={call}:{how}"),
    ]


@functools.cache
def shim() -> dict[str, str]:
    """Return the environment that loads the shim, compiled once for this session."""
    folder = Path(tempfile.mkdtemp(prefix="minibot-shim-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "shim.so"
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", str(target), str(SHIM_SOURCE), "-ldl"], check=True
    )
    return {"LD_PRELOAD": str(target)}


# --- file systems of our own --------------------------------------------------------------------


def is_superuser() -> bool:
    """Return whether this process may mount without a user namespace."""
    return sys.platform != "win32" and os.geteuid() == 0


class Space:
    """Folder with mounts that no other process sees.

    Args:
        folder: Place of the mounts; made when missing.
        script: Shell commands that mount them, with `$1` for the folder.
    """

    def __init__(self, folder: Path, script: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder
        is_root = is_superuser()
        self._enter = [] if is_root else ["-U", "--preserve-credentials"]
        self._keeper = subprocess.Popen(
            [
                *("unshare", *([] if is_root else ["-Ur"]), "-m", "--propagation", "private"),
                *("sh", "-ec", f"{script}\necho ready\nexec cat", "sh", str(folder)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            _, text = self._keeper.communicate()
            raise OSError(f"no mounts: {text}")

    @property
    def seen(self) -> Path:
        """Path of the inner folder, as seen from outside."""
        return Path(f"/proc/{self._keeper.pid}/root{self.folder}")

    @property
    def wrap(self) -> list[str]:
        """Command prefix that runs a command inside."""
        return ["nsenter", "-t", str(self._keeper.pid), *self._enter, "-m", f"--wd={PROJECT}"]

    def sh(self, script: str) -> Completed:
        """Run shell commands inside, with `$1` for the folder; fail when they fail."""
        done = run([*self.wrap, "sh", "-ec", script, "sh", str(self.folder)])
        assert done.code == 0, done.err
        return done

    def close(self) -> None:
        """End the keeper, and every mount with it."""
        if self._keeper.stdin is not None:
            self._keeper.stdin.close()
        self._keeper.wait(DEADLINE_S)
        for pipe in (self._keeper.stdout, self._keeper.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Space:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def tmpfs(options: str) -> str:
    """Return the script that mounts a tmpfs with options such as `size=64k`."""
    return f'mount -t tmpfs -o {options},mode=0700 tmpfs "$1"'


def image(kind: str, size_mib: int = 0, *, make: str = "") -> str:
    """Return the script that mounts a fresh ext4 or xfs on a loop device.

    The image lies in a tmpfs below the folder's name, so that it goes with the namespace.
    """
    size = size_mib or (300 if kind == "xfs" else 16)
    quiet = {"ext4": "-q -F -O ^metadata_csum", "xfs": "-q -f"}[kind]
    return (
        'mkdir -p "$1.image"; mount -t tmpfs -o size=512m tmpfs "$1.image"\n'
        f'truncate -s {size}M "$1.image/disk"\n'
        f'mkfs.{kind} {quiet} {make} "$1.image/disk" >/dev/null 2>&1\n'
        f'mount -t {kind} -o loop "$1.image/disk" "$1"; chmod 700 "$1"'
    )


# FS_IOC_SHUTDOWN, without a flush of the journal: unsynced data never reaches the device.
SHUTDOWN: Final = 0x8004587D
NO_FLUSH: Final = struct.pack("I", 2)


def cut_power(space: Space) -> None:
    """Shut the file system of a space down, as a power loss would."""
    if sys.platform != "win32":
        fd = os.open(space.seen, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, NO_FLUSH)
        finally:
            os.close(fd)


def restore_power(space: Space) -> None:
    """Mount a file system again after its power was cut, once nobody holds it."""
    space.sh('umount "$1"; mount -o loop "$1.image/disk" "$1"')


# --- groups of processes ------------------------------------------------------------------------

CGROUPS: Final = Path("/sys/fs/cgroup")
LIMITS: Final = {
    "pids": ("pids.max", "pids.max"),
    "memory": ("memory.limit_in_bytes", "memory.max"),
}


class Group:
    """Control group with a limit; removed when its last process has ended.

    Args:
        controller: `pids` or `memory`.
        limit: Number of processes and threads, or of bytes; None for no limit yet.

    Raises:
        OSError: The controller may not be used here.
    """

    def __init__(self, controller: str, limit: int | None = None) -> None:
        is_old = (CGROUPS / controller).is_dir()
        self._limit_file = LIMITS[controller][0 if is_old else 1]
        root = CGROUPS / controller if is_old else CGROUPS
        self.folder = root / f"minibot-test-{os.getpid()}-{next(_numbers)}"
        self.folder.mkdir()
        try:
            if limit is not None:
                self.limit(limit)
            elif not (self.folder / self._limit_file).exists():
                raise OSError(f"no controller {controller}")
        except OSError:
            self.folder.rmdir()
            raise

    def limit(self, count: int) -> None:
        """Set the limit."""
        (self.folder / self._limit_file).write_text(str(count))

    @property
    def wrap(self) -> list[str]:
        """Command prefix that runs a command in this group."""
        return ["sh", "-ec", f'echo $$ > {self.folder}/cgroup.procs; exec "$@"', "sh"]

    def close(self) -> None:
        """Remove the group; its processes have ended, or are about to."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.folder.rmdir()
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


# --- features --------------------------------------------------------------------------------


def _has(*commands: str) -> str:
    missing = [command for command in commands if shutil.which(command) is None]
    return f"no {', '.join(missing)}" if missing else ""


def _linux() -> str:
    return "" if sys.platform == "linux" else "no Linux"


def _root() -> str:
    return _linux() or ("" if is_superuser() else "no root")


def _strace() -> str:
    missing = _linux() or _has("strace")
    if missing:
        return missing
    script = "import os; os.fsync(os.open('/', os.O_RDONLY))"
    done = run([*strace("fsync", "error=EIO"), sys.executable, "-I", "-c", script])
    return "" if "Input/output error" in done.err else f"no strace injection: {done.err[-80:]!r}"


def _cc() -> str:
    missing = _linux() or _has("cc")
    if missing:
        return missing
    try:
        shim()
    except subprocess.CalledProcessError:
        return "no working C compiler"
    return ""


def _mounting(script: str, *commands: str) -> Callable[[], str]:
    def probe() -> str:
        missing = _linux() or _has("unshare", "nsenter", *commands)
        if missing:
            return missing
        folder = Path(tempfile.mkdtemp(prefix="minibot-probe-"))
        try:
            Space(folder, script).close()
        except OSError as error:
            return f"no such mount: {str(error).strip()[-80:]!r}"
        finally:
            for left in (folder, folder.with_name(folder.name + ".image")):
                if left.exists():
                    left.rmdir()
        return ""

    return probe


def _group(controller: str) -> Callable[[], str]:
    def probe() -> str:
        lacking = _root()
        if lacking:
            return lacking
        try:
            Group(controller).close()
        except OSError as error:
            return f"no control group: {error}"
        return ""

    return probe


FEATURES: Final[dict[str, Callable[[], str]]] = {
    "linux": _linux,
    "root": _root,
    "strace": _strace,
    "cc": _cc,
    "prlimit": lambda: _linux() or _has("prlimit"),
    "chattr": lambda: _root() or _has("chattr"),
    "tmpfs": _mounting(tmpfs("size=64k")),
    "ext4": _mounting(image("ext4"), "mkfs.ext4"),
    "xfs": _mounting(image("xfs"), "mkfs.xfs"),
    "pids": _group("pids"),
    "memory": _group("memory"),
}


@functools.cache
def missing(feature: str) -> str:
    """Return the obstacle to using a feature here; empty when it works."""
    return FEATURES[feature]()


def need(*features: str) -> None:
    """Skip the test, naming each feature that this machine lacks."""
    lacking = [f"{feature} ({missing(feature)})" for feature in features if missing(feature)]
    if lacking:
        pytest.skip(f"this machine does not offer: {', '.join(lacking)}")
