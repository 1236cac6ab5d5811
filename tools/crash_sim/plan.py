"""Scenarios of journals, and the programs of steps that run over them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Final, NamedTuple

from minibot.kernel import segments as names
from tools.crash_sim.disk import ROOT
from tools.crash_sim.images import RULES

RUN_ID: Final = "20261120_074600"
QUEUES: Final = Path(ROOT) / "queues"
RUN: Final = Path(ROOT) / "runs" / RUN_ID
QUEUE: Final = QUEUES / "q"
CURSOR: Final = QUEUE / "cursor.json"
NOTE: Final = QUEUE / "note.json"
READER: Final = "risk_role"


class Journal(NamedTuple):
    """One journal of a scenario.

    Attributes:
        name: Name of the journal in steps.
        folder: Folder of the journal.
        stem: Common first part of its file names.
        is_lazy: True if lines are published before they are synced.
        has_floor: True if the cursor in its folder points into this journal.
    """

    name: str
    folder: Path
    stem: str
    is_lazy: bool
    has_floor: bool = False

    @property
    def lock(self) -> Path:
        """The writer's lock."""
        is_main = self.stem == names.MAIN_STEM
        return self.folder / ("writer.lock" if is_main else f"{self.stem}.lock")


_INBOX: Final = Journal("inbox", QUEUE, "inbox", False, True)
_ACKS: Final = Journal("acks", QUEUE, "acks", True)
_LETTERS: Final = Journal("letters", QUEUE, "deadletter", False)
_OUT: Final = Journal("out", QUEUES / "out", "inbox", False)

KINDS: Final[dict[str, tuple[Journal, ...]]] = {
    "eager": (_INBOX,),
    # A cursor does not bound the loss of this journal; only synced lines do.
    "lazy": (_INBOX._replace(is_lazy=True, has_floor=False),),
    "role": (_INBOX, _ACKS, _LETTERS, _OUT),
    "merge": (
        Journal("market_role", QUEUE / "parts", "market_role", False),
        Journal("risk_role", QUEUE / "parts", "risk_role", False),
        _INBOX._replace(is_lazy=True, has_floor=False),
        _ACKS,
    ),
    "seal": (_INBOX, _ACKS),
}
# Taken in turn, so that every few programs cover all of them.
_TURNS: Final = ("eager", "role", "lazy", "seal", "merge", "eager", "lazy", "role")

Step = list[Any]


class Program(NamedTuple):
    """Scenario and its steps; the same program makes the same calls each time.

    Attributes:
        kind: Key of `KINDS`.
        rules: Rules for the loss in a crash: `ext4`, `xfs` or `posix`.
        page_bytes: Size of the pages in which data reaches the disk.
        segment_bytes: Size beyond which journals rotate.
        steps: Steps in order.
    """

    kind: str
    rules: str
    page_bytes: int
    segment_bytes: int
    steps: tuple[Step, ...]

    @property
    def journals(self) -> tuple[Journal, ...]:
        """Journals of the program's scenario."""
        return KINDS[self.kind]

    @property
    def is_ordered(self) -> bool:
        """Return whether operations on names reach the disk in order."""
        return self.rules != "posix"


def draw_program(rng: random.Random, number: int) -> Program:
    """Draw a program at random; its kind and rules follow from its number in the campaign."""
    kind = _TURNS[number % len(_TURNS)]
    count = rng.randint(3, 8) if kind == "seal" else rng.randint(8, 16)
    steps = [_STEPS[kind](rng) for _ in range(count)]
    if kind == "seal":
        steps.append(["seal"])
    return Program(
        kind,
        RULES[number % len(RULES)],
        rng.choice((512, 512, 4096)),
        rng.choice((400, 700, 1500, 1 << 20)),
        tuple(steps),
    )


def _one_of(rng: random.Random, choices: list[tuple[int, Step]]) -> Step:
    return rng.choices([step for _, step in choices], [weight for weight, _ in choices])[0]


def _append(rng: random.Random, journal: str) -> Step:
    # Five of the longest lines exceed one batch.
    size = rng.choice((0, 0, 40, 40, 200, 200, 600, 1900))
    return ["append", journal, rng.choice((1, 1, 2, 3, 5)), size]


def _kill(rng: random.Random, step: Step) -> Step:
    return ["kill", rng.randint(1, 10), *step]


def _full(rng: random.Random, step: Step) -> Step:
    return ["full", rng.choice((0, rng.randint(1, 400), rng.randint(400, 2000))), *step]


def _eager_step(rng: random.Random) -> Step:
    return _one_of(
        rng,
        [
            (10, _append(rng, "inbox")),
            (2, ["cursor", rng.randint(1, 4)]),
            (2, ["note"]),
            (1, ["restart", "inbox"]),
            (2, _kill(rng, _append(rng, "inbox"))),
            (1, _kill(rng, rng.choice((["cursor", 2], ["note"])))),
            (1, _full(rng, rng.choice((_append(rng, "inbox"), ["cursor", 2], ["note"])))),
            (2, ["crash", rng.getrandbits(32)]),
        ],
    )


def _lazy_step(rng: random.Random) -> Step:
    return _one_of(rng, [(12, _eager_step(rng)), (3, ["sync", "inbox"]), (2, ["change", "inbox"])])


def _role_step(rng: random.Random) -> Step:
    return _one_of(
        rng,
        [
            (6, _append(rng, "inbox")),
            (8, ["take", rng.randint(1, 4)]),
            (3, ["hint"]),
            (1, ["sync", "acks"]),
            (1, ["restart", rng.choice(("inbox", "acks", "out", "letters"))]),
            (1, _kill(rng, _append(rng, "inbox"))),
            (2, _kill(rng, rng.choice((["take", 3], ["hint"])))),
            (1, _full(rng, rng.choice((["take", 3], ["hint"])))),
            (1, ["crash", rng.getrandbits(32)]),
        ],
    )


def _merge_step(rng: random.Random) -> Step:
    return _one_of(
        rng,
        [
            (6, _append(rng, rng.choice(("market_role", "risk_role")))),
            (4, ["merge"]),
            (2, ["sync", "inbox"]),
            (2, ["sync", "acks"]),
            (1, _kill(rng, _append(rng, "risk_role"))),
            (1, _kill(rng, ["merge"])),
            (1, _full(rng, ["merge"])),
            (1, ["crash", rng.getrandbits(32)]),
        ],
    )


def _seal_step(rng: random.Random) -> Step:
    return _one_of(
        rng,
        [(5, _append(rng, "inbox")), (3, _append(rng, "acks")), (2, ["cursor", 2])],
    )


_STEPS: Final = {
    "eager": _eager_step,
    "lazy": _lazy_step,
    "role": _role_step,
    "merge": _merge_step,
    "seal": _seal_step,
}
