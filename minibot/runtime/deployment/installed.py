"""Integrity of installed packages: a night has to import exactly what was installed.

Every wheel brings a `RECORD` with the sha256 of its files. A night under a code list compares its
imports with that. It finds a package edited in `.venv`, a library placed next to a module, a `.pth`
file or a `sitecustomize` that loads other code, and an environment that uses the system's packages.
It does not find a `RECORD` that was rewritten along with its package (docs/THREATS.md).

Only the standard library; part of `python -m minibot.runtime.deployment.bytecode`.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import locale
import os
import re
import site
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES, all_suffixes
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

CACHE: Final = "__pycache__"
CUSTOM: Final = ("sitecustomize", "usercustomize")
_NAME: Final = re.compile(r"^[A-Za-z0-9._-]+")
_SYSTEM: Final = re.compile(r"^include-system-site-packages\s*=\s*true\s*$", re.M | re.I)
_CODE: Final = (*all_suffixes(), *EXTENSION_SUFFIXES, ".pth", ".dll", ".dylib")


def problems(project: Path) -> list[str]:
    """Return packages that differ from their installation, one `name: why` each."""
    packages = list(_packages(project))
    recorded = {
        os.path.normpath(str(file.locate())) for package in packages for file in package.files or ()
    }
    found = [*_environment(), *_paths(recorded)]
    for package in packages:
        found += _changed(package)
    return [*found, *_strangers(packages, recorded)]


def _packages(project: Path) -> Iterator[Distribution]:
    """Yield the packages that a night needs, and their dependencies."""
    with (project / "pyproject.toml").open("rb") as file:
        waiting = list(tomllib.load(file)["project"]["dependencies"])
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        named = _NAME.match(requirement)
        name = re.sub(r"[-_.]+", "-", named.group()).lower() if named else ""
        if name in seen or "extra ==" in requirement:
            continue
        seen.add(name)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # For another system, or missing, which another check reports.
        waiting += package.requires or ()
        yield package


def _environment() -> Iterator[str]:
    if sys.flags.no_site:
        return  # A process under the list uses none of these.
    config = Path(sys.prefix) / "pyvenv.cfg"
    if config.is_file() and _SYSTEM.search(config.read_text(encoding="utf-8")):
        yield "pyvenv.cfg: takes packages of the system, too (include-system-site-packages)"
    base = os.path.realpath(sys.base_prefix) + os.sep
    for name in CUSTOM:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue
        # Its folder counts: Debian's is a link in the standard library to a file under /etc.
        folder = os.path.realpath(os.path.dirname(spec.origin)) + os.sep
        if sys.prefix != sys.base_prefix and folder.startswith(base):
            continue  # Part of the interpreter, as some systems ship it.
        yield f"{spec.origin}: is run before everything else"


def _paths(recorded: set[str]) -> Iterator[str]:
    """Yield effects of `.pth` files other than putting a checkout of minibot on the path."""
    for folder in [] if sys.flags.no_site else _sites():
        for path in sorted(folder.glob("*.pth")):
            if os.path.normpath(path) in recorded or _is_of_a_package(path):
                continue
            for line in _read_path_file(path).splitlines():
                text = line.strip()
                if not text or text.startswith("#"):
                    continue
                if text.startswith(("import ", "import\t")):
                    yield f"{path.name}: runs code at every start: {text[:80]}"
                elif not os.path.isfile(os.path.join(text, "minibot", "__init__.py")):
                    yield f"{path.name}: puts {text[:80]} on the import path"


def _read_path_file(path: Path) -> str:
    """Return the text of a `.pth` file as this Python's `site` reads it."""
    data = path.read_bytes()
    if sys.version_info >= (3, 13):
        with suppress(UnicodeDecodeError):
            return data.decode("utf-8-sig")
    return data.decode(locale.getencoding(), "replace")


def _is_of_a_package(path: Path) -> bool:
    """Return whether another package's record has this file with this content."""
    for record in path.parent.glob("*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(",")
            if name == path.name:
                return rest.partition(",")[0] == f"sha256={_digest(path)}"
    return False


def _sites() -> list[Path]:
    return [path for path in map(Path, site.getsitepackages([sys.prefix])) if path.is_dir()]


def _changed(package: Distribution) -> Iterator[str]:
    """Yield the files of a package that differ from its record."""
    name = package.metadata["Name"]
    if package.files is None:
        yield f"{name}: has no record of its files"
        return
    for file in package.files:
        if file.hash is None or file.hash.mode != "sha256" or not file.name.endswith(_CODE):
            continue
        path = Path(str(file.locate()))
        if not path.is_file():
            yield f"{name}: {file} is missing"
        elif _digest(path) != file.hash.value:
            yield f"{name}: {file} has changed"


def _strangers(packages: list[Distribution], recorded: set[str]) -> Iterator[str]:
    """Yield code in a package's folder that is in no package's record."""
    tops = {
        Path(str(file.locate())).parents[len(file.parts) - 2]
        for package in packages
        for file in package.files or ()
        if len(file.parts) > 1 and ".." not in file.parts and file.suffix == ".py"
    }
    for top in sorted(tops):
        for place, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name != CACHE]
            for name in names:
                path = os.path.normpath(os.path.join(place, name))
                if name.endswith(_CODE) and path not in recorded:
                    yield f"{os.path.relpath(path, top.parent)}: belongs to no package"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
