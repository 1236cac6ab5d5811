"""Standing of the account: a report of tier, headroom and locks, on each change and each minute.

A profile with protections, tiers, a drawdown limit of the account or week budgets writes it: after
each fill that causes no STOP, with the memory of protections for the next run; at the first beat
after a change of tier or of the account's high-water mark; and at the first beat of each minute of
market time that has no report yet. Other profiles write none, and nothing follows a STOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.cores.event_id import EventId
from minibot.cores.messages import ACTIONS, ReportMessage
from minibot.events.decimals import format_fixed
from minibot.events.model import JsonObject, Payload, RiskStanding
from minibot.events.money import amount_text, parse_amount
from minibot.events.native import mypyc_attr
from minibot.events.unit_sizes import MINUTE_MS
from minibot.risk.headroom import Headroom
from minibot.risk.limits import DRAWDOWN_PLACES
from minibot.risk.protections import listed_locks
from minibot.risk.risk_state import RiskState


@mypyc_attr(acyclic=True)
class StandingMessage(ReportMessage):
    """Standing of the account at one moment, as numbers that are formatted when they are read.

    Attributes:
        account: Name of the account's state.
        tier: Number of its tier.
        equity: Equity in hundred-millionths.
        high_water_mark: The account's; None without limits of an account.
        drawdown: Its drawdown in 10**-4 bps.
        headroom: Use of each limit.
        locks: The protections' locks, which are listed at `now`; None without protections.
        memory: State of the protections for the next run; None if it is not reported.
    """

    account: str
    tier: int
    equity: int
    high_water_mark: int | None
    drawdown: int
    headroom: Headroom
    locks: dict[str, dict[str, int]] | None
    now: int
    memory: JsonObject | None

    def take(self, state: RiskState, *, has_memory: bool) -> None:
        """Take the present standing."""
        budgets, protections = state.budgets, state.protections
        account = budgets.account
        self.account = account.state_name
        self.tier = account.tier
        self.equity = budgets.equity
        self.high_water_mark = account.high_water_mark if account.is_on else None
        self.drawdown = account.drawdown(budgets.equity)
        self.headroom = state.headroom(None)
        self.locks = protections.locks if protections.is_on else None
        self.now = state.now
        self.memory = protections.state() if has_memory and protections.is_on else None

    def _written(self) -> Payload:
        mark, locks = self.high_water_mark, self.locks
        return RiskStanding(
            state=self.account,
            tier=self.tier,
            equity=amount_text(self.equity),
            high_water_mark=None if mark is None else amount_text(mark),
            drawdown_bps=None if mark is None else format_fixed(self.drawdown, DRAWDOWN_PLACES),
            headroom=self.headroom.texts(),
            locks=None if locks is None else tuple(listed_locks(locks, self.now)),
            memory=self.memory,
        )


@final
class Standing:
    """Reports of the standing: time, high-water mark and tier of the last one.

    Attributes:
        is_on: Whether the profile writes reports.
        next_ts: The next full minute of market time, from which a beat reports again.
    """

    __slots__ = ("_high_water_mark", "_tier", "is_on", "next_ts")

    def __init__(self, state: RiskState) -> None:
        """Start with nothing reported."""
        limits = state.limits
        self.is_on: bool = (
            state.protections.is_on
            or state.budgets.account.is_on
            or limits.week_notional.is_on
            or limits.week_loss.is_on
        )
        self.next_ts: int = 0
        self._high_water_mark: int = 0
        self._tier: int = 0

    def is_due(self, state: RiskState, now: int) -> bool:
        """Return whether a beat at market time `now` reports."""
        account = state.budgets.account
        is_moved = account.high_water_mark != self._high_water_mark or account.tier != self._tier
        return is_moved or now >= self.next_ts

    def report(
        self,
        state: RiskState,
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        ordinal: int,
        *,
        has_memory: bool,
    ) -> ReportMessage:
        """Return the report, and remember its contents.

        Args:
            state: The state.
            cause: The event that causes the report.
            ts: Time of the event.
            tick_seq: Line of the tick from which the event follows.
            ordinal: Number of the message in its step.
            has_memory: Whether the report carries the state of protections for the next run.
        """
        self.next_ts = (state.now // MINUTE_MS + 1) * MINUTE_MS
        account = state.budgets.account
        self._high_water_mark, self._tier = account.high_water_mark, account.tier
        message = StandingMessage()
        message.place = ACTIONS
        message.ts = ts
        message.tick_seq = tick_seq
        message.cause = cause
        message.ordinal = ordinal
        message.take(state, has_memory=has_memory)
        return message

    def state(self) -> JsonObject:
        """Return the next minute and the last report's contents as canonical JSON values."""
        mark = amount_text(self._high_water_mark)
        return {"next_ts": self.next_ts, "mark": mark, "place": self._tier}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.next_ts, self._tier = state["next_ts"], state["place"]
        self._high_water_mark = parse_amount(state["mark"])
