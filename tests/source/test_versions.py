"""`version:` of a spec is a semantic version, for the compiler and for editors alike."""

from __future__ import annotations

import re

import pytest

import homespec
from homespec.schema.patterns import FORMS


@pytest.mark.parametrize(
    ("version", "is_one"),
    [
        ("0.1.0", True), ("1.2.3-rc.1", True), ("1.2.3+build.5", True), ("1.0.0--a.0.b+01", True),
        ("1.2", False), ("v1.2.3", False), ("01.2.3", False), ("1.2.3-", False),
        ("1.2.3-01", False),        ("1.2.3+", False), ("1.2.3 ", False),
        ("9" * 5000 + ".0.0", False), ("1.0.0-" + "a" * 200, False),
    ],
)  # fmt: skip
def test_versions_are_semantic(version: str, is_one: bool) -> None:
    pattern = re.compile(FORMS["Version"]["pattern"])
    text = f"homespec: 1\nname: x\nversion: '{version}'\nfeatures: {{}}\ntasks: {{}}\n"
    with pytest.raises(homespec.SpecError) as caught:
        homespec.loads(text)
    codes = {each.rule.code for each in caught.value.report.diagnostics}
    assert ("HS117" in codes) != is_one
    short = len(version) <= FORMS["Version"]["maxLength"]
    assert (short and bool(pattern.search(version))) == is_one
