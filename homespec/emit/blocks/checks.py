"""Checks of what a model and its losses are given."""


def check_shapes(what, tensors, shapes, rows=None):
    """The number of rows. Raises ValueError if a tensor is missing or not [rows, *its shape]."""
    if missing := [name for name in shapes if name not in tensors]:
        raise ValueError(f"{what}s missing: {', '.join(missing)}")
    for name, shape in shapes.items():
        found = list(tensors[name].shape)
        if not found or found[1:] != list(shape) or (rows is not None and found[0] != rows):
            wanted = ", ".join(map(str, ["B" if rows is None else rows, *shape]))
            raise ValueError(f"{what} {name} must be [{wanted}], not {found}")
        rows = found[0]
    return rows


def check_shapes__features(what, tensors, shapes):
    """Raise ValueError where a tensor is missing or not [B, *its shape]; all have one B."""
    rows = None
    if missing := [name for name in shapes if name not in tensors]:
        raise ValueError(f"{what}s missing: {', '.join(missing)}")
    for name, shape in shapes.items():
        found = list(tensors[name].shape)
        if not found or found[1:] != list(shape) or (rows is not None and found[0] != rows):
            wanted = ", ".join(map(str, ["B" if rows is None else rows, *shape]))
            raise ValueError(f"{what} {name} must be [{wanted}], not {found}")
        rows = found[0]
