"""One home for one fact: what stands as a constant or in a file of `config` is written once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.events.reasons import REASONS

# Where a reason code is written: as a constant of the kernel's, or with its words.
HOMES_OF_CODES = {
    "minibot.events.business_codes", "minibot.events.stop_codes", "minibot.kernel.codes",
}  # fmt: skip
# Codes that are names of fields too: of an event, a section of the profile, a state or an object.
# As a key, a subscript or a slot each is that field.
FIELDS = {
    "allowed", "cost_gate", "day_loss", "day_notional", "drawdown", "filled", "halted",
    "left_trading", "night_loss", "night_notional", "notional_max", "order_rate", "positions_max",
    "qty_max", "qty_min", "run_ending", "signal_exit", "warmup",
}  # fmt: skip
# Texts that equal a reason code and are another fact, by module or room.
OTHER_FACTS = {
    ("minibot.ai.inference", "warmup"): "the worker's answer; the jail loads nothing of `events`",
    ("minibot.ai.isolation", "partial"): "how much of the jail a system has",
    ("minibot.backtest.ranges", "signal_exit"): "a key of the profile",
    ("minibot.backtest.sweep", "drawdown"): "the head of a column",
    ("minibot.cli.backtests", "drawdown"): "the head of a column",
    ("minibot.cli.standing", "halted"): "the label of a row",
    ("minibot.cli.tape", "duplicate"): "a word of a sentence",
    ("minibot.events.model", "run_ending"): "an event type",
    ("minibot.events.schemas", "REFUSED"): "a kind of record in the stop journal",
    ("minibot.exchanges.base", "rate_limited"): "a kind of failed call; venues know no codes",
    ("minibot.gates.chaos_catalogue", "poison_event"): "the name of a fault",
    ("minibot.gates.chaos_catalogue", "sequence_gap"): "the name of a fault",
    ("minibot.market.universe", "not_trading"): "why a listed symbol is left out",
    ("minibot.risk", "day_loss"): "the name of a check",
    ("minibot.risk", "day_notional"): "the name of a check",
    ("minibot.risk", "halted"): "the name of a check",
    ("minibot.risk", "night_loss"): "the name of a check",
    ("minibot.risk", "night_notional"): "the name of a check",
    ("minibot.risk", "run_ending"): "the name of a check",
    ("minibot.risk", "signal_exit"): "the name of a check",
    ("minibot.risk", "symbol_locked"): "the name of a check",
    ("minibot.runtime.planted", "poison_event"): "the name of a fault",
    ("minibot.runtime.stop", "REFUSED"): "a kind of record in the stop journal",
    ("minibot.strategies.allowed", "partial"): "a function of the standard library",
    ("minibot.strategies.examples.skeleton", "warmup"): "a user's file; it gives a code as text",
}  # fmt: skip


@pytest.fixture(scope="module")
def modules(project: Path) -> dict[str, ast.Module]:
    """Every module of the product, parsed."""
    return {
        ".".join(path.relative_to(project).with_suffix("").parts): ast.parse(path.read_bytes())
        for path in sorted((project / "minibot").rglob("*.py"))
    }


def texts(tree: ast.AST, *, is_field: bool = False) -> Iterator[tuple[str, int, bool]]:
    """Yield each text with its line, and whether it stands where the name of a field does."""
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value, tree.lineno, is_field
    for name, value in ast.iter_fields(tree):
        for place, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                names = _names_fields(tree, name, place)
                yield from texts(child, is_field=is_field or names)


def _names_fields(parent: ast.AST, part: str, place: int) -> bool:
    """Return whether a part of an expression or an assignment says which field is meant."""
    match parent:
        case ast.Dict():
            return part == "keys"
        case ast.Subscript():
            return part == "slice"
        case ast.Call(func=ast.Attribute(attr="get")):
            return part == "args" and place == 0
        case ast.Assign(targets=[ast.Name(id="__slots__")]):
            return part == "value"
    return False


def test_reason_code_is_written_in_its_home_alone(modules: dict[str, ast.Module]) -> None:
    """Whoever means a code imports its constant, so that a code is found, renamed and counted."""
    assert modules.keys() >= HOMES_OF_CODES
    literals = [
        (_place(name, text), text, f"{name}, line {line}")
        for name, tree in modules.items()
        if name not in HOMES_OF_CODES
        for text, line, is_field in texts(tree)
        if text in REASONS and not (is_field and text in FIELDS)
    ]

    assert [each for each in literals if each[:2] not in OTHER_FACTS] == []
    assert {each[:2] for each in literals} == OTHER_FACTS.keys(), "an exception that nothing needs"


def _place(name: str, text: str) -> str:
    """Return the room of a module where an exception names it, else the module."""
    room = ".".join(name.split(".")[:2])
    return room if (room, text) in OTHER_FACTS else name


def test_constants_of_the_kernel_are_the_codes_that_it_raises(
    modules: dict[str, ast.Module],
) -> None:
    """The kernel has no code that it does not raise, and each has its words in `events`."""
    constants = {
        node.target.id: node.value.value
        for node in modules["minibot.kernel.codes"].body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    used = {
        node.id
        for name, tree in modules.items()
        if name.startswith("minibot.kernel.")
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }

    assert {name: text for name, text in constants.items() if name != text} == {}
    assert constants.keys() - used == set()
    assert constants.keys() - REASONS.keys() == set()
