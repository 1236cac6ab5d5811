"""Documents and lists beside the schemas: true to the code, each in its language."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibot.events.model import PAYLOAD_CLASSES
from minibot.events.reasons import END_GROUP, REASONS, STOP_GROUP, codes
from minibot.events.roles import Roles
from minibot.runtime.configuration.config_schema import known_keys

PROJECT = Path(__file__).resolve().parents[2]
RUSSIAN = PROJECT / "contracts" / "NORE_TZ_RU.md"
CYRILLIC = re.compile("[\u0400-\u04ff]")
TEXT_SUFFIXES = {".py", ".json", ".md", ".toml", ".yml", ".sh", ".txt", ".tsv", ".cfg", ".in"}


def tracked() -> Iterator[Path]:
    """Return every text file of the project, from git, or without git from its folders."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = done.stdout.splitlines()
    if done.returncode:
        folders = ("minibot", "config", "contracts", "tools", "tests", "docs")
        names = [str(path) for folder in folders for path in (PROJECT / folder).rglob("*")]
    for name in names:
        path = PROJECT / name
        if path.suffix in TEXT_SUFFIXES and path.is_file():
            yield path


@pytest.mark.process
@pytest.mark.row("N-13")
def test_project_is_english_but_for_the_russian_specification() -> None:
    """No Cyrillic letter stands in the project, except in the Russian specification."""
    found = [
        path.relative_to(PROJECT).as_posix()
        for path in tracked()
        if CYRILLIC.search(path.read_text(encoding="utf-8"))
    ]

    assert found == ["contracts/NORE_TZ_RU.md"]


def words_in_code_style() -> list[str]:
    return re.findall(r"`([^`\n]+)`", RUSSIAN.read_text(encoding="utf-8"))


@pytest.mark.row("N-117")
def test_russian_specification_is_russian_and_has_every_section() -> None:
    """The Russian specification is in Russian and has every section."""
    text = RUSSIAN.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    letters = re.findall(r"\w", text)

    assert len(headings) >= 15
    numbers = [re.match(r"(\d+)\. \S", heading) for heading in headings]
    assert [found and int(found[1]) for found in numbers] == list(range(1, len(headings) + 1))
    assert len(text.splitlines()) >= 200
    assert sum(bool(CYRILLIC.match(letter)) for letter in letters) > len(letters) / 2


@pytest.mark.row("N-117")
def test_russian_specification_names_only_what_exists() -> None:
    """Every reason code, file and key that the Russian specification names exists."""
    words = set(words_in_code_style())
    sections = {key.split(".")[0] for key in known_keys()}
    not_codes = {"HOLD", "BLOCK", "REDUCE", "STOP", "SELL", "END", "YYYYMMDD_HHMMSS"}
    code_words = {word for word in words if re.fullmatch(r"[A-Z]+(_[A-Z]+)*", word)} - not_codes
    keys = {word for word in words if word.split(".")[0] in sections and "." in word[1:]}
    files = {
        word
        for word in words
        if re.match(r"(config|contracts|docs|minibot)/\w+.*\.(json|md|py)$", word)
        and not word.startswith("minibot/config")
    }

    assert code_words <= set(REASONS)
    assert keys <= set(known_keys())
    assert len(files) > 10
    assert [name for name in sorted(files) if not (PROJECT / name).is_file()] == []


@pytest.mark.row("N-117")
def test_russian_specification_leaves_no_role_queue_stop_or_end_out() -> None:
    """Every role, queue, STOP code and outcome stands in the Russian specification."""
    words = set(words_in_code_style())
    roles = Roles.load(PROJECT / "config" / "roles.v1.json")

    assert set(roles.roles) | set(roles.queues) <= words
    assert set(codes(STOP_GROUP, END_GROUP)) <= words


@pytest.mark.row("S-15")
def test_data_contracts_page_shows_every_field_with_a_meaning() -> None:
    """Each field of each contract has a row with a meaning in DATA_CONTRACTS."""
    page = (PROJECT / "docs" / "DATA_CONTRACTS.md").read_text(encoding="utf-8")
    for type_ in ("envelope", *PAYLOAD_CLASSES):
        schema = json.loads(
            (PROJECT / "contracts" / f"{type_}.v1.schema.json").read_text(encoding="utf-8")
        )
        section = page.split(f"### `{type_}`")[1].split("\n### ")[0]
        for field, part in schema["properties"].items():
            assert re.search(rf"^\| (\*\*)?{field}(\*\*)? \| .+ \| .{{3,}} \|$", section, re.M), (
                field
            )
            assert part.get("description"), (type_, field)


@pytest.mark.row("S-15", "U-07")
def test_data_contracts_page_maps_every_field_of_a_market_event() -> None:
    """Each of a screener's six MarketEvent fields has its place in DATA_CONTRACTS."""
    page = (PROJECT / "docs" / "DATA_CONTRACTS.md").read_text(encoding="utf-8")
    table = page.split("## Where the fields of a MarketEvent are")[1].split("\n## ")[0]

    for field in ("ts", "source", "symbol", "type", "payload", "recv_ts"):
        assert re.search(rf"^\| `{field}`", table, re.M), field


@pytest.mark.row("D-57")
def test_universe_is_the_thirty_bases_in_their_order() -> None:
    """Universe V1 has exactly the thirty bases in order."""
    universe = json.loads((PROJECT / "config" / "universe.v1.json").read_text(encoding="utf-8"))

    assert ",".join(universe["bases"]) == (
        "BTC,ETH,BNB,XRP,SOL,TRX,ADA,BCH,XMR,LINK,XLM,HBAR,LTC,AVAX,ZEC,SUI,SHIB,TON,DOT,UNI,"
        "AAVE,TAO,NEAR,ETC,ICP,POL,KAS,ALGO,FIL,APT"
    )
