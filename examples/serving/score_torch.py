"""Score the sample of an export with model.pt2 and compare. Needs torch, but not homespec.

python score_torch.py DIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

TYPES = {"I64": torch.int64, "F32": torch.float32, "F64": torch.float64}
TOLERANCE = 1e-4


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: 8 bytes of length, that much JSON, then all numbers."""
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, about in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            part = data[start + begin : start + end]
            flat = torch.frombuffer(part, dtype=TYPES[about["dtype"]])
            tensors[name] = flat.reshape(about["shape"])
    return tensors


class Model:
    """A package, called as from C++: with tensors by position, in the order of its metadata.

    `torch._inductor.aoti_load_package(path)(**features)` does the same, but takes two seconds to
    load, because it imports the compiler, and a few hundred microseconds for each call, because it
    parses the structure of inputs.
    """

    def __init__(self, path: Path) -> None:
        self._loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)
        about = self._loader.get_metadata()
        self.inputs, self.outputs = (about[key].split(",") for key in ("inputs", "outputs"))
        self._names = set(self.inputs)

    def __call__(self, **features: Tensor) -> dict[str, Tensor]:
        """Features by name, in any order -> outputs by task."""
        if features.keys() != self._names:
            raise ValueError(f"missing or unknown: {sorted(features.keys() ^ self._names)}")
        found = self._loader.run([features[name] for name in self.inputs])
        return dict(zip(self.outputs, found, strict=True))


def main(folder: Path) -> None:
    """Score the sample. Exits with 1 if the outputs differ from those of the trained model."""
    score = Model(folder / "model.pt2")
    features = read_safetensors(folder / "sample_inputs.safetensors")
    expected = read_safetensors(folder / "sample_outputs.safetensors")
    outputs = score(**features)  # by name: their order makes no difference
    for task, wanted in expected.items():
        torch.testing.assert_close(outputs[task], wanted, rtol=TOLERANCE, atol=TOLERANCE)
        print(task, outputs[task][:3].tolist())
    print(f"{len(next(iter(expected.values())))} rows are as the trained model scores them")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
