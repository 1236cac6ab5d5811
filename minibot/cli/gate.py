"""minibot gate: run the gates that have to pass before a night."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.gates.result import Finding, GateReport
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.runtime.clock import wall_ms
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.paths import PROJECT

HELP = "run a gate: runtime_smoke, schema, atomic_io, ai_isolation or all"
EXAMPLE = "minibot gate all"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    names = [*GATES, "all"]
    command.add_argument("name", choices=names, metavar="GATE", help=", ".join(names))


def run(arguments: argparse.Namespace) -> int:
    """Run gates; 0 when all pass, 1 otherwise."""
    lab = var_of(arguments).lab
    names = list(GATES) if arguments.name == "all" else [arguments.name]
    reports = []
    for name in names:
        code = code_sha256(PROJECT)
        # A gate that is interrupted or breaks off leaves no verdict, not that of its last run.
        _kept(lab, name).unlink(missing_ok=True)
        report = GATES[name](lab)
        if code_sha256(PROJECT) != code:
            changed = Finding("code", False, "it changed while the gate worked: run it again")
            report = replace(report, findings=(*report.findings, changed), judged=False)
        _keep(lab, report, code)
        reports.append(report)
        if not arguments.json:
            show(arguments, None, lines(report))
    if arguments.json:
        show(arguments, {report.gate: as_json(report) for report in reports}, [])
    return 0 if all(report.passed for report in reports) else 1


def _smoke(lab: Path) -> GateReport:
    # Here and below: a gate is imported where it runs, not for `--help`.
    from minibot.gates import runtime_smoke

    return runtime_smoke.check(lab / runtime_smoke.NAME)


def _schema(lab: Path) -> GateReport:
    """Judge the run that `runtime_smoke` left by this code, or make one."""
    from minibot.gates import runtime_smoke, schema

    folder = lab / runtime_smoke.NAME
    found = _runs_by_this_code(folder)
    if not found:
        runtime_smoke.check(folder)
        found = _runs_by_this_code(folder)
    if not found:
        return GateReport(schema.NAME, (Finding("a run", False, "the smoke run left none"),))
    return schema.check(found[-1])


def _runs_by_this_code(folder: Path) -> list[Path]:
    from minibot.runtime.manifest import Manifest

    code = code_sha256(PROJECT)
    sealed = sorted(path.parent for path in (folder / "runs").glob("*/seal.json"))
    return [run_dir for run_dir in sealed if Manifest.load(run_dir).code_sha256 == code]


def _atomic_io(lab: Path) -> GateReport:
    from minibot.gates import atomic_io

    return atomic_io.check(lab / atomic_io.NAME)


def _ai_isolation(lab: Path) -> GateReport:
    from minibot.gates import ai_isolation
    from minibot.gates.smoke_run import PROFILE
    from minibot.runtime.configuration.config import load_config

    level_min = load_config(PROFILE).ai.isolation_min.get(sys.platform, "jail")
    return ai_isolation.check_ai_isolation(lab / ai_isolation.NAME, level_min=level_min)


GATES: dict[str, Callable[[Path], GateReport]] = {
    "runtime_smoke": _smoke,
    "schema": _schema,
    "atomic_io": _atomic_io,
    "ai_isolation": _ai_isolation,
}


def _keep(lab: Path, report: GateReport, code: str) -> None:
    """Write the verdict, with the hash of the judged code, to where `minibot ready` finds it."""
    ensure_folder(lab / "gates")
    about = {"ts": wall_ms(), "code_sha256": code}
    write_hashed(_kept(lab, report.gate), {**about, **as_json(report)})


def _kept(lab: Path, name: str) -> Path:
    return lab / "gates" / f"{name}.json"


def as_json(report: GateReport) -> dict[str, object]:
    """Return a report as one JSON object."""
    return {
        "passed": report.passed,
        "level": report.level,
        "findings": [
            {"name": found.name, "passed": found.passed, "detail": found.detail}
            for found in report.findings
        ],
    }


def lines(report: GateReport) -> list[str]:
    """Return a report in words, the verdict last.

    A point that a passed gate leaves open (advisory isolation) is shown as open, no failure.
    """
    wrong = "open" if report.passed else "FAIL"
    output = [
        f"  {'ok  ' if found.passed else wrong} {found.name}: {found.detail}"
        for found in report.findings
    ]
    verdict = "passes" if report.passed else "FAILS"
    level = f" ({report.level})" if report.level else ""
    return [*output, f"gate {report.gate}: {verdict}{level}"]
