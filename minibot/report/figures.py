"""Figures as text for people: money, times, counts; no decision or calculation uses these texts.

Values stay exact everywhere else. A shortened amount is rounded half to even, and a loss never
reads as zero. A duration is cut, not rounded, except in one unit with a decimal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from minibot.events.unit_sizes import DAY_MS

NONE = "-"
PRICE_PLACES_MIN: Final = 2
# An average of fills has eight decimals; a price in dollars needs few.
PRICE_DIGITS: Final = 9


def money(amount: str | None, places: int = 2) -> str:
    """Return an amount with thousands separators; one that would read as zero keeps its digits.

    Args:
        amount: A decimal string, or None for a missing figure.
        places: Number of decimals to show.
    """
    if amount is None:
        return NONE
    exact = Decimal(amount)
    shown = exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)
    if not shown and exact:
        return f"{exact.normalize():,f}"
    return f"{abs(shown):,f}" if not shown else f"{shown:,f}"


def price(text: str | None) -> str:
    """Return a price in nine digits, with at least two decimals and no further zeros.

    Args:
        text: A decimal string, or None for a missing price.
    """
    if text is None:
        return NONE
    exact = Decimal(text)
    places = max(PRICE_PLACES_MIN, PRICE_DIGITS - len(str(int(exact))))
    whole, _, decimals = f"{exact:,.{places}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(PRICE_PLACES_MIN, '0')}"


def quantity(text: str | None) -> str:
    """Return a quantity without the zeros at its end; a dash for a missing one."""
    return NONE if text is None else f"{Decimal(text).normalize():,f}"


def signed(amount: str, places: int = 2) -> str:
    """Return an amount with its sign, `+` for a gain."""
    text = money(amount, places)
    return f"+{text}" if Decimal(amount) > 0 else text


def signed_or_none(amount: str | None) -> str:
    """Return an amount with its sign; a dash for a missing figure."""
    return NONE if amount is None else signed(amount)


def change(ratio: str | None) -> str:
    """Return a ratio in percent with its sign, such as a market's change."""
    return NONE if ratio is None else f"{signed(str(Decimal(ratio) * 100))} %"


def percent(ratio: str | None) -> str:
    """Return a ratio between 0 and 1 in percent."""
    return NONE if ratio is None else f"{Decimal(ratio) * 100:.0f} %"


def share(ratio: str | None, places: int = 2) -> str:
    """Return a ratio in percent with decimals; one that would read as zero keeps its digits."""
    return NONE if ratio is None else f"{money(str(Decimal(ratio) * 100), places)} %"


def decimal(ratio: str | None, places: int = 2) -> str:
    """Return a plain ratio, such as R:R."""
    return money(ratio, places)


def limit_left(name: str, left: str, asset: str) -> str:
    """Return the rest of a limit in words, as `day loss 150.00 USDT`; see `Headroom.texts`.

    Args:
        name: The limit; its ending says if it counts basis points or orders instead of money.
        left: The rest, a decimal string.
        asset: The quote asset.
    """
    if name.endswith("_bps"):
        return f"{name.removesuffix('_bps').replace('_', ' ')} {money(left, 1)} bps"
    unit = "" if name.endswith("_per_minute") else f" {asset}"
    return f"{name.replace('_', ' ')} {money(left) if unit else left}{unit}"


def milliseconds(microseconds: int | None) -> str:
    """Return microseconds as a text in milliseconds, with as many decimals as are useful.

    None is a time that was never measured.
    """
    if microseconds is None:
        return NONE
    ms = microseconds / 1000
    places = 2 if ms < 1 else 1 if ms < 100 else 0
    return f"{ms:,.{places}f} ms"


def megabytes(size: int | None) -> str:
    """Return a size in bytes in whole mebibytes."""
    return NONE if size is None else f"{size / 1024 / 1024:,.0f} MB"


def minutes(ms: int) -> str:
    """Return a duration in minutes, with one decimal where they are not whole."""
    return f"{ms // 60_000:,}" if ms % 60_000 == 0 else f"{ms / 60_000:,.1f}"


def duration(ms: int) -> str:
    """Return a duration as hours and minutes, minutes and seconds, or below a minute as seconds."""
    seconds, rest = divmod(max(0, ms), 1000)
    if seconds < 60:
        return f"{seconds}.{rest // 100} s"
    hours, left = divmod(seconds, 3600)
    minutes, seconds = divmod(left, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def long_duration(ms: int) -> str:
    """Return a duration as `duration` does, but in days and hours from two days on."""
    hours = max(0, ms) // 3_600_000
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else duration(ms)


def short_duration(ms: int) -> str:
    """Return a duration in its largest unit with one decimal, such as `3.4 h`.

    Below a minute it is the text of `duration`, so that one page shows one number.
    """
    for unit_ms, unit in ((DAY_MS, "d"), (3_600_000, "h"), (60_000, "min")):
        if ms >= unit_ms:
            return f"{ms / unit_ms:,.1f} {unit}"
    return duration(ms)


def clock(ms: int) -> str:
    """Return a time in Unix milliseconds as hours, minutes and seconds in UTC."""
    return _utc(ms).strftime("%H:%M:%S")


def date_clock(ms: int, zone: tzinfo = UTC) -> str:
    """Return a time in Unix milliseconds with its date, in UTC or in another zone."""
    return _utc(ms).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")


def moment(ms: int, span_ms: int) -> str:
    """Return a time as a label for a picture of a span: clock, day and clock, or date."""
    if span_ms < 2 * DAY_MS:
        return clock(ms)
    return _utc(ms).strftime("%m-%d %H:%M" if span_ms < 30 * DAY_MS else "%Y-%m-%d")


def day(ms: int) -> str:
    """Return the UTC date of a time in Unix milliseconds."""
    return _utc(ms).strftime("%Y-%m-%d")


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 fill`, `2 fills`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: Iterable[str], none: str = "none") -> str:
    """Return items with commas between them, or `none`."""
    return ", ".join(items) or none


def plain_text(text: str, length_max: int = 500) -> str:
    """Return a text from outside, bounded and without control characters for a terminal."""
    shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[:length_max])
    return shown if len(text) <= length_max else shown + "..."


def _utc(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
