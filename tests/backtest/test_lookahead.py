"""Look-ahead check: it passes honest strategies and catches planted ones."""

from __future__ import annotations

import linecache
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module, reload
from importlib.machinery import SourceFileLoader
from importlib.util import cache_from_source
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from minibot.backtest.checks.file_access_check import Reads
from minibot.backtest.checks.lookahead import check_lookahead
from minibot.backtest.checks.perturbation import CUT, KINDS, REPLACE, Perturbation, Seen
from minibot.backtest.checks.verdict import Finding, Verdict, changed_fields
from minibot.backtest.driver import run_backtest
from minibot.backtest.search.backtest_job import Job
from minibot.backtest.sources import bars as bars_module
from minibot.backtest.sources.bars import BarSource
from minibot.backtest.sources.source_words import RULE
from minibot.backtest.sources.span import Span
from minibot.cli.support.checking import verdict_lines
from minibot.cores.messages import Message
from minibot.cores.protocol import Core, Input
from minibot.engine.intrabar import Candle, Intrabar, Shown
from minibot.engine.lockstep import fresh_cores
from minibot.engine.market_source import NOBODY, Root, Watch
from minibot.engine.recorded_run import Recorded
from minibot.events.model import Bar, Event, JsonObject, MarketTick
from minibot.exchanges.tapes.frames import Frame
from minibot.kernel.errors import Refusal
from minibot.strategies.core import StrategyCore
from tests.backtest.markets import MINUTE_MS, START_MS, bar_profile, walk, write_klines
from tests.runs import ShortRun

pytestmark = pytest.mark.campaign

# Tight stops and targets, so that ticks inside bars cause decisions too.
TIGHT = ('risk.stop_atr_mult="1.0"', 'risk.take_profit_atr_mult="1.5"')
COUNT = 150
# A grid of limits close below the price; each rests for three bars.
RESTING = (
    *("strategy.name=maker_grid", "execution.order_ttl_market_ms=180000"),
    *('strategy.parameters.step="0.04"', 'risk.take_profit_atr_mult="0.5"'),
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Bars of two and a half hours with about a dozen trades."""
    path = write_klines(tmp_path, walk(COUNT, seed=3))
    return Job((f"klines:{path}",), bar_profile(*TIGHT).raw)


def check(job: Job, **changes: object) -> Verdict:
    values: dict[str, object] = {"decisions": None, "random_moments": 2}
    return check_lookahead(job, 1, **(values | changes))  # type: ignore[arg-type]


# --- honest strategies -------------------------------------------------------------------------


def test_strategy_on_bars_passes_at_every_moment_of_a_decision(job: Job) -> None:
    """The check passes at every decision point of the fixture, also at ticks inside a bar."""
    verdict = check(job)

    assert verdict.is_clean
    assert (verdict.findings, verdict.reads, verdict.modelled) == ([], [], 0)
    assert verdict.decisions > 20
    assert verdict.runs >= verdict.moments > verdict.decisions


def test_purchases_that_rest_for_a_low_pass(job: Job) -> None:
    """Purchases filled at a low, and targets met on the way from there to the close, pass."""
    maker = job.changed(*RESTING)

    verdict = check(maker, decisions=60, random_moments=40)

    assert verdict.is_clean, verdict.findings[:1]
    assert run_backtest(maker.open(), maker.config).entered_at_low > 3


def test_made_market_of_trades_and_books_passes() -> None:
    """The check passes on messages of the market role's own feed, cut, shuffled and replaced."""
    profile = bar_profile("duration_ms=40000", interval="1s", trend="1m").raw
    verdict = check(Job(("generator:2",), profile), decisions=3, random_moments=1)

    assert verdict.is_clean
    assert verdict.runs >= 6


def test_portfolio_of_bars_of_two_lengths_passes(tmp_path: Path) -> None:
    """The check uses each symbol's own interval for the seen part of a bar."""
    longer = [
        Candle(*(bar.open_ts + (bar.open_ts - START_MS) * 4, START_MS), *bar[2:])
        for bar in walk(40, seed=9, around=2000.0)
    ]
    five = [bar._replace(end_ts=bar.open_ts + 5 * MINUTE_MS) for bar in longer]
    words = (
        f"klines:{write_klines(tmp_path, walk(200, seed=4))}",
        f"klines:{write_klines(tmp_path, five, 'ETHUSDT-5m.csv')}",
    )
    profile = bar_profile(*TIGHT, interval="5m", trend="15m").raw

    verdict = check(Job(words, profile), decisions=20, random_moments=10)

    assert verdict.is_clean, verdict.findings[:1]
    assert verdict.decisions >= 10


@pytest.fixture
def pair(tmp_path: Path) -> Job:
    """Two pairs with stops and targets, whose bars have their ticks at the same times."""
    words = (
        f"klines:{write_klines(tmp_path, walk(COUNT, seed=3))}",
        f"klines:{write_klines(tmp_path, walk(COUNT, seed=8, around=2000.0), 'ETHUSDT-1m.csv')}",
    )
    return Job(words, bar_profile(*TIGHT, "risk.positions_max=2").raw)


def test_portfolio_whose_levels_are_met_at_the_times_of_another_pair_passes(pair: Job) -> None:
    """A level of one pair is met half way, when it is known that the other has met none."""
    verdict = check(pair)

    assert verdict.is_clean, verdict.findings[:1]
    assert verdict.decisions > 40


def test_end_that_no_event_of_the_market_meets_changes_nothing(job: Job) -> None:
    """A position is closed at the announced end, whose time lies between two bars' ticks."""
    ended = job._replace(span=Span(START_MS + 20_000, START_MS + COUNT * MINUTE_MS - 7_001))
    verdict = check(ended.changed("portfolio.at_end=close", "portfolio.close_market_ms=90011"))

    assert (verdict.is_clean, verdict.findings) == (True, [])


def test_recorded_run_is_cut_and_the_verdict_claims_no_more(short_run: ShortRun) -> None:
    """Its events are finished, so that no moment is tried in three ways that are one."""
    config = Recorded.open(short_run.run_dir).manifest.config
    job = Job((f"run:{short_run.run_dir}",), config, order=RULE)

    verdict = check_lookahead(job, 1, decisions=2, random_moments=2)

    assert verdict.is_clean
    assert verdict.runs == verdict.moments
    assert "over data that is cut after it" in verdict_lines(verdict)[0]


def test_span_without_a_decision_is_refused(job: Job) -> None:
    """A check without any decision says nothing of the strategy."""
    longer = ("strategy.bar_interval=15m", "strategy.trend_interval=1h", "market.warmup_bars=4")
    short = job._replace(span=Span(START_MS, START_MS + 13 * MINUTE_MS))

    with pytest.raises(Refusal, match="nothing was decided"):
        check(short.changed('market.bar_intervals=["15m","1h"]', *longer))


@pytest.mark.process
def test_check_gives_the_same_verdict_in_two_processes(job: Job) -> None:
    """The check draws from the profile's seed, so two processes give the same verdict."""
    here = check(job, decisions=2, random_moments=1)
    there = check_lookahead(job, 2, decisions=2, random_moments=1)

    assert here == there


# --- strategies that look ahead
# ------------------------------------------------------------------------------


class Peeking(Core):
    """Strategy that finds the market's data by walking up the stack, and uses it."""

    TAKES: ClassVar[frozenset[int]] = StrategyCore.TAKES

    def __init__(self, inner: Core) -> None:
        self.inner = inner

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        messages = self.inner.process(item, seq, now)
        bar = item.payload if isinstance(item, Event) else None
        if isinstance(bar, Bar) and not bar.is_history and bar.interval == "1m":
            coming = next((c for c in future_bars() if c.open_ts > bar.open_ts), None)
            if coming is not None and coming.close < coming.open:
                return None
        return messages

    def state(self) -> JsonObject:
        return self.inner.state()

    def facts(self) -> JsonObject:
        return self.inner.facts()


def future_bars() -> Iterator[Candle]:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        source = getattr(getattr(frame.f_locals.get("self"), "_source", None), "source", None)
        if isinstance(source, BarSource):
            return iter(source.series.candles())
    raise LookupError("no source on the stack")


def peeking_cores(config: JsonObject) -> Mapping[str, Core]:
    cores = fresh_cores(config)
    cores["strategy_role"] = Peeking(cores["strategy_role"])
    return cores


def test_strategy_that_reaches_round_its_inputs_is_caught_with_its_decision(job: Job) -> None:
    """A strategy that peeks decides differently over another future, and is caught."""
    verdict = check(job, decisions=12, make_cores=peeking_cores)

    assert not verdict.is_clean
    finding = verdict.findings[0]
    assert finding.where in ("signals", "risk_actions", "order_intents", "order_results", "fills")
    assert finding.event_ts <= finding.ts
    assert (finding.event_ts - START_MS) % MINUTE_MS in (0, 50, 100) or finding.where != "signals"
    assert changed_fields(finding)


class Reading(Peeking):
    """Strategy that reads the data file, where altered data never shows."""

    def __init__(self, inner: Core, path: str, at_start: bool) -> None:
        super().__init__(inner)
        self.path, self.at_start = path, at_start
        if self.at_start:
            Path(self.path).read_text()

    def process(self, item: Input, seq: int, now: int) -> list[Message] | None:
        is_bar = isinstance(item, Event) and isinstance(item.payload, Bar)
        if not self.at_start and is_bar:
            Path(self.path).read_text()
        return self.inner.process(item, seq, now)


@pytest.mark.parametrize("at_start", [False, True])
def test_strategy_that_reads_the_data_file_is_caught_with_file_and_time(
    job: Job, at_start: bool
) -> None:
    """A strategy that reads the data file is caught by its file access, not its decisions."""
    path = job.words[0].partition(":")[2]

    def make_cores(config: JsonObject) -> Mapping[str, Core]:
        cores = fresh_cores(config)
        cores["strategy_role"] = Reading(cores["strategy_role"], path, at_start)
        return cores

    verdict = check(job, decisions=1, random_moments=1, make_cores=make_cores)

    assert verdict.differing == 0
    assert not verdict.is_clean
    assert {read.path for read in verdict.reads} == {path}
    assert verdict.reads[0].ts == (None if at_start else START_MS + MINUTE_MS)


class EarlyBars(BarSource):
    """Market source that announces a closed bar with the bar's first tick."""

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        waiting: list[Root] = []
        for root in super().roots(watch):
            if isinstance(root.payload, Bar) and waiting:
                yield Root(root.payload, waiting[0].ts)
                yield from waiting
                waiting = []
            elif isinstance(root.payload, Bar):
                yield root
            else:
                waiting.append(root)
        yield from waiting


def reads_of(act: Callable[[], object]) -> list[str]:
    """Return the paths that an action is heard to open."""
    reads = Reads()
    with reads.listening():
        reads.is_on = True
        act()
        reads.is_on = False
    return [read.path for read in reads.found]


@pytest.mark.parametrize("name", ["a.py", "a.pyc", "a.pyc.140123", "a.so", "a.pyd", "a.csv"])
def test_data_in_a_file_with_a_modules_name_are_heard(tmp_path: Path, name: str) -> None:
    """A file of data is heard whatever its name, opened by a strategy or by a loader it asks."""
    path = tmp_path / name
    path.write_text("1\n")
    loader = SourceFileLoader("any", str(path))

    assert reads_of(path.read_text) == [str(path)]
    assert reads_of(lambda: os.close(os.open(path, os.O_RDONLY))) == [str(path)]
    assert reads_of(lambda: loader.get_data(str(path))) == [str(path)]
    assert reads_of(lambda: linecache.updatecache(str(path))) == [str(path)]


def test_database_that_is_opened_is_heard(tmp_path: Path) -> None:
    """SQLite opens its file itself, so no file is told as opened; its connection is."""
    path = tmp_path / "bars.db"

    assert reads_of(sqlite3.connect(path).close) == []
    assert reads_of(lambda: sqlite3.connect(path).close()) == [str(path)]
    assert reads_of(lambda: sqlite3.connect(":memory:").close()) == []


def test_import_and_the_bytecode_that_it_writes_are_no_files_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module is found, read, and written as bytecode; only the data that it opens are heard."""
    data, module = tmp_path / "a.pyc.csv", tmp_path / "imported_alone.py"
    data.write_text("1\n")
    module.write_text(f"open({str(data)!r}).close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.delitem(sys.modules, module.stem, raising=False)

    assert reads_of(lambda: import_module(module.stem)) == [str(data)]
    assert Path(cache_from_source(str(module))).exists()
    assert reads_of(lambda: reload(sys.modules[module.stem])) == [str(data)]
    assert reads_of(lambda: linecache.updatecache(str(module))) == []


def test_strategy_that_reads_data_named_as_a_module_is_caught(job: Job, tmp_path: Path) -> None:
    """A copy of the market in `future.py` is data: reading it is told, with the file."""
    path = tmp_path / "future.py"
    path.write_bytes(Path(job.words[0].partition(":")[2]).read_bytes())

    def make_cores(config: JsonObject) -> Mapping[str, Core]:
        cores = fresh_cores(config)
        cores["strategy_role"] = Reading(cores["strategy_role"], str(path), at_start=False)
        return cores

    verdict = check(job, decisions=1, random_moments=1, make_cores=make_cores)

    assert not verdict.is_clean
    assert {read.path for read in verdict.reads} == {str(path)}


def test_bar_that_is_told_before_its_close_is_caught_as_the_markets_own(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bar announced before its close is named, with the close that nobody could know."""
    monkeypatch.setattr(bars_module, "BarSource", EarlyBars)

    verdict = check(job, decisions=4)

    finding = next(f for f in verdict.findings if f.before.get("type") == "bar" or f.after)
    assert finding.where == "market"
    assert any(line.split(":")[0] in ("close", "high", "low") for line in changed_fields(finding))


@pytest.mark.parametrize(
    ("before", "after", "line"),
    [
        (1, "1", 'x: 1 became "1"'),
        (True, 1, "x: True became 1"),
        ("True", True, 'x: "True" became true'),
        ({"deep": False}, {"deep": 0}, "x: {'deep': False} became {'deep': 0}"),
        ("1", "2", "x: 1 became 2"),
        (1, None, "x: 1 became None"),
    ],
)
def test_change_of_a_values_type_alone_is_shown(before: object, after: object, line: str) -> None:
    """Python takes True for 1; an event with one for the other is another event."""
    event = {"where": "signals", "ts": 1, "type": "signal"}
    one, other = ({**event, "payload": {"same": 1, "x": value}} for value in (before, after))

    assert changed_fields(Finding(1, CUT, "signals", 1, one, other)) == [line]
    assert changed_fields(Finding(1, CUT, "signals", 1, one, {**other, "type": "y"})) == [
        "type: signal became y",
        line,
    ]


class Retyped(BarSource):
    """Market source that writes a bar's `is_history` as 0 where the next bar will fall."""

    def roots(self, watch: Watch = NOBODY) -> Iterator[Root]:
        falling = {bar.open_ts for bar in self.series.candles() if bar.close < bar.open}
        for root in super().roots(watch):
            bar = root.payload
            if isinstance(bar, Bar) and bar.close_ts + 1 in falling:
                yield root._replace(payload=structs.replace(bar, is_history=0))
            else:
                yield root


def test_event_of_which_a_type_alone_changes_is_found(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The future shows in 0 for False alone: the finding names the event and the field."""
    monkeypatch.setattr(bars_module, "BarSource", Retyped)

    verdict = check(job, decisions=4)

    assert verdict.findings
    for finding in verdict.findings:
        (line,) = changed_fields(finding)
        assert line in ("is_history: False became 0", "is_history: 0 became False")


class Foretelling(Intrabar):
    """Intrabar model that visits the high first where the bar will close below its open."""

    def ticks(self, bar: Candle, watch: Watch) -> Iterator[Shown]:
        falls = bar.close < bar.open
        return super().ticks(bar._replace(low=bar.high, high=bar.low) if falls else bar, watch)


def test_model_of_a_bars_inside_that_knows_its_close_is_caught(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model whose order of low and high depends on the close is caught."""
    monkeypatch.setattr(bars_module, "Intrabar", Foretelling)

    verdict = check(job, decisions=6, random_moments=30)

    assert not verdict.is_clean
    assert {finding.where for finding in verdict.findings} == {"market"}


def test_model_that_knows_the_close_is_caught_at_the_times_of_another_pair(
    pair: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half way to a price it is altered too, so a model that depends on the close is caught."""
    monkeypatch.setattr(bars_module, "Intrabar", Foretelling)

    verdict = check(pair, decisions=6, random_moments=8)

    assert {finding.where for finding in verdict.findings} == {"market"}


# --- altered data -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12 * MINUTE_MS), st.sampled_from(KINDS), st.integers(0, 9))
def test_altered_bars_keep_what_has_closed_and_change_what_has_not(
    offset: int, kind: str, seed: int
) -> None:
    """Altered bars are unchanged before the moment and almost all changed after it."""
    candles, ts = walk(12, seed=seed), START_MS + offset
    change = Perturbation(ts, kind, seed)

    found = list(change.candles("BTCUSDT", 10**6, candles))

    closed = [candle for candle in candles if candle.end_ts <= ts]
    assert found[: len(closed)] == closed
    for candle in found:
        assert candle.low <= min(candle.open, candle.close)
        assert max(candle.open, candle.close) <= candle.high
    going = [c for c in candles if c.open_ts <= ts < c.end_ts]
    assert len(found) == len(closed) + len(going) if kind == CUT else len(found) == len(candles)
    assert all(candle not in candles for candle in found[len(closed) :][: len(going)])


@given(st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_altered_bar_that_goes_keeps_what_was_seen_of_it(seed: int) -> None:
    """An altered open bar keeps its seen open and low; only high and close may change."""
    (candle,) = walk(1, seed=seed)
    change = Perturbation(candle.open_ts + 20_000, REPLACE, seed, {"X": Seen((candle.low,), True)})

    (found,) = change.candles("X", 10**6, [candle])

    assert (found.open, found.low) == (candle.open, candle.low)
    assert found.high > max(candle.open, candle.low)


@pytest.mark.parametrize("close", [98, 102])
@pytest.mark.parametrize("seed", range(9))
def test_altered_bar_passes_a_level_that_was_met_on_the_way_to_its_close(
    close: int, seed: int
) -> None:
    """Behind both extremes a level is met only if the close lies beyond it: it does here too."""
    opened, high, low, closed = [price * 10**8 for price in (100, 103, 97, close)]
    candle = Candle(START_MS, START_MS + MINUTE_MS, opened, high, low, closed, 10**8)
    # From the high down to 99, or from the low up to 101.
    prices = (100, 97, 103, 99) if close == 98 else (100, 103, 97, 101)
    seen = Seen(tuple([price * 10**8 for price in prices]), True, True)
    change = Perturbation(START_MS + 45_000, REPLACE, seed, {"X": seen})

    (found,) = change.candles("X", 10**6, [candle])

    assert (found.low, found.high) == (candle.low, candle.high)
    assert (found.close < seen.prices[-1]) == (close == 98)


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize(
    ("seen", "name", "last"),
    [
        (Seen((99,), way=-1), "low", 99),
        (Seen((99, 97), is_low=True, way=1), "high", 100),
        (Seen((99, 97, 109), is_low=True, is_high=True, way=-1), "close", 109),
        (Seen((99, 97, 109, 105), is_low=True, is_high=True, way=-1), "close", 105),
        (Seen((99, 109, 97), is_low=True, is_high=True, way=1), "close", 97),
    ],
)
def test_altered_bar_whose_next_price_is_near_passes_no_level_on_the_way(
    seen: Seen, name: str, last: int, seed: int
) -> None:
    """Half way to low, high or close no level was met: the altered price is on this side of it."""
    unit = 10**8
    bar = Candle(*(START_MS, START_MS + MINUTE_MS), *(n * unit for n in (100, 110, 98, 103, 1)))
    seen = replace(seen, prices=tuple(price * unit for price in seen.prices))
    change = Perturbation(START_MS + 40_000, REPLACE, seed, {"X": seen})

    (found,) = change.candles("X", unit // 100, [bar])

    true, other = getattr(bar, name), getattr(found, name)
    assert min(true, last * unit) < other < max(true, last * unit)
    assert found.low <= min(found.open, found.close)
    assert found.high >= max(found.open, found.close)


def test_altered_bar_keeps_a_near_price_that_has_no_room_for_another() -> None:
    """A way of a few price increments cannot end sooner without a change of its direction."""
    bar = Candle(START_MS, START_MS + MINUTE_MS, 100, 103, 97, 98, 10**8)
    seen = Seen((99,), way=-1)

    (found,) = Perturbation(START_MS + 9_000, REPLACE, 1, {"X": seen}).candles("X", 1, [bar])
    (kept,) = Perturbation(START_MS + 9_000, REPLACE, 1, {"X": seen}).candles("X", 2, [bar])

    assert (found.low, kept.low) == (98, 97)


def test_altered_trades_change_price_and_quantity_and_no_time() -> None:
    """A replaced trade has another price and quantity, of which later bars are built."""
    tick = MarketTick(
        symbol="X",
        price="100.00",
        kind="trade",
        bid="100.00",
        bid_qty="1.000",
        ask="100.01",
        ask_qty="1.000",
        recv_mono_ns=5_000_000,
        qty="2.000",
        trade_id=1,
    )

    ((other, at),) = Perturbation(1, REPLACE, 1).ticks([(tick, 5)])

    assert at == 5
    assert (other.recv_mono_ns, other.trade_id) == (tick.recv_mono_ns, tick.trade_id)
    assert other.price != tick.price
    assert other.qty not in (None, tick.qty)


@given(st.integers(0, 400), st.sampled_from(KINDS))
@settings(max_examples=40, deadline=None)
def test_altered_messages_are_the_same_up_to_the_moment(ts: int, kind: str) -> None:
    """Altered messages keep all times, and all content up to the moment."""
    random = Random(ts)
    frames = [
        Frame(n * 10**6, "X", "trade", "x@trade", b'{"p":"%d.50","q":"2"}' % random.randint(1, 99))
        for n in range(300)
    ]

    found = list(Perturbation(ts, kind, 1).frames(frames))

    known = [frame for frame in frames if frame.at_ns <= ts * 10**6]
    assert found[: len(known)] == known
    assert [frame.at_ns for frame in found] == [frame.at_ns for frame in frames][: len(found)]
    assert (len(found) == len(known)) if kind == CUT else (len(found) == len(frames))
    if kind == REPLACE and len(known) < 290:
        assert found != frames
