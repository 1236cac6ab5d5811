"""Foreign bytecode in the tree, which its source does not compile to: a command and a check.

Python executes the `.pyc` of a source without reading the source, if the stamps or flags in the
file's head say so. So an attacker who can write there can run other code than the code list names.
Under the list such files are never read (`minibot.listed`); `minibot stage status` and the
preflight of a night report them. Files that Python ignores (another version's, stale, without a
source) are not reported: an ordinary tree after `git pull` is full of them.

It needs no installed package, and runs in a separate process: foreign bytecode can crash its
reader.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final

from minibot import listed
from minibot.runtime.deployment.installed import CACHE, problems
from minibot.runtime.interpreter import program, program_environ

FOLDERS: Final = ("minibot", "tools")
SUFFIX: Final = ".pyc"
HEAD_BYTES: Final = 16
UNCHECKED, CHECKED, STAMPED = 0b01, 0b11, 0
CHECK_S_MAX: Final = 120.0
_FIELDS: Final = (
    "co_name",
    "co_qualname",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_firstlineno",
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_exceptiontable",
)


def planted(project: Path) -> list[str]:
    """Return foreign bytecode that Python would run in place of a source, as `path: why`.

    Unchecked bytecode, unknown flags and a name that is not a file are reported whatever they hold.
    """
    return sorted(
        f"{path.relative_to(project).as_posix()}: {why}"
        for name in FOLDERS
        for path in _cached(project / name)
        if (why := _problem(path)) is not None
    )


class BytecodeCheck:
    """Check in a separate process, started only from sources; it runs while its caller goes on.

    Args:
        project: Root of the checkout.
        has_environment: Whether it also looks at the packages (`runtime.deployment.installed`).
    """

    def __init__(self, project: Path, *, has_environment: bool = False) -> None:
        self._private = tempfile.TemporaryDirectory(prefix=listed.PREFIX)
        folder = Path(self._private.name)
        # Without a list: the check has to start in a tree that differs from it.
        (folder / listed.LIST).write_text(json.dumps({"files": None}), encoding="utf-8")
        script = os.path.abspath(listed.__file__)
        argv = [program(), "-X", "utf8", *listed.flags(str(folder)), script, __name__]
        self._process = subprocess.Popen(
            [*argv, str(project), *(["--environment"] if has_environment else [])],
            env={**os.environ, **program_environ()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )

    def result(self) -> list[str]:
        """Wait for the process and return its findings; its own failure is one too."""
        try:
            output, complaint = self._process.communicate(timeout=CHECK_S_MAX)
        except subprocess.TimeoutExpired:
            self.end()
            return [f"bytecode could not be judged within {CHECK_S_MAX:.0f} s"]
        code = self._process.returncode
        self.end()
        if code == 0:
            return [str(item) for item in json.loads(output)]
        last = complaint.strip().splitlines()[-1:] or ["no word"]
        return [f"bytecode could not be judged: exit code {code}: {last[0][:200]}"]

    def end(self) -> None:
        """End the process and remove its folder."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        self._private.cleanup()


def _cached(folder: Path) -> Iterator[Path]:
    """Yield every bytecode file in a cache folder below; a cache folder may be a link.

    Other linked folders are left out: the list of deployed code names them (`deployed`).
    """
    for place, folders, _ in os.walk(folder):
        if CACHE in folders:
            folders.remove(CACHE)
            with os.scandir(os.path.join(place, CACHE)) as entries:
                yield from (Path(entry) for entry in entries if entry.name.endswith(SUFFIX))


def _problem(path: Path) -> str | None:
    """Return why a bytecode file is wrong, None if it is right or never used."""
    stem, tag, optimize = _parts(path.name)
    source = path.parent.parent / f"{stem}.py"
    if tag != sys.implementation.cache_tag or not source.is_file():
        return None
    if not path.is_file():
        return "is not a file"
    data = path.read_bytes()
    if data[:4] != importlib.util.MAGIC_NUMBER or len(data) < HEAD_BYTES:
        return None
    text, found = source.read_bytes(), source.stat()
    flags = int.from_bytes(data[4:8], "little")
    if flags == UNCHECKED:
        return "is run unchecked, whatever its source says"
    if flags == CHECKED:
        is_used = data[8:16] == importlib.util.source_hash(text)
    elif flags == STAMPED:
        stamp = (int(found.st_mtime) & 0xFFFFFFFF, found.st_size & 0xFFFFFFFF)
        is_used = stamp == tuple(int.from_bytes(data[at : at + 4], "little") for at in (8, 12))
    else:
        return f"has unknown flags {flags}"
    if not is_used:
        return None
    expected = compile(text, str(source), "exec", dont_inherit=True, optimize=optimize)
    try:
        code = marshal.loads(data[HEAD_BYTES:])
    except (ValueError, EOFError, TypeError) as error:
        return f"cannot be read: {error}"
    return None if _is_same(code, expected) else "is not what its source compiles to"


def _parts(name: str) -> tuple[str, str, int]:
    """Return stem, tag and optimization of a name such as `core.cpython-311.opt-1.pyc`."""
    parts = name.removesuffix(SUFFIX).split(".")
    optimize = 0
    if len(parts) > 2 and parts[-1] in ("opt-1", "opt-2"):
        optimize = int(parts.pop()[-1])
    return ".".join(parts[:-1]), parts[-1], optimize


def _is_same(one: object, other: object) -> bool:
    """Return whether two constants are the same; code is compared by content and position."""
    if type(one) is not type(other):
        return False
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        fields = all(getattr(one, name) == getattr(other, name) for name in _FIELDS)
        return fields and _is_same(one.co_consts, other.co_consts)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return repr(one) == repr(other)  # Not by `==`: 0.0 is not -0.0, and nan is nan.


if __name__ == "__main__":
    checkout = Path(sys.argv[1])
    extra = problems(checkout) if "--environment" in sys.argv else []
    print(json.dumps([*planted(checkout), *extra]))
