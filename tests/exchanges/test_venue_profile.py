"""Key `venue` of a profile: its default, and its companions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from minibot.exchanges.venues import VENUES
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import (
    Config,
    config_of_manifest,
    is_same_profile,
    load_config,
)
from tests.exchanges.madeup.installed import PROFILE, MadeUpServer, install
from tests.product import started_by_a_user
from tests.runs import PROJECT, answers_to

NIGHT = PROJECT / "config" / "nore.v1.json"
SIMULATOR = {"source": "generator:1", "speed": "1", "history": None, "faults": None}
SIMULATOR_REST = {"port": 0, "rate_per_s": 5}


def sha256_of(config: Config) -> str:
    """Return the hash in the form of a manifest."""
    return config.sha256


@pytest.mark.row("N-92")
def test_profile_without_the_key_trades_on_binance_and_keeps_its_bytes() -> None:
    """A profile without the key uses Binance and keeps its hash, so old manifests hold."""
    config = load_config(NIGHT)

    assert "venue" not in config.raw
    assert config.venue == "binance"
    assert config.exchange is config.binance
    assert sha256_of(config_of_manifest(config.raw)) == config.sha256


def test_night_asks_the_hosts_that_the_venue_names() -> None:
    """A night calls the venue's public hosts."""
    exchange, hosts = load_config(NIGHT).exchange, VENUES["binance"].hosts

    assert (exchange.rest_url, exchange.stream_url) == (hosts.rest, hosts.stream)


def test_venue_that_is_written_out_is_the_same_profile() -> None:
    """A profile that names the default venue continues a run of one that does not."""
    config, named = load_config(NIGHT), load_config(NIGHT, ["venue=binance"])

    assert named.exchange == config.exchange
    assert is_same_profile(named.raw, config.raw)
    assert is_same_profile(config.raw, named.raw)
    assert sha256_of(named) != config.sha256


@pytest.mark.parametrize("word", ["kraken", "Binance", "null", "5", "queues"])
def test_venue_that_nobody_registered_is_refused_by_name(word: str) -> None:
    """An unregistered venue is refused by name, even if its package exists."""
    with pytest.raises(ConfigError) as refused:
        load_config(NIGHT, [f"venue={word}"])

    (violation,) = refused.value.violations
    assert violation.startswith("venue = ")
    assert '"binance"' in violation


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Copy of the product with the made-up venue, whose server runs."""
    folder = tmp_path_factory.mktemp("product")
    changes: dict[str, dict[str, Any]] = {
        "code": {"require_manifest": False},
        "ai": {"enabled": False, "required": False},
        "queues": {"events_per_s_min": 0},
    }
    with MadeUpServer() as server:
        install(folder, server.port, changes)
        yield folder


@pytest.mark.process
def test_verbs_of_another_venue_ask_its_own_server(product: Path, tmp_path: Path) -> None:
    """Doctor and download call the profile's venue; features that it lacks are refused."""
    day = datetime.now(UTC) - timedelta(minutes=30)
    flags = ("--config", PROFILE, "--var", str(tmp_path / "var"), "--json")
    words = ("--pairs", "btc:usdt", "--from", day.strftime("%Y-%m-%dT%H:%M"))
    commands: list[tuple[str, ...]] = [
        ("doctor",),
        *(("download-data", *words, "--source", source) for source in ("rest", "archive")),
        ("download-data", "--pairs", "../../x", *words[2:], "--source", "rest"),
        ("record", "--for", "1s"),
    ]

    doctor, brought, archive, outside, record = answers_to(
        [(*command, *flags) for command in commands], product, started_by_a_user()
    )

    checks = {check["name"]: check["passed"] for check in doctor.document["checks"]}
    assert (checks["exchange"], checks["clock"], checks["stream"]) == (True, True, True)
    assert brought.code == 0, brought.err
    (series,) = brought.document
    assert series["rows"] >= 29
    assert series["troubles"] == []
    assert outside.code == 4
    assert "is not a symbol" in outside.err
    assert archive.code == 4
    assert "madeup publishes no files" in archive.err
    assert record.code == 4
    assert "an address of madeup cannot name" in record.err


@pytest.mark.process
def test_profile_of_another_venue_has_its_section_and_no_simulator(product: Path) -> None:
    """Another venue needs its own section; loopback exchange and paper fallback are refused."""
    command = ("config", "show", "--config", PROFILE)
    environ = started_by_a_user()
    simulator = json.dumps(SIMULATOR | SIMULATOR_REST)
    refused: list[tuple[tuple[str, ...], str]] = [
        (("madeup=null",), "madeup"),
        ((f"embedded={simulator}",), "embedded"),
        (("mode=PAPER", 'paper={"fallback":"generator:1","rate_per_s":5}'), "paper"),
        (("madeup.rest_url=http://madeup.invalid",), "madeup.rest_url"),
        (("madeup.backoff_min_market_ms=60000", "madeup.backoff_max_market_ms=500"), "madeup"),
        (('madeup.symbols=["BTCEUR"]',), "madeup.symbols"),
    ]
    commands = [
        [*command, *(word for text in sets for word in ("--set", text))]
        for sets in ((), *(sets for sets, _ in refused))
    ]

    shown, *refusals = answers_to(commands, product, environ)
    assert shown.code == 0, shown.err
    for (_, key), done in zip(refused, refusals, strict=True):
        assert done.code == 4, done.out
        assert key in done.err
    raw = json.loads((product / PROFILE).read_text(encoding="utf-8"))
    del raw["madeup"]
    without = "config/without.v1.json"
    (product / without).write_text(json.dumps(raw), encoding="utf-8")
    (done,) = answers_to([["config", "show", "--config", without]], product, environ)
    assert done.code == 4
    assert "a venue whose section madeup is given" in done.err
