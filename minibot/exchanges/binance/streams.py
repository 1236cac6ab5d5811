"""Binance's combined streams: addresses, connections, and control messages on them.

Source of the control messages: web-socket-streams.md, "Live Subscribing/Unsubscribing to streams";
errors are documented in a flat shape and seen in a nested one, so both are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson

from minibot.exchanges.venue_facts import Reply

if TYPE_CHECKING:
    from minibot.exchanges.websocket_stream import WebSocketStream

# Observed bound of the venue's front for one URL.
URL_CHARS_MAX: Final = 8000
HOST_CHARS_MAX: Final = 150


def named_in_address(groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the first groups of streams that fit into one address; others are subscribed later.

    Room for a host and its path is left free.
    """
    left = URL_CHARS_MAX - HOST_CHARS_MAX
    named: list[str] = []
    for name, streams in groups.items():
        left -= sum(len(stream) + 1 for stream in streams)
        if left < 0:
            break
        named.append(name)
    return tuple(named)


def combined_url(base_url: str, streams: Sequence[str]) -> str:
    """Return the address of a combined stream that names the given streams.

    Raises:
        ValueError: Not a WebSocket address, or more streams than one address can name.
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.username:
        raise ValueError(f"stream address {base_url!r}: expected ws(s)://host[:port]")
    url = f"{parts.scheme}://{parts.netloc}/stream?streams={'/'.join(streams)}"
    if len(url) > URL_CHARS_MAX:
        raise ValueError(f"{len(streams)} streams: too many for one address")
    return url


def new_stream(
    base_url: str,
    streams: Sequence[str],
    *,
    connect_timeout_s: float,
    machine_ns: Callable[[], int] = time.perf_counter_ns,
) -> WebSocketStream:
    """Return a combined stream that is not connected yet; see `exchanges.base.NewStream`."""
    # Loaded where a connection is made, as is HTTP for requests.
    from minibot.exchanges.websocket_stream import WebSocketStream

    url = combined_url(base_url, streams)
    return WebSocketStream(url, connect_timeout_s=connect_timeout_s, machine_ns=machine_ns)


def control_message(method: str, streams: Sequence[str], identity: int) -> str:
    """Return the text of a control message."""
    return orjson.dumps({"method": method, "params": list(streams), "id": identity}).decode()


def reply_of(data: bytes) -> Reply | None:
    """Return the control answer in a frame; None if it is another message."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if type(body) is not dict or "id" not in body or "stream" in body:
        return None
    identity = body["id"] if type(body["id"]) is int else None
    error = body.get("error", body if "code" in body else None)
    if type(error) is dict:
        try:
            why = f"{error.get('code')}: {str(error.get('msg'))[:200]}"
        except RecursionError:  # By a deep value as text, in a frame of another kind.
            return None
        return Reply(identity, why)
    return Reply(identity, "") if "result" in body else None
