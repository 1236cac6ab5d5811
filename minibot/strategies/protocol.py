"""Strategy protocol: the base class of every strategy, and the names that a strategy needs.

A strategy's file imports from here and from `minibot.features`. Each object serves one symbol: its
attributes belong to that symbol, are part of every snapshot, and come back after a restart. It gets
values and returns decisions; it touches nothing outside.

The core calls, in this order for one event
    on_bar    for each closed bar of a declared interval (longer ones first), including history, to
              warm up indicators; the answer to a bar that is not live is dropped. With
              `Needs.history` above 0 bars that are old, repeated or not sound are left out
    on_tick   for each trade and quote
    on_price  for each trade, if on_tick is not defined: it gets only the price, which makes
              backtests of ticks faster
    on_gap    when trades or quotes are missing: values computed from ticks over the hole are
              doubtful (a gap in the depth stream appears only in the view). Bars that closed while
              trades were missing come after it, as far as they can be fetched; bars that cannot
              are a hole between the `open_ts` of two bars. A gap of quotes alone holds back no bar
"""

from __future__ import annotations

from typing import ClassVar

from minibot.cores.closed_bar import ClosedBar as ClosedBar
from minibot.events.model import Check as Check
from minibot.events.model import Gap as Gap
from minibot.events.model import JsonObject
from minibot.events.native import mypyc_attr
from minibot.strategies.decision import Decision as Decision
from minibot.strategies.decision import adjust as adjust
from minibot.strategies.decision import buy as buy
from minibot.strategies.decision import check as check
from minibot.strategies.decision import compare as compare
from minibot.strategies.decision import hold as hold
from minibot.strategies.decision import sell as sell
from minibot.strategies.declaration import Needs as Needs
from minibot.strategies.declaration import Parameter as Parameter
from minibot.strategies.declaration import Settings as Settings
from minibot.strategies.declaration import choice as choice
from minibot.strategies.declaration import flag as flag
from minibot.strategies.declaration import number as number
from minibot.strategies.declaration import whole as whole
from minibot.strategies.state_codec import kept, put_back
from minibot.strategies.tick import Tick as Tick
from minibot.strategies.view import View as View


@mypyc_attr(allow_interpreted_subclasses=True)
class Strategy:
    """Base class of strategies, for one symbol; its own answer is always None.

    Derive from it, keep what you need in attributes of `self`, and answer in `on_tick`, `on_price`
    or `on_bar` with `buy`, `sell`, `adjust`, `hold` or None.
    """

    PARAMETERS: ClassVar[tuple[Parameter, ...]] = ()

    def __init__(self, settings: Settings) -> None:
        """Start for one symbol, with the values of `PARAMETERS`."""

    @staticmethod
    def needs(settings: Settings) -> Needs:
        """Return the data that this strategy needs."""
        return Needs()

    def on_tick(self, tick: Tick, view: View) -> Decision | None:
        """Answer a trade or a quote, or return None. By default `on_price` answers trades."""
        return self.on_price(tick.price, view) if tick.is_trade else None

    def on_price(self, price: float, view: View) -> Decision | None:
        """Answer a trade by its price alone, or return None."""
        return None

    def on_bar(self, bar: ClosedBar, view: View) -> Decision | None:
        """Answer a closed bar, or return None."""
        return None

    def on_gap(self, gap: Gap, view: View) -> None:
        """Reset values from ticks that a hole makes wrong, not those from bars; by default none."""

    def state(self) -> JsonObject:
        """Return every attribute as canonical JSON values; see `minibot.strategies.state_codec`."""
        return kept(self)

    def restore(self, state: JsonObject) -> None:
        """Take over what `state` described."""
        put_back(self, state)

    def __repr__(self) -> str:
        """Return a text that is the same in every process, without a memory address."""
        return f"<{type(self).__name__}>"
