"""Stage 2, schema: the tasks, what they are trained on, and their towers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from homespec.schema.activations import Activation
from homespec.schema.field_types import Label, Member, Model, Name, Unknown, Widths, absent, listed
from homespec.schema.numbers import (
    Dropout,
    Epsilon,
    Focal,
    Momentum,
    PosWeight,
    Rate,
    Scale,
    TermWeight,
    Weight,
)


class Tower(Model):
    """The MLP from a task's representation to its logit."""

    hidden: Widths = (64,)
    """Widths of the hidden layers; [] makes the tower one linear layer."""
    activation: Activation = "relu"
    """Activation after each hidden layer. The last layer is bare: towers emit logits."""
    norm: Literal["batch", "layer", "none"] = "none"
    """Normalisation of each hidden layer, before its activation (docs/regularisation.md)."""
    dropout: Dropout = Field(default=0.0, examples=[0.1])
    """In training, the share of the outputs of each hidden layer that are set to 0. Logits are left
    as they are (docs/regularisation.md)."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the normalisation (torch's default)."""
    norm_momentum: Momentum = 0.1
    """Momentum of the running statistics of batch norm (torch's default)."""


class Within(Model):
    """A term of a task's loss that ranks the rows of one session, or of one user."""

    column: Annotated[str, Field(min_length=1)]
    """The column with the id of a row's session. Rows with one id are compared, as far as they are
    in one batch; keep them next to each other in the files."""
    weight: TermWeight = 1.0
    """Weight of the term beside the loss of single rows, which has 1."""


class Task(Model):
    """One behaviour to predict."""

    kind: Literal["binary", "regression"] = "binary"
    """`binary`: the label is 0 or 1, and the tower computes its logit. `regression`: the label is a
    number such as a watch time, and the tower computes an estimate in units of `scale`."""

    label: Label = ""
    """A column of 0 and 1, or a test of columns: `play_ms / duration_ms >= 0.8`, `status == "Never
    married"`, `country in [US, DE]`, `buy_time is not null`. Put names that are not plain words in
    backticks. Default: the task's name. Rows with a missing label do not count in the task's loss.
    """
    unknown: Unknown = absent(-1)
    """A number or text, such as -1, that marks an unknown value in the columns of the label."""
    where: str = ""
    """A binary task. Only rows in which its label is 1 are samples of this task, in training and in
    evaluation. Default: all rows."""
    product: Annotated[tuple[str, ...], Field(min_length=2), BeforeValidator(listed)] = ()
    """Binary tasks whose probabilities are multiplied to get this task's (ESMM: ctcvr = ctr * cvr).
    Such a task has no tower and belongs to no group."""
    loss: Literal["squared", "absolute", "huber"] = "squared"
    """Loss of a regression, computed in units of `scale`."""
    pos_weight: PosWeight = 1.0
    """For a binary task: factor for the loss of positive rows."""
    focal: Focal = Field(default=0.0, examples=[2.0])
    """For a binary task: exponent of the focal loss, such as 2, which reduces the weight of
    well-predicted rows. Default: cross-entropy."""
    within: Within = absent({"column": "session_id", "weight": 1.0})
    """For a binary task: also rank the rows of a session by their labels (JRC, docs/losses.md).
    Default: the loss of each row depends on that row alone."""
    scale: Scale = 1.0
    """Unit of a regression. For example, 60000 trains on minutes if the label is in milliseconds.
    """
    weight: Weight = 1.0
    """Weight of the task's loss in the sum (HOME.md section 6: equal weights)."""
    sample_weight: str = ""
    """A column with the weight of each row in the task's loss, 0 or more. The loss is the weighted
    mean. A row of weight 0 counts neither in the loss nor in metrics. Default: all rows have the
    same weight.
    """
    outside_weight: Weight = Field(default=0.0, examples=[0.1])
    """Loss weight of rows outside of the sample space that `where` names; rows inside have 1.
    Metrics still cover only the rows inside."""
    rate: Rate = absent(0.01)
    """Expected share of positive labels. Used by the design rules, and to initialise the tower's
    bias at the task's log-odds. Default: unknown."""
    tower: Tower = Field(default_factory=Tower.model_construct)
    """Differences of this task's tower from `towers`."""

    was: Name = ""
    """The task's name in older specs. `homespec diff` and `migrate` treat both as one task."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {} if value is None else value  # `follow:` alone declares a task with every default


class Group(Model):
    """Tasks, and groups, that share experts."""

    members: Annotated[tuple[Member, ...], Field(min_length=1), BeforeValidator(listed)]
    """Names of tasks and of other groups."""
    was: Name = ""
    """The group's name in older specs. `homespec diff` and `migrate` treat both as one group."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        is_long = isinstance(value, dict) and value.keys() & cls.model_fields.keys()
        return value if is_long else {"members": value}
