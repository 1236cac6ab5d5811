"""Compile the cores with mypyc: `python -m tools.compile`, optional, no source file changes.

    python -m tools.compile            build/compiled/<this Python>, unless it stands already
    python -m tools.compile --force    anew
    python -m tools.compile --quick    anew if need be, once and without a profile
    MINIBOT_COMPILED=1 minibot replay latest      uses it; the digest is the same

GCC compiles twice: a short run of the first build counts its branches (`tools.training`), and the
second build is laid out by these counts. Both compute the same results. Other compilers build once.
Needs a C compiler and Python's headers. Exit code 2 where they are missing, 1 where the build
failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from minibot.compiled import PROJECT, RECORD, build_folder, stale

ROOMS: Final = ("features", "risk", "execution")
STRATEGIES: Final = (
    "bar_indicators",
    "bars",
    "selection",
    "core",
    "decision",
    "declaration",
    "examples/ema_cross",
    "examples/rsi_band",
    "state_codec",
    "nore_evaluation",
    "nore_strategy_v1",
    "nore_explanation",
    "parameters",
    "position",
    "prices",
    "protocol",
    "readings",
    "rules",
    "signals",
    "tick",
    "view",
    "symbol_state",
)
"""Not what loads and judges the files of other people's strategies: it looks into classes."""
SHARED: Final = (
    "accounting/bookings",
    "accounting/entry_stops",
    "accounting/ledger",
    "accounting/lots",
    "accounting/order_rules",
    "accounting/performance",
    "accounting/portfolio",
    "accounting/references",
    "accounting/round_trips",
    "cores/closed_bar",
    "cores/event_id",
    "cores/finalize",
    "cores/messages",
    "cores/protocol",
    "cores/scaled_tick",
    "events/business_codes",
    "events/decimals",
    "events/ids",
    "events/money",
    "events/stop_codes",
)
OTHERS: Final = (
    "minibot/engine/bar_block.py",
    "minibot/engine/bar_rows.py",
    "minibot/engine/passed_ticks.py",
    "minibot/engine/portfolio_rows.py",
    "minibot/backtest/sources/bars.py",
    "minibot/engine/price_charts.py",
    "minibot/backtest/driver.py",
    "minibot/engine/intrabar.py",
    "minibot/engine/tick_block.py",
    "minibot/engine/tick_rows.py",
    "minibot/engine/walked_bars.py",
    "minibot/engine/walked_portfolio.py",
    "minibot/engine/decision_record.py",
    "minibot/engine/decisions.py",
    "minibot/engine/lockstep.py",
    "minibot/engine/lockstep_ports.py",
)
INTERPRETED: Final = frozenset({"__init__.py", "role.py"})
# One rounding for each operation, as in the interpreter: no fused multiply and add. No outside
# caller uses the library's symbols by name, so its internal calls are direct and can be inlined.
FLAGS: Final = ("-ffp-contract=off", "-fvisibility=hidden")
COUNTING: Final = ("-fprofile-generate={folder}", "-fprofile-update=single")
# Code that the training run never reached is compiled as usual, not for size. With counts, the
# compiler may warn about a path that it did not see before.
BY_COUNTS: Final = ("-fprofile-use={folder}", "-fprofile-partial-training", "-Wno-error")
PACKAGES: Final = ("mypyc", "setuptools")
COMPILE_S_MAX: Final = 1800.0
TRAINING_S_MAX: Final = 300.0


def sources() -> list[str]:
    """Return the files that are compiled, relative to the project."""
    found = [
        path.relative_to(PROJECT).as_posix()
        for room in ROOMS
        for path in sorted((PROJECT / "minibot" / room).glob("*.py"))
        if path.name not in INTERPRETED
    ]
    found += [f"minibot/strategies/{name}.py" for name in STRATEGIES]
    return [*found, *(f"minibot/{name}.py" for name in SHARED), *OTHERS]


def missing() -> str | None:
    """Return which package or part of a compiler is missing here, or None."""
    for package in PACKAGES:
        if find_spec(package) is None:
            return f"the package {package} (python3 tools/with_env.py -m tools.compile installs it)"
    return missing_of_system()


def missing_of_system() -> str | None:
    """Return which part of a C compiler is missing here, or None."""
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if os.name != "nt" and shutil.which(compiler) is None:
        return f"a C compiler ({compiler}; Debian: gcc libc6-dev)"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return f"Python.h in {sysconfig.get_path('include')} (Debian: python3-dev)"
    return None


def counts_ways() -> bool:
    """Return whether the compiler is a GCC, whose profiles are used here."""
    if os.name == "nt":
        return False
    compiler = (sysconfig.get_config_var("CC") or "cc").split()
    known = subprocess.run(
        [*compiler, "-dM", "-E", "-x", "c", os.devnull],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return "__GNUC__" in known and "__clang__" not in known


def build(folder: Path, *, is_quiet: bool = False, has_profile: bool = True) -> None:
    """Compile into a folder; the old build is replaced once the new one is whole.

    Args:
        folder: Target of the build.
        is_quiet: Print nothing.
        has_profile: Compile a second time, laid out by the counts of a training run, where the
            compiler can.

    Raises:
        OSError: The compiler or the training fails, and the message ends with its last output; or
            they are not done in time.
    """
    names = sources()
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    profile = ["--profile"] if has_profile and counts_ways() else []
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tools.compile", "--into", str(fresh), *profile, *names],
            cwd=PROJECT,
            env={name: value for name, value in os.environ.items() if name != "MINIBOT_COMPILED"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMPILE_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise OSError(
            f"compiling was not done after {COMPILE_S_MAX:.0f} s and was ended; try again when the "
            "machine is less busy, or with --quick, which compiles once"
        ) from late
    if done.returncode != 0:
        raise OSError(f"mypyc ended with {done.returncode}: {done.stdout.strip()[-1500:]}")
    shutil.rmtree(fresh / "temp")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    if not is_quiet:
        by = "by a profile" if profile else "without a profile"
        print(f"{len(names)} modules compiled {by} into {folder}")


def _record(into: Path, digests: dict[str, str]) -> None:
    """Record the hashes of the sources from which the libraries of a folder were built."""
    modules = {
        ".".join((*file.relative_to(into).parent.parts, file.name.partition(".")[0])): str(
            file.relative_to(into).as_posix()
        )
        for file in sorted([*into.rglob("*.so"), *into.rglob("*.pyd")])
    }
    libraries = {
        file: hashlib.sha256((into / file).read_bytes()).hexdigest() for file in modules.values()
    }
    record = {
        "sources": digests,
        "modules": modules,
        "libraries": libraries,
        "python": sys.version,
    }
    (into / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")


def _compile(into: Path, names: Sequence[str], *, has_profile: bool) -> None:
    """Run mypyc and the C compiler in a separate process."""
    from mypyc.build import mypycify

    # Hashed before mypyc reads them: a source that changes meanwhile makes the build stale.
    digests = {name: hashlib.sha256((PROJECT / name).read_bytes()).hexdigest() for name in names}
    options = ["--config-file", str(PROJECT / "pyproject.toml"), "--cache-dir", str(into / "temp")]
    extensions = mypycify(
        [*options, *names], opt_level="3", debug_level="0", target_dir=str(into / "temp" / "c")
    )
    for extension in extensions:
        if os.name != "nt":  # mypycify hands all extensions one list.
            extension.extra_compile_args = [*extension.extra_compile_args, *FLAGS]
    # One library holds all code; each other one only names a module.
    library = extensions[0]
    arguments = list(library.extra_compile_args)
    counts = into / "temp" / "counts"
    if has_profile:
        counting = [flag.format(folder=counts) for flag in COUNTING]
        library.extra_compile_args = [*arguments, *counting]
        library.extra_link_args = counting
    _link(into, extensions)
    _record(into, digests)
    if has_profile:
        train = [sys.executable, "-m", "tools.training", str(into)]
        subprocess.run(train, cwd=PROJECT, timeout=TRAINING_S_MAX, check=True)
        by_counts = [flag.format(folder=counts) for flag in BY_COUNTS]
        library.extra_compile_args, library.extra_link_args = [*arguments, *by_counts], []
        _link(into, [library])
        _record(into, digests)


def _link(into: Path, extensions: Sequence[Any]) -> None:
    """Run the C compiler and the linker over all extensions, whatever was built before."""
    from setuptools import Distribution  # type: ignore[import-untyped]
    from setuptools.command.build_ext import build_ext  # type: ignore[import-untyped]

    command = build_ext(Distribution({"name": "minibot", "ext_modules": list(extensions)}))
    command.build_lib, command.build_temp = str(into), str(into / "temp" / "o")
    command.force = True
    command.ensure_finalized()
    command.run()


def main(argv: Sequence[str] | None = None) -> int:
    """Compile where no current build exists."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.compile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--force", action="store_true", help="also where a fresh build stands")
    parser.add_argument("--quick", action="store_true", help="compile once, without a profile")
    parser.add_argument("--profile", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.into is not None:
        _compile(arguments.into, arguments.names, has_profile=arguments.profile)
        return 0
    folder = build_folder()
    if stale(folder) is None and not arguments.force:
        print(f"{folder} stands, from these sources")
        return 0
    absent = missing()
    if absent is not None:
        print(f"cannot compile: missing: {absent}", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        build(folder, has_profile=not arguments.quick)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{time.monotonic() - began:.0f} s; use it with MINIBOT_COMPILED=1")
    return 0


if __name__ == "__main__":
    sys.exit(main())
