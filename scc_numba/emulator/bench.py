"""`python -m scc_numba.emulator.bench`: one table of speed against Numba's simulator, cost of the checks,
and growth.

The simulator runs in a second process, because it must be chosen before numba is imported. Compilation is
excluded on both sides; the emulator runs with all checks and counters on. Times are the best of several
runs.

`--command "python program.py"` times a whole command instead, in fresh processes: once with empty caches, so
that everything is compiled, and then with the caches it left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import cuda as _cuda
from numba import float32

cuda: Any = _cuda  # the language inside the kernels; a type checker cannot follow it

SHAPES = ((1, 32, 64), (2, 64, 256), (2, 128, 256))  # batch, channels, pixels
KERNELS = ("naive", "tiled", "atomic dW", "shared reduce")
_TP, _TY, _RO, _JT = 32, 4, 4, 8  # pixels and rows of threads of a tile, filters a thread, channels a step
_OB = _TY * _RO
_CT = _OB - 1 + _JT
_NT = 128


def kernels() -> dict[str, Any]:
    """The four kernels, as plain functions: both machines compile them their own way."""
    TP, TY, RO, JT, OB, CT, NT = _TP, _TY, _RO, _JT, _OB, _CT, _NT

    def naive(x, w, y, step, N, C, K, P, G):
        i = cuda.grid(1)
        if i >= N * K * P:
            return
        n = i // (K * P)
        r = i - n * K * P
        k = r // P
        p = r - k * P
        acc = float32(0.0)
        for j in range(G):
            acc += x[n, (k * step + j) % C, p] * w[k, j]
        y[n, k, p] = acc

    def tiled(x, w, y, N, C, K, P, G):
        xs = cuda.shared.array((CT, TP), float32)
        ws = cuda.shared.array((OB, JT), float32)
        acc = cuda.local.array(RO, float32)
        tx = cuda.threadIdx.x
        ty = cuda.threadIdx.y
        p = cuda.blockIdx.x * TP + tx
        k0 = cuda.blockIdx.y * OB
        n = cuda.blockIdx.z
        for k in range(RO):
            acc[k] = float32(0.0)
        for j0 in range(0, G, JT):
            for c in range(ty, CT, TY):
                channel = (k0 + j0 + c) % C
                if p < P:
                    xs[c, tx] = x[n, channel, p]
                else:
                    xs[c, tx] = float32(0.0)
            t = ty * TP + tx
            if t < OB * JT:
                a = t // JT
                b = t % JT
                if k0 + a < K and j0 + b < G:
                    ws[a, b] = w[k0 + a, j0 + b]
                else:
                    ws[a, b] = float32(0.0)
            cuda.syncthreads()
            for j in range(JT):
                for k in range(RO):
                    acc[k] += xs[ty * RO + k + j, tx] * ws[ty * RO + k, j]
            cuda.syncthreads()
        if p < P:
            for k in range(RO):
                if k0 + ty * RO + k < K:
                    y[n, k0 + ty * RO + k, p] = acc[k]

    def atomic_dw(x, dy, dw, step, N, C, K, P, G):
        i = cuda.grid(1)
        if i >= N * K * P:
            return
        n = i // (K * P)
        r = i - n * K * P
        k = r // P
        p = r - k * P
        g = dy[n, k, p]
        for j in range(G):
            cuda.atomic.add(dw, (k, j), g * x[n, (k * step + j) % C, p])

    def shared_reduce(a, out, n):
        s = cuda.shared.array(NT, float32)
        t = cuda.threadIdx.x
        i = cuda.blockIdx.x * NT + t
        v = float32(0.0)
        while i < n:
            v += a[i]
            i += NT * cuda.gridDim.x
        s[t] = v
        cuda.syncthreads()
        h = NT // 2
        while h > 0:
            if t < h:
                s[t] += s[t + h]
            cuda.syncthreads()
            h //= 2
        if t == 0:
            out[cuda.blockIdx.x] = s[0]

    return {"naive": naive, "tiled": tiled, "atomic dW": atomic_dw, "shared reduce": shared_reduce}


def case(name: str, shape: tuple[int, int, int]) -> tuple[Any, Any, list[Any], int]:
    """Grid, block, arguments, and which argument is the result."""
    N, C, P = shape
    G, n = C // 4, N * C * P
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, C, P)).astype(np.float32)
    w = rng.standard_normal((C, G)).astype(np.float32)
    if name == "naive":
        return -(-n // 128), 128, [x, w, np.zeros_like(x), 1, N, C, C, P, G], 2
    if name == "tiled":
        return (-(-P // _TP), -(-C // _OB), N), (_TP, _TY), [x, w, np.zeros_like(x), N, C, C, P, G], 2
    if name == "atomic dW":
        return -(-n // 128), 128, [x, x[:, ::-1].copy(), np.zeros_like(w), 1, N, C, C, P, G], 2
    blocks = -(-n // 512)
    return blocks, _NT, [x.reshape(-1), np.zeros(blocks, np.float32), n], 1


def _best(run: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    best = math.inf
    for _ in range(repeats):
        start = clock()
        run()
        best = min(best, clock() - start)
    return best


def _cost(shape: tuple[int, int, int], repeats: int) -> tuple[float, float]:
    """Seconds of the tiled kernel that neither checks nor counts, and that does both.

    They are of this process, so that other work of the machine does not come in.
    """
    from .launch import launch

    grid, block, args, _ = case("tiled", shape)
    kernel = _KERNELS["tiled"]
    seconds = []
    for wanted in (False, True):
        launch(kernel, grid, block, args, checks=wanted, counters=wanted)  # compiles
        run = lambda wanted=wanted: launch(kernel, grid, block, args, checks=wanted, counters=wanted)  # noqa: E731
        seconds.append(_best(run, repeats, time.process_time))
    return seconds[0], seconds[1]


def _emulate(name: str, shape: tuple[int, int, int], repeats: int, **options: Any) -> tuple[float, np.ndarray]:
    from .launch import launch

    grid, block, args, result = case(name, shape)
    kernel = _KERNELS[name]
    launch(kernel, grid, block, args, **options)  # compiles
    args[result][...] = 0
    launch(kernel, grid, block, args, **options)
    answer = args[result].copy()
    return _best(lambda: launch(kernel, grid, block, args, **options), repeats), answer


def _simulator_child(path: str) -> None:
    """Runs in the second process: one cell a line of the request, times and results into files."""
    request = json.loads(Path(path).read_text())
    for k, (name, shape) in enumerate(request["cells"]):
        grid, block, args, result = case(name, tuple(shape))
        kernel = cuda.jit(kernels()[name])
        start = time.perf_counter()
        kernel[grid, block](*args)
        seconds = time.perf_counter() - start
        np.save(f"{path}.{k}.npy", args[result])
        print(json.dumps({"cell": k, "seconds": seconds}), flush=True)


def _simulate(cells: list[tuple[str, tuple[int, int, int]]], limit: float) -> list[tuple[float, bool, Any]]:
    """(seconds, whether it finished, result) for each cell; one that runs into the limit counts as
    that long.
    """
    out: list[tuple[float, bool, Any]] = []
    for name, shape in cells:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "request.json"
            path.write_text(json.dumps({"cells": [(name, shape)]}))
            environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}
            command = [sys.executable, "-m", "scc_numba.emulator.bench", "--simulator-child", str(path)]
            try:
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, timeout=limit, check=True
                )
                seconds = json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
                out.append((seconds, True, np.load(f"{path}.0.npy")))
            except subprocess.TimeoutExpired:
                out.append((limit, False, None))
    return out


_KERNELS: dict[str, Any] = {}


def _translation(repeats: int) -> tuple[int, float]:
    """Instructions of the tiled kernel, and seconds from its PTX to Python functions: paid once a process."""
    from . import codegen, ptx
    from .compiler import compile_ptx
    from .signatures import type_of
    from .targets import find_target
    from .verify import verify

    args = case("tiled", SHAPES[0])[2]
    types = tuple(type_of(a, "argument") for a in args)
    text = compile_ptx(_KERNELS["tiled"], types, find_target("sm_90"), {})

    def translate() -> int:
        module = ptx.parse(text)
        verify(module, module.entries[0])
        return len(codegen.build(module, module.entries[0], {}).instructions)

    return translate(), _best(translate, repeats)


def time_command(command: list[str], repeats: int = 2) -> list[float]:
    """Seconds a command takes in fresh processes: first with empty caches, then with those it left.

    Args:
        command: a program and its arguments; "python" stands for the one that runs this.
        repeats: how often to run it after the first time.

    Raises:
        RuntimeError: the command failed; a time of it would mean nothing.
    """
    if command[0] in ("python", "python3"):
        command = [sys.executable, *command[1:]]
    times = []
    with tempfile.TemporaryDirectory() as folder:
        # Both caches: the PTX, and the compiled loops that Numba keeps.
        places = {name: str(Path(folder) / name) for name in ("SCC_NUMBA_CACHE_DIR", "NUMBA_CACHE_DIR")}
        for _ in range(1 + repeats):
            start = time.perf_counter()
            done = subprocess.run(command, env={**os.environ, **places}, capture_output=True, text=True)
            times.append(time.perf_counter() - start)
            if done.returncode:
                raise RuntimeError(f"{shlex.join(command)} failed ({done.returncode}): {done.stderr[-2000:]}")
    return times


def main(argv: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulator-child", help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a simulator cell may take")
    parser.add_argument("--no-simulator", action="store_true", help="only the emulator's own figures")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--command", help="time this command in fresh processes, with empty caches and again")
    options = parser.parse_args(argv)
    if options.simulator_child:
        _simulator_child(options.simulator_child)
        return
    if options.command:
        first, *later = time_command(shlex.split(options.command), max(1, options.repeats))
        print(f"{options.command}: {first:.1f} s with empty caches, then {min(later):.1f} s (best of {len(later)})")
        return
    from rich.console import Console
    from rich.table import Table

    _KERNELS.update(kernels())
    console = Console()
    table = Table(title="Emulator (all checks and counters on) against Numba's simulator, compilation excluded")
    for heading in ("N, C, P", "kernel", "emulator ms", "simulator s", "ratio", "largest difference"):
        table.add_column(heading, justify="right")
    ratios = []
    for shape in SHAPES:
        for name in KERNELS:
            seconds, answer = _emulate(name, shape, options.repeats)
            row = [", ".join(map(str, shape)), name, f"{seconds * 1e3:.2f}"]
            if options.no_simulator:
                table.add_row(*row, "", "", "")
                continue
            [(slow, finished, reference)] = _simulate([(name, shape)], options.limit)
            ratios.append(slow / seconds)
            difference = f"{np.abs(answer - reference).max():.1e}" if finished else "not finished"
            sign = "" if finished else "> "
            table.add_row(*row, f"{sign}{slow:.2f}", f"{sign}{slow / seconds:,.0f}×", difference)
    console.print(table)
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        console.print(f"geometric mean {mean:,.0f}×, smallest {min(ratios):,.0f}×")
    shape = (8, 128, 1024)
    bare, full = _cost(shape, max(options.repeats, 3))
    console.print(
        f"N=8, C=128, P=32² tiled, processor time: bare {bare:.3f} s, checked and counted {full:.3f} s: "
        f"{full / bare:.2f}× in all"
    )
    per_thread = []
    for threads in (10**5, 10**6):
        C = 64
        N = max(1, threads // (C * 256))
        seconds, _ = _emulate("naive", (N, C, 256), 3)
        per_thread.append(seconds / (N * C * 256))
        console.print(f"naive, {N * C * 256:,} threads: {seconds:.3f} s, {per_thread[-1] * 1e9:.0f} ns a thread")
    console.print(f"growth of the time a thread: {per_thread[1] / per_thread[0]:.2f}×")
    instructions, seconds = _translation(options.repeats)
    console.print(
        f"tiled, from PTX to Python: {seconds * 1e3:.0f} ms for {instructions:,} instructions, "
        f"{seconds / instructions * 1e6:.0f} µs each"
    )
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        console.print(f"most memory held: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
