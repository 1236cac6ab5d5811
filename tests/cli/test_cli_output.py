"""Output lines: fitted to a terminal without loss, unchanged in a pipe."""

from __future__ import annotations

import io
import os
import re
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from minibot.cli.backtest import sources_text
from minibot.cli.support import output
from minibot.cli.support.output import progress_bar, say, wrapped
from minibot.runtime.paths import shown_path
from tests.waiting import DEADLINE_S, wait_until

LINES = [
    "  23:54:38.834  signals:3         BTCUSDT HOLD no_position: checks.confidence 79, rule 80; "
    "checks.tick_age_ms 14, rule 0\n      delay: strategy_role was 14 ms late",
    "kept    /somewhere/" + "deep/" * 20,
    "      a.name.without.label: " + "a value | " * 10,
    "a sentence of many words " * 8,
    "",
]


class Screen(io.StringIO):
    """Standard output that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return True, like a terminal."""
        return True


def on_screen(columns: int, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return lines as a terminal of a given width gets them."""
    size = os.terminal_size((columns, 24))
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: size)
    with redirect_stdout(Screen()):
        return wrapped(lines)


@pytest.mark.parametrize("columns", [80, 120])
def test_lines_fit_a_terminal_and_no_word_is_lost(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines fit the terminal; only a path longer than a line exceeds it, on a line of its own."""
    lines = on_screen(columns, LINES, monkeypatch)

    assert " ".join(lines).split() == " ".join(LINES).split()
    assert {line for line in lines if len(line) > columns} <= {LINES[1].split()[-1]}


def test_rest_of_a_line_stands_below_the_text_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A continued line is indented to its text: behind the label, or a little deeper."""
    first, rest, delay = on_screen(80, LINES[:1], monkeypatch)

    assert first.startswith("  23:54:38.834  signals:3")
    assert len(rest) - len(rest.lstrip()) == first.index("signals:3")
    assert delay == "      delay: strategy_role was 14 ms late"
    assert on_screen(80, LINES[2:3], monkeypatch)[1].startswith(" " * 8)


def test_lines_in_a_pipe_stand_as_they_are() -> None:
    """Lines in a pipe are unchanged, one fact per line."""
    assert wrapped(LINES) == LINES


def test_word_that_is_longer_than_the_indent_allows_stays_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A path or hash that fits the terminal is not broken for the sake of the indent."""
    path = "var/backtests/" + "x" * 60
    shown = on_screen(80, [f"kept    {path}; and a few words more"], monkeypatch)

    assert any(path in line for line in shown)
    assert max(map(len, shown)) <= 80


def test_long_label_stands_above_its_text_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command and what it does are not read as one sentence."""
    row = "  minibot new-strategy my_idea  write a strategy of your own"

    assert on_screen(40, [row], monkeypatch) == [
        "  minibot new-strategy my_idea",
        "    write a strategy of your own",
    ]
    assert on_screen(80, [row], monkeypatch) == [row]


def test_message_is_wrapped_like_what_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal breaks no word either; in a pipe it is one line."""
    text = "refused: " + "something is wrong " * 10
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((40, 24)))

    with redirect_stderr(Screen()) as screen:
        say(text)
    with redirect_stderr(io.StringIO()) as pipe:
        say(text)

    assert max(map(len, screen.getvalue().splitlines())) <= 40
    assert screen.getvalue().split() == text.split()
    assert pipe.getvalue() == f"{text}\n"


def test_paths_below_the_working_folder_are_shown_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long paths hide the message; a path elsewhere, and an address, stay as they are."""
    monkeypatch.chdir(tmp_path)
    below, above = tmp_path / "var" / "runs", tmp_path.parent / "elsewhere"
    lines = [f"no run under {below}: {below}; run:{below}", f"{above}", f"file://{below}"]

    assert wrapped(lines) == [
        f"no run under {Path('var/runs')}: {Path('var/runs')}; run:{Path('var/runs')}",
        f"{above}",
        f"file://{below}",
    ]
    assert shown_path(below) == "var/runs"
    assert shown_path(above) == str(above)


def test_progress_names_a_single_source_and_counts_several() -> None:
    """Five paths on each line of progress would bury it."""
    assert sources_text(["klines:a.csv"]) == "klines:a.csv"
    assert sources_text(["klines:a.csv", "klines:b.csv"]) == "2 sources"


def test_progress_in_a_pipe_is_a_line_now_and_then_and_none_for_short_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Long work without a word looks hung; short work needs no line."""
    monkeypatch.setattr(output, "PROGRESS_EVERY_S", DEADLINE_S)
    with redirect_stderr(io.StringIO()) as short, progress_bar("short") as show_progress:
        show_progress(1, 2)
    monkeypatch.setattr(output, "PROGRESS_EVERY_S", 0.01)
    with redirect_stderr(io.StringIO()) as long, progress_bar("long") as show_progress:
        show_progress(1, 4)
        wait_until(lambda: len(re.findall(r"25 %, \d+ s\n", long.getvalue())) > 1, "two lines")

    assert short.getvalue() == ""
    # How many lines come before the first word of progress is up to the machine.
    assert re.match(r"(long: \d+ s\n)*(long: 25 %, \d+ s\n){2}", long.getvalue())
