"""Manifests of runs that tests play: as the launcher writes them, without a launcher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minibot.events.model import JsonObject
from minibot.runtime.cmdline import cmdline, cmdline_hash
from minibot.runtime.manifest import Manifest, Process


def made_manifest(
    run_id: str,
    config: JsonObject,
    commands: Mapping[str, Sequence[str]],
    origin_ms: int,
    **changes: Any,
) -> Manifest:
    """Return the manifest of a simulated run of BTCUSDT at wall-clock speed.

    Args:
        run_id: Id of the run.
        config: The resolved profile.
        commands: The command line of each role that may write.
        origin_ms: Beginning of market time.
        changes: Fields with other values.
    """
    facts: dict[str, Any] = {
        **{"run_id": run_id, "profile": "test", "config": config, "seed": 1},
        **dict.fromkeys(
            ("config_sha256", "contracts_sha256", "code_sha256", "lock_sha256"), "0" * 64
        ),
        **{"python": "", "platform": "", "versions": {}, "pinned": {}, "opening": {}},
        **{"clock_kind": "simulated", "clock_origin_ms": origin_ms, "clock_speed": "1"},
        **{"started_ms": origin_ms, "symbols": ("BTCUSDT",), "hosts": (), "embedded": None},
        "processes": {
            role: Process(tuple(argv), cmdline(argv), cmdline_hash(argv))
            for role, argv in commands.items()
        },
        "simulated": True,
    }
    return Manifest(**(facts | changes))
