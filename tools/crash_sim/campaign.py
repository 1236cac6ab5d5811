"""Campaign of many programs, on all cores, until enough crash states have been judged."""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from tools.crash_sim.plan import Program, draw_program
from tools.crash_sim.tally import Finding, Judge, Tally

# Results are read in order, so that a seed means the same on any number of cores.
AHEAD: Final = 2


@dataclass(slots=True)
class Result:
    """Counts and findings of a campaign.

    Attributes:
        states: Crash states judged.
        distinct: Different images among them.
        recovered: Recoveries run.
        programs: Programs run.
        kinds: States by scenario.
        findings: Program, its seed and the broken invariant; at most one for each program.
    """

    states: int = 0
    distinct: int = 0
    recovered: int = 0
    programs: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    findings: list[tuple[Program, str, Finding]] = field(default_factory=list)


def program_of(seed: int, number: int) -> tuple[Program, str]:
    """Return one program of a campaign, and the seed of its random choices."""
    own = f"{seed}:{number}"
    return draw_program(random.Random(own), number), own


def run_campaign(states: int, seed: int, jobs: int, findings_max: int = 3) -> Result:
    """Judge at least the given number of crash states; the same ones for the same seed.

    Args:
        states: The least number of crash states.
        seed: Seed of the programs and of all random choices.
        jobs: Number of processes; 1 stays in this one.
        findings_max: Ends early after so many programs with a finding.
    """
    result = Result()
    for number, tally in _tallies(seed, jobs):
        program, own = program_of(seed, number)
        result.programs += 1
        result.states += tally.states
        result.distinct += tally.distinct
        result.recovered += tally.recovered
        result.kinds[program.kind] = result.kinds.get(program.kind, 0) + tally.states
        result.findings += [(program, own, finding) for finding in tally.findings]
        if result.states >= states or len(result.findings) >= findings_max:
            break
    return result


def _tallies(seed: int, jobs: int) -> Iterator[tuple[int, Tally]]:
    """Yield the tally of every program, in order, without end."""
    if jobs == 1:
        number = 0
        while True:
            yield number, judge_one(seed, number)
            number += 1
    with ProcessPoolExecutor(jobs, initializer=_calm_collector) as pool:
        try:
            waiting: deque[tuple[int, Future[Tally]]] = deque()
            number = 0
            while True:
                while len(waiting) < AHEAD * jobs:
                    waiting.append((number, pool.submit(judge_one, seed, number)))
                    number += 1
                done, future = waiting.popleft()
                yield done, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def judge_one(seed: int, number: int) -> Tally:
    """Return the tally of one program of a campaign."""
    program, own = program_of(seed, number)
    return Judge(program, own).run()


def _calm_collector() -> None:
    """Run the garbage collector seldom: a campaign makes few cycles but many small objects."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
