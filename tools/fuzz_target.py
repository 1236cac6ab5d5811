"""Protocol between fuzzer and format: inputs, and a judgement of each."""

from __future__ import annotations

from random import Random
from typing import NamedTuple, Protocol


class Verdict(NamedTuple):
    """Outcome of an input.

    Attributes:
        label: Outcome in few words, the same for inputs of one kind.
        wrong: Difference of product and reference; empty as a rule.
    """

    label: str
    wrong: str = ""


class Target(Protocol):
    """One format under fuzz."""

    name: str

    def seeds(self) -> list[bytes]:
        """Return inputs that are always judged first."""

    def make(self, rnd: Random) -> bytes:
        """Return an input; equal for equal states of `rnd`."""

    def judge(self, data: bytes) -> Verdict:
        """Judge an input."""
