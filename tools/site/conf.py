"""Settings of Sphinx for the site of the docs; `python -m tools.site` builds it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config

project = "minibot"
extensions = ["myst_parser"]
PAGES: Final = ("README.md", "CHANGELOG.md", "docs")
include_patterns = ["README.md", "CHANGELOG.md", "docs/**"]
exclude_patterns = ["docs/pictures/**"]
root_doc = "README"
html_theme = "furo"
html_title = "minibot"
html_copy_source = False
myst_heading_anchors = 4
# No lexer knows diagrams; they stand as their text.
suppress_warnings = ["misc.highlighting_failure"]

# The order of the menu; a page that is not named here comes at the end of its group.
GROUPS: Final = {
    "Use": ("USING", "STRATEGIES", "BACKTEST", "DATA", "MARKET", "REPLAY"),
    "Understand": ("SPEC", "ARCH", "INTERNALS", "LIMITS", "STATE", "PERFORMANCE"),
    "Change": ("STYLE", "ADDING", "TESTING", "DECISIONS"),
    "Reference": (),
    "Read by strangers": (),
}
FOLDERS: Final = {"reference": "Reference", "reading": "Read by strangers"}
LINK: Final = re.compile(r"\[([^\]\n]+)\]\((?!https?:)([^)#\s]+\.md)(#[^)\s]*)?\)")


def menu(docs: Path) -> str:
    """Return the menu of all pages below a folder `docs`, as directives."""
    rest = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    named = {page for pages in GROUPS.values() for page in pages}
    lines: list[str] = []
    for group, pages in GROUPS.items():
        more = sorted(
            page
            for page in rest - named
            if FOLDERS.get(page.rpartition("/")[0], "Understand") == group
        )
        lines += ["```{toctree}", ":hidden:", f":caption: {group}", ""]
        lines += [f"docs/{page}" for page in (*(page for page in pages if page in rest), *more)]
        lines += ["CHANGELOG"] if group == "Change" else []
        lines += ["```", ""]
    return "\n".join(lines)


def read_source(app: Sphinx, page: str, content: list[str]) -> None:
    """Give the first page its menu, and name files of the code instead of linking to them."""
    folder = Path(app.srcdir, page).parent

    def plain(link: re.Match[str]) -> str:
        target = folder / link[2]
        name = target.resolve().relative_to(Path(app.srcdir).resolve()).as_posix()
        is_page = name.startswith("docs/") or name in ("README.md", "CHANGELOG.md")
        return link[1] if target.is_file() and not is_page else link[0]

    content[0] = LINK.sub(plain, content[0])
    if page == root_doc:
        content[0] += "\n\n" + menu(Path(app.srcdir, "docs"))


def leave_out_the_rest(app: Sphinx, config: Config) -> None:
    """Exclude every other file and folder by name.

    Sphinx's search for pages follows links, and what a run or a drill left in `var` may link to
    anything: without this the search walks the whole file system.
    """
    others = (path.name for path in Path(app.srcdir).iterdir() if path.name not in PAGES)
    config.exclude_patterns = [*config.exclude_patterns, *others]


def setup(app: Sphinx) -> None:
    """Connect what chooses and changes the sources."""
    app.connect("config-inited", leave_out_the_rest)
    app.connect("source-read", read_source)
