"""Golden run as a fixture: a sealed run's folder in one archive, and the result of its replay.

In `tests/fixtures/NAME/`: `run.tar.xz` (the folder, byte for byte), `golden.json` (id, digest, how
it was made) and `manifest.sha256` of both, for `sha256sum -c tests/fixtures/*/manifest.sha256`.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from minibot.cli.support.packed import ARCHIVE, unpacked

PROJECT: Final = Path(__file__).resolve().parents[2]
FIXTURES: Final = PROJECT / "tests" / "fixtures"
RECORD: Final = "golden.json"
SUMS: Final = "manifest.sha256"


@dataclass(frozen=True, slots=True)
class Golden:
    """Golden run: its place, and the expected result of its replay."""

    name: str
    folder: Path
    run_id: str
    digest: str
    inputs: int
    outputs: Mapping[str, int]
    what: str

    def unpack(self, var: Path) -> Path:
        """Return the run's folder, unpacked below `var` if it is not there already."""
        return unpacked(self.folder / ARCHIVE, var)


def golden_runs(folder: Path = FIXTURES) -> list[Golden]:
    """Return every kept golden run by name."""
    return [_read(path.parent) for path in sorted(folder.glob(f"*/{RECORD}"))]


def _read(folder: Path) -> Golden:
    record = json.loads((folder / RECORD).read_bytes())
    return Golden(
        name=folder.name,
        folder=folder,
        run_id=record["run_id"],
        digest=record["digest"],
        inputs=record["inputs"],
        outputs=record["outputs"],
        what=record["what"],
    )


def keep(run_dir: Path, folder: Path, record: Mapping[str, object]) -> None:
    """Pack a run's folder with its record, and the sha256 of both."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARCHIVE).write_bytes(lzma.compress(tar_of(run_dir), preset=9 | lzma.PRESET_EXTREME))
    text = json.dumps(record, indent=2, sort_keys=True) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8", newline="\n")
    sums = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {_shown(folder / name)}\n"
        for name in (ARCHIVE, RECORD)
    ]
    (folder / SUMS).write_text("".join(sums), encoding="utf-8", newline="\n")


def _shown(path: Path) -> str:
    """Return a path as `sha256sum -c` reads it from the project's root."""
    return path.resolve().relative_to(PROJECT).as_posix()


def wrong_sums(manifest: Path) -> list[str]:
    """Return a sentence for each file that differs from a list of sha256."""
    wrong = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        path = PROJECT / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if found != digest:
            wrong.append(f"{name}: expected sha256 {digest}, found {found}")
    return wrong


def tar_of(run_dir: Path) -> bytes:
    """Return a folder as an archive that depends on nothing but names and contents."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(run_dir.rglob("*")):
            if not path.is_file():
                continue
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{run_dir.name}/{path.relative_to(run_dir).as_posix()}")
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()
