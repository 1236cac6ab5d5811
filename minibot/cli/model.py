"""minibot model: list, activate and roll back the model snapshots of the AI."""

from __future__ import annotations

import argparse

from minibot.ai.activation import Active, fits_any
from minibot.ai.baseline import BASELINE_ID
from minibot.ai.models import (
    ModelLine,
    activate_model,
    fit_of,
    list_models,
    rollback_model,
)
from minibot.cli.support.output import show
from minibot.cli.support.request import add_reason
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.ops.operator import who
from minibot.runtime.manifest import Manifest
from minibot.runtime.runfiles import refuse_closed
from minibot.runtime.running import running_run

HELP = "list the AI's models, activate one that passed its gate, or roll back"
EXAMPLE = 'minibot model rollback --reason "the former one was better"'


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("action", choices=["list", "activate", "rollback"], help="what to do")
    command.add_argument("model_id", nargs="?", help="which snapshot, for activate")
    add_reason(command, default="by hand")


def run(arguments: argparse.Namespace) -> int:
    """List, activate or roll back; 2 when the snapshot may not be activated."""
    if arguments.model_id is not None and arguments.action != "activate":
        raise Refusal(
            f"{arguments.action} takes no id.",
            "Rollback returns to the former model; to choose one: minibot model activate ID",
        )
    var = var_of(arguments)
    if arguments.action == "list":
        refuse_closed(var.ai)
        listed = list_models(var.ai)
        show(arguments, [line.to_json() for line in listed], lines(listed))
        return 0
    why = f"{who()}: {arguments.reason}"
    running = running_run(var)
    fit = fits_any if running is None else fit_of(Manifest.load(var.run(running)), var.ai)
    if arguments.action == "rollback":
        active = rollback_model(var, why, running=running, require_fit=fit)
        return _changed(arguments, active)
    if not arguments.model_id:
        raise Refusal("activate needs the id of a snapshot.", "See: minibot model list")
    active = activate_model(var, arguments.model_id, why, running=running, require_fit=fit)
    return _changed(arguments, active)


def _changed(arguments: argparse.Namespace, active: Active) -> int:
    model_id = active.model_id or BASELINE_ID
    show(
        arguments,
        {"model_id": model_id, "former": list(active.former)},
        [f"{model_id} is active now."],
    )
    return 0


def lines(listed: list[ModelLine]) -> list[str]:
    """Return the snapshots in words, oldest first."""
    output = []
    for line in listed:
        mark = "*" if line.is_active else " "
        state = "passed" if line.passed else "; ".join(line.reasons)
        output.append(f"{mark} {line.model_id}  {line.rows} rows  {state}")
    return output or ["no model has been trained here."]
