"""Secrets: outside the tree, and outside every text that leaves the process."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.errors import Refusal
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import Var
from minibot.runtime.secrets import REDACTED, Redactor, load_secrets, names_secret, redact
from minibot.watchdog.preflight import preflight
from tests.waiting import wait_until

KEY = "aB3d" * 16
SHA256 = "b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c"


def secrets_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    """Return a file with the text, for its owner alone unless the mode says otherwise."""
    path = folder / "secrets.env"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


@pytest.mark.row("N-11")
def test_secrets_without_a_file_are_none(tmp_path: Path) -> None:
    """Without key and variable there are no secrets and no error."""
    secrets = load_secrets(None, tmp_path, {})

    assert secrets.names == ()
    assert secrets.path is None


@pytest.mark.row("N-11")
@pytest.mark.parametrize("text", ['{"exchange": {"key": "abcdef123"}}', "exchange.key=abcdef123"])
def test_secrets_file_outside_the_tree_is_read_in_both_forms(tmp_path: Path, text: str) -> None:
    """Both forms of a secrets file, JSON and NAME=value, give the same value."""
    project = tmp_path / "project"
    project.mkdir()
    path = secrets_file(tmp_path, text)

    secrets = load_secrets(str(path), project, {})

    assert secrets.reveal("exchange.key") == "abcdef123"


@pytest.mark.row("N-11")
def test_secrets_variable_is_used_when_the_config_names_none(tmp_path: Path) -> None:
    """MINIBOT_SECRETS_FILE names the file; the config key overrides it."""
    path = secrets_file(tmp_path, "a=from-the-variable")
    project = tmp_path / "project"

    from_variable = load_secrets(None, project, {"MINIBOT_SECRETS_FILE": str(path)})
    (tmp_path / "other").mkdir()
    other = secrets_file(tmp_path / "other", "a=from-the-config")
    from_config = load_secrets(str(other), project, {"MINIBOT_SECRETS_FILE": str(path)})

    assert from_variable.reveal("a") == "from-the-variable"
    assert from_config.reveal("a") == "from-the-config"


@pytest.mark.row("N-11")
@pytest.mark.parametrize("place", ["secrets.env", ".env", "var/secrets.env", "x/../secrets.env"])
def test_secrets_path_inside_the_tree_is_refused_with_a_code(tmp_path: Path, place: str) -> None:
    """A path below the project is refused, whether or not the file exists."""
    with pytest.raises(Refusal, match="CONFIG_PATH_ESCAPE") as refused:
        load_secrets(str(tmp_path / place), tmp_path, {})

    assert refused.value.exit_code == 4
    assert refused.value.remedy


@pytest.mark.row("N-11")
def test_secrets_path_that_leads_into_the_tree_by_a_link_is_refused(tmp_path: Path) -> None:
    """A link between tree and outside hides no file inside the tree."""
    project = tmp_path / "project"
    project.mkdir()
    inside = secrets_file(project, "a=abcdef")
    outward = tmp_path / "outside.env"
    outward.symlink_to(inside)
    (tmp_path / "far").mkdir()
    inward = project / "link.env"
    inward.symlink_to(secrets_file(tmp_path / "far", "a=abcdef"))

    for path in (outward, inward):
        with pytest.raises(Refusal, match="CONFIG_PATH_ESCAPE"):
            load_secrets(str(path), project, {})


@pytest.mark.row("N-11")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_secrets_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A secrets file that others may read is refused."""
    if sys.platform == "win32":
        pytest.skip("Windows has no file modes")
    path = secrets_file(tmp_path, "a=abcdef", mode)

    with pytest.raises(Refusal, match="PERMISSIONS_UNSAFE"):
        load_secrets(str(path), tmp_path / "project", {})


@pytest.mark.row("N-12")
@pytest.mark.parametrize(
    "text",
    [
        "{ broken: sesame-open",
        "no equals sign sesame-open",
        '{"a": "sesame-open"',
        '{"a":' * 9000 + '"sesame-open"' + "}" * 9000,
        r'{"a": ["\ud83dsesame-open"]}',
    ],
    ids=["broken", "no equals sign", "cut off", "deep", "half a letter"],
)
def test_secrets_file_that_is_malformed_is_refused_without_its_content(
    tmp_path: Path, text: str
) -> None:
    """A malformed file is refused with name and place, without its content."""
    path = secrets_file(tmp_path, text)

    with pytest.raises(Refusal, match="malformed") as refused:
        load_secrets(str(path), tmp_path / "project", {})

    assert "sesame" not in str(refused.value)


@pytest.mark.row("N-12")
@pytest.mark.parametrize(
    "text",
    [
        "TOKEN=sesame-old\nTOKEN=sesame-new",
        '{"a": "sesame-old", "a": "sesame-new"}',
        '{"a": {"b": "sesame-old"}, "a.b": "sesame-new"}',
    ],
)
def test_secrets_file_with_a_name_twice_is_refused(tmp_path: Path, text: str) -> None:
    """A second value of a name would stay unknown, and so never be removed."""
    path = secrets_file(tmp_path, text)

    with pytest.raises(Refusal, match="a name appears twice") as refused:
        load_secrets(str(path), tmp_path / "project", {})

    assert "sesame" not in str(refused.value)


def test_secrets_file_with_a_byte_order_mark_keeps_its_first_name(tmp_path: Path) -> None:
    """A file that an editor on Windows saved is read as any other."""
    path = secrets_file(tmp_path, "\ufeffTOKEN=correct-horse")

    assert load_secrets(str(path), tmp_path / "project", {}).names == ("TOKEN",)


@pytest.mark.parametrize("kind", ["missing", "folder", "binary", "huge"])
def test_secrets_path_without_a_readable_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    """A missing, wrong or absurd file is one message with exit code 4."""
    path = tmp_path / "secrets.env"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe\x00")
    elif kind == "huge":
        path.write_bytes(b"#" * 70_000)
    if path.is_file():
        path.chmod(0o600)

    with pytest.raises(Refusal, match=r"secrets\.env") as refused:
        load_secrets(str(path), tmp_path / "project", {})

    assert refused.value.exit_code == 4


def test_secrets_path_in_the_home_of_nobody_is_refused_by_name(tmp_path: Path) -> None:
    """A `~` of a user whom the system does not know is a refusal, never a traceback."""
    path = "~no-such-user/secrets.env"

    with pytest.raises(Refusal, match=r"~no-such-user.*secrets\.env cannot be read"):
        load_secrets(None, tmp_path / "project", {"MINIBOT_SECRETS_FILE": path})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFO in a folder")
def test_secrets_path_that_is_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """Opening a FIFO would wait for a writer that never comes."""
    path = tmp_path / "secrets.env"
    refused: list[Refusal] = []
    if sys.platform != "win32":
        os.mkfifo(path, 0o600)

    def load() -> None:
        with pytest.raises(Refusal, match=r"secrets\.env") as refusal:
            load_secrets(str(path), tmp_path / "project", {})
        refused.append(refusal.value)

    # A daemon: a read that waits must not keep the tests from their end.
    threading.Thread(target=load, daemon=True).start()
    wait_until(lambda: refused, "the refusal of a FIFO")

    assert refused[0].exit_code == 4


@pytest.mark.row("N-12")
def test_secrets_show_their_names_and_never_their_values(tmp_path: Path) -> None:
    """Printing, formatting or logging the object shows names alone."""
    path = secrets_file(tmp_path, "alpha=correct-horse\nbeta=battery-staple")

    secrets = load_secrets(str(path), tmp_path / "project", {})

    for text in (str(secrets), repr(secrets), f"{secrets}", repr([secrets])):
        assert "alpha" in text
        assert "horse" not in text
        assert "staple" not in text


@pytest.mark.row("N-12")
def test_redact_after_loading_knows_the_values(tmp_path: Path) -> None:
    """The redactor knows the file's values after loading."""
    path = secrets_file(tmp_path, "webhook=plainwordmarker")
    assert redact("see plainwordmarker") == "see plainwordmarker"

    load_secrets(str(path), tmp_path / "project", {})

    assert redact("see plainwordmarker") == f"see {REDACTED}"


@pytest.mark.row("N-12")
@given(
    secret=st.text(min_size=6, max_size=80).filter(lambda text: len("".join(text.split())) >= 6),
    before=st.text(max_size=30),
    after=st.text(max_size=30),
)
def test_redactor_of_any_secret_in_any_spelling_leaves_none(
    secret: str, before: str, after: str
) -> None:
    """A secret is removed as text, as JSON and in an address."""
    word = max(secret.split(), key=len)
    if len(word) < 6 or word in REDACTED:
        return
    redactor = Redactor([secret])

    for spelling in (word, json.dumps(word)[1:-1], quote(word, safe="")):
        assert spelling not in redactor(f"{before}{spelling}{after}").replace(REDACTED, "\0")


@pytest.mark.row("N-12")
def test_redactor_of_a_secret_within_another_leaves_no_rest() -> None:
    """The longer of two overlapping values is removed first."""
    redactor = Redactor(["password", "password-and-more"])

    assert redactor("is password-and-more") == f"is {REDACTED}"


@pytest.mark.row("N-12")
@pytest.mark.parametrize(
    ("text", "marker"),
    [
        (f"key {KEY} used", KEY),
        ('{"api_key": "abcd1234"}', "abcd1234"),
        ("X-MBX-APIKEY: abcd1234", "abcd1234"),
        ("apiSecret=abcd1234&x=1", "abcd1234"),
        ("https://api.example/v3?signature=0a1b2c3d", "0a1b2c3d"),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("Authorization: Token abcd1234", "abcd1234"),
        ('{"Authorization": "ApiKey abcd1234"}', "abcd1234"),
        ("Authorization: abcd1234\nHost: example", "abcd1234"),
        ("postgres://me:open-sesame@db/x", "open-sesame"),
        ("HTTPS://me:open-sesame@db/x", "open-sesame"),
        ("redis://:open-sesame@db/x", "open-sesame"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", "MIIB"),
        ("-----BEGIN EC PRIVATE KEY-----\nMIIB", "MIIB"),
        ("password: hunter22", "hunter22"),
        ("TOKEN='ghp_0123456789'", "ghp_0123456789"),
    ],
)
def test_redactor_without_any_known_value_takes_out_what_looks_like_a_key(
    text: str, marker: str
) -> None:
    """Text that looks like a key is removed even without known values."""
    shown = Redactor()(text)

    assert marker not in shown
    assert REDACTED in shown


@pytest.mark.parametrize(
    "text",
    [
        SHA256,
        f'{{"cmdline_hash": "{SHA256}"}}',
        "id 3f2b8a60-7c1d-4e7a-9a51-0c9f6d1b2a3e",
        "price 61837.63000000 qty 0.00100",
        "the signal token count is fine",
        "RISK_LIMIT: drawdown 5.1 % of 5.0 %",
        "basic authorization of a model by its gate",
        f"Authorization: {REDACTED} was refused",
    ],
)
def test_redactor_of_ordinary_text_changes_nothing(text: str) -> None:
    """Hashes, ids, numbers and sentences stay readable."""
    assert Redactor()(text) == text


@pytest.mark.parametrize(
    ("key", "expected"),
    [("api_key", True), ("apiSecret", True), ("db_password", True), ("key", False), ("qty", False)],
)
def test_names_secret_judges_a_field_by_its_name(key: str, expected: bool) -> None:
    """A field named like a secret counts as one."""
    assert names_secret(key) is expected


@pytest.mark.process
@pytest.mark.row("N-11")
def test_secrets_inside_the_tree_refuse_the_start_whoever_names_them(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preflight refuses a path in the tree that the environment names."""
    config = load_config(project / "config/nore-demo.v1.json", [], {})
    var = Var(tmp_path / "var")
    fine = {result.name: result.passed for result in preflight(config, var)}

    monkeypatch.setenv("MINIBOT_SECRETS_FILE", str(project / "secrets.env"))
    refused = [result for result in preflight(config, var) if not result.passed]

    assert fine["secrets"] is True
    assert [result.name for result in refused] == ["secrets"]
    assert "CONFIG_PATH_ESCAPE" in refused[0].found


@pytest.mark.row("N-11")
def test_secrets_path_is_read_by_one_module_alone(project: Path) -> None:
    """One module alone reads the variable and the config's path."""
    readers = [
        path.relative_to(project).as_posix()
        for path in sorted((project / "minibot").rglob("*.py"))
        if "MINIBOT_SECRETS_FILE" in path.read_text(encoding="utf-8")
        or "load_secrets(" in path.read_text(encoding="utf-8").replace("def load_secrets(", "")
    ]

    # Preflight refuses a wrong file, a role's context gives its log the values to remove, and the
    # launcher signs its seals; alerts need the addresses of their targets.
    callers = {
        *("watchdog/preflight.py", "runtime/context.py", "runtime/signing.py"),
        "ops/alerts/targets.py",
    }
    assert set(readers) == {f"minibot/{name}" for name in callers | {"runtime/secrets.py"}}
