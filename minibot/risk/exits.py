"""Exits: stop and target of each position, exit requests, and the ranges in which no exit is due.

Stop and target stand at a distance from the average entry price: basis points of it, or a multiple
of the ATR. The ATR at the entry, or the first one known after it, counts until the position is
closed, so that the stop does not move with the market's volatility; an entry sized by its stop
keeps the ATR of that size. The ATR is computed from bars as float64 in one fixed order of
operations (`features.atr`) and becomes a price only in `distances.exact_atr`, as decimal text.
`exit_decision` judges stop and target at the bid, the price of a sale. Levels that move are in
`risk.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from minibot.accounting.lots import Holding
from minibot.accounting.order_rules import OrderRules
from minibot.cores.core_profile import AT_VENUE, CoreProfile
from minibot.cores.scaled_tick import NO_BOUND, QuietRange
from minibot.cores.wish import Wish
from minibot.events.decimals import div_down, parse_fixed
from minibot.events.model import JsonObject
from minibot.events.money import amount_json, amount_text, parse_amount, parse_rate
from minibot.events.reasons import (
    LEFT_TRADING,
    OPERATOR_EXIT,
    RECOVERY_EXIT,
    STOP_LOSS,
    TAKE_PROFIT,
)
from minibot.features.atr import WilderAtr
from minibot.risk.campaign import NO_LEVEL, Campaign, CampaignRules
from minibot.risk.distances import (
    MULTIPLE_PLACES,
    MULTIPLE_UNIT,
    NEVER,
    exact_atr,
    share_distance,
    whole_distance,
)
from minibot.risk.horizon import HorizonRules
from minibot.risk.plan import NO_GAP, NOTHING_WISHED, Plan, PlanRules, Wished

UNKNOWN: Final = -1
RETRY_MS_MIN: Final = 1_000
RETRY_MS_MAX: Final = 30_000

LASTING: Final = (LEFT_TRADING, RECOVERY_EXIT)
"""Exit reasons that stay until the position ends."""

CARRIED_EXITS: Final = (OPERATOR_EXIT, LEFT_TRADING)
"""Exit reasons that are carried to the next run, which cannot find them by itself. RECOVERY_EXIT
follows from the carried campaign there, and UNIVERSE_EXIT from the universe of that run."""


@final
class ExitRules:
    """Exit rules of the profile; a multiple, a share or a time that is None is off.

    A share is in ten-thousandths of a basis point of the entry price and overrides the multiple.
    """

    __slots__ = (
        "atr_period",
        "bar_interval",
        "campaign",
        "closes_at_end",
        "follows_entry",
        "has_entry_stop",
        "horizon",
        "leaves_dropped",
        "leaves_halted",
        "needs_atr",
        "plan",
        "rests",
        "signal_exit",
        "stop_limit_share",
        "stop_multiple",
        "stop_share",
        "target_multiple",
        "target_share",
        "time_exit_ms",
    )

    def __init__(self, config: JsonObject) -> None:
        """Take the exits of the whole resolved configuration."""
        profile = CoreProfile.of(config)
        risk, strategy = profile.risk, profile.strategy
        self.bar_interval: str = strategy.bar_interval
        self.atr_period: int = strategy.atr_period
        stop, target = risk.stop_bps, risk.take_profit_bps
        self.stop_share: int | None = None if stop is None else parse_rate(stop)
        self.target_share: int | None = None if target is None else parse_rate(target)
        self.stop_multiple: int | None = None
        if stop is None:
            self.stop_multiple = _multiple(risk.stop_atr_mult)
        self.has_entry_stop: bool = stop is not None or risk.stop_atr_mult is not None
        self.target_multiple: int | None = None
        if target is None:
            self.target_multiple = _multiple(risk.take_profit_atr_mult)
        # Whether stop and target rest with the executor.
        self.rests: bool = risk.exits_at == AT_VENUE
        # Distance of a resting stop's limit below the stop; None for a stop without a limit.
        limit = risk.stop_limit_bps
        self.stop_limit_share: int | None = None if limit is None else parse_rate(limit)
        self.signal_exit: bool = risk.signal_exit
        self.time_exit_ms: int | None = risk.time_exit_ms
        self.closes_at_end: bool = profile.portfolio.at_end == "close"
        self.leaves_halted: bool = risk.left_trading == "close"
        self.leaves_dropped: bool = risk.left_universe == "close"
        # Whether a distance follows the average entry price.
        self.follows_entry: bool = stop is not None or target is not None
        # Whether stop or target cannot be set before the ATR is known.
        self.needs_atr: bool = self.stop_multiple is not None or self.target_multiple is not None
        # The keys of levels that move.
        self.plan: PlanRules = PlanRules(profile)
        if self.plan.needs_atr:
            self.needs_atr = True
        self.campaign: CampaignRules = CampaignRules(profile)
        self.horizon: HorizonRules = HorizonRules(risk)

    def limit_of(self, stop: int | None, price_step: int) -> int | None:
        """Return the limit of a resting stop, at least one step; None if it has none."""
        share = self.stop_limit_share
        if stop is None or share is None:
            return None
        return max(price_step, stop - share_distance(stop, share, price_step))


@final
class SymbolExits:
    """Exit state of one symbol.

    No exit is due while the bid is between `quiet_above` and `quiet_below` and the time is before
    `quiet_until`. `quiet_until` is 0 when this range has to be computed again: after an exit that
    was due, and after all that may make one due or move a level, such as a fill, an exit request,
    an adjustment, a data gap or new rules. A bar sets it to 0 only while the position still waits
    for the ATR, or if the horizon changes.

    `refusals` counts the refused exits in a row, `retry_ts` is the time of the next attempt, and
    `last_refusal` the reason of the refusal recorded last. `rest_refusals`, `rest_retry_ts` and
    `last_rest_refusal` are the same for orders that were to rest.
    """

    __slots__ = (
        "_atr_exact",
        "_atr_read",
        "are_entry_levels_set",
        "atr",
        "atr_step",
        "atr_stop",
        "atr_target",
        "bar_open_ts",
        "campaign",
        "close",
        "entry",
        "entry_levels",
        "heard_ts",
        "horizon_ms",
        "is_exit_requested",
        "is_guarded",
        "last_refusal",
        "last_rest_refusal",
        "opened_ts",
        "plan",
        "policy_exit",
        "quiet_above",
        "quiet_below",
        "quiet_until",
        "refusals",
        "rest_refusals",
        "rest_retry_ts",
        "retry_ts",
        "stop_distance",
        "target_distance",
        "wished",
    )

    def __init__(
        self, atr: WilderAtr, plan: Plan | None = None, campaign: Campaign | None = None
    ) -> None:
        self.atr: WilderAtr = atr
        # The float ATR converted last, and its exact value.
        self._atr_read: float = -1.0
        self._atr_exact: int = 0
        # The levels that move; None if the profile has none.
        self.plan: Plan | None = plan
        # Entries and exits from flat to flat; None if the profile has no campaigns. It outlasts the
        # position while an order is open.
        self.campaign: Campaign | None = campaign
        # Distances in ATRs by the last bar, and the price step they were computed for; 0 before.
        self.atr_step: int = 0
        self.atr_stop: int | None = None
        self.atr_target: int | None = None
        self.bar_open_ts: int = -1
        self.close: int = UNKNOWN
        # Time of the last data other than a tick, or of the run's opening; for silences only.
        self.heard_ts: int = 0
        # Longest time to hold a position, by the volatility of the newest bars.
        self.horizon_ms: int = NEVER
        self.stop_distance: int | None = None
        self.target_distance: int | None = None
        self.is_guarded: bool = False
        self.is_exit_requested: bool = False
        # Of a position without a plan that was sold in part, and the time of one that began beside
        # what was too little to sell; 0 while its lots tell them.
        self.entry: int = 0
        self.opened_ts: int = 0
        # Levels that the strategy wants for the position.
        self.wished: Wished = NOTHING_WISHED
        # Levels wanted with the last entry at the market or best bid; set with its first fill.
        self.entry_levels: Wished = NOTHING_WISHED
        self.are_entry_levels_set: bool = False
        # Reason code why the profile's policy closes the position; empty to hold it.
        self.policy_exit: str = ""
        self.refusals: int = 0
        self.retry_ts: int = 0
        self.last_refusal: str = ""
        # The same for orders that are to rest: their refusals do not delay a sale at the market.
        self.rest_refusals: int = 0
        self.rest_retry_ts: int = 0
        self.last_rest_refusal: str = ""
        self.quiet_above: int = 0
        self.quiet_below: int = 0
        self.quiet_until: int = 0

    def bound(self, now: int, quiet: QuietRange) -> bool:
        """Set bids and time of `quiet` to the range without an exit; return whether it is known."""
        above, below, until = self.quiet_above, self.quiet_below, self.quiet_until
        if now >= until:
            return False
        quiet.above = max(0, above)
        quiet.below = below if below < NO_BOUND else NO_BOUND
        quiet.until = until
        quiet.is_lasting = self.is_guarded
        return True

    def set_quiet_range(self, bounds: tuple[int, int, int]) -> None:
        """Set the range of bids and the time before which no exit is due."""
        self.quiet_above, self.quiet_below, self.quiet_until = bounds

    def before_sale(self, holding: Holding) -> None:
        """Keep entry price and opening time of a position without a plan: a sale changes neither.

        The lots that remain after a sale are the newest, so they no longer show them.
        """
        if self.plan is None and not self.opened_ts:
            self.entry, self.opened_ts = holding.price_avg(), holding.opened_ts

    def after_purchase(self, holding: Holding) -> None:
        """Update the kept entry price after a purchase, if a part was sold before."""
        if self.opened_ts:
            self.entry = holding.price_avg()

    def entry_of(self, holding: Holding) -> int:
        """Return the entry price from which the levels of a position without a plan count."""
        return self.entry or holding.price_avg()

    def opened_of(self, holding: Holding) -> int:
        """Return when a position was opened, Unix ms; a plan remembers it."""
        return self.opened_ts or holding.opened_ts

    def on_order_ended(self, was_refused: bool, now: int) -> None:
        """Take the end of an exit order; each refusal in a row delays the next attempt longer.

        The first new attempt comes with the next tick, then after 1 s, 2 s, 4 s up to 30 s of
        market time, so that a venue that refuses is not asked at every tick. Any other end resets
        the count.
        """
        self.refusals = self.refusals + 1 if was_refused else 0
        self.retry_ts = _retry_ts(self.refusals, now)

    def on_rest_ended(self, was_refused: bool, now: int) -> None:
        """Take acceptance or end of an order that was to rest; waits are as in `on_order_ended`."""
        self.rest_refusals = self.rest_refusals + 1 if was_refused else 0
        self.rest_retry_ts = _retry_ts(self.rest_refusals, now)
        self.quiet_until = 0

    @property
    def keeps_levels(self) -> bool:
        """True if a strategy may set levels for its position."""
        return self.plan is not None and self.plan.has_levels

    def has_stop(self, stop: int) -> bool:
        """Return whether a stop is set; `stop` is the one from `Exits.bounds`."""
        return self.stop_distance is not None if self.plan is None else stop > 0

    def has_target(self, target: int) -> bool:
        """Return whether a target is set; `target` is the one from `Exits.bounds`."""
        return self.target_distance is not None if self.plan is None else target < NEVER

    def reasons(self) -> tuple[str, str]:
        """Return the reason codes of the stop and the target in force."""
        plan = self.plan
        if plan is None:
            return STOP_LOSS, TAKE_PROFIT
        return plan.floor_reason(), plan.ceiling_reason()

    def rest_state(self) -> JsonObject:
        """Return the state of refused orders that were to rest; empty if none was refused."""
        if not self.rest_refusals and not self.last_rest_refusal:
            return {}
        return {"rest": [self.rest_refusals, self.rest_retry_ts, self.last_rest_refusal]}

    def kept_state(self) -> JsonObject:
        """Return the state of the entry price and opening time that are kept; empty without."""
        if not self.opened_ts:
            return {}
        return {"kept": [amount_json(self.entry), self.opened_ts]}

    def entry_state(self) -> JsonObject:
        """Return the state of the levels of the last entry; empty if it wanted none."""
        if not any(self.entry_levels):
            return {}
        is_taken: JsonObject = {"is_taken": True} if self.are_entry_levels_set else {}
        return {"asked": list(map(amount_json, self.entry_levels)), **is_taken}

    def keep_entry_levels(self, wish: Wish | None, peak: int) -> None:
        """Keep the levels that the strategy wants with an allowed entry, until the next entry.

        Args:
            wish: The strategy's wish.
            peak: The price from which a trail follows the bid.
        """
        self.entry_levels = NOTHING_WISHED
        if wish is not None:
            self.entry_levels = self.wished_by(wish, peak)
        self.are_entry_levels_set = False

    def set_entry_levels(self, *, is_flat: bool) -> None:
        """Set the levels of the last entry with its first fill, and with any fill while flat."""
        if is_flat or not self.are_entry_levels_set:
            self.on_bought(self.entry_levels)
            self.are_entry_levels_set = True

    def on_bought(self, levels: Wished) -> None:
        """Set the levels of a filled entry; a level that it does not name stays as it was."""
        stop, target, gap, share, peak = levels
        former = self.wished
        if not gap and not share:
            gap, share, peak = former[2], former[3], former[4]
        self.wished = stop or former[0], target or former[1], gap, share, peak

    def wished_by(self, wish: Wish, peak: int) -> Wished:
        """Return the levels of a wish; `peak` is the bid from which a trail follows.

        A multiple of the ATR becomes a distance here, by the ATR of the position if there is one.
        The distance is never 0, which would mean no trail; the plan rounds it to at least one step.
        """
        if not wish.has_trail:
            return (wish.stop, wish.target, *NOTHING_WISHED[2:])
        gap = wish.trail
        if wish.trail_atr:
            gap = max(1, div_down(self.atr_now() * wish.trail_atr, MULTIPLE_UNIT))
        return wish.stop, wish.target, gap, wish.trail_bps, peak

    def begin_anew(self, ts: int) -> None:
        """Forget the levels of what is too little to sell: a purchase opens a position, at `ts`."""
        is_requested, policy_exit = self.is_exit_requested, self.policy_exit
        self.forget()
        self.is_exit_requested, self.policy_exit, self.opened_ts = is_requested, policy_exit, ts

    def drop_requests(self) -> None:
        """Forget the requests of `CARRIED_EXITS`, which else end with the position alone."""
        self.is_exit_requested = False
        if self.policy_exit == LEFT_TRADING:
            self.policy_exit = ""

    def leaving(self) -> str:
        """Return the reason code of the exit that waits until it can be sold; empty for none."""
        return OPERATOR_EXIT if self.is_exit_requested else self.policy_exit

    def last_atr(self) -> int | None:
        """Return the ATR of the last bar in hundred-millionths; None while unknown."""
        value = self.atr.value
        if value is None:
            return None
        # Entries between two bars use the same ATR; converting it takes time.
        if value != self._atr_read:
            self._atr_read, self._atr_exact = value, exact_atr(value)
        return self._atr_exact

    def atr_now(self) -> int:
        """Return the ATR of the position, else the one of the last bar; 0 while unknown."""
        if self.plan is not None and self.plan.atr is not None:
            return self.plan.atr
        return self.last_atr() or 0

    def forget(self) -> None:
        """Forget levels, requests and refusals of a closed position; the ATR stays."""
        self.wished = NOTHING_WISHED
        self.entry = self.opened_ts = 0
        self.stop_distance = self.target_distance = None
        self.is_guarded = self.is_exit_requested = False
        self.policy_exit = ""
        self.quiet_until = 0
        self.refusals, self.retry_ts, self.last_refusal = 0, 0, ""
        self.rest_refusals, self.rest_retry_ts, self.last_rest_refusal = 0, 0, ""
        if self.plan is not None:
            self.plan.forget()


@final
class Exits:
    """The exits of all symbols of one run.

    Attributes:
        rules: The exit rules of the profile.
        ending_until: Market time of the run's announced end; None before `run_ending`.
    """

    __slots__ = ("_found", "_symbol", "_symbols", "ending_until", "rules")

    def __init__(self, rules: ExitRules) -> None:
        """Start without bars and without requests."""
        self.rules: ExitRules = rules
        self._symbols: dict[str, SymbolExits] = {}
        # Bars and ticks of one symbol often follow each other, so the last one found is kept.
        self._symbol: str = ""
        self._found: SymbolExits | None = None
        self.ending_until: int | None = None

    def of(self, symbol: str) -> SymbolExits:
        """Return the exit state of a symbol, made at the first call."""
        found = self._found
        if found is not None and symbol == self._symbol:
            return found
        exits = self._symbols.get(symbol)
        if exits is None:
            plan = Plan(self.rules.plan.has_levels) if self.rules.plan.is_on else None
            campaign = Campaign() if self.rules.campaign.is_on else None
            exits = SymbolExits(WilderAtr(self.rules.atr_period), plan, campaign)
            exits.horizon_ms = self.rules.horizon.usual
            self._symbols[symbol] = exits
        self._symbol, self._found = symbol, exits
        return exits

    def find(self, symbol: str) -> SymbolExits | None:
        """Return the exit state of a symbol, None before it has one."""
        return self._symbols.get(symbol)

    def on_bar(
        self, symbol: str, open_ts: int, high: float, low: float, close: float, units: int
    ) -> None:
        """Take a closed bar of the ATR's interval; ignore one that is not newer than the last.

        Args:
            symbol: The market.
            open_ts: When it opened, Unix ms.
            high: Its highest price, as indicators take prices.
            low: Its lowest price.
            close: Its last price.
            units: The close in hundred-millionths.
        """
        exits = self._found
        if exits is None or symbol != self._symbol:
            # One look-up: with bars of many symbols, caching this one would not help.
            exits = self._symbols.get(symbol) or self.of(symbol)
        if open_ts <= exits.bar_open_ts:
            return
        exits.bar_open_ts = open_ts
        exits.close = units
        if not exits.is_guarded:
            # Stop and target wait for the ATR; once set, no bar moves them.
            exits.quiet_until = 0
        exits.atr.update(high, low, close)
        exits.atr_step = 0

    def carry(self, symbol: str, plan: Mapping[str, Any]) -> None:
        """Take over plan and pending exit of a position that another run opened; see `Plan.carry`.

        An exit by a policy that is off in this run is dropped.
        """
        exits, rules, leaving = self.of(symbol), self.rules, plan.get("leaving")
        exits.is_exit_requested = leaving == OPERATOR_EXIT
        if leaving == LEFT_TRADING and rules.leaves_halted:
            exits.policy_exit = LEFT_TRADING
        if exits.plan is not None:
            exits.plan.carry(rules.plan, rules.has_entry_stop, plan)
            exits.plan.has_thesis = plan.get("has_thesis") if rules.horizon.thesis.is_set else None
            if rules.plan.has_levels:
                names = ("stop_signal", "target_signal")
                stop, target = [parse_amount(plan.get(name, "0")) for name in names]
                exits.wished = stop, target, 0, 0, 0  # Its trail is in the plan.

    def request_exit(self, symbol: str) -> None:
        """Note an operator's request to close a position; earlier refusals no longer count."""
        exits = self.of(symbol)
        exits.is_exit_requested = True
        exits.quiet_until = 0
        exits.refusals, exits.retry_ts, exits.last_refusal = 0, 0, ""

    def mark_for_exit(self, symbol: str, reason: str) -> None:
        """Mark a position for exit by the profile's policy, once it can be sold.

        It replaces an earlier mark, except one of `LASTING`.
        """
        exits = self.of(symbol)
        if exits.policy_exit in LASTING:
            return
        exits.policy_exit = reason
        exits.quiet_until = 0

    def clear_exit(self, symbol: str, reason: str) -> None:
        """Remove the mark for exit if it was set for this reason."""
        exits = self.of(symbol)
        if exits.policy_exit == reason:
            exits.policy_exit = ""

    def on_fill(
        self, exits: SymbolExits, holding: Holding, rules: OrderRules, sized: int | None
    ) -> None:
        """Guard an open position, and compute the range in which no exit is due.

        There is no range with an exit request, a mark for exit, a refused exit or an announced end.

        Args:
            exits: The exits of the position.
            holding: The position.
            rules: The venue's rules for its symbol.
            sized: The ATR by which the entry of this fill was sized; None if it was not.
        """
        exits.quiet_until = 0
        if not exits.is_guarded:
            self.guard(exits, rules.price_step, sized)
        bounds = self.bounds(exits, holding, rules)
        if exits.last_refusal or exits.leaving() or self.ending_until is not None:
            return
        if exits.campaign is not None and exits.campaign.is_reducing:
            return
        exits.set_quiet_range(self.quiet_bounds(exits, bounds))

    def quiet_bounds(
        self, exits: SymbolExits, bounds: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        """Narrow `bounds` to bids and a time within which no level is reached or moves either."""
        plan, campaign = exits.plan, exits.campaign
        if plan is None:
            return bounds
        is_reducing = campaign is not None and campaign.is_reducing
        if is_reducing or plan.gap_ts != NO_GAP or plan.silent_ts != NO_GAP:
            return 0, 0, 0
        stop, target, ends = bounds
        moves = plan.moves_at(self.rules.plan)
        if campaign is not None:
            stop = max(stop, self.next_recovery(exits))
        return stop, min(target, moves, plan.rungs_left[0]), min(ends, plan.age_until)

    def next_recovery(self, exits: SymbolExits) -> int:
        """Return the bid at which a campaign reaches its next recovery row; `NO_LEVEL` for none.

        The plan must be up to date.
        """
        plan, campaign = exits.plan, exits.campaign
        if plan is None or campaign is None or not campaign.is_open:
            return NO_LEVEL
        return campaign.next_level(self.rules.campaign, plan.entry, plan.price_step)

    def on_gap(self, symbol: str, from_ts: int) -> None:
        """Note the start of a data gap of a held symbol, if `stale_exit_ms` is set."""
        exits = self.find(symbol)
        if exits is None or exits.plan is None or not exits.plan.qty:
            return
        if self.rules.plan.stale_ms is not None and exits.plan.gap_ts == NO_GAP:
            exits.plan.gap_ts = from_ts
            exits.quiet_until = 0

    def on_data(self, symbol: str, ts: int) -> None:
        """Note data of a symbol other than a tick, or that the run opened with the symbol held."""
        exits = self.of(symbol)
        if ts > exits.heard_ts:
            exits.heard_ts = ts

    def on_ratio(self, symbol: str, ratio: int | None) -> None:
        """Set the horizon of a symbol by the volatility ratio of its newest bars, if it is on."""
        exits, length = self.of(symbol), self.rules.horizon.length(ratio)
        if length != exits.horizon_ms:
            exits.horizon_ms = length
            exits.quiet_until = 0

    def horizon_of(self, exits: SymbolExits) -> int:
        """Return the longest time to hold a position by its horizon; `NEVER` for no horizon."""
        plan = exits.plan
        return self.rules.horizon.most if plan is not None and plan.has_thesis else exits.horizon_ms

    def held_max(self, exits: SymbolExits) -> int:
        """Return the longest time to hold a position with a plan; `NEVER` without a limit."""
        horizon, longest = self.horizon_of(exits), self.rules.time_exit_ms
        return horizon if longest is None or horizon < longest else longest

    def judge_thesis(self, exits: SymbolExits, bid: int, now: int) -> None:
        """Judge the thesis at the first judged tick after the horizon; the answer stays.

        A sale that is still to be filled would else be followed by a longer hold. The plan must be
        up to date.
        """
        plan = exits.plan
        if plan is None or plan.has_thesis is not None:
            return
        gain = self.rules.horizon.thesis.of(plan.entry, None, plan.price_step)
        if gain is not None and now >= plan.opened_ts + exits.horizon_ms:
            plan.has_thesis = bid >= plan.entry + gain

    def heard_ts(self, exits: SymbolExits, tick_ts: int) -> int:
        """Return the time of the last data of a held symbol, whose last tick came at `tick_ts`."""
        return max(tick_ts, exits.heard_ts)

    def on_held_tick(self, exits: SymbolExits, before: int, ts: int) -> None:
        """Note the silence that a tick of a held symbol ends, if it was too long.

        Args:
            exits: The exits of the symbol.
            before: Time of the tick before.
            ts: Time of this tick.
        """
        plan, longest = exits.plan, self.rules.plan.silent_ms
        if plan is None or longest is None or plan.silent_ts != NO_GAP:
            return
        since = self.heard_ts(exits, before)
        if ts - since >= longest:
            plan.silent_ts = since
            exits.quiet_until = 0

    def bounds(
        self, exits: SymbolExits, holding: Holding, rules: OrderRules
    ) -> tuple[int, int, int]:
        """Return stop, target and closing time of an open position; bring its plan up to date.

        Distances in basis points are updated too. A stop that is off is 0; a target or time that is
        off is `NEVER`.
        """
        plan, step = exits.plan, rules.price_step
        if plan is None:
            if self.rules.follows_entry:
                self._follow(exits, exits.entry_of(holding), step)
            return self.bounds_set(exits, holding, step)
        plan.count(holding, exits.opened_of(holding))
        if self.rules.follows_entry:
            self._follow(exits, plan.entry, step)
        down, up = exits.stop_distance, exits.target_distance
        plan.settle(self.rules.plan, rules, exits.is_guarded, down, up, exits.wished)
        if exits.wished[4]:  # The plan has the trail now.
            exits.wished = (*exits.wished[:2], *NOTHING_WISHED[2:])
        return self.bounds_set(exits, holding, step)

    def bounds_set(self, exits: SymbolExits, holding: Holding, step: int) -> tuple[int, int, int]:
        """Return the same as `bounds` by the distances as they are, and change nothing."""
        plan = exits.plan
        if plan is not None:
            longest = self.held_max(exits)
            ends = NEVER if longest == NEVER else plan.opened_ts + longest
            return plan.floor(), plan.ceiling(), ends
        entry = exits.entry_of(holding)
        down, up = exits.stop_distance, exits.target_distance
        # In whole steps: the stop is rounded up, so that it acts early rather than late, the target
        # down, so that it can be reached.
        stop = 0 if down is None else -((down - entry) // step) * step
        target = NEVER if up is None else (entry + up) // step * step
        held_max = self.rules.time_exit_ms
        ends = NEVER if held_max is None else exits.opened_of(holding) + held_max
        return stop, target, ends

    def invalidate_quiet_range(self) -> None:
        """Discard all quiet ranges, so that the next tick judges every exit."""
        for exits in self._symbols.values():
            exits.quiet_until = 0

    def levels(self, exits: SymbolExits, holding: Holding, rules: OrderRules) -> tuple[int, ...]:
        """Return the bids of stop, target, rungs and next recovery row, those that are set."""
        stop, target, _ = self.bounds(exits, holding, rules)
        found = []
        if exits.has_stop(stop):
            found.append(stop)
        if exits.has_target(target):
            found.append(target)
        if exits.plan is not None:
            found += [rung for rung in exits.plan.rungs_left if rung < NEVER]
        recovery = self.next_recovery(exits)
        if recovery > NO_LEVEL:
            found.append(recovery)
        return tuple(found)

    def guard(self, exits: SymbolExits, price_step: int, sized: int | None = None) -> None:
        """Set the distances in ATRs of a position; do nothing while a needed ATR is unknown.

        A position that another run opened keeps the ATR of its entry, and one whose entry was sized
        by an ATR keeps that one. Distances in basis points are set by `bounds` and follow the
        average entry price.
        """
        plan, atr = exits.plan, exits.last_atr()
        if plan is not None and plan.atr is not None:
            distances = self._in_atrs(plan.atr, price_step)
        elif sized is not None:
            distances = self._in_atrs(sized, price_step)
            if plan is not None:
                plan.atr = sized
        else:
            if price_step != exits.atr_step and self.rules.needs_atr:
                if atr is None:
                    return
                exits.atr_step = price_step
                exits.atr_stop, exits.atr_target = self._in_atrs(atr, price_step)
            distances = exits.atr_stop, exits.atr_target
            if plan is not None and atr is not None:
                plan.atr = atr
        exits.is_guarded = True
        exits.stop_distance, exits.target_distance = distances

    def _in_atrs(self, atr: int, price_step: int) -> tuple[int | None, int | None]:
        """Return the distances of stop and target at an ATR; None for one that is not in ATRs."""
        stop, target = self.rules.stop_multiple, self.rules.target_multiple
        return (
            None if stop is None else whole_distance(atr, stop, price_step),
            None if target is None else whole_distance(atr, target, price_step),
        )

    def _follow(self, exits: SymbolExits, entry: int, price_step: int) -> None:
        """Set the distances in basis points of a position to its average entry price."""
        stop, target = self.rules.stop_share, self.rules.target_share
        if stop is not None:
            exits.stop_distance = share_distance(entry, stop, price_step)
        if target is not None:
            exits.target_distance = share_distance(entry, target, price_step)

    # --- as text ------------------------------------------------------------------------------

    def state(self) -> JsonObject:
        """Return all of it as canonical JSON values."""
        return {
            "ending_until": self.ending_until,
            "symbols": {
                name: {
                    "atr": exits.atr.state(),
                    "bar_open_ts": exits.bar_open_ts,
                    "close": None if exits.close == UNKNOWN else amount_text(exits.close),
                    **({"heard_ts": exits.heard_ts} if exits.heard_ts else {}),
                    **({"horizon_ms": exits.horizon_ms} if self.rules.horizon.is_on else {}),
                    "stop_distance": _text(exits.stop_distance),
                    "target_distance": _text(exits.target_distance),
                    "is_guarded": exits.is_guarded,
                    "is_asked": exits.is_exit_requested,
                    "left": exits.policy_exit,
                    "refusals": exits.refusals,
                    "retry_ts": exits.retry_ts,
                    "told": exits.last_refusal,
                    **exits.rest_state(),
                    **exits.kept_state(),
                    **(
                        {"wished": list(map(amount_json, exits.wished))}
                        if any(exits.wished)
                        else {}
                    ),
                    **exits.entry_state(),
                    **({} if exits.plan is None else {"plan": exits.plan.state()}),
                    **({} if exits.campaign is None else {"campaign": exits.campaign.state()}),
                }
                for name, exits in self._symbols.items()
            },
        }

    @staticmethod
    def from_state(rules: ExitRules, state: Mapping[str, Any]) -> Exits:
        """Return the exits of `state`."""
        restored = Exits(rules)
        restored.ending_until = state["ending_until"]
        for name, data in state["symbols"].items():
            plan = None
            if rules.plan.is_on:
                plan = Plan.from_state(data["plan"], rules.plan.has_levels)
            campaign = None
            if rules.campaign.is_on:
                campaign = Campaign()
                campaign.restore(rules.campaign, data.get("campaign") or {})
            exits = SymbolExits(WilderAtr.from_state(data["atr"]), plan, campaign)
            restored._symbols[name] = exits
            exits.bar_open_ts = data["bar_open_ts"]
            exits.close = UNKNOWN if data["close"] is None else parse_amount(data["close"])
            exits.heard_ts = data.get("heard_ts", 0)
            exits.horizon_ms = data.get("horizon_ms", rules.horizon.usual)
            exits.stop_distance = _amount(data["stop_distance"])
            exits.target_distance = _amount(data["target_distance"])
            exits.is_guarded = data["is_guarded"]
            exits.is_exit_requested = data["is_asked"]
            exits.policy_exit = data.get("left", "")
            exits.wished = _wished(data.get("wished"))
            exits.entry_levels = _wished(data.get("asked"))
            exits.are_entry_levels_set = data.get("is_taken", False)
            entry, exits.opened_ts = data.get("kept", (0, 0))
            exits.entry = int(entry)
            exits.refusals = data["refusals"]
            exits.retry_ts = data["retry_ts"]
            exits.last_refusal = data["told"]
            exits.rest_refusals, exits.rest_retry_ts, exits.last_rest_refusal = data.get(
                "rest", (0, 0, "")
            )
        return restored


def _wished(data: Sequence[int | str] | None) -> Wished:
    """Return the strategy's levels from a state; older states have no trail."""
    found = [int(each) for each in data or ()]
    stop, target, gap, share, peak = (*found, *NOTHING_WISHED[len(found) :])
    return stop, target, gap, share, peak


def _retry_ts(refusals: int, now: int) -> int:
    """Return the time of the next attempt after a number of refusals in a row; 0 for at once."""
    if not refusals:
        return 0
    if refusals == 1:
        return now
    return now + min(RETRY_MS_MAX, RETRY_MS_MIN << min(refusals - 2, 10))


def _multiple(text: str | None) -> int | None:
    return None if text is None else parse_fixed(text, MULTIPLE_PLACES)


def _text(amount: int | None) -> str | None:
    return None if amount is None else amount_text(amount)


def _amount(text: str | None) -> int | None:
    return None if text is None else parse_amount(text)
