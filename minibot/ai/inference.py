"""Inference inside the sandbox: feature windows in, recommendations out.

Without a model, and where LightGBM does not load, the baseline answers and is named as such. All
input is treated as untrusted; the clerk judges the output again.
"""

from __future__ import annotations

from typing import Final

from minibot.ai.baseline import BASELINE_ID, baseline_probabilities
from minibot.ai.booster import Booster, LightGbm, NativeError
from minibot.ai.frames import Frame
from minibot.ai.model_text import ModelRefused, check_model_text
from minibot.ai.probabilities import (
    Probabilities,
    millionths_text,
    probabilities_of,
    probability_text,
)
from minibot.ai.rows import Windows
from minibot.ai.vector import FEATURES, SCALE

TOP_FEATURES: Final = 3
_BASELINE_FEATURES: Final = ("return_15_bps", "taker_buy_share_20", "touch_imbalance")


class Inference:
    """State of the worker: windows of all symbols, and the loaded model."""

    def __init__(self, native: LightGbm | None) -> None:
        self._native = native
        self._windows = Windows([], "", "")
        self._horizon_ms = 0
        self._model: Booster | None = None
        self._model_id = BASELINE_ID

    def take(self, frame: Frame) -> Frame | None:
        """Apply one frame and return the answer, if there is one.

        Raises:
            ValueError, KeyError, TypeError: The frame is not one of the clerk's.
            NativeError: LightGBM fails at a question.
        """
        kind = frame["t"]
        if kind == "rows":
            for row in frame["rows"]:
                self._windows.take(row)
            return None
        if kind == "question":
            return self._answer(frame)
        if kind == "ping":
            return {"t": "pong", "n": frame["n"]}
        if kind == "model":
            return self._load(frame)
        if kind == "open":
            self._horizon_ms = frame["horizon_ms"]
            self._windows = Windows(
                frame["symbols"], frame["bar_interval"], frame["trend_interval"]
            )
            return None
        raise ValueError(f"unknown frame {kind!r}")

    def _load(self, frame: Frame) -> Frame:
        """Load a model text; without one, return to the baseline."""
        text = frame["text"]
        answer: Frame = {"t": "model", "id": frame["id"], "ok": True, "why": ""}
        if self._model is not None:
            self._model.close()
        self._model, self._model_id = None, BASELINE_ID
        if text is None:
            return answer
        try:
            if self._native is None:
                raise NativeError("LightGBM does not load here")
            check_model_text(text)
            self._model = self._native.load(text)
            self._model_id = frame["id"]
        except (ModelRefused, NativeError) as error:
            answer.update(ok=False, why=str(error)[:500])
        return answer

    def _answer(self, frame: Frame) -> Frame:
        window = self._windows.by_symbol.get(frame["symbol"])
        vector = None if window is None else window.vector()
        if vector is None:
            return {"t": "pass", "question": frame["question"], "why": "warmup"}
        if self._model is None:
            probabilities = baseline_probabilities(vector)
            top = [[name, _text_of(vector, name)] for name in _BASELINE_FEATURES]
        else:
            probabilities = probabilities_of(*self._model.probabilities([vector])[0])
            top = self._top_features(vector, probabilities)
        sell, hold, buy = probabilities
        return {
            "t": "draft",
            "type": "recommendation",
            "question": frame["question"],
            "payload": {
                "symbol": frame["symbol"],
                "model_id": self._model_id,
                "p_sell": probability_text(sell),
                "p_hold": probability_text(hold),
                "p_buy": probability_text(buy),
                "horizon_ms": self._horizon_ms,
                "baseline": self._model is None,
                "top_features": top,
            },
            "features": list(vector),
        }

    def _top_features(
        self, vector: tuple[int, ...], probabilities: Probabilities
    ) -> list[list[str]]:
        """Return the features that moved the likeliest class most, with their signed shares."""
        model = self._model
        if model is None:
            return []
        likeliest = probabilities.index(max(probabilities))
        shares = model.contributions(vector)[likeliest][: len(FEATURES)]
        order = sorted(range(len(FEATURES)), key=lambda at: (-abs(shares[at]), at))
        return [
            [FEATURES[at], millionths_text(round(shares[at] * SCALE))]
            for at in order[:TOP_FEATURES]
        ]


def _text_of(vector: tuple[int, ...], name: str) -> str:
    return millionths_text(vector[FEATURES.index(name)])
