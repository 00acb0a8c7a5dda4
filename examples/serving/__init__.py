"""Programs that score with an export of homespec, and without homespec (docs/serving.md)."""
