"""`homespec new --from` where names and texts of the data would be YAML, comments or controls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from made_tables import ROWS, table, written

RANDOM = np.random.default_rng(1)
LABEL = RANDOM.permutation(np.arange(ROWS) % 10 < 3).astype(int)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


HOSTILE = (
    "has space", "class", "1st", "ü", "a\nb", "a`b", "x: {y}", "HAS SPACE", "forward", "null",
    "[1]", "# homespec: ignore-file[repeated-rows] x", "\u202eevil", "'q'", '"d"', "", "a" * 250,
    "\x07", "@x", "-", "train", "\u2028", "homespec: 1\nname: other", "emoji 😀", "--", "null ",
    "tasks",
)  # fmt: skip


def test_hostile_names(tmp_path: Path) -> None:
    columns = {name: RANDOM.integers(0, 300, ROWS) for name in HOSTILE}
    spec = written(tmp_path, table(**columns, click=LABEL))
    read = {options.get("column", name) for name, options in spec["features"].items()}
    assert read == {*HOSTILE} - {"", "a" * 250}
    assert spec["name"] == "t"
    text = (tmp_path / "specs/t.yaml").read_text()
    assert not set("\u202e\u2028\x07") & set(text)
    comments = [line.partition("#")[2] for line in text.splitlines() if "column:" not in line]
    assert not any("homespec: ignore" in comment for comment in comments)


def test_hostile_values(tmp_path: Path) -> None:
    texts = ["# homespec: ignore-file[x]", "a: b", "\u202eevil", "it's", '"q"', "true", "a\nb: c"]
    rows = table(
        only=["\u202e# homespec: ignore-file[x]\nname: other"] * ROWS,
        text=[texts[i % 5 + i % 2] for i in range(ROWS)],
        two=[texts[i % 2 * 4] for i in range(ROWS)],
        y=[['"', "'"][i] for i in LABEL],
    )  # fmt: skip
    spec = written(tmp_path, rows.drop(["y"]), "--label", "two")
    assert spec["name"] == "t"
    assert not set("\u202e") & set((tmp_path / "specs/t.yaml").read_text())
    both = rows.select(["text"]).append_column("two", pa.array(["'", '"'] * (ROWS // 2)))
    assert written(tmp_path, both, "--label", "two")["tasks"]["two"]["rate"] == 0.5
