"""The file of the portfolio: what stands there must follow from the fills, or the run stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from minibot.execution.core import core_from_config
from minibot.execution.portfolio import PORTFOLIO_FILE, PortfolioStore
from minibot.execution.role import save
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import read_hashed, write_hashed
from tests.risk.desk import RUN_ID, Desk, config, opening


def trader(*, buys: int = 1, cash: str = "10000") -> Desk:
    """Return an executor without risk that has bought a coin some times."""
    desk = Desk(first=opening(cash), with_risk=False).ready()
    for _ in range(buys):
        desk.intent("BUY", "1")
        desk.tick()
    return desk


def keep(folder: Path, desk: Desk, run_id: str = RUN_ID) -> bytes:
    """Save a portfolio as a process that starts would, and return the file's bytes."""
    save(PortfolioStore(folder, run_id), desk.execution, {}, is_last=True)
    return (folder / PORTFOLIO_FILE).read_bytes()


def test_file_that_follows_from_the_fills_is_kept_and_counts_one_more_than_they(
    tmp_path: Path,
) -> None:
    """A restarted role finds its own file, and leaves the same bytes."""
    desk = trader(buys=2)
    before = keep(tmp_path, desk)
    desk.restarted()

    assert keep(tmp_path, desk) == before
    assert read_hashed(tmp_path / PORTFOLIO_FILE)["generation"] == 3
    assert read_hashed(tmp_path / PORTFOLIO_FILE)["portfolio"]["fills"] == 2


def test_file_that_is_only_behind_is_written_anew(tmp_path: Path) -> None:
    """A kill between a fill and the file leaves an older file, which contradicts nothing."""
    keep(tmp_path, trader(buys=1))
    whole = trader(buys=2)

    keep(tmp_path, whole)

    assert read_hashed(tmp_path / PORTFOLIO_FILE)["portfolio"]["fills"] == 2


def test_file_of_another_run_is_replaced_whatever_it_holds(tmp_path: Path) -> None:
    """The file of the run before may hold more fills than this run has."""
    keep(tmp_path, trader(buys=3), "20231113_000000")

    keep(tmp_path, trader(buys=0))

    found = read_hashed(tmp_path / PORTFOLIO_FILE)
    assert (found["run_id"], found["portfolio"]["fills"]) == (RUN_ID, 0)


@pytest.mark.row("D-40")
@pytest.mark.parametrize(("buys", "cash"), [(2, "10000"), (1, "9999")])
def test_file_ahead_of_the_fills_or_beside_them_stops_the_run_and_is_left(
    buys: int, cash: str, tmp_path: Path
) -> None:
    """More fills than were made, or as many with other money, is STOP(NONDETERMINISM)."""
    before = keep(tmp_path, trader(buys=buys, cash=cash))

    with pytest.raises(IntegrityError) as caught:
        keep(tmp_path, trader(buys=1))

    assert caught.value.reason_code == "NONDETERMINISM"
    assert str(caught.value).endswith(
        f"expected the portfolio after 1 fills, found another one after {buys}"
    )
    assert (tmp_path / PORTFOLIO_FILE).read_bytes() == before


@pytest.mark.parametrize("name", ["portfolio", "ledger"])
def test_each_half_of_the_file_is_compared(name: str, tmp_path: Path) -> None:
    """An edited portfolio with a hash of its own stops the run, and so does an edited ledger."""
    desk = trader()
    keep(tmp_path, desk)
    fields = decode(encode(read_hashed(tmp_path / PORTFOLIO_FILE)))
    fields[name]["edited"] = "1"
    write_hashed(tmp_path / PORTFOLIO_FILE, fields, generation=fields["generation"])

    with pytest.raises(IntegrityError) as caught:
        keep(tmp_path, desk)

    assert caught.value.reason_code == "NONDETERMINISM"


def test_damaged_file_stops_the_run(tmp_path: Path) -> None:
    """A file that fails its own hash is not a portfolio of any run."""
    desk = trader()
    whole = keep(tmp_path, desk)
    (tmp_path / PORTFOLIO_FILE).write_bytes(whole.replace(b'"fills":1', b'"fills":0'))

    with pytest.raises(IntegrityError) as caught:
        keep(tmp_path, desk)

    assert caught.value.reason_code == "ATOMICITY_VIOLATION"


def test_file_is_judged_once_and_then_only_written(tmp_path: Path) -> None:
    """A store trusts what it wrote itself: it reads the file before its first write alone."""
    desk = trader()
    store = PortfolioStore(tmp_path, RUN_ID)
    save(store, desk.execution, {}, is_last=True)
    (tmp_path / PORTFOLIO_FILE).write_bytes(b"{}")
    desk.intent("BUY", "1")
    desk.tick()

    save(store, desk.execution, {}, is_last=True)

    assert read_hashed(tmp_path / PORTFOLIO_FILE)["portfolio"]["fills"] == 2


def test_executor_without_an_opening_writes_nothing(tmp_path: Path) -> None:
    """Before `run_opening` nothing is known to be owned."""
    save(PortfolioStore(tmp_path, RUN_ID), core_from_config(config()), {}, is_last=True)

    assert list(tmp_path.iterdir()) == []
