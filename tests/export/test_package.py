"""model.pt2: features by name in any order, and a refusal of whatever it would misread."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_run import FLOAT32
from torch import Tensor

from homespec.export.agreement import BATCHES
from homespec.export.aotinductor import Package
from homespec.export.subject import Subject
from homespec.train.torch_compile import obstacle

pytestmark = [
    pytest.mark.compiles,
    pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]
Features = dict[str, Tensor]


@pytest.fixture(scope="module")
def package(exported: Path) -> Package:
    return Package(exported / "model.pt2")


def close(found: Features, expected: Features) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [*BATCHES, 3])
def test_the_order_of_features_makes_no_difference(
    package: Package, subject: Subject, rows: int
) -> None:
    features = subject.features(rows)
    expected = subject.expected(features)
    names = [*features]
    for seed in range(3):
        random.Random(seed).shuffle(names)
        close(package({name: features[name] for name in names}), expected)


def test_a_product_is_the_product_of_probabilities(package: Package, subject: Subject) -> None:
    outputs = package(subject.features(64))
    torch.testing.assert_close(outputs["click_and_like"], outputs["click"] * outputs["like"])


def test_names_are_checked(package: Package, subject: Subject) -> None:
    features = subject.features(5)
    for wrong in ({**features, "other": features["tab"]}, {"features": features}, {}):
        with pytest.raises(ValueError, match="keyword mismatch"):
            package(wrong)
    with pytest.raises(ValueError, match="keyword mismatch"):
        package._run(features)  # by position, where torch would not look at names
    sizes = f"expected inputs vector size to be {len(features)}, but got {len(features) - 1}"
    with pytest.raises(RuntimeError, match=sizes):
        package._run(**{**features, "tab": features["tab"].numpy()})


def column_of_matrix(values: Tensor) -> Tensor:
    return torch.stack([values, values + 1], dim=1)[:, 0]


REFUSED: dict[str, tuple[str, Callable[[Tensor], Tensor], str]] = {
    "int32": ("user_id", lambda x: x.int(), "must be int64, not int32"),
    "float ids": ("tab", lambda x: x.float(), "must be int64, not float32"),
    "float32": ("duration", lambda x: x.float(), "must be float64, not float32"),
    "float64": ("days", lambda x: x.double(), "must be float32, not float64"),
    "half": ("asr", lambda x: x.half(), "must be float32, not float16"),
    "fewer rows": ("days", lambda x: x[:3], "has 3 rows, and `user_id` has 5"),
    "one row": ("tab", lambda x: x[:1], "has 1 rows, and `user_id` has 5"),
    "no rows": ("user_id", lambda x: x[:0], "has no rows"),
    "narrow": ("asr", lambda x: x[:, :4].contiguous(), r"must be \[batch, 5\], not \[5, 4\]"),
    "no events": ("history.watched", lambda x: x[:, 0], r"must be \[batch, 6\], not \[5\]"),
    "a column": ("video_id", lambda x: x[:, None], r"must be \[batch\], not \[5, 1\]"),
    "strided": ("user_id", column_of_matrix, r"must be contiguous: its strides are \[2\]"),
    "transposed": ("asr", lambda x: x.T.contiguous().T, r"must be contiguous: its strides are"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_misread_is_refused_by_name(
    package: Package, subject: Subject, case: str
) -> None:
    """AOTInductor itself checks none of that: it would read other numbers, or past the end."""
    name, change, message = REFUSED[case]
    features = subject.features(5)
    with pytest.raises(RuntimeError, match=f"the input `{name}` {message}"):
        package({**features, name: change(features[name])})


def test_strides_of_a_single_row_do_not_matter(package: Package, subject: Subject) -> None:
    features = subject.features(5)
    one = {name: tensor[:1] for name, tensor in features.items()}
    odd = {**one, "user_id": column_of_matrix(features["user_id"])[:1]}
    assert odd["user_id"].stride() == (2,)
    close(package(odd), package(one))


def test_numbers_have_the_types_of_the_data(subject: Subject) -> None:
    found = {each.name: each.dtype for each in subject.inputs if each.tensor.kind == "number"}
    assert found == {n: "float32" if n in FLOAT32 else "float64" for n in found}
    assert found.keys() == {"duration", "days", "price", "score", "history.watched"}


def test_the_package_says_what_it_takes(package: Package, exported: Path) -> None:
    about = package.metadata
    manifest: dict[str, Any] = json.loads((exported / "manifest.json").read_text())
    assert about["inputs"].split(",") == [*manifest["inputs"]]
    assert about["input_dtypes"].split(",") == [i["dtype"] for i in manifest["inputs"].values()]
    assert about["outputs"].split(",") == [*manifest["tasks"]]
    assert about["weights_sha256"] == manifest["weights_sha256"]
    in_spec = json.loads(package._run.loader.get_call_spec()[0])[1]
    assert json.loads(in_spec["children_spec"][1]["context"]) == [*manifest["inputs"]]
