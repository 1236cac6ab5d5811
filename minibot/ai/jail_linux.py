"""Sandbox on Linux, set up by ctypes without root.

Its layers: no capabilities, no new privileges, limits, Landlock, seccomp.

Files are kept out twice: seccomp denies every call that takes a path or opens a descriptor, and
Landlock, where the kernel has it, denies what such a call could reach. On a kernel without Landlock
the sandbox still counts as complete, and the report says so; on a kernel that has Landlock but
refuses it, it does not.

The process must be single-threaded when the sandbox closes, because Landlock binds the calling
thread and those it starts later.

Source:
    capabilities(7), landlock(7), seccomp(2), prctl(2), setrlimit(2); `linux/landlock.h`.
"""

from __future__ import annotations

import sys

if sys.platform == "linux":
    import ctypes
    import errno
    import os
    import platform
    import resource
    import signal
    import socket
    from collections.abc import Callable
    from typing import Final

    from minibot.ai.isolation import JAIL, OFF, PARTIAL, Isolation, Layer
    from minibot.ai.seccomp import program
    from minibot.ai.syscalls import MACHINES

    _PR_SET_PDEATHSIG: Final = 1
    _PR_SET_NO_NEW_PRIVS: Final = 38
    _PR_CAPBSET_DROP: Final = 24
    _PR_CAP_AMBIENT: Final = 47
    _PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
    _CAPABILITY_VERSION_3: Final = 0x20080522
    _CAPABILITIES_MAX: Final = 64
    # The sets that let a process act, or regain what it gave up. The bounding set only limits exec,
    # which the filter denies; an ordinary user cannot change it.
    _USABLE: Final = ("CapEff", "CapPrm", "CapAmb")
    _SECCOMP_SET_MODE_FILTER: Final = 1
    _SECCOMP_FILTER_FLAG_TSYNC: Final = 1
    _SYS_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
    _SYS_LANDLOCK_CREATE_RULESET: Final = 444  # The same number on every architecture.
    _SYS_LANDLOCK_RESTRICT_SELF: Final = 446
    _LANDLOCK_CREATE_RULESET_VERSION: Final = 1

    # The worker holds five descriptors and can open none; the rest is for the interpreter.
    DESCRIPTORS_MAX: Final = 16
    # Nothing can be opened for writing; this limits a standard output redirected to a file.
    FILE_BYTES_MAX: Final = 1 << 20

    _libc = ctypes.CDLL(None, use_errno=True)
    _libc.syscall.restype = ctypes.c_long

    class _Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    class _Ruleset(ctypes.Structure):
        _fields_ = (
            ("handled_access_fs", ctypes.c_uint64),
            ("handled_access_net", ctypes.c_uint64),
            ("scoped", ctypes.c_uint64),
        )

    def _checked(result: int, what: str) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")
        return result

    def _capabilities() -> str:
        """Drop every capability: a process started by root keeps none and cannot regain any.

        Called before the parent-death signal is set, as a change of credentials may clear it.
        """
        held = _capability_sets()
        if any(held.values()):
            for number in range(_CAPABILITIES_MAX):
                # EINVAL after the last one that this kernel knows, EPERM for an ordinary user.
                if _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) < 0:
                    break
            _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
            header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
            _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
        left = [name for name, value in _capability_sets().items() if value and name in _USABLE]
        if left:
            raise OSError(errno.EPERM, f"capabilities are left: {', '.join(left)}")
        return "dropped for good" if held["CapEff"] else "none were held"

    def _capability_sets() -> dict[str, int]:
        """Return each capability set of this process, by its name in /proc/self/status."""
        with open("/proc/self/status", "rb") as status:
            lines = status.read().decode("ascii", "replace").splitlines()
        pairs = (line.split(":", 1) for line in lines if line.startswith("Cap"))
        return {name: int(value, 16) for name, value in pairs if name in (*_USABLE, "CapInh")}

    def _no_new_privs() -> str:
        _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
        _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
        return "set"

    def _limits(memory_bytes_max: int) -> str:
        """Limit memory, descriptors, files and core dumps, below what the system allows.

        NPROC is left alone: it counts all processes of the user, so that any value either has no
        effect or breaks the worker's own threads; seccomp denies new processes.
        """
        with open("/proc/self/statm", "rb") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
        # DATA limits written memory; AS limits address space beyond the libraries mapped so far.
        _lower(resource.RLIMIT_DATA, memory_bytes_max)
        _lower(resource.RLIMIT_AS, mapped + memory_bytes_max)
        _lower(resource.RLIMIT_NOFILE, DESCRIPTORS_MAX)
        _lower(resource.RLIMIT_FSIZE, FILE_BYTES_MAX)
        _lower(resource.RLIMIT_CORE, 0)
        return f"data {memory_bytes_max >> 20} MB, descriptors {DESCRIPTORS_MAX}, core 0"

    def _lower(which: int, value: int) -> None:
        hard = resource.getrlimit(which)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (bound, bound))

    def landlock_abi() -> int:
        """Return the kernel's version of Landlock; 0 without it."""
        result = _libc.syscall(
            _SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION
        )
        return max(0, int(result))

    def _ruleset(abi: int) -> tuple[_Ruleset, int]:
        """Return all rights that this version can handle, and the size of its structure."""
        last_right = {1: 12, 2: 13, 3: 14, 4: 14}.get(abi, 15)
        rules = _Ruleset(handled_access_fs=(1 << (last_right + 1)) - 1)
        if abi >= 4:
            rules.handled_access_net = 0b11  # BIND_TCP, CONNECT_TCP.
        if abi >= 6:
            rules.scoped = 0b11  # Abstract unix sockets, signals.
        return rules, 8 if abi < 4 else 16 if abi < 6 else 24

    def _landlock() -> str:
        """Deny every file, TCP port and signal that Landlock knows: handled, without one rule."""
        abi = landlock_abi()
        if abi == 0:
            return "not in this kernel; seccomp alone keeps files out"
        rules, size = _ruleset(abi)
        descriptor = _checked(
            _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(rules), size, 0),
            "landlock_create_ruleset",
        )
        try:
            _checked(
                _libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, descriptor, 0), "landlock_restrict_self"
            )
        finally:
            os.close(descriptor)
        return f"abi {abi}, no rule, so nothing is reachable"

    def _seccomp() -> str:
        name = platform.machine()
        if name not in MACHINES:
            raise OSError(errno.ENOSYS, f"no filter is written for {name}")
        code = program(MACHINES[name], os.getpid())
        filter_program = _Program(len(code) // 8, code)
        _checked(
            _libc.syscall(
                _SYS_SECCOMP[name],
                _SECCOMP_SET_MODE_FILTER,
                _SECCOMP_FILTER_FLAG_TSYNC,
                ctypes.byref(filter_program),
            ),
            "seccomp",
        )
        return f"allow list of {len(MACHINES[name].numbers)} calls on {name}"

    def _single_thread() -> str:
        count = len(os.listdir("/proc/self/task"))
        if count != 1:
            raise OSError(errno.EBUSY, f"{count} threads run already")
        return "one thread at closing"

    def _denied(attempt: Callable[[], object], what: str) -> None:
        try:
            attempt()
        except PermissionError:
            return
        except OSError as error:
            raise OSError(error.errno, f"{what} failed otherwise: {error.strerror}") from error
        raise OSError(errno.EPERM, f"{what} is not denied")

    def _self_check() -> str:
        """Attempt one thing of each kind; the sandbox counts only if the kernel denies them all."""
        _denied(lambda: os.open("/dev/null", os.O_RDONLY), "opening a file")
        _denied(lambda: os.stat("/"), "looking at a folder")
        _denied(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "a socket")
        _denied(lambda: os.kill(os.getppid(), 0), "a signal")
        return "file, folder, socket and signal denied"

    def close_linux(memory_bytes_max: int) -> Isolation:
        """Close all layers in order; one that fails is reported, and the rest still closes."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("single_thread", _single_thread),
            ("capabilities", _capabilities),
            ("no_new_privs", _no_new_privs),
            ("limits", lambda: _limits(memory_bytes_max)),
            ("landlock", _landlock),
            ("seccomp", _seccomp),
            ("self_check", _self_check),
        )
        layers = tuple(_layer(name, step) for name, step in steps)
        standing = sum(layer.stands for layer in layers)
        level = JAIL if standing == len(layers) else PARTIAL if standing else OFF
        return Isolation(level, layers)

    def _layer(name: str, step: Callable[[], str]) -> Layer:
        try:
            return Layer(name, True, step())
        except OSError as error:
            return Layer(name, False, error.strerror or str(error))
