"""model.onnx: the names of the spec, a free batch, and no input that is read as another one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from homespec.export.agreement import BATCHES
from homespec.export.onnx_file import Session
from homespec.export.subject import Subject
from homespec.train.torch_compile import obstacle

pytestmark = [
    pytest.mark.compiles,  # the folder holds model.pt2, too
    pytest.mark.skipif(obstacle() is not None, reason="torch.compile cannot work on this machine"),
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning"),
]
Features = dict[str, Tensor]


@pytest.fixture(scope="module")
def path(exported: Path) -> Path:
    return exported / "model.onnx"


@pytest.fixture(scope="module")
def session(path: Path) -> Session:
    onnxruntime.set_default_logger_severity(4)  # or each refusal is printed, too
    return Session(path)


@pytest.mark.parametrize("rows", [*BATCHES, 3])
def test_it_gives_what_the_model_gives(session: Session, subject: Subject, rows: int) -> None:
    features = subject.features(rows)
    names = [*features]
    random.Random(rows).shuffle(names)
    found = session({name: features[name] for name in names})
    torch.testing.assert_close(found, subject.expected(features), rtol=1e-4, atol=1e-4)


def test_it_has_the_names_of_the_spec(path: Path, subject: Subject) -> None:
    graph = onnx.load(path).graph
    assert [each.name for each in graph.input] == [each.name for each in subject.inputs]
    assert tuple(each.name for each in graph.output) == subject.tasks
    batches = set()
    for value, one in zip(graph.input, subject.inputs, strict=True):
        batch, *row = value.type.tensor_type.shape.dim
        batches.add(batch.dim_param)
        assert tuple(each.dim_value for each in row) == one.row
    assert len(batches) == 1


REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "another type": lambda x: x.int() if x.dtype != torch.float64 else x.float(),
    "one row": lambda x: x[:1],
    "fewer rows": lambda x: x[:3],
    "no rows": lambda x: x[:0],
    "another shape": lambda x: x[:, None],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_be_misread_is_refused(session: Session, subject: Subject, case: str) -> None:
    """Each input, the first one too, after which the others would be of another number of rows."""
    features = subject.features(5)
    for name, tensor in features.items():
        changed = {**features, name: REFUSED[case](torch.nan_to_num(tensor))}
        with pytest.raises(Exception, match=r"ONNXRuntimeError|Invalid"):
            session(changed)


@pytest.mark.parametrize("first", [True, False])
def test_other_numbers_of_rows_are_told(session: Session, subject: Subject, first: bool) -> None:
    """By the names of both inputs, also where the first one has other rows than all others."""
    features = subject.features(5)
    one, *_, last = features
    wrong = one if first else last
    with pytest.raises(Exception, match="must have as many rows as `user_id`") as caught:
        session({**features, wrong: features[wrong][:3]})
    assert f"`{wrong}`" in str(caught.value)


def test_what_is_safe_is_taken(session: Session, subject: Subject) -> None:
    """onnxruntime copies arrays that are not contiguous, and gives no rows for no rows."""
    features = subject.features(6)
    outputs = session({name: tensor[::2] for name, tensor in features.items()})
    apart = {name: tensor[::2].contiguous() for name, tensor in features.items()}
    torch.testing.assert_close(outputs, session(apart), rtol=0, atol=0)
    none = session({name: tensor[:0] for name, tensor in features.items()})
    assert {tuple(output.shape) for output in none.values()} == {(0,)}


def test_names_are_checked(session: Session, subject: Subject) -> None:
    features = subject.features(5)
    with pytest.raises(Exception, match="Invalid input name: other"):
        session({**features, "other": features["tab"]})
    with pytest.raises(Exception, match=r"Required inputs .*tab.* are missing"):
        session({name: tensor for name, tensor in features.items() if name != "tab"})
