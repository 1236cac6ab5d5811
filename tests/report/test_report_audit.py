"""Audit of risk limits: every exceeded limit is found."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.role_replay import Recorded
from minibot.events.model import JsonObject
from minibot.report.audit import limit_violations, unallowed_intents
from minibot.report.recount import Recount
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun


@pytest.fixture(scope="module")
def count(short_run: ShortRun) -> Recount:
    """Recount of the short run."""
    return Recount(Recorded.open(short_run.run_dir))


def violations(run_dir: Path, count: Recount, **limits: Any) -> list[str]:
    """Return the audit's findings if the run had had other limits."""
    recorded = Recorded.open(run_dir)
    config = copy.deepcopy(recorded.manifest.config)
    config["risk"].update(limits)
    recorded = replace(recorded, manifest=replace(recorded.manifest, config=config))
    return limit_violations(recorded, count.performance)


@pytest.mark.row("B-75")
def test_audit_of_a_night_within_its_limits_finds_nothing(
    short_run: ShortRun, count: Recount
) -> None:
    """A night within its limits has no finding."""
    assert violations(short_run.run_dir, count) == []
    assert unallowed_intents(Recorded.open(short_run.run_dir)) == []


@pytest.mark.row("B-75")
@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"orders_per_minute_hard": 1}, "orders within a minute"),
        ({"position_notional_max": "400"}, "position of"),
        ({"positions_max": 0}, "positions at fill"),
        ({"night_notional_hard": "900"}, "night_notional_hard"),
        ({"night_loss_hard": "0.5"}, "night_loss_hard"),
        ({"drawdown_bps_hard": 0}, "drawdown_bps_hard"),
    ],
)
def test_audit_names_each_limit_that_the_night_passed(
    limits: dict[str, Any], word: str, short_run: ShortRun, count: Recount
) -> None:
    """A night under tighter limits names each exceeded one."""
    found = violations(short_run.run_dir, count, **limits)

    assert any(word in sentence for sentence in found)
    assert all(word in sentence for sentence in found)


def audited(
    var: Path, events: list[JsonObject], lots: Sequence[JsonObject] = (), **sections: JsonObject
) -> list[str]:
    """Return the audit's findings of a run of these events, under changed sections of its profile.

    Args:
        var: Where the run is written.
        events: Events of `made_run`.
        lots: Lots that the run started with.
        sections: Keys by section.
    """
    data = read_fixture() | {"events": events, "lots": lots}
    recorded = Recorded.open(made_run(var, data))
    config = copy.deepcopy(recorded.manifest.config)
    for name, keys in sections.items():
        config[name].update(keys)
    recorded = replace(recorded, manifest=replace(recorded.manifest, config=config))
    return limit_violations(recorded, Recount(recorded).performance)


def of_order(kind: str, name: str, **more: str) -> JsonObject:
    """Return an event of `order_intents` for `made_run`."""
    fields = {"symbol": "BTCUSDT", "client_order_id": name, **more}
    return {"queue": "order_intents", "type": kind, "minute": 2, "payload": fields}


def traded(
    symbol: str, side: str, qty: str, minute: int, fee: str = "0", price: str = "1"
) -> JsonObject:
    """Return a fill for `made_run`; a fee of a purchase is in coins."""
    coin = symbol.removesuffix("USDT")
    ids = dict.fromkeys(("order_id", "client_order_id"), f"{symbol[0]}{minute}")
    what = {"symbol": symbol, "side": side, "qty": qty, "price": price, "liquidity": "TAKER"}
    paid = {"fee": fee, "fee_asset": coin if side == "BUY" else "USDT"}
    return {
        "queue": "fills", "type": "fill", "minute": minute, "payload": ids | what | paid
    }  # fmt: skip


def rules(symbol: str, least: str, notional_min: str = "0.1") -> JsonObject:
    """Return the rules of a symbol for `made_run`, with a least quantity."""
    names = {"symbol": symbol, "base_asset": symbol.removesuffix("USDT"), "quote_asset": "USDT"}
    bounds = {"price_increment": "0.01", "qty_increment": least, "qty_min": least}
    fields = {**names, **bounds, "qty_max": "0", "notional_min": notional_min, "status": "TRADING"}
    fields["origin"] = "exchange"
    return {"queue": "market_ticks", "type": "instrument", "minute": 0, "payload": fields}


@pytest.mark.row("B-75")
@pytest.mark.parametrize(("more", "found"), [(0, 0), (1, 1)])
def test_audit_counts_orders_and_no_cancels(more: int, found: int, tmp_path: Path) -> None:
    """Quotes that are withdrawn and made anew count once each, as risk counts them."""
    intent = {"side": "BUY", "qty": "1", "order_type": "MARKET", "purpose": "ENTRY"}
    events = []
    for n in range(3 + more):
        events += [of_order("order_intent", f"o{n}", **intent), of_order("order_cancel", f"o{n}")]

    assert len(audited(tmp_path, events, risk={"orders_per_minute_hard": 3})) == found


@pytest.mark.row("B-75")
@pytest.mark.parametrize(
    ("carried", "bought", "found"),
    [
        ("0", (("10", "100"), ("2", "80")), []),
        ("9", (("9", "100"),), ["position of 1800 in ETHUSDT"]),
        ("9", (("1", "100"),), []),
    ],
)
def test_audit_values_a_position_as_risk_does(
    carried: str, bought: Sequence[tuple[str, str]], found: list[str], tmp_path: Path
) -> None:
    """All that is held counts, carried lots too, at the price of the purchase and not at cost."""
    lot = {"symbol": "ETHUSDT", "price": "100", "ts": 1, "fill_id": "before", "qty": carried}
    fills = [
        traded("ETHUSDT", "BUY", qty, 2 + at, price=price) for at, (qty, price) in enumerate(bought)
    ]

    sentences = audited(
        tmp_path,
        fills,
        [lot] if carried != "0" else [],
        risk={"position_notional_max": "1000", "night_notional_hard": "5000"},
    )

    assert [each.partition(" at fill")[0] for each in sentences if "position" in each] == found


@pytest.mark.row("B-75")
@pytest.mark.parametrize(("sold", "found"), [("9.9", []), ("9.7", ["2 positions"])])
def test_audit_takes_what_a_fee_in_coins_leaves_for_no_position(
    sold: str, found: list[str], tmp_path: Path
) -> None:
    """Dust that no sale can take holds no place; a step of it more does."""
    events = [
        *(rules(symbol, "0.1") for symbol in ("ABCUSDT", "ETHUSDT")),
        traded("ABCUSDT", "BUY", "10", 2, fee="0.01"),
        traded("ABCUSDT", "SELL", sold, 3),
        traded("ETHUSDT", "BUY", "10", 4),
    ]

    sentences = audited(
        tmp_path, events, risk={"positions_max": 1}, execution={"fee_asset": "base"}
    )

    assert [each.partition(" at fill")[0] for each in sentences] == found


@pytest.mark.row("B-75")
@pytest.mark.parametrize(
    ("qty", "found"), [("0.09", ["2 positions"]), ("0.1", ["3 positions", "4 positions"])]
)
def test_audit_takes_carried_dust_for_no_position(
    qty: str, found: list[str], tmp_path: Path
) -> None:
    """Dust of runs before holds no place, and its number allows no more positions."""
    symbols = ("ABCUSDT", "XYZUSDT", "BTCUSDT", "ETHUSDT")
    carried = {"qty": qty, "price": "1", "ts": 1, "fill_id": "before"}
    bought = [traded("ETHUSDT", "BUY", "10", 2), traded("BTCUSDT", "BUY", "10", 3)]

    sentences = audited(
        tmp_path,
        [*(rules(symbol, "0.1") for symbol in symbols), *bought],
        [carried | {"symbol": symbol} for symbol in symbols[:2]],
        risk={"positions_max": 1},
        execution={"fee_asset": "base"},
    )

    assert [each.partition(" at fill")[0] for each in sentences] == found


@pytest.mark.row("B-75")
@pytest.mark.parametrize(("left", "found"), [("0.4", []), ("0.9", ["2 positions"])])
def test_audit_takes_what_is_worth_too_little_to_sell_for_no_position(
    left: str, found: list[str], tmp_path: Path
) -> None:
    """Four USDT of a coin at 10 hold no place where the venue sells from five on; nine do."""
    events = [
        rules("ABCUSDT", "0.1", notional_min="5"),
        traded("ABCUSDT", "BUY", left, 2),
        traded("ETHUSDT", "BUY", "10", 4),
    ]

    sentences = audited(tmp_path, events, risk={"positions_max": 1})

    assert [each.partition(" at fill")[0] for each in sentences] == found
