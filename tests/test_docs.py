"""The docs are fresh and their links resolve; the libraries stay in the stages they belong to."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import homespec
from homespec import reference
from homespec.diagnostics import Severity
from homespec.ignores import apply_ignores

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(page for page in sorted(DOCS.rglob("*.md")) if "playground" not in page.parts),
]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(
    r"`((?:homespec|tests|specs|docs|benchmarks|generated|schemas)/[\w./-]*\w(?:/|\.\w+))`"
)


def test_generated_parts_are_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert reference.main(["--check"]) == 0


def test_stale_parts_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for page in reference.PAGES:
        Path(page).write_text("Prose.\n<!-- generated: verbs -->\nold\n<!-- end -->\nMore.\n")
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    text = Path("docs/cli.md").read_text()
    assert text.startswith("Prose.\n")
    assert text.endswith("\nMore.\n")
    assert "| [`validate`](#validate) |" in text


def test_the_reference_of_the_command_line_has_defaults_and_ranges() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    assert re.search(r"^\| `--epochs INTEGER RANGE` \| .*\[default: 1; x>=1\] \|$", text, re.M)


def anchors(page: Path) -> set[str]:
    """The anchors that a forge gives to the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.is_file(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_that_prose_names_exist(page: Path) -> None:
    for path in PATH.findall(page.read_text("utf-8")):
        invented = re.search(r"HS499|/x[._]|/\w*shorts|kuairnd|/feed|/small\.yaml", path)
        assert invented or (ROOT / path).exists(), f"{page.name} names {path}"


def test_pages_that_code_names_exist() -> None:
    """Docstrings, messages and comments name pages as `docs/page.md`, some with an anchor."""
    named = re.compile(r"\bdocs/([\w./-]+\.md)(?:#([\w-]+))?")
    places = ("homespec/**/*.py", "homespec/**/*.jinja", "examples/**/*.*pp", "examples/**/*.py")
    files = [file for place in (*places, "benchmarks/*.py", "*.yml") for file in ROOT.glob(place)]
    assert len(files) > 100
    for file in files:
        for page, anchor in named.findall(file.read_text("utf-8")):
            if page != "ranking.md":  # an example of a rule
                assert (DOCS / page).is_file(), f"{file} names docs/{page}"
                assert not anchor or anchor in anchors(DOCS / page), f"{file}: {page}#{anchor}"


REFERENCES = {"CHANGELOG.md", "cli.md", "language.md", "rules.md"}
"""Pages in which one looks things up; they may be long."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_are_short(page: Path) -> None:
    """Code and tables count."""
    words = len(page.read_text("utf-8").split())
    assert words <= 2000 or page.name in REFERENCES, f"{page.name} has {words} words: split it"


def test_every_page_is_in_the_menu_of_the_site() -> None:
    menu = (DOCS / "site" / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    pages = {page.relative_to(DOCS).as_posix() for page in PAGES if DOCS in page.parents}
    missing = pages - set(re.findall(r"\S+$", menu, re.M))
    assert not missing, f"add {missing} to `nav` in docs/site/mkdocs.yml"


def test_specs_in_docs_validate() -> None:
    folder = ROOT / "specs" / "docs"  # from where `extends: ../kuairand.yaml` is found
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S):
            if re.search(r"^homespec: 1$", text, re.M) and page.name != "rules.md":
                if "extends: shorts.yaml" in text:  # of the README; tests/howto runs these pages
                    continue
                analysis = homespec.loads(text, str(folder / "x.yaml")).analysis
                found = apply_ignores(analysis.document, analysis.diagnostics)
                wrong = [each.message for each in found if each.rule.severity is not Severity.NOTE]
                assert not wrong, f"{page.name}: {wrong}"


# ---------------------------------------------------------------- imports

HOMES = {
    "yaml": ("source/",),
    "pydantic": ("schema/",),
    "pydantic_core": ("schema/",),
    "jinja2": ("emit/", "doctor/report/"),
    "networkx": ("graph/", "passes/", "checks/"),
    "torch": (
        "activations/",
        "doctor/",
        "emit/blocks/",
        "runtime.py",
        "migration/",
        "train/",
        "scoring/",
        "data/dataset.py",
        "data/batches.py",
        "bench/",
        "export/",
        "sharding/",
    ),
    "pygls": ("editor/server.py",),
    "torchrec": ("sharding/",),
    "matplotlib": ("bench/",),
    "lightning": ("train/",),
    "safetensors": ("train/", "export/"),
    "onnx": ("export/",),
    "onnxruntime": ("export/",),
    "pyarrow": ("train/", "data/", "drafting/", "scoring/", "export/"),
    "numpy": ("train/", "data/", "drafting/", "scoring/"),
    "torchjd": ("train/",),
}
"""The libraries and the places of `homespec/` that may import them."""


def imports(tree: ast.AST) -> Iterator[str]:
    """Top-level packages that a file imports, other than for annotations alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        yield from imports(node)


def test_each_library_stays_in_its_stage() -> None:
    package = ROOT / "homespec"
    for file in sorted(package.rglob("*.py")):
        path = file.relative_to(package).as_posix()
        for library in set(imports(ast.parse(file.read_text("utf-8")))) & HOMES.keys():
            assert path.startswith(HOMES[library]), f"homespec/{path} imports {library}"


def test_the_stages_report_only_what_is_theirs() -> None:
    """The passes and the emitter never diagnose."""
    for folder in ("passes", "emit"):
        for file in (ROOT / "homespec" / folder).glob("*.py"):
            assert "Finding" not in file.read_text("utf-8"), file


WITHOUT_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "lightning", "pyarrow", "numpy"}:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from homespec.cli.main import VERBS, cli

for words in sys.argv[1:]:
    verb, *rest = words.split()
    if verb in cli.list_commands(None):
        code = cli.main([verb, *rest], standalone_mode=False)
        assert not code, (words, code)
        print("done", verb, file=sys.stderr)
"""

VERBS = (
    "validate --strict specs",
    "compile --check specs",
    "show specs/nested.yaml",
    "show --expanded specs/nested.yaml",
    "graph -f text specs/nested.yaml",
    "explain --all",
    "schema",
)


def test_the_compiler_needs_no_torch() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *VERBS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert {"done validate", "done compile", "done explain"} <= set(result.stderr.splitlines())
