"""Morning screen of a night: the verdict and its main reasons, on one terminal of 80x24.

Each part has a fixed number of lines; a text that is longer is cut at its end, and `--full` has all
of it. One line is left for the prompt, so that the verdict stays on the screen.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from minibot.events.names import AI_ROLE
from minibot.report.choices import strategy_of
from minibot.report.closed_trades import (
    EXIT_OF,
    REASON,
    ClosedTrade,
    TradeSum,
    closed_trades,
    group_of,
    sums_by,
)
from minibot.report.figures import (
    clock,
    counted,
    date_clock,
    duration,
    listed,
    money,
    percent,
    plain_text,
    signed,
)
from minibot.report.night import Night
from minibot.report.night_verdict import verdict_of
from minibot.report.outages import outages_of
from minibot.report.result_lines import result_lines
from minibot.report.summary import why_no_trade
from minibot.runtime.paths import Var

SCREEN_WIDTH: Final = 80
SCREEN_LINES: Final = 23
"""Lines of a terminal of 24, without the prompt's."""
SCREEN_LABEL: Final = 10
VERDICT_LINES: Final = 6
"""Most lines of the verdict: two of the cause; the more of them, the fewer of other parts."""
AMOUNT_WIDTH: Final = 20
CUT: Final = " ..."
CODES_SHOWN: Final = 4
SYMBOLS_NAMED: Final = 3
UNKNOWN: Final = "unknown"


class ScreenLine(NamedTuple):
    """Line of the screen with its tone: "", good, bad or dim."""

    text: str
    tone: str = ""


def morning_screen(night: Night) -> list[ScreenLine]:
    """Return the screen of a night: at most `SCREEN_LINES` lines of `SCREEN_WIDTH` columns."""
    verdict = list(_verdict(night))
    return [
        *verdict,
        *_labelled("run", _run_words(night), 2),
        *_result(night),
        # The lines that a short verdict leaves go to the reasons of trades and of none.
        *_trades(night, 2 if len(verdict) < VERDICT_LINES - 1 else 1),
        *_labelled("no trade", _held_back(night), 2 if len(verdict) < VERDICT_LINES else 1),
        *_labelled("incidents", _incidents(night), 1),
        *_labelled("outages", _outages(night), 1),
        *_labelled("AI", _ai(night), 1),
        *_labelled("root", night.root, 1),
        *_labelled("repeat", _repeat(night), 1),
        *_labelled("more", "report with --full, --html, --performance, --portfolio", 1, "dim"),
    ]


def _repeat(night: Night) -> str:
    """Return the commands that prove the night again, by its id if it is in a `var`."""
    runs = night.recorded.run_dir.parent
    if runs == Var(runs.parent).runs:
        return f"minibot verify {night.run_id}; minibot replay {night.run_id}"
    # No id finds a bundle's run, and the path of its folder would be cut.
    return "minibot verify RUN; minibot replay RUN, named as for this report"


def _verdict(night: Night) -> Iterator[ScreenLine]:
    verdict = verdict_of(night)
    for line in _cut(f"{verdict.word}: {verdict.cause}", SCREEN_WIDTH, 2, after="  "):
        yield ScreenLine(line, verdict.tone)
    for line in _cut(verdict.meaning, SCREEN_WIDTH, VERDICT_LINES - 2, first="  ", after="  "):
        yield ScreenLine(line, "bad" if verdict.tone == "bad" else "dim")


def _run_words(night: Night) -> str:
    manifest, last = night.manifest, night.count.market.last_ts
    named = listed(night.symbols[:SYMBOLS_NAMED])
    if more := len(night.symbols) - SYMBOLS_NAMED:
        named += f" and {more} more" if more > 0 else ""
    kind = "made-up data" if night.made_up else "live data"
    kind = "simulated" if manifest.simulated else kind
    drill = f", drill {night.drill}" if night.drill else ""
    span = f"{date_clock(manifest.clock_origin_ms)} to {clock(last)} UTC" if last else "no market"
    return (
        f"{night.run_id}, {manifest.profile}, {strategy_of(manifest.config)}, {named}, "
        f"{kind}{drill}; {span}, {duration(night.market_ms)}"
    )


def _result(night: Night) -> Iterator[ScreenLine]:
    figures = night.count.performance.to_json()
    asset = night.manifest.config["portfolio"]["quote_asset"]
    shown = result_lines(night.count.performance, night.count.costs).shown()
    for number, (name, amount) in enumerate(shown):
        is_last = number == len(shown) - 1
        tone = {"+": "good", "-": "bad"}.get(amount[:1], "") if is_last else ""
        yield _line("" if number else asset, f"{name:<25}{amount:>{AMOUNT_WIDTH}}", tone)
    yield from _labelled(
        "equity",
        f"{money(figures['equity_start'])} to {money(figures['equity'])}; deepest fall "
        f"{money(figures['drawdown_max'])} ({money(figures['drawdown_bps_max'], 1)} bps)",
        1,
    )


def _trades(night: Night, lines: int) -> Iterator[ScreenLine]:
    count, figures = night.count, night.count.performance.to_json()
    closed = closed_trades(count.trades, count.reasons)
    text = counted(figures["round_trips"], "round trip")
    if figures["round_trips"]:
        text += (
            f": {figures['wins']} won, {figures['losses']} lost ({percent(figures['win_rate'])})"
        )
    entered = Counter({code: each.trades for code, each in _by(REASON, closed)})
    if entered:
        text += f"; entered on {_codes(entered)}"
    yield from _labelled("trades", text, lines)
    if closed:
        left = [
            f"{code} {each.trades:,} ({signed(str(each.net))})"
            for code, each in _by(EXIT_OF, closed)
        ]
        yield from _labelled("exits", listed(left), 1)
    if held := figures["open_positions"]:
        positions = (f"{money(item['qty'], 8)} {item['symbol']}" for item in held)
        yield from _labelled("open", f"{listed(positions)}; nothing closes it", 1, "bad")


def _by(group: str, closed: Sequence[ClosedTrade]) -> list[tuple[str, TradeSum]]:
    """Return the sum of each group with its name, the most trades first."""
    found = sums_by(closed, group_of(group)).items()
    named = [(code or UNKNOWN, each) for code, each in found]
    return sorted(named, key=lambda each: (-each[1].trades, each[0]))


def _held_back(night: Night) -> str:
    """Return the reasons for not trading: a sentence without any fill, and the commonest codes."""
    count = night.count
    if not count.lines["fills"]:
        text = why_no_trade(night).removeprefix("It did not trade")
        return text.lstrip(".: ") or "no signal came"
    parts = []
    if count.hold_reasons:
        parts.append(f"held: {_codes(count.hold_reasons)}")
    if count.block_reasons:
        parts.append(f"refused: {_codes(count.block_reasons)}")
    return "; ".join(parts) or ("every signal passed" if count.sides else "no signal came")


def _codes(found: Counter[str]) -> str:
    parts = [f"{code} {number:,}" for code, number in found.most_common(CODES_SHOWN)]
    more = len(found) - CODES_SHOWN
    return listed(parts) + (f" and {more} more" if more > 0 else "")


def _incidents(night: Night) -> str:
    kinds: Counter[str] = Counter()
    for _, item in night.incidents:
        kinds[item.kind] += item.count or 1
    restarts = sum(night.restarts.values())
    text = f"{counted(restarts, 'restart')}; " if restarts else ""
    return f"{text}{_codes(kinds)}" if kinds else "none"


def _outages(night: Night) -> str:
    lost = outages_of(night.count.gaps)
    if not lost:
        return "none: no market data is known to be missing"
    longest = max(lost, key=lambda each: each.length_ms)
    whole = sum(each.length_ms for each in lost)
    return (
        f"{counted(len(lost), 'outage')}, {duration(whole)} in all; longest "
        f"{duration(longest.length_ms)} from {clock(longest.from_ts)}"
    )


def _ai(night: Night) -> str:
    if night.ai_off:
        return f"off: {plain_text(night.ai_off)}"
    answered = sum(night.count.models.values())
    if not answered and AI_ROLE not in night.manifest.processes:
        return "off by profile"
    levels = f", isolation {listed(sorted(night.count.ai_levels))}" if night.count.ai_levels else ""
    return f"{counted(answered, 'recommendation')} by {listed(night.count.models)}{levels}"


# --- lines ------------------------------------------------------------------------------------


def _line(label: str, text: str, tone: str = "") -> ScreenLine:
    return ScreenLine(f"{label:<{SCREEN_LABEL}}{text}".rstrip(), tone)


def _labelled(label: str, text: str, lines: int, tone: str = "") -> Iterator[ScreenLine]:
    """Yield a text after its label, in a bounded number of lines."""
    for number, part in enumerate(_cut(text, SCREEN_WIDTH - SCREEN_LABEL, lines)):
        yield _line("" if number else label, part, tone)


def _cut(text: str, width: int, lines: int, first: str = "", after: str = "") -> list[str]:
    """Return a text in a bounded number of lines; the end of a longer one is cut."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=after,
        max_lines=lines,
        placeholder=CUT,
        break_on_hyphens=False,
    )
