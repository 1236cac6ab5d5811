"""Symbols with an open position, read from the queues: their streams are never given up.

The market role only reads `control` and `fills`, without cursor or ack. Orders influence nothing
that it writes except how long a symbol is followed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

from minibot.cores.messages import FillMessage
from minibot.events.model import BUY, Fill
from minibot.events.money import parse_amount
from minibot.kernel import canonical
from minibot.kernel.journal import JournalReader
from minibot.kernel.queue import open_reader

LINES_AT_ONCE: Final = 1024


class Holdings:
    """Quantities by symbol: the opening of the run plus its fills so far."""

    def __init__(self, queues: Path) -> None:
        """Read from the beginning of both queues, also after a restart."""
        self._queues = queues
        self._readers: dict[str, JournalReader] = {}
        self._qty: Counter[str] = Counter()

    def symbols(self) -> frozenset[str]:
        """Return the symbols in which a position is held now.

        Raises:
            IntegrityError: One of the queues is damaged.
        """
        for name in ("control", "fills"):
            reader = self._readers.get(name)
            if reader is None:
                reader = self._readers[name] = open_reader(self._queues, name)
            while lines := reader.read(LINES_AT_ONCE):
                for line in lines:
                    self._note(line.json)
        return frozenset(symbol for symbol, qty in self._qty.items() if qty > 0)

    def _note(self, json: bytes) -> None:
        event = canonical.decode(json)
        payload = event["payload"]
        if event["type"] == "run_opening":
            for lot in payload["lots"]:
                self._qty[lot["symbol"]] += parse_amount(lot["qty"])
        elif event["type"] == "fill":
            fill = FillMessage.read(Fill.from_json(payload))
            if fill.side == BUY:
                self._qty[fill.symbol] += fill.qty - (fill.fee if fill.pays_in_base else 0)
            else:
                self._qty[fill.symbol] -= fill.qty

    def close(self) -> None:
        """Close the readers."""
        for reader in self._readers.values():
            reader.close()
