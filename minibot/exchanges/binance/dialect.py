"""Dialect of Binance Spot for the market role: its frames, and its rule for a book."""

from __future__ import annotations

from typing import Final

from minibot.exchanges.base import Dialect
from minibot.exchanges.binance.book import BookKeeper
from minibot.exchanges.binance.messages import parse_frame

BINANCE: Final = Dialect(parse_frame, BookKeeper)
