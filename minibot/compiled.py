"""Compiled cores: with `MINIBOT_COMPILED=1` modules come from `build/compiled` if they are there.

`python -m tools.compile` builds them from the sources here; nothing in the package changes, and
without the variable none of this is used. A build of other sources than these is refused, so the
code that runs is the code that can be read.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Final

from minibot import listed

SWITCH: Final = "MINIBOT_COMPILED"
RECORD: Final = "build.json"
PROJECT: Final = Path(__file__).resolve().parent.parent
REMEDY: Final = f"Build it: python -m tools.compile; or unset {SWITCH}"

# Of a walk through rows, what compiled cores save at least: B5, B8 in docs/PERFORMANCE.md.
SHARE_SAVED: Final = 0.5
OFFERED_S_MIN: Final = 10.0


class Compiled(MetaPathFinder):
    """Finder of modules in a build."""

    def __init__(self, modules: Mapping[str, Path]) -> None:
        self.modules = dict(modules)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return the spec of a compiled module, or None for one that is not compiled."""
        file = self.modules.get(fullname)
        return None if file is None else spec_from_file_location(fullname, file)


def build_folder(tag: str = sys.implementation.cache_tag or "") -> Path:
    """Return the build folder for a Python by its cache tag, such as `cpython-311`."""
    return PROJECT / "build" / "compiled" / tag


def stale(folder: Path) -> str | None:
    """Return why a build cannot be used, or None if it was built from the present sources."""
    path = folder / RECORD
    if not path.is_file():
        return f"there is no build in {folder}"
    record = json.loads(path.read_bytes())
    for name, digest in record["sources"].items():
        if _sha256(PROJECT / name) != digest:
            return f"{name} is not what the build in {folder} was made from"
    libraries = record.get("libraries", {})
    if sorted(libraries) != sorted(record["modules"].values()):
        return f"the build in {folder} does not list its libraries"
    for name, digest in libraries.items():
        if _sha256(folder / name) != digest:
            return f"{name} is not the library that was built into {folder}"
    return None


def offer(walked_s: float) -> str:
    """Return the time that compiled cores would save, and how; empty if it is too little.

    Args:
        walked_s: What an interpreted walk of a shipped strategy through rows took.
    """
    saved_s = walked_s * SHARE_SAVED
    if saved_s <= OFFERED_S_MIN or os.environ.get(SWITCH):
        return ""
    if stale(build_folder()) is None:
        return f"{SWITCH}=1 takes the compiled cores: about {saved_s:.0f} s less"
    return (
        f"compiled cores would take about {saved_s:.0f} s less: python -m tools.compile --quick, "
        f"once for these sources, some ten minutes of CPU and a C compiler; then {SWITCH}=1"
    )


def unlisted(folder: Path) -> str | None:
    """Return a file of a build that the code list lacks; None if there is none, or no list."""
    if not listed.is_on or listed.files is None:
        return None
    libraries = json.loads((folder / RECORD).read_bytes())["libraries"]
    for name in (RECORD, *libraries):
        path = (folder / name).relative_to(PROJECT).as_posix()
        if listed.files.get(path) != _sha256(folder / name):
            return f"{path} is not listed in staging/deployed.json"
    return None


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def take_into_use(folder: Path | None = None) -> None:
    """Use compiled modules from now on, by default those of the build for this Python.

    Raises:
        ImportError: There is no such build, or it was built from other sources.
    """
    folder = folder or build_folder()
    why = stale(folder) or unlisted(folder)
    if why is not None:
        raise ImportError(f"{SWITCH} is set, but {why}. {REMEDY}")
    modules = json.loads((folder / RECORD).read_bytes())["modules"]
    found = Compiled({name: folder / file for name, file in modules.items()})
    sys.meta_path.insert(0, found)
