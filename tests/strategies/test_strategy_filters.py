"""Filters of `nore_strategy_v1`: both sides of each boundary, with its reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minibot.events.model import Book, Check, Draft, Signal
from tests.strategies.strategy_feed import (
    PRICE,
    SYMBOL,
    Feed,
    config,
    dip,
    flat,
    jump,
    signals,
    stairs,
)


def only(drafts: list[Draft]) -> Signal:
    (signal,) = signals(drafts)
    return signal


def check_of(signal: Signal, name: str) -> Check:
    (found,) = [check for check in signal.checks if check.name == name]
    assert isinstance(found, Check)
    return found


def warm(**changes: object) -> Feed:
    """Return a flat, warmed-up market whose next dip is a BUY."""
    feed = Feed(config(**changes))
    feed.bars(flat(40))
    return feed


def dip_with(feed: Feed, bid: str, ask: str, bid_qty: str = "1", ask_qty: str = "1") -> list[Draft]:
    """Feed the dip with a special touch."""
    feed.ts += 1000
    feed.last = dip()
    feed.quote(bid=bid, ask=ask, bid_qty=bid_qty, ask_qty=ask_qty)
    return feed.bare_bar(dip())


@pytest.mark.row("N-59", "N-61", "B-05")
def test_dip_in_sound_market_is_bought_with_reason_and_checks() -> None:
    """The plain dip is a BUY with all checks, as the base of the cases below."""
    feed = warm()
    (draft,) = feed.bar(dip())

    signal = only([draft])
    assert (signal.side, signal.reason_code) == ("BUY", "reversion_oversold")
    assert signal.reason.startswith("BUY: rsi ")
    assert all(check.passed for check in signal.checks)
    assert check_of(signal, "rsi").threshold == "<= 30"
    assert check_of(signal, "reversion_bps").threshold == ">= 1.0"
    assert 60 <= signal.score <= 100
    assert 50 <= signal.confidence <= 100
    assert signal.horizon_ms == 60_000
    assert draft.tick_seq == feed.seq
    assert draft.ts == feed.ts
    assert draft.queue == "signals"


@pytest.mark.row("N-63", "B-80")
def test_spread_of_200_bps_suppresses_signal_and_names_filter() -> None:
    """A spread of 200 bps gives HOLD with the filter's name and numbers."""
    feed = warm()
    signal = only(dip_with(feed, bid="59400.00", ask="60600.00"))

    assert (signal.side, signal.reason_code) == ("HOLD", "spread_too_wide")
    assert signal.reason == "HOLD: spread 200.00 bps > 8.0"
    assert check_of(signal, "spread_bps") == Check("spread_bps", "200.00", "<= 8.0", False)


@pytest.mark.row("N-63")
@pytest.mark.parametrize(("ask", "side"), [("60008.00", "BUY"), ("60008.01", "HOLD")])
def test_spread_around_limit_refuses_only_above(ask: str, side: str) -> None:
    """A spread at the limit passes; a cent more does not."""
    limit = (60_008.0 - 60_000.0) / 60_004.0 * 10_000.0
    feed = warm(spread_bps_max=repr(limit), confidence_min=0)
    signal = only(dip_with(feed, bid="60000.00", ask=ask))

    assert signal.side == side


@pytest.mark.row("N-63", "B-80")
@pytest.mark.parametrize(("qty", "side"), [("0.5", "BUY"), ("0.49999", "HOLD")])
def test_liquidity_around_limit_refuses_only_below(qty: str, side: str) -> None:
    """A purchase needs its notional at the ask; the bid does not matter."""
    feed = warm(touch_notional_min="30000")
    signal = only(dip_with(feed, bid="59980.00", ask="60000.00", ask_qty=qty, bid_qty="0.00001"))

    assert signal.side == side
    if side == "HOLD":
        assert signal.reason_code == "liquidity_too_low"
        assert signal.reason == "HOLD: 29999.40 at the ask < 30000"


@pytest.mark.row("B-80")
@pytest.mark.parametrize(("age_ms", "side"), [(3000, "BUY"), (3001, "HOLD")])
def test_tick_age_around_limit_refuses_only_older(age_ms: int, side: str) -> None:
    """A tick at the age limit passes; a millisecond more does not."""
    feed = warm()
    feed.ts += age_ms
    feed.last = dip()
    feed.quote(age_ms=age_ms)
    signal = only(feed.bare_bar(dip()))

    assert signal.side == side
    if side == "HOLD":
        assert signal.reason == "HOLD: tick age 3001 ms > 3000"
        assert signal.reason_code == "stale_tick"


@pytest.mark.row("B-80")
def test_missing_tick_holds() -> None:
    """Bars without any tick give HOLD."""
    feed = Feed()
    for close in flat(40):
        feed.bar(close, quoted=False)
    drafts = feed.bar(dip(), quoted=False)

    assert drafts == []
    assert feed.core.facts()["reason"] == "HOLD: no tick yet"


@pytest.mark.row("B-80")
@pytest.mark.parametrize(("bid", "ask"), [("60000.02", "60000.01"), ("0", "60000.01"), ("0", "0")])
def test_unusable_touch_holds(bid: str, ask: str) -> None:
    """A crossed or one-sided touch gives HOLD."""
    signal = only(dip_with(warm(), bid=bid, ask=ask))

    assert (signal.side, signal.reason_code) == ("HOLD", "book_unusable")
    assert signal.reason == "HOLD: book unusable: touch missing or crossed"
    assert check_of(signal, "spread_bps").value == "missing"


@pytest.mark.row("B-80")
def test_depth_gap_holds_until_next_book() -> None:
    """A gap of the depth gives HOLD until the next book."""
    feed = warm()
    feed.gap("btcusdt@depth@100ms")
    # A book with one side does not count.
    feed.take(Book(SYMBOL, (), (("60001.00", "1"),), 6, "resync"))
    refused = only(feed.bar(dip()))
    feed.book()
    feed.bars(flat(30))
    accepted = only(feed.bar(dip()))

    assert refused.reason == "HOLD: book unusable: gap in the depth stream"
    assert refused.reason_code == "book_unusable"
    assert accepted.side == "BUY"


@pytest.mark.row("B-80")
def test_trade_gap_with_hole_in_bars_starts_anew() -> None:
    """A hole in the bars resets the indicators, and the reason counts the warm-up."""
    feed = warm()
    feed.ts += 3_000
    assert feed.gap("trade") == []
    answer = feed.core.facts()["reason"]
    first = only(feed.bar(dip()))
    rest = [signal for close in flat(19) for signal in signals(feed.bar(close))]
    waiting = feed.core.facts()["reason"]
    ready = signals(feed.bar(PRICE))

    assert answer == "HOLD: waits for fresh bars after a gap of 2000 ms"
    assert first.reason == "HOLD: warmup 1/21 bars of 1s since the gap"
    assert first.reason_code == "warmup"
    assert rest == []
    assert waiting == "HOLD: warmup 20/21 bars of 1s since the gap"
    assert [signal.reason_code for signal in ready] == ["no_setup"]


def test_trade_gap_that_history_fills_goes_on() -> None:
    """Missing bars that history fills cause no second warm-up."""
    feed = warm()
    feed.ts += 3_000
    feed.gap("trade")
    for back in (2_000, 1_000, 0):
        assert feed.bare_bar(PRICE, is_history=True, back=back) == []

    assert feed.core.facts()["reason_code"] == "warmup"
    assert only(feed.bar(dip())).side == "BUY"


@pytest.mark.row("B-80")
def test_trade_gap_that_history_fills_in_part_starts_anew() -> None:
    """History that leaves one bar out causes a new warm-up."""
    feed = warm()
    feed.ts += 3_000
    feed.gap("trade")
    for back in (2_000, 0):
        feed.bare_bar(PRICE, is_history=True, back=back)

    assert only(feed.bar(dip())).reason == "HOLD: warmup 2/21 bars of 1s since the gap"


def test_quote_gap_forgets_order_flow_and_keeps_bars() -> None:
    """A gap of the quotes resets the order flow and keeps the bars."""
    feed = warm(flow_touches=5)
    for n in range(9):
        feed.quote(ask_qty=str(n + 1))
    feed.gap("bookTicker")
    answer = feed.core.facts()["reason_code"]
    feed.ts += 2_000  # Two missing bars, which would matter only with missing trades.
    signal = only(feed.bar(dip()))

    assert answer == "no_setup"

    assert signal.side == "BUY"
    assert signal.confidence == only(warm(flow_touches=500).bar(dip())).confidence


@pytest.mark.parametrize(("length_ms", "count"), [(59_999, 2), (60_000, 0)])
def test_ticks_mode_gap_shorter_than_trend_bar_keeps_trend(length_ms: int, count: int) -> None:
    """In ticks mode a gap shorter than a trend bar keeps the trend."""
    feed = Feed(config(bars_from_ticks=True))
    for _ in range(2):
        feed.ts += 60_000
        feed.bare_bar(PRICE, interval="1m", is_history=True)
    feed.gap("trade", length_ms)
    for n in range(31):
        feed.trade(PRICE, feed.ts + n * 1000)

    trend = feed.core.facts()["decisions"]["BTCUSDT"]["checks"]["trend_1m_bps"]
    assert trend == f"warmup {count}/21"


@pytest.mark.row("B-80")
def test_instrument_unknown_or_not_trading_holds() -> None:
    """A symbol without rules, or halted, gives HOLD."""
    feed = Feed(is_opened=False)
    unknown = only(feed.bars([*flat(40), dip()])[:1])
    feed.status("BREAK")
    halted = only(feed.bar(dip()))
    feed.status("TRADING")
    feed.bars(flat(30))
    open_again = only(feed.bar(dip()))

    assert (unknown.reason_code, unknown.reason) == (
        "no_instrument",
        "HOLD: no instrument rules of BTCUSDT yet",
    )
    assert halted.reason == "HOLD: instrument status BREAK, not TRADING"
    assert halted.reason_code == "not_trading"
    assert open_again.side == "BUY"


@pytest.mark.row("B-80")
def test_warmup_counts_bars_until_ready() -> None:
    """Warm-up gives HOLD with its count until the last missing bar."""
    feed = Feed()
    reasons = []
    for close in flat(21):
        feed.bar(close)
        reasons.append(feed.core.facts()["reason"])

    assert reasons[8] == "HOLD: warmup 9/21 bars of 1s"
    assert reasons[19] == "HOLD: warmup 20/21 bars of 1s"
    assert reasons[20].startswith("HOLD: no setup: momentum ")


def test_warmup_covers_the_longest_indicator() -> None:
    """Warm-up waits for the longest indicator, here the RSI."""
    feed = Feed(config(rsi_period=40))
    feed.bars(flat(40))

    assert feed.core.facts()["reason"] == "HOLD: warmup 40/41 bars of 1s"


@pytest.mark.row("B-80")
@pytest.mark.parametrize("text", ["nan", "0", "-1", "inf"])
def test_bar_without_sound_price_empties_the_indicators(text: str) -> None:
    """A bar with an impossible price resets the indicators."""
    feed = warm()
    feed.ts += 1000
    feed.quote()
    feed.bare_bar(float(text))

    feed.bar(dip())
    assert feed.core.facts()["reason"] == "HOLD: warmup 1/21 bars of 1s"


def test_setup_missing_holds_with_values() -> None:
    """A missing setup gives HOLD with the values that fell short."""
    feed = Feed()
    drafts = feed.bars(flat(21))

    signal = signals(drafts)[-1]
    assert signal.reason_code == "no_setup"
    assert signal.reason.startswith("HOLD: no setup: momentum 0.0")
    assert ", rsi 49.3 (30, 70), " in signal.reason
    assert signal.reason.endswith(" (30, 70), price 0.00 bps from its average (+-1.0)")
    assert check_of(signal, "rsi").threshold == "<= 30 or >= 70"
    assert [check.name for check in signal.checks if not check.passed] == [
        "rsi",
        "momentum_bps",
        "reversion_bps",
        "setup",
    ]


def test_setup_missing_marks_what_was_met() -> None:
    """A missing setup marks the conditions that were met."""
    feed = warm()
    feed.bar(dip(0.9))
    feed.gap("depth")  # Another reason and back again, so that the hold is written.
    feed.bar(dip(0.91))
    feed.book()
    signal = only(feed.bar(dip(0.92)))

    assert signal.reason_code == "no_setup"
    assert check_of(signal, "rsi").passed
    assert not check_of(signal, "momentum_bps").passed
    assert not check_of(signal, "reversion_bps").passed
    assert (signal.score, signal.confidence) == (0, 0)


@pytest.mark.row("B-80")
def test_oversold_while_momentum_falls_is_conflicting() -> None:
    """An oversold RSI with falling momentum is conflicting and gives HOLD."""
    feed = warm()
    price = PRICE
    for _ in range(6):
        price = dip(4.0, price)
        feed.bar(price)

    facts = feed.core.facts()
    assert facts["reason_code"] == "conflicting"
    assert "oversold, but momentum" in facts["reason"]


@pytest.mark.row("N-44")
def test_sell_when_flat_is_hold_no_position() -> None:
    """A SELL when flat is HOLD with `no_position` (U-22)."""
    signal = only(warm().bar(jump()))

    assert (signal.side, signal.reason_code) == ("HOLD", "no_position")
    assert signal.reason.startswith("HOLD: no position to sell, though rsi ")
    assert check_of(signal, "position") == Check("position", "flat", "long", False)


def test_buy_when_long_is_hold_in_position() -> None:
    """A BUY when long is HOLD with `in_position`."""
    feed = Feed()
    feed.buy()
    signal = only(feed.bar(dip()))

    assert (signal.side, signal.reason_code) == ("HOLD", "in_position")
    assert signal.reason.startswith("HOLD: already long 0.008, though rsi ")


def test_overbought_when_long_is_sold() -> None:
    """An overbought position is sold; the cause is the bar."""
    feed = Feed()
    feed.take_lot("0.5")
    feed.bars(flat(40))
    signal = only(feed.bar(jump()))

    assert (signal.side, signal.reason_code) == ("SELL", "reversion_overbought")
    assert signal.reason.startswith("SELL: rsi ")


def test_momentum_down_when_long_is_sold() -> None:
    """Momentum that turns down closes the position."""
    feed = Feed()
    feed.take_lot("0.5")
    sold = [s for s in signals(feed.bars(stairs(60, 1.0, 2.0))) if s.side == "SELL"]

    assert sold[0].reason_code == "momentum_down"
    assert "bps <= -1.0, return -" in sold[0].reason


def test_falling_knife_when_long_is_sold_not_pondered() -> None:
    """Conflicting rules sell a position, as exits come first when long."""
    feed = Feed()
    feed.take_lot("0.5")
    feed.bars(flat(40))
    price = PRICE
    drafts: list[Draft] = []
    for _ in range(6):
        price = dip(4.0, price)
        drafts += feed.bar(price)

    assert [s.reason_code for s in signals(drafts) if s.side == "SELL"][:1] == ["momentum_down"]


@pytest.mark.parametrize(("bps", "side"), [(0.9, "HOLD"), (1.2, "BUY")])
def test_oversold_too_near_the_average_is_not_bought(bps: float, side: str) -> None:
    """An oversold RSI too close to the average is not bought."""
    feed = warm(score_min=0)
    feed.bar(dip(bps))

    facts = feed.core.facts()
    assert facts["decisions"]["BTCUSDT"]["side"] == side
    assert float(facts["decisions"]["BTCUSDT"]["checks"]["rsi"]) < 5.0


@pytest.mark.parametrize(("is_up", "is_long"), [(True, False), (False, True)])
def test_momentum_against_the_last_return_is_no_rule(is_up: bool, is_long: bool) -> None:
    """Momentum against the last return is not a rule."""
    feed = Feed(config(rsi_overbought="99", rsi_oversold="1", cooldown_ms=0))
    if is_long:
        feed.take_lot("0.5")
    feed.bars(flat(40))
    run = stairs(20, 3.0, 0.5) if is_up else stairs(20, 0.5, 3.0)
    feed.bars(run)
    turned = run[-1]
    for _ in range(5):
        turned *= 0.99995 if is_up else 1.00005
        feed.bar(turned)
    decision = feed.core.facts()["decisions"]["BTCUSDT"]

    assert abs(float(decision["checks"]["momentum_bps"])) >= 1.0
    assert decision["reason_code"] == "no_setup"


def test_reversion_back_at_average_is_sold_and_other_positions_are_not() -> None:
    """A reversion back at its average is sold; other positions are not."""
    bought, carried = Feed(), Feed()
    carried.take_lot("0.008")
    carried.bars(flat(40))
    carried.bar(dip())
    bought.bars(flat(40))
    bought.bar(dip())
    bought.fill("BUY")

    assert only(bought.bar(PRICE)).reason_code == "reversion_done"
    assert [s.side for s in signals(carried.bar(PRICE))] == ["HOLD"]


def test_momentum_up_is_bought() -> None:
    """Momentum with a moderate RSI is bought."""
    drafts = warm().bars(stairs(12, 2.0, 1.0))

    bought = [signal for signal in signals(drafts) if signal.side == "BUY"]
    assert bought[0].reason_code == "momentum_up"
    assert bought[0].reason.startswith("BUY: momentum 1.")


@pytest.mark.parametrize("overbought", ["70", "60"])
def test_momentum_with_extreme_rsi_is_not_bought(overbought: str) -> None:
    """Momentum with an RSI of about 66 is not bought where that is extreme."""
    drafts = warm(rsi_overbought=overbought, reversion_bps_min="50").bars(stairs(12, 2.0, 1.0))

    bought = {signal.reason_code for signal in signals(drafts) if signal.side == "BUY"}
    assert bought == ({"momentum_up"} if overbought == "70" else set())


def test_run_ending_refuses_purchases_only() -> None:
    """While the run ends nothing is bought, and positions are sold."""
    flat_feed, long_feed = warm(), Feed()
    flat_feed.ending()
    long_feed.take_lot("0.5")
    long_feed.bars(flat(40))
    long_feed.ending()

    refused = only(flat_feed.bar(dip()))
    assert (refused.side, refused.reason_code) == ("HOLD", "run_ending")
    assert refused.reason.startswith("HOLD: the run is ending, though rsi ")
    assert only(long_feed.bar(jump())).side == "SELL"


@pytest.mark.parametrize(("cooldown_ms", "side"), [(21_000, "BUY"), (21_001, "HOLD")])
def test_cooldown_around_limit_refuses_only_earlier(cooldown_ms: int, side: str) -> None:
    """A purchase waits for the cooldown, and is allowed at its end."""
    feed = warm(cooldown_ms=cooldown_ms)
    assert only(feed.bar(dip())).side == "BUY"
    feed.bars(flat(20))
    signal = only(feed.bar(dip()))

    assert signal.side == side
    if side == "HOLD":
        assert signal.reason == "HOLD: cooldown: last signal 21000 ms ago < 21001"


def test_cooldown_after_sale_by_risk_refuses_purchase() -> None:
    """A sale by risk starts the cooldown too."""
    feed = Feed(config(cooldown_ms=60_000))
    feed.take_lot("0.008")
    feed.bars(flat(40))
    feed.fill("SELL")

    assert only(feed.bar(dip())).reason_code == "cooldown"


def test_cooldown_after_purchase_does_not_delay_exit() -> None:
    """An exit may follow its entry at once; only a second exit waits."""
    feed = warm(cooldown_ms=60_000)
    feed.bar(dip())
    feed.fill("BUY")
    sold = only(feed.bar(PRICE))
    again = feed.bar(jump())

    assert sold.side == "SELL"
    assert only(again).reason_code == "cooldown"


@pytest.mark.parametrize(("fee_bps", "side"), [("1", "BUY"), ("100", "HOLD")])
def test_cost_gate_refuses_moves_that_do_not_pay(fee_bps: str, side: str) -> None:
    """With the cost gate on, the expected move must exceed two fees and the spread."""
    profile = config(cost_gate=True, cost_gate_atr_mult="10")
    profile["execution"]["taker_fee_bps"] = fee_bps
    feed = Feed(profile)
    feed.bars(flat(40))
    signal = only(feed.bar(dip()))

    assert signal.side == side
    assert check_of(signal, "expected_bps").passed == (side == "BUY")
    if side == "HOLD":
        assert signal.reason_code == "cost_gate"
        assert signal.reason.endswith(" < 200.00 of costs")


def test_cost_gate_off_is_not_asked() -> None:
    """With the cost gate off, no cost check stands in the signal."""
    signal = only(warm().bar(dip()))

    assert "expected_bps" not in [check.name for check in signal.checks]


def ranked(rank: int | None, rank_max: int | None = 3) -> Feed:
    """Return a warmed-up market whose symbol has this rank in the last scan."""
    profile = config()
    if rank_max is not None:
        profile["strategy"]["rank_max"] = rank_max
    feed = Feed(profile)
    feed.core.view(SYMBOL).ranks = {} if rank is None else {SYMBOL: rank}
    feed.bars(flat(40))
    return feed


@pytest.mark.parametrize(
    ("rank", "side", "value", "reason"),
    [
        (1, "BUY", "1", None),
        (3, "BUY", "3", None),
        (4, "HOLD", "4", "HOLD: rank 4 of the last scan > 3"),
        (None, "HOLD", "none", "HOLD: no rank in the last scan, where 3 is the worst allowed"),
    ],
)
def test_purchase_needs_a_rank_among_the_best(
    rank: int | None, side: str, value: str, reason: str | None
) -> None:
    """A symbol behind the best ones, or without a rank, is not bought, and its rank is told."""
    signal = only(ranked(rank).bar(dip()))

    assert signal.side == side
    assert check_of(signal, "rank") == Check("rank", value, "<= 3", side == "BUY")
    if reason is not None:
        assert (signal.reason_code, signal.reason) == ("rank_too_low", reason)


def test_sale_needs_no_rank() -> None:
    """A position is left whatever its symbol's rank has become."""
    feed = ranked(1)
    feed.bar(dip())
    feed.fill("BUY")
    feed.core.view(SYMBOL).ranks = {SYMBOL: 9}
    feed.bars(flat(40))
    signal = only(feed.bar(jump()))

    assert signal.side == "SELL"
    assert "rank" not in [check.name for check in signal.checks]


def test_rank_is_not_asked_without_its_key() -> None:
    """Without `rank_max` a bad rank is no check of the signal."""
    signal = only(ranked(9, rank_max=None).bar(dip()))

    assert signal.side == "BUY"
    assert "rank" not in [check.name for check in signal.checks]


@pytest.mark.row("B-42")
@pytest.mark.parametrize(
    ("key", "value"), [("score_min", "score"), ("confidence_min", "confidence")]
)
def test_thresholds_around_value_refuse_only_below(key: str, value: str) -> None:
    """A score or confidence at its threshold passes; one less gives HOLD."""
    reached = getattr(only(warm().bar(dip())), value)
    passed = only(warm(**{key: reached}).bar(dip()))
    refused = only(warm(**{key: reached + 1}).bar(dip()))

    assert passed.side == "BUY"
    assert (refused.side, refused.reason_code) == ("HOLD", f"{value}_too_low")
    assert refused.reason == f"HOLD: {value} {reached} < {reached + 1}"
    assert getattr(refused, value) == reached


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda feed: feed.status("BREAK"), "not_trading"),
        (lambda feed: feed.bare_bar(0.0, back=-1000), "warmup"),
        (lambda feed: feed.gap("depth"), "book_unusable"),
        (lambda feed: feed.ending(), "run_ending"),
    ],
)
def test_first_failing_filter_gives_the_reason(spoil: Callable[[Feed], object], code: str) -> None:
    """The first failing filter in order gives the reason."""
    feed = warm(score_min=110, confidence_min=100)
    spoil(feed)

    assert only(feed.bar(dip())).reason_code == code
