"""Frames between the clerk and the sandboxed processes: one canonical JSON object per line.

Clerk to worker: `open`, `rows`, `question`, `model`, `ping`, in a chaos run `misbehave`; to the
trainer `train_rows`, `train`; to the scorer `train_rows`, `score`. Worker to clerk: `hello`,
`draft`, `pass`, `model`, `pong`; from the trainer `trained`; from the scorer `scored`. Both sides
limit the size of their input; the clerk trusts nothing that it reads here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Final

from minibot.kernel import canonical

Frame = dict[str, Any]

# From the clerk: a model text of up to 4 MB with its escapes, or a chunk of rows.
INPUT_BYTES_MAX: Final = 16 << 20
# From the worker: a recommendation with its vector is under 1 kB.
DRAFT_BYTES_MAX: Final = 16 << 10
# From trainer and scorer: a model text, or the probabilities of a night.
RESULT_BYTES_MAX: Final = 16 << 20
READ_BYTES: Final = 1 << 16


class FrameError(Exception):
    """The bytes from the pipe are not a frame."""


def encode_frame(frame: Frame) -> bytes:
    """Return the line of a frame."""
    return canonical.encode(frame) + b"\n"


def decode_frame(line: bytes) -> Frame:
    """Return the frame of a line without its newline.

    Raises:
        FrameError: Not canonical JSON of an object with a text `t`.
    """
    try:
        frame = canonical.decode(line)
    except canonical.CanonicalError as error:
        raise FrameError(str(error)) from error
    if not isinstance(frame.get("t"), str):
        raise FrameError("a frame needs a text 't'")
    return frame


class LineSplitter:
    """Splitter of a byte stream into lines of limited length."""

    def __init__(self, line_bytes_max: int) -> None:
        self._line_bytes_max = line_bytes_max
        self._rest = bytearray()

    def take(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that are now complete, without their newlines.

        Raises:
            FrameError: A line is longer than allowed; those before it were yielded.
        """
        searched = len(self._rest)
        self._rest += data
        if self._rest.find(b"\n", searched) >= 0:
            *lines, rest = bytes(self._rest).split(b"\n")
            self._rest = bytearray(rest)
            for line in lines:
                self._check(line)
                yield line
        self._check(self._rest)

    def _check(self, line: bytes | bytearray) -> None:
        if len(line) > self._line_bytes_max:
            raise FrameError(f"a line is longer than {self._line_bytes_max} bytes")


def read_lines(descriptor: int, line_bytes_max: int) -> Iterator[bytes]:
    """Yield the lines of a pipe until its end.

    Raises:
        FrameError: A line is longer than allowed; those before it were yielded.
    """
    splitter = LineSplitter(line_bytes_max)
    while data := os.read(descriptor, READ_BYTES):
        yield from splitter.take(data)


def write_frame(descriptor: int, frame: Frame) -> None:
    """Write one frame into a pipe, blocking until all of it was accepted."""
    data = memoryview(encode_frame(frame))
    while data:
        data = data[os.write(descriptor, data) :]
