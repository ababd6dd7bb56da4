"""The house stands as the README draws it: rooms, what they import, and no stray files."""

import ast
from pathlib import Path

import pytest

import scc_numba

ROOT = Path(scc_numba.__file__).parents[1]
# From the top down: each room imports only from rooms below it.
ROOMS = ("cli", "measure", "nn", "check", "kernels", "device", "model", "emulator", "pictures")
ALONE = ("emulator", "model", "pictures")  # these import nothing of the rooms beside or above them


def imports_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def room_of(path):
    parts = path.relative_to(ROOT / "scc_numba").parts
    return parts[0].removesuffix(".py")


FILES = sorted(path for path in (ROOT / "scc_numba").rglob("*.py") if room_of(path) in ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_only_what_lies_below(path):
    room = room_of(path)
    for name in imports_of(path):
        if not name.startswith("scc_numba."):
            continue
        other = name.split(".")[1]
        if other == room:
            continue
        assert other in ROOMS, f"{path} imports {name}"
        assert ROOMS.index(other) > ROOMS.index(room), f"{path} imports {name}, which lies above it"
        assert room not in ALONE, f"{path} imports {name}, but {room} stands alone"


def test_every_room_is_known():
    known = {*ROOMS, "__init__", "__main__"}
    assert {room_of(path) for path in (ROOT / "scc_numba").rglob("*.py")} == known


@pytest.mark.parametrize("path", sorted((ROOT / "reference").rglob("*.py")), ids=lambda path: path.name)
def test_the_reference_imports_numpy_alone(path):
    import sys

    for name in imports_of(path):
        top = name.partition(".")[0]
        assert top in ("numpy", "scc_reference") or top in sys.stdlib_module_names, f"{path} imports {name}"


NEED_TORCH = ("nn",)  # rooms for who has PyTorch


@pytest.mark.parametrize(
    "path", [p for p in FILES if room_of(p) not in NEED_TORCH], ids=lambda path: str(path.relative_to(ROOT))
)
def test_nothing_of_torch_is_needed_to_import(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top_level = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in top_level for alias in node.names} | {
        getattr(node, "module", "") for node in top_level
    }
    assert not {name for name in names if name and name.partition(".")[0] == "torch"}
