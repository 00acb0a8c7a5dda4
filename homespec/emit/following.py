"""Stage 7, emit: the norm, activation and dropout after a layer of an MLP, in both layouts."""

from __future__ import annotations

from dataclasses import dataclass

from homespec.emit.layout import Expr, Group, call, literal
from homespec.graph.nodes import ExpertSet, Gate, Tower

FUNCTIONS = {
    "relu": "F.relu",
    "swish": "F.silu",
    "gelu": "F.gelu",
    "tanh": "torch.tanh",
    "leaky_relu": "F.leaky_relu",
}
"""Activations without weights, as functions."""
MODULES = {
    "relu": "nn.ReLU()",
    "swish": "nn.SiLU()",
    "gelu": "nn.GELU()",
    "tanh": "nn.Tanh()",
    "leaky_relu": "nn.LeakyReLU()",
}
"""The same activations as modules."""
OF_CLASSES = ("relu", "swish")
"""The activations of hidden layers for which there are classes of MLPs."""


@dataclass(frozen=True, slots=True)
class Following:
    """The norm, activation and dropout after a layer."""

    activation: str
    norm: str = "none"
    eps: float = 0.0
    momentum: float = 0.0
    dropout: float = 0.0

    @property
    def of_class(self) -> bool:
        """Whether it is only an activation that a class of MLPs has."""
        plain = self.norm in ("none", "folded") and not self.dropout
        return plain and self.activation in OF_CLASSES


def after_hidden(node: ExpertSet | Gate | Tower) -> Following | None:
    """The modules after each hidden layer of a node's MLPs; None without hidden layers."""
    if len(node.widths) == 2:
        return None
    if isinstance(node, Tower):
        return Following(node.activation, node.norm, node.eps, node.momentum, node.dropout)
    dropout = node.dropout if isinstance(node, ExpertSet) else 0.0
    return Following(node.hidden_activation, dropout=dropout)


def biases(node: ExpertSet | Gate | Tower) -> tuple[bool, ...]:
    """Whether Linears have a bias: batch norm removes one before it."""
    hidden = after_hidden(node)
    last = not isinstance(node, ExpertSet) or node.last_bias
    of_hidden = hidden is None or hidden.norm != "batch"
    return (*[of_hidden] * (len(node.widths) - 2), last)


def after_last(node: ExpertSet) -> Following:
    """The modules after the last layer of experts."""
    return Following(node.activation, node.norm, node.eps, node.momentum, node.dropout)


def is_layered(node: ExpertSet | Gate | Tower) -> bool:
    """Whether its hidden layers need modules, because no class has them."""
    following = after_hidden(node)
    return following is not None and not following.of_class


def stacked(following: Following, names: str, width: str) -> tuple[list[Expr], set[str]]:
    """The modules of a stack, with weights for each of the `names`, and their blocks."""
    shape = (names, width)
    eps = {"eps": literal(following.eps)}
    running = {**eps, "momentum": literal(following.momentum)}
    dropout: list[Expr] = [_dropout(following)] if following.dropout else []
    if (following.norm, following.activation) == ("batch", "swish"):
        return [call("BatchNormSwish", *shape, **running), *dropout], {"norms.BatchNormSwish"}
    norms = {"batch": ("BatchNorm", running), "layer": ("LayerNorm", eps)}
    dices = {"dice": ("Dice", running), "folded_dice": ("FoldedDice", {})}
    pair = (norms.get(following.norm), dices.get(following.activation))
    made: list[Expr] = [call(part[0], *shape, **part[1]) for part in pair if part]
    uses = {f"norms.{part[0]}" for part in pair if part}
    if following.activation in MODULES:
        made.append(MODULES[following.activation])
    if following.activation == "prelu":
        made.append(call("PReLU", names))
        uses.add("norms.PReLU")
    return made + dropout, uses


def _dropout(following: Following) -> str:
    return f"nn.Dropout({literal(following.dropout)})"


def named(following: Following, width: str) -> tuple[dict[str, Expr], set[str]]:
    """The modules of one MLP by the names of their weights, and their blocks."""
    running = {"eps": literal(following.eps), "momentum": literal(following.momentum)}
    made: dict[str, Expr] = {}
    uses = set()
    if following.norm == "batch":
        made["norm"] = call("BatchNorm1d", width, **running)
        uses.add("plain.BatchNorm1d")
    if following.norm == "layer":
        made["norm"] = call("nn.LayerNorm", width, eps=literal(following.eps))
    if following.activation == "dice":
        made["dice"] = call("Dice", width, **running)
        uses.add("plain.Dice")
    if following.activation == "folded_dice":
        made["dice"] = call("FoldedDice", width)
        uses.add("plain.FoldedDice")
    if following.activation == "prelu":
        made["act"] = "nn.PReLU()"
    if following.activation in MODULES:
        made["act"] = MODULES[following.activation]
    if following.dropout:
        made["dropout"] = _dropout(following)
    return made, uses


def by_width(modules: dict[str, Expr]) -> Group:
    """`lambda width: {"act": …}`: a function that creates modules by name."""
    keywords = tuple((literal(name), made) for name, made in modules.items())
    return Group("lambda width: ", (), keywords, "{}")


def by_names(modules: list[Expr]) -> Group:
    """`lambda names, width: […]`: a function that creates the modules of a stack."""
    return Group("lambda names, width: ", tuple(modules), brackets="[]")
