"""A small spec with every kind of input and task, and runs of it that took no training."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from hierarchies import randomise

import homespec
from homespec.train.run_files import SETTINGS_FILE, SPEC_FILE

SPEC = """\
homespec: 1
name: served
features:
  user_id: {id: {buckets: 50}, dim: 4}
  video_id: {id: {buckets: 50}, dim: 4}
  tab: {id: {vocab: 7}, dim: 4}
  city: {id: {vocab: {min_count: 2, max_size: 6}}, dim: 4}
  duration: {bucketize: [0.35, 1, 2.5], dim: 4}
  days: {bucketize: {quantiles: 4}, dim: 4}
  asr: {dense: 5, project: 3, missing: learned}
  price: {number: {scale: log}}
  score: {number: {scale: none}}
  tags: {table: tab, list: {max_len: 3, weights: scores}}
  brands: {id: {buckets: 20}, dim: 4, list: {max_len: 2, pool: max}}
  history:
    sequence:
      of: [video_id]
      with: {watched: {bucketize: [0.5, 0.9], dim: 4}}
      max_len: 6
      encoder: {sim: {search: hard, by: video_id, top: 3}}
groups: {watch: [click, minutes], interaction: [like, follow]}
tasks:
  click: {rate: 0.4}
  minutes: {kind: regression, scale: 60.0, loss: huber}
  like: {where: click}
  follow: {}
  click_and_like: {product: [click, like]}
experts: {width: 8, hidden: [8]}
"""
TINY = """\
homespec: 1
name: tiny
family: mmoe
features:
  user_id: {id: {buckets: 50}, dim: 4}
tasks: {click: {}, like: {where: click}}
experts: {width: 4, hidden: []}
"""
"""What is exported quickly."""
FLOAT32 = ("days",)
"""Numbers that are float32 in the data; the others are float64."""


def write_data(folder: Path) -> Path:
    """Columns as the run was trained on; there is nothing in them that matters but their types."""
    columns = {
        "user_id": pa.array([1]), "video_id": pa.array([1]), "tab": pa.array([1]),
        "city": pa.array(["Rome"]),
        "duration": pa.array([1.0]), "days": pa.array([1.0], pa.float32()),
        "asr": pa.array([[0.0] * 5]), "price": pa.array([1]), "score": pa.array([1.0]),
        "tags": pa.array([[1]]), "scores": pa.array([[1.0]]), "brands": pa.array([[1]]),
        "history_video_id": pa.array([[1]]), "history_watched": pa.array([[1.0]]),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return folder


def write_run(folder: Path, seed: int, data: Path | None, spec: str = SPEC) -> Path:
    """A folder as a run leaves it, with random weights; with seed 0 those of a new model."""
    folder.mkdir(parents=True)
    loaded = homespec.loads(spec)
    code, model = homespec.build_with_module(loaded)
    if "days" in loaded.features:
        code.set_boundaries(model, {"days": [0.35, 1.5, 30.0]})
        code.set_scaling(model, {"price": (3.0, 1.5)})
        code.set_vocabularies(model, {"city": [5, -7, 2**62 + 1]})
    state = code.logical_state(model)
    if seed:
        drawn = randomise(state, torch.Generator().manual_seed(seed))
        state = {name: drawn[name].to(tensor.dtype) for name, tensor in state.items()}
    if seed and "days" in loaded.features:
        state["features.days.boundaries"] = torch.tensor([0.1 * seed, 2.7, 31.5]).double()
    own = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    safetensors.torch.save_file(own, folder / "model.safetensors")
    (folder / SPEC_FILE).write_text(spec)
    settings = {"spec": "served", "data": [str(data)] if data else [], "valid": [], "settings": {}}
    (folder / SETTINGS_FILE).write_text(json.dumps(settings))
    return folder
