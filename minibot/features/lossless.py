"""Lossless text of floats, for states that must not hold a float (canonical JSON has none).

`float.hex` writes every bit of a float64 and `float.fromhex` reads them all back, so an indicator
restored from its state goes on with exactly the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def float_text(value: float) -> str:
    """Return the float as hexadecimal text, every bit of it; NaN and infinities by name."""
    return value.hex()


def float_from(text: str) -> float:
    """Return the float that `float_text` wrote.

    Other hexadecimal text passes too, so "10" is 16.0; raises ValueError on the rest, OverflowError
    on a value beyond the range.
    """
    return float.fromhex(text)


def optional_text(value: float | None) -> str | None:
    """Return `float_text` of a value that may be missing."""
    return None if value is None else value.hex()


def optional_from(text: str | None) -> float | None:
    """Return the value that `optional_text` wrote."""
    return None if text is None else float.fromhex(text)


def floats_text(values: Iterable[float]) -> list[str]:
    """Return each value as `float_text`, in order."""
    return [value.hex() for value in values]


def floats_from(texts: Sequence[str]) -> list[float]:
    """Return the values that `floats_text` wrote, in order."""
    return [float.fromhex(text) for text in texts]


def is_finite(value: float) -> bool:
    """Return whether the value is a number: not NaN and not an infinity."""
    return value - value == 0.0
