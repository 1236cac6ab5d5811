"""Benchmark of the operator: its arithmetic, and what it says where a figure cannot be had."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minibot.kernel.files import write_hashed
from minibot.runtime.manifest import MANIFEST_FILE
from tools.bench import operator, operator_load
from tools.bench.frame import Measure
from tools.bench.operator import MEASURES, Plan
from tools.bench.operator_extras import closure, is_elsewhere
from tools.bench.operator_nights import NightError, copies, words_of
from tools.bench.operator_scale import median_interval, ratios, scaled


def test_figure_is_scaled_by_the_line_through_two_runs() -> None:
    """A start of two seconds is counted once, and not multiplied with the ticks."""
    assert scaled((0, 2.0), (100, 3.0), 1000) == pytest.approx(12.0)


def test_noise_does_not_make_a_longer_night_cheaper() -> None:
    """A larger run that was quicker by chance is not extrapolated below itself."""
    assert scaled((10, 3.0), (100, 2.0), 1000) == 2.0


def test_scaling_from_no_larger_run_is_refused() -> None:
    """Two runs of one length say nothing about a third."""
    with pytest.raises(ValueError, match="not larger"):
        scaled((100, 1.0), (100, 2.0), 1000)


def test_interval_of_twenty_pairs_is_from_the_sixth_to_the_fifteenth() -> None:
    """Twenty interleaved pairs leave five out on either side, and are 95.9 % sure."""
    low, high, sure = median_interval([float(each) for each in range(20, 0, -1)])

    assert (low, high) == (6.0, 15.0)
    assert sure == pytest.approx(0.9586, abs=1e-4)


@pytest.mark.parametrize(("count", "sure"), [(1, 0.0), (2, 0.5), (5, 0.9375), (6, 0.96875)])
def test_interval_of_few_pairs_is_all_of_them_and_says_how_sure_it_is(
    count: int, sure: float
) -> None:
    """Two pairs are no proof: their interval is 50 % sure, and the report says so."""
    values = [float(each) for each in range(count)]

    assert median_interval(values) == (0.0, count - 1.0, sure)


def test_pair_in_which_nothing_was_ordered_is_no_ratio() -> None:
    """A night without an order has no latency, so it is none of the pairs."""
    assert ratios([2.0, 0.0, 3.0], [1.0, 1.0, 0.0]) == [2.0]


def test_packages_of_an_extra_are_found_through_their_requirements() -> None:
    """Requirements of a package count with it, those of its own extras do not."""
    found = closure(["Requests>=2"])

    assert {"requests", "urllib3", "certifi"} <= found.keys()
    assert not {name for name in found if "socks" in name}
    assert closure(["no-such-package-here"]) == {"no-such-package-here": False}


@pytest.mark.parametrize("system", ["linux", "win32", "darwin"])
def test_requirement_of_another_system_is_left_out(
    system: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each system counts what is installed on it."""
    monkeypatch.setattr(sys, "platform", system)

    assert is_elsewhere(' sys_platform == "win32"') is (system != "win32")
    assert not is_elsewhere(' python_version >= "3.9"')


def test_copies_are_runs_of_their_own_and_share_the_queues(tmp_path: Path) -> None:
    """A hundred runs take the disk of one: every copy has its own manifest, none its own queue."""
    run = tmp_path / "runs" / "20261124_220000"
    (run / "queues").mkdir(parents=True)
    (run / "queues" / "inbox.jsonl").write_text("line")
    write_hashed(run / MANIFEST_FILE, {"run_id": run.name, "started_ms": 1})

    copies(run, tmp_path / "others", 2)

    made = sorted(path.name for path in (tmp_path / "others").iterdir())
    assert made == ["20261122_220000", "20261123_220000"]
    assert made[0] in (tmp_path / "others" / made[0] / MANIFEST_FILE).read_text()
    assert (run / "queues" / "inbox.jsonl").stat().st_nlink == 3


def test_section_of_a_profile_is_given_as_json(tmp_path: Path) -> None:
    """A section goes to `--set` as JSON, a plain value as it is."""
    words = words_of(tmp_path, {"page": {"port": 0}, "embedded.speed": "5"})

    assert words[-4:] == ["--set", 'page={"port": 0}', "--set", "embedded.speed=5"]


def test_without_the_extra_the_pairs_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without FastAPI no night is played, and the report names it."""
    monkeypatch.setattr(operator_load, "missing_packages", lambda names: "fastapi")

    found = [*MEASURES["O2"](Plan(1, tmp_path)), *MEASURES["O3"](Plan(1, tmp_path))]

    assert {measure.verdict for measure in found} == {"not measured"}
    assert all("fastapi" in note for measure in found for note in measure.notes)


def test_night_that_fails_is_a_row_without_a_figure(tmp_path: Path) -> None:
    """One night that ends early costs its row alone; the others are still measured."""

    def failing(plan: Plan) -> list[Measure]:
        raise NightError("the night ended before the chain works")

    (measure,) = operator.tried("O6", failing, Plan(1, tmp_path))

    assert (measure.id, measure.verdict) == ("O6", "not measured")
    assert "before the chain works" in measure.notes[0]


def test_every_row_of_the_table_has_its_measure() -> None:
    """The issue's nine rows stand in the bench, in their order."""
    assert list(operator.MEASURES) == [f"O{number}" for number in range(1, 10)]
