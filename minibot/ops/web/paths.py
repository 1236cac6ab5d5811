"""Paths of freqtrade's API and what they are here: the same, different, or absent with a reason."""

from __future__ import annotations

from typing import Final, NamedTuple

NO_ENTRY: Final = "no entry can be forced: entries come from the strategy, through risk"
SAME: Final = "same"
DIFFERENT: Final = "different"
ABSENT: Final = "absent"


class Path(NamedTuple):
    """One path of freqtrade below `/api/v1`: how it stands here, and why where it is not same."""

    name: str
    state: str
    words: str = ""


PATHS: Final = (
    Path("ping", SAME),
    Path("version", SAME),
    Path("count", SAME),
    Path("status", SAME, "open positions; a trade has minibot's levels"),
    Path("trades", SAME, "closed round trips of this run; amounts are decimal strings"),
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
    Path("forceexit", ABSENT, "act/exit_position takes a symbol"),
    Path("lock_add", ABSENT, "act/lock_symbol"),
    Path("delete_lock", ABSENT, "act/unlock_symbol, of an operator's lock alone"),
    Path("locks", ABSENT, "`minibot risk`"),
    Path("daily", ABSENT, "`minibot profit`"),
    Path("weekly", ABSENT, "`minibot profit`"),
    Path("monthly", ABSENT, "`minibot profit`"),
    Path("stats", ABSENT, "`minibot report`"),
    Path("entries", ABSENT, "`minibot report`"),
    Path("exits", ABSENT, "`minibot report`"),
    Path("mix_tags", ABSENT, "a signal has a reason code"),
    Path("logs", ABSENT, "`var/logs`"),
    Path("reload_config", ABSENT, "a profile is pinned for the life of its run"),
    Path("blacklist", ABSENT, "universe.exclude"),
    Path("pair_candles", ABSENT, "chart has the marks of this run"),
    Path("pair_history", ABSENT, "`minibot backtest`"),
    Path("plot_config", ABSENT, "`view.plot`"),
    Path("strategies", ABSENT, "`minibot new-strategy`"),
    Path("strategy", ABSENT, "the strategy's own file"),
    Path("sysinfo", ABSENT, "/metrics"),
    Path("trade", ABSENT, "`minibot explain`"),
    Path("delete_trade", ABSENT, "a journal forgets nothing"),
    Path("cancel_open_order", ABSENT, "risk alone cancels"),
    Path("available_pairs", ABSENT, "`minibot list-data`"),
    Path("pairlists_available", ABSENT, "universe"),
    Path("list_custom_data", ABSENT, "a strategy's state is in its snapshot"),
    Path("list_open_trades_custom_data", ABSENT, "a strategy's state is in its snapshot"),
)
"""Each call of freqtrade's own client, by its name there."""
