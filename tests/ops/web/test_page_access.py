"""Access to the page: every way in, every way that is refused, and headers that say no more."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.kernel.canonical import encode
from minibot.ops.one_time_code import CODE_S, Codes
from minibot.ops.web.access import BODY_BYTES_MAX
from minibot.ops.web.bounded_http import CONNECTIONS_MAX
from minibot.ops.web.http_server import PortTaken
from minibot.ops.web.page_server import PageServer
from minibot.runtime.manifest import Manifest
from tests.ops.web.served import Served, served
from tests.runs import ShortRun
from tests.waiting import wait_until

pytestmark = pytest.mark.network_mock

LIVE = "/api/v1/live"
HALT = "/api/v1/act/halt"
KILL = "/api/v1/act/kill"
ORDER = {"content_type": "application/json"}
MARKUP = re.compile(r"(inner|outer|Adjacent|set)HTML|document\.write|DOMParser|\beval\(|Function\(")
FAULT = frozenset({"loc", "msg", "type"})
POLICY = ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'")


@pytest.fixture(scope="module")
def page(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page over a short run that is told to be going on."""
    with served(short_run, tmp_path_factory.mktemp("access")) as found:
        yield found


def basic(password: str) -> str:
    """Return the header of Basic authentication."""
    return "Basic " + base64.b64encode(f"freqtrader:{password}".encode()).decode()


# --- ways in ----------------------------------------------------------------------------------


@pytest.mark.row("D-14", "F150")
@pytest.mark.parametrize("path", [LIVE, "/metrics", "/api/v1/openapi.json", "/api/v1/stream"])
def test_no_figure_is_told_without_token(page: Served, path: str) -> None:
    """No figure of the run is told to another program on this machine."""
    answer = page.ask(path)

    assert answer.status == 401
    assert page.run_id.encode() not in answer.body
    assert "bearer" in answer.headers["www-authenticate"].lower()


@pytest.mark.row("F150")
@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong", "Bearer ", "Bearer", "Token {token}", "Bearer {token}x", "{token}",
        "Basic {token}", "Basic !!!", basic(""), basic("wrong"),
    ],
)  # fmt: skip
def test_wrong_token_opens_nothing(page: Served, value: str) -> None:
    """A part of the token opens nothing, nor does another form of it, nor nonsense."""
    assert page.ask(LIVE, authorization=value.format(token=page.token)).status == 401


def test_token_opens_as_bearer_and_as_basic_password(page: Served) -> None:
    """A script sends the bearer, freqtrade's client a password."""
    for value in (f"Bearer {page.token}", f"bearer {page.token}", basic(page.token)):
        answer = page.ask(LIVE, authorization=value)
        assert (answer.status, answer.document["run_id"]) == (200, page.run_id)


def test_code_is_exchanged_for_a_cookie_once(page: Served) -> None:
    """The cookie opens what the token opens; the code opens nothing a second time."""
    code = Codes(page.var.page_code).make()
    first = page.ask("/login", "POST", f"code={code}".encode())
    again = page.ask("/login", "POST", f"code={code}".encode())
    shown = page.ask("/login", "POST", f"code={code}".encode(), accept="text/html")
    cookie = first.headers["set-cookie"]

    assert (first.status, first.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert page.ask(LIVE, cookie=cookie.partition(";")[0]).status == 200
    assert again.status == 401
    assert (shown.status, shown.headers["location"]) == (303, "/#refused")
    assert "set-cookie" not in again.headers.keys() | shown.headers.keys()


@pytest.mark.parametrize("form", ["code={}+", "code=+{}", "code={}%20", "code={}%0D%0A"])
def test_code_pasted_with_a_space_opens(page: Served, form: str) -> None:
    """A phone copies the space behind a word too; a form writes it in its own way."""
    code = Codes(page.var.page_code).make()

    assert page.ask("/login", "POST", form.format(code).encode()).status == 303


def test_old_or_wrong_code_opens_nothing(page: Served) -> None:
    """A code that lay around is no way in, and a wrong one does not use up the right one."""
    codes = Codes(page.var.page_code)
    code = codes.make()
    old_s = time.time() - CODE_S - 1
    assert page.ask("/login", "POST", b"code=wrong").status == 401
    os.utime(page.var.page_code, (old_s, old_s))
    assert page.ask("/login", "POST", f"code={code}".encode()).status == 401
    assert page.ask("/login", "POST", b"").status == 401


@pytest.mark.parametrize("content", [b"\xff\xfe", "schlüssel\n".encode(), b"\x00", b""])
def test_code_file_that_somebody_spoiled_opens_nothing(page: Served, content: bytes) -> None:
    """A code file of other bytes is no failure of the page, and opens nothing."""
    code = Codes(page.var.page_code).make()
    page.var.page_code.write_bytes(content)

    for given in (code.encode(), b"", b"\xff"):
        assert page.ask("/login", "POST", b"code=" + given).status == 401


@pytest.mark.parametrize("value", ["", "x=y", "{name}=", "{name}=wrong", "{name}={token}", ";;=;"])
def test_wrong_cookie_opens_nothing(page: Served, value: str) -> None:
    """The cookie is not the token, so that one cannot be had from the other."""
    name = page.log_in().partition("=")[0]

    assert page.ask(LIVE, cookie=value.format(name=name, token=page.token)).status == 401


@pytest.mark.parametrize(
    "other",
    [
        'prefs={"theme":"dark"}', "a=b c", "user=J\xfcrgen", "\xe4=1", "[k]=1", "bare", 'q="open',
        "=", "x=", "list=a|b", "k=[1,2]", "expires", "{name}=old", "{name}=\xe9", "{name}",
    ],
)  # fmt: skip
def test_cookie_of_another_program_shuts_nobody_out(page: Served, other: str) -> None:
    """A browser sends the cookies of all ports of a machine; the kill has to work beside them."""
    own = page.log_in()
    other = other.format(name=own.partition("=")[0]) if "{name}" in other else other

    for cookie in (f"{other}; {own}", f"{own}; {other}", f"{other};{own};{other}"):
        assert page.ask(LIVE, cookie=cookie).status == 200, cookie
        kill = page.ask(KILL, "POST", b"{}", cookie=cookie, x_minibot="page", **ORDER)
        assert kill.status == 200, cookie
        assert [each["kind"] for each in page.asked()] == ["kill"]
    assert page.ask(LIVE, cookie=other).status == 401


def test_cookie_in_a_header_of_its_own_opens(page: Served) -> None:
    """A client may send each cookie in a header of its own, in any order."""
    own = page.log_in()
    for cookies in ((own, "x=y"), ("x=y", own), ("x=y", "x=z")):
        text = "".join(f"cookie: {each}\r\n" for each in cookies)
        with page.connect() as connection:
            ask = f"GET {LIVE} HTTP/1.1\r\nhost: {page.host}\r\n{text}connection: close\r\n\r\n"
            connection.sendall(ask.encode())
            data = connection.makefile("rb").read()

        assert data.startswith(b"HTTP/1.1 200") == (own in cookies), cookies


def test_page_asks_whether_it_is_open_without_being_refused(page: Served) -> None:
    """A browser logs a refusal as an error; the page without a cookie asks for nothing else."""
    shut, opened = page.ask("/session"), page.ask("/session", cookie=page.log_in())

    assert (shut.status, shut.document) == (200, {"is_open": False})
    assert (opened.status, opened.document) == (200, {"is_open": True})


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX")
def test_token_code_and_address_are_readable_by_their_owner_alone(page: Served) -> None:
    """Another user of this machine reads none of them."""
    Codes(page.var.page_code).make()
    for path in (page.var.page_token, page.var.page_code, page.var.page_address):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


# --- other sites ------------------------------------------------------------------------------


@pytest.mark.row("D-14", "F150", "F152")
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_foreign_host_is_refused(page: Served, host: str) -> None:
    """A site that lets its name point to this machine (DNS rebinding) reads nothing."""
    value = f"Bearer {page.token}"
    named = host.format(port=page.port)

    assert page.ask(LIVE, authorization=value, host=named).status == 403


@pytest.mark.row("F151")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_foreign_origin_is_refused(page: Served, origin: str) -> None:
    """A page of another site acts and reads nothing, even with the cookie."""
    cookie = page.log_in()
    for path, method in ((LIVE, "GET"), (HALT, "POST"), ("/login", "POST")):
        answer = page.ask(path, method, b"{}", cookie=cookie, origin=origin, x_minibot="page")
        assert answer.status == 403, path
    assert page.asked() == []


@pytest.mark.row("F151")
def test_form_without_the_pages_header_acts_not(page: Served) -> None:
    """A form of another site can send a cookie, but no header of its own."""
    cookie = page.log_in()
    form = page.ask(HALT, "POST", b"{}", cookie=cookie, **ORDER)
    assert form.status == 403
    assert page.asked() == []

    own = page.ask(HALT, "POST", b"{}", cookie=cookie, x_minibot="page", **ORDER)
    assert own.status == 200
    assert [each["kind"] for each in page.asked()] == ["halt"]


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../access.py", "..%2faccess.py", "%2e%2e/access.py", "....//page.js", "page.js/../../x",
        "/etc/passwd", "%2fetc%2fpasswd", "page.html", "page.js%00", "..\\access.py",
    ],
)  # fmt: skip
def test_no_file_beside_the_pages_own_is_served(page: Served, name: str) -> None:
    """Without a token, and with one."""
    for answer in (page.ask(f"/assets/{name}"), page.get(f"/assets/{name}")):
        assert answer.status in (400, 401, 404)
        assert b"import" not in answer.body


@pytest.mark.row("F154")
def test_body_beyond_the_limit_is_refused_unread(page: Served) -> None:
    """A length that is too large or untold: refused before anything is kept."""
    token = f"Bearer {page.token}"
    for text, status in (
        (str(BODY_BYTES_MAX + 1), 413),
        ("9" * 19, 413),
        (str(BODY_BYTES_MAX), 422),
    ):
        body = b"x" * BODY_BYTES_MAX if status == 422 else None
        answer = page.ask(HALT, "POST", body, authorization=token, content_length=text, **ORDER)
        assert answer.status == status
    chunked = page.ask(HALT, "POST", b"0\r\n\r\n", authorization=token, transfer_encoding="chunked")
    assert chunked.status == 411
    assert page.asked() == []


@pytest.mark.row("F154")
@pytest.mark.parametrize(
    "body",
    [
        {"why": 1}, {"symbol": "x" * 41}, {"minutes": "soon"}, {"why": "x" * 2001}, [], "halt",
        {"minutes": 1.5}, {"why": float("nan")}, {"minutes": float("inf")}, {"why": "\ud800"},
        {"why": {"\ud800": 1}},
    ],
)  # fmt: skip
def test_order_of_another_form_is_refused(page: Served, body: object) -> None:
    """A text that is no order leaves no request."""
    answer = page.post("/api/v1/act/lock_symbol", body)

    assert answer.status == 422
    assert {frozenset(each) for each in answer.document["detail"]} == {FAULT}
    assert page.asked() == []


@pytest.mark.row("F151")
def test_read_request_acts_on_nothing(page: Served) -> None:
    """A link of another site sends a GET: it halts and kills nothing, even with the cookie."""
    for path in (HALT, KILL):
        assert page.ask(path, cookie=page.log_in(), x_minibot="page").status == 405
    assert page.asked() == []


def test_unknown_order_and_foreign_symbol_are_refused_in_words(page: Served) -> None:
    """The answer says what is possible."""
    for path, body in (
        ("act/dance", {}),
        ("act/exit_position", {"symbol": "NOPE"}),
        ("act/lock_symbol", {"symbol": "BTCUSDT", "minutes": 0}),
        ("act/exit_position", {}),
    ):
        answer = page.post(f"/api/v1/{path}", {"why": "", **body})
        assert answer.status == 409, path
        assert len(answer.document["detail"]) > 20
    assert page.asked() == []


def test_entry_is_never_forced(page: Served) -> None:
    """Also by its old name; the reason is said."""
    for path in ("forceenter", "forcebuy"):
        answer = page.post(f"/api/v1/{path}", {"pair": "BTCUSDT", "side": "long"})
        assert answer.status == 403
        assert "strategy" in answer.document["detail"]
    assert page.asked() == []


def test_api_documents_every_refusal(page: Served) -> None:
    """A generated client knows each answer; that of a forced entry is never a success."""
    paths = page.get("/api/v1/openapi.json").document["paths"]
    for path, entry in paths.items():
        for operation in entry.values():
            assert {"401", "403", "409", "413"} <= operation["responses"].keys(), path
    forced = paths["/api/v1/forceenter"]["post"]["responses"]
    assert not [status for status in forced if status.startswith("2")]


def test_page_is_read_by_keyboard_and_by_screen_readers(page: Served) -> None:
    """It has one heading, and each table that scrolls sideways on a phone takes the focus."""
    text = page.ask("/").body.decode()
    wide = re.findall(r'<div class="wide"[^>]*>', text)

    assert text.count("<h1") == text.count("<main") == 1
    assert len(wide) > 5
    for each in wide:
        assert 'tabindex="0"' in each, each
        name = re.search(r'role="region".*aria-label(?:="[^"]|ledby="([^"]+)")', each)
        assert name, each
        assert name[1] is None or f'id="{name[1]}"' in text, each


# --- every answer -----------------------------------------------------------------------------


@pytest.mark.row("D-14", "F153")
def test_every_answer_has_the_strict_policy_and_none_the_token(
    page: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever is asked, however: headers that forbid the rest, and no word of the token."""
    token, cookie = page.token, page.log_in()
    document = page.get("/api/v1/openapi.json").document
    paths = [path for path, entry in document["paths"].items() if "get" in entry]
    paths.remove("/api/v1/stream")  # It has no end.
    answers = [page.ask(path, authorization=f"Bearer {token}") for path in paths]
    answers += [page.ask(path) for path in ("/", "/assets/page.js", "/nothing", LIVE, "/login")]
    answers += [page.ask(LIVE, cookie=cookie), page.ask(LIVE, host="evil.example")]
    answers += [page.post("/api/v1/forceenter"), page.post(HALT, {"why": 1})]
    answers += [page.ask("/login", "POST", b"code=x"), page.get("/metrics"), page.ask("/session")]
    page.asked()

    assert len(answers) > 20
    for answer in answers:
        for words in POLICY:
            assert words in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        data = answer.body + json.dumps(dict(answer.headers)).encode()
        assert token.encode() not in data
    said_by_process = "".join(capfd.readouterr())
    assert token not in said_by_process
    assert cookie.partition("=")[2] not in said_by_process
    address = page.var.page_address.read_bytes()
    assert token.encode() not in address


@pytest.mark.row("F153")
def test_scripts_of_the_page_write_no_markup(project: Path) -> None:
    """A text of an event becomes text: no script of ours reads markup or code from a string."""
    folder = project / "minibot" / "ops" / "web" / "assets"
    scripts = [path for path in folder.glob("*.js") if path.name != "lightweight-charts.js"]
    found = [path.name for path in scripts if MARKUP.search(path.read_text(encoding="utf-8"))]

    assert len(scripts) > 1
    assert found == []


@pytest.mark.row("F154")
def test_bytes_that_are_no_request_are_answered_with_the_same_headers(page: Served) -> None:
    """A broken client gets a plain 400, and nothing is written to the log."""
    with page.connect() as connection:
        connection.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        data = connection.makefile("rb").read()

    assert data.startswith(b"HTTP/1.1 400")
    assert b"content-security-policy: default-src 'none'" in data


@pytest.mark.row("F154")
@pytest.mark.parametrize("method", ["CONNECT", "POST", "DELETE"])
def test_session_answers_reading_alone(
    page: Served, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    """An answer to CONNECT would open a tunnel, into which no body can be written."""
    answer = page.ask("/session", method)

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert capfd.readouterr().err == ""


@pytest.mark.row("F154")
def test_login_that_is_broken_off_writes_nothing_to_the_log(
    page: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever has no token could fill the disk of the night with errors otherwise."""
    head = f"POST /login HTTP/1.1\r\nhost: {page.host}\r\ncontent-length: 50\r\n\r\n"
    with page.connect() as connection:
        connection.sendall(head.encode() + b"code=")
        wait_until(lambda: page.server.connections == 1, "the login has begun")
    wait_until(lambda: page.server.connections == 0, "the login is over")

    assert page.ask("/session").status == 200
    assert capfd.readouterr().err == ""


# --- slow clients, a taken port ---------------------------------------------------------------


@pytest.mark.row("F154")
def test_slow_client_loses_its_connection(page: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request is waited for a bounded time, also behind a whole one."""
    monkeypatch.setattr("minibot.ops.web.bounded_http.REQUEST_S", 0.05)
    whole = f"GET /session HTTP/1.1\r\nhost: {page.host}\r\n\r\n".encode()
    for first in (b"", whole):
        with page.connect() as connection:
            connection.sendall(first + b"GET / HTTP/1.1\r\nhost: ")
            data = b""
            try:
                while read := connection.recv(65536):
                    data += read
            except ConnectionResetError:
                pass
        assert data.count(b"HTTP/1.1 200") == bool(first)


@pytest.mark.row("F154")
def test_reader_that_stops_reading_loses_its_connection(
    page: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that wait for it are let go; others are answered meanwhile."""
    monkeypatch.setattr("minibot.ops.web.bounded_http.STALL_S", 0.05)
    request = f"GET /assets/page.js HTTP/1.1\r\nhost: {page.host}\r\n\r\n".encode()
    with page.connect() as connection:
        connection.setblocking(False)

        def is_closed() -> bool:
            try:
                connection.send(request * 50)
            except BlockingIOError:
                return False
            except (ConnectionResetError, BrokenPipeError):
                return True
            return False

        wait_until(is_closed, "the connection is closed")
    assert page.ask("/session").status == 200


@pytest.mark.row("F154")
def test_thousand_slow_clients_hold_a_bounded_number_of_connections(page: Served) -> None:
    """Further ones are closed at once; when they go, the page answers again."""
    slow = []
    try:
        for _ in range(1000):
            connection = page.connect()
            slow.append(connection)
            connection.sendall(b"GET / HTTP/1.1\r\n")
        wait_until(lambda: page.server.connections >= CONNECTIONS_MAX, "the page is full")
        assert page.server.connections <= CONNECTIONS_MAX
    finally:
        for connection in slow:
            connection.close()

    def answers() -> bool:
        # Clients that wait to be accepted may still fill the page, although they are gone.
        try:
            return page.ask("/session").status == 200
        except ConnectionResetError:
            return False

    wait_until(answers, "the page answers again")


def test_taken_port_is_told_with_its_number(page: Served) -> None:
    """The run goes on without a page; `ops` warns with these words."""
    manifest = Manifest.load(page.var.run(page.run_id))
    with pytest.raises(PortTaken, match=f"port {page.port} "):
        PageServer(manifest, page.var, page.port)
    assert page.ask("/session").status == 200


def test_restarted_page_has_its_port_again_and_the_cookie_stays_good(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An open page goes on when `ops` is killed and started again."""
    with served(short_run, tmp_path_factory.mktemp("restarted")) as first:
        cookie, address = first.log_in(), first.var.page_address.read_bytes()
        first.server.close()
        first.var.page_address.write_bytes(address)  # A killed process takes nothing away.
        again = PageServer(Manifest.load(first.var.run(first.run_id)), first.var, 0)
        second = Served(again.port, first.var, first.run_id)
        try:
            assert again.port == first.port
            assert second.ask("/session", cookie=cookie).document == {"is_open": True}
        finally:
            again.close()


def test_commands_that_the_page_names_are_of_its_own_folder(page: Served) -> None:
    """A run on another folder than the default one is not found by a bare `minibot page`."""
    flags = f" --var {page.var.root}"
    no_report = page.get("/api/v1/nights/20260101_000000/report")
    nothing = page.post("/api/v1/act/unlock_symbol", {"symbol": "BTCUSDT"})

    assert f'data-flags="{flags}"' in page.ask("/").body.decode()
    assert f"minibot page{flags}" in page.ask(LIVE).document["detail"]
    assert f"minibot runs{flags}" in no_report.document["detail"]
    assert nothing.status == 409
    assert f"minibot risk{flags}" in nothing.document["detail"]


def test_page_of_an_orphan_leaves_the_address_of_the_next_run(
    short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A killed launcher's `ops` may close while the page of the next run is there already."""
    with served(short_run, tmp_path_factory.mktemp("orphan")) as page:
        address = page.var.page_address
        following = encode({"run_id": "the_next_run", "url": "http://127.0.0.1:1/"}) + b"\n"
        address.write_bytes(following)
        page.server.close()
        assert address.read_bytes() == following

        PageServer(Manifest.load(page.var.run(page.run_id)), page.var, 0).close()
        assert not address.exists()
