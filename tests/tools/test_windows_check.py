"""tools.windows_check: missing parts are named, and a failed step is no success."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import windows_check
from tools.windows_check import Failed, Wine

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: Wine"),
    pytest.mark.process,
]

PYTHON = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
echo "replay 20261120_090400: identical, digest {digest}"
echo "gate schema: {gate}"
exit {code}
"""


def stand_in(folder: Path, *, code: int = 0, gate: str = "passes", digest: str = "a" * 64) -> Wine:
    """Return a Windows Python that always gives the same answer."""
    folder.mkdir(exist_ok=True)
    script = folder / "python"
    script.write_text(PYTHON.format(code=code, gate=gate, digest=digest))
    script.chmod(0o755)
    return Wine(folder)


@pytest.mark.row("N-124")
def test_check_without_the_builder_names_it_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing builder is named, and is no failure."""
    monkeypatch.setattr(windows_check, "BUILDER", tmp_path / "make-windows-python")

    assert windows_check.main(["--folder", str(tmp_path / "windows")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("SKIPPED: ")
    assert "make-windows-python" in last


@pytest.mark.row("N-124")
def test_check_without_wine_names_the_packages_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing packages of Wine are named, and are no failure."""
    builder = tmp_path / "make-windows-python"
    builder.write_text("exit 3\n")
    monkeypatch.setattr(windows_check, "BUILDER", builder)
    monkeypatch.setattr(windows_check, "PROGRAMS", ("wine-that-nobody-has",))

    assert windows_check.main(["--folder", str(tmp_path / "windows")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("SKIPPED: ")
    assert "wine-that-nobody-has" in last
    assert "wine64" in last


def test_check_with_a_builder_that_fails_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A builder that fails is a failure."""
    builder = tmp_path / "make-windows-python"
    builder.write_text("echo no wheel for orjson; exit 3\n")
    monkeypatch.setattr(windows_check, "BUILDER", builder)
    monkeypatch.setattr(windows_check, "PROGRAMS", ())

    assert windows_check.main(["--folder", str(tmp_path / "windows")]) == 1
    assert "no wheel for orjson" in capsys.readouterr().out


def test_step_with_another_exit_code_fails_with_its_last_words(tmp_path: Path) -> None:
    """A step with another exit code fails with its last output."""
    with pytest.raises(Failed, match="exit code 10"):
        windows_check.verify(stand_in(tmp_path, code=10))


def test_gate_that_fails_or_says_nothing_fails_its_step(tmp_path: Path) -> None:
    """A gate that fails or prints nothing fails its step."""
    assert windows_check.gates(stand_in(tmp_path)) == "schema: passes"
    with pytest.raises(Failed, match="gate schema: fails"):
        windows_check.gates(stand_in(tmp_path, code=1, gate="fails"))


def test_digest_that_differs_fails_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A different digest fails its step."""
    text = "replay 20261120_090400: identical, digest " + "a" * 64
    monkeypatch.setattr(windows_check, "_here", lambda *_words: text)
    (tmp_path / "run" / "runs" / "20261120_090400").mkdir(parents=True)

    assert "a" * 64 in windows_check.replay(stand_in(tmp_path))
    with pytest.raises(Failed, match="b" * 64):
        windows_check.replay(stand_in(tmp_path, digest="b" * 64))
