"""Docs as a site: every page has its place in the menu, and a dead link is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.site.__main__ import build
from tools.site.conf import menu

# Of the parser's own use of Sphinx.
pytestmark = pytest.mark.filterwarnings("ignore::sphinx.deprecation.RemovedInSphinx11Warning")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a project with two pages, of which one links to the other and to a file of code."""
    (tmp_path / "docs" / "reference").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "README.md").write_text("# A\n\n[using](docs/USING.md), [code](code/README.md)\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\nNone.\n")
    (tmp_path / "code" / "README.md").write_text("# Code\n")
    (tmp_path / "docs" / "USING.md").write_text("# Using\n\n[back](../README.md#a)\n")
    (tmp_path / "docs" / "reference" / "new.md").write_text("# New\n\nA page.\n")
    return tmp_path


def test_menu_names_each_page_once(project: Path) -> None:
    """A page that nobody put into the menu would be found by search alone."""
    text = menu(project / "docs")
    named = [line for line in text.splitlines() if line.startswith("docs/")]

    pages = [path.relative_to(project) for path in (project / "docs").rglob("*.md")]
    assert sorted(named) == sorted(page.with_suffix("").as_posix() for page in pages)


@pytest.mark.slow
def test_site_of_sound_pages_is_built_with_search(written: Path) -> None:
    """Each page is there, and the index of the search."""
    assert build(written, written / "out") == 0

    assert (written / "out" / "docs" / "reference" / "new.html").is_file()
    assert (written / "out" / "searchindex.js").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("link", ["[gone](GONE.md)", "[gone](USING.md#gone)"])
def test_dead_link_to_a_page_or_heading_is_an_error(written: Path, link: str) -> None:
    """A link that leads nowhere is no site."""
    with (written / "docs" / "USING.md").open("a") as file:
        file.write(f"\n{link}\n")

    assert build(written, written / "out") == 1


@pytest.mark.slow
def test_links_among_leftovers_of_runs_are_not_followed(written: Path, tmp_path: Path) -> None:
    """A link in `var` is followed neither to other pages nor round in a circle."""
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    (outside / "docs").mkdir(parents=True)
    (outside / "docs" / "FOREIGN.md").write_text("# Foreign\n\n[gone](GONE.md)\n")
    (written / "var").mkdir()
    (written / "var" / "docs").symlink_to(outside / "docs")
    for name in ("one", "two"):
        (written / "var" / name).symlink_to(written)

    assert build(written, written / "out") == 0
