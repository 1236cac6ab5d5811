"""Fixtures of several modules of the kernel's tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.kernel.kernel_run import sealed_run


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sealed run, untouched."""
    var = tmp_path_factory.mktemp("clean") / "var"
    var.mkdir(mode=0o700)
    return sealed_run(var)


@pytest.fixture
def run(clean: Path, tmp_path: Path) -> Path:
    """Copy of the sealed run, to be damaged."""
    copy = tmp_path / "hurt"
    shutil.copytree(clean, copy)
    return copy


@pytest.fixture
def without_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the waits for the disk, in tests of many states of which none is lost to a crash.

    What is synced, and in which order, is judged by the crash simulation.
    """
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, lambda fd: None, raising=False)
