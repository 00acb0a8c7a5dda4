"""Maps raw values of features to rows of their tables."""

import torch
from torch import nn

from homespec.emit.blocks.constants import FEATURES


def hash_rows(ids, rows):
    """Ids -> rows of a table: 0 for missing (-1), else 1 + id modulo the number of other rows."""
    ids = ids.long()
    return torch.where(ids == -1, 0, 1 + ids.remainder(rows - 1))


def vocab_rows(ids, rows):
    """Ids -> rows of a table: 0 for missing and unknown, else 1 + id."""
    ids = ids.long()
    return torch.where((ids < 0) | (ids >= rows - 1), 0, 1 + ids)


def word_rows(ids, words):
    """Ids -> rows of a table by a vocabulary; 0 for missing and unknown.

    It is float64 [3, N], which averages of models do not round: for each id its remainder modulo
    2**53, in ascending order, the rest of the id, and its row.
    """
    low, high = words_of(ids)
    places = torch.bucketize(low, words[0]).clamp(max=words.shape[1] - 1)
    known = (words[0][places] == low) & (words[1][places] == high)
    return torch.where(known, words[2][places].long(), 0)


def words_of(ids):
    """Ids -> (remainder modulo 2**53, the rest), both exact in float64."""
    ids = ids.long()
    low = ids.remainder(2**53)
    return low.double(), (ids - low).double()


def cross_rows(ids, own, rows):
    """Pairs of ids -> rows of a table; 0 where one of them has row 0 among its `own` rows.

    Others have 1 + (h (h + 1) mod p) modulo the number of other rows, with p = 2**31 - 1 and
    h = (1002008459 a + 462779543 b) mod p. No product leaves the range of int64.
    """
    p = 2**31 - 1
    a, b = (each.long().remainder(p) for each in ids)
    h = (1002008459 * a + 462779543 * b).remainder(p)
    hashed = (h * (h + 1)).remainder(p).remainder(rows - 1)
    return torch.where((own[0] > 0) & (own[1] > 0), 1 + hashed, 0)


def bucket_rows(x, boundaries, rounded):
    """Numbers -> rows of a table: 0 for NaN, else 1 + the number of boundaries at or below.

    float32 numbers are compared with boundaries `rounded` to float32, all others with `boundaries`
    in float64.
    """
    cuts = rounded if x.dtype == torch.float32 else boundaries
    buckets = torch.bucketize(x.to(cuts.dtype), cuts, right=True)
    return torch.where(x.isnan(), 0, 1 + buckets)


class Boundaries(nn.Module):
    """Holds the boundaries of FEATURES as tensors: in float64, and rounded to float32.

    They are not buffers, so they are not in the state, and neither casts nor averages of models
    change them. They move to other devices with the weights.
    """

    def __init__(self):
        super().__init__()
        self.place_boundaries(None)
        self.register_load_state_dict_post_hook(Boundaries.leave_meta)

    def place_boundaries(self, device):
        """Create the tensors on a device."""
        self.boundaries = {}
        for name, field in FEATURES.items():
            if "boundaries" in field:
                exact = torch.tensor(field["boundaries"], dtype=torch.float64, device=device)
                self.boundaries[name] = exact, exact.float()

    def leave_meta(self, _):
        """If a state was assigned to a model on the meta device, move them to its new device."""
        if next(iter(self.boundaries.values()))[0].is_meta:
            self.place_boundaries(next(self.parameters()).device)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.place_boundaries(fn(next(iter(self.boundaries.values()))[0]).device)
        return self


class FittedBoundaries(nn.Module):
    """Numbers by feature -> rows of the tables, with boundaries that are fitted to data.

    `set_boundaries` sets them, and they are saved with the weights. They stay float64, whatever
    type the model is cast to.
    """

    def __init__(self, name, count):
        super().__init__()
        self.name = name
        self.register_buffer("boundaries", torch.full((count,), torch.nan, dtype=torch.float64))

    def _apply(self, fn, recurse=True):
        boundaries = self.boundaries
        super()._apply(fn, recurse)
        if self.boundaries.dtype != torch.float64:
            self.boundaries = boundaries.to(self.boundaries.device)
        return self

    def _logical(self):
        yield "boundaries", f"features.{self.name}.boundaries", ...

    def forward(self, features):
        rounded = self.boundaries.float()
        return {self.name: bucket_rows(features[self.name], self.boundaries, rounded)}


class FittedVocabulary(nn.Module):
    """Ids by feature -> rows of the tables, with a vocabulary that is fitted to data.

    `set_vocabularies` sets it, and it is saved with the weights. It stays float64, whatever type
    the model is cast to.
    """

    def __init__(self, name, size):
        super().__init__()
        self.name = name
        self.register_buffer("vocabulary", torch.full((3, size), torch.nan, dtype=torch.float64))

    def _apply(self, fn, recurse=True):
        vocabulary = self.vocabulary
        super()._apply(fn, recurse)
        if self.vocabulary.dtype != torch.float64:
            self.vocabulary = vocabulary.to(self.vocabulary.device)
        return self

    def _logical(self):
        yield "vocabulary", f"features.{self.name}.vocabulary", ...

    def forward(self, features):
        return {self.name: word_rows(features[self.name], self.vocabulary)}


class FittedVocabulary__shared(FittedVocabulary):
    def forward(self, features):
        return {n: word_rows(features[n], self.vocabulary) for n in with_table(self.name)}


class FittedBoundaries__shared(FittedBoundaries):
    def forward(self, features):
        cuts = (self.boundaries, self.boundaries.float())
        return {name: bucket_rows(features[name], *cuts) for name in with_table(self.name)}


def with_table(name):
    """This feature and those that are looked up in its table."""
    return [other for other, field in FEATURES.items() if field.get("table", other) == name]
