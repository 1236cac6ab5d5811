"""Types of the fields of events: a Python type with the rule that a contract states of it.

A field of an event is `Annotated[type, rule, "description"]`. Numbers, lengths and closed lists
that msgspec judges while it decodes are `Meta` and `Literal`. Patterns are rules beside the type:
`events.fast_rules` remembers accepted texts, so that it need not match them again. A named rule
stands once in the `$defs` of every contract that uses it. `events.class_schemas` makes the
contracts of all this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from msgspec import Meta

Rule = Mapping[str, Any]
"""JSON Schema of a value beside its type; a type of this module inside it means its rule."""

MS_MAX: Final = 9_999_999_999_999
WHOLE_MAX: Final = 2**53 - 1
"""The highest whole number up to which every JSON reader is exact."""

NEWLINE_GUARD: Final[Rule] = {"pattern": "\\n"}
"""Under `not`: for engines whose `$` also matches before a last newline, as Python's does."""


class Named:
    """A rule with a name, by which contracts refer to it.

    Attributes:
        name: Its key in `$defs`; `$defs` are ordered as these objects are made.
        description: Its words there; empty for none.
        words: Words of the reference page for a value of it.
        rule: Rule beyond the type and its `Meta`.
    """

    __slots__ = ("description", "name", "place", "rule", "words")

    made: Final[list[Named]] = []

    def __init__(self, name: str, description: str, words: str, rule: Rule | None = None) -> None:
        self.name = name
        self.description = description
        self.words = words
        self.rule: Rule = rule or {}
        self.place = len(self.made)
        self.made.append(self)


class Codes:
    """A closed list of reason codes: those of some groups, in the order of their names."""

    __slots__ = ("groups",)

    def __init__(self, *groups: str) -> None:
        self.groups = groups


class Example(NamedTuple):
    """A value that follows a rule, where none follows from the type alone."""

    value: str


class Mark:
    """A remark on a field, for the maker of contracts."""

    __slots__ = ()


OR_NULL: Final = Mark()
"""The contract admits null as a value; a rule that has a name is written out then."""

DEFINED_LAST: Final = Mark()
"""The field joined a contract later: its named rule comes last in `$defs`."""

UNIQUE: Final = Mark()
"""No value occurs twice in the list."""


def one_of(*words: str) -> Rule:
    """Return the rule of a word among some."""
    return {"enum": list(words)}


def only(value: str | int) -> Rule:
    """Return the rule of a value that is always the same."""
    return {"const": value}


def matching(pattern: str, most: int) -> dict[str, Any]:
    """Return the rule of a text by its form and its greatest length."""
    return {
        "type": "string",
        "description": "",  # Keeps the place for the words of the field that has the rule.
        "maxLength": most,
        "pattern": pattern,
        "not": NEWLINE_GUARD,
    }


_DECIMAL: Final = matching("^-?(0|[1-9][0-9]{0,19})([.][0-9]{1,18})?$", 40)
NUMBER: Final = matching("^(0|[1-9][0-9]{0,19})([.][0-9]{1,18})?$", 40)
_NONZERO_DIGIT: Final = {"maxLength": 40, "pattern": "^[0.]*[1-9][0-9.]*$", "not": NEWLINE_GUARD}

# --- decimal numbers, exact as text ---------------------------------------------------------------

Probability: TypeAlias = Annotated[
    str,
    Named(
        "probability",
        "A probability in [0, 1] with six places.",
        "decimal, six places",
        matching("^(0[.][0-9]{6}|1[.]0{6})$", 8),
    ),
    Example("0.333333"),
]
SignedNumber: TypeAlias = Annotated[
    str,
    Named(
        "decimal",
        "A decimal number as text, never a float; compared by value.",
        "decimal",
        _DECIMAL,
    ),
    Example("1.5"),
]
NumberAboveZero: TypeAlias = Annotated[
    str,
    Named(
        "decimal_positive",
        "A decimal number as text, above zero; never a float.",
        "decimal, above zero",
        {**NUMBER, "allOf": [_NONZERO_DIGIT]},
    ),
    Example("1.5"),
]
Number: TypeAlias = Annotated[
    str,
    Named(
        "decimal_positive_or_zero",
        "A decimal number as text, zero or more; never a float.",
        "decimal, zero or more",
        NUMBER,
    ),
    Example("1.5"),
]

# --- names of a venue -----------------------------------------------------------------------------

SYMBOL: Final = Named(
    "symbol",
    "The exchange's name of a market, such as BTCUSDT.",
    "symbol",
    matching("^[A-Z0-9]{2,20}$", 20),
)
Symbol: TypeAlias = Annotated[str, SYMBOL, Example("BTCUSDT")]
Asset: TypeAlias = Annotated[
    str,
    Named(
        "asset",
        "The exchange's name of an asset, such as USDT.",
        "asset",
        matching("^[A-Z0-9]{1,15}$", 15),
    ),
    Example("USDT"),
]

# --- whole numbers --------------------------------------------------------------------------------

Ms: TypeAlias = Annotated[
    int,
    Meta(ge=0, le=MS_MAX),
    Named("ms", "Unix milliseconds, or a duration in milliseconds of market time.", "ms"),
]
Count: TypeAlias = Annotated[
    int, Meta(ge=0, le=WHOLE_MAX), Named("count", "A whole number, zero or more.", "count")
]
Seq: TypeAlias = Annotated[
    int,
    Meta(ge=1, le=WHOLE_MAX),
    Named("seq", "A line number in a queue over all segments, from 1.", "seq"),
]
MonoNs: TypeAlias = Annotated[
    int,
    Meta(ge=0, le=2**63 - 1),
    Named("mono_ns", "Machine time in nanoseconds of a monotonic clock.", "machine ns"),
]

# --- names and words of ours ----------------------------------------------------------------------

Name: TypeAlias = Annotated[
    str,
    Named(
        "name",
        "A short name without spaces.",
        "name",
        matching("^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,99}$", 100),
    ),
    Example("name"),
]
Text: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=4096), Named("text", "Words for a person.", "text")
]
ID: Final = Named(
    "id",
    "uuid4-shaped, lower case.",
    "id",
    matching("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", 36),
)
Id: TypeAlias = Annotated[str, ID, Example("00000000-0000-4000-8000-000000000000")]
Sha256: TypeAlias = Annotated[
    str,
    Named(
        "sha256",
        "64 lower-case hex digits.",
        "sha256",
        matching("^[0-9a-f]{64}$", 64),
    ),
    Example("0" * 64),
]
RunId: TypeAlias = Annotated[
    str,
    Named(
        "run_id",
        "YYYYMMDD_HHMMSS in UTC.",
        "run id",
        matching("^[0-9]{8}_[0-9]{6}$", 15),
    ),
    Example("20240808_235413"),
]

# --- words that are the same everywhere -----------------------------------------------------------

Market: TypeAlias = Annotated[Symbol, "The exchange's name of the market, such as BTCUSDT."]
Who: TypeAlias = Annotated[Text, "Who asked for it."]
Why: TypeAlias = Annotated[Text, "Why."]

# --- lists and objects ----------------------------------------------------------------------------

Level: TypeAlias = Annotated[tuple[Number, Number], Named("level", "[price, qty].", "[price, qty]")]
Levels: TypeAlias = Annotated[
    tuple[Level, ...],
    Meta(max_length=5000),
    Named("levels", "Best first.", "list of [price, qty]"),
]
Amounts: TypeAlias = Annotated[
    Mapping[str, SignedNumber],
    Meta(max_length=1000),
    Named("amounts", "Name to decimal amount.", "name: decimal"),
]
Lot: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "lot",
        "",
        "lot",
        rule={
            "required": ["symbol", "qty", "price", "ts"],
            "additionalProperties": True,
            "properties": {"symbol": Symbol, "qty": Number, "price": Number, "ts": Ms},
        },
    ),
]
RiskLock: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "lock",
        "",
        "lock",
        rule={
            "required": ["scope", "reason_code", "until_ts"],
            "additionalProperties": False,
            "properties": {
                "scope": {"type": "string", "maxLength": 40},
                "reason_code": Name,
                "until_ts": Ms,
            },
        },
    ),
]
AccountMark: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "account_mark",
        "",
        "mark and tier",
        rule={
            "required": ["high_water_mark", "tier"],
            "additionalProperties": False,
            "properties": {"high_water_mark": SignedNumber, "tier": Count},
        },
    ),
]
RiskMemory: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "risk_memory",
        "",
        "trades and locks",
        rule={
            "required": ["trips", "trades", "closed", "start", "locks", "streaks", "left"],
            "additionalProperties": True,
            "properties": {"closed": SignedNumber, "start": SignedNumber},
        },
    ),
]
RankedSymbol: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "ranked_symbol",
        "",
        "symbol and score",
        rule={
            "required": ["symbol", "score", "passes"],
            "additionalProperties": False,
            "properties": {
                "symbol": Symbol,
                "score": Number,
                # Whether it passes every filter.
                "passes": {"type": "boolean"},
            },
        },
    ),
]
CarriedTrades: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "carried_trades",
        "",
        "closed and open trades",
        rule={
            "required": ["closed", "open"],
            "additionalProperties": False,
            "properties": {
                # Time of the close and net return of each, in the order of their closes.
                "closed": {"type": "array", "maxItems": 10000, "items": {"type": "array"}},
                "open": {"type": "array", "maxItems": 1000, "items": {"type": "object"}},
            },
        },
    ),
]
CAMPAIGN_FIELDS: Final[Rule] = {
    "entries": Count,
    "entries_max": Count,
    "loss_max": NumberAboveZero,
    "entered_ts": Ms,
    # Cost of purchases and proceeds of sales so far, with fees; how much of them is held.
    "spent": Number,
    "received": SignedNumber,
    "qty": Number,
    # Rows of risk.recovery reached at the deepest.
    "row": Count,
    # The stop by which the last entry was sized, and the quantity that a de-risk leaves.
    "stop": Number,
    "keep_qty": Number,
    # The loss if all that is held is sold at the stop in force; a gain is negative.
    "at_risk": SignedNumber,
}
CAMPAIGN_REQUIRED: Final = (
    *("entries", "entries_max", "loss_max", "entered_ts", "spent", "received", "qty", "row"),
)
CampaignState: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "campaign_state",
        "",
        "entries and losses of a campaign",
        rule={
            "required": [*CAMPAIGN_REQUIRED],
            "additionalProperties": False,
            "properties": CAMPAIGN_FIELDS,
        },
    ),
]
CarriedPlan: TypeAlias = Annotated[
    Mapping[str, Any],
    Named(
        "carried_plan",
        "",
        "levels of a position",
        rule={
            "required": ["symbol", "qty", "original_qty", "entry_price", "opened_ts", "age_row"],
            "additionalProperties": False,
            "properties": {
                "symbol": Symbol,
                "qty": NumberAboveZero,
                "original_qty": NumberAboveZero,
                "entry_price": Number,
                "opened_ts": Ms,
                "age_row": Count,
                "stop_hard": NumberAboveZero,
                "stop_entry": NumberAboveZero,
                "stop_break_even": NumberAboveZero,
                "stop_trailing": NumberAboveZero,
                "stop_signal": NumberAboveZero,
                "target_signal": NumberAboveZero,
                "trail_signal": NumberAboveZero,
                "trail_signal_bps": NumberAboveZero,
                "peak_signal": NumberAboveZero,
                "peak": NumberAboveZero,
                "atr": NumberAboveZero,
                "leaving": Name,
                "has_thesis": {"type": "boolean"},
                "campaign": {
                    "type": "object",
                    "required": ["id", *CAMPAIGN_REQUIRED],
                    "additionalProperties": False,
                    "properties": {"id": Id, **CAMPAIGN_FIELDS},
                },
            },
        },
    ),
]
