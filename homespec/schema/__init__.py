"""Stage 2, schema: validates data as a `Spec`. The only stage that imports pydantic."""

from homespec.schema.models import Spec
from homespec.schema.validation import validate

__all__ = ["Spec", "validate"]
