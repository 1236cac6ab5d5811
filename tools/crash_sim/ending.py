"""Ending of a crashed world: roles finish what they logged, merges complete, runs are sealed.

Parts are not judged here. The next start takes over the whole disk and brings everything to its
end, which has to be the end without the crash.
"""

from __future__ import annotations

from minibot.kernel.seal import QUEUES as SEALED
from minibot.kernel.seal import SEAL_FILE, release, seal_run
from minibot.kernel.verify import verify_tree
from tools.crash_sim.check import WRONG, Broken, Outcome, content_of
from tools.crash_sim.disk import SimFiles
from tools.crash_sim.images import NEVER, Image, whole
from tools.crash_sim.plan import QUEUES, RUN
from tools.crash_sim.world import World, outputs_of


def judge_ending(world: World, image: Image) -> Outcome:
    """Return the result of the next start on a whole disk."""
    program = world.program
    files = image.mount(program.page_bytes, is_ordered=program.is_ordered, is_tracking=False)
    try:
        fork = world.fork(files)
        if world.is_sealing:
            _seal(fork, files)
        else:
            fork.take_up()
            fork.finish()
            _compare(fork, files)
    except WRONG as error:
        return Outcome(NEVER, f"ending: {type(error).__name__}: {error}")
    return Outcome(0)


def _compare(world: World, files: SimFiles) -> None:
    """Check that all files are whole and that each input has its outputs once."""
    for finding in verify_tree(QUEUES, files=files):
        raise Broken(f"verify finds {finding}")
    for journal in world.program.journals:
        if content_of(files, journal) != b"".join(world.debts[journal.name].lines):
            raise Broken(f"I1, I3: {journal.name} is not what was written")
    if world.program.kind == "role":
        inputs = world.debts["inbox"].lines
        wanted = outputs_of(inputs, len(inputs))
        if (world.debts["out"].lines, world.debts["letters"].lines) != wanted:
            raise Broken("I2: outputs are not what the inputs lead to")


def _seal(world: World, files: SimFiles) -> None:
    """Seal again after a crash of sealing: the seal covers every line, nothing lies elsewhere."""
    if files.stat(RUN / SEAL_FILE) is None:
        world.take_up()
        world.close()
        root = seal_run(QUEUES, RUN, files=files)
    else:
        root = seal_run(QUEUES, RUN, files=files)
    release(QUEUES, RUN, files=files)
    before = whole(files)
    if seal_run(QUEUES, RUN, files=files) != root:
        raise Broken("the root changed")
    release(QUEUES, RUN, files=files)
    if whole(files) != before:
        raise Broken("sealing a second time changed something")
    for finding in verify_tree(RUN, files=files):
        raise Broken(f"verify finds {finding}")
    for journal in world.program.journals:
        folder = RUN / SEALED / journal.folder.relative_to(QUEUES)
        if content_of(files, journal, folder) != b"".join(world.debts[journal.name].lines):
            raise Broken(f"I1: {journal.name} is not under the seal as it was written")
    left = [path for path, at in before.entries if at != NEVER and path.startswith(str(QUEUES))]
    if any(not path.endswith(".lock") for path in left):
        raise Broken(f"names were left: {left}")
