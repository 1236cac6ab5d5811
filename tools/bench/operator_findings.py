"""Findings of O7 by severity: those of axe and of schemathesis, read from what they report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.bench.frame import Limit, Measure

MINOR, MODERATE, SERIOUS, CRITICAL = SEVERITIES = ("minor", "moderate", "serious", "critical")
"""Severities by axe's names, the least first."""
NONE_SERIOUS: Final = Limit(SEVERITIES.index(MODERATE) + 1, 0, is_most=True)
"""Limit of the worst finding's rank: must be none serious, goal is none."""
RANKS: Final = "worst (2 moderate, 3 serious)"
AS_HERE: Final = {"low": MINOR, "medium": MODERATE, "high": SERIOUS, "critical": CRITICAL}
"""Severities of schemathesis."""
PLACES_MAX: Final = 3
"""Places of one finding that its line names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        severity: One of `SEVERITIES`.
        what: The rule that was broken.
        where: Request, or view and element.
    """

    severity: str
    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer of the page to one request.

    Attributes:
        asked: The request, in words.
        path: Its path, without query.
        status: HTTP status.
        headers: Headers by their names in lower case.
        body: Of the answer, or its first line where it has no end.
    """

    asked: str
    path: str
    status: int
    headers: Mapping[str, str]
    body: str


def judged(name: str, findings: Sequence[Finding], notes: Sequence[str]) -> Measure:
    """Return the measure of one judge: the rank of its worst finding, counts, and each finding.

    Args:
        name: Of the judge.
        findings: Everything that it found.
        notes: Its version, and how much it looked at.
    """
    ranks = [SEVERITIES.index(each.severity) + 1 for each in findings]
    counts = Counter(each.severity for each in findings)
    samples = {severity: [float(counts[severity])] for severity in reversed(SEVERITIES)}
    worst = float(max(ranks, default=0))
    said = [*notes, *lines_of(findings)]
    return Measure("O7", f"{name}: {RANKS}", worst, "", NONE_SERIOUS, samples, notes=said)


def unjudged(name: str, why: str) -> Measure:
    """Return the measure of a judge that is not here, with the reason as its note."""
    return Measure("O7", f"{name}: {RANKS}", None, "", NONE_SERIOUS, notes=[why])


def lines_of(findings: Sequence[Finding]) -> list[str]:
    """Return a line for each rule that was broken, the worst first, with its first places."""
    places: dict[tuple[str, str], list[str]] = {}
    for each in findings:
        places.setdefault((each.severity, each.what), []).append(each.where)
    found = []
    for severity, what in sorted(places, key=lambda key: -SEVERITIES.index(key[0])):
        where = places[severity, what]
        more = f"; {len(where) - PLACES_MAX} more" if len(where) > PLACES_MAX else ""
        found.append(f"{severity}: {what}: {'; '.join(where[:PLACES_MAX])}{more}")
    return found


def of_axe(found: Mapping[str, Any], view: str) -> list[Finding]:
    """Return axe's findings in one view; one without a known impact counts as serious.

    Args:
        found: What `AXE_RUN` keeps: `violations`, each with `id`, `help`, `impact`, `targets`.
        view: The view, in words.
    """
    return [
        Finding(
            each["impact"] if each["impact"] in SEVERITIES else SERIOUS,
            f"{each['id']}, {each['help']}",
            f"{view}: {target}",
        )
        for each in found["violations"]
        for target in each["targets"]
    ]


def of_schemathesis(report: Mapping[str, Any]) -> list[Finding]:
    """Return schemathesis' findings; an error, or a run that was cut off, is serious too.

    Args:
        report: Its JSON report.
    """
    found = [
        Finding(AS_HERE.get(each["severity"], SERIOUS), f"{each['code']} {each['title']}", where)
        for each in report["failures"]
        for where in each["operations"]
    ]
    found += [
        Finding(SERIOUS, f"schemathesis: {each['title']}", f"{each['count']} times")
        for each in report["errors"]
    ]
    operations = report["operations"]
    if not report["complete"] or operations["tested"] != operations["selected"]:
        told = f"{operations['tested']} of {operations['selected']} operations"
        found.append(Finding(SERIOUS, f"ended early, {report['stop_reason']}", told))
    return found


def answers_of(har: Mapping[str, Any]) -> Iterator[Answer]:
    """Yield the answers that schemathesis got.

    Args:
        har: Its HAR report.
    """
    for entry in har["log"]["entries"]:
        asked, answer = entry["request"], entry["response"]
        address = asked["url"].partition("//")[2]
        path = "/" + address.partition("/")[2].partition("?")[0]
        yield Answer(
            f"{asked['method']} {path}",
            path,
            answer["status"],
            {each["name"].lower(): each["value"] for each in answer["headers"]},
            answer["content"].get("text", ""),
        )
