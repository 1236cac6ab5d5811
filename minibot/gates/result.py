"""What every gate returns: its name, what it looked at, and whether each thing held."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a gate: what was looked at, and whether it held."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """A gate's findings; it passes when there are some and all of them hold."""

    gate: str
    findings: tuple[Finding, ...]
    level: str = ""
    judged: bool | None = None  # A gate's own verdict, where open findings may be advisory.

    @property
    def passed(self) -> bool:
        """Whether the gate is passed; a gate that looked at nothing is not."""
        if self.judged is not None:
            return self.judged
        return bool(self.findings) and all(finding.passed for finding in self.findings)
