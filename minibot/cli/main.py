"""Command line: one file per verb, found by name, parsed the same way everywhere.

A verb's module has `HELP`, `EXAMPLE`, `add_arguments(parser)` and `run(arguments) -> int`. Every
verb takes `--json`, `--var` and `--debug`; messages go to standard error. Exit codes: 0 fine,
1 a check failed, 2 cannot run, 3 not running, 4 configuration, 10 STOPPED.
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
from typing import Any, NoReturn

import minibot.cli
from minibot.cli.support.help_text import HelpText
from minibot.cli.support.numbers import whole_number
from minibot.kernel.errors import ConfigError, MinibotError, Refusal, RunStop
from minibot.report.figures import plain_text

# The verbs of a command line that names none.
NEXT, HELP = "next", "help"
CHECK_FAILED, CANNOT_RUN, NOT_RUNNING, CONFIGURATION, STOPPED = 1, 2, 3, 4, 10
# A shell that completes a command line sets this variable.
COMPLETING = "_ARGCOMPLETE"
# Largest number of characters shown of a file's name.
NAME_MAX = 200
# Largest number of characters shown of a word of the command line.
WORD_MAX = 60
# Least likeness for naming a known word instead of an unknown one: a typing error, no nonsense.
NEAR_MIN = 0.61
# Help of `--json`, if a verb has no `JSON` itself.
JSON = "one JSON document on stdout"
# Letters of flags in other bots. A verb has none of them but -c; its refusal names its own flag, if
# it has that one.
LETTERS = {"-c": "--config", "-i": "--timeframe", "-p": "--pairs", "-s": "--strategy"}
PAIR_MARK = "/"
# Names of the same verbs in other bots, for users who are used to them.
ALIASES = {
    "trade": "night",
    "backtesting": "backtest",
    "hyperopt": "optimise",
    "list-runs": "runs",
    "show-config": "config",
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


class Parser(argparse.ArgumentParser):
    """Parser of a command line that refuses in one line and names the intended flag."""

    def __init__(self, **words: Any) -> None:
        words.setdefault("formatter_class", HelpText)
        super().__init__(**words)
        # Python 3.14 would put colours between the words that `HelpText` folds.
        self.color = False
        # argparse's own refusal of one speaks of an "int value".
        self.register("type", int, whole_number)

    def error(self, message: str) -> NoReturn:
        """Print why the command line is refused, with the help to read, and exit with 2."""
        end = "" if message.endswith("?") else "."
        _say(f"refused: {message}{end} See: {self.prog} --help")
        self.exit(CANNOT_RUN)

    @property
    def hands_on(self) -> bool:
        """Return whether the verb hands its words on to another one."""
        return any(action.nargs == argparse.REMAINDER for action in self._actions)

    def refuse_unknown_flag(self, words: Sequence[str]) -> None:
        """Refuse a long flag that the verb lacks, or a letter of other bots, before all else.

        Any other letter is left to argparse. A verb that hands its words on to another one leaves
        the judgement to that.
        """
        if self.hands_on:
            return
        for word in words:
            if word == "--":
                return
            name = word.partition("=")[0]
            known = self._option_string_actions
            if name in known:
                continue
            meant = LETTERS.get(name, "")
            is_begun = any(flag.startswith(name) for flag in known)
            if not meant and (is_begun or not name.startswith("--")):
                continue
            # A letter of other bots means one flag, and no other that is spelt alike.
            near = [meant] if meant in known else []
            if not meant:
                near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR_MIN)
            hint = f". Did you mean {near[0]}?" if near else ""
            self.error(f"{self.prog} has no flag {plain_text(name, WORD_MAX)}{hint}")


def parser(only: str | None = None) -> Parser:
    """Return the parser of the whole command line, or of one verb of it."""
    top = Parser(prog="minibot")
    commands = top.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in sorted(verbs(only).items()):
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP,
            epilog=f"example: {module.EXAMPLE}",
            aliases=[alias for alias, verb in ALIASES.items() if verb == name],
        )
        add_common(command, getattr(module, "JSON", JSON))
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return top


def verb_parser(top: Parser, name: str) -> Parser:
    """Return the parser of one verb, by its name or alias, from the parser of all."""
    return next(
        found
        for action in top._actions
        if isinstance(action.choices, dict) and isinstance(found := action.choices[name], Parser)
    )


def add_common(command: argparse.ArgumentParser, as_json: str = JSON) -> None:
    """Add the flags that every verb takes; `as_json` is the help of `--json`."""
    command.add_argument("--json", action="store_true", help=as_json)
    command.add_argument(
        "--var", type=_folder_name, default=None, help="where runs live (default: var)"
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks")


def _folder_name(text: str) -> str:
    """Return the name of a folder; an empty one, as of an unset variable, would be this folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a folder, found nothing")
    return text


def run(argv: Sequence[str]) -> int:
    """Parse and run one verb, or answer a shell that completes one."""
    if COMPLETING in os.environ:
        return _complete()
    with_streams()
    # No verb multiplies matrices, for which NumPy would start a thread on each core: 35 ms of CPU.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return _parsed_and_run(argv)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        return _failed_output_code()
    except ConfigError as error:  # The parser of a verb may read names from `config`.
        return _refused(error)
    except SystemExit:
        # From argparse: help, or a wrong command line. The reader of either may be gone.
        try:
            sys.stdout.flush()
        except OSError:
            return _failed_output_code()
        raise


def _complete() -> int:
    """Write completions for the shell; 2 if the extra is missing, as no one reads a message."""
    try:
        # Imported here because only a shell that completes needs it.
        from minibot.cli.support.completing import complete
    except ModuleNotFoundError:
        return CANNOT_RUN
    complete()
    return CANNOT_RUN


def with_streams() -> None:
    """Replace closed standard streams by the null device, so that writing to them works."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  open to the end
            setattr(sys, name, stream)


def _parsed_and_run(argv: Sequence[str]) -> int:
    # Only the requested verb is imported: all of them together would import everything.
    first = argv[0] if argv else ""
    if first in ("-h", "--help"):
        first, argv = HELP, [HELP]
    elif late := _verb_behind_flags(argv):
        _say(
            f"refused: the verb comes first: minibot {late} {first} ... See: minibot {late} --help"
        )
        return CANNOT_RUN
    elif not first or first.startswith("-"):
        first, argv = NEXT, [NEXT, *argv]
    if not verbs(first):
        print_unknown_verb(first)
        return CANNOT_RUN
    return guarded(parsed(argv))


def _verb_behind_flags(argv: Sequence[str]) -> str:
    """Return the verb of a command line that begins with flags; empty if it names none."""
    words = list(argv)
    while words and words[0].startswith("-"):
        # Of the flags of every verb this one alone takes a word, which may be a verb's name.
        del words[: 2 if words[0] == "--var" else 1]
    is_late = bool(words) and len(words) < len(argv) and words[0] in {*verbs(words[0]), *ALIASES}
    return words[0] if is_late else ""


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line of a verb; flags may come between its words.

    Raises:
        SystemExit: The command line is wrong, as printed, or asks for help.
    """
    top = parser(argv[0])
    command = verb_parser(top, argv[0])
    command.refuse_unknown_flag(argv[1:])
    arguments, rest = top.parse_known_args(argv, argparse.Namespace(argv=tuple(argv)))
    if rest and "--" not in argv and not command.hands_on:
        # argparse gives optional words nothing once a flag came between, so they are left over.
        arguments, rest = command.parse_known_intermixed_args(
            argv[1:], argparse.Namespace(argv=tuple(argv), verb=argv[0])
        )
    if rest:
        word = plain_text(rest[0], WORD_MAX)
        pairs = "--pairs" in argv and PAIR_MARK in word
        hint = f". Separate pairs by commas: --pairs BTC/USDT,{word}" if pairs else ""
        command.error(f"{command.prog} takes no further word: {word!r}{hint}")
    return arguments


def print_unknown_verb(name: str) -> None:
    """Print the refusal of an unknown verb in one line, with similar verbs if there are any.

    argparse would list every verb in one line and so hide the intended one.
    """
    names = [*verbs(), *ALIASES]
    near = difflib.get_close_matches(name, names, n=3, cutoff=NEAR_MIN)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    _say(f"refused: there is no verb {name[:40]!r}. {hint}See: minibot --help")


def guarded(arguments: argparse.Namespace) -> int:
    """Run a parsed verb, whose messages name commands for the same folder and profile."""
    # Imported here because help and refusals of a command line need neither.
    from minibot.cli.support.output import speaking_of
    from minibot.cli.support.selection import place_of

    with speaking_of(place_of(arguments)):
        return _guarded(arguments)


def _guarded(arguments: argparse.Namespace) -> int:
    """Run a parsed verb; turn every expected error into one message and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that a Windows pipe cannot encode must not end a night.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        return _debug(arguments, _refused(error))
    except Refusal as error:
        _say_refusal(error)
        return _debug(arguments, error.exit_code)
    except RunStop as error:
        # Imported here because only a verb that meets damage needs it.
        from minibot.cli.support.damage import remedy

        _say(f"{error.reason_code}: {error.detail}{remedy(error)}")
        return _debug(arguments, CHECK_FAILED)
    except MinibotError as error:
        _say(str(error))
        return _debug(arguments, CANNOT_RUN)
    except BrokenPipeError:
        return _failed_output_code()
    except KeyboardInterrupt:
        return _debug(arguments, _interrupted())
    except OSError as error:
        _say(f"refused: {_system_refusal(error)}")
        try:
            sys.stdout.flush()
        except OSError:
            _failed_output_code()
        return _debug(arguments, CANNOT_RUN)
    except MemoryError:
        _say("refused: there is not enough memory for this.")
        return _debug(arguments, CANNOT_RUN)
    except Exception as error:  # Our own bug: it ends here, in one line with its place.
        _say(_bug_report(error))
        return _debug(arguments, CANNOT_RUN)


def _say(text: str) -> None:
    # Imported here because most commands have nothing to say.
    from minibot.cli.support.output import say

    say(text)


def _say_refusal(refusal: Refusal) -> None:
    """Print a refusal: one line, or one for each of several faults and the remedy."""
    if not refusal.faults:
        _say(f"refused: {refusal}")
        return
    _say(f"refused: {len(refusal.faults)} faults. {refusal.remedy}".rstrip())
    for fault in refusal.faults:
        _say(f"  {fault}")


def _refused(error: ConfigError) -> int:
    _say(str(error.args[0]))
    for violation in error.violations:
        _say(f"  {violation}")
    return CONFIGURATION


def _interrupted() -> int:
    """Say that the verb did not finish, and return its exit code."""
    _say("interrupted: it did not finish. The same command begins anew.")
    return CANNOT_RUN


def _failed_output_code() -> int:
    """Return the exit code of a verb whose output could not be written, and close stdout.

    The reader has gone, as `| head` does, or the disk behind the pipe is full. The findings were
    not printed, so the code is 2, also of a check that failed: with `pipefail`, 0 would pass for a
    clean run. A night that ended with another code than 0 keeps that, see `outcome.judge`.
    """
    # Imported here because only a verb whose output failed needs it.
    from minibot.cli.support.output import drop_reader

    drop_reader(sys.stdout)
    return CANNOT_RUN


def _system_refusal(error: OSError) -> str:
    """Return the system's refusal with the file that it concerns."""
    why = error.strerror or str(error) or type(error).__name__
    names = [name for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([*(plain_text(os.fsdecode(name), NAME_MAX) for name in names), f"{why}."])


def _bug_report(error: Exception) -> str:
    """Return one line about an unexpected error: what, where in minibot, what to do."""
    # Imported here because only an unforeseen error needs it.
    from minibot import listed

    if isinstance(error, listed.NotListed):
        return f"refused: {error}. {listed.REMEDY}"
    if isinstance(error, ValueError) and "null byte" in str(error):
        return "refused: a name holds a NUL, which no system takes. Give another."
    frames = traceback.extract_tb(error.__traceback__)
    places = [frame for frame in frames if f"{os.sep}minibot{os.sep}" in frame.filename]
    place = ""
    if places:
        name = places[-1].filename.rpartition(f"{os.sep}minibot{os.sep}")[2]
        place = f" at minibot/{name.replace(os.sep, '/')}, line {places[-1].lineno}"
    what = plain_text(f"{type(error).__name__}: {error}")
    return f"refused: an error of minibot itself{place}: {what}. Its trace: add --debug."


def _debug(arguments: argparse.Namespace, code: int) -> int:
    if arguments.debug:
        traceback.print_exc()
    return code
