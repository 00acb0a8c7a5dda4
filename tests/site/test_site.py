"""The documentation builds without a warning, and nothing on it comes from elsewhere."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zlib
from base64 import urlsafe_b64decode as b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser, chromium
from served import served

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "docs" / "site" / "mkdocs.yml"
LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(https?:[^"' >]+)"""
    r"""|<link\b[^>]*\bhref=["']?(https?:[^"' >]+)|url\(["']?(https?:[^"')]+)"""
)

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(each) is None for each in ("material", "mkdocstrings")),
    reason="needs the extra `docs`",
)


def build(config: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `make site` does."""
    words = ["build", "--strict", "--config-file", str(config), "--site-dir", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *words],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(CONFIG, folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    docs = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    pages = {page.with_suffix("").as_posix() for page in docs if page.parts[0] != "playground"}
    made = {page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html")}
    assert pages | {"index", "CHANGELOG", "CONTRIBUTING"} <= made
    assert (site / "examples" / "census" / "index.html").is_file()
    assert not list(site.rglob("*.py")) or {p.name for p in site.rglob("*.py")} == {
        "impressions.py",
        "train.py",
    }


def test_terms_are_linked_where_a_page_first_uses_them(site: Path) -> None:
    page = (site / "howto" / "dead-expert.html").read_text("utf-8")
    term = r'<a class="term" href="../glossary.html#expert" title="A small MLP [^"]+">experts</a>'
    assert len(re.findall(term, page)) == 1
    assert 'id="expert"' in (site / "glossary.html").read_text("utf-8")
    assert "a.term" in (site / "terms.css").read_text("utf-8")


def test_links_of_the_readme_lead_to_pages_of_the_site(site: Path) -> None:
    links = re.findall(r'<a href="([^"#]+)', (site / "index.html").read_text("utf-8"))
    assert {"doctor.html", "examples/index.html", "LICENSE"} <= set(links)
    assert not [link for link in links if link.startswith(("docs/", "../"))]


def test_code_in_a_list_does_not_end_it(site: Path) -> None:
    steps = (site / "extending.html").read_text("utf-8").partition('id="adding-a-rule"')[2]
    first = steps.partition("</ol>")[0]
    assert "wide_tower" in first
    assert "homespec.reference" in first
    assert "```" not in steps


def test_the_interface_is_documented(site: Path) -> None:
    import homespec

    headings = re.findall(r'<h2 id="homespec\.([\w.]+)"', (site / "api.html").read_text("utf-8"))
    assert {name.rpartition(".")[2] for name in headings} == {*homespec.__all__, *homespec.TRAINING}


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# A\n\n[b](#no-such-heading)\n")
    config = tmp_path / "mkdocs.yml"
    checks = CONFIG.read_text("utf-8").partition("validation:")[2].partition("\nnav:")[0]
    config.write_text(f"site_name: a\nvalidation:{checks}")
    built = build(config, tmp_path / "site")
    assert built.returncode == 1
    assert "no-such-heading" in built.stderr


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for file in (*site.rglob("*.html"), *site.rglob("*.css")):
        text = re.sub(r'<link rel="?canonical"?[^>]*>', "", file.read_text("utf-8"))
        assert not LOADED.findall(text), file


def test_specs_lead_to_the_playground(site: Path) -> None:
    if not (site / "playground").is_dir():
        pytest.skip("needs `make playground`")
    (link,) = re.findall(
        r'href="playground/index.html#spec=([\w-]+)"', (site / "index.html").read_text("utf-8")
    )
    text = zlib.decompress(b64decode(f"{link}==="), -zlib.MAX_WBITS).decode()
    assert text in (ROOT / "README.md").read_text("utf-8")
    assert text.startswith("# specs/shorts.yaml\nhomespec: 1\n")
    listed = json.loads((site / "playground" / "examples.json").read_text("utf-8"))
    pages = "".join(page.read_text("utf-8") for page in site.rglob("*.html"))
    named = set(re.findall(r"playground/index.html#example=([^\"]+)", pages))
    assert "specs/kuairand.yaml" in named
    assert named <= {each["path"] for each in listed}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium")
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def test_pages_are_quiet_and_search_finds(browser: Browser, site: Path) -> None:
    with served(site) as address:
        for width in (1280, 400):
            browser.open(f"{address}/doctor.html?q=unknown-key", width)
            found = "document.querySelector('.md-search-result__link')?.getAttribute('href')"
            browser.wait(f"/rules\\.html/.test({found})")
            assert browser.logged() == []
            assert [r for r in browser.requests() if not r.startswith((address, "data:"))] == []
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
