"""Verdict on a night for its reader: PASS, FAIL, STOPPED or NOT ENDED, and its causes.

Bytes and criteria are judged by `verify` and `accept`. Where `accept` has judged this very record,
its verdict is repeated here; a planned end that it has not judged is a PASS without a tone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from minibot.events.reasons import END_GROUP, REASONS
from minibot.report.acceptance import DRILL, FAIL, OPEN, PASS
from minibot.report.figures import clock, counted, listed, plain_text
from minibot.report.night import Night
from minibot.report.records import read_record
from minibot.report.run_kind import has_damaged_seal
from minibot.runtime.stop import END_KIND

STOPPED: Final = "STOPPED"
NOT_ENDED: Final = "NOT ENDED"
DETAIL_SHOWN: Final = 300


class NightVerdict(NamedTuple):
    """Verdict in one word, its cause in a sentence, and its meaning with what to do next."""

    word: str
    cause: str
    meaning: str = ""
    tone: str = "bad"


def verdict_of(night: Night) -> NightVerdict:
    """Return the verdict on a night; a STOP comes before all else, altered files before a PASS."""
    if not night.stops and has_damaged_seal(night.recorded.run_dir):
        return NightVerdict(FAIL, "its seal is damaged", f"Next: minibot verify {night.run_id}")
    verdict = _by_end(night)
    if not night.altered:
        return verdict
    named = listed(night.altered)
    remedy = f"Its figures may be wrong. Next: minibot verify {night.run_id}"
    if verdict.word in (PASS, NOT_ENDED):  # It has a seal, so its end is among what is gone.
        return NightVerdict(FAIL, f"not as it was sealed: {named}", remedy)
    return verdict._replace(meaning=f"Not as it was sealed: {named}. {remedy}. {verdict.meaning}")


def _by_end(night: Night) -> NightVerdict:
    """Return the verdict by the end of a night."""
    if night.stops:
        return _stopped(night)
    end = night.end
    if night.is_interrupted:
        return NightVerdict(
            FAIL,
            "interrupted: nothing ended it, as after a loss of power"
            if end is None
            else f"interrupted after its end by {end.reason_code}, before it was sealed",
            f"It was recovered by a later start. Next: minibot verify {night.run_id}",
        )
    if end is None or not night.seal:
        return NightVerdict(
            NOT_ENDED,
            "it has no end and no seal yet: it runs, or its processes are gone"
            if end is None
            else f"it has no seal yet after its end by {end.reason_code}",
            "Next: minibot status",
            "dim",
        )
    code = end.reason_code
    reason = REASONS.get(code)
    if end.kind != END_KIND or reason is None or reason.group != END_GROUP:
        return NightVerdict(FAIL, f"ended by {code}, which is no planned end")
    return _judged(night, f"ended by {code}: {reason.meaning}")


def _judged(night: Night, ended: str) -> NightVerdict:
    """Return PASS or FAIL of a night that ended as planned, by its acceptance if there is one."""
    acceptance = read_record(night.recorded.run_dir).acceptance
    if acceptance is None:
        return NightVerdict(PASS, ended, f"Judged as a night by: minibot accept {night.run_id}", "")
    failed = [item for item in acceptance["criteria"] if item["verdict"] == FAIL]
    # A real night has to be judged in full: one that is open in a criterion fails for that.
    short = failed or [item for item in acceptance["criteria"] if item["verdict"] == OPEN]
    text = listed(f"{item['name']}: {plain_text(item['found'], 80)}" for item in short)
    if acceptance["verdict"] == FAIL:
        number = counted(len(short), "criterion", "criteria")
        named = f"{number} of accept not {'met' if failed else 'judged'}: {text}"
        return NightVerdict(FAIL, named, f"Each in full: minibot accept {night.run_id}")
    tone = "good" if acceptance["verdict"] in (PASS, DRILL) else ""
    return NightVerdict(PASS, ended, f"accept: {acceptance['verdict']}", tone)


def _stopped(night: Night) -> NightVerdict:
    first_ts, first = night.stops[0]
    end = night.end
    at, stop = next((each for each in night.stops if each[1] is end), night.stops[0])
    behind = ""
    if first is not stop and first.reason_code != stop.reason_code:
        behind = f"; first {first.reason_code} by {first.component} at {clock(first_ts)}"
    cause = (
        f"{stop.reason_code}, raised by {stop.component} at {clock(at)} UTC{behind}: "
        f"{plain_text(stop.detail, DETAIL_SHOWN)}"
    )
    reason = REASONS.get(stop.reason_code)
    return NightVerdict(
        STOPPED, cause, "" if reason is None else f"{reason.meaning} {reason.remedy}"
    )
