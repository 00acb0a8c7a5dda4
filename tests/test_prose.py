"""Prose is plain English: the turns below have a plainer form, which the project uses.

A Markdown page, a docstring, a comment, a message, a help text or a template fails with the line,
the words and a plainer form.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
from prose import Paragraph, paragraphs

ROOT = Path(__file__).parents[1]
PLACES = (
    "*.md",
    "*.yml",
    "Makefile",
    "docs/**/*.md",
    "examples/**/*.md",
    "examples/**/*.py",
    "examples/**/*.yaml",
    "benchmarks/**/*.py",
    "homespec/**/*.py",
    "homespec/**/*.jinja",
    "specs/**/*.yaml",
    "generated/**/*.py",
)
FILES = sorted(
    {path for place in PLACES for path in ROOT.glob(place) if "node_modules" not in path.parts}
)


class Habit(NamedTuple):
    """A turn to avoid: its regular expression, a plainer form, an example, and what is fine."""

    turn: str
    plain: str
    example: str
    fine: str


HABITS = (
    Habit(r"\banew\b", "again, from scratch", "trains anew", "trains again"),
    Habit(
        r"\bput(?:s|ting)? out\b",
        "outputs, returns, computes",
        "the layer puts out a state",
        "the layer outputs a state",
    ),
    Habit(
        r"(?<!left )\bbehind\b(?! a proxy)",
        "after, below, later",
        "ReLU behind every layer",
        "a server behind a proxy",
    ),
    Habit(
        r"\b(?:stands?|stood|lies?|lying)\b(?! for\b)",
        "is, appears",
        "the key stands twice",
        "B stands for the batch",
    ),
    Habit(
        r"(?<!here )(?<!\bit )\b(?:is|are|was|were|be) no (?!longer\b|more\b|less\b)\w",
        "is not a, has no",
        "`7` is no name",
        "there is no such name, and it is no longer needed",
    ),
    Habit(
        r"\b(?:told|tells)\b",
        "says, shows, distinguishes",
        "it tells rows apart",
        "it distinguishes rows",
    ),
    Habit(
        r"(?<!Stopping and )\b(?:goes|go|went|going) on\b",
        "continues",
        "the run goes on",
        "the run continues",
    ),
    Habit(r"\bnobody\b", "no one, or name who", "nobody reads it", "no gate reads it"),
    Habit(
        r"\bso many\b",
        "this many, that number of",
        "it needs so many states",
        "it needs this many states",
    ),
    Habit(
        r"(?:^|(?<=[.:;!?] ))Of (?!course\b)",
        "begin with the subject",
        "Of two folders, specs are compared.",
        "Specs of two folders are compared.",
    ),
    Habit(
        r", too\b(?! (?:few|many|much|large|small|long|short|wide|deep)\b)",
        "also",
        "Notes fail, too.",
        "Notes also fail. The list is long, too long.",
    ),
    Habit(
        r"\b[Ww]hat (?:is|are) (?:no|new|gone|there|left|known|meant|read|said)\b",
        "a noun",
        "What is new starts fresh.",
        "New weights start fresh.",
    ),
    Habit(r"\bsuch as is\b|\bbut for rounding\b", "like, except", "but for rounding", "apart from"),
    Habit(
        r"\b(?!format|gates|pytest)([a-z]{2,})(?: \1)+\b",
        "the word once",
        "it reads the the file",
        "it reads the file",
    ),
    Habit(
        r"\b(?:warned|said|spoken|spoke|speaks?) of\b",
        "warns about, reports",
        "it is warned of",
        "a warning reports it",
    ),
    Habit(
        r"\b(?:is|are|was|were) to be (?!un)[a-z]+ed\b",
        "must be, or the verb",
        "its vocabulary is to be fitted",
        "its vocabulary must be fitted",
    ),
    Habit(
        r"\b(?:is|are) there already\b|\bthat (?:is|are) there\b",
        "exists, existing",
        "the folder is there already",
        "the folder already exists",
    ),
    Habit(
        r"\bfrom (?:\d+|one|there) on\b(?! the\b)",
        "from 0, at least 1",
        "numbers from 0 on",
        "a share from 0 on the left to 1 on the right is drawn",
    ),
    Habit(r"\b[Tt]ak(?:es?|ing) note of\b", "records", "Take note of rows.", "Record rows."),
    Habit(
        r"\b[Hh]ow many there are\b",
        "their number",
        "It shows how many there are.",
        "It shows their number.",
    ),
    Habit(r"\bmend(?:s|ing)?\b", "fixes", "an edit that mends it", "an edit that fixes it"),
    Habit(r"\bgravest\b", "most severe", "the gravest first", "the most severe first"),
    Habit(
        r"\bwhole or not at all\b|, all or none\b",
        "atomically",
        "It is written whole or not at all.",
        "It is written atomically.",
    ),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_is_plain(path: Path) -> None:
    found = [mistake for paragraph in paragraphs(path) for mistake in mistakes(paragraph)]
    assert not found, "\n".join(f"{path.relative_to(ROOT)}, {each}" for each in found)


def mistakes(paragraph: Paragraph) -> list[str]:
    line, text = paragraph
    return [
        f"line {line}: …{text[max(0, match.start() - 50) : match.end() + 40]}…\n"
        f"    instead of `{match.group().strip()}` write: {habit.plain}"
        for habit in HABITS
        for match in re.finditer(habit.turn, text)
    ]


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.turn)
def test_habits_are_found_and_plain_words_are_not(habit: Habit) -> None:
    assert re.search(habit.turn, habit.example)
    assert not mistakes(Paragraph(1, habit.fine))


FOUND = {
    "page.md": ("# Of a\n\n* Of b\n  c\n\n| Of d | `Of e` |\n\n```\nOf f\n```\n", "a|b c|d|`x`"),
    "code.py": (
        '"""Of a.\n\nOf b\nc.\n"""\n# Of d\n# e\nx = f"Of f is {x} g"  # Of h\ny = "Of i"\n'
        'def f():\n    """I.\n\n    Of j.\n\n        Of k\n    """\n',
        "a.|b c.|d e|f is `x` g|h|I.|j.",
    ),
    "page.jinja": ("<p>Of a {{ b }}</p>\n{% if c %}<style>Of d</style>\n", "a `x`"),
    "spec.yaml": ("x: y  # Of a\n# Of b\n", "a|b"),
    "Makefile": ("# Of a\n", "a"),
}


@pytest.mark.parametrize("name", FOUND)
def test_paragraphs_of_each_kind_of_file(name: str, tmp_path: Path) -> None:
    text, wanted = FOUND[name]
    (tmp_path / name).write_text(text)
    found = [paragraph.text.removeprefix("Of ") for paragraph in paragraphs(tmp_path / name)]
    assert "|".join(found) == wanted


def test_a_paragraph_has_the_line_where_it_begins(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text('x = 1\n"""A.\n\nThe first\nOf b.\n"""\n')
    assert [line for line, _ in paragraphs(tmp_path / "code.py")] == [2, 4]
