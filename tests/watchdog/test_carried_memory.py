"""Carried memory: trades that closed behind the last told memory count in the next run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from minibot.events.model import Event, JsonObject, RiskStanding, RunOpening
from minibot.watchdog.carried_memory import carried_memory, last_reports
from tests.risk.desk import (
    OTHER,
    START,
    SYMBOL,
    Desk,
    actions,
    config,
    of,
    opening,
)
from tests.watchdog.ended_runs import opening_behind, put_ended

GUARD = {"method": "StoplossGuard", "lookback_period": 60, "trade_limit": 1, "stop_duration": 30}
IN_ROW = {"method": "LossesInRow", "trade_limit": 1, "stop_duration": 30}
LOSS = {"risk__night_loss_soft": "19", "risk__night_loss_hard": "20"}
VENUE = {"risk__exits_at": "venue", "risk__stop_bps": "100"}


def began(profile: JsonObject, first: RunOpening | None = None) -> Desk:
    """Return a desk that reads fills before results, as a backtest does."""
    desk = Desk(profile, first=first)
    desk.first = "fills"
    for symbol in (SYMBOL, OTHER):
        desk.instrument(symbol)
    return desk


def bought(desk: Desk, symbol: str = SYMBOL) -> None:
    """Buy ten coins at 100."""
    desk.tick("99.99", "100.00", symbol=symbol, trade="100.00")
    desk.signal("BUY", symbol=symbol)
    desk.tick(symbol=symbol)
    desk.tick(symbol=symbol)


def memory_of(desk: Desk, first: RunOpening | None = None) -> Any:
    """Return the memory that the desk's run leaves."""
    begin = first or opening()

    def read(queue: str, text: str) -> Iterable[Event]:
        return [event for event in desk.events(queue) if text in str(event.to_json())]

    return carried_memory(begin, desk.profile, last_reports(begin, read), read)


def entry_of_next_run(profile: JsonObject, memory: Any, **first: Any) -> tuple[str, str]:
    """Return risk's answer to a purchase in a run that opens with a memory, a second later."""
    desk = Desk(profile, first=replace(opening(), memory=memory, **first))
    desk.ts = START + 3000
    desk.instrument()
    desk.tick("99.99", "100.00")
    return actions(desk.signal("BUY"))[0]


@pytest.mark.row("B-10", "B-46")
def test_sale_that_stops_the_run_counts_in_the_next_one() -> None:
    """The loss of a sale whose spread passes the hard limit locks the next run and bars it not."""
    profile = config(risk__protections=[IN_ROW], **LOSS)
    desk = began(profile)
    bought(desk)
    desk.tick("97", "101")
    desk.signal("SELL")
    events = desk.tick("97", "101")

    memory = memory_of(desk)

    assert actions(events) == [("STOP", "RISK_LIMIT")]
    assert memory["trips"] == []
    assert [item["trade"]["reason"] for item in memory["waiting"]] == ["signal_exit"]
    assert entry_of_next_run(profile, memory) == ("BLOCK", "losses_in_row")


def test_opening_reads_what_a_run_left_on_disk(tmp_path: Path) -> None:
    """The opening that follows a run's queues carries the trade of the sale that stopped it."""
    profile = config(risk__protections=[IN_ROW], **LOSS)
    desk = began(profile)
    bought(desk)
    desk.tick("97", "101")
    desk.signal("SELL")
    desk.tick("97", "101")
    put_ended(tmp_path, desk)

    left = opening_behind(tmp_path, START + 10_000)
    of_kelly = opening_behind(tmp_path, START + 10_000, trades_ms=60_000)

    assert left.lots == ()
    assert left.memory == memory_of(desk)
    assert left.trades is None
    assert of_kelly.trades is not None
    assert len(of_kelly.trades["closed"]) == 1
    assert entry_of_next_run(profile, left.memory) == ("BLOCK", "losses_in_row")


@pytest.mark.parametrize("first", ["fills", "order_results"])
def test_stop_at_the_venue_that_ends_the_run_counts_as_a_stop(first: str) -> None:
    """Stop at the venue: it locks whether risk read its trigger before it stopped, or never did."""
    profile = config(risk__protections=[GUARD], **LOSS, **VENUE)
    desk = began(profile)
    desk.first = first
    bought(desk)
    events = desk.tick("97", "101", trade="98")

    memory = memory_of(desk)

    assert ("STOP", "RISK_LIMIT") in actions(events)
    assert [item["trade"]["reason"] for item in memory["waiting"]] == ["stop_loss"]
    assert entry_of_next_run(profile, memory) == ("BLOCK", "stoploss_guard")


def test_stop_between_fill_and_trigger_counts_as_a_stop() -> None:
    """A memory told with the fill waits for the trigger, which the run's results still name."""
    profile = config(risk__protections=[GUARD], **VENUE)
    desk = began(profile)
    bought(desk)
    desk.tick("98", "98.01", trade="98")
    desk.log = [one for one in desk.log if ("EXIT", "stop_loss") not in actions([one[1]])]

    (answer,) = of(desk.events("risk_actions"), RiskStanding)[-1].memory["waiting"]
    memory = memory_of(desk)

    assert answer["trade"]["reason"] == ""
    (found,) = memory["waiting"]
    assert found == {"trade": answer["trade"] | {"reason": "stop_loss"}, "orders": []}
    assert entry_of_next_run(profile, memory) == ("BLOCK", "stoploss_guard")


def test_exit_that_fills_behind_a_stop_counts_too() -> None:
    """Two sales are on their way, the first stops the run: the other trade counts as well."""
    profile = config(risk__protections=[IN_ROW], **LOSS)
    desk = began(profile)
    for symbol in (SYMBOL, OTHER):
        bought(desk, symbol)
    for symbol in (SYMBOL, OTHER):
        desk.tick("97", "101", symbol=symbol, after_ms=1)
        desk.signal("SELL", symbol=symbol)
    for symbol in (SYMBOL, OTHER):
        desk.tick("97", "101", symbol=symbol)

    memory = memory_of(desk)

    assert [item["trade"]["symbol"] for item in memory["waiting"]] == [SYMBOL, OTHER]
    assert entry_of_next_run(profile, memory) == ("BLOCK", "losses_in_row")


def test_carried_lot_that_is_sold_at_once_has_its_cost() -> None:
    """A run that was handed a lot without a memory and told none leaves the loss of that lot."""
    profile = config(risk__protections=[IN_ROW], **LOSS)
    lots = ({"symbol": SYMBOL, "qty": "10", "price": "100", "ts": START - 1},)
    first = replace(opening("9000"), lots=lots)
    desk = began(profile, first)
    desk.tick("99", "101")
    desk.tick("97", "101")
    desk.signal("SELL")
    desk.tick("97", "101")

    memory = memory_of(desk, first)

    (item,) = memory["waiting"]
    assert (item["trade"]["spent"], item["trade"]["received"]) == ("1000.00000000", "970.00000000")
    assert memory["start"] == "10000.00000000"
    assert entry_of_next_run(profile, memory) == ("BLOCK", "losses_in_row")


def test_run_without_protections_keeps_locks_and_counts_no_trade() -> None:
    """A position that such a run sold bars no later one; its trades would pile up uncounted."""
    profile = config(risk__protections=[IN_ROW])
    desk = began(profile)
    bought(desk)
    answer = desk.risk.state()["protections"]
    lots = ({"symbol": SYMBOL, "qty": "10", "price": "100", "ts": START},)
    first = replace(opening("9000"), lots=lots, memory=answer)
    off = began(config(), first)
    off.tick("99.99", "100")
    off.signal("SELL")
    off.tick("99.99", "100")
    bought(off, OTHER)

    memory = memory_of(off, first)

    held = ({"symbol": OTHER, "qty": "10", "price": "100", "ts": START},)
    assert [trip["symbol"] for trip in memory["trips"]] == [OTHER]
    assert "waiting" not in memory
    assert entry_of_next_run(profile, memory, lots=held) == ("ALLOW", "allowed")
    assert memory_of(began(config())) is None


def test_run_without_protections_counts_no_dust_of_a_closed_trade() -> None:
    """A purchase beside the dust of an earlier night is a trade of its own."""
    first = began(config(risk__protections=[IN_ROW], execution__fee_asset="base"))
    bought(first)
    first.signal("SELL")
    first.tick("99", "101")
    memory = first.risk.state()["protections"]
    lots = ({"symbol": SYMBOL, "qty": "0.0009", "price": "100", "ts": START},)
    begin = replace(opening("9000"), lots=lots, memory=memory)
    off = began(config(execution__fee_asset="base"), begin)
    bought(off)

    (trip,) = memory_of(off, begin)["trips"]

    assert trip["spent"] == "1000.00000000"


def test_memory_told_with_the_last_fill_is_carried_as_it_was() -> None:
    """A run that ends in order hands on what it told last."""
    desk = began(config(risk__protections=[IN_ROW]))
    bought(desk)
    desk.tick("99", "101")
    desk.signal("SELL")
    desk.tick("99", "101")

    assert memory_of(desk) == desk.risk.state()["protections"]


@pytest.mark.parametrize("remains", ["0.0009", "0.0010"])
def test_dust_behind_a_sale_leaves_no_trade_open(remains: str) -> None:
    """With fees paid in coins less than a step remains: the trade is closed as risk closes it."""
    profile = config(risk__protections=[IN_ROW], execution__fee_asset="base", **LOSS)
    qty = f"{10 + float(remains):.4f}"
    lots = ({"symbol": SYMBOL, "qty": qty, "price": "100", "ts": START - 1},)
    first = replace(opening("9000"), lots=lots)
    desk = began(profile, first)
    desk.tick("99", "101")
    desk.tick("97", "101")
    desk.signal("SELL")
    desk.tick("97", "101")

    memory = memory_of(desk, first)

    assert [item["trade"]["symbol"] for item in memory["waiting"]] == [SYMBOL]
