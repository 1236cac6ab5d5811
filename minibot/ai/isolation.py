"""Isolation of the AI as a value: the layers in force, and the level that they make.

`jail` means that every layer of this system is in force and the self-check after closing was denied
everything it tried. `advisory` (Windows) limits the process by a Job object and, where the system
can, a lowered token, without a kernel rule for every file and socket. `partial` lacks a layer of
Linux, or the Job of Windows; `off` is no sandbox at all. Nothing is rounded up: a level is computed
from layers, never claimed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

JAIL: Final = "jail"
ADVISORY: Final = "advisory"
PARTIAL: Final = "partial"
OFF: Final = "off"

_RANKS: Final[Mapping[str, int]] = {OFF: 0, PARTIAL: 1, ADVISORY: 2, JAIL: 3}


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the sandbox: whether it is in force, and its description or the reason."""

    name: str
    stands: bool
    detail: str

    def to_json(self) -> dict[str, object]:
        """Return the layer as a JSON object."""
        return {"name": self.name, "stands": self.stands, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Isolation:
    """Level that was reached, with its layers."""

    level: str
    layers: tuple[Layer, ...]

    def to_json(self) -> dict[str, object]:
        """Return the isolation as a JSON object."""
        return {"level": self.level, "layers": [layer.to_json() for layer in self.layers]}

    def missing(self) -> str:
        """Return the layers that are not in force with their reasons, as one line."""
        return "; ".join(f"{item.name}: {item.detail}" for item in self.layers if not item.stands)


def is_enough(level: str, level_min: str) -> bool:
    """Return whether a level reaches the profile's minimum; an unknown level never does."""
    if level not in _RANKS or level_min not in _RANKS:
        return False
    return _RANKS[level] >= _RANKS[level_min]


def level_min_here(isolation_min: Mapping[str, str]) -> str:
    """Return the minimum of `ai.isolation_min` for this system; `jail` if none is named."""
    return isolation_min.get(sys.platform, JAIL)
