"""Code list: only listed sources run, in every process of a night or a proof."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from minibot import environment, listed
from minibot.kernel.errors import Refusal
from minibot.market.venue_access import server_time
from minibot.runtime.cmdline import cmdline_hash
from minibot.runtime.configuration.config import load_config
from minibot.runtime.deployment import staging
from minibot.runtime.deployment.deployed import compare
from minibot.watchdog import launcher
from tests.product import (
    copy_product,
    in_product,
    marking,
    night_words,
    plant,
    started_by_a_user,
)
from tests.runs import PROJECT, ShortRun
from tests.waiting import DEADLINE_S, wait_until

SEAL = "minibot/kernel/seal.py"  # One of the modules that every proof imports.


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """Copy of the product with its code list."""
    folder = tmp_path / "product"
    folder.mkdir()
    copy_product(folder)
    staging.adopt(folder, None)
    return folder


def verify(product: Path, run: Path, **environ: str) -> tuple[int, str]:
    """Verify a run with a copy of the product; return exit code and output."""
    done = in_product(product, "-m", "minibot", "verify", str(run), **environ)
    return done.code, done.out + done.err


@pytest.mark.row("N-23", "F162")
def test_proof_under_a_list_executes_no_planted_bytecode(
    product: Path, tmp_path: Path, short_run: ShortRun
) -> None:
    """A planted file that runs without a list never runs with one; `stage` names it."""
    marker = tmp_path / "executed"
    planted = plant(product / SEAL, marker)

    with_list = verify(product, short_run.run_dir)
    was_executed = marker.exists()
    status = in_product(product, "-m", "minibot", "stage", "status")
    marker.unlink(missing_ok=True)
    (product / "staging" / "deployed.json").unlink()
    without_list = verify(product, short_run.run_dir)

    assert with_list == (0, f"verify {short_run.run_id}: clean\n")
    assert not was_executed
    assert status.code == 1
    assert planted.relative_to(product).as_posix() in status.out
    assert without_list[0] == 0
    assert marker.exists()  # The planted code works, else this test proves nothing.


@pytest.mark.row("N-23")
def test_proof_of_a_night_held_to_a_list_needs_no_list_here(
    product: Path, tmp_path: Path, short_run: ShortRun
) -> None:
    """A run under a code list is proven from sources on any machine."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text(json.dumps({"config": {"code": {"require_manifest": True}}}))
    words = ["verify", str(run)]

    assert environment.asks_for_list("minibot", words, {})
    assert not environment.asks_for_list("minibot", ["verify", str(short_run.run_dir)], {})
    assert not environment.asks_for_list("minibot", [*words, "--help"], {})
    assert not environment.asks_for_list("minibot", ["status", str(run)], {})


@pytest.mark.row("N-23")
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--config", "config/nore.v1.json"], True),
        (["-c", "minibot/config/nore.v1.json"], True),
        (["--config=config/nore.v1.json"], True),
        (["--config", "config/nore-demo.v1.json"], False),
        (["--config", "config/nore-demo.v1.json", "--set", "code.require_manifest=true"], True),
        (["--config", "config/nore.v1.json", "--help"], False),
        (["--config", "no such file"], False),
        ([], False),
    ],
)
def test_night_starts_again_when_its_profile_asks_for_the_list(
    words: list[str], asked: bool
) -> None:
    """A night restarts itself if its profile demands the list, before any import."""
    assert environment.asks_for_list("minibot.nore_run_v1", words, {}) == asked
    assert environment.asks_for_list("minibot", ["night", *words], {}) == asked
    variable = {environment.REQUIRED_VARIABLE: "true"}
    assert environment.asks_for_list("minibot", ["trade", *words], variable) == (
        "--help" not in words
    )


@pytest.mark.row("N-23")
@pytest.mark.parametrize(("base", "asked"), [("nore.v1.json", True), ("nore-demo.v1.json", False)])
def test_night_without_a_flag_starts_again_when_its_own_profile_asks_for_the_list(
    base: str, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night that takes the own profile of the folder is held to the list as if it named it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "my-night.json").write_text(json.dumps({"extends": base}))

    assert environment.asks_for_list("minibot", ["night"], {}) == asked


@pytest.mark.process
@pytest.mark.row("N-23")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in its file system")
def test_proof_of_a_run_whose_manifest_is_a_fifo_waits_for_nobody(tmp_path: Path) -> None:
    """A FIFO in the manifest's place holds up no proof."""
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "manifest.json")
    argv = [sys.executable, "-m", "minibot", "verify", str(tmp_path)]

    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=DEADLINE_S)

    assert done.returncode == 1, done.stdout


@pytest.mark.row("N-23")
def test_proof_refuses_a_source_that_is_not_the_listed_one(
    product: Path, short_run: ShortRun
) -> None:
    """A source that differs from the list is named and not run, exit code 2."""
    with (product / SEAL).open("a") as file:
        file.write("raise SystemExit('changed')\n")

    code, text = verify(product, short_run.run_dir)

    assert code == 2
    assert text.startswith(f"refused: {SEAL} has changed")
    assert "stage status" in text


@pytest.mark.row("N-23")
def test_source_that_a_proof_imports_late_is_refused_with_a_next_step(
    product: Path, short_run: ShortRun
) -> None:
    """A changed source is no error of minibot wherever it is imported; `stage` says what to do."""
    with (product / "minibot/risk/limits.py").open("a") as file:
        file.write("# An edit after the adoption.\n")

    done = in_product(product, "-m", "minibot", "replay", str(short_run.run_dir))
    status = in_product(product, "-m", "minibot", "stage", "status")

    assert done.code == 2
    assert "refused: minibot/risk/limits.py has changed" in done.err
    assert "stage status" in done.err
    assert status.code == 1
    assert "minibot stage adopt" in status.out


@pytest.mark.row("N-23", "F162")
def test_proof_under_a_list_takes_no_module_that_is_put_before_a_listed_one(
    product: Path, tmp_path: Path, short_run: ShortRun
) -> None:
    """Modules put before listed ones are not used: packages, sourceless ones, libraries."""
    marker = tmp_path / "executed"
    package = product / "minibot" / "kernel" / "seal"
    sourceless = product / "minibot" / "kernel" / "verify"
    for folder in (package, sourceless):
        folder.mkdir()
        (folder / "__init__.py").write_text(marking(marker))
    plant(sourceless / "__init__.py", marker).rename(sourceless / "__init__.pyc")
    (sourceless / "__init__.py").unlink()
    (product / "minibot" / "kernel" / "line.abi3.so").write_bytes(b"no library")
    for name in ("orjson", "sitecustomize", "usercustomize"):
        (product / f"{name}.py").write_text(marking(marker))

    code, output = verify(product, short_run.run_dir)

    assert (code, output) == (0, f"verify {short_run.run_id}: clean\n")
    assert not marker.exists()
    assert {text.partition(":")[0] for text in compare(product)} == {
        "minibot/kernel/seal/__init__.py",
        "minibot/kernel/verify/__init__.pyc",
        "minibot/kernel/line.abi3.so",
    }


@pytest.mark.row("N-23", "F162")
def test_start_by_the_path_of_the_starter_executes_no_bytecode_from_the_first_module_on(
    product: Path, tmp_path: Path, short_run: ShortRun
) -> None:
    """The starter itself runs from source, so not even the first module can be planted."""
    marker, private = tmp_path / "executed", tmp_path / "private"
    private.mkdir()
    for name in ("__init__.py", "__main__.py", "environment.py", "listed.py"):
        plant(product / "minibot" / name, marker)

    done = in_product(
        product,
        *listed.flags(str(private)),
        str(product / "minibot" / "listed.py"),
        *("minibot", "verify", str(short_run.run_dir)),
    )

    assert (done.code, done.out) == (0, f"verify {short_run.run_id}: clean\n")
    assert not marker.exists()


@pytest.mark.process
@pytest.mark.row("N-23")
def test_workers_of_a_pool_are_held_to_the_list_of_their_parent(tmp_path: Path) -> None:
    """Workers of a multiprocessing pool are held to their parent's list."""
    asked = "__import__('sys').modules['minibot.listed'].folder"
    script = (
        "import sys\n"
        "from minibot.engine.worker_pool import Workers\n"
        "with Workers(2) as workers:\n"
        f"    print(workers.begin(eval, {asked!r}).result())\n"
    )

    done = in_product(PROJECT, *listed.flags(str(tmp_path)), listed.__file__, "-c", script)

    assert done.out.strip() == str(tmp_path), done.err


@pytest.mark.process
@pytest.mark.row("N-23", "N-09", "F162")
def test_night_under_a_list_runs_listed_sources_in_every_process_and_ends_by_ctrl_c(
    product: Path, tmp_path: Path
) -> None:
    """All processes of a night run listed sources from one private folder, gone at the end."""
    marker, var = tmp_path / "executed", tmp_path / "var"
    sets = {"code.require_manifest": "true", "duration_ms": "900000"}
    refused_by = plant(product / "minibot" / "risk" / "limits.py", marker)
    refused = in_product(product, *night_words(var, sets))
    refused_by.unlink()
    argv = [sys.executable, *night_words(var, sets)]
    environ = started_by_a_user() | {"PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": "/none"}
    with subprocess.Popen(argv, cwd=product, env=environ, stderr=subprocess.PIPE) as night:
        fills = var / "queues" / "fills" / "inbox.jsonl"
        wait_until(
            lambda: night.poll() is not None or (fills.exists() and fills.stat().st_size > 0),
            "a fill",
        )
        assert night.poll() is None, night.stderr.read().decode() if night.stderr else ""
        processes = [psutil.Process(night.pid), *psutil.Process(night.pid).children(recursive=True)]
        lines = [process.cmdline() for process in processes]
        night.send_signal(signal.SIGINT)
        night.wait()
    run = next(path.parent for path in (var / "runs").glob("*/manifest.json"))
    manifest = json.loads((run / "manifest.json").read_bytes())
    launcher = manifest["processes"]["watchdog_role"]
    private = {word for line in lines for word in line if word.startswith("pycache_prefix=")}

    assert (refused.code, marker.exists()) == (2, False)
    assert "minibot/risk/__pycache__/limits" in refused.err
    assert night.returncode == 0
    assert len(lines) >= 7  # Launcher, five roles, exchange, and what the AI has started.
    assert len(private) == 1
    assert all(any(word in private for word in line) for line in lines)
    assert launcher["cmdline_hash"] == cmdline_hash(lines[0])
    assert not os.path.exists(private.pop().partition("=")[2])


@pytest.mark.row("N-23")
def test_night_that_asks_for_the_list_unseen_is_refused(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An abbreviated flag that hides the list's demand is refused."""
    sets = [f"paths.var={tmp_path / 'var'}", "code.require_manifest=true"]
    config = load_config(project / "config" / "nore-smoke.v1.json", sets, {})
    monkeypatch.setattr(launcher, "preflight", lambda *_: [])

    with pytest.raises(Refusal, match="not checked against the list"):
        launcher.launch(config, project / "config", (), print, server_time)


def test_list_of_a_private_folder_is_the_one_that_was_deployed_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run keeps its list although a later deployment changes the deployed one."""
    deployed = tmp_path / "deployed.json"
    deployed.write_text('{"files": {"minibot/a.py": "1"}}')
    monkeypatch.setattr(listed, "DEPLOYED", str(deployed))
    first = listed.files_of(str(tmp_path))
    deployed.write_text('{"files": {}}')

    assert first == listed.files_of(str(tmp_path)) == {"minibot/a.py": "1"}
    deployed.write_text("{")
    (tmp_path / listed.LIST).unlink()
    with pytest.raises(ValueError, match=r"deployed\.json is damaged"):
        listed.files_of(str(tmp_path))


def test_module_of_a_list_is_found_by_its_name_in_the_list_alone() -> None:
    """Modules outside the list do not exist; other packages' modules are passed on."""
    guard = listed.Guard({"minibot/kernel/line.py": "0" * 64})

    assert guard.find_spec("orjson") is None
    spec = guard.find_spec("minibot.kernel.line")
    assert spec is not None
    assert spec.loader is not None
    with pytest.raises(listed.NotListed, match=r"minibot/kernel/line\.py"):
        spec.loader.get_source("minibot.kernel.line")  # type: ignore[attr-defined]
    with pytest.raises(ModuleNotFoundError):
        guard.find_spec("minibot.kernel.queue")
    assert importlib.util.find_spec("minibot.kernel.queue") is not None
