"""How pages of the docs are compared with what commands print (`pages.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import commands, followed, nearly

TABLE = "  task     AUC\n ─────────────\n  click  0.730\n"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        (TABLE, TABLE, True),
        (TABLE, TABLE.replace("0.730", "0.738"), True),
        (TABLE, TABLE.replace("0.730", "0.760"), False),
        (TABLE, TABLE.replace("0.730", "-0.730"), False),
        (TABLE, TABLE.replace("click", "like"), False),
        (TABLE, TABLE.replace("  0.730", "   0.73").replace("─", "──"), True),
        (TABLE, TABLE + "more\n", False),
        ("...\n  click  0.730\n...\n", TABLE + "more\n", True),
        ("...\n  like  0.730\n...\n", TABLE, False),
        ("218 steps\n", "219 steps\n", False),
        ("9,922 rows/s, 9 s in all\n", "812 rows/s, 21.5 s in all\n", True),
        ("2.4e-07 apart\n", "3.1e-07 apart\n", True),
        ("loss +5.4e-06\n", "loss -0.0012\n", True),
    ],
)
def test_nearly(shown: str, printed: str, same: bool) -> None:
    assert nearly(shown, printed) is same


def test_a_command_may_have_several_lines() -> None:
    assert [*commands("$ echo a \\\n    b\na b\n$ true\n")] == [
        ("echo a \\\n    b", "a b\n"),
        ("true", ""),
    ]


def test_a_page_is_followed_in_order(tmp_path: Path) -> None:
    page = (
        "```yaml\n# a.yaml\nb: 1\n```\n\n```console\n$ cat a.yaml\nold\n```\n\n"
        "```python\nprint(open('a.yaml').read().count('b'))\n```\n\n```text\nold\n```\n"
    )
    fresh = followed(page, tmp_path)
    assert "$ cat a.yaml\n# a.yaml\nb: 1\n```" in fresh
    assert fresh.endswith("```text\n1\n```\n")
