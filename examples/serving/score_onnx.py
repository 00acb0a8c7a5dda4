"""Score the sample of an export with model.onnx and compare. Needs onnxruntime and numpy.

python score_onnx.py DIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

TYPES = {"I64": "<i8", "F32": "<f4", "F64": "<f8"}
TOLERANCE = 1e-4
Arrays = dict[str, npt.NDArray[Any]]


def read_safetensors(path: Path) -> Arrays:
    """The arrays of a file by name: 8 bytes of length, that much JSON, then all numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            part = data[start + begin : start + end]
            arrays[name] = np.frombuffer(part, TYPES[about["dtype"]]).reshape(about["shape"])
    return arrays


def main(folder: Path) -> None:
    """Score the sample. Exits with 1 if the outputs differ from those of the trained model."""
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    features = read_safetensors(folder / "sample_inputs.safetensors")
    expected = read_safetensors(folder / "sample_outputs.safetensors")
    outputs = session.run([*expected], features)  # by name
    for (task, wanted), found in zip(expected.items(), outputs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
        print(task, found[:3].tolist())
    print(f"{len(next(iter(expected.values())))} rows are as the trained model scores them")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
