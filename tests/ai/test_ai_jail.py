"""The jail, closed by the real worker process: what gets in, what gets out, what still works."""

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
    """Return the next frame of a child; fail with its last words when it ended."""
    for _ in range(150):
        for line in child.receive(0.2):
            return decode_frame(line)
        if child.has_ended:
            break
    raise AssertionError(f"no frame: {child.broken} {child.last_words}")


@pytest.fixture
def prober(tmp_path: Path) -> Iterator[JailedProcess]:
    """A jailed process that tries to break out when told."""
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
    """Network, files, processes, signals and escapes: the kernel says no to each; threads work."""
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
    """A kernel without Landlock: the filter by itself denies all that the two deny together."""
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
    """The probes can tell: outside the jail the same attempts succeed or fail otherwise."""
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
    """Run a script in a Python process of its own and return it, ended."""
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
    """No root is needed: the jail closes the same for a user without any privilege."""
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
    """Nothing that root could do is left to the worker, as the kernel tells it from outside."""
    assert answer(prober)["isolation"]["level"] == "jail"
    lines = Path(f"/proc/{prober.pid}/status").read_text().splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))

    assert {name: int(value, 16) for name, value in sets.items()} == dict.fromkeys(sets, 0)


@linux_only
def test_jailed_process_still_sees_its_own_limits_clocks_and_processors(tmp_path: Path) -> None:
    """What the filter denies of others, libraries may ask of their own process."""
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
    """Each layer that cannot be set makes the report say so; none is passed over."""
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
    """Seccomp alone denies files, so an older kernel has a whole jail and the report says how."""
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
    """The second wall stands by itself: with seccomp left out, files are still out of reach."""
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
    """Landlock binds the closing thread alone, so an earlier thread makes the jail incomplete."""
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
    """A process that eats memory meets the limit inside itself, not the machine's."""
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
    """A secret in the parent's environment and an inheritable descriptor do not reach the child."""
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
    """A leak is seen from inside as well, and nothing is served then."""
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
    """The allow list that scrubs and the one that checks are the same."""
    assert foreign_variables(environment(os.environ)) == []


@pytest.mark.row("N-100")
def test_worker_loads_no_room_of_the_trade(prober: JailedProcess) -> None:
    """Neither execution nor risk nor exchanges are in the worker's memory."""
    rooms = set(answer(prober)["rooms"])
    assert rooms <= {"ai", "events", "features", "kernel"}
