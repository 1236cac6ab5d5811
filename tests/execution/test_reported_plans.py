"""Levels and marks in the file of open positions, rebuilt to equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minibot.engine.role_replay import Recorded, core_of, replay_role
from minibot.events.ids import position_id
from minibot.events.model import JsonObject, RiskAction, RunOpening
from minibot.events.money import parse_amount
from minibot.events.names import EXECUTION_ROLE, RISK_ACTIONS
from minibot.execution.core import core_from_config
from minibot.execution.paper_executor_nore_v1 import PaperExecutorNoreV1
from minibot.execution.portfolio import (
    OPEN_POSITIONS_FILE,
    PORTFOLIO_FILE,
    SHOWN_NS,
    PortfolioStore,
)
from minibot.execution.reported_plans import ReportedPlans
from minibot.execution.role import save
from minibot.kernel.files import read_hashed
from minibot.kernel.queue import make_queue, open_reader, open_writer, queue_folder
from minibot.kernel.reader import JournalReader
from tests.nights.night import Night
from tests.risk.desk import EXECUTION_INPUTS, OTHER, RUN_ID, SYMBOL, Desk, codec, config
from tests.waiting import wait_until

KEYS: dict[str, Any] = {
    "risk__hard_stop_bps": "1000",
    "risk__trail_bps": "100",
    "risk__trail_from_bps": "200",
    "risk__take_profit_bps": "500",
    "risk__time_exit_ms": 600_000,
}
CAMPAIGN: dict[str, Any] = KEYS | {
    "risk__exit_policy": "campaign",
    "risk__campaign_entries_max": 3,
    "risk__campaign_loss_max": "500",
}


def holder(**changes: Any) -> Desk:
    """Return a desk that holds coins bought at 100."""
    one = Desk(config(**changes))
    one.ready()
    one.tick("100", "100")
    one.buy()
    return one


class Disk:
    """The queue of risk's actions and the two files, written by a desk's events."""

    def __init__(self, root: Path) -> None:
        self.root, self.now_ns, self.written = root, 0, 0
        make_queue(root, RISK_ACTIONS, None)
        self.writer = open_writer(root, RISK_ACTIONS)
        self.store = PortfolioStore(root, RUN_ID, lambda: self.now_ns)
        self.plans = ReportedPlans(open_reader(root, RISK_ACTIONS), codec().decode)

    def save(self, one: Desk, *, is_last: bool = False) -> JsonObject:
        """Publish what risk said, let the store save, and return the file of positions."""
        events = one.events(RISK_ACTIONS)
        lines = [codec().encode(RISK_ACTIONS, event) for event in events[self.written :]]
        if lines:
            self.writer.append_json(lines)
        self.written = len(events)
        save(self.store, one.execution, self.plans.read(), is_last=is_last)
        return read_hashed(self.root / OPEN_POSITIONS_FILE)

    def close(self) -> None:
        """Close the queue."""
        self.writer.close()


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    """Yield a disk, and close its queue."""
    made = Disk(tmp_path)
    yield made
    made.close()


def test_before_the_opening_nothing_is_written(disk: Disk) -> None:
    """A role that ends before its run is opened leaves no empty portfolio."""
    save(disk.store, core_from_config(config(**KEYS)), {}, is_last=True)

    assert [path.name for path in disk.root.iterdir() if path.suffix == ".json"] == []


def test_generation_of_both_files_counts_the_fills(disk: Disk) -> None:
    """Files of the same moment bear the same number, the first of a run 1."""
    one = Desk(config(**KEYS)).ready()
    found = []
    for _ in range(3):
        disk.save(one, is_last=True)
        files = (disk.root / PORTFOLIO_FILE, disk.root / OPEN_POSITIONS_FILE)
        found.append([read_hashed(path)["generation"] for path in files])
        one.buy()

    assert found == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.row("B-57")
def test_file_shows_levels_of_the_plan_campaign_and_mark(disk: Disk) -> None:
    """Levels that rest nowhere stand in it, by their reasons, with the mid of the last touch."""
    one = holder(**CAMPAIGN)
    one.tick("103.00", "103.02")
    one.beat()

    (held,) = disk.save(one)["positions"]

    plan = one.risk._state.exits.of(SYMBOL).plan
    assert plan is not None
    assert held["mark"] == "103.01000000"
    assert held["campaign_id"]
    assert held["levels"] == {
        "stop": "101.97000000",
        "stop_reason": "trailing_stop",
        "stop_hard": "90.00000000",
        "stop_trailing": "101.97000000",
        "target": "105.00000000",
        "target_reason": "take_profit",
        "peak": "103.00000000",
        "until_ts": plan.opened_ts + 600_000,
    }
    one.signal("SELL")
    one.tick()
    assert disk.save(one)["positions"] == []
    assert disk.plans.read() == {}  # The next position has no levels before risk tells them.


def test_action_whose_profile_is_named_like_a_plan_is_none(tmp_path: Path) -> None:
    """A user may name a risk profile as he likes; it hides no plan and makes none."""
    make_queue(tmp_path, RISK_ACTIONS, None)
    writer = open_writer(tmp_path, RISK_ACTIONS)
    one = holder(risk__profile="position_plan", **KEYS)
    events = one.events(RISK_ACTIONS)
    profiles = [event.payload.profile for event in events if isinstance(event.payload, RiskAction)]
    writer.append_json([codec().encode(RISK_ACTIONS, event) for event in events])

    fields = ReportedPlans(open_reader(tmp_path, RISK_ACTIONS), codec().decode).read()
    writer.close()

    assert set(profiles) == {"position_plan"}
    assert list(fields) == [SYMBOL]
    assert fields[SYMBOL]["stop_hard"] == "90.00000000"


@pytest.mark.row("B-57")
def test_file_rebuilt_from_the_queues_has_the_same_bytes(disk: Disk, tmp_path: Path) -> None:
    """A fresh core, or one made from a state, and a fresh reader of plans give the same file."""
    one = holder(**KEYS)
    for bid in ("101", "103", "102.5"):
        one.tick(bid, bid)
        disk.save(one)
        one.beat()
    disk.save(one, is_last=True)
    before = (tmp_path / OPEN_POSITIONS_FILE).read_bytes()
    again, lines, now = Desk(one.profile), dict.fromkeys(EXECUTION_INPUTS, 0), 0
    lines["control"] = 1  # The opening was taken when the desk was made.
    for queue, event in one.log[1:]:
        now = max(now, event.ts)
        if queue in EXECUTION_INPUTS:
            lines[queue] += 1
            again.execution.process(event, lines[queue], now)
    one.restarted()

    for number, core in enumerate((again.execution, one.execution)):
        folder = tmp_path / str(number)
        folder.mkdir()
        plans = ReportedPlans(open_reader(tmp_path, RISK_ACTIONS), codec().decode)
        save(PortfolioStore(folder, RUN_ID), core, plans.read(), is_last=True)
        assert (folder / OPEN_POSITIONS_FILE).read_bytes() == before
    assert b'"levels"' in before
    assert b'"mark"' in before


def test_marks_alone_wait_five_seconds_and_the_last_call_waits_for_none(disk: Disk) -> None:
    """A new mark is no reason for a sync each second; a fill is, and so is the end."""
    assert SHOWN_NS == 5_000_000_000
    one = holder(**KEYS)
    disk.now_ns = 1
    disk.save(one)
    whole = (disk.root / PORTFOLIO_FILE).stat()

    def mark() -> str:
        held: str = read_hashed(disk.root / OPEN_POSITIONS_FILE)["positions"][0]["mark"]
        return held

    one.tick("101", "101")
    disk.now_ns = SHOWN_NS
    disk.save(one)
    assert parse_amount(mark()) == parse_amount("100")
    disk.now_ns = SHOWN_NS + 1
    disk.save(one)
    assert parse_amount(mark()) == parse_amount("101")
    one.tick("102", "102")
    disk.save(one, is_last=True)
    assert parse_amount(mark()) == parse_amount("102")
    # The portfolio did not change, and was not written.
    assert (disk.root / PORTFOLIO_FILE).stat().st_ino == whole.st_ino
    one.tick("103", "103")
    one.buy()
    disk.save(one)
    assert parse_amount(mark()) == parse_amount("103")


def test_campaign_that_another_run_began_stands_beside_its_position(disk: Disk) -> None:
    """The opening names it; a position that is carried without one has none."""
    plans: list[JsonObject] = [
        {"symbol": symbol, "qty": "1", "original_qty": "1", "entry_price": "100"}
        | {"opened_ts": 1, "age_row": 0}
        for symbol in (SYMBOL, OTHER)
    ]
    state = {"entries": 1, "entries_max": 3, "loss_max": "500", "entered_ts": 1, "spent": "100"}
    campaign_id = position_id(RUN_ID, "risk_role", "risk_actions", 1)
    plans[0]["campaign"] = {"id": campaign_id, "received": "0", "qty": "1", "row": 0} | state
    lots = tuple(
        [{"symbol": plan["symbol"], "qty": "1", "price": "100", "ts": 1} for plan in plans]
    )
    first = RunOpening({"USDT": "10000"}, lots, {}, plans=tuple(plans))
    one = Desk(config(**CAMPAIGN), first=first)
    one.restarted()

    listed = {held["symbol"]: held.get("campaign_id") for held in disk.save(one)["positions"]}

    assert listed == {SYMBOL: campaign_id, OTHER: None}


def test_profile_without_a_plan_lists_positions_as_before_with_a_mark(disk: Disk) -> None:
    """Levels are those of plans alone."""
    one = holder()

    (held,) = disk.save(one)["positions"]

    assert sorted(held) == ["entry_price_avg", "mark", "qty", "symbol"]


@pytest.mark.process
@pytest.mark.row("B-57")
def test_file_of_a_night_is_rebuilt_from_its_record_to_the_same_bytes(tmp_path: Path) -> None:
    """A night that ends with a position leaves the file that its sealed queues give again."""
    sets = (
        *("portfolio.at_end=carry", "risk.hard_stop_bps=1000", "risk.trail_bps=500"),
        *("risk.stop_atr_mult=null", "risk.take_profit_atr_mult=null", "risk.signal_exit=false"),
        *("strategy.momentum_bps_min=0.1", "strategy.cost_gate=false", "ai.enabled=false"),
    )
    night = Night(tmp_path / "var", sets)
    wait_until(
        lambda: night.process.poll() is not None or night.lines("fills") > 0, "something is bought"
    )
    night.interrupt()
    code, text = night.end()
    assert code == 0, text
    (run_dir,) = night.run_dirs()
    recorded = Recorded.open(run_dir)

    core = core_of(EXECUTION_ROLE, recorded.manifest.config)
    assert isinstance(core, PaperExecutorNoreV1)
    replay_role(recorded, EXECUTION_ROLE, core=core)
    plans = ReportedPlans(
        JournalReader(queue_folder(recorded.queues, RISK_ACTIONS), "inbox"), recorded.codec.decode
    )
    rebuilt = tmp_path / "rebuilt"
    rebuilt.mkdir()
    store = PortfolioStore(rebuilt, recorded.manifest.run_id)
    save(store, core, plans.read(), is_last=True)

    found = (tmp_path / "var" / OPEN_POSITIONS_FILE).read_bytes()
    assert (rebuilt / OPEN_POSITIONS_FILE).read_bytes() == found
    (held,) = read_hashed(rebuilt / OPEN_POSITIONS_FILE)["positions"]
    assert held["levels"]["stop_hard"]
    assert held["mark"]
