"""Build the docs as a site with search.

    python -m tools.site [FOLDER]      write the site (default: var/site), 1 for any dead link

Needs no network, and the site asks for none. Every warning is an error: a link to a page or heading
that is not there, a page that no menu names.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sphinx.cmd.build import build_main

PROJECT = Path(__file__).resolve().parents[2]


def build(project: Path, folder: Path) -> int:
    """Build the site of a project into a folder; return 0, or 1 if a page is amiss."""
    arguments = ["--builder", "html", "--quiet", "--fail-on-warning", "--keep-going"]
    arguments += ["--conf-dir", str(Path(__file__).parent), str(project), str(folder)]
    return 1 if build_main(arguments) else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Build the site and print where it is."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=PROJECT / "var" / "site")
    folder = parser.parse_args(argv).folder
    code = build(PROJECT, folder)
    if not code:
        pages = sum(1 for _ in folder.rglob("*.html"))
        print(f"{pages} pages; begin with {folder / 'README.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
