"""Rows of risk: one removed, or swapped with the next, fails its own scenarios alone.

The source of each module with rows is changed in memory: a row is removed, its value and limit are
exchanged, or one of them is swapped with the next row's. Exactly the scenarios of the changed rows
have to fail.
"""

from __future__ import annotations

import ast
import pickle
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType
from typing import Any, Final

import pytest

from minibot.cores.wish import Wish
from minibot.events.model import ADJUST, BUY, SELL, ExitPosition
from minibot.events.money import UNIT
from minibot.risk import (
    adjusting,
    book_depth,
    budgets,
    campaign,
    entry_decision,
    exit_decision,
    late_entries,
    market_returns,
    order_counts,
    plan_rows,
    quoting,
    requoting,
    resting_exits,
    sizing,
    trigger_rows,
    vadr_gate,
)
from minibot.risk.checks import SKIPPED, Checklist, Row
from minibot.risk.drafts import Verdict, verdict_for_event
from minibot.risk.plan_rows import HELD_MS
from tests.risk.desk import PROJECT, SYMBOL
from tests.risk.row_adjusting import ADJUSTMENTS
from tests.risk.row_campaigns import CAMPAIGNS
from tests.risk.row_late import LATE_ROWS
from tests.risk.row_levels import DEPTH_ROWS, PLANS, RESTS, RETURN_ROWS, TRIGGERS, VADR_ROWS
from tests.risk.row_quotes import COUNTS, QUOTES, REQUOTES
from tests.risk.row_scenarios import ENTRIES, EQUITY_LIMITS, EXITS, SIZES, Scenario
from tests.risk.row_world import ENDS, NOTIONAL, STOP_BID, TARGET_BID, World

SCENARIOS: Final = {
    entry_decision: ENTRIES,
    sizing: SIZES,
    exit_decision: EXITS,
    budgets: EQUITY_LIMITS,
    plan_rows: PLANS,
    trigger_rows: TRIGGERS,
    resting_exits: RESTS,
    market_returns: RETURN_ROWS,
    late_entries: LATE_ROWS,
    book_depth: DEPTH_ROWS,
    vadr_gate: VADR_ROWS,
    order_counts: COUNTS,
    quoting: QUOTES,
    requoting: REQUOTES,
    campaign: CAMPAIGNS,
    adjusting: ADJUSTMENTS,
}
VALUE, LIMIT = 1, 2

Completed = tuple[str, bool | None, str]
"""A check as text, whether it passed, and the reason of a failure."""


# --- one scenario ---------------------------------------------------------------------------------


def judged(rows: tuple[Row, ...]) -> Checklist:
    """Return the checks of rows alone."""
    checks = Checklist()
    checks.judge(rows)
    return checks


def entry_size(module: Any, world: World) -> Checklist:
    """Return the checks of an entry's size."""
    market, checks = world.market, Checklist()
    left = world.state.headroom(SYMBOL)
    module.size_entry(world.state, market, market.rules, left, checks, is_quoted=False)
    return checks


def exit_size(module: Any, world: World) -> Checklist:
    """Return the checks of a sale."""
    checks = Checklist()
    module.size_exit(world.state, world.market, world.market.rules, checks)
    return checks


def verdict_of(world: World) -> Verdict:
    """Return an undecided action of the symbol."""
    event = world.event(ExitPosition("operator", "a test", SYMBOL))
    return verdict_for_event(world.state, event, SYMBOL)


def requested(module: Any, world: World) -> Checklist:
    """Return the checks of an operator's request."""
    event = world.event(ExitPosition("operator", "a test", SYMBOL))
    messages = module.on_exit_position(world.state, SYMBOL, event)
    return messages[0].checks if messages else Checklist()


def left(module: Any, world: World) -> Checklist:
    """Return the checks of an exit that is due."""
    trigger, verdict = (HELD_MS, 2, 1), verdict_of(world)
    module.leave(world.state, world.market, trigger, verdict)
    return verdict.checks


def sent(module: Any, world: World) -> Checklist:
    """Return the checks of an exit as it is sent."""
    market, verdict = world.market, verdict_of(world)
    module._exit(world.state, "time_exit", market, market.rules, 1, verdict)
    return verdict.checks


def rested(module: Any, world: World) -> Checklist:
    """Return the checks of an order that is to rest, whose size is refused by a later rule."""
    checks = judged(
        module.rest_rows(world.state, world.market, world.qty, (None, None), verdict_of(world))
    )
    checks.reason = ""
    return checks


CHECKS: Final[dict[tuple[ModuleType, str], Callable[[Any, World], Checklist]]] = {
    (entry_decision, "entry_rows"): lambda module, world: judged(
        module.entry_rows(
            world.state, world.market, world.signal(BUY), world.state.headroom(SYMBOL)
        )
    ),
    (entry_decision, "level_rows"): lambda module, world: judged(
        module.level_rows(world.wish, world.market, world.exits)
    ),
    (entry_decision, "size_rows"): lambda module, world: judged(
        module.size_rows(world.limits, world.state.headroom(SYMBOL), NOTIONAL, NOTIONAL)
    ),
    (entry_decision, "size_entry"): entry_size,
    (entry_decision, "hard_rows"): lambda module, world: judged(
        module.hard_rows(world.limits, world.state.headroom(SYMBOL), NOTIONAL)
    ),
    (sizing, "sizing_rows"): lambda module, world: judged(
        module.sizing_rows(world.sizes, world.state.headroom(SYMBOL), NOTIONAL)
    ),
    (sizing, "wish_rows"): lambda module, world: judged(module.wish_rows(world.sizes)),
    (sizing, "loss_rows"): lambda module, world: judged(module.loss_rows(world.sizes, 10 * UNIT)),
    (exit_decision, "sell_rows"): lambda module, world: judged(
        module.sell_rows(world.state, world.market, world.signal(SELL))
    ),
    (exit_decision, "request_rows"): lambda module, world: judged(
        module.request_rows(world.state, world.exits)
    ),
    (exit_decision, "level_rows"): lambda module, world: judged(
        module.level_rows(
            world.exits, (STOP_BID, TARGET_BID, ENDS), world.opened_ts, world.bid, world.now
        )
    ),
    (exit_decision, "part_rows"): lambda module, world: judged(
        module.part_rows(world.state, world.market, world.budgets.orders(world.now), world.qty)
    ),
    (exit_decision, "size_exit"): exit_size,
    (exit_decision, "on_exit_position"): requested,
    (exit_decision, "leave"): left,
    (exit_decision, "_exit"): sent,
    (plan_rows, "plan_rows"): lambda module, world: judged(
        module.plan_rows(
            *(world.plan, world.plan_rules, world.bid, world.rung_bid, world.now, ENDS),
            world.horizon,
        )
    ),
    (trigger_rows, "trigger_rows"): lambda module, world: judged(
        module.trigger_rows(world.bid, *world.levels, *world.reasons)
    ),
    (trigger_rows, "unsold_rows"): lambda module, world: judged(
        module.unsold_rows(world.qty, world.reasons[0])
    ),
    (resting_exits, "rest_rows"): rested,
    (market_returns, "return_rows"): lambda module, world: judged(
        module.return_rows(world.reading, world.return_rules)
    ),
    (late_entries, "late_rows"): lambda module, world: judged(
        module.late_rows(world.late, world.late_rules, True)
    ),
    (book_depth, "depth_rows"): lambda module, world: judged(
        module.depth_rows(world.depth, world.limits.tick_age_ms_max, 61 * UNIT)
    ),
    (vadr_gate, "vadr_rows"): lambda module, world: judged(
        module.vadr_rows(world.vadr, 27, 17_500)
    ),
    (order_counts, "count_rows"): lambda module, world: judged(
        module.count_rows(world.state, world.market, world.market.rules, 2)
    ),
    (quoting, "quote_rows"): lambda module, world: judged(
        module.quote_rows(
            world.market.rules, world.qty, module.quote_price(world.market, world.market.rules)
        )
    ),
    (quoting, "life_rows"): lambda module, world: judged(
        module.life_rows(world.horizon_ms, world.limits.order_ttl_ms)
    ),
    (requoting, "moved_rows"): lambda module, world: judged(
        module.moved_rows(world.state, world.market, world.market.rules, world.quote)
    ),
    (requoting, "again_rows"): lambda module, world: judged(
        module.again_rows(world.state, world.quote, world.quote.requotes)
    ),
    (requoting, "late_rows"): lambda module, world: judged(
        module.late_rows(world.state, world.quote)
    ),
    (requoting, "rest_rows"): lambda module, world: judged(
        module.rest_rows(world.state, world.market, world.quote, verdict_of(world), False)
    ),
    (campaign, "campaign_rows"): lambda module, world: judged(
        module.campaign_rows(
            *(world.campaign_rules, world.campaign, world.at_risk),
            *(world.held_bid, world.hold_level, world.now),
        )
    ),
    (campaign, "reserve_rows"): lambda module, world: judged(
        module.reserve_rows(world.reserve, NOTIONAL)
    ),
    (campaign, "reserve_loss_rows"): lambda module, world: judged(
        module.reserve_loss_rows(world.reserve, 10 * UNIT)
    ),
    (campaign, "recovery_rows"): lambda module, world: judged(
        module.recovery_rows(world.campaign, world.qty)
    ),
    (adjusting, "adjust_rows"): lambda module, world: judged(
        module.adjust_rows(world.state, world.market, world.signal(ADJUST))
    ),
    (adjusting, "reached_rows"): lambda module, world: judged(
        module.reached_rows(
            world.wish or Wish(),
            world.market,
            (world.wish or Wish()).stop,
            (world.wish or Wish()).target,
        )
    ),
    (adjusting, "taken_rows"): lambda module, world: judged(
        module.taken_rows(world.plan, *world.wanted)
    ),
    (budgets, "hard_rows"): lambda module, world: judged(module.Budgets.hard_rows(world.budgets)),
}


def said(scenario: Scenario, checks: Checklist) -> Completed:
    """Return the check of a scenario's row: text, verdict, and reason of a failure."""
    asked = [gate for gate, value, _ in checks.rows if value != SKIPPED]
    for check, gate in zip(checks.written(), asked, strict=True):
        if check.name == scenario.name:
            reason = "" if check.passed else gate.reason or gate.cuts or checks.reason
            return f"{check.name} {check.value} / {check.threshold}", check.passed, reason
    return "", True, ""


def found(scenario: Scenario, home: ModuleType, module: ModuleType) -> list[Completed]:
    """Return the check of a scenario's row on both sides of its limit, by the code of `module`."""
    checks_of, only_reads = CHECKS[home, scenario.function], scenario.function.endswith("_rows")
    worlds = kept_worlds(scenario) if only_reads else pickle.loads(written_worlds(scenario))
    return [said(scenario, checks_of(module, world)) for world in worlds]


@cache
def kept_worlds(scenario: Scenario) -> tuple[World, World]:
    """Return the worlds of a scenario whose function changes nothing."""
    return scenario.worlds()


@cache
def written_worlds(scenario: Scenario) -> bytes:
    """Return the worlds of a scenario, to be read for each function that changes them.

    To read a pair takes a third of the time of making it.
    """
    return pickle.dumps(scenario.worlds())


@cache
def unchanged(scenario: Scenario, home: ModuleType) -> list[Completed]:
    """Return the check of a scenario's row by the unchanged module."""
    return found(scenario, home, home)


def expected(scenario: Scenario) -> list[Completed]:
    """Return the expected check of a scenario's row."""
    return [(scenario.passes, True, ""), (scenario.fails, False, scenario.reason)]


# --- changed source -------------------------------------------------------------------------------


def rows_in(tree: ast.AST) -> dict[str, list[list[ast.Tuple]]]:
    """Return the row literals of a module by function; a row is a tuple of three in a tuple.

    Rows of another function may be spread between them; these have scenarios of their own.
    """
    literals: dict[str, list[list[ast.Tuple]]] = {}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Tuple) and node.elts and isinstance(node.ctx, ast.Load):
                own = [row for row in node.elts if not isinstance(row, ast.Starred)]
                rows = [row for row in own if isinstance(row, ast.Tuple)]
                if rows and len(rows) == len(own) and all(len(row.elts) == 3 for row in rows):
                    literals.setdefault(function.name, []).append(node.elts)  # type: ignore[arg-type]
    return literals


def key_of(function: str, row: ast.Tuple) -> str:
    """Return a row's name: its function and its check."""
    return f"{function}:{ast.unparse(row.elts[0])}"


def source_of(module: ModuleType) -> ast.Module:
    """Return the parsed source of a module, even of a compiled one."""
    path = PROJECT / f"{module.__name__.replace('.', '/')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


TREES: Final = {module: source_of(module) for module in SCENARIOS}
ROWS: Final = [
    (module, function, rows, place)
    for module, tree in TREES.items()
    for function, literals in rows_in(tree).items()
    for rows in literals
    for place in range(len(rows))
    if isinstance(rows[place], ast.Tuple)
]
KEYS: Final = [key_of(function, rows[place]) for _, function, rows, place in ROWS]


def changes(
    module: ModuleType, rows: list[ast.Tuple], place: int
) -> Iterator[tuple[str, list[ast.Tuple], ModuleType]]:
    """Change a row in every way: yield the change, the rows concerned, and the changed module."""
    row, whole = rows[place], list(rows)
    own = [one for one in rows if isinstance(one, ast.Tuple)]
    columns = [list(one.elts) for one in own]
    for change, column in (("remove", 0), ("exchange", 0), ("values", VALUE), ("limits", LIMIT)):
        touched = [row]
        if change == "remove":
            del rows[place]
        elif change == "exchange":
            row.elts[VALUE], row.elts[LIMIT] = row.elts[LIMIT], row.elts[VALUE]
        elif len(own) > 1:
            at = own.index(row)
            other = own[at + 1 if at + 1 < len(own) else at - 1]
            if ast.unparse(row.elts[column]) == ast.unparse(other.elts[column]):
                continue
            row.elts[column], other.elts[column] = other.elts[column], row.elts[column]
            touched.append(other)
        else:
            continue
        code = compile(TREES[module], f"<{module.__name__}, changed>", "exec")
        rows[:] = whole
        for restored, elements in zip(own, columns, strict=True):
            restored.elts[:] = elements
        changed = ModuleType(module.__name__)
        exec(code, changed.__dict__)
        yield change, touched, changed


# --- tests ----------------------------------------------------------------------------------------


def test_every_row_has_a_scenario_and_a_name_of_its_own() -> None:
    """Every row has a scenario of its own, and every scenario a row."""
    for module, scenarios in SCENARIOS.items():
        keys = [key for (home, *_), key in zip(ROWS, KEYS, strict=True) if home is module]

        assert len(keys) == len(set(keys))
        assert set(keys) == {scenario.row for scenario in scenarios}


@pytest.mark.parametrize(
    ("module", "scenario"),
    [
        pytest.param(module, scenario, id=f"{scenario.row} {scenario.fails}")
        for module, scenarios in SCENARIOS.items()
        for scenario in scenarios
    ],
)
def test_row_passes_at_its_limit_and_fails_one_step_beyond(
    module: ModuleType, scenario: Scenario
) -> None:
    """A row passes at its limit and fails a step beyond, with name, value, limit and reason."""
    assert found(scenario, module, module) == expected(scenario)


@pytest.mark.parametrize("scenario", ENTRIES, ids=lambda scenario: scenario.fails)
def test_entry_is_allowed_at_each_limit_and_not_beyond(scenario: Scenario) -> None:
    """An entry is allowed at each limit and not beyond it."""
    outcomes = []
    for world in scenario.worlds():
        verdict, *_ = entry_decision.on_buy(world.state, world.market, world.signal(BUY))
        assert isinstance(verdict, Verdict)
        outcomes.append((verdict.action, verdict.reason_code))

    assert outcomes == [("ALLOW", "allowed"), scenario.outcome]


@pytest.mark.parametrize(
    "scenario",
    [scenario for scenario in EXITS if scenario.function in {"sell_rows", "size_exit", "_exit"}],
    ids=lambda scenario: scenario.fails,
)
def test_exit_on_a_signal_is_allowed_at_each_limit_and_not_beyond(scenario: Scenario) -> None:
    """An exit on a signal is allowed at each limit and not beyond it."""
    outcomes = []
    for world in scenario.worlds():
        verdict, *_ = exit_decision.on_sell(world.state, world.market, world.signal(SELL))
        assert isinstance(verdict, Verdict)
        outcomes.append((verdict.action, verdict.reason_code))

    assert outcomes == [("EXIT", "signal_exit"), scenario.outcome]


@pytest.mark.parametrize(("module", "function", "rows", "place"), ROWS, ids=KEYS)
def test_row_that_is_removed_or_swapped_fails_its_own_scenarios_alone(
    module: ModuleType, function: str, rows: list[ast.Tuple], place: int
) -> None:
    """A removed or swapped row fails exactly its own scenarios, so tests cover each row."""
    for change, touched, changed in changes(module, rows, place):
        failed = {
            scenario.row
            for scenario in SCENARIOS[module]
            if found(scenario, module, changed) != unchanged(scenario, module)
        }

        keys = {key_of(function, row) for row in touched}
        if change == "exchange":  # Later checks may see a smaller order.
            assert keys <= failed, change
        else:
            assert failed == keys, change
