"""`best` has a rung for every layer, and `run_best` computes with it."""

from dataclasses import replace

import numpy as np
import pytest
import scc_reference
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import Case, cases
from scc_numba.check.tolerance import errors_in_bounds
from scc_numba.device import backend
from scc_numba.kernels import OPS, Layer, best, find_rung, ladder, run_best, tile_table
from scc_numba.kernels.tile_table import Tuned, read_csv, to_csv

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
LAYER = Layer(SlidingChannels(32, 48, 2, 0.5), batch=3, pixels=49, dtype=FLOAT32)
OPERANDS = {
    "forward": ("x", "weight"),
    "grad_input": ("grad_output", "weight"),
    "grad_weight": ("grad_output", "x"),
}


def draw_operands(op, layer, seed, spatial=None):
    draw = np.random.default_rng(seed)
    N, C, P = layer.input_shape
    maps = spatial or (P,)
    shapes = {"x": (N, C, *maps), "grad_output": (N, layer.channels.out_channels, *maps)}
    shapes["weight"] = layer.weight_shape
    return {name: draw.standard_normal(shapes[name]).astype(layer.dtype) for name in OPERANDS[op]}


def case(C, K, groups, overlap, batch, pixels, dtype=FLOAT32):
    layer = Layer(SlidingChannels(C, K, groups, overlap), batch, pixels, dtype)
    return Case(layer, (pixels,), bias=False, tile=0, seed=0)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("allow_tf32", [False, True])
@settings(max_examples=4, deadline=None)
@given(drawn=cases())
@example(drawn=case(64, 64, 2, 0.33, 1, 1))  # M = 1, P = 1
@example(drawn=case(24, 5, 3, 0.5, 2, 49))  # K < D
@example(drawn=case(16, 20, 2, 0.25, 1, 3))  # next to nothing
@example(drawn=case(16, 20, 2, 0.25, 2, 16, FLOAT64))
def test_every_layer_has_a_rung_that_computes_it(op, allow_tf32, drawn):
    layer = drawn.layer
    rung, tile = best(layer, op, allow_tf32=allow_tf32)
    assert rung in ladder(op)
    assert tile in rung.tiles(layer)
    if not allow_tf32:
        assert rung.rounds_to is None
    operands = draw_operands(op, layer, drawn.seed, drawn.spatial)
    result = run_best(op, *operands.values(), channels=layer.channels, allow_tf32=allow_tf32)
    if op == "forward":
        operands["bias"] = None
    errors = errors_in_bounds(
        result, op, operands, layer.channels, zero_mean=True, rounds_to=rung.rounds_to if result.size else None
    )
    assert errors.max(initial=0) <= 1


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=200, deadline=None)
@given(drawn=cases(), target=st.sampled_from(["sm_70", "sm_75", "sm_80", "sm_90", None]), tf32=st.booleans())
def test_without_a_table_the_highest_that_supports_the_layer(op, drawn, target, tf32):
    rung, tile = best(drawn.layer, op, target=target, allow_tf32=tf32)
    target = target or backend().target
    assert rung.supports(drawn.layer, target) is None
    assert tile == rung.tiles(drawn.layer)[0]
    higher = ladder(op)[ladder(op).index(rung) + 1 :]
    assert all(other.supports(drawn.layer, target) or (other.rounds_to and not tf32) for other in higher)


@pytest.mark.parametrize("op", OPS)
def test_more_pixels_than_tiles_can_count(op):
    layer = Layer(SlidingChannels(4, 4, 1, 0.5), batch=2**12, pixels=2**20, dtype=FLOAT32)
    rung, tile = best(layer, op)
    assert not rung.flat_columns
    rung.build(layer, tile)
    for other in ladder(op):
        reason = other.supports(layer)
        if reason is None:
            other.build(layer)  # refuses nothing that `supports` does not
        else:
            assert reason.startswith(
                f"rung {other.name} numbers the columns of all images: batch·pixels = 4294967296"
            )


def test_a_dtype_that_no_rung_has():
    with pytest.raises(TypeError, match=r"no rung of forward computes this layer: rung f0 computes in"):
        best(replace(LAYER, dtype=np.dtype(np.int32)), "forward")
    with pytest.raises(ValueError, match="did you mean 'forward'"):
        best(LAYER, "forwrad")


@pytest.fixture
def table(monkeypatch, tmp_path):
    """Writes a tile table that goes before the recorded ones."""

    def write(*rows):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
        path.write_text(to_csv(rows))
        monkeypatch.setenv(tile_table.VARIABLE, str(path))
        return path

    return write


def row(rung, tile, microseconds, layer=LAYER, target="sm_90"):
    return Tuned.of(find_rung(rung), layer, tile, target, microseconds, "a GPU")


def test_a_table_decides(table):
    f2, f4 = find_rung("f2").tiles(LAYER)[-1], find_rung("f4").tiles(LAYER)[-1]
    f9 = find_rung("f9").tiles(LAYER)[-1]
    table(row("f2", f2, 3.0), row("f4", f4, 2.0), row("f9", f9, 1.0), row("f0", (32,), 0.1, target="sm_75"))
    assert best(LAYER, "forward") == (find_rung("f4"), f4)
    assert best(LAYER, "forward", allow_tf32=True) == (find_rung("f9"), f9)
    assert best(LAYER, "forward", target="sm_75") == (find_rung("f0"), (32,))
    assert best(replace(LAYER, pixels=48), "forward")[0] is find_rung("f8")  # not in the table


def test_another_batch_takes_the_nearest(table):
    near, far = replace(LAYER, batch=4), replace(LAYER, batch=64)
    table(row("f2", (64,), 2.0, near), row("f0", (32,), 1.0, far))
    assert best(LAYER, "forward")[0].name == "f2"
    assert best(replace(LAYER, batch=32), "forward")[0].name == "f0"
    assert best(replace(LAYER, batch=0), "forward")[0].name == "f8"


def test_what_a_rung_no_longer_offers_is_passed_over(table):
    table(replace(row("f4", (7, 7), 0.1), rung="f99"), row("f4", (7, 7), 1.0), row("f2", (64,), 2.0))
    assert best(LAYER, "forward") == (find_rung("f2"), (64,))


def test_a_table_is_read_as_it_was_written(table):
    rows = [row("f2", (64,), 3.25), row("f4", (32, 4), 2.5)]
    assert read_csv(table(*rows)) == rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "is cut short: 0 whole rows of 2"),
        (lambda text: text[:-1], "is cut short"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "is cut short: 1 whole rows of 2"),
        (lambda text: text.replace("format 1", "format 9"), "is of format 9, this version reads format 1"),
        (lambda text: "a,b\n1,2\n", "does not start with '# scc-numba tiles"),
        (lambda text: text.replace(",64,", ",sixty,"), "holds something that is no number"),
    ],
)
def test_a_broken_table_is_said_and_does_without(table, change, message):
    path = table(row("f2", (64,), 3.0), row("f0", (64,), 2.0))
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        read_csv(path)
    tile_table._tables.cache_clear()
    with pytest.warns(UserWarning, match=message):
        assert best(LAYER, "forward")[0].name == "f8"


def test_recorded_tables_name_rungs_and_tiles_there_are():
    for path in tile_table.RECORDED.glob("tiles_*.csv"):
        for entry in read_csv(path):
            assert find_rung(entry.rung).op == entry.op


def test_run_best_takes_what_rungs_take():
    operands = draw_operands("forward", LAYER, 0)
    bias = np.ones(48, np.float32)
    result = run_best("forward", *operands.values(), bias, channels=LAYER.channels)
    expected = scc_reference.scc_forward(**operands, bias=bias, channels=LAYER.channels)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="weight"):
        run_best("forward", operands["x"], operands["weight"][:, 1:], channels=LAYER.channels)
    with pytest.raises(TypeError, match="grad_input takes"):
        run_best("grad_input", *operands.values(), bias, channels=LAYER.channels)
