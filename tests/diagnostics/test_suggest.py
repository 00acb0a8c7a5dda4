"""Did-you-mean finds what was meant, stays silent otherwise, and is quick."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homespec.diagnostics.suggest import MAX_TYPOS, closest, edits, listing

TASKS = ["click", "long_view", "finish", "like", "comment", "follow", "forward", "like_comment"]
KEYS = ["hidden", "width", "norm", "activation", "hidden_activation", "norm_eps", "meta", "task"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("clik", "click"),
        ("clcik", "click"),
        ("clickk", "click"),
        ("Click", "click"),
        ("CLICK", "click"),
        ("finihs", "finish"),
        ("longview", "long_view"),
        ("long-view", "long_view"),
        ("longView", "long_view"),
        ("view_long", "long_view"),
        ("lnog_veiw", "long_view"),
        ("comments", "comment"),
        ("lik", "like"),
        ("likes", "like"),
        ("comment_like", "like_comment"),
        ("forwrad", "forward"),
        ("folow", "follow"),
    ],
)
def test_tasks(name: str, meant: str) -> None:
    assert closest(name, TASKS) == meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("hiden", "hidden"),
        ("activ", "activation"),
        ("normalization", "norm"),
        ("eps", None),
        ("metas", "meta"),
        ("tasks", "task"),
        ("widht", "width"),
        ("hidden activation", "hidden_activation"),
    ],
)
def test_keys(name: str, meant: str | None) -> None:
    assert closest(name, KEYS) == meant


@pytest.mark.parametrize(
    ("name", "meant"), [("colums", "columns"), ("dim", "din"), ("HS00", "HS007")]
)
def test_among_equals_the_ends_count(name: str, meant: str) -> None:
    assert closest(name, ["column", "columns", "din", "sim", "HS010", "HS007"]) == meant


@pytest.mark.parametrize("name", ["dropout", "x", "", "é", "a" * 1000, "watch_time", "click"])
def test_nothing_near(name: str) -> None:
    others = [task for task in TASKS if task != name]
    assert closest(name, others) is None


def test_first_of_equals() -> None:
    assert closest("ab1", ["ab2", "ab3"]) == "ab2"
    assert closest("x", []) is None


@pytest.mark.parametrize(
    ("a", "b", "number"),
    [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("abc", "xbc", 1),
     ("abcd", "badc", 2), ("kitten", "sitting", 3), ("ab", "cdefgh", 4), ("abcd", "efgh", 4)],
)  # fmt: skip
def test_edits(a: str, b: str, number: int) -> None:
    assert edits(a, b, 3) == edits(b, a, 3) == number


@given(st.text("ab", max_size=6), st.text("ab", max_size=6))
def test_edits_are_few_enough_or_too_many(a: str, b: str) -> None:
    assert min(edits(a, b, 6), 3) == edits(a, b, 2)


@given(st.text(max_size=8), st.lists(st.text(max_size=8)))
def test_suggests_a_candidate(name: str, candidates: list[str]) -> None:
    assert closest(name, candidates) in [None, *candidates]
    assert closest(name, candidates) != name


@given(st.sampled_from([t for t in TASKS if len(t) > 5]), st.data())
def test_one_typo_is_always_found(task: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(task) - 1))
    letter = data.draw(st.sampled_from(["", "q", task[at] + "q"]))
    assert closest(task[:at] + letter + task[at + 1 :], TASKS) == task


def test_quick_for_made_up_names() -> None:
    names = ["".join("ab"[i >> bit & 1] for bit in range(12)) * 5 for i in range(4096)]
    began = time.process_time()
    for name in names[:50]:
        closest("b" + name[1:], names)
    assert time.process_time() - began < 2
    assert MAX_TYPOS == 3


def test_listing() -> None:
    assert listing([]) == ""
    assert listing(["a"]) == "`a`"
    assert listing(["a", "b"]) == "`a` and `b`"
    assert listing("abc") == "`a`, `b` and `c`"
    assert listing("abcdefgh") == "`a`, `b`, `c`, `d`, `e`, `f`, `g` and `h`"
    assert listing("abcdefghi", 8) == "`a`, `b`, `c`, `d`, `e`, `f`, `g` and 2 more"
