"""Golden runs: kept as recorded, with a replay that gives the recorded digest."""

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
    """Golden runs, unpacked."""
    return [run.unpack(tmp_path_factory.mktemp("golden")) for run in GOLDEN]


@pytest.mark.row("S-58")
def test_fixtures_of_every_folder_match_their_sums() -> None:
    """Every fixture matches its recorded sha256."""
    manifests = sorted(FIXTURES.glob("*/manifest.sha256"))

    assert {run.folder for run in GOLDEN} <= {path.parent for path in manifests}
    assert [text for path in manifests for text in wrong_sums(path)] == []


def test_golden_runs_cover_tape_crash_and_faults() -> None:
    """At least three small golden runs exist (tape, crash, faults), each with trades."""
    assert {"sample_run", "crash_run", "faults_run"} <= {run.name for run in GOLDEN}
    for run in GOLDEN:
        assert run.outputs["fills"] >= 2
        assert (run.folder / ARCHIVE).stat().st_size < 700_000


@pytest.mark.process
@pytest.mark.row("N-02", "N-31", "S-50", "S-59")
def test_golden_run_replayed_by_the_verb_prints_the_recorded_digest(tmp_path: Path) -> None:
    """`minibot replay tests/fixtures/sample_run` prints the recorded digest."""
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
    """Hash seed, locale and time zone do not change a golden digest."""
    found = replayed(own(), OTHERS[1], folders)

    assert not isinstance(found, str), found
    assert differences(GOLDEN, found) == []


@pytest.mark.process
@pytest.mark.skipif(
    stale(build_folder()) is not None,
    reason="no compiled build of these sources: python -m tools.compile (needs a C compiler)",
)
def test_golden_runs_by_compiled_cores_give_the_same_digests(folders: list[Path]) -> None:
    """Compiled cores give the same golden digests."""
    found = replayed(own(), Variant("compiled", {"MINIBOT_COMPILED": "1"}), folders)

    assert not isinstance(found, str), found
    assert differences(GOLDEN, found) == []


def test_golden_run_with_another_digest_is_named(folders: list[Path]) -> None:
    """A differing digest, and a missing run, are named."""
    right = {run.run_id: {"digest": run.digest, "identical": True} for run in GOLDEN}
    first = GOLDEN[0]
    wrong = {**right, first.run_id: {"digest": "0" * 64, "identical": True}}

    assert differences(GOLDEN, right) == []
    assert differences(GOLDEN, wrong) == [
        f"{first.name}: expected digest {first.digest}, found {'0' * 64}"
    ]
    assert len(differences(GOLDEN, {})) == len(GOLDEN)


def test_packed_run_is_the_same_bytes_from_the_same_folder(folders: list[Path]) -> None:
    """Packing depends on names and contents alone."""
    archive = (GOLDEN[0].folder / ARCHIVE).read_bytes()

    assert tar_of(folders[0]) == lzma.decompress(archive)


def test_packed_run_that_is_damaged_is_refused(tmp_path: Path) -> None:
    """A damaged archive is refused in a sentence."""
    data = (GOLDEN[0].folder / ARCHIVE).read_bytes()
    (tmp_path / ARCHIVE).write_bytes(data[: len(data) // 2])

    with pytest.raises(Refusal, match="is not a packed run"):
        unpacked(tmp_path / ARCHIVE, tmp_path)


@pytest.mark.process
def test_replay_imports_no_package_beyond_those_of_other_pythons() -> None:
    """A replay imports no package that the small environments lack."""
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

    # Imports by the interpreter's own set-up are not ours; `events.cells` does without librt, as
    # the replays of those environments show.
    assert found - {"minibot", "setuptools", "typing-extensions", "librt"} <= set(NEEDED)
