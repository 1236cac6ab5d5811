"""Ended runs on disk, as the opening of the next run finds them."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from minibot.events.model import RunOpening
from minibot.events.registry import Contracts
from minibot.events.roles import Roles
from minibot.kernel.files import write_hashed
from minibot.kernel.queue import make_queue, open_writer
from minibot.kernel.seal import SEAL_FILE
from minibot.runtime.manifest import Process
from minibot.watchdog.opening import carried_opening
from tests.manifests import made_manifest
from tests.risk.desk import HASH, PROJECT, RUN_ID, START, WRITERS, Desk, codec


def put_ended(run_dir: Path, desk: Desk, began_ms: int = START) -> None:
    """Write a desk's run as a folder that has ended: manifest, queues and the seal's root."""
    run_dir.mkdir(exist_ok=True)
    first = desk.events("control")[0].payload
    plain = made_manifest(RUN_ID, desk.profile, {}, began_ms, opening=first.to_json())
    writers = {role: Process((), "", HASH) for role in WRITERS.values()}
    replace(plain, processes=writers).write(run_dir)
    for queue in WRITERS:
        make_queue(run_dir / "queues", queue, None)
        with closing(open_writer(run_dir / "queues", queue)) as writer:
            writer.append_json([codec().encode(queue, event) for event in desk.events(queue)])
    write_hashed(run_dir / SEAL_FILE, {"root": HASH})


def opening_behind(
    run_dir: Path, origin_ms: int, *, has_week: bool = False, trades_ms: int | None = None
) -> RunOpening:
    """Return the opening of a run that carries on the one in a folder."""
    contracts = Contracts.of_project()
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")
    return carried_opening(
        run_dir, contracts, roles, origin_ms, has_week=has_week, trades_ms=trades_ms
    )
