"""Rules for a profile that a schema cannot express: relations between keys, URLs and paths.

Each rule yields sentences in the form of `config_schema.violation`. It runs only if every key that
it reads is valid by itself; the sentences of all rules come at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from fractions import Fraction
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Final
from urllib.parse import urlsplit

from minibot.cores.core_profile import (
    AT_VENUE,
    CAMPAIGN,
    DE_RISK,
    FATIGUE_RSI_PERIOD,
    FIXED,
    HALTED_TIER,
    KELLY,
    LADDER,
    LEAVE,
    MAKER,
    MIXED,
    RISK,
    VENUE,
    ScannerSection,
    venue_name,
)
from minibot.cores.messages import can_detect_fee_in_base
from minibot.cores.profile_keys import section_of
from minibot.events.decimals import PLACES_MAX
from minibot.events.intervals import INTERVAL_MS, MONTH, REGIME_INTERVAL, warmup_of
from minibot.events.model import JsonObject
from minibot.events.names import AI_ROLE
from minibot.events.roles import PERMITTED_QUEUES, Roles
from minibot.events.unit_sizes import BPS, BPS_UNITS, DAY_MS
from minibot.runtime.channels import LEASE_INTERVAL_MS
from minibot.runtime.configuration.config_files import MANIFEST
from minibot.runtime.configuration.config_layers import SET, STAGED, is_variable
from minibot.runtime.configuration.config_schema import violation
from minibot.runtime.configuration.config_sections import EMBEDDED, VENUES
from minibot.runtime.configuration.risk_policy import policy_violations
from minibot.runtime.paths import PROJECT, escape_reason, is_within, resolve

# STOP thresholds in market time, and the shortest wall-clock time that one may take: below it a
# single pause of the machine would look like an outage of the exchange.
STOP_THRESHOLDS: Final = (
    "outage_stop_market_ms",
    "error_window_market_ms",
    "reconnect_window_market_ms",
)
STOP_MACHINE_MS_MIN: Final = 2000

# (distance in basis points, the same in ATRs): a profile gives at most one of them.
_DISTANCES: Final = (
    ("stop_bps", "stop_atr_mult"),
    ("take_profit_bps", "take_profit_atr_mult"),
    ("trail_bps", "trail_atr_mult"),
    ("trail_from_bps", "trail_from_atr_mult"),
    ("break_even_bps", "break_even_atr_mult"),
    ("ladder_1_bps", "ladder_1_atr_mult"),
    ("ladder_2_bps", "ladder_2_atr_mult"),
)

# Keys of a position's plan, which need `risk.hard_stop_bps`.
_PLANNED: Final = (
    *(key for pair in _DISTANCES[2:] for key in pair),
    *("targets_by_age", "stale_exit_ms", "silent_exit_ms", "exit_policy", "horizon_ms"),
)
_HORIZON_NEEDS: Final = (
    *("horizon_ms_min", "horizon_ms_max", "horizon_bars_short", "horizon_bars_long"),
)
_HORIZON_KEYS: Final = ("horizon_ms", *_HORIZON_NEEDS, "horizon_thesis_bps")
_CAMPAIGN_NEEDS: Final = ("campaign_entries_max", "campaign_loss_max")
_CAMPAIGN_KEYS: Final = (
    *_CAMPAIGN_NEEDS,
    *("campaign_entry_wait_market_ms", "recovery", "recovery_part_percent"),
)

# The keys that a mode of sizing needs; without any mode they are refused, but for shared ones.
_SIZED_BY: Final = {
    RISK: ("risk_per_trade_bps",),
    KELLY: (
        "kelly_window_market_ms",
        "kelly_trades_min",
        "position_share_bps_min",
        "position_share_bps_max",
    ),
}
_SHARED: Final = ("position_share_bps_max",)
_MAKER_KEYS: Final = ("maker_patience_market_ms", "maker_requotes", "maker_end")
_BUCKETS: Final = ("bucket_active_bps", "bucket_reserve_bps", "bucket_buffer_bps")
_SIZING_KEYS: Final = (
    *("sizing", "stop_atr_mult", "stop_bps", "symbol_notional_max", *_BUCKETS),
    *(key for keys in _SIZED_BY.values() for key in keys),
)

# Keys that a method of protection needs, and keys that it may have. It also has one key of `_UNTIL`
# (how long it locks) and one of `_SINCE` (from when trades count), but none if `_UNLIMITED`.
_UNTIL: Final = ("stop_duration", "stop_duration_candles", "unlock_at")
_SINCE: Final = ("lookback_period", "lookback_period_candles")
_UNLIMITED: Final = ("CooldownPeriod", "LossesInRow")
_PROTECTION_KEYS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "StoplossGuard": (("trade_limit",), ("required_profit", "only_per_pair")),
    "CooldownPeriod": ((), ()),
    "MaxDrawdown": (("trade_limit", "max_allowed_drawdown"), ("calculation_mode",)),
    "LowProfitPairs": (("trade_limit", "required_profit"), ()),
    "LossesInRow": (("trade_limit",), ("only_per_pair",)),
}

# Keys of risk that go together, and keys of which at least one needs the first.
_TOGETHER: Final = (
    ("cluster_correlation_min", "cluster_share_bps_max"),
    ("volatility_bars_short", "volatility_bars_long", "volatility_ratio_max"),
    ("drift_bars", "drift_reference_bars", "drift_max"),
    ("vadr_bar_interval", "vadr_bars", "vadr_min"),
)
_NEEDED_BY: Final = (
    (
        "correlation_bars",
        ("correlation_max", "benchmark_correlation_max", "cluster_correlation_min"),
    ),
    ("benchmark_symbol", ("benchmark_correlation_max", "volatility_ratio_max")),
)
_FATIGUE_KEYS: Final = (
    *("fatigue_bar_interval", "fatigue_change_bps_max", "fatigue_rsi_max"),
    "fatigue_acceleration_bps_min",
)
_RETURN_KEYS: Final = (
    *("benchmark_symbol", "correlation_bars", "correlation_max", "benchmark_correlation_max"),
    *(key for keys in _TOGETHER for key in keys),
)

SMIRNOV_5_PERCENT: Final = Fraction(1358, 1000)
"""Kolmogorov's distance times sqrt(n m / (n + m)) that chance exceeds one time in twenty."""

CASH_DIGITS_MAX: Final = 20
"""Digits before the point of a decimal number in an event, such as the cash of `run_opening`."""

Rule = Callable[[JsonObject, Mapping[str, str]], Iterator[str]]

# (section, lower key, upper key, whether they may be equal)
_PAIRS: Final = (
    ("risk", "night_notional_soft", "night_notional_hard", True),
    ("risk", "day_notional_soft", "day_notional_hard", True),
    ("risk", "night_loss_soft", "night_loss_hard", True),
    ("risk", "day_loss_soft", "day_loss_hard", True),
    ("risk", "drawdown_bps_soft", "drawdown_bps_hard", True),
    ("risk", "orders_per_minute_soft", "orders_per_minute_hard", True),
    # A sale beyond the hard rate is a STOP: positions that end in one minute need an order each.
    ("risk", "positions_max", "orders_per_minute_hard", True),
    ("strategy", "rsi_oversold", "rsi_overbought", False),
    ("strategy", "ema_fast", "ema_slow", False),
    ("acceptance", "latency_ms_p95_max", "latency_ms_p99_max", True),
    ("watchdog", "restarts_max_60s", "restarts_max_300s", True),
    ("watchdog", "heartbeat_interval_ms", "lease_ms", False),
)
# The same of a venue's section, whatever its name.
_VENUE_PAIRS: Final = (
    ("backoff_min_market_ms", "backoff_max_market_ms", True),
    ("tick_stale_market_ms", "outage_stop_market_ms", False),
    ("ping_interval_market_ms", "error_window_market_ms", False),
)
_SAMPLED: Final = ("error_window_market_ms", "ping_interval_market_ms", "error_samples_min")


def rule_violations(
    raw: JsonObject, origin: Mapping[str, str], refused: Collection[str]
) -> Iterator[str]:
    """Yield one sentence for each rule that a profile breaks.

    Args:
        raw: The profile.
        origin: Origins of its values.
        refused: Dotted keys that the schema refused; rules that need one of them are left out.
    """
    for needs, rule in _RULES:
        if not any(_touches(need, key) for need in needs for key in refused):
            yield from rule(raw, origin)


def typed_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    """Yield one sentence for each value of a person that the rest of the profile does not read.

    A file may hold it beside a mode that it once had; who types it now expects an effect.
    """
    key, mode = "risk.order_notional", raw["risk"].get("sizing") or FIXED
    layer = origin.get(key, "")
    if mode != FIXED and (layer in (SET, STAGED) or is_variable(layer)):
        words = (
            f"of no effect, as risk.sizing is {mode}; "
            "allowed: risk.position_notional_max, which bounds an entry"
        )
        yield violation(key.split("."), raw["risk"]["order_notional"], words, origin)


def _touches(need: str, key: str) -> bool:
    """Return whether a refused key is the needed one, inside it, or around it."""
    return f"{need}.".startswith(f"{key}.") or f"{key}.".startswith(f"{need}.")


def _duration_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw["duration_ms"] <= raw["portfolio"]["close_market_ms"]:
        words = f"allowed: above portfolio.close_market_ms ({raw['portfolio']['close_market_ms']})"
        yield violation(["duration_ms"], raw["duration_ms"], words, origin)


def _ai_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw["ai"]["required"] and not raw["ai"]["enabled"]:
        yield violation(
            ["ai", "required"], True, "allowed: false while ai.enabled is false", origin
        )


def _permitted_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    queues = raw["ai"]["permitted_queues"]
    if set(queues) - PERMITTED_QUEUES:
        words = f"allowed: only {', '.join(sorted(PERMITTED_QUEUES))} (N-72)"
        yield violation(["ai", "permitted_queues"], queues, words, origin)


def _watchdog_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    watchdog = raw["watchdog"]
    lease, interval = watchdog["lease_ms"], watchdog["heartbeat_interval_ms"]
    if lease < 2 * LEASE_INTERVAL_MS:
        least = 2 * LEASE_INTERVAL_MS
        words = f"allowed: at least {least}, as a lease is sent every {LEASE_INTERVAL_MS} ms"
        yield violation(["watchdog", "lease_ms"], lease, words, origin)
    for key in ("hung_execution_ms", "hung_ms"):
        if watchdog[key] < 2 * interval:
            words = f"allowed: at least {2 * interval}, two of watchdog.heartbeat_interval_ms"
            yield violation(["watchdog", key], watchdog[key], words, origin)


def _order_rule(section: str, lower: str, upper: str, may_be_equal: bool) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        if raw.get(section) is None:
            return
        low, high = raw[section][lower], raw[section][upper]
        gap = Fraction(high) - Fraction(low)
        if gap < 0 or (gap == 0 and not may_be_equal):
            relation = "at most" if may_be_equal else "below"
            words = f"allowed: {relation} {section}.{upper} ({high})"
            yield violation([section, lower], low, words, origin)

    return rule


def _venue_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    name = venue_name(raw)
    if raw.get(name) is None:
        yield violation(["venue"], name, f"allowed: a venue whose section {name} is given", origin)
    if name != VENUE and raw["embedded"] is not None:
        words = f"allowed: null for the venue {name}, as the simulator speaks as {VENUE} alone"
        yield violation(["embedded"], raw["embedded"], words, origin)
    if name != VENUE and "paper" in raw:
        words = f"allowed: no such section for the venue {name}, as the simulator is {VENUE} alone"
        yield violation(["paper"], raw["paper"], words, origin)


def _exchange_rule(venue: str) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        section, embedded = raw.get(venue), raw["embedded"]
        if section is None or venue != venue_name(raw):
            return
        for key, schemes in (("rest_url", ("https", "http")), ("stream_url", ("wss", "ws"))):
            path, url = [venue, key], section[key]
            if url == EMBEDDED:
                if embedded is None:
                    words = f"allowed: a {schemes[0]} URL, as the section embedded is null"
                    yield violation(path, url, words, origin)
            elif embedded is not None:
                words = (
                    'allowed: "embedded", as the section embedded is given (or set embedded=null)'
                )
                yield violation(path, url, words, origin)
            elif why := _url_fault(url, *schemes):
                words = f"{why}; allowed: {schemes[0]}, or {schemes[1]} to a loopback host"
                yield violation(path, url, words, origin)

    return rule


def _speed_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    section, embedded = raw[VENUE], raw["embedded"]
    if embedded is None:
        return
    speed = Fraction(embedded["speed"])
    least = min(STOP_THRESHOLDS, key=lambda key: int(section[key]))
    fastest = Fraction(section[least], STOP_MACHINE_MS_MIN)
    if speed > fastest:
        words = (
            f"allowed: at most {int(fastest)}; {VENUE}.{least} ({section[least]}) divided by the "
            f"speed would be under {STOP_MACHINE_MS_MIN // 1000} s of wall-clock time"
        )
        yield violation(["embedded", "speed"], embedded["speed"], words, origin)


def _sample_rule(venue: str) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        section = raw.get(venue)
        if section is None:
            return
        window, interval = section["error_window_market_ms"], section["ping_interval_market_ms"]
        most, least = window // interval, section["error_samples_min"]
        if 0 < most < least:
            words = (
                f"allowed: at most {most}, as no more measurements fit into "
                f"{venue}.error_window_market_ms ({window})"
            )
            yield violation([venue, "error_samples_min"], least, words, origin)

    return rule


def _url_fault(text: str, secure: str, plain: str) -> str | None:
    try:
        url = urlsplit(text)
        port_is_fine = url.port is None or url.port > 0
    except ValueError:
        return "is not a URL"
    if url.scheme not in (secure, plain) or not url.hostname or not port_is_fine:
        return f"is no {secure} URL"
    if url.username or url.password or url.query or url.fragment or text != text.strip():
        return "holds a user, a query, a fragment or blanks"
    if url.scheme == plain and not _is_loopback(url.hostname):
        return "is not encrypted"
    return None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _exit_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = raw["risk"]
    for bps, multiple in _DISTANCES:
        if risk.get(bps) is not None and risk.get(multiple) is not None:
            words = f"allowed: only where risk.{multiple} is null (it is {risk[multiple]})"
            yield violation(["risk", bps], risk[bps], words, origin)
    has_end = risk["signal_exit"] or risk["time_exit_ms"] is not None
    has_end = has_end or risk.get("hard_stop_bps") is not None
    if risk["stop_atr_mult"] is risk.get("stop_bps") is None and not has_end:
        words = (
            "allowed: null while risk.stop_bps, risk.hard_stop_bps, risk.signal_exit or "
            "risk.time_exit_ms ends a losing position"
        )
        yield violation(["risk", "stop_atr_mult"], None, words, origin)


def _stop_limit_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = raw["risk"]
    limit = risk.get("stop_limit_bps")
    if limit is not None and risk.get("exits_at") != AT_VENUE:
        words = "allowed: only where risk.exits_at is venue"
        yield violation(["risk", "stop_limit_bps"], limit, words, origin)


def _amount_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if (raw["risk"].get("sizing") or FIXED) == FIXED:  # In other modes the amount is idle.
        yield from _order_rule("risk", "order_notional", "position_notional_max", True)(raw, origin)


def _sizing_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = raw["risk"]
    mode = risk.get("sizing")
    for key in _SIZED_BY.get(mode, ()):
        if risk.get(key) is None:
            words = f"allowed: {mode} where risk.{key} is given"
            yield violation(["risk", "sizing"], mode, words, origin)
    for owner, keys in _SIZED_BY.items():
        for key in keys:
            # With another mode the key is idle: a profile keeps the keys of the mode that it left.
            if mode is None and key not in _SHARED and risk.get(key) is not None:
                words = f"allowed: only where risk.sizing is given, for {owner}"
                yield violation(["risk", key], risk[key], words, origin)
    if mode == RISK and risk["stop_atr_mult"] is risk.get("stop_bps") is None:
        words = "allowed: risk where risk.stop_atr_mult or risk.stop_bps gives a stop"
        yield violation(["risk", "sizing"], mode, words, origin)
    least, most = risk.get("position_share_bps_min"), risk.get("position_share_bps_max")
    if least is not None and most is not None and least > most:
        words = f"allowed: at most risk.position_share_bps_max ({most})"
        yield violation(["risk", "position_share_bps_min"], least, words, origin)
    buckets = [risk.get(key) for key in _BUCKETS]
    if any(share is not None for share in buckets):
        total = sum(share or 0 for share in buckets)
        if total != BPS or None in buckets:
            words = f"allowed: all three buckets, which add up to {BPS} (they add up to {total})"
            yield violation(["risk", _BUCKETS[0]], buckets[0], words, origin)
    quote = raw["portfolio"]["quote_asset"]
    for symbol, most in (risk.get("symbol_notional_max") or {}).items():
        if not symbol.endswith(quote) or symbol == quote:
            words = f"allowed: markets that portfolio.quote_asset ({quote}) pays"
            yield violation(["risk", "symbol_notional_max", symbol], most, words, origin)


def _entry_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = raw["risk"]
    is_maker = risk.get("entry") == MAKER
    for key in _MAKER_KEYS:
        if is_maker and risk.get(key) is None:
            words = f"allowed: {MAKER} where risk.{key} is given"
            yield violation(["risk", "entry"], MAKER, words, origin)
        if not is_maker and risk.get(key) is not None:
            words = f"allowed: only where risk.entry is {MAKER}"
            yield violation(["risk", key], risk[key], words, origin)
    patience, ttl = risk.get(_MAKER_KEYS[0]), raw["execution"]["order_ttl_market_ms"]
    if is_maker and patience is not None and patience > ttl:
        words = f"allowed: at most execution.order_ttl_market_ms ({ttl}), which ends a quote too"
        yield violation(["risk", _MAKER_KEYS[0]], patience, words, origin)


def _latency_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    execution = raw["execution"]
    drawn = execution.get("latency_drawn_market_ms")
    path = ["execution", "latency_drawn_market_ms" if drawn else "latency_market_ms"]
    choices = drawn or [execution["latency_market_ms"]]
    longest, shortest = max(choices), min(choices)
    ttl, key = min(
        (raw["risk"]["intent_ttl_ms"], "risk.intent_ttl_ms"),
        (execution["order_ttl_market_ms"], "execution.order_ttl_market_ms"),
    )
    if longest >= ttl:
        place = [str(choices.index(longest))] if drawn else []
        words = f"allowed: below {key} ({ttl}), by which a sale expires before it may fill"
        yield violation([*path, *place], longest, words, origin)
    late = raw["risk"].get("late_fill_market_ms")
    if late is not None and shortest >= late:
        place = [str(choices.index(shortest))] if drawn else []
        words = f"allowed: below risk.late_fill_market_ms ({late}), as no entry would fill"
        yield violation([*path, *place], shortest, words, origin)


def _protection_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    for place, item in enumerate(raw["risk"].get("protections") or ()):
        path, method = ["risk", "protections", str(place)], item["method"]
        needed, read = _PROTECTION_KEYS[method]
        for key in sorted(item.keys() - {"method", *needed, *read, *_UNTIL, *_SINCE}):
            words = f"allowed: no such key, as {method} does not read it"
            yield violation([*path, key], item[key], words, origin)
        for key in needed:
            if key not in item:
                yield f"{'.'.join([*path, key])}: missing; {method} needs it"
        groups = (_UNTIL, 1), (_SINCE, 0 if method in _UNLIMITED else 1)
        for keys, count in groups:
            given = [key for key in keys if key in item]
            if len(given) != count:
                wanted = "one of" if count else "none of"
                words = f"allowed: {wanted} {', '.join(keys)}"
                yield violation(path, item, words, origin)
        drawdown = item.get("max_allowed_drawdown")
        if drawdown is not None and not 0 <= Fraction(drawdown) < 1:
            words = "allowed: a ratio of at least 0 and below 1"
            yield violation([*path, "max_allowed_drawdown"], drawdown, words, origin)


def _return_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = {key: raw["risk"].get(key) for key in _RETURN_KEYS}
    is_whole = True
    for keys in _TOGETHER:
        given = [key for key in keys if risk[key] is not None]
        if given:
            for key in keys:
                if risk[key] is None:
                    is_whole = False
                    yield f"risk.{key}: missing; risk.{given[0]} needs it"
    for key, readers in _NEEDED_BY:
        reading = [reader for reader in readers if risk[reader] is not None]
        if reading and risk[key] is None:
            yield f"risk.{key}: missing; risk.{reading[0]} needs it"
        elif risk[key] is not None and not reading:
            words = f"allowed: only beside {' or '.join(f'risk.{reader}' for reader in readers)}"
            yield violation(["risk", key], risk[key], words, origin)
    if not is_whole:
        return
    short, long, ratio = (risk[key] for key in _TOGETHER[1])
    if short is not None and short >= long:
        words = f"allowed: below risk.volatility_bars_long ({long})"
        yield violation(["risk", "volatility_bars_short"], short, words, origin)
    elif short is not None and Fraction(ratio) ** 2 * short >= long:
        words = (
            "allowed: below the root of the long bars over the short ones, which no ratio passes"
        )
        yield violation(["risk", "volatility_ratio_max"], ratio, words, origin)
    recent, before, distance = (risk[key] for key in _TOGETHER[2])
    if recent is not None:
        least = SMIRNOV_5_PERCENT**2 * (recent + before)
        if Fraction(distance) ** 2 * recent * before < least:
            words = "allowed: at least what chance alone exceeds one time in twenty; take more bars"
            yield violation(["risk", "drift_max"], distance, words, origin)


def _fatigue_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk, market = raw["risk"], raw["market"]
    given = [key for key in _FATIGUE_KEYS if risk.get(key) is not None]
    missing = [key for key in _FATIGUE_KEYS[:3] if risk.get(key) is None]
    if not given or missing:
        for key in missing if given else ():
            yield f"risk.{key}: missing; risk.{given[0]} needs it"
        return
    path, interval = ["risk", _FATIGUE_KEYS[0]], risk[_FATIGUE_KEYS[0]]
    built, bars = market["bar_intervals"], DAY_MS // INTERVAL_MS[interval] + 1
    if interval not in built:
        words = f"allowed: one of market.bar_intervals ({', '.join(built)})"
        yield violation(path, interval, words, origin)
    elif max(bars, FATIGUE_RSI_PERIOD + 1) > (known := warmup_of(market["warmup_bars"], interval)):
        words = (
            f"allowed: bars of which market.warmup_bars ({known}) span a day and are more than "
            f"{FATIGUE_RSI_PERIOD}, as nothing enters before"
        )
        yield violation(path, interval, words, origin)


def _tier_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk, path = raw["risk"], ["risk", "drawdown_tiers"]
    tiers, hard = risk.get("drawdown_tiers"), risk.get("account_drawdown_bps_hard")
    if tiers is None:
        return
    if hard is None:
        words = "allowed: only with risk.account_drawdown_bps_hard, below which all tiers lie"
        yield violation(path, tiers, words, origin)
        return
    former: JsonObject = {"state": "", "drawdown_bps": 0, "back_bps": -1}
    for place, tier in enumerate(tiers):
        here = [*path, str(place)]
        begins, back, share = tier["drawdown_bps"], tier["back_bps"], tier.get("entry_percent")
        if begins >= hard:
            words = f"allowed: below risk.account_drawdown_bps_hard ({hard})"
            yield violation([*here, "drawdown_bps"], begins, words, origin)
        if begins <= former["drawdown_bps"]:
            words = f"allowed: above the tier before ({former['drawdown_bps']})"
            yield violation([*here, "drawdown_bps"], begins, words, origin)
        if not former["back_bps"] < back < begins:
            words = f"allowed: above {former['back_bps']}, as before, and below drawdown_bps"
            yield violation([*here, "back_bps"], back, words, origin)
        if former["state"] == HALTED_TIER:
            yield violation(
                [*here, "state"], tier["state"], "allowed: no tier behind HALTED", origin
            )
        if (share is None) != (tier["state"] == HALTED_TIER):
            words = "allowed: entry_percent with REDUCING, and with it alone"
            yield violation(here, tier, words, origin)
        if share is not None and share >= former.get("entry_percent", 100):
            words = "allowed: less than the tier before, and less than 100"
            yield violation([*here, "entry_percent"], share, words, origin)
        former = tier


def _week_rule(name: str) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        low, high = (raw["risk"].get(f"{name}_{kind}") for kind in ("soft", "hard"))
        if low is high is None:
            return
        if low is None or high is None:
            missing, given = ("soft", "hard") if low is None else ("hard", "soft")
            yield f"risk.{name}_{missing}: missing; risk.{name}_{given} needs it"
        else:
            yield from _order_rule("risk", f"{name}_soft", f"{name}_hard", True)(raw, origin)

    return rule


def _plan_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = raw["risk"]
    hard, stop = risk.get("hard_stop_bps"), risk.get("stop_bps")
    wanted = [key for key in _PLANNED if risk.get(key) is not None]
    if wanted and hard is None:
        words = f"allowed: basis points as text, as risk.{wanted[0]} is given"
        yield violation(["risk", "hard_stop_bps"], None, words, origin)
    if hard is not None and stop is not None and Fraction(stop) > Fraction(hard):
        words = f"allowed: at most risk.hard_stop_bps ({hard})"
        yield violation(["risk", "stop_bps"], stop, words, origin)
    has_trail = risk.get("trail_bps") or risk.get("trail_atr_mult")
    for key in ("trail_from_bps", "trail_from_atr_mult"):
        if risk.get(key) is not None and not has_trail:
            words = "allowed: only beside risk.trail_bps or risk.trail_atr_mult"
            yield violation(["risk", key], risk[key], words, origin)
    yield from _ladder_violations(risk, origin)
    yield from _campaign_violations(risk, origin)
    ages = risk.get("targets_by_age") or []
    for (before, more), (after, less) in pairwise(ages):
        if after <= before or Fraction(less) >= Fraction(more):
            words = "allowed: minutes that rise, and basis points that fall"
            yield violation(["risk", "targets_by_age"], ages, words, origin)
            return


def _horizon_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    risk = {key: raw["risk"].get(key) for key in _HORIZON_KEYS}
    usual = risk["horizon_ms"]
    if usual is None:
        for key in _HORIZON_KEYS[1:]:
            if risk[key] is not None:
                yield violation(
                    ["risk", key], risk[key], "allowed: only beside risk.horizon_ms", origin
                )
        return
    missing = [key for key in _HORIZON_NEEDS if risk[key] is None]
    for key in missing:
        yield f"risk.{key}: missing; risk.horizon_ms needs it"
    if missing:
        return
    least, most = risk["horizon_ms_min"], risk["horizon_ms_max"]
    if not least <= usual <= most:
        words = f"allowed: from risk.horizon_ms_min ({least}) to risk.horizon_ms_max ({most})"
        yield violation(["risk", "horizon_ms"], usual, words, origin)
    short, long = risk["horizon_bars_short"], risk["horizon_bars_long"]
    if short >= long:
        words = f"allowed: below risk.horizon_bars_long ({long})"
        yield violation(["risk", "horizon_bars_short"], short, words, origin)


def _ladder_violations(risk: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    policy = risk.get("exit_policy")
    rungs = [key for pair in _DISTANCES[5:] for key in pair if risk.get(key) is not None]
    # A campaign may have both rungs or none.
    has_rungs = policy == LADDER or (policy == CAMPAIGN and bool(rungs))
    for bps, multiple in _DISTANCES[5:]:
        given = [key for key in (bps, multiple) if risk.get(key) is not None]
        if has_rungs and not given:
            why = "risk.exit_policy" if policy == LADDER else f"risk.{rungs[0]}"
            words = f"allowed: a distance, as {why} is given"
            yield violation(["risk", bps], None, words, origin)
        elif given and not has_rungs:
            words = "allowed: only beside risk.exit_policy"
            yield violation(["risk", given[0]], risk[given[0]], words, origin)
    for kind in ("bps", "atr_mult"):
        first, second = risk.get(f"ladder_1_{kind}"), risk.get(f"ladder_2_{kind}")
        if first is not None and second is not None and Fraction(first) >= Fraction(second):
            words = f"allowed: below risk.ladder_2_{kind} ({second})"
            yield violation(["risk", f"ladder_1_{kind}"], first, words, origin)


def _campaign_violations(risk: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    is_campaign = risk.get("exit_policy") == CAMPAIGN
    for key in _CAMPAIGN_KEYS:
        if risk.get(key) is not None and not is_campaign:
            words = f"allowed: only beside risk.exit_policy {CAMPAIGN}"
            yield violation(["risk", key], risk[key], words, origin)
    for key in _CAMPAIGN_NEEDS if is_campaign else ():
        if risk.get(key) is None:
            yield f"risk.{key}: missing; risk.exit_policy {CAMPAIGN} needs it"
    rows, part = risk.get("recovery") or [], risk.get("recovery_part_percent")
    choices = [choice for _, choice in rows]
    if DE_RISK in choices and part is None:
        yield f"risk.recovery_part_percent: missing; a row {DE_RISK} of risk.recovery needs it"
    if part is not None and DE_RISK not in choices:
        words = f"allowed: only beside a row {DE_RISK} of risk.recovery"
        yield violation(["risk", "recovery_part_percent"], part, words, origin)
    losses = [Fraction(loss) for loss, _ in rows]
    if any(after <= before for before, after in pairwise(losses)):
        yield violation(["risk", "recovery"], rows, "allowed: losses that rise", origin)
    elif LEAVE in choices[:-1]:
        words = f"allowed: {LEAVE} in the last row alone"
        yield violation(["risk", "recovery"], rows, words, origin)
    hard = risk.get("hard_stop_bps")
    if losses and hard is not None and losses[-1] >= Fraction(hard):
        words = f"allowed: losses below risk.hard_stop_bps ({hard}), which sells all"
        yield violation(["risk", "recovery"], rows, words, origin)


def _bar_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    built = raw["market"]["bar_intervals"]
    for key in ("bar_interval", "trend_interval"):
        if raw["strategy"][key] not in built:
            words = f"allowed: one of market.bar_intervals ({', '.join(built)})"
            yield violation(["strategy", key], raw["strategy"][key], words, origin)
    if raw["strategy"]["bar_interval"] == MONTH:  # Risk counts time in the strategy's bars.
        words = "allowed: an interval of a fixed length"
        yield violation(["strategy", "bar_interval"], MONTH, words, origin)


def _symbol_rule(venue: str) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        quote = raw["portfolio"]["quote_asset"]
        if raw.get(venue) is None or venue != venue_name(raw):
            return
        symbols = raw[venue]["symbols"]
        is_in_base = raw["execution"].get("fee_asset") == "base"
        for symbol in symbols:
            if not symbol.endswith(quote) or symbol == quote:
                words = f"{symbol}: allowed: markets that portfolio.quote_asset ({quote}) pays"
                yield violation([venue, "symbols"], symbols, words, origin)
            elif is_in_base and not can_detect_fee_in_base(symbol, symbol.removesuffix(quote)):
                words = (
                    f"{symbol}: allowed where execution.fee_asset is quote: its coin ends it too"
                )
                yield violation([venue, "symbols"], symbols, words, origin)

    return rule


def _folder_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    for section in ("queues", "ai"):
        value = raw[section]["base_dir"]
        if why := escape_reason(value) or _absolute(value):
            yield _escaped([section, "base_dir"], value, why, origin)
        elif value != section:
            words = f'allowed: "{section}", below paths.var'
            yield violation([section, "base_dir"], value, words, origin)
    known = sorted(Roles.of_project().queues)
    if sorted(raw["queues"]["names"]) != known:
        words = f"allowed: exactly the queues of roles.v1.json: {', '.join(known)}"
        yield violation(["queues", "names"], raw["queues"]["names"], words, origin)


def _path_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    var = raw["paths"]["var"]
    if why := escape_reason(var):
        yield _escaped(["paths", "var"], var, why, origin)
    elif origin.get("paths.var") not in (SET, MANIFEST) and not is_within(resolve(var), PROJECT):
        # A typed path is intended; a file or an environment may be another person's.
        yield _escaped(["paths", "var"], var, "leads out of the project", origin)
    elif resolve(var).resolve() == PROJECT:
        yield _escaped(["paths", "var"], var, "is the project itself", origin)


def _backup_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw.get("backup") is None:
        return
    folder, var = raw["backup"]["folder"], resolve(raw["paths"]["var"])
    if why := escape_reason(folder):
        yield _escaped(["backup", "folder"], folder, why, origin)
    elif is_within(resolve(folder), var) or is_within(var, resolve(folder)):
        words = "allowed: a folder that neither lies in paths.var nor holds it"
        yield violation(["backup", "folder"], folder, words, origin)


def _alerts_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    alerts = raw.get("alerts")
    if alerts is None:
        return
    targets, commands = alerts.get("targets") or {}, alerts.get("commands") or {}
    for name in sorted(targets.keys() & commands.keys()):
        words = "allowed: another name, as alerts.targets has it too"
        yield violation(["alerts", "commands", name], commands[name], words, origin)
    if not targets and not commands:
        words = "allowed: a section with targets, commands, or both"
        yield violation(["alerts"], alerts, words, origin)
    telegram = alerts.get("telegram")
    if telegram is not None and telegram not in targets:
        names = ", ".join(sorted(targets)) or "there is none"
        words = f"allowed: a name of alerts.targets ({names})"
        yield violation(["alerts", "telegram"], telegram, words, origin)
    if alerts.get("telegram_acts") and telegram is None:
        words = "allowed: false without alerts.telegram"
        yield violation(["alerts", "telegram_acts"], True, words, origin)


def _secrets_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    path = raw["secrets"]["path"]
    if path is None:
        return
    words = "allowed: null, or an absolute path outside the project"
    if why := escape_reason(path):
        yield _escaped(["secrets", "path"], path, why, origin)
    elif not _absolute(path):
        yield violation(["secrets", "path"], path, f"is relative; {words} (N-11)", origin)
    elif is_within(Path(path), PROJECT):
        yield violation(
            ["secrets", "path"], path, f"lies inside the project; {words} (N-11)", origin
        )


def _source_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw["embedded"] is None:
        return
    source = raw["embedded"]["source"]
    kind, _, rest = source.partition(":")
    seed, _, names = rest.partition(":")
    is_seed = seed.isascii() and seed.isdigit() and len(seed) <= 18
    if kind == "generator" and not (is_seed and (names or ":" not in rest)):
        words = "allowed: generator:SEED with a whole number as seed, or generator:SEED:SYMBOL,..."
        yield violation(["embedded", "source"], source, words, origin)
    for key in ("source", "history"):
        text = raw["embedded"][key] or ""
        if any(ord(character) < 32 for character in text):
            yield _escaped(["embedded", key], text, "holds control characters", origin)


def _process_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    for name, roles in raw.get("processes", {}).items():
        if len(roles) < 2:
            continue
        if AI_ROLE in roles:
            words = "refused: ai_role may never share a process with another role (N-36)"
        else:
            words = "refused: each role has a process of its own"
        yield violation(["processes", name], roles, words, origin)


def _chaos_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw["chaos"] is not None and raw["embedded"] is None:
        words = "allowed: null, as faults are planted in front of an embedded exchange alone"
        yield violation(["chaos"], raw["chaos"], words, origin)


def _paper_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    has_paper, is_paper = "paper" in raw, raw["mode"] == "PAPER"
    if has_paper and not is_paper:
        words = "allowed: no such section in mode NORE, where nothing stands in for the exchange"
        yield violation(["paper"], raw["paper"], words, origin)
    elif is_paper and not has_paper:
        words = "allowed: NORE, or PAPER with a section paper that names its fallback"
        yield violation(["mode"], raw["mode"], words, origin)


def _absolute(text: str) -> str | None:
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
        return "is absolute"
    return None


def _escaped(path: list[str], value: Any, why: str, origin: Mapping[str, str]) -> str:
    words = f"{why}; allowed: a plain path that stays inside (CONFIG_PATH_ESCAPE)"
    return violation(path, value, words, origin)


def _regime_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    regimes, longest_ms = raw["risk"].get("entry_regimes"), INTERVAL_MS[REGIME_INTERVAL]
    if regimes is None:
        return
    if raw.get("scanner") is None:
        words = "allowed: only with the section scanner, which provides the regime"
        yield violation(["risk", "entry_regimes"], regimes, words, origin)
        return
    if MIXED not in regimes and REGIME_INTERVAL not in raw["market"]["bar_intervals"]:
        words = (
            f"allowed: only with {MIXED}, or where market.bar_intervals has {REGIME_INTERVAL}: "
            f"without its bars the regime is {MIXED}"
        )
        yield violation(["risk", "entry_regimes"], regimes, words, origin)
    every_ms = section_of(ScannerSection, raw["scanner"]).every_market_ms
    if every_ms > longest_ms:
        words = (
            f"allowed: only where scanner.every_market_ms (it is {every_ms}) is at most "
            f"{longest_ms}, for which a regime holds"
        )
        yield violation(["risk", "entry_regimes"], regimes, words, origin)


def _scanner_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    if raw.get("scanner") is None:
        return
    scanner = section_of(ScannerSection, raw["scanner"])
    built = raw["market"]["bar_intervals"]
    if scanner.bar_interval not in built:
        words = f"allowed: one of market.bar_intervals ({', '.join(built)})"
        yield violation(["scanner", "bar_interval"], scanner.bar_interval, words, origin)
    universe = raw.get("universe")
    if scanner.watched_bars and (universe is None or universe["mode"] != "dynamic"):
        words = "allowed: true where universe.mode is dynamic, which watches symbols"
        yield violation(["scanner", "watched_bars"], True, words, origin)
    low, high = scanner.range_bps_min, scanner.range_bps_max
    if Fraction(low) > Fraction(high):
        words = f"allowed: at most scanner.range_bps_max ({high})"
        yield violation(["scanner", "range_bps_min"], low, words, origin)


def _rank_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    rank_max = raw["strategy"].get("rank_max")
    if rank_max is not None and raw.get("scanner") is None:
        words = "allowed: only with the section scanner, which ranks the symbols"
        yield violation(["strategy", "rank_max"], rank_max, words, origin)


def _vadr_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    interval, readings = (raw["risk"].get(key) for key in ("vadr_bar_interval", "vadr_bars"))
    if interval is None or readings is None:
        return
    market, path = raw["market"], ["risk", "vadr_bar_interval"]
    length_ms, built = INTERVAL_MS.get(interval, 0), market["bar_intervals"]
    if not length_ms or DAY_MS % length_ms:
        yield violation(path, interval, "allowed: a length of which a day is made", origin)
        return
    if interval not in built:
        words = f"allowed: one of market.bar_intervals ({', '.join(built)})"
        yield violation(path, interval, words, origin)
    # As `features.vadr` counts them, which is not to be imported here; a test compares the two.
    needed, has = DAY_MS // length_ms + readings - 1, warmup_of(market["warmup_bars"], interval)
    if has < needed:
        words = (
            f"allowed: only where market.warmup_bars brings {needed} bars of {interval} (24 hours "
            f"and the readings; it can bring 1000); it brings {has}"
        )
        yield violation(["risk", "vadr_bars"], readings, words, origin)


def _spread_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    spread = (raw.get("backtest") or {}).get("spread_bps")
    if spread is None:
        return
    # Backtests count it in hundredths of a basis point.
    is_counted = (Fraction(spread) * BPS_UNITS / BPS).denominator == 1
    if Fraction(spread) >= BPS or not is_counted:
        words = f"allowed: below {BPS}, with at most 2 places"
        yield violation(["backtest", "spread_bps"], spread, words, origin)


def _digit_rule(section: str) -> Rule:
    def rule(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
        for path, text in _texts([section], raw[section]):
            whole, _, fraction = text.partition(".")
            if len(fraction) > PLACES_MAX:
                words = f"allowed: at most {PLACES_MAX} places, zeros included"
                yield violation(path, text, words, origin)
            elif path == ["portfolio", "cash"] and len(whole) > CASH_DIGITS_MAX:
                words = f"allowed: at most {CASH_DIGITS_MAX} digits before the point"
                yield violation(path, text, words, origin)

    return rule


def _texts(path: list[str], node: Any) -> Iterator[tuple[list[str], str]]:
    """Yield each text of a part of the profile, with its path."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict):
        for key, child in node.items():
            yield from _texts([*path, key], child)
    elif isinstance(node, list):
        for place, child in enumerate(node):
            yield from _texts([*path, str(place)], child)


def _depth_violations(raw: JsonObject, origin: Mapping[str, str]) -> Iterator[str]:
    least = raw["risk"].get("depth_min")
    if least is not None and not raw["market"].get("book_depth"):
        words = "allowed: only where market.book_depth is true, which provides the depth"
        yield violation(["risk", "depth_min"], least, words, origin)


_RULES: Final[tuple[tuple[tuple[str, ...], Rule], ...]] = (
    *(
        ((f"{section}.{lower}", f"{section}.{upper}"), _order_rule(section, lower, upper, equal))
        for section, lower, upper, equal in (
            *_PAIRS,
            *((venue, *pair) for venue in VENUES for pair in _VENUE_PAIRS),
        )
    ),
    *(
        (
            tuple(f"{venue}.{key}" for key in _SAMPLED),
            _sample_rule(venue),
        )
        for venue in VENUES
    ),
    (("duration_ms", "portfolio.close_market_ms"), _duration_violations),
    (("venue", "embedded", "paper", *VENUES), _venue_violations),
    *(
        (("venue", f"{name}.rest_url", f"{name}.stream_url", "embedded"), _exchange_rule(name))
        for name in VENUES
    ),
    (
        ("embedded.speed", *(f"{VENUE}.{key}" for key in STOP_THRESHOLDS)),
        _speed_violations,
    ),
    (("embedded.source", "embedded.history"), _source_violations),
    (
        (
            *(f"risk.{key}" for pair in _DISTANCES for key in pair),
            *("risk.signal_exit", "risk.time_exit_ms", "risk.hard_stop_bps"),
        ),
        _exit_violations,
    ),
    (("risk.stop_limit_bps", "risk.exits_at"), _stop_limit_violations),
    (("risk.protections",), _protection_violations),
    (("scanner", "market.bar_intervals", "universe"), _scanner_violations),
    (("risk.entry_regimes", "scanner", "market.bar_intervals"), _regime_violations),
    (("strategy.rank_max", "scanner"), _rank_violations),
    (("risk.depth_min", "market.book_depth"), _depth_violations),
    (
        (
            *("risk.vadr_bar_interval", "risk.vadr_bars"),
            *("market.bar_intervals", "market.warmup_bars"),
        ),
        _vadr_violations,
    ),
    (tuple(f"risk.{key}" for key in _RETURN_KEYS), _return_violations),
    (
        (*(f"risk.{key}" for key in _FATIGUE_KEYS), "market.bar_intervals", "market.warmup_bars"),
        _fatigue_violations,
    ),
    (("risk.drawdown_tiers", "risk.account_drawdown_bps_hard"), _tier_violations),
    *(
        ((f"risk.{name}_soft", f"risk.{name}_hard"), _week_rule(name))
        for name in ("week_notional", "week_loss")
    ),
    (("risk.sizing", "risk.order_notional", "risk.position_notional_max"), _amount_violations),
    (
        (*(f"risk.{key}" for key in _SIZING_KEYS), "portfolio.quote_asset"),
        _sizing_violations,
    ),
    (
        ("risk.entry", *(f"risk.{key}" for key in _MAKER_KEYS), "execution.order_ttl_market_ms"),
        _entry_violations,
    ),
    (
        (
            *("execution.latency_market_ms", "execution.latency_drawn_market_ms"),
            *("execution.order_ttl_market_ms", "risk.intent_ttl_ms", "risk.late_fill_market_ms"),
        ),
        _latency_violations,
    ),
    (("risk", "portfolio.cash"), policy_violations),
    (
        (
            *("risk.hard_stop_bps", "risk.stop_bps"),
            *(f"risk.{key}" for key in (*_PLANNED, *_CAMPAIGN_KEYS)),
        ),
        _plan_violations,
    ),
    (tuple(f"risk.{key}" for key in _HORIZON_KEYS), _horizon_violations),
    (
        ("market.bar_intervals", "strategy.bar_interval", "strategy.trend_interval"),
        _bar_violations,
    ),
    *(
        (
            ("venue", f"{name}.symbols", "portfolio.quote_asset", "execution.fee_asset"),
            _symbol_rule(name),
        )
        for name in VENUES
    ),
    (("queues.base_dir", "queues.names", "ai.base_dir"), _folder_violations),
    (("paths.var",), _path_violations),
    (("backup.folder", "paths.var"), _backup_violations),
    (("alerts",), _alerts_violations),
    (("secrets.path",), _secrets_violations),
    (("processes",), _process_violations),
    (("ai.enabled", "ai.required"), _ai_violations),
    (("ai.permitted_queues",), _permitted_violations),
    (
        (
            *("watchdog.heartbeat_interval_ms", "watchdog.lease_ms"),
            *("watchdog.hung_execution_ms", "watchdog.hung_ms"),
        ),
        _watchdog_violations,
    ),
    (("backtest.spread_bps",), _spread_violations),
    *(((section,), _digit_rule(section)) for section in ("execution", "portfolio", "risk")),
    (("chaos", "embedded"), _chaos_violations),
    (("mode", "paper"), _paper_violations),
)
