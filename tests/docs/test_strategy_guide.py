"""Guide of own strategies, followed word for word: what a person types does what the page says.

A test types its blocks as far as the backtest: files into a folder of its own, commands with that
folder beside them. The whole hour, with its nights, is a campaign: `python -m tools.first_hour`.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from minibot.cli.main import parser, verb_parser, verbs
from tests.runs import Completed, verb
from tools.first_hour.blocks import (
    GUIDE,
    MINIBOT,
    README,
    PageError,
    command_of,
    guide_part,
    page_commands,
    steps_of,
)
from tools.first_hour.session import PARTS, steps, unkept

RUN_TEST = "python3 tools/with_env.py -m pytest "
# Names in capitals stand for a value, as in `minibot VERB`.
PLACEHOLDER = re.compile(r"\b[A-Z]{2,}\b")


@pytest.fixture(scope="module")
def guide() -> str:
    """The part of the page that is followed, up to its night."""
    part = guide_part(GUIDE.read_text(encoding="utf-8"))
    return part[: part.index("**5.")]


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


def typed(line: str, folder: Path, var: Path) -> Completed:
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
    for step in steps_of(guide):
        if step.file:
            path = folder / Path(step.file).name
            assert path.exists(), "the guide replaces what new-strategy wrote"
            path.write_text(step.text, encoding="utf-8")
        for line in step.commands:
            if line.startswith(RUN_TEST):
                tests += run_tests(folder / Path(line.removeprefix(RUN_TEST)).name)
                continue
            done = typed(line, folder, var_dir)
            assert done.code == 0, done.err
            if line.startswith("minibot backtest"):
                results.append(json.loads(done.out))
    for name in [name for name in sys.modules if name.startswith("minibot_own_")]:
        del sys.modules[name]

    assert tests > 0
    assert len(results) == 1
    assert results[0]["figures"]["trades"] > 1
    assert {trade["exit_reason"] for trade in results[0]["trades"][:-1]} == {"signal_exit"}


@pytest.mark.parametrize("page", [GUIDE, README], ids=lambda page: page.stem)
def test_every_command_of_a_page_is_one_that_the_parser_takes(page: Path) -> None:
    """Nights and verbs too that no test of this file runs, with their flags."""
    lines = [each for each in page_commands(page.read_text("utf-8")) if each.startswith(MINIBOT)]
    lines = [each for each in lines if not each.startswith(("minibot VERB", "minibot --help"))]
    assert len(lines) >= 5

    for line in lines:
        words = shlex.split(line)[1:]
        assert verbs(words[0]), line
        if PLACEHOLDER.search(line):
            known = verb_parser(parser(words[0]), words[0]).format_help()
            assert [each for each in words if each.startswith("--") and each not in known] == []
        elif len(words) > 1:  # A verb alone may only be named.
            parser(words[0]).parse_args(words)


def test_hour_takes_every_step_out_of_the_pages() -> None:
    """The session of `tools.first_hour` finds each command that it types, and types each block."""
    hour = list(steps())
    guided = [step for step in hour if step.page == GUIDE.name]

    assert [step.file for step in guided if step.file] == [
        "strategies/pullback.py",
        "strategies/test_pullback.py",
    ]
    typed_lines = [step.command for step in guided if step.command]
    assert typed_lines == list(page_commands(guide_part(GUIDE.read_text("utf-8"))))
    assert {"night", "backtest"} <= {line.split()[1] for line in typed_lines}
    assert [step.part for step in hour] == sorted((step.part for step in hour), key=PARTS.index)


def test_page_without_a_command_of_the_hour_is_refused() -> None:
    """A command that a page no longer has is named, not left out."""
    with pytest.raises(PageError, match="minibot demo"):
        command_of("```\nminibot demonstrate\n```\n", "minibot demo")


def test_promise_is_kept_across_line_breaks_and_missed_where_no_screen_holds_it() -> None:
    """A narrow terminal breaks lines; what is promised still stands there."""
    screens = ["result -1.10\nverify clean,\n  replay identical"]

    assert list(unkept(["verify clean, replay identical", "won"], screens)) == ["won"]
