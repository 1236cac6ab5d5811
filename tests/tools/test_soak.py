"""Soak: its arithmetic and its list of faults; a whole soak is a command of hours."""

from __future__ import annotations

import re

import pytest

from minibot.runtime.paths import PROJECT
from tools.soak import parser
from tools.soak_faults import FAULTS
from tools.soak_samples import Sample, Samples, slope_mb_per_h


def _growing(pid: int, first_s: float, mb_per_h: float, count: int = 10) -> list[Sample]:
    return [
        Sample(
            at_s=first_s + 60 * number,
            pid=pid,
            age_s=120 + 60 * number,
            rss_mb=40 + mb_per_h * (first_s + 60 * number) / 3600,
            cpu_s=number,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("mb_per_h", [0.0, 12.5, -3.0])
def test_slope_of_memory_is_what_it_grows_in_an_hour(mb_per_h: float) -> None:
    """A straight line has its own slope."""
    assert slope_mb_per_h(_growing(1, 0, mb_per_h)) == pytest.approx(mb_per_h)


def test_slope_of_too_few_looks_is_nothing() -> None:
    """Two samples have no slope."""
    assert slope_mb_per_h(_growing(1, 0, 100.0)[:2]) == 0


def test_samples_leave_young_processes_out_and_know_the_longest_life() -> None:
    """Young processes are left out, and each restart is a process of its own."""
    samples = Samples()
    young = Sample(0, 1, 5.0, 10, 1.0)
    samples.by_name["risk_role"] = [young, *_growing(1, 60, 0, 3), *_growing(2, 600, 0, 8)]

    assert young not in samples.warm("risk_role")
    assert {sample.pid for sample in samples.longest_life("risk_role")} == {2}
    assert samples.cpu_s("risk_role") == 2 + 7


def test_every_fault_of_the_soak_is_one_of_the_catalogue() -> None:
    """Every fault has a unique name and stands in the catalogue."""
    known = set(re.findall(r"\bF\d{2,3}\b", (PROJECT / "docs/reference/faults.md").read_text()))
    names = [fault.name for fault in FAULTS]

    assert len(names) == len(set(names))
    assert {id_ for fault in FAULTS for id_ in fault.ids.split()} <= known


def test_soak_help_names_how_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """The help says how a soak can be ended."""
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(["--help"])

    assert caught.value.code == 0
    assert "SIGTERM" in capsys.readouterr().out
