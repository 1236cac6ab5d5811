"""Headlines of an explanation: a trade in one sentence, then one line for each decision.

The whole chain, with ids, checks and bookings, is `explanation_lines`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from minibot.replay.explain.explanation import Explanation, Step
from minibot.replay.explain.lines import event_text, plain
from minibot.replay.explain.trips import TradeStory
from minibot.report.figures import price, quantity, short_duration, signed

# Their lines repeat what intents, results and prices of the same order say.
LEFT_OUT: Final = frozenset({"order_intent", "order_result", "market_tick", "bar", "book"})


def headline(story: TradeStory) -> str:
    """Return a trade in one sentence: entry reason, exit reason and time, and result."""
    parts = [_entry(story)]
    if story.closed_ts is not None:
        parts.append(_exit(story, short_duration(story.closed_ts - story.opened_ts)))
        parts.append(f"net {signed(story.net or '0')} {story.quote_asset}")
    else:
        sold = f"{quantity(story.sold_qty)} of it sold, " if story.sold_qty is not None else ""
        parts.append(f"{sold}still open")
    if story.campaign_id is not None:
        parts.append(f"campaign {story.campaign_id}")
    return f"Trade {story.n}: {'; '.join(parts)}"


def _entry(story: TradeStory) -> str:
    if story.bought_qty is None:
        return f"{story.symbol}, carried in from the run before"
    carried = ", beside what was carried in," if story.is_carried else ""
    text = f"bought {quantity(story.bought_qty)} {story.symbol}{carried}"
    reason = because(plain(story.why_bought))
    return f"{text} at {price(story.entry_price)}{f' because {reason}' if reason else ''}"


def _exit(story: TradeStory, later: str) -> str:
    """Return how a trade was left: `stop hit 2 s later at ...`, or `sold ... because ...`."""
    where, why = f"{later} later at {price(story.exit_price)}", plain(story.why_sold)
    if why.startswith("SELL"):
        return f"sold {where} because {because(why)}"
    return f"{why.partition(': ')[0] or 'sold'} {where}"


def because(reason: str) -> str:
    """Return the reason of a signal without its side, score and confidence."""
    text = reason.partition(": ")[2] if reason.startswith(("BUY: ", "SELL: ")) else reason
    return text.partition("; ")[0]


def headline_lines(explanation: Explanation, clock: Callable[[int], str]) -> list[str]:
    """Return an explanation for a person in a hurry: headline, then its decisions in time.

    Args:
        explanation: The explanation.
        clock: Formats a time.
    """
    lines = [headline(story) for story in explanation.trades] or [explanation.subject]
    shown = [step for step in explanation.steps if step.event.type not in LEFT_OUT]
    in_time = sorted(reversed(shown), key=lambda step: step.event.ts)
    lines += [_line(step, clock) for step in in_time]
    lines += [f"not found: cause {cause_id}" for cause_id in explanation.missing]
    lines += explanation.notes
    return [*lines, "Every check, order and price behind it: add --full."]


def _line(step: Step, clock: Callable[[int], str]) -> str:
    return f"  {clock(step.event.ts)}  {step.event.type:<12} {event_text(step.event)}"
