"""Differences between minibot's trades and another engine's, each with the classes it follows from.

A difference is explained by the fewest rules of the other engine that turn minibot's trade into
its trade, to the bar and to the price. What no such rules give is unexplained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from tools.fill_oracle.entry_plan import Bars, Entry
from tools.fill_oracle.path_rules import CLASSES, PEERS, Trade, trade_under

Trades = Mapping[int, Trade]
"""Trades of one engine, each by the opening time of the bar after the decision."""


class EngineFailure(Exception):
    """Failure of an engine to make its trades; the message says what it said."""


def by_opening(engine: str, made: Iterable[Trade]) -> Trades:
    """Return an engine's trades by the opening time of their first bar.

    Raises:
        EngineFailure: Two trades began in one bar.
    """
    trades: dict[int, Trade] = {}
    for trade in made:
        if trade.opened_ts in trades:
            raise EngineFailure(
                f"{engine}: two trades in one bar, {trades[trade.opened_ts]} {trade}"
            )
        trades[trade.opened_ts] = trade
    return trades


@dataclass(slots=True)
class Comparison:
    """Comparison of one engine with minibot.

    Attributes:
        engine: Its name.
        compared: How many entries were compared.
        same_entries, same_exits, same: How many trades have the same entry, exit, or both.
        classes: How many differences each class takes part in.
        unexplained: Every difference that no class explains, in full.
    """

    engine: str
    compared: int = 0
    same_entries: int = 0
    same_exits: int = 0
    same: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    def table(self) -> list[str]:
        """Return the rows for a person."""
        rows = [
            f"{self.engine}: {self.compared} trades compared, {self.same} equal"
            f" (entries {self.same_entries}, exits {self.same_exits})"
        ]
        rows += [
            f"  {count:>5} {name}: {CLASSES[name]}"
            for name, count in sorted(self.classes.items(), key=lambda row: (-row[1], row[0]))
        ]
        return [*rows, f"  {len(self.unexplained):>5} unexplained", *self.unexplained]


def explanation(bars: Bars, entry: Entry, trade: Trade, engine: str) -> tuple[str, ...] | None:
    """Return the fewest rules of an engine that give its trade; None if none do."""
    rules = PEERS.get(engine, ())
    for count in range(len(rules) + 1):
        for chosen in combinations(rules, count):
            if trade_under(bars, entry, chosen) == trade:
                return chosen
    return None


def compare(
    bars: Bars, entries: Sequence[Entry], ours: Trades, theirs: Trades, engine: str
) -> Comparison:
    """Compare an engine's trades with minibot's, entry by entry.

    Minibot's own trade has to be the one that follows without any rule of `CLASSES`.

    Args:
        bars: The market.
        entries: What both were told to buy.
        ours: Minibot's trades.
        theirs: The engine's.
        engine: Its name; one that `PEERS` does not know has to do all as minibot does.
    """
    found = Comparison(engine)
    alone, left = dict(ours), dict(theirs)
    for entry in entries:
        opened = bars.rows[entry.at + 1].open_ts
        our, their = alone.pop(opened, None), left.pop(opened, None)
        found.compared += 1
        if our is None or their is None:
            lacking = "minibot" if our is None else engine
            found.unexplained.append(told(bars, entry, our, their, f"{lacking} has no such trade"))
            continue
        found.same_entries += our[:2] == their[:2]
        found.same_exits += our[2:] == their[2:]
        found.same += our == their
        chosen = explanation(bars, entry, their, engine)
        if our != trade_under(bars, entry):
            found.unexplained.append(told(bars, entry, our, their, "minibot breaks its own rules"))
        elif chosen is None:
            found.unexplained.append(told(bars, entry, our, their, "no class gives this trade"))
        else:
            found.classes.update(chosen)
    for name, others in (("minibot", alone), (engine, left)):
        found.unexplained += [f"  {name} traded without an entry: {one}" for one in others.values()]
    return found


def told(bars: Bars, entry: Entry, our: Trade | None, their: Trade | None, why: str) -> str:
    """Return a difference in full: entry, both trades and the bars around the exits."""
    ends = {trade.closed_ts for trade in (our, their) if trade is not None}
    shown = [row for row in bars.rows[entry.at : entry.at + 3]]
    shown += [row for row in bars.rows[entry.at + 3 :] if row.open_ts in ends]
    return "\n".join(
        [
            f"  {why}: {entry}",
            f"    minibot {our}",
            f"    other   {their}",
            f"    minibot's by the rules {trade_under(bars, entry)}",
            *(f"    {row}" for row in shown),
        ]
    )
