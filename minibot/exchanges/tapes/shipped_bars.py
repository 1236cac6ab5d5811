"""Shipped bars: one-minute klines next to the demo tape, by their names in source words.

Source, licence and sha256 of each file stand in `shipped/README.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from minibot.exchanges.tapes.tape import TAPES

SHIPPED_BARS: Final[dict[str, Path]] = {
    "btcusdt-1m": TAPES / "BTCUSDT-1m-20250602-20250615.csv.gz",
    "ethusdt-1m": TAPES / "ETHUSDT-1m-20250602-20250615.csv.gz",
}
"""Files by name: `klines:btcusdt-1m` is a source of backtests and of the simulator."""
