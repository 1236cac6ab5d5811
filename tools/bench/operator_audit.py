"""O7: axe, schemathesis and a look at every answer, on the pages of a finished and a running night.

axe and schemathesis come from `locks/operator.txt` into an environment of their own below
`var/bench/peers`, made on demand; of axe its script alone is used, in an installed Chromium.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from minibot.exchanges.loopback import LOOPBACK
from minibot.kernel import canonical
from minibot.ops.one_time_code import Codes
from minibot.report.html import REPORT_FILE
from minibot.runtime.extras import WEB, WEB_REMEDY, missing_packages
from minibot.runtime.paths import Var
from tools.bench.first_hour import NO_CHROMIUM
from tools.bench.frame import Json, Measure
from tools.bench.operator_answers import (
    OPENAPI,
    STREAM,
    Page,
    Request,
    faults_of,
    looked_at,
    unguarded,
)
from tools.bench.operator_findings import (
    Answer,
    Finding,
    answers_of,
    judged,
    of_axe,
    of_schemathesis,
    unjudged,
)
from tools.bench.operator_load import PAGE
from tools.bench.operator_nights import Night, NightError, environ, finished
from tools.bench.operator_page import ASKS, SHOWN, enter, served_record, until
from tools.bench.peers import environment
from tools.chromium import Chromium, ChromiumError, found_chromium

LOCK: Final = "operator"
AXE, HEADERS = "axe", "headers"
WITH, WITHOUT = "schemathesis with token", "schemathesis without token"
NIGHT: Final[Json] = {
    "embedded.source": "generator:7",
    "embedded.speed": "5",
    **PAGE,
}
WIDTHS: Final = (360, 1280)
SCHEMES: Final = ("light", "dark")
SCRIPT: Final = "lib/python*/site-packages/axe_playwright_python/axe.min.js"
TABS: Final = (
    "[...document.querySelectorAll('[role=tab]')].filter(t => !t.hidden)"
    ".map(t => t.getAttribute('aria-controls'))"
)
FILLED: Final = (
    "[...document.querySelectorAll('#{tab} table')].every(t => t.rows.length)"
    " && [...document.querySelectorAll('#{tab} dl')].every(d => d.children.length)"
)
UNFOLD: Final = "for (const each of document.querySelectorAll('details')) each.open = true; 0"
AXE_RUN: Final = """
window.axeFound = null;
axe.run().then(
  (found) => { window.axeFound = {
    version: found.testEngine.version,
    passes: found.passes.length,
    undecided: found.incomplete.map((each) => each.id),
    violations: found.violations.map((each) => ({
      id: each.id, help: each.help, impact: each.impact,
      targets: each.nodes.map((node) => node.target.join(' ')),
    })),
  }; },
  (error) => { window.axeFound = {error: String(error)}; },
);
0
"""
RUN_S_MAX: Final = 900.0
SEED: Final = "1"
TIMEOUT_S: Final = "30"
TRACE_TOLD: Final = "unsupported_method"
"""A check that wants 405 for an unknown method: without a token the answer is 401 to everything."""


def audit(run: Path, folder: Path) -> list[Measure]:
    """Return the findings of each judge.

    Args:
        run: Folder of a sealed run.
        folder: For a running night and the judges' own files; it is made.

    Raises:
        NightError: The run has no report or no page, or the night did not begin.
    """
    names = (AXE, HEADERS, WITH, WITHOUT)
    if missing := missing_packages(WEB):
        why = f"not measured: {missing} is not installed; {WEB_REMEDY}"
        return [unjudged(name, why) for name in names]
    folder.mkdir(parents=True)
    _write_report(run)
    python, why = None, ""
    try:
        python = environment(LOCK)
    except (OSError, subprocess.SubprocessError) as error:
        why = f"not measured: neither axe nor schemathesis is here: {error}"
    measures = [unjudged(AXE, why) if python is None else _axe(run, folder / "var", python)]
    with served_record(run) as told:
        token = Var(run.parents[1]).page_token.read_text("ascii").strip()
        page = Page(urlsplit(told["url"]).port or 0, token, run.name)
        answers, found = looked_at(page, told["code"])
        measures.append(judged(HEADERS, found, [f"{len(answers)} answers"]))
        if python is None:
            return [*measures, unjudged(WITH, why), unjudged(WITHOUT, why)]
        return [*measures, *_schemathesis(page, python, folder)]


def _write_report(run: Path) -> None:
    argv = [sys.executable, "-m", "minibot", "report", run.name, "--html"]
    done = finished([*argv, "--var", str(run.parents[1])])
    if not (run / "report" / REPORT_FILE).is_file():
        raise NightError(f"no report: {done.stderr.strip()[-300:]}")


# --- axe --------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """Findings of axe in all views."""

    findings: list[Finding] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)
    version: str = ""
    views: int = 0
    passes: int = 0

    def look(self, chromium: Chromium, script: str, view: str) -> None:
        """Let axe judge what is on the screen.

        Raises:
            NightError: It did not end.
        """
        # The page's own policy does not bind what the protocol evaluates.
        chromium.ask(f"if (!window.axe) {{ {script} }}; 0")
        chromium.ask(AXE_RUN)
        until(chromium, "window.axeFound !== null")
        found = chromium.ask("window.axeFound")
        if "error" in found:
            raise NightError(f"axe in {view}: {found['error'][:200]}")
        self.findings += of_axe(found, view)
        self.undecided |= set(found["undecided"])
        self.version = found["version"]
        self.views += 1
        self.passes += found["passes"]


def _axe(run: Path, var: Path, python: Path) -> Measure:
    """Return axe's measure over login, record, report, and a running night with its orders."""
    browser = found_chromium()
    if browser is None:
        return unjudged(AXE, NO_CHROMIUM)
    script = next(python.parents[1].glob(SCRIPT)).read_text("utf-8")
    seen = Seen()
    try:
        with Chromium(browser) as chromium:
            with served_record(run) as told:
                url = str(told["url"])
                for width, scheme, view in _windows("login"):
                    chromium.open(url, width, prefers_color_scheme=scheme)
                    until(chromium, ASKS)
                    seen.look(chromium, script, view)
                enter(chromium, url, str(told["code"]))
                _look_at_tabs(seen, chromium, script, url, "record")
            for width, scheme, view in _windows("report"):
                report = run / "report" / REPORT_FILE
                chromium.show(report, width, prefers_color_scheme=scheme)
                chromium.ask(UNFOLD)
                seen.look(chromium, script, view)
            with Night(var, NIGHT) as night:
                night.await_trading()
                night.until(night.var.page_address.exists, "the page has an address")
                address: Any = canonical.decode(night.var.page_address.read_bytes().strip())
                enter(chromium, str(address["url"]), Codes(night.var.page_code).make())
                _look_at_tabs(seen, chromium, script, str(address["url"]), "night")
    except (ChromiumError, NightError) as error:
        return unjudged(AXE, f"not measured: {error}")
    notes = [f"axe-core {seen.version}, {seen.views} views, {seen.passes:,} rules passed"]
    if seen.undecided:
        notes.append(f"left to a person's eye by axe: {', '.join(sorted(seen.undecided))}")
    return judged(AXE, seen.findings, notes)


def _windows(view: str) -> Iterator[tuple[int, str, str]]:
    for width in WIDTHS:
        for scheme in SCHEMES:
            yield width, scheme, f"{view}, {width} px, {scheme}"


def _look_at_tabs(seen: Seen, chromium: Chromium, script: str, url: str, kind: str) -> None:
    for width, scheme, view in _windows(kind):
        chromium.open(url, width, prefers_color_scheme=scheme)
        until(chromium, SHOWN)
        for tab in chromium.ask(TABS):
            chromium.ask(f"at('tab-{tab}').click()")
            until(chromium, FILLED.format(tab=tab))
            chromium.ask(UNFOLD)
            seen.look(chromium, script, f"{tab} of {view}")


# --- schemathesis -----------------------------------------------------------------------------


def _schemathesis(page: Page, python: Path, folder: Path) -> list[Measure]:
    """Return schemathesis' measures with the token and without, side by side."""
    document = page.ask(Request("the API's document", OPENAPI, (200,), headers=page.bearer)).body
    told = folder / "with", folder / "without"
    # The stream has no end; without a token it is a refusal like any other.
    started = [
        _started(page, python, told[0], document, page.token, "--exclude-path", STREAM),
        _started(page, python, told[1], document, "", "--exclude-checks", TRACE_TOLD),
    ]
    try:
        for each in started:
            each.wait(RUN_S_MAX)
    except subprocess.TimeoutExpired:
        why = f"not measured: no end within {RUN_S_MAX:.0f} s"
        return [unjudged(WITH, why), unjudged(WITHOUT, why)]
    finally:
        for each in started:
            each.kill()
            each.wait()
    return [_measure(WITH, told[0], page), _measure(WITHOUT, told[1], page)]


def _started(
    page: Page, python: Path, folder: Path, document: str, token: str, *options: str
) -> subprocess.Popen[bytes]:
    folder.mkdir()
    (folder / "openapi.json").write_text(document, "utf-8")
    # The token is not an argument, which other programs of this machine could read.
    header = '[headers]\nAuthorization = "Bearer ${O7_TOKEN}"\n' if token else ""
    (folder / "schemathesis.toml").write_text(header, "utf-8")
    argv = [str(python), "-m", "schemathesis.cli", "run", "openapi.json"]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [
                *argv,
                *("--url", f"http://{LOOPBACK}:{page.port}", "--seed", SEED, "--no-color"),
                *("--continue-on-failure", "--request-timeout", TIMEOUT_S),
                *("--output-sanitize", "false", "--report", "json,har"),
                *("--report-json-path", "report.json", "--report-har-path", "report.har"),
                *options,
            ],
            cwd=folder,
            env=environ() | {"O7_TOKEN": token, "NO_PROXY": LOOPBACK},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def _measure(name: str, folder: Path, page: Page) -> Measure:
    """Return the measure of one run: its own findings, and a look at each answer that it got."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
        answers = list(answers_of(json.loads((folder / "report.har").read_bytes())))
    except (OSError, ValueError):
        said = (folder / "said.txt").read_text("utf-8", "replace").strip()[-300:]
        return unjudged(name, f"not measured: schemathesis left no report: {said}")
    found = [*of_schemathesis(report), *_faults(answers, page)]
    if name == WITHOUT:
        found += [fault for answer in answers for fault in unguarded(answer)]
    cases = report["test_cases"]
    passed = cases["generated"] - cases["with_failures"] - cases["errored"]
    told = (
        f"schemathesis {report['schemathesis_version']}, {report['operations']['tested']}"
        f" operations, {passed:,} of {cases['generated']:,} cases passed,"
        f" {len(answers):,} answers looked at"
    )
    return judged(name, found, [told])


def _faults(answers: Sequence[Answer], page: Page) -> list[Finding]:
    return [fault for answer in answers for fault in faults_of(answer, page.token)]
