"""minibot help: all verbs by group, or the flags of one verb."""

from __future__ import annotations

import argparse

from minibot.cli.main import ALIASES, CANNOT_RUN, parser, print_unknown_verb, verb_parser, verbs
from minibot.cli.support.output import show, show_json
from minibot.report.columns import width_now
from minibot.runtime.verb_groups import GROUPS, overview

HELP = "all verbs by group, or the flags of one verb"
EXAMPLE = "minibot help night"
_NAME_WIDTH = 17


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of this verb."""
    command.add_argument("topic", nargs="?", metavar="VERB", help="the verb whose flags to show")
    command.add_argument("--all", action="store_true", help="each verb with what it does")


def run(arguments: argparse.Namespace) -> int:
    """Print the overview, every verb with a line, or one verb's help; 2 for an unknown verb."""
    topic = arguments.topic
    if topic is None:
        document = {name: list(names) for name, (_, names) in GROUPS.items()}
        show(arguments, document, _every_verb() if arguments.all else [overview(width_now())])
        return 0
    if not verbs(topic):
        print_unknown_verb(topic)
        return CANNOT_RUN
    text = verb_parser(parser(topic), topic).format_help()
    if arguments.json:
        show_json({"verb": ALIASES.get(topic, topic), "help": text})
    else:
        print(text, end="")
    return 0


def _every_verb() -> list[str]:
    modules = verbs()
    lines = []
    for name, (purpose, names) in GROUPS.items():
        rows = [f"  {verb:<{_NAME_WIDTH}}{modules[verb].HELP}" for verb in names]
        lines += ["", f"{name}: {purpose}", *rows]
    return lines[1:]
