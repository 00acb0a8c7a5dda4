"""Promises that get weaker or stronger: each edit in one direction, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import homespec
from homespec.cli.main import cli
from homespec.diff.compare import Comparison, compare

BASE = """\
homespec: 1
name: shorts
version: 1.0.0
features:
  user: {id: {buckets: 100}, dim: 64}
groups:
  watch: [click, finish]
  social: [like, follow]
tasks: {click: {}, finish: {}, like: {}, follow: {}}
family: cgc
"""
PROMISES = """\
expect:
  isolated: [[watch, social]]
  reads: {like: [social], watch: []}
  except_through: [watch]
  budget: {parameters: 1M, experts: 20}
"""

CASES = [
    ("isolated: [[watch, social]]", "isolated: [[click, social]]",
     "`social` and `watch` are isolated"),
    ("  isolated: [[watch, social]]\n", "", "`social` and `watch` are isolated"),
    ("like: [social]", "like: [social, watch]", "`like` does not read `watch`"),
    ("like: [social], ", "",
     "`like` reads no experts but shared ones, its own and those of `social`"),
    (", watch: []", "", "`watch` reads no experts but shared ones and its own"),
    ("through: [watch]", "through: [shared, watch]", "nothing passes through `shared`"),
    ("parameters: 1M", "parameters: 2M", "at most 1,000,000 parameters"),
    (", experts: 20", "", "at most 20 experts"),
]  # fmt: skip


def compared(old: str, new: str) -> Comparison:
    analyses = [homespec.loads(text, name).analysis for text, name in ((old, "old"), (new, "new"))]
    return compare(*analyses)


def said(comparison: Comparison) -> set[str]:
    return {f"{change.rule.code} {change.message}" for change in comparison.changes}


@pytest.mark.parametrize(("old", "new", "words"), CASES)
def test_weaker_and_stronger(old: str, new: str, words: str) -> None:
    strong = BASE + PROMISES
    weak = strong.replace(old, new)
    assert weak != strong
    found = said(compared(strong, weak))
    assert f"HS693 no longer promised: {words}" in found
    assert all(line.startswith("HS693") for line in found)
    assert f"HS694 newly promised: {words}" in said(compared(weak, strong))
    assert said(compared(strong, strong)) == set()


def test_a_pair_is_isolated_with_the_groups_that_it_is_in() -> None:
    pair = BASE + "expect: {isolated: [[click, like]]}\n"
    groups = BASE + "expect: {isolated: [[social, watch]]}\n"
    assert said(compared(pair, groups)) == {
        "HS694 newly promised: `social` and `watch` are isolated"
    }


def test_other_words_and_orders_are_no_weaker_promise() -> None:
    other = PROMISES.replace("[watch, social]", "[social, watch]").replace("1M", "1000k")
    assert {change.rule.code for change in compared(BASE + PROMISES, BASE + other).changes} == {
        "HS692"
    }


def test_renamed_nodes_keep_their_promises() -> None:
    new = (BASE + PROMISES).replace("social:", "network:").replace("[social]", "[network]")
    new = new.replace("watch, social]", "watch, network]")
    new = new.replace("network: [like, follow]", "network: {was: social, members: [like, follow]}")
    assert {change.rule.code for change in compared(BASE + PROMISES, new).changes} == {"HS608"}


def test_promises_about_what_is_gone_are_not_counted() -> None:
    new = BASE.replace("  social: [like, follow]\n", "").replace(", like: {}, follow: {}", "")
    new += "expect: {reads: {watch: []}, except_through: [watch], budget: "
    new += "{parameters: 1M, experts: 20}}\n"
    assert not any(line.startswith("HS69") for line in said(compared(BASE + PROMISES, new)))


def test_fail_on_promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for file, text in (("a", BASE + PROMISES), ("b", BASE), ("c", BASE.replace("1.0.0", "2.0.0"))):
        (tmp_path / f"{file}.yaml").write_text(text)
    for new, code in (("b.yaml", 1), ("c.yaml", 0)):
        args = ["diff", "a.yaml", new, "--fail-on", "promise", "--format", "concise"]
        result = CliRunner().invoke(cli, args, standalone_mode=False)
        assert result.return_value == code
        assert "no longer promised: at most 20 experts (promise)" in result.stdout
