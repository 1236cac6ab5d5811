"""Snapshot of any second of a run, and refusals counted with the next check."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import WHOLE, Window
from minibot.events.model import (
    Event,
    JsonObject,
    MarketTick,
    Payload,
    PositionPlan,
    RiskStanding,
)
from minibot.events.reasons import COOLDOWN, RISK_LIMIT
from minibot.kernel.errors import Refusal
from minibot.replay.explain.causes import Explainer
from minibot.replay.explain.explanation import Step
from minibot.replay.explain.lines import event_text, levels_text
from minibot.replay.explain.rejections import (
    NOTHING,
    Asking,
    WhyNot,
    _ask_risk,
    next_rejection,
    why_not,
    why_not_lines,
    wish_of,
)
from minibot.replay.explain.snapshot_at import (
    SecondSnapshot,
    SymbolSnapshot,
    _levels,
    snapshot_lines,
    snapshot_of_second,
)
from minibot.replay.run_status import open_run
from minibot.replay.time_arguments import Span
from minibot.strategies.decision import Decision, compare, hold
from minibot.strategies.decision import check as user_check
from tests.risk.desk import Desk, config
from tests.runs import ShortRun, raw_events, verb


@pytest.fixture(scope="module")
def recorded(short_run: ShortRun) -> Recorded:
    """The short run."""
    return open_run(short_run.run_dir)[0]


def check(name: str, passed: bool, threshold: str = "1") -> dict[str, object]:
    """Return a check in the form of an event."""
    return {"name": name, "value": "0", "threshold": threshold, "passed": passed}


def test_any_second_of_the_run_says_what_was_seen_held_and_decided(
    short_run: ShortRun, recorded: Recorded
) -> None:
    """Any second shows the last tick's touch, the position from fills, and the decision."""
    span, explainer = Span.of(recorded, None), Explainer(recorded)
    ticks = [event for _, event in recorded.events("market_ticks")]
    fills = raw_events(short_run.run_dir, "fills")
    chosen = random.Random(4).sample(range(span.from_ms // 1000 + 1, span.to_ms // 1000), 6)
    for second in (*chosen, fills[0]["ts"] // 1000):
        at = (second * 1000, second * 1000 + 999)

        found = snapshot_of_second(recorded, explainer, span, at, [])

        (symbol,) = found.symbols
        assert symbol.verdict
        last = last_tick(ticks, at[1])
        assert symbol.saw["touch"] is not None
        assert float(symbol.saw["touch"]["bid"]) == float(last.bid)
        assert float(symbol.saw["touch"]["ask"]) == float(last.ask)
        assert symbol.saw["age_ms"] >= 0
        held = sum(
            float(fill["payload"]["qty"]) * (1 if fill["payload"]["side"] == "BUY" else -1)
            for fill in fills
            if fill["ts"] <= at[1]
        )
        assert float(symbol.held["qty"]) == pytest.approx(held, abs=1e-12)
        journaled = {
            f"{queue}:{n}"
            for queue in ("signals", "risk_actions", "order_intents", "order_results", "fills")
            for n, event in enumerate(raw_events(short_run.run_dir, queue), 1)
            if at[0] <= event["ts"] <= at[1]
        }
        assert {step.place for step in found.steps} == journaled


def test_second_tells_of_symbols_that_the_profile_does_not_name(recorded: Recorded) -> None:
    """A universe chooses symbols of its own, and a run is handed positions."""
    manifest = dataclasses.replace(recorded.manifest, symbols=("ETHUSDT",))
    other = dataclasses.replace(recorded, manifest=manifest)
    span = Span.of(recorded, None)
    at = (span.to_ms // 1000 * 1000 - 1000, span.to_ms // 1000 * 1000 - 1)

    found = snapshot_of_second(other, Explainer(other), span, at, [])

    assert [each.symbol for each in found.symbols] == ["ETHUSDT", "BTCUSDT"]


def test_bar_that_closed_by_a_clock_ahead_of_the_runs_is_no_look_into_the_future(
    recorded: Recorded,
) -> None:
    """A bar that ends after the asked second, by the exchange's clock, is no look-ahead."""
    span, explainer = Span.of(recorded, None), Explainer(recorded)
    last_ms = span.to_ms // 1000 * 1000 - 1
    found = snapshot_of_second(recorded, explainer, span, (last_ms - 999, last_ms), [])
    (symbol,) = found.symbols
    bar = symbol.saw["bars"]["1s"][-1]

    fields = {}
    for name, close_ts in (("by", found.to_ms), ("after", found.to_ms + 1)):
        bar["close_ts"] = close_ts
        (fields[name],) = (
            line for line in snapshot_lines(found, span) if " 1s bar closed " in line
        )

    assert "ahead" not in fields["by"]
    assert (
        f"1s bar closed {span.clock(found.to_ms + 1)} by the exchange's clock, which was ahead of "
        "this run's: open "
    ) in fields["after"]


@pytest.mark.parametrize(("length_ms", "unit"), [(1, "millisecond"), (1000, "second")])
def test_time_without_an_event_is_named_by_its_length(
    recorded: Recorded, length_ms: int, unit: str
) -> None:
    """A second or millisecond without an event is named in its own unit."""
    span = Span.of(recorded, None)
    empty = SecondSnapshot(span.from_ms, span.from_ms + length_ms - 1, (), {}, (), ())

    assert snapshot_lines(empty, span)[-1] == f"nothing new was recorded in this {unit}"


@pytest.mark.parametrize(
    ("qty", "shown"), [("1.00000000", "1"), ("20.00000000", "20"), ("0.25000000", "0.25")]
)
def test_held_quantity_is_shown_without_a_lonely_point(
    recorded: Recorded, qty: str, shown: str
) -> None:
    """A whole quantity is shown as a whole number."""
    span = Span.of(recorded, None)
    held: JsonObject = {"qty": qty, "entry_price_avg": "100.50000000", "orders": [], "levels": None}
    symbol = SymbolSnapshot("BTCUSDT", "no market data yet", {}, held, None)
    second = SecondSnapshot(span.from_ms, span.from_ms + 999, (symbol,), {}, (), ())

    assert f"  held      {shown} bought at 100.5 on average" in snapshot_lines(second, span)


def last_tick(ticks: list[Event], ts: int) -> MarketTick:
    """Return the last tick at or before a time."""
    payloads = [event.payload for event in ticks if event.ts <= ts]
    return [payload for payload in payloads if isinstance(payload, MarketTick)][-1]


def test_hold_that_was_never_journaled_is_told_with_its_checks(
    short_run: ShortRun, recorded: Recorded
) -> None:
    """A hold that was never journaled is recomputed with its checks."""
    span, explainer = Span.of(recorded, None), Explainer(recorded)
    signals = {event["ts"] // 1000 for event in raw_events(short_run.run_dir, "signals")}
    quiet = next(
        second
        for second in range(span.from_ms // 1000 + 30, span.to_ms // 1000)
        if not signals & {second - 1, second, second + 1}
    )

    found = snapshot_of_second(recorded, explainer, span, (quiet * 1000, quiet * 1000 + 999), [])

    decided = found.symbols[0].decided
    assert decided is not None
    assert decided["ts"] >= quiet * 1000 - 2000
    assert decided["checks"]
    assert found.symbols[0].verdict.startswith("no trade: ")
    assert not found.steps


def test_second_in_which_was_traded_does_not_say_that_it_was_not(
    short_run: ShortRun, recorded: Recorded
) -> None:
    """A second with a trade does not claim that nothing was traded."""
    span, explainer = Span.of(recorded, None), Explainer(recorded)
    for fill in raw_events(short_run.run_dir, "fills")[:4]:
        second = fill["ts"] // 1000 * 1000

        found = snapshot_of_second(recorded, explainer, span, (second, second + 999), [])

        text, payload = found.symbols[0].verdict, fill["payload"]
        assert text.startswith("traded: ")
        assert f"{payload['side']} {payload['qty']} at {payload['price']}" in text
        assert "no trade" not in text


def test_decision_that_came_late_says_how_late(recorded: Recorded) -> None:
    """A strategy that lags decides on a second's inputs after it; the answer says by how much."""
    span = Span.of(recorded, None)
    at = (span.to_ms - 50_000, span.to_ms - 49_001)
    found = snapshot_of_second(recorded, Explainer(recorded), span, at, [])
    decided = found.symbols[0].decided
    assert decided is not None

    decided["ts"] = found.to_ms + 54_600
    late = "\n".join(snapshot_lines(found, span))
    decided["ts"] = found.to_ms
    in_time = "\n".join(snapshot_lines(found, span))

    assert ", 54.6 s behind: the strategy was that late" in late
    assert "behind" not in in_time


def test_second_of_a_fill_names_it_and_second_before_the_first_tick_says_so(
    short_run: ShortRun,
) -> None:
    """A second of a fill names it, in UTC and local zone; one before the first tick says so."""
    fill = raw_events(short_run.run_dir, "fills")[0]
    minute, second = divmod(fill["ts"] // 1000 % 3600, 60)

    utc = verb(short_run.var, "explain", "--at", f"18:{minute:02}:{second:02}")
    berlin = verb(
        short_run.var, "explain", "--at", f"19:{minute:02}:{second:02}", "--zone", "Europe/Berlin"
    )

    assert (utc.code, berlin.code) == (0, 0), utc.err + berlin.err
    assert "fills:1" in utc.out
    assert "fills:1" in berlin.out
    assert "Europe/Berlin" in berlin.out
    with pytest.raises(Refusal):
        Span.of(open_run(short_run.run_dir)[0], None).moment("17:59:59")


def test_why_not_counts_every_decision_once_and_agrees_with_the_journal(
    short_run: ShortRun, recorded: Recorded
) -> None:
    """Each decision is counted once by why-not, including the journaled ones."""
    bars = [
        event
        for event in raw_events(short_run.run_dir, "market_ticks")
        if event["type"] == "bar"
        and event["payload"]["interval"] == "1s"
        and not event["payload"]["is_history"]
    ]
    signals = raw_events(short_run.run_dir, "signals")
    said = Counter(event["payload"]["side"] for event in signals)

    found = why_not(recorded, "BUY", WHOLE)

    refused = sum(item.count for item in found.strategy.values())
    assert found.decisions == len(bars)
    assert found.decided == said["BUY"]
    assert found.decided + sum(found.other.values()) + refused == found.decisions
    assert found.other["SELL"] == said["SELL"]
    assert found.other["wanted to sell, but nothing was held"] > 0
    allowed = [event["payload"] for event in raw_events(short_run.run_dir, "risk_actions")]
    ids = {event["id"] for event in signals if event["payload"]["side"] == "BUY"}
    assert found.allowed == sum(
        action["action"] != "BLOCK" and action.get("signal_id") in ids for action in allowed
    )
    assert found.fills == sum(
        event["payload"]["side"] == "BUY" for event in raw_events(short_run.run_dir, "fills")
    )
    assert all(sum(item.following.values()) == item.count for item in found.strategy.values())


class DeskRun:
    """Queues of a recorded run without a seal, by a desk."""

    run_dir = Path("no-run")

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def events(self, queue: str) -> Iterator[tuple[int, Event]]:
        """Yield (seq, event) of a queue."""
        yield from enumerate(self._desk.events(queue), 1)


def test_why_not_counts_the_stop_of_a_hard_limit_as_a_refusal() -> None:
    """An entry beyond a hard limit without a soft value is refused by RISK_LIMIT."""
    desk = Desk(config(risk__night_notional_soft=None, risk__night_notional_hard="1500")).ready()
    desk.buy()
    desk.signal("BUY")
    found = WhyNot("BUY", WHOLE)

    _ask_risk(cast("Recorded", DeskRun(desk)), found, None)

    assert (found.allowed, found.fills) == (1, 1)
    assert {code: item.count for code, item in found.risk.items()} == {RISK_LIMIT: 1}


def test_strategy_that_never_answered_is_called_silent() -> None:
    """A silent strategy is called so where no decision was made."""
    lines = why_not_lines(WhyNot("BUY", WHOLE), Span("run", 0, 1000, UTC, "UTC"))

    assert lines[-1].startswith("the strategy answered nothing")


@pytest.mark.parametrize(
    ("code", "checks", "said"),
    [
        ("cooldown", [check("since_signal_ms", False)], NOTHING),
        (
            "spread_too_wide",
            [check("spread_bps", False), check("rsi", False), check("score", False, ">= 60")],
            "score against >= 60",
        ),
        (
            "spread_too_wide",
            [check("spread_bps", False), check("setup", False)],
            "no rule wanted to buy or sell",
        ),
        ("conflicting", [check("setup", False)], "next check not reached: the rules disagreed"),
        (
            "own_hold",
            [check("close", False, "< 101.5"), check("close", True, "> 99"), check("calm", False)],
            "not met: close <, calm",
        ),
        ("own_hold", [check("close", True, "> 99")], "no check of it failed"),
        ("warmup", [check("bars_1s", False)], "not known: later checks were not reached"),
        (
            "no_setup",
            [check("setup", False)],
            "next check not reached: no rule wanted to buy or sell",
        ),
    ],
)
def test_next_refusal_is_the_next_filter_that_would_have_refused(
    code: str, checks: list[dict[str, object]], said: str
) -> None:
    """The next refusal is the next check that would refuse; an unreached rule refuses nothing."""
    assert next_rejection(code, checks) == said


def test_wish_is_told_by_the_position_that_it_needs() -> None:
    """A wish to buy needs a flat position and a wish to sell a long one; without a rule none."""
    assert wish_of([check("position", False, "flat")]) == "BUY"
    assert wish_of([check("position", False, "long")]) == "SELL"
    assert wish_of([check("setup", False)]) == ""


@pytest.mark.parametrize(
    "held",
    [
        hold("already in", (compare("position", 1, "==", 0),)),
        hold("already in", (compare("position", 1, "==", 0),), code=COOLDOWN),
        hold("already in", (user_check("position", "1", "flat", passed=False),)),
    ],
)
def test_hold_of_an_own_strategy_with_a_check_named_position_is_no_wish(held: Decision) -> None:
    """It stands under its code for either side, and no rule is said to have wanted the other."""
    for side in ("BUY", "SELL"):
        found = WhyNot(side, WHOLE)
        Asking(found, None)._count_hold("BTCUSDT", held, 1)

        assert not found.other
        assert {code: item.count for code, item in found.strategy.items()} == {held.reason_code: 1}


def test_why_not_in_a_part_of_the_run_counts_that_part(recorded: Recorded) -> None:
    """Two parts of a run add up to the whole in why-not."""
    span = Span.of(recorded, None)
    middle = (span.from_ms + span.to_ms) // 2

    parts = [
        why_not(recorded, "SELL", Window(span.from_ms, middle)),
        why_not(recorded, "SELL", Window(middle + 1, span.to_ms)),
    ]

    assert sum(part.decisions for part in parts) == why_not(recorded, "SELL", WHOLE).decisions
    assert all(part.decisions for part in parts)


@pytest.mark.row("D-48")
def test_trade_is_traced_to_both_its_fills_and_signals_and_back_from_each(
    short_run: ShortRun,
) -> None:
    """A trade leads to fills and signals by ids, and each of them back to the trade."""
    trade = verb(short_run.var, "explain", "--trade", "1", "--json").document
    places = [step["place"] for step in trade["steps"]]
    fills = [step for step in trade["steps"] if step["event"]["type"] == "fill"]
    opened = next(step for step in fills if step["event"]["payload"]["side"] == "BUY")
    closed = next(step for step in fills if step["event"]["payload"]["side"] == "SELL")
    signal = next(
        step
        for step in trade["steps"]
        if step["event"]["type"] == "signal" and step["event"]["payload"]["side"] == "BUY"
    )

    assert not trade["missing"]
    assert len(places) == len(set(places))
    n = opened["place"].partition(":")[2]
    assert any(note.startswith("opened lot 1: ") for note in opened["notes"])
    assert any(note.startswith("trade 1: ") and "of lot 1," in note for note in closed["notes"])
    assert any(note.startswith("booked (") and ": cash:USDT -" in note for note in opened["notes"])
    assert n == "1"
    down = verb(short_run.var, "explain", "--signal", signal["event"]["id"], "--full").out
    assert "opened lot 1: " in down
    lot = verb(short_run.var, "explain", "--lot", "1", "--json").document
    assert {step["place"] for step in lot["steps"]} == set(places)
    by_id = verb(short_run.var, "explain", "--lot", opened["event"]["id"][:8], "--json").document
    assert by_id == lot


@pytest.mark.parametrize(
    "words",
    [
        ("explain", "latest", "--last", "--from", "18:00"),
        ("explain", "latest", "--trade", "1", "--symbol", "BTCUSDT"),
        ("replay", "latest", "--graph", "--from", "18:00"),
    ],
)
def test_flag_that_would_change_nothing_is_refused(
    words: tuple[str, ...], short_run: ShortRun
) -> None:
    """A flag without effect is refused, so nobody takes the whole for a part."""
    done = verb(short_run.var, *words)

    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def step(ts: int, payload: Payload) -> Step:
    """Return risk's word at a time."""
    return Step("risk_actions", 1, Event(ts, "id", "risk_role", "run", "", payload))


PLAN = PositionPlan(
    symbol="BTCUSDT",
    qty="2.00000000",
    moved=("stop_trailing",),
    stop="61590.27000000",
    stop_reason="trailing_stop",
    target="62000.00000000",
    target_reason="take_profit",
    rungs=("61900.00000000",),
    until_ts=1_723_161_600_000,
    original_qty="2.00000000",
)


@pytest.mark.row("B-43")
def test_levels_of_a_position_are_those_that_risk_told_last() -> None:
    """Levels of a symbol are those told last; a closed position has none."""
    opened, moved = step(1, PLAN), step(2, replace(PLAN, stop="61600.00000000"))
    closed = step(3, PositionPlan(symbol="BTCUSDT", qty="0", moved=("closed",)))
    levels = _levels("BTCUSDT", [opened, moved])

    assert levels is not None
    assert (levels["ts"], levels["stop"]) == (2, "61600.00000000")
    assert _levels("BTCUSDT", [opened, moved, closed]) is None
    assert _levels("ETHUSDT", [opened]) is None
    assert levels_text(levels) == (
        "stop 61,600.00 (trailing_stop), target 62,000.00 (take_profit), a part at 61,900.00,"
        " whatever the price at 00:00:00.000 UTC"
    )
    assert event_text(moved.event).endswith("; moved: stop trailing")
    assert event_text(closed.event) == "BTCUSDT closed"


def test_standing_is_told_with_its_locks() -> None:
    """The account's standing is one line: state, equity, what is locked."""
    lock = {"scope": "*", "reason_code": "max_drawdown", "until_ts": 9}
    standing = RiskStanding("HALTED", 2, "9500.00000000", locks=(lock,))

    assert event_text(step(1, standing).event) == "HALTED, equity 9,500.00; locked: * max_drawdown"
