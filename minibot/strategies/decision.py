"""Decision of a strategy: a side with its reason, or a hold with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Final, TypeAlias, final

from minibot.cores.wish import Wish
from minibot.events.decimals import PLACES_MAX, parse_fixed
from minibot.events.model import ADJUST, BUY, HOLD, SELL, Check
from minibot.events.money import PLACES, RATE_PLACES
from minibot.events.native import mypyc_attr
from minibot.events.reasons import BUSINESS_GROUP, OWN_HOLD, OWN_RULE, codes
from minibot.events.unit_sizes import BPS, DAY_MS

SCORE: Final = 70
CONFIDENCE: Final = 70

# The bounds of contracts/signal.v1.schema.json.
SCORE_MAX: Final = 110
CONFIDENCE_MAX: Final = 100
REASON_CHARS_MAX: Final = 4096
CHECKS_MAX: Final = 64
NAME_CHARS_MAX: Final = 100
VALUE_CHARS_MAX: Final = 200
RELATIONS: Final = ("<", "<=", ">", ">=", "==")
"""Relations that `compare` evaluates."""
FLOAT_MIN: Final = -1e100
FLOAT_MAX: Final = 1e100
# Pattern of Python's default text of an object.
ADDRESS: Final = " at 0x"
VALID_MS_MAX: Final = DAY_MS
# More than any account holds or any coin costs; it bounds the digits of an amount.
AMOUNT_MAX: Final = 10**12
MULTIPLE_MAX: Final = 1_000
CODES: Final[frozenset[str]] = frozenset(codes(BUSINESS_GROUP))


@mypyc_attr(acyclic=True)
@final
class Comparison:
    """A check of two numbers that is formatted when it is read.

    Only `compare` makes one and sets its attributes: a constructor would cost another call.
    """

    __slots__ = ("_name", "_passed", "_places", "_relation", "_threshold", "_value")

    _name: str
    _value: int | float | Decimal
    _relation: str
    _threshold: int | float | Decimal
    _places: int
    _passed: bool

    def check(self) -> Check:
        """Return the check as text."""
        threshold = f"{self._relation} {fixed_text(self._threshold, self._places)}"
        return Check(self._name, fixed_text(self._value, self._places), threshold, self._passed)


class Words:
    """Reason and checks of a decision, formatted when they are read."""

    __slots__ = ()

    def write(self) -> tuple[str, tuple[Check, ...]]:
        """Return the reason and the checks."""
        raise NotImplementedError


@mypyc_attr(acyclic=True)
@final
class Decision:
    """The strategy's answer about one symbol at one moment; `decision_of` makes one.

    Attributes:
        side: BUY, SELL, HOLD or ADJUST.
        score, confidence: 0 to 110, and 0 to 100.
        reason_code: A code of docs/reference/reasons.md.
        valid_ms: How long the signal counts, in ms of market time; 0 for the declared time.
        wish: The wanted size, limit and levels; None for those of the profile.
        given_checks: The checks, partly not formatted yet.
        holds_address: Whether its reason contains a memory address, which differs per process.
    """

    __slots__ = (
        *("_checks", "_reason", "_words", "confidence", "holds_address", "reason_code", "score"),
        *("given_checks", "side", "valid_ms", "wish"),
    )

    side: str
    score: int
    confidence: int
    reason_code: str
    _reason: str
    given_checks: Sequence[Check | Comparison]
    _checks: tuple[Check, ...] | None
    _words: Words | None
    holds_address: bool
    valid_ms: int
    wish: Wish | None

    @property
    def reason(self) -> str:
        """Reason in words, for the morning report."""
        self._write()
        return self._reason

    @property
    def checks(self) -> tuple[Check, ...]:
        """Values against thresholds."""
        self._write()
        if self._checks is None:
            self._checks = tuple(
                [
                    check.check() if isinstance(check, Comparison) else check
                    for check in self.given_checks
                ]
            )
            self.given_checks = self._checks
        return self._checks

    def _write(self) -> None:
        words = self._words
        if words is not None:
            self._reason, self._checks = words.write()
            self.given_checks = self._checks
            self._words = None

    def __eq__(self, other: object) -> bool:
        """Return whether the other decision is the same."""
        return (
            isinstance(other, Decision)
            and self.side == other.side
            and self.score == other.score
            and self.confidence == other.confidence
            and self.reason_code == other.reason_code
            and self.reason == other.reason
            and self.checks == other.checks
            and self.valid_ms == other.valid_ms
            and _bounds(self.wish) == _bounds(other.wish)
        )

    def __hash__(self) -> int:
        """Return the same for equal decisions, in every process."""
        return self.score * (CONFIDENCE_MAX + 1) + self.confidence

    def __repr__(self) -> str:
        """Return the decision as text for a person."""
        return f"Decision({self.side}, {self.reason_code}, {self.reason!r})"


def decision_of(
    side: str,
    score: int,
    confidence: int,
    reason_code: str,
    reason: str,
    checks: Sequence[Check | Comparison],
    words: Words | None = None,
) -> Decision:
    """Return a decision.

    Args:
        side: BUY, SELL, HOLD or ADJUST.
        score: 0 to 110.
        confidence: 0 to 100.
        reason_code: A code of docs/reference/reasons.md.
        reason: Reason in words.
        checks: The values that led to it.
        words: Formats reason and checks later, instead of these.
    """
    decision = Decision()
    decision.side = side
    decision.score = score
    decision.confidence = confidence
    decision.reason_code = reason_code
    decision._reason = reason
    # Copied, as the strategy may change its list before the checks are read.
    decision.given_checks = tuple(checks)
    decision._checks = None
    decision._words = words
    decision.holds_address = ADDRESS in reason
    decision.valid_ms = 0
    decision.wish = None
    return decision


def _bounds(wish: Wish | None) -> tuple[int, ...]:
    return () if wish is None else wish.values()


Amount: TypeAlias = Decimal | str | int | None
"""An amount, price or multiple as a strategy gives it: exact, no float."""


def buy(
    reason: str,
    checks: Sequence[Check | Comparison] = (),
    *,
    score: int = SCORE,
    confidence: int = CONFIDENCE,
    code: str = OWN_RULE,
    notional: Amount = None,
    share_bps: int | None = None,
    stop: Amount = None,
    target: Amount = None,
    trail: Amount = None,
    trail_bps: Amount = None,
    trail_atr: Amount = None,
    limit: Amount = None,
    valid_ms: int | None = None,
) -> Decision:
    """Return the wish to be long; risk decides whether it is allowed, and how much.

    Args:
        reason: Why, in words for the morning report.
        checks: Values against thresholds that support it; see `check`.
        score: 0 to 110.
        confidence: 0 to 100.
        code: A code of docs/reference/reasons.md.
        notional: Quote amount to spend, exact: no float. The default and the maximum is the amount
            of `risk.sizing`; the checks of risk's action show what risk cut.
        share_bps: The same as a share in basis points of the largest exposure.
        stop: Price of the strategy's stop, exact and below the bid. The highest stop counts, so it
            can only tighten the profile's stops.
        target: Price at which the position is sold, above the ask; the lowest target counts. Levels
            need a profile with `risk.hard_stop_bps`, and apply from the entry's fill on.
        trail: Distance in quote at which the stop follows the highest bid from now on; with `limit`
            from the bid of its fill on.
        trail_bps: The same in basis points of that bid; give at most one of the three.
        trail_atr: The same as a multiple of the profile's ATR.
        limit: Price at which the purchase rests, below the ask; by default it is a market order.
        valid_ms: How long it counts, in ms of market time, up to a day; risk cuts a longer time to
            `risk.signal_age_ms_max`. By default it is the profile's `strategy.horizon_ms`. A
            purchase with a limit rests so long, but at most `execution.order_ttl_market_ms`.

    Raises:
        ValueError: A value is out of its bounds.
    """
    decision = _sound(decision_of(BUY, score, confidence, code, f"BUY: {reason}", checks))
    has_amount = notional is not None or share_bps is not None or limit is not None
    has_trail = trail is not None or trail_bps is not None or trail_atr is not None
    if has_amount or has_trail or stop is not None or target is not None:
        decision.wish = _wish(
            notional=_amount("notional", notional),
            share_bps=_share(share_bps),
            stop=_amount("stop", stop),
            target=_amount("target", target),
            **_trail(trail, trail_bps, trail_atr),
            limit=_amount("limit", limit),
        )
    return _valid(decision, valid_ms)


def adjust(
    reason: str,
    checks: Sequence[Check | Comparison] = (),
    *,
    code: str = OWN_RULE,
    stop: Amount = None,
    target: Amount = None,
    trail: Amount = None,
    trail_bps: Amount = None,
    trail_atr: Amount = None,
    valid_ms: int | None = None,
) -> Decision:
    """Return the wish to move levels of the position: a stop only up, a target either way.

    Args:
        reason: Why, in words for the morning report.
        checks: Values against thresholds that support it; see `check`.
        code: A code of docs/reference/reasons.md.
        stop: As in `buy`; a stop at or below the one in force is ignored.
        target: As in `buy`; it replaces the strategy's former one, and the profile's still counts.
        trail: As in `buy`, below the highest bid that a former trail followed, else below the
            present bid, so it may sell at once; a trail wider than the former one is ignored.
        trail_bps: The same in basis points of the highest bid.
        trail_atr: The same as a multiple of the ATR of the entry.
        valid_ms: As in `buy`.

    Raises:
        ValueError: No level is given, or a value is out of its bounds.
    """
    decision = _sound(decision_of(ADJUST, SCORE, CONFIDENCE, code, f"ADJUST: {reason}", checks))
    decision.wish = _wish(
        stop=_amount("stop", stop),
        target=_amount("target", target),
        **_trail(trail, trail_bps, trail_atr),
    )
    if decision.wish is None:
        raise ValueError("adjust: expected a stop, a target or a trail, found none")
    return _valid(decision, valid_ms)


def _wish(**wanted: int) -> Wish | None:
    """Return a wish; None if it is empty."""
    return Wish(**wanted) if any(wanted.values()) else None


def _valid(decision: Decision, valid_ms: int | None) -> Decision:
    """Return a decision with its validity; raise ValueError if that is out of bounds."""
    if valid_ms is not None:
        if type(valid_ms) is not int or not 0 < valid_ms <= VALID_MS_MAX:
            text = f"expected whole milliseconds from 1 to {VALID_MS_MAX}, found {valid_ms!r}"
            raise ValueError(f"valid_ms: {text}")
        decision.valid_ms = valid_ms
    return decision


def _trail(trail: Amount, trail_bps: Amount, trail_atr: Amount) -> dict[str, int]:
    """Return the distance of a trail, of which at most one is given; raise ValueError for two."""
    given = {
        "trail": _amount("trail", trail),
        "trail_bps": _amount("trail_bps", trail_bps, RATE_PLACES, BPS),
        "trail_atr": _amount("trail_atr", trail_atr, RATE_PLACES, MULTIPLE_MAX),
    }
    if sum(1 for amount in given.values() if amount) > 1:
        raise ValueError("trail: expected one of trail, trail_bps and trail_atr, found several")
    return given


def _amount(name: str, given: Amount, places: int = PLACES, most: int = AMOUNT_MAX) -> int:
    """Return an amount as a whole number of its last place, 0 for None; may raise ValueError."""
    if given is None:
        return 0
    if isinstance(given, bool) or not isinstance(given, Decimal | str | int):
        text = f"expected a Decimal, a whole number or decimal text, found {given!r}"
        remedy = f"; of a float write the places that you mean: f'{{{name}:.2f}}'"
        raise ValueError(f"{name}: {text}{remedy if isinstance(given, float) else ''}")
    try:
        wanted = Decimal(given)
    except ArithmeticError as error:
        raise ValueError(f"{name}: {given!r} is not an amount") from error
    if not wanted.is_finite() or not 0 < wanted <= most:
        text = f"expected an amount above zero, at most {most}, found {given!r}"
        raise ValueError(f"{name}: {text}")
    amount = parse_fixed(fixed_text(wanted, places), places)
    if wanted != Decimal(amount).scaleb(-places):
        raise ValueError(f"{name}: expected at most {places} places, found {given!r}")
    return amount


def _share(given: int | None) -> int:
    """Return a share in basis points, 0 for None; may raise ValueError."""
    if given is None:
        return 0
    if type(given) is not int or not 0 < given <= BPS:
        raise ValueError(f"share_bps: expected a whole number from 1 to {BPS}, found {given!r}")
    return given


def sell(
    reason: str,
    checks: Sequence[Check | Comparison] = (),
    *,
    score: int = SCORE,
    confidence: int = CONFIDENCE,
    code: str = OWN_RULE,
    notional: Amount = None,
    share_bps: int | None = None,
    qty: Amount = None,
    valid_ms: int | None = None,
) -> Decision:
    """Return the wish to be flat, or to hold less, at the market; see `buy`.

    Purchases of the symbol that rest at a limit are withdrawn. To sell at a price or by a trail,
    move the target or the stop with `adjust`.

    Args:
        reason: As in `buy`.
        checks: As in `buy`.
        score: As in `buy`.
        confidence: As in `buy`.
        code: As in `buy`.
        notional: Quote amount to sell for at the bid, exact; by default all is sold. A rest too
            small to be sold later is sold with it.
        share_bps: The same as a share of the position in basis points.
        qty: The same as a base amount, exact; the smallest of the three counts.
        valid_ms: As in `buy`.

    Raises:
        ValueError: A value is out of its bounds.
    """
    decision = _sound(decision_of(SELL, score, confidence, code, f"SELL: {reason}", checks))
    if notional is not None or share_bps is not None or qty is not None:
        decision.wish = _wish(
            notional=_amount("notional", notional),
            share_bps=_share(share_bps),
            qty=_amount("qty", qty),
        )
    return _valid(decision, valid_ms)


def hold(
    reason: str, checks: Sequence[Check | Comparison] = (), *, code: str = OWN_HOLD
) -> Decision:
    """Return a hold with its reason; it is journaled if `code` is new, at most once a second."""
    return _sound(decision_of(HOLD, 0, 0, code, f"HOLD: {reason}", checks))


def check(name: str, value: str, threshold: str, *, passed: bool | None = None) -> Check:
    """Return one named value against one named threshold, for the checks of a decision.

    The decision that takes it judges it: `buy` and its like raise ValueError for a part that is no
    text or too long.

    Args:
        name: Name of the value.
        value: The value as text.
        threshold: The threshold as text; it is not evaluated, see `compare` for two numbers.
        passed: The verdict, if the strategy gives one; None is recorded and shown as none.
    """
    return Check(name, value, threshold, passed)


def compare(
    name: str,
    value: int | float | Decimal,
    relation: str,
    threshold: int | float | Decimal,
    *,
    places: int = 8,
    passed: bool | None = None,
) -> Comparison:
    """Return a check of two numbers, such as `compare("fast", 101.5, ">", 101.25)`.

    Its verdict is the relation between the numbers as given, not as rounded for display. They are
    formatted only when they are read.

    Args:
        name: Name of the value.
        value: A finite number below 10**100.
        relation: Relation that the value should have to the threshold: `<`, `<=`, `>`, `>=` or
            `==`.
        threshold: A finite number below 10**100.
        places: Places after the decimal point.
        passed: The expected verdict; best left out.

    Raises:
        ValueError: A number is missing or not finite, the relation is unknown, or `passed`
            contradicts the numbers.
    """
    # Usually two floats; any other type is examined.
    is_float = type(value) is float and type(threshold) is float
    is_bounded = is_float and (FLOAT_MIN < value < FLOAT_MAX and FLOAT_MIN < threshold < FLOAT_MAX)
    if not is_bounded and not (_is_finite(value) and _is_finite(threshold)):
        found = f"found {value} and {threshold}"
        remedy = "return hold(...) or None while a value is not known"
        raise ValueError(f"compare {name!r}: expected two finite numbers, {found}; {remedy}")
    if not name or len(name) > NAME_CHARS_MAX or not 0 <= places <= PLACES_MAX:
        raise ValueError(
            f"compare {name!r}: a name of 1 to 100 characters, 0 to {PLACES_MAX} places"
        )
    if relation == ">":
        holds = value > threshold
    elif relation == "<":
        holds = value < threshold
    elif relation == ">=":
        holds = value >= threshold
    elif relation == "<=":
        holds = value <= threshold
    elif relation == "==":
        holds = value == threshold
    else:
        known = " ".join(RELATIONS)
        text = f"{relation!r} is not a relation; expected one of {known}, or check() for words"
        raise ValueError(f"compare {name!r}: {text}")
    if passed is not None and passed != holds:
        text = f"passed={passed} contradicts it: {value} {relation} {threshold} is {holds}"
        raise ValueError(f"compare {name!r}: {text}; leave passed= out")
    made = Comparison()
    made._name = name
    made._value = value
    made._relation = relation
    made._threshold = threshold
    made._places = places
    made._passed = holds
    return made


def fixed_text(number: int | float | Decimal, places: int) -> str:
    """Return a number with a fixed number of places, with every digit of a whole number."""
    if isinstance(number, int):
        return f"{Decimal(number):.{places}f}"
    return f"{number:.{places}f}"


def _is_finite(number: object) -> bool:
    """Return whether a value is a number that can be ordered and formatted."""
    if isinstance(number, Decimal):
        return number.is_finite() and FLOAT_MIN < number < FLOAT_MAX
    return isinstance(number, int | float) and FLOAT_MIN < number < FLOAT_MAX


def _sound(decision: Decision) -> Decision:
    """Return a decision that fits the signal's contract.

    Raises:
        ValueError: It does not fit; a night would stop at it.
    """
    score, confidence = decision.score, decision.confidence
    if not 0 <= score <= SCORE_MAX or not 0 <= confidence <= CONFIDENCE_MAX:
        found = f"{score} and {confidence}"
        raise ValueError(f"score and confidence: expected 0 to 110 and 0 to 100, found {found}")
    if type(score) is not int or type(confidence) is not int:
        found = f"{score!r} and {confidence!r}"
        raise ValueError(f"score and confidence: expected whole numbers, found {found}")
    if decision.reason_code not in CODES:
        near = get_close_matches(decision.reason_code, sorted(CODES), 1)
        hint = f"did you mean {near[0]}?" if near else "see docs/reference/reasons.md"
        raise ValueError(f"code {decision.reason_code!r} is unknown; {hint}")
    reason, checks = decision._reason, decision.given_checks
    if not reason.isascii():
        reason.encode()  # Half a surrogate pair, which no journal could hold, is an error here.
    if len(reason) > REASON_CHARS_MAX or len(checks) > CHECKS_MAX:
        raise ValueError(
            f"expected a reason of at most {REASON_CHARS_MAX} characters and {CHECKS_MAX} checks"
        )
    for made in checks:
        if isinstance(made, Comparison):
            name = words = made._name
        else:
            name, words = made.name, f"{made.name}{made.value}{made.threshold}"
            for part in (name, made.value, made.threshold):
                if not isinstance(part, str):
                    text = f"expected texts, found {part!r:.60}; compare() takes numbers"
                    raise ValueError(f"check {name!r:.60}: {text}")
            if made.passed is not None and type(made.passed) is not bool:
                found = f"expected True, False or None, found {made.passed!r}"
                raise ValueError(f"check {name!r}: passed: {found}")
            longest = max(len(made.value), len(made.threshold))
            if not 0 < len(name) <= NAME_CHARS_MAX or longest > VALUE_CHARS_MAX:
                raise ValueError(f"check {name!r}: a name of 1 to 100, values of 200 characters")
        if not words.isascii():
            words.encode()
        if ADDRESS in words:
            what = "holds an address, another in each process; name a number of it"
            raise ValueError(f"check {name!r} {what}")
    return decision
