"""Sandbox of the real worker process: input, output, denied attempts and working calls."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minibot.ai.frames import RESULT_BYTES_MAX, decode_frame
from minibot.ai.inherited_environment import environment, foreign_variables
from minibot.ai.jailed_process import JailedProcess
from minibot.ai.nore_ai_worker_v1 import command
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.process

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: seccomp")


def answer(child: JailedProcess) -> dict[str, Any]:
    """Return a child's next frame; fail with its last output when it ended."""
    for _ in range(150):
        for line in child.receive(0.2):
            return decode_frame(line)
        if child.has_ended:
            break
    raise AssertionError(f"no frame: {child.broken} {child.last_words}")


@pytest.fixture
def prober(tmp_path: Path) -> Iterator[JailedProcess]:
    """Sandboxed process that tries to break out on command."""
    child = JailedProcess(
        command(sys.executable, tmp_path / "ai", 256, "probe"),
        tmp_path / "ai" / "work",
        line_bytes_max=RESULT_BYTES_MAX,
    )
    yield child
    child.kill()


@linux_only
@pytest.mark.row("N-100", "N-16", "F128", "F129", "F130", "F131", "I9")
def test_jail_every_attempt_to_break_out_is_denied(prober: JailedProcess, tmp_path: Path) -> None:
    """The kernel denies network, files, processes, signals and escapes; threads work."""
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    assert answer(prober)["isolation"]["level"] == "jail"

    prober.send({"t": "probe", "targets": {"secret": str(secret)}})
    results = answer(prober)["results"]

    assert len(results) > 75
    assert [item for item in results if not item["passed"]] == []
    assert {item["group"] for item in results} == {
        "network",
        "files",
        "escape",
        "kernel",
        "processes",
    }


@linux_only
def test_jail_by_seccomp_alone_denies_every_attempt_too(tmp_path: Path) -> None:
    """Seccomp alone, as on a kernel without Landlock, denies every attempt too."""
    code = (
        "import sys\n"
        "from minibot.ai import jail_linux\n"
        "import minibot.ai.nore_ai_worker_v1 as worker\n"
        "jail_linux.landlock_abi = lambda: 0\n"
        "sys.exit(worker.main())\n"
    )
    argv = [sys.executable, "-I", "-c", code, "--root", str(tmp_path), "--task", "probe"]
    child = JailedProcess(argv, tmp_path / "work", line_bytes_max=RESULT_BYTES_MAX)
    try:
        assert answer(child)["isolation"]["level"] == "jail"
        child.send({"t": "probe", "targets": {}})
        results = answer(child)["results"]
    finally:
        child.kill()

    assert len(results) > 75
    assert [item for item in results if not item["passed"]] == []


@linux_only
def test_probes_without_a_jail_would_be_open(tmp_path: Path) -> None:
    """The same attempts are not denied outside the sandbox, so the probes can tell."""
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    script = f"""
        import json
        from minibot.ai.probes import prepare_probes
        import minibot.ai.probes as probes
        probes._processes = lambda: []   # No exec and no signals from a test's own process.
        run = prepare_probes()
        print(json.dumps(run({{"targets": {{"secret": {str(secret)!r}}}}})))
    """
    ended = python(script, tmp_path)
    results = json.loads(ended.stdout)

    open_ones = {item["name"] for item in results if not item["passed"]}
    assert {"tcp", "udp", "unix", "dns", "read secret", "write secret", "create"} <= open_ones
    assert {"list /", "symlink", "memfd_create", "openat", "ioctl", "prctl"} <= open_ones
    assert {"clone", "tgkill", "fcntl", "prlimit64", "madvise mergeable"} <= open_ones
    assert {"limits of the parent", "processors of the parent", "madvise poison"} <= open_ones
    assert {name for name in open_ones if "CPU" in name} == {
        "CPU time of the parent",
        "CPU clock of the parent",
        "waiting for the parent's CPU",
    }


def python(script: str, folder: Path, environ: dict[str, str] | None = None) -> Any:
    """Run a script in a separate Python process and return its result."""
    return subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(script)],
        cwd=folder,
        env=environ or environment(os.environ),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )


@linux_only
@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root, to become another user"
)
def test_jail_as_ordinary_user_is_whole(tmp_path: Path) -> None:
    """A user without any privilege gets the whole sandbox."""
    script = """
        import os, socket
        from minibot.ai.jail import close_jail
        os.setgroups([]); os.setgid(65534); os.setuid(65534)
        isolation = close_jail(256 << 20)
        print(isolation.level, isolation.missing())
    """
    assert python(script, tmp_path).stdout.strip() == "jail"


@linux_only
@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="needs root, to have capabilities"
)
def test_jail_started_by_root_keeps_no_capability(prober: JailedProcess) -> None:
    """A worker started by root keeps no capability, as the kernel's status shows."""
    assert answer(prober)["isolation"]["level"] == "jail"
    lines = Path(f"/proc/{prober.pid}/status").read_text().splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))

    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(sets, 0)


@linux_only
def test_jailed_process_still_sees_its_own_limits_clocks_and_processors(tmp_path: Path) -> None:
    """A sandboxed process may ask for its own limits, clocks and processors, as libraries do."""
    script = """
        import os, resource, time
        from minibot.ai.jail import close_jail
        close_jail(256 << 20)
        resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.prlimit(os.getpid(), resource.RLIMIT_NOFILE)
        print(len(os.sched_getaffinity(0)) == len(os.sched_getaffinity(os.getpid())))
        print(time.process_time() >= 0, time.thread_time() >= 0, time.monotonic() > 0)
    """
    assert python(script, tmp_path).stdout.split() == ["True"] * 4


@pytest.mark.row("F134")
@linux_only
@pytest.mark.parametrize(
    "layer", ["_capabilities", "_no_new_privs", "_limits", "_landlock", "_seccomp"]
)
def test_jail_with_a_failing_layer_is_not_a_jail(tmp_path: Path, layer: str) -> None:
    """A layer that fails is reported, and the sandbox counts as incomplete."""
    script = f"""
        from minibot.ai import jail_linux
        def fail(*arguments):
            raise OSError(38, "forced")
        jail_linux.{layer} = fail
        isolation = jail_linux.close_linux(256 << 20)
        print(isolation.level, "|", isolation.missing())
    """
    level, _, missing = python(script, tmp_path).stdout.partition("|")
    assert level.strip() == "partial"
    assert f"{layer[1:]}: forced" in missing


@linux_only
def test_jail_without_landlock_in_the_kernel_still_keeps_files_out(tmp_path: Path) -> None:
    """Seccomp alone keeps files out, so an older kernel has a whole sandbox; the report says so."""
    script = """
        import os
        from minibot.ai import jail_linux
        jail_linux.landlock_abi = lambda: 0
        isolation = jail_linux.close_linux(256 << 20)
        try:
            os.open("/etc/hostname", os.O_RDONLY)
        except PermissionError:
            details = {item.name: item.detail for item in isolation.layers}
            print(isolation.level, details["landlock"])
    """
    assert python(script, tmp_path).stdout.startswith("jail not in this kernel")


@linux_only
def test_jail_landlock_alone_denies_files_too(tmp_path: Path) -> None:
    """Landlock alone denies files too, without seccomp."""
    script = """
        import os
        from minibot.ai import jail_linux
        if jail_linux.landlock_abi() == 0:
            print("denied")
            raise SystemExit
        jail_linux._no_new_privs()
        jail_linux._landlock()
        try:
            os.open("/etc/hostname", os.O_RDONLY)
        except PermissionError:
            print("denied")
    """
    assert python(script, tmp_path).stdout.strip() == "denied"


@linux_only
def test_jail_with_a_second_thread_is_not_a_jail(tmp_path: Path) -> None:
    """A second thread makes the sandbox incomplete, as Landlock binds the closing thread alone."""
    script = """
        import threading
        from minibot.ai.jail import close_jail
        wait = threading.Event()
        thread = threading.Thread(target=wait.wait)
        thread.start()
        isolation = close_jail(256 << 20)
        print(isolation.level)
        wait.set()
        thread.join()
    """
    assert python(script, tmp_path).stdout.strip() == "partial"


@pytest.mark.row("F132")
@linux_only
def test_jail_memory_ends_at_its_limit(tmp_path: Path) -> None:
    """A process that eats memory meets its own limit before the machine's."""
    script = """
        import resource
        from minibot.ai.jail import close_jail
        close_jail(128 << 20)
        eaten = []
        try:
            while len(eaten) < 1024:
                eaten.append(bytes(1 << 20))
        except MemoryError:
            count = len(eaten)
            eaten.clear()
            limits = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1]
                      for name in ("DATA", "CORE", "NOFILE", "FSIZE")]
            print(count < 128, limits)
    """
    assert python(script, tmp_path).stdout.strip() == f"True {[128 << 20, 0, 16, 1 << 20]}"


@pytest.mark.row("F133")
def test_worker_inherits_nothing_but_its_pipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker inherits no secret of the environment and no descriptor but its pipes."""
    monkeypatch.setenv("BINANCE_API_SECRET", "do not leak")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    child = JailedProcess(
        command(sys.executable, tmp_path / "ai", 256, "infer"),
        tmp_path / "ai" / "work",
        line_bytes_max=RESULT_BYTES_MAX,
    )
    try:
        hello = answer(child)
        if sys.platform == "linux":
            environ = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
            names = {item.split(b"=")[0] for item in environ if item}
            descriptors = {int(name) for name in os.listdir(f"/proc/{child.pid}/fd")}
            assert names == {
                b"LANG",
                b"OMP_NUM_THREADS",
                b"OPENBLAS_NUM_THREADS",
                b"MALLOC_ARENA_MAX",
            }
            assert descriptors == {0, 1, 2, 3, 4}
    finally:
        child.kill()
        os.close(descriptor)

    assert hello["leaks"]["variables"] == []
    assert not hello["leaks"]["descriptors"]


def test_worker_that_finds_a_foreign_variable_says_so_and_ends(tmp_path: Path) -> None:
    """A worker that finds a foreign variable reports it, serves nothing and ends."""
    ended = subprocess.run(
        command(sys.executable, tmp_path, 256, "infer"),
        env={**environment(os.environ), "AWS_SECRET": "x"},
        input=b"",
        capture_output=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert decode_frame(ended.stdout.splitlines()[0])["leaks"]["variables"] == ["AWS_SECRET"]
    assert ended.returncode == 2


def test_environment_holds_no_name_that_it_would_call_foreign() -> None:
    """The list that scrubs the environment is the list that checks it."""
    assert foreign_variables(environment(os.environ)) == []


@pytest.mark.row("N-100")
def test_worker_loads_no_room_of_the_trade(prober: JailedProcess) -> None:
    """A worker's memory holds no module of execution, risk or exchanges."""
    rooms = set(answer(prober)["rooms"])
    assert rooms <= {"ai", "events", "features", "kernel"}
