"""Parameters of `nore_strategy_v1`, parsed from the profile.

Decimal strings become floats here, and are kept as text for explanations.
"""

from __future__ import annotations

from dataclasses import dataclass

from minibot.cores.core_profile import CoreProfile, StrategySection
from minibot.events.model import JsonObject
from minibot.events.names import STRATEGY_ROLE
from minibot.events.reasons import CONFIG_INVALID
from minibot.kernel.errors import RunStop


@dataclass(frozen=True, slots=True)
class StrategyParameters:
    """Parameters: the section `strategy` of the profile, and the taker fee for the cost gate.

    `section` keeps the values as they are in the profile, for explanations.
    """

    bar_interval: str
    trend_interval: str
    bars_from_ticks: bool
    rsi_period: int
    ema_fast: int
    ema_slow: int
    atr_period: int
    return_bars: int
    flow_touches: int
    rsi_oversold: float
    rsi_overbought: float
    momentum_bps_min: float
    reversion_bps_min: float
    spread_bps_max: float
    touch_notional_min: float
    tick_age_ms_max: int
    score_min: int
    confidence_min: int
    cooldown_ms: int
    cost_gate: bool
    cost_gate_atr_mult: float
    rank_max: int | None
    taker_fee_bps: float
    section: StrategySection

    @classmethod
    def from_config(cls, config: JsonObject) -> StrategyParameters:
        """Return the parameters of a resolved config.

        Raises:
            RunStop: CONFIG_INVALID, if values contradict each other (the config schema checks each
                value alone).
        """
        profile = CoreProfile.of(config)
        section = profile.strategy
        parameters = cls(
            bar_interval=section.bar_interval,
            trend_interval=section.trend_interval,
            bars_from_ticks=section.bars_from_ticks,
            rsi_period=section.rsi_period,
            ema_fast=section.ema_fast,
            ema_slow=section.ema_slow,
            atr_period=section.atr_period,
            return_bars=section.return_bars,
            flow_touches=section.flow_touches,
            rsi_oversold=float(section.rsi_oversold),
            rsi_overbought=float(section.rsi_overbought),
            momentum_bps_min=float(section.momentum_bps_min),
            reversion_bps_min=float(section.reversion_bps_min),
            spread_bps_max=float(section.spread_bps_max),
            touch_notional_min=float(section.touch_notional_min),
            tick_age_ms_max=section.tick_age_ms_max,
            score_min=section.score_min,
            confidence_min=section.confidence_min,
            cooldown_ms=section.cooldown_ms,
            cost_gate=section.cost_gate,
            cost_gate_atr_mult=float(section.cost_gate_atr_mult),
            rank_max=section.rank_max,
            taker_fee_bps=float(profile.execution.taker_fee_bps),
            section=section,
        )
        parameters._refuse_contradictions()
        return parameters

    def _refuse_contradictions(self) -> None:
        if self.ema_fast >= self.ema_slow:
            found = f"ema_fast {self.ema_fast}, ema_slow {self.ema_slow}"
            raise invalid(f"strategy.ema_fast: expected below ema_slow, found {found}")
        if not 0.0 < self.rsi_oversold < 50.0 < self.rsi_overbought < 100.0:
            found = f"{self.rsi_oversold} and {self.rsi_overbought}"
            raise invalid(
                f"strategy.rsi_oversold, rsi_overbought: expected 0 < oversold < 50 < overbought "
                f"< 100, found {found}"
            )
        if self.bar_interval == self.trend_interval:
            raise invalid(
                "strategy.trend_interval: expected another interval than bar_interval, found "
                f"{self.trend_interval} for both; if no longer bars exist, decide on shorter ones"
            )


def invalid(detail: str) -> RunStop:
    """Return the STOP for a profile's strategy that cannot be used."""
    return RunStop(STRATEGY_ROLE, CONFIG_INVALID, detail)
