"""Parity of night and backtest: in the night's order every event is the same, byte for byte."""

from __future__ import annotations

import json
import re
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from minibot.backtest.driver import run_backtest
from minibot.backtest.parity import ARRIVAL_ORDER, CLASSES, parity_of
from minibot.backtest.sources.recorded_run import RunSource
from minibot.backtest.sources.source_words import RULE
from minibot.backtest.sources.span import ALL, Part
from minibot.cores.messages import Message, stop_in
from minibot.cores.protocol import Core
from minibot.engine.joint_replay import run_together
from minibot.engine.recorded_run import Recorded
from minibot.engine.role_replay import core_of, replay_role
from minibot.engine.run_result import BacktestResult
from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.kernel.errors import ConfigError
from minibot.replay.compare import describe
from minibot.replay.rule_order import rule_order
from minibot.report.figures import money
from minibot.report.recount import Recount
from minibot.runtime.configuration.config import config_with
from tests.replay.forged import Event, cut, edited
from tests.runs import ShortRun, raw_events, verb

DERIVED = ("signals", "risk_actions", "order_intents", "order_results", "fills")


def night(run_dir: Path, order: str = "logged", *sets: str) -> BacktestResult:
    """Return the backtest of a run."""
    recorded = Recorded.open(run_dir)
    source = RunSource(recorded, f"run:{run_dir}", order)
    return run_backtest(source, config_with(recorded.manifest.config, sets))


def dearer(event: Event) -> None:
    """Fill with a slightly higher fee than recorded."""
    event["payload"]["fee"] = event["payload"]["fee"][:-1] + "9"


@pytest.mark.row("D-05", "D-24")
def test_backtest_of_a_night_has_the_nights_own_events(short_run: ShortRun) -> None:
    """Signals, actions, intents, results and fills equal the night's in every field."""
    done = night(short_run.run_dir)

    for queue in DERIVED:
        recorded = raw_events(short_run.run_dir, queue)
        assert [json.loads(canonical.encode(e.to_json())) for e in done.of(queue)] == recorded
    assert done.of("signals")


def test_backtest_of_a_night_has_the_nights_figures(short_run: ShortRun) -> None:
    """Equity, drawdown and round trips equal the morning report's."""
    done = night(short_run.run_dir)

    recount = Recount(Recorded.open(short_run.run_dir))
    assert done.performance.to_json() == recount.performance.to_json()
    assert done.inputs == {name: recount.market.types[name] for name in done.inputs}


def test_feed_that_a_night_did_not_record_is_refused(short_run: ShortRun, tmp_path: Path) -> None:
    """Its strategy would read nothing all night; a part of the run is asked the same."""
    (tmp_path / "mood.csv").write_text("1,2\n", encoding="utf-8")
    recorded = Recorded.open(short_run.run_dir)
    source = RunSource(recorded, "run:latest", RULE)
    config = config_with(recorded.manifest.config, [f"market.feeds.mood={tmp_path / 'mood.csv'}"])

    for one in (source, Part(source, ALL, 50)):
        with pytest.raises(ConfigError, match="had no feed mood"):
            run_backtest(one, config)


def test_range_behind_the_end_of_a_night_is_refused(short_run: ShortRun, var_dir: Path) -> None:
    """A range that begins after a night's end is refused."""
    words = ("--source", f"run:{short_run.run_dir}", "--timerange", "20300101-")

    done = verb(var_dir, "backtest", *words)

    assert done.code == 2
    assert "nothing in the time range; it begins " in done.err
    assert not (var_dir / "backtests").exists()


def test_cores_together_need_nothing_derived_from_the_record(short_run: ShortRun) -> None:
    """Each core's output is the next core's input; nothing derived is read from the record."""
    together = run_together(Recorded.open(short_run.run_dir))

    assert together.is_identical
    assert not together.stuck
    places = [made.at_tick for made in together.made]
    assert places == sorted(places)
    for queue in DERIVED:
        seqs = [made.seq for made in together.made if made.queue == queue]
        assert seqs == sorted(seqs)


def test_changed_profile_or_rule_order_goes_by_rule(short_run: ShortRun) -> None:
    """A changed profile uses rule order, as no log fits it; both drivers of rule order agree."""
    recorded = Recorded.open(short_run.run_dir)
    by_rule = night(short_run.run_dir, RULE)
    changed = night(short_run.run_dir, "logged", "strategy.score_min=100")

    assert by_rule.digest == rule_order(recorded, recorded.manifest.config).digest
    assert not by_rule.assumptions
    assert len(changed.of("fills")) < len(by_rule.of("fills"))


@pytest.mark.row("D-24")
def test_parity_of_a_night_is_the_same_and_classes_every_difference_to_rule_order(
    short_run: ShortRun,
) -> None:
    """Parity exits 0: each event is the same in rule order, or its assumption is named."""
    done = verb(short_run.var, "parity", short_run.run_id, "--json", "--all")
    document = done.document

    assert done.code == 0
    assert document["identical"]
    counts = {queue: len(raw_events(short_run.run_dir, queue)) for queue in DERIVED}
    same = {name: one["same"] for name, one in document["logged"]["queues"].items()}
    assert same == counts
    deviations = document["rule"]["deviations"]
    assert {one["class"] for one in deviations} <= set(CLASSES)
    of_night = [one for one in deviations if one["night"] is not None]
    assert sum(document["rule"]["same"].values()) + len(of_night) == sum(counts.values())
    figures, cost = document["rule"]["figures"], document["rule"]["cost"]
    total = Decimal(figures["night"]["pnl"]) - Decimal(figures["rule"]["pnl"])
    assert Decimal(cost["total"]) == total
    assert len(cost["trades"]) <= figures["night"]["round_trips"]
    words = verb(short_run.var, "parity", short_run.run_id).out.splitlines()[0]
    assert words.startswith(f"parity {short_run.run_id}: the same; rule order: ")
    shown = re.search(r"(?:cost|gained) ([\d,.]+) USDT", words)
    if total:
        assert shown is not None
        # As many decimals as it takes until night, rule order and cost add up.
        places = len(shown[1].partition(".")[2])
        assert shown[1] == money(str(abs(total)), places)
    else:
        assert shown is None
    for one in deviations:
        assert one["fields"]
        assert one["class"] != ARRIVAL_ORDER or one["events_overtaken"] > 0


def test_parity_of_a_night_shows_a_progress_that_never_goes_back(
    short_run: ShortRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its three passes count as one: a reader of the lines sees how much is left."""
    monkeypatch.setattr("minibot.engine.joint_replay.PROGRESS_EVERY", 100)
    monkeypatch.setattr("minibot.replay.rule_order.PROGRESS_EVERY", 100)
    shown: list[tuple[int, int]] = []

    parity_of(Recorded.open(short_run.run_dir), lambda done, whole: shown.append((done, whole)))

    assert len(shown) > 3
    assert shown == sorted(shown)
    assert len({whole for _, whole in shown}) == 1
    assert all(done <= whole for done, whole in shown)


def test_parity_of_an_edited_fill_exits_1_and_names_it(short_run: ShortRun, tmp_path: Path) -> None:
    """Parity exits 1 for an edited fee and names event, field and both values."""
    forged = edited(short_run, tmp_path, "fills", 2, dearer)
    done = verb(short_run.var, "parity", str(forged), "--json")

    difference = done.document["logged"]["difference"]
    assert done.code == 1
    assert (difference["queue"], difference["seq"]) == ("fills", 2)
    assert list(difference["fields"]) == ["payload.fee"]
    refused = verb(
        short_run.var, "backtest", "--source", f"run:{forged}", "--no-keep", "--fills=touch"
    )
    assert refused.code == 1
    assert "minibot parity" in refused.err


def test_parity_of_a_night_without_its_last_fill_exits_1(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """Parity exits 1 for an event that the cores make and the record lacks."""
    forged = edited(short_run, tmp_path, "fills", 1, lambda event: None)
    cut(forged, "fills")
    done = verb(short_run.var, "parity", str(forged))

    assert done.code == 1
    assert "fills: logged line" in done.err


def test_parity_of_a_stopped_night_is_the_same_up_to_its_stop(stopped_run: ShortRun) -> None:
    """A STOP ends night and backtest at the same event."""
    ended = verb(stopped_run.var, "parity", stopped_run.run_id)
    done = night(stopped_run.run_dir)

    assert ended.code == 0, ended.out
    assert done.stop


class Mute(Core):
    """Core that never says anything."""

    def process(self, *_: object) -> None:
        """Say nothing."""

    def state(self) -> JsonObject:
        """Return that there is none."""
        return {}


class Lenient(Core):
    """Risk that takes all it is given, and does not say what stopped the run."""

    def __init__(self, recorded: Recorded) -> None:
        self._core = core_of("risk_role", recorded.manifest.config)

    def process(self, *given: Any) -> list[Message] | None:
        """Say what risk says, but for a STOP."""
        messages = self._core.process(*given)
        return [message for message in messages or () if not stop_in(message)] or None

    def state(self) -> JsonObject:
        """Return the state of risk."""
        return self._core.state()


@pytest.mark.parametrize(
    ("role", "core", "queue", "words"),
    [
        ("strategy_role", Mute, "signals", "this code: signal"),
        ("risk_role", Mute, "risk_actions", "risk_action ALLOW"),
        ("risk_role", Lenient, "risk_actions", "risk_action STOP"),
    ],
)
def test_code_that_decides_less_differs_from_a_night_that_was_stopped(
    stopped_run: ShortRun, role: str, core: Any, queue: str, words: str
) -> None:
    """A core that is silent on its inputs differs, also where the run stopped early."""
    recorded = Recorded.open(stopped_run.run_dir)
    made = [core() if core is Mute else core(recorded) for _ in range(2)]
    together = run_together(recorded, cores={role: made[0]})
    alone = replay_role(recorded, role, core=made[1])

    for found in (together.difference, alone.difference):
        assert found is not None
        assert found.queue == queue
        assert words in describe(found)["lines"][-1]
    assert not together.is_identical


def test_run_without_a_seal_is_compared_with_a_word_about_it(
    short_run: ShortRun, tmp_path: Path
) -> None:
    """A run without a seal is compared, and parity and backtest say so."""
    copied = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, copied)
    (copied / "seal.json").unlink()
    parity = verb(tmp_path / "var", "parity", "latest", "--json")
    words = ("--source", "run:latest", "--no-keep", "--fills", "touch", "--json")
    backtest = verb(tmp_path / "var", "backtest", *words)

    assert (parity.code, backtest.code) == (0, 0)
    assert "interrupted" in parity.document["notices"][0]
    assert "interrupted" in backtest.out
