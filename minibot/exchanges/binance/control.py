"""Control messages of a stream connection, and the venue's answers to them.

Source: web-socket-streams.md, "Live Subscribing/Unsubscribing to streams"; errors are documented in
a flat shape and seen in a nested one (facts, section 7), so both are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from minibot.exchanges.venue_facts import Reply


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
        return Reply(identity, f"{error.get('code')}: {str(error.get('msg'))[:200]}")
    return Reply(identity, "") if "result" in body else None
