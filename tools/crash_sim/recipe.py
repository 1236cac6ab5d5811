"""Recipe of a finding: text that repeats it, and the shortest program that still shows it."""

from __future__ import annotations

import json
from typing import Any, Final

from tools.crash_sim import check
from tools.crash_sim.images import PROCESS, choice_from, image_of
from tools.crash_sim.plan import Program
from tools.crash_sim.tally import Finding, Judge, Place, crash, new_disk
from tools.crash_sim.world import World

# Programs tried while shrinking; each takes about a second.
TRIES_MAX: Final = 60


class _Met(Exception):
    """Signal that the state of the recipe was judged."""


def recipe_of(program: Program, place: Place) -> str:
    """Return a state as one line of JSON, for `--replay`."""
    return json.dumps({"program": program, "place": place}, separators=(",", ":"))


def parse_recipe(text: str) -> tuple[Program, Place]:
    """Return the program and the place of a recipe.

    Raises:
        ValueError: The text is not a recipe.
    """
    try:
        obj: Any = json.loads(text)
        kind, rules, page_bytes, segment_bytes, steps = obj["program"]
        call, choice, journal, nested_call, nested = obj["place"]
        place = Place(call, choice_from(choice), journal, nested_call, choice_from(nested))
        return Program(kind, rules, page_bytes, segment_bytes, tuple(steps)), place
    except (KeyError, TypeError) as error:
        raise ValueError(f"no recipe: {error!r}") from error


def replay(program: Program, place: Place) -> str:
    """Return the broken invariant of one state; empty where none is broken.

    Raises:
        ValueError: The program never comes to that call.
    """
    judge = Judge(program, "replay")
    calls = 0

    def at_call(world: World) -> None:
        nonlocal calls
        calls += 1
        if calls == place.call:
            found = _judge(judge, world, program, place)
            if found or place.choice != PROCESS:
                raise _Met(found)  # Otherwise the refusal may come from the next step itself.

    try:
        World(program, new_disk(program), at_call, crash).run()
    except _Met as met:
        return str(met)
    except check.WRONG as error:
        return f"the program: {type(error).__name__}: {error}"
    if calls >= place.call:
        return ""
    raise ValueError(f"the program has {calls} calls, the recipe names call {place.call}")


def _judge(judge: Judge, world: World, program: Program, place: Place) -> str:
    image = image_of(world.files, place.choice)
    if not place.journal:
        return judge.judge_once(world, place.choice, image)
    journal = next(journal for journal in program.journals if journal.name == place.journal)
    share = check.share_of(image.entries, check.beginnings_of(journal))
    part = check.part_of(image, share)
    inner = check.recovery_crashed_at(part, journal, program, place.nested_call, place.nested)
    return judge.judge_inner(world, journal, inner, place)


def shrink(program: Program, finding: Finding, seed: str) -> tuple[Program, Finding]:
    """Return a shorter program with a finding of the same kind, and that finding."""
    sort = _sort_of(finding.text)
    tries = TRIES_MAX
    is_shorter = True
    while is_shorter and tries > 0:
        is_shorter = False
        for shorter in _shorter(program):
            tries -= 1
            found = Judge(shorter, seed).run().findings
            same = [other for other in found if _sort_of(other.text) == sort]
            if same:
                program, finding, is_shorter = shorter, same[0], True
                break
            if tries <= 0:
                break
    return program, finding


def _shorter(program: Program) -> list[Program]:
    """Return programs with one step less, then ones with smaller batches."""
    steps = program.steps
    found = [
        program._replace(steps=steps[:at] + steps[at + 1 :]) for at in reversed(range(len(steps)))
    ]
    for at, step in enumerate(steps):
        if step[0] == "append" and step[2:] != [1, 0]:
            smaller = [*step[:2], 1, 0]
            found.append(program._replace(steps=(*steps[:at], smaller, *steps[at + 1 :])))
    return found


def _sort_of(text: str) -> str:
    """Return the invariant or error that a finding names, without places and numbers."""
    return " ".join(
        word for word in text.split()[:4] if word.rstrip(":").replace("_", "").isalnum()
    )


__all__ = ["PROCESS", "parse_recipe", "recipe_of", "replay", "shrink"]
