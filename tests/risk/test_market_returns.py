"""Market returns: what correlation, clusters, volatility and drift of closed bars let enter."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import Bar, Event
from minibot.risk.core import core_from_state
from tests.risk.desk import OTHER, SYMBOL, Desk, actions, check_text, config, intents

THIRD = "SOLUSDT"
SECOND_MS = 1_000
FLAT: dict[str, Any] = {"bid": "100", "ask": "100"}
CORRELATED: dict[str, Any] = {"risk__correlation_bars": 3, "risk__correlation_max": "0.9819"}
CLUSTER: dict[str, Any] = {
    "risk__correlation_bars": 3,
    "risk__cluster_correlation_min": "0.982",
    "risk__cluster_share_bps_max": 1_500,
}
VOLATILE: dict[str, Any] = {
    "risk__benchmark_symbol": OTHER,
    "risk__volatility_bars_short": 2,
    "risk__volatility_bars_long": 4,
}
DRIFTING: dict[str, Any] = {
    "risk__drift_bars": 2,
    "risk__drift_reference_bars": 3,
    "risk__drift_max": "0.9999",
}
ALLOWED, REDUCED = ("ALLOW", "allowed"), ("REDUCE", "reduced")

# Returns of a tenth up, a tenth down and none; of a half of the first; and of their opposite: the
# correlation of the first two is 0.9820, that of the first with the third -0.9819.
UP_DOWN = ("1000", "1100", "990", "990")
ALIKE = ("2000", "2100", "1890", "1890")
OPPOSED = ("2000", "1900", "2090", "2090")
STILL = ("100", "100", "100", "100")


def desk(**changes: Any) -> Desk:
    """Return a desk with three symbols at a touch of 100 to 100."""
    made = Desk(config(**changes))
    for symbol in (THIRD, OTHER, SYMBOL):
        made.instrument(symbol)
        made.tick(**FLAT, symbol=symbol)
    return made


def bars(made: Desk, *, is_history: bool = False, **closes: tuple[str, ...]) -> None:
    """Close bars of a second, those of all symbols at the same times, then show the touch."""
    for row in zip(*closes.values(), strict=True):
        made.ts = made.ts // SECOND_MS * SECOND_MS + SECOND_MS
        for symbol, close in zip(closes, row, strict=True):
            bar(made, symbol, made.ts - SECOND_MS, close, is_history=is_history)
    for symbol in closes:
        made.tick(**FLAT, symbol=symbol, after_ms=0)


def bar(made: Desk, symbol: str, open_ts: int, close: str, *, is_history: bool = False) -> None:
    """Tell a closed bar of a second."""
    made.put(
        "market_ticks",
        Bar(
            symbol=symbol,
            interval="1s",
            open_ts=open_ts,
            close_ts=open_ts + SECOND_MS - 1,
            open=close,
            high=close,
            low=close,
            close=close,
            volume="1",
            is_history=is_history,
        ),
    )


def bought(made: Desk, symbol: str) -> Desk:
    """Buy a symbol and fill it; the entry is checked by nothing yet, as nothing is held."""
    events = made.signal("BUY", symbol=symbol)
    assert actions(events)[0] == ALLOWED
    made.tick(**FLAT, symbol=symbol)
    return made


def names(event: Event) -> set[str]:
    """Return the names of the checks of an action."""
    return {check["name"] for check in event.to_json()["payload"]["checks"]}


# --- correlation ----------------------------------------------------------------------------------


def test_entry_that_moves_like_a_held_symbol_is_refused_with_value_and_limit() -> None:
    """A correlation of 0.9820 passes its own limit and not one of 0.9819; the opposite passes."""
    outcomes = []
    for most, closes in (("0.982", ALIKE), ("0.9819", ALIKE), ("0.9819", OPPOSED)):
        made = desk(**{**CORRELATED, "risk__correlation_max": most})
        bars(made, BTCUSDT=UP_DOWN, ETHUSDT=closes)
        events = bought(made, OTHER).signal("BUY")
        outcomes.append((actions(events)[0], check_text(events[0], "correlation")))

    assert outcomes == [
        (ALLOWED, "0.9820 / 0.9820"),
        (("BLOCK", "correlation"), "0.9820 / 0.9819"),
        (ALLOWED, "-0.9819 / 0.9819"),
    ]


def test_entry_is_compared_with_a_symbol_that_is_only_being_bought() -> None:
    """An order on its way counts as held, so that two alike cannot enter in one second."""
    made = desk(**CORRELATED)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    assert actions(made.signal("BUY", symbol=OTHER))[0] == ALLOWED

    assert actions(made.signal("BUY"))[0] == ("BLOCK", "correlation")


def test_entry_beside_nothing_shows_the_bars_and_no_correlation() -> None:
    """With nothing held only the bars of the symbol itself are asked; none of them blocks."""
    made = desk(**CORRELATED)
    early = made.signal("BUY")
    bars(made, BTCUSDT=UP_DOWN)
    late = made.signal("BUY")

    assert (actions(early)[0], check_text(early[0], "correlation_bars")) == (
        ("BLOCK", "warmup"),
        "0 / 3",
    )
    assert (actions(late)[0], check_text(late[0], "correlation_bars")) == (ALLOWED, "3 / 3")
    assert "correlation" not in names(late[0])


@pytest.mark.parametrize(("closes", "counted"), [((), 0), (UP_DOWN[:3], 2), (STILL, 0)])
def test_held_symbol_without_enough_moving_bars_blocks(
    closes: tuple[str, ...], counted: int
) -> None:
    """No bars, too few of them, and bars that never moved: a correlation that nobody knows."""
    made = desk(**CORRELATED)
    bars(made, ETHUSDT=UP_DOWN)
    bought(made, OTHER)
    made.risk._state.returns.symbols.pop(OTHER)
    bars(made, BTCUSDT=UP_DOWN)
    if closes:
        start = made.ts - len(closes) * SECOND_MS
        for place, close in enumerate(closes):
            bar(made, OTHER, start + place * SECOND_MS, close)

    events = made.signal("BUY")

    assert actions(events)[0] == ("BLOCK", "warmup")
    assert check_text(events[0], "correlation_bars") == f"{counted} / 3"


def test_entry_with_fewer_bars_than_the_held_symbol_counts_its_own() -> None:
    """The younger of two symbols says how many bars a correlation has."""
    made = desk(**CORRELATED)
    bars(made, ETHUSDT=UP_DOWN)
    bought(made, OTHER)
    bars(made, ETHUSDT=ALIKE[:2], BTCUSDT=ALIKE[:2])

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "warmup")]
    assert check_text(events[0], "correlation_bars") == "1 / 3"


def test_bars_more_than_two_lengths_old_block() -> None:
    """Two seconds behind the close of bars of a second an entry passes; a millisecond later not."""
    outcomes = []
    for after_ms in (2_000, 2_001):
        made = desk(**CORRELATED)
        bars(made, BTCUSDT=UP_DOWN)
        made.tick(**FLAT, after_ms=after_ms)
        outcomes.append(actions(made.signal("BUY"))[0])

    assert outcomes == [ALLOWED, ("BLOCK", "warmup")]


def test_correlation_asked_twice_between_two_bars_is_the_same() -> None:
    """It is reckoned once for each pair of bars, and then remembered."""
    made = desk(**CORRELATED)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    bought(made, OTHER)

    events = [made.signal("BUY")[0] for _ in range(2)]

    assert [check_text(each, "correlation") for each in events] == ["0.9820 / 0.9819"] * 2


def test_symbols_whose_bars_come_one_behind_the_other_are_compared_by_time() -> None:
    """The newest bar of one symbol waits for the other's: the correlation is that of before."""
    made = desk(**CORRELATED)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    bought(made, OTHER)
    start = made.ts // SECOND_MS * SECOND_MS
    symbols = made.risk._state.returns.symbols
    bar(made, SYMBOL, symbols[SYMBOL].closed_ts, "5000")
    made.ts = start + SECOND_MS
    made.tick(**FLAT, after_ms=0)

    events = made.signal("BUY")
    assert check_text(events[0], "correlation") == "0.9820 / 0.9819"


@pytest.mark.parametrize("order", [(OTHER, SYMBOL), (SYMBOL, OTHER)])
def test_bar_that_comes_behind_the_other_symbols_counts_at_once(order: tuple[str, str]) -> None:
    """The newest bar of one symbol waits for the other's; with both the correlation moves."""
    made = desk(**CORRELATED)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    bought(made, OTHER)
    symbols = made.risk._state.returns.symbols
    shown = []
    for symbol in order:
        bar(made, symbol, symbols[symbol].closed_ts, "5000")
        made.ts = symbols[symbol].closed_ts
        made.tick(**FLAT, after_ms=0)
        shown.append(check_text(made.signal("BUY")[0], "correlation"))

    assert shown[0] == "0.9820 / 0.9819"
    assert shown[1] != shown[0]


@pytest.mark.row("B-42")
def test_correlation_with_the_benchmark_is_asked_of_all_but_itself() -> None:
    """A symbol alike is refused though nothing is held; the benchmark itself is not asked."""
    made = desk(
        risk__benchmark_symbol=OTHER,
        risk__correlation_bars=3,
        risk__benchmark_correlation_max="0.9",
    )
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE, SOLUSDT=OPPOSED)
    alike, itself = made.signal("BUY"), made.signal("BUY", symbol=OTHER)
    opposed = made.signal("BUY", symbol=THIRD)

    assert actions(alike)[0] == ("BLOCK", "benchmark_correlation")
    assert check_text(alike[0], "benchmark_correlation") == "0.9820 / 0.9000"
    assert (actions(itself)[0], names(itself[0]) & {"benchmark_correlation"}) == (ALLOWED, set())
    assert (actions(opposed)[0], check_text(opposed[0], "benchmark_bars")) == (ALLOWED, "3 / 3")


# --- clusters -------------------------------------------------------------------------------------


def test_entry_is_cut_to_what_its_cluster_has_left() -> None:
    """1,000 of 10,000 is held and 15 % may be: 500 of the second remain; the bound is named."""
    made = desk(**CLUSTER)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    events = bought(made, OTHER).signal("BUY")

    assert actions(events)[0] == REDUCED
    assert check_text(events[0], "cluster_notional") == "2000.00000000 / 1500.00000000"
    assert check_text(events[0], "size_bound") == "cluster_notional / 500.00000000"
    assert [intent.qty for intent in intents(events)] == ["5.000"]


def test_cluster_counts_entries_on_their_way_and_its_own_symbol() -> None:
    """An order that is not filled counts; a full cluster refuses by its own code."""
    made = desk(**CLUSTER)
    bars(made, BTCUSDT=UP_DOWN, ETHUSDT=ALIKE)
    first = made.signal("BUY", symbol=OTHER)
    made.tick(**FLAT)
    second = made.signal("BUY")
    made.tick(**FLAT)
    third = made.signal("BUY")

    assert [actions(said)[0] for said in (first, second, third)] == [
        ALLOWED,
        REDUCED,
        ("BLOCK", "cluster_limit"),
    ]
    assert check_text(third[0], "cluster_notional") == "2500.00000000 / 1500.00000000"


def test_cluster_leaves_out_what_moves_otherwise_and_takes_in_what_is_unknown() -> None:
    """The same holding caps nothing where it moves the other way, and everything without bars."""
    sizes = []
    for closes, is_known in ((OPPOSED, True), (ALIKE, True), (ALIKE, False)):
        made = desk(**CLUSTER)
        bars(made, BTCUSDT=UP_DOWN, ETHUSDT=closes)
        bought(made, OTHER)
        if not is_known:
            made.risk._state.returns.symbols.pop(OTHER)
        sizes += [intent.qty for intent in intents(made.signal("BUY"))]

    assert sizes == ["10.000", "5.000", "5.000"]


def test_cluster_joins_symbols_through_one_between_them() -> None:
    """The third correlates with the first by the second alone: all three are one cluster."""
    made = desk(**{**CLUSTER, "risk__cluster_correlation_min": "0.8"})
    bars(
        made,
        BTCUSDT=("1000", "1100", "1000", "1000"),
        ETHUSDT=("1000", "1100", "1000", "1080"),
        SOLUSDT=("1000", "1040", "1000", "1100"),
    )
    returns = made.risk._state.returns

    found = [
        returns.cluster(SYMBOL, beside, made.ts) for beside in ({OTHER}, {THIRD}, {OTHER, THIRD})
    ]
    assert found == [{OTHER}, set(), {OTHER, THIRD}]


# --- volatility -----------------------------------------------------------------------------------


@pytest.mark.row("B-67")
@pytest.mark.row("B-46")
def test_volatile_benchmark_blocks_entries_in_all_symbols() -> None:
    """Returns 0.1, -0.1, 0, 0.1: sqrt(0.005 / 0.0075) is 0.8165, hand-computed; both sides."""
    outcomes = []
    for most in ("0.8165", "0.8164"):
        made = desk(**VOLATILE, risk__volatility_ratio_max=most)
        bars(made, ETHUSDT=("1000", "1100", "990", "990", "1089"), BTCUSDT=("100",) * 5)
        for symbol in (SYMBOL, OTHER):
            events = made.signal("BUY", symbol=symbol)
            outcomes.append((actions(events)[0], check_text(events[0], "volatility_ratio")))

    assert outcomes == [
        *((ALLOWED, "0.8165 / 0.8165"),) * 2,
        *((("BLOCK", "volatility_ratio"), "0.8165 / 0.8164"),) * 2,
    ]


def test_benchmark_without_bars_blocks_and_one_that_stands_still_too() -> None:
    """Missing history blocks, so does a benchmark without any move; calm again, entries pass."""
    made = desk(**VOLATILE, risk__volatility_ratio_max="1.4")
    said = [made.signal("BUY")]
    bars(made, ETHUSDT=("100",) * 5, BTCUSDT=("100",) * 5)
    said.append(made.signal("BUY"))
    bars(made, ETHUSDT=("110", "100", "100", "110"), BTCUSDT=("100",) * 4)
    said.append(made.signal("BUY"))

    assert [(actions(one)[0], check_text(one[0], "volatility_bars")) for one in said] == [
        (("BLOCK", "warmup"), "0 / 4"),
        (("BLOCK", "warmup"), "3 / 4"),
        (ALLOWED, "4 / 4"),
    ]


def test_ratio_of_old_bars_is_not_judged_and_blocks_as_missing_ones_do() -> None:
    """Bars more than two lengths old may hide a storm: their ratio is not asked."""
    made = desk(**VOLATILE, risk__volatility_ratio_max="9")
    bars(made, ETHUSDT=("100", "101", "100", "101", "100"))
    fresh = made.signal("BUY")
    made.tick(**FLAT, after_ms=2 * SECOND_MS + 1)

    old = made.signal("BUY")

    assert actions(fresh)[0] == ALLOWED
    assert check_text(fresh[0], "volatility_ratio").startswith("1.0")
    assert actions(old) == [("BLOCK", "warmup")]
    assert check_text(old[0], "volatility_bars") == "0 / 4"
    assert "volatility_ratio" not in names(old[0])


def test_entry_passes_in_the_first_minute_behind_history() -> None:
    """Bars of history count, so that nothing waits for bars of the night itself."""
    made = desk(**VOLATILE, **CORRELATED, risk__volatility_ratio_max="1.4")
    bars(
        made,
        is_history=True,
        ETHUSDT=("110", "100", "100", "110", "100"),
        BTCUSDT=("110", "100", "100", "110", "100"),
    )

    assert actions(made.signal("BUY"))[0] == ALLOWED


# --- drift ----------------------------------------------------------------------------------------


@pytest.mark.row("B-68")
def test_shifted_returns_block_and_unshifted_ones_do_not() -> None:
    """Two large moves behind three small ones are all new (distance 1); in between they are not."""
    outcomes = []
    for closes in (
        ("1000", "1001", "1002", "1003", "2000", "4000"),
        ("1000", "2000", "2001", "2002", "4004", "4005"),
        ("1000", "1001", "1002", "1003", "1004", "1005"),
    ):
        made = desk(**DRIFTING)
        bars(made, BTCUSDT=closes)
        events = made.signal("BUY")
        outcomes.append((actions(events)[0], check_text(events[0], "drift")))

    assert outcomes[0] == (("BLOCK", "drift"), "1.0000 / 0.9999")
    assert outcomes[1] == (ALLOWED, "0.5000 / 0.9999")
    assert outcomes[2][0] == ("BLOCK", "drift")


def test_drift_of_a_symbol_without_bars_blocks() -> None:
    """A symbol of which nothing is known may be anything but still."""
    made = desk(**DRIFTING)

    events = made.signal("BUY")

    assert actions(events) == [("BLOCK", "warmup")]
    assert check_text(events[0], "drift_bars") == "0 / 5"
    assert "drift" not in names(events[0])


def test_two_entries_between_bars_are_judged_by_the_same_figures() -> None:
    """Figures of the bars are reckoned once; the next bar changes them."""
    made = desk(**DRIFTING)
    bars(made, BTCUSDT=("100", "101", "100", "101", "100", "101"))

    first, second = made.signal("BUY"), made.signal("BUY")
    bars(made, BTCUSDT=("150", "200"))
    third = made.signal("BUY")

    assert check_text(first[0], "drift") == check_text(second[0], "drift")
    assert check_text(third[0], "drift") != check_text(first[0], "drift")


def test_drift_of_bars_that_are_too_old_is_not_told() -> None:
    """Three bars later without one, the bars do not count, and no drift is judged by them."""
    made = desk(**DRIFTING)
    bars(made, BTCUSDT=("100", "101", "100", "101", "100", "101"))
    made.tick(after_ms=3 * SECOND_MS)
    stale = made.signal("BUY")

    assert (actions(stale)[0], check_text(stale[0], "drift_bars")) == (("BLOCK", "warmup"), "0 / 5")
    assert "drift" not in names(stale[0])


def test_drift_without_enough_bars_blocks() -> None:
    """Five returns need six bars; a hole begins them anew."""
    made = desk(**DRIFTING)
    bars(made, BTCUSDT=("100", "101", "100", "101", "100"))
    early = made.signal("BUY")
    made.ts += SECOND_MS
    bars(made, BTCUSDT=("101",))
    hole = made.signal("BUY")

    assert (actions(early)[0], check_text(early[0], "drift_bars")) == (("BLOCK", "warmup"), "4 / 5")
    assert (actions(hole)[0], check_text(hole[0], "drift_bars")) == (("BLOCK", "warmup"), "0 / 5")


# --- state ----------------------------------------------------------------------------------------


def test_restored_core_decides_the_same_bytes() -> None:
    """A core restored before each step writes the same queues as one that ran through."""
    logs = []
    for is_restored in (False, True):
        made = desk(
            **CLUSTER, **VOLATILE, risk__volatility_ratio_max="1.35", risk__correlation_max="0.99"
        )
        closes = ("1000", "1100", "990", "990", "1089", "1100")
        others = ("2000", "2100", "1890", "1890", "1990", "2400")
        for close, other in zip(closes, others, strict=True):
            bars(made, BTCUSDT=(close,), ETHUSDT=(other,))
            if is_restored:
                made.restarted()
            for symbol in (SYMBOL, OTHER):
                made.signal("BUY", symbol=symbol)
                made.tick(**FLAT, symbol=symbol)
        logs.append(made.log_bytes())

    assert logs[0] == logs[1]
    assert b"cluster_notional" in logs[0]
    assert b'"volatility_ratio"' in logs[0]


def test_close_beyond_64_bits_is_kept_over_a_restart() -> None:
    """A close of 200,000,000,000 fits a snapshot, and the next return is of it."""
    plain, cut = desk(**DRIFTING), desk(**DRIFTING)
    for made in (plain, cut):
        bars(made, BTCUSDT=("400000000000", "200000000000"))
        if made is cut:
            made.restarted()
        bars(made, BTCUSDT=("400000000000",))

    assert plain.risk.state() == cut.risk.state()
    assert plain.risk.state()["returns"][SYMBOL]["values"] == [-50_000_000, 100_000_000]


def test_state_kept_by_other_keys_is_forgotten() -> None:
    """A core whose keys ask more bars begins anew: nothing enters by bars that are too few."""
    made = desk(**CORRELATED)
    bars(made, BTCUSDT=UP_DOWN)
    longer = config(**{**CORRELATED, "risk__correlation_bars": 4})

    assert core_from_state(longer, made.risk.state()).state()["returns"] == {}
    assert made.risk.state()["returns"].keys() == {SYMBOL}


def test_profile_without_the_keys_has_no_state_and_no_checks() -> None:
    """Without keys nothing is kept, asked or written."""
    made = desk()
    bars(made, BTCUSDT=UP_DOWN)
    events = made.signal("BUY")

    assert "returns" not in made.risk.state()
    assert not {name for name in names(events[0]) if "correlation" in name or "drift" in name}
    assert not names(events[0]) & {"volatility_ratio", "volatility_bars", "cluster_notional"}
