"""Cut: all journals at one moment, whatever their writers do meanwhile."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibot.kernel.cut import JournalCut, cut_below, unsealed_chunks
from minibot.kernel.errors import IntegrityError, Transient
from minibot.kernel.journal import JournalWriter
from minibot.kernel.system import Files
from tests.kernel.kernel_support import change, line_of, lines_of, open_journal, read_all


class Racing(Files):
    """Files under which two writers append, cause before effect, between any two reads of a head.

    The effect's journal is first in the cut's order, so one reading of all heads would tear them.
    """

    def __init__(self, root: Path, seed: int, moves: int, share: float = 0.7) -> None:
        super().__init__()
        self.causes = _writer(root / "z_causes")
        self.effects = _writer(root / "a_effects")
        self._random, self._moves, self._share = Random(seed), moves, share

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Append now and then, and read."""
        if self._moves and self._random.random() < self._share:
            self._moves -= 1
            if self._random.random() < 0.5 or self.effects.position == self.causes.position:
                self.causes.append([line_of(self.causes.position.seq + 1)])
            else:
                self.effects.append([line_of(self.effects.position.seq + 1)])
        return super().pread(fd, size, offset)

    def sleep(self, seconds: float) -> None:
        """Do not wait: time is what the writers make of it."""


def _writer(folder: Path) -> JournalWriter:
    folder.mkdir(exist_ok=True)
    return open_journal(folder)


def content(cut: JournalCut) -> bytes:
    """Return the unsealed bytes of a cut."""
    return b"".join(unsealed_chunks(cut))


@given(seed=st.integers(0, 2**32), moves=st.integers(0, 40))
def test_cut_never_holds_an_effect_without_its_cause(
    tmp_path_factory: pytest.TempPathFactory, seed: int, moves: int
) -> None:
    """Whatever two writers append between the reads of heads, each effect's cause is inside."""
    root = tmp_path_factory.mktemp("queues")
    files = Racing(root, seed, moves)

    cuts = {cut.folder.name: cut.head.lines for cut in cut_below(root, files=files)}

    files.causes.close()
    files.effects.close()
    assert cuts["a_effects"] <= cuts["z_causes"]


def test_heads_that_never_stand_still_are_told_and_nothing_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cut gives up after its tries, to be tried again, rather than tear the run."""
    monkeypatch.setattr("minibot.kernel.cut.TRIES_MAX", 20)
    files = Racing(tmp_path, 1, 10_000, share=1)

    with pytest.raises(Transient):
        cut_below(tmp_path, files=files)

    files.causes.close()
    files.effects.close()


def test_lines_above_the_cut_are_left_out_and_a_rotation_since_changes_nothing(
    tmp_path: Path,
) -> None:
    """Bytes of the cut are the same after later appends and the renaming of their segment."""
    writer = open_journal(tmp_path, segment_bytes=4096)
    writer.append(lines_of(1, 7))
    before = (tmp_path / "inbox.jsonl").read_bytes()
    (cut,) = cut_below(tmp_path)
    for number in range(8, 80):
        writer.append([line_of(number)])
    writer.close()

    assert (tmp_path / "inbox.000001.jsonl").exists()
    assert content(cut) == before
    assert cut.segments == []


def test_cut_behind_a_rotation_lists_the_sealed_segments_below_its_head(tmp_path: Path) -> None:
    """Segments of the cut are those before its head, each with the sha256 of its file."""
    writer = open_journal(tmp_path, segment_bytes=4096)
    for number in range(1, 100):
        writer.append([line_of(number)])
    (cut,) = cut_below(tmp_path)
    for number in range(100, 200):
        writer.append([line_of(number)])
    writer.close()

    sealed = [sha256((tmp_path / one.name).read_bytes()).hexdigest() for one in cut.segments]
    assert len(sealed) == cut.head.segment - 1 > 0
    assert sealed == [one.sha256 for one in cut.segments]
    assert content(cut).count(b"\n") + sum(one.lines for one in cut.segments) == 99


def test_damage_below_the_head_is_an_error_and_no_copy(tmp_path: Path) -> None:
    """A changed byte, and a shorter file, are refused: no backup holds them silently."""
    writer = open_journal(tmp_path)
    writer.append(lines_of(1, 20))
    writer.close()
    (cut,) = cut_below(tmp_path)
    path = tmp_path / "inbox.jsonl"
    whole = path.read_bytes()

    change(path, 90)
    with pytest.raises(IntegrityError):
        content(cut)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError):
        content(cut)
    # Whole lines of another history, as long as these.
    swapped = whole.splitlines(keepends=True)
    swapped[0], swapped[7] = swapped[7], swapped[0]
    path.write_bytes(b"".join(swapped))
    with pytest.raises(IntegrityError):
        content(cut)
    path.write_bytes(whole)
    assert content(cut) == whole
    assert len(read_all(tmp_path)) == 20
