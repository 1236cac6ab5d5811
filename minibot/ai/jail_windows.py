"""Sandbox on Windows: a Job object and a lowered token, set from inside, no administrator needed.

The Job allows no second process, limits memory and ends with the worker; the token loses all
privileges and goes down to low integrity, so that no file of the user can be written. Files that
everybody may read, and sockets, stay open, therefore the level is `advisory` and never `jail`.

Source:
    Microsoft Learn: "Job Objects", "Mandatory Integrity Control", "AdjustTokenPrivileges".
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    from collections.abc import Callable
    from ctypes import wintypes
    from typing import Any, Final

    from minibot.ai.isolation import ADVISORY, OFF, PARTIAL, Isolation, Layer

    _JOB_LIMITS_CLASS: Final = 9  # JobObjectExtendedLimitInformation
    _JOB_UI_CLASS: Final = 4  # JobObjectBasicUIRestrictions
    _LIMIT_ACTIVE_PROCESS: Final = 0x8
    _LIMIT_PROCESS_MEMORY: Final = 0x100
    _LIMIT_DIE_ON_UNHANDLED: Final = 0x400
    _LIMIT_KILL_ON_CLOSE: Final = 0x2000
    _UI_ALL: Final = 0xFF
    _TOKEN_ADJUST_PRIVILEGES: Final = 0x20
    _TOKEN_QUERY: Final = 0x8
    _TOKEN_ADJUST_DEFAULT: Final = 0x80
    _TOKEN_PRIVILEGES_CLASS: Final = 3
    _TOKEN_INTEGRITY_CLASS: Final = 25
    _SE_GROUP_INTEGRITY: Final = 0x20
    _SE_PRIVILEGE_REMOVED: Final = 0x4
    _LOW_INTEGRITY: Final = "S-1-16-4096"

    class _BasicLimits(ctypes.Structure):
        _fields_ = (
            ("per_process_user_time", ctypes.c_int64),
            ("per_job_user_time", ctypes.c_int64),
            ("flags", wintypes.DWORD),
            ("working_set_min", ctypes.c_size_t),
            ("working_set_max", ctypes.c_size_t),
            ("active_processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority_class", wintypes.DWORD),
            ("scheduling_class", wintypes.DWORD),
        )

    class _ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("basic", _BasicLimits),
            ("io_counters", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("process_memory_peak", ctypes.c_size_t),
            ("job_memory_peak", ctypes.c_size_t),
        )

    class _SidAndAttributes(ctypes.Structure):
        _fields_ = (("sid", ctypes.c_void_p), ("attributes", wintypes.DWORD))

    _kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)
    _security: Any = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel.CreateJobObjectW.restype = wintypes.HANDLE
    _kernel.GetCurrentProcess.restype = wintypes.HANDLE
    _kernel.SetInformationJobObject.argtypes = (
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
    )
    _kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
    _security.OpenProcessToken.argtypes = (
        wintypes.HANDLE,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.HANDLE),
    )
    _security.GetTokenInformation.argtypes = (
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.DWORD),
    )
    _security.SetTokenInformation.argtypes = (
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
    )
    _security.AdjustTokenPrivileges.argtypes = (
        wintypes.HANDLE,
        wintypes.BOOL,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
    _security.ConvertStringSidToSidW.argtypes = (
        wintypes.LPCWSTR,
        ctypes.POINTER(ctypes.c_void_p),
    )

    def _checked(succeeded: int) -> None:
        if not succeeded:
            raise ctypes.WinError(ctypes.get_last_error())

    def _job(memory_bytes_max: int) -> str:
        """Enter a Job of one process; its handle stays open, so the Job lives with the process."""
        job = _kernel.CreateJobObjectW(None, None)
        _checked(job)
        limits = _ExtendedLimits()
        limits.basic.flags = (
            _LIMIT_ACTIVE_PROCESS
            | _LIMIT_PROCESS_MEMORY
            | _LIMIT_DIE_ON_UNHANDLED
            | _LIMIT_KILL_ON_CLOSE
        )
        limits.basic.active_processes = 1
        limits.process_memory = memory_bytes_max
        _checked(
            _kernel.SetInformationJobObject(
                job, _JOB_LIMITS_CLASS, ctypes.byref(limits), ctypes.sizeof(limits)
            )
        )
        # Clipboard, desktop, handles of other windows and system parameters stay out of reach.
        restrictions = wintypes.DWORD(_UI_ALL)
        _checked(_kernel.SetInformationJobObject(job, _JOB_UI_CLASS, ctypes.byref(restrictions), 4))
        _checked(_kernel.AssignProcessToJobObject(job, _kernel.GetCurrentProcess()))
        return f"one process, {memory_bytes_max >> 20} MB, no windows of others"

    def _token() -> Any:
        token = wintypes.HANDLE()
        access = _TOKEN_ADJUST_PRIVILEGES | _TOKEN_QUERY | _TOKEN_ADJUST_DEFAULT
        _checked(
            _security.OpenProcessToken(_kernel.GetCurrentProcess(), access, ctypes.byref(token))
        )
        return token

    def _privileges() -> str:
        """Remove every privilege from the token, irrevocably."""
        token = _token()
        size = wintypes.DWORD()
        _security.GetTokenInformation(token, _TOKEN_PRIVILEGES_CLASS, None, 0, ctypes.byref(size))
        buffer = (ctypes.c_uint32 * (size.value // 4 + 1))()
        _checked(
            _security.GetTokenInformation(
                token, _TOKEN_PRIVILEGES_CLASS, buffer, size, ctypes.byref(size)
            )
        )
        count = buffer[0]
        for index in range(count):  # TOKEN_PRIVILEGES: a count, then (luid low, luid high, flags).
            buffer[3 + 3 * index] = _SE_PRIVILEGE_REMOVED
        _checked(_security.AdjustTokenPrivileges(token, False, buffer, 0, None, None))
        return f"{count} privileges removed"

    def _integrity() -> str:
        """Lower the token to low integrity: no file of the user can be written any more."""
        sid = ctypes.c_void_p()
        _checked(_security.ConvertStringSidToSidW(_LOW_INTEGRITY, ctypes.byref(sid)))
        label = _SidAndAttributes(sid, _SE_GROUP_INTEGRITY)
        _checked(
            _security.SetTokenInformation(
                _token(), _TOKEN_INTEGRITY_CLASS, ctypes.byref(label), ctypes.sizeof(label)
            )
        )
        return "low"

    def close_windows(memory_bytes_max: int) -> Isolation:
        """Enter the Job and lower the token; a failed step is reported, and the rest still runs."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            ("job", lambda: _job(memory_bytes_max)),
            ("privileges", _privileges),
            ("integrity", _integrity),
        )
        layers = tuple(_layer(name, step) for name, step in steps)
        # The Job alone makes it advisory; a system without integrity levels (Wine) reports that.
        level = ADVISORY if layers[0].stands else PARTIAL
        if not any(layer.stands for layer in layers):
            level = OFF
        return Isolation(level, layers)

    def _layer(name: str, step: Callable[[], str]) -> Layer:
        try:
            return Layer(name, True, step())
        except OSError as error:
            return Layer(name, False, str(error))
