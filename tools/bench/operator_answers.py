"""O7: a look at every kind of answer of the page, with token and without, as an outsider reads it.

Which headers an answer needs stands here a second time on purpose: a header that is dropped from
`minibot.ops.web.access` is found, and not forgotten on both sides.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from minibot.exchanges.loopback import LOOPBACK
from tools.bench.operator_findings import CRITICAL, MODERATE, SERIOUS, Answer, Finding

API: Final = "/api/v1"
OPENAPI: Final = f"{API}/openapi.json"
STREAM: Final = f"{API}/stream"
LIVE: Final = f"{API}/live"
HALT: Final = f"{API}/act/halt"
LOGIN: Final = "/login"
UNLISTED: Final = (f"{API}/stopbuy", f"{API}/forcebuy")
"""Operations that the API's document leaves out: older names of freqtrade's."""
NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "x-content-type-options": ("nosniff",),
    "referrer-policy": ("same-origin", "no-referrer"),
    "cross-origin-opener-policy": ("same-origin",),
    "cross-origin-resource-policy": ("same-origin",),
    "cache-control": ("no-store",),
}
"""Headers that every answer needs, and their safe values."""
POLICY: Final = "content-security-policy"
DIRECTIVES: Final[Mapping[str, Sequence[str]]] = {
    "default-src": ("'none'",),
    "base-uri": ("'none'",),
    "frame-ancestors": ("'none'",),
    "form-action": ("'self'", "'none'"),
    "script-src": ("", "'self'", "'none'"),
    "connect-src": ("", "'self'", "'none'"),
}
"""Directives of the policy with their safe values; empty: may be left to `default-src`."""
TELLING: Final = ("server", "x-powered-by")
"""Headers that tell an attacker what runs here."""
REFUSED: Final = (401, 403)
ANSWER_S: Final = 60.0
ORDER: Final = {"content-type": "application/json"}
TOO_LONG: Final = str(10**9)
_ASSET: Final = re.compile(r"/assets/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Request:
    """Request of one kind, and the statuses that are right for it.

    Attributes:
        what: The kind, in words.
        path: Of the request.
        statuses: Right statuses.
        method: HTTP method.
        headers: As given.
        body: As given; None for no body.
    """

    what: str
    path: str
    statuses: Sequence[int]
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Page that is looked at: its port, its token, its run."""

    port: int
    token: str
    run_id: str

    @property
    def bearer(self) -> dict[str, str]:
        """Header of a script that has the token."""
        return {"authorization": f"Bearer {self.token}"}

    def ask(self, request: Request) -> Answer:
        """Return the answer to a request; of a stream its first line.

        Raises:
            OSError: There is none.
            HTTPException: It is not HTTP.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=ANSWER_S)
        try:
            connection.request(
                request.method, request.path, body=request.body, headers=dict(request.headers)
            )
            return _read(connection.getresponse(), request.method, request.path, request.what)
        finally:
            connection.close()

    def ask_nonsense(self) -> Answer:
        """Return the answer to bytes that are no request."""
        with socket.create_connection((LOOPBACK, self.port), timeout=ANSWER_S) as connection:
            connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            return _read(answer, "no", "/", "bytes that are no request")


def _read(answer: http.client.HTTPResponse, method: str, path: str, what: str) -> Answer:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    is_stream = headers.get("content-type", "").startswith("text/event-stream")
    body = answer.readline() if is_stream else answer.read()
    said = body.decode("utf-8", "replace")
    return Answer(f"{method} {path}, {what}", path, answer.status, headers, said)


def looked_at(page: Page, code: str) -> tuple[list[Answer], list[Finding]]:
    """Ask everything that there is to ask; return all answers and what is wrong with them.

    Args:
        page: The page of a finished run that has its report.
        code: A one-time code of the page, which is used up.
    """
    answers: list[Answer] = []
    found: list[Finding] = []
    cookie = _logged_in(page, code, answers, found)
    document = page.ask(Request("the API's document", OPENAPI, (200,), headers=page.bearer))
    requests = [*kinds(page, cookie), *shut(page, cookie, json.loads(document.body))]
    for request in requests:
        answer = page.ask(request)
        answers.append(answer)
        if answer.status not in request.statuses:
            is_open = answer.status < 400 and set(request.statuses) <= set(REFUSED)
            wanted = " or ".join(map(str, request.statuses))
            found.append(
                Finding(
                    CRITICAL if is_open else SERIOUS,
                    f"answer of {answer.status} instead of {wanted}",
                    answer.asked,
                )
            )
    answers += [document, page.ask_nonsense()]
    for answer in answers:
        found += faults_of(answer, page.token)
    return answers, found


def _logged_in(page: Page, code: str, answers: list[Answer], found: list[Finding]) -> str:
    """Exchange the code for a cookie; return the cookie as a browser sends it."""
    body = f"code={code}".encode()
    answer = page.ask(Request("a good code", LOGIN, (303,), "POST", body=body))
    answers.append(answer)
    cookie, _, attributes = answer.headers.get("set-cookie", "").partition(";")
    words = {word.strip().lower() for word in attributes.split(";")}
    for needed in ("httponly", "samesite=strict"):
        if needed not in words:
            found.append(Finding(SERIOUS, f"cookie without {needed}", answer.asked))
    return cookie


def kinds(page: Page, cookie: str) -> Iterator[Request]:
    """Yield a request for every kind of answer: page, asset, API, metrics, report, refusals."""
    bearer, known = page.bearer, {"cookie": cookie}
    basic = base64.b64encode(f"freqtrader:{page.token}".encode()).decode()
    frame = Request("page", "/", (200,))
    yield frame
    for path in sorted(set(_ASSET.findall(page.ask(frame).body))):
        yield Request("asset", path, (200,))
    yield Request("no such asset", "/assets/nothing.js", (404,))
    yield Request("path out of the assets", "/assets/..%2faccess.py", (404,))
    yield Request("session without a cookie", "/session", (200,))
    yield Request("session with a cookie", "/session", (200,), headers=known)
    yield Request("API, bearer", LIVE, (200,), headers=bearer)
    yield Request("API, password", LIVE, (200,), headers={"authorization": f"Basic {basic}"})
    yield Request("API, cookie", LIVE, (200,), headers=known)
    yield Request("stream", STREAM, (200,), headers=bearer)
    yield Request("metrics", "/metrics", (200,), headers=bearer)
    yield Request("report", f"{API}/nights/{page.run_id}/report", (200,), headers=bearer)
    yield Request("no such report", f"{API}/nights/nothing/report", (404,), headers=bearer)
    yield Request("no such path", "/nothing", (404,), headers=bearer)
    yield Request("no such method", LIVE, (405,), "DELETE", bearer)
    yield Request("order on a record", HALT, (409,), "POST", bearer | ORDER, b"{}")
    yield Request("order of a wrong form", HALT, (422,), "POST", bearer | ORDER, b"[]")
    yield Request("forced entry", f"{API}/forceenter", (403,), "POST", bearer | ORDER, b"{}")
    long = bearer | {"content-length": TOO_LONG}
    yield Request("body too large", HALT, (413,), "POST", long)
    chunked = bearer | {"transfer-encoding": "chunked"}
    yield Request("body of no told length", HALT, (411,), "POST", chunked, b"0\r\n\r\n")
    browser = {"accept": "text/html"}
    yield Request("wrong code, script", LOGIN, (401,), "POST", body=b"code=wrong")
    yield Request("wrong code, browser", LOGIN, (303,), "POST", browser, b"code=wrong")


def shut(page: Page, cookie: str, document: Mapping[str, Any]) -> Iterator[Request]:
    """Yield requests for every operation that have no right to it: none may be answered.

    Args:
        page: The page.
        cookie: A good cookie, which a form of another site would send too.
        document: The API's own OpenAPI document.
    """
    named = [
        (method.upper(), path) for path, entry in document["paths"].items() for method in entry
    ]
    for method, path in [*named, *(("POST", path) for path in UNLISTED)]:
        own = re.sub(r"\{\w+\}", "x", path)
        body = None if method == "GET" else b"{}"
        for what, headers in (
            ("no token", {}),
            ("wrong token", {"authorization": "Bearer wrong"}),
            ("token, another host", page.bearer | {"host": f"evil.example:{page.port}"}),
            ("cookie, another site", {"cookie": cookie, "origin": "http://evil.example"}),
        ):
            yield Request(what, own, REFUSED, method, headers | ORDER, body)
        if method != "GET":
            form = {"cookie": cookie, "content-type": "text/plain"}
            yield Request("cookie, a form", own, REFUSED, method, form, body)


def faults_of(answer: Answer, token: str) -> list[Finding]:
    """Return the faults of an answer, whatever was asked: its headers, a token in it."""
    found = []
    for name, values in NEEDED.items():
        given = answer.headers.get(name)
        if given is None:
            found.append(Finding(SERIOUS, f"no {name}", answer.asked))
        elif given not in values:
            found.append(Finding(SERIOUS, f"{name} is {given!r}", answer.asked))
    found += [
        Finding(SERIOUS, f"{POLICY}: {fault}", answer.asked)
        for fault in policy_faults(answer.headers.get(POLICY, ""))
    ]
    found += [
        Finding(MODERATE, f"{name} is told", answer.asked)
        for name in TELLING
        if name in answer.headers
    ]
    if any(token in text for text in (answer.body, *answer.headers, *answer.headers.values())):
        found.append(Finding(CRITICAL, "the token stands in the answer", answer.asked))
    return found


def policy_faults(policy: str) -> list[str]:
    """Return the sources that a Content-Security-Policy lets through and should not."""
    given: dict[str, str] = {}
    for directive in policy.split(";"):
        name, _, value = directive.strip().partition(" ")
        given.setdefault(name.lower(), value.strip())
    found = [
        f"{name} is {given.get(name, '')!r}"
        for name, values in DIRECTIVES.items()
        if given.get(name, "") not in values
    ]
    # A report brings its own styles; it is of no origin and runs no script.
    if "'unsafe-inline'" in policy and given.get("sandbox") != "":
        found.append("'unsafe-inline' outside a sandbox")
    return found


def unguarded(answer: Answer) -> list[Finding]:
    """Return a finding where an answer without a token is not a refusal.

    The login is open to all; a method that it does not have may say so.
    """
    if answer.status in REFUSED or (answer.path == LOGIN and answer.status == 405):
        return []
    severity = CRITICAL if answer.status < 400 else SERIOUS
    return [Finding(severity, f"answer of {answer.status} without a token", answer.asked)]
