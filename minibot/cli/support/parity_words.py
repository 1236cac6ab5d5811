"""Words of `minibot parity`: the verdict, the cost of the differences, and each of them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from minibot.backtest.parity import (
    ARRIVAL_ORDER,
    CLASSES,
    DELAY,
    Deviation,
    Parity,
    summary_of,
)
from minibot.cli.diff import effect
from minibot.events.money import PLACES, amount_text
from minibot.replay.compare import describe
from minibot.replay.explain.lines import clock_ms
from minibot.report.figures import counted, listed, money, signed

FIELDS_SHOWN = 3
TRADES_SHOWN = 5


def lines(parity: Parity, shown_max: int) -> list[str]:
    """Return the verdict in words: the cost of the differences first, then each of them."""
    output = [headline(parity), "", "In the order of the night:"]
    for name, queue in parity.logged.queues.items():
        rest = [f"{queue.missing} not in the record"] if queue.missing else []
        rest += [f"{queue.unproven} in the record alone"] if queue.unproven else []
        output.append(f"  {name:<15}{counted(queue.same, 'event')} the same{_tail(rest)}")
    if parity.logged.stuck:
        output.append(f"  {parity.logged.stuck}")
    if parity.logged.difference is not None:
        output += describe(parity.logged.difference)["lines"]
    return [*output, "", *_rule_lines(parity, shown_max)]


def headline(parity: Parity) -> str:
    """Return verdict and cost in one line, in the quote asset."""
    verdict = "the same" if parity.logged.is_identical else "DIFFERENT"
    deviations = counted(len(parity.rule.deviations), "difference")
    pair = parity.night.performance, parity.rule.done.performance
    night, rule = [side.equity - side.equity_start for side in pair]
    cost = cost_words(night, rule, parity.night.performance.quote_asset)
    return f"parity {parity.logged.run_id}: {verdict}; rule order: {deviations}, {cost}"


def cost_words(night: int, rule: int, asset: str) -> str:
    """Return the cost or gain of the differences, with both results; in 10**-8 of the asset."""
    results = amount_text(night), amount_text(rule)
    if night == rule:
        return f"which changed nothing in the result ({signed(results[0])} {asset})"
    cost = amount_text(abs(night - rule))
    places = _places(*results, amount_text(night - rule))
    made = f"night {signed(results[0], places)}, rule order {signed(results[1], places)}"
    return f"which {'cost' if night < rule else 'gained'} {money(cost, places)} {asset} ({made})"


def _places(night: str, rule: str, total: str) -> int:
    """Return the least number of decimal places, from two on, with which the amounts add up."""
    for places in range(2, PLACES):
        rounded = [round(Decimal(amount), places) for amount in (night, rule, total)]
        if rounded[0] - rounded[1] == rounded[2]:
            return places
    return PLACES


def _tail(rest: list[str]) -> str:
    return "".join(f", {text}" for text in rest)


def _rule_lines(parity: Parity, shown_max: int) -> list[str]:
    rule, cost = parity.rule, parity.cost
    asset = parity.night.performance.quote_asset
    counts = _counts(rule.deviations)
    lines = ["In rule order, where nothing overtakes and nobody is late:"]
    for name in parity.logged.queues:
        differing = counts.get(name, 0)
        lines.append(
            f"  {name:<15}{counted(rule.same[name], 'event')} the same, {differing} different"
        )
    for kind, meaning in CLASSES.items():
        if rule.classes[kind]:
            lines.append(f"  {kind:<15}{counted(rule.classes[kind], 'difference')}: {meaning}")
    dearest = sorted(cost.trades.items(), key=lambda trade: (-abs(trade[1]), trade[0]))
    trades = [f"trade {n} {signed(amount_text(value))}" for n, value in dearest[:TRADES_SHOWN]]
    if trades:
        more = len(dearest) - TRADES_SHOWN
        rest = f" and {counted(more, 'smaller one')}" if more > 0 else ""
        lines.append(f"  {'in ' + asset:<15}{listed(trades)}{rest}")
    lines += ["", *effect(parity.night, parity.by_rule, ("night", "rule order")), ""]
    lines += [_line(one) for one in sorted(rule.deviations, key=_ts)[:shown_max]]
    left = len(rule.deviations) - shown_max
    return lines + ([f"  ... {left} more: --all"] if left > 0 else [])


def _counts(deviations: list[Deviation]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for one in deviations:
        side = one.pair.night or one.pair.rule
        if side is not None:
            counts[side.queue] = counts.get(side.queue, 0) + 1
    return counts


def _ts(one: Deviation) -> int:
    side = one.pair.night or one.pair.rule
    return 0 if side is None else side.event.ts


def _line(one: Deviation) -> str:
    side = one.pair.night or one.pair.rule
    if side is None:
        return ""
    where = f"{side.queue}:{side.seq}"
    if one.pair.night is None or one.pair.rule is None:
        what = "in rule order alone" if one.pair.night is None else "in the night alone"
    else:
        what = "; ".join(
            f"{name} {_value(night)}, rule {_value(rule)}"
            for name, (night, rule) in list(one.fields.items())[:FIELDS_SHOWN]
        )
        more = len(one.fields) - FIELDS_SHOWN
        what += f"; {more} more" if more > 0 else ""
    return (
        f"  {clock_ms(side.event.ts)}  {where:<18}{summary_of(side.event)}: {what}\n"
        f"      {_why(one)}"
    )


def _why(one: Deviation) -> str:
    if one.kind == ARRIVAL_ORDER:
        overtaken = counted(one.intake.lag, "market event")
        return f"arrival order: {one.role} had gone {overtaken} further"
    if one.kind == DELAY:
        return f"delay: {one.role} was {one.intake.delay_ms} ms late"
    return "follows from an earlier difference"


def _value(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:37] + "..."
