"""Declaration of a strategy: the data that it needs and the parameters that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Final

from minibot.events.decimals import DIGITS_MAX, NumberError, parse_fixed
from minibot.events.model import JsonObject

WHOLE: Final = "whole"
NUMBER: Final = "number"
FLAG: Final = "flag"
CHOICE: Final = "choice"

HOLE_BARS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Needs:
    """The data that a strategy needs.

    Attributes:
        intervals: Intervals of its bars, the deciding one first; none for a strategy that uses only
            ticks. Each must be in `market.bar_intervals`.
        history: Number of closed bars of each interval that `view.bars` keeps; 0 for a strategy
            that keeps them itself and then gets bars as they come, also old and repeated ones.
        symbols: The markets it trades; none means every market of the profile.
        hole_bars_max: A hole of more missing bars than this empties `view.bars`; shorter holes are
            ignored (bars from the exchange) or filled flat (bars made from ticks).
        trades: Whether `on_tick` is also called with trades; else only with quotes. The ticks that
            a backtest of bars makes inside each bar are trades, so without it there are none.
        feeds: Values from outside the market that it reads; each must be in `market.feeds`.
    """

    intervals: tuple[str, ...] = ()
    history: int = 100
    symbols: tuple[str, ...] = ()
    hole_bars_max: int = HOLE_BARS_MAX
    trades: bool = True
    feeds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a strategy; made by `whole`, `number`, `flag` and `choice`."""

    name: str
    kind: str
    default: Any
    what: str
    low: str = ""
    high: str = ""
    options: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Allowed values of the parameter, in words."""
        if self.kind == FLAG:
            return "true or false"
        if self.kind == CHOICE:
            return "one of " + ", ".join(f'"{option}"' for option in self.options)
        word = "a whole number" if self.kind == WHOLE else 'a decimal number in quotes ("1.5")'
        return f"{word} from {self.low} to {self.high}"

    def admits(self, value: Any) -> bool:
        """Return whether a value of the profile has this kind and is in range."""
        if self.kind == FLAG:
            return isinstance(value, bool)
        if self.kind == CHOICE:
            return value in self.options
        if isinstance(value, bool):
            return False
        if self.kind == WHOLE:
            return isinstance(value, int) and int(self.low) <= value <= int(self.high)
        if isinstance(value, int):
            value = str(value)
        return isinstance(value, str) and self._is_in_range(value)

    def _is_in_range(self, text: str) -> bool:
        try:
            parse_fixed(text, DIGITS_MAX)
        except NumberError:
            return False
        return Decimal(self.low) <= Decimal(text) <= Decimal(self.high)


def whole(name: str, default: int, *, low: int, high: int, what: str) -> Parameter:
    """Declare a whole number."""
    return Parameter(name, WHOLE, default, what, str(low), str(high))


def number(name: str, default: str, *, low: str, high: str, what: str) -> Parameter:
    """Declare a decimal number; written as text, so that no digit is lost."""
    return Parameter(name, NUMBER, default, what, low, high)


def flag(name: str, default: bool, *, what: str) -> Parameter:
    """Declare something that is on or off."""
    return Parameter(name, FLAG, default, what)


def choice(name: str, default: str, *, options: Sequence[str], what: str) -> Parameter:
    """Declare one of several words."""
    return Parameter(name, CHOICE, default, what, options=tuple(options))


class Settings:
    """The values of a strategy's parameters in one profile, by name and kind.

    `profile` is a copy of the whole resolved profile: what a strategy does to it moves no limit.
    """

    __slots__ = ("_values", "profile")

    def __init__(self, values: Mapping[str, Any], profile: JsonObject) -> None:
        """Take values that were validated."""
        self._values: dict[str, Any] = dict(values)
        self.profile: JsonObject = _copied(profile)

    @property
    def interval(self) -> str:
        """The deciding interval of the profile: `--timeframe`, `strategy.bar_interval`."""
        return str(self.profile["strategy"]["bar_interval"])

    def whole(self, name: str) -> int:
        """Return a whole number."""
        return int(self._values[name])

    def number(self, name: str) -> float:
        """Return a decimal number as a float, for comparing with indicators."""
        return float(self._values[name])

    def exact(self, name: str) -> Decimal:
        """Return a decimal number exactly."""
        return Decimal(self._values[name])

    def flag(self, name: str) -> bool:
        """Return whether something is on."""
        return bool(self._values[name])

    def choice(self, name: str) -> str:
        """Return the chosen word."""
        return str(self._values[name])


def _copied(value: Any) -> Any:
    """Return a JSON value whose objects and lists are new."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def settings_of(
    parameters: Sequence[Parameter], given: Mapping[str, Any], profile: JsonObject
) -> Settings:
    """Return the profile's validated parameter values, with defaults for missing ones."""
    values = {parameter.name: parameter.default for parameter in parameters}
    values.update(given)
    return Settings(values, profile)


def parameter_violations(
    parameters: Sequence[Parameter], given: Mapping[str, Any]
) -> dict[str, str]:
    """Return the violations of a profile's parameters, by name."""
    known = {parameter.name: parameter for parameter in parameters}
    found: dict[str, str] = {}
    for name, value in sorted(given.items()):
        if name not in known:
            near = get_close_matches(name, list(known), 1)
            takes = f"this strategy takes {', '.join(known) or 'none'}"
            rest = f"did you mean {near[0]}?" if near else takes
            found[name] = f"unknown parameter; {rest}"
        elif not _admits(known[name], value):
            found[name] = f"allowed: {known[name].allowed}"
    return found


# --- faults of a declaration ----------------------------------------------------------------------


def kind_fault(parameters: object) -> str:
    """Return the fault of a `PARAMETERS` of the wrong kind, empty if it is right."""
    if isinstance(parameters, tuple) and all(isinstance(one, Parameter) for one in parameters):
        return ""
    return (
        "PARAMETERS: expected a tuple of whole, number, flag and choice, found "
        f"{_short(parameters)}; a tuple of one ends with a comma: (whole(...),)"
    )


def declaration_violations(parameters: Sequence[Parameter], needs: Needs) -> list[str]:
    """Return contradictions of a declaration, such as a default out of range or a name twice."""
    names = [parameter.name for parameter in parameters]
    found = [
        f"PARAMETERS: {name} is declared more than once"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    found += [
        f"PARAMETERS: {parameter.name}: default {parameter.default!r}; allowed: {parameter.allowed}"
        for parameter in parameters
        if not _admits(parameter, parameter.default)
    ]
    found += [
        f"needs(): {name} = {_short(texts)}: expected a tuple of texts; a tuple of one ends with a "
        "comma"
        for name, texts in (
            ("intervals", needs.intervals),
            ("symbols", needs.symbols),
            ("feeds", needs.feeds),
        )
        if not isinstance(texts, tuple | list) or not all(isinstance(text, str) for text in texts)
    ]
    found += [
        f"needs(): {name} = {_short(count)}: expected a whole number of 0 or more"
        for name, count in (("history", needs.history), ("hole_bars_max", needs.hole_bars_max))
        if type(count) is not int or count < 0
    ]
    if type(needs.trades) is not bool:
        found.append(f"needs(): trades = {_short(needs.trades)}: expected True or False")
    return found


def _admits(parameter: Parameter, value: Any) -> bool:
    """Return whether a parameter admits a value; a bound that is no number admits none."""
    try:
        return parameter.admits(value)
    except (ArithmeticError, TypeError, ValueError):
        return False


def _short(value: object) -> str:
    return repr(value)[:80]
