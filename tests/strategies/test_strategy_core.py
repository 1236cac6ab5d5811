"""Strategy core as a whole: determinism, restoring, journaled holds, recorded tapes."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from minibot.events.intervals import align
from minibot.events.model import HOLD, Bar, Draft, Event, JsonObject, Signal
from minibot.events.reasons import REASONS
from minibot.events.registry import Contracts
from minibot.events.unit_sizes import DAY_MS, WEEK_MS
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import ConfigError, InvariantError, RunStop
from minibot.runtime.configuration.config import load_config
from minibot.strategies.bars import TickBars
from minibot.strategies.core import core_from_config, core_from_state
from minibot.strategies.decision import Decision
from minibot.strategies.nore_strategy_v1 import NoreStrategyV1
from minibot.strategies.selection import params_hash
from tests.strategies.strategy_feed import (
    INSTRUMENT,
    OPENING,
    PRICE,
    START,
    SYMBOL,
    Feed,
    config,
    dip,
    draft_bytes,
    event,
    flat,
    jump,
    recorded,
    run_recorded,
    signals,
    stairs,
)
from tests.waiting import DEADLINE_S

TAPE = Path("binance-ws-hft") / "btcusdt_20240808.gz"
NEXT_TAPE = Path("binance-ws-hft") / "btcusdt_20240809.gz"

KINDS = ("quote", "old_quote", "wide", "trade", "gap", "depth", "book", "fill", "ending")
MORE_KINDS = ("1m", "history", "halt_symbol", "resume_symbol")

# One random action on the feed: its kind, and a number that shapes it.
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from([*["bar"] * 6, *KINDS, *MORE_KINDS]),
        st.integers(min_value=-12, max_value=12),
    ),
    max_size=40,
)


def act(feed: Feed, action: str, size: int) -> list[Draft]:
    """Do one random action on the feed; return its drafts."""
    price = max(PRICE * 0.9, feed.last * (1.0 + size / 20_000.0))
    if action == "bar":
        return feed.bar(price)
    if action == "trade":
        feed.ts += 100 * abs(size)
        return feed.trade(price, feed.ts if size % 2 else None)
    if action == "old_quote":
        return feed.quote(age_ms=400 * abs(size))
    if action == "wide":
        return feed.quote(bid="59000.00", ask="61000.00")
    if action == "gap":
        return feed.gap(length_ms=10_000 * abs(size))
    if action == "depth":
        return feed.gap("depth")
    if action in ("1m", "history"):
        feed.ts += 1000
        interval = "1m" if action == "1m" else "1s"
        return feed.bare_bar(price, interval=interval, is_history=action == "history")
    if action == "fill":
        is_long = feed.core.state()["symbols"][SYMBOL]["position"]["qty"] != "0"
        feed.fill("SELL" if is_long else "BUY")
        return []
    if action == "halt_symbol":
        return feed.status("BREAK")
    if action == "resume_symbol":
        return feed.status("TRADING")
    return {"quote": feed.quote, "book": feed.book, "ending": feed.ending}[action]()


def warmed(profile: JsonObject) -> Feed:
    feed = Feed(profile)
    feed.bars(flat(25))
    return feed


OWN_ROOMS = (
    "minibot.accounting.",
    "minibot.cores.",
    "minibot.events.",
    "minibot.features.",
    "minibot.strategies",
)
# Caches of a core, which are no part of its state.
SCRATCH = {"_seen", "_views", "chosen", "owner", "scaled"}


def portrait(thing: object) -> object:
    """Return an object's whole content, down to the bits of its floats."""
    if isinstance(thing, float):
        return thing.hex()
    if isinstance(thing, str | int | bool | None):
        return thing
    if isinstance(thing, dict):
        return {key: portrait(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple | deque):
        return [portrait(item) for item in thing]
    if isinstance(thing, Decision):  # Its text may not have been made yet.
        said = (thing.side, thing.score, thing.confidence, thing.reason_code, thing.reason)
        return [*said, portrait(thing.checks)]
    slots = {name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())}
    names = slots or set(vars(thing))
    return {name: portrait(getattr(thing, name)) for name in sorted(names) if name not in SCRATCH}


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, cut=st.floats(0.0, 1.0), from_ticks=st.booleans())
def test_core_restored_anywhere_gives_identical_drafts(
    actions: list[tuple[str, int]], cut: float, from_ticks: bool
) -> None:
    """A core restored from any state continues to the same bytes."""
    profile = config(bars_from_ticks=from_ticks, cooldown_ms=2000)
    whole, parted = warmed(profile), warmed(profile)
    expected, found = [], []
    for index, (action, size) in enumerate([*actions, ("bar", -10)]):
        if index == int(cut * len(actions)):
            state = decode(encode(parted.core.state()))
            parted.core = core_from_state(profile, state)
            assert portrait(parted.core) == portrait(whole.core)
        expected.append(draft_bytes(act(whole, action, size)))
        found.append(draft_bytes(act(parted, action, size)))

    assert found == expected
    assert encode(parted.core.state()) == encode(whole.core.state())
    assert encode(parted.core.facts()) == encode(whole.core.facts())


def test_core_restored_after_everything_happened_is_the_same_to_the_bit() -> None:
    """A core with every field changed is restored whole."""
    feed = Feed(config(bars_from_ticks=True))
    for n in range(60):
        feed.ts += 1000
        feed.trade(PRICE * (1.0 + (n % 7) / 20_000.0), feed.ts)
        feed.quote(bid_qty=str(n + 1))
    feed.bare_bar(PRICE, interval="1m", is_history=True)
    feed.fill("BUY", "0.00500")
    feed.fill("SELL", "0.00100")
    feed.gap("depth")
    feed.ending()
    warm_state = feed.core.state()
    feed.gap("trade")
    feed.trade(PRICE, feed.ts + 1_000)

    for state in (warm_state, feed.core.state()):
        restored = core_from_state(config(bars_from_ticks=True), decode(encode(state)))
        assert encode(restored.state()) == encode(state)
    assert portrait(restored) == portrait(feed.core)


@pytest.mark.row("C-13")
@settings(max_examples=40, deadline=None)
@given(past=ACTIONS, one=ACTIONS, other=ACTIONS)
def test_core_future_events_leave_past_signals_unchanged(
    past: list[tuple[str, int]], one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    """Later events change no byte of earlier signals."""
    spoken = []
    for future in (one, other):
        feed = warmed(config(cooldown_ms=2000))
        drafts = [draft for action in past for draft in act(feed, *action)]
        data = draft_bytes(drafts)
        for action in future:
            act(feed, *action)
        spoken.append((data, draft_bytes(drafts)))

    assert spoken[0] == spoken[1]
    assert spoken[0][0] == spoken[0][1]


@pytest.mark.row("N-59", "N-61", "B-05")
@settings(max_examples=80, deadline=None)
@given(actions=ACTIONS, from_ticks=st.booleans())
def test_signals_of_any_stream_keep_their_promises(
    actions: list[tuple[str, int]], from_ticks: bool
) -> None:
    """Signals keep their promises on any stream: reasons, scores, causes, few holds."""
    feed = warmed(config(bars_from_ticks=from_ticks, cooldown_ms=2000))
    said_code, said_hold_ts = feed.core.state()["symbols"][SYMBOL]["said_code"], -1
    for action, size in actions:
        for draft in act(feed, action, size):
            (signal,) = signals([draft])
            assert signal.reason.startswith(f"{signal.side}: ")
            assert len(signal.reason) > len("HOLD: ")
            assert signal.reason_code in REASONS
            assert signal.checks
            assert 0 <= signal.score <= 100
            assert 0 <= signal.confidence <= 100
            assert draft.cause_ids == (f"{feed.number:08x}-0000-4000-8000-000000000000",)
            assert draft.tick_seq == feed.seq
            if signal.side == HOLD:
                assert signal.reason_code != said_code
                assert feed.ts - said_hold_ts >= 1000
                said_hold_ts = feed.ts
            else:
                assert all(check.passed for check in signal.checks)
            said_code = signal.reason_code


@pytest.mark.row("B-80")
@settings(max_examples=60, deadline=None)
@given(
    part=st.sampled_from(["rsi", "fast", "slow", "atr", "momentum"]),
    value=st.sampled_from(["nan", "inf", "-inf"]),
    close=st.sampled_from([dip(), jump(), PRICE]),
    is_long=st.booleans(),
)
def test_reading_not_a_number_is_hold(part: str, value: str, close: float, is_long: bool) -> None:
    """NaN in any indicator gives HOLD with a missing reading."""
    feed = warmed(config())
    if is_long:
        feed.take_lot("0.008")
    state = feed.core.state()
    indicator = state["symbols"][SYMBOL]["strategy"]["bars"][part]
    for key in ("gain", "mean"):
        if key in indicator:
            indicator[key] = value
    if "window" in indicator:
        indicator["window"] = [value] * len(indicator["window"])
    feed.core = core_from_state(config(), state)
    drafts = feed.bar(close)

    assert [signal.side for signal in signals(drafts)] in ([], [HOLD])
    facts = feed.core.facts()
    assert facts["reason_code"] == "feature_missing"
    assert facts["reason"] == "HOLD: a reading over 1s bars is missing or not a number"


def test_hold_of_same_reason_is_written_once_and_shown_always() -> None:
    """A repeated hold is written once, and the facts show current values."""
    feed = Feed()
    drafts = feed.bars(flat(200))
    facts = feed.core.facts()

    assert [signal.reason_code for signal in signals(drafts)] == ["warmup", "no_setup"]
    assert facts["reason_code"] == "no_setup"
    assert facts["signals"] == 2
    assert facts["decisions"][SYMBOL]["checks"]["spread_bps"] == "0.00"
    assert facts["decisions"][SYMBOL]["ts"] == feed.ts
    encode(facts)


@pytest.mark.parametrize(("wait_ms", "count"), [(999, 0), (1000, 1)])
def test_hold_of_new_reason_waits_a_second(wait_ms: int, count: int) -> None:
    """A hold with a new reason waits a second, and the last one is not lost."""
    feed = warmed(config())
    feed.gap("depth")
    assert len(feed.bar(dip())) == 1
    feed.book()
    feed.ts += wait_ms
    feed.quote()

    assert len(feed.bare_bar(PRICE, back=wait_ms - 999)) == count


def test_bars_of_history_warm_up_and_say_nothing() -> None:
    """History bars warm up without a signal; the first live bar may give one."""
    feed = Feed()
    drafts: list[Draft] = []
    for close in flat(40):
        feed.ts += 1000
        drafts += feed.bare_bar(close, is_history=True)
    assert drafts == []
    assert feed.core.facts()["reason"] == "HOLD: the strategy has answered nothing yet"

    assert [signal.side for signal in signals(feed.bar(dip()))] == ["BUY"]


def test_bars_of_other_intervals_and_old_bars_decide_nothing() -> None:
    """Only a new closed bar of `bar_interval` causes a decision."""
    feed = warmed(config())
    before = feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"]

    assert feed.bare_bar(dip(), back=5_000) == []
    assert feed.bare_bar(dip()) == []
    assert feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"] == before
    feed.ts += 60_000
    assert feed.bare_bar(dip(), interval="1m") == []


@pytest.mark.parametrize(("hole", "count"), [(21, 26), (22, 1)])
def test_bars_with_a_long_hole_start_anew(hole: int, count: int) -> None:
    """A hole longer than the slow average's memory resets the indicators, a shorter one not."""
    feed = warmed(config())
    feed.ts += (hole - 1) * 1000
    feed.bar(PRICE)

    assert feed.core.facts()["decisions"][SYMBOL]["checks"]["bars_1s"] == str(count)


@pytest.mark.row("N-58", "N-31")
@pytest.mark.parametrize("from_ticks", [False, True])
def test_ticks_alone_and_bars_both_give_signals(from_ticks: bool) -> None:
    """Ticks alone trade like bars, if the profile says so."""
    feed = Feed(config(bars_from_ticks=from_ticks))
    drafts: list[Draft] = []
    for close in [*flat(40), dip(), PRICE]:
        feed.ts += 1000
        drafts += feed.trade(close, feed.ts)
        if not from_ticks:
            drafts += feed.bare_bar(close)

    assert [signal.side for signal in signals(drafts)].count("BUY") == 1


@pytest.mark.row("N-58")
def test_ticks_only_tape_gives_the_bars_own_indicators() -> None:
    """Bars from ticks equal the recorded ones, also for seconds without trades."""
    ticks, bars = Feed(config(bars_from_ticks=True)), Feed()
    closes = [PRICE + 7.0 * (n * n % 11) for n in range(60)]
    for n, close in enumerate(closes):
        for feed in (ticks, bars):
            feed.ts = START + n * 1000
        if n % 5 not in (2, 3):  # Two of five seconds have no trade and give flat bars.
            ticks.trade(close, ticks.ts + 300)
        held = closes[n - n % 5 + 1] if n % 5 in (2, 3) else close
        bars.ts += 1000
        bars.bare_bar(held)
    ticks.trade(PRICE, START + 60_000)

    found = ticks.core.state()["symbols"][SYMBOL]["strategy"]["bars"]
    expected = bars.core.state()["symbols"][SYMBOL]["strategy"]["bars"]
    for each in (found, expected):
        del each["last"][6]  # The volume, which no indicator uses.
    assert found == expected


def test_ticks_late_or_after_a_long_hole_do_not_bend_bars() -> None:
    """A late trade changes no closed bar, and an hour without trades resets."""
    feed = Feed(config(bars_from_ticks=True))
    for n in range(30):
        feed.trade(PRICE, START + n * 1000)
    before = feed.core.state()["symbols"][SYMBOL]
    feed.trade(PRICE * 2, START + 3_000)
    late = feed.core.state()["symbols"][SYMBOL]
    feed.ts += 3_600_000
    feed.trade(PRICE, START + 3_600_000)
    feed.trade(PRICE, START + 3_601_000)

    assert late["strategy"] == before["strategy"]
    assert late["builders"][-1] == before["builders"][-1]
    assert feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"]["slow"]["count"] == 1


@pytest.mark.parametrize(
    ("missing", "is_live"), [(0, [True]), (2, [False, False, True]), (3, [False])]
)
def test_bar_of_ticks_that_closed_before_a_hole_is_not_live(
    missing: int, is_live: list[bool]
) -> None:
    """A decision on it would come when the next trade does, however long after its close."""
    bars = TickBars("1s", hole_bars_max=2)
    bars.add(START, PRICE, 1.0)
    closed = bars.add(START + 1000 * (missing + 1), PRICE, 1.0)

    assert [bar.is_live for bar in closed] == is_live
    assert closed[0].open_ts == START


def test_ticks_mode_leaves_live_bars_out_and_takes_history() -> None:
    """In ticks mode live bars are ignored and history is used."""
    feed = Feed(config(bars_from_ticks=True))
    for close in flat(30):
        feed.ts += 1000
        feed.bare_bar(close, is_history=True)
    before = feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"]

    assert feed.bar(dip()) == []
    assert before["slow"]["count"] == 30
    assert feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"] == before


def test_ticks_mode_after_gap_forgets_the_open_bar() -> None:
    """In ticks mode a gap drops the open bar."""
    feed = Feed(config(bars_from_ticks=True))
    feed.trade(PRICE, START)
    feed.gap("trade")
    feed.trade(PRICE, START + 1000)

    assert feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"]["slow"]["count"] == 0


@pytest.mark.parametrize("is_restored", [False, True])
def test_ticks_mode_makes_no_bar_of_an_interval_that_a_gap_tore(is_restored: bool) -> None:
    """Trades behind the gap within its interval make no bar; the next interval is whole."""
    profile = config(bars_from_ticks=True)
    feed, counts = Feed(profile), []
    feed.trade(PRICE, START)
    feed.gap("trade")
    if is_restored:
        feed.core = core_from_state(profile, decode(encode(feed.core.state())))
    for after_ms in (500, 1_000, 2_000):
        feed.trade(PRICE, START + after_ms)
        counts.append(feed.core.state()["symbols"][SYMBOL]["strategy"]["bars"]["slow"]["count"])

    assert counts == [0, 0, 1]


@pytest.mark.parametrize(
    ("last_ts", "until_ts", "first"),
    [
        (START, START + 999, START + 1_000),
        (START, START + 1_000, START + 2_000),
        (START + 1_200, START + 999, START + 2_000),
    ],
)
def test_bars_of_ticks_go_on_with_the_first_interval_behind_a_gap(
    last_ts: int, until_ts: int, first: int
) -> None:
    """Torn are the open bar, whose clock may be ahead, and the interval in which the gap ends."""
    bars = TickBars("1s", hole_bars_max=2)
    bars.add(last_ts, PRICE, 1.0)
    bars.reset(until_ts)
    closed = [bar for ms in range(0, 4_000, 100) for bar in bars.add(START + ms, PRICE, 1.0)]

    assert closed[0].open_ts == first
    assert closed[0].volume == 10.0


def test_bars_of_ticks_are_restored_from_a_state_without_a_gap() -> None:
    """A snapshot of before says nothing of gaps: every interval is whole."""
    bars = TickBars("1s", hole_bars_max=2)
    bars.restore({"open": None})
    bars.add(START, PRICE, 1.0)

    assert [bar.open_ts for bar in bars.add(START + 1_000, PRICE, 1.0)] == [START]


def test_weeks_of_ticks_begin_on_monday() -> None:
    """Weeks are the venue's: neither Thursday nor Friday closes one."""
    wednesday = 6 * DAY_MS  # Day 0 was a Thursday.
    bars = TickBars("1w", hole_bars_max=2)

    assert [bars.add(wednesday + days * DAY_MS, PRICE, 1.0) for days in (0, 1, 2, 4)] == [()] * 4
    (week,) = bars.add(wednesday + 5 * DAY_MS, PRICE, 1.0)
    assert week.open_ts == align(wednesday, WEEK_MS) == 4 * DAY_MS


def test_two_symbols_are_judged_apart() -> None:
    """Symbols are independent of each other."""
    feed = warmed(config())
    other = Bar("ETHUSDT", "1s", START, START + 999, "1", "1", "1", "1", "1", is_history=False)
    (signal,) = signals(feed.take(other))

    assert (signal.symbol, signal.reason_code) == ("ETHUSDT", "no_instrument")
    assert [s.side for s in signals(feed.bar(dip()))] == ["BUY"]
    assert sorted(feed.core.facts()["decisions"]) == [SYMBOL, "ETHUSDT"]


@pytest.mark.parametrize(
    ("lots", "held"),
    [([], False), (["0.00800"], True), (["0.00007", "0.00400"], True), (["0.00008"], False)],
)
def test_position_is_what_opening_says(lots: list[str], held: bool) -> None:
    """Lots of a former run are held; a rest under 5 USDT counts as flat."""
    feed = Feed()
    feed.take_lot(*lots)
    feed.bars(flat(40))

    (signal,) = signals(feed.bar(jump()))
    assert (signal.side == "SELL") is held


@pytest.mark.parametrize(("qty_min", "held"), [("0.00800000", True), ("0.00900000", False)])
def test_position_below_the_least_quantity_counts_as_flat(qty_min: str, held: bool) -> None:
    """A position below the venue's least quantity counts as flat, the least itself does not."""
    feed = Feed()
    feed.take(replace(INSTRUMENT, qty_min=qty_min))
    feed.take_lot("0.008")
    feed.bars(flat(40))

    (signal,) = signals(feed.bar(jump()))
    assert (signal.side == "SELL") is held


def test_position_after_partial_fills_and_base_fee_is_exact() -> None:
    """A position is exact after partial fills with fees in base; flat means flat."""
    feed = Feed()
    feed.fill("BUY", "0.10000001", fee="0.00000001", asset="BTC")
    feed.fill("BUY", "0.2")
    feed.fill("SELL", "0.3")

    assert feed.core.state()["symbols"][SYMBOL]["position"] == {"lots": [], "qty": "0"}


def test_position_below_zero_is_an_invariant_error() -> None:
    """A sale beyond the position raises and stops the run."""
    feed = Feed()
    feed.fill("BUY", "0.1")

    with pytest.raises(InvariantError, match=r"makes the position -0\.1"):
        feed.fill("SELL", "0.2")


@pytest.mark.parametrize(
    ("trend", "points"), [([1.0] * 21, 0), ([*([1.0] * 20), 2.0], 10), ([*([1.0] * 20), 0.5], -10)]
)
def test_trend_influences_the_score_by_ten_points(trend: list[float], points: int) -> None:
    """The trend changes the score by ten points, in either direction."""
    feed, plain = Feed(), Feed()
    for n, factor in enumerate(trend):
        feed.bare_bar(PRICE * factor, interval="1m", back=(len(trend) - n) * 60_000)
    scores = []
    for each in (feed, plain):
        each.bars(flat(40))
        scores.append(signals(each.bar(dip()))[0].score)

    assert scores[0] - scores[1] == points
    checks = plain.core.facts()["decisions"][SYMBOL]["checks"]
    assert checks["trend_1m_bps"] == "warmup 0/21"


def test_score_and_confidence_follow_the_documented_sum() -> None:
    """Score and confidence equal hand-computed sums of the documented points."""
    feed = warmed(config(touch_notional_min="30000", tick_age_ms_max=4000))
    feed.ts += 1000
    feed.last = dip()
    feed.quote(bid="60000.00", ask="60012.00", age_ms=1000)
    (signal,) = signals(feed.bare_bar(dip()))
    values = {check.name: check.value for check in signal.checks}
    strength = min(1.0, (float(values["reversion_bps"]) / 1.0 - 1.0) / 2.0)
    rsi_share = (30.0 - float(values["rsi"])) / 30.0

    assert signal.score == 50 + int(25 * strength) + int(15 * rsi_share)
    # Spread 2.00 of 8.0, notional 60012 of 4 x 30000, age 1000 of 4000, order flow not ready yet.
    assert values["spread_bps"] == "2.00"
    assert signal.confidence == 20 + 15 + 10 + 15 + 10


@pytest.mark.parametrize(("close", "helpful"), [(dip(), "bid"), (jump(), "ask")])
def test_order_flow_with_us_raises_confidence(close: float, helpful: str) -> None:
    """A growing bid supports a purchase, a growing ask a sale; trades do not count."""
    found = {}
    for side in ("bid", "ask"):
        feed = warmed(config(flow_touches=5))
        if close > PRICE:
            feed.take_lot("0.1")
        for n in range(1, 8):
            feed.quote(
                bid_qty=str(n if side == "bid" else 1), ask_qty=str(n if side == "ask" else 1)
            )
        for _ in range(9):
            feed.trade(PRICE, feed.ts)
        feed.ts += 1000
        (signal,) = signals(feed.bare_bar(close))
        assert signal.side != HOLD
        found[side] = signal.confidence

    assert found[helpful] == max(found.values())
    assert max(found.values()) - min(found.values()) == 20


@pytest.mark.row("B-04")
@pytest.mark.parametrize(
    ("horizon_ms", "is_allowed"),
    [(999, False), (1_000, True), (86_400_000, True), (86_400_001, False)],
)
def test_horizon_lies_between_a_second_and_a_day(
    project: Path, horizon_ms: int, is_allowed: bool
) -> None:
    """The horizon is limited to a second up to a day."""
    for name in ("nore", "nore-demo", "nore-smoke", "paper"):
        profile = project / "config" / f"{name}.v1.json"
        sets = [f"strategy.horizon_ms={horizon_ms}"]
        if is_allowed:
            assert load_config(profile, sets, {}).raw["strategy"]["horizon_ms"] == horizon_ms
        else:
            with pytest.raises(ConfigError) as refusal:
                load_config(profile, sets, {})
            assert "strategy.horizon_ms" in refusal.value.violations[0]


@pytest.mark.row("B-04", "B-05", "N-59")
def test_signals_satisfy_their_contract() -> None:
    """Every signal passes the registered schema, holds included."""
    contracts = Contracts.of_project()
    feed = Feed()
    drafts = feed.bars([*flat(40), dip(), *flat(20), jump(), *stairs(30, 2.0, 1.0)])
    feed.take_lot("0.1")
    drafts += feed.bars([*flat(60), dip(), *flat(30), jump()])
    sides = set()
    for draft in drafts:
        signal = draft.payload
        written = event(draft.ts, 1, signal, "strategy_role")
        full = Event(
            **{**_fields(written), "cause_ids": draft.cause_ids, "tick_seq": draft.tick_seq}
        )
        envelope = decode(encode(full.to_json()))
        assert contracts.validate(envelope), contracts.explain(envelope)
        assert isinstance(signal, Signal)
        assert signal.horizon_ms == config()["strategy"]["horizon_ms"] == 60_000
        sides.add(signal.side)

    assert sides == {"BUY", "SELL", "HOLD"}


def _fields(written: Event) -> dict[str, Any]:
    return {name: getattr(written, name) for name in Event.__struct_fields__}


@pytest.mark.row("N-61")
def test_params_hash_follows_every_parameter() -> None:
    """The hash of the parameters changes with every parameter."""
    section = config()["strategy"]
    hashes = {params_hash(section)}
    for key in section:
        hashes.add(params_hash({**section, key: "changed"}))

    assert len(hashes) == len(section) + 1
    feed = Feed()
    (signal,) = signals(feed.bar(PRICE))
    assert (signal.strategy, signal.params_hash) == ("nore_strategy_v1", params_hash(section))


@pytest.mark.row("N-111")
def test_strategy_role_loads_nore_strategy_v1(project: Path) -> None:
    """The role table leads to the core and to the strategy of this file."""
    roles = json.loads((project / "config" / "roles.v1.json").read_text(encoding="utf-8"))
    role = roles["roles"]["strategy_role"]
    core = core_from_config(config())

    assert role["module"] == "minibot.strategies.role"
    assert set(role["inputs"]) == {"control", "fills", "risk_actions", "market_ticks"}
    assert core.chosen.cls is NoreStrategyV1
    assert (project / "minibot" / "strategies" / "nore_strategy_v1.py").is_file()


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "nore_strategy_v2"},
        {"ema_fast": 21},
        {"rsi_oversold": "60"},
        {"rsi_overbought": "40"},
        {"trend_interval": "1s"},
        {"bar_interval": "1M"},
    ],
)
def test_parameters_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    """Contradictory parameters are refused by the core before the first event."""
    with pytest.raises(RunStop) as caught:
        Feed(config(**changes), is_opened=False).bar(PRICE)

    assert caught.value.reason_code == "CONFIG_INVALID"


@pytest.mark.row("N-62")
def test_core_modules_import_features_and_nothing_impure(project: Path) -> None:
    """Core modules import features and nothing impure: no clock, chance, file, socket or libm."""
    allowed = {"__future__", "collections", "collections.abc", "dataclasses", "decimal", "difflib"}
    allowed |= {
        "array",
        "ast",
        "builtins",
        "fractions",
        "functools",
        "hashlib",
        "importlib",
        "mypy_extensions",
        "operator",
    }
    allowed |= {"sys", "types", "typing"}
    imported: set[str] = set()
    for path in sorted((project / "minibot" / "strategies").glob("*.py")):
        if path.name in ("role.py", "trial.py", "trial_process.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    foreign = {name for name in imported - allowed if not name.startswith(OWN_ROOMS)}

    assert foreign == {"minibot.kernel.canonical", "minibot.kernel.errors"}
    assert {
        f"minibot.features.{name}" for name in ("atr", "ema", "rsi", "rate_of_change")
    } <= imported


# --- recordings --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(shared_data: Path) -> tuple[list[Draft], int]:
    """Return the signals of the demo's recording, and the number of fills."""
    drafts, fills = run_recorded(core_from_config(config()), recorded(shared_data / TAPE))
    return drafts, len(fills)


@pytest.mark.slow
@pytest.mark.row("N-31", "N-61")
def test_recorded_tape_fills_signals_and_trades(played: tuple[list[Draft], int]) -> None:
    """The demo's recording gives at least three round trips."""
    drafts, fills = played
    spoken = signals(drafts)

    assert fills >= 6
    assert {signal.side for signal in spoken} == {"BUY", "SELL", "HOLD"}
    assert all(signal.reason for signal in spoken)
    assert len({signal.reason_code for signal in spoken}) >= 6


@pytest.mark.slow
def test_recorded_tape_of_another_day_trades_too(shared_data: Path) -> None:
    """Another recording trades as well."""
    _, fills = run_recorded(core_from_config(config()), recorded(shared_data / NEXT_TAPE))

    assert len(fills) >= 2


@pytest.mark.slow
@pytest.mark.row("N-58")
def test_recorded_tape_without_bars_trades_too(shared_data: Path) -> None:
    """The recording's ticks alone give trades."""
    core = core_from_config(config(bars_from_ticks=True))
    _, fills = run_recorded(core, recorded(shared_data / TAPE, with_bars=False))

    assert len(fills) >= 6


@pytest.mark.process
@pytest.mark.row("N-60")
def test_recorded_tape_in_two_processes_gives_one_digest(
    shared_data: Path, project: Path, played: tuple[list[Draft], int]
) -> None:
    """Two processes with other hash seeds give the same signals."""
    answers = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(project)}
        command = [sys.executable, "-m", "tests.strategies.strategy_feed", str(shared_data / TAPE)]
        done = subprocess.run(
            command,
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)

    assert len(answers) == 1
    assert answers.pop().split()[0] == str(len(played[0]))


def test_opening_event_is_taken_before_anything_else() -> None:
    """A core that only processed its opening has no position and no signal."""
    core = core_from_config(config())

    assert not core.process(event(START, 1, OPENING, "watchdog_role"), 1, START)
    assert core.facts()["reason"] == "HOLD: the strategy has answered nothing yet"
    assert core.state()["symbols"] == {}
