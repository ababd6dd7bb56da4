"""The ladders as a collection: complete, in order, and each file as the house wants it."""

import re
from pathlib import Path

import numpy as np
import pytest
from scc_reference import SlidingChannels

import scc_numba.kernels
from scc_numba.kernels import OPS, Layer, Rung, find_rung, ladder

RUNGS = [rung for op in OPS for rung in ladder(op)]
FOLDER = Path(scc_numba.kernels.__file__).parent
LAYER = Layer(SlidingChannels(12, 10, 3, 0.5), batch=2, pixels=49, dtype=np.dtype(np.float32))
each_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)


@pytest.mark.parametrize(("op", "letter"), list(zip(OPS, "fxw", strict=True)))
def test_names_count_from_the_bottom(op, letter):
    assert [rung.name for rung in ladder(op)] == [f"{letter}{i}" for i in range(len(ladder(op)))]
    assert all(rung.op == op for rung in ladder(op))


@pytest.mark.parametrize("op", OPS)
def test_every_file_is_on_its_ladder(op):
    files = {path.name for path in (FOLDER / op).glob("*.py") if path.name != "__init__.py"}
    assert files == {Path(rung.kernel_file).name for rung in ladder(op)}


@each_rung
def test_header(rung):
    assert Path(rung.kernel_file).name.startswith(f"{rung.name}_")
    assert rung.header.startswith(f"{rung.name.upper()}, ")
    assert 30 < len(rung.idea) < 400
    assert "Prediction: " in rung.header
    if rung is ladder(rung.op)[0]:
        assert rung.prediction is None
        assert "Prediction: none" in rung.header
    else:
        assert f"Changed against {rung.name[0].upper()}{int(rung.name[1:]) - 1}:" in rung.header


@each_rung
def test_prediction_of_the_header_is_that_of_the_data(rung):
    if rung.prediction is not None:
        numbers = re.findall(r"\d+(?:/\d+)?", rung.prediction.words.rpartition(":")[2])
        header = re.search(r"Prediction: (.*?)\n\n", rung.header, re.DOTALL)[1]
        assert all(number in header for number in numbers)


@each_rung
def test_no_rung_leans_on_another(rung):
    source = Path(rung.kernel_file).read_text(encoding="utf-8")
    imported = re.findall(r"from scc_numba\.kernels\.(\S+) import", source)
    assert set(imported) <= {"rung", "zero", "primitives", "tiling", "windows", "parts"}
    assert len(source.splitlines()) <= 230


@each_rung
def test_launches_stay_within_the_grid_for_arrays_past_2_to_the_32(rung):
    channels = SlidingChannels(70_000, 70_000, groups=1, overlap=0.5)
    layer = Layer(channels, batch=100_000, pixels=3136, dtype=np.dtype(np.float32))
    launch = rung.build(rung.suited(layer))
    if launch.grid[0] >= 2**31:  # one row of blocks: refused when launched, by the test below
        assert rung.name in ("f0", "x0", "w0")
    assert all(1 <= size <= 65_535 for size in launch.grid[1:])


@each_rung
def test_tiles_are_offered_and_others_refused(rung):
    layer = rung.suited(LAYER)
    assert rung.tiles(layer)
    assert all(len(tile) == len(rung.tile_names) for tile in rung.tiles(layer))
    for tile in rung.tiles(layer):
        launch = rung.build(layer, tile)
        assert np.prod(launch.block) <= 1024
    x = np.zeros((1, 12, 2), layer.dtype)
    weight, grad = np.zeros((10, 4), layer.dtype), np.zeros((1, 10, 2), layer.dtype)
    operands = {"forward": (x, weight), "grad_input": (grad, weight), "grad_weight": (grad, x)}[rung.op]
    with pytest.raises(ValueError, match=rf"tile=\(7,.*\) is not offered by rung {rung.name} .*can be"):
        rung.run(*operands, channels=LAYER.channels, tile=(7,) * len(rung.tile_names))


@each_rung
def test_supports_says_why_not(rung):
    for dtype in rung.dtypes:
        assert rung.supports(Layer(LAYER.channels, 1, 1, dtype)) is None
    whole = Layer(LAYER.channels, 1, 1, np.dtype(np.int32))
    assert rung.supports(whole) == f"rung {rung.name} computes in {' or '.join(rung.dtypes)}, not in int32"
    assert rung.suited(whole).dtype.name == rung.dtypes[0]
    own = Layer(LAYER.channels, 1, 1, rung.dtypes[-1])
    assert rung.suited(own) is own


def test_find_rung():
    assert find_rung("F1") is ladder("forward")[1]
    with pytest.raises(ValueError, match="rung='f11' is not a rung: did you mean 'f1'"):
        find_rung("f11")
    with pytest.raises(ValueError, match="there are f0, f1"):
        find_rung("quux")
    with pytest.raises(TypeError, match=r"name=\['f1'\] must be the name of a rung"):
        find_rung(["f1"])
    with pytest.raises(ValueError, match="is not an operation"):
        ladder(["forward"])


def test_unknown_op_suggests_the_nearest():
    with pytest.raises(ValueError, match="op='grad_inptu' is not an operation: did you mean 'grad_input'"):
        ladder("grad_inptu")


def test_a_layer_refuses_negative_sizes():
    with pytest.raises(ValueError, match="pixels=-1 must be at least 0"):
        Layer(LAYER.channels, 1, -1, np.dtype(np.float32))


def test_an_idea_is_required():
    rung = RUNGS[0]
    assert isinstance(rung, Rung)
    broken = Rung(rung.op, "f9", "", test_an_idea_is_required, rung.tiles, ())
    with pytest.raises(ValueError, match="rung f9 has no paragraph 'Idea:"):
        broken.idea  # noqa: B018
