"""Folders that appear, and are exchanged, in one step."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from homespec.export import ExportError
from homespec.export import folder as folders
from homespec.export.folder import whole_folder


def write(folder: Path, text: str) -> None:
    with whole_folder(folder) as new:
        (new / "one").write_text(text)
        (new / "below").mkdir()
        (new / "below" / "two").write_text(text)


def test_it_is_there_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "a" / "out"
    with whole_folder(target) as new:
        (new / "one").write_text("1")
        assert not target.exists()
    assert (target / "one").read_text() == "1"
    assert [*target.parent.iterdir()] == [target]
    umask = os.umask(0o022)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~umask


def test_nothing_is_left_of_an_error(tmp_path: Path) -> None:
    for target in (tmp_path / "new", tmp_path / "old"):
        if target.name == "old":
            write(target, "before")
        with pytest.raises(KeyError), whole_folder(target) as new:  # noqa: PT012
            (new / "one").write_text("half")
            raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "one").read_text() == "before"


def test_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", "1")
    assert (tmp_path / "out" / "below" / "two").read_text() == "1"


def test_a_link_stays_one(tmp_path: Path) -> None:
    write(tmp_path / "real", "1")
    (tmp_path / "link").symlink_to("real")
    write(tmp_path / "link", "2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "one").read_text() == "2"


def test_readers_never_see_a_mix_or_nothing(tmp_path: Path) -> None:
    """A reader that enters the folder once reads files of one export, at any moment."""
    target, done = tmp_path / "out", threading.Event()
    seen: list[tuple[str, str]] = []
    write(target, "0")

    def read() -> None:
        while not done.is_set():
            handle = os.open(target, os.O_RDONLY)  # raises if the folder is missing for a moment
            try:
                texts = []
                for name in ("one", "below/two"):
                    with os.fdopen(os.open(name, os.O_RDONLY, dir_fd=handle)) as file:
                        texts.append(file.read())
                seen.append((texts[0], texts[1]))
            except FileNotFoundError:
                pass  # the old folder, which was entered, is being removed
            finally:
                os.close(handle)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        write(target, str(number))
    done.set()
    reader.join()
    assert len({*seen}) > 1
    assert all(one == two for one, two in seen)


def test_a_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "before")

    class Old:
        """A C library of long ago."""

        def __init__(self, *_: object, **__: object) -> None:
            pass

    monkeypatch.setattr(folders.ctypes, "CDLL", Old)
    with pytest.raises(
        ExportError, match=r"cannot be exchanged in one step .* another folder by --out"
    ):
        write(tmp_path / "out", "after")
    assert (tmp_path / "out" / "one").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written to"):
        write(tmp_path / "file" / "out", "1")
