"""Access to the page: one token per `var`, only loopback names, and headers that forbid the rest.

The token lies in `var/ops/token`, readable by its owner alone. It is taken as bearer, as Basic
password, or exchanged by a one-time code for a cookie; it is in no address, log or answer. The
cookie is derived from token and run, so that it ends with the run and survives a restart of `ops`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, Final

from minibot.kernel import canonical
from minibot.kernel.errors import Refusal
from minibot.kernel.files import ensure_folder, write_atomic
from minibot.runtime.command_place import Place

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE: Final = "minibot_page_"
"""Name of the cookie, before the port: a browser keeps one jar for all ports of a machine."""
COOKIES: Final = b"cookie"
"""Header in which a client sends its cookies."""
TOKEN_BYTES: Final = 32
TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
"""Form of a token: `TOKEN_BYTES` random bytes in base64 for addresses, without padding."""
TOKEN_CHARS_MAX: Final = 200
BODY_BYTES_MAX: Final = 65_536
SAFE: Final = frozenset({"GET", "HEAD"})
ASKS: Final = b"x-minibot"
"""Header that no form of another site can send; a request that acts by cookie has to have it."""
ASSETS: Final = "/assets/"
OPEN: Final = ("/", "/login")
"""Paths that, like the assets, need neither token nor cookie: none shows a figure of the run."""
SESSION: Final = "/session"
"""Open path that says whether token or cookie is good; the page requests it before any figure."""
NOWHERE: Final = Place()
"""Place that names nothing."""
CSP: Final = b"content-security-policy"
HEADERS: Final = (
    (
        CSP,
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


def token_of(path: Path) -> str:
    """Return the token in a file, which is made where it is missing.

    Raises:
        Refusal: The file holds no token: an empty one would open the page to everybody.
        RunStop: The file cannot be written.
        OSError: It cannot be read.
    """
    ensure_folder(path.parent)
    if not path.is_file():
        write_atomic(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
    os.chmod(path, 0o600)
    found = path.read_bytes().strip()
    if TOKEN.fullmatch(found) is None:
        raise Refusal(
            f"{path} holds no token: expected 43 letters, digits, _ or -, "
            f"found {len(found)} bytes that are not.",
            "Remove the file: the next start of a page makes a new token.",
        )
    return found.decode("ascii")


class Guarded:
    """ASGI application that lets only the operator's own requests through.

    Args:
        app: The application behind it.
        token: The token of `var`.
        port: The port of the page; other names of this machine are refused (DNS rebinding).
        run_id: The run of the page.
        place: Place that commands in refusals name.

    Attributes:
        cookie: Name of the cookie.
        session: Its value; the token cannot be had from it.
    """

    def __init__(
        self, app: App, token: str, port: int, run_id: str, place: Place = NOWHERE
    ) -> None:
        self._app = app
        self._place = place
        self._token = token.encode()
        self.cookie = f"{COOKIE}{port}"
        self.session = hmac.new(self._token, f"cookie of {run_id}".encode(), "sha256").hexdigest()
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = _headers_of(scope)
        refused = self._refused(scope, headers)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = list(message.get("headers", ()))
                # A report has its own, stricter policy.
                named = {name.lower() for name, _ in own}
                message["headers"] = own + [each for each in HEADERS if each[0] not in named]
            await send(message)

        if refused is not None:
            status, words = refused
            detail = canonical.encode({"detail": self._place.named_in(words)})
            await _answer(send_with_headers, status, detail)
        elif scope["path"] == SESSION:
            is_open = b"true" if self._is_known(headers) else b"false"
            await _answer(send_with_headers, 200, b'{"is_open":' + is_open + b"}")
        else:
            await self._app(scope, receive, send_with_headers)

    def _refused(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        if headers.get(b"host", b"").decode("latin-1") not in self._hosts:
            return 403, "this name is not the page's: open the address that minibot page prints"
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1") not in self._origins:
            return 403, "another site asks: refused"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > BODY_BYTES_MAX:
            return 413, "the body is too large"
        if b"transfer-encoding" in headers:
            return 411, "give the length of the body"
        path = scope["path"]
        if path == SESSION and scope["method"] not in SAFE:
            # HTTP would take a good answer to CONNECT for a tunnel, which has no body.
            return 405, "this path is only read"
        if path in OPEN or path.startswith(ASSETS) or path == SESSION:
            return None
        by_header = self._has_token(headers.get(b"authorization", b""))
        if not self._is_known(headers):
            return 401, "give the token of var/ops/token, or open the page by minibot page"
        if scope["method"] not in SAFE and not by_header and ASKS not in headers:
            return 403, "a form of another site may have asked: refused"
        return None

    def _is_known(self, headers: dict[bytes, bytes]) -> bool:
        by_header = self._has_token(headers.get(b"authorization", b""))
        return by_header or self._has_cookie(headers[COOKIES])

    def _has_token(self, value: bytes) -> bool:
        kind, _, given = value.partition(b" ")
        if kind.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif kind.lower() != b"bearer":
            return False
        return hmac.compare_digest(given.strip(), self._token)

    def _has_cookie(self, value: bytes) -> bool:
        # Cookies of other programs on this machine come along, in any form: each is judged apart.
        own = f"{self.cookie}={self.session}".encode()
        return any(hmac.compare_digest(each.strip(), own) for each in value.split(b";"))


def _headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return headers of a request by name in lower case; several with cookies become one."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    cookies = [value for name, value in scope["headers"] if name.lower() == COOKIES]
    return headers | {COOKIES: b"; ".join(cookies)}


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="minibot"'))
    if status == 405:
        headers.append((b"allow", b", ".join(name.encode() for name in sorted(SAFE))))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
