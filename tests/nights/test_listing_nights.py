"""Nights on a venue that halts, changes and delists symbols while they are traded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.role_replay import Recorded, replay_run
from minibot.kernel.verify import verify_tree
from minibot.replay.graph.lineage import verify_lineage
from tests.nights.night import Night
from tests.runs import ShortRun, make_run, raw_events
from tests.waiting import wait_until

pytestmark = [pytest.mark.campaign, pytest.mark.process]

# The first position stays open until a policy or the end of the run closes it.
HOLD_ON = {
    "risk__signal_exit": "false",
    "risk__stop_atr_mult": "1000",
    "risk__take_profit_atr_mult": "1000",
    "duration_ms": "200000",
    # Two seconds of wall-clock time for closing, and old touches are allowed: at twenty times the
    # speed a busy machine is seconds of market time late.
    "portfolio__close_market_ms": "40000",
    "strategy__tick_age_ms_max": "60000",
    "risk__tick_age_ms_max": "60000",
    "risk__signal_age_ms_max": "60000",
    "risk__intent_ttl_ms": "60000",
    "execution__tick_age_ms_max": "60000",
    "execution__order_ttl_market_ms": "60000",
}
MARKET = "BTCUSDT,ETHUSDT,BNBUSDT,SOLUSDT,XRPUSDT,DOGEUSDT,ADAUSDT,LTCUSDT,LINKUSDT,DOTUSDT"


def night(tmp_path: Path, script: Sequence[Mapping[str, Any]], **sets: str) -> ShortRun:
    """Run a short night under a fault script, and prove it."""
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps(list(script)), encoding="utf-8")
    found = make_run(
        tmp_path / "var", "--no-proof", embedded__faults=str(faults), **(HOLD_ON | sets)
    )
    assert found.said.code == 0, found.said.err
    assert list(verify_tree(found.run_dir)) == []
    assert list(verify_lineage(Recorded.open(found.run_dir))) == []
    assert replay_run(found.run_dir).is_identical
    return found


def payloads(run: ShortRun, queue: str, kind: str | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        event["payload"]
        for event in raw_events(run.run_dir, queue)
        if kind in (None, event["type"])
    ]
    return found


def exits(run: ShortRun) -> list[str]:
    """Return the reasons of all exits, in order."""
    actions = payloads(run, "risk_actions")
    return [action["reason_code"] for action in actions if action["action"] == "EXIT"]


HALT = {"at_ms": 40_000, "name": "symbol_break", "status": "HALT", "ms": 30_000}


@pytest.mark.row("F118")
@pytest.mark.parametrize(
    ("policy", "first_exit"), [("close", "left_trading"), ("hold", "end_exit")]
)
def test_position_in_a_halt_ends_as_the_policy_says(
    tmp_path: Path, policy: str, first_exit: str
) -> None:
    """A position in a halt is sold after it, or held to the end, as the policy says."""
    run = night(tmp_path, [HALT], risk__left_trading=policy)

    statuses = [item["status"] for item in payloads(run, "market_ticks", "instrument")]
    assert statuses == ["TRADING", "HALT", "TRADING"]
    assert exits(run)[0] == first_exit
    incidents = [incident["kind"] for incident in payloads(run, "incidents")]
    assert {"symbol_halted", "symbol_trading"} <= set(incidents)
    events = raw_events(run.run_dir, "market_ticks")
    halted, back = _span(events)
    fills = raw_events(run.run_dir, "fills")
    assert fills
    assert not [fill for fill in fills if halted < fill["ts"] < back]


def _span(events: list[dict[str, Any]]) -> tuple[int, int]:
    """Return the times at which the symbol left trading and returned."""
    found = [event["ts"] for event in events if event["type"] == "instrument"]
    return found[1], found[2]


@pytest.mark.row("F118")
def test_position_in_a_delisted_symbol_is_carried_and_listed(tmp_path: Path) -> None:
    """A position in a delisted symbol stays until the end of the run, which lists it."""
    run = night(tmp_path, [{"at_ms": 40_000, "name": "delist"}], risk__left_trading="close")

    statuses = [item["status"] for item in payloads(run, "market_ticks", "instrument")]
    assert statuses == ["TRADING", "DELISTED"]
    assert exits(run) == []
    (end,) = payloads(run, "stop_journal")
    assert end["reason_code"] == "DURATION_REACHED"
    assert [lot["symbol"] for lot in end["open_positions"]] == ["BTCUSDT"]


@pytest.mark.row("F118")
def test_filters_that_change_at_night_hold_for_what_comes_after(tmp_path: Path) -> None:
    """A coarser step at night makes an exit in hundred-thousandths leave a rest."""
    script = [
        {
            "at_ms": 30_000,
            "name": "filter",
            "filter": "LOT_SIZE",
            "field": "stepSize",
            "value": "0.00100000",
        },
        {"at_ms": 30_000, "name": "filter", "filter": "NEW_RULE", "field": "x", "value": "1"},
    ]

    run = night(tmp_path, script, binance__instrument_interval_market_ms="60000")

    instruments = payloads(run, "market_ticks", "instrument")
    assert [item["qty_increment"] for item in instruments] == ["0.00001000", "0.00100000"]
    kinds = [incident["kind"] for incident in payloads(run, "incidents")]
    assert kinds.count("filter_unknown") == 1
    assert kinds.count("instrument_changed") == 1
    sold = [fill["qty"] for fill in payloads(run, "fills") if fill["side"] == "SELL"]
    assert sold
    assert all(len(qty.partition(".")[2].rstrip("0")) <= 3 for qty in sold)


@pytest.mark.row("F62", "B-18")
def test_killed_market_role_goes_on_with_its_universe(tmp_path: Path) -> None:
    """A killed market role restarts with its universe and marks the missed time."""
    universe = {
        "mode": "dynamic",
        "bases": "all",
        "exclude": [],
        "quote_volume_min": "1000",
        "traded_max": 2,
        "interval_market_ms": 60_000,
    }
    scanner = {"bar_interval": "1m", "every_market_ms": 60_000, "watched_bars": True}
    run = Night(
        tmp_path / "var",
        [
            f"universe={json.dumps(universe)}",
            f"scanner={json.dumps(scanner)}",
            "ai.enabled=false",
        ],
        source="generator:1:BTCUSDT,ETHUSDT,SOLUSDT",
    )
    run.await_trading()
    victim = run.role("market_role")
    assert victim is not None
    before = run.lines("market_ticks")
    victim.kill()
    wait_until(lambda: run.lines("market_ticks") > before + 500, "ticks go on")
    run.interrupt()
    code, text = run.end()

    assert code == 0, text
    run_dir = run.run_dirs()[-1]
    assert list(verify_tree(run_dir)) == []
    assert replay_run(run_dir).is_identical
    events = raw_events(run_dir, "market_ticks")
    universes = [event["payload"] for event in events if event["type"] == "universe"]
    assert len(universes) >= 2
    assert {frozenset(item["traded"]) for item in universes} == {frozenset(universes[0]["traded"])}
    gaps = [event["payload"] for event in events if event["type"] == "gap"]
    assert {gap["symbol"] for gap in gaps} == set(universes[0]["traded"])
    # The watched one has bars by REST, which the second process goes on with, each once.
    (watched,) = universes[0]["watched"]
    bars = [event["payload"] for event in events if event["type"] == "bar"]
    opens = [bar["open_ts"] for bar in bars if bar["symbol"] == watched]
    assert opens == list(range(opens[0], opens[0] + 60_000 * len(opens), 60_000))


@pytest.mark.row("B-18", "B-51", "B-03", "D-57", "F118")
def test_night_over_a_dynamic_universe_is_proved(tmp_path: Path) -> None:
    """Ten symbols listed, four traded: a halt changes the universe, the policy its position."""
    universe = {
        "mode": "dynamic",
        "bases": "universe-v1",
        "exclude": ["LTC"],
        "quote_volume_min": "1000",
        "traded_max": 4,
        "interval_market_ms": 60_000,
    }
    halts = [
        {"at_ms": 70_000, "name": "symbol_break", "symbol": "BTCUSDT", "status": "BREAK"},
    ]
    run = night(
        tmp_path,
        halts,
        universe=json.dumps(universe),
        embedded__source=f"generator:2:{MARKET}",
        embedded__rate_per_s="80",
        risk__positions_max="2",
        risk__left_universe="close",
    )

    universes = payloads(run, "market_ticks", "universe")
    assert len(universes) >= 2
    first = universes[0]
    assert len(first["traded"]) == 4
    assert first["excluded"]["excluded"] == ["LTCUSDT"]
    assert {"XMR", "KAS"} <= set(first["missing_bases"])
    assert "DOGEUSDT" not in [*first["traded"], *first["watched"]]
    traded = {symbol for universe in universes for symbol in universe["traded"]}
    fills = payloads(run, "fills")
    assert fills
    assert {fill["symbol"] for fill in fills} <= traded
    ticks = {tick["symbol"] for tick in payloads(run, "market_ticks", "market_tick")}
    assert ticks <= traded
    assert "BTCUSDT" in [*first["traded"], *first["watched"]]
    assert "BTCUSDT" not in [*universes[-1]["traded"], *universes[-1]["watched"]]
    assert universes[-1]["excluded"]["not_trading"] == ["BTCUSDT"]
