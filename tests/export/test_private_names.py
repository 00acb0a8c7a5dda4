"""The private names of torch that packages need, and what is said where one is missing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from homespec.export import ExportError, aotinductor
from homespec.export.aotinductor import HOOK, PRIVATE, private

PACKAGE = Path(aotinductor.__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def test_this_torch_has_them() -> None:
    for name in PRIVATE:
        assert private(name) is not None
    assert callable(getattr(private("CppWrapper"), HOOK))


def test_they_are_named_in_one_file() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "aotinductor.py" and "bench" not in path.parts:
            assert not re.search(r"aoti_compile|compile_fx|cpp_wrapper", path.read_text()), path


@pytest.mark.parametrize(
    ("name", "place"),
    [("compile_files", ("torch._inductor.compile_fx", "gone")), ("compiling", ("torch.gone", "x"))],
)
def test_one_that_is_gone(
    name: str, place: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRIVATE, name, place)
    with pytest.raises(ExportError, match=f"has no {'.'.join(place)}, .* torch 2.13"):
        private(name)


def test_a_wrapper_without_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(private("CppWrapper"), HOOK)
    with pytest.raises(ExportError, match=HOOK), aotinductor._with_checks(""):
        pass
