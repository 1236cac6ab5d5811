"""What the fuzzer asks of a format: inputs, and a judgement of each."""

from __future__ import annotations

from random import Random
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """What an input led to.

    Attributes:
        label: The outcome in few words, the same for inputs of one kind.
        wrong: Where product and reference part; empty as it should be.
    """

    label: str
    wrong: str = ""


class Target(Protocol):
    """One format under fuzz."""

    name: str

    def seeds(self) -> list[bytes]:
        """Return inputs that are always judged first."""

    def make(self, rnd: Random) -> bytes:
        """Return an input; the same for the same state of `rnd`."""

    def judge(self, data: bytes) -> Verdict:
        """Judge an input."""
