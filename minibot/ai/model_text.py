"""Structural check of a model text, in plain Python, before any native parser sees it.

The only model format is LightGBM's text, cut after its trees: a header of fixed lines, then tree
blocks of fixed lines, then `end of trees`. Everything that carries code (pickle, joblib, torch)
fails at the first byte. Every count is checked against every list, every tree must be one tree
(each node and leaf reached exactly once, children after their parent), every number must be finite
and bounded, and the byte sizes that the native parser trusts must be the real ones.

Source:
    LightGBM 4, `src/boosting/gbdt_model_text.cpp`, `src/io/tree.cpp`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from minibot.ai.vector import FEATURES

TEXT_BYTES_MAX: Final = 4 << 20
TREES_MAX: Final = 1500
LEAVES_MAX: Final = 64
VALUE_MAX: Final = 1e12
LEAF_VALUE_MAX: Final = 1e3  # A score; exp of a larger one would not make a probability.
COUNT_MAX: Final = 10**12
END: Final = "end of trees\n"

_NUMBER: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?(e[+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER: Final = re.compile(r"-?[0-9]{1,15}", re.ASCII)
_CLASSES: Final = 3


class ModelRefused(Exception):
    """The text is not an acceptable model; the message names the line and the error."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Size of an accepted model."""

    trees: int
    leaves: int


def cut_behind_trees(text: str) -> str:
    """Return the text up to the end of its trees, without importances and parameters.

    Raises:
        ModelRefused: The text has no end of trees.
    """
    end = text.find("\n" + END)
    if end < 0:
        raise ModelRefused("no end of trees")
    return text[: end + 1 + len(END)]


def check_model_text(text: str) -> ModelShape:
    """Return the shape of a model that is safe to give to the native parser.

    Raises:
        ModelRefused: The text is anything else, or a model made for other features.
    """
    if len(text) > TEXT_BYTES_MAX:
        raise ModelRefused(f"longer than {TEXT_BYTES_MAX} bytes")
    if not text.isascii():
        raise ModelRefused("not ASCII")
    header, separator, rest = text.partition("\n\n")
    if not separator or not rest.endswith("\n" + END):
        raise ModelRefused("no end of trees" if separator else "no header")
    sizes = _check_header(header.split("\n"))
    body = rest[: -len(END)]
    leaves = sum(_check_tree(number, block) for number, block in enumerate(_blocks(body, sizes)))
    return ModelShape(len(sizes), leaves)


def _check_header(lines: list[str]) -> list[int]:
    """Check the header line by line and return the byte size of each tree."""
    fixed = [
        "tree",
        "version=v4",
        f"num_class={_CLASSES}",
        f"num_tree_per_iteration={_CLASSES}",
        "label_index=0",
        f"max_feature_idx={len(FEATURES) - 1}",
        f"objective=multiclass num_class:{_CLASSES}",
        "feature_names=" + " ".join(FEATURES),
    ]
    for expected, found in zip(fixed, lines, strict=False):
        if expected != found:
            raise ModelRefused(f"header: expected {expected!r}, found {found[:80]!r}")
    if len(lines) != len(fixed) + 2:
        raise ModelRefused(f"header: expected {len(fixed) + 2} lines, found {len(lines)}")
    _check_ranges(_value(lines[-2], "feature_infos").split(" "))
    sizes = _integers(_value(lines[-1], "tree_sizes"), None, 1, TEXT_BYTES_MAX)
    if not 0 < len(sizes) <= TREES_MAX or len(sizes) % _CLASSES:
        raise ModelRefused(f"header: {len(sizes)} trees")
    return sizes


def _check_ranges(infos: list[str]) -> None:
    if len(infos) != len(FEATURES):
        raise ModelRefused(f"feature_infos: expected {len(FEATURES)}, found {len(infos)}")
    for info in infos:
        if info == "none":
            continue
        low, separator, high = info[1:-1].partition(":")
        if info[:1] + info[-1:] != "[]" or not separator:
            raise ModelRefused(f"feature_infos: {info[:80]!r}")
        if _number(low, VALUE_MAX) > _number(high, VALUE_MAX):
            raise ModelRefused(f"feature_infos: {info!r} is upside down")


def _blocks(body: str, sizes: list[int]) -> Iterator[str]:
    """Yield the tree blocks by the declared sizes, which must add up to the whole body."""
    at = 0
    for size in sizes:
        yield body[at : at + size]
        at += size
    # Every block, also the last, ends with two empty lines.
    if at != len(body):
        raise ModelRefused(f"tree_sizes: declared {at} bytes, found {len(body)}")


def _check_tree(number: int, block: str) -> int:
    """Check one tree and return its number of leaves."""
    try:
        lines = _Lines(number, block)
        leaves = lines.integer("num_leaves", 1, LEAVES_MAX)
        lines.integer("num_cat", 0, 0)
        inner = leaves - 1
        lines.integers("split_feature", inner, 0, len(FEATURES) - 1)
        lines.numbers("split_gain", inner, VALUE_MAX)
        lines.numbers("threshold", inner, VALUE_MAX)
        for decision in lines.integers("decision_type", inner, 0, 11):
            if decision & 1:  # Bit 0 marks a categorical split, whose sets are not checked here.
                raise ModelRefused("decision_type: categorical")
        left = lines.integers("left_child", inner, -leaves, inner - 1)
        right = lines.integers("right_child", inner, -leaves, inner - 1)
        _check_shape(left, right, leaves)
        lines.numbers("leaf_value", leaves, LEAF_VALUE_MAX)
        lines.numbers("leaf_weight", leaves, VALUE_MAX)
        lines.integers("leaf_count", leaves, 0, COUNT_MAX)
        lines.numbers("internal_value", inner, VALUE_MAX)
        lines.numbers("internal_weight", inner, VALUE_MAX)
        lines.integers("internal_count", inner, 0, COUNT_MAX)
        lines.integer("is_linear", 0, 0)
        lines.numbers("shrinkage", 1, 1.0)
        lines.end()
    except ModelRefused as refused:
        raise ModelRefused(f"tree {number}: {refused}") from refused
    return leaves


def _check_shape(left: list[int], right: list[int], leaves: int) -> None:
    """Refuse anything but one tree: every leaf and every node but the root has one parent."""
    children: list[int] = []
    for parent, pair in enumerate(zip(left, right, strict=True)):
        for child in pair:
            if 0 <= child <= parent:
                raise ModelRefused(f"node {parent} points back to {child}")
            children.append(child)
    expected = [*range(-leaves, 0), *range(1, leaves - 1)] if leaves > 1 else []
    if sorted(children) != expected:
        raise ModelRefused("a node or leaf is missing or reached twice")


class _Lines:
    """The lines of one block, taken in their fixed order."""

    def __init__(self, number: int, block: str) -> None:
        if not block.endswith("\n\n\n"):
            raise ModelRefused("tree_sizes: the block does not end where it should")
        self._lines = iter(block[:-3].split("\n"))
        if next(self._lines) != f"Tree={number}":
            raise ModelRefused(f"expected Tree={number}")

    def _next(self, name: str) -> str:
        return _value(next(self._lines, ""), name)

    def integer(self, name: str, low: int, high: int) -> int:
        return self.integers(name, 1, low, high)[0]

    def integers(self, name: str, count: int, low: int, high: int) -> list[int]:
        value = self._next(name)
        try:
            return _integers(value, count, low, high)
        except ModelRefused as refused:
            raise ModelRefused(f"{name}: {refused}") from refused

    def numbers(self, name: str, count: int, bound: float) -> None:
        value = self._next(name)
        try:
            for text in _texts(value, count):
                _number(text, bound)
        except ModelRefused as refused:
            raise ModelRefused(f"{name}: {refused}") from refused

    def end(self) -> None:
        extra = next(self._lines, None)
        if extra is not None:
            raise ModelRefused(f"unexpected line {extra[:80]!r}")


def _value(line: str, name: str) -> str:
    key, separator, value = line.partition("=")
    if key != name or not separator:
        raise ModelRefused(f"expected {name}=, found {line[:80]!r}")
    return value


def _texts(value: str, count: int | None) -> list[str]:
    texts = value.split(" ") if value else []
    if count is not None and len(texts) != count:
        raise ModelRefused(f"expected {count} values, found {len(texts)}")
    return texts


def _integers(value: str, count: int | None, low: int, high: int) -> list[int]:
    numbers = []
    for text in _texts(value, count):
        if _INTEGER.fullmatch(text) is None or not low <= int(text) <= high:
            raise ModelRefused(f"expected an integer from {low} to {high}, found {text[:40]!r}")
        numbers.append(int(text))
    return numbers


def _number(text: str, bound: float) -> float:
    if _NUMBER.fullmatch(text) is None:
        raise ModelRefused(f"not a number: {text[:40]!r}")
    number = float(text)
    if not abs(number) <= bound:
        raise ModelRefused(f"{text} is beyond {bound:g}")
    return number
