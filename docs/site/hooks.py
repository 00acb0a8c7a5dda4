"""The site: brings in what is outside of `docs/`, links specs to the playground, and terms to the
glossary.

Pages keep the links that work on a forge; here they lead to the same file on the site.
"""

from __future__ import annotations

import base64
import posixpath
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Link, Navigation
from mkdocs.structure.pages import Page
from terms import linked, terms

ROOT = Path(__file__).parents[2]
PLAYGROUND = ROOT / ".cache" / "playground" / "site"
"""What `docs/playground/build.py` makes."""
START = "playground/index.html"
GLOSSARY = ROOT / "docs" / "glossary.md"
STYLE = """\
.md-typeset a.term {
  color: inherit;
  text-decoration: underline dotted 1px;
  text-underline-offset: 0.25em;
}
.md-grid { max-width: 72rem; }
.md-typeset pre > code { font-size: 0.75em; }
"""
"""Terms of the glossary look like text, and say with a dotted line that there is more. Pages have
room for the messages and tables of a terminal, about 100 columns, wherever the window does."""

OUTSIDE = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "examples/README.md",
    "examples/census/README.md",
    "examples/kuairand/README.md",
    "examples/sharding/train.py",
    "docs/tutorial/impressions.py",
)
"""Files of the project that pages link to, and pages that are not in `docs/`."""
RENAMED = {
    "README.md": "index.md",
    "docs/tutorial/impressions.py": "tutorial/impressions.py",
}

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
FENCE = re.compile(r"^```yaml\n(.*?)^```$\n?", re.MULTILINE | re.DOTALL)
IN_LIST = re.compile(r"^( {2,3})```.*?^\1```$", re.MULTILINE | re.DOTALL)
"""Code in a list, as deep as a forge needs it; Python's Markdown needs four blanks."""
IS_SPEC = re.compile(r"^homespec: 1$", re.MULTILINE)
NAMED_SPEC = re.compile(r"(?<!\[)`(specs/[\w/]+\.yaml)`")


API = {
    "homespec.api": "SpecError load loads validate compile build build_module build_with_module",
    "homespec.train.load_run": "load_run",
    "homespec.scoring.predict": "predict",
    "homespec.scoring.evaluate": "evaluate",
    "homespec.train.migrate": "migrate",
    "homespec.train.lit_module": "RankingModule",
    "homespec.train.datamodule": "RankingData",
}
"""What `import homespec` offers, by the module that has it."""


def api_page() -> str:
    """The page of the Python interface, which mkdocstrings fills from docstrings."""
    names = [f"{module}.{name}" for module, names in API.items() for name in names.split()]
    head = "# Python API\n\nAll of it is in `homespec` itself: `homespec.load`, `homespec.build`.\n"
    return "\n".join([head, *(f"::: {name}" for name in names), ""])


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the project and those of the playground."""
    for name in OUTSIDE:
        at = RENAMED.get(name, name)
        files.append(File.generated(config, at, abs_src_path=str(ROOT / name)))
    files.append(File.generated(config, "api.md", content=api_page()))
    files.append(File.generated(config, "terms.css", content=STYLE))
    for path in sorted(PLAYGROUND.rglob("*")):
        if path.is_file():
            at = "playground/" + path.relative_to(PLAYGROUND).as_posix()
            # the folder of its sources, which is left out, has the same name
            included = InclusionLevel.INCLUDED
            files.append(File.generated(config, at, abs_src_path=str(path), inclusion=included))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Add the playground, which is not one of the theme's pages."""
    if files.get_file_from_path(START):
        nav.items.append(Link("Playground", START))
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page with links of the site, and with links to the playground where there is one."""
    markdown = IN_LIST.sub(_deeper, markdown)
    here = page.file.src_uri
    origins = {RENAMED.get(name, name): name for name in OUTSIDE}
    folder = posixpath.dirname(origins.get(here, f"docs/{here}"))
    markdown = LINK.sub(lambda match: _on_site(posixpath.join(folder, match[1]), here), markdown)
    if files.get_file_from_path(START):
        markdown = _with_playground(markdown, here)
    return linked(markdown, here, terms(GLOSSARY.read_text("utf-8")))


def _deeper(code: re.Match[str]) -> str:
    return re.sub(f"^{code[1]}", "    ", code[0], flags=re.MULTILINE)


def _on_site(target: str, here: str) -> str:
    """The link from a page to a file of the project."""
    target = posixpath.normpath(target)
    at = RENAMED.get(target, target.removeprefix("docs/"))
    return posixpath.relpath(at, posixpath.dirname(here) or ".")


def _with_playground(markdown: str, here: str) -> str:
    """A page whose specs, written out or named, can be opened in the playground."""
    start = _on_site(START, here)

    def named(match: re.Match[str]) -> str:
        is_there = (ROOT / match[1]).is_file()
        return f"[{match[0]}]({start}#example={match[1]})" if is_there else match[0]

    markdown = NAMED_SPEC.sub(named, markdown)
    return FENCE.sub(lambda match: "".join(_opened(match, start)), markdown)


def _opened(fence: re.Match[str], start: str) -> Iterator[str]:
    yield fence[0]
    if IS_SPEC.search(fence[1]):
        yield f"\n[Open in the playground]({start}#spec={packed(fence[1])})\n"


def packed(text: str) -> str:
    """A text as the playground takes it in its address: deflated, in URL-safe base64."""
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    data = deflate.compress(text.encode()) + deflate.flush()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
