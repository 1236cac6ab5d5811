"""Reason codes of decisions, and of data from outside that was set aside or survived.

Those of decisions say why a signal holds, why risk refuses and how an order ended.
"""

from __future__ import annotations

from typing import Final

from minibot.events.reason import BUSINESS_GROUP, FEED_GROUP, define


def _business(code: str, meaning: str, remedy: str) -> str:
    return define(BUSINESS_GROUP, code, meaning, remedy)


def _feed(code: str, meaning: str, remedy: str) -> str:
    return define(FEED_GROUP, code, meaning, remedy)


# --- signals: why to trade ---------------------------------------------------------------------

MOMENTUM_UP: Final = _business(
    "momentum_up",
    "The fast average rose above the slow one by at least the momentum threshold.",
    "Compare `momentum_bps_min` with the value in the checks.",
)
MOMENTUM_DOWN: Final = _business(
    "momentum_down",
    "The fast average fell below the slow one by at least the momentum threshold.",
    "Compare `momentum_bps_min` with the value in the checks.",
)
REVERSION_OVERSOLD: Final = _business(
    "reversion_oversold",
    "RSI is at or under its lower threshold and the price lies under its average.",
    "Compare `rsi_oversold` and `reversion_bps_min` with the values in the checks.",
)
REVERSION_OVERBOUGHT: Final = _business(
    "reversion_overbought",
    "RSI is at or above its upper threshold and the price lies above its average.",
    "Compare `rsi_overbought` and `reversion_bps_min` with the values in the checks.",
)

REVERSION_DONE: Final = _business(
    "reversion_done",
    "The price is back at its average, which was the aim of the position.",
    "Nothing to do; `reversion_bps_min` set the distance at entry.",
)

# --- signals: why to hold ----------------------------------------------------------------------

NO_SETUP: Final = _business(
    "no_setup",
    "Neither momentum nor reversion shows a setup.",
    "Nothing to do; the checks hold the values that fell short.",
)
CONFLICTING: Final = _business(
    "conflicting",
    "Momentum and reversion point in opposite directions, so neither is followed.",
    "Nothing to do; HOLD on doubt is the rule.",
)
OWN_RULE: Final = _business(
    "own_rule",
    "A rule of your strategy fired; its own reason says which.",
    "Read the sentence and the checks of the signal, and the strategy's file.",
)
OWN_HOLD: Final = _business(
    "own_hold",
    "Your strategy held; a night's `explain` has its reasons, `code=` splits them.",
    "Read the sentence and the checks of the signal, and the strategy's file.",
)
NO_POSITION: Final = _business(
    "no_position",
    "A sale was indicated, but there is nothing to sell.",
    "Nothing to do; spot is long or flat.",
)
IN_POSITION: Final = _business(
    "in_position",
    "A purchase was indicated, but the symbol is held already.",
    "Nothing to do; the strategy adds nothing to an open position.",
)
FEATURE_MISSING: Final = _business(
    "feature_missing",
    "An indicator has no usable value, so nothing is concluded from it.",
    "Check the bars of the symbol; the checks name the value that is missing.",
)
WARMUP: Final = _business(
    "warmup",
    "An indicator still lacks bars.",
    "Wait, or give more history; the checks hold the count.",
)
SPREAD_TOO_WIDE: Final = _business(
    "spread_too_wide",
    "The spread is wider than the strategy accepts.",
    "Compare `spread_bps_max` with the value in the checks.",
)
LIQUIDITY_TOO_LOW: Final = _business(
    "liquidity_too_low",
    "Too little notional is shown at the touch.",
    "Compare `touch_notional_min` with the value in the checks.",
)
STALE_TICK: Final = _business(
    "stale_tick",
    "The last tick of the symbol is too old to act on.",
    "Check the feed; compare `tick_age_ms_max` with the age in the checks.",
)
BOOK_UNUSABLE: Final = _business(
    "book_unusable",
    "The touch is missing, crossed or being rebuilt.",
    "Nothing to do unless it lasts; see gaps and incidents.",
)
COOLDOWN: Final = _business(
    "cooldown",
    "The last signal to trade in this symbol was too recent.",
    "Compare `cooldown_ms` with the value in the checks.",
)
RANK_TOO_LOW: Final = _business(
    "rank_too_low",
    "Too many symbols rank before this one in the last scan, or it has no rank.",
    "Compare `rank_max` with the value in the checks; see `minibot scan`.",
)
SCORE_TOO_LOW: Final = _business(
    "score_too_low",
    "The score is under the threshold to trade.",
    "Compare `score_min` with the value in the checks.",
)
CONFIDENCE_TOO_LOW: Final = _business(
    "confidence_too_low",
    "The confidence is under the threshold to trade.",
    "Compare `confidence_min` with the value in the checks.",
)
COST_GATE: Final = _business(
    "cost_gate",
    "The expected move does not pay spread and fees.",
    "Nothing to do; `strategy.cost_gate` switches this filter.",
)

# --- risk: allowed -----------------------------------------------------------------------------

ALLOWED: Final = _business(
    "allowed",
    "Every check passed, so an order was sent on.",
    "Nothing to do; the checks show how far each limit was away.",
)
REDUCED: Final = _business(
    "reduced",
    "The order was made smaller so that it fits a limit.",
    "Nothing to do; the failed check names the limit.",
)

# --- risk: refused -----------------------------------------------------------------------------

STALE_SIGNAL: Final = _business(
    "stale_signal",
    "The signal was too old when risk took it.",
    "Check load and backlog; compare `signal_age_ms_max`, or the signal's `horizon_ms` if that is "
    "less, with the age in the checks.",
)
HALTED: Final = _business(
    "halted",
    "An operator halted entries.",
    "Run `minibot resume --reason ...` when you want entries again.",
)
SYMBOL_LOCKED: Final = _business(
    "symbol_locked",
    "An operator locked the symbol.",
    "Wait until the lock runs out, or run `minibot unlock-symbol SYMBOL --reason ...`.",
)
STOPLOSS_GUARD: Final = _business(
    "stoploss_guard",
    "Too many trades of late ended at their stop with a loss.",
    "Wait: the check says how long; `minibot risk` shows the lock.",
)
COOLDOWN_PERIOD: Final = _business(
    "cooldown_period",
    "The symbol was left a short while ago.",
    "Wait: the check says how long; `minibot risk` shows the lock.",
)
MAX_DRAWDOWN: Final = _business(
    "max_drawdown",
    "Closed trades of late drew down too far.",
    "Wait: the check says how long; `minibot risk` shows the lock.",
)
LOW_PROFIT_PAIRS: Final = _business(
    "low_profit_pairs",
    "Closed trades of the symbol brought too little of late.",
    "Wait: the check says how long; `minibot risk` shows the lock.",
)
ACCOUNT_DRAWDOWN: Final = _business(
    "account_drawdown",
    "The account is too far below its high-water mark: its tier is HALTED, or it is carried on "
    "beyond its hard limit.",
    "Compare `drawdown_tiers` and `account_drawdown_bps_hard` with the value in the checks; "
    "`minibot risk` shows what is left.",
)
DRAWDOWN_TIER: Final = _business(
    "drawdown_tier",
    "The tier of the account's drawdown lets a part of an order enter, which is too small.",
    "Compare `drawdown_tiers` with the value in the checks.",
)
CORRELATION: Final = _business(
    "correlation",
    "The symbol moves too much like another that is held or being bought.",
    "Compare `correlation_max` with the value in the checks.",
)
BENCHMARK_CORRELATION: Final = _business(
    "benchmark_correlation",
    "The symbol moves too much like the benchmark.",
    "Compare `benchmark_correlation_max` with the value in the checks.",
)
VOLATILITY_RATIO: Final = _business(
    "volatility_ratio",
    "The benchmark moves too much more than it usually does.",
    "Wait, or compare `volatility_ratio_max` with the value in the checks.",
)
DRIFT: Final = _business(
    "drift",
    "The symbol's returns of late are distributed too differently from those before.",
    "Wait, or compare `drift_max` with the value in the checks.",
)
SIZE_WISH: Final = _business(
    "size_wish",
    "The strategy wants an entry of less than the venue takes.",
    "Let the strategy ask for more, or leave the size to `risk.sizing`.",
)
NO_PLAN: Final = _business(
    "no_plan",
    "The strategy wants a stop or a target of its own, and the profile keeps no such levels.",
    "Set `hard_stop_bps`, with which a position keeps them.",
)
WISH_REACHED: Final = _business(
    "wish_reached",
    "The stop that the strategy wants is not below the bid, or its target not above the ask.",
    "Nothing to do, or let the strategy keep more distance.",
)
LIMIT_CROSSES: Final = _business(
    "limit_crosses",
    "The limit of the strategy's purchase is not below the ask, where it could not rest.",
    "Nothing to do, or let the strategy keep more distance; without a limit it buys at the market.",
)
LIMIT_ENTRIES_MAX: Final = _business(
    "limit_entries_max",
    "The strategy has as many purchases at a limit in the symbol as the profile lets rest.",
    "Wait until one is filled or its time is over, or compare `limit_entries_max`.",
)
LOOSER_LEVEL: Final = _business(
    "looser_level",
    "The stop or the trail that the strategy wants is looser than the one in force.",
    "Nothing to do; a stop only rises.",
)
LOW_CONFIDENCE: Final = _business(
    "low_confidence",
    "The strategy trusts its signal too little.",
    "Compare `confidence_min` with the value in the checks.",
)
STALE_BAR: Final = _business(
    "stale_bar",
    "The newest closed bar of the symbol is missing or too old.",
    "Compare `bars_late_max` with the value in the checks; see `gap` events.",
)
PRICE_MOVED: Final = _business(
    "price_moved",
    "The price has moved too far since the newest bar closed.",
    "Compare `price_move_atr_max` with the value in the checks.",
)
FATIGUE: Final = _business(
    "fatigue",
    "The symbol rose far within a day, its RSI is high, and the rise gains no speed.",
    "Wait, or compare the keys `fatigue_...` with the values in the checks.",
)
VADR_FROZEN: Final = _business(
    "vadr_frozen",
    "VADR has too few readings: bars are missing, late, or did not move.",
    "Wait, or give the run more history; compare `vadr_bars` with the value in the checks.",
)
VADR_LOW: Final = _business(
    "vadr_low",
    "The market's range and volume of 24 hours are too near to their usual ones, or below them.",
    "Wait, or compare `vadr_min` with the value in the checks.",
)
REGIME_EXCLUDED: Final = _business(
    "regime_excluded",
    "The market's regime is none in which the profile enters, or is not known yet.",
    "Wait for another regime, or compare `entry_regimes` with `minibot scan`.",
)
LOSSES_IN_ROW: Final = _business(
    "losses_in_row",
    "Too many trades in a row lost.",
    "Wait: the check says how long; `minibot risk` shows the lock.",
)
RUN_ENDING: Final = _business(
    "run_ending",
    "The run ends: no new position is opened, and what is still open of an order expires.",
    "Nothing to do.",
)
NOT_TRADING: Final = _business(
    "not_trading",
    "The instrument's status on the exchange is not TRADING.",
    "Nothing to do in a halt that ends; else choose another symbol.",
)
NO_INSTRUMENT: Final = _business(
    "no_instrument",
    "The rules of the symbol are not known yet.",
    "Nothing to do unless it lasts; see `instrument` events.",
)
NO_MARK: Final = _business(
    "no_mark",
    "There is no usable price to value or size the position with.",
    "Check the feed of the symbol.",
)
PENDING_ORDER: Final = _business(
    "pending_order",
    "An order of this symbol is still open, so no other one is sent.",
    "Nothing to do.",
)
DUPLICATE: Final = _business(
    "duplicate",
    "The same wish was already decided on.",
    "Nothing to do.",
)
MIN_NOTIONAL: Final = _business(
    "min_notional",
    "The order's value is under the exchange's minimum, or an entry's so little above it that its "
    "sale at the stop would be under it.",
    "Let an entry cost more, see `minibot size SYMBOL --explain`; or accept that small rests stay.",
)
NOTIONAL_MAX: Final = _business(
    "notional_max",
    "The order's value is over the exchange's maximum.",
    "Let an entry cost less, see `minibot size SYMBOL --explain`.",
)
STEP_SIZE: Final = _business(
    "step_size",
    "The quantity or the price is not a multiple of its increment.",
    "Fix the writer of the intent; sizing rounds down to the increment.",
)
QTY_MIN: Final = _business(
    "qty_min",
    "The quantity is under the exchange's minimum.",
    "Let an entry cost more, see `minibot size SYMBOL --explain`.",
)
QTY_MAX: Final = _business(
    "qty_max",
    "The quantity is over the exchange's maximum.",
    "Let an entry cost less, see `minibot size SYMBOL --explain`.",
)
QTY_INVALID: Final = _business(
    "qty_invalid",
    "The quantity is zero, negative or not a number.",
    "Fix the writer of the intent.",
)
PRICE_INVALID: Final = _business(
    "price_invalid",
    "The price is zero, negative, not a number, or missing where it is needed.",
    "Fix the writer of the intent.",
)
PRICE_BAND: Final = _business(
    "price_band",
    "The price lies outside the band that the exchange allows.",
    "Nothing to do unless it repeats; see the checks.",
)
PRICE_RANGE: Final = _business(
    "price_range",
    "The limit price is under the exchange's lowest or over its highest price.",
    "Fix the writer of the intent; `price_min` and `price_max` are in the `instrument` event.",
)
POSITION_MAX: Final = _business(
    "position_max",
    "More of the asset would be held than the exchange allows in this symbol.",
    "Let an entry cost less, see `minibot size SYMBOL --explain`; `position_max` is in the "
    "`instrument` event.",
)
TRAILING_DELTA: Final = _business(
    "trailing_delta",
    "A trailing stop is nearer to or farther from the market than the exchange allows.",
    "Fix the writer of the intent; the bounds are in the `instrument` event.",
)
ORDERS_MAX: Final = _business(
    "orders_max",
    "More orders would rest in this symbol than the exchange allows.",
    "Wait for an open order to end; `orders_max` is in the `instrument` event.",
)
ALGO_ORDERS_MAX: Final = _business(
    "algo_orders_max",
    "More orders would wait for a trigger in this symbol than the exchange allows.",
    "Wait for an open order to end; `algo_orders_max` is in the `instrument` event.",
)
ORDER_LISTS_MAX: Final = _business(
    "order_lists_max",
    "More OCOs would rest in this symbol than the exchange allows.",
    "Wait for an open order to end; `order_lists_max` stands in the `instrument` event.",
)
NOT_IN_UNIVERSE: Final = _business(
    "not_in_universe",
    "The symbol is not, or no longer, in the universe of the run.",
    "Nothing to do; the last `universe` event says why.",
)
REFERENCE_DEVIATION: Final = _business(
    "reference_deviation",
    "The price is too far from the reference price.",
    "Compare `reference_deviation_bps_max` with the value in the checks.",
)
SPREAD_LIMIT: Final = _business(
    "spread_limit",
    "The spread is wider than risk allows for an entry, or than its stop is away.",
    "Compare `entry_spread_bps_max`, or the stop, with the value in the checks.",
)
NO_BOOK: Final = _business(
    "no_book",
    "There is no book of the symbol whose depth risk could judge.",
    "Check the feed of the symbol; a source of bars has no book.",
)
FOREIGN_VENUE: Final = _business(
    "foreign_venue",
    "Book or rules of the symbol name another venue than the profile's.",
    "Feed the run with the venue's own book; aggregated depth lets nothing enter.",
)
STALE_BOOK: Final = _business(
    "stale_book",
    "The last book of the symbol is too old for an entry.",
    "Check the feed; compare `tick_age_ms_max` with the age in the checks.",
)
THIN_BOOK: Final = _business(
    "thin_book",
    "Bids or asks within 2 % of the mid are worth too little for an entry.",
    "Compare `depth_min` with the value in the checks.",
)
SHORT_BOOK: Final = _business(
    "short_book",
    "The kept book does not reach 2 % of the mid, and what it holds is worth too little.",
    "Compare `depth_min` with the value in the checks, which is a lower bound.",
)
POSITION_LIMIT: Final = _business(
    "position_limit",
    "The position in the symbol would exceed its limit.",
    "Compare `position_notional_max` with the value in the checks.",
)
POSITIONS_MAX: Final = _business(
    "positions_max",
    "As many positions are open as may be at a time.",
    "Compare `positions_max` with the value in the checks.",
)
CAMPAIGN_FULL: Final = _business(
    "campaign_full",
    "The campaign of the symbol has had as many entries as were fixed at its first.",
    "Wait for its end; compare `campaign_entries_max` with the value in the checks.",
)
CAMPAIGN_COOLDOWN: Final = _business(
    "campaign_cooldown",
    "The last entry of the symbol's campaign was too recent.",
    "Compare `campaign_entry_wait_market_ms` with the value in the checks.",
)
CAMPAIGN_RESERVE: Final = _business(
    "campaign_reserve",
    "The worst loss that was fixed for the symbol's campaign leaves no room for this entry.",
    "Compare `campaign_loss_max` with the loss at the stop in the checks.",
)
RECOVERY_HOLD: Final = _business(
    "recovery_hold",
    "The symbol's campaign has lost too much for a further entry, by a row of the recovery table.",
    "Wait for a higher price; `recovery` sets the losses.",
)
SIZE_SHARE: Final = _business(
    "size_share",
    "The free budget over the free positions is less than the venue's least order.",
    "Wait for a position to close, or lower `positions_max`.",
)
SIZE_RISK: Final = _business(
    "size_risk",
    "An order of the least size would lose more at the stop than a position may.",
    "Compare `risk_per_trade_bps` with the checks; a nearer stop allows a larger order.",
)
SIZE_KELLY: Final = _business(
    "size_kelly",
    "Kelly's share of the budget is less than the venue's least order.",
    "Compare `position_share_bps_min` with the value in the checks.",
)
SIZE_VOLATILITY: Final = _business(
    "size_volatility",
    "The market moves so much that the order is less than the venue's least.",
    "Compare `size_atr_bps_full` with the value in the checks.",
)
NO_STOP: Final = _business(
    "no_stop",
    "The distance of the stop is not known, so that the loss at it is not either.",
    "Give the profile a stop: `stop_atr_mult` or `stop_bps`.",
)
NO_EDGE: Final = _business(
    "no_edge",
    "The closed trades of the window lost as much as they won: Kelly's share is nothing.",
    "Wait until losses are older than `kelly_window_market_ms`, or change the strategy.",
)
BUCKET_LIMIT: Final = _business(
    "bucket_limit",
    "The active bucket is used up; reserve and buffer are for no entry.",
    "Compare `bucket_active_bps` with the value in the checks.",
)
POSITION_SHARE: Final = _business(
    "position_share",
    "The position in the symbol would exceed its share of the budget.",
    "Compare `position_share_bps_max` with the value in the checks.",
)
SYMBOL_LIMIT: Final = _business(
    "symbol_limit",
    "The position in the symbol would exceed the limit of this symbol.",
    "Compare `symbol_notional_max` with the value in the checks.",
)
CLUSTER_LIMIT: Final = _business(
    "cluster_limit",
    "Correlated symbols would together exceed their share of equity.",
    "Compare `cluster_share_bps_max` with the value in the checks.",
)
EXPOSURE_LIMIT: Final = _business(
    "exposure_limit",
    "The share of equity in open positions would exceed its limit.",
    "Compare `exposure_ratio_max_bps` with the value in the checks.",
)
INSUFFICIENT_CASH: Final = _business(
    "insufficient_cash",
    "The cash does not pay the order and its fee.",
    "Let an entry cost less, see `minibot size SYMBOL --explain`, or wait for a position to close.",
)
NIGHT_NOTIONAL: Final = _business(
    "night_notional",
    "The notional bought in this run would pass its limit.",
    "Compare `night_notional_soft` and `_hard` with the value in the checks.",
)
NIGHT_NOTIONAL_PACE: Final = _business(
    "night_notional_pace",
    "The night has used the notional that its pace allows by now; more comes as time passes.",
    "Nothing to do; or compare `night_notional_pace` with the value in the checks.",
)
DAY_NOTIONAL: Final = _business(
    "day_notional",
    "The notional bought on this UTC day would pass its limit.",
    "Compare `day_notional_soft` and `_hard` with the value in the checks.",
)
WEEK_NOTIONAL: Final = _business(
    "week_notional",
    "The notional bought in this UTC week would pass its limit.",
    "Compare `week_notional_soft` and `_hard` with the value in the checks.",
)
WEEK_LOSS: Final = _business(
    "week_loss",
    "The loss of this UTC week has reached its limit.",
    "Compare `week_loss_soft` and `_hard` with the value in the checks.",
)
NIGHT_LOSS: Final = _business(
    "night_loss",
    "The loss of this run has reached its limit.",
    "Compare `night_loss_soft` and `_hard` with the value in the checks.",
)
DAY_LOSS: Final = _business(
    "day_loss",
    "The loss of this UTC day has reached its limit.",
    "Compare `day_loss_soft` and `_hard` with the value in the checks.",
)
DRAWDOWN: Final = _business(
    "drawdown",
    "Equity fell too far below its high-water mark.",
    "Compare `drawdown_bps_soft` and `_hard` with the value in the checks.",
)
ORDER_RATE: Final = _business(
    "order_rate",
    "Too many orders within a minute.",
    "Compare `orders_per_minute_soft` and `_hard` with the value in the checks.",
)

# --- exits -------------------------------------------------------------------------------------

STOP_LOSS: Final = _business(
    "stop_loss",
    "The price fell to the stop of the position.",
    "Nothing to do; `stop_atr_mult` or `stop_bps` sets its distance.",
)
TAKE_PROFIT: Final = _business(
    "take_profit",
    "The price rose to the target of the position.",
    "Nothing to do; `take_profit_atr_mult` or `take_profit_bps` sets its distance.",
)
SIGNAL_STOP: Final = _business(
    "signal_stop",
    "The price fell to the stop that the strategy wanted for the position.",
    "Nothing to do; the strategy's `buy` sets it.",
)
ADJUSTED: Final = _business(
    "adjusted",
    "The levels that the strategy wants for its position are taken, but for one whose check fails.",
    "Nothing to do; the strategy's `adjust` moves them.",
)
SIGNAL_TARGET: Final = _business(
    "signal_target",
    "The price rose to the target that the strategy wanted for the position.",
    "Nothing to do; the strategy's `buy` sets it.",
)
HARD_STOP: Final = _business(
    "hard_stop",
    "The price fell to the hard stop of the position, which stands whatever else is off.",
    "Nothing to do; `hard_stop_bps` sets its distance.",
)
TRAILING_STOP: Final = _business(
    "trailing_stop",
    "The price fell from its high to the trailing stop of the position.",
    "Nothing to do; `trail_bps` or `trail_atr_mult` sets its distance, `trail_from_*` its start.",
)
BREAK_EVEN: Final = _business(
    "break_even",
    "The price fell back to where a sale pays entry and fees, after it had been well above.",
    "Nothing to do; `break_even_bps` or `break_even_atr_mult` sets how far above.",
)
AGE_TARGET: Final = _business(
    "age_target",
    "The price reached the target that the position has at its age.",
    "Nothing to do; `targets_by_age` sets minutes and gains.",
)
LADDER_TARGET: Final = _business(
    "ladder_target",
    "The price reached a rung of the ladder, where a part of the position is sold.",
    "Nothing to do; `ladder_1_*` and `ladder_2_*` set the rungs.",
)
RECOVERY_PART: Final = _business(
    "recovery_part",
    "The loss reached a row of the recovery table at which a part of the position is sold.",
    "Nothing to do; `recovery` sets the losses, `recovery_part_percent` the part.",
)
RECOVERY_EXIT: Final = _business(
    "recovery_exit",
    "The loss reached the row of the recovery table at which the position is left.",
    "Nothing to do; `recovery` sets the losses.",
)
STALE_EXIT: Final = _business(
    "stale_exit",
    "Market data of the position was missing for too long; it was left at the first fresh price.",
    "Check the feed; compare `stale_exit_ms` or `silent_exit_ms` with the time in the checks.",
)
SIGNAL_EXIT: Final = _business(
    "signal_exit",
    "The strategy's SELL: it closes a position or withdraws a quote; switched off, it is refused.",
    "Nothing to do; `signal_exit` switches this exit.",
)
TIME_EXIT: Final = _business(
    "time_exit",
    "The position was held as long as it may be.",
    "Nothing to do; `time_exit_ms` sets or switches this exit.",
)
HORIZON_EXIT: Final = _business(
    "horizon_exit",
    "The position was held to its horizon, and its thesis did not hold, or no longer counts.",
    "Nothing to do; `horizon_ms` and the keys beside it set this exit.",
)
END_EXIT: Final = _business(
    "end_exit",
    "The position was closed because the run ends.",
    "Nothing to do; `portfolio.at_end` chooses between close and carry.",
)
LEFT_TRADING: Final = _business(
    "left_trading",
    "The exchange took the symbol out of trading: its orders end, and its position is left as soon"
    " as it trades again, if the profile says so.",
    "Nothing to do; `risk.left_trading` and `execution.left_trading` choose what happens.",
)
PROTECTED: Final = _business(
    "protected",
    "Stop and target of a position rest with the executor.",
    "Nothing to do; `risk.exits_at` chooses who watches them.",
)
QUOTE_MOVED: Final = _business(
    "quote_moved",
    "The best bid left the quote of an entry behind, so the quote was withdrawn to follow it.",
    "Nothing to do; `risk.maker_patience_market_ms` says how long a quote waits.",
)
REQUOTED: Final = _business(
    "requoted",
    "What is left of an entry was quoted again, at the best bid.",
    "Nothing to do; `risk.maker_requotes` says how often.",
)
QUOTE_UNFILLED: Final = _business(
    "quote_unfilled",
    "Re-quotes or time of an entry are used up; what is left of it was not bought.",
    "Nothing to do; with `risk.maker_end` `take` the rest is bought at the market.",
)
QUOTE_TAKEN: Final = _business(
    "quote_taken",
    "Re-quotes or time of an entry are used up; what is left of it was bought at the market.",
    "Nothing to do; with `risk.maker_end` `give_up` it is not bought.",
)
STOP_TRIGGERED: Final = _business(
    "stop_triggered",
    "A trade reached the stop of a resting order, which is sold from then on: at the market, or "
    "at the limit of `stop_limit_bps`.",
    "Nothing to do; the target of the same order is cancelled by it.",
)
TARGET_TRIGGERED: Final = _business(
    "target_triggered",
    "A trade reached the target of a resting order, which is sold from then on: at the market, or "
    "with `stop_limit_bps` at the target.",
    "Nothing to do; the stop of the same order is cancelled by it.",
)
REPLACED: Final = _business(
    "replaced",
    "Risk put another order in the place of this one.",
    "Nothing to do; the order_replace names both.",
)
WITHDRAWN: Final = _business(
    "withdrawn",
    "Risk cancelled the order.",
    "Nothing to do; the order_cancel names its risk_action.",
)
ORDER_ENDED: Final = _business(
    "order_ended",
    "The order that was to be replaced or cancelled is not open.",
    "Nothing to do; its end came first.",
)
ORDER_TRIGGERED: Final = _business(
    "order_triggered",
    "The order that was to be replaced or cancelled is being sold already.",
    "Nothing to do; its trigger came first.",
)
WOULD_TRIGGER: Final = _business(
    "would_trigger",
    "A trigger has been reached by the last trade already, as the exchange refuses too.",
    "Nothing to do; risk leaves such a position at the market.",
)
UNIVERSE_EXIT: Final = _business(
    "universe_exit",
    "The position is closed, and none entered, because its symbol left the universe.",
    "Nothing to do; `risk.left_universe` chooses between close and hold.",
)
OPERATOR_EXIT: Final = _business(
    "operator_exit",
    "An operator asked to close the position.",
    "Nothing to do.",
)

# --- execution ---------------------------------------------------------------------------------

ACCEPTED: Final = _business(
    "accepted",
    "The order was accepted and waits for its modelled latency or its price.",
    "Nothing to do.",
)
FILLED: Final = _business(
    "filled",
    "The whole quantity was executed.",
    "Nothing to do.",
)
PARTIAL: Final = _business(
    "partial",
    "A part of the quantity was executed; the rest is still open.",
    "Nothing to do; the displayed size limits a fill.",
)
EXPIRED: Final = _business(
    "expired",
    "The order outlived its time, at most `execution.order_ttl_market_ms`, not filled whole.",
    "Nothing to do, or raise that key; `risk.intent_ttl_ms` and a wish's `valid_ms` shorten it.",
)
LATE_FILL: Final = _business(
    "late_fill",
    "The entry ended, not filled whole within `risk.late_fill_market_ms` of its signal.",
    "Compare latency and backlog with the key; the signal's reason no longer holds.",
)
NO_LIQUIDITY: Final = _business(
    "no_liquidity",
    "Nothing was displayed at the touch; no build writes it: such an order waits or expires.",
    "Nothing to do.",
)
UNFILLED_IOC: Final = _business(
    "unfilled_ioc",
    "What an immediate-or-cancel order could not fill at once was cancelled.",
    "Nothing to do.",
)
UNFILLED_FOK: Final = _business(
    "unfilled_fok",
    "A fill-or-kill order could not be filled whole and was cancelled.",
    "Nothing to do.",
)
WOULD_TAKE: Final = _business(
    "would_take",
    "A maker-only order would have traded at once and was rejected.",
    "Nothing to do.",
)
ORDER_TYPE_UNSUPPORTED: Final = _business(
    "order_type_unsupported",
    "The paper executor does not know this order type or time in force.",
    "Use MARKET, LIMIT with GTC, IOC or FOK, LIMIT_MAKER, or a sale with the triggers of its type.",
)
SYMBOL_UNKNOWN: Final = _business(
    "symbol_unknown",
    "The symbol is not one of this run.",
    "Fix the writer of the intent, or add the symbol to the venue's `symbols`.",
)
SHORT_SALE: Final = _business(
    "short_sale",
    "A sale is larger than the position; a position is never negative.",
    "Fix the writer of the intent.",
)

# --- dead letters of the world outside ---------------------------------------------------------

POISON_EVENT: Final = _feed(
    "poison_event",
    "A line of market data crashed its reader twice and was set aside.",
    "Please report it with the dead letter.",
)
AI_DRAFT_INVALID: Final = _feed(
    "ai_draft_invalid",
    "The AI worker sent a draft that is malformed or over its rate.",
    "Nothing to do unless it repeats; the worker is switched off after its budget.",
)
AI_DRAFT_FORBIDDEN: Final = _feed(
    "ai_draft_forbidden",
    "The AI worker sent a draft of a type that is forbidden to it.",
    "Treat model files as hostile; the run stops with AI_ISOLATION_BREACH.",
)
FRAME_INVALID: Final = _feed(
    "frame_invalid",
    "A message of the exchange was not understood and was refused.",
    "Nothing to do unless it repeats; see the incidents.",
)
PRICE_OUTLIER: Final = _feed(
    "price_outlier",
    "A price of the exchange lies outside the plausible band and was refused.",
    "Nothing to do unless it repeats; see the incidents.",
)
RATE_LIMITED: Final = _feed(
    "rate_limited",
    "The exchange asked for fewer requests (HTTP 429), and was obeyed.",
    "Look for other programs that use the same address.",
)
SEQUENCE_GAP: Final = _feed(
    "sequence_gap",
    "Trades are missing, or quotes began anew: the gap is marked; bars not yet written get klines.",
    "Nothing to do unless it repeats.",
)
CONNECTION_LOST: Final = _feed(
    "connection_lost",
    "A connection to the exchange was lost, and is built again.",
    "Nothing to do unless it repeats.",
)
