"""Reason codes that the kernel itself raises, each one a constant.

Meanings and remedies of all codes stand in `minibot.events`: it imports the kernel, the kernel
never imports it.
"""

from __future__ import annotations

from typing import Final

# --- queues ------------------------------------------------------------------------------------

QUEUE_CORRUPT: Final = "QUEUE_CORRUPT"
QUEUE_TRUNCATED: Final = "QUEUE_TRUNCATED"
QUEUE_CHAIN: Final = "QUEUE_CHAIN"
QUEUE_TAIL_TOO_LONG: Final = "QUEUE_TAIL_TOO_LONG"
QUEUE_MISSING: Final = "QUEUE_MISSING"
QUEUE_REPLACED: Final = "QUEUE_REPLACED"
QUEUE_FOREIGN_WRITE: Final = "QUEUE_FOREIGN_WRITE"
QUEUE_LOCKED: Final = "QUEUE_LOCKED"
QUEUE_MANIFEST: Final = "QUEUE_MANIFEST"

# --- cursors -----------------------------------------------------------------------------------

CURSOR_AHEAD: Final = "CURSOR_AHEAD"
CURSOR_CORRUPT: Final = "CURSOR_CORRUPT"
CURSOR_FOREIGN_RUN: Final = "CURSOR_FOREIGN_RUN"
CURSOR_REGRESSED: Final = "CURSOR_REGRESSED"

# --- lines -------------------------------------------------------------------------------------

SCHEMA_INVALID: Final = "SCHEMA_INVALID"

# --- the machine -------------------------------------------------------------------------------

IO_ENOSPC: Final = "IO_ENOSPC"
IO_EIO: Final = "IO_EIO"
IO_FSYNC: Final = "IO_FSYNC"
IO_RENAME: Final = "IO_RENAME"
IO_READONLY: Final = "IO_READONLY"
FD_EXHAUSTED: Final = "FD_EXHAUSTED"
ATOMICITY_VIOLATION: Final = "ATOMICITY_VIOLATION"
PERMISSIONS_UNSAFE: Final = "PERMISSIONS_UNSAFE"
