"""What PyTorch offers for the same sums: compositions of its operators, and a plain matrix product as the roof.

    peer             how it computes SCC                                       what that costs
    all-windows      gathers all K windows; a convolution with K groups        x grows K·G/C-fold
    one-cycle        gathers the D windows of a cycle; D groups, permuted      x grows D·G/C-fold
    window-gemms     a matrix product for each window, on x where it lies      D launches and more
    strided-windows  one batched product over overlapping, strided views       a copy of x, two of y
    masked-dense     a dense 1×1 convolution with zeros outside the windows    C/G times the products

The first is the base of the DSXplore paper, the second the composition that it optimises that to. Each is made for
a layer, tables and all, and is then a function of x, (N, C, *spatial), and weight, (K, G), that autograd
differentiates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch._dynamo
import torch._functorch.config
import torch.nn.functional as F
from scc_reference import SlidingChannels
from torch import Tensor

Peer = Callable[[Tensor, Tensor], Tensor]


def all_windows(channels: SlidingChannels, device: Any = None) -> Peer:
    """The windows of all filters in a row, (N, K·G, …), and a convolution with K groups."""
    K, G = channels.out_channels, channels.group_width
    index = _table(channels.channel_index.reshape(-1), device)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        y = F.conv2d(_as_images(x).index_select(1, index), weight.view(K, G, 1, 1), groups=K)
        return y.reshape(_shape(x, K))

    return forward


def one_cycle(channels: SlidingChannels, device: Any = None) -> Peer:
    """The windows of one cycle in a row, (N, D·G, …), and a convolution with a group for each class."""
    K, G = channels.out_channels, channels.group_width
    D = min(channels.cycle, K)  # of classes that have a filter
    M = -(-K // D)
    index = _table(channels.channel_index[:D].reshape(-1), device)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        # the filters of a group of torch's are neighbours, those of a class are D apart
        filters = _whole_cycles(weight, M, D).transpose(0, 1).reshape(D * M, G, 1, 1)
        y = F.conv2d(_as_images(x).index_select(1, index), filters, groups=D)
        y = y.reshape(x.shape[0], D, M, -1).transpose(1, 2).reshape(x.shape[0], M * D, -1)
        return y[:, :K].reshape(_shape(x, K))

    return forward


class _WindowGemms(torch.autograd.Function):
    """For each class the product of its filters, (M, G), and its window: two where the window wraps.

    `out=` and the in-place products write where the result belongs. Autograd knows no gradient for them, so it is
    written out: the same products with one of the two transposed.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, channels: SlidingChannels) -> Tensor:
        context.save_for_backward(x, weight)
        context.channels = channels
        flat = x.flatten(2)  # (N, C, P)
        y = x.new_empty(x.shape[0], channels.out_channels, flat.shape[2])
        for filters, parts in _classes(channels):
            for first, (offsets, window) in enumerate(parts):
                w, result = _for_all_images(weight[filters, offsets], x), y[:, filters]
                if first == 0:
                    torch.bmm(w, flat[:, window], out=result)
                else:
                    result.baddbmm_(w, flat[:, window])
        return y.view(_shape(x, channels.out_channels))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        flat, grad_y = x.flatten(2), gradients[0].flatten(2)
        grad_x = torch.zeros_like(flat) if context.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if context.needs_input_grad[1] else None
        for filters, parts in _classes(context.channels):
            for offsets, window in parts:
                if grad_x is not None:
                    grad_x[:, window].baddbmm_(_for_all_images(weight[filters, offsets], x).mT, grad_y[:, filters])
                if grad_weight is not None:
                    grad_weight[filters, offsets] = torch.bmm(grad_y[:, filters], flat[:, window].mT).sum(0)
        return (None if grad_x is None else grad_x.view(x.shape)), grad_weight, None


def window_gemms(channels: SlidingChannels, device: Any = None) -> Peer:
    """A matrix product for each window; nothing is copied."""
    return lambda x, weight: _WindowGemms.apply(x, weight, channels)


def strided_windows(channels: SlidingChannels, device: Any = None) -> Peer:
    """All windows as one view with overlapping strides, and one batched matrix product.

    Sorted by their start, the windows of a cycle are gcd(S, C) channels apart. Those that no filter reads are given
    weights of zero.
    """
    C, K, G, D = channels.in_channels, channels.out_channels, channels.group_width, channels.cycle
    apart, M = math.gcd(channels.step, C), -(-K // D)
    place = np.arange(D) * channels.step % C // apart  # of each class among the windows
    classes, places = _table(np.argsort(place), device), _table(place, device)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        N = x.shape[0]
        filters = _whole_cycles(weight, M, D).transpose(0, 1).index_select(0, classes)  # (D, M, G)
        flat = x.flatten(2).transpose(0, 1)  # (C, N, P)
        around = torch.cat([flat, flat[: G - apart]]).flatten(1)  # (C + G − apart, N·P)
        windows = around.unfold(0, G, apart).mT  # (D, G, N·P)
        y = torch.bmm(filters, windows).index_select(0, places)  # (D, M, N·P)
        y = y.view(D, M, N, -1).permute(2, 1, 0, 3).reshape(N, M * D, -1)
        return y[:, :K].reshape(_shape(x, K))

    return forward


def masked_dense(channels: SlidingChannels, device: Any = None) -> Peer:
    """The weights scattered into a dense (K, C) matrix, and a 1×1 convolution."""
    C, K = channels.in_channels, channels.out_channels
    index = _table(channels.channel_index, device)

    def forward(x: Tensor, weight: Tensor) -> Tensor:
        dense = weight.new_zeros(K, C).scatter(1, index, weight)
        return F.conv2d(_as_images(x), dense.view(K, C, 1, 1)).reshape(_shape(x, K))

    return forward


PEERS: dict[str, Callable[..., Peer]] = {
    "all-windows": all_windows,
    "one-cycle": one_cycle,
    "window-gemms": window_gemms,
    "strided-windows": strided_windows,
    "masked-dense": masked_dense,
}


def compiled(peer: Peer) -> Peer:
    """The same through torch.compile, for the shapes of each call.

    Its backward may run more than once on one forward, as a benchmark's does; for that, buffers are not reused.
    What was compiled before is forgotten: torch counts peers of one kind as one function, and compiles it a few
    times only, then quietly no more.
    """
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = False
    compiled_peer: Peer = torch.compile(peer, dynamic=False)
    return compiled_peer


# A matrix product by cuBLAS with as many multiply-adds as the operation has, on matrices that lie in one piece. No
# peer, for it computes something else: a kernel for SCC has to find its windows besides.
ROOFS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "forward": lambda weight, x: torch.mm(weight, x),  # (K, G) · (G, N·P)
    "grad_input": lambda weight, grad_output: torch.mm(weight.T, grad_output),  # (G, K) · (K, N·P)
    "grad_weight": lambda grad_output, x: torch.mm(grad_output, x.T),  # (K, N·P) · (N·P, G)
}


def _classes(channels: SlidingChannels) -> list[tuple[slice, list[tuple[slice, slice]]]]:
    """For each class its filters, and the parts of its window: offsets in the filters, channels of x."""
    C, K, G = channels.in_channels, channels.out_channels, channels.group_width
    D = min(channels.cycle, K)
    found = []
    for d, start in enumerate(channels.starts[:D].tolist()):
        wrap = min(G, C - start)
        parts = [(slice(0, wrap), slice(start, start + wrap)), (slice(wrap, G), slice(0, G - wrap))]
        found.append((slice(d, K, D), parts if wrap < G else parts[:1]))
    return found


def _for_all_images(filters: Tensor, x: Tensor) -> Tensor:
    return filters.expand(x.shape[0], -1, -1)


def _whole_cycles(weight: Tensor, M: int, D: int) -> Tensor:
    """(K, G) → (M, D, G), with zeros where the last cycle is not whole."""
    K, G = weight.shape
    return F.pad(weight, (0, 0, 0, M * D - K)).view(M, D, G)


def _table(indices: np.ndarray[Any, Any], device: Any) -> Tensor:
    return torch.as_tensor(np.array(indices), device=device)


def _as_images(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else x.flatten(2).unsqueeze(-1)


def _shape(x: Tensor, K: int) -> tuple[int, ...]:
    return (x.shape[0], K, *x.shape[2:])
