"""Seeded bugs: each is switched on alone, and a named check fails because of it.

`CONTROLS` is the table: the bug, the change, and the check that notices it. A check that passes
with its bug, or fails without it, fails here. Bugs are changed copies of the product's own
functions, put in their place during one check.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from minibot.kernel import files as kernel_files
from minibot.kernel import head, recovery, seal, segments
from minibot.kernel.journal import JournalWriter
from minibot.kernel.lock import WriterLock
from minibot.kernel.reader import JournalReader
from minibot.kernel.system import Files
from tests.kernel import (
    test_kernel_files,
    test_kernel_journal,
    test_kernel_lock,
    test_kernel_reader,
    test_kernel_recovery,
    test_kernel_rotation,
)
from tests.kernel.seeding import Change, Check, named, seeded, simulated, verdict_of
from tools.crash_sim.world import World

pytestmark = pytest.mark.campaign


class Control(NamedTuple):
    """Seeded bug and the check that catches it."""

    bug: str
    changes: tuple[Change, ...]
    check: Check


def _sync_again(self: JournalWriter) -> None:
    try:
        self._files.datasync(self._fd)
    except OSError:
        self._files.datasync(self._fd)


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[1], lines[0], *lines[2:]]


CONTROLS = [
    Control(
        "publish before sync",
        (
            (
                JournalWriter._append,
                "        if self._is_eager:\n",
                "        self._head.publish(after)\n        if self._is_eager:\n",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "what was written ahead published before its sync",
        (
            (
                JournalWriter.publish,
                "                if self._is_eager:\n",
                "                self._head.publish(after)\n                if self._is_eager:\n",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "a batch beside the next one published before it is written and synced",
        (
            (
                JournalWriter._append_beside,
                "            wait()\n",
                "            wait()\n            self._head.publish(self._after(batch))\n",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "published without any sync",
        ((JournalWriter._append, "            self._datasync()\n", ""),),
        named(test_kernel_journal.test_append_of_a_batch_is_one_write_then_a_sync_then_the_head),
    ),
    Control(
        "sync retried after failure",
        ((JournalWriter._datasync, "", _sync_again),),
        named(test_kernel_journal.test_sync_that_fails_once_is_never_repeated, 5, True),
    ),
    Control(
        "cut below the head",
        ((recovery._refuse_below_bound, "    head = bounds.head\n", "    return\n"),),
        named(test_kernel_recovery.test_line_removed_below_the_head_stops),
    ),
    Control(
        "whole lines above the head thrown away",
        (
            (
                recovery._judge,
                "        if step.error is not None:\n",
                "        over = bounds.head is not None and step.after.seq > bounds.head.lines\n"
                "        if step.error is not None or over:\n",
            ),
        ),
        named(test_kernel_recovery.test_stale_head_many_batches_behind_loses_no_line),
    ),
    Control(
        "whole lines above the head thrown away, after a power loss",
        (
            (
                recovery._judge,
                "        if step.error is not None:\n",
                "        over = bounds.head is not None and step.after.seq > bounds.head.lines\n"
                "        if step.error is not None or over:\n",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "cursor before output",
        (
            (
                World._do_take,
                "        self.acked_to.append(lines[-1].seq)\n",
                "        self._save(open_cursor(self.files), reader.position)\n"
                "        self.acked_to.append(lines[-1].seq)\n",
            ),
        ),
        simulated("role"),
    ),
    Control(
        "output before the input log",
        (
            (
                World._do_take,
                "        self.acked_to.append(lines[-1].seq)\n",
                "        self._finish(lines[-1].seq)\n"
                "        self.acked_to.append(lines[-1].seq)\n",
            ),
        ),
        simulated("role"),
    ),
    Control(
        "cursor before the input log is synced",
        ((World._do_hint, '        self._do_sync("acks")\n', ""),),
        simulated("role"),
    ),
    Control(
        "lock by file existence",
        (
            (
                WriterLock._open,
                "        except FileExistsError:\n            pass\n",
                "        except FileExistsError:\n"
                "            raise LockBusy(str(self.path)) from None\n",
            ),
            (WriterLock._prove_exclusion, "        second = self._open()\n", "        return\n"),
        ),
        named(test_kernel_lock.test_lock_of_a_killed_process_is_free_and_its_file_means_nothing),
    ),
    Control(
        "head without checksum",
        (
            (
                head.unpack_slot,
                'if len(raw) != SLOT_BYTES or crc32(raw[:-4]).to_bytes(4, "big") != raw[-4:]:',
                "if len(raw) != SLOT_BYTES:",
            ),
        ),
        named(test_kernel_recovery.test_one_bad_head_slot_is_survived, 0, 2),
    ),
    Control(
        "head without checksum, torn by a power loss",
        (
            (
                head.unpack_slot,
                'if len(raw) != SLOT_BYTES or crc32(raw[:-4]).to_bytes(4, "big") != raw[-4:]:',
                "if len(raw) != SLOT_BYTES:",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "non-atomic replace",
        (
            (
                kernel_files._create_temp,
                '        temp = target.with_name(f"{target.name}.{os.getpid()}-'
                '{next(_temp_numbers)}{TEMP_SUFFIX}")\n',
                "        temp = target\n"
                "        with suppress(OSError):\n            files.unlink(target)\n",
            ),
        ),
        named(test_kernel_files.test_write_atomic_crashing_at_any_call_leaves_old_or_new, False),
    ),
    Control(
        "replaced before its content is synced",
        ((kernel_files.put_atomic, "sync(lambda: files.sync(fd), temp)", "pass"),),
        simulated("eager"),
    ),
    Control(
        "folder not synced after a replace",
        (
            (
                kernel_files.put_atomic,
                "    if is_durable:\n        sync_folder(files, target.parent)\n",
                "",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "reader past the head",
        (
            (
                JournalReader._end,
                "head.offset if",
                "self._files.stat(self._path).size if",
            ),
        ),
        named(test_kernel_reader.test_reader_sees_nothing_above_the_head),
    ),
    Control(
        "chain not checked by readers",
        ((JournalReader._check_end, "if at.chain != chain:", "if False:"),),
        named(
            test_kernel_reader.test_reader_stops_at_lines_that_were_not_published,
            _swapped,
            ["QUEUE_CHAIN"],
        ),
    ),
    Control(
        "chain not checked by recovery",
        ((recovery._compare, "        if known is None", "        if True or known is None"),),
        named(
            test_kernel_recovery.test_lines_exchanged_below_the_head_stop_the_writer_by_the_chain,
            _swapped,
        ),
    ),
    Control(
        "segment removed from the manifest",
        (
            (
                segments.manifest_json,
                "        for segment in segments\n",
                "        for segment in segments[: max(1, len(segments) - 1)]\n",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "segment removed from the manifest, as readers see it",
        (
            (
                segments.manifest_json,
                "        for segment in segments\n",
                "        for segment in segments[: max(1, len(segments) - 1)]\n",
            ),
        ),
        named(test_kernel_rotation.test_readers_start_anywhere_and_follow_over_segments),
    ),
    Control(
        "rotation renames before the segment is synced",
        (
            (
                JournalWriter._rotate,
                "        sync_folder(files, self.folder)\n",
                "",
            ),
        ),
        named(test_kernel_rotation.test_rotation_makes_each_step_durable_before_the_next),
    ),
    Control(
        "cut rest not set aside",
        (
            (
                recovery._judge,
                "_quarantine(folder, stem, fd, end, rest, files)",
                "None",
            ),
        ),
        simulated("eager"),
    ),
    Control(
        "kept lines published before they are synced",
        (
            (
                recovery._judge,
                "        _sync_or_mark(folder, stem, lambda: files.datasync(fd), files)\n",
                "",
            ),
        ),
        simulated("kept"),
    ),
    Control(
        "lazy journal marked as synced before it is",
        (
            (
                JournalWriter._sync,
                "        self._datasync()\n",
                "        self._head.mark_synced(at)\n        self._head.sync()\n"
                "        self._datasync()\n",
            ),
        ),
        simulated("lazy"),
    ),
    Control(
        "rotation finished before its rename is durable",
        ((recovery._sealed, "    sync_folder(files, folder)\n", ""),),
        simulated("rotated"),
    ),
    Control(
        "segment begun before the manifest's name is durable",
        ((recovery._open_active, "    sync_folder(files, folder)\n", ""),),
        simulated("listed"),
    ),
    Control(
        "sealed before the linked names are durable",
        ((seal.seal_run, "            sync_folder(files, folder)\n", "            pass\n"),),
        simulated("seal"),
    ),
    Control(
        "names released before the seal stands",
        (
            (
                seal.seal_run,
                "        write_hashed(run / SEAL_FILE, obj, files=files)\n",
                "        for path in list(_tree(root, files)):\n"
                "            if not _is_left_out(path):\n"
                "                _unlink(path, files)\n"
                "        write_hashed(run / SEAL_FILE, obj, files=files)\n",
            ),
        ),
        simulated("seal"),
    ),
    Control(
        "marks of a lazy head cut before its slots are durable",
        ((head.HeadWriter.open, "        if len(old) > len(data):\n", "        if False:\n"),),
        simulated("lazy"),
    ),
]


@pytest.mark.process
@pytest.mark.row("I1", "I3", "I10")
@pytest.mark.parametrize("control", CONTROLS, ids=[control.bug for control in CONTROLS])
def test_seeded_bug_is_caught_by_its_check(control: Control) -> None:
    """The check passes on the product and fails with the bug."""
    assert _verdict(control.check.name) == "green", f"{control.check.name} is red by itself"

    with seeded(control.changes):
        red = verdict_of(control.check)

    assert red != "green", f"{control.bug}: {control.check.name} does not notice"


def test_every_bug_of_the_list_has_a_control() -> None:
    """Every bug of the issue's list has a control."""
    bugs = {control.bug for control in CONTROLS}

    assert {
        "publish before sync",
        "sync retried after failure",
        "cut below the head",
        "whole lines above the head thrown away",
        "cursor before output",
        "lock by file existence",
        "head without checksum",
        "non-atomic replace",
        "reader past the head",
        "chain not checked by readers",
        "segment removed from the manifest",
    } <= bugs


@cache
def _verdict(name: str) -> str:
    """Return a check's verdict without a bug, computed once for many bugs."""
    return verdict_of(next(control.check for control in CONTROLS if control.check.name == name))


def test_seeding_ends_with_its_block() -> None:
    """The product is unchanged after the block."""
    before = Files.try_lock.__code__
    with seeded(((Files.try_lock, "        return True\n", "        return False\n"),)):
        assert Files.try_lock.__code__ is not before

    assert Files.try_lock.__code__ is before
