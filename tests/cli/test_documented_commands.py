"""Commands that the docs show exist: each verb and option of `homespec …` in a code block."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from homespec.cli.main import VERBS, cli

ROOT = Path(__file__).parents[2]
PAGES = [
    page
    for place in ("*.md", "docs/*.md", "docs/*/*.md", "examples/**/*.md")
    for page in sorted(ROOT.glob(place))
    if page.name != "CHANGELOG.md"
]
BLOCK = re.compile(r"^ *```(?:sh|console|yaml)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[\s;&|(/])homespec +(.*)$")
ENDS = {"|", "||", "&&", ";", ">", ">>", "2>&1", "#", "&", "<"}


def commands(text: str) -> Iterator[list[str]]:
    """The words after `homespec` of each command of a page's code blocks."""
    for block in BLOCK.findall(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if (found := COMMAND.search(line)) and not line.lstrip().startswith("#"):
                lexer = shlex.shlex(found[1], posix=True, punctuation_chars=True)
                lexer.whitespace_split = True
                words = list(lexer)
                end = next((i for i, word in enumerate(words) if word in ENDS), len(words))
                yield words[:end]


def options(verb: str) -> set[str]:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None, verb
    names = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return names | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_verbs_and_options_exist(page: Path) -> None:
    for verb, *words in filter(None, commands(page.read_text("utf-8"))):
        if verb not in VERBS:
            assert re.match(r"[@\W]|-", verb), f"`homespec {verb}` is not a verb"
            continue
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown = given - options(verb)
        assert not unknown, f"homespec {verb} has no {unknown}"


def test_commands_are_found() -> None:
    command = "OMP_NUM_THREADS=1 torchrun -m homespec train x.yaml \\\n  --lr-of 'a*=0' | cat"
    text = f"```sh\n{command}\n```\n"
    assert list(commands(text)) == [["train", "x.yaml", "--lr-of", "a*=0"]]
    assert sum(len(list(commands(page.read_text("utf-8")))) for page in PAGES) > 70
