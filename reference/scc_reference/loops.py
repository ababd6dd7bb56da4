"""The definition of SCC, one Python loop per index. Slow on purpose: nothing here needs to be believed.

Every function has the signature, the shapes and the errors of its twin in `scc_reference.vectorised`. Sums
run in the dtype of the operands, so float64 operands give the float64 reference.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scc_reference.channels import SlidingChannels
from scc_reference.operands import check_forward, check_grad_bias, check_grad_input, check_grad_weight

FloatArray = NDArray[np.floating[Any]]


def scc_forward(
    x: FloatArray, weight: FloatArray, bias: FloatArray | None = None, *, channels: SlidingChannels
) -> FloatArray:
    """y[n,k,p] = b[k] + Σ_j x[n, (start(k)+j) mod C, p] · w[k,j]."""
    check_forward(x, weight, bias, channels)
    N, C, K, G, S, P = _dims(channels, x)
    x3 = x.reshape(N, C, P)
    y = np.zeros((N, K, P), dtype=x.dtype)
    for n, k, p in product(range(N), range(K), range(P)):
        for j in range(G):
            y[n, k, p] += x3[n, (k * S + j) % C, p] * weight[k, j]
        if bias is not None:
            y[n, k, p] += bias[k]
    return y.reshape(N, K, *x.shape[2:])


def scc_grad_input(grad_output: FloatArray, weight: FloatArray, *, channels: SlidingChannels) -> FloatArray:
    """grad_x[n,c,p] = Σ_k w[k,j] · grad_y[n,k,p] over the filters k that read c, j = (c − start(k)) mod C."""
    check_grad_input(grad_output, weight, channels)
    N, C, K, G, S, P = _dims(channels, grad_output)
    grad_y = grad_output.reshape(N, K, P)
    grad_x = np.zeros((N, C, P), dtype=grad_output.dtype)
    for n, c, p in product(range(N), range(C), range(P)):
        for k in range(K):
            j = (c - k * S) % C
            if j < G:
                grad_x[n, c, p] += weight[k, j] * grad_y[n, k, p]
    return grad_x.reshape(N, C, *grad_output.shape[2:])


def scc_grad_weight(grad_output: FloatArray, x: FloatArray, *, channels: SlidingChannels) -> FloatArray:
    """grad_w[k,j] = Σ_{n,p} x[n, (start(k)+j) mod C, p] · grad_y[n,k,p]."""
    check_grad_weight(grad_output, x, channels)
    N, C, K, G, S, P = _dims(channels, grad_output)
    grad_y, x3 = grad_output.reshape(N, K, P), x.reshape(N, C, P)
    grad_weight = np.zeros((K, G), dtype=grad_output.dtype)
    for k, j in product(range(K), range(G)):
        for n, p in product(range(N), range(P)):
            grad_weight[k, j] += x3[n, (k * S + j) % C, p] * grad_y[n, k, p]
    return grad_weight


def scc_grad_bias(grad_output: FloatArray) -> FloatArray:
    """grad_b[k] = Σ_{n,p} grad_y[n,k,p]."""
    check_grad_bias(grad_output)
    N, K, P = grad_output.shape[0], grad_output.shape[1], math.prod(grad_output.shape[2:])
    grad_y = grad_output.reshape(N, K, P)
    grad_bias = np.zeros(K, dtype=grad_output.dtype)
    for k, n, p in product(range(K), range(N), range(P)):
        grad_bias[k] += grad_y[n, k, p]
    return grad_bias


def _dims(channels: SlidingChannels, maps: FloatArray) -> tuple[int, int, int, int, int, int]:
    N, P = maps.shape[0], math.prod(maps.shape[2:])
    return N, channels.in_channels, channels.out_channels, channels.group_width, channels.step, P
