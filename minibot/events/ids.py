"""Derived ids: the same cause gives the same id, so a restarted role finds its own outputs.

All ids are uuid4-shaped (version and variant bits set) and come from sha256 over their parts.
No part holds a newline, so joining by newlines is unambiguous.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from minibot.kernel.line import digest_of, digests_of

# Pieces of an id among the 64 hex digits of a digest; `x` skips a digit.
_PIECES: Final = Struct("8s4sx3s1s3s12s32x")
_VARIANT: Final = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}
_VARIANTS: Final = {digit.encode(): variant.encode() for digit, variant in _VARIANT.items()}


def derive_id(run_id: str, role: str, input_id: str, ordinal: int) -> str:
    """Return the id of the `ordinal`th draft of a role's step on an event.

    Args:
        run_id: The run, `YYYYMMDD_HHMMSS`.
        role: The writing role, such as `risk_role`.
        input_id: The id of the event that the step took.
        ordinal: Counts the drafts of this step over all queues, from 0.
    """
    return _uuid4_shaped(f"draft\n{run_id}\n{role}\n{input_id}\n{ordinal}")


def position_id(run_id: str, role: str, queue: str, seq: int) -> str:
    """Return the id of an event without an input: the line `seq` that a role writes to a queue."""
    return _uuid4_shaped(f"position\n{run_id}\n{role}\n{queue}\n{seq}")


def position_ids(run_id: str, role: str, queue: str, first: int, count: int) -> list[bytes]:
    """Return the `position_id` of `count` lines from `first` on, as bytes."""
    whole = f"position\n{run_id}\n{role}\n{queue}\n".encode()
    digests = digests_of([whole + b"%d" % seq for seq in range(first, first + count)])
    pieces = _PIECES.iter_unpack(b"".join(digests).hex().encode())
    return [b"%b-%b-4%b-%b%b-%b" % (a, b, c, _VARIANTS[v], d, e) for a, b, c, v, d, e in pieces]


def _uuid4_shaped(text: str) -> str:
    digits = digest_of(text.encode()).hex()
    variant = _VARIANT[digits[16]]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"
