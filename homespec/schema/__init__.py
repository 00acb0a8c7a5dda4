"""Stage 2, schema: the only stage that knows pydantic."""

from homespec.schema.models import Spec
from homespec.schema.validation import validate

__all__ = ["Spec", "validate"]
