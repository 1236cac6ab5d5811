"""Tasks of trainer and scorer: rows to a model text, and rows with a model text to probabilities.

Training and scoring are two processes: the scorer sees only features, never a label, so that
neither model nor trainer can adapt its answer to the gate.
"""

from __future__ import annotations

from typing import Final

from minibot.ai.booster import LightGbm, NativeError
from minibot.ai.frames import Frame
from minibot.ai.model_text import ModelRefused, check_model_text, cut_behind_trees
from minibot.ai.probabilities import probabilities_of
from minibot.ai.vector import FEATURES

ROWS_MAX: Final = 200_000


class _Rows:
    """Rows received in chunks."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.labels: list[int] = []

    def add(self, frame: Frame) -> None:
        """Add one chunk; raises ValueError for anything but whole rows of integers."""
        rows, labels = frame["rows"], frame.get("labels", [])
        if len(self.rows) + len(rows) > ROWS_MAX:
            raise ValueError(f"more than {ROWS_MAX} rows")
        for row in rows:
            if len(row) != len(FEATURES) or not all(type(value) is int for value in row):
                raise ValueError("a row is not one integer per feature")
        if any(label not in (0, 1, 2) for label in labels):
            raise ValueError("a label is not 0, 1 or 2")
        self.rows += rows
        self.labels += labels


class Trainer:
    """Training of one small model on collected labelled rows."""

    def __init__(self, native: LightGbm | None) -> None:
        self._native = native
        self._data = _Rows()

    def take(self, frame: Frame) -> Frame | None:
        """Add a chunk of rows, or train on the rows received."""
        kind = frame["t"]
        if kind == "train_rows":
            self._data.add(frame)
            return None
        if kind != "train":
            raise ValueError(f"unknown frame {kind!r}")
        try:
            if self._native is None:
                raise NativeError("LightGBM does not load here")
            text = cut_behind_trees(
                self._native.train(
                    self._data.rows,
                    self._data.labels,
                    FEATURES,
                    rounds=frame["rounds"],
                    seed=frame["seed"],
                )
            )
            shape = check_model_text(text)
        except (NativeError, ModelRefused) as error:
            return {"t": "trained", "ok": False, "why": str(error)[:500], "text": ""}
        why = f"{shape.trees} trees, {shape.leaves} leaves"
        return {"t": "trained", "ok": True, "why": why, "text": text}


class Scorer:
    """Probabilities of one model for rows whose labels are hidden."""

    def __init__(self, native: LightGbm | None) -> None:
        self._native = native
        self._data = _Rows()

    def take(self, frame: Frame) -> Frame | None:
        """Add a chunk of rows, or score the rows received with a model text."""
        kind = frame["t"]
        if kind == "train_rows":
            self._data.add({"rows": frame["rows"]})
            return None
        if kind != "score":
            raise ValueError(f"unknown frame {kind!r}")
        try:
            if self._native is None:
                raise NativeError("LightGBM does not load here")
            check_model_text(frame["text"])
            booster = self._native.load(frame["text"])
            scored = [probabilities_of(*three) for three in booster.probabilities(self._data.rows)]
            booster.close()
        except (NativeError, ModelRefused, ValueError) as error:
            return {"t": "scored", "ok": False, "why": str(error)[:500], "probabilities": []}
        return {
            "t": "scored",
            "ok": True,
            "why": "",
            "probabilities": [list(three) for three in scored],
        }
