"""Ports that connect a core to the lockstep: they apply the role's delay to market time."""

from __future__ import annotations

from typing import final

from minibot.cores.protocol import Core


@final
class Table:
    """State that all ports of a lockstep share.

    Attributes:
        ts: The highest `ts` of all root events. Messages between the cores do not move it: a
            message is no later than its causes.
    """

    __slots__ = ("ts",)

    def __init__(self) -> None:
        self.ts: int = 0


@final
class Port:
    """The port of one core.

    Args:
        role: Whose core it is.
        core: The core.
        delay_ms: How much later than its own `ts` the role takes an input at the earliest.
        table: What the ports have in common.
    """

    __slots__ = ("_table", "core", "delay_ms", "role")

    def __init__(self, role: str, core: Core, delay_ms: int, table: Table) -> None:
        self.role: str = role
        self.core: Core = core
        self.delay_ms: int = delay_ms
        self._table: Table = table

    def at(self, ts: int) -> int:
        """Return its market time, which never goes back, when it takes something of `ts`."""
        table = self._table
        if ts > table.ts:
            table.ts = ts
        return table.ts + self.delay_ms
