"""Adding the parts of a weight gradient in a fixed order: a launch of its own, so that it is counted too."""

from __future__ import annotations

import numpy as np
from numba import cuda, uint32, uint64

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer

THREADS = 128


@jit(pointers=True)
def sum_of_parts(partial, grad_weight, grad_bias, weights, stride, parts):
    # partial: (parts, stride): in each part K·G numbers of grad_weight, then K of grad_bias where it is wanted
    i = uint64(cuda.blockIdx.x) * uint32(cuda.blockDim.x) + uint32(cuda.threadIdx.x)
    if i < stride:
        total = partial[i]
        part = uint32(1)
        while part < parts:
            total += partial[uint64(part) * stride + i]
            part = uint32(part + uint32(1))
        if i < weights:
            grad_weight[i] = total
        else:
            grad_bias[i - weights] = total


def add_parts(layer: Layer, parts: int, bias: bool) -> Launch:
    """The launch that adds them: a thread for each number, which adds the parts one after the other.

    Its arrays are the workspace, (parts, stride), and grad_weight, and with the bias grad_bias.
    """
    K, G = layer.weight_shape
    stride = partial_size(layer, bias)
    no_bias = () if bias else (np.zeros(1, np.float32),)
    grid = (-(-stride // THREADS), 1, 1)
    scalars = (np.uint64(K * G), np.uint64(stride), parts)
    return Launch(sum_of_parts, grid, (THREADS, 1, 1), no_bias, scalars, results=2 if bias else 1)


def partial_size(layer: Layer, bias: bool) -> int:
    """How many numbers a part has: K·G, and K more with the bias."""
    K, G = layer.weight_shape
    return K * (G + bias)
