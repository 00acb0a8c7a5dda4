"""`homespec compile` for serving: files for inference, pruned ones, and passes made visible."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import Result
from test_compile import SPEC, code, run

USER = "user_id: {id: {buckets: 9}, dim: 4}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "specs").mkdir()
    text = SPEC.replace("features: {", f"features: {{{USER}, ")
    (tmp_path / "specs" / "small.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


EXPECTED = {
    ("--mode", "inference"): "small_inference.py",
    ("--mode", "inference", "--tasks", "like"): "small_inference_pruned.py",
    ("--mode", "inference", "--no-optimize"): "small_inference_plain.py",
    ("--tasks", "like"): "small_pruned.py",
    ("--tasks", "like", "--no-optimize"): "small_pruned_plain.py",
    ("--skip-pass", "batch-experts"): "small.py",
    ("--target", "cuda"): "small_cuda.py",
    ("--mode", "inference", "--target", "cuda"): "small_inference_cuda.py",
    ("--tasks", "like", "--target", "cuda"): "small_pruned_cuda.py",
    ("--mode", "inference", "--user-features", "user_id"): "small_inference_user.py",
    ("--mode", "inference", "--tasks", "like", "--user-features", "user_id"): (
        "small_inference_pruned_user.py"
    ),
    ("--mode", "inference", "--user-features", "user_id", "--target", "cuda"): (
        "small_inference_user_cuda.py"
    ),
    ("--target", "cuda", "--skip-pass", "fuse-feature-gates"): "small_cuda.py",
}


@pytest.mark.parametrize("flags", EXPECTED, ids=" ".join)
def test_each_variant_has_a_file_that_records_how_it_was_made(
    project: Path, flags: tuple[str, ...]
) -> None:
    path = project / "generated" / EXPECTED[flags]
    assert run(*flags, "specs").output == f"wrote generated/{path.name}\n"
    (command,) = (
        line for line in path.read_text().splitlines() if line.startswith("    homespec compile ")
    )
    text = path.read_bytes()
    path.unlink()
    run(*command.split()[2:])
    assert path.read_bytes() == text
    assert code(run("--check", *flags, "specs")) == 0


def test_check_finds_variants_and_knows_their_flags(project: Path) -> None:
    run("specs")
    run("--mode", "inference", "--tasks", "like,click", "specs")
    run("--tasks", "like", "--tasks", "finish", "--skip-pass", "batch-towers", "specs")
    result = run("--check", "specs")
    assert code(result) == 0
    assert result.stderr == "3 files fresh\n"
    (project / "specs/small.yaml").write_text(SPEC + "description: new\n")
    found = run("--check", "specs")
    assert code(found) == 1
    small = "specs/small.yaml"
    assert found.stdout == (
        f"generated/small.py is stale: the spec has changed since\n"
        f"  help: run `homespec compile {small}`\n"
        f"generated/small_pruned.py is stale: the spec has changed since\n"
        f"  help: run `homespec compile {small} --tasks finish,like --skip-pass batch-towers`\n"
        f"generated/small_inference_pruned.py is stale: the spec has changed since\n"
        f"  help: run `homespec compile {small} --mode inference --tasks click,like`\n"
    )


def test_a_variant_of_a_task_that_is_gone_is_stale(project: Path) -> None:
    run("specs")
    run("--tasks", "follow", "specs")
    text = SPEC.replace(", follow]", "]").replace(", follow: {}", "")
    (project / "specs/small.yaml").write_text(text)
    run("specs")
    result = run("--check", "specs")
    assert code(result) == 1
    assert result.stdout == (
        "generated/small_pruned.py is stale: the spec has changed since\n"
        "  help: run `homespec compile specs/small.yaml --tasks follow`\n"
    )


def test_a_variant_edited_by_hand_is_found(project: Path) -> None:
    run("specs")
    run("--mode", "inference", "specs")
    file = project / "generated/small_inference.py"
    file.write_text(file.read_text() + "# quick fix\n")
    assert "small_inference.py was edited by hand" in run("--check", "specs").stdout


def test_a_copy_under_the_name_of_a_variant_is_found(project: Path) -> None:
    run("specs")
    (project / "generated/small_inference.py").write_text(
        (project / "generated/small.py").read_text()
    )
    assert code(run("--check", "specs")) == 1


def test_a_variant_without_its_spec_is_an_orphan(project: Path) -> None:
    (project / "specs/other.yaml").write_text(SPEC)
    run("--mode", "inference", "--tasks", "like", "specs/other.yaml")
    (project / "specs/other.yaml").unlink()
    run("specs")
    result = run("--check", "specs")
    assert result.stdout.startswith("generated/other_inference_pruned.py has lost its spec\n")


def test_a_variant_of_a_user_feature_that_is_gone_is_stale(project: Path) -> None:
    run("specs")
    run("--mode", "inference", "--user-features", "user_id", "specs")
    assert run("--check", "specs").stderr == "2 files fresh\n"
    (project / "specs/small.yaml").write_text(SPEC)
    run("specs")
    assert run("--check", "specs").stdout == (
        "generated/small_inference_user.py is stale: the spec has changed since\n"
        "  help: run `homespec compile specs/small.yaml --mode inference --user-features user_id`\n"
    )


@pytest.mark.parametrize("name", ["x_inference", "x_pruned", "x_plain", "x_inference_user"])
def test_names_of_variants_are_taken(project: Path, name: str) -> None:
    (project / "specs" / f"{name}.yaml").write_text(SPEC)
    with pytest.raises(click.UsageError, match="are those of variants"):
        code(run(f"specs/{name}.yaml"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks", "lik"], r"specs/small.yaml: there is no task `lik`\. Did you mean `like`\?"),
        (["--tasks", "like,x"], "The tasks are `click`, `finish`, `like` and `follow`"),
        (["--tasks", ""], "no task is given"),
        (["--skip-pass", "batch-expert"], "Did you mean `batch-experts`"),
        (["--print-after", "nothing"], "The passes are `drop-trivial-gates`"),
        (["--print-after", "prune"], "there is no pass `prune`"),
        (
            ["--mode", "inference", "--user-features", "user"],
            r"there is no feature `user`\. Did you mean `user_id`\?",
        ),
        (["--user-features", "user_id"], "--user-features needs --mode inference"),
        (["--mode", "inference", "--user-features", ","], "no user feature is given"),
        (["--mode", "inference", "--user-features", "user_id,asr"], "all features are the user's"),
        (["--mode", "inferense"], "is not one of 'training', 'inference'"),
    ],
)
def test_unknown_names_are_wrong_usage(project: Path, flags: list[str], message: str) -> None:
    with pytest.raises(click.UsageError, match=message):
        code(run(*flags, "specs"))
    assert not (project / "generated").exists()


def lines(result: Result) -> list[str]:
    code(result)
    return [line.partition(" ")[0] for line in result.stdout.splitlines()]


def test_the_graph_is_printed_after_a_pass(project: Path) -> None:
    """Nothing is written; what a later pass does is not yet there."""
    names = lines(run("--print-after", "prune", "--tasks", "like", "specs"))
    assert "towers.like" in names
    assert "towers.click" not in names
    assert not any(name.startswith("experts_") for name in names)
    assert not (project / "generated").exists()
    assert "experts_meta" in lines(run("--print-after", "batch-experts", "specs"))
    folded = run("--print-after", "fold-batch-norm", "--mode", "inference", "specs").stdout
    assert "norm=folded" in folded


def test_passes_are_timed_on_stderr(project: Path) -> None:
    result = run("--time-passes", "--mode", "inference", "specs")
    assert result.stdout == "wrote generated/small_inference.py\n"
    table = [line.split() for line in result.stderr.splitlines()]
    assert table[0] == ["specs/small.yaml"]
    assert table[1] == ["pass", "ms", "nodes"]
    assert [row[0] for row in table[2:4]] == ["drop-training", "fold-batch-norm"]
    assert table[-1][0] == "all"
    before, arrow, after = table[2][2:]
    assert (arrow, int(before) - int(after)) == ("->", 4)  # the objectives
