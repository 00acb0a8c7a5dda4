"""Exports that do not give what the trained model gives are refused; the difference is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from small_run import SPEC
from torch import Tensor

import homespec
from homespec.export import ExportError, files, run
from homespec.export.agreement import check
from homespec.export.served_model import Served
from homespec.export.subject import Options, Subject


def outputs(click: float, like: float = 0.25) -> dict[str, Tensor]:
    values = {"click": [0.5, click], "like": [like, 0.0]}
    return {name: torch.tensor(each, dtype=torch.float64) for name, each in values.items()}


def allowed(_: str, expected: Tensor) -> Tensor:
    return 1e-6 + 1e-4 * expected


def checked(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    return check("model.x", lambda _: found, lambda _: expected, {2: {}}, allowed).largest


def test_rounding_is_no_difference() -> None:
    assert checked(outputs(0.7500001), outputs(0.75)) == pytest.approx(1e-7, rel=0.3)
    assert checked(outputs(0.0000005), outputs(0.0)) == pytest.approx(5e-7)


@pytest.mark.parametrize("wrong", [0.7502, 0.0, float("nan"), float("inf")])
def test_a_difference_is_shown(wrong: float) -> None:
    with pytest.raises(ExportError) as caught:
        checked(outputs(wrong), outputs(0.75))
    assert str(caught.value) == (
        "model.x does not give what the trained model gives, and was not put in place:\n"
        f"  click in 2 rows: {wrong:.9g} in place of 0.75"
    )


def test_a_search_by_scores_may_find_other_events_in_a_few_rows() -> None:
    """Of nearly equal scores rounding decides; but not in every row, nor in the only one."""

    def compared(rows: int, wrong: int, searches: bool) -> str:
        expected = {"click": torch.full((rows,), 0.5), "like": torch.full((rows,), 0.1)}
        found = {task: tensor.clone() for task, tensor in expected.items()}
        found["click"][:wrong] = 0.6
        found["like"][0] += 1e-6
        batch: dict[int, dict[str, Tensor]] = {rows: {}}
        return str(check("x", lambda _: found, lambda _: expected, batch, allowed, searches))

    assert compared(1000, 0, searches=False) == "1.0e-06 apart"
    assert compared(1000, 10, searches=True).endswith("but for 10 of 1000 rows, in which a search"
        " by scores finds other events of nearly equal score")  # fmt: skip
    assert "1 of 7 rows" in compared(7, 1, searches=True)
    for rows, wrong, searches in ((1000, 1, False), (1000, 11, True), (2, 1, True), (1, 1, True)):
        with pytest.raises(ExportError, match=f"click in {rows} rows: 0.6"):
            compared(rows, wrong, searches)


def test_other_tasks_and_shapes_are_differences() -> None:
    with pytest.raises(ExportError, match="the tasks are like, click in place of click, like"):
        checked(dict(reversed(outputs(0.5).items())), outputs(0.5))
    with pytest.raises(ExportError, match=r"click is \[2, 1\] in place of \[2\]"):
        checked(outputs(0.5) | {"click": torch.zeros(2, 1)}, outputs(0.5))


def test_what_is_rounding_follows_from_logits() -> None:
    """A probability has the slope of the sigmoid, an estimate the unit of its label."""
    spec = homespec.loads(SPEC)
    served = Served(torch.nn.Identity(), spec, "probabilities")
    probability = torch.tensor([0.5, 1e-3, 1.0], dtype=torch.float64)
    wrong = (probability.logit() + 0.002).sigmoid() - probability
    found = served.rounding("click", probability, largest=10.0)
    torch.testing.assert_close(found[:2], wrong[:2] * 0.15 + 3e-7, rtol=0.01, atol=0)
    assert found[2] == 3e-7
    assert served.rounding("minutes", probability, largest=0.1).tolist() == [60 * 3e-5] * 3
    logits = Served(torch.nn.Identity(), spec, "logits")
    assert logits.rounding("minutes", probability, largest=0.1).tolist() == [3e-5] * 3


def test_a_model_that_gives_nan_is_not_exported() -> None:
    nan = outputs(float("nan"))
    with pytest.raises(ExportError, match="the trained model itself gives NaN for click"):
        checked(nan, nan)


def test_what_differs_is_not_put_in_place(
    exported: Path, runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the compiler had made something else: the package of the day before."""

    def of_yesterday(subject: Subject, folder: Path) -> tuple[()]:
        shutil.copy(exported / files.PT2, folder)
        return ()

    monkeypatch.setattr(run, "compile_pt2", of_yesterday)
    with pytest.raises(
        ExportError, match=r"(?s)not put in place:\n  click in 1 rows: .* and .* more"
    ):
        run.export_run(runs[1], tmp_path / "out", "pt2", Options(), False, lambda line: None)
    assert [*tmp_path.iterdir()] == []
