"""Paths of freqtrade's API and their state here: the same, different, or absent with a reason."""

from __future__ import annotations

from typing import Final, NamedTuple

NO_ENTRY: Final = "no entry can be forced: entries come from the strategy, through risk"
SAME: Final = "same"
DIFFERENT: Final = "different"
NOT_HERE: Final = "absent"


class Path(NamedTuple):
    """One path of freqtrade below `/api/v1`: its state here, and why, if it is not the same."""

    name: str
    state: str
    words: str = ""


PATHS: Final = (
    Path("ping", SAME),
    Path("version", SAME),
    Path("count", SAME),
    Path("status", SAME, "open positions; a trade has minibot's levels"),
    Path("trades", SAME, "closed round trips of this run, beside its own decimal strings"),
    Path("performance", SAME),
    Path("whitelist", SAME),
    Path("health", SAME),
    Path("balance", DIFFERENT, "cash of the quote asset, equity with positions"),
    Path("profit", DIFFERENT, "of this run alone; `minibot profit` has all"),
    Path("show_config", DIFFERENT, "with the whole profile, but its sections of secrets"),
    Path("start", DIFFERENT, "allows entries again; a run that ended is not started"),
    Path("stop", DIFFERENT, "ends the run in order: exits, drains, seals"),
    Path("stopbuy", SAME, "also stopentry"),
    Path("forceenter", DIFFERENT, NO_ENTRY),
    Path("forceexit", NOT_HERE, "act/exit_position takes a symbol"),
    Path("lock_add", NOT_HERE, "act/lock_symbol"),
    Path("delete_lock", NOT_HERE, "act/unlock_symbol, of an operator's lock alone"),
    Path("locks", NOT_HERE, "`minibot risk`"),
    Path("daily", NOT_HERE, "`minibot profit`"),
    Path("weekly", NOT_HERE, "`minibot profit`"),
    Path("monthly", NOT_HERE, "`minibot profit`"),
    Path("stats", NOT_HERE, "`minibot report`"),
    Path("entries", NOT_HERE, "`minibot report`"),
    Path("exits", NOT_HERE, "`minibot report`"),
    Path("mix_tags", NOT_HERE, "a signal has a reason code"),
    Path("logs", NOT_HERE, "`var/logs`"),
    Path("reload_config", NOT_HERE, "a profile is pinned for the life of its run"),
    Path("blacklist", NOT_HERE, "universe.exclude"),
    Path("pair_candles", NOT_HERE, "chart has the marks of this run"),
    Path("pair_history", NOT_HERE, "`minibot backtest`"),
    Path("plot_config", NOT_HERE, "`view.plot`"),
    Path("strategies", NOT_HERE, "`minibot new-strategy`"),
    Path("strategy", NOT_HERE, "the strategy's own file"),
    Path("sysinfo", NOT_HERE, "/metrics"),
    Path("trade", NOT_HERE, "`minibot explain`"),
    Path("delete_trade", NOT_HERE, "a journal forgets nothing"),
    Path("cancel_open_order", NOT_HERE, "risk alone cancels"),
    Path("available_pairs", NOT_HERE, "`minibot list-data`"),
    Path("pairlists_available", NOT_HERE, "universe"),
    Path("list_custom_data", NOT_HERE, "a strategy's state is in its snapshot"),
    Path("list_open_trades_custom_data", NOT_HERE, "a strategy's state is in its snapshot"),
)
"""Each call of freqtrade's own client, by its name there."""
