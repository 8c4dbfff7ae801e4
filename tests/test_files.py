"""Writing is whole or not at all, and clearing up loses nothing."""

import os
from pathlib import Path

import pytest

from sparring.files import clear_leftovers, read_json, write_atomically, write_json


def folder(path: Path, text: str) -> None:
    path.mkdir()
    (path / "file").write_text(text)


def test_a_folder_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old one has been set aside by then."""
    path = tmp_path / "step-1"
    folder(path, "old")
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        if "tmp" in source.name and target == path:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, lambda beside: folder(beside, "new"))
    assert (path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_set_aside_goes_back(tmp_path: Path) -> None:
    for name in (".gone.7.old", ".there.7.old", ".half.7.tmp", "there"):
        folder(tmp_path / name, name)
    (tmp_path / ".report.html.7.tmp.html").write_text("another process writes it now")
    (tmp_path / ".lock").write_text("")
    clear_leftovers(tmp_path, names_in_use=["report.html"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".report.html.7.tmp.html", "gone", "there"]
    assert (tmp_path / "gone" / "file").read_text() == ".gone.7.old"
    assert (tmp_path / "there" / "file").read_text() == "there"


def test_names_of_files_that_are_no_text_are_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"left out": "\udcff.png"})
    assert read_json(tmp_path / "a.json", dict) == {"left out": "?.png"}
