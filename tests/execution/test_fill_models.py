"""The three fill assumptions of the one executor: touch, one increment worse, behind the queue."""

from __future__ import annotations

import random
from typing import Any

import pytest

from minibot.cores.core_profile import CoreProfile
from minibot.cores.scaled_tick import ScaledTick
from minibot.events.model import BUY, Book, Event, Fill, Gap, MarketTick, OrderResult
from minibot.events.money import parse_amount
from minibot.execution.fill_models import BY_NAME, FILL_MODELS, fill_model_of
from minibot.execution.fills import Touch
from minibot.kernel.errors import RunStop
from tests.risk.desk import SYMBOL, Desk, config, fills, of, opening, results

LOT = {"symbol": SYMBOL, "qty": "5", "price": "100", "ts": 1}


def executor(model: str, **changes: Any) -> Desk:
    """Return an executor without risk that holds five coins and fills by the model."""
    changes = {"execution__fill_model": model, "execution__order_ttl_market_ms": 600_000} | changes
    return Desk(config(**changes), first=opening("10000", (LOT,)), with_risk=False).ready()


def limit(desk: Desk, side: str, price: str, qty: str = "1", tif: str = "GTC") -> list[Event]:
    return desk.intent(side, qty, order_type="LIMIT", limit_price=price, time_in_force=tif)


def trade(desk: Desk, price: str, qty: str, taker: str | None = "SELL") -> list[Event]:
    """Return a trade at an unchanged touch."""
    desk.ts += 100
    tick = MarketTick(
        symbol=SYMBOL,
        price=price,
        kind="trade",
        bid=desk.bid,
        bid_qty="1000",
        ask=desk.ask,
        ask_qty="1000",
        recv_mono_ns=desk.ts,
        qty=qty,
        taker_side=taker,  # type: ignore[arg-type]
    )
    return desk.put("market_ticks", tick)


def book(desk: Desk, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> list[Event]:
    payload = Book(SYMBOL, tuple(bids), tuple(asks), last_update_id=1, why="interval")
    return desk.put("market_ticks", payload)


# --- the choice -------------------------------------------------------------------------------


def test_profile_of_before_the_choice_means_touch_and_an_unknown_word_stops() -> None:
    """Recorded runs name no model and replay as before; an unknown name stops the run."""
    raw = config()
    older = {key: value for key, value in raw["execution"].items() if key != "fill_model"}
    models = [type(fill_model_of(name)) for name in BY_NAME]

    assert len(set(models)) == 4
    assert CoreProfile.of({**raw, "execution": older}).execution.fill_model == FILL_MODELS[0]
    with pytest.raises(RunStop, match="fill_model"):
        fill_model_of("lucky")


@pytest.mark.parametrize("model", BY_NAME)
def test_part_of_an_order_is_a_multiple_of_the_step(model: str) -> None:
    """A part of an order is a multiple of the step: 4 of 4.5 displayed thousandths."""
    desk = executor(model)
    desk.intent("BUY", "1")

    assert [fill.qty for fill in fills(desk.tick(ask_qty="0.0045"))] == ["0.004"]
    assert [fill.qty for fill in fills(desk.tick())] == ["0.996"]


@pytest.mark.parametrize("model", BY_NAME)
@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_part_of_an_order_may_be_the_smallest_unit(model: str, side: str) -> None:
    """A hundred-millionth of a coin at the touch is filled where the step is one."""
    desk = executor(model)
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    desk.intent(side, "1")

    (fill,) = fills(desk.tick(bid_qty="0.00000001", ask_qty="0.00000001"))

    assert fill.qty == "0.00000001"


# --- worse ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [("BUY", "100.02"), ("SELL", "99.98")])
def test_worse_taker_trades_one_increment_past_the_touch(side: str, price: str) -> None:
    """A worse taker trades one increment past the touch that stands in the fill as evidence."""
    desk = executor("worse")
    desk.intent(side, "1")

    (fill,) = fills(desk.tick())

    assert (fill.price, fill.bid, fill.ask) == (price, "99.99", "100.01")


def test_worse_limit_is_never_passed_and_fills_once_the_touch_is_an_increment_through() -> None:
    """A worse limit order at the ask rests, and fills at its limit once the ask is lower."""
    desk = executor("worse")
    limit(desk, "BUY", "100.01")

    assert fills(desk.tick()) == []
    assert fills(desk.tick("99.99", "100.01")) == []
    (fill,) = fills(desk.tick("99.99", "100.00"))
    assert (fill.price, fill.liquidity) == ("100.01", "MAKER")


def test_worse_sale_at_the_smallest_price_gets_nothing() -> None:
    """A worse sale at a bid of one increment gets nothing, as no price lies below; at two it does.

    The increment is the smallest price that there is, a hundred-millionth. What another sale got
    before is nothing of this one.
    """
    desk = executor("worse")
    desk.instrument(price_increment="0.00000001", notional_min="0")
    desk.intent("SELL", "1")
    assert fills(desk.tick("1", "1")) != []
    desk.intent("SELL", "1")

    assert fills(desk.tick("0.00000001", "0.00000002")) == []
    (fill,) = fills(desk.tick("0.00000002", "0.00000003"))
    assert fill.price == "0.00000001"


# --- queue ------------------------------------------------------------------------------------


def sides(desk: Desk, side: str, levels: list[tuple[str, str]]) -> str:
    """Show levels on the side of a limit order, and return the side of those who take it."""
    is_buy = side == "BUY"
    book(desk, levels if is_buy else [("99.99", "1")], [("100.01", "1")] if is_buy else levels)
    return "SELL" if is_buy else "BUY"


def test_queue_market_order_takes_the_touch() -> None:
    """A market order takes the touch, because a taker waits behind nobody."""
    desk = executor("queue")
    desk.intent("BUY", "1")

    (fill,) = fills(desk.tick())

    assert (fill.price, fill.liquidity) == ("100.01", "TAKER")


def test_queue_ahead_at_the_touch_is_consumed_before_the_order_fills() -> None:
    """Five ahead at our bid: trades of four and two leave one for us, the next the rest."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99", "2")
    desk.tick(bid_qty="5")

    assert fills(trade(desk, "99.99", "4")) == []
    (first,) = fills(trade(desk, "99.99", "2"))
    (second,) = fills(trade(desk, "99.99", "7"))

    assert (first.qty, first.price, first.liquidity) == ("1.000", "99.99", "MAKER")
    assert second.qty == "1.000"


def test_queue_and_book_outlive_a_restart() -> None:
    """Queue and book survive a restart, also for levels below."""
    desk = executor("queue")
    book(desk, [("99.99", "5"), ("99.95", "3")], [("100.01", "1")])
    limit(desk, "BUY", "99.99", "2")
    desk.tick(bid_qty="5")
    desk.restarted()

    assert fills(trade(desk, "99.99", "5")) == []
    limit(desk, "BUY", "99.95", "1")
    desk.tick()
    desk.restarted()
    assert [fill.qty for fill in fills(trade(desk, "99.95", "6"))] == ["2.000", "1.000"]


@pytest.mark.parametrize(
    ("side", "levels", "price", "nearer"),
    [
        ("BUY", [("99.99", "1"), ("99.95", "3"), ("99.90", "8")], "99.95", ("99.95", "99.97")),
        (
            "SELL",
            [("100.01", "1"), ("100.05", "3"), ("100.10", "8")],
            "100.05",
            ("100.03", "100.05"),
        ),
    ],
)
def test_queue_behind_the_touch_is_what_the_recorded_book_displays(
    side: str, levels: list[tuple[str, str]], price: str, nearer: tuple[str, str]
) -> None:
    """The queue behind the touch is the size that the recorded book displays at that level."""
    desk = executor("queue")
    taker = sides(desk, side, levels)
    limit(desk, side, price, "1")
    desk.tick()
    desk.tick(*nearer)

    assert fills(trade(desk, price, "3", taker)) == []
    assert [fill.qty for fill in fills(trade(desk, price, "0.4", taker))] == ["0.400"]


@pytest.mark.parametrize(
    ("side", "levels", "price", "nearer"),
    [
        ("BUY", [("99.99", "1"), ("99.95", "3")], "99.97", ("99.97", "99.98")),
        ("SELL", [("100.01", "1"), ("100.05", "3")], "100.03", ("100.02", "100.03")),
    ],
)
def test_queue_between_two_displayed_levels_is_empty(
    side: str, levels: list[tuple[str, str]], price: str, nearer: tuple[str, str]
) -> None:
    """A price between two displayed levels has nobody ahead, and a trade there gives no more."""
    desk = executor("queue")
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    taker = sides(desk, side, levels)
    limit(desk, side, price)
    desk.tick()
    desk.tick(*nearer, bid_qty="900", ask_qty="900")

    assert [fill.qty for fill in fills(trade(desk, price, "0.3", taker))] == ["0.30000000"]
    assert [fill.qty for fill in fills(trade(desk, price, "0.00000001", taker))] == ["0.00000001"]


@pytest.mark.parametrize("with_book", [False, True])
def test_queue_of_unknown_length_gives_nothing_at_the_price_until_it_is_seen(
    with_book: bool,
) -> None:
    """Without a book that deep, the queue is unknown, and trades at the price fill nothing."""
    desk = executor("queue")
    if with_book:
        book(desk, [("99.99", "1")], [("100.01", "1")])
    limit(desk, "BUY", "99.90")
    desk.tick()

    assert fills(trade(desk, "99.90", "500")) == []
    desk.tick("99.90", "99.95", bid_qty="2")
    assert fills(trade(desk, "99.90", "2")) == []
    assert [fill.qty for fill in fills(trade(desk, "99.90", "1"))] == ["1.000"]


def test_queue_trade_through_the_price_fills_without_a_known_queue() -> None:
    """A trade below our bid fills us, as everybody at our price has been filled."""
    desk = executor("queue")
    limit(desk, "BUY", "99.90")
    desk.tick()

    (fill,) = fills(trade(desk, "99.89", "0.6"))

    assert (fill.qty, fill.price, fill.liquidity) == ("0.600", "99.90", "MAKER")
    # From then on nobody is ahead: the next trade at the price is ours to the last unit.
    assert [fill.qty for fill in fills(trade(desk, "99.90", "0.4"))] == ["0.400"]


@pytest.mark.parametrize(("side", "taker"), [("BUY", "SELL"), ("SELL", "BUY")])
def test_queue_inside_the_spread_is_empty(side: str, taker: str) -> None:
    """A better price than the touch has nobody ahead: the next trade there is all ours."""
    desk = executor("queue")
    limit(desk, side, "100.00")
    desk.tick("99.99", "100.01")

    assert [fill.qty for fill in fills(trade(desk, "100.00", "0.3", taker))] == ["0.300"]


@pytest.mark.parametrize(("taker", "filled"), [("SELL", 1), ("BUY", 0), (None, 0)])
def test_queue_moves_only_by_takers_of_the_other_side(taker: str | None, filled: int) -> None:
    """Only sellers shorten a queue of bids; a taker of unknown side shortens none."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="1")

    assert len(fills(trade(desk, "99.99", "3", taker))) == filled


def test_queue_gives_not_a_unit_without_a_trade_of_the_other_side_at_its_price() -> None:
    """Trades elsewhere, by a buyer, or just as large as the queue fill no bid, not even a unit."""
    desk = executor("queue")
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="1")

    others = trade(desk, "100.01", "5", "BUY"), trade(desk, "99.99", "5", "BUY")

    assert [fills(events) for events in (desk.tick(bid_qty="1"), *others)] == [[], [], []]
    assert fills(trade(desk, "99.99", "1")) == []
    assert [fill.qty for fill in fills(trade(desk, "99.99", "0.5"))] == ["0.50000000"]


def test_queue_trade_of_one_unit_through_the_price_fills_it() -> None:
    """A hundred-millionth sold below our bid is ours, whatever stood ahead of us."""
    desk = executor("queue")
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="5")

    assert [fill.qty for fill in fills(trade(desk, "99.98", "0.00000001"))] == ["0.00000001"]


def test_queue_sale_mirrors_the_purchase() -> None:
    """A resting sale waits for takers who buy at its limit."""
    desk = executor("queue")
    limit(desk, "SELL", "100.01")
    desk.tick(ask_qty="2")

    assert fills(trade(desk, "100.01", "2", "BUY")) == []
    (fill,) = fills(trade(desk, "100.01", "1", "BUY"))
    assert (fill.price, fill.liquidity) == ("100.01", "MAKER")


def test_queue_one_trade_is_given_once_to_all_our_orders() -> None:
    """One trade is shared by our orders at one price, beyond the queue."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="1")

    said = fills(trade(desk, "99.99", "2.5"))

    assert sum(parse_amount(fill.qty) for fill in said) <= parse_amount("1.5")
    assert said[0].qty == "1.000"


def test_queue_opposite_touch_at_the_limit_fills_by_its_displayed_size() -> None:
    """An ask at our bid fills us by its displayed size, as it has met all bids there."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="500")

    (fill,) = fills(desk.tick("99.98", "99.99", ask_qty="0.25"))

    assert (fill.qty, fill.price, fill.liquidity) == ("0.250", "99.99", "MAKER")


def test_queue_is_gone_once_the_opposite_touch_has_been_at_the_limit() -> None:
    """A queue that an ask has met is gone: the next sale at our bid is all ours."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99")
    desk.tick(bid_qty="500")
    desk.tick("99.98", "99.99", ask_qty="0.25")
    desk.tick("99.99", "100.01", bid_qty="3")

    (fill,) = fills(trade(desk, "99.99", "2"))

    assert (fill.qty, fill.price, fill.liquidity) == ("0.750", "99.99", "MAKER")


def test_queue_gap_forgets_the_book_and_shortens_no_queue() -> None:
    """A gap forgets the displayed book and keeps each existing place in the queue."""
    desk = executor("queue")
    book(desk, [("99.99", "1"), ("99.95", "3")], [("100.01", "1")])
    limit(desk, "BUY", "99.95")
    desk.tick()
    desk.put("market_ticks", Gap(SYMBOL, "trade", desk.ts - 10, desk.ts, "sequence"))
    desk.tick()
    limit(desk, "BUY", "99.95")
    desk.tick()
    desk.tick("99.95", "99.97")

    # The first order has three ahead; the second meets a thousand when the touch reaches it.
    events = trade(desk, "99.95", "6")

    assert [fill.qty for fill in fills(events)] == ["1.000"]


@pytest.mark.parametrize(("tif", "reason"), [("IOC", "unfilled_ioc"), ("FOK", "unfilled_fok")])
def test_queue_order_that_may_not_wait_joins_no_queue(tif: str, reason: str) -> None:
    """An order that may not wait meets the market once and joins no queue."""
    desk = executor("queue")
    limit(desk, "BUY", "99.99", tif=tif)

    assert results(desk.tick()) == [("EXPIRED", reason)]


# --- all of them ------------------------------------------------------------------------------


def thin_night(model: str, seed: int, *, restarts: bool) -> Desk:
    """Play two hundred random steps on a thin book, with partial fills."""
    chance = random.Random(seed)
    desk = executor(model, execution__order_ttl_market_ms=3000)
    for _ in range(200):
        cents = 9_990 + chance.randrange(12)
        bid, ask = f"{cents / 100:.2f}", f"{(cents + chance.randrange(1, 3)) / 100:.2f}"
        price = f"{(cents + chance.randrange(-3, 4)) / 100:.2f}"
        side = chance.choice(("BUY", "SELL"))
        qty = f"{chance.randrange(1, 900) / 1000:.3f}"
        what = chance.randrange(5)
        if what == 0:
            desk.intent(side, qty)
        elif what == 1:
            limit(desk, side, price, qty, chance.choice(("GTC", "IOC", "FOK")))
        elif what == 2:
            trade(desk, price, qty, chance.choice(("BUY", "SELL", None)))
        elif what == 3:
            book(desk, [(bid, qty), ("99.80", "2")], [(ask, qty), ("100.40", "2")])
        else:
            desk.tick(bid, ask, bid_qty=qty, ask_qty=f"{chance.randrange(0, 400) / 1000:.3f}")
        if chance.random() < 0.2 and restarts:
            desk.restarted()
    desk.beat(after_ms=10_000)
    return desk


@pytest.mark.row("D-49")
@pytest.mark.parametrize("model", BY_NAME)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_thin_book_partial_fills_sum_to_what_each_result_says_and_come_the_same_twice(
    model: str, seed: int
) -> None:
    """Fills sum to filled, filled and remaining to qty; the same run gives the same bytes."""
    desk = thin_night(model, seed, restarts=False)

    filled: dict[str, int] = {}
    ordered: dict[str, int] = {}
    partial = 0
    for event in desk.events("fills") + desk.events("order_results"):
        payload = event.payload
        if isinstance(payload, Fill):
            filled[payload.order_id] = filled.get(payload.order_id, 0) + parse_amount(payload.qty)
            partial += 1
    for event in desk.events("order_results"):
        (result,) = of([event], OrderResult)
        if result.result in ("FILLED", "EXPIRED") and result.remaining_qty is not None:
            ordered[result.order_id] = parse_amount(result.filled_qty) + parse_amount(
                result.remaining_qty
            )
            assert parse_amount(result.filled_qty) == filled.get(result.order_id, 0)
    assert partial > len(filled) > 3
    assert all(qty <= ordered[order_id] for order_id, qty in filled.items())
    assert thin_night(model, seed, restarts=False).log_bytes() == desk.log_bytes()


@pytest.mark.parametrize("model", BY_NAME)
def test_model_restored_anywhere_goes_on_to_the_same_bytes(model: str) -> None:
    """A model restored from its state, books and queues included, continues to the same bytes."""
    plain, restarted = (thin_night(model, 7, restarts=restarts) for restarts in (False, True))

    assert len(plain.events("fills")) > 3
    assert restarted.log_bytes() == plain.log_bytes()


@pytest.mark.parametrize("model", BY_NAME)
@pytest.mark.parametrize("seed", [4, 5])
def test_no_fill_is_better_than_its_limit_or_than_the_market_of_its_moment(
    model: str, seed: int
) -> None:
    """A taker never beats the touch in its fill, and a maker pays its own limit."""
    desk = thin_night(model, seed, restarts=False)
    limits = {
        event.payload.client_order_id: event.payload.limit_price  # type: ignore[attr-defined]
        for event in desk.events("order_intents")
    }

    for fill in of(desk.events("fills"), Fill):
        price, bound = parse_amount(fill.price), limits[fill.client_order_id]
        sign = 1 if fill.side == BUY else -1
        if bound is not None:
            assert sign * price <= sign * parse_amount(bound)
        if fill.liquidity == "TAKER":
            touch = fill.ask if fill.side == BUY else fill.bid
            assert sign * price >= sign * parse_amount(touch)
        else:
            assert fill.price == bound


# --- book -------------------------------------------------------------------------------------

ASKS = [("100.01", "1"), ("100.02", "1.5"), ("100.05", "10")]
BIDS = [("99.99", "1"), ("99.98", "1.5"), ("99.90", "10")]


def walker(asks: list[tuple[str, str]] = ASKS, **changes: Any) -> Desk:
    """Return an executor that walks a book of a few levels, with a coin at either touch."""
    desk = executor("book", **changes)
    book(desk, BIDS, asks)
    return desk


def walked(events: list[Event]) -> list[tuple[str, str, str]]:
    """Return quantity, price and displayed size of fills."""
    return [(fill.qty, fill.price, str(fill.displayed_qty)) for fill in fills(events)]


def coin(desk: Desk) -> list[Event]:
    """Return the messages after a tick that shows a coin at either touch."""
    return desk.tick("99.99", "100.01", bid_qty="1", ask_qty="1")


def test_book_order_walks_the_levels_each_at_its_price() -> None:
    """Three coins bought are 1 at the touch, 1.5 at the next level and 0.5 at the third."""
    desk = walker()
    desk.intent("BUY", "3")

    events = coin(desk)

    assert walked(events) == [
        ("1.000", "100.01", "1.000"),
        ("1.500", "100.02", "1.500"),
        ("0.500", "100.05", "10.000"),
    ]
    assert results(events) == [
        ("PARTIALLY_FILLED", "partial"),
        ("PARTIALLY_FILLED", "partial"),
        ("FILLED", "filled"),
    ]


def test_book_sale_walks_the_bids_downwards() -> None:
    """Three coins sold are 1 at the touch, 1.5 a cent below and 0.5 at 99.90."""
    desk = walker()
    desk.intent("SELL", "3")

    assert [part[:2] for part in walked(coin(desk))] == [
        ("1.000", "99.99"),
        ("1.500", "99.98"),
        ("0.500", "99.90"),
    ]


def test_book_order_goes_no_deeper_than_recorded_and_no_level_gives_twice() -> None:
    """The rest waits: the same sizes in the next book are still ours, another size is new."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "4")
    first = walked(coin(desk))
    book(desk, BIDS, ASKS[:2])
    same = walked(coin(desk))
    book(desk, BIDS, [ASKS[0], ("100.02", "2")])

    assert [part[0] for part in first] == ["1.000", "1.500"]
    assert same == []
    assert [part[:2] for part in walked(coin(desk))] == [("1.500", "100.02")]


@pytest.mark.parametrize(
    ("tif", "qty", "price", "filled", "ended"),
    [
        ("GTC", "3", "100.02", ["1.000", "1.500"], None),
        ("IOC", "3", "100.02", ["1.000", "1.500"], ("EXPIRED", "unfilled_ioc")),
        ("FOK", "2.5", "100.02", ["1.000", "1.500"], ("FILLED", "filled")),
        ("FOK", "2.501", "100.02", [], ("EXPIRED", "unfilled_fok")),
    ],
)
def test_book_limit_walks_up_to_its_price(
    tif: str, qty: str, price: str, filled: list[str], ended: tuple[str, str] | None
) -> None:
    """A limit takes all levels up to its price; FOK only where they hold all of it."""
    desk = walker()
    limit(desk, "BUY", price, qty, tif)

    events = coin(desk)

    assert [part[0] for part in walked(events)] == filled
    assert results(events)[-1] == (ended or ("PARTIALLY_FILLED", "partial"))


def test_book_levels_that_the_touch_has_passed_are_gone() -> None:
    """A touch above recorded asks leaves only the levels above it."""
    desk = walker()
    desk.intent("BUY", "3")

    events = desk.tick("100.02", "100.03", ask_qty="1")

    assert [part[:2] for part in walked(events)] == [("1.000", "100.03"), ("2.000", "100.05")]


def test_book_of_before_a_gap_fills_nothing() -> None:
    """Behind a gap the touch alone trades, until a book comes."""
    desk = walker()
    desk.intent("BUY", "3")
    gap = Gap(symbol=SYMBOL, stream="trade", from_ts=desk.ts, to_ts=desk.ts, why="reconnect")
    desk.put("market_ticks", gap)

    alone = walked(coin(desk))
    book(desk, BIDS, ASKS)

    assert [part[0] for part in alone] == ["1.000"]
    assert [part[0] for part in walked(coin(desk))] == ["1.500", "0.500"]


def test_book_that_comes_after_a_gap_without_one_is_known() -> None:
    """A gap before the first book loses nothing, and leaves no trace in the state."""
    desk = executor("book")
    before = desk.execution.state()["fill_model"]

    desk.put("market_ticks", Gap(SYMBOL, "trade", desk.ts, desk.ts, "reconnect"))
    after = desk.execution.state()["fill_model"]
    book(desk, BIDS, ASKS)
    coin(desk)
    desk.intent("BUY", "3")

    assert after == before == {"books": {}, "taken": {}}
    assert [part[0] for part in walked(coin(desk))] == ["1.000", "1.500", "0.500"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_book_levels_stay_taken_over_a_gap(*, is_restarted: bool) -> None:
    """No level gives twice, also as the touch before the next book; one of another size is new."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "4")
    first = walked(coin(desk))
    desk.put("market_ticks", Gap(SYMBOL, "trade", desk.ts, desk.ts, "reconnect"))
    if is_restarted:
        desk.restarted()
    touched = walked(desk.tick("99.99", "100.02", bid_qty="1", ask_qty="1.5"))
    book(desk, BIDS, ASKS[:2])
    same = walked(coin(desk))
    book(desk, BIDS, [ASKS[0], ("100.02", "2")])

    assert [part[0] for part in first] == ["1.000", "1.500"]
    assert (touched, [part[:2] for part in same]) == ([], [("1.000", "100.01")])
    assert [part[:2] for part in walked(coin(desk))] == [("0.500", "100.02")]


def test_book_restored_between_two_books_remembers_what_is_taken() -> None:
    """An executor from its state fills no level twice."""
    whole, again = walker(ASKS[:2]), walker(ASKS[:2])
    for desk in (whole, again):
        desk.intent("BUY", "4")
        coin(desk)
        desk.intent("SELL", "2")
        coin(desk)
    again.restarted()
    for desk in (whole, again):
        book(desk, BIDS, ASKS)
        coin(desk)

    assert whole.log_bytes() == again.log_bytes()
    assert [fill.qty for fill in fills(event for _, event in again.log)] == [
        *("1.000", "1.500", "1.000", "1.000", "1.500"),
    ]


@pytest.mark.parametrize(
    ("tif", "qty", "filled", "ended"),
    [
        ("FOK", "95.459", ["50.000", "45.459"], ("FILLED", "filled")),
        ("FOK", "95.460", [], ("EXPIRED", "insufficient_cash")),
        ("IOC", "95.460", ["50.000", "45.459"], ("EXPIRED", "insufficient_cash")),
    ],
)
def test_book_fok_at_the_market_is_paid_whole_or_not_filled(
    tif: str, qty: str, filled: list[str], ended: tuple[str, str]
) -> None:
    """Cash of 10000 pays 50 at 99.99 and 45.459 at 110; a step more fills no FOK at all."""
    desk = walker([("99.99", "50"), ("110", "50")])
    desk.tick("99.98", "99.99")
    desk.intent("BUY", qty, time_in_force=tif)

    events = desk.tick("99.98", "99.99", ask_qty="50")

    assert [part[0] for part in walked(events)] == filled
    assert results(events)[-1] == ended


@pytest.mark.parametrize(("cash", "count"), [("100.02", 0), ("100.02000001", 2)])
def test_book_fok_pays_for_the_smallest_level_too(cash: str, count: int) -> None:
    """A hundred-millionth at the touch costs a unit more than the next level takes less."""
    keys = config(execution__fill_model="book", execution__order_ttl_market_ms=600_000)
    desk = Desk(keys, first=opening(cash), with_risk=False).ready()
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001", notional_min="0")
    book(desk, BIDS, [("100.01", "0.00000001"), ("100.02", "5")])
    desk.tick("99.99", "100.01", ask_qty="0.00000001")
    desk.intent("BUY", "1", time_in_force="FOK")

    events = desk.tick("99.99", "100.01", ask_qty="0.00000001")

    assert len(fills(events)) == count


@pytest.mark.parametrize(("shown", "filled"), [("1.5", []), ("1.6", ["1.000"])])
@pytest.mark.parametrize("is_maker", [False, True])
def test_book_level_that_becomes_the_touch_gives_nothing_twice(
    is_maker: bool, shown: str, filled: list[str]
) -> None:
    """Size taken behind the touch stays taken at the touch, until another size shows there."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "2.5")
    coin(desk)
    if is_maker:
        desk.tick("99.99", "100.03")
    limit(desk, "BUY", "100.02")
    if is_maker:
        desk.tick("99.99", "100.03")
    desk.restarted()

    events = desk.tick("99.99", "100.02", ask_qty=shown)

    assert [part[0] for part in walked(events)] == filled


def test_book_quote_reports_the_size_displayed_at_the_touch() -> None:
    """A fill of a resting limit names the size that was shown on the other side."""
    desk = walker(ASKS)
    limit(desk, "BUY", "100.00")
    desk.tick("99.99", "100.01")

    (fill,) = fills(desk.tick("99.99", "100.00", ask_qty="7"))

    assert fill.displayed_qty == "7.000"


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize(
    ("side", "better"), [("BUY", ("99.99", "100.00")), ("SELL", ("100.00", "100.01"))]
)
def test_book_touch_that_becomes_a_level_gives_nothing_twice(
    side: str, better: tuple[str, str], *, is_restarted: bool
) -> None:
    """A coin taken at the touch is gone behind a better one and after it, like deeper ones."""
    desk = executor("book")
    book(desk, BIDS[:2], ASKS[:2])
    desk.intent(side, "5")
    first = walked(coin(desk))
    if is_restarted:
        desk.restarted()
    said = walked(desk.tick(*better, bid_qty="0.5", ask_qty="0.5"))
    book(desk, BIDS[:2], ASKS[:2])
    again = walked(coin(desk))

    assert [part[0] for part in first] == ["1.000", "1.500"]
    assert ([part[:2] for part in said], again) == ([("0.500", "100.00")], [])


@pytest.mark.parametrize(
    ("between", "filled"),
    [
        ([("100.01", "0.4"), ("100.02", "1.5")], [("0.400", "100.01")]),
        ([("100.02", "1.5")], []),
    ],
)
def test_book_that_shows_another_size_where_the_touch_was_is_new(
    between: list[tuple[str, str]], filled: list[tuple[str, str]]
) -> None:
    """A size that changed at the level behind the touch is the market's own, and can be taken."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "5")
    coin(desk)
    desk.tick("99.99", "100.00", ask_qty="0.5")
    book(desk, BIDS, between)

    events = desk.tick("99.99", "100.00", ask_qty="0.5")

    assert [part[:2] for part in walked(events)] == filled


def test_book_touch_that_a_worse_one_followed_is_new_when_it_comes_back() -> None:
    """Once the touch has passed a price, the market has taken its coins, and ours with them."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "5")
    first = walked(coin(desk))
    passed = walked(desk.tick("99.99", "100.02", ask_qty="1.5"))

    assert [part[0] for part in first] == ["1.000", "1.500"]
    assert (passed, [part[:2] for part in walked(coin(desk))]) == ([], [("1.000", "100.01")])


def test_book_touch_taken_in_parts_gives_its_size_in_all() -> None:
    """Size left at the touch is counted once, though touch and model both count it."""
    desk = walker(ASKS[:1])
    for qty in ("0.4", "0.3", "0.5"):
        desk.intent("BUY", qty)

    assert [part[0] for part in walked(coin(desk))] == ["0.400", "0.300", "0.300"]


def test_book_touch_taken_in_parts_is_a_level_with_the_rest() -> None:
    """Two of our orders took 0.7 of the coin; behind a better touch it holds 0.3 for the next."""
    desk = walker(ASKS[:2])
    for qty in ("0.4", "0.3"):
        desk.intent("BUY", qty)
        coin(desk)
    desk.intent("BUY", "5")

    events = desk.tick("99.99", "100.00", ask_qty="0.5")

    assert [part[:2] for part in walked(events)] == [
        ("0.500", "100.00"),
        ("0.300", "100.01"),
        ("1.500", "100.02"),
    ]


def test_book_quote_gets_nothing_of_a_level_that_was_taken() -> None:
    """The coins at 100.02 are ours already; the quote there waits for others."""
    desk = walker(ASKS[:2])
    desk.intent("BUY", "2.5")
    coin(desk)
    limit(desk, "BUY", "100.02")
    resting = walked(desk.tick("99.99", "100.05", ask_qty="1"))

    same = walked(desk.tick("99.99", "100.02", ask_qty="1.5"))
    others = walked(desk.tick("99.99", "100.02", ask_qty="2"))

    assert (resting, same) == ([], [])
    assert [part[1] for part in others] == ["100.02"]


@pytest.mark.parametrize(
    ("side", "touch", "deeper"),
    [
        ("BUY", ("99.98", "100.00"), "100.05"),
        ("SELL", ("100.00", "100.02"), "99.90"),
    ],
)
def test_book_quote_filled_at_the_touch_leaves_nothing_of_it_to_another_order(
    side: str, touch: tuple[str, str], deeper: str
) -> None:
    """A coin shown at 100 fills the order that rests there; the next one goes deeper."""
    desk = walker()
    desk.intent(side, "3")  # It leaves half a coin of nothing before the third level.
    coin(desk)
    limit(desk, side, "100.00")
    coin(desk)
    desk.intent(side, "1")

    events = desk.tick(*touch, bid_qty="1", ask_qty="1")

    assert [part[:2] for part in walked(events)] == [("1.000", "100.00"), ("1.000", deeper)]


@pytest.mark.parametrize(
    ("side", "touch", "better"),
    [
        ("BUY", ("99.98", "100.00"), ("99.98", "99.99")),
        ("SELL", ("100.00", "100.02"), ("100.01", "100.02")),
    ],
)
def test_book_touch_that_a_quote_took_gives_nothing_behind_a_better_one(
    side: str, touch: tuple[str, str], better: tuple[str, str]
) -> None:
    """The coin at 100 that filled our quote is gone also once the book shows it as a level."""
    desk = walker()
    limit(desk, side, "100.00")
    quoted = walked(desk.tick("99.97", "100.03")) + walked(
        desk.tick(*touch, bid_qty="1", ask_qty="1")
    )
    shown = [("100.00", "1")]
    book(desk, shown if side == "SELL" else BIDS, shown if side == "BUY" else ASKS)
    desk.intent(side, "2")

    said = walked(desk.tick(*better, bid_qty="0.5", ask_qty="0.5"))

    assert [part[:2] for part in quoted] == [("1.000", "100.00")]
    assert [part[0] for part in said] == ["0.500"]


def test_book_counts_what_is_taken_of_a_level_to_the_last_unit() -> None:
    """Two of five coins behind the touch are ours; the next order gets the other three."""
    desk = executor("book")
    desk.instrument(qty_increment="0.00000001", qty_min="0.00000001", notional_min="0")
    book(desk, BIDS, [("100.01", "1"), ("100.02", "5")])
    desk.intent("BUY", "3")
    desk.tick("99.99", "100.01", ask_qty="1")
    desk.intent("BUY", "20")

    events = desk.tick("99.99", "100.01", ask_qty="1")

    assert [part[:2] for part in walked(events)] == [("3.00000000", "100.02")]


@pytest.mark.parametrize("sizes", [("3", "2.5"), ("2.5",)])
def test_book_counts_what_is_taken_of_a_touch_to_the_last_unit(sizes: tuple[str, ...]) -> None:
    """A touch that shows another size than before has lost our new coin alone, and no unit more."""
    finest = {"qty_increment": "0.00000001", "qty_min": "0.00000001", "notional_min": "0"}
    desk = executor("book")
    desk.instrument(**finest)
    book(desk, BIDS, [("100.01", sizes[0]), ("100.02", "5")])
    for size in sizes:
        desk.intent("BUY", "1")
        desk.tick("99.99", "100.01", ask_qty=size)
    book(desk, BIDS, [("100.01", "2.5"), ("100.02", "5")])
    desk.intent("BUY", "20")

    events = desk.tick("99.99", "100.00", ask_qty="0.5")

    assert [part[:2] for part in walked(events)] == [
        ("0.50000000", "100.00"),
        ("1.50000000", "100.01"),
        ("5.00000000", "100.02"),
    ]


def test_touch_without_a_tick_shows_nothing_and_nothing_is_taken() -> None:
    """Every amount of a fresh touch is zero."""
    amounts = {"bid", "bid_qty", "bid_taken", "ask", "ask_qty", "ask_taken"}
    state = Touch().to_json()

    assert {state[name] for name in amounts} == {"0.00000000"}


@pytest.mark.parametrize(("bid", "ask", "mark"), [(1, 1, 1), (0, 1, 0), (2, 1, 0)])
def test_touch_of_the_smallest_prices_is_the_same_after_a_restart(
    bid: int, ask: int, mark: int
) -> None:
    """A bid of one hundred-millionth is a price; without a bid, or above the ask, there is none."""
    touch, tick = Touch(), ScaledTick(SYMBOL)
    tick.bid, tick.ask = bid, ask
    touch.take(tick, 1)

    restored = Touch.from_json(touch.to_json())

    assert (touch.is_usable, touch.mark) == (restored.is_usable, restored.mark) == (mark > 0, mark)
