"""Drafts of the AI's worker, judged like a stranger's: only an exact one becomes an event."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.ai.drafts import Answer, DraftForbidden, DraftInvalid, Expected, Question, judge
from minibot.ai.probabilities import parse_probability, probabilities_of, probability_text
from minibot.ai.vector import FEATURES, SCALE
from minibot.events.model import PAYLOAD_CLASSES
from minibot.kernel import canonical

QUESTION = Question(7, "BTCUSDT", 41, "cause")
ASKS = {7: QUESTION}
EXPECTED = Expected(frozenset({"baseline-v1", "lgbm-0123456789abcdef"}), "baseline-v1", 60_000)


def draft(**changed: Any) -> dict[str, Any]:
    """Return a valid draft, with changes to the frame or its payload."""
    payload = {
        "symbol": "BTCUSDT",
        "model_id": "baseline-v1",
        "p_buy": "0.250000",
        "p_hold": "0.500000",
        "p_sell": "0.250000",
        "horizon_ms": 60_000,
        "baseline": True,
        "top_features": [["rsi_14", "55.100000"]],
    }
    frame: dict[str, Any] = {"t": "draft", "type": "recommendation", "question": 7}
    frame["payload"] = {key: changed.pop(key, value) for key, value in payload.items()}
    frame["features"] = [0] * len(FEATURES)
    frame.update(changed)
    return frame


def judged(frame: dict[str, Any]) -> Any:
    """Return the verdict on a frame."""
    return judge(canonical.encode(frame), ASKS, EXPECTED)


def test_draft_that_is_right_becomes_a_recommendation() -> None:
    """A valid draft becomes a recommendation with unchanged fields and its question."""
    answer = judged(draft())
    assert isinstance(answer, Answer)
    assert answer.question is QUESTION
    assert answer.recommendation is not None
    assert answer.recommendation.p_hold == "0.500000"
    assert answer.recommendation.baseline is True


@pytest.mark.row("N-101", "N-03")
@pytest.mark.parametrize("type_", [*sorted(set(PAYLOAD_CLASSES) - {"recommendation"}), "order_x"])
@pytest.mark.parametrize("place", ["type", "t", "schema", "payload"])
def test_draft_of_a_forbidden_type_is_a_breach_wherever_it_says_so(type_: str, place: str) -> None:
    """A draft of an order, a fill or a risk action is a breach, wherever the type stands."""
    frame = draft()
    if place == "payload":
        frame["payload"]["type"] = type_
    else:
        frame[place] = f"minibot.{type_}" if place == "schema" else type_
    with pytest.raises(DraftForbidden):
        judged(frame)


@pytest.mark.parametrize(
    "claim",
    [
        {"source": "risk_role"},
        {"queue": "order_intents"},
        {"payload": {"source": "execution_role"}},
    ],
)
def test_draft_of_a_foreign_source_or_queue_is_a_breach(claim: dict[str, Any]) -> None:
    """A draft that claims another role or another queue is a breach."""
    with pytest.raises(DraftForbidden):
        judged(draft(**claim))


@pytest.mark.row("N-101")
@pytest.mark.parametrize(
    "line",
    [
        b'{"t":"draft", "type": "order_intent", "x": 1.5',
        b'{"schema":"minibot.order_result","t":',
        b'{"t":"draft","type":"order_of_a_new_kind",}',
        b'\xff{"type" : "fill"}',
    ],
)
def test_broken_json_that_names_an_order_is_a_breach_all_the_same(line: bytes) -> None:
    """Broken JSON that names an order is a breach too."""
    with pytest.raises(DraftForbidden):
        judge(line, ASKS, EXPECTED)


@pytest.mark.parametrize(
    "changed",
    [
        {"question": 8},
        {"question": "7"},
        {"question": True},
        {"question": None},
        {"type": "advice"},
        {"extra": 1},
        {"symbol": "ETHUSDT"},
        {"model_id": "lgbm-ffffffffffffffff"},
        {"model_id": "lgbm-0123456789abcdef"},
        {"baseline": False},
        {"baseline": 1},
        {"horizon_ms": 60_001},
        {"horizon_ms": True},
        {"p_buy": "0.250001"},
        {"p_buy": "0.249999"},
        {"p_buy": "0.25"},
        {"p_buy": "NaN"},
        {"p_buy": "-0.250000"},
        {"p_buy": "1.250000"},
        {"p_buy": 1},
        {"p_buy": None},
        {"p_hold": "0.500000\n"},
        {"top_features": [["unknown", "1.000000"]]},
        {"top_features": [["rsi_14", "1e99"]]},
        {"top_features": [["rsi_14", "1.000000"]] * 6},
        {"top_features": {"rsi_14": "1.000000"}},
        {"features": [0]},
        {"features": ["0"] * len(FEATURES)},
        {"features": [10**16] * len(FEATURES)},
        {"features": [-(10**16)] * len(FEATURES)},
        {"features": [True] * len(FEATURES)},
    ],
)
def test_draft_with_one_wrong_field_is_invalid(changed: dict[str, Any]) -> None:
    """One wrong field makes the whole draft invalid."""
    with pytest.raises(DraftInvalid):
        judged(draft(**changed))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"garbage",
        b"\x00\xff",
        b"[]",
        b"{}",
        b'{"t":1}',
        b'{"t":"draft"}',
        b'{"payload":{"p_buy":NaN},"question":7,"t":"draft","type":"recommendation"}',
        b'{"payload":{"p_buy":0.5},"question":7,"t":"draft","type":"recommendation"}',
        b'{"t":"draft","t":"draft"}',
        b"[" * 5000,
        b'{"t":"' + b"x" * 10_000 + b'"}',
    ],
)
def test_line_that_is_no_frame_is_invalid(line: bytes) -> None:
    """A line that is no frame is invalid: garbage, NaN, floats, duplicate keys, deep nesting."""
    with pytest.raises(DraftInvalid):
        judge(line, ASKS, EXPECTED)


@settings(max_examples=400, deadline=None)
@given(line=st.binary(max_size=400))
def test_any_bytes_are_judged_without_another_error(line: bytes) -> None:
    """Whatever comes through the pipe is invalid, a breach, or an answer."""
    try:
        said = judge(line, ASKS, EXPECTED)
    except (DraftInvalid, DraftForbidden):
        return

    assert isinstance(said, Answer | dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    key=st.sampled_from(sorted({*draft(), *draft()["payload"]})),
    value=json_values,
    in_payload=st.booleans(),
)
def test_draft_with_any_value_anywhere_never_passes_wrongly(
    key: str, value: Any, in_payload: bool
) -> None:
    """A draft with a changed field is refused unless the value is the same."""
    frame = draft()
    target = frame["payload"] if in_payload else frame
    was = target.get(key, object())
    target[key] = value
    try:
        answer = judged(frame)
    except (DraftInvalid, DraftForbidden):
        return
    if isinstance(answer, Answer) and answer.recommendation is not None:
        assert value == was or key in ("features", "top_features")


@given(shares=st.tuples(st.floats(0, 1, allow_nan=False), st.floats(0, 1, allow_nan=False)))
def test_probabilities_always_add_up_exactly(shares: tuple[float, float]) -> None:
    """Probabilities of six places add up to exactly one million for any floats."""
    sell = shares[0]
    buy = (1.0 - sell) * shares[1]
    three = probabilities_of(sell, 1.0 - sell - buy, buy)
    assert sum(three) == SCALE
    assert min(three) >= 0
    assert [parse_probability(probability_text(value)) for value in three] == list(three)


@pytest.mark.parametrize("bad", [(float("nan"), 0.5, 0.5), (0.9, 0.9, 0.9), (-0.1, 0.6, 0.5)])
def test_probabilities_that_are_none_are_refused(bad: tuple[float, float, float]) -> None:
    """NaN, sums over one and negative probabilities are refused, not rounded."""
    with pytest.raises(ValueError, match="probabilities"):
        probabilities_of(*bad)
