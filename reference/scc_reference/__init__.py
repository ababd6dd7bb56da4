"""Sliding-channel convolution (SCC) in pure NumPy: the definition every kernel is held to.

    >>> import numpy as np
    >>> from scc_reference import SlidingChannels, scc_forward
    >>> channels = SlidingChannels(in_channels=8, out_channels=4, groups=2, overlap=0.5)
    >>> channels.group_width, channels.step, channels.starts.tolist()
    (4, 2, [0, 2, 4, 6])
    >>> x = np.ones((1, 8, 3, 3)); weight = np.ones((4, 4))
    >>> scc_forward(x, weight, channels=channels).shape
    (1, 4, 3, 3)

The operator is that of DSXplore (Wang, Feng, Ding, IPDPS 2021, arXiv 2101.00745): filter k reads G channels
from (k·S) mod C on, and the window wraps around. It is written twice. `scc_reference.loops` spells the sums
out, one Python loop per index; what this package exports computes the same with matrix products.
"""

from scc_reference.channels import SlidingChannels
from scc_reference.vectorised import scc_forward, scc_grad_bias, scc_grad_input, scc_grad_weight

__all__ = ["SlidingChannels", "scc_forward", "scc_grad_bias", "scc_grad_input", "scc_grad_weight"]
