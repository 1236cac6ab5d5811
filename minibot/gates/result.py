"""Result of a gate: its name, and its findings, each of which held or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a gate: its subject, and whether it held."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """Report of a gate: passed if it has findings and all of them hold."""

    gate: str
    findings: tuple[Finding, ...]
    level: str = ""
    judged: bool | None = None  # The gate's own verdict, if failed findings may be advisory.

    @property
    def passed(self) -> bool:
        """True if the gate is passed; a gate without findings is not."""
        if self.judged is not None:
            return self.judged
        return bool(self.findings) and all(finding.passed for finding in self.findings)
