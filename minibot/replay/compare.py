"""The first differing event, field by field, and the core's state before it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any, Final

from minibot.engine.field_differences import NULL_IN_ONE, differing_fields
from minibot.engine.role_replay import Difference
from minibot.events.names import SIGNALS
from minibot.kernel import canonical
from minibot.replay.explain.checks import check_words, is_contradicted

CHECKS: Final = "payload.checks"
CHECK_FIELDS: Final = frozenset({"name", "value", "threshold", "passed"})

# Fields that identify an event in a line.
SHOWN_FIELDS: Final = ("type", "action", "reason_code", "side", "symbol")


def describe(difference: Difference) -> dict[str, Any]:
    """Return the place where replay and record diverge, for people (`lines`) and for programs.

    The recorded line may be of any shape: it has not been judged.
    """
    expected, _ = _object(difference.expected)
    found, fault = _object(difference.found)
    fields = {} if fault else differing_fields(expected, found)
    where = f"{difference.queue}:{difference.seq}"
    lines = [f"first difference: {where}, input {difference.n} of {difference.role}"]
    lines += [f"  caused by {difference.cause_id}"]
    if fault:
        lines += [f"  recorded, and its JSON is not canonical: {fault}"]
    elif difference.expected is None:
        lines += [f"  recorded, and not derived by this code: {_shown(found)}"]
    elif difference.found is None:
        lines += [f"  derived, and no line is left for it: {_shown(expected)}"]
    else:
        lines += [
            f"  {name}: replay {one!r}, recorded {two!r}" for name, (one, two) in fields.items()
        ] or [f"  {NULL_IN_ONE}"]
    why = false_verdicts(difference.queue, fields)
    lines += [f"  why: {sentence}" for sentence in why]
    return {
        "role": difference.role,
        "queue": difference.queue,
        "seq": difference.seq,
        "n": difference.n,
        "cause_id": difference.cause_id,
        "fields": {name: {"replay": one, "recorded": two} for name, (one, two) in fields.items()},
        "why": why,
        "state_before": difference.state,
        "lines": lines,
    }


def _shown(event: Mapping[str, Any]) -> str:
    """Return the fields that identify an event, in words."""
    payload = event.get("payload")
    decision = {"type": event.get("type"), **(payload if isinstance(payload, dict) else {})}
    return " ".join(str(decision[name]) for name in SHOWN_FIELDS if decision.get(name))


def false_verdicts(queue: str, fields: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """Return the checks of a recorded signal whose verdict differs from this code's.

    Until 2026-11-22 an own strategy wrote the verdict of a check itself, or had it set to passed.

    Args:
        queue: The queue of the event.
        fields: Its differing fields by path: replay's value and the record's.
    """
    checks = fields.get(CHECKS, ((), ()))
    if queue != SIGNALS or not all(map(_are_checks, checks)):
        return []
    lines = []
    none: dict[str, Any] = {}
    for one, two in zip_longest(*checks, fillvalue=none):
        if {**one, "passed": None} != {**two, "passed": None} or one.get("passed") is two.get(
            "passed"
        ):
            continue
        was = "ok" if two["passed"] else "FAIL"
        but = "its own numbers contradict" if is_contradicted(two) else "its numbers do not give"
        lines.append(
            f"the check {check_words(two)!r} is recorded as {was}, which {but}: the run's own "
            "strategy wrote that verdict, and minibot evaluates it since"
        )
    return lines


def _are_checks(rows: Any) -> bool:
    """Return whether an unjudged value has the shape of a list of checks."""
    return isinstance(rows, list) and all(
        isinstance(row, dict) and row.keys() >= CHECK_FIELDS for row in rows
    )


def _object(json: bytes | None) -> tuple[dict[str, Any], str]:
    """Return the object of a line, and why it cannot be read; one of the two is empty."""
    try:
        return ({} if json is None else canonical.decode(json)), ""
    except canonical.CanonicalError as error:
        return {}, str(error)
