"""Backtest over bars: a decision at a close fills later, stops fill at their own price."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.backtest.driver import MODELLED, run_backtest, run_cores
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.backtest.sources.span import Span
from minibot.engine.lockstep import fresh_cores
from minibot.engine.run_result import BacktestResult
from minibot.events.model import Bar, Fill, MarketTick, OrderIntent, RiskAction
from minibot.events.money import parse_amount
from minibot.kernel.errors import ConfigError
from minibot.risk.core import core_from_state
from tests.backtest.markets import MINUTE_MS, START_MS, UNIT, bar_profile, candle, series, walk

BARS = walk(1200)


@cache
def result(*sets: str, count: int = 1200) -> BacktestResult:
    """Return the backtest of the walk."""
    config = bar_profile(*sets)
    return run_backtest(BarSource(series(BARS[:count]), config), config)


def test_strategy_that_is_shown_ticks_of_bars_is_told_what_they_are() -> None:
    """One that decides on bars alone is not; a portfolio of bars is one of bars too."""
    for name, is_told in (("ema_cross", True), ("ma_cross", False), ("nore_strategy_v1", False)):
        config = bar_profile(f"strategy.name={name}")
        one, other = (
            BarSource(series(BARS[:60], symbol), config) for symbol in ("BTCUSDT", "ETHUSDT")
        )
        for source in (one, Merged([one, other])):
            lines = run_backtest(source, config).assumptions
            assert (MODELLED in lines) == is_told
            assert lines[: len(source.assumptions)] == source.assumptions


def test_source_whose_bars_do_not_make_what_the_strategy_needs_is_refused(tmp_path: Path) -> None:
    """A strategy that also watches shorter bars than the file's would wait for them in silence."""
    text = (
        "from minibot.strategies.protocol import Needs, Strategy, buy\n\n\n"
        "class Watches(Strategy):\n"
        "    @staticmethod\n    def needs(settings):\n"
        '        return Needs(intervals=("15m", "1m"), history=5)\n\n'
        '    def on_bar(self, bar, view):\n        return buy("up")\n'
    )
    (tmp_path / "watches.py").write_text(text, encoding="utf-8")
    sets = f"strategy.folder={tmp_path}", "strategy.name=watches"
    config = bar_profile(*sets, interval="15m", trend="1m")
    wide = [bar._replace(end_ts=bar.open_ts + 15 * MINUTE_MS) for bar in walk(1)]

    sources = [BarSource(series(wide, symbol, "15m"), config) for symbol in ("BTCUSDT", "ETHUSDT")]

    assert run_backtest(BarSource(series(walk(30)), config), config).inputs["bar"] == 32
    for source in (sources[0], Merged(sources)):
        with pytest.raises(ConfigError, match="bars of 15m cannot be combined into 1m"):
            run_backtest(source, config)


def test_entry_is_filled_at_the_open_after_the_bar_it_was_decided_on() -> None:
    """An entry fills at the next bar's open and modelled ask, never at the deciding close."""
    done = result()
    opens = {bar.open_ts: bar.open for bar in BARS}
    entries = [
        e for e in done.of("fills") if isinstance(e.payload, Fill) and e.payload.side == "BUY"
    ]
    signals = {event.id: event for event in done.of("signals")}
    intents = {event.id: event for event in done.of("order_intents")}

    assert entries
    for event in entries:
        causes = [cause for cause in event.cause_ids or () if cause in intents]
        decided = next(
            signals[cause].ts for cause in intents[causes[0]].cause_ids or () if cause in signals
        )
        fill = event.payload
        assert isinstance(fill, Fill)
        assert event.ts > decided
        assert event.ts - decided < MINUTE_MS
        price = opens[decided]
        assert 0 <= parse_amount(fill.price) - price <= price // 10_000 + UNIT // 100


def test_stop_and_target_are_sold_at_their_own_price_or_the_open_beyond_it() -> None:
    """An exit by target gets its target, or the open if the market opened above it."""
    done = result('risk.stop_atr_mult="1.0"', 'risk.take_profit_atr_mult="1.0"')
    actions = {event.id: event.payload for event in done.of("risk_actions")}
    intents = {event.id: event for event in done.of("order_intents")}
    open_ms = {bar.open_ts + 50 for bar in BARS} | {bar.open_ts + 100 for bar in BARS}
    kinds = set()
    for event in done.of("fills"):
        fill = event.payload
        if not isinstance(fill, Fill) or fill.side != "SELL":
            continue
        intent = next(intents[cause] for cause in event.cause_ids or () if cause in intents)
        action = next(actions[cause] for cause in intent.cause_ids or () if cause in actions)
        assert isinstance(action, RiskAction)
        if action.reason_code not in ("stop_loss", "take_profit"):
            continue
        level = parse_amount((action.checks or ())[0].threshold)
        kinds.add(action.reason_code)
        if intent.ts in open_ms:
            continue
        assert parse_amount(fill.price) == level

    assert kinds == {"stop_loss", "take_profit"}


def test_stop_comes_before_a_target_in_the_same_bar() -> None:
    """A bar that spans stop and target sells at the stop."""
    done = result('risk.stop_atr_mult="2.0"', 'risk.take_profit_atr_mult="2.0"', count=1000)
    entry = next(e for e in done.of("fills") if isinstance(e.payload, Fill))
    assert isinstance(entry.payload, Fill)
    index = (entry.ts - START_MS) // MINUTE_MS
    price = parse_amount(entry.payload.price) / UNIT
    wild = candle(index + 1, (BARS[index].close / UNIT, price * 1.02, price * 0.98, price))
    flat = [candle(index + 2 + n, (price,) * 4) for n in range(3)]
    calm = candle(index, (BARS[index].open / UNIT,) * 3 + (BARS[index].close / UNIT,))
    low, high = sorted((calm.open, calm.close))
    calm = calm._replace(low=low, high=high)
    config = bar_profile('risk.stop_atr_mult="2.0"', 'risk.take_profit_atr_mult="2.0"')
    bars = [*BARS[:index], calm, wild, *flat]
    again = run_backtest(BarSource(series(bars), config), config)
    exits = [
        event.payload.reason_code
        for event in again.of("risk_actions")
        if isinstance(event.payload, RiskAction)
        and event.payload.action == "EXIT"
        and wild.open_ts <= event.ts < wild.end_ts
    ]

    assert exits == ["stop_loss"]


def test_what_is_open_at_the_end_is_closed_as_a_night_closes_it() -> None:
    """With `portfolio.at_end` close nothing is held at the end; with carry it may be."""
    fills = result().of("fills")
    long = next(
        entry.ts
        for entry, leave in pairwise(fills)
        if entry.payload.side == "BUY" and leave.ts - entry.ts > 2 * MINUTE_MS  # type: ignore[attr-defined]
    )
    count = (long - START_MS) // MINUTE_MS + 2
    carried = result('portfolio.at_end="carry"', count=count)
    closed = result(count=count)

    assert carried.performance.portfolio.symbols() == ["BTCUSDT"]
    assert not closed.performance.portfolio.symbols()
    reasons = [
        a.reason_code for e in closed.of("risk_actions") if isinstance(a := e.payload, RiskAction)
    ]
    assert "end_exit" in reasons


def test_hard_limit_of_risk_stops_the_backtest_with_its_reason() -> None:
    """A hard limit stops the backtest like a night: no later intent, reason in the result."""
    done = result('risk.night_loss_soft="0.4"', 'risk.night_loss_hard="0.5"')

    assert done.stop
    last = done.derived[-1].event.payload
    assert isinstance(last, RiskAction)
    assert last.action == "STOP"
    assert done.to_ts < BARS[-1].end_ts


def test_portfolio_merges_by_time_with_one_clock() -> None:
    """Two series are one market: each symbol trades, with one beat per time, in fixed order."""
    config = bar_profile()

    def both() -> Merged:
        parts = [
            BarSource(series(walk(400, 1)), config),
            BarSource(series(walk(400, 2, around=2000.0), symbol="ETHUSDT"), config),
        ]
        return Merged(parts)

    roots = list(both().roots())
    beats = [root.ts for root in roots if root.payload.TYPE == "beat"]
    one, two = run_backtest(both(), config), run_backtest(both(), config)

    assert [root.ts for root in roots] == sorted(root.ts for root in roots)
    assert len(beats) == len(set(beats)) == 400
    assert one.digest == two.digest
    symbols = {
        e.payload.symbol for e in one.of("order_intents") if isinstance(e.payload, OrderIntent)
    }
    assert symbols == {"BTCUSDT", "ETHUSDT"}


@pytest.mark.parametrize("sets", [(), ("strategy.bars_from_ticks=true",)])
def test_symbol_that_a_stop_came_before_is_no_part_of_the_market(sets: tuple[str, ...]) -> None:
    """Risk stops the run hours before the second symbol's first bar: it had no price yet."""
    limits = ('risk.night_loss_soft="0.04"', 'risk.night_loss_hard="0.05"')
    config, late = bar_profile(*limits, *sets), walk(600, seed=6, around=2000.0)[500:]
    source = Merged(
        [
            BarSource(series(walk(600, seed=5)), config),
            BarSource(series(late, "ETHUSDT"), config),
        ]
    )

    result = run_backtest(source, config)

    assert result.stop == "RISK_LIMIT"
    assert result.to_ts < late[0].open_ts
    assert list(result.closes) == ["BTCUSDT"]
    assert source.closes(late[0].open_ts).keys() == {"BTCUSDT", "ETHUSDT"}


def test_closes_of_a_span_are_the_files_own_however_its_bars_are_fed() -> None:
    """Market change begins and ends with closes of whole bars in the span, to the last digit."""
    bars = walk(300)
    config = bar_profile()
    span = Span(bars[40].open_ts, bars[200].open_ts)

    walked = run_backtest(BarSource(series(bars), config, span), config)
    other = BarSource(series(walk(250, 2, around=2000.0), symbol="ETHUSDT"), config)
    merged = run_backtest(Merged([BarSource(series(bars), config, span), other]), config)

    assert walked.closes == {"BTCUSDT": (bars[40].close, bars[199].close)}
    assert merged.closes["BTCUSDT"] == walked.closes["BTCUSDT"]
    ends = walk(250, 2, around=2000.0)
    assert merged.closes["ETHUSDT"] == (ends[0].close, ends[-1].close)


def test_chart_and_equity_have_a_point_for_each_bar() -> None:
    """Chart and equity have a point for each bar of the file."""
    done = result(count=100)
    drawn = done.prices["BTCUSDT"]

    assert len(drawn) == 100
    assert [bar.ts for bar in drawn] == [bar.open_ts for bar in BARS[:100]]
    assert len(done.equity) == 100
    assert done.inputs["bar"] == 106
    assert Bar.TYPE in done.inputs
    assert MarketTick.TYPE in done.inputs


def test_budgets_of_a_night_begin_anew_with_the_next_one() -> None:
    """A long market counts as consecutive nights, each with budgets of its own."""
    budget = ('risk.night_notional_soft="2000"', 'risk.night_notional_hard="2100"')
    one_night, many = result(*budget), result(*budget, "backtest.night_ms=14400000")
    fills = [event for event in many.of("fills") if isinstance(event.payload, Fill)]
    bought: Counter[int] = Counter()
    for event in fills:
        if event.payload.side == "BUY":  # type: ignore[attr-defined]
            bought[(event.ts - START_MS) // 14_400_000] += 1

    assert len([event for event in one_night.of("fills")]) <= 8
    assert set(bought) == {0, 1, 2, 3, 4}
    assert max(bought.values()) <= 4


def test_state_of_risk_within_nights_goes_on_from_its_text() -> None:
    """A risk core restored in the third night knows its end and its earlier purchases."""
    config = bar_profile("backtest.night_ms=14400000").raw
    cores = fresh_cores(config)
    source = BarSource(series(BARS), bar_profile("backtest.night_ms=14400000"))
    run_cores(source, bar_profile("backtest.night_ms=14400000"), cores)
    state = cores["risk_role"].state()

    assert state["budgets"]["night_ends"] > START_MS
    assert core_from_state(config, state).state() == state
