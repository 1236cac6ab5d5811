"""Cells: eight-byte numbers in the columns of `engine.cells`, little-endian; never compiled itself.

mypyc turns both functions of its `librt.strings` into one machine instruction each. An interpreter
calls the same functions, or `struct` where they are not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from librt.strings import read_f64_le as float_at
    from librt.strings import read_i64_le as int_at
else:
    try:
        from librt.strings import read_f64_le as float_at
        from librt.strings import read_i64_le as int_at
    except ImportError:
        import struct

        _FLOAT = struct.Struct("<d")
        _INT = struct.Struct("<q")

        def float_at(cells, at):
            """Return the float that begins at a byte."""
            return _FLOAT.unpack_from(cells, at)[0]

        def int_at(cells, at):
            """Return the whole number that begins at a byte."""
            return _INT.unpack_from(cells, at)[0]


CELL: Final = 8
"""Cell size in bytes."""

__all__ = ["CELL", "float_at", "int_at"]
