"""Training: how numbers are scaled, as it was fitted to data, frozen in a file. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from homespec.atomic_write import write_texts
from homespec.data import DataError
from homespec.data.scale_fit import ScaleFit
from homespec.schema.fitted_columns import scaled_columns
from homespec.schema.models import Spec
from homespec.train import RunError

FILE = "scaling.json"
VERSION = 1


@dataclass(frozen=True)
class Scaled:
    """How a number is scaled, (x - offset) / unit, and what that was fitted to."""

    column: str
    scale: str
    """`log` scales sign(x) log(1 + |x|)."""
    known: int
    """Rows with a number; 0 for what is that of another run."""
    offset: float
    unit: float
    """Above 0."""


@dataclass(frozen=True)
class Scaling:
    """The scaled numbers of a spec by name, and the number of rows that were read."""

    rows: int
    features: dict[str, Scaled]

    @property
    def values(self) -> dict[str, tuple[float, float]]:
        """Offset and unit by feature, as `set_scaling` of a generated file takes them."""
        return {name: (scaled.offset, scaled.unit) for name, scaled in self.features.items()}

    def check(self, spec: Spec, where: str) -> None:
        """Raise DataError that says what differs if a spec asks for another scaling."""
        for difference in self._differences(spec):
            raise DataError(
                f"{where} was fitted for another spec: {difference}. Use the spec that it was"
                " fitted for, or start another run, which fits its own"
            )

    def _differences(self, spec: Spec) -> Iterator[str]:
        wanted = scaled_columns(spec)
        for name, asked in wanted.items():
            own = self.features.get(name)
            if own is None:
                yield f"it has no scaling of `{name}`"
            elif own.scale != asked.scale:
                yield f"`{name}` has the scale {own.scale} there and {asked.scale} in the spec"
            elif own.column != asked.column:
                yield f"`{name}` is the column `{own.column}` there, `{asked.column}` in the spec"
        for name in self.features:
            if name not in wanted:
                yield f"it has a scaling of `{name}`, which the spec does not scale"

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all. Raises RunError where that fails."""
        about = {"version": VERSION, **asdict(self)}
        try:
            write_texts({path: json.dumps(about, indent=1, allow_nan=False) + "\n"})
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror})") from None


def read(path: Path) -> Scaling:
    """What `Scaling.write` wrote. Raises DataError for a file that is missing or broken."""
    try:
        about = json.loads(path.read_text("utf-8"))
        if about["version"] != VERSION:
            raise ValueError(f"version {about['version']}, not {VERSION}")
        features = {name: _read(name, entry) for name, entry in about["features"].items()}
        return Scaling(int(about["rows"]), features)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(
            f"{path} cannot be read ({reason}): bring it back from a copy, or start another run,"
            " which fits its own scaling"
        ) from None


def _read(name: str, entry: dict[str, Any]) -> Scaled:
    offset, unit = float(entry["offset"]), float(entry["unit"])
    if not (math.isfinite(offset) and math.isfinite(unit) and unit > 0):
        raise ValueError(f"the scaling of {name} is not finite, or its unit not above 0")
    return Scaled(str(entry["column"]), str(entry["scale"]), int(entry["known"]), offset, unit)


def fitted(fit: ScaleFit) -> Scaling:
    """The scaling of all numbers whose rows were added. Raises DataError where there is none."""
    features = {}
    for name, asked in fit.asked.items():
        offset, unit = fit.scaling(name)
        known = fit.moments[name].count
        features[name] = Scaled(asked.column, asked.scale, known, offset, unit)
    return Scaling(fit.rows, features)
