"""Drafts of the worker: judged to be an answer to an open question, or rejected.

The clerk asks; the worker answers with a draft or passes. A draft counts only if every field is
allowed by the contract, the question is open, symbol, model and horizon are those of the question,
and the three probabilities add up to one. Anything that looks like an event of another type, source
or queue is not a mistake but a breach.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from minibot.ai.frames import Frame, FrameError, decode_frame
from minibot.ai.probabilities import parse_probability
from minibot.ai.vector import FEATURES, SCALE
from minibot.events.model import PAYLOAD_CLASSES, Recommendation
from minibot.events.names import AI_ROLE

_DRAFT_KEYS: Final = frozenset({"t", "type", "question", "payload", "features"})
_PAYLOAD_KEYS: Final = frozenset(
    {
        "symbol",
        "model_id",
        "p_buy",
        "p_hold",
        "p_sell",
        "horizon_ms",
        "baseline",
        "top_features",
    }
)
_TOP_FEATURES_MAX: Final = 5
_VALUE: Final = re.compile(r"-?[0-9]{1,13}\.[0-9]{6}", re.ASCII)
_FEATURE_MAX: Final = 10**15
_FORBIDDEN_TYPES: Final = frozenset(PAYLOAD_CLASSES) - {Recommendation.TYPE}


class DraftInvalid(Exception):
    """The line is malformed; it is set aside and counted against the worker."""


class DraftForbidden(Exception):
    """The line claims to be something that the AI may never send: a breach of its isolation."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question to the worker.

    Args:
        number: Counts from 1 in a process of the clerk.
        symbol: Symbol of the question.
        tick_seq: The last `market_ticks` line that the worker has been sent.
        cause_id: Event that made the clerk ask.
        signal_id: Signal whose window is wanted; empty for a recommendation to publish.
    """

    number: int
    symbol: str
    tick_seq: int
    cause_id: str
    signal_id: str = ""

    def frame(self) -> Frame:
        """Return the frame of the question."""
        return {"t": "question", "question": self.number, "symbol": self.symbol}


@dataclass(frozen=True, slots=True)
class Answer:
    """An accepted answer; without a recommendation, the worker passed."""

    question: Question
    recommendation: Recommendation | None
    features: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """Expected values of an answer: the loaded model and the horizon of the profile."""

    model_ids: frozenset[str]
    baseline_id: str
    horizon_ms: int


def judge(line: bytes, questions: Mapping[int, Question], expected: Expected) -> Answer | Frame:
    """Return the accepted answer of a line, or its frame if it is a message of another kind.

    Raises:
        DraftForbidden: The line claims a type, source, schema or queue that the AI may not use.
        DraftInvalid: The line is wrong in any other way.
    """
    try:
        frame = decode_frame(line)
    except FrameError as error:
        _refuse_claims(line)
        raise DraftInvalid(str(error)[:300]) from error
    _refuse_forbidden(frame)
    kind = frame["t"]
    if kind == "draft":
        return _draft(frame, questions, expected)
    if kind == "pass":
        return Answer(_question(frame, questions), None)
    if kind in ("pong", "model", "hello"):
        return frame
    raise DraftInvalid(f"unknown frame {kind[:40]!r}")


def _refuse_forbidden(frame: Frame) -> None:
    """Raise for a frame that claims a type, schema, source or queue that the AI may not use.

    Those of its payload count as well. Its `t` counts as a type; one in the payload does not.
    """
    payload = frame.get("payload")
    for level in (frame, payload if isinstance(payload, dict) else {}):
        claimed = level.get("type")
        schema = str(level.get("schema", "")).removeprefix("minibot.")
        for name in (claimed, schema, frame["t"]):
            if isinstance(name, str) and (name in _FORBIDDEN_TYPES or name.startswith("order_")):
                raise DraftForbidden(f"a draft of type {name!r}")
        source = level.get("source", AI_ROLE)
        if source != AI_ROLE:
            raise DraftForbidden(f"a draft of source {str(source)[:40]!r}")
        queue = level.get("queue", "recommendations")
        if queue != "recommendations":
            raise DraftForbidden(f"a draft for queue {str(queue)[:40]!r}")


_CLAIM: Final = re.compile(rb'"(?:type|schema)"\s*:\s*"(?:minibot\.)?([a-z_]{1,40})"')


def _refuse_claims(line: bytes) -> None:
    """Raise for bytes that are no frame but name a forbidden type: broken JSON is not an excuse."""
    for match in _CLAIM.finditer(line):
        name = match.group(1).decode()
        if name in _FORBIDDEN_TYPES or name.startswith("order_"):
            raise DraftForbidden(f"a draft of type {name!r}")


def _question(frame: Frame, questions: Mapping[int, Question]) -> Question:
    number = frame.get("question")
    question = questions.get(number) if type(number) is int else None
    if question is None:
        raise DraftInvalid(f"answers question {str(number)[:20]}, which is not open")
    return question


def _draft(frame: Frame, questions: Mapping[int, Question], expected: Expected) -> Answer:
    if frame.get("type") != Recommendation.TYPE or set(frame) != _DRAFT_KEYS:
        raise DraftInvalid(f"fields {sorted(map(str, frame))!r}"[:300])
    question = _question(frame, questions)
    payload = frame["payload"]
    if not isinstance(payload, dict) or set(payload) != _PAYLOAD_KEYS:
        raise DraftInvalid("the payload has other fields than a recommendation")
    _check_agreement(payload, question, expected)
    try:
        total = sum(parse_probability(payload[name]) for name in ("p_buy", "p_hold", "p_sell"))
    except ValueError as error:
        raise DraftInvalid(str(error)) from error
    if total != SCALE:
        raise DraftInvalid(f"probabilities add up to {total} millionths")
    top = _top_features(payload["top_features"])
    return Answer(question, _recommendation(payload, top), _features(frame["features"]))


def _check_agreement(payload: Mapping[str, Any], question: Question, expected: Expected) -> None:
    wanted = {"symbol": question.symbol, "horizon_ms": expected.horizon_ms}
    for name, value in wanted.items():
        if payload[name] != value or type(payload[name]) is not type(value):
            raise DraftInvalid(f"{name}: expected {value!r}, found {str(payload[name])[:40]!r}")
    model_id = payload["model_id"]
    if not isinstance(model_id, str) or model_id not in expected.model_ids:
        raise DraftInvalid(f"model_id: {str(model_id)[:60]!r} is not loaded")
    if payload["baseline"] is not (model_id == expected.baseline_id):
        raise DraftInvalid("baseline does not fit model_id")


def _top_features(listed: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(listed, list) or len(listed) > _TOP_FEATURES_MAX:
        raise DraftInvalid("top_features is no short list")
    pairs = []
    for item in listed:
        if not (isinstance(item, list) and len(item) == 2 and item[0] in FEATURES):
            raise DraftInvalid("top_features names no feature")
        if not isinstance(item[1], str) or _VALUE.fullmatch(item[1]) is None:
            raise DraftInvalid("top_features holds no decimal")
        pairs.append((item[0], item[1]))
    return tuple(pairs)


def _features(listed: object) -> tuple[int, ...]:
    if not isinstance(listed, list) or len(listed) != len(FEATURES):
        raise DraftInvalid("features: not one value per feature")
    if not all(type(value) is int and abs(value) <= _FEATURE_MAX for value in listed):
        raise DraftInvalid("features: a value is not a bounded integer")
    return tuple(listed)


def _recommendation(payload: Mapping[str, Any], top: tuple[tuple[str, str], ...]) -> Recommendation:
    return Recommendation(
        symbol=payload["symbol"],
        model_id=payload["model_id"],
        p_buy=payload["p_buy"],
        p_hold=payload["p_hold"],
        p_sell=payload["p_sell"],
        horizon_ms=payload["horizon_ms"],
        baseline=payload["baseline"],
        top_features=top,
    )
