"""What several modules of the kernel's tests start from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.kernel.kernel_run import sealed_run


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run that nobody has touched."""
    var = tmp_path_factory.mktemp("clean") / "var"
    var.mkdir(mode=0o700)
    return sealed_run(var)


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    """A copy of it to hurt."""
    copy = tmp_path / "hurt"
    shutil.copytree(clean, copy)
    return copy
