"""Holdings of a night in `minibot status`: figures of its own fills, at any moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from minibot.cli.support.standing import decision_text, prices_of, standing_of, standing_rows
from minibot.engine.role_replay import Recorded
from minibot.report.figures import price
from minibot.report.recount import Recount
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun, raw_events

SIGNAL = {"symbol": "BTCUSDT", "side": "HOLD", "reason": "quiet", "reason_code": "no_setup"}
NUMBERS = {"score": 0, "confidence": 0, "horizon_ms": 0, "checks": []}
SCAN = {"as_of_ts": 0, "interval": "1m", "ranked": [], "scored": 0, "lacking": 4}


def test_standing_of_a_night_equals_the_recount_of_its_report(short_run: ShortRun) -> None:
    """Status and morning report agree about money."""
    recorded = Recorded.open(short_run.run_dir)
    standing = standing_of(recorded, now_ms=0)
    portfolio = Recount(Recorded.open(short_run.run_dir)).performance.portfolio

    assert standing.fills == len(raw_events(short_run.run_dir, "fills")) > 0
    assert Decimal(standing.fees) * 10**8 == portfolio.fees
    assert Decimal(standing.realised_pnl) * 10**8 == portfolio.realised_pnl
    assert standing.positions == portfolio.open_positions()
    assert standing.halted is None


def test_standing_gives_decision_and_money_their_times(short_run: ShortRun) -> None:
    """Decision and money carry their times, so a decision before the last fill is not current."""
    signals, fills = (raw_events(short_run.run_dir, queue)[-1] for queue in ("signals", "fills"))
    standing = standing_of(Recorded.open(short_run.run_dir), now_ms=0)
    older = replace(standing, filled_ts=signals["ts"] + 1)
    current = replace(standing, filled_ts=signals["ts"])
    at = datetime.fromtimestamp(signals["ts"] / 1000, UTC).strftime("%H:%M:%S")

    texts = [decision_text(each) for each in (current, older)]

    assert standing.run_id == short_run.run_id
    assert standing.filled_ts == fills["ts"]
    assert texts[0].startswith(f"{at} UTC, BTCUSDT: ")
    assert texts[1] == f"none since the last fill; before it, {texts[0]}"
    assert (current.decision_is_current, older.decision_is_current) == (True, False)
    assert decision_text(replace(standing, decision=None)) == "none yet"


def test_standing_names_a_position_with_its_price(short_run: ShortRun) -> None:
    """A position is named with its quantity and cost."""
    standing = standing_of(Recorded.open(short_run.run_dir), now_ms=0)
    standing.positions.append(
        {"symbol": "BTCUSDT", "qty": "0.00808000", "entry_price_avg": "61813.57000000"}
    )

    rows = {row.label: row.text for row in standing_rows(standing, "USDT")}

    assert rows["open"] == "0.00808000 BTCUSDT bought at 61,813.57"


def test_standing_shows_mark_and_last_price_of_what_is_held(short_run: ShortRun) -> None:
    """A held position is read against the market, from the last tick on record."""
    ticks = [e for e in raw_events(short_run.run_dir, "market_ticks") if "bid" in e["payload"]]
    last = ticks[-1]["payload"]
    recorded = Recorded.open(short_run.run_dir)
    item = {"symbol": last["symbol"], "qty": "0.00808000", "entry_price_avg": "61813.57000000"}

    prices = prices_of(recorded, [last["symbol"]])
    standing = replace(standing_of(recorded, now_ms=0), positions=[item], prices=prices)
    (shown,) = [row.text for row in standing_rows(standing, "USDT") if row.label == "open"]

    mid = (Decimal(last["bid"]) + Decimal(last["ask"])) / 2
    assert Decimal(prices[last["symbol"]]["mark"]) == mid.quantize(Decimal(1).scaleb(-8))
    assert prices[last["symbol"]]["price"] == last["price"]
    assert f"mark {price(str(mid))}, last price {price(last['price'])}" in shown


@pytest.mark.parametrize("has_signal", [True, False])
def test_standing_has_the_last_decision_before_a_scan(has_signal: bool, tmp_path: Path) -> None:
    """A scan, which stands in the same queue as decisions, hides none and is none."""
    fields = {"queue": "signals", "minute": 1}
    decision = fields | {"type": "signal", "payload": SIGNAL | NUMBERS}
    scan = fields | {"type": "scan", "payload": SCAN}
    events = [decision, scan] if has_signal else [scan]
    run_dir = made_run(tmp_path, read_fixture() | {"events": events})

    standing = standing_of(Recorded.open(run_dir), now_ms=0)

    assert (standing.decision or {}).get("reason") == ("quiet" if has_signal else None)


def test_price_of_a_cheap_coin_is_told_in_full(short_run: ShortRun) -> None:
    """Nine digits of a price stand, as two decimals would tell another one."""
    standing = standing_of(Recorded.open(short_run.run_dir), now_ms=0)
    item = {"symbol": "DOGEUSDT", "qty": "100", "entry_price_avg": "0.08710000"}
    seen = {"ts": 0, "price": "0.09340000", "mark": "0.09345000"}
    standing = replace(standing, positions=[item], prices={"DOGEUSDT": seen})

    (shown,) = [row.text for row in standing_rows(standing, "USDT") if row.label == "open"]

    assert "bought at 0.0871; mark 0.09345, last price 0.0934," in shown
