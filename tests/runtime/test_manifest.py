"""Run manifest: accepted and refused values."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.errors import IntegrityError, Refusal
from minibot.runtime.configuration.config import load_config
from minibot.runtime.manifest import Manifest, is_run_id, moment_of, run_id_of
from tests.manifests import made_manifest

PROJECT = Path(__file__).resolve().parents[2]


def made(run_id: str) -> Manifest:
    """Return a manifest of the smoke profile."""
    config = load_config(PROJECT / "config" / "nore-smoke.v1.json").raw
    return made_manifest(run_id, config, {}, 0)


@pytest.mark.row("N-42")
@pytest.mark.parametrize(
    "run_id",
    ["20261322_200000", "20260229_200000", "20261122_246000", "00000000_000000", "20261122_2000"],
)
def test_manifest_of_a_time_that_does_not_exist_is_refused(run_id: str, tmp_path: Path) -> None:
    """A manifest of an impossible time is refused, despite a right hash."""
    made(run_id).write(tmp_path)

    with pytest.raises(IntegrityError, match=run_id) as refusal:
        Manifest.load(tmp_path)
    assert refusal.value.reason_code == "RUN_ID_MISMATCH"


@pytest.mark.row("N-42")
def test_manifest_of_a_possible_time_is_read(tmp_path: Path) -> None:
    """The last second of a leap day is accepted."""
    made("20240229_235959").write(tmp_path)

    assert Manifest.load(tmp_path) == replace(made("20240229_235959"), processes={})


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT", "AB", "", "A", "A" * 21, "btcusdt", "Ä1"])
@pytest.mark.parametrize("universe", [None, {"mode": "dynamic"}])
def test_symbol_is_refused_that_the_run_cannot_trade(
    symbol: str, universe: dict[str, str] | None
) -> None:
    """Beside its own symbols, a run with a universe may trade whatever can be a symbol at all."""
    one = made("20240229_235959")
    one = replace(one, symbols=("BTCUSDT",), config={**one.config, "universe": universe})
    is_chosen = universe is not None and symbol in ("ETHUSDT", "AB")
    is_known = symbol == "BTCUSDT" or is_chosen

    with nullcontext() if is_known else pytest.raises(Refusal):
        one.require_symbol(symbol)


def test_symbol_that_a_run_was_handed_is_one_of_its_own() -> None:
    """A position that the run before left can be asked about, and be left by its operator."""
    lot = {"symbol": "XRPUSDT", "qty": "1", "price": "1", "ts": 1, "fill_id": "f"}
    one = replace(made("20240229_235959"), opening={"lots": [lot]})

    one.require_symbol("XRPUSDT")
    with pytest.raises(Refusal):
        one.require_symbol("XLMUSDT")


@given(st.integers(0, 253_402_300_799))
def test_run_id_of_any_second_is_one(moment_s: int) -> None:
    """A run id from any second up to the year 9999 is accepted, and leads back to it."""
    assert is_run_id(run_id_of(moment_s))
    assert moment_of(run_id_of(moment_s)) == moment_s


@given(st.text("0123456789_", min_size=15, max_size=15))
def test_run_id_of_any_digits_is_one_only_if_a_clock_shows_it(text: str) -> None:
    """Digits make a run id only if a clock can show them."""
    if is_run_id(text):
        assert text[8] == "_"
        assert 1 <= int(text[4:6]) <= 12
        assert 1 <= int(text[6:8]) <= 31
        assert int(text[9:11]) <= 23
