"""Scripted nights: what arrives is each alert once, in order, the guard's in time, and no more."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from minibot.engine.role_replay import Recorded
from minibot.events.reasons import CONNECTION_LOST, OPERATOR_KILL, WATCHDOG_LOST
from minibot.kernel.verify import verify_tree
from minibot.market.notices import CONNECTED
from minibot.ops.alerts.endings import LOST
from minibot.ops.alerts.outbox import OUTBOX
from minibot.ops.night_guard import HEARD, KINDS
from minibot.runtime.stop import END_KIND, STOP_KIND
from minibot.watchdog.ops_process import MODULE
from tests.ops.alert_evening import Evening, again, kinds_of, logged, noted, other
from tests.ops.alert_hosts import WebHost
from tests.ops.watched_nights import (
    QUIET_MS,
    await_hearing,
    guarding,
    stand_still,
    write_secrets,
)
from tests.runs import PATIENT
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.process

AWAY_MS = 2 * 60 * 60 * 1000
# Two hours in a minute; the market may still be silent for 2.5 s of the machine's time.
FAST = "120"
# The guard may be late by a minute at most (docs/OPERATING.md, O8).
ALARM_S = QUIET_MS / 1000 + 60
RESTART, OPS, LOCK, QUIET = "ROLE_RESTARTED", "OPS_ENDED", "protection", KINDS[HEARD]
MOVES = f"{QUIET}_over"
# The first trade that closes locks its symbol for the rest of the night.
PROTECTION = {
    "method": "LowProfitPairs",
    "required_profit": "1",
    "trade_limit": 1,
    "lookback_period": 600,
    "stop_duration": 10_000,
}
# A short loss of the connection, and so a gap of the market, is no alert.
GAP = [{"after_s": 20, "name": "disconnect_24h"}]
SLOW = "binance.outage_stop_market_ms=300000"


def script(evening: Evening) -> list[str]:
    """Return the settings of a night with a gap, and with a protection that locks."""
    faults = evening.folder / "faults.json"
    faults.write_text(json.dumps(GAP))
    patient = [f"{name.replace('__', '.')}={text}" for name, text in PATIENT.items()]
    return [
        *patient,
        f"risk.protections={json.dumps([PROTECTION])}",
        f"embedded.faults={faults}",
        "embedded.rate_per_s=5",
        SLOW,
    ]


def assert_stop_says_it_all(evening: Evening) -> None:
    """Find all that an operator in bed has to know in the one message of a STOP."""
    fields = evening.message(STOP_KIND)
    assert fields["title"].endswith(f"STOPPED: {OPERATOR_KILL}")
    for words in ("Meaning:", "Remedy:", "Still running:", "Open positions:", "Resting orders:"):
        assert words in fields["body"]


def incidents_of(run_dir: Path) -> Counter[str]:
    """Return how many incidents of each kind a run recorded."""
    events = Recorded.open(run_dir).events("incidents")
    return Counter(event.payload.to_json()["kind"] for _, event in events)


def test_night_tells_each_alert_once_and_only_a_death_behind_delivery_repeats_one(
    tmp_path: Path,
) -> None:
    """A lock, a gap, a role and `ops` killed, a STOP; the death of `ops` is none of the run."""
    write_secrets(tmp_path)
    evening = Evening(tmp_path, deadly=f"/{RESTART}/")
    night = evening.start(*script(evening), speed="60")
    evening.await_kinds(LOCK)
    first = wait_until(lambda: night.role(MODULE), "ops runs")
    again(night, "risk_role")  # Its alert arrives, and `ops` dies before it has noted that.
    second = other(night, MODULE, first)
    kinds = [LOCK, RESTART, RESTART, OPS]
    evening.await_kinds(*kinds)
    before = night.lines("market_ticks")
    wait_until(lambda: night.lines("market_ticks") > before, "ticks go on")
    evening.stop(night)
    assert psutil.wait_procs([second], timeout=DEADLINE_S)[1] == []

    evening.await_kinds(*kinds, STOP_KIND)
    assert [each["is_repeat"] for each in evening.log()] == [False, False, True, False, False]
    ids = [alert["id"] for each in evening.log() for alert in each["alerts"]]
    assert len(ids) == len(kinds) + 1
    assert ids[1] == ids[2]
    assert_stop_says_it_all(evening)
    assert evening.status()["ended"]["kind"] == STOP_KIND
    assert list(verify_tree(evening.run_dir)) == []
    recorded = incidents_of(evening.run_dir)
    assert (recorded[OPS], recorded["OPS_OFF"], recorded[RESTART]) == (1, 0, 1)
    assert recorded[CONNECTION_LOST] == recorded[CONNECTED] == 1


@pytest.mark.campaign
def test_evening_of_four_nights_tells_each_alert_once_and_the_guard_in_time(tmp_path: Path) -> None:
    """A quiet night, one with all that can be survived, its launcher killed, all of it killed."""
    with WebHost() as hook, WebHost(status=0) as monitor:
        write_secrets(tmp_path, HOOK=hook.url(), PING=monitor.url("http", "/ping/sesame"))
        evening = Evening(tmp_path, hook)
        var = ("--var", str(evening.var.root))
        told = [play_quiet(evening)]
        with guarding(tmp_path, *var, alerts=evening.alerts, ping=True) as guard:
            await_hearing(guard)  # Of the night that is over, which is no news.
            plays = (play_script, play_launcher_killed, play_all_killed)
            told += [play(evening, guard) for play in plays]
            with (
                pytest.raises(AssertionError, match="another guard watches"),
                guarding(tmp_path, *var, alerts=evening.alerts) as second,
            ):
                second.wait(DEADLINE_S)

        came = [evening.kinds(run_id) for run_id in evening.runs()]
        # What guard and `ops` tell of one moment comes in either order.
        assert [sorted(each) for each in came] == [sorted(each) for each in told]
        assert len(evening.log()) == sum(map(len, told))
        evening.assert_all_came_once()
    assert monitor.got[0].path == "/ping/sesame"


def play_quiet(evening: Evening) -> list[str]:
    """Play a night in which nothing happens: its end comes with the result, and no secret."""
    night = evening.start()
    wait_until(lambda: night.role(MODULE), "ops runs")
    night.interrupt()
    code, text = night.end()
    assert code == 0, text
    evening.await_kinds(END_KIND)
    evening.await_hook()
    body = evening.message(END_KIND)["body"]
    assert "OPERATOR" in body
    assert "Open positions" in body
    inbox = evening.var.ops / OUTBOX / "inbox.jsonl"
    for path in (evening.run_dir / "manifest.json", evening.var.logs / "ops.err.log", inbox):
        assert "sesame" not in path.read_text()
    return [END_KIND]


def play_script(evening: Evening, guard: Popen[str]) -> list[str]:
    """Play a night whose webhook is away for two hours; at its end a STOP overtakes what waits."""
    evening.hook.close()
    night = evening.start(*script(evening), speed=FAST)
    await_hearing(guard)
    evening.await_kinds(LOCK)
    again(night, "risk_role")
    evening.await_kinds(LOCK, RESTART)

    def is_over() -> bool:
        status = evening.status()
        return bool(status["now_ms"] - status["origin_ms"] >= AWAY_MS)

    wait_until(is_over, "two hours pass", 2 * DEADLINE_S)
    wait_until(evening.is_pausing, "the webhook is waited for")
    again(night, MODULE)
    evening.await_kinds(LOCK, RESTART, OPS)
    run_id = evening.run_id
    assert evening.hooked(run_id) == []
    evening.hook.open()
    evening.await_hook()
    assert evening.all_hooked()[1:] == [each["title"] for each in evening.log()[1:]]

    evening.hook.status = 503
    again(night, "execution_role")
    kinds = [LOCK, RESTART, OPS, RESTART]
    evening.await_kinds(*kinds)
    evening.stop(night)
    evening.await_kinds(*kinds, STOP_KIND)
    assert len(evening.hooked(run_id)) == 3
    evening.take_stop_first()
    evening.await_hook()  # By the guard.
    titles = [each["title"] for each in evening.log() if run_id in each["title"]]
    assert evening.hooked(run_id) == [*titles[:3], titles[4], titles[3]]
    assert_stop_says_it_all(evening)
    evening.free()
    return [*kinds, STOP_KIND]


def play_launcher_killed(evening: Evening, guard: Popen[str]) -> list[str]:
    """Play a night that stands still, goes on, and loses its launcher.

    A second guard sees it through the page, as from another machine.
    """
    page = 'page={"port":0,"required":true}'
    night = evening.start(page, SLOW, "watchdog.pause_max_ms=600000", speed="5")
    await_hearing(guard)
    address, path = evening.var.ops / "page.json", evening.folder / "far.jsonl"
    wait_until(address.exists, "the page is served")
    url, token = json.loads(address.read_text())["url"], str(evening.var.ops / "token")
    words = ("--url", url, "--token", token, "--var", str(evening.folder / "far"))
    with guarding(evening.folder, *words, alerts=logged(path)) as far:
        await_hearing(far)
        frozen = stand_still(night)
        try:
            await_both(evening, path, QUIET)
        finally:
            for process in frozen:
                process.resume()
        await_both(evening, path, QUIET, MOVES)
        wait_until(evening.has_paused, "`ops` tells it too")
        night.process.kill()
        night.end()
        assert psutil.wait_procs(frozen, timeout=DEADLINE_S)[1] == []
        await_both(evening, path, QUIET, MOVES, QUIET)
    assert kinds_of(noted(path), evening.run_id) == [QUIET, MOVES, QUIET]
    known = {QUIET, MOVES}
    wait_until(lambda: set(evening.kinds(evening.run_id)) - known, "`ops` tells its death")
    evening.await_hook()
    (text,) = set(evening.kinds(evening.run_id)) - known
    alerts = [each for message in evening.log() for each in message["alerts"]]
    alarms = [each["made_ms"] for each in alerts if each["kind"] == QUIET]
    (death,) = evening.message(text)["alerts"]
    assert death["made_ms"] < alarms[-1]  # By `ops`: the guard tells it only behind its alarm.
    if text == STOP_KIND:  # A role may journal its STOP before `ops` has gone.
        assert evening.message(text)["title"].endswith(WATCHDOG_LOST)
    evening.free()
    return [QUIET, MOVES, text if text == STOP_KIND else LOST, QUIET]


def await_both(evening: Evening, path: Path, *kinds: str) -> None:
    """Wait until either guard has told the last of these kinds as often as it stands there."""
    last, run_id = kinds[-1], evening.run_id

    def have_both() -> bool:
        both = evening.kinds(run_id), kinds_of(noted(path), run_id)
        return min(each.count(last) for each in both) >= kinds.count(last)

    wait_until(have_both, f"{kinds} are told", ALARM_S)


def play_all_killed(evening: Evening, guard: Popen[str]) -> list[str]:
    """Play a night of which every process is killed: the guard alone is left to tell it."""
    night = evening.start()
    await_hearing(guard)
    for process in stand_still(night):
        process.kill()
    night.end()
    wait_until(lambda: QUIET in evening.kinds(evening.run_id), "the guard alarms", ALARM_S)
    evening.await_kinds(QUIET, LOST)
    evening.await_hook()
    (alarm,) = evening.message(QUIET)["alerts"]
    assert alarm["made_ms"] - evening.status()["written_ms"] >= QUIET_MS  # Nor too early.
    return [QUIET, LOST]
