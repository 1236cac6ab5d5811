"""Plan reports: the levels of each position, and the names of those that moved.

A profile with a plan, or one that carries positions, writes `position_plan` after each fill, unless
the venue's rules for the symbol are unknown, and at the first beat after a level moved, so at most
once a second of market time. The last report of a position has quantity 0; it names its campaign
unless that has ended, which it does at once if no order of the symbol is open. Under `carry` the
next run starts with the plan reported last.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final, cast, final

from minibot.cores.event_id import EventId
from minibot.cores.messages import Message, ReportMessage
from minibot.events.model import JsonObject, PositionPlan
from minibot.events.money import amount_text, parse_amount
from minibot.risk.distances import NEVER
from minibot.risk.exits import CARRIED_EXITS, SymbolExits
from minibot.risk.plan import Plan
from minibot.risk.positions import Market
from minibot.risk.risk_state import RiskState

Levels = tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, int]
"""Values of `PLAN_NAMES`. Tuples of a fixed length are compared without objects when compiled."""

PLAN_NAMES: Final = (
    *("qty", "entry_price", "stop_hard", "stop_entry", "stop_break_even", "stop_trailing"),
    *("stop_signal", "trail_signal", "trail_signal", "target", "target_age", "target_signal"),
    *("rungs", "rungs"),
)
"""Names of the values of `levels_of`, in its order; `rungs` are only those with a part left to
sell, so that the sale of a part changes both `rungs` and `qty`."""
CAMPAIGN_NAMES: Final = ("entries", "recovery", "recovery")
VOLATILITY: Final = "horizon_volatility"
THESIS: Final = "horizon_thesis"
"""Why the horizon moved: the volatility changed, or the thesis was judged."""
THESIS_ANSWERS: Final = (None, True, False)
"""Answers by their number in a report; none before the thesis is judged."""
LEAVING: Final = "leaving"
OPENED: Final = ("opened",)
CARRIED: Final = ("carried",)
CLOSED: Final = ("closed",)


@final
class Reported:
    """Values of a position's plan when it was reported last.

    Attributes:
        levels: Its levels, as of `levels_of`.
        further: What else may move, as of `further_of`.
    """

    __slots__ = ("further", "levels")

    def __init__(self, levels: Levels, further: tuple[int, ...]) -> None:
        self.levels: Levels = levels
        self.further: tuple[int, ...] = further

    def is_of(self, levels: Levels, further: tuple[int, ...]) -> bool:
        """Return whether these are the values that were reported."""
        return self.levels == levels and self.further == further


@final
class PlanReports:
    """Plan reports of one run.

    Attributes:
        is_on: Whether positions have a plan under the profile.
    """

    __slots__ = ("_reported", "is_on")

    def __init__(self, state: RiskState) -> None:
        """Start with nothing reported."""
        self.is_on: bool = state.exits.rules.plan.is_on
        self._reported: dict[str, Reported] = {}

    def is_due(self, state: RiskState) -> bool:
        """Return whether a beat would report a plan: a level moved, or a position has ended."""
        held = state.positions.held
        for symbol, market in held.items():
            plan = _plan_of(state, market)
            if plan is None:
                continue
            # After a restart or new filters the levels are set by the next beat.
            reported = self._reported.get(symbol)
            if reported is None or not plan.is_settled(market.rules):
                return True
            if not reported.is_of(levels_of(plan), further_of(state, market, plan)):
                return True
        return any([symbol not in held for symbol in self._reported])

    def on_beat(self, state: RiskState, cause: EventId, ts: int, seq: int) -> list[Message]:
        """Return the plan of each position whose levels have moved, in the order of symbols."""
        messages: list[Message] = []
        for symbol in sorted(state.positions.held.keys() | self._reported.keys()):
            market = state.positions.of(symbol)
            # A plan without a report was carried: this run's own are reported at their first fill.
            message = self._report(state, market, cause, ts, seq, len(messages), CARRIED)
            if message is not None:
                messages.append(message)
        return messages

    def on_fill(
        self,
        state: RiskState,
        market: Market,
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        ordinal: int,
    ) -> Message | None:
        """Return the report after a fill, at its place in the step; None if nothing moved."""
        return self._report(state, market, cause, ts, tick_seq, ordinal, OPENED)

    def _report(
        self,
        state: RiskState,
        market: Market,
        cause: EventId,
        ts: int,
        tick_seq: int | None,
        ordinal: int,
        moved: tuple[str, ...],
    ) -> Message | None:
        """Return the report of a position's plan if it moved; `moved` is for the first report."""
        symbol, plan = market.symbol, _plan_of(state, market)
        campaign = state.exits_of(market).campaign
        before = self._reported.get(symbol)
        if market.holding is None:
            if before is None:
                return None
            del self._reported[symbol]
            ref = None if campaign is None else campaign.ref
            payload = PositionPlan(
                symbol=symbol,
                qty="0",
                moved=CLOSED,
                campaign_id=None if ref is None else ref.text,
            )
            return ReportMessage.caused_by(cause, ts, tick_seq, ordinal, payload)
        exits = state.exits.find(symbol)
        if plan is None or exits is None or market.rules is None:
            return None
        state.exits.bounds(exits, market.holding, market.rules)
        levels, further = levels_of(plan), further_of(state, market, plan)
        if before is not None:
            if before.is_of(levels, further):
                return None
            former = (*before.levels, *before.further)
            values = zip_longest(former, (*levels, *further), fillvalue=0)
            names = zip(_names(state, market, plan), values, strict=False)
            moved = tuple(dict.fromkeys([name for name, (was, to) in names if was != to]))
        self._reported[symbol] = Reported(levels, further)
        payload = _payload(state, market, plan, moved)
        return ReportMessage.caused_by(cause, ts, tick_seq, ordinal, payload)

    def state(self) -> JsonObject:
        """Return the levels reported last, by symbol, as canonical JSON values."""
        return {
            symbol: [amount_text(level) for level in (*reported.levels, *reported.further)]
            for symbol, reported in self._reported.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self._reported = {}
        for symbol, texts in state.items():
            values = tuple([parse_amount(text) for text in texts])
            levels, further = values[: len(PLAN_NAMES)], values[len(PLAN_NAMES) :]
            self._reported[symbol] = Reported(cast(Levels, levels), further)


def levels_of(plan: Plan) -> Levels:
    """Return the levels whose moves are reported, in the order of `PLAN_NAMES`."""
    lower, upper = plan.rungs_left
    return (
        plan.qty,
        plan.entry,
        plan.hard,
        plan.stop,
        plan.even,
        plan.trail,
        plan.own,
        plan.own_gap,
        plan.own_share,
        plan.target,
        plan.age,
        plan.own_target,
        lower,
        upper,
    )


def further_of(state: RiskState, market: Market, plan: Plan) -> tuple[int, ...]:
    """Return the values of campaign and horizon, if there are any, whose moves are reported too.

    The last value, if an exit is pending, is the place of its reason in `CARRIED_EXITS`, from 1.
    """
    campaign, exits = state.campaign_of(market), state.exits_of(market)
    has_horizon = state.exits.rules.horizon.is_on
    further: tuple[int, ...] = ()
    if campaign is not None:
        further = campaign.entries, campaign.row, campaign.keep
    if has_horizon:
        answer = THESIS_ANSWERS.index(plan.has_thesis)
        further = (*further, state.exits.horizon_of(exits), answer)
    leaving = _leaving(exits)
    if leaving is not None:
        return (*further, CARRIED_EXITS.index(leaving) + 1)
    # Older snapshots, from before theses and exits were reported, do not have the final zero.
    return further if plan.has_thesis is not None or not has_horizon else further[:-1]


def _leaving(exits: SymbolExits) -> str | None:
    """Return the reason code of a pending exit that the next run has to make; else None."""
    leaving = exits.leaving()
    return leaving if leaving in CARRIED_EXITS else None


def _names(state: RiskState, market: Market, plan: Plan) -> tuple[str, ...]:
    """Return the names of the values of `levels_of` and `further_of`, in their order."""
    campaign = () if state.campaign_of(market) is None else CAMPAIGN_NAMES
    has_horizon = state.exits.rules.horizon.is_on
    horizon = (THESIS if plan.has_thesis else VOLATILITY, THESIS) if has_horizon else ()
    return (*PLAN_NAMES, *campaign, *horizon, LEAVING)


def _plan_of(state: RiskState, market: Market) -> Plan | None:
    """Return the plan of an open position if the venue's rules are known; else None."""
    exits = state.exits.find(market.symbol)
    if exits is None or exits.plan is None or market.holding is None or market.rules is None:
        return None
    return exits.plan if exits.plan.qty else None


def _payload(state: RiskState, market: Market, plan: Plan, moved: tuple[str, ...]) -> PositionPlan:
    stop, target = plan.floor(), plan.ceiling()
    exits = state.exits_of(market)
    longest = state.exits.held_max(exits)
    campaign = state.campaign_of(market)
    ref = None if campaign is None else campaign.ref
    carried: JsonObject | None = None
    if campaign is not None:
        at_risk = campaign.at_risk(stop, state.exits.rules.campaign.fee)
        carried = {**campaign.carried(), "at_risk": amount_text(at_risk)}
    return PositionPlan(
        symbol=market.symbol,
        qty=amount_text(plan.qty),
        moved=moved,
        stop=_price(stop),
        stop_reason=plan.floor_reason() if stop > 0 else None,
        target=_price(target),
        target_reason=plan.ceiling_reason() if target < NEVER else None,
        rungs=tuple([amount_text(rung) for rung in plan.rungs_left if rung < NEVER]) or None,
        until_ts=None if longest == NEVER else plan.opened_ts + longest,
        campaign_id=None if ref is None else ref.text,
        campaign=carried,
        leaving=_leaving(exits),
        **plan.carried(),
    )


def _price(price: int) -> str | None:
    return amount_text(price) if 0 < price < NEVER else None
