"""tools.row_mutations: each row's break is noticed, and an unnoticed one is a finding."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tools import row_mutations, rows
from tools.row_mutations import Mutation, Unusable

PRODUCT = """\
class Till:
    def total(self, prices: list[int]) -> int:
        return sum(prices)

    def count(self, prices: list[int]) -> int:
        return len(prices)


def total(prices: list[int]) -> int:
    return sum(prices)
"""
TESTS = """\
import pytest
from minibot.till import Till


@pytest.mark.row("N-01")
def test_total() -> None:
    assert Till().total([1, 2]) == 3


@pytest.mark.row("N-02")
def test_nothing() -> None:
    Till().count([1])


@pytest.mark.row("N-03")
def test_elsewhere() -> None:
    pytest.skip("this machine has no till")
"""
TOTAL = "minibot.till:Till.total"


def mutation(at: str = TOTAL, old: str | None = "sum(prices)", test: str = "total") -> Mutation:
    """Return a mutation of the small product."""
    row = {"total": "N-01", "nothing": "N-02", "elsewhere": "N-03"}[test]
    return Mutation(row, "it breaks", at, old, "0", (f"tests/test_till.py::test_{test}",))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Small product with tests, laid out like this project."""
    for path, text in {
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-q -n 0"\npythonpath = ["."]\n'
        'markers = ["row(*ids): rows"]\n',
        "minibot/__init__.py": "",
        "minibot/till.py": PRODUCT,
        "tests/test_till.py": TESTS,
        "tools/nothing.py": "",
        "var/of_a_run": "",
    }.items():
        (tmp_path / "shop" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / path).write_text(text, encoding="utf-8")
    return tmp_path / "shop"


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of a tree."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_mutation_changes_the_named_function_alone(shop: Path) -> None:
    """A mutation changes the named function alone, and the result is Python."""
    for at, number in ((TOTAL, 0), ("minibot.till:total", 1)):
        text = row_mutations.mutated(shop, mutation(at))

        assert text is not None
        ast.parse(text)
        assert text.count("sum(prices)") == 1
        parts = PRODUCT.split("sum(prices)")
        assert text == ["0", "sum(prices)"][number].join(
            [parts[0], ["sum(prices)", "0"][number].join(parts[1:])]
        )


@pytest.mark.parametrize(
    ("at", "old", "why"),
    [
        ("minibot.till", "sum(prices)", "has its old text 2 times, expected 1"),
        (TOTAL, "len(prices)", "has its old text 0 times, expected 1"),
        ("minibot.till:Till.gone", "sum(prices)", "has no gone"),
        ("minibot.gone:total", "sum(prices)", "minibot/gone.py: no such file"),
        ("docs/gone.md", None, "docs/gone.md: no such file"),
    ],
)
def test_mutation_that_no_longer_applies_is_told(
    shop: Path, at: str, old: str | None, why: str
) -> None:
    """A mutation whose old text is gone is reported."""
    with pytest.raises(Unusable, match=r"expected 1|has no|no such file") as refusal:
        row_mutations.mutated(shop, mutation(at, old))

    assert why in str(refusal.value)


@pytest.mark.process
def test_mutations_are_played_in_copies_and_told_by_what_came_of_them(shop: Path) -> None:
    """Killed, surviving, skipped and stale mutations are reported as such."""
    before = contents(shop)
    played = [
        mutation(),
        mutation("minibot.till:Till.count", "len(prices)", "nothing"),
        mutation("minibot.till:Till.count", "len(prices)", "elsewhere"),
        mutation(TOTAL, "len(prices)"),
        mutation("minibot/till.py", None),
    ]

    red, verdicts = row_mutations.play(shop, played, workers=1)

    words = [verdict.word for verdict in verdicts]
    assert red == []
    assert words == ["killed", "SURVIVED", "SKIPPED", "DOES NOT APPLY", "NOT PLAYED"]
    assert contents(shop) == before


@pytest.mark.process
def test_tests_that_are_red_by_themselves_prove_nothing(shop: Path) -> None:
    """A test that fails without the mutation proves nothing and is reported."""
    (shop / "minibot/till.py").write_text(PRODUCT.replace("sum(prices)", "0"))
    played = [
        mutation("minibot.till:Till.total", "return 0"),
        mutation("minibot.till:Till.count", "len(prices)", "nothing"),
    ]

    red, verdicts = row_mutations.play(shop, played, workers=1)

    assert "test_total" in red[0]
    assert [verdict.word for verdict in verdicts] == ["RED BEFORE", "SURVIVED"]


def test_part_is_drawn_by_its_seed() -> None:
    """A seed draws the same mutations each time; without a number all are played."""
    many = [mutation(f"minibot.m{number}") for number in range(100)]

    assert row_mutations.drawn(many, None, 1) == many
    assert row_mutations.drawn(many, 200, 1) == many
    dozen = row_mutations.drawn(many, 12, 7)
    assert len(set(dozen)) == 12
    assert dozen == row_mutations.drawn(many, 12, 7)
    assert dozen != row_mutations.drawn(many, 12, 8)


@pytest.mark.parametrize(
    "entry",
    [
        'row = "N-01"',
        'row = "N-01"\nwhat = "w"\nat = "a"\nold = "x"\nnew = "x"\ntests = ["t"]',
        'row = "N-01"\nwhat = "w"\nat = "a"\nold = ""\nnew = "x"\ntests = ["t"]',
        'row = "N-01"\nwhat = "w"\nat = "a"\nold = "x"\nnew = "y"\ntests = []',
        'row = "N-01"\nwhat = "w"\nat = "a"\nremove = true\nold = "x"\ntests = ["t"]',
        'row = "N-01"\nwhat = "w"\nat = "a"\nold = "x"\nnew = "y"\ntests = ["t"]\nmore = 1',
    ],
)
def test_entry_that_lacks_something_or_changes_nothing_is_refused(
    tmp_path: Path, entry: str
) -> None:
    """An incomplete entry, or one without a change, is refused before copying."""
    (tmp_path / "tools").mkdir()
    (tmp_path / row_mutations.TABLE).write_text(f"[[mutation]]\n{entry}\n", encoding="utf-8")

    with pytest.raises(Unusable, match="N-01"):
        row_mutations.read_table(tmp_path)


@pytest.mark.slow
def test_table_of_this_project_applies_and_leaves_no_row_of_the_night_out(project: Path) -> None:
    """This project's table applies, and each row has a mutation or a reason."""
    table = row_mutations.read_table(project)
    wanted = rows.to_mutate(rows.read_rows(project / rows.ROWS))
    proven = rows.marks(project / "tests", project)

    assert row_mutations.complaints(table, proven, project, wanted) == []
    assert len(wanted) >= 124
    assert len(table.without) <= 5
    for one in table.mutations:
        if one.path.endswith(".py") and one.old is not None:
            ast.parse(row_mutations.mutated(project, one) or "")


def test_complaints_name_rows_without_mutation_or_reason_and_tests_of_another_row(
    shop: Path,
) -> None:
    """Rows without mutation or reason, unneeded reasons and foreign tests are named."""
    table = row_mutations.Table((mutation(test="nothing"),), {"N-02": "x", "N-09": "y"})
    proven = {"N-01": ("tests/test_till.py::test_total",)}

    found = row_mutations.complaints(table, proven, shop, ["N-02", "N-03"])

    stranger = "tests/test_till.py::test_nothing does not exist or does not name this row"
    assert found == [
        f"N-02 (it breaks): {stranger}",
        "N-02: has a mutation and a reason for having none",
        "N-03: has neither a mutation nor a reason for having none",
        "N-09: no row that could go without",
    ]
