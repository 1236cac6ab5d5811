"""Columns as bytes: read as written, with and without mypyc's own reader."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from minibot.engine.cells import float_cells, int_cells
from minibot.events import cells

WHOLE = [0, 1, -1, 2**53, 2**53 + 1, 2**62, 12_345_678_901]


@pytest.mark.parametrize("has_librt", [True, False])
def test_cells_read_back_as_written(monkeypatch: pytest.MonkeyPatch, has_librt: bool) -> None:
    """Cells return integers exactly, and amounts as the float nearest to their decimal text."""
    if not has_librt:
        monkeypatch.setitem(sys.modules, "librt.strings", None)
    importlib.reload(cells)
    try:
        ints = int_cells(np.array(WHOLE))
        floats = float_cells(np.array(WHOLE))

        assert [cells.int_at(ints, 8 * n) for n in range(len(WHOLE))] == WHOLE
        found = [cells.float_at(floats, 8 * n) for n in range(len(WHOLE))]
        assert found == [whole / 10**8 for whole in WHOLE]
    finally:
        monkeypatch.undo()
        importlib.reload(cells)
