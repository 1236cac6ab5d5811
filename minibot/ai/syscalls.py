"""System call numbers that the sandbox allows, per machine; everything else is denied.

Numbers are part of the kernel's interface and never change: `syscall_64.tbl` in
`arch/x86/entry/syscalls` for x86_64, `include/uapi/asm-generic/unistd.h` for aarch64. A machine
that is not listed here has no sandbox, which is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Machine:
    """One architecture: its audit number (`linux/audit.h`) and its system call numbers."""

    audit_arch: int
    numbers: dict[str, int]


_COMMON_X86_64: Final = {
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "poll": 7,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "readv": 19,
    "writev": 20,
    "select": 23,
    "sched_yield": 24,
    "mremap": 25,
    "mincore": 27,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "clone": 56,
    "exit": 60,
    "uname": 63,
    "fcntl": 72,
    "gettimeofday": 96,
    "getrlimit": 97,
    "getrusage": 98,
    "sysinfo": 99,
    "times": 100,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "getppid": 110,
    "sigaltstack": 131,
    "gettid": 186,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "tgkill": 234,
    "pselect6": 270,
    "ppoll": 271,
    "set_robust_list": 273,
    "prlimit64": 302,
    "getcpu": 309,
    "getrandom": 318,
    "membarrier": 324,
    "rseq": 334,
    "clone3": 435,
}

_COMMON_AARCH64: Final = {
    "fcntl": 25,
    "close": 57,
    "lseek": 62,
    "read": 63,
    "write": 64,
    "readv": 65,
    "writev": 66,
    "pselect6": 72,
    "ppoll": 73,
    "fstat": 80,
    "exit": 93,
    "exit_group": 94,
    "futex": 98,
    "set_robust_list": 99,
    "nanosleep": 101,
    "clock_gettime": 113,
    "clock_getres": 114,
    "clock_nanosleep": 115,
    "sched_getaffinity": 123,
    "sched_yield": 124,
    "restart_syscall": 128,
    "tgkill": 131,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "times": 153,
    "uname": 160,
    "getrlimit": 163,
    "getrusage": 165,
    "getcpu": 168,
    "gettimeofday": 169,
    "getpid": 172,
    "getppid": 173,
    "getuid": 174,
    "geteuid": 175,
    "getgid": 176,
    "getegid": 177,
    "gettid": 178,
    "sysinfo": 179,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "clone": 220,
    "mmap": 222,
    "mprotect": 226,
    "mincore": 232,
    "madvise": 233,
    "prlimit64": 261,
    "getrandom": 278,
    "membarrier": 283,
    "rseq": 293,
    "clone3": 435,
}

MACHINES: Final[dict[str, Machine]] = {
    "x86_64": Machine(0xC000003E, _COMMON_X86_64),
    "aarch64": Machine(0xC00000B7, _COMMON_AARCH64),
}

CONDITIONAL: Final = frozenset(
    {
        "mmap",
        "mprotect",
        "madvise",
        "clone",
        "clone3",
        "fcntl",
        "tgkill",
        "prlimit64",
        "sched_getaffinity",
        "clock_gettime",
        "clock_getres",
        "clock_nanosleep",
    }
)
"""Allowed with certain arguments only; `seccomp.py` says which."""
