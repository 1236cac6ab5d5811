"""Model files from strangers: accepted and refused texts of the structural check."""

from __future__ import annotations

import functools
import io
import pickle
import re
import subprocess
import sys
import textwrap

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minibot.ai.model_text import (
    ModelRefused,
    check_model_text,
    cut_behind_trees,
)
from tests.ai.ai_rows import model_text
from tests.waiting import DEADLINE_S


@functools.cache
def good() -> str:
    """Valid model text."""
    return model_text()


def refusal(text: str) -> str:
    """Return the reason for refusing a text; fail when it is accepted."""
    with pytest.raises(ModelRefused) as caught:
        check_model_text(text)
    return str(caught.value)


def replaced(old: str, new: str) -> str:
    """Return the valid model with one place changed."""
    assert old in good()
    return good().replace(old, new, 1)


def resized(text: str) -> str:
    """Return a text with corrected tree_sizes, as a careful attacker would write it."""
    header, _, rest = text.partition("\n\n")
    body = rest[: -len("end of trees\n")]
    blocks = [f"Tree={part}" for part in body.split("Tree=")[1:]]
    lines = header.split("\n")
    lines[-1] = "tree_sizes=" + " ".join(str(len(block)) for block in blocks)
    return "\n".join(lines) + "\n\n" + rest


def test_model_of_lightgbm_is_accepted_with_its_counts() -> None:
    """A model of our own trainer is accepted, tree by tree, with its counts."""
    shape = check_model_text(good())
    assert shape.trees == 15
    assert shape.leaves == sum(int(count) for count in re.findall(r"num_leaves=(\d+)", good()))


@pytest.mark.row("F137")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("left_child", "99"),
        ("right_child", "-99"),
        ("num_leaves", "9999999"),
        ("num_leaves", "-2"),
        ("num_leaves", "0"),
        ("num_cat", "1"),
        ("decision_type", "1"),
        ("decision_type", "12"),
        ("is_linear", "1"),
        ("split_feature", "19"),
        ("split_feature", "-1"),
        ("threshold", "nan"),
        ("threshold", "1e13"),
        ("leaf_value", "inf"),
        ("leaf_value", "-9e99"),
        ("leaf_count", "1.5"),
        ("shrinkage", "2"),
        ("internal_weight", "0x10"),
        ("Tree", "7"),
    ],
)
def test_model_with_one_bad_value_is_refused_by_name(name: str, value: str) -> None:
    """A bad value (child, count, category, NaN) is refused by name before the native parser."""
    text = re.sub(rf"\n{name}=[^ \n]+", f"\n{name}={value}", good(), count=1)
    assert text != good()

    message = refusal(resized(text))

    assert message.startswith("tree 0: ")
    assert name in message


@pytest.mark.parametrize("name", ["leaf_value", "threshold", "left_child", "internal_count"])
def test_model_with_a_value_too_many_is_refused(name: str) -> None:
    """A list longer than its count is refused, as it would be read out of bounds."""
    assert f"{name}: expected" in refusal(resized(replaced(f"{name}=", f"{name}=1 ")))


def test_model_with_more_trees_than_it_declares_is_refused() -> None:
    """Declared tree sizes must cover the whole body, to the last byte."""
    sizes = re.search(r"tree_sizes=(\d+ \d+ \d+)", good())
    assert sizes is not None
    text = re.sub(r"tree_sizes=[^\n]+", f"tree_sizes={sizes[1]}", good())
    assert "declared" in refusal(text)


def test_model_with_an_extra_line_is_refused() -> None:
    """A tree block with a line beyond its fixed ones is refused."""
    assert "extra" in refusal(resized(replaced("shrinkage=1", "shrinkage=1\nextra=1")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version=v4", "version=v5"),
        ("num_class=3", "num_class=4"),
        ("label_index=0", "label_index=1"),
        ("max_feature_idx=18", "max_feature_idx=1000000"),
        ("objective=multiclass", "objective=regression"),
        ("return_1_bps", "return_2_bps"),
        ("feature_infos=[", "feature_infos=[9e99:"),
        ("tree_sizes=", "tree_sizes=1 "),
        ("tree_sizes=", "tree_sizes=99999999 "),
        ("end of trees", "end of treez"),
    ],
)
def test_model_with_a_foreign_header_is_refused(old: str, new: str) -> None:
    """A header with another version, class, feature or size is refused."""
    refusal(replaced(old, new))


def two_leaves(left: str, right: str, inner: int = 2) -> str:
    """Return the valid model with its first tree's children rewritten to a given shape."""
    start, end = good().index("Tree=0\n"), good().index("Tree=1\n")
    zeros = " ".join(["0"] * inner)
    leaves = " ".join(["0"] * (inner + 1))
    block = (
        f"Tree=0\nnum_leaves={inner + 1}\nnum_cat=0\nsplit_feature={zeros}\nsplit_gain={zeros}\n"
        f"threshold={zeros}\ndecision_type={zeros}\nleft_child={left}\nright_child={right}\n"
        f"leaf_value={leaves}\nleaf_weight={leaves}\nleaf_count={leaves}\ninternal_value={zeros}\n"
        f"internal_weight={zeros}\ninternal_count={zeros}\nis_linear=0\nshrinkage=1\n\n\n"
    )
    return resized(good()[:start] + block + good()[end:])


def test_tree_shapes_only_a_real_tree_is_accepted() -> None:
    """A real tree is accepted; a cycle or a shared leaf is refused."""
    check_model_text(two_leaves("1 -1", "-3 -2"))
    assert "points back" in refusal(two_leaves("0 -1", "-3 -2"))
    assert "points back" in refusal(two_leaves("1 0", "-3 -2"))
    assert "reached twice" in refusal(two_leaves("1 -1", "-1 -2"))
    assert "reached twice" in refusal(two_leaves("-1 -1", "-3 -2"))


@pytest.mark.row("F136")
def test_pickle_is_refused_and_never_loaded() -> None:
    """A pickle is refused as text and never loaded, so its code never runs."""
    stream = io.BytesIO()
    pickle.dump({"model": 1}, stream)
    refusal(stream.getvalue().decode("latin-1"))
    refusal("cos\nsystem\n(S'touch /tmp/x'\ntR.")


@pytest.mark.process
def test_model_path_imports_no_code_carrying_module() -> None:
    """Loading, checking and running a model imports no module that carries code."""
    script = """
        import sys
        import minibot.ai.nore_ai_worker_v1
        print(sorted({"pickle", "joblib", "torch", "dill", "shelve"} & set(sys.modules)))
    """
    ended = subprocess.run(
        [sys.executable, "-I", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert ended.stdout.strip() == "[]"


def test_model_that_is_huge_is_refused_at_once() -> None:
    """A huge model is refused before it is parsed."""
    assert "longer than" in refusal("tree\n" + "x" * (5 << 20))


def test_text_behind_the_trees_is_refused_but_can_be_cut() -> None:
    """Text behind the trees is refused, and accepted once it is cut off."""
    longer = good() + "\nfeature_importances:\nreturn_1_bps=1\n"
    refusal(longer)
    assert cut_behind_trees(longer) == good()


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 10**9), character=st.characters(max_codepoint=255))
@example(position=0, character="\x80")
def test_model_with_one_changed_character_never_crashes_the_check(
    position: int, character: str
) -> None:
    """A change of one character is accepted or raises ModelRefused, nothing else."""
    text = good()
    at = position % len(text)
    changed = text[:at] + character + text[at + 1 :]
    try:
        check_model_text(changed)
    except ModelRefused:
        return
    # A change that is still accepted lies in a digit or sign of a number.
    assert changed == text or character in "0123456789-.e+"


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_model_with_shuffled_lines_never_crashes_the_check(data: st.DataObject) -> None:
    """Deleted, doubled or swapped lines end in a refusal."""
    lines = good().split("\n")
    start = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(start + 1, len(lines)))
    target = data.draw(st.integers(0, len(lines)))
    moved = lines[:target] + lines[start:end] + lines[target:]
    text = resized_or_same("\n".join(moved))
    if text != good():
        refusal(text)


def resized_or_same(text: str) -> str:
    """Return the text with right sizes where its form still allows it."""
    return resized(text) if "\n\n" in text and text.endswith("end of trees\n") else text
