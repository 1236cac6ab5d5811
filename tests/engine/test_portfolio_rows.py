"""Bars of many symbols walked as rows give the same result, to the byte, as the same as events."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Final

import pytest

from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.portfolio import Merged
from minibot.cores.scaled_tick import ScaledTick
from minibot.engine import portfolio_rows, walked_portfolio
from minibot.engine.intrabar import Candle
from minibot.engine.lockstep import Lockstep
from minibot.engine.portfolio_rows import PortfolioRows
from minibot.engine.run_result import BacktestResult
from minibot.runtime.configuration.config import Config
from tests.backtest.markets import MINUTE_MS, START_MS, WAITS, bar_profile, candle, minutes, series
from tests.engine.test_row_span import assert_same
from tools.drawn_backtests.ways import AsEvents, walked

pytestmark = pytest.mark.campaign

BAND: Final = (
    "strategy.name=rsi_band",
    "strategy.parameters.period=5",
    "strategy.parameters.below=45",
    "strategy.parameters.above=55",
    "strategy.parameters.warm=5",
    "risk.orders_per_minute_soft=50",
    "risk.orders_per_minute_hard=60",
    "risk.positions_max=3",
    "risk.order_notional=100",
)
LADDER: Final = (
    *("risk.hard_stop_bps=40", "risk.trail_bps=12", "risk.break_even_atr_mult=0.5"),
    *("risk.exit_policy=ladder", "risk.ladder_1_bps=6", "risk.ladder_2_atr_mult=3"),
    "risk.take_profit_atr_mult=null",
)


def bars(seed: int, count: int, holes: float = 0.0, first: int = 0) -> list[Candle]:
    """Return minutes of a random walk, flat ones and jumps among them, some of them missing."""
    random = Random(seed)
    found, price = [], 40_000.0
    for number in range(first, first + count):
        opened = price if random.random() < 0.6 else price * (1 + random.gauss(0, 0.0008))
        low = opened * (1 - abs(random.gauss(0, 0.0008)) * (random.random() < 0.8))
        high = opened * (1 + abs(random.gauss(0, 0.0008)) * (random.random() < 0.8))
        price = random.choice((low, high, random.uniform(low, high)))
        prices = [round(each, 2) for each in (opened, high, low, price)]
        # The first bar stands, so that all sources begin at one time.
        if number == first or random.random() >= holes:
            found.append(candle(number, prices, random.uniform(0, 900)))
    return found


def portfolio(config: Config, count: int, rows: int = 500, holes: float = 0.0) -> Merged:
    """Return so many symbols; bars are missing in the second one alone."""
    return Merged(
        [
            BarSource(
                series(bars(at, rows - 7 * at, holes * (at == 1)), f"P{at}USDT"),
                config,
            )
            for at in range(count)
        ]
    )


def both(config: Config, source: Merged) -> tuple[BacktestResult, BacktestResult]:
    """Return the result by rows and by events, and the cores' states are the same."""
    (rows, states), (events, others) = walked(config, source), walked(config, AsEvents(source))
    if not rows.stop:
        assert states == others
    return rows, events


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Walk in blocks so small that rows of every kind lie at their borders."""
    monkeypatch.setattr(walked_portfolio, "SYMBOL_BLOCK_ROWS", 13)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the steps that are walked."""
    walked: list[int] = []
    walk = PortfolioRows.walk

    def counting(self: PortfolioRows) -> bool:
        walked.append(1)
        return walk(self)

    monkeypatch.setattr(portfolio_rows.PortfolioRows, "walk", counting)
    return walked


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("holes", [0.0, 0.1])
@pytest.mark.parametrize("model", ["touch", "worse", "queue"])
def test_rows_of_many_symbols_give_what_every_tick_gives(
    count: int, holes: float, model: str, steps: list[int]
) -> None:
    """Events, digest, counts, equity, candles, figures and states agree, with ladder exits."""
    config = bar_profile(*BAND, *LADDER, f"execution.fill_model={model}")
    source = portfolio(config, count, holes=holes)

    rows, events = both(config, source)

    assert_same(rows, events)
    assert rows.closes == source.closes(events.to_ts)
    assert len({each.payload.symbol for each in rows.of("fills")}) == min(count, 5)  # type: ignore[attr-defined]
    assert len(steps) > 400


def test_rows_with_purchases_that_rest_for_a_low_give_what_every_tick_gives() -> None:
    """Symbols whose high comes before their low are told among others, and count alike."""
    config = bar_profile(
        *("strategy.name=maker_grid", "execution.order_ttl_market_ms=180000"),
        *('strategy.parameters.step="0.04"', 'risk.take_profit_atr_mult="0.5"'),
        *("risk.orders_per_minute_soft=50", "risk.orders_per_minute_hard=60"),
    )

    rows, events = both(config, portfolio(config, 3, holes=0.1))

    assert_same(rows, events)
    assert rows.entered_at_low > 10


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("portfolio.close_market_ms=600000",),
        ("portfolio.at_end=carry", "backtest.night_ms=3600000"),
        ("execution.latency_market_ms=0",),
        (*WAITS, "execution.latency_market_ms=5000", 'backtest.spread_bps="7.5"'),
        (*WAITS, "execution.latency_drawn_market_ms=[20,300,5000]"),
        ("risk.exits_at=venue",),
        *(
            ("risk.exits_at=venue", "risk.stop_limit_bps=0.5", f"execution.fill_model={model}")
            for model in ("touch", "worse", "queue", "book")
        ),
        (
            *("risk.entry=maker", "risk.maker_patience_market_ms=5000", "risk.maker_requotes=20"),
            *("risk.maker_end=take", "risk.exits_at=venue"),
        ),
        ('risk.targets_by_age=[[0,"40"],[7,"15"],[20,"1"]]', "risk.exit_policy=null"),
        (
            'risk.protections=[{"method": "CooldownPeriod", "stop_duration": 7},'
            ' {"method": "LossesInRow", "trade_limit": 3, "stop_duration": 20}]',
            'risk.drawdown_tiers=[{"state": "REDUCING", "drawdown_bps": 2, "back_bps": 1,'
            ' "entry_percent": 50}, {"state": "HALTED", "drawdown_bps": 60, "back_bps": 30}]',
            "risk.account_drawdown_bps_hard=9000",
        ),
        ('market.bar_intervals=["5m","1m","15m"]', "strategy.bar_interval=5m"),
        ("risk.sizing=share", "risk.size_atr_bps_full=2"),
        ("execution.fee_asset=base",),
        ("strategy.name=ema_cross",),
        ("strategy.name=nore_strategy_v1", "strategy.cost_gate=false"),
    ],
)
def test_any_profile_gives_the_same_either_way(sets: tuple[str, ...]) -> None:
    """Stops in the middle of a bar, the end, nights, resting orders, delays and tiers agree."""
    words = [each for each in (*BAND, *LADDER) if each.split("=")[0] not in _keys(sets)]
    if any(each.startswith("strategy.name=") for each in sets):
        words = [each for each in words if "strategy.parameters" not in each]
    if "risk.exit_policy=null" in sets:
        words = [each for each in words if "ladder" not in each]
        sets = tuple(each for each in sets if "exit_policy" not in each)
    config = bar_profile(*words, *sets)
    source = portfolio(config, 4, holes=0.05)

    rows, events = both(config, source)

    assert_same(rows, events)
    assert rows.closes == source.closes(events.to_ts)
    assert rows.of("fills")


WIDE: Final = ("risk.hard_stop_bps=500", "risk.stop_atr_mult=60", "risk.take_profit_atr_mult=60")
STANDING: Final = (
    'risk.protections=[{"method": "CooldownPeriod", "stop_duration": 2}]',
    'risk.drawdown_tiers=[{"state": "REDUCING", "drawdown_bps": 2, "back_bps": 1,'
    ' "entry_percent": 50}]',
    "risk.account_drawdown_bps_hard=9000",
)
"""Journals equity and its mark each minute and with each change."""


@pytest.mark.parametrize(
    "sets",
    [
        STANDING,
        (*STANDING, "risk.night_loss_soft=0.4", "risk.night_loss_hard=0.5"),
        ("risk.drawdown_bps_soft=1", "risk.drawdown_bps_hard=2"),
        ('risk.targets_by_age=[[0,"400"],[3,"20"],[7,"0"]]',),
        ("risk.silent_exit_ms=90000",),
        ("risk.trail_bps=60", "risk.break_even_atr_mult=2"),
        (*WAITS, "execution.latency_market_ms=7500"),
        ("portfolio.close_market_ms=600000",),
    ],
)
def test_steps_in_which_positions_reach_nothing_give_what_every_tick_gives(
    sets: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions held long are passed over up to a level, a bound of equity, a time or a STOP."""
    answers: list[bool] = []
    is_steady = PortfolioRows._is_steady

    def noting(self: PortfolioRows, numbers: list[int], end_ts: int) -> bool:
        answers.append(is_steady(self, numbers, end_ts))
        return answers[-1]

    monkeypatch.setattr(PortfolioRows, "_is_steady", noting)
    config = bar_profile(*BAND, *WIDE, *sets)
    source = portfolio(config, 4, holes=0.02)

    rows, events = both(config, source)

    assert_same(rows, events)
    assert {True, False} == set(answers)
    assert rows.of("fills")


@pytest.mark.parametrize("hard", ["0.4", "0.6", "0.8", "1.0"])
@pytest.mark.parametrize("sets", [(), STANDING])
def test_positions_that_reach_nothing_move_equity_between_the_ticks_of_others(
    sets: tuple[str, ...], hard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks of positions that are still reach risk at their places, and a STOP cuts them there."""
    marked: list[int] = []
    mark = Lockstep.mark

    def noting(self: Lockstep, tick: ScaledTick, seq: int) -> None:
        marked.append(seq)
        mark(self, tick, seq)

    monkeypatch.setattr(Lockstep, "mark", noting)
    limits = ("risk.night_loss_soft=0.2", f"risk.night_loss_hard={hard}")
    config = bar_profile(*BAND, *WIDE, *sets, *limits)

    rows, events = both(config, portfolio(config, 5, 400, holes=0.05))

    assert_same(rows, events)
    assert rows.stop == "RISK_LIMIT"
    assert rows.derived[-1].event.tick_seq == marked[-1]


TURNS: Final = """
from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Turns(Strategy):
    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("1m",), history=2, trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        self.count += 1
        if self.count in BUYS:
            return buy("in")
        return SALE
"""


def turns(folder: Path, buys: tuple[int, ...], sale: str) -> tuple[str, ...]:
    """Write a strategy that buys at some of its bars and else answers `sale`; return its keys."""
    text = TURNS.replace("BUYS", str(buys)).replace("SALE", sale)
    (folder / "turns.py").write_text(text)
    return "strategy.name=turns", f"strategy.folder={folder}"


def test_size_that_an_order_took_at_an_open_stays_taken_while_the_touch_stands(
    tmp_path: Path,
) -> None:
    """A fill takes the size of a bar's open; the rest of the bar, passed over, brings none back."""
    sale = 'sell("out", qty="0.003") if self.count >= 14 and view.is_long else None'
    config = bar_profile(
        *(*turns(tmp_path, (10,), sale), "portfolio.at_end=carry"),
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null"),
    )
    price, past = 40_000.0, 12
    frozen = [candle(at, [price] * 4, 600.0 if at <= past else 0.06) for at in range(40)]
    moving = [candle(at, [price, price + 5, price - 5, price]) for at in range(40)]
    markets = {"P0USDT": frozen, "P1USDT": moving}
    source = Merged([BarSource(series(each, name), config) for name, each in markets.items()])

    rows, events = both(config, source)

    assert_same(rows, events)
    sold = [each for each in rows.of("fills") if each.payload.symbol == "P0USDT"]  # type: ignore[attr-defined]
    assert [each.payload.side for each in sold] == ["BUY", "SELL"]  # type: ignore[attr-defined]


def test_purchase_at_the_last_touch_is_valued_at_it(tmp_path: Path) -> None:
    """A beat fills an order at a touch that equity had skipped: the symbol was not held."""
    sale = 'sell("out") if self.count in (8, 35) else None'
    config = bar_profile(
        *(*turns(tmp_path, (5, 30), sale), "execution.latency_market_ms=0"),
        "execution.order_ttl_market_ms=1000",
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null"),
    )
    prices = [40_000.0 - 20 * at for at in range(40)]
    falling = [candle(at, [price, price, price - 5, price - 5]) for at, price in enumerate(prices)]
    markets = {"P0USDT": falling, "P1USDT": bars(1, 40)}
    source = Merged([BarSource(series(each, name), config) for name, each in markets.items()])

    rows, events = both(config, source)

    assert_same(rows, events)
    bought = [each for each in rows.of("fills") if each.payload.side == "BUY"]  # type: ignore[attr-defined]
    assert [each.ts % MINUTE_MS for each in bought if each.payload.symbol == "P0USDT"] == [0, 0]  # type: ignore[attr-defined]


def test_low_behind_the_high_at_which_a_maker_took_reaches_equity() -> None:
    """A bar that went high before low for a resting purchase shows its low to equity as well."""
    config = bar_profile(
        *(*BAND, *WIDE, "risk.entry=maker", "risk.maker_patience_market_ms=400"),
        *("risk.maker_requotes=0", "risk.maker_end=take", "risk.intent_ttl_ms=100000"),
        "execution.order_ttl_market_ms=3600000",
    )

    source = Merged([BarSource(series(bars(at, 300), f"P{at}USDT"), config) for at in range(3)])

    rows, events = both(config, source)

    assert_same(rows, events)
    assert rows.of("fills")


def test_gaps_past_limits_give_the_same_either_way() -> None:
    """Rests that limits left unsold are sold at the same ticks, by rows and by events."""
    keys = ("risk.exits_at=venue", "risk.stop_limit_bps=0.5")
    rows, events = both(bar_profile(*BAND, *LADDER, *keys), portfolio(bar_profile(*BAND), 4))

    assert_same(rows, events)
    answers = [event.to_json()["payload"] for event in rows.of("risk_actions")]
    left = [check["name"] for each in answers for check in each.get("checks", ())]
    assert left.count("unsold_qty") > 3


def test_ticks_that_outlast_their_bar_come_at_their_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Orders on their way for a minute put ticks behind the end of a bar, among the next one's.

    Pictures may differ by them, as of one symbol: by rows such a tick belongs to its bar's candle.
    """
    late: list[int] = []
    close_late = PortfolioRows._close_late

    def counting(self: PortfolioRows, number: int, ts: int, end_ts: int) -> None:
        late.append(number)
        close_late(self, number, ts, end_ts)

    monkeypatch.setattr(PortfolioRows, "_close_late", counting)
    monkeypatch.setattr("minibot.backtest.sources.bars.LATENCY_SHARE", 1)
    config = bar_profile(*BAND, *LADDER, *WAITS, "execution.latency_market_ms=60000")
    source = portfolio(config, 4, 400, holes=0.05)

    rows, events = both(config, source)

    for name in ("derived", "digest", "inputs", "to_ts", "stop"):
        assert getattr(rows, name) == getattr(events, name), name
    assert rows.performance.to_json() == events.performance.to_json()
    assert late
    assert rows.of("fills")


SEES: Final = """
from minibot.strategies.protocol import Needs, Strategy, buy, hold, sell


class Sees(Strategy):
    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=("INTERVAL",), history=2, trades=False)

    def on_bar(self, bar, view):
        if not bar.is_live:
            return None
        others = [view.of(f"P{at}USDT") for at in range(3)]
        seen = " ".join(f"{o.now} {o.tick_ts} {o.bid}" if o else "" for o in others)
        self.count += 1
        if self.count % 9 == 4:
            return buy(seen)
        return sell(seen) if self.count % 9 == 8 else hold(seen)
"""


@pytest.mark.parametrize("interval", ["1m", "15m"])
@pytest.mark.parametrize("holes", [0.0, 0.1])
def test_strategy_sees_the_last_touches_of_all_symbols_at_a_bar(
    interval: str, holes: float, tmp_path: Path
) -> None:
    """A bar's strategy reads the touches with which all bars of that time closed, and their age."""
    (tmp_path / "sees.py").write_text(SEES.replace("INTERVAL", interval))
    words = ("strategy.name=sees", f"strategy.folder={tmp_path}")
    own = f"strategy.bar_interval={interval}"
    config = bar_profile(*words, 'market.bar_intervals=["1m","15m"]', own, *BAND[5:])
    source = portfolio(config, 3, 900, holes)

    rows, events = both(config, source)

    assert_same(rows, events)
    assert rows.of("fills")


@pytest.mark.parametrize("latency", [7_500, 60_000])
def test_ticks_that_outlast_their_bar_come_before_later_bars_where_some_are_missing(
    latency: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No symbol's later bar overtakes them, and their strategy sees the others' newest touches."""
    (tmp_path / "sees.py").write_text(SEES.replace("INTERVAL", "1m"))
    monkeypatch.setattr("minibot.backtest.sources.bars.LATENCY_SHARE", 1)
    config = bar_profile(
        *("strategy.name=sees", f"strategy.folder={tmp_path}", *BAND[5:], *LADDER, *WAITS),
        *(f"execution.latency_market_ms={latency}", "execution.fill_model=worse"),
    )
    markets = {
        f"P{at}USDT": [
            bar._replace(volume=bar.volume // 200) for bar in bars(at + 5, 300 - 7 * at, 0.3)
        ]
        for at in range(3)
    }
    source = Merged([BarSource(series(each, name), config) for name, each in markets.items()])

    rows, events = both(config, source)

    for name in ("derived", "digest", "inputs", "to_ts", "stop"):
        assert getattr(rows, name) == getattr(events, name), name
    assert rows.of("fills")


HEARS: Final = """
from minibot.strategies.protocol import Needs, Strategy, hold


class Hears(Strategy):
    def __init__(self, settings):
        self.past = 0
        self.alone = 0

    @staticmethod
    def needs(settings):
        return Needs(intervals=(settings.interval,), history=2, trades=False)

    def on_bar(self, bar, view):
        if None in [view.of(f"P{at}USDT") for at in range(3)]:
            self.alone += 1
        self.past += not bar.is_live
        return hold(f"{self.past} {self.alone}", code=CODES[bar.open_ts // 60_000 % 2])


CODES = ("own_hold", "own_rule")
"""


def test_strategy_knows_all_symbols_of_a_portfolio_from_the_first_bar_of_history_on(
    tmp_path: Path,
) -> None:
    """The rules of all symbols come before any history, as in a night."""
    (tmp_path / "hears.py").write_text(HEARS)
    config = bar_profile("strategy.name=hears", f"strategy.folder={tmp_path}")
    span = minutes(100)
    source = Merged(
        [BarSource(series(bars(at, 150), f"P{at}USDT"), config, span) for at in range(3)]
    )

    rows, events = both(config, source)

    assert_same(rows, events)
    reasons = {event.to_json()["payload"]["reason"] for event in events.of("signals")}
    warmup = config.raw["market"]["warmup_bars"]
    assert reasons == {f"HOLD: {warmup} 0"}


@pytest.mark.parametrize("to", [210, 225, 239])
@pytest.mark.parametrize("buys", [True, False])
def test_span_that_ends_in_a_hole_of_all_symbols_ends_at_the_last_bar(to: int, buys: bool) -> None:
    """Time passes over bars that nothing follows from, also where no later bar is told."""
    config = bar_profile(*BAND, *(() if buys else ("strategy.parameters.below=1",)))
    span = minutes(50, to)
    source = Merged(
        [
            BarSource(
                series([*bars(at, 200), *bars(at, 90, first=260)], f"P{at}USDT"), config, span
            )
            for at in range(2)
        ]
    )

    rows, events = both(config, source)

    assert_same(rows, events)
    assert rows.to_ts == START_MS + 200 * MINUTE_MS
    assert rows.closes == source.closes(events.to_ts)


def test_stop_within_a_bar_cuts_those_that_are_passed_over() -> None:
    """Risk stops the run at a tick: lines, candles and counts of the other symbols end there."""
    limits = ("risk.night_loss_soft=0.4", "risk.night_loss_hard=0.5")
    config = bar_profile(*BAND, *LADDER, *limits)
    source = portfolio(config, 4, 400, holes=0.05)

    rows, events = both(config, source)

    assert rows.stop == "RISK_LIMIT"
    assert_same(rows, events)
    assert rows.closes == source.closes(events.to_ts)


def _keys(sets: tuple[str, ...]) -> set[str]:
    return {each.split("=")[0] for each in sets}
