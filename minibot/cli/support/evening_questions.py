"""Questions of `minibot new-config`: each judged at once, and what its answer sets in a profile.

An answer comes from a flag, from `--set`, from the terminal or from the default, in this order. A
risk profile is the risk section of a shipped profile; its amounts grow and shrink with the cash.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from minibot.cli.support.idea import SHOWN_MAX
from minibot.cores.core_profile import VENUE
from minibot.events.model import JsonObject
from minibot.exchanges.venues import VENUES
from minibot.report.figures import plain_text
from minibot.runtime.configuration.config_files import SHIPPED, read_profile
from minibot.runtime.configuration.config_schema import config_schema

RISK_PROFILES: Final[Mapping[str, str]] = {
    "careful": "conservative.v1.json",
    "standard": "balanced.v1.json",
    "bold": "aggressive.v1.json",
}
"""The shipped profile from which each named set of risk keys comes."""

AT_END: Final[Mapping[str, str]] = {"close": "fresh", "carry": "carry"}
"""The answer about positions at the end, and where the next night starts from."""

_PLACES: Final = 10**8
_CASH: Final = re.compile(r"(0|[1-9][0-9]{0,14})([.][0-9]{1,8})?", re.ASCII)
# The smallest share of the cash in any risk profile, 75 basis points, has to be an amount.
_CASH_MIN: Final = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Question:
    """Question about a profile.

    Attributes:
        name: Name of its answer, and of its flag without the dashes.
        asks: The question's number and words, in one line.
        key: Dotted key of the profile that holds the answer; empty for a set of keys.
        read: Returns the answer that a text means, from the text and the answers before it.
            It raises a `ValueError` with the sentence for the person.
    """

    name: str
    asks: str
    key: str
    read: Callable[[str, Mapping[str, str]], str]

    @property
    def flag(self) -> str:
        """The question's flag."""
        return f"--{self.name}"


def _quote(text: str, before: Mapping[str, str]) -> str:
    rule = config_schema()["properties"]["portfolio"]["properties"]["quote_asset"]
    found = text.strip().upper()
    if re.search(rule["pattern"], found, re.ASCII) is None:
        raise ValueError(f"{_shown(text)} is no asset: expected letters and digits, such as USDT")
    return found


def _cash(text: str, before: Mapping[str, str]) -> str:
    found = text.strip()
    if _CASH.fullmatch(found) is None:
        raise ValueError(
            f"{_shown(text)} is no amount: expected digits, with a point at most and up to eight "
            "places, such as 10000 or 2500.50"
        )
    if Fraction(found) < _CASH_MIN:
        raise ValueError(f"{_shown(text)} is too little: expected at least {float(_CASH_MIN)}")
    return found


def _pairs(text: str, before: Mapping[str, str]) -> str:
    """Return the symbols, joined by commas."""
    quote = before["quote"]
    symbols = [_symbol(part, quote) for part in text.split(",")]
    for symbol in symbols:
        if symbols.count(symbol) > 1:
            raise ValueError(f"{symbol} is named twice")
    most = _symbols_rule()["maxItems"]
    if len(symbols) > most:
        raise ValueError(f"{len(symbols)} pairs are too many: expected at most {most}")
    return ",".join(symbols)


def _symbol(text: str, quote: str) -> str:
    name = VENUES[VENUE].symbols.read(text)
    base, slash, paid = text.strip().upper().partition("/")
    if slash and paid != quote:
        raise ValueError(f"{_shown(text)} is paid in {plain_text(paid)}, not in {quote}")
    if not name.endswith(quote) or name == quote:
        example = f"{base or 'BTC'}/{quote}" if base.isalnum() else f"BTC/{quote}"
        raise ValueError(f"{_shown(text)} is not paid in {quote}: expected such as {example}")
    if re.search(_symbols_rule()["items"]["pattern"], name, re.ASCII) is None:
        raise ValueError(f"{_shown(text)} is no pair: expected such as BTC/{quote}")
    return name


def _one_of(known: Mapping[str, str]) -> Callable[[str, Mapping[str, str]], str]:
    def read(text: str, before: Mapping[str, str]) -> str:
        found = text.strip().lower()
        if found not in known:
            raise ValueError(f"{_shown(text)} is unknown: expected {' or '.join(known)}")
        return found

    return read


QUESTIONS: Final = (
    Question("quote", "1. Market and money: quote asset", "portfolio.quote_asset", _quote),
    Question("cash", "   Starting cash, on paper", "portfolio.cash", _cash),
    Question("pairs", "2. Pairs, as BTC/USDT,ETH/USDT", f"{VENUE}.symbols", _pairs),
    Question("risk", "3. Risk: careful, standard or bold", "", _one_of(RISK_PROFILES)),
    Question(
        "at-end",
        "4. Positions at the end: close, or carry into the next night",
        "portfolio.at_end",
        _one_of(AT_END),
    ),
)
"""The questions in the order in which they are asked."""


def default_of(question: Question, raw: JsonObject, before: Mapping[str, str]) -> str:
    """Return the default answer: the base's own value; its pair follows another quote asset.

    Args:
        question: The question.
        raw: The base profile.
        before: The answers before it.
    """
    if question.name == "risk":
        return "standard"
    if question.name == "pairs":
        own = str(raw["portfolio"]["quote_asset"])
        symbols = (str(each) for each in raw[VENUE]["symbols"])
        return ",".join(each.removesuffix(own) + before["quote"] for each in symbols)
    section, _, key = question.key.partition(".")
    return str(raw[section][key])


def values_of(
    answers: Mapping[str, str], raw: JsonObject, *, is_own_strategy: bool
) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield each key that the answers set, as section and key, with its value.

    Args:
        answers: The answer of each question, by its name.
        raw: The base profile.
        is_own_strategy: Whether another strategy than the base's is named, which need not read
            the keys of that one.
    """
    yield ("portfolio", "quote_asset"), answers["quote"]
    yield ("portfolio", "cash"), answers["cash"]
    yield (VENUE, "symbols"), answers["pairs"].split(",")
    yield ("portfolio", "at_end"), answers["at-end"]
    yield ("portfolio", "start_from"), AT_END[answers["at-end"]]
    ratio = Fraction(answers["cash"]) / Fraction(raw["portfolio"]["cash"])
    shipped = read_profile(SHIPPED / RISK_PROFILES[answers["risk"]])
    for key, value in shipped.raw["risk"].items():
        is_changed = value != raw["risk"].get(key)
        if is_amount(key, value) and ratio != 1:
            yield ("risk", key), scaled(value, ratio)
        elif is_changed:
            yield ("risk", key), value
    if ratio != 1 and not is_own_strategy:  # The touch holds an order's worth, as in the base.
        least = raw["strategy"]["touch_notional_min"]
        yield ("strategy", "touch_notional_min"), scaled(least, ratio)


def is_amount(key: str, value: Any) -> bool:
    """Return whether a key of the risk section holds an amount of the quote asset."""
    return isinstance(value, str) and ("notional" in key or "_loss_" in key)


def scaled(amount: str, ratio: Fraction) -> str:
    """Return an amount times a ratio as a decimal text, rounded down to eight places."""
    whole, rest = divmod(int(Fraction(amount) * ratio * _PLACES), _PLACES)
    return f"{whole}.{rest:08d}".rstrip("0").rstrip(".")


def _symbols_rule() -> JsonObject:
    rule: JsonObject = config_schema()["properties"][VENUE]["properties"]["symbols"]
    return rule


def _shown(text: str) -> str:
    return repr(plain_text(text.strip(), SHOWN_MAX))
