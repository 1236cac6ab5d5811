"""Regime gate: entries only in the market regimes that a profile names.

The strategy role reports the regime with its scans. Before the first one no entry is allowed.
"""

from __future__ import annotations

from typing import Final, final

from minibot.cores.core_profile import CoreProfile
from minibot.events.model import JsonObject
from minibot.events.reasons import REGIME_EXCLUDED
from minibot.risk.checks import NONE, SKIPPED, Gate

NAME: Final = "market_regime"
OFF: Final = Gate(NAME, REGIME_EXCLUDED, words=(NONE, NONE))
"""The check of a profile without `risk.entry_regimes`, which does not apply."""


@final
class RegimeGate:
    """Gate by the market's regime; off without `risk.entry_regimes`.

    Attributes:
        regime: The regime reported last; empty before the first.
    """

    __slots__ = ("_allowed", "_words", "regime")

    def __init__(self, config: JsonObject) -> None:
        """Take the key from the whole resolved configuration; no regime is known."""
        allowed = CoreProfile.of(config).risk.entry_regimes or ()
        self._allowed: frozenset[str] = frozenset(allowed)
        self._words: str = ", ".join(allowed)
        self.regime: str = ""

    @property
    def is_on(self) -> bool:
        """True if the profile names regimes."""
        return self._words != ""

    def gate(self) -> Gate:
        """Return the check, which shows the present regime."""
        if not self.is_on:
            return OFF
        if self.regime in self._allowed:
            return Gate(NAME, REGIME_EXCLUDED, words=(self.regime, NONE))
        return Gate(NAME, REGIME_EXCLUDED, words=(self._words, self.regime or NONE))

    def value(self) -> int:
        """Return 1 if the regime refuses entries, else 0; `SKIPPED` without the key."""
        return int(self.regime not in self._allowed) if self.is_on else SKIPPED
