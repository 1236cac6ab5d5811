"""The command line: one file per verb, found by name, parsed the same way everywhere.

A verb's module has `HELP`, `EXAMPLE`, `add_arguments(parser)` and `run(arguments) -> int`. Every
verb takes `--json`, `--var` and `--debug`; messages go to standard error. Exit codes: 0 fine,
1 a check failed, 2 cannot run, 3 not running, 4 configuration, 5 timed out, 10 STOPPED.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import io
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType

import minibot.cli
from minibot.kernel.errors import ConfigError, MinibotError, Refusal, RunStop

CHECK_FAILED, CANNOT_RUN, NOT_RUNNING, CONFIGURATION, TIMED_OUT, STOPPED = 1, 2, 3, 4, 5, 10
# What other bots call it, so that hands find their way.
ALIASES = {
    "trade": "night",
    "backtesting": "backtest",
    "hyperopt": "optimise",
    "list-runs": "runs",
    "show-config": "config",
    "profit": "report",
    "stopentry": "halt",
    "forceexit": "exit-position",
}


def verbs(only: str | None = None) -> dict[str, ModuleType]:
    """Return every verb with its module, by name; with `only`, at most that one."""
    found = {}
    for entry in pkgutil.iter_modules(minibot.cli.__path__):
        if only is not None and entry.name.replace("_", "-") != ALIASES.get(only, only):
            continue
        module = importlib.import_module(f"minibot.cli.{entry.name}")
        if hasattr(module, "add_arguments"):
            found[entry.name.replace("_", "-")] = module
    return found


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, or of one verb of it."""
    top = argparse.ArgumentParser(
        prog="minibot", description="Paper trading through the night, with proof in the morning."
    )
    commands = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in sorted(verbs(only).items()):
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"example: {module.EXAMPLE}",
            aliases=[alias for alias, verb in ALIASES.items() if verb == name],
        )
        add_common(command)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def add_common(command: argparse.ArgumentParser) -> None:
    """Add the flags that every verb takes."""
    command.add_argument("--json", action="store_true", help="one JSON document on stdout")
    command.add_argument("--var", default=None, help="where runs live (default: var)")
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def run(argv: Sequence[str]) -> int:
    """Parse and run one verb."""
    # A verb starts without the others, which together import everything there is.
    first = argv[0] if argv else None
    known = verbs(first) if first is not None and not first.startswith("-") else {}
    if first is not None and not first.startswith("-") and not known:
        print(unknown_verb(first), file=sys.stderr)
        return CANNOT_RUN
    said = argparse.Namespace(argv=tuple(argv))
    return guarded(parser(first if known else None).parse_args(argv, said))


def unknown_verb(name: str) -> str:
    """Return one sentence about a verb that there is none of: the nearest one, where one is near.

    All fifty of them in one line, as argparse tells them, would hide the one that was meant.
    """
    names = [*verbs(), *ALIASES]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"Nearest: {', '.join(near)}. " if near else ""
    return f"refused: there is no verb {name[:40]!r}. {hint}See: minibot --help"


def guarded(arguments: argparse.Namespace) -> int:
    """Run a parsed verb; turn every expected error into one message and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that a pipe of Windows has no code for must not end a night.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.run(arguments)
        return code
    except ConfigError as error:
        print(error.args[0], file=sys.stderr)
        for violation in error.violations:
            print(f"  {violation}", file=sys.stderr)
        return _debug(arguments, CONFIGURATION)
    except Refusal as error:
        print(f"refused: {error}", file=sys.stderr)
        return _debug(arguments, error.exit_code)
    except RunStop as error:
        # Only here: a verb that meets no damage does not import what tells of it.
        from minibot.cli.damage import remedy

        print(f"{error.reason_code}: {error.detail}{remedy(error)}", file=sys.stderr)
        return _debug(arguments, CHECK_FAILED)
    except MinibotError as error:
        print(str(error), file=sys.stderr)
        return _debug(arguments, CANNOT_RUN)
    except BrokenPipeError:
        # Whoever read us has gone, as `| head` does; there is nobody left to tell. What was found
        # was not told, so it is no 0: a pipe with `pipefail` would take damage for a clean run.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CANNOT_RUN
    except KeyboardInterrupt:
        return _debug(arguments, CANNOT_RUN)


def _debug(arguments: argparse.Namespace, code: int) -> int:
    if arguments.debug:
        traceback.print_exc()
    return code
