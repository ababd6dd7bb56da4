"""A kernel as a user would bring it, with a mistake in it: see README.md, "Is my kernel right?"."""

import math

from numba import cuda

from scc_numba.device import device_array, jit, to_device, to_host


@jit
def my_kernel(x, weight, bias, y, step):
    N, C, P = x.shape
    K, G = weight.shape
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        c = k * step % C
        for j in range(G):
            total += x[n, c, p] * weight[k, j]
            c += 1
            if c == C:
                c = 1 % C  # the window goes on at channel 1, not at 0
        y[n, k, p] = total


def run(x, weight, bias=None, *, channels):
    """(N, C, *spatial), (K, G), (K,) → (N, K, *spatial)."""
    N, C, K, P = x.shape[0], channels.in_channels, channels.out_channels, math.prod(x.shape[2:])
    y = device_array((N, K, P), x.dtype)
    if N * P:
        bias = bias if bias is not None else x.dtype.type(0) * weight[:, 0]
        arrays = to_device(x.reshape(N, C, P)), to_device(weight), to_device(bias)
        my_kernel[-(-N * K * P // 128), 128](*arrays, y, channels.step)
    return to_host(y).reshape(N, K, *x.shape[2:])
