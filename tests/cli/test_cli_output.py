"""Output lines: fitted to a terminal without loss, unchanged in a pipe."""

from __future__ import annotations

import io
import os
import shutil
from contextlib import redirect_stdout

import pytest

from minibot.cli.support.output import wrapped

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
    """Lines fit the terminal; only a path longer than a line exceeds it, whole."""
    lines = on_screen(columns, LINES, monkeypatch)

    assert " ".join(lines).split() == " ".join(LINES).split()
    assert {line for line in lines if len(line) > columns} <= {LINES[1]}


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
