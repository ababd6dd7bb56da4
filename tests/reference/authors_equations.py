"""What the kernels of the paper's authors compute, as equations (YukeWang96/DSXplore_IPDPS21, SCC_conv).

Read off their CUDA source and written anew; float32 where theirs is. `start` is the forward kernel's window.
The backward kernel has a window of its own: it unrolls the channels into laps of C, v = c + lap·C, steps by
⌊(1 − overlap)·G⌋, and visits, for each v, the first and the last filter whose window holds v.
"""

import numpy as np


def start(k, overlap, group_width, in_channels):
    """First channel of filter k in the forward kernel."""
    share = np.float32(1) - np.float32(overlap)
    return int(np.floor(np.float32(k) * share * np.float32(group_width))) % in_channels


def forward(x, weight, overlap):
    """y, (N, K, P), from x (N, C, P) and weight (K, G)."""
    K, G = weight.shape
    C = x.shape[1]
    windows = [[(start(k, overlap, G, C) + j) % C for j in range(G)] for k in range(K)]
    return np.stack([np.einsum("ngp,g->np", x[:, windows[k]], weight[k]) for k in range(K)], axis=1)


def visits(overlap, group_width, in_channels, out_channels):
    """Every (filter k, offset j, channel c) that the backward kernel adds up."""
    share = np.float32(1) - np.float32(overlap)
    step = int(np.floor(share * np.float32(group_width)))
    found = []
    for c in range(in_channels):
        v = c
        while True:
            last, first = v // step, 0 if v < group_width else (v - group_width) // step + 1
            if last >= out_channels and first >= out_channels:
                break
            found += [(k, v - k * step, c) for k in sorted({first, last}) if k < out_channels]
            v += in_channels
    return found


def grad_input(grad_output, weight, overlap, in_channels):
    """grad_x, (N, C, P)."""
    K, G = weight.shape
    grad = np.zeros((grad_output.shape[0], in_channels, grad_output.shape[2]))
    for k, j, c in visits(overlap, G, in_channels, K):
        grad[:, c] += weight[k, j] * grad_output[:, k]
    return grad


def grad_weight(grad_output, x, overlap, group_width):
    """grad_w, (K, G)."""
    K = grad_output.shape[1]
    grad = np.zeros((K, group_width))
    for k, j, c in visits(overlap, group_width, x.shape[1], K):
        grad[k, j] += np.sum(x[:, c] * grad_output[:, k])
    return grad
