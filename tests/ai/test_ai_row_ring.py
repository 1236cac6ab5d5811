"""Ring of labelled rows: one block of full size from the beginning, with stable views."""

from __future__ import annotations

import errno
import random
import tracemalloc
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from minibot.ai.dataset import Dataset
from minibot.ai.feature_store import write_pack
from minibot.ai.frames import Frame
from minibot.ai.probabilities import Answers
from minibot.ai.row_ring import ChosenRows, Row, RowRing, in_order
from minibot.ai.training import Tasks, TrainingFailed, TrainingSettings
from minibot.ai.vector import FEATURES

SYMBOLS = ("BTCUSDT", "ETHUSDT")
WIDTH = len(FEATURES)
MB = 1024 * 1024


def features(number: int) -> array[int]:
    """Return features that identify a row by its number, the last one as large as allowed."""
    return array("q", (*(number * 1_000 + at for at in range(WIDTH - 1)), -(10**15)))


def row(number: int) -> Row:
    """Return the row with a number."""
    return Row(number * 1_000, SYMBOLS[number % 2], features(number), number % 3)


def filled(ring: RowRing, first: int, last: int) -> RowRing:
    """Return a ring filled with numbered rows."""
    for number in range(first, last):
        made = row(number)
        ring.add(made.ts, made.symbol, features(number), made.label)
    return ring


@pytest.mark.parametrize("rows", [0, 1, 4, 5, 6, 9, 10, 11, 23])
def test_ring_keeps_the_newest_rows_whole_and_in_order(rows: int) -> None:
    """A ring keeps its newest rows whole and in order, wherever it begins."""
    ring = filled(RowRing(SYMBOLS, 5), 0, rows)

    view = ring.view()

    expected = [row(number) for number in range(max(0, rows - 5), rows)]
    assert len(ring) == len(view) == len(expected)
    assert list(view) == expected == view[:]
    assert view[1:3] == expected[1:3]
    assert [view[-at - 1] for at in range(len(view))] == expected[::-1]
    with pytest.raises(IndexError):
        view[len(expected)]


@pytest.mark.parametrize("before", [3, 5, 7, 12])
@pytest.mark.parametrize("later", [1, 2, 5, 40])
def test_view_stays_as_it_was_when_its_rows_are_overwritten(before: int, later: int) -> None:
    """A view keeps its rows while new ones overwrite the ring, so trainings stay separate."""
    ring = filled(RowRing(SYMBOLS, 5), 0, before)
    one = ring.view()
    expected = list(one)
    filled(ring, before, before + later)
    two = ring.view()
    others = list(two)
    filled(ring, before + later, before + later + 9)

    assert list(one) == expected
    assert list(two) == others == [row(n) for n in range(before + later)][-5:]


def test_row_of_too_few_features_is_refused() -> None:
    """A row of too few features is refused, because it would shift the block."""
    ring = RowRing(SYMBOLS, 5)
    with pytest.raises(ValueError, match="features"):
        ring.add(1, SYMBOLS[0], features(1)[1:], 0)
    assert len(ring) == 0


def test_rows_are_split_as_their_sorted_objects_would_be() -> None:
    """A split of the ring equals a split of sorted objects, in any order of rows and times."""
    chance = random.Random(1)
    for rows in (1, 2, 7, 200):
        made = [
            Row(chance.randrange(0, 40) * 1_000, chance.choice(SYMBOLS), (number,), 0)
            for number in range(rows)
        ]
        ordered = sorted(made, key=lambda item: (item.ts, item.symbol))
        assert list(ChosenRows(made, in_order(made))) == ordered
        assert in_order(ordered) == range(rows)
        first = ordered[rows * 3 // 4].ts
        for data in (made, ordered):
            train, holdout = Dataset(data).split(3_000)
            assert list(train) == [item for item in ordered if item.ts + 8_000 < first]
            assert list(holdout) == [item for item in ordered if item.ts >= first]


@pytest.mark.slow
def test_ring_has_its_memory_from_the_beginning() -> None:
    """A ring uses no further memory for three times its rows, a view and a split."""
    ring = RowRing(SYMBOLS, 20_000)
    made = features(1)
    for number in range(100):
        ring.add(number, SYMBOLS[0], made, 0)
    tracemalloc.start()
    for number in range(100, 60_000):
        ring.add(number, SYMBOLS[0], made, 0)
    kept, _ = tracemalloc.get_traced_memory()
    Dataset(ring.view()).split(30_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert kept < 20_000
    assert peak < 60_000


class _Taker:
    """Sandboxed process that reads one frame at a time."""

    def __init__(
        self,
        most: list[int],
        takes: bool = True,
        answer: bytes = b'{"ok":false,"t":"trained","why":"enough"}',
    ) -> None:
        self._most, self._takes, self._answer = most, takes, answer
        self._waiting = 0

    def wait_until_taken(self, timeout_s: float) -> bool:
        """Read all waiting frames."""
        if self._takes:
            self._waiting = 0
        return self._waiting == 0

    def send(self, frame: Frame) -> bool:
        """Queue a frame."""
        self._waiting += 1
        self._most.append(self._waiting)
        return True

    def receive(self, timeout_s: float = 0.0) -> list[bytes]:
        """Report a whole sandbox once, then the answer: a failed training unless another is set."""
        hello = b'{"isolation":{"level":"jail"},"t":"hello"}'
        return [self._answer if self._most else hello]

    def kill(self) -> None:
        """End the process."""


def tasks(tmp_path: Path, is_cancelled: Callable[[], bool] = lambda: False) -> Tasks:
    """Return tasks that touch no file."""
    settings = TrainingSettings(64, "jail", 1, 30_000, "1s", "1m", "2.0", "real", 1)
    return Tasks(tmp_path, settings, is_cancelled)


def use(monkeypatch: pytest.MonkeyPatch, taker: _Taker) -> None:
    """Use this object as the sandboxed process."""
    monkeypatch.setattr("minibot.ai.training.JailedProcess", lambda *args, **words: taker)


@pytest.mark.slow
def test_training_holds_some_hundred_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training sends a night of rows frame by frame, so memory holds a few hundred at a time."""
    ring = RowRing(SYMBOLS, 20_000)
    for number in range(20_000):
        ring.add(number * 1_000, SYMBOLS[0], features(number % 50), 0)
    rows = ring.view()
    most: list[int] = []
    use(monkeypatch, _Taker(most))
    tracemalloc.start()
    write_pack(tmp_path, Dataset(rows), created_ts=1)
    with pytest.raises(TrainingFailed, match="enough"):
        tasks(tmp_path).train(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most == [1] * (20_000 // 500 + 1)
    assert peak < 2 * MB


def test_training_whose_process_takes_nothing_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training whose process reads nothing can be cancelled, so a run can end."""
    use(monkeypatch, _Taker([], takes=False))
    turns: list[int] = []

    def is_cancelled() -> bool:
        turns.append(1)
        return len(turns) > 3

    rows: Sequence[Row] = [row(number) for number in range(2_000)]
    with pytest.raises(TrainingFailed, match="cancelled"):
        tasks(tmp_path, is_cancelled).train(rows)


@pytest.mark.parametrize(
    "line", ['{"ok":true,"t":"%s"}', '{"ok":true,"probabilities":7,"t":"%s","text":7}']
)
def test_answer_without_its_content_is_a_failed_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A process that claims to have finished, but sends nothing usable, fails the training."""

    def tasks_with(kind: str) -> Tasks:
        use(monkeypatch, _Taker([], answer=(line % kind).encode()))
        return tasks(tmp_path)

    with pytest.raises(TrainingFailed, match="the trainer sent no text"):
        tasks_with("trained").train([row(1)])
    with pytest.raises(TrainingFailed, match="the scorer sent no probabilities"):
        tasks_with("scored").score("", [row(1)])


def test_process_that_cannot_be_started_is_a_failed_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system without room for one more process fails the training, not the clerk."""

    def refuse(*args: object, **words: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(TrainingFailed, match="train: the process cannot be started"):
        tasks(tmp_path / "ai").train([row(1)])


def test_answers_are_the_tuples_that_went_in() -> None:
    """Answers keep the scorer's exact integers; a value beyond 64 bits is not a probability."""
    listed = [(1, 2, 3), (0, 1_000_000, 0), (-5, 7, 2**62)]

    answers = Answers(listed)

    assert list(answers) == listed
    assert (answers[-1], answers[1:]) == (listed[-1], listed[1:])
    with pytest.raises(IndexError):
        answers[3]
    with pytest.raises(OverflowError):
        Answers([(2**63, 0, 0)])
