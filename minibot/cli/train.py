"""minibot train: train a model on finished runs and judge it; activation is another step."""

from __future__ import annotations

import argparse

from minibot.ai.models import train
from minibot.ai.settings import ai_settings
from minibot.cli.support.output import show
from minibot.cli.support.selection import find_run, var_of
from minibot.runtime.clock import wall_ms
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import LATEST

HELP = "train a model on finished runs and let the gate judge it"
EXAMPLE = "minibot train latest"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument(
        "runs", nargs="*", default=[LATEST], metavar="RUN", help="run ids, directories or latest"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train; 0 when the gate passed the model, 1 when it stays inactive."""
    var = var_of(arguments)
    run_dirs = [find_run(name, var) for name in arguments.runs]
    manifest = Manifest.load(run_dirs[-1])
    settings = ai_settings(
        manifest.config, run_id=manifest.run_id, root=var.ai, symbols=manifest.symbols
    )
    trained = train(var, run_dirs, settings, created_ts=wall_ms())
    verdict = trained.verdict
    if verdict.passed:
        text = f"passed on {verdict.rows} rows; activate it: minibot model activate"
    else:
        text = "stays inactive: " + "; ".join(verdict.reasons)
    show(
        arguments,
        {"model_id": trained.model_id, "pack": trained.pack, **verdict.to_json()},
        [f"{trained.model_id} {text}{' ' + trained.model_id if verdict.passed else ''}"],
    )
    return 0 if verdict.passed else 1
