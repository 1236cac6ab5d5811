"""Documents, held against code, contracts and configuration."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from minibot.cli.main import verbs
from minibot.exchanges.binance import limits

ROW = re.compile(r"^\| (.+) \|$", re.MULTILINE)
DATE = re.compile(r"^20\d\d-\d\d-\d\d$")
PRIORITIES = [
    "Capital preservation", "Determinism", "Risk enforcement", "Backtest integrity", "Performance",
]  # fmt: skip
# X-37 does not exist; D-09 names thirteen documents in eight and five.
CONFLICTS = [f"X-{n:02d}" for n in range(1, 41) if n != 37]
HOLES = [f"U-{n:02d}" for n in range(1, 25)]
GOVERNING = [
    "governance", "risk rules", "schema master", "trading logic", "historical data",
    "local-first runtime", "model bundle", "production operations", "master spec", "roadmap",
    "architect decisions", "model assumptions", "operator control plane and kraken onboarding",
]  # fmt: skip
AREAS = [
    "connectors/binance", "stream_router", "features", "models", "scoring", "ranker", "explain_llm",
    "notifiers", "storage", "observability", "scripts", "tests", "docs", "configs", "core",
    "data manager", "ML engine", "scanner", "trader", "monitoring", "config",
]  # fmt: skip

# Generated pages, each with the words that say so, and the generated part of a page that is
# otherwise written by hand.
GENERATED = {
    "docs/FAULTS.md": "Written by `python -m tools.faults --write`",
    "docs/reference/commands.md": "`python -m tools.commands --write`",
    "docs/reference/config.md": "`python -m tools.config_schema --write`",
    "docs/reference/files.md": "`python -m tools.file_faults --write`",
    "docs/reference/pictures.md": "`python -m tools.pictures --write`",
    "docs/reference/reasons.md": "`python -m minibot.events.schemas`",
}
GENERATED_PART = re.compile("<!-- generated: .*?<!-- end of generated -->", re.DOTALL)
WORDS_MAX = 45_000
# Pages of the operator's evening and morning came after that bound, each with its own.
LATER_WORDS_MAX = {
    "docs/OPERATING.md": 2_000,
    "docs/MONITORING.md": 400,
    "docs/COMING_FROM.md": 1_000,
}


def read(project: Path, name: str) -> str:
    """Return a document's text."""
    return (project / name).read_text(encoding="utf-8")


def tables(text: str) -> list[list[str]]:
    """Return the cells of every table row."""
    return [[cell.strip() for cell in row.split(" | ")] for row in ROW.findall(text)]


@pytest.mark.row("S-01")
def test_decisions_have_a_date_and_a_reason_for_every_conflict_and_hole(project: Path) -> None:
    """Each conflict of the specifications and each hole has a dated decision with its reason."""
    rows = {row[0]: row for row in tables(read(project, "docs/DECISIONS.md")) if len(row) == 4}

    assert [name for name in [*CONFLICTS, *HOLES] if name not in rows] == []
    for name, row in rows.items():
        if re.match(r"[A-Za-z]+-\d\d$", name):
            assert DATE.match(row[1]), row
            assert len(row[2]) > 10, row
            assert len(row[3]) > 5, row


@pytest.mark.row("S-01")
def test_decisions_name_every_direct_dependency_with_licence_and_job(project: Path) -> None:
    """Each direct dependency is named with its licence and its task."""
    settings = tomllib.loads(read(project, "pyproject.toml"))["project"]
    wanted = [*settings["dependencies"], *settings["optional-dependencies"]["dev"]]
    rows = [row for row in tables(read(project, "docs/DECISIONS.md")) if len(row) == 7]
    named = {name for row in rows for name in row[0].split(", ")}

    assert set(wanted) <= named
    assert all(all(cell for cell in row) for row in rows)


@pytest.mark.row("D-10", "B-01", "B-84")
def test_priorities_stand_in_their_order(project: Path) -> None:
    """Priorities stand in order, capital preservation first; the decisions refer to the list."""
    section = read(project, "docs/SPEC.md").split("## Priorities")[1].split("\n## ")[0]
    order = re.findall(r"^(\d)\. ([A-Za-z ]+)", section, re.MULTILINE)
    decisions = read(project, "docs/DECISIONS.md")

    assert order == list(zip("12345", PRIORITIES, strict=True))
    assert "the earlier one wins" in section
    assert f"in their order: {', '.join(PRIORITIES).lower()}" in " ".join(decisions.split())
    cited = re.findall(r"[Pp]riority (\d+)", decisions)
    assert cited
    assert set(cited) <= set("12345")


@pytest.mark.row("S-02")
def test_spec_lists_exactly_the_contracts_that_are_implemented(project: Path) -> None:
    """The table of contracts equals the registry, type by type, with its writer."""
    listed = {
        row[0].strip("`"): row
        for row in tables(read(project, "docs/SPEC.md"))
        if len(row) == 3 and row[1].startswith("`contracts/")
    }
    registry = json.loads(read(project, "config/contracts.v1.json"))
    roles = json.loads(read(project, "config/roles.v1.json"))["roles"]

    assert set(listed) == set(registry["types"])
    for name, row in listed.items():
        assert (project / row[1].strip("`")).is_file()
        writers = {
            role for role, spec in roles.items() for w in spec["writes"].values() if name in w
        }
        if row[2].startswith("`"):
            assert {row[2].strip("`")} == writers, name
        elif row[2] == "every role":
            assert writers == set(roles), name


@pytest.mark.row("S-02")
def test_spec_maps_commands_to_verbs_that_exist_and_keeps_none_of_them_for_later(
    project: Path,
) -> None:
    """Each `minibot VERB` of the map exists, and none of them is called planned."""
    section = read(project, "docs/SPEC.md").split("## Command map")[1].split("\n## ")[0]
    rows = [row for row in tables(section) if len(row) == 3]
    words = {word for row in rows for word in re.findall(r"`minibot ([a-z-]+)", row[2])}
    to_come = " ".join(row[0] for row in rows if "come" in row[2] and "`minibot " not in row[2])

    assert words
    assert words - set(verbs()) == set()
    assert [verb for verb in verbs() if re.search(rf"\b{verb}\b", to_come)] == []


@pytest.mark.row("S-08", "B-14")
def test_package_map_gives_every_named_area_a_home(project: Path) -> None:
    """Each area that a specification names has one row in the package map."""
    section = read(project, "docs/SPEC.md").split("## Package map")[1].split("\n### ")[0]
    named = [name for row in tables(section) for name in row[0].split(", ")]

    assert [area for area in AREAS if named.count(area) != 1] == []


@pytest.mark.row("D-09")
def test_index_of_governing_documents_names_all_thirteen(project: Path) -> None:
    """Each of the thirteen names leads to a section; the link test proves that it exists."""
    rows = [row for row in tables(read(project, "docs/specs/README.md")) if "](" in row[-1]]
    names = [row[0].lower() for row in rows]

    assert len(rows) == 13
    assert [name for name in GOVERNING if not any(found.startswith(name) for found in names)] == []


@pytest.mark.row("D-17")
@pytest.mark.parametrize(
    "name",
    ["LICENSE", "Makefile", "README.md", "docker-compose.yml", "schema_bootstrap.sql",
     ".env.example", "pytest config", "dev requirements", "unified test runner"],
)  # fmt: skip
def test_root_file_exists_or_the_map_names_its_replacement(project: Path, name: str) -> None:
    """Each requested file has one row; a row that names a file names an existing one."""
    section = read(project, "docs/SPEC.md").split("### Root files")[1].split("\n## ")[0]
    (here,) = (row[1] for row in tables(section) if name in row[0].split(", "))
    files = [
        word
        for span in re.findall(r"`([^`]+)`", here)
        for word in span.split()
        if re.fullmatch(r"[\w./-]*[\w-]\.?\w*", word) and ("." in word or word.isupper())
    ]

    if here.startswith(("none", "comes with")):
        assert not (project / name).exists()
        assert len(here.split()) > 4
    else:
        assert files
        assert [file for file in files if not (project / file).exists()] == []


@pytest.mark.row("S-09")
@pytest.mark.parametrize("name", ["PRD", "ARCH", "LIMITS", "DATA_CONTRACTS", "SPEC", "STATE"])
def test_document_exists_and_says_something(project: Path, name: str) -> None:
    """The documents that the specifications ask for stand in docs/."""
    assert len(read(project, f"docs/{name}.md")) > 1_000


@pytest.mark.row("S-09")
def test_limits_quote_the_limits_that_the_code_uses(project: Path) -> None:
    """Weights, budgets and page sizes in the document equal the connector's."""
    text = read(project, "docs/LIMITS.md")
    rows = {row[0]: row[1] for row in tables(text) if len(row) == 3}

    def weight(path: str) -> str:
        return str(limits.weight_of(path, {}))

    assert rows["REST weight per address and minute"] == str(limits.WEIGHT_PER_MINUTE)
    assert rows["klines per answer"] == str(limits.KLINES_LIMIT_MAX)
    assert rows["weight of `/api/v3/exchangeInfo`"] == str(
        limits.weight_of(limits.EXCHANGE_INFO, {})
    )
    assert rows["weight of `/api/v3/klines`"] == weight(limits.KLINES)
    depths = [limits.depth_weight(levels) for levels in (100, 500, 1000, 5000)]
    assert ", ".join(map(str, depths)) in text
    assert all(f"`{path}`" in text for path in limits.HOSTS.paths)


@pytest.mark.row("S-09")
def test_limits_quote_the_values_of_the_night_profile(project: Path) -> None:
    """Values of ours in the document equal the night profile's."""
    section = read(project, "docs/LIMITS.md").split("## Of minibot")[1]
    profile = json.loads(read(project, "config/nore.v1.json"))

    checked = 0
    for _, value, where in (row for row in tables(section) if len(row) == 3):
        numbers = re.findall(r"\d+(?:,\d{3})*", value)
        for part, key in re.findall(r"`([a-z]+)\.([a-z0-9_]+)`", where):
            number = profile[part][key]
            forms = {str(number), f"{number:,}", str(number // 2**20), str(number // 10**6)}
            assert forms & set(numbers), f"{part}.{key} is {number}, the document says {value}"
            checked += 1

    assert checked >= 7


@pytest.mark.row("S-03")
def test_state_has_a_date_known_issues_and_what_nobody_has_run(project: Path) -> None:
    """The page of the state has a date, known issues and untested parts."""
    text = read(project, "docs/STATE.md")

    assert re.search(r"As of 20\d\d-\d\d-\d\d", text)
    assert "## Known issues" in text
    assert "## What nobody has run" in text
    for system in ("Windows", "macOS", "seven-hour night"):
        assert system in text.split("## What nobody has run")[1]


@pytest.mark.row("S-04")
def test_changelog_begins_with_the_version_of_the_package(project: Path) -> None:
    """The newest entry is the version that pyproject.toml builds, with its date."""
    text = read(project, "CHANGELOG.md")
    newest = re.search(r"^## (\S+) - (\S+)$", text, re.MULTILINE)
    version = tomllib.loads(read(project, "pyproject.toml"))["project"]["version"]

    assert newest is not None
    assert newest[1] == version
    assert DATE.match(newest[2])
    decided = [row[1] for row in tables(read(project, "docs/DECISIONS.md")) if len(row) == 4]
    dates = [date for date in decided if DATE.match(date)]
    # Decisions change what a user sees, so the newest entry is no older than the newest decision;
    # beside "Unreleased", which holds those of the version to come, no older than the first.
    unreleased = "\n## Unreleased\n" in text
    assert newest[2] >= (min(dates) if unreleased else max(dates))


@pytest.mark.row("D-44")
def test_readme_says_what_this_is_not(project: Path) -> None:
    """The readme names each thing that the product must not become."""
    section = read(project, "README.md").split("## What this is not")[1].split("\n## ")[0].lower()

    for word in ("discretionary", "playground", "leverage", "high-frequency", "fixed window",
                 "notebook", "real trading"):  # fmt: skip
        assert word in section


@pytest.mark.row("N-118", "S-48")
def test_readme_gives_the_commands_of_set_up_night_stop_and_tests(project: Path) -> None:
    """The readme gives a stranger every command and every exit code."""
    text = read(project, "README.md")

    for command in (
        "python3 tools/with_env.py -m minibot.nore_run_v1 --config config/nore-demo.v1.json",
        "python3 tools/with_env.py -m pytest",
        "py tools\\with_env.py",
        "python -m minibot.nore_run_v1 --config minibot/config/nore.v1.json",
        "minibot stop",
        "minibot kill --reason",
        "minibot clear-stop --reason",
        "minibot stage adopt",
    ):
        assert command in text
    assert "0 fine, 1 a check failed, 2 cannot run, 3 not running" in text.replace("\n", " ")


@pytest.mark.row("B-65", "S-13")
def test_suite_is_larger_than_the_baseline(project: Path) -> None:
    """More than sixty tests stand in the tree."""
    count = sum(
        len(re.findall(r"^\s*def test_", path.read_text(encoding="utf-8"), re.MULTILINE))
        for path in (project / "tests").rglob("test_*.py")
    )

    assert count > 60


@pytest.mark.process
def test_var_and_staging_stand_in_a_clone_and_hold_nothing(project: Path) -> None:
    """A clone has both folders, and git ignores all that a run writes."""
    command = ["git", "ls-files", "var", "staging"]
    listed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True)

    assert sorted(listed.stdout.split()) == ["staging/.gitkeep", "var/.gitkeep"]


def test_pages_written_by_hand_are_few_enough_to_be_read(project: Path) -> None:
    """Hand-written pages together stay within the bound of words.

    Records of reading tests (docs/reading) are evidence, not pages to be read, and do not count.
    """
    pages = [project / "README.md", project / "CHANGELOG.md", *(project / "docs").rglob("*.md")]
    texts = {
        page.relative_to(project).as_posix(): page.read_text("utf-8")
        for page in pages
        if page.parent.name != "reading"
    }
    for name, marker in GENERATED.items():
        assert marker in " ".join(texts.pop(name)[:400].split()), f"{name} is not a generated page"

    words = {name: len(GENERATED_PART.sub("", text).split()) for name, text in texts.items()}

    for name, most in LATER_WORDS_MAX.items():
        assert words.pop(name, 0) <= most, name
    assert sum(words.values()) <= WORDS_MAX, sorted(words.items(), key=lambda item: -item[1])
