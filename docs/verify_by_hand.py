"""Verify a finished run with nothing but Python: python3 docs/verify_by_hand.py var/runs/RUN."""

import hashlib
import json
import pathlib
import sys

run = pathlib.Path(sys.argv[1] if len(sys.argv) == 2 else sys.exit(print(__doc__) or 2))


def read(path, size=1 << 24):
    """Return a file of at most so many bytes, else None; a FIFO in its place would never end."""
    fits = path.is_file() and not path.is_symlink() and path.stat().st_size <= size
    return path.read_bytes() if fits else None


seal = json.loads(read(run / "seal.json") or sys.exit(print("WRONG seal.json: missing") or 1))
covered = {key: seal[key] for key in ("files", "run_files", "extra")}
text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
bad = [] if seal["root"] == hashlib.sha256(text.encode()).hexdigest() else ["seal.json: its root"]

files = {**seal["files"], **seal["run_files"]}
bad += [] if "manifest.json" in files else ["manifest.json: not in the seal"]
there = {path.relative_to(run).as_posix() for path in (run / "queues").rglob("*.*")}
bad += [f"{name}: not in the seal" for name in sorted(there - files.keys())]
for name, entry in files.items():
    data = read(run / name, entry["size"])
    is_right = data is not None and hashlib.sha256(data).hexdigest() == entry["sha256"]
    bad += [] if is_right else [f"{name}: not what was sealed"]

for head in sorted((run / "queues").rglob("*.head")):
    chain, count = bytes(32), 0  # A line is sha256:<hex>:<json>; a chain runs over all digests.
    sealed = sorted(head.parent.glob(head.stem + ".[0-9]*.jsonl"))
    for path in [*sealed, head.with_suffix(".jsonl")]:
        for number, line in enumerate(path.open("rb") if path.is_file() else [], 1):
            digest = hashlib.sha256(line[72:-1])
            if line[:72] != b"sha256:%b:" % digest.hexdigest().encode() or line[-1:] != b"\n":
                bad += [f"{path.relative_to(run)}:{number}: not as it was written"]
            chain, count = hashlib.sha256(chain + digest.digest()).digest(), count + 1
    slots = read(head) or bytes(128)  # Two: segment 4, offset 8, lines 8, chain 32, seq 8, crc 4.
    newest = max(slots[:64], slots[64:128], key=lambda slot: slot[52:60])
    if newest[12:52] != count.to_bytes(8, "big") + chain:
        bad += [f"{head.relative_to(run)}: its lines lead elsewhere"]

for finding in bad:
    print("WRONG", finding)
print("clean" if not bad else f"{len(bad)} findings", "- compare the root with the published one:")
print(seal["root"])
sys.exit(1 if bad else 0)
