"""Deployed code: the list in `staging/deployed.json`, and the tree's differences from it.

The list names every file that can change what a night does, with its sha256. It is written by
`minibot stage adopt` once for a fresh clone and by every `minibot stage apply`; the night profile
refuses to start on code that differs from it (N-23), every other profile reports the difference.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from minibot.compiled import SWITCH
from minibot.kernel.canonical import JsonObject
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import ensure_folder, read_hashed, write_hashed
from minibot.runtime.cmdline import own_cmdline_hash
from minibot.runtime.deployment.deploy import APPLIED, DEPLOYED, JOURNAL, TEMP_SUFFIX

CONFIG: Final = "config"
CODE_FOLDERS: Final = (CONFIG, "contracts", "minibot", "tools")
COMPILED: Final = "build/compiled"
"""Where compiled builds are, whose libraries are code like their sources."""
CODE_FILES: Final = ("pyproject.toml", "requirements.lock", "requirements-dev.lock")
CACHE: Final = "__pycache__"
ADOPT: Final = 'Look at the tree, then run: minibot stage adopt --reason "first night"'
ACCEPT: Final = 'Put the files back, or accept them with: minibot stage adopt --reason "..."'
_PASSED_OVER: Final = frozenset({CACHE, ".mypy_cache", ".ruff_cache"})


def code_manifest(project: Path) -> dict[str, str]:
    """Return path -> sha256 of every file that can change what a run does, sorted by path.

    Paths are relative, with slashes. A symbolic link counts by its target's path, not by the
    target's content: deployed code has none.
    """
    return {path: _digest(project / path) for path in sorted(_code_paths(project))}


def code_sha256(project: Path, config: Mapping[str, bytes] | None = None) -> str:
    """Return one hash over paths and contents of `.py` and `.json` files.

    They are all those of minibot, then of contracts, then of config, each folder sorted by path.

    Args:
        project: Root of the checkout.
        config: Digests of config to take in place of those on disk; see `digests_below`.
    """
    files = {**digests_below(project, "minibot"), **digests_below(project, "contracts")}
    files.update(digests_below(project, CONFIG) if config is None else config)
    digest = hashlib.sha256()
    for path, content in files.items():
        digest.update(path.encode() + b"\0")
        digest.update(content)
    return digest.hexdigest()


def digests_below(project: Path, folder: str) -> dict[str, bytes]:
    """Return path -> sha256 of all `.py` and `.json` files below a folder, sorted by path.

    A link to nothing, which some editors put beside a file with unsaved changes, is not a file.
    """
    found: list[list[str]] = []
    # Hundreds of paths as text: as objects they take longer to list and sort than to hash.
    for at, folders, names in os.walk(project / folder):
        folders[:] = [name for name in folders if name != CACHE]
        parts = os.path.relpath(at, project).split(os.sep)
        found += [[*parts, name] for name in names if os.path.splitext(name)[1] in (".py", ".json")]
    return {
        "/".join(path): hashlib.sha256(project.joinpath(*path).read_bytes()).digest()
        for path in sorted(found)
        if os.path.isfile(os.path.join(project, *path))
    }


def compare(project: Path) -> list[str]:
    """Return the differences from `staging/deployed.json`, as `path: how`; empty when equal.

    A compiled build counts only if it is switched on, as it is not used otherwise.

    Raises:
        Refusal: There is no list yet, it is damaged, or a deployment was interrupted; the remedy
            names the command.
    """
    if (project / JOURNAL).exists():
        raise Refusal(
            "a deployment was cut off, so the code is neither old nor new.",
            "Bring it to its end: minibot stage apply",
        )
    found = differences(read_deployed(project), code_manifest(project))
    if os.environ.get(SWITCH):
        return found
    return [text for text in found if not text.startswith(f"{COMPILED}/")]


def libraries(project: Path) -> dict[str, str]:
    """Return path -> sha256 of every library of a compiled build, sorted by path."""
    return {
        path: _digest(project / path)
        for path in sorted(_code_paths(project))
        if path.startswith(f"{COMPILED}/") and path.endswith((".so", ".pyd"))
    }


def differences(deployed: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the paths in which two manifests differ, each with how it differs."""
    result = []
    for path in sorted({*deployed, *found}):
        if path not in found:
            result.append(f"{path}: missing")
        elif path not in deployed:
            result.append(f"{path}: not deployed")
        elif deployed[path] != found[path]:
            result.append(f"{path}: changed")
    return result


def read_deployed(project: Path) -> dict[str, str]:
    """Return path -> sha256 of the deployed files.

    Raises:
        Refusal: There is no list yet, or it is damaged.
    """
    if not (project / DEPLOYED).exists():
        raise Refusal(
            f"{DEPLOYED} is missing: no code has been accepted for nights yet.",
            ADOPT,
        )
    try:
        files = read_hashed(project / DEPLOYED)["files"]
    except IntegrityError as error:
        raise Refusal(
            f"{DEPLOYED} is damaged: {error.detail}",
            ADOPT,
        ) from error
    return dict(files)


def deployed_record(files: Mapping[str, str], how: str, reason: str | None) -> JsonObject:
    """Return the content of `staging/deployed.json`, without generation and sha256."""
    record: JsonObject = {
        "schema": "minibot.deployed",
        "v": 1,
        "created_ts": time.time_ns() // 1_000_000,
        "cmdline_hash": own_cmdline_hash(),
        "how": how,
        "files": dict(files),
    }
    if reason is not None:
        record["reason"] = reason
    return record


def adopt(project: Path, reason: str | None) -> int:
    """Accept the tree as it is as the deployed one; return how many files the list has.

    An existing list is kept under `staging/applied/`, and replacing it needs a reason, which goes
    on record: otherwise a change could be waved through unnoticed.

    Raises:
        Refusal: A list exists and no reason was given.
    """
    target, files = project / DEPLOYED, code_manifest(project)
    if target.exists():
        if not reason:
            raise Refusal(
                f"{DEPLOYED} already exists.",
                "Bring changes in by `minibot stage add` and `apply`, or give `--reason TEXT`.",
            )
        kept = project / APPLIED / f"deployed-before-{time.time_ns() // 1_000_000}.json"
        ensure_folder(kept.parent)
        os.replace(target, kept)
    ensure_folder(target.parent)
    write_hashed(target, deployed_record(files, "adopt", reason))
    return len(files)


def _code_paths(project: Path) -> Iterator[str]:
    for name in CODE_FILES:
        if os.path.lexists(project / name):
            yield name
    for top in (*CODE_FOLDERS, COMPILED):
        for folder, folders, names in os.walk(project / top):
            folders[:] = [name for name in folders if name not in _PASSED_OVER]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in (*names, *links):
                # Bytecode outside a cache folder is a module by itself: it counts.
                if not name.endswith(TEMP_SUFFIX):
                    yield Path(folder, name).relative_to(project).as_posix()


def _digest(path: Path) -> str:
    if path.is_symlink():
        return hashlib.sha256(b"link:" + os.fsencode(os.readlink(path))).hexdigest()
    if not path.is_file():  # Opening a FIFO would never return.
        return hashlib.sha256(b"no regular file").hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
