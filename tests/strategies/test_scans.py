"""Scans of the strategy role: told by market time, read as `view.rank`, equal after a restart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from minibot.cores.closed_bar import ClosedBar
from minibot.cores.core_profile import ScannerSection
from minibot.cores.messages import SIGNALS, Message
from minibot.events.ids import position_id
from minibot.events.model import (
    BUY,
    Bar,
    Beat,
    Event,
    FeedValue,
    JsonObject,
    MarketRegime,
    MarketScan,
    Payload,
    Signal,
    Universe,
)
from minibot.kernel.canonical import decode, encode
from minibot.strategies.core import StrategyCore, core_from_config
from minibot.strategies.decision import Decision, decision_of
from minibot.strategies.declaration import Needs, Settings
from minibot.strategies.protocol import Strategy
from minibot.strategies.scanner.scans import Scans, scans_of, settings_of
from minibot.strategies.scanner.settings import ScannerSettings
from minibot.strategies.selection import choose
from minibot.strategies.view import View
from tests.risk.desk import HASH, RUN_ID, codec, config
from tests.strategies.scanner_bars import MIDNIGHT, walk

SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT")
SECONDS = 240
SECTION: JsonObject = {"bar_interval": "1s", "every_market_ms": 60_000}


class Ranked(Strategy):
    """Buys the best of the scan, says why it holds the others."""

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Answer each bar by the rank."""
        seen.append((view.now, view.symbol, view.rank))
        if view.rank != 1:
            return None
        return decision_of(BUY, 80, 80, "momentum_up", "the best of the scan", ())

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Ask for bars of a second."""
        return Needs(intervals=("1s",), history=1)


seen: list[tuple[int, str, int | None]] = []


def profile(**section: Any) -> JsonObject:
    """Return a profile with a scanner of one-second bars."""
    found = config()
    found["scanner"] = SECTION | section
    return found


def market(seconds: int = SECONDS) -> Iterator[Event]:
    """Yield bars of each second and symbol, then its beat."""
    closes = {symbol: walk(number, seconds) for number, symbol in enumerate(SYMBOLS)}
    seq = 0
    for second in range(seconds):
        open_ts = MIDNIGHT + second * 1_000
        payloads: list[Payload] = [
            Bar(
                symbol=symbol,
                interval="1s",
                open_ts=open_ts,
                close_ts=open_ts + 999,
                open=f"{prices[second]:.4f}",
                high=f"{prices[second] * 1.001:.4f}",
                low=f"{prices[second] * 0.999:.4f}",
                close=f"{prices[second]:.4f}",
                volume="1000",
                is_history=False,
            )
            for symbol, prices in closes.items()
        ]
        for payload in (*payloads, Beat(second + 1, {})):
            seq += 1
            ts = open_ts + 1_000
            place = position_id(RUN_ID, "market_role", "market_ticks", seq)
            yield Event(ts, place, "market_role", RUN_ID, HASH, payload)


def played(core: StrategyCore, events: list[Event], begun: int = 0) -> list[Message]:
    """Return all messages of a core on events."""
    messages: list[Message] = []
    for seq, event in enumerate(events[begun:], begun + 1):
        messages += core.process(event, seq, event.ts) or []
    return messages


def restarted(given: JsonObject, events: list[Event], cuts: range) -> list[StrategyCore]:
    """Return the cores that go on from each cut, and tell what a core without a restart tells."""
    whole = [message.event(HASH).to_json() for message in played(core_from_config(given), events)]
    cores = []
    for cut in cuts:
        first, second = core_from_config(given), core_from_config(given)
        before = played(first, events[:cut])
        second.restore(decode(encode(first.state())))
        after = played(second, events, cut)
        assert [message.event(HASH).to_json() for message in [*before, *after]] == whole
        cores.append(second)
    return cores


def payloads(said: list[Message], kind: type[Any]) -> list[Any]:
    return [message.payload() for message in said if isinstance(message.payload(), kind)]


@pytest.mark.row("B-07", "C-104")
def test_scan_is_told_at_each_moment_with_its_regime() -> None:
    """Each minute of market time a scan follows, and the regime with the first; both are valid."""
    messages = played(core_from_config(profile()), list(market()))

    scans = payloads(messages, MarketScan)
    assert [scan.as_of_ts - MIDNIGHT for scan in scans] == [60_000, 120_000, 180_000]
    assert [len(scan.ranked) for scan in scans] == [0, 3, 3]
    assert [scan.lacking for scan in scans] == [3, 0, 0]
    scores = [float(one["score"]) for one in scans[-1].ranked]
    assert scores == sorted(scores, reverse=True)
    (regime,) = payloads(messages, MarketRegime)
    assert (regime.name, regime.since_ts) == ("mixed", MIDNIGHT)
    for message in messages:
        assert message.place == SIGNALS
        event = message.event(HASH)
        codec().encode("signals", event)


def test_each_message_of_a_step_has_a_place_and_an_id_of_its_own() -> None:
    """Regime, scan and signal of one bar follow each other, the scan first."""
    chosen = choose(profile())
    messages = played(_ranked_core(chosen), list(market()))

    ids = [message.event(HASH).id for message in messages]
    assert len(ids) == len(set(ids))
    steps: dict[int | None, list[Message]] = {}
    for message in messages:
        steps.setdefault(message.tick_seq, []).append(message)
    mixed = [step for step in steps.values() if len(step) > 1]
    assert mixed
    for step in mixed:
        assert [message.ordinal for message in step] == list(range(len(step)))
        assert [isinstance(one.payload(), Signal) for one in step] == sorted(
            isinstance(one.payload(), Signal) for one in step
        )


def _ranked_core(chosen: Any) -> StrategyCore:
    """Return a core whose strategy buys the best of the scan."""
    ranked = replace(chosen, cls=Ranked, needs=Ranked.needs(chosen.settings))
    return StrategyCore(ranked, Scans(settings_of(ScannerSection(**SECTION))))


@pytest.mark.row("C-104")
def test_strategy_reads_the_rank_of_the_last_scan() -> None:
    """A bar sees the ranks of the scan before it, none before the first, and none without one."""
    seen.clear()
    messages = played(_ranked_core(choose(profile())), list(market()))
    scans = {scan.as_of_ts: scan for scan in payloads(messages, MarketScan)}

    for now, symbol, rank in seen:
        known = [scan for ts, scan in scans.items() if ts + 1_000 <= now]
        order = [one["symbol"] for one in known[-1].ranked] if known else []
        assert rank == (order.index(symbol) + 1 if symbol in order else None)
    assert {rank for _, _, rank in seen} == {None, 1, 2, 3}
    assert {signal.symbol for signal in payloads(messages, Signal)} <= set(SYMBOLS)


@pytest.mark.slow
@pytest.mark.row("C-104")
@pytest.mark.parametrize("mode", ["time", "event"])
def test_restart_anywhere_goes_on_with_the_same_messages(mode: str) -> None:
    """A core restored from its state, as text, tells what it would have told."""
    events = list(market(150))

    assert restarted(profile(mode=mode), events, range(0, len(events), 23))


@pytest.mark.row("B-07")
def test_mode_event_tells_a_scan_only_when_the_order_changes() -> None:
    """Two scans with one order are one event; the ranks are those of the last."""
    every = payloads(played(core_from_config(profile()), list(market(600))), MarketScan)
    answers = payloads(
        played(core_from_config(profile(mode="event")), list(market(600))), MarketScan
    )

    orders = [tuple(one["symbol"] for one in scan.ranked) for scan in every]
    changed = [order for n, order in enumerate(orders) if not n or order != orders[n - 1]]
    assert [tuple(one["symbol"] for one in scan.ranked) for scan in answers] == changed
    assert len(changed) < len(orders)


def universe(*traded: str, kept: tuple[str, ...] = ()) -> Universe:
    """Return a universe that watches no symbol."""
    return Universe(
        mode="dynamic",
        quote_asset="USDT",
        traded=traded,
        watched=(),
        kept=kept,
        missing_bases=(),
        excluded={},
        quote_volumes={},
        generation=2,
    )


def inserted(events: list[Event], second: int, payload: Payload) -> list[Event]:
    """Return events with one more at a second, before those of that time."""
    ts = MIDNIGHT + second * 1_000
    at = next(n for n, event in enumerate(events) if event.ts >= ts)
    place = f"{payload.TYPE} {second}"
    return [*events[:at], Event(ts, place, "market_role", RUN_ID, HASH, payload), *events[at:]]


@pytest.mark.parametrize("kept", [(), SYMBOLS[2:]])
def test_universe_says_which_symbols_are_ranked(kept: tuple[str, ...]) -> None:
    """A symbol that the universe dropped has no rank any more, however long its bars go on."""
    events = inserted(list(market(600)), 130, universe(*SYMBOLS[:2], kept=kept))

    scans = payloads(played(core_from_config(profile()), events), MarketScan)

    assert {one["symbol"] for one in scans[1].ranked} == set(SYMBOLS)
    for scan in scans[2:]:
        assert {one["symbol"] for one in scan.ranked} == set(SYMBOLS[:2])
        assert scan.lacking == 0


def test_kept_symbol_that_joins_is_ranked_by_the_bars_it_has() -> None:
    """Its streams went on while it was held, so that no history comes again as it joins."""
    events = list(market())
    for second in (0, 100):
        events = inserted(events, second, universe(*SYMBOLS[:2], kept=SYMBOLS[2:]))
    events = inserted(events, 130, universe(*SYMBOLS))

    scans = payloads(played(core_from_config(profile()), events), MarketScan)

    assert [(len(scan.ranked), scan.lacking) for scan in scans] == [(0, 2), (2, 0), (3, 0)]


@pytest.mark.parametrize("back_s", [140, 170])
def test_symbol_that_comes_back_is_ranked_at_once(back_s: int) -> None:
    """Its streams outlast its place by 20 s; history comes again only after they ended."""
    symbol, gone_s, silent_s = SYMBOLS[2], 130, 150
    events = [
        event
        for event in inserted(list(market(400)), gone_s, universe(*SYMBOLS[:2]))
        if not (
            isinstance(event.payload, Bar)
            and event.payload.symbol == symbol
            and silent_s <= (event.payload.open_ts - MIDNIGHT) // 1_000 < back_s
        )
    ]
    back_ts = MIDNIGHT + back_s * 1_000
    events = inserted(events, back_s, universe(*SYMBOLS))
    at = next(n for n, event in enumerate(events) if event.ts >= back_ts) + 1
    if back_s > silent_s:
        events[at:at] = [
            Event(back_ts, f"again {event.id}", event.source, RUN_ID, HASH, past)
            for event in market(back_s)
            if isinstance(bar := event.payload, Bar) and bar.symbol == symbol
            for past in [structs.replace(bar, is_history=True)]
        ][-120:]

    scans = payloads(played(core_from_config(profile()), events), MarketScan)

    after = [scan for scan in scans if scan.as_of_ts > back_ts]
    assert after
    assert [(len(scan.ranked), scan.lacking) for scan in after] == [(3, 0)] * len(after)


def test_restart_keeps_which_symbols_are_ranked() -> None:
    """A core restored among bars of a kept symbol tells what it would have told."""
    events = inserted(list(market()), 0, universe(*SYMBOLS[:2], kept=SYMBOLS[2:]))
    events = inserted(events, 1, FeedValue("social_cccusdt", "5", MIDNIGHT))
    events = inserted(events, 190, universe(*SYMBOLS))

    assert restarted(profile(), events, range(1, len(events), 97))


@pytest.mark.parametrize("has_universe", [False, True])
def test_value_from_before_its_symbol_joins_counts_at_once(has_universe: bool) -> None:
    """A start tells it before the first bar; another universe may hold then."""
    events = list(market())
    if has_universe:
        events = inserted(events, 2, universe(*SYMBOLS))
        events = inserted(events, 0, universe(*SYMBOLS[1:]))
    loud = inserted(events, 0, FeedValue("social_aaausdt", "5", MIDNIGHT))

    plain_score, loud_score = (
        Decimal(one["score"])
        for told in (events, loud)
        for one in payloads(played(core_from_config(profile()), told), MarketScan)[-1].ranked
        if one["symbol"] == SYMBOLS[0]
    )

    assert loud_score - plain_score == Decimal("5.00")


def watching(generation: int = 1, *, kept: tuple[str, ...] = ()) -> Universe:
    """Return a universe that trades the first symbol and watches the others."""
    return Universe(
        mode="dynamic",
        quote_asset="USDT",
        traded=SYMBOLS[:1],
        watched=SYMBOLS[1:],
        kept=kept,
        missing_bases=(),
        excluded={},
        quote_volumes={},
        generation=generation,
    )


def watched_market(universe: Universe) -> list[Event]:
    """Return the market with a universe first, and bars of all but the first by REST."""
    found = [Event(MIDNIGHT, "u", "market_role", RUN_ID, HASH, universe)]
    for event in market():
        bar = event.payload
        if isinstance(bar, Bar) and bar.symbol != SYMBOLS[0]:
            late = structs.replace(bar, is_history=True)
            event = Event(event.ts, event.id, event.source, RUN_ID, HASH, late)
        found.append(event)
    return found


@pytest.mark.row("B-07")
def test_watched_symbols_are_ranked_and_no_strategy_is_shown_them() -> None:
    """Their bars give them a rank; strategies see those of traded and of held symbols alone."""
    seen.clear()
    chosen = choose(profile())
    ranked = replace(chosen, cls=Ranked, needs=Ranked.needs(chosen.settings))
    section = ScannerSection(**SECTION, watched_bars=True)
    for kept, shown in (((), SYMBOLS[:1]), (SYMBOLS[1:2], SYMBOLS[:2])):
        core = StrategyCore(ranked, scans_of(section))
        messages = played(core, watched_market(watching(kept=kept)))

        scans = payloads(messages, MarketScan)
        assert {one["symbol"] for one in scans[-1].ranked} == set(SYMBOLS)
        assert set(core.watched) == set(shown)
        assert {signal.symbol for signal in payloads(messages, Signal)} <= {SYMBOLS[0]}


def test_strategy_is_shown_every_bar_without_the_key() -> None:
    """Without `scanner.watched_bars` bars and state are as before."""
    core = core_from_config(profile())
    played(core, watched_market(watching()))

    assert set(core.watched) == set(SYMBOLS)
    assert "watched" not in core.state()["scans"]


def test_restart_keeps_which_symbols_are_watched() -> None:
    """A core restored among bars of watched symbols tells what it would have told."""
    events, given = watched_market(watching()), profile(watched_bars=True)

    for core in restarted(given, events, range(1, len(events), 97)):
        assert set(core.watched) == set(SYMBOLS[:1])


def test_profile_without_a_scanner_tells_none_and_has_no_rank() -> None:
    """Without the section no message and no state knows of it."""
    core = core_from_config(config())
    messages = played(core, list(market()))

    assert not payloads(messages, MarketScan)
    assert not payloads(messages, MarketRegime)
    assert core.view(SYMBOLS[0]).rank is None
    assert "scans" not in core.state()


def test_empty_section_has_the_scanners_defaults() -> None:
    """`"scanner": {}` and `minibot scan` rank by the same thresholds."""
    assert settings_of(ScannerSection()) == ScannerSettings()
