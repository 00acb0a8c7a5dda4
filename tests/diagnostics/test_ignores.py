"""Comments take warnings back, but not errors, and are checked themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

import homespec
from homespec.catalogue import all_rules
from homespec.diagnostics import Diagnostic, Finding
from homespec.ignores import apply_ignores
from homespec.source import Document, parse

RULES = {rule.name: rule for rule in all_rules().values()}
WARNING = "one-choice"
OTHER = "relu-without-norm"
ERROR = "unknown-member"


def at(document: Document, key: str, rule: str = WARNING) -> Diagnostic:
    finding = Finding(document.span((key,), key=True), "made up")
    return Diagnostic(RULES[rule], finding.span, finding.message)


def left(text: str, *places: tuple[str, str]) -> list[tuple[str, int]]:
    """What is left of made-up warnings (key, rule): name and line."""
    document = parse(text, "x.yaml")
    assert not document.diagnostics
    diagnostics = apply_ignores(document, [at(document, key, rule) for key, rule in places])
    return [(d.rule.name, d.span.start.line) for d in diagnostics]


@pytest.mark.parametrize(
    "comment",
    [
        "# homespec: ignore[one-choice]",
        "# homespec: ignore[HS305] because",
        "# homespec: ignore[ hs305 , one_choice ]",
        "#homespec:ignore[one-choice]",
        "# why it is so # homespec: ignore[one-choice]",
    ],
)
def test_same_line_and_line_above(comment: str) -> None:
    assert left(f"a: 1  {comment}\n", ("a", WARNING)) == []
    assert left(f"{comment}\na: 1\n", ("a", WARNING)) == []
    assert left(f"b: 1\n  {comment}\na: 1\n", ("a", WARNING)) == []


def test_several_comments_above() -> None:
    text = (
        "# homespec: ignore[one-choice] first\n# some words\n"
        "# homespec: ignore[relu-without-norm] second\na: 1\n"
    )
    assert left(text, ("a", WARNING), ("a", OTHER)) == []


def test_several_rules_in_one_comment() -> None:
    text = "a: 1 # homespec: ignore[one-choice, relu-without-norm]\n"
    assert left(text, ("a", WARNING), ("a", OTHER)) == []


def test_other_rule_and_other_line_stay() -> None:
    text = "a: 1 # homespec: ignore[one-choice]\nb: 2\n"
    assert left(text, ("a", WARNING), ("a", OTHER), ("b", WARNING)) == [(OTHER, 1), (WARNING, 2)]


def test_blank_line_parts_a_comment_from_what_follows() -> None:
    text = "# homespec: ignore[one-choice]\n\na: 1\n"
    assert left(text, ("a", WARNING)) == [(WARNING, 3), ("unused-ignore", 1)]


def test_comment_behind_a_value_counts_for_its_own_line_only() -> None:
    text = "a: 1 # homespec: ignore[one-choice]\nb: 2\n"
    assert left(text, ("b", WARNING)) == [(WARNING, 2), ("unused-ignore", 1)]


def test_unused() -> None:
    assert left("a: 1 # homespec: ignore[one-choice]\n") == [("unused-ignore", 1)]


def test_unused_is_not_known_if_stages_did_not_run() -> None:
    text = "a: 1 # homespec: ignore[one-choice]\nb: 1\n"
    assert left(text, ("b", ERROR)) == [(ERROR, 2)]


def test_error_stays() -> None:
    text = "a: 1 # homespec: ignore[unknown-member]\n"
    assert left(text, ("a", ERROR)) == [(ERROR, 1), ("ignored-error", 1)]
    assert left(text) == [("ignored-error", 1)]


def test_unknown_rule_has_a_suggestion_and_a_caret() -> None:
    document = parse("a: 1 # homespec: ignore[one-choise, HS399, hidden]\n", "x")
    names, code, nothing = apply_ignores(document, [])
    assert names.help == "did you mean `one-choice`?"
    assert (names.span.start.column, names.span.end.column) == (25, 35)
    assert code.help.startswith("did you mean `HS3")
    assert nothing.help == "`homespec explain --all` lists the rules"


@pytest.mark.parametrize(
    "comment", ["ignore", "ignore[]", "ignore one-choice", "ingore[one-choice]", "", "ignore["]
)
def test_comment_that_is_not_understood(comment: str) -> None:
    assert left(f"a: 1 # homespec: {comment}\n", ("a", WARNING)) == [
        (WARNING, 1),
        ("unknown-ignore", 1),
    ]


def test_whole_file() -> None:
    text = "# homespec: ignore-file[one-choice, HS414] as published\na: 1\nb: 2\n"
    places = (("a", WARNING), ("b", WARNING), ("b", "wide-table"), ("b", OTHER))
    assert left(text, *places) == [(OTHER, 3)]


@pytest.mark.parametrize("comment", ["ignore-file[one-choice]", "Ignore-File[ hs305 ]"])
def test_whole_file_from_any_line(comment: str) -> None:
    text = f"a: 1\nb: 2  # homespec: {comment}\n"
    assert left(text, ("a", WARNING), ("b", WARNING)) == []


def test_unused_for_the_whole_file() -> None:
    document = parse("# homespec: ignore-file[one-choice]\na: 1\n", "x.yaml")
    (diagnostic,) = apply_ignores(document, [at(document, "a", OTHER)])[1:]
    assert diagnostic.rule.name == "unused-ignore"
    assert diagnostic.message == "this file has no warning `one-choice` to ignore"
    assert diagnostic.help == "delete the comment"


def test_errors_stay_in_the_whole_file() -> None:
    text = "a: 1 # homespec: ignore-file[unknown-member]\n"
    assert left(text, ("a", ERROR)) == [(ERROR, 1), ("ignored-error", 1)]


def test_notes_are_ignored_like_warnings() -> None:
    text = "a: 1 # homespec: ignore[wide-table]\n"
    assert left(text, ("a", "wide-table")) == []
    document = parse(text, "x.yaml")
    (diagnostic,) = apply_ignores(document, [])
    assert diagnostic.message == "line 1 has no note `wide-table` to ignore"


BASE = """\
homespec: 1
name: base
features: {user_id: {id: {buckets: 100}, dim: 8}, sex: {id: {vocab: 2}, dim: 8}, text: {dense: 64}}
groups: {watch: [click, finish], social: [like, follow]}
tasks: {click: {}, finish: {}, like: {}, follow: {}}
"""
FILE = "# homespec: ignore-file[wide-table] one width\n"


@pytest.mark.parametrize(
    ("base", "spec", "flags", "left"),
    [
        ("", "", (), ["wide-table"]),
        ("", FILE, (), []),  # of what the spec extends
        (FILE, "", (), []),
        (FILE, "features: {city: {id: {vocab: 3}, dim: 8}}\n", (), []),  # at the base's `sex`
        (FILE, "features: {city: {id: {vocab: 3}, dim: 16}}\n", (), ["wide-table"]),
        (FILE, "", ("features.age={id: {vocab: 2}, dim: 32}",), ["wide-table"]),
        ("", FILE, ("features.age={id: {vocab: 2}, dim: 32}",), []),
    ],
)  # fmt: skip
def test_whole_file_and_bases(
    base: str, spec: str, flags: tuple[str, ...], left: list[str], tmp_path: Path
) -> None:
    """A comment speaks for its file and for what that extends, never for what extends it."""
    (tmp_path / "base.yaml").write_text(base + BASE)
    (tmp_path / "spec.yaml").write_text(f"extends: base.yaml\nname: spec\n{spec}")
    report = homespec.validate(tmp_path / "spec.yaml", flags)
    assert [d.rule.name for d in report.diagnostics] == left


def test_text_is_no_comment() -> None:
    for text in (
        "a: '# homespec: ignore[one-choice]'\n",
        "a: |\n  # homespec: ignore[one-choice]\n",
        "a: x#homespec: ignore[one-choice]\n".replace(": i", ":i"),
    ):
        assert left(text, ("a", WARNING)) == [(WARNING, 1)]
