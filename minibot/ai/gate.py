"""Gate: decides whether a snapshot may become active, on rows that training never saw.

The candidate must be at least as good as the reference (the model that would answer a night if it
never saw them either, else the baseline), no worse than a constant answer, and none itself. A
model's probabilities come from a sandboxed process that does not know the labels; everything here
is plain arithmetic on the trusted side. No answer, a wrong count or a broken number, of candidate
or reference, is a refusal: without proof a snapshot stays inactive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Final

from minibot.ai.probabilities import Probabilities
from minibot.ai.row_ring import Row
from minibot.ai.vector import SCALE

MODEL_WORSE: Final = "MODEL_WORSE"
MODEL_DAMAGED: Final = "MODEL_DAMAGED"
ROWS_TOO_FEW: Final = "ROWS_TOO_FEW"

HOLDOUT_ROWS_MIN: Final = 30
# Certainty is bounded, so that one certain but wrong answer costs much but not everything.
_PROBABILITY_MIN: Final = 1e-6
# Accuracy of three unbalanced classes jumps from row to row; logloss decides, this only guards.
_ACCURACY_LOSS_MAX: Final = 0.05


@dataclass(frozen=True, slots=True)
class Score:
    """Fit of probabilities to labels: mean negative log likelihood, and share of hits."""

    logloss: float
    accuracy: float

    def to_json(self) -> dict[str, int]:
        """Return the score in millionths."""
        return {
            "logloss_millionths": round(self.logloss * SCALE),
            "accuracy_millionths": round(self.accuracy * SCALE),
        }


@dataclass(frozen=True, slots=True)
class ModelVerdict:
    """Verdict of the gate, with its reasons and their scores."""

    passed: bool
    reasons: tuple[str, ...]
    rows: int
    scores: dict[str, Score]

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as a JSON object."""
        return {
            "schema": "minibot.model_gate",
            "v": 1,
            "passed": self.passed,
            "reasons": list(self.reasons),
            "rows": self.rows,
            "scores": {name: score.to_json() for name, score in sorted(self.scores.items())},
        }


def score(probabilities: Sequence[Probabilities], rows: Sequence[Row]) -> Score:
    """Return the score of (sell, hold, buy) probabilities against the rows' labels.

    Raises:
        ValueError: Not one answer per row, or one that does not add up to a million.
    """
    if len(probabilities) != len(rows) or not rows:
        raise ValueError(f"{len(probabilities)} answers for {len(rows)} rows")
    loss = 0.0
    hits = 0
    for three, row in zip(probabilities, rows, strict=True):
        if len(three) != 3 or sum(three) != SCALE or min(three) < 0:
            raise ValueError(f"no probabilities: {three!r}"[:200])
        loss -= log(max(_PROBABILITY_MIN, three[row.label] / SCALE))
        hits += three[row.label] == max(three)
    return Score(loss / len(rows), hits / len(rows))


def prior(train: Sequence[Row]) -> Probabilities:
    """Return the shares of the labels in the training rows, with one added to each (Laplace)."""
    counts = [1 + sum(row.label == label for row in train) for label in range(3)]
    sell = counts[0] * SCALE // sum(counts)
    buy = counts[2] * SCALE // sum(counts)
    return sell, SCALE - sell - buy, buy


def refused(code: str, why: str, rows: int = 0) -> ModelVerdict:
    """Return a refusal without scores."""
    return ModelVerdict(False, (f"{code}: {why}",), rows, {})


def judge_candidate(
    train: Sequence[Row],
    holdout: Sequence[Row],
    candidate: Sequence[Probabilities],
    reference: Sequence[Probabilities],
) -> ModelVerdict:
    """Return the verdict on a candidate.

    Args:
        train: Rows that it was trained on.
        holdout: Later rows, which it has not seen.
        candidate: Its probabilities for `holdout`.
        reference: Probabilities of the reference for `holdout`.
    """
    if len(holdout) < HOLDOUT_ROWS_MIN:
        return refused(ROWS_TOO_FEW, f"{len(holdout)} rows held out, {HOLDOUT_ROWS_MIN} needed")
    try:
        mine = score(candidate, holdout)
    except ValueError as error:
        return refused(MODEL_DAMAGED, str(error), len(holdout))
    try:
        others = score(reference, holdout)
    except ValueError as error:
        return refused(MODEL_DAMAGED, f"reference: {error}", len(holdout))
    scores = {
        "candidate": mine,
        "reference": others,
        "prior": score([prior(train)] * len(holdout), holdout),
    }
    reasons = [
        f"{MODEL_WORSE}: logloss {mine.logloss:.4f}, {name} has {other.logloss:.4f}"
        for name, other in scores.items()
        if name != "candidate" and mine.logloss > other.logloss
    ]
    if len(set(candidate)) == 1:
        # Its training found nothing in the features; it only guesses the labels' shares again.
        reasons.append(f"{MODEL_WORSE}: the same answer for every row")
    if mine.accuracy < others.accuracy - _ACCURACY_LOSS_MAX:
        reasons.append(
            f"{MODEL_WORSE}: accuracy {mine.accuracy:.3f}, reference has {others.accuracy:.3f}"
        )
    return ModelVerdict(not reasons, tuple(reasons), len(holdout), scores)
