"""Attacks on a finished run: bytes changed afterwards."""

from __future__ import annotations

from tools.attacks.frame import Found, Lab, attack


@attack("A4", "one digit of a sealed fill is changed", "verify names file and line, exit 1")
def sealed_fill_edited(lab: Lab) -> Found:
    """Edit a price in the sealed fills of a finished run."""
    path = lab.finished_run() / "queues" / "fills" / "inbox.jsonl"
    data = bytearray(path.read_bytes())
    position = data.index(b'"price":"') + len(b'"price":"')
    data[position] = ord("1") if data[position] != ord("1") else ord("2")
    path.write_bytes(bytes(data))
    done = lab.minibot("verify", "latest")
    return Found(done.last_words(), done.code, done.code == 1 and done.says("fills"))
