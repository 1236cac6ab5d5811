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
    """Report of a gate: its findings and, only for `ai_isolation`, level and verdict."""

    gate: str
    findings: tuple[Finding, ...]
    level: str = ""  # Isolation that the AI's worker reached (`jail`, `advisory`); not judged.
    judged: bool | None = None  # Whether `ai_isolation` passed; where given, it decides.

    @property
    def passed(self) -> bool:
        """True if `judged` is; without it, if there are findings and all of them hold."""
        if self.judged is not None:
            return self.judged
        return bool(self.findings) and all(finding.passed for finding in self.findings)
