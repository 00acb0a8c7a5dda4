"""The tensors that a spec's model takes."""

from pathlib import Path

import homespec
from homespec.schema.input_tensors import InputTensor, input_tensors

SPEC = """
homespec: 1
name: t
family: mmoe
features:
  user: {id: {buckets: 10}, dim: 4, column: user_id}
  tab: {id: {vocab: 3}, dim: 4}
  age: {bucketize: [1, 2], dim: 4}
  text: {dense: 5}
tasks: {a: {}, b: {}}
"""


def test_each_kind_of_feature_is_one_tensor(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(SPEC)
    assert input_tensors(homespec.load(path)) == (
        InputTensor("user", "user", "user_id", "id", buckets=10, table="user"),
        InputTensor("tab", "tab", "tab", "id", vocab=3, table="tab"),
        InputTensor("age", "age", "age", "number", table="age"),
        InputTensor("text", "text", "text", "vector", width=5),
    )
