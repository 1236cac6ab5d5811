"""Probes: attempts of a hostile worker, made inside the sandbox; each must be denied.

An attempt counts as denied only when the kernel refuses it (EPERM, EACCES; ENOSYS for a call that
the filter hides) or the resolver finds no `localhost`, which hides the kernel's reason. Any other
failure, or a success, is reported as it is and makes the gate fail. A
successful attempt undoes itself or harms nothing: a forked child ends at once, signal 0 only
checks, a file is opened but not written.
"""

from __future__ import annotations

import errno
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from minibot.ai.frames import Frame
from minibot.ai.raw_calls import raw_calls

DENIED: Final = "denied"
OPEN: Final = "open"
WORKS: Final = "works"
_SAYS_NO: Final = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS})

Attempt = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Probe:
    """One attempt with its group and name; if `must_work`, it has to stay possible instead."""

    group: str
    name: str
    attempt: Attempt
    must_work: bool = False

    def run(self) -> Frame:
        """Make the attempt; return its outcome and the system's answer."""
        outcome, detail = _outcome(self.attempt)
        if self.must_work:
            is_right = outcome == OPEN
            outcome = WORKS if is_right else detail
        else:
            is_right = outcome == DENIED
        return {
            "group": self.group,
            "name": self.name,
            "outcome": outcome,
            "detail": detail,
            "passed": is_right,
        }


def _outcome(attempt: Attempt) -> tuple[str, str]:
    try:
        result = attempt()
    except socket.gaierror as error:
        # The resolver hides the reason; `localhost` resolves anywhere without a network.
        return DENIED, f"not resolved: {error.strerror}"
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        return (DENIED if error.errno in _SAYS_NO else OPEN), name
    except (ImportError, ValueError, RuntimeError) as error:
        return OPEN, repr(error)[:200]
    return OPEN, f"succeeded: {str(result)[:100]}"


def _use_socket(family: int, kind: int, protocol: int = 0) -> Attempt:
    def attempt() -> object:
        with socket.socket(family, kind, protocol) as opened:
            return opened.fileno()

    return attempt


def _connect() -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.settimeout(1)
        return opened.connect_ex(("127.0.0.1", 9))


def _open(path: str, flags: int) -> Attempt:
    def attempt() -> object:
        os.close(os.open(path, flags))
        return path

    return attempt


def _network() -> list[Probe]:
    probes = [
        Probe("network", "tcp", _connect),
        Probe("network", "udp", _use_socket(socket.AF_INET, socket.SOCK_DGRAM)),
        Probe("network", "tcp6", _use_socket(socket.AF_INET6, socket.SOCK_STREAM)),
        Probe("network", "dns", lambda: socket.getaddrinfo(b"localhost", 80)),
    ]
    if sys.platform != "win32":
        unix = _use_socket(socket.AF_UNIX, socket.SOCK_STREAM)
        probes += [Probe("network", "unix", unix), Probe("network", "socketpair", _socketpair)]
    if sys.platform == "linux":
        netlink = _use_socket(socket.AF_NETLINK, socket.SOCK_RAW)
        raw = _use_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        probes += [Probe("network", "netlink", netlink), Probe("network", "raw", raw)]
    return probes


def _socketpair() -> object:
    first, second = socket.socketpair()
    first.close()
    second.close()
    return "socketpair"


def _files(targets: dict[str, str]) -> list[Probe]:
    """Return one read and one write attempt for each file that the caller names."""
    probes = []
    for name, path in sorted(targets.items()):
        probes.append(Probe("files", f"read {name}", _open(path, os.O_RDONLY)))
        probes.append(Probe("files", f"write {name}", _open(path, os.O_WRONLY)))
    here = os.path.join(os.curdir, "probe.tmp")
    probes.append(Probe("files", "create", _open(here, os.O_WRONLY | os.O_CREAT)))
    probes.append(Probe("files", "list /", lambda: len(os.listdir(os.sep))))
    probes.append(Probe("files", "look at /", lambda: os.stat(os.sep).st_mode))
    if sys.platform == "linux":
        parent = f"/proc/{os.getppid()}"
        probes += [
            Probe("files", "parent's memory", _open(f"{parent}/mem", os.O_RDONLY)),
            Probe("files", "parent's environment", _open(f"{parent}/environ", os.O_RDONLY)),
            Probe("files", "parent's descriptors", lambda: len(os.listdir(f"{parent}/fd"))),
            Probe("files", "password file", _open("/etc/passwd", os.O_WRONLY)),
        ]
    return probes


def _escape(targets: dict[str, str]) -> list[Probe]:
    target = next(iter(sorted(targets.values())), os.sep)
    inside = os.path.join(os.curdir, "probe.link")
    above = os.path.join(os.pardir, os.pardir)
    return [
        Probe("escape", "symlink", lambda: os.symlink(target, inside)),
        Probe("escape", "hard link", lambda: os.link(target, inside)),
        Probe("escape", "dot dot", _open(above, os.O_RDONLY)),
        Probe("escape", "rename", lambda: os.rename(target, target)),
        Probe("escape", "chmod", lambda: os.chmod(os.curdir, 0o700)),
        Probe("escape", "make folder", lambda: os.mkdir(inside)),
        Probe("escape", "remove", lambda: os.unlink(inside)),
        Probe("escape", "change folder", lambda: os.chdir(os.sep)),
    ]


def _thread() -> object:
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join(5)
    return "thread"


if sys.platform != "win32":

    def _fork() -> object:
        child = os.fork()
        if child == 0:
            os._exit(0)
        # The finding is that it could be started, even if waiting for it fails.
        with suppress(OSError):
            os.waitpid(child, 0)
        return child

    def _executable_memory() -> object:
        rights = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        mmap.mmap(-1, mmap.PAGESIZE, prot=rights).close()
        return "executable page"


def _processes() -> list[Probe]:
    python = sys.executable
    probes = [
        Probe("processes", "thread", _thread, must_work=True),
        Probe("processes", "spawn", lambda: subprocess.run([python, "-c", ""], check=False)),
    ]
    if sys.platform != "win32":
        parent = os.getppid()
        probes += [
            Probe("processes", "fork", _fork),
            Probe("processes", "signal parent", lambda: os.kill(parent, 0)),
            Probe("processes", "signal all", lambda: os.killpg(os.getpgid(parent), 0)),
            Probe("processes", "lower niceness", lambda: os.nice(-5)),
            Probe("processes", "executable memory", _executable_memory),
            Probe("processes", "exec", lambda: os.execv(python, [python, "-c", ""])),
        ]
    return probes


def prepare_probes() -> Callable[[Frame], list[Frame]]:
    """Load everything that the attempts need, before the sandbox closes; return their runner.

    The frame given to the runner may name `targets`: {name: path} of files that must stay out of
    reach.
    """
    raw = [Probe("kernel", name, attempt) for name, attempt in raw_calls()]

    def run(frame: dict[str, Any]) -> list[Frame]:
        targets = {str(name): str(path) for name, path in frame.get("targets", {}).items()}
        probes = [*_network(), *_files(targets), *_escape(targets), *raw, *_processes()]
        return [probe.run() for probe in probes]

    return run
