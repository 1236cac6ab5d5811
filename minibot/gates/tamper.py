"""Tampering: an attacker's tricks on a copy of a run, and which check finds each, or misses it.

Three checks find tricks: `verify` (bytes, chains, seal, causes), `replay` (every decision
recomputed), and the root of the seal if it was published before. A fourth, a signed seal, finds a
run that was forged completely, as long as the attacker lacks the key.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from minibot.engine.role_replay import Recorded, replay_run
from minibot.events.decimals import format_fixed, parse_fixed
from minibot.events.names import FILLS
from minibot.gates.smoke_run import run_smoke
from minibot.gates.tamper_forge import Forgery, forge_manifest, reseal
from minibot.kernel.audit import finding_line
from minibot.kernel.errors import Refusal, RunStop
from minibot.kernel.files import ensure_folder, hash_file, read_hashed
from minibot.kernel.seal import SEAL_FILE
from minibot.kernel.signature import new_keys, sign_run
from minibot.kernel.verify import Finding
from minibot.replay.compare import describe
from minibot.report.proof import findings_of

FINDINGS_MAX: Final = 200  # Findings of `verify` for one trick; further ones are not sought.
FILLS_MIN: Final = 3
VERIFY, REPLAY, ROOT, SIGNATURE = "verify", "replay", "published root", "signature"
# Makes five round trips in a hundred seconds of market time, on every machine.
SMALL_RUN: Final = ("embedded.source=generator:2", "embedded.speed=20", "duration_ms=100000")
COPIED_BYTES_MAX: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Trick:
    """Trick of an attacker.

    Attributes:
        name: Short, for programs.
        words: The attacker's deed.
        act: Applies the trick to the copy.
        found_by: Checks, each of which has to find the trick.
        missed_by: Checks that run too and are expected to miss the trick; no failure if they find
            it.
    """

    name: str
    words: str
    act: Callable[[Path], None]
    found_by: tuple[str, ...]
    missed_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    """Outcome of a trick: what each check that ran found, in words.

    Attributes:
        trick: The trick.
        findings: Check -> its most specific finding; empty text where it found nothing.
        finding: Most specific finding of `verify`, else that of the signature.
    """

    trick: Trick
    findings: dict[str, str] = field(default_factory=dict)
    finding: Finding | None = None

    @property
    def is_found(self) -> bool:
        """True if every check of `found_by` found the trick."""
        return all(self.findings.get(check) for check in self.trick.found_by)


def small_run(lab: Path) -> Path:
    """Make a short run for the tricks in an emptied lab and return its folder.

    Raises:
        Refusal: The run did not end with exit code 0, or left no folder.
    """
    made = run_smoke(lab, SMALL_RUN)
    if made.exit_code or made.run_dir is None:
        raise Refusal(
            f"the small run ended with {made.exit_code}: {made.output[-500:]}",
            "See `minibot doctor`, or name a finished run.",
        )
    return made.run_dir


def is_usable(run_dir: Path) -> str:
    """Return the reason why a run cannot be used for the tricks; empty if it can.

    A usable run is sealed, has `FILLS_MIN` fills and at most `COPIED_BYTES_MAX` bytes.
    """
    if not (run_dir / SEAL_FILE).exists():
        return "it is not sealed"
    count = Forgery.of(run_dir, FILLS).count if (run_dir / "queues" / FILLS).exists() else 0
    if count < FILLS_MIN:
        return f"it has {count} fills, {FILLS_MIN} are needed"
    size = sum(path.stat().st_size for path in _files(run_dir))
    if size > COPIED_BYTES_MAX:
        return f"its {size >> 20} MB would have to be copied, at most {COPIED_BYTES_MAX >> 20}"
    return ""


def digest_of(run_dir: Path) -> str:
    """Return one hash over names and contents of all files below a folder."""
    total = sha256()
    for path in _files(run_dir):
        size, digest = hash_file(path)
        total.update(f"{path.relative_to(run_dir).as_posix()} {size} {digest}\n".encode())
    return total.hexdigest()


def demonstrate(run_dir: Path, lab: Path) -> Iterator[Outcome]:
    """Play every trick on a fresh copy of a run and yield the outcome of each.

    Args:
        run_dir: A finished and usable run; it is read and never written.
        lab: The demonstration's own folder; before each trick its `copy` is made equal to the run.
            The last copy stays.

    Raises:
        Refusal: The untouched run does not verify, or its replay differs already, so that finding a
            trick would prove nothing.
    """
    copy = lab / "copy"
    _copy(run_dir, copy)
    clean = list(itertools.islice(findings_of(copy), 1))
    if clean:
        raise Refusal(
            f"the run does not verify as it is: {finding_line(clean[0])}.",
            "See `minibot verify`; name a run that is whole.",
        )
    if differs := _replayed(copy):
        raise Refusal(
            f"the run's replay differs as it is: {differs.partition('; ')[0]}.",
            "See `minibot replay`; name a run whose replay is identical.",
        )
    published = _root(copy)
    private, public = new_keys()
    for trick in tricks(Recorded.open(run_dir).manifest.run_id):
        is_signed = SIGNATURE in trick.found_by
        _copy(run_dir, copy)
        if is_signed:
            sign_run(copy, private)
        trick.act(copy)
        yield judged(trick, copy, published, public if is_signed else None)


def judged(trick: Trick, copy: Path, published: str, public_key: str | None) -> Outcome:
    """Run the checks that a trick names on the changed copy and return the outcome.

    Bytes, seal and signature are verified for every trick; a check that the trick does not name is
    told only where it finds something. Causes are verified only if it names `verify` and the bytes
    are right.

    Args:
        trick: The trick that was applied.
        copy: The changed copy.
        published: Root of the run's seal before the trick.
        public_key: The key that has to have signed the seal; None for the one that the run's
            profile pins, if any.
    """
    outcome = Outcome(trick)
    asked = {*trick.found_by, *trick.missed_by}
    found = _found(copy, public_key=public_key, lineage=False)
    if not found and VERIFY in asked:
        found = _found(copy, public_key=public_key, bytes_too=False)
    signed = [finding for finding in found if finding.code == "SEAL_SIGNATURE"]
    if SIGNATURE in asked or signed:
        outcome.findings[SIGNATURE] = finding_line(signed[0]) if signed else ""
    rest = [finding for finding in found if finding not in signed]
    outcome.finding = _first(rest or signed)
    if VERIFY in asked or rest:
        outcome.findings[VERIFY] = _in_words(rest)
    if REPLAY in asked:
        outcome.findings[REPLAY] = _replayed(copy)
    if ROOT in asked:
        root = _root(copy)
        outcome.findings[ROOT] = (
            "" if root == published else f"{published} was published, not {root}"
        )
    return outcome


def tricks(run_id: str) -> tuple[Trick, ...]:
    """Return all tricks, from the simplest to those found only by a root or key kept elsewhere."""
    return (
        Trick("edit", "the price of a fill is changed in the file", _edit, (VERIFY,)),
        Trick(
            "edit_hash",
            "the same, and the line's own sha256 recomputed",
            _edit_hash,
            (VERIFY,),
        ),
        Trick(
            "edit_chain",
            "the same, and chain, head, list of segments and cursors recomputed",
            _edit_chain,
            (VERIFY,),
        ),
        Trick(
            "edit_seal",
            "the same, and the seal with its root recomputed: every hash fits",
            _edit_seal,
            (REPLAY, ROOT),
            (VERIFY,),
        ),
        Trick("delete", "a fill is deleted", _delete, (VERIFY,)),
        Trick(
            "delete_seal",
            "a fill is deleted and every hash recomputed",
            _delete_seal,
            (REPLAY, ROOT),
        ),
        Trick("swap", "two fills change places", _swap, (VERIFY,)),
        Trick(
            "splice",
            "a fill of another run is put in the place of one, every hash recomputed",
            lambda copy: _splice(copy, run_id),
            (VERIFY, ROOT),
        ),
        Trick(
            "manifest",
            "the fee is changed in the run's manifest, whose own hash is recomputed",
            _change_fee,
            (VERIFY,),
        ),
        Trick(
            "manifest_seal",
            "the same, and the seal recomputed",
            _change_fee_seal,
            (REPLAY, ROOT),
        ),
        Trick(
            "rewrite",
            "something that no decision hangs on is changed (when a tick was received), and every "
            "hash recomputed: a whole night rewritten in full would look the same",
            _rewrite,
            (ROOT,),
            (VERIFY, REPLAY),
        ),
        Trick(
            "rewrite_signed",
            "the same on a run with a signed seal",
            _rewrite,
            (SIGNATURE, ROOT),
        ),
        Trick(
            "rewrite_own_key",
            "the same, signed again with the attacker's own key",
            _rewrite_own_key,
            (SIGNATURE, ROOT),
        ),
    )


# --- deeds of the attacker ----------------------------------------------------------------------


def _cheaper(event: dict[str, Any]) -> None:
    """Lower the price of a fill by a tenth, rounded down to the decimal places that it has."""
    price = event["payload"]["price"]
    places = len(price.partition(".")[2])
    event["payload"]["price"] = format_fixed(parse_fixed(price, places) * 9 // 10, places)


def _forged(copy: Path, *, rehash: bool) -> Forgery:
    fills = Forgery.of(copy, FILLS)
    fills.edit(_middle(fills), _cheaper, rehash=rehash)
    return fills


def _middle(journal: Forgery) -> int:
    """Return the number of the middle line, of an even count the earlier of two."""
    return (journal.count + 1) // 2


def _edit(copy: Path) -> None:
    _forged(copy, rehash=False).write()


def _edit_hash(copy: Path) -> None:
    _forged(copy, rehash=True).write()


def _edit_chain(copy: Path) -> None:
    _forged(copy, rehash=True).write_chain()


def _edit_seal(copy: Path) -> None:
    _edit_chain(copy)
    reseal(copy)


def _without_one(copy: Path) -> Forgery:
    fills = Forgery.of(copy, FILLS)
    at, index = fills.place(_middle(fills))
    del fills.lines[at][index]
    return fills


def _delete(copy: Path) -> None:
    _without_one(copy).write()


def _delete_seal(copy: Path) -> None:
    _without_one(copy).write_chain()
    reseal(copy)


def _swap(copy: Path) -> None:
    """Exchange the first two fills; each line keeps its own right hash, the chain does not fit."""
    fills = Forgery.of(copy, FILLS)
    (one, first), (two, second) = (fills.place(number) for number in (1, 2))
    lines = fills.lines
    lines[one][first], lines[two][second] = lines[two][second], lines[one][first]
    fills.write()


def _splice(copy: Path, run_id: str) -> None:
    """Give the middle fill the run id of the day before and another event id; recompute hashes."""
    day = datetime.strptime(run_id[:8], "%Y%m%d") - timedelta(days=1)
    other = f"{day:%Y%m%d}{run_id[8:]}"

    def of_other(event: dict[str, Any]) -> None:
        event["run_id"] = other
        event["id"] = event["id"][7::-1] + event["id"][8:]

    fills = Forgery.of(copy, FILLS)
    fills.edit(_middle(fills), of_other, rehash=True)
    fills.write_chain()
    reseal(copy)


def _change_fee(copy: Path) -> None:
    """Change `execution.taker_fee_bps` in the manifest to 1, or from 1 to 0; recompute its hash."""

    def other(manifest: dict[str, Any]) -> None:
        execution = manifest["config"]["execution"]
        execution["taker_fee_bps"] = "0" if Decimal(execution["taker_fee_bps"]) == 1 else "1"

    forge_manifest(copy, other)


def _change_fee_seal(copy: Path) -> None:
    _change_fee(copy)
    reseal(copy)


def _rewrite(copy: Path) -> None:
    """Set the receipt of the last market tick 1 ns earlier and recompute every hash."""

    def sooner(event: dict[str, Any]) -> None:
        event["payload"]["recv_mono_ns"] -= 1

    ticks = Forgery.of(copy, "market_ticks")
    for number in range(ticks.count, 0, -1):
        at, index = ticks.place(number)
        if b'"type":"market_tick"' in ticks.lines[at][index]:
            ticks.edit(number, sooner, rehash=True)
            break
    ticks.write_chain()
    reseal(copy)


def _rewrite_own_key(copy: Path) -> None:
    _rewrite(copy)
    sign_run(copy, new_keys()[0])


# --- the checks -------------------------------------------------------------------------------


def _found(copy: Path, **options: Any) -> list[Finding]:
    return list(itertools.islice(findings_of(copy, **options), FINDINGS_MAX))


def _replayed(copy: Path) -> str:
    """Return the first difference of the replay, or the error that ended it; empty for neither."""
    try:
        replay = replay_run(copy)
    except RunStop as error:
        return f"{error.reason_code}: {error.detail}"
    if replay.difference is None:
        return ""
    return "; ".join(line.strip() for line in describe(replay.difference)["lines"][:4])


def _in_words(findings: Sequence[Finding]) -> str:
    first = _first(findings)
    if first is None:
        return ""
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return finding_line(first) + more


def _first(findings: Sequence[Finding]) -> Finding | None:
    """Return the most specific finding: of a line before a file, of a file before the seal.

    None without findings.
    """
    return max(
        findings,
        key=lambda finding: (finding.line > 0, not finding.code.startswith("SEAL")),
        default=None,
    )


def _root(run_dir: Path) -> str:
    return str(read_hashed(run_dir / SEAL_FILE)["root"])


def _files(run_dir: Path) -> list[Path]:
    return sorted(path for path in run_dir.rglob("*") if path.is_file())


def _copy(run_dir: Path, copy: Path) -> None:
    """Make the copy equal to the run: write files that differ, delete files that the run lacks."""
    ensure_folder(copy)
    wanted = {path.relative_to(run_dir) for path in _files(run_dir)}
    for path in _files(copy):
        if path.relative_to(copy) not in wanted:
            path.unlink()
    for name in sorted(wanted):
        source, target = run_dir / name, copy / name
        if target.exists() and hash_file(target) == hash_file(source):
            continue
        ensure_folder(target.parent)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o600)
