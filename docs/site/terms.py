"""Links each term of the glossary where a page first uses it. The Markdown stays without links."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

GLOSSARY = "glossary.md"
WITHOUT = frozenset({GLOSSARY, "CHANGELOG.md", "LICENSE", "api.md", "rules.md"})
"""Pages without such links: what is looked up line by line, and what is not about models."""

TERM = re.compile(r"^## (.+)\n\n((?:.+\n)+)", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
SENTENCE_OF_LINKS = re.compile(r" (?:See|Also called) [^.]*\.(?= |$)")
SKIPPED = re.compile(
    r"^( *)```.*?^\1```[^\n]*$"  # fenced code
    r"|^(?: {4}|\t)[^\n]*$"  # indented code and formulas
    r"|^#[^\n]*$"  # headings
    r"|^\|[^\n]*\|\n(?=\|[ :|-]+\|$)"  # titles of columns
    r"|(?<![*\w])\*(?![*\s])[^*\n]+\*(?!\*)"  # titles of papers
    r"|`[^`\n]*`|!?\[[^\]]*\]\([^)]*\)|<[^>]*>|https?://\S+",
    re.MULTILINE | re.DOTALL,
)
MODEL = frozenset({
    "HOME.md", "anomalies.md", "anomalies-experts.md", "anomalies-gates.md", "diff.md",
    "doctor.md", "doctor-measures.md", "howto/dead-expert.md", "index.md", "language.md", "law.md",
    "monitoring.md", "promises.md",
})  # fmt: skip
"""Pages that are about the hierarchy."""
COMPILER = frozenset({"extending.md", "generated-files.md", "how-it-works.md", "passes.md"})
ONLY = {
    "Floor": frozenset({"performance/goals.md", "performance/serving.md", "performance/gpu.md"}),
    "Layer": MODEL | {"how-it-works.md", "passes.md"},
    "Pass": frozenset({"extending.md", "how-it-works.md", "passes.md"}),
    "State": MODEL | COMPILER,
}
"""Words with other senses elsewhere -> the pages on which they have that of the glossary."""
NEVER = {
    "Cross": {"batches.md", "sequences.md"},
    "Gate": {"sequences.md"},
    "Group": {"extending.md", "howto/from-torcheasyrec.md"},
    "Mixture": {"task-weights.md"},
    "Promise": {"losses.md"},
    "Sequence": {"batches.md"},
}
"""Words -> pages on which they have another sense."""
NOT_AFTER = {"Group": "row ", "Layer": "hidden ", "State": "logical ", "Run": "to "}
NOUN = r"(?:(?<=\ba )|(?<=\bA )|(?<=\bthe )|(?<=\bThe )|(?<=\beach )|(?<=\banother ))"
NOUNS = frozenset({"Run", "Pass", "State"})
"""Words that are also verbs; they are nouns after an article."""


class Term(NamedTuple):
    """A heading of the glossary, its anchor and the first sentences below it."""

    name: str
    anchor: str
    meaning: str


def terms(glossary: str) -> list[Term]:
    """The terms of the glossary, longest names first, so that `expert set` is not an `expert`."""
    found = [
        Term(name, re.sub(r"[^\w\- ]", "", name.lower()).replace(" ", "-"), _plain(text))
        for name, text in TERM.findall(glossary)
    ]
    return sorted(found, key=lambda term: (-len(term.name), term.name))


def _plain(text: str) -> str:
    words = re.sub(r"[*`]", "", LINK.sub(r"\1", " ".join(text.split())))
    return SENTENCE_OF_LINKS.sub("", words).strip()


def linked(markdown: str, page: str, known: list[Term]) -> str:
    """The text of a page, with a link to the glossary where it first uses each term."""
    if page in WITHOUT:
        return markdown
    masked = SKIPPED.sub(lambda match: "\0" * len(match[0]), markdown)
    places: list[tuple[int, int, Term]] = []
    for term in known:
        for found in _pattern(term).finditer(masked) if _is_meant(term, page) else ():
            places.append((*found.span(), term))
            break
        # Also where it is not the first, `feature gate` is no use of `gate`.
        masked = _pattern(term).sub(lambda match: "\0" * len(match[0]), masked)
    return "".join(_with_links(markdown, sorted(places), page))


def _is_meant(term: Term, page: str) -> bool:
    return page in ONLY.get(term.name, {page}) and page not in NEVER.get(term.name, ())


def _pattern(term: Term) -> re.Pattern[str]:
    """The word, or its plural, with a small or a capital letter first; not inside of a word."""
    first, rest = term.name[0], re.escape(term.name[1:]).replace(r"\ ", r"[ \n]")
    plural = {"y": "(?:y|ies)", "s": "s(?:es)?"}
    ending = rest.removesuffix(rest[-1]) + plural.get(rest[-1], f"{rest[-1]}s?")
    start = NOUN if term.name in NOUNS else f"(?<!{NOT_AFTER.get(term.name, '[-/_.]')})"
    return re.compile(rf"(?<![\w/._-]){start}[{first.lower()}{first.upper()}]{ending}(?![\w/_-])")


def _with_links(markdown: str, places: list[tuple[int, int, Term]], page: str) -> Iterator[str]:
    glossary = posixpath.relpath(GLOSSARY, posixpath.dirname(page) or ".")
    at = 0
    for start, end, term in places:
        words = markdown[start:end].replace("\n", " ")
        title = html.escape(term.meaning, quote=True).replace("{", "(").replace("}", ")")
        yield markdown[at:start]
        yield f'[{words}]({glossary}#{term.anchor}){{ .term title="{title}" }}'
        at = end
    yield markdown[at:]
