"""The command line as a document, taken from the parser itself.

    python -m tools.commands --check    exit 1 when docs/reference/commands.md says otherwise
    python -m tools.commands --write    write it anew

A test holds the two equal, so a flag without its line in the document does not pass (C-24).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from minibot.cli.main import ALIASES, parser, verbs

PROJECT: Final = Path(__file__).resolve().parent.parent
DOCUMENT: Final = PROJECT / "docs/reference/commands.md"
HEAD: Final = """\
# Commands

Written from the parser by `python -m tools.commands --write`; a test holds the two equal.

`minibot VERB` stands for `python3 tools/with_env.py -m minibot VERB`. Every verb takes `--help`,
`--json` (one JSON document on standard output), `--var DIR` (where runs live, `var` by default) and
`--debug` (tracebacks). Exit codes: 0 fine, 1 a check failed, 2 cannot run, 3 not running,
4 configuration, 10 STOPPED.
"""
COMMON: Final = frozenset({"help", "json", "var", "debug"})


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every verb, by name."""
    known = verbs()
    return {
        name: command
        for action in parser()._actions
        if isinstance(action.choices, dict)
        for name, command in sorted(action.choices.items())
        if name in known
    }


def document() -> str:
    """Return the whole document."""
    modules = verbs()
    parts = [HEAD]
    for name, command in commands().items():
        also = [alias for alias, verb in ALIASES.items() if verb == name]
        title = f"## {name}" + (f" (also {', '.join(also)})" if also else "")
        rows = list(_rows(command))
        table = ["| argument | what it does |", "| --- | --- |", *rows] if rows else []
        example = f"Example: `{modules[name].EXAMPLE}`"
        parts.append("\n".join([title, "", _sentence(modules[name].HELP), "", example]))
        if table:
            parts.append("\n".join(table))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _rows(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if action.dest in COMMON or action.help == argparse.SUPPRESS:
            continue
        name = ", ".join(action.option_strings) or (action.metavar or action.dest)
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        # As `--help` shows it: argparse's own formatting, in which %% is a percent sign.
        text = command._get_formatter()._expand_help(action) if action.help else ""
        text = text.replace("|", "\\|")
        yield f"| `{name}`{choices} | {text} |"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def main(argv: Sequence[str] | None = None) -> int:
    """Print, check or write the document; exit code 1 when the committed one is stale."""
    flags = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    flags.add_argument("--check", action="store_true", help="exit 1 when the document is stale")
    flags.add_argument("--write", action="store_true", help="write the document")
    arguments = flags.parse_args(argv)
    text = document()
    if arguments.write:
        DOCUMENT.write_text(text, encoding="utf-8")
    same = DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == text
    print(f"{DOCUMENT.name}: {'as the parser says' if same else 'stale, write it with --write'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
