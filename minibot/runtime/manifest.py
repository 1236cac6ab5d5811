"""Manifest of a run, written once at its start and never changed.

`manifest.json` holds the resolved config, the hashes of config, contracts, code and lock file,
the processes with their command lines, the clock and the hosts that may be contacted. Every
process reads it; an event whose command line it does not list is a STOP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from minibot.events.field_types import SYMBOL
from minibot.events.model import JsonObject
from minibot.events.reasons import ATOMICITY_VIOLATION, RUN_ID_MISMATCH
from minibot.kernel.errors import IntegrityError, Refusal
from minibot.kernel.files import read_hashed, write_hashed

MANIFEST_FILE = "manifest.json"
RUN_ID_FORM = "%Y%m%d_%H%M%S"
FORMAT = 1
"""Format of a run: `v` of its manifest, 1 where it lacks one; `replay.run_status` checks it."""
SYMBOL_FORM: Final = re.compile(str(SYMBOL.rule["pattern"]))
"""Form of every symbol in the contracts."""


@dataclass(frozen=True, slots=True)
class Process:
    """Process of the run, with the hash of its command line."""

    argv: tuple[str, ...]
    cmdline: str
    cmdline_hash: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Manifest: the fixed facts of a run; `config` is the resolved profile."""

    run_id: str
    profile: str
    config: JsonObject
    config_sha256: str
    contracts_sha256: str
    code_sha256: str
    lock_sha256: str
    python: str
    platform: str
    versions: Mapping[str, str]
    seed: int
    clock_kind: str  # "wall" or "simulated"
    clock_origin_ms: int
    clock_speed: str
    started_ms: int
    symbols: tuple[str, ...]
    processes: Mapping[str, Process]
    hosts: tuple[str, ...]
    embedded: JsonObject | None
    simulated: bool
    pinned: Mapping[str, str]  # file -> sha256: a change during the run is a STOP
    opening: JsonObject
    # Why the market data is not the exchange's, contrary to the profile; normally None.
    degraded: str | None = None
    # The queues that its launcher made; None for a run before they were named.
    queues: tuple[str, ...] | None = None

    @classmethod
    def required(cls) -> tuple[str, ...]:
        """Return the fields that every manifest of this format has; the others were added later."""
        return tuple(item.name for item in fields(cls) if item.default is MISSING)

    def cmdline_hashes(self) -> dict[str, set[str]]:
        """Return the command-line hashes that each role may write."""
        return {name: {process.cmdline_hash} for name, process in self.processes.items()}

    def require_symbol(self, symbol: str) -> None:
        """Refuse a symbol that the run neither trades nor was handed; a universe may have any.

        Raises:
            Refusal: It is none of the run's.
        """
        is_chosen = self.config.get("universe") and SYMBOL_FORM.fullmatch(symbol)
        is_carried = any(lot["symbol"] == symbol for lot in self.opening.get("lots", ()))
        if symbol not in self.symbols and not is_carried and not is_chosen:
            raise Refusal(
                f"{self.run_id} does not trade {symbol[:40]!r}.",
                f"It trades: {', '.join(self.symbols)}.",
            )

    def named_symbol(self, name: str) -> str:
        """Return the run's symbol that a person names, as `BTCUSDT` or `BTC/USDT`.

        Raises:
            Refusal: It is none of the run's.
        """
        symbol = name.strip().replace("/", "").upper()
        self.require_symbol(symbol)
        return symbol

    def to_json(self) -> JsonObject:
        """Return the content of `manifest.json`."""
        data: JsonObject = _listed(asdict(self))
        return {**data, "schema": "minibot.manifest", "v": FORMAT}

    def write(self, run_dir: Path) -> None:
        """Write `manifest.json` into the run's folder."""
        write_hashed(run_dir / MANIFEST_FILE, self.to_json())

    @classmethod
    def load(cls, run_dir: Path) -> Manifest:
        """Return the manifest of a run.

        Raises:
            IntegrityError: The file is missing, fails its hash, lacks a field, or names a run by
                a time that does not exist.
        """
        data = read_hashed(run_dir / MANIFEST_FILE)
        if not is_run_id(str(data.get("run_id"))):
            text = f"{run_dir}/{MANIFEST_FILE}: run_id {data.get('run_id')!r} is not a possible"
            raise IntegrityError(
                "runtime", RUN_ID_MISMATCH, f"{text} time of the form YYYYMMDD_HHMMSS"
            )
        try:
            values = {name: data[name] for name in cls.required()}
            values["degraded"] = data.get("degraded")  # Older runs lack these fields.
            values["queues"] = tuple(data["queues"]) if data.get("queues") else None
            values["processes"] = {
                name: Process(tuple(item["argv"]), item["cmdline"], item["cmdline_hash"])
                for name, item in data["processes"].items()
            }
            values["symbols"] = tuple(data["symbols"])
            values["hosts"] = tuple(data["hosts"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise IntegrityError(
                "runtime", ATOMICITY_VIOLATION, f"{run_dir}/{MANIFEST_FILE} lacks {error}"
            ) from error


def run_id_of(moment_s: int) -> str:
    """Return the id of a run that starts at a Unix second, in UTC."""
    return datetime.fromtimestamp(moment_s, UTC).strftime(RUN_ID_FORM)


def moment_of(run_id: str) -> int:
    """Return the Unix second that a run id names."""
    return int(datetime.strptime(run_id, RUN_ID_FORM).replace(tzinfo=UTC).timestamp())


def is_run_id(text: str) -> bool:
    """Return whether a text is `YYYYMMDD_HHMMSS` of a time that exists, such as 20261122_200000.

    The contracts check only its form; this refuses month 13, hour 25 or 31 February too.
    """
    try:
        moment = datetime.strptime(text, RUN_ID_FORM)
    except ValueError:
        return False
    return moment.strftime(RUN_ID_FORM) == text


def is_copy(folder: Path, manifest: Manifest | None) -> bool:
    """Return whether a run's folder is not named by its own id, as a renamed copy is.

    Without a manifest that can be read, any run id will do.
    """
    return not is_run_id(folder.name) if manifest is None else manifest.run_id != folder.name


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
