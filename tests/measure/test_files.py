"""Files are written whole or not at all."""

import os

import pytest

from scc_numba.measure.files import writable_folder, write_whole


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "one\n")
    write_whole(path, "two\n")
    assert path.read_text() == "two\n"
    assert os.listdir(tmp_path) == ["a.txt"]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


def test_what_fails_half_way_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_makes_the_folder(tmp_path):
    assert writable_folder(tmp_path / "a" / "b").is_dir()


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to folder '.*file'.*nothing was started"):
        writable_folder(tmp_path / "file")
    with pytest.raises(OSError, match="cannot write to folder"):
        writable_folder(tmp_path / "file" / "below")


def test_a_folder_that_does_not_exist_and_cannot(tmp_path):
    with pytest.raises(OSError, match="cannot write to folder"):
        writable_folder(tmp_path / ("x" * 300))
