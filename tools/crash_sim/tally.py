"""One program's crash states: judged, counted, and the findings among them.

A state is one image at one call, with the lines owed at that call. An image is split into its
journals and files. A part equal to one judged earlier in the same program is not judged again, as
its outcome cannot differ. The debt is compared for every state.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from minibot.kernel.files import write_hashed
from tools.crash_sim import check
from tools.crash_sim.check import Outcome, Share
from tools.crash_sim.disk import FOLDER, ROOT, SimFiles
from tools.crash_sim.ending import judge_ending
from tools.crash_sim.images import NEVER, PROCESS, Choice, Image, images
from tools.crash_sim.plan import CURSOR, NOTE, QUEUES, RUN, RUN_ID, Journal, Program
from tools.crash_sim.world import DEAD_EVERY, World

EXTRA: Final = 6
NESTED_SHARE: Final = 0.04
ENDING_SHARE: Final = 0.01


class Place(NamedTuple):
    """Place of a state in its program: enough to reach it again.

    Attributes:
        call: Number of the call before which the crash came.
        choice: The surviving content.
        journal: Journal whose recovery was crashed as well; empty without one.
        nested_call: Number of the recovery's call before which it crashed.
        nested: Surviving content after that crash.
    """

    call: int
    choice: Choice
    journal: str = ""
    nested_call: int = 0
    nested: Choice = PROCESS


class Finding(NamedTuple):
    """State that breaks an invariant."""

    text: str
    place: Place


class NestedOutcome(NamedTuple):
    """Outcome of all crashes of one recovery: fewest lines and their place; the finding, if any."""

    count_min: int
    place: Place
    finding: Finding | None


@dataclass(slots=True)
class Tally:
    """Counts of one program.

    Attributes:
        states: Crash states, each compared with what was owed.
        distinct: Different images among them, those of crashed recoveries included.
        recovered: Recoveries that were run, one for each new part.
        findings: Broken invariants; counting ends at the first one.
    """

    states: int = 0
    distinct: int = 0
    recovered: int = 0
    findings: list[Finding] = field(default_factory=list)


class _Enough(Exception):
    """Signal that a finding ends the program."""


class Judge:
    """Judge of every crash of one program.

    Args:
        program: The program.
        seed: Seed of the samples above the exhaustive bounds.
        extra: Drawn images for each call.
        nested: Share of recoveries that are crashed as well.
    """

    def __init__(
        self, program: Program, seed: str, extra: int = EXTRA, nested: float = NESTED_SHARE
    ) -> None:
        self.program = program
        self.tally = Tally()
        self._rng = random.Random(seed)
        self._extra = extra
        self._nested_share = nested
        self._call = 0
        self._epoch = 0
        self._parts = {j.name: check.beginnings_of(j) for j in program.journals}
        self._parts |= {"cursor": (str(CURSOR),), "note": (str(NOTE),)}
        self._journals = {j.name: j for j in program.journals}
        self._shares: dict[tuple[tuple[str, int], ...], list[tuple[str, Share]]] = {}
        self._seen: set[int] = set()
        self._known: dict[tuple[Any, ...], Outcome] = {}
        self._nested: dict[tuple[Any, ...], NestedOutcome | None] = {}
        self._endings: dict[Any, Outcome] = {}
        self._agreed: set[tuple[Any, ...]] = set()

    def run(self) -> Tally:
        """Run the program and judge a crash at every call."""
        try:
            World(self.program, new_disk(self.program), self._at_call, crash).run()
        except check.WRONG as error:
            # A step of the program itself was refused, mostly while taking up after a crash.
            text = f"the program: {type(error).__name__}: {error}"
            self.tally.findings.append(Finding(text, Place(self._call, PROCESS)))
        except _Enough:
            pass
        return self.tally

    def judge_once(self, world: World, choice: Choice, image: Image) -> str:
        """Return the broken invariant of one state, its ending included; empty where none is."""
        try:
            self.judge(world, choice, image, is_new=False)
            self._judge_ending(world, image, Place(self._call, choice))
        except _Enough:
            return self.tally.findings[0].text
        return ""

    def judge_inner(self, world: World, journal: Journal, inner: Image, place: Place) -> str:
        """Return the broken invariant after a crashed recovery; empty where none is broken."""
        lines = world.debts[journal.name].lines
        outcome = check.judge_journal(inner, journal, lines, self.program)
        if outcome.finding:
            return f"again: {outcome.finding}"
        try:
            self._compare(world, journal.name, outcome.lines, place)
        except _Enough:
            return self.tally.findings[0].text
        return ""

    def _at_call(self, world: World) -> None:
        self._call += 1
        if world.epoch != self._epoch:
            self._epoch = world.epoch
            for memo in (self._seen, self._known, self._nested, self._endings, self._agreed):
                memo.clear()
        for choice, image in images(world.files, self.program.rules, self._rng, self._extra):
            self.tally.states += 1
            is_new = self._is_new(image)
            self.tally.distinct += is_new
            self.judge(world, choice, image, is_new)

    def judge(self, world: World, choice: Choice, image: Image, is_new: bool) -> None:
        """Judge one state; raise `_Enough` for a finding."""
        place = Place(self._call, choice)
        if world.is_sealing:
            self._judge_ending(world, image, place)
            return
        counts: dict[str, int] = {}
        for name, share in self._shares_of(image):
            outcome, key, part = self._outcome(world, name, share, image)
            if outcome.finding:
                self._found(outcome.finding, place)
            counts[name] = outcome.lines
            if name in self._journals:
                self._compare(world, name, outcome.lines, place)
                nested = self._crashed_recovery(world, self._journals[name], key, part, place)
                if nested is not None:
                    self._compare(world, name, nested.count_min, nested.place)
        self._agree(world, counts, place)
        if is_new and self._rng.random() < ENDING_SHARE:
            self._judge_ending(world, image, place)

    # --- parts --------------------------------------------------------------------------------

    def _is_new(self, image: Image) -> bool:
        mark = hash(image)
        if mark in self._seen:
            return False
        self._seen.add(mark)
        return True

    def _shares_of(self, image: Image) -> list[tuple[str, Share]]:
        shares = self._shares.get(image.entries)
        if shares is None:
            shares = self._shares[image.entries] = [
                (name, check.share_of(image.entries, mine)) for name, mine in self._parts.items()
            ]
        return shares

    def _outcome(
        self, world: World, name: str, share: Share, image: Image
    ) -> tuple[Outcome, tuple[Any, ...], Image]:
        part = check.part_of(image, share)
        key = (name, part)
        outcome = self._known.get(key)
        if outcome is None:
            self.tally.recovered += 1
            journal = self._journals.get(name)
            if journal is not None:
                lines = world.debts[name].lines
                is_alive = part.boot == world.files.boot
                outcome = check.judge_journal(
                    part, journal, lines, self.program, has_readers=is_alive
                )
            else:
                path = CURSOR if name == "cursor" else NOTE
                outcome = check.judge_file(part, path, self.program)
            self._known[key] = outcome
        return outcome, key, part

    def _crashed_recovery(
        self, world: World, journal: Journal, key: tuple[Any, ...], part: Image, place: Place
    ) -> NestedOutcome | None:
        """Return outcomes of crashes of the recovery, for some parts; None for the others."""
        if key not in self._nested:
            self._nested[key] = None
            if self._rng.random() < self._nested_share:
                self._nested[key] = self._crash_recovery(world, journal, part, place)
        nested = self._nested[key]
        if nested is not None and nested.finding is not None:
            self._found(*nested.finding)
        return nested

    def _crash_recovery(
        self, world: World, journal: Journal, part: Image, place: Place
    ) -> NestedOutcome:
        low, where = self._known[(journal.name, part)].lines, place
        for call, choice, inner in check.recovery_crashes(part, journal, self.program, self._rng):
            self.tally.states += 1
            key = (journal.name, inner)
            outcome = self._known.get(key)
            if outcome is None:
                self.tally.distinct += 1
                self.tally.recovered += 1
                lines = world.debts[journal.name].lines
                outcome = self._known[key] = check.judge_journal(
                    inner, journal, lines, self.program
                )
            inside = place._replace(journal=journal.name, nested_call=call, nested=choice)
            if outcome.finding:
                return NestedOutcome(NEVER, inside, Finding(f"again: {outcome.finding}", inside))
            if outcome.lines < low:
                low, where = outcome.lines, inside
        return NestedOutcome(low, where, None)

    # --- what is owed -------------------------------------------------------------------------

    def _compare(self, world: World, name: str, count: int, place: Place) -> None:
        debt = world.debts[name]
        is_power = place.choice.kind != PROCESS.kind or place.nested.kind != PROCESS.kind
        owed = debt.durable if is_power else debt.seen
        if not owed <= count <= len(debt.lines):
            self._found(
                f"I1: {name}: {count} lines kept, {owed} owed, {len(debt.lines)} written", place
            )

    def _agree(self, world: World, counts: dict[str, int], place: Place) -> None:
        """Compare the parts of a state with one another, where a scenario has rules for that."""
        is_power = place.choice.kind != PROCESS.kind
        key = (is_power, world.saved_for_sure, world.notes_for_sure, *counts.values())
        if key in self._agreed:
            return
        self._agreed.add(key)
        allowed = world.saved[max(0, world.saved_for_sure - 1) :] or [0]
        if world.saved_for_sure == 0:
            allowed = [0, *allowed]
        if counts["cursor"] not in allowed:
            self._found(f"F40: cursor at {counts['cursor']}, one of {allowed} owed", place)
        if not world.notes_for_sure <= counts["note"] <= world.notes:
            self._found(f"F40: note {counts['note']}, {world.notes_for_sure} owed", place)
        if self.program.kind == "role":
            self._agree_role(world, counts, is_power, place)

    def _agree_role(
        self, world: World, counts: dict[str, int], is_power: bool, place: Place
    ) -> None:
        """Check a role: no input without its log, no output without its cause, cursor last."""
        taken = world.acked_to[counts["acks"] - 1] if counts["acks"] else 0
        allowed = max(taken - taken // DEAD_EVERY, world.outputs_taken_up)
        if not is_power and counts["out"] > allowed:
            self._found(f"I2: {counts['out']} outputs of {taken} inputs in the order log", place)
        cursor = counts["cursor"]
        if cursor > taken or counts["out"] < cursor - cursor // DEAD_EVERY:
            self._found(
                f"F34: cursor at {cursor}, {taken} taken by the log, {counts['out']} outputs",
                place,
            )
        if cursor > counts["inbox"]:
            self._found(f"F33: cursor at {cursor} of {counts['inbox']} lines", place)

    def _judge_ending(self, world: World, image: Image, place: Place) -> None:
        outcome = self._endings.get(image)
        if outcome is None:
            self.tally.recovered += 1
            outcome = self._endings[image] = judge_ending(world, image)
        if outcome.finding:
            self._found(outcome.finding, place)

    def _found(self, text: str, place: Place) -> None:
        self.tally.findings.append(Finding(text, place))
        raise _Enough


def new_disk(program: Program) -> SimFiles:
    """Return an empty disk with the folders of a program."""
    files = SimFiles(program.page_bytes, is_ordered=program.is_ordered)
    folders = {QUEUES, RUN.parent, RUN}
    folders |= {folder for j in program.journals for folder in (j.folder, *j.folder.parents)}
    for folder in sorted(str(folder) for folder in folders):
        if folder.startswith(ROOT):
            files.put(folder, FOLDER)
    write_hashed(RUN / "manifest.json", {"run_id": RUN_ID}, files=files)
    files.settle()
    return files


def crash(world: World, salt: int) -> SimFiles:
    """Return the disk after a crash that is itself a step of the program."""
    rng = random.Random(salt)
    program = world.program
    found = list(_all(world, rng))
    image = rng.choice(found)
    return image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=True)


def _all(world: World, rng: random.Random) -> Iterator[Image]:
    for _, image in images(world.files, world.program.rules, rng, EXTRA):
        yield image
