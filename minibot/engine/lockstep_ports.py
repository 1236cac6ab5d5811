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
        role: The role of the core.
        core: The core.
        delay_ms: The least time from an input's `ts` until the role takes it.
        table: The state that all ports share.
    """

    __slots__ = ("_table", "core", "delay_ms", "role")

    def __init__(self, role: str, core: Core, delay_ms: int, table: Table) -> None:
        self.role: str = role
        self.core: Core = core
        self.delay_ms: int = delay_ms
        self._table: Table = table

    def at(self, ts: int) -> int:
        """Return the port's market time for an input of `ts`; it never goes back."""
        table = self._table
        if ts > table.ts:
            table.ts = ts
        return table.ts + self.delay_ms
