"""Seccomp filter of the sandbox: a list of allowed calls; everything else is denied.

A list of forbidden calls would have to know every system call of later kernels; this filter only
needs to know those of Python and LightGBM with their threads. It contains no call that takes a
path, opens a descriptor, starts or signals a process, maps executable memory or reaches the
network, so the sandbox needs no file rules to keep files out. A denied call fails with EPERM, which
a probe can see, instead of killing the process.

This module builds the program as bytes; `jail_linux.py` installs it.

Source:
    Documentation/userspace-api/seccomp_filter.rst; `linux/filter.h`, `linux/seccomp.h`.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Final

from minibot.ai.syscalls import CONDITIONAL, Machine

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_JUMP_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_JUMP_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_DENY: Final = 0x00050000 | errno.EPERM
# glibc takes ENOSYS as "old kernel" and falls back to clone(2), whose flags a filter can see.
_NOT_THERE: Final = 0x00050000 | errno.ENOSYS

_NR_OFFSET: Final = 0  # Offsets in struct seccomp_data.
_ARCH_OFFSET: Final = 4
_ARGUMENTS_OFFSET: Final = 16
_X32_BIT: Final = 0x40000000

_PROT_EXEC: Final = 0x4
# Flags of pthread_create: VM FS FILES SIGHAND THREAD SYSVSEM SETTLS PARENT_SETTID CLEARTID; musl
# adds DETACHED. Compared whole, so that no namespace flag can slip in.
_THREAD_FLAGS: Final = (0x003D0F00, 0x007D0F00)
_FCNTL_READS: Final = (1, 3)  # F_GETFD, F_GETFL: neither owner nor signal of a descriptor changes.
# Advice that allocators give: DONTNEED, FREE, HUGEPAGE. None shares, removes or poisons a page.
_MADVISE: Final = (4, 8, 14)
# The fixed clocks. All other ids contain a process id and give another process's CPU time.
_CLOCKS: Final = range(12)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _argument(index: int, high: bool = False) -> bytes:
    """Load one half of an argument; both machines are little-endian."""
    return _instruction(_LOAD, 0, 0, _ARGUMENTS_OFFSET + 8 * index + (4 if high else 0))


def _one_of(index: int, values: Iterable[int]) -> list[bytes]:
    """Allow when the low half of an argument equals one of the values."""
    block = [_argument(index)]
    for value in values:
        block += [
            _instruction(_JUMP_EQUAL, 0, 1, value),
            _instruction(_RETURN, 0, 0, _ALLOW),
        ]
    return [*block, _instruction(_RETURN, 0, 0, _DENY)]


def _only(index: int, values: Iterable[int]) -> list[bytes]:
    """Deny unless the low half of an argument equals one of the values; else continue after it."""
    chosen = tuple(values)
    tests = [
        _instruction(_JUMP_EQUAL, len(chosen) - number, 0, value)
        for number, value in enumerate(chosen)
    ]
    return [_argument(index), *tests, _instruction(_RETURN, 0, 0, _DENY)]


def _without_bit(index: int, bit: int) -> list[bytes]:
    """Allow when a bit of an argument is not set."""
    return [
        _argument(index),
        _instruction(_JUMP_ANY_BIT, 0, 1, bit),
        _instruction(_RETURN, 0, 0, _DENY),
        _instruction(_RETURN, 0, 0, _ALLOW),
    ]


def _null_pointer(index: int) -> list[bytes]:
    """Allow when an argument is zero in both halves."""
    return [
        _argument(index),
        _instruction(_JUMP_EQUAL, 1, 0, 0),
        _instruction(_RETURN, 0, 0, _DENY),
        _argument(index, high=True),
        _instruction(_JUMP_EQUAL, 1, 0, 0),
        _instruction(_RETURN, 0, 0, _DENY),
        _instruction(_RETURN, 0, 0, _ALLOW),
    ]


def _conditions(own_pid: int) -> dict[str, list[bytes]]:
    this_process = (0, own_pid)
    return {
        "mmap": _without_bit(2, _PROT_EXEC),
        "mprotect": _without_bit(2, _PROT_EXEC),
        "clone": _one_of(0, _THREAD_FLAGS),
        "clone3": [_instruction(_RETURN, 0, 0, _NOT_THERE)],
        "fcntl": _one_of(1, _FCNTL_READS),
        # abort() signals its own process; no other process may be signalled.
        "tgkill": _one_of(0, (own_pid,)),
        # Reading its own limits only: a root process could raise them, or change another's.
        "prlimit64": [*_only(0, this_process), *_null_pointer(2)],
        "sched_getaffinity": _one_of(0, this_process),
        "madvise": _one_of(2, _MADVISE),
        "clock_gettime": _one_of(0, _CLOCKS),
        "clock_getres": _one_of(0, _CLOCKS),
        "clock_nanosleep": _one_of(0, _CLOCKS),
    }


def program(machine: Machine, own_pid: int) -> bytes:
    """Return the filter as an array of `struct sock_filter`.

    Args:
        machine: The architecture that the process runs on; another one kills the process, because
            its numbers would mean other calls.
        own_pid: The only process that may be signalled, or queried for limits and processors.
    """
    code = [
        _instruction(_LOAD, 0, 0, _ARCH_OFFSET),
        _instruction(_JUMP_EQUAL, 1, 0, machine.audit_arch),
        _instruction(_RETURN, 0, 0, _KILL_PROCESS),
        _instruction(_LOAD, 0, 0, _NR_OFFSET),
        _instruction(_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        _instruction(_RETURN, 0, 0, _KILL_PROCESS),
    ]
    for name, number in machine.numbers.items():
        if name not in CONDITIONAL:
            code += [
                _instruction(_JUMP_EQUAL, 0, 1, number),
                _instruction(_RETURN, 0, 0, _ALLOW),
            ]
    for name, block in _conditions(own_pid).items():
        code += [_instruction(_JUMP_EQUAL, 0, len(block), machine.numbers[name]), *block]
    code.append(_instruction(_RETURN, 0, 0, _DENY))
    return b"".join(code)
