"""Oracle of fills: each class of difference by hand, unexplained ones, and minibot's own trades."""

from __future__ import annotations

import re
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.events.money import UNIT
from tools.fill_oracle import __main__ as oracle
from tools.fill_oracle import minibot_trades as trades_of_minibot
from tools.fill_oracle.difference_table import BEGIN, END, PAGE, part, version, written
from tools.fill_oracle.differences import (
    Comparison,
    EngineFailure,
    Trades,
    by_opening,
    compare,
)
from tools.fill_oracle.entry_plan import KINDS, Bars, Entry, PlainBar, plan, surely_left
from tools.fill_oracle.minibot_trades import minibot_trades, output_of
from tools.fill_oracle.path_rules import (
    BAR_PRICE,
    CLASSES,
    ENTRY_AT_CLOSE,
    HIGH_FIRST,
    OWN_PRICE,
    PEERS,
    STOP,
    STOP_IN_BAR,
    TARGET,
    WHOLE_BAR,
    Trade,
)
from tools.foreign.environments import NotInstalled

MINUTE = 60_000
ENTRY = Entry(0, 90 * UNIT, 110 * UNIT, "wide")
Prices = tuple[int, int, int, int]
Exit = tuple[int, int, str]
DECIDED: Prices = (100, 101, 99, 100)
QUIET: Prices = (100, 105, 95, 101)


def market(*rows: Prices) -> Bars:
    """Return bars of a minute in whole units; the price step is one unit."""
    made = []
    for number, row in enumerate(rows):
        opened, high, low, close = (price * UNIT for price in row)
        made.append(PlainBar(number * MINUTE, opened, high, low, close, UNIT))
    return Bars("BTCUSDT", "1m", MINUTE, UNIT, UNIT, tuple(made))


def trade(entry: int, bar: int, price: int, side: str) -> Trade:
    """Return a trade that is bought in the second bar."""
    return Trade(MINUTE, entry * UNIT, bar * MINUTE, price * UNIT, side)


def of(*trades: Trade) -> Trades:
    return by_opening("it", trades)


# Bars after the decision at 100, minibot's exit and the other engine's: bar, price and side. Stop
# 90, target 110, one unit between a bar's price and the bid.
CASES: tuple[tuple[str, str, tuple[Prices, ...], Exit, Exit], ...] = (
    (
        *("freqtrade", BAR_PRICE, (QUIET, (100, 105, 91, 100), (100, 111, 95, 100))),
        *((2, 90, STOP), (3, 110, TARGET)),
    ),
    (
        *("nautilus", BAR_PRICE, (QUIET, (100, 110, 95, 100), (100, 105, 89, 100))),
        *((3, 90, STOP), (2, 110, TARGET)),
    ),
    ("freqtrade", BAR_PRICE, (QUIET, (80, 85, 79, 84)), (2, 79, STOP), (2, 80, STOP)),
    ("freqtrade", BAR_PRICE, (QUIET, (120, 125, 95, 124)), (2, 119, TARGET), (2, 120, TARGET)),
    ("nautilus", HIGH_FIRST, (QUIET, (100, 115, 85, 100)), (2, 90, STOP), (2, 110, TARGET)),
    ("nautilus", OWN_PRICE, (QUIET, (80, 85, 79, 84)), (2, 79, STOP), (2, 90, STOP)),
    ("nautilus", OWN_PRICE, (QUIET, (120, 125, 95, 124)), (2, 119, TARGET), (2, 110, TARGET)),
    ("freqtrade", STOP_IN_BAR, (QUIET, (80, 95, 79, 84)), (2, 79, STOP), (2, 90, STOP)),
    ("freqtrade", WHOLE_BAR, (QUIET, (120, 125, 85, 86)), (2, 119, TARGET), (2, 90, STOP)),
)


@pytest.mark.parametrize(("engine", "name", "rows", "our", "their"), CASES)
def test_difference_is_given_the_one_class_that_it_follows_from(
    engine: str, name: str, rows: tuple[Prices, ...], our: Exit, their: Exit
) -> None:
    """Each rule of another engine gives its exit to the bar and the price."""
    bars = market(DECIDED, *rows)

    found = compare(bars, [ENTRY], of(trade(100, *our)), of(trade(100, *their)), engine)

    assert (found.classes, found.unexplained) == ({name: 1}, [])
    assert (found.compared, found.same_entries, found.same_exits, found.same) == (1, 1, 0, 0)


def test_entry_at_the_close_is_a_class_of_nautilus_alone() -> None:
    """The same entry at the deciding bar's close is explained there, and nowhere else."""
    bars = market(DECIDED, (102, 105, 95, 101), (100, 115, 95, 100))
    our, their = of(trade(102, 2, 110, TARGET)), of(trade(100, 2, 110, TARGET))

    found = compare(bars, [ENTRY], our, their, "nautilus")

    assert (found.classes, found.unexplained) == ({ENTRY_AT_CLOSE: 1}, [])
    assert (found.same_entries, found.same_exits, found.same) == (0, 1, 0)
    assert len(compare(bars, [ENTRY], our, their, "freqtrade").unexplained) == 1


def test_each_class_has_an_engine_a_sentence_and_a_case() -> None:
    """No class is there that is not shown by hand."""
    named = {name for rules in PEERS.values() for name in rules}

    assert named == set(CLASSES) == {case[1] for case in CASES} | {ENTRY_AT_CLOSE}


def test_two_classes_are_named_where_one_is_not_enough() -> None:
    """A trade that follows from two rules has both, and no third."""
    bars = market(DECIDED, (102, 105, 95, 101), (100, 115, 85, 100))
    our, their = of(trade(102, 2, 90, STOP)), of(trade(100, 2, 110, TARGET))

    found = compare(bars, [ENTRY], our, their, "nautilus")

    assert (found.classes, found.unexplained) == ({ENTRY_AT_CLOSE: 1, HIGH_FIRST: 1}, [])


EQUAL = trade(100, 2, 110, TARGET)
RISES = (DECIDED, QUIET, (100, 115, 95, 100), QUIET)


@pytest.mark.parametrize(
    ("engine", "changed"),
    [
        ("freqtrade", EQUAL._replace(entry=101 * UNIT)),
        ("freqtrade", EQUAL._replace(exit=109 * UNIT)),
        ("freqtrade", EQUAL._replace(exit=110 * UNIT + 1)),
        ("freqtrade", EQUAL._replace(closed_ts=3 * MINUTE)),
        ("nautilus", EQUAL._replace(side=STOP)),
        ("an engine without a rule", EQUAL._replace(exit=111 * UNIT)),
    ],
)
def test_difference_that_no_class_gives_is_unexplained_and_told_in_full(
    engine: str, changed: Trade
) -> None:
    """Any field that no rule gives is unexplained, and both trades are told."""
    found = compare(market(*RISES), [ENTRY], of(EQUAL), of(changed), engine)

    assert not found.classes
    assert len(found.unexplained) == 1
    assert str(EQUAL) in found.unexplained[0]
    assert str(changed) in found.unexplained[0]


def test_equal_trades_need_no_class() -> None:
    """Equal trades are counted as such."""
    found = compare(market(*RISES), [ENTRY], of(EQUAL), of(EQUAL), "freqtrade")

    assert (found.same, found.classes, found.unexplained) == (1, {}, [])


@pytest.mark.parametrize("their", [EQUAL, EQUAL._replace(exit=109 * UNIT)])
def test_trade_that_breaks_minibot_s_own_rules_is_unexplained(their: Trade) -> None:
    """Minibot has to keep its own rules, whether or not the other engine agrees with it."""
    ours = of(EQUAL._replace(exit=109 * UNIT))

    found = compare(market(*RISES), [ENTRY], ours, of(their), "freqtrade")

    assert len(found.unexplained) == 1


def test_stop_is_not_filled_at_its_price_where_the_whole_bar_lies_below_it() -> None:
    """A fill above the bar's high is unexplained, though the bar opened below the stop."""
    bars = market(DECIDED, QUIET, (80, 85, 79, 84))
    our, their = of(trade(100, 2, 79, STOP)), of(trade(100, 2, 90, STOP))

    found = compare(bars, [ENTRY], our, their, "freqtrade")

    assert len(found.unexplained) == 1


@pytest.mark.parametrize(
    ("our", "their"),
    [
        ((), (EQUAL,)),
        ((EQUAL,), ()),
        ((EQUAL, EQUAL._replace(opened_ts=2 * MINUTE)), (EQUAL,)),
        ((EQUAL,), (EQUAL, EQUAL._replace(opened_ts=2 * MINUTE))),
    ],
)
def test_trade_of_one_engine_alone_is_unexplained(
    our: tuple[Trade, ...], their: tuple[Trade, ...]
) -> None:
    """A trade that one of both lacks, and one without an entry, are unexplained."""
    found = compare(market(*RISES), [ENTRY], of(*our), of(*their), "freqtrade")

    assert len(found.unexplained) == 1


def test_two_trades_in_one_bar_are_refused() -> None:
    """No trade of an engine is lost behind another one of the same bar."""
    with pytest.raises(EngineFailure, match="two trades"):
        of(EQUAL, EQUAL._replace(closed_ts=3 * MINUTE))


@pytest.fixture(scope="module")
def shipped() -> Bars:
    """Bars that minibot ships."""
    return oracle.read_bars(oracle.SHIPPED)


def test_plan_has_every_kind_and_leaves_each_position_before_the_next(shipped: Bars) -> None:
    """Entries repeat exactly, do not overlap in any engine, and lie between their levels."""
    entries = plan(shipped)

    assert entries == plan(shipped)
    assert {entry.kind for entry in entries} == set(KINDS)
    for entry, following in pairwise(entries):
        left = surely_left(shipped, entry)
        assert left is not None
        assert left < following.at
    for entry in entries:
        prices = shipped.rows[entry.at].close, shipped.rows[entry.at + 1].open
        assert entry.stop < min(prices)
        assert max(prices) < entry.target
        assert entry.stop % shipped.step == entry.target % shipped.step == 0


@pytest.mark.process
@pytest.mark.parametrize("exits_at", ["role", "venue"])
def test_minibot_s_backtest_makes_each_trade_that_the_rules_give(
    tmp_path: Path, shipped: Bars, exits_at: str
) -> None:
    """Minibot's own trades are those of a reader of bars that shares no code with it."""
    entries = plan(shipped, 150)

    made = minibot_trades(tmp_path, oracle.SHIPPED, shipped, entries, exits_at)

    found = compare(shipped, entries, made, made, "minibot")
    assert {entry.kind for entry in entries} == set(KINDS)
    assert (found.same, found.unexplained) == (150, [])


@pytest.mark.process
def test_engine_that_fails_or_does_not_end_is_a_failure_with_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A failure has the words of the engine; an engine that does not end is stopped."""
    with pytest.raises(EngineFailure, match="an engine ended with 3: it broke"):
        output_of("an engine", (sys.executable, "-c", "import sys; print('it broke'); sys.exit(3)"))
    monkeypatch.setattr(trades_of_minibot, "RUN_S_MAX", 0)
    with pytest.raises(EngineFailure, match="no end"):
        output_of("an engine", (sys.executable, "-c", "while True: pass"))


def run(
    monkeypatch: pytest.MonkeyPatch, their: Trade | Exception, our: Trade | Exception = EQUAL
) -> int:
    """Return the exit code for one entry with these trades."""

    def answered(answer: Trade | Exception) -> Trades:
        if isinstance(answer, Exception):
            raise answer
        return of(answer)

    monkeypatch.setattr(oracle, "read_bars", lambda path: market(*RISES))
    monkeypatch.setattr(oracle, "plan", lambda bars, count: [ENTRY][:count])
    monkeypatch.setattr(oracle, "minibot_trades", lambda *given: answered(our))
    monkeypatch.setattr(oracle, "peer_trades", lambda *given: answered(their))
    return oracle.main(["--entries", "1"])


def test_command_prints_the_table_and_ends_with_0_when_all_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All engines are compared; without a difference the exit code is 0."""
    assert run(monkeypatch, EQUAL) == 0
    text = capsys.readouterr().out
    assert text.count("1 trades compared, 1 equal") == 1 + len(PEERS)


def test_command_ends_with_1_on_an_unexplained_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexplained difference is printed, and the exit code is 1."""
    changed = EQUAL._replace(exit=109 * UNIT)

    assert run(monkeypatch, changed) == 1
    assert str(changed) in capsys.readouterr().out


def test_command_ends_with_2_without_an_engine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine that cannot be installed or failed, minibot among them, is named; exit code 2."""
    assert run(monkeypatch, NotInstalled("no index")) == 2
    assert "freqtrade: not compared: no index" in capsys.readouterr().out
    assert run(monkeypatch, EngineFailure("it broke")) == 2
    assert run(monkeypatch, EQUAL, EngineFailure("it broke")) == 2


def test_command_ends_with_2_without_an_entry(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comparison of nothing is no success."""
    monkeypatch.setattr(oracle, "read_bars", lambda path: market(*RISES))

    assert oracle.main([]) == 2


def test_page_has_each_class_with_its_sentence_and_the_locked_versions() -> None:
    """The table of the guide is that of these classes, and other counts change it alone."""
    page = PAGE.read_text(encoding="utf-8")
    shown = page.split(BEGIN)[1].split(END)[0]
    found = Comparison("nautilus", compared=7, same=3, classes=Counter({HIGH_FIRST: 5}))
    theirs = {"freqtrade": Comparison("freqtrade", compared=7, same=7), "nautilus": found}

    anew = written(page, part("FILE", Comparison("minibot", compared=7, same=7), theirs))

    for name, sentence in CLASSES.items():
        assert re.search(rf"^\| {name} \| .*\| {re.escape(sentence)} \|$", shown, re.MULTILINE)
    assert f"| freqtrade {version('freqtrade')} | NautilusTrader {version('nautilus')} |" in shown
    assert f"\n| {HIGH_FIRST} |  | 5 |" in anew
    assert "\n| equal | 7 | 3 |" in anew
    assert anew.split(BEGIN)[0] == page.split(BEGIN)[0]
    assert anew.split(BEGIN)[1].split(END)[1] == page.split(BEGIN)[1].split(END)[1]


def test_source_is_the_file_given_else_the_folder_s_else_the_shipped_one(tmp_path: Path) -> None:
    """Real klines are found in their folder; without them the shipped ones are used."""
    named = tmp_path / oracle.NAMED
    assert oracle.source_of(tmp_path) == oracle.SHIPPED
    named.parent.mkdir()
    named.touch()

    assert oracle.source_of(tmp_path) == named
    assert oracle.source_of(named) == named
