"""Installed package without a checkout: it works inside a checkout, and says so elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import PROJECT, clean_environ

START = "import sys; sys.path[0] = sys.argv.pop(1); from minibot.__main__ import main; main()"
TEXTS = ("*.md", "*.py", "*.toml", "*.yml")
OUR_NAME = re.compile(r"""install ["'`]?minibot|["'`]minibot\[""")
"""Words by which pip fetches `minibot` from an index, where the name is another program's."""


def installed(site: Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `minibot config check` as the script of a package folder does."""
    (site / "minibot").mkdir(parents=True, exist_ok=True)
    for name in ("__init__.py", "__main__.py", "environment.py", "compiled.py", "listed.py"):
        shutil.copy2(PROJECT / "minibot" / name, site / "minibot" / name)
    return subprocess.run(
        [sys.executable, "-c", START, str(site), "config", "check"],
        cwd=cwd,
        env=clean_environ() | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
def test_installed_package_goes_on_with_the_checkout_in_the_working_folder(tmp_path: Path) -> None:
    """An installed package uses config and contracts of the checkout in the working folder."""
    done = installed(tmp_path / "site", PROJECT)

    assert done.returncode == 0, done.stderr
    assert "config/nore.v1.json is valid" in done.stdout


@pytest.mark.process
@pytest.mark.parametrize("safe", ["", "1"], ids=["elsewhere", "safe path"])
def test_installed_package_says_where_it_runs(tmp_path: Path, safe: str) -> None:
    """Outside a checkout one line says where to run it, without a traceback."""
    cwd = PROJECT if safe else tmp_path
    done = installed(tmp_path / "site", cwd, **({"PYTHONSAFEPATH": safe} if safe else {}))

    assert done.returncode == 2
    assert "minibot runs in its checkout" in done.stderr
    assert "Traceback" not in done.stderr


def test_nobody_is_told_to_install_a_name_that_is_not_ours() -> None:
    """No text tells a user to install a package name that is not ours on an index."""
    files = [PROJECT / "README.md", PROJECT / "CHANGELOG.md", PROJECT / "pyproject.toml"]
    for folder in ("minibot", "docs", "tools", ".github", "staging"):
        files += [path for kind in TEXTS for path in (PROJECT / folder).rglob(kind)]

    advice = [
        path
        for path in files
        for text in [path.read_text(encoding="utf-8")]
        if OUR_NAME.search(text)
    ]

    assert advice == []
