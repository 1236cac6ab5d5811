"""Folder of an operator's own strategies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.strategies import own


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Path]:
    """Strategy folder whose classes are forgotten afterwards."""
    yield tmp_path / "strategies"
    for name in [name for name in sys.modules if name.startswith("minibot_own_")]:
        del sys.modules[name]
    own._LOADED.clear()  # Another test may write the same text.
