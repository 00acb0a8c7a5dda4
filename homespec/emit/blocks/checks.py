"""Checks of the inputs of a model and its losses."""

from homespec.emit.blocks.constants import USER


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
    """Raise ValueError if a tensor is missing or not [B, *its shape], with the same B for all."""
    rows = None
    if missing := [name for name in shapes if name not in tensors]:
        raise ValueError(f"{what}s missing: {', '.join(missing)}")
    for name, shape in shapes.items():
        found = list(tensors[name].shape)
        if not found or found[1:] != list(shape) or (rows is not None and found[0] != rows):
            wanted = ", ".join(map(str, ["B" if rows is None else rows, *shape]))
            raise ValueError(f"{what} {name} must be [{wanted}], not {found}")
        rows = found[0]


def check_shapes__user(what, tensors, shapes):
    """Raise ValueError if a tensor is missing or not [B, *its shape]; the user's have B = 1."""
    rows = None
    if missing := [name for name in shapes if name not in tensors]:
        raise ValueError(f"{what}s missing: {', '.join(missing)}")
    for name, shape in shapes.items():
        found, count = list(tensors[name].shape), 1 if name in USER else rows
        if not found or found[1:] != list(shape) or (count is not None and found[0] != count):
            wanted = ", ".join(map(str, ["B" if count is None else count, *shape]))
            whose = " of the user" if name in USER else ""
            raise ValueError(f"{what} {name}{whose} must be [{wanted}], not {found}")
        rows = rows if name in USER else found[0]
