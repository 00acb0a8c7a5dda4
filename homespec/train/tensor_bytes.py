"""Training: the bytes of tensors in memory, and a hash of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor


def tensor_bytes(tensor: Tensor) -> memoryview:
    """All bytes of a tensor, in contiguous order."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def digest(tensors: Mapping[str, Tensor]) -> str:
    """A SHA-256 of tensors by name, which covers names, types, shapes and bytes.

    Runs and exports record it as `weights_sha256`, which identifies the run whose weights a server
    has.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor_bytes(tensor))
    return total.hexdigest()
