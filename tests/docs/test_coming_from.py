"""The page for people from other bots: every name of minibot's on it exists; and `AGENTS.md`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from minibot.cli.main import ALIASES, parser, verb_parser, verbs
from minibot.runtime.configuration.config_schema import config_schema
from minibot.strategies import decision, protocol
from minibot.strategies.view import View

WORDS_MAX = 1_000
AGENT_LINES_MAX = 60
STATES = ("same", "different", "absent")
DECISIONS = ("buy", "sell", "adjust", "hold")


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    """Text of the page."""
    return (project / "docs" / "COMING_FROM.md").read_text(encoding="utf-8")


def sections(page: str) -> dict[str, list[list[str]]]:
    """Return the rows of each section's table, without its head."""
    found: dict[str, list[list[str]]] = {}
    for part in page.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
        found[title] = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]
    return {title: rows for title, rows in found.items() if rows}


def test_page_is_short_and_each_row_has_a_verdict(page: str) -> None:
    """A reader finds same, different or absent in each row."""
    assert len(page.split()) <= WORDS_MAX
    rows = [row for rows in sections(page).values() for row in rows]
    assert len(rows) > 50
    for row in rows:
        assert row[-1].startswith(STATES) or row[-1].removeprefix("| ").startswith(STATES), row


def test_every_key_on_the_page_is_one_of_the_profile(page: str) -> None:
    """A key that was renamed is renamed here."""
    known = config_schema()["properties"]
    keys = re.findall(r"`((?:risk|portfolio|binance|strategy|market|execution)\.[a-z_0-9]+)", page)

    assert len(set(keys)) > 15
    for key in keys:
        section, _, name = key.partition(".")
        assert name in known[section]["properties"], key


def test_every_verb_on_the_page_is_one(page: str) -> None:
    """Names of verbs and aliases, with the words behind them, are what the command line takes."""
    rows = sections(page)["Verbs of freqtrade"]
    names = [
        name for row in rows for name in re.findall(r"`(?:minibot )?([a-z-]+)(?: [^`]*)?`", row[1])
    ]
    names += re.findall(r"`minibot ([a-z-]+)", page)
    names += re.findall(r"also `(?:minibot )?([a-z-]+)", page)

    assert len(names) > 20
    for name in names:
        assert name in ALIASES or verbs(name), name


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        *(("config", "show"), ("config", "--origin"), ("new-strategy", "--from")),
        ("list-data", "--gaps"),
        *(("optimise", "--vary"), ("explain", "--trade")),
        *(("night", "--every-evening"), ("night", "--timeframe")),
    ],
)
def test_every_flag_on_the_page_is_one_of_its_verb(page: str, verb: str, word: str) -> None:
    """Flags and words of the page stand in the verb's help."""
    assert word in page
    assert word in verb_parser(parser(verb), verb).format_help()


def test_every_name_of_a_strategy_on_the_page_exists(page: str) -> None:
    """Methods, arguments of decisions, and members of the view are those of the code."""
    methods = re.findall(r"`(on_bar|on_tick|needs|state|restore)\b", page)
    for name in methods:
        assert hasattr(protocol.Strategy, name), name
    for name in re.findall(r"`view\.([a-z_]+)", page):
        assert hasattr(View, name) or name in View.__slots__, name
    for name, argument in re.findall(rf"`({'|'.join(DECISIONS)})\(([a-z_]+)=", page):
        assert argument in inspect.signature(getattr(decision, name)).parameters, argument


def test_page_for_assistants_is_short_and_its_files_exist(project: Path) -> None:
    """`AGENTS.md` fits a screen or two, and names what is there."""
    text = (project / "AGENTS.md").read_text(encoding="utf-8")

    assert len(text.splitlines()) <= AGENT_LINES_MAX
    named = re.findall(r"`((?:docs|tests|tools|minibot|\.ci)/[\w./]+)`", text)
    assert len(named) >= 5
    for name in named:
        assert (project / name).exists(), name
    assert "tests/cli/test_cli_ways_in.py" in text
    assert (project / "tests/cli/test_cli_ways_in.py").exists()
