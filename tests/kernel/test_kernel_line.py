"""Line format, and the chain over lines."""

from __future__ import annotations

import hashlib
import re
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibot.kernel.line import (
    CHAIN_START,
    LineError,
    chain_next,
    decode_line,
    encode_line,
    verified,
)
from tests.kernel.kernel_support import json_of, line_of

# The specification's rule, independent of the product, in five lines.
REFERENCE = re.compile(rb"sha256:([0-9a-f]{64}):(\{[^\r\n]*\})\n")


def reference_json(line: bytes) -> bytes | None:
    """Return the JSON of a valid line by the reference; None for an invalid one."""
    match = REFERENCE.fullmatch(line)
    if match and hashlib.sha256(match[2]).hexdigest().encode() == match[1]:
        return match[2]
    return None


@pytest.mark.row("N-39", "N-40")
@pytest.mark.parametrize("number", range(5))
def test_line_of_an_event_is_read_by_an_independent_reader(number: int) -> None:
    """A line is prefix, lowercase sha256 of the JSON bytes, the object and one newline."""
    json = json_of(number)

    assert reference_json(encode_line(json)) == json


def test_decode_line_returns_digest_and_json() -> None:
    """Decoding returns the JSON, with the digest that the chain needs."""
    json = json_of(1)

    assert decode_line(encode_line(json)) == (hashlib.sha256(json).digest(), json)


@pytest.mark.row("N-40", "F100")
def test_decode_line_with_any_bit_flipped_refuses() -> None:
    """A flipped bit anywhere in a line is refused."""
    line = line_of(3)
    for bit in range(8 * len(line)):
        hurt = bytearray(line)
        hurt[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LineError):
            decode_line(bytes(hurt))


@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 40))
def test_decode_line_of_damaged_bytes_agrees_with_the_reference(
    noise: bytes, at: int, cut: int
) -> None:
    """Both readers give the same verdict on any damaged line."""
    line = line_of(5)
    hurt = line[:at] + noise + line[at + cut :]
    try:
        json: bytes | None = decode_line(hurt)[1]
    except LineError:
        json = None

    assert json == reference_json(hurt)


def hashed(json: bytes) -> bytes:
    """Return a line with a right hash over any content."""
    return b"sha256:" + hashlib.sha256(json).hexdigest().encode() + b":" + json + b"\n"


LINES = list(map(line_of, range(3)))
WHOLE = b"".join(LINES)
PLACES = st.sampled_from([*accumulate(map(len, LINES))]) | st.integers(0, len(WHOLE))
PIECES = [b"\n", b"}\n", b"sha256:", line_of(9), *map(hashed, [b"", b"{", b"}", b"[]", b"{\r}"])]


@pytest.mark.slow
@pytest.mark.row("N-40")
@settings(max_examples=500)
@given(st.sampled_from(PIECES) | st.binary(max_size=90), PLACES, st.just(0) | st.integers(0, 90))
def test_lines_verified_in_one_are_those_that_are_right_one_by_one(
    noise: bytes, at: int, cut: int
) -> None:
    """Lines verified in a batch are the valid ones up to the first invalid one."""
    hurt = WHOLE[:at] + noise + WHOLE[at + cut :]
    end = hurt.rfind(b"\n") + 1
    lines = [line + b"\n" for line in hurt[:end].split(b"\n")[:-1]]
    jsons = list(map(reference_json, lines))

    found = verified(hurt, end)

    assert (found is None) == (None in jsons)
    if found is not None:
        digests = [decode_line(line)[0] for line in lines]
        assert found == (lines, jsons, digests)


@pytest.mark.parametrize("json", [b"", b"[]", b"{}\n", b'{"a":\n1}', b"{\r}", b"1", b"{", b" {}"])
def test_encode_line_of_what_is_no_object_on_one_line_refuses(json: bytes) -> None:
    """A line with a line break, or without an object, is refused."""
    with pytest.raises(LineError):
        encode_line(json)


def test_chain_over_lines_depends_on_each_and_on_their_order() -> None:
    """A line left out, doubled or swapped gives another chain."""
    digests = [decode_line(line_of(number))[0] for number in range(3)]

    def chain_of(order: list[int]) -> bytes:
        chain = CHAIN_START
        for index in order:
            chain = chain_next(chain, digests[index])
        return chain

    orders = [[0, 1, 2], [0, 2, 1], [0, 2], [0, 1, 1, 2], [0, 1], []]

    assert len({chain_of(order) for order in orders}) == len(orders)
    assert chain_of([0]) == hashlib.sha256(bytes(32) + digests[0]).digest()
