"""Kraken's numbers: a book accepts exactly what contracts allow in an event."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.exchanges.base import FrameInvalid, Snapshot, StreamedSnapshot
from minibot.exchanges.kraken.book import KrakenKeeper
from minibot.exchanges.kraken.messages import parse_frame
from minibot.exchanges.kraken.numbers import KEY_PLACES

BOOK = Path(__file__).resolve().parents[3] / "contracts" / "book.v1.schema.json"
CARRIED = re.compile(
    json.loads(BOOK.read_text("utf-8"))["$defs"]["decimal_positive_or_zero"]["pattern"], re.ASCII
)
ODD = (".5", "5.", "00.5", "+1", "-1", "-0.0", " 1", "1_0", "٣", "²", "1e3", "1\n", "9" * 21, "")
TEXTS = (
    st.decimals(0, 10**22, allow_nan=False, allow_infinity=False).map("{:f}".format)
    | st.text("0123456789.", max_size=45)
    | st.text("01.-+eE_ \n٣²", max_size=6)
    | st.sampled_from(ODD)
)


def is_taken(price: str, qty: str) -> bool:
    """Return whether a version 1 book stands after a snapshot of one level."""
    keeper = KrakenKeeper(10)
    try:
        keeper.on_snapshot(Snapshot(0, [], [[price, qty]], is_whole=True))
    except FrameInvalid:
        return False
    return True


def may_be_carried(text: str) -> bool:
    return CARRIED.match(text) is not None and "\n" not in text


@pytest.mark.parametrize("text", ODD)
def test_odd_form_of_a_level_is_refused(text: str) -> None:
    """A level in an odd form is a bad frame, instead of an event that stops the role."""
    assert not is_taken("1.0", text)
    assert not is_taken(text, "1.0")


@given(TEXTS)
def test_quantity_of_a_level_is_taken_as_far_as_an_event_carries_it(text: str) -> None:
    """A quantity is accepted exactly within the contracts' bounds."""
    assert is_taken("1.0", text) == may_be_carried(text)


@given(TEXTS)
def test_price_of_a_level_is_a_carried_decimal_above_zero(text: str) -> None:
    """A price is a decimal above zero within the places by which sides are sorted."""
    places = len(text.partition(".")[2].rstrip("0"))
    is_price = may_be_carried(text) and Decimal(text) > 0 and places <= KEY_PLACES

    assert is_taken(text, "1.0") == is_price


@given(
    st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=8).map("{:f}".format),
    st.sampled_from("eE"),
    st.sampled_from(["", "+", "-"]),
    st.integers(0, 120) | st.integers(0, 10**18),
)
def test_number_with_an_exponent_is_exact_or_refused(
    mantissa: str, letter: str, sign: str, exponent: int
) -> None:
    """A number with an exponent is exact or refused, a zero's too."""
    number = f"{mantissa}{letter}{sign}{exponent}"
    frame = (
        '{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[],"asks":'
        f'[{{"price":1.0,"qty":{number}}}],"checksum":1}}]}}'
    )
    try:
        found = parse_frame(frame.encode())
    except FrameInvalid:
        assert exponent > 99
        return

    assert isinstance(found, StreamedSnapshot)
    ((_, qty),) = found.snapshot.asks
    assert Decimal(qty) == Decimal(number)
    assert len(qty) < 150
