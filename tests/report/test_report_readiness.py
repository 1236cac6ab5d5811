"""Readiness: accepted evidence, and each missing item with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minibot.kernel.files import write_hashed
from minibot.report.readiness import GATES, SIX_MONTHS_MS, TWICE_FILE, Need, needs, rests_on
from minibot.report.records import ACCEPTANCE_V, read_records
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.report.nights import HOSTS
from tests.runs import ShortRun, verb

CODE = "c" * 64
DAY_MS = 86_400_000
# 2026-01-05 20:00 UTC.
EVENING_MS = 1_767_643_200_000
HOURS_7_MS = 25_200_000
ROOT = "d" * 64


class Past:
    """History: a `var` with runs and gates."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.var = Var(root)
        self._manifest = manifest
        for gate in GATES:
            self.gate(gate)
        self.backtest()

    def backtest(self, **changes: Any) -> None:
        """Add a backtest that had the same result twice."""
        folder = self.var.backtests / "nore_20250101_20250701_00000000"
        folder.mkdir(parents=True, exist_ok=True)
        fields = {"span_ms": SIX_MONTHS_MS, "recorded": True, "code_sha256": CODE} | changes
        write_hashed(folder / TWICE_FILE, fields)

    def gate(self, name: str, **changes: Any) -> None:
        """Add a gate's last result."""
        folder = self.var.lab / "gates"
        folder.mkdir(parents=True, exist_ok=True)
        result = {"ts": EVENING_MS, "passed": True, "code_sha256": CODE} | changes
        write_hashed(folder / f"{name}.json", result)

    def night(
        self,
        number: int,
        *,
        verdict: str | None = "PASS",
        violations: int | None = 0,
        state: str = "sealed",
        rules: int = ACCEPTANCE_V,
        at: str = "_200000",
        **changes: Any,
    ) -> None:
        """Add a night that began on the evening of a day, judged or not."""
        run_id = f"2026{number // 28 + 1:02d}{number % 28 + 1:02d}{at}"
        run_dir = self.var.runs / run_id
        (run_dir / "report").mkdir(parents=True)
        started_ms = EVENING_MS + number * DAY_MS
        facts: dict[str, Any] = {"run_id": run_id, "simulated": False, "hosts": HOSTS}
        facts |= {"started_ms": started_ms} | changes
        replace(self._manifest, **facts).write(run_dir)
        extra = {"state": state, "ended_ms": started_ms + HOURS_7_MS}
        write_hashed(run_dir / "seal.json", {"root": ROOT, "extra": extra})
        if verdict is not None:
            judged = {
                "v": rules,
                "root": ROOT,
                "verdict": verdict,
                "counts_as_night": verdict == "PASS",
                "risk_violations": violations,
            }
            write_hashed(run_dir / "report" / "acceptance.json", judged)

    def missing(self, code: str = CODE) -> list[str]:
        """Return the names of missing items."""
        return [need.name for need in self.needs(code) if not need.is_met]

    def needs(self, code: str = CODE) -> list[Need]:
        """Return everything that readiness requires."""
        return needs(self.var, code)


@pytest.fixture
def past(short_run: ShortRun, tmp_path: Path) -> Past:
    """History with all gates passed and no run yet."""
    return Past(tmp_path / "var", Manifest.load(short_run.run_dir))


NIGHT = "a real night of seven hours"
DAYS = "30 days of paper on real market data"
LIMITS = "no risk limit exceeded in any real run"
BACKTEST = "a backtest over six months, twice the same"


@pytest.mark.row("N-120", "B-74", "B-75")
def test_ready_takes_gates_a_passed_night_thirty_days_and_no_limit_passed(past: Past) -> None:
    """Readiness needs gates, thirty distinct days with accepted nights, and no exceeded limit."""
    for number in range(29):
        past.night(number)
    assert past.missing() == [DAYS]

    past.night(29)

    assert past.missing() == []
    night = next(need for need in past.needs() if need.name == NIGHT)
    assert "20260101_200000" in night.found
    assert {need.to_json()["remedy"] for need in past.needs()} == {None}


@pytest.mark.row("N-120", "B-74")
def test_copy_of_a_night_is_no_night(past: Past) -> None:
    """A folder with another name than its run's id proves nothing, as in the thirty days."""
    past.night(0)
    original = past.var.runs / "20260101_200000"
    original.rename(past.var.runs / "20260202_200000")

    assert past.missing() == [NIGHT, DAYS]


@pytest.mark.row("B-76")
@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"span_ms": SIX_MONTHS_MS - 1}, "1 shorter one by this code"),
        ({"recorded": False}, "none by this code"),
        ({"code_sha256": "0" * 64}, "none by this code"),
    ],
)
def test_backtest_that_is_short_made_up_or_by_other_code_does_not_count(
    changes: dict[str, Any], found: str, past: Past
) -> None:
    """A backtest counts with half a year of recorded prices, twice the same, by this code."""
    past.backtest(**changes)

    need = next(need for need in past.needs() if need.name == BACKTEST)
    assert (need.is_met, need.found) == (False, found)
    assert "--twice" in need.remedy


@pytest.mark.row("B-76")
def test_damaged_backtest_hides_no_good_one_of_a_later_name(past: Past) -> None:
    """Its remedy is a new backtest, whose folder often sorts behind; alone it is named."""
    folder = past.var.backtests / "a_damaged_one"
    folder.mkdir()
    (folder / TWICE_FILE).write_bytes(b"{}")
    beside = next(need for need in past.needs() if need.name == BACKTEST)
    past.backtest(span_ms=1)
    alone = next(need for need in past.needs() if need.name == BACKTEST)

    assert beside.is_met
    assert not alone.is_met
    assert str(folder) in alone.found


@pytest.mark.row("B-74")
@pytest.mark.parametrize(
    "changes",
    [
        {"simulated": True},
        {"state": "stopped"},
        {"state": "interrupted"},
        {"config": {"mode": "NORE", "chaos": {"drill": "kill_role"}, "embedded": None}},
        {"config": {"mode": "PAPER", "chaos": None, "embedded": None}},
        {"degraded": "the exchange did not answer"},
        {"hosts": ("http://127.0.0.1:8080", "ws://127.0.0.1:8080")},
        {"verdict": None},
        {"verdict": "NOT A NIGHT"},
        {"verdict": "FAIL"},
        {"rules": 1},
    ],
)
def test_run_that_is_no_accepted_night_of_mode_nore_makes_no_day(
    changes: dict[str, Any], past: Past
) -> None:
    """A run that is simulated, stopped, disturbed, local, short or unjudged makes no day."""
    past.night(0, **changes)

    days = next(need for need in past.needs() if need.name == DAYS)

    assert days.found == "0 days"
    assert not days.is_met


@pytest.mark.row("B-74")
def test_two_nights_of_one_day_are_one_day(past: Past) -> None:
    """Two nights that began on one UTC date are one day."""
    past.night(0)
    past.night(0, at="_010000", started_ms=EVENING_MS - 19 * 3_600_000)
    past.night(1)

    days = next(need for need in past.needs() if need.name == DAYS)

    assert days.found == "2 days with 3 accepted nights"


@pytest.mark.row("N-120")
@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda past: past.gate("schema", passed=False), "failed"),
        (lambda past: past.gate("schema", code_sha256="e" * 64), "other code"),
        (lambda past: (past.var.lab / "gates" / "schema.json").unlink(), "no verdict here"),
        (lambda past: (past.var.lab / "gates" / "schema.json").write_bytes(b"{}"), ""),
    ],
)
def test_gate_that_failed_or_belongs_to_other_code_is_missing(
    spoil: Callable[[Past], None], word: str, past: Past
) -> None:
    """A failed gate, or one of other code, is missing, with the command to run it."""
    spoil(past)

    need = next(need for need in past.needs() if need.name == "gate schema")

    assert not need.is_met
    assert word in need.found
    assert need.remedy == "minibot gate schema"


@pytest.mark.row("N-120")
@pytest.mark.parametrize("verdict", ["FAIL", "NOT A NIGHT", "PASS (drill, does not count)", None])
def test_night_that_did_not_pass_does_not_make_ready(verdict: str | None, past: Past) -> None:
    """A night that failed, or is unjudged, counts for nothing, and its remedy is named."""
    past.night(0, verdict=verdict)

    need = next(need for need in past.needs() if need.name == NIGHT)

    assert not need.is_met
    if verdict is None:
        assert need.remedy == "minibot accept 20260101_200000"


@pytest.mark.row("B-75")
def test_limit_passed_in_one_night_of_many_is_missing_for_ever(past: Past) -> None:
    """A limit exceeded in one night of many is missing for ever, with the run's name."""
    past.night(0)
    past.night(1, violations=1)

    need = next(need for need in past.needs() if need.name == LIMITS)

    assert not need.is_met
    assert "20260102_200000" in need.found


@pytest.mark.row("B-75")
def test_night_that_cannot_be_read_proves_no_limit_kept(past: Past) -> None:
    """Its orders may have exceeded any limit, whether its queues or its seal are damaged."""
    past.night(0)
    past.night(1, verdict="FAIL", violations=None)
    past.night(2)
    (past.var.runs / "20260103_200000" / "seal.json").write_bytes(b"{}")
    _, unread, _ = read_records(past.var)

    need = next(need for need in past.needs() if need.name == LIMITS)

    assert not need.is_met
    assert need.found == "2 real runs cannot be read: 20260102_200000, 20260103_200000"
    assert need.remedy == "minibot verify 20260102_200000"
    # Its removal would hide it.
    assert rests_on(unread) == "a real run that cannot be read: minibot verify RUN"


@pytest.mark.row("B-75")
def test_night_that_is_not_sealed_yet_proves_no_limit_kept(past: Past) -> None:
    """A first night that still runs was not judged; beside judged ones it is not counted."""
    past.night(0, verdict=None)
    (past.var.runs / "20260101_200000" / "seal.json").unlink()
    (alone,) = (need for need in past.needs() if need.name == LIMITS)
    past.night(1)
    (beside,) = (need for need in past.needs() if need.name == LIMITS)

    assert (alone.is_met, alone.found) == (False, "no real run judged yet")
    assert (beside.is_met, beside.found) == (True, "0 in 1 real run")


def test_standing_stop_is_missing(past: Past) -> None:
    """A stopped installation is not ready."""
    past.var.flag.write_bytes(b"stopped\n")

    assert "no STOP in force" in past.missing()


@pytest.mark.row("N-120")
def test_ready_verb_exits_1_and_says_what_is_missing(short_run: ShortRun) -> None:
    """`ready` exits 1 with everything missing; a simulated run alone is not enough."""
    done = verb(short_run.var, "ready", "--json")

    document = json.loads(done.out)
    assert done.code == 1
    assert document["ready"] is False
    missing = {need["name"] for need in document["needs"] if not need["met"]}
    assert {NIGHT, DAYS, LIMITS} <= missing
    assert all(need["remedy"] for need in document["needs"] if not need["met"])
