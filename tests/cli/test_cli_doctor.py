"""`minibot doctor` about the machine and last night, and the accelerators of `minibot probe`."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from minibot.cli.support.accelerators import gpus, instructions
from minibot.cli.support.doctor_checks import _market_data, rows, verdict
from minibot.cli.support.leftover_checks import account_checks, leftover_checks, run_processes
from minibot.cli.support.machine_checks import (
    RUN_BYTES_PER_HOUR,
    chrony_result,
    machine_checks,
    night_bytes,
    port_checks,
    powercfg_result,
    space_check,
    systemd_result,
    time_checks,
    timedatectl_result,
    w32tm_result,
)
from minibot.exchanges.binance.venue import BINANCE
from minibot.kernel.errors import Refusal
from minibot.kernel.seal import seal_run
from minibot.market.address import Address, venue_file
from minibot.runtime.clock import wall_ms
from minibot.runtime.configuration.config import Config, config_of_manifest, load_config
from minibot.runtime.paths import Var
from minibot.runtime.running import RunLock, note_current, note_ended
from minibot.watchdog.preflight import CheckResult
from minibot.watchdog.recovery import clear_former_run
from tests.exchanges.binance.loopback import Loopback, answer
from tests.runs import PROJECT, ShortRun, verb
from tests.waiting import wait_until
from tests.watchdog.watchdog_stage import Stage

RUN_ID = "20251120_000000"
HERE = "http://127.0.0.1"
CHRONY = "Reference ID    : C0A80101 (gw)\nStratum         : 3\nLeap status     : {}\n"
W32TM = "Sprungindikator: {}(keine Warnung)\nStratum: 3 (sekundaer)\n"
POWERCFG = """  GUID der Energieeinstellung: 29f6c1db  (Standbymodus nach)
    Index der aktuellen Wechselstromeinstellung: 0x{}
    Index der aktuellen Gleichstromeinstellung: 0x00000384
"""


def test_doctor_refuses_minutes_for_which_it_would_not_listen(var_dir: Path) -> None:
    """A listening time belongs to --exchange: without it, nothing would be listened to."""
    done = verb(var_dir, "doctor", "--minutes", "1")

    assert done.code == 2
    assert "--minutes belongs to --exchange" in done.err


def profile(*sets: str, name: str = "nore-demo") -> Config:
    """Return a shipped profile with changes."""
    return load_config(PROJECT / "config" / f"{name}.v1.json", sets)


def levels(results: Sequence[CheckResult]) -> dict[str, str]:
    """Return the level of each check by its name."""
    return {result.name: result.level for result in results}


# --- levels -----------------------------------------------------------------------------------


def test_level_follows_from_verdict_and_remedy() -> None:
    """A check that holds and has a remedy is a warning; one that does not hold is a failure."""
    results = [
        CheckResult("a", True, "fine"),
        CheckResult("b", True, "odd", "minibot b"),
        CheckResult("c", False, "broken", "minibot c"),
    ]

    assert list(levels(results).values()) == ["OK", "WARN", "FAIL"]
    assert verdict("mine", results) == "mine cannot run here: c"
    assert verdict("mine", results[:2]) == "mine can run here; to look at: b"


def test_each_warning_and_failure_is_shown_with_what_mends_it() -> None:
    """A person copies the command from the line below the finding."""
    shown = [row.text.split() for row in rows([CheckResult("b", True, "odd", "minibot b --all")])]

    assert shown == [["WARN", "odd"], ["fix:", "minibot", "b", "--all"]]


def test_doctor_exits_0_with_a_warning_and_1_with_a_failure(short_run: ShortRun) -> None:
    """A script may start a night after warnings, not after a failure; each has its remedy."""
    words = ("doctor", "-c", "config/nore-demo.v1.json", "--json")
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        failing = verb(short_run.var, *words, "--set", f"embedded.port={port}")
    long = verb(short_run.var, *words, "--set", "watchdog.disk_free_min_mb=1")

    assert failing.code == 1
    assert long.code == 0, long.out
    found = {check["name"]: check for check in failing.document["checks"]}
    assert found["port"]["level"] == "FAIL"
    for check in failing.document["checks"]:
        assert (check["level"] == "OK") == (check["remedy"] is None), check


# --- the machine ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "level"),
    [
        (timedatectl_result("NTPSynchronized=yes\n"), "OK"),
        (timedatectl_result("NTPSynchronized=no\n"), "WARN"),
        (chrony_result(CHRONY.format("Normal")), "OK"),
        (chrony_result(CHRONY.format("Not synchronised")), "WARN"),
        (w32tm_result(W32TM.format(0)), "OK"),
        (w32tm_result(W32TM.format(3)), "WARN"),
        (w32tm_result(None), "WARN"),
    ],
)
def test_clock_that_nothing_keeps_is_a_warning(result: CheckResult | None, level: str) -> None:
    """Timesyncd, chrony and Windows are understood, in any language."""
    assert result is not None
    assert result.level == level


@pytest.mark.process
def test_clock_that_cannot_be_read_is_a_warning_for_real_hosts_alone() -> None:
    """A drill on a synthetic market needs no right time."""
    assert timedatectl_result(None) is chrony_result("506 Cannot talk to daemon") is None
    assert all(found.level in ("OK", "WARN") for found in time_checks(is_real=True))
    assert len(list(time_checks(is_real=True))) == 1


@pytest.mark.parametrize(
    ("enabled", "target", "logind", "has_lid", "told"),
    [
        ("masked\nmasked\n", "graphical.target\n", "", True, "OK"),
        ("static\nstatic\n", "multi-user.target\n", "[Login]\n#IdleAction=suspend\n", False, "OK"),
        (
            "static\nstatic\n",
            "multi-user.target\n",
            "[Login]\nIdleAction=suspend\n",
            False,
            "idle",
        ),
        ("static\nstatic\n", "multi-user.target\n", "[Login]\n", True, "lid"),
        (
            "static\nstatic\n",
            "multi-user.target\n",
            "[Login]\nHandleLidSwitch=suspend\n# later\n[Login]\nHandleLidSwitch=ignore\n",
            True,
            "OK",
        ),
        ("static\nstatic\n", "graphical.target\n", "[Login]\n", False, "desktop"),
        ("masked\nstatic\n", "graphical.target\n", "[Login]\n", False, "desktop"),
    ],
)
def test_machine_with_systemd_that_may_fall_asleep_is_a_warning(
    enabled: str, target: str, logind: str, has_lid: bool, told: str
) -> None:
    """A lid, idleness or a desktop can end a night; masked targets or a server cannot."""
    found = systemd_result(enabled, target, logind, has_lid=has_lid)

    assert found is not None
    assert found.level == ("OK" if told == "OK" else "WARN")
    assert told == "OK" or told in found.found
    assert found.level == "OK" or found.remedy.startswith("systemd-inhibit")


def test_windows_that_may_fall_asleep_is_a_warning() -> None:
    """`powercfg` is read by its numbers, as its words depend on the language."""
    never, soon = (powercfg_result(POWERCFG.format(index)) for index in ("00000000", "00000708"))

    assert never is not None
    assert never.level == "OK"
    assert soon is not None
    assert "30 min" in soon.found
    assert soon.remedy.startswith("powercfg")
    assert powercfg_result("") is powercfg_result(None) is None


@pytest.mark.network_mock
def test_silence_told_while_markets_are_read_is_remembered(tmp_path: Path) -> None:
    """A host that wants silence from doctor gets it from the night that follows."""

    def talk(sock: socket.socket, request: bytes) -> None:
        if request.startswith(b"GET /api/v3/time"):
            sock.sendall(answer(b'{"serverTime":%d}' % wall_ms()))
        else:
            sock.sendall(answer(b"{}", "429 Too Many", {"Retry-After": "3600"}))

    with Loopback(talk) as server:
        found = levels(list(_market_data(at_loopback(server.port, tmp_path))))

    assert found["exchange"] == "OK"
    known = Address(venue_file(tmp_path, "binance", HERE), wall_ms(), BINANCE.streams.limits)
    assert known.silent_until_ms > wall_ms() + 3_500_000


@pytest.mark.network_mock
def test_damaged_note_of_the_address_is_a_failed_check_with_a_remedy(tmp_path: Path) -> None:
    """The other checks are shown all the same, and nobody is told to look at the network."""
    note = venue_file(tmp_path, "binance", HERE)
    note.save({"attempts_ms": [], "silent_until_ms": 0, "is_banned": False})
    path = tmp_path / "exchange" / "binance-loopback.json"
    path.write_bytes(path.read_bytes().replace(b"false", b"true"))

    with Loopback(lambda sock, request: None) as server:
        first, *_ = _market_data(at_loopback(server.port, tmp_path))

    assert (first.name, first.level) == ("address", "FAIL")
    assert str(path) in first.found
    assert "Move" in first.remedy


def at_loopback(port: int, var: Path) -> Config:
    """Return the night profile with a host of this machine, and its own `var`."""
    sets = (
        f"binance.rest_url=http://127.0.0.1:{port}",
        f"binance.stream_url=ws://127.0.0.1:{port}",
    )
    return profile(*sets, f"paths.var={var}", name="nore")


def test_taken_port_of_the_embedded_exchange_fails() -> None:
    """The start would be refused; the line says which port and how to go on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        (found,) = port_checks(profile(f"embedded.port={port}"))

    assert found.level == "FAIL"
    assert str(port) in found.found
    assert next(iter(port_checks(profile(f"embedded.port={port}")))).level == "OK"
    assert list(port_checks(profile())) == []


def test_space_is_reckoned_by_duration_symbols_and_rate() -> None:
    """Seven hours of three symbols take more than of one; the generator's rate counts too."""
    one = profile(name="nore")
    three = profile('binance.symbols=["BTCUSDT","ETHUSDT","SOLUSDT"]', name="nore")
    slow, fast = (
        profile("embedded.source=generator:1", f"embedded.rate_per_s={rate}") for rate in (10, 30)
    )

    assert night_bytes(one) == 7 * RUN_BYTES_PER_HOUR
    assert night_bytes(three) == 3 * night_bytes(one)
    assert night_bytes(slow) < night_bytes(fast) < 3 * night_bytes(slow)


def test_disk_that_is_too_small_for_the_night_is_a_warning() -> None:
    """The least free space of the profile is kept aside; exactly enough is enough."""
    config = profile(name="nore")
    need = night_bytes(config) + config.watchdog.disk_free_min_mb * 1024**2

    assert space_check(config, need).level == "OK"
    assert space_check(config, need - 1).level == "WARN"
    assert "minibot prune" in space_check(config, 0).remedy


def test_space_constant_is_within_reach_of_a_real_run(short_run: ShortRun) -> None:
    """A night's ticks take what the estimate says, within a factor of two."""
    files = [path for path in short_run.run_dir.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files if "report" not in path.parts)
    manifest = json.loads((short_run.run_dir / "manifest.json").read_text(encoding="utf-8"))

    assert size / 2 < night_bytes(config_of_manifest(manifest["config"])) < size * 2


@pytest.mark.process
def test_checks_of_this_machine_end_and_never_fail_a_demo(tmp_path: Path) -> None:
    """Missing tools of the system are no failure, and a `var` need not exist yet."""
    found = levels(list(machine_checks(profile(), Var(tmp_path / "no" / "var"))))

    assert found["space"] in ("OK", "WARN")
    assert "FAIL" not in found.values()


# --- last night -------------------------------------------------------------------------------


@pytest.fixture
def var(tmp_path: Path) -> Var:
    """`var` with the folders that a run leaves."""
    found = Var(tmp_path / "var")
    for folder in (found.root, found.runs, found.stop, found.ops):
        folder.mkdir(mode=0o700)
    return found


def test_clean_var_has_no_leftovers(var: Var, short_run: ShortRun) -> None:
    """A fresh folder and a night that ended in order give no warning."""
    assert set(levels(list(leftover_checks(var))).values()) == {"OK"}
    assert set(levels(list(leftover_checks(Var(short_run.var)))).values()) == {"OK"}


@pytest.mark.parametrize(
    ("is_noted", "remedy"), [(True, "minibot night"), (False, "minibot verify")]
)
def test_unsealed_run_is_named(var: Var, remedy: str, *, is_noted: bool) -> None:
    """A run that a power cut ended is told before the next start recovers it; a part is not."""
    run_dir = var.run(RUN_ID)
    run_dir.mkdir()
    (run_dir / "manifest.json").write_bytes(b"{}")
    if is_noted:
        note_current(var, RUN_ID)
        note_ended(var, RUN_ID)

    found = {result.name: result for result in leftover_checks(var)}

    assert found["unsealed"].level == "WARN"
    assert RUN_ID in found["unsealed"].found
    assert found["unsealed"].remedy.startswith(remedy)


def test_unsealed_run_that_a_link_keeps_from_its_seal_fails_the_check(var: Var) -> None:
    """Every start is refused until the link is gone, so the machine cannot run a night."""
    run_dir = var.run(RUN_ID)
    run_dir.mkdir()
    (run_dir / "manifest.json").write_bytes(b"{}")
    note_current(var, RUN_ID)
    note_ended(var, RUN_ID)
    planted = var.queues / "signals" / "inbox.jsonl"
    planted.parent.mkdir(parents=True)
    planted.symlink_to(run_dir / "manifest.json")

    found = {result.name: result for result in leftover_checks(var)}["unsealed"]

    assert found.level == "FAIL"
    assert str(planted) in found.found
    assert "link" in found.remedy


@pytest.mark.parametrize("harm", ["changed", "added", "gone", "seal", "nobody", "note"])
def test_queues_that_no_start_clears_fail_the_check_as_they_refuse_the_start(
    tmp_path: Path, harm: str
) -> None:
    """Sealed queues that differ, or lines of nobody, stand until a person has moved them."""
    stage = Stage(tmp_path / "var")
    lines = stage.var.queues / "control" / "inbox.jsonl"
    if harm == "nobody":
        lines.write_bytes(b"sha256:half a li")
    else:
        note_current(stage.var, RUN_ID)
        note_ended(stage.var, RUN_ID)
        seal_run(stage.var.queues, stage.run_dir)
    if harm == "changed":
        lines.write_bytes(b"x")
    elif harm == "added":
        (lines.parent / "inbox.000001.jsonl").write_bytes(b"")
    elif harm == "gone":
        shutil.rmtree(stage.run_dir / "queues" / "control")
    elif harm == "seal":
        (stage.run_dir / "seal.json").write_bytes(b"{}")
    elif harm == "note":
        (stage.var.root / "current.json").write_bytes(b"{}")
    stood = sorted(stage.var.root.rglob("*"))

    found = {result.name: result for result in leftover_checks(stage.var)}["unsealed"]

    assert sorted({*stage.var.root.rglob("*")} - {stage.var.lock}) == stood
    with pytest.raises(Refusal) as refused:
        clear_former_run(stage.var, stage.contracts, stage.roles)
    assert (found.level, found.found) == ("FAIL", refused.value.message)
    assert found.remedy == refused.value.remedy


@pytest.mark.parametrize("harm", ["", "waits", "fills", "folder"])
def test_account_that_no_start_carries_on_fails_the_check(
    short_run: ShortRun, var_dir: Path, harm: str
) -> None:
    """A profile that carries is refused each evening until a person decides."""
    shutil.copytree(short_run.var, var_dir, dirs_exist_ok=True)
    var, run_dir = Var(var_dir), var_dir / "runs" / short_run.run_id
    if harm == "waits":
        (run_dir / "seal.json").unlink()
    elif harm == "fills":
        shutil.rmtree(run_dir / "queues" / "fills")
    elif harm == "folder":
        shutil.rmtree(run_dir)

    (found,) = account_checks(profile("portfolio.start_from=carry"), var)

    assert found.level == ("FAIL" if harm in ("fills", "folder") else "OK"), found
    assert short_run.run_id in found.found
    assert found.passed or "start_from to fresh" in found.remedy
    assert list(account_checks(profile(), var)) == []


@pytest.mark.parametrize(
    ("status", "level"),
    [
        ({"run_id": RUN_ID, "ended": None}, "WARN"),
        ({"run_id": RUN_ID, "ended": {"kind": "END"}}, "OK"),
        ([1], "WARN"),
    ],
)
def test_status_of_a_run_that_never_told_its_end_is_stale(
    var: Var, status: Any, level: str
) -> None:
    """Whoever watches would take it for a night that goes on."""
    var.status.write_bytes(
        json.dumps(status, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )

    found = {result.name: result for result in leftover_checks(var)}

    assert found["status"].level == level
    assert level == "OK" or found["status"].remedy == f"rm {var.status}"


@pytest.mark.process
def test_process_left_of_a_former_run_fails_with_its_id(var: Var) -> None:
    """A role whose launcher was killed keeps its queues; its id is told."""
    words = ["--run", str(var.run(RUN_ID))]
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as left:
        assert left.stdout is not None
        assert left.stdout.readline().strip() == b"up"
        found = {result.name: result for result in leftover_checks(var)}
        assert [process.pid for process in run_processes(var)] == [left.pid]

    assert found["processes"].level == "FAIL"
    assert found["processes"].remedy == f"kill {left.pid}"
    wait_until(lambda: not psutil.pid_exists(left.pid) or None, "the process ends")
    assert run_processes(var) == []


@pytest.mark.usefixtures("run_goes_on")
def test_run_that_goes_on_is_no_leftover(var: Var) -> None:
    """Beside a running night its processes and status are as they should be."""
    with RunLock(var):
        note_current(var, RUN_ID)
        found = list(leftover_checks(var))

    assert [(result.name, result.level) for result in found] == [("running", "WARN")]
    assert RUN_ID in found[0].found


# --- accelerators -----------------------------------------------------------------------------


def test_accelerators_are_read_from_the_kernels_lists(tmp_path: Path) -> None:
    """Intel, AMD and ARM processors, and GPUs by model or maker."""
    card = tmp_path / "drm" / "card0" / "device"
    other = tmp_path / "drm" / "card1" / "device"
    nvidia = tmp_path / "nvidia" / "0000:01:00.0"
    for folder, name, text in (
        (card, "vendor", "0x10de\n"),
        (other, "vendor", "0x1002\n"),
        (nvidia, "information", "Model: \t\t NVIDIA L4\nIRQ: 1\n"),
    ):
        folder.mkdir(parents=True)
        (folder / name).write_text(text)

    assert instructions("model name : x\nflags\t\t: fpu aes avx2 sha_ni\n") == [
        "AVX2",
        "AES",
        "SHA extensions",
    ]
    assert instructions("Features : fp asimd aes sha2\n") == ["AES", "NEON", "SHA extensions"]
    assert instructions("") == []
    assert gpus(tmp_path / "nvidia", tmp_path / "drm") == ["GPU NVIDIA L4", "GPU AMD"]
    assert gpus(tmp_path / "none", tmp_path / "drm") == ["GPU NVIDIA", "GPU AMD"]


@pytest.mark.row("B-85")
@pytest.mark.process
def test_probe_prints_cores_memory_disk_and_the_rate_of_syncs(tmp_path: Path) -> None:
    """A person reads before training or a night what this machine has and its disk sustains."""
    done = verb(tmp_path / "var", "probe", "--seconds", "0.1")

    assert done.code == 0, done.err
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines() if line[:1].strip())
    assert lines["cores"].startswith(f"{os.cpu_count()}, ")
    assert re.fullmatch(r"[0-9.]+ GB, [0-9.]+ GB free", lines["memory"])
    assert re.fullmatch(r"[0-9.]+ GB free", lines["disk"])
    assert re.fullmatch(r"[0-9.,]+ (us|ms|s) p50, [0-9.,]+ (us|ms|s) p99", lines["sync"])
    assert re.search(r"[0-9,]+ events a second, if the disk alone counted", done.out)


@pytest.mark.row("B-85")
@pytest.mark.process
def test_probe_names_accelerators(tmp_path: Path) -> None:
    """`probe` lists what was found, also as JSON."""
    done = verb(tmp_path / "var", "probe", "--seconds", "0.1", "--json")

    assert done.code == 0, done.err
    assert all(isinstance(name, str) for name in json.loads(done.out)["accelerators"])
