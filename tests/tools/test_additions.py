"""tools.additions: the number of files that an addition's example touched."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.additions import FILES_MAX, WITHOUT, examples

pytestmark = pytest.mark.process


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_newest_commit_of_a_kind_is_its_example_and_generated_files_are_apart(
    tmp_path: Path,
) -> None:
    """A commit names its kind in a line of its own; generated files count apart."""

    def commit(message: str, *names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            with (tmp_path / name).open("a") as file:
                file.write("x\n")
        author = ("-c", "user.name=a", "-c", "user.email=a@b")
        for words in (("add", "."), (*author, "commit", "-q", "-m", message)):
            subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)

    subprocess.run(["git", "init", "-q", tmp_path], check=True, capture_output=True)
    commit("old\n\nAddition: verb", "a.py")
    commit("new\n\nWhy.\n\nAddition: verb", "a.py", "b.py", "docs/rows.tsv")
    commit("other\n\nNo Addition: verb here", "c.py")

    (found,) = examples(tmp_path).items()

    assert found[0] == "verb"
    assert found[1].subject == "new"
    assert found[1].by_hand == ["a.py", "b.py"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_page_of_additions_names_the_example_of_each_kind(project: Path) -> None:
    """Each kind on the page has the commit that is counted, within its limit, or says why none."""
    page = (project / "docs" / "ADDING.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## An? (.+)\n\n(.+)$", page, re.MULTILINE))
    argv = ["git", "-C", str(project), "rev-parse", "--is-shallow-repository"]
    if subprocess.run(argv, capture_output=True, text=True, check=False).stdout != "false\n":
        pytest.skip("needs the history of a clone")

    found = examples(project)

    assert sections.keys() == FILES_MAX.keys() == found.keys() | WITHOUT.keys()
    for kind, example in found.items():
        named = re.fullmatch(r"Example: `([0-9a-f]{8})`\.", sections[kind])
        assert named is not None, kind
        assert example.commit[:8] == named[1], kind
        assert len(example.by_hand) <= FILES_MAX[kind], kind
    assert all(WITHOUT[kind] in sections[kind] for kind in WITHOUT)
