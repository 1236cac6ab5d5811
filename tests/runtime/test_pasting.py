"""Words of a command that a screen tells: pasted into the shell, they arrive as given."""

from __future__ import annotations

import shlex
from pathlib import PureWindowsPath
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.runtime import pasting
from minibot.runtime.pasting import in_double_quotes, pasted, with_env

LETTERS = st.text(alphabet="ab \\\"'&=[]{},:\u00fc-.", max_size=12)


def taken(line: str) -> list[str]:
    """Return the words of a command line as a program of Windows reads them, from its rules."""
    words, word, quoted, begun, at = [], "", False, False, 0
    while at < len(line):
        slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
        at += slashes
        follows = line[at : at + 1]
        begun = begun or slashes > 0
        if follows == '"':
            word += "\\" * (slashes // 2)
            at += 1
            begun = True
            if slashes % 2:
                word += '"'
            else:
                quoted = not quoted
            continue
        word += "\\" * slashes
        if follows == " " and not quoted:
            if begun:
                words.append(word)
            word, begun = "", False
        elif follows:
            word, begun = word + follows, True
        at += 1
    return [*words, word] if begun else words


@pytest.mark.row("N-124")
@given(st.lists(LETTERS, max_size=4))
def test_words_in_double_quotes_reach_a_program_of_windows_as_given(words: list[str]) -> None:
    """Whatever a word holds, a program of Windows gets that word."""
    assert taken(in_double_quotes(words)) == words


@pytest.mark.row("N-124")
def test_path_that_windows_has_to_quote_gets_no_single_quotes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The command prompt would take single quotes for a part of the path."""
    path = str(PureWindowsPath("C:/Users/J\u00fcrgen M/b"))
    monkeypatch.setattr(pasting, "sys", SimpleNamespace(platform="win32"))

    assert pasted("verify", path) == 'verify "C:\\Users\\J\u00fcrgen M\\b"'
    assert pasted(r"C:\bots\var") == r"C:\bots\var"


@pytest.mark.row("N-124")
def test_command_of_the_environment_is_one_that_windows_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There `python3` is a program that offers to fetch Python from a shop."""
    monkeypatch.setattr(pasting, "sys", SimpleNamespace(platform="win32"))

    assert with_env("-m minibot doctor") == r"py tools\with_env.py -m minibot doctor"


def test_words_elsewhere_are_those_of_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere a shell takes the words as given."""
    monkeypatch.setattr(pasting, "sys", SimpleNamespace(platform="linux"))
    words = ["--set", 'a.b=["c d"]', "it's"]

    assert shlex.split(pasted(*words)) == words
