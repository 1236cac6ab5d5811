"""Rules of alerts: what of a run an operator is told, and what stays in the record."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from minibot.events.model import Event, Health, Incident
from minibot.events.names import (
    EXECUTION_ROLE,
    MARKET_ROLE,
    RISK_ROLE,
    STRATEGY_ROLE,
    WATCHDOG_ROLE,
)
from minibot.events.reasons import CONNECTION_LOST, COOLDOWN_PERIOD, STOPLOSS_GUARD
from minibot.market.notices import CONNECTED
from minibot.ops.alerts import status_rules
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING, Alert
from minibot.ops.alerts.answers import status_answer
from minibot.ops.alerts.incident_rules import incident_alert
from minibot.ops.alerts.outbox import OUTBOX, Outbox
from minibot.ops.alerts.status_rules import (
    CONNECTION_LOST_S,
    StatusRules,
    positions_of,
    sharpe_of,
)
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import Var
from minibot.watchdog.ending import Phase
from tests.manifests import made_manifest

RUN = "20261123_200000_125"
NOW = 1_795_000_000_000


def incident(kind: str) -> Event:
    """Return an incident of the watchdog."""
    payload = Incident(component=WATCHDOG_ROLE, kind=kind, detail="what happened")
    fields: dict[str, Any] = {"id": "event-1", "run_id": RUN, "payload": payload}
    return SimpleNamespace(**fields)  # type: ignore[return-value]


def status(**risk: Any) -> dict[str, Any]:
    """Return a status of a running run, with some facts of risk."""
    facts = {"equity": "1000", "drawdown_bps": "0", "is_halted": False, "entry_stops": None, **risk}
    return {
        "run_id": RUN,
        "phase": Phase.RUNNING.value,
        "ended": None,
        "now_ms": NOW,
        "ai_off": False,
        "market": {"market_ms": NOW, "symbols": {}},
        "roles": {
            RISK_ROLE: {"running": True, "heartbeat": {"facts": facts}},
            STRATEGY_ROLE: {"running": True, "heartbeat": {"facts": {"now": NOW}}},
        },
    }


def later(ms: int) -> dict[str, Any]:
    """Return a status of a later market time; the strategy has kept up."""
    fields = {**status(), "now_ms": NOW + ms}
    fields["roles"][STRATEGY_ROLE]["heartbeat"]["facts"]["now"] = NOW + ms
    return fields


def market_health(data_age_ms: int, state: str = "READY") -> Health:
    """Return a word of the market role about its data."""
    return Health(role=MARKET_ROLE, state=state, uptime_s=1, turns=1, data_age_ms=data_age_ms)


def rules_config() -> dict[str, Any]:
    """Return the keys of a profile for which this machine's disk is large enough."""
    raw = load_config("config/nore-demo.v1.json").raw
    return {**raw, "watchdog": {**raw["watchdog"], "disk_free_min_mb": 1}}


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StatusRules:
    """Rules of a run, whose conditions need not stand for a time."""
    monkeypatch.setattr(status_rules.Standing.__init__, "__defaults__", (0.0, None, False, ""))
    made = StatusRules(made_manifest(RUN, rules_config(), {}, NOW), Var(tmp_path))
    made.recall({})
    return made


def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the wall clock show another hour than before, in which an alert has another id."""
    monkeypatch.setattr(status_rules, "wall_ms", lambda: NOW + 3_600_000)


def kinds(rules: StatusRules, told: dict[str, Any]) -> list[tuple[str, str]]:
    """Return kind and level of the alerts of a status."""
    return [(each.kind, each.level) for each in rules.look(told)]


@pytest.mark.parametrize(
    ("kind", "level"),
    [("ROLE_RESTARTED", WARNING), ("AI_OFF", WARNING), ("OPS_OFF", CRITICAL), ("banned", CRITICAL)],
)
def test_incident_that_matters_is_told_with_its_words(kind: str, level: str) -> None:
    """An incident of a kind in the table becomes an alert of its event."""
    alert = incident_alert(incident(kind))

    assert alert is not None
    assert alert.level == level
    assert alert.id == f"{RUN}/{kind}/event-1"
    assert "what happened" in alert.text


@pytest.mark.parametrize("kind", [CONNECTED, CONNECTION_LOST, "universe_changed", "renewal"])
def test_incident_of_an_everyday_kind_wakes_nobody(kind: str) -> None:
    """A connection that comes back in a second is no reason to get up."""
    assert incident_alert(incident(kind)) is None


def test_quiet_status_tells_nothing(rules: StatusRules) -> None:
    """A night on which all is well is silent."""
    assert kinds(rules, status()) == []
    assert kinds(rules, status()) == []


def test_change_of_tier_and_of_a_halt_is_told_once(rules: StatusRules) -> None:
    """The account's tier and an operator's halt are told when they change, not before."""
    assert kinds(rules, status(account="ACTIVE")) == []

    changed = kinds(rules, status(account="REDUCING", is_halted=True))

    assert changed == [("account", WARNING), ("is_halted", INFO)]
    assert kinds(rules, status(account="REDUCING", is_halted=True)) == []


def test_change_of_tier_is_told_with_the_drawdown_of_the_account(rules: StatusRules) -> None:
    """Tiers count from the mark of all carried runs; the night's drawdown says nothing of them."""
    account = {
        "account": "HALTED",
        "account_drawdown_bps": "359.5000",
        "account_high_water_mark": "10000.00000000",
        "headroom": {"account_drawdown_bps": "-109.5000"},
    }

    (alert,) = rules.look(status(equity="9640.5", **account))

    assert "359.5 bps below the account's high-water mark of 10,000.00, -109.5 bps" in alert.text
    assert "drawdown 0" not in alert.text
    fields = {"profile": "nore-demo", "origin_ms": NOW, "quote_asset": "USDT"}
    text = status_answer({**status(**account), **fields})
    assert "HALTED, 359.5 bps below the account's high-water mark of 10,000.00, -109.5 bps" in text


def test_halt_and_positions_are_told_in_figures_as_on_every_screen(rules: StatusRules) -> None:
    """A person reads them on a phone: rounded money and prices, and no word of a program."""
    held = {"symbol": "BTCUSDT", "qty": "0.00812000", "entry_price_avg": "61556.97000000"}
    now = status(equity="9640.50123456", drawdown_bps="12.3456", is_halted=True)
    facts = {"open_positions": [{**held, "resting_stop": "61509.51000000"}]}
    now["roles"][EXECUTION_ROLE] = {"running": True, "heartbeat": {"facts": facts}}

    (alert,) = rules.look(now)

    assert alert.title.endswith("entries are halted")
    assert alert.text == "equity 9,640.50, drawdown 12.3 bps"
    assert positions_of(now) == ["BTCUSDT 0.00812000 at 61,556.97, stop 61,509.51"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({}, {}, []),
        ({}, {"account": "REDUCING", "is_halted": True}, ["account", "is_halted"]),
        (
            {"account": "REDUCING", "is_halted": True},
            {"account": "REDUCING", "is_halted": True},
            [],
        ),
        (
            {"account": "REDUCING", "is_halted": True},
            {"account": "ACTIVE", "is_halted": False},
            ["account", "is_halted"],
        ),
        ({"account": "REDUCING"}, {"account": "HALTED"}, ["account"]),
        ({"account": "REDUCING"}, {}, []),
    ],
)
def test_change_while_ops_was_away_is_told_once_after_its_restart(
    tmp_path: Path, before: dict[str, Any], after: dict[str, Any], told: list[str]
) -> None:
    """The outbox knows what was told last: a restart neither loses a change nor repeats one."""
    raw = load_config("config/nore-demo.v1.json").raw
    raw = {**raw, "watchdog": {**raw["watchdog"], "disk_free_min_mb": 1}}
    came = []
    for facts in ({"account": "ACTIVE"}, before, after, after):
        outbox = Outbox(tmp_path / "ops", OUTBOX, RUN)
        started = StatusRules(made_manifest(RUN, raw, {}, NOW), Var(tmp_path))
        started.recall(outbox.last_of(RUN))
        found = [each for each in started.look(status(**facts)) if outbox.put(each, ["a"])]
        outbox.done("a", found)
        outbox.close()
        came.append([each.kind for each in found])

    assert came == [[], list(before), told, []]


def test_nothing_is_taken_for_a_change_before_the_outbox_is_open(tmp_path: Path) -> None:
    """While another process holds the outbox nobody knows what it has told."""
    raw = load_config("config/nore-demo.v1.json").raw
    raw = {**raw, "watchdog": {**raw["watchdog"], "disk_free_min_mb": 1}}
    rules = StatusRules(made_manifest(RUN, raw, {}, NOW), Var(tmp_path))
    assert kinds(rules, status(account="REDUCING")) == []

    rules.recall({"account": "REDUCING@1"})
    assert kinds(rules, status(account="REDUCING")) == []
    assert kinds(rules, status(account="ACTIVE")) == [("account", WARNING)]


@pytest.mark.parametrize(("free_mb", "is_told"), [(1999, True), (2000, False)])
def test_disk_is_told_at_twice_the_room_at_which_the_run_stops(
    rules: StatusRules,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free_mb: int,
    *,
    is_told: bool,
) -> None:
    """The alert says how much is free, and below how much the run stops."""
    raw = load_config("config/nore-demo.v1.json").raw
    raw = {**raw, "watchdog": {**raw["watchdog"], "disk_free_min_mb": 1000}}
    usage = SimpleNamespace(free=free_mb * 1024 * 1024)
    monkeypatch.setattr(psutil, "disk_usage", lambda path: usage)

    told = [*StatusRules(made_manifest(RUN, raw, {}, NOW), Var(tmp_path)).look(status())]

    assert [each.kind for each in told] == ["disk"] * is_told
    assert all("1999 MB free" in each.text and "below 1000 MB" in each.text for each in told)


def test_limit_that_is_used_up_is_told_and_a_halt_of_the_operator_is_not_loud(
    rules: StatusRules,
) -> None:
    """A used-up limit is a warning; what an operator asked for is none."""
    stops = {"since_ts": NOW, "reason_code": "day_loss", "refused": 1}
    assert kinds(rules, status(entry_stops=stops)) == [("entries", WARNING)]
    assert kinds(rules, status(entry_stops={**stops, "refused": 9})) == []

    halted = {"since_ts": NOW + 1, "reason_code": "halted", "refused": 1}
    assert kinds(rules, status(entry_stops=halted)) == [("entries", INFO)]


def test_lock_of_a_protection_is_told_once_and_a_longer_one_again(rules: StatusRules) -> None:
    """A lock for hours is a warning; the pause after a sale is a note."""
    lock = {"reason_code": STOPLOSS_GUARD, "scope": "*", "until_ts": NOW + 60_000}
    (alert,) = rules.look(status(locks=[lock]))

    assert (alert.kind, alert.level) == ("protection", WARNING)
    assert "all symbols" in alert.text
    assert kinds(rules, status(locks=[lock])) == []
    longer = {**lock, "until_ts": NOW + 120_000}
    assert kinds(rules, status(locks=[longer])) == [("protection", WARNING)]
    assert kinds(rules, status(locks=[])) == []
    pause = {"reason_code": COOLDOWN_PERIOD, "scope": "BTCUSDT", "until_ts": NOW + 60_000}
    assert kinds(rules, status(locks=[pause])) == [("protection", INFO)]


def test_old_data_and_old_decisions_are_told_and_again_only_after_they_were_well(
    rules: StatusRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that stand still for half a minute of market time are an alarm, once."""
    rules.on_health(market_health(30_000), NOW)
    behind = status()
    behind["roles"][STRATEGY_ROLE]["heartbeat"]["facts"]["now"] = NOW - 30_000

    assert kinds(rules, behind) == [("data_age", CRITICAL), ("decision_age", CRITICAL)]
    assert kinds(rules, behind) == []

    rules.on_health(market_health(1), NOW)
    assert kinds(rules, status()) == []
    an_hour_later(monkeypatch)
    rules.on_health(market_health(30_000), NOW)
    assert kinds(rules, status()) == [("data_age", CRITICAL)]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_condition_that_returns_within_the_hour_is_told_once_the_hour_is_over(
    tmp_path: Path, rules: StatusRules, monkeypatch: pytest.MonkeyPatch, is_restarted: bool
) -> None:
    """Whatever the rules tell is a new alert, so what lasts is not dropped for good."""
    outbox = Outbox(Var(tmp_path).ops, OUTBOX, RUN)
    moment = [0]
    monkeypatch.setattr(status_rules, "wall_ms", lambda: NOW // 3_600_000 * 3_600_000 + moment[0])
    sent = []
    for minute, age_ms in (
        (5, 30_000),
        (20, 1),
        (40, 30_000),
        (59, 30_000),
        (60, 30_000),
        (121, 1),
    ):
        moment[0] = minute * 60_000
        if is_restarted and minute == 40:
            rules = StatusRules(made_manifest(RUN, rules_config(), {}, NOW), Var(tmp_path))
            rules.recall(outbox.last_of(RUN))
        rules.on_health(market_health(age_ms), NOW)
        sent += [(minute, outbox.put(each, ["mail"])) for each in rules.look(status())]
    outbox.close()

    assert sent == [(5, True), (60, True)]


def test_data_grow_old_with_the_clock_while_the_market_role_is_silent(
    rules: StatusRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A market role that hangs says nothing of old data: its silence is told, until it speaks."""
    assert kinds(rules, later(10**6)) == []  # It was not heard yet.
    rules.on_health(market_health(100), NOW)

    assert kinds(rules, later(29_999)) == []
    (alert,) = rules.look(later(30_000))
    assert (alert.kind, alert.level) == ("data_age", CRITICAL)
    assert "30 s old" in alert.text
    assert kinds(rules, later(90_000)) == []

    rules.on_health(market_health(100), NOW + 90_000)
    assert kinds(rules, later(90_001)) == []
    an_hour_later(monkeypatch)
    assert kinds(rules, later(120_000)) == [("data_age", CRITICAL)]


def test_data_of_a_moment_between_two_words_of_the_market_role_are_not_old(
    rules: StatusRules,
) -> None:
    """A quiet symbol's age is not added to the usual time since the last word."""
    rules.on_health(market_health(25_000), NOW)

    assert kinds(rules, later(10_000)) == []


def test_silence_of_a_market_role_that_starts_or_ends_is_none(rules: StatusRules) -> None:
    """A role that takes its history says nothing for up to 45 s; at a planned end none is asked."""
    rules.on_health(market_health(0, "STARTING"), NOW)
    assert kinds(rules, later(60_000)) == []

    rules.on_health(market_health(0), NOW)
    assert kinds(rules, {**later(60_000), "phase": Phase.CLOSING.value}) == []
    assert kinds(rules, later(60_000)) == [("data_age", CRITICAL)]


def test_silence_counts_for_as_long_as_looks_take_where_the_clock_is_fast(
    rules: StatusRules, tmp_path: Path
) -> None:
    """At sixty times the speed half a minute passes between two looks at a status."""
    raw = load_config("config/nore-demo.v1.json").raw
    fast = StatusRules(made_manifest(RUN, raw, {}, NOW, clock_speed="60"), Var(tmp_path))
    fast.on_health(market_health(0), NOW)
    behind = status()
    facts = behind["roles"][STRATEGY_ROLE]["heartbeat"]["facts"]

    facts["now"] = NOW - 299_999
    assert kinds(fast, behind) == []
    facts["now"] = NOW - 300_000
    assert kinds(fast, behind) == [("decision_age", CRITICAL)]

    assert kinds(fast, later(299_999)) == []
    assert kinds(fast, later(300_000)) == [("data_age", CRITICAL)]


def test_reported_age_of_a_moment_of_this_machine_is_none_where_the_clock_is_fast(
    rules: StatusRules, tmp_path: Path
) -> None:
    """At 120 times the speed a busy machine leaves data 30 s old within a quarter of a second."""
    raw = load_config("config/nore-demo.v1.json").raw
    fast = StatusRules(made_manifest(RUN, raw, {}, NOW, clock_speed="120"), Var(tmp_path))

    fast.on_health(market_health(599_999), NOW)
    assert kinds(fast, status()) == []
    fast.on_health(market_health(600_000), NOW)
    (alert,) = fast.look(status())
    assert (alert.kind, alert.level) == ("data_age", CRITICAL)
    assert "600 s old, 600 s allowed" in alert.text


def connections_health(wanted: int, is_open: int) -> Health:
    """Return a word of the market role about its connections."""
    counters = {"connections": wanted, "connections_open": is_open}
    return Health(role=MARKET_ROLE, state="DEGRADED", uptime_s=1, turns=1, counters=counters)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The rules' monotonic clock, seconds, which the test moves."""
    now_s = [1000.0]
    monkeypatch.setattr(status_rules, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    return now_s


def test_connection_is_told_only_while_it_stays_away(
    rules: StatusRules, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short loss is silent; one that lasts is an alarm, and one of a later hour is another."""
    rules.on_health(connections_health(1, 0), NOW)
    assert kinds(rules, status()) == []
    clock[0] += CONNECTION_LOST_S - 1
    assert kinds(rules, status()) == []
    rules.on_health(connections_health(1, 1), NOW)
    assert kinds(rules, status()) == []

    for _ in range(2):
        rules.on_health(connections_health(1, 0), NOW)
        assert kinds(rules, status()) == []
        clock[0] += CONNECTION_LOST_S
        assert kinds(rules, status()) == [("connection", CRITICAL)]
        assert kinds(rules, status()) == []
        rules.on_health(connections_health(1, 1), NOW)
        assert kinds(rules, status()) == []
        an_hour_later(monkeypatch)


def test_one_connection_that_comes_back_hides_no_other_that_is_away(
    rules: StatusRules, clock: list[float]
) -> None:
    """One of two is away for half a minute while the other is lost and back within seconds."""
    assert kinds(rules, status()) == []
    answers = []
    for second in range(31):
        rules.on_health(connections_health(2, 0 if second % 10 == 5 else 1), NOW)
        answers += kinds(rules, status())
        clock[0] += 1

    assert answers == [("connection", CRITICAL)]


def test_failed_measurements_are_told_from_half_the_rate_that_stops_the_run(
    rules: StatusRules,
) -> None:
    """The operator hears of a failing exchange before the run stops for it."""
    for n in range(60):
        ok = n % 10 != 0
        rules.on_health(Health(role=MARKET_ROLE, state="READY", uptime_s=1, turns=1, ok=ok), NOW)

    assert kinds(rules, status()) == [("error_rate", WARNING)]


def test_disk_is_told_at_twice_the_space_at_which_the_run_stops(tmp_path: Path) -> None:
    """A disk that fills up is an alarm while there is still time."""
    raw = load_config("config/nore-demo.v1.json").raw
    raw = {**raw, "watchdog": {**raw["watchdog"], "disk_free_min_mb": 10**9}}
    rules = StatusRules(made_manifest(RUN, raw, {}, NOW), Var(tmp_path))
    standing = rules._standing.setdefault("disk", status_rules.Standing(hold_s=0.0))

    assert kinds(rules, status()) == [("disk", CRITICAL)]
    assert standing.is_alerted


def test_sharpe_is_silent_below_ten_periods() -> None:
    """Nine losing periods say nothing; ten do."""
    falling = [1000.0 - n - n % 2 for n in range(11)]

    assert sharpe_of(falling[:10]) is None
    ratio = sharpe_of(falling)
    assert ratio is not None
    assert ratio < 0


def made(folder: Path, **alerts: str) -> StatusRules:
    """Return rules of a profile with keys of alerts, whose conditions need not stand for a time."""
    section = {"required": False, "level_min": "info", "per_minute_max": 60, **alerts}
    raw = {**load_config("config/nore-demo.v1.json").raw, "alerts": section}
    return StatusRules(made_manifest(RUN, raw, {}, NOW), Var(folder))


@pytest.mark.row("C-113")
@pytest.mark.parametrize(
    ("keys", "level"), [({}, INFO), ({"sharpe_min": "1.5"}, WARNING)], ids=["default", "key"]
)
def test_losing_run_is_told_of_its_sharpe_ratio_once(
    rules: StatusRules, tmp_path: Path, keys: dict[str, str], level: str
) -> None:
    """One alert says that the ratio is below its threshold; it stands, so no second one comes."""
    told: list[Alert] = []
    one = made(tmp_path, **keys) if keys else rules
    for period in range(20):
        now = status(equity=f"{1000 - period - period % 2}")
        now["market"]["market_ms"] = NOW + period * status_rules.PERIOD_MS
        told += one.look(now)

    assert [(each.kind, each.level) for each in told] == [("sharpe", level)]
    assert keys.get("sharpe_min", "below 1") in told[0].title


@pytest.mark.row("C-113")
def test_run_above_its_sharpe_threshold_is_not_told(rules: StatusRules) -> None:
    """A run that earns steadily is no news."""
    for period in range(20):
        now = status(equity=f"{1000 + 5 * period - period % 2}")
        now["market"]["market_ms"] = NOW + period * status_rules.PERIOD_MS
        assert [each.kind for each in rules.look(now)] == []


@pytest.mark.row("C-113")
@pytest.mark.parametrize(
    ("most", "pause", "told_of"), [("0.65", 1, 1), ("1", 1, 0), ("0.65", 2, 0)]
)
def test_positions_that_move_as_one_are_told(
    rules: StatusRules, tmp_path: Path, most: str, pause: int, told_of: int
) -> None:
    """Two pairs that rise and fall together by more than the threshold are one bet.

    Only minutes in a row have returns: marks of every second minute tell nothing.
    """
    told: list[Alert] = []
    one = made(tmp_path, correlation_max=most)
    for minute in range(40):
        now = status()
        now["market"]["market_ms"] = NOW + pause * minute * 60_000
        price = 100 + minute % 7
        for symbol, mark in (("AAA", price), ("BBB", 2 * price), ("CCC", 100 + minute % 3)):
            now["market"]["symbols"][symbol] = {"entry": "1", "mark": f"{mark}.00000000"}
        # Watched, but not held.
        now["market"]["symbols"]["DDD"] = {"entry": None, "mark": f"{3 * price}.00000000"}
        told += one.look(now)

    pairs = [(each.kind, each.level) for each in told]
    assert pairs == [("correlation:AAA:BBB", WARNING)] * told_of
    assert all("1.00" in each.text for each in told)
