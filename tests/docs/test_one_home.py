"""One home for one fact: each constant and each entry of a `config` file is written once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from minibot.cores.core_profile import VENUE
from minibot.events.reasons import REASONS
from minibot.events.roles import Roles
from tests.docs.product_sources import parsed_product

# Whoever comes first parses the product.
pytestmark = pytest.mark.slow

TABLE = Roles.of_project()
ROLES, QUEUES = TABLE.roles.keys(), TABLE.queues.keys()
HOME_OF_NAMES = "minibot.events.names"
# Lists of roles or queues that `config/roles.v1.json` does not hold, and why.
CHAIN = "fills order_intents order_results risk_actions signals"
OTHER_LISTS = {
    ("minibot.events.roles", "fills market_ticks signals"): "may be learnt from, whatever is read",
    ("minibot.events.roles", "execution_role risk_role"): "bounds the table, so stands outside it",
    ("minibot.events.roles", "health stop_journal"): "event types",
    ("minibot.gates.runtime_smoke", "health stop_journal"): "event types",
    (
        "minibot.gates.runtime_smoke",
        "fills health market_ticks order_intents order_results risk_actions signals stop_journal",
    ): "the base queues of N-95, fewer than the table has",
    ("minibot.market.holdings", "control fills"): "where a position follows from",
    ("minibot.ops.web.live_documents", "fills signals"): "named figures",
    (
        "minibot.ops.web.record_page",
        "execution_role market_role risk_role strategy_role",
    ): "those whose facts a record still has",
    ("minibot.ops.web.run_history", "fills signals"): "named marks of a chart",
    ("minibot.replay.diff", CHAIN): "an order that the digest of a recorded side goes by",
    ("minibot.replay.explain.causes", "fills order_intents order_results"): "where ids stand",
    ("minibot.replay.explain.lines", "health stop_journal"): "event types",
    ("minibot.report.summary", "incidents order_results risk_actions signals"): "named figures",
}

# Homes of reason codes: the kernel's constants, and the table with their words.
HOMES_OF_CODES = {
    "minibot.events.business_codes", "minibot.events.stop_codes", "minibot.kernel.codes",
}  # fmt: skip
# Codes that are also names of fields of an event, a profile section, a state or an object. As a
# key, a subscript or a slot, such a text means the field.
FIELDS = {
    "account_drawdown", "allowed", "cost_gate", "day_loss", "day_notional", "drawdown", "filled",
    "halted",
    "algo_orders_max", "left_trading", "night_loss", "night_notional", "notional_max",
    "order_lists_max", "order_rate", "orders_max", "position_max", "positions_max",
    "week_loss", "week_notional",
    "qty_max", "qty_min", "run_ending", "signal_exit", "warmup",
}  # fmt: skip
# Texts that equal a reason code but mean another fact, by module or room.
OTHER_FACTS = {
    ("minibot.ai.inference", "warmup"): "the worker's answer; the jail loads nothing of `events`",
    ("minibot.ai.isolation", "partial"): "how much of the jail a system has",
    ("minibot.backtest.search.sweep", "drawdown"): "the head of a column",
    ("minibot.cli.support.standing", "halted"): "the label of a row",
    ("minibot.cli.tape", "duplicate"): "a word of a sentence",
    ("minibot.events.model", "run_ending"): "an event type",
    ("minibot.events.model", "REFUSED"): "a kind of record in the stop journal",
    ("minibot.exchanges.base", "rate_limited"): "a kind of failed call; venues know no codes",
    ("minibot.gates.chaos_catalogue", "poison_event"): "the name of a fault",
    ("minibot.gates.chaos_catalogue", "sequence_gap"): "the name of a fault",
    ("minibot.market.universe", "not_trading"): "why a listed symbol is left out",
    ("minibot.ops.web.live_documents", "drawdown"): "a named figure",
    ("minibot.replay.diff", "trailing_delta"): "a field of an intent",
    ("minibot.risk", "day_loss"): "the name of a check",
    ("minibot.risk", "day_notional"): "the name of a check",
    ("minibot.risk", "halted"): "the name of a check",
    ("minibot.risk", "limit_entries_max"): "the key of a limit",
    ("minibot.risk", "night_loss"): "the name of a check",
    ("minibot.risk", "night_notional"): "the name of a check",
    ("minibot.risk", "run_ending"): "the name of a check",
    ("minibot.risk", "signal_exit"): "the name of a check",
    ("minibot.risk", "symbol_locked"): "the name of a check",
    ("minibot.risk", "week_loss"): "the name of a check",
    ("minibot.risk", "week_notional"): "the name of a check",
    ("minibot.runtime.configuration.config_rules", "positions_max"): "a key of the profile",
    ("minibot.runtime.configuration.config_rules", "week_loss"): "the stem of two keys",
    ("minibot.runtime.configuration.config_rules", "week_notional"): "the stem of two keys",
    ("minibot.runtime.configuration.loosening", "limit_entries_max"): "a key of the profile",
    ("minibot.runtime.configuration.loosening", "signal_exit"): "a key of the profile",
    ("minibot.runtime.fault_injection", "poison_event"): "the name of a fault",
    ("minibot.runtime.stop", "REFUSED"): "a kind of record in the stop journal",
    ("minibot.strategies.allowed", "partial"): "a function of the standard library",
    ("minibot.strategies.examples.skeleton", "warmup"): "a user's file; it gives a code as text",
}  # fmt: skip


# Constants that share name and value by chance, or whose modules must not know each other.
APART = {
    "BAN_MS_MIN": "the simulator states a venue's limits by itself",
    "BANNED": "a kind of failed call and a kind of notice",
    "BATCH": "lines at once, chosen for each reader",
    "BOOK": "a kind of row, a stage of first contact, a finding",
    "BPS": "as a float, for the worker's features alone: the jail loads nothing of `events`",
    "CACHE": "the check of packages imports nothing of the product",
    "CANNOT_RUN": "an exit code; what starts before the package imports nothing of it",
    "CHUNK_BYTES": "bytes at once, chosen for each reader",
    "CLEAN": "an exit code of the jailed worker",
    "DEPTH": "a part of a feed and a stream of the simulator",
    "DIGEST_BYTES": "of sha256",
    "GAP": "what a book says of an update, and a finding of a tape",
    "KEPT_MAX": "how much two caches hold",
    "LOOK_MS": "how often two things are looked at",
    "MANIFEST": "files of two formats",
    "MANIFEST_FILE": "files of several formats; the kernel knows no `runtime`",
    "MINUTES_MAX": "of an average price, and of an option",
    "OFF": "a level of the profile and a state of the worker",
    "OPEN": "a word of three tables",
    "OTHER": "a kind of frame, of line and of message",
    "POLL_S": "how often something is asked, chosen for each",
    "REFUSED": "exit codes of two processes",
    "RETRY_MS": "after how long something is tried again, chosen for each",
    "SHOWN": "how many of a list are shown",
    "SNAPSHOT": "a frame of the simulator and a kind of line of a tape",
    "STOP": "a risk action and a column of the catalogue of faults",
    "SUMS_FILE": "files of two formats",
    "SHOWN_MAX": "how many of a list are told",
    "TOUCH": "a kind of row and a way to fill",
    "TRADE": "a stream, a kind of frame, a node of a graph",
    "TRIES_MAX": "how often something is tried, chosen for each",
    "UNKNOWN": "a word of two tables",
    "WAIT_S_MAX": "how long two loops wait at most",
}


@pytest.fixture(scope="module")
def modules(project: Path) -> dict[str, ast.Module]:
    """Every module of the product, parsed."""
    return parsed_product(project)


class Text(NamedTuple):
    """Text in a module, and whether it stands in the place of a field's name."""

    module: str
    text: str
    line: int
    is_field: bool


@pytest.fixture(scope="module")
def known_texts(modules: dict[str, ast.Module]) -> list[Text]:
    """Every text of the product that equals a reason code, a role or a queue."""
    wanted = REASONS.keys() | ROLES | {"roles.v1.json", "config/roles.v1.json"}
    return [
        Text(name, *found)
        for name, tree in modules.items()
        for found in texts(tree)
        if found[0] in wanted
    ]


def texts(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """Yield each text with its line, and whether it stands in the place of a field's name."""
    fields: set[int] = set()
    for node in ast.walk(tree):  # Parents come before their children.
        fields.update(id(text) for text in _fields_in(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno, id(node) in fields


def _fields_in(node: ast.AST) -> Iterator[ast.AST | None]:
    """Yield the parts of an expression or assignment that name a field."""
    match node:
        case ast.Dict(keys=keys):
            yield from keys
        case ast.Subscript(slice=key):
            yield key
        case ast.Call(func=ast.Attribute(attr="get"), args=[key, *_]):
            yield key
        case ast.Assign(targets=[ast.Name(id="__slots__")], value=slots):
            yield from ast.walk(slots)


def test_reason_code_is_written_in_its_home_alone(known_texts: list[Text]) -> None:
    """A reason code is a literal in its home alone; all other modules import the constant."""
    assert {each.module for each in known_texts} >= HOMES_OF_CODES
    literals = [
        (_place(each.module, each.text), each.text, f"{each.module}, line {each.line}")
        for each in known_texts
        if each.text in REASONS and each.module not in HOMES_OF_CODES
        if not (each.is_field and each.text in FIELDS)
    ]

    assert [each for each in literals if each[:2] not in OTHER_FACTS] == []
    assert {each[:2] for each in literals} == OTHER_FACTS.keys(), "an exception that nothing needs"


def _place(name: str, text: str) -> str:
    """Return the room of a module if an exception names the room, else the module."""
    room = ".".join(name.split(".")[:2])
    return room if (room, text) in OTHER_FACTS else name


def test_venue_of_a_profile_without_the_key_is_written_once(modules: dict[str, ast.Module]) -> None:
    """The default venue is a literal in the profile's types, and in the venue's own package."""
    written = {
        name
        for name, tree in modules.items()
        for text, _, is_field in texts(tree)
        if text == VENUE and not is_field
    }

    assert written == {"minibot.cores.core_profile", "minibot.exchanges.binance.limits"}


def test_constants_of_the_kernel_are_the_codes_that_it_raises(
    modules: dict[str, ast.Module],
) -> None:
    """The kernel's constants are exactly the codes that it raises, with words in `events`."""
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


# --- roles and queues ---------------------------------------------------------------------------


def constants_of(modules: dict[str, ast.Module]) -> dict[str, str]:
    """Return each constant that names a role or a queue, with the name."""
    return {
        node.target.id: node.value.value
        for node in modules[HOME_OF_NAMES].body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def lists_of_names(tree: ast.Module, constants: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield each collection with two roles or two queues, as its names and line."""
    known = {
        alias.asname or alias.name: constants[alias.name]
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == HOME_OF_NAMES
        for alias in node.names
    }
    known |= {f"names.{name}": text for name, text in constants.items()}
    for node in ast.walk(tree):
        match node:
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
                parts = [elements]
            case ast.Dict(keys=keys, values=values):
                parts = [[key for key in keys if key is not None], values]
            case _:
                continue
        for part in parts:
            found = {name for each in part if (name := _named(each, known))}
            if len(found & ROLES) > 1 or len(found & QUEUES) > 1:
                yield " ".join(sorted(found)), node.lineno


def _named(node: ast.expr, known: dict[str, str]) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if node.value in ROLES | QUEUES else ""
    return known.get(ast.unparse(node), "") if isinstance(node, ast.Name | ast.Attribute) else ""


def test_constants_of_names_are_the_roles_and_queues_of_the_table(
    modules: dict[str, ast.Module],
) -> None:
    """Each role and queue of the table has one constant, and no constant names another."""
    others = [
        (name, ast.unparse(node))
        for name, tree in modules.items()
        if name != HOME_OF_NAMES
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Constant)
        and node.value.value in ROLES | QUEUES
    ]

    assert sorted(constants_of(modules).values()) == sorted([*ROLES, *QUEUES])
    assert others == []


def test_role_is_written_as_its_constant_alone(known_texts: list[Text]) -> None:
    """A role's name is a literal in one place; all other modules import the constant."""
    found = [each for each in known_texts if each.text in ROLES]

    assert {each.text for each in found} == ROLES
    assert [each for each in found if each.module != HOME_OF_NAMES] == []


def test_table_of_roles_is_read_by_one_module(known_texts: list[Text]) -> None:
    """One module reads the table of roles; a manifest only pins its bytes."""
    found = {each.module for each in known_texts if each.text.endswith("roles.v1.json")}

    assert found == {"minibot.events.roles", "minibot.watchdog.run_manifest"}


def test_roles_and_queues_are_listed_in_their_table_alone(modules: dict[str, ast.Module]) -> None:
    """No list of roles or queues stands beside the table."""
    constants = constants_of(modules)
    found = [
        (name, names, line)
        for name, tree in modules.items()
        for names, line in lists_of_names(tree, constants)
    ]

    assert [each for each in found if each[:2] not in OTHER_LISTS] == []
    assert {each[:2] for each in found} == OTHER_LISTS.keys(), "an exception that nothing needs"


# --- constants ----------------------------------------------------------------------------------


def literals_of(tree: ast.Module) -> Iterator[tuple[str, object]]:
    """Yield each constant made from literals, with its value.

    The name comes without a leading underscore, because a private constant is the same fact.
    """
    known: dict[str, object] = {}
    for node in tree.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                pass
            case _:
                continue
        public = name.lstrip("_")
        if not public.isupper() or any(isinstance(part, ast.Call) for part in ast.walk(value)):
            continue
        try:
            code = compile(ast.Expression(value), name, "eval")
            known[name] = eval(code, {"__builtins__": {}}, dict(known))
        # The constant is computed from another module's.
        except (NameError, AttributeError, KeyError):
            continue
        yield public, known[name]


def test_constant_is_defined_in_one_module(modules: dict[str, ast.Module]) -> None:
    """A constant of one name and value is defined in one module and imported elsewhere."""
    homes: dict[tuple[str, str], list[str]] = {}
    for module, tree in modules.items():
        for name, value in literals_of(tree):
            if isinstance(value, (int, float, str, bytes)):
                homes.setdefault((name, repr(value)), []).append(module)
    twice = {key: found for key, found in homes.items() if len(set(found)) > 1}

    assert len(homes) > 1_000
    assert {key: found for key, found in twice.items() if key[0] not in APART} == {}
    assert {name for name, _ in twice} == APART.keys(), "an exception that nothing needs"


def test_size_of_a_unit_is_defined_in_its_home_alone(modules: dict[str, ast.Module]) -> None:
    """The size of a time unit is defined in one module, whatever value others give it."""
    units = dict(literals_of(modules["minibot.events.unit_sizes"]))
    others = [
        (module, name)
        for module, tree in modules.items()
        for name, value in literals_of(tree)
        if name in units and isinstance(value, int) and module != "minibot.events.unit_sizes"
    ]

    assert units["MINUTE_MS"] * 60 == units["HOUR_MS"]  # type: ignore[operator]
    assert sorted(others) == [
        ("minibot.risk.distances", "NEVER"),
        ("minibot.strategies.view", "NEVER"),
    ]
