"""LightGBM through its C interface: load a text model, predict, train; nothing else.

The Python package of LightGBM would bring scipy, pickle and a second copy of memory into the
sandbox; its C interface needs none of them. Used only in sandboxed processes: the native parser is
not trusted, so `model_text.check_model_text` comes first and the sandbox contains the rest. One
thread, `deterministic=true` and a fixed seed: the same rows give the same model text.

Source:
    LightGBM 4, `include/LightGBM/c_api.h`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from minibot.ai.vector import SCALE

CLASSES: Final = ("SELL", "HOLD", "BUY")
_FLOAT32: Final = 0
_FLOAT64: Final = 1
_ROW_MAJOR: Final = 1
_PREDICT_PROBABILITY: Final = 0
_PREDICT_CONTRIBUTION: Final = 3
_PREDICT_PARAMETERS: Final = b"num_threads=1 verbosity=-1 predict_disable_shape_check=false"


class NativeError(Exception):
    """LightGBM is missing, or refused its input."""


def _library_path() -> Path:
    """Return the native library inside the installed package, without importing the package."""
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or spec.origin is None:
        raise NativeError("the package lightgbm is not installed")
    name = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}.get(
        sys.platform, "lib_lightgbm.so"
    )
    for folder in ("lib", "bin"):
        path = Path(spec.origin).parent / folder / name
        if path.exists():
            return path
    raise NativeError(f"{name} is not in the package lightgbm")


class LightGbm:
    """The native library, loaded once.

    Raises:
        NativeError: It cannot be loaded; the message names the missing part, on Linux mostly
            `libgomp.so.1`.
    """

    def __init__(self) -> None:
        try:
            self._library: Any = ctypes.CDLL(str(_library_path()))
        except OSError as error:
            raise NativeError(str(error)) from error
        self._library.LGBM_GetLastError.restype = ctypes.c_char_p

    def check(self, result: int) -> None:
        """Raise NativeError with LightGBM's own message unless the call succeeded."""
        if result != 0:
            raise NativeError(self._library.LGBM_GetLastError().decode("utf-8", "replace"))

    def call(self, name: str, *arguments: Any) -> None:
        """Call one function of the C interface; raises NativeError when it fails."""
        self.check(getattr(self._library, name)(*arguments))

    def load(self, text: str) -> Booster:
        """Return the model of a text that has passed the structural check."""
        handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        self.call(
            "LGBM_BoosterLoadModelFromString",
            text.encode(),
            ctypes.byref(iterations),
            ctypes.byref(handle),
        )
        return Booster(self, handle)

    def train(
        self,
        rows: Sequence[Sequence[int]],
        labels: Sequence[int],
        feature_names: Sequence[str],
        *,
        rounds: int,
        seed: int,
    ) -> str:
        """Return the text of a model trained on rows in millionths with labels 0, 1, 2.

        Raises:
            NativeError: LightGBM refuses the data.
        """
        dataset = self._dataset(rows, labels, feature_names)
        handle = ctypes.c_void_p()
        try:
            self.call(
                "LGBM_BoosterCreate", dataset, _training_parameters(seed), ctypes.byref(handle)
            )
            booster = Booster(self, handle)
            finished = ctypes.c_int()
            for _ in range(rounds):
                self.call("LGBM_BoosterUpdateOneIter", handle, ctypes.byref(finished))
                if finished.value:
                    break
            text = booster.text()
            booster.close()
            return text
        finally:
            self.call("LGBM_DatasetFree", dataset)

    def _dataset(
        self, rows: Sequence[Sequence[int]], labels: Sequence[int], names: Sequence[str]
    ) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.call(
            "LGBM_DatasetCreateFromMat",
            _matrix(rows, len(names)),
            _FLOAT64,
            ctypes.c_int32(len(rows)),
            ctypes.c_int32(len(names)),
            _ROW_MAJOR,
            _training_parameters(0),
            None,
            ctypes.byref(handle),
        )
        target = (ctypes.c_float * len(labels))(*labels)
        self.call("LGBM_DatasetSetField", handle, b"label", target, len(labels), _FLOAT32)
        texts = (ctypes.c_char_p * len(names))(*(name.encode() for name in names))
        self.call("LGBM_DatasetSetFeatureNames", handle, texts, len(names))
        return handle


class Booster:
    """A loaded model with three classes."""

    def __init__(self, native: LightGbm, handle: ctypes.c_void_p) -> None:
        self._native = native
        self._handle = handle

    def probabilities(self, rows: Sequence[Sequence[int]]) -> list[tuple[float, float, float]]:
        """Return (sell, hold, buy) of each row in millionths of its features."""
        flat = self._predict(rows, _PREDICT_PROBABILITY, len(CLASSES))
        return [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat), 3)]

    def contributions(self, row: Sequence[int]) -> list[list[float]]:
        """Return, for each class, each feature's contribution to the score, and last its base."""
        width = len(row) + 1
        flat = self._predict([row], _PREDICT_CONTRIBUTION, width * len(CLASSES))
        return [flat[at : at + width] for at in range(0, len(flat), width)]

    def _predict(self, rows: Sequence[Sequence[int]], kind: int, width: int) -> list[float]:
        columns = len(rows[0])
        result = (ctypes.c_double * (len(rows) * width))()
        written = ctypes.c_int64()
        self._native.call(
            "LGBM_BoosterPredictForMat",
            self._handle,
            _matrix(rows, columns),
            _FLOAT64,
            ctypes.c_int32(len(rows)),
            ctypes.c_int32(columns),
            _ROW_MAJOR,
            kind,
            0,
            -1,
            _PREDICT_PARAMETERS,
            ctypes.byref(written),
            result,
        )
        if written.value != len(rows) * width:
            raise NativeError(f"expected {len(rows) * width} values, found {written.value}")
        return list(result)

    def text(self) -> str:
        """Return the model as text."""
        size = ctypes.c_int64()
        buffer = ctypes.create_string_buffer(1)
        for _ in range(2):  # The first call returns the length of the text.
            self._native.call(
                "LGBM_BoosterSaveModelToString",
                self._handle,
                0,
                -1,
                0,
                ctypes.c_int64(len(buffer)),
                ctypes.byref(size),
                buffer,
            )
            if size.value <= len(buffer):
                break
            buffer = ctypes.create_string_buffer(size.value)
        return buffer.value.decode()

    def close(self) -> None:
        """Free the native model; the booster is not usable afterwards."""
        self._native.call("LGBM_BoosterFree", self._handle)


def _matrix(rows: Sequence[Sequence[int]], columns: int) -> ctypes.Array[ctypes.c_double]:
    flat = [value / SCALE for row in rows for value in row]
    if len(flat) != len(rows) * columns:
        raise NativeError(f"expected rows of {columns} values")
    return (ctypes.c_double * len(flat))(*flat)


def _training_parameters(seed: int) -> bytes:
    """Return the parameters: a small model, exactly reproducible.

    Few leaves, many rows per leaf and strong shrinkage, because a night has tens of thousands of
    rows that are far from independent.
    """
    parameters = {
        "objective": "multiclass",
        "num_class": len(CLASSES),
        "num_threads": 1,
        "deterministic": "true",
        "force_row_wise": "true",
        "seed": seed,
        "learning_rate": "0.05",
        "num_leaves": 7,
        "min_data_in_leaf": 20,
        "max_bin": 63,
        "lambda_l2": 5,
        "verbosity": -1,
    }
    return " ".join(f"{name}={value}" for name, value in parameters.items()).encode()
