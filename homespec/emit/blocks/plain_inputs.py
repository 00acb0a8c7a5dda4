"""Inputs of a plain file: each feature is a module, created from its line of FEATURES."""

import torch
from torch import nn

from homespec.emit.blocks.rows import (
    bucket_rows,
    cross_rows,
    hash_rows,
    vocab_rows,
    word_rows,
)


class Embedding(nn.Embedding):
    """The table of a feature; row 0 is for missing values."""

    def __init__(self, field):
        super().__init__(field["rows"], field["dim"])
        nn.init.normal_(self.weight, std=0.01)


class Embedding__inference(nn.Embedding):
    """The table of a feature; row 0 is for missing values."""

    def __init__(self, field):
        super().__init__(field["rows"], field["dim"])


class Tables(nn.ModuleDict):
    """The tables of a feature at P nodes of the task tree: values [...] -> [..., P * dim]."""

    def __init__(self, kind, field):
        super().__init__({node: kind(field) for node in field["at"]})

    def forward(self, values):
        return torch.cat([table(values) for table in self.values()], dim=-1)


class Hashed(Embedding):
    """Any ids [...] -> embeddings [..., dim]."""

    def forward(self, ids):
        return super().forward(hash_rows(ids, self.num_embeddings))


class Vocab(Embedding):
    """Ids [...], counted from 0 -> embeddings [..., dim]."""

    def forward(self, ids):
        return super().forward(vocab_rows(ids, self.num_embeddings))


class Words(Embedding):
    """Ids [...] -> embeddings [..., dim], with a vocabulary that is fitted to data.

    The vocabulary is saved with the weights.
    """

    def __init__(self, field):
        super().__init__(field)
        unset = torch.full((3, field["words"]), torch.nan, dtype=torch.float64)
        self.register_buffer("vocabulary", unset)

    def _apply(self, fn, recurse=True):
        """Keep the vocabulary in float64 when the model is cast."""
        vocabulary = self.vocabulary
        super()._apply(fn, recurse)
        if self.vocabulary.dtype != torch.float64:
            self.vocabulary = vocabulary.to(self.vocabulary.device)
        return self

    def forward(self, ids):
        return super().forward(word_rows(ids, self.vocabulary))


class Hashed__crossed(Embedding):
    """Any ids [...] -> embeddings [..., dim]."""

    def rows(self, ids):
        """The rows of ids."""
        return hash_rows(ids, self.num_embeddings)

    def forward(self, ids):
        return super().forward(self.rows(ids))


class Vocab__crossed(Embedding):
    """Ids [...], counted from 0 -> embeddings [..., dim]."""

    def rows(self, ids):
        """The rows of ids."""
        return vocab_rows(ids, self.num_embeddings)

    def forward(self, ids):
        return super().forward(self.rows(ids))


class Words__crossed(Words):
    def rows(self, ids):
        """The rows of ids."""
        return word_rows(ids, self.vocabulary)


class Crossed(Embedding):
    """Pairs of two ids [...] -> embeddings [..., dim]; `own` are the rows of each id."""

    def forward(self, ids, own):
        return super().forward(cross_rows(ids, own, self.num_embeddings))


class Bucketized(Embedding):
    """Numbers [...] -> embeddings [..., dim] of their buckets.

    Boundaries are constants of this file and not buffers, so they are not in the state, and neither
    casts nor averages of models change them. They move to other devices with the weights.
    """

    def __init__(self, field):
        super().__init__(field)
        self.numbers = field["boundaries"]
        self.place_boundaries()
        self.register_load_state_dict_post_hook(Bucketized.place_boundaries)

    def place_boundaries(self, _=None):
        """Create the tensors on the device of the weights."""
        device = self.weight.device
        self.boundaries = torch.tensor(self.numbers, dtype=torch.float64, device=device)
        self.rounded = self.boundaries.float()

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.place_boundaries()
        return self

    def forward(self, x):
        return super().forward(bucket_rows(x, self.boundaries, self.rounded))


class Fitted(Embedding):
    """Like `Bucketized`, with boundaries that are fitted to data and saved with the weights."""

    def __init__(self, field):
        super().__init__(field)
        unset = torch.full((field["rows"] - 2,), torch.nan, dtype=torch.float64)
        self.register_buffer("boundaries", unset)

    def _apply(self, fn, recurse=True):
        """Keep boundaries in float64 when the model is cast."""
        boundaries = self.boundaries
        super()._apply(fn, recurse)
        if self.boundaries.dtype != torch.float64:
            self.boundaries = boundaries.to(self.boundaries.device)
        return self

    def forward(self, x):
        return super().forward(bucket_rows(x, self.boundaries, self.boundaries.float()))
