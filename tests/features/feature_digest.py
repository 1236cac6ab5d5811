"""Digest over many values of all indicators, for comparison between processes."""

from __future__ import annotations

import hashlib

from minibot.features.atr import WilderAtr
from minibot.features.ema import Ema
from minibot.features.order_flow import OrderFlowImbalance
from minibot.features.rate_of_change import RateOfChange
from minibot.features.rsi import WilderRsi
from minibot.features.volatility import RealisedVolatility

STEPS = 2_000


def main() -> None:
    """Feed a fixed pseudo-random walk (linear congruence, no `random`) and print the digest."""
    ema, rsi, atr = Ema(9), WilderRsi(14), WilderAtr(14)
    change, volatility, flow = RateOfChange(5), RealisedVolatility(20), OrderFlowImbalance(50)
    digest = hashlib.sha256()
    state, cents = 1, 6_183_763
    for _ in range(STEPS):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        cents += state % 201 - 100
        price = cents / 100
        ema.update(price)
        rsi.update(price)
        atr.update(price + state % 7 / 10, price - state % 5 / 10, price)
        change.update(price)
        volatility.update(price)
        flow.update(price, state % 997 / 100, price + 0.01, state % 991 / 100)
        for value in (ema.value, rsi.value, atr.value, change.value, volatility.value, flow.value):
            digest.update(b"none" if value is None else value.hex().encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
