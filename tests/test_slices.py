"""Test runs in slices: what passed is left out, what failed is not, and time is kept."""

import subprocess
import sys
from pathlib import Path

TESTS = """
import time
def test_a(): time.sleep(0.3)
def test_b(): assert FINE
def test_c(): pass
"""


def run(folder, seconds, fine):
    (folder / "test_it.py").write_text(TESTS.replace("FINE", str(fine)))
    (folder / "conftest.py").write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n")
    command = [sys.executable, "-m", "pytest", "-p", "slices", "-p", "no:cacheprovider", "--rootdir", str(folder)]
    command += ["-v", "--slice", str(folder / "slice.txt"), "--slice-seconds", str(seconds), str(folder)]
    environment = {"PYTHONPATH": str(Path(__file__).parent), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    ran = [line.split("::")[1].split()[0] for line in done.stdout.splitlines() if "::" in line and "%]" in line]
    return done.returncode, ran, done.stdout


def test_slices(tmp_path):
    code, ran, text = run(tmp_path, 0.1, fine=False)
    assert (code, ran) == (0, ["test_a"])
    assert "2 tests are left: run it again" in text
    code, ran, text = run(tmp_path, 100, fine=False)
    assert (code, ran) == (1, ["test_b", "test_c"])
    assert "1 tests are left" in text
    with (tmp_path / "slice.txt").open("a") as stream:
        stream.write('"half a li')  # as a killed run leaves it
    code, ran, text = run(tmp_path, 100, fine=True)
    assert (code, ran) == (0, ["test_b"])
    assert "all tests of all slices passed" in text
    code, ran, _ = run(tmp_path, 100, fine=True)
    assert (code, ran) == (0, [])


def test_other_code_begins_anew(tmp_path):
    run(tmp_path, 100, fine=True)
    path = tmp_path / "slice.txt"
    path.write_text("\n".join(["another", *path.read_text().splitlines()[1:]]) + "\n")
    assert run(tmp_path, 100, fine=True)[1] == ["test_a", "test_b", "test_c"]
