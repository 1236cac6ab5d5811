"""Roles and queues, with their writers and readers: `config/roles.v1.json`, loaded and checked.

A queue is named by its folder, a part by `<queue>/parts/<role>`. For `Roles.allows`,
`<queue>/acks` and `<queue>/deadletter` name those of any reader, `acks` and `deadletter` those of
any queue. On disk only the primary reader's lie there; those of another lie under
`<queue>/readers/<role>/`, which `Roles.allows` takes as well. Those of a part go by its queue.

Orders of roles and queues are lists in the file if they cannot be derived: each queue of the cores
leads back to the market, so the graph of all inputs has a cycle and no topological order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import orjson

from minibot.events import reasons
from minibot.events.model import PAYLOAD_CLASSES, JsonObject
from minibot.events.names import (
    AI_ROLE,
    EXECUTION_ROLE,
    FILLS,
    RISK_ROLE,
    SIGNALS,
    TICKS,
    WATCHDOG_ROLE,
)
from minibot.kernel.errors import ConfigError, ContractError

PATH: Final = Path(__file__).resolve().parents[2] / "config" / "roles.v1.json"

AI_TYPES: Final = frozenset({"recommendation", "health", "stop_journal"})
"""All that the table may grant `ai_role`; like every reader it writes acks and dead letters."""

PERMITTED_QUEUES: Final = frozenset({TICKS, SIGNALS, FILLS})
"""All queues that the AI may ever learn from; `ai.permitted_queues` can only narrow it.

The table may give `ai_role` other inputs: its clerk heeds nothing of them but `model_active`.
"""

ORDER_WRITERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "order_intent": RISK_ROLE,
        "order_replace": RISK_ROLE,
        "order_cancel": RISK_ROLE,
        "order_result": EXECUTION_ROLE,
        "fill": EXECUTION_ROLE,
    }
)
"""Types that have one possible writer, whatever the table says."""

_SIDE_TYPES: Final = {"acks": "ack", "deadletter": "dead_letter"}


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """One role: its module, its inputs, its input log and its outputs.

    Inputs are listed by priority, see `cores.input_order`. The input log is kept in the acks of
    the input that `order_log` names. `core` is the module of the core that the role runs (the part
    of it that decides), None for a role without one.
    """

    name: str
    module: str
    core: str | None
    inputs: tuple[str, ...]
    order_log: str | None
    writes: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """One queue: its primary reader, and whether it has a part for each writer."""

    name: str
    primary_reader: str | None
    parts: bool


@dataclass(frozen=True, slots=True)
class Roles:
    """Role x type table, and the orders of roles and queues.

    Attributes:
        start_order: All roles, the watchdog first, as it starts the others; each other role
            before those that write the queue by which it takes its inputs (`order_log`).
        market_order: The roles with a core, in the order in which `engine.lockstep` shows them a
            market event.
        derived_order: The queues that cores write, in the order in which `engine.lockstep` drains
            them.
        drain_order: All roles in the order in which they end: each after the writers of the queue
            by which it takes its inputs (`order_log`), among equals as the file lists them.
    """

    roles: Mapping[str, RoleSpec]
    queues: Mapping[str, QueueEntry]
    start_order: tuple[str, ...]
    market_order: tuple[str, ...]
    derived_order: tuple[str, ...]
    drain_order: tuple[str, ...]
    raw: JsonObject
    _allowed: dict[tuple[str, str, str], bool]

    @classmethod
    def load(cls, path: Path) -> Roles:
        """Return the table of a file.

        Raises:
            ConfigError: The file is unreadable, misses a key, has a value of another kind or
                contradicts itself. All contradictions come at once; a circle of input logs, then a
                role that starts too late, is sought where there are none.
        """
        try:
            raw = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise _refused(path.name, [f"cannot be read: {error}"]) from error
        return cls.of(raw, path.name)

    @staticmethod
    @cache
    def of_project() -> Roles:
        """Return the table of this build; see `load`."""
        return Roles.load(PATH)

    @classmethod
    def of(cls, raw: Any, name: str = "roles") -> Roles:
        """Return the table of a decoded file; see `load`."""
        try:
            roles = {key: _role(key, entry) for key, entry in raw["roles"].items()}
            queues = {key: _queue(key, entry) for key, entry in raw["queues"].items()}
            start, market, derived = (
                _names(raw[key]) for key in ("start_order", "market_order", "derived_order")
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise _refused(name, [f"misses or misplaces {error}"]) from error
        violations = _violations(roles, queues)
        cores = [role.name for role in roles.values() if role.core is not None]
        made = {queue for core in cores for queue in _outputs(roles[core], queues)}
        violations += _order_violations("start_order", start, roles)
        violations += _order_violations("market_order", market, cores)
        violations += _order_violations("derived_order", derived, made)
        if violations:
            raise _refused(name, violations)
        drain = _drain_order(roles)
        if len(drain) < len(roles):
            lost = sorted(roles.keys() - set(drain))
            raise _refused(name, [f"roles {lost}: their input logs lead in a circle"])
        if late := _late_starts(start, roles):
            raise _refused(name, late)
        orders = (start, market, derived, drain)
        return cls(MappingProxyType(roles), MappingProxyType(queues), *orders, raw, {})

    @property
    def cores(self) -> tuple[str, ...]:
        """Return the roles that run a core, as the file lists them."""
        return tuple(name for name, role in self.roles.items() if role.core is not None)

    @property
    def trading(self) -> tuple[str, ...]:
        """Return the roles that every night needs to trade, in the order in which they end."""
        return tuple(name for name in self.drain_order if name != WATCHDOG_ROLE and name != AI_ROLE)

    @property
    def derived(self) -> tuple[str, ...]:
        """Return the queues that cores write, in the order of the file's `queues`.

        It has to be causes before effects, which nothing checks.
        """
        return tuple(name for name in self.queues if name in self.derived_order)

    @property
    def world(self) -> tuple[str, ...]:
        """Return the queues that cores read but no core writes, as the file lists them."""
        read = {queue for name in self.cores for queue in self.roles[name].inputs}
        return tuple(name for name in self.queues if name in read - set(self.derived_order))

    def outputs(self, role: str) -> tuple[str, ...]:
        """Return the queues without parts that a role writes, in the order of its own entry.

        No other role writes them.
        """
        return _outputs(self.roles[role], self.queues)

    def is_primary(self, queue: str, role: str) -> bool:
        """Return whether a role is the primary reader of a queue."""
        return self.queues[queue].primary_reader == role

    def writers(self, queue: str) -> tuple[str, ...]:
        """Return the roles that write a queue, sorted."""
        return tuple(sorted(name for name, role in self.roles.items() if queue in role.writes))

    def readers(self, queue: str) -> tuple[str, ...]:
        """Return the roles that have a queue among their inputs, sorted."""
        return tuple(sorted(name for name, role in self.roles.items() if queue in role.inputs))

    def allows(self, queue: str, type_: str, source: str) -> bool:
        """Return whether a role may write an event of a type into a queue or one of its files."""
        key = (queue, type_, source)
        known = self._allowed.get(key)
        if known is None:
            # The cache has to stay small: forged sources must not grow it, so only a yes is kept.
            known = self._decide(queue, type_, source)
            if known:
                self._allowed[key] = True
        return known

    def check(self, queue: str, type_: str, source: str, component: str = "events") -> None:
        """Refuse an event that `allows` does not allow.

        Raises:
            ContractError: With SOURCE_FORBIDDEN.
        """
        if not self.allows(queue, type_, source):
            detail = f"{queue}: {type_} from {source} is not granted by the role x type table"
            raise ContractError(component, reasons.SOURCE_FORBIDDEN, detail)

    def _decide(self, queue: str, type_: str, source: str) -> bool:
        role = self.roles.get(source)
        if role is None:
            return False
        base, *rest = queue.split("/")
        if base in _SIDE_TYPES and not rest:
            return _SIDE_TYPES[base] == type_ and bool(role.inputs)
        if base not in self.queues:
            return False
        if rest and rest[-1] in _SIDE_TYPES:
            return _SIDE_TYPES[rest[-1]] == type_ and _is_readers_own(rest, base, role, self.queues)
        if rest and rest != ["parts", source]:
            return False
        return type_ in role.writes.get(base, frozenset())


def _is_readers_own(
    rest: list[str], base: str, role: RoleSpec, queues: Mapping[str, QueueEntry]
) -> bool:
    """Return whether a name of acks or of dead letters may mean those of this reader."""
    if base not in role.inputs:
        return False
    if queues[base].primary_reader == role.name:
        return len(rest) == 1
    return rest[:-1] in ([], ["readers", role.name])


def _refused(name: str, violations: list[str]) -> ConfigError:
    return ConfigError(f"{name} is refused", [f"{name}: {text}" for text in violations])


def _outputs(role: RoleSpec, queues: Mapping[str, QueueEntry]) -> tuple[str, ...]:
    return tuple(name for name in role.writes if name in queues and not queues[name].parts)


def _drain_order(roles: Mapping[str, RoleSpec]) -> tuple[str, ...]:
    """Return the roles, each after the writers of its input log, without those in a cycle."""
    order: list[str] = []
    while True:
        following = next(
            (
                role.name
                for role in roles.values()
                if role.name not in order
                and all(
                    other.name in order or other is role
                    for other in roles.values()
                    if role.order_log in other.writes
                )
            ),
            None,
        )
        if following is None:
            return tuple(order)
        order.append(following)


def _order_violations(key: str, order: Sequence[str], expected: Collection[str]) -> list[str]:
    if sorted(order) == sorted(expected):
        return []
    return [f"{key}: {list(order)}, expected each of {sorted(expected)} once"]


def _late_starts(start: Sequence[str], roles: Mapping[str, RoleSpec]) -> list[str]:
    """Return the roles that start too late, in an order that has each role once."""
    found = []
    if start[0] != WATCHDOG_ROLE:
        found.append(f"start_order: {start[0]} is first, expected {WATCHDOG_ROLE}")
    place = start.index
    for role in roles.values():
        for writer in roles.values():
            if role.order_log in writer.writes and place(writer.name) < place(role.name):
                found.append(
                    f"start_order: {writer.name} starts before {role.name}, which takes its inputs"
                    f" by {role.order_log}"
                )
    return found


def _role(name: str, entry: Mapping[str, Any]) -> RoleSpec:
    writes = {queue: frozenset(_names(types)) for queue, types in entry["writes"].items()}
    return RoleSpec(
        name,
        _name(entry["module"]),
        _name_or_none(entry.get("core")),
        _names(entry["inputs"]),
        _name_or_none(entry["order_log"]),
        MappingProxyType(writes),
    )


def _queue(name: str, entry: Mapping[str, Any]) -> QueueEntry:
    parts = entry["parts"]
    if not isinstance(parts, bool):
        raise TypeError(f"{parts!r}, expected true or false")
    return QueueEntry(name, _name_or_none(entry["primary_reader"]), parts)


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r}, expected a name")
    return value


def _name_or_none(value: Any) -> str | None:
    return None if value is None else _name(value)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r}, expected a list of names")
    return tuple(value)


def _violations(roles: Mapping[str, RoleSpec], queues: Mapping[str, QueueEntry]) -> list[str]:
    found: list[str] = []
    modules: dict[str, str] = {}
    if WATCHDOG_ROLE not in roles:
        found.append(f"roles: {WATCHDOG_ROLE} is missing")
    for role in roles.values():
        found += _role_violations(role, queues)
        other = modules.setdefault(role.module, role.name)
        if other != role.name:
            found.append(f"roles.{role.name}.module: is also that of {other}; each has its own")
    for queue in queues.values():
        writers = [role.name for role in roles.values() if queue.name in role.writes]
        if not writers:
            found.append(f"queues.{queue.name}: no role writes it")
        if len(writers) > 1 and not queue.parts:
            found.append(f"queues.{queue.name}: {writers} write it, but it has no parts")
        reader = queue.primary_reader
        if reader is not None and (reader not in roles or queue.name not in roles[reader].inputs):
            found.append(f"queues.{queue.name}.primary_reader: {reader} does not read it")
    return found


def _role_violations(role: RoleSpec, queues: Mapping[str, QueueEntry]) -> list[str]:
    found: list[str] = []
    where = f"roles.{role.name}"
    for queue in (*role.inputs, *role.writes, *filter(None, [role.order_log])):
        if queue not in queues:
            found.append(f"{where}: unknown queue {queue}")
    for queue in sorted({queue for queue in role.inputs if role.inputs.count(queue) > 1}):
        found.append(f"{where}.inputs: {queue} twice")
    if (role.order_log is None) != (not role.inputs) or (
        role.order_log is not None and role.order_log not in role.inputs
    ):
        found.append(f"{where}.order_log: {role.order_log}, expected one of its inputs")
    for queue, types in role.writes.items():
        for type_ in sorted(types):
            if type_ not in PAYLOAD_CLASSES or type_ in _SIDE_TYPES.values():
                found.append(f"{where}.writes.{queue}: type {type_} is not one that may be granted")
            if role.name == AI_ROLE and type_ not in AI_TYPES:
                found.append(f"{where}.writes.{queue}: {type_} can never be granted to the AI")
            if ORDER_WRITERS.get(type_, role.name) != role.name:
                found.append(f"{where}.writes.{queue}: only {ORDER_WRITERS[type_]} writes {type_}")
    return found
