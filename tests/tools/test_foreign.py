"""Reference for foreign clients: a plain reading of the tape that finds differences."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.embedded_exchange import (
    ORIGIN_MS,
    diff,
    quote,
    snapshot,
    trade,
    write_tape,
)
from tools.foreign import __main__ as foreign
from tools.foreign.environments import HERE, NAMES, NotInstalled
from tools.foreign.evidence import Evidence, Truth, exact

PACKAGE = "pytest"  # Some installed package, for its version.


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """One second of a market: a snapshot, two diffs, three trades, one quote."""
    lines: list[Any] = [diff(0, 101, 102, [["99.99", "5"]]), snapshot(1, 101), quote(2, 102)]
    lines += [trade(100, 1, "100.00"), trade(200, 2, "102.00"), trade(900, 3, "99.00")]
    lines += [diff(950, 103, 103, [["99.00000000", "0"]], [["100.005", "1.5"]])]
    return Truth(write_tape(tmp_path / "tape.gz", lines))


def evidence(truth: Truth) -> Evidence:
    return Evidence("a client", PACKAGE, truth)


def told(held: Evidence, capsys: pytest.CaptureFixture[str], *expected: str) -> tuple[int, Any]:
    """Return exit code and output."""
    code = held.finish(*expected)
    return code, json.loads(capsys.readouterr().out)


def test_what_the_tape_has_is_taken_in_any_form_of_number(
    truth: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts with and without zeros, floats and decimals count as equal amounts."""
    held = evidence(truth)
    held.trade(1, "100.00000000", 0.01, ORIGIN_MS + 100, False)
    held.quote(102, Decimal("99.99"), "1.00000", 100.01, "2")
    held.book(103, [["99.99", 5.0]], [["100.005", "1.5"], [100.01, 2]], levels=2)
    held.kline(ORIGIN_MS, ORIGIN_MS + 1000, 100, "102.0", 99.0, "99", 0.03)
    held.aggregate(3, 3, "99.0", 0.01, ORIGIN_MS + 900)
    held.touch("99.99", 1, "100.01", 2)

    code, answer = told(held, capsys, "trades", "books")
    assert code == 0
    assert answer["checked"]["books"] == 1
    assert answer["wrong"] == []


def test_everything_that_differs_is_found(truth: Truth, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong price, side, level, bar or number is reported and fails."""
    held = evidence(truth)
    held.trade(1, "100.01", "0.01", ORIGIN_MS + 100, False)
    held.trade(2, "102", "0.01", ORIGIN_MS + 200, True)
    held.trade(9, "102", "0.01", ORIGIN_MS + 200, False)
    held.quote(102, "99.99", "1", "100.02", "2")
    held.book(102, [["99.99", "4"]], [["100.01", "2"]], levels=1)
    held.book(104, [], [], levels=1)
    held.kline(ORIGIN_MS, ORIGIN_MS + 1000, 100, 102, 99, 99, "0.04")
    held.aggregate(1, 2, "100", "0.02", ORIGIN_MS + 100)
    held.touch("99.98", 1, "100.01", 2)

    code, answer = told(held, capsys)
    assert code == 1
    assert answer["wrong_count"] == 9


def test_client_that_got_nothing_has_proved_nothing(
    truth: Truth, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client that received nothing fails."""
    code, answer = told(evidence(truth), capsys, "books")

    assert code == 1
    assert answer["wrong"] == ["books: none came"]


def test_book_is_told_at_any_update_also_backwards(truth: Truth) -> None:
    """The reference's own book is right at any update, also backwards."""
    later, earlier = truth.book(103), truth.book(102)

    assert later is not None
    assert earlier is not None
    assert (Decimal("99.00"), Decimal(3)) in earlier[0]
    assert all(price != Decimal("99.00") for price, _ in later[0])
    assert truth.book(999) is None


def test_floats_are_read_by_their_shortest_text() -> None:
    """A float is read by its shortest text, so 0.1 is a tenth."""
    assert exact(0.1) == Decimal("0.1")
    assert exact("61234.50000000") == exact(61234.5) == Decimal("61234.5")


def test_locks_name_every_file_by_hash_and_no_address() -> None:
    """Locks name every file by hash and no address."""
    for name in NAMES:
        text = (HERE / f"{name}.lock").read_text(encoding="utf-8")
        wanted = [
            line.strip()
            for line in (HERE / f"{name}.in").read_text(encoding="utf-8").splitlines()
            if line.strip() and not line.startswith("#")
        ]
        assert "://" not in text
        pins = [line if "==" in line else f"{line}==" for line in wanted]
        assert all(f"\n{pin}" in text for pin in pins)
        assert text.count("--hash=sha256:") >= text.count("==")


def test_small_set_skips_by_name_what_cannot_be_installed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The small set skips by name what cannot be installed; on request it fails."""

    def unreachable(name: str) -> Path:
        raise NotInstalled(f"{name}: no index")

    monkeypatch.setattr(foreign, "environment", unreachable)

    assert foreign.main(["--small"]) == 0
    text = capsys.readouterr().out
    assert text.count("skipped") == 2
    assert "clients: no index" in text
    assert foreign.main(["--only", "ccxt_rest"]) == 1
