"""tools/with_env.py: one command makes the environment; each failure is one message."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_S, wait_until
from tools import env_setup

pytestmark = [pytest.mark.campaign, pytest.mark.process]

STUBS = [name.strip() for name in env_setup.REQUIRED_IMPORTS.split(",")]


def make_wheel(folder: Path, name: str, modules: dict[str, str]) -> str:
    """Write a wheel of some modules; return its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(modules)
    info = f"{name}-1.0.dist-info"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{name},{record_hash(text)},{len(text)}\n" for name, text in files.items())
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def record_hash(text: str) -> str:
    """Return a hash in the form of a wheel's RECORD."""
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Checkout:
    """A small project with the real tools, two locks of a package each, pip off the network."""

    def __init__(self, root: Path, project: Path, lightgbm: str = "") -> None:
        self.root = root
        self.wheels = root.parent / "wheels"
        (root / "tools").mkdir(parents=True)
        deploy = Path("minibot/runtime/deployment/deploy.py")
        (root / deploy.parent).mkdir(parents=True)
        (root / "minibot/__init__.py").write_text("")
        (root / "minibot/__main__.py").write_text("import sys; print('verb', sys.argv[1:])\n")
        for name in ("__init__.py", "with_env.py", "environment.py", "env_setup.py"):
            shutil.copy(project / "tools" / name, root / "tools")
        shutil.copy(project / deploy, root / deploy)
        running = {f"{name}.py": "" for name in STUBS} | {"lightgbm/__init__.py": ""}
        running["lightgbm/lib/lib_lightgbm.so"] = lightgbm
        self.lock(make_wheel(self.wheels, "standin", running))
        checks = make_wheel(self.wheels, "checker", {"ruff.py": "print('checked')\n"})
        self.lock(checks, "requirements-dev.lock", "checker")

    def lock(self, sha256: str, file: str = "requirements.lock", name: str = "standin") -> None:
        """Write a lock file of one package."""
        text = f"# locked\n{name}==1.0 \\\n    --hash=sha256:{sha256}\n"
        (self.root / file).write_text(text)

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start the tool."""
        pip = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
        }
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
        return subprocess.Popen(
            [base_python(), str(self.root / "tools/with_env.py"), *arguments],
            env={**kept, **pip, **environ},
            cwd=self.root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run the tool to its end."""
        process = self.start(*arguments, **environ)
        out, err = process.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    @property
    def stamp(self) -> Path:
        """Stamp of a complete environment."""
        return self.root / ".venv/minibot-env.json"


def base_python() -> str:
    """Return the interpreter outside the environment of the tests."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Checkout:
    """Checkout with a complete environment."""
    checkout = Checkout(tmp_path_factory.mktemp("ready") / "a project", project)
    made = checkout.run("-c", "print('first')")
    assert (made.returncode, made.stdout) == (0, "first\n"), made.stderr
    assert [f"[{n}/5]" in made.stderr for n in range(1, 6)] == [True] * 5
    return checkout


@pytest.mark.row("S-48", "N-118")
def test_second_start_says_nothing_and_changes_nothing(ready: Checkout) -> None:
    """A second start prints and changes nothing."""
    before = (ready.stamp.read_bytes(), ready.stamp.stat().st_mtime_ns)

    again = ready.run("-c", "print('again')")

    assert (again.returncode, again.stdout, again.stderr) == (0, "again\n", "")
    assert (ready.stamp.read_bytes(), ready.stamp.stat().st_mtime_ns) == before


def test_environment_has_a_pip_of_its_own(ready: Checkout) -> None:
    """Extras of minibot are installed by the pip beside its Python."""
    name = "Scripts/pip.cmd" if sys.platform == "win32" else "bin/pip"

    told = subprocess.run(
        [str(ready.root / ".venv" / name), "--version"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )

    assert str(ready.root / ".venv") in told.stdout


@pytest.mark.row("S-48")
def test_arguments_exit_code_and_streams_are_handed_over(ready: Checkout) -> None:
    """Arguments, exit code and standard input are handed over unchanged."""
    script = ready.root / "script.py"
    script.write_text("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(7)\n")

    by_path = ready.start(str(script), "--flag", "two words")
    out, _ = by_path.communicate("typed", timeout=DEADLINE_S)
    by_module = ready.run("-m", "minibot", "doctor", "--json")

    assert (by_path.returncode, out) == (7, "['--flag', 'two words'] typed\n")
    assert by_module.stdout == "verb ['doctor', '--json']\n"


def test_first_check_adds_its_packages_and_later_starts_keep_them(
    tmp_path: Path, project: Path
) -> None:
    """Running installs no packages of tests; the first check adds them once."""
    checkout = Checkout(tmp_path / "p", project)
    running = checkout.run("-c", "import importlib.util as u; print(u.find_spec('ruff'))")
    assert running.stdout == "None\n", running.stderr

    added = checkout.run("-m", "ruff")
    again = checkout.run("-m", "ruff")
    other = checkout.run("-c", "print('still')")

    assert (added.returncode, added.stdout) == (0, "checked\n"), added.stderr
    assert "[1/5]" not in added.stderr
    assert "adding up to 1 packages for tests" in added.stderr
    assert (again.stdout, again.stderr) == ("checked\n", "")
    assert (other.stdout, other.stderr) == ("still\n", "")


def test_set_up_for_checks_makes_both_at_once(tmp_path: Path, project: Path) -> None:
    """`--dev` is for CI and for `optimise`; a changed lock of the checks is installed anew."""
    checkout = Checkout(tmp_path / "p", project)

    made = checkout.run("--dev", "-c", "import ruff")
    with (checkout.root / "requirements-dev.lock").open("a") as lock:
        lock.write("# a newer lock\n")
    running = checkout.run("-c", "print('still')")
    renewed = checkout.run("-m", "ruff")

    assert made.stdout == "checked\n", made.stderr
    assert "up to 2 packages" in made.stderr
    assert running.stderr == ""
    assert renewed.stdout == "checked\n"
    assert "[1/5]" in renewed.stderr


def test_command_minibot_runs_from_any_folder(ready: Checkout, tmp_path: Path) -> None:
    """The command `minibot` works from any folder, even with a blank in the project's path."""
    if sys.platform == "win32":
        pytest.skip("Windows runs no script without a suffix; it has minibot.cmd")
    command = [str(ready.root / ".venv/bin/minibot"), "status", "two words"]
    # A path of the tests' own would put the real minibot before that of the checkout.
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    result = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )

    assert result.stdout == "verb ['status', 'two words']\n"


def test_environment_of_a_moved_or_changed_checkout_is_not_trusted(
    ready: Checkout, tmp_path: Path
) -> None:
    """Another place, lock or Python makes the stamp stale."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from tools import environment as e; "
        "print(e.is_current())"
    )

    def is_current(root: Path) -> str:
        command = [base_python(), "-c", script, str(root)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def copied(name: str) -> Path:
        shutil.copytree(ready.root, tmp_path / name, symlinks=True)
        return tmp_path / name

    moved = copied("moved")
    answers = {"original": is_current(ready.root), "moved": is_current(moved)}
    here = json.loads(ready.stamp.read_text()) | {"project": str(moved)}
    for name, change in {
        "adapted": {},
        "format": {"format": 0},
        "lock": {"lock": "0" * 64},
        "python": {"python": "3.10"},
        "base": {"base": str(tmp_path / "gone")},
    }.items():
        (moved / ".venv/minibot-env.json").write_text(json.dumps(here | change))
        answers[name] = is_current(moved)

    assert answers == {
        "original": "True",
        "moved": "False",
        "adapted": "True",
        "format": "False",
        "lock": "False",
        "python": "False",
        "base": "False",
    }


def test_set_up_when_interrupted_starts_over_cleanly(tmp_path: Path, project: Path) -> None:
    """A killed set-up leaves no stamp, and the next start succeeds."""
    checkout = Checkout(tmp_path / "p", project)
    first = checkout.start("-c", "print('never')")
    wait_until((checkout.root / ".venv/pyvenv.cfg").exists, "the new environment")
    first.kill()
    first.communicate(timeout=DEADLINE_S)
    assert not checkout.stamp.exists()
    (checkout.root / ".venv/rubbish").write_text("left by the first")

    second = checkout.run("-c", "print('second')")

    assert (second.returncode, second.stdout) == (0, "second\n"), second.stderr
    assert not (checkout.root / ".venv/rubbish").exists()


def test_two_set_ups_at_once_make_one_environment_and_keep_a_foreign_one(
    tmp_path: Path, project: Path
) -> None:
    """A second set-up waits for the first; a foreign `.venv` is set aside."""
    checkout = Checkout(tmp_path / "p", project)
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv/mine").write_text("precious")

    starts = [checkout.start("-c", "print('fine')") for _ in range(2)]
    ends = [process.communicate(timeout=DEADLINE_S) for process in starts]

    assert [out for out, _ in ends] == ["fine\n", "fine\n"], ends
    assert "".join(err for _, err in ends).count("[1/5]") == 1
    assert (checkout.root / ".venv-aside-1/mine").read_text() == "precious"


def test_set_up_of_a_changed_package_is_refused(tmp_path: Path, project: Path) -> None:
    """A file that differs from its locked sha256 is not installed."""
    checkout = Checkout(tmp_path / "p", project)
    checkout.lock("0" * 64)

    result = checkout.run("-c", "print('never')")

    assert (result.returncode, result.stdout) == (2, "")
    assert "differs from its sha256" in result.stderr
    assert not checkout.stamp.exists()


def test_set_up_without_network_is_one_message(tmp_path: Path, project: Path) -> None:
    """A set-up without network exits 2 with one message and no stamp."""
    checkout = Checkout(tmp_path / "p", project)
    shutil.rmtree(checkout.wheels)

    result = checkout.run(
        "-c", "print('never')",
        PIP_NO_INDEX="0", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1",
    )  # fmt: skip

    assert (result.returncode, result.stdout) == (2, "")
    assert "no package index was reached" in result.stderr
    assert "Traceback" not in result.stderr
    assert not checkout.stamp.exists()


def test_changed_lock_under_a_running_program_is_refused_until_it_ends(
    tmp_path: Path, project: Path
) -> None:
    """A changed lock is refused under a running program, and applied afterwards.

    A lightgbm that does not load is a warning with the system's package.
    """
    if sys.platform == "win32":
        pytest.skip("Windows itself refuses to move a folder that holds a running program")
    broken = "no library"
    checkout = Checkout(tmp_path / "p", project, lightgbm=broken)
    night = checkout.start("-c", "print('up', flush=True); input()")
    assert night.stdout is not None
    assert night.stdout.readline() == "up\n"
    with (checkout.root / "requirements.lock").open("a") as lock:
        lock.write("# a newer lock\n")

    refused = checkout.run("-c", "print('never')")
    night.communicate("\n", timeout=DEADLINE_S)
    renewed = checkout.run("-c", "print('renewed')")

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "still runs" in refused.stderr
    assert (renewed.returncode, renewed.stdout) == (0, "renewed\n")
    assert "[1/5]" in renewed.stderr
    assert "lightgbm does not load" in renewed.stderr
    if sys.platform == "linux":
        assert "apt-get install libgomp1" in renewed.stderr


def test_deployment_that_was_cut_off_is_finished_before_anything_starts(ready: Checkout) -> None:
    """An interrupted deployment is finished before any import of half-new code."""
    sha256 = {data: hashlib.sha256(data).hexdigest() for data in (b"", b"NEW = 1\n")}
    work = ready.root / "staging/work/d1"
    (work / "new/minibot").mkdir(parents=True)
    (work / "new/minibot/__init__.py").write_bytes(b"NEW = 1\n")
    (work / "deployed.json").write_bytes(b"{}\n")
    entry = {
        "path": "minibot/__init__.py",
        "sha256": sha256[b"NEW = 1\n"],
        "old_sha256": sha256[b""],
    }
    journal = ready.root / "staging/deploying.json"
    journal.write_text(json.dumps({"id": "d1", "files": [entry]}))

    result = ready.run("-c", "import minibot; print(minibot.NEW)")

    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr
    assert "completed" in result.stderr
    assert not journal.exists()


def run_patched(tool: Path, patch: str) -> subprocess.CompletedProcess[str]:
    """Run the tool in a patched interpreter."""
    script = (
        f"import runpy, sys; {patch}; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [base_python(), "-c", script, str(tool), "-c", "print('never')"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)


@pytest.mark.row("S-10")
def test_old_python_is_told_its_age_and_what_to_run(tmp_path: Path, project: Path) -> None:
    """Python 3.8 gets one message and exit 2 before any newer import."""
    checkout = Checkout(tmp_path / "p", project)

    result = run_patched(checkout.root / "tools/with_env.py", "sys.version_info = (3, 8, 18)")

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("with_env: needs Python 3.11+, found 3.8 at ")
    assert "python3.11 tools/with_env.py" in result.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.row("S-10")
def test_entry_can_be_read_by_an_old_python(project: Path) -> None:
    """The entry file has no syntax newer than Python 3.5."""
    source = (project / "tools/with_env.py").read_text(encoding="utf-8")

    tree = ast.parse(source, feature_version=(3, 5))

    younger = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.Match)
    assert [node for node in ast.walk(tree) if isinstance(node, younger)] == []
    assert "from __future__" not in source
    annotated = [
        node.annotation
        for node in ast.walk(tree)
        if isinstance(node, ast.arg) and node.annotation is not None
    ]
    assert all(isinstance(node, ast.Constant | ast.Name) for node in annotated)


def test_python_without_venv_names_the_package(tmp_path: Path, project: Path) -> None:
    """A Python without venv, as Debian's, gets the name of the missing package."""
    checkout = Checkout(tmp_path / "p", project)

    result = run_patched(checkout.root / "tools/with_env.py", "sys.modules['ensurepip'] = None")

    assert (result.returncode, result.stdout) == (2, "")
    assert f"python3.{sys.version_info[1]}-venv" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.row("N-124")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="there path files are UTF-8")
def test_folder_with_letters_outside_the_code_page_is_refused_before_anything_is_fetched(
    tmp_path: Path, project: Path
) -> None:
    """A name that Python could not read later, as of a Russian folder in cp1252, is one message."""
    checkout = Checkout(tmp_path / "\u043d\u043e\u0447\u044c", project)
    patch = "import locale; locale.getencoding = lambda: 'cp1252'"

    result = run_patched(checkout.root / "tools/with_env.py", patch)

    assert (result.returncode, result.stdout) == (2, "")
    assert "letters outside cp1252" in result.stderr
    assert not (checkout.root / ".venv").exists()


def test_interrupt_during_set_up_ends_pip_and_says_so(tmp_path: Path, project: Path) -> None:
    """SIGTERM during a set-up leaves one line, no stamp and no pip."""
    if sys.platform == "win32":
        pytest.skip("Windows has no SIGTERM")
    checkout = Checkout(tmp_path / "p", project)
    process = checkout.start("-c", "print('never')")
    assert process.stderr is not None
    for line in process.stderr:
        if "[2/5]" in line:
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=DEADLINE_S)

    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert not checkout.stamp.exists()


def test_help_and_no_arguments_need_no_guessing(ready: Checkout) -> None:
    """--help shows the commands; without arguments the tool says that all is ready."""
    told = ready.run("--help")
    made = ready.run()

    assert "tools/with_env.py -m pytest" in told.stdout
    assert (told.returncode, made.returncode) == (0, 0)
    assert "ready" in made.stderr


def test_lock_names_every_direct_requirement_with_hashes_and_no_address(project: Path) -> None:
    """Each requirement of pyproject.toml is locked; every file has a sha256; no index is named."""
    files = [project / "requirements.lock", project / "requirements-dev.lock"]
    running, checks = (file.read_text(encoding="utf-8") for file in files)
    lock = running + checks
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*settings["dependencies"], *settings["optional-dependencies"]["dev"]]

    locked = {line.split("==")[0] for line in lock.splitlines() if "==" in line[:60]}
    entries = [part for part in lock.split("\n") if part and not part.startswith(("#", " "))]

    assert {name.split(";")[0].strip() for name in wanted} <= locked
    assert set(settings["dependencies"]) <= {line.split("==")[0] for line in running.splitlines()}
    assert not {"scipy", "pytest", "mypy", "optuna"} & {
        line.split("==")[0] for line in running.splitlines()
    }
    assert lock.count("--hash=sha256:") > len(entries)
    assert all("==" in entry and entry.endswith("\\") for entry in entries)
    assert not any(word in lock for word in ("://", "index-url", "find-links"))
    assert not re.search(r"(^|[\s=@'\"])/\w", lock), "a path of a machine"


def test_set_up_checks_the_imports_of_every_runtime_requirement(project: Path) -> None:
    """Every runtime requirement's import is checked."""
    settings = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {"websocket-client": "websocket", "jsonschema-rs": "jsonschema_rs"}
    direct = [*settings["dependencies"], *settings["optional-dependencies"]["feather"]]
    wanted = {modules.get(name, name) for name in direct}

    assert wanted == set(STUBS) | {"lightgbm"}
