"""tools.bit_flips: a slice of all bits in every test run; it notices a blind verify."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import bit_flips
from tools.bit_flips import Flip, Judge, flips_of, judge_all, make_reference

pytestmark = pytest.mark.campaign

STRIDE = 97


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of the reference run."""
    return make_reference(tmp_path_factory.mktemp("flips") / "var")


@pytest.mark.row("N-39", "N-40", "F17")
def test_every_flipped_bit_of_a_slice_is_found_and_placed(content: dict[str, bytes]) -> None:
    """Every flipped bit of a slice is found in place, and none is read as something else."""
    flips = list(flips_of(content, STRIDE, seed=1))
    judged = judge_all(content, flips, jobs=1)

    assert judged.wrong == []
    assert sum(judged.counts.values()) == len(flips) > 5000
    assert {file for file, _ in judged.counts} == set(content)


def test_reference_is_a_whole_run_of_64_kib(content: dict[str, bytes]) -> None:
    """The reference has segments, cursors, acks and a seal, like a night."""
    queue = {name: data for name, data in content.items() if "/inbox." in name}
    sizes = [len(data) for name, data in queue.items() if name.endswith(".jsonl")]
    names = {name.rpartition("/")[2] for name in content}

    assert sum(sizes) >= 64 * 1024
    assert len(sizes) >= 8
    assert names >= {"cursor.json", "acks.jsonl", "inbox.head", "segments.json"}
    assert names >= {"manifest.json", "seal.json", "SHA256SUMS", "seal.sig"}


def test_strides_of_all_seeds_together_are_every_bit_once() -> None:
    """All slices together are every bit once."""
    content = {"a": b"ab", "b": b"c"}
    parts = [flip for seed in range(5) for flip in flips_of(content, 5, seed)]

    assert sorted(parts) == sorted(flips_of(content))
    assert len(parts) == 24


def test_blind_verify_and_a_careless_reader_are_called_wrong(
    content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blind verify and a careless reader are judged wrong."""
    file = next(name for name in sorted(content) if name.endswith("inbox.000001.jsonl"))
    flip = Flip(file, 100, 0)
    assert not Judge(content).judge([flip]).wrong

    monkeypatch.setattr(Judge, "_audited", lambda *_: [])
    assert "expected a finding" in Judge(content).judge([flip]).wrong[0]
    monkeypatch.undo()
    judge = Judge(content)
    monkeypatch.setattr(Judge, "_read", lambda *_: ([b"{}"], ""))
    assert "never written" in judge.judge([flip]).wrong[0]


def test_command_says_how_many_on_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The last line has the counts; the exit code is 0."""
    assert bit_flips.main(["--stride", "5003", "--seed", "2", "--jobs", "1"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]

    assert last.startswith("flips ")
    assert last.endswith("harmless 0, wrong 0")


def test_reference_is_the_same_every_time(tmp_path: Path, content: dict[str, bytes]) -> None:
    """The reference is always the same, so a slice repeats its finding."""
    assert make_reference(tmp_path / "var") == content
