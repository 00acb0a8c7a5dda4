"""Writing: whole or not at all, with the right permissions, and never through a planted link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from homespec.atomic_write import appending, replacing, write_texts


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    assert write_texts({path: "é\n"}) == [path]
    assert path.read_text("utf-8") == "é\n"
    assert list(tmp_path.rglob("*")) == [path.parent, path]
    assert write_texts({path: "é\n"}) == []


def test_temporary_files_cannot_be_reached_or_foretold(tmp_path: Path) -> None:
    """They are in folders of other names each time, which only this user can enter."""
    path = tmp_path / "x.safetensors"
    seen = []
    for _ in range(3):
        with replacing(path) as (temporary,):
            assert temporary.parent.parent == tmp_path
            assert mode(temporary.parent) == 0o700
            assert temporary.name == path.name
            assert not temporary.exists()
            temporary.write_text("x")
            seen.append(temporary.parent.name)
    assert len(set(seen)) == 3
    assert not any(str(os.getpid()) in name for name in seen)


def test_a_planted_link_is_replaced_and_its_target_kept(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious\n")
    victim.chmod(0o600)
    path = tmp_path / "x.txt"
    path.symlink_to(victim)
    write_texts({path: "mine\n"})
    assert not path.is_symlink()
    assert path.read_text() == "mine\n"
    assert (victim.read_text(), mode(victim)) == ("precious\n", 0o600)


def test_a_folder_that_is_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "runs").symlink_to("scratch")
    write_texts({tmp_path / "runs" / "x.txt": "mine\n"})
    assert (tmp_path / "runs").is_symlink()
    assert (tmp_path / "scratch" / "x.txt").read_text() == "mine\n"


@pytest.mark.parametrize(("mask", "wanted"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_new_files_respect_the_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int, wanted: int
) -> None:
    umask(mask)
    with replacing(tmp_path / "x.txt") as (temporary,):
        temporary.touch(0o600)  # as safetensors does
    assert mode(tmp_path / "x.txt") == wanted


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("kept", [0o600, 0o664, 0o755])
def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old\n")
    path.chmod(kept)
    write_texts({path: "new\n"})
    assert (path.read_text(), mode(path)) == ("new\n", kept)


def test_all_or_none(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("old\n")

    def fail() -> None:
        with replacing(first, second) as (one, _):
            one.write_text("new\n")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert first.read_text() == "old\n"


def test_a_folder_in_the_way_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "b.txt").mkdir()
    texts = {tmp_path / "a.txt": "a\n", tmp_path / "b.txt": "b\n"}
    with pytest.raises(IsADirectoryError) as failure:
        write_texts(texts)
    assert failure.value.filename == str(tmp_path / "b.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["b.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_errors_name_the_folder_of_the_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError) as failure:
        write_texts({tmp_path / "x.txt": "x"})
    tmp_path.chmod(0o700)
    assert failure.value.filename == str(tmp_path)


def test_devices_and_pipes_are_written_to(tmp_path: Path) -> None:
    before = os.lstat("/dev/null")
    write_texts({Path("/dev/null"): "x"})
    assert os.lstat("/dev/null").st_ino == before.st_ino
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_texts({tmp_path / "pipe": "through\n"})
    assert os.read(reader, 100) == b"through\n"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_appending_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("precious\n")
    (tmp_path / "losses.csv").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic"):
        appending(tmp_path / "losses.csv")
    with appending(tmp_path / "other.csv") as file:
        file.write("1\n")
    assert (tmp_path / "other.csv").read_text() == "1\n"
    assert (tmp_path / "victim").read_text() == "precious\n"
