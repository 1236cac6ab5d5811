"""Paper profile without its exchange: a synthetic market stands in, and counts for nothing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minibot.engine.role_replay import replay_run
from minibot.kernel.errors import ConfigError
from minibot.kernel.verify import verify_tree
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT
from minibot.simulator.sources.sources import open_source
from minibot.watchdog.fallback import fallback_of, source_of
from minibot.watchdog.preflight import CheckResult
from tests.nights.night import refused
from tests.runs import Completed, ShortRun, raw_events, run_command, shared_by_workers, verb

pytestmark = [pytest.mark.campaign, pytest.mark.process]

PAPER = "config/paper.v1.json"
NOWHERE = ("binance.rest_url=http://127.0.0.1:9", "binance.stream_url=ws://127.0.0.1:9")
SHORT = (
    *("duration_ms=16000", "portfolio.close_market_ms=2000"),
    *("ai.enabled=false", "queues.events_per_s_min=256"),
)


def sets_of(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--set", text)]


def paper_run(var: Path) -> None:
    """Run the paper profile on a machine that reaches no exchange."""
    argv = ["minibot.nore_run_v1", "--config", PAPER, "--var", str(var), "--no-proof"]
    done = run_command([*argv, *sets_of(*NOWHERE, *SHORT)])
    (var / "said.json").write_text(json.dumps([done.code, done.out, done.err]), encoding="utf-8")


def made(var: Path) -> ShortRun:
    """Return the only run of a `var`, with its output."""
    (manifest,) = (var / "runs").glob("*/manifest.json")
    answer = json.loads((var / "said.json").read_text(encoding="utf-8"))
    return ShortRun(var, manifest.parent, Completed(*answer))


def trades(run: ShortRun) -> list[tuple[Any, ...]]:
    """The trades of a run as the market made them."""
    return [
        (tick["symbol"], tick["trade_id"], tick["price"], tick["qty"], tick["exchange_ts"])
        for event in raw_events(run.run_dir, "market_ticks")
        if event["type"] == "market_tick" and "trade_id" in (tick := event["payload"])
    ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[ShortRun]:
    """Two runs without an exchange, side by side, as each lasts as long as the market."""
    names = ("var", "again")

    def make(folder: Path) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(paper_run, [folder / name for name in names]))

    folder = shared_by_workers(tmp_path_factory, "paper", make)
    return [made(folder / name) for name in names]


@pytest.fixture
def run(runs: list[ShortRun]) -> ShortRun:
    """One run without an exchange."""
    return runs[0]


@pytest.mark.row("B-50", "B-13")
def test_unreachable_exchange_is_stood_in_for_and_every_health_event_says_so(
    run: ShortRun,
) -> None:
    """Manifest, output and each health event of each role say that a stand-in is used."""
    health = [
        event["payload"]
        for part in (run.run_dir / "queues" / "health" / "parts").glob("*.jsonl")
        if not part.name.count("acks")
        for event in raw_events(run.run_dir, "health/parts", part.name.removesuffix(".jsonl"))
    ]

    assert run.said.code == 0, run.said.err
    assert {payload["role"] for payload in health} >= {"market_role", "risk_role", "watchdog_role"}
    assert all("stands in" in payload["degraded"] for payload in health)
    assert "DEGRADED" in run.said.out + run.said.err
    manifest = json.loads((run.run_dir / "manifest.json").read_text())
    assert manifest["simulated"] is True
    assert "http://127.0.0.1:9 cannot be reached" in manifest["degraded"]
    assert manifest["config"]["embedded"]["source"] == "generator:1:BTCUSDT"
    assert trades(run)


def test_run_on_a_stand_in_is_whole_and_replays(run: ShortRun) -> None:
    """A run on the stand-in is provable like any other."""
    assert list(verify_tree(run.run_dir)) == []
    assert replay_run(run.run_dir).is_identical


@pytest.mark.row("B-50", "N-120")
def test_run_on_a_stand_in_is_accepted_by_nobody(run: ShortRun) -> None:
    """`accept` fails a run on the stand-in by name, and `ready` does not count it."""
    judged = verb(run.var, "accept", run.run_id, "--json")
    ready = verb(run.var, "ready", "--json")

    assert judged.code == 1
    assert judged.document["verdict"] == "FAIL"
    assert judged.document["counts_as_night"] is False
    (criterion,) = [item for item in judged.document["criteria"] if item["name"] == "market data"]
    assert criterion["verdict"] == "FAIL"
    assert "stands in" in criterion["found"]
    assert ready.code == 1
    (need,) = [need for need in ready.document["needs"] if "real night" in need["name"]]
    assert need["found"] == "none among 0 real runs"


@pytest.mark.row("B-50")
def test_stand_in_is_the_same_market_twice(runs: list[ShortRun]) -> None:
    """A second run on the stand-in meets the same trades, by its seed."""
    first, again = map(trades, runs)
    count = min(len(first), len(again))

    assert count > 20
    assert first[:count] == again[:count]


@pytest.mark.row("B-50", "N-22")
@pytest.mark.parametrize("profile", ["config/nore.v1.json"])
def test_nore_has_no_stand_in(profile: str, tmp_path: Path) -> None:
    """Mode NORE refuses an unreachable host, and the stand-in section itself."""
    plain = ["--config", profile, "--var", str(tmp_path / "var")]
    plain += sets_of(
        *NOWHERE, "code.require_manifest=false", "ai.enabled=false", "ai.required=false"
    )
    plain += sets_of("queues.events_per_s_min=256")
    code, text = refused(*plain)
    smuggled, words = refused(*plain, "--set", 'paper={"fallback":"generator:1","rate_per_s":20}')

    assert code == 2
    assert "cannot be reached" in text
    assert smuggled == 4
    assert "nothing stands in for the exchange" in words
    assert list((tmp_path / "var" / "runs").glob("*/manifest.json")) == []


def test_profile_of_paper_needs_its_fallback() -> None:
    """A paper profile needs mode and section together."""
    nore = PROJECT / "config" / "nore.v1.json"

    with pytest.raises(ConfigError) as caught:
        load_config(nore, ["mode=PAPER"])

    assert any("section paper" in text for text in caught.value.violations)
    assert load_config(PROJECT / PAPER).mode == "PAPER"


@pytest.mark.parametrize("name", ["clock", "code"])
def test_other_failed_checks_are_never_stood_in_for(name: str) -> None:
    """A wrong clock is refused in every mode."""
    config = load_config(PROJECT / PAPER)
    unreachable = CheckResult("exchange", False, "host cannot be reached")

    assert fallback_of(config, [CheckResult(name, False, "off")]) is None
    assert fallback_of(config, [unreachable, CheckResult(name, False, "off")]) is None
    assert fallback_of(config, [CheckResult("exchange", True, "answers")]) is None
    assert fallback_of(load_config(PROJECT / "config" / "nore.v1.json"), [unreachable]) is None
    assert fallback_of(config, [unreachable]) is not None


def test_stand_in_keeps_the_base_that_the_manifest_pins() -> None:
    """A stand-in leaves the profile's files, which the manifest pins, unchanged."""
    config = load_config(PROJECT / PAPER)

    stand_in = fallback_of(config, [CheckResult("exchange", False, "host cannot be reached")])

    assert stand_in is not None
    assert stand_in.config.base == config.base == PROJECT / "config" / "nore.v1.json"


@pytest.mark.parametrize(("start_from", "said"), [("carry", True), ("fresh", False)])
def test_stand_in_that_does_not_carry_on_says_so(start_from: str, *, said: bool) -> None:
    """Whoever asked to carry on reads that the run begins with cash, and the account waits."""
    sets = [f"portfolio.start_from={start_from}"]
    config = load_config(PROJECT / "config" / "paper.v1.json", sets)

    stand_in = fallback_of(config, [CheckResult("exchange", False, "host cannot be reached")])

    assert stand_in is not None
    assert stand_in.config.portfolio.start_from == "fresh"
    assert ("afresh" in stand_in.why) is said


def test_source_of_a_stand_in_has_the_symbols_of_the_profile() -> None:
    """Named symbols stay in the stand-in; without names it gets the profile's."""
    word = source_of("generator:7", ("BTCUSDT", "ETHUSDT"))

    assert word == "generator:7:BTCUSDT,ETHUSDT"
    assert open_source(word, 20).facts.symbols == ("BTCUSDT", "ETHUSDT")
    assert source_of("generator:7:SOLUSDT", ("BTCUSDT",)) == "generator:7:SOLUSDT"
