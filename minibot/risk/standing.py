"""Standing of the account: tier, headroom and locks, told on a change and each minute.

A profile with protections, tiers, a drawdown limit of the account or week budgets tells it: after
each fill that stops no run, with the memory of protections for the next run; at the first beat
after a change of tier or of the account's mark; and at the first beat of each minute of market
time. Other profiles tell nothing, nor does any after a STOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from minibot.cores.event_id import EventId
from minibot.cores.messages import ToldMessage
from minibot.events.decimals import format_fixed
from minibot.events.model import JsonObject, RiskStanding
from minibot.events.money import amount_text, parse_amount
from minibot.events.unit_sizes import MINUTE_MS
from minibot.risk.limits import DRAWDOWN_PLACES
from minibot.risk.risk_state import RiskState


@final
class Standing:
    """Telling of the standing: when it was told last, and with which mark and tier.

    Attributes:
        is_on: Whether the profile makes it told at all.
        next_ts: The next full minute of market time, from which a beat tells it again.
    """

    __slots__ = ("_mark", "_place", "is_on", "next_ts")

    def __init__(self, state: RiskState) -> None:
        """Start with nothing told."""
        limits = state.limits
        self.is_on: bool = (
            state.protections.is_on
            or state.budgets.account.is_on
            or limits.week_notional.is_on
            or limits.week_loss.is_on
        )
        self.next_ts: int = 0
        self._mark: int = 0
        self._place: int = 0

    def is_due(self, state: RiskState, now: int) -> bool:
        """Return whether a beat at market time `now` tells it."""
        account = state.budgets.account
        return now >= self.next_ts or account.mark != self._mark or account.place != self._place

    def tell(
        self,
        state: RiskState,
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        ordinal: int,
        *,
        has_memory: bool,
    ) -> ToldMessage:
        """Return the message that tells it, and remember that it was told.

        Args:
            state: The state.
            cause: The event because of which it is told.
            ts: The event's time.
            tick_seq: The tick that the event goes back to.
            ordinal: The place of the message in its step.
            has_memory: Whether the message carries the state of protections for the next run.
        """
        self.next_ts = (state.now // MINUTE_MS + 1) * MINUTE_MS
        account = state.budgets.account
        self._mark, self._place = account.mark, account.place
        told = standing_of(state, has_memory=has_memory)
        return ToldMessage.because(cause, ts, tick_seq, ordinal, told)

    def state(self) -> JsonObject:
        """Return the next minute, and the mark and tier told last, as canonical JSON values."""
        return {"next_ts": self.next_ts, "mark": amount_text(self._mark), "place": self._place}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.next_ts, self._place = state["next_ts"], state["place"]
        self._mark = parse_amount(state["mark"])


def standing_of(state: RiskState, *, has_memory: bool) -> RiskStanding:
    """Return the standing of now."""
    budgets, protections = state.budgets, state.protections
    account = budgets.account
    return RiskStanding(
        state=account.state_name,
        tier=account.place,
        equity=amount_text(budgets.equity),
        high_water_mark=amount_text(account.mark) if account.is_on else None,
        drawdown_bps=(
            format_fixed(account.drawdown(budgets.equity), DRAWDOWN_PLACES)
            if account.is_on
            else None
        ),
        headroom=state.headroom(None).texts(),
        locks=tuple(protections.listed(state.now)) if protections.is_on else None,
        memory=protections.state() if has_memory and protections.is_on else None,
    )
