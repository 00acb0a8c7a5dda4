"""What a model is called with is looked at by name, before anything is computed."""

import torch

from homespec.emit.blocks.constants import FEATURES


def check_shapes(features):
    """Raise ValueError for features that are missing or of another shape than FEATURES says."""
    if missing := [name for name in FEATURES if name not in features]:
        raise ValueError(f"features missing: {', '.join(missing)}")
    first = next(iter(FEATURES))
    for name in FEATURES:
        shape = features[name].shape
        if len(shape) != 1:
            raise ValueError(f"{name} must be [B], not {list(shape)}")
        if shape[0] != (rows := features[first].shape[0]):
            raise ValueError(f"{name} has {shape[0]} rows, {first} has {rows}")


def check_shapes__lengths(features):
    """Raise ValueError for features that are missing or of another shape than FEATURES says."""
    if missing := [name for name in FEATURES if name not in features]:
        raise ValueError(f"features missing: {', '.join(missing)}")
    first = next(iter(FEATURES))
    for name, field in FEATURES.items():
        shape = list(features[name].shape)
        length = [field["length"]] if "length" in field else []
        if not shape or shape[1:] != length:
            wanted = ", ".join(["B", *map(str, length)])
            raise ValueError(f"{name} must be [{wanted}], not {shape}")
        if shape[0] != (rows := features[first].shape[0]):
            raise ValueError(f"{name} has {shape[0]} rows, {first} has {rows}")


def check_ids(features):
    """Raise ValueError for ids that are no integers."""
    for name, field in FEATURES.items():
        dtype = features[name].dtype
        if field["kind"] in ("hashed", "vocab") and (
            dtype.is_floating_point or dtype == torch.bool
        ):
            raise ValueError(f"{name} is an id, so it must be integers, not {dtype}")


def check_numbers(features):
    """Raise ValueError for numbers that have too few digits for their boundaries."""
    for name, field in FEATURES.items():
        dtype = features[name].dtype
        if field["kind"] in ("bucketized", "fitted") and dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"{name} is {dtype}, which has too few digits for its boundaries: "
                "give float32, float64 or integers"
            )


def check_boundaries(model):
    """Raise ValueError for boundaries that are not set."""
    if model.unset:
        raise ValueError(
            f"the boundaries of {', '.join(model.unset)} are not known: fit them to data and call "
            "set_boundaries, or load weights that were trained"
        )


def check_batch(model, features):
    """Raise ValueError for a batch of one row in training, which has no variance."""
    if model.training and features[next(iter(FEATURES))].shape[0] < 2:
        raise ValueError("training needs batches of at least 2 rows: experts are batch-normalised")
