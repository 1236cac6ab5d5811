"""Environment of a night: packages against their records, and hooks that load other code."""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from minibot.runtime.deployment import installed

LIBRARY = EXTENSION_SUFFIXES[-1]
PACKAGE = {"alpha/__init__.py": "X = 1\n", "alpha/core.py": "Y = 1\n"}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Project that needs one package, and an environment with it and another one."""
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["alpha>=1"]\n')
    folder = tmp_path / "env" / "site-packages"
    install(folder, "alpha", PACKAGE, "beta>=2; extra == 'more'", "gamma")
    install(folder, "gamma", {"gamma.py": "Z = 1\n"})
    for name in installed.CUSTOM:  # Those of the interpreter that runs the tests.
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(folder)])
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setattr("site.getsitepackages", lambda prefixes: [str(folder)])
    return folder


def install(folder: Path, name: str, files: dict[str, str], *requires: str) -> None:
    """Install a package with its record into a folder."""
    record = []
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        record.append(f"{path},sha256={digest.decode()},{len(text)}")
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", "Version: 1", *(f"Requires-Dist: {text}" for text in requires)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines]) + "\n\n")
    (info / "RECORD").write_text("\n".join([*record, f"{info.name}/RECORD,,"]) + "\n")


def found(site: Path) -> list[str]:
    """Return the problems of the environment."""
    return installed.problems(site.parents[1])


@pytest.mark.row("F157")
def test_environment_as_it_was_installed_has_no_problem(site: Path) -> None:
    """A fresh environment has no problem, with bytecode, a checkout path and unneeded packages."""
    (site / "alpha" / "__pycache__").mkdir()
    (site / "alpha" / "__pycache__" / "core.cpython-311.pyc").write_bytes(b"")
    (site / "minibot.pth").write_text(f"# a comment\n{Path(__file__).parents[2]}\n")
    (site / "other.py").write_text("")

    assert found(site) == []


@pytest.mark.row("F157", "N-124")
def test_checkout_below_a_folder_with_an_umlaut_is_no_problem_in_the_code_page(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path file is read in the code page, as Python reads it."""
    monkeypatch.setattr("locale.getencoding", lambda: "cp1252")
    checkout = tmp_path / "J\u00fcrgen"
    (checkout / "minibot").mkdir(parents=True)
    (checkout / "minibot" / "__init__.py").write_text("")
    (site / "minibot.pth").write_bytes(f"{checkout}\n".encode("cp1252"))

    assert found(site) == []


@pytest.mark.row("F157")
@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("alpha/core.py", "Y = 2\n", "alpha: alpha/core.py has changed"),
        ("gamma.py", "Z = 2\n", "gamma: gamma.py has changed"),
        (f"alpha/core{LIBRARY}", "", f"alpha/core{LIBRARY}: belongs to no package"),
        ("alpha/core/__init__.pyc", "", "alpha/core/__init__.pyc: belongs to no package"),
        ("evil.pth", "import os\n", "evil.pth: runs code at every start: import os"),
        ("evil.pth", "/tmp/elsewhere\n", "evil.pth: puts /tmp/elsewhere on the import path"),
        ("sitecustomize.py", "", "sitecustomize.py: is run before everything else"),
        ("usercustomize.py", "", "usercustomize.py: is run before everything else"),
        (
            "../pyvenv.cfg",
            "home = /usr\ninclude-system-site-packages = True\n",
            "pyvenv.cfg: takes packages of the system",
        ),
    ],
)
def test_environment_that_would_load_other_code_is_named(
    site: Path, path: str, text: str, said: str
) -> None:
    """Each hook that would load other code is one problem with its file."""
    (site / path).parent.mkdir(exist_ok=True)
    (site / path).write_text(text)

    assert len(found(site)) == 1
    assert said in found(site)[0].replace(os.sep, "/")


@pytest.mark.row("F157")
@pytest.mark.parametrize("is_linked", [False, True])
def test_hook_that_the_interpreter_ships_is_no_problem(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_linked: bool
) -> None:
    """Debian ships a link in the standard library, to a file under /etc."""
    base, etc = tmp_path / "usr", tmp_path / "etc"
    library = base / "lib" / "python"
    library.mkdir(parents=True)
    etc.mkdir()
    (library / "sitecustomize.py").write_text("")
    if is_linked:
        (library / "sitecustomize.py").rename(etc / "sitecustomize.py")
        (library / "sitecustomize.py").symlink_to(etc / "sitecustomize.py")
    monkeypatch.setattr(sys, "base_prefix", str(base))
    monkeypatch.setattr(sys, "path", [str(library), str(site)])

    assert found(site) == []


@pytest.mark.row("F157")
def test_package_whose_file_or_record_is_missing_is_named(site: Path) -> None:
    """A package with a missing file or record is named."""
    (site / "alpha" / "core.py").unlink()
    (site / "gamma-1.dist-info" / "RECORD").unlink()

    assert found(site) == [
        "alpha: alpha/core.py is missing",
        "gamma: has no record of its files",
    ]
