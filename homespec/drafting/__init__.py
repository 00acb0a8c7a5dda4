"""Drafting: writes a commented first spec from a sample of a table. No torch."""


class DraftError(ValueError):
    """Raised if no spec can be made from the data. The message gives the remedy."""
