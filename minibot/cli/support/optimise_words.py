"""Words of `minibot optimise`: the windows as a table, out of sample first, and its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from minibot.backtest.report.statistics import KEY_FIGURES, Shown, figure_text
from minibot.backtest.search.walk_forward import (
    PLACES,
    SUMMED,
    Found,
    in_sample,
    out_of_sample,
    parts_company,
)
from minibot.report.columns import table_lines
from minibot.report.figures import counted, date_clock

HEAD = ("judged from", "out of sample", "in sample", "the profile", "trades")


def lines(found: Sequence[Found], figure: str) -> list[str]:
    """Return the windows as a table, the figure out of sample first."""
    shown = next(shown for shown in KEY_FIGURES if shown.key == figure)

    def text(value: object, stop: str = "") -> str:
        return stop or figure_text(shown.kind, None if value is None else _plain(shown, value))

    cells = [
        [
            date_clock(each.window.test.from_ms or 0),
            text(out_of_sample(each, figure), each.test.stop),
            text(in_sample(each, figure)),
            text(each.plain.figures.get(figure), each.plain.stop),
            f"{each.test.figures.get('trades', 0):,}",
        ]
        for each in found
    ]
    tried = sum(len(each.trials) for each in found)
    whole = total([out_of_sample(each, figure) for each in found], figure)
    plain = total([_amount(each.plain.figures.get(figure)) for each in found], figure)
    return [
        f"{shown.label} OUT OF SAMPLE: {text(whole)}; the profile without a search: {text(plain)}",
        f"{counted(tried, 'trial')} in {counted(len(found), 'window')}"
        + (", in sample for as long as out of it" if figure in SUMMED else ""),
        *table_lines(HEAD, cells, "No window."),
        *(
            f"  found before {date_clock(each.window.test.from_ms or 0)}: "
            + ", ".join(each.best.sets)
            for each in found
        ),
        *_warnings(found, figure, whole, plain),
    ]


def total(values: Sequence[Decimal | None], figure: str) -> Decimal | None:
    """Return a figure over all windows: summed where it grows with time, else the mean."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    whole = sum(known, Decimal(0))
    return whole if figure in SUMMED else (whole / len(known)).quantize(PLACES)


def _plain(shown: Shown, value: object) -> str | int:
    return int(Decimal(str(value))) if shown.kind in ("count", "duration") else f"{value}"


def _amount(value: object) -> Decimal | None:
    return None if value is None else Decimal(str(value))


def _warnings(
    found: Sequence[Found], figure: str, whole: Decimal | None, plain: Decimal | None
) -> list[str]:
    better = next(shown.better for shown in KEY_FIGURES if shown.key == figure)
    stopped = sum(bool(each.test.stop) for each in found)
    parted = sum(parts_company(each, figure) for each in found) - stopped
    lines = []
    if stopped:
        lines.append(
            f"WARNING: in {stopped} of {counted(len(found), 'window')} the run was stopped out of "
            "sample: its figure there is only that of the time before the stop."
        )
    if parted:
        lines.append(
            f"WARNING: in {parted} of {counted(len(found), 'window')} it is less than half as good "
            "out of sample as in sample: what was found there is mostly luck."
        )
    if whole is None or (plain is not None and better * whole <= better * plain):
        lines.append("WARNING: the profile as it is does as well out of sample; keep it.")
    earned = total([out_of_sample(each, "pnl") for each in found], "pnl")
    if earned is not None and earned < 0:
        lines.append("WARNING: it loses out of sample. Less of a loss is no reason to trade.")
    # A point that was drawn again is no other point: its digest is bound to be the same.
    if all(
        len({row.digest for row in each.trials}) == 1 < len({row.sets for row in each.trials})
        for each in found
    ):
        lines.append(
            "WARNING: what is varied changes no decision here: all trials have one digest."
        )
    return lines or ["Out of sample holds what the search found in sample."]
