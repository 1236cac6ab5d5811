"""Canonical JSON: one object, one sequence of bytes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel import canonical
from minibot.kernel.canonical import DEPTH_MAX, CanonicalError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LEAF = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT
VALUE = st.recursive(
    LEAF,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUE, max_size=6)


@pytest.mark.slow
@pytest.mark.row("N-40", "S-14")
@given(OBJECTS)
def test_encode_any_object_equals_the_standard_library(obj: dict[str, Any]) -> None:
    """Encoding equals the standard library's with sorted keys, no spaces and UTF-8."""
    text = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    assert canonical.encode(obj) == text.encode()


@pytest.mark.slow
@given(OBJECTS)
def test_decode_after_encode_returns_the_object(obj: dict[str, Any]) -> None:
    """Decoding after encoding returns the object unchanged."""
    assert canonical.decode(canonical.encode(obj)) == obj


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":1.5}',
        b'{"a":[1,{"b":1e3}]}',
        b'{"a":1.0}',
        b'{"a":NaN}',
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1} ',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\/"}',
        b'{"a":01}',
        b'{"a":-0}',
        b'{"a":"\xff"}',
        b'{"a":18446744073709551616}',
        b"[1]",
        b"1",
        b"",
        b'{"a":1',
        b'{"a":' * 17 + b"1" + b"}" * 17,
        b'{"a":' * 100_000,
    ],
)
def test_decode_of_bytes_that_are_not_canonical_refuses(data: bytes) -> None:
    """Other bytes for the same object are refused, as only `encode` writes accepted ones."""
    with pytest.raises(CanonicalError):
        canonical.decode(data)


class _Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        float("nan"),
        float("inf"),
        [{"b": 0.1}],
        datetime.datetime(2026, 1, 1),
        b"bytes",
        {1: "a"},
        {1, 2},
        2**64,
        "\ud800",
        _Text("a"),
        Path("a"),
    ],
)
def test_encode_of_a_value_without_canonical_form_refuses(value: object) -> None:
    """Floats and foreign types are refused at any depth."""
    with pytest.raises(CanonicalError):
        canonical.encode({"a": value})


@pytest.mark.parametrize(("levels", "is_taken"), [(DEPTH_MAX, True), (DEPTH_MAX + 1, False)])
def test_depth_around_its_limit_is_bounded_both_ways(levels: int, is_taken: bool) -> None:
    """Sixteen levels pass and seventeen do not, in writing and in reading."""
    obj: Any = 1
    for _ in range(levels):
        obj = {"a": obj}
    data = json.dumps(obj, separators=(",", ":")).encode()
    if is_taken:
        assert canonical.encode(obj) == data
        assert canonical.decode(data) == obj
        return
    with pytest.raises(CanonicalError):
        canonical.encode(obj)
    with pytest.raises(CanonicalError):
        canonical.decode(data)


@pytest.mark.row("S-14")
def test_codec_of_events_is_one_module(project: Path) -> None:
    """One module imports a JSON library for events in the rooms that write them.

    Contracts and roles are files for people, read once with the standard library.
    """
    importing = {
        f"{path.parent.name}/{path.name}"
        for room in ("kernel", "events")
        for path in sorted((project / "minibot" / room).glob("*.py"))
        for line in path.read_text().splitlines()
        if line.strip().startswith(("import json", "from json", "import orjson", "from orjson"))
    }
    of_contracts = {"events/registry.py", "events/schemas.py", "events/roles.py"}

    assert importing - of_contracts == {"kernel/canonical.py"}
