"""Page of the exchange: endpoints, weights, faults and their tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from minibot.simulator.server.rest import ENDPOINTS
from minibot.simulator.server.service import Settings, make_server

PROJECT = Path(__file__).resolve().parents[2]
PAGE = (PROJECT / "docs" / "EXCHANGE.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_endpoint_is_on_the_page_with_its_parameters() -> None:
    """Every served endpoint is on the page with its parameters, and no other."""
    fields = {cells[0].strip("`"): cells for cells in rows("REST")}

    assert fields.keys() == ENDPOINTS.keys()
    for name, endpoint in ENDPOINTS.items():
        named = set(re.findall(r"`(\w+)`", fields[name][2]))
        if fields[name][2] != "the same":
            assert named == endpoint.allowed, name


@pytest.mark.parametrize("query", [{}, {"symbol": "BTCUSDT"}])
def test_weights_on_the_page_are_those_that_are_counted(query: dict[str, str]) -> None:
    """Weights on the page equal the counted ones, for one symbol and for all."""
    for cells in rows("REST"):
        told = {int(number) for number in re.findall(r"\d+", cells[1])}

        assert ENDPOINTS[cells[0].strip("`")].weight(query) in told


def test_every_fault_is_on_the_page_with_a_test_that_exists() -> None:
    """Every fault on the page names an existing test."""
    named = {cells[0].strip("`"): cells[3].strip("`") for cells in rows("Faults")}
    ordinary = PAGE.partition("| the facts ask for | test |")[2]
    files = (PROJECT / "tests" / "simulator").glob("test_*.py")
    tests = set(re.findall(r"^def (test_\w+)", "".join(f.read_text() for f in files), re.M))

    assert named.keys() == set(make_server(Settings(source="generator:1")).injector.names)
    assert set(named.values()) <= tests
    assert (told := set(re.findall(r"`(test_\w+)`", ordinary)))
    assert told <= tests
