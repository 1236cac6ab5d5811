"""Shared opening of files on Windows, so that open files may be renamed and removed.

The C library opens without share-delete: a single reader would keep the writer from rotating. Links
(reparse points) are opened as themselves and then refused, like no-follow elsewhere.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import errno
    import msvcrt
    import os
    from ctypes import wintypes
    from typing import Final

    _GENERIC_READ: Final = 0x80000000
    _GENERIC_WRITE: Final = 0x40000000
    _SHARE_READ_WRITE_DELETE: Final = 0x1 | 0x2 | 0x4
    _CREATE_NEW: Final = 1
    _OPEN_EXISTING: Final = 3
    _ATTRIBUTE_NORMAL: Final = 0x80
    _FLAG_OPEN_REPARSE_POINT: Final = 0x00200000
    _ATTRIBUTE_REPARSE_POINT: Final = 0x400
    _INVALID_HANDLE: Final = wintypes.HANDLE(-1).value

    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _create_file = _kernel32.CreateFileW
    _create_file.restype = wintypes.HANDLE
    _create_file.argtypes = (
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.HANDLE,
    )
    _close_handle = _kernel32.CloseHandle
    _close_handle.argtypes = (wintypes.HANDLE,)

    def open_shared(path: str, is_writing: bool, is_new: bool) -> int:
        """Return a descriptor; others may read, write, rename and remove the file meanwhile.

        Raises:
            OSError: The system's error, with its Windows error code.
        """
        handle = _create_file(
            path,
            _GENERIC_READ | (_GENERIC_WRITE if is_writing else 0),
            _SHARE_READ_WRITE_DELETE,
            None,
            _CREATE_NEW if is_new else _OPEN_EXISTING,
            _ATTRIBUTE_NORMAL | _FLAG_OPEN_REPARSE_POINT,
            None,
        )
        if handle == _INVALID_HANDLE:
            raise ctypes.WinError(ctypes.get_last_error())
        flags = os.O_BINARY | os.O_NOINHERIT | (os.O_RDWR if is_writing else os.O_RDONLY)
        try:
            fd = msvcrt.open_osfhandle(handle, flags)
        except OSError:
            _close_handle(handle)
            raise
        if os.fstat(fd).st_file_attributes & _ATTRIBUTE_REPARSE_POINT:
            os.close(fd)
            raise OSError(errno.ELOOP, "a link or junction, which is never followed", path)
        return fd
