"""minibot stage: deploy changed files into this installation, all of them or none."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from minibot.cli.support.output import show_lines
from minibot.cli.support.selection import var_of
from minibot.kernel.errors import Refusal
from minibot.runtime.deployment import staging
from minibot.runtime.deployment.bytecode import BytecodeCheck
from minibot.runtime.deployment.deployed import ACCEPT, libraries
from minibot.runtime.paths import PROJECT, plain

HELP = "stage, deploy and compare files: changes enter a working installation only this way"
EXAMPLE = "minibot stage add ~/limits.py minibot/risk/limits.py --replace; minibot stage apply"

FINE, DIFFERS = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add action, files and their flags."""
    parser.add_argument(
        "action",
        choices=("status", "add", "apply", "adopt"),
        help="status: what is staged, deployed, different; add: stage SOURCE as PATH, or all that "
        "lies in staging/pending/files; apply: deploy what is staged; adopt: take the tree as it "
        "stands for the deployed one (once, for a fresh clone)",
    )
    parser.add_argument("source", nargs="?", type=Path, help="file to stage (add)")
    parser.add_argument("path", nargs="?", help="its path in the project (add)")
    parser.add_argument(
        "--replace", action="store_true", help="allow overwriting; the old sha256 goes on record"
    )
    parser.add_argument("--reason", help="why a deployed list is passed over (adopt)")


def run(arguments: argparse.Namespace) -> int:
    """Run one action and print its result."""
    _require_own_words(arguments)
    actions = {"status": _status, "add": _add, "apply": _apply, "adopt": _adopt}
    code, document, lines = actions[arguments.action](arguments)
    if arguments.json:
        print(json.dumps(document, indent=1, sort_keys=True))
    else:
        show_lines(lines)
    return code


def _require_own_words(arguments: argparse.Namespace) -> None:
    """Refuse words of another action: `apply` with a file would deploy all that is staged."""
    action = arguments.action
    if action != "add" and (arguments.source is not None or arguments.replace):
        raise Refusal(
            "SOURCE, PATH and --replace belong to stage add.",
            "Leave them out: apply deploys all that is staged.",
        )
    if action != "adopt" and arguments.reason is not None:
        raise Refusal("--reason belongs to stage adopt.", "Leave it out.")


Answer = tuple[int, dict[str, Any], list[str]]


def _add(arguments: argparse.Namespace) -> Answer:
    if (arguments.source is None) != (arguments.path is None):
        raise Refusal("stage add takes SOURCE and PATH, or neither.", f"Example: {EXAMPLE}")
    copies = [] if arguments.path is None else [(arguments.source, plain(arguments.path))]
    pending = staging.stage(PROJECT, copies, replace=arguments.replace)
    document = {"staged": [item.path for item in pending.files]}
    lines = [_line(item) for item in pending.files]
    return FINE, document, [*lines, "next: minibot stage apply"]


def _apply(arguments: argparse.Namespace) -> Answer:
    paths = staging.apply(PROJECT, var_of(arguments).lock)
    return FINE, {"deployed": list(paths)}, [f"deployed {path}" for path in paths]


def _adopt(arguments: argparse.Namespace) -> Answer:
    count = staging.adopt(PROJECT, arguments.reason)
    text = f"staging/deployed.json now lists the {count} files of this tree"
    return FINE, {"files": count}, [text]


def _status(_: argparse.Namespace) -> Answer:
    pending = staging.read_pending(PROJECT)
    staged = [] if pending is None else list(pending.files)
    wrong = [] if pending is None else staging.problems(PROJECT, pending)
    under_way = staging.is_under_way(PROJECT)
    check = BytecodeCheck(PROJECT)
    try:
        different = [] if under_way else staging.compare(PROJECT)
    finally:
        bytecode = check.result()
    built = libraries(PROJECT)
    document = {
        "staged": [item.path for item in staged],
        "problems": wrong,
        "under_way": under_way,
        "different": different,
        "bytecode": bytecode,
        "compiled": built,
    }
    lines = [f"staged    {_line(item)}" for item in staged] or ["staged    nothing"]
    lines += [f"problem   {text}" for text in wrong]
    lines += ["a deployment was cut off: minibot stage apply brings it to its end"] * under_way
    lines += [f"different {text}" for text in different]
    lines += [f"next: {ACCEPT}"] * bool(different)
    lines += [f"bytecode  {text}; remove the file" for text in bytecode]
    lines += [f"compiled  {path}  sha256 {digest}" for path, digest in built.items()]
    lines += ["the code is what staging/deployed.json lists"] * (not different and not under_way)
    is_wrong = different or wrong or under_way or bytecode
    return (DIFFERS if is_wrong else FINE), document, lines


def _line(item: staging.Staged) -> str:
    how = "new" if item.replace is None else f"replaces {item.replace[:12]}"
    return f"{item.path}  {item.size} bytes  sha256 {item.sha256[:12]}  {how}"
