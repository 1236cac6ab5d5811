"""Golden runs: what is kept is what was recorded, and its replay gives the digest beside it."""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
from pathlib import Path

import pytest

from minibot.cli.support.packed import ARCHIVE, unpacked
from minibot.compiled import build_folder, stale
from minibot.kernel.errors import Refusal
from tools.golden.fixture import FIXTURES, golden_runs, tar_of, wrong_sums
from tools.golden.pythons import NEEDED, own
from tools.golden.variants import OTHERS, Variant, differences, replayed

GOLDEN = golden_runs()
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The golden runs, unpacked."""
    return [run.unpack(tmp_path_factory.mktemp("golden")) for run in GOLDEN]


@pytest.mark.row("S-58")
def test_fixtures_of_every_folder_match_their_sums() -> None:
    """Each fixture's sha256 is recorded, and `sha256sum -c` would find every file as recorded."""
    manifests = sorted(FIXTURES.glob("*/manifest.sha256"))

    assert {run.folder for run in GOLDEN} <= {path.parent for path in manifests}
    assert [text for path in manifests for text in wrong_sums(path)] == []


def test_golden_runs_cover_tape_crash_and_faults() -> None:
    """There are at least three, small, and in each something was bought and sold."""
    assert {"sample_run", "crash_run", "faults_run"} <= {run.name for run in GOLDEN}
    for run in GOLDEN:
        assert run.outputs["fills"] >= 2
        assert (run.folder / ARCHIVE).stat().st_size < 700_000


@pytest.mark.process
@pytest.mark.row("N-02", "N-31", "S-50", "S-59")
def test_golden_run_replayed_by_the_verb_prints_the_recorded_digest(tmp_path: Path) -> None:
    """`minibot replay tests/fixtures/sample_run`: identical, and the digest beside the archive."""
    run = next(run for run in GOLDEN if run.name == "sample_run")
    argv = [sys.executable, "-m", "minibot", "replay", str(run.folder), "--var", str(tmp_path)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"identical, digest {run.digest}" in done.stdout


@pytest.mark.process
@pytest.mark.row("N-02", "N-121")
def test_golden_runs_with_another_locale_zone_and_hash_seed_give_the_same_digests(
    folders: list[Path],
) -> None:
    """Neither hash seed nor locale nor time zone is part of a decision."""
    found = replayed(own(), OTHERS[1], folders)

    assert not isinstance(found, str), found
    assert differences(GOLDEN, found) == []


@pytest.mark.skipif(
    stale(build_folder()) is not None,
    reason="no compiled build of these sources: python -m tools.compile (needs a C compiler)",
)
def test_golden_runs_by_compiled_cores_give_the_same_digests(folders: list[Path]) -> None:
    """Compiled and interpreted cores decide alike, byte for byte."""
    found = replayed(own(), Variant("compiled", {"MINIBOT_COMPILED": "1"}), folders)

    assert not isinstance(found, str), found
    assert differences(GOLDEN, found) == []


def test_golden_run_with_another_digest_is_named(folders: list[Path]) -> None:
    """What differs is named with both digests, and so is a run that is not there."""
    right = {run.run_id: {"digest": run.digest, "identical": True} for run in GOLDEN}
    first = GOLDEN[0]
    wrong = {**right, first.run_id: {"digest": "0" * 64, "identical": True}}

    assert differences(GOLDEN, right) == []
    assert differences(GOLDEN, wrong) == [
        f"{first.name}: expected digest {first.digest}, found {'0' * 64}"
    ]
    assert len(differences(GOLDEN, {})) == len(GOLDEN)


def test_packed_run_is_the_same_bytes_from_the_same_folder(folders: list[Path]) -> None:
    """Packing depends on names and contents alone: what was unpacked packs to the same bytes."""
    archive = (GOLDEN[0].folder / ARCHIVE).read_bytes()

    assert tar_of(folders[0]) == lzma.decompress(archive)


def test_packed_run_that_is_damaged_is_refused(tmp_path: Path) -> None:
    """A cut archive is refused with a sentence, and nothing of it is taken for a run."""
    data = (GOLDEN[0].folder / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(data[: len(data) // 2])

    with pytest.raises(Refusal, match="is no packed run"):
        unpacked(tmp_path / ARCHIVE, tmp_path)


@pytest.mark.process
def test_replay_imports_no_package_beyond_those_of_other_pythons() -> None:
    """The small environments of other Pythons hold all that a replay imports."""
    words = (
        "import json, sys, importlib.metadata as m; import tools.golden.child; "
        "import minibot.strategies.core, minibot.risk.core, minibot.execution.core; "
        "tops = m.packages_distributions(); "
        "print(json.dumps(sorted({n for t in {k.partition('.')[0] for k in sys.modules} "
        "for n in tops.get(t, [])})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    found = {name.lower().replace("_", "-") for name in json.loads(done.stdout)}

    # What an interpreter's own set-up drags in is no import of ours.
    assert found - {"minibot", "setuptools", "typing-extensions"} <= set(NEEDED)
