"""Fuzz every format that minibot reads: broken inputs, judged against strict readers.

    python3 tools/with_env.py -m tools.fuzz --inputs 5000000 --seed 1
    python3 tools/with_env.py -m tools.fuzz --only envelope --inputs 100000
    python3 tools/with_env.py -m tools.fuzz --only envelope --seed 7 --at 1234    one input again

Every input depends on the seed, the format and its number alone, so the printed command repeats a
finding. The corpus in `tests/fixtures/fuzz` (one input for each outcome ever met, `--keep`) is
judged first. The last line says `inputs N, accepted A, refused R, wrong W`; exit code 1 where
anything was wrong.
"""

from __future__ import annotations

import argparse
import base64
import json
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from tools.fuzz_envelope import EnvelopeTarget
from tools.fuzz_files import CursorTarget, HeadTarget, LineTarget, ManifestTarget, SealTarget
from tools.fuzz_frames import FrameTarget
from tools.fuzz_target import Target

PROJECT: Final = Path(__file__).resolve().parent.parent
CORPUS: Final = PROJECT / "tests" / "fixtures" / "fuzz"
# Shares of the inputs. An envelope has the most to go wrong, and takes the longest too.
TARGETS: Final[Mapping[str, tuple[Callable[[], Target], int]]] = {
    "envelope": (EnvelopeTarget, 20),
    "line": (LineTarget, 34),
    "cursor": (CursorTarget, 16),
    "head": (HeadTarget, 17),
    "manifest": (ManifestTarget, 10),
    "seal": (SealTarget, 3),
    "frames": (FrameTarget, 50),
}
STEP: Final = 2000
FINDINGS_MAX: Final = 20


class Piece(NamedTuple):
    """Piece of a format's inputs, beginning with number `first`."""

    name: str
    seed: int
    first: int
    inputs: int


class Found(NamedTuple):
    """Findings of a piece: outcomes with one input each, and a sentence for each fault."""

    name: str
    outcomes: Counter[str]
    examples: dict[str, bytes]
    wrong: list[tuple[int, bytes, str]]


def input_of(target: Target, seed: int, number: int) -> bytes:
    """Return one input; it depends on seed, format and number alone."""
    return target.make(Random(f"{seed} {target.name} {number}"))


def judge_piece(target: Target, piece: Piece) -> Found:
    """Judge a piece of a format's inputs."""
    outcomes: Counter[str] = Counter()
    examples: dict[str, bytes] = {}
    wrong: list[tuple[int, bytes, str]] = []
    for number in range(piece.first, piece.first + piece.inputs):
        data = input_of(target, piece.seed, number)
        verdict = target.judge(data)
        outcomes[verdict.label] += 1
        if verdict.label not in examples or len(data) < len(examples[verdict.label]):
            examples[verdict.label] = data
        if verdict.wrong and len(wrong) < FINDINGS_MAX:
            wrong.append((number, data, verdict.wrong))
    return Found(piece.name, outcomes, examples, wrong)


def pieces_of(names: Sequence[str], inputs: int, seed: int) -> list[Piece]:
    """Return all pieces of a run, divided among the formats as in `TARGETS`."""
    whole = sum(TARGETS[name][1] for name in names)
    pieces = []
    for name in names:
        count = -(-inputs * TARGETS[name][1] // whole)
        pieces += [
            Piece(name, seed, first, min(STEP, count - first)) for first in range(0, count, STEP)
        ]
    return pieces


_targets: dict[str, Target] = {}


def target_of(name: str) -> Target:
    """Return a format's target, made once in each process."""
    if name not in _targets:
        _targets[name] = TARGETS[name][0]()
    return _targets[name]


def _work(piece: Piece) -> Found:
    return judge_piece(target_of(piece.name), piece)


def fuzz(names: Sequence[str], inputs: int, seed: int, jobs: int) -> dict[str, Found]:
    """Judge inputs of some formats in several processes; return each format's findings."""
    found = {name: Found(name, Counter(), {}, []) for name in names}
    pieces = pieces_of(names, inputs, seed)
    if jobs == 1:
        _gather(found, map(_work, pieces))
        return found
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        _gather(found, pool.imap_unordered(_work, pieces))
    return found


def _gather(found: dict[str, Found], results: Iterable[Found]) -> None:
    for part in results:
        whole = found[part.name]
        whole.outcomes.update(part.outcomes)
        whole.wrong.extend(part.wrong)
        for label, data in part.examples.items():
            if label not in whole.examples or len(data) < len(whole.examples[label]):
                whole.examples[label] = data


# --- the corpus -------------------------------------------------------------------------------


def corpus_of(name: str) -> dict[str, bytes]:
    """Return the kept inputs of a format, by outcome."""
    path = CORPUS / f"{name}.json"
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {label: base64.b64decode(text) for label, text in kept.items()}


def keep(name: str, examples: Mapping[str, bytes]) -> int:
    """Add inputs with outcomes that the corpus lacks; return its new size."""
    kept = corpus_of(name)
    for label, data in examples.items():
        kept.setdefault(label, data)
    CORPUS.mkdir(parents=True, exist_ok=True)
    texts = {label: base64.b64encode(kept[label]).decode() for label in sorted(kept)}
    (CORPUS / f"{name}.json").write_text(json.dumps(texts, indent=0) + "\n", encoding="utf-8")
    return len(kept)


def judge_kept(names: Sequence[str]) -> tuple[int, list[str]]:
    """Judge seeds and corpus of some formats; return their number and the faults found."""
    count, wrong = 0, []
    for name in names:
        target = target_of(name)
        for data in [*target.seeds(), *corpus_of(name).values()]:
            count += 1
            verdict = target.judge(data)
            if verdict.wrong:
                wrong.append(f"{name}, kept: {verdict.wrong[:600]}\n  input {data[:600]!r}")
    return count, wrong


# --- the command ------------------------------------------------------------------------------


def _again(name: str, seed: int, number: int) -> int:
    target = target_of(name)
    data = input_of(target, seed, number)
    verdict = target.judge(data)
    print(f"input {data!r}\noutcome {verdict.label}\nwrong {verdict.wrong or 'nothing'}")
    return 1 if verdict.wrong else 0


def _report(found: Mapping[str, Found], seed: int, kept: int, wrong: list[str]) -> int:
    total: Counter[str] = Counter()
    for name, part in found.items():
        count = sum(part.outcomes.values())
        good = sum(n for label, n in part.outcomes.items() if label.startswith("good"))
        total.update(inputs=count, accepted=good, wrong=len(part.wrong))
        print(f"{name}: {count} inputs, {good} accepted, {len(part.outcomes)} outcomes")
        for number, data, why in part.wrong[:FINDINGS_MAX]:
            again = f"python3 tools/with_env.py -m tools.fuzz --only {name} --seed {seed}"
            print(f"WRONG {why[:1200]}\n  input {data[:1200]!r}\n  again: {again} --at {number}")
    for text in wrong:
        print(f"WRONG {text}")
    refused = total["inputs"] - total["accepted"]
    print(
        f"seed {seed}, kept {kept}, inputs {total['inputs']}, accepted {total['accepted']}, "
        f"refused {refused}, wrong {total['wrong'] + len(wrong)}"
    )
    return 1 if total["wrong"] or wrong else 0


def main(argv: list[str] | None = None) -> int:
    """Fuzz; return 0, or 1 where product and reference differ."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="one format")
    parser.add_argument("--at", type=int, help="judge this one input of --only again")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="add new outcomes to the corpus")
    args = parser.parse_args(argv)
    names = args.only or list(TARGETS)
    if args.at is not None:
        return _again(names[0], args.seed, args.at)
    started = time.monotonic()
    kept, wrong = judge_kept(names)
    found = fuzz(names, args.inputs, args.seed, args.jobs)
    if args.keep:
        for name, part in found.items():
            print(f"{name}: {keep(name, part.examples)} kept")
    print(f"{time.monotonic() - started:.0f} s")
    return _report(found, args.seed, kept, wrong)


if __name__ == "__main__":
    sys.exit(main())
