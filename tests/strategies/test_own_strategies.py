"""User's strategies: refused code with its line, kept state, and the proof of a run."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shlex
import subprocess
import sys
from codecs import BOM_UTF8
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.accounting.portfolio import Portfolio
from minibot.cli.main import run as cli
from minibot.cores.closed_bar import ClosedBar
from minibot.cores.messages import FillMessage, drafts_of
from minibot.events.intervals import align
from minibot.events.model import (
    BUY,
    SELL,
    Bar,
    Fill,
    Halt,
    JsonObject,
    LockSymbol,
    Payload,
    Resume,
    RiskAction,
    RunOpening,
)
from minibot.events.money import amount_text
from minibot.events.unit_sizes import WEEK_MS
from minibot.features.ema import Ema
from minibot.kernel.canonical import decode, encode
from minibot.kernel.errors import ConfigError, MinibotError, RunStop
from minibot.kernel.files import read_hashed, write_hashed
from minibot.runtime.configuration import own_source
from minibot.runtime.configuration.config import config_with, load_config
from minibot.strategies import decision, trial_process
from minibot.strategies import selection as chosen
from minibot.strategies.allowed import ANSWERING, API, FEATURES, safe_builtins, sum_in_order
from minibot.strategies.bars import BarSeries
from minibot.strategies.core import core_from_config, core_from_state
from minibot.strategies.own import failure, own_strategy
from minibot.strategies.position import Position
from minibot.strategies.protocol import Needs
from minibot.strategies.source_check import source_findings
from minibot.strategies.source_state import BAR_FIELDS
from minibot.strategies.state_codec import kept, put_back
from minibot.strategies.tick import Tick
from minibot.strategies.trial import PROFILE, SYMBOL, Trial, findings, wave_fault
from minibot.strategies.view import View
from tests.strategies.strategy_feed import PRICE, START, Feed, signals
from tests.strategies.strategy_feed import SYMBOL as FEED_SYMBOL
from tests.strategies.strategy_feed import config as feed_config
from tests.waiting import DEADLINE_S

EXAMPLES = ["skeleton", "ema_cross", "rsi_band"]
HEAD = '''"""A strategy for a test."""

from minibot.strategies.protocol import Needs, Strategy, buy, check, compare, hold, sell, whole


class Mine(Strategy):
    """Says what the test wants."""

'''


def written(folder: Path, body: str, name: str = "mine") -> Path:
    """Write a strategy whose class has this body, from line 9 on."""
    indented = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
    path = folder / f"{name}.py"
    path.write_text(HEAD + indented + "\n", encoding="utf-8")
    return path


def on_tick(*lines: str) -> str:
    """Return an `on_tick` with these lines, from line 10 of the file on."""
    return "\n".join(["def on_tick(self, tick, view):", *(f"    {line}" for line in lines)])


QUOTES = "@staticmethod\ndef needs(settings):\n    return Needs(trades=False)\n\n"


@pytest.mark.parametrize("name", EXAMPLES)
def test_check_of_shipped_examples_finds_nothing(project: Path, name: str) -> None:
    """The shipped examples pass the check."""
    assert findings(project / "minibot" / "strategies" / "examples" / f"{name}.py") == []


@pytest.mark.row("D-23")
@pytest.mark.parametrize(
    ("line", "what", "instead"),
    [
        ("import time", "imports time", "view.now"),
        ("import os", "imports os", "PARAMETERS"),
        ("from datetime import datetime", "imports datetime", "view.now"),
        ("import random", "imports random", "chance"),
        ("import numpy as np", "imports numpy", "minibot.features"),
        ("import requests", "imports requests", "ticks, bars"),
        ("import urllib.request", "imports urllib.request", "ticks, bars"),
        ("import threading", "imports threading", "starts nothing"),
        ("import ctypes", "imports ctypes", "starts nothing"),
        ("import importlib", "imports importlib", "interpreter"),
        ("import sys", "imports sys", "interpreter"),
        ("from math import exp", "imports exp of math", "differ by machine"),
        (
            "from minibot.kernel.files import write_atomic",
            "imports minibot.kernel.files",
            "allowed.py",
        ),
        ("from collections import *", "imports * of collections", "name what"),
        ("from . import other", "imports .", "allowed.py"),
        ("x = adjust('x', stop='1')", "uses adjust", f"write: from {API} import adjust"),
        ("x = Macd()", "uses Macd", "write: from minibot.features.macd import Macd"),
        (
            *(
                "from minibot.features.bands import BollingerBands",
                "imports minibot.features.bands",
            ),
            "write: from minibot.features.bollinger import BollingerBands",
        ),
        (
            *("from minibot.features.ema import Sma", "imports Sma of minibot.features.ema"),
            "write: from minibot.features.sma import Sma",
        ),
        ("x = open('f')", "uses open", "PARAMETERS"),
        ("x = eval('1')", "uses eval", "interpreter"),
        ("exec('1')", "uses exec", "interpreter"),
        ("x = __import__('os')", "uses __import__", "leads out"),
        ("x = getattr(tick, 'price')", "uses getattr", "interpreter"),
        ("x = hash('a')", "uses hash", "chance"),
        ("x = id(tick)", "uses id", "chance"),
        ("print(tick.price)", "uses print", "reason"),
        ("x = input()", "uses input", "PARAMETERS"),
        ("x = globals()", "uses globals", "interpreter"),
        ("x = tick.__class__", "uses .__class__", "leads out"),
        ("x = view._series", "uses the private ._series", "public"),
        ("x = (lambda: 0).__globals__", "uses .__globals__", "leads out"),
        ("x = self.on_bar.f_globals", "uses .f_globals", "leads out"),
        ("global n", "changes the global n", "attribute of self"),
        ("view.now = 3", "changes view", "nothing but its own"),
        ("Mine.n = 3", "changes Mine", "nothing but its own"),
        ("self.last = tick", "keeps the tick itself", "refilled"),
        ("self.state = 'flat'", "self.state hides the method state", "another name"),
        ("self.restore: int = 3", "self.restore hides the method", "another name"),
        ("self.n, self.on_bar = 1, None", "self.on_bar hides the method", "another name"),
        ("self.ticks.append(tick)", "keeps the tick itself", "refilled"),
        ("x = tick.price ** 2", "uses **", "x * x"),
        ("x = {tick.symbol, 'A'}", "makes a set", "tuple"),
        ("x = set('ab')", "uses set", "tuple"),
        ("x = view.a.keys() & view.b.keys()", "makes a set of the keys", "tuple"),
        ("x = view.a.keys() | view.b", "makes a set of the keys", "tuple"),
        ("keys = view.a.keys()", "keeps the keys of a dict", "tuple"),
        ("x = abs(3 + 4j)", "uses a complex number", "differ by machine"),
        ("match buy:\n        case X(__globals__=g): pass", "uses .__globals__", "leads out"),
        ("match f:\n        case X(gi_frame=g): pass", "uses .gi_frame", "leads out"),
        ("match view:\n        case X(_series=g): pass", "uses the private ._series", "public"),
        ("x = '{0.__class__}'.format(view)", "uses .format, which", "f-string"),
        ("x = '{:{0.price}}'.format(view)", "uses .format, which", "f-string"),
        ("x = '{0[1]}'.format(view)", "uses .format, which", "f-string"),
        ("f = str.format", "uses .format, which", "f-string"),
        ("x = '{a}'.format_map(view.a)", "uses .format_map", "f-string"),
        ("Mine.n, x = 3, 4", "changes Mine", "nothing but its own"),
        ("for view.now in (1, 2): pass", "changes view", "nothing but its own"),
        ("with tick as bar.close: pass", "changes bar", "nothing but its own"),
        ("self.a, self.b = 1, tick", "keeps the tick itself", "refilled"),
        ("self.a = {'last': tick}", "keeps the tick itself", "refilled"),
        ("self.a.append((tick.ts, view))", "keeps the view itself", "refilled"),
        ("async def f(): pass", "waits", "starts nothing"),
        ("x = lambda a=[]: a", "has a default that every call shares", "tuple"),
        ("x = (", "is not Python", "correct"),
    ],
)
def test_check_names_line_and_what_to_use_instead(
    tmp_path: Path, line: str, what: str, instead: str
) -> None:
    """A clock, chance, a file, the network and ways out are named by line, with a remedy."""
    text = written(tmp_path, on_tick(line)).read_text(encoding="utf-8")
    found = [finding for finding in source_findings(text) if finding.what.startswith(what)]

    assert found, source_findings(text)
    assert found[0].line in (10, 11)
    assert instead in found[0].instead


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("CACHE = {}", 9),
        ("seen = []", 9),
        ("try:\n    pass\nexcept Exception:\n    pass", 11),
        ("try:\n    pass\nexcept (KeyError, Exception):\n    pass", 11),
        ("try:\n    pass\nexcept ValueError as error:\n    pass", 11),
        ("def f(self):\n    try:\n        self.n = 1\n    finally:\n        return None", 13),
        (
            "def f(self):\n    try: pass\n    finally:\n        match 1:\n"
            "            case _: return",
            13,
        ),
        ("def f(self):\n    while True:\n        try: pass\n        finally: break", 12),
        (
            "def f(self):\n    try: pass\n    finally:\n        try: pass\n"
            "        except KeyError: return",
            13,
        ),
        ("class Quiet:\n    def __exit__(self, *error): return True", 10),
        ("from minibot.features.ema import Ema as E\nfast = E(9)", 10),
        ("from minibot.features.ema import Ema\nfast = Ema.from_state(0)", 10),
        ("from minibot.features.ema import Ema\nall_of = tuple(Ema(n) for n in (3, 5))", 10),
        ("from itertools import count as c\nids = c()", 10),
        ("import itertools\nids = itertools.count()", 10),
        ("ids = iter(range(9))", 9),
        ("ids = (n for n in range(9))", 9),
        ("seen = [0] * 9", 9),
        ("seen = sorted((2, 1))", 9),
        ("seen = None or []", 9),
        ("seen = () if 1 else {}", 9),
        ("class State:\n    n = 0\n\nstate = State()", 12),
        ("def f(self, q=deque()): ...\nfrom collections import deque", 9),
        ("def __getattr__(self, name): ...", 9),
        ("def __del__(self): ...", 9),
    ],
)
def test_check_refuses_what_symbols_would_share_and_what_hides(
    tmp_path: Path, text: str, line: int
) -> None:
    """State beside the object is refused, as symbols would share it and a restart lose it."""
    found = source_findings(written(tmp_path, text).read_text(encoding="utf-8"))

    assert [finding.line for finding in found] == [line]


def test_check_refuses_an_attribute_of_a_function_of_the_file() -> None:
    """An attribute of a function of the file is refused, as it would count for all symbols."""
    text = "def helper():\n    helper.n = 1\n\ndef other():\n    mine = helper()\n    mine.n = 1\n"

    assert [finding.line for finding in source_findings(text)] == [2]


def test_clock_behind_a_function_of_the_product_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    """A clock reached through a product function, as by `match`, is refused before any run."""
    clock = "g['__builtins__']['__import__']('time').time()"
    body = on_tick(
        "match buy:",
        "    case Callable(__globals__=g):",
        f"        return hold(str({clock} > 0))",
    )
    path = written(tmp_path, f"from collections.abc import Callable\n\n{body}")

    with pytest.raises(MinibotError) as caught:
        Trial(path)
    assert "line 13: uses .__globals__" in str(getattr(caught.value, "violations", caught.value))


def test_check_of_an_unknown_module_names_the_list_of_allowed_ones(
    tmp_path: Path, project: Path
) -> None:
    """A module that is not allowed leads to the file that lists the allowed ones."""
    (found,) = findings(written(tmp_path, "import zlib\n\n" + on_tick("return None")))
    named = re.findall(r"[\w/]+[.](?:py|md)", str(found))[-1]

    assert '"itertools"' in (project / named).read_text(encoding="utf-8")


def test_check_lets_honest_code_pass(tmp_path: Path) -> None:
    """Honest code passes: set membership, shadowed names, int powers, own errors."""
    body = on_tick(
        "self.needs, self.on_top = 3, self.state()",
        "match view.a:",
        "    case {'b': first, **others}:",
        "        return hold(f'{first} {len(others)}')",
        "open = tick.price",
        "if view.status in {'TRADING', 'AUCTION_MATCH'} and open > 10 ** 2:",
        "    total = sum([open, open], 0.0)",
        "    return buy(f'{total:.2f} {max(open, 1.0)}')",
        "try:",
        "    return hold(str(1.0 / tick.qty))",
        "except (ZeroDivisionError, OverflowError):",
        "    return None",
        "finally:",
        "    for n in (1, 2):",
        "        if n > 1:",
        "            continue",
        "        self.prices[n], helper = '{:.2f} {0}'.format(tick.price), [tick.price]",
        "        helper[0] = self.format(view.a.keys(), tick.ts)",
    )
    shared = (
        "from dataclasses import dataclass, field\nfrom enum import Enum\n\n"
        "STEPS = tuple(n * 2 for n in (1, 2))\nBEST = max([1, 2])\nNAMES = 'a b'.split\n\n"
        "@dataclass(frozen=True)\nclass Level:\n    at: float = 0.0\n\n"
        "@dataclass\nclass Box:\n    items: list[int] = field(default_factory=list)\n"
        "    state: str = ''\n\n    def turn(self):\n        self.state = 'up'\n\n"
        "class Side(Enum):\n    LONG = 1\n\n"
        "NEAR = (Level(1.0), Level(2.0))\n\n"
        "def helper():\n    return Box()\n\n"
    )

    assert findings(written(tmp_path, shared + body)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import dataclasses; return hold(dataclasses.sys.version)",
        "import typing; return hold(typing.sys.modules['os'].name)",
        "import math as m; return hold(str(m.exp(1.0)))",
        "import collections as c; return hold(str(c.abc))",
        "from minibot.features import ema; return None",
        "import minibot.features.ema as e; return hold(str(e.float_text.x))",
    ],
)
def test_run_time_refuses_what_the_check_does_not_see(tmp_path: Path, line: str) -> None:
    """At run time an allowed module holds its allowed names alone."""
    path = written(tmp_path, on_tick(line))
    with pytest.raises(MinibotError):
        Trial(path).trade(100.0)


@pytest.mark.parametrize("name", ["open", "eval", "getattr", "print", "type", "set", "object"])
def test_run_time_has_no_builtin_that_a_name_of_its_own_hides_from_the_check(
    tmp_path: Path, name: str
) -> None:
    """A builtin shadowed by a name of the strategy is missing at run time."""
    path = written(tmp_path, f"def other(self):\n    {name} = 1\n\n" + on_tick(f"{name}('a')"))
    assert findings(path) == []

    with pytest.raises(RunStop, match=f"line 13: NameError: name '{name}' is not defined"):
        Trial(path).trade(100.0)


def test_sum_adds_from_left_to_right_on_every_python(tmp_path: Path) -> None:
    """`sum` adds floats from left to right on every Python, without 3.12's correction."""
    body = on_tick("return hold(repr(sum([0.1] * 10)))")
    (decision,) = Trial(written(tmp_path, body)).trades([100.0])

    assert decision.reason == "HOLD: 0.9999999999999999"
    assert safe_builtins()["sum"] is sum_in_order


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["x = 1", "return hold(str(1 / (tick.qty - 1.0)))"], "line 11: ZeroDivisionError"),
        (
            ["return 'BUY'"],
            "expected a Decision of buy, sell, adjust or hold, or None, found 'BUY'",
        ),
        (["return buy('x', code='own_rul')"], "line 10: ValueError: code 'own_rul' is unknown"),
        (["return buy('x', score=111)"], "expected 0 to 110 and 0 to 100, found 111"),
        (["return hold('x' * 5000)"], "at most 4096 characters"),
        (["return view.bars('1m')"], "view.bars('1m'): not declared"),
        (["f = lambda: 1", "return hold(f'{f}')"], "holds an address, another in each process"),
        (["f = lambda: 1", "return hold('x', (check('f', str(f), ''),))"], "check 'f' holds an"),
        (
            ["f = lambda: 1", "return hold('x', (compare(f'{f}', 1.0, '<', 2.0),))"],
            "holds an address, another in each process",
        ),
        (["return hold('x', (compare('\\ud800', 1, '<', 2),))"], "UnicodeEncodeError"),
    ],
)
def test_failure_of_a_strategy_stops_with_its_line(
    tmp_path: Path, lines: list[str], told: str
) -> None:
    """A strategy's failure ends the run with its own code, place and remedy."""
    path = written(tmp_path, on_tick(*lines))
    trial = Trial(path)

    with pytest.raises(RunStop) as caught:
        trial.trade(100.0)
    stop = caught.value
    assert told in stop.detail
    assert stop.reason_code == "STRATEGY_ERROR"
    assert re.search(rf"^{re.escape(str(path))}, line (9|10|11): ", stop.detail)
    when = "(BTCUSDT at market time 1700000000100 ms)"
    assert stop.detail.endswith(f" {when}; correct it, then: minibot strategy-check {path}")


def test_failure_of_a_shipped_strategy_is_ours() -> None:
    """A failure of a shipped strategy does not tell the user to correct it."""
    assert failure(ValueError("x"), "rsi_band").reason_code == "INVARIANT_BROKEN"


@pytest.mark.parametrize("text", ["\ud83d", "two\nlines", "x" * 10_000])
def test_failure_of_any_text_is_one_sentence_that_a_journal_can_hold(text: str) -> None:
    """An error's text of any form is one sentence in the journal, followed by the remedy."""
    detail = failure(ValueError(text), "strategies/mine.py").detail

    assert len(detail.encode()) < 500
    assert detail.isprintable()
    assert detail.endswith("minibot strategy-check strategies/mine.py")


@pytest.mark.process
def test_night_refuses_a_strategy_that_fails_its_trial_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A night runs a trial of the strategy first, and refuses one that fails."""
    needs = "@staticmethod\ndef needs(settings):\n    return Needs(intervals=('1s',), history=2)"
    answer = "def on_bar(self, bar, view):\n    return 1 / (bar.close - bar.close)"
    path = written(tmp_path, f"{needs}\n\n{answer}")
    chosen = ("strategy.name=mine", f"strategy.folder={tmp_path}", f"paths.var={tmp_path}/var")
    words = [word for key in chosen for word in ("--set", key)]

    assert findings(path) == []
    assert cli(["night", "--config", str(PROFILE), *words]) == 4
    text = capsys.readouterr().err
    assert f"STRATEGY_ERROR: {path}, line 14: ZeroDivisionError" in text
    assert not (tmp_path / "var").exists()


@pytest.mark.process
def test_trial_before_a_night_ends_where_the_strategy_does_not(tmp_path: Path) -> None:
    """A trial without an end is refused with its place."""
    path = written(tmp_path, on_tick("while True:", "    pass"))
    config = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"]).raw

    with pytest.raises(ConfigError) as caught:
        trial_process.require_tried(config, limit_s=5)
    assert str(path) in caught.value.violations[0]
    assert "the trial had not ended after 5 s" in caught.value.violations[0]


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: RLIMIT_DATA covers mappings")
def test_trial_refuses_memory_above_the_ceiling_of_a_role(tmp_path: Path) -> None:
    """A strategy that takes more memory than a role may have is refused, with its line."""
    path = written(tmp_path, on_tick("self.kept = 'x' * 600_000_000"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}", "watchdog.rss_mb_max=200"]

    with pytest.raises(ConfigError) as caught:
        trial_process.require_tried(load_config(PROFILE, sets).raw)
    assert f"{path}, line 10: MemoryError" in caught.value.violations[0]


@pytest.mark.process
@pytest.mark.parametrize("verb", [("config", "check"), ("night",)], ids=" ".join)
def test_loop_without_an_end_at_its_making_is_refused(
    verb: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`__init__` runs at every check of a profile: none may hang on it."""
    path = written(tmp_path, "def __init__(self, settings):\n    while True:\n        pass")
    monkeypatch.setattr(trial_process.require_tried, "__defaults__", (3,))
    words = ["strategy.name=mine", f"strategy.folder={tmp_path}", f"paths.var={tmp_path}/var"]
    sets = [word for text in words for word in ("--set", text)]

    assert cli([*verb, "--config", str(PROFILE), *sets]) == 4
    assert f"{path}, line" in capsys.readouterr().err


@pytest.mark.process
def test_trial_takes_the_profile_of_the_night(tmp_path: Path) -> None:
    """A trial uses the night's own parameters and market."""
    body = (
        "PARAMETERS = (whole('n', 0, low=0, high=9, what='a divisor'),)\n\n"
        "def __init__(self, settings):\n    self.n = settings.whole('n')\n\n"
        + on_tick("return hold(f'{1 // self.n}')")
    )
    written(tmp_path, body)
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]

    with pytest.raises(ConfigError) as caught:
        trial_process.require_tried(load_config(PROFILE, sets).raw)
    assert "line 15: ZeroDivisionError" in caught.value.violations[0]
    trial_process.require_tried(load_config(PROFILE, [*sets, "strategy.parameters.n=1"]).raw)
    trial_process.require_tried(load_config(PROFILE, []).raw)


def test_bar_of_a_trial_is_of_the_interval_that_the_strategy_declares(tmp_path: Path) -> None:
    """A strategy of minutes is shown minutes, and a test that hands in others is told so."""
    body = BOTH.replace("('1s', '1m')", "('1m',)")
    trial = Trial(written(tmp_path, body))

    said = trial.bars([100.0, 101.0])

    assert [decision.side for decision in said] == ["BUY", "BUY"]
    assert len(trial.view.bars("1m")) == 2
    with pytest.raises(ValueError, match="a bar of 1s: the strategy declares 1m"):
        trial.bar(100.0, "1s")


@pytest.mark.parametrize(
    ("made", "used", "is_lost"),
    [
        ("self.macd = Macd()", "value = self.macd.update(bar.close)", True),
        ("self.sma, self.n = Sma(5), 0", "slow, n = self.sma.update(bar.close), 1", True),
        ("self.sma = Sma(5)", "slow: float = self.sma.update(bar.close)", True),
        ("self.ema = Ema(5)", "value = self.ema.update(bar.close)", False),
        ("self.sma = Sma(5)", "self.sma.update(bar.close)", False),
        ("self.ema = Ema(5) if settings else Sma(5)", "value = self.ema.update(1.0)", False),
        ("self.ema = Ema(5)\n    self.sma = self.ema", "value = self.sma.update(1.0)", False),
        ("self.ma = Sma(5)\n    self.ma = Ema(5)", "value = self.ma.update(1.0)", False),
        ("self.last = {}", "value = self.last.update(a=1)", False),
    ],
)
def test_value_of_an_update_that_gives_none_is_refused_at_a_start(
    made: str, used: str, is_lost: bool, tmp_path: Path
) -> None:
    """It would stay None, and the strategy silent; a recorded night of such a file stays."""
    written(tmp_path, f"def __init__(self, settings):\n    {made}\n\n{on_tick('return None')}")
    path = tmp_path / "mine.py"
    text = path.read_text(encoding="utf-8").replace("return None", f"bar = tick\n        {used}")
    imports = "".join(f"from minibot.features.{n.lower()} import {n}\n" for n in SEEN if n in made)
    path.write_text(text.replace("from minibot", f"{imports}from minibot", 1), encoding="utf-8")
    config = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"])

    require_refused_at_a_start(config.raw, "keeps what self\\." if is_lost else None)


def require_refused_at_a_start(config: JsonObject, finding: str | None) -> None:
    """Require that a start refuses a strategy which a recorded night may still run.

    Args:
        config: The profile with the strategy `mine`.
        finding: Pattern of the refusal behind its line; None if a start accepts the strategy.
    """
    chosen.choose(config)
    if finding is None:
        chosen.judge(config)
        return
    with pytest.raises(ConfigError) as caught:
        chosen.judge(config)
    assert re.search(rf"mine\.py, line \d+: {finding}", caught.value.violations[0])


WIDENS = """@staticmethod
def needs(settings):
    risk = settings.profile["risk"]
    risk["order_notional"] = "5000"
    return Needs(intervals=(settings.interval,), history=5)

"""


def test_change_of_the_profile_by_a_strategy_moves_no_limit(tmp_path: Path) -> None:
    """Risk reads the profile too: another name for a section of it widens nothing."""
    written(tmp_path, WIDENS + "def on_bar(self, bar, view):\n    return buy('a bar')")
    config = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"])
    before = encode(config.raw)

    chosen.judge(config.raw)
    chosen.choose(config.raw).make(SYMBOL)

    assert encode(config.raw) == before


@pytest.mark.parametrize(
    ("line", "is_changed"),
    [
        ("for one in view.bars('1s'): one.close = (one.high + one.low) / 2.0", True),
        ("last = bar; last.high += 1.0", True),
        ("self.bars[-1].low = 1.0", True),
        ("self.close = bar.close; high = bar.high", False),
        ("mean = Mean(1.0); mean.open = bar.open", False),
    ],
)
def test_change_of_a_closed_bar_is_refused_at_a_start(
    line: str, is_changed: bool, tmp_path: Path
) -> None:
    """Risk of a backtest reads the same bar; a recorded night of such a file stays."""
    path = written(tmp_path, f"def on_bar(self, bar, view):\n    {line}\n\n{NEEDS}")
    path.write_text(path.read_text("utf-8").replace("\nclass", f"{MEAN}\nclass", 1), "utf-8")
    config = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"])

    require_refused_at_a_start(config.raw, r"changes the \w+ of a bar" if is_changed else None)


NEEDS = """@staticmethod
def needs(settings):
    return Needs(intervals=(settings.interval,), history=5)"""
MEAN = """from dataclasses import dataclass

@dataclass
class Mean:
    open: float

"""


def test_fields_that_nobody_changes_are_those_of_a_closed_bar() -> None:
    """The check of a strategy's file knows each by its name."""
    assert frozenset(ClosedBar.__slots__) == BAR_FIELDS


SEEN = ("Ema", "Macd", "Sma")


def test_updates_that_answer_are_those_that_are_named() -> None:
    """The list of indicators whose `update` returns a value is that of their files."""
    answering = {
        cls.name
        for module in FEATURES
        for cls in ast.parse(Path(import_module(module).__file__ or "").read_text("utf-8")).body
        if isinstance(cls, ast.ClassDef)
        for item in cls.body
        if isinstance(item, ast.FunctionDef) and item.name == "update" and item.returns is not None
        if ast.unparse(item.returns) != "None"
    }

    assert answering == ANSWERING


def test_two_classes_or_none_are_refused(tmp_path: Path) -> None:
    """A file with two strategy classes, or none, is refused."""
    path = written(tmp_path, on_tick("return None"))
    text = path.read_text(encoding="utf-8") + "\n\nclass Second(Mine):\n    pass\n"

    for wrong, names in ((text, "Mine, Second"), ("x = 1\n", "none")):
        digest = hashlib.sha256(wrong.encode()).hexdigest()
        with pytest.raises(RunStop, match=f"expected one class .* found {names}"):
            own_strategy("mine.py", wrong, digest)


def test_strategy_that_follows_prices_is_refused_with_what_there_is_instead() -> None:
    """`TradeStrategy` is refused with its replacement, as no strategy has a private way."""
    text = "from minibot.strategies.protocol import TradeStrategy\n\nclass A(TradeStrategy): pass\n"

    with pytest.raises(RunStop, match=r"imports TradeStrategy .* there are: .*Strategy, Tick"):
        own_strategy("mine.py", text, hashlib.sha256(text.encode()).hexdigest())


# --- parameters and what a profile chooses --------------------------------------------------------

PARAMETERS = (
    'PARAMETERS = (whole("fast", 3, low=1, high=9, what="x"),)\n\n'
    "def __init__(self, settings):\n    self.fast = settings.whole('fast')\n\n"
    + on_tick("return hold(f'{self.fast}')")
)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"fats": 3}, "unknown parameter; did you mean fast?"),
        ({"qwxzj": 3}, "unknown parameter; this strategy takes fast"),
        ({"fast": 10}, "allowed: a whole number from 1 to 9"),
        ({"fast": True}, "allowed: a whole number from 1 to 9"),
        ({"fast": "3"}, "allowed: a whole number from 1 to 9"),
    ],
)
def test_parameters_that_a_strategy_does_not_declare_are_refused(
    tmp_path: Path, parameters: dict[str, Any], told: str
) -> None:
    """Unknown parameters are refused with the nearest name, wrong values with the allowed ones."""
    path = written(tmp_path, PARAMETERS)
    with pytest.raises(ConfigError) as caught:
        Trial(path, **parameters)

    assert told in caught.value.violations[0]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("(whole('a', 1, low=0, high=3, what='x'))", "a tuple of one ends with a comma"),
        ("('a',)", "expected a tuple of whole, number, flag and choice, found ('a',)"),
        ("None", "expected a tuple of whole, number, flag and choice, found None"),
        ("(whole('a', 9, low=0, high=3, what='x'),)", "a: default 9; allowed: a whole number"),
        ("(whole('a', 1, low=0, high=3, what='x'),) * 2", "a is declared more than once"),
        ("(whole('a', 1, low='x', high=3, what='x'),)", "a: default 1; allowed: a whole number"),
    ],
)
def test_parameters_that_are_declared_wrongly_are_refused(
    tmp_path: Path, declared: str, told: str
) -> None:
    """Wrongly declared parameters are refused in words before any run."""
    with pytest.raises(ConfigError) as caught:
        Trial(written(tmp_path, f"PARAMETERS = {declared}"))

    assert told in caught.value.violations[0]


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("whole('a', 1, low='x', high=3, what='x')", "allowed: a whole number from x to 3"),
        ("number('a', '1', low='1', high='x', what='x')", '("1.5") from 1 to x'),
    ],
)
def test_value_of_a_parameter_with_bounds_that_are_no_numbers_is_refused(
    tmp_path: Path, declared: str, told: str
) -> None:
    """A profile's value that no bound can judge is refused by its key, like a default."""
    path = written(tmp_path, f"PARAMETERS = ({declared},)")
    path.write_text(path.read_text("utf-8").replace("sell, whole", "number, sell, whole"), "utf-8")
    with pytest.raises(ConfigError) as caught:
        Trial(path, a=2)

    assert caught.value.violations[0].startswith("strategy.parameters.a = 2: ")
    assert told in caught.value.violations[0]


def test_history_that_a_table_lacks_is_named_for_its_interval() -> None:
    """The refusal gives the whole table, so that it can be copied."""
    profile = load_config(PROFILE, ['market.warmup_bars={"1s": 600, "1m": 60}']).raw
    found = chosen.needs_violations(Needs(("1s", "1m"), history=500), profile)

    assert found == [
        'it needs 500 bars of history; market.warmup_bars is {"1m":60,"1s":600}: set '
        'market.warmup_bars={"1m":500,"1s":600}'
    ]


def test_parameters_reach_the_strategy(tmp_path: Path) -> None:
    """A parameter comes from the profile, else from its default."""
    path = written(tmp_path, PARAMETERS)
    reasons = [trial.trades([100.0])[0].reason for trial in (Trial(path), Trial(path, fast=7))]

    assert reasons == ["HOLD: 3", "HOLD: 7"]


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ("Needs(intervals=('5m',))", "add 5m"),
        ("Needs(intervals=('1s',), history=500)", "set market.warmup_bars=500"),
        ("Needs(symbols=('ETHUSDT',))", "ETHUSDT, which is not among binance.symbols"),
        ("Needs(feeds=('mood'))", "feeds = 'mood': expected a tuple of texts"),
        ("Needs(('1s'))", "intervals = '1s': expected a tuple of texts"),
        ("Needs(symbols=('BTCUSDT'))", "symbols = 'BTCUSDT': expected a tuple of texts"),
        ("Needs(('1s',), history=-1)", "history = -1: expected a whole number"),
        ("Needs(('1s',), history='20')", "history = '20': expected a whole number"),
        ("Needs(('1s',), 20, (), -1)", "hole_bars_max = -1: expected a whole number"),
        ("None", "needs() returns None; expected Needs(...)"),
    ],
)
def test_needs_that_the_profile_does_not_give_are_refused(
    tmp_path: Path, needs: str, told: str
) -> None:
    """Needs that the profile does not meet are refused before the night."""
    written(tmp_path, f"@staticmethod\ndef needs(settings):\n    return {needs}")
    profile = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"]).raw
    with pytest.raises(ConfigError) as caught:
        chosen.judge(profile)

    assert told in caught.value.violations[0]


def test_shipped_names_are_the_same_where_files_are_read_and_where_classes_are() -> None:
    """The list of shipped names equals the shipped classes."""
    assert sorted(own_source.SHIPPED) == sorted(chosen.SHIPPED)


def test_unknown_strategy_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    """An unknown strategy is refused with the nearest name and the verb that makes one."""
    written(tmp_path, on_tick("return None"), "dip_buyer")
    sets = ["strategy.name=dip_bayer", f"strategy.folder={tmp_path}"]
    with pytest.raises(ConfigError) as caught:
        load_config(PROFILE, sets)

    assert "did you mean dip_buyer?" in caught.value.violations[0]
    assert "minibot new-strategy dip_bayer" in caught.value.violations[0]


@pytest.mark.parametrize("folder", ["minibot/strategies", "../elsewhere", ""])
def test_folder_inside_the_package_or_out_of_the_way_is_refused(folder: str) -> None:
    """A strategy folder inside the package, or outside the project, is refused."""
    with pytest.raises(ConfigError, match="violation"):
        load_config(PROFILE, ["strategy.name=x", f"strategy.folder={folder}"])


@pytest.mark.parametrize("name", ["profile.json", "manifest.json"])
def test_source_given_by_hand_is_refused(tmp_path: Path, name: str) -> None:
    """A `source` written into a profile by hand is refused, in a file of any name."""
    raw = load_config(
        PROFILE, ["strategy.name=mine", f"strategy.folder={written(tmp_path, '').parent}"]
    ).raw
    (tmp_path / name).write_bytes(encode(raw))
    with pytest.raises(ConfigError) as told:
        load_config(tmp_path / name)
    with pytest.raises(ConfigError) as caught:
        load_config(PROFILE, ["strategy.source.text=x"])

    for refused in (told.value, caught.value):
        assert any("strategy.source" in violation for violation in refused.violations)


@pytest.mark.process
def test_file_with_a_byte_order_mark_is_the_same_strategy_as_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python runs such a file of an editor on Windows; no text begins with the mark."""
    path = written(tmp_path, on_tick("return buy('as it is')"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    plain = load_config(PROFILE, sets).raw
    path.write_bytes(BOM_UTF8 + path.read_bytes())

    marked = load_config(PROFILE, sets).raw

    assert marked == plain
    assert own_source.change_since(plain) == ""
    assert _said(marked) == "BUY: as it is"
    assert findings(path) == []
    assert cli(["strategy-check", str(path)]) == 0
    assert plain["strategy"]["source"]["sha256"] in capsys.readouterr().out


def test_profile_holds_the_text_that_decides_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    """The run's own text decides in a replay; a changed file is reported."""
    path = written(tmp_path, on_tick("return buy('as it was')"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    before = load_config(PROFILE, sets).raw
    assert own_source.change_since(before) == ""
    path.write_text(path.read_text(encoding="utf-8").replace("as it was", "as it is"))
    after = load_config(PROFILE, sets).raw

    digest = hashlib.sha256(before["strategy"]["source"]["text"].encode()).hexdigest()
    assert before["strategy"]["source"]["sha256"] == digest
    assert "has changed since" in own_source.change_since(before)
    assert _said(before) == "BUY: as it was"
    assert _said(after) == "BUY: as it is"
    hashes = {chosen.choose(raw).params_hash for raw in (before, after)}
    assert len(hashes) == 2
    path.unlink()
    assert "is gone since" in own_source.change_since(before)


def test_recorded_strategy_that_is_named_anew_is_the_file_as_it_is_now(tmp_path: Path) -> None:
    """After a STRATEGY_ERROR the corrected file is tried on the night's market by its own name."""
    path = written(tmp_path, on_tick("return buy('as it was')"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    night = load_config(PROFILE, sets).raw
    path.write_text(path.read_text(encoding="utf-8").replace("as it was", "corrected"))

    assert _said(config_with(night, ["seed=5"]).raw) == "BUY: as it was"
    assert _said(config_with(night, ["strategy.name=mine"]).raw) == "BUY: corrected"


def _said(raw: JsonObject) -> str:
    cls = chosen.choose(raw).cls
    answer = cls(chosen.choose(raw).settings).on_tick(None, None)  # type: ignore[arg-type]
    assert answer is not None
    return answer.reason


def test_source_that_was_changed_in_the_manifest_is_refused(tmp_path: Path) -> None:
    """A source in the manifest must have the sha256 beside it."""
    written(tmp_path, on_tick("return None"))
    raw = load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"]).raw
    raw["strategy"]["source"]["text"] += "\n"

    with pytest.raises(RunStop, match="expected sha256"):
        chosen.choose(raw)


# --- state after a restart -----------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.fractions()
)


def held(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values that hold others."""
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(lambda items: deque(items, maxlen=5))
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    )


# As deep as dicts may be for a snapshot.
VALUES = SCALARS | held(SCALARS | held(SCALARS | held(SCALARS)))


class Owner:
    """Object with attributes; it has only those that were set."""

    value: Any
    gone: Any
    ema: Any


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_kept_attribute_comes_back_equal_and_of_the_same_kind(value: Any) -> None:
    """An attribute is restored through canonical JSON to the last bit."""
    one, other = Owner(), Owner()
    one.value = value
    other.gone = 3
    put_back(other, decode(encode(kept(one))))

    assert vars(other) == vars(one)
    assert repr(vars(other)) == repr(vars(one))


def test_kept_indicator_goes_on_with_the_same_numbers() -> None:
    """Indicators of minibot.features are kept without code of the strategy."""
    one, other = Owner(), Owner()
    one.ema = Ema(3)
    for price in (1.1, 2.2, 3.3, 4.4):
        one.ema.update(price)
    put_back(other, decode(encode(kept(one))))

    assert other.ema.update(0.7) == one.ema.update(0.7)


@dataclass
class Noted:
    """Record that changes after it was made."""

    z: list[int]
    a: list[int]
    n: int = 0


def test_object_with_several_names_comes_back_as_one_object() -> None:
    """Two names of one list, record or indicator name one object after a restart, too."""
    one, other = Owner(), Owner()
    one.ema, numbers = Ema(3), [1]
    noted, by_name = Noted([5], numbers), {"fast": one.ema}
    queue = deque([noted, numbers], maxlen=2)
    one.value = (one.ema, [numbers], by_name, queue, noted.z, noted, by_name, (1, 2), (1, 2))
    put_back(other, decode(encode(kept(one))))
    ema, (inner,), named, back, z, record, again, *_ = other.value

    assert repr(other.value[1:2] + other.value[4:6]) == repr(one.value[1:2] + one.value[4:6])
    assert ema is other.ema
    assert named is again
    assert named["fast"] is ema
    assert back[0] is record
    assert record.z is z
    assert inner is record.a
    assert inner is back[1]


def test_own_dataclass_is_kept_and_a_stranger_is_refused_by_name(tmp_path: Path) -> None:
    """The strategy's own dataclass is kept; other types are refused by name at once."""
    body = "def __init__(self, settings):\n    self.wish = Wish(1, 2.5)\n\n" + on_tick(
        "self.wish = Wish(self.wish.n + 1, tick.price)", "return hold(f'{self.wish.n}')"
    )
    path = written(tmp_path, body)
    text = path.read_text(encoding="utf-8").replace(
        "\n\nclass Mine",
        "\nfrom dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass Wish:\n"
        '    """A wish."""\n\n    n: int\n    price: float\n\n\nclass Mine',
    )
    path.write_text(text, encoding="utf-8")
    trial = Trial(path)
    trial.trade(100.0)
    trial.restart()
    assert trial.view.symbol == SYMBOL

    path.write_text(text.replace("self.wish = Wish(1, 2.5)", "self.wish = iter([1])"))
    with pytest.raises(ConfigError) as caught:
        Trial(path)
    assert "Mine.wish holds a list_iterator" in caught.value.violations[0]


@pytest.mark.parametrize(
    ("shared", "value", "told"),
    [
        ("class Mode(StrEnum):\n    UP = 'up'\n", "Mode.UP", "Mine.kept holds a Mode"),
        ("@dataclass\nclass Box:\n    n: int = 1\n", "Box", "Mine.kept holds a type"),
        (
            "def made():\n    @dataclass\n    class Box:\n        n: int = 1\n\n    return Box()\n",
            "[made()]",
            "Mine.kept[0] holds a Box",
        ),
        (
            "@dataclass\nclass Leg:\n    price: float\n\n    def __post_init__(self):\n"
            "        self.tries = 0\n",
            "{'a': Leg(1.5)}",
            "Mine.kept['a'].tries is not a field of Leg",
        ),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_by_name(
    tmp_path: Path, shared: str, value: str, told: str
) -> None:
    """A value that would be restored as another type, or not whole, is refused by name."""
    imports = "from dataclasses import dataclass\nfrom enum import StrEnum\n\n\n"
    path = written(tmp_path, f"def __init__(self, settings):\n    self.kept = {value}")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("class Mine", f"{imports}{shared}\n\nclass Mine"))

    with pytest.raises(ConfigError) as caught:
        Trial(path)
    assert told in caught.value.violations[0]


def test_count_of_a_record_that_is_no_field_is_refused_once_it_counts(tmp_path: Path) -> None:
    """A name without its type is one of the class: a restart would silently begin it anew."""
    body = "def __init__(self, settings):\n    self.leg = Leg(1.5)\n\n" + on_tick(
        "self.leg.tries += 1", "return hold(f'{self.leg.tries}')"
    )
    path = written(tmp_path, body)
    leg = "@dataclass\nclass Leg:\n    price: float\n    tries = 0\n\n\nclass Mine"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        text.replace("class Mine", f"from dataclasses import dataclass\n\n\n{leg}", 1),
        encoding="utf-8",
    )
    trial = Trial(path)
    trial.restart()
    trial.trade(100.0)

    with pytest.raises(RunStop, match=r"Mine\.leg\.tries is not a field of Leg") as caught:
        trial.restart()
    assert caught.value.reason_code == "STRATEGY_ERROR"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def state(self):\n    return {'a': 1 // 0}", "line 10: ZeroDivisionError"),
        ("def state(self):\n    return None", "state() gives what no snapshot can keep"),
        ("def state(self):\n    return {'a': 1.5}", "state() gives what no snapshot can keep"),
        ("def restore(self, state):\n    self.a = state['a']", "line 10: KeyError"),
        (
            "def __init__(self, settings):\n    self.a = []\n    self.a.append(self.a)",
            "holds itself",
        ),
    ],
)
def test_state_that_cannot_be_kept_or_given_back_is_refused_before_anything_runs(
    tmp_path: Path, body: str, told: str
) -> None:
    """State that cannot be kept or restored is refused before the run."""
    with pytest.raises(ConfigError) as caught:
        Trial(written(tmp_path, body))

    assert told in caught.value.violations[0]


def test_state_is_tried_for_a_symbol_that_the_strategy_trades(tmp_path: Path) -> None:
    """The first symbol of the profile may be one for which the strategy's class is never made."""
    body = (
        "def __init__(self, settings):\n    self.a = Strategy\n\n"
        "@staticmethod\ndef needs(settings):\n    return Needs(symbols=('ETHUSDT',))\n\n"
    )
    written(tmp_path, body + on_tick("return None"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    profile = load_config(PROFILE, [*sets, 'binance.symbols=["BTCUSDT","ETHUSDT"]']).raw

    with pytest.raises(ConfigError) as caught:
        chosen.judge(profile)

    assert "Mine.a holds a" in caught.value.violations[0]


def needing(words: str, *lines: str) -> str:
    """Return the body of a strategy with these needs, and an `on_bar` with these lines."""
    declared = f"@staticmethod\ndef needs(settings):\n    return Needs({words})"
    on_bar = "\n".join(["def on_bar(self, bar, view):", *(f"    {line}" for line in lines)])
    return f"{declared}\n\n{on_bar}"


@pytest.mark.parametrize(
    "words",
    [
        "intervals=(settings.interval,)",
        "intervals=(settings.interval,), history=1000",
        "intervals=(settings.interval, '1h'), history=50",
        "intervals=('15m',), history=50",
        "intervals=(settings.interval,), symbols=('ETHUSDT',)",
        "intervals=('4h',), symbols=('ETHUSDT', 'BTCUSDT'), feeds=('mood',)",
    ],
)
def test_trial_brings_what_a_strategy_declares(words: str, tmp_path: Path) -> None:
    """History, bars and markets that the trial's profile lacks are no fault of the strategy."""
    path = written(tmp_path, needing(words, "return sell('due') if view.is_long else buy('due')"))

    assert wave_fault(lambda: Trial(path), "mine.py") == ""


@pytest.mark.parametrize(
    "words", ["intervals=(settings.interval,)", "intervals=(settings.interval, '1h')"]
)
def test_error_of_a_strategy_is_told_whatever_it_declares(words: str, tmp_path: Path) -> None:
    """The trial comes as far as the strategy's own fault."""
    path = written(tmp_path, needing(words, "return True"))

    assert "found bool" in wave_fault(lambda: Trial(path), "mine.py")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("intervals=(settings.interval,), history=1001", "market.warmup_bars = 1001"),
        ("intervals=('7m',)", "it needs bars of 7m"),
        ("intervals=('1M',)", "it needs bars of 1M"),
        ("symbols=('eth/usdt',)", '"eth/usdt"'),
        ("intervals='1h'", "expected a tuple of texts"),
        ("intervals=('1h',), history='100'", "expected a whole number"),
    ],
)
def test_needs_that_no_profile_meets_are_refused_by_a_trial(
    words: str, told: str, tmp_path: Path
) -> None:
    """The trial brings nothing that a night could not."""
    with pytest.raises(ConfigError) as caught:
        Trial(written(tmp_path, needing(words, "return None")))

    assert told in "\n".join(caught.value.violations)


def test_state_that_fails_later_stops_with_its_line(tmp_path: Path) -> None:
    """State that fails later stops the run at its first snapshot, with the line."""
    body = on_tick("self.n = 0") + "\n\ndef state(self):\n    return {'a': 1 // self.n}"
    body = "n = 1\n\n" + body
    trial = Trial(written(tmp_path, body))
    trial.trade(100.0)

    with pytest.raises(RunStop, match="line 15: ZeroDivisionError"):
        trial.restart()


@pytest.mark.parametrize(
    ("begin", "then", "state", "told"),
    [
        ("1", "1.5", "{'a': self.z}", "state() gives what no snapshot can keep in 'a': a float"),
        ("1", "{1: 2}", "{'a': self.z}", "state() gives what no snapshot can keep in 'a': not"),
        ("{'a': 1}", "[1]", "self.z", "state() gives what no snapshot can keep: a list"),
        ("{}", "{'1m': {'up': {'tops': deque([1.0])}}}", "", "Mine.z['1m']['up']['tops'][0] "),
        ("''", "'\\ud83d'", "", "state() gives what no snapshot can keep in 'z': not"),
    ],
)
def test_state_that_no_snapshot_can_keep_later_is_the_strategys_error(
    tmp_path: Path, begin: str, then: str, state: str, told: str
) -> None:
    """A float, an odd key, no dict, too many levels and half a character stop with their name."""
    lines = ("from collections import deque", f"self.z = {then}")
    body = f"def __init__(self, settings):\n    self.z = {begin}\n\n" + on_tick(*lines)
    if state:
        body += f"\n\ndef state(self):\n    return {state}\n\n"
        body += f"def restore(self, state):\n    self.z = {begin}"
    trial = Trial(written(tmp_path, body))
    trial.restart()
    trial.trade(100.0)

    with pytest.raises(RunStop) as caught:
        trial.restart()
    assert caught.value.reason_code == "STRATEGY_ERROR"
    assert told in caught.value.detail


OWN_STATE = (
    "\n\ndef state(self):\n    return {'z': self.z}"
    "\n\ndef restore(self, state):\n    self.z = state['z']"
)


def nested(levels: int) -> list[Any]:
    """Return a list in lists, so many in all."""
    found: list[Any] = []
    for _ in range(levels - 1):
        found = [found]
    return found


@pytest.mark.parametrize("own", ["", OWN_STATE])
def test_deepest_state_that_is_taken_fits_a_snapshot(tmp_path: Path, own: str) -> None:
    """A level more is refused, though the core's state alone would still have a place for it."""
    begin = on_tick("return None") + "\n\ndef __init__(self, settings):\n    self.z = "
    fits = Trial(written(tmp_path, f"{begin}{nested(11)}{own}"))
    data = {"core": fits._core.state(), "outputs": {}}
    write_hashed(tmp_path / "snapshot.json", data)

    assert read_hashed(tmp_path / "snapshot.json")["core"] == data["core"]
    with pytest.raises(ConfigError) as caught:
        Trial(written(tmp_path, f"{begin}{nested(12)}{own}"))
    assert "no snapshot can keep" in caught.value.violations[0]


# --- position and bars ----------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(
    orders=st.lists(
        st.tuples(st.booleans(), st.integers(1, 10**9), st.integers(1, 10**12)), max_size=12
    )
)
def test_position_has_the_quantity_and_average_price_of_the_portfolio(
    orders: list[tuple[bool, int, int]],
) -> None:
    """The position's quantity and price equal the portfolio's, to the last digit."""
    portfolio = Portfolio.from_opening(RunOpening({"USDT": "9" * 20}, (), {}))
    position = Position(SYMBOL)
    for n, (is_buy, qty, price) in enumerate(orders):
        if not is_buy:
            qty = min(qty, portfolio.position_qty(SYMBOL))
        if not qty:
            continue
        fill = Fill(
            f"o{n}", f"c{n}", SYMBOL, BUY if is_buy else SELL, amount_text(qty),
            amount_text(price), "0", "USDT", "TAKER",
        )  # fmt: skip
        portfolio.apply(fill, n)
        position.apply(FillMessage.read(fill), "BTC")

        held = portfolio.position_qty(SYMBOL)
        assert Decimal(position.text) == Fraction(held, 10**8)
        average = amount_text(portfolio.entry_price_avg(SYMBOL)) if held else ""
        assert position.entry_price_avg_text == average


def bar(n: int, close: float = 100.0) -> ClosedBar:
    """Return the n-th bar of a minute."""
    return ClosedBar("1m", n * 60_000, close, close, close, close, 1.0, True)


def series_of(numbers: list[int]) -> list[int]:
    series = BarSeries("1m", bars_max=4, hole_bars_max=2)
    for number in numbers:
        series.add(bar(number))
    return [each.open_ts // 60_000 for each in series.bars]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 3, 4, 5, 6], [3, 4, 5, 6]),
        ([1, 2, 2, 1, 3], [1, 2, 3]),
        ([1, 2, 5], [1, 2, 5]),
        ([1, 2, 6], [6]),
    ],
)
def test_bars_are_the_last_ones_in_order_each_once(numbers: list[int], expected: list[int]) -> None:
    """Bars are the last declared ones, in order and once; a long hole empties them."""
    assert series_of(numbers) == expected


def test_bar_that_cannot_be_empties_the_series() -> None:
    """A bar with a price of zero empties the series."""
    series = BarSeries("1m", 4, 2)
    series.add(bar(1))

    assert not series.add(bar(2, close=0.0))
    assert series.bars == ()


def test_decision_says_what_it_was_made_with() -> None:
    """A decision keeps its values, although the strategy changes its own list later."""
    mine = [decision.check("rsi", "29.5", "< 30")]
    said = decision.buy("it is cheap", mine)
    mine.clear()

    assert [check.name for check in said.checks] == ["rsi"]


# --- view of a strategy --------------------------------------------------------------------------


ETH_BAR = Bar("ETHUSDT", "1s", START, START + 999, "1", "1", "1", "1", "1", is_history=False)


def shown(feed: Feed) -> View:
    """Return the view that the strategy of the feed's symbol gets."""
    return feed.core.view(FEED_SYMBOL)


def test_view_follows_what_an_operator_forbids() -> None:
    """The view follows halt, resume, locks and the end of the run."""
    feed = Feed()
    may_buy = []
    events: list[Payload] = [
        Halt("op", "news"),
        Resume("op", "over"),
        LockSymbol("op", "news", FEED_SYMBOL, feed.ts + 5_500),
        LockSymbol("op", "news", FEED_SYMBOL),
    ]
    for payload in events:
        feed.take(payload, queue="control")
        feed.bar(PRICE)
        may_buy.append(shown(feed).may_buy)
        feed.bar(PRICE)
        may_buy.append(shown(feed).may_buy)

    assert may_buy == [False, False, True, True, False, True, False, False]
    fresh = Feed()
    fresh.ending()
    fresh.take(ETH_BAR)
    assert not fresh.core.view("ETHUSDT").may_buy


def test_view_knows_what_risk_decided_and_has_left() -> None:
    """The view has risk's decision and headroom from the risk_action, after a restart too."""
    feed = Feed()
    action = RiskAction(
        "BLOCK", "cooldown", symbol=FEED_SYMBOL, headroom={"night_loss": "149.45412675"}
    )
    assert feed.take(action, queue="risk_actions") == []
    restored = core_from_state(feed_config(), decode(encode(feed.core.state())))

    for view in (shown(feed), restored.view(FEED_SYMBOL)):
        assert (view.risk_action, view.risk_code) == ("BLOCK", "cooldown")
        assert view.headroom("night_loss") == Decimal("149.45412675")
        assert view.headroom("cash") is None


def test_view_of_another_symbol_is_the_same_object_that_its_strategy_sees() -> None:
    """Another symbol's view is the object of its own strategy; an unknown symbol has none."""
    feed = Feed()
    feed.take(ETH_BAR)

    assert shown(feed).of("ETHUSDT") is feed.core.view("ETHUSDT")
    assert shown(feed).of("XRPUSDT") is None


def test_view_of_a_silent_symbol_has_the_time_of_this_call() -> None:
    """Another symbol's ages and locks are those of now, however long ago it was heard of."""
    feed = Feed()
    feed.take(ETH_BAR)
    feed.take(LockSymbol("op", "news", "ETHUSDT", feed.ts + 2_500), queue="control")
    answers = []
    for _ in range(3):
        feed.bar(PRICE)
        other = shown(feed).of("ETHUSDT")
        assert other is not None
        answers.append((other.now, other.may_buy))

    assert answers == [(START + 1000, False), (START + 2000, False), (START + 3000, True)]


def test_strategy_is_asked_about_its_own_symbols_alone(tmp_path: Path) -> None:
    """A strategy is called for its own symbols alone."""
    needs = f"@staticmethod\ndef needs(settings):\n    return Needs(symbols=({SYMBOL!r},))\n\n"
    written(tmp_path, needs + on_tick("return buy('anything')"))
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    core = core_from_config(load_config(PROFILE, sets).raw)

    fields = {}
    for symbol in (SYMBOL, "ETHUSDT"):
        tick = core.view(symbol).tick
        tick.ts = tick.exchange_ts = START
        fields[symbol] = bool(core.process(tick, 1, START))
    assert fields == {SYMBOL: True, "ETHUSDT": False}


@pytest.mark.parametrize(("waited_ms", "is_filled"), [(999, True), (1_000, False)])
def test_limit_of_a_trial_is_filled_within_its_validity_alone(
    waited_ms: int, is_filled: bool, tmp_path: Path
) -> None:
    """The first trade at the limit comes as it ends, and then buys nothing, as in a night."""
    path = written(
        tmp_path,
        on_tick(
            "if tick.price == 100.0:",
            "    return buy('dip', limit='99', valid_ms=1_000)",
        ),
    )
    trial = Trial(path)
    assert trial.trade(100.0) is not None
    trial.now += waited_ms - 100  # A trade takes as long.
    trial.trades([98.0, 98.0])

    assert trial.view.is_long == is_filled


@pytest.mark.parametrize("price", ["0.07", "1.34", "9998.04"])
def test_limit_of_a_trial_is_filled_by_a_trade_at_its_price(price: str, tmp_path: Path) -> None:
    """A price whose float lies a hair above its decimal text is at the limit all the same."""
    path = written(
        tmp_path, on_tick(f"return None if view.is_long else buy('dip', limit='{price}')")
    )
    trial = Trial(path)
    trial.trade(float(price))
    trial.trade(float(price))

    assert trial.view.is_long


def test_limit_of_a_trial_is_filled_at_its_own_price(tmp_path: Path) -> None:
    """A market that falls through a resting purchase fills it at its limit, as in a night."""
    body = "return buy('dip', limit='99.5') if tick.price == 100.0 else None"
    trial = Trial(written(tmp_path, on_tick(body)))
    trial.trades([100.0, 98.0])

    assert trial.view.entry_price_avg == Decimal("99.5")


def test_sale_in_a_trial_withdraws_the_purchase_that_rests(tmp_path: Path) -> None:
    """A night buys nothing any more after such a SELL, though there is nothing to sell."""
    path = written(
        tmp_path,
        on_tick(
            "if tick.price == 100.0:",
            "    return buy('dip', limit='99')",
            "return sell('too high by now') if tick.price > 101 else None",
        ),
    )
    trial = Trial(path)
    trial.trade(100.0)
    decision = trial.trade(102.0)
    trial.trades([98.0, 98.0])

    assert decision is not None
    assert decision.side == "SELL"
    assert not trial.view.is_long


SELLS_PARTS = "if tick.price < 96:\n    return None if view.is_long else buy('low')\n" + (
    "return sell('a part', {}) if view.is_long else None"
)


@pytest.mark.parametrize(
    "part", ["share_bps=3_333", "qty='0.1234567'", "notional='30'", "share_bps=1"]
)
def test_strategy_that_sells_parts_passes_its_trial(part: str, tmp_path: Path) -> None:
    """A part of a part has more places than the venue takes, as in a night, which rounds it."""
    path = written(tmp_path, on_tick(*SELLS_PARTS.format(part).splitlines()))

    assert wave_fault(lambda: Trial(path), "mine.py") == ""


def test_part_of_a_trial_is_sold_in_steps_until_the_rest_is_too_small(tmp_path: Path) -> None:
    """Less than the venue's least value, 5 USDT, is neither sold alone nor left behind."""
    line = "return sell('a part', share_bps=int(tick.qty)) if view.is_long else buy('flat')"
    trial = Trial(written(tmp_path, on_tick(line)))
    held = []
    for share in (1, 3_333, 1_000, 500, 9_200, 1):
        trial.trade(100.0, share)
        held.append(trial.view.position)

    assert held == [Decimal(text) for text in ("0", "1", "0.6667", "0.60003", "0.60003", "0")]


def test_trial_takes_the_signal_behind_a_scan(tmp_path: Path) -> None:
    """A bar may cause the events of a scan and a signal; the decision is noted and filled."""
    body = needing(
        "intervals=(settings.interval,)", "return sell('out') if view.is_long else buy('in')"
    )
    written(tmp_path, body)
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}", "strategy.bar_interval=1m"]
    profile = load_config(PROFILE, sets).raw
    profile["scanner"] = {"bar_interval": "1m", "every_market_ms": 60_000}
    trial = Trial.of(profile)

    said = trial.bars([100.0] * 4)

    assert [decision.side for decision in said] == ["BUY", "SELL", "BUY", "SELL"]
    assert trial.decisions == said


def test_second_purchase_of_a_trial_is_filled_too(tmp_path: Path) -> None:
    """A strategy that scales in can be tried: each BUY is a purchase, a SELL while flat is none."""
    path = written(tmp_path, on_tick("return buy('low') if tick.price < 96 else sell('high')"))
    trial = Trial(path)
    trial.trades([100.0, 95.0, 95.0, 91.0, 100.0])
    position, price = trial.view.position, trial.view.entry_price_avg
    trial.trade(100.0)

    assert position == 3
    assert price is not None
    assert price.quantize(Decimal("0.01")) == Decimal("95.33")
    assert trial.view.position == 0


@pytest.mark.parametrize("price", [0.5, 0.001234, 0.0000045])
def test_cheap_coin_of_a_trial_is_bought_at_its_price_between_bid_and_ask(
    price: float, tmp_path: Path
) -> None:
    """Enough coins are bought to be sold again, and the touch is above nothing."""
    trial = Trial(written(tmp_path, on_tick("return None if view.is_long else buy('cheap')")))
    trial.trades([price, price])

    assert trial.view.is_long
    assert trial.view.entry_price_avg == Decimal(f"{price:.8f}")
    assert 0.0 < trial.view.bid < price < trial.view.ask


def test_weeks_of_a_trial_begin_on_monday() -> None:
    """Its bars lie as the venue's do, and a week closes as a Monday begins."""
    profile = feed_config(name="ma_cross", bar_interval="1w")
    profile["market"]["bar_intervals"] = ["1w", *profile["market"]["bar_intervals"]]
    trial = Trial.of(profile)
    trial.bar(100.0, "1w")
    (handed,) = trial.view.bars("1w")
    trial.now = align(trial.now, WEEK_MS)
    trial.declared_bars(100.0)

    assert handed.open_ts == align(handed.open_ts, WEEK_MS)
    assert trial.view.bars("1w")[-1].open_ts == trial.now - WEEK_MS


FEEDS = "@staticmethod\ndef needs(settings):\n    return Needs(feeds=('mood',))\n\n" + on_tick(
    "return buy(str(view.feed('mood')))"
)


def test_strategy_reads_the_newest_value_of_a_feed_with_its_age(tmp_path: Path) -> None:
    """None before the first; exactly as the file has it; kept over a restart."""
    trial = Trial(written(tmp_path, FEEDS))
    trial.trade(100.0)
    before = trial.view.feed("mood")
    trial.feed("mood", "-0.50", age_ms=1_000)
    trial.feed("other", "7")
    trial.now += 10_000
    trial.trade(100.0)
    told = trial.view.feed("mood")
    trial.restart()

    assert before is None
    assert told == (Decimal("-0.50"), trial.now - 11_100, 11_100)
    assert str(told[0]) == "-0.50"
    assert trial.view.feed("mood") == told
    assert trial.decisions[-1].reason == f"BUY: {told}"


def test_feed_that_the_profile_or_the_strategy_does_not_name_is_refused(tmp_path: Path) -> None:
    """Before the night where the profile lacks it, at the first question where needs() does."""
    path = written(tmp_path, FEEDS)
    sets = [f"strategy.name={path.stem}", f"strategy.folder={tmp_path}"]
    with pytest.raises(ConfigError) as refusal:
        chosen.judge(load_config(PROFILE, sets).raw)
    undeclared = written(tmp_path, on_tick("return hold(str(view.feed('mood')))"), "other")

    assert "set market.feeds.mood" in refusal.value.violations[0]
    with pytest.raises(RunStop, match="not declared") as stop:
        Trial(undeclared).trade(100.0)
    assert "Needs(feeds=" in stop.value.detail


def test_state_of_a_strategy_without_feeds_names_none(tmp_path: Path) -> None:
    """Snapshots and digests of nights without feeds stay as they were."""
    assert "feeds" not in Feed().core.state()


def test_strategy_that_wants_no_trades_is_shown_quotes_alone(tmp_path: Path) -> None:
    """A strategy without trades is called for quotes alone, by events and by ticks."""
    answer = on_tick("return buy(f'{tick.is_trade} {tick.price} {tick.bid}')")
    path = written(tmp_path, QUOTES + answer)
    trial = Trial(path)

    assert trial.trade(100.0) is None
    quoted = trial.quote(101.0)
    assert quoted is not None
    assert quoted.reason == "BUY: False 100.0 100.99"
    core = Trial(path)._core
    tick = core.view(SYMBOL).tick
    fields = {}
    for is_trade in (True, False):
        tick.is_trade = is_trade
        fields[is_trade] = core.process(tick, 1, START)

    assert fields[True] is None
    assert fields[False]
    assert core.is_deaf_to_trades


def test_trades_are_answered_by_price_where_no_tick_is(tmp_path: Path) -> None:
    """`on_price` is shown each trade and no quote, and an error in it names its line."""
    answer = "def on_price(self, price, view):\n    return buy(f'{1 // int(price)} {view.now}')\n\n"
    path = written(tmp_path, answer)
    trial = Trial(path)

    said = trial.trade(2.0)
    tick = trial.view.tick
    tick.is_trade = False

    assert said is not None
    assert said.reason == f"BUY: 0 {trial.now}"
    assert trial._core.takes_prices
    assert not trial._core.is_deaf_to_trades
    assert trial._core.process(tick, 1, trial.now) is None
    with pytest.raises(RunStop, match=r"line \d+: ZeroDivisionError"):
        trial.trade(0.5)


def test_strategy_with_both_answers_is_refused_and_an_older_run_has_its_tick(
    tmp_path: Path,
) -> None:
    """A start refuses both `on_tick` and `on_price`; a replay of an older run calls `on_tick`."""
    both = "def on_price(self, price, view):\n    return buy('price')\n\n"
    path = written(tmp_path, both + on_tick("return buy('tick')"))
    with pytest.raises(ConfigError, match="mine") as refused:
        Trial(path)
    assert "of both on_tick alone is called" in refused.value.violations[0]

    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    core = core_from_config(load_config(PROFILE, sets).raw)
    tick = core.view(SYMBOL).tick
    tick.is_trade = True
    (said,) = drafts_of(core.process(tick, 1, START) or [])

    assert signals([said])[0].reason == "BUY: tick"
    assert not core.takes_prices


NO_TRADES = "@staticmethod\ndef needs(settings):\n    return Needs(trades=False)\n\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("def on_bar(self, bar, view):\n    return buy('bar')", "on_bar is never called"),
        (
            NO_TRADES + "def on_price(self, price, view):\n    return buy('price')",
            "on_price is never called",
        ),
        (needing("intervals=('1m',)").replace("on_bar", "on_bars") + "    pass", "never answers"),
    ],
)
def test_strategy_that_would_never_be_called_is_refused(
    body: str, told: str, tmp_path: Path
) -> None:
    """A method that nothing leads to is a slip: a night of it would trade nothing, silently."""
    with pytest.raises(ConfigError) as refused:
        Trial(written(tmp_path, body))

    assert len(refused.value.violations) == 1
    assert told in refused.value.violations[0]


def test_ticks_with_and_without_events_give_the_same_decisions() -> None:
    """Refilled ticks and stepped events give the same decisions."""
    by_event, by_tick = Feed(feed_config(name="ema_cross")), Feed(feed_config(name="ema_cross"))
    expected, found = [], []
    for n in range(600):
        price = PRICE + (n * 37 % 101) / 10 - abs(n % 150 - 75)
        by_event.ts = by_tick.ts = START + 100 * n
        expected += [signal.reason for signal in signals(by_event.trade(price, None))]
        tick = by_tick.core.view(FEED_SYMBOL).tick
        tick.ts = tick.exchange_ts = by_tick.ts
        tick.price, tick.qty, tick.is_trade = float(f"{price:.2f}"), 0.01, True
        tick.bid, tick.bid_qty = float(f"{price:.2f}"), 1.0
        tick.ask, tick.ask_qty, tick.is_taker_buy = float(f"{price + 0.01:.2f}"), 1.0, True
        drafts = drafts_of(by_tick.core.process(tick, n + 1, by_tick.ts) or [])
        found += [signal.reason for signal in signals(drafts)]

    assert found == expected
    assert len(found) > 3
    assert encode(by_tick.core.state()) == encode(by_event.core.state())


BOTH = (
    "@staticmethod\ndef needs(settings):\n    return Needs(intervals=('1s', '1m'), history=3)\n\n"
    "def __init__(self, settings):\n    self.gaps = 0\n    self.seen = []\n\n"
    "def on_gap(self, gap, view):\n    self.gaps += 1\n\n"
    "def on_bar(self, bar, view):\n    self.seen.append((bar.interval, bar.is_live))\n"
    "    return buy(f'{len(view.bars(bar.interval))} bars of {bar.interval}, {self.gaps} gaps')\n\n"
    + on_tick("return hold('tick')")
)


def own_feed(tmp_path: Path, body: str = BOTH, **changes: Any) -> Feed:
    """Return a feed whose core runs a strategy, by default `BOTH`."""
    written(tmp_path, body)
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    sets += [f"strategy.{key}={str(value).lower()}" for key, value in changes.items()]
    return Feed(load_config(PROFILE, sets).raw)


def seen(feed: Feed) -> list[list[Any]]:
    """Return the bars that `BOTH` recorded: interval and whether each was live."""
    kept_bars = feed.core.state()["symbols"][FEED_SYMBOL]["strategy"]["seen"]
    return [item["tuple"] for item in kept_bars]


def test_bars_of_history_are_shown_and_what_they_give_is_dropped(tmp_path: Path) -> None:
    """History bars are shown, and decisions on them dropped."""
    feed = own_feed(tmp_path)
    for _ in range(5):
        feed.ts += 1000
        assert feed.bare_bar(PRICE, is_history=True) == []

    assert seen(feed) == [["1s", False]] * 5
    assert signals(feed.bar(PRICE))[-1].reason == "BUY: 3 bars of 1s, 0 gaps"


def test_bars_that_are_old_or_not_declared_are_not_shown(tmp_path: Path) -> None:
    """Bars are shown once, in order, and only of the declared intervals."""
    feed = own_feed(tmp_path)
    feed.bar(PRICE)
    assert feed.bare_bar(PRICE) == []
    assert feed.bare_bar(PRICE, back=5_000) == []

    assert seen(feed) == [["1s", True]]


def test_bars_of_a_strategy_that_keeps_no_history_are_refused_with_what_gives_them(
    tmp_path: Path,
) -> None:
    """The interval is declared already, so the refusal names the history."""
    needed = QUOTES.replace("trades=False", "intervals=('1s',), history=0")
    path = written(tmp_path, needed + on_tick("return hold(str(view.bars('1s')))"))
    with pytest.raises(RunStop) as stop:
        Trial(path).trade(100.0)

    assert "Needs(history=" in stop.value.detail


@pytest.mark.parametrize("declared", ["('1s', '1m')", "('1m', '1s')"])
def test_bars_made_from_ticks_are_shown_long_ones_first_and_win_over_a_hold(
    declared: str, tmp_path: Path
) -> None:
    """A bar made from ticks precedes its tick's answer; bars that fill a hole are not live."""
    feed = own_feed(tmp_path, BOTH.replace("('1s', '1m')", declared), bars_from_ticks=True)
    start = feed.ts - feed.ts % 60_000 + 57_000
    for offset in (0, 3_000):
        feed.ts = start + offset
        said = signals(feed.trade(PRICE, feed.ts))

    assert seen(feed) == [["1m", True], ["1s", False], ["1s", False], ["1s", True]]
    assert [signal.reason for signal in said] == ["BUY: 3 bars of 1s, 0 gaps"]


def answering(tmp_path: Path, of_minute: str, of_second: str, of_trade: str) -> Feed:
    """Return a feed whose core makes bars of trades and answers as told; all end with a trade."""
    needs = "@staticmethod\ndef needs(settings):\n    return Needs(('1s', '1m'), history=3)\n\n"
    on_bar = f"def on_bar(self, bar, view):\n    return {of_minute} if bar.interval == '1m' else "
    body = f"{needs}{on_bar}{of_second}\n\n" + on_tick(f"return {of_trade}")
    path = written(tmp_path, body)
    text = path.read_text(encoding="utf-8").replace("import Needs", "import adjust, Needs")
    path.write_text(text, encoding="utf-8")
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}", "strategy.bars_from_ticks=true"]
    feed = Feed(load_config(PROFILE, sets).raw)
    feed.ts += 59_000 - feed.ts % 60_000
    return feed


BUYS, SELLS, HOLDS = "buy('x')", "sell('x')", "hold('x')"
ADJUSTS = "adjust('x', stop='1')"


@pytest.mark.parametrize(
    ("of_minute", "of_second", "of_trade", "told"),
    [
        (BUYS, HOLDS, "None", "BUY"),
        (SELLS, HOLDS, HOLDS, "SELL"),
        (SELLS, BUYS, BUYS, "SELL"),
        (SELLS, ADJUSTS, "None", "SELL"),
        (BUYS, SELLS, "None", "SELL"),
        (ADJUSTS, BUYS, "None", "BUY"),
        (BUYS, ADJUSTS, "None", "ADJUST"),
        ("None", BUYS, SELLS, "SELL"),
        ("None", ADJUSTS, SELLS, "SELL"),
        ("None", BUYS, ADJUSTS, "BUY"),
        ("None", HOLDS, BUYS, "BUY"),
        (BUYS, HOLDS, HOLDS, "BUY"),
    ],
)
def test_of_several_answers_to_one_trade_a_sale_counts_else_the_bars_order(
    tmp_path: Path, of_minute: str, of_second: str, of_trade: str, told: str
) -> None:
    """No hold displaces an order, and none displaces a SELL, whoever answered it."""
    at_bars = f"None if tick.ts % 60_000 else {of_trade}"
    feed = answering(tmp_path, of_minute, of_second, at_bars)
    assert feed.trade(PRICE, feed.ts) == []
    feed.ts += 1_000

    assert [signal.side for signal in signals(feed.trade(PRICE, feed.ts))] == [told]


@pytest.mark.parametrize(
    "answers",
    [("'BUY'", BUYS, "None"), ("None", "0", HOLDS), ("None", "'BUY'", HOLDS), (BUYS, BUYS, "'x'")],
)
def test_answer_to_one_trade_that_is_no_decision_stops_whatever_else_was_said(
    tmp_path: Path, answers: tuple[str, str, str]
) -> None:
    """A wrong answer at a bar made from trades, or beside one, is the strategy's error."""
    feed = answering(tmp_path, *answers[:2], f"None if tick.ts % 60_000 else {answers[2]}")
    feed.trade(PRICE, feed.ts)
    feed.ts += 1_000

    with pytest.raises(RunStop, match="expected a Decision of buy, sell, adjust") as caught:
        feed.trade(PRICE, feed.ts)
    assert caught.value.reason_code == "STRATEGY_ERROR"


@pytest.mark.parametrize(("stream", "gaps"), [("trade", 1), ("bookTicker", 1), ("depth", 0)])
def test_gap_is_told_unless_only_the_depth_of_the_book_is_touched(
    tmp_path: Path, stream: str, gaps: int
) -> None:
    """A gap is shown, except a gap of the book's depth, which shows in the view."""
    feed = own_feed(tmp_path)
    feed.gap(stream)

    assert signals(feed.bar(PRICE))[-1].reason == f"BUY: 1 bars of 1s, {gaps} gaps"
    assert shown(feed).is_book_broken is (stream == "depth")


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ("intervals=('1s',)", "HOLD: waits for fresh bars after a gap of 2000 ms"),
        ("", "HOLD: waits for fresh trades after a gap of 2000 ms"),
        ("trades=False", "HOLD: quote"),
        ("symbols=('ETHUSDT',)", "HOLD: the strategy has answered nothing yet"),
    ],
)
def test_reason_after_a_gap_names_what_the_strategy_waits_for(
    tmp_path: Path, needs: str, reason: str
) -> None:
    """Bars, trades if it takes no bars, and nothing for quotes alone or another symbol."""
    answers = on_tick("return hold('trade' if tick.is_trade else 'quote')")
    written(
        tmp_path, f"@staticmethod\ndef needs(settings):\n    return Needs({needs})\n\n{answers}"
    )
    feed = Feed(load_config(PROFILE, ["strategy.name=mine", f"strategy.folder={tmp_path}"]).raw)
    feed.trade(PRICE, feed.ts)
    feed.quote()
    feed.gap("trade")

    assert feed.core.facts()["reason"] == reason


def test_tick_of_somebody_else_is_refused() -> None:
    """A tick of another symbol is refused."""
    with pytest.raises(ValueError, match="not the core's own"):
        Feed().core.process(Tick(FEED_SYMBOL), 1, START)


# --- the verbs ------------------------------------------------------------------------------------


@pytest.mark.process
@pytest.mark.parametrize("example", EXAMPLES)
def test_new_strategy_writes_a_file_that_is_checked_and_a_test_that_passes(
    own_folder: Path, project: Path, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`new-strategy` writes a valid file and a passing test, and never overwrites one."""
    command = ["new-strategy", "my_idea", "--from", example, "--folder", str(own_folder)]
    assert cli(command) == 0
    assert cli(command) == 2
    assert cli(["strategy-check", str(own_folder / "my_idea.py")]) == 0
    assert "may run, sha256" in capsys.readouterr().out

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", str(own_folder)],
        cwd=project, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    written = (own_folder / "my_idea.py").read_text(encoding="utf-8")
    assert re.search(r"^class MyIdea\((Trade)?Strategy\):$", written, re.MULTILINE)


@pytest.mark.process
def test_strategy_check_finds_what_a_restart_would_lose(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`strategy check` finds a counter missing in `state` by a restart in its trial."""
    body = (
        "def __init__(self, settings):\n    self.box = [0]\n\n"
        "def state(self):\n    return {}\n\ndef restore(self, state):\n    return None\n\n"
        + on_tick("self.box[0] += 1", "return buy(f'tick {self.box[0]}')")
    )
    path = written(tmp_path, body)

    assert cli(["strategy-check", str(path)]) == 1
    assert "decides otherwise after a restart" in capsys.readouterr().out


@pytest.mark.parametrize("intervals", [("15m",), ("15m", "1d")])
def test_trial_shows_a_strategy_the_bars_that_it_declares(
    tmp_path: Path, intervals: tuple[str, ...]
) -> None:
    """A night's trial finds a counter missing in `state` on any interval, with enough history."""
    body = (
        "@staticmethod\ndef needs(settings):\n"
        f"    return Needs(intervals={intervals}, history=9)\n\n"
        "def __init__(self, settings):\n    self.box = [0]\n\n"
        "def state(self):\n    return {}\n\ndef restore(self, state):\n    return None\n\n"
        "def on_bar(self, bar, view):\n    self.box[0] += 1\n"
        f"    if all(len(view.bars(name)) == 9 for name in {intervals}):\n"
        "        return buy(f'bar {self.box[0]}')\n"
    )
    path = written(tmp_path, body)
    sets = ["strategy.name=mine", f"strategy.folder={tmp_path}"]
    sets += [f"market.bar_intervals={json.dumps(['1s', '1m', *intervals])}"]
    config = load_config(PROFILE, sets).raw

    assert "decides otherwise after a restart" in wave_fault(lambda: Trial.of(config), str(path))


@pytest.mark.process
def test_strategy_check_finds_what_is_kept_only_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`strategy check` finds state that fails only after the restart, by a last snapshot."""
    body = "def __init__(self, settings):\n    self.n = 0\n\n" + on_tick(
        "self.n += 1", "if self.n == 1_000:", "    self.rule = lambda: 1"
    )

    assert cli(["strategy-check", str(written(tmp_path, body))]) == 1
    assert "Mine.rule holds a function" in capsys.readouterr().out


@pytest.mark.parametrize(
    "body",
    [
        QUOTES + on_tick("return buy(tick.spread)"),
        on_tick("return None if tick.is_trade else buy(1 / 0)"),
        on_tick("return None") + "\n\ndef on_gap(self, gap, view):\n    self.torn = gap.until_ts",
    ],
)
def test_trial_of_a_check_brings_quotes_and_a_gap(body: str, tmp_path: Path) -> None:
    """An error in what only they bring would else end a night at the first of them."""
    path = written(tmp_path, body)

    assert re.search(r"mine\.py, line \d+: \w+Error: ", wave_fault(lambda: Trial(path), path.name))


@pytest.mark.parametrize("name", ["ema_cross.py", "mine.txt"])
def test_strategy_check_refuses_a_file_that_no_profile_could_name(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`strategy check` refuses a file that no profile could name."""
    path = written(tmp_path, on_tick("return None"))
    other = path.with_name(name)
    other.write_text(path.read_text(encoding="utf-8") + "\n\nx = 1 / 0\n", encoding="utf-8")

    assert cli(["strategy-check", str(other)]) == 2
    assert "no name for an own strategy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("none", ()),
        ("ema", ("--from", "ema_cross")),
        ("wilder_rsi", ("--from", "rsi_band")),
        ("mine", ("--folder", "minibot/strategies")),
    ],
)
def test_new_strategy_writes_no_file_that_could_not_run(
    own_folder: Path, name: str, more: tuple[str, ...], project: Path
) -> None:
    """`new-strategy` writes no file that could not run."""
    assert cli(["new-strategy", name, "--folder", str(own_folder), *more]) == 2
    assert not own_folder.exists()
    assert not (project / "minibot" / "strategies" / "mine.py").exists()


@pytest.mark.parametrize("name", ["view", "strategy", "ema_cross", "Big", "1x", "test_x", "a-b"])
def test_new_strategy_refuses_names_that_would_not_do(tmp_path: Path, name: str) -> None:
    """`new-strategy` refuses names that cannot be chosen or that hide the base class."""
    assert cli(["new-strategy", name, "--folder", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_bounds_of_a_decision_are_those_of_the_contract(project: Path) -> None:
    """A decision's bounds equal those of the signal's contract."""
    schema = json.loads((project / "contracts" / "signal.v1.schema.json").read_bytes())
    fields, shapes = schema["properties"], schema["$defs"]
    check = shapes["check"]["properties"]

    assert fields["score"]["maximum"] == decision.SCORE_MAX
    assert fields["confidence"]["maximum"] == decision.CONFIDENCE_MAX
    assert shapes["text"]["maxLength"] == decision.REASON_CHARS_MAX
    assert shapes["checks"]["maxItems"] == decision.CHECKS_MAX
    assert check["name"]["maxLength"] == decision.NAME_CHARS_MAX
    assert check["value"]["maxLength"] == decision.VALUE_CHARS_MAX
    assert set(fields["reason_code"]["enum"]) == decision.CODES


@pytest.mark.parametrize(
    "said",
    [
        {"score": 70.5},
        {"score": 70.0},
        {"confidence": True},
        {"reason": "half a \ud83d"},
        {"checks": (decision.check("rsi", "\ud83d", "< 30"),)},
    ],
)
def test_decision_that_no_journal_could_hold_is_refused_where_it_is_made(
    said: dict[str, Any],
) -> None:
    """A decision beyond the contract is refused with its line, in backtests too."""
    with pytest.raises((ValueError, TypeError)):
        decision.buy(**{"reason": "cheap", **said})


PIECES = (
    "import os\n",
    "from math import *\n",
    "x = {1, *y}\n",
    "class A(B, metaclass=C):\n    pass\n",
    "def f(*, a=[]):\n    return a ** 2j\n",
    "del view.x[0], y\n",
    "a: int\n",
    "match x:\n  case {**r}: pass\n",
    "lambda: (yield)\n",
    "with a as b, c: pass\n",
    "for self.x in y: pass\n",
    "x[0].y += 1\n",
    "\t\0",
    "((((",
    "async def f():\n    await x\n",
    "try: pass\nexcept: pass\n",
    "f'{x!r:>{y}}'\n",
    "@a.b\ndef f(): ...\n",
)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=6))
def test_check_of_any_text_gives_findings_and_never_fails(pieces: list[str]) -> None:
    """Any text gives a list of findings and no error."""
    text = "".join(pieces)

    assert all(
        finding.line >= 1 and finding.what and finding.instead for finding in source_findings(text)
    )


def test_check_of_code_nested_beyond_the_parser_says_so() -> None:
    """Code nested too deeply for the parser is a finding."""
    for text in ("(" * 5000 + ")" * 5000, "x = " + "-" * 200_000 + "1", "a" + ".b" * 50_000):
        assert source_findings(text)


@pytest.mark.row("N-124")
def test_new_strategy_on_windows_names_commands_that_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There the test is run by `py`, and a path has double quotes."""
    monkeypatch.setattr("minibot.runtime.pasting.sys", SimpleNamespace(platform="win32"))
    folder = tmp_path / "my ideas"
    assert cli(["new-strategy", "my_idea", "--folder", str(folder)]) == 0

    test = f'py tools\\with_env.py -m pytest "{folder / "test_my_idea.py"}"'
    assert test in capsys.readouterr().out
    text = (folder / "test_my_idea.py").read_text(encoding="utf-8")
    assert test in (ast.get_docstring(ast.parse(text)) or "")


@pytest.mark.row("N-124")
def test_new_strategy_in_a_folder_with_backslashes_writes_a_test_that_is_python(
    tmp_path: Path,
) -> None:
    """The test names its path as the path is, as Windows writes it."""
    folder = tmp_path / "bots\\Users"
    assert cli(["new-strategy", "my_idea", "--folder", str(folder)]) == 0

    text = (folder / "test_my_idea.py").read_text(encoding="utf-8")
    assert "bots\\Users" in (ast.get_docstring(ast.parse(text)) or "")


def test_new_strategy_in_a_folder_with_a_space_prints_lines_that_may_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each printed command names the folder as one word of a shell."""
    folder = tmp_path / "my ideas"
    assert cli(["new-strategy", "my_idea", "--folder", str(folder)]) == 0

    check, test, backtest, night = map(shlex.split, capsys.readouterr().out.splitlines()[1:])
    assert check[-1] == str(folder / "my_idea.py")
    assert test[-1] == str(folder / "test_my_idea.py")
    assert f"strategy.folder={folder}" in backtest
    assert night[-1] == f"strategy.folder={folder}"
