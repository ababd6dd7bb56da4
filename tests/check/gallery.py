"""Known-wrong kernels, each a mistake that people make, with the property that catches it.

Most are one of the ladders' kernels with one thing changed, which the comment beside it names. They run where
the rungs run.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import my_kernel
import numba
import numpy as np
from numba import cuda
from scc_reference import scc_forward, scc_grad_weight

from scc_numba.device import device_array, jit, to_device, to_host
from scc_numba.kernels import Launch, Layer, Op, Rung, find_rung
from scc_numba.kernels.forward.f0_naive import forward_naive

THREADS = 32


@dataclass(frozen=True)
class Wrong:
    """A wrong callable or rung, and how it is caught.

    Attributes:
        name: the mistake.
        op: what it should compute.
        run: the callable or rung.
        caught_by: the first property that breaks.
        refused: words of the error, where the emulator refuses the launch before any result can be looked at.
    """

    name: str
    op: Op
    run: Callable[..., Any] | Rung
    caught_by: str
    refused: str | None = None


# --- forward: one thread per output, with one mistake each -----------------------------------------------


@jit
def no_wrap(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        for j in range(G):
            total += x[n, min(k * step % C + j, C - 1), p] * weight[k, j]  # mistake: stops at the last channel
        y[n, k, p] = total


@jit
def window_of_the_next_class(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        for j in range(G):
            total += x[n, ((k + 1) * step + j) % C, p] * weight[k, j]  # mistake: k + 1
        y[n, k, p] = total


@jit
def first_image_only(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        for j in range(G):
            total += x[0, (k * step + j) % C, p] * weight[k, j]  # mistake: image 0
        y[n, k, p] = total


@jit
def bias_of_the_pixel(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[p % K]  # mistake: the wrong index
        for j in range(G):
            total += x[n, (k * step + j) % C, p] * weight[k, j]
        y[n, k, p] = total


@jit
def weights_of_the_first_cycle(x, weight, bias, y, step, cycle):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        for j in range(G):
            total += x[n, (k * step + j) % C, p] * weight[k % cycle, j]  # mistake: k and k + D share weights
        y[n, k, p] = total


@jit
def float32_sum(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = numba.float32(bias[k])
        for j in range(G):
            product = x[n, (k * step + j) % C, p] * weight[k, j]
            total = numba.float32(total + product)  # mistake: the sum is narrower than float64 operands
        y[n, k, p] = total


def forward(kernel, *extra, lost_threads=0, forget_bias=False):
    """A `run` that launches a forward kernel; `lost_threads` outputs at the end get no thread."""

    def run(x, weight, bias=None, *, channels):
        layer = Layer(channels, x.shape[0], math.prod(x.shape[2:]), x.dtype)
        shape = (x.shape[0], channels.out_channels, *x.shape[2:])
        if layer.is_empty:
            return np.zeros(shape, x.dtype)
        if bias is None or forget_bias:
            bias = np.zeros(channels.out_channels, x.dtype)
        y = device_array(layer.output_shape, x.dtype)
        blocks = math.prod(layer.output_shape) // THREADS  # rounded down
        if lost_threads == 0:
            blocks = -(-math.prod(layer.output_shape) // THREADS)
        if blocks:
            arguments = [to_device(x.reshape(layer.input_shape)), to_device(weight), to_device(bias), y]
            kernel[blocks, THREADS](*arguments, channels.step, *(getattr(channels, name) for name in extra))
        return to_host(y).reshape(shape)

    return run


# --- grad_input ------------------------------------------------------------------------------------------


@jit
def two_filters_per_channel(grad_output, weight, grad_input, step):
    N, C, P = grad_input.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * C * P:
        p = i % P
        c = i // P % C
        n = i // P // C
        total = grad_input.dtype.type(0)
        v = c  # mistake: of the filters that hold v, only the first and the last are visited
        while v < K * step + G:
            last = v // step
            first = 0
            if v >= G:
                first = (v - G) // step + 1
            if first < K:
                total += grad_output[n, first, p] * weight[first, v - first * step]
            if first < last < K:
                total += grad_output[n, last, p] * weight[last, v - last * step]
            v += C
        grad_input[n, c, p] = total


def _two_filters_build(layer: Layer, tile=None) -> Launch:
    blocks = -(-math.prod(layer.input_shape) // THREADS)
    return Launch(two_filters_per_channel, (blocks, 1, 1), (THREADS, 1, 1), scalars=(layer.channels.step,))


def _not_zeroed_build(layer: Layer, tile=None) -> Launch:
    return replace(find_rung("x0").build(layer, tile), zeroed=None)  # mistake: adds to undefined memory


@jit
def writes_past_the_end(grad_output, weight, grad_input, step):
    N, C, P = grad_input.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * C * P + 1:  # mistake: one thread too many, whose n is N
        p = i % P
        c = i // P % C
        n = i // P // C
        total = grad_input.dtype.type(0)
        if n < N:
            for k in range(K):
                j = (c - k * step) % C
                if j < G:
                    total += grad_output[n, k, p] * weight[k, j]
        grad_input[n, c, p] = total


def _past_the_end_build(layer: Layer, tile=None) -> Launch:
    blocks = math.prod(layer.input_shape) // THREADS + 1
    return Launch(writes_past_the_end, (blocks, 1, 1), (THREADS, 1, 1), scalars=(layer.channels.step,))


# --- grad_weight -----------------------------------------------------------------------------------------


@jit
def not_atomic(grad_output, x, grad_weight, step):
    N, C, P = x.shape
    K, G = grad_weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        for j in range(G):
            c = (k * step + j) % C
            grad_weight[k, j] += grad_output[n, k, p] * x[n, c, p]  # mistake: threads overwrite each other


def _not_atomic_build(layer: Layer, tile=None) -> Launch:
    return replace(find_rung("w0").build(layer, tile), kernel=not_atomic)


def _without_barrier(threads, number):
    @jit
    def missing_barrier(grad_output, x, grad_weight, step):
        N, C, P = x.shape
        sums = cuda.shared.array(threads, number)
        t = cuda.threadIdx.x
        j = cuda.blockIdx.y
        k = cuda.blockIdx.z
        c = (k * step + j) % C
        total = number(0)
        i = cuda.grid(1)
        while i < N * P:
            total += grad_output[i // P, k, i % P] * x[i // P, c, i % P]
            i += cuda.gridsize(1)
        sums[t] = total
        cuda.syncthreads()
        half = threads // 2
        while half > 0:
            if t < half:
                sums[t] += sums[t + half]
            half //= 2  # mistake: no barrier between two halvings
        if t == 0:
            cuda.atomic.add(grad_weight, (k, j), sums[0])

    return missing_barrier


def _missing_barrier_build(layer: Layer, tile=None) -> Launch:
    right = find_rung("w1").build(layer, (64,))
    return replace(right, kernel=_without_barrier(64, numba.from_dtype(layer.dtype)))


def _rung(name: str, build: Callable[..., Launch]) -> Rung:
    return replace(find_rung(name), build=build, tiles=lambda layer: ((THREADS,),))


@jit
def stride_past_a_filter(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    p = cuda.grid(1)
    k = cuda.blockIdx.y
    while k < K and p < P:
        for n in range(N):
            total = bias[k]
            for j in range(G):
                total += x[n, (k * step + j) % C, p] * weight[k, j]
            y[n, k, p] = total
        k += cuda.gridDim.y + 1  # mistake: one too many, which shows where a grid has fewer blocks than filters


def _stride_build(layer: Layer, tile=None) -> Launch:
    grid = (-(-layer.pixels // THREADS), layer.channels.out_channels, 1)
    return Launch(stride_past_a_filter, grid, (THREADS, 1, 1), scalars=(layer.channels.step,))


def _bias_of_the_first_image_build(layer: Layer, tile=None, bias: bool = False) -> Launch:
    right = find_rung("w3").build(layer, None, bias=bias)
    return replace(right, scalars=(1, *right.scalars[1:])) if bias else right  # mistake: N = 1


# --- on the host side ------------------------------------------------------------------------------------


def changes_its_input(x, weight, bias=None, *, channels):
    y = scc_forward(x, weight, bias, channels=channels)
    np.maximum(x, 0, out=x)  # mistake: the next layer's activation, in place, on the wrong array
    return y


def always_zero(grad_output, x, *, channels):
    return np.zeros_like(scc_grad_weight(grad_output, x, channels=channels))


def order_of_the_day(seed=0):
    """A sum whose order changes from run to run, as if its additions were atomic."""
    draw = np.random.default_rng(seed)

    def run(x, weight, bias=None, *, channels):
        y = np.zeros((x.shape[0], channels.out_channels, math.prod(x.shape[2:])), x.dtype)
        flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        for j in draw.permutation(channels.group_width):
            y += flat[:, channels.channel_index[:, j]] * weight[:, j][:, None]
        if bias is not None:
            y += bias[:, None]
        return y.reshape(*y.shape[:2], *x.shape[2:])

    return run


GALLERY = (
    Wrong("wrap off by one", "forward", my_kernel.run, "exact_on_integers"),
    Wrong("no wrap", "forward", forward(no_wrap), "exact_on_integers"),
    Wrong("window of the next class", "forward", forward(window_of_the_next_class), "exact_on_integers"),
    Wrong("first image only", "forward", forward(first_image_only), "exact_on_integers"),
    Wrong("bias of the pixel", "forward", forward(bias_of_the_pixel), "exact_on_integers"),
    Wrong("bias forgotten", "forward", forward(forward_naive, forget_bias=True), "exact_on_integers"),
    Wrong("tail forgotten", "forward", forward(forward_naive, lost_threads=1), "exact_on_integers"),
    Wrong(
        "weights of the first cycle", "forward", forward(weights_of_the_first_cycle, "cycle"), "exact_on_integers"
    ),
    Wrong("stride past a filter", "forward", _rung("f1", _stride_build), "strides_over_few_blocks"),
    Wrong("float32 sum of float64", "forward", forward(float32_sum), "within_the_bound"),
    Wrong("changes its input", "forward", changes_its_input, "leaves_operands_alone"),
    Wrong("order of the day", "forward", order_of_the_day(), "repeats_to_the_bit"),
    Wrong("two filters per channel", "grad_input", _rung("x1", _two_filters_build), "exact_on_integers"),
    Wrong(
        "result not zeroed",
        "grad_input",
        _rung("x0", _not_zeroed_build),
        "returns_an_array",
        "uninitialised-global",
    ),
    Wrong("past the end", "grad_input", _rung("x1", _past_the_end_build), "returns_an_array", "out-of-bounds"),
    Wrong("always zero", "grad_weight", always_zero, "exact_on_integers"),
    Wrong("not atomic", "grad_weight", _rung("w0", _not_atomic_build), "returns_an_array", "lost-update"),
    Wrong(
        "grad_bias of the first image",
        "grad_weight",
        _rung("w3", _bias_of_the_first_image_build),
        "sums_the_bias_too",
    ),
    Wrong("missing barrier", "grad_weight", _rung("w1", _missing_barrier_build), "returns_an_array", "shared-race"),
)
