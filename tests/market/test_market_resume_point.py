"""Resume point: rules that a queue of many segments tells of its symbols."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from minibot.kernel import canonical
from minibot.kernel.queue import make_queue, open_writer, queue_folder
from minibot.market.resume_point import read_resume_point
from tests.instruments import instrument

QUEUE = "market_ticks"


def beat(ts: int) -> bytes:
    """Return a beat that names both symbols."""
    return line(ts, "beat", {"n": ts, "data_age_ms": {"BTCUSDT": 0, "ETHUSDT": 0}})


def line(ts: int, kind: str, payload: Mapping[str, Any]) -> bytes:
    return canonical.encode({"ts": ts, "type": kind, "payload": dict(payload)})


def test_rules_of_the_start_and_of_the_end_are_known(tmp_path: Path) -> None:
    """Rules stand in the first lines and in the last segments; the later ones count.

    Of universes the last counts.
    """
    changed = instrument("ETHUSDT", qty_min="0.5", filters_unknown=("FRESH",))
    make_queue(tmp_path, QUEUE, None)
    with closing(open_writer(tmp_path, QUEUE, segment_bytes=1000)) as writer:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            writer.append_json([line(1, "instrument", instrument(symbol).to_json())])
        for ts in range(2, 40):
            writer.append_json([beat(ts)])
        writer.append_json([line(40, "instrument", changed.to_json())])
        for traded in (["BTCUSDT"], ["ETHUSDT"]):
            writer.append_json([line(40, "universe", {"traded": traded})])

    tail = read_resume_point(queue_folder(tmp_path, QUEUE))

    assert tail.read_from is not None
    assert tail.read_from > 2
    assert tail.rules == {"BTCUSDT": instrument("BTCUSDT"), "ETHUSDT": changed}
    assert tail.followed == ("BTCUSDT", "ETHUSDT")
    assert tail.traded == ("ETHUSDT",)
    assert tail.last_ts == 40
