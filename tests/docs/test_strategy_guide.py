"""Guide of own strategies, followed word for word: what a person types does what the page says.

A script types its blocks as far as the backtest: files into a folder of its own, commands with that
folder beside them. The night of step 5 is the demo's, which has tests of its own.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NamedTuple

import pytest

from minibot.cli.main import parser
from tests.runs import Said, verb

BLOCK = re.compile(r"^([^\n]*)\n\n```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"becomes `strategies/(\w+\.py)`")
RUN_TEST = "python3 tools/with_env.py -m pytest "


class Step(NamedTuple):
    """A block of the guide: the file that it becomes, or the commands that it holds."""

    file: str
    text: str


@pytest.fixture(scope="module")
def guide() -> str:
    """The part of the page that is followed."""
    page = Path(__file__).parents[2] / "docs" / "STRATEGIES.md"
    text = page.read_text(encoding="utf-8")
    return text[text.index("## From an idea") : text.index("**5.")]


def steps(guide: str) -> Iterator[Step]:
    """Yield the blocks in the order of the page."""
    for said, language, text in re.findall(BLOCK, guide):
        found = FILE.search(said)
        assert (found is not None) == (language == "python"), said
        yield Step("" if found is None else found[1], text)


def run_tests(path: Path) -> int:
    """Run the tests of a file as pytest does, without its start; return how many there are."""
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = [item for name, item in vars(module).items() if name.startswith("test_")]
    for test in tests:
        test()
    return len(tests)


def typed(line: str, folder: Path, var: Path) -> Said:
    """Type a command with the test's own folder instead of `strategies/`."""
    assert line.startswith("minibot ")
    words = [
        word.replace("strategies/", f"{folder}/") if "/" in word else word
        for word in shlex.split(line)[1:]
    ]
    if words[0] == "new-strategy":
        words += ["--folder", str(folder)]
    if words[0] == "backtest":
        # One fill assumption of three, for the time that a suite has.
        words += ["--set", f"strategy.folder={folder}", "--fills", "touch", "--json"]
    return verb(var, *words)


@pytest.mark.process
def test_guide_followed_to_the_backtest_trades_by_its_own_exits(
    guide: str, tmp_path: Path, var_dir: Path
) -> None:
    """From nothing to trades of one's own idea, each of which its own SELL has ended."""
    folder, results, tests = tmp_path / "strategies", [], 0
    for file, text in steps(guide):
        if file:
            assert (folder / file).exists(), "the guide replaces what new-strategy wrote"
            (folder / file).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            if line.startswith(RUN_TEST):
                tests += run_tests(folder / Path(line.removeprefix(RUN_TEST)).name)
                continue
            said = typed(line, folder, var_dir)
            assert said.code == 0, said.err
            if line.startswith("minibot backtest"):
                results.append(json.loads(said.out))
    for name in [name for name in sys.modules if name.startswith("minibot_own_")]:
        del sys.modules[name]

    assert tests > 0
    assert len(results) == 1
    assert results[0]["figures"]["trades"] > 1
    assert {trade["exit_reason"] for trade in results[0]["trades"][:-1]} == {"signal_exit"}


def test_every_command_of_the_guide_is_one_that_the_parser_takes() -> None:
    """The nights too, which no test of this file runs."""
    page = (Path(__file__).parents[2] / "docs" / "STRATEGIES.md").read_text(encoding="utf-8")
    lines = re.findall(r"^minibot .*$", page, re.MULTILINE)
    assert len(lines) >= 5

    for line in lines:
        words = shlex.split(line)[1:]
        parser(words[0]).parse_args(words)
