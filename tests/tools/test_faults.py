"""tools.faults: every fault has a test that says how it is injected, and its outcome."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import faults

CATALOGUE = """
| id | invariant |
| --- | --- |
| I1 | Nothing is lost. |
## A. Files
| id | fault | ends in |
| --- | --- | --- |
| F01 | torn | SURVIVE |
| F02 | full | STOP(IO_ENOSPC / IO_EIO) |
## D. Further on
| F62 | killed | SURVIVE |
| F63 | hung | STOP(ROLE_HUNG) |
"""
TESTS = """
import pytest

@pytest.mark.row("F01")
@pytest.mark.fault("F01", by="cut", ends="SURVIVE")
def test_torn(): ...

@pytest.mark.real_injection("strace")
@pytest.mark.row("F02")
@pytest.mark.fault("F02", by="small disk", ends="STOP(IO_ENOSPC)")
@pytest.mark.fault("F02", by="bad disk", ends="STOP(IO_EIO)")
@pytest.mark.parametrize("code", ["IO_ENOSPC", "IO_EIO"])
def test_full(code): ...

@pytest.mark.row("F62", "I1")
def test_killed(): ...
"""


def make(root: Path, tests: str = TESTS, catalogue: str = CATALOGUE) -> Path:
    """Write a project, and the page made from its tests."""
    for path, text in {
        faults.CATALOGUE: catalogue,
        "tests/room/test_a.py": tests,
        "minibot/gates/chaos_catalogue.py": '_stop("hang", "F63 N-35", "it hangs", freeze)\n',
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    faults.main(["--write", "--root", str(root)])
    return root


def check(root: Path) -> int:
    """Run the check as CI does."""
    return faults.main(["--check", "--root", str(root)])


@pytest.mark.slow
def test_faults_of_this_project_are_what_its_tests_say(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every fault is named by a test or drill, and docs/FAULTS.md is current."""
    code, told = check(project), capsys.readouterr().out

    assert code == 0, told
    assert told.endswith(" 0 by nothing.\n")


def test_check_passes_when_every_fault_has_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page names tests, machine features, drills, and unproven faults."""
    root = make(tmp_path, catalogue=CATALOGUE + "| F64 | stuck | STOP(ROLE_HUNG) |\n")
    page = (root / faults.PAGE).read_text(encoding="utf-8")

    assert check(root) == 0
    text = capsys.readouterr().out.splitlines()[-1]
    assert text.startswith("5 faults: 2 injected by 2 tests")
    assert (
        "| F02 | bad disk (needs strace) | STOP(IO_EIO) | [test_full](../tests/room/test_a.py) |"
        in page
    )
    assert "| I1 | Nothing is lost. | [test_a](../tests/room/test_a.py) |" in page
    assert "| F62 | | named by its row mark | [test_killed](../tests/room/test_a.py) |" in page
    assert "drill `hang` in a whole run" in page
    assert "Without a test or drill: F64." in page


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('fault("F01", by="cut", ends="SURVIVE")', 'row("X-01")', "F01: no test injects it"),
        ('ends="SURVIVE"', 'ends="REFUSE"', "F01 ends in 'REFUSE' here, but in 'SURVIVE'"),
        ('"IO_ENOSPC", "IO_EIO"]', '"IO_ENOSPC"]', "ends in IO_EIO, but the test never names"),
        ('@pytest.mark.row("F02")\n', "", 'no pytest.mark.row("F02") beside its fault'),
        ('fault("F01"', 'fault("F99"', "F99 does not stand in"),
        ('by="cut", ', "", "a fault mark needs ids, by= and ends="),
        (
            '@pytest.mark.fault("F02", by="bad disk", ends="STOP(IO_EIO)")\n',
            "",
            "F02: no test ends in IO_EIO, which docs/reference/faults.md promises",
        ),
    ],
)
def test_check_fails_by_name_when_something_disagrees(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    """A missing test, another outcome, or an unreached code is named."""
    assert old in TESTS
    root = make(tmp_path, TESTS.replace(old, new, 1))

    assert check(root) == 1
    assert said in capsys.readouterr().out


def test_check_fails_for_a_page_that_is_not_the_tests_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page edited by hand, or not regenerated, fails the check."""
    root = make(tmp_path)
    (root / faults.PAGE).write_text("all is well\n", encoding="utf-8")

    assert check(root) == 1
    assert "is not what the tests say" in capsys.readouterr().out


@pytest.mark.parametrize("catalogue", ["", CATALOGUE + CATALOGUE])
def test_check_without_a_sound_catalogue_cannot_run(tmp_path: Path, catalogue: str) -> None:
    """A missing catalogue, or one with a repeated id, cannot be checked."""
    assert check(make(tmp_path, catalogue=catalogue)) == 2
