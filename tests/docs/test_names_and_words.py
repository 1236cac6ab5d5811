"""Names and words: docstrings that name their thing, commit subjects, one module for one name."""

from __future__ import annotations

import ast
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.docs.product_sources import parsed
from tools.house import in_old_idiom

# Docstrings in the old idiom that are left, by part of the tree. Rewriting lowers a number, and
# whoever merges takes the lower one; nothing raises it.
OLD_IDIOM_LEFT = {"minibot": 0, "tests": 0, "tools": 0}
# First lines that are titles of committed schemas, whose bytes are pinned by manifests.
TITLES = "minibot.events.model:"

# Words of screens and pages that were replaced by a trader's (docs/STYLE.md, "Prose").
REPLACED = re.compile(
    r"made anew|made market|machine time|\bheard \S+ (m?s|min|h) ago|the fees of it|\bcheat"
    r"|\bask a run|syncs in it|this disk syncs|opening \+ entries|no rule spoke|wished to"
    r"|journaled in this|to be had|at least jail asked|rows that are none|or say it otherwise"
    r"|its sentence says|as its night took|before anything starts|that is none, stops"
    r"|unread is cut off",
    re.IGNORECASE,
)
# Texts of which sealed manifests pin the bytes.
PINNED = {"minibot.events.field_types", "minibot.events.model"}

# The last commit before the rule, and the rule.
FIRST_COMMIT = "463c865"
SUBJECT_MAX = 72

# Names that two rooms share by design: the two files of each role, and the start of a package.
SHARED_NAMES = {"__init__", "__main__", "core", "role"}
# Names of modules that stand in more than one place without such a reason. It only falls.
REPEATED_MODULES_MAX = 42


@pytest.mark.slow
@pytest.mark.parametrize("part", OLD_IDIOM_LEFT)
def test_docstring_names_its_thing_at_once(part: str, project: Path) -> None:
    """A first line begins with a noun or a verb, not with "What", "Whether" or "How"."""
    trees = parsed(project, part)

    found = [line for line in in_old_idiom(trees) if not line.startswith(TITLES)]

    assert len(trees) > 50
    assert len(found) <= OLD_IDIOM_LEFT[part], "\n".join(found)


def shown_texts(tree: ast.Module) -> str:
    """Return every text of a module but docstrings, a line each; values in a text are `5`."""
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
    }
    texts = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [getattr(part, "value", None) for part in node.values]
            texts.append("".join(part if isinstance(part, str) else "5" for part in values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts += [node.value] if id(node) not in skipped else []
    return "\n".join(texts)


@pytest.mark.slow
def test_screens_and_pages_speak_a_traders_language(project: Path) -> None:
    """No text of the product, no page by hand and no asset bears a word that was replaced."""
    said = {
        name: shown_texts(tree)
        for name, tree in parsed(project, "minibot").items()
        if name not in PINNED
    }
    pages = [
        project / "README.md",
        project / "config" / "config.v1.schema.json",
        *(page for page in (project / "docs").glob("*.md") if page.name != "DATA_CONTRACTS.md"),
        *(project / "docs" / "reference").glob("*.md"),
        *(project / "minibot" / "ops" / "web" / "assets").glob("*.[hj]*"),
    ]
    said |= {str(page.relative_to(project)): page.read_text("utf-8") for page in pages}

    found = [
        (name, word[0])
        for name, text in said.items()
        for word in REPLACED.finditer(" ".join(text.split()))
    ]

    assert len(pages) > 30
    assert found == []


@pytest.mark.process
def test_subject_of_a_commit_fits_its_line(project: Path) -> None:
    """Commits since the rule have subjects that every list of commits shows whole."""
    argv = ["git", "log", "--format=%h %s", f"{FIRST_COMMIT}..HEAD"]
    said = subprocess.run(argv, cwd=project, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip("needs git and the history of a clone")

    subjects = [line.partition(" ") for line in said.stdout.splitlines()]

    assert [(commit, text) for commit, _, text in subjects if len(text) > SUBJECT_MAX] == []


def test_module_has_a_name_of_its_own(project: Path) -> None:
    """A name says which module is meant; verbs, examples and venues bear names of their own."""
    homes: dict[str, set[str]] = defaultdict(set)
    for path in (project / "minibot").rglob("*.py"):
        place = path.parent.relative_to(project / "minibot").as_posix()
        room, _, inner = place.partition("/")
        if path.stem in SHARED_NAMES or room == "cli" or inner == "examples":
            continue
        is_venue = room == "exchanges" and (path.parent / "messages.py").is_file()
        homes[path.stem].add("exchanges/VENUE" if is_venue and inner else place)

    repeated = {name: sorted(places) for name, places in homes.items() if len(places) > 1}

    assert len(repeated) <= REPEATED_MODULES_MAX, repeated
