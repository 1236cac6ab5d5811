"""Library of examples: each keeps to the rules, trades, survives a restart; its result is shown."""

from __future__ import annotations

import ast
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from minibot.cli.main import run as cli
from minibot.cli.new_strategy import LIBRARY
from minibot.strategies.selection import SHIPPED
from tools import examples

each_example = pytest.mark.parametrize("example", list(LIBRARY))


@each_example
def test_example_begun_from_passes_the_test_that_is_written_beside_it(
    own_folder: Path, example: str
) -> None:
    """It keeps to the rules, goes in and out on a wave, and decides the same after a restart."""
    assert cli(["new-strategy", "my_idea", "--from", example, "--folder", str(own_folder)]) == 0
    spec = spec_from_file_location("test_my_idea", own_folder / "test_my_idea.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [item for name, item in vars(module).items() if name.startswith("test_")]
    assert len(tests) == 3

    for test in tests:
        test()


@each_example
def test_example_is_shipped_and_says_when_it_loses(project: Path, example: str) -> None:
    """It can be named without a file of one's own; its first lines are honest."""
    assert SHIPPED[example].__name__ == LIBRARY[example]
    idea, loses = examples.told(example)
    path = project / "minibot" / "strategies" / "examples" / f"{example}.py"

    assert idea
    assert "It loses " in (ast.get_docstring(ast.parse(path.read_text())) or "")
    assert loses.startswith(("in ", "where "))


def test_results_of_the_guide_are_those_of_the_shipped_bars(project: Path) -> None:
    """No figure of the page is older than the code: python -m tools.examples --write."""
    page = (project / "docs" / "STRATEGIES.md").read_text(encoding="utf-8")

    assert examples.written(page) == page
