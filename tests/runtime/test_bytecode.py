"""Bytecode beside sources: reported and ignored kinds."""

from __future__ import annotations

import marshal
import py_compile
import sys
from pathlib import Path

import pytest

from minibot.runtime.deployment.bytecode import BytecodeCheck, planted
from tests.product import plant

TAG = sys.implementation.cache_tag
SOURCE = "LIMIT = 1\n\n\ndef over(value):\n    return value > LIMIT\n"
CACHED = f"minibot/risk/__pycache__/limits.{TAG}.pyc"
MODES = py_compile.PycInvalidationMode


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Source in a small project."""
    path = tmp_path / "minibot" / "risk" / "limits.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    return path


def compile_to(
    source: Path, name: str = CACHED, mode: MODES = MODES.TIMESTAMP, optimize: int = 0
) -> Path:
    """Compile a source like Python; return the bytecode file."""
    target = source.parents[2] / name
    py_compile.compile(
        str(source), str(target), doraise=True, invalidation_mode=mode, optimize=optimize
    )
    return target


@pytest.mark.row("N-23")
def test_bytecode_that_its_source_compiles_to_is_right(tmp_path: Path, source: Path) -> None:
    """Bytecode that matches its source is right, by time or hash, optimized or not."""
    compile_to(source)
    compile_to(source, CACHED.replace(".pyc", ".opt-1.pyc"), MODES.CHECKED_HASH, 1)
    compile_to(source, CACHED.replace(".pyc", ".opt-2.pyc"), MODES.TIMESTAMP, 2)

    assert planted(tmp_path) == []


@pytest.mark.row("N-23", "F162")
@pytest.mark.parametrize("mode", [MODES.TIMESTAMP, MODES.CHECKED_HASH])
@pytest.mark.parametrize(
    "text",
    [
        SOURCE.replace("LIMIT = 1", "LIMIT = 9"),
        SOURCE.replace("LIMIT = 1", "LIMIT = 1.0"),
        SOURCE.replace("value > LIMIT", "value < LIMIT"),
        SOURCE + "print('here')\n",
    ],
)
def test_bytecode_of_another_code_under_the_stamp_of_its_source_is_named(
    tmp_path: Path, source: Path, mode: MODES, text: str
) -> None:
    """Bytecode of other code under its source's stamp is named after any change."""
    target = compile_to(source, mode=mode)
    code = compile(text, str(source), "exec", dont_inherit=True)
    target.write_bytes(target.read_bytes()[:16] + marshal.dumps(code))

    assert planted(tmp_path) == [f"{CACHED}: is not what its source compiles to"]


@pytest.mark.row("N-23", "F162")
def test_bytecode_that_is_run_unchecked_is_named_also_when_it_is_right(
    tmp_path: Path, source: Path
) -> None:
    """Unchecked bytecode is named even when it is right, as later changes would go unnoticed."""
    compile_to(source, mode=MODES.UNCHECKED_HASH)

    assert planted(tmp_path) == [f"{CACHED}: is run unchecked, whatever its source says"]


@pytest.mark.row("N-23")
def test_bytecode_that_python_passes_over_is_no_finding(tmp_path: Path, source: Path) -> None:
    """Bytecode that Python ignores is no finding: stale, of another version, without source."""
    stale = compile_to(source)
    compile_to(source, CACHED.replace(TAG, "cpython-39"))
    compile_to(source, CACHED.replace("limits", "gone"))
    foreign = compile_to(source, CACHED.replace(".pyc", ".opt-1.pyc"), optimize=1)
    foreign.write_bytes(b"\0\0\0\0" + foreign.read_bytes()[4:])
    source.write_text(SOURCE + "MORE = 2\n")

    assert stale.exists()
    assert planted(tmp_path) == []


@pytest.mark.process
@pytest.mark.row("N-23", "F162")
def test_check_runs_in_a_process_that_reads_no_bytecode_of_the_tree(
    tmp_path: Path, source: Path
) -> None:
    """The check's process reads none of the tree's bytecode, and names planted files."""
    plant(source, tmp_path / "executed")
    broken = source.with_name("core.py")
    broken.write_text(SOURCE)
    target = compile_to(broken, CACHED.replace("limits", "core"))
    target.write_bytes(target.read_bytes()[:20])

    found = BytecodeCheck(tmp_path).result()

    assert [text.partition(":")[0] for text in found] == [CACHED.replace("limits", "core"), CACHED]
    assert not (tmp_path / "executed").exists()


@pytest.mark.process
def test_check_that_breaks_off_is_a_finding(tmp_path: Path) -> None:
    """A check that crashes is a finding."""
    check = BytecodeCheck(
        tmp_path, has_environment=True
    )  # The check fails without a pyproject.toml.

    assert "could not be judged" in check.result()[0]


@pytest.mark.process
@pytest.mark.row("N-124")
def test_check_that_breaks_off_with_letters_of_a_code_page_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crashed check whose last word has a letter of Windows' code page is a finding."""
    words = "import sys; sys.stderr.buffer.write(b'J\\xfcrgen'); sys.exit(1)"
    monkeypatch.setattr("minibot.listed.flags", lambda private: ["-c", words])

    found = BytecodeCheck(tmp_path).result()

    assert "could not be judged: exit code 1: J" in found[0]
