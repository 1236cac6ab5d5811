"""Kernel calls without a Python function, as probes: by number, mostly with empty arguments.

Without a sandbox an empty argument gives EINVAL or EFAULT, which counts as open: the kernel looked
at it. In the sandbox the filter answers before the kernel does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

if sys.platform == "linux":
    import ctypes
    import mmap
    import os
    import platform
    import resource
    import signal
    from typing import Any, Final

    _MACHINES: Final = ("x86_64", "aarch64")
    _NUMBERS: Final[dict[str, tuple[int, int]]] = {
        "ptrace": (101, 117),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "pidfd_open": (434, 434),
        "pidfd_getfd": (438, 438),
        "pidfd_send_signal": (424, 424),
        "tkill": (200, 130),
        "rt_sigqueueinfo": (129, 138),
        "kcmp": (312, 272),
        "execveat": (322, 281),
        "io_uring_setup": (425, 425),
        "unshare": (272, 97),
        "setns": (308, 268),
        "mount": (165, 40),
        "chroot": (161, 51),
        "pivot_root": (155, 41),
        "bpf": (321, 280),
        "keyctl": (250, 219),
        "add_key": (248, 217),
        "perf_event_open": (298, 241),
        "userfaultfd": (323, 282),
        "memfd_create": (319, 279),
        "shmget": (29, 194),
        "msgget": (68, 186),
        "mq_open": (240, 180),
        "openat": (257, 56),
        "openat2": (437, 437),
        "open_by_handle_at": (304, 265),
        "name_to_handle_at": (303, 264),
        "statx": (332, 291),
        "linkat": (265, 37),
        "symlinkat": (266, 36),
        "renameat2": (316, 276),
        "fchmodat": (268, 53),
        "unlinkat": (263, 35),
        "mknodat": (259, 33),
        "truncate": (76, 45),
        "inotify_init1": (294, 26),
        "fanotify_init": (300, 262),
        "splice": (275, 76),
        "ioctl": (16, 29),
        "prctl": (157, 167),
        "seccomp": (317, 277),
        "setrlimit": (160, 164),
        "setuid": (105, 146),
        "setpriority": (141, 140),
        "sched_setscheduler": (144, 119),
        "personality": (135, 92),
        "init_module": (175, 105),
        # Allowed by the filter with other arguments:
        "clone": (56, 220),
        "tgkill": (234, 131),
        "fcntl": (72, 25),
        "prlimit64": (302, 261),
        "sched_getaffinity": (204, 123),
        "madvise": (28, 233),
        "clock_gettime": (228, 113),
        "clock_getres": (229, 114),
        "clock_nanosleep": (230, 115),
    }
    # Memory that attempts point at; kept for as long as they may run.
    _KEPT: Final[list[Any]] = []
    _F_SETOWN: Final = 8
    _PTRACE_SEIZE: Final = 0x4206  # Attaches without stopping; the end of this process detaches.

    _MADV_MERGEABLE: Final = 12  # Shares equal pages with other processes: reveals theirs.
    _MADV_HWPOISON: Final = 100  # Takes a page of memory out of service for the whole machine.

    def _cpu_clock_of(process: int) -> int:
        """Return the clock of a process's CPU time (clock_getcpuclockid(3))."""
        return (~process << 3) | 2

    def _arguments() -> dict[str, dict[str, tuple[int, ...]]]:
        """Return call -> attempt -> first arguments, for calls that need more than empty ones."""
        parent = os.getppid()
        page = mmap.mmap(-1, mmap.PAGESIZE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(page))
        answer = (ctypes.c_uint64 * 16)()
        # An invalid time: without a sandbox the kernel refuses it instead of waiting.
        pause = (ctypes.c_uint64 * 2)(0, 2_000_000_000)
        _KEPT.extend((page, answer, pause))
        memory = ctypes.addressof(answer)
        seconds = resource.getrlimit(resource.RLIMIT_CPU)
        limit = (ctypes.c_uint64 * 2)(*(value & (2**64 - 1) for value in seconds))
        _KEPT.append(limit)
        clock = _cpu_clock_of(parent)
        return {
            "clone": {"clone": (int(signal.SIGCHLD),)},
            "tgkill": {"tgkill": (parent, parent)},
            "fcntl": {"fcntl": (2, _F_SETOWN, os.getpid())},
            "prlimit64": {
                "prlimit64": (0, resource.RLIMIT_CPU, ctypes.addressof(limit)),
                "limits of the parent": (parent, resource.RLIMIT_CPU, 0, memory),
            },
            "sched_getaffinity": {"processors of the parent": (parent, 128, memory)},
            "madvise": {
                "madvise mergeable": (start, mmap.PAGESIZE, _MADV_MERGEABLE),
                # Length zero: without a sandbox no page is lost.
                "madvise poison": (start, 0, _MADV_HWPOISON),
            },
            "clock_gettime": {"CPU time of the parent": (clock, memory)},
            "clock_getres": {"CPU clock of the parent": (clock, memory)},
            "clock_nanosleep": {
                "waiting for the parent's CPU": (clock, 0, ctypes.addressof(pause))
            },
            "ptrace": {"ptrace": (_PTRACE_SEIZE, parent)},
            "tkill": {"tkill": (parent,)},
            "pidfd_open": {"pidfd_open": (parent,)},
            "setuid": {"setuid": (os.getuid(),)},
            "personality": {"personality": (0xFFFFFFFF,)},
            # 0 would put an unjailed process into strict mode, which kills it at its next call.
            "seccomp": {"seccomp": (2,)},
        }

    def raw_calls() -> list[tuple[str, Callable[[], object]]]:
        """Return each call by name, as an attempt that raises OSError when the kernel refuses."""
        machine = platform.machine()
        if machine not in _MACHINES:
            return []
        column = _MACHINES.index(machine)
        library = ctypes.CDLL(None, use_errno=True)
        library.syscall.restype = ctypes.c_long
        first_arguments = _arguments()

        def attempt_of(call: str, first: tuple[int, ...]) -> Callable[[], object]:
            arguments = (*first, 0, 0, 0, 0, 0, 0)[:6]

            def attempt() -> object:
                result = library.syscall(_NUMBERS[call][column], *map(ctypes.c_long, arguments))
                if result < 0:
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
                if call == "clone" and result == 0:
                    os._exit(0)  # The child of a fork that should have been denied.
                return result

            return attempt

        return [
            (name, attempt_of(call, first))
            for call in _NUMBERS
            for name, first in first_arguments.get(call, {call: ()}).items()
        ]

else:

    def raw_calls() -> list[tuple[str, Callable[[], object]]]:
        """Return nothing: only Linux has calls that are tried by number."""
        return []
