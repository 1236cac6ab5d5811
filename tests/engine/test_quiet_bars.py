"""Bars handled as numbers, quiet ones at once, equal bars with every tick shown."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

import pytest

from minibot.backtest import driver
from minibot.backtest.driver import run_backtest, run_cores
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.span import ALL, Span
from minibot.cores.messages import Message
from minibot.cores.protocol import Core, Input
from minibot.cores.scaled_tick import ScaledTick
from minibot.engine.decisions import DecisionDigest
from minibot.engine.intrabar import Candle
from minibot.engine.lockstep import Lockstep, fresh_cores
from minibot.events.model import Bar, Event, Fill, JsonObject, MarketTick, RiskAction
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.strategies.tick import Tick
from tests.backtest.markets import MINUTE_MS, START_MS, WAITS, bar_profile, candle, series, walk
from tests.engine.test_row_span import assert_same
from tools.drawn_backtests.ways import AsEvents

pytestmark = pytest.mark.campaign

HOUR_MS = 3_600_000
EASY = (
    "strategy.momentum_bps_min=0.5",
    "strategy.cost_gate=false",
    "risk.orders_per_minute_soft=50",
    "risk.orders_per_minute_hard=60",
)
# Each of them changes within the bars: locks, both tiers, the week's budget.
PROTECTED: Final = (
    'risk.protections=[{"method": "CooldownPeriod", "stop_duration": 7},'
    ' {"method": "LossesInRow", "trade_limit": 3, "stop_duration": 20}]',
    'risk.drawdown_tiers=[{"state": "REDUCING", "drawdown_bps": 2, "back_bps": 1,'
    ' "entry_percent": 50}, {"state": "HALTED", "drawdown_bps": 60, "back_bps": 30}]',
    "risk.account_drawdown_bps_hard=9000",
    "risk.week_notional_soft=100000",
    "risk.week_notional_hard=200000",
)


PLAN = (
    *("risk.hard_stop_bps=40", "risk.trail_bps=6", "risk.break_even_atr_mult=0.5"),
    "risk.stale_exit_ms=600000",
)
HORIZON = (
    *("risk.horizon_ms=300000", "risk.horizon_ms_min=60000", "risk.horizon_ms_max=900000"),
    *("risk.horizon_bars_short=2", "risk.horizon_bars_long=8"),
)
# Limits close below the price; each rests for three bars.
GRID = (
    *("strategy.name=maker_grid", "execution.order_ttl_market_ms=180000"),
    *('strategy.parameters.step="0.04"', 'risk.take_profit_atr_mult="0.5"'),
)
LADDER = ("risk.exit_policy=ladder", "risk.ladder_1_bps=6", "risk.ladder_2_atr_mult=3")


CAMPAIGN: Final = (
    *("risk.exit_policy=campaign", "risk.campaign_entries_max=3", "risk.campaign_loss_max=9"),
    *("risk.campaign_entry_wait_market_ms=120000", "risk.recovery_part_percent=40"),
    'risk.recovery=[["2.5", "hold"], ["6", "de-risk"], ["14", "exit"]]',
)
RUNGS: Final = ("risk.ladder_1_bps=4", "risk.ladder_2_bps=30", "risk.campaign_loss_max=90")
ADDING: Final = ("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null")


def jumping(seed: int, count: int = 900) -> list[Candle]:
    """Return bars with flat ones, jumps, opens away from the last close, no volume, and holes."""
    random = Random(seed)
    found = []
    number, price = 0, 40_000.0
    for _ in range(count):
        number += 1 if random.random() > 0.01 else random.randint(2, 90)
        opened = price if random.random() < 0.6 else price * (1 + random.gauss(0, 0.0008))
        low = opened * (1 - abs(random.gauss(0, 0.0008)) * (random.random() < 0.8))
        high = opened * (1 + abs(random.gauss(0, 0.0008)) * (random.random() < 0.8))
        price = random.choice((low, high, random.uniform(low, high)))
        volume = 0.0 if random.random() < 0.05 else random.uniform(0, 900)
        prices = [round(each, 2) for each in (opened, high, low, price)]
        found.append(candle(number, prices, volume))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("model", ["touch", "worse", "queue"])
def test_quiet_bars_give_what_every_tick_gives(seed: int, model: str) -> None:
    """Derived events, digest, counts, equity, candles, figures agree for each fill assumption."""
    config = bar_profile(*EASY, f"execution.fill_model={model}")
    source = BarSource(series(jumping(seed)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert quick.of("fills")


@pytest.mark.parametrize(
    "sets",
    [
        ("strategy.name=ema_cross", "risk.order_notional=100"),
        ("portfolio.at_end=close", "portfolio.close_market_ms=600000"),
        ("portfolio.at_end=carry", "backtest.night_ms=25200000"),
        ("risk.time_exit_ms=90000", "execution.latency_market_ms=0"),
        ("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null"),
        PROTECTED,
        (
            *("risk.stop_atr_mult=null", "risk.stop_bps=4.5"),
            *("risk.take_profit_atr_mult=null", "risk.take_profit_bps=6"),
        ),
        (*WAITS, "execution.latency_market_ms=5000", 'backtest.spread_bps="7.5"'),
        ("strategy.bars_from_ticks=true", 'market.bar_intervals=["1m","15m"]'),
        ('risk.night_loss_soft="1.95"', "risk.night_loss_hard=2"),
        (*PLAN, 'risk.targets_by_age=[[0,"40"],[7,"15"],[20,"1"]]'),
        (*PLAN, "risk.trail_from_bps=1", "risk.exits_at=venue"),
        (*PLAN, "risk.silent_exit_ms=100000"),
        (*PLAN, *HORIZON),
        (*PLAN, *HORIZON, "risk.horizon_thesis_bps=1", "risk.trail_bps=40", "risk.exits_at=venue"),
        (*PLAN, *LADDER),
        (*PLAN, *LADDER, "risk.exits_at=venue"),
        (*PLAN, *CAMPAIGN),
        (*PLAN, *CAMPAIGN, *LADDER[1:], "risk.exits_at=venue"),
        (*CAMPAIGN, "risk.hard_stop_bps=300", *ADDING, "execution.fee_asset=base"),
        (*CAMPAIGN, "risk.hard_stop_bps=300", *ADDING, *RUNGS),
        ("risk.exits_at=venue",),
        ("risk.sizing=share", "risk.size_atr_bps_full=2"),
        ("risk.sizing=risk", "risk.risk_per_trade_bps=1"),
        (
            *("risk.sizing=kelly", "risk.kelly_window_market_ms=1800000"),
            *("risk.kelly_trades_min=3", "risk.position_share_bps_min=50"),
            *("risk.position_share_bps_max=900", "execution.taker_fee_bps=0"),
        ),
        (
            *("risk.correlation_bars=10", "risk.correlation_max=0.9"),
            *("risk.cluster_correlation_min=0.5", "risk.cluster_share_bps_max=200"),
            *("risk.benchmark_symbol=BTCUSDT", "risk.volatility_ratio_max=1.1"),
            *("risk.volatility_bars_short=3", "risk.volatility_bars_long=12"),
            *("risk.drift_bars=10", "risk.drift_reference_bars=20", "risk.drift_max=0.6"),
        ),
        (
            *("risk.confidence_min=40", "risk.bars_late_max=0"),
            'risk.price_move_atr_max="0.6"',
        ),
        ("market.book_depth=true", "risk.depth_min=1"),
        ("risk.exits_at=venue", "risk.time_exit_ms=900000", "execution.fill_model=worse"),
        (*PLAN, *LADDER, "risk.exits_at=venue", "risk.stop_limit_bps=1"),
        ("risk.exits_at=venue", "risk.stop_limit_bps=1", "execution.fill_model=queue"),
        (
            *("risk.entry=maker", "risk.maker_patience_market_ms=5000", "risk.maker_requotes=20"),
            *("risk.maker_end=take", "risk.exits_at=venue"),
        ),
        (*WAITS, "execution.fee_asset=base", "execution.latency_drawn_market_ms=[20,300,5000]"),
        ("execution.fee_asset=base", "risk.exits_at=venue", "execution.fill_model=book"),
    ],
)
def test_any_profile_gives_the_same_either_way(sets: tuple[str, ...]) -> None:
    """Any profile agrees: tick strategies, the end, consecutive nights, timed exits, delays."""
    config = bar_profile(*EASY, *sets)
    source = BarSource(series(jumping(11)), config, Span(START_MS + HOUR_MS, None))

    assert_same(run_backtest(source, config), run_backtest(AsEvents(source), config))


@pytest.mark.parametrize("model", ["touch", "worse", "queue"])
@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_purchases_that_rest_for_a_low_give_the_same_either_way(model: str, exits_at: str) -> None:
    """A grid of limits enters at lows, as often by rows as by events."""
    config = bar_profile(*EASY, *GRID, f"execution.fill_model={model}", f"risk.exits_at={exits_at}")
    source = BarSource(series(jumping(5)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert quick.entered_at_low > 10


@pytest.mark.parametrize(("interval", "length_ms"), [("1s", 1_000), ("1h", HOUR_MS)])
def test_bars_of_any_length_give_the_same_either_way(interval: str, length_ms: int) -> None:
    """Bars of seconds and of hours agree, with widening candles and the borders of nights."""
    bars = [
        bar._replace(open_ts=START_MS + n * length_ms, end_ts=START_MS + (n + 1) * length_ms)
        for n, bar in enumerate(walk(700, 5))
    ]
    config = bar_profile(*EASY, "backtest.night_ms=1800000", interval=interval, trend="4h")
    source = BarSource(series(bars, interval=interval), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert len(quick.derived) > 5


def test_bars_that_risk_alone_reads_reach_it_either_way() -> None:
    """VADR of longer bars than the strategy's lets some entries pass and blocks others."""
    bars = [
        bar._replace(open_ts=START_MS + n * HOUR_MS, end_ts=START_MS + (n + 1) * HOUR_MS)
        for n, bar in enumerate(walk(900, 5))
    ]
    sets = (
        *("strategy.name=ema_cross", "risk.vadr_bar_interval=4h", "risk.vadr_bars=20"),
        "risk.vadr_min=1.01",
    )
    config = bar_profile(*EASY, *sets, interval="1h", trend="4h")
    source = BarSource(series(bars, interval="1h"), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    payloads = [event.payload for event in quick.of("risk_actions")]
    reasons = {each.reason_code for each in payloads if isinstance(each, RiskAction)}
    assert {"vadr_frozen", "vadr_low", "allowed"} <= reasons


TURNS = """
from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Turns(Strategy):
    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), history=0, trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        return sell("is long") if view.is_long else buy("is flat")
"""


def test_size_that_an_open_takes_is_gone_for_the_rest_of_its_row(tmp_path: Path) -> None:
    """The touch stays from the open on: the next purchase gets only what is left of the ask."""
    (tmp_path / "turns.py").write_text(TURNS)
    levels = (
        "stop_atr_mult=null",
        "take_profit_atr_mult=null",
        "stop_bps=90",
        "take_profit_bps=90",
    )
    sets = (f"strategy.folder={tmp_path}", "strategy.name=turns", "risk.order_notional=500")
    config = bar_profile(*EASY, *sets, *(f"risk.{each}" for each in levels))
    # A touch shows 0.02 BTC, 800 USDT, of which a purchase takes 500 at an open. It changes only
    # between bars, each seventh time.
    bars = [candle(n, [40_000.0 + 10.0 * (n // 7 % 2)] * 4, volume=0.4) for n in range(90)]
    source = BarSource(series(bars), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    fills = [each.payload for each in quick.of("fills")]
    bought = {each.qty for each in fills if isinstance(each, Fill) and each.side == "BUY"}
    assert bought == {"0.01249", "0.00751"}


def test_quiet_bars_are_not_told_and_counted_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet bars show the cores few ticks, and count as many as the model makes."""
    numbers: list[int] = []
    process = Lockstep.process

    def counting(self: Lockstep, item: Any, seq: int) -> None:
        if isinstance(item, Tick):
            numbers.append(seq)
        process(self, item, seq)

    monkeypatch.setattr(Lockstep, "process", counting)
    config = bar_profile("risk.order_notional=20")
    source = BarSource(series(walk(600, 3)), config, ALL)

    result = run_backtest(source, config)

    counted = run_backtest(AsEvents(source), config).inputs[MarketTick.TYPE]
    assert result.inputs[MarketTick.TYPE] == counted
    assert len(numbers) < counted // 4


def test_events_written_when_they_are_read_are_those_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Events written late, from kept numbers, equal events written at once."""
    at_once: list[tuple[str, int, Event]] = []

    def writing(*words: Any, **named: Any) -> Lockstep:
        return Lockstep(*words, **named, take=lambda *said: at_once.append(said))

    config = bar_profile(*EASY)
    source = BarSource(series(jumping(3)), config)
    later = run_backtest(source, config)
    monkeypatch.setattr(driver, "Lockstep", writing)
    run_backtest(source, config)
    digest = DecisionDigest()
    for said in at_once:
        digest.add(*said)

    assert later.digest == digest.hex
    assert list(later.derived) == at_once
    assert later.of("fills")


OWN = """
from minibot.strategies.protocol import Needs, Strategy, buy, check, sell


class Turns(Strategy):
    def __init__(self, settings):
        self.count = 0
        self.seen = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("5m", "1m"), history=4, trades=TRADES)

    def on_tick(self, tick, view):
        self.seen += tick.is_trade

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.count += 1
        closes = [each.close for each in view.bars("1m")]
        seen = (
            check("trades", f"{self.seen}", "seen"),
            check("tick", f"{view.tick_ts} {view.price} {view.bid} {view.ask_qty}", "seen"),
            check("now", f"{view.now} {view.position} {view.entry_price_avg}", "seen"),
            check("bar", f"{bar.interval} {bar.open_ts} {bar.open} {bar.volume} {closes}", "seen"),
        )
        if self.count % 29 == 7:
            return buy("it is time", seen)
        return sell("it is time", seen) if self.count % 29 == 26 else None
"""


@pytest.mark.parametrize(
    "sets",
    [
        ('market.bar_intervals=["15m","1m","5m"]', "strategy.name=rsi_band"),
        (
            'market.bar_intervals=["30m","15m","1m","5m"]',
            *("strategy.bar_interval=5m", "strategy.trend_interval=30m"),
        ),
        (
            *('market.bar_intervals=["15m","30m"]', "strategy.bar_interval=15m"),
            *("strategy.trend_interval=30m", "strategy.name=rsi_band"),
        ),
        (
            *('market.bar_intervals=["5m","1m","15m"]', "strategy.folder=FOLDER"),
            "strategy.name=turns",
        ),
        (
            'market.bar_intervals=["5m","1m","4h","15m"]',
            "strategy.folder=FOLDER",
            "strategy.name=turns",
        ),
        ('market.bar_intervals=["1m","15m","5m"]', "strategy.folder=FOLDER", "strategy.name=turns"),
    ],
)
@pytest.mark.parametrize(("seed", "trades"), [(21, True), (22, False)])
def test_bars_of_several_intervals_are_told_in_their_order(
    sets: tuple[str, ...], seed: int, trades: bool, tmp_path: Path
) -> None:
    """Bars of several intervals keep their order, read or only counted, also for a user's strategy.

    A strategy with or without interest in trades is shown the same either way.
    """
    (tmp_path / "turns.py").write_text(OWN.replace("TRADES", str(trades)))
    texts = (each.replace("FOLDER", str(tmp_path)) for each in sets)
    words = ("below=45", "above=55", "warm=20")
    parameters = tuple(f"strategy.parameters.{word}" for word in words)
    extra = parameters if "strategy.name=rsi_band" in sets else ()
    config = bar_profile(*EASY, "risk.order_notional=20", *texts, *extra)
    source = BarSource(series(jumping(seed, 1500)), config, Span(START_MS + HOUR_MS, None))

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert quick.of("fills")


def test_span_that_begins_within_a_bar_is_told_that_bar_when_it_closes() -> None:
    """A bar is told once it is known, by rows as by events."""
    config = bar_profile(*EASY)
    origin = START_MS + 40 * MINUTE_MS + 20_000
    source = BarSource(series(walk(600, 7)), config, Span(origin, None))

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    assert quick.of("fills")
    bars = [root for root in source.roots() if isinstance(root.payload, Bar)]
    assert all(root.payload.close_ts < root.ts for root in bars if isinstance(root.payload, Bar))
    late = [root.ts for root in bars if isinstance(root.payload, Bar) and root.payload.is_history]
    assert late[-1] == START_MS + 41 * MINUTE_MS > origin == late[0]


def test_gate_by_bars_of_an_interval_of_its_own_gives_the_same_either_way() -> None:
    """Fatigue reads bars of an hour beside those of the strategy: entries pass and are blocked."""
    config = bar_profile(
        *EASY,
        'market.bar_intervals=["1m","15m","1h"]',
        *("risk.fatigue_bar_interval=1h", "risk.fatigue_change_bps_max=10"),
        *("risk.fatigue_rsi_max=50", "risk.fatigue_acceleration_bps_min=5"),
    )
    source = BarSource(series(walk(3_000, 4)), config)

    quick, result = run_backtest(source, config), run_backtest(AsEvents(source), config)

    assert_same(quick, result)
    reasons = {action.to_json()["payload"]["reason_code"] for action in quick.of("risk_actions")}
    assert {"warmup", "fatigue", "allowed"} <= reasons


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_the_cores_end_in_the_same_state(seed: int) -> None:
    """Cores end in the same state: marks, budgets, exits, indicators."""
    config = bar_profile(*EASY, "portfolio.at_end=carry")
    source = BarSource(series(jumping(seed, 300 + 57 * seed)), config)
    states = []
    for market in (source, AsEvents(source)):
        cores = fresh_cores(config.raw)
        run_cores(market, config, cores)
        states.append({name: core.state() for name, core in cores.items()})

    assert states[0] == states[1]


@pytest.mark.parametrize(
    ("interval", "change"),
    [("1w", {}), ("1m", {"volume": 2**62}), ("1m", {"high": 2**61}), ("1m", {"low": 2**43})],
)
def test_what_does_not_fit_goes_as_events(interval: str, change: dict[str, int]) -> None:
    """Bars that do not fit the fast form go as events: off the grid, huge, inconsistent."""
    bars = [bar._replace(**change) for bar in walk(40, 2)]
    if interval == "1w":
        monday, week = START_MS + 5 * 24 * HOUR_MS, 7 * 24 * HOUR_MS
        bars = [
            bar._replace(open_ts=monday + n * week, end_ts=monday + (n + 1) * week)
            for n, bar in enumerate(bars)
        ]
    config = bar_profile(*EASY, "strategy.name=rsi_band", interval=interval, trend="1M")
    source = BarSource(series(bars, interval=interval), config)

    assert source.market({interval}) is None
    assert_same(run_backtest(source, config), run_backtest(AsEvents(source), config))


class Seeing(Core):
    """Foreign executor that counts the ticks that it receives."""

    TAKES: ClassVar[frozenset[int]] = PaperExecutorNoreV1.TAKES
    TAKES_BARS: ClassVar[bool] = PaperExecutorNoreV1.TAKES_BARS

    def __init__(self, core: Core) -> None:
        self._core = core
        self.ticks = 0

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        """Count the input, and process it like the shipped executor."""
        payload = item.payload if isinstance(item, Event) else None
        self.ticks += isinstance(item, ScaledTick) or isinstance(payload, MarketTick)
        return self._core.process(item, seq, now)

    def state(self) -> JsonObject:
        """Return the shipped executor's state."""
        return self._core.state()

    def facts(self) -> JsonObject:
        """Return the shipped executor's facts."""
        return self._core.facts()


def test_a_core_of_ones_own_is_told_every_tick() -> None:
    """A foreign core receives every tick, because it may keep anything of them."""
    config = bar_profile(*EASY)
    source = BarSource(series(jumping(2, 300)), config)
    results, seen = [], []
    for market in (source, AsEvents(source)):
        cores = fresh_cores(config.raw)
        cores["execution_role"] = seeing = Seeing(cores["execution_role"])
        results.append(run_cores(market, config, cores))
        seen.append(seeing.ticks)

    assert seen == [result.inputs[MarketTick.TYPE] for result in results]
    assert_same(*results)
