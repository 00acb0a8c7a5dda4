"""Builds the playground into .cache/playground/site, from where the site takes it.

Packages come by name from the registries of npm and pip, as package-lock.json and requirements.txt
pin them with hashes. They are fetched again only when these change; the rest takes seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "playground"
SITE, NODE, WHEELS = CACHE / "site", CACHE / "npm", CACHE / "wheels"
PACKAGES, STAMP = CACHE / "packages.zip", CACHE / "pins"
PINS = ("package.json", "package-lock.json", "requirements.txt", "precompile.mjs")

# Pyodide's interpreter and the binaries that it loads; PyYAML and MarkupSafe have none for it.
PLATFORMS = ("pyemscripten_2026_0_wasm32", "manylinux_2_28_x86_64")
PYTHON = ("--python-version", "3.14", "--implementation", "cp")
PYODIDE = (
    "pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json",
)  # fmt: skip
UNUSED = (".so", ".pyx", ".pyi", ".h", ".c", ".pyc")


GROUPS = {
    "specs": "Models",
    "families": "Families",
    "ablations": "HoME without a part",
    "examples": "Anomalies",
}
"""What the list calls the folders of specs."""


class Example(NamedTuple):
    """A spec to start from."""

    group: str
    name: str
    path: str
    text: str


# ---------------------------------------------------------------- packages


def is_fetched() -> bool:
    """Whether the packages of these pins are there."""
    return STAMP.is_file() and STAMP.read_text() == pins()


def pins() -> str:
    """What changes with the packages."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in PINS)).hexdigest()


def fetch() -> None:
    """Fetch all packages, unless they are there."""
    if is_fetched():
        return
    shutil.rmtree(CACHE, ignore_errors=True)
    NODE.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, NODE / name)
    quiet = ("--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries", "1")
    run("npm", "ci", *quiet, "--prefix", str(NODE))
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--require-hashes", "--no-deps", "--only-binary", ":all:", *platforms, *PYTHON,
        "--dest", str(WHEELS), "--requirement", str(HERE / "requirements.txt"),
    )  # fmt: skip
    pack(PACKAGES, in_wheels())
    pyodide = NODE / "node_modules" / "pyodide" / "pyodide.mjs"
    run("node", str(HERE / "precompile.mjs"), str(pyodide), str(PACKAGES))
    STAMP.write_text(pins())


def run(*words: str) -> None:
    """Run a program of the PATH or of ours; packages of npm find each other."""
    environment = {**os.environ, "NODE_PATH": str(NODE / "node_modules")}
    subprocess.run(words, check=True, env=environment)  # noqa: S603


def in_wheels() -> Iterator[tuple[str, bytes]]:
    """The files of the packages."""
    for wheel in sorted(WHEELS.glob("*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            for name in filter(is_used, packed.namelist()):
                yield name, packed.read(name)


def own_files() -> Iterator[tuple[str, bytes]]:
    """homespec itself, what answers the page, and our specs, which others may extend."""
    for file in sorted((ROOT / "homespec").rglob("*")):
        if file.is_file() and is_used(file.name):
            yield f"packages/{file.relative_to(ROOT).as_posix()}", file.read_bytes()
    for file in sorted((HERE / "worker").glob("*.py")):
        yield f"packages/{file.name}", file.read_bytes()
    for file in sorted((ROOT / "specs").rglob("*.yaml")):
        yield f"project/{file.relative_to(ROOT).as_posix()}", file.read_bytes()


def pack(archive: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write an archive, of the same bytes for the same files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files:
            packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def is_used(name: str) -> bool:
    """Whether a file of a package is used in the browser."""
    if "/tests/" in name or name.endswith("/"):
        return False
    return not name.endswith(UNUSED) or (name.endswith(".so") and "emscripten" in name)


# ---------------------------------------------------------------- examples


def examples() -> Iterator[Example]:
    """The specs to start from, quickstart first: our own, and one for each of HoME's anomalies."""
    own = (path for path in (ROOT / "specs").rglob("*.yaml") if not path.name.startswith("_"))
    for path in sorted(own, key=lambda path: (len(path.parts), path.stem != "quickstart", path)):
        yield _example(GROUPS.get(path.parent.name, path.parent.name), path)
    for path in sorted((HERE / "examples").glob("*.yaml")):
        yield _example(GROUPS["examples"], path)


def _example(group: str, path: Path) -> Example:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("# yaml-language-server:"))
    return Example(group, path.stem, path.relative_to(ROOT).as_posix(), text)


# ---------------------------------------------------------------- the site


def build(site: Path) -> None:
    """Lay out a folder: the page, the worker, Pyodide, and what it unpacks."""
    shutil.rmtree(site, ignore_errors=True)
    (site / "pyodide").mkdir(parents=True)
    for name in PYODIDE:
        shutil.copy(NODE / "node_modules" / "pyodide" / name, site / "pyodide" / name)
    for name in ("index.html", "style.css"):
        shutil.copy(HERE / "page" / name, site / name)
    shutil.copy(HERE / "worker" / "worker.js", site / "worker.js")
    shutil.copy(PACKAGES, site / PACKAGES.name)
    pack(site / "homespec.zip", own_files())
    (site / "examples.json").write_text(json.dumps([each._asdict() for each in examples()]))
    run(
        str(NODE / "node_modules" / ".bin" / "esbuild"), str(HERE / "page" / "main.js"),
        "--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning",
        f"--outfile={site / 'main.js'}",
    )  # fmt: skip


def main() -> None:
    """Build the playground; without the packages, say so and leave it out."""
    try:
        fetch()
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(CACHE, ignore_errors=True)
        print(f"build.py: the packages cannot be fetched, the site has no playground: {error}")
        return
    build(SITE)


if __name__ == "__main__":
    main()
