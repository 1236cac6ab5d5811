"""Compiled build: made from the present sources, and refused when it is stale."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from minibot import compiled
from minibot.backtest.search.assumptions import review_of
from minibot.backtest.search.backtest_job import Job
from minibot.features.lossless import float_text
from minibot.runtime.configuration.config import load_config
from tools import compile as builder
from tools import training

PROJECT = Path(__file__).resolve().parents[2]
NOT_HERE = builder.missing_of_system()
LOSSLESS = "minibot/features/lossless.py"
USE = """
import sys
from pathlib import Path

from minibot import compiled

compiled.take_into_use(Path(sys.argv[1]))
from minibot.features import lossless

print(lossless.__file__, lossless.float_text(0.1))
"""


def test_compiled_modules_stand_and_none_is_a_role() -> None:
    """Compiled modules exist, and none of them is a role's shell."""
    names = builder.sources()

    assert len(names) == len(set(names)) > 40
    assert [name for name in names if not (PROJECT / name).is_file()] == []
    assert [name for name in names if name.startswith(("minibot/kernel", "minibot/runtime"))] == []
    assert {"minibot/risk/core.py", "minibot/execution/fills.py"} <= set(names)


def test_build_of_other_sources_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build counts for exactly the sources from which it was made."""
    monkeypatch.setattr(compiled, "PROJECT", tmp_path)
    source = tmp_path / "one.py"
    source.write_text("x = 1\n", encoding="utf-8", newline="\n")
    build = tmp_path / "build"
    build.mkdir()
    assert "no build" in str(compiled.stale(build))
    digest = hashlib.sha256(b"x = 1\n").hexdigest()
    library = hashlib.sha256(b"library").hexdigest()
    (build / "one.so").write_bytes(b"library")
    record: dict[str, dict[str, str]] = {
        "sources": {"one.py": digest},
        "modules": {"one": "one.so"},
    }
    (build / compiled.RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert "does not list its libraries" in str(compiled.stale(build))
    record["libraries"] = {"one.so": library}
    (build / compiled.RECORD).write_text(json.dumps(record), encoding="utf-8")
    assert compiled.stale(build) is None

    source.write_text("x = 2\n", encoding="utf-8", newline="\n")

    assert "one.py is not what the build" in str(compiled.stale(build))


@pytest.mark.process
def test_switch_without_a_build_is_refused_with_what_to_do() -> None:
    """Compiled cores without a build for this Python are refused with a remedy."""
    unbuilt = "import sys; sys.implementation.cache_tag = 'unbuilt-0'; import minibot"
    done = subprocess.run(
        [sys.executable, "-B", "-c", unbuilt],
        cwd=PROJECT,
        env={**os.environ, compiled.SWITCH: "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "python -m tools.compile" in done.stderr


def test_compiler_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing C compiler is named with the package to install."""
    monkeypatch.setattr(builder, "stale", lambda folder: "there is no build")
    monkeypatch.setattr(builder, "missing", lambda: "a C compiler (cc; Debian: gcc libc6-dev)")

    assert builder.main([]) == 2
    assert "gcc" in capsys.readouterr().err


@pytest.mark.parametrize("package", builder.PACKAGES)
def test_package_that_is_missing_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that compiling needs is named with the command that installs it."""
    monkeypatch.setattr(builder, "find_spec", lambda name: None if name == package else name)

    told = builder.missing()

    assert told is not None
    assert package in told
    assert "tools/with_env.py" in told


@pytest.mark.process
def test_build_that_takes_too_long_is_ended_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slow machine's user reads of the quicker way, not a traceback; no build is left."""
    monkeypatch.setattr(builder, "build_folder", lambda: tmp_path / "compiled")
    monkeypatch.setattr(builder, "missing", lambda: None)
    monkeypatch.setattr(builder, "COMPILE_S_MAX", 0.01)

    assert builder.main([]) == 1

    assert "--quick" in capsys.readouterr().err
    assert not (tmp_path / "compiled").exists()


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="needs a C compiler, which Windows lacks at first")
@pytest.mark.skipif(NOT_HERE is not None, reason=f"needs {NOT_HERE}")
def test_module_is_compiled_and_taken_into_use(tmp_path: Path) -> None:
    """The environment of the lock files compiles a module, which is then used instead."""
    build = [sys.executable, "-m", "tools.compile", "--into", str(tmp_path), LOSSLESS]
    done = subprocess.run(build, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    used = subprocess.run(
        [sys.executable, "-c", USE, str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert used.returncode == 0, used.stderr
    file, _, text = used.stdout.strip().partition(" ")
    assert Path(file).is_relative_to(tmp_path)
    assert text == float_text(0.1)


@pytest.mark.process
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell: the compiler is a script")
@pytest.mark.parametrize(
    ("defined", "is_counting"),
    [
        ("#define __GNUC__ 12", True),
        ("#define __GNUC__ 4\n#define __clang__ 1", False),
        ("#define __TINYC__ 928", False),
    ],
)
def test_profile_is_asked_of_gcc_alone(
    defined: str, is_counting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Profiles are used with GCC alone, not with Clang under its name."""
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\ncat <<'END'\n{defined}\nEND\n", encoding="utf-8")
    compiler.chmod(0o755)
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: f"{compiler} -pthread")

    assert builder.counts_ways() is is_counting


class Restorer(pickle.Unpickler):
    """Unpickler that notes the modules of all classes and functions."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.modules: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """Note the module of a class or function."""
        self.modules.add(module)
        return super().find_class(module, name)


def test_result_of_a_worker_holds_no_object_of_a_compiled_module() -> None:
    """A compiled object could not be restored, so a review crosses to its reader without any."""
    job = Job(("tape:demo",), load_config("config/nore-demo.v1.json").raw)
    review = review_of(job)

    restorer = Restorer(pickle.dumps(review))
    restored = restorer.load()

    names = {name.removesuffix(".py").replace("/", ".") for name in builder.sources()}
    assert restorer.modules & names == set()
    assert restored.figures == review.figures
    assert restored.result.equity_start == review.result.performance.equity_start > 0


def test_training_runs_every_core() -> None:
    """The training runs orders, bars, portfolios and digests of every core."""
    told = training.train(ticks=3_000, bars=600, steps=400)

    assert len(told) == len(training.TICK_CASES) + 1 + len(training.PORTFOLIOS)
    assert min(fills for fills, _ in told) > 0
