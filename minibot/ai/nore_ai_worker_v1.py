"""Sandboxed AI worker: `python -m minibot.ai.nore_ai_worker_v1 --root <ai folder>`.

The clerk starts it with a scrubbed environment and three pipes and nothing else. It imports its
modules, loads LightGBM, exercises once whatever would load later, closes the sandbox, and only then
reads its first byte of data or model. From then on it has two pipes, frames in and frames out, and
its error stream, of which the clerk keeps the end.

`--task infer` recommends (the default), `--task train` turns rows into a model text, `--task score`
gives a model's probabilities for rows, `--task probe` tries to break out and reports each attempt.
Anything unexpected ends the process; the clerk decides how to go on.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from minibot.ai.booster import LightGbm, NativeError
from minibot.ai.frames import (
    INPUT_BYTES_MAX,
    Frame,
    FrameError,
    decode_frame,
    read_lines,
    write_frame,
)
from minibot.ai.inference import Inference
from minibot.ai.inherited_environment import STANDARD_STREAMS, foreign_variables, open_descriptors
from minibot.ai.isolation import Isolation
from minibot.ai.jail import close_jail
from minibot.ai.misbehaviour import Misbehaviour
from minibot.ai.model_text import check_model_text, cut_behind_trees
from minibot.ai.niceness import be_nice
from minibot.ai.probes import prepare_probes
from minibot.ai.trainer import Scorer, Trainer
from minibot.ai.vector import FEATURES, FEATURES_VERSION

CLEAN: Final = 0
REFUSED: Final = 2
MEMORY_MB_DEFAULT: Final = 512
TASKS: Final = ("infer", "train", "score", "probe")
# After the trading roles; trainer and scorer only get otherwise idle CPU time.
NICENESS: Final = {"infer": 10, "train": 19, "score": 19, "probe": 10}

# `-I` hides the tree of the run too: an older install, or none, would be found in its place.
_BEGIN: Final = (
    "import runpy, sys; tree, module = sys.argv[1:3]; del sys.argv[1:3]; "
    "sys.path.insert(0, tree); import minibot; del sys.path[0]; "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)

# Where memory runs out, the kernel ends the process with the highest score: this one, and no role.
OOM_SCORE: Final = 1000


def command(
    python: str, root: Path, memory_mb: int, task: str, private: str | None = None
) -> list[str]:
    """Return the command line of a sandboxed process, the same at every start of a run.

    `-I` keeps the working folder and the user's packages out of the import path, `-B` writes no
    byte code; minibot itself comes from this tree, wherever else it is installed. Under a code list
    the process begins with `listed.py` and shares the private folder of the run: it reads and
    writes byte code there before the sandbox closes.
    """
    module = "minibot.ai.nore_ai_worker_v1"
    if private is None:
        tree = str(Path(__file__).resolve().parents[2])
        start = ["-I", "-B", "-X", "utf8", "-c", _BEGIN, tree, module]
    else:
        from minibot.listed import flags  # Only the parent needs it, not the sandboxed process.

        script = str(Path(__file__).resolve().parents[1] / "listed.py")
        start = ["-X", "utf8", *flags(private), script, module]
    return [
        python,
        *start,
        "--root",
        str(root),
        "--memory-mb",
        str(memory_mb),
        "--task",
        task,
    ]


def _take_pipes() -> tuple[int, int]:
    """Move the two pipes to other descriptors, so that no print of a library reaches the clerk."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return source, sink


def _load_native() -> tuple[LightGbm | None, str]:
    """Load and exercise LightGBM once, so that nothing has to be opened in the sandbox."""
    try:
        native = LightGbm()
        rows = [[at * 1000 + column for column in range(len(FEATURES))] for at in range(120)]
        labels = [at % 3 for at in range(120)]
        text = cut_behind_trees(native.train(rows, labels, FEATURES, rounds=2, seed=1))
        check_model_text(text)
        booster = native.load(text)
        booster.probabilities(rows[:1])
        booster.contributions(rows[0])
        booster.close()
    except NativeError as error:
        return None, str(error)[:500]
    return native, ""


def _be_last(task: str) -> None:
    """Let every other process have CPU and memory first; where that is not possible, go on."""
    if sys.platform == "linux":
        with suppress(OSError), open("/proc/self/oom_score_adj", "wb") as score:
            score.write(b"%d" % OOM_SCORE)
        be_nice(NICENESS[task])
        if task in ("train", "score"):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _hello(isolation: Isolation, leaks: Frame, native: LightGbm | None, missing: str) -> Frame:
    return {
        "t": "hello",
        "pid": os.getpid(),
        "isolation": isolation.to_json(),
        "leaks": leaks,
        "rooms": _rooms(),
        "features": list(FEATURES),
        "features_version": FEATURES_VERSION,
        "lightgbm": native is not None,
        "lightgbm_missing": missing,
    }


def _rooms() -> list[str]:
    """Return the rooms of minibot with a module that this process has loaded."""
    parts = [name.split(".") for name in sys.modules if name.startswith("minibot.")]
    return sorted({names[1] for names in parts if len(names) > 2})


def _leaks(pipes: Sequence[int]) -> Frame:
    """Return this process's inheritance beyond the allow lists, for the hello frame."""
    found = open_descriptors()
    allowed = {*STANDARD_STREAMS, *pipes}
    return {
        "variables": foreign_variables(os.environ),
        "descriptors": None if found is None else sorted(set(found) - allowed),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Close the sandbox, then serve the pipes until they end; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minibot.ai.nore_ai_worker_v1")
    parser.add_argument(
        "--root", type=Path, required=True, help="names the AI's folder in lists of processes"
    )
    parser.add_argument("--memory-mb", type=int, default=MEMORY_MB_DEFAULT)
    parser.add_argument("--task", choices=TASKS, default="infer")
    arguments = parser.parse_args(argv)
    _be_last(arguments.task)
    source, sink = _take_pipes()
    leaks = _leaks((source, sink))
    native, missing = _load_native()
    server = _server(arguments.task, native)
    isolation = close_jail(arguments.memory_mb << 20)
    write_frame(sink, _hello(isolation, leaks, native, missing))
    if leaks["variables"] or leaks["descriptors"]:
        return REFUSED
    return _serve(source, sink, server)


class _Prober:
    """Task of the probes: try to break out, once per frame."""

    def __init__(self) -> None:
        self._run = prepare_probes()

    def take(self, frame: Frame) -> Frame:
        """Run all probes against the targets of the frame."""
        return {"t": "probes", "results": self._run(frame)}


_Server = Inference | Trainer | Scorer | _Prober


def _server(task: str, native: LightGbm | None) -> _Server:
    if task == "train":
        return Trainer(native)
    if task == "score":
        return Scorer(native)
    return _Prober() if task == "probe" else Inference(native)


def _serve(source: int, sink: int, server: _Server) -> int:
    """Answer frames until the clerk closes its end; an unknown frame ends the process."""
    misbehaviour = Misbehaviour(sink)
    try:
        for line in read_lines(source, INPUT_BYTES_MAX):
            frame = decode_frame(line)
            if frame["t"] == "misbehave":
                misbehaviour.start(frame["how"])
            elif (answer := server.take(frame)) is not None:
                write_frame(sink, answer)
    except BrokenPipeError:
        return CLEAN
    except (FrameError, ValueError, KeyError, TypeError) as error:
        os.write(2, f"refused: {error}\n".encode("ascii", "replace")[:2000])
        return REFUSED
    return CLEAN


if __name__ == "__main__":
    sys.exit(main())
