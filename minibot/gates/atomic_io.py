"""Gate `atomic_io`: critical files are written atomically, and only through the kernel.

Two findings. In the source, no call outside `kernel` may write, replace, rename or link a file;
deleting one is no writing, and `ALLOWED` and `WRITING_ROOMS` name the exceptions (N-102). At work,
a writer killed at any moment leaves the old file or the new one, never a mixture (N-05).
"""

from __future__ import annotations

import ast
import multiprocessing
import random
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

from minibot.gates.result import Finding, GateReport
from minibot.kernel.errors import IntegrityError
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed
from minibot.runtime.paths import PROJECT

NAME = "atomic_io"
KILLS = 200
# Without fork each kill needs a fresh interpreter, so that only an eighth of the kills is done.
SPAWNED_SHARE = 8
BEGIN_S = 10.0
BLOCK = 40_000
WRITING_MODES = frozenset("wax+")
WRITING_CALLS = frozenset(
    {
        *("write_text", "write_bytes", "rename", "hardlink_to", "symlink_to"),
        *("tofile", "extractall"),
    }
)
WRITING_OF = {
    "os": frozenset(
        {
            *("replace", "rename", "renames", "truncate", "ftruncate", "mkfifo"),
            *("link", "symlink", "pwrite", "pwritev"),
        }
    ),
    "shutil": frozenset(
        {"copy", "copy2", "copyfile", "copytree", "move", "make_archive", "unpack_archive"}
    ),
    **dict.fromkeys(("np", "numpy"), frozenset({"save", "savez", "savez_compressed", "savetxt"})),
}
# Flags of `os.open` that write nothing; a call with any other, or with a variable, is reported.
READING_FLAGS = frozenset(
    {
        *("O_RDONLY", "O_BINARY", "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NOINHERIT"),
        *("O_NONBLOCK", "O_PATH"),
    }
)
# Modules whose `open` takes a path, then a mode. Any other `.open` takes the mode first, as that of
# a path does; a mode that is not a literal is not reported there: runs and queues are opened too.
OPENING = frozenset({"gzip", "bz2", "lzma", "io", "codecs", "tarfile"})
# Classes that open a path, the mode behind it.
FILE_CLASSES = frozenset({"ZipFile", "GzipFile", "BZ2File", "LZMAFile", "TarFile", "FileIO"})
# Modules that are not searched, and the reason: their files are not a run's truth.
ALLOWED = {
    "minibot/runtime/log.py": "text logs: bounded, losing a line is allowed (F60)",
    "minibot/runtime/deployment/deploy.py": "the staging protocol: its own journal and files",
    "minibot/runtime/deployment/deployed.py": "the staging protocol",
    "minibot/runtime/deployment/staging.py": "the staging protocol",
    "minibot/ai/niceness.py": "the kernel's file on the niceness of a session",
    "minibot/ai/nore_ai_worker_v1.py": "the null device in place of inherited descriptors",
    "minibot/ai/probes.py": "attempts inside the jail that have to fail",
    "minibot/ai/proof.py": "copies of a run into a lab, where there are no hard links",
    "minibot/simulator/venue/book.py": "replaces the levels of a book in memory",
    "minibot/gates/tamper.py": "an attacker's copies of a run, in a lab",
    "minibot/cli/main.py": "the null device in place of streams closed from the start",
    "minibot/cli/support/output.py": "the null device in place of a closed standard output",
    "minibot/listed.py": "the code list of one process, in its private folder: no minibot yet",
    "minibot/runtime/deployment/bytecode.py": "the code list of a check, in its private folder",
    "minibot/runtime/runfiles.py": "sets aside by renaming what stands in a run's place",
    "minibot/watchdog/operator_stop_log.py": "renames a folder that stands as the flag",
    "minibot/watchdog/child.py": "standard error of a process goes to a log",
    "minibot/watchdog/preflight.py": "measures the disk's own sync",
    "minibot/watchdog/requests.py": "sets a foreign request aside by renaming it",
}
# Rooms that are not searched: the kernel writes, and drills damage files on purpose.
WRITING_ROOMS = ("minibot/kernel/", "minibot/gates/chaos", "minibot/gates/drill")


def check(lab: Path, tree: Path = PROJECT / "minibot", kills: int = KILLS) -> GateReport:
    """Look for writers outside the kernel and kill writers of a critical file.

    Args:
        lab: The gate's own folder; made if missing, not emptied.
        tree: The folder of the product's code, which stands for `minibot/`.
        kills: Number of writers to kill, at least one; without fork an eighth of it.
    """
    planted = list(writers_outside(tree))
    findings = [
        Finding(
            "only the kernel writes files",
            not planted,
            "; ".join(planted[:5]) if planted else f"no writer in {tree.name} goes around it",
        ),
        kill_writers(lab, kills),
    ]
    return GateReport(NAME, tuple(findings))


def writers_outside(tree: Path) -> Iterator[str]:
    """Yield `file:line: call` for every call that writes a file, in the files that are searched.

    A call is known by the names in it: `os.replace(...)` is found, a bare `replace(...)` imported
    from `os` is not. A folder without sources is named as one that proves nothing.
    """
    paths = sorted(tree.rglob("*.py"))
    if not paths:
        yield f"no source in {tree}"
    for path in paths:
        name = f"minibot/{path.relative_to(tree).as_posix()}"
        if name.startswith(WRITING_ROOMS) or name in ALLOWED:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (call := _writing_call(node)):
                yield f"{name}:{node.lineno}: {call}"


def _writing_call(node: ast.Call) -> str | None:
    function = node.func
    if isinstance(function, ast.Name) and function.id == "open":
        return "open" if _is_writing(node, 1, of_unknown=True) else None
    name = getattr(function, "id", None) or getattr(function, "attr", None)
    if name in FILE_CLASSES:
        return f"{name} for writing" if _is_writing(node, 1, of_unknown=True) else None
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if function.attr == "open":
        if owner == "os":
            return "os.open for writing" if _may_write(node) else None
        is_module = owner in OPENING
        is_writing = _is_writing(node, 1 if is_module else 0, of_unknown=is_module)
        return ".open for writing" if is_writing else None
    if owner == "os" and function.attr == "fdopen":
        return "os.fdopen for writing" if _is_writing(node, 1, of_unknown=True) else None
    if owner in WRITING_OF:
        return f"{owner}.{function.attr}" if function.attr in WRITING_OF[owner] else None
    if function.attr in WRITING_CALLS or _replaces_a_path(node, function.attr):
        return f".{function.attr}"
    return None


def _replaces_a_path(node: ast.Call, name: str) -> bool:
    # `replace` of a text has two arguments, of a time or record named ones, of a path one.
    return name == "replace" and len(node.args) == 1 and not node.keywords


def _is_writing(node: ast.Call, position: int, *, of_unknown: bool) -> bool:
    """Return whether a call opens a file for writing.

    Args:
        node: The call.
        position: Index of the mode among the positional arguments.
        of_unknown: The answer for a mode that is not a literal; without any mode it is False.
    """
    mode: ast.expr | None = node.args[position] if len(node.args) > position else None
    for keyword in node.keywords:
        if keyword.arg == "mode":
            mode = keyword.value
    if mode is None:
        return False
    if isinstance(mode, ast.Constant) and isinstance(mode.value, str):
        # After a colon stands a compression (`tarfile`), not a mode.
        return bool(WRITING_MODES & set(mode.value.partition(":")[0]))
    return of_unknown


def _may_write(node: ast.Call) -> bool:
    """Return whether `os.open` may open for writing: its flags are not all known to read."""
    flags: ast.expr | None = node.args[1] if len(node.args) > 1 else None
    for keyword in node.keywords:
        if keyword.arg == "flags":
            flags = keyword.value
    return flags is None or not _reads(flags)


def _reads(flags: ast.expr) -> bool:
    """Return whether flags are `os.O_...` of `READING_FLAGS`, joined by `|`, and nothing else."""
    match flags:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _reads(left) and _reads(right)
        case ast.Attribute(value=ast.Name(id="os"), attr=name):
            return name in READING_FLAGS
        case ast.Call(
            func=ast.Name(id="getattr"),
            args=[ast.Name(id="os"), ast.Constant(value=name), ast.Constant(value=0)],
        ):
            return name in READING_FLAGS
    return False


def kill_writers(lab: Path, kills: int) -> Finding:
    """Kill writers of one critical file, one after another, and return the finding on all of them.

    At least one is killed. A writer replaces the file without pause and is killed 0 to 4 ms after
    its first whole write.
    The file has to have its own hash and the content of one write each time; the first failure ends
    the test, as does a writer that wrote nothing in `BEGIN_S`.
    """
    ensure_folder(lab)
    path = lab / "critical.json"
    write_hashed(path, _content(0))
    chance = random.Random(kills)
    # A fresh interpreter for each kill would take a minute; with fork it takes seconds.
    can_fork = "fork" in multiprocessing.get_all_start_methods()
    multiprocessing.set_start_method("fork" if can_fork else "spawn", force=True)
    for kill in range(max(1, kills if can_fork else kills // SPAWNED_SHARE)):
        begun = multiprocessing.Event()
        writer = multiprocessing.Process(target=_write_forever, args=(path, begun), daemon=True)
        writer.start()
        has_begun = begun.wait(BEGIN_S)
        time.sleep(chance.uniform(0.0, 0.004))
        writer.kill()
        writer.join()
        problem = _problem(path)
        if problem is None and not has_begun:
            problem = f"the writer wrote nothing in {BEGIN_S:.0f} s"
        if problem:
            return Finding("killed writers", False, f"kill {kill + 1}: {problem}")
    return Finding("killed writers", True, f"{kill + 1} kills: always the old file or the new one")


def _content(number: int) -> dict[str, object]:
    return {"number": number, "block": str(number % 10) * BLOCK}


def _problem(path: Path) -> str | None:
    try:
        content = read_hashed(path)
    except IntegrityError as error:
        return error.detail
    number = content["number"]
    return None if content["block"] == str(number % 10) * BLOCK else "a mixture of two versions"


def _write_forever(path: Path, begun: Event) -> None:
    number = 0
    while True:
        number += 1
        write_hashed(path, _content(number))
        begun.set()
