"""Comments for homespec are found, and only where YAML has comments."""

from __future__ import annotations

import pytest
from outlines import parse_with

TEXT = """\
# homespec: one
a: 1 # homespec: two
b: '# homespec: no'
c: |  # homespec: three
  # homespec: no
  x

#   homespec: four
d: "x
  # homespec: no
  y"
e: f # homespec: five
g: f#homespec: no
h: [1, # homespec: six
  2]
# homespec is not meant here
"""


@pytest.mark.parametrize("pure", [False, True])
def test_comments(pure: bool) -> None:
    document = parse_with(pure, TEXT.replace("#homespec", "#x"))
    found = [(c.text.split()[-1], c.span.start.line, c.alone) for c in document.comments]
    assert found == [
        ("one", 1, True),
        ("two", 2, False),
        ("three", 4, False),
        ("four", 8, True),
        ("five", 12, False),
        ("six", 14, False),
    ]
    assert document.comments[1].span.start.column == 6
