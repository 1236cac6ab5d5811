"""Sender of one message to one address by Apprise: a process that ends with its message.

Standard input is one JSON object with `url`, `title`, `body` and `level`; standard output says how
it went. A host that hangs, one whose answer never ends, or a library that waits or leaks, harms no
other message and no run. The address is a secret and leaves this process only to its host: no
redirect is followed, and reasons contain no part of it.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, Final

from minibot.events.model import JsonObject
from minibot.kernel import canonical
from minibot.ops.alerts.alert import CRITICAL, INFO, WARNING
from minibot.runtime.memory import limit_memory
from minibot.runtime.secrets import SECRET_LENGTH_MIN, Redactor

INPUT_BYTES_MAX: Final = 65_536
SOCKET_S: Final = 6.0
"""Longest wait for a connection, and for each piece of an answer."""
MEMORY_MB: Final = 64
"""Memory that a message needs; `limit_memory` has what an answer may take above it."""
DOUBT: Final = (
    *("Read timed out", "Connection aborted", "Connection reset", "timed out"),
    # Of an answer that breaks off or cannot be read, and of a mail server that says nothing more.
    *("Connection broken", "Received response", "Connection unexpectedly closed"),
    # Of the library itself, such as one without memory for an answer.
    "raised an exception",
)
"""Words of errors after which the host may have the message all the same."""
_REFUSED: Final = ("Connection refused", "Max retries exceeded", "Connect timeout")
_KINDS: Final = {INFO: "info", WARNING: "warning", CRITICAL: "failure"}


class _Heard(logging.Handler):
    """Handler that keeps the library's messages: all of them, and its last complaint apart."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.complaint = ""
        self.all: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        text = record.getMessage()
        self.all.append(text[:500])
        if record.levelno >= logging.WARNING:
            self.complaint = text


def send(url: str, title: str, body: str, level: str) -> JsonObject:
    """Send a message and return how it went: `ok`, `why` and `in_doubt`."""
    # Imported here so that the check of an address needs none of it.
    import apprise

    heard = _Heard()
    log = logging.getLogger("apprise")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(heard)
    asset = apprise.AppriseAsset(
        async_mode=False, http_redirects=False, secure_logging=True, app_id="minibot"
    )
    asset.app_desc = "minibot"
    target: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if target is None:
        return _answer(url, False, f"no address of this kind: {heard.complaint}")
    # An address may ask for these by its parameters: it does not get them.
    target.redirects = False
    target.socket_connect_timeout = target.socket_read_timeout = SOCKET_S
    target.request_rate_per_sec = 0
    service: Any = apprise.Apprise(asset=asset)
    service.add(target)
    # By default a target takes the text for the markup of its host: HTML in a mail or a chat, where
    # a bare `<` is refused or swallowed, and lines are joined.
    given = {"notify_type": _KINDS[level], "body_format": apprise.NotifyFormat.TEXT}
    is_sent = bool(service.notify(body=body, title=title, **given))
    if is_sent:
        return _answer(url, True, "")
    everything = " ".join(heard.all)
    in_doubt = any(words in everything for words in DOUBT) and not any(
        words in everything for words in _REFUSED
    )
    why = heard.complaint or "the library does not say why"
    if in_doubt:
        why += " (no whole answer came)"
    return {**_answer(url, False, why), "in_doubt": in_doubt}


def _answer(url: str, is_sent: bool, why: str) -> JsonObject:
    parts = [part for part in re.split(r"[/:@?&=]+", url) if len(part) >= SECRET_LENGTH_MIN]
    return {"ok": is_sent, "why": Redactor([url, *parts])(why)[:500], "in_doubt": False}


def main() -> int:
    """Send the message on standard input and print how it went."""
    limit_memory(MEMORY_MB)
    request = canonical.decode(sys.stdin.buffer.read(INPUT_BYTES_MAX).rstrip(b"\n"))
    found = send(
        str(request["url"]), str(request["title"]), str(request["body"]), str(request["level"])
    )
    sys.stdout.buffer.write(canonical.encode(found) + b"\n")
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
