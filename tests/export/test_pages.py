"""The programs of examples/serving: they know no homespec, and score as the trained model does."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from examples.serving import text_ids
from homespec.data import DataError
from homespec.data.cell_ids import text_id
from homespec.train.torch_compile import obstacle

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "examples" / "serving"
TOOLS = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
needs_compiler = pytest.mark.skipif(bool(TOOLS), reason=f"{' and '.join(TOOLS)} not installed")
needs_inductor = pytest.mark.skipif(
    obstacle() is not None, reason="torch.compile cannot work on this machine"
)
WITHOUT = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in sys.argv[1].split(","):
            raise ImportError(f"{name} is not to be imported")

sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def page(name: str, without: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a page prints in a process that cannot import some packages."""
    command = [sys.executable, "-c", WITHOUT, without, str(PAGES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.compiles
@needs_inductor
@pytest.mark.parametrize(
    ("name", "without"),
    [
        ("score_torch.py", "homespec,numpy,safetensors"),
        ("score_onnx.py", "homespec,torch,safetensors"),
    ],
)
def test_python_scores_the_sample(name: str, without: str, exported: Path) -> None:
    done = page(name, without, str(exported))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("64 rows are as the trained model scores them\n")


@pytest.mark.compiles
@needs_inductor
def test_python_notices_other_outputs(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "sample_outputs.safetensors"
    save_file({n: t + 0.01 for n, t in load_file(path).items()}, path)
    done = page("score_onnx.py", "homespec", str(folder))
    assert done.returncode == 1
    assert "Mismatched elements" in done.stderr


# ---------------------------------------------------------------- C++


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs in C++, built against the libtorch of the installed torch."""
    folder = tmp_path_factory.mktemp("cpp")
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (
        ["cmake", "-S", str(PAGES / "cpp"), "-B", str(folder), prefix],
        ["cmake", "--build", str(folder)],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.compiles
@needs_compiler
@needs_inductor
def test_cpp_scores_the_sample(built: Path, exported: Path) -> None:
    done = subprocess.run([built / "score", exported], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "refused: the input `user_id` must be int64, not int32\n" in done.stdout
    assert done.stdout.endswith("64 rows are as the trained model scores them\n")


@pytest.mark.compiles
@needs_compiler
@needs_inductor
def test_cpp_notices_other_outputs(built: Path, folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "sample_outputs.safetensors"
    outputs = load_file(path)
    save_file({**outputs, "like": outputs["like"] + 0.01}, path)
    done = subprocess.run([built / "score", folder], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "like is not what the trained model gives\n")
    done = subprocess.run([built / "score", folder / "gone"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------- ids of text


def vectors() -> list[tuple[str, str]]:
    """Texts and ids of docs/ids.md; `refused` where there is none."""
    text = (ROOT / "docs" / "ids.md").read_text()
    rows = re.findall(r"^\| `\"(.*)\"` \| `?(-?\d+|refused)`? \|", text, re.MULTILINE)
    assert len(rows) == 21
    return rows


def drawn(count: int) -> list[str]:
    """Texts such as a rule may get wrong: numbers in all spellings, blanks, words, letters."""
    rng = random.Random(0)
    pieces = ["0", "1", "9", "00", "17", ".", "e", "E", "+", "-", "5e3", "e+06", ".0", " ", "\t",
              "true", "NULL", "nan", "ü", "用户", "a", "_", "9007199254740992",
              "18446744073709551615"]  # fmt: skip
    texts = ["".join(rng.choices(pieces, k=rng.randint(1, 5))) for _ in range(count)]
    texts += [str(rng.getrandbits(64) - 2**63) for _ in range(count)]
    for _ in range(count):
        number, digits = rng.uniform(-1, 1) * 10 ** rng.randint(0, 20), rng.randint(0, 17)
        texts.append(f"{number:.{digits}g}")
    texts += ["x" * length for length in (1, 63, 64, 127, 128, 129, 255, 256, 257, 1000)]
    return [text for text in texts if "\n" not in text]


def expected(text: str) -> str:
    try:
        return str(text_id(text))
    except DataError:
        return "refused"


def of_page(text: str) -> str:
    try:
        return str(text_ids.text_id(text))
    except ValueError:
        return "refused"


def test_the_python_page_hashes_as_training_does() -> None:
    assert [(text, of_page(text)) for text, _ in vectors()] == vectors()
    texts = drawn(3000)
    assert [of_page(text) for text in texts] == [expected(text) for text in texts]
    assert len({of_page(text) for text in texts}) > 4000
    done = page("text_ids.py", "homespec,torch,numpy", "user_42", " 39.0 ")
    assert done.stdout == "'user_42' 5293712669831226761\n' 39.0 ' 39\n"


@needs_compiler
def test_the_cpp_page_hashes_as_training_does(built: Path) -> None:
    texts = [text for text, _ in vectors()] + drawn(3000)
    done = subprocess.run(
        [built / "text_id"], input="".join(f"{text}\n" for text in texts).encode(),
        capture_output=True, check=True,
    )  # fmt: skip
    found = done.stdout.decode().splitlines()
    assert found[:21] == [each for _, each in vectors()]
    wrong = [(t, f, expected(t)) for t, f in zip(texts, found, strict=True) if f != expected(t)]
    assert not wrong
