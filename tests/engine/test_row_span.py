"""Columns walked row by row give the same result, to the byte, as the same market as events."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.backtest.driver import run_backtest
from minibot.backtest.sources.source_spec import open_market
from minibot.backtest.sources.span import ALL, Span
from minibot.data.convert import write_ticks
from minibot.data.ticks import TICK_COLUMNS, TICKS, TRADE_COLUMNS, TRADES, TickColumns, sum_up
from minibot.data.treatment import DataReport, Treatment
from minibot.engine import price_charts as drawing
from minibot.engine import row_charts, tick_bars
from minibot.engine.row_span import Striding
from minibot.engine.run_result import BacktestResult
from minibot.runtime.configuration.config import Config, load_config
from tools.bench.backtest_market import SYMBOL, columns, ticks
from tools.bench.backtest_pass import CASES, PROFILE
from tools.drawn_backtests.ways import AsEvents

pytestmark = pytest.mark.campaign

ROWS = 15_000


def made(seed: int) -> dict[str, Any]:
    """Return ticks with quotes, holes, late and untimed messages, and a clock that is off."""
    table = columns(ticks(ROWS))
    chance = np.random.default_rng(seed)
    table["ts"] = table["ts"] + np.cumsum((chance.random(ROWS) < 0.001) * 4_000)
    table["ask"] = table["price"] + chance.integers(0, 3, ROWS) * 10**6
    table["bid_qty"] = chance.integers(100, 400, ROWS) * 10**7
    table["ask_qty"] = chance.integers(100, 400, ROWS) * 10**7
    late = chance.integers(0, 5, ROWS) + (chance.random(ROWS) < 0.003) * 1_700
    table["exchange_ts"] = table["ts"] - late + 300 * seed
    table["flags"] = np.where(chance.random(ROWS) < 0.4, 4, table["flags"])
    is_untimed = (chance.random(ROWS) < 0.05) & (table["flags"] == 4)
    table["flags"] = np.where(is_untimed, 0, table["flags"])
    table["exchange_ts"] = np.where(is_untimed, 0, table["exchange_ts"])
    for name in ("qty", "trade_id"):
        table[name] = np.where(table["flags"] & 1, table[name], 0)
    return table


def word_of(folder: Path, table: dict[str, Any], kind: str = TICKS) -> str:
    """Write columns and return their source argument."""
    names = TICK_COLUMNS if kind == TICKS else TRADE_COLUMNS
    kept = table["flags"] & 1 if kind == TRADES else np.ones(ROWS)
    arrays = {
        name: array("B", table[name][kept != 0].astype(np.uint8).tobytes())
        if name == "flags"
        else array("q", table[name][kept != 0].astype(np.int64).tobytes())
        for name in names
    }
    stored = TickColumns(SYMBOL, arrays, DataReport(folder / "made", kind, SYMBOL))
    sum_up(stored)
    write_ticks(stored, folder, Treatment())
    return f"columns:{folder}"


def both(
    word: str, config: Config, span: Span = ALL, *, draws: bool = False
) -> tuple[BacktestResult, BacktestResult]:
    """Return the result by rows and by events."""
    source = open_market([word], config, span)
    assert isinstance(source, Striding)
    assert source.stretches() is not None
    return (
        run_backtest(source, config, draws=draws),
        run_backtest(AsEvents(source), config, draws=draws),
    )


def assert_same(rows: BacktestResult, events: BacktestResult) -> None:
    """Assert that everything in two results but the run time agrees."""
    names = ("derived", "digest", "inputs", "equity", "prices", "from_ts", "to_ts", "stop")
    for name in (*names, "entered_at_low", "lines"):
        assert getattr(rows, name) == getattr(events, name), name
    assert rows.performance.to_json() == events.performance.to_json()


@pytest.mark.parametrize("case", ["ema", "nore"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", [TICKS, TRADES])
def test_rows_and_events_give_the_same_backtest(
    case: str, seed: int, kind: str, tmp_path: Path
) -> None:
    """Events, digest, equity, candles and figures agree, with bars that close by the clock."""
    config = load_config(PROFILE, list(CASES[case]), {})
    rows, events = both(word_of(tmp_path, made(seed), kind), config)

    assert_same(rows, events)
    assert rows.of("fills" if (case, kind) != ("nore", TRADES) else "signals")


@pytest.mark.parametrize("loaded", [1, 37, 1000])
def test_trades_are_loaded_some_at_a_time(
    loaded: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns are loaded in pieces, and bars across pieces are whole, so memory stays bounded."""
    monkeypatch.setattr(tick_bars, "LOADED", loaded)
    config = load_config(PROFILE, list(CASES["nore"]), {})
    rows, events = both(word_of(tmp_path, made(2)), config)

    assert_same(rows, events)


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.booleans()),
        min_size=1,
        max_size=40,
    ),
    bits=st.tuples(st.integers(1, 63), st.integers(1, 63)),
)
def test_sums_of_products_are_exact_beyond_64_bits(
    rows: list[tuple[int, int, bool]], bits: tuple[int, int]
) -> None:
    """Sums of products are exact beyond 64 bits, so volumes in tiny units are right."""
    first = [one >> (63 - bits[0]) for one, _, _ in rows]
    second = [one >> (63 - bits[1]) for _, one, _ in rows]
    heads = [0, *(number for number, (_, _, is_head) in enumerate(rows) if is_head and number)]

    found = tick_bars.sums_of_products(
        np.array(first, dtype=np.int64), np.array(second, dtype=np.int64), np.array(heads)
    )

    assert found == [
        sum(one * other for one, other in zip(first[head:end], second[head:end], strict=True))
        for head, end in zip(heads, [*heads[1:], len(rows)], strict=True)
    ]


@pytest.mark.parametrize("from_s", [0, 61, 150])
def test_a_part_of_the_rows_is_the_same_part_of_the_events(from_s: int, tmp_path: Path) -> None:
    """A part of the rows equals that part of the events, with bars as history before it."""
    table = made(1)
    start = int(table["ts"][0]) + from_s * 1000
    config = load_config(PROFILE, list(CASES["ema"]), {})
    rows, events = both(word_of(tmp_path, table), config, Span(start, start + 70_123))

    assert_same(rows, events)
    assert rows.of("fills")


def test_a_stop_ends_the_rows_where_it_ends_the_events(tmp_path: Path) -> None:
    """A STOP ends rows and events at the same tick, wherever it stands in a stretch."""
    sets = [one for one in CASES["ema"] if "night_loss" not in one]
    sets += ['risk.night_loss_soft="1.95"', "risk.night_loss_hard=2"]
    rows, events = both(word_of(tmp_path, made(1)), load_config(PROFILE, sets, {}))

    assert_same(rows, events)
    assert rows.stop


PLOTS: Final = """
from minibot.strategies.protocol import Needs, Strategy, buy, sell


class Plots(Strategy):
    def __init__(self, settings):
        self.count = 0

    @staticmethod
    def needs(settings):
        return Needs()

    def on_tick(self, tick, view):
        if view.now > LAST:
            raise ValueError("shown a tick behind the STOP")
        self.count += 1
        view.plot("price", tick.price)
        if self.count % 40 == 20:
            return sell("turn") if view.is_long else buy("turn")
        return None
"""


def test_strategy_is_shown_no_tick_behind_a_stop(tmp_path: Path) -> None:
    """Its lines end at the STOP by rows too, and what it would do later fails no backtest."""
    word = word_of(tmp_path / "data", made(1))
    limits = [f"risk.night_loss_{each}=1.3" for each in ("soft", "hard")]
    rate = [f"risk.orders_per_minute_{each}=60" for each in ("soft", "hard")]
    sets = ["strategy.name=plots", f"strategy.folder={tmp_path}", *limits, *rate]
    (tmp_path / "plots.py").write_text(PLOTS.replace("LAST", str(10**15)))
    rows, events = both(word, load_config(PROFILE, sets, {}), draws=True)
    assert events.stop == "RISK_LIMIT"
    (tmp_path / "plots.py").write_text(PLOTS.replace("LAST", str(events.to_ts)))

    strict, _ = both(word, load_config(PROFILE, sets, {}), draws=True)

    assert_same(rows, events)
    assert (strict.digest, strict.lines) == (events.digest, events.lines)


@pytest.mark.parametrize("most", [15, 40, 200])
def test_candles_grow_wider_at_the_same_tick(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Candles grow wider at the same tick, however often they are joined."""
    monkeypatch.setattr(drawing, "CANDLES_MAX", most)
    monkeypatch.setattr(row_charts, "CANDLES_MAX", most)
    config = load_config(PROFILE, list(CASES["ema"]), {})
    rows, events = both(word_of(tmp_path, made(2)), config)

    assert_same(rows, events)


@pytest.mark.parametrize("name", ["ts", "ask", "bid"])
def test_rows_that_are_no_market_go_as_events(name: str, tmp_path: Path) -> None:
    """Rows that are no proper market go as events: time going back, a crossed or missing touch."""
    table = made(1)
    table[name][700] = table["ts"][0] if name == "ts" else 0
    config = load_config(PROFILE, list(CASES["ema"]), {})
    source = open_market([word_of(tmp_path, table)], config)

    assert isinstance(source, Striding)
    assert source.stretches() is None
