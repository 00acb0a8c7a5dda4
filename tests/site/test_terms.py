"""Terms of the glossary are linked where a page first uses them, and nowhere else."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
specification = importlib.util.spec_from_file_location("terms", ROOT / "docs/site/terms.py")
assert specification is not None
assert specification.loader is not None
terms = importlib.util.module_from_spec(specification)
specification.loader.exec_module(terms)

GLOSSARY = """\
# Glossary

## Expert

A small MLP. See [the law](law.md).

## Expert set

All `experts` of one node, with "one" input.

## Pass

A transformation.

## Vocabulary

The ids.

## Run

One training.
"""
KNOWN = terms.terms(GLOSSARY)
LINK = re.compile(r'\[([^\]]+)\]\((\S+)\)\{ \.term title="([^"]*)" \}')


def links(markdown: str, page: str = "page.md") -> list[tuple[str, str, str]]:
    linked = terms.linked(markdown, page, KNOWN)
    assert LINK.sub(r"\1", linked) == markdown.replace("expert\nset", "expert set")
    return LINK.findall(linked)


def test_terms_are_read_with_their_meaning() -> None:
    assert [term.name for term in KNOWN] == ["Expert set", "Vocabulary", "Expert", "Pass", "Run"]
    assert KNOWN[2].meaning == "A small MLP."
    assert KNOWN[0].anchor == "expert-set"


def test_the_first_use_is_linked_once() -> None:
    found = links("An expert and experts. Its expert\nset, expert sets, vocabularies.\n")
    assert [(words, target) for words, target, _ in found] == [
        ("expert", "glossary.md#expert"),
        ("expert set", "glossary.md#expert-set"),
        ("vocabularies", "glossary.md#vocabulary"),
    ]
    assert found[1][2] == "All experts of one node, with &quot;one&quot; input."


def test_a_longer_term_is_never_taken_for_a_shorter_one() -> None:
    assert [words for words, *_ in links("Expert sets, expert sets.\n")] == ["Expert sets"]


@pytest.mark.parametrize(
    "text",
    [
        "# The expert\n",
        "```sh\nexpert\n```\n",
        "* Item\n\n  ```yaml\n  expert: 1\n  ```\n",
        "Formula:\n\n    expert = 1\n",
        "`expert` and [an expert](law.md), ![expert](x.svg), <!-- results: expert -->\n",
        "| expert |\n|---|\n",
        "experts/x.py, expert-gate, run it, to run\n",
        "*An expert paper*, KDD\n",
    ],
)
def test_code_links_headings_and_other_senses_are_left_alone(text: str) -> None:
    assert not links(text)


def test_a_noun_may_also_be_a_verb() -> None:
    assert [words for words, *_ in links("They run a run.\n")] == ["run"]


def test_plurals_are_found() -> None:
    found = links("The passes, an expert.\n", "passes.md")
    assert [(words, target) for words, target, _ in found] == [
        ("passes", "glossary.md#pass"),
        ("expert", "glossary.md#expert"),
    ]


def test_links_lead_out_of_folders_and_not_into_the_glossary() -> None:
    assert links("An expert.\n", "howto/page.md")[0][1] == "../glossary.md#expert"
    assert not links("An expert.\n", "glossary.md")


def test_each_term_of_the_glossary_is_used_by_a_page_and_has_a_page() -> None:
    docs = ROOT / "docs"
    text = (docs / "glossary.md").read_text("utf-8")
    known = terms.terms(text)
    pages = [*docs.glob("*.md"), *docs.glob("*/*.md")]
    used = "".join(
        terms.linked(page.read_text("utf-8"), page.relative_to(docs).as_posix(), known)
        for page in pages
    )
    for term in known:
        assert f"glossary.md#{term.anchor})" in used, f"no page uses {term.name}"
        assert re.search(r"[.?]$", term.meaning), term
        block = text.partition(f"## {term.name}\n")[2].partition("\n## ")[0]
        assert "](" in block, f"{term.name} needs a link to the page that explains it"
    names = [name for name, _ in terms.TERM.findall(text)]
    assert names == sorted(names, key=str.lower)
    assert {*terms.ONLY, *terms.NEVER, *terms.NOT_AFTER, *terms.NOUNS} <= set(names)
