"""The four sums of SCC as matrix products, one for each class of filters that share a window.

Results have the operands' dtype and are new, C-contiguous arrays. N = 0 or no pixels give an empty (or, for
the sums over batch and pixels, a zero) result. `*spatial` stands for any number of dims, P for their product.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scc_reference.channels import SlidingChannels
from scc_reference.operands import check_forward, check_grad_bias, check_grad_input, check_grad_weight

FloatArray = NDArray[np.floating[Any]]


def scc_forward(
    x: FloatArray, weight: FloatArray, bias: FloatArray | None = None, *, channels: SlidingChannels
) -> FloatArray:
    """Sliding-channel convolution: y[n,k,p] = b[k] + Σ_j x[n, (start(k)+j) mod C, p] · w[k,j].

    Args:
        x: (N, C, *spatial).
        weight: (K, G).
        bias: (K,), or None for no bias.
        channels: which channels each filter reads.

    Returns:
        (N, K, *spatial), of the operands' dtype.

    Raises:
        ValueError: a shape does not fit; the message says which, and what was expected.
        TypeError: the dtypes are not floating or differ.
    """
    check_forward(x, weight, bias, channels)
    x3 = _flatten_pixels(x)
    y = np.zeros((x3.shape[0], channels.out_channels, x3.shape[2]), dtype=x.dtype)
    for filters, window in _class_windows(channels):
        y[:, filters] = weight[filters] @ x3[:, window]  # (M, G) @ (N, G, P)
    if bias is not None:
        y += bias[:, None]
    return y.reshape(x.shape[0], channels.out_channels, *x.shape[2:])


def scc_grad_input(grad_output: FloatArray, weight: FloatArray, *, channels: SlidingChannels) -> FloatArray:
    """The gradient of `scc_forward` by x: grad_x[n,c,p] = Σ_k w[k, (c−start(k)) mod C] · grad_y[n,k,p].

    The sum runs over the filters whose window holds c. A channel that no window covers gets 0.

    Args:
        grad_output: (N, K, *spatial).
        weight: (K, G).
        channels: which channels each filter reads.

    Returns:
        (N, C, *spatial), of the operands' dtype.
    """
    check_grad_input(grad_output, weight, channels)
    grad_y = _flatten_pixels(grad_output)
    grad_x = np.zeros((grad_y.shape[0], channels.in_channels, grad_y.shape[2]), dtype=grad_output.dtype)
    for filters, window in _class_windows(channels):
        grad_x[:, window] += weight[filters].T @ grad_y[:, filters]  # (G, M) @ (N, M, P)
    return grad_x.reshape(grad_output.shape[0], channels.in_channels, *grad_output.shape[2:])


def scc_grad_weight(grad_output: FloatArray, x: FloatArray, *, channels: SlidingChannels) -> FloatArray:
    """The gradient of `scc_forward` by weight: Σ_{n,p} x[n, (start(k)+j) mod C, p] · grad_y[n,k,p].

    Args:
        grad_output: (N, K, *spatial).
        x: (N, C, *spatial).
        channels: which channels each filter reads.

    Returns:
        (K, G), of the operands' dtype.
    """
    check_grad_weight(grad_output, x, channels)
    grad_y, x3 = _flatten_pixels(grad_output), _flatten_pixels(x)
    grad_weight = np.zeros((channels.out_channels, channels.group_width), dtype=grad_output.dtype)
    for filters, window in _class_windows(channels):
        # (M, N, P) · (G, N, P), summed over n and p
        grad_weight[filters] = np.tensordot(grad_y[:, filters], x3[:, window], axes=((0, 2), (0, 2)))
    return grad_weight


def scc_grad_bias(grad_output: FloatArray) -> FloatArray:
    """The gradient of `scc_forward` by bias: Σ_{n,p} grad_y[n,k,p], from (N, K, *spatial) to (K,)."""
    check_grad_bias(grad_output)
    return _flatten_pixels(grad_output).sum(axis=(0, 2), dtype=grad_output.dtype)


def _flatten_pixels(maps: FloatArray) -> FloatArray:
    # (N, C, *spatial) -> (N, C, P); -1 would be ambiguous for an empty batch
    return maps.reshape(maps.shape[0], maps.shape[1], math.prod(maps.shape[2:]))


def _class_windows(channels: SlidingChannels) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each class: its filters (M,), and the window they share (G,), whose channels are all distinct."""
    return [(filters, channels.channel_index[filters[0]]) for filters in channels.classes()]
