"""Starts interrupted at any moment, which must not hinder the next one."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest

from minibot.cli.main import parser
from minibot.gates import drill_run
from minibot.gates.chaos_catalogue import BASE
from minibot.gates.drill_run import DrillRun
from minibot.kernel.canonical import CanonicalError
from minibot.kernel.errors import Refusal
from minibot.kernel.files import FILES
from minibot.kernel.lock import WriterLock
from minibot.kernel.queue import open_writer
from minibot.kernel.verify import verify_tree
from minibot.market.venue_access import server_time
from minibot.runtime.configuration.config import Config, load_config
from minibot.runtime.deployment import staging
from minibot.runtime.deployment.deployed import adopt
from minibot.runtime.paths import PROJECT, Var
from minibot.runtime.running import RunLock, note_current
from minibot.watchdog import exchange as exchange_module
from minibot.watchdog import launcher as launcher_module
from minibot.watchdog import preflight as preflight_module
from minibot.watchdog.exchange import EmbeddedExchange
from minibot.watchdog.launcher import launch
from minibot.watchdog.operator_stop_log import note_refused, read_stops
from minibot.watchdog.preflight import CheckResult, preflight, refuse_failed
from minibot.watchdog.run_manifest import child_environ
from tests.runs import run_command
from tests.waiting import DEADLINE_S
from tests.watchdog.watchdog_stage import RUN_ID, Stage

pytestmark = [pytest.mark.campaign, pytest.mark.process]

LOCKED = "numpy==0.0.1 \\\n    --hash=sha256:00\nno-such-package==1.0\n"
PROFILE = PROJECT / "config" / "nore-smoke.v1.json"
MOMENTS: dict[str, Callable[[DrillRun], object]] = {
    "the lock": lambda night: night.var.lock.exists() or None,
    "the exchange": lambda night: night.child_pid("minibot.simulator"),
    "the manifest": lambda night: night.last_run,
}


@pytest.mark.row("F72")
@pytest.mark.parametrize("moment", MOMENTS)
def test_start_interrupted_at_any_moment_leaves_no_process_and_the_next_start_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """An interrupted start exits 2 before its roles run, and 0 in order afterwards."""
    monkeypatch.setattr(drill_run, "WAIT_S", DEADLINE_S)
    night = DrillRun("interrupted", Var(tmp_path / "var"), sets=BASE, chaos={})
    night.start()
    try:
        night.wait_for(moment, lambda: MOMENTS[moment](night))
        night.interrupt()
        night.watch_end()

        assert night.exit_code in (0, 2), night.output()
        assert night.orphans() == []
        assert not night.var.flag.exists()
        assert "Traceback" not in night.output()

        before = night.last_run
        night.start()
        night.wait_for("the next run", lambda: night.last_run not in (None, before))
        night.wait_for_run()
        night.interrupt()
        night.watch_end()

        assert night.exit_code == 0, night.output()
    finally:
        night.clean_up()
    runs = [path.parent for path in night.var.runs.glob("*/manifest.json")]
    assert [finding for run in runs for finding in verify_tree(run)] == []


def bare(var: Var) -> Config:
    """Return a profile that starts without the AI, on this folder."""
    sets = [f"paths.var={var.root}", "ai.enabled=false"]
    return load_config(PROJECT / "config" / "nore-smoke.v1.json", sets, {})


def test_flag_raised_while_a_start_looks_around_refuses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flag raised during a start's checks refuses it."""
    var = Var(tmp_path / "var")

    def look_and_stop(config: Config, var: Var) -> list[CheckResult]:
        found = preflight(config, var)
        var.flag.write_text("risk_role")
        return found

    monkeypatch.setattr(launcher_module, "preflight", look_and_stop)
    with pytest.raises(Refusal, match=r"STOP\.flag .*exists"):
        launch(bare(var), PROFILE, (), lambda line: None, server_time)

    assert not list(var.runs.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links need a privilege on Windows")
def test_flag_of_a_lost_var_is_told_before_the_link_in_its_place(tmp_path: Path) -> None:
    """Whoever linked the folder after a night had lost it hears of that night first."""
    var = Var(tmp_path / "var")
    (tmp_path / "elsewhere").mkdir()
    var.root.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refusal, match="is a link"):
        launch(bare(var), PROFILE, (), lambda line: None, server_time)
    var.flag_beside.write_text("risk_role")

    with pytest.raises(Refusal, match=r"var\.STOP\.flag exists"):
        launch(bare(var), PROFILE, (), lambda line: None, server_time)


def test_refusal_that_cannot_be_put_on_record_is_told_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed note is told beside the refusal, not instead of it."""
    var, lines = Var(tmp_path / "var"), list[str]()

    def note(var: Var, why: str) -> None:
        raise CanonicalError("not encodable")

    monkeypatch.setattr(launcher_module, "note_refused", note)
    monkeypatch.setattr(
        launcher_module, "preflight", lambda *_: [CheckResult("x", False, "odd", "mend it")]
    )
    with pytest.raises(Refusal, match="odd"):
        launch(bare(var), PROFILE, (), lines.append, server_time)

    assert lines == ["the refusal could not be put on record: not encodable"]


def test_refusal_is_put_on_record_whatever_letters_its_reason_has(tmp_path: Path) -> None:
    """A file name need not be UTF-8; the record is."""
    note_refused(Var(tmp_path), "no n\udce9.json")

    (noted,) = read_stops(tmp_path)
    assert noted["payload"]["detail"] == r"no n\udce9.json"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every file name is Unicode")
def test_profile_whose_name_is_not_utf_8_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The manifest could hold neither its path nor the command line; the refusal is on record."""
    named = os.fsencode(tmp_path) + b"/n\xe9.json"
    Path(os.fsdecode(named)).write_bytes(PROFILE.read_bytes())

    done = run_command(
        ["minibot.nore_run_v1", "--config", os.fsdecode(named), "--var", str(tmp_path / "var")]
    )

    assert done.code == 2
    assert r"n\udce9.json" in done.err
    assert "not UTF-8" in done.err
    assert "Traceback" not in done.err
    (noted,) = read_stops(tmp_path / "var")
    assert "not UTF-8" in noted["payload"]["detail"]
    assert not (tmp_path / "var" / "runs").exists()


def test_process_left_of_a_former_run_refuses_the_next_start_with_what_to_do(
    tmp_path: Path,
) -> None:
    """A frozen role of a former run refuses the next start, with a remedy."""
    stage = Stage(tmp_path / "var")
    note_current(stage.var, RUN_ID)
    with (
        closing(open_writer(stage.var.queues, "signals")),
        pytest.raises(Refusal) as refused,
    ):
        launch(bare(stage.var), PROFILE, (), lambda line: None, server_time)

    assert "a process of a former run is still there" in refused.value.message
    assert "writer.lock" in refused.value.message
    assert str(stage.var.runs) in refused.value.remedy
    assert not (stage.run_dir / "seal.json").exists()


@pytest.mark.row("N-23")
def test_start_during_a_deployment_is_told_of_the_deployment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that finds its lock held says by a deployment, or else by a run or a command."""
    var = Stage(tmp_path / "var").var
    project = tmp_path / "project"
    monkeypatch.setattr(launcher_module, "PROJECT", project)

    def refusal() -> str:
        with pytest.raises(Refusal) as refused:
            launch(bare(var), PROFILE, (), lambda line: None, server_time)
        return refused.value.message

    with RunLock(var):
        assert "deployment is in progress" not in refusal()
    with staging._alone(project, var.lock):
        assert "deployment is in progress" in refusal()
    assert not staging.is_deploying(project)
    with RunLock(var):
        assert "deployment is in progress" not in refusal()


@pytest.mark.row("F157")
@pytest.mark.fault("F157", by="a lock file that names other packages", ends="REFUSE")
@pytest.mark.parametrize("required", ["true", "false"])
def test_packages_that_are_not_the_locked_ones_refuse_a_profile_that_asks_for_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path, required: str
) -> None:
    """Packages that differ from the lock refuse a profile under the code list, by version."""
    (tmp_path / "requirements.lock").write_text(LOCKED)
    monkeypatch.setattr(preflight_module, "PROJECT", tmp_path)
    sets = [
        f"paths.var={tmp_path / 'var'}",
        f"code.require_manifest={required}",
        "ai.enabled=false",
    ]
    config = load_config(project / "config" / "nore-smoke.v1.json", sets, {})
    found = {result.name: result for result in preflight(config, config.var, whole=True)}[
        "packages"
    ]

    assert found.passed == (required == "false")
    assert ", 0.0.1 is locked" in found.found
    assert "no-such-package is missing" in found.found
    assert "with_env.py" in found.remedy


def test_packages_of_some_systems_alone_are_not_counted_as_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path
) -> None:
    """A line with a marker may be of another system; its version is not looked at."""
    known = f"psutil=={metadata.version('psutil')}"
    (tmp_path / "requirements.lock").write_text(f"{known} \\\nx==1 ; sys_platform == 'win32' \\\n")
    monkeypatch.setattr(preflight_module, "PROJECT", tmp_path)
    sets = [f"paths.var={tmp_path / 'var'}", "ai.enabled=false"]
    config = load_config(project / "config" / "nore-smoke.v1.json", sets, {})

    (found,) = (each for each in preflight(config, config.var) if each.name == "packages")

    assert found.found == "all 1 have their locked versions"


@pytest.mark.parametrize(
    ("program", "said", "next_step"),
    [
        ("import time; time.sleep(600)", "was not ready after 0 s", "less to do"),
        ("raise SystemExit(3)", "ended with exit code 3 and no output", "embedded.source"),
    ],
)
def test_exchange_that_is_late_is_not_taken_for_one_that_cannot_play(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, said: str, next_step: str
) -> None:
    """A slow exchange is reported as slow, not as a bad tape."""
    var = Var(tmp_path / "var")
    var.logs.mkdir(parents=True)
    monkeypatch.setattr(
        exchange_module, "exchange_argv", lambda config, run: [sys.executable, "-c", program]
    )
    if "sleep" in program:
        monkeypatch.setattr(exchange_module, "READY_NS_MAX", 1)
    config = load_config(PROJECT / "config" / "nore-demo.v1.json")

    with pytest.raises(Refusal) as refused:
        EmbeddedExchange.start(config, tmp_path, var, child_environ(os.environ))

    assert said in refused.value.message
    assert next_step in refused.value.remedy


LAST_REPORT = """
import json, sys
def report(**fields):
    print(json.dumps(fields, sort_keys=True, separators=(",", ":")), flush=True)
report(end_ms=None, origin_ms=1, port=1, ready=True, symbols=["BTCUSDT"])
report(order_calls=0)
sys.stdin.read()
report(order_calls=1)
"""


def test_order_call_after_the_last_timed_report_of_the_exchange_is_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The seal has the counters with which the exchange ended, not those of a second before."""
    var = Var(tmp_path / "var")
    var.logs.mkdir(parents=True)
    argv = [sys.executable, "-S", "-E", "-c", LAST_REPORT]
    monkeypatch.setattr(exchange_module, "exchange_argv", lambda config, run: argv)
    config = load_config(PROJECT / "config" / "nore-demo.v1.json")
    exchange = EmbeddedExchange.start(config, tmp_path, var, child_environ(os.environ))

    exchange.end()

    assert exchange.order_calls == 1


def test_exchange_that_the_system_starts_no_process_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exchange whose process cannot be started is refused in one sentence."""
    var = Var(tmp_path / "var")
    var.logs.mkdir(parents=True)
    monkeypatch.setattr(
        exchange_module, "exchange_argv", lambda config, run: [str(tmp_path / "no such program")]
    )
    config = load_config(PROJECT / "config" / "nore-demo.v1.json")

    with pytest.raises(Refusal, match="the embedded exchange cannot be started"):
        EmbeddedExchange.start(config, tmp_path, var, child_environ(os.environ))


def test_disk_that_grants_a_lock_twice_fails_one_check_and_hides_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`minibot doctor` shows its whole list, with what the lock itself says about the disk."""
    var = Var(tmp_path / "var")
    monkeypatch.setattr(FILES, "try_lock", lambda fd: True)

    found = {check.name: check for check in preflight(bare(var), var, whole=True)}

    assert not found["locks"].passed
    assert "grants one lock to two holders" in found["locks"].found
    assert "local disk" in found["locks"].remedy
    assert found["sync"].passed


def test_lock_that_another_start_tries_at_the_moment_is_no_fault_of_the_disk(
    tmp_path: Path,
) -> None:
    """Two looks at the same time do not call the disk unfit."""
    var = Var(tmp_path / "var")
    var.stop.mkdir(parents=True)

    with closing(WriterLock(var.stop / "exclusion.lock")):
        (found,) = (each for each in preflight(bare(var), var, whole=True) if each.name == "locks")

    assert not found.passed
    assert "another start or doctor" in found.found


@pytest.mark.parametrize("way", ["set", "environment"])
def test_symbols_that_the_source_has_not_are_refused_when_asked_for(
    tmp_path: Path, project: Path, way: str
) -> None:
    """Symbols that the source lacks are refused."""
    var = Var(tmp_path / "var")
    var.logs.mkdir(parents=True)
    asked = '["XRPUSDT"]'
    config = load_config(
        project / "config" / "nore-demo.v1.json",
        [f"binance.symbols={asked}"] if way == "set" else [],
        {"MINIBOT__BINANCE__SYMBOLS": asked} if way == "environment" else {},
    )
    with pytest.raises(Refusal) as refused:
        EmbeddedExchange.start(config, tmp_path, var, child_environ(os.environ))

    assert "asks for XRPUSDT, and tape:demo plays BTCUSDT" in refused.value.message
    assert "embedded.source" in refused.value.remedy


def test_start_on_a_port_in_use_is_told_of_the_port_and_its_key(
    tmp_path: Path, project: Path
) -> None:
    """A port in use is refused with the port and its key."""
    var = Var(tmp_path / "var")
    var.logs.mkdir(parents=True)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        config = load_config(
            project / "config" / "nore-demo.v1.json", [f"embedded.port={port}"], {}
        )
        with pytest.raises(Refusal) as refused:
            EmbeddedExchange.start(config, tmp_path, var, child_environ(os.environ))

    assert f"Port {port} on 127.0.0.1 cannot be used" in refused.value.message
    assert "--set embedded.port=0" in refused.value.remedy


def test_refusal_of_several_failed_checks_is_made_of_whole_sentences() -> None:
    """A refusal of several checks consists of whole sentences with remedies."""
    failed = [
        CheckResult("secrets", False, "the file is readable by all.", "chmod 600 it."),
        CheckResult("disk", False, "8 MB free, 512 needed", "Free some space."),
    ]

    with pytest.raises(Refusal) as refused:
        refuse_failed(failed)

    assert str(refused.value) == (
        "secrets: the file is readable by all; disk: 8 MB free, 512 needed. "
        "chmod 600 it. Free some space."
    )


def test_refusal_of_changed_code_names_the_command_that_accepts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code that differs from the deployed list is told with the way out, which works."""
    project = tmp_path / "project"
    source = project / "minibot" / "limits.py"
    source.parent.mkdir(parents=True)
    source.write_text("LIMIT = 1\n", encoding="utf-8")
    adopt(project, None)
    source.write_text("LIMIT = 2\n", encoding="utf-8")
    monkeypatch.setattr(preflight_module, "PROJECT", project)
    config = load_config(PROFILE, ["code.require_manifest=true", f"paths.var={tmp_path / 'var'}"])
    result = preflight_module._code(config)

    assert not result.passed
    command = shlex.split(result.remedy.rpartition(": ")[2])
    arguments = parser().parse_args(command[1:])
    assert command[0] == "minibot"
    assert (arguments.verb, arguments.action) == ("stage", "adopt")
    adopt(project, arguments.reason)
    assert preflight_module._code(config).passed


def test_faults_of_failed_checks_are_told_one_by_one() -> None:
    """Several faults in one line are not read; a single one needs no list."""
    differs = CheckResult(
        "code", False, "differs: a, b", "Deploy it.", ("differs: a", "differs: b")
    )
    full = CheckResult("disk", False, "8 MB free", "Free some space.")

    with pytest.raises(Refusal) as several:
        refuse_failed([differs, full])
    with pytest.raises(Refusal) as one:
        refuse_failed([full])

    assert several.value.faults == ("code: differs: a", "code: differs: b", "disk: 8 MB free")
    assert one.value.faults == ()
