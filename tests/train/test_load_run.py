"""`homespec.load_run`: a trained model with its spec, as it was when the run ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_spec import SMALL

import homespec
from homespec.train import RunError, run
from homespec.train.run_files import SPEC_FILE
from homespec.train.settings import Settings

SETTINGS = Settings(batch_size=128, limit_rows=600, compile=False, epochs=2)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    out = tmp_path_factory.mktemp("runs") / "small"
    run.train(homespec.loads(SMALL), run.Place([data], out), SETTINGS, lambda line: None)
    return out


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def features() -> dict[str, torch.Tensor]:
    names = ("user_id", "video_id", "tag", "tab", "duration_ms")
    return {name: torch.arange(12) for name in names}


def test_it_gives_the_weights_of_the_best_epoch(trained: Path) -> None:
    loaded = homespec.load_run(trained)
    assert loaded.spec.name == "small"
    assert not loaded.model.training
    assert loaded.metrics == json.loads((trained / "metrics.json").read_text())
    state = loaded.module.logical_state(loaded.model)
    for name, weight in load_file(trained / "model.safetensors").items():
        torch.testing.assert_close(state[name], weight, rtol=0, atol=0)


def test_the_options_are_those_of_build(trained: Path) -> None:
    whole = homespec.load_run(trained)
    served = homespec.load_run(trained, mode="inference", tasks=["like"])
    plain = homespec.load_run(trained, optimize=False, dtype=torch.float64)
    wanted = whole.model(features())
    assert set(served.model(features())) == {"like"}
    torch.testing.assert_close(served.model(features())["like"], wanted["like"])
    torch.testing.assert_close(plain.model(features())["click"].float(), wanted["click"])


def test_the_last_checkpoint(copy: Path) -> None:
    loaded = homespec.load_run(copy, checkpoint="last")
    assert set(loaded.model(features())) == {"click", "finish", "like", "comment_stay"}
    shutil.rmtree(copy / "checkpoints" / "last")
    with pytest.raises(RunError, match="has no checkpoint checkpoints/last"):
        homespec.load_run(copy, checkpoint="last")


def test_the_weights_alone_are_enough(copy: Path, trained: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    (copy / "metrics.json").unlink()
    loaded = homespec.load_run(copy)
    assert loaded.metrics == {}
    wanted = homespec.load_run(trained).model(features())
    torch.testing.assert_close(loaded.model(features()), wanted, rtol=0, atol=0)


def test_the_spec_is_the_text_with_its_lines(trained: Path) -> None:
    assert (trained / SPEC_FILE).read_text() == SMALL


@pytest.mark.parametrize("extends", [False, True])
def test_a_spec_of_several_files_is_kept_in_one(extends: bool, data: Path, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(SMALL)
    overrides = ["experts.width=8"]
    if extends:
        (tmp_path / "own.yaml").write_text("extends: base.yaml\nname: own\nexperts: {width: 8}\n")
        spec = homespec.load(tmp_path / "own.yaml", root=tmp_path)
    else:
        spec = homespec.load(tmp_path / "base.yaml", overrides)
    out = tmp_path / "run"
    run.train(spec, run.Place([data], out), SETTINGS, lambda line: None)
    loaded = homespec.load_run(out)
    assert "width: 8" in (out / SPEC_FILE).read_text()
    assert loaded.spec.analysis.graph.name == spec.analysis.graph.name


def test_a_spec_that_was_changed_is_refused(copy: Path) -> None:
    path = copy / SPEC_FILE
    path.write_text(path.read_text().replace("width: 16", "width: 24"))
    with pytest.raises(RunError, match=r"of another spec: .*width` is 24, was 16"):
        homespec.load_run(copy)
    homespec.load_run(copy, spec=homespec.loads(SMALL))


def test_folders_without_a_run_are_refused_by_name(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run of homespec train"):
        homespec.load_run(tmp_path)
    (copy / SPEC_FILE).unlink()
    with pytest.raises(RunError, match=r"has no spec\.yaml"):
        homespec.load_run(copy)


@pytest.mark.parametrize("file", ["model.safetensors", "state.json"])
def test_damaged_files_are_refused_by_name(copy: Path, file: str) -> None:
    path = copy / "checkpoints" / "best" / file
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"best is damaged.* or train the model again") as refused:
        homespec.load_run(copy)
    assert "--" not in str(refused.value)


def test_missing_weights_are_refused_without_flags_of_train(copy: Path) -> None:
    (copy / "checkpoints" / "best" / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"cannot be read.* or train the model again") as refused:
        homespec.load_run(copy)
    assert "--" not in str(refused.value)


def test_weights_of_another_spec_are_refused(copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints")
    path = copy / SPEC_FILE
    path.write_text(path.read_text().replace("width: 16", "width: 24"))
    with pytest.raises(RunError, match="do not belong to its spec"):
        homespec.load_run(copy)


def test_a_run_before_its_first_whole_epoch_says_what_there_is(copy: Path) -> None:
    shutil.rmtree(copy / "checkpoints" / "best")
    (copy / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"without a completed epoch: .* and --last "):
        homespec.load_run(copy)
    homespec.load_run(copy, checkpoint="last")
