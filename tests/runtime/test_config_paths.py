"""Paths in a profile: confined to their folders, in both spellings."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.errors import ConfigError
from minibot.runtime.configuration.config import load_config
from minibot.runtime.paths import PROJECT, Var, escape_reason, find, is_within, plain, resolve

DEMO = PROJECT / "config" / "nore-demo.v1.json"
LAYERS = ["profile.json", "manifest.json", "--set", "minibot settings", "MINIBOT__PATHS__VAR"]
"""Names of a profile's file: an ordinary one, and those by which other layers are told."""

ESCAPES = [
    "../x", "a/../../x", "..", "a\\..\\b", "\\\\server\\share", "//server/share", "\\\\?\\C:\\x",
    "\\\\.\\pipe\\x", "CON", "nul", "a/NUL.txt", "com1", "LPT9.log", "aux/b", "a:stream", "a/b:c",
    "C:x", "a\x00b", "a\nb", " a", "a ", "a./b", "what?", "a*", "", "conin$",
]  # fmt: skip


@pytest.mark.parametrize("text", ESCAPES)
def test_escape_of_a_hostile_path_is_seen_on_every_system(text: str) -> None:
    """Hostile paths of any system are recognised (F144)."""
    assert escape_reason(text)


@pytest.mark.parametrize(
    "text",
    ["var", "var/lab/x", "a.b/c", "./var", "/srv/minibot/var", "C:\\secrets\\keys.json",
     "C:/secrets", "con-tent", "null", "nulls/x", ".hidden", "a b/c"],
)  # fmt: skip
def test_escape_of_a_plain_path_is_none(text: str) -> None:
    """Ordinary paths of any system pass."""
    assert escape_reason(text) is None


@pytest.mark.row("F144")
@pytest.mark.parametrize("text", [text for text in ESCAPES if text and "\x00" not in text])
@pytest.mark.parametrize("key", ["paths.var", "queues.base_dir", "ai.base_dir", "secrets.path"])
def test_config_path_that_escapes_is_refused_with_its_code(key: str, text: str) -> None:
    """A hostile path in any key is CONFIG_PATH_ESCAPE, from --set too."""
    with pytest.raises(ConfigError) as refusal:
        load_config(DEMO, [f"{key}={text}"])

    assert len(refusal.value.violations) == 1
    assert refusal.value.violations[0].startswith(f"{key} = ")
    assert "CONFIG_PATH_ESCAPE" in refusal.value.violations[0]


@pytest.mark.parametrize("key", ["queues.base_dir", "ai.base_dir"])
@pytest.mark.parametrize("text", ["/tmp/queues", "C:\\queues", "C:/queues"])
def test_config_folder_of_queues_is_never_absolute(key: str, text: str) -> None:
    """Folders of queues and of the AI stay below paths.var."""
    with pytest.raises(ConfigError, match="violation") as refusal:
        load_config(DEMO, [f"{key}={text}"])

    assert "CONFIG_PATH_ESCAPE" in refusal.value.violations[0]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("is_base", [False, True])
def test_config_var_outside_the_project_is_for_the_one_who_types_it(
    tmp_path: Path, name: str, *, is_base: bool
) -> None:
    """--set and --var may name any folder; a file or variable only one inside the project."""
    assert load_config(DEMO, [f"paths.var={tmp_path}"]).var.root == tmp_path
    inside = PROJECT / "var" / "lab" / "x"
    assert load_config(DEMO, [], {"MINIBOT__PATHS__VAR": str(inside)}).var.root == inside

    with pytest.raises(ConfigError) as refusal:
        load_config(DEMO, [], {"MINIBOT__PATHS__VAR": str(tmp_path)})
    assert "CONFIG_PATH_ESCAPE" in refusal.value.violations[0]
    file = led_out(tmp_path, name, is_base=is_base)
    with pytest.raises(ConfigError) as refusal:
        load_config(file)
    assert "CONFIG_PATH_ESCAPE" in refusal.value.violations[0]


@pytest.mark.parametrize("name", LAYERS)
def test_file_with_the_name_of_a_layer_is_a_file(tmp_path: Path, name: str) -> None:
    """Keys of a base are not chosen, those of an overlay are, whatever the files are called."""
    whole = tmp_path / name
    whole.write_bytes((PROJECT / "config" / "nore.v1.json").read_bytes())
    overlay = tmp_path / "mine.json"
    overlay.write_text(json.dumps({"extends": name, "seed": 5}), encoding="utf-8")
    based = load_config(overlay)
    overlay = overlay.rename(tmp_path / "base.json")
    overlay.write_bytes(whole.read_bytes())
    whole.write_text(json.dumps({"extends": "base.json", "seed": 5}), encoding="utf-8")
    over = load_config(whole)

    assert (based.layer_of("seed"), based.layer_of("mode")) == ("overlay", "base")
    assert (over.layer_of("seed"), over.layer_of("mode")) == ("overlay", "base")
    assert set(based.given) == set(over.given) == {"seed"}


def led_out(folder: Path, name: str, *, is_base: bool) -> Path:
    """Write a profile of a name, whole or the base of an overlay, whose `var` leads out."""
    raw = json.loads((PROJECT / "config" / "nore.v1.json").read_text(encoding="utf-8"))
    raw["paths"]["var"] = str(folder)
    (folder / name).write_text(json.dumps(raw), encoding="utf-8")
    if not is_base:
        return folder / name
    overlay = folder / "mine.json"
    overlay.write_text(json.dumps({"extends": name}), encoding="utf-8")
    return overlay


@pytest.mark.parametrize("text", [".", "./", "minibot/..", str(PROJECT)])
def test_config_var_that_is_the_project_is_refused(text: str) -> None:
    """The project itself is refused as `var`."""
    with pytest.raises(ConfigError):
        load_config(DEMO, [f"paths.var={text}"])


@pytest.mark.row("N-11")
@pytest.mark.parametrize("text", [str(PROJECT / "secrets.json"), str(PROJECT), "secrets.json"])
def test_config_secrets_inside_the_project_are_refused(text: str) -> None:
    """Secrets inside the project, or by a relative path, are refused."""
    with pytest.raises(ConfigError) as refusal:
        load_config(DEMO, [f"secrets.path={text}"])

    assert "N-11" in refusal.value.violations[0]


@pytest.mark.row("N-11")
def test_config_secrets_outside_the_project_are_accepted(tmp_path: Path) -> None:
    """A secrets path outside the project is accepted, even before the file exists."""
    assert load_config(DEMO, [f"secrets.path={tmp_path / 'keys'}"]).secrets.path


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_config_secrets_reached_through_a_link_into_the_project_are_refused(
    tmp_path: Path,
) -> None:
    """A link into the project is refused as a secrets path."""
    link = tmp_path / "link"
    link.symlink_to(PROJECT, target_is_directory=True)

    with pytest.raises(ConfigError):
        load_config(DEMO, [f"secrets.path={link / 'keys'}"])


@pytest.mark.row("X-16")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("minibot/config/nore.v1.json", "config/nore.v1.json"),
        ("minibot\\config\\nore.v1.json", "config/nore.v1.json"),
        ("./minibot/var/queues", "var/queues"),
        ("minibot/contracts", "contracts"),
        ("config/nore.v1.json", "config/nore.v1.json"),
        ("minibot/risk/core.py", "minibot/risk/core.py"),
        ("minibot", "minibot"),
        ("minibots/config/x", "minibots/config/x"),
        ("/minibot/config/x", "/minibot/config/x"),
    ],
)
def test_plain_drops_the_specifications_root_and_nothing_else(text: str, expected: str) -> None:
    """`minibot/` is dropped only before a top-level folder of the project."""
    assert plain(text) == expected


def test_resolve_is_absolute_and_below_the_project() -> None:
    """Both spellings resolve to the same absolute path."""
    assert resolve("var/x") == resolve("minibot/var/x") == PROJECT / "var" / "x"
    assert resolve(Path("/srv/x")) == Path("/srv/x").absolute() or os.name == "nt"


def test_find_prefers_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is searched in the working folder first, then in the project."""
    monkeypatch.chdir(tmp_path)
    assert find("config/nore.v1.json") == PROJECT / "config" / "nore.v1.json"
    (tmp_path / "config").mkdir()
    own = tmp_path / "config" / "nore.v1.json"
    own.write_text("{}", encoding="utf-8")
    assert find("config/nore.v1.json").resolve() == own.resolve()
    assert find("minibot/config/nore.v1.json").resolve() == own.resolve()


@given(st.text(max_size=30))
def test_escape_accepts_no_relative_path_that_leads_out(text: str) -> None:
    """Any accepted relative path stays below its base."""
    if escape_reason(text) is None and not Path(text).is_absolute():
        base = Path("/base") if os.name != "nt" else Path("C:/base")
        assert is_within(base / text, base)


def test_var_names_the_folders_below_one_root(tmp_path: Path) -> None:
    """All folders of a run lie below one root; a drill has its own root inside."""
    var = Var(tmp_path)
    for path in (var.queues, var.runs, var.stop, var.requests, var.logs, var.metrics, var.ai):
        assert path.parent == tmp_path
    assert var.run("20240808_235413") == tmp_path / "runs" / "20240808_235413"
    assert var.lab_of("drill").queues == tmp_path / "lab" / "drill" / "queues"
