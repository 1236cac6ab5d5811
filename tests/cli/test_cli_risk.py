"""`minibot risk` in words: state, headroom, and how long each lock lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.cli.risk import campaigns_of, live_facts, risk_of, rows_of
from minibot.engine.recorded_run import Recorded
from minibot.events.model import JsonObject, PositionPlan
from minibot.events.reasons import INVARIANT_BROKEN
from minibot.kernel import canonical
from minibot.kernel.errors import InvariantError
from minibot.replay import risk_at
from minibot.runtime.clock import wall_ms
from minibot.runtime.paths import Var
from minibot.runtime.running import STALE_MS
from tests.replay.damaged import copy_of, manifest_says
from tests.report.made_run import made_run, read_fixture
from tests.runs import ShortRun, verb

NOW: int = 1_772_445_600_000
TOLD: JsonObject = {
    "run_id": "20260302_100000",
    "quote_asset": "USDT",
    "now_ms": NOW,
    "told_ts": NOW - 60_000,
    "state": "REDUCING",
    "tier": 1,
    "equity": "9400.00000000",
    "high_water_mark": "10000.00000000",
    "drawdown_bps": "600.0000",
    "headroom": {
        "drawdown_bps": "292.3061",
        "orders_per_minute": "8",
        "week_loss": "1012.50000000",
    },
    "locks": [
        {"scope": "*", "reason_code": "max_drawdown", "until_ts": NOW + 90_000, "left_ms": 90_000}
    ],
    "halted": None,
    "operator_locks": {"BTCUSDT": {"until_ts": None, "who": "ada", "why": "thin book"}},
}

ACCOUNT = ("state", "tier", "equity", "high_water_mark", "drawdown_bps")
REPORT: JsonObject = {name: TOLD[name] for name in ACCOUNT} | {"headroom": {}}


def test_state_headroom_and_locks_with_their_time_left_are_shown() -> None:
    """State, drawdown, headroom, a limit's lock and an operator's lock have a row each."""
    texts = [row.text for row in rows_of(TOLD)]

    assert texts[1].startswith("REDUCING, equity 9,400.00, 600.0 bps below")
    assert texts[2:] == [
        "drawdown 292.3 bps",
        "orders per minute 8",
        "week loss 1,012.50 USDT",
        "all symbols for 1 min 30 s: max_drawdown",
        "BTCUSDT for this run: thin book",
    ]


def test_headroom_of_a_finished_run_is_that_after_its_last_order(short_run: ShortRun) -> None:
    """Headroom is that of the run's end, as told last, and not that before its last order."""
    status = short_run.var / "ops" / "status.json"
    last = canonical.decode(status.read_bytes().rstrip(b"\n"))
    answer = last["roles"]["risk_role"]["heartbeat"]["facts"]["headroom"]

    done = verb(short_run.var, "risk", short_run.run_id, "--json")

    assert done.code == 0, done.err
    assert done.document["headroom"] == answer


def test_headroom_of_a_running_run_is_that_of_its_live_status(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """An old status, or that of another run, says nothing of what is left of this one now."""
    var, last = Var(tmp_path), canonical.decode(Var(short_run.var).status.read_bytes().rstrip())
    var.status.parent.mkdir(parents=True)

    answers = []
    for age_ms in (0, STALE_MS + 1000):
        var.status.write_bytes(canonical.encode({**last, "written_ms": wall_ms() - age_ms}))
        answers.append(live_facts(var, short_run.run_id))

    assert answers == [last["roles"]["risk_role"]["heartbeat"]["facts"], {}]
    assert live_facts(var, "20200101_000000") == {}


@pytest.mark.parametrize("is_known", [True, False])
def test_account_is_that_of_the_moment_and_not_of_the_last_report(
    is_known: bool, tmp_path: Path
) -> None:
    """Equity and drawdown go with the headroom beside them; unknown, they are as reported last."""
    report = {"queue": "risk_actions", "type": "risk_state", "minute": 1, "payload": REPORT}
    recorded = Recorded.open(made_run(tmp_path, read_fixture() | {"events": [report]}))
    now = {"account_high_water_mark": "10000.00000000", "account_drawdown_bps": "900.0000"}
    facts = {"equity": "9100.00000000", "headroom": {}} | now if is_known else {}

    found = risk_of(recorded, NOW, facts)

    names = ("state", "equity", "drawdown_bps", "headroom")
    then = ["REDUCING", "9400.00000000", "600.0000", None]
    assert [found[name] for name in names] == (
        ["REDUCING", "9100.00000000", "900.0000", {}] if is_known else then
    )


def test_run_of_other_code_shows_its_record_without_headroom(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tier and locks of a run are shown also where its code and this one disagree."""
    copied = copy_of(short_run, tmp_path)
    manifest_says(copied, code_sha256="0" * 64)

    def disagree(*_: object) -> None:
        raise InvariantError("risk", INVARIANT_BROKEN, "risk did not send it")

    monkeypatch.setattr(risk_at, "facts_at", disagree)
    done = verb(tmp_path, "risk", str(copied), "--json")

    assert done.code == 0, done.err
    assert done.document["headroom"] is None
    assert "made by other code" in done.err


def test_campaign_in_progress_is_shown_with_entries_and_what_is_left_to_lose() -> None:
    """The last plan gives entries of their number, and the worst loss less that at the stop."""
    fields = {"entries": 2, "entries_max": 3, "loss_max": "50.00000000", "at_risk": "12.50000000"}
    plan = PositionPlan("BTCUSDT", "1", ("qty",), campaign_id="c" * 8, campaign=fields)
    closed = PositionPlan("ETHUSDT", "0", ("closed",), campaign_id="d" * 8)

    campaigns = campaigns_of({"ETHUSDT": closed, "BTCUSDT": plan})

    assert [(one["symbol"], one["reserve_left"]) for one in campaigns] == [
        ("BTCUSDT", "37.50000000")
    ]
    texts = [row.text for row in rows_of(TOLD | {"campaigns": campaigns})]
    assert "BTCUSDT: 2 of 3 entries, 37.50 of 50.00 left to lose" in texts


@pytest.mark.parametrize(
    ("is_untold", "state", "locked"),
    [(False, "none: the profile has no protections", "nothing"), (True, "unknown", "unknown")],
)
def test_run_that_tells_no_standing_says_why(state: str, locked: str, *, is_untold: bool) -> None:
    """A profile without any of it has no state, and nothing is locked; another one is not told."""
    bare = TOLD | {"state": None, "is_untold": is_untold, "locks": [], "operator_locks": {}}

    texts = [row.text for row in rows_of(bare)]

    assert texts[1].startswith(state)
    assert texts[-1] == locked


@pytest.mark.parametrize(("limit", "is_untold"), [("week_loss_hard", True), ("profile", False)])
def test_run_that_died_before_its_first_report_has_the_account_and_locks_it_was_handed(
    limit: str, tmp_path: Path, *, is_untold: bool
) -> None:
    """Carried locks hold from the opening on, and the profile is not said to have none."""
    recorded = Recorded.open(made_run(tmp_path, read_fixture() | {"events": []}))
    recorded.manifest.config["risk"][limit] = "100"
    lock = {"reason_code": "max_drawdown", "scope": "*", "until_ts": NOW + 5}
    facts = {"account": "HALTED", "locks": [lock], "headroom": {}, "equity": "9000"}

    handed, nothing = risk_of(recorded, NOW, facts), risk_of(recorded, NOW, {})

    assert handed["state"] == "HALTED"
    assert handed["equity"] == "9000"
    assert handed["locks"] == [lock | {"left_ms": 5}]
    assert not handed["is_untold"]
    assert nothing["is_untold"] is is_untold
