"""VADR as a gate: livelier than usual enters, frozen does not, and each venue is its own."""

from __future__ import annotations

from typing import Any

import pytest

from minibot.events.model import Bar
from minibot.events.unit_sizes import DAY_MS
from minibot.features.vadr import Vadr
from minibot.kernel.errors import ConfigError
from minibot.risk.core import core_from_state
from minibot.runtime.configuration.config import load_config
from tests.risk.desk import OTHER, PROJECT, START, SYMBOL, Desk, actions, check_text, config

ALLOWED = ("ALLOW", "allowed")
ON: dict[str, Any] = {
    "risk__vadr_bar_interval": "1d",
    "risk__vadr_bars": 20,
    "risk__vadr_min": "1.75",
}
TODAY = START // DAY_MS * DAY_MS
# A range of 100 at a close of 100: the reading is the root of the volume.
USUAL, LIVELY = "1", "3.0625"


def days(made: Desk, *volumes: str, symbol: str = SYMBOL, back: int = 0) -> None:
    """Close days with these volumes, the last of them `back` days before today."""
    for place, volume in enumerate(volumes):
        open_ts = TODAY - (len(volumes) - place + back) * DAY_MS
        made.put(
            "market_ticks",
            Bar(
                symbol=symbol,
                interval="1d",
                open_ts=open_ts,
                close_ts=open_ts + DAY_MS - 1,
                open="100",
                high="150",
                low="50",
                close="100",
                volume=volume,
                is_history=True,
            ),
        )


def desk(**changes: Any) -> Desk:
    return Desk(config(**{**ON, **changes})).ready()


def test_bars_of_its_interval_are_read_beside_the_strategys() -> None:
    """A backtest hands risk the bars that it reads, and no others."""
    assert desk().risk.bar_intervals == {"1s", "1d"}
    assert Desk(config()).risk.bar_intervals == {"1s"}


@pytest.mark.row("C-16")
def test_entry_passes_at_the_limit_and_blocks_below_it() -> None:
    """Nineteen days of 1 and one of 1.75: their median is 1."""
    outcomes = []
    for least in ("1.75", "1.7501"):
        made = desk(risk__vadr_min=least)
        days(made, *[USUAL] * 19, LIVELY)
        events = made.signal("BUY")
        outcomes.append((actions(events)[0], check_text(events[0], "vadr_ratio")))

    assert outcomes == [
        (ALLOWED, "1.7500 / 1.7500"),
        (("BLOCK", "vadr_low"), "1.7500 / 1.7501"),
    ]


@pytest.mark.row("C-16", "U-02")
@pytest.mark.parametrize("count", [0, 1, 19])
def test_too_few_bars_freeze_it_and_the_check_says_so(count: int) -> None:
    """Fewer readings than asked let nothing enter, however lively the last day was."""
    made = desk()
    days(made, *([USUAL] * 19 + [LIVELY])[20 - count :])
    events = made.signal("BUY")

    assert actions(events)[0] == ("BLOCK", "vadr_frozen")
    assert check_text(events[0], "vadr_readings") == f"{count} / 20"
    assert "vadr_ratio" not in {check["name"] for check in events[0].to_json()["payload"]["checks"]}


def test_late_bars_and_bars_that_never_moved_freeze_it() -> None:
    """Two lengths behind the last close an entry passes, a millisecond later not; nor at rest."""
    outcomes = []
    for after_ms in (0, 1):
        made = desk()
        days(made, *[USUAL] * 19, LIVELY)
        made.tick(after_ms=TODAY + 2 * DAY_MS + after_ms - made.ts)
        made.instrument()
        outcomes.append(actions(made.signal("BUY"))[0])
    still = desk()
    days(still, *["0"] * 20)
    events = still.signal("BUY")

    assert outcomes == [ALLOWED, ("BLOCK", "vadr_frozen")]
    assert actions(events)[0] == ("BLOCK", "vadr_frozen")
    assert check_text(events[0], "vadr_readings") == "19 / 20"


def test_bars_of_other_lengths_and_symbols_do_not_count() -> None:
    """Bars of the strategy's interval and of another symbol leave it frozen."""
    made = desk()
    days(made, *[USUAL] * 19, LIVELY, symbol=OTHER)
    made.bar("100", "150", "50", "100")
    made.tick()
    events = made.signal("BUY")

    assert check_text(events[0], "vadr_readings") == "0 / 20"


@pytest.mark.row("C-88")
def test_each_venue_has_its_own_value_and_none_is_blended() -> None:
    """Rules of another venue begin anew: the value is that of the second venue's bars alone."""
    quiet, both, alone = ["9"] * 19 + ["4"], desk(), desk()
    both.instrument(venue="kraken")
    days(both, *quiet, back=20)
    both.instrument(venue="binance")
    changed = both.signal("BUY")
    days(both, *[USUAL] * 19, LIVELY)
    alone.instrument(venue="binance")
    days(alone, *[USUAL] * 19, LIVELY)
    events = [made.signal("BUY")[0] for made in (both, alone)]
    kraken = desk(risk__vadr_min="0.5")
    kraken.instrument(venue="kraken")
    days(kraken, *quiet)

    assert check_text(changed[0], "vadr_readings") == "0 / 20"
    assert [check_text(one, "vadr_ratio") for one in events] == ["1.7500 / 1.7500"] * 2
    assert check_text(kraken.signal("BUY")[0], "vadr_ratio") == "0.6666 / 0.5000"
    state = both.risk.state()["vadr"]
    assert state == alone.risk.state()["vadr"]


def test_readings_of_the_venue_before_are_forgotten_at_once() -> None:
    """Rules that name no venue keep the readings, those of another venue do not."""
    made, counts = desk(), []
    made.instrument(venue="kraken")
    days(made, *[USUAL] * 20)
    for venue in ("kraken", None, "binance"):
        made.instrument(venue=venue)
        made.tick()
        counts.append(check_text(made.signal("BUY")[0], "vadr_readings"))

    assert counts == ["20 / 20", "20 / 20", "0 / 20"]


def test_restored_core_decides_the_same_bytes() -> None:
    """A core restored before each step writes the same queues as one that ran through."""
    logs = []
    for is_restored in (False, True):
        made = desk(risk__vadr_min="1.5")
        made.instrument(venue="binance")
        for place, volume in enumerate([USUAL] * 20 + [LIVELY, USUAL, "0.3", "7.77"]):
            days(made, volume, back=23 - place)
            if is_restored:
                made.restarted()
            made.tick()
            made.signal("BUY")
        logs.append(made.log_bytes())

    assert logs[0] == logs[1]
    for word in (b"vadr_frozen", b"vadr_low", b'"allowed"'):
        assert word in logs[0]


def test_state_kept_by_other_keys_is_forgotten() -> None:
    """A core whose keys ask more readings begins anew."""
    made = desk()
    days(made, *[USUAL] * 20)
    longer = config(**{**ON, "risk__vadr_bars": 21})

    assert core_from_state(longer, made.risk.state()).state()["vadr"]["symbols"] == {}
    assert made.risk.state()["vadr"]["symbols"].keys() == {SYMBOL}


def test_profile_without_the_keys_has_no_state_and_no_checks() -> None:
    """Without keys nothing is kept, asked or written."""
    made = Desk(config()).ready()
    days(made, *[USUAL] * 20)
    events = made.signal("BUY")

    assert "vadr" not in made.risk.state()
    names = {check["name"] for check in events[0].to_json()["payload"]["checks"]}
    assert not names & {"vadr_readings", "vadr_ratio"}


@pytest.mark.parametrize(("interval", "length_ms"), [("4h", DAY_MS // 6), ("1d", DAY_MS)])
def test_warm_up_that_a_profile_may_have_is_that_of_the_indicator(
    interval: str, length_ms: int
) -> None:
    """The rule of profiles counts the bars as the indicator does: one fewer is refused."""
    needed = Vadr(length_ms, 20).warmup
    keys = [
        f'market.bar_intervals=["1s","1m","{interval}"]',
        *("risk.vadr_bars=20", "risk.vadr_min=1.75", f"risk.vadr_bar_interval={interval}"),
    ]
    path = PROJECT / "config" / "nore-demo.v1.json"
    load_config(path, [*keys, f"market.warmup_bars={needed}"])

    with pytest.raises(ConfigError) as refused:
        load_config(path, [*keys, f"market.warmup_bars={needed - 1}"])
    (found,) = refused.value.violations
    assert found.startswith("risk.vadr_bars = 20")
    assert f"brings {needed} bars of {interval}" in found
