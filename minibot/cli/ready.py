"""minibot ready: list what is still missing before anything beyond paper trading."""

from __future__ import annotations

import argparse

from minibot.cli.support.output import show
from minibot.cli.support.selection import var_of
from minibot.report.readiness import Need, needs
from minibot.runtime.deployment.deployed import code_sha256
from minibot.runtime.paths import PROJECT

HELP = (
    "what is missing for the next step: gates, a real night, 30 days, no limit exceeded, "
    "half a year backtested, page and alerts tried"
)
EXAMPLE = "minibot ready"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Take no flags but the common ones."""


def run(arguments: argparse.Namespace) -> int:
    """List the needs of the next step; return 0 if all are met, else 1."""
    # Imported here because `--help` needs none of it.
    from minibot.ops.trial_needs import trial_needs

    var = var_of(arguments)
    found = [*needs(var, code_sha256(PROJECT)), *trial_needs(var)]
    is_ready = all(need.is_met for need in found)
    document = {"ready": is_ready, "needs": [need.to_json() for need in found]}
    missing = sum(not need.is_met for need in found)
    verdict = "READY" if is_ready else f"NOT READY: {missing} of {len(found)} missing"
    in_order = sorted(found, key=lambda need: need.is_met)
    show(arguments, document, [verdict, *map(_line, in_order)])
    return 0 if is_ready else 1


def _line(need: Need) -> str:
    mark = "ok     " if need.is_met else "MISSING"
    remedy = "" if need.is_met or not need.remedy else f" -> {need.remedy}"
    return f"{mark}  {need.name}: {need.found}{remedy}"
