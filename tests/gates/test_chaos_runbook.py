"""Runbook of incidents: each STOP code with meaning, losses and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minibot.cli.main import verbs
from minibot.events.reasons import REASONS, STOP_GROUP, codes
from minibot.gates.chaos_catalogue import FAULTS

RUNBOOK = Path(__file__).resolve().parents[2] / "docs" / "runbook_incident.md"


def sections() -> dict[str, str]:
    """Return the text of each code's section."""
    parts = re.split(r"^### (\w+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_runbook_has_one_section_for_each_stop_code_and_no_other() -> None:
    """The runbook has exactly one section for each STOP code."""
    assert sorted(sections()) == sorted(codes(STOP_GROUP))


@pytest.mark.parametrize("code", codes(STOP_GROUP))
def test_runbook_says_what_the_code_means_and_what_to_do(code: str) -> None:
    """Meaning and remedy equal those that the commands print."""
    text = sections()[code]

    assert REASONS[code].meaning in text
    assert REASONS[code].remedy in text


@pytest.mark.slow
def test_runbook_names_only_drills_and_commands_that_exist() -> None:
    """Drills and commands of the runbook exist, and a drill ends with its section's code."""
    for code, text in sections().items():
        for name in re.findall(r"`minibot chaos (\w+)`", text):
            assert code in FAULTS[name].codes
    named = re.findall(r"`minibot ([a-z-]+)", RUNBOOK.read_text(encoding="utf-8"))
    assert set(named) <= set(verbs())


def test_runbook_says_of_each_group_what_still_stands() -> None:
    """Each group of the runbook has a sentence about what is not lost."""
    groups = RUNBOOK.read_text(encoding="utf-8").split("\n## ")[1:]

    assert groups
    assert all(group.count("What is intact: ") == 1 for group in groups)
