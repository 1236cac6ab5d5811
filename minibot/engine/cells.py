"""Cells: arrays as bytes for `events.cells`, and amounts as floats, each rounded once."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from minibot.events.money import UNIT

# Whole numbers up to this are exact floats, so that one division rounds only once.
EXACT_MAX: Final = 2**53

Array = Any  # Of numpy.


def int_cells(values: Array) -> bytes:
    """Return whole numbers as cells for `int_at`."""
    cells: bytes = values.astype("<i8", copy=False).tobytes()
    return cells


def float_cells(units: Array) -> bytes:
    """Return amounts in hundred-millionths as cells for `float_at`."""
    cells: bytes = floats_of(units).astype("<f8", copy=False).tobytes()
    return cells


def exact_quotient(units: int) -> float:
    """Return an amount of any size as the nearest float."""
    return units / UNIT


def floats_of(units: Array) -> Array:
    """Return amounts of one column as the nearest floats."""
    if len(units) and max(int(units.max()), -int(units.min())) > EXACT_MAX:
        # Numpy would round twice: such a whole number to a float, then the quotient.
        return np.array([exact_quotient(whole) for whole in units.tolist()])
    return units / UNIT


def floats(units: Array) -> list[float]:
    """Return the same as a list."""
    found: list[float] = floats_of(units).tolist()
    return found
