"""Control messages, weights and bans of the simulator, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.simulator.server.control import STREAMS_MAX, Subscriptions, answer
from minibot.simulator.server.limits import BAN_MS_MIN, IGNORED_MAX, RateWindow, RequestLimits


def reply(held: Subscriptions, **message: object) -> dict[str, Any]:
    return answer(held, json.dumps(message))


def test_subscribe_list_and_unsubscribe_keep_the_order() -> None:
    """One message carries many streams; its reply has a null result and the same id."""
    held = Subscriptions(is_combined=False)
    names = ["btcusdt@aggTrade", "btcusdt@depth@100ms", "!miniTicker@arr"]

    assert reply(held, method="SUBSCRIBE", params=names, id=1) == {"result": None, "id": 1}
    assert reply(held, method="LIST_SUBSCRIPTIONS", id=3) == {"result": names, "id": 3}
    assert reply(held, method="UNSUBSCRIBE", params=names[:1], id="x") == {
        "result": None,
        "id": "x",
    }
    assert reply(held, method="LIST_SUBSCRIPTIONS", id=None)["result"] == names[1:]


def test_property_combined_is_read_and_set() -> None:
    """`combined` is the only property, read and set."""
    held = Subscriptions(is_combined=False)

    assert reply(held, method="GET_PROPERTY", params=["combined"], id=2)["result"] is False
    assert reply(held, method="SET_PROPERTY", params=["combined", True], id=5)["result"] is None
    assert held.is_combined
    assert reply(held, method="GET_PROPERTY", params=["combined"], id=2)["result"] is True


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ('{"method":"SUBSCRIBE"', 3, "Invalid JSON"),
        ("[]", 2, "Invalid request"),
        ('{"id":1}', 2, "missing field `method`"),
        ('{"method":"DANCE","id":1}', 2, "unknown variant"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":1.5}', 2, "request ID"),
        ('{"method":"LIST_SUBSCRIPTIONS","id":true}', 2, "request ID"),
        ('{"method":"SUBSCRIBE","params":"x@trade","id":1}', 2, "params"),
        ('{"method":"SUBSCRIBE","params":["no stream"],"id":1}', 2, "invalid stream"),
        ('{"method":"SUBSCRIBE","params":[7],"id":1}', 2, "invalid stream"),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":1}', 0, "Unknown property"),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', 2, "property name"),
        ('{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}', 1, "Boolean"),
        ('{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}', 2, "too many"),
    ],
)
def test_wrong_message_is_answered_with_its_error_and_changes_nothing(
    text: str, code: int, word: str
) -> None:
    """A wrong message gets its error, flat or nested, with its id, and changes nothing."""
    held = Subscriptions(is_combined=True, streams={"btcusdt@trade": None})

    body = answer(held, text)
    error = body.get("error", body)

    assert error["code"] == code
    assert word in error["msg"]
    assert "id" in body
    assert list(held.streams) == ["btcusdt@trade"]
    assert held.is_combined


def test_stream_beyond_the_limit_is_refused_whole() -> None:
    """1,024 streams fit on a connection; the message beyond them is refused whole."""
    held = Subscriptions(is_combined=True)
    names = [f"coin{number}@trade" for number in range(STREAMS_MAX)]

    assert reply(held, method="SUBSCRIBE", params=names, id=1)["result"] is None
    assert reply(held, method="SUBSCRIBE", params=names[:3], id=2)["result"] is None
    assert "error" in reply(held, method="SUBSCRIBE", params=["one@trade", "more@trade"], id=3)
    assert len(held.streams) == STREAMS_MAX


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_get_a_reply(text: bytes) -> None:
    """Any bytes get a reply without an exception."""
    held = Subscriptions(is_combined=True)

    body = answer(held, text)

    assert {"result", "code", "error"} & body.keys()


def test_weight_over_the_limit_is_429_until_the_minute_ends() -> None:
    """A request over the limit gets 429, and so do all until Retry-After has passed."""
    limits = RequestLimits(weight_max=100)

    assert limits.charge(100, 15_000, 0) is None
    denial = limits.charge(1, 20_000, 0)
    assert denial is not None
    assert (denial.status, denial.retry_after_s) == (429, 40)
    assert denial.body["code"] == -1003
    assert "100 request weight per 1 MINUTE" in denial.body["msg"]
    assert limits.charge(1, 59_999, 0) is not None
    assert limits.charge(1, 60_000, 0) is None
    assert limits.used == 1


def test_carrying_on_after_429_is_banned_and_longer_each_time() -> None:
    """Requests after 429 cause a 418 ban, which doubles each time."""
    limits = RequestLimits(weight_max=1)
    now_ms = 1_700_000_000_000
    limits.charge(2, 0, now_ms)
    for _ in range(IGNORED_MAX):
        denial = limits.charge(1, 1_000, now_ms)
        assert denial is not None
        assert denial.status == 429

    banned = limits.charge(1, 1_000, now_ms)
    assert banned is not None
    assert (banned.status, banned.retry_after_s) == (418, BAN_MS_MIN // 1000)
    assert f"IP banned until {now_ms + BAN_MS_MIN}." in banned.body["msg"]
    end_ms = 1_000 + BAN_MS_MIN
    still = limits.charge(1, end_ms - 1, now_ms)
    assert still is not None
    assert still.status == 418
    assert limits.charge(1, end_ms, now_ms) is None

    limits.charge(1, end_ms, now_ms)
    denials = [limits.charge(1, end_ms + 1, now_ms) for _ in range(IGNORED_MAX + 1)]
    assert denials[-1] is not None
    assert denials[-1].retry_after_s == 2 * BAN_MS_MIN // 1000


def test_rate_window_slides() -> None:
    """Five messages in any second pass, the sixth does not."""
    window = RateWindow(5, 1000)

    assert all(window.add(ms) for ms in (0, 100, 200, 300, 400))
    assert not window.add(999)
    assert not window.add(1_000)
    assert window.add(2_001)
