"""Export: makes an ONNX file refuse inputs with different numbers of rows.

In ONNX, a common name for the batch axis of all inputs has no effect: if one input has a single
row, some operators silently repeat it for the rows of the others. So all inputs except the first
are reshaped to the rows of the first before they are used, which makes no copy and fails for other
numbers of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

ROWS = "rows"
"""The names of the added tensors; names of a spec contain no colon."""


def require_equal_rows(path: Path) -> None:
    """Change a file in place. Weights in a separate file stay there."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    first, *others = (each for each in graph.input if not _has_one_row(each))
    added = [helper.make_node("Shape", [first.name], [ROWS], start=0, end=1)]
    renamed = {}
    for each in others:
        renamed[each.name] = f"{each.name}:{ROWS}"
        added += _reshaped(each, renamed[each.name], first.name)
    for node in _nodes(graph.node):
        _rename(node, renamed)
    known = [*graph.node]
    del graph.node[:]
    graph.node.extend([*added, *known])
    onnx.save(model, path)


def _has_one_row(value: Any) -> bool:
    """Whether its rows are fixed, so that onnxruntime itself refuses others: it is the user's."""
    return bool(value.type.tensor_type.shape.dim[0].dim_value == 1)


def _reshaped(value: Any, name: str, first: str) -> Iterator[Any]:
    """The nodes that reshape an input to ROWS and the shape of its rows.

    onnxruntime reports the name of the failing node, which contains both inputs: either may be
    wrong.
    """
    sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim[1:]]
    shape = ROWS
    if sizes:
        shape, own = f"{name}:shape", f"{name}:row"
        tensor = helper.make_tensor(own, onnx.TensorProto.INT64, [len(sizes)], sizes)
        yield helper.make_node("Constant", [], [own], value=tensor)
        yield helper.make_node("Concat", [ROWS, own], [shape], axis=0)
    known = f"`{value.name}` must have as many rows as `{first}`"
    yield helper.make_node("Reshape", [value.name, shape], [name], name=known, allowzero=1)


def _nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    """All nodes, including nested ones."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g.node)


def _rename(node: Any, names: Mapping[str, str]) -> None:
    for index, name in enumerate(node.input):
        node.input[index] = names.get(name, name)
