"""Ranges that an optimiser may search: keys of the profile, no limit looser than the profile's.

A range is whole numbers or decimals with a fixed step, or a list of values. Decimals are counted in
steps, so that the same point of a search is the same text on every machine.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

from minibot.events.model import JsonObject
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.loosening import is_looser, number_of, own_bound
from minibot.runtime.configuration.shown_values import shown_text

SECTIONS: Final = ("risk", "strategy")
# Beginning of the keys of a user's strategy.
OWN: Final = "strategy.parameters."
# Largest number of values of a range.
POINTS_MAX: Final = 1_000_000
# Number of parts of a range of numbers, without a step and with one.
PARTS: Final = (2, 3)


class Range(NamedTuple):
    """Range of one key: its values as texts of `--set`, in order; `is_ordered` if made of steps."""

    key: str
    values: tuple[str, ...]
    is_ordered: bool

    def set(self, place: int) -> str:
        """Return the text of `--set` for one of the values."""
        return f"{self.key}={self.values[place]}"


def parse_range(text: str, profile: JsonObject) -> Range:
    """Return the range of `section.key=low:high`, `section.key=low:high:step` or `...=a,b,c`.

    Without a step, a range goes up by one unit of the last decimal place that is written. Steps
    that do not meet `high` end below it. Steps and lists alike have two or more values, each once.

    Raises:
        ConfigError: Wrong form, too many values, a key that no search may change, or a limit that
            would be widened.
    """
    key, equals, rest = text.partition("=")
    key = key.strip()
    own = _own(key, profile) if equals else None
    values = _values(text, rest)
    _guard(key, own, values)
    quoted = own is not None and isinstance(own, str)
    texts = tuple(
        f'"{value}"' if quoted and number_of(value) is not None else value for value in values
    )
    return Range(key, texts, ":" in rest)


def _own(key: str, profile: JsonObject) -> Any:
    section, _, name = key.partition(".")
    if section not in SECTIONS:
        raise ConfigError(
            f"--vary: {key}: no search may touch this.",
            [f"allowed: keys of {' and '.join(SECTIONS)}; fees, money and fills are what they are"],
        )
    if key.startswith(OWN) and name.count(".") == 1:
        # A parameter that the profile does not name has its default in the user's strategy.
        return profile[section].get("parameters", {}).get(key.removeprefix(OWN))
    node: Any = profile[section]
    for part in name.split("."):
        if not isinstance(node, dict) or part not in node:
            known = ", ".join(profile[section])
            raise ConfigError(f"--vary: {key}: the profile has no such key.", [f"known: {known}"])
        node = node[part]
    return node


def _values(text: str, rest: str) -> list[str]:
    if ":" not in rest:
        values = [value.strip() for value in rest.split(",")]
        if all(values) and len(set(values)) == len(values) > 1:
            return values
        raise _refused(text)
    numbers = [number_of(part) for part in rest.split(":")]
    if len(numbers) not in PARTS or None in numbers:
        raise _refused(text)
    low, high, *more = [number for number in numbers if number is not None]
    places = max(_places(part) for part in rest.split(":"))
    try:
        step = more[0] if more else Decimal(1).scaleb(-places)
        if step <= 0 or high <= low:
            raise _refused(text)
        steps = (high - low) / step
    except ArithmeticError as error:  # An exponent beyond the range of decimals.
        raise _too_many(text) from error
    # Before it is made an integer: one of thousands of digits has no text.
    if steps >= POINTS_MAX:
        raise _too_many(text)
    count = int(steps) + 1
    if count < 2:
        raise _refused(text)
    return [f"{low + step * n:.{places}f}" for n in range(count)]


def _guard(key: str, own: Any, values: list[str]) -> None:
    """Refuse a value of a risk limit that is looser than the profile's."""
    if any(is_looser(key, own, value) for value in values):
        raise ConfigError(
            f"--vary: {key}: a search may not widen a limit of risk.",
            [f"allowed: {own_bound(key, own)}"],
            "Change it in the profile first, if that is what you want to risk.",
        )


def _places(text: str) -> int:
    number = number_of(text)
    exponent = 0 if number is None else number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _too_many(text: str) -> ConfigError:
    return ConfigError(
        f"--vary: {shown_text(text)}: too many values.", [f"allowed: {POINTS_MAX:,}"]
    )


def _refused(text: str) -> ConfigError:
    return ConfigError(
        f"--vary: {shown_text(text)!r} is not a range.",
        ["allowed: section.key=low:high, section.key=low:high:step or section.key=a,b,c"],
    )
