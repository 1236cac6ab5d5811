"""Risk policy: bounds on the risk section of a governed profile, by the profile's name.

A profile with `risk.policy_version`, the values of environment and `--set` included, is judged by
`config/risk_policy.v1.json`. A bound is a largest whole number, or a largest share of the starting
cash; for a carried account, the share is of the lesser of the cash and that account's high-water
mark. A key that is absent or null is in bounds, but for the hard stop, which has to be given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import cache
from typing import Any, Final, NamedTuple

from minibot.events.decimals import unpadded
from minibot.events.model import JsonObject
from minibot.events.money import UNIT, amount_text
from minibot.events.unit_sizes import BPS
from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config_files import parse
from minibot.runtime.configuration.config_schema import config_schema, nearest_key, violation
from minibot.runtime.paths import PROJECT

POLICY_PATH: Final = PROJECT / "config" / "risk_policy.v1.json"
MOST: Final = "most"
MOST_CASH_BPS: Final = "most_cash_bps"


class RiskPolicy(NamedTuple):
    """Risk policy as read: the bounds by profile, key and kind, and the sha256 of the file."""

    profiles: Mapping[str, Mapping[str, Mapping[str, int]]]
    sha256: str


@cache
def risk_policy() -> RiskPolicy:
    """Return the risk policy, read once for each process.

    Raises:
        ConfigError: The file is missing, or is not a policy: a bound whose key is misspelt or given
            twice would bound nothing.
    """
    try:
        data = POLICY_PATH.read_bytes()
        policy: Any = parse(data.decode("utf-8-sig"))
        profiles: Mapping[str, Any] = policy["profiles"]
        is_policy = (policy["schema"], policy["v"]) == ("minibot.risk_policy", 1)
        bounds = [bound for keys in profiles.values() for bound in keys.values()]
        is_whole = all(
            len(bound) == 1 and kind in (MOST, MOST_CASH_BPS) and type(most) is int and most > 0
            for bound in bounds
            for kind, most in bound.items()
        )
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise _no_policy(repr(error)) from error
    if not (is_policy and is_whole and bounds):
        raise _no_policy("its schema, or a bound, has another form")
    known = list(config_schema()["properties"]["risk"]["properties"])
    for key in sorted({key for keys in profiles.values() for key in keys}.difference(known)):
        near = nearest_key(["risk", key], known)
        raise _no_policy(f"no profile has risk.{key}" + (f"; did you mean {near}?" if near else ""))
    return RiskPolicy(profiles, hashlib.sha256(data).hexdigest())


def policy_violations(
    raw: JsonObject, origin: Mapping[str, str], account: Fraction | None = None
) -> Iterator[str]:
    """Yield one sentence for each key of a governed profile that is out of its bounds.

    Args:
        raw: The profile's keys.
        origin: Where each dotted key's value comes from.
        account: High-water mark of the account that is carried on, in its quote asset.

    Raises:
        ConfigError: The policy cannot be used, or a bounded value is no number.
    """
    risk, cash = raw["risk"], Fraction(raw["portfolio"]["cash"])
    whole = "portfolio.cash"
    if account is not None and account < cash:
        cash, whole = account, "the high-water mark of the account that is carried on"
    if risk.get("policy_version") is None:
        return
    profiles = risk_policy().profiles
    name = risk["profile"]
    if name not in profiles:
        words = f"allowed under risk.policy_version: one of {', '.join(profiles)}"
        yield violation(["risk", "profile"], name, words, origin)
        return
    for key, bound in profiles[name].items():
        value = risk.get(key)
        try:
            is_beyond = value is not None and Fraction(value) > _limit(bound, cash)
        except (TypeError, ValueError) as error:
            raise _no_policy(f"risk.{key} is not a number") from error
        if is_beyond:
            words = f"allowed by {POLICY_PATH.name} for {name}: {_bound_text(bound, cash, whole)}"
            yield violation(["risk", key], value, words, origin)
    if risk.get("hard_stop_bps") is None:
        words = f"allowed by {POLICY_PATH.name}: basis points as text, as every governed position"
        yield violation(["risk", "hard_stop_bps"], None, f"{words} has a hard stop", origin)


def policy_bound(raw: JsonObject, key: str) -> str:
    """Return the policy's bound on a dotted key of a governed profile, in words; empty for none."""
    section, _, name = key.partition(".")
    if section != "risk" or raw["risk"].get("policy_version") is None:
        return ""
    bound = risk_policy().profiles.get(raw["risk"]["profile"], {}).get(name)
    return (
        ""
        if bound is None
        else _bound_text(bound, Fraction(raw["portfolio"]["cash"]), "portfolio.cash")
    )


def _limit(bound: Mapping[str, int], cash: Fraction) -> Fraction:
    ((kind, most),) = bound.items()
    return Fraction(most) if kind == MOST else cash * most / BPS


def _bound_text(bound: Mapping[str, int], cash: Fraction, whole: str) -> str:
    ((kind, most),) = bound.items()
    unit = "" if kind == MOST else f", {most} basis points of {whole}"
    return f"at most {_text(_limit(bound, cash))}{unit}"


def _text(limit: Fraction) -> str:
    """Return a limit as a decimal number, rounded down to eight places."""
    return unpadded(amount_text(limit.numerator * UNIT // limit.denominator))


def _no_policy(why: str) -> ConfigError:
    return ConfigError(
        f"{POLICY_PATH} is not a risk policy: {why}.",
        (),
        "Restore it: a profile with risk.policy_version is bounded by it.",
    )
