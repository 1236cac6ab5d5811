"""Model snapshots on disk, `var/ai/snapshots/<id>/`: model.txt, manifest.json, sha256, gate.json.

A snapshot is written once; only one of an older build, whose manifest says too little, is written
again by the same training. Its id comes from the sha256 of its text. `sha256` is written last, so a
snapshot without it does not exist. The gate adds `gate.json`, which stays where the other three are
written again. Loading checks every hash, the feature list and the format again, because the files
may have been changed; the text itself is then checked by `model_text`. All writing goes through
`kernel.files`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.ai.model_text import TEXT_BYTES_MAX, ModelRefused, check_model_text
from minibot.ai.vector import FEATURES, FEATURES_VERSION
from minibot.kernel.errors import RunStop
from minibot.kernel.files import (
    ensure_folder,
    parse_hashed,
    read_hashed,
    read_whole,
    write_atomic,
    write_hashed,
)

FORMAT: Final = "lightgbm-text-v4"
MODEL_FILE: Final = "model.txt"
MANIFEST_FILE: Final = "manifest.json"
SUMS_FILE: Final = "sha256"
GATE_FILE: Final = "gate.json"
ASKED: Final = ("horizon_ms", "bar_interval", "trend_interval", "label_bps_min")
"""Entries of a manifest's `training` by which its model answers a night's question or another."""
_SCHEMA: Final = "minibot.model_snapshot"
_ID: Final = re.compile(r"lgbm-[0-9a-f]{16}", re.ASCII)
_SMALL_BYTES_MAX: Final = 1 << 20
# Always the first: the next one would be read from the file before, whose damage would end a run.
_GENERATION: Final = 1


class SnapshotRefused(Exception):
    """A snapshot that may not be used; the message names its fault."""


class SnapshotOutdated(SnapshotRefused):
    """A snapshot of a build whose manifests did not name all of `ASKED`."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot with verified hashes, features and structure."""

    model_id: str
    text: str
    manifest: Mapping[str, Any]


def model_id_of(text: str) -> str:
    """Return the id of a model, derived from its text."""
    return f"lgbm-{sha256(text.encode()).hexdigest()[:16]}"


class Snapshots:
    """The snapshots of one `var/ai`."""

    def __init__(self, ai_root: Path) -> None:
        self._root = ai_root / "snapshots"

    def folder(self, model_id: str) -> Path:
        """Return the folder of a snapshot.

        Raises:
            SnapshotRefused: The id is not that of a snapshot; it might be a path.
        """
        if _ID.fullmatch(model_id) is None:
            raise SnapshotRefused(f"{model_id[:80]!r} is not the id of a snapshot")
        return self._root / model_id

    def listed(self) -> list[str]:
        """Return the ids in the folder, usable or not, sorted."""
        if not self._root.is_dir():
            return []
        return sorted(item.name for item in self._root.iterdir() if _ID.fullmatch(item.name))

    def write(self, text: str, *, created_ts: int, training: Mapping[str, Any]) -> str:
        """Write a snapshot and return its id.

        An existing one stays as it is, unless `load` finds it outdated: it is written again.

        Args:
            text: The model, as `check_model_text` accepts it.
            created_ts: Unix milliseconds.
            training: Source queues, runs, rows and parameters of the training.

        Raises:
            SnapshotRefused: The text is no acceptable model, or the existing one is damaged.
        """
        _check_text(text)
        model_id = model_id_of(text)
        folder = self.folder(model_id)
        if (folder / SUMS_FILE).exists():
            try:
                self.load(model_id)
                return model_id
            except SnapshotOutdated:
                (folder / SUMS_FILE).unlink()
        data = text.encode()
        ensure_folder(folder)
        write_atomic(folder / MODEL_FILE, data)
        manifest = {
            "schema": _SCHEMA,
            "v": 1,
            "model_id": model_id,
            "format": FORMAT,
            "created_ts": created_ts,
            "model": {
                "file": MODEL_FILE,
                "bytes": len(data),
                "sha256": sha256(data).hexdigest(),
            },
            "features": list(FEATURES),
            "features_version": FEATURES_VERSION,
            "training": dict(training),
        }
        write_hashed(folder / MANIFEST_FILE, manifest, generation=_GENERATION)
        write_atomic(folder / SUMS_FILE, _sums(folder))
        return model_id

    def load(self, model_id: str) -> Snapshot:
        """Return a snapshot after checking all of it.

        Raises:
            SnapshotRefused: A file is missing or changed, or the snapshot belongs to another build.
        """
        folder = self.folder(model_id)
        try:
            data = read_whole(folder / MODEL_FILE, size_max=TEXT_BYTES_MAX)
            raw = read_whole(folder / MANIFEST_FILE, size_max=_SMALL_BYTES_MAX)
            sums = read_whole(folder / SUMS_FILE, size_max=_SMALL_BYTES_MAX)
            manifest = parse_hashed(raw, folder / MANIFEST_FILE)
        except (OSError, RunStop) as error:
            raise SnapshotRefused(f"{model_id}: {error}") from error
        if sums != _sums_of(data, raw):
            raise SnapshotRefused(f"{model_id}: {SUMS_FILE} does not fit the files beside it")
        _check_manifest(manifest, model_id, data)
        text = data.decode("ascii", "replace")
        _check_text(text)
        return Snapshot(model_id, text, manifest)

    def write_verdict(self, model_id: str, verdict: Mapping[str, Any]) -> None:
        """Write the gate's verdict on a snapshot, also over a damaged one."""
        path = self.folder(model_id) / GATE_FILE
        write_hashed(path, {**verdict, "model_id": model_id}, generation=_GENERATION)

    def verdict(self, model_id: str) -> Mapping[str, Any] | None:
        """Return the gate's verdict on a snapshot; None without a usable one."""
        try:
            verdict = read_hashed(self.folder(model_id) / GATE_FILE)
        except (OSError, RunStop):
            return None
        return verdict if verdict.get("model_id") == model_id else None


def _check_manifest(manifest: Mapping[str, Any], model_id: str, data: bytes) -> None:
    wanted = {
        "schema": _SCHEMA,
        "v": 1,
        "model_id": model_id,
        "format": FORMAT,
        "features": list(FEATURES),
        "features_version": FEATURES_VERSION,
        "model": {
            "file": MODEL_FILE,
            "bytes": len(data),
            "sha256": sha256(data).hexdigest(),
        },
    }
    for name, value in wanted.items():
        if manifest.get(name) != value:
            raise SnapshotRefused(f"{model_id}: {MANIFEST_FILE}: {name} does not fit")
    missing = [name for name in ASKED if name not in manifest.get("training", {})]
    if missing:
        raise SnapshotOutdated(
            f"{model_id}: an older minibot made it and did not say for which {', '.join(missing)}; "
            "train it again"
        )
    if model_id != f"lgbm-{sha256(data).hexdigest()[:16]}":
        raise SnapshotRefused(f"{model_id}: the id does not name this text")


def _check_text(text: str) -> None:
    try:
        check_model_text(text)
    except ModelRefused as refused:
        raise SnapshotRefused(f"model text: {refused}") from refused


def _sums(folder: Path) -> bytes:
    return _sums_of(read_whole(folder / MODEL_FILE), read_whole(folder / MANIFEST_FILE))


def _sums_of(model: bytes, manifest: bytes) -> bytes:
    """Return the checksums in the format of `sha256sum -c`."""
    lines = (
        f"{sha256(model).hexdigest()}  {MODEL_FILE}\n",
        f"{sha256(manifest).hexdigest()}  {MANIFEST_FILE}\n",
    )
    return "".join(lines).encode()
