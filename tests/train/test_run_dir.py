"""The folder of a run: nothing in it is lost that homespec did not write, and one run has it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from homespec.api import LoadedSpec
from homespec.train import RunError, lit_module, run, run_lock
from homespec.train.run_lock import FILE, Lock
from homespec.train.settings import Settings

SETTINGS = Settings(batch_size=128, limit_rows=300, compile=False)


def go(spec: LoadedSpec, data: Path, out: Path, **about: Any) -> list[str]:
    said: list[str] = []
    run.train(spec, run.Place([data], out, **about), SETTINGS, said.append)
    return said


def content(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def write(out: Path, *names: str) -> dict[str, bytes]:
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(f"not homespec's: {name}")
    return content(out)


# ---------------------------------------------------------------- what others wrote

OTHERS = {
    "Lightning's": ("checkpoints/epoch=3.ckpt", "tensorboard/events.out.tfevents.1.host.1.0"),
    "weights": ("model.safetensors", "config.json"),
    "metrics": ("metrics.json",),
    "settings": ("settings.json",),
    "losses": ("losses.csv",),
    "a checkpoint of the same names": ("checkpoints/last/state.json",),
}


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("names", OTHERS.values(), ids=list(OTHERS))
def test_the_folder_of_another_tool_is_refused(
    small: LoadedSpec, data: Path, tmp_path: Path, names: tuple[str, ...], how: dict[str, bool]
) -> None:
    before = write(tmp_path, *names)
    with pytest.raises(RunError, match="but no sign that a run of homespec wrote") as told:
        go(small, data, tmp_path, **how)
    assert names[0].partition("/")[0] in str(told.value)
    assert content(tmp_path) == before


@pytest.mark.parametrize("how", [{"overwrite": True}, {"resume": True}])
@pytest.mark.parametrize("name", ["checkpoints", "tensorboard"])
def test_a_file_where_a_run_has_a_folder_is_named(
    small: LoadedSpec, data: Path, tmp_path: Path, name: str, how: dict[str, bool]
) -> None:
    go(small, data, tmp_path)
    shutil.rmtree(tmp_path / name)
    (tmp_path / name).write_text("mine\n")
    with pytest.raises(RunError, match=f"{name} is a file, but a run needs a folder: give another"):
        go(small, data, tmp_path, **how)
    assert (tmp_path / name).read_text() == "mine\n"


FOREIGN = (
    "notes.txt", "checkpoints/epoch=3.ckpt", "checkpoints/last/notes.txt", "checkpoints/best/x/y",
    "tensorboard/events.out.tfevents.1.host.1.0", "tensorboard/hparams.yaml", "other/losses.csv",
)  # fmt: skip


def test_other_files_in_the_folder_of_a_run_stay(
    small: LoadedSpec, data: Path, tmp_path: Path
) -> None:
    """Through checkpoints, which replace each other, and through --overwrite."""
    go(small, data, tmp_path)
    ours = set(content(tmp_path))
    (tmp_path / "tensorboard" / "hparams.yaml").unlink(missing_ok=True)
    write(tmp_path, *FOREIGN)
    said = go(small, data, tmp_path, overwrite=True)
    assert f"{tmp_path / 'tensorboard'} holds logs of other programs" in "\n".join(said)
    after = content(tmp_path)
    assert all(after[name].decode() == f"not homespec's: {name}" for name in FOREIGN)
    events = [name for name in after if name.endswith(".homespec")]
    assert len(events) == len([name for name in ours if name.endswith(".homespec")])
    assert not any("/.last" in name or "/.best" in name for name in after)


def test_overwriting_leaves_nothing_of_the_earlier_run(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it stops before its first step, all that is there are its spec and its settings."""
    go(small, data, tmp_path)
    write(tmp_path, "bad_batch.csv", "boundaries.json", "checkpoints/.last.new/state.json")
    monkeypatch.setattr(run, "set_fitted", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go(small, data, tmp_path, overwrite=True)
    assert set(content(tmp_path)) == {"settings.json", "spec.yaml"}
    monkeypatch.undo()
    go(small, data, tmp_path)


def test_a_run_is_known_by_any_of_its_files(small: LoadedSpec, data: Path, tmp_path: Path) -> None:
    for kept in ("settings.json", "metrics.json", "checkpoints/last/state.json"):
        go(small, data, tmp_path)
        for name in set(content(tmp_path)) - {kept}:
            (tmp_path / name).unlink()
        go(small, data, tmp_path, overwrite=True)
        for name in content(tmp_path):
            (tmp_path / name).unlink()


# ---------------------------------------------------------------- one run at a time


def test_two_runs_do_not_share_a_folder(
    small: LoadedSpec, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is refused as long as the first one trains, and says who that is."""
    step, refused = lit_module.RankingModule.training_step, []

    def second(self: lit_module.RankingModule, *args: Any) -> Any:
        monkeypatch.setattr(lit_module.RankingModule, "training_step", step)
        for how in ({}, {"resume": True}, {"overwrite": True}):
            before = content(tmp_path)
            with pytest.raises(RunError) as told:
                go(small, data, tmp_path / "run", **how)
            refused.append(str(told.value))
            assert content(tmp_path) == before
        return step(self, *args)

    monkeypatch.setattr(lit_module.RankingModule, "training_step", second)
    go(small, data, tmp_path / "run")
    assert len(refused) == 3
    who = rf"in use by another run \(process {os.getpid()} on \S+, since 20\S+ \S+\): wait for"
    assert all(re.search(who, message) for message in refused)
    assert FILE not in content(tmp_path / "run")


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a folder, with one that it forked."""
    code = (
        "import os, sys, time; from pathlib import Path; from homespec.train.run_lock import Lock\n"
        "Lock(Path(sys.argv[1]), print).take()\n"
        "if os.fork(): print('held', flush=True)\n"
        "time.sleep(100)"
    )
    command = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_a_run_that_was_killed_leaves_no_lock(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Though a process that it forked lives on."""
    with pytest.raises(RunError, match=rf"\(process {holder.pid} on "):
        Lock(tmp_path, print).take()
    holder.kill()
    holder.wait()
    own = Lock(tmp_path, print)
    own.take()
    assert json.loads((tmp_path / FILE).read_text())["pid"] == os.getpid()
    own.release()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_leaves_no_folder_behind(tmp_path: Path) -> None:
    own = Lock(tmp_path / "a" / "b", print)
    own.take()
    own.release()
    own.release()
    assert list(tmp_path.iterdir()) == []


def test_many_want_the_lock(tmp_path: Path) -> None:
    """Never two at once, though its file comes and goes."""
    inside, most, taken = [0], [0], [0]

    def work() -> None:
        for _ in range(50):
            own = Lock(tmp_path / "run", print)
            try:
                own.take()
            except RunError:
                continue
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            taken[0] += 1
            inside[0] -= 1
            own.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert taken[0] > 8
    assert not (tmp_path / "run" / FILE).exists()


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    said: list[str] = []
    own = Lock(tmp_path, said.append)
    own.take()
    own.release()
    assert said == [
        f"note: {tmp_path} cannot be locked (No locks available): make sure that no other run uses"
        " this folder"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked_for_lack_of_rights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(run_lock.os, "open", none)
    with pytest.raises(RunError, match=r"cannot be written \(Permission denied\)"):
        Lock(tmp_path, print).take()
