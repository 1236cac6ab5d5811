"""Facts of a sealed run that its metrics lack: span, market change, decision digest, trades.

They are written next to the report, bound to the root of the seal, and made again with it; so a
list of runs reads no queue.
"""

from __future__ import annotations

from typing import Final

from minibot.events.model import JsonObject
from minibot.kernel.files import ensure_folder, write_hashed
from minibot.replay.diff import decision_digest
from minibot.report.closed_trades import closed_trades
from minibot.report.market_change import MarketChange
from minibot.report.night import Night
from minibot.report.records import FACTS_FILE, FACTS_V

SCHEMA: Final = "minibot.run_facts"


def market_of(night: Night) -> MarketChange:
    """Return the market of a night, in which its starting equity could be held."""
    fee_bps = str(night.manifest.config["execution"]["taker_fee_bps"])
    return MarketChange(night.count.closes(), night.count.performance.equity_start, fee_bps)


def night_facts(night: Night) -> JsonObject:
    """Return the facts of a night.

    Raises:
        IntegrityError: A recorded line is damaged.
    """
    market = market_of(night)
    return {
        "schema": SCHEMA,
        "v": FACTS_V,
        "root": night.seal.get("root"),
        "from_ts": night.manifest.clock_origin_ms,
        "to_ts": night.count.market.last_ts or night.manifest.clock_origin_ms,
        "digest": decision_digest(night.recorded),
        "market": {**market.to_json(), "rule": market.rule()},
        "trades": [
            trade.to_json() for trade in closed_trades(night.count.trades, night.count.reasons)
        ],
    }


def keep_facts(night: Night) -> None:
    """Write the facts of a night next to its report; nothing while the run is not sealed."""
    if night.seal:
        folder = night.recorded.run_dir / "report"
        ensure_folder(folder)
        write_hashed(folder / FACTS_FILE, night_facts(night), generation=1)
