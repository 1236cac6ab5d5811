"""Risk and execution together: invariants under any market, strategy and operator."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from minibot.accounting.portfolio import Portfolio
from minibot.events.ids import position_id
from minibot.events.model import (
    Event,
    ExitPosition,
    Fill,
    Gap,
    Halt,
    OrderIntent,
    OrderResult,
    PriceMark,
    Resume,
    RiskAction,
    RunEnding,
    RunOpening,
)
from minibot.events.money import UNIT, parse_amount
from minibot.kernel.canonical import encode
from tests.risk.desk import OTHER, RUN_ID, SYMBOL, Desk, config, fills, opening, results
from tests.risk.row_world import World

TERMINAL = {"FILLED", "CANCELLED", "EXPIRED", "REJECTED"}
ALLOWING = {"ALLOW", "REDUCE", "EXIT"}
TIGHT: dict[str, Any] = {
    "risk__order_notional": "900",
    "risk__position_notional_max": "1700",
    "risk__positions_max": 2,
    "risk__exposure_ratio_max_bps": 6000,
    "risk__night_notional_soft": "9000",
    "risk__night_notional_hard": "20000",
    "risk__night_loss_soft": "200",
    "risk__night_loss_hard": "600",
    "risk__drawdown_bps_soft": 400,
    "risk__drawdown_bps_hard": 1500,
    "risk__orders_per_minute_soft": 8,
    "risk__orders_per_minute_hard": 12,
    "risk__stop_atr_mult": "2.0",
    "risk__take_profit_atr_mult": "3.0",
    "execution__taker_fee_bps": "10",
    "execution__maker_fee_bps": "5",
    "execution__latency_market_ms": 120,
    "execution__order_ttl_market_ms": 2000,
}
SIZINGS: tuple[dict[str, Any], ...] = (
    {},
    {"risk__sizing": "share", "risk__size_atr_bps_full": 80},
    {"risk__sizing": "risk", "risk__risk_per_trade_bps": 60},
    {
        "risk__sizing": "kelly",
        "risk__kelly_window_market_ms": 60_000,
        "risk__kelly_trades_min": 2,
        "risk__position_share_bps_min": 500,
        "risk__position_share_bps_max": 4000,
        "risk__bucket_active_bps": 5000,
    },
)
LOTS = ({"symbol": OTHER, "qty": "3.5", "price": "80", "ts": 1},)

CENTS = st.integers(9_000, 11_000)
SPREAD = st.integers(-1, 30)
SIZE = st.integers(0, 20_000)
MOVE = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from([SYMBOL, OTHER]), CENTS, SPREAD, SIZE),
    st.tuples(st.just("tick"), st.sampled_from([SYMBOL, OTHER]), CENTS, SPREAD, SIZE),
    st.tuples(
        st.just("signal"), st.sampled_from([SYMBOL, OTHER]), st.sampled_from(["BUY", "SELL"])
    ),
    st.tuples(st.just("signal"), st.sampled_from([SYMBOL, OTHER]), st.just("BUY")),
    st.tuples(st.just("bar"), st.sampled_from([SYMBOL, OTHER]), CENTS),
    st.tuples(st.just("wait"), st.sampled_from([SYMBOL]), st.integers(0, 3_000)),
    st.tuples(st.just("beat"), st.sampled_from([SYMBOL]), st.just(0)),
    st.tuples(st.just("lag"), st.sampled_from([SYMBOL]), st.sampled_from([0, 0, 300, 6_000])),
    st.tuples(
        st.just("control"),
        st.sampled_from([SYMBOL, OTHER]),
        st.sampled_from(["halt", "resume", "exit", "gap", "mark", "end"]),
    ),
)
MOVES = st.lists(MOVE, min_size=10, max_size=90)


def money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def start(cash: str = "2000", sizing: int = 0) -> Desk:
    desk = Desk(config(**TIGHT, **SIZINGS[sizing]), first=opening(cash, LOTS))
    for symbol in (SYMBOL, OTHER):
        desk.instrument(symbol)
        for _ in range(2):
            desk.bar("100", "101", "99", "100", symbol=symbol)
        desk.tick("99.99", "100.01", symbol=symbol)
    return desk


def make(desk: Desk, move: Any) -> list[Event]:
    """Make one move of the world."""
    kind, symbol = move[0], move[1]
    if kind == "tick":
        cents, spread, size = move[2:]
        shown = f"{size // 1000}.{size % 1000:03d}"
        return desk.tick(
            money(cents), money(cents + spread), bid_qty=shown, ask_qty=shown, symbol=symbol
        )
    if kind == "signal":
        return desk.signal(move[2], symbol=symbol)
    if kind == "bar":
        price = money(move[2])
        return desk.bar(price, money(move[2] + 50), money(move[2] - 50), price, symbol=symbol)
    if kind == "beat":
        return desk.beat()
    if kind == "wait":
        desk.ts += move[2]
    elif kind == "lag":
        # `now` never goes back, so a lag that ends leaves market time unchanged.
        desk.ts += max(0, desk.lag_ms - move[2])
        desk.lag_ms = move[2]
    elif move[2] == "halt":
        return desk.put("control", Halt("operator", "why"))
    elif move[2] == "resume":
        return desk.put("control", Resume("operator", "why"))
    elif move[2] == "exit":
        return desk.put("control", ExitPosition("operator", "why", symbol))
    elif move[2] == "gap":
        return desk.put("market_ticks", Gap(symbol, "trade", desk.ts, desk.ts, "reconnect"))
    elif move[2] == "mark":
        # A price within the range of the ticks, always the same for a seed.
        mark = PriceMark(symbol, money(9_500 + desk.ts % 1_000), "miniTicker", desk.ts)
        return desk.put("market_ticks", mark)
    else:
        return desk.put("control", RunEnding("launcher", "duration", desk.ts + 5_000))
    return []


def check_lineage(desk: Desk) -> None:
    """Check that each intent names an earlier allowing action of the same signal and step."""
    seen: dict[str, Event] = {}
    for _, event in desk.log:
        if isinstance(event.payload, OrderIntent):
            assert event.cause_ids is not None
            action = seen[event.cause_ids[0]]
            cause = seen[event.cause_ids[1]]
            assert isinstance(action.payload, RiskAction)
            assert action.payload.action in ALLOWING
            assert action.payload.symbol == event.payload.symbol
            assert action.cause_ids == (cause.id,)
            if cause.type == "signal":
                assert action.payload.signal_id == cause.id
            assert (event.payload.side == "SELL") == (action.payload.action == "EXIT")
        # Crafted intents of the desk have no such action.
        if event.cause_ids is not None and event.type != "signal":
            known = [seen[name] for name in event.cause_ids if name in seen]
            if known:
                assert event.ts == max(cause.ts for cause in known)
        seen[event.id] = event


def check_orders(desk: Desk) -> None:
    """Check each order's sums, and that nothing follows its single end but a late cancel's no."""
    placed = [event.payload for event in desk.events("order_intents")]
    intents = {each.client_order_id: each for each in placed if isinstance(each, OrderIntent)}
    filled: dict[str, Decimal] = defaultdict(Decimal)
    ended: set[str] = set()
    for _, event in desk.log:
        payload = event.payload
        if not isinstance(payload, Fill | OrderResult):
            continue
        name = payload.client_order_id
        if isinstance(payload, Fill):
            assert name not in ended
            assert Decimal(payload.qty) > 0
            assert Decimal(payload.qty) <= Decimal(payload.displayed_qty or "0")
            filled[name] += Decimal(payload.qty)
            continue
        if payload.result == "CANCEL_REJECTED":
            assert name in ended
            continue
        assert name not in ended
        assert Decimal(payload.filled_qty or "0") == filled[name]
        if payload.remaining_qty is not None:
            total = filled[name] + Decimal(payload.remaining_qty)
            assert total == Decimal(intents[name].qty)
        if payload.result in TERMINAL:
            ended.add(name)
    for name, qty in filled.items():
        assert qty <= Decimal(intents[name].qty)


def check_money(desk: Desk) -> None:
    """Check that cash and positions are never negative, and that all three portfolios agree."""
    first = desk.events("control")[0].payload
    assert isinstance(first, RunOpening)
    portfolio = Portfolio.from_opening(first)
    for event in desk.events("fills"):
        assert isinstance(event.payload, Fill)
        portfolio.apply(event.payload, event.ts)
        assert portfolio.cash("USDT") >= 0
        assert all(portfolio.position_qty(symbol) > 0 for symbol in portfolio.symbols())
    expected = encode(portfolio.to_json())
    assert encode(desk.execution.portfolio.to_json()) == expected
    assert encode(desk.risk.state()["positions"]["portfolio"]) == expected
    ledger = desk.execution.ledger
    assert sum(ledger.totals().values()) == 0
    assert all(ledger.closing(asset) == cash for asset, cash in portfolio.balances.items())


def check_rate_and_size(desk: Desk) -> None:
    """Check the rate of orders and the notional of entries against their limits."""
    orders = desk.events("order_intents")
    times = [event.ts for event in orders if isinstance(event.payload, OrderIntent)]
    for at in times:
        assert sum(1 for ts in times if at - 60_000 < ts <= at) <= 12
    for event in desk.events("risk_actions"):
        payload = event.payload
        assert isinstance(payload, RiskAction)
        assert payload.headroom is not None
        assert payload.checks
        if payload.action == "ALLOW":
            assert all(check["passed"] for check in payload.checks)
    bought = sum(
        (Decimal(event.payload.qty) * Decimal(event.payload.price)
        for event in desk.events("fills")
        if isinstance(event.payload, Fill) and event.payload.side == "BUY"),
        Decimal(0),
    )  # fmt: skip
    # Ordered within 9,000 at the ask; the fill's price may be up to 22 % higher.
    assert bought <= Decimal(9000) * Decimal("1.3")


def check_silence_after_stop(desk: Desk) -> None:
    """Check that risk is silent after its STOP."""
    actions = [event.payload for event in desk.events("risk_actions")]
    for index, payload in enumerate(actions):
        assert isinstance(payload, RiskAction)
        if payload.action == "STOP":
            assert index == len(actions) - 1
            assert payload.reason_code == "RISK_LIMIT"


@pytest.mark.slow
@pytest.mark.row("N-04", "B-20", "B-79", "D-02", "D-34", "N-66", "D-48", "D-49", "D-53", "U-22")
@settings(max_examples=100, deadline=None)
@given(MOVES, st.integers(0, len(SIZINGS) - 1))
def test_chain_whatever_happens_keeps_its_invariants(moves: list[Any], sizing: int) -> None:
    """Any sequence keeps permission before orders, right sums, no negatives, silence after STOP."""
    desk = start(sizing=sizing)
    for move in moves:
        make(desk, move)

    check_lineage(desk)
    check_orders(desk)
    check_money(desk)
    check_rate_and_size(desk)
    check_silence_after_stop(desk)


@pytest.mark.slow
@pytest.mark.row("N-02", "D-48", "D-49")
@settings(max_examples=30, deadline=None)
@given(MOVES, st.integers(0, len(SIZINGS) - 1), st.data())
def test_chain_restored_anywhere_goes_on_to_the_same_bytes(
    moves: list[Any], sizing: int, data: Any
) -> None:
    """Cores restored from text at any point continue to the same bytes."""
    stops = data.draw(st.sets(st.integers(0, len(moves) - 1), max_size=3))
    straight, restarted = start(sizing=sizing), start(sizing=sizing)
    for index, move in enumerate(moves):
        make(straight, move)
        if index in stops:
            restarted.restarted()
        make(restarted, move)

    assert restarted.log_bytes() == straight.log_bytes()
    assert encode(restarted.risk.state()) == encode(straight.risk.state())
    assert encode(restarted.execution.state()) == encode(straight.execution.state())
    assert encode(restarted.risk.facts()) == encode(straight.risk.facts())
    assert encode(restarted.execution.facts()) == encode(straight.execution.facts())


def story(desk: Desk) -> None:
    """Play a small night: entries, a thin book, a stop, a target, an end."""
    for turn in range(60):
        cents = 10_000 + (turn * 37) % 300 - 150
        make(desk, ("tick", SYMBOL if turn % 3 else OTHER, cents, 2, 400 + turn * 97 % 9000))
        if turn % 5 == 0:
            make(desk, ("signal", SYMBOL, "BUY"))
        if turn % 7 == 0:
            make(desk, ("bar", SYMBOL, cents))
        if turn % 11 == 0:
            make(desk, ("signal", OTHER, "SELL"))
        if turn % 13 == 0:
            make(desk, ("beat", SYMBOL, 0))
    make(desk, ("control", SYMBOL, "end"))
    for turn in range(5):
        make(desk, ("tick", SYMBOL, 9_990 + turn, 2, 20_000))
        make(desk, ("tick", OTHER, 9_990 + turn, 2, 20_000))
    for _ in range(5):
        make(desk, ("beat", SYMBOL, 0))


@pytest.mark.row("N-02", "U-23", "N-33")
def test_chain_same_stream_twice_gives_the_same_bytes_and_ends_flat() -> None:
    """A night played twice gives the same bytes, and `at_end: close` leaves nothing open."""
    first, second = start(), start()
    story(first)
    story(second)

    assert first.log_bytes() == second.log_bytes()
    results = [event.to_json()["payload"]["result"] for event in first.events("order_results")]
    assert len(first.events("fills")) > 5
    assert "PARTIALLY_FILLED" in results
    assert first.execution.facts()["open_orders"] == 0
    assert first.execution.facts()["open_positions"] == []
    assert first.risk.facts()["open_positions"] == []
    check_lineage(first)
    check_orders(first)
    check_money(first)


@pytest.mark.row("D-48", "D-50")
def test_trade_is_traced_back_by_ids_to_its_signals() -> None:
    """A trade leads by ids to lots, fills, orders, intents, actions and signals."""
    desk = Desk().ready()
    desk.buy()
    desk.signal("SELL")
    desk.tick()
    first = desk.events("control")[0].payload
    assert isinstance(first, RunOpening)
    portfolio, fills = Portfolio.from_opening(first), desk.events("fills")
    trades = [
        trade
        for event in fills
        if isinstance(event.payload, Fill)
        for trade in portfolio.apply(event.payload, event.ts).trades
    ]
    by_id = {event.id: event for _, event in desk.log}

    (trade,) = trades
    sides = []
    for number, order_id in (
        (trade.open_fill_n, trade.open_order_id),
        (trade.close_fill_n, trade.close_order_id),
    ):
        fill = fills[number - 1]
        assert isinstance(fill.payload, Fill)
        assert fill.payload.order_id == order_id
        assert fill.cause_ids is not None
        intent = by_id[fill.cause_ids[0]]
        assert isinstance(intent.payload, OrderIntent)
        assert intent.payload.client_order_id == fill.payload.client_order_id
        assert intent.cause_ids is not None
        action, signal = (by_id[name] for name in intent.cause_ids)
        assert (action.type, signal.type) == ("risk_action", "signal")
        sides.append(signal.to_json()["payload"]["side"])
    assert sides == ["BUY", "SELL"]
    assert trade.realised_pnl == parse_amount("-0.19998")


@pytest.mark.row("N-90", "N-67", "F126")
def test_stop_between_intent_and_fill_leaves_a_whole_pair_or_nothing() -> None:
    """A STOP at any point leaves results and fills in whole pairs (F126)."""
    whole = start()
    story(whole)
    by_step: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for _, event in whole.log:
        if event.type in ("fill", "order_result") and event.cause_ids and len(event.cause_ids) > 1:
            by_step[event.cause_ids].append(event.type)

    steps = [types for types in by_step.values() if "fill" in types]
    assert steps
    assert all(types[:2] == ["fill", "order_result"] for types in steps)


def random_move(dice: Random) -> Any:
    """Draw a move of a market that mostly stays near 100."""
    kind = dice.choices(
        ["tick", "signal", "bar", "wait", "beat", "lag", "control"], [40, 15, 6, 6, 6, 2, 2]
    )[0]
    symbol = dice.choice([SYMBOL, OTHER])
    if kind == "tick":
        wide = dice.random() < 0.2
        cents = dice.randint(9000, 11000) if wide else dice.randint(9950, 10050)
        size = dice.choice([0, 300, 5000, 20000, dice.randint(0, 9000)])
        return kind, symbol, cents, dice.randint(-1, 30), size
    if kind == "signal":
        return kind, symbol, dice.choice(["BUY", "BUY", "SELL"])
    if kind == "bar":
        return kind, symbol, dice.randint(9900, 10100)
    if kind == "wait":
        return kind, symbol, dice.randint(0, 3000)
    if kind == "lag":
        return kind, symbol, dice.choice([0, 0, 300, 6000])
    return kind, symbol, dice.choice(["halt", "resume", "resume", "exit", "gap", "mark", "end"])


@pytest.mark.slow
@pytest.mark.row("N-04", "D-02", "D-49", "N-66", "N-67")
def test_chain_random_nights_reach_every_kind_of_outcome_and_keep_the_invariants() -> None:
    """Long random nights reach every kind of outcome and keep the invariants."""
    seen: set[str] = set()
    for seed in range(60):
        desk, dice = start(sizing=seed % len(SIZINGS)), Random(seed)
        for _ in range(90):
            make(desk, random_move(dice))
        check_lineage(desk)
        check_orders(desk)
        check_money(desk)
        check_rate_and_size(desk)
        check_silence_after_stop(desk)
        for event in desk.events("risk_actions"):
            seen.add(event.to_json()["payload"]["action"])
        for event in desk.events("order_results"):
            seen.add(event.to_json()["payload"]["result"])

    assert seen >= {"ALLOW", "REDUCE", "BLOCK", "EXIT", "STOP"}
    assert seen >= {"ACCEPTED", "PARTIALLY_FILLED", "FILLED", "EXPIRED"}


def test_doubled_intent_is_refused_under_its_own_order_id_and_ends_no_order() -> None:
    """The executor refuses the copy; the order of the first goes on, and its fill is booked."""
    one = Desk().ready()
    one.signal("BUY")
    ((queue, intent),) = [each for each in one.log if isinstance(each[1].payload, OrderIntent)]
    copy = replace(intent, id=position_id(RUN_ID, "risk_role", queue, 9))

    events = one.take(queue, copy)
    pending = [order.final_filled for order in one.risk._state.positions.orders]
    (fill,) = fills(one.tick())

    assert results(events) == [("REJECTED", "duplicate")]
    assert pending == [None]
    assert one.risk.facts()["open_positions"][0]["qty"] == f"{fill.qty}00000"
    assert one.risk.facts()["open_orders"] == 0


def test_symbol_that_is_only_being_sold_is_no_company_of_an_entry() -> None:
    """Beside an entry stand what is held and what is being bought."""
    world = World()
    positions = world.positions
    positions.held = {}
    for side, symbol in (("SELL", "SOLDUSDT"), ("BUY", "BOUGHTUSDT"), ("BUY", SYMBOL)):
        world.order(side, UNIT, positions.of(symbol))

    assert positions.beside(SYMBOL) == {OTHER, "BOUGHTUSDT"}
    positions.held = {"HELDUSDT": positions.of("HELDUSDT"), SYMBOL: world.market}
    assert positions.beside(SYMBOL) == {OTHER, "BOUGHTUSDT", "HELDUSDT"}


@pytest.mark.parametrize(
    ("atrs", "largest"),
    [((), None), ((None,), None), ((2, 3), 3), ((3, 2, None), 3), ((None, 2), 2)],
)
def test_largest_atr_of_the_open_entries_counts(
    atrs: tuple[int | None, ...], largest: int | None
) -> None:
    """The widest stop of entries on their way bounds what a further one may lose."""
    world = World()
    for atr in atrs:
        world.order("BUY", UNIT)
        world.positions.orders[-1].atr = atr
    world.order("SELL", UNIT)
    world.positions.orders[-1].atr = 9

    assert world.positions.atr_of_entries(world.market) == largest
