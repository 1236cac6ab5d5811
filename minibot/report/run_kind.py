"""Kind of a run by only its manifest and seal: made up, drill, sealed; no queue is read.

With it goes what such a run causes itself, which is no news to a reader.
"""

from __future__ import annotations

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from minibot.events.model import Incident, JsonObject
from minibot.kernel.errors import RunStop
from minibot.kernel.files import read_hashed
from minibot.kernel.seal import SEAL_FILE
from minibot.market.notices import BARS_MISSING
from minibot.runtime.manifest import Manifest

NIGHT_MODE: Final = "NORE"
_NO_HISTORY: Final = re.compile(r": 0 of \d+ bars of history$")


def read_seal(run_dir: Path) -> JsonObject:
    """Return the seal of a run, empty when it has none or a damaged one, which `verify` names."""
    path = run_dir / SEAL_FILE
    if not path.exists():
        return {}
    try:
        return dict(read_hashed(path))
    except RunStop:
        return {}


def has_damaged_seal(run_dir: Path) -> bool:
    """Return whether a run has a seal that cannot be read; `verify` names its damage."""
    return os.path.lexists(run_dir / SEAL_FILE) and not read_seal(run_dir)


def root_or_reason(run_dir: Path) -> str:
    """Return the root of a run's seal, or in words why there is none to keep."""
    reason = "its seal is damaged" if has_damaged_seal(run_dir) else "not sealed"
    return str(read_seal(run_dir).get("root", reason))


def made_up_of(manifest: Manifest) -> str:
    """Return the reason why a run's market data are not the exchange's own, empty if they are."""
    if manifest.degraded:
        return manifest.degraded
    if manifest.simulated:
        return "simulated time"
    loopback = next((host for host in manifest.hosts if _is_loopback(host)), "")
    return f"an exchange on this machine, {loopback}" if loopback else ""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def drill_of(manifest: Manifest) -> str:
    """Return the faults that a run's profile injects on purpose, empty if there are none."""
    config: dict[str, Any] = manifest.config
    planted = config.get("chaos") or {}
    if planted:
        return str(planted.get("drill") or "planted fault")
    faults = (config.get("embedded") or {}).get("faults")
    return f"faults {faults}" if faults else ""


def has_no_history(manifest: Manifest) -> bool:
    """Return whether a run's simulated market was played without a file of earlier bars."""
    embedded = manifest.config.get("embedded")
    return embedded is not None and embedded["history"] is None


def is_expected(incident: Incident, manifest: Manifest) -> bool:
    """Return whether a run's profile itself causes an incident.

    A market that is played without history has no bars from before its start: that is on record,
    and no news to a reader.
    """
    is_of_history = incident.kind == BARS_MISSING and _NO_HISTORY.search(incident.detail)
    return bool(is_of_history) and has_no_history(manifest)
