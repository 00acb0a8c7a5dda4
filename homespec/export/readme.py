"""Export: the folder's README.md, which lists its files and shows how to load them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

FILES = {
    "model.pt2": "the model, compiled by AOTInductor",
    "model.onnx": "the model for ONNX Runtime",
    "model.onnx.data": "the weights of model.onnx",
    "manifest.json": "inputs and outputs with types, shapes and meaning; versions and hashes",
    "sample_inputs.safetensors": "features of a few rows",
    "sample_outputs.safetensors": "what the trained model gives for them",
    "spec.yaml": "the spec that was trained",
    "triton": "config.pbtxt for Triton Inference Server",
}

PT2 = """
## model.pt2

With torch alone, in Python. Features may be in any order; other names, types and shapes are
refused:

```python
import torch
score = torch._inductor.aoti_load_package("model.pt2")
outputs = score(**features)  # features by name -> {{"{task}": tensor of [batch], …}}
```

It was compiled with torch {torch} for {device}, and needs that version of torch, that kind of
device, and a processor with the instructions of the one it was compiled on.
"""
ONNX = """
## model.onnx

With onnxruntime and numpy alone:

```python
import onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
outputs = session.run(["{task}"], features)  # features by name -> [array of [batch]]
```
"""


USER = """
## One user's request

The features of the user have one row, for all candidates: {names}. The others have a row for each
candidate, of which there may be any number, and so have the outputs. Requests of several users
cannot be batched.
"""


def write_readme(
    folder: Path, name: str, tasks: Sequence[str], output: str, versions: Mapping[str, str],
    user: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write README.md for the files that are in the folder."""
    there = {file: words for file, words in FILES.items() if (folder / file).exists()}
    rows = "".join(f"| `{file}` | {words} |\n" for file, words in there.items())
    text = f"# {name}\n\n{output.capitalize()} of {', '.join(tasks)}.\n\n| file | |\n|---|---|\n"
    text += rows
    if user:
        text += USER.format(names=", ".join(f"`{each}`" for each in user))
    for file, section in (("model.pt2", PT2), ("model.onnx", ONNX)):
        if file in there:
            text += section.format(task=tasks[0], **versions)
    (folder / "README.md").write_text(text, "utf-8")
