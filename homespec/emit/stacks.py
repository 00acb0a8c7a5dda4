"""Stage 6, emit: what the blocks of batches have in common: stacked MLPs."""

from __future__ import annotations

from homespec.emit.layout import Expr, Group, call

ACTIVATIONS = {"relu": "F.relu", "swish": "F.silu"}


def mlps(names: Expr, widths: tuple[int, ...], activation: str, last_bias: bool = True) -> Group:
    """A stack of MLPs, one for each logical name."""
    options: dict[str, Expr] = {}
    if len(widths) > 2 and activation != "relu":
        options["activation"] = ACTIVATIONS[activation]
    if not last_bias:
        options["last_bias"] = "False"
    return call("MLPs", names, *map(str, widths), **options)


def mlps_uses(made: Group) -> set[str]:
    """The class of a stack, and which of its options it needs."""
    given = dict(made.keywords)
    return {
        "MLPs",
        "activation" if "activation" in given else "relu",
        "bare" if "last_bias" in given else "biased",
    }
