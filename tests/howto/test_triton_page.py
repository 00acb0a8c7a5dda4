"""The request on the page about Triton is one for the model of `specs/shorts.yaml`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import homespec

ROOT = Path(__file__).parents[2]
TYPES = {"id": "INT64", "bucketize": "FP64"}
"""Triton's names of what a kind of input becomes where the data holds integers."""


def test_the_request_has_the_inputs_of_the_spec() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (text,) = re.findall(r"^```yaml\n(# specs/shorts.yaml\n.*?)^```$", readme, re.M | re.S)
    spec = homespec.loads(text)
    page = (ROOT / "docs" / "howto" / "triton.md").read_text("utf-8")
    ((model, body),) = re.findall(r"/v2/models/(\w+)/infer -d '(.*?)'", page, re.S)
    assert model == spec.name
    inputs = json.loads(body)["inputs"]
    assert [each["name"] for each in inputs] == list(spec.features)
    for each, feature in zip(inputs, spec.features.values(), strict=True):
        kind = "id" if feature.id is not None else "bucketize"
        assert each["datatype"] == TYPES[kind]
        assert each["shape"] == [len(each["data"])] == [2]
