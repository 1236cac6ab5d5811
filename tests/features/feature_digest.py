"""Digest over many values of all indicators, for comparison between processes."""

from __future__ import annotations

import hashlib

from minibot.features.adx import Adx
from minibot.features.atr import WilderAtr
from minibot.features.bollinger import BollingerBands
from minibot.features.donchian import Donchian
from minibot.features.ema import Ema
from minibot.features.macd import Macd
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.features.stochastic import Stochastic
from minibot.features.volatility import RealisedVolatility
from minibot.features.vwap import SessionVwap, Vwap

STEPS = 2_000


def main() -> None:
    """Feed a fixed pseudo-random walk (linear congruence, no `random`) and print the digest."""
    ema, rsi, atr = Ema(9), WilderRsi(14), WilderAtr(14)
    change, volatility, flow = RateOfChange(5), RealisedVolatility(20), OrderFlowImbalance(50)
    closes = (ema, rsi, change, volatility, Macd(), BollingerBands(20))
    bars = (atr, Adx(), Stochastic())
    channel, vwap, session = Donchian(20), Vwap(20), SessionVwap(86_400_000)
    indicators = (*closes, *bars, flow, channel, vwap, session)
    digest = hashlib.sha256()
    state, cents = 1, 6_183_763
    for step in range(STEPS):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        cents += state % 201 - 100
        price = cents / 100
        high, low = price + state % 7 / 10, price - state % 5 / 10
        for indicator in closes:
            indicator.update(price)
        for ranged in bars:
            ranged.update(high, low, price)
        channel.update(high, low)
        vwap.update(high, low, price, state % 13 / 10)
        session.update(step * 3_600_000, high, low, price, state % 13 / 10)
        flow.update(price, state % 997 / 100, price + 0.01, state % 991 / 100)
        for each in indicators:
            value = each.value
            digest.update(b"none" if value is None else value.hex().encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
