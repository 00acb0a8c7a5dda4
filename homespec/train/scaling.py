"""Training: the scaling of numbers, fitted to data once and saved in a file. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from homespec.data.scale_fit import ScaleFit
from homespec.schema.fitted_columns import SCALING, scaled_columns
from homespec.schema.models import Spec
from homespec.train.fitted_file import Asked, CarriedEntry, Entry, FittedFile, Words

FILE = "scaling.json"


@dataclass(frozen=True)
class Scaled(CarriedEntry):
    """The scaling of a number, (x - offset) / unit, and the data to which it was fitted."""

    column: str
    scale: str
    """`log` scales sign(x) log(1 + |x|)."""
    known: int
    """Number of rows with a number; 0 for a scaling from another run."""
    offset: float
    unit: float
    """Above 0."""

    @property
    def asked(self) -> Asked:
        """The column and the scale."""
        return self.column, self.scale

    @property
    def numbers(self) -> tuple[float, float]:
        """Offset and unit."""
        return self.offset, self.unit

    @classmethod
    def read(cls, name: str, entry: dict[str, Any]) -> Self:
        """An entry of a file. Raises KeyError, TypeError and ValueError."""
        offset, unit = float(entry["offset"]), float(entry["unit"])
        if not (math.isfinite(offset) and math.isfinite(unit) and unit > 0):
            raise ValueError(f"the scaling of {name} is not finite, or its unit not above 0")
        return cls(str(entry["column"]), str(entry["scale"]), int(entry["known"]), offset, unit)

    @classmethod
    def carried(cls, asked: Asked, numbers: tuple[float, ...]) -> Self:
        """The scaling of another run, for which no rows were counted."""
        column, scale = asked
        return cls(column, str(scale), 0, *numbers)


@dataclass(frozen=True)
class Scaling(FittedFile[Scaled]):
    """The scaled numbers of a spec by name, and the number of rows that were read.

    Its `values` are offset and unit by feature, as `set_scaling` of a generated file takes them.
    """

    FILE: ClassVar[str] = FILE
    TENSOR: ClassVar[str] = SCALING
    ENTRY: ClassVar[type[Entry]] = Scaled
    WORDS: ClassVar[Words] = Words(
        "scaling", "a scaling", "another scaling", "the scaling of {} is",
        "the scale {} there and {}", "scale",
    )  # fmt: skip

    @staticmethod
    def wanted(spec: Spec) -> dict[str, Asked]:
        """The columns and scales that a spec asks for, by feature."""
        return {name: (own.column, own.scale) for name, own in scaled_columns(spec).items()}


def fitted(fit: ScaleFit) -> Scaling:
    """The scaling of all added numbers. Raises DataError if one cannot be scaled."""
    features = {}
    for name, asked in fit.asked.items():
        offset, unit = fit.scaling(name)
        known = fit.moments[name].count
        features[name] = Scaled(asked.column, asked.scale, known, offset, unit)
    return Scaling(fit.rows, features)
