"""The order of the package: an import goes downward only, wherever it stands in a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "homespec"

ORDER = (
    "version",
    "installation",
    "atomic_write",
    "limits",
    "json_values",
    "diagnostics",
    "source",
    "schema",
    "graph",
    "resolve",
    "lower",
    "analysis",
    "drawing",
    "checks",
    "variant",
    "passes",
    "emit",
    "header",
    "data",
    "drafting",
    "diff",
    "health",
    "catalogue",
    "ignores",
    "compiler",
    "generated_files",
    "editor",
    "memory",
    "runtime",
    "api",
    "activations",
    "sharding",
    "migration",
    "train",
    "scoring",
    "export",
    "bench",
    "doctor",
    "homespec",
    "cli",
    "reference",
    "__main__",
)
"""Packages and root modules, the lowest first; `homespec` is what the package offers itself."""

MODULE = re.compile(r"\A(homespec(?:\.\w+)+)\Z")
"""A text that is the name of a module of ours, which importlib may import."""


def unit_of(module: str) -> str:
    """The package or root module that a module is in."""
    _, _, unit = module.partition(".")
    unit = unit.partition(".")[0]
    return unit if unit in ORDER else "homespec"


def imported(file: Path) -> Iterator[str]:
    """Modules of ours that a file imports: at its top, in functions, or for types alone."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "homespec":
            yield from (f"homespec.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: relative import"
            yield node.module or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from MODULE.findall(node.value)


def arrows() -> dict[str, list[str]]:
    """Which unit imports which other one, with the files that do."""
    arrows: dict[str, list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE)
        own = "homespec" if path.parts[0] == "__init__.py" else path.parts[0]
        own = own.removesuffix(".py")
        for module in imported(file):
            if module.partition(".")[0] == "homespec" and unit_of(module) != own:
                arrows.setdefault(f"{own} -> {unit_of(module)}", []).append(str(path))
    return arrows


def test_every_unit_has_a_place() -> None:
    units = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py"}
    units |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert units - {"__init__"} | {"homespec"} == set(ORDER)


def test_contributing_lists_the_units_in_this_order() -> None:
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8")
    rows = re.findall(r"^\| (`homespec/.*?) \| (.*) \|$", page, re.M)
    paths = [
        name for first, _ in rows for name in re.findall(r"`(?:homespec/)?(\w+)(?:/|\.py)`", first)
    ]
    described = [name for _, text in rows for name in re.findall(r"`(\w+)\.py`", text)]
    assert set(paths) | set(described) >= set(ORDER) - {"__main__", "homespec"}
    assert sorted(paths, key=ORDER.index) == paths


def test_imports_go_downward() -> None:
    upward = {
        arrow: files
        for arrow, files in arrows().items()
        if ORDER.index(arrow.split(" -> ")[0]) < ORDER.index(arrow.split(" -> ")[1])
    }
    assert not upward


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "from __future__ import annotations\n"
        "if TYPE_CHECKING:\n    from homespec.train import Run\n"
        "def f():\n    import homespec.cli.main\n    from homespec import runtime\n"
        "importlib.import_module('homespec.bench')\n"
    )
    assert set(imported(file)) >= {
        "homespec.train",
        "homespec.cli.main",
        "homespec.runtime",
        "homespec.bench",
    }


def test_files_of_tests_have_names_of_their_own() -> None:
    """Pytest collects only one of two files of one name, since the folders are no packages."""
    names = [path.name for path in PACKAGE.parent.joinpath("tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}
