"""Findings of the operator's bench: how they are read and weighed, and those of a real page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.ops.web import access
from minibot.ops.web.record_page import RecordPage
from minibot.report.html import REPORT_FILE
from minibot.report.night import Night
from minibot.runtime.paths import Var
from tests.runs import ShortRun
from tools.bench.operator_answers import (
    NEEDED,
    POLICY,
    Page,
    faults_of,
    looked_at,
    policy_faults,
    unguarded,
)
from tools.bench.operator_findings import (
    SEVERITIES,
    Answer,
    Finding,
    answers_of,
    judged,
    of_axe,
    of_schemathesis,
)

TOKEN = "the-token-of-this-var"
GOOD = Answer(
    "GET /, page",
    "/",
    200,
    {
        **{name: values[0] for name, values in NEEDED.items()},
        POLICY: "default-src 'none'; script-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'",
    },
    "page",
)
REPORT: dict[str, Any] = {
    "complete": True,
    "stop_reason": "completed",
    "operations": {"tested": 3, "selected": 3},
    "failures": [],
    "errors": [],
}


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        ((), "goal met"),
        (("minor",), "must met"),
        (("minor", "moderate"), "must met"),
        (("serious", "minor"), "NOT MET"),
        (("critical",), "NOT MET"),
    ],
)
def test_serious_finding_misses_the_must_and_any_finding_the_goal(
    severities: tuple[str, ...], verdict: str
) -> None:
    """The issue's limits: must be none serious, goal is none."""
    measure = judged("axe", [Finding(each, "rule", "place") for each in severities], [])

    assert measure.verdict == verdict
    assert {name: values[0] for name, values in measure.samples.items()} == {
        severity: severities.count(severity) for severity in SEVERITIES
    }


def test_places_of_a_rule_stand_in_one_line_below_the_worse_rules() -> None:
    """A rule that is broken in five places is told once, with three of them."""
    found = [Finding("minor", "small", str(number)) for number in range(5)]

    notes = judged("axe", [*found, Finding("serious", "large", "there")], ["version"]).notes

    assert notes == ["version", "serious: large: there", "minor: small: 0; 1; 2; 2 more"]


def test_axe_finding_without_an_impact_counts_as_serious() -> None:
    """A rule that axe does not weigh is not taken for harmless."""
    rules = [
        {"id": "region", "help": "in a landmark", "impact": "moderate", "targets": ["h1", "p"]},
        {"id": "new", "help": "unknown", "impact": None, "targets": ["a"]},
    ]

    found = of_axe({"violations": rules}, "login")

    assert [each.severity for each in found] == ["moderate", "moderate", "serious"]
    assert found[1] == Finding("moderate", "region, in a landmark", "login: p")


@pytest.mark.parametrize(
    ("theirs", "here"),
    [("low", "minor"), ("medium", "moderate"), ("high", "serious"), ("new", "serious")],
)
def test_failure_of_schemathesis_is_a_finding_of_each_operation(theirs: str, here: str) -> None:
    """Each operation that fails is counted, by axe's names of severities."""
    failure = {
        "code": "ST204", "title": "Wrong", "severity": theirs, "operations": ["GET /a", "GET /b"],
    }  # fmt: skip

    found = of_schemathesis(REPORT | {"failures": [failure]})

    assert found == [Finding(here, "ST204 Wrong", where) for where in ("GET /a", "GET /b")]


@pytest.mark.parametrize(
    "change",
    [
        {"complete": False},
        {"operations": {"tested": 2, "selected": 3}},
        {"errors": [{"title": "Network Error", "count": 4}]},
    ],
)
def test_schemathesis_that_did_not_test_all_is_serious(change: dict[str, Any]) -> None:
    """A run that was cut off has not found nothing."""
    assert of_schemathesis(REPORT) == []
    assert [each.severity for each in of_schemathesis(REPORT | change)] == ["serious"]


def test_answers_of_schemathesis_are_read_with_headers_and_body() -> None:
    """The archive of its requests gives each answer, by path without query."""
    entry = {
        "request": {"method": "GET", "url": "http://127.0.0.1:9/api/v1/chart?symbol=X"},
        "response": {
            "status": 401,
            "headers": [{"name": "Cache-Control", "value": "no-store"}],
            "content": {"text": "{}"},
        },
    }

    (answer,) = answers_of({"log": {"entries": [entry]}})

    told = ("GET /api/v1/chart", "/api/v1/chart", 401, {"cache-control": "no-store"}, "{}")
    assert answer == Answer(*told)


@pytest.mark.parametrize("name", [*NEEDED, POLICY])
def test_answer_without_one_of_the_headers_is_serious(name: str) -> None:
    """Each header is needed, and its value too."""
    assert faults_of(GOOD, TOKEN) == []
    for headers in (
        {key: value for key, value in GOOD.headers.items() if key != name},
        {**GOOD.headers, name: "anything"},
    ):
        found = faults_of(replace(GOOD, headers=headers), TOKEN)
        assert {each.severity for each in found} == {"serious"}
        assert all(name in each.what for each in found)


@pytest.mark.parametrize(
    "change",
    [{"body": f"x {TOKEN} y"}, {"headers": {**GOOD.headers, "location": f"/?token={TOKEN}"}}],
)
def test_token_in_an_answer_is_critical(change: dict[str, Any]) -> None:
    """In the body or in a header, an address included."""
    (found,) = faults_of(replace(GOOD, **change), TOKEN)
    assert found.severity == "critical"


def test_styles_within_a_page_are_right_in_a_sandbox_alone() -> None:
    """A report has its styles in itself and no origin; the page has neither."""
    loose = GOOD.headers[POLICY] + "; style-src 'unsafe-inline'"

    assert policy_faults(loose + "; sandbox") == []
    assert len(policy_faults(loose)) == 1
    assert len(policy_faults(loose + "; sandbox allow-scripts")) == 1


@pytest.mark.parametrize(
    ("path", "status", "severity"),
    [
        ("/metrics", 401, None), ("/metrics", 403, None), ("/login", 405, None),
        ("/metrics", 200, "critical"), ("/login", 303, "critical"), ("/metrics", 404, "serious"),
        ("/metrics", 405, "serious"), ("/metrics", 500, "serious"),
    ],
)  # fmt: skip
def test_stranger_gets_refusals_alone(path: str, status: int, severity: str | None) -> None:
    """Without a token not even a missing path is told from one that is there."""
    found = unguarded(replace(GOOD, path=path, status=status))
    assert [each.severity for each in found] == ([severity] if severity else [])


@pytest.fixture
def record(short_run: ShortRun, tmp_path: Path) -> Iterator[RecordPage]:
    """The page of a finished run that has a report."""
    var = Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))
    report = var.run(short_run.run_id) / "report"
    report.mkdir(exist_ok=True)
    (report / REPORT_FILE).write_text("a report", "utf-8")
    found = RecordPage(Night.open(var.run(short_run.run_id)), var, 0)
    try:
        yield found
    finally:
        found.close()


def page_of(record: RecordPage, run: ShortRun, var: Var) -> Page:
    """Return the page as the bench looks at it."""
    return Page(record.port, var.page_token.read_text("ascii").strip(), run.run_id)


@pytest.mark.network_mock
def test_every_answer_of_the_page_is_guarded_and_has_its_headers(
    short_run: ShortRun, record: RecordPage, tmp_path: Path
) -> None:
    """Page, assets, API, stream, metrics, report and refusals, of a real server."""
    page = page_of(record, short_run, Var(tmp_path / "var"))

    answers, found = looked_at(page, record.make_code())

    assert found == []
    assert len(answers) > 100
    assert {200, 303, 400, 401, 403, 404, 405, 409, 411, 413, 422} == {
        answer.status for answer in answers
    }


@pytest.mark.network_mock
def test_page_that_lost_a_header_or_its_guard_is_found_out(
    short_run: ShortRun, record: RecordPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dropped header is missed in every answer; a path that is open to all is critical."""
    lost = "referrer-policy"
    kept = tuple(each for each in access.HEADERS if each[0] != lost.encode())
    monkeypatch.setattr(access, "HEADERS", kept)
    monkeypatch.setattr(access, "OPEN", (*access.OPEN, "/metrics"))

    _, found = looked_at(page_of(record, short_run, Var(tmp_path / "var")), record.make_code())

    assert {each.what for each in found if each.severity == "serious"} == {f"no {lost}"}
    critical = [each.where for each in found if each.severity == "critical"]
    assert critical == ["GET /metrics, no token", "GET /metrics, wrong token"]
