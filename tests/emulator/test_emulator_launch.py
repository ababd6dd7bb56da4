"""What launch takes and refuses, the frontends, and the cache."""

import os
import re
import stat
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numba import cuda, float32, types

from scc_numba.emulator import (
    ArgumentError,
    CompileError,
    LaunchError,
    PtxError,
    PtxKernel,
    StepLimitExceeded,
    cache,
    launch,
)


def scale(x, factor):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] *= factor


# ---------------------------------------------------------------------------------------- shapes and
# arguments


@pytest.mark.parametrize(("grid", "block"), [
    (0, 32), (1, 0), ((1, 2, 3, 4), 32), (1, ()), (1.5, 32), ((1, 65536), 32), (1, (1, 1, 65)), (1, 2048),
    (True, 32),
    (2**31, 32), ("1", 32), (-1, 32),
])  # fmt: skip
def test_impossible_shapes_are_refused(grid, block):
    x = np.ones(4, "f4")
    with pytest.raises(LaunchError, match=r"grid=|block="):
        launch(scale, grid, block, (x, 2.0))
    assert x.tolist() == [1] * 4


def test_bad_arguments_are_refused_before_anything_runs():
    x = np.ones(4, "f4")
    cases = [
        ((x,), "takes 2 arguments"), ((x, 1.0, 2), "takes 2 arguments"), ((x, "2"), "factor is a str"),
        ((x, None), "factor is a NoneType"), (([1, 2], 2.0), "x is a list"),
        ((x.astype(object), 2.0), "Python objects"),
        ((x, 2**70), "does not fit"),
    ]  # fmt: skip
    for args, message in cases:
        with pytest.raises(ArgumentError, match=message):
            launch(scale, 1, 32, args)
    locked = x.copy()
    locked.flags.writeable = False
    with pytest.raises(ArgumentError, match="x is read-only"):
        launch(scale, 1, 32, (locked, 2.0))
    with pytest.raises(ArgumentError, match="must be a tuple"):
        launch(scale, 1, 32, x)
    with pytest.raises(LaunchError, match="sm_12345"):
        launch(scale, 1, 32, (x, 2.0), target="sm_12345")
    with pytest.raises(LaunchError, match="shared_bytes=-1"):
        launch(scale, 1, 32, (x, 2.0), shared_bytes=-1)
    with pytest.raises(ArgumentError, match="must be a function"):
        launch(3, 1, 32, (x,))
    with pytest.raises(ArgumentError, match="signature"):
        launch(".version 8.0", 1, 32, (x,))
    assert x.tolist() == [1] * 4


def test_signature_mismatches_name_argument_and_rule():
    x = np.ones((4, 4), "f4")
    flat = "void(float32[::1], float32)"
    for args, message in (
        ((x, 2.0), "x has 2 dimensions"), ((x[0].astype("f8"), 2.0), "x has dtype float64"),
        ((x[:, 0], 2.0), "x is not C-contiguous"), ((3, 2.0), "x is a int"),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=message):
            launch(scale, 1, 32, args, signature=flat)
    narrow = "void(float32[::1], int8)"
    with pytest.raises(ArgumentError, match="factor=300 does not fit int8"):
        launch(scale, 1, 32, (x[0], 300), signature=narrow)
    with pytest.raises(ArgumentError, match="whole number"):
        launch(scale, 1, 32, (x[0], 2.5), signature=narrow)


@pytest.mark.parametrize(
    ("args", "more", "message"),
    [
        ((np.array(["a"]), 2.0), {}, "x: arrays of dtype <U1"),
        ((np.zeros(4, "M8[s]"), 2.0), {}, "x: arrays of dtype datetime64"),
        ((np.zeros(4, ">f8"), 2.0), {}, "x: dtype >f8"),
        ((np.zeros(4), 2j), {}, "factor is a complex"),
        ((np.zeros(4), 2.0), {"signature": "void(nonsense, float32)"}, "signature='void.*nonsense"),
        ((np.zeros(4), 2.0), {"signature": "void(float64[::1]"}, "signature='void"),
        ((np.zeros(4), 2.0), {"signature": "float64[::1]"}, "signature='float64"),
        ((np.zeros(4), 2.0), {"options": 3}, "options=3 must be a dictionary"),
    ],
)
def test_types_that_no_kernel_takes(args, more, message):
    with pytest.raises(ArgumentError, match=message):
        launch(scale, 1, 32, args, **more)


def test_ptx_text_needs_a_signature_that_makes_sense():
    text = ".version 8.0\n.target sm_90\n.visible .entry k(.param .u32 a)\n{\n ret;\n}\n"
    with pytest.raises(ArgumentError, match="PTX text comes with a signature"):
        launch(text, 1, 1, (3,))
    with pytest.raises(ArgumentError, match="argument 0: signature entry 'f99'"):
        launch(PtxKernel(text, ("f99",)), 1, 1, (3,))


def test_a_missing_compiler_says_what_to_install(monkeypatch):
    from scc_numba.emulator import CompilerMissing, compiler, frontend

    class Missing(Exception):
        pass

    Missing.__name__ = "NvvmSupportError"

    def compile_ptx(pyfunc, sig, cc=None, lineinfo=False, fastmath=False, opt=None, debug=None):
        raise Missing("libNVVM cannot be found")

    monkeypatch.setattr(cuda, "compile_ptx", compile_ptx)
    monkeypatch.setattr(frontend, "disk_get", lambda key: None)
    x = np.ones(4)
    for platform, words in (("linux", r"pip install .numba-cuda\[cu13\]"), ("darwin", "container.*Colab")):
        monkeypatch.setattr(compiler.sys, "platform", platform)
        with pytest.raises(CompilerMissing, match=words):
            launch(multiplier(9), 1, 4, (x,))
    assert x.tolist() == [1] * 4


def test_read_only_inputs_are_fine():
    def copy(a, b):
        b[cuda.grid(1)] = a[cuda.grid(1)]

    a, b = np.arange(32.0), np.zeros(32)
    a.flags.writeable = False
    launch(copy, 1, 32, (a, b), strict=True)
    assert (a == b).all()


def test_layouts_and_kinds_of_scalars():
    def weave(a, b, c, out):
        i, j = cuda.grid(2)
        if i < out.shape[0] and j < out.shape[1]:
            out[i, j] = a[i, j] * b + c[0] - c[1]

    base = np.arange(96, dtype="f8").reshape(8, 12)
    for a in (base, np.asfortranarray(base), base[::2, ::3], base[:, ::-1], base.T):
        out = np.zeros(a.shape, order="F" if a.flags.f_contiguous else "C")
        for b in (3, True, np.float32(1.5), np.int16(-2), 2.5, np.uint8(7)):
            launch(weave, (1, 1), (16, 16), (a, b, (4, 1), out), strict=True)
            assert (out == a * b + 3).all()


def test_views_that_overlap_share_memory():
    def shift(a, b):
        i = cuda.grid(1)
        v = a[i]
        cuda.syncthreads()
        b[i] = v

    whole = np.arange(40, dtype="f4")
    launch(shift, 1, 32, (whole[:32], whole[8:]))
    assert whole.tolist() == [*range(8), *range(32)]


def test_an_empty_array_and_a_large_grid():
    x = np.zeros(0, "f4")
    launch(scale, 3, 32, (x, 2.0), strict=True)
    x = np.ones(100_000, "f4")
    report = launch(scale, -(-x.size // 96), 96, (x, 2.0), strict=True)
    assert (x == 2).all()
    assert report.arrays["x"].load.lanes == x.size


def test_pointers_are_given_arrays():
    def add(a, b, n):
        i = cuda.grid(1)
        if i < n:
            b[i] += a[i]

    pointer = types.CPointer(types.float32)
    a, b = np.arange(40, dtype="f4"), np.ones(40, "f4")
    signature = (pointer, pointer, types.uint32)
    report = launch(add, 2, 32, (a, b, 40), signature=signature, strict=True)
    assert b.tolist() == [1.0 + i for i in range(40)]
    assert report.arrays["a"].load.lanes == 40
    report = launch(add, 2, 32, (a, b[:30], 40), signature=signature)
    assert [(f.array, f.count) for f in report.findings] == [("b", 20)]  # ten loads and ten stores
    with pytest.raises(ArgumentError, match="not its address"):
        launch(add, 2, 32, (a.ctypes.data, b, 40), signature=signature)


def test_a_livelock_ends():
    def wait(flag):
        while cuda.atomic.add(flag, 0, 0) == 0:
            pass

    with pytest.raises(StepLimitExceeded, match="line"):
        launch(wait, 1, 32, (np.zeros(1, "i4"),), max_steps=2000)


def test_a_lock_within_a_warp_makes_progress():
    def locked(m, total):
        while cuda.atomic.cas(m, 0, 0, 1) != 0:
            pass
        total[0] += 1
        cuda.threadfence()
        cuda.atomic.exch(m, 0, 0)

    m, total = np.zeros(1, "i4"), np.zeros(1, "i4")
    assert not launch(locked, 2, 40, (m, total)).findings
    assert total[0] == 80


# ---------------------------------------------------------------------------------------- frontends


@cuda.jit(device=True)
def square(v):
    return v * v


@cuda.jit
def squares(a, out):
    i = cuda.grid(1)
    if i < a.size:
        out[i] = square(a[i])


TABLE = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.float32)


def table(out):
    t = cuda.const.array_like(TABLE)
    i = cuda.grid(1)
    out[i] = t[i % 8]


def dynamic(a, out):
    s = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncthreads()
    out[t] = s[cuda.blockDim.x - 1 - t]


def whole_grid(a, b):
    i = cuda.grid(1)
    g = cuda.cg.this_grid()
    b[i] = a[i] + 1
    g.sync()
    a[i] = b[a.size - 1 - i]


def multiplier(k):
    def kernel(x):
        x[cuda.grid(1)] *= k

    return kernel


def test_dispatchers_device_functions_constants_and_grid_barriers():
    a, out = np.arange(64, dtype="f4"), np.zeros(64, "f4")
    launch(squares, 2, 32, (a, out), strict=True)
    assert (out == a * a).all()
    launch(table, 2, 32, (out,), strict=True)
    assert (out == np.tile(TABLE, 8)).all()
    launch(dynamic, 1, 64, (a, out), shared_bytes=256, strict=True)
    assert (out == a[::-1]).all()
    only = launch(dynamic, 1, 64, (a, out), shared_bytes=252).findings
    assert {f.kind for f in only} == {"out-of-bounds"}
    x, y = np.arange(96.0), np.zeros(96)
    launch(whole_grid, 3, 32, (x, y), strict=True)
    assert x.tolist() == [96.0 - i for i in range(96)]


def test_two_kernels_of_one_factory_are_not_confused():
    for k in (2, 3, 2.5):
        x = np.ones(32)
        launch(multiplier(k), 1, 32, (x,))
        assert (x == k).all()


def test_print(capfd):
    def shout(a):
        i = cuda.grid(1)
        if i % 40 == 1:
            print("thread", i, "has", a[i])

    launch(shout, 2, 32, (np.arange(64, dtype="f4"),))
    assert capfd.readouterr().out == "thread 1 has 1.000000\nthread 41 has 41.000000\n"


def test_ptx_errors_carry_line_and_column():
    good = ".version 8.0\n.target sm_90\n.visible .entry k(.param .u64 a)\n{\nret;\n}\n"
    x = np.zeros(4)
    launch(PtxKernel(good, ("pointer",)), 1, 1, (x,))
    for text, message in (
        (good.replace("ret;", "ret;\n  ???;"), "line 6, column 3"), ("nonsense", "line 1, column 1"),
        (good.replace("}", ""), "line 7"), (good.replace("ret;", "bra nowhere;"), "nowhere"),
        (good.replace("ret;", ".reg .f77 %x;"), "line 5, column 1: unknown register type .f77"),
    ):  # fmt: skip
        with pytest.raises(PtxError, match=message):
            launch(PtxKernel(text, ("pointer",)), 1, 1, (x,))
    with pytest.raises(PtxError, match="1 parameters, its signature makes 2"):
        launch(PtxKernel(good, ("pointer", "i4")), 1, 1, (x, 3))


def test_both_targets_give_the_same_counts():
    a, out = np.arange(64, dtype="f4"), np.zeros(64, "f4")
    old, new = (launch(squares, 2, 32, (a, out), target=t) for t in ("sm_80", "sm_90"))
    assert old.global_load.sectors == new.global_load.sectors
    assert old.target == "sm_80"


# ---------------------------------------------------------------------------------------- cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "cache"
    monkeypatch.setenv("SCC_NUMBA_CACHE_DIR", str(place))
    return place


def test_entries_are_private_and_verified(folder):
    kernel = multiplier(7)
    x = np.ones(32)
    launch(kernel, 1, 32, (x,))
    (entry,) = folder.glob("*.ptx")
    assert stat.S_IMODE(folder.stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    key = entry.stem
    text = cache.disk_get(key)
    assert ".entry" in text
    good = entry.read_text()
    entry.write_text(good.replace("mul", "add"))  # tampered with
    assert cache.disk_get(key) is None
    entry.write_bytes(b"\xff\xfe broken")
    assert cache.disk_get(key) is None
    entry.write_text(good)
    assert cache.disk_get(key) == text
    entry.chmod(0o666)  # others could have written it
    assert cache.disk_get(key) is None
    entry.chmod(0o600)
    folder.chmod(0o777)
    assert cache.disk_get(key) is None
    folder.chmod(0o700)
    other = folder / f"{'0' * 64}.ptx"
    other.symlink_to(entry)
    assert cache.disk_get("0" * 64) is None
    entry.write_text("garbage")
    y = np.ones(32)
    launch(multiplier(7), 1, 32, (y,))  # a new function object: not in memory, and the entry on disk is broken
    assert (y == 7).all()
    assert ".entry" in cache.disk_get(key)  # rebuilt


def test_the_key_sees_what_changes_the_code():
    def key(f, sig=(types.float64[::1],), target="sm_90", options=None):
        return cache.fingerprint(f, sig, target, options or {})

    assert key(multiplier(2)) == key(multiplier(2))
    different = [
        key(multiplier(2)), key(multiplier(3)), key(multiplier(2.0)), key(multiplier(np.float32(2))),
        key(multiplier(2), target="sm_80"), key(multiplier(2), options={"fastmath": True}),
        key(multiplier(2), (types.float32[::1],)), key(multiplier(TABLE)), key(multiplier(TABLE + 1)),
        key(multiplier((1, 2))), key(multiplier(square)),
    ]  # fmt: skip
    assert None not in different
    assert len(set(different)) == len(different)
    assert key(multiplier(object())) is None  # cannot be described: not cached


def test_parallel_processes_share_the_cache(folder, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent("""
        import numpy as np
        from numba import cuda
        from scc_numba.emulator import launch

        def kernel(x):
            x[cuda.grid(1)] += 5

        x = np.zeros(64)
        launch(kernel, 2, 32, (x,))
        assert (x == 5).all()
    """)
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root}
    running = [subprocess.Popen([sys.executable, str(script)], env=environment) for _ in range(2)]
    assert [p.wait() for p in running] == [0, 0]
    (entry,) = folder.glob("*.ptx")
    assert cache.disk_get(entry.stem) is not None
    assert not list(folder.glob("*.tmp"))


def test_importing_compiles_and_loads_nothing(tmp_path):
    """A process that only imports the package must not wait for Numba to load compiled loops."""
    code = (
        "import sys, numba\n"
        "from numba.core import event\n"
        "before = 'numba.np.linalg' in sys.modules\n"
        "with event.install_recorder('numba:compile') as seen:\n"
        "    import scc_numba.emulator\n"
        "    from scc_numba.emulator import access, atomics, fused, mask, values\n"
        "assert not seen.buffer, seen.buffer\n"
        "assert not fused.fma.loops and not fused.minimum.loops and not fused.maximum.loops\n"
        # Numba imports this when it registers all its functions, which is what takes long.
        "assert ('numba.np.linalg' in sys.modules) == before, 'a compiled loop was loaded'\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = {**os.environ, "PYTHONPATH": root}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("order", [("f4", "f8"), ("f8", "f4")])
def test_the_order_of_first_uses_changes_no_result(order):
    from scc_numba.emulator import fused

    for name, operands in (("_fused", 3), ("_minimum", 2), ("_maximum", 2)):
        ufunc = fused._Elementwise(getattr(fused, name), operands)
        for kind in order:
            assert ufunc(*[np.ones(2, kind)] * operands).dtype == kind


# ---------------------------------------------------------------------------------------- memory that is not there


def reverse_in_dynamic(out):
    s = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = t
    cuda.syncthreads()
    out[t] = s[cuda.blockDim.x - 1 - t]


@pytest.mark.parametrize("threads", [1, 31, 32, 64])
@pytest.mark.parametrize("checks", [True, False])
def test_dynamic_shared_memory_that_was_not_asked_for(threads, checks):
    report = launch(reverse_in_dynamic, 1, threads, (np.zeros(threads, "f4"),), checks=checks)
    assert {f.kind for f in report.findings} == ({"out-of-bounds"} if checks else set())


def copy_all(x, y):
    i = cuda.grid(1)
    y[i] = x[i]


def test_uninitialised_arrays_by_object_and_by_name():
    x, y = np.zeros(32, "f4"), np.zeros(32, "f4")
    for fresh in ((x,), [x], x, ("x",), "x"):
        report = launch(copy_all, 1, 32, (x, y), uninitialised=fresh)
        assert [(f.kind, f.array) for f in report.findings] == [("uninitialised-global", "x")]
    assert launch(copy_all, 1, 32, (x, y), uninitialised=(y,)).findings == []


@pytest.mark.parametrize("fresh", [("z",), (0,), (np.zeros(32, "f4"),), 7])
def test_uninitialised_must_be_among_the_arguments(fresh):
    x, y = np.zeros(32, "f4"), np.zeros(32, "f4")
    with pytest.raises(ArgumentError, match="uninitialised"):
        launch(copy_all, 1, 32, (x, y), uninitialised=fresh)


def test_a_block_of_too_many_threads_is_refused_however_it_is_written():
    y = np.zeros(4096, "f4")
    for block in (2048, (32, 64), (2, 32, 32)):
        with pytest.raises(LaunchError, match="block="):
            launch(copy_all, 1, block, (np.zeros(4096, "f4"), y))
    assert not y.any()


@pytest.mark.parametrize("text", [None, b"\x00\xff", 7])
def test_ptx_must_be_a_string(text):
    with pytest.raises(ArgumentError, match="it must be PTX as a string"):
        PtxKernel(text, ())


@pytest.mark.parametrize("signature", ["pointer", "void(nonsense)", ("foo",), (("matrix", 2),), (3.5,), 3, None])
def test_a_ptx_signature_of_another_form_names_the_forms(signature):
    with pytest.raises(ArgumentError, match='"pointer" for an array given by its address'):
        PtxKernel(".version 8.0", signature)


PTX_ADD = """.version 8.0
.target sm_90
.address_size 64
.visible .entry add(.param .u64 x, .param .f32 v, .param .u32 n)
{
.reg .b64 %rd<4>; .reg .b32 %r<3>; .reg .f32 %f<4>; .reg .pred %p<2>;
ld.param.u64 %rd1, [x]; ld.param.f32 %f1, [v]; ld.param.u32 %r1, [n];
mov.u32 %r2, %tid.x; setp.ge.u32 %p1, %r2, %r1; @%p1 bra $end;
mul.wide.u32 %rd2, %r2, 4; add.s64 %rd3, %rd1, %rd2;
ld.global.f32 %f2, [%rd3]; add.f32 %f3, %f2, %f1; st.global.f32 [%rd3], %f3;
$end: ret;
}
"""
POINTER = types.CPointer(types.float32)


@pytest.mark.parametrize(
    "signature",
    [
        "void(CPointer(float32), float32, uint32)",
        "(CPointer(float32), float32, uint32)",
        types.void(POINTER, types.float32, types.uint32),
        (POINTER, types.float32, types.uint32),
        ["pointer", np.float32, types.uint32],
        ("pointer", "f4", "u4"),
    ],
)
def test_a_ptx_signature_is_read_as_that_of_launch(signature):
    x = np.ones(32, "f4")
    launch(PtxKernel(PTX_ADD, signature), 1, 32, (x, 2.5, 20), strict=True)
    assert x.tolist() == [3.5] * 20 + [1.0] * 12
    if signature != ("pointer", "f4", "u4") and not isinstance(signature, list):
        with pytest.raises(ArgumentError, match="argument 0 has dtype float64, the signature says float32"):
            launch(PtxKernel(PTX_ADD, signature), 1, 32, (np.ones(32), 2.5, 20))


def test_arrays_in_a_ptx_signature_have_a_layout():
    text, _ = cuda.compile_ptx(scale, types.void(types.float32[::1], types.float64), cc=(9, 0))
    x = np.ones(40, "f4")
    launch(PtxKernel(text, "void(float32[::1], float64)"), 2, 32, (x, 3), strict=True)
    assert (x == 3).all()
    with pytest.raises(ArgumentError, match="argument 0 is not C-contiguous"):
        launch(PtxKernel(text, "void(float32[::1], float64)"), 2, 32, (x[::2], 3))


def test_a_ptx_kernel_has_its_own_signature_and_options():
    kernel = PtxKernel(PTX_ADD, "void(CPointer(float32), float32, uint32)")
    for more in ({"signature": "void(CPointer(float32), float32, int32)"}, {"options": {"fastmath": True}}):
        with pytest.raises(ArgumentError, match=f"{next(iter(more))}= .*PtxKernel"):
            launch(kernel, 1, 32, (np.ones(32, "f4"), 2.5, 20), **more)


def test_a_ptx_pointer_is_64_bits_wide():
    narrow = ".version 8.0\n.target sm_90\n.visible .entry k(.param .u32 a)\n{\n ret;\n}\n"
    with pytest.raises(PtxError, match=r"parameter a is a \.u32, .* 64 bits"):
        launch(PtxKernel(narrow, ("pointer",)), 1, 1, (np.zeros(1),))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"options": {"fastmoth": True}}, "options: 'fastmoth' is no option .* did you mean 'fastmath'"),
        ({"checks": "no"}, "checks='no' is a str, it must be True or False"),
        ({"counters": 1}, "counters=1 is a int, it must be True or False"),
        ({"strict": None}, "strict=None is a NoneType"),
        ({"global_races": "x"}, "global_races='x' is a str"),
        ({"max_steps": 0}, "max_steps=0 must be a whole number, 1 or more"),
        ({"max_steps": 1e6}, "max_steps=1000000.0 must be a whole number"),
    ],
)
def test_switches_and_options_are_checked(more, message):
    x = np.ones(4, "f4")
    with pytest.raises((ArgumentError, LaunchError), match=message):
        launch(scale, 1, 32, (x, 2.0), **more)
    assert x.tolist() == [1] * 4


def test_a_device_function_is_no_kernel():
    with pytest.raises(ArgumentError, match="square is a device function"):
        launch(square, 1, 32, (1.0,))


def test_masked_arrays_are_refused():
    x = np.ma.masked_equal(np.arange(4.0), 2)
    with pytest.raises(ArgumentError, match=r"argument x is a masked array.*filled"):
        launch(scale, 1, 32, (x, 2.0))


def test_errors_count_in_good_grammar():
    x = np.ones(4, "f4")
    for args, said in (((x,), "1 was given"), ((x, 1.0, 2), "3 were given"), ((), "0 were given")):
        with pytest.raises(ArgumentError, match=f"takes 2 arguments .*, {said}"):
            launch(scale, 1, 32, args)
    with pytest.raises(ArgumentError, match="takes 3 arguments, 1 was given"):
        launch(PtxKernel(PTX_ADD, ("pointer", "f4", "u4")), 1, 32, (x,))


def test_complex_numbers_live_in_arrays():
    def turn(z):
        i = cuda.grid(1)
        z[i] = z[i] * z[i].conjugate() + 1j

    z = np.array([1 + 2j, 3 - 1j], np.complex64)
    report = launch(turn, 1, 2, (z,), strict=True)
    assert z.tolist() == [5 + 1j, 10 + 1j]
    assert report.global_load.bytes == 16
    with pytest.raises(ArgumentError, match=r"argument factor is a complex.*array"):
        launch(scale, 1, 32, (np.ones(4), 2j))


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("void(__import__('os').system('true'))", "no type of Numba's"),
        ("void((lambda: int32)())", "has no place in a signature"),
        ("void(float32.__class__)", "no type of Numba's"),
        ("int32(float32[::1])", "returns int32; a kernel returns nothing: begin with void"),
        ("float32", "it is one type"),
        ("void(float32[::1]", "is not one like"),
    ],
)
def test_a_signature_is_read_and_never_run(signature, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        launch(raises_nothing, 1, 1, (np.zeros(1, np.float32),), signature=signature)


@pytest.mark.parametrize("signature", ["void(float32[::1])", "(float32[::1],)", "void(Array(float32, 1, 'C'))",
                                       "void(types.float32[:])", "none(CPointer(float32))"])  # fmt: skip
def test_signatures_of_all_forms(signature):
    x = np.zeros(1, np.float32)
    launch(raises_nothing, 1, 1, (x,), signature=signature)
    assert x[0] == 1


def raises_nothing(x):
    x[0] = 1


def calls_what_is_not_there(x):
    x.fill_with_noise()


def gives_back(x):
    return x[0]


@pytest.mark.parametrize("kernel", [calls_what_is_not_there, gives_back])
def test_a_kernel_that_does_not_compile(kernel):
    with pytest.raises(
        CompileError, match=rf"{kernel.__name__}\(x: array\(float32, 1d, C\)\) does not compile:\n."
    ):
        launch(kernel, 1, 1, (np.zeros(1, np.float32),))


@pytest.mark.parametrize("registers", [-1, 0, 2.5, True])
def test_registers_are_a_number_of_registers(registers):
    with pytest.raises(LaunchError, match=r"registers=.* must be a whole number"):
        launch(raises_nothing, 1, 1, (np.zeros(1, np.float32),), registers=registers)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_in_the_cache_is_not_waited_for(folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / f"{'1' * 64}.ptx", 0o600)
    assert cache.disk_get("1" * 64) is None
