"""The bytes of a model's weights: counted, compared with a limit that the environment sets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import homespec
from homespec.analysis.costs import cost_of, weights_of
from homespec.limits import MAX_BYTES, VARIABLE, describe_bytes, max_bytes

SPEC = """\
homespec: 1
name: size
features: {{user_id: {{id: {{vocab: {rows}}}, dim: {dim}}}, tab: {{id: {{vocab: 7}}, dim: 64}}}}
groups: {{watch: [click, view], act: [like, follow]}}
tasks: {{click: , view: , like: , follow: }}
experts: {{hidden: [{hidden}], all: {{shared: {count}}}}}
"""


def diagnosed(
    rows: int = 1000, dim: int = 64, hidden: int = 64, count: int = 2
) -> list[tuple[str, str]]:
    try:
        text = SPEC.format(rows=rows, dim=dim, hidden=hidden, count=count)
        report = homespec.loads(text).analysis.diagnostics
    except homespec.SpecError as error:
        report = error.report.diagnostics
    return [(d.rule.code, d.message) for d in report if d.rule.code in ("HS310", "HS311")]


def test_petabytes_are_refused_with_rows_width_and_bytes() -> None:
    ((code, message),) = diagnosed(rows=2_147_483_647, dim=1_048_576)
    assert code == "HS310"
    assert message == (
        "the weights take 9.0 PB, more than the limit of 100.0 TB: the table of `user_id`, "
        "2,147,483,648 rows of width 1,048,576, has 9.0 PB (9,007,199,254,740,992 bytes)"
    )


def test_terabytes_are_a_warning() -> None:
    ((code, message),) = diagnosed(rows=2_000_000_000, dim=256)
    assert (code, message[:55]) == (
        "HS311",
        "the weights take 2.0 TB, more than one machine holds: t",
    )
    assert diagnosed(rows=900_000_000, dim=256) == []


def test_the_trunk_counts_too() -> None:
    ((code, message),) = diagnosed(hidden=1_000_000, dim=1_000_000, count=100)
    assert code == "HS310"
    assert "the expert set of `shared` in layer `meta` has 400.1 TB" in message


def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "100 kB")
    ((code, message),) = diagnosed()
    assert (code, "more than the limit of 100.0 kB" in message) == ("HS310", True)
    monkeypatch.setenv(VARIABLE, "20PB")
    assert [code for code, _ in diagnosed(rows=2_147_483_647, dim=1_048_576)] == ["HS311"]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", MAX_BYTES),
        ("  ", MAX_BYTES),
        ("1000", 1000),
        ("500GB", 500 * 10**9),
        ("1.5 TB", 1_500_000_000_000),
        ("2TiB", 2 * 2**40),
        ("64k", 64_000),
        ("3 pb", 3 * 10**15),
    ],
)
def test_sizes(text: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert max_bytes() == number


@pytest.mark.parametrize("text", ["many", "-1", "0", "1e12", "5 XB", "1,000", "inf", "9" * 99])
def test_what_is_no_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(ValueError, match=rf"^{VARIABLE} is '.*', not a size such as"):
        max_bytes()


def test_what_is_no_size_is_wrong_usage(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "homespec", "validate", "x.yaml"],
        env={"PATH": "", VARIABLE: "lots"},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == f"Error: {VARIABLE} is 'lots', not a size such as 500GB or 2TiB\n"


@pytest.mark.parametrize(
    ("number", "words"),
    [(999, "999 bytes"), (1000, "1.0 kB"), (999_900_000, "999.9 MB")],
)
def test_words(number: int, words: str) -> None:
    assert describe_bytes(number) == words


@given(st.integers(1, 10**24))
def test_words_are_near(number: int) -> None:
    value, unit = describe_bytes(number).replace(",", "").split()
    power = ["bytes", "kB", "MB", "GB", "TB", "PB", "EB"].index(unit)
    assert abs(float(value) * 1000**power - number) <= 0.051 * 1000**power + number * 1e-9


def test_experts_are_counted_as_they_are_listed() -> None:
    """Costs take one expert times their number; the list of weights has each of them."""
    graph = homespec.load(Path(__file__).parents[1] / "specs" / "kuairand.yaml").analysis.graph
    for node in graph:
        sizes = [weight.shape for weight in weights_of(node)]
        total = 0
        for shape in sizes:
            product = 1
            for side in shape:
                product *= side
            total += product
        assert cost_of([node]).parameters == total
