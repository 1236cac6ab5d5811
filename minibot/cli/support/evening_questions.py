"""Questions of `minibot new-config`: each answer is judged at once and sets keys of a profile.

An answer comes from `--set`, from a flag, from the terminal or from the default, in this order. A
risk profile is the risk section of a shipped profile; its amounts grow and shrink with the cash.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from minibot.cli.support.idea import SHOWN_MAX
from minibot.cores.core_profile import VENUE
from minibot.events.decimals import unpadded
from minibot.events.model import JsonObject
from minibot.events.money import UNIT, amount_text
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

NO_ALERTS: Final = "none"
COMMAND: Final = "run"
"""The answer for no alerts, and the word before a program that is run for each alert."""

_LOCAL: Final = "local"
_PER_MINUTE: Final = 10
_CASH: Final = re.compile(r"(0|[1-9][0-9]{0,14})([.][0-9]{1,8})?", re.ASCII)
# The smallest share of the cash in any risk profile, 75 basis points, has to be an amount.
_CASH_MIN: Final = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Question:
    """Question about a profile.

    Attributes:
        name: Name of its answer, and of its flag without the dashes.
        asks: The question's number and text, in one line.
        key: Dotted key of the profile that holds the answer; a section's name, or empty for a set
            of keys.
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

    @property
    def is_section(self) -> bool:
        """True if its answer makes a section of the profile, not one key."""
        return self.key != "" and "." not in self.key


def _quote(text: str, before: Mapping[str, str]) -> str:
    rule = config_schema()["properties"]["portfolio"]["properties"]["quote_asset"]
    found = text.strip().upper()
    if re.search(rule["pattern"], found, re.ASCII) is None:
        raise ValueError(
            f"{_shown(text)} is not an asset: expected letters and digits, such as USDT"
        )
    return found


def _cash(text: str, before: Mapping[str, str]) -> str:
    found = text.strip()
    if _CASH.fullmatch(found) is None:
        raise ValueError(
            f"{_shown(text)} is not an amount: expected digits, with a point at most and up to "
            "eight places, such as 10000 or 2500.50"
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
        raise ValueError(f"{_shown(text)} is not a pair: expected such as BTC/{quote}")
    return name


def _one_of(known: Mapping[str, str]) -> Callable[[str, Mapping[str, str]], str]:
    def read(text: str, before: Mapping[str, str]) -> str:
        found = text.strip().lower()
        if found not in known:
            raise ValueError(f"{_shown(text)} is unknown: expected {' or '.join(known)}")
        return found

    return read


def _alerts(text: str, before: Mapping[str, str]) -> str:
    """Return none, the words of a program after `run`, or the name of a target.

    An address is a secret, so no sentence about one repeats it.
    """
    found = text.strip()
    if "://" in found:
        raise ValueError(
            "an address is a secret, which the secrets file alone holds: expected a name, such as "
            "telegram, by which the file has it as TELEGRAM=address"
        )
    word, _, rest = found.partition(" ")
    if word == COMMAND:
        return f"{COMMAND} {shlex.join(_program(rest))}"
    rule = _alerts_rule("targets")["propertyNames"]
    is_key = re.fullmatch(rule["pattern"], found, re.ASCII) is not None
    if not is_key or len(found) > rule["maxLength"]:
        raise ValueError(
            f"{_shown(text)} is not a target's name: expected {NO_ALERTS}, {COMMAND} PROGRAM, or a "
            f"name of at most {rule['maxLength']} {rule['title']}, such as telegram"
        )
    return found


def _program(text: str) -> list[str]:
    """Return a program and its arguments; a program named by a path gets its whole path."""
    rule = _alerts_rule("commands")["additionalProperties"]
    try:
        words = _words(text)
    except ValueError as error:  # An unclosed quotation mark.
        raise ValueError(f"{_shown(text)} is not a command: a quotation mark is missing") from error
    if not words:
        raise ValueError(f"{COMMAND} names no program: expected such as {COMMAND} notify.sh")
    if len(words) > rule["maxItems"] or any(
        not 1 <= len(word) <= rule["items"]["maxLength"] for word in words
    ):
        raise ValueError(
            f"{_shown(text)} is not a command: expected at most {rule['maxItems']} words of 1 to "
            f"{rule['items']['maxLength']} letters"
        )
    program = shutil.which(words[0])
    if program is None:
        raise ValueError(f"{_shown(words[0])} is not a program that can be run here")
    # A run and its guard start it from other folders than this one.
    is_path = os.path.dirname(words[0]) != ""
    return [os.path.abspath(program) if is_path else words[0], *words[1:]]


def _words(text: str) -> list[str]:
    """Return the words of a command line; a backslash of Windows is a letter of a path."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if sys.platform == "win32":
        lexer.escape = ""
    return list(lexer)


def secret_of(target: str) -> str:
    """Return the name of a target's address in the secrets file."""
    return target.upper().replace("-", "_")


def target_of(answer: str) -> str:
    """Return the target that an answer about alerts names; empty for none and for a program."""
    return "" if answer == NO_ALERTS or answer.startswith(f"{COMMAND} ") else answer


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
    Question(
        "alerts",
        f"5. Alerts: {NO_ALERTS}, {COMMAND} PROGRAM, or a target's name, as telegram",
        "alerts",
        _alerts,
    ),
)
"""The questions in their order on the terminal."""


def default_of(question: Question, raw: JsonObject, before: Mapping[str, str]) -> str:
    """Return the default answer: the base's own value; its pair follows another quote asset.

    Args:
        question: The question.
        raw: The base profile.
        before: The answers before it.
    """
    if question.name == "risk":
        return "standard"
    if question.name == "alerts":
        return NO_ALERTS
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
        answers: The answer of each question, by its name; without alerts where `--set` has them.
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
    yield from _alert_values(answers.get("alerts", NO_ALERTS))


def _alert_values(answer: str) -> Iterator[tuple[tuple[str, str], Any]]:
    """Yield the keys of alerts, and of the guard that alarms by them; none without alerts."""
    if answer == NO_ALERTS:
        return
    # Imported here because `--help` needs none of it.
    from minibot.ops.alerts.alert import WARNING
    from minibot.ops.night_guard import QUIET_MS

    # The trader expects alerts, so a night that could not send any is refused.
    yield ("alerts", "required"), True
    yield ("alerts", "level_min"), WARNING
    yield ("alerts", "per_minute_max"), _PER_MINUTE
    if target := target_of(answer):
        yield ("alerts", "targets"), {target: secret_of(target)}
    else:
        yield ("alerts", "commands"), {_LOCAL: shlex.split(answer)[1:]}
    yield ("guard", "quiet_ms"), QUIET_MS


def is_amount(key: str, value: Any) -> bool:
    """Return whether a key of the risk section holds an amount of the quote asset."""
    return isinstance(value, str) and ("notional" in key or "_loss_" in key)


def scaled(amount: str, ratio: Fraction) -> str:
    """Return an amount times a ratio as a decimal text, rounded down to eight places."""
    return unpadded(amount_text(int(Fraction(amount) * ratio * UNIT)))


def _symbols_rule() -> JsonObject:
    rule: JsonObject = config_schema()["properties"][VENUE]["properties"]["symbols"]
    return rule


def _alerts_rule(key: str) -> JsonObject:
    rule: JsonObject = config_schema()["properties"]["alerts"]["properties"][key]
    return rule


def _shown(text: str) -> str:
    return repr(plain_text(text.strip(), SHOWN_MAX))
