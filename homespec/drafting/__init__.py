"""Drafting: a sample of a table -> a commented spec to start from. No torch."""


class DraftError(ValueError):
    """No spec can be made of the data; the message says what to do."""
