"""Oracle of locks: what is a difference, the drawn trades, and the recording; without freqtrade."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from minibot.events.reasons import COOLDOWN_PERIOD
from minibot.runtime.configuration.config import load_config
from tests.risk.freqtrade_locks import CASES, Case, Closed
from tools.foreign.environments import NotInstalled
from tools.lock_oracle import __main__ as oracle
from tools.lock_oracle.both_locks import (
    METHODS,
    PROFILE,
    Lock,
    Locks,
    as_trade,
    closed_ts,
    compared,
    protections_of,
)
from tools.lock_oracle.drawn_cases import SYMBOLS, drawn_cases
from tools.lock_oracle.locks_recording import RECORDING, differences, written

VERSION = "2026.9"
REASONS = {code: f"it{words}it" for words, code in METHODS.items()}
COOLDOWN = Case(
    "cooldown",
    "1m",
    [{"method": "CooldownPeriod", "stop_duration": 5}],
    (
        Closed("AAA", 0, "take_profit", "0.5", "1.0", ()),
        Closed("BBB", 30, "stop_loss", "-0.5", "-1.0", ()),
    ),
)


def answer(case: Case) -> list[Lock]:
    """Return minibot's own locks of a case, as an engine that locks alike would tell them."""
    protections, found = protections_of(case), []
    for number, closed in enumerate(case.trades):
        before = {code: dict(scopes) for code, scopes in protections.locks.items()}
        protections.on_trade(as_trade(closed))
        for code, scopes in protections.locks.items():
            for scope, until in scopes.items():
                if before[code].get(scope) != until:
                    row = (number, scope, closed_ts(closed), until, REASONS[code])
                    found.append(Lock(*row))
    return found


@cache
def recorded() -> list[list[Lock]]:
    """Return minibot's own locks of the recorded cases."""
    return [answer(case) for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_locks_are_no_difference(case: Case) -> None:
    """Locks as minibot's own have no difference from them."""
    assert list(compared(case, answer(case))) == []


@pytest.mark.parametrize(
    "change",
    [
        {"until_ts": 60_000},
        {"until_ts": -60_000},
        {"scope": "*"},
        {"scope": "BBB"},
        {"number": 1},
        {"reason": f"it{next(iter(METHODS))}"},
        None,
    ],
)
def test_lock_with_another_end_scope_moment_or_method_is_told_in_full(
    change: dict[str, object] | None,
) -> None:
    """Any field of a lock that differs, and a lock that one side lacks, is a difference."""
    lock, *others = answer(COOLDOWN)
    assert (lock.code, others[0].scope) == (COOLDOWN_PERIOD, "BBB")
    if change is None:
        wrong: list[Lock] = []
    elif "until_ts" in change:
        wrong = [lock._replace(until_ts=lock.until_ts + int(str(change["until_ts"])))]
    elif "reason" in change:
        wrong = [lock._replace(reason="0.1 passed 0.05 in 5 minutes, locking for 5 minutes.")]
    else:
        wrong = [Lock(**(lock._asdict() | change))]

    found = list(compared(COOLDOWN, [*wrong, *others]))

    assert found
    assert "trade 0 ('AAA', 0, 'take_profit', '0.5', '1.0')" in "".join(found)


@pytest.mark.slow
def test_drawn_trades_repeat_and_their_numbers_are_exact_in_floats() -> None:
    """The seed gives all; the product takes each case, and both sides read the same numbers."""
    cases = drawn_cases(5, 400)

    assert cases == drawn_cases(5, 400) != drawn_cases(6, 400)
    assert sum(len(case.trades) for case in cases) == 400
    assert {row["method"] for case in cases for row in case.protections} == {
        row["method"] for case in CASES for row in case.protections
    }
    for case in cases:
        load_config(PROFILE, [f"risk.protections={json.dumps(case.protections)}"])
        seconds = [closed.second for closed in case.trades]
        assert seconds == sorted(seconds)
        for closed in case.trades:
            trade = as_trade(closed)
            assert closed.symbol in SYMBOLS
            assert Decimal(trade.ratio).scaleb(-8) == Decimal(closed.ratio)
            for text in (closed.ratio, closed.profit):
                assert Decimal(float(text)) == Decimal(text)


def test_recording_is_written_as_it_stands_and_a_changed_line_is_named() -> None:
    """The recorded locks give the file's own text; another lock or version changes its lines."""
    text = RECORDING.read_text(encoding="utf-8")
    assert written(text, VERSION, recorded()) == text
    first, *others = recorded()[0]
    later = [[first._replace(until_ts=first.until_ts + 300_000), *others], *recorded()[1:]]

    found = list(differences(text, VERSION, later))

    assert "expected Closed" in found[0]
    assert "(3000, 3000, 3000)" in found[0]
    assert len(list(differences(text, "2027.1", recorded()))) == 1
    with pytest.raises(ValueError, match="lines of trades"):
        written("", VERSION, recorded())


def run(monkeypatch: pytest.MonkeyPatch, words: Sequence[str], is_late: bool = False) -> int:
    """Return the exit code where freqtrade locks as minibot, or its last lock a minute longer."""

    def told(cases: Sequence[Case], path: Path) -> tuple[str, list[Locks]]:
        locks: list[list[Lock]] = [answer(case) for case in cases]
        if is_late:
            last = locks[0][-1]
            locks[0][-1] = last._replace(until_ts=last.until_ts + 60_000)
        return VERSION, list(locks)

    monkeypatch.setattr(oracle, "freqtrade_locks", told)
    return oracle.main(words)


def test_command_tells_sums_and_ends_with_1_on_a_difference(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line counts; the exit code is 0 where nothing differs."""
    protections = sum(len(case.protections) for case in CASES)
    trades = sum(len(case.trades) for case in CASES)
    locks = sum(map(len, recorded()))
    sums = f"{protections} protections, {trades} trades, {locks} locks, "

    assert run(monkeypatch, ["--count", "0", "--check"]) == 0
    assert capsys.readouterr().out == f"freqtrade {VERSION}\n{sums}0 unexplained\n"
    assert run(monkeypatch, ["--count", "0"], is_late=True) == 1
    assert not capsys.readouterr().out.endswith(" 0 unexplained\n")


def test_recording_is_written_from_the_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`--write` writes what `--check` then finds right; without it the file stays."""
    path = tmp_path / "recording.py"
    text = RECORDING.read_text(encoding="utf-8").replace("(2700, 2700, 2700)", "(1, 2, 3)")
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(oracle, "RECORDING", path)

    assert run(monkeypatch, ["--count", "0", "--check"]) == 1
    assert path.read_text(encoding="utf-8") == text
    assert run(monkeypatch, ["--count", "0", "--write"]) == 0
    assert path.read_bytes() == RECORDING.read_bytes()


def test_command_ends_with_2_without_freqtrade(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An environment that cannot be made is told; nothing was compared."""

    def missing(cases: Sequence[Case], path: Path) -> tuple[str, list[Locks]]:
        raise NotInstalled("freqtrade: no index")

    monkeypatch.setattr(oracle, "freqtrade_locks", missing)

    assert oracle.main(["--count", "0"]) == 2
    assert "no index" in capsys.readouterr().err
