"""Training: logs a run's settings and the options of its spec as hyperparameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
from lightning.pytorch.loggers import TensorBoardLogger

from homespec.analysis.spec_diff import model_tree
from homespec.train.checkpoint_callback import History
from homespec.train.evaluate import metric_names
from homespec.train.result import or_nan
from homespec.train.settings import Settings

if TYPE_CHECKING:
    from homespec.api import LoadedSpec

Values = dict[str, str | int | float | bool]


class Hyperparameters(lightning.Callback):
    """Logs the hyperparameters of a run; for TensorBoard, with the best epoch's metrics.

    TensorBoard's table of runs (HPARAMS) takes both at once, so it gets them when training ends,
    with metrics such as `best/auc/click`.
    """

    def __init__(self, values: Values, history: History) -> None:
        """`history` is that of the run, which grows during training."""
        self.values, self.history = values, history

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Log to all loggers except TensorBoard's."""
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(self.values)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Log to TensorBoard, which writes only in the first process."""
        metrics = {f"best/{name}": value for name, value in _best(self.history)}
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger) and metrics:
                logger.log_hyperparams(self.values, metrics, pl_module.position.step)


def _best(history: History) -> Iterator[tuple[str, float]]:
    """The metrics of the best epoch that are defined."""
    if history.best:
        best = history.epochs[history.best - 1]
        every = metric_names(best["tasks"]) | {"monitor": best["monitor"]}
        for name, value in every.items():
            if (known := or_nan(value)) == known:
                yield name, known


def hyperparameters(spec: LoadedSpec, settings: Settings) -> Values:
    """The settings by name, and `spec.` with the options of experts and gates.

    An option that differs within the model has all its values, such as `128/64`.
    """
    values: Values = {name: _plain(value) for name, value in asdict(settings).items()}
    found: dict[str, list[str | int | float | bool]] = {}
    for name, value in _options(spec):
        if (known := _plain(value)) not in (own := found.setdefault(name, [])):
            own.append(known)
    options = {
        f"spec.{name}": own[0] if len(own) == 1 else "/".join(map(str, own))
        for name, own in found.items()
    }
    return values | {"spec": spec.name, "spec.family": spec.family or "layers"} | options


def _options(spec: LoadedSpec) -> Iterator[tuple[str, Any]]:
    """Options such as `experts.width` and `gates.feature.rank` of each set and layer."""
    for layer in model_tree(spec.analysis)["layers"].values():
        for experts in layer["experts"].values():
            yield from _flat("experts", experts)
        yield from _flat("gates", layer["gates"])


def _flat(name: str, tree: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(f"{name}.{key}", value)
    else:
        yield name, tree


def _plain(value: object) -> str | int | float | bool:
    """A value for TensorBoard: a text, a number or a boolean."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return value if isinstance(value, str | int | float | bool) else "none"
