"""Shipped bars: the files are what their README states, and their names are sources."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from minibot.backtest.report.documents import files_of
from minibot.backtest.sources.source_interval import source_interval
from minibot.data.klines import open_klines
from minibot.exchanges.tapes.shipped_bars import SHIPPED_BARS
from minibot.exchanges.tapes.tape import TAPES
from minibot.simulator.sources.sources import find, open_source

FIRST_MS = int(datetime(2025, 6, 2, tzinfo=UTC).timestamp()) * 1000
ROWS = 14 * 24 * 60


@pytest.mark.parametrize("name", SHIPPED_BARS)
def test_shipped_bars_are_the_ones_their_readme_states(name: str) -> None:
    """The bytes have the sha256 of the README and of the file beside, and keep their licence."""
    path = SHIPPED_BARS[name]
    stated = path.with_name(f"{path.name}.sha256").read_text().split()
    readme = (TAPES / "README.md").read_text(encoding="utf-8")

    assert stated == [hashlib.sha256(path.read_bytes()).hexdigest(), path.name]
    assert f"| `klines:{name}` | `{path.name}` | `{stated[0]}` |" in readme
    assert "CC BY-NC-SA 4.0" in readme
    assert path.stat().st_size < 400_000


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED_BARS)
def test_shipped_bars_are_two_weeks_without_a_missing_minute(name: str) -> None:
    """Every row passes the checks of a user's file, in which any trouble is refused."""
    found = open_klines(SHIPPED_BARS[name])

    assert (found.symbol, found.interval) == (name.split("-")[0].upper(), "1m")
    assert [kline.open_ts for kline in found] == [FIRST_MS + 60_000 * row for row in range(ROWS)]
    assert min(kline.volume for kline in found) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED_BARS)
def test_name_of_shipped_bars_is_a_source_of_backtest_and_simulator(name: str) -> None:
    """The report names the file behind the word, the interval is read, the simulator plays it."""
    word = f"klines:{name}"
    facts = open_source(word, 20).facts

    assert list(files_of(word)) == [SHIPPED_BARS[name].name]
    assert source_interval([word]) == "1m"
    assert (facts.symbols, facts.origin_ms) == ((name.split("-")[0].upper(),), FIRST_MS)


def test_file_of_the_same_name_comes_before_shipped_bars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name never hides what the user has."""
    monkeypatch.chdir(tmp_path)
    before = find("btcusdt-1m")
    Path("btcusdt-1m").mkdir()

    assert before == SHIPPED_BARS["btcusdt-1m"]
    assert find("btcusdt-1m") == Path("btcusdt-1m")
    assert find("dogeusdt-1m") == Path("dogeusdt-1m")
