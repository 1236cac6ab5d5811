"""`minibot verify`: a run, a queue, a file; findings in order; by the seal alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minibot.kernel.signature import new_keys, sign_run
from tests.kernel.kernel_run import sealed_run
from tests.kernel.kernel_support import change
from tests.runs import ShortRun, verb


@pytest.fixture
def run(var_dir: Path) -> Path:
    """Small sealed run."""
    return sealed_run(var_dir)


@pytest.mark.row("N-39", "N-40")
@pytest.mark.parametrize("flag", [[], ["--quick"], ["--append-only"]])
def test_verify_of_a_run_a_folder_and_a_queue_is_clean(run: Path, flag: list[str]) -> None:
    """Verify of a run, a folder and a queue is clean; only a run includes lineage."""
    words = flag or ["--append-only"]
    for target in (run, run / "queues", run / "queues" / "fills"):
        done = verb(run.parents[1], "verify", str(target), *words)
        assert (done.code, done.out.split()[-1]) == (0, "clean"), done


def test_verify_of_the_latest_is_of_a_run_whatever_lies_here(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file or folder of that name in the working folder takes no run's place."""
    shutil.copytree(short_run.run_dir / "queues" / "fills", tmp_path / "latest")
    monkeypatch.chdir(tmp_path)

    for words in ((), ("latest",)):
        done = verb(short_run.var, "verify", *words, "--append-only")
        assert (done.code, done.out) == (0, f"verify {short_run.run_id}: clean\n")


def test_verify_of_a_file_names_line_and_byte(run: Path) -> None:
    """Verify of a file names line and byte; each finding is in the document; exit code 1."""
    path = run / "queues" / "fills" / "inbox.jsonl"
    size = path.stat().st_size
    change(path, size - 5)
    plain = verb(run.parents[1], "verify", str(path))
    document = verb(run.parents[1], "verify", str(path), "--json")

    assert plain.code == document.code == 1
    finding = document.document["findings"][0]
    assert finding["code"] == "QUEUE_CORRUPT"
    assert f"{finding['file']}:{finding['line']} (byte {finding['offset']})" in plain.out
    assert document.document["count"] == len(document.document["findings"])
    assert not document.document["clean"]


def test_target_that_is_refused_leaves_no_half_of_a_document(tmp_path: Path) -> None:
    """A script that reads standard output gets a whole document or nothing."""
    (tmp_path / "notes.txt").write_text("no file of a queue\n")

    done = verb(tmp_path / "var", "verify", str(tmp_path / "notes.txt"), "--json")

    assert (done.code, done.out) == (2, "")
    assert "cannot be verified" in done.err


def test_verify_tells_every_finding_however_many(run: Path, tmp_path: Path) -> None:
    """Verify lists all of three thousand findings in one document."""
    folder = tmp_path / "loose"
    shutil.copytree(run / "queues" / "fills", folder)
    (folder / "many.jsonl").write_bytes(b"not a line\n" * 3000)
    done = verb(run.parents[1], "verify", str(folder / "many.jsonl"), "--json")

    assert done.code == 1
    assert [finding["line"] for finding in done.document["findings"]] == list(range(1, 3001))


def test_quick_verify_says_what_a_full_one_says_of_a_changed_file(run: Path) -> None:
    """Quick verify finds a changed file like a full one, without naming a line."""
    change(run / "queues" / "fills" / "inbox.000001.jsonl", 90)
    done = verb(run.parents[1], "verify", str(run), "--quick", "--json")

    assert done.code == 1
    assert [(f["file"], f["line"]) for f in done.document["findings"]] == [
        ("queues/fills/inbox.000001.jsonl", 0)
    ]


def test_verify_with_a_public_key_wants_a_signature_by_it(run: Path) -> None:
    """Verify with a public key demands a signature by it; a malformed key is refused."""
    private, public = new_keys()
    words = ["verify", str(run), "--append-only", "--public-key"]

    assert verb(run.parents[1], *words, public).code == 1
    sign_run(run, private)
    assert verb(run.parents[1], *words, public).code == 0
    assert verb(run.parents[1], *words, "key").code == 2


@pytest.mark.parametrize(
    "flags",
    [("--lineage", "--append-only"), ("--quick", "--lineage"), ("--quick", "--append-only")],
)
def test_verify_takes_one_part_of_the_proof_at_a_time(flags: tuple[str, str], run: Path) -> None:
    """Two parts named together are refused, as each alone would leave the other out."""
    done = verb(run.parents[1], "verify", str(run), *flags)

    assert done.code == 2
    assert f"{flags[1]}: not allowed with argument {flags[0]}" in done.err


def test_key_beside_lineage_is_refused(short_run: ShortRun) -> None:
    """Lineage looks at no signature: a key that it ignores would seem to have signed the run."""
    words = ("verify", short_run.run_id, "--lineage", "--public-key")

    done = verb(short_run.var, *words, new_keys()[1])

    assert done.code == 2
    assert "--public-key" in done.err


def test_lineage_of_what_has_none_is_never_clean(short_run: ShortRun, tmp_path: Path) -> None:
    """A run without its manifest has a finding; of a queue no lineage can be asked."""
    copied = shutil.copytree(short_run.run_dir, tmp_path / short_run.run_id)
    (copied / "manifest.json").unlink()

    lost = verb(tmp_path, "verify", str(copied), "--lineage", "--json")
    queue = verb(tmp_path, "verify", str(copied / "queues" / "fills"), "--lineage")

    assert (lost.code, lost.document["clean"]) == (1, False)
    assert lost.document["findings"][0]["file"] == "manifest.json"
    assert queue.code == 2
    assert "fills is not a run" in queue.err
