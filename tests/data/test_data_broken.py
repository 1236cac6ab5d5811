"""Randomly broken files: each is refused in words or read whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibot.data.convert import check, convert
from minibot.data.treatment import KEEP_ALL
from minibot.kernel.errors import Refusal
from tests.data.data_files import row, write_rows
from tools.samples import FOLDER

FORMS = [
    *("BTCUSDT-1m.jsonl", "BTCUSDT-1m.json", "BTCUSDT-1m.csv", "BTCUSDT-1m.csv.gz"),
    *("BTCUSDT-1m.zip", "BTCUSDT-1m.feather", "BTCUSDT-1m.columns"),
    *("BTCUSDT-aggTrades-2025-01-06.csv", "BTCUSDT-aggTrades-2025-01-06.zip"),
]
# A cut, bytes written over, and bytes inserted, each at a drawn place.
DAMAGE = st.tuples(
    st.integers(0, 4000), st.integers(0, 4000), st.binary(max_size=12), st.booleans()
)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, bytes]:
    """Valid file of each form."""
    folder = tmp_path_factory.mktemp("good")
    rows = [row(number) for number in range(20)]
    made = {}
    for name in FORMS:
        if name.endswith((".feather", ".columns")) or "aggTrades" in name:
            continue
        made[name] = write_rows(folder / name, rows).read_bytes()
    made["BTCUSDT-1m.columns"] = convert([folder / FORMS[0]], folder)[0].path.read_bytes()
    trades = (FOLDER / "BTCUSDT-aggTrades-2025-01-06.csv").read_bytes()
    made["BTCUSDT-aggTrades-2025-01-06.csv"] = trades
    made["BTCUSDT-aggTrades-2025-01-06.zip"] = made["BTCUSDT-1m.zip"]
    made["BTCUSDT-1m.feather"] = b"ARROW1\0\0" + trades[:3000] + b"ARROW1"
    return made


@pytest.mark.parametrize("name", FORMS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(damage=DAMAGE)
def test_broken_file_is_refused_or_read_never_anything_else(
    name: str, damage: tuple[int, int, bytes, bool], good: dict[str, bytes], tmp_path: Path
) -> None:
    """A broken file gives one sentence or a report, never another error."""
    length, place, noise, is_cut = damage
    data = good[name]
    place %= len(data)
    data = data[:place] + noise + data[place + len(noise) :]
    path = tmp_path / name
    path.write_bytes(data[: length % (len(data) + 1)] if is_cut else data)

    text = ""
    rows = 0
    try:
        rows = check(path, KEEP_ALL).to_json()["rows"]
    except Refusal as refusal:
        text = refusal.message

    assert rows >= 0
    assert not text or name in text
