"""Health of a run as an exit code, and a page that cannot be served beside alerts that can."""

from __future__ import annotations

import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from minibot.engine.recorded_run import Recorded
from minibot.events.model import Event, Incident
from minibot.kernel.queue import open_writer
from minibot.ops import run_health
from minibot.ops.operator import NOT_RUNNING
from minibot.ops.process import page_of
from minibot.ops.run_health import (
    FLAGGED,
    HEALTHY,
    UNHEALTHY,
    exit_code,
    last_incident,
    needs,
    refused_last,
)
from minibot.ops.web.access import token_of
from minibot.ops.web.http_server import listening_on
from minibot.runtime.configuration.config import load_config
from minibot.runtime.configuration.config_sections import Page
from minibot.runtime.manifest import Manifest
from minibot.runtime.paths import Var
from tests.manifests import made_manifest
from tests.report.made_run import made_run
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


@pytest.mark.parametrize(("required", "counts"), [(False, False), (True, True)])
def test_ai_counts_for_the_health_of_a_run_that_needs_it(*, required: bool, counts: bool) -> None:
    """A night goes on without an AI that it does not require; every other role counts."""
    raw = load_config("config/nore-demo.v1.json").raw
    manifest = made_manifest("R", {**raw, "ai": {**raw["ai"], "required": required}}, {}, 0)

    assert needs(manifest, "ai_role") is counts
    assert needs(manifest, "risk_role")


@pytest.mark.parametrize(
    ("kinds", "detail"),
    [(["REFUSED", "STOP"], None), (["STOP", "REFUSED"], "1"), (["REFUSED", "REFUSED"], "1")],
)
def test_refused_start_is_told_until_something_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], detail: str | None
) -> None:
    """Only the last entry of the operators' journal tells of a start that was refused."""
    stops = [
        {"ts": number, "payload": {"kind": kind, "detail": str(number)}}
        for number, kind in enumerate(kinds)
    ]
    monkeypatch.setattr(run_health, "read_stops", lambda root: stops)

    told = refused_last(Var(tmp_path))

    assert told == (None if detail is None else {"ts": 1, "detail": detail})


@pytest.mark.parametrize("newer", ["market_role", "risk_role"])
def test_last_incident_is_the_newest_of_all_roles(tmp_path: Path, newer: str) -> None:
    """Roles write parts of their own; the one written last is told."""
    run_dir = made_run(tmp_path / "var")
    recorded = Recorded.open(run_dir)
    manifest = recorded.manifest
    for number, role in enumerate(("market_role", "risk_role"), 1):
        event = Event(
            manifest.clock_origin_ms + (role == newer),
            f"0000000{number}-0000-4000-8000-000000000000",
            role,
            manifest.run_id,
            manifest.processes[role].cmdline_hash,
            Incident(role, "x", "y"),
        )
        with closing(open_writer(run_dir / "queues", "incidents", role)) as part:
            part.append_json([recorded.codec.encode("incidents", event)])

    told = last_incident(run_dir)

    assert told is not None
    assert told["component"] == newer


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
