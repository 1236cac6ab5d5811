"""Sample files: remade with the same bytes, and every form reads the same."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from minibot.data.klines import open_klines
from minibot.data.ticks import open_trades
from minibot.data.treatment import Treatment
from tools.samples import FOLDER, LISTED_HERE, differing, sums

QUIET = Treatment(gaps="keep", zero_volume="keep")


@pytest.mark.slow
@pytest.mark.row("C-130", "U-13", "S-58")
def test_samples_made_again_are_the_same_bytes_as_listed() -> None:
    """Samples made again equal the committed bytes and their sha256."""
    assert differing() == []
    names = {path.name for path in FOLDER.iterdir()}
    assert {"BTCUSDT-1m.jsonl", "BTCUSDT-derivatives.jsonl", "manifest.sha256"} <= names


@pytest.mark.row("S-58")
def test_every_folder_of_fixtures_lists_each_of_its_files(project: Path) -> None:
    """Every folder of fixtures lists each of its files with its sha256."""
    folders = [path for path in (project / "tests" / "fixtures").iterdir() if path.is_dir()]

    for folder in folders:
        listed = (folder / "manifest.sha256").read_text(encoding="utf-8").splitlines()
        found = sums(folder).decode().splitlines()
        assert {line for line in found if "README.md" not in line} <= set(listed), folder.name
    assert set(LISTED_HERE) <= {folder.name for folder in folders}


@pytest.mark.row("C-130")
@pytest.mark.parametrize("name", ["BTCUSDT-1m-2025-01-06.zip", "BTCUSDT-1m.columns"])
def test_samples_of_one_market_in_each_form_read_the_same(name: str) -> None:
    """The venue's answer, its archive and our columns of one market hold the same bars."""
    rest = open_klines(FOLDER / "BTCUSDT-1m.jsonl", QUIET)

    assert len(rest) == 120
    assert open_klines(FOLDER / name, QUIET).klines == rest.klines


@pytest.mark.row("C-130")
def test_samples_with_a_header_and_of_trades_and_futures_are_whole() -> None:
    """Samples with header, trades in microseconds and futures bars have no fault."""
    assert len(open_klines(FOLDER / "ETH_USDT-1m.csv")) == 120
    assert len(open_klines(FOLDER / "BTCUSDT-PERP-1m.csv")) == 120
    assert len(open_trades(FOLDER / "BTCUSDT-aggTrades-2025-01-06.csv")) > 50


@pytest.mark.row("C-130", "U-13")
def test_derivatives_sample_has_enough_fundings_and_the_basis_of_its_prices() -> None:
    """The derivatives sample has fundings for two lookbacks, and the exact basis."""
    text = (FOLDER / "BTCUSDT-derivatives.jsonl").read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines()]

    assert len(records) > 2 * 30
    for former, later in pairwise(records):
        assert later["ts"] - former["ts"] == 8 * 3_600_000
    for record in records:
        mark, spot = Decimal(record["mark_price"]), Decimal(record["spot_price"])
        assert abs((mark - spot) / spot - Decimal(record["basis"])) < Decimal("1e-8")
        assert Decimal(record["open_interest"]) > 0
