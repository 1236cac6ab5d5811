"""Opening of a following run: used weeks, and what risk told last."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace as replace_of

from minibot.accounting.bookings import DayTotals
from minibot.accounting.portfolio import Portfolio
from minibot.events.ids import position_id
from minibot.events.model import Event, JsonObject, RiskStanding, RunOpening
from minibot.events.money import UNIT
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.events.unit_sizes import DAY_MS
from minibot.kernel.canonical import encode
from minibot.kernel.errors import Refusal
from minibot.kernel.files import write_hashed
from minibot.kernel.line import encode_line
from minibot.kernel.queue import make_queue
from minibot.kernel.seal import SEAL_FILE
from minibot.kernel.verify import verify_tree
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest, moment_of
from minibot.runtime.paths import Var
from minibot.watchdog import launcher as launcher_module
from minibot.watchdog import opening as opening_module
from minibot.watchdog import run_manifest as run_manifest_module
from minibot.watchdog.carried_memory import last_reports
from minibot.watchdog.launcher import _Launch
from minibot.watchdog.opening import budgets_used, last_run, opening_of, refuse_gone
from minibot.watchdog.run_manifest import make_manifest
from tests.manifests import made_manifest
from tests.risk.desk import (
    HASH,
    PROJECT,
    RUN_ID,
    START,
    SYMBOL,
    WRITERS,
    Desk,
    codec,
    opening,
)
from tests.watchdog.ended_runs import opening_behind, put_ended
from tests.watchdog.watchdog_stage import Stage

MONDAY = 1_772_409_600_000
"""2026-03-02 00:00 UTC."""


def earlier(**bought: int) -> Portfolio:
    """Return a portfolio with the entries of days, counted from Monday as `d0`."""
    portfolio = Portfolio({"USDT": 1000 * UNIT}, ())
    for name, amount in bought.items():
        totals = portfolio.days[MONDAY // DAY_MS + int(name[1:])] = DayTotals()
        totals.entry_notional = amount * UNIT
    return portfolio


@pytest.mark.row("B-09")
def test_week_of_earlier_runs_ends_on_monday() -> None:
    """Days of one week add up with what runs before them used; a new week starts with nothing."""
    opening = RunOpening({}, (), {"week_notional": "5", "week_loss": "1"})
    portfolio = earlier(d5=100, d6=50)

    same = budgets_used("week", MONDAY, -6 * UNIT, opening, portfolio, MONDAY + 5 * DAY_MS)
    anew = budgets_used("week", MONDAY + 7 * DAY_MS, 0, opening, portfolio, MONDAY + 5 * DAY_MS)
    gain = budgets_used("week", MONDAY, 6 * UNIT, opening, portfolio, MONDAY + 5 * DAY_MS)

    assert same == {"week_notional": "155.00000000", "week_loss": "7.00000000"}
    assert anew == {"week_notional": "0.00000000", "week_loss": "0.00000000"}
    assert gain["week_loss"] == "-5.00000000"


def test_last_told_mark_and_memory_are_carried() -> None:
    """Mark and tier are those told last, memory that of the last fill; else what the run got."""
    memory: JsonObject = {"trips": []}
    opening = RunOpening(
        {}, (), {}, account={"high_water_mark": "900", "tier": 1}, memory={"trips": [1]}
    )
    events = [
        Event(1, f"standing{n}", "risk_role", "run", "", standing, (f"cause{n}",))
        for n, standing in enumerate(
            (
                RiskStanding("ACTIVE", 0, "1000", "1000", "0", memory=memory),
                RiskStanding("REDUCING", 2, "900", "1100", "10"),
            )
        )
    ]

    assert last_reports(opening, lambda *_: ()) == (opening.account, opening.memory, "")
    wanted = ({"high_water_mark": "1100", "tier": 2}, memory, "cause0")
    assert last_reports(opening, lambda *_: events) == wanted


def test_night_carries_on_from_a_night_and_a_demo_from_a_demo(tmp_path: Path) -> None:
    """A run of the other kind is passed over; one without a manifest is not."""
    made = {}
    for n, is_simulated in enumerate((False, True, False, True)):
        run_dir = tmp_path / f"2026030{n + 1}_200000"
        run_dir.mkdir()
        plain = made_manifest(run_dir.name, {}, {}, MONDAY)
        replace(plain, simulated=is_simulated).write(run_dir)
        made[is_simulated] = run_dir

    assert {kind: last_run(tmp_path, is_simulated=kind) for kind in made} == made

    unknown = tmp_path / "20260309_200000"
    unknown.mkdir()
    (unknown / "manifest.json").touch()
    assert last_run(tmp_path, is_simulated=False) == unknown


def test_copy_of_a_run_is_none_to_carry_on_from(tmp_path: Path) -> None:
    """A folder counts under its own run's id alone; a damaged one counts by its name."""
    run_dir, copied = tmp_path / "20260301_200000", tmp_path / "20260302_200000"
    named = tmp_path / "good_night"
    for folder in (run_dir, copied, named):
        folder.mkdir()
        replace(made_manifest(run_dir.name, {}, {}, MONDAY), simulated=False).write(folder)

    assert last_run(tmp_path, is_simulated=False) == run_dir

    for folder in (copied, named):
        (folder / "manifest.json").write_text("{}")
    assert last_run(tmp_path, is_simulated=False) == copied


@pytest.mark.parametrize("behind_s", [0, 86_400])
def test_run_is_newer_than_the_one_before_whatever_the_clock_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind_s: int
) -> None:
    """A clock that was set back lets no run carry on from the one before the last."""
    var, lines = Var(tmp_path), list[str]()
    before, copied = var.run("20260301_200000"), var.run("20260401_200000")
    for folder in (before, copied):
        folder.mkdir(parents=True)
        replace(made_manifest(before.name, {}, {}, MONDAY), simulated=False).write(folder)
    clock_ms = 1000 * (moment_of(before.name) - behind_s)
    monkeypatch.setattr(launcher_module, "wall_ms", lambda: clock_ms)
    launch = object.__new__(_Launch)
    launch.var, launch.say = var, lines.append

    run_dir = var.run(launch._new_run_id())

    assert run_dir.name == "20260301_200001"
    run_dir.mkdir()
    replace(made_manifest(run_dir.name, {}, {}, MONDAY), simulated=False).write(run_dir)
    assert last_run(var.runs, is_simulated=False) == run_dir
    assert [before.name in line for line in lines] == [True] * (behind_s > 0)


@pytest.mark.row("D-07")
@pytest.mark.parametrize("is_told", [True, False])
def test_account_that_is_carried_bounds_the_limits_and_not_a_starting_cash_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_told: bool
) -> None:
    """A share of cash that nobody has is refused; losses alone refuse no start."""
    run_dir = tmp_path / RUN_ID
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "cost": "1000", "ts": START - 5}
    first = opening("9000", [lot])
    if is_told:
        account = {"high_water_mark": "10000", "tier": 0}
        first = replace_of(opening("8000", [lot]), account=account)
    put_ended(run_dir, Desk(first=first))
    replace(Manifest.load(run_dir), simulated=False).write(run_dir)
    monkeypatch.setattr("minibot.watchdog.opening.verify_tree", lambda _: iter(()))
    contracts = Contracts.of_project()

    def opened(*sets: str) -> RunOpening:
        carried = ("portfolio.start_from=carry", *sets)
        config = load_config(PROJECT / "config" / "conservative.v1.json", carried, {})
        return opening_of(config, tmp_path, contracts, Roles.of_project(), START + 60_000)

    assert opened().from_run == RUN_ID
    rich = ("portfolio.cash=1000000", "risk.night_loss_soft=7500", "risk.night_loss_hard=10000")
    with pytest.raises(Refusal, match=r"risk\.night_loss_hard .*at most 100, .*high-water mark"):
        opened(*rich)


def test_account_of_a_damaged_run_is_refused_in_words(tmp_path: Path) -> None:
    """The refusal names damage as `verify` does: code, file, the expected and the found."""
    run_dir = tmp_path / RUN_ID
    put_ended(run_dir, Desk())
    replace(Manifest.load(run_dir), simulated=False).write(run_dir)
    config = load_config(PROJECT / "config" / "nore.v1.json", ("portfolio.start_from=carry",), {})
    found = next(iter(verify_tree(run_dir)))

    with pytest.raises(Refusal) as refused:
        opening_of(config, tmp_path, Contracts.of_project(), Roles.of_project(), START + 60_000)

    assert f"{found.code} {found.file}" in str(refused.value)
    assert f"expected {found.expected}, found {found.found}" in str(refused.value)


def test_account_of_a_run_that_had_lost_queues_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made again empty, `fills` verifies, and a position bought in that run would be forgotten."""
    run_dir = tmp_path / RUN_ID
    put_ended(run_dir, Desk())
    replace(Manifest.load(run_dir), simulated=False).write(run_dir)
    lost = "fills/inbox: its files are gone"
    extra = {"state": "interrupted", "findings": [f"QUEUE_MISSING: {lost}"]}
    write_hashed(run_dir / SEAL_FILE, {"root": HASH, "extra": extra})
    monkeypatch.setattr("minibot.watchdog.opening.verify_tree", lambda _: iter(()))
    config = load_config(PROJECT / "config" / "nore.v1.json", ("portfolio.start_from=carry",), {})

    with pytest.raises(Refusal, match=f"recovered without all its queues: {lost}"):
        opening_of(config, tmp_path, Contracts.of_project(), Roles.of_project(), START + 60_000)


def test_account_in_another_quote_asset_is_no_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equity of two currencies has no worth: a later sale would look like a loss of it all."""
    run_dir = tmp_path / RUN_ID
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "cost": "1000", "ts": START - 5}
    put_ended(run_dir, Desk(first=opening("9000", [lot])))
    replace(Manifest.load(run_dir), simulated=False).write(run_dir)
    monkeypatch.setattr("minibot.watchdog.opening.verify_tree", lambda _: iter(()))
    contracts = Contracts.of_project()
    in_euro = ("portfolio.quote_asset=EUR", 'binance.symbols=["BTCEUR"]')
    sets = ("portfolio.start_from=carry", *in_euro)
    config = load_config(PROJECT / "config" / "nore.v1.json", sets, {})

    with pytest.raises(Refusal, match=f"{RUN_ID} accounts in USDT, the profile in EUR"):
        opening_of(config, tmp_path, contracts, Roles.of_project(), START + 60_000)


@pytest.mark.parametrize("is_older_left", [False, True])
def test_account_whose_run_is_gone_is_replaced_by_no_older_one(
    tmp_path: Path, *, is_older_left: bool
) -> None:
    """An older account, or fresh cash, would forget positions, losses and used budgets."""
    var = Var(tmp_path)
    for folder in (var.runs, var.ops):
        folder.mkdir()
    if is_older_left:
        put_ended(var.run(RUN_ID), Desk(first=opening("9000")))
        replace(Manifest.load(var.run(RUN_ID)), simulated=False).write(var.run(RUN_ID))
    fresh, carry = (
        load_config(PROJECT / "config" / "nore.v1.json", (f"portfolio.start_from={word}",), {})
        for word in ("fresh", "carry")
    )

    def show(run_id: str, *, is_simulated: bool = False) -> None:
        var.status.write_bytes(encode({"run_id": run_id, "simulated": is_simulated}) + b"\n")

    refuse_gone(carry, var)  # No run has shown a status.
    show("20991231_235959", is_simulated=True)
    refuse_gone(carry, var)
    if is_older_left:
        for run_id in (RUN_ID, "20200101_000000"):
            show(run_id)
            refuse_gone(carry, var)
    show("20991231_235959")
    refuse_gone(fresh, var)
    launch = object.__new__(_Launch)
    launch.config, launch.var = carry, var
    with pytest.raises(Refusal, match="the last run, 20991231_235959, is gone") as caught:
        launch.run()  # Before anything of it is written.
    assert "set portfolio.start_from to fresh" in caught.value.remedy


def test_account_is_refused_unless_the_first_event_of_the_run_fits_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account of many lots starts a run if the line that names it is as long as allowed."""
    run_dir = tmp_path / RUN_ID
    lot = {"symbol": SYMBOL, "qty": "0.01", "price": "100", "cost": "1"}
    lots = [{**lot, "ts": START - 100 + number} for number in range(60)]
    put_ended(run_dir, Desk(first=opening("9000", lots)))
    replace(Manifest.load(run_dir), simulated=False).write(run_dir)
    monkeypatch.setattr("minibot.watchdog.opening.verify_tree", lambda _: iter(()))
    contracts = Contracts.of_project()

    def opened(*sets: str) -> RunOpening:
        config = load_config(
            PROJECT / "config" / "nore.v1.json", ("portfolio.start_from=carry", *sets), {}
        )
        return opening_of(config, tmp_path, contracts, Roles.of_project(), START + 60_000)

    left = opened()
    first = Event(START, position_id(RUN_ID, "watchdog_role", "control", 1), "watchdog_role",
                  RUN_ID, HASH, left)  # fmt: skip
    size = len(encode_line(codec().encode("control", first)))

    assert len(left.lots) == 60
    assert opened(f"queues.line_bytes_max={size}") == left
    with pytest.raises(Refusal, match=r"queues\.line_bytes_max") as caught:
        opened(f"queues.line_bytes_max={size - 1}")
    assert "portfolio.start_from" in caught.value.remedy


def test_start_that_died_before_its_first_event_hands_on_its_opening(tmp_path: Path) -> None:
    """Cash, coins, used budgets and mark are those that the manifest of that start names."""
    lot = {"symbol": SYMBOL, "qty": "10", "price": "100", "cost": "1000", "ts": START - 5}
    account = {"high_water_mark": "9100", "tier": 0}
    first = replace_of(opening("9000", [lot], day_loss="90"), account=account)
    put_ended(tmp_path, Desk(first=first))
    for path in (tmp_path / "queues").rglob("*"):
        if path.is_file():
            path.unlink()
    for queue in WRITERS:
        make_queue(tmp_path / "queues", queue, None)

    left = opening_behind(tmp_path, START + 60_000)

    assert left.cash == {"USDT": "9000.00000000"}
    assert [each["qty"] for each in left.lots] == ["10.00000000"]
    assert left.budgets_used["day_loss"] == "90.00000000"
    assert left.account == account


@pytest.mark.parametrize(("begins_ms", "times_read"), [(MONDAY, 1), (MONDAY - 30_000, 2)])
def test_reading_the_former_run_takes_no_time_from_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins_ms: int, times_read: int
) -> None:
    """A night begins once its opening is known, and has that of the day on which it begins."""
    clock, days, made = SimpleNamespace(now_ms=begins_ms), list[int](), list[Manifest]()
    read, refused = opening_module.opening_of, Refusal("This is far enough.", "")

    def read_long(*arguments: Any) -> RunOpening:
        days.append(arguments[-1] // DAY_MS)
        clock.now_ms += 40_000
        return read(*arguments)

    def make(*arguments: Any, **named: Any) -> Manifest:
        made.append(make_manifest(*arguments, **named))
        raise refused

    monkeypatch.setattr(opening_module, "opening_of", read_long)
    for module in (launcher_module, run_manifest_module):
        monkeypatch.setattr(module, "wall_ms", lambda: clock.now_ms)
    monkeypatch.setattr(launcher_module, "make_manifest", make)
    stage = Stage(tmp_path / "var")
    launch = object.__new__(_Launch)
    launch.config, launch.profile = stage.config, PROJECT / "config" / "nore-smoke.v1.json"
    launch.var, launch.roles, launch.contracts = stage.var, stage.roles, stage.contracts
    launch.degraded = None
    with pytest.raises(Refusal, match="far enough"):
        launch._run_in(stage.run_dir, RUN_ID, None, None)

    (manifest,) = made
    assert manifest.clock_origin_ms == manifest.started_ms == clock.now_ms
    assert days[-1] == manifest.clock_origin_ms // DAY_MS
    assert len(days) == times_read
