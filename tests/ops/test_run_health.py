"""Health of a run as an exit code, and a page that cannot be served beside alerts that can."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from minibot.ops.operator import NOT_RUNNING
from minibot.ops.process import page_of
from minibot.ops.run_health import FLAGGED, HEALTHY, UNHEALTHY, exit_code
from minibot.ops.web.access import token_of
from minibot.ops.web.http_server import listening_on
from minibot.runtime.configuration.config_sections import Page
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.runs import ShortRun

TOKEN = b"0123456789_abcdefghijklmnopqrstuvwxyz-ABCDE"
HEARD = [{"age_s": 30}, {"age_s": 1}]
FLAG = {"file": "STOP.flag"}


@pytest.fixture
def var(short_run: ShortRun, tmp_path: Path) -> Var:
    """A `var` with a run of its own."""
    return Var(Path(shutil.copytree(short_run.var, tmp_path / "var")))


@pytest.mark.parametrize(
    ("run_id", "flag", "roles", "max_age_s", "code"),
    [
        ("R", None, HEARD, 30, HEALTHY),
        ("R", None, HEARD, 29, UNHEALTHY),
        ("R", None, [], 30, UNHEALTHY),
        ("R", None, [], None, HEALTHY),
        (None, None, [], 30, NOT_RUNNING),
        ("R", FLAG, [], 30, FLAGGED),
        (None, FLAG, [], None, FLAGGED),
    ],
)
def test_exit_code_is_the_gravest_and_silence_is_no_health(
    run_id: str | None,
    flag: dict[str, str] | None,
    roles: list[dict[str, int]],
    max_age_s: int | None,
    code: int,
) -> None:
    """A flag first, then a missing run, then heartbeats that are old or never came."""
    assert exit_code(run_id, flag, roles, max_age_s) == code


def test_page_whose_token_cannot_be_read_is_a_warning_and_no_end_of_ops(
    short_run: ShortRun, var: Var, capfd: pytest.CaptureFixture[str]
) -> None:
    """The process goes on with what else it has to do: alerts and backups."""
    var.page_token.mkdir()

    found = page_of(Page(port=0, required=True), Manifest.load(short_run.run_dir), var)
    text = capfd.readouterr().err

    assert found == []
    assert "WARN no page" in text
    assert str(var.page_token) in text


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"\xff" * 43, TOKEN[1:], TOKEN + b"x", b"x " + TOKEN[2:], b"!" + TOKEN[1:]],
    ids=["empty", "blank", "no text", "short", "long", "two words", "other character"],
)
def test_page_whose_token_is_none_is_given_up_and_says_what_to_do(
    short_run: ShortRun, var: Var, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    """A token that this program has not written opens nothing, and is neither used nor replaced."""
    var.page_token.write_bytes(content)

    found = page_of(Page(port=0, required=True), Manifest.load(short_run.run_dir), var)
    for each in found:
        each.close()
    text = capfd.readouterr().err

    assert found == []
    assert "WARN no page" in text
    assert str(var.page_token) in text
    assert "Remove" in text
    assert TOKEN[2:].decode() not in text
    assert var.page_token.read_bytes() == content


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_token_that_is_one_is_used_as_it_stands(tmp_path: Path, end: bytes) -> None:
    """A copy from another machine may end its line otherwise."""
    path = tmp_path / "token"
    path.write_bytes(TOKEN + end)

    assert token_of(path) == TOKEN.decode()
    assert token_of(tmp_path / "new") == token_of(tmp_path / "new")


@pytest.mark.network_mock
def test_page_whose_address_cannot_be_written_leaves_its_port(
    short_run: ShortRun, var: Var, capfd: pytest.CaptureFixture[str]
) -> None:
    """A page that is given up answers nobody."""
    var.page_address.mkdir()
    with listening_on(0) as free:
        port = free.getsockname()[1]

    found = page_of(Page(port=port, required=True), Manifest.load(short_run.run_dir), var)

    assert found == []
    assert "WARN no page" in capfd.readouterr().err
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=60)
