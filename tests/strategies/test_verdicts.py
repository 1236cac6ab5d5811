"""Verdicts of a user's checks: evaluated, left open, or as in an older record."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from minibot.cli.main import run as cli
from minibot.events.model import JsonObject
from minibot.events.registry import Contracts
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import RunStop
from minibot.runtime.configuration.config import load_config
from minibot.strategies.core import core_from_config, core_from_state
from minibot.strategies.decision import RELATIONS, check, compare
from minibot.strategies.source_check import source_findings
from minibot.strategies.tick import Tick
from minibot.strategies.trial import PROFILE, SYMBOL, Trial
from minibot.strategies.verdicts import texts_hold, verdict_of_texts

HEAD = '''"""A strategy for a test."""

from minibot.strategies.protocol import Strategy, buy, check, compare, hold


class Mine(Strategy):
    """Says one thing of every tick."""

    def on_tick(self, tick, view):
'''
LINE = 10
"""Where the first line of the body stands."""


def written(folder: Path, *lines: str) -> Path:
    """Write a strategy that answers ticks by these lines."""
    path = folder / "mine.py"
    path.write_text(HEAD + "".join(f"        {line}\n" for line in lines), encoding="utf-8")
    return path


def checks_of(config: JsonObject) -> list[JsonObject]:
    """Return the strategy's checks of a trade at 100."""
    decision = Trial.of(config).trade(100.0)
    assert decision is not None
    return [found.to_json() for found in decision.checks]


def configs(path: Path) -> tuple[JsonObject, JsonObject]:
    """Return a profile that chooses a file, as now and as recorded before 2026-11-22."""
    now = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={path.parent}"]).raw
    before = deepcopy(now)
    del before["strategy"]["source"]["api"]
    return now, before


def filled(tick: Tick) -> Tick:
    """Return a tick of a trade at 100."""
    tick.price, tick.is_trade = 100.0, True
    return tick


# --- compare --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "of_less", "of_equal", "of_more"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
    ],
)
def test_compare_gives_the_verdict_of_its_relation(
    relation: str, of_less: bool, of_equal: bool, of_more: bool
) -> None:
    """`compare` evaluates its relation at both sides of each boundary."""
    verdicts = [compare("close", value, relation, 2.0).check().passed for value in (1.0, 2.0, 3.0)]

    assert verdicts == [of_less, of_equal, of_more]
    assert relation in RELATIONS


@pytest.mark.parametrize(
    ("value", "relation", "threshold", "verdict"),
    [
        (0.1, "==", Decimal("0.1"), False),  # A float that is no exact tenth.
        (0.5, "==", Decimal("0.5"), True),
        (10**20 + 1, ">", 1e20, True),
        (0.999999, ">=", 1, False),  # With two places both read 1.00.
        (Decimal("1.0000000000000000000001"), ">", Decimal(1), True),
    ],
)
def test_compare_goes_by_the_numbers_and_not_by_their_texts(
    value: Any, relation: str, threshold: Any, verdict: bool
) -> None:
    """`compare` uses the numbers, not their rounded texts."""
    assert compare("close", value, relation, threshold, places=2).check().passed is verdict


def test_compare_writes_every_digit_of_a_whole_number() -> None:
    """`compare` writes every digit of an integer, which a float would lose."""
    said = compare("n", 12_345_678_901_234_567_891, "<", 10**20, places=0).check()

    assert (said.value, said.threshold) == ("12345678901234567891", "< 100000000000000000000")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "compare('close', tick.price, str('above'), 9.0)",
            "'above' is not a relation; expected one of",
        ),
        ("compare('close', tick.price, str('!='), 9.0)", "'!=' is not a relation"),
        ("compare('close', None, '<', 9.0)", "expected two finite numbers, found None and 9.0"),
        ("compare('close', 1.0, '<', float('na' + 'n'))", "found 1.0 and nan; return hold"),
        ("compare('close', '1', '<', 2)", "expected two finite numbers, found 1 and 2"),
        ("compare('close', tick.price, '<', 9.0, passed=True)", "100.0 < 9.0 is False; leave"),
        ("compare('close', tick.price, '>', 9.0, passed=False)", "passed=False contradicts it"),
        ("check('close', '1', '2', passed='yes')", "expected True, False or None, found 'yes'"),
        ("check('rsi', 71.5, '> 70')", "check 'rsi': expected texts, found 71.5; compare() takes"),
        ("check('closes', (1, 2), 'rise')", "check 'closes': expected texts, found (1, 2)"),
        ("check('closes', 'rise', ['1'])", "check 'closes': expected texts, found ['1']"),
        ("check(('a',), '1', '2')", "check ('a',): expected texts, found ('a',)"),
    ],
)
def test_check_that_cannot_be_is_refused_with_its_line(
    tmp_path: Path, words: str, told: str
) -> None:
    """An impossible check is refused with its line."""
    path = written(tmp_path, f"made = {words}", "return buy('x', (made,))")
    trial = Trial(path)

    with pytest.raises(RunStop) as caught:
        trial.trade(100.0)
    assert caught.value.reason_code == "STRATEGY_ERROR"
    assert told in caught.value.detail
    line = LINE + words.startswith("check(")  # Its decision judges it.
    assert f"{path}, line {line}: " in caught.value.detail


def test_compare_takes_a_verdict_that_is_right() -> None:
    """`compare` accepts a correct verdict."""
    assert compare("close", 1.0, "<", 2.0, passed=True).check().passed is True
    assert compare("close", 3.0, "<", 2.0, passed=False).check().passed is False


@pytest.mark.parametrize(
    "words",
    [
        "compare('a', 1.0, 'above', 2.0)",
        "compare('a', 1.0, threshold=2.0, relation='=>')",
        "compare('a', 1.0, '<' if tick.is_trade else 'below', 2.0)",
    ],
)
def test_strategy_check_finds_a_relation_that_is_none(
    tmp_path: Path, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`strategy check` finds an invalid relation by its line, under any import name."""
    path = written(tmp_path, f"return hold('x', ({words},))")

    assert cli(["strategy-check", str(path)]) == 1
    text = capsys.readouterr().out
    assert f"line {LINE}: compares by" in text
    assert "write one of < <= > >= ==" in text
    renamed = path.read_text(encoding="utf-8").replace("compare(", "versus(")
    renamed = renamed.replace("compare,", "compare as versus,")
    assert [found.line for found in source_findings(renamed)] == [LINE]
    assert source_findings("def compare(a, b, c): return c\nX = compare(1, 2, 'above')\n") == []


# --- check ----------------------------------------------------------------------------------------


def test_check_without_a_word_has_no_verdict_and_may_be_journaled() -> None:
    """A check without verdict is journaled as null."""
    contracts = Contracts.of_project()
    fields = check("trend", "up", "up").to_json()
    assert fields["passed"] is None

    kinds = {
        type_: contracts.payloads[type_]["$defs"]["check"]["properties"]["passed"]["type"]
        for type_ in ("signal", "risk_action")
    }
    assert kinds == {"signal": ["boolean", "null"], "risk_action": "boolean"}


def test_check_of_each_verdict_is_written_and_read_again(tmp_path: Path) -> None:
    """Each verdict survives a queue's text and a snapshot."""
    path = written(
        tmp_path,
        "checks = (check('a', '1', 'x'), check('b', '2', 'x', passed=False),",
        "          compare('c', tick.price, '>', 99.0, places=0))",
        "return buy('x', checks)",
    )
    trial = Trial(path)
    said = trial.trade(100.0)
    assert said is not None
    assert [found.passed for found in said.checks] == [None, False, True]

    core = core_from_config(configs(path)[0])
    core.process(filled(core.view(SYMBOL).tick), 1, 1)
    again = core_from_state(configs(path)[0], decode(encode(core.state())))
    assert again.watched[SYMBOL].decision == said


# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "threshold", "verdict"),
    [
        ("61661.39", "< 61652.60", False),
        ("61651.39", "< 61652.60", True),
        ("3", "> 3", False),
        ("3", ">= 3", True),
        ("0.50", ">= 1.0", False),
        ("1.00", ">= 1.0", None),  # 0.999 and 1.0 keep their digits as well.
        ("1.00", "< 1.003", None),
        ("0.98", ">= 1.0", False),  # A threshold is at least as exact as its value.
        ("0.98", ">= 1", False),
        ("2", "> 2.5", False),
        ("-2.5", "<= -1", True),
        ("up", "== up", None),
        ("1", "none", None),
        ("1", "<1", None),
        ("1", "< 2 or so", None),
        ("nan", "< 1", None),
        ("1e3", "< 1", None),
        ("\u0661", "< 5", None),
        ("", "< 1", None),
        (".5", "< 1", None),
    ],
)
def test_texts_tell_a_verdict_only_where_rounding_cannot_turn_it(
    value: str, threshold: str, verdict: bool | None
) -> None:
    """Texts give a verdict only where rounding cannot reverse it."""
    assert verdict_of_texts(value, threshold) is verdict


def test_texts_hold_as_they_are_written() -> None:
    """Texts are compared as written, for the note about rounding."""
    assert texts_hold("1.00", ">= 1.0") is True
    assert texts_hold("1.00", "> 1.0") is False
    assert texts_hold("1.00", "none") is None


# --- older records --------------------------------------------------------------------------------


def test_true_verdicts_of_an_older_record_are_made_again_as_they_were(tmp_path: Path) -> None:
    """Right verdicts of an older record are recomputed as they were."""
    path = written(
        tmp_path,
        "return hold('x', (",
        "    check('a', '1', 'any'),",
        "    check('b', '4', '> 3'),",
        "    check('c', '2', '> 3', passed=False),",
        "    check('d', '2', '> 3', passed=True),",
        "    compare('e', tick.price, '>', 99.0, places=1),",
        "    compare('f', tick.price, '>', 101.0, places=1, passed=False),",
        "    compare('g', tick.price, str('is above'), 99.0, places=1),",
        "    compare('h', tick.price, str('is above'), 99.0, places=1, passed=False),",
        "))",
    )
    now, before = configs(path)
    text = path.read_text(encoding="utf-8").replace("str('is above')", "'is above'")
    digest = sha256(text.encode()).hexdigest()
    before["strategy"]["source"].update(text=text, sha256=digest)

    found = checks_of(before)

    assert [each["passed"] for each in found] == [True, True, False, True, True, False, True, False]
    assert found[6] == {"name": "g", "value": "100.0", "threshold": "is above 99.0", "passed": True}
    with pytest.raises(RunStop):
        checks_of(now)


def test_false_verdicts_of_an_older_record_are_not_made_again(tmp_path: Path) -> None:
    """Wrong verdicts of an older record are not recomputed, so its replay differs and says why."""
    path = written(
        tmp_path,
        "return hold('x', (",
        "    check('a', '0.50', '>= 1.0'),",
        "    compare('b', tick.price, '<', 99.0, places=1),",
        "    compare('c', tick.price, '>', 99.0, places=1, passed=False),",
        "))",
    )
    now, before = configs(path)
    assert now["strategy"]["source"]["api"] == 2

    assert [found["passed"] for found in checks_of(before)] == [None, False, True]
