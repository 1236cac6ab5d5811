"""Gate `ai_isolation`: it passes on the real sandbox and fails on each planted defect."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minibot.ai import jailed_process as child_module
from minibot.ai import training
from minibot.ai.preflight import check_jail
from minibot.ai.training import TrainingFailed
from minibot.ai.worker_supervisor import hello_problem
from minibot.gates import ai_isolation
from minibot.gates.ai_isolation import (
    FORBIDDEN_ROOMS,
    check_ai_isolation,
    check_sources,
    judged,
)
from minibot.gates.result import Finding, GateReport
from minibot.runtime.paths import PROJECT
from tests.ai.ai_stage import LEVEL_HERE

pytestmark = pytest.mark.process

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: seccomp")


def worker_after(code: str) -> Callable[..., list[str]]:
    """Return a command of the worker that runs this code first; `worker` is its module."""
    begun = f"import sys\nimport minibot.ai.nore_ai_worker_v1 as worker\n{code}"

    def command(
        python: str, root: Path, memory_mb: int, task: str, private: str | None = None
    ) -> list[str]:
        ended = f"{begun}sys.exit(worker.main())\n"
        return [python, "-c", ended, "--root", str(root), "--task", task]

    return command


def failed(result: GateReport) -> list[str]:
    """Return the names of failed checks."""
    return [finding.name for finding in result.findings if not finding.passed]


@linux_only
@pytest.mark.row("N-100", "N-101", "N-16")
def test_gate_passes_and_shows_that_an_order_ends_the_run(tmp_path: Path) -> None:
    """The gate denies every probe, finds no leak, and stops a run whose worker drafts an order."""
    result = check_ai_isolation(tmp_path / "lab", secrets=tmp_path / "no such secrets")
    assert failed(result) == []
    assert (result.passed, result.level) == (True, "jail")
    names = {finding.name for finding in result.findings}
    assert {"an order drafted by the worker", "environment is scrubbed", "descriptors"} <= names
    assert "probe files: read secrets path" in names
    assert len([name for name in names if name.startswith("probe ")]) > 80


@linux_only
def test_gate_fails_when_the_jail_is_only_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's own probes expose a worker that claims a sandbox without one."""
    code = (
        "from minibot.ai import probes\n"
        "from minibot.ai.isolation import Isolation\n"
        "worker.close_jail = lambda memory: Isolation('jail', ())\n"
        "probes._processes = lambda: []\n"
    )
    monkeypatch.setattr(ai_isolation, "command", worker_after(code))
    result = check_ai_isolation(tmp_path / "lab", with_run=False)
    assert not result.passed
    assert {"probe files: read planted secrets", "probe network: tcp"} <= set(failed(result))


@linux_only
def test_gate_fails_when_the_worker_does_not_try_the_bait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A jail proves nothing about files that the worker leaves alone."""
    code = "from minibot.ai import probes\nprobes._files = lambda targets: []\n"
    monkeypatch.setattr(ai_isolation, "command", worker_after(code))
    result = check_ai_isolation(tmp_path / "lab", with_run=False)
    assert not result.passed
    assert failed(result)[:1] == ["probes"]
    details = [finding.detail for finding in result.findings if finding.name == "probes"]
    assert "not tried: read planted secrets, write planted secrets" in details[0]


@linux_only
def test_gate_fails_when_the_environment_is_not_scrubbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate sees a secret of the parent that reaches the worker."""
    monkeypatch.setattr(child_module, "environment", dict)
    result = check_ai_isolation(tmp_path / "lab", with_run=False)
    assert not result.passed
    assert "environment is scrubbed" in failed(result)


@linux_only
def test_gate_fails_when_a_layer_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker below the profile's least isolation fails the gate."""
    code = (
        "from minibot.ai import jail_linux\n"
        "def fail():\n"
        "    raise OSError(38, 'forced')\n"
        "jail_linux._no_new_privs = fail\n"
    )
    monkeypatch.setattr(ai_isolation, "command", worker_after(code))
    result = check_ai_isolation(tmp_path / "lab", with_run=False)
    assert not result.passed
    assert result.level == "partial"
    assert "layer no_new_privs" in failed(result)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from minibot.execution.core import Core\n", "imports of rooms"),
        ("import minibot.exchanges.binance\n", "imports of rooms"),
        ("from minibot import execution\n", "imports of rooms"),
        ("def load():\n    import pickle\n", "imports of code-carrying formats"),
        ("from joblib import load\n", "imports of code-carrying formats"),
    ],
)
def test_gate_finds_a_forbidden_import(tmp_path: Path, source: str, name: str) -> None:
    """Imports of trading code, or of a format that carries code, are found inside functions too."""
    for place in (tmp_path / "top", tmp_path / "room" / "below"):
        place.mkdir(parents=True)
        (place / "module.py").write_text(source)
        folder = place if place.name == "top" else place.parent
        found = [finding.name for finding in check_sources(folder) if not finding.passed]
        assert found == [name]


def test_every_room_is_forbidden_to_the_ai_or_named_here_as_one_that_it_needs() -> None:
    """A new room is forbidden to the AI until someone decides otherwise."""
    needed = {"ai", "cores", "events", "features", "kernel", "runtime"}
    rooms = {path.parent.name for path in (PROJECT / "minibot").glob("*/__init__.py")}

    assert rooms - FORBIDDEN_ROOMS == needed
    assert rooms >= FORBIDDEN_ROOMS


def test_gate_on_a_system_that_advises_passes_with_open_probes() -> None:
    """On Windows the gate passes with open probes; a leak or an accepted order fails it."""
    probe = Finding("probe network: tcp", False, "succeeded")
    leak = Finding("environment is scrubbed", False, "foreign: ['X']")
    advised = judged("advisory", "advisory", [probe])
    assert (advised.passed, advised.level) == (True, "advisory")
    assert failed(advised) == ["probe network: tcp"]
    assert not judged("advisory", "advisory", [leak]).passed
    assert not judged("advisory", "jail", [probe]).passed
    assert not judged("jail", "jail", [probe]).passed


def test_ai_that_the_profile_turns_off_here_is_used_by_nobody(tmp_path: Path) -> None:
    """A least isolation of `off` means no AI: neither worker nor trainer runs without a sandbox."""
    hello = {"isolation": {"level": "off", "layers": []}, "leaks": {}, "features": []}

    assert "turns the AI off" in hello_problem(hello, "off")
    with pytest.raises(TrainingFailed, match="turns the AI off"):
        training._check_jail(hello, "off")
    result = check_ai_isolation(tmp_path / "lab", level_min="off")
    assert (result.passed, result.level) == (True, "off")
    assert {finding.name.split()[0] for finding in result.findings} == {"imports", "level"}


def test_worker_that_never_answers_holds_nothing() -> None:
    """Without a hello the gate knows nothing of the worker, so no finding about it holds."""
    found = list(ai_isolation._inherited({}))

    assert len(found) == 3
    assert [finding.name for finding in found if finding.passed] == []


def test_worker_that_answers_what_is_no_frame_fails_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage in place of a hello is a verdict and no crash, which would leave the last verdict."""

    def babbling(
        python: str, root: Path, memory_mb: int, task: str, private: str | None = None
    ) -> list[str]:
        return [python, "-c", "print('no frame', flush=True)"]

    monkeypatch.setattr(ai_isolation, "command", babbling)
    result = check_ai_isolation(tmp_path / "lab", with_run=False)
    assert (result.passed, result.level) == (False, "")
    assert {"probes", "descriptors", "level"} <= set(failed(result))


def test_preflight_says_what_a_run_would_find(tmp_path: Path) -> None:
    """Preflight names the worker's level, and the problem where the profile demands more."""
    found = check_jail(tmp_path / "ai", 256, LEVEL_HERE)
    assert (found.level, found.problem) == (LEVEL_HERE, "")
    assert found.lightgbm is True
    assert "is needed" in check_jail(tmp_path / "ai", 256, "unreachable").problem


def test_gate_leaves_its_bait_behind_nowhere(tmp_path: Path) -> None:
    """The gate removes its planted secret from this process."""
    check_ai_isolation(tmp_path / "lab", level_min=LEVEL_HERE, with_run=False)
    assert "MINIBOT_GATE_SECRET" not in os.environ
