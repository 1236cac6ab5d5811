"""Symbols that count as held, by hand-written queues of openings and fills."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel import canonical
from minibot.kernel.queue import make_queue, open_writer
from minibot.market.holdings import Holdings

ID = "00000001-0000-4000-8000-000000000000"


def fill(side: str, qty: str, fee: str, fee_asset: str) -> dict[str, Any]:
    payload = {
        "order_id": ID,
        "client_order_id": ID,
        "symbol": "BTCUSDT",
        "side": side,
        "qty": qty,
        "price": "100.0",
        "fee": fee,
        "fee_asset": fee_asset,
        "liquidity": "TAKER",
    }
    return {"type": "fill", "payload": payload}


def opening(**lots: str) -> dict[str, Any]:
    found = [{"symbol": symbol, "qty": qty} for symbol, qty in lots.items()]
    return {"type": "run_opening", "payload": {"lots": found}}


def held(root: Path, opened: dict[str, Any], *fills: dict[str, Any]) -> frozenset[str]:
    """Return the symbols held by two queues with these events."""
    for name, events in (("control", (opened,)), ("fills", fills)):
        make_queue(root, name, None)
        with closing(open_writer(root, name)) as writer:
            writer.append_json([canonical.encode(event) for event in events])
    with closing(Holdings(root)) as holdings:
        return holdings.symbols()


@pytest.mark.parametrize(
    ("sold", "symbols"), [("0.99800000", {"BTCUSDT", "XRPUSDT"}), ("0.99900000", {"XRPUSDT"})]
)
def test_fee_that_was_taken_from_the_coins_is_not_held(
    tmp_path: Path, sold: str, symbols: set[str]
) -> None:
    """A purchase brings its quantity less a fee in base; all of that sold, nothing is held."""
    bought = fill("BUY", "1.00000000", "0.00100000", "BTC")
    sale = fill("SELL", sold, "0.10000000", "USDT")

    assert held(tmp_path, opening(XRPUSDT="5.0"), bought, sale) == symbols


def test_fee_in_quote_leaves_the_coins_whole(tmp_path: Path) -> None:
    """A fee in quote takes nothing from the quantity."""
    bought = fill("BUY", "1.00000000", "0.10000000", "USDT")
    sale = fill("SELL", "0.99900000", "0.10000000", "USDT")

    assert held(tmp_path, opening(), bought, sale) == {"BTCUSDT"}
