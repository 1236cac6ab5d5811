"""Bundles: a run in one file that anyone can check, and what is not a bundle."""

from __future__ import annotations

import errno
import gzip
import io
import json
import shlex
import shutil
import tarfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from minibot.kernel.errors import Refusal
from minibot.kernel.files import chunks_of, hashed_bytes, io_stop
from minibot.report import bundle as bundle_module
from minibot.report.acceptance import accept
from minibot.report.bundle import BETWEEN_BYTES_MAX, check_bundle, write_bundle
from minibot.report.night import Night
from minibot.runtime.manifest import MANIFEST_FILE
from minibot.runtime.paths import Var
from tests.runs import ShortRun, verb

FILLS_FILE = "queues/fills/inbox.jsonl"
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def bundle(short_run: ShortRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a short run."""
    out = tmp_path_factory.mktemp("bundle") / "night.tar.gz"
    write_bundle(short_run.run_dir, out)
    return out


def changed(bundle: Path, out: Path, change: Callable[[Members], None]) -> Path:
    """Write a bundle anew with changed members."""
    with tarfile.open(bundle, "r:gz") as archive:
        members: Members = []
        for member in archive:
            source = archive.extractfile(member)
            assert source is not None
            members.append((member, source.read()))
    change(members)
    with tarfile.open(out, "w:gz", format=tarfile.USTAR_FORMAT) as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out


def digest(path: Path) -> str:
    """Return the sha256 of a file; in two of megabytes pytest looks for the difference for long."""
    return sha256(path.read_bytes()).hexdigest()


def named(members: Members, end: str) -> int:
    """Return the place of the member whose name ends so."""
    return next(n for n, (member, _) in enumerate(members) if member.name.endswith(end))


@pytest.mark.row("N-120")
def test_bundle_is_checked_elsewhere_and_replays(short_run: ShortRun, tmp_path: Path) -> None:
    """A bundle verifies without its run, names the sealed root, and each verb takes it as RUN."""
    out, elsewhere = tmp_path / "night.tar.gz", tmp_path / "elsewhere" / "var"

    packed = verb(short_run.var, "bundle", "latest", "--out", str(out), "--json")
    checked = verb(elsewhere, "verify", str(out), "--json")
    causes = verb(elsewhere, "verify", str(out), "--lineage")
    replayed = verb(elsewhere, "replay", str(out))

    root = json.loads((short_run.run_dir / "seal.json").read_text("utf-8"))["root"]
    assert packed.code == 0
    assert packed.document["root"] == root
    assert (checked.code, checked.document["clean"]) == (0, True)
    assert f"{short_run.run_id}, root {root}" in checked.err
    assert (causes.code, replayed.code) == (0, 0)
    assert "identical" in replayed.out


def test_printed_commands_name_the_bundle_where_it_is(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that `bundle`, `verify` and `report` print next work where they are printed."""
    folder, elsewhere = tmp_path / "my nights", tmp_path / "elsewhere" / "var"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    out = folder / "night.tar.gz"

    packed = verb(short_run.var, "bundle", "latest", "--out", str(out))
    text = packed.out.partition("check it anywhere: minibot ")[2].partition(";")[0]
    checked = verb(elsewhere, *shlex.split(text))
    next_one = checked.err.partition("its causes: minibot ")[2].strip()
    causes = verb(elsewhere, *shlex.split(next_one))
    screen = verb(elsewhere, "report", str(out))

    assert (packed.code, checked.code, causes.code, screen.code) == (0, 0, 0, 0)
    assert next_one.startswith("verify ")
    assert f"minibot verify {short_run.run_id}" not in screen.out


def test_accept_of_a_bundle_fails_nothing_that_stayed_where_the_run_was_made(
    short_run: ShortRun, bundle: Path, tmp_path: Path
) -> None:
    """Metrics and logs are in no bundle; all else is judged as where the run was made."""
    night = Night.open(short_run.run_dir)  # The verb would keep its verdict beside the run.
    home = accept(night, Var(short_run.var)).to_json()["criteria"]
    judged = verb(tmp_path / "var", "accept", str(bundle), "--json").document["criteria"]

    differing = {one["name"]: one for one in judged if one not in home}
    assert "figures" in differing
    assert differing.keys() <= {"figures", "rotation"}
    assert {one["verdict"] for one in differing.values()} == {"not judged"}


def test_bundle_of_a_run_is_the_same_bytes_again(
    short_run: ShortRun, bundle: Path, tmp_path: Path
) -> None:
    """Two people who pack the same run can compare one hash."""
    write_bundle(short_run.run_dir, tmp_path / "again.tar.gz")

    assert digest(tmp_path / "again.tar.gz") == digest(bundle)


def test_report_that_is_written_while_it_is_packed_makes_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal knows no report: another size than its header's would break the archive."""
    run_dir, out = tmp_path / "20260301_200000", tmp_path / "night.tar.gz"
    (run_dir / "report").mkdir(parents=True)
    (run_dir / "report" / "report.html").write_text("page")
    (run_dir / "seal.json").write_bytes(hashed_bytes({"files": {}, "run_files": {}}, 1))
    write_bundle(run_dir, out)
    out.unlink()

    def longer(path: Path) -> Iterator[bytes]:
        yield from chunks_of(path)
        if path.suffix == ".html":
            yield b" that has grown"

    monkeypatch.setattr(bundle_module, "chunks_of", longer)
    with pytest.raises(Refusal, match="changed while it was packed"):
        write_bundle(run_dir, out)

    assert not out.exists()


def test_bundle_of_a_copy_of_any_name_is_that_of_its_run(
    short_run: ShortRun, bundle: Path, tmp_path: Path
) -> None:
    """A copy that somebody named otherwise packs to the same bytes, which verify."""
    shutil.copytree(short_run.run_dir, tmp_path / "kept for later")

    write_bundle(tmp_path / "kept for later", tmp_path / "copy.tar.gz")

    assert digest(tmp_path / "copy.tar.gz") == digest(bundle)
    assert check_bundle(bundle).findings == []


def test_changed_missing_and_added_files_are_named(bundle: Path, tmp_path: Path) -> None:
    """Each queue file that is not as sealed is a finding with its name."""

    def change(members: Members) -> None:
        place = named(members, FILLS_FILE)
        member, data = members[place]
        members[place] = member, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
        del members[named(members, "queues/signals/inbox.jsonl")]
        extra = tarfile.TarInfo(f"{member.name.partition('/')[0]}/queues/fills/more.jsonl")
        members.append((extra, b"{}\n"))

    check = check_bundle(changed(bundle, tmp_path / "other.tar.gz", change))

    assert {(finding.file, finding.code) for finding in check.findings} == {
        (FILLS_FILE, "SEAL_MISMATCH"),
        ("queues/signals/inbox.jsonl", "SEAL_MISMATCH"),
        ("queues/fills/more.jsonl", "SEAL_EXTRA_FILE"),
    }


def test_bundle_wants_the_signature_that_its_manifest_pins(bundle: Path, tmp_path: Path) -> None:
    """A bundle is checked with the key that `verify` of its run's folder would take."""
    key = "ab" * 32

    def change(members: Members) -> None:
        place = named(members, MANIFEST_FILE)
        member, data = members[place]
        manifest = json.loads(data)
        manifest["config"]["secrets"]["seal_public_key"] = key
        members[place] = member, hashed_bytes(manifest, generation=1)

    other = changed(bundle, tmp_path / "other.tar.gz", change)

    wanted = [finding.expected for finding in check_bundle(other).findings]
    assert f"a signature by {key}" in wanted
    named_key = [finding.expected for finding in check_bundle(other, "cd" * 32).findings]
    assert f"a signature by {'cd' * 32}" in named_key


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (FILLS_FILE, b"0" * (4 << 20), "the seal lists"),
        ("queues/fills/unknown.jsonl", b"0" * (BETWEEN_BYTES_MAX + 1), "the seal lists None"),
        ("late.txt", b"", "comes behind the queues"),
        ("../../up.txt", b"", "has no place"),
        ("C:\\up.txt", b"", "has no place"),
    ],
)
def test_member_that_has_no_place_ends_the_reading(
    bundle: Path, tmp_path: Path, name: str, data: bytes, said: str
) -> None:
    """A file larger than sealed, behind its place or outside the folder is told and not read."""

    def change(members: Members) -> None:
        run_id = members[0][0].name.partition("/")[0]
        if name == FILLS_FILE:
            members[named(members, name)] = tarfile.TarInfo(f"{run_id}/{name}"), data
        else:
            members.append((tarfile.TarInfo(f"{run_id}/{name}"), data))

    check = check_bundle(changed(bundle, tmp_path / "other.tar.gz", change))

    assert said in check.findings[0].found


@pytest.mark.parametrize("lost", ["files", "run_files", "root"])
def test_bundle_whose_seal_lacks_a_part_has_findings(
    bundle: Path, tmp_path: Path, lost: str
) -> None:
    """A seal that is whole by its own sha256 and still none is a finding, not an error."""

    def change(members: Members) -> None:
        place = named(members, "seal.json")
        member, data = members[place]
        seal = json.loads(data)
        del seal[lost]
        members[place] = member, hashed_bytes(seal, seal["generation"])

    done = verb(tmp_path / "var", "verify", str(changed(bundle, tmp_path / "b.tar.gz", change)))

    assert done.code == 1, done.err
    assert "seal.json" in done.out


def test_bomb_is_left_after_what_it_claims(tmp_path: Path) -> None:
    """An archive of a few kilobytes that unpacks to gigabytes is not unpacked."""
    bomb = tmp_path / "bomb.tar.gz"
    header = tarfile.TarInfo("20251120_000000/manifest.json")
    header.size, header.type = 1 << 32, tarfile.XHDTYPE
    with gzip.open(bomb, "wb", 9) as out:
        out.write(header.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            out.write(bytes(1 << 20))

    check = check_bundle(bomb)

    assert bomb.stat().st_size < 100_000
    assert "unpacks to more than it states" in check.findings[0].found


@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.999])
def test_cut_bundle_is_no_clean_one(bundle: Path, tmp_path: Path, kept: float) -> None:
    """A bundle that was cut anywhere has findings and exit code 1, also where nothing is left."""
    data = bundle.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(data[: max(2, int(len(data) * kept))])

    done = verb(tmp_path / "var", "verify", str(cut))

    assert done.code == 1
    assert "finding" in done.out


def test_unsealed_run_and_standing_file_are_refused(short_run: ShortRun, tmp_path: Path) -> None:
    """A bundle holds a sealed run, and no file of anybody else is written over."""
    unsealed = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, unsealed)
    (unsealed / "seal.json").unlink()
    standing = tmp_path / "night.tar.gz"
    standing.write_bytes(b"mine")

    unready = verb(tmp_path / "var", "bundle", short_run.run_id, "--out", str(tmp_path / "b"))
    over = verb(short_run.var, "bundle", "latest", "--out", str(standing))

    assert unready.code == over.code == 2
    assert "is not sealed" in unready.err
    assert "if it was interrupted, the next start seals it" in unready.err
    assert "exists already" in over.err
    assert standing.read_bytes() == b"mine"


@pytest.mark.parametrize("place", ["no/folder/b.tar.gz", "file/b.tar.gz"])
def test_bundle_into_a_missing_folder_is_refused_at_once(
    short_run: ShortRun, tmp_path: Path, place: str
) -> None:
    """The message names the folder, and speaks of no lack of space."""
    (tmp_path / "file").touch()
    out = tmp_path / place

    refused = verb(short_run.var, "bundle", "latest", "--out", str(out))

    assert refused.code == 2
    assert f"{out.parent} is no folder" in refused.err
    assert "space" not in refused.err


def test_file_that_cannot_be_read_is_named_and_asks_for_no_space(
    short_run: ShortRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector in a run is no full disk: the refusal names the file."""

    def fail(path: Path) -> Iterator[bytes]:
        raise io_stop(OSError(errno.EIO, "Input/output error"), "read", path)
        yield b""

    monkeypatch.setattr(bundle_module, "chunks_of", fail)

    with pytest.raises(Refusal, match="cannot be read") as refused:
        write_bundle(short_run.run_dir, tmp_path / "b")

    assert "Free space" not in str(refused.value)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b"x"), lambda file: file.unlink()])
def test_run_that_is_not_as_sealed_is_not_packed(
    short_run: ShortRun, tmp_path: Path, harm: Callable[[Path], object]
) -> None:
    """Whoever hands a bundle on learns now that it would verify nowhere; no file is left."""
    damaged = tmp_path / "var" / "runs" / short_run.run_id
    shutil.copytree(short_run.run_dir, damaged)
    harm(damaged / FILLS_FILE)

    done = verb(tmp_path / "var", "bundle", "latest", "--no-report", "--out", str(tmp_path / "b"))

    assert done.code == 2
    assert f"{FILLS_FILE} of {short_run.run_id} is not as sealed" in done.err
    assert not (tmp_path / "b").exists()
