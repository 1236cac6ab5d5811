"""Universe: the symbols that a run follows and trades, resolved from the venue's answers.

    bases x quote asset -> listed? spot? trading? not excluded? volume? -> ranked by volume

The first `traded_max` are traded (full streams), the rest are watched (mini tickers). The same
answers after the same previous resolution give the same universe, in whatever order the venue
lists. To keep symbols at the edge of the rank from coming and going with every minute, a traded
symbol stays while it is at most a tenth of the places, rounded up, below the last: of 10 places it
stays at rank 11 and leaves at 12. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from minibot.accounting.order_rules import TRADING
from minibot.cores.messages import can_detect_fee_in_base
from minibot.events.model import Instrument, Universe
from minibot.exchanges.units import not_negative
from minibot.exchanges.venue_facts import Listing, Listings
from minibot.runtime.configuration.config import Config
from minibot.runtime.paths import PROJECT

DYNAMIC: Final = "dynamic"
STATIC: Final = "static"
UNIVERSE_V1: Final = "universe-v1"
BASES_PATH: Final = PROJECT / "config" / "universe.v1.json"

# Reasons that exclude a symbol which the venue lists against the quote asset.
NOT_SPOT: Final = "not_spot"
NOT_TRADING: Final = "not_trading"
EXCLUDED: Final = "excluded"
NO_RULES: Final = "no_rules"
NO_VOLUME: Final = "no_volume"
VOLUME: Final = "volume"


@dataclass(frozen=True, slots=True)
class UniverseConfig:
    """Universe settings of the profile; `bases` None for all, the volume in hundred-millionths."""

    mode: str
    quote_asset: str
    symbols: tuple[str, ...]
    bases: tuple[str, ...] | None
    exclude: frozenset[str]
    quote_volume_min: int
    traded_max: int
    interval_ms: int
    is_fee_in_base: bool = False

    @property
    def is_dynamic(self) -> bool:
        """Return whether the universe is chosen from the venue's answers."""
        return self.mode == DYNAMIC


@dataclass(frozen=True, slots=True)
class Resolution:
    """Resolved universe: traded and watched by rank, and the reasons that exclude the others."""

    traded: tuple[str, ...]
    watched: tuple[str, ...] = ()
    missing_bases: tuple[str, ...] = ()
    excluded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    quote_volumes: Mapping[str, str] = field(default_factory=dict)

    def event(self, config: UniverseConfig, kept: Iterable[str], generation: int) -> Universe:
        """Return the universe event; `kept` are symbols that a position keeps followed."""
        return Universe(
            mode=config.mode,
            quote_asset=config.quote_asset,
            traded=self.traded,
            watched=self.watched,
            kept=tuple(sorted(set(kept) - set(self.traded))),
            missing_bases=self.missing_bases,
            excluded={reason: list(names) for reason, names in self.excluded.items()},
            quote_volumes={
                symbol: self.quote_volumes[symbol]
                for symbol in self.traded
                if symbol in self.quote_volumes
            },
            generation=generation,
        )


def universe_config(config: Config, symbols: tuple[str, ...]) -> UniverseConfig | None:
    """Return the universe of a profile; None where it has none.

    `symbols` is the list of the run, used for a static universe.
    """
    section = config.universe
    if section is None:
        return None
    return UniverseConfig(
        mode=section.mode,
        quote_asset=config.portfolio.quote_asset,
        symbols=symbols,
        bases=universe_v1() if section.bases == UNIVERSE_V1 else None,
        exclude=frozenset(section.exclude),
        quote_volume_min=not_negative(section.quote_volume_min),
        traded_max=section.traded_max,
        interval_ms=section.interval_market_ms,
        is_fee_in_base=config.execution.fee_asset == "base",
    )


def universe_v1() -> tuple[str, ...]:
    """Return the thirty bases of Universe V1 in their order (D-57)."""
    bases: list[str] = orjson.loads(BASES_PATH.read_bytes())["bases"]
    return tuple(bases)


def static_universe(config: UniverseConfig) -> Resolution:
    """Return the profile's list, unchanged and in its order (B-18)."""
    return Resolution(config.symbols)


def listed_universe(symbols: tuple[str, ...], rules: Instrument, held: Iterable[str]) -> Universe:
    """Return a list as a universe; `rules` of one of its symbols tell the quote asset."""
    return Universe(
        mode=STATIC,
        quote_asset=rules.quote_asset,
        traded=symbols,
        watched=(),
        kept=tuple(sorted(set(held) - set(symbols))),
        missing_bases=(),
        excluded={},
        quote_volumes={},
        generation=1,
    )


def resolve(
    config: UniverseConfig,
    listings: Listings,
    volumes: Mapping[str, str],
    traded_before: Collection[str] = (),
) -> Resolution:
    """Return the universe that the venue's answers give.

    Args:
        config: Of the profile.
        listings: Everything that the venue lists.
        volumes: Quote volume of 24 hours by symbol.
        traded_before: What was traded until now.
    """
    if not config.is_dynamic:
        return static_universe(config)
    candidates = [
        listing
        for listing in listings.by_symbol.values()
        if listing.quote_asset == config.quote_asset
        and (config.bases is None or listing.base_asset in config.bases)
    ]
    excluded: dict[str, list[str]] = {}
    ranked: list[tuple[int, str]] = []
    for listing in candidates:
        why = _why_not(config, listing, volumes)
        if why:
            excluded.setdefault(why, []).append(listing.symbol)
        else:
            ranked.append((-not_negative(volumes[listing.symbol]), listing.symbol))
    order = [symbol for _, symbol in sorted(ranked)]
    traded = _traded(order, config.traded_max, traded_before)
    listed = {listing.base_asset for listing in candidates}
    return Resolution(
        traded=traded,
        watched=tuple(symbol for symbol in order if symbol not in set(traded)),
        missing_bases=tuple(base for base in config.bases or () if base not in listed),
        excluded={reason: tuple(sorted(excluded[reason])) for reason in sorted(excluded)},
        quote_volumes={symbol: volumes[symbol] for symbol in order},
    )


def _why_not(config: UniverseConfig, listing: Listing, volumes: Mapping[str, str]) -> str:
    """Return the first reason that excludes a listed symbol; empty if it belongs."""
    if listing.base_asset in config.exclude or listing.symbol in config.exclude:
        return EXCLUDED
    if config.is_fee_in_base and not can_detect_fee_in_base(listing.symbol, listing.base_asset):
        return EXCLUDED
    if not listing.is_spot:
        return NOT_SPOT
    if listing.status != TRADING:
        return NOT_TRADING
    if listing.instrument is None:
        return NO_RULES
    if listing.symbol not in volumes:
        return NO_VOLUME
    return VOLUME if not_negative(volumes[listing.symbol]) < config.quote_volume_min else ""


def _traded(order: Sequence[str], count: int, before: Collection[str]) -> tuple[str, ...]:
    """Return the symbols to trade, by rank; traded ones may stay a little below the last place."""
    slack = -(-count // 10)
    staying = [symbol for symbol in order[: count + slack] if symbol in before][:count]
    chosen = set(staying)
    for symbol in order:
        if len(chosen) >= count:
            break
        chosen.add(symbol)
    return tuple(symbol for symbol in order if symbol in chosen)
